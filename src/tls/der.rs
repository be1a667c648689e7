//! Values of DER one by one, read by asn1-rs, and the strings of ASN.1.

use encoding_rs::UTF_16BE;
use std::borrow::Cow;
use x509_parser::asn1_rs::{Any, FromDer, Tag};

/// How texts are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encode {
    /// The bytes as they stand in the certificate.
    #[default]
    Raw,
    /// Turned into UTF-8.
    Utf8,
}

/// One value: its tag, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    pub tag: u8,
    pub content: &'a [u8],
}

/// The value that `bytes` begin with; `None` if they hold no whole one.
pub(crate) fn read(bytes: &[u8]) -> Option<Value<'_>> {
    split(bytes).map(|(value, _)| value)
}

/// The values inside the one that `bytes` begin with.
pub(crate) fn read_all(bytes: &[u8]) -> Option<Vec<Value<'_>>> {
    values(read(bytes)?.content)
}

/// The values that stand one after the other.
pub(crate) fn values(mut rest: &[u8]) -> Option<Vec<Value<'_>>> {
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (value, after) = split(rest)?;
        values.push(value);
        rest = after;
    }
    Some(values)
}

/// The value that `bytes` begin with, and what follows it.
pub(crate) fn split(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (rest, value) = Any::from_der(bytes).ok()?;
    let tag = *value.header.raw_tag()?.first()?;
    Some((Value { tag, content: value.data }, rest))
}

/// A text of ASN.1 by its universal tag; `None` for what cannot be turned into UTF-8.
pub(crate) fn text(tag: u32, bytes: &[u8], encode: Encode) -> Option<Vec<u8>> {
    if encode == Encode::Raw {
        return Some(bytes.to_vec());
    }
    let text: Cow<'_, str> = match Tag(tag) {
        Tag::Utf8String => std::str::from_utf8(bytes).ok()?.into(),
        Tag::BmpString => UTF_16BE.decode_without_bom_handling_and_without_replacement(bytes)?,
        Tag::UniversalString => {
            let (units, []) = bytes.as_chunks::<4>() else { return None };
            units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect::<Option<String>>()?.into()
        }
        // As Latin-1. asn1-rs refuses a T61String above ASCII.
        Tag::NumericString | Tag::PrintableString | Tag::T61String | Tag::Ia5String | Tag::VisibleString => {
            bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into()
        }
        _ => return None,
    };
    Some(text.into_owned().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_whole_or_not_at_all() {
        for (bytes, expected) in [
            (&b"\x0c\x02hi!"[..], Some((0x0c, &b"hi"[..]))),
            (b"\x0c\x81\x02hi", Some((0x0c, b"hi"))),
            (b"\x0c\x00", Some((0x0c, b""))),
            (b"\x0c\x03hi", None),
            (b"\x0c\x85\x00\x00\x00\x00\x01a", Some((0x0c, b"a"))),
            (b"\x0c\x89\x01\x00\x00\x00\x00\x00\x00\x00\x01a", None),
            (b"\x0c\x88\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xa0\x03\x02\x01\x05", Some((0xa0, b"\x02\x01\x05"))),
            (b"\x0c\x84\xff\xff\xff\xff", None),
            (b"\x0c\x80", None),
            (b"\x0c", None),
            (b"", None),
        ] {
            assert_eq!(read(bytes).map(|value| (value.tag, value.content)), expected, "{bytes:?}");
        }
    }

    #[test]
    fn texts() {
        for (tag, bytes, utf8) in [
            (12, &b"\xc3\xa4"[..], Some(&b"\xc3\xa4"[..])),
            (12, b"\xff", None),
            (20, b"\xe4", Some(b"\xc3\xa4")),
            (19, b"abc", Some(b"abc")),
            (30, b"\x00a\x00\xe4", Some(b"a\xc3\xa4")),
            (30, b"\x00", None),
            (30, b"\xd8\x00", None),
            (28, b"\x00\x01\xf6\x00", Some("\u{1f600}".as_bytes())),
            (28, b"\xff\xff\xff\xff", None),
            (2, b"\x05", None),
        ] {
            assert_eq!(text(tag, bytes, Encode::Utf8).as_deref(), utf8, "{tag} {bytes:?}");
            assert_eq!(text(tag, bytes, Encode::Raw).as_deref(), Some(bytes));
        }
    }
}
