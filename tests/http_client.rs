//! The client against scripted servers on loopback: connections, hops, bodies and time. The framing of answers has its
//! own table (`http_framing.rs`).

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]
#![allow(clippy::type_complexity, reason = "a table's type is read in its rows")]

mod http_support;

use caspian_net::{
    client::{
        Fetch, Options, Step,
        pool::Pool,
        upload::{Part, Source},
    },
    error::{Error, Kind, Result},
    grants::Grants,
    http::{
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
};
use http_support::request;
use std::{
    fs::File,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What a server does on one connection, in order. After the last turn it waits for the client to close.
#[derive(Clone, Debug)]
enum Turn {
    /// Reads a request to its end, then says this.
    Answer(Vec<u8>),
    /// Reads a request's head only, then says this.
    Early(Vec<u8>),
    /// Says this unasked.
    Say(Vec<u8>),
    /// Ends the connection.
    Close,
    /// Ends it with a reset.
    Reset,
}

struct Server {
    port: u16,
    /// Connection and request, as they came.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    /// Tells of each script that is through.
    through: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One script per connection, in the order in which they are made.
    fn run(scripts: Vec<Vec<Turn>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let (done, through) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut workers = Vec::new();
            for (number, script) in scripts.into_iter().enumerate() {
                let Ok((stream, _)) = listener.accept() else { return };
                let (log, done) = (Arc::clone(&log), done.clone());
                workers.push(thread::spawn(move || {
                    let rest = serve(stream, number, script, &log, port);
                    let _ = done.send(());
                    if let Some(mut stream) = rest {
                        let _ = stream.read_to_end(&mut Vec::new());
                    }
                }));
            }
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
        Server { port, seen, through, thread: Some(thread) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The connections that were used, one entry per request.
    fn connections(&self) -> Vec<usize> {
        self.seen.lock().unwrap().iter().map(|(number, _)| *number).collect()
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Scripts that nobody asked for would wait for ever.
        for _ in 0..8 {
            let _ = TcpStream::connect(("127.0.0.1", self.port));
        }
        let joined = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            joined.unwrap().unwrap();
        }
    }
}

/// Plays a script; the connection, if that leaves it open.
fn serve(
    mut stream: TcpStream,
    number: usize,
    script: Vec<Turn>,
    log: &Mutex<Vec<(usize, String)>>,
    port: u16,
) -> Option<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for turn in script {
        match turn {
            Turn::Answer(bytes) | Turn::Early(bytes) if bytes.is_empty() => {
                if let Some(request) = request(&mut stream, true) {
                    log.lock().unwrap().push((number, request));
                }
            }
            Turn::Answer(bytes) => {
                let request = request(&mut stream, true)?;
                log.lock().unwrap().push((number, request));
                let bytes = String::from_utf8_lossy(&bytes).replace("{port}", &port.to_string());
                let _ = stream.write_all(bytes.as_bytes());
            }
            Turn::Early(bytes) => {
                let request = request(&mut stream, false)?;
                log.lock().unwrap().push((number, request));
                let _ = stream.write_all(&bytes);
            }
            Turn::Say(bytes) => drop(stream.write_all(&bytes)),
            Turn::Close => {
                let _ = stream.shutdown(Shutdown::Both);
                return None;
            }
            Turn::Reset => {
                let socket = socket2::Socket::from(stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return None;
            }
        }
    }
    Some(stream)
}

fn answer(text: &str) -> Turn {
    Turn::Answer(text.as_bytes().to_vec())
}

/// A 200 with that body.
fn ok(body: &str) -> Turn {
    answer(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn redirect(status: u16, location: &str) -> Turn {
    answer(&format!("HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\ngone"))
}

fn everything() -> Net {
    Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap()
}

fn soon() -> Options {
    Options { timeout: Some(Duration::from_secs(10)), ..Options::default() }
}

struct Got {
    status: u16,
    body: Vec<u8>,
    url: String,
    chain: usize,
    reused: bool,
}

fn send(
    net: &Net,
    pool: &Pool,
    method: &str,
    url: &str,
    fields: &[(&str, &str)],
    source: Option<Source>,
    options: Options,
) -> Result<Got> {
    let payload = source.as_ref().map(|source| source.payload(None));
    let mut request = Request::new(Method::parse(method.as_bytes()).unwrap(), HttpUrl::parse(url).unwrap(), payload);
    fields.iter().for_each(|(name, value)| request.field(name.as_bytes(), value.as_bytes()).unwrap());
    let mut fetch = Fetch::new(net, pool, request, source, options);
    assert_eq!(fetch.step()?, Step::Head);
    let body = fetch.body()?;
    Ok(Got {
        status: fetch.head().unwrap().status,
        body,
        url: fetch.request().url.to_text(),
        chain: fetch.chain().len(),
        reused: fetch.timings().reused,
    })
}

fn get(net: &Net, pool: &Pool, url: &str) -> Result<Got> {
    send(net, pool, "GET", url, &[], None, soon())
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|err: Error| err.kind())
}

#[test]
fn connections_are_kept() {
    // Scripts, and for each of the GETs: its body and whether its connection was reused.
    let rows: Vec<(&str, Vec<Vec<Turn>>, &[(&str, bool)])> = vec![
        ("kept", vec![vec![ok("a"), ok("b"), ok("c")]], &[("a", false), ("b", true), ("c", true)]),
        (
            "closed without a word, first",
            vec![vec![ok("a"), Turn::Close], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
        (
            "Connection: close",
            vec![vec![answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na")], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
        (
            "HTTP/1.0",
            vec![vec![answer("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na")], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
        (
            "until close",
            vec![vec![answer("HTTP/1.1 200 OK\r\n\r\nabc"), Turn::Close], vec![ok("b")]],
            &[("abc", false), ("b", false)],
        ),
        (
            "more than announced",
            vec![vec![answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab")], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
        (
            "an answer while idle, first",
            vec![vec![ok("a"), Turn::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".to_vec())], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
        (
            "408 while idle, first",
            vec![vec![ok("a"), Turn::Say(b"HTTP/1.1 408 Slow\r\n\r\n".to_vec()), Turn::Close], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
        (
            "Keep-Alive: timeout=0",
            vec![vec![answer("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 1\r\n\r\na")], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
        (
            "chunked",
            vec![vec![
                answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n"),
                ok("b"),
            ]],
            &[("a", false), ("b", true)],
        ),
        (
            "the server gives up on a reused connection: one more try",
            vec![vec![ok("a"), answer(""), Turn::Close], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
        (
            "the same with a reset",
            vec![vec![ok("a"), answer(""), Turn::Reset], vec![ok("b")]],
            &[("a", false), ("b", false)],
        ),
    ];
    for (name, scripts, gets) in rows {
        let (net, pool, server) = (everything(), Pool::new(), Server::run(scripts));
        for (body, reused) in gets {
            let got = get(&net, &pool, &server.url("/")).unwrap_or_else(|err| panic!("{name}: {err}"));
            assert_eq!((String::from_utf8_lossy(&got.body).as_ref(), got.reused), (*body, *reused), "{name}");
            if *body == "a" && name.ends_with("first") {
                // What the server says or does next must be here before the connection is looked at.
                server.through.recv_timeout(Duration::from_secs(10)).unwrap();
            }
        }
        pool.close();
    }
}

#[test]
fn what_is_not_tried_again() {
    let broken = |turns: Vec<Turn>| vec![[vec![ok("a")], turns].concat(), vec![ok("never")]];
    for (name, method, scripts, expected) in [
        ("POST", "POST", broken(vec![answer(""), Turn::Close]), Kind::ConnectionReset),
        ("part of an answer", "GET", broken(vec![answer("HTTP/1.1 2"), Turn::Close]), Kind::ConnectionReset),
        ("a new connection", "GET", vec![vec![answer(""), Turn::Close], vec![ok("never")]], Kind::ConnectionReset),
        (
            "a second time",
            "GET",
            vec![vec![ok("a"), answer(""), Turn::Close], vec![answer(""), Turn::Close], vec![ok("never")]],
            Kind::ConnectionReset,
        ),
    ] {
        let (net, pool, server) = (everything(), Pool::new(), Server::run(scripts));
        if name != "a new connection" {
            get(&net, &pool, &server.url("/")).unwrap();
        }
        let source = (method == "POST").then(|| Source::bytes(*b"body"));
        let got = send(&net, &pool, method, &server.url("/"), &[], source, soon());
        let err = got.map(|_| ()).unwrap_err();
        assert_eq!(err.kind(), expected, "{name}: {err}");
        assert_eq!(err.fields().op.as_deref(), Some("fetch"), "{name}");
        if method == "POST" {
            assert_eq!(err.fields().sent, Some(4), "{name}");
        }
        pool.close();
    }
}

#[test]
fn redirects_are_followed_with_the_grants_asked_again() {
    let server = Server::run(vec![vec![redirect(302, "/b"), redirect(307, "/c?d#e"), ok("end")]]);
    let got = get(&everything(), &Pool::new(), &server.url("/a")).unwrap();
    assert_eq!((got.status, got.body.as_slice(), got.chain), (200, &b"end"[..], 2));
    assert_eq!(got.url, server.url("/c?d#e"));
    assert_eq!(server.connections(), [0, 0, 0], "a redirect's small body is read, and the connection kept");

    // Another port: not granted, and not dialled.
    let server = Server::run(vec![vec![redirect(302, "http://127.0.0.1:1/")]]);
    let net = Net::new(Grants::parse(&[format!("--allow-net=127.0.0.1:{}", server.port)]).unwrap()).unwrap();
    let err = get(&net, &Pool::new(), &server.url("/")).map(|_| ()).unwrap_err();
    assert_eq!(err.kind(), Kind::PortNotAllowed);
    assert_eq!(err.fields().url.as_deref(), Some("http://127.0.0.1:1/"));

    let server = Server::run(vec![(0..12).map(|_| redirect(302, "/")).collect()]);
    assert_eq!(kind(get(&everything(), &Pool::new(), &server.url("/"))), Some(Kind::Protocol));
    assert_eq!(server.requests().len(), 11, "ten redirects are followed");

    let server = Server::run(vec![vec![redirect(302, "/b")]]);
    let options = Options { follow_redirects: false, ..soon() };
    let got = send(&everything(), &Pool::new(), "GET", &server.url("/"), &[], None, options).unwrap();
    assert_eq!((got.status, got.body.as_slice()), (302, &b"gone"[..]));
}

#[test]
fn secrets_stay_with_their_origin() {
    let away = Server::run(vec![vec![ok("away")]]);
    let home = Server::run(vec![vec![redirect(307, &away.url("/x"))]]);
    let fields = [("Authorization", "Bearer s3cret"), ("X-Api-Key", "s3cret"), ("Accept", "text/x"), ("Host", "me")];
    let source = Some(Source::bytes(*b"body"));
    let got = send(&everything(), &Pool::new(), "POST", &home.url("/"), &fields, source, soon()).unwrap();
    assert_eq!(got.body, b"away");
    let (first, second) = (home.requests().remove(0), away.requests().remove(0));
    assert!(first.contains("s3cret") && first.contains("Host: me\r\n") && first.ends_with("\r\n\r\nbody"));
    assert!(!second.contains("s3cret") && !second.contains("Host: me\r\n"), "{second}");
    assert!(
        second.starts_with("POST /x ") && second.contains("Accept: text/x\r\n") && second.ends_with("\r\n\r\nbody")
    );
}

#[test]
fn bodies_go_out_in_pieces() {
    let server = Server::run(vec![vec![ok("a"), ok("b")]]);
    let (net, pool) = (everything(), Pool::new());
    for (source, expected) in [
        (Source::Caller(None), "\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (Source::Caller(Some(5)), "\r\nContent-Length: 5\r\n\r\nabcde"),
    ] {
        let url = HttpUrl::parse(&server.url("/")).unwrap();
        let request = Request::new(Method::parse(b"PUT").unwrap(), url, Some(source.payload(None)));
        let mut fetch = Fetch::new(&net, &pool, request, Some(source), soon());
        for piece in [&b"abc"[..], b"de", b""] {
            assert_eq!(fetch.step().unwrap(), Step::Piece);
            fetch.supply(piece).unwrap();
        }
        assert_eq!(fetch.step().unwrap(), Step::Head);
        fetch.body().unwrap();
        let request = server.requests().pop().unwrap();
        assert!(request.ends_with(expected), "{request}");
    }
    assert_eq!(server.connections(), [0, 0]);
    pool.close();
}

#[test]
fn an_early_answer_ends_the_upload() {
    // The server answers after the head and reads no more; the body is more than any socket buffers.
    for turns in [vec![], vec![Turn::Close]] {
        let early = Turn::Early(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno".to_vec());
        let server = Server::run(vec![[vec![early], turns.clone()].concat(), vec![ok("b")]]);
        let (net, pool) = (everything(), Pool::new());
        let source = Some(Source::bytes(vec![7u8; 64 << 20]));
        let got = send(&net, &pool, "POST", &server.url("/"), &[], source, soon());
        let got = got.unwrap_or_else(|err| panic!("{turns:?}: {err}"));
        assert_eq!((got.status, got.body.as_slice()), (413, &b"no"[..]));
        assert!(pool.is_empty(), "half a request is on it");
    }
}

#[test]
fn caps_and_truncation() {
    let long = "x".repeat(100);
    for (name, turns, most, expected) in [
        ("fits", vec![ok(&long)], 100, None),
        ("announced", vec![ok(&long)], 99, Some(Kind::TooLarge)),
        (
            "chunked",
            vec![answer(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{long}\r\n0\r\n\r\n"))],
            99,
            Some(Kind::TooLarge),
        ),
        ("until close", vec![answer(&format!("HTTP/1.1 200 OK\r\n\r\n{long}")), Turn::Close], 99, Some(Kind::TooLarge)),
        ("until close fits", vec![answer(&format!("HTTP/1.1 200 OK\r\n\r\n{long}")), Turn::Close], 100, None),
        (
            "huge claim",
            vec![answer("HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\nhi"), Turn::Close],
            u64::MAX,
            Some(Kind::ConnectionReset),
        ),
        (
            "short",
            vec![answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi"), Turn::Close],
            100,
            Some(Kind::ConnectionReset),
        ),
        ("no answer", vec![answer(""), Turn::Close], 100, Some(Kind::ConnectionReset)),
    ] {
        let server = Server::run(vec![turns]);
        let options = Options { max_body_bytes: most, ..soon() };
        let got = send(&everything(), &Pool::new(), "GET", &server.url("/"), &[], None, options);
        assert_eq!(kind(got), expected, "{name}");
    }
}

#[test]
fn one_deadline_spans_everything() {
    let short = Duration::from_millis(150);
    let timeout = Options { timeout: Some(short), ..Options::default() };
    let silence = Options { read_timeout: Some(short), ..soon() };
    let half = answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi");
    for (name, turns, options) in [
        ("no head", vec![answer("")], timeout.clone()),
        ("half a body", vec![half.clone()], timeout.clone()),
        ("a hop", vec![redirect(302, "/"), answer("")], timeout),
        ("silence", vec![half], silence),
    ] {
        let server = Server::run(vec![turns]);
        let started = Instant::now();
        let got = send(&everything(), &Pool::new(), "GET", &server.url("/"), &[], None, options);
        assert_eq!(kind(got), Some(Kind::Timeout), "{name}");
        assert!(started.elapsed() < Duration::from_secs(2), "{name}");
    }
}

#[test]
fn an_open_ended_body_outlives_the_timeout() {
    let short = Duration::from_millis(300);
    for bound in [false, true] {
        let server = Server::run(vec![vec![answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")]]);
        let request = Request::new(Method::GET, HttpUrl::parse(&server.url("/")).unwrap(), None);
        let options = Options { timeout: Some(short), open_ended: true, ..Options::default() };
        let mut fetch = Fetch::new(&everything(), &Pool::new(), request, None, options);
        assert_eq!(fetch.step().unwrap(), Step::Head);
        let mut byte = [0];
        assert_eq!(fetch.read(&mut byte).unwrap(), 1);
        thread::sleep(short);
        if bound {
            fetch.bound();
        }
        assert_eq!(fetch.read(&mut byte).map_err(|err| err.kind()), if bound { Err(Kind::Timeout) } else { Ok(1) });
    }
}

#[test]
fn a_server_that_takes_everything_does_not_stop_the_clock() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let server = thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut waste = vec![0; 1 << 20];
            while stream.read(&mut waste).is_ok_and(|count| count > 0) {}
        }
    });
    let net = everything();
    // As long as the stream, and of no size on the disk.
    let path = std::env::temp_dir().join(format!("caspian-net-{}-sparse", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let file = Part::rest_of(file).unwrap();
    for source in [Source::Caller(None), Source::Caller(Some(1 << 40)), Source::Parts(vec![file])] {
        let url = HttpUrl::parse(&url).unwrap();
        let request = Request::new(Method::parse(b"PUT").unwrap(), url, Some(source.payload(None)));
        let options = Options { timeout: Some(Duration::from_millis(150)), paced: true, ..Options::default() };
        let mut fetch = Fetch::new(&net, &Pool::new(), request, Some(source), options);
        let started = Instant::now();
        let ended = loop {
            let done = match fetch.step() {
                Ok(Step::Piece) => fetch.supply(b"piece"),
                done => done.map(|step| assert_eq!(step, Step::Sent)),
            };
            if let Err(err) = done {
                break err.kind();
            }
            assert!(started.elapsed() < Duration::from_secs(2));
            // So that there is always room for the next piece.
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(ended, Kind::Timeout);
    }
    server.join().unwrap();
}

#[test]
fn what_is_refused_costs_no_packet() {
    let server = Server::run(vec![vec![ok("never")]]);
    let net = Net::new(Grants::parse(&["--allow-net=10.0.0.1:80"]).unwrap()).unwrap();
    assert_eq!(kind(get(&net, &Pool::new(), &server.url("/"))), Some(Kind::HostNotAllowed));
    assert!(server.requests().is_empty());
    net.revoke();
    assert_eq!(kind(get(&net, &Pool::new(), "http://10.0.0.1/")), Some(Kind::Revoked));
}

#[test]
fn a_chosen_address_keeps_the_name() {
    let server = Server::run(vec![vec![ok("a")]]);
    let at = caspian_net::address::Endpoint::parse(&format!("a.example:{}", server.port)).unwrap();
    let options = Options { resolve: vec![(at, "127.0.0.1".parse().unwrap())], ..soon() };
    let net = Net::new(Grants::parse(&["--allow-net=a.example"]).unwrap()).unwrap();
    let url = format!("http://a.example:{}/", server.port);
    assert_eq!(send(&net, &Pool::new(), "GET", &url, &[], None, options).unwrap().body, b"a");
    assert!(server.requests()[0].contains(&format!("Host: a.example:{}\r\n", server.port)));
}

#[test]
fn a_response_ends_where_it_is_cut() {
    let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    for at in 0..whole.len() {
        let server = Server::run(vec![vec![answer(""), Turn::Say(whole[..at].into()), Turn::Close]]);
        let got = kind(get(&everything(), &Pool::new(), &server.url("/")));
        assert!(matches!(got, Some(Kind::ConnectionReset)), "cut at {at}: {got:?}");
    }
}
