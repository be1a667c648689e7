//! Any bytes as frames of a server, or of a client, which masks them: never a panic, text is UTF-8, and the events are the same
//! however they are cut.
use caspian_net::http::{
    fields::Fields,
    websocket::{
        extension::{Compress, FIELD, Way},
        frames::{Event, Form, Limits, Peer, Reader},
    },
};

fn read<'a>(peer: Peer, way: Option<Way>, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let (mut reader, mut events) = (Reader::of(peer, Limits { message: 4096, frame: 1024 }), Vec::new());
    if let Some(way) = way {
        reader = reader.compressed(way);
    }
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            let Ok((used, event)) = reader.feed(rest) else { return (events, false) };
            rest = &rest[used..];
            match event {
                Event::More => assert!(rest.is_empty()),
                event => {
                    assert!(!matches!(&event, Event::Message(_, message) if message.len() > 4096));
                    assert!(!matches!(&event, Event::Message(Form::Text, text) if std::str::from_utf8(text).is_err()));
                    events.push(event);
                }
            }
        }
    }
    (events, true)
}

pub fn run(input: (bool, u8, u8, &[u8])) {
    let (client, way, cut, bytes) = input;
    // A server's choice among these bytes as offers is one that a client takes.
    let (mut fields, wanted) = (Fields::new(), Compress::default());
    fields.push(FIELD.as_bytes(), bytes);
    if let Ok(Some((agreed, text))) = wanted.choose(&fields) {
        let mut answer = Fields::new();
        answer.push(FIELD.as_bytes(), text.as_bytes());
        assert!(wanted.accepted(&answer).is_ok_and(|taken| taken.is_some_and(|taken| taken.server == agreed.server)));
    }
    let _ = wanted.accepted(&fields);
    let way = [None, Some(true), Some(false)][usize::from(way) % 3].map(|takeover| Way { window_bits: 15, takeover });
    let peer = if client { Peer::Client } else { Peer::Server };
    let (a, b) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let whole = read(peer, way, [bytes]);
    assert_eq!(read(peer, way, [a, b]), whole);
    assert_eq!(read(peer, way, bytes.chunks(1)), whole);
}
