//! Hides what may be secret in a line of a configuration file before the line is shown.
//!
//! This works on text, without knowing the structure, because the line may be the one that does not parse. It errs
//! on the side of hiding.

const HIDDEN: &str = "***";

/// Whether a key's or variable's name says that its value is secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 11] = [
        "key",
        "token",
        "secret",
        "password",
        "passwd",
        "authorization",
        "auth",
        "credential",
        "cookie",
        "bearer",
        "private",
    ];
    // Words that contain such a part and mean something else.
    const HARMLESS: [&str; 7] = [
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "max_thinking_tokens",
        "author",
        "keyboard",
        "prompt_cache_key",
    ];
    let name = name.to_ascii_lowercase();
    !HARMLESS.contains(&name.as_str()) && PARTS.iter().any(|part| name.contains(part))
}

/// The line with everything after a secret-looking name's `:` or `=`, and every known token shape, replaced by `***`.
pub(crate) fn mask_line(line: &str) -> String {
    let mut start = 0;
    for (at, separator) in line.char_indices().filter(|&(_, c)| c == ':' || c == '=') {
        let name = line[start..at].trim_end_matches(['"', '\'']);
        let name =
            name.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).next().unwrap_or_default();
        let rest = line[at + separator.len_utf8()..].trim_start();
        let scheme = line[..at].ends_with("${env")
            || line[..at].ends_with("${keyring")
            || line[..at].ends_with("${file");
        if !scheme && hides_value(name) && !rest.is_empty() && !rest.starts_with('#') && !is_reference(rest) {
            let gap = if line[at + 1..].starts_with(' ') { " " } else { "" };
            return format!("{}{gap}{HIDDEN}", mask_tokens(&line[..=at]));
        }
        start = at + 1;
    }
    mask_tokens(line)
}

/// Names whose value is hidden: secret ones, and those of environment variables.
fn hides_value(name: &str) -> bool {
    let variable = name.len() > 2
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    variable || is_secret_name(name) || name == "env" || name == "headers"
}

/// Whether the whole value is `${...}`: it names a secret and is none.
fn is_reference(value: &str) -> bool {
    let value = value.trim_matches([' ', '"', '\'', ',', '}', '{']);
    value.starts_with("${") && !value[2..].contains("${") && !value.contains(":-") && !value.contains(' ')
}

/// Words with the shape of well-known tokens, and the user of a URL.
fn mask_tokens(line: &str) -> String {
    const PREFIXES: [&str; 9] =
        ["sk-", "xai-", "ghp_", "gho_", "github_pat_", "AIza", "xoxb-", "xoxp-", "Bearer "];
    let mut masked = line.to_owned();
    let mut from = 0;
    while let Some(start) = masked[from..].find("://").map(|at| from + at + 3) {
        let end = masked[start..]
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'))
            .map_or(masked.len(), |length| start + length);
        if let Some(at) = masked[start..end].rfind('@') {
            masked.replace_range(start..start + at, HIDDEN);
        }
        from = start;
    }
    for prefix in PREFIXES {
        while let Some(at) = masked.find(prefix) {
            let word = masked[at + prefix.len()..]
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | ']'))
                .map_or(masked.len(), |length| at + prefix.len() + length);
            masked.replace_range(at..word, HIDDEN);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_hidden() {
        for (line, masked) in [
            ("  api_key: sk-123", "  api_key: ***"),
            ("  \"api_key\": \"abc\",", "  \"api_key\": ***"),
            ("  env: { FOO: hunter2 }", "  env: ***"),
            ("    BRAVE_API_KEY: abc", "    BRAVE_API_KEY: ***"),
            ("    NAME: abc", "    NAME: ***"),
            ("  api_key: ${OPENAI_API_KEY}", "  api_key: ${OPENAI_API_KEY}"),
            ("  api_key: ${OPENAI_API_KEY:-sk-1}", "  api_key: ***"),
            ("  max_tokens: 12", "  max_tokens: 12"),
            ("  model: gpt-5 # sk-abcdef", "  model: gpt-5 # ***"),
            ("  args: [\"--token=abc\"]", "  args: [\"--token=***"),
            ("  Authorization: Bearer x", "  Authorization: ***"),
            ("  args: [Bearer abc]", "  args: [***]"),
            ("  url: https://example.com/mcp", "  url: https://example.com/mcp"),
            ("env:", "env:"),
            ("  url: https://me:pw@h.example/x", "  url: https://***@h.example/x"),
            ("  api_key: \"${keyring:x}\"", "  api_key: \"${keyring:x}\""),
            ("  model: ${env:NAME} # x", "  model: ${env:NAME} # x"),
        ] {
            assert_eq!(mask_line(line), masked);
        }
    }
}
