//! One question to name servers: hickory-resolver on a runtime that lives as long as the question, in a thread of its
//! own, so that the caller waits as in every other wait (deadline, Ctrl-C) and a fork finds no runtime to break.
//!
//! The thread ends when its caller goes: it watches the other end of the pair that wakes the caller.

use super::{
    record::{Record, Type},
    system::System,
};
use crate::{
    deadline::Deadline,
    error::Error,
    panics::{contained, point},
    wire::{Want, wait},
};
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
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
    Refused(String),
    /// A name in the answer is none.
    BadName,
    /// More than [`MAX_ALIASES`], or a loop.
    Chain,
    Malformed(String),
    Silence,
    Io(Arc<io::Error>),
    Other(String),
}

/// What was found, and for how many seconds it holds.
#[derive(Clone, Debug)]
pub struct Found {
    pub records: Arc<[Record]>,
    pub ttl: u32,
}

/// Absolute names, the first that has an answer wins. `kind`: `None` is A and AAAA.
pub struct Query {
    pub names: Vec<Name>,
    pub kind: Option<Type>,
}

/// The servers and how they are asked.
pub struct Way {
    servers: Vec<NameServerConfig>,
    options: ResolverOpts,
}

impl Way {
    /// `server`: ask it instead of the system's. `tcp`: never use UDP.
    pub fn new(system: &System, server: Option<SocketAddr>, tcp: bool) -> Way {
        let mut servers = match server {
            Some(address) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = address.port();
                    connection
                });
                vec![NameServerConfig::new(address.ip(), true, connections.into())]
            }
            None => system.servers.clone(),
        };
        for server in &mut servers {
            server.connections.retain(|connection| !tcp || matches!(connection.protocol, ProtocolConfig::Tcp));
        }
        let mut options = system.options.clone();
        // This house keeps its own: a cache for each capability, a hosts file that is read once.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // `pick` walks the aliases itself.
        options.preserve_intermediates = true;
        Way { servers, options }
    }

    fn resolver(self) -> Result<TokioResolver, NetError> {
        let config = ResolverConfig::from_parts(None, Vec::new(), self.servers);
        Resolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(self.options).build()
    }
}

/// Asks, and waits until there is an answer or the deadline passes. `what` is the act, for messages.
pub fn ask(query: Query, way: Way, deadline: &Deadline, what: impl Fn() -> String) -> Result<Found, Fault> {
    if deadline.is_now() {
        return Err(Fault::Known(deadline.error(&what())));
    }
    let failed = |e: io::Error| Fault::Io(Arc::new(e));
    let (here, there) = UnixStream::pair().map_err(failed)?;
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

async fn search(query: Query, way: Way) -> Result<Found, Fault> {
    let resolver = way.resolver().map_err(fault)?;
    let mut nothing = None;
    point("names");
    for name in query.names {
        let found = match query.kind {
            Some(kind) => lookup(resolver.clone(), name, kind).await,
            None => {
                let aaaa = tokio::spawn(lookup(resolver.clone(), name.clone(), Type::Aaaa));
                let a = lookup(resolver.clone(), name, Type::A).await;
                both(a, aaaa.await.unwrap_or_else(|e| Err(Fault::Other(e.to_string()))))
            }
        };
        match (found, &nothing) {
            (Err(Fault::Nothing { exists, ttl }), None) => nothing = Some((exists, ttl)),
            (Err(Fault::Nothing { exists, ttl }), Some((before, least))) => {
                nothing = Some((exists || *before, ttl.min(*least)));
            }
            (other, _) => return other,
        }
    }
    let (exists, ttl) = nothing.unwrap_or_default();
    Err(Fault::Nothing { exists, ttl })
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
        (Err(Fault::Nothing { .. }), Err(fault)) | (Err(fault), Err(_)) => Err(fault),
    }
}

async fn lookup(resolver: TokioResolver, name: Name, kind: Type) -> Result<Found, Fault> {
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
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, negative_ttl, .. })) => {
            Fault::Nothing { exists: response_code != ResponseCode::NXDomain, ttl: negative_ttl.unwrap_or_default() }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => Fault::Refused(format!("{code:?}")),
        NetError::Timeout => Fault::Silence,
        // What hickory says for every connection that failed.
        NetError::NoConnections => Fault::Other("no name server could be reached".into()),
        NetError::Io(e) => Fault::Io(e),
        NetError::Proto(_)
        | NetError::Truncated
        | NetError::QueryCaseMismatch
        | NetError::ForeignClassRecord { .. } => Fault::Malformed(error.to_string()),
        other => Fault::Other(other.to_string()),
    }
}
