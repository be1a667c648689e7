//! WebSockets (RFC 6455), the client's side, and a server's once its handshake is done, over our connections.
//!
//! [`frames`] and [`crate::http::websocket::handshake`] are pure; here they meet a connection that passed the gate.
//! Every wait has a deadline, and a call that ends early loses nothing: received bytes are kept, and a message that was
//! begun is finished by the next call. Redirects are not followed, and no extension but permessage-deflate is offered,
//! where it is asked for. Pings are answered while the caller reads; no thread reads in the background.

use crate::http::websocket::{
    deflate::Deflater,
    extension::Agreed,
    frames::{self, Event, Form, Goodbye, Limits, Peer, Reader},
    handshake::{Handshake, shown},
};
use crate::{
    client::{
        self, Timings,
        connector::Connector,
        pool::{Link, Pool},
    },
    conn::Conn,
    deadline::{Deadline, SLICE, now},
    error::{Error, Kind, Result},
    http::{
        broken,
        response::{Budget, EmptyLine, Head, may_be_http, parse_head},
    },
    net::Net,
    panics::{contained, failpoint},
};
use std::{
    net::{Shutdown, SocketAddr},
    time::Duration,
};

const OP: &str = "websocket";
/// What is kept of the memory of a large message that was sent.
const KEEP: usize = 32 * 1024;
/// Interim responses before the 101.
const MAX_INTERIM: usize = 16;
/// Bytes that wait to be sent to a peer that does not read, beyond which its pings are not all answered.
const PONGS: usize = 16 * 1024;
/// Reads that one call with `timeout = 0` may do: a peer that never stops must not hold it, and what was read stays.
const MAX_READS: usize = 64;

/// The options of a WebSocket.
#[derive(Clone, Default)]
pub struct Options {
    /// How to get to the server: `tls`, `resolve`, `unix` and `proxy` of it.
    pub way: client::Options,
    pub limits: Limits,
}

/// What [`WebSocket::recv`] answers.
#[derive(Debug, PartialEq)]
pub enum Received {
    Message(Form, Vec<u8>),
    /// The peer said goodbye; so did we.
    Closed(Goodbye),
}

/// An open WebSocket.
pub struct WebSocket {
    /// Gone once it was closed here.
    conn: Option<Conn>,
    local: Option<SocketAddr>,
    reader: Reader,
    /// The rest of frames whose beginning was sent.
    out: Vec<u8>,
    /// The last ping whose answer finds no room in `out`: of several, the last is enough (RFC 6455 section 5.5.3).
    pong: Option<Vec<u8>>,
    /// A message that `settle` found.
    next: Option<(Form, Vec<u8>)>,
    closed: Option<Goodbye>,
    /// Our close frame is on its way.
    leaving: bool,
    failed: Option<Error>,
    url: String,
    subprotocol: Option<String>,
    /// Compresses our messages, where both sides agreed on that.
    deflater: Option<Box<Deflater>>,
    /// The other end is the client.
    serves: bool,
}

impl WebSocket {
    /// The gate, then a connection, then the handshake.
    pub fn connect(net: &Net, handshake: &Handshake, options: &Options, deadline: &Deadline) -> Result<WebSocket> {
        let (url, public) = (shown(&handshake.request.url), handshake.request.url.public().replacen("http", "ws", 1));
        let origin = handshake.request.url.origin();
        let done = open(net, handshake, options, deadline).and_then(|mut conn| {
            conn.send_all(&handshake.head(), deadline)?;
            let head = answer(&mut conn, deadline)?;
            Ok((conn, handshake.check(&head)?))
        });
        match done {
            Ok((conn, chosen)) => Ok(WebSocket::over(conn, Peer::Server, options.limits, url, chosen)),
            Err(mut err) => {
                if err.is(Kind::Protocol) {
                    err = err.context("handshake: ");
                }
                Err(err.op(OP).url(public).at(origin.host.to_string(), origin.port))
            }
        }
    }

    /// The server's side of a connection whose handshake is done.
    pub fn accepted(conn: Conn, limits: Limits, url: String, chosen: (Option<String>, Option<Agreed>)) -> WebSocket {
        WebSocket::over(conn, Peer::Client, limits, url, chosen)
    }

    fn over(
        conn: Conn,
        peer: Peer,
        limits: Limits,
        url: String,
        chosen: (Option<String>, Option<Agreed>),
    ) -> WebSocket {
        let (subprotocol, agreed) = chosen;
        let mut reader = Reader::of(peer, limits);
        let mut deflater = None;
        if let Some(agreed) = agreed {
            let (theirs, ours) = match peer {
                Peer::Server => (agreed.server, agreed.client),
                Peer::Client => (agreed.client, agreed.server),
            };
            reader = reader.compressed(theirs);
            deflater = Some(Box::new(Deflater::new(ours, agreed.threshold)));
        }
        WebSocket {
            local: conn.wire().local().unwrap_or_default(),
            conn: Some(conn),
            reader,
            out: Vec::new(),
            pong: None,
            next: None,
            closed: None,
            leaving: false,
            failed: None,
            url,
            subprotocol,
            deflater,
            serves: peer == Peer::Client,
        }
    }

    /// A mask that no server can foresee (RFC 6455 section 5.3); a server masks nothing.
    fn mask(&self) -> Result<Option<[u8; 4]>> {
        mask_of(self.serves)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL without its query, for errors.
    pub fn public(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// True if both sides agreed that messages may be compressed.
    pub fn is_compressed(&self) -> bool {
        self.deflater.is_some()
    }

    /// How the peer ended it: its code and reason; 1005 where it gave none.
    pub fn goodbye(&self) -> Option<&Goodbye> {
        self.closed.as_ref()
    }

    /// True until one of the two sides has closed it, or it failed.
    pub fn is_open(&self) -> bool {
        self.conn.is_some() && self.closed.is_none() && self.failed.is_none() && !self.leaving
    }

    /// This end's address, also once it is closed.
    pub fn local(&self) -> Result<Option<SocketAddr>> {
        self.conn.as_ref().map_or(Ok(self.local), |conn| conn.wire().local())
    }

    /// The connection, until it was closed here.
    pub fn conn(&self) -> Option<&Conn> {
        self.conn.as_ref()
    }

    /// Sends a message. A failure says in `err.sent` how many bytes of its frame went: after a timeout with `sent > 0`
    /// the rest goes first at the next call, and with 0 nothing of it was sent or kept.
    pub fn send(&mut self, form: Form, payload: &[u8], deadline: &Deadline) -> Result<()> {
        let mut deflater = self.deflater.take();
        let said = self.say(deadline, |mask, out| {
            let compressed = deflater.as_mut().map_or(Ok(None), |deflater| deflater.deflate(payload))?;
            let is_compressed = compressed.is_some();
            frames::message(form, compressed.as_deref().unwrap_or(payload), is_compressed, mask, out)
        });
        self.deflater = deflater;
        said.inspect_err(|err| {
            // A message of which nothing went is none that later ones may refer to.
            if let Some(deflater) = self.deflater.as_mut().filter(|_| err.fields().sent.is_none_or(|sent| sent == 0)) {
                deflater.forget();
            }
        })
    }

    /// Sends a ping; its answer comes while something is received.
    pub fn ping(&mut self, payload: &[u8], deadline: &Deadline) -> Result<()> {
        self.say(deadline, |mask, out| frames::ping(payload, mask, out))
    }

    fn say(
        &mut self,
        deadline: &Deadline,
        frame: impl FnOnce(Option<[u8; 4]>, &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        self.usable()?;
        if let Some(goodbye) = &self.closed {
            return Err(Error::new(Kind::Socket, format!("the peer closed the WebSocket ({})", goodbye.code)));
        }
        self.flush(deadline).map_err(|e| e.sent(0))?;
        frame(self.mask()?, &mut self.out)?;
        let size = self.out.len();
        let done = self.flush(deadline);
        done.map_err(|e| {
            let sent = size.saturating_sub(self.out.len());
            if sent == 0 {
                self.out.clear();
            }
            e.sent(sent as u64)
        })
    }

    /// The next message, or the peer's goodbye.
    pub fn recv(&mut self, deadline: &Deadline) -> Result<Received> {
        self.look(deadline)?;
        failpoint("websocket");
        match (self.next.take(), &self.closed) {
            (Some((form, message)), _) => Ok(Received::Message(form, message)),
            (None, Some(goodbye)) => Ok(Received::Closed(goodbye.clone())),
            (None, None) => Err(gone()),
        }
    }

    /// Says goodbye and waits for the peer's, then closes, whatever came of it: true if it went in good order.
    /// Messages that come meanwhile are dropped. `code` 1005 says none.
    pub fn close(&mut self, goodbye: &Goodbye, deadline: &Deadline) -> bool {
        let done = self.part(goodbye, deadline);
        self.conn = None;
        self.next = None;
        done.is_ok()
    }

    fn part(&mut self, goodbye: &Goodbye, deadline: &Deadline) -> Result<()> {
        if self.closed.is_some() {
            return Ok(());
        }
        self.usable()?;
        if !self.leaving {
            frames::close(goodbye, self.mask()?, &mut self.out)?;
            self.leaving = true;
        }
        self.flush(deadline)?;
        while self.closed.is_none() {
            self.next = None;
            self.look(deadline)?;
        }
        Ok(())
    }

    /// Says goodbye without waiting for an answer, and closes.
    pub fn leave(&mut self) {
        if self.is_open() && self.conn.as_ref().is_some_and(Conn::is_ours) {
            // Going away; a peer that does not read hears nothing.
            let goodbye = Goodbye { code: 1001, reason: String::new() };
            if let Ok(mask) = self.mask() {
                let _ = frames::close(&goodbye, mask, &mut self.out);
                let _ = self.flush(&Deadline::after(Duration::ZERO));
            }
        }
        self.conn = None;
    }

    /// Works off what arrived without a wait, answering pings; true if [`WebSocket::recv`] would now answer at once.
    pub fn settle(&mut self) -> bool {
        let found = self.is_ready();
        let Some(conn) = &mut self.conn else { return true };
        // A failure is told by the next call.
        found || conn.settle() && !self.look(&Deadline::after(Duration::ZERO)).is_err_and(|err| err.is(Kind::Timeout))
    }

    /// True if [`WebSocket::recv`] would answer at once, as far as is known without a look.
    pub fn is_ready(&self) -> bool {
        self.next.is_some() || self.closed.is_some() || self.failed.is_some()
    }

    /// True if bytes are there that [`WebSocket::settle`] should look at.
    pub fn is_stirring(&self) -> bool {
        self.is_ready() || self.conn.as_ref().is_some_and(Conn::ready)
    }

    fn usable(&self) -> Result<()> {
        match (&self.conn, &self.failed) {
            (Some(conn), None) if conn.is_ours() => Ok(()),
            (Some(_), None) => Err(Error::new(Kind::Socket, "a WebSocket works only in the process that opened it")),
            (Some(_), Some(failed)) => Err(failed.clone()),
            (None, _) => Err(gone()),
        }
    }

    /// Reads until there is something to answer: in `next`, or in `closed`.
    fn look(&mut self, deadline: &Deadline) -> Result<()> {
        if self.next.is_some() {
            return Ok(());
        }
        self.usable()?;
        if self.closed.is_some() {
            return Ok(());
        }
        let mut reads = 0;
        loop {
            let done = self.digest();
            if done.is_ok() {
                self.flush_now()?;
            }
            match done {
                Ok(true) => return Ok(()),
                Ok(false) => (),
                Err(err) if err.is(Kind::Socket) => return Err(err),
                Err(err) => return Err(self.fail(err)),
            }
            reads += 1;
            // A peer that sends without end, but never a message, must not outlast the deadline.
            if reads > 1 && (if deadline.is_now() { reads > MAX_READS } else { deadline.is_past() }) {
                return Err(deadline.error("recv"));
            }
            match self.fill(deadline) {
                Ok(true) => return Ok(()),
                Ok(false) => (),
                Err(err) if err.is(Kind::Timeout) || err.is(Kind::Socket) => return Err(err),
                Err(err) => return Err(self.fail(err)),
            }
        }
    }

    /// Reads once; true if that completed a message.
    fn fill(&mut self, deadline: &Deadline) -> Result<bool> {
        let Some(conn) = &mut self.conn else { return Err(gone()) };
        let room = self.reader.room()?;
        let direct = !room.is_empty();
        // While a pong waits for the peer to read, look up from time to time.
        let unsent = !self.out.is_empty() || self.pong.is_some();
        let wait = if unsent { deadline.within(Some(SLICE)) } else { deadline.clone() };
        let read = if direct { conn.read(room, &wait) } else { conn.fill(&wait) };
        let count = match read {
            Err(err) if unsent && err.is(Kind::Timeout) && !deadline.is_past() => {
                self.flush_now()?;
                return Ok(false);
            }
            other => other?,
        };
        if count == 0 {
            let message = if self.reader.is_between() {
                "the peer ended the connection without a close frame"
            } else {
                "the peer ended the connection in the middle of a message"
            };
            return Err(Error::new(Kind::ConnectionReset, message));
        }
        if direct {
            self.reader.took(count)?;
            if let Some(event) = self.reader.finished()? {
                return self.take(event);
            }
        }
        Ok(false)
    }

    /// Reads what is buffered; true if there is something to answer.
    fn digest(&mut self) -> Result<bool> {
        while let Some(conn) = &mut self.conn {
            if conn.buffered().is_empty() {
                break;
            }
            let (used, event) = self.reader.feed(conn.buffered())?;
            conn.consume(used);
            if self.take(event)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Acts on an event; true if it is one to answer.
    fn take(&mut self, event: Event) -> Result<bool> {
        match event {
            Event::More | Event::Pong(_) => Ok(false),
            Event::Message(form, message) => {
                self.next = Some((form, message));
                Ok(true)
            }
            Event::Ping(payload) => {
                match self.leaving {
                    // After our close frame nothing follows, not even a pong.
                    true => (),
                    false if self.out.len() < PONGS => frames::pong(&payload, self.mask()?, &mut self.out)?,
                    false => self.pong = Some(payload),
                }
                Ok(false)
            }
            Event::Close(goodbye) => {
                self.pong = None;
                if !self.leaving {
                    frames::close(&goodbye, self.mask()?, &mut self.out)?;
                }
                self.closed = Some(goodbye);
                self.farewell();
                Ok(true)
            }
        }
    }

    /// Sends what waits to be sent.
    fn flush(&mut self, deadline: &Deadline) -> Result<()> {
        let serves = self.serves;
        let Some(conn) = &mut self.conn else { return Err(gone()) };
        loop {
            let mut sent = 0;
            let done = loop {
                let Some(rest) = self.out.get(sent..).filter(|rest| !rest.is_empty()) else { break Ok(()) };
                match conn.send(rest, deadline) {
                    Ok(count) => sent += count,
                    Err(err) => {
                        sent += err.fields().sent.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                        break Err(err);
                    }
                }
            };
            self.out.drain(..sent.min(self.out.len()));
            done?;
            let Some(payload) = self.pong.take() else {
                // A large message does not keep its memory.
                self.out.shrink_to(KEEP);
                return Ok(());
            };
            frames::pong(&payload, mask_of(serves)?, &mut self.out)?;
        }
    }

    /// The same as far as it goes without a wait.
    fn flush_now(&mut self) -> Result<()> {
        if self.out.is_empty() && self.pong.is_none() {
            return Ok(());
        }
        match self.flush(&Deadline::after(Duration::ZERO)) {
            Err(err) if err.is(Kind::Timeout) => Ok(()),
            // What the peer said before it went away can still be read.
            Err(err) if err.is(Kind::ConnectionReset) => {
                self.out.clear();
                self.pong = None;
                Ok(())
            }
            other => other,
        }
    }

    /// Sends the last words as far as that goes without a wait, and ends our direction. The descriptor stays: `poll`
    /// may look at it. The other direction stays open too, since bytes that run into a closed one come back as a reset,
    /// and a reset can overtake our last words.
    fn farewell(&mut self) {
        let deadline = Deadline::after(Duration::ZERO);
        let _ = self.flush(&deadline);
        if let Some(conn) = &mut self.conn {
            let _ = conn.shutdown(Shutdown::Write, &deadline);
        }
    }

    /// Tells the peer what is wrong, ends the connection, and remembers why.
    fn fail(&mut self, err: Error) -> Error {
        self.pong = None;
        if err.is(Kind::Protocol) && !self.leaving {
            let goodbye = Goodbye { code: frames::code_for(&err), reason: String::new() };
            if let Ok(mask) = self.mask() {
                let _ = frames::close(&goodbye, mask, &mut self.out);
            }
        }
        self.farewell();
        self.failed = Some(err.clone());
        err
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        contained(|| {
            failpoint("drop of a WebSocket");
            self.leave();
        });
    }
}

fn gone() -> Error {
    Error::new(Kind::Closed, "the WebSocket is closed")
}

fn mask_of(serves: bool) -> Result<Option<[u8; 4]>> {
    if serves { Ok(None) } else { mask().map(Some) }
}

/// Four bytes that nobody can foresee.
fn mask() -> Result<[u8; 4]> {
    let mut mask = [0; 4];
    match getrandom::fill(&mut mask) {
        Ok(()) => Ok(mask),
        Err(e) => Err(Error::new(Kind::Socket, format!("no random bytes: {e}"))),
    }
}

/// The way to the server, as requests find theirs, but never over a connection that others have used.
fn open(net: &Net, handshake: &Handshake, options: &Options, deadline: &Deadline) -> Result<Conn> {
    let connector = Connector {
        op: OP,
        net,
        pool: &Pool::new(),
        options: &options.way,
        origin: handshake.request.url.origin(),
        fresh: true,
        upgrade: true,
        http1: false,
        deadline,
        now: now(),
    };
    match connector.connect(&mut Timings::default())?.link {
        Link::Http1(pooled) => Ok(pooled.conn),
        #[cfg(feature = "http2")]
        Link::Http2(..) => Err(broken("the server chose HTTP/2, which was not offered")),
    }
}

/// Reads the answer's head. What follows it stays in the connection's buffer.
fn answer(conn: &mut Conn, deadline: &Deadline) -> Result<Box<Head>> {
    let mut budget = Budget::default();
    for _ in 0..=MAX_INTERIM {
        let (mut line, mut text) = (EmptyLine::default(), Vec::new());
        loop {
            if conn.buffered().is_empty() && conn.fill(deadline)? == 0 {
                return Err(Error::new(Kind::ConnectionReset, "the server closed the connection in the handshake"));
            }
            let here = conn.buffered();
            let end = line.find(here);
            let used = end.unwrap_or(here.len());
            text.extend_from_slice(here.get(..used).unwrap_or_default());
            conn.consume(used);
            if !budget.has(text.len()) {
                return Err(Budget::spent());
            }
            // Another protocol is told at its first bytes, not after 64 KiB of it.
            if end.is_some() || !may_be_http(&text, b"") {
                break;
            }
        }
        let head = parse_head(&text, &mut budget)?;
        if !(100..200).contains(&head.status) || head.status == 101 {
            return Ok(head);
        }
    }
    Err(broken(format!("more than {MAX_INTERIM} interim responses")))
}
