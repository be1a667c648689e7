//! The tokens of responses (RFC 9051 section 9): atoms, quoted strings, literals, lists; and where a response ends.

use super::{Fault, Fault::Malformed, Result, expand};
use std::borrow::Cow;

/// How deep lists may nest. RFC 3501 sets no bound; a body of so many levels is nobody's mail.
pub const MAX_DEPTH: usize = 64;

/// The length of the literal that a line ends with, if the response goes on behind it. `line` is without its CRLF; `first`: it begins
/// the response. A text for people (behind OK, NO, BAD, BYE, PREAUTH and `+`) may end as it likes.
pub fn literal(line: &[u8], first: bool) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let inner = inner.strip_suffix(b"+").unwrap_or(inner);
    let open = inner.iter().rposition(|b| *b == b'{')?;
    let digits = &inner[open + 1..];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if first {
        let mut words = line.split(|b| *b == b' ');
        let tag = words.next()?;
        let word = words.next().unwrap_or_default();
        if tag.starts_with(b"+") || super::status(word).is_some() {
            return None;
        }
    }
    // Of twenty digits and more nobody has the bytes.
    Some(str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX))
}

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    Nil,
    Atom(&'a [u8]),
    /// Quoted, or a literal.
    Text(Cow<'a, [u8]>),
    List(Vec<Item<'a>>),
}

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How many values were read: tokens, and the numbers of sets.
    pub count: usize,
    most: usize,
}

impl<'a> Reader<'a> {
    /// Reads `most` values at the most.
    pub fn new(bytes: &'a [u8], most: usize) -> Reader<'a> {
        Reader { bytes, at: 0, count: 0, most }
    }

    /// How many values there may be yet.
    pub fn left(&self) -> usize {
        self.most - self.count
    }

    fn value(&mut self) -> Result<()> {
        if self.left() == 0 {
            return Err(Fault::TooMany);
        }
        self.count += 1;
        Ok(())
    }

    /// The numbers of a set that was read.
    pub fn numbers(&mut self, set: &[u8]) -> Result<Vec<u32>> {
        let found = expand(set, self.left())?;
        self.count += found.len();
        Ok(found)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes `prefix`, if it is there.
    pub fn starts(&mut self, prefix: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(prefix);
        self.at += if found { prefix.len() } else { 0 };
        found
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// One space or more.
    pub fn space(&mut self) -> Result<()> {
        if self.peek() != Some(b' ') {
            return Err(Malformed("a space is missing"));
        }
        self.blanks();
        Ok(())
    }

    fn blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// Nothing more follows.
    pub fn end(&mut self) -> Result<()> {
        self.blanks();
        if self.at == self.bytes.len() { Ok(()) } else { Err(Malformed("there is more than the response may have")) }
    }

    /// A word: everything up to a space, a parenthesis, a quote or a control character. More than RFC 9051's `atom`: flags and tags are
    /// in it, and brackets.
    pub fn atom(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let length =
            rest.iter().position(|b| *b <= b' ' || matches!(b, b'(' | b')' | b'"' | 127)).unwrap_or(rest.len());
        if length == 0 {
            return Err(Malformed("a word is missing"));
        }
        self.at += length;
        self.value()?;
        Ok(&rest[..length])
    }

    /// The name of an attribute in FETCH: `BODY[HEADER.FIELDS (DATE)]<0>` is one; the section without brackets, and the name.
    pub fn attribute(&mut self) -> Result<(&'a [u8], Option<&'a [u8]>)> {
        let rest = &self.bytes[self.at..];
        let length =
            rest.iter().position(|b| *b <= b' ' || matches!(b, b'(' | b')' | b'"' | b'[' | 127)).unwrap_or(rest.len());
        if length == 0 {
            return Err(Malformed("an attribute has no name"));
        }
        self.at += length;
        self.value()?;
        if !self.starts(b"[") {
            return Ok((&rest[..length], None));
        }
        let (section, after) = bracketed(&self.bytes[self.at..]).ok_or(Malformed("a section has no end"))?;
        self.at = self.bytes.len() - after.len();
        if self.starts(b"<") {
            let rest = &self.bytes[self.at..];
            let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
            self.at += digits;
            if !self.starts(b">") {
                return Err(Malformed("an origin has no end"));
            }
        }
        Ok((&rest[..length], Some(section)))
    }

    /// The next token.
    pub fn item(&mut self) -> Result<Item<'a>> {
        // Open lists are kept here and not on the stack.
        let mut open: Vec<Vec<Item<'a>>> = Vec::new();
        loop {
            self.blanks();
            let done = match self.peek() {
                Some(b'(') => {
                    if open.len() == MAX_DEPTH {
                        return Err(Malformed("lists are nested too deeply"));
                    }
                    self.at += 1;
                    self.value()?;
                    open.push(Vec::new());
                    continue;
                }
                Some(b')') => {
                    self.at += 1;
                    Item::List(open.pop().ok_or(Malformed("a parenthesis closes nothing"))?)
                }
                _ => self.plain()?,
            };
            match open.last_mut() {
                Some(list) => list.push(done),
                None => return Ok(done),
            }
        }
    }

    fn plain(&mut self) -> Result<Item<'a>> {
        match self.peek() {
            Some(b'"') => self.quoted().map(Item::Text),
            Some(b'{') => self.literal().map(Item::Text),
            Some(b'~') if self.bytes.get(self.at + 1) == Some(&b'{') => {
                self.at += 1;
                self.literal().map(Item::Text)
            }
            Some(_) => {
                let atom = self.atom()?;
                Ok(if atom.eq_ignore_ascii_case(b"NIL") { Item::Nil } else { Item::Atom(atom) })
            }
            None => Err(Malformed("it ends in the middle")),
        }
    }

    /// RFC 9051 has UTF-8 here, and servers whatever a header had. A backslash makes any byte plain.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>> {
        self.value()?;
        let start = self.at + 1;
        let (mut at, mut copy): (_, Option<Vec<u8>>) = (start, None);
        loop {
            let byte = *self.bytes.get(at).ok_or(Malformed("a quoted string has no end"))?;
            match byte {
                b'"' => break,
                b'\r' | b'\n' | 0 => return Err(Malformed("a quoted string has CR, LF or NUL")),
                b'\\' => {
                    let next = *self.bytes.get(at + 1).ok_or(Malformed("a quoted string has no end"))?;
                    if matches!(next, b'\r' | b'\n' | 0) {
                        return Err(Malformed("a quoted string has CR, LF or NUL"));
                    }
                    copy.get_or_insert_with(|| self.bytes[start..at].to_vec()).push(next);
                    at += 2;
                }
                _ => {
                    if let Some(copy) = &mut copy {
                        copy.push(byte);
                    }
                    at += 1;
                }
            }
        }
        self.at = at + 1;
        Ok(copy.map_or_else(|| Cow::Borrowed(&self.bytes[start..at]), Cow::Owned))
    }

    fn literal(&mut self) -> Result<Cow<'a, [u8]>> {
        self.value()?;
        let rest = &self.bytes[self.at..];
        let line = rest.iter().position(|b| *b == b'\r').ok_or(Malformed("a literal has no end"))?;
        let length = literal(&rest[..line], false).ok_or(Malformed("a literal is malformed"))?;
        let body = rest
            .get(line..)
            .and_then(|rest| rest.strip_prefix(b"\r\n"))
            .ok_or(Malformed("a literal has no end of line"))?;
        let length = usize::try_from(length).ok().filter(|length| *length <= body.len());
        let length = length.ok_or(Malformed("a literal is longer than the response"))?;
        self.at += line + 2 + length;
        Ok(Cow::Borrowed(&body[..length]))
    }

    /// The tokens up to the end.
    pub fn items_until_end(&mut self) -> Result<Vec<Item<'a>>> {
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.at == self.bytes.len() {
                return Ok(items);
            }
            items.push(self.item()?);
        }
    }
}

/// What stands before the bracket that closes, and what behind it. Quoted strings may have brackets.
pub fn bracketed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut quoted = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b']' if !quoted => return Some((&bytes[..at], &bytes[at + 1..])),
            _ => {}
        }
        at += 1;
    }
    // A quote that nothing closes is a quote and nothing more.
    let at = bytes.iter().position(|b| *b == b']')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}
