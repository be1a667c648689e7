//! One fetch, from the gate to the last byte of the body: the loop that speaks HTTP over connections.
//!
//! Works in steps: the caller passes pieces of the request's body and takes pieces of the response's body; there are no
//! callbacks. Every hop asks the grants again, and one deadline spans all hops. A connection in an unknown state is
//! closed, never reused.

pub mod batch;
mod connector;
mod decision;
pub mod event_source;
mod options;
pub mod pool;
mod reading;
mod retrying;
#[cfg(feature = "http2")]
pub mod shared;
pub mod stream;
#[cfg(feature = "http2")]
mod together;
mod transaction;
pub mod upload;
pub mod websocket;

pub use options::{Http2, Options, Timings};
pub use reading::came_short;
#[cfg(feature = "http2")]
pub use together::first_answered;

use crate::{
    client::{
        connector::{Connected, Connector, credentials},
        decision::{Attempt, Next},
        pool::Pool,
        retrying::dice,
        transaction::{Transaction, limited},
        upload::{Source, Upload},
    },
    deadline::{Deadline, now, wall},
    error::{Error, Kind, Result},
    http::{
        auth::{Auth, BodyHash},
        body::{Asked, Framing},
        broken,
        decode::{self, Decoder},
        fields::Fields,
        record::Record,
        redirect::Hop,
        request::{Draft, Form, Request},
        response::Head,
        url::Scheme,
    },
    net::Net,
    tls::PeerCert,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const OP: &str = "fetch";

/// Bytes of a redirect's own body that are read to keep the connection; beyond, closing it is cheaper.
const DRAIN: u64 = 64 * 1024;
/// And for how long.
const DRAIN_TIME: Duration = Duration::from_millis(100);
/// How long a server may take to say 100 Continue; then the body goes anyway.
const EXPECT: Duration = Duration::from_secs(1);

/// What [`Fetch::step`] got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next piece of the request's body is asked for: [`Fetch::supply`] it, then step on.
    Piece,
    /// A piece of the request's body went; only where [`Options::paced`] asks for it.
    Sent,
    /// The head of the response is here, and its body can be read.
    Head,
}

/// A request under way, or a response being read. Lives in a box, and what few requests need or what ends with the answer
/// in further ones: responses lie about until they are collected.
pub struct Fetch {
    net: Net,
    pool: Pool,
    options: Arc<Options>,
    deadline: Deadline,
    request: Request,
    upload: Option<Box<Upload>>,
    /// The credentials at work, until a redirect leads to another origin.
    auth: Option<Box<Auth>>,
    /// Those for the proxy that forwards this hop's request.
    gateway: Option<Box<Auth>>,
    transaction: Option<Box<Transaction>>,
    /// Between the connection and the reader, where the body is coded.
    decoder: Option<Box<decode::Reader>>,
    at: At,
    head: Option<Box<Head>>,
    framing: Option<Framing>,
    /// None without a field.
    trailers: Option<Box<Fields>>,
    cert: Option<Arc<PeerCert>>,
    chain: Vec<String>,
    timings: Timings,
    started: Instant,
    /// When the answer that counts was asked for: later than `started` once [`Fetch::answer_again`] made the request anew.
    asked: Instant,
    /// When the phase that is being timed began.
    since: Instant,
    /// This hop found its reused connection dead and opened one of its own.
    retried: bool,
    /// This hop's server wants HTTP/1.1.
    http1: bool,
    /// Some hop got a connection.
    reached: bool,
    /// Tries that the option `retry` added.
    tries: u32,
    /// The pause before the next of them.
    nap: Option<Duration>,
    records: Vec<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Open,
    /// The head is out, and the server is to say whether it wants the body.
    Expecting,
    Sending,
    Waiting,
    Body,
    Failed,
    /// Ended from outside before the end of the body.
    Closed,
}

impl Fetch {
    /// Nothing happens before the first [`Fetch::step`]. `source` is the body that `request.payload` speaks of.
    pub fn new(
        net: &Net,
        pool: &Pool,
        request: Request,
        source: Option<Source>,
        options: impl Into<Arc<Options>>,
    ) -> Box<Fetch> {
        let (started, options) = (now(), options.into());
        // Written where it stays: `Box::new` would make it elsewhere and move it byte by byte.
        let place = Box::new_uninit();
        let fetch = Fetch {
            net: net.clone(),
            pool: pool.clone(),
            deadline: Deadline::started(options.timeout, started),
            auth: options.auth.as_ref().map(|who| Box::new(options.logins.auth(request.url.origin(), who))),
            gateway: None,
            options,
            request,
            upload: source.map(|source| Box::new(Upload::new(source))),
            transaction: None,
            decoder: None,
            at: At::Open,
            head: None,
            framing: None,
            trailers: None,
            cert: None,
            chain: Vec::new(),
            timings: Timings::default(),
            started,
            asked: started,
            since: started,
            retried: false,
            http1: false,
            reached: false,
            tries: 0,
            nap: None,
            records: Vec::new(),
        };
        Box::write(place, fetch)
    }

    /// Starts the clock anew, inside `whole`: for a fetch that had to wait for its turn.
    pub fn begin(&mut self, whole: &Deadline) {
        self.deadline = whole.within(self.options.timeout).start();
        self.started = now();
        self.asked = self.started;
    }

    /// Under this deadline, in place of [`Options::timeout`].
    pub fn under(mut self: Box<Self>, deadline: &Deadline) -> Box<Fetch> {
        self.deadline = deadline.clone().start();
        self
    }

    /// Goes on until the response's head is here or a piece of body is asked for.
    pub fn step(&mut self) -> Result<Step> {
        loop {
            if let Some(step) = self.advance()? {
                return Ok(step);
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Step>> {
        self.usable()?;
        let done = match self.at {
            At::Open => self.open(),
            At::Expecting => self.expect(),
            At::Sending => match self.send() {
                Ok(Some(step)) => return Ok(Some(step)),
                other => other.map(|_| ()),
            },
            At::Waiting => self.wait(),
            At::Body => return Ok(Some(Step::Head)),
            At::Failed => Err(Error::new(Kind::Socket, "the request failed before")),
            At::Closed => Err(closed()),
        };
        if let Err(err) = done {
            if self.may_retry(&err) {
                self.http1 |= self.transaction.as_ref().is_some_and(|transaction| transaction.wants_http1());
                self.again();
                self.retried = true;
            } else if let Err(err) = self.retry_later(err) {
                return Err(self.fail(err));
            }
        }
        Ok(None)
    }

    /// Sends a piece of the request's body; an empty one is its end.
    pub fn supply(&mut self, piece: &[u8]) -> Result<()> {
        let done = self.supply_inner(piece);
        done.map_err(|err| self.fail(err))
    }

    fn supply_inner(&mut self, piece: &[u8]) -> Result<()> {
        self.usable()?;
        let (At::Sending, Some(upload), Some(transaction)) = (self.at, &mut self.upload, &mut self.transaction) else {
            return Err(Error::new(Kind::Socket, "no piece of the body was asked for"));
        };
        self.deadline.check("send the body")?;
        upload.given(piece)?;
        if transaction.push(piece, &self.deadline)? || upload.is_over() {
            self.sent();
        }
        Ok(())
    }

    /// The response's head, once [`Fetch::step`] said so.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_deref()
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The request that was answered: after redirects, not the first one.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The URLs that answered with a redirect, first to last.
    pub fn chain(&self) -> &[String] {
        &self.chain
    }

    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// True once there was a connection: before that, not a byte of the request has left.
    pub fn reached(&self) -> bool {
        self.reached
    }

    /// The certificate of the server that answered.
    pub fn cert(&self) -> Option<&Arc<PeerCert>> {
        self.cert.as_ref()
    }

    /// Fields after a chunked body; empty until it was read to its end.
    pub fn trailers(&self) -> &Fields {
        static NONE: Fields = Fields::new();
        self.trailers.as_deref().unwrap_or(&NONE)
    }

    /// An error once the capability was revoked, or in a child of the process that made the connection.
    fn usable(&self) -> Result<()> {
        self.net.alive()?;
        match &self.transaction {
            Some(transaction) if !transaction.is_ours() => {
                Err(Error::new(Kind::Socket, "a request under way stays with the process that made it"))
            }
            _ => Ok(()),
        }
    }

    /// Ends it here, as its reader wishes: what was not read is lost, and the connection with it. Reads find the end.
    pub fn close(&mut self) {
        (self.transaction, self.decoder) = (None, None);
    }

    /// Ends it for its reader, who has not asked for that: reads fail from now on, unless the body was read to its end.
    pub fn abandon(&mut self) {
        if !self.is_over() {
            self.at = At::Closed;
        }
        self.close();
    }

    /// The gate, then a connection, then the request's head.
    fn open(&mut self) -> Result<()> {
        self.sleep()?;
        let asked = now();
        let connector = Connector {
            op: OP,
            net: &self.net,
            pool: &self.pool,
            options: &self.options,
            origin: self.request.url.origin(),
            // After one stale connection the others are as old: take a new one.
            fresh: self.retried,
            upgrade: self.request.fields().has("upgrade"),
            http1: self.http1,
            deadline: &limited(&self.deadline, self.options.connect_timeout),
            now: asked,
        };
        let Connected { link, reused, form } = connector.connect(&mut self.timings)?;
        self.reached = true;
        self.timings.reused = reused;
        self.cert = link.cert().cloned();
        // Taking an idle connection takes no time that a clock would have to tell.
        self.since = if reused { asked } else { now() };
        let mut head = self.request.draft(form);
        let forwarded = self.options.proxy.as_ref().filter(|_| form == Form::Absolute);
        self.gateway = match (forwarded, self.gateway.take()) {
            (Some(proxy), None) => self.options.logins.proxy(proxy).map(Box::new),
            (known, auth) => auth.filter(|_| known.is_some()),
        };
        let method = self.request.method.as_str();
        if let Some(proxy) = forwarded {
            if let Some(auth) = self.gateway.as_deref_mut() {
                let body = signed(auth, self.upload.as_deref_mut(), &self.deadline)?;
                let value = credentials(auth, method, &self.request.url.absolute_form(), body)?;
                value.iter().for_each(|value| head.own("Proxy-Authorization", value));
            }
            for (name, value) in proxy.headers() {
                head.own(&String::from_utf8_lossy(name), value);
            }
        }
        if let Some(auth) = self.auth.as_deref_mut() {
            let body = signed(auth, self.upload.as_deref_mut(), &self.deadline)?;
            // A proxy that forwards leaves the origin its own form of the target.
            let value = credentials(auth, method, self.request.url.target(), body)?;
            value.iter().for_each(|value| head.own("Authorization", value));
        }
        introduce(&self.request, &mut head, &self.options);
        let head = head.end();
        let asked = if self.request.method.as_str() == "HEAD" { Asked::Head } else { Asked::Other };
        let expecting = self.upload.is_some() && self.expects();
        let secure = self.request.url.origin().scheme == Scheme::Https;
        let chunked = self.request.payload.as_ref().is_some_and(|payload| payload.length.is_none());
        let transaction = self.transaction.insert(Transaction::new(link, secure, reused, asked, chunked));
        if self.options.record {
            self.records.push(Record::new(wall(), self.request.method.as_str(), &self.request.url, &head));
        }
        let piece = match self.upload.as_mut().filter(|_| !expecting) {
            Some(upload) => upload.piece()?,
            None => &[],
        };
        self.at = if expecting { At::Expecting } else { At::Sending };
        if transaction.start(head, piece, &self.deadline)? {
            self.sent();
        }
        Ok(())
    }

    /// True if a 401, or a 407 of a proxy that forwards, is worth an answer, and the request can be made again.
    fn is_challenge(&mut self, head: &Head) -> bool {
        if !self.is_repeatable() {
            return false;
        }
        let (auth, field) = match head.status {
            401 if !self.request.fields().has("authorization") => (self.auth.as_deref_mut(), "www-authenticate"),
            407 => (self.gateway.as_deref_mut(), "proxy-authenticate"),
            _ => return false,
        };
        auth.is_some_and(|auth| auth.challenged(head.fields.all(field)))
    }

    /// True if the caller's headers say `Expect: 100-continue`.
    fn expects(&self) -> bool {
        self.request.fields().lists("expect", "100-continue")
    }

    /// Gives the server a second to say that it does not want the body.
    fn expect(&mut self) -> Result<()> {
        let Some(transaction) = &mut self.transaction else { return Err(broken("no connection")) };
        let answered = transaction.expect(&self.deadline.within(Some(EXPECT)))?;
        if self.deadline.is_past() {
            return Err(self.deadline.error(OP));
        }
        self.at = At::Sending;
        if answered {
            self.sent();
        }
        Ok(())
    }

    /// Sends the body as far as it goes without the caller.
    fn send(&mut self) -> Result<Option<Step>> {
        let (Some(upload), Some(transaction)) = (&mut self.upload, &mut self.transaction) else {
            self.sent();
            return Ok(None);
        };
        while !upload.is_over() {
            if upload.is_callers() {
                return Ok(Some(Step::Piece));
            }
            let piece = upload.piece()?;
            if piece.is_empty() {
                continue;
            }
            if transaction.refused()? {
                break;
            }
            // A server that always takes what comes would never make us wait.
            self.deadline.check("send the body")?;
            if transaction.push(piece, &self.deadline)? {
                break;
            }
            if self.options.paced {
                return Ok(Some(Step::Sent));
            }
        }
        self.sent();
        Ok(None)
    }

    /// Waits for the final head, and goes where it leads.
    fn wait(&mut self) -> Result<()> {
        let Some(transaction) = &mut self.transaction else {
            return Err(Error::new(Kind::Closed, "the request was closed"));
        };
        let head = match transaction.receive(&self.deadline, self.options.read_timeout) {
            Ok(head) => head,
            Err(err) => return Err(transaction.failure().unwrap_or(err)),
        };
        let now = now();
        lap(&mut self.since, &mut self.timings.wait, now);
        self.answered(&head);
        if let Some(jar) = &self.options.cookies {
            let (mut jar, today) = (jar.lock(), wall().as_secs());
            for line in head.fields.all("set-cookie") {
                jar.store(&self.request.url, line, today);
            }
        }
        let attempt = Attempt {
            challenged: self.is_challenge(&head),
            again: self.is_repeatable(),
            request: &self.request,
            options: &self.options,
            hops: self.chain.len(),
            tries: self.tries,
            left: self.deadline.left(),
            framing: self.transaction.as_ref().and_then(|transaction| transaction.framing()),
        };
        match attempt.after(&head, || (wall(), dice()))? {
            Next::Answer(decoder) => return self.take(head, decoder, now),
            Next::Redirect(hop) => self.redirect(hop),
            Next::Authenticate => {
                self.drain();
                self.again();
            }
            Next::WithoutExpect => {
                self.drain();
                self.request.fields_mut().retain(|name| !name.eq_ignore_ascii_case(b"expect"));
                self.again();
            }
            Next::Retry(wait) => {
                self.drain();
                self.pause(wait);
            }
        }
        Ok(())
    }

    /// The answer is the caller's.
    fn take(&mut self, head: Box<Head>, decoder: Option<Decoder>, now: Instant) -> Result<()> {
        let Some(transaction) = &mut self.transaction else { return Err(broken("no connection")) };
        self.framing = transaction.framing();
        self.decoder = decoder.map(|decoder| Box::new(decode::Reader::new(decoder)));
        self.head = Some(head);
        self.at = At::Body;
        if self.options.open_ended {
            self.deadline = Deadline::never();
        }
        if transaction.ended() {
            self.finish(now);
        }
        Ok(())
    }

    /// Goes to where the answer leads.
    fn redirect(&mut self, hop: Hop) {
        if hop.crossed {
            self.auth = None;
            Options::forget_certificate(&mut self.options);
        }
        self.drain();
        self.chain.push(self.request.url.to_text());
        self.request = hop.request;
        match (&self.request.payload, &mut self.upload) {
            (Some(_), Some(upload)) => upload.rewind(),
            _ => self.upload = None,
        }
        (self.retried, self.http1) = (false, false);
        self.at = At::Open;
    }

    /// True if the request has no body, or one that can be sent from its beginning.
    fn is_repeatable(&self) -> bool {
        self.upload.as_deref().is_none_or(Upload::is_fresh)
    }

    /// For the record and the log.
    fn answered(&mut self, head: &Head) {
        if let Some(record) = self.records.last_mut() {
            record.answered(head);
        }
        if self.net.is_logged() {
            self.log(("status", head.status.into()));
        }
    }

    /// One line per request. Of the URL only what cannot be a secret by design: no query.
    fn log(&self, end: (&str, serde_json::Value)) {
        let url = &self.request.url;
        let text = url.public();
        let seconds = now().duration_since(self.started).as_secs_f64();
        let method = self.request.method.as_str();
        let fields =
            [("op", OP.into()), ("method", method.into()), ("url", text.into()), end, ("seconds", seconds.into())];
        self.net.log("request", &fields);
    }

    /// What was asked and answered, hop by hop, where [`Options::record`] asks for it.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Bytes of the request's body that are on their way, or gone.
    pub fn sent_bytes(&self) -> u64 {
        self.upload.as_deref().map_or(0, Upload::handed)
    }

    /// Reads a redirect's own body, if that is cheaper than another connection.
    fn drain(&mut self) {
        let deadline = self.deadline.within(Some(DRAIN_TIME));
        let mut waste = [0; 4096];
        let mut left = DRAIN;
        while let Some(transaction) = &mut self.transaction {
            if transaction.ended() {
                self.finish(now());
                break;
            }
            if transaction.framing() == Some(Framing::Close) {
                break;
            }
            match transaction.read(&mut waste, &deadline) {
                Ok(count) if count as u64 <= left => left -= count as u64,
                _ => break,
            }
        }
        self.transaction = None;
    }

    /// The answer is complete, since `now`: the connection goes back to the pool if it can.
    fn finish(&mut self, now: Instant) {
        let Some(transaction) = self.transaction.take() else { return };
        lap(&mut self.since, &mut self.timings.receive, now);
        self.timings.total = now.duration_since(self.started);
        let sent = self.upload.as_deref().is_none_or(Upload::is_over);
        let wanted = !self.request.fields().lists("connection", "close");
        let trailers = transaction.finish(&self.pool, sent && wanted, now);
        self.trailers = (!trailers.is_empty()).then(|| Box::new(trailers));
    }

    fn sent(&mut self) {
        lap(&mut self.since, &mut self.timings.send, now());
        self.at = At::Waiting;
    }

    fn fail(&mut self, err: Error) -> Error {
        (self.transaction, self.decoder) = (None, None);
        self.at = At::Failed;
        if self.net.is_logged() {
            self.log(("class", err.kind().word().into()));
        }
        let origin = self.request.url.origin();
        let err = match &self.upload {
            Some(upload) if err.is(Kind::ConnectionReset) => err.sent(upload.handed()),
            _ => err,
        };
        err.op(OP).url(self.request.url.public()).at(origin.host.to_string(), origin.port)
    }
}

/// What the client itself has to say to this hop's origin. The caller's fields of the same names win.
fn introduce(request: &Request, head: &mut Draft<'_>, options: &Options) {
    let Request { url, .. } = request;
    if options.decompress && !request.fields().has("upgrade") {
        // A part of a coded body could not be decoded (Fetch standard, "HTTP-network-or-cache fetch").
        match request.fields().has("range") {
            true => head.own("Accept-Encoding", b"identity"),
            false => head.stock("Accept-Encoding", decode::ACCEPTED),
        }
    }
    if let Some(jar) = &options.cookies {
        let value = jar.lock().header(url, wall().as_secs());
        value.iter().for_each(|value| head.own("Cookie", value));
    }
    if let Some((_, name, value)) = options.bound.as_ref().filter(|(origin, ..)| origin == url.origin()) {
        head.own(name, value);
    }
}

/// The body's hash, where credentials sign it; none where the caller still has the body.
fn signed(auth: &Auth, upload: Option<&mut Upload>, deadline: &Deadline) -> Result<Option<BodyHash>> {
    let Some(mut hash) = auth.body_hash() else { return Ok(None) };
    let Some(upload) = upload else { return Ok(Some(hash)) };
    if upload.is_callers() {
        return Ok(None);
    }
    while !upload.is_over() {
        deadline.check("read the body")?;
        hash.update(upload.piece()?);
    }
    upload.rewind();
    Ok(Some(hash))
}

fn closed() -> Error {
    Error::new(Kind::Closed, "the response was closed before its end").op(OP)
}

/// Adds the time from `since` to `now` to `phase`, and begins the next one.
fn lap(since: &mut Instant, phase: &mut Duration, now: Instant) {
    *phase += now.duration_since(std::mem::replace(since, now));
}
