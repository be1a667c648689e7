//! The data of a message: the same however it is cut, its line ends CRLF, no dot alone on a line but the last.

use caspian_net::mail::data::Stuffer;

pub fn run(input: (Vec<u8>, Vec<usize>)) {
    let (data, cuts) = input;
    let mut whole = Vec::new();
    let mut stuffer = Stuffer::default();
    stuffer.push(&data, &mut whole);
    stuffer.finish(&mut whole);

    let mut pieces = Vec::new();
    let mut rest = &data[..];
    for cut in cuts {
        let (piece, after) = rest.split_at(cut % (rest.len() + 1));
        stuffer.push(piece, &mut pieces);
        rest = after;
    }
    stuffer.push(rest, &mut pieces);
    stuffer.finish(&mut pieces);
    assert_eq!(whole, pieces);

    let body = whole.strip_suffix(b".\r\n").expect("the end");
    assert!(body.is_empty() || body.ends_with(b"\r\n"));
    let lines: Vec<_> = body.split(|byte| *byte == b'\n').collect();
    let (last, lines) = lines.split_last().expect("a line");
    assert!(last.is_empty());
    for line in lines {
        let line = line.strip_suffix(b"\r").expect("CRLF");
        assert!(!line.contains(&b'\r') && line != b".");
    }
}
