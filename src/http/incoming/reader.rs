//! Reads one request: its head, then its body, however the bytes are cut.

use super::{Framing, Head, Limits, Refusal, parse_head, refuse};
use crate::{
    error::Error,
    http::{
        body::{Chunk, Chunks},
        is_token,
        response::{Budget, EmptyLine},
    },
};

/// What looks like a head in the preface of HTTP/2 (RFC 9113 section 3.4); `SM`, CR, LF, CR and LF follow it.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Empty lines before a request line that are passed over (RFC 9112 section 2.2): some clients send one behind a body.
const MAX_EMPTY_LINES: usize = 2;

/// One request under way.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    at: At,
    /// Bytes of body so far.
    body: u64,
}

#[derive(Debug)]
enum At {
    /// Before the request line: so many empty lines passed over, and whether a CR has begun one more.
    Before(usize, bool),
    Head {
        line: EmptyLine,
        text: Vec<u8>,
    },
    Length(u64),
    Chunked(Box<(Chunks, Budget)>),
    Over,
}

/// What [`Reader::feed`] found at the front of its input.
#[derive(Debug)]
pub enum Event {
    /// All of the input, and nothing to tell yet.
    More,
    /// The head is over after so many bytes.
    Head(usize, Box<Head>),
    /// So many bytes are the beginning of what a client says that speaks HTTP/2 unasked ([`PREFACE`]).
    Preface(usize),
    /// So many bytes of the coding, then so many of the body.
    Data(usize, usize),
    /// The request is over after so many bytes. Trailers are dropped: they never become fields.
    End(usize),
}

impl Reader {
    pub fn new(limits: Limits) -> Reader {
        Reader { limits, at: At::Before(0, false), body: 0 }
    }

    /// True before the first byte of a request line.
    pub fn is_fresh(&self) -> bool {
        matches!(self.at, At::Before(..))
    }

    /// True until the head is over.
    pub fn is_in_head(&self) -> bool {
        matches!(self.at, At::Before(..) | At::Head { .. })
    }

    /// Looks at `input` up to the first thing to tell.
    pub fn feed(&mut self, input: &[u8]) -> Result<Event, Refusal> {
        let mut used = 0;
        while let At::Before(lines, cr) = self.at {
            let Some(byte) = input.get(used) else { return Ok(Event::More) };
            self.at = match (byte, cr) {
                (b'\r', false) if lines < MAX_EMPTY_LINES => At::Before(lines, true),
                (b'\n', true) => At::Before(lines + 1, false),
                (_, true) => return refuse(400, "a bare carriage return before the request line"),
                (byte, false) if is_token(&[*byte]) => At::Head { line: EmptyLine::default(), text: Vec::new() },
                _ => return refuse(400, "the bytes are not the beginning of a request"),
            };
            used += usize::from(self.is_fresh());
        }
        let rest = input.get(used..).unwrap_or_default();
        match &mut self.at {
            At::Head { .. } => Ok(match self.head(rest)? {
                None => Event::More,
                Some((length, Some(head))) => Event::Head(used + length, head),
                Some((length, None)) => Event::Preface(used + length),
            }),
            At::Length(0) | At::Before(..) | At::Over => {
                self.at = At::Over;
                Ok(Event::End(0))
            }
            At::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                Ok(if here == 0 { Event::More } else { Event::Data(0, here) })
            }
            At::Chunked(both) => {
                let (chunks, budget) = &mut **both;
                match chunks.feed(input, budget).map_err(|error| malformed(&error))? {
                    Chunk::Coding(_) => Ok(Event::More),
                    Chunk::Data(skip, length) => {
                        self.body = self.body.saturating_add(length as u64);
                        // What a chunk announces counts before it is there.
                        if self.body.saturating_add(chunks.pending()) > self.limits.body {
                            return refuse(413, "the body is longer than max_body_bytes");
                        }
                        Ok(Event::Data(skip, length))
                    }
                    Chunk::End(length, _) => {
                        self.at = At::Over;
                        Ok(Event::End(length))
                    }
                }
            }
        }
    }

    /// A head and where it ends; no head where it is HTTP/2's preface.
    #[allow(clippy::type_complexity, reason = "one caller, a few lines above")]
    fn head(&mut self, input: &[u8]) -> Result<Option<(usize, Option<Box<Head>>)>, Refusal> {
        let At::Head { line, text } = &mut self.at else { return Ok(None) };
        let end = line.find(input);
        let part = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
        // What no head can have is not waited out. It is judged before the rest of the head is, whole or in pieces.
        let room = self.limits.head.saturating_sub(text.len());
        if part.iter().take(room).any(|byte| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127)) {
            return refuse(400, "a control character in the head");
        }
        if text.len() + part.len() > self.limits.head {
            let line = memchr::memchr(b'\n', text).or(memchr::memchr(b'\n', part).map(|at| text.len() + at));
            return match line.is_some_and(|at| at < self.limits.head) {
                true => refuse(431, "the head is longer than max_head_bytes"),
                false => refuse(414, "the request line is longer than max_head_bytes"),
            };
        }
        let Some(end) = end else {
            text.extend_from_slice(part);
            return Ok(None);
        };
        let whole = if text.is_empty() {
            part
        } else {
            text.extend_from_slice(part);
            text
        };
        let head = match parse_head(whole, &self.limits) {
            Err(_) if whole == PREFACE => return Ok(Some((end, None))),
            head => head?,
        };
        self.at = match head.framing {
            Framing::Empty => At::Over,
            Framing::Length(length) if length > self.limits.body => {
                return refuse(413, "the body is longer than max_body_bytes");
            }
            Framing::Length(length) => At::Length(length),
            Framing::Chunked => {
                At::Chunked(Box::new((Chunks::default(), Budget::of(self.limits.head, self.limits.fields))))
            }
        };
        Ok(Some((end, Some(head))))
    }
}

/// What the reader of chunks says, in the words of a refusal.
fn malformed(error: &Error) -> Refusal {
    Refusal::new(400, error.fields().message.clone())
}
