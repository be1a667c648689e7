//! An HTTP/1.1 server (RFC 9110, RFC 9112) behind calls that wait: all connections are accepted, shake hands, are read and
//! written side by side, and complete requests are handed out.
//!
//! No thread and no loop of its own: [`Engine::turn`] does what there is to do, and waits at most as long as it is told. A
//! readiness queue of the kernel (epoll, kqueue; by mio) holds all sockets. What is said on the wire is decided in
//! `http::incoming` and `http::answer`, which are pure; here are sockets, clocks and limits. Listens only on a listener that
//! passed the gate.

mod body;
mod connection;
mod stream;
mod talk;

pub use body::{Body, Spill};
pub use talk::Content;

use self::{
    body::Share,
    connection::{Connection, Phase, Reading, State, Talk},
    stream::Stream,
};
use crate::{
    deadline::{uptime, wall},
    descriptors::is_out,
    error::{Error, Kind, Result},
    fork,
    http::{
        answer::{Answer, CONTINUE, Ends, Exchange, date, reason},
        incoming::{Event, Framing, Head, Limits, Refusal},
        response::Version,
    },
    listen::{Listener, is_passing},
    panics::point,
    tls::{ServerTls, Tls},
    wire::{Peer, Wire},
};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    rc::Rc,
    time::Duration,
};

/// What a server is told once.
#[derive(Clone)]
pub struct Options {
    pub limits: Limits,
    /// Bytes of a body that may be in memory. Defaults to 1 MiB.
    pub memory: u64,
    /// Bytes of all bodies together that may be in memory before the script has them. Defaults to 256 MiB.
    pub buffered: u64,
    pub spill: Option<Spill>,
    /// For a head, from its first byte on. Defaults to 10 s.
    pub head_timeout: Duration,
    /// From here on a body comes at [`Options::body_rate`] at least. Defaults to 10 s.
    pub body_grace: Duration,
    /// Bytes a second. Defaults to 1 KiB.
    pub body_rate: u64,
    /// From here on a client takes what waits for it at [`Options::send_rate`] at least. Defaults to 10 s.
    pub send_grace: Duration,
    /// Bytes a second. Defaults to 1 KiB.
    pub send_rate: u64,
    /// Between requests, and for a client that takes nothing of an answer. Defaults to 75 s.
    pub idle_timeout: Duration,
    /// Of TLS. Defaults to 10 s.
    pub handshake_timeout: Duration,
    /// For what is under way when the server stops. Defaults to 10 s.
    pub drain_timeout: Duration,
    /// Connections at a time; others wait in the kernel. Defaults to 10,000.
    pub connections: usize,
    /// Requests on one connection. Defaults to 1,000.
    pub requests: u32,
    /// Whoever runs the server wants to know of refusals, and of answers.
    pub tells_refusals: bool,
    pub tells_answers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            limits: Limits::default(),
            memory: 1 << 20,
            buffered: 256 << 20,
            spill: None,
            head_timeout: Duration::from_secs(10),
            body_grace: Duration::from_secs(10),
            body_rate: 1024,
            send_grace: Duration::from_secs(10),
            send_rate: 1024,
            idle_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            connections: 10_000,
            requests: 1000,
            tells_refusals: false,
            tells_answers: false,
        }
    }
}

/// Which exchange of which connection: it names nothing once that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    index: usize,
    turn: u64,
}

impl Ticket {
    /// As a name.
    pub fn text(&self) -> String {
        format!("{}.{}", self.index, self.turn)
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
/// One read from the kernel.
const READ: usize = 64 * 1024;
/// Reads of one connection in a row: then it is others' turn.
const TURNS: usize = 16;
/// Connections that are taken from the kernel in one turn.
const BATCH: usize = 64;
/// Bytes that wait for a client, beyond which whoever streams to it waits.
pub const HIGH: usize = 256 * 1024;
/// What is read and dropped of a client that was refused, and how long.
const LINGER: Duration = Duration::from_secs(2);
/// How long no connection is accepted once the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// A script that is away for longer was busy: that time counts against no client.
const BUSY: Duration = Duration::from_millis(50);
/// Sockets are looked at once in this time at least, however many requests wait to be handed out.
const DUE: Duration = Duration::from_millis(5);
/// The looks at all timers are at least this far apart, and a quarter of the shortest timer at the most.
const SWEEP: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

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
    open: usize,
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
            open: 0,
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
            generation: fork::generation(),
        })
    }

    /// The next complete request.
    pub fn request(&mut self) -> Option<Request> {
        let mut request = self.queue.pop_front()?;
        request.body.hand_out();
        Some(request)
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

    /// Bytes of a body that may be in memory.
    pub fn memory(&self) -> u64 {
        self.options.memory
    }

    /// The TLS session of an exchange.
    pub fn session(&self, ticket: Ticket) -> Option<&Tls<Wire>> {
        let slot = self.slots.get(ticket.index).filter(|slot| slot.turn == ticket.turn)?;
        slot.connection.as_deref()?.stream.tls()
    }

    /// True if [`Engine::request`] or [`Engine::note`] has something, or nothing will come any more.
    pub fn is_ready(&self) -> bool {
        !self.queue.is_empty() || !self.notes.is_empty() || self.is_over()
    }

    /// True once the server has stopped and nothing is under way that could still be handed out or written.
    pub fn is_over(&self) -> bool {
        self.closed
            || self.stopping.is_some_and(|end| self.open == 0 || end <= self.clock.now() || !self.is_under_way())
    }

    /// Something goes on without the script: a request that comes in, an answer that goes out.
    fn is_under_way(&self) -> bool {
        self.slots.iter().filter_map(|slot| slot.connection.as_deref()).any(|connection| match &connection.phase {
            Phase::Shake | Phase::Rest => false,
            Phase::Read(_) | Phase::Linger => true,
            Phase::Talk(talk) => talk.state != State::Asked,
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
        self.open
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
            if self.peek(index).is_some_and(|one| matches!(one.phase, Phase::Rest) && one.input.is_empty()) {
                self.drop_connection(index);
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
            if ours && !matches!(connection.phase, Phase::Shake) && connection.pump(now).is_ok_and(|done| done) {
                connection.stream.finish();
                // Bytes that nobody has read would come back as a reset, which overtakes the last words.
                connection.readable = true;
                let _ = self.discard(index, &mut connection);
            }
            self.end(index, *connection);
        }
    }

    /// True if others have waited for a turn, while requests were handed out that had come before.
    pub fn is_due(&self) -> bool {
        uptime().saturating_sub(self.clock.left) > DUE
    }

    /// Waits at most `time` for something to do, and does it. Ends early on a signal.
    pub fn turn(&mut self, time: Duration) -> Result<()> {
        self.own()?;
        let now = uptime();
        if now.saturating_sub(self.clock.left) > BUSY {
            self.clock.away += now - self.clock.left;
        }
        let time = if self.is_busy() || !self.notes.is_empty() { Duration::ZERO } else { time.min(self.wait()) };
        let waited = self.poll.poll(&mut self.events, Some(time));
        let done = match waited {
            Ok(()) => {
                self.collect();
                self.work();
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(broken(&e)),
        };
        self.clock.left = uptime();
        done
    }

    /// Something can go on without a wait.
    fn is_busy(&self) -> bool {
        let calling = self.calling && self.listener.is_some() && self.open < self.options.connections;
        !self.stirred.is_empty() || calling && self.paused <= self.clock.now()
    }

    /// No longer than to the next timer.
    fn wait(&self) -> Duration {
        let now = self.clock.now();
        let mut wait = if self.open > 0 { self.sweep_every() } else { Duration::MAX };
        if self.calling && self.paused > now {
            wait = wait.min(self.paused - now);
        }
        wait
    }

    fn sweep_every(&self) -> Duration {
        let o = &self.options;
        let timers = [o.head_timeout, o.body_grace, o.send_grace, o.idle_timeout, o.handshake_timeout, o.drain_timeout];
        let shortest = timers.into_iter().min().unwrap_or(SWEEP.1);
        (shortest / 4).clamp(SWEEP.0, SWEEP.1)
    }

    /// Takes down what the kernel said.
    fn collect(&mut self) {
        for event in &self.events {
            if event.token() == LISTENER {
                self.calling = true;
                continue;
            }
            let index = event.token().0;
            let Some(connection) = self.slots.get_mut(index).and_then(|slot| slot.connection.as_deref_mut()) else {
                continue;
            };
            connection.ended |= event.is_read_closed() || event.is_error();
            connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            connection.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
            if !connection.stirred {
                connection.stirred = true;
                self.stirred.push_back(index);
            }
        }
    }

    fn work(&mut self) {
        let now = self.clock.now();
        for _ in 0..self.stirred.len() {
            let Some(index) = self.stirred.pop_front() else { break };
            self.drive(index, now);
        }
        self.greet(now);
        if now.saturating_sub(self.swept) >= self.sweep_every() {
            self.swept = now;
            self.sweep(now);
        }
    }

    /// Takes connections from the kernel.
    fn greet(&mut self, now: Duration) {
        if !self.calling || self.paused > now {
            return;
        }
        for _ in 0..BATCH {
            if self.open >= self.options.connections {
                return;
            }
            let Some(listener) = &self.listener else { return };
            match listener.accept_now() {
                Ok(Some(wire)) => self.welcome(wire, now),
                Ok(None) => {
                    self.calling = false;
                    return;
                }
                // It counts as one of the batch: those that are there get their turn.
                Err(e) if is_passing(&e) => (),
                // Those that are there go on; some of them will end.
                Err(e) => {
                    self.paused = now + if is_out(&e) { PAUSE } else { PAUSE / 10 };
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, wire: Wire, now: Duration) {
        point("server accept");
        let (stream, phase) = match &self.tls {
            None => (Stream::Plain(wire), Phase::Rest),
            Some(tls) => match Tls::accepted(wire, tls) {
                Ok(tls) => (Stream::Tls(Box::new(tls)), Phase::Shake),
                Err(_) => return,
            },
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let connection = Box::new(Connection::new(stream, phase, now));
        if register(&self.poll, connection.stream.wire().as_fd(), Token(index)).is_err() {
            self.free.push(index);
            return;
        }
        self.open += 1;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.connection = Some(connection);
        }
        // What it has to say is often there already.
        self.drive(index, now);
    }

    fn peek(&self, index: usize) -> Option<&Connection> {
        self.slots.get(index)?.connection.as_deref()
    }

    fn take(&mut self, index: usize) -> Option<Box<Connection>> {
        self.slots.get_mut(index)?.connection.take()
    }

    fn put(&mut self, index: usize, connection: Box<Connection>) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.connection = Some(connection);
        }
    }

    /// Forgets a connection that was taken, and closes it. Where another process may go on with it, nothing is said.
    fn end(&mut self, index: usize, mut connection: Connection) {
        let handed =
            matches!(&connection.phase, Phase::Talk(talk) if talk.state == State::Asked && talk.forks != fork::forks());
        if handed || self.generation != fork::generation() {
            connection.stream.abandon();
        } else if fork::forks() > 0 {
            // A child may have the socket open, too: the client is told at once all the same.
            let _ = connection.stream.wire().shutdown(Shutdown::Both);
        }
        if matches!(&connection.phase, Phase::Talk(talk) if talk.hungry) {
            // Whoever has pieces ready learns that nobody takes them.
            let ticket = self.ticket(index);
            self.tell(Note::Hungry(ticket));
        }
        self.forget(index, connection);
    }

    /// The same, as it is.
    fn forget(&mut self, index: usize, connection: Connection) {
        drop(self.release(index, connection));
    }

    /// Lets go of a connection that was taken: its stream, and what was read of it and not used.
    fn release(&mut self, index: usize, connection: Connection) -> (Stream, Vec<u8>) {
        let _ = self.poll.registry().deregister(&mut SourceFd(&connection.stream.wire().as_fd().as_raw_fd()));
        self.open -= 1;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.turn += 1;
        }
        self.free.push(index);
        (connection.stream, connection.input)
    }

    fn drop_connection(&mut self, index: usize) {
        if let Some(connection) = self.take(index) {
            self.end(index, *connection);
        }
    }

    fn stir(&mut self, index: usize, connection: &mut Connection) {
        if !connection.stirred {
            connection.stirred = true;
            self.stirred.push_back(index);
        }
    }

    fn tell(&mut self, note: Note) {
        if self.notes.len() >= MAX_NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }

    /// Goes on with one connection as far as it goes without a wait.
    fn drive(&mut self, index: usize, now: Duration) {
        let Some(mut connection) = self.take(index) else { return };
        connection.stirred = false;
        match self.advance(index, &mut connection, now) {
            Ok(true) => self.put(index, connection),
            Ok(false) => self.end(index, *connection),
            Err(error) => {
                match &connection.phase {
                    Phase::Shake => {
                        let peer = connection.stream.wire().peer().to_owned();
                        self.tell(Note::Handshake(peer, error));
                    }
                    Phase::Talk(talk) if talk.state != State::Asked => self.log(&connection, talk, false, now),
                    _ => (),
                }
                self.end(index, *connection);
            }
        }
    }

    /// False once the connection is over.
    fn advance(&mut self, index: usize, connection: &mut Connection, now: Duration) -> Result<bool> {
        if let Phase::Shake = connection.phase {
            if !connection.stream.shake()? {
                return Ok(true);
            }
            connection.phase = Phase::Rest;
            connection.since = now;
        }
        if !connection.out.is_empty() || !connection.writable {
            if connection.writable && connection.pump(now)? {
                match &mut connection.phase {
                    Phase::Talk(talk) if talk.state == State::Given => return self.over(index, connection, now),
                    Phase::Linger => connection.stream.finish(),
                    _ => (),
                }
            }
            if let Phase::Talk(talk) = &mut connection.phase
                && talk.hungry
                && connection.out.held() <= HIGH / 2
            {
                talk.hungry = false;
                let ticket = self.ticket(index);
                self.tell(Note::Hungry(ticket));
            }
        }
        match connection.phase {
            Phase::Rest | Phase::Read(_) => self.read(index, connection, now),
            Phase::Linger => self.discard(index, connection),
            Phase::Talk(ref talk) if talk.watched && connection.ended => {
                self.log(connection, talk, false, now);
                Ok(false)
            }
            // What comes meanwhile waits in the kernel.
            Phase::Talk(_) | Phase::Shake => Ok(true),
        }
    }

    fn ticket(&self, index: usize) -> Ticket {
        Ticket { index, turn: self.slots.get(index).map_or(0, |slot| slot.turn) }
    }

    /// Reads a request as far as it is there.
    fn read(&mut self, index: usize, connection: &mut Connection, now: Duration) -> Result<bool> {
        for _ in 0..TURNS {
            if !connection.input.is_empty() {
                let input = std::mem::take(&mut connection.input);
                let used = self.digest(index, connection, &input, now)?;
                if used < input.len() && !matches!(connection.phase, Phase::Linger) {
                    connection.input = input;
                    connection.input.drain(..used);
                }
            } else if connection.readable || connection.stream.is_ready() {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.resize(READ, 0);
                let read = connection.stream.read(&mut scratch);
                let done = match read {
                    Ok(Some(0)) => Ok(false),
                    Ok(Some(count)) => {
                        // A short read has emptied the kernel's buffer: the next byte is an event.
                        connection.readable &= count == READ || connection.ended || !connection.stream.tells_all();
                        let input = scratch.get(..count).unwrap_or_default();
                        self.digest(index, connection, input, now).map(|used| {
                            let rest = input.get(used..).unwrap_or_default();
                            if !matches!(connection.phase, Phase::Linger) {
                                connection.input.extend_from_slice(rest);
                            }
                            true
                        })
                    }
                    Ok(None) => {
                        connection.readable = false;
                        Ok(true)
                    }
                    Err(error) => Err(error),
                };
                self.scratch = scratch;
                if !done? {
                    return Ok(false);
                }
            } else {
                return Ok(true);
            }
            match connection.phase {
                Phase::Rest | Phase::Read(_) => (),
                Phase::Linger => return self.discard(index, connection),
                _ => return Ok(true),
            }
        }
        self.stir(index, connection);
        Ok(true)
    }

    /// Looks at bytes of a request; how many of them are its own.
    fn digest(&mut self, index: usize, connection: &mut Connection, input: &[u8], now: Duration) -> Result<usize> {
        if let Phase::Rest = connection.phase {
            connection.phase = Phase::Read(Box::new(Reading::new(self.options.limits, Body::new(&self.held), now)));
        }
        let mut at = 0;
        loop {
            let Phase::Read(reading) = &mut connection.phase else { return Ok(at) };
            let rest = input.get(at..).unwrap_or_default();
            let taken = match reading.reader.feed(rest) {
                Ok(Event::More) => {
                    return Ok(input.len());
                }
                Ok(Event::Head(used, head)) => {
                    at += used;
                    let head = Rc::new(*head);
                    reading.head = Some(Rc::clone(&head));
                    reading.body_began = now;
                    let host = head.target.host.as_deref();
                    let tls = connection.stream.tls();
                    if host.zip(tls).is_some_and(|(host, tls)| !tls.serves(host)) {
                        let why = "the connection was made for another host";
                        self.refuse(index, connection, Refusal::new(421, why), now)?;
                        return Ok(input.len());
                    }
                    let fits = match head.framing {
                        Framing::Length(length) if length > self.options.memory => {
                            reading.body.spill(self.options.spill.as_ref())
                        }
                        _ => Ok(()),
                    };
                    if fits.is_ok() && head.expects && at == input.len() {
                        connection.out.bytes().extend_from_slice(CONTINUE);
                    }
                    fits
                }
                Ok(Event::Data(skip, length)) => {
                    let data = rest.get(skip..skip + length).unwrap_or_default();
                    at += skip + length;
                    let share = Share { each: self.options.memory, all: self.options.buffered };
                    reading.body.push(data, share, self.options.spill.as_ref())
                }
                Ok(Event::End(used)) => {
                    at += used;
                    match reading.body.rewind() {
                        Ok(()) => {
                            self.complete(index, connection, now);
                            return Ok(at);
                        }
                        Err(refusal) => Err(refusal),
                    }
                }
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = taken {
                self.refuse(index, connection, refusal, now)?;
                return Ok(input.len());
            }
            if !connection.out.is_empty() {
                // 100 Continue: the connection is fresh, so the kernel has room for it.
                connection.pump(now)?;
            }
        }
    }

    /// A request is whole: it joins the queue.
    fn complete(&mut self, index: usize, connection: &mut Connection, now: Duration) {
        let Phase::Read(reading) = std::mem::replace(&mut connection.phase, Phase::Rest) else { return };
        let Reading { head: Some(head), body, began, .. } = *reading else { return };
        connection.served += 1;
        let keeps_alive = head.keeps_alive && connection.served < self.options.requests;
        connection.since = now;
        let talk = Talk {
            head: Rc::clone(&head),
            began,
            state: State::Asked,
            status: 0,
            sent: 0,
            keeps_alive,
            hungry: false,
            watched: false,
            forks: fork::forks(),
        };
        connection.phase = Phase::Talk(Box::new(talk));
        self.numbers += 1;
        let request = Request {
            ticket: self.ticket(index),
            number: self.numbers,
            head,
            body,
            remote: connection.remote,
            peer: connection.peer,
            secure: connection.stream.tls().is_some(),
        };
        self.queue.push_back(request);
    }

    /// Says why, and closes.
    fn refuse(&mut self, _: usize, connection: &mut Connection, refusal: Refusal, now: Duration) -> Result<()> {
        let (head, spill) = match std::mem::replace(&mut connection.phase, Phase::Linger) {
            Phase::Read(reading) => (reading.head, reading.body.bytes().is_some()),
            _ => (None, false),
        };
        connection.since = now;
        connection.input = Vec::new();
        let date = self.date();
        let words = format!("{} {}\n", refusal.status, reason(refusal.status));
        let exchange = Exchange {
            version: head.as_ref().map_or(Version::Http11, |head| head.version),
            head_only: head.as_ref().is_some_and(|head| &*head.method == "HEAD"),
            keeps_alive: false,
            date: &date,
        };
        if let Ok(mut answer) = Answer::new(refusal.status) {
            answer.default_field("Content-Type", b"text/plain");
            let out = connection.out.bytes();
            answer.head(&exchange, Ends::After(words.len() as u64), out);
            if !answer.is_bodiless(&exchange) {
                out.extend_from_slice(words.as_bytes());
            }
        }
        if self.options.tells_refusals {
            let length = head.as_ref().and_then(|head| head.content_length());
            let no_spill = refusal.status == 413 && spill && length.is_none_or(|n| n <= self.options.limits.body);
            self.tell(Note::Refused { remote: connection.remote, refusal, length, spill: no_spill });
        }
        if connection.pump(now)? {
            connection.stream.finish();
        }
        Ok(())
    }

    /// Drops what the client still sends, until it has read our last words; false once it has.
    fn discard(&mut self, index: usize, connection: &mut Connection) -> Result<bool> {
        connection.input = Vec::new();
        for _ in 0..TURNS {
            if !connection.readable {
                return Ok(true);
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.resize(READ, 0);
            // TLS records need no reading: the socket beneath is emptied.
            let read = connection.stream.wire().read_now(&mut scratch);
            self.scratch = scratch;
            match read? {
                Some(0) => return Ok(!connection.out.is_empty()),
                Some(_) => (),
                None => connection.readable = false,
            }
        }
        self.stir(index, connection);
        Ok(true)
    }

    /// Looks at the timers of all.
    fn sweep(&mut self, now: Duration) {
        let late = self.stopping.is_some_and(|end| end <= now);
        for index in 0..self.slots.len() {
            let Some(connection) = self.peek(index) else { continue };
            let age = now.saturating_sub(connection.since);
            let o = &self.options;
            enum Verdict {
                Stays,
                Ends,
                TooSlow(&'static str),
            }
            let verdict = match &connection.phase {
                Phase::Shake if age > o.handshake_timeout => Verdict::Ends,
                Phase::Rest if age > o.idle_timeout || self.stopping.is_some() => Verdict::Ends,
                Phase::Linger if age > LINGER => Verdict::Ends,
                _ if late => Verdict::Ends,
                Phase::Talk(_) if connection.is_slow(now, o.send_grace, o.send_rate) => Verdict::Ends,
                Phase::Talk(talk)
                    if talk.state != State::Asked && !connection.out.is_empty() && age > o.idle_timeout =>
                {
                    Verdict::Ends
                }
                Phase::Read(reading) if reading.head.is_none() => {
                    match now.saturating_sub(reading.began) > o.head_timeout {
                        true if reading.reader.is_fresh() => Verdict::Ends,
                        true => Verdict::TooSlow("the head took longer than head_timeout"),
                        false => Verdict::Stays,
                    }
                }
                Phase::Read(reading) => {
                    let age = now.saturating_sub(reading.body_began);
                    let least = age.as_secs_f64() * o.body_rate as f64;
                    match age > o.body_grace && (reading.body.len() as f64) < least {
                        true => Verdict::TooSlow("the body came more slowly than min_body_rate"),
                        false => Verdict::Stays,
                    }
                }
                _ => Verdict::Stays,
            };
            match verdict {
                Verdict::Stays => (),
                Verdict::Ends => {
                    if let Some(connection) = self.take(index) {
                        match &connection.phase {
                            Phase::Shake => {
                                let peer = connection.stream.wire().peer().to_owned();
                                let error = Error::new(Kind::Timeout, "TLS handshake: timed out");
                                self.tell(Note::Handshake(peer, error));
                            }
                            Phase::Talk(talk) if talk.state != State::Asked => self.log(&connection, talk, false, now),
                            _ => (),
                        }
                        self.end(index, *connection);
                    }
                }
                Verdict::TooSlow(why) => {
                    if let Some(mut connection) = self.take(index) {
                        match self.refuse(index, &mut connection, Refusal::new(408, why), now) {
                            Ok(()) => self.put(index, connection),
                            Err(_) => self.end(index, *connection),
                        }
                    }
                }
            }
        }
    }

    fn date(&mut self) -> String {
        let seconds = wall().as_secs();
        if self.date.0 != seconds {
            self.date = (seconds, date(seconds));
        }
        self.date.1.clone()
    }

    /// In a forked child: everything but the requests that the script holds is the parent's.
    fn own(&mut self) -> Result<()> {
        if self.closed {
            return Err(gone());
        }
        if self.generation == fork::generation() {
            return Ok(());
        }
        self.generation = fork::generation();
        let poll = ready()?;
        if let Some(listener) = &self.listener {
            register(&poll, listener.as_fd(), LISTENER).map_err(|e| broken(&e))?;
        }
        self.poll = poll;
        self.calling = true;
        let queued: Vec<Ticket> = self.queue.drain(..).map(|request| request.ticket).collect();
        self.notes.clear();
        self.stirred.clear();
        for index in 0..self.slots.len() {
            let ours = !queued.contains(&self.ticket(index));
            let Some(slot) = self.slots.get_mut(index) else { continue };
            let Some(mut connection) = slot.connection.take() else { continue };
            connection.stirred = false;
            let fd = connection.stream.wire().as_fd();
            let asked = match &mut connection.phase {
                Phase::Talk(talk) if ours && talk.state == State::Asked => {
                    // The parent may answer others on it.
                    talk.keeps_alive = false;
                    talk.forks = fork::forks();
                    register(&self.poll, fd, Token(index)).is_ok()
                }
                _ => false,
            };
            if asked {
                connection.stream.adopt();
                slot.connection = Some(connection);
                continue;
            }
            slot.turn += 1;
            self.open -= 1;
            self.free.push(index);
        }
        Ok(())
    }
}

fn gone() -> Error {
    Error::new(Kind::Socket, "the server is closed")
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
