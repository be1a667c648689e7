//! Zones: the link of a link-local address (RFC 4007), named by the text after a percent sign.
//!
//! Raw sockets take zones. Grants cover the address in every zone, and flags and URLs have no zones, so the zone stands
//! beside the [`Host`] and never in it. Pure: `zone` on floor 2 knows whether the interface exists.

use super::{BadHost, Host, bad};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// The longest name of an interface on Linux (IFNAMSIZ without its NUL).
const LONGEST: usize = 15;

/// A host, and the zone that an address is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zoned {
    pub host: Host,
    pub zone: Option<Zone>,
}

/// The name of an interface, or its index in decimal digits. Not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(Arc<str>);

impl Zoned {
    /// Reads what [`Host::parse`] does, and `fe80::1%eth0` or `fe80::1%2`, with or without brackets.
    pub fn parse(text: &str) -> Result<Zoned, BadHost> {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let Some((address, zone)) = inner.split_once('%').filter(|(address, _)| address.contains(':')) else {
            return Ok(Zoned { host: Host::parse(text)?, zone: None });
        };
        // An address without its zone is read as ever, for the one canonical form and its faults.
        let host = match Host::parse(address) {
            Ok(host) if !address.starts_with('[') => host,
            _ => return Err(bad(text, "is not an IPv6 address and its zone")),
        };
        let zone = Zone::parse(zone).ok_or_else(|| {
            bad(text, "has a zone that is neither an interface's name nor its index, as in fe80::1%eth0 or fe80::1%2")
        })?;
        match host.ip() {
            Some(IpAddr::V6(ip)) if is_link_local(ip) => Ok(Zoned { host, zone: Some(zone) }),
            _ => Err(bad(text, "has a zone, and only link-local addresses have one: leave it out")),
        }
    }

    /// As a message names it, with a port: `[fe80::1%eth0]:80`.
    pub fn endpoint(&self, port: u16) -> String {
        match (&self.zone, self.host.ip()) {
            (Some(Zone(zone)), Some(ip)) => format!("[{ip}%{zone}]:{port}"),
            _ => super::Endpoint { host: self.host.clone(), port }.to_string(),
        }
    }
}

impl From<Host> for Zoned {
    fn from(host: Host) -> Zoned {
        Zoned { host, zone: None }
    }
}

impl fmt::Display for Zoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(Zone(zone)) => write!(f, "{}%{zone}", self.host),
            None => self.host.fmt(f),
        }
    }
}

impl Zone {
    pub fn parse(text: &str) -> Option<Zone> {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '%' | '/' | '[' | ']' | ':');
        (!text.is_empty() && text.len() <= LONGEST && text.chars().all(plain)).then(|| Zone(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The index that it is, if it is no name.
    pub fn index(&self) -> Option<u32> {
        let plain = self.0.bytes().all(|b| b.is_ascii_digit()) && !self.0.starts_with('0');
        plain.then(|| self.0.parse().ok()).flatten()
    }
}

/// The addresses that mean something on one link only: unicast ones, and the groups of an interface or a link (RFC 4291
/// §2.5.6 and §2.7).
pub fn is_link_local(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.octets();
    ip.is_unicast_link_local() || first == 0xff && matches!(second & 0x0f, 1 | 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_their_zones() {
        for (text, expected) in [
            ("fe80::1%eth0", "fe80::1%eth0 [fe80::1%eth0]:7"),
            ("[FE80:0::1%eth0]", "fe80::1%eth0 [fe80::1%eth0]:7"),
            ("fe80::1%2", "fe80::1%2 [fe80::1%2]:7"),
            ("febf::1%br-1.2_x@y", "febf::1%br-1.2_x@y [febf::1%br-1.2_x@y]:7"),
            ("ff02::fb%wlan0", "ff02::fb%wlan0 [ff02::fb%wlan0]:7"),
            ("ff11::1%lo", "ff11::1%lo [ff11::1%lo]:7"),
            ("fe80::1", "fe80::1 [fe80::1]:7"),
            ("::1", "::1 [::1]:7"),
            ("Example.com", "example.com example.com:7"),
            ("127.0.0.1", "127.0.0.1 127.0.0.1:7"),
        ] {
            let zoned = Zoned::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(format!("{zoned} {}", zoned.endpoint(7)), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_zone() {
        for (text, reason) in [
            ("fe80::1%", "neither an interface's name nor its index"),
            ("fe80::1%%eth0", "neither an interface's name nor its index"),
            ("fe80::1%eth0%1", "neither an interface's name nor its index"),
            ("fe80::1%eth 0", "neither an interface's name nor its index"),
            ("fe80::1%eth0\n", "neither an interface's name nor its index"),
            ("fe80::1%eth0\0", "neither an interface's name nor its index"),
            ("fe80::1%../x", "neither an interface's name nor its index"),
            ("fe80::1%abcdefghijklmnop", "neither an interface's name nor its index"),
            ("[fe80::1]%eth0", "not an IPv6 address and its zone"),
            ("[fe80::1%eth0", "not an IPv6 address and its zone"),
            ("fe80::x%eth0", "not an IPv6 address and its zone"),
            ("fe80::1:80:x%eth0", "not an IPv6 address and its zone"),
            ("2001:db8::1%eth0", "only link-local addresses have one"),
            ("::1%lo", "only link-local addresses have one"),
            ("ff05::1%eth0", "only link-local addresses have one"),
            ("::ffff:169.254.0.1%eth0", "only link-local addresses have one"),
            ("169.254.0.1%eth0", "percent"),
            ("example.com%eth0", "percent"),
            ("%eth0", "percent"),
        ] {
            let why = Zoned::parse(text).map(|zoned| zoned.to_string()).expect_err(text).to_string();
            assert!(why.contains(reason), "{text:?}: {why}");
        }
    }

    #[test]
    fn digits_are_an_index() {
        for (text, index) in [
            ("2", Some(2)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("02", None),
            ("0", None),
            ("eth0", None),
        ] {
            assert_eq!(Zone::parse(text).unwrap().index(), index, "{text}");
        }
    }
}
