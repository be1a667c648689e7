//! Header fields: ordered pairs of bytes, as they were sent or will be.
//!
//! Keeps every line, its order and its spelling; names compare without case. Knows nothing of what a field means.

use std::ops::Range;

/// The fields of one message, or its trailers.
#[derive(Clone, Default)]
pub struct Fields {
    // One buffer and a row per field: two allocations, however many fields there are.
    text: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    name: Range<usize>,
    value: Range<usize>,
}

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for `count` fields of `bytes` bytes in all.
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        Fields { text: Vec::with_capacity(bytes), rows: Vec::with_capacity(count) }
    }

    /// The fields that lie within `text`, by name and value: all of it is copied once, and each is
    /// found by its place. An empty part may lie elsewhere.
    pub(super) fn within<'a>(text: &[u8], fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let place = |part: &[u8]| {
            let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize).min(text.len());
            start..(start + part.len()).min(text.len())
        };
        let rows = fields.map(|(name, value)| Row { name: place(name), value: place(value) }).collect();
        Fields { text: text.to_vec(), rows }
    }

    /// Appends a field, whatever is there already. Checks nothing: see [`super::request::Request::field`].
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        self.rows.push(Row { name: start..middle, value: middle..self.text.len() });
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows.iter().map(|row| (self.part(&row.name), self.part(&row.value)))
    }

    /// The ranges are ours, made by `push` and `within` over a buffer that only grows.
    fn part(&self, range: &Range<usize>) -> &[u8] {
        &self.text[range.start..range.end]
    }

    /// Every value of `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        // Most names differ in length: those are not looked at.
        let named = move |row: &&Row| {
            row.name.end - row.name.start == name.len() && self.part(&row.name).eq_ignore_ascii_case(name.as_bytes())
        };
        self.rows.iter().filter(named).map(|row| self.part(&row.value))
    }

    /// The first value of `name`.
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The members of `name` as one comma-separated list over all its lines, trimmed; empty members included, so that
    /// a caller can refuse them.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|b| *b == b',')).map(trim)
    }

    /// True if `token` is a member of the list `name`; without case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Keeps the fields that `keep` wants, in order.
    pub fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let text = &self.text;
        self.rows.retain(|row| keep(&text[row.name.clone()]));
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
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
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
        assert!(fields.lists("connection", "close"));
        fields.retain(|name| !name.eq_ignore_ascii_case(b"connection"));
        assert_eq!(fields.iter().collect::<Vec<_>>(), [(&b"X"[..], &b"1"[..])]);
    }
}
