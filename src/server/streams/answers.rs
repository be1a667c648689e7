//! Requests are handed out, and answers given to streams.

use super::{ENOUGH, Exchange, Streams};
use crate::{
    allocation,
    error::{Error, Kind, Result},
    fork,
    http::{
        answer::{Answer, Ends, Exchange as Known},
        http2::Reason,
        response::Version,
    },
    panics::failpoint,
    server::{Content, Engine, Handing, Request, State, Ticket},
};

/// A body up to here takes no way around.
const TOGETHER: usize = 32 * 1024;

impl Engine {
    /// True if a request that waits may be handed out.
    pub(in crate::server) fn may_hand_out(&self, ticket: Ticket) -> bool {
        let streams = self.all_streams(ticket).filter(|streams| !streams.full && !streams.is_frozen());
        streams.is_some_and(|streams| streams.exchanges.contains_key(&ticket.stream))
    }

    /// Whether a request that waited may be handed out: it may have been taken back, be another process's, or have to wait until its
    /// client has taken more of other answers.
    pub(in crate::server) fn hand_out(&mut self, request: Request) -> Handing {
        let Some(streams) = self.streams(request.ticket) else { return Handing::Gone };
        if streams.is_frozen() {
            return Handing::Later(request);
        }
        let full = streams.full;
        let Some(one) = streams.exchanges.get_mut(&request.ticket.stream).filter(|one| one.is_asked()) else {
            return Handing::Gone;
        };
        if full {
            streams.withheld.push(request);
            return Handing::Gone;
        }
        one.handed = true;
        Handing::Now(request)
    }

    /// [`Engine::is_roomy`] for a stream.
    pub(in crate::server) fn stream_is_roomy(&self, ticket: Ticket) -> bool {
        let Some(streams) = self.all_streams(ticket) else { return true };
        streams.exchanges.get(&ticket.stream).is_none_or(|one| one.out.held() <= streams.high())
    }

    /// [`Engine::has_room`] for a stream.
    pub(in crate::server) fn stream_has_room(&mut self, ticket: Ticket) -> bool {
        let Some(streams) = self.streams(ticket) else { return true };
        let high = streams.high();
        let Some(one) = streams.exchanges.get_mut(&ticket.stream) else { return true };
        let full = one.out.held() > high;
        one.transaction.hungry |= full;
        !full
    }

    /// [`Engine::answer`] for a stream.
    pub(in crate::server) fn answer_stream(
        &mut self,
        ticket: Ticket,
        answer: &Answer,
        content: Content<'_>,
    ) -> Result<bool> {
        let (now, date) = (self.clock.now(), self.date());
        let Some(streams) = self.streams(ticket) else { return Ok(false) };
        if !streams.exchanges.get(&ticket.stream).is_some_and(Exchange::is_asked) {
            return Ok(false);
        }
        failpoint("server answer");
        streams.claim();
        let Streams { session, exchanges, leaving, .. } = streams;
        let Some(one) = exchanges.get_mut(&ticket.stream) else { return Ok(false) };
        let head_only = &*one.transaction.head.method == "HEAD";
        let known = Known { version: Version::Http2, head_only, keeps_alive: true, date: &date };
        let ends = match &content {
            Content::Bytes(bytes) => Ends::After(bytes.len() as u64),
            Content::File(_, _, length) => Ends::After(*length),
            Content::Pieces | Content::Events => Ends::Chunked,
        };
        let bodiless = answer.is_bodiless(&known) || ends == Ends::After(0);
        match session.respond(ticket.stream, answer, &known, ends, bodiless) {
            Ok(true) => (),
            // Its end is among the events.
            Ok(false) => return Ok(false),
            Err(why) => {
                let _ = self.fail_stream(ticket);
                return Err(Error::new(Kind::Protocol, why.0));
            }
        }
        one.transaction.status = answer.status;
        one.transaction.state = State::Given;
        one.since = now;
        let (mut all, mut lacking) = (bodiless, None);
        match content {
            _ if bodiless => (),
            Content::Pieces | Content::Events => {
                one.transaction.state = State::Chunked;
                one.transaction.watched = matches!(content, Content::Events);
            }
            Content::Bytes(bytes) => {
                one.transaction.sent = bytes.len() as u64;
                let fits = bytes.len() <= TOGETHER
                    && session.pending() < ENOUGH
                    && session.window(ticket.stream, bytes.len()) == bytes.len();
                if fits {
                    session.data(ticket.stream, bytes, true);
                    all = true;
                } else {
                    lacking = allocation::append(one.out.bytes(), bytes).err();
                }
            }
            Content::File(file, from, length) => {
                one.transaction.sent = length;
                one.out.put_file(file, from, length);
            }
        }
        if let Some(error) = lacking {
            self.abort_stream(ticket);
            return Err(error);
        }
        if all && let Some(one) = exchanges.remove(&ticket.stream) {
            leaving.push_back((one.transaction, one.claim, true));
        }
        if answer.closes() {
            streams.drain();
        }
        streams.session.poll();
        self.settle(ticket, now)
    }

    /// An answer that cannot be given: the client gets 500.
    fn fail_stream(&mut self, ticket: Ticket) -> Result<bool> {
        let Ok(mut answer) = Answer::new(500) else { return Ok(false) };
        answer.default_field("Content-Type", b"text/plain");
        self.answer_stream(ticket, &answer, Content::Bytes(b"500 Internal Server Error\n"))
    }

    /// [`Engine::piece`] for a stream.
    pub(in crate::server) fn stream_piece(&mut self, ticket: Ticket, bytes: &[u8]) -> Result<bool> {
        let now = self.clock.now();
        let Some(one) = self.streams(ticket).and_then(|streams| streams.exchanges.get_mut(&ticket.stream)) else {
            return Ok(false);
        };
        if one.transaction.state != State::Chunked {
            return Ok(true);
        }
        failpoint("server piece");
        if one.out.is_empty() {
            // The client has taken all that there was, however long ago: its time begins now.
            one.since = now;
        }
        allocation::append(one.out.bytes(), bytes)?;
        one.transaction.sent += bytes.len() as u64;
        self.settle(ticket, now)
    }

    /// [`Engine::finish`] for a stream.
    pub(in crate::server) fn finish_stream(&mut self, ticket: Ticket) -> Result<bool> {
        let now = self.clock.now();
        let Some(one) = self.streams(ticket).and_then(|streams| streams.exchanges.get_mut(&ticket.stream)) else {
            return Ok(false);
        };
        one.transaction.state = State::Given;
        one.transaction.hungry = false;
        self.settle(ticket, now)
    }

    /// [`Engine::abort`] for a stream.
    pub(in crate::server) fn abort_stream(&mut self, ticket: Ticket) {
        let now = self.clock.now();
        let Some(streams) = self.streams(ticket) else { return };
        let over = streams.exchanges.remove(&ticket.stream);
        streams.session.reset(ticket.stream, Reason::INTERNAL_ERROR);
        streams.session.poll();
        if let (Some(one), Some(connection)) = (over, self.take(ticket.index)) {
            self.log(&connection, &one.transaction, false, now);
            self.put(ticket.index, connection);
        }
        let _ = self.settle(ticket, now);
    }

    /// Whether nobody will answer: [`Engine::abandon`] for a stream. Where a child may be answering, this end lets go of all of the
    /// connection.
    pub(in crate::server) fn abandon_stream(&mut self, ticket: Ticket) -> bool {
        if !self.stream(ticket).is_some_and(Exchange::is_asked) {
            return false;
        }
        if self.stream(ticket).is_some_and(|one| one.transaction.forks != fork::forks()) {
            self.drop_connection(ticket.index);
            return false;
        }
        self.fail_stream(ticket).unwrap_or(false)
    }
}
