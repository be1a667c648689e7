//! The system's configuration of names: /etc/resolv.conf and /etc/hosts, read at the first question and again when they
//! change. The environment (`RES_OPTIONS`, `LOCALDOMAIN`, `HOSTALIASES`) is ignored.

use super::{
    address,
    conf::Conf,
    record::{Record, Type},
};
use crate::{
    address::{Host, unmap},
    error::reason,
    resolve,
};
use hickory_resolver::proto::rr::Name;
use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt,
    sync::Arc,
};

const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Tells a file from itself at another time.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The hosts file: names in lower case. As the C library has it, a name with a dot at its end is another one.
#[derive(Debug, Default)]
struct Hosts {
    addresses: HashMap<String, Vec<IpAddr>>,
    /// The first name of the first line of an address.
    names: HashMap<IpAddr, String>,
}

impl Hosts {
    fn parse(text: &str) -> Hosts {
        let mut hosts = Hosts::default();
        for (ip, names) in lines(text) {
            for name in names {
                let name = name.to_ascii_lowercase();
                hosts.names.entry(ip).or_insert_with(|| name.trim_end_matches('.').to_owned());
                let addresses = hosts.addresses.entry(name).or_default();
                if !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
        }
        hosts
    }
}

/// hosts(5): an address, and its names. What is no address, and one with a zone, is passed over.
fn lines(text: &str) -> impl Iterator<Item = (IpAddr, impl Iterator<Item = &str>)> {
    text.trim_start_matches('\u{feff}').lines().filter_map(|line| {
        let mut fields = line.split('#').next().unwrap_or_default().split_whitespace();
        Some((unmap(fields.next()?.parse().ok()?), fields))
    })
}

/// The addresses of `localhost`, or of a name below it: those that the hosts file has for it or for `localhost`, of which
/// none but loopback ones count; otherwise both. Nobody is asked (RFC 6761 section 6.3).
pub fn loopback(host: &Host) -> Vec<IpAddr> {
    // A file that cannot be read changes nothing: this needs none.
    let text = fs::read(FILES[1]).unwrap_or_default();
    loopback_in(&String::from_utf8_lossy(&text), host)
}

fn loopback_in(text: &str, host: &Host) -> Vec<IpAddr> {
    let mut own = [Vec::new(), Vec::new()];
    for (ip, names) in lines(text).filter(|(ip, _)| ip.is_loopback()) {
        for name in names {
            let name = name.strip_suffix('.').unwrap_or(name);
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            for (list, known) in own.iter_mut().zip([host.name().unwrap_or_default(), "localhost"]) {
                if is(known) && !list.contains(&ip) {
                    list.push(ip);
                }
            }
        }
    }
    let both = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    own.into_iter().find(|list| !list.is_empty()).unwrap_or(both)
}

#[derive(Debug)]
pub struct System {
    stamps: [Stamp; 2],
    hosts: Hosts,
    pub conf: Conf,
}

/// An absolute name to ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub name: Name,
    /// It is the name that was asked for, without a search domain.
    pub as_is: bool,
}

impl System {
    pub fn read() -> io::Result<System> {
        let stamps = FILES.map(stamp);
        let [conf, hosts] = FILES.map(text);
        let own = String::from_utf8_lossy(&resolve::hostname()).into_owned();
        let conf = Conf::parse(&conf?, &own);
        Ok(System { stamps, hosts: Hosts::parse(&hosts?), conf })
    }

    pub fn is_current(&self) -> bool {
        FILES.map(stamp) == self.stamps
    }

    /// What the hosts file says, if anything. One family of addresses there answers for both.
    pub fn hosts(&self, host: &Host, kind: Option<Type>) -> Option<Arc<[Record]>> {
        let records: Vec<Record> = match kind {
            Some(Type::Ptr) => {
                self.hosts.names.get(&address(host)?).map(|name| Record::plain(name.clone())).into_iter().collect()
            }
            None | Some(Type::A | Type::Aaaa) => {
                let Host::Name(name) = host else { return None };
                let addresses = self.hosts.addresses.get(name.as_asked())?;
                let wanted = |ip: &&IpAddr| kind.is_none_or(|kind| ip.is_ipv4() == (kind == Type::A));
                addresses.iter().filter(wanted).map(|ip| Record::address(*ip)).collect()
            }
            Some(_) => return None,
        };
        (!records.is_empty()).then(|| records.into())
    }

    /// The absolute names that a relative one may stand for, in the order of resolv.conf(5): as it is first if it has
    /// `ndots` dots, last otherwise.
    pub fn candidates(&self, name: &Name, allowed: impl Fn(&Name) -> bool) -> Vec<Candidate> {
        let mut relative = name.clone();
        relative.set_fqdn(false);
        let searched = self.conf.search.iter().filter_map(|domain| {
            let mut full = relative.clone().append_domain(domain).ok()?;
            full.set_fqdn(true);
            allowed(&full).then_some(Candidate { name: full, as_is: false })
        });
        let mut names: Vec<Candidate> = searched.collect();
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let as_is = Candidate { name: name.clone(), as_is: true };
        if dots >= self.conf.ndots {
            names.insert(0, as_is);
        } else if self.conf.search.iter().any(Name::is_root) || dots == 0 && self.conf.no_tld && !names.is_empty() {
            // In the list already, or not asked for.
        } else {
            names.push(as_is);
        }
        names
    }
}

/// A file's text; empty if there is none, or none for us. Any other failure may be another one at the next try, and must
/// not make another configuration of what cannot be read now.
fn text(path: &str) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) => match e.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                Ok(String::new())
            }
            _ if e.raw_os_error() == Some(libc::ELOOP) => Ok(String::new()),
            _ => Err(io::Error::new(e.kind(), format!("{path}: {}", reason(&e)))),
        },
    }
}

fn stamp(path: &str) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_names() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let mut system = System::read().unwrap();
        let rows: [(&str, &str, &[&str]); 9] = [
            ("search a.test b.test", "db.", &["db.a.test.", "db."]),
            ("search a.test b.test", "db.x.", &["db.x.", "db.x.a.test."]),
            ("search a.test b.test\noptions ndots:2", "db.x.", &["db.x.a.test.", "db.x."]),
            ("search a.test b.test\noptions ndots:0", "db.", &["db.", "db.a.test."]),
            ("search a.test . c.test", "db.", &["db.a.test.", "db.", "db.c.test."]),
            ("search a.test\noptions no-tld-query", "db.", &["db.a.test."]),
            ("search a.test\noptions no-tld-query ndots:2", "db.x.", &["db.x.a.test.", "db.x."]),
            // With nothing else to ask for, the name is asked for.
            ("search b.test\noptions no-tld-query", "db.", &["db."]),
            ("", "db.", &["db."]),
        ];
        for (conf, asked, expected) in rows {
            system.conf = Conf::parse(conf, "");
            // What is denied is not asked.
            let names = system.candidates(&name(asked), |full| !full.to_ascii().contains(".b."));
            assert_eq!(names.iter().map(|one| one.name.to_ascii()).collect::<Vec<_>>(), expected, "{conf} {asked}");
        }
    }

    #[test]
    fn the_hosts_file() {
        let mut system = System::read().unwrap();
        system.hosts = Hosts::parse(
            "\u{feff}10.0.0.1 one.test Mixed.test. # none.test\n\n::1%lo zone.test\n::1 two.test one.test\n10.0.0.1 late.test one.test\n",
        );
        let rows = [
            ("one.test", None, "10.0.0.1 ::1"),
            // To the C library names with and without a dot are two.
            ("one.test.", None, ""),
            ("one.test", Some(Type::A), "10.0.0.1"),
            ("mixed.test.", None, "10.0.0.1"),
            ("mixed.test", None, ""),
            ("mixed.test.", Some(Type::Aaaa), ""),
            ("two.test", None, "::1"),
            ("two.test", Some(Type::Mx), ""),
            ("none.test", None, ""),
            ("zone.test", None, ""),
            ("late.test", None, "10.0.0.1"),
            // The first name of the first line.
            ("1.0.0.10.in-addr.arpa.", Some(Type::Ptr), "one.test"),
            ("2.0.0.10.in-addr.arpa.", Some(Type::Ptr), ""),
            ("10.0.0.1", Some(Type::Ptr), "one.test"),
            ("::1", Some(Type::Ptr), "two.test"),
        ];
        for (name, kind, expected) in rows {
            let found = system.hosts(&Host::parse(name).unwrap(), kind);
            let texts: Vec<_> = found.iter().flat_map(|found| found.iter()).collect();
            let texts: Vec<_> = texts.iter().map(|r| String::from_utf8_lossy(r.text().unwrap())).collect();
            assert_eq!(texts.join(" "), expected, "{name} {kind:?}");
        }
    }

    #[test]
    fn localhost() {
        let rows = [
            ("", "localhost", "127.0.0.1 ::1"),
            ("", "a.b.localhost.", "127.0.0.1 ::1"),
            ("127.0.0.1 localhost", "localhost", "127.0.0.1"),
            ("127.0.0.1 localhost", "a.localhost", "127.0.0.1"),
            ("::1 localhost\n127.0.0.1 LOCALHOST.", "localhost.", "::1 127.0.0.1"),
            ("127.0.0.1 localhost\n127.0.0.7 a.localhost", "a.localhost", "127.0.0.7"),
            // Elsewhere is no localhost, whatever the file says.
            ("192.0.2.1 localhost a.localhost", "localhost", "127.0.0.1 ::1"),
            ("192.0.2.1 localhost\n127.0.0.1 localhost", "a.localhost", "127.0.0.1"),
        ];
        for (text, host, expected) in rows {
            let found = loopback_in(text, &Host::parse(host).unwrap());
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), expected, "{text} {host}");
        }
    }
}
