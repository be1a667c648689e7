//! Compressed messages without a socket, however they are cut, from a server and, masked, from a client. The first rows are
//! the examples of RFC 7692 section 7.2.3.

use crate::frames::{BINARY, CLOSE, PING, PONG, TEXT, frame, frames};
use caspian_net::http::websocket::{
    deflate::Deflater,
    extension::Way,
    frames::{self as ours, Event, Form, Limits, Peer, Reader},
};

/// RSV1.
const Z: u8 = 0x40;
const CORRUPT: &str = "protocol: a compressed message: corrupt data";
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

fn way(takeover: bool) -> Way {
    Way { window_bits: 15, takeover }
}

fn limits() -> Limits {
    Limits { message: 5000, frame: 5000 }
}

fn word(event: &Event) -> String {
    match event {
        Event::Message(form, bytes) if bytes.len() > 40 => format!("{} of {}", form.word(), bytes.len()),
        Event::Message(form, bytes) => format!("{} {}", form.word(), bytes.escape_ascii()),
        Event::Ping(bytes) => format!("ping {}", bytes.escape_ascii()),
        other => format!("{other:?}"),
    }
}

fn read<'a>(peer: Peer, takeover: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut reader, mut words) = (Reader::of(peer, limits()).compressed(way(takeover)), Vec::new());
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            // As the connection does it: never room for what is compressed.
            assert!(reader.room().unwrap().is_empty());
            match reader.feed(rest) {
                Ok((used, event)) => {
                    rest = &rest[used..];
                    if event != Event::More {
                        words.push(word(&event));
                    }
                }
                Err(err) => {
                    words.push(format!("{}: {}", err.kind().word(), err.fields().message));
                    return words;
                }
            }
        }
    }
    words
}

/// The same frames as a client sends them: each with a mask of its own.
fn masked(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest, mut mask) = (Vec::new(), bytes, [0x11, 0xa2, 0x5c, 0xff]);
    while let [first, second, after @ ..] = rest {
        let (length, head) = match second {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), 2),
            127 => (u64::from_be_bytes(after[..8].try_into().unwrap()) as usize, 8),
            short => (usize::from(*short), 0),
        };
        out.extend([*first, second | 0x80]);
        out.extend(&after[..head]);
        out.extend(mask);
        out.extend(after[head..][..length].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        rest = &after[head + length..];
        mask.rotate_left(1);
    }
    out
}

/// Raw DEFLATE of `payload`, flushed as messages are.
fn squeezed(payload: &[u8]) -> Vec<u8> {
    let mut stream = flate2::Compress::new(flate2::Compression::best(), false);
    let mut out = Vec::with_capacity(payload.len() + 100);
    stream.compress_vec(payload, &mut out, flate2::FlushCompress::Sync).unwrap();
    assert_eq!(stream.total_in(), payload.len() as u64);
    assert!(out.ends_with(b"\0\0\xff\xff"));
    out.truncate(out.len() - 4);
    out
}

/// Blocks of stored bytes, each of one byte: what is compressed is longer than what it means.
fn stored(payload: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = payload.iter().flat_map(|byte| [0, 1, 0, 0xfe, 0xff, *byte]).collect();
    out.push(0);
    out
}

type Row = (&'static str, bool, Vec<u8>, &'static [&'static str]);

fn rows() -> Vec<Row> {
    vec![
        ("7.2.3.1 one frame", true, frame(TEXT | Z, HELLO), &["text Hello"]),
        ("in fragments", true, frames(&[(0x01 | Z, &HELLO[..3]), (0x80, &HELLO[3..])]), &["text Hello"]),
        (
            "7.2.3.2 the window of the message before",
            true,
            frames(&[(TEXT | Z, HELLO), (TEXT | Z, b"\xf2\x00\x11\x00\x00")]),
            &["text Hello", "text Hello"],
        ),
        (
            "without takeover there is none",
            false,
            frames(&[(TEXT | Z, HELLO), (TEXT | Z, b"\xf2\x00\x11\x00\x00")]),
            &["text Hello", CORRUPT],
        ),
        (
            "7.2.3.3 a block without compression",
            true,
            frame(TEXT | Z, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
            &["text Hello"],
        ),
        ("7.2.3.4 a last block", true, frame(TEXT | Z, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), &["text Hello"]),
        (
            "a last block, and nothing behind it",
            true,
            frame(TEXT | Z, b"\xf3\x48\xcd\xc9\xc9\x07\x00"),
            &["text Hello"],
        ),
        ("last blocks without content", true, frame(BINARY | Z, &b"\x03\x00".repeat(256)), &["binary "]),
        (
            "one more than a message may have",
            true,
            frame(BINARY | Z, &b"\x03\x00".repeat(257)),
            &["protocol: a compressed message: too many last blocks"],
        ),
        (
            "in fragments, and in all messages together",
            true,
            frames(&[
                (0x02 | Z, &b"\x03\x00".repeat(200)),
                (0x80, b""),
                (BINARY | Z, &b"\x03\x00".repeat(57)),
                (0x02 | Z, b"\x03\x00"),
                (0x80, b"\x03\x00"),
            ]),
            &["binary ", "binary ", "protocol: a compressed message: too many last blocks"],
        ),
        (
            "messages pay for one each",
            true,
            [
                frame(BINARY | Z, &b"\x03\x00".repeat(256)),
                frame(BINARY | Z, b"\x03\x00").repeat(3),
                frame(BINARY | Z, &b"\x03\x00".repeat(2)),
            ]
            .concat(),
            &["binary ", "binary ", "binary ", "binary ", "protocol: a compressed message: too many last blocks"],
        ),
        (
            "and so does content",
            true,
            [
                frame(BINARY | Z, &b"\x03\x00".repeat(256)),
                // A block without compression.
                frame(TEXT | Z, &[&b"\x00\x80\x0c\x7f\xf3"[..], &[b'x'; 3200], b"\x00"].concat()),
                frame(BINARY | Z, &b"\x03\x00".repeat(102)),
                frame(BINARY | Z, &b"\x03\x00".repeat(2)),
            ]
            .concat(),
            &["binary ", "text of 3200", "binary ", "protocol: a compressed message: too many last blocks"],
        ),
        (
            "with content there may be more of them",
            true,
            frame(TEXT | Z, &b"\xf3\x48\xcd\xc9\xc9\x07\x00".repeat(300)),
            &["text of 1500"],
        ),
        (
            "7.2.3.5 two blocks",
            true,
            frame(TEXT | Z, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
            &["text Hello"],
        ),
        ("7.2.3.6 an empty message", true, frame(TEXT | Z, b"\x00"), &["text "]),
        ("of no bytes", true, frame(BINARY | Z, b""), &["binary "]),
        (
            "a last block, and messages after it",
            true,
            frames(&[(TEXT | Z, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), (TEXT | Z, HELLO), (TEXT | Z, HELLO)]),
            &["text Hello", "text Hello", "text Hello"],
        ),
        (
            "as it is between",
            true,
            frames(&[(TEXT | Z, HELLO), (TEXT, b"plain"), (TEXT | Z, b"\xf2\x00\x11\x00\x00")]),
            &["text Hello", "text plain", "text Hello"],
        ),
        (
            "a ping between fragments, and an empty end",
            true,
            frames(&[(0x01 | Z, &HELLO[..2]), (PING, b"p"), (0x00, &HELLO[2..]), (0x80, b"")]),
            &["ping p", "text Hello"],
        ),
        ("an empty beginning", true, frames(&[(0x02 | Z, b""), (0x80, HELLO)]), &["binary Hello"]),
        ("binary may be anything", true, frame(BINARY | Z, &stored(b"\xff\xfe")), &["binary \\xff\\xfe"]),
        // RSV1 belongs to the first frame of a message of data.
        ("on a ping", true, frame(PING | Z, b""), &["protocol: a frame has a reserved bit"]),
        ("on a pong", true, frame(PONG | Z, b""), &["protocol: a frame has a reserved bit"]),
        ("on a close", true, frame(CLOSE | Z, b"\x03\xe8"), &["protocol: a frame has a reserved bit"]),
        (
            "on a continuation",
            true,
            frames(&[(0x01 | Z, &HELLO[..3]), (0x80 | Z, &HELLO[3..])]),
            &["protocol: a frame has a reserved bit"],
        ),
        (
            "on a continuation of what is not compressed",
            true,
            frames(&[(0x01, b"a"), (0x80 | Z, HELLO)]),
            &["protocol: a frame has a reserved bit"],
        ),
        ("with RSV2", true, frame(0xe1, HELLO), &["protocol: a frame has a reserved bit"]),
        ("RSV3 alone", true, frame(0x91, b"x"), &["protocol: a frame has a reserved bit"]),
        ("on a reserved opcode", true, frame(0x83 | Z, b""), &["protocol: a frame has a reserved bit"]),
        ("text inside", true, frames(&[(0x01 | Z, HELLO), (TEXT | Z, HELLO)]), &["protocol: a message begins inside"]),
        // What is no DEFLATE.
        ("a block type that there is not", true, frame(BINARY | Z, b"\x07"), &[CORRUPT]),
        ("a length that is not its own complement", true, frame(BINARY | Z, b"\x00\x05\x00\x00\x00Hello"), &[CORRUPT]),
        ("a distance before the beginning", true, frame(BINARY | Z, b"\xf2\x00\x11\x00\x00"), &[CORRUPT]),
        ("noise", true, frame(BINARY | Z, b"\xa5\x5a\xff\x13\x37\xc0\xde"), &[CORRUPT]),
        ("zlib's wrapping", true, frame(TEXT | Z, b"\x78\x9c\xf2\x48\xcd\xc9\xc9\x07\x00"), &[CORRUPT]),
        // Texts
        ("not UTF-8", true, frame(TEXT | Z, &stored(b"a\xff")), &["protocol: a text that is not UTF-8"]),
        ("a cut character", true, frame(TEXT | Z, &stored(b"a\xce")), &["protocol: a text that is not UTF-8"]),
        ("a character in two blocks", true, frame(TEXT | Z, &stored("\u{3ba}".as_bytes())), &["text \\xce\\xba"]),
        (
            "not UTF-8 before what is corrupt",
            true,
            frame(TEXT | Z, &[&stored(b"\xff")[..6], b"\x07"].concat()),
            &["protocol: a text that is not UTF-8"],
        ),
        (
            "not UTF-8 before it is too large",
            true,
            frame(TEXT | Z, &squeezed(&[&b"\xff"[..], &[b'x'; 9000]].concat())),
            &["protocol: a text that is not UTF-8"],
        ),
        // Caps
        ("as large as may be", true, frame(TEXT | Z, &squeezed(&[b'x'; 5000])), &["text of 5000"]),
        ("one more", true, frame(TEXT | Z, &squeezed(&[b'x'; 5001])), &["too_large: a message (max_message_bytes)"]),
        (
            "a bomb of 1 MiB",
            true,
            frame(BINARY | Z, &squeezed(&[0; 1 << 20])),
            &["too_large: a message (max_message_bytes)"],
        ),
        (
            "a bomb in fragments",
            true,
            frames(&[
                (0x02 | Z, &[squeezed(&[0; 3000]), b"\0\0\xff\xff".to_vec()].concat()),
                (0x80, &squeezed(&[0; 3000])),
            ]),
            &["too_large: a message (max_message_bytes)"],
        ),
        (
            "nothing, in more blocks than a message may have",
            true,
            frames(&[(0x02 | Z, &b"\x00\x00\x00\xff\xff".repeat(900)), (0x80, &b"\x00\x00\x00\xff\xff".repeat(900))]),
            &["too_large: a message (max_message_bytes)"],
        ),
        (
            "longer than what it means, within reason",
            true,
            frame(BINARY | Z, &stored(&[0xff; 900])),
            &["binary of 900"],
        ),
        ("a frame that no message needs", true, frame(BINARY | Z, &[0; 6400]), &["too_large: a frame of 6400 bytes"]),
    ]
}

fn check(name: &str, got: &[String], expected: &[&str]) {
    let same = got.len() == expected.len() && got.iter().zip(expected).all(|(got, expected)| got.starts_with(expected));
    assert!(same, "{name}: {got:?}, not {expected:?}");
}

#[test]
fn compressed_messages_however_they_are_cut() {
    for (name, takeover, bytes, expected) in rows() {
        for (peer, bytes) in [(Peer::Server, bytes.clone()), (Peer::Client, masked(&bytes))] {
            let name = format!("{name} ({peer:?})");
            check(&name, &read(peer, takeover, [&bytes[..]]), expected);
            check(&format!("{name}, byte by byte"), &read(peer, takeover, bytes.chunks(1)), expected);
            for at in 1..bytes.len().min(400) {
                let (a, b) = bytes.split_at(at);
                check(&format!("{name}, cut at {at}"), &read(peer, takeover, [a, b]), expected);
            }
        }
    }
}

#[test]
fn nothing_is_compressed_that_was_not_agreed_on() {
    let mut reader = Reader::new(limits());
    let err = reader.feed(&frame(TEXT | Z, HELLO)).unwrap_err();
    assert!(err.fields().message.contains("reserved bit"), "{err}");
}

/// A message's cap is for what it becomes; memory follows what came, and not what is announced.
#[test]
fn a_bomb_takes_no_more_than_its_cap() {
    let bomb = squeezed(&vec![0; 64 << 20]);
    let mut reader = Reader::new(Limits::default()).compressed(way(true));
    let bytes = frame(BINARY | Z, &bomb);
    let err = loop {
        match reader.feed(&bytes) {
            Ok((used, _)) => assert!(used < bytes.len()),
            Err(err) => break err,
        }
    };
    assert_eq!(err.kind().word(), "too_large");
    assert_eq!(ours::code_for(&err), 1009);
}

/// What one side of ours compresses the other restores, message by message.
#[test]
#[cfg(feature = "full")]
fn there_and_back() {
    for takeover in [true, false] {
        let mut deflater = Deflater::new(way(takeover), 20);
        let mut reader = Reader::of(Peer::Client, limits()).compressed(way(takeover));
        let mut sizes = Vec::new();
        for (at, text) in
            ["short", &"ab ".repeat(500), &"ab ".repeat(500), "x", &"{\"a\":1},".repeat(100)].iter().enumerate()
        {
            let compressed = deflater.deflate(text.as_bytes()).unwrap();
            let (payload, flag) = (compressed.as_deref().unwrap_or(text.as_bytes()), compressed.is_some());
            assert_eq!(flag, text.len() >= 20, "{text}");
            let mut out = Vec::new();
            ours::message(Form::Text, payload, flag, Some([1, 2, 3, at as u8]), &mut out).unwrap();
            sizes.push(out.len());
            let (used, event) = reader.feed(&out).unwrap();
            assert_eq!((used, event), (out.len(), Event::Message(Form::Text, text.as_bytes().to_vec())));
        }
        // The window of the first message makes the second one shorter.
        assert_eq!(sizes[2] < sizes[1], takeover, "{sizes:?}");
    }
}
