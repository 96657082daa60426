//! Addresses of remote servers as a user writes them. What a name resolves to is judged again when it is dialled
//! ([`crate::address`]).

use std::net::IpAddr;

use mcp_core::Refusal;
use url::{Host, Url};

use crate::address::{self, Class};
use crate::{Level, Rules, limits, refusal};

/// Reads a URL, refusing what a parser would silently correct.
///
/// ```
/// assert!(mcp_security::url::parse("https://mcp.example.com/mcp").is_ok());
/// assert_eq!(mcp_security::url::parse("https://a.example\\@127.0.0.1/").unwrap_err().rule, "url-syntax");
/// ```
///
/// # Errors
///
/// A [`Refusal`] by the rule `url-syntax` or `url-limit`.
pub fn parse(text: &str) -> Result<Url, Refusal> {
    let trimmed = text.trim_matches(' ');
    let bad = |reason: String| Err(refusal("url-syntax", reason, "write it as https://HOST/PATH"));
    if trimmed.len() > limits::URL_BYTES {
        let reason = format!("the URL is {} bytes long; {} are allowed", trimmed.len(), limits::URL_BYTES);
        return Err(refusal("url-limit", reason, "shorten it"));
    }
    // Browsers drop line breaks and turn backslashes round; two readers of one URL would see two hosts.
    if let Some(found) = trimmed.chars().find(|c| c.is_control() || *c == '\\') {
        return bad(format!("the URL contains {found:?}"));
    }
    // "https:///x" would be mended to the host "x".
    let after_scheme = trimmed.split_once(':').map(|(_, rest)| rest).unwrap_or_default();
    if trimmed.to_ascii_lowercase().starts_with("http") && after_scheme.starts_with("///") {
        return bad("the URL has no host".to_owned());
    }
    match Url::parse(trimmed) {
        Ok(url) if url.fragment().is_some() => bad("the URL contains a \"#\"".to_owned()),
        Ok(url) => Ok(url),
        Err(error) => bad(format!("the URL cannot be read: {error}")),
    }
}

/// May this URL be used?
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `url-scheme`, `url-limit`, `url-credentials`, `url-host`, `metadata-address`,
/// `loopback-address`, `private-address`, `reserved-address`, `host-list`, `cleartext`.
pub fn judge(url: &Url, rules: &Rules) -> Result<(), Refusal> {
    if !matches!(url.scheme(), "http" | "https") {
        let reason = format!("{}: is not a way to reach a server", url.scheme());
        return Err(refusal("url-scheme", reason, "use https:, or command: for a local program"));
    }
    let limit = if rules.level == Level::Strict { limits::URL_BYTES_STRICT } else { limits::URL_BYTES };
    if url.as_str().len() > limit {
        let reason = format!("the URL is {} bytes long; {limit} are allowed", url.as_str().len());
        return Err(refusal("url-limit", reason, "shorten it"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refusal(
            "url-credentials",
            "the URL carries a user name or password, which ends up in logs",
            "move it into headers: { Authorization: \"...\" }",
        ));
    }
    let Some(host) = url.host() else {
        return Err(refusal("url-host", "the URL has no host", "write it as https://HOST/PATH"));
    };
    let name = host.to_string();
    if let Some(hosts) = &rules.allowed_hosts
        && !hosts
            .iter()
            .any(|allowed| allowed.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.')))
    {
        return Err(refusal(
            "host-list",
            format!("the host {name} is not among those that may be dialled"),
            "add it to security.allowed_hostnames of this server",
        ));
    }
    let class = match &host {
        Host::Domain(domain) => {
            if is_metadata_name(domain) {
                Class::Metadata
            } else if is_loopback_name(domain) {
                Class::Loopback
            } else {
                Class::Public
            }
        }
        Host::Ipv4(ip) => address::classify(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => address::classify(IpAddr::V6(*ip)),
    };
    address::judge_class(class, &name, true, rules)?;
    let cleartext = url.scheme() == "http" && class != Class::Loopback;
    if cleartext && !rules.allow_cleartext && rules.level < Level::Permissive {
        return Err(refusal(
            "cleartext",
            format!("http://{name} would carry calls and credentials in clear text"),
            "use https:, or set security.level: permissive for this server",
        ));
    }
    Ok(())
}

/// Whether a host's name can only mean this computer.
pub(crate) fn is_loopback_name(domain: &str) -> bool {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    domain == "localhost"
        || domain.ends_with(".localhost")
        || matches!(domain.as_str(), "localhost.localdomain" | "ip6-localhost" | "ip6-loopback")
}

fn is_metadata_name(domain: &str) -> bool {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    matches!(
        domain.as_str(),
        "metadata.google.internal" | "metadata" | "instance-data" | "metadata.azure.internal"
    )
}
