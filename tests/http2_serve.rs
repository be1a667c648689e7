//! What a server of HTTP/2 makes of frames: the table of `spec/data/hostile_http2.tsv`, whole, byte by byte and cut at every place,
//! without a socket. Requests that are whole are answered with 200.
#![cfg(feature = "http2")]

use caspian_net::http::{
    answer::{Answer, Ends, Exchange},
    http2::serve::{Event, Session},
    incoming::Limits,
    response::Version,
};
use std::{collections::BTreeSet, fmt::Write, time::Duration};

mod frames;

struct Row {
    expected: String,
    name: String,
    bytes: Vec<u8>,
}

fn rows() -> Vec<Row> {
    let lines = include_str!("../spec/data/hostile_http2.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let mut parts = line.split('\t');
        let (expected, name, row) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        Row { expected: expected.into(), name: name.into(), bytes: frames::connection(row) }
    };
    lines.map(row).collect()
}

/// What a server said: statuses, resets and the GOAWAY, without resets that follow an answer.
fn said(mut bytes: &[u8], over: bool) -> String {
    let mut said = BTreeSet::new();
    let mut away = None;
    while bytes.len() >= 9 {
        let length = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let (kind, stream) = (bytes[3], u32::from_be_bytes(bytes[5..9].try_into().unwrap()));
        let payload = &bytes[9..9 + length];
        match kind {
            1 => {
                let status = match payload[0] {
                    0x88 => "200".into(),
                    0x8c => "400".into(),
                    0x8e => "500".into(),
                    // A literal with the index of :status.
                    0x48 if payload[1] == 3 => String::from_utf8(payload[2..5].to_vec()).unwrap(),
                    // The same in Huffman's code, whose digits have five or six bits.
                    0x48 if payload[1] & 128 != 0 => huffman(&payload[2..2 + usize::from(payload[1] & 127)]),
                    other if other & 128 != 0 => "again".into(),
                    other => panic!("{other:x}"),
                };
                if status != "100" {
                    said.insert((stream, format!("{stream}={status}")));
                }
            }
            3 => {
                let code = payload[3];
                if code != 0 && !said.iter().any(|(id, word)| *id == stream && word.contains('=')) {
                    said.insert((stream, format!("{stream}:{code}")));
                }
            }
            7 => away = Some(payload[7]),
            _ => (),
        }
        bytes = &bytes[9 + length..];
    }
    assert!(bytes.is_empty(), "half a frame");
    match (away, over) {
        // What was said before does not matter any more.
        (Some(code), _) if code != 0 => format!("away:{code}"),
        (None, true) => "end".into(),
        _ => said.iter().fold(String::new(), |mut all, (_, word)| {
            let _ = write!(all, "{}{word}", if all.is_empty() { "" } else { " " });
            all
        }),
    }
}

/// Digits in Huffman's code (RFC 7541 appendix B).
fn huffman(bytes: &[u8]) -> String {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let codes = ["00000", "00001", "00010", "011001", "011010", "011011", "011100", "011101", "011110", "011111"];
    let (mut out, mut at) = (String::new(), 0);
    while let Some(digit) = codes.iter().position(|code| bits[at..].starts_with(code)) {
        let _ = write!(out, "{digit}");
        at += codes[digit].len();
    }
    out
}

/// Feeds a session, and answers what is whole. What it has handed out, and what it has said.
fn talk<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, String) {
    let now = Duration::ZERO;
    let mut session = Session::new(Limits::default(), false, now);
    let (mut out, mut handed, mut heads) = (Vec::new(), 0, BTreeSet::new());
    let mut drain = |session: &mut Session| {
        while session.pending() > 0 {
            session
                .take(|bytes| {
                    out.extend_from_slice(bytes);
                    Ok::<_, ()>(bytes.len())
                })
                .unwrap();
        }
    };
    let mut listen = |session: &mut Session| {
        while let Some(event) = session.event() {
            let (id, status) = match event {
                Event::Request { stream, head, ends } => {
                    assert_eq!(head.version, Version::Http2);
                    heads.insert(stream);
                    if head.expects {
                        session.go_on(stream);
                    }
                    if !ends {
                        continue;
                    }
                    (stream, 200)
                }
                Event::End(id) if heads.contains(&id) => (id, 200),
                Event::Refused { stream, refusal, .. } => (stream, refusal.status),
                Event::Reset(id) => {
                    heads.remove(&id);
                    continue;
                }
                _ => continue,
            };
            handed += usize::from(status == 200);
            let known = Exchange { version: Version::Http2, head_only: false, keeps_alive: true, date: "D" };
            session.respond(id, &Answer::new(status).unwrap(), &known, Ends::After(2), false).unwrap();
            session.data(id, b"ok", true);
        }
        session.poll();
    };
    for piece in pieces {
        let mut rest = piece;
        loop {
            let used = session.feed(rest, now);
            rest = &rest[used..];
            listen(&mut session);
            drain(&mut session);
            if rest.is_empty() || session.is_over() {
                break;
            }
        }
    }
    session.tick(now);
    session.tick(now + Duration::from_secs(9));
    drain(&mut session);
    let over = session.is_over();
    (handed, said(&out, over))
}

#[test]
fn every_row_is_met() {
    let rows = rows();
    assert!(rows.len() >= 130, "{}", rows.len());
    let mut wrong = Vec::new();
    for Row { expected, name, bytes } in &rows {
        let (handed, said) = talk([&bytes[..]].into_iter());
        let answered = expected.matches("=200").count();
        if said != *expected || handed != answered && !expected.starts_with("away") {
            wrong.push(format!("{name}: {said}, not {expected}; {handed} handed out"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// However the bytes are cut, the same is said.
#[test]
fn every_cut_is_met_the_same() {
    for Row { expected, name, bytes } in rows() {
        // Byte by byte the window is opened again in time.
        if name == "a body beyond the stream's window" {
            continue;
        }
        let (_, said) = talk(bytes.chunks(1));
        assert_eq!(said, expected, "{name}: byte by byte");
        if bytes.len() < 500 {
            for cut in 0..=bytes.len() {
                let (_, said) = talk([&bytes[..cut], &bytes[cut..]].into_iter());
                assert_eq!(said, expected, "{name}: cut at {cut}");
            }
        }
    }
}

/// Whatever the bytes are, nothing panics, and no more waits to go out than may.
#[test]
fn mutations_of_rows_end_well() {
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below.max(1)
    };
    for Row { bytes, .. } in rows().into_iter().filter(|row| row.bytes.len() < 2000) {
        for _ in 0..100 {
            let mut bytes = bytes.clone();
            for _ in 0..=random(3) {
                // Mostly behind the preface.
                let at =
                    if random(10) == 0 { random(bytes.len()) } else { 24 + random(bytes.len().saturating_sub(24)) };
                let at = at.min(bytes.len() - 1);
                match random(4) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] ^= 1 << random(8),
                    2 => drop(bytes.remove(at)),
                    _ => {
                        let end = (at + random(40)).min(bytes.len());
                        let again = bytes[at..end].to_vec();
                        bytes.splice(at..at, again);
                    }
                }
            }
            let mut session = Session::new(Limits::default(), false, Duration::ZERO);
            for piece in bytes.chunks(1 + random(bytes.len())) {
                session.feed(piece, Duration::ZERO);
                while let Some(event) = session.event() {
                    let (Event::Request { stream: id, .. } | Event::End(id) | Event::Refused { stream: id, .. }) =
                        event
                    else {
                        continue;
                    };
                    let known = Exchange { version: Version::Http2, head_only: false, keeps_alive: true, date: "D" };
                    let _ = session.respond(id, &Answer::new(200).unwrap(), &known, Ends::After(2), false);
                    let count = session.window(id, 2);
                    session.data(id, &b"ok"[..count], count == 2);
                }
                session.poll();
            }
            session.tick(Duration::from_secs(1));
            session.tick(Duration::from_secs(9));
            assert!(session.pending() <= 64 * 1024);
        }
    }
}

/// A hundred streams at a time: those beyond are refused, and may be asked again elsewhere (RFC 9113 section 5.1.2).
#[test]
fn streams_beyond_the_limit_are_refused() {
    let (handed, said) = talk([&frames::connection("110x[H:4:+:$P]")[..]].into_iter());
    let refused: Vec<String> = (100..110).map(|n| format!("{}:7", 2 * n + 1)).collect();
    assert_eq!((handed, said), (0, refused.join(" ")));
}

/// Whole requests that are taken back in the same breath are handed out to nobody (CVE-2023-44487).
#[test]
fn streams_that_are_taken_back_at_once() {
    assert_eq!(talk([&frames::connection("200x[H:5:+:$ R:0:=:#00000008]")[..]].into_iter()), (0, "away:11".into()));
}

/// A client that reads nothing is not read either: what it can make us keep is bounded.
#[test]
fn who_does_not_read_is_not_read() {
    let now = Duration::ZERO;
    let mut session = Session::new(Limits::default(), false, now);
    session.feed(&frames::connection("H:4:1:$P"), now);
    let pings = frames::connection("50x[I:0:0:#0102030405060708]");
    let mut fed = 0;
    for second in 0..1000 {
        let now = Duration::from_secs(second);
        let used = session.feed(&pings[33..], now);
        fed += used;
        if used == 0 {
            break;
        }
    }
    assert!(session.pending() <= 64 * 1024 && fed < 256 * 1024, "{} {fed}", session.pending());
    assert!(!session.is_over());
}
