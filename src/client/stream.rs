//! The body of a response as pieces, counts of bytes, or lines.
//!
//! Buffers at most what a call asked for; bytes that arrived before the connection was lost are the error's `partial`.

use crate::{
    allocation,
    client::{Fetch, came_short},
    error::{Error, Kind, Result},
};

/// One read asks for this much.
const PIECE: usize = 64 * 1024;
/// One look reads this much.
const LOOK: usize = 16 * 1024;
/// Reads that one look may do: a peer that never stops must not hold it.
const MAX_READS: usize = 16;

/// A fetch, and what of its body was read too far.
pub struct Stream {
    pub fetch: Box<Fetch>,
    /// `buffer[head..]` is not handed out yet.
    buffer: Vec<u8>,
    head: usize,
    /// What ended a body that is being saved, until it is decided whether to ask again.
    lost: Option<Error>,
    /// What [`Stream::settle`] came upon, until it is told.
    failed: Option<Error>,
}

impl Stream {
    pub fn new(fetch: Box<Fetch>) -> Stream {
        Stream { fetch, buffer: Vec::new(), head: 0, lost: None, failed: None }
    }

    /// What is there, waiting until something is; at most `max`. Empty at the end.
    pub fn piece(&mut self, max: usize) -> Result<Vec<u8>> {
        if self.held().is_empty() {
            self.fill(max)?;
        }
        Ok(self.take(max))
    }

    /// So many bytes; fewer only at the end, none after it. Not more than the cap of a gathered body.
    pub fn exact(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.held().len() < count {
            self.check(self.held().len())?;
            let missing = count - self.held().len();
            if self.fill_on(missing)? == 0 {
                break;
            }
        }
        Ok(self.take(count))
    }

    /// The next line with its newline, the last one as it is, empty after it.
    pub fn line(&mut self) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let held = self.held();
            if let Some(at) = held.get(searched..).and_then(|rest| memchr::memchr(b'\n', rest)) {
                return Ok(self.take(searched + at + 1));
            }
            searched = held.len();
            self.check(searched)?;
            if self.fill_on(PIECE)? == 0 {
                return Ok(self.take(usize::MAX));
            }
        }
    }

    /// Reads the whole body, of which nobody has seen anything, for a later [`Stream::rest`]. If the connection is lost, the
    /// request is made again where the option `retry` says so: the head can be another one then.
    pub fn gather(&mut self) -> Result<()> {
        loop {
            self.fetch.bound();
            match self.rest() {
                Ok(body) => {
                    (self.buffer, self.head) = (body, 0);
                    return Ok(());
                }
                Err(err) => self.again(err)?,
            }
        }
    }

    /// After `err` ended a body of which nobody has seen anything: see [`Fetch::answer_again`].
    pub fn again(&mut self, err: Error) -> Result<()> {
        self.clear();
        self.fetch.answer_again(err)
    }

    /// As [`Stream::piece`], for a body that is written where it can be taken back. `None`: it was lost, and the request may
    /// be made again: [`Stream::resume`].
    pub fn saved(&mut self, max: usize) -> Result<Option<Vec<u8>>> {
        match self.piece(max) {
            Err(err) if self.fetch.would_ask_again(&err) => {
                self.lost = Some(err);
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// After [`Stream::saved`] was `None`: goes on to the head of another answer, whose body begins anew. With `refused` it is
    /// the failure, and says why nobody asks again.
    pub fn resume(&mut self, refused: Option<&str>) -> Result<()> {
        let Some(err) = self.lost.take() else { return Err(Error::new(Kind::Socket, "nothing was lost").op("fetch")) };
        match refused {
            Some(why) => Err(err.adding(why)),
            None => self.again(err),
        }
    }

    /// Hands out nothing of what is held: whoever looked at it has it.
    pub fn clear(&mut self) {
        (self.buffer, self.head) = (Vec::new(), 0);
    }

    /// Gathers about `count` bytes more: how many there are, and whether that is all. `too_large` as in
    /// [`Fetch::body`].
    pub fn ahead(&mut self, count: usize) -> Result<(usize, bool)> {
        let goal = self.held().len().saturating_add(count);
        let mut ended = self.fetch.is_over();
        while !ended && self.held().len() < goal {
            self.check(self.held().len())?;
            ended = self.fill_on(goal - self.held().len())? == 0;
        }
        self.check(self.held().len())?;
        Ok((self.held().len(), ended || self.fetch.is_over()))
    }

    /// All that is left.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        if self.held().is_empty() && self.failed.is_none() {
            return self.fetch.body();
        }
        if self.fetch.is_over() {
            return Ok(self.take(usize::MAX));
        }
        self.exact(usize::MAX)
    }

    /// Bytes that [`Stream::rest`] is going to give, where that is known for certain and none were read too far.
    pub fn left(&self) -> Option<usize> {
        let left =
            self.fetch.left().filter(|left| self.held().is_empty() && *left <= self.fetch.options().max_body_bytes);
        usize::try_from(left?).ok()
    }

    /// Reads what is there without a wait: true if a piece, the end or a failure can be told at once.
    pub fn settle(&mut self) -> bool {
        if !self.held().is_empty() || self.failed.is_some() || self.fetch.is_over() {
            return true;
        }
        for _ in 0..MAX_READS {
            if allocation::lengthen(&mut self.buffer, LOOK).is_err() {
                return true;
            }
            let read = self.fetch.read_now(&mut self.buffer);
            self.buffer.truncate(read.as_ref().ok().copied().flatten().unwrap_or(0));
            self.buffer.shrink_to_fit();
            match read {
                Ok(None) => return false,
                Ok(Some(0)) if !self.fetch.is_over() => (),
                Ok(Some(_)) => return true,
                Err(err) => {
                    self.failed = Some(err);
                    return true;
                }
            }
        }
        false
    }

    /// Gathers what is here, for a later [`Stream::gather`]: true where that does not wait any more.
    #[cfg(feature = "http2")]
    pub fn soak(&mut self) -> bool {
        let most = self.fetch.options().max_body_bytes;
        for _ in 0..MAX_READS {
            if self.failed.is_some() {
                return true;
            }
            let start = self.buffer.len();
            if start as u64 > most || self.fetch.announced().is_some_and(|n| n > most) {
                self.clear();
                self.failed = Some(self.fetch.too_large());
                return true;
            }
            if self.fetch.is_over() {
                self.buffer.shrink_to_fit();
                return true;
            }
            let wanted = self.fetch.left().map_or(PIECE, |left| left.clamp(1, PIECE as u64) as usize);
            if let Err(err) = allocation::lengthen(&mut self.buffer, start + wanted) {
                self.failed = Some(err);
                return true;
            }
            let read = self.fetch.read_now(self.buffer.get_mut(start..).unwrap_or_default());
            self.buffer.truncate(start + read.as_ref().ok().copied().flatten().unwrap_or(0));
            match read {
                Ok(None) => return false,
                Ok(Some(_)) => (),
                Err(err) => self.failed = Some(err),
            }
        }
        false
    }

    /// What was read and not handed out.
    pub fn held(&self) -> &[u8] {
        self.buffer.get(self.head..).unwrap_or_default()
    }

    fn take(&mut self, max: usize) -> Vec<u8> {
        let count = self.held().len().min(max);
        if self.head == 0 && count == self.buffer.len() {
            return std::mem::take(&mut self.buffer);
        }
        let taken = self.held().get(..count).unwrap_or_default().to_vec();
        self.head += count;
        if self.head == self.buffer.len() {
            self.buffer.clear();
            self.head = 0;
        }
        taken
    }

    /// Reads once, up to `wanted` bytes or a piece.
    fn fill(&mut self, wanted: usize) -> Result<usize> {
        if let Some(err) = self.failed.take() {
            return Err(err);
        }
        if self.head > 0 {
            self.buffer.drain(..self.head);
            self.head = 0;
        }
        let start = self.buffer.len();
        allocation::lengthen(&mut self.buffer, start + wanted.clamp(1, PIECE))?;
        let read = self.fetch.read(self.buffer.get_mut(start..).unwrap_or_default());
        self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }

    /// The same for a reader that has some already: what it had is the `partial` of a failure.
    fn fill_on(&mut self, wanted: usize) -> Result<usize> {
        self.fill(wanted).map_err(|err| came_short(err, self.take(usize::MAX)))
    }

    fn check(&self, held: usize) -> Result<()> {
        let most = self.fetch.options().max_body_bytes;
        if held as u64 > most {
            return Err(Error::new(Kind::TooLarge, format!("read: more than max_body_bytes ({most}) at once")));
        }
        Ok(())
    }
}
