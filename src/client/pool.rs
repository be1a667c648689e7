//! Idle connections, for later requests that could have opened them themselves.
//!
//! A connection is handed out only for the same [`Key`] and against a fresh proof from the grants, and only if it is
//! idle: open, with no byte to read. Does nothing on the network but this check; never hands a connection to a process
//! other than its maker. A connection of HTTP/2 is shared: it is handed out, by the same rules, as long as it takes requests.

#[cfg(feature = "http2")]
use crate::client::shared::{self, Shared};
use crate::{
    conn::Conn,
    grants::{Granted, GrantedPath},
    http::{proxy::Proxy, url::Origin},
    panics::failpoint,
    tls::{Identity, PeerCert},
};
use std::{
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// Shared connections of one key: where the peer allows few requests on one, further ones take another, up to so many.
#[cfg(feature = "http2")]
const SHARED: usize = 6;

/// How many idle connections a pool keeps, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Per key. Defaults to 16.
    pub per_origin: usize,
    /// In all; the one that has been idle longest makes room. Defaults to 128.
    pub idle: usize,
    /// How long one is kept, unless the server says less. Defaults to 90 seconds.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { per_origin: 16, idle: 128, lifetime: Duration::from_secs(90) }
    }
}

/// What has to be the same for a connection to be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub origin: Origin,
    /// Of the TLS configuration, for https.
    pub tls: Option<Identity>,
    /// The address that the caller chose (option `resolve`).
    pub address: Option<IpAddr>,
    /// The socket that the caller chose (option `unix`).
    pub unix: Option<GrantedPath>,
    /// The proxy on the way, with its credentials, and of its TLS configuration.
    pub proxy: Option<Box<(Proxy, Option<Identity>)>>,
    /// Whether the proxy's name is absolute: without the dot at its end it may be another host's, by a search domain.
    pub proxy_absolute: bool,
    /// The client's mark on its tunnels: what the proxy was told, a name or an address that was permitted.
    pub by_address: bool,
}

/// The gate's word for a connection.
pub enum Proof<'a> {
    Name(&'a Granted),
    Path(&'a GrantedPath),
    /// The origin, and the proxy on the way to it.
    Through(&'a Granted, &'a Granted),
}

impl Proof<'_> {
    /// True if it is the proof that opening a connection of this key takes.
    fn covers(&self, key: &Key) -> bool {
        let origin = |granted: &Granted| *granted.host() == key.origin.host && granted.port() == key.origin.port;
        match (self, &key.unix, key.proxy.as_deref()) {
            (Proof::Name(granted), None, None) => origin(granted),
            (Proof::Path(path), Some(unix), None) => *path == unix,
            (Proof::Through(granted, on_the_way), None, Some((proxy, _))) => {
                origin(granted) && *on_the_way.endpoint() == proxy.endpoint
            }
            _ => false,
        }
    }
}

/// An open connection, what it is good for and what is known about its peer. Lives in a box: it goes from hand to hand.
pub struct PooledConnection {
    pub key: Key,
    pub conn: Conn,
    /// Read once, when the connection was made.
    pub cert: Option<Arc<PeerCert>>,
}

/// What a request goes out on.
pub enum Link {
    /// A connection that is this request's alone until its answer has ended.
    Http1(Box<PooledConnection>),
    /// One that others have requests on, and its peer's certificate.
    #[cfg(feature = "http2")]
    Http2(Arc<Shared>, Option<Arc<PeerCert>>),
}

impl Link {
    /// What its peer has shown.
    pub fn cert(&self) -> Option<&Arc<PeerCert>> {
        match self {
            Link::Http1(pooled) => pooled.cert.as_ref(),
            #[cfg(feature = "http2")]
            Link::Http2(_, cert) => cert.as_ref(),
        }
    }
}

/// The connections of one client that a request may go out on. Clones are the same pool.
#[derive(Clone, Default)]
pub struct Pool(Arc<Room>);

#[derive(Default)]
struct Room {
    shelf: Mutex<Shelf>,
    /// Somebody is done with opening a connection.
    opened: Condvar,
}

/// A pool as its capability remembers it, to empty it at the end.
#[derive(Clone)]
pub struct WeakPool(Weak<Room>);

#[derive(Default)]
struct Shelf {
    /// The most recently used last. Short enough that a walk is faster than a map.
    idle: Vec<Idle>,
    #[cfg(feature = "http2")]
    shared: Vec<Open>,
    /// Connections that are being opened and may turn out to be shared, and by which thread.
    opening: Vec<(Key, ThreadId)>,
    /// Origins that did not choose HTTP/2 when it was offered.
    plain: Vec<Key>,
    closed: bool,
    limits: Limits,
}

/// A shared connection, and what its peer has shown.
#[cfg(feature = "http2")]
type Shown = (Arc<Shared>, Option<Arc<PeerCert>>);

/// A shared connection, until when it is kept without a request, and what its peer has shown.
#[cfg(feature = "http2")]
struct Open {
    key: Key,
    shared: Arc<Shared>,
    until: Instant,
    cert: Option<Arc<PeerCert>>,
}

/// A connection is being opened: others that could share it wait. Ends when it is dropped.
#[derive(Default)]
pub struct Opening(Option<(Pool, Key)>);

impl Drop for Opening {
    fn drop(&mut self) {
        let Some((pool, key)) = self.0.take() else { return };
        let (mut shelf, me) = (pool.shelf(), thread::current().id());
        if let Some(at) = shelf.opening.iter().rposition(|(other, thread)| *other == key && *thread == me) {
            shelf.opening.remove(at);
        }
        drop(shelf);
        pool.0.opened.notify_all();
    }
}

struct Idle {
    pooled: Box<PooledConnection>,
    until: Instant,
}

impl Pool {
    pub fn new() -> Pool {
        Pool::default()
    }

    pub fn with(limits: Limits) -> Pool {
        Pool(Arc::new(Room { shelf: Mutex::new(Shelf { limits, ..Shelf::default() }), opened: Condvar::new() }))
    }

    /// An idle connection that may carry a request of this key. `now` is when it is asked for.
    pub fn checkout(&self, key: &Key, proof: &Proof<'_>, now: Instant) -> Option<Link> {
        if !proof.covers(key) {
            return None;
        }
        loop {
            // Taken one by one, so that the lock is not held while a socket is looked at or closed.
            let mut idle = {
                let mut shelf = self.shelf();
                let at = shelf.idle.iter().rposition(|idle| idle.pooled.key == *key)?;
                shelf.idle.remove(at)
            };
            if idle.until > now && idle.pooled.conn.is_idle_clean() {
                return Some(Link::Http1(idle.pooled));
            }
        }
    }

    /// A shared connection that takes a request of this key: one on which it goes out at once, or, where there are [`SHARED`] of
    /// them, the one whose requests come to their ends: others may wait for a reader.
    #[cfg(feature = "http2")]
    pub fn join(&self, key: &Key, proof: &Proof<'_>, now: Instant) -> Option<Link> {
        if !proof.covers(key) {
            return None;
        }
        let (mut at, mut count) = (0, 0);
        let mut later: Option<(Duration, Shown)> = None;
        loop {
            // Looked at one by one, so that the lock is not held meanwhile.
            let found = {
                let shelf = self.shelf();
                let found = shelf.shared.iter().enumerate().skip(at).find(|(_, open)| open.key == *key);
                found.map(|(index, open)| (index, open.shared.clone(), open.cert.clone(), open.until))
            };
            let Some((index, shared, cert, until)) = found else {
                let (_, (shared, cert)) = later.filter(|_| count >= SHARED.min(self.shelf().limits.per_origin))?;
                return Some(self.joined(shared, cert, now));
            };
            at = index + 1;
            let room = if until > now || shared.streams() > 0 { shared.room() } else { shared::Room::Gone };
            match room {
                shared::Room::Now => return Some(self.joined(shared, cert, now)),
                shared::Room::Later => {
                    count += 1;
                    let released = shared.released();
                    // The newest of those that are alike.
                    if later.as_ref().is_none_or(|(last, ..)| released >= *last) {
                        later = Some((released, (shared, cert)));
                    }
                }
                shared::Room::None => count += 1,
                shared::Room::Gone => {
                    // It takes no more requests; those that it has go on.
                    self.shelf().shared.retain(|open| !Arc::ptr_eq(&open.shared, &shared));
                    at = index;
                }
            }
        }
    }

    /// It has carried a request just now.
    #[cfg(feature = "http2")]
    fn joined(&self, shared: Arc<Shared>, cert: Option<Arc<PeerCert>>, now: Instant) -> Link {
        let mut shelf = self.shelf();
        let lifetime = shelf.limits.lifetime;
        if let Some(open) = shelf.shared.iter_mut().find(|open| Arc::ptr_eq(&open.shared, &shared)) {
            open.until = now.checked_add(lifetime).unwrap_or(open.until);
        }
        Link::Http2(shared, cert)
    }

    /// Has others share a connection.
    #[cfg(feature = "http2")]
    pub fn share(&self, key: &Key, shared: &Arc<Shared>, cert: Option<Arc<PeerCert>>, now: Instant) {
        let mut shelf = self.shelf();
        let limits = shelf.limits;
        let Some(until) = now.checked_add(limits.lifetime).filter(|_| !shelf.closed) else { return };
        if limits.lifetime.is_zero() || limits.idle.min(limits.per_origin) == 0 {
            return;
        }
        let gone = (shelf.shared.len() >= limits.idle).then(|| {
            // One that is over or has no request, before one that has.
            let spare = shelf.shared.iter().position(|open| open.until <= now || open.shared.streams() == 0);
            shelf.shared.remove(spare.unwrap_or(0))
        });
        shelf.shared.push(Open { key: key.clone(), shared: shared.clone(), until, cert });
        drop(shelf);
        drop(gone);
    }

    /// Before a connection is opened that may turn out to be shared: `None` after a moment's wait, if another one of its kind is being
    /// opened. Not one by this thread, in a call beneath that waits for a signal's handler: it would not go on before this one.
    pub fn open(&self, key: &Key, time: Duration) -> Option<Opening> {
        let mut shelf = self.shelf();
        if shelf.plain.contains(key) {
            return Some(Opening(None));
        }
        let me = thread::current().id();
        let mut others = shelf.opening.iter().filter(|(other, _)| other == key).peekable();
        if others.peek().is_some() && others.all(|(_, thread)| *thread != me) {
            drop(self.0.opened.wait_timeout(shelf, time).unwrap_or_else(PoisonError::into_inner));
            return None;
        }
        shelf.opening.push((key.clone(), me));
        Some(Opening(Some((self.clone(), key.clone()))))
    }

    /// Connections of this key are not shared: nobody has to wait for another.
    pub fn is_plain(&self, key: &Key) {
        /// Forgotten all at once: they are found out again.
        const KEPT: usize = 64;
        let mut shelf = self.shelf();
        if !shelf.plain.contains(key) {
            if shelf.plain.len() >= KEPT {
                shelf.plain.clear();
            }
            shelf.plain.push(key.clone());
        }
    }

    /// Takes back a connection whose last answer was read to its end. `lifetime` is what the server said it keeps idle
    /// connections for, `now` when that answer ended.
    pub fn checkin(&self, pooled: Box<PooledConnection>, lifetime: Option<Duration>, now: Instant) {
        let mut shelf = self.shelf();
        let limits = shelf.limits;
        // The server's clock started before ours: leave before it does.
        let slack = |said: Duration| said - (said / 2).min(Duration::from_secs(1));
        let lifetime = lifetime.map_or(limits.lifetime, |said| slack(said).min(limits.lifetime));
        if lifetime.is_zero() || limits.idle.min(limits.per_origin) == 0 {
            return;
        }
        let Some(until) = now.checked_add(lifetime).filter(|_| !shelf.closed) else { return };
        let mut gone = Vec::new();
        failpoint("pool, with its lock");
        if shelf.idle.len() >= limits.per_origin {
            let of_key = |idle: &Idle| idle.pooled.key == pooled.key;
            if shelf.idle.iter().filter(|idle| of_key(idle)).count() >= limits.per_origin {
                gone.extend(shelf.idle.iter().position(of_key).map(|at| shelf.idle.remove(at)));
            }
        }
        if shelf.idle.len() >= limits.idle {
            // Expired ones first: they are of no use to anybody.
            gone.extend(shelf.idle.extract_if(.., |idle| idle.until <= now));
            if shelf.idle.len() >= limits.idle {
                gone.push(shelf.idle.remove(0));
            }
        }
        shelf.idle.push(Idle { pooled, until });
        // Closing sockets needs no lock.
        drop(shelf);
        drop(gone);
    }

    /// Closes what is idle.
    pub fn empty(&self) {
        let gone = std::mem::take(&mut self.shelf().idle);
        drop(gone);
        #[cfg(feature = "http2")]
        {
            let gone = std::mem::take(&mut self.shelf().shared);
            drop(gone);
        }
    }

    /// Closes what is idle, and keeps nothing from now on.
    pub fn close(&self) {
        self.shelf().closed = true;
        self.empty();
    }

    /// How many connections are idle.
    pub fn len(&self) -> usize {
        let shelf = self.shelf();
        #[cfg(feature = "http2")]
        return shelf.idle.len() + shelf.shared.len();
        #[cfg(not(feature = "http2"))]
        shelf.idle.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn downgrade(&self) -> WeakPool {
        WeakPool(Arc::downgrade(&self.0))
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A panic with the lock held leaves whole entries: nothing is half done.
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WeakPool {
    /// Closes the pool for good. False if it is gone already.
    pub fn close(&self) -> bool {
        let pool = self.0.upgrade().map(Pool);
        if let Some(pool) = &pool {
            pool.close();
        }
        pool.is_some()
    }

    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} idle)", self.len())
    }
}

impl std::fmt::Debug for WeakPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakPool")
    }
}
