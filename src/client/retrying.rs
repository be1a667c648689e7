//! Requests that are made again: on another connection where one was stale, after a pause where the option `retry` says so, and for a body
//! that was lost on its way.

use super::{Fetch, Step, errand::Errand, options::Http2, state::State, transaction::Transaction};
use crate::{
    deadline::{Deadline, now},
    error::{Error, Kind, Result},
    http::{broken, retry::Retry},
};
use std::{mem, time::Duration};

impl Errand {
    /// A reused connection that died without a byte of answer is the server's idle timeout, not its answer: once, an
    /// idempotent request may try again (RFC 9110 section 9.2.2). So may any that the server has certainly not looked at.
    pub fn may_retry(&self, err: &Error, transaction: &Transaction) -> bool {
        if self.retried || self.rules_out(transaction) {
            return false;
        }
        let again = self.is_repeatable();
        let stale = transaction.is_stale() && self.request.method.is_idempotent();
        again && err.is(Kind::ConnectionReset) && (stale || transaction.is_unprocessed())
    }

    /// True if the server wants HTTP/1.1 (RFC 9113 section 7), which the options rule out.
    fn rules_out(&self, transaction: &Transaction) -> bool {
        transaction.wants_http1() && self.options.http2 == Http2::Prior
    }

    /// The same error; another one where that is why.
    pub fn unspoken(&self, err: Error, transaction: &Transaction) -> Error {
        match self.rules_out(transaction) {
            true => broken(
                "the server wants HTTP/1.1 (HTTP_1_1_REQUIRED): leave out http2 = \"prior\", or set http2 = false",
            ),
            false => err,
        }
    }

    /// After that: over a connection of its own.
    pub fn anew(&mut self, transaction: &Transaction) -> State {
        self.http1 |= transaction.wants_http1();
        let state = self.again(None);
        self.retried = true;
        state
    }

    /// The wait after a failure that may pass, if the option `retry` asks again.
    pub fn wait_after(&self, err: &Error) -> Option<Duration> {
        // Where nobody listens yet nothing was sent: so any method may ask again.
        let retry = if err.is_absence() { self.retry_unsent() } else { self.retry() };
        let wait = retry.and_then(|retry| retry.after_failure(err, self.tries, dice()));
        // A wait that would end past the deadline is not begun.
        wait.filter(|wait| self.deadline.left().is_none_or(|left| *wait < left))
    }

    /// The option `retry`, for a request that can be made again.
    fn retry(&self) -> Option<&Retry> {
        self.retry_unsent().filter(|_| self.request.method.is_idempotent())
    }

    /// The same for a request of which nothing has reached anybody.
    fn retry_unsent(&self) -> Option<&Retry> {
        self.options.retry.as_ref().filter(|_| self.is_repeatable())
    }
}

impl Fetch {
    /// A body that is gathered after all ends within [`super::Options::timeout`], like any other.
    pub fn bound(&mut self) {
        let errand = &mut self.errand;
        if errand.options.open_ended {
            errand.deadline = Deadline::started(errand.options.timeout, errand.asked);
        }
    }

    /// True if [`Fetch::answer_again`] may make the request again after `err` ended the body.
    pub fn would_ask_again(&self, err: &Error) -> bool {
        let Fetch { state, errand } = self;
        state.has_failed() && errand.retry().is_some_and(|retry| retry.after_failure(err, errand.tries, 0).is_some())
    }

    /// After `err` ended the body: waits, and goes on to the head of another answer if the option `retry` says so; else the
    /// failure. For a body of which nobody has been handed anything.
    pub fn answer_again(&mut self, err: Error) -> Result<()> {
        let wait = if self.state.has_failed() { self.errand.wait_after(&err) } else { None };
        let Some(wait) = wait else { return Err(err) };
        let next = self.errand.again_after(wait);
        let lost = mem::replace(&mut self.state, next);
        let done = self.next_answer();
        if done.is_err() {
            // Nobody has answered since: the head stays that of the answer that was lost.
            self.state = lost;
        }
        done
    }

    fn next_answer(&mut self) -> Result<()> {
        let Fetch { state, errand } = self;
        if let State::Open(nap) = state
            && let Some(wait) = nap.take()
        {
            errand.sleep(wait)?;
        }
        if errand.options.open_ended {
            // The body had no end set; the next head has, as the first one had.
            errand.asked = now();
            errand.deadline = Deadline::started(errand.options.timeout, errand.asked);
        }
        loop {
            match self.step()? {
                Step::Head => return Ok(()),
                Step::Sent => (),
                Step::Piece => return Err(Error::new(Kind::Socket, "no piece of a body can be asked for again")),
            }
        }
    }
}

/// Any number, so that clients that failed together do not come back together.
pub(super) fn dice() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}
