//! What a SOCKS5 or SOCKS4 proxy says: read the same however it is cut, and never past its end. Also proxy URLs.

use caspian_net::{
    address::Host,
    http::{
        proxy::{Kind, Login, Proxy},
        socks::{Fed, Handshake},
    },
};

fn read(kind: Kind, bytes: &[u8], cut: usize, login: bool) -> (Vec<u8>, Option<usize>, bool) {
    let login = login.then(|| Login { user: b"u".to_vec(), password: b"p".to_vec() });
    let mut handshake = Handshake::of(kind, &Host::parse("a.example").unwrap(), 80, login.as_ref()).unwrap();
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
    for kind in [Kind::Socks5h, Kind::Socks4a] {
        let whole = read(kind, bytes, 0, login);
        assert_eq!(whole, read(kind, bytes, cut.into(), login));
        assert!(whole.1.is_none_or(|end| end <= bytes.len()));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Proxy::parse(text).map(|mut proxy| {
            let shown = format!("{proxy:?}");
            let _ = proxy.header(b"X-A", bytes);
            let head = proxy.connect("a.example:443", None);
            assert!(head.ends_with(b"\r\n\r\n") && head.iter().filter(|byte| **byte == b'\r').count() <= 5);
            (proxy.credentials(), shown)
        });
    }
}
