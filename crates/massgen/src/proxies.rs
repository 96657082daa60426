//! The proxies that the environment names for remote servers.

use mcp_core::Environment;
use mcp_transport::Proxies;
use url::Url;

use crate::error::Problem;

/// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; as everywhere, the spelling in small letters comes first.
///
/// # Errors
///
/// A [`Problem`] that names the variable whose value is not the address of an HTTP proxy.
pub(crate) fn read(environment: &Environment) -> Result<Proxies, Problem> {
    let proxy = |names: [&str; 4]| {
        let found = names.into_iter().find_map(|name| Some((name, environment.non_empty(name)?)));
        found.map(|(name, value)| address(name, value)).transpose()
    };
    let exempt = environment.non_empty("no_proxy").or_else(|| environment.non_empty("NO_PROXY"));
    Ok(Proxies {
        http: proxy(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
        https: proxy(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
        exempt: exempt.unwrap_or_default().to_owned(),
    })
}

/// The value may hold a password: no message shows it.
fn address(name: &str, value: &str) -> Result<Url, Problem> {
    let value = value.trim();
    let full = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    match Url::parse(&full) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Ok(url),
        Ok(url) => Err(Problem::new(
            format!("{name} names a {} proxy; servers are reached through HTTP proxies only", url.scheme()),
            format!("set {name} to http://host:port, or unset it"),
        )),
        Err(error) => Err(Problem::new(
            format!("{name} is not the address of a proxy: {error}"),
            format!("set {name} to http://host:port, or unset it"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_scheme_has_its_variable_and_small_letters_come_first() {
        let proxies = read(&environment(&[
            ("HTTP_PROXY", "http://upper:1"),
            ("http_proxy", "lower:2"),
            ("HTTPS_PROXY", ""),
            ("ALL_PROXY", "http://user:hush@all:3"),
            ("NO_PROXY", "intra.example"),
        ]))
        .unwrap();
        assert_eq!(proxies.http.as_ref().map(Url::as_str), Some("http://lower:2/"));
        assert_eq!(proxies.https.as_ref().and_then(Url::port), Some(3));
        assert_eq!(proxies.exempt, "intra.example");
        assert!(!format!("{proxies:?}").contains("hush"));
        assert_eq!(read(&Environment::default()).unwrap(), Proxies::default());
    }

    #[test]
    fn what_is_no_http_proxy_is_named_without_its_value() {
        for (value, reason) in
            [("socks5://user:hush@host:1", "socks5"), ("http://hush hush", "not the address")]
        {
            let problem = read(&environment(&[("https_proxy", value)])).unwrap_err();
            assert!(
                problem.message.contains("https_proxy") && problem.message.contains(reason),
                "{problem:?}"
            );
            assert!(!format!("{problem:?}").contains("hush"));
        }
    }
}
