//! Any bytes as a chunked body: never a panic, and the same body however they are cut.
use crate::answer;

pub fn run(input: (u16, &[u8])) {
    let (cut, bytes) = input;
    let bytes = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", bytes].concat();
    assert_eq!(answer::read(&bytes, cut.into()), answer::read(&bytes, bytes.len()));
}
