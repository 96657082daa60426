//! Any text as an address: whatever a server may make massgen dial is no place of this computer or of a private network.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use mcp_security::url::{Context, Question, admit, parse};
use mcp_security::{Rules, address};
use url::{Host, Url};

fn is_private(host: &Host<&str>) -> bool {
    let v4 = |ip: Ipv4Addr| {
        ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast()
    };
    match host {
        Host::Ipv4(ip) => v4(*ip),
        Host::Ipv6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.to_ipv4_mapped().is_some_and(v4)
        }
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost") || name == "metadata.google.internal"
        }
    }
}

fuzz_target!(|text: &str| {
    let rules = Rules::default();
    let base = Url::parse("https://mcp.example.com/mcp").ok();
    let _ = parse(text);
    let _ = admit(Question { text, context: Context::ServerConfig, base: None, hops: 0 }, &rules);
    let _ = admit(Question { text, context: Context::RedirectUri, base: None, hops: 0 }, &rules);
    for context in [
        Context::OAuthMetadata,
        Context::ResourceMetadata,
        Context::AuthorizationUrl,
        Context::Redirect,
        Context::Elicitation,
        Context::ResourceLink,
    ] {
        let question = Question { text, context, base: base.as_ref(), hops: 0 };
        if let Ok((url, _)) = admit(question, &rules)
            // Another scheme names what the server itself holds, and is never dialled.
            && matches!(url.scheme(), "http" | "https")
            && let Some(host) = url.host()
        {
            assert!(!is_private(&host), "{text:?} as {context:?}");
        }
    }
    if let Ok(ip) = text.trim().parse::<IpAddr>() {
        let _ = address::judge("mcp.example.com", ip, &rules);
    }
});
