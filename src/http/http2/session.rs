//! A client's side of one connection, without I/O: bytes in, bytes out, and [`Answer`]s to requests, polled after bytes came in.
//!
//! Memory is bounded whatever the peer does: a header list by 64 KiB, the buffered part of a body by a window of 1 MiB
//! for each running request, what `h2` has of short frames by 4 MiB, useless frames by `census`. Push is refused (RFC 9113 section 8.4).

use super::{
    answer::Answer,
    body::{self, Body},
    census::{Census, SHORT_BUDGET},
    client_head,
    pipe::{self, Pipe},
};
use crate::{
    error::{Error, Kind, Result},
    http::{body::Asked, broken, response::MAX_HEAD_BYTES},
};
use bytes::Bytes;
use h2::{
    Reason,
    client::{Builder, Connection, SendRequest},
};
use std::{
    future::Future,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::Poll,
};

/// What a peer may send of one body before somebody has read it.
pub const WINDOW: u32 = 1 << 20;
/// Requests under way on one connection.
pub const MAX_STREAMS: usize = 128;
/// Bytes of one request's body that were taken and not sent.
const SEND_BUFFER: usize = 256 * 1024;
/// What is on its way to `h2`, and from it.
const PIPE: usize = 64 * 1024;
/// The windows of so many requests are open from the beginning.
const FIRST_STREAMS: usize = 4;

/// One connection.
pub struct Session {
    pipe: Pipe,
    /// `None` once it failed or has ended.
    connection: Option<Connection<pipe::Stream, Bytes>>,
    sender: SendRequest<Bytes>,
    census: Census,
    /// Those that may be read.
    bodies: Vec<Weak<Mutex<Body>>>,
    streams: usize,
    /// The connection's window is for so many.
    room: usize,
    failure: Option<Error>,
}

/// Why a request got no answer, or not all of it.
#[derive(Debug)]
pub struct Fault {
    pub error: Error,
    /// The peer has certainly not looked at the request: it may be made again whatever its method (RFC 9113 section 8.7).
    pub unprocessed: bool,
    /// The peer wants it over HTTP/1.1.
    pub downgrade: bool,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault { error, unprocessed: false, downgrade: false }
    }
}

impl Session {
    /// Says hello: the preface and SETTINGS are pending.
    pub fn new() -> Result<Session> {
        let (pipe, stream) = pipe::pipe(PIPE, PIPE);
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * FIRST_STREAMS as u32)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(SHORT_BUDGET)
            // Until the peer has said how many it allows: what it refuses is asked for once again only.
            .initial_max_send_streams(1)
            .handshake(stream);
        // Nothing in it waits for the peer.
        let Poll::Ready(done) = std::pin::pin!(handshake).as_mut().poll(&mut pipe::context()) else {
            return Err(Error::new(Kind::Socket, "HTTP/2: the preface found no room"));
        };
        let (sender, connection) = done.map_err(|why| Error::new(Kind::Socket, format!("HTTP/2: {why}")))?;
        let (census, streams, room) = (Census::default(), 0, FIRST_STREAMS);
        let (connection, bodies) = (Some(connection), Vec::new());
        let mut session = Session { pipe, connection, sender, census, bodies, streams, room, failure: None };
        session.turn();
        Ok(session)
    }

    /// How many bytes [`Session::feed`] would take. None while the peer does not read what it has to: then nothing of it is read, either.
    pub fn room(&self) -> usize {
        if self.connection.is_some() { self.pipe.room() } else { 0 }
    }

    /// Takes bytes of the peer's: how many.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        let here = bytes.get(..count).unwrap_or_default();
        match self.census.look(here) {
            Ok(()) => {
                self.pipe.give(here);
                self.turn();
            }
            Err(err) => self.fail(err),
        }
        count
    }

    /// The same with a part of `data`, all of it and without a copy; false where it does not fit, and nothing is taken.
    pub fn feed_all(&mut self, data: &mut Vec<u8>, part: Range<usize>) -> bool {
        if self.connection.is_none() || !self.pipe.fits(part.len()) {
            return false;
        }
        match self.census.look(data.get(part.clone()).unwrap_or_default()) {
            Ok(()) => {
                if self.pipe.lend(data, &part) {
                    self.turn();
                    *data = self.pipe.redeem();
                }
            }
            Err(err) => self.fail(err),
        }
        true
    }

    /// The peer has ended the connection.
    pub fn end(&mut self) {
        self.pipe.end();
        self.turn();
        if self.connection.is_some() {
            // It cannot go on, whatever it waits for.
            self.connection = None;
        }
    }

    /// The connection is of no use any more, and that is why.
    pub fn fail(&mut self, err: Error) {
        self.failure.get_or_insert(err);
        self.connection = None;
    }

    /// Lets `h2` work: after anything else was done with the session or an answer.
    pub fn turn(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        match Pin::new(connection).poll(&mut pipe::context()) {
            Poll::Pending => (),
            // What it has to say to the peer is pending still.
            Poll::Ready(Ok(())) => self.connection = None,
            Poll::Ready(Err(why)) => {
                if why.is_library() {
                    self.failure.get_or_insert_with(|| broken(said(&why)));
                }
                self.connection = None;
            }
        }
        if self.census.crumbs() {
            // One that is locked is being read.
            for body in self.bodies.iter().filter_map(Weak::upgrade) {
                if let Ok(mut body) = body.try_lock() {
                    body.gather(&mut pipe::context());
                }
            }
        }
    }

    /// A body may be read from now on.
    pub(super) fn reads(&mut self, body: &body::Shared) {
        self.bodies.retain(|body| body.strong_count() > 0);
        self.bodies.push(Arc::downgrade(body));
    }

    /// Shows `send` what is to go out, and drops as much as it says has gone.
    pub fn send(&mut self, send: impl FnOnce(&[u8]) -> Result<usize>) -> Result<usize> {
        let count = self.pipe.take(send)?;
        if count > 0 {
            // There is room: more may be waiting.
            self.turn();
        }
        Ok(count)
    }

    /// How many bytes are to go out.
    pub fn pending(&self) -> usize {
        self.pipe.pending()
    }

    /// True as long as further requests may be made.
    pub fn is_open(&self) -> bool {
        self.connection.is_some() && self.census.goaway().is_none() && self.failure.is_none() && !self.census.is_worn()
    }

    /// True once nothing more will come in or go out but what is pending.
    pub fn is_over(&self) -> bool {
        self.connection.is_none()
    }

    /// True if one more request goes out at once: the peer allows it beside those that are under way or unread.
    pub fn has_room(&self) -> bool {
        // Those that are made before it has said how many do not have to wait for long.
        let allowed = !self.census.begun() || self.streams < self.sender.current_max_send_streams();
        self.takes_more() && allowed
    }

    /// True if one more request may be made, though it may have to wait for the peer to allow it.
    pub fn takes_more(&self) -> bool {
        self.streams < MAX_STREAMS
    }

    /// Requests under way.
    pub fn streams(&self) -> usize {
        self.streams
    }

    /// Makes a request: its head as [`crate::http::request::Draft`] writes it, and how long its body is going to be, if that is known.
    /// [`Session::release`] the answer in the end.
    pub fn begin(
        &mut self,
        scheme: &str,
        head: &[u8],
        length: Option<u64>,
        asked: Asked,
    ) -> std::result::Result<Answer, Fault> {
        if !self.is_open() {
            let error = self.failure.clone().unwrap_or_else(lost);
            return Err(Fault { error, unprocessed: true, downgrade: false });
        }
        let request = client_head::request(scheme, head)?;
        // A sender of its own: that of another request may wait for the peer to allow more at once.
        let sent = self.sender.clone().send_request(request, length == Some(0));
        let (response, upload) = sent.map_err(|why| match why.is_io() || why.is_go_away() {
            true => Fault { error: lost(), unprocessed: true, downgrade: false },
            false => Error::new(Kind::Socket, format!("HTTP/2: {why}")).into(),
        })?;
        let answer = Answer::new(response, upload, length, asked);
        self.census.opened(answer.id());
        self.streams += 1;
        if self.streams > self.room
            && let Some(connection) = &mut self.connection
        {
            // A body that nobody reads must not take the room of the others.
            self.room = (self.room * 2).min(MAX_STREAMS);
            connection.set_target_window_size(WINDOW * self.room as u32);
        }
        self.turn();
        Ok(answer)
    }

    /// Ends a request: if the answer is not complete, the peer is told to spare the rest.
    pub fn release(&mut self, answer: Answer) {
        self.census.closed(answer.id());
        self.streams = self.streams.saturating_sub(1);
        drop(answer);
        self.turn();
    }

    /// Some of a request's body was handed over.
    pub(super) fn moved(&mut self) {
        self.census.moved();
        self.turn();
    }

    /// What `why` means for the request on that stream.
    pub(super) fn fault(&self, stream: u32, why: &h2::Error) -> Fault {
        let goaway = self.census.goaway();
        let unprocessed = goaway.is_some_and(|goaway| stream > goaway.last);
        if let Some(failure) = self.failure.as_ref().filter(|_| !unprocessed) {
            return failure.clone().into();
        }
        if why.is_reset()
            && why.is_remote()
            && let Some(reason) = why.reason()
        {
            return self.reset(stream, reason);
        }
        let error = match goaway {
            _ if why.is_library() && !unprocessed => broken(said(why)),
            Some(goaway) => {
                let reason = Reason::from(goaway.code);
                reset_by_peer(&format!("the server has ended the connection (GOAWAY, {})", named(reason)))
            }
            None => lost_at(self.census.begun()),
        };
        Fault { error, unprocessed, downgrade: false }
    }

    /// The same of a reset that is known by its code alone.
    pub(super) fn reset(&self, stream: u32, reason: Reason) -> Fault {
        let spared = self.census.goaway().is_some_and(|goaway| stream > goaway.last);
        let downgrade = reason == Reason::HTTP_1_1_REQUIRED;
        let unprocessed = spared || downgrade || reason == Reason::REFUSED_STREAM;
        let error = reset_by_peer(&format!("the server reset the request ({})", named(reason)));
        Fault { error, unprocessed, downgrade }
    }

    /// Why nothing more will come, if that is so.
    pub fn over(&self) -> Option<Fault> {
        self.is_over().then(|| self.failure.clone().unwrap_or_else(lost).into())
    }
}

fn reset_by_peer(message: &str) -> Error {
    Error::new(Kind::ConnectionReset, message)
}

fn lost() -> Error {
    reset_by_peer("the server closed the connection before the answer was complete")
}

fn lost_at(begun: bool) -> Error {
    match begun {
        true => lost(),
        false => reset_by_peer("the server closed the connection without an answer"),
    }
}

/// The RFC's word for a code.
fn named(reason: Reason) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let code = u32::from(reason);
    NAMES.get(code as usize).map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}

/// What `h2` found wrong with the peer. It says only the code.
fn said(why: &h2::Error) -> String {
    let code = why.reason().map_or_else(String::new, |reason| format!(": {}", named(reason)));
    format!("the server broke HTTP/2{code}")
}
