//! What one turn does: waits for the kernel, accepts, shakes hands, and goes on with each connection as far as it goes without a wait.

use super::{Connection, Engine, HIGH, LISTENER, Note, Phase, Slot, State, Stream, Streams, broken, register};
use crate::{
    deadline::uptime,
    descriptors::is_out,
    error::{Error, Result},
    http::incoming::Refusal,
    listen::is_passing,
    panics::{caught, failpoint},
    tls::Tls,
    wire::Wire,
};
use mio::Token;
use std::{io, net::SocketAddr, os::fd::AsFd, time::Duration};

/// Connections that are taken from the kernel in one turn.
const BATCH: usize = 64;
/// How long no connection is accepted once the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// A script that is away for longer was busy: that time counts against no client.
const BUSY: Duration = Duration::from_millis(50);
/// Sockets are looked at once in this time at least, however many requests wait to be handed out.
const DUE: Duration = Duration::from_millis(5);

impl Engine {
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
    pub(super) fn is_busy(&self) -> bool {
        let calling = self.calling && self.listener.is_some() && self.connections() < self.options.connections;
        !self.stirred.is_empty() || calling && self.paused <= self.clock.now()
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
            if self.connections() >= self.options.connections {
                return;
            }
            let Some(listener) = &self.listener else { return };
            match listener.accept_now() {
                Ok(Some(wire)) => {
                    if let Err(panic) = caught(|| {
                        self.welcome(wire, now);
                        Ok(())
                    }) {
                        self.failed(None, &panic);
                    }
                }
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
        failpoint("server accept");
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
        let connection = Box::new(Connection::new(stream, phase, now, &self.open));
        if register(&self.poll, connection.stream.wire().as_fd(), Token(index)).is_err() {
            self.free.push(index);
            return;
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.connection = Some(connection);
        }
        // What it has to say is often there already.
        self.drive(index, now);
    }

    /// Goes on with one connection as far as it goes without a wait.
    fn drive(&mut self, index: usize, now: Duration) {
        let Some(mut connection) = self.take(index) else { return };
        connection.stirred = false;
        // A panic is the end of this connection, and of no other.
        match caught(|| Ok(self.advance(index, &mut connection, now))) {
            Ok(Ok(true)) => self.put(index, connection),
            Ok(Ok(false)) => self.end(index, *connection),
            Err(panic) => {
                self.failed(connection.remote, &panic);
                self.end(index, *connection);
            }
            Ok(Err(error)) => {
                match &connection.phase {
                    Phase::Shake => {
                        let peer = connection.stream.wire().peer().to_owned();
                        self.tell(Note::Handshake(peer, error));
                    }
                    Phase::Transaction(transaction) if transaction.state != State::Asked => {
                        self.log(&connection, transaction, false, now)
                    }
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
            let speaks = connection.stream.tls().is_some_and(|tls| tls.alpn() == Some(b"h2"));
            let streams = speaks.then(|| Streams::open(self, false, now)).flatten();
            connection.phase = streams.map_or(Phase::Rest, Phase::Streams);
            connection.since = now;
        }
        if !connection.out.is_empty() || !connection.writable {
            if connection.writable && connection.pump(now)? {
                match &mut connection.phase {
                    Phase::Transaction(transaction) if transaction.state == State::Given => {
                        return self.over(index, connection, now);
                    }
                    Phase::Linger => connection.stream.finish(),
                    _ => (),
                }
            }
            if let Phase::Transaction(transaction) = &mut connection.phase
                && transaction.hungry
                && connection.out.held() <= HIGH / 2
            {
                transaction.hungry = false;
                let ticket = self.ticket(index);
                self.tell(Note::Hungry(ticket));
            }
        }
        match connection.phase {
            Phase::Rest | Phase::Read(_) => self.read(index, connection, now),
            Phase::Linger => self.discard(index, connection),
            Phase::Streams(_) => self.converse(index, connection, now),
            Phase::Transaction(ref transaction) if transaction.watched && connection.ended => {
                self.log(connection, transaction, false, now);
                Ok(false)
            }
            // What comes meanwhile waits in the kernel.
            Phase::Transaction(_) | Phase::Shake => Ok(true),
        }
    }

    /// A panic has ended a connection: whoever hears of refusals is told.
    fn failed(&mut self, remote: Option<SocketAddr>, panic: &Error) {
        if self.options.tells_refusals {
            let refusal = Refusal::new(500, panic.fields().message.clone());
            self.tell(Note::Refused { remote, refusal, length: None, spill: false });
        }
    }
}
