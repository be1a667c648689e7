//! Any bytes as a response, a line, a set and a mailbox of IMAP: never a panic; what is framed is read as it was framed, and a name leads back.

use caspian_net::mail::imap::{MAX_NUMBERS, decode_mailbox, encode_mailbox, expand, literal, parse};

pub fn run(bytes: &[u8]) {
    if let Ok((_, items)) = parse(bytes) {
        assert!(items <= bytes.len() + 1);
    }
    assert!(expand(bytes).map_or(true, |numbers| numbers.len() <= MAX_NUMBERS));
    if let Some(name) = decode_mailbox(bytes) {
        assert_eq!(encode_mailbox(&name).as_bytes(), bytes);
    }
    if let Ok(name) = std::str::from_utf8(bytes) {
        assert_eq!(decode_mailbox(encode_mailbox(name).as_bytes()).as_deref(), Some(name));
    }
    let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
    if let Some(length) = literal(line, false) {
        assert!(line.ends_with(b"}") && (length > 0 || line.contains(&b'0')));
    }
}
