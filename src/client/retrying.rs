//! Requests that are made again: on another connection where one was stale, after a pause where the option `retry` says so, and for a body
//! that was lost on its way.

use super::{At, Fetch, OP, Step};
use crate::{
    deadline::{Deadline, now, pause},
    error::{Error, Kind, Result},
    http::retry::Retry,
};
use std::time::Duration;

impl Fetch {
    /// A reused connection that died without a byte of answer is the server's idle timeout, not its answer: once, an
    /// idempotent request may try again (RFC 9110 section 9.2.2). So may any that the server has certainly not looked at.
    pub(super) fn may_retry(&self, err: &Error) -> bool {
        let Some(transaction) = self.transaction.as_ref().filter(|_| !self.retried) else { return false };
        let again = self.is_repeatable();
        let stale = transaction.is_stale() && self.request.method.is_idempotent();
        again && err.is(Kind::ConnectionReset) && (stale || transaction.is_unprocessed())
    }

    /// Back to the start of this hop, body and all.
    pub(super) fn again(&mut self) {
        self.transaction = None;
        self.retried = false;
        self.at = At::Open;
        if let Some(upload) = &mut self.upload {
            upload.rewind();
        }
    }

    /// After a failure that may pass: waits and goes back, if the option `retry` says so; else the failure.
    pub(super) fn retry_later(&mut self, err: Error) -> Result<()> {
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
        self.options.retry.as_ref().filter(|_| self.is_repeatable())
    }

    /// A wait that would end past the deadline is not begun.
    fn fits(&self, wait: Duration) -> bool {
        self.deadline.left().is_none_or(|left| wait < left)
    }

    /// Back to the start of this hop, which begins with a pause.
    pub(super) fn pause(&mut self, wait: Duration) {
        self.nap = Some(wait);
        self.tries += 1;
        self.again();
    }

    /// The pause that was spoken of.
    pub(super) fn sleep(&mut self) -> Result<()> {
        let Some(wait) = self.nap.take() else { return Ok(()) };
        pause(wait, OP)?;
        self.net.alive()
    }
}

/// Any number, so that clients that failed together do not come back together.
pub(super) fn dice() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}
