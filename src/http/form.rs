//! `application/x-www-form-urlencoded` bodies (WHATWG URL standard, section 5).

pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Pairs in the order given. Names and values may be any bytes.
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.extend(::url::form_urlencoded::byte_serialize(name));
        out.push('=');
        out.extend(::url::form_urlencoded::byte_serialize(value));
    }
    out
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
            assert_eq!(encode(pairs.iter().copied()), expected);
        }
    }
}
