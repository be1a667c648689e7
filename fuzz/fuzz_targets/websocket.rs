//! Any bytes as frames of a server, or of a client, which masks them: never a panic, text is UTF-8, and the events are the same
//! however they are cut.
use caspian_net::http::websocket::frames::{Event, Form, Limits, Peer, Reader};

fn read<'a>(peer: Peer, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let (mut reader, mut events) = (Reader::of(peer, Limits { message: 4096, frame: 1024 }), Vec::new());
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            let Ok((used, event)) = reader.feed(rest) else { return (events, false) };
            rest = &rest[used..];
            match event {
                Event::More => assert!(rest.is_empty()),
                event => {
                    assert!(!matches!(&event, Event::Message(Form::Text, text) if std::str::from_utf8(text).is_err()));
                    events.push(event);
                }
            }
        }
    }
    (events, true)
}

pub fn run(input: (bool, u8, &[u8])) {
    let (client, cut, bytes) = input;
    let peer = if client { Peer::Client } else { Peer::Server };
    let (a, b) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let whole = read(peer, [bytes]);
    assert_eq!(read(peer, [a, b]), whole);
    assert_eq!(read(peer, bytes.chunks(1)), whole);
}
