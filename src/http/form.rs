//! `application/x-www-form-urlencoded` bodies (WHATWG URL standard, section 5).

use crate::{allocation, error::Result};

pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Pairs in the order given. Names and values may be any bytes.
/// Errors: `too_large` where there is no memory for it.
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            allocation::append(&mut out, b"&")?;
        }
        put(&mut out, name)?;
        allocation::append(&mut out, b"=")?;
        put(&mut out, value)?;
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    ::url::form_urlencoded::byte_serialize(bytes).try_for_each(|part| allocation::append(out, part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        for (pairs, expected) in [
            (&[][..], ""),
            (&[(&b"a"[..], &b"1"[..]), (b"b c", b"")], "a=1&b+c="),
            (&[(b"\xc3\xa9&", b"=\r\n\0\xff")], "%C3%A9%26=%3D%0D%0A%00%FF"),
        ] {
            assert_eq!(encode(pairs.iter().copied()).unwrap(), expected.as_bytes());
        }
    }
}
