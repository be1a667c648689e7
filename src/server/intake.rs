//! Incoming requests: bytes go to the reader, heads are checked, bodies are stored, refusals are reported.

use super::{
    Body, Connection, Engine, Note, Phase, Reading, Request, Ticket, Transaction, body::Share, streams::Streams,
};
use crate::{
    error::Result,
    http::{
        answer::{Answer, CONTINUE, Ends, Exchange, reason},
        incoming::{Event, Framing, Head, Refusal},
        response::Version,
    },
    panics::failpoint,
};
use std::{rc::Rc, time::Duration};

/// One read from the kernel.
const READ: usize = 64 * 1024;
/// Reads of one connection in a row: then it is others' turn.
const TURNS: usize = 16;

impl Engine {
    /// Reads a request as far as it is there.
    pub(super) fn read(&mut self, index: usize, connection: &mut Connection, now: Duration) -> Result<bool> {
        failpoint("server read");
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
                Phase::Streams(_) => return self.converse(index, connection, now),
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
                        let why = "the connection's SNI names another host";
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
                // Over TLS that is decided by ALPN (RFC 9113 section 3.3), and nowhere after a request.
                Ok(Event::Preface(used)) => {
                    let may = connection.served == 0 && connection.stream.tls().is_none();
                    if let Some(streams) = may.then(|| Streams::open(self, true, now)).flatten() {
                        connection.phase = Phase::Streams(streams);
                        return Ok(at + used);
                    }
                    Err(Refusal::new(505, "HTTP/2 is not offered here"))
                }
                Ok(Event::Data(skip, length)) => {
                    let data = rest.get(skip..skip + length).unwrap_or_default();
                    at += skip + length;
                    let share = Share::new(self.options.memory, self.options.buffered);
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
        failpoint("server request");
        let Reading { head: Some(head), body, began, .. } = *reading else { return };
        connection.served += 1;
        let keeps_alive = head.keeps_alive && connection.served < self.options.requests;
        connection.since = now;
        connection.phase = Phase::Transaction(Box::new(Transaction::new(Rc::clone(&head), began, keeps_alive)));
        self.hand(connection, self.ticket(index), head, body);
    }

    /// A whole request goes to the script, once that asks for it.
    pub(super) fn hand(&mut self, connection: &Connection, ticket: Ticket, head: Rc<Head>, body: Body) {
        self.numbers += 1;
        let request = Request {
            ticket,
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
    pub(super) fn refuse(
        &mut self,
        _: usize,
        connection: &mut Connection,
        refusal: Refusal,
        now: Duration,
    ) -> Result<()> {
        failpoint("server refusal");
        let (head, spill) = match std::mem::replace(&mut connection.phase, Phase::Linger) {
            Phase::Read(reading) => (reading.head, reading.body.lacks_spill()),
            _ => (None, false),
        };
        connection.since = now;
        connection.input = Vec::new();
        let date = self.date();
        let message = format!("{} {}\n", refusal.status, reason(refusal.status));
        let exchange = Exchange {
            version: head.as_ref().map_or(Version::Http11, |head| head.version),
            head_only: head.as_ref().is_some_and(|head| &*head.method == "HEAD"),
            keeps_alive: false,
            date: &date,
        };
        if let Ok(mut answer) = Answer::new(refusal.status) {
            answer.default_field("Content-Type", b"text/plain");
            let out = connection.out.bytes();
            answer.head(&exchange, Ends::After(message.len() as u64), out);
            if !answer.is_bodiless(&exchange) {
                out.extend_from_slice(message.as_bytes());
            }
        }
        if self.options.tells_refusals {
            let length = head.as_ref().and_then(|head| head.content_length());
            self.tell(Note::Refused { remote: connection.remote, refusal, length, spill });
        }
        if connection.pump(now)? {
            connection.stream.finish();
        }
        Ok(())
    }

    /// Drops what the client still sends, until it has read our last words; false once it has.
    pub(super) fn discard(&mut self, index: usize, connection: &mut Connection) -> Result<bool> {
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
}
