//! The gate: the grants of a launcher, and whether they cover a host, an address, an interface or a path.
//!
//! Pure: no I/O, no clock, no name is resolved here. Grants never widen: there is no `&mut self` on [`Grants`], and
//! [`Grants::narrow`] makes an intersection. The answers are proofs ([`Granted`], [`Permitted`], [`Bindable`],
//! [`GrantedPath`]) without which nothing below opens a socket.
//!
//! - Names match by name, addresses by literal. `--deny-net` is asked about both, and about every resolved address.
//! - `--deny-net` is about where connections go: TCP, UDP and look-ups. A denied `unix:` path can be neither
//!   connected to nor bound; the interfaces that listeners bind are not its business.
//! - `--allow-net` and `--allow-listen` without a value never include Unix sockets: those are granted by path.

mod fence;
mod flags;
mod index;
mod keyword;
mod layer;
mod needs;
mod ports;
mod proof;
mod set;

pub use flags::{FLAGS, Spec, UsageError};
pub use keyword::{nearest, slips};
pub use needs::Need;
pub use proof::{Bindable, Granted, GrantedPath, Links, Permitted};

use crate::{
    address::{Endpoint, Host, Reach, Special, special, unix_path, unmap},
    error::{Error, Kind, Result},
};
use fence::Fence;
use layer::Layer;
use ports::Ports;
use proof::within;
pub use set::DeniedPath;
use set::{Cover, Pattern, Set};
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Narrowings are kept apart, since making one should cost nothing, but no more than this many: then they become one.
const NARROWINGS: usize = 4;

/// What may be connected to and listened on. A cheap handle: clones share one immutable value.
#[derive(Clone, Debug)]
pub struct Grants(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the launcher said.
    root: Arc<Layer>,
    /// What it was narrowed to since: a request passes if it passes every layer.
    narrowed: Vec<Arc<Layer>>,
    log: Option<PathBuf>,
    ca: Vec<String>,
}

/// Why the gate says no.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    /// By a deny rule of this layer.
    Denied(usize),
    /// A name, under `--no-dns`.
    NoDns,
    /// A literal that a guard keeps out.
    Fenced(Special),
    /// Not in this layer.
    Absent(usize),
    PortZero,
}

impl Grants {
    /// Reads launcher flags: `--allow-net[=HOST[:PORTS]]`, `--allow-listen[=[HOST:]PORTS]`, `--deny-net=TARGET`,
    /// `--standard`, `--no-dns`, `--net-log=FILE`, `--ca=FILE`. One malformed value and there are no grants at all.
    pub fn parse<S: AsRef<str>>(flags: &[S]) -> std::result::Result<Grants, UsageError> {
        flags::parse(flags, flags::Use::Allow)
    }

    /// The same flags, to narrow with, and plain hosts for `--allow-net=` of those: a wildcard needs two labels, since
    /// `*.com` is a mistake where code means to restrict.
    pub fn narrowing<S: AsRef<str>>(flags: &[S]) -> std::result::Result<Grants, UsageError> {
        flags::parse(flags, flags::Use::Restrict)
    }

    /// Reads the table form of `launch{ allow_net = {…}, … }`.
    #[doc(hidden)]
    pub fn of(spec: &Spec) -> std::result::Result<Grants, UsageError> {
        flags::of(spec)
    }

    /// Connecting to a plain list of `HOST[:PORTS]`, as jails and clients have it. A wildcard needs two labels here, and
    /// wherever code means to restrict: there `*.com` is a mistake.
    #[doc(hidden)]
    pub fn hosts<S: AsRef<str>>(hosts: &[S]) -> std::result::Result<Grants, UsageError> {
        flags::hosts(hosts)
    }

    /// Connecting to these hosts at these ports: the rules of a guard.
    #[doc(hidden)]
    pub fn only<'a>(hosts: impl IntoIterator<Item = (Reach, &'a [u16])>) -> Grants {
        let rule = |(reach, ports): (Reach, &[u16])| {
            let pattern = match reach {
                Reach::Children(name) => Pattern::Child(name),
                Reach::Host(Host::Name(name)) => Pattern::Name(name),
                Reach::Host(Host::Ip(ip)) => Pattern::Net(ip.into()),
            };
            (pattern, Ports::list(ports))
        };
        let net = Set::new(hosts.into_iter().map(rule).collect::<Vec<_>>());
        Grants::from_layer(Layer { net, ..Layer::default() }, None, Vec::new())
    }

    /// Any host, with a fence around every address that is not global unicast, but those in `open` (`None`: no fence).
    #[doc(hidden)]
    pub fn fenced<S: AsRef<str>>(open: Option<&[S]>) -> std::result::Result<Grants, UsageError> {
        let net = Set::new(vec![(Pattern::Any, Ports::CONNECT)]);
        let fences = open.map(Fence::parse).transpose()?.into_iter().collect();
        Ok(Grants::from_layer(Layer { net, fences, ..Layer::default() }, None, Vec::new()))
    }

    pub fn nothing() -> Grants {
        Grants::from_layer(Layer::default(), None, Vec::new())
    }

    fn from_layer(root: Layer, log: Option<PathBuf>, ca: Vec<String>) -> Grants {
        Grants(Arc::new(Inner { root: Arc::new(root), narrowed: Vec::new(), log, ca }))
    }

    /// No grant at all, neither to connect nor to listen nor for a path.
    pub fn is_empty(&self) -> bool {
        match self.0.narrowed.is_empty() {
            true => self.0.root.is_empty(),
            false => self.layers().any(Layer::is_empty) || self.flat().is_empty(),
        }
    }

    /// False under `--no-dns`: only IP literals connect.
    pub fn dns(&self) -> bool {
        self.layers().all(|layer| layer.dns)
    }

    /// Where `--net-log` appends. Narrowing neither adds nor removes it.
    #[doc(hidden)]
    pub fn log(&self) -> Option<&Path> {
        self.0.log.as_deref()
    }

    /// What `--ca` names: paths, or PEM text where a table said so. Narrowing neither adds nor removes any.
    #[doc(hidden)]
    pub fn ca(&self) -> &[String] {
        &self.0.ca
    }

    /// The intersection: what passes here and in `spec`. The log and the authorities stay those of `self`.
    pub fn narrow(&self, spec: &Grants) -> Grants {
        let mut narrowed = self.0.narrowed.clone();
        for layer in std::iter::once(&spec.0.root).chain(&spec.0.narrowed) {
            if !narrowed.iter().chain([&self.0.root]).any(|have| Arc::ptr_eq(have, layer)) {
                narrowed.push(layer.clone());
            }
        }
        if narrowed.len() > NARROWINGS {
            narrowed = Layer::fold(narrowed.iter().map(Arc::as_ref)).map(Arc::new).into_iter().collect();
        }
        let (log, ca) = (self.0.log.clone(), self.0.ca.clone());
        Grants(Arc::new(Inner { root: self.0.root.clone(), narrowed, log, ca }))
    }

    /// What is granted, as sorted canonical flags; for a narrowed value the flags of the intersection. `--net-log` and
    /// `--ca` are not among them: they are no grants, and a script has no business with the paths.
    pub fn flags(&self) -> Vec<String> {
        match self.0.narrowed.is_empty() {
            true => self.0.root.flags(),
            false => self.flat().flags(),
        }
    }

    /// Whether connecting to that host and port is granted: the answer of [`Grants::connect`] without its words.
    #[doc(hidden)]
    pub fn allows(&self, host: &Host, port: u16) -> bool {
        self.decide(host, port).is_ok()
    }

    /// Asks to connect, before DNS. `host_not_allowed` if no grant covers the host, `port_not_allowed` if one covers
    /// it but not the port.
    #[doc(hidden)]
    pub fn connect(&self, host: &Host, port: u16) -> Result<Granted> {
        match self.decide(host, port) {
            Ok(()) => Ok(Granted { endpoint: Endpoint { host: host.clone(), port }, zone: 0 }),
            Err(refusal) => Err(self.refused(host, port, refusal)),
        }
    }

    /// Asks to send a host's name or address to the DNS: granted if some port of it is. The proof opens no connection.
    #[doc(hidden)]
    pub fn permit_lookup(&self, host: &Host) -> Result<Granted> {
        let subject = format!("look up {host}");
        let refused = |message: String| Err(Error::new(Kind::HostNotAllowed, message));
        if !self.dns() {
            return refused(format!("{subject} is not allowed: --no-dns forbids it"));
        }
        let denied = self.denied_ports(host);
        if !self.reach(host).without(&denied).is_empty() {
            return Ok(Granted { endpoint: Endpoint { host: host.clone(), port: 0 }, zone: 0 });
        }
        match denied.is_empty() {
            true => refused(format!("{subject} is not allowed; {} would allow it", allowing(host, None))),
            false => refused(format!("{subject} is not allowed: --deny-net forbids it")),
        }
    }

    /// Whether some `--deny-net` is about names and refuses one of these, which a search domain may make of another name.
    /// Port 0, of a name that is only asked for: whether it refuses any port.
    #[doc(hidden)]
    pub fn denies_some(&self, port: u16, names: impl FnOnce() -> Result<Vec<Host>>) -> Result<bool> {
        let refuses = |host: &Host| match port {
            0 => !self.denied_ports(host).is_empty(),
            port => self.layers().any(|layer| layer.denies(host, port)),
        };
        Ok(self.layers().any(|layer| layer.deny.has_names()) && names()?.iter().any(refuses))
    }

    /// Whether `--deny-net` takes every port of a host.
    #[doc(hidden)]
    pub fn denies(&self, host: &Host) -> bool {
        let denied = self.denied_ports(host);
        !denied.is_empty() && Ports::One(1, u16::MAX).without(&denied).is_empty()
    }

    /// Asks to dial the addresses that a granted host has. One denied address refuses the whole answer: what a name
    /// resolves to may be an attacker's choice, and so would be the order. IPv4-mapped addresses come out as IPv4.
    ///
    /// The host is asked about again, so a proof that another capability made opens nothing here.
    #[doc(hidden)]
    pub fn permit(&self, granted: &Granted, answers: &[IpAddr]) -> Result<Vec<Permitted>> {
        let Endpoint { host, port } = granted.endpoint();
        self.decide(host, *port).map_err(|refusal| self.refused(host, *port, refusal))?;
        let not_allowed =
            |message: String| Err(Error::new(Kind::AddressNotAllowed, message).at(host.to_string(), *port));
        if answers.is_empty() {
            let message = format!("{host} has no address");
            return Err(Error::new(Kind::DnsFailure, message).at(host.to_string(), *port));
        }
        let mut permitted = Vec::with_capacity(answers.len());
        for ip in answers.iter().map(|ip| unmap(*ip)) {
            if host.ip().is_some_and(|literal| unmap(literal) != ip) {
                return not_allowed(format!("{host} is an address, and cannot resolve to another"));
            }
            if let Some(rule) = self.denies_address(ip, *port) {
                return not_allowed(format!("{host} resolves to {}, which {rule} forbids", kind(ip)));
            }
            if let Some(special) = self.layers().find_map(|layer| layer.fenced(ip)) {
                let kind = with_article(special.kind());
                return not_allowed(format!("{host} resolves to {kind}, which this guard refuses (allow_private)"));
            }
            permitted.push(Permitted(within(SocketAddr::new(ip, *port), granted.zone)));
        }
        Ok(permitted)
    }

    /// True if some `--deny-net` is about addresses: then a name may not be handed to somebody else to be resolved.
    #[doc(hidden)]
    pub fn denies_addresses(&self) -> bool {
        self.layers().any(|layer| layer.deny.has_addresses() || !layer.fences.is_empty())
    }

    /// Asks to bind. Only addresses can be bound, and `localhost` and names below it, which are 127.0.0.1 (RFC 6761 §6.3);
    /// port 0 is an ephemeral port and needs a grant for port 0. `port_not_allowed`; but `host_not_allowed` where ports are
    /// granted on other interfaces only, since then no port of this one would do.
    #[doc(hidden)]
    pub fn listen(&self, host: &Host, port: u16) -> Result<Bindable> {
        let ip = match host {
            Host::Ip(ip) => *ip,
            Host::Name(_) if host.is_localhost() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Host::Name(_) => {
                let message = format!("listen on {host} is not allowed: only an address can be bound");
                return Err(Error::new(Kind::HostNotAllowed, message).at(host.to_string(), port));
            }
        };
        let addr = SocketAddr::new(unmap(ip), port);
        let ports = self.layers().map(|layer| layer.listen.bindable(addr.ip())).reduce(|a, b| a.meet(&b));
        let ports = ports.unwrap_or_default();
        if ports.contains(port) {
            return Ok(Bindable(addr));
        }
        let (kind, why) = match (ports.is_empty(), self.listens()) {
            (false, _) => (Kind::PortNotAllowed, "that interface is granted, that port is not"),
            (true, true) => (Kind::HostNotAllowed, "other interfaces are granted, that one is not"),
            (true, false) => (Kind::PortNotAllowed, "no port is granted on any interface"),
        };
        let guilty = self.layers().position(|layer| !layer.listen.bindable(addr.ip()).contains(port));
        let subject = format!("listen on {addr}");
        let message = self.because(&subject, Some(why), &format!("--allow-listen={addr}"), guilty);
        Err(Error::new(kind, message).at(host.to_string(), port))
    }

    /// Asks to connect to a Unix socket, by its path.
    #[doc(hidden)]
    pub fn unix(&self, path: &str) -> Result<GrantedPath> {
        self.path(path, "connect to", "--allow-net", |layer| &layer.net)
    }

    /// Asks to bind a Unix socket, by its path.
    #[doc(hidden)]
    pub fn listen_unix(&self, path: &str) -> Result<GrantedPath> {
        self.path(path, "listen on", "--allow-listen", |layer| &layer.listen)
    }

    fn path(&self, path: &str, act: &str, flag: &str, set: fn(&Layer) -> &Set) -> Result<GrantedPath> {
        let path = unix_path(path).map_err(|bad| Error::new(Kind::HostNotAllowed, bad.0))?;
        let message = if let Some(rule) = self.denies_unix(&path) {
            format!("{act} unix:{path} is not allowed: {rule} forbids it")
        } else if let Some(guilty) = self.layers().position(|layer| set(layer).unix(&path).is_none()) {
            let subject = format!("{act} unix:{path}");
            match grantable(&path) {
                Some(path) => self.message(&subject, &format!("{flag}=unix:{path}"), Some(guilty)),
                None => format!("{subject} is not allowed: no grant can name a directory with a star"),
            }
        } else {
            let links = self.layers().filter_map(|layer| set(layer).unix(&path)).min();
            return Ok(GrantedPath { path: path.into(), links: links.unwrap_or(Links::Refused) });
        };
        Err(Error::new(Kind::HostNotAllowed, message))
    }

    /// The flag that denies a path.
    fn denies_unix(&self, path: &str) -> Option<String> {
        self.layers().find_map(|layer| layer.deny.find_unix(path)).map(|pattern| format!("--deny-net={pattern}"))
    }

    /// The paths that `--deny-net` is about, and the directories. Links may lead to the same places under other names.
    #[doc(hidden)]
    pub fn denied_paths(&self) -> impl Iterator<Item = DeniedPath<'_>> {
        self.layers().flat_map(|layer| layer.deny.paths())
    }

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.0.root).chain(&self.0.narrowed).map(Arc::as_ref)
    }

    /// Whether some interface and port can be bound.
    fn listens(&self) -> bool {
        let all = |all: Set, layer: &Layer| all.meet(&layer.listen, true);
        self.0.narrowed.iter().map(Arc::as_ref).fold(self.0.root.listen.clone(), all).binds()
    }

    /// All layers as one.
    fn flat(&self) -> Layer {
        Layer::fold(self.layers()).unwrap_or_default()
    }

    /// The decision itself, without an allocation.
    fn decide(&self, host: &Host, port: u16) -> std::result::Result<(), Refusal> {
        if port == 0 {
            return Err(Refusal::PortZero);
        }
        if host.name().is_some() && !self.dns() {
            return Err(Refusal::NoDns);
        }
        for (i, layer) in self.layers().enumerate() {
            if !layer.deny.is_empty() && layer.denies(host, port) {
                return Err(Refusal::Denied(i));
            }
        }
        if let Some(special) = host.ip().and_then(|ip| self.layers().find_map(|layer| layer.fenced(ip))) {
            return Err(Refusal::Fenced(special));
        }
        for (i, layer) in self.layers().enumerate() {
            if layer.net.covers(host, port) != Cover::Yes {
                return Err(Refusal::Absent(i));
            }
        }
        Ok(())
    }

    fn refused(&self, host: &Host, port: u16, refusal: Refusal) -> Error {
        let endpoint = Endpoint { host: host.clone(), port };
        let subject = format!("connect to {endpoint}");
        let message = match refusal {
            Refusal::Denied(i) => {
                let rule = self.layers().nth(i).and_then(|layer| layer.deny_rule(host, port));
                let rule = rule.unwrap_or_else(|| "--deny-net".into());
                format!("{subject} is not allowed: {rule} forbids it")
            }
            Refusal::NoDns => format!("{subject} is not allowed: --no-dns forbids names, only IP literals connect"),
            Refusal::Absent(i) => self.message(&subject, &allowing(host, Some(port)), Some(i)),
            Refusal::Fenced(special) => {
                let kind = with_article(special.kind());
                format!("{subject} is not allowed: it is {kind}, which this guard refuses (allow_private)")
            }
            Refusal::PortZero => format!("{subject} is not allowed: nothing listens on port 0"),
        };
        let kind = match refusal {
            Refusal::NoDns => Kind::HostNotAllowed,
            Refusal::Fenced(_) => Kind::AddressNotAllowed,
            // A host whose every port is denied is a host that is not allowed.
            _ if self.reach(host).without(&self.denied_ports(host)).is_empty() => Kind::HostNotAllowed,
            _ => Kind::PortNotAllowed,
        };
        Error::new(kind, message).at(host.to_string(), port)
    }

    /// What was asked and the flag that would allow it: to the launcher, or to whoever narrowed.
    fn message(&self, subject: &str, flag: &str, guilty: Option<usize>) -> String {
        self.because(subject, None, flag, guilty)
    }

    fn because(&self, subject: &str, why: Option<&str>, flag: &str, guilty: Option<usize>) -> String {
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        match guilty {
            Some(0) | None => format!("{subject} is not allowed{why}; {flag} would allow it"),
            Some(_) if why.is_empty() => {
                format!("{subject} is not allowed: this capability was narrowed, and lacks {flag}")
            }
            Some(_) => format!("{subject} is not allowed{why}; this capability was narrowed, and lacks {flag}"),
        }
    }

    /// The ports of a host that every layer grants.
    fn reach(&self, host: &Host) -> Ports {
        self.layers().map(|layer| layer.net.ports(host)).reduce(|a, b| a.meet(&b)).unwrap_or_default()
    }

    fn denied_ports(&self, host: &Host) -> Ports {
        self.layers().map(|layer| layer.denied_ports(host)).fold(Ports::None, |all, ports| all.join(&ports))
    }

    /// The rule that denies an address behind a name, in words that do not give the number away.
    fn denies_address(&self, ip: IpAddr, port: u16) -> Option<&'static str> {
        let host = Host::Ip(ip);
        let layer = self.layers().find(|layer| !layer.deny.is_empty() && layer.denies(&host, port))?;
        Some(if layer.denies_private(&host, port) { "--deny-net=private" } else { "--deny-net" })
    }
}

/// An address as messages name it: by its kind.
fn kind(ip: IpAddr) -> String {
    with_article(special(ip).map_or("denied address", Special::kind))
}

/// How a path is written in a flag: a socket with a star in its name can be granted with its directory only.
fn grantable(path: &str) -> Option<Cow<'_, str>> {
    match path.rsplit_once('/') {
        Some((directory, _)) if directory.contains('*') => None,
        Some((directory, name)) if name.contains('*') => Some(format!("{directory}/*").into()),
        _ => Some(path.into()),
    }
}

/// The flag that would allow a host, or one port of it: it reads back as that.
fn allowing(host: &Host, port: Option<u16>) -> String {
    let host = host.authority();
    let dot = keyword::dot(&host);
    port.map_or_else(|| format!("--allow-net={host}{dot}"), |port| format!("--allow-net={host}{dot}:{port}"))
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}
