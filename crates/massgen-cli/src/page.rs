//! Web pages that a person is sent to.

use url::{Host, Url};

/// Whether an address may be handed to a browser: https, or http on this machine, with no user in it, and nothing that a
/// program could take for an option or a command.
pub(crate) fn is_web(page: &Url) -> bool {
    let local = match page.host() {
        Some(Host::Domain(host)) => host == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let bare = page.username().is_empty() && page.password().is_none();
    bare && ((page.scheme() == "https" && page.has_host()) || (page.scheme() == "http" && local))
}

/// What about an address's host deserves a second look.
pub(crate) fn doubt(page: &Url) -> Option<&'static str> {
    match page.host()? {
        Host::Domain(host) if host.split('.').any(|label| label.starts_with("xn--")) => Some(
            "the host's name is written in other letters than those of the Latin alphabet, and may only look like the one you know",
        ),
        Host::Ipv4(_) | Host::Ipv6(_) => {
            Some("the host is a bare number, and not a name that you could know")
        }
        Host::Domain(_) => None,
    }
}

/// Starts the user's browser, without a shell. The address has to be one of the web.
pub(crate) fn open(page: &Url) -> bool {
    if !is_web(page) {
        return false;
    }
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's own browser, with one argument that is an address"
    )]
    let mut command = std::process::Command::new(program);
    let quiet = std::process::Stdio::null;
    let child = command.arg(page.as_str()).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    match child {
        Ok(mut child) => {
            // It ends when it has handed the page over; nobody needs to know when.
            std::thread::spawn(move || child.wait());
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_web_are_opened_and_odd_hosts_are_told() {
        for (page, web, doubtful) in [
            ("https://auth.example/authorize?a=b&state=x(1)$y", true, false),
            ("http://localhost:4000/authorize", true, false),
            ("http://127.0.0.1/authorize", true, true),
            ("https://xn--pypal-4ve.example/login", true, true),
            ("https://раypal.example/login", true, true),
            ("http://auth.example/authorize", false, false),
            ("https://user:word@auth.example/", false, false),
            ("file:///etc/passwd", false, false),
            ("javascript:alert(1)", false, false),
        ] {
            let page = Url::parse(page).unwrap();
            assert_eq!((is_web(&page), doubt(&page).is_some()), (web, doubtful), "{page}");
        }
    }
}
