//! Any bytes as an event stream: never a panic, and the same events however the bytes are cut.
use caspian_net::http::events::{Event, Parser};

fn read(pieces: [&[u8]; 2]) -> (Vec<Event>, Option<std::time::Duration>, String, bool) {
    let (mut parser, mut events) = (Parser::new(200), Vec::new());
    for mut piece in pieces {
        while !piece.is_empty() {
            let Ok((used, event)) = parser.feed(piece) else { return (events, None, String::new(), false) };
            events.extend(event);
            piece = &piece[used..];
        }
    }
    (events, parser.retry(), parser.last_id().to_owned(), true)
}

pub fn run(input: (u16, &[u8])) {
    let (cut, bytes) = input;
    assert_eq!(read(bytes.split_at(usize::from(cut) % (bytes.len() + 1)).into()), read([bytes, b""]));
}
