//! Answers of the script, on their way to the client.

use super::{
    Connection, Engine, Entry, HIGH, Note, Ticket,
    connection::{Phase, State, Transaction},
    stream::Stream,
};
use crate::{
    allocation,
    conn::Conn,
    deadline::Deadline,
    error::{Kind, Result},
    fork,
    http::{
        answer::{Answer, Ends, Exchange, LAST_CHUNK, chunk},
        response::Version,
    },
    panics::failpoint,
};
use std::{fs::File, rc::Rc, time::Duration};

/// What is written together with its head.
const TOGETHER: usize = 32 * 1024;
/// For the head of a changed protocol to leave.
const SWITCH: Duration = Duration::from_secs(1);

/// What follows a head.
pub enum Content<'a> {
    Bytes(&'a [u8]),
    /// So many bytes of a file, from a place on.
    File(File, u64, u64),
    /// Pieces, by [`Engine::piece`].
    Pieces,
    /// The same for a client that only listens: one that ends its direction is gone.
    Events,
}

impl Engine {
    /// Answers a request; false if the client is gone. All of it is on its way, or will be in later turns.
    /// Errors: `too_large` where there is no memory for what waits; `socket` once the server is closed.
    pub fn answer(&mut self, ticket: Ticket, answer: &Answer, content: Content<'_>) -> Result<bool> {
        self.own()?;
        if ticket.stream != 0 {
            return self.answer_stream(ticket, answer, content);
        }
        let now = self.clock.now();
        let date = self.date();
        let stopping = self.stopping.is_some();
        let Some(mut connection) = self.asked(ticket) else { return Ok(false) };
        failpoint("server answer");
        let Phase::Transaction(transaction) = &mut connection.phase else { return Ok(false) };
        transaction.keeps_alive &= !answer.closes() && !stopping;
        let head_only = &*transaction.head.method == "HEAD";
        let version = transaction.head.version;
        let ends = match &content {
            Content::Bytes(bytes) => Ends::After(bytes.len() as u64),
            Content::File(_, _, length) => Ends::After(*length),
            Content::Pieces | Content::Events if version == Version::Http10 => {
                transaction.keeps_alive = false;
                Ends::Close
            }
            Content::Pieces | Content::Events => Ends::Chunked,
        };
        let exchange = Exchange { version, head_only, keeps_alive: transaction.keeps_alive, date: &date };
        let bodiless = answer.is_bodiless(&exchange);
        transaction.status = answer.status;
        connection.since = now;
        let out = connection.out.bytes();
        answer.head(&exchange, ends, out);
        let mut rest: &[u8] = &[];
        match content {
            _ if bodiless => transaction.state = State::Given,
            Content::Pieces | Content::Events => {
                transaction.state = if ends == Ends::Chunked { State::Chunked } else { State::Close };
                transaction.watched = matches!(content, Content::Events);
            }
            Content::Bytes(bytes) => {
                let (first, more) = bytes.split_at(bytes.len().min(TOGETHER));
                out.extend_from_slice(first);
                rest = more;
                transaction.sent = bytes.len() as u64;
                transaction.state = State::Given;
            }
            Content::File(file, from, length) => {
                connection.out.put_file(file, from, length);
                transaction.sent = length;
                transaction.state = State::Given;
            }
        }
        self.give(ticket, connection, rest, now)
    }

    /// One more piece of a streamed answer; false if the client is gone.
    pub fn piece(&mut self, ticket: Ticket, bytes: &[u8]) -> Result<bool> {
        self.own()?;
        if ticket.stream != 0 {
            return self.stream_piece(ticket, bytes);
        }
        let now = self.clock.now();
        let Some(mut connection) = self.talking(ticket) else { return Ok(false) };
        failpoint("server piece");
        let Phase::Transaction(transaction) = &mut connection.phase else { return Ok(false) };
        let mut rest: &[u8] = &[];
        match transaction.state {
            State::Chunked => {
                allocation::reserve(connection.out.bytes(), bytes.len() + 32)?;
                chunk(bytes, connection.out.bytes());
            }
            State::Close => rest = bytes,
            _ => {
                self.put(ticket.index, connection);
                return Ok(true);
            }
        }
        transaction.sent += bytes.len() as u64;
        self.give(ticket, connection, rest, now)
    }

    /// The streamed answer is over.
    pub fn finish(&mut self, ticket: Ticket) -> Result<bool> {
        self.own()?;
        if ticket.stream != 0 {
            return self.finish_stream(ticket);
        }
        let now = self.clock.now();
        let Some(mut connection) = self.talking(ticket) else { return Ok(false) };
        let Phase::Transaction(transaction) = &mut connection.phase else { return Ok(false) };
        if transaction.state == State::Chunked {
            connection.out.bytes().extend_from_slice(LAST_CHUNK);
        }
        transaction.state = State::Given;
        transaction.hungry = false;
        self.give(ticket, connection, &[], now)
    }

    /// Hands the connection of a request that is not answered yet to somebody else, after these bytes: what the client has
    /// sent already comes with it. `None` if the client is gone.
    pub fn switch(&mut self, ticket: Ticket, answer: &Answer) -> Result<Option<Conn>> {
        self.own()?;
        let (now, date) = (self.clock.now(), self.date());
        let Some(mut connection) = self.asked(ticket) else { return Ok(None) };
        failpoint("server switch");
        let mut head = Vec::new();
        if let Phase::Transaction(transaction) = &mut connection.phase {
            let exchange =
                Exchange { version: transaction.head.version, head_only: false, keeps_alive: true, date: &date };
            answer.head(&exchange, Ends::Switch, &mut head);
            transaction.status = answer.status;
        }
        if let Phase::Transaction(transaction) = &connection.phase {
            self.log(&connection, transaction, true, now);
        }
        let (stream, input) = self.release(ticket.index, *connection);
        let mut conn = match stream {
            Stream::Plain(wire) => Conn::plain(wire),
            Stream::Tls(tls) => Conn::tls(*tls),
        };
        conn.preload(&input)?;
        // A fresh connection takes a head without a wait; one that does not is not worth more of anybody's time.
        let patience = Deadline::after(SWITCH);
        match conn.send_all(&head, &patience) {
            Ok(()) => Ok(Some(conn)),
            Err(error) if error.is(Kind::ConnectionReset) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The streamed answer cannot be finished: the client must see that it was cut.
    pub fn abort(&mut self, ticket: Ticket) {
        if ticket.stream != 0 {
            return self.abort_stream(ticket);
        }
        if let Some(connection) = self.talking(ticket) {
            if let Phase::Transaction(transaction) = &connection.phase {
                self.log(&connection, transaction, false, self.clock.now());
            }
            self.end(ticket.index, *connection);
        }
    }

    /// True if a streamed answer may be given more; else a [`Note::Hungry`] tells when.
    pub fn has_room(&mut self, ticket: Ticket) -> bool {
        if ticket.stream != 0 {
            return self.stream_has_room(ticket);
        }
        let Some(slot) = self.slots.get_mut(ticket.index).filter(|slot| slot.turn == ticket.turn) else { return true };
        let Some(connection) = slot.connection.as_deref_mut() else { return true };
        let full = connection.out.held() > HIGH;
        if let Phase::Transaction(transaction) = &mut connection.phase {
            transaction.hungry |= full;
        }
        !full
    }

    /// True if little waits for the client of an exchange.
    pub fn is_roomy(&self, ticket: Ticket) -> bool {
        if ticket.stream != 0 {
            return self.stream_is_roomy(ticket);
        }
        let slot = self.slots.get(ticket.index).filter(|slot| slot.turn == ticket.turn);
        slot.and_then(|slot| slot.connection.as_deref()).is_none_or(|connection| connection.out.held() <= HIGH)
    }

    /// True while the client of an exchange is there, as far as is known.
    pub fn is_there(&self, ticket: Ticket) -> bool {
        if ticket.stream != 0 {
            return self.has_stream(ticket);
        }
        let slot = self.slots.get(ticket.index).filter(|slot| slot.turn == ticket.turn);
        slot.is_some_and(|slot| slot.connection.is_some())
    }

    /// Nobody will answer the request: 500; true if that was told to the client. Where a child was forked since it was handed
    /// out, the child may be answering: then this end just lets go.
    pub fn abandon(&mut self, ticket: Ticket) -> bool {
        if self.closed || self.generation != fork::generation() {
            return false;
        }
        if ticket.stream != 0 {
            return self.abandon_stream(ticket);
        }
        let Some(connection) = self.asked(ticket) else { return false };
        let forked = matches!(&connection.phase, Phase::Transaction(transaction) if transaction.forks != fork::forks());
        if forked {
            self.end(ticket.index, *connection);
            return false;
        }
        self.put(ticket.index, connection);
        let Ok(mut answer) = Answer::new(500) else { return false };
        answer.default_field("Content-Type", b"text/plain");
        self.answer(ticket, &answer, Content::Bytes(b"500 Internal Server Error\n")).unwrap_or(false)
    }

    /// The connection of a request that is not answered yet.
    fn asked(&mut self, ticket: Ticket) -> Option<Box<Connection>> {
        self.in_state(ticket, |state| state == State::Asked)
    }

    /// The connection of an answer in pieces.
    fn talking(&mut self, ticket: Ticket) -> Option<Box<Connection>> {
        self.in_state(ticket, |state| !matches!(state, State::Asked | State::Given))
    }

    fn in_state(&mut self, ticket: Ticket, fits: impl Fn(State) -> bool) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(ticket.index).filter(|slot| slot.turn == ticket.turn)?;
        match &slot.connection.as_deref()?.phase {
            Phase::Transaction(transaction) if fits(transaction.state) => slot.connection.take(),
            _ => None,
        }
    }

    /// Writes what the kernel takes, first what waits, then `rest`, which waits as far as it is not taken.
    fn give(&mut self, ticket: Ticket, mut connection: Box<Connection>, rest: &[u8], now: Duration) -> Result<bool> {
        let Ticket { index, .. } = ticket;
        let wrote = write(&mut connection, rest, now);
        let state = match &connection.phase {
            Phase::Transaction(transaction) => transaction.state,
            _ => State::Given,
        };
        match wrote {
            Ok(true) if state == State::Given => match self.over(index, &mut connection, now) {
                Ok(true) => self.put(index, connection),
                _ => self.end(index, *connection),
            },
            Ok(_) => self.put(index, connection),
            Err(error) => {
                if let Phase::Transaction(transaction) = &connection.phase {
                    self.log(&connection, transaction, false, now);
                }
                self.end(index, *connection);
                return if error.is(Kind::ConnectionReset) { Ok(false) } else { Err(error) };
            }
        }
        Ok(true)
    }

    /// An answer is the kernel's to the last byte. False where that was the connection's last.
    pub(super) fn over(&mut self, index: usize, connection: &mut Connection, now: Duration) -> Result<bool> {
        let Phase::Transaction(transaction) = std::mem::replace(&mut connection.phase, Phase::Rest) else {
            return Ok(true);
        };
        self.log(connection, &transaction, true, now);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.turn += 1;
        }
        connection.since = now;
        if !transaction.keeps_alive {
            connection.phase = Phase::Linger;
            connection.stream.finish();
            connection.readable = true;
            self.stir(index, connection);
            return Ok(true);
        }
        if self.stopping.is_some() && connection.input.is_empty() {
            return Ok(false);
        }
        if !connection.input.is_empty() || connection.readable || connection.stream.is_ready() {
            self.stir(index, connection);
        }
        Ok(true)
    }

    pub(super) fn log(&mut self, connection: &Connection, transaction: &Transaction, complete: bool, now: Duration) {
        if self.options.tells_answers {
            self.tell(Note::Answered(Entry {
                remote: connection.remote,
                head: Rc::clone(&transaction.head),
                status: transaction.status,
                bytes: transaction.sent,
                seconds: now.saturating_sub(transaction.began).as_secs_f64(),
                complete,
            }));
        }
    }
}

fn write(connection: &mut Connection, rest: &[u8], now: Duration) -> Result<bool> {
    if !connection.writable || !connection.pump(now)? {
        allocation::append(connection.out.bytes(), rest)?;
        return Ok(false);
    }
    let mut rest = rest;
    while !rest.is_empty() {
        match connection.stream.write(rest)? {
            Some(count) => rest = rest.get(count..).unwrap_or_default(),
            None => {
                connection.writable = false;
                connection.waited.get_or_insert((now, 0));
                allocation::append(connection.out.bytes(), rest)?;
                return Ok(false);
            }
        }
    }
    let done = connection.stream.flush()?;
    connection.writable &= done;
    Ok(done)
}
