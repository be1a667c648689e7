//! A row of the table: servers, requests, and what must come of it on both sides of the wire.

use crate::server::{Below, Bound, NAMES, Server, Turn, filled, tls};
use caspian_net::{
    address::Endpoint,
    client::{Fetch, Options, Step, pool::Pool, upload::Source},
    error::{Error, Kind},
    grants::Grants,
    http::{
        request::{Method, Request},
        url::HttpUrl,
    },
    net::Net,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// No row may take longer, whatever its servers do.
const LONGEST: Duration = Duration::from_secs(10);
/// What every row's secrets contain; no error may.
pub const SECRET: &str = "s3cret";

/// What a request must come to.
#[derive(Clone, Debug, PartialEq)]
enum Want {
    Got(u16, Vec<u8>),
    Fails(Kind),
    /// A wrong argument: nothing was sent.
    Wrong,
    /// Its head is read, so much of its body, and then it is dropped.
    Dropped(usize),
}

type Change = Box<dyn Fn(&mut Options) + Send + Sync>;

struct Ask {
    method: Vec<u8>,
    url: String,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<(Vec<u8>, bool)>,
    change: Change,
    /// Only after so many [`Turn::Told`] of `a`.
    after: usize,
    /// Read in such pieces, whatever the caps of a gathered body.
    pieces: Option<usize>,
    want: Want,
    reason: Option<String>,
    ends_at: Option<(String, usize)>,
}

struct Look {
    site: char,
    at: usize,
    has: &'static str,
    lacks: Vec<&'static str>,
}

#[derive(Default)]
struct Site {
    below: Below,
    scripts: Vec<Vec<Turn>>,
    /// Which connections the requests came over.
    used: Option<Vec<usize>>,
    connections: Option<usize>,
}

pub struct Row {
    pub name: &'static str,
    grants: Vec<String>,
    a: Site,
    b: Site,
    asks: Vec<Ask>,
    looks: Vec<Look>,
}

/// A row without servers or requests. Its name begins with its number.
pub fn row(name: &'static str) -> Row {
    Row {
        name,
        grants: vec!["--allow-net".into()],
        a: Site::default(),
        b: Site::default(),
        asks: Vec::new(),
        looks: Vec::new(),
    }
}

impl Row {
    /// The next connection's script of server `a`.
    pub fn a<const N: usize>(mut self, script: [Vec<Turn>; N]) -> Row {
        self.a.scripts.push(script.concat());
        self
    }

    /// The same of server `b`.
    pub fn b<const N: usize>(mut self, script: [Vec<Turn>; N]) -> Row {
        self.b.scripts.push(script.concat());
        self
    }

    /// Server `a` speaks TLS.
    pub fn tls_a(mut self) -> Row {
        self.a.below = Below::Tls;
        self
    }

    pub fn grants(mut self, flags: &[&str]) -> Row {
        self.grants = flags.iter().map(|flag| flag.to_string()).collect();
        self
    }

    pub fn ask(mut self, method: impl AsRef<[u8]>, url: &str) -> Row {
        self.asks.push(Ask {
            method: method.as_ref().to_vec(),
            url: url.into(),
            fields: Vec::new(),
            body: None,
            change: Box::new(|_| ()),
            after: 0,
            pieces: None,
            want: Want::Got(200, Vec::new()),
            reason: None,
            ends_at: None,
        });
        self
    }

    pub fn get(self, url: &str) -> Row {
        self.ask("GET", url)
    }

    /// `GET http://a.test/`.
    pub fn fetch(self) -> Row {
        self.get("http://a.test:{a}/")
    }

    fn last(&mut self) -> &mut Ask {
        self.asks.last_mut().unwrap()
    }

    pub fn field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Row {
        self.last().fields.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Row {
        self.last().body = Some((body.into(), true));
        self
    }

    /// A body that can be read only once.
    pub fn stream(mut self, body: impl Into<Vec<u8>>) -> Row {
        self.last().body = Some((body.into(), false));
        self
    }

    pub fn with(mut self, change: impl Fn(&mut Options) + Send + Sync + 'static) -> Row {
        self.last().change = Box::new(change);
        self
    }

    /// A total of so many milliseconds.
    pub fn within(self, ms: u64) -> Row {
        self.with(move |o| o.timeout = Some(Duration::from_millis(ms)))
    }

    /// Waits for the next [`Turn::Told`] of `a` before it asks.
    pub fn after(mut self) -> Row {
        self.last().after += 1;
        self
    }

    /// Reads the body in pieces of so many bytes.
    pub fn by(mut self, bytes: usize) -> Row {
        self.last().pieces = Some(bytes);
        self
    }

    pub fn gets(mut self, status: u16, body: impl Into<Vec<u8>>) -> Row {
        self.last().want = Want::Got(status, body.into());
        self
    }

    pub fn fails(mut self, kind: Kind) -> Row {
        self.last().want = Want::Fails(kind);
        self
    }

    /// Fails as `protocol`.
    pub fn refused(self) -> Row {
        self.fails(Kind::Protocol)
    }

    /// Part of the message.
    pub fn saying(mut self, words: &str) -> Row {
        self.last().reason = Some(words.into());
        self
    }

    pub fn wrong(mut self) -> Row {
        self.last().want = Want::Wrong;
        self
    }

    pub fn dropped(mut self, after: usize) -> Row {
        self.last().want = Want::Dropped(after);
        self
    }

    /// The URL that answered, and how many redirects led to it.
    pub fn ends_at(mut self, url: &str, hops: usize) -> Row {
        self.last().ends_at = Some((url.into(), hops));
        self
    }

    /// The `at`th request that `site` saw has this, and none of those.
    pub fn sees(mut self, site: char, at: usize, has: &'static str, lacks: &[&'static str]) -> Row {
        self.looks.push(Look { site, at, has, lacks: lacks.to_vec() });
        self
    }

    /// The connections over which `site`'s requests came.
    pub fn over(mut self, site: char, connections: &[usize]) -> Row {
        self.site(site).used = Some(connections.to_vec());
        self
    }

    /// How many connections `site` saw, with or without a request.
    pub fn connections(mut self, site: char, count: usize) -> Row {
        self.site(site).connections = Some(count);
        self
    }

    fn site(&mut self, site: char) -> &mut Site {
        if site == 'a' { &mut self.a } else { &mut self.b }
    }

    fn run(&self) {
        let (a, b) = (Bound::new(), Bound::new());
        let ports = [a.port, b.port];
        let text = |text: &str| String::from_utf8(filled(text.as_bytes(), ports)).unwrap();
        let a = Server::run(a, self.a.below, self.a.scripts.clone(), ports);
        let b = Server::run(b, self.b.below, self.b.scripts.clone(), ports);
        let flags: Vec<_> = self.grants.iter().map(|flag| text(flag)).collect();
        let net = Net::new(Grants::parse(&flags).unwrap()).unwrap();
        let pool = Pool::new();
        for (number, ask) in self.asks.iter().enumerate() {
            for _ in 0..ask.after {
                a.told.recv_timeout(LONGEST).unwrap_or_else(|_| panic!("request {number}: the server never told"));
            }
            let started = Instant::now();
            ask.run(&net, &pool, ports, text, number);
            assert!(started.elapsed() < LONGEST, "request {number} hung");
        }
        pool.close();
        for (name, site, server) in [('a', &self.a, &a), ('b', &self.b, &b)] {
            let seen = server.seen.lock().unwrap().clone();
            if let Some(used) = &site.used {
                let over: Vec<_> = seen.iter().map(|(number, _)| *number).collect();
                assert_eq!(&over, used, "connections of {name}'s requests");
            }
            if let Some(count) = site.connections {
                assert_eq!(server.accepted.load(Ordering::Acquire), count, "connections to {name}");
            }
            for look in self.looks.iter().filter(|look| look.site == name) {
                let Some((_, request)) = seen.get(look.at) else {
                    panic!("{name} saw {} requests, not {}", seen.len(), look.at + 1)
                };
                assert!(request.contains(&text(look.has)), "{name} did not see {:?} in {request}", look.has);
                let lower = request.to_ascii_lowercase();
                for not in &look.lacks {
                    assert!(!lower.contains(&text(not).to_ascii_lowercase()), "{name} saw {not:?} in {request}");
                }
            }
        }
        let wrong = self.asks.iter().all(|ask| ask.want == Want::Wrong);
        assert!(!wrong || a.accepted.load(Ordering::Acquire) == 0, "a wrong argument opened a connection");
    }
}

impl Ask {
    fn run(&self, net: &Net, pool: &Pool, ports: [u16; 2], text: impl Fn(&str) -> String, number: usize) {
        let mut options = defaults(ports);
        (self.change)(&mut options);
        let source = self.body.as_ref().map(|(body, again)| match again {
            true => Source::bytes(body.clone()),
            false => Source::Caller(None),
        });
        let request = match self.request(&text(&self.url), source.as_ref()) {
            Ok(request) => request,
            Err(why) => {
                assert!(self.want == Want::Wrong, "request {number} is a wrong argument: {why}");
                assert!(!why.contains(SECRET), "request {number} told a secret: {why}");
                return;
            }
        };
        assert!(self.want != Want::Wrong, "request {number} is taken for a good one");
        let mut fetch = Fetch::new(net, pool, request, source, options);
        let got = self.drive(&mut fetch);
        if let Err(err) = &got {
            assert!(!format!("{err:?}").contains(SECRET), "request {number} told a secret: {err:?}");
        }
        match (got, &self.want) {
            (Ok(got), Want::Got(status, body)) => {
                assert!(got.0 == *status && got.1 == *body, "request {number} got {} {:?}", got.0, short(&got.1));
            }
            (Ok(_), Want::Dropped(_)) => (),
            (Ok(got), want) => panic!("request {number} got {} {:?}, not {want:?}", got.0, short(&got.1)),
            (Err(err), Want::Fails(kind)) => {
                assert!(err.kind() == *kind, "request {number} failed, but not as {kind:?}: {err}");
                if let Some(reason) = &self.reason {
                    assert!(
                        err.to_string().contains(reason.as_str()),
                        "request {number} does not say {reason:?}: {err}"
                    );
                }
            }
            (Err(err), want) => panic!("request {number} failed, wanted {want:?}: {err}"),
        }
        if let Some((url, hops)) = &self.ends_at {
            assert_eq!((fetch.request().url.to_text(), fetch.chain().len()), (text(url), *hops), "request {number}");
        }
    }

    fn request(&self, url: &str, source: Option<&Source>) -> Result<Request, String> {
        let payload = source.map(|source| source.payload(None));
        let method = Method::parse(&self.method).map_err(|why| why.0)?;
        let mut request = Request::new(method, HttpUrl::parse(url).map_err(|why| why.0)?, payload);
        for (name, value) in &self.fields {
            request.field(name, value).map_err(|why| why.0)?;
        }
        Ok(request)
    }

    fn drive(&self, fetch: &mut Fetch) -> Result<(u16, Vec<u8>), Error> {
        let mut pieces = self.body.iter().flat_map(|(body, _)| body.chunks(64 * 1024)).chain([&b""[..]]);
        while fetch.step()? == Step::Piece {
            fetch.supply(pieces.next().unwrap_or_default())?;
        }
        let body = match (&self.want, self.pieces) {
            (_, Some(bytes)) => {
                let (mut buffer, mut body) = (vec![0; bytes], Vec::new());
                while let count @ 1.. = fetch.read(&mut buffer)? {
                    // Of an endless body the beginning is enough to tell what it was.
                    body.extend_from_slice(&buffer[..count.min(1000usize.saturating_sub(body.len()))]);
                }
                body
            }
            (Want::Dropped(left), None) => {
                let mut left = *left;
                let mut buffer = [0; 1024];
                while left > 0 {
                    let count = fetch.read(&mut buffer[..left.min(1024)])?;
                    assert!(count > 0, "the body ended early");
                    left -= count;
                }
                Vec::new()
            }
            _ => loop {
                match fetch.body() {
                    Ok(body) => break body,
                    Err(err) => fetch.answer_again(err)?,
                }
            },
        };
        Ok((fetch.head().unwrap().status, body))
    }
}

/// Options that lead the rows' names to loopback and trust the rows' certificates.
pub fn defaults(ports: [u16; 2]) -> Options {
    let mut options = Options { timeout: Some(Duration::from_secs(5)), ..Options::default() };
    options.tls.change(|options| options.ca_bundle = tls().0.client().ca_bundle);
    for port in ports {
        for name in NAMES {
            options.resolve.push((Endpoint::parse(&format!("{name}:{port}")).unwrap(), [127, 0, 0, 1].into()));
        }
    }
    options
}

fn short(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}

/// Runs all rows, several at a time, and tells of all that fail.
pub fn run(rows: Vec<Row>) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| row.run())) {
                        let words = panic.downcast_ref::<String>().cloned();
                        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| words.to_string()));
                        failures.lock().unwrap().push(format!("{}: {}", row.name, words.unwrap_or_default()));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} rows failed:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

/// Reads a request, then says this.
pub fn answer(text: impl AsRef<[u8]>) -> Vec<Turn> {
    vec![Turn::Read, Turn::Say(text.as_ref().to_vec())]
}

/// A 200 with this body.
pub fn ok(body: &str) -> Vec<Turn> {
    answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A 200 with these header lines and this body.
pub fn with(lines: &str, body: impl AsRef<[u8]>) -> Vec<Turn> {
    answer([format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").as_bytes(), body.as_ref()].concat())
}

/// A redirect with a small body of its own.
pub fn to(status: u16, location: &str) -> Vec<Turn> {
    answer(format!("HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\ngone"))
}

pub fn say(text: impl AsRef<[u8]>) -> Vec<Turn> {
    vec![Turn::Say(text.as_ref().to_vec())]
}

pub fn read() -> Vec<Turn> {
    vec![Turn::Read]
}

pub fn close() -> Vec<Turn> {
    vec![Turn::Close]
}

pub fn reset() -> Vec<Turn> {
    vec![Turn::Reset]
}

pub fn told() -> Vec<Turn> {
    vec![Turn::Told]
}
