//! A stream of Server-Sent Events that reconnects when its connection is lost (WHATWG HTML, section 9.2).
//!
//! Each call has its own deadline; a timeout keeps the received bytes and the connection. The last event id is sent to
//! its own origin only. Every connection asks the grants again.

use crate::{
    client::{Fetch, Options, Step, pool::Pool, upload::Source},
    deadline::{Deadline, pause},
    error::{Error, Kind, Result},
    http::{
        broken,
        events::{Event, Parser},
        request::{Method, Request},
        response::Head,
        shown,
        url::Origin,
    },
    net::Net,
    panics::failpoint,
};
use std::{ops::Range, os::fd::BorrowedFd, time::Duration};

const OP: &str = "events";
/// The wait before coming back, unless the server names another.
const RETRY: Duration = Duration::from_secs(3);
/// Failures in a row double the wait, up to this.
const MAX_RETRY: Duration = Duration::from_secs(60);
const BUFFER: usize = 16 * 1024;
/// Reads that one look may do: a peer that never stops must not hold it.
const MAX_READS: usize = 16;

/// What a stream options.
pub struct EventSourceOptions {
    /// Of each connection; its `timeout` is not used.
    pub options: Options,
    /// Come back when the connection is lost.
    pub reconnect: bool,
    /// The largest event, in bytes.
    pub max_event_bytes: usize,
    /// Where an earlier stream ended; empty for the beginning.
    pub last_id: String,
}

/// An event stream.
pub struct EventSource {
    net: Net,
    pool: Pool,
    request: Request,
    source: Option<Source>,
    options: Options,
    reconnect: bool,
    parser: Parser,
    fetch: Option<Box<Fetch>>,
    buffer: Vec<u8>,
    /// Which part of `buffer` is not parsed yet.
    waiting: Range<usize>,
    /// Who gave the last id.
    origin: Origin,
    /// Until when not to come back.
    rest: Option<Deadline>,
    /// In a row.
    failures: u32,
    state: State,
    /// What [`EventSource::settle`] came upon, until it is told.
    found: Option<Result<Event>>,
    /// The last id before that.
    before: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The server wants no more of it, or a failure was for good.
    Over,
    Closed,
}

impl EventSource {
    /// Connects. A first connection that fails is the caller's to repeat.
    pub fn open(
        net: &Net,
        pool: &Pool,
        mut request: Request,
        source: Option<Source>,
        options: EventSourceOptions,
        deadline: &Deadline,
    ) -> Result<EventSource> {
        let own: [(&str, &[u8]); 3] =
            [("Accept", b"text/event-stream"), ("Accept-Encoding", b"identity"), ("Cache-Control", b"no-store")];
        for (name, value) in own {
            if request.wants(name) {
                request.fields_mut().push(name.as_bytes(), value);
            }
        }
        let mut events = EventSource {
            net: net.clone(),
            pool: pool.clone(),
            origin: request.url.origin().clone(),
            // Asking twice for what changes something is not ours to decide.
            reconnect: options.reconnect && request.method == Method::GET,
            request,
            source,
            options: options.options,
            parser: Parser::starting_at(options.max_event_bytes, options.last_id),
            fetch: None,
            buffer: Vec::new(),
            waiting: 0..0,
            rest: None,
            failures: 0,
            state: State::Open,
            found: None,
            before: String::new(),
        };
        events.connect(deadline)?;
        Ok(events)
    }

    /// The next event; `None` once the stream is over.
    pub fn next(&mut self, deadline: &Deadline) -> Result<Option<Event>> {
        loop {
            match self.state {
                State::Open | State::Over if self.found.is_some() => return self.found.take().transpose(),
                State::Open => self.net.alive().map_err(|err| err.op(OP))?,
                State::Over => return Ok(None),
                State::Closed => return Err(Error::new(Kind::Closed, "the event stream is closed").op(OP)),
            }
            if let Some(event) = self.parse()? {
                return Ok(Some(event));
            }
            let Some(fetch) = &mut self.fetch else {
                self.connect_again(deadline)?;
                continue;
            };
            self.buffer.resize(BUFFER, 0);
            match fetch.read_within(&mut self.buffer, deadline) {
                Ok(0) => self.lost(None)?,
                Ok(count) => (self.waiting, self.failures) = (0..count, 0),
                Err(err) if err.is(Kind::Timeout) && deadline.is_past() => return Err(err.op(OP)),
                Err(err) => self.lost(Some(err))?,
            }
        }
    }

    /// The next event of what was read.
    fn parse(&mut self) -> Result<Option<Event>> {
        while let Some(waiting) = self.buffer.get(self.waiting.clone()).filter(|waiting| !waiting.is_empty()) {
            failpoint("event");
            match self.parser.feed(waiting) {
                Ok((used, event)) => {
                    self.waiting.start += used;
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Err(err) => return Err(self.give_up(err).op(OP)),
            }
        }
        Ok(None)
    }

    /// Reads what is there without a wait: true if [`EventSource::next`] has something to tell, or a lost connection is to be
    /// made again.
    pub fn settle(&mut self) -> bool {
        for _ in 0..MAX_READS {
            if self.found.is_some() || self.state != State::Open || self.net.alive().is_err() {
                return true;
            }
            let before = self.parser.last_id().to_owned();
            if let Some(found) = self.parse().transpose() {
                self.before = before;
                self.found = Some(found);
                return true;
            }
            let Some(fetch) = &mut self.fetch else {
                return self.rest.as_ref().is_none_or(Deadline::is_past);
            };
            self.buffer.resize(BUFFER, 0);
            let lost = match fetch.read_now(&mut self.buffer) {
                Ok(None) => {
                    self.buffer = Vec::new();
                    return false;
                }
                Ok(Some(0)) => self.lost(None),
                Ok(Some(count)) => {
                    (self.waiting, self.failures) = (0..count, 0);
                    Ok(())
                }
                Err(err) => self.lost(Some(err)),
            };
            if let Err(err) = lost {
                self.before = self.parser.last_id().to_owned();
                self.found = Some(Err(err));
            }
        }
        false
    }

    /// What stirs when there are more events, while there is a connection.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fetch.as_deref()?.fd()
    }

    /// How long a lost connection stays lost.
    pub fn expiry(&self) -> Option<Duration> {
        self.rest.as_ref().filter(|_| self.fetch.is_none())?.left()
    }

    /// True once the script has ended it.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// What `Last-Event-ID` would say; empty if no event had an id.
    pub fn last_id(&self) -> &str {
        if self.found.is_some() { &self.before } else { self.parser.last_id() }
    }

    /// The wait before coming back.
    pub fn retry(&self) -> Duration {
        self.parser.retry().unwrap_or(RETRY)
    }

    /// The URL that the stream came from last, with redirects followed.
    pub fn url(&self) -> String {
        self.fetch.as_deref().map_or(&self.request, Fetch::request).url.to_text()
    }

    /// Ends it. Fine more than once.
    pub fn close(&mut self) {
        (self.fetch, self.found, self.state) = (None, None, State::Closed);
    }

    /// Waits as long as the server asked for, then connects.
    fn connect_again(&mut self, deadline: &Deadline) -> Result<()> {
        if let Some(left) = self.rest.as_ref().and_then(Deadline::left) {
            let whole = deadline.left();
            pause(left.min(whole.unwrap_or(left)), OP)?;
            if whole.is_some_and(|whole| whole < left) {
                return Err(deadline.error("wait to reconnect").op(OP));
            }
        }
        self.rest = None;
        match self.connect(deadline) {
            Err(err) if err.is(Kind::Timeout) && deadline.is_past() => Err(err.op(OP)),
            Err(err) if self.state == State::Open => self.lost(Some(err)),
            done => done,
        }
    }

    fn connect(&mut self, deadline: &Deadline) -> Result<()> {
        let mut options = self.options.clone();
        let id = self.parser.last_id();
        if !id.is_empty() {
            options.bound = Some((self.origin.clone(), "Last-Event-ID", id.into()));
        }
        let mut fetch =
            Fetch::new(&self.net, &self.pool, self.request.clone(), self.source.clone(), options).under(deadline);
        loop {
            match fetch.step()? {
                Step::Head => break,
                Step::Sent => (),
                Step::Piece => return Err(Error::new(Kind::Socket, "no piece of a body can be asked for")),
            }
        }
        let Some(head) = fetch.head() else { return Err(broken("no answer")) };
        if head.status == 204 {
            self.state = State::Over;
            return Ok(());
        }
        if let Err(err) = check(head) {
            let url = fetch.request().url.public();
            return Err(self.give_up(err).op(OP).url(url));
        }
        let origin = fetch.request().url.origin();
        if *origin != self.origin {
            // The id is somebody else's.
            self.parser.forget_id();
            self.origin = origin.clone();
        }
        self.fetch = Some(fetch);
        Ok(())
    }

    /// The connection is gone. An error if that is the end.
    fn lost(&mut self, why: Option<Error>) -> Result<()> {
        (self.fetch, self.waiting) = (None, 0..0);
        self.parser.restart();
        let passing = |err: &Error| {
            matches!(
                err.kind(),
                Kind::ConnectionReset | Kind::ConnectionRefused | Kind::DnsFailure | Kind::Timeout | Kind::Protocol
            )
        };
        match why {
            Some(err) if !self.reconnect || !passing(&err) => return Err(self.give_up(err)),
            None if !self.reconnect => self.state = State::Over,
            _ => {
                let wait = self.retry();
                let longer = wait.saturating_mul(2u32.saturating_pow(self.failures)).min(MAX_RETRY.max(wait));
                self.rest = Some(Deadline::after(longer).start());
                self.failures = self.failures.saturating_add(1);
            }
        }
        Ok(())
    }

    fn give_up(&mut self, err: Error) -> Error {
        (self.fetch, self.state) = (None, State::Over);
        err
    }
}

/// Only a 200 of the right type is an event stream.
fn check(head: &Head) -> Result<()> {
    if head.status != 200 {
        return Err(broken(format!("the response has status {}; an event stream has 200", head.status)));
    }
    let essence = head.fields.first("content-type").and_then(|value| value.split(|b| *b == b';').next());
    let essence = essence.unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"text/event-stream") {
        return Err(broken(format!("the response has Content-Type {}, not text/event-stream", shown(essence))));
    }
    Ok(())
}
