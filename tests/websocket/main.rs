//! WebSockets against hostile bytes: the frames without a socket, and here the handshake and the connection against
//! scripted servers on loopback.

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]

mod deflate;
mod frames;
#[path = "../http_support/mod.rs"]
mod http_support;

use caspian_net::{
    client::websocket::{Options, Received, WebSocket},
    crypto::digest,
    deadline::Deadline,
    error::{Error, Kind},
    grants::Grants,
    http::websocket::{
        frames::{Form, Goodbye},
        handshake::{Handshake, parse_url},
    },
    net::Net,
};
use frames::{BINARY, CLOSE, PING, PONG, TEXT, frame, frames};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

// --- a server ------------------------------------------------------------------------------------------------------

/// What stands for the right answer to the key in a scripted answer.
const ACCEPT: &str = "{accept}";
const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";

struct Server {
    port: u16,
    thread: JoinHandle<String>,
}

impl Server {
    /// Answers one handshake with `answer`, and then does as `after` says. Its end is the request's head.
    fn run(answer: impl Into<String>, after: impl FnOnce(&mut TcpStream) + Send + 'static) -> Server {
        let (listener, answer) = (TcpListener::bind("127.0.0.1:0").unwrap(), answer.into());
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let head = http_support::head(&mut stream).unwrap();
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let _ = stream.write_all(answer.replace(ACCEPT, &accept(key)).as_bytes());
            after(&mut stream);
            head
        });
        Server { port, thread }
    }

    fn connect(&self, options: &Options, subprotocols: &[&str], deadline: Duration) -> Result<WebSocket, Error> {
        let net = Net::new(Grants::parse(&["--allow-net=127.0.0.1"]).unwrap()).unwrap();
        let url = parse_url(&format!("ws://127.0.0.1:{}/chat?s3cret", self.port)).unwrap();
        let names = subprotocols.iter().map(|name| name.to_string()).collect();
        let handshake = Handshake::new(url, names, [7; 16]).unwrap();
        WebSocket::connect(&net, &handshake, options, &Deadline::after(deadline))
    }

    fn open(&self) -> WebSocket {
        self.connect(&Options::default(), &[], Duration::from_secs(10)).unwrap()
    }
}

fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    data_encoding::BASE64.encode(hash.as_ref())
}

/// Reads frames that a client sent, unmasked: first byte and payload.
fn heard(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert!(head[1] & 0x80 != 0, "a client masks");
    let length = match head[1] & 0x7f {
        126 => {
            let mut more = [0; 2];
            stream.read_exact(&mut more).ok()?;
            u16::from_be_bytes(more) as usize
        }
        127 => {
            let mut more = [0; 8];
            stream.read_exact(&mut more).ok()?;
            u64::from_be_bytes(more) as usize
        }
        short => short as usize,
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(b, m)| *b ^= m);
    Some((head[0], payload))
}

fn secs(seconds: f64) -> Deadline {
    Deadline::after(Duration::from_secs_f64(seconds))
}

// --- handshakes ----------------------------------------------------------------------------------------------------

#[test]
fn handshakes() {
    let with = |more: &str| GOOD.replace("\r\n\r\n", &format!("\r\n{more}\r\n\r\n"));
    let without = |line: &str| GOOD.replace(line, "");
    let long = format!("HTTP/1.1 101 x\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    for (name, answer, expected) in [
        ("good", GOOD.to_string(), Ok(None)),
        (
            "other case and spaces",
            GOOD.replace("websocket", " WebSocket ").replace(": Upgrade", ": keep-alive, UPGRADE"),
            Ok(None),
        ),
        ("early hints first", format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{GOOD}"), Ok(None)),
        ("a subprotocol", with("Sec-WebSocket-Protocol: two"), Ok(Some("two"))),
        ("an empty list of extensions", with("Sec-WebSocket-Extensions: "), Ok(None)),
        ("200", GOOD.replace("101", "200"), Err("answered 200 instead of 101")),
        ("404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(), Err("answered 404 instead of 101")),
        ("401", "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n\r\n".into(), Err("answered 401 instead of 101")),
        ("500 with a body", "HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nhello".into(), Err("answered 500")),
        (
            "a redirect",
            "HTTP/1.1 302 Found\r\nLocation: wss://Other.example:81/secret?token=1\r\n\r\n".into(),
            Err("answered 302, a redirect to other.example, which a WebSocket does not follow"),
        ),
        ("a redirect to itself", "HTTP/1.1 307 x\r\nLocation: /secret\r\n\r\n".into(), Err("a redirect to 127.0.0.1,")),
        ("a redirect to nowhere", "HTTP/1.1 307 x\r\n\r\n".into(), Err("answered 307 instead of 101")),
        ("HTTP/1.0", GOOD.replace("1.1", "1.0"), Err("in HTTP/1.0")),
        ("no Upgrade", without("Upgrade: websocket\r\n"), Err("Upgrade is not websocket")),
        ("another Upgrade", GOOD.replace("websocket", "h2c"), Err("Upgrade is not websocket")),
        ("two Upgrades", with("Upgrade: h2c"), Err("Upgrade is not websocket")),
        ("no Connection", without("Connection: Upgrade\r\n"), Err("Connection does not say upgrade")),
        ("Connection: close", GOOD.replace(": Upgrade", ": close"), Err("Connection does not say upgrade")),
        ("no Accept", without("Sec-WebSocket-Accept: {accept}\r\n"), Err("not the answer to our key")),
        ("a wrong Accept", GOOD.replace(ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), Err("not the answer to our key")),
        ("an Accept in lower case", GOOD.replace(ACCEPT, "{accept}x"), Err("not the answer to our key")),
        ("two Accepts", with("Sec-WebSocket-Accept: {accept}"), Err("not the answer to our key")),
        (
            "an extension",
            with("Sec-WebSocket-Extensions: permessage-deflate"),
            Err("an extension that was not offered"),
        ),
        (
            "a bad extension",
            with("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99"),
            Err("an extension that was not offered"),
        ),
        ("an unasked subprotocol", with("Sec-WebSocket-Protocol: three"), Err("that was not asked for")),
        ("a subprotocol in another case", with("Sec-WebSocket-Protocol: TWO"), Err("that was not asked for")),
        ("an empty subprotocol", with("Sec-WebSocket-Protocol: "), Err("that was not asked for")),
        ("both subprotocols", with("Sec-WebSocket-Protocol: one, two"), Err("that was not asked for")),
        ("twice", with("Sec-WebSocket-Protocol: one\r\nSec-WebSocket-Protocol: two"), Err("two subprotocols")),
        ("a bare CR", with("X: a\rb"), Err("control character")),
        ("folding", with("X: a\r\n b"), Ok(None)),
        ("not HTTP", "SSH-2.0-OpenSSH_9.2p1\r\n\r\n".into(), Err("not HTTP")),
        ("not HTTP, no end", "SSH-2.0".into(), Err("not HTTP")),
        ("64 KiB of head", long, Err("more than 64 KiB")),
        ("17 interim answers", "HTTP/1.1 102 x\r\n\r\n".repeat(17), Err("more than 16 interim")),
        ("nothing", String::new(), Err("closed the connection in the handshake")),
        ("half a head", "HTTP/1.1 101 Sw".into(), Err("closed the connection in the handshake")),
    ] {
        let server = Server::run(answer, |_| ());
        match (server.connect(&Options::default(), &["one", "two"], Duration::from_secs(10)), expected) {
            (Ok(ws), Ok(expected)) => assert_eq!(ws.subprotocol(), expected, "{name}"),
            (Err(err), Err(expected)) => {
                let message = &err.fields().message;
                assert!(message.contains(expected), "{name}: {err}");
                assert!(!message.contains("secret") && !message.contains("=1"), "{name}: {err}");
                let kind =
                    if message.contains("closed the connection") { Kind::ConnectionReset } else { Kind::Protocol };
                assert_eq!((err.kind(), err.fields().op.as_deref()), (kind, Some("websocket")), "{name}: {err}");
            }
            (Ok(_), Err(expected)) => panic!("{name}: fine, not {expected}"),
            (Err(err), Ok(_)) => panic!("{name}: {err}"),
        }
        let head = server.thread.join().unwrap();
        assert!(head.starts_with("GET /chat?s3cret HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
        for line in [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: BwcHBwcHBwcHBwcHBwcHBw==",
            "Sec-WebSocket-Protocol: one, two",
        ] {
            assert!(head.lines().any(|l| l == line), "{line} is not in {head}");
        }
        assert!(!head.contains("Extensions"), "{head}");
    }
}

#[test]
fn what_a_caller_may_say() {
    let handshake = |names: &[&str]| {
        let names = names.iter().map(|name| name.to_string()).collect();
        Handshake::new(parse_url("ws://h/").unwrap(), names, [0; 16])
    };
    for (names, fine) in [
        (&["chat"][..], true),
        (&["a", "b"], true),
        (&[""], false),
        (&["a b"], false),
        (&["a,b"], false),
        (&["a", "a"], false),
    ] {
        assert_eq!(handshake(names).is_ok(), fine, "{names:?}");
    }
    for (name, fine) in [
        ("Authorization", true),
        ("Cookie", true),
        ("Origin", true),
        ("Connection", false),
        ("upgrade", false),
        ("Sec-WebSocket-Key", false),
        ("sec-websocket-version", false),
        ("Sec-WebSocket-Extensions", false),
        ("Sec-WebSocket-Protocol", false),
        ("Transfer-Encoding", false),
        ("Content-Length", false),
        ("X\r\nY", false),
    ] {
        assert_eq!(handshake(&[]).unwrap().field(name.as_bytes(), b"x").is_ok(), fine, "{name}");
    }
    assert!(handshake(&[]).unwrap().field(b"X", b"a\r\nb").is_err());
}

// --- connections ---------------------------------------------------------------------------------------------------

#[test]
fn what_came_with_the_handshake_is_not_lost() {
    let server = Server::run(format!("{GOOD}\u{1}\u{2}he"), |stream| {
        stream.write_all(&frames(&[(0x80, b"llo"), (CLOSE, b"\x03\xe9bye")])[..]).unwrap();
        assert_eq!(heard(stream), Some((CLOSE, b"\x03\xe9bye".to_vec())));
        assert_eq!(heard(stream), None);
    });
    let mut ws = server.open();
    assert_eq!(ws.recv(&secs(10.0)).unwrap(), Received::Message(Form::Text, b"hello".to_vec()));
    let goodbye = Received::Closed(Goodbye { code: 1001, reason: "bye".into() });
    assert_eq!(ws.recv(&secs(10.0)).unwrap(), goodbye);
    assert_eq!(ws.recv(&secs(0.0)).unwrap(), goodbye, "and again");
    assert!(!ws.is_open());
    assert_eq!(ws.send(Form::Text, b"x", &secs(1.0)).unwrap_err().kind(), Kind::Socket);
    assert!(ws.close(&Goodbye { code: 1000, reason: String::new() }, &secs(1.0)));
    server.thread.join().unwrap();
}

#[test]
fn timeouts_lose_nothing() {
    let (go, wait) = mpsc::channel();
    let server = Server::run(GOOD, move |stream| {
        for byte in frames(&[(0x01, b"ab"), (PING, b"p"), (0x80, b"cd"), (BINARY, &[7; 200])]) {
            wait.recv().unwrap();
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(heard(stream), Some((PONG, b"p".to_vec())));
    });
    let mut ws = server.open();
    let mut got = Vec::new();
    while got.len() < 2 {
        // The server may be through: then it does not listen any more.
        let _ = go.send(());
        match ws.recv(&secs(0.005)) {
            Ok(Received::Message(form, bytes)) => got.push((form, bytes)),
            Ok(other) => panic!("{other:?}"),
            Err(err) => assert_eq!(err.kind(), Kind::Timeout, "{err}"),
        }
    }
    assert_eq!(got, [(Form::Text, b"abcd".to_vec()), (Form::Binary, vec![7; 200])]);
    server.thread.join().unwrap();
}

#[test]
fn errors_are_told_to_the_peer() {
    for (name, bytes, kind, code) in [
        ("masked", vec![TEXT, 0x80], Kind::Protocol, 1002u16),
        ("not UTF-8", frame(TEXT, b"\xff"), Kind::Protocol, 1007),
        ("too large", vec![BINARY, 127, 0, 0, 1, 0, 0, 0, 0, 0], Kind::TooLarge, 1009),
        ("a bad close code", frame(CLOSE, b"\x03\xed"), Kind::Protocol, 1002),
    ] {
        let server = Server::run(GOOD, move |stream| {
            stream.write_all(&bytes).unwrap();
            assert_eq!(heard(stream), Some((CLOSE, code.to_be_bytes().to_vec())), "{name}");
            assert_eq!(heard(stream), None, "{name}");
        });
        let mut ws = server.open();
        let err = ws.recv(&secs(10.0)).unwrap_err();
        assert_eq!(err.kind(), kind, "{name}: {err}");
        // An error is final.
        assert_eq!(ws.recv(&secs(0.0)).unwrap_err().kind(), kind, "{name}");
        assert_eq!(ws.send(Form::Text, b"x", &secs(1.0)).unwrap_err().kind(), kind, "{name}");
        server.thread.join().unwrap();
    }
}

#[test]
fn an_end_without_a_goodbye_is_a_reset() {
    for (bytes, words) in [
        (frame(TEXT, b"a"), "without a close frame"),
        (frames(&[(TEXT, b"a"), (0x01, b"b")]), "in the middle of a message"),
        ([frame(TEXT, b"a"), vec![BINARY]].concat(), "in the middle of a message"),
        ([frame(TEXT, b"a"), vec![BINARY, 126, 1, 0, 1]].concat(), "in the middle of a message"),
        ([frame(TEXT, b"a"), vec![BINARY, 127, 0, 0, 0, 0, 0, 1, 0, 0, 1]].concat(), "in the middle of a message"),
    ] {
        let server = Server::run(GOOD, move |stream| stream.write_all(&bytes).unwrap());
        let mut ws = server.open();
        assert_eq!(ws.recv(&secs(10.0)).unwrap(), Received::Message(Form::Text, b"a".to_vec()));
        let err = ws.recv(&secs(10.0)).unwrap_err();
        assert_eq!(err.kind(), Kind::ConnectionReset, "{err}");
        assert!(err.fields().message.contains(words), "{err}");
        server.thread.join().unwrap();
    }
}

#[test]
fn a_peer_that_never_stops_does_not_outlast_the_deadline() {
    for (name, piece) in [
        ("pings", frame(PING, b"x").repeat(5000)),
        ("pongs", frame(PONG, b"x").repeat(5000)),
        ("empty fragments", frame(0x00, b"").repeat(5000)),
    ] {
        for timeout in [0.3, 0.0] {
            let piece = piece.clone();
            let server = Server::run(GOOD, move |stream| {
                if name == "empty fragments" {
                    stream.write_all(&frame(0x01, b"")).unwrap();
                }
                // It never reads: its pongs pile up on our side.
                while stream.write_all(&piece).is_ok() {}
            });
            let mut ws = server.open();
            let started = Instant::now();
            let err = ws.recv(&secs(timeout)).unwrap_err();
            assert_eq!(err.kind(), Kind::Timeout, "{name}: {err}");
            assert!(started.elapsed() < Duration::from_secs(8), "{name}: {:?}", started.elapsed());
            drop(ws);
            server.thread.join().unwrap();
        }
    }
}

#[test]
fn a_large_message_in_both_directions() {
    const SIZE: usize = 9 << 20;
    let server = Server::run(GOOD, |stream| {
        let (first, payload) = heard(stream).unwrap();
        assert_eq!((first, payload.len()), (BINARY, SIZE));
        // In frames of many sizes, to cross every way of reading.
        let mut rest = payload.as_slice();
        let mut size = 1;
        let mut first = 0x02;
        while rest.len() > size {
            let (piece, more) = rest.split_at(size);
            stream.write_all(&frame(first, piece)).unwrap();
            (rest, first, size) = (more, 0x00, size * 2 + 1);
        }
        stream.write_all(&frame(0x80, rest)).unwrap();
        stream.write_all(&frame(TEXT, &[b'x'; 100_000])).unwrap();
        assert_eq!(heard(stream).unwrap().0, CLOSE);
    });
    let payload: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
    let mut ws = server.open();
    ws.send(Form::Binary, &payload, &secs(20.0)).unwrap();
    match ws.recv(&secs(20.0)).unwrap() {
        Received::Message(Form::Binary, got) => assert!(got == payload, "the bytes differ"),
        other => panic!("{other:?}"),
    }
    assert_eq!(ws.recv(&secs(20.0)).unwrap(), Received::Message(Form::Text, vec![b'x'; 100_000]));
    drop(ws);
    server.thread.join().unwrap();
}

#[test]
fn a_send_that_timed_out_goes_on() {
    let (go, wait) = mpsc::channel();
    let server = Server::run(GOOD, move |stream| {
        wait.recv().unwrap();
        let sizes: Vec<_> =
            std::iter::from_fn(|| heard(stream)).map(|(first, payload)| (first, payload.len())).collect();
        assert_eq!(sizes, [(BINARY, 30 << 20), (TEXT, 1), (CLOSE, 2)]);
    });
    let mut ws = server.open();
    let err = ws.send(Form::Binary, &vec![1; 30 << 20], &secs(0.2)).unwrap_err();
    assert_eq!(err.kind(), Kind::Timeout, "{err}");
    assert!(err.fields().sent.unwrap() > 0);
    let err = ws.send(Form::Text, b"lost", &secs(0.0)).unwrap_err();
    assert_eq!((err.kind(), err.fields().sent), (Kind::Timeout, Some(0)));
    go.send(()).unwrap();
    ws.send(Form::Text, b"y", &secs(20.0)).unwrap();
    drop(ws);
    server.thread.join().unwrap();
}

#[test]
fn goodbyes() {
    let leave = |code| Goodbye { code, reason: "enough".into() };
    // The peer answers, after messages that nobody wants any more.
    let server = Server::run(GOOD, |stream| {
        stream.write_all(&frame(TEXT, b"late")).unwrap();
        let (first, payload) = heard(stream).unwrap();
        assert_eq!((first, payload.as_slice()), (CLOSE, &b"\x0f\xa0enough"[..]));
        stream.write_all(&frames(&[(TEXT, b"later"), (CLOSE, b"\x0f\xa0")])).unwrap();
        assert_eq!(heard(stream), None);
    });
    let mut ws = server.open();
    assert!(ws.close(&leave(4000), &secs(10.0)));
    assert_eq!(ws.goodbye().map(|g| g.code), Some(4000));
    assert_eq!(ws.recv(&secs(0.0)).unwrap_err().kind(), Kind::Closed);
    server.thread.join().unwrap();
    // It does not.
    let (go, wait) = mpsc::channel::<()>();
    let server = Server::run(GOOD, move |_| assert!(wait.recv().is_err()));
    let mut ws = server.open();
    let started = Instant::now();
    assert!(!ws.close(&leave(1000), &secs(0.2)));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!ws.close(&leave(1000), &secs(0.2)), "closing twice is no error");
    drop(go);
    server.thread.join().unwrap();
}

#[test]
fn settling_answers_pings_and_finds_messages() {
    let (go, wait) = mpsc::channel();
    let server = Server::run(GOOD, move |stream| {
        stream.write_all(&frames(&[(PING, b"a"), (PING, b"b"), (0x01, b"x")])).unwrap();
        // Of several pings the last one's answer is enough, but each may have one.
        while heard(stream).unwrap().1 != b"b" {}
        wait.recv().unwrap();
        stream.write_all(&frames(&[(0x80, b"y"), (TEXT, b"z")])).unwrap();
        wait.recv().unwrap();
    });
    let mut ws = server.open();
    let patience = Instant::now() + Duration::from_secs(10);
    assert!(!ws.settle(), "half a message is none");
    go.send(()).unwrap();
    while !ws.settle() {
        assert!(Instant::now() < patience);
    }
    assert!(ws.is_ready());
    assert_eq!(ws.recv(&secs(0.0)).unwrap(), Received::Message(Form::Text, b"xy".to_vec()));
    assert_eq!(ws.recv(&secs(10.0)).unwrap(), Received::Message(Form::Text, b"z".to_vec()));
    assert!(!ws.settle());
    go.send(()).unwrap();
    server.thread.join().unwrap();
}

#[test]
fn the_gate_is_asked() {
    let net = Net::new(Grants::parse(&["--allow-net=127.0.0.1:9"]).unwrap()).unwrap();
    for (url, kind) in [("ws://127.0.0.1:10/", Kind::PortNotAllowed), ("ws://elsewhere.invalid/", Kind::HostNotAllowed)]
    {
        let handshake = Handshake::new(parse_url(url).unwrap(), Vec::new(), [0; 16]).unwrap();
        let err = WebSocket::connect(&net, &handshake, &Options::default(), &secs(5.0)).err().unwrap();
        assert_eq!((err.kind(), err.fields().url.as_deref()), (kind, Some(url)), "{err}");
    }
}
