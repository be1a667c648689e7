//! Server-Sent Events (WHATWG HTML, section 9.2.6): the stream as bytes in, events out.
//!
//! Pure: knows nothing of connections and time; the code that reconnects reads [`Parser::last_id`] and
//! [`Parser::retry`]. Lines end with CR, LF or CRLF, wherever the reads are cut. Text is UTF-8; invalid bytes become
//! U+FFFD.

use crate::{
    allocation,
    error::{Error, Kind, Result},
};
use std::time::Duration;

/// Bytes of one event, its lines together. The default.
pub const MAX_EVENT: usize = 1 << 20;
/// Bytes of an id: it comes back in a header.
const MAX_ID: usize = 4096;
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `message` where the server named none.
    pub name: String,
    pub data: String,
    /// The last id that the server gave, with this event or before; empty if none.
    pub id: String,
}

/// Reads one stream, and is told when another one goes on where it ended.
#[derive(Debug)]
pub struct Parser {
    most: usize,
    /// How many bytes of a byte order mark were seen; past it, more than it has.
    mark: usize,
    /// The last line ended with CR: a LF that follows is part of that end.
    after_cr: bool,
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    /// The id so far, and as of the last event.
    id: String,
    last_id: String,
    retry: Option<Duration>,
}

impl Parser {
    /// `most` is the number of bytes that an event may have, see [`MAX_EVENT`].
    pub fn new(most: usize) -> Parser {
        Parser {
            most,
            mark: 0,
            after_cr: false,
            line: Vec::new(),
            name: Vec::new(),
            data: Vec::new(),
            id: String::new(),
            last_id: String::new(),
            retry: None,
        }
    }

    /// For a stream that goes on where an earlier one ended.
    pub fn starting_at(most: usize, last_id: String) -> Parser {
        Parser { id: last_id.clone(), last_id, ..Parser::new(most) }
    }

    /// The next stream is another one's: the id means nothing there.
    pub fn forget_id(&mut self) {
        self.id.clear();
        self.last_id.clear();
    }

    /// The stream ended, and another one begins: an event that was not complete is lost, the id and `retry` stay.
    pub fn restart(&mut self) {
        let (last_id, retry) = (std::mem::take(&mut self.last_id), self.retry);
        *self = Parser { retry, ..Parser::starting_at(self.most, last_id) };
    }

    /// What `Last-Event-ID` is to say; empty is to say nothing.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// How long the server asked to wait before reconnecting, if it did.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Reads `bytes` up to the end of the first event in them: how many were used, and the event. `too_large` for an
    /// event beyond the cap.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Event>)> {
        let mut used = self.skip_mark(bytes);
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            if std::mem::take(&mut self.after_cr) && rest.starts_with(b"\n") {
                used += 1;
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', rest);
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            used += part.len();
            if self.line.len() + self.data.len() + part.len() > self.most {
                return Err(Error::new(Kind::TooLarge, format!("an event is larger than {} bytes", self.most)));
            }
            let Some(end) = end else {
                allocation::append(&mut self.line, part)?;
                break;
            };
            used += 1;
            self.after_cr = rest.get(end) == Some(&b'\r');
            let event = if self.line.is_empty() {
                self.take_line(part)?
            } else {
                allocation::append(&mut self.line, part)?;
                let line = std::mem::take(&mut self.line);
                self.take_line(&line)?
            };
            if event.is_some() {
                return Ok((used, event));
            }
        }
        Ok((used, None))
    }

    /// The bytes of a byte order mark at the beginning of the stream.
    fn skip_mark(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.mark < BOM.len() {
            match bytes.get(used) {
                Some(byte) if BOM.get(self.mark) == Some(byte) => {
                    self.mark += 1;
                    used += 1;
                }
                Some(_) => {
                    // It only looked like one: what was held back is text.
                    let held = BOM.get(..self.mark).unwrap_or_default();
                    self.line.extend_from_slice(held);
                    self.mark = usize::MAX;
                }
                None => break,
            }
        }
        used
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Event>> {
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => self.name = allocation::copied(value)?,
            b"data" => {
                allocation::append(&mut self.data, value)?;
                allocation::append(&mut self.data, b"\n")?;
            }
            // Control characters, NUL among them, cannot go back in a header.
            b"id" if value.len() <= MAX_ID && !value.iter().any(u8::is_ascii_control) => self.id = text(value),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = value.iter().fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
                self.retry = Some(Duration::from_millis(millis));
            }
            _ => (),
        }
        Ok(None)
    }

    /// An empty line: the event is complete, if it has data.
    fn dispatch(&mut self) -> Option<Event> {
        self.last_id.clone_from(&self.id);
        let (name, mut data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        data.pop()?;
        let name = if name.is_empty() { "message".into() } else { owned(name) };
        Some(Event { name, data: owned(data), id: self.last_id.clone() })
    }
}

/// What is UTF-8 stays where it is.
fn owned(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| text(e.as_bytes()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]], most: usize) -> (Vec<String>, Parser, Option<Kind>) {
        let (mut parser, mut events) = (Parser::new(most), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                match parser.feed(rest) {
                    Ok((used, event)) => {
                        assert!(used > 0 && used <= rest.len());
                        rest = &rest[used..];
                        events.extend(event.map(|event| format!("{}|{}|{}", event.name, event.data, event.id)));
                    }
                    Err(err) => return (events, parser, Some(err.kind())),
                }
            }
        }
        (events, parser, None)
    }

    #[test]
    fn streams() {
        for (stream, expected) in [
            (&b"data: a\n\n"[..], &["message|a|"][..]),
            (b"data:a\r\rdata:b\r\n\r\ndata:c\n\r\n", &["message|a|", "message|b|", "message|c|"]),
            (b"data: a\r\ndata: b\rdata\n\n", &["message|a\nb\n|"]),
            (b"data:  a \n\n", &["message| a |"]),
            (b"data\n\n", &["message||"]),
            (b"data\ndata\n\n", &["message|\n|"]),
            (b"data: a", &[]),
            (b"data: a\n", &[]),
            (b"\n\n\n", &[]),
            (b"event: x\n\ndata: a\n\n", &["message|a|"]),
            (b"event: x\ndata: a\n\ndata: b\n\n", &["x|a|", "message|b|"]),
            (b"event: x\nevent\ndata: a\n\n", &["message|a|"]),
            (b": comment\n:\ndata: a\n: comment\n\n", &["message|a|"]),
            (b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", &["message|a|1", "message|b|1", "message|c|"]),
            (b"id: 1\n\nid: 2\0\ndata: a\n\n", &["message|a|1"]),
            (b"id: 1\nid: \x01\ndata: a\n\n", &["message|a|1"]),
            (b"\xef\xbb\xbfdata: a\n\n", &["message|a|"]),
            (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", &[]),
            (b"\xef\xbbdata: a\n\ndata: b\n\n", &["message|b|"]),
            (b"data: \xef\xbb\xbf\xff\n\n", &["message|\u{feff}\u{fffd}|"]),
            (b"Data: a\n data: b\ndata : c\nfoo: d\nfoo\n\n", &[]),
            (b"data:a:b\n\n", &["message|a:b|"]),
            (b"data: a\n\nretry: 10\n", &["message|a|"]),
        ] {
            let check = |pieces: &[&[u8]]| {
                assert_eq!(read(pieces, 100).0, expected, "{}", stream.escape_ascii());
            };
            check(&[stream]);
            check(&stream.chunks(1).collect::<Vec<_>>());
            for at in 0..stream.len() {
                check(&[&stream[..at], &stream[at..]]);
            }
        }
    }

    #[test]
    fn retry() {
        for (stream, expected) in [
            ("retry: 1500\n", Some(1500)),
            ("retry:0\n", Some(0)),
            ("retry: 5\nretry: 10x\nretry: \nretry: -1\nretry: 1.5\nretry:  7\n", Some(5)),
            ("retry: 99999999999999999999999\n", Some(u64::MAX)),
            ("retry\n", None),
            ("retry: 5", None),
        ] {
            let (_, parser, _) = read(&[stream.as_bytes()], 100);
            assert_eq!(parser.retry(), expected.map(Duration::from_millis), "{stream:?}");
        }
    }

    #[test]
    fn another_stream_goes_on() {
        let (_, mut parser, _) = read(&[b"\xef\xbb\xbfid: 1\nretry: 7\ndata: a\n\nid: 2\nevent: x\ndata: b\r"], 100);
        assert_eq!(parser.last_id(), "1");
        parser.restart();
        assert_eq!((parser.last_id(), parser.retry()), ("1", Some(Duration::from_millis(7))));
        let (used, event) = parser.feed(b"\xef\xbb\xbfdata: c\n\n").unwrap();
        assert_eq!((used, event), (12, Some(Event { name: "message".into(), data: "c".into(), id: "1".into() })));
        // An id alone counts as well, once its line is followed by an empty one.
        parser.feed(b"id: 3\n").unwrap();
        assert_eq!(parser.last_id(), "1");
        parser.feed(b"\n").unwrap();
        assert_eq!(parser.last_id(), "3");
    }

    #[test]
    fn caps() {
        let long = |n: usize| "x".repeat(n);
        for (stream, fine) in [
            (format!("data:{}\n\n", long(95)), true),
            (format!("data:{}\n\n", long(96)), false),
            (long(101), false),
            (format!(":{}\n", long(100)), false),
            (format!("data:{}\n", long(10)).repeat(8), true),
            (format!("data:{}\n", long(10)).repeat(9), false),
            (": ping\n".repeat(1000), true),
            (format!("data: {}\n\n", long(50)).repeat(1000), true),
        ] {
            let whole = read(&[stream.as_bytes()], 100).2;
            assert_eq!(whole, (!fine).then_some(Kind::TooLarge), "{:.40}", stream);
            assert_eq!(read(&stream.as_bytes().chunks(1).collect::<Vec<_>>(), 100).2, whole, "{:.40}", stream);
        }
        let (_, parser, _) = read(&[format!("id: {}\n\n", long(MAX_ID + 1)).as_bytes()], MAX_EVENT);
        assert_eq!(parser.last_id(), "");
    }
}
