//! What kind of place an address is, and whether it may be dialled.
//!
//! Asked after DNS, about the address that is really dialled: a public name that resolves to a private address, or to
//! another one the second time, is caught here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcp_core::Refusal;

use crate::{Rules, refusal, url};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Anywhere on the Internet.
    Public,
    /// This computer.
    Loopback,
    /// A private network, a carrier's, or one for benchmarks (which some proxies use for themselves).
    Private,
    /// Where clouds hand out credentials; link-local addresses as a whole.
    Metadata,
    /// No server: unspecified, multicast, broadcast, documentation, reserved.
    Reserved,
}

/// The kind of an address; IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4) counts as what it means.
///
/// ```
/// use mcp_security::address::{Class, classify};
/// assert_eq!(classify("93.184.216.34".parse()?), Class::Public);
/// assert_eq!(classify("::ffff:127.0.0.1".parse()?), Class::Loopback);
/// assert_eq!(classify("64:ff9b::a9fe:a9fe".parse()?), Class::Metadata);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn within(address: Ipv4Addr, network: [u8; 4], bits: u32) -> bool {
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    u32::from(address) & mask == u32::from(Ipv4Addr::from(network)) & mask
}

/// First match counts: the exceptions stand before the networks they lie in.
const V4: &[([u8; 4], u32, Class)] = &[
    ([169, 254, 0, 0], 16, Class::Metadata),
    ([100, 100, 100, 200], 32, Class::Metadata),
    ([168, 63, 129, 16], 32, Class::Metadata),
    ([127, 0, 0, 0], 8, Class::Loopback),
    ([10, 0, 0, 0], 8, Class::Private),
    ([100, 64, 0, 0], 10, Class::Private),
    ([172, 16, 0, 0], 12, Class::Private),
    ([192, 168, 0, 0], 16, Class::Private),
    ([198, 18, 0, 0], 15, Class::Private),
    ([0, 0, 0, 0], 8, Class::Reserved),
    ([192, 0, 0, 0], 24, Class::Reserved),
    ([192, 0, 2, 0], 24, Class::Reserved),
    ([192, 31, 196, 0], 24, Class::Reserved),
    ([192, 52, 193, 0], 24, Class::Reserved),
    ([192, 88, 99, 0], 24, Class::Reserved),
    ([192, 175, 48, 0], 24, Class::Reserved),
    ([198, 51, 100, 0], 24, Class::Reserved),
    ([203, 0, 113, 0], 24, Class::Reserved),
    ([224, 0, 0, 0], 3, Class::Reserved),
];

fn classify_v4(address: Ipv4Addr) -> Class {
    V4.iter()
        .find(|(network, bits, _)| within(address, *network, *bits))
        .map_or(Class::Public, |(_, _, class)| *class)
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    if address.is_loopback() {
        return Class::Loopback;
    }
    if address.is_unspecified() {
        return Class::Reserved;
    }
    match s {
        // ::a.b.c.d, ::ffff:a.b.c.d, 64:ff9b::a.b.c.d (the only way out of an IPv6-only network), 2002:a.b.c.d::
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            classify_v4(v4(high, low))
        }
        [0x2002, high, low, ..] => classify_v4(v4(high, low)),
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => Class::Metadata,
        [first, ..] if first & 0xffc0 == 0xfe80 => Class::Metadata,
        [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Class::Private,
        [0x64, 0xff9b, 1, ..] => Class::Private,
        // Teredo and the protocol assignments around it; documentation; discard; segment routing; multicast.
        [0x2001, second, ..] if second < 0x0200 || second == 0x0db8 => Class::Reserved,
        [0x100, 0, 0, 0, ..] | [0x5f00, ..] => Class::Reserved,
        [0x3fff, second, ..] if second < 0x1000 => Class::Reserved,
        [first, ..] if first & 0xff00 == 0xff00 => Class::Reserved,
        _ => Class::Public,
    }
}

/// May `address`, to which `host` resolved, be dialled?
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `metadata-address`, `loopback-address`, `private-address`, `reserved-address`.
pub fn judge(host: &str, address: IpAddr, rules: &Rules) -> Result<(), Refusal> {
    let class = classify(address);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let means_here =
        url::is_loopback_name(bare) || bare.parse().is_ok_and(|ip| classify(ip) == Class::Loopback);
    let shown = if bare == address.to_string() { bare.to_owned() } else { format!("{bare} ({address})") };
    judge_class(class, &shown, means_here, rules)
}

/// `means_here`: the user wrote a host that can only mean this computer, so finding it there is no surprise.
pub(crate) fn judge_class(class: Class, shown: &str, means_here: bool, rules: &Rules) -> Result<(), Refusal> {
    match class {
        Class::Public => Ok(()),
        Class::Loopback if means_here && rules.allow_loopback => Ok(()),
        Class::Loopback => Err(refusal(
            "loopback-address",
            format!("{shown} is this computer"),
            if means_here {
                "set security.allow_localhost: true for this server"
            } else {
                "write localhost in the URL if that is what you mean; a public name must not lead here"
            },
        )),
        Class::Private if rules.allow_private_ips => Ok(()),
        Class::Private => Err(refusal(
            "private-address",
            format!("{shown} is in a private network"),
            "set security.allow_private_ips: true for this server",
        )),
        Class::Metadata => Err(refusal(
            "metadata-address",
            format!("{shown} is where clouds hand out credentials, or link-local"),
            "use the server's own address; there is no setting for this",
        )),
        Class::Reserved => Err(refusal(
            "reserved-address",
            format!("{shown} is not the address of a server"),
            "use the server's own address",
        )),
    }
}
