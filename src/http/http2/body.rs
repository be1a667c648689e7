//! The body of one answer as it comes: from `h2`, which keeps a cell of some 250 bytes for each frame, however short that is.
//!
//! A server may send a body in frames of a few bytes each, while nobody reads it: [`Session`](super::session::Session) has them gathered before
//! they use up what `h2` allows (`data_frame_budget`). The window bounds the bytes of both.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

/// Pieces of this length and more are kept as they are.
const LONG: usize = 1024;

type Piece = Option<Result<Bytes, h2::Error>>;

/// Shared by the request that it is for and the session.
pub(super) type Shared = Arc<Mutex<Body>>;

pub(super) struct Body {
    stream: RecvStream,
    /// What was gathered, the oldest first.
    pieces: VecDeque<Bytes>,
    /// What belongs behind it, of short pieces.
    short: BytesMut,
    failure: Option<h2::Error>,
}

impl Body {
    pub fn new(stream: RecvStream) -> Shared {
        let (pieces, short, failure) = (VecDeque::new(), BytesMut::new(), None);
        Arc::new(Mutex::new(Body { stream, pieces, short, failure }))
    }

    pub fn lock(body: &Shared) -> MutexGuard<'_, Body> {
        body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if !self.short.is_empty() {
            return Poll::Ready(Some(Ok(self.short.split().freeze())));
        }
        match self.failure.take() {
            Some(why) => Poll::Ready(Some(Err(why))),
            None => self.stream.poll_data(cx),
        }
    }

    pub fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, h2::Error>> {
        self.stream.poll_trailers(cx)
    }

    /// True where all of it was taken.
    pub fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.short.is_empty() && self.failure.is_none() && self.stream.is_end_stream()
    }

    /// The peer may send `count` more bytes. An error would say that they were released before.
    pub fn release(&mut self, count: usize) {
        let _ = self.stream.flow_control().release_capacity(count);
    }

    /// Takes from `h2` what has come.
    pub fn gather(&mut self, cx: &mut Context<'_>) {
        while self.failure.is_none() {
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(piece))) if piece.len() < LONG => self.short.extend_from_slice(&piece),
                Poll::Ready(Some(Ok(piece))) => {
                    if !self.short.is_empty() {
                        self.pieces.push_back(self.short.split().freeze());
                    }
                    self.pieces.push_back(piece);
                }
                Poll::Ready(Some(Err(why))) => self.failure = Some(why),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
    }
}
