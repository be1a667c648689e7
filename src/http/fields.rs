//! Header fields: ordered pairs of bytes, as received or as they will be sent.
//!
//! Keeps every line, its order and its spelling; names compare without case. Knows nothing of the meaning of a field.

use std::ops::Range;

/// The fields of one message, or its trailers.
#[derive(Clone, Default)]
pub struct Fields {
    // One buffer and a row per field: two allocations, however many fields there are.
    text: Vec<u8>,
    rows: Vec<Row>,
    /// A bit for each length that a name here has, or had: most questions after a name are answered by it.
    lengths: u64,
}

/// Where a field lies in the buffer. No message has 4 GiB of them: heads that come are capped, and so is what a caller gives.
#[derive(Clone)]
struct Row {
    name: Range<u32>,
    value: Range<u32>,
}

fn row(name: Range<usize>, value: Range<usize>) -> Row {
    Row { name: name.start as u32..name.end as u32, value: value.start as u32..value.end as u32 }
}

/// The bit that stands for names of this length, and for longer ones that share it.
fn bit(length: usize) -> u64 {
    1 << (length % 64)
}

impl Fields {
    pub const fn new() -> Self {
        Fields { text: Vec::new(), rows: Vec::new(), lengths: 0 }
    }

    /// The fields that lie within `text`, by name and value: all of it is copied once, and each is
    /// found by its place. An empty part may lie elsewhere.
    pub(crate) fn within<'a>(text: &[u8], fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let place = |part: &[u8]| {
            let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize).min(text.len());
            start..(start + part.len()).min(text.len())
        };
        let mut lengths = 0;
        let rows = fields.map(|(name, value)| {
            lengths |= bit(name.len());
            row(place(name), place(value))
        });
        Fields { rows: rows.collect(), text: text.to_vec(), lengths }
    }

    /// Appends a field, whatever is there already. Checks nothing: see [`super::request::Request::field`].
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        self.rows.push(row(start..middle, middle..self.text.len()));
        self.lengths |= bit(name.len());
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows.iter().map(|row| (self.part(&row.name), self.part(&row.value)))
    }

    /// The ranges are ours, made by `push` and `within` over a buffer that only grows.
    fn part(&self, range: &Range<u32>) -> &[u8] {
        self.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// The value of the first field called `name` from row `at` on, and the row after it.
    fn find(&self, name: &str, at: usize) -> Option<(&[u8], usize)> {
        if self.lengths & bit(name.len()) == 0 {
            return None;
        }
        for (index, row) in self.rows.iter().enumerate().skip(at) {
            if (row.name.end - row.name.start) as usize != name.len() {
                continue;
            }
            let here = self.part(&row.name);
            // Who asks spells a name as most peers do: then the letters need no folding.
            if here == name.as_bytes() || here.eq_ignore_ascii_case(name.as_bytes()) {
                return Some((self.part(&row.value), index + 1));
            }
        }
        None
    }

    /// Every value of `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (value, next) = self.find(name, at)?;
            at = next;
            Some(value)
        })
    }

    /// The first value of `name`.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.find(name, 0).map(|(value, _)| value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name, 0).is_some()
    }

    /// The members of `name` as one comma-separated list over all its lines, trimmed; empty members included, so that
    /// a caller can refuse them.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let (mut at, mut line) = (0, None);
        std::iter::from_fn(move || {
            let rest = match line.take() {
                Some(rest) => rest,
                None => {
                    let (value, next) = self.find(name, at)?;
                    at = next;
                    value
                }
            };
            let comma = memchr::memchr(b',', rest);
            line = comma.and_then(|comma| rest.get(comma + 1..));
            rest.get(..comma.unwrap_or(rest.len())).map(trim)
        })
    }

    /// True if `token` is a member of the list `name`; without case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The first parameter called `parameter` of the field `name`, without quotes: the `charset` of a `Content-Type`.
    pub fn parameter(&self, name: &str, parameter: &str) -> Option<&[u8]> {
        let mut parameters = self.first(name)?.split(|b| *b == b';').skip(1);
        parameters.find_map(|text| {
            let at = memchr::memchr(b'=', text)?;
            let (here, value) = (text.get(..at)?, text.get(at + 1..)?);
            let value = trim(value);
            let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
            trim(here).eq_ignore_ascii_case(parameter.as_bytes()).then_some(value)
        })
    }

    /// Keeps the fields that `keep` wants, in order.
    pub fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.retain(|row| keep(self.part(&row.name)));
        self.rows = rows;
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Fields {
    // Names only: values may be cookies and tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name.escape_ascii().to_string())).finish()
    }
}

/// Without optional whitespace around (RFC 9110 section 5.6.3).
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_span_lines_and_keep_empty_members() {
        let mut fields = Fields::new();
        fields.push(b"Connection", b"keep-alive,");
        fields.push(b"X", b"1");
        fields.push(b"connection", b" Close\t");
        assert_eq!(fields.list("CONNECTION").collect::<Vec<_>>(), [&b"keep-alive"[..], b"", b"Close"]);
        assert_eq!(fields.all("connection").collect::<Vec<_>>(), [&b"keep-alive,"[..], b" Close\t"]);
        assert!(fields.lists("connection", "close") && !fields.lists("connection", "keep"));
        assert!(fields.list("y").next().is_none() && !fields.has("connectiom"));
        fields.retain(|name| !name.eq_ignore_ascii_case(b"connection"));
        assert_eq!(fields.iter().collect::<Vec<_>>(), [(&b"X"[..], &b"1"[..])]);
        assert!(!fields.has("connection") && fields.first("x") == Some(b"1"));
    }

    #[test]
    fn names_of_every_length_are_found() {
        let letters = ["n", "Z", "!", "~", "^", "0"].iter().cycle();
        let names: Vec<String> = (1..200).zip(letters).map(|(length, letter)| letter.repeat(length)).collect();
        let mut fields = Fields::new();
        for name in &names {
            assert!(!fields.has(name), "{}", name.len());
            fields.push(name.to_ascii_lowercase().as_bytes(), name.as_bytes());
            assert_eq!(fields.first(name), Some(name.as_bytes()));
        }
        let text: Vec<u8> = names.concat().into_bytes();
        let mut at = 0;
        let parts = names.iter().map(|name| {
            at += name.len();
            &text[at - name.len()..at]
        });
        let parts: Vec<_> = parts.collect();
        let fields = Fields::within(&text, parts.iter().map(|part| (*part, *part)));
        assert!(names.iter().all(|name| fields.first(name) == Some(name.as_bytes())));
    }
}
