//! Requests as a server reads them: the table of `spec/data/hostile_requests.tsv`, whole, byte by byte and at every cut.

use caspian_net::http::incoming::{Event, Limits, Reader, Refusal};

struct Row {
    status: u16,
    name: String,
    bytes: Vec<u8>,
}

fn rows() -> Vec<Row> {
    let lines = include_str!("../spec/data/hostile_requests.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let mut parts = line.split('\t');
        let (status, name, text) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        Row { status: status.parse().unwrap(), name: name.into(), bytes: unescape(text) }
    };
    lines.map(row).collect()
}

/// `\r \n \t \\ \xHH`, and `{N*c}` for a byte N times.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => {
                let (escape, after) = rest.split_first().unwrap();
                rest = after;
                out.push(match escape {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'x' => {
                        let digits = std::str::from_utf8(&rest[..2]).unwrap();
                        rest = &rest[2..];
                        u8::from_str_radix(digits, 16).unwrap()
                    }
                    other => *other,
                });
            }
            b'{' if rest.first().is_some_and(u8::is_ascii_digit) => {
                let end = rest.iter().position(|b| *b == b'}').unwrap();
                let inner = std::str::from_utf8(&rest[..end]).unwrap();
                rest = &rest[end + 1..];
                let (count, byte) = inner.split_once('*').unwrap();
                out.extend(std::iter::repeat_n(byte.as_bytes()[0], count.parse().unwrap()));
            }
            byte => out.push(*byte),
        }
    }
    out
}

/// What comes of a request: method, path and body, and how many bytes were its own; or the refusal; or nothing yet.
#[derive(Debug, PartialEq)]
enum Outcome {
    Whole(String, String, Vec<u8>, usize),
    Refused(u16),
    Unfinished,
}

fn read(pieces: &[&[u8]]) -> Outcome {
    match try_read(pieces) {
        Ok(outcome) => outcome,
        Err(refusal) => Outcome::Refused(refusal.status),
    }
}

fn try_read(pieces: &[&[u8]]) -> Result<Outcome, Refusal> {
    let mut reader = Reader::new(Limits::default());
    let (mut head, mut body, mut used) = (None, Vec::new(), 0);
    for piece in pieces {
        let mut at = 0;
        loop {
            let rest = &piece[at..];
            match reader.feed(rest)? {
                Event::More => {
                    used += rest.len();
                    break;
                }
                Event::Head(length, found) => {
                    assert!(head.replace(found).is_none(), "two heads");
                    (at, used) = (at + length, used + length);
                }
                // Where HTTP/2 is not spoken.
                Event::Preface(_) => return Err(Refusal::new(505, "")),
                Event::Data(skip, length) => {
                    body.extend_from_slice(&rest[skip..skip + length]);
                    (at, used) = (at + skip + length, used + skip + length);
                }
                Event::End(length) => {
                    let head = head.expect("an end before a head");
                    let (method, path) = (head.method.to_string(), head.target.path().to_owned());
                    return Ok(Outcome::Whole(method, path, body, used + length));
                }
            }
        }
    }
    Ok(Outcome::Unfinished)
}

#[test]
fn every_row_has_its_status() {
    let rows = rows();
    assert!(rows.len() >= 150, "{}", rows.len());
    let mut wrong = Vec::new();
    for Row { status, name, bytes } in &rows {
        let outcome = read(&[bytes]);
        let fits = match &outcome {
            Outcome::Whole(.., used) => *status == 200 && *used == bytes.len(),
            Outcome::Refused(refused) => status == refused,
            Outcome::Unfinished => false,
        };
        if !fits {
            wrong.push(format!("{name}: {outcome:?}, not {status}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// However the bytes are cut, the same comes of them.
#[test]
fn every_cut_reads_the_same() {
    for Row { name, bytes, .. } in rows() {
        let whole = read(&[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), whole, "{name}: byte by byte");
        if bytes.len() < 2000 {
            for cut in 0..=bytes.len() {
                assert_eq!(read(&[&bytes[..cut], &[], &bytes[cut..]]), whole, "{name}: cut at {cut}");
            }
        }
    }
}

/// What follows a request is not the request's.
#[test]
fn a_request_ends_where_it_ends() {
    for Row { status, name, bytes } in rows() {
        if status != 200 {
            continue;
        }
        let two = [&bytes[..], b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n"].concat();
        match read(&[&two]) {
            Outcome::Whole(.., used) => assert_eq!(used, bytes.len(), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// No request is whole before its last byte.
#[test]
fn no_request_is_whole_early() {
    for Row { status, name, bytes } in rows() {
        for cut in 0..bytes.len().min(2000) {
            if status == 200 {
                assert_eq!(read(&[&bytes[..cut]]), Outcome::Unfinished, "{name}: cut at {cut}");
            } else {
                assert!(!matches!(read(&[&bytes[..cut]]), Outcome::Whole(..)), "{name}: cut at {cut}");
            }
        }
    }
}

/// A chunked body counts before it is there, and its extensions and trailers are bounded.
#[test]
fn a_body_has_its_cap() {
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let limits = Limits { body: 10, ..Limits::default() };
    for (body, status) in [
        (&b"5\r\nabcde\r\n5\r\nabcde\r\n0\r\n\r\n"[..], None),
        (b"5\r\nabcde\r\n6\r\na", Some(413)),
        (b"b\r\na", Some(413)),
    ] {
        let mut reader = Reader::new(limits);
        let (mut at, bytes) = (0, [HEAD, body].concat());
        let refused = loop {
            match reader.feed(&bytes[at..]) {
                Ok(Event::Head(n, _)) => at += n,
                Ok(Event::Data(skip, n)) => at += skip + n,
                Ok(Event::More | Event::End(_) | Event::Preface(_)) => break None,
                Err(refusal) => break Some(refusal.status),
            }
        };
        assert_eq!(refused, status);
    }
    for filler in
        [[b"1;a=", vec![b'x'; 20_000].as_slice()].concat(), [b"0\r\nX: ", vec![b'x'; 70_000].as_slice()].concat()]
    {
        assert_eq!(read(&[HEAD, &filler]), Outcome::Refused(400));
    }
}
