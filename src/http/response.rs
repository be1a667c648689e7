//! The head of a response: status line and fields, read strictly (RFC 9112 sections 4 and 5).
//!
//! httparse knows the grammar; this room adds the stricter rules, and the limit on what a peer can make us keep. Bytes
//! in, a typed head or a `protocol` error out.

use super::{broken, fields::Fields};
use crate::error::{Error, Result};
use httparse::{Error as Bad, Header, ParserConfig, Status};
use std::{borrow::Cow, mem::MaybeUninit};

/// Bytes of status lines, fields, interim responses and trailers that one exchange may cost.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Fields of the same.
pub const MAX_FIELDS: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Http10,
    Http11,
    Http2,
}

impl Version {
    /// `"1.0"`, `"1.1"` or `"2"`.
    pub fn number(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        }
    }
}

/// Status line and fields of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub version: Version,
    /// 100 to 999.
    pub status: u16,
    /// As sent; often empty.
    pub reason: Cow<'static, [u8]>,
    pub fields: Fields,
}

impl Head {
    /// True where the `Connection` field, or its absence, lets the connection live on (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        let connection = |token| self.fields.lists("Connection", token);
        !connection("close") && (self.version >= Version::Http11 || connection("keep-alive"))
    }

    /// The `charset` of the `Content-Type`, without quotes.
    pub fn charset(&self) -> Option<&[u8]> {
        self.fields.parameter("Content-Type", "charset")
    }

    /// Seconds that the peer says it keeps an idle connection: `Keep-Alive: timeout=5`.
    pub fn idle_seconds(&self) -> Option<u64> {
        self.fields.list("Keep-Alive").find_map(|member| {
            let text = std::str::from_utf8(member).ok()?;
            let (name, value) = text.split_once('=')?;
            (name.trim().eq_ignore_ascii_case("timeout")).then(|| value.trim().parse().ok())?
        })
    }
}

/// What the peer may still spend in one exchange: shared by interim heads, the final head and the trailers.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: usize,
    fields: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { bytes: MAX_HEAD_BYTES, fields: MAX_FIELDS }
    }
}

impl Budget {
    /// So many bytes and fields.
    pub(crate) fn of(bytes: usize, fields: usize) -> Budget {
        Budget { bytes, fields: fields.min(MAX_FIELDS) }
    }

    /// True if `bytes` more fit; takes nothing.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        bytes <= self.bytes
    }

    /// The error of a spent budget.
    pub(crate) fn spent() -> Error {
        broken("the head and trailers are more than 64 KiB")
    }

    /// How many fields more fit.
    #[cfg(feature = "http2")]
    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    pub(crate) fn take(&mut self, bytes: usize, fields: usize) -> Result<()> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(Self::spent)?;
        // The parser was given room for no more than are left.
        self.fields = self.fields.saturating_sub(fields);
        Ok(())
    }
}

/// Finds the empty line that ends a head, however the bytes are cut, looking at each byte once.
#[derive(Clone, Debug, Default)]
pub(crate) struct EmptyLine {
    /// Bytes of the unfinished line, counted to 2 at most.
    held: usize,
    held_cr: bool,
}

impl EmptyLine {
    /// Where the head ends in `input`: the place after its empty line.
    pub(crate) fn find(&mut self, input: &[u8]) -> Option<usize> {
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', input) {
            let line = input.get(start..at).unwrap_or_default();
            let empty = match (self.held, line) {
                (0, [] | [b'\r']) => true,
                (1, []) => self.held_cr,
                _ => false,
            };
            *self = Self::default();
            start = at + 1;
            if empty {
                return Some(start);
            }
        }
        if let Some([first, ..]) = input.get(start..) {
            if self.held == 0 {
                self.held_cr = *first == b'\r';
            }
            self.held = (self.held + input.len() - start).min(2);
        }
        None
    }
}

/// True as long as `text` and `more` behind it can be the beginning of a response: tells a server of another protocol at
/// its first bytes.
pub(crate) fn may_be_http(text: &[u8], more: &[u8]) -> bool {
    let (begun, rest) = b"HTTP/1.".split_at(text.len().min(7));
    let both = rest.len().min(more.len());
    text.starts_with(begun) && more.get(..both) == rest.get(..both)
}

/// Reads a whole head: status line to empty line, nothing after it.
pub fn parse_head(bytes: &[u8], budget: &mut Budget) -> Result<Box<Head>> {
    // What follows the status line is a field: a blank there continues nothing.
    let bytes = &*unfolded(bytes, 2, budget)?;
    match read_head(bytes, budget)? {
        Some((head, length)) if length == bytes.len() => Ok(head),
        _ => Err(broken("the response's head does not end where its empty line is")),
    }
}

/// A head or trailers with each obs-fold made one space (RFC 9112 section 5.2): only lines from the one with number `from`
/// on can continue another. `budget` pays for what is left out.
fn unfolded<'a>(bytes: &'a [u8], from: usize, budget: &mut Budget) -> Result<Cow<'a, [u8]>> {
    if !memchr::memchr_iter(b'\n', bytes).any(|at| matches!(bytes.get(at + 1), Some(b' ' | b'\t'))) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if number < from || !matches!(line, [b' ' | b'\t', ..]) {
            out.extend_from_slice(line);
            continue;
        }
        // One line end: another CR before it is a stray one, and is refused.
        let before = out.strip_suffix(b"\n").unwrap_or(&out);
        let before = before.strip_suffix(b"\r").unwrap_or(before);
        let blanks = before.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        out.truncate(before.len() - blanks);
        out.push(b' ');
        out.extend(line.iter().copied().skip_while(|byte| matches!(byte, b' ' | b'\t')));
    }
    budget.take(bytes.len().saturating_sub(out.len()), 0)?;
    Ok(Cow::Owned(out))
}

/// Reads the head in front of `bytes`: it, and its length; `None` if its empty line is not there. The budget pays for a
/// head only.
pub(crate) fn read_head(bytes: &[u8], budget: &mut Budget) -> Result<Option<(Box<Head>, usize)>> {
    // httparse skips empty lines in front, which only servers should (RFC 9112 section 2.2).
    if !may_be_http(b"", bytes) {
        return Err(not_http(bytes.first()));
    }
    let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
    let room = room.get_mut(..budget.fields).unwrap_or_default();
    let mut response = httparse::Response::new(&mut []);
    // The default configuration is the strict one: no folding, no space before a colon, none before the first name.
    let length = match ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, room) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(Bad::TooManyHeaders) => return Err(too_many()),
        Err(Bad::Version) => return Err(not_http(None)),
        Err(Bad::Status) => return Err(broken("malformed status line")),
        Err(why) => return Err(broken(format!("malformed header: {}", message(why)))),
    };
    let version = match response.version {
        Some(1) => Version::Http11,
        Some(0) => Version::Http10,
        _ => return Err(not_http(None)),
    };
    let status = response.code.unwrap_or(0);
    if !(100..=999).contains(&status) {
        return Err(broken(format!("status {status:03} is not one of HTTP")));
    }
    budget.take(length, response.headers.len())?;
    let bytes = bytes.get(..length).unwrap_or_default();
    let reason = match response.reason {
        Some("OK") => Cow::Borrowed(&b"OK"[..]),
        _ => Cow::Owned(reason(bytes).to_vec()),
    };
    let place = Box::new_uninit();
    let head = Head { version, status, reason, fields: keep(response.headers, bytes) };
    Ok(Some((Box::write(place, head), length)))
}

/// Reads a trailer section: fields to empty line, nothing after it.
pub(crate) fn parse_trailers(bytes: &[u8], budget: &mut Budget) -> Result<Fields> {
    let bytes = &*unfolded(bytes, 1, budget)?;
    let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let room = room.get_mut(..budget.fields).unwrap_or_default();
    match httparse::parse_headers(bytes, room) {
        Ok(Status::Complete((length, fields))) if length == bytes.len() => {
            budget.take(length, fields.len())?;
            Ok(keep(fields, bytes))
        }
        Ok(_) => Err(broken("the trailers do not end where their empty line is")),
        Err(Bad::TooManyHeaders) => Err(too_many()),
        Err(why) => Err(broken(format!("malformed trailer: {}", message(why)))),
    }
}

fn keep(parsed: &[Header<'_>], bytes: &[u8]) -> Fields {
    Fields::within(bytes, parsed.iter().map(|field| (field.name.as_bytes(), field.value)))
}

/// The reason phrase of a status line that httparse accepted: it drops one that is not ASCII, we keep the bytes.
fn reason(head: &[u8]) -> &[u8] {
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.get("HTTP/1.1 200 ".len()..).unwrap_or_default()
}

/// Whose first byte is this. A server that speaks HTTP/2 alone begins with SETTINGS, whose length has three bytes (RFC 9113 sections 3.4
/// and 4.1).
pub(crate) fn not_http(first: Option<&u8>) -> Error {
    broken(match first {
        Some(0) => "the answer is not HTTP/1.1 or HTTP/1.0; a server that speaks only HTTP/2 needs http2 = \"prior\"",
        _ => "the answer is not HTTP/1.1 or HTTP/1.0",
    })
}

fn too_many() -> Error {
    broken("the response has more than 256 fields")
}

fn message(why: Bad) -> &'static str {
    match why {
        Bad::HeaderName => "a field's name is not a token followed by a colon",
        Bad::HeaderValue => "a control character in a field's value",
        Bad::NewLine => "a bare carriage return",
        _ => "not a header field",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head that is read at once ends where its empty line is, whatever it and what follows are made of.
    #[test]
    fn both_find_the_same_end() {
        const PIECES: [&[u8]; 8] = [b"\r", b"\n", b"\r\n", b"A: b", b":", b" ", b"\xe9", b"HTTP/1.1 200"];
        let mut found = 0;
        for number in 0..8u32.pow(6) {
            let pieces = (0..6).map(|place| PIECES[(number >> (3 * place)) as usize % 8]);
            let text: Vec<u8> = b"HTTP/1.1 200".iter().chain(pieces.flatten()).copied().collect();
            if let Ok(Some((_, length))) = read_head(&text, &mut Budget::default()) {
                assert_eq!(EmptyLine::default().find(&text), Some(length), "{}", text.escape_ascii());
                assert!(parse_head(&text[..length], &mut Budget::default()).is_ok());
                found += 1;
            }
        }
        assert!(found > 10_000, "{found}");
    }
}
