//! The same over HTTP/2: a stream of a connection that it shares.

use crate::{
    client::shared::{Shared, Stream},
    deadline::{Deadline, now},
    error::{Error, Kind, Result},
    http::{
        body::{Asked, Framing},
        broken,
        fields::Fields,
        http2::{
            answer::{Answer, Found},
            session::{Fault, Session, WINDOW},
        },
        response::Head,
    },
};
use std::{
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use super::limited;

/// One request on a shared connection.
pub struct Http2 {
    shared: Arc<Shared>,
    scheme: &'static str,
    asked: Asked,
    chunked: bool,
    reused: bool,
    /// Once the head is out.
    stream: Option<Stream>,
    /// A final head that came while the request was still being sent.
    early: Option<Box<Head>>,
    continued: bool,
    /// What [`Http2::look`] came upon, until it is told.
    found: Option<Fault>,
    failure: Option<Error>,
    /// Bytes of body that may be read after its deadline.
    grace: usize,
    /// When [`Http2::look`] saw something last.
    heard: Option<Instant>,
    /// In place of the callers' deadlines.
    hurry: Option<Deadline>,
    /// What the last fault said.
    unprocessed: bool,
    downgrade: bool,
}

impl Http2 {
    pub fn new(shared: Arc<Shared>, scheme: &'static str, reused: bool, asked: Asked, chunked: bool) -> Http2 {
        Http2 {
            shared,
            scheme,
            asked,
            chunked,
            reused,
            stream: None,
            early: None,
            continued: false,
            found: None,
            failure: None,
            grace: WINDOW as usize,
            heard: None,
            hurry: None,
            unprocessed: false,
            downgrade: false,
        }
    }

    pub fn start(&mut self, head: &[u8], body: &[u8], deadline: &Deadline) -> Result<bool> {
        let length = if self.chunked { None } else { Some(announced(head)) };
        let (scheme, asked) = (self.scheme, self.asked);
        let begun = self.shared.with(|session| session.begin(scheme, head, length, asked));
        let answer = self.told(begun)?;
        self.stream = Some(Stream::new(self.shared.clone(), answer));
        match body {
            [] => Ok(false),
            body => self.push_some(body, false, deadline),
        }
    }

    pub fn push(&mut self, piece: &[u8], deadline: &Deadline) -> Result<bool> {
        self.push_some(piece, self.chunked && piece.is_empty(), deadline)
    }

    /// Hands all of `piece` over, in the measure in which the peer opens its windows.
    fn push_some(&mut self, piece: &[u8], ended: bool, deadline: &Deadline) -> Result<bool> {
        let mut done = 0;
        while done < piece.len() || ended {
            let rest = piece.get(done..).unwrap_or_default();
            let early = &mut self.early;
            let sent = self.stream.as_mut().ok_or_else(closed)?.wait(deadline, |answer, session| {
                // A server that has said no does not open its window.
                match early.is_none().then(|| final_head(answer, session)).transpose()?.flatten() {
                    Some(head) => {
                        *early = Some(head);
                        Ok(Some(None))
                    }
                    None if early.is_some() => Ok(Some(None)),
                    None => Ok(answer.send(session, rest, ended)?.map(Some)),
                }
            });
            match sent {
                Ok(Some(count)) => done += count,
                Ok(None) => return Ok(true),
                Err(fault) if fault.error.is(Kind::ConnectionReset) && !fault.unprocessed => {
                    // What it said before may still be read.
                    self.failure = Some(fault.error);
                    return Ok(true);
                }
                Err(fault) => return self.told(Err(fault)),
            }
            if ended {
                break;
            }
        }
        Ok(false)
    }

    pub fn expect(&mut self, deadline: &Deadline) -> Result<bool> {
        let stream = self.stream.as_mut().ok_or_else(closed)?;
        let found = stream.wait(deadline, |answer, session| answer.head(session));
        match found {
            Ok(Found::Interim(head)) if head.status == 100 => {
                self.continued = true;
                Ok(false)
            }
            Ok(Found::Interim(_)) => self.expect(deadline),
            Ok(Found::Final(head)) => {
                self.early = Some(head);
                Ok(true)
            }
            Err(fault) if fault.error.is(Kind::Timeout) => Ok(false),
            Err(fault) => self.told(Err(fault)),
        }
    }

    pub fn refused(&mut self) -> Result<bool> {
        if self.early.is_none() {
            let found = self.stream.as_mut().ok_or_else(closed)?.glance(final_head);
            self.early = self.told(found)?;
        }
        Ok(self.early.as_ref().is_some_and(|head| !(200..300).contains(&head.status)))
    }

    pub fn receive(&mut self, deadline: &Deadline, silence: Option<Duration>) -> Result<Box<Head>> {
        loop {
            if let Some(head) = self.early.take() {
                return Ok(head);
            }
            if let Some(fault) = self.found.take() {
                return self.told(Err(fault));
            }
            let stream = self.stream.as_mut().ok_or_else(closed)?;
            let deadline = self.hurry.clone().unwrap_or_else(|| limited(deadline, silence));
            let found = stream.wait(&deadline, |answer, session| answer.head(session));
            match self.told(found)? {
                Found::Interim(_) => (),
                Found::Final(head) => return Ok(head),
            }
        }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// See [`super::Transaction::look`].
    pub fn look(&mut self, session: &mut Session) -> bool {
        if self.early.is_none() && self.found.is_none() {
            let Some(answer) = self.stream.as_mut().and_then(Stream::answer_mut) else { return true };
            // The head was handed on: it is about the body.
            let seen = match answer.framing() {
                Some(_) => answer.peek(session),
                None => final_head(answer, session).map(|head| {
                    self.early = head;
                    self.early.is_some()
                }),
            };
            match seen {
                Ok(false) => return false,
                Ok(true) => (),
                Err(fault) => self.found = Some(fault),
            }
            self.heard = Some(now());
        }
        true
    }

    pub fn heard(&self) -> Option<Instant> {
        self.heard
    }

    pub fn hurry(&mut self, deadline: Deadline) {
        self.hurry = Some(deadline);
    }

    pub fn read(&mut self, into: &mut [u8], deadline: &Deadline) -> Result<usize> {
        if let Some(fault) = self.found.take() {
            return self.told(Err(fault));
        }
        let deadline = self.hurry.as_ref().filter(|_| !deadline.is_now()).unwrap_or(deadline);
        let stream = self.stream.as_mut().ok_or_else(closed)?;
        let read = stream.wait(deadline, |answer, session| answer.read(session, into));
        self.grace = WINDOW as usize;
        self.told(read)
    }

    /// See [`super::Transaction::read_late`]. No more than could have been here: a peer that never stops must not go on for ever.
    pub fn read_late(&mut self, into: &mut [u8]) -> Result<usize> {
        let into = into.split_at_mut(into.len().min(self.grace)).0;
        if into.is_empty() {
            return Ok(0);
        }
        if let Some(fault) = self.found.take() {
            return self.told(Err(fault));
        }
        let stream = self.stream.as_mut().ok_or_else(closed)?;
        let read = stream.glance(|answer, session| answer.read(session, into));
        let count = self.told(read)?.unwrap_or(0);
        self.grace -= count;
        Ok(count)
    }

    /// Keeps what a fault says besides its error.
    fn told<T>(&mut self, done: std::result::Result<T, Fault>) -> Result<T> {
        done.map_err(|fault| {
            (self.unprocessed, self.downgrade) = (fault.unprocessed, fault.downgrade);
            fault.error
        })
    }

    fn answer(&self) -> Option<&Answer> {
        self.stream.as_ref()?.answer()
    }

    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    pub fn ended(&self) -> bool {
        self.answer().is_some_and(Answer::ended)
    }

    pub fn framing(&self) -> Option<Framing> {
        self.answer()?.framing()
    }

    pub fn pending(&self) -> u64 {
        self.answer().and_then(Answer::left).unwrap_or(0)
    }

    pub fn is_stale(&self) -> bool {
        self.reused && self.answer().is_none_or(Answer::untouched)
    }

    pub fn is_unprocessed(&self) -> bool {
        self.unprocessed
    }

    pub fn wants_http1(&self) -> bool {
        self.downgrade
    }

    pub fn is_ours(&self) -> bool {
        self.shared.is_ours()
    }

    pub fn has_buffered(&self) -> bool {
        self.answer().is_some_and(Answer::has_piece)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.fd()
    }

    pub fn finish(mut self) -> Fields {
        self.stream.as_mut().and_then(Stream::answer_mut).map_or_else(Fields::new, Answer::take_trailers)
    }
}

/// The final head, if it is here.
fn final_head(answer: &mut Answer, session: &mut Session) -> std::result::Result<Option<Box<Head>>, Fault> {
    loop {
        match answer.head(session)? {
            Some(Found::Final(head)) => return Ok(Some(head)),
            Some(Found::Interim(_)) => (),
            None => return Ok(None),
        }
    }
}

/// The length of the body that a head of ours speaks of.
fn announced(head: &[u8]) -> u64 {
    let mut lines = head.split(|byte| *byte == b'\n');
    let length = lines.find_map(|line| line.strip_prefix(b"Content-Length: "));
    length.and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok()).unwrap_or(0)
}

fn closed() -> Error {
    broken("the request has no stream")
}
