//! Frames without a socket, however they are cut. The rows follow Autobahn's core cases (1 to 7, 9).

use caspian_net::http::websocket::frames::{Event, Goodbye, Limits, Reader};

/// A frame as a server sends it: first byte, payload.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(short as u8),
        middle @ 126..65536 => {
            out.push(126);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

pub fn frames(list: &[(u8, &[u8])]) -> Vec<u8> {
    list.iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
}

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// An event in a word, so that rows are short.
fn word(event: &Event) -> String {
    match event {
        Event::More => "more".into(),
        Event::Message(form, bytes) if bytes.len() > 40 => format!("{} of {}", form.word(), bytes.len()),
        Event::Message(form, bytes) => format!("{} {}", form.word(), bytes.escape_ascii()),
        Event::Ping(bytes) => format!("ping {}", bytes.escape_ascii()),
        Event::Pong(bytes) => format!("pong {}", bytes.escape_ascii()),
        Event::Close(Goodbye { code, reason }) => format!("close {code} {reason}"),
    }
}

/// What comes of `bytes` when they arrive in `pieces`; after the events, the error's class.
fn read(pieces: &[&[u8]], limits: Limits) -> Vec<String> {
    let (mut reader, mut words) = (Reader::new(limits), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match reader.feed(rest) {
                Ok((used, event)) => {
                    rest = &rest[used..];
                    if event == Event::More {
                        assert!(rest.is_empty(), "More, but not everything was used");
                        break;
                    }
                    words.push(word(&event));
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

/// A row: name, bytes, the events; the last may be the beginning of an error.
type Row = (&'static str, Vec<u8>, &'static [&'static str]);

fn rows() -> Vec<Row> {
    let kappa = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes(); // Autobahn's word
    vec![
        // 1: framing
        ("1.1.1 empty text", frame(TEXT, b""), &["text "]),
        ("1.1.2 text of 125", frame(TEXT, &[b'*'; 125]), &["text of 125"]),
        ("1.1.3 text of 126", frame(TEXT, &[b'*'; 126]), &["text of 126"]),
        ("1.1.6 text of 65535", frame(TEXT, &[b'*'; 65535]), &["text of 65535"]),
        ("1.1.7 text of 65536", frame(TEXT, &[b'*'; 65536]), &["text of 65536"]),
        ("1.2.1 empty binary", frame(BINARY, b""), &["binary "]),
        ("1.2.7 binary of 65536", frame(BINARY, &[0xfe; 65536]), &["binary of 65536"]),
        // 2: pings and pongs
        ("2.1 empty ping", frame(PING, b""), &["ping "]),
        ("2.3 binary ping", frame(PING, b"\x00\xff\xfe"), &["ping \\x00\\xff\\xfe"]),
        ("2.4 ping of 125", frame(PING, &[0xfe; 125]), &["ping \\xfe"]),
        ("2.5 ping of 126", frame(PING, &[0xfe; 126]), &["protocol: a control frame of more than 125"]),
        ("2.7 unsolicited pong", frame(PONG, b""), &["pong "]),
        ("2.9 pong, ping", frames(&[(PONG, b"x"), (PING, b"y")]), &["pong x", "ping y"]),
        ("pong of 2^40", vec![PONG, 127, 0, 0, 1, 0, 0, 0, 0, 0], &["protocol: a control frame of more than 125"]),
        // 3: reserved bits
        ("3.1 RSV3", frame(0x91, b"x"), &["protocol: a frame has a reserved bit"]),
        ("3.2 text, RSV2", frames(&[(TEXT, b"a"), (0xa1, b"x")]), &["text a", "protocol: a frame has a reserved bit"]),
        ("3.4 RSV1", frame(0xc1, b"x"), &["protocol: a frame has a reserved bit"]),
        ("3.5 RSV on a ping", frame(0xd9, b""), &["protocol: a frame has a reserved bit"]),
        ("3.7 RSV on a close", frame(0xf8, b""), &["protocol: a frame has a reserved bit"]),
        ("RSV on a continuation", frames(&[(0x01, b"a"), (0xc0, b"b")]), &["protocol: a frame has a reserved bit"]),
        // 4: reserved opcodes
        ("4.1.1 opcode 3", frame(0x83, b""), &["protocol: a frame has the reserved opcode 3"]),
        ("4.1.5 opcode 7", frame(0x87, b"x"), &["protocol: a frame has the reserved opcode 7"]),
        ("4.2.1 opcode 11", frame(0x8b, b""), &["protocol: a frame has the reserved opcode 11"]),
        ("4.2.5 opcode 15", frame(0x8f, b"x"), &["protocol: a frame has the reserved opcode 15"]),
        // 5: fragments
        ("5.1 ping in two", frames(&[(0x09, b"a"), (0x80, b"b")]), &["protocol: a control frame is fragmented"]),
        ("5.2 pong in two", frames(&[(0x0a, b"a"), (0x80, b"b")]), &["protocol: a control frame is fragmented"]),
        ("a close in two", frames(&[(0x08, b""), (0x80, b"")]), &["protocol: a control frame is fragmented"]),
        ("5.3 text in two", frames(&[(0x01, b"a"), (0x80, b"b")]), &["text ab"]),
        ("5.6 ping between", frames(&[(0x01, b"a"), (PING, b"p"), (0x80, b"b")]), &["ping p", "text ab"]),
        ("binary in three", frames(&[(0x02, b"a"), (0x00, b""), (0x80, b"\xff")]), &["binary a\\xff"]),
        ("5.9 stray continuation", frame(0x80, b"a"), &["protocol: a continuation without"]),
        ("5.10 unfinished stray", frame(0x00, b"a"), &["protocol: a continuation without"]),
        (
            "5.15 a continuation after the end",
            frames(&[(0x01, b"a"), (0x80, b"b"), (0x00, b"c")]),
            &["text ab", "protocol: a continuation without"],
        ),
        ("5.18 text inside text", frames(&[(0x01, b"a"), (TEXT, b"b")]), &["protocol: a message begins inside"]),
        ("binary inside text", frames(&[(0x01, b"a"), (BINARY, b"b")]), &["protocol: a message begins inside"]),
        (
            "5.19 pings between all",
            frames(&[(0x01, b"1"), (0x00, b"2"), (PING, b"p"), (0x00, b"3"), (PING, b"q"), (0x80, b"4")]),
            &["ping p", "ping q", "text 1234"],
        ),
        // 6: UTF-8
        ("6.1.3 empty fragments", frames(&[(0x01, b""), (0x00, b"a"), (0x80, b"")]), &["text a"]),
        ("6.2.1 in one", frame(TEXT, kappa), &["text \\xce\\xba\\xe1\\xbd\\xb9\\xcf\\x83\\xce\\xbc\\xce\\xb5"]),
        (
            "6.2.3 cut at each byte",
            {
                let (last, first) = kappa.split_last().unwrap();
                let mut bytes = frame(0x01, &first[..1]);
                first[1..].iter().for_each(|b| bytes.extend(frame(0x00, &[*b])));
                bytes.extend(frame(0x80, &[*last]));
                bytes
            },
            &["text \\xce\\xba\\xe1\\xbd\\xb9\\xcf\\x83\\xce\\xbc\\xce\\xb5"],
        ),
        ("6.3.1 a surrogate", frame(TEXT, b"\xce\xba\xed\xa0\x80edited"), &["protocol: a text that is not UTF-8"]),
        (
            "6.4.1 told at its fragment",
            frames(&[(0x01, b"\xce\xba\xf4\x90\x80\x80"), (0x80, b"edited")]),
            &["protocol: a text that is not UTF-8"],
        ),
        ("6.6.1 cut character", frame(TEXT, b"\xce"), &["protocol: a text that is not UTF-8"]),
        ("cut at an empty end", frames(&[(0x01, b"\xce"), (0x80, b"")]), &["protocol: a text that is not UTF-8"]),
        ("6.10 beyond U+10FFFF", frame(TEXT, b"\xf4\x90\x80\x80"), &["protocol: a text that is not UTF-8"]),
        ("6.12 five bytes", frame(TEXT, b"\xf8\x88\x80\x80\x80"), &["protocol: a text that is not UTF-8"]),
        ("6.14 a stray tail", frame(TEXT, b"a\x80"), &["protocol: a text that is not UTF-8"]),
        ("6.20 overlong", frame(TEXT, b"\xc0\xaf"), &["protocol: a text that is not UTF-8"]),
        ("6.23 a noncharacter", frame(TEXT, b"\xef\xbf\xbe"), &["text \\xef\\xbf\\xbe"]),
        ("binary may be anything", frame(BINARY, b"\xc0\xaf"), &["binary \\xc0\\xaf"]),
        // 7: goodbyes
        ("7.1.1 close", frames(&[(TEXT, b"a"), (CLOSE, b"\x03\xe8")]), &["text a", "close 1000 "]),
        ("7.1.2 two closes", frames(&[(CLOSE, b"\x03\xe8"), (CLOSE, b"\x03\xe9")]), &["close 1000 "]),
        ("7.1.3 ping after", frames(&[(CLOSE, b"\x03\xe8"), (PING, b"")]), &["close 1000 "]),
        ("7.1.5 inside a message", frames(&[(0x01, b"a"), (CLOSE, b"\x03\xe8"), (0x80, b"b")]), &["close 1000 "]),
        ("7.3.1 without a code", frame(CLOSE, b""), &["close 1005 "]),
        ("7.3.2 one byte", frame(CLOSE, b"a"), &["protocol: a close frame of one byte"]),
        ("7.3.4 a reason", frame(CLOSE, b"\x03\xe8Hello"), &["close 1000 Hello"]),
        ("7.3.5 a reason of 123", frame(CLOSE, &[&b"\x03\xe8"[..], &[b'*'; 123]].concat()), &["close 1000 ***"]),
        ("7.3.6 of 124", frame(CLOSE, &[&b"\x03\xe8"[..], &[b'*'; 124]].concat()), &["protocol: a control frame of"]),
        (
            "7.5.1 a reason not UTF-8",
            frame(CLOSE, b"\x03\xe8\xce"),
            &["protocol: close frame: a text that is not UTF-8"],
        ),
        ("7.9.1 code 0", frame(CLOSE, b"\x00\x00"), &["protocol: the close code 0"]),
        ("7.9.2 code 999", frame(CLOSE, b"\x03\xe7"), &["protocol: the close code 999"]),
        ("7.9.3 code 1004", frame(CLOSE, b"\x03\xec"), &["protocol: the close code 1004"]),
        ("7.9.4 code 1005", frame(CLOSE, b"\x03\xed"), &["protocol: the close code 1005"]),
        ("7.9.5 code 1006", frame(CLOSE, b"\x03\xee"), &["protocol: the close code 1006"]),
        ("code 1015", frame(CLOSE, b"\x03\xf7"), &["protocol: the close code 1015"]),
        ("7.9.6 code 1016", frame(CLOSE, b"\x03\xf8"), &["protocol: the close code 1016"]),
        ("7.9.9 code 2999", frame(CLOSE, b"\x0b\xb7"), &["protocol: the close code 2999"]),
        ("7.13.1 code 5000", frame(CLOSE, b"\x13\x88"), &["protocol: the close code 5000"]),
        ("code 65535", frame(CLOSE, b"\xff\xff"), &["protocol: the close code 65535"]),
        ("7.7.9 code 1011", frame(CLOSE, b"\x03\xf3"), &["close 1011 "]),
        ("code 1014, registered later", frame(CLOSE, b"\x03\xf6"), &["close 1014 "]),
        ("7.7.10 code 3000", frame(CLOSE, b"\x0b\xb8"), &["close 3000 "]),
        ("7.7.13 code 4999", frame(CLOSE, b"\x13\x87"), &["close 4999 "]),
        // heads
        ("masked", vec![TEXT, 0x81, 1, 2, 3, 4, b'x'], &["protocol: the server masked a frame"]),
        ("masked, told at its second byte", vec![TEXT, 0x80], &["protocol: the server masked a frame"]),
        ("2^63", vec![BINARY, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], &["protocol: a frame's length has its highest bit"]),
        ("2^64 - 1", [vec![BINARY, 127], vec![0xff; 8]].concat(), &["protocol: a frame's length has its highest bit"]),
        ("2^63 - 1", vec![BINARY, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255], &["too_large: a frame of 92233720"]),
        ("2^40 and no data", vec![BINARY, 127, 0, 0, 1, 0, 0, 0, 0, 0], &["too_large: a frame of 1099511627776"]),
        ("125 written in two bytes", vec![BINARY, 126, 0, 125], &["protocol: a frame's length is not written in"]),
        (
            "65535 in eight",
            vec![BINARY, 127, 0, 0, 0, 0, 0, 0, 255, 255],
            &["protocol: a frame's length is not written"],
        ),
        ("half a head", vec![TEXT, 126, 1], &[]),
        ("half a message", frames(&[(0x01, b"a")]), &[]),
    ]
}

fn check(name: &str, got: &[String], expected: &[&str]) {
    let same = got.len() == expected.len()
        && got.iter().zip(expected).all(|(got, expected)| match got.starts_with("protocol") || got.len() > 60 {
            true => got.starts_with(expected),
            false => got == expected || got.starts_with("too_large") && got.starts_with(expected),
        });
    assert!(same, "{name}: {got:?}, not {expected:?}");
}

#[test]
fn frames_however_they_are_cut() {
    for (name, bytes, expected) in rows() {
        check(name, &read(&[&bytes], Limits::default()), expected);
        let single: Vec<_> = bytes.chunks(1).collect();
        check(&format!("{name}, byte by byte"), &read(&single, Limits::default()), expected);
        if bytes.len() < 300 {
            for at in 1..bytes.len() {
                let (a, b) = bytes.split_at(at);
                check(&format!("{name}, cut at {at}"), &read(&[a, b], Limits::default()), expected);
            }
        }
    }
}

#[test]
fn every_byte_is_a_character_or_an_error() {
    // All texts of two bytes, in one frame and in two, against the standard library's word.
    for first in 0..=255u8 {
        for second in 0..=255u8 {
            let fine = std::str::from_utf8(&[first, second]).is_ok();
            for bytes in [frame(TEXT, &[first, second]), frames(&[(0x01, &[first]), (0x80, &[second])])] {
                let got = read(&[&bytes], Limits::default());
                assert_eq!(got[0].starts_with("text"), fine, "{first:#x} {second:#x}: {got:?}");
            }
        }
    }
}

#[test]
fn limits() {
    let limits = Limits { message: 10, frame: 6 };
    for (name, bytes, expected) in [
        ("a frame of 6", frame(TEXT, b"123456"), &["text 123456"][..]),
        ("a frame of 7", frame(TEXT, b"1234567"), &["too_large: a frame of 7 bytes (max_frame_bytes): more than 6"]),
        ("a message of 10", frames(&[(0x02, b"12345"), (0x80, b"67890")]), &["binary 1234567890"]),
        ("of 11", frames(&[(0x02, b"123456"), (0x80, b"78901")]), &["too_large: a message (max_message_bytes)"]),
        ("pings do not count", frames(&[(PING, &[b'p'; 40]), (TEXT, b"1")]), &["ping pppp", "text 1"]),
    ] {
        let got = read(&[&bytes], limits);
        assert!(
            got.iter().zip(expected).all(|(g, e)| g.starts_with(e)) && got.len() == expected.len(),
            "{name}: {got:?}"
        );
    }
}
