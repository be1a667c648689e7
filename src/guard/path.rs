//! The one form of a path, and the spellings that are refused.
//!
//! The URL parser has resolved dot segments, encoded ones too, before a path comes here. Escapes of unreserved
//! characters (RFC 3986 section 2.3) are decoded, once; every other byte stays, since the matched path is also the sent
//! path. Bytes that another reader may take for a slash, a dot segment or another path are refused.

use std::{borrow::Cow, fmt};

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `%2F`, `%5C`, `%00`, `%0A`, `%0D`: a separator or the end of something, for a reader that decodes first.
    Encoded(u8),
    /// `%25` before two hexadecimal digits: decoded twice it is another path.
    Double,
    /// `%` without two hexadecimal digits.
    Malformed,
    /// Escapes that are not UTF-8: an overlong form of a character is one for some decoders, and none for others.
    Utf8,
    /// `..;` or `.;`: servers that drop the parameters of a segment are left with a dot segment.
    DotParameter,
    /// A dot segment that is there after decoding.
    Dot,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Encoded(byte) => write!(f, "has the escape %{byte:02X}"),
            Fault::Double => f.write_str("is encoded twice (%25 before two hexadecimal digits)"),
            Fault::Malformed => f.write_str("has a malformed escape"),
            Fault::Utf8 => f.write_str("has escapes that are not UTF-8"),
            Fault::DotParameter => f.write_str("has a dot segment with parameters (..;)"),
            Fault::Dot => f.write_str("has a dot segment"),
        }
    }
}

/// The form of a parsed URL's path that is matched and sent.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, Fault> {
    // What most paths have none of, and every fault has one of.
    if memchr::memchr3(b'%', b';', b'.', path.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(path));
    }
    let path = unescape(path)?;
    path.split('/').try_for_each(refuse_segment)?;
    Ok(path)
}

/// Refuses dot segments, with parameters and without.
pub(super) fn refuse_segment(segment: &str) -> Result<(), Fault> {
    match dots(segment).is_some_and(str::is_empty) {
        true => Err(Fault::Dot),
        false => dot_parameter(segment),
    }
}

/// Looks at the path of an `http` or `https` URL that parses, before the URL parser has resolved its dot segments: what
/// such a segment took away is refused, too.
pub fn refuse(url: &str) -> Result<(), Fault> {
    if memchr::memchr2(b'%', b';', url.as_bytes()).is_none() {
        return Ok(());
    }
    unescape(as_written(url))?.split(['/', '\\']).try_for_each(dot_parameter)
}

/// The path in the text of a URL that parses.
fn as_written(text: &str) -> &str {
    let after = text.find(':').map_or("", |at| &text[at + 1..]).trim_start_matches(['/', '\\']);
    let path = after.bytes().position(|b| matches!(b, b'/' | b'\\' | b'?' | b'#')).map_or("", |at| &after[at..]);
    memchr::memchr2(b'?', b'#', path.as_bytes()).map_or(path, |end| &path[..end])
}

/// Decodes the escapes of unreserved characters, once, and refuses those that no path of a guard has.
pub(super) fn unescape(text: &str) -> Result<Cow<'_, str>, Fault> {
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let (mut out, mut rest, mut high) = (String::with_capacity(text.len()), text, false);
    while let Some(at) = memchr::memchr(b'%', rest.as_bytes()) {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let byte = escaped(escape.as_bytes()).ok_or(Fault::Malformed)?;
        match byte {
            b'/' | b'\\' | 0 | b'\n' | b'\r' => return Err(Fault::Encoded(byte)),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&escape[..3]),
        }
        high |= !byte.is_ascii();
        rest = &escape[3..];
    }
    out.push_str(rest);
    // After decoding: `%25%34%31` has become `%2541`.
    if memchr::memmem::find_iter(out.as_bytes(), b"%25").any(|at| pair(&out.as_bytes()[at + 3..]).is_some()) {
        return Err(Fault::Double);
    }
    if high && std::str::from_utf8(&decode(&out)).is_err() {
        return Err(Fault::Utf8);
    }
    Ok(Cow::Owned(out))
}

/// The byte of the escape that a text begins with.
fn escaped(text: &[u8]) -> Option<u8> {
    pair(text.strip_prefix(b"%")?)
}

fn pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Every escape decoded; only to look at.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// What follows the one or two dots that a segment begins with.
fn dots(segment: &str) -> Option<&str> {
    let rest = segment.strip_prefix('.')?;
    Some(rest.strip_prefix('.').unwrap_or(rest))
}

/// Refuses `.;` and `..;`, the semicolon encoded or not.
fn dot_parameter(segment: &str) -> Result<(), Fault> {
    let Some(rest) = dots(segment) else { return Ok(()) };
    match rest.starts_with(';') || escaped(rest.as_bytes()) == Some(b';') {
        true => Err(Fault::DotParameter),
        false => Ok(()),
    }
}

/// A path cut into its segments once, for all the patterns that it is held against. One trailing slash is no segment.
#[derive(Clone, Debug)]
pub struct Segments<'p> {
    path: &'p str,
    /// Where each segment ends.
    ends: Vec<usize>,
}

impl<'p> Segments<'p> {
    /// `path` begins with a slash.
    pub fn of(path: &'p str) -> Segments<'p> {
        let mut ends = Vec::with_capacity(16);
        ends.extend(memchr::memchr_iter(b'/', path.as_bytes()).skip(1));
        // Without a trailing slash the last segment has no slash after it.
        if !path.ends_with('/') {
            ends.push(path.len());
        }
        Segments { path, ends }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn get(&self, index: usize) -> &'p str {
        self.between(index, index + 1)
    }

    /// Some segments in a row, with the slashes between them; empty if there are none.
    pub(super) fn between(&self, from: usize, to: usize) -> &'p str {
        if from >= to {
            return "";
        }
        let start = from.checked_sub(1).map_or(1, |before| self.ends[before] + 1);
        &self.path[start..self.ends[to - 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments() {
        for (path, expected) in [
            ("/", &[][..]),
            ("//", &[""]),
            ("/a", &["a"]),
            ("/a/", &["a"]),
            ("/a//", &["a", ""]),
            ("/a//b", &["a", "", "b"]),
            ("//a", &["", "a"]),
        ] {
            let segments = Segments::of(path);
            let got: Vec<&str> = (0..segments.len()).map(|i| segments.get(i)).collect();
            assert_eq!(got, expected, "{path}");
            assert_eq!(segments.between(0, segments.len()), expected.join("/"), "{path}");
        }
    }

    #[test]
    fn the_path_in_a_url() {
        for (url, expected) in [
            ("http://h", ""),
            ("http://h/", "/"),
            ("http:\\\\h\\a/../b?c#d", "\\a/../b"),
            ("http:///h/a#b?c", "/a"),
            ("  https:h/a ", "/a "),
            ("http://h?/a", ""),
        ] {
            assert_eq!(as_written(url), expected, "{url}");
        }
    }
}
