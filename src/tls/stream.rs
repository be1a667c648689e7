//! One TLS connection: read, write, close. The handshake has its own file.
//!
//! Nothing is lost: a wait that times out or is interrupted keeps every byte, in and out, for the next call, also in
//! the middle of a record. Bytes that `write` accepted are sent before any others. An idle connection holds no buffer.
//! A forked child refuses to use its parent's connection, and sends nothing on it.

mod handshake;

use super::{
    Transport, fault,
    gauge::Gauge,
    records::{Engine, Sink, Then},
    server::ByName,
};
use crate::{
    buffer::{Buffer, LARGE},
    deadline::Deadline,
    error::{Error, Kind, Result},
    fork,
    panics::{contained, failpoint},
};
use rustls::Error as TlsError;
use std::sync::Arc;

/// Reads in a row that may bring nothing for the caller (session tickets, key updates) where there is no deadline.
const IDLE_TURNS: usize = 16;
/// What one `write` encrypts at a time: four records of the largest size.
const CHUNK: usize = 64 * 1024;
/// The largest record with its head (RFC 5246, section 6.2.3).
const RECORD: usize = 5 + 16384 + 2048;
/// What may wait for its rest: a handshake message of 64 KiB (a long chain of certificates) and a record.
const PENDING: usize = 64 * 1024 + RECORD;

/// A TLS connection over a transport.
pub struct Tls<T: Transport> {
    engine: Engine,
    transport: T,
    /// Arrived, and not yet a whole record.
    incoming: Buffer,
    /// Encrypted, and not yet taken by the transport.
    outgoing: Buffer,
    /// Decrypted beyond what the caller's slice could hold: `plain[taken..]`.
    plain: Vec<u8>,
    taken: usize,
    /// The peer's last word: how reading ends once `plain` is empty.
    end: Option<End>,
    /// The connection is broken for good.
    broken: Option<Error>,
    /// The transport takes no more bytes; what it has may still be read.
    lost: Option<Error>,
    /// What rustls said of the failure that broke the connection.
    fault: Option<Box<TlsError>>,
    /// We have said that no more will follow.
    closed: bool,
    /// Counts the records of a handshake that may read nothing behind them.
    gauge: Option<Gauge>,
    /// The name that a client asked this server for.
    asked: Option<Box<str>>,
    /// What this server has for other names, and which of it this connection has; not yet, before the client has named one.
    names: Option<Arc<ByName>>,
    place: Option<usize>,
    /// The process that this connection belongs to.
    generation: u64,
}

#[derive(Clone, Copy)]
enum End {
    /// close_notify.
    Clean,
    /// End of stream without it: the peer died, or somebody cut the stream (RFC 8446, section 6.1).
    Cut,
}

impl<T: Transport> Tls<T> {
    fn new(transport: T, engine: Engine) -> Self {
        Tls {
            engine,
            transport,
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
            plain: Vec::new(),
            taken: 0,
            end: None,
            broken: None,
            lost: None,
            fault: None,
            closed: false,
            gauge: None,
            asked: None,
            names: None,
            place: None,
            generation: fork::generation(),
        }
    }

    /// Reads what is there into `buf`, waiting until something is. 0 only after the peer's close_notify (or for an
    /// empty `buf`).
    /// Errors: `connection_reset` if the stream ends without it, `tls`, `timeout`.
    pub fn read(&mut self, buf: &mut [u8], deadline: &Deadline) -> Result<usize> {
        self.own()?;
        let mut idle = 0;
        loop {
            if let Some(result) = self.at_hand(buf) {
                return result;
            }
            // What an earlier `write` left behind may be what the peer is waiting for.
            self.flush_now();
            let room = self.incoming.room(wanted(buf.len()))?;
            match self.transport.read(room, deadline) {
                Ok(count) => {
                    failpoint("TLS record");
                    let filled = self.arrived(count, buf);
                    if filled > 0 {
                        return Ok(filled);
                    }
                    // A peer can send records that hold nothing for the caller for as long as it likes.
                    idle += 1;
                    if deadline.is_now() && idle > IDLE_TURNS {
                        return Err(deadline.error(&format!("recv from {}", self.transport.peer())));
                    }
                    deadline.check("recv")?;
                }
                Err(e) => {
                    self.incoming.filled(0);
                    self.incoming.park();
                    return Err(e);
                }
            }
        }
    }

    /// Reads what is there without a wait; `None` if nothing is.
    pub fn read_now(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        self.own()?;
        for _ in 0..IDLE_TURNS {
            if let Some(result) = self.at_hand(buf) {
                return result.map(Some);
            }
            self.flush_now();
            let room = self.incoming.room(wanted(buf.len()))?;
            match self.transport.read_now(room) {
                Ok(Some(count)) => {
                    let filled = self.arrived(count, buf);
                    if filled > 0 {
                        return Ok(Some(filled));
                    }
                }
                other => {
                    self.incoming.filled(0);
                    self.incoming.park();
                    return other;
                }
            }
        }
        Ok(None)
    }

    /// Works off what has arrived, without a wait: session tickets and their like are taken in silence. True if
    /// `read` would now answer at once, with bytes, the end or an error.
    pub fn settle(&mut self) -> bool {
        // An empty slice asks for nothing but must not be taken for "nothing to do". A peer that never stops sending
        // what nobody asked for is left for a read to deal with.
        for _ in 0..IDLE_TURNS {
            if self.own().is_err() || self.ready() {
                break;
            }
            // The read that follows says that there is no memory.
            let Ok(room) = self.incoming.room(wanted(0)) else { break };
            match self.transport.read_now(room) {
                Ok(Some(count)) => {
                    self.arrived(count, &mut []);
                }
                Ok(None) => {
                    self.incoming.filled(0);
                    self.incoming.park();
                    return false;
                }
                Err(e) => {
                    self.incoming.filled(0);
                    self.broken = Some(e);
                    break;
                }
            }
        }
        true
    }

    /// True if `read` answers without touching the transport.
    pub fn ready(&self) -> bool {
        self.taken < self.plain.len() || self.end.is_some() || self.broken.is_some()
    }

    /// Encrypts and sends some of `bytes` (at most 64 KiB), waiting until the transport has taken them all; how many
    /// those were.
    /// Errors: as `read`. `err.sent` counts what is gone or will go before anything else: a caller that tries again
    /// goes on behind it.
    pub fn write(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        if let Some(e) = &self.lost {
            return Err(e.clone().sent(0));
        }
        self.flush(deadline).map_err(|e| e.sent(0))?;
        let accepted = self.accept_bytes(bytes)?;
        let size = self.outgoing.len();
        match self.flush(deadline) {
            Ok(()) => Ok(accepted),
            // Encrypted bytes cannot be taken back: they stay, and go first at the next call.
            Err(e) if e.is(Kind::Timeout) || e.is(Kind::Socket) => Err(e.sent(accepted as u64)),
            Err(e) => {
                let gone = size - self.outgoing.len();
                self.outgoing.consume(usize::MAX);
                self.lost = Some(e.clone());
                Err(e.sent(whole_records(accepted, size, gone) as u64))
            }
        }
    }

    /// Encrypts some of `bytes` and sends what the transport takes now; `None` if earlier bytes still wait. What is
    /// accepted but not taken goes first at the next call.
    pub fn write_now(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        self.own()?;
        self.flush_now();
        if let Some(e) = &self.lost {
            return Err(e.clone().sent(0));
        }
        if !self.outgoing.is_empty() {
            return Ok(None);
        }
        let accepted = self.accept_bytes(bytes)?;
        self.flush_now();
        Ok(Some(accepted))
    }

    fn accept_bytes(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.closed {
            return Err(Error::new(Kind::Socket, "the TLS connection is closed for sending").sent(0));
        }
        let chunk = bytes.get(..CHUNK.min(bytes.len())).unwrap_or_default();
        if !chunk.is_empty() {
            self.turn(&mut [], &mut 0, Then::Send(chunk)).map_err(|e| e.sent(0))?;
        }
        Ok(chunk.len())
    }

    /// Waits until the transport has taken everything that was accepted.
    pub fn flush(&mut self, deadline: &Deadline) -> Result<()> {
        self.own()?;
        while !self.outgoing.is_empty() {
            match self.transport.write(self.outgoing.bytes(), deadline) {
                Ok(count) => self.outgoing.consume(count),
                Err(e) => {
                    self.outgoing.park();
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    fn flush_now(&mut self) {
        while !self.outgoing.is_empty() {
            match self.transport.write_now(self.outgoing.bytes()) {
                Ok(Some(count)) => self.outgoing.consume(count),
                Ok(None) => {
                    self.outgoing.park();
                    break;
                }
                // Reading goes on: what the peer said before it went away is worth having.
                Err(e) => {
                    self.outgoing.consume(usize::MAX);
                    self.lost.get_or_insert(e);
                }
            }
        }
    }

    /// Tells the peer that nothing more will come from here. Best effort; never waits. Reading goes on.
    pub fn close_notify(&mut self) {
        if self.closed || self.broken.is_some() || self.own().is_err() {
            return;
        }
        if self.turn(&mut [], &mut 0, Then::Close).is_ok() {
            self.flush_now();
        }
        self.closed = true;
    }

    /// A forked child goes on with the connection of its parent, which says nothing on it any more.
    pub fn adopt(&mut self) {
        self.generation = fork::generation();
    }

    /// Another process goes on with the connection: nothing more is said here, at the end neither.
    pub fn abandon(&mut self) {
        self.closed = true;
    }

    /// What rustls said of the failure that broke the connection.
    pub(crate) fn fault(&self) -> Option<&TlsError> {
        self.fault.as_deref()
    }

    /// True if encrypted bytes wait for the transport to take them.
    pub fn is_behind(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// True if decrypted bytes wait to be read.
    pub fn has_plaintext(&self) -> bool {
        self.taken < self.plain.len()
    }

    /// True if the peer's stream has ended, one way or the other.
    pub fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// True if the stream ended without the peer's close_notify.
    pub fn is_cut(&self) -> bool {
        matches!(self.end, Some(End::Cut))
    }

    pub fn transport(&self) -> &T {
        &self.transport
    }

    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Answers a `read` from what is at hand.
    fn at_hand(&mut self, buf: &mut [u8]) -> Option<Result<usize>> {
        if buf.is_empty() {
            return Some(Ok(0));
        }
        let plain = self.plain.get(self.taken..).unwrap_or_default();
        if !plain.is_empty() {
            let count = plain.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..count), plain.get(..count)) {
                to.copy_from_slice(from);
            }
            self.taken += count;
            if self.taken == self.plain.len() {
                (self.plain, self.taken) = (Vec::new(), 0);
            }
            return Some(Ok(count));
        }
        if let Some(e) = &self.broken {
            return Some(Err(e.clone()));
        }
        Some(match self.end? {
            End::Clean => Ok(0),
            End::Cut => Err(Error::new(
                Kind::ConnectionReset,
                format!("{} closed the connection without a TLS close_notify", self.transport.peer()),
            )),
        })
    }

    /// `count` bytes arrived in `incoming`'s room: decrypts, into `buf` first; how many bytes went there. Whatever goes
    /// wrong is kept for the next `read`, behind what was good.
    fn arrived(&mut self, count: usize, buf: &mut [u8]) -> usize {
        self.incoming.filled(count);
        if count == 0 {
            self.end.get_or_insert(End::Cut);
            return 0;
        }
        let mut filled = 0;
        let _ = self.turn(buf, &mut filled, Then::Rest);
        // What the records asked for: a key update of our own, or the alert that says what was wrong with them.
        self.flush_now();
        self.incoming.park();
        filled
    }

    /// Works off what arrived; what was decrypted goes into `out` (`filled` counts it) and then into `plain`. A
    /// failure breaks the connection for good.
    fn turn(&mut self, out: &mut [u8], filled: &mut usize, then: Then<'_>) -> Result<()> {
        if let Some(e) = &self.broken {
            return Err(e.clone());
        }
        let mut sink = Sink { out, filled: 0, spill: &mut self.plain };
        let result = self.engine.turn(&mut self.incoming, &mut self.outgoing, &mut sink, then);
        *filled = sink.filled;
        let failure = match result {
            Ok(closed) => {
                if closed {
                    self.end = Some(End::Clean);
                }
                if self.end.is_some() || self.incoming.len() <= PENDING {
                    return Ok(());
                }
                // rustls leaves this limit to whoever holds the buffer.
                Error::new(
                    Kind::Tls,
                    format!("{act}: the peer sent a handshake message above 64 KiB", act = self.act()),
                )
            }
            Err(e) => {
                let failure = fault::error(&self.act(), &e);
                self.fault = Some(Box::new(e));
                failure
            }
        };
        self.broken = Some(failure.clone());
        Err(failure)
    }

    /// What is being done with whom, for messages.
    fn act(&self) -> String {
        let peer = self.transport.peer();
        if self.engine.state().is_handshaking() {
            format!("TLS handshake with {peer}")
        } else {
            format!("TLS with {peer}")
        }
    }

    /// A forked child shares the keys and the socket with its parent: two voices on one connection.
    fn own(&self) -> Result<()> {
        if self.generation == fork::generation() {
            return Ok(());
        }
        Err(Error::new(Kind::Socket, "this TLS connection belongs to the parent process"))
    }
}

impl<T: Transport> Drop for Tls<T> {
    fn drop(&mut self) {
        contained(|| {
            failpoint("drop of TLS");
            self.close_notify();
        });
    }
}

impl<T: Transport> std::fmt::Debug for Tls<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.transport.peer())
    }
}

/// TLS inside TLS: what an https proxy needs.
impl<T: Transport> Transport for Tls<T> {
    fn read(&mut self, buf: &mut [u8], deadline: &Deadline) -> Result<usize> {
        Tls::read(self, buf, deadline)
    }
    fn read_now(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        Tls::read_now(self, buf)
    }
    fn write(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        Tls::write(self, bytes, deadline)
    }
    fn write_now(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        Tls::write_now(self, bytes)
    }
    fn peer(&self) -> &str {
        self.transport.peer()
    }
}

/// How much to ask the transport for: what the caller has room for, with the records' heads and tags, and one whole
/// record at least.
fn wanted(room: usize) -> usize {
    (room.min(LARGE) + (room.min(LARGE) / 16384 + 1) * 32).clamp(RECORD, LARGE - 2 * RECORD)
}

/// How many of `accepted` bytes were in the records that went out whole, if `gone` of `size` bytes went.
fn whole_records(accepted: usize, size: usize, gone: usize) -> usize {
    let records = accepted.div_ceil(16384).max(1);
    let overhead = size.saturating_sub(accepted) / records;
    (gone / (16384 + overhead) * 16384).min(accepted)
}
