//! Bytes between the socket, the session and the exchanges of a connection: one turn of it.

use super::{ENOUGH, Exchange, LEAVING, Next, Streams, lift};
use crate::{
    error::{Kind, Result},
    http::http2::Reason,
    server::{Connection, Engine, Note, Phase, State, Ticket},
};
use std::{mem, time::Duration};

/// One read from the kernel.
const READ: usize = 64 * 1024;
/// Turns of one connection in a row: then it is others' turn.
const TURNS: usize = 16;

impl Engine {
    /// Goes on with a connection as far as it goes without a wait; false once it is over.
    pub(in crate::server) fn converse(
        &mut self,
        index: usize,
        connection: &mut Connection,
        now: Duration,
    ) -> Result<bool> {
        let Some(mut streams) = lift(connection) else { return Ok(true) };
        let next = self.proceed(index, connection, &mut streams, now);
        match next {
            Ok(Next::Lingers) => {
                self.lose_streams(index, connection, *streams);
                connection.phase = Phase::Linger;
                connection.since = now;
                connection.stream.finish();
                connection.readable = true;
                self.discard(index, connection)
            }
            next => {
                connection.phase = Phase::Streams(streams);
                next.map(|next| matches!(next, Next::Stays))
            }
        }
    }

    fn proceed(
        &mut self,
        index: usize,
        connection: &mut Connection,
        streams: &mut Streams,
        now: Duration,
    ) -> Result<Next> {
        if streams.is_frozen() {
            return Ok(Next::Stays);
        }
        for _ in 0..TURNS {
            let gone = self.flush(index, connection, streams, now)?;
            if streams.session.has_events() {
                let mut said = false;
                while let Some(event) = streams.session.event() {
                    said |= self.hear(index, connection, streams, event, now);
                }
                if said {
                    streams.session.poll();
                }
                continue;
            }
            if streams.session.is_over() {
                return Ok(if gone { Next::Lingers } else { Next::Stays });
            }
            if gone && streams.is_idle() {
                if streams.ended {
                    return Ok(Next::Ends);
                }
                if streams.draining {
                    streams.session.go_away(Reason::NO_ERROR);
                    continue;
                }
            }
            if !self.listen(index, connection, streams, now)? {
                return Ok(Next::Stays);
            }
        }
        self.stir(index, connection);
        Ok(Next::Stays)
    }

    /// Reads what has come; false if that is nothing.
    fn listen(
        &mut self,
        index: usize,
        connection: &mut Connection,
        streams: &mut Streams,
        now: Duration,
    ) -> Result<bool> {
        if !connection.input.is_empty() {
            let used = streams.session.feed(&connection.input, now);
            connection.input.drain(..used);
            return Ok(used > 0);
        }
        let room = streams.session.room().min(READ);
        if room == 0 || streams.ended || !(connection.readable || connection.stream.is_ready()) {
            return Ok(false);
        }
        let mut scratch = mem::take(&mut self.scratch);
        scratch.resize(READ, 0);
        let read = connection.stream.read(scratch.get_mut(..room).unwrap_or_default());
        let heard = read.map(|read| match read {
            Some(0) => {
                self.deaf(index, connection, streams, now);
                true
            }
            Some(count) => {
                // A short read has emptied the kernel's buffer: the next byte is an event.
                connection.readable &= count == room || connection.ended || !connection.stream.tells_all();
                if !streams.session.feed_all(&mut scratch, 0..count, now) {
                    streams.session.feed(scratch.get(..count).unwrap_or_default(), now);
                }
                true
            }
            None => {
                connection.readable = false;
                false
            }
        });
        self.scratch = scratch;
        heard
    }

    /// The client has ended its direction: requests that are not whole never will be, and one that only listens is gone. `h2` is not
    /// told, for it would end the answers, too.
    fn deaf(&mut self, index: usize, connection: &Connection, streams: &mut Streams, now: Duration) {
        streams.ended = true;
        let lost = |one: &Exchange| one.coming.is_some() || one.transaction.watched;
        let lost: Vec<u32> = streams.exchanges.iter().filter(|(_, one)| lost(one)).map(|(id, _)| *id).collect();
        for id in lost {
            streams.session.reset(id, Reason::CANCEL);
            if let Some(one) = streams.exchanges.remove(&id) {
                self.lose(index, connection, id, &one, now);
            }
        }
        streams.session.poll();
    }

    /// An exchange that is over before its end.
    pub(super) fn lose(&mut self, index: usize, connection: &Connection, id: u32, one: &Exchange, now: Duration) {
        if one.transaction.state != State::Asked {
            self.log(connection, &one.transaction, false, now);
        }
        if one.transaction.hungry {
            // Whoever has pieces ready learns that nobody takes them.
            let ticket = Ticket { stream: id, ..self.ticket(index) };
            self.tell(Note::Hungry(ticket));
        }
    }

    /// All exchanges of a connection that is over.
    pub(in crate::server) fn lose_streams(&mut self, index: usize, connection: &Connection, streams: Streams) {
        let now = self.clock.now();
        for (id, one) in &streams.exchanges {
            self.lose(index, connection, *id, one, now);
        }
        for (transaction, ..) in &streams.leaving {
            self.log(connection, transaction, false, now);
        }
    }

    /// Writes what the kernel takes; true once nothing waits for it.
    pub(super) fn flush(
        &mut self,
        index: usize,
        connection: &mut Connection,
        streams: &mut Streams,
        now: Duration,
    ) -> Result<bool> {
        let mut hungry = Vec::new();
        let gone = loop {
            let moved = streams.pump(now, &mut hungry);
            if !connection.writable {
                break false;
            }
            if streams.session.pending() == 0 {
                let done = connection.stream.flush()?;
                connection.writable &= done;
                if done && moved {
                    continue;
                }
                break done;
            }
            let Connection { stream, .. } = &mut *connection;
            let wrote = streams.session.take(|bytes| stream.write(bytes).map(|count| count.unwrap_or(0)))?;
            if wrote == 0 {
                connection.writable = false;
                streams.blocked = true;
                break false;
            }
            if let Some((_, taken)) = streams.waited.as_mut().filter(|_| streams.blocked) {
                *taken += wrote as u64;
            }
        };
        streams.blocked &= !gone;
        for id in hungry {
            let ticket = Ticket { stream: id, ..self.ticket(index) };
            self.tell(Note::Hungry(ticket));
        }
        if gone && !streams.leaving.is_empty() {
            for (transaction, _, complete) in mem::take(&mut streams.leaving) {
                self.log(connection, &transaction, complete, now);
            }
            connection.since = now;
        }
        while streams.leaving.len() > LEAVING
            && let Some((transaction, _, complete)) = streams.leaving.pop_front()
        {
            self.log(connection, &transaction, complete, now);
        }
        // Whatever makes room comes by here.
        streams.full = streams.is_full() || !connection.writable && streams.session.pending() >= ENOUGH;
        if !streams.full {
            self.queue.extend(streams.withheld.drain(..));
        }
        if !gone || streams.exchanges.values().any(|one| !one.out.is_empty()) {
            streams.waited.get_or_insert((now, 0));
        } else {
            streams.waited = None;
        }
        Ok(gone)
    }

    /// Writes what the kernel takes of a connection that was spoken to; false if the client is gone.
    pub(super) fn settle(&mut self, ticket: Ticket, now: Duration) -> Result<bool> {
        let Some(mut connection) = self.take(ticket.index) else { return Ok(false) };
        let Some(mut streams) = lift(&mut connection) else {
            self.put(ticket.index, connection);
            return Ok(false);
        };
        let wrote = self.flush(ticket.index, &mut connection, &mut streams, now);
        let goes_on = streams.session.has_events() || streams.session.is_over() || streams.draining;
        connection.phase = Phase::Streams(streams);
        match wrote {
            Ok(_) => {
                if goes_on || !connection.input.is_empty() || connection.readable || connection.stream.is_ready() {
                    self.stir(ticket.index, &mut connection);
                }
                self.put(ticket.index, connection);
                Ok(true)
            }
            Err(error) => {
                self.end(ticket.index, *connection);
                if error.is(Kind::ConnectionReset) { Ok(false) } else { Err(error) }
            }
        }
    }
}
