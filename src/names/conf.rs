//! resolv.conf(5), read as the C library reads it, so that both resolvers ask the same servers for the same names.
//!
//! Pure, except for the look-up of a zone's interface. The environment (`RES_OPTIONS`, `LOCALDOMAIN`) is ignored.

use super::PORT;
use crate::{
    address::{Host, Zoned},
    zone,
};
use hickory_resolver::proto::rr::Name;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

/// Name servers that are asked (`MAXNS`), and search domains that are tried.
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 32;

/// What `ndots`, `timeout` and `attempts` can be at the most (resolv.conf(5)).
const MAX_NDOTS: usize = 15;
const MAX_TIMEOUT: u64 = 30;
const MAX_ATTEMPTS: usize = 5;

#[derive(Clone, Debug, PartialEq)]
pub struct Conf {
    /// In the order in which they are asked; never empty.
    pub servers: Vec<SocketAddr>,
    pub search: Vec<Name>,
    /// A name with as many dots is tried as it is first. Defaults to 1.
    pub ndots: usize,
    /// How long the first server may be silent. Defaults to 5 s.
    pub timeout: Duration,
    /// How often all servers are asked. Defaults to 2.
    pub attempts: usize,
    pub edns0: bool,
    /// `use-vc`: TCP only.
    pub tcp: bool,
    /// `no-aaaa`: a question for addresses is one for IPv4 addresses.
    pub no_aaaa: bool,
    /// `no-tld-query`: a name without a dot is asked with the search domains only.
    pub no_tld: bool,
}

impl Default for Conf {
    /// Without the file, or without a server in it: the one on this machine.
    fn default() -> Conf {
        Conf {
            servers: vec![(Ipv4Addr::LOCALHOST, PORT).into()],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            edns0: false,
            tcp: false,
            no_aaaa: false,
            no_tld: false,
        }
    }
}

impl Conf {
    /// What is not understood is passed over, a line or a word of it: one mistake does not make another configuration
    /// of the rest. `own` is this machine's name, whose domain stands in for a search list.
    pub fn parse(text: &str, own: &str) -> Conf {
        let mut conf = Conf::default();
        let (mut servers, mut search) = (Vec::new(), None);
        for line in text.lines() {
            // A keyword begins its line, and a blank ends it.
            let Some((keyword, rest)) = line.split_once([' ', '\t']) else { continue };
            let mut words = rest.split_ascii_whitespace();
            match keyword {
                "nameserver" => servers.extend(words.next().and_then(server)),
                // The last of both counts.
                "domain" => search = words.next().map(|word| vec![word]).or(search),
                "search" => search = Some(words.collect()).filter(|list: &Vec<_>| !list.is_empty()).or(search),
                "options" => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        servers.truncate(MAX_SERVERS);
        if !servers.is_empty() {
            conf.servers = servers;
        }
        let search = search.unwrap_or_else(|| own.split_once('.').map(|(_, domain)| domain).into_iter().collect());
        conf.search = search.into_iter().filter_map(domain).take(MAX_SEARCH).collect();
        conf
    }

    fn option(&mut self, word: &str) {
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        let small = |text: &str, most: usize| usize::try_from(number(text)).map_or(most, |number| number.min(most));
        match word.split_once(':') {
            Some(("ndots", text)) => self.ndots = small(text, MAX_NDOTS),
            Some(("timeout", text)) => self.timeout = Duration::from_secs(number(text).clamp(1, MAX_TIMEOUT)),
            Some(("attempts", text)) => self.attempts = small(text, MAX_ATTEMPTS).max(1),
            Some(_) => {}
            None => match word {
                "edns0" => self.edns0 = true,
                "use-vc" => self.tcp = true,
                "no-aaaa" => self.no_aaaa = true,
                "no-tld-query" => self.no_tld = true,
                _ => {}
            },
        }
    }
}

/// `.` is the root: the name as it is, at that place of the list.
fn domain(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    (name.is_root() || Host::parse(text).is_ok_and(|host| host.name().is_some())).then_some(name)
}

/// An address, a link-local one with its zone.
fn server(text: &str) -> Option<SocketAddr> {
    let Zoned { host, zone } = Zoned::parse(text).ok()?;
    Some(match (host.ip()?, zone) {
        (IpAddr::V6(ip), Some(zone)) => SocketAddrV6::new(ip, PORT, 0, zone::index(&zone).ok()?).into(),
        (ip, _) => (ip, PORT).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let show = |conf: &Conf| {
            let servers: Vec<_> = conf.servers.iter().map(ToString::to_string).collect();
            let search: Vec<_> = conf.search.iter().map(Name::to_ascii).collect();
            format!("{} | {}", servers.join(" "), search.join(" "))
        };
        let rows = [
            ("", "127.0.0.1:53 | "),
            ("nameserver 192.0.2.1\nnameserver\t192.0.2.2 # two\n", "192.0.2.1:53 192.0.2.2:53 | "),
            // A word of the second kind that is none does not take the rest with it.
            ("search a..b ok.test *.x\nnameserver 192.0.2.1", "192.0.2.1:53 | ok.test."),
            ("nameserver x\nnameserver 192.0.2.300\nnameserver ::1", "[::1]:53 | "),
            ("nameserver fe80::1%7\nnameserver fe80::2%no/such", "[fe80::1%7]:53 | "),
            (
                "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4",
                "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53 | ",
            ),
            ("domain one.test two.test\n", "127.0.0.1:53 | one.test."),
            ("search one.test two.test\ndomain three.test", "127.0.0.1:53 | three.test."),
            ("domain three.test\nsearch one.test. .", "127.0.0.1:53 | one.test. ."),
            ("search one.test\nsearch \n", "127.0.0.1:53 | one.test."),
            (" nameserver 192.0.2.1\n;nameserver 192.0.2.2\n#search x.test\nnameserver192.0.2.3", "127.0.0.1:53 | "),
            // Cut while it was written.
            ("nameserver 192.0.2.1\nsearch one.te", "192.0.2.1:53 | one.te."),
            ("nameserver 192.0.2.1\nnameser", "192.0.2.1:53 | "),
            ("\0\u{fffd}\r\nnameserver 192.0.2.1\r\n", "192.0.2.1:53 | "),
        ];
        for (text, expected) in rows {
            assert_eq!(show(&Conf::parse(text, "host")), expected, "{text:?}");
        }
        assert_eq!(show(&Conf::parse("", "host.own.test")), "127.0.0.1:53 | own.test.");
    }

    #[test]
    fn options() {
        let rows = [
            ("", (1, 5, 2)),
            ("options ndots:3 timeout:1 attempts:4", (3, 1, 4)),
            ("options ndots:99 timeout:99 attempts:99", (15, 30, 5)),
            ("options ndots:0 timeout:0 attempts:0", (0, 1, 1)),
            ("options ndots: timeout:x attempts:99999999999999999999", (0, 1, 1)),
            ("options ndots:2\noptions timeout:3 rotate", (2, 3, 2)),
        ];
        for (text, expected) in rows {
            let conf = Conf::parse(text, "");
            assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), expected, "{text}");
        }
        let conf = Conf::parse("options edns0 use-vc no-aaaa no-tld-query", "");
        assert!(conf.edns0 && conf.tcp && conf.no_aaaa && conf.no_tld);
    }
}
