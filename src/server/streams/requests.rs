//! What a session says has happened: requests are met, and refused or handed on.

use super::{Coming, Exchange, Lack, Streams};
use crate::{
    fork,
    http::{
        answer::{Answer, Ends, Exchange as Known, reason},
        http2::{
            Reason,
            serve::{Event, STREAMS},
        },
        incoming::{Framing, Head, Refusal},
        response::Version,
    },
    server::{
        Body, Connection, Engine, Note, Ticket, Transaction,
        body::{Claim, Share},
        connection::Out,
    },
};
use std::{rc::Rc, time::Duration};

impl Engine {
    /// What has happened to a stream; true if the client is to hear something of us.
    pub(super) fn hear(
        &mut self,
        index: usize,
        connection: &mut Connection,
        streams: &mut Streams,
        event: Event,
        now: Duration,
    ) -> bool {
        match event {
            Event::Request { stream, head, ends } => {
                let head = Rc::from(head);
                let met = self.meet(connection, streams, stream, &head, now);
                if met && ends {
                    self.complete_stream(index, connection, streams, stream);
                }
                return !met || head.expects;
            }
            Event::Refused { stream, refusal, head_only } => {
                if self.admit(connection, streams, now) {
                    self.refuse_stream(connection, streams, stream, None, head_only, refusal);
                }
            }
            Event::Data(id, bytes) => {
                let o = &self.options;
                let share = Share::new(o.memory, o.buffered);
                let Some(one) = streams.exchanges.get_mut(&id) else { return true };
                let Some(coming) = &mut one.coming else { return true };
                let taken = match coming.body.len() + bytes.len() as u64 > o.limits.body {
                    true => Err(Refusal::new(413, "the body is longer than max_body_bytes")),
                    false => coming.body.push(&bytes, share, o.spill.as_ref()),
                };
                if let Err(refusal) = taken {
                    let one = streams.exchanges.remove(&id);
                    self.refuse_stream(connection, streams, id, one, false, refusal);
                }
            }
            Event::End(id) => self.complete_stream(index, connection, streams, id),
            Event::Reset(id) => {
                connection.since = now;
                streams.withheld.retain(|request| request.ticket.stream != id);
                if let Some(one) = streams.exchanges.remove(&id) {
                    self.lose(index, connection, id, &one, now);
                }
            }
        }
        true
    }

    /// A request has a head; false if that is the end of it.
    fn meet(
        &mut self,
        connection: &mut Connection,
        streams: &mut Streams,
        id: u32,
        head: &Rc<Head>,
        now: Duration,
    ) -> bool {
        if !self.admit(connection, streams, now) {
            return false;
        }
        let weight = head.weight();
        let room = streams.has_room_for(weight, head, self);
        let mut claim = Claim::new(&self.heads, &streams.heads);
        claim.add(weight);
        let transaction = Transaction::new(Rc::clone(head), now, true);
        let body = Body::of(Claim::new(&self.held, &streams.bodies));
        let coming = Some(Box::new(Coming { body, began: now }));
        let mut one = Exchange { transaction, claim, coming, handed: false, out: Out::default(), since: now };
        match room {
            Ok(()) => (),
            Err(Lack::Own(why)) => {
                // It was not looked at: the client may ask again once others are answered (RFC 9113 section 8.7).
                streams.session.reset(id, Reason::REFUSED_STREAM);
                self.tell_refusal(connection, Some(&one), Refusal::new(503, why));
                return false;
            }
            Err(Lack::All) => {
                let why = "the heads together are longer than a quarter of max_buffered_bytes";
                self.refuse_stream(connection, streams, id, Some(one), false, Refusal::new(503, why));
                return false;
            }
        }
        let fits = self.judge(connection, head, &mut one);
        match fits {
            Ok(()) => {
                if head.expects {
                    streams.session.go_on(id);
                }
                streams.exchanges.insert(id, one);
                true
            }
            Err(refusal) => {
                self.refuse_stream(connection, streams, id, Some(one), false, refusal);
                false
            }
        }
    }

    /// Counts a request; false where the connection ends with it.
    fn admit(&self, connection: &mut Connection, streams: &mut Streams, now: Duration) -> bool {
        connection.served = connection.served.saturating_add(1);
        connection.since = now;
        if connection.served >= self.options.requests {
            streams.drain();
        }
        if connection.served > self.options.requests.saturating_add(STREAMS) {
            // It was told to go, and has had the time to hear it.
            streams.session.go_away(Reason::ENHANCE_YOUR_CALM);
            return false;
        }
        true
    }

    fn judge(&self, connection: &Connection, head: &Head, one: &mut Exchange) -> std::result::Result<(), Refusal> {
        let o = &self.options;
        let host = head.target.host.as_deref();
        if host.zip(connection.stream.tls()).is_some_and(|(host, tls)| !tls.serves(host)) {
            return Err(Refusal::new(421, "the connection's SNI names another host"));
        }
        let Some(coming) = &mut one.coming else { return Ok(()) };
        match head.framing {
            Framing::Length(length) if length > o.memory => coming.body.spill(o.spill.as_ref()),
            _ => Ok(()),
        }
    }

    /// A request is whole: it joins the queue.
    fn complete_stream(&mut self, index: usize, connection: &mut Connection, streams: &mut Streams, id: u32) {
        let Some(one) = streams.exchanges.get_mut(&id) else { return };
        let Some(coming) = one.coming.take() else { return };
        let mut body = coming.body;
        if let Err(refusal) = body.rewind() {
            let one = streams.exchanges.remove(&id);
            return self.refuse_stream(connection, streams, id, one, false, refusal);
        }
        one.transaction.forks = fork::forks();
        let ticket = Ticket { stream: id, ..self.ticket(index) };
        self.hand(connection, ticket, Rc::clone(&one.transaction.head), body);
    }

    /// Says why on the stream; the others go on.
    pub(super) fn refuse_stream(
        &mut self,
        connection: &Connection,
        streams: &mut Streams,
        id: u32,
        one: Option<Exchange>,
        head_only: bool,
        refusal: Refusal,
    ) {
        let date = self.date();
        let message = format!("{} {}\n", refusal.status, reason(refusal.status));
        let head = one.as_ref().map(|one| &one.transaction.head);
        let head_only = head_only || head.is_some_and(|head| &*head.method == "HEAD");
        let known = Known { version: Version::Http2, head_only, keeps_alive: true, date: &date };
        if let Ok(mut answer) = Answer::new(refusal.status) {
            answer.default_field("Content-Type", b"text/plain");
            let bodiless = answer.is_bodiless(&known);
            let ends = Ends::After(message.len() as u64);
            if streams.session.respond(id, &answer, &known, ends, bodiless).is_ok_and(|there| there) && !bodiless {
                streams.session.data(id, message.as_bytes(), true);
            }
        }
        self.tell_refusal(connection, one.as_ref(), refusal);
    }

    fn tell_refusal(&mut self, connection: &Connection, one: Option<&Exchange>, refusal: Refusal) {
        if self.options.tells_refusals {
            let length = one.and_then(|one| one.transaction.head.content_length());
            let in_memory = one.and_then(|one| one.coming.as_ref()).is_some_and(|it| it.body.bytes().is_some());
            let spill = refusal.status == 413 && in_memory && length.is_none_or(|n| n <= self.options.limits.body);
            self.tell(Note::Refused { remote: connection.remote, refusal, length, spill });
        }
    }
}
