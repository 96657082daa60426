//! Addresses of remote servers as a user writes them. What a name resolves to is judged again when it is dialled
//! ([`crate::address`]).

use std::net::IpAddr;

use mcp_core::Refusal;
use url::{Host, Url};

use crate::address::{self, Class};
use crate::{Finding, Level, Rules, limits, refusal, text};

/// Reads a URL, refusing what a parser would silently correct.
///
/// ```
/// assert!(mcp_security::url::parse("https://mcp.example.com/mcp").is_ok());
/// assert_eq!(mcp_security::url::parse("https://a.example\\@127.0.0.1/").unwrap_err().rule, "url-syntax");
/// ```
///
/// # Errors
///
/// A [`Refusal`] by the rule `url-syntax`, `url-limit` or `url-host`.
pub fn parse(text: &str) -> Result<Url, Refusal> {
    let url = read(text)?;
    match url.fragment() {
        Some(_) => Err(refusal("url-syntax", "the URL contains a \"#\"", "write it as https://HOST/PATH")),
        None => Ok(url),
    }
}

/// As [`parse`], with a fragment where there is one.
fn read(text: &str) -> Result<Url, Refusal> {
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
    if let Some(found) = text::hidden(trimmed).first {
        return bad(format!("the URL contains the invisible character {}", found.escape_unicode()));
    }
    if trimmed.starts_with('-') {
        return bad("the URL begins like an option".to_owned());
    }
    // "https:///x" would be mended to the host "x".
    let after_scheme = trimmed.split_once(':').map(|(_, rest)| rest).unwrap_or_default();
    if trimmed.to_ascii_lowercase().starts_with("http")
        && (after_scheme.starts_with("///") || !after_scheme.starts_with("//"))
    {
        return bad("the URL has no host".to_owned());
    }
    // What stands before an "@" is no host, however much it looks like one.
    let authority = after_scheme.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    let url = match Url::parse(trimmed) {
        Ok(url) => url,
        Err(error) => return bad(format!("the URL cannot be read: {error}")),
    };
    if let Some(domain) = url.domain() {
        judge_letters(authority, domain)?;
    }
    Ok(url)
}

/// A label that mixes alphabets shows another name than it has.
fn judge_letters(authority: &str, domain: &str) -> Result<(), Refusal> {
    let (unicode, _) = idna::domain_to_unicode(domain);
    let typed = authority.rsplit('@').next().unwrap_or(authority);
    let mut labels = unicode.split('.').chain(typed.split(['.', ':']));
    if let Some(label) = labels.find(|label| text::mixes_scripts(label)) {
        return Err(refusal(
            "url-host",
            format!("the host's part {label:?} mixes alphabets, so that it looks like another name"),
            "write the host as its owner does",
        ));
    }
    Ok(())
}

/// Who says that a URL should be used, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Context {
    /// The user's own configuration names a server.
    ServerConfig,
    /// A server says where its authorization server describes itself.
    OAuthMetadata,
    /// A server's challenge says where it describes itself; only its own origin can.
    ResourceMetadata,
    /// An authorization server's page, to be opened in a browser.
    AuthorizationUrl,
    /// Where the browser comes back to.
    RedirectUri,
    /// A server redirects a request.
    Redirect,
    /// A server asks a person to open a page.
    Elicitation,
    /// A server's result points to something, which is shown and never fetched.
    ResourceLink,
}

/// A URL in question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The URL as text.
    pub text: &'a str,
    /// What it is to be used for.
    pub context: Context,
    /// The server that says so.
    pub base: Option<&'a Url>,
    /// How many redirects led here.
    pub hops: usize,
}

/// May this URL be used for that? Answers with the URL and what is worth telling about it.
///
/// ```
/// use mcp_security::{Rules, url::{Context, Question, admit}};
/// let ask = |text, context| admit(Question { text, context, base: None, hops: 0 }, &Rules::default()).is_ok();
/// assert!(ask("http://127.0.0.1:8931/mcp", Context::ServerConfig));
/// assert!(!ask("http://127.0.0.1:8931/mcp", Context::Elicitation));
/// ```
///
/// # Errors
///
/// A [`Refusal`] by a rule of [`parse`] or [`judge`], or by `url-origin`, `redirect-limit`, `cleartext`.
pub fn admit(question: Question<'_>, rules: &Rules) -> Result<(Url, Vec<Finding>), Refusal> {
    let Question { text, context, base, hops } = question;
    let url = match context {
        Context::ServerConfig | Context::AuthorizationUrl | Context::RedirectUri => parse(text)?,
        _ => read(text)?,
    };
    let mut findings = Vec::new();
    match context {
        Context::ServerConfig => judge(&url, rules)?,
        Context::Redirect => {
            if hops > limits::REDIRECTS {
                let reason = format!("{hops} redirects; at most {} are followed", limits::REDIRECTS);
                return Err(refusal("redirect-limit", reason, "use the address that they lead to"));
            }
            judge_origin(&url, base)?;
        }
        Context::ResourceMetadata => {
            judge_origin(&url, base)?;
            judge_supplied(&url, base, Cleartext::Own)?;
        }
        Context::OAuthMetadata => judge_supplied(&url, base, Cleartext::Own)?,
        Context::AuthorizationUrl => {
            // Programs that open pages have handed these on to a shell (CVE-2025-6514).
            let text = text.trim_matches(' ');
            if let Some(found) =
                text.chars().find(|c| matches!(c, '"' | '\'' | '`' | ' ' | '<' | '>' | '^' | '|'))
            {
                return Err(refusal(
                    "url-syntax",
                    format!("the URL contains {found:?}"),
                    "there is no setting for this",
                ));
            }
            if text.contains("$(") || text.contains("${") {
                return Err(refusal(
                    "url-syntax",
                    "the URL contains a command for a shell",
                    "there is no setting for this",
                ));
            }
            judge_supplied(&url, base, Cleartext::Own)?;
        }
        Context::RedirectUri => {
            let here = class_of(&url) == Class::Loopback;
            match url.scheme() {
                "http" if here => {}
                "https" => judge_supplied(&url, base, Cleartext::No)?,
                scheme => return Err(scheme_refusal(scheme)),
            }
        }
        Context::Elicitation => {
            judge_supplied(&url, None, Cleartext::No)?;
            findings.extend(imitation(&url));
        }
        Context::ResourceLink => match url.scheme() {
            "https" => judge_supplied(&url, None, Cleartext::No)?,
            "http" => {
                judge_supplied(&url, None, Cleartext::Told)?;
                findings.push(Finding::new(
                    "cleartext",
                    format!("{url} is in clear text"),
                    "open it with care",
                ));
            }
            "file" | "javascript" | "vbscript" | "data" | "blob" | "ftp" | "gopher" | "smb" | "ldap"
            | "jar" | "about" | "dict" | "tftp" | "ssh" | "telnet" | "chrome" | "view-source"
            | "filesystem" | "shell" => {
                return Err(scheme_refusal(url.scheme()));
            }
            scheme if scheme.starts_with("ms-") || scheme.starts_with("search-ms") => {
                return Err(scheme_refusal(scheme));
            }
            // The names that servers give to what they hold; only the server itself can read them.
            _ => {}
        },
    }
    Ok((url, findings))
}

/// Whether `http:` may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cleartext {
    No,
    /// Told instead of refused.
    Told,
    /// Where the server itself is reached so, on this computer.
    Own,
}

fn scheme_refusal(scheme: &str) -> Refusal {
    refusal("url-scheme", format!("{scheme}: is not used for this"), "use https:")
}

/// A redirect or description elsewhere would carry credentials there.
fn judge_origin(url: &Url, base: Option<&Url>) -> Result<(), Refusal> {
    let same = base.is_some_and(|base| {
        base.scheme() == url.scheme()
            && base.host() == url.host()
            && base.port_or_known_default() == url.port_or_known_default()
    });
    if !same || !url.username().is_empty() || url.password().is_some() {
        return Err(refusal(
            "url-origin",
            format!("{} is another place than the server", url.host_str().unwrap_or_default()),
            "put the address it leads to into url: if it is right",
        ));
    }
    Ok(())
}

/// Judges a URL that a server said: the public Internet only, or where the server itself is.
fn judge_supplied(url: &Url, base: Option<&Url>, cleartext: Cleartext) -> Result<(), Refusal> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(scheme_refusal(url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refusal(
            "url-credentials",
            "the URL carries a user name or password",
            "there is no setting for this",
        ));
    }
    let class = class_of(url);
    let own = class == Class::Loopback && base.is_some_and(|base| class_of(base) == Class::Loopback);
    let name = url.host_str().unwrap_or_default();
    let single = url.domain().is_some_and(|domain| !domain.trim_end_matches('.').contains('.'));
    if !own {
        address::judge_class(class, name, false, &Rules { allow_private_ips: false, ..Rules::default() })?;
        if single {
            return Err(refusal(
                "private-address",
                format!("{name} is a name of a private network"),
                "there is no setting for this",
            ));
        }
    }
    if url.scheme() == "http" && !(own && cleartext == Cleartext::Own) && cleartext != Cleartext::Told {
        return Err(refusal(
            "cleartext",
            format!("http://{name} can be changed by anybody on the way"),
            "use https:",
        ));
    }
    Ok(())
}

/// May `address`, to which the host of a URL that a server said resolved, be dialled?
///
/// # Errors
///
/// A [`Refusal`] by a rule of [`address::judge`].
pub fn judge_supplied_address(host: &str, ip: IpAddr) -> Result<(), Refusal> {
    address::judge_class(address::classify(ip), &format!("{host} ({ip})"), false, &Rules::default())
}

/// A host that looks like one that people know.
fn imitation(url: &Url) -> Option<Finding> {
    const KNOWN: &[&str] = &[
        "paypal",
        "google",
        "microsoft",
        "github",
        "gitlab",
        "apple",
        "amazon",
        "facebook",
        "netflix",
        "linkedin",
        "dropbox",
        "slack",
        "discord",
        "openai",
        "anthropic",
        "claude",
        "binance",
        "coinbase",
        "metamask",
        "atlassian",
    ];
    const BAIT: &[&str] =
        &["login", "signin", "verify", "verification", "secure", "wallet", "password", "unlock"];
    let host = url.domain()?.trim_end_matches('.').to_ascii_lowercase();
    let (shown, _) = idna::domain_to_unicode(&host);
    let labels: Vec<&str> = shown.split('.').collect();
    let registrable = labels.len().saturating_sub(2);
    let odd = labels.iter().enumerate().any(|(at, label)| {
        let plain: String = text::skeleton(label)
            .chars()
            .map(|c| match c {
                '0' => 'o',
                '1' => 'l',
                '3' => 'e',
                '5' => 's',
                c => c,
            })
            .collect();
        let plain = plain.replace("rn", "m").replace("vv", "w");
        let imitates = KNOWN.iter().any(|known| plain.contains(known) && !label.contains(known));
        // `brand-verify.example`, and a brand as part of somebody else's name.
        let baits = at >= registrable.saturating_sub(1)
            && label.contains('-')
            && label.split('-').any(|part| BAIT.contains(&part));
        imitates || baits
    });
    let coded = host.split('.').any(|label| label.starts_with("xn--"));
    (odd || coded).then(|| {
        Finding::new(
            "url-imitates",
            format!("{shown} may not be what it looks like"),
            "look at the whole address before you open it",
        )
    })
}

fn class_of(url: &Url) -> Class {
    match url.host() {
        Some(Host::Domain(domain)) => class_of_name(domain),
        Some(Host::Ipv4(ip)) => address::classify(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => address::classify(IpAddr::V6(ip)),
        None => Class::Reserved,
    }
}

/// What a name says about the place before it is resolved.
fn class_of_name(domain: &str) -> Class {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let private = [
        "local",
        "localdomain",
        "internal",
        "intranet",
        "lan",
        "home",
        "corp",
        "svc",
        "home.arpa",
        "cluster.local",
    ];
    if is_metadata_name(&domain) {
        Class::Metadata
    } else if is_loopback_name(&domain) {
        Class::Loopback
    } else if private.iter().any(|suffix| domain.ends_with(&format!(".{suffix}"))) {
        Class::Private
    } else {
        Class::Public
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
    let class = class_of(url);
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

pub(crate) fn is_metadata_name(domain: &str) -> bool {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    matches!(
        domain.as_str(),
        "metadata.google.internal" | "metadata" | "instance-data" | "metadata.azure.internal"
    )
}
