//! A request as a server reads it (RFC 9112): bytes in, a typed head and counts of body out.
//!
//! Strict: an ambiguous request is refused with a status and the connection is closed, so that a front server and this
//! reader never see two different requests. Has no socket, no clock and no Lua; keeps no body.

pub mod multipart;
pub mod params;
mod reader;
mod target;

pub use reader::{Event, PREFACE, Reader};
pub use target::{Target, authority};

use super::{fields::Fields, is_token, response::Version};
use httparse::{EMPTY_HEADER, Error as Bad, Status};
use std::borrow::Cow;

/// Bytes of a method: longer ones are nobody's.
const MAX_METHOD: usize = 64;
/// Fields that a limit may allow.
pub const MOST_FIELDS: usize = 256;

/// What one request may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of request line and fields, and of a chunked body's extensions and trailers. Defaults to 64 KiB.
    pub head: usize,
    /// Fields of the head. Defaults to 100; [`MOST_FIELDS`] at the most.
    pub fields: usize,
    /// Bytes of the body. Defaults to 20 MiB.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { head: 64 * 1024, fields: 100, body: 20 << 20 }
    }
}

/// Why a request is refused: the status to answer with, and words for whoever runs the server. The peer's bytes are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub why: Cow<'static, str>,
}

impl Refusal {
    pub fn new(status: u16, why: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { status, why: why.into() }
    }
}

fn refuse<T>(status: u16, why: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(status, why))
}

/// How a request's body is delimited (RFC 9112 section 6.3): never by the end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Empty,
    /// So many bytes; more than none.
    Length(u64),
    /// By its last chunk; over HTTP/2 by the end of its stream.
    Chunked,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Head {
    /// A token, as sent: methods are case-sensitive (RFC 9110 section 9.1).
    pub method: Box<str>,
    pub target: Target,
    pub version: Version,
    pub fields: Fields,
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects: bool,
    /// The client lets the connection live on (RFC 9112 section 9.3).
    pub keeps_alive: bool,
}

impl Head {
    /// Bytes that it takes, with 32 for each field besides its text (RFC 9113 section 6.5.2).
    pub fn weight(&self) -> u64 {
        (self.fields.size() + self.fields.len() * 32 + self.target.as_str().len()) as u64
    }

    /// A head whose parts came one by one, as those of HTTP/2 do (RFC 9113 section 8.3): what was the authority stands among the
    /// fields as `host`. `ends`: no body follows. The same rules hold as for a head that is text.
    #[cfg(feature = "http2")]
    pub(in crate::http) fn of(
        method: &str,
        target: &str,
        fields: Fields,
        ends: bool,
        limits: &Limits,
    ) -> Result<Head, Refusal> {
        let version = Version::Http2;
        if method.len() > MAX_METHOD {
            return refuse(501, "the method is longer than 64 bytes");
        }
        if fields.len() > limits.fields {
            return refuse(431, "too many fields");
        }
        if !is_target(target.as_bytes()) {
            return refuse(400, "the request target has a character that URIs do not have");
        }
        let target = Target::parse(method, target, version, &fields)?;
        let framing = match framing(version, &fields)? {
            Framing::Length(length) if length > limits.body => {
                return refuse(413, "the body is longer than max_body_bytes");
            }
            Framing::Empty if !ends && !fields.has("Content-Length") => Framing::Chunked,
            framing => framing,
        };
        let expects = expects(version, &fields)? && !ends;
        Ok(Head { method: method.into(), target, version, fields, framing, expects, keeps_alive: true })
    }

    /// The announced length of the body; 0 without one, unknown of a chunked body.
    pub fn content_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Empty => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        }
    }
}

/// Reads a whole head: request line to empty line, nothing after it.
pub fn parse_head(bytes: &[u8], limits: &Limits) -> Result<Box<Head>, Refusal> {
    if memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes.get(at - 1) != Some(&b'\r')) {
        return refuse(400, "a bare line feed in the head");
    }
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let line = bytes.get(..end).unwrap_or_default().strip_suffix(b"\r").unwrap_or_default();
    let (method, target, version) = request_line(line)?;
    let rest = bytes.get(end + 1..).unwrap_or_default();
    let mut room = [EMPTY_HEADER; MOST_FIELDS];
    let room = room.get_mut(..limits.fields.min(MOST_FIELDS)).unwrap_or_default();
    let fields = match httparse::parse_headers(rest, room) {
        Ok(Status::Complete((length, parsed))) if length == rest.len() => {
            Fields::within(rest, parsed.iter().map(|field| (field.name.as_bytes(), field.value)))
        }
        Ok(_) => return refuse(400, "the head does not end where its empty line is"),
        Err(Bad::TooManyHeaders) => return refuse(431, "too many fields"),
        Err(Bad::HeaderValue) => return refuse(400, "a control character in a field's value"),
        Err(Bad::NewLine) => return refuse(400, "a bare carriage return in the head"),
        // obs-fold, a blank before the colon, an empty name.
        Err(_) => return refuse(400, "a field's name is not a token followed by a colon"),
    };
    let target = Target::parse(method, target, version, &fields)?;
    let framing = framing(version, &fields)?;
    let expects = expects(version, &fields)? && framing != Framing::Empty;
    let connection = |token| fields.lists("Connection", token);
    let keeps_alive = !connection("close") && (version == Version::Http11 || connection("keep-alive"));
    Ok(Box::new(Head { method: method.into(), target, version, fields, framing, expects, keeps_alive }))
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3), each blank exactly one.
fn request_line(line: &[u8]) -> Result<(&str, &str, Version), Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return refuse(400, "malformed request line");
    };
    if !is_token(method) {
        return refuse(400, "the method is not a token");
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return refuse(505, "the version of HTTP is neither 1.1 nor 1.0");
        }
        _ => return refuse(400, "the request line does not end in a version of HTTP"),
    };
    if method.len() > MAX_METHOD {
        return refuse(501, "the method is longer than 64 bytes");
    }
    if !is_target(target) {
        return refuse(400, "the request target has a character that URIs do not have");
    }
    match (std::str::from_utf8(method), std::str::from_utf8(target)) {
        (Ok(method), Ok(target)) => Ok((method, target, version)),
        _ => refuse(400, "malformed request line"),
    }
}

/// RFC 3986 has no fragment in a request target, and nothing that is not visible ASCII.
fn is_target(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| (0x21..=0x7e).contains(byte) && *byte != b'#')
}

/// RFC 9112 section 6.3, with every doubt refused.
fn framing(version: Version, fields: &Fields) -> Result<Framing, Refusal> {
    let mut lengths = fields.all("Content-Length");
    let mut codings = fields.all("Transfer-Encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::Empty),
        (Some(_), Some(_)) => refuse(400, "both Transfer-Encoding and Content-Length"),
        (Some(length), None) => {
            if lengths.next().is_some() {
                return refuse(400, "more than one Content-Length");
            }
            let number = length.iter().try_fold(0u64, |sum, digit| match digit {
                b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
                _ => None,
            });
            match number.filter(|_| !length.is_empty()) {
                Some(0) => Ok(Framing::Empty),
                Some(number) if i64::try_from(number).is_ok() => Ok(Framing::Length(number)),
                _ if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                    refuse(413, "Content-Length is beyond every limit")
                }
                _ => refuse(400, "Content-Length is not a length"),
            }
        }
        (None, Some(coding)) => {
            if version == Version::Http10 {
                return refuse(400, "Transfer-Encoding on HTTP/1.0");
            }
            if codings.next().is_some() {
                return refuse(400, "more than one Transfer-Encoding");
            }
            match coding {
                coding if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
                coding if is_token(coding) => refuse(501, "a transfer coding other than chunked"),
                _ => refuse(400, "Transfer-Encoding is not chunked alone"),
            }
        }
    }
}

/// True if the client waits for `100 Continue` (RFC 9110 section 10.1.1). On HTTP/1.0 the field means nothing.
fn expects(version: Version, fields: &Fields) -> Result<bool, Refusal> {
    let mut members = fields.list("Expect").filter(|member| !member.is_empty()).peekable();
    if version == Version::Http10 || members.peek().is_none() {
        return Ok(false);
    }
    match members.all(|member| member.eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(true),
        false => refuse(417, "an expectation other than 100-continue"),
    }
}
