//! Requests as a server reads them: no panic, and the same whatever the cut.
use caspian_net::http::incoming::{Event, Limits, Reader};

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Option<(String, Vec<u8>)>, Option<u16>) {
    let mut reader = Reader::new(Limits { head: 4096, fields: 16, body: 4096 });
    let (mut line, mut body) = (String::new(), Vec::new());
    // Bytes of the pieces before.
    let mut before = 0;
    for piece in pieces {
        let mut at = 0;
        loop {
            let rest = &piece[at..];
            match reader.feed(rest) {
                Ok(Event::More) => break,
                Ok(Event::Head(used, head)) => {
                    line = format!("{} {} {:?} {:?}", head.method, head.target.as_str(), head.framing, head.target.path());
                    at += used;
                }
                Ok(Event::Data(skip, length)) => {
                    body.extend_from_slice(&rest[skip..skip + length]);
                    at += skip + length;
                }
                Ok(Event::Preface(used)) => return (Some((format!("HTTP/2 {}", before + at + used), body)), None),
                Ok(Event::End(_)) => return (Some((line, body)), None),
                Err(refusal) => return (None, Some(refusal.status)),
            }
        }
        before += piece.len();
    }
    (None, None)
}

pub fn run(data: (u16, &[u8])) {
    let (cut, bytes) = data;
    let cut = usize::from(cut) % (bytes.len() + 1);
    let whole = read([bytes]);
    assert_eq!(read([&bytes[..cut], &bytes[cut..]]), whole);
    assert_eq!(read(bytes.chunks(1)), whole);
}
