//! Forms as a server reads them: no panic, parts within the body, and the same whatever the cut.
use caspian_net::http::incoming::multipart::Scanner;

fn scan(pieces: &[&[u8]]) -> Option<Vec<(Vec<u8>, u64, u64)>> {
    let mut scanner = Scanner::new(b"X");
    for piece in pieces {
        scanner.feed(piece).ok()?;
    }
    let parts = scanner.finish().ok()?;
    Some(parts.into_iter().map(|part| (part.name, part.place.start, part.place.end)).collect())
}

pub fn run(data: (u16, &[u8])) {
    let (cut, bytes) = data;
    let cut = usize::from(cut) % (bytes.len() + 1);
    let whole = scan(&[bytes]);
    for (_, start, end) in whole.iter().flatten() {
        assert!(start <= end && *end <= bytes.len() as u64);
    }
    assert_eq!(scan(&[&bytes[..cut], &bytes[cut..]]), whole);
}
