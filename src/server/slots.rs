//! The table of connections: a connection is taken out while it is in use, put back, or dropped; and the ones that a
//! forked child keeps.

use super::{Connection, Engine, LISTENER, Note, Phase, State, Stream, Ticket, broken, gone, ready, register};
use crate::{error::Result, fork};
use mio::{Token, unix::SourceFd};
use std::{
    mem,
    net::Shutdown,
    os::fd::{AsFd, AsRawFd},
};

impl Engine {
    pub(super) fn peek(&self, index: usize) -> Option<&Connection> {
        self.slots.get(index)?.connection.as_deref()
    }

    pub(super) fn take(&mut self, index: usize) -> Option<Box<Connection>> {
        self.slots.get_mut(index)?.connection.take()
    }

    pub(super) fn put(&mut self, index: usize, connection: Box<Connection>) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.connection = Some(connection);
        }
    }

    /// Forgets a connection that was taken, and closes it. Where another process may go on with it, nothing is said.
    pub(super) fn end(&mut self, index: usize, mut connection: Connection) {
        let handed = match &connection.phase {
            Phase::Transaction(transaction) => transaction.state == State::Asked && transaction.forks != fork::forks(),
            Phase::Streams(streams) => streams.is_frozen(),
            _ => false,
        };
        if handed || self.generation != fork::generation() {
            connection.stream.abandon();
        } else if fork::forks() > 0 {
            // A child may have the socket open, too: the client is told at once all the same.
            let _ = connection.stream.wire().shutdown(Shutdown::Both);
        }
        if matches!(&connection.phase, Phase::Transaction(transaction) if transaction.hungry) {
            // Whoever has pieces ready learns that nobody takes them.
            let ticket = self.ticket(index);
            self.tell(Note::Hungry(ticket));
        }
        if let Phase::Streams(streams) = mem::replace(&mut connection.phase, Phase::Linger) {
            self.lose_streams(index, &connection, *streams);
        }
        self.forget(index, connection);
    }

    /// The same, as it is.
    pub(super) fn forget(&mut self, index: usize, connection: Connection) {
        drop(self.release(index, connection));
    }

    /// Lets go of a connection that was taken: its stream, and what was read of it and not used.
    pub(super) fn release(&mut self, index: usize, connection: Connection) -> (Stream, Vec<u8>) {
        let _ = self.poll.registry().deregister(&mut SourceFd(&connection.stream.wire().as_fd().as_raw_fd()));
        if let Some(slot) = self.slots.get_mut(index) {
            slot.turn += 1;
        }
        self.free.push(index);
        (connection.stream, connection.input)
    }

    pub(super) fn drop_connection(&mut self, index: usize) {
        if let Some(connection) = self.take(index) {
            self.end(index, *connection);
        }
    }

    pub(super) fn stir(&mut self, index: usize, connection: &mut Connection) {
        if !connection.stirred {
            connection.stirred = true;
            self.stirred.push_back(index);
        }
    }

    pub(super) fn ticket(&self, index: usize) -> Ticket {
        Ticket { index, turn: self.slots.get(index).map_or(0, |slot| slot.turn), stream: 0 }
    }

    /// In a forked child: everything but the requests that the script holds is the parent's.
    pub(super) fn own(&mut self) -> Result<()> {
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
            let ticket = self.ticket(index);
            let is_queued = |stream| queued.contains(&Ticket { stream, ..ticket });
            let Some(slot) = self.slots.get_mut(index) else { continue };
            let Some(mut connection) = slot.connection.take() else { continue };
            connection.stirred = false;
            let fd = connection.stream.wire().as_fd();
            let asked = match &mut connection.phase {
                Phase::Transaction(transaction) if !is_queued(0) && transaction.state == State::Asked => {
                    // The parent may answer others on it.
                    transaction.keeps_alive = false;
                    transaction.forks = fork::forks();
                    register(&self.poll, fd, Token(index)).is_ok()
                }
                Phase::Streams(streams) => streams.inherit(is_queued) && register(&self.poll, fd, Token(index)).is_ok(),
                _ => false,
            };
            if asked {
                connection.stream.adopt();
                slot.connection = Some(connection);
                continue;
            }
            slot.turn += 1;
            self.free.push(index);
        }
        Ok(())
    }
}
