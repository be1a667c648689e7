//! Look-ups by scripts: `net.resolve` and `net.reverse_resolve`, over name servers.
//!
//! The name (and a name server that the caller chose) passes the gate first: a refusal costs no packet. Then the hosts
//! file, this capability's cache, and the name servers, in that order. The results are data: an address found here
//! opens nothing, since connections ask the gate and the system's resolver again (`resolve`). The connections of a
//! guard use [`Lookup`], and then ask the gate about the addresses.
//!
//! A capability has one [`Names`], made with it; nothing is read or asked before the first call. It is never shared, so
//! that no capability can learn another one's questions from the time of an answer.

mod ask;
mod cache;
mod conf;
mod lookup;
mod message;
mod record;
mod sockets;
mod system;

pub use lookup::Lookup;
pub use record::{Record, Type};
pub use system::loopback;

use crate::{
    address::{Host, special, unmap},
    deadline::{Deadline, now},
    error::{Error, Kind, Result},
    net::Net,
};
use ask::{Fault, Found, Query, Way};
use cache::{Cache, Key};
use hickory_resolver::proto::rr::Name;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use system::{Candidate, System};

/// The port of a name server that names none.
pub const PORT: u16 = 53;

/// What is asked, and of whom.
#[derive(Clone, Debug)]
pub struct Question {
    /// The call, for messages and the log.
    pub op: &'static str,
    pub host: Host,
    /// Asked as it is written, without search domains: the name ended in a dot.
    pub absolute: bool,
    /// `None` is A and AAAA together.
    pub kind: Option<Type>,
    /// Ask this server instead of the system's: absolute names only, without the hosts file, as `dig @server` does.
    pub server: Option<(IpAddr, u16)>,
    /// TCP only. Defaults to UDP, and TCP where an answer did not fit.
    pub tcp: bool,
}

/// What a capability knows about names.
#[derive(Debug, Default)]
pub struct Names {
    cache: Mutex<Cache>,
    system: Mutex<Option<Arc<System>>>,
}

impl Question {
    /// Reads a name as the caller wrote it.
    pub fn new(op: &'static str, name: &str) -> std::result::Result<Question, String> {
        let host = Host::parse(name).map_err(|bad| bad.0)?;
        let absolute = host.is_absolute();
        Ok(Question { op, host, absolute, kind: None, server: None, tcp: false })
    }

    /// `resolve mx example.com`: the act, for messages.
    fn act(&self) -> String {
        match self.kind {
            Some(kind) => format!("{} {} {}", self.op, kind.word(), self.host),
            None => format!("{} {}", self.op, self.host),
        }
    }
}

/// Reads the address of a name server: `1.2.3.4`, `1.2.3.4:53`, `[::1]`, `[::1]:53`. Never a name.
pub fn server(text: &str) -> std::result::Result<(IpAddr, u16), String> {
    let why = "server must be an address, as in \"9.9.9.9\", \"127.0.0.1:5353\" or \"[::1]:53\"";
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(why.into());
    }
    let port = match port {
        None => PORT,
        Some(port) if port.starts_with('0') || !port.bytes().all(|b| b.is_ascii_digit()) => return Err(why.into()),
        Some(port) => port.parse().map_err(|_| why.to_owned())?,
    };
    match Host::parse(host).ok().and_then(|host| host.ip()) {
        Some(ip) => Ok((ip, port)),
        None => Err(why.into()),
    }
}

impl Names {
    /// The records of a name. `dns_failure` if it does not exist or has none of that kind.
    pub fn resolve(&self, net: &Net, question: &Question, deadline: &Deadline) -> Result<Arc<[Record]>> {
        let records = self.find(net, question, deadline).map_err(|fault| self.error(question, deadline, fault))?;
        // As for a connection: one denied address refuses the whole answer, and only the log has its number.
        let asked = matches!(question.kind, None | Some(Type::A | Type::Aaaa));
        let addresses = records.iter().filter(|_| asked).filter_map(Record::as_address);
        match addresses.into_iter().find(|ip| net.grants().denies(&Host::from(*ip))) {
            None => Ok(records),
            Some(ip) => {
                let kind = special(ip).map_or("an address", |special| special.kind());
                let message = format!("{}: the name resolves to {kind}, which --deny-net forbids", question.act());
                Err(Error::new(Kind::AddressNotAllowed, message))
            }
        }
    }

    /// The first name of an address; `None` if it has none.
    pub fn reverse(&self, net: &Net, question: &Question, deadline: &Deadline) -> Result<Option<Record>> {
        match self.find(net, question, deadline) {
            Ok(records) => Ok(records.first().cloned()),
            Err(Fault::Nothing { .. }) => Ok(None),
            Err(fault) => Err(self.error(question, deadline, fault)),
        }
    }

    fn error(&self, question: &Question, deadline: &Deadline, fault: Fault) -> Error {
        let act = question.act();
        let dns = |message: String| Error::new(Kind::DnsFailure, format!("{act}: {message}"));
        let error = match fault {
            Fault::Known(error) => error,
            Fault::Nothing { exists: false, .. } => dns("there is no such name".into()),
            Fault::Nothing { exists: true, .. } => match question.kind {
                Some(kind) => dns(format!("the name has no {} record", kind.word().to_uppercase())),
                None => dns("the name has no address".into()),
            },
            Fault::Refused(code) => {
                let code = format!("{code:?}");
                dns(format!("the name server answered {code:?}")).cause(code)
            }
            Fault::Lame => dns("the name server names others, and knows nothing of the name itself".into()),
            Fault::Nobody => dns("no name server could be reached".into()),
            Fault::NoTcp => dns("the answer is truncated, and the name server takes no connection over TCP".into()),
            Fault::BadName => dns("the answer holds a name that is not one".into()),
            Fault::Chain => dns("too many aliases (CNAME)".into()),
            Fault::Malformed(cause) => {
                Error::new(Kind::Protocol, format!("{act}: the name server's answer is malformed")).cause(cause)
            }
            Fault::Silence => {
                Error::new(Kind::Timeout, format!("{act}: no name server answered")).timeout(deadline.timeout())
            }
            Fault::Io(e) => Error::from_io(&act, &e),
            Fault::Other(message) => dns(message),
        };
        error.op(question.op).host(question.host.to_string())
    }

    fn find(&self, net: &Net, question: &Question, deadline: &Deadline) -> std::result::Result<Arc<[Record]>, Fault> {
        self.admit(net, question)?;
        // A literal is its own answer.
        let literal = question.host.ip().filter(|_| question.kind != Some(Type::Ptr));
        if let Some(ip) = literal {
            let fits = match question.kind {
                None => true,
                Some(Type::A) => ip.is_ipv4(),
                Some(Type::Aaaa) => ip.is_ipv6(),
                Some(_) => false,
            };
            return match fits {
                true => Ok(vec![Record::address(ip)].into()),
                false => Err(Fault::Nothing { exists: true, ttl: 0 }),
            };
        }
        // Nobody is asked about `localhost`, and nobody is believed.
        if question.host.is_localhost() {
            let fits = |ip: &IpAddr| match question.kind {
                None => true,
                Some(Type::A) => ip.is_ipv4(),
                Some(Type::Aaaa) => ip.is_ipv6(),
                Some(_) => false,
            };
            let found: Vec<_> = loopback(&question.host).into_iter().filter(fits).map(Record::address).collect();
            return match found.is_empty() {
                false => Ok(found.into()),
                true => Err(Fault::Nothing { exists: true, ttl: 0 }),
            };
        }
        let server = match question.server {
            Some((ip, port)) => Some(self.server(net, question, ip, port)?),
            None => None,
        };
        let system = self.system()?;
        if server.is_none()
            && let Some(found) = system.hosts(&question.host, question.kind)
        {
            return Ok(found);
        }
        let Question { host, absolute, kind, tcp, .. } = question.clone();
        let key = Key { host, absolute, kind, server, tcp };
        if let Some(known) = self.cache().find(&key) {
            return known;
        }
        let name = name(&question.host)?;
        let names = match server.is_some() || absolute || question.host.ip().is_some() {
            true => vec![Candidate { name, as_is: true }],
            false => system.candidates(&name, |candidate| allowed(net, candidate)),
        };
        let way = Way::new(&system, server, tcp);
        let started = now();
        let answer = ask::ask(Query { names, kind }, way, deadline, || question.act());
        if net.is_logged() {
            let class = match &answer {
                Ok(_) => None,
                Err(fault) => Some(self.error(question, deadline, fault.clone()).kind().word()),
            };
            let seconds = started.elapsed().as_secs_f64();
            let fields = [
                ("op", question.op.into()),
                ("host", question.host.to_string().into()),
                ("type", kind.map_or("a aaaa", Type::word).into()),
                ("server", server.map(|server| server.to_string()).into()),
                ("class", class.into()),
                ("seconds", seconds.into()),
            ];
            net.log("resolved", &fields);
        }
        self.cache().keep(key, &answer);
        answer.map(|Found { records, .. }| records)
    }

    /// The gate.
    fn admit(&self, net: &Net, question: &Question) -> std::result::Result<(), Fault> {
        let host = &question.host;
        let granted = match address(host) {
            // The spelled-out question for an address's name is a question about that address.
            Some(ip) if !net.grants().denies(host) => net.permit_lookup(question.op, &Host::from(ip)),
            _ => net.permit_lookup(question.op, host),
        };
        granted.map(drop).map_err(Fault::Known)
    }

    /// A server of the caller's own is connected to like any other host.
    fn server(&self, net: &Net, question: &Question, ip: IpAddr, port: u16) -> std::result::Result<SocketAddr, Fault> {
        let granted = net.connect(question.op, &Host::from(ip), port).map_err(Fault::Known)?;
        let permitted = net.permit(question.op, &granted, &[unmap(ip)]).map_err(Fault::Known)?;
        let address = permitted.first().map(|permitted| permitted.addr());
        address.ok_or_else(|| Fault::Other("the server has no address".into()))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A panic under the lock leaves a map that is whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The system's configuration, read again when its files change. What was known by the old one is forgotten: other
    /// servers may know other things.
    fn system(&self) -> std::result::Result<Arc<System>, Fault> {
        let mut known = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(system) = known.as_ref().filter(|system| system.is_current()) {
            return Ok(Arc::clone(system));
        }
        let read = Arc::new(System::read().map_err(|e| Fault::Io(Arc::new(e)))?);
        if known.replace(Arc::clone(&read)).is_some() {
            *self.cache() = Cache::default();
        }
        Ok(read)
    }
}

/// The names that the system's resolver may make of one that is not absolute, by its search domains.
pub fn searched(host: &Host) -> Result<Vec<Host>> {
    let Ok(name) = name(host) else { return Ok(Vec::new()) };
    if host.is_absolute() || host.ip().is_some() {
        return Ok(vec![host.clone()]);
    }
    let system = System::read().map_err(|e| Error::from_io(&format!("resolve {host}"), &e))?;
    let made = system.candidates(&name, |_| true);
    Ok(made.iter().filter_map(|one| Host::parse(&one.name.to_ascii()).ok()).collect())
}

/// What a message says to a question with its id, where it says something: for fuzzing, without a server.
pub fn heard(bytes: &[u8], host: &str, kind: Type) -> std::result::Result<Vec<Record>, String> {
    let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let name = name(&Host::parse(host).map_err(|bad| bad.0)?).map_err(|fault| format!("{fault:?}"))?;
    let found = ask::heard(bytes, id, &name, kind).map_err(|fault| format!("{fault:?}"))?;
    Ok(found.map_or_else(Vec::new, |found| found.records.to_vec()))
}

/// Whether a name that a search domain made may be asked for.
fn allowed(net: &Net, name: &Name) -> bool {
    let text = name.to_ascii();
    Host::parse(&text).is_ok_and(|host| !net.grants().denies(&host))
}

/// The absolute name to ask for.
fn name(host: &Host) -> std::result::Result<Name, Fault> {
    let Some(text) = host.name() else { return Ok(host.ip().map(Name::from).unwrap_or_default()) };
    let mut name = Name::from_ascii(text).map_err(|e| Fault::Other(e.to_string()))?;
    name.set_fqdn(true);
    Ok(name)
}

/// The address that a host is, or that a name under `in-addr.arpa` or `ip6.arpa` stands for.
fn address(host: &Host) -> Option<IpAddr> {
    if let Host::Ip(ip) = host {
        return Some(*ip);
    }
    host.name().filter(|text| text.ends_with(".arpa"))?;
    let net = name(host).ok()?.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let rows = [
            ("9.9.9.9", Some("9.9.9.9:53")),
            ("127.0.0.1:5353", Some("127.0.0.1:5353")),
            ("[::1]", Some("[::1]:53")),
            ("[::1]:5353", Some("[::1]:5353")),
            ("[::ffff:1.2.3.4]:53", Some("1.2.3.4:53")),
            ("::1", None),
            ("", None),
            (":53", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:0", None),
            ("1.2.3.4:053", None),
            ("1.2.3.4:+53", None),
            ("1.2.3.4:65536", None),
            ("[::1]53", None),
            ("[::1", None),
            ("dns.example", None),
            ("dns.example:53", None),
            ("0x7f.1:53", None),
            ("1.2.3.4:53:53", None),
        ];
        for (text, expected) in rows {
            let read = server(text).ok().map(|(ip, port)| SocketAddr::new(ip, port).to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn spelled_out_addresses() {
        let rows = [
            ("1.2.3.4", Some("1.2.3.4")),
            ("4.3.2.1.in-addr.arpa.", Some("1.2.3.4")),
            ("4.3.2.1.IN-ADDR.ARPA", Some("1.2.3.4")),
            ("3.2.1.in-addr.arpa.", None),
            ("4.3.2.1.in-addr.arpa.example", None),
            ("example.com.", None),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.", Some("::1")),
        ];
        for (name, expected) in rows {
            let ip = address(&Host::parse(name).unwrap()).map(|ip| ip.to_string());
            assert_eq!(ip.as_deref(), expected, "{name}");
        }
    }
}
