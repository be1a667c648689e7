//! The server's side of one connection (RFC 9113): bytes in, events and bytes out.
//!
//! The limits on a client are here: streams at a time, resets, frames that only cause work (`Meter`), the size of a
//! head. The owner of the session decides about requests and answers. Knows no socket and no clock.

use super::{
    head,
    meter::Meter,
    pipe::{Pipe, Stream as End, context, pipe},
};
use crate::http::{
    Invalid,
    answer::{Answer, Ends, Exchange},
    incoming::{Head, Limits, PREFACE, Refusal},
};
use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, Connection, Handshake, SendResponse},
};
use http::{Request, Response, StatusCode};
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    ops::Range,
    pin::Pin,
    task::Poll,
    time::Duration,
};

/// Streams of one connection at a time.
pub const STREAMS: u32 = 100;
/// Streams that a client may take back more than it has let be answered (CVE-2023-44487: opening and resetting costs us more than it).
const RESETS: u32 = 100;
/// Bytes that a client may send of one body, and of all of one connection, before it hears of us.
const WINDOW: u32 = 256 * 1024;
const ALL_WINDOWS: u32 = 1024 * 1024;
/// Bytes on their way to `h2` and from it.
const INWARD: usize = 64 * 1024;
const OUTWARD: usize = 64 * 1024;
/// Bytes of one stream that `h2` holds until they are written.
const HELD: usize = 64 * 1024;
/// How long a request that was answered before it was whole may go on.
const UNHEARD: Duration = Duration::from_secs(1);
/// The whole preface: [`PREFACE`] and what follows it.
const WHOLE_PREFACE: usize = 24;

/// What has happened to a stream.
#[derive(Debug)]
pub enum Event {
    /// A new one has a head. `ends`: that is all of the request.
    Request { stream: u32, head: Box<Head>, ends: bool },
    /// A new one has a head that is refused. It can be answered.
    Refused { stream: u32, refusal: Refusal, head_only: bool },
    /// Bytes of the body.
    Data(u32, Bytes),
    /// The request is whole. Trailers are dropped: they never become fields.
    End(u32),
    /// It is over: the client took it back, or broke a rule.
    Reset(u32),
}

/// One connection.
pub struct Session {
    pipe: Pipe,
    state: State,
    limits: Limits,
    streams: BTreeMap<u32, Stream>,
    events: VecDeque<Event>,
    meter: Meter,
    resets: u32,
    /// There was no room for all that is to go out.
    behind: bool,
    /// Requests that were answered before they were whole, and since when it is known.
    unheard: Vec<(RecvStream, Option<Duration>)>,
}

enum State {
    /// The preface is to come.
    Opening(Pin<Box<Handshake<End, Bytes>>>),
    Open(Box<Connection<End, Bytes>>),
    Over,
}

struct Stream {
    respond: SendResponse<Bytes>,
    /// While the request comes in.
    receive: Option<RecvStream>,
    /// Once there is a head of an answer.
    send: Option<SendStream<Bytes>>,
}

impl Session {
    /// `told`: [`PREFACE`] was read already.
    pub fn new(limits: Limits, told: bool, now: Duration) -> Session {
        let (pipe, end) = pipe(INWARD, OUTWARD);
        let handshake = Builder::new()
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
            .initial_window_size(WINDOW)
            .initial_connection_window_size(ALL_WINDOWS)
            .max_send_buffer_size(HELD)
            .handshake(end);
        let mut session = Session {
            pipe,
            state: State::Opening(Box::pin(handshake)),
            limits,
            streams: BTreeMap::new(),
            events: VecDeque::new(),
            meter: Meter::new(WHOLE_PREFACE, now),
            resets: 0,
            behind: false,
            unheard: Vec::new(),
        };
        if told {
            session.feed(PREFACE, now);
        }
        session.poll();
        session
    }

    /// Bytes of the client's; how many were taken. None are while what goes out is not taken: who does not read is not read.
    pub fn feed(&mut self, bytes: &[u8], now: Duration) -> usize {
        let count = self.pipe.give(bytes);
        let fair = self.meter.feed(bytes.get(..count).unwrap_or_default(), now);
        self.poll();
        if !fair {
            self.go_away(Reason::ENHANCE_YOUR_CALM);
        }
        count
    }

    /// The same with a part of `data`, all of it and without a copy; false where it does not fit, and nothing is taken.
    pub fn feed_all(&mut self, data: &mut Vec<u8>, part: Range<usize>, now: Duration) -> bool {
        if !self.pipe.fits(part.len()) {
            return false;
        }
        let fair = self.meter.feed(data.get(part.clone()).unwrap_or_default(), now);
        if self.pipe.lend(data, &part) {
            self.poll();
            *data = self.pipe.redeem();
        }
        if !fair {
            self.go_away(Reason::ENHANCE_YOUR_CALM);
        }
        true
    }

    /// How many bytes [`Session::feed`] would take.
    pub fn room(&self) -> usize {
        self.pipe.room()
    }

    /// What has happened since it was last asked.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// True if there are events.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Shows `send` what is to go out, and drops as much as it says has gone. After it there may be more.
    pub fn take<E>(&mut self, send: impl FnOnce(&[u8]) -> Result<usize, E>) -> Result<usize, E> {
        let count = self.pipe.take(send)?;
        if self.behind && count > 0 {
            self.poll();
        }
        Ok(count)
    }

    /// How many bytes are to go out now.
    pub fn pending(&self) -> usize {
        self.pipe.pending()
    }

    /// True once nothing follows what is to go out.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Since when a head is under way that is not whole.
    pub fn head_since(&self) -> Option<Duration> {
        self.meter.head_since()
    }

    /// Lets `h2` go on, after bytes were moved or something was said.
    pub fn poll(&mut self) {
        let cx = &mut context();
        // Only what a client sends makes events, and it may have waited until we had said enough.
        let fed = self.behind || self.pipe.unread() > 0;
        if let State::Opening(handshake) = &mut self.state {
            self.state = match handshake.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(connection)) => State::Open(Box::new(connection)),
                Poll::Ready(Err(_)) => State::Over,
            };
        }
        while let State::Open(connection) = &mut self.state {
            match connection.poll_accept(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok((request, respond)))) => self.open(request, respond),
                Poll::Ready(_) => self.state = State::Over,
            }
        }
        if fed {
            self.collect();
        }
        self.behind = self.pipe.pending() >= OUTWARD;
    }

    fn open(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, receive) = request.into_parts();
        if respond.poll_reset(&mut context()).is_ready() {
            return self.lost();
        }
        let stream = respond.stream_id().as_u32();
        let ends = receive.is_end_stream();
        let head_only = parts.method == http::Method::HEAD;
        let event = match head::request(&Request::from_parts(parts, ()), ends, &self.limits) {
            Ok(head) => Event::Request { stream, head: Box::new(head), ends },
            Err(refusal) => Event::Refused { stream, refusal, head_only },
        };
        let receive = (!ends).then_some(receive);
        self.streams.insert(stream, Stream { respond, receive, send: None });
        self.events.push_back(event);
    }

    /// Takes down what has come for streams, and which of them are over.
    fn collect(&mut self) {
        let cx = &mut context();
        let mut over = Vec::new();
        for (id, stream) in &mut self.streams {
            let lost = match (&mut stream.receive, &mut stream.send) {
                (Some(receive), _) => match gather(*id, receive, &mut self.events) {
                    Gathered::More => false,
                    Gathered::All => {
                        stream.receive = None;
                        false
                    }
                    Gathered::Lost => true,
                },
                (None, Some(send)) => send.poll_reset(cx).is_ready(),
                (None, None) => stream.respond.poll_reset(cx).is_ready(),
            };
            if lost {
                over.push(*id);
            }
        }
        self.unheard.retain_mut(|(receive, _)| is_open(receive));
        for id in over {
            self.streams.remove(&id);
            self.events.push_back(Event::Reset(id));
            self.lost();
        }
    }

    /// A stream that was not let be answered.
    fn lost(&mut self) {
        self.resets += 1;
        if self.resets > RESETS {
            self.shut(Reason::ENHANCE_YOUR_CALM);
        }
    }

    /// Sends the head of an answer. `last`: nothing follows. False if the stream is gone.
    /// Errors: a status or a field that HTTP/2 cannot carry.
    pub fn respond(
        &mut self,
        id: u32,
        answer: &Answer,
        exchange: &Exchange<'_>,
        ends: Ends,
        last: bool,
    ) -> Result<bool, Invalid> {
        if answer.status < 200 {
            // No answer ends with an interim one, and 101 is of HTTP/1.1 (RFC 9113 section 8.6).
            return Invalid::because(format!("status must be 200..999 over HTTP/2, got {}", answer.status));
        }
        let Some(response) = head::response(answer, exchange, ends) else {
            return Invalid::because(
                "a header has a control character, or there are too many: HTTP/2 cannot carry them",
            );
        };
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(false) };
        let Ok(send) = stream.respond.send_response(response, last) else { return Ok(false) };
        stream.send = Some(send);
        if last {
            self.answered(id);
        }
        Ok(true)
    }

    /// `100 Continue`.
    pub fn go_on(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let mut interim = Response::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            let _ = stream.respond.send_informational(interim);
        }
    }

    /// How many of `want` bytes of a body the client has room for now.
    pub fn window(&mut self, id: u32, want: usize) -> usize {
        let Some(send) = self.streams.get_mut(&id).and_then(|stream| stream.send.as_mut()) else { return 0 };
        send.reserve_capacity(want);
        send.capacity().min(want)
    }

    /// Sends bytes of a body, as many as [`Session::window`] has said. `last`: nothing follows. False if the stream is gone.
    pub fn data(&mut self, id: u32, bytes: &[u8], last: bool) -> bool {
        let Some(send) = self.streams.get_mut(&id).and_then(|stream| stream.send.as_mut()) else { return false };
        if send.send_data(Bytes::copy_from_slice(bytes), last).is_err() {
            return false;
        }
        self.meter.sent(bytes.len());
        if last {
            self.answered(id);
        }
        true
    }

    /// All of an answer is given. A request that is not whole is not heard any more, but not reset at once either: curl up to 7.88 forgets
    /// an answer that a reset follows in the same read.
    fn answered(&mut self, id: u32) {
        self.resets = self.resets.saturating_sub(1);
        if let Some(Stream { receive: Some(receive), .. }) = self.streams.remove(&id) {
            self.unheard.push((receive, None));
        }
    }

    /// Resets the streams whose requests nobody wants to hear, some time after their answers.
    pub fn tick(&mut self, now: Duration) {
        let before = self.unheard.len();
        self.unheard.retain_mut(|(_, since)| now.saturating_sub(*since.get_or_insert(now)) < UNHEARD);
        if self.unheard.len() < before {
            self.poll();
        }
    }

    /// Ends a stream.
    pub fn reset(&mut self, id: u32, reason: Reason) {
        if let Some(mut stream) = self.streams.remove(&id) {
            stream.respond.send_reset(reason);
        }
    }

    /// Takes no more streams, once the client has heard of it; those that are open go on.
    pub fn drain(&mut self) {
        match &mut self.state {
            State::Open(connection) => connection.graceful_shutdown(),
            _ => self.state = State::Over,
        }
        self.poll();
    }

    /// Ends the connection and all streams: a GOAWAY is the last of what goes out.
    pub fn go_away(&mut self, reason: Reason) {
        self.shut(reason);
        self.poll();
    }

    fn shut(&mut self, reason: Reason) {
        match &mut self.state {
            State::Open(connection) => connection.abrupt_shutdown(reason),
            _ => self.state = State::Over,
        }
    }
}

/// True while there may be more of a request that nobody wants: its window is not opened again.
fn is_open(receive: &mut RecvStream) -> bool {
    let cx = &mut context();
    loop {
        match receive.poll_data(cx) {
            Poll::Pending => return true,
            Poll::Ready(Some(Ok(_))) => (),
            Poll::Ready(_) => return false,
        }
    }
}

enum Gathered {
    More,
    All,
    Lost,
}

fn gather(id: u32, receive: &mut RecvStream, events: &mut VecDeque<Event>) -> Gathered {
    let cx = &mut context();
    loop {
        match receive.poll_data(cx) {
            Poll::Pending => return Gathered::More,
            Poll::Ready(Some(Ok(bytes))) => {
                // It is kept elsewhere, within the limits of bodies.
                let _ = receive.flow_control().release_capacity(bytes.len());
                if !bytes.is_empty() {
                    events.push_back(Event::Data(id, bytes));
                }
            }
            Poll::Ready(Some(Err(_))) => return Gathered::Lost,
            Poll::Ready(None) => break,
        }
    }
    match receive.poll_trailers(cx) {
        Poll::Pending => Gathered::More,
        Poll::Ready(Ok(_)) => {
            events.push_back(Event::End(id));
            Gathered::All
        }
        Poll::Ready(Err(_)) => Gathered::Lost,
    }
}
