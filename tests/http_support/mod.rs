//! What scripted HTTP servers read.

#![allow(dead_code)] // No test uses all of it.

use std::io::Read;

/// The head of a request, with its empty line; `None` if the client went away before its end.
pub fn head(stream: &mut (impl Read + ?Sized)) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// A request, with its body if `whole`.
pub fn request(stream: &mut (impl Read + ?Sized), whole: bool) -> Option<String> {
    let mut text = head(stream)?;
    let lower = text.to_ascii_lowercase();
    let mut body = Vec::new();
    if whole && let Some(at) = lower.find("content-length: ") {
        let length = lower[at + 16..].split("\r\n").next().unwrap().parse().unwrap();
        body.resize(length, 0);
        stream.read_exact(&mut body).ok()?;
    } else if whole && lower.contains("transfer-encoding: chunked") {
        let mut byte = [0];
        while !body.ends_with(b"0\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            body.push(byte[0]);
        }
    }
    text.push_str(&String::from_utf8_lossy(&body));
    Some(text)
}
