//! The body of a response, streamed or gathered: decoded, capped, under the deadline.

use super::{
    Fetch, OP,
    errand::Errand,
    fetch::{closed, ended},
    state::{Answer, Body, Line, State},
    transaction::limited,
};
use crate::{
    allocation,
    deadline::{Deadline, now},
    error::{Error, Kind, Result},
    panics::failpoint,
};
use std::{mem, os::fd::BorrowedFd, time::Duration};

/// The first memory for a body; then it doubles with what arrives, whatever was announced.
const FIRST: usize = 64 * 1024;
/// From this size on a body gets room for all of it; memory that is not touched costs nothing.
const LARGE: usize = 1024 * 1024;

impl Fetch {
    /// Bytes that the body is going to have, where the server said so: coded ones say nothing.
    pub fn announced(&self) -> Option<u64> {
        match &self.state {
            State::Answered(answer) => answer.announced,
            _ => None,
        }
    }

    /// Bytes of the body that are still to come, where that is known for certain.
    pub fn left(&self) -> Option<u64> {
        match &self.state {
            State::Answered(Answer { announced: Some(_), body: Body::Plain(Line::Open(transaction)), .. }) => {
                Some(transaction.pending())
            }
            _ => None,
        }
    }

    /// True once the body was read to its end.
    pub fn is_over(&self) -> bool {
        self.state.is_over()
    }

    /// Reads body into `into`: at least one byte, 0 at its end.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let reading = self.state.is_reading();
        if self.is_over() || reading && into.is_empty() {
            return Ok(0);
        }
        let done = self.more(into);
        done.map_err(|err| if reading { self.fail(err) } else { err })
    }

    /// The same with a deadline for this read, which takes the place of the one before. If it passes, the next read goes
    /// on from there.
    pub fn read_within(&mut self, into: &mut [u8], deadline: &Deadline) -> Result<usize> {
        if into.is_empty() || !self.state.is_reading() {
            return self.read(into);
        }
        self.errand.deadline = deadline.clone();
        match self.more(into) {
            Err(err) if err.is(Kind::Timeout) => Err(err),
            done => done.map_err(|err| self.fail(err)),
        }
    }

    /// The same without a wait, and without another deadline: `None` where nothing is there.
    pub fn read_now(&mut self, into: &mut [u8]) -> Result<Option<usize>> {
        let own = self.errand.deadline.clone();
        let read = self.read_within(into, &Deadline::after(Duration::ZERO));
        self.errand.deadline = own;
        match read {
            Err(err) if err.is(Kind::Timeout) && self.state.is_reading() => Ok(None),
            read => read.map(Some),
        }
    }

    /// What stirs when there is more of the body.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.state.transaction()?.fd()
    }

    fn more(&mut self, into: &mut [u8]) -> Result<usize> {
        let usable = self.usable();
        let Fetch { state, errand } = self;
        match state {
            State::Answered(Answer { body: place, .. }) => {
                // A panic in the midst of this, which others catch, leaves it lost.
                let mut body = mem::replace(place, Body::Lost);
                let done = match &mut body {
                    Body::Plain(line) => usable.and_then(|()| errand.receive(line, into)),
                    Body::Coded(line, decoder) => {
                        let done = usable.and_then(|()| decoder.read(into, |coded| errand.receive(line, coded)));
                        if matches!(done, Ok(0)) {
                            body.close();
                        }
                        done
                    }
                    Body::Lost => Err(unread()),
                    Body::Closed => usable.and(Err(closed(OP))),
                };
                *place = body;
                done
            }
            State::Closed => usable.and(Err(ended())),
            State::Open(_) | State::Asking(..) | State::Failed => Err(unread()),
        }
    }

    /// Ends it: the body is longer than the caller wants.
    pub(super) fn too_large(&mut self) -> Error {
        let message = format!("the body is larger than max_body_bytes ({})", self.errand.options.max_body_bytes);
        self.fail(Error::new(Kind::TooLarge, message))
    }

    /// Gathers the body. `too_large` past [`super::Options::max_body_bytes`].
    pub fn body(&mut self) -> Result<Vec<u8>> {
        let most = self.errand.options.max_body_bytes;
        let announced = self.announced();
        let mut data: Vec<u8> = Vec::new();
        let mut filled = 0;
        while !self.is_over() {
            if announced.is_some_and(|n| n > most) || filled as u64 > most {
                return Err(self.too_large());
            }
            if filled == data.len() && !grow(&mut data, announced.unwrap_or(most.saturating_add(1))) {
                let message = format!("no memory for a body of more than {filled} bytes");
                return Err(self.fail(Error::new(Kind::TooLarge, message)));
            }
            match self.read(data.get_mut(filled..).unwrap_or_default()) {
                Ok(count) => filled += count,
                Err(err) => {
                    data.truncate(filled);
                    return Err(came_short(err, data));
                }
            }
        }
        data.truncate(filled);
        Ok(data)
    }
}

impl Errand {
    /// Reads what the connection has.
    fn receive(&mut self, line: &mut Line, into: &mut [u8]) -> Result<usize> {
        while let Line::Open(transaction) = line {
            // A server that always has something to say would never make us wait, and only waits look at the clock.
            let begun = now();
            if self.deadline.is_past_at(begun) && !self.deadline.is_now() {
                // Others may have had this thread until now: what came meanwhile counts.
                let count = transaction.read_late(into)?;
                if transaction.ended() {
                    self.end_line(line, begun);
                } else if count == 0 {
                    return Err(self.deadline.error("read the body"));
                }
                return Ok(count);
            }
            let waits = !transaction.has_buffered();
            let deadline = limited(&self.deadline, self.options.read_timeout);
            let count = transaction.read(into, &deadline)?;
            failpoint("body");
            if transaction.ended() {
                self.end_line(line, if waits { now() } else { begun });
            }
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }
}

fn unread() -> Error {
    Error::new(Kind::Socket, "there is no body to read").op(OP)
}

/// The error of a body that was lost on the way, with what had come of it. After any other error nobody knows what the bytes
/// are worth.
pub fn came_short(err: Error, had: Vec<u8>) -> Error {
    match err.kind() {
        Kind::ConnectionReset | Kind::Timeout if !had.is_empty() => err.partial(had),
        _ => err,
    }
}

/// Makes `data`, which is full, longer, with zeros to read over: up to `most` bytes. False if there is no memory for that.
fn grow(data: &mut Vec<u8>, most: u64) -> bool {
    let filled = data.len();
    let most = usize::try_from(most).unwrap_or(usize::MAX).max(filled + 1);
    let double = filled.saturating_mul(2).max(FIRST).min(most);
    if double < LARGE {
        return data.try_reserve_exact(double - filled).is_ok() && allocation::lengthen(data, double).is_ok();
    }
    // Room for the whole of it spares moving, if it is not absurdly more; twice as much is always enough.
    let whole = most.min(filled.saturating_mul(512)).max(double);
    let Some(mut room) = [whole, double].into_iter().find_map(allocation::zeroed) else { return false };
    if let Some(place) = room.get_mut(..filled) {
        place.copy_from_slice(data);
    }
    *data = room;
    true
}
