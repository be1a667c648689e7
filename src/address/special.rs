//! The special-purpose addresses: every address that is not global unicast. `--deny-net=private` denies these.
//!
//! The list is the contract's; it follows the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) and
//! adds one address that no registry has: Azure's metadata and DNS endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of a special-purpose address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    Unspecified,
    Private,
    Shared,
    Loopback,
    Platform,
    LinkLocal,
    Protocol,
    Documentation,
    As112,
    Relay,
    Benchmarking,
    Multicast,
    Translated,
    Tunnelled,
    Reserved,
}

impl Special {
    /// For messages, which name the kind of an address and never the number: `"private address"`.
    pub const fn kind(self) -> &'static str {
        match self {
            Special::Unspecified => "unspecified address",
            Special::Private => "private address",
            Special::Shared => "shared (carrier NAT) address",
            Special::Loopback => "loopback address",
            Special::Platform => "cloud platform address",
            Special::LinkLocal => "link-local address",
            Special::Protocol => "protocol assignment address",
            Special::Documentation => "documentation address",
            Special::As112 => "reverse DNS sink (AS112) address",
            Special::Relay => "relay anycast address",
            Special::Benchmarking => "benchmarking address",
            Special::Multicast => "multicast address",
            Special::Translated => "translated (NAT64) address",
            Special::Tunnelled => "tunnelled address",
            Special::Reserved => "reserved address",
        }
    }
}

/// What is special about an address; `None` for global unicast. IPv4-mapped IPv6 is its IPv4 address.
pub fn special(ip: IpAddr) -> Option<Special> {
    match super::unmap(ip) {
        IpAddr::V4(ip) => {
            let bits = ip.to_bits();
            if !OCTETS[usize::from(ip.octets()[0])] {
                return None;
            }
            IPV4.iter().find(|(net, len, _)| (bits ^ net.to_bits()) >> (32 - len) == 0).map(|row| row.2)
        }
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            let row = IPV6.iter().find(|(net, len, _)| (bits ^ net.to_bits()) >> (128 - len) == 0);
            // What lies outside 2000::/3 has not been handed out as global unicast, whatever its name.
            let outside = (bits >> 125 != 0b001).then_some(Special::Reserved);
            row.map(|row| row.2).or(outside)
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// The whole list for IPv4. A narrower row stands before a wider one; no prefix is empty.
const IPV4: [(Ipv4Addr, u32, Special); 20] = [
    (v4(0, 0, 0, 0), 32, Special::Unspecified),
    (v4(0, 0, 0, 0), 8, Special::Reserved),
    (v4(10, 0, 0, 0), 8, Special::Private),
    (v4(100, 64, 0, 0), 10, Special::Shared),
    (v4(127, 0, 0, 0), 8, Special::Loopback),
    (v4(168, 63, 129, 16), 32, Special::Platform),
    (v4(169, 254, 0, 0), 16, Special::LinkLocal),
    (v4(172, 16, 0, 0), 12, Special::Private),
    (v4(192, 0, 0, 0), 24, Special::Protocol),
    (v4(192, 0, 2, 0), 24, Special::Documentation),
    (v4(192, 31, 196, 0), 24, Special::As112),
    (v4(192, 52, 193, 0), 24, Special::Relay),
    (v4(192, 88, 99, 0), 24, Special::Relay),
    (v4(192, 168, 0, 0), 16, Special::Private),
    (v4(192, 175, 48, 0), 24, Special::As112),
    (v4(198, 18, 0, 0), 15, Special::Benchmarking),
    (v4(198, 51, 100, 0), 24, Special::Documentation),
    (v4(203, 0, 113, 0), 24, Special::Documentation),
    (v4(224, 0, 0, 0), 4, Special::Multicast),
    (v4(240, 0, 0, 0), 4, Special::Reserved),
];

/// The first octets that rows of [`IPV4`] begin with: for most addresses no row has to be asked.
const OCTETS: [bool; 256] = {
    let mut octets = [false; 256];
    let mut row = 0;
    while row < IPV4.len() {
        let (net, len, _) = IPV4[row];
        let first = net.octets()[0] as usize;
        let last = if len < 8 { first | 0xff >> len } else { first };
        let mut octet = first;
        while octet <= last {
            octets[octet] = true;
            octet += 1;
        }
        row += 1;
    }
    octets
};

/// Names for IPv6: the rows within `2000::/3` decide, those outside only give a better word than "reserved".
const IPV6: [(Ipv6Addr, u32, Special); 13] = [
    (v6(0x2001, 0, 0), 32, Special::Tunnelled), // Teredo
    (v6(0x2001, 0, 0), 23, Special::Protocol),
    (v6(0x2001, 0xdb8, 0), 32, Special::Documentation),
    (v6(0x2002, 0, 0), 16, Special::Tunnelled), // 6to4
    (v6(0x2620, 0x4f, 0x8000), 48, Special::As112),
    (v6(0x3fff, 0, 0), 20, Special::Documentation),
    (Ipv6Addr::UNSPECIFIED, 128, Special::Unspecified),
    (Ipv6Addr::LOCALHOST, 128, Special::Loopback),
    (v6(0x64, 0xff9b, 0), 96, Special::Translated),
    (v6(0x64, 0xff9b, 1), 48, Special::Translated),
    (v6(0xfc00, 0, 0), 7, Special::Private),
    (v6(0xfe80, 0, 0), 10, Special::LinkLocal),
    (v6(0xff00, 0, 0), 8, Special::Multicast),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_ends_where_it_ends() {
        // First and last address of each block, then its neighbours outside.
        for (inside, outside) in [
            (["0.0.0.0", "0.255.255.255"], ["1.0.0.0", "1.0.0.0"]),
            (["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            (["100.64.0.0", "100.127.255.255"], ["100.63.255.255", "100.128.0.0"]),
            (["127.0.0.0", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]),
            (["168.63.129.16", "168.63.129.16"], ["168.63.129.15", "168.63.129.17"]),
            (["169.254.0.0", "169.254.255.255"], ["169.253.255.255", "169.255.0.0"]),
            (["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]),
            (["192.0.0.0", "192.0.0.255"], ["191.255.255.255", "192.0.1.0"]),
            (["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
            (["192.31.196.0", "192.31.196.255"], ["192.31.195.255", "192.31.197.0"]),
            (["192.52.193.0", "192.52.193.255"], ["192.52.192.255", "192.52.194.0"]),
            (["192.88.99.0", "192.88.99.255"], ["192.88.98.255", "192.88.100.0"]),
            (["192.168.0.0", "192.168.255.255"], ["192.167.255.255", "192.169.0.0"]),
            (["192.175.48.0", "192.175.48.255"], ["192.175.47.255", "192.175.49.0"]),
            (["198.18.0.0", "198.19.255.255"], ["198.17.255.255", "198.20.0.0"]),
            (["198.51.100.0", "198.51.100.255"], ["198.51.99.255", "198.51.101.0"]),
            (["203.0.113.0", "203.0.113.255"], ["203.0.112.255", "203.0.114.0"]),
            (["224.0.0.0", "255.255.255.255"], ["223.255.255.255", "223.255.255.255"]),
            (["2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"], ["2000:ffff::", "2001:200::"]),
            (["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db7:ffff::", "2001:db9::"]),
            (["2002::", "2002:ffff:ffff::1"], ["2001:ffff::", "2003::"]),
            (["2620:4f:8000::", "2620:4f:8000:ffff::"], ["2620:4f:7fff::", "2620:4f:8001::"]),
            (["3fff::", "3fff:fff:ffff::"], ["3ffe:ffff::", "3fff:1000::"]),
            (["::", "1fff:ffff::"], ["2000::", "3ffe::"]),
            (["4000::", "ffff:ffff::"], ["2a00::", "2606:4700:4700::1111"]),
            (["::ffff:10.0.0.1", "64:ff9b::808:808"], ["::ffff:8.8.8.8", "::ffff:808:808"]),
        ] {
            for text in inside {
                assert!(special(text.parse().unwrap()).is_some(), "{text} is special");
            }
            for text in outside {
                assert_eq!(special(text.parse().unwrap()), None, "{text} is global");
            }
        }
    }

    #[test]
    fn the_first_octet_rules_nothing_out_that_is_listed() {
        let rest =
            [[0, 0, 0], [0, 0, 1], [0, 2, 7], [18, 0, 0], [63, 129, 16], [88, 99, 1], [168, 0, 0], [255, 255, 255]];
        for (first, [b, c, d]) in (0..=255).flat_map(|first| rest.map(|rest| (first, rest))) {
            let ip = v4(first, b, c, d);
            let row = IPV4.iter().find(|(net, len, _)| (ip.to_bits() ^ net.to_bits()) >> (32 - len) == 0);
            assert_eq!(special(ip.into()), row.map(|row| row.2), "{ip}");
        }
    }

    #[test]
    fn kinds_are_for_people() {
        for (text, kind) in [
            ("10.1.2.3", "private address"),
            ("::ffff:127.0.0.1", "loopback address"),
            ("fd00::1", "private address"),
            ("fe80::1", "link-local address"),
            ("0.0.0.0", "unspecified address"),
            ("64:ff9b::a00:1", "translated (NAT64) address"),
            ("::127.0.0.1", "reserved address"),
            ("2001::1", "tunnelled address"),
        ] {
            assert_eq!(special(text.parse().unwrap()).map(Special::kind), Some(kind), "{text}");
        }
    }
}
