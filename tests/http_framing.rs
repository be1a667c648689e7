//! The answers of servers as byte tables, through the sans-IO exchange: whole, byte by byte and cut at every place. All
//! of them must end the same way: the same body, the same trailers, the same reuse, or an error of the same kind.

use caspian_net::{
    error::Kind,
    http::{
        body::Asked,
        exchange::{Event, Exchange},
        response::Head,
    },
};

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Done {
        head: Box<Head>,
        body: Vec<u8>,
        trailers: usize,
        interims: usize,
        reusable: bool,
        left: Vec<u8>,
    },
    /// The peer says nothing more and the exchange still waits.
    Waits,
    Failed(Kind),
}

/// Feeds the pieces, then the end of the stream if `eof`.
fn run(asked: Asked, pieces: &[&[u8]], eof: bool) -> End {
    let mut exchange = Exchange::new(asked);
    let (mut head, mut body, mut interims): (Option<Box<Head>>, Vec<u8>, usize) = (None, Vec::new(), 0);
    let mut buffer: Vec<u8> = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let fed = match exchange.feed(&buffer) {
                Ok(fed) => fed,
                Err(err) => return End::Failed(err.kind()),
            };
            let more = matches!(fed.event, Event::More | Event::End);
            match fed.event {
                Event::Head(found) => assert!(head.replace(found).is_none(), "two heads"),
                Event::Interim(_) => interims += 1,
                Event::Body(range) => {
                    assert!(range.end <= fed.used && !range.is_empty());
                    body.extend_from_slice(&buffer[range]);
                }
                Event::More => assert_eq!(fed.used, buffer.len(), "asks for more with bytes unused"),
                Event::End => (),
            }
            buffer.drain(..fed.used);
            if more {
                break;
            }
        }
    }
    if eof && let Err(err) = exchange.finish() {
        assert!(exchange.feed(b"x").is_err(), "an error is final");
        return End::Failed(err.kind());
    }
    match (exchange.ended(), head) {
        (true, Some(head)) => End::Done {
            head,
            body,
            trailers: exchange.take_trailers().len(),
            interims,
            reusable: exchange.reusable() && buffer.is_empty(),
            left: buffer,
        },
        (true, None) => panic!("an end without a head"),
        _ => End::Waits,
    }
}

/// Runs `bytes` cut in all the ways, and answers how it ended.
fn every_way(name: &str, asked: Asked, bytes: &[u8], eof: bool) -> End {
    let whole = run(asked, &[bytes], eof);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(run(asked, &single, eof), whole, "{name}: byte by byte");
    // Cutting a long row everywhere is quadratic: its edges tell enough.
    let places = (0..=bytes.len()).filter(|at| bytes.len() < 2048 || *at < 48 || bytes.len() - at < 48);
    for at in places {
        let (front, back) = bytes.split_at(at);
        assert_eq!(run(asked, &[front, back], eof), whole, "{name}: cut at {at}");
    }
    whole
}

/// What a row expects, in short.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// Body, and whether the connection lives on.
    Body(&'static str, bool),
    /// The same, with so many interim responses before.
    After(usize, &'static str),
    /// The same, with so many trailers.
    Trailers(usize, &'static str),
    /// Complete, and these bytes are not of it.
    Left(&'static str, &'static str),
    Waits,
    Refused(Kind),
}
use Want::*;

const PROTOCOL: Want = Refused(Kind::Protocol);
const RESET: Want = Refused(Kind::ConnectionReset);

fn check(name: &str, asked: Asked, bytes: &[u8], eof: bool, want: Want) {
    let got = every_way(name, asked, bytes, eof);
    let fine = match (&got, want) {
        (End::Done { body, reusable, left, .. }, Body(b, r)) => {
            body == b.as_bytes() && (eof || *reusable == r) && left.is_empty()
        }
        (End::Done { body, interims, .. }, After(n, b)) => body == b.as_bytes() && *interims == n,
        (End::Done { body, trailers, .. }, Trailers(n, b)) => body == b.as_bytes() && *trailers == n,
        (End::Done { body, left, reusable, .. }, Left(b, l)) => {
            body == b.as_bytes() && left == l.as_bytes() && !reusable
        }
        (End::Waits, Waits) => true,
        (End::Failed(kind), Refused(want)) => *kind == want,
        _ => false,
    };
    assert!(fine, "{name}: wanted {want:?}, got {got:?}");
}

/// A row: name, head fields and body after the status line `HTTP/1.1 200 OK`, expected. The stream stays open.
type Row = (&'static str, &'static str, Want);

#[test]
fn lengths() {
    const ROWS: &[Row] = &[
        ("plain", "Content-Length: 5\r\n\r\nhello", Body("hello", true)),
        ("zero", "Content-Length: 0\r\n\r\n", Body("", true)),
        ("leading zeros", "Content-Length: 005\r\n\r\nhello", Body("hello", true)),
        ("equal in a list", "Content-Length: 5, 5\r\n\r\nhello", Body("hello", true)),
        ("equal in two lines", "Content-Length: 5\r\ncontent-length:5\r\n\r\nhello", Body("hello", true)),
        ("blanks around", "Content-Length: \t 5 \t\r\n\r\nhello", Body("hello", true)),
        ("name in capitals", "CONTENT-LENGTH: 5\r\n\r\nhello", Body("hello", true)),
        ("one more byte", "Content-Length: 5\r\n\r\nhello!", Left("hello", "!")),
        ("not all there", "Content-Length: 5\r\n\r\nhell", Waits),
        ("huge and true", "Content-Length: 9000000000000000000\r\n\r\nhello", Waits),
        ("two different", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", PROTOCOL),
        ("two different in a list", "Content-Length: 5,6\r\n\r\nhello", PROTOCOL),
        ("same value spelt differently", "Content-Length: 5, 05\r\n\r\nhello", PROTOCOL),
        ("empty member behind", "Content-Length: 5,\r\n\r\nhello", PROTOCOL),
        ("empty member in front", "Content-Length: ,5\r\n\r\nhello", PROTOCOL),
        ("empty", "Content-Length:\r\n\r\nhello", PROTOCOL),
        ("plus", "Content-Length: +5\r\n\r\nhello", PROTOCOL),
        ("minus", "Content-Length: -1\r\n\r\nhello", PROTOCOL),
        ("hexadecimal", "Content-Length: 0x5\r\n\r\nhello", PROTOCOL),
        ("two numbers", "Content-Length: 5 6\r\n\r\nhello", PROTOCOL),
        ("fraction", "Content-Length: 5.0\r\n\r\nhello", PROTOCOL),
        ("exponent", "Content-Length: 5e0\r\n\r\nhello", PROTOCOL),
        ("quoted", "Content-Length: \"5\"\r\n\r\nhello", PROTOCOL),
        ("a word", "Content-Length: five\r\n\r\nhello", PROTOCOL),
        ("other digits", "Content-Length: ٥\r\n\r\nhello", PROTOCOL),
        ("2^63", "Content-Length: 9223372036854775808\r\n\r\nhello", PROTOCOL),
        ("2^64", "Content-Length: 18446744073709551616\r\n\r\nhello", PROTOCOL),
        ("2^64 + 5", "Content-Length: 18446744073709551621\r\n\r\nhello", PROTOCOL),
    ];
    for (name, rest, want) in ROWS {
        check(name, Asked::Other, format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes(), false, *want);
    }
}

#[test]
fn transfer_codings() {
    const ROWS: &[Row] = &[
        ("chunked", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Body("hello", true)),
        ("capitals", "Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Body("hello", true)),
        ("with a length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("length first", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("bad coding with a length", "Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\nhello", PROTOCOL),
        ("something after", "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("something before", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("twice", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("twice in lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("other", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("identity", "Transfer-Encoding: identity\r\n\r\nhello", PROTOCOL),
        ("parameter", "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("quoted", "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("empty", "Transfer-Encoding:\r\n\r\n0\r\n\r\n", PROTOCOL),
        ("empty members", "Transfer-Encoding: , chunked,\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Body("hello", true)),
        ("empty members alone", "Transfer-Encoding: ,,\r\n\r\nhello", PROTOCOL),
        ("vertical tab", "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", PROTOCOL),
    ];
    for (name, rest, want) in ROWS {
        check(name, Asked::Other, format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes(), false, *want);
    }
    let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    check("chunked on 1.0", Asked::Other, old, true, PROTOCOL);
}

#[test]
fn chunks() {
    const ROWS: &[Row] = &[
        ("two", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", Body("hello world", true)),
        ("none", "0\r\n\r\n", Body("", true)),
        ("several zeros", "000\r\n\r\n", Body("", true)),
        ("digits of both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", Body("01234567890123456789", true)),
        ("sixteen digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", Body("hello", true)),
        ("CRLF in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", Body("\r\n\r\n", true)),
        ("extension", "5;name=value\r\nhello\r\n0;last\r\n\r\n", Body("hello", true)),
        ("quoted extension", "5;a=\"b;c\\\"d\"\r\nhello\r\n0\r\n\r\n", Body("hello", true)),
        ("blank before extension", "5 \t;a\r\nhello\r\n0\r\n\r\n", Body("hello", true)),
        ("next answer behind", "0\r\n\r\nHTTP/1.1 200", Left("", "HTTP/1.1 200")),
        ("size missing", "\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("extension only", ";a\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("minus", "-5\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("prefix", "0x5\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("blank in front", " 5\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("blank behind", "5 \r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("blank inside", "1 0\r\n0123456789abcdef\r\n0\r\n\r\n", PROTOCOL),
        ("underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", PROTOCOL),
        ("not a digit", "g\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("seventeen digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("2^64 - 1", "FFFFFFFFFFFFFFFF\r\nhello", PROTOCOL),
        ("2^63", "8000000000000000\r\nhello", PROTOCOL),
        ("2^63 - 1", "7FFFFFFFFFFFFFFF\r\nhello", Waits),
        ("bare line feed after size", "5\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("bare carriage return after size", "5\rhello\r\n0\r\n\r\n", PROTOCOL),
        ("two carriage returns", "5\r\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("line feed in extension", "5;a\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("carriage return in extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("NUL in extension", "5;a\0b\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("data too long", "5\r\nhello!\r\n0\r\n\r\n", PROTOCOL),
        ("data too short", "6\r\nhello\r\n0\r\n\r\n", PROTOCOL),
        ("no CRLF after data", "5\r\nhello0\r\n\r\n", PROTOCOL),
        ("line feed after data", "5\r\nhello\n0\r\n\r\n", PROTOCOL),
        ("carriage return after data", "5\r\nhello\r0\r\n\r\n", PROTOCOL),
        ("no last line", "5\r\nhello\r\n0\r\n", Waits),
        ("no last chunk", "5\r\nhello\r\n", Waits),
    ];
    for (name, rest, want) in ROWS {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}");
        check(name, Asked::Other, bytes.as_bytes(), false, *want);
    }
    for (name, rest) in [("in a chunk", "5\r\nhel"), ("between", "5\r\nhello\r\n"), ("before the last line", "0\r\n")] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}");
        check(name, Asked::Other, bytes.as_bytes(), true, RESET);
    }
    for (name, line, fine) in [
        ("an extension", "2;a", true),
        ("with a value", "2 ; a = b", true),
        ("with a quoted one", "2;a=\"x;, \\\" y\";b", true),
        ("two", "2;a;b=c", true),
        ("a bare semicolon", "2;", false),
        ("and a blank", "2; ", false),
        ("two semicolons", "2;;a", false),
        ("a semicolon at the end", "2;a;", false),
        ("a value without a name", "2;=a", false),
        ("a quoted string without an end", "2;a=\"x", false),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{line}\r\nhi\r\n0\r\n\r\n");
        let want = if fine { Body("hi", true) } else { PROTOCOL };
        check(name, Asked::Other, bytes.as_bytes(), false, want);
    }
}

#[test]
fn trailers() {
    const ROWS: &[Row] = &[
        ("one", "X-Sum: 1\r\n\r\n", Trailers(1, "hello")),
        ("none of them a header", "Content-Length: 3\r\nSet-Cookie: a=b\r\nLocation: /\r\n\r\n", Trailers(3, "hello")),
        ("folded", "A: b\r\n c\r\n\r\n", Trailers(1, "hello")),
        ("folded, the empty line too", "A: b\r\n \r\n\r\n", Trailers(1, "hello")),
        ("leading blank", " A: b\r\n\r\n", PROTOCOL),
        ("no colon", "A\r\n\r\n", PROTOCOL),
        ("blank before colon", "A : b\r\n\r\n", PROTOCOL),
        ("bare carriage return", "A: b\rc\r\n\r\n", PROTOCOL),
        ("bare line feed", "A: b\n\r\n", PROTOCOL),
        ("bare line feed at the end", "A: b\r\n\n", PROTOCOL),
        ("bare line feed alone", "\n", PROTOCOL),
        ("NUL", "A: b\0\r\n\r\n", PROTOCOL),
        ("not all there", "A: b\r\n", Waits),
    ];
    for (name, rest, want) in ROWS {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{rest}");
        check(name, Asked::Other, bytes.as_bytes(), false, *want);
    }
}

#[test]
fn heads() {
    // Whole heads; where one is fine its body ends with the stream.
    const ROWS: &[(&str, &[u8], Want)] = &[
        ("plain", b"HTTP/1.1 200 OK\r\n\r\nhi", Body("hi", false)),
        ("no reason", b"HTTP/1.1 200\r\n\r\nhi", Body("hi", false)),
        ("empty reason", b"HTTP/1.1 200 \r\n\r\nhi", Body("hi", false)),
        ("reason in Latin-1", b"HTTP/1.1 200 d\xe9j\xe0 vu\r\n\r\nhi", Body("hi", false)),
        ("1.0", b"HTTP/1.0 200 OK\r\n\r\nhi", Body("hi", false)),
        ("status 999", b"HTTP/1.1 999 Denied\r\n\r\nhi", Body("hi", false)),
        ("line feeds alone (RFC 9112 section 2.2)", b"HTTP/1.1 200 OK\nA: b\n\nhi", Body("hi", false)),
        ("empty value", b"HTTP/1.1 200 OK\r\nA:\r\nB: \r\n\r\nhi", Body("hi", false)),
        ("high bytes in a value", b"HTTP/1.1 200 OK\r\nA: \xff\r\n\r\nhi", Body("hi", false)),
        ("1.2", b"HTTP/1.2 200 OK\r\n\r\n", PROTOCOL),
        ("2.0", b"HTTP/2.0 200 OK\r\n\r\n", PROTOCOL),
        ("2", b"HTTP/2 200\r\n\r\n", PROTOCOL),
        ("11.1", b"HTTP/11.1 200 OK\r\n\r\n", PROTOCOL),
        ("1.10", b"HTTP/1.10 200 OK\r\n\r\n", PROTOCOL),
        ("01.1", b"HTTP/01.1 200 OK\r\n\r\n", PROTOCOL),
        ("lower case", b"http/1.1 200 OK\r\n\r\n", PROTOCOL),
        ("blank in front", b" HTTP/1.1 200 OK\r\n\r\n", PROTOCOL),
        ("empty line in front", b"\r\nHTTP/1.1 200 OK\r\n\r\n", PROTOCOL),
        ("byte order mark", b"\xef\xbb\xbfHTTP/1.1 200 OK\r\n\r\n", PROTOCOL),
        ("two blanks", b"HTTP/1.1  200 OK\r\n\r\n", PROTOCOL),
        ("tab", b"HTTP/1.1\t200 OK\r\n\r\n", PROTOCOL),
        ("two digits", b"HTTP/1.1 20 OK\r\n\r\n", PROTOCOL),
        ("four digits", b"HTTP/1.1 2000 OK\r\n\r\n", PROTOCOL),
        ("negative", b"HTTP/1.1 -20 OK\r\n\r\n", PROTOCOL),
        ("plus", b"HTTP/1.1 +20 OK\r\n\r\n", PROTOCOL),
        ("000", b"HTTP/1.1 000 OK\r\n\r\n", PROTOCOL),
        ("099", b"HTTP/1.1 099 OK\r\n\r\n", PROTOCOL),
        ("no status", b"HTTP/1.1\r\n\r\n", PROTOCOL),
        ("reason sticks to the status", b"HTTP/1.1 200OK\r\n\r\n", PROTOCOL),
        ("NUL in the reason", b"HTTP/1.1 200 O\0K\r\n\r\n", PROTOCOL),
        ("carriage return in the reason", b"HTTP/1.1 200 O\rK\r\n\r\n", PROTOCOL),
        ("RTSP", b"RTSP/1.0 200 OK\r\n\r\n", PROTOCOL),
        ("HTTP/2", b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", PROTOCOL),
        ("ICY", b"ICY 200 OK\r\n\r\n", PROTOCOL),
        ("0.9", b"<html>hello</html>", PROTOCOL),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", PROTOCOL),
        ("TLS alert", b"\x15\x03\x01\x00\x02\x02\x16", PROTOCOL),
        ("folded", b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nhi", Body("hi", false)),
        ("folded with a tab", b"HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\n\r\nhi", Body("hi", false)),
        ("folded to nothing", b"HTTP/1.1 200 OK\r\nA:\r\n \r\n\t\r\n\r\nhi", Body("hi", false)),
        ("a folded length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nhi", Body("hi", true)),
        ("a length folded in two", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n 2\r\n\r\nhi", PROTOCOL),
        ("a colon in the fold", b"HTTP/1.1 200 OK\r\nA\r\n : b\r\n\r\n", PROTOCOL),
        ("a stray carriage return before a fold", b"HTTP/1.1 200 OK\r\nA: b\r\r\n c\r\n\r\n", PROTOCOL),
        ("a stray carriage return in a fold", b"HTTP/1.1 200 OK\r\nA: b\r\n c\rd\r\n\r\n", PROTOCOL),
        ("first line leads with a blank", b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n", PROTOCOL),
        ("blank before colon", b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", PROTOCOL),
        ("tab before colon", b"HTTP/1.1 200 OK\r\nContent-Length\t: 5\r\n\r\n", PROTOCOL),
        ("no name", b"HTTP/1.1 200 OK\r\n: b\r\n\r\n", PROTOCOL),
        ("no colon", b"HTTP/1.1 200 OK\r\nA\r\n\r\n", PROTOCOL),
        ("name in Latin-1", b"HTTP/1.1 200 OK\r\n\xe9: b\r\n\r\n", PROTOCOL),
        ("parenthesis in a name", b"HTTP/1.1 200 OK\r\nA(): b\r\n\r\n", PROTOCOL),
        ("NUL in a name", b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n", PROTOCOL),
        ("NUL in a value", b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", PROTOCOL),
        ("control in a value", b"HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n", PROTOCOL),
        ("DEL in a value", b"HTTP/1.1 200 OK\r\nA: b\x7f\r\n\r\n", PROTOCOL),
        ("bare carriage return in a value", b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", PROTOCOL),
        ("bare carriage return before a line end", b"HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n", PROTOCOL),
        ("bare carriage return as a line", b"HTTP/1.1 200 OK\r\n\rA: b\r\n\r\n", PROTOCOL),
        ("nothing", b"", RESET),
        ("half a version", b"HTTP/1", RESET),
        ("half a head", b"HTTP/1.1 200 OK\r\nA: b\r\n", RESET),
        ("interim only", b"HTTP/1.1 100 Continue\r\n\r\n", RESET),
    ];
    for (name, bytes, want) in ROWS {
        check(name, Asked::Other, bytes, true, *want);
    }
}

#[test]
fn bodies_that_are_not_there() {
    for (name, asked, bytes, want) in [
        ("HEAD", Asked::Head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Body("", true)),
        ("HEAD, body sent", Asked::Head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Left("", "hello")),
        ("HEAD, chunked", Asked::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Body("", true)),
        ("HEAD, no length", Asked::Head, "HTTP/1.1 200 OK\r\n\r\n", Body("", true)),
        ("HEAD, bad length", Asked::Head, "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", PROTOCOL),
        ("204", Asked::Other, "HTTP/1.1 204 No Content\r\n\r\n", Body("", true)),
        ("204 with length", Asked::Other, "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", Body("", false)),
        ("204, body sent", Asked::Other, "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", Left("", "hello")),
        ("204, chunked", Asked::Other, "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", Body("", false)),
        ("304", Asked::Other, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Body("", true)),
        ("304, body sent", Asked::Other, "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nhello", Left("", "hello")),
        ("tunnel", Asked::Connect, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nTLS", Left("", "TLS")),
        ("no tunnel", Asked::Connect, "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", Body("no", true)),
        ("upgrade", Asked::Upgrade, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nframe", Left("", "frame")),
        ("no upgrade", Asked::Upgrade, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", Body("no", true)),
        ("unasked upgrade", Asked::Other, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", PROTOCOL),
    ] {
        check(name, asked, bytes.as_bytes(), false, want);
    }
}

#[test]
fn interim_responses() {
    const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    for (name, interims, want) in [
        ("100", "HTTP/1.1 100 Continue\r\n\r\n".to_owned(), After(1, "hi")),
        ("103 with fields", "HTTP/1.1 103 Early\r\nLink: x\r\nContent-Length: 9\r\n\r\n".to_owned(), After(1, "hi")),
        ("sixteen", "HTTP/1.1 102 Processing\r\n\r\n".repeat(16), After(16, "hi")),
        ("seventeen", "HTTP/1.1 102 Processing\r\n\r\n".repeat(17), PROTOCOL),
        ("malformed", "HTTP/1.1 100 Continue\r\nA b\r\n\r\n".to_owned(), PROTOCOL),
    ] {
        check(name, Asked::Other, format!("{interims}{LAST}").as_bytes(), false, want);
    }
}

#[test]
fn reuse() {
    for (name, head, reusable) in [
        ("1.1", "HTTP/1.1 200 OK\r\n", true),
        ("close", "HTTP/1.1 200 OK\r\nConnection: close\r\n", false),
        ("close in capitals", "HTTP/1.1 200 OK\r\nconnection: CLOSE\r\n", false),
        ("close in a list", "HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\n", false),
        ("close in another line", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "HTTP/1.0 200 OK\r\n", false),
        ("1.0 that lives", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", true),
        ("1.0 that does not", "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n", false),
    ] {
        let bytes = format!("{head}Content-Length: 2\r\n\r\nhi");
        check(name, Asked::Other, bytes.as_bytes(), false, Body("hi", reusable));
    }
    // A stream that ended is not reused, and a body shorter than announced is not a body.
    assert!(matches!(
        run(Asked::Other, &[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"], true),
        End::Done { reusable: false, .. }
    ));
    check("short", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", true, RESET);
}

#[test]
fn budgets() {
    let fields = |n: usize| "A: b\r\n".repeat(n);
    let long = |n: usize| format!("A: {}\r\n", "b".repeat(n));
    let interim = |n: usize| format!("HTTP/1.1 103 Early\r\n{}\r\n", fields(n));
    let head = |rest: String| format!("HTTP/1.1 200 OK\r\n{rest}Content-Length: 2\r\n\r\nhi");
    let chunked = |rest: String| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}");
    let extended = |n: usize| format!("2;{}\r\nhi\r\n0\r\n\r\n", "e".repeat(n - 1));
    for (name, bytes, want) in [
        ("256 fields", head(fields(255)), Body("hi", true)),
        ("257 fields", head(fields(256)), PROTOCOL),
        ("5001 fields", head(fields(5000)), PROTOCOL),
        ("fields of an interim count", interim(128) + &head(fields(127)), After(1, "hi")),
        ("fields of an interim are too many", interim(128) + &head(fields(128)), PROTOCOL),
        ("64 KiB", head(long(65536 - 43)), Body("hi", true)),
        ("64 KiB and one byte", head(long(65536 - 42)), PROTOCOL),
        ("a line without an end", format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(70_000)), PROTOCOL),
        ("a status line without an end", format!("HTTP/1.1 200 {}", "b".repeat(70_000)), PROTOCOL),
        ("bytes of interims count", interim(0).repeat(15) + &head(long(65_400)), PROTOCOL),
        ("trailers count fields", chunked(format!("0\r\n{}\r\n", fields(256))), PROTOCOL),
        ("trailers fit", chunked(format!("0\r\n{}\r\n", fields(255))), Trailers(255, "")),
        ("trailers without an end", chunked(format!("0\r\nA: {}", "b".repeat(70_000))), PROTOCOL),
        ("16 KiB of extensions", chunked(extended(16 * 1024)), Body("hi", true)),
        ("and one byte", chunked(extended(16 * 1024 + 1)), PROTOCOL),
        ("extensions add up", chunked(format!("2;{}\r\nhi\r\n", "e".repeat(99)).repeat(200)), PROTOCOL),
        ("blanks add up", chunked(format!("2{};\r\nhi\r\n", " ".repeat(99)).repeat(200)), PROTOCOL),
    ] {
        check(name, Asked::Other, bytes.as_bytes(), false, want);
    }
}

#[test]
fn bytes_may_be_read_past_the_exchange() {
    let mut exchange = Exchange::new(Asked::Other);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let mut used = 0;
    for _ in 0..2 {
        used += exchange.feed(&head[used..]).unwrap().used;
    }
    assert_eq!((used, exchange.pending()), (head.len(), 5));
    exchange.took(4);
    assert_eq!(exchange.pending(), 1);
    assert!(!exchange.ended());
    exchange.took(1);
    assert!(exchange.ended() && exchange.reusable() && exchange.pending() == 0);
}
