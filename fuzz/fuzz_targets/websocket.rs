//! Any bytes as frames of a server: never a panic, text is UTF-8, and the events are the same however they are cut.
#![no_main]
use caspian_net::http::websocket::frames::{Event, Form, Limits, Reader};

fn read(pieces: &[&[u8]]) -> (Vec<Event>, bool) {
    let (mut reader, mut events) = (Reader::new(Limits { message: 4096, frame: 1024 }), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let Ok((used, event)) = reader.feed(rest) else { return (events, false) };
            rest = &rest[used..];
            match event {
                Event::More => assert!(rest.is_empty()),
                Event::Message(Form::Text, text) => assert!(std::str::from_utf8(&text).is_ok()),
                event => events.push(event),
            }
        }
    }
    (events, true)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (a, b) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    assert_eq!(read(&[bytes]), read(&[a, b]));
    assert_eq!(read(&[bytes]), read(&bytes.chunks(1).collect::<Vec<_>>()));
});
