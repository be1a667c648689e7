//! Any bytes as a response, a line, a set and a mailbox of IMAP: never a panic; what is framed is read as it was framed, and a name leads back.

use caspian_net::mail::{
    imap::{decode_mailbox, encode_mailbox, expand, fetched, literal, parse},
    value::Value,
};

/// Values that a response may have here.
const MOST: usize = 10_000;

pub fn run(bytes: &[u8]) {
    assert!(parse(bytes, MOST).map_or(true, |(_, count)| count <= MOST));
    // What is read in one go is what is read one by one.
    let (found, mut rest) = (fetched(bytes, MOST, MOST), bytes);
    for message in &found.messages {
        let end = rest.iter().position(|b| *b == b'\n').unwrap();
        let Ok((Value::Hash(said), _)) = parse(&rest[..=end], MOST) else { panic!("{message:?}") };
        assert!(said.iter().any(|(name, value)| **name == *b"message" && value == message));
        rest = &rest[end + 1..];
    }
    assert_eq!(found.length, bytes.len() - rest.len());
    assert!(expand(bytes, MOST).map_or(true, |numbers| numbers.len() <= MOST));
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
