//! The fence of a guard: addresses that are not global unicast are refused, whatever was granted, except those that
//! `allow_private` opens. Pure.

use super::{flags::UsageError, layer::aliased, set::truncated};
use crate::address::{Host, Special, special, unmap};
use ipnet::IpNet;
use std::net::IpAddr;

/// What is open in spite of it. Defaults to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fence {
    open: Vec<IpNet>,
}

impl Fence {
    /// Reads addresses and blocks: `10.0.0.0/8`, `fd00::/8`, `127.0.0.1`; brackets around IPv6 are fine.
    pub fn parse<S: AsRef<str>>(items: &[S]) -> Result<Fence, UsageError> {
        let open = items.iter().map(AsRef::as_ref).map(block).collect::<Result<_, _>>()?;
        Ok(Fence { open })
    }

    /// The kind of an address that it keeps out.
    pub fn stops(&self, ip: IpAddr) -> Option<Special> {
        let closed = |ip: IpAddr| special(ip).filter(|_| !self.open.iter().any(|net| net.contains(&ip)));
        let ip = unmap(ip);
        // A wildcard address leads to the loopback interface: both have to be open.
        closed(ip).or_else(|| aliased(&Host::Ip(ip))?.ip().and_then(closed))
    }
}

fn block(text: &str) -> Result<IpNet, UsageError> {
    if text.contains('%') {
        return Err(UsageError::about(text, "has a zone: leave it out, an address is open in every zone"));
    }
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let ip = Host::parse(address).ok().and_then(|host| host.ip());
    let most = if ip.is_some_and(|ip| ip.is_ipv4()) { 32 } else { 128 };
    let plain = |text: &str| text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    let length = length.map_or(Some(most), |text| text.parse().ok().filter(|length| plain(text) && *length <= most));
    let Some((ip, net)) = ip.zip(length).and_then(|(ip, length)| Some((ip, truncated(ip, length)?))) else {
        return Err(UsageError::about(text, "not an address or a block, as in 10.0.0.0/8 or fd00::/8"));
    };
    if net.addr() != ip {
        return Err(UsageError::about(text, &format!("has bits outside its prefix: did you mean {net}?")));
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::{super::Grants, *};

    #[test]
    fn what_is_open() {
        for (open, ip, stopped) in [
            (&[][..], "93.184.216.34", false),
            (&[], "2606:4700::1111", false),
            (&[], "127.0.0.1", true),
            (&[], "10.0.0.1", true),
            (&[], "::ffff:10.0.0.1", true),
            (&[], "169.254.169.254", true),
            (&[], "::1", true),
            (&[], "0.0.0.0", true),
            (&["10.0.0.0/8"], "10.255.0.1", false),
            (&["10.0.0.0/8"], "::ffff:10.0.0.1", false),
            (&["10.0.0.0/8"], "11.0.0.1", false),
            (&["10.0.0.0/8"], "192.168.0.1", true),
            (&["127.0.0.1"], "127.0.0.1", false),
            (&["127.0.0.1"], "127.0.0.2", true),
            (&["0.0.0.0/8"], "0.0.0.0", true),
            (&["0.0.0.0/8", "127.0.0.0/8"], "0.0.0.0", false),
            (&["fd00::/8"], "fd12::1", false),
            (&["[fd00::]/8"], "fd12::1", false),
            (&["fd00::/8"], "fe80::1", true),
            (&["0.0.0.0/0"], "169.254.169.254", false),
            (&["0.0.0.0/0"], "::1", true),
        ] {
            let fence = Fence::parse(open).unwrap();
            assert_eq!(fence.stops(ip.parse().unwrap()).is_some(), stopped, "{open:?} {ip}");
        }
    }

    #[test]
    fn narrowing_further_takes_no_fence_away() {
        let any = Grants::parse(&["--allow-net"]).unwrap();
        let fenced = |open: &[&str]| any.narrow(&Grants::fenced(Some(open)).unwrap());
        let host = Host::parse("x.example").unwrap();
        let passes = |grants: &Grants, ip: &str| {
            let granted = grants.connect(&host, 80).unwrap();
            grants.permit(&granted, &[ip.parse().unwrap()]).is_ok()
        };
        let mut grants = fenced(&["10.0.0.0/8"]);
        // More narrowings than are kept apart.
        for n in 0..6 {
            assert!(passes(&grants, "10.0.0.1") && passes(&grants, "9.9.9.9") && !passes(&grants, "127.0.0.1"), "{n}");
            grants = grants.narrow(&Grants::hosts(&["x.example", &format!("y{n}.example")]).unwrap());
        }
        // Two fences: what both open.
        let both = fenced(&["10.0.0.0/8", "127.0.0.1"]).narrow(&Grants::fenced(Some(&["127.0.0.1"])).unwrap());
        assert!(passes(&both, "127.0.0.1") && !passes(&both, "10.0.0.1"));
        assert!(fenced(&[]).denies_addresses() && !any.denies_addresses());
        let none = any.narrow(&Grants::only([(crate::address::Reach::Host(host.clone()), &[80][..])]));
        assert!(passes(&none, "127.0.0.1") && !none.allows(&host, 81));
        assert!(!fenced(&[]).allows(&Host::parse("127.0.0.1").unwrap(), 80));
    }

    #[test]
    fn what_opens_nothing() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10/8",
            "0x0a.0.0.0/8",
            "fd00::/129",
            "example.com",
            "localhost",
            "private",
            "10.0.0.1:80",
        ] {
            let why = Fence::parse(&[text]).unwrap_err().to_string();
            assert!(why.contains("not an address or a block"), "{text}: {why}");
        }
        for (text, meant) in [
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("0.0.0.1/0", "0.0.0.0/0"),
            ("fd00::1/8", "fd00::/8"),
            ("[fd00::1]/8", "fd00::/8"),
        ] {
            let why = Fence::parse(&[text]).unwrap_err().to_string();
            assert!(why.ends_with(&format!("did you mean {meant}?")), "{text}: {why}");
        }
    }
}
