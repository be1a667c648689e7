//! J: event streams over connections that come and go. Their text, cut in every way, is in `src/http/events.rs`.

use crate::row::{SECRET, answer, close, defaults, ok, read, reset, say, to, told};
use crate::server::{Below, Bound, Server, Turn, filled};
use caspian_net::{
    client::{
        event_source::{EventSource, EventSourceOptions},
        pool::Pool,
        upload::Source,
    },
    deadline::Deadline,
    error::{Error, Kind},
    grants::Grants,
    http::{
        auth::{Credentials, Schemes},
        events::MAX_EVENT,
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
};
use std::time::{Duration, Instant};

/// What the next call must come to.
enum Want {
    /// `name|data|id`.
    Event(&'static str),
    End,
    Fails(Kind),
    /// Nothing comes for so many milliseconds.
    Nothing(u64),
    /// With `timeout = 0`: what is there, or not.
    Now(Option<&'static str>),
    /// Once the server told that it came so far.
    Told,
}
use Want::{End, Event, Fails, Nothing, Now, Told};

struct Row {
    name: &'static str,
    a: Vec<Vec<Turn>>,
    b: Vec<Vec<Turn>>,
    change: fn(&mut EventSourceOptions),
    /// A POST with a body.
    post: bool,
    wants: Vec<Want>,
    /// Site, request, what it has, what it lacks (lower case).
    sees: Vec<(char, usize, &'static str, &'static str)>,
    /// How often each was asked.
    asked: (usize, usize),
}

fn row(name: &'static str) -> Row {
    Row {
        name,
        a: Vec::new(),
        b: Vec::new(),
        change: |_| (),
        post: false,
        wants: Vec::new(),
        sees: Vec::new(),
        asked: (1, 0),
    }
}

/// A head that opens a stream until the connection closes, and what is said first.
fn stream(text: &str) -> Vec<Turn> {
    answer(format!("HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream ; charset=utf-8\r\n\r\n{text}"))
}

fn chunked(text: &str) -> Vec<Turn> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    answer(format!("{head}{:x}\r\n{text}\r\n", text.len()))
}

fn gone() -> Vec<Turn> {
    answer("HTTP/1.1 204 No Content\r\n\r\n")
}

fn rows() -> Vec<Row> {
    let join = |parts: &[Vec<Turn>]| parts.concat();
    let typed = |kind: &str| answer(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 0\r\n\r\n"));
    let quick = "retry: 20\n\n";
    vec![
        Row {
            a: vec![join(&[stream(&format!("{quick}id: 1\ndata: a\n\ndata: b\r\n\r\ndata: lost")), close()]), gone()],
            wants: vec![Event("message|a|1"), Event("message|b|1"), End, End],
            sees: vec![
                ('a', 0, "Accept: text/event-stream\r\n", "last-event-id"),
                ('a', 0, "Cache-Control: no-store\r\n", "gzip"),
                ('a', 1, "Last-Event-ID: 1\r\n", "lost"),
            ],
            asked: (2, 0),
            ..row("J87 comes back with the last id, and 204 is the end")
        },
        Row {
            a: vec![
                join(&[chunked(&format!("{quick}id: 1\ndata: a\n\n")), close()]),
                join(&[chunked("data: b\n\n"), reset()]),
                join(&[read(), reset()]),
                gone(),
            ],
            wants: vec![Event("message|a|1"), Event("message|b|1"), End],
            sees: vec![('a', 3, "Last-Event-ID: 1\r\n", "")],
            asked: (4, 0),
            ..row("J87 lost in the middle of a chunk, by a reset, and without an answer")
        },
        Row {
            a: vec![join(&[stream("data: a\n\n"), close()])],
            change: |w| w.reconnect = false,
            wants: vec![Event("message|a|"), End, End],
            ..row("J87 does not come back where it is not wanted")
        },
        Row {
            a: vec![join(&[stream(quick), close()]), typed("text/html")],
            wants: vec![Fails(Kind::Protocol), End],
            asked: (2, 0),
            ..row("J87 comes back to something else")
        },
        Row { a: vec![typed("text/plain")], wants: vec![Fails(Kind::Protocol)], ..row("J87 the wrong type") },
        Row { a: vec![ok("data: a\n\n")], wants: vec![Fails(Kind::Protocol)], ..row("J87 no type") },
        Row {
            a: vec![answer("HTTP/1.1 500 No\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n")],
            wants: vec![Fails(Kind::Protocol)],
            ..row("J87 a 500 of the right type")
        },
        Row { a: vec![gone()], wants: vec![End], ..row("J87 a 204 at once") },
        Row {
            a: vec![join(&[to(301, "http://b.test:{b}/x"), to(307, "http://b.test:{b}/x")])],
            b: vec![join(&[stream(&format!("{quick}id: 7\ndata: a\n\n")), close()]), gone()],
            wants: vec![Event("message|a|7"), End],
            sees: vec![('a', 1, "GET / ", "last-event-id"), ('b', 1, "Last-Event-ID: 7\r\n", "")],
            asked: (2, 2),
            ..row("J87 redirected: the id goes back to who gave it only")
        },
        Row {
            a: vec![
                join(&[stream(&format!("{quick}id: 7\ndata: a\n\n")), close()]),
                join(&[to(307, "http://b.test:{b}/x"), typed("text/plain")]),
            ],
            b: vec![join(&[stream("data: b\n\n"), close()]), gone()],
            wants: vec![Event("message|a|7"), Event("message|b|"), Fails(Kind::Protocol)],
            sees: vec![('a', 1, "Last-Event-ID: 7\r\n", ""), ('b', 0, "GET /x ", "last-event-id")],
            asked: (3, 1),
            ..row("J87 redirected later: another's id means nothing there")
        },
        Row {
            a: vec![gone()],
            change: |w| w.last_id = "42".into(),
            wants: vec![End],
            sees: vec![('a', 0, "Last-Event-ID: 42\r\n", "")],
            ..row("J87 goes on where an earlier stream ended")
        },
        Row {
            a: vec![join(&[stream("data: a\n"), told(), read()])],
            wants: vec![Told, Nothing(100), Now(None), Nothing(50)],
            ..row("J87 a deadline that passes costs nothing")
        },
        Row {
            a: vec![join(&[
                stream("data: a\n"),
                told(),
                vec![Turn::Drip(b"\ndata: b\n\n".to_vec(), Duration::from_millis(40))],
            ])],
            wants: vec![Told, Nothing(10), Event("message|a|"), Nothing(20), Event("message|b|"), Fails(Kind::Timeout)],
            change: |w| w.options.read_timeout = Some(Duration::from_millis(300)),
            ..row("J87 what came before a deadline is kept")
        },
        Row {
            a: vec![join(&[stream("retry: 60000\ndata: a\n\n"), close()])],
            wants: vec![Event("message|a|"), Nothing(60), Nothing(60)],
            ..row("J87 waits as long as the server says, within the deadline")
        },
        Row {
            a: vec![join(&[stream("retry: 10x\nretry: 20\ndata: a\n\n"), told()]), gone()],
            change: |w| w.options.read_timeout = Some(Duration::from_millis(100)),
            wants: vec![Event("message|a|"), End],
            asked: (2, 0),
            ..row("J87 silence is a connection that is lost")
        },
        Row {
            a: vec![join(&[
                read(),
                say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
                vec![Turn::Endless(b"x".to_vec())],
            ])],
            wants: vec![Fails(Kind::TooLarge), End],
            ..row("J87 a line without end")
        },
        Row {
            a: vec![join(&[
                read(),
                say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
                vec![Turn::Endless(b"data: x\n".to_vec())],
            ])],
            change: |w| w.max_event_bytes = 10_000,
            wants: vec![Fails(Kind::TooLarge), End],
            ..row("J87 an event without end")
        },
        Row {
            a: vec![join(&[stream("id: 1\ndata: a\n\n"), close()])],
            post: true,
            wants: vec![Event("message|a|1"), End],
            sees: vec![('a', 0, "\r\n\r\nhello", "")],
            ..row("J87 a POST is not made again")
        },
        Row {
            a: vec![join(&[stream(quick), close()]), gone()],
            change: |w| w.options.auth = Some(Credentials::user(b"me", SECRET.as_bytes(), Schemes::Any).unwrap()),
            wants: vec![End],
            sees: vec![('a', 0, "Authorization: Basic ", ""), ('a', 1, "Authorization: Basic ", "")],
            asked: (2, 0),
            ..row("J87 with credentials, each time")
        },
    ]
}

pub fn run() {
    let mut failed = Vec::new();
    for row in rows() {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| row.run())).is_err() {
            failed.push(row.name);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

impl Row {
    fn run(&self) {
        let (a, b) = (Bound::new(), Bound::new());
        let ports = [a.port, b.port];
        let a = Server::run(a, Below::Plain, self.a.clone(), ports);
        let b = Server::run(b, Below::Plain, self.b.clone(), ports);
        let net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap();
        let url = HttpUrl::parse(&format!("http://a.test:{}/", ports[0])).unwrap();
        let source = self.post.then(|| Source::bytes(*b"hello"));
        let method = Method::parse(if self.post { b"POST" } else { b"GET" }).unwrap();
        let request = Request::new(method, url, source.as_ref().map(|source| source.payload(None)));
        let mut wishes = EventSourceOptions {
            options: defaults(ports),
            reconnect: true,
            max_event_bytes: MAX_EVENT,
            last_id: String::new(),
        };
        (self.change)(&mut wishes);
        let long = Duration::from_secs(5);
        let mut feed = EventSource::open(&net, &Pool::new(), request, source, wishes, &Deadline::after(long).start());
        for (at, want) in self.wants.iter().enumerate() {
            let next = |feed: &mut Result<EventSource, Error>, limit| match feed {
                Ok(feed) => feed
                    .next(&Deadline::after(limit).start())
                    .map(|event| event.map(|event| format!("{}|{}|{}", event.name, event.data, event.id))),
                Err(err) => Err(err.clone()),
            };
            let (name, started) = (self.name, Instant::now());
            let text = |text: &&str| Some(text.to_string());
            match want {
                Event(expected) => assert_eq!(next(&mut feed, long).unwrap(), text(expected), "{name}, {at}"),
                End => assert_eq!(next(&mut feed, long).unwrap(), None, "{name}, {at}"),
                Fails(kind) => {
                    let err = next(&mut feed, Duration::from_secs(1)).unwrap_err();
                    assert_eq!(err.kind(), *kind, "{name}, {at}: {err}");
                    assert!(!err.to_string().contains(SECRET));
                }
                Nothing(ms) => {
                    let limit = Duration::from_millis(*ms);
                    let err = next(&mut feed, limit).unwrap_err();
                    assert_eq!(err.kind(), Kind::Timeout, "{name}, {at}: {err}");
                    assert!(started.elapsed() >= limit, "{name}, {at}");
                }
                Now(expected) => {
                    let got = next(&mut feed, Duration::ZERO);
                    assert_eq!(got.ok().flatten(), expected.as_ref().and_then(text), "{name}, {at}");
                }
                Told => a.told.recv_timeout(long).unwrap(),
            }
        }
        drop(feed);
        let (at_a, at_b) = (a.seen.lock().unwrap().clone(), b.seen.lock().unwrap().clone());
        assert_eq!((at_a.len(), at_b.len()), self.asked, "{}: requests to a and b", self.name);
        for (site, at, has, lacks) in &self.sees {
            let request = &if *site == 'a' { &at_a } else { &at_b }[*at].1;
            let has = String::from_utf8(filled(has.as_bytes(), ports)).unwrap();
            assert!(request.contains(&has), "{}: {site} did not see {has:?} in {request}", self.name);
            assert!(lacks.is_empty() || !request.to_ascii_lowercase().contains(lacks), "{}: {request}", self.name);
        }
    }
}
