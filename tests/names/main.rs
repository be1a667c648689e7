//! `net.resolve` against name servers that lie: one scripted server on loopback, over UDP and TCP. What it answers is a
//! table; here are the cache, the gate, and the ways that a question takes.

#![allow(clippy::disallowed_methods, reason = "tests look at the clock, and find free ports")]

mod answers;
#[path = "../names_support/mod.rs"]
mod names_support;
mod packets;

use caspian_net::{
    deadline::{Deadline, set_probe},
    error::Result,
    grants::Grants,
    names::{Names, Question, Record, Type, server},
    net::Net,
};
use names_support::*;
use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

fn net(flags: &[&str]) -> Net {
    Net::new(Grants::parse(flags).unwrap()).unwrap()
}

fn question(host: &str, kind: &str, at: &Server) -> Question {
    let mut question = Question::new("resolve", host).unwrap();
    question.kind = Type::parse(kind);
    question.server = Some(server(&at.address.to_string()).unwrap());
    question
}

fn show(answer: Result<Arc<[Record]>>) -> String {
    match answer {
        Ok(records) => {
            let text = |record: &Record| match record.text() {
                Some(text) => String::from_utf8_lossy(text).into_owned(),
                None => format!("{record:?}"),
            };
            records.iter().map(text).collect::<Vec<_>>().join(" ")
        }
        Err(e) => format!("!{}", e.kind().word()),
    }
}

fn ask(host: &str, kind: &str, script: Script, seconds: f64) -> String {
    let at = serve(script);
    let deadline = Deadline::after(Duration::from_secs_f64(seconds));
    show(Names::default().resolve(&net(&["--allow-net"]), &question(host, kind, &at), &deadline))
}

#[test]
fn the_cache() {
    let script: Script = |q| {
        vec![match &*q.name {
            "kept.test" => q.a([192, 0, 2, u8::try_from(q.nth).unwrap()]),
            "brief.test" => q.answer(&[record(&q.name, A, 0, &[192, 0, 2, u8::try_from(q.nth).unwrap()])]),
            "none.test" => q.reply(NXDOMAIN, &[], &[soa("test", 60)]),
            "unsaid.test" => q.reply(NXDOMAIN, &[], &[]),
            "never.test" => q.reply(NXDOMAIN, &[], &[soa("test", 0)]),
            "alias.test" => q.reply(NXDOMAIN, &[record(&q.name, CNAME, 60, &name("y.test"))], &[soa("test", 60)]),
            "moved.test" => q.reply(NXDOMAIN, &[record(&q.name, CNAME, 0, &name("y.test"))], &[soa("test", 60)]),
            "empty.test" => q.reply(0, &[], &[soa("test", 60)]),
            _ => q.reply(SERVFAIL, &[], &[]),
        }]
    };
    // name, queries of the first call, of the second
    let rows = [
        ("kept.test", 1, 0),
        ("brief.test", 1, 1),
        ("none.test", 1, 0),
        ("unsaid.test", 1, 1),
        ("never.test", 1, 1),
        ("alias.test", 1, 0),
        ("moved.test", 1, 1),
        ("empty.test", 1, 0),
    ];
    let (net, deadline) = (net(&["--allow-net"]), Deadline::after(Duration::from_secs(5)));
    for (host, first, second) in rows {
        let at = serve(script);
        let names = Names::default();
        let mut count = 0;
        let mut times = |names: &Names, question: &Question| {
            let answer = show(names.resolve(&net, question, &deadline));
            let all = at.udp.load(Ordering::SeqCst) + at.tcp.load(Ordering::SeqCst);
            let new = all - count;
            count = all;
            (new, answer)
        };
        let question = question(host, "a", &at);
        let (asked, answer) = times(&names, &question);
        assert_eq!(asked, first, "{host}");
        let (asked, again) = times(&names, &question);
        assert_eq!((asked, again == answer), (second, second == 0 || answer.starts_with('!')), "{host}");
        // Another capability, another way, another kind: asked anew.
        assert!(times(&Names::default(), &question).0 > 0, "{host}");
        let mut other = question.clone();
        other.tcp = true;
        assert!(times(&names, &other).0 > 0, "{host}");
        other.kind = Some(Type::Txt);
        assert!(times(&names, &other).0 > 0, "{host}");
        let elsewhere = serve(script);
        other = question.clone();
        other.server = Some(server(&elsewhere.address.to_string()).unwrap());
        let _ = names.resolve(&net, &other, &deadline);
        assert!(elsewhere.udp.load(Ordering::SeqCst) > 0, "{host}");
    }
}

/// What the gate refuses costs no packet; what is cached passes the gate all the same.
#[test]
fn the_gate() {
    let at = serve(|q| vec![q.a([192, 0, 2, 1])]);
    let own = format!("--allow-net={}", at.address);
    let denied = format!("--deny-net={}", at.address);
    let rows: &[(&[&str], &str, &str, &str)] = &[
        (&["--allow-net"], "x.test", "a", "192.0.2.1"),
        (&[&own, "--allow-net=x.test"], "x.test", "a", "192.0.2.1"),
        (&[&own, "--allow-net=x.test:443"], "X.TEST.", "a", "192.0.2.1"),
        (&[&own, "--allow-net=x.test"], "y.test", "a", "!host_not_allowed"),
        (&["--allow-net=x.test"], "x.test", "a", "!host_not_allowed"),
        (&["--allow-net=x.test", "--allow-net=127.0.0.1:9"], "x.test", "a", "!port_not_allowed"),
        (&["--allow-net", &denied], "x.test", "a", "!port_not_allowed"),
        (&["--allow-net", "--deny-net=127.0.0.0/8"], "x.test", "a", "!host_not_allowed"),
        (&["--allow-net", "--deny-net=x.test"], "x.test", "a", "!host_not_allowed"),
        (&["--allow-net", "--deny-net=**.test"], "x.test", "mx", "!host_not_allowed"),
        (&["--allow-net", "--no-dns"], "x.test", "a", "!host_not_allowed"),
        (&["--allow-net", "--no-dns"], "1.0.0.127.in-addr.arpa", "ptr", "!host_not_allowed"),
        // The name of an address, asked for in the way of the DNS, is a question about the address.
        (&["--allow-net", "--deny-net=192.0.2.9"], "9.2.0.192.in-addr.arpa", "ptr", "!host_not_allowed"),
        (&["--allow-net", "--deny-net=**.arpa"], "9.2.0.192.in-addr.arpa", "ptr", "!host_not_allowed"),
        (&[&own, "--allow-net=192.0.2.9"], "9.2.0.192.in-addr.arpa", "ptr", "!dns_failure"),
        (&["--allow-listen"], "x.test", "a", "!host_not_allowed"),
    ];
    let deadline = Deadline::after(Duration::from_secs(5));
    for (flags, host, kind, expected) in rows {
        let before = at.udp.load(Ordering::SeqCst);
        let got = show(Names::default().resolve(&net(flags), &question(host, kind, &at), &deadline));
        assert_eq!(got, *expected, "{flags:?} {host}");
        let asked = at.udp.load(Ordering::SeqCst) - before;
        assert_eq!(asked > 0, !expected.contains("allowed"), "{flags:?} {host}: {asked} packets");
    }
    let (net, names) = (net(&["--allow-net"]), Names::default());
    assert_eq!(show(names.resolve(&net, &question("x.test", "a", &at), &deadline)), "192.0.2.1");
    net.revoke();
    assert_eq!(show(names.resolve(&net, &question("x.test", "a", &at), &deadline)), "!socket");
}

#[test]
fn reverse() {
    let script: Script = |q| {
        vec![match &*q.name {
            "1.2.0.192.in-addr.arpa" => q.answer(&[record(&q.name, PTR, 60, &name("one.test"))]),
            "2.2.0.192.in-addr.arpa" => q.answer(&[record(&q.name, PTR, 60, b"\x03a\0b\0")]),
            "3.2.0.192.in-addr.arpa" => q.reply(SERVFAIL, &[], &[]),
            name if name.ends_with("8.b.d.0.1.0.0.2.ip6.arpa") => q.answer(&[record(&q.name, PTR, 60, b"\x03six\0")]),
            _ => q.reply(NXDOMAIN, &[], &[soa("arpa", 60)]),
        }]
    };
    let at = serve(script);
    let rows = [
        ("192.0.2.1", "one.test"),
        ("::ffff:192.0.2.1", "one.test"),
        ("2001:db8::1", "six"),
        ("192.0.2.9", "nil"),
        ("192.0.2.2", "!dns_failure"),
        ("192.0.2.3", "!dns_failure"),
    ];
    let (net, names) = (net(&["--allow-net"]), Names::default());
    for (ip, expected) in rows {
        let answer = names.reverse(&net, &question(ip, "ptr", &at), &Deadline::after(Duration::from_secs(5)));
        let got = match answer {
            Ok(None) => "nil".into(),
            Ok(Some(record)) => show(Ok(vec![record].into())),
            Err(e) => show(Err(e)),
        };
        assert_eq!(got, expected, "{ip}");
    }
}

/// Names that no name server is asked for (RFC 6761, RFC 7686), also where an alias leads to one.
#[test]
fn names_of_no_server() {
    let at = serve(|q| vec![q.answer(&[record(&q.name, CNAME, 60, &name(q.name.trim_end_matches(".test")))])]);
    let rows = [
        ("x.onion", "a", "!dns_failure", 0),
        ("ONION.", "", "!dns_failure", 0),
        ("x.invalid", "mx", "!dns_failure", 0),
        ("1.0.0.127.in-addr.arpa", "ptr", "localhost", 0),
        ("9.127.in-addr.arpa", "ptr", "localhost", 0),
        ("9.127.in-addr.arpa", "txt", "!dns_failure", 0),
        ("::1", "ptr", "localhost", 0),
        ("localhost.test", "a", "127.0.0.1", 1),
        ("localhost.test", "aaaa", "::1", 1),
        ("x.localhost.test", "", "127.0.0.1 ::1", 2),
        ("localhost.test", "mx", "!dns_failure", 1),
        ("x.onion.test", "a", "!dns_failure", 1),
    ];
    for (host, kind, expected, packets) in rows {
        let before = at.udp.load(Ordering::SeqCst);
        let deadline = Deadline::after(Duration::from_secs(5));
        let got = show(Names::default().resolve(&net(&["--allow-net"]), &question(host, kind, &at), &deadline));
        assert_eq!((&*got, at.udp.load(Ordering::SeqCst) - before), (expected, packets), "{host} {kind}");
    }
}

#[test]
fn the_ways() {
    // TCP only: not one datagram.
    let at = serve(|q| vec![q.a([192, 0, 2, 1])]);
    let deadline = Deadline::after(Duration::from_secs(5));
    let net = net(&["--allow-net"]);
    let mut over_tcp = question("x.test", "a", &at);
    over_tcp.tcp = true;
    assert_eq!(show(Names::default().resolve(&net, &over_tcp, &deadline)), "192.0.2.1");
    assert_eq!((at.udp.load(Ordering::SeqCst), at.tcp.load(Ordering::SeqCst)), (0, 1));
    // A deadline of zero asks nobody, and knows what is known.
    let names = Names::default();
    let now = Deadline::after(Duration::ZERO);
    let x = question("x.test", "a", &at);
    assert_eq!(show(names.resolve(&net, &x, &now)), "!timeout");
    assert_eq!(at.udp.load(Ordering::SeqCst), 0);
    names.resolve(&net, &x, &deadline).unwrap();
    assert_eq!(show(names.resolve(&net, &x, &now)), "192.0.2.1");
    // Nobody there.
    let mut nobody = over_tcp.clone();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    nobody.server = Some(([127, 0, 0, 1].into(), port));
    assert_eq!(show(names.resolve(&net, &nobody, &deadline)), "!dns_failure");
    // A server that takes the connection and says nothing.
    static HEARD: AtomicBool = AtomicBool::new(false);
    let mute = serve(|q| {
        HEARD.store(q.tcp, Ordering::SeqCst);
        if q.tcp { vec![] } else { vec![q.reply(TRUNCATED, &[], &[])] }
    });
    let half = Deadline::after(Duration::from_millis(500));
    assert_eq!(show(names.resolve(&net, &question("x.test", "a", &mute), &half)), "!timeout");
    // Ctrl-C: in a wait for a message over TCP, for a datagram, and where there is always one, over both.
    let (silent, flood) = (serve(|_| vec![]), serve(|_| vec![vec![0; 12]; 200_000]));
    type Probe = fn() -> bool;
    let rows: [(&Server, bool, Probe); 4] = [
        (&mute, false, || HEARD.load(Ordering::SeqCst)),
        (&silent, false, || true),
        (&flood, false, || true),
        (&flood, true, || true),
    ];
    HEARD.store(false, Ordering::SeqCst);
    for (at, tcp, probe) in rows {
        let net = &net;
        thread::scope(|scope| {
            scope.spawn(move || {
                set_probe(probe);
                let asked = Question { tcp, ..question("x.test", "a", at) };
                assert_eq!(show(Names::default().resolve(net, &asked, &Deadline::never())), "!socket");
            });
        });
    }
    // A literal is its own answer.
    let literal = |kind: &str, ip: &str| show(names.resolve(&net, &question(ip, kind, &mute), &half));
    assert_eq!(literal("", "::ffff:10.0.0.1"), "10.0.0.1");
    assert_eq!(literal("aaaa", "10.0.0.1"), "!dns_failure");
    assert_eq!(literal("a", "10.0.0.1"), "10.0.0.1");
}
