//! Configurations, servers, a name, and what must come of it.

use super::{SERVERS, Says, inside, names_support::*, net, ours, show, system, world};
use caspian_net::names::Names;
use std::{
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const REFUSED: u16 = 5;
const NOTIMP: u16 = 4;
const FORMERR: u16 = 1;

/// Knows these names as 192.0.2.N; 0: the name exists, and has no address. All others do not exist.
fn knows(zone: &'static [(&str, u8)]) -> Says {
    Arc::new(move |q| {
        vec![match zone.iter().find(|(name, _)| q.name.eq_ignore_ascii_case(name)) {
            Some((_, 0)) => q.reply(0, &[], &[soa("test", 60)]),
            Some((_, number)) if q.kind == A => q.a([192, 0, 2, *number]),
            Some(_) => q.reply(0, &[], &[soa("test", 60)]),
            None => q.reply(NXDOMAIN, &[], &[soa("test", 60)]),
        }]
    })
}

/// The same, but for some names another answer.
fn but(other: Says, names: &'static [&str], zone: &'static [(&str, u8)]) -> Says {
    let known = knows(zone);
    Arc::new(move |q| if names.contains(&&*q.name) { other(q) } else { known(q) })
}

fn says(code: u16) -> Says {
    Arc::new(move |q| vec![q.reply(code, &[], &[])])
}

/// NXDOMAIN, and an address beside it.
fn no_and_yes() -> Says {
    Arc::new(|q| {
        let answers = [record(&q.name, A, 60, &[192, 0, 2, 1])];
        vec![q.reply(NXDOMAIN, if q.kind == A { &answers } else { &[] }, &[])]
    })
}

fn silent() -> Says {
    Arc::new(|_| Vec::new())
}

/// Has only other servers' names to give, without recursion.
fn lame() -> Says {
    Arc::new(|q| {
        let mut message = q.reply(0, &[], &[record("test", NS, 60, &name("ns.test"))]);
        message[3] &= 0x7f;
        vec![message]
    })
}

/// Each question fails once.
fn fails_first(zone: &'static [(&str, u8)]) -> Says {
    let (count, known) = (AtomicUsize::new(0), knows(zone));
    Arc::new(move |q| match count.fetch_add(1, Ordering::SeqCst) {
        // A and AAAA of the first round, of each of the two resolvers.
        0 | 1 => vec![q.reply(SERVFAIL, &[], &[])],
        3 => {
            count.store(0, Ordering::SeqCst);
            known(q)
        }
        _ => known(q),
    })
}

/// One answer to A, another to AAAA.
fn by_kind(a: Says, aaaa: Says) -> Says {
    Arc::new(move |q| if q.kind == A { a(q) } else { aaaa(q) })
}

fn late(says: Says) -> Says {
    Arc::new(move |q| {
        thread::sleep(Duration::from_millis(50));
        says(q)
    })
}

/// Says the one to a question with an OPT record, the other to one without.
fn by_edns(with: Says, without: Says) -> Says {
    Arc::new(move |q| if q.edns { with(q) } else { without(q) })
}

/// Over UDP, and over TCP.
fn by_way(udp: Says, tcp: Says) -> Says {
    Arc::new(move |q| if q.tcp { tcp(q) } else { udp(q) })
}

/// Does not read on after the head of a question.
fn nonsense() -> Says {
    Arc::new(|q| vec![[&q.id[..], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat()])
}

struct Row {
    what: &'static str,
    /// The file, `N` being the address of the N-th server, 9 one where nobody is, 8 one that has no route.
    conf: &'static str,
    says: Vec<Says>,
    host: &'static str,
    expected: &'static str,
    /// Who was asked for what, each once: the same of both resolvers. Empty: not looked at.
    asked: &'static str,
}

fn row(
    what: &'static str,
    conf: &'static str,
    says: &[Says],
    host: &'static str,
    expected: &'static str,
    asked: &'static str,
) -> Row {
    Row { what, conf, says: says.to_vec(), host, expected, asked }
}

const WEB: &[(&str, u8)] = &[("web.test", 1)];
const TWO: &str = "nameserver 1\nnameserver 2\noptions timeout:1 attempts:1";
const EDNS: &str = "nameserver 1\nnameserver 2\noptions edns0 timeout:1 attempts:1";
const SEARCH: &str = "nameserver 1\nsearch a.test b.test\noptions timeout:1 attempts:1";

fn rows() -> Vec<Row> {
    let web = || knows(WEB);
    let none = || knows(&[]);
    vec![
        // The order of the servers.
        row("the first knows", TWO, &[web(), none()], "web.test", "192.0.2.1", "1 web.test"),
        row("the first knows, and is slower", TWO, &[late(web()), none()], "web.test", "192.0.2.1", "1 web.test"),
        row(
            "the first says no, and that is an answer",
            TWO,
            &[none(), web()],
            "web.test",
            "!dns_failure",
            "1 web.test",
        ),
        row("no such name, and its address", TWO, &[no_and_yes(), web()], "web.test", "!dns_failure", "1 web.test"),
        row(
            "nothing of that kind is an answer",
            TWO,
            &[knows(&[("web.test", 0)]), web()],
            "web.test",
            "!dns_failure",
            "1 web.test",
        ),
        row("the first fails", TWO, &[says(SERVFAIL), web()], "web.test", "192.0.2.1", "1 web.test, 2 web.test"),
        row("the first refuses", TWO, &[says(REFUSED), web()], "web.test", "192.0.2.1", "1 web.test, 2 web.test"),
        row("the first cannot", TWO, &[says(NOTIMP), web()], "web.test", "192.0.2.1", "1 web.test, 2 web.test"),
        row("the first takes it for nonsense", TWO, &[says(FORMERR), web()], "web.test", "!dns_failure", "1 web.test"),
        row("the first is silent", TWO, &[silent(), web()], "web.test", "192.0.2.1", "1 web.test, 2 web.test"),
        row("the first is lame", TWO, &[lame(), web()], "web.test", "192.0.2.1", "1 web.test, 2 web.test"),
        row(
            "the first is not there",
            "nameserver 9\nnameserver 2\noptions timeout:30",
            &[none(), web()],
            "web.test",
            "192.0.2.1",
            "2 web.test",
        ),
        row("the second says no", TWO, &[says(SERVFAIL), none()], "web.test", "!dns_failure", "1 web.test, 2 web.test"),
        row("all fail", TWO, &[says(SERVFAIL), says(REFUSED)], "web.test", "!dns_failure", "1 web.test, 2 web.test"),
        row(
            "nobody is there",
            "nameserver 9\nnameserver 9\nsearch a.test\noptions timeout:30",
            &[],
            "web.test",
            "!dns_failure",
            "",
        ),
        row(
            "the third knows",
            "nameserver 1\nnameserver 2\nnameserver 3\noptions timeout:1 attempts:1",
            &[silent(), says(REFUSED), web()],
            "web.test",
            "192.0.2.1",
            "1 web.test, 2 web.test, 3 web.test",
        ),
        row(
            "the fourth is not asked",
            "nameserver 1\nnameserver 2\nnameserver 3\nnameserver 4\noptions attempts:1",
            &[says(SERVFAIL), says(SERVFAIL), says(SERVFAIL), web()],
            "web.test",
            "!dns_failure",
            "1 web.test, 2 web.test, 3 web.test",
        ),
        row(
            "a second round",
            "nameserver 1\noptions attempts:2",
            &[fails_first(WEB)],
            "web.test",
            "192.0.2.1",
            "1 web.test",
        ),
        row(
            "no server is named",
            "options attempts:1",
            &[none(), none(), none(), none(), web()],
            "web.test",
            "192.0.2.1",
            "5 web.test",
        ),
        // The two families.
        row("one family fails", TWO, &[by_kind(web(), says(SERVFAIL)), none()], "web.test", "192.0.2.1", "1 web.test"),
        row(
            "the other family fails",
            TWO,
            &[by_kind(says(SERVFAIL), knows(&[("web.test", 0)])), web()],
            "web.test",
            "!dns_failure",
            "1 web.test",
        ),
        row(
            "no AAAA",
            "nameserver 1\noptions no-aaaa",
            &[by_kind(web(), Arc::new(|q| vec![q.answer(&[record(&q.name, AAAA, 60, &[1; 16])])]))],
            "web.test",
            "192.0.2.1",
            "",
        ),
        // The search list.
        row(
            "the second domain",
            SEARCH,
            &[knows(&[("web.b.test", 2)])],
            "web",
            "192.0.2.2",
            "1 web.a.test, 1 web.b.test",
        ),
        row(
            "the first domain",
            SEARCH,
            &[knows(&[("web.a.test", 1), ("web.b.test", 2)])],
            "web",
            "192.0.2.1",
            "1 web.a.test",
        ),
        row(
            "a failure does not end the search",
            SEARCH,
            &[but(says(SERVFAIL), &["web.a.test"], &[("web.b.test", 2)])],
            "web",
            "192.0.2.2",
            "1 web.a.test, 1 web.b.test",
        ),
        row(
            "a failure, and nothing",
            SEARCH,
            &[but(says(SERVFAIL), &["web.a.test"], &[])],
            "web",
            "!dns_failure",
            "1 web.a.test, 1 web.b.test, 1 web",
        ),
        row(
            "a refusal ends it, but for the name itself",
            SEARCH,
            &[but(says(REFUSED), &["web.a.test"], &[("web.b.test", 2), ("web", 3)])],
            "web",
            "192.0.2.3",
            "1 web.a.test, 1 web",
        ),
        row(
            "silence ends it, but for the name itself",
            SEARCH,
            &[but(silent(), &["web.a.test"], &[("web.b.test", 2), ("web", 3)])],
            "web",
            "192.0.2.3",
            "1 web.a.test, 1 web",
        ),
        row(
            "no address there",
            SEARCH,
            &[knows(&[("web.a.test", 0), ("web.b.test", 2)])],
            "web",
            "192.0.2.2",
            "1 web.a.test, 1 web.b.test",
        ),
        row(
            "the name itself last",
            SEARCH,
            &[knows(&[("web", 3)])],
            "web",
            "192.0.2.3",
            "1 web.a.test, 1 web.b.test, 1 web",
        ),
        row(
            "a dot: the name itself first",
            SEARCH,
            &[knows(&[("web.x", 3), ("web.x.a.test", 1)])],
            "web.x",
            "192.0.2.3",
            "1 web.x",
        ),
        row(
            "a dot: the domains after it",
            SEARCH,
            &[knows(&[("web.x.b.test", 2)])],
            "web.x",
            "192.0.2.2",
            "1 web.x, 1 web.x.a.test, 1 web.x.b.test",
        ),
        row(
            "the name itself fails",
            SEARCH,
            &[but(says(SERVFAIL), &["web.x"], &[("web.x.a.test", 1)])],
            "web.x",
            "192.0.2.1",
            "1 web.x, 1 web.x.a.test",
        ),
        row(
            "the name itself is refused",
            SEARCH,
            &[but(says(REFUSED), &["web.x"], &[("web.x.a.test", 1)])],
            "web.x",
            "192.0.2.1",
            "1 web.x, 1 web.x.a.test",
        ),
        row(
            "ndots:2",
            "nameserver 1\nsearch a.test\noptions ndots:2",
            &[knows(&[("web.x", 3), ("web.x.a.test", 1)])],
            "web.x",
            "192.0.2.1",
            "1 web.x.a.test",
        ),
        row(
            "ndots:0",
            "nameserver 1\nsearch a.test\noptions ndots:0",
            &[knows(&[("web", 3), ("web.a.test", 1)])],
            "web",
            "192.0.2.3",
            "1 web",
        ),
        row(
            "the root in the list",
            "nameserver 1\nsearch a.test . b.test",
            &[knows(&[("web.b.test", 2)])],
            "web",
            "192.0.2.2",
            "1 web.a.test, 1 web, 1 web.b.test",
        ),
        row(
            "no-tld-query",
            "nameserver 1\nsearch a.test\noptions no-tld-query",
            &[knows(&[("web", 3)])],
            "web",
            "!dns_failure",
            "1 web.a.test",
        ),
        row(
            "domain",
            "nameserver 1\nsearch b.test\ndomain a.test",
            &[knows(&[("web.a.test", 1)])],
            "web",
            "192.0.2.1",
            "1 web.a.test",
        ),
        row(
            "both: the next server for the same domain",
            "nameserver 1\nnameserver 2\nsearch a.test b.test",
            &[says(SERVFAIL), knows(&[("web.a.test", 1)])],
            "web",
            "192.0.2.1",
            "1 web.a.test, 2 web.a.test",
        ),
        row(
            "a line that is none",
            "bogus\nnameserver x y\n nameserver 2\nnameserver 1 # one\nsearch a.test",
            &[knows(&[("web.a.test", 1)]), none()],
            "web",
            "192.0.2.1",
            "1 web.a.test",
        ),
        // EDNS, and servers that do not know it.
        row("no EDNS", TWO, &[by_edns(none(), web())], "web.test", "192.0.2.1", "1 web.test"),
        row("EDNS", EDNS, &[by_edns(web(), none())], "web.test", "192.0.2.1", "1 web.test"),
        row(
            "EDNS is nonsense",
            EDNS,
            &[by_edns(says(FORMERR), web()), web()],
            "web.test",
            "!dns_failure",
            "1 web.test",
        ),
        row(
            "EDNS, and no question back",
            EDNS,
            &[nonsense(), web()],
            "web.test",
            "192.0.2.1",
            "1 web.test, 2 web.test",
        ),
        // TCP.
        row("cut off", TWO, &[by_way(says(TRUNCATED), web())], "web.test", "192.0.2.1", "1 web.test"),
        row(
            "one of both is cut off",
            TWO,
            &[by_way(by_kind(says(TRUNCATED), silent()), web())],
            "web.test",
            "192.0.2.1",
            "1 web.test",
        ),
        row(
            "TCP alone",
            "nameserver 1\noptions use-vc",
            &[by_way(none(), web())],
            "web.test",
            "192.0.2.1",
            "1 web.test",
        ),
        // A link-local address.
        row(
            "on a link",
            "nameserver 6",
            &[none(), none(), none(), none(), none(), web()],
            "web.test",
            "192.0.2.1",
            "6 web.test",
        ),
        // The dot at the end.
        row("absolute", SEARCH, &[knows(&[("web.a.test", 1)])], "web.", "!dns_failure", "1 web"),
        row(
            "absolute, with a dot",
            "nameserver 1\nsearch a.test\noptions ndots:5",
            &[knows(&[("web.x", 3), ("web.x.a.test", 1)])],
            "web.x.",
            "192.0.2.3",
            "1 web.x",
        ),
        row("absolute, and fails", SEARCH, &[says(SERVFAIL)], "web.", "!dns_failure", "1 web"),
        // The hosts file.
        row("of the hosts file", SEARCH, &[none()], "INHOSTS", "10.9.9.9", ""),
        row("the hosts file has no dot", SEARCH, &[none()], "inhosts.", "!dns_failure", "1 inhosts"),
        row("the hosts file has the dot", SEARCH, &[none()], "dotted.", "10.9.9.8", ""),
        // Nobody is asked, and nobody could say otherwise.
        row(
            "localhost",
            SEARCH,
            &[knows(&[("localhost", 1), ("localhost.a.test", 1)])],
            "localhost",
            "127.0.0.1 ::1",
            "nobody",
        ),
        row("localhost, absolute", SEARCH, &[knows(&[("localhost", 1)])], "LOCALHOST.", "127.0.0.1 ::1", "nobody"),
        row("below localhost", SEARCH, &[knows(&[("a.b.localhost", 1)])], "a.b.localhost", "127.0.0.1 ::1", "nobody"),
        row(
            "no route to the server",
            "nameserver 8\noptions timeout:1 attempts:1",
            &[],
            "web.test",
            "!dns_failure",
            "",
        ),
        row("localhost without servers", "nameserver 9", &[], "x.localhost.", "127.0.0.1 ::1", "nobody"),
        row(
            "no localhost",
            SEARCH,
            &[knows(&[("notlocalhost", 3)])],
            "notlocalhost",
            "192.0.2.3",
            "1 notlocalhost.a.test, 1 notlocalhost.b.test, 1 notlocalhost",
        ),
    ]
}

/// The file, with addresses for the numbers of servers.
fn conf(text: &str, number: usize) -> String {
    let line = |line: &str| match line.split_once("nameserver ") {
        Some((before, rest)) => {
            let (digit, after) = rest.split_at(1);
            let address = match digit.parse::<usize>() {
                Ok(9) => "127.1.0.9",
                Ok(8) => "192.0.2.53",
                Ok(number) => SERVERS[number - 1],
                Err(_) => digit,
            };
            format!("{before}nameserver {address}{after}\n")
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect::<String>() + &format!("# {number}\n")
}

#[test]
fn both_resolvers_agree() {
    inside("table::rows_in_a_namespace");
}

#[test]
#[ignore = "run by both_resolvers_agree, in a network namespace"]
fn rows_in_a_namespace() {
    let Some(world) = world() else { return };
    // One resolver for all rows: the file changes between two questions.
    let (net, names, mut wrong) = (net(&["--allow-net"]), Names::default(), String::new());
    for (number, row) in rows().into_iter().enumerate() {
        world.furnish(&conf(row.conf, number), &row.says);
        let before = Instant::now();
        let theirs = show(system(&net, row.host, 20.0));
        let (asked, took) = (world.take(), before.elapsed());
        let own = show(ours(&names, &net, row.host));
        let (own_asked, own_took) = (world.take(), before.elapsed() - took);
        let seen = format!("system {theirs} {asked:?} {took:?}, ours {own} {own_asked:?} {own_took:?}");
        let expected: Vec<_> = match row.asked {
            "" | "nobody" => Vec::new(),
            list => list.split(", ").map(str::to_owned).collect(),
        };
        if theirs != row.expected || own != row.expected || asked != own_asked {
            wrong += &format!("{}: expected {}; {seen}\n", row.what, row.expected);
        } else if !row.asked.is_empty() && asked != expected {
            wrong += &format!("{}: expected {expected:?}; {seen}\n", row.what);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// A server of other people's, ended with the test.
struct Dnsmasq(Child);

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn real_servers() {
    inside("table::dnsmasq_in_a_namespace");
}

/// dnsmasq refuses what is not in its zone: an old habit of home routers.
#[test]
#[ignore = "run by real_servers, in a network namespace"]
fn dnsmasq_in_a_namespace() {
    let Some(world) = world() else { return };
    let start = |address: &str, zone: &[&str]| {
        let mut dnsmasq = Command::new("dnsmasq");
        dnsmasq.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        ]);
        dnsmasq.args(["--no-daemon", "--log-facility=/dev/null", "--user=", "--group=", "--pid-file="]);
        dnsmasq.arg(format!("--listen-address={address}")).arg("--except-interface=none");
        Dnsmasq(dnsmasq.args(zone).spawn().expect("dnsmasq"))
    };
    let _one = start("127.2.0.1", &["--host-record=one.test,192.0.2.1", "--host-record=both.test,192.0.2.3"]);
    let _two = start(
        "127.2.0.2",
        &["--host-record=two.test,192.0.2.2", "--local=/test/", "--host-record=both.test,192.0.2.4"],
    );
    world.furnish("nameserver 127.2.0.1\nnameserver 127.2.0.2\nsearch test\noptions timeout:1 attempts:5\n", &[]);
    let (net, names) = (net(&["--allow-net"]), Names::default());
    // They are there when the first name is found.
    let begun = Instant::now();
    while show(system(&net, "two.test", 5.0)) != "192.0.2.2" {
        assert!(begun.elapsed() < Duration::from_secs(20), "dnsmasq does not answer");
        thread::sleep(Duration::from_millis(20));
    }
    let rows = [
        ("one.test", "192.0.2.1"),
        ("two.test", "192.0.2.2"),
        ("two", "192.0.2.2"),
        ("both", "192.0.2.3"),
        ("two.", "!dns_failure"),
        ("none.test", "!dns_failure"),
    ];
    for (host, expected) in rows {
        for _ in 0..20 {
            assert_eq!(show(ours(&Names::default(), &net, host)), expected, "{host}");
        }
        assert_eq!(show(ours(&names, &net, host)), expected, "{host}");
        assert_eq!(show(system(&net, host, 20.0)), expected, "{host}, the system");
    }
}
