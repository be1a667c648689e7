//! The head of a server's response as bytes (RFC 9112 section 4), with its framing.
//!
//! Framing, `Date` and `Connection` are ours; a handler's fields of those names are left out. Names and values with CR, LF
//! or NUL are refused. Bytes out; the time is passed in.

use super::{Invalid, fields::Fields, fields::trim, is_token, response::Version};
use crate::dates::Moment;

/// Names and values of a handler's fields, in bytes. No client takes nearly as much.
const MAX_FIELDS: usize = 1 << 20;

/// A handler's status and fields.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    fields: Fields,
    /// The handler wants the connection closed behind it.
    closes: bool,
    /// What the handler said of the length, for an answer to HEAD whose body it has not made.
    length: Option<u64>,
}

/// How the body behind a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    After(u64),
    /// The chunked coding; an HTTP/1.0 client gets [`Ends::Close`].
    Chunked,
    /// With the connection.
    Close,
    /// The protocol changes: no body, and the connection is something else from here on.
    Switch,
}

/// What is known of the exchange.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    pub version: Version,
    /// The request was HEAD.
    pub head_only: bool,
    /// The connection lives on.
    pub keeps_alive: bool,
    /// The value of `Date` (RFC 9110 section 6.6.1).
    pub date: &'a str,
}

impl Answer {
    /// `status`: 200 to 999; 101 is what an upgrade answers with.
    pub fn new(status: u16) -> Result<Answer, Invalid> {
        if !(200..=999).contains(&status) && status != 101 {
            return Invalid::because(format!("status must be 200..999, got {status}"));
        }
        Ok(Answer { status, fields: Fields::new(), closes: false, length: None })
    }

    /// Adds a field of the handler's.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Invalid> {
        if !is_token(name) {
            return Invalid::because("a header's name is not a token");
        }
        let name_text = || String::from_utf8_lossy(name.get(..80).unwrap_or(name)).into_owned();
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Invalid::because(format!("header {}: the value contains CR, LF or NUL", name_text()));
        }
        let value = trim(value);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => return Ok(()),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.closes |= value.split(|b| *b == b',').any(|token| trim(token).eq_ignore_ascii_case(b"close"));
                return Ok(());
            }
            10 if name.eq_ignore_ascii_case(b"keep-alive") => return Ok(()),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                return Ok(());
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return Ok(()),
            7 if name.eq_ignore_ascii_case(b"trailer") => return Ok(()),
            7 if name.eq_ignore_ascii_case(b"upgrade") && self.status != 101 && self.status != 426 => return Ok(()),
            _ => (),
        }
        if self.fields.size() + name.len() + value.len() > MAX_FIELDS {
            return Invalid::because("the headers are more than 1 MiB");
        }
        self.fields.push(name, value);
        Ok(())
    }

    /// Adds a field where the handler has named none of that name.
    pub fn default_field(&mut self, name: &str, value: &[u8]) {
        if !self.fields.has(name) {
            self.fields.push(name.as_bytes(), value);
        }
    }

    /// Leaves a field of the handler's out.
    pub fn drop_field(&mut self, name: &str) {
        self.fields.retain(|other| !other.eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Sets a field in place of the handler's.
    pub fn set_field(&mut self, name: &str, value: &[u8]) {
        self.drop_field(name);
        self.fields.push(name.as_bytes(), value);
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// True if the connection is to be closed behind it.
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// True if no body follows, whatever the handler has given (RFC 9112 section 6.3).
    pub fn is_bodiless(&self, exchange: &Exchange<'_>) -> bool {
        exchange.head_only || matches!(self.status, 100..=199 | 204 | 304)
    }

    /// The value of `Content-Length`, where there is to be one.
    pub fn content_length(&self, exchange: &Exchange<'_>, ends: Ends) -> Option<u64> {
        match (self.status, ends) {
            // What a GET would have had is optional with 304 (RFC 9110 section 15.4.5).
            (100..=199 | 204 | 304, _) => None,
            (_, Ends::After(0)) if exchange.head_only => self.length.or(Some(0)),
            (_, Ends::After(length)) => Some(length),
            _ => None,
        }
    }

    /// Writes the head, to the empty line.
    pub fn head(&self, exchange: &Exchange<'_>, ends: Ends, out: &mut Vec<u8>) {
        out.reserve(160 + self.fields.size() + 4 * self.fields.len());
        // The highest minor version that we speak, whatever the client's (RFC 9110 section 6.2).
        out.extend_from_slice(b"HTTP/1.1 ");
        number(u64::from(self.status), out);
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(exchange.date.as_bytes());
        for (name, value) in self.fields.iter() {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
        }
        if let Some(length) = self.content_length(exchange, ends) {
            out.extend_from_slice(b"\r\nContent-Length: ");
            number(length, out);
        } else if ends == Ends::Chunked && !matches!(self.status, 100..=199 | 204 | 304) {
            out.extend_from_slice(b"\r\nTransfer-Encoding: chunked");
        }
        if ends == Ends::Switch {
            out.extend_from_slice(b"\r\nConnection: Upgrade");
        } else if !exchange.keeps_alive {
            out.extend_from_slice(b"\r\nConnection: close");
        } else if exchange.version == Version::Http10 {
            out.extend_from_slice(b"\r\nConnection: keep-alive");
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    let (mut digits, mut at, mut left) = ([0u8; 20], 20, number);
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (left % 10) as u8;
        }
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// One chunk of a body (RFC 9112 section 7.1); nothing for no bytes, which would end the body.
pub fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// What ends a chunked body: no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The interim response to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The reason phrase of a status (RFC 9110 section 15, and the registry of IANA); empty for one that nobody has registered.
pub fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// Seconds since 1970 as HTTP writes a date (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let at = moment(seconds);
    let Moment { year, day, hour, minute, second, weekday, .. } = at;
    let (weekday, month) = (DAYS.get(usize::from(weekday)).unwrap_or(&""), at.month_name());
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// The same as the common log format writes it: `06/Nov/1994:08:49:37 +0000`.
pub fn log_date(seconds: u64) -> String {
    let at = moment(seconds);
    let Moment { year, day, hour, minute, second, .. } = at;
    format!("{day:02}/{}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000", at.month_name())
}

fn moment(seconds: u64) -> Moment {
    Moment::of(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: Exchange<'_> =
        Exchange { version: Version::Http11, head_only: false, keeps_alive: true, date: "D" };

    fn text(answer: &Answer, exchange: &Exchange<'_>, ends: Ends) -> String {
        let mut out = Vec::new();
        answer.head(exchange, ends, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn heads() {
        let old = Exchange { version: Version::Http10, ..EXCHANGE };
        let last = Exchange { keeps_alive: false, ..EXCHANGE };
        let head = Exchange { head_only: true, ..EXCHANGE };
        for (status, exchange, ends, expected) in [
            (200, EXCHANGE, Ends::After(5), "HTTP/1.1 200 OK\r\nDate: D\r\nX: y\r\nContent-Length: 5\r\n\r\n"),
            (200, EXCHANGE, Ends::Chunked, "HTTP/1.1 200 OK\r\nDate: D\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (299, EXCHANGE, Ends::After(0), "HTTP/1.1 299 \r\nDate: D\r\nX: y\r\nContent-Length: 0\r\n\r\n"),
            (204, EXCHANGE, Ends::After(0), "HTTP/1.1 204 No Content\r\nDate: D\r\nX: y\r\n\r\n"),
            (304, EXCHANGE, Ends::After(7), "HTTP/1.1 304 Not Modified\r\nDate: D\r\nX: y\r\n\r\n"),
            (
                200,
                old,
                Ends::After(1),
                "HTTP/1.1 200 OK\r\nDate: D\r\nX: y\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
            ),
            (200, last, Ends::Close, "HTTP/1.1 200 OK\r\nDate: D\r\nX: y\r\nConnection: close\r\n\r\n"),
            (
                101,
                EXCHANGE,
                Ends::Switch,
                "HTTP/1.1 101 Switching Protocols\r\nDate: D\r\nX: y\r\nConnection: Upgrade\r\n\r\n",
            ),
            (
                200,
                head,
                Ends::After(u64::MAX),
                "HTTP/1.1 200 OK\r\nDate: D\r\nX: y\r\nContent-Length: 18446744073709551615\r\n\r\n",
            ),
        ] {
            let mut answer = Answer::new(status).unwrap();
            answer.field(b"X", b" y\t").unwrap();
            assert_eq!(text(&answer, &exchange, ends), expected);
        }
    }

    #[test]
    fn what_is_ours_is_left_out_and_what_splits_is_refused() {
        let mut answer = Answer::new(200).unwrap();
        for name in ["Date", "CONNECTION", "keep-alive", "Content-Length", "Transfer-Encoding", "Upgrade", "Trailer"] {
            answer.field(name.as_bytes(), b"3").unwrap();
        }
        assert_eq!(text(&answer, &EXCHANGE, Ends::After(2)), "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\n");
        // A handler that made no body for HEAD may say how long it would be.
        let head = Exchange { head_only: true, ..EXCHANGE };
        assert!(text(&answer, &head, Ends::After(0)).contains("Content-Length: 3\r\n"));
        assert!(!answer.closes());
        answer.field(b"connection", b"x, Close").unwrap();
        assert!(answer.closes());
        for (name, value) in [
            (&b""[..], &b"x"[..]),
            (b"a b", b"x"),
            (b"a:", b"x"),
            (b"a\r\n", b"x"),
            (b"a\0", b"x"),
            (b"\xc3\xa9", b"x"),
            (b"a", b"x\r\nb: c"),
            (b"a", b"x\n"),
            (b"a", b"x\r"),
            (b"a", b"\0"),
            (b"date", b"\n"),
        ] {
            assert!(answer.field(name, value).is_err(), "{}: {}", name.escape_ascii(), value.escape_ascii());
        }
        assert!(Answer::new(100).is_err() && Answer::new(199).is_err() && Answer::new(1000).is_err());
        assert!(answer.field(b"a", &vec![b'x'; MAX_FIELDS]).is_err());
    }

    #[test]
    fn dates() {
        for (seconds, expected, log) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "01/Jan/1970:00:00:00 +0000"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "06/Nov/1994:08:49:37 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT", "29/Feb/2000:00:00:00 +0000"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT", "29/Feb/2024:23:59:59 +0000"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT", "01/Mar/2100:00:00:00 +0000"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT", "31/Dec/9999:23:59:59 +0000"),
        ] {
            assert_eq!((date(seconds).as_str(), log_date(seconds).as_str()), (expected, log));
        }
        // What we write, we read.
        for seconds in (0..4_000_000_000).step_by(40_000_003) {
            assert_eq!(crate::http::cookies::date::seconds(date(seconds).as_bytes()), Some(seconds));
        }
    }
}
