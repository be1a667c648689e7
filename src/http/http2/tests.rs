//! What servers send, as rows of frames (`tests/data/http2_answers.tsv`): frame by frame, whole, byte by byte, and cut at every place.

use super::{
    answer::{Answer, Found},
    session::{Fault, MAX_STREAMS, Session, WINDOW},
};
use crate::{error::Kind, http::body::Asked};

#[path = "../../../tests/frames/mod.rs"]
mod frames;

/// A session with one request, and what is known of its answer.
struct Talk {
    session: Session,
    answer: Option<Answer>,
    status: Option<u16>,
    body: Vec<u8>,
    end: Option<Result<(), Fault>>,
    sent: usize,
}

impl Talk {
    fn new(method: &str) -> Talk {
        let mut session = Session::new().unwrap();
        let head = format!("{method} /a HTTP/2\r\nHost: a.example\r\n\r\n");
        let asked = if method == "HEAD" { Asked::Head } else { Asked::Other };
        let length = if method == "POST" { None } else { Some(0) };
        let answer = session.begin("http", head.as_bytes(), length, asked).unwrap();
        assert_eq!(answer.id(), 1);
        Talk { session, answer: Some(answer), status: None, body: Vec::new(), end: None, sent: 0 }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.session.is_over() {
            self.drain();
            // As it is read from a socket, or copied where that does not go.
            let count = match self.session.feed_all(&mut bytes.to_vec(), 0..bytes.len()) {
                true => bytes.len(),
                false => self.session.feed(bytes),
            };
            assert!(count > 0 || self.session.is_over());
            bytes = &bytes[count..];
        }
        self.drain();
    }

    fn drain(&mut self) {
        while self.session.pending() > 0 {
            self.sent += self.session.send(|bytes| Ok(bytes.len())).unwrap();
        }
    }

    /// Reads as far as it goes.
    fn read(&mut self) {
        let mut answer = self.answer.take().unwrap();
        while self.end.is_none() {
            match self.step(&mut answer) {
                Ok(true) => (),
                Ok(false) => break,
                Err(fault) => self.end = Some(Err(fault)),
            }
        }
        self.answer = Some(answer);
    }

    fn step(&mut self, answer: &mut Answer) -> Result<bool, Fault> {
        if self.status.is_none() {
            return Ok(match answer.head(&mut self.session)? {
                Some(Found::Interim(head)) => (100..200).contains(&head.status),
                Some(Found::Final(head)) => {
                    self.status = Some(head.status);
                    true
                }
                None => false,
            });
        }
        let mut room = [0; 7];
        match answer.read(&mut self.session, &mut room)? {
            Some(0) => self.end = Some(Ok(())),
            Some(count) => self.body.extend_from_slice(&room[..count]),
            None => return Ok(false),
        }
        assert!(!answer.ended() || self.end.is_some() || answer.left().is_none_or(|left| left == 0));
        Ok(true)
    }

    /// In the words of the rows.
    fn told(&mut self) -> String {
        let body = self.status.map_or_else(String::new, |_| format!(" \"{}\"", self.body.escape_ascii()));
        let class = match &self.end {
            None => "waits",
            Some(Ok(())) => {
                let trailers = self.answer.as_mut().unwrap().take_trailers();
                let pair = |(name, value): (&[u8], &[u8])| format!(" {}={}", name.escape_ascii(), value.escape_ascii());
                let trailers: String = trailers.iter().map(pair).collect();
                return format!("{}{body}{trailers}", self.status.unwrap());
            }
            Some(Err(fault)) if fault.downgrade => "http1",
            Some(Err(fault)) if fault.unprocessed => "refused",
            Some(Err(fault)) => match fault.error.kind() {
                Kind::Protocol => "protocol",
                Kind::ConnectionReset => "reset",
                other => panic!("{other:?}: {}", fault.error),
            },
        };
        format!("{class}{body}")
    }
}

fn run(method: &str, pieces: &[Option<&[u8]>], eager: bool) -> String {
    let mut talk = Talk::new(method);
    for piece in pieces {
        match piece {
            Some(bytes) => talk.feed(bytes),
            None => talk.session.end(),
        }
        if eager {
            talk.read();
        }
    }
    talk.read();
    talk.told()
}

#[test]
fn answers() {
    let rows = include_str!("../../../tests/data/http2_answers.tsv");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for line in rows.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.split('\t').collect();
        let [expected, method, name, text] = parts[..] else { panic!("{line}") };
        count += 1;
        let frames = frames::list(text);
        let (method, ends) = method.strip_suffix(" end").map_or((method, false), |method| (method, true));
        let single: Vec<Option<&[u8]>> =
            frames.iter().map(|frame| Some(&frame[..])).chain(ends.then_some(None)).collect();
        let all = frames.concat();
        let whole = |cuts: &[usize], eager| {
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(Some(&all[from..*cut]));
                from = *cut;
            }
            pieces.push(Some(&all[from..]));
            pieces.extend(ends.then_some(None));
            run(method, &pieces, eager)
        };
        let first = run(method, &single, true);
        if first != expected {
            wrong.push(format!("{name}: expected {expected}, got {first}"));
            continue;
        }
        // Who reads late may see the failure only, and less of what came before it.
        let alike = |got: &str| {
            got == expected || {
                let (class, before) = expected.split_once(' ').unwrap_or((expected, "\"\""));
                let (got, had) = got.split_once(' ').unwrap_or((got, "\"\""));
                class == "protocol" && got == class && before.starts_with(had.trim_end_matches('"'))
            }
        };
        let bytes: Vec<usize> = (1..all.len()).collect();
        let mut tries =
            vec![("whole, read late".to_owned(), whole(&[], false)), ("whole".to_owned(), whole(&[], true))];
        if all.len() < 20_000 {
            tries.push(("byte by byte".to_owned(), whole(&bytes, true)));
        }
        let most = if all.len() < 3000 { 1500 } else { 5 };
        for cut in bytes.iter().copied().filter(|cut| *cut < most || all.len() - *cut < most) {
            tries.push((format!("cut at {cut}"), whole(&[cut], true)));
        }
        for (how, got) in tries {
            if !alike(&got) {
                wrong.push(format!("{name}, {how}: expected {expected}, got {got}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 150);
}

/// A peer that sends more than its windows allow is wrong; what it may send is what is held.
#[test]
fn what_is_held_of_a_body_is_bounded() {
    let mut talk = Talk::new("GET");
    talk.feed(&frames::list("S:0:0: S:1:0: H:4:1::status=200").concat());
    let data = frames::list("D:0:1:{16384*t}").concat();
    let fit = WINDOW as usize / 16384;
    for _ in 0..fit {
        talk.feed(&data);
    }
    assert!(talk.session.is_open());
    // Nothing was read, so nothing was given back.
    let before = talk.sent;
    talk.session.turn();
    talk.drain();
    assert_eq!(talk.sent, before);
    talk.feed(&data);
    talk.read();
    assert!(talk.told().starts_with("protocol ") && talk.body.len() <= fit * 16384, "{}", talk.body.len());
}

/// A body that nobody reads takes its own window, and not the others'.
#[test]
fn bodies_that_are_not_read_leave_the_others_room() {
    let mut talk = Talk::new("GET");
    talk.feed(&frames::list("S:0:0: S:1:0:").concat());
    let mut others = Vec::new();
    for _ in 1..MAX_STREAMS {
        let head = b"GET / HTTP/2\r\nHost: a.example\r\n\r\n";
        others.push(talk.session.begin("http", head, Some(0), Asked::Other).unwrap());
    }
    assert!(!talk.session.has_room() && talk.session.streams() == MAX_STREAMS);
    talk.drain();
    let data = frames::list("D:0:1:{16384*t}").concat();
    for answer in &others {
        let stream = answer.id();
        talk.feed(&frames::list(&format!("H:4:{stream}::status=200")).concat());
        let mut data = data.clone();
        data[5..9].copy_from_slice(&stream.to_be_bytes());
        for _ in 0..WINDOW / 16384 {
            talk.feed(&data);
        }
        assert!(talk.session.is_open(), "{stream}: {:?}", talk.session.over());
    }
    talk.feed(&frames::list("H:4:1::status=200").concat());
    (0..64).for_each(|_| talk.feed(&data));
    talk.feed(&frames::list("D:1:1:").concat());
    talk.read();
    assert!(matches!(talk.end, Some(Ok(()))) && talk.body.len() == 1 << 20);
    others.into_iter().for_each(|answer| talk.session.release(answer));
    assert!(talk.session.is_open() && talk.session.streams() == 1);
}

/// A body of 8 MiB, read as it comes: the windows follow.
#[test]
fn windows_open_as_a_body_is_read() {
    let mut talk = Talk::new("GET");
    talk.feed(&frames::list("S:0:0: S:1:0: H:4:1::status=200").concat());
    let data = frames::list("D:0:1:{16384*t}").concat();
    for _ in 0..512 {
        talk.feed(&data);
        talk.read();
    }
    talk.feed(&frames::list("D:1:1:").concat());
    talk.read();
    assert!(matches!(talk.end, Some(Ok(()))) && talk.body.len() == 8 << 20, "{}", talk.body.len());
}

/// A peer that pings and does not read: what waits to be sent is bounded, and so is what is read of it.
#[test]
fn a_peer_that_does_not_read_is_not_read() {
    let mut talk = Talk::new("GET");
    talk.feed(&frames::list("S:0:0:").concat());
    let pings = frames::list("5000x[I:0:0:#{8*00}]").concat();
    let (mut taken, mut at) = (0, &pings[..]);
    loop {
        let count = talk.session.feed(at);
        (taken, at) = (taken + count, &at[count..]);
        if count == 0 {
            break;
        }
    }
    assert!(taken < pings.len() || talk.session.pending() <= 64 * 1024, "{taken} {}", talk.session.pending());
    assert!(talk.session.pending() <= 64 * 1024);
    // It goes on where it stopped.
    talk.feed(at);
    talk.feed(&frames::list("H:5:1::status=200").concat());
    talk.read();
    assert_eq!(talk.told(), "200 \"\"");
}

/// Requests: heads as frames, fields that are about a connection left out, and the end where it belongs.
#[test]
fn requests() {
    let head = "GET /a?b HTTP/2\r\nHost: a.example:81\r\nUser-Agent: x\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\nKeep-Alive: 1\r\n\
        Proxy-Connection: x\r\nUpgrade: x\r\nTE: gzip\r\nHTTP2-Settings: x\r\nX-Kept: caf\u{e9}\r\nCookie: a=b\r\n\r\n";
    let request = super::client_head::request("https", head.as_bytes()).unwrap();
    assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("GET", "https://a.example:81/a?b"));
    let names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["user-agent", "x-kept", "cookie"]);
    assert!(request.headers()["cookie"].is_sensitive() && !request.headers()["x-kept"].is_sensitive());
    let trailers =
        super::client_head::request("http", b"PROPFIND / HTTP/2\r\nHost: [::1]\r\nTE: trailers\r\n\r\n").unwrap();
    assert_eq!((trailers.method().as_str(), trailers.headers()["te"].as_bytes()), ("PROPFIND", &b"trailers"[..]));
    // What URLs leave as it is goes over HTTP/2 as well.
    for byte in 0x21..0x7fu8 {
        let url = format!("http://a.example/x{0}y?p{0}q", char::from(byte));
        let url = crate::http::url::HttpUrl::parse(&url).unwrap();
        let text = format!("GET {} HTTP/2\r\nHost: {}\r\n\r\n", url.target(), url.authority());
        let request = super::client_head::request("http", text.as_bytes());
        assert_eq!(request.unwrap().uri().path_and_query().unwrap().as_str(), url.target(), "{}", char::from(byte));
    }
}

/// A body in frames of a few bytes that nobody reads for a while: gathered, so that `h2` does not take it for an attack.
#[test]
fn a_body_in_crumbs_is_read_whole() {
    for (size, count) in [(1, 40_000), (16, (WINDOW / 16) as usize), (99, (WINDOW / 99) as usize)] {
        let mut talk = Talk::new("GET");
        // SETTINGS, an acknowledgement of ours, HEADERS with the status 200.
        talk.feed(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88");
        let mut answer = talk.answer.take().unwrap();
        assert!(matches!(answer.head(&mut talk.session), Ok(Some(Found::Final(_)))));
        let frame = [&[0, 0, size as u8, 0, 0, 0, 0, 0, 1][..], &vec![b'x'; size]].concat();
        let all = frame.repeat(count);
        for part in all.chunks(50_000) {
            talk.feed(part);
        }
        talk.feed(b"\0\0\0\0\x01\0\0\0\x01");
        let (mut got, mut room) = (0, [0; 8192]);
        while let Some(count) = answer.read(&mut talk.session, &mut room).unwrap().filter(|count| *count > 0) {
            assert!(room[..count].iter().all(|byte| *byte == b'x'));
            got += count;
        }
        assert_eq!((got, answer.ended()), (size * count, true), "{size}");
    }
}
