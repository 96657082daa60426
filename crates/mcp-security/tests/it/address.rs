//! URLs, headers and the addresses behind them.

use std::collections::{BTreeMap, BTreeSet};

use mcp_core::{Guard, RemoteSpec};
use mcp_security::{Level, Policy, Rules, url};

use crate::{admit_url, server};

#[test]
fn user_typed_urls_are_judged_by_where_they_lead() {
    let cases = [
        ("https://mcp.example.com/mcp", None),
        ("https://mcp.example.com:8443/a(b)$c'd*e,f?x=1&y=2", None),
        ("http://127.0.0.1:8931/mcp", None),
        ("http://localhost:8000/mcp", None),
        ("http://[::1]:8000/mcp", None),
        ("https://172.32.0.1/", None),
        ("https://100.128.0.1/", None),
        ("https://[2001:4860:4860::8888]/", None),
        ("http://mcp.example.com/mcp", Some("cleartext")),
        ("ws://mcp.example.com/", Some("url-scheme")),
        ("file:///etc/passwd", Some("url-scheme")),
        ("https://user:secret@mcp.example.com/", Some("url-credentials")),
        ("https://10.0.0.5/", Some("private-address")),
        ("https://192.168.1.1/", Some("private-address")),
        ("https://172.16.0.1/", Some("private-address")),
        ("https://100.64.0.1/", Some("private-address")),
        ("https://[fd12::1]/", Some("private-address")),
        ("https://169.254.169.254/latest/meta-data/", Some("metadata-address")),
        ("https://[::ffff:169.254.169.254]/", Some("metadata-address")),
        ("https://[64:ff9b::a9fe:a9fe]/", Some("metadata-address")),
        ("https://[2002:a9fe:a9fe::1]/", Some("metadata-address")),
        ("https://[fe80::1]/", Some("metadata-address")),
        ("https://[fd00:ec2::254]/", Some("metadata-address")),
        ("https://168.63.129.16/", Some("metadata-address")),
        ("https://metadata.google.internal./x", Some("metadata-address")),
        ("https://0xA9FEA9FE/", Some("metadata-address")),
        ("https://2852039166/", Some("metadata-address")),
        ("https://0/", Some("reserved-address")),
        ("https://[::]/", Some("reserved-address")),
        ("https://224.0.0.1/", Some("reserved-address")),
        ("https://a.example\\@127.0.0.1/", Some("url-syntax")),
        ("https://a.exa\nmple/", Some("url-syntax")),
        ("https://", Some("url-syntax")),
        ("https:///mcp", Some("url-syntax")),
        ("https://a.example#@evil.example/", Some("url-syntax")),
        ("mcp.example.com", Some("url-syntax")),
    ];
    for (text, rule) in cases {
        assert_eq!(admit_url(Rules::default(), text).err().map(|refusal| refusal.rule), rule, "{text}");
    }
}

#[test]
fn other_spellings_of_this_computer_are_this_computer() {
    let closed = Rules { allow_loopback: false, ..Rules::default() };
    for host in [
        "localhost",
        "localhost.",
        "foo.localhost",
        "127.1",
        "0x7f.1",
        "2130706433",
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[2002:7f00:1::]",
    ] {
        let text = format!("http://{host}/");
        assert_eq!(admit_url(Rules::default(), &text), Ok(()), "{host}");
        let refusal = admit_url(closed.clone(), &text).unwrap_err();
        assert_eq!(refusal.rule, "loopback-address", "{host}");
    }
}

#[test]
fn switches_open_what_they_say_and_no_more() {
    let private = Rules { allow_private_ips: true, ..Rules::default() };
    assert_eq!(admit_url(private.clone(), "https://10.0.0.5/"), Ok(()));
    assert_eq!(admit_url(private.clone(), "https://169.254.169.254/").unwrap_err().rule, "metadata-address");
    // A private name may lead into a private network, and no further: not to what listens on this computer.
    let policy = Policy::new(private);
    for (host, address, rule) in [
        ("mcp.corp.internal", "10.1.2.3", None),
        ("mcp.corp.internal", "fd12::7", None),
        ("mcp.corp.internal", "127.0.0.1", Some("loopback-address")),
        ("mcp.corp.internal", "::1", Some("loopback-address")),
        ("mcp.corp.internal", "::ffff:127.0.0.1", Some("loopback-address")),
        ("mcp.corp.internal", "169.254.169.254", Some("metadata-address")),
        ("localhost", "127.0.0.1", None),
    ] {
        let verdict = policy.admit_address(&server(), host, address.parse().unwrap());
        assert_eq!(verdict.err().map(|refusal| refusal.rule), rule, "{host} -> {address}");
    }
    assert_eq!(admit_url(Rules::at(Level::Permissive), "http://mcp.example.com/"), Ok(()));
    let cleartext = Rules { allow_cleartext: true, ..Rules::default() };
    assert_eq!(admit_url(cleartext, "http://mcp.example.com/"), Ok(()));
    let hosts = Some(BTreeSet::from(["mcp.example.com".to_owned()]));
    let listed = Rules { allowed_hosts: hosts, ..Rules::default() };
    assert_eq!(admit_url(listed.clone(), "https://MCP.example.com./"), Ok(()));
    assert_eq!(admit_url(listed, "https://other.example.com/").unwrap_err().rule, "host-list");
    let long = format!("https://mcp.example.com/{}", "x".repeat(3000));
    assert_eq!(admit_url(Rules::default(), &long), Ok(()));
    assert_eq!(admit_url(Rules::at(Level::Strict), &long).unwrap_err().rule, "url-limit");
}

#[test]
fn the_dialled_address_is_judged_again() {
    let cases = [
        ("mcp.example.com", "93.184.216.34", None),
        ("localhost", "127.0.0.1", None),
        ("127.0.0.1", "127.0.0.1", None),
        ("[::1]", "::1", None),
        ("mcp.example.com", "127.0.0.1", Some("loopback-address")),
        ("mcp.example.com", "10.0.0.5", Some("private-address")),
        ("mcp.example.com", "169.254.169.254", Some("metadata-address")),
        ("localhost", "169.254.169.254", Some("metadata-address")),
        ("mcp.example.com", "0.0.0.0", Some("reserved-address")),
    ];
    for (host, address, rule) in cases {
        let verdict = Policy::default().admit_address(&server(), host, address.parse().unwrap());
        assert_eq!(verdict.err().map(|refusal| refusal.rule), rule, "{host} -> {address}");
    }
}

#[test]
fn headers_must_not_break_out_or_take_over() {
    let cases = [
        ("Authorization", "Bearer abc", None),
        ("X-Trace", "a\tb", None),
        ("X-A", "a\r\nEvil: 1", Some("control-character")),
        ("X A", "a", Some("header-name")),
        ("", "a", Some("header-name")),
        ("Host", "a", Some("header-owned")),
        ("Mcp-Session-Id", "a", Some("header-owned")),
        ("MCP-Protocol-Version", "a", Some("header-owned")),
        ("Proxy-Authorization", "a", Some("header-owned")),
    ];
    for (name, value, rule) in cases {
        let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let spec = RemoteSpec { url: url::parse("https://mcp.example.com/").unwrap(), headers };
        let verdict = Policy::default().admit_url(&server(), spec);
        assert_eq!(verdict.err().map(|refusal| refusal.rule), rule, "{name}: {value:?}");
    }
}

#[test]
fn addresses_of_logins_lead_no_further_than_their_server() {
    let far = "https://mcp.example.com/mcp";
    let here = "http://127.0.0.1:8931/mcp";
    let inside = Rules { allow_private_ips: true, ..Rules::default() };
    let cases = [
        (Rules::default(), far, "https://login.example.org/token", None),
        (Rules::default(), far, "http://login.example.org/token", Some("cleartext")),
        (Rules::default(), far, "http://localhost:6379/", Some("loopback-address")),
        (Rules::default(), far, "https://10.0.0.1/token", Some("private-address")),
        (Rules::default(), far, "http://169.254.169.254/latest", Some("metadata-address")),
        (Rules::default(), far, "https://who:what@login.example.org/", Some("url-credentials")),
        (Rules::default(), here, "http://127.0.0.1:8932/token", None),
        (Rules::default(), here, "https://10.0.0.1/token", Some("private-address")),
        (inside.clone(), "https://10.0.0.5/mcp", "https://10.0.0.6/token", None),
        (inside, "https://10.0.0.5/mcp", "http://169.254.169.254/", Some("metadata-address")),
    ];
    for (rules, resource, text, rule) in cases {
        let (url, resource) = (text.parse().unwrap(), resource.parse().unwrap());
        let verdict = Policy::new(rules).admit_login_url(&server(), &url, &resource);
        assert_eq!(verdict.err().map(|refusal| refusal.rule), rule, "{text}");
    }
}
