//! What the operating system says about names: /etc/resolv.conf and /etc/hosts, read at the first question and again
//! when they change. The environment (`RES_OPTIONS`, `LOCALDOMAIN`, `HOSTALIASES`) has no say.

use super::{
    address,
    record::{Record, Type},
};
use crate::address::{Host, unmap};
use hickory_resolver::{
    config::{NameServerConfig, ResolverOpts},
    proto::rr::Name,
    system_conf::read_system_conf,
};
use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::MetadataExt,
    sync::Arc,
};

const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Search domains that are tried, and name servers that are asked.
const MAX_SEARCH: usize = 32;
const MAX_SERVERS: usize = 8;

/// Tells a file from itself at another time.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The hosts file: names in lower case, without the root's dot.
#[derive(Debug, Default)]
struct Hosts {
    addresses: HashMap<String, Vec<IpAddr>>,
    /// The first name of the first line of an address.
    names: HashMap<IpAddr, String>,
}

impl Hosts {
    /// hosts(5). What is no address, and one with a zone, is passed over.
    fn parse(text: &str) -> Hosts {
        let mut hosts = Hosts::default();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(ip) = words.next().and_then(|word| word.parse().ok()).map(unmap) else { continue };
            for name in words {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                hosts.names.entry(ip).or_insert_with(|| name.clone());
                let addresses = hosts.addresses.entry(name).or_default();
                if !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
        }
        hosts
    }
}

#[derive(Debug)]
pub struct System {
    stamps: [Stamp; 2],
    hosts: Hosts,
    search: Vec<Name>,
    pub servers: Vec<NameServerConfig>,
    pub options: ResolverOpts,
}

impl System {
    pub fn read() -> System {
        let stamps = FILES.map(stamp);
        // resolv.conf(5): without the file, or without a server in it, the one on this machine is asked.
        let (domain, search, servers, options) = match read_system_conf() {
            Ok((config, options)) => {
                let (domain, search, servers) = config.into_parts();
                (domain, search, servers, options)
            }
            Err(_) => {
                let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
                (None, Vec::new(), vec![local], ResolverOpts::default())
            }
        };
        // The domain of the machine stands in for a search list, and is not asked besides one.
        let mut search = if search.is_empty() { domain.into_iter().collect() } else { search };
        search.retain(|domain: &Name| !domain.is_root());
        search.truncate(MAX_SEARCH);
        let hosts = fs::read(FILES[1]).map(|text| Hosts::parse(&String::from_utf8_lossy(&text))).unwrap_or_default();
        let servers = servers.into_iter().take(MAX_SERVERS).collect();
        System { stamps, hosts, search, servers, options }
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
                let addresses = self.hosts.addresses.get(host.name()?)?;
                let wanted = |ip: &&IpAddr| kind.is_none_or(|kind| ip.is_ipv4() == (kind == Type::A));
                addresses.iter().filter(wanted).map(|ip| Record::address(*ip)).collect()
            }
            Some(_) => return None,
        };
        (!records.is_empty()).then(|| records.into())
    }

    /// The absolute names that a relative one may stand for, in the order of resolv.conf(5): as it is first if it has
    /// `ndots` dots, last otherwise.
    pub fn candidates(&self, name: &Name, allowed: impl Fn(&Name) -> bool) -> Vec<Name> {
        let mut relative = name.clone();
        relative.set_fqdn(false);
        let searched = self.search.iter().filter_map(|domain| {
            let mut full = relative.clone().append_domain(domain).ok()?;
            full.set_fqdn(true);
            Some(full).filter(|full| allowed(full))
        });
        let mut names: Vec<Name> = searched.collect();
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let at = if dots >= self.options.ndots { 0 } else { names.len() };
        names.insert(at, name.clone());
        names
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
        let mut system = System::read();
        system.search = vec![name("a.test."), name("b.test.")];
        let rows: [(usize, &str, &[&str]); 4] = [
            (1, "db.", &["db.a.test.", "db."]),
            (1, "db.x.", &["db.x.", "db.x.a.test."]),
            (2, "db.x.", &["db.x.a.test.", "db.x."]),
            (0, "db.", &["db.", "db.a.test."]),
        ];
        for (ndots, asked, expected) in rows {
            system.options.ndots = ndots;
            // What is denied is not asked.
            let names = system.candidates(&name(asked), |full| !full.to_ascii().contains(".b."));
            assert_eq!(names.iter().map(Name::to_ascii).collect::<Vec<_>>(), expected, "{ndots} {asked}");
        }
    }

    #[test]
    fn the_hosts_file() {
        let mut system = System::read();
        system.hosts = Hosts::parse(
            "\u{feff}10.0.0.1 one.test Mixed.test. # none.test\n\n::1%lo zone.test\n::1 two.test one.test\n10.0.0.1 late.test one.test\n",
        );
        let rows = [
            ("one.test.", None, "10.0.0.1 ::1"),
            ("one.test.", Some(Type::A), "10.0.0.1"),
            ("mixed.test.", None, "10.0.0.1"),
            ("mixed.test.", Some(Type::Aaaa), ""),
            ("two.test.", None, "::1"),
            ("two.test.", Some(Type::Mx), ""),
            ("none.test.", None, ""),
            ("zone.test.", None, ""),
            ("late.test.", None, "10.0.0.1"),
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
}
