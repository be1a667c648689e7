//! Random grants and requests against an oracle that is too short to be wrong: a request passes if, in every layer, no
//! deny rule matches and some allow rule does. The random numbers are our own and the same on every run.

use caspian_net::{
    address::Host,
    error::Kind,
    grants::{Granted, Grants, Links},
};
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

const NAMES: [&str; 8] = ["a", "b.a", "c.b.a", "d.c.b.a", "b.b.a", "ab.a", "localhost", "a.b"];
const ADDRESSES: [&str; 11] = [
    "0.0.0.0",
    "0.0.0.1",
    "10.0.0.0",
    "10.0.0.1",
    "10.0.1.1",
    "127.0.0.1",
    "255.255.255.255",
    "8.8.8.8",
    "::",
    "::1",
    "fd00::1",
];
const PORTS: RangeInclusive<u16> = 1..=7;
const PATHS: [&str; 6] = ["/x", "/a", "/a/x", "/a/y", "/a/b/x", "/ab/x"];
const DIRECTORIES: [&str; 4] = ["", "/a", "/a/b", "/ab"];

#[derive(Clone, Debug)]
enum Pattern {
    Any,
    Name(&'static str),
    Child(&'static str),
    Below(&'static str),
    Block(IpNet),
    Private,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    ports: Vec<RangeInclusive<u16>>,
}

/// A Unix socket, or every one in a directory.
#[derive(Clone, Debug)]
enum Unix {
    Path(&'static str),
    In(&'static str),
}

#[derive(Clone, Debug, Default)]
struct Layer {
    net: Vec<Rule>,
    listen: Vec<Rule>,
    deny: Vec<Rule>,
    no_dns: bool,
    net_unix: Vec<Unix>,
    listen_unix: Vec<Unix>,
    deny_unix: Vec<Unix>,
}

// The oracle.

fn matches(rule: &Rule, host: &Host, port: u16) -> bool {
    rule.ports.iter().any(|range| range.contains(&port))
        && match (&rule.pattern, host) {
            (Pattern::Any, _) => true,
            (Pattern::Name(name), Host::Name(host)) => host.as_str() == *name,
            (Pattern::Child(name), Host::Name(host)) => host.as_str().split_once('.').is_some_and(|h| h.1 == *name),
            (Pattern::Below(name), Host::Name(host)) => host.as_str().ends_with(&format!(".{name}")),
            (Pattern::Block(net), Host::Ip(ip)) => net.contains(ip),
            (Pattern::Private, Host::Ip(ip)) => *ip != IpAddr::from([8, 8, 8, 8]),
            _ => false,
        }
}

fn denied(layer: &Layer, host: &Host, port: u16) -> bool {
    let also = match host.ip() {
        Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Some(Host::Ip(Ipv4Addr::LOCALHOST.into())),
        Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Some(Host::Ip(Ipv6Addr::LOCALHOST.into())),
        _ => None,
    };
    layer.deny.iter().any(|rule| matches(rule, host, port) || also.iter().any(|also| matches(rule, also, port)))
}

fn connects(layers: &[Layer], host: &Host, port: u16) -> bool {
    layers.iter().all(|layer| {
        let named = layer.no_dns && host.name().is_some();
        !named && !denied(layer, host, port) && layer.net.iter().any(|rule| matches(rule, host, port))
    })
}

fn binds(layers: &[Layer], ip: IpAddr, port: u16) -> bool {
    let covers = |rule: &Rule| match rule.pattern {
        Pattern::Block(net) if ip.is_unspecified() && net != IpNet::from(ip) => false,
        _ => matches(rule, &Host::Ip(ip), port),
    };
    layers.iter().all(|layer| layer.listen.iter().any(covers))
}

fn has(rules: &[Unix], path: &str) -> bool {
    let (directory, _) = path.rsplit_once('/').unwrap();
    named(rules, path) || rules.iter().any(|rule| matches!(rule, Unix::In(inside) if *inside == directory))
}

fn named(rules: &[Unix], path: &str) -> bool {
    rules.iter().any(|rule| matches!(rule, Unix::Path(exact) if *exact == path))
}

fn reaches(layers: &[Layer], path: &str, rules: fn(&Layer) -> &[Unix]) -> bool {
    layers.iter().all(|layer| has(rules(layer), path) && !has(&layer.deny_unix, path))
}

// The generator.

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn block(&mut self) -> IpNet {
        let ip: IpAddr = self.pick(&ADDRESSES).parse().unwrap();
        let full = if ip.is_ipv4() { 32 } else { 128 };
        let length = match self.below(3) {
            0 => self.pick(&[0, 1, 8, 24, 31]),
            _ => full,
        };
        IpNet::new(ip, length).unwrap().trunc()
    }

    fn ports(&mut self, listen: bool) -> Vec<RangeInclusive<u16>> {
        match self.below(4) {
            0 if !listen => vec![1..=u16::MAX],
            0 => vec![0..=0, 1..=u16::MAX],
            n => {
                let mut range = |_| {
                    let low = self.pick(&[1, 2, 3, 4, 5, 6]);
                    low..=low + self.pick(&[0, 0, 1])
                };
                (0..n).map(&mut range).collect()
            }
        }
    }

    fn unix(&mut self, most: usize) -> Vec<Unix> {
        let mut one = |_| match self.below(3) {
            0 => Unix::In(self.pick(&DIRECTORIES)),
            _ => Unix::Path(self.pick(&PATHS)),
        };
        (0..most).map(&mut one).collect()
    }

    fn layer(&mut self) -> Layer {
        let mut layer = Layer { no_dns: self.below(12) == 0, ..Layer::default() };
        for _ in 0..self.below(7) {
            let pattern = match self.below(7) {
                0 => Pattern::Any,
                1 | 2 => Pattern::Name(self.pick(&NAMES)),
                3 => Pattern::Child(self.pick(&NAMES)),
                4 => Pattern::Below(self.pick(&NAMES)),
                _ => Pattern::Block(self.block()),
            };
            // Any host with some ports is not in the grammar.
            let ports = if matches!(pattern, Pattern::Any) { vec![1..=u16::MAX] } else { self.ports(false) };
            layer.net.push(Rule { pattern, ports });
        }
        for _ in 0..self.below(5) {
            let pattern = if self.below(4) == 0 { Pattern::Any } else { Pattern::Block(self.block()) };
            layer.listen.push(Rule { pattern, ports: self.ports(true) });
        }
        for _ in 0..self.below(3) {
            let pattern = match self.below(6) {
                0 => Pattern::Private,
                1 => Pattern::Name(self.pick(&NAMES)),
                2 => Pattern::Child(self.pick(&NAMES)),
                3 => Pattern::Below(self.pick(&NAMES)),
                _ => Pattern::Block(self.block()),
            };
            layer.deny.push(Rule { pattern, ports: self.ports(false) });
        }
        let counts = [self.below(8), self.below(8), self.below(2)];
        [layer.net_unix, layer.listen_unix, layer.deny_unix] = counts.map(|most| self.unix(most));
        layer
    }
}

fn flag(name: &str, Rule { pattern, ports }: &Rule) -> String {
    let range = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
        (low, high) if low == high => low.to_string(),
        (low, high) => format!("{low}-{high}"),
    };
    let ports = ports.iter().map(range).collect::<Vec<_>>().join("+");
    match pattern {
        Pattern::Any if name == "--allow-net" => name.into(),
        Pattern::Any => format!("{name}={ports}"),
        Pattern::Name(host) => format!("{name}={host}:{ports}"),
        Pattern::Child(host) => format!("{name}=*.{host}:{ports}"),
        Pattern::Below(host) => format!("{name}=**.{host}:{ports}"),
        Pattern::Private => format!("{name}=private:{ports}"),
        Pattern::Block(IpNet::V4(net)) => format!("{name}={net}:{ports}"),
        Pattern::Block(IpNet::V6(net)) => format!("{name}=[{}]/{}:{ports}", net.addr(), net.prefix_len()),
    }
}

fn grants(layer: &Layer) -> Grants {
    let mut flags: Vec<String> = layer.net.iter().map(|rule| flag("--allow-net", rule)).collect();
    flags.extend(layer.listen.iter().map(|rule| flag("--allow-listen", rule)));
    flags.extend(layer.deny.iter().map(|rule| flag("--deny-net", rule)));
    for (name, rules) in
        [("--allow-net", &layer.net_unix), ("--allow-listen", &layer.listen_unix), ("--deny-net", &layer.deny_unix)]
    {
        flags.extend(rules.iter().map(|rule| match rule {
            Unix::Path(path) => format!("{name}=unix:{path}"),
            Unix::In(directory) => format!("{name}=unix:{directory}/*"),
        }));
    }
    flags.extend(layer.no_dns.then(|| "--no-dns".into()));
    Grants::parse(&flags).unwrap_or_else(|e| panic!("{e}"))
}

fn hosts() -> Vec<Host> {
    NAMES.iter().chain(&ADDRESSES).map(|text| Host::parse(text).unwrap()).collect()
}

fn check(gate: &Grants, layers: &[Layer], hosts: &[Host], random: &mut Random) {
    let mut some = false;
    for host in hosts {
        let host_granted = PORTS.clone().any(|port| connects(layers, host, port));
        some |= PORTS.clone().any(|port| layers.iter().all(|l| l.net.iter().any(|rule| matches(rule, host, port))));
        assert_eq!(
            gate.permit_lookup(host).is_ok(),
            host_granted && layers.iter().all(|l| !l.no_dns),
            "{host} in {layers:?}"
        );
        for port in PORTS {
            let expected = connects(layers, host, port);
            assert_eq!(gate.allows(host, port), expected, "{host}:{port} in {layers:#?}");
            match gate.connect(host, port) {
                Ok(granted) => check_answer(gate, layers, &granted, random),
                Err(e) => {
                    let kind = if host_granted { Kind::PortNotAllowed } else { Kind::HostNotAllowed };
                    assert!(!expected && e.kind() == kind, "{e} in {layers:#?}");
                }
            }
        }
        assert!(gate.connect(host, 0).is_err());
        let Some(ip) = host.ip() else { continue };
        for port in PORTS.chain([0]) {
            assert_eq!(gate.listen(host, port).is_ok(), binds(layers, ip, port), "listen {ip}:{port} in {layers:#?}");
            some |= binds(layers, ip, port);
        }
    }
    for path in PATHS {
        let connects = reaches(layers, path, |layer| &layer.net_unix);
        assert_eq!(gate.unix(path).is_ok(), connects, "{path} in {layers:#?}");
        let binds = reaches(layers, path, |layer| &layer.listen_unix);
        assert_eq!(gate.listen_unix(path).is_ok(), binds, "listen {path} in {layers:#?}");
        some |= layers.iter().all(|layer| has(&layer.net_unix, path)) | binds;
    }
    assert!(!(gate.is_empty() && some), "{layers:#?}");
}

/// Links are followed where every layer names the path itself.
fn check_links(gate: &Grants, layers: &[Layer]) {
    for path in PATHS {
        let Ok(granted) = gate.unix(path) else { continue };
        let named = layers.iter().all(|layer| named(&layer.net_unix, path));
        let expected = if named { Links::Followed } else { Links::Refused };
        assert_eq!(granted.links(), expected, "{path} in {layers:#?}");
    }
}

fn check_answer(gate: &Grants, layers: &[Layer], granted: &Granted, random: &mut Random) {
    let mut answers: Vec<IpAddr> = Vec::new();
    match granted.host().ip() {
        Some(ip) => answers.push(ip),
        None => answers.extend((0..=random.below(3)).map(|_| random.pick(&ADDRESSES).parse::<IpAddr>().unwrap())),
    }
    let refused = |ip: &IpAddr| layers.iter().any(|layer| denied(layer, &Host::Ip(*ip), granted.port()));
    match gate.permit(granted, &answers) {
        Ok(permitted) => {
            assert!(!answers.iter().any(refused), "{answers:?} behind {granted:?} in {layers:#?}");
            assert_eq!(permitted.iter().map(|p| p.addr().ip()).collect::<Vec<_>>(), answers);
        }
        Err(e) => {
            assert_eq!(e.kind(), Kind::AddressNotAllowed);
            assert!(answers.iter().any(refused), "{answers:?} behind {granted:?} in {layers:#?}");
        }
    }
}

#[test]
fn narrowing_is_the_intersection() {
    let random = &mut Random(1);
    let hosts = hosts();
    for round in 0..600 {
        let layers: Vec<Layer> = (0..=round % 7).map(|_| random.layer()).collect();
        let parts: Vec<Grants> = layers.iter().map(grants).collect();
        let narrow = |all: Grants, part: &Grants| all.narrow(part);
        let left = parts.iter().skip(1).fold(parts[0].clone(), narrow);
        check(&left, &layers, &hosts, random);
        check_links(&left, &layers);

        // The flags are the same value again, in whatever order and grouping it came about.
        let flags = left.flags();
        let again = Grants::parse(&flags).unwrap_or_else(|e| panic!("{flags:?}: {e}"));
        check(&again, &layers, &hosts, random);
        assert_eq!(again.flags(), flags);
        let backwards = parts.iter().rev().skip(1).fold(parts[parts.len() - 1].clone(), narrow);
        let right = parts.iter().rev().skip(1).fold(parts[parts.len() - 1].clone(), |all, part| part.narrow(&all));
        for other in [&backwards, &right, &left.narrow(&left), &left.narrow(&again), &again.narrow(&right)] {
            assert_eq!(other.flags(), flags, "{layers:#?}");
        }
        assert_eq!(left.is_empty(), again.is_empty());
        assert!(left.narrow(&Grants::nothing()).is_empty());
    }
}
