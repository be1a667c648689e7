//! What one decision of a guard costs: `cargo bench --bench guard`.
//!
//! The whole of it, from the bytes of a URL to the bytes that are sent. First requests as programs make them, with 1 rule
//! and with 1,000, of 10 routes each; then what an attacker would send: paths of 64 KiB against patterns that make a
//! matcher with backtracking hang.

use caspian_net::guard::rules::{RouteSpec, RuleSpec, Rules};
use std::{hint::black_box, time::Instant};

const ROUNDS: usize = 101;
const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

fn main() {
    println!("{:58} {:>9} {:>9}", "ns per decision (quickest round)", "1 rule", "1,000");
    let hosts: fn(usize) -> String = |rule| format!("api{rule}.example.com");
    let below: fn(usize) -> String = |rule| format!("*.zone{rule}.example.com");
    let same: fn(usize) -> String = |_| "api.example.com".into();
    let plain: fn(usize, usize) -> String = |_, route| format!("/v1/things{route}/:id/parts/:part");
    let mixed: fn(usize, usize) -> String = |_, route| match route % 3 {
        0 => format!("/v1/:kind(things{route}|others)/:id(\\d+)/parts/*"),
        1 => format!("/v1/**/things{route}/:rest+"),
        _ => format!("/v1/things{route}{{/:id}}?/parts/*.json"),
    };
    let numbers: fn(usize, usize) -> String =
        |_, route| format!("/v1/things{route}/:id(\\d+)/parts/:part([a-z-]{{1,20}})");
    let uuid: fn(usize, usize) -> String = |_, route| format!("/v1/things{route}/:id({UUID})");
    let own: fn(usize, usize) -> String = |rule, route| format!("/v1/rule{rule}/things{route}/:id");
    type Case<'a> = (&'a str, fn(usize) -> String, fn(usize, usize) -> String, fn(usize) -> String);
    let numbers_url: fn(usize) -> String =
        |rule| format!("https://api{rule}.example.com/v1/things9/271828/parts/spare-wheel");
    let uuid_url: fn(usize) -> String =
        |rule| format!("https://api{rule}.example.com/v1/things9/123e4567-e89b-12d3-a456-426614174000");
    let cases: [Case<'_>; 9] = [
        ("first route", hosts, plain, |rule| format!("https://api{rule}.example.com/v1/things0/42/parts/7?q=1")),
        ("last route", hosts, plain, |rule| format!("https://api{rule}.example.com/v1/things9/42/parts/7?q=1")),
        ("no route", hosts, plain, |rule| format!("https://api{rule}.example.com/v1/thing/42/parts/7?q=1")),
        ("*.host, last route", below, plain, |rule| format!("https://a.zone{rule}.example.com/v1/things9/42/parts/7")),
        ("constraints, ** and groups, last route", hosts, mixed, |rule| {
            format!("https://api{rule}.example.com/v1/things9/42/parts/7")
        }),
        ("a number and a word as constraints, last route", hosts, numbers, numbers_url),
        ("a UUID as a constraint, last route", hosts, uuid, uuid_url),
        ("no rule for the host", hosts, plain, |rule| format!("https://no{rule}.example.com/v1/things0/42/parts/7")),
        ("all rules for one host, each with routes of its own", same, own, |rule| {
            format!("https://api.example.com/v1/rule{rule}/things9/42")
        }),
    ];
    for (what, host, route, url) in cases {
        let costs = [1, 1000].map(|count| {
            let routes =
                |rule| (0..10).map(move |nth| RouteSpec { path: route(rule, nth), methods: Some(vec!["GET".into()]) });
            let rule = |rule| RuleSpec {
                host: host(rule),
                https_only: true,
                ports: None,
                routes: Some(routes(rule).collect()),
            };
            let rules = Rules::new(&(0..count).map(rule).collect::<Vec<_>>(), false).expect("rules");
            let urls: Vec<String> = (0..count).map(|nth| url(nth * 7919 % count)).collect();
            cost(&rules, &urls, 250)
        });
        println!("{what:58} {:9.0} {:9.0}", costs[0], costs[1]);
    }

    println!("\n{:58} {:>9} {:>9}", "ns per byte, a path of", "32 KiB", "64 KiB");
    for (what, pattern, unit) in [
        ("a literal that is not there", "/x/y", "/a"),
        ("escapes of unreserved characters", "/**", "%41"),
        ("dot segments", "/x", "/a/.."),
        ("/:x((?:a+)+b) on one segment of a", "/:x((?:a+)+b)", "a"),
        ("/**/:x((?:a+)+b) on segments of 15 a", "/**/:x((?:a+)+b)", "aaaaaaaaaaaaaaa/"),
        ("/:a(.*.*.*.*)x on one segment of a", "/:a(.*.*.*.*)x", "a"),
        ("/:a-:b-:c-:d-:e.x on one segment of -", "/:a-:b-:c-:d-:e.x", "-"),
        ("/**/a/**/a/**/a/**/a/**/b on /a/a/a", "/**/a/**/a/**/a/**/a/**/b", "a/"),
        ("/:a*/:b*/:c*/:d*/x on ////", "/:a*/:b*/:c*/:d*/x", "/"),
        ("/**{/a}?{/b}?{/c}?{/d}?/x on /a/b/c/d", "/**{/a}?{/b}?{/c}?{/d}?/x", "a/b/c/d/"),
    ] {
        let costs = [1 << 15, 1 << 16].map(|length| {
            let routes = vec![RouteSpec { path: pattern.into(), methods: None }];
            let rule = RuleSpec { host: "h.example".into(), routes: Some(routes), ..RuleSpec::default() };
            let rules = Rules::new(&[rule], false).expect("a rule");
            let url = format!("http://h.example/{}", unit.repeat(length / unit.len()));
            cost(&rules, &[url], 1) / length as f64
        });
        println!("{what:58} {:9.2} {:9.2}", costs[0], costs[1]);
    }
}

/// The quickest round: what else a machine does only adds.
fn cost(rules: &Rules, urls: &[String], round: usize) -> f64 {
    let mut urls = urls.iter().cycle();
    let rounds = (0..ROUNDS).map(|_| {
        #[allow(clippy::disallowed_methods)] // A stopwatch, not a deadline.
        let start = Instant::now();
        for url in urls.by_ref().take(round) {
            black_box(rules.decide(black_box(url.as_bytes()), b"GET").is_ok());
        }
        start.elapsed()
    });
    rounds.min().unwrap_or_default().as_nanos() as f64 / round as f64
}
