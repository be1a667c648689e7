//! The response to one request, without I/O: bytes in, counts out.
//!
//! The owner of the connection passes the received bytes, drops the consumed ones and acts on the result. The result is
//! the same however the bytes are cut; only the head, the trailers and counts are kept. An error is final: the state of
//! the connection is unknown after it, and the connection must be closed.

use super::{
    body::{Asked, Chunk, Chunks, Framing, framing},
    broken,
    fields::Fields,
    response::{Budget, EmptyLine, Head, may_be_http, not_http, parse_head, read_head},
};
use crate::{
    error::{Error, Kind, Result},
    panics::failpoint,
};
use std::{ops::Range, time::Duration};

/// Interim responses before the final one.
const MAX_INTERIM: u8 = 16;

/// What [`Exchange::feed`] used and found.
#[derive(Debug, PartialEq)]
pub struct Fed {
    /// Bytes of the input that are done with; for [`Event::Body`] they include the piece.
    pub used: usize,
    pub event: Event,
}

#[derive(Debug, PartialEq)]
pub enum Event {
    /// Everything was used; more bytes are needed.
    More,
    /// An interim response came (100 Continue, 103 Early Hints …).
    Interim(Box<Head>),
    /// The final head is here; what the body will be is decided.
    Head(Box<Head>),
    /// A piece of body, as a range of the input.
    Body(Range<usize>),
    /// The answer is complete. Bytes that were not used are not part of it.
    End,
}

enum At {
    Head,
    Length(u64),
    Chunks(Chunks),
    Close,
    End,
    Failed,
}

/// The answer to one request.
pub struct Exchange {
    at: At,
    asked: Asked,
    budget: Budget,
    /// A head that has come in part.
    text: Vec<u8>,
    line: EmptyLine,
    interims: u8,
    untouched: bool,
    keeps_alive: bool,
    lifetime: Option<Duration>,
    framing: Option<Framing>,
    trailers: Fields,
}

impl Exchange {
    pub fn new(asked: Asked) -> Self {
        Exchange {
            at: At::Head,
            asked,
            budget: Budget::default(),
            text: Vec::new(),
            line: EmptyLine::default(),
            interims: 0,
            untouched: true,
            keeps_alive: false,
            lifetime: None,
            framing: None,
            trailers: Fields::new(),
        }
    }

    /// Looks at `input` up to the first event in it. Call again with what is left, and more.
    pub fn feed(&mut self, input: &[u8]) -> Result<Fed> {
        failpoint("exchange");
        self.untouched &= input.is_empty();
        let fed = match &mut self.at {
            At::Head => self.head(input),
            At::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                Ok(self.took_range(0..here))
            }
            At::Close => Ok(self.took_range(0..input.len())),
            At::Chunks(chunks) => match chunks.feed(input, &mut self.budget) {
                Ok(Chunk::Coding(used)) => Ok(Fed { used, event: Event::More }),
                Ok(Chunk::Data(start, length)) => {
                    Ok(Fed { used: start + length, event: Event::Body(start..start + length) })
                }
                Ok(Chunk::End(used, trailers)) => {
                    self.trailers = trailers;
                    self.at = At::End;
                    Ok(Fed { used, event: Event::End })
                }
                Err(err) => Err(err),
            },
            At::End => Ok(Fed { used: 0, event: Event::End }),
            At::Failed => Err(Error::new(Kind::Socket, "the response failed before")),
        };
        if fed.is_err() {
            self.at = At::Failed;
        }
        fed
    }

    /// The peer ended the connection. Fine at the end, and for a body that only the end delimits.
    pub fn finish(&mut self) -> Result<()> {
        self.keeps_alive = false;
        let err = match &self.at {
            At::End => return Ok(()),
            At::Close => {
                self.at = At::End;
                return Ok(());
            }
            At::Failed => Error::new(Kind::Socket, "the response failed before"),
            At::Head if self.untouched => {
                Error::new(Kind::ConnectionReset, "the server closed the connection without an answer")
            }
            At::Head => Error::new(
                Kind::ConnectionReset,
                "the server closed the connection in the middle of the response's head",
            ),
            At::Length(left) => Error::new(
                Kind::ConnectionReset,
                format!("the server closed the connection before the end of the body: {left} bytes are missing"),
            ),
            At::Chunks(_) => Error::new(
                Kind::ConnectionReset,
                "the server closed the connection before the end of the body: its last chunk is missing",
            ),
        };
        self.at = At::Failed;
        Err(err)
    }

    /// Bytes of body that may be read straight from the connection once the input is used up; report them with
    /// [`Exchange::took`]. Zero where the next bytes are not body.
    pub fn pending(&self) -> u64 {
        match &self.at {
            At::Length(left) => *left,
            At::Chunks(chunks) => chunks.pending(),
            At::Close => u64::MAX,
            _ => 0,
        }
    }

    /// `count` bytes of body, no more than are pending, were read straight from the connection.
    pub fn took(&mut self, count: u64) {
        match &mut self.at {
            At::Length(left) => {
                *left = left.saturating_sub(count);
                if *left == 0 {
                    self.at = At::End;
                }
            }
            At::Chunks(chunks) => chunks.took(count),
            _ => (),
        }
    }

    /// True once the answer is complete.
    pub fn ended(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// True as long as not one byte of answer has come.
    pub fn untouched(&self) -> bool {
        self.untouched
    }

    /// True if the connection can carry another request, provided that nothing is left in its buffer.
    pub fn reusable(&self) -> bool {
        self.ended() && self.keeps_alive
    }

    /// How long the peer says that it keeps an idle connection.
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// How the body is delimited; known with the final head.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// Fields after a chunked body. Never headers: nothing in them may change how the response is understood.
    pub fn take_trailers(&mut self) -> Fields {
        std::mem::take(&mut self.trailers)
    }

    fn head(&mut self, input: &[u8]) -> Result<Fed> {
        // Most heads come whole, and their parser finds the end by itself. What it says otherwise would depend on how the
        // bytes are cut: then the empty line comes first, and what is wrong with the head before it is said below.
        if self.text.is_empty()
            && let Ok(Some((head, used))) = read_head(input, &mut self.budget)
        {
            return Ok(Fed { used, event: self.came(head)? });
        }
        if self.text.len() < 8 && !may_be_http(&self.text, input) {
            return Err(not_http(self.text.first().or(input.first())));
        }
        let end = self.line.find(input);
        let used = end.unwrap_or(input.len());
        if !self.budget.has(self.text.len() + used) {
            return Err(Budget::spent());
        }
        let part = input.get(..used).unwrap_or_default();
        if end.is_none() {
            self.text.extend_from_slice(part);
            return Ok(Fed { used, event: Event::More });
        }
        let head = if self.text.is_empty() {
            parse_head(part, &mut self.budget)?
        } else {
            self.text.extend_from_slice(part);
            parse_head(&std::mem::take(&mut self.text), &mut self.budget)?
        };
        Ok(Fed { used, event: self.came(head)? })
    }

    fn came(&mut self, head: Box<Head>) -> Result<Event> {
        match head.status {
            101 if self.asked != Asked::Upgrade => Err(broken("the server switched protocols unasked")),
            100 | 102..=199 => self.interim(head),
            _ => self.last(head),
        }
    }

    fn interim(&mut self, head: Box<Head>) -> Result<Event> {
        self.interims += 1;
        if self.interims > MAX_INTERIM {
            return Err(broken(format!("more than {MAX_INTERIM} interim responses")));
        }
        Ok(Event::Interim(head))
    }

    fn last(&mut self, head: Box<Head>) -> Result<Event> {
        let framing = framing(self.asked, &head)?;
        self.framing = Some(framing);
        self.keeps_alive = head.keeps_alive() && !matches!(framing, Framing::Close | Framing::Switched);
        self.lifetime = head.idle_seconds().map(Duration::from_secs);
        // The framing of a body on an answer that has none: some servers send it, and it would be read as the next answer.
        let framed = |fields: &Fields| {
            fields.has("transfer-encoding") || fields.list("content-length").any(|length| length != b"0")
        };
        if head.status == 204 && framed(&head.fields) {
            self.keeps_alive = false;
        }
        self.at = match framing {
            Framing::Empty | Framing::Switched | Framing::Length(0) => At::End,
            Framing::Length(length) => At::Length(length),
            Framing::Chunked => At::Chunks(Chunks::default()),
            Framing::Close => At::Close,
        };
        Ok(Event::Head(head))
    }

    fn took_range(&mut self, range: Range<usize>) -> Fed {
        if range.is_empty() {
            return Fed { used: 0, event: Event::More };
        }
        self.took(range.len() as u64);
        Fed { used: range.end, event: Event::Body(range) }
    }
}
