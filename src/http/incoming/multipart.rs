//! `multipart/form-data` bodies (RFC 7578, RFC 2046 section 5.1) as a server reads them: the position of each part.
//!
//! Bytes in, positions out: the bytes of a part are not copied. Strict: nothing before the first boundary, CRLF at the
//! end of every line, a `Content-Disposition: form-data` with a name in each part, a closing boundary.

use super::super::{broken, fields::Fields};
use crate::error::{Error, Kind, Result};
use httparse::{EMPTY_HEADER, Status};
use std::ops::Range;

/// Parts in one body.
pub const MAX_PARTS: usize = 1000;
/// Bytes of one part's head.
const MAX_HEAD: usize = 16 * 1024;
/// Fields of one.
const MAX_FIELDS: usize = 16;

/// One part of a form.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: Vec<u8>,
    /// As the client calls the file: never to be taken for a path.
    pub filename: Option<Vec<u8>>,
    pub fields: Fields,
    /// Where its bytes are in the body.
    pub place: Range<u64>,
}

/// Finds the parts, however the bytes are cut.
pub struct Scanner {
    /// `CRLF--boundary`.
    delimiter: Vec<u8>,
    /// Arrived and not done with; it begins at `base` of the body, counted two bytes further for the CRLF that is put in front.
    held: Vec<u8>,
    base: u64,
    at: At,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Data,
    Behind,
    Head,
    Over,
}

/// The boundary of a `Content-Type: multipart/form-data`; nothing for another type.
pub fn boundary(fields: &Fields) -> Option<&[u8]> {
    let kind = fields.first("Content-Type")?.split(|byte| *byte == b';').next()?.trim_ascii();
    let boundary = fields.parameter("Content-Type", "boundary")?;
    let fits = kind.eq_ignore_ascii_case(b"multipart/form-data") && (1..=70).contains(&boundary.len());
    fits.then_some(boundary)
}

impl Scanner {
    pub fn new(boundary: &[u8]) -> Scanner {
        let delimiter = [b"\r\n--", boundary].concat();
        Scanner { delimiter, held: b"\r\n".to_vec(), base: 0, at: At::Start, parts: Vec::new() }
    }

    /// Looks at more of the body. Errors: `protocol`, `too_large`.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.at == At::Over {
            // What follows the end counts for nothing (RFC 2046 section 5.1.1).
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        while self.step()? {}
        Ok(())
    }

    /// The parts, once all of the body was fed.
    pub fn finish(self) -> Result<Vec<Part>> {
        match self.at {
            At::Over => Ok(self.parts),
            _ => Err(broken("the form ends before its last boundary")),
        }
    }

    /// True if there may be more to do with what is held.
    fn step(&mut self) -> Result<bool> {
        let used = match self.at {
            At::Over => {
                self.held = Vec::new();
                return Ok(false);
            }
            At::Start => {
                if self.held.len() < self.delimiter.len() {
                    return match self.delimiter.starts_with(&self.held) {
                        true => Ok(false),
                        false => Err(broken("the form does not begin with its boundary")),
                    };
                }
                if !self.held.starts_with(&self.delimiter) {
                    return Err(broken("the form does not begin with its boundary"));
                }
                self.at = At::Behind;
                self.delimiter.len()
            }
            At::Data => match memchr::memmem::find(&self.held, &self.delimiter) {
                Some(at) => {
                    let end = self.base + at as u64;
                    if let Some(part) = self.parts.last_mut() {
                        part.place.end = end.saturating_sub(2);
                    }
                    self.at = At::Behind;
                    at + self.delimiter.len()
                }
                None => {
                    // The beginning of a delimiter may be there.
                    let done = self.held.len().saturating_sub(self.delimiter.len() - 1);
                    self.take(done);
                    return Ok(false);
                }
            },
            At::Behind => match self.held.as_slice() {
                [] | [_] => return Ok(false),
                [b'-', b'-', ..] => {
                    self.at = At::Over;
                    2
                }
                [b'\r', b'\n', ..] => {
                    self.at = At::Head;
                    2
                }
                _ => return Err(broken("a boundary of the form is followed by something else")),
            },
            At::Head => {
                let Some(end) = memchr::memmem::find(&self.held, b"\r\n\r\n") else {
                    return match self.held.len() > MAX_HEAD {
                        true => Err(broken("the head of a part is longer than 16 KiB")),
                        false => Ok(false),
                    };
                };
                if end > MAX_HEAD {
                    return Err(broken("the head of a part is longer than 16 KiB"));
                }
                if self.parts.len() == MAX_PARTS {
                    return Err(Error::new(Kind::TooLarge, format!("the form has more than {MAX_PARTS} parts")));
                }
                let used = end + 4;
                let start = (self.base + used as u64).saturating_sub(2);
                let part = part(self.held.get(..used).unwrap_or_default(), start)?;
                self.parts.push(part);
                self.at = At::Data;
                used
            }
        };
        self.take(used);
        Ok(true)
    }

    fn take(&mut self, count: usize) {
        self.base += count as u64;
        self.held.drain(..count);
    }
}

fn part(head: &[u8], start: u64) -> Result<Part> {
    if memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head.get(at - 1) != Some(&b'\r')) {
        return Err(broken("a bare line feed in the head of a part"));
    }
    let mut room = [EMPTY_HEADER; MAX_FIELDS];
    let parsed = match httparse::parse_headers(head, &mut room) {
        Ok(Status::Complete((length, parsed))) if length == head.len() => parsed,
        _ => return Err(broken("malformed head of a part")),
    };
    let fields = Fields::within(head, parsed.iter().map(|field| (field.name.as_bytes(), field.value)));
    let dispositions: Vec<&[u8]> = fields.all("Content-Disposition").collect();
    let [disposition] = dispositions.as_slice() else {
        return Err(broken("a part has no Content-Disposition, or two"));
    };
    let (name, filename) = disposed(disposition)?;
    Ok(Part { name, filename, fields, place: start..start })
}

/// Name and filename of a `Content-Disposition: form-data`, in quotes as browsers write them.
fn disposed(value: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let malformed = || broken("malformed Content-Disposition of a part");
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return Err(broken("a part is not form-data"));
    }
    let mut rest = value.get(kind.len()..).unwrap_or_default();
    let (mut name, mut filename) = (None, None);
    while let Some(inner) = rest.trim_ascii_start().strip_prefix(b";") {
        let inner = inner.trim_ascii_start();
        let at = memchr::memchr(b'=', inner).ok_or_else(malformed)?;
        let key = inner.get(..at).unwrap_or_default().trim_ascii();
        let (text, after) = text(inner.get(at + 1..).unwrap_or_default()).ok_or_else(malformed)?;
        let slot = match key {
            key if key.eq_ignore_ascii_case(b"name") => &mut name,
            key if key.eq_ignore_ascii_case(b"filename") => &mut filename,
            // RFC 7578 section 4.2 has no filename*.
            _ => &mut None,
        };
        if slot.replace(text).is_some() {
            return Err(malformed());
        }
        rest = after;
    }
    match name {
        Some(name) if rest.trim_ascii().is_empty() => Ok((name, filename)),
        _ => Err(malformed()),
    }
}

/// A quoted text or a bare word, and what follows. Browsers write a quote as `%22` and line ends as `%0D%0A`; others put a
/// backslash before a quote, while old ones send the backslashes of a path as they are.
fn text(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let bytes = bytes.trim_ascii_start();
    let Some(quoted) = bytes.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', bytes).unwrap_or(bytes.len());
        return Some((bytes.get(..end)?.trim_ascii().to_vec(), bytes.get(end..)?));
    };
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        match quoted.get(at..)? {
            [b'"', ..] => return Some((out, quoted.get(at + 1..)?)),
            [b'\\', b'"', rest @ ..] if memchr::memchr(b'"', rest).is_some() => {
                out.push(b'"');
                at += 2;
            }
            [b'%', b'2', b'2', ..] => {
                out.push(b'"');
                at += 3;
            }
            [b'%', b'0', b'D' | b'd', b'%', b'0', b'A' | b'a', ..] => {
                out.extend_from_slice(b"\r\n");
                at += 6;
            }
            [byte, ..] => {
                out.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> std::result::Result<Vec<(String, Option<String>, String)>, String> {
        let whole = pieces.concat();
        let mut scanner = Scanner::new(b"X");
        let done = pieces.iter().try_for_each(|piece| scanner.feed(piece)).and_then(|()| scanner.finish());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        done.map_err(|error| error.fields().message.clone()).map(|parts| {
            let part = |part: &Part| {
                let bytes = &whole[part.place.start as usize..part.place.end as usize];
                (text(&part.name), part.filename.as_deref().map(text), text(bytes))
            };
            parts.iter().map(part).collect()
        })
    }

    const ROWS: &[(&str, &str)] = &[
        ("--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X--\r\n", "a=1"),
        ("--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--X--", "a="),
        (
            "--X\r\nContent-Disposition: form-data; name=a; filename=b.txt\r\nContent-Type: text/plain\r\n\r\n\r\n--Y\r\n--X--",
            "a(b.txt)=\r\n--Y",
        ),
        (
            "--X\r\ncontent-disposition: FORM-DATA ;NAME=\"a;b\" ; filename=\"\"\r\n\r\n--X\r\n--X\r\nContent-Disposition: form-data; name=\"\"\r\n\r\nz\r\n--X--epilogue",
            "a;b()=--X|=z",
        ),
        (
            "--X\r\nContent-Disposition: form-data; name=\"%22\\\"%0d%0A\"; filename=\"C:\\d\\e.txt\"\r\n\r\n1\r\n--X--",
            "\"\"\r\n(C:\\d\\e.txt)=1",
        ),
        ("--X\r\nContent-Disposition: form-data; name=\"a\"; filename*=UTF-8''b\r\n\r\n1\r\n--X--", "a=1"),
        ("--X--", ""),
        ("", "!before its last"),
        ("--Y\r\n", "!does not begin"),
        ("preamble\r\n--X--", "!does not begin"),
        ("--X\n\n", "!followed by something else"),
        ("--X \r\n", "!followed by something else"),
        ("--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X", "!before its last"),
        ("--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\n--X--", "!before its last"),
        ("--X\r\nContent-Disposition: form-data; name=\"a\"\n\r\n\r\n1\r\n--X--", "!bare line feed"),
        ("--X\r\nContent-Disposition: form-data\r\n\r\n1\r\n--X--", "!malformed Content-Disposition"),
        ("--X\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--X--", "!malformed Content-Disposition"),
        (
            "--X\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n1\r\n--X--",
            "!malformed Content-Disposition",
        ),
        ("--X\r\nContent-Disposition: form-data; name=\"a\" b\r\n\r\n1\r\n--X--", "!malformed Content-Disposition"),
        ("--X\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--X--", "!not form-data"),
        ("--X\r\nContent-Type: text/plain\r\n\r\n1\r\n--X--", "!no Content-Disposition"),
        ("--X\r\nContent-Disposition : form-data; name=\"a\"\r\n\r\n1\r\n--X--", "!malformed head"),
        ("--X\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\n1\r\n--X--", "!malformed head"),
    ];

    #[test]
    fn rows_at_every_cut() {
        for (bytes, expected) in ROWS {
            let bytes = bytes.as_bytes();
            let whole = scan(&[bytes]);
            match (&whole, expected.strip_prefix('!')) {
                (Err(why), Some(expected)) => assert!(why.contains(expected), "{expected}: {why}"),
                (Ok(parts), None) => {
                    let shown = parts.iter().map(|(name, file, text)| match file {
                        Some(file) => format!("{name}({file})={text}"),
                        None => format!("{name}={text}"),
                    });
                    assert_eq!(shown.collect::<Vec<_>>().join("|"), *expected);
                }
                other => panic!("{}: {other:?}", bytes.escape_ascii()),
            }
            assert_eq!(scan(&bytes.chunks(1).collect::<Vec<_>>()), whole);
            for cut in 0..=bytes.len() {
                assert_eq!(scan(&[&bytes[..cut], &bytes[cut..]]), whole, "{} at {cut}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn parts_and_heads_have_caps() {
        let part = "--X\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n";
        assert_eq!(scan(&[part.repeat(MAX_PARTS).as_bytes(), b"--X--"]).unwrap().len(), MAX_PARTS);
        assert!(scan(&[part.repeat(MAX_PARTS + 1).as_bytes(), b"--X--"]).unwrap_err().contains("more than 1000"));
        let long = [b"--X\r\nA: ", vec![b'x'; MAX_HEAD + 1].as_slice()].concat();
        assert!(scan(&[&long]).unwrap_err().contains("longer than 16 KiB"));
        let many = ["--X\r\n", &"A: b\r\n".repeat(17), "\r\n"].concat();
        assert!(scan(&[many.as_bytes()]).unwrap_err().contains("malformed head"));
    }
}
