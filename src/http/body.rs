//! The end of a response's body: the framing decision (RFC 9112 section 6.3) and the chunked coding (section 7.1).
//!
//! The reader of chunks is our own: the ready-made ones accept `+5`, empty sizes or bare line feeds, each of which has
//! made request smuggling possible somewhere. Counts bytes; never keeps body bytes.

use super::{
    broken, is_token,
    response::{Budget, EmptyLine, Head, Version, parse_trailers},
    shown,
};
use crate::{
    error::{Error, Result},
    http::fields::Fields,
};

/// No length or chunk size beyond this is believed; sums stay far from overflow.
const MAX_LENGTH: u64 = i64::MAX as u64;
/// Bytes of chunk extensions in one body.
const MAX_EXTENSION_BYTES: usize = 16 * 1024;

/// What was asked, as far as it decides about the answer's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    #[default]
    Other,
    Head,
    /// A tunnel through a proxy: a 2xx has no body, what follows is the tunnel's.
    Connect,
    /// A change of protocol: 101 is the answer hoped for, and what follows is the new protocol's.
    Upgrade,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// That many bytes.
    Length(u64),
    Chunked,
    /// Until the connection ends.
    Close,
    /// No body; the connection is something else from here on.
    Switched,
}

/// RFC 9112 section 6.3, with every doubt an error.
pub fn framing(asked: Asked, head: &Head) -> Result<Framing> {
    if asked == Asked::Connect && (200..300).contains(&head.status) {
        // Content-Length and Transfer-Encoding mean nothing here (RFC 9110 section 9.3.6).
        return Ok(Framing::Switched);
    }
    let length = content_length(head)?;
    let chunked = is_chunked(head)?;
    if chunked && length.is_some() {
        return Err(broken("both Transfer-Encoding and Content-Length"));
    }
    Ok(match head.status {
        101 => Framing::Switched,
        100..=199 | 204 | 304 => Framing::Empty,
        _ if asked == Asked::Head => Framing::Empty,
        _ if chunked => Framing::Chunked,
        _ => length.map_or(Framing::Close, Framing::Length),
    })
}

/// The announced length: all members of all lines alike, digits only (RFC 9110 section 8.6).
pub fn content_length(head: &Head) -> Result<Option<u64>> {
    let mut members = head.fields.list("Content-Length");
    let Some(first) = members.next() else { return Ok(None) };
    if let Some(other) = members.find(|member| *member != first) {
        return Err(broken(format!("two different Content-Lengths, {} and {}", shown(first), shown(other))));
    }
    let value = first.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    });
    match value.filter(|n| *n <= MAX_LENGTH && !first.is_empty()) {
        Some(n) => Ok(Some(n)),
        None => Err(broken(format!("Content-Length {} is not a length", shown(first)))),
    }
}

/// True for exactly one transfer coding, `chunked`, on HTTP/1.1 (RFC 9112 section 6.1). Codings inside it are not offered by our requests.
fn is_chunked(head: &Head) -> Result<bool> {
    if !head.fields.has("Transfer-Encoding") {
        return Ok(false);
    }
    // Empty members of a list count for nothing (RFC 9110 section 5.6.1); nothing but them is no coding.
    let mut codings = head.fields.list("Transfer-Encoding").filter(|coding| !coding.is_empty());
    let coding = codings.next().unwrap_or_default();
    if head.version == Version::Http10 {
        return Err(broken("Transfer-Encoding on HTTP/1.0"));
    }
    if !coding.eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        // The whole list: its first member alone may well be `chunked`.
        let all = head.fields.list("Transfer-Encoding").collect::<Vec<_>>().join(&b", "[..]);
        return Err(broken(format!("Transfer-Encoding is not chunked alone: {}", shown(&all))));
    }
    Ok(true)
}

/// Reads the chunked coding.
#[derive(Debug, Default)]
pub struct Chunks {
    at: At,
    extension_bytes: usize,
    /// The trailer section as far as it came.
    text: Vec<u8>,
    line: EmptyLine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the size: so many digits, this value.
    Size(u8, u64),
    /// After the size, in whitespace that an extension must follow.
    Blank(u64),
    /// After a semicolon, where an extension's name must follow.
    Name(u64),
    Extension(u64),
    /// In the quoted string of an extension; true after a backslash.
    Quoted(u64, bool),
    /// After the CR of a size line.
    SizeEnd(u64),
    /// So many bytes of data to come.
    Data(u64),
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl Default for At {
    fn default() -> Self {
        At::Size(0, 0)
    }
}

/// What [`Chunks::feed`] found at the front of its input.
#[derive(Debug, PartialEq)]
pub enum Chunk {
    /// So many bytes of the coding, and nothing of the body yet.
    Coding(usize),
    /// So many bytes of the coding, then so many of the body.
    Data(usize, usize),
    /// So many bytes, then the body is over.
    End(usize, Fields),
}

impl Chunks {
    /// Looks at `input` up to the end of the first piece of data in it.
    pub fn feed(&mut self, input: &[u8], budget: &mut Budget) -> Result<Chunk> {
        let mut used = 0;
        while let Some(byte) = input.get(used).copied() {
            match self.at {
                At::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - used);
                    self.took(here as u64);
                    return Ok(Chunk::Data(used, here));
                }
                At::Trailers => {
                    let rest = input.get(used..).unwrap_or_default();
                    return self.trailers(rest, budget).map(|end| match end {
                        Some((n, fields)) => Chunk::End(used + n, fields),
                        None => Chunk::Coding(input.len()),
                    });
                }
                At::Done => break,
                _ => self.at = self.step(byte)?,
            }
            used += 1;
        }
        Ok(Chunk::Coding(used))
    }

    /// Bytes of data that may be read past [`Chunks::feed`]; report them with [`Chunks::took`].
    pub fn pending(&self) -> u64 {
        if let At::Data(left) = self.at { left } else { 0 }
    }

    /// `count` bytes of data were read elsewhere; no more than are pending count.
    pub fn took(&mut self, count: u64) {
        if let At::Data(left) = self.at {
            self.at = match left.saturating_sub(count) {
                0 => At::DataCr,
                left => At::Data(left),
            };
        }
    }

    fn step(&mut self, byte: u8) -> Result<At> {
        Ok(match (self.at, byte) {
            (At::Size(digits, size), _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                // Sixteen digits fit in 64 bits.
                let size = (size << 4) | u64::from(digit);
                if digits >= 16 || (digits == 15 && size > MAX_LENGTH) {
                    return Err(broken("chunk size is too large"));
                }
                At::Size(digits + 1, size)
            }
            (At::Size(1.., size), b'\r') | (At::Extension(size), b'\r') => At::SizeEnd(size),
            (At::Size(1.., size) | At::Blank(size) | At::Extension(size), b';') => At::Name(self.extension(size)?),
            (At::Size(1.., size) | At::Blank(size), b' ' | b'\t') => {
                self.extension(size)?;
                At::Blank(size)
            }
            (At::Size(..) | At::Blank(_), _) => {
                return Err(broken(format!("bad chunk size: unexpected {}", shown(&[byte]))));
            }
            (At::Name(size), b' ' | b'\t') => At::Name(self.extension(size)?),
            (At::Name(size), _) if is_token(&[byte]) => At::Extension(self.extension(size)?),
            (At::Name(_), _) => return Err(broken("a chunk extension has no name")),
            (At::Extension(size), b'"') => At::Quoted(self.extension(size)?, false),
            (At::Quoted(size, false), b'"') => At::Extension(self.extension(size)?),
            (At::Quoted(size, escaped), b'\t' | b' '..=b'~' | 0x80..) => {
                At::Quoted(self.extension(size)?, !escaped && byte == b'\\')
            }
            (At::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => At::Extension(self.extension(size)?),
            (At::Extension(_) | At::Quoted(..), _) => return Err(broken("a control character in a chunk extension")),
            (At::SizeEnd(0), b'\n') => At::Trailers,
            (At::SizeEnd(size), b'\n') => At::Data(size),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0, 0),
            (At::SizeEnd(_), _) => return Err(broken("a chunk's size line does not end in CRLF")),
            (At::DataCr | At::DataLf, _) => return Err(broken("a chunk is longer than its size says")),
            // `feed` keeps these to itself.
            (At::Data(_) | At::Trailers | At::Done, _) => self.at,
        })
    }

    /// One more byte of extension.
    fn extension(&mut self, size: u64) -> Result<u64> {
        self.extension_bytes += 1;
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(broken("chunk extensions are more than 16 KiB"));
        }
        Ok(size)
    }

    fn trailers(&mut self, rest: &[u8], budget: &mut Budget) -> Result<Option<(usize, Fields)>> {
        let end = self.line.find(rest);
        let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if !budget.has(self.text.len() + part.len()) {
            return Err(Budget::spent());
        }
        self.text.extend_from_slice(part);
        let Some(end) = end else { return Ok(None) };
        self.at = At::Done;
        let text = std::mem::take(&mut self.text);
        if text == b"\r\n" {
            return Ok(Some((end, Fields::new())));
        }
        if has_bare_lf(&text) {
            return Err(bare_lf());
        }
        Ok(Some((end, parse_trailers(&text, budget)?)))
    }
}

fn has_bare_lf(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', text).any(|at| at == 0 || text.get(at - 1) != Some(&b'\r'))
}

fn bare_lf() -> Error {
    broken("a bare line feed in the trailers")
}
