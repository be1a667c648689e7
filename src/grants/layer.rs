//! One set of flags: its allow rules, its deny rules, and its canonical text.

use super::{
    fence::Fence,
    ports::Ports,
    set::{Cover, Pattern, Rule, Set},
};
use crate::address::{Host, Special, unmap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What one launcher, or one narrowing, said.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub net: Set,
    pub listen: Set,
    pub deny: Set,
    pub dns: bool,
    /// Those of guards: an address has to pass each. No launcher has one, so they are no flags.
    pub fences: Vec<Fence>,
}

impl Layer {
    pub fn is_empty(&self) -> bool {
        self.net.is_empty() && self.listen.is_empty()
    }

    /// The intersection of all; `None` of none.
    pub fn fold<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Option<Layer> {
        let mut layers = layers.into_iter();
        let first = layers.next()?.clone();
        Some(layers.fold(first, |all, layer| all.meet(layer)))
    }

    fn meet(&self, other: &Layer) -> Layer {
        Layer {
            net: self.net.meet(&other.net, false),
            listen: self.listen.meet(&other.listen, true),
            deny: self.deny.join(&other.deny),
            dns: self.dns && other.dns,
            fences: self.fences.iter().chain(&other.fences).cloned().collect(),
        }
    }

    pub fn denies(&self, host: &Host, port: u16) -> bool {
        self.deny.covers(host, port) == Cover::Yes
            || aliased(host).is_some_and(|host| self.deny.covers(&host, port) == Cover::Yes)
    }

    /// The kind of an address that a fence keeps out.
    pub fn fenced(&self, ip: IpAddr) -> Option<Special> {
        self.fences.iter().find_map(|fence| fence.stops(ip))
    }

    pub fn denied_ports(&self, host: &Host) -> Ports {
        let ports = self.deny.ports(host);
        aliased(host).map_or_else(|| ports.clone(), |host| ports.join(&self.deny.ports(&host)))
    }

    /// The flag of the rule that denies: `--deny-net=private`.
    pub fn deny_rule(&self, host: &Host, port: u16) -> Option<String> {
        Some(flag("--deny-net", self.denying(host, port)?))
    }

    /// True if that is the rule about all private addresses.
    pub fn denies_private(&self, host: &Host, port: u16) -> bool {
        matches!(self.denying(host, port), Some((Pattern::Private, _)))
    }

    fn denying(&self, host: &Host, port: u16) -> Option<Rule> {
        self.deny.find(host, port).or_else(|| self.deny.find(&aliased(host)?, port))
    }

    /// Sorted and canonical.
    pub fn flags(&self) -> Vec<String> {
        let net = self.net.rules().map(|rule| flag("--allow-net", rule));
        let listen = self.listen.rules().map(|rule| flag("--allow-listen", rule));
        let deny = self.deny.rules().map(|rule| flag("--deny-net", rule));
        let dns = (!self.dns).then(|| "--no-dns".to_owned());
        let mut flags: Vec<String> = net.chain(listen).chain(deny).chain(dns).collect();
        flags.sort_unstable();
        flags
    }
}

impl Default for Layer {
    /// Nothing allowed, nothing denied, names may be resolved, no fence.
    fn default() -> Self {
        Layer { net: Set::default(), listen: Set::default(), deny: Set::default(), dns: true, fences: Vec::new() }
    }
}

/// Where a connection to a wildcard address ends: Linux takes it to the loopback interface, so what is denied there is
/// denied here.
pub(super) fn aliased(host: &Host) -> Option<Host> {
    match unmap(host.ip()?) {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some(Host::Ip(Ipv4Addr::LOCALHOST.into())),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(Host::Ip(Ipv6Addr::LOCALHOST.into())),
        _ => None,
    }
}

/// A rule as a flag that reads back as that rule. PORTS are left out where they are all ports, but a listen grant for
/// an interface always has them.
pub(super) fn flag(name: &str, (pattern, ports): Rule) -> String {
    let listen = name == "--allow-listen";
    match pattern {
        Pattern::Any if ports == (if listen { Ports::LISTEN } else { Ports::CONNECT }) => name.into(),
        Pattern::Any => format!("{name}={ports}"),
        Pattern::Unix(..) | Pattern::UnixIn(_) => format!("{name}={pattern}"),
        _ if !listen && ports == Ports::CONNECT => format!("{name}={pattern}"),
        _ => format!("{name}={pattern}:{ports}"),
    }
}
