//! One question to name servers: hickory-resolver on a runtime that lives as long as the question, in a thread of its
//! own, so that the caller's wait is like every other (deadline, Ctrl-C), and no runtime is left for a fork to break.
//!
//! The thread ends when its caller goes: it watches the other end of the pair that wakes the caller.

use super::{
    conf::Conf,
    record::{Record, Type},
    sockets::Sockets,
    system::{Candidate, System},
};
use crate::{
    deadline::Deadline,
    error::Error,
    panics::{contained, failpoint},
    wire::{Want, wait},
};
use hickory_resolver::{
    Resolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords},
    proto::{
        op::ResponseCode,
        rr::{DNSClass, Name, RData, Record as Wire},
    },
};
use std::{
    collections::HashSet,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    os::{fd::AsFd, unix::net::UnixStream},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    thread,
    time::Duration,
};

/// Aliases that are followed within one answer. hickory follows eight from answer to answer.
const MAX_ALIASES: usize = 16;

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
    Io(Arc<io::Error>),
    Other(String),
}

impl Fault {
    /// Whether another server may know better.
    fn leads_on(&self) -> bool {
        use ResponseCode::{NotImp, Refused, ServFail};
        match self {
            Fault::Refused(code) => matches!(code, ServFail | NotImp | Refused),
            Fault::Lame | Fault::Malformed(_) | Fault::Silence | Fault::Nobody | Fault::Io(_) | Fault::Other(_) => true,
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

    /// One server, asked once. Order and failover are ours: hickory would ask two at once and take the first word, an
    /// NXDOMAIN or a refusal too.
    fn resolver(&self, index: usize, server: SocketAddr) -> Result<Resolver<Sockets>, NetError> {
        let udp = (!self.conf.tcp).then(ConnectionConfig::udp);
        let connections = udp.into_iter().chain([ConnectionConfig::tcp()]).map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let servers = vec![NameServerConfig::new(server.ip(), true, connections.collect())];
        let mut options = ResolverOpts::default();
        options.timeout = self.patience(index);
        options.attempts = 0;
        options.edns0 = self.conf.edns0;
        // This house keeps its own: a cache for each capability, a hosts file that is read once.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // `pick` walks the aliases itself.
        options.preserve_intermediates = true;
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        Resolver::builder_with_config(config, Sockets::to(server)).with_options(options).build()
    }
}

/// Asks, and waits until there is an answer or the deadline passes. `what` is the act, for messages.
pub fn ask(query: Query, way: Way, deadline: &Deadline, what: impl Fn() -> String) -> Result<Found, Fault> {
    if deadline.is_now() {
        return Err(Fault::Known(deadline.error(&what())));
    }
    let failed = |e: io::Error| Fault::Io(Arc::new(e));
    let (here, there) = crate::descriptors::spare(UnixStream::pair).map_err(failed)?;
    there.set_nonblocking(true).map_err(failed)?;
    let answer = Arc::new(Mutex::new(None));
    let given = Arc::clone(&answer);
    thread::Builder::new()
        .name("names".into())
        .stack_size(1 << 20)
        .spawn(move || contained(|| work(query, way, there, &given)))
        .map_err(failed)?;
    wait(here.as_fd(), Want::Read, deadline, what).map_err(Fault::Known)?;
    let found = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    found.unwrap_or_else(|| Err(Fault::Other("the resolver gave no answer".into())))
}

/// The thread: answers into `place`, then lets go of its end of the pair, which wakes the caller.
fn work(query: Query, way: Way, caller: UnixStream, place: &Mutex<Option<Result<Found, Fault>>>) {
    let put = |answer| *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return put(Err(Fault::Io(Arc::new(e)))),
    };
    runtime.block_on(async {
        // Polled in this task: a task of the runtime's own would outlive a caller who goes.
        let caller = match tokio::net::UnixStream::from_std(caller) {
            Ok(caller) => caller,
            Err(e) => return put(Err(Fault::Io(Arc::new(e)))),
        };
        let mut search = pin!(search(query, way));
        let answer = poll_fn(|cx| match search.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            // The caller writes nothing: what can be read is the end.
            Poll::Pending => caller.poll_read_ready(cx).map(|_| None),
        });
        if let Some(answer) = answer.await {
            put(answer);
        }
    });
}

/// The names in their order, as res_search(3) walks them: what is not found, and a SERVFAIL, leads to the next search
/// domain; any other failure ends the search, but the name as it is is still asked for.
async fn search(query: Query, way: Way) -> Result<Found, Fault> {
    failpoint("names");
    let first = query.names.first().is_some_and(|candidate| candidate.as_is);
    let (mut as_is, mut nowhere, mut failed, mut last) = (None, false, None, None);
    // For how long there is nothing: as long as each of the answers holds, if all said so.
    let mut least = u32::MAX;
    for Candidate { name, as_is: own } in query.names {
        if !own && last.is_some() {
            continue;
        }
        let fault = match servers(&way, &name, query.kind).await {
            Ok(found) => return Ok(found),
            Err(Fault::Known(error)) => return Err(Fault::Known(error)),
            Err(fault) => fault,
        };
        least = least.min(if let Fault::Nothing { ttl, .. } = fault { ttl } else { 0 });
        match fault {
            fault if own => as_is = Some(fault),
            // Nobody there: the next name would find nobody either.
            fault @ Fault::Nobody => return Err(fault),
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

/// The servers in their order, round for round, until one knows.
async fn servers(way: &Way, name: &Name, kind: Option<Type>) -> Result<Found, Fault> {
    let mut last = None;
    for _ in 0..way.conf.attempts {
        for (index, server) in way.servers.iter().enumerate() {
            let resolver = way.resolver(index, *server).map_err(fault)?;
            let asked = tokio::time::timeout(way.patience(index), one(resolver, name, kind, way.conf.no_aaaa));
            let fault = match asked.await.unwrap_or(Err(Fault::Silence)) {
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

/// One server's answer.
async fn one(resolver: Resolver<Sockets>, name: &Name, kind: Option<Type>, no_aaaa: bool) -> Result<Found, Fault> {
    match kind {
        Some(kind) => query(resolver, name.clone(), kind).await,
        None if no_aaaa => query(resolver, name.clone(), Type::A).await,
        None => {
            let aaaa = tokio::spawn(query(resolver.clone(), name.clone(), Type::Aaaa));
            let a = query(resolver, name.clone(), Type::A).await;
            both(a, aaaa.await.unwrap_or_else(|e| Err(Fault::Other(e.to_string()))))
        }
    }
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

async fn query(resolver: Resolver<Sockets>, name: Name, kind: Type) -> Result<Found, Fault> {
    let answer = resolver.lookup(name.clone(), kind.wire()).await.map_err(fault)?;
    pick(answer.answers(), &name, kind)
}

/// The records of the name, or of what it is an alias of. Whatever else the server put into its answer is ignored.
fn pick(answers: &[Wire], name: &Name, kind: Type) -> Result<Found, Fault> {
    let of =
        |at: &Name| answers.iter().filter(move |r| r.name == *at && r.dns_class == DNSClass::IN).collect::<Vec<_>>();
    let (mut at, mut ttl) = (name.clone(), u32::MAX);
    for _ in 0..=MAX_ALIASES {
        let here = of(&at);
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
            return Ok(Found { records: records.into(), ttl });
        }
        let alias = here.iter().find_map(|wire| match &wire.data {
            RData::CNAME(target) => Some((target.0.clone(), wire.ttl)),
            _ => None,
        });
        match alias {
            Some((target, its)) => (at, ttl) = (target, ttl.min(its)),
            None => return Err(Fault::Nothing { exists: true, ttl: 0 }),
        }
    }
    Err(Fault::Chain)
}

fn fault(error: NetError) -> Fault {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NoError,
            soa: None,
            ns: Some(_),
            ..
        })) => Fault::Lame,
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, negative_ttl, .. })) => {
            Fault::Nothing { exists: response_code != ResponseCode::NXDomain, ttl: negative_ttl.unwrap_or_default() }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => Fault::Refused(code),
        NetError::Timeout => Fault::Silence,
        // What hickory says for every connection that failed.
        NetError::NoConnections => Fault::Nobody,
        NetError::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused => Fault::Nobody,
        NetError::Io(e) if e.kind() == io::ErrorKind::TimedOut => Fault::Silence,
        NetError::Io(e) => Fault::Io(e),
        NetError::Proto(_)
        | NetError::Truncated
        | NetError::QueryCaseMismatch
        | NetError::ForeignClassRecord { .. } => Fault::Malformed(error.to_string()),
        other => Fault::Other(other.to_string()),
    }
}
