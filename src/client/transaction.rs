//! One request and its answer, over whichever version of HTTP the connection speaks: the calls that a fetch makes of both.
//!
//! Knows nothing of grants, redirects or callers; every wait has a deadline.

mod http1;
#[cfg(feature = "http2")]
mod http2;

use crate::{
    client::pool::{Link, Pool},
    deadline::Deadline,
    error::{Error, Result},
    http::{
        body::{Asked, Framing},
        fields::Fields,
        response::Head,
    },
};
#[cfg(feature = "http2")]
use crate::{client::shared::Shared, http::http2::session::Session};
use http1::Http1;
#[cfg(feature = "http2")]
use http2::Http2;
#[cfg(feature = "http2")]
use std::sync::Arc;
use std::{
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// A request under way. Lives in a box.
pub(super) enum Transaction {
    Http1(Http1),
    #[cfg(feature = "http2")]
    Http2(Http2),
}

/// Does the same with either.
macro_rules! either {
    ($self:expr, $one:ident => $done:expr) => {
        match $self {
            Transaction::Http1($one) => $done,
            #[cfg(feature = "http2")]
            Transaction::Http2($one) => $done,
        }
    };
}

impl Transaction {
    /// `secure`: the URL is of the scheme https. `chunked`: the body comes in pieces whose sum nobody knows. `reused`: the connection
    /// was open already.
    pub fn new(link: Link, secure: bool, reused: bool, asked: Asked, chunked: bool) -> Box<Transaction> {
        #[cfg(not(feature = "http2"))]
        let _ = secure;
        let place = Box::new_uninit();
        let transaction = match link {
            Link::Http1(pooled) => Transaction::Http1(Http1::new(pooled, reused, asked, chunked)),
            #[cfg(feature = "http2")]
            Link::Http2(shared, _) => {
                let scheme = if secure { "https" } else { "http" };
                Transaction::Http2(Http2::new(shared, scheme, reused, asked, chunked))
            }
        };
        Box::write(place, transaction)
    }

    /// Sends the head and the beginning of the body, unless the server answers before that: then true, and the answer is to be
    /// received.
    pub fn start(&mut self, head: Vec<u8>, body: &[u8], deadline: &Deadline) -> Result<bool> {
        match self {
            Transaction::Http1(one) => one.start(head, body, deadline),
            #[cfg(feature = "http2")]
            Transaction::Http2(one) => one.start(&head, body, deadline),
        }
    }

    /// The same for a further piece of the body; an empty one ends a body of unknown length.
    pub fn push(&mut self, piece: &[u8], deadline: &Deadline) -> Result<bool> {
        either!(self, one => one.push(piece, deadline))
    }

    /// After a head with `Expect: 100-continue`: waits for the server's word. True if that is its answer already; when
    /// the deadline passes the body goes anyway (RFC 9110 section 10.1.1).
    pub fn expect(&mut self, deadline: &Deadline) -> Result<bool> {
        either!(self, one => one.expect(deadline))
    }

    /// True if the rest of the request is of no use: the server answered with anything but success, or went away. An
    /// early success is an answer that comes while the request is being read: that goes on.
    pub fn refused(&mut self) -> Result<bool> {
        either!(self, one => one.refused())
    }

    /// Waits for the final head. `silence` is the longest wait for a sign of life.
    pub fn receive(&mut self, deadline: &Deadline, silence: Option<Duration>) -> Result<Box<Head>> {
        either!(self, one => one.receive(deadline, silence))
    }

    /// Why the request could not be sent to its end; the answer, if there is one, says more.
    pub fn failure(&mut self) -> Option<Error> {
        either!(self, one => one.take_failure())
    }

    /// Reads body; 0 where none came out of what was read, or at the end.
    pub fn read(&mut self, into: &mut [u8], deadline: &Deadline) -> Result<usize> {
        either!(self, one => one.read(into, deadline))
    }

    /// Reads body that is here, its deadline having passed; 0 where none is, or no more of it counts.
    pub fn read_late(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            // Nobody but the reader fetches what is here: it came in time, and was handed on.
            Transaction::Http1(_) => {
                let _ = into;
                Ok(0)
            }
            #[cfg(feature = "http2")]
            Transaction::Http2(one) => one.read_late(into),
        }
    }

    /// True once the answer is complete.
    pub fn ended(&self) -> bool {
        either!(self, one => one.ended())
    }

    /// How the body is delimited; known with the final head.
    pub fn framing(&self) -> Option<Framing> {
        either!(self, one => one.framing())
    }

    /// Bytes of body that are known to be still to come.
    pub fn pending(&self) -> u64 {
        either!(self, one => one.pending())
    }

    /// True if the connection was open already and not one byte of answer has come.
    pub fn is_stale(&self) -> bool {
        either!(self, one => one.is_stale())
    }

    /// True if the peer has certainly not looked at the request.
    pub fn is_unprocessed(&self) -> bool {
        match self {
            Transaction::Http1(_) => false,
            #[cfg(feature = "http2")]
            Transaction::Http2(one) => one.is_unprocessed(),
        }
    }

    /// True if the peer wants the request over HTTP/1.1 (RFC 9113 section 7).
    pub fn wants_http1(&self) -> bool {
        match self {
            Transaction::Http1(_) => false,
            #[cfg(feature = "http2")]
            Transaction::Http2(one) => one.wants_http1(),
        }
    }

    /// True if this process made the connection.
    pub fn is_ours(&self) -> bool {
        either!(self, one => one.is_ours())
    }

    /// True if a read would begin with what is here already.
    pub fn has_buffered(&self) -> bool {
        either!(self, one => one.has_buffered())
    }

    /// What stirs when there is more of the answer.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Transaction::Http1(one) => Some(one.conn().as_fd()),
            #[cfg(feature = "http2")]
            Transaction::Http2(one) => Some(one.fd()),
        }
    }

    /// The connection that it shares.
    #[cfg(feature = "http2")]
    pub fn shared(&self) -> Option<&Arc<Shared>> {
        match self {
            Transaction::Http1(_) => None,
            Transaction::Http2(one) => Some(one.shared()),
        }
    }

    /// True if it is on `shared`, and the final head, more of the body, its end or a failure is here: the next call does not wait for it.
    #[cfg(feature = "http2")]
    pub fn look(&mut self, shared: &Arc<Shared>, session: &mut Session) -> bool {
        match self {
            Transaction::Http1(_) => false,
            Transaction::Http2(one) => Arc::ptr_eq(one.shared(), shared) && one.look(session),
        }
    }

    /// When something of the answer was seen last by [`Transaction::look`].
    #[cfg(feature = "http2")]
    pub fn heard(&self) -> Option<Instant> {
        match self {
            Transaction::Http1(_) => None,
            Transaction::Http2(one) => one.heard(),
        }
    }

    /// From now on every wait for the answer has this deadline.
    #[cfg(feature = "http2")]
    pub fn hurry(&mut self, deadline: Deadline) {
        if let Transaction::Http2(one) = self {
            one.hurry(deadline);
        }
    }

    /// The answer is complete, since `now`: the connection is kept for the next request, if it can carry one. `sent`: the
    /// request went to its end. What came behind the body.
    pub fn finish(self: Box<Self>, pool: &Pool, sent: bool, now: Instant) -> Fields {
        match *self {
            Transaction::Http1(one) => one.finish(pool, sent, now),
            #[cfg(feature = "http2")]
            Transaction::Http2(one) => one.finish(),
        }
    }
}

/// The deadline of one wait: `limit` from now, or the whole, whichever ends first.
pub(super) fn limited(whole: &Deadline, limit: Option<Duration>) -> Deadline {
    if limit.is_none() { whole.clone() } else { whole.within(limit) }
}
