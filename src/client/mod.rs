//! One fetch, from the gate to the last byte of the body: the loop that speaks HTTP over connections.
//!
//! Works in steps: the caller passes pieces of the request's body and takes pieces of the response's body; there are no
//! callbacks. Every hop asks the grants again, and one deadline spans all hops. A connection in an unknown state is
//! closed, never reused.

pub mod batch;
mod connector;
pub mod event_source;
mod options;
pub mod pool;
mod reading;
#[cfg(feature = "http2")]
pub mod shared;
pub mod stream;
mod transaction;
pub mod upload;
pub mod websocket;

pub use options::{Http2, Options, Timings};
pub use reading::came_short;

#[cfg(feature = "http2")]
use crate::http::http2::session::Session;
use crate::{
    client::{
        connector::{Connected, Connector, credentials},
        pool::Pool,
        transaction::{Transaction, limited},
        upload::{Source, Upload},
    },
    deadline::{Deadline, now, pause, wall},
    error::{Error, Kind, Result},
    http::{
        auth::{Auth, BodyHash},
        body::{Asked, Framing},
        broken,
        decode::{self, Decoder},
        fields::Fields,
        record::Record,
        redirect,
        request::{Draft, Form, Request},
        response::Head,
        retry::Retry,
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
/// And for how long one of several shared connections is waited for before the others are looked at.
#[cfg(feature = "http2")]
const TURN: Duration = Duration::from_millis(20);
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

    /// Sends the request, as far as that goes without the caller: [`Fetch::step`] goes on from there.
    #[cfg(feature = "http2")]
    pub fn launch(&mut self) -> Result<()> {
        while matches!(self.at, At::Open | At::Expecting | At::Sending) {
            if self.advance()?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// True if its time is up, whatever is here.
    #[cfg(feature = "http2")]
    pub fn is_late(&self) -> bool {
        self.deadline.is_past()
    }

    /// True if it begins with a pause, or its server is to be asked for something else than HTTP/2.
    #[cfg(feature = "http2")]
    pub fn stands_alone(&self) -> bool {
        self.nap.is_some() || self.http1 || self.options.http2 == Http2::Never || self.request.fields().has("upgrade")
    }

    /// Goes on with a request that is out, up to the head of its answer; `None` where it is to be made anew, of which nothing has
    /// been done: after a redirect, a challenge, or a failure that may pass.
    #[cfg(feature = "http2")]
    pub fn land(&mut self) -> Result<Option<Step>> {
        loop {
            match self.advance()? {
                None if self.at == At::Open => return Ok(None),
                None => (),
                step => return Ok(step),
            }
        }
    }

    /// True if the next [`Fetch::launch`] makes a request anew that may go over the same connection, and at once.
    #[cfg(feature = "http2")]
    pub fn stays(&self) -> bool {
        self.at == At::Open && self.nap.is_none() && !self.retried && !self.http1
    }

    /// Its time is up by [`first_answered`]: it takes what is here, and then says so itself.
    #[cfg(feature = "http2")]
    pub fn hurry(&mut self) {
        let patience = self.patience();
        if let Some(transaction) = &mut self.transaction {
            transaction.hurry(patience);
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

    /// True if its request is under way on a connection that others share.
    #[cfg(feature = "http2")]
    pub fn is_shared(&self) -> bool {
        self.transaction.as_deref().is_some_and(|transaction| transaction.shared().is_some())
    }

    /// True if one more request would go out at once on the connection that others share.
    #[cfg(feature = "http2")]
    pub fn has_room(&self) -> bool {
        let shared = self.transaction.as_deref().and_then(Transaction::shared);
        shared.is_some_and(|shared| shared.has_room())
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

    /// Ends it here. What was not read is lost, and the connection with it.
    pub fn close(&mut self) {
        (self.transaction, self.decoder) = (None, None);
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
        if !self.upload.as_deref().is_none_or(Upload::is_fresh) {
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
            return Err(Error::new(Kind::Socket, "the request was closed"));
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
        if self.is_challenge(&head) {
            self.drain();
            self.again();
            return Ok(());
        }
        if head.status == 417 && self.expects() && self.upload.as_deref().is_none_or(Upload::is_fresh) {
            // The server does not know the expectation: once more, without it (RFC 9110 section 15.5.18).
            self.drain();
            self.request.fields_mut().retain(|name| !name.eq_ignore_ascii_case(b"expect"));
            self.again();
            return Ok(());
        }
        let hop = match self.options.follow_redirects && redirect::is_redirect(head.status) {
            true => redirect::next(&self.request, &head, &self.options.redirects)?,
            false => None,
        };
        let Some(hop) = hop else {
            let wait = self.retry().and_then(|retry| retry.after_answer(&head, self.tries, wall(), dice()));
            if let Some(wait) = wait.filter(|wait| self.fits(*wait)) {
                self.drain();
                self.pause(wait);
                return Ok(());
            }
            let Some(transaction) = &mut self.transaction else { return Err(broken("no connection")) };
            self.framing = transaction.framing();
            if self.options.decompress && head.status != 206 && self.framing != Some(Framing::Empty) {
                let decoder = Decoder::new(&head.fields)?;
                self.decoder = decoder.map(|decoder| Box::new(decode::Reader::new(decoder)));
            }
            self.head = Some(head);
            self.at = At::Body;
            if self.options.open_ended {
                self.deadline = Deadline::never();
            }
            if transaction.ended() {
                self.finish(now);
            }
            return Ok(());
        };
        if self.chain.len() >= self.options.max_redirects {
            return Err(broken(format!("more than {} redirects", self.options.max_redirects)));
        }
        if hop.crossed {
            if self.options.unix.is_some() {
                return Err(broken("the redirect leads to another origin, away from the socket of the option `unix`"));
            }
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
        Ok(())
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

    /// A reused connection that died without a byte of answer is the server's idle timeout, not its answer: once, an
    /// idempotent request may try again (RFC 9110 section 9.2.2). So may any that the server has certainly not looked at.
    fn may_retry(&self, err: &Error) -> bool {
        let Some(transaction) = self.transaction.as_ref().filter(|_| !self.retried) else { return false };
        let again = self.upload.as_deref().is_none_or(Upload::is_fresh);
        let stale = transaction.is_stale() && self.request.method.is_idempotent();
        again && err.is(Kind::ConnectionReset) && (stale || transaction.is_unprocessed())
    }

    /// Back to the start of this hop, body and all.
    fn again(&mut self) {
        self.transaction = None;
        self.retried = false;
        self.at = At::Open;
        if let Some(upload) = &mut self.upload {
            upload.rewind();
        }
    }

    /// After a failure that may pass: waits and goes back, if the option `retry` says so; else the failure.
    fn retry_later(&mut self, err: Error) -> Result<()> {
        // Where nobody listens yet nothing was sent: so any method may ask again.
        let retry = if err.is_absence() { self.retry_unsent() } else { self.retry() };
        let wait = retry.and_then(|retry| retry.after_failure(&err, self.tries, dice()));
        if !wait.is_some_and(|wait| self.fits(wait)) {
            return Err(err);
        }
        self.transaction = None;
        self.pause(wait.unwrap_or_default());
        Ok(())
    }

    /// A body that is gathered after all ends within [`Options::timeout`], like any other.
    pub fn bound(&mut self) {
        if self.options.open_ended {
            self.deadline = Deadline::started(self.options.timeout, self.asked);
        }
    }

    /// True if [`Fetch::answer_again`] may make the request again after `err` ended the body.
    pub fn would_ask_again(&self, err: &Error) -> bool {
        self.at == At::Failed && self.retry().is_some_and(|retry| retry.after_failure(err, self.tries, 0).is_some())
    }

    /// After `err` ended the body: waits, and goes on to the head of another answer if the option `retry` says so; else the
    /// failure. For a body of which nobody has been handed anything.
    pub fn answer_again(&mut self, err: Error) -> Result<()> {
        if self.at != At::Failed {
            return Err(err);
        }
        self.retry_later(err)?;
        self.sleep()?;
        if self.options.open_ended {
            // The body had no end set; the next head has, as the first one had.
            self.asked = now();
            self.deadline = Deadline::started(self.options.timeout, self.asked);
        }
        loop {
            match self.step()? {
                Step::Head => return Ok(()),
                Step::Sent => (),
                Step::Piece => return Err(Error::new(Kind::Socket, "no piece of a body can be asked for again")),
            }
        }
    }

    /// The option `retry`, for a request that can be made again.
    fn retry(&self) -> Option<&Retry> {
        self.retry_unsent().filter(|_| self.request.method.is_idempotent())
    }

    /// The same for a request of which nothing has reached anybody.
    fn retry_unsent(&self) -> Option<&Retry> {
        self.options.retry.as_ref().filter(|_| self.upload.as_deref().is_none_or(Upload::is_fresh))
    }

    /// The deadline of the wait for more of its answer, the silence so far included.
    #[cfg(feature = "http2")]
    fn patience(&self) -> Deadline {
        let Some(limit) = self.options.read_timeout else { return self.deadline.clone() };
        let heard = self.transaction.as_deref().and_then(Transaction::heard).unwrap_or(self.since);
        let silence = Deadline::started(Some(limit), heard);
        match self.deadline.left() {
            Some(left) if silence.left().is_none_or(|silence| left <= silence) => self.deadline.clone(),
            _ => silence,
        }
    }

    /// A wait that would end past the deadline is not begun.
    fn fits(&self, wait: Duration) -> bool {
        self.deadline.left().is_none_or(|left| wait < left)
    }

    /// Back to the start of this hop, which begins with a pause.
    fn pause(&mut self, wait: Duration) {
        self.nap = Some(wait);
        self.tries += 1;
        self.again();
    }

    /// The pause that was spoken of.
    fn sleep(&mut self) -> Result<()> {
        let Some(wait) = self.nap.take() else { return Ok(()) };
        pause(wait, OP)?;
        self.net.alive()
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

/// Waits until one of those that share the first one's connection can go on with its answer, or its time is up, which is told too: its
/// place. `None` where there is no telling without going on with one.
#[cfg(feature = "http2")]
pub fn first_answered<'a>(fetches: impl Iterator<Item = &'a mut Fetch>) -> Option<(usize, bool)> {
    let mut fetches: Vec<&mut Fetch> = fetches.collect();
    let shared = fetches.first()?.transaction.as_deref()?.shared()?.clone();
    if !shared.is_ours() {
        return None;
    }
    let nearest = fetches.iter().enumerate().min_by_key(|(_, fetch)| fetch.patience().left().unwrap_or(Duration::MAX));
    let (late, deadline) = nearest.map(|(at, fetch)| (at, fetch.patience()))?;
    // Where connections are several, one after the other is looked at.
    let others = |fetch: &&mut Fetch| fetch.transaction.as_deref().and_then(Transaction::shared).cloned();
    let others: Vec<_> = fetches.iter().filter_map(others).filter(|other| !Arc::ptr_eq(other, &shared)).collect();
    loop {
        let mut look = |shared: &Arc<shared::Shared>, session: &mut Session| {
            let mut answered = fetches.iter_mut().map(|fetch| match fetch.transaction.as_deref_mut() {
                Some(transaction) => transaction.look(shared, session),
                None => true,
            });
            answered.position(|answered| answered)
        };
        if let Some(found) = others.iter().find_map(|other| other.glance(|session| look(other, session))) {
            return Some((found, false));
        }
        let wait = deadline.within((!others.is_empty()).then_some(TURN));
        return match shared.wait(&wait, None, |session| Ok(look(&shared, session))) {
            Ok(found) => Some((found, false)),
            Err(fault) if !fault.error.is(Kind::Timeout) => Some((0, true)),
            Err(_) if deadline.is_past() => Some((late, true)),
            Err(_) => continue,
        };
    }
}

/// Any number, so that clients that failed together do not come back together.
fn dice() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

/// Adds the time from `since` to `now` to `phase`, and begins the next one.
fn lap(since: &mut Instant, phase: &mut Duration, now: Instant) {
    *phase += now.duration_since(std::mem::replace(since, now));
}
