//! The part of DER that is read by hand: one value, and the strings of ASN.1.

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
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((Value { tag, content }, rest))
}

/// A text of ASN.1 by its universal tag; `None` for what cannot be turned into UTF-8.
pub(crate) fn text(tag: u32, bytes: &[u8], encode: Encode) -> Option<Vec<u8>> {
    const UTF8: u32 = 12;
    const BMP: u32 = 30;
    const UNIVERSAL: u32 = 28;
    /// Numeric, Printable, T61 (which is read as Latin-1), IA5, Visible.
    const BYTES: [u32; 5] = [18, 19, 20, 22, 26];
    if encode == Encode::Raw {
        return Some(bytes.to_vec());
    }
    let text: String = match tag {
        UTF8 => std::str::from_utf8(bytes).ok()?.to_owned(),
        BMP if bytes.len().is_multiple_of(2) => {
            let units =
                bytes.chunks_exact(2).map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()?
        }
        UNIVERSAL if bytes.len().is_multiple_of(4) => {
            let units =
                bytes.chunks_exact(4).map(|four| four.iter().fold(0, |unit, byte| unit << 8 | u32::from(*byte)));
            units.map(char::from_u32).collect::<Option<_>>()?
        }
        tag if BYTES.contains(&tag) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        _ => return None,
    };
    Some(text.into_bytes())
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
            (b"\x0c\x85\x00\x00\x00\x00\x01a", None),
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
