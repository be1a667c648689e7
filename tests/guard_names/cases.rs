//! The rows of `data/cases.tsv` about answers of name servers: each is said by a server, and the guard does what it says.

use super::{HERE, THERE, World, a, names_support::*, short, tables, world};
use caspian_net::{
    client::pool::Pool,
    deadline::Deadline,
    grants::Grants,
    names::{Names, Question, Type, server},
    net::Net,
};
use std::{
    collections::BTreeSet,
    env, fs,
    net::IpAddr,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Rows that are held elsewhere, and by what.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "D033",
        "addresses that were permitted are what connect(2) is given: there is no other way to a connection (src/dial.rs)",
    ),
    ("D037", "policies are the front's: spec/guard_network_spec.lua"),
];

/// HTTPS (RFC 9460), whose hints are addresses.
const HTTPS: u16 = 65;

/// The records of `A 1.2.3.4, AAAA ::1, CNAME x.test. A 1.2.3.4` for one question.
fn said(q: &Asked, text: &str) -> Vec<u8> {
    let (mut owner, mut records) = (q.name.clone(), Vec::new());
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    while let (Some(kind), Some(data)) = (words.next(), words.next()) {
        match (kind, q.kind) {
            ("CNAME", _) => {
                records.push(record(&owner, CNAME, 60, &name(data)));
                owner = data.trim_end_matches('.').into();
            }
            ("A", A) => records.push(record(&owner, A, 60, &ip::<4>(data))),
            ("AAAA", AAAA) => records.push(record(&owner, AAAA, 60, &ip::<16>(data))),
            _ => {}
        }
    }
    q.answer(&records)
}

fn ip<const N: usize>(text: &str) -> [u8; N] {
    let octets = match text.parse().unwrap_or_else(|e| panic!("{text}: {e}")) {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    octets.try_into().unwrap()
}

fn get(world: &World, host: &str) -> String {
    short(world.fetch_from(host, &Pool::new(), &world.options(), 2.0))
}

/// A server's script for the rows that are no list of addresses.
fn script(id: &str) -> Script {
    match id {
        "D016" => |q| {
            if !q.tcp {
                return vec![q.reply(TRUNCATED, &[], &[])];
            }
            let links: Vec<_> =
                (0..20).map(|n| record(&format!("c{n}.test"), CNAME, 60, &name(&format!("c{}.test", n + 1)))).collect();
            let first = record(&q.name, CNAME, 60, &name("c0.test"));
            vec![q.answer(&[vec![first], links, vec![record("c20.test", A, 60, &HERE)]].concat())]
        },
        "D017" => |q| {
            vec![q.answer(&[
                record(&q.name, CNAME, 60, &name("loop.test")),
                record("loop.test", CNAME, 60, &name(&q.name)),
            ])]
        },
        "D018" => |q| vec![q.answer(&[])],
        "D020" => |q| vec![if q.nth < 2 { q.reply(SERVFAIL, &[], &[]) } else { a(q, &[HERE], 60) }],
        "D021" => |_| Vec::new(),
        "D023" => |q| vec![if q.tcp { a(q, &[HERE], 60) } else { q.reply(TRUNCATED, &[], &[]) }],
        "D024" => |q| {
            let record = |kind, data: &[u8]| q.answer(&[record("other.example", kind, 60, data)]);
            vec![if q.kind == A { record(A, &HERE) } else { record(AAAA, &[1; 16]) }]
        },
        "D031" => |q| vec![said(q, "AAAA 2606:4700::1, A 10.0.0.1")],
        "D042" => |q| vec![said(q, "A 169.254.3.4")],
        "D043" => |q| {
            let mut all = vec![record(&q.name, HTTPS, 60, &[&[0, 1][..], &name("elsewhere.test")].concat())];
            all.push(record(&q.name, SRV, 60, &[&[0, 1, 0, 1, 0, 80][..], &name("elsewhere.test")].concat()));
            all.extend((q.kind == A).then(|| record(&q.name, A, 60, &HERE)));
            vec![q.answer(&all)]
        },
        // Priority 1, the name itself, SvcParam 4 (ipv4hint) of four bytes.
        "D044" => |q| {
            let mut all = vec![record(&q.name, HTTPS, 60, &[&[0, 1, 0, 0, 4, 0, 4][..], &THERE].concat())];
            all.extend((q.kind == A).then(|| record(&q.name, A, 60, &HERE)));
            vec![q.answer(&all)]
        },
        _ => |q| vec![a(q, &[HERE], 60)],
    }
}

/// What a row comes to: `allow`, or the class of the error.
fn outcome(id: &str, input: &str) -> String {
    let host = if id == "D042" { "svc.local" } else { "svc.example" };
    let reached = |world: &World, answer: String| {
        assert_eq!(world.reached(), usize::from(answer == "one"), "{id}: {answer}");
        if answer == "one" { "allow".to_owned() } else { answer.trim_start_matches('!').to_owned() }
    };
    match id {
        "D032" => {
            let world = world(|q| vec![a(q, &[if q.nth < 2 { HERE } else { [10, 0, 0, 1] }], 0)]);
            let (pool, options) = (Pool::new(), world.options());
            assert_eq!(short(world.fetch_from(host, &pool, &options, 2.0)), "one");
            pool.empty();
            let again = short(world.fetch_from(host, &pool, &options, 2.0));
            assert_eq!(world.reached(), 1);
            again.trim_start_matches('!').into()
        }
        // Without a guard a name that was granted may be anywhere.
        "D035" | "D036" => {
            let mut world = world(script(id));
            // And, for itself, the name server.
            let flags = [format!("--allow-net={host}"), format!("--allow-net={}", world.dns.address)];
            world.net = Net::new(Grants::parse(&flags).unwrap()).unwrap();
            let asked = if id == "D036" { "other.example" } else { host };
            let answer = get(&world, asked);
            assert!(id == "D035" || world.asked() == 0, "{id}: a packet");
            reached(&world, answer)
        }
        // As it is written, and nothing else.
        "D039" => {
            let names = Arc::new(Mutex::new(BTreeSet::new()));
            let seen = Arc::clone(&names);
            let world = world(move |q| {
                seen.lock().unwrap().insert(q.name.clone());
                vec![a(q, &[HERE], 60)]
            });
            let answer = get(&world, host);
            assert_eq!((world.asked(), &*names.lock().unwrap()), (2, &BTreeSet::from([host.to_owned()])));
            reached(&world, answer)
        }
        // The one name that every hosts file has.
        "D040" => {
            let mut world = world(script(id));
            let fence = Grants::fenced::<&str>(Some(&[])).unwrap();
            world.net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap().narrow(&fence).unwrap();
            let answer = get(&world, "localhost");
            assert_eq!(world.asked(), 0);
            reached(&world, answer)
        }
        "D041" => {
            let aliases = env::temp_dir().join(format!("caspian-net-aliases-{}", std::process::id()));
            fs::write(&aliases, "svc.example other.example\nsvc other.example\n").unwrap();
            let child = Command::new(env::current_exe().unwrap())
                .args(["--exact", "cases::ignored_environment", "--ignored", "--nocapture"])
                .env("HOSTALIASES", &aliases)
                .env("RES_OPTIONS", "ndots:9 attempts:1")
                .env("LOCALDOMAIN", "evil.example")
                .output()
                .unwrap();
            fs::remove_file(&aliases).unwrap();
            let text = String::from_utf8_lossy(&child.stdout);
            if child.status.success() && text.contains("1 passed") { "allow".into() } else { text.into_owned() }
        }
        "D045" | "D047" => {
            let at = serve(|q| {
                vec![match q.kind {
                    PTR => q.answer(&[record(&q.name, PTR, 60, b"\x03a\0b\0")]),
                    _ => q.answer(&[record(&q.name, TXT, 60, b"\x02ok")]),
                }]
            });
            let ask = |host: &str, kind: &str| {
                let mut question = Question::new("resolve", host).unwrap();
                question.kind = Some(Type::parse(kind).ok_or("no such type")?);
                question.server = Some(server(&at.address.to_string()).unwrap());
                let net = Net::new(Grants::parse(&["--allow-net"]).unwrap()).unwrap();
                let deadline = Deadline::after(Duration::from_secs(2));
                match kind {
                    "ptr" => Names::default().reverse(&net, &question, &deadline).map(drop),
                    _ => Names::default().resolve(&net, &question, &deadline).map(drop),
                }
                .map_err(|err| err.kind().word())
            };
            if id == "D045" {
                return ask("192.0.2.1", "ptr").map_or_else(str::to_owned, |()| "allow".into());
            }
            assert_eq!(ask(host, "any"), Err("no such type"));
            ask(host, "txt").map_or_else(str::to_owned, |()| "allow".into())
        }
        _ => {
            let list = input.split_once("-> ").map(|(_, list)| list.to_owned());
            let listed =
                list.filter(|list| list.starts_with("A ") || list.starts_with("AAAA ") || list.contains(". A "));
            let world = match listed {
                // 127.0.0.1 is open here, for the name server's sake: another loopback address stands for it.
                Some(list) => world(move |q| vec![said(q, &list.replace("127.0.0.1", "127.0.0.2"))]),
                None => world(script(id)),
            };
            let answer = get(&world, host);
            assert!(world.asked() > 0, "{id}: nobody was asked");
            reached(&world, answer)
        }
    }
}

#[test]
fn rows_about_name_servers() {
    let (mut count, mut wrong) = (0, String::new());
    for row in tables::rows(include_str!("../data/cases.tsv")) {
        let [id, "dns", input, _, expected, why] = row[..] else { continue };
        count += 1;
        if ELSEWHERE.iter().any(|(known, _)| *known == id) {
            continue;
        }
        let got = outcome(id, &tables::text(input));
        let class = expected.rsplit(':').next().unwrap();
        if got != class {
            wrong += &format!("{id} {input}: {got}, expected {expected} ({why})\n");
        }
    }
    assert_eq!(count, 28);
    assert!(wrong.is_empty(), "{wrong}");
}

/// Run by the row D041, in an environment that the system's resolver would follow.
#[test]
#[ignore = "part of the row D041"]
fn ignored_environment() {
    assert!(env::var_os("HOSTALIASES").is_some());
    let world = world(|q| vec![if q.name == "svc.example" { a(q, &[HERE], 60) } else { a(q, &[THERE], 60) }]);
    assert_eq!((get(&world, "svc.example"), world.asked()), ("one".into(), 2));
}
