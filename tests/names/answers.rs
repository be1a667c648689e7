//! What a name server says, and what must come of it.

use crate::{ask, names_support::*, net, question};
use caspian_net::{deadline::Deadline, error::Kind, names::Names};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

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
        // RFC 2317.
        (
            "cname",
            |q| vec![q.answer(&[record("x.test", CNAME, 60, &name("1.0/25.2.0.192.in-addr.arpa"))])],
            "1.0/25.2.0.192.in-addr.arpa",
        ),
        ("ns", |q| vec![q.answer(&[record("x.test", NS, 60, &name("-N_s.test"))])], "-n_s.test"),
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
        // The largest numbers (RFC 1035 section 3.3.13: unsigned, of 32 bits).
        (
            "soa",
            |q| {
                vec![q.answer(&[record(
                    "x.test",
                    SOA,
                    60,
                    &[&name("a.test")[..], &name("b.test"), &[255; 20]].concat(),
                )])]
            },
            "Soa { mname: \"a.test\", rname: \"b.test\", serial: 4294967295, refresh: 4294967295, retry: 4294967295, expire: 4294967295, minimum: 4294967295 }",
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
        (
            "the question in capitals",
            "a",
            |q| {
                vec![{
                    let mut m = q.a([192, 0, 2, 1]);
                    m[12..12 + name("x.test").len()].make_ascii_uppercase();
                    m
                }]
            },
            "192.0.2.1",
        ),
        (
            "another question, then the answer",
            "a",
            |q| {
                let mut other = q.a([6, 6, 6, 6]);
                other[13] = b'y';
                vec![other, q.a([192, 0, 2, 1])]
            },
            "192.0.2.1",
        ),
        (
            "a question about another type, then the answer",
            "a",
            |q| {
                let mut other = q.a([6, 6, 6, 6]);
                other[12 + name("x.test").len() + 1] = 28;
                vec![other, q.a([192, 0, 2, 1])]
            },
            "192.0.2.1",
        ),
        (
            "no question, then the answer",
            "a",
            |q| {
                let bare = [&q.id[..], &[0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
                let nonsense = [&q.id[..], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
                vec![bare, nonsense, q.a([192, 0, 2, 1])]
            },
            "192.0.2.1",
        ),
        (
            "cut off before the end of the question, at every place, then the answer",
            "a",
            |q| {
                let m = q.a([192, 0, 2, 1]);
                (0..12 + q.question.len()).map(|end| m[..end].to_vec()).chain([m.clone()]).collect()
            },
            "192.0.2.1",
        ),
        (
            "malformed, with another id, then the answer",
            "a",
            |q| {
                let mut other = q.a([6, 6, 6, 6]);
                other[1] ^= 1;
                other.pop();
                vec![other, q.a([192, 0, 2, 1])]
            },
            "192.0.2.1",
        ),
        (
            "a code that nobody knows",
            "a",
            |q| vec![q.reply(12, &[record("x.test", A, 60, &[6, 6, 6, 6])], &[])],
            "!dns_failure",
        ),
        (
            "more than the smallest datagram may have",
            "txt",
            |q| vec![q.answer(&vec![record("x.test", TXT, 60, &[&[200][..], &[b'x'; 200]].concat()); 200])],
            // Each record once.
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
             xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        ("strays without end", "a", |_| vec![vec![0; 12]; 200_000], "!timeout"),
        (
            "strays without end, over TCP",
            "a",
            |q| if q.tcp { vec![vec![0; 12]; 200_000] } else { vec![q.reply(TRUNCATED, &[], &[])] },
            "!timeout",
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
