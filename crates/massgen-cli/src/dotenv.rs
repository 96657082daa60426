//! `./.env`, as v0.0.13 reads it, with two liberties: space around `=` and a leading `export` do no harm.

use std::path::Path;

/// Reads the variables of a `.env` file's text. Lines that are blank, comments or lack `=` say nothing.
pub(crate) fn parse(text: &str) -> Vec<(String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| {
            let name = name.trim();
            let name = name.strip_prefix("export ").unwrap_or(name).trim();
            let value = value.trim().trim_matches('"').trim_matches('\'');
            (name.to_owned(), value.to_owned())
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

/// The variables of the file; none where it does not exist. An unreadable file is said once and passed over.
pub(crate) fn read(path: &Path) -> Vec<(String, String)> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "this file could not be read");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_variable_and_what_is_not() {
        let text = "\u{feff}# comment\n\nA=1\nB = \"two words\"\nexport C='3'\nD=a=b\nno equals\n=x\nE=\r\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "3"), ("D", "a=b"), ("E", "")];
        let found = parse(text);
        assert_eq!(found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    }
}
