//! `net.resolve` against name servers that lie: one scripted server on loopback, over UDP and TCP, and a table of what
//! it says and what must come of it.

#![allow(clippy::disallowed_methods, reason = "tests look at the clock, and find free ports")]

mod names_support;

use caspian_net::{
    deadline::{Deadline, set_probe},
    error::{Kind, Result},
    grants::Grants,
    names::{Names, Question, Record, Type, server},
    net::Net,
};
use names_support::*;
use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
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

// --- the tables ----------------------------------------------------------------------------------------------------

#[test]
fn records_of_each_kind() {
    let rows: &[(&str, Script, &str)] = &[
        (
            "a",
            |q| vec![q.answer(&[record("x.test", A, 60, &[192, 0, 2, 1]), record("x.test", A, 60, &[192, 0, 2, 2])])],
            "192.0.2.1 192.0.2.2",
        ),
        (
            "aaaa",
            |q| {
                vec![q.answer(&[record("x.test", AAAA, 60, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])])]
            },
            "2001:db8::1",
        ),
        // Mapped addresses are the IPv4 address that they are.
        (
            "aaaa",
            |q| vec![q.answer(&[record("x.test", AAAA, 60, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1])])],
            "127.0.0.1",
        ),
        (
            "",
            |q| {
                vec![match q.kind {
                    A => q.a([192, 0, 2, 1]),
                    _ => q.answer(&[record(
                        "x.test",
                        AAAA,
                        60,
                        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                    )]),
                }]
            },
            "192.0.2.1 2001:db8::1",
        ),
        // One family alone, whatever becomes of the other.
        ("", |q| vec![q.a([192, 0, 2, 1])], "192.0.2.1"),
        ("", |q| vec![if q.kind == A { q.a([192, 0, 2, 1]) } else { q.reply(SERVFAIL, &[], &[]) }], "192.0.2.1"),
        ("ns", |q| vec![q.answer(&[record("x.test", NS, 60, &name("NS1.Test"))])], "ns1.test"),
        ("cname", |q| vec![q.answer(&[record("x.test", CNAME, 60, &name("y.test"))])], "y.test"),
        ("ptr", |q| vec![q.answer(&[record("x.test", PTR, 60, &name("host.test"))])], "host.test"),
        (
            "txt",
            |q| {
                vec![
                    q.answer(&[
                        record("x.test", TXT, 60, b"\x03one\x04 two"),
                        record("x.test", TXT, 60, b"\x02\xff\0"),
                    ]),
                ]
            },
            "one two \u{fffd}\0",
        ),
        (
            "mx",
            |q| vec![q.answer(&[record("x.test", MX, 60, &[&[0, 10][..], &name("mail.test")].concat())])],
            "Mx { preference: 10, exchange: \"mail.test\" }",
        ),
        ("mx", |q| vec![q.answer(&[record("x.test", MX, 60, &[0, 0, 0])])], "Mx { preference: 0, exchange: \".\" }"),
        (
            "srv",
            |q| {
                vec![q.answer(&[record("x.test", SRV, 60, &[&[0, 1, 0, 2, 0x1f, 0x90][..], &name("s.test")].concat())])]
            },
            "Srv { priority: 1, weight: 2, port: 8080, target: \"s.test\" }",
        ),
        (
            "caa",
            |q| vec![q.answer(&[record("x.test", CAA, 60, b"\x80\x05issueca.test")])],
            "Caa { critical: true, tag: \"issue\", value: [99, 97, 46, 116, 101, 115, 116] }",
        ),
        (
            "soa",
            |q| vec![q.answer(&[soa("x.test", 300)])],
            "Soa { mname: \"ns.test\", rname: \"john-doe.test\", serial: 7, refresh: 3600, retry: 600, expire: 86400, minimum: 300 }",
        ),
    ];
    for (kind, script, expected) in rows {
        assert_eq!(ask("x.test", kind, *script, 5.0), *expected, "{kind}");
    }
}

#[test]
fn hostile_answers() {
    let rows: &[(&str, &str, Script, &str)] = &[
        ("no such name", "a", |q| vec![q.reply(NXDOMAIN, &[], &[soa("test", 60)])], "!dns_failure"),
        ("no such name, of both", "", |q| vec![q.reply(NXDOMAIN, &[], &[soa("test", 60)])], "!dns_failure"),
        ("no data", "mx", |q| vec![q.reply(0, &[], &[soa("test", 60)])], "!dns_failure"),
        ("nothing at all", "a", |q| vec![q.answer(&[])], "!dns_failure"),
        ("a failing server", "a", |q| vec![q.reply(SERVFAIL, &[], &[])], "!dns_failure"),
        ("refused", "a", |q| vec![q.reply(5, &[], &[])], "!dns_failure"),
        (
            "a failure, then an answer",
            "a",
            |q| vec![if q.nth == 0 { q.reply(SERVFAIL, &[], &[]) } else { q.a([192, 0, 2, 1]) }],
            "192.0.2.1",
        ),
        ("lost once", "a", |q| if q.nth == 0 { vec![] } else { vec![q.a([192, 0, 2, 1])] }, "192.0.2.1"),
        (
            "wrong id only",
            "a",
            |q| {
                vec![{
                    let mut m = q.a([6, 6, 6, 6]);
                    m[0] ^= 1;
                    m
                }]
            },
            "!timeout",
        ),
        (
            "wrong id, then the answer",
            "a",
            |q| {
                vec![
                    {
                        let mut m = q.a([6, 6, 6, 6]);
                        m[0] ^= 1;
                        m
                    },
                    q.a([192, 0, 2, 1]),
                ]
            },
            "192.0.2.1",
        ),
        (
            "another question",
            "a",
            |q| {
                vec![{
                    let mut other = Asked { question: q.question.clone(), name: "x.evil".into(), ..*q };
                    other.question.splice(..name("x.test").len(), name("x.evil"));
                    other.a([6, 6, 6, 6])
                }]
            },
            "!timeout",
        ),
        (
            "an answer for another name",
            "a",
            |q| vec![q.answer(&[record("y.test", A, 60, &[6, 6, 6, 6])])],
            "!dns_failure",
        ),
        (
            "another name besides",
            "a",
            |q| vec![q.answer(&[record("y.test", A, 60, &[6, 6, 6, 6]), record("x.test", A, 60, &[192, 0, 2, 1])])],
            "192.0.2.1",
        ),
        (
            "the answer among the authorities",
            "a",
            |q| vec![q.reply(0, &[record("y.test", A, 60, &[6, 6, 6, 6])], &[record("x.test", A, 60, &[6, 6, 6, 6])])],
            "!dns_failure",
        ),
        ("a record of another type", "a", |q| vec![q.answer(&[record("x.test", TXT, 60, b"\x01x")])], "!dns_failure"),
        (
            "a service that points elsewhere",
            "a",
            |q| {
                vec![q.answer(&[
                    record("x.test", SRV, 60, &[&[0, 0, 0, 0, 0, 0][..], &name("y.test")].concat()),
                    record("y.test", A, 60, &[6, 6, 6, 6]),
                ])]
            },
            "!dns_failure",
        ),
        (
            "an alias",
            "a",
            |q| {
                vec![
                    q.answer(&[record("x.test", CNAME, 60, &name("y.test")), record("y.test", A, 60, &[192, 0, 2, 1])]),
                ]
            },
            "192.0.2.1",
        ),
        (
            "an alias, out of order",
            "a",
            |q| {
                vec![
                    q.answer(&[record("y.test", A, 60, &[192, 0, 2, 1]), record("x.test", CNAME, 60, &name("y.test"))]),
                ]
            },
            "192.0.2.1",
        ),
        (
            "an alias, asked again",
            "a",
            |q| {
                vec![if q.name == "x.test" {
                    q.answer(&[record("x.test", CNAME, 60, &name("y.test"))])
                } else {
                    q.a([192, 0, 2, 1])
                }]
            },
            "192.0.2.1",
        ),
        (
            "a loop in one answer",
            "a",
            |q| {
                vec![q.answer(&[
                    record("x.test", CNAME, 60, &name("y.test")),
                    record("y.test", CNAME, 60, &name("x.test")),
                ])]
            },
            "!dns_failure",
        ),
        (
            "an alias of itself",
            "a",
            |q| vec![q.answer(&[record("x.test", CNAME, 60, &name("x.test"))])],
            "!dns_failure",
        ),
        (
            "a loop from answer to answer",
            "",
            |q| {
                vec![q.answer(&[record(
                    &q.name,
                    CNAME,
                    60,
                    &name(if q.name == "x.test" { "y.test" } else { "x.test" }),
                )])]
            },
            "!dns_failure",
        ),
        (
            "aliases without end",
            "a",
            |q| vec![q.answer(&[record(&q.name, CNAME, 60, &name(&format!("n{}.test", q.nth)))])],
            "!dns_failure",
        ),
        (
            "a chain of twenty",
            "a",
            |q| {
                vec![{
                    let mut chain: Vec<_> = (0..20)
                        .map(|n| {
                            let owner = if n == 0 { "x.test".into() } else { format!("n{n}") };
                            record(&owner, CNAME, 60, &name(&format!("n{}", n + 1)))
                        })
                        .collect();
                    chain.push(record("n20", A, 60, &[192, 0, 2, 1]));
                    q.answer(&chain)
                }]
            },
            "!dns_failure",
        ),
        (
            "truncated",
            "a",
            |q| vec![if q.tcp { q.a([192, 0, 2, 1]) } else { q.reply(TRUNCATED, &[], &[]) }],
            "192.0.2.1",
        ),
        (
            "truncated, and the part is a lie",
            "a",
            |q| {
                vec![if q.tcp {
                    q.a([192, 0, 2, 1])
                } else {
                    q.reply(TRUNCATED, &[record("x.test", A, 60, &[6, 6, 6, 6])], &[])
                }]
            },
            "192.0.2.1",
        ),
        ("truncated over TCP too", "a", |q| vec![q.reply(TRUNCATED, &[], &[])], "!protocol"),
        (
            "cut off",
            "a",
            |q| {
                vec![{
                    let mut m = q.a([192, 0, 2, 1]);
                    m.truncate(m.len() - 3);
                    m
                }]
            },
            "!protocol",
        ),
        (
            "a count that lies",
            "a",
            |q| {
                vec![{
                    let mut m = q.a([192, 0, 2, 1]);
                    m[6] = 0xff;
                    m
                }]
            },
            "!protocol",
        ),
        (
            "a pointer to itself",
            "a",
            |q| {
                vec![{
                    let mut m = q.answer(&[]);
                    m[7] = 1;
                    let at = u8::try_from(m.len()).unwrap();
                    m.extend([0xc0, at, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 6, 6, 6, 6]);
                    m
                }]
            },
            "!protocol",
        ),
        (
            "an address of five bytes",
            "a",
            |q| vec![q.answer(&[record("x.test", A, 60, &[192, 0, 2, 1, 1])])],
            "!protocol",
        ),
        (
            "a question sent back",
            "a",
            |q| {
                vec![{
                    let mut m = q.a([192, 0, 2, 1]);
                    m[2] &= 0x7f;
                    m
                }]
            },
            "!protocol",
        ),
        (
            "another class",
            "a",
            |q| {
                vec![{
                    let mut m = q.answer(&[record("x.test", A, 60, &[192, 0, 2, 1])]);
                    let at = m.len() - 11;
                    m[at] = 3;
                    m
                }]
            },
            "!protocol",
        ),
        ("an empty datagram, then the answer", "a", |q| vec![vec![], q.a([192, 0, 2, 1])], "192.0.2.1"),
        (
            "a NUL in a name",
            "ptr",
            |q| vec![q.answer(&[record("x.test", PTR, 60, b"\x04ho\0t\x04test\0")])],
            "!dns_failure",
        ),
        (
            "a dot in a label",
            "ns",
            |q| vec![q.answer(&[record("x.test", NS, 60, b"\x03a.b\x04test\0")])],
            "!dns_failure",
        ),
        (
            "markup in a name",
            "ptr",
            |q| vec![q.answer(&[record("x.test", PTR, 60, b"\x08<script>\x04test\0")])],
            "!dns_failure",
        ),
        (
            "one bad name among good ones",
            "ptr",
            |q| vec![q.answer(&[record("x.test", PTR, 60, &name("good.test")), record("x.test", PTR, 60, b"\x01 \0")])],
            "!dns_failure",
        ),
        ("silence", "a", |_| vec![], "!timeout"),
        ("silence, of both", "", |_| vec![], "!timeout"),
    ];
    thread::scope(|scope| {
        let asked = rows.iter().map(|(what, kind, script, expected)| {
            scope.spawn(move || {
                let started = Instant::now();
                let seconds = if *expected == "!timeout" { 0.7 } else { 10.0 };
                let got = ask("x.test", kind, *script, seconds);
                (got != *expected || started.elapsed() > Duration::from_secs(8))
                    .then(|| format!("{what}: expected {expected}, got {got} after {:?}", started.elapsed()))
            })
        });
        let asked: Vec<_> = asked.collect();
        let wrong: Vec<_> = asked.into_iter().filter_map(|row| row.join().unwrap()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// A good answer with every byte falsified, and cut at every place: an answer or an error, at once.
#[test]
fn no_byte_breaks_it() {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    fn whole(q: &Asked) -> Vec<u8> {
        q.answer(&[
            record("x.test", CNAME, 60, &name("y.test")),
            record("y.test", MX, 60, &[&[0, 10][..], &name("mail.test")].concat()),
        ])
    }
    let at = serve(|q| {
        let (mut message, turn) = (whole(q), TURN.load(Ordering::SeqCst));
        let (place, how) = (turn / 5, turn % 5);
        // The id is another row's.
        match how {
            4 => message.truncate(place),
            how if place > 1 => message[place] = [0, 0xff, message[place] ^ 0x80, message[place].wrapping_add(1)][how],
            _ => {}
        }
        vec![message]
    });
    let net = net(&["--allow-net"]);
    let length = 12 + 8 + 4 + 2 * (8 + 10) + 8 + 13;
    let mut classes = std::collections::BTreeSet::new();
    for turn in 0..length * 5 {
        TURN.store(turn, Ordering::SeqCst);
        let mut question = question("x.test", "mx", &at);
        // Over TCP nothing is sent again, and each row is quick.
        question.tcp = turn % 2 == 1;
        let started = Instant::now();
        let answer = Names::default().resolve(&net, &question, &Deadline::after(Duration::from_millis(50)));
        assert!(started.elapsed() < Duration::from_secs(2), "turn {turn}");
        if let Err(e) = &answer {
            let known = matches!(
                e.kind(),
                Kind::Protocol | Kind::DnsFailure | Kind::Timeout | Kind::ConnectionReset | Kind::TooLarge
            );
            assert!(known, "turn {turn}: {e}");
        }
        classes.insert(answer.err().map(|e| e.kind().word()));
    }
    assert!(classes.len() > 2, "{classes:?}");
}

#[test]
fn the_cache() {
    let script: Script = |q| {
        vec![match &*q.name {
            "kept.test" => q.a([192, 0, 2, u8::try_from(q.nth).unwrap()]),
            "brief.test" => q.answer(&[record(&q.name, A, 0, &[192, 0, 2, u8::try_from(q.nth).unwrap()])]),
            "none.test" => q.reply(NXDOMAIN, &[], &[soa("test", 60)]),
            "unsaid.test" => q.reply(NXDOMAIN, &[], &[]),
            _ => q.reply(SERVFAIL, &[], &[]),
        }]
    };
    // name, queries of the first call, of the second
    let rows = [("kept.test", 1, 0), ("brief.test", 1, 1), ("none.test", 1, 0), ("unsaid.test", 1, 1)];
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
        assert_eq!((asked, again == answer), (second, second == 0 || host == "unsaid.test"), "{host}");
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
    let mute = serve(|q| if q.tcp { vec![] } else { vec![q.reply(TRUNCATED, &[], &[])] });
    let started = Instant::now();
    let half = Deadline::after(Duration::from_millis(500));
    assert_eq!(show(names.resolve(&net, &question("x.test", "a", &mute), &half)), "!timeout");
    assert!(started.elapsed() < Duration::from_secs(2));
    // Ctrl-C.
    thread::scope(|scope| {
        scope.spawn(|| {
            set_probe(|| true);
            let started = Instant::now();
            let answer = Names::default().resolve(&net, &question("x.test", "a", &mute), &Deadline::never());
            assert_eq!(show(answer), "!socket");
            assert!(started.elapsed() < Duration::from_secs(2));
        });
    });
    // A literal is its own answer.
    let literal = |kind: &str, ip: &str| show(names.resolve(&net, &question(ip, kind, &mute), &half));
    assert_eq!(literal("", "::ffff:10.0.0.1"), "10.0.0.1");
    assert_eq!(literal("aaaa", "10.0.0.1"), "!dns_failure");
    assert_eq!(literal("a", "10.0.0.1"), "10.0.0.1");
}
