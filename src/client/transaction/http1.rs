//! The same over HTTP/1.1: a connection of its own, whose bytes the exchange reads.

use crate::{
    allocation,
    client::pool::{Pool, PooledConnection},
    conn::Conn,
    deadline::{Deadline, SLICE},
    error::{Error, Kind, Result},
    http::{
        body::{Asked, Framing},
        broken,
        exchange::{Event, Exchange},
        fields::Fields,
        response::Head,
    },
};
use std::time::{Duration, Instant};

use super::limited;

/// Chunks of this size are read straight to where they belong; smaller ones through the connection's buffer.
const DIRECT: u64 = 32 * 1024;

/// A connection with one request on it.
pub struct Http1 {
    pooled: Box<PooledConnection>,
    exchange: Exchange,
    /// The connection was open already.
    reused: bool,
    /// The body is sent in chunks.
    chunked: bool,
    /// A final head that came while the request was still being sent.
    early: Option<Box<Head>>,
    /// The server has said 100 Continue.
    continued: bool,
    /// See [`super::Transaction::failure`].
    failure: Option<Error>,
}

impl Http1 {
    pub fn new(pooled: Box<PooledConnection>, reused: bool, asked: Asked, chunked: bool) -> Http1 {
        let exchange = Exchange::new(asked);
        Http1 { pooled, exchange, reused, chunked, early: None, continued: false, failure: None }
    }

    pub fn start(&mut self, mut head: Vec<u8>, body: &[u8], deadline: &Deadline) -> Result<bool> {
        // In one go: a small request is one packet.
        allocation::append(&mut head, body)?;
        self.send(&head, deadline)
    }

    pub fn push(&mut self, piece: &[u8], deadline: &Deadline) -> Result<bool> {
        if !self.chunked {
            return self.send(piece, deadline);
        }
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        allocation::append(&mut chunk, piece)?;
        allocation::append(&mut chunk, b"\r\n")?;
        self.send(&chunk, deadline)
    }

    fn send(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<bool> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            // What goes at once needs no look at a clock.
            let gone = match self.pooled.conn.send_at_once(rest) {
                // A server that has said no may stop reading: look up from time to time.
                Ok(0) => self.pooled.conn.send(rest, &deadline.within(Some(SLICE))),
                gone => gone,
            };
            match gone {
                Ok(count) => sent += count,
                Err(err) if err.is(Kind::Timeout) && !deadline.is_past() => {
                    sent += err.fields().sent.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                    if self.answered()? {
                        return Ok(true);
                    }
                }
                Err(err) if err.is(Kind::ConnectionReset) => {
                    // What it said before it went away may still be read.
                    self.failure = Some(err);
                    return Ok(true);
                }
                Err(err) => return Err(err),
            }
        }
        Ok(false)
    }

    /// True if the final answer, or the end of the stream, is here already. Does not wait.
    fn answered(&mut self) -> Result<bool> {
        while self.early.is_none() && !self.pooled.conn.is_idle_clean() {
            // There is something to read: the deadline is only for the odd half of a TLS record.
            if self.pooled.conn.buffered().is_empty() && self.pooled.conn.fill(&Deadline::after(SLICE))? == 0 {
                return Ok(true);
            }
            self.early = self.feed()?;
        }
        Ok(self.early.is_some())
    }

    pub fn expect(&mut self, deadline: &Deadline) -> Result<bool> {
        while !self.continued && self.early.is_none() {
            if self.pooled.conn.buffered().is_empty() {
                match self.pooled.conn.fill(deadline) {
                    Ok(0) => return Ok(true),
                    Ok(_) => (),
                    Err(err) if err.is(Kind::Timeout) => return Ok(false),
                    Err(err) => return Err(err),
                }
            }
            self.early = self.feed()?;
        }
        Ok(self.early.is_some())
    }

    pub fn refused(&mut self) -> Result<bool> {
        Ok(self.answered()? && !self.early.as_ref().is_some_and(|head| (200..300).contains(&head.status)))
    }

    pub fn receive(&mut self, deadline: &Deadline, silence: Option<Duration>) -> Result<Box<Head>> {
        loop {
            if let Some(head) = self.early.take() {
                return Ok(head);
            }
            if self.pooled.conn.buffered().is_empty() && self.pooled.conn.fill(&limited(deadline, silence))? == 0 {
                self.exchange.finish()?;
            }
            self.early = self.feed()?;
        }
    }

    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    pub fn ended(&self) -> bool {
        self.exchange.ended()
    }

    pub fn framing(&self) -> Option<Framing> {
        self.exchange.framing()
    }

    pub fn pending(&self) -> u64 {
        self.exchange.pending()
    }

    pub fn is_stale(&self) -> bool {
        self.reused && self.exchange.untouched()
    }

    pub fn is_ours(&self) -> bool {
        self.pooled.conn.is_ours()
    }

    pub fn has_buffered(&self) -> bool {
        !self.pooled.conn.buffered().is_empty()
    }

    pub fn conn(&self) -> &Conn {
        &self.pooled.conn
    }

    pub fn finish(mut self, pool: &Pool, sent: bool, now: Instant) -> Fields {
        let trailers = self.exchange.take_trailers();
        let sent = sent && self.failure.is_none();
        if sent && self.exchange.reusable() && self.pooled.conn.buffered().is_empty() {
            pool.checkin(self.pooled, self.exchange.lifetime(), now);
        }
        trailers
    }

    /// Shows the exchange what is buffered; the final head if it is in there.
    fn feed(&mut self) -> Result<Option<Box<Head>>> {
        while !self.pooled.conn.buffered().is_empty() {
            let fed = self.exchange.feed(self.pooled.conn.buffered())?;
            self.pooled.conn.consume(fed.used);
            match fed.event {
                Event::Head(head) => return Ok(Some(head)),
                Event::Interim(head) if head.status == 100 => self.continued = true,
                Event::More | Event::Interim(_) => (),
                // Neither comes before the head.
                Event::Body(_) | Event::End => return Err(broken("body before head")),
            }
        }
        Ok(None)
    }

    pub fn read(&mut self, into: &mut [u8], deadline: &Deadline) -> Result<usize> {
        let conn = &mut self.pooled.conn;
        if conn.buffered().is_empty() {
            let pending = self.exchange.pending();
            let chunked = self.exchange.framing() == Some(Framing::Chunked);
            let most = usize::try_from(pending).unwrap_or(usize::MAX).min(into.len());
            if pending >= if chunked { DIRECT } else { 1 } && into.len() >= 4096 {
                let count = conn.read(into.get_mut(..most).unwrap_or_default(), deadline)?;
                match count {
                    0 => self.exchange.finish()?,
                    _ => self.exchange.took(count as u64),
                }
                return Ok(count);
            }
            if conn.fill(deadline)? == 0 {
                self.exchange.finish()?;
                return Ok(0);
            }
        }
        let buffered = conn.buffered();
        // No more than fits: the exchange does not mind where its input is cut.
        let view = buffered.get(..into.len().min(buffered.len())).unwrap_or_default();
        let fed = self.exchange.feed(view)?;
        let mut count = 0;
        if let Event::Body(range) = fed.event
            && let Some(piece) = view.get(range)
            && let Some(place) = into.get_mut(..piece.len())
        {
            place.copy_from_slice(piece);
            count = piece.len();
        }
        conn.consume(fed.used);
        Ok(count)
    }
}
