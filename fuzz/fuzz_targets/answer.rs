//! What the HTTP targets share: an answer read through the exchange, cut where the fuzzer likes.

use caspian_net::http::{
    body::Asked,
    exchange::{Event, Exchange},
};

/// Status, body, fields of the trailers, bytes left; `None` for an error.
pub fn read(bytes: &[u8], cut: usize) -> Option<(Option<u16>, Vec<u8>, usize, usize)> {
    let (mut exchange, mut status, mut body, mut buffer) = (Exchange::new(Asked::Other), None, Vec::new(), Vec::new());
    let (front, back) = bytes.split_at(cut % (bytes.len() + 1));
    for piece in [front, back] {
        buffer.extend_from_slice(piece);
        loop {
            let fed = exchange.feed(&buffer).ok()?;
            let idle = matches!(fed.event, Event::More | Event::End);
            match fed.event {
                Event::Head(head) => status = Some(head.status),
                Event::Body(range) => body.extend_from_slice(&buffer[range]),
                _ => (),
            }
            buffer.drain(..fed.used);
            if idle {
                break;
            }
        }
    }
    exchange.finish().ok()?;
    Some((status, body, exchange.take_trailers().len(), buffer.len()))
}
