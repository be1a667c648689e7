//! A set of rules, and whether one of them covers a host and a port. Pure.
//!
//! The cost of an answer is flat: one hash lookup for the name, one for the parent of `*.`, one for each depth at
//! which a `**.` stands, one binary search over disjoint ranges for an address, however many rules there are.

use super::{index::Index, keyword, ports::Ports, proof::Links};
use crate::address::{Host, Name, special, unmap};
use foldhash::fast::RandomState;
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, iter,
    net::IpAddr,
    path::Path,
};

/// Each map has a seed of its own, so names that collide cannot be prepared. (Whoever could find the seed out by measuring
/// would have to be the one who writes the grants, too.)
type Names = HashMap<Name, Ports, RandomState>;

/// The host part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Every host, name or address.
    Any,
    Name(Name),
    /// `*.name`: exactly one label more.
    Child(Name),
    /// `**.name`: one label more, or several.
    Below(Name),
    /// Matched by IP literals only. Truncated to its prefix; never IPv4-mapped.
    Net(IpNet),
    /// Every address that is not global unicast.
    Private,
    /// A path. Links lead on where the launcher named the path, and not where the grant of a directory covers it.
    Unix(String, Links),
    /// `unix:/dir/*`: every socket directly in that directory, which is empty for the root.
    UnixIn(String),
}

pub(super) type Rule = (Pattern, Ports);

/// Rules, arranged for look-up. Immutable.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    any: Ports,
    names: Names,
    children: Names,
    below: Names,
    /// Bit `n` is set where a name of `n` labels is in `below`. (253 octets have at most 127 labels.)
    depths: u128,
    nets: BTreeMap<IpNet, Ports>,
    index: Index,
    private: Ports,
    unix: BTreeMap<String, Links>,
    unix_in: BTreeSet<String>,
}

/// A path of a `--deny-net`.
#[derive(Clone, Copy, Debug)]
pub enum DeniedPath<'a> {
    Socket(&'a Path),
    /// Of every socket directly in it.
    Directory(&'a Path),
}

/// What a set says about a host and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// No rule is about that host.
    No,
    /// Rules are about that host, none about that port.
    Host,
    Yes,
}

impl Set {
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Set {
        let mut set = Set::default();
        for (pattern, ports) in rules.into_iter().filter(|(pattern, p)| !p.is_empty() || pattern.is_unix()) {
            let place = match pattern {
                Pattern::Any => &mut set.any,
                Pattern::Private => &mut set.private,
                Pattern::Name(name) => set.names.entry(name).or_default(),
                Pattern::Child(name) => set.children.entry(name).or_default(),
                Pattern::Below(name) => set.below.entry(name).or_default(),
                Pattern::Net(net) => set.nets.entry(net).or_default(),
                Pattern::Unix(path, links) => {
                    let known = set.unix.entry(path).or_insert(links);
                    *known = (*known).max(links);
                    continue;
                }
                Pattern::UnixIn(directory) => {
                    set.unix_in.insert(directory);
                    continue;
                }
            };
            *place = place.join(&ports);
        }
        set.forget_what_any_covers();
        set.depths = set.below.keys().fold(0, |bits, name| bits | 1 << labels(name.as_str()));
        set.index = Index::new(&set.nets);
        set
    }

    /// One form for equal meanings: what `any` covers stands there only.
    fn forget_what_any_covers(&mut self) {
        if self.any.is_empty() {
            return;
        }
        let any = &self.any;
        let rest = |ports: &mut Ports| {
            *ports = ports.without(any);
            !ports.is_empty()
        };
        self.names.retain(|_, ports| rest(ports));
        self.children.retain(|_, ports| rest(ports));
        self.below.retain(|_, ports| rest(ports));
        self.nets.retain(|_, ports| rest(ports));
        rest(&mut self.private);
    }

    pub fn is_empty(&self) -> bool {
        let Set { any, names, children, below, nets, private, unix, unix_in, depths: _, index: _ } = self;
        any.is_empty()
            && names.is_empty()
            && children.is_empty()
            && below.is_empty()
            && nets.is_empty()
            && private.is_empty()
            && unix.is_empty()
            && unix_in.is_empty()
    }

    /// True if some interface and port can be bound.
    pub fn binds(&self) -> bool {
        !self.any.is_empty() || !self.nets.is_empty()
    }

    /// Whether connecting to that host and port is covered.
    pub fn covers(&self, host: &Host, port: u16) -> Cover {
        let mut cover = Cover::No;
        let yes = self.each(host, |ports| {
            cover = Cover::Host;
            ports.contains(port)
        });
        if yes { Cover::Yes } else { cover }
    }

    /// Every port of that host that is covered.
    pub fn ports(&self, host: &Host) -> Ports {
        let mut all = Ports::None;
        self.each(host, |ports| {
            all = all.join(ports);
            false
        });
        all
    }

    /// The ports that can be bound on that interface. A wildcard address opens every interface, so only a rule for
    /// any interface or for that very address covers it: no block that happens to contain it.
    pub fn bindable(&self, ip: IpAddr) -> Ports {
        let exact = match ip.is_unspecified() {
            true => self.nets.get(&IpNet::from(ip)),
            false => self.index.find(ip),
        };
        exact.map_or_else(|| self.any.clone(), |ports| self.any.join(ports))
    }

    /// True if a rule is about addresses.
    pub fn has_addresses(&self) -> bool {
        !self.nets.is_empty() || !self.private.is_empty()
    }

    /// True if a rule is about names.
    pub fn has_names(&self) -> bool {
        !self.names.is_empty() || !self.children.is_empty() || !self.below.is_empty()
    }

    /// Whether a path is covered, and how links at its end are taken.
    pub fn unix(&self, path: &str) -> Option<Links> {
        let inside = || path.rsplit_once('/').is_some_and(|(directory, _)| self.unix_in.contains(directory));
        self.unix.get(path).copied().or_else(|| inside().then_some(Links::Refused))
    }

    /// The paths and the directories that rules are about.
    pub fn paths(&self) -> impl Iterator<Item = DeniedPath<'_>> {
        let sockets = self.unix.keys().map(|path| DeniedPath::Socket(Path::new(path)));
        let directories = self.unix_in.iter().map(|text| if text.is_empty() { "/" } else { text });
        sockets.chain(directories.map(|text| DeniedPath::Directory(Path::new(text))))
    }

    /// The rule that covers a path, the path itself before its directory: for messages.
    pub fn find_unix(&self, path: &str) -> Option<Pattern> {
        let exact = self.unix.get(path).map(|links| Pattern::Unix(path.to_owned(), *links));
        exact.or_else(|| {
            let (directory, _) = path.rsplit_once('/')?;
            self.unix_in.contains(directory).then(|| Pattern::UnixIn(directory.to_owned()))
        })
    }

    /// Shows the ports of each rule about `host`, until `stop` answers true; whether it did.
    fn each<'a>(&'a self, host: &Host, mut stop: impl FnMut(&'a Ports) -> bool) -> bool {
        if !self.any.is_empty() && stop(&self.any) {
            return true;
        }
        match host {
            Host::Name(name) => self.each_of_name(name.as_str(), stop),
            Host::Ip(ip) => {
                self.index.find(*ip).is_some_and(&mut stop)
                    || (!self.private.is_empty() && special(*ip).is_some() && stop(&self.private))
            }
        }
    }

    fn each_of_name<'a>(&'a self, name: &str, mut stop: impl FnMut(&'a Ports) -> bool) -> bool {
        if let Some(ports) = self.names.get(name)
            && stop(ports)
        {
            return true;
        }
        if !self.children.is_empty()
            && let Some((_, parent)) = name.split_once('.')
            && let Some(ports) = self.children.get(parent)
            && stop(ports)
        {
            return true;
        }
        self.depths != 0 && self.ancestors(name).any(|ancestor| self.below.get(ancestor).is_some_and(&mut stop))
    }

    /// The ancestors of a name, itself not among them, at the depths where `below` has one: the shortest first.
    fn ancestors<'n>(&self, name: &'n str) -> impl Iterator<Item = &'n str> {
        let mut depths = self.depths;
        let dots = name.bytes().enumerate().rev().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
        // Bit 0 belongs to the part that the loop is at; nothing is looked for beyond the deepest of `below`.
        let parts = dots.map_while(move |at| {
            depths >>= 1;
            (depths != 0).then_some((at, depths & 1 == 1))
        });
        parts.filter_map(|(at, wanted)| if wanted { name.get(at + 1..) } else { None })
    }

    /// The narrowest rule that covers that host and port: for messages, so its cost does not matter.
    pub fn find(&self, host: &Host, port: u16) -> Option<Rule> {
        let candidates: Vec<(Pattern, Option<&Ports>)> = match host {
            Host::Name(name) => {
                let key = |text: &str, map: &Names| map.get_key_value(text).map(|(key, _)| key.clone());
                let parent = name.as_str().split_once('.').and_then(|(_, parent)| key(parent, &self.children));
                let mut above: Vec<_> =
                    self.ancestors(name.as_str()).filter_map(|name| key(name, &self.below)).collect();
                above.reverse();
                iter::once((Pattern::Name(name.clone()), self.names.get(name)))
                    .chain(parent.into_iter().map(|key| (Pattern::Child(key.clone()), self.children.get(&key))))
                    .chain(above.into_iter().map(|key| (Pattern::Below(key.clone()), self.below.get(&key))))
                    .collect()
            }
            Host::Ip(ip) => supernets(IpNet::from(unmap(*ip)))
                .map(|net| (Pattern::Net(net), self.nets.get(&net)))
                .chain(special(*ip).map(|_| (Pattern::Private, Some(&self.private))))
                .collect(),
        };
        let any = iter::once((Pattern::Any, Some(&self.any)));
        let mut all = candidates.into_iter().chain(any);
        all.find_map(|(pattern, ports)| ports.filter(|p| p.contains(port)).map(|ports| (pattern, ports.clone())))
    }

    /// Every rule, in no particular order.
    pub fn rules(&self) -> impl Iterator<Item = Rule> + '_ {
        let named = |kind: fn(Name) -> Pattern, map: &'_ Names| {
            map.iter().map(|(name, ports)| (kind(name.clone()), ports.clone())).collect::<Vec<_>>()
        };
        iter::once((Pattern::Any, self.any.clone()))
            .chain(iter::once((Pattern::Private, self.private.clone())))
            .filter(|(_, ports)| !ports.is_empty())
            .chain(named(Pattern::Name, &self.names))
            .chain(named(Pattern::Child, &self.children))
            .chain(named(Pattern::Below, &self.below))
            .chain(self.nets.iter().map(|(net, ports)| (Pattern::Net(*net), ports.clone())))
            .chain(self.unix.iter().map(|(path, links)| (Pattern::Unix(path.clone(), *links), Ports::None)))
            .chain(self.unix_in.iter().map(|directory| (Pattern::UnixIn(directory.clone()), Ports::None)))
    }

    pub fn join(&self, other: &Set) -> Set {
        Set::new(self.rules().chain(other.rules()))
    }

    /// What both sets cover. Patterns are nested or disjoint, so the intersection of two is the inner one: it is
    /// enough to ask, for each rule of one set, what the other has around it. `bind` as in [`Set::bindable`].
    pub fn meet(&self, other: &Set, bind: bool) -> Set {
        let one_way = |inner: &Set, outer: &Set| -> Vec<Rule> {
            let lengths: BTreeSet<_> = outer.nets.keys().map(IpNet::prefix_len).collect();
            let around = |pattern: &Pattern| outer.around(pattern, &lengths, bind);
            let rules = inner.rules().filter(|(pattern, _)| !pattern.is_unix());
            rules.map(|(pattern, ports)| (pattern.clone(), ports.meet(&around(&pattern)))).collect()
        };
        let paths = |inner: &Set, outer: &Set| -> Vec<Rule> {
            let both = |(path, links): (&String, &Links)| Some((path.clone(), outer.unix(path)?.min(*links)));
            let kept = inner.unix.iter().filter_map(both);
            kept.map(|(path, links)| (Pattern::Unix(path, links), Ports::None)).collect()
        };
        let directories = self.unix_in.intersection(&other.unix_in);
        let directories = directories.map(|directory| (Pattern::UnixIn(directory.clone()), Ports::None));
        let hosts = one_way(self, other).into_iter().chain(one_way(other, self));
        Set::new(hosts.chain(paths(self, other)).chain(paths(other, self)).chain(directories))
    }

    /// The ports that every host of a pattern has here.
    pub fn reach(&self, pattern: &Pattern) -> Ports {
        self.around(pattern, &self.nets.keys().map(IpNet::prefix_len).collect(), false)
    }

    /// Whether a directory of sockets is covered.
    pub fn has_directory(&self, pattern: &Pattern) -> bool {
        matches!(pattern, Pattern::UnixIn(directory) if self.unix_in.contains(directory))
    }

    /// The ports that every host of `pattern` has here: `lengths` are those of the blocks.
    fn around(&self, pattern: &Pattern, lengths: &BTreeSet<u8>, bind: bool) -> Ports {
        let mut all = self.any.clone();
        let mut add = |ports: Option<&Ports>| {
            if let Some(ports) = ports {
                all = all.join(ports);
            }
        };
        match pattern {
            Pattern::Any | Pattern::Unix(..) | Pattern::UnixIn(_) => {}
            Pattern::Private => add(Some(&self.private)),
            Pattern::Name(name) => {
                self.each_of_name(name.as_str(), |ports| {
                    add(Some(ports));
                    false
                });
            }
            Pattern::Child(name) | Pattern::Below(name) => {
                if matches!(pattern, Pattern::Child(_)) {
                    add(self.children.get(name));
                }
                add(self.below.get(name));
                self.ancestors(name.as_str()).for_each(|ancestor| add(self.below.get(ancestor)));
            }
            Pattern::Net(net) if bind && net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len() => {
                add(self.nets.get(net));
            }
            Pattern::Net(net) => {
                let lengths = lengths.iter().filter(|length| **length <= net.prefix_len());
                lengths.filter_map(|length| truncated(net.addr(), *length)).for_each(|net| add(self.nets.get(&net)));
            }
        }
        all
    }
}

/// Truncation drops host bits, so that a block has one spelling.
pub(super) fn truncated(ip: IpAddr, length: u8) -> Option<IpNet> {
    IpNet::new(ip, length).ok().map(|net| net.trunc())
}

/// A block and all that contain it, from the inside out.
fn supernets(net: IpNet) -> impl Iterator<Item = IpNet> {
    (0..=net.prefix_len()).rev().filter_map(move |length| truncated(net.addr(), length))
}

fn labels(name: &str) -> usize {
    name.bytes().filter(|byte| *byte == b'.').count() + 1
}

impl Pattern {
    pub fn is_unix(&self) -> bool {
        matches!(self, Pattern::Unix(..) | Pattern::UnixIn(_))
    }
}

impl fmt::Display for Pattern {
    /// The HOST of a flag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Any => Ok(()),
            Pattern::Name(name) => write!(f, "{name}{}", keyword::dot(name.as_str())),
            Pattern::Child(name) => write!(f, "*.{name}"),
            Pattern::Below(name) => write!(f, "**.{name}"),
            Pattern::Private => f.write_str(keyword::PRIVATE),
            Pattern::Unix(path, _) => write!(f, "unix:{path}"),
            Pattern::UnixIn(directory) => write!(f, "unix:{directory}/*"),
            Pattern::Net(net) => {
                match net.addr() {
                    IpAddr::V4(ip) => write!(f, "{ip}")?,
                    IpAddr::V6(ip) => write!(f, "[{ip}]")?,
                }
                match net.prefix_len() == net.max_prefix_len() {
                    true => Ok(()),
                    false => write!(f, "/{}", net.prefix_len()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_are_those_at_the_depths_that_are_set() {
        let label = |n: usize| ["a", "bc", "d-e", "xn--f"][n % 4];
        for count in (1..=20).chain([63, 126, 127]) {
            let name = (0..count).map(label).collect::<Vec<_>>().join(".");
            // Cut off from the left, as one would do it by hand.
            let parts: Vec<&str> = name.split('.').collect();
            let patterns = (0..128).map(|n| 1 << n).chain([0, u128::MAX, u128::MAX << 64, 0b1010, 0b0110_1100]);
            for depths in patterns {
                let set = Set { depths, ..Set::default() };
                let wanted: Vec<String> = (1..count)
                    .filter(|depth| depths >> depth & 1 == 1)
                    .map(|depth| parts.iter().skip(count - depth).copied().collect::<Vec<_>>().join("."))
                    .collect();
                assert_eq!(set.ancestors(&name).collect::<Vec<_>>(), wanted, "{name} {depths:#b}");
            }
        }
    }
}
