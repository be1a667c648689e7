//! What a fetch is to do, and how far it came: all that it knows in every [`State`], and the steps that lead from one to the next.

use super::{
    OP, Options, Step, Timings,
    connector::{Connected, Connector, credentials},
    decision::{Attempt, Next},
    pool::Pool,
    retrying::dice,
    state::{Answer, Body, Line, Phase, State},
    transaction::{Transaction, limited},
    upload::Upload,
};
use crate::{
    deadline::{Deadline, now, pause, wall},
    error::{Error, Kind, Result},
    http::{
        auth::{Auth, BodyHash},
        body::{Asked, Framing},
        decode::{self, Decoder},
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
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes of a redirect's own body that are read to keep the connection; beyond, closing it is cheaper.
const DRAIN: u64 = 64 * 1024;
/// And for how long.
const DRAIN_TIME: Duration = Duration::from_millis(100);
/// How long a server may take to say 100 Continue; then the body goes anyway.
const EXPECT: Duration = Duration::from_secs(1);

pub(super) struct Errand {
    pub net: Net,
    pub pool: Pool,
    pub options: Arc<Options>,
    pub deadline: Deadline,
    pub request: Request,
    /// The request's body, if it has one.
    pub upload: Option<Box<Upload>>,
    /// The credentials at work, until a redirect leads to another origin.
    pub auth: Option<Box<Auth>>,
    /// Those for the proxy that forwards this hop's request.
    pub gateway: Option<Box<Auth>>,
    pub cert: Option<Arc<PeerCert>>,
    pub chain: Vec<String>,
    pub timings: Timings,
    pub started: Instant,
    /// When the answer that counts was asked for: later than `started` once [`super::Fetch::answer_again`] made the request anew.
    pub asked: Instant,
    /// When the phase that is being timed began.
    pub since: Instant,
    /// This hop found its reused connection dead and opened one of its own.
    pub retried: bool,
    /// This hop's server wants HTTP/1.1.
    pub http1: bool,
    /// Some hop got a connection.
    pub reached: bool,
    /// Tries that the option `retry` added.
    pub tries: u32,
    pub records: Vec<Record>,
}

/// How a request under way goes on.
pub(super) enum Course {
    On(Phase),
    /// Sending goes on once the caller comes back.
    Stop(Step),
    Head(Box<Head>),
}

impl Errand {
    /// The pause if there is one, the gate, then a connection: what is to go over it, and the request's head.
    pub fn open(&mut self, nap: Option<Duration>) -> Result<(Box<Transaction>, Vec<u8>)> {
        nap.map_or(Ok(()), |wait| self.sleep(wait))?;
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
        let secure = self.request.url.origin().scheme == Scheme::Https;
        let chunked = self.request.payload.as_ref().is_some_and(|payload| payload.length.is_none());
        Ok((Transaction::new(link, secure, reused, asked, chunked), head))
    }

    pub fn sleep(&self, wait: Duration) -> Result<()> {
        pause(wait, OP)?;
        self.net.alive()
    }

    /// Sends the head, and a beginning of the body unless the server is to be asked about it.
    pub fn start(&mut self, transaction: &mut Transaction, head: Vec<u8>) -> Result<Course> {
        if self.options.record {
            self.records.push(Record::new(wall(), self.request.method.as_str(), &self.request.url, &head));
        }
        let expecting = self.upload.is_some() && self.expects();
        let (phase, piece) = match &mut self.upload {
            Some(_) if expecting => (Phase::Expecting, &[][..]),
            Some(upload) => (Phase::Sending, upload.piece()?),
            None => (Phase::Waiting, &[][..]),
        };
        match transaction.start(head, piece, &self.deadline)? || phase == Phase::Waiting {
            true => Ok(Course::On(self.sent())),
            false => Ok(Course::On(phase)),
        }
    }

    /// Gives the server a second to say that it does not want the body.
    pub fn expect(&mut self, transaction: &mut Transaction) -> Result<Course> {
        let answered = transaction.expect(&self.deadline.within(Some(EXPECT)))?;
        if self.deadline.is_past() {
            return Err(self.deadline.error(OP));
        }
        Ok(Course::On(if answered { self.sent() } else { Phase::Sending }))
    }

    /// Sends the body as far as it goes without the caller.
    pub fn send(&mut self, transaction: &mut Transaction) -> Result<Course> {
        while let Some(upload) = self.upload.as_mut().filter(|upload| !upload.is_over()) {
            if upload.is_callers() {
                return Ok(Course::Stop(Step::Piece));
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
                return Ok(Course::Stop(Step::Sent));
            }
        }
        Ok(Course::On(self.sent()))
    }

    /// The request is out.
    pub fn sent(&mut self) -> Phase {
        lap(&mut self.since, &mut self.timings.send, now());
        Phase::Waiting
    }

    /// Waits for the final head.
    pub fn wait(&mut self, transaction: &mut Transaction) -> Result<Course> {
        match transaction.receive(&self.deadline, self.options.read_timeout) {
            Ok(head) => Ok(Course::Head(head)),
            Err(err) => Err(transaction.failure().unwrap_or(err)),
        }
    }

    /// Goes where the head leads.
    pub fn decide(&mut self, transaction: Box<Transaction>, head: Box<Head>) -> Result<State> {
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
            framing: transaction.framing(),
        };
        match attempt.after(&head, || (wall(), dice()))? {
            Next::Answer(decoder) => Ok(State::Answered(self.take(transaction, head, decoder, now))),
            Next::Redirect(hop) => {
                self.drain(transaction);
                Ok(self.redirect(hop))
            }
            Next::Authenticate => {
                self.drain(transaction);
                Ok(self.again(None))
            }
            Next::WithoutExpect => {
                self.drain(transaction);
                self.request.fields_mut().retain(|name| !name.eq_ignore_ascii_case(b"expect"));
                Ok(self.again(None))
            }
            Next::Retry(wait) => {
                self.drain(transaction);
                Ok(self.again_after(wait))
            }
        }
    }

    /// The answer is the caller's.
    fn take(
        &mut self,
        transaction: Box<Transaction>,
        head: Box<Head>,
        decoder: Option<Decoder>,
        now: Instant,
    ) -> Answer {
        if self.options.open_ended {
            self.deadline = Deadline::never();
        }
        let announced = match transaction.framing() {
            _ if decoder.is_some() => None,
            Some(Framing::Length(length)) => Some(length),
            Some(Framing::Empty) => Some(0),
            _ => None,
        };
        let line = if transaction.ended() { self.end(transaction, now) } else { Line::Open(transaction) };
        let body = match decoder {
            Some(decoder) => Body::Coded(line, Box::new(decode::Reader::new(decoder))),
            None => Body::Plain(line),
        };
        Answer { head, announced, body }
    }

    /// Goes to where the answer leads.
    fn redirect(&mut self, hop: Hop) -> State {
        if hop.crossed {
            self.auth = None;
            Options::forget_certificate(&mut self.options);
        }
        self.chain.push(self.request.url.to_text());
        self.request = hop.request;
        match (&self.request.payload, &mut self.upload) {
            (Some(_), Some(upload)) => upload.rewind(),
            _ => self.upload = None,
        }
        (self.retried, self.http1) = (false, false);
        State::Open(None)
    }

    /// Back to the start of this hop, body and all.
    pub fn again(&mut self, nap: Option<Duration>) -> State {
        self.retried = false;
        if let Some(upload) = &mut self.upload {
            upload.rewind();
        }
        State::Open(nap)
    }

    /// The same by the option `retry`.
    pub fn again_after(&mut self, wait: Duration) -> State {
        self.tries += 1;
        self.again(Some(wait))
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

    /// True if the request has no body, or one that can be sent from its beginning.
    pub fn is_repeatable(&self) -> bool {
        self.upload.as_deref().is_none_or(Upload::is_fresh)
    }

    /// For the log: what its failure says of the request.
    pub fn failed(&self, err: Error) -> Error {
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
    pub fn log(&self, end: (&str, serde_json::Value)) {
        let url = &self.request.url;
        let text = url.public();
        let seconds = now().duration_since(self.started).as_secs_f64();
        let method = self.request.method.as_str();
        let fields =
            [("op", OP.into()), ("method", method.into()), ("url", text.into()), end, ("seconds", seconds.into())];
        self.net.log("request", &fields);
    }

    /// Reads a redirect's own body, if that is cheaper than another connection.
    fn drain(&mut self, mut transaction: Box<Transaction>) {
        let deadline = self.deadline.within(Some(DRAIN_TIME));
        let mut waste = [0; 4096];
        let mut left = DRAIN;
        while !transaction.ended() {
            if transaction.framing() == Some(Framing::Close) {
                return;
            }
            match transaction.read(&mut waste, &deadline) {
                Ok(count) if count as u64 <= left => left -= count as u64,
                _ => return,
            }
        }
        self.end(transaction, now());
    }

    /// The same as [`Errand::end`], in place.
    pub fn end_line(&mut self, line: &mut Line, now: Instant) {
        if let Line::Open(transaction) = mem::replace(line, Line::Ended(None)) {
            *line = self.end(transaction, now);
        }
    }

    /// The answer is complete, since `now`: the connection goes back to the pool if it can.
    fn end(&mut self, transaction: Box<Transaction>, now: Instant) -> Line {
        lap(&mut self.since, &mut self.timings.receive, now);
        self.timings.total = now.duration_since(self.started);
        let sent = self.upload.as_deref().is_none_or(Upload::is_over);
        let wanted = !self.request.fields().lists("connection", "close");
        let trailers = transaction.finish(&self.pool, sent && wanted, now);
        Line::Ended((!trailers.is_empty()).then(|| Box::new(trailers)))
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

/// Adds the time from `since` to `now` to `phase`, and begins the next one.
fn lap(since: &mut Instant, phase: &mut Duration, now: Instant) {
    *phase += now.duration_since(std::mem::replace(since, now));
}
