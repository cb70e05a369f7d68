//! Which addresses nothing in a sandbox may reach.
//!
//! Owns: the table of special networks. Must not: know lists or names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// A public host.
    Public,
    /// This host, its networks, or nowhere: only a list that has this very address allows it.
    Inside,
    /// The local link or a cloud's metadata: nothing allows it.
    Never,
}

/// A network: its first address and how many bits of it count.
type Net4 = ([u8; 4], u32);
/// The same for IPv6.
type Net6 = ([u16; 8], u32);

/// Link-local addresses, and where clouds serve credentials outside of them. Nothing in there is ever allowed.
const NEVER_4: [Net4; 6] = [
    ([169, 254, 0, 0], 16), // link-local: metadata of AWS, GCP, Azure, OpenStack and most others
    ([168, 63, 129, 16], 32), // Azure
    ([100, 100, 100, 200], 32), // Alibaba
    ([100, 96, 0, 96], 32), // Volcano Engine
    ([100, 88, 222, 5], 32), // Tencent
    ([192, 0, 0, 192], 32), // Oracle, the old one
];
/// The same for IPv6.
const NEVER_6: [Net6; 6] = [
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),               // link-local
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),           // AWS: metadata, names, time, pods
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32),            // GCP
    ([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128),        // Scaleway
    ([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), // Oracle
    ([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0], 48),     // Linode
];
/// What IANA lists as not globally reachable, and multicast.
const INSIDE_4: [Net4; 15] = [
    ([0, 0, 0, 0], 8),       // this network; 0.0.0.0 reaches this host
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // shared by carriers
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // relays of 6to4
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarking
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, and broadcast
];
/// What is public of IPv6; everything else is special.
const PUBLIC_6: Net6 = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// What is special in there.
const INSIDE_6: [Net6; 3] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments: Teredo, benchmarking, ORCHID
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];
/// Networks whose last 32 bits are an IPv4 address: mapped, NAT64, NAT64 of a site, translated, compatible.
const CARRY_4: [Net6; 5] = [
    MAPPED,
    NAT64,
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96),
];
const MAPPED: Net6 = ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
const NAT64: Net6 = ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
/// Networks whose bits 16 to 48 are an IPv4 address.
const SIX_TO_FOUR: Net6 = ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

/// Returns where an address leads. An IPv6 address that carries an IPv4 address leads where that one leads, or to
/// a worse place.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_4(address),
        IpAddr::V6(address) => reach_6(address),
    }
}

fn reach_4(address: Ipv4Addr) -> Reach {
    if NEVER_4.iter().any(|net| within_4(address, *net)) {
        Reach::Never
    } else if INSIDE_4.iter().any(|net| within_4(address, *net)) {
        Reach::Inside
    } else {
        Reach::Public
    }
}

fn reach_6(address: Ipv6Addr) -> Reach {
    let carried = carried(address).map_or(Reach::Public, reach_4);
    let own = if NEVER_6.iter().any(|net| within_6(address, *net)) {
        Reach::Never
    } else if within_6(address, MAPPED) || within_6(address, NAT64) {
        Reach::Public
    } else if !within_6(address, PUBLIC_6) || INSIDE_6.iter().any(|net| within_6(address, *net)) {
        Reach::Inside
    } else {
        Reach::Public
    };
    own.max(carried)
}

/// Returns the IPv4 address that an IPv6 address stands for, if it is of a form that has one.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., first, second] = address.segments();
    let last = u32::from(first) << 16 | u32::from(second);
    let [_, high, low, ..] = address.segments();
    let isatap = matches!(address.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _]);
    if isatap || CARRY_4.iter().any(|net| within_6(address, *net)) {
        Some(Ipv4Addr::from_bits(last))
    } else if within_6(address, SIX_TO_FOUR) {
        Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    } else {
        None
    }
}

fn within_4(address: Ipv4Addr, (first, bits): Net4) -> bool {
    (address.to_bits() ^ Ipv4Addr::from(first).to_bits()).leading_zeros() >= bits
}

fn within_6(address: Ipv6Addr, (first, bits): Net6) -> bool {
    (address.to_bits() ^ Ipv6Addr::from(first).to_bits()).leading_zeros() >= bits
}
