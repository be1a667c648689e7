//! Pairs in a request: queries and forms (WHATWG URL standard, section 5), and cookies (RFC 6265 section 4.2).

use super::super::fields::{Fields, trim};
use crate::error::{Error, Kind, Result};

/// Pairs in one text: more are nobody's form, and each costs memory.
pub const MAX_PAIRS: usize = 10_000;

/// Names and values of `application/x-www-form-urlencoded` text, in order; bytes that are no escape stand for themselves.
/// Errors: `too_large` for more than [`MAX_PAIRS`].
pub fn pairs(text: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut pairs = Vec::new();
    for part in text.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
        if pairs.len() == MAX_PAIRS {
            return Err(too_many());
        }
        let at = memchr::memchr(b'=', part).unwrap_or(part.len());
        pairs.push((
            decoded(part.get(..at).unwrap_or_default(), true),
            decoded(part.get(at + 1..).unwrap_or_default(), true),
        ));
    }
    Ok(pairs)
}

pub(crate) fn too_many() -> Error {
    Error::new(Kind::TooLarge, format!("the request has more than {MAX_PAIRS} parameters"))
}

/// Without percent-encoding; `plus` is a blank in forms and queries.
pub fn decoded(text: &[u8], plus: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (*byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) if plus => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    out
}

/// Cookies in order, as sent; quotes around a value are left out.
pub fn cookies(fields: &Fields) -> Vec<(&[u8], &[u8])> {
    let parts = fields.all("Cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    let pair = |part| {
        let part = trim(part);
        let at = memchr::memchr(b'=', part)?;
        let (name, value) = (trim(part.get(..at)?), trim(part.get(at + 1..)?));
        let value = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value);
        (!name.is_empty()).then_some((name, value))
    };
    parts.filter_map(pair).take(MAX_PAIRS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_order() {
        for (text, expected) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a=1&b=2&a=3", &[("a", "1"), ("b", "2"), ("a", "3")]),
            ("a&b=&=c&=", &[("a", ""), ("b", ""), ("", "c"), ("", "")]),
            ("a+b=c+d%2B%26&x=%zz%4", &[("a b", "c d+&"), ("x", "%zz%4")]),
            ("a=b=c;d=e", &[("a", "b=c;d=e")]),
        ] {
            let found = pairs(text.as_bytes()).unwrap();
            let found: Vec<_> = found.iter().map(|(n, v)| (str(n), str(v))).collect();
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(pairs(b"a=%00%ff").unwrap(), [(b"a".to_vec(), b"\0\xff".to_vec())]);
        assert!(pairs("a&".repeat(MAX_PAIRS).as_bytes()).is_ok());
        assert!(pairs("a&".repeat(MAX_PAIRS + 1).as_bytes()).is_err());
    }

    #[test]
    fn cookies_in_order() {
        let mut fields = Fields::new();
        fields.push(b"Cookie", b"a=1; b=\"two\";c ; =d; e==;  a=3");
        fields.push(b"cookie", b"f = g ");
        let found = cookies(&fields);
        let found: Vec<_> = found.iter().map(|(n, v)| (str(n), str(v))).collect();
        assert_eq!(found, [("a", "1"), ("b", "two"), ("e", "="), ("a", "3"), ("f", "g")]);
    }

    fn str(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }
}
