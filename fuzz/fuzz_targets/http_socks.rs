//! What a SOCKS5 proxy says: read the same however it is cut, and never past its end. Also proxy URLs.

use caspian_net::{
    address::Host,
    http::{
        proxy::{Login, Proxy},
        socks::{Fed, Handshake},
    },
};

fn read(bytes: &[u8], cut: usize, login: bool) -> (Vec<u8>, Option<usize>, bool) {
    let login = login.then(|| Login { user: b"u".to_vec(), password: b"p".to_vec() });
    let mut handshake = Handshake::new(&Host::parse("a.example").unwrap(), 80, login.as_ref()).unwrap();
    let (mut said, mut at) = (Vec::new(), 0);
    for end in [cut % (bytes.len() + 1), bytes.len()] {
        loop {
            match handshake.feed(&bytes[at..end]) {
                Ok(Fed::More) => break,
                Ok(Fed::Say(used, more)) => {
                    at += used;
                    said.extend(more);
                }
                Ok(Fed::Done(used)) => return (said, Some(at + used), true),
                Err(_) => return (said, None, true),
            }
        }
    }
    (said, None, false)
}

pub fn run(input: (u8, bool, &[u8])) {
    let (cut, login, bytes) = input;
    let whole = read(bytes, 0, login);
    assert_eq!(whole, read(bytes, cut.into(), login));
    assert!(whole.1.is_none_or(|end| end <= bytes.len()));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Proxy::parse(text).map(|proxy| (proxy.authorization(), format!("{proxy:?}")));
    }
}
