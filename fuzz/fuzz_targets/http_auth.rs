//! Any bytes as challenges: never a panic, and an answer that is one header value.
use caspian_net::http::auth::{Auth, Credentials, Schemes};

pub fn run(bytes: &[u8]) {
    let mut auth = Auth::new(Credentials::user(b"us\"er", b"pass", Schemes::Digest).unwrap());
    let mut rounds = 0;
    while auth.challenged(bytes.split(|b| *b == b'\n')) {
        rounds += 1;
        let body = auth.body_hash();
        let value = auth.header("GET", "/", &[7; 16], body).unwrap();
        assert!(value.len() < 4 * 4096 * 2 && !value.iter().any(|b| b.is_ascii_control() && *b != b'\t'));
    }
    assert!(rounds <= 2);
    // Where nothing is said before: Basic is an answer, too.
    let mut auth = Auth::new(Credentials::user(b"user", b"pass", Schemes::Challenge).unwrap());
    assert!(auth.header("GET", "/", &[7; 16], None).is_none());
    if auth.challenged(bytes.split(|b| *b == b'\n')) {
        let body = auth.body_hash();
        assert!(auth.header("GET", "/", &[7; 16], body).is_some());
    }
}
