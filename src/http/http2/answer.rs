//! One request on a [`Session`] and its answer: polled, never waited for. `None` is "not yet".

use super::{
    body::{self, Body},
    census::MAX_HEADS,
    client_head, pipe,
    session::{Fault, Session},
};
use crate::http::{
    body::{Asked, Framing, content_length},
    broken,
    fields::Fields,
    response::{Budget, Head},
};
use bytes::{Buf, Bytes};
use h2::{SendStream, client::ResponseFuture};
use std::{future::Future, pin::Pin, task::Poll};

type Result<T> = std::result::Result<T, Fault>;

/// One request under way. Give it back to [`Session::release`].
pub struct Answer {
    id: u32,
    upload: SendStream<Bytes>,
    /// Bytes of the request's body that are still to come, if that is known.
    unsent: Option<u64>,
    /// The end of the request is on its way.
    sent: bool,
    asked: Asked,
    budget: Budget,
    interims: u8,
    untouched: bool,
    framing: Option<Framing>,
    /// What was announced and has not come.
    left: Option<u64>,
    trailers: Fields,
    /// Came, and was not handed on.
    piece: Bytes,
    at: At,
}

enum At {
    Head(ResponseFuture),
    Body(body::Shared),
    End,
    Failed,
}

/// What [`Answer::head`] found.
#[derive(Debug)]
pub enum Found {
    Interim(Box<Head>),
    Final(Box<Head>),
}

impl Answer {
    pub(super) fn new(
        response: ResponseFuture,
        upload: SendStream<Bytes>,
        length: Option<u64>,
        asked: Asked,
    ) -> Answer {
        Answer {
            id: response.stream_id().as_u32(),
            upload,
            unsent: length,
            sent: length == Some(0),
            asked,
            budget: Budget::default(),
            interims: 0,
            untouched: true,
            framing: None,
            left: None,
            trailers: Fields::new(),
            piece: Bytes::new(),
            at: At::Head(response),
        }
    }

    /// The stream's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The next head, if it is here.
    pub fn head(&mut self, session: &mut Session) -> Result<Option<Found>> {
        let done = self.head_inner(session);
        if done.is_err() {
            self.at = At::Failed;
        }
        done
    }

    fn head_inner(&mut self, session: &mut Session) -> Result<Option<Found>> {
        let At::Head(response) = &mut self.at else { return Err(broken("the head was read before").into()) };
        let cx = &mut pipe::context();
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            let interim = interim.map_err(|why| session.fault(self.id, &why))?;
            self.untouched = false;
            self.interims += 1;
            if self.interims + 2 > MAX_HEADS {
                return Err(broken("more than 16 interim responses").into());
            }
            if interim.status().as_u16() == 101 {
                return Err(broken("101 does not exist in HTTP/2").into());
            }
            return Ok(Some(Found::Interim(client_head::response(&interim, &mut self.budget)?)));
        }
        let response = match Pin::new(response).poll(cx) {
            Poll::Ready(done) => done.map_err(|why| session.fault(self.id, &why))?,
            Poll::Pending => return session.over().map_or(Ok(None), Err),
        };
        self.untouched = false;
        let (parts, body) = response.into_parts();
        let head = client_head::response(&http::Response::from_parts(parts, ()), &mut self.budget)?;
        let length = content_length(&head)?;
        let ended = body.is_end_stream();
        let framing = match head.status {
            204 | 304 => Framing::Empty,
            _ if self.asked == Asked::Head => Framing::Empty,
            // The end is told, as with chunks.
            _ => length.or(ended.then_some(0)).map_or(Framing::Chunked, Framing::Length),
        };
        self.framing = Some(framing);
        self.left = if let Framing::Length(length) = framing { Some(length) } else { None };
        self.at = match ended {
            true => At::End,
            false => {
                let body = Body::new(body);
                session.reads(&body);
                At::Body(body)
            }
        };
        Ok(Some(Found::Final(head)))
    }

    /// Reads body into `into`; 0 at its end.
    pub fn read(&mut self, session: &mut Session, into: &mut [u8]) -> Result<Option<usize>> {
        let done = self.read_inner(session, into);
        if done.is_err() {
            self.at = At::Failed;
        }
        done
    }

    /// True if a read would not wait: more of the body, or its end, is here.
    pub fn peek(&mut self, session: &mut Session) -> Result<bool> {
        let here = self.fetch(session);
        if here.is_err() {
            self.at = At::Failed;
        }
        Ok(here?.is_some())
    }

    /// Sees to the next piece: false at the end.
    fn fetch(&mut self, session: &mut Session) -> Result<Option<bool>> {
        let cx = &mut pipe::context();
        let mut body = match &self.at {
            At::Body(body) => Body::lock(body),
            At::End => return Ok(Some(false)),
            At::Head(_) | At::Failed => return Err(broken("there is no body to read").into()),
        };
        while self.piece.is_empty() {
            match body.poll_data(cx) {
                Poll::Ready(Some(Ok(piece))) if piece.is_empty() => continue,
                Poll::Ready(Some(Ok(_))) if self.framing == Some(Framing::Empty) => {
                    return Err(broken("a body on an answer that has none").into());
                }
                Poll::Ready(Some(Ok(piece))) => self.piece = piece,
                Poll::Ready(Some(Err(why))) => {
                    let mut fault = session.fault(self.id, &why);
                    // Bytes of the answer were handed on.
                    (fault.unprocessed, fault.downgrade) = (false, false);
                    return Err(fault);
                }
                Poll::Ready(None) => match body.poll_trailers(cx) {
                    Poll::Ready(Ok(trailers)) => {
                        if let Some(map) = trailers {
                            self.trailers = client_head::fields(&map, &mut self.budget)?;
                        }
                        drop(body);
                        self.at = At::End;
                        return Ok(Some(false));
                    }
                    Poll::Ready(Err(why)) => return Err(session.fault(self.id, &why)),
                    Poll::Pending => return session.over().map_or(Ok(None), Err),
                },
                Poll::Pending => return session.over().map_or(Ok(None), Err),
            }
        }
        Ok(Some(true))
    }

    fn read_inner(&mut self, session: &mut Session, into: &mut [u8]) -> Result<Option<usize>> {
        match self.fetch(session)? {
            Some(true) => (),
            Some(false) => return Ok(Some(0)),
            None => return Ok(None),
        }
        let At::Body(body) = &self.at else { return Ok(Some(0)) };
        let mut body = Body::lock(body);
        let mut count = 0;
        loop {
            let part = self.piece.len().min(into.len() - count);
            if let Some(place) = into.get_mut(count..count + part) {
                self.piece.copy_to_slice(place);
            }
            count += part;
            if count == into.len() {
                break;
            }
            // An end and a failure stay, and the next call finds them.
            match body.poll_data(&mut pipe::context()) {
                Poll::Ready(Some(Ok(piece))) => self.piece = piece,
                _ => break,
            }
        }
        self.left = self.left.map(|left| left.saturating_sub(count as u64));
        body.release(count);
        let ended = self.piece.is_empty() && body.is_end_stream();
        drop(body);
        if ended {
            self.at = At::End;
        }
        session.turn();
        Ok(Some(count))
    }

    /// Hands over some of the request's body: how much. The end goes with the last byte, where the length is known; else `ended` tells it.
    pub fn send(&mut self, session: &mut Session, bytes: &[u8], ended: bool) -> Result<Option<usize>> {
        if self.sent {
            return Ok(Some(bytes.len()));
        }
        let mut count = 0;
        if !bytes.is_empty() {
            self.upload.reserve_capacity(bytes.len());
            match self.upload.poll_capacity(&mut pipe::context()) {
                Poll::Ready(Some(Ok(_))) => (),
                Poll::Ready(Some(Err(why))) => return Err(session.fault(self.id, &why)),
                Poll::Ready(None) => return Err(self.refused(session)),
                // Capacity that was there before is not told again.
                Poll::Pending if self.upload.capacity() > 0 => (),
                Poll::Pending => return session.over().map_or(Ok(None), Err),
            }
            count = self.upload.capacity().min(bytes.len());
            if count == 0 {
                return session.over().map_or(Ok(None), Err);
            }
        }
        let piece = Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default());
        let unsent = self.unsent.map(|unsent| unsent.saturating_sub(count as u64));
        let last = unsent == Some(0) || ended && count == bytes.len();
        if !piece.is_empty() || last {
            self.upload.send_data(piece, last).map_err(|_| self.refused(session))?;
        }
        (self.unsent, self.sent) = (unsent, last);
        session.moved();
        Ok(Some(count))
    }

    /// The peer takes nothing more of this request: what its reset says.
    fn refused(&mut self, session: &Session) -> Fault {
        match self.upload.poll_reset(&mut pipe::context()) {
            Poll::Ready(Ok(reason)) => session.reset(self.id, reason),
            Poll::Ready(Err(why)) => session.fault(self.id, &why),
            Poll::Pending => session.over().unwrap_or_else(|| broken("the request's stream is closed").into()),
        }
    }

    /// How the body is delimited; known with the final head.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// Bytes of body that were announced and have not been read.
    pub fn left(&self) -> Option<u64> {
        self.left
    }

    /// True once the answer is complete.
    pub fn ended(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// True as long as nothing of the answer has come.
    pub fn untouched(&self) -> bool {
        self.untouched
    }

    /// True if the next read begins with what is here.
    pub fn has_piece(&self) -> bool {
        !self.piece.is_empty()
    }

    /// Fields behind the body. Never headers.
    pub fn take_trailers(&mut self) -> Fields {
        std::mem::take(&mut self.trailers)
    }
}
