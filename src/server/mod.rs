//! A server of HTTP/1.1 and HTTP/2 (RFC 9110, RFC 9112, RFC 9113) behind blocking calls: all connections are accepted,
//! shake hands, are read and written side by side, and complete requests are returned.
//!
//! No thread and no loop of its own: [`Engine::turn`] does the pending work, and waits at most for the given time. A
//! readiness queue of the kernel (epoll, kqueue; by mio) holds all sockets. `http::incoming` and `http::answer`, which
//! are pure, decide about the bytes on the wire; here are sockets, clocks and limits. Listens only on a listener that
//! passed the gate.

mod body;
mod connection;
mod intake;
mod options;
mod slots;
mod stream;
#[cfg(feature = "http2")]
mod streams;
#[cfg(not(feature = "http2"))]
#[path = "no_streams.rs"]
mod streams;
mod timers;
mod transaction;
mod turn;

pub use body::{Body, Spill};
pub use options::Options;
pub use transaction::Content;

use self::{
    connection::{Connection, Phase, Reading, State, Transaction},
    stream::Stream,
    streams::Streams,
};
use crate::{
    deadline::{uptime, wall},
    error::{Error, Kind, Result},
    fork,
    http::{
        answer::date,
        incoming::{Head, Refusal},
    },
    listen::Listener,
    tls::{ServerTls, Tls},
    wire::{Peer, Wire},
};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    rc::Rc,
    time::Duration,
};

/// Which exchange of which connection: it names nothing once that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    index: usize,
    turn: u64,
    /// Of a connection that has many of them (HTTP/2); else 0.
    stream: u32,
}

impl Ticket {
    /// As a name.
    pub fn text(&self) -> String {
        match self.stream {
            0 => format!("{}.{}", self.index, self.turn),
            stream => format!("{}.{}.{stream}", self.index, self.turn),
        }
    }
}

/// A complete request.
pub struct Request {
    pub ticket: Ticket,
    pub number: u64,
    pub head: Rc<Head>,
    pub body: Body,
    pub remote: Option<SocketAddr>,
    pub peer: Option<Peer>,
    pub secure: bool,
}

/// What whoever runs the server is told between requests.
pub enum Note {
    /// A request that was refused: by whom, and why.
    Refused { remote: Option<SocketAddr>, refusal: Refusal, length: Option<u64>, spill: bool },
    /// An answer that is over.
    Answered(Entry),
    /// The client of a streamed answer has room for more.
    Hungry(Ticket),
    /// A TLS handshake that came to nothing.
    Handshake(String, Error),
}

/// A line of the access log.
pub struct Entry {
    pub remote: Option<SocketAddr>,
    pub head: Rc<Head>,
    pub status: u16,
    /// Bytes of body.
    pub bytes: u64,
    pub seconds: f64,
    /// False where the client went away before the end.
    pub complete: bool,
}

/// Notes that nobody has asked for; the oldest go.
const MAX_NOTES: usize = 16 * 1024;
/// Bytes that wait for a client, beyond which whoever streams to it waits.
pub const HIGH: usize = 256 * 1024;

/// What becomes of a request of a connection of many streams whose turn it is.
#[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "there are no such connections"))]
enum Handing {
    Now(Request),
    /// It stays in the queue.
    Later(Request),
    /// It was taken back, or waits on its connection until that may have more answers.
    Gone,
}

const LISTENER: Token = Token(usize::MAX - 1);

#[derive(Default)]
struct Slot {
    /// Counts exchanges, so that a ticket names one of them.
    turn: u64,
    connection: Option<Box<Connection>>,
}

/// Time as clients are given it: without what the script was busy for.
struct Clock {
    away: Duration,
    left: Duration,
}

impl Clock {
    fn now(&self) -> Duration {
        uptime().saturating_sub(self.away)
    }
}

/// A server: its listener, its connections and its queue.
pub struct Engine {
    options: Options,
    listener: Option<Listener>,
    tls: Option<ServerTls>,
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    free: Vec<usize>,
    open: Rc<Cell<usize>>,
    stirred: VecDeque<usize>,
    queue: VecDeque<Request>,
    notes: VecDeque<Note>,
    clock: Clock,
    swept: Duration,
    scratch: Vec<u8>,
    date: (u64, String),
    /// The kernel may have connections, and none is taken before this time.
    calling: bool,
    paused: Duration,
    /// Until when what is under way may go on.
    stopping: Option<Duration>,
    closed: bool,
    numbers: u64,
    /// Bytes of bodies in memory that the script has not got yet.
    held: Rc<Cell<u64>>,
    /// Bytes of heads on connections of many streams.
    #[cfg(feature = "http2")]
    heads: Rc<Cell<u64>>,
    generation: u64,
}

impl Engine {
    /// `tls`: what connections speak. Errors: `socket`.
    pub fn new(listener: Listener, tls: Option<ServerTls>, options: Options) -> Result<Engine> {
        listener.unblock()?;
        let poll = ready()?;
        register(&poll, listener.as_fd(), LISTENER).map_err(|e| broken(&e))?;
        Ok(Engine {
            options,
            listener: Some(listener),
            tls,
            poll,
            events: Events::with_capacity(1024),
            slots: Vec::new(),
            free: Vec::new(),
            open: Rc::default(),
            stirred: VecDeque::new(),
            queue: VecDeque::new(),
            notes: VecDeque::new(),
            clock: Clock { away: Duration::ZERO, left: uptime() },
            swept: Duration::ZERO,
            scratch: Vec::new(),
            date: (u64::MAX, String::new()),
            calling: true,
            paused: Duration::ZERO,
            stopping: None,
            closed: false,
            numbers: 0,
            held: Rc::default(),
            #[cfg(feature = "http2")]
            heads: Rc::default(),
            generation: fork::generation(),
        })
    }

    /// The next complete request.
    pub fn request(&mut self) -> Option<Request> {
        let mut request = self.queue.pop_front()?;
        if request.ticket.stream != 0 {
            request = self.pick(request)?;
        }
        request.body.hand_out();
        Some(request)
    }

    /// That request, or the next one that may be handed out.
    fn pick(&mut self, first: Request) -> Option<Request> {
        let (mut next, mut later) = (Some(first), Vec::new());
        while let Some(request) = next {
            if request.ticket.stream == 0 {
                next = Some(request);
                break;
            }
            match self.hand_out(request) {
                Handing::Now(request) => {
                    next = Some(request);
                    break;
                }
                Handing::Later(request) => later.push(request),
                Handing::Gone => (),
            }
            next = self.queue.pop_front();
        }
        for request in later.into_iter().rev() {
            self.queue.push_front(request);
        }
        next
    }

    /// What there is to tell.
    pub fn note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    pub fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// The note in front, where it is of a handshake.
    pub fn handshake(&mut self) -> Option<(String, Error)> {
        match self.notes.pop_front()? {
            Note::Handshake(peer, error) => Some((peer, error)),
            other => {
                self.notes.push_front(other);
                None
            }
        }
    }

    /// HTTP/2 is spoken.
    pub fn has_http2(&self) -> bool {
        self.options.http2
    }

    /// Bytes of a body that may be in memory.
    pub fn memory(&self) -> u64 {
        self.options.memory
    }

    /// Bytes of a body that are taken at all.
    pub fn most(&self) -> u64 {
        self.options.limits.body
    }

    /// The TLS session of an exchange.
    pub fn session(&self, ticket: Ticket) -> Option<&Tls<Wire>> {
        let slot = self.slots.get(ticket.index).filter(|slot| slot.turn == ticket.turn)?;
        slot.connection.as_deref()?.stream.tls()
    }

    /// True if [`Engine::request`] or [`Engine::note`] has something, or nothing will come any more.
    pub fn is_ready(&self) -> bool {
        let mut queue = self.queue.iter().map(|request| request.ticket);
        queue.any(|ticket| ticket.stream == 0 || self.may_hand_out(ticket)) || !self.notes.is_empty() || self.is_over()
    }

    /// True once the server has stopped and nothing is under way that could still be handed out or written.
    pub fn is_over(&self) -> bool {
        self.closed
            || self
                .stopping
                .is_some_and(|end| self.connections() == 0 || end <= self.clock.now() || !self.is_under_way())
    }

    /// Something goes on without the script: a request that comes in, an answer that goes out.
    fn is_under_way(&self) -> bool {
        self.slots.iter().filter_map(|slot| slot.connection.as_deref()).any(|connection| match &connection.phase {
            Phase::Shake | Phase::Rest => false,
            Phase::Read(_) | Phase::Linger => true,
            Phase::Transaction(transaction) => transaction.state != State::Asked,
            Phase::Streams(streams) => streams.is_under_way(),
        })
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.open.get()
    }

    /// What to wait for besides: readable when there is something to do.
    pub fn interest(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }

    /// When the timers are looked at next, for those who wait elsewhere.
    pub fn expiry(&self) -> Duration {
        if self.is_busy() { Duration::ZERO } else { self.sweep_every() }
    }

    /// The certificates of connections from now on.
    pub fn set_tls(&mut self, tls: ServerTls) {
        self.tls = Some(tls);
    }

    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Stops accepting. What is under way may go on for `drain_timeout`.
    pub fn stop(&mut self) {
        if self.stopping.is_some() || self.closed {
            return;
        }
        self.stopping = Some(self.clock.now().saturating_add(self.options.drain_timeout));
        self.listener = None;
        for index in 0..self.slots.len() {
            match self.peek(index).map(|one| &one.phase) {
                Some(Phase::Rest) if self.peek(index).is_some_and(|one| one.input.is_empty()) => {
                    self.drop_connection(index);
                }
                Some(Phase::Streams(_)) => self.dismiss(index),
                _ => (),
            }
        }
    }

    /// Ends everything at once. Of what was answered the kernel gets what it takes without a wait.
    pub fn close(&mut self) {
        self.closed = true;
        self.listener = None;
        self.queue.clear();
        let now = self.clock.now();
        let ours = self.generation == fork::generation();
        for index in 0..self.slots.len() {
            let Some(mut connection) = self.take(index) else { continue };
            if ours && matches!(connection.phase, Phase::Streams(_)) {
                self.part(index, &mut connection, now);
            }
            if ours && !matches!(connection.phase, Phase::Shake) && connection.pump(now).is_ok_and(|done| done) {
                connection.stream.finish();
                // Bytes that nobody has read would come back as a reset, which overtakes the last words.
                connection.readable = true;
                let _ = self.discard(index, &mut connection);
            }
            self.end(index, *connection);
        }
    }

    fn tell(&mut self, note: Note) {
        if self.notes.len() >= MAX_NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }

    fn date(&mut self) -> String {
        let seconds = wall().as_secs();
        if self.date.0 != seconds {
            self.date = (seconds, date(seconds));
        }
        self.date.1.clone()
    }
}

fn gone() -> Error {
    Error::new(Kind::Closed, "the server is closed")
}

fn broken(error: &io::Error) -> Error {
    Error::from_io("server", error)
}

fn ready() -> Result<Poll> {
    crate::descriptors::spare(Poll::new).map_err(|e| broken(&e))
}

/// Both ways, told once for each change.
fn register(poll: &Poll, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    let interest = if token == LISTENER { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
    poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), token, interest)
}
