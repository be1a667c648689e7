//! A guard's connections behind names that lie: a scripted name server on loopback, and web servers on two addresses that
//! say which one was reached. What was checked is what is dialled.

#![allow(clippy::disallowed_methods, reason = "the tests are the world outside")]

mod cases;
#[path = "../names_support/mod.rs"]
mod names_support;
#[path = "../tables/mod.rs"]
mod tables;

use caspian_net::{
    address::{Endpoint, Host},
    client::{Fetch, Options, Step, pool::Pool},
    deadline::Deadline,
    error::{Kind, Result},
    grants::Grants,
    http::{
        request::{Method, Request},
        url::HttpUrl,
    },
    names::Lookup,
    net::Net,
};
use names_support::*;
use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// 127.0.0.1 is open to the guard, and nothing else that is private: "one" answers there, "two" on 127.0.0.2.
struct World {
    net: Net,
    port: u16,
    /// Connections that were accepted, on either address.
    reached: Arc<AtomicUsize>,
    dns: Server,
}

fn world(script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> World {
    let reached = Arc::new(AtomicUsize::new(0));
    let (one, two) = loop {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(two) = TcpListener::bind(("127.0.0.2", one.local_addr().unwrap().port())) {
            break (one, two);
        }
    };
    let port = one.local_addr().unwrap().port();
    for (listener, body) in [(one, "one"), (two, "two")] {
        let reached = Arc::clone(&reached);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                reached.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{body}");
                    }
                });
            }
        });
    }
    let guard = Grants::fenced(Some(&["127.0.0.1"])).unwrap();
    let net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap().narrow(&guard).unwrap();
    World { net, port, reached, dns: serve(script) }
}

impl World {
    fn options(&self) -> Options {
        let names = Lookup::at(self.dns.address.ip(), self.dns.address.port());
        Options { names: Some(names), follow_redirects: false, ..Options::default() }
    }

    fn fetch(&self, pool: &Pool, options: &Options) -> Result<String> {
        self.fetch_from("x.test", pool, options, 10.0)
    }

    fn fetch_from(&self, host: &str, pool: &Pool, options: &Options, seconds: f64) -> Result<String> {
        let url = HttpUrl::parse(&format!("http://{host}:{}/", self.port)).unwrap();
        let request = Request::new(Method::GET, url, None);
        let deadline = Deadline::after(Duration::from_secs_f64(seconds));
        let mut fetch = Fetch::new(&self.net, pool, request, None, options.clone()).under(&deadline);
        while fetch.step()? != Step::Head {}
        Ok(String::from_utf8(fetch.body()?).unwrap())
    }

    fn asked(&self) -> usize {
        self.dns.udp.load(Ordering::SeqCst) + self.dns.tcp.load(Ordering::SeqCst)
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

fn short(answer: Result<String>) -> String {
    answer.unwrap_or_else(|err| format!("!{}", err.kind().word()))
}

fn a(q: &Asked, ips: &[[u8; 4]], ttl: u32) -> Vec<u8> {
    let records: Vec<_> = ips.iter().map(|ip| record(&q.name, A, ttl, ip)).collect();
    match q.kind {
        A => q.answer(&records),
        // For how long there is none is kept, too.
        _ => q.reply(0, &[], &[soa("test", ttl)]),
    }
}

const HERE: [u8; 4] = [127, 0, 0, 1];
const THERE: [u8; 4] = [127, 0, 0, 2];

#[test]
fn answers() {
    let rows: &[(&str, Script, &str)] = &[
        ("an open address", |q| vec![a(q, &[HERE], 60)], "one"),
        ("a closed one", |q| vec![a(q, &[THERE], 60)], "!address_not_allowed"),
        ("a mixed answer, open first", |q| vec![a(q, &[HERE, [10, 0, 0, 1]], 60)], "!address_not_allowed"),
        ("a mixed answer, open last", |q| vec![a(q, &[[169, 254, 169, 254], HERE], 60)], "!address_not_allowed"),
        ("a public one among them", |q| vec![a(q, &[HERE, THERE, [93, 184, 216, 34]], 60)], "!address_not_allowed"),
        (
            "the other family",
            |q| {
                vec![match q.kind {
                    AAAA => {
                        q.answer(&[record(&q.name, AAAA, 60, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])])
                    }
                    _ => a(q, &[HERE], 60),
                }]
            },
            "!address_not_allowed",
        ),
        (
            "a mapped address is the one that it maps",
            |q| {
                vec![match q.kind {
                    AAAA => {
                        q.answer(&[record(&q.name, AAAA, 60, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1])])
                    }
                    _ => a(q, &[HERE], 60),
                }]
            },
            "!address_not_allowed",
        ),
        (
            "NAT64",
            |q| {
                vec![match q.kind {
                    AAAA => q.answer(&[record(
                        &q.name,
                        AAAA,
                        60,
                        &[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1],
                    )]),
                    _ => q.answer(&[]),
                }]
            },
            "!address_not_allowed",
        ),
        (
            "an alias of a closed one",
            |q| {
                vec![q.answer(&[record("x.test", CNAME, 60, &name("y.test")), record("y.test", A, 60, &[10, 0, 0, 1])])]
            },
            "!address_not_allowed",
        ),
        (
            "an alias of an open one",
            |q| {
                let all = [record("x.test", CNAME, 60, &name("y.test")), record("y.test", A, 60, &HERE)];
                vec![q.answer(if q.kind == A { &all } else { &all[..1] })]
            },
            "one",
        ),
        ("the wildcard address", |q| vec![a(q, &[[0, 0, 0, 0]], 60)], "!address_not_allowed"),
        (
            "records of another name are not taken",
            |q| vec![q.answer(&[record("z.test", A, 60, &HERE)])],
            "!dns_failure",
        ),
        ("no such name", |q| vec![q.reply(NXDOMAIN, &[], &[soa("test", 60)])], "!dns_failure"),
    ];
    for (what, script, expected) in rows {
        let world = world(*script);
        assert_eq!(short(world.fetch(&Pool::new(), &world.options())), *expected, "{what}");
        assert_eq!(world.reached(), usize::from(*expected == "one"), "{what}");
    }
}

#[test]
fn a_refusal_has_the_kind_and_not_the_number() {
    let world = world(|q| vec![a(q, &[[10, 11, 12, 13]], 60)]);
    let err = world.fetch(&Pool::new(), &world.options()).unwrap_err();
    assert!(err.is(Kind::HostNotAllowed));
    let text = format!("{err:?}");
    assert!(text.contains("x.test resolves to a private address") && !text.contains("10.11"), "{text}");
}

/// The name server says something else each time: only the answer that was checked is dialled, in one set of questions.
#[test]
fn rebinding() {
    // Between check and connect: the second answer would be the other server's.
    let within = world(|q| vec![a(q, &[if q.nth < 2 { HERE } else { THERE }], 0)]);
    let (pool, options) = (Pool::new(), within.options());
    assert_eq!(short(within.fetch(&pool, &options)), "one");
    assert_eq!(within.asked(), 2, "A and AAAA, once");
    // The connection is still there: nothing is asked, and nobody else is reached.
    assert_eq!(short(within.fetch(&pool, &options)), "one");
    assert_eq!((within.asked(), within.reached()), (2, 1));
    // A new connection asks anew, and is refused.
    pool.empty();
    assert_eq!(short(within.fetch(&pool, &options)), "!address_not_allowed");
    assert_eq!((within.asked(), within.reached()), (4, 1));
}

/// What is kept of an answer is checked again, too.
#[test]
fn an_answer_that_is_kept() {
    let world = world(|q| vec![a(q, &[HERE], 60)]);
    let options = world.options();
    for _ in 0..3 {
        assert_eq!(short(world.fetch(&Pool::new(), &options)), "one");
    }
    assert_eq!((world.asked(), world.reached()), (2, 3));
}

/// A policy that saw an address: that one is dialled, whatever the name server would say by now.
#[test]
fn the_address_that_a_policy_saw() {
    for (ip, expected) in [(HERE, "one"), (THERE, "!address_not_allowed"), ([10, 0, 0, 1], "!address_not_allowed")] {
        let world = world(|q| vec![a(q, &[THERE], 0)]);
        let endpoint = Endpoint::parse(&format!("x.test:{}", world.port)).unwrap();
        let options = Options { resolve: vec![(endpoint, IpAddr::from(ip))], ..world.options() };
        assert_eq!(short(world.fetch(&Pool::new(), &options)), expected, "{ip:?}");
        assert_eq!((world.asked(), world.reached()), (0, usize::from(expected == "one")), "{ip:?}");
    }
}

#[test]
fn names_are_asked_as_they_are() {
    let world = world(|q| vec![if q.name == "web" { a(q, &[HERE], 0) } else { a(q, &[[10, 0, 0, 1]], 0) }]);
    let granted = world.net.connect("fetch", &host("web"), 80).unwrap();
    let deadline = Deadline::after(Duration::from_secs(10));
    let names = Lookup::at(world.dns.address.ip(), world.dns.address.port());
    assert_eq!(names.addresses(&world.net, "fetch", &granted, &deadline).unwrap(), [IpAddr::from(HERE)]);
    // A literal is its own answer, and nobody is asked.
    let granted = world.net.connect("fetch", &host("127.0.0.1"), 80).unwrap();
    assert_eq!(names.addresses(&world.net, "fetch", &granted, &deadline).unwrap(), [IpAddr::from(HERE)]);
    assert_eq!(world.asked(), 2);
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}
