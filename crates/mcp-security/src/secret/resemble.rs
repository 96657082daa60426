//! What looks like a credential, by the marks that its issuers gave it.

/// Says what a text, or a word in it, looks like; `None`: nothing that is known.
///
/// ```
/// assert_eq!(mcp_security::secret::resembles("-----BEGIN RSA PRIVATE KEY-----"), Some("a private key"));
/// assert_eq!(mcp_security::secret::resembles("sk- is how some keys begin"), None);
/// ```
pub fn resembles(text: &str) -> Option<&'static str> {
    if text.len() < 16 {
        return None;
    }
    if text.contains("PRIVATE KEY-----") && text.contains("-----BEGIN ") {
        return Some("a private key");
    }
    let boundary = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    text.split(boundary).filter(|word| word.len() >= 16).find_map(word)
}

/// Prefix, the least number of characters after it, what it is.
const PREFIXES: &[(&str, usize, &str)] = &[
    ("ghp_", 30, "a GitHub token"),
    ("gho_", 30, "a GitHub token"),
    ("ghu_", 30, "a GitHub token"),
    ("ghs_", 30, "a GitHub token"),
    ("ghr_", 30, "a GitHub token"),
    ("github_pat_", 30, "a GitHub token"),
    ("glpat-", 18, "a GitLab token"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("xoxa-", 20, "a Slack token"),
    ("xapp-", 20, "a Slack token"),
    ("sk-ant-", 20, "an Anthropic key"),
    ("sk-proj-", 20, "an OpenAI key"),
    ("sk_live_", 16, "a Stripe key"),
    ("rk_live_", 16, "a Stripe key"),
    ("npm_", 32, "an npm token"),
    ("pypi-", 32, "a PyPI token"),
    ("hf_", 30, "a Hugging Face token"),
    ("dop_v1_", 40, "a DigitalOcean token"),
    ("AIza", 30, "a Google key"),
    ("ya29.", 30, "a Google token"),
    ("ntn_", 30, "a Notion token"),
    ("lin_api_", 30, "a Linear key"),
    ("fc-", 30, "a Firecrawl key"),
    ("tvly-", 24, "a Tavily key"),
];

fn word(word: &str) -> Option<&'static str> {
    let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    for (prefix, rest, what) in PREFIXES {
        if word.strip_prefix(prefix).is_some_and(|tail| tail.len() >= *rest && is_name(tail)) {
            return Some(what);
        }
    }
    let sk = word.strip_prefix("sk-").filter(|tail| tail.len() >= 32 && !tail.contains('-') && is_name(tail));
    if sk.is_some() {
        return Some("an OpenAI key");
    }
    let upper = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if ["AKIA", "ASIA"]
        .iter()
        .any(|p| word.strip_prefix(p).is_some_and(|tail| tail.len() == 16 && upper(tail)))
    {
        return Some("an AWS key");
    }
    let parts: Vec<&str> = word.split('.').collect();
    if let [head, body, signature] = parts.as_slice()
        && [head, body, signature].iter().all(|part| is_name(part))
    {
        if head.starts_with("eyJ") && body.starts_with("eyJ") && signature.len() >= 16 {
            return Some("a signed token");
        }
        let mixed = |text: &str| {
            text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().any(|b| b.is_ascii_uppercase())
        };
        if (23..=28).contains(&head.len())
            && (6..=7).contains(&body.len())
            && (27..=40).contains(&signature.len())
            && (mixed(head) || mixed(signature))
        {
            return Some("a Discord token");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_and_identifiers_are_no_credentials() {
        for text in [
            "AKIA is the prefix of AWS key ids; sk- is OpenAI's",
            "5b72495d-5e79-4584-8012-2bb5911c8de1",
            "com.example.application.module.name",
            "https://docs.example.com/a/very/long/path/to/some/page.html",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(resembles(text), None, "{text}");
        }
    }

    #[test]
    fn the_marks_of_issuers_are_known() {
        let rest = "aB3".repeat(14);
        for (text, what) in [
            (format!("token: ghp_{}", &rest[..36]), "a GitHub token"),
            (format!("xoxb-111111111111-222222222222-{}", &rest[..24]), "a Slack token"),
            (format!("AKIA{}", "A1B2C3D4E5F6G7H8"), "an AWS key"),
            (format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZXYifQ.{}", &rest[..20]), "a signed token"),
        ] {
            assert_eq!(resembles(&text), Some(what), "{text}");
        }
    }
}
