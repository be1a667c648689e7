//! What one question to the gate costs, with 1 grant and with 100,000: `cargo bench --bench grants`.
//!
//! "hot" asks about the same 256 hosts again and again, as a program does; "cold" asks about each of the 100,000 once
//! before any of them again, so that both the question and the answer come from far memory: the worst there is.

use caspian_net::{
    address::Host,
    grants::{Granted, Grants},
};
use std::{
    hint::black_box,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Checks in a round: short, so that most rounds are not interrupted.
const ROUND: usize = 1 << 14;
const ROUNDS: usize = 201;
/// Grants, and the hosts that are asked about.
const SIZES: [(usize, usize); 3] = [(1, 1), (100_000, 256), (100_000, 100_000)];

fn main() {
    println!("{:40} {:>8} {:>12} {:>13}", "ns per check (median round)", "1", "100,000 hot", "100,000 cold");
    type Question<'a> = (&'a str, fn(usize) -> String, fn(usize) -> String);
    let questions: [Question<'_>; 7] = [
        ("name, granted", |i| format!("host{i}.example.com:443"), |i| format!("host{i}.example.com")),
        ("name, port refused (no message)", |i| format!("host{i}.example.com:80"), |i| format!("host{i}.example.com")),
        (
            "name, host refused (no message)",
            |i| format!("host{i}.example.com:443"),
            |i| format!("other{i}.example.com"),
        ),
        ("*.name, granted", |i| format!("*.zone{i}.example.com:443"), |i| format!("a.zone{i}.example.com")),
        ("**.name, granted", |i| format!("**.zone{i}.example.com:443"), |i| format!("a.b.c.zone{i}.example.com")),
        ("address, granted", |i| format!("{}:443", ipv4(i)), |i| ipv4(i).to_string()),
        ("block, granted", |i| format!("[{}]/48:443", ipv6(i, 0)), |i| ipv6(i, 1).to_string()),
    ];
    for (what, rule, host) in questions {
        let costs = SIZES.map(|(size, asked)| {
            let flags: Vec<String> = (0..size).map(|i| format!("--allow-net={}", rule(i))).collect();
            let hosts = hosts(size, asked, host);
            let gate = Grants::parse(&flags).expect("flags");
            cost(&hosts, |host| gate.allows(host, 443))
        });
        print(what, costs);
    }

    // The whole way of a connection, with proofs: by name, then the address, under a deny list.
    let costs = SIZES.map(|(size, asked)| {
        let mut flags: Vec<String> = (0..size).map(|i| format!("--allow-net=host{i}.example.com:443")).collect();
        flags.push("--deny-net=private".into());
        let gate = Grants::parse(&flags).expect("flags").narrow(&Grants::parse(&["--allow-net"]).expect("flags"));
        let answers: Vec<IpAddr> = vec!["93.184.216.34".parse().expect("an address")];
        let hosts = hosts(size, asked, |i| format!("host{i}.example.com"));
        let connect = cost(&hosts, |host| gate.connect(host, 443).is_ok());
        let proofs: Vec<Granted> = hosts.iter().map(|host| gate.connect(host, 443).expect("granted")).collect();
        (connect, cost(&proofs, |proof| gate.permit(proof, &answers).is_ok()))
    });
    print("connect(): proof, one narrowing, deny", costs.map(|(connect, _)| connect));
    print("permit(): asked again, one address", costs.map(|(_, permit)| permit));
}

fn ipv4(i: usize) -> IpAddr {
    IpAddr::from([11, (i >> 16) as u8, (i >> 8) as u8, i as u8])
}

fn ipv6(i: usize, last: u16) -> IpAddr {
    IpAddr::from([0x2400, (i >> 16) as u16, i as u16, 0, 0, 0, 0, last])
}

/// Requests in an order that caches cannot guess.
fn hosts(size: usize, asked: usize, host: fn(usize) -> String) -> Vec<Host> {
    (0..asked).map(|i| host(i * 7919 % size)).map(|text| Host::parse(&text).expect("a host")).collect()
}

fn cost<T>(requests: &[T], ask: impl Fn(&T) -> bool) -> f64 {
    let mut requests = requests.iter().cycle();
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            #[allow(clippy::disallowed_methods)] // A stopwatch, not a deadline.
            let start = Instant::now();
            for request in requests.by_ref().take(ROUND) {
                black_box(ask(black_box(request)));
            }
            start.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2].as_nanos() as f64 / ROUND as f64
}

fn print(what: &str, [one, hot, cold]: [f64; 3]) {
    println!("{what:40} {one:8.1} {hot:12.1} {cold:13.1}");
}
