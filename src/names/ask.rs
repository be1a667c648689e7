//! Questions to name servers, in the order and with the search list of resolv.conf(5). No thread, and nothing that is left
//! over for a fork to break.

use super::{
    conf::Conf,
    message::{Answer, Heard, Question},
    record::{Record, Type},
    sockets::Server,
    system::{Candidate, System},
};
use crate::{
    deadline::Deadline,
    error::Error,
    panics::{failpoint, quietly},
};
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{
        Name, RData,
        domain::usage::{IN_ADDR_ARPA_127, INVALID, IP6_ARPA_1, LOCALHOST, ONION, ResolverUsage},
    },
};
use std::{
    collections::HashSet,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Aliases followed within one answer; questions for one name, the first one included.
const MAX_ALIASES: usize = 16;
const MAX_QUESTIONS: usize = 8;

/// Why there are no records.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An error that is complete: the gate's, or the deadline's.
    Known(Error),
    /// No such name, or (`exists`) no record of that kind. `ttl`: for how long, in seconds; zero if nobody said.
    Nothing {
        exists: bool,
        ttl: u32,
    },
    /// The server answered with this code.
    Refused(ResponseCode),
    /// The server answered with other servers' names (a lame delegation).
    Lame,
    /// A name in the answer is none.
    BadName,
    /// More than [`MAX_ALIASES`], or a loop.
    Chain,
    Malformed(String),
    Silence,
    /// Where a server should be there is none.
    Nobody,
    /// The same for TCP, where an answer is truncated.
    NoTcp,
    Io(Arc<io::Error>),
    Other(String),
}

impl Fault {
    /// Whether another server may know better.
    fn leads_on(&self) -> bool {
        use ResponseCode::{NotImp, Refused, ServFail};
        match self {
            Fault::Refused(code) => matches!(code, ServFail | NotImp | Refused),
            Fault::Lame
            | Fault::Malformed(_)
            | Fault::Silence
            | Fault::Nobody
            | Fault::NoTcp
            | Fault::Io(_)
            | Fault::Other(_) => true,
            Fault::Known(_) | Fault::Nothing { .. } | Fault::BadName | Fault::Chain => false,
        }
    }

    fn weight(&self) -> u8 {
        match self {
            Fault::Nobody | Fault::Io(_) => 0,
            Fault::Silence => 1,
            _ => 2,
        }
    }
}

/// What was found, and for how many seconds it holds.
#[derive(Clone, Debug)]
pub struct Found {
    pub records: Arc<[Record]>,
    pub ttl: u32,
}

/// Absolute names, in the order in which they are tried. `kind`: `None` is A and AAAA.
pub struct Query {
    pub names: Vec<Candidate>,
    pub kind: Option<Type>,
}

/// The servers and how they are asked.
#[derive(Clone)]
pub struct Way {
    servers: Vec<SocketAddr>,
    conf: Conf,
}

impl Way {
    /// `server`: ask it instead of the system's. `tcp`: never use UDP.
    pub fn new(system: &System, server: Option<SocketAddr>, tcp: bool) -> Way {
        let mut conf = system.conf.clone();
        conf.tcp |= tcp;
        Way { servers: server.map_or_else(|| conf.servers.clone(), |server| vec![server]), conf }
    }

    /// How long the server at that place may be silent, as the C library has it: those behind the first share a time
    /// that doubles with each.
    fn patience(&self, index: usize) -> Duration {
        let doubled = self.conf.timeout * (1 << index.min(8));
        let shared = if index == 0 { 1 } else { self.servers.len() };
        (doubled / u32::try_from(shared).unwrap_or(1)).max(Duration::from_secs(1))
    }
}

/// Asks, and waits until there is an answer or the deadline passes. `what` is the act, for messages.
pub fn ask(query: Query, way: Way, deadline: &Deadline, what: impl Fn() -> String) -> Result<Found, Fault> {
    if deadline.is_now() {
        return Err(Fault::Known(deadline.error(&what())));
    }
    let asked = quietly(|| search(query, &Asking { way, deadline, what: &what }));
    asked.unwrap_or_else(|| Err(Fault::Other("the resolver gave no answer".into())))
}

/// How one call asks.
struct Asking<'a> {
    way: Way,
    deadline: &'a Deadline,
    what: &'a dyn Fn() -> String,
}

/// The names in their order, as res_search(3) walks them: what is not found, and a SERVFAIL, leads to the next search
/// domain; any other failure ends the search, but the name as it is is still asked for.
fn search(query: Query, asking: &Asking<'_>) -> Result<Found, Fault> {
    failpoint("names");
    let first = query.names.first().is_some_and(|candidate| candidate.as_is);
    let (mut as_is, mut nowhere, mut failed, mut last) = (None, false, None, None);
    // For how long there is nothing: as long as each of the answers holds, if all said so.
    let mut least = u32::MAX;
    for Candidate { name, as_is: own } in query.names {
        if !own && last.is_some() {
            continue;
        }
        let fault = match asking.servers(&name, query.kind) {
            Ok(found) => return Ok(found),
            Err(Fault::Known(error)) => return Err(Fault::Known(error)),
            Err(fault) => fault,
        };
        least = least.min(if let Fault::Nothing { ttl, .. } = fault { ttl } else { 0 });
        match fault {
            fault if own => as_is = Some(fault),
            // Nobody there: the next name would find nobody either.
            fault @ (Fault::Nobody | Fault::NoTcp) => return Err(fault),
            Fault::Nothing { exists, .. } => nowhere |= exists,
            fault @ Fault::Refused(ResponseCode::ServFail) => failed = Some(fault),
            fault => last = Some(fault),
        }
    }
    let nothing = |exists| Fault::Nothing { exists, ttl: least };
    Err(match as_is {
        Some(Fault::Nothing { exists, .. }) if first => nothing(exists),
        Some(fault) if first => fault,
        _ if nowhere => nothing(true),
        own => match failed.or(own).or(last) {
            None => nothing(false),
            Some(Fault::Nothing { exists, .. }) => nothing(exists),
            Some(fault) => fault,
        },
    })
}

impl Asking<'_> {
    /// The servers in their order, round for round, until one knows.
    fn servers(&self, name: &Name, kind: Option<Type>) -> Result<Found, Fault> {
        let way = &self.way;
        let mut last = None;
        for _ in 0..way.conf.attempts {
            for (index, server) in way.servers.iter().enumerate() {
                let patience = self.deadline.within(Some(way.patience(index)));
                let server = Server {
                    at: *server,
                    tcp: way.conf.tcp,
                    deadline: self.deadline,
                    patience: &patience,
                    what: self.what,
                };
                let fault = match one(&server, name, kind, &way.conf) {
                    Err(fault) if fault.leads_on() => fault,
                    known => return known,
                };
                // What a server said tells more than another one's silence, and silence more than that nobody is there.
                if last.as_ref().is_none_or(|before: &Fault| fault.weight() >= before.weight()) {
                    last = Some(fault);
                }
            }
        }
        Err(last.unwrap_or(Fault::Nobody))
    }
}

/// One server's answer: the questions about both families side by side, and what their answers lead to.
fn one(server: &Server<'_>, name: &Name, kind: Option<Type>, conf: &Conf) -> Result<Found, Fault> {
    let kinds: &[Type] = match &kind {
        Some(kind) => std::slice::from_ref(kind),
        None if conf.no_aaaa => &[Type::A],
        None => &[Type::A, Type::Aaaa],
    };
    let mut errands: Vec<Errand> = kinds.iter().map(|kind| Errand::new(name, *kind)).collect();
    for _ in 0..MAX_QUESTIONS {
        let mut open: Vec<&mut Errand> = errands.iter_mut().filter(|errand| errand.end.is_none()).collect();
        if open.is_empty() {
            break;
        }
        let ids = ids().map_err(|e| Fault::Other(e.to_string()))?;
        let questions = open.iter().zip(ids).map(|(errand, id)| errand.question(id, conf.edns0));
        let answers = server.ask(&questions.collect::<Vec<_>>())?;
        for (errand, answer) in open.iter_mut().zip(answers) {
            match answer.and_then(|answer| errand.hear(&answer)) {
                Ok(None) => {}
                Ok(Some(found)) => errand.end = Some(Ok(found)),
                Err(fault) => errand.end = Some(Err(fault)),
            }
        }
    }
    let mut ends = errands.into_iter().map(|errand| errand.end.unwrap_or(Err(Fault::Chain)));
    match (ends.next(), ends.next()) {
        (Some(a), Some(aaaa)) => both(a, aaaa),
        (Some(end), None) => end,
        (None, _) => Err(Fault::Chain),
    }
}

/// What the questions about two families have as their ids: random, and not the same.
fn ids() -> Result<[u16; 2], getrandom::Error> {
    let random = getrandom::u32()?;
    let (first, second) = (random as u16, (random >> 16) as u16);
    Ok([first, if first == second { !second } else { second }])
}

/// A name that is asked for, the last one of its aliases, and what came of it.
struct Errand {
    name: Name,
    kind: Type,
    /// For how many seconds the aliases hold.
    ttl: u32,
    end: Option<Result<Found, Fault>>,
}

impl Errand {
    fn new(name: &Name, kind: Type) -> Errand {
        Errand { name: name.clone(), kind, ttl: u32::MAX, end: own(name, kind) }
    }

    fn question(&self, id: u16, edns: bool) -> Question {
        Question::new(id, self.name.clone(), self.kind, edns)
    }

    /// `None` if an alias leads to a name that has to be asked for.
    fn hear(&mut self, answer: &Answer) -> Result<Option<Found>, Fault> {
        let exists = match answer.code {
            ResponseCode::NoError => true,
            ResponseCode::NXDomain => false,
            code => return Err(Fault::Refused(code)),
        };
        let (at, ttl) = match pick(answer, &self.name, self.kind)? {
            // As the C library has it: the code says that there is no such name.
            Picked::Records(_) if !exists => return Err(Fault::Nothing { exists, ttl: 0 }),
            Picked::Records(found) => return Ok(Some(Found { ttl: found.ttl.min(self.ttl), ..found })),
            Picked::Alias(at, ttl) => (at, ttl.min(self.ttl)),
        };
        let (is_alias, nothing) = (at != self.name, answer.negative.unwrap_or_default());
        match is_alias {
            true if exists && answer.negative.is_none() => {
                *self = Errand { ttl, ..Errand::new(&at, self.kind) };
                self.end.take().transpose()
            }
            true => Err(Fault::Nothing { exists, ttl: ttl.min(nothing) }),
            false if exists && answer.records.is_empty() && answer.negative.is_none() && answer.refers => {
                Err(Fault::Lame)
            }
            false => {
                let ttl = if answer.records.is_empty() { nothing.min(self.ttl) } else { 0 };
                Err(Fault::Nothing { exists, ttl })
            }
        }
    }
}

/// What no name server is asked, by hickory's table: names of this machine, and those that are none of the DNS (RFC 6761,
/// RFC 7686).
fn own(name: &Name, kind: Type) -> Option<Result<Found, Fault>> {
    let special = [&LOCALHOST, &IN_ADDR_ARPA_127, &IP6_ARPA_1, &INVALID, &ONION];
    let usage = special.into_iter().find(|usage| usage.name().zone_of(name))?.resolver();
    let nothing = |exists| Err(Fault::Nothing { exists, ttl: 0 });
    let record = match (usage, kind) {
        (ResolverUsage::NxDomain, _) => return Some(nothing(false)),
        (ResolverUsage::Loopback, Type::A) => Record::address(Ipv4Addr::LOCALHOST.into()),
        (ResolverUsage::Loopback, Type::Aaaa) => Record::address(Ipv6Addr::LOCALHOST.into()),
        (ResolverUsage::Loopback, Type::Ptr) => Record::plain("localhost".into()),
        (ResolverUsage::Loopback, _) => return Some(nothing(true)),
        (ResolverUsage::Normal | ResolverUsage::LinkLocal, _) => return None,
    };
    Some(Ok(Found { records: vec![record].into(), ttl: 0 }))
}

/// One answer of two families. A family that failed does not take the other one with it, but is asked again next time.
fn both(a: Result<Found, Fault>, aaaa: Result<Found, Fault>) -> Result<Found, Fault> {
    match (a, aaaa) {
        (Ok(a), Ok(aaaa)) => {
            let mut seen = HashSet::new();
            let all = a.records.iter().chain(aaaa.records.iter());
            let records = all.filter(|record| seen.insert(*record)).cloned().collect();
            Ok(Found { records, ttl: a.ttl.min(aaaa.ttl) })
        }
        (Ok(found), Err(Fault::Nothing { ttl, .. })) | (Err(Fault::Nothing { ttl, .. }), Ok(found)) => {
            Ok(Found { ttl: found.ttl.min(ttl), ..found })
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(Found { ttl: 0, ..found }),
        (Err(Fault::Nothing { exists, ttl }), Err(Fault::Nothing { exists: too, ttl: other })) => {
            Err(Fault::Nothing { exists: exists || too, ttl: ttl.min(other) })
        }
        // As the C library takes it: of two questions one was answered, and the server has no address for the name.
        (Err(Fault::Nothing { exists, .. }), Err(Fault::Refused(_)))
        | (Err(Fault::Refused(_)), Err(Fault::Nothing { exists, .. })) => Err(Fault::Nothing { exists, ttl: 0 }),
        (Err(Fault::Nothing { .. }), Err(fault)) | (Err(fault), Err(_)) => Err(fault),
    }
}

/// What one message says to a question; `None` if something else has to be asked, or it is no answer.
pub fn heard(bytes: &[u8], id: u16, name: &Name, kind: Type) -> Result<Option<Found>, Fault> {
    let mut errand = Errand::new(name, kind);
    match errand.question(id, false).hear(bytes)? {
        Heard::Answer(answer) => errand.hear(&answer),
        Heard::Stray | Heard::Truncated => Ok(None),
    }
}

enum Picked {
    Records(Found),
    /// No record, and the name by which there was none: the one that was asked for, or what it is an alias of.
    Alias(Name, u32),
}

/// The records of the name, or of what it is an alias of. Whatever else the server put into its answer is ignored.
fn pick(answer: &Answer, name: &Name, kind: Type) -> Result<Picked, Fault> {
    let (mut at, mut ttl) = (name.clone(), u32::MAX);
    for _ in 0..=MAX_ALIASES {
        let here: Vec<_> = answer.records.iter().filter(|record| record.name == at).collect();
        let (mut records, mut seen) = (Vec::new(), HashSet::new());
        for wire in here.iter().filter(|wire| wire.record_type() == kind.wire()) {
            if let Some(record) = Record::read(&wire.data)?
                && seen.insert(record.clone())
            {
                records.push(record);
                ttl = ttl.min(wire.ttl);
            }
        }
        if !records.is_empty() {
            return Ok(Picked::Records(Found { records: records.into(), ttl }));
        }
        let alias = here.iter().find_map(|wire| match &wire.data {
            RData::CNAME(target) => Some((target.0.clone(), wire.ttl)),
            _ => None,
        });
        match alias {
            Some((target, its)) => (at, ttl) = (target, ttl.min(its)),
            None => return Ok(Picked::Alias(at, ttl)),
        }
    }
    Err(Fault::Chain)
}
