//! The gate under attack: the rows of `tests/data/cases.tsv` that flags, hosts and addresses decide.
//!
//! Run here: every `grant` row but those in [`LEFT`], every `guard` row, the `url` rows whose scheme is HTTP (their
//! host only) and the `dns` rows that are answers of plain addresses. The kinds `path`, `header`, `redirect`, and what
//! a `url` row says about schemes, belong to the tests of the guard and of the HTTP client.

use crate::{grants, tables::text, word};
use caspian_net::{
    address::Host,
    error::{Kind, Result},
    grants::Grants,
};
use std::net::IpAddr;
use url::Url;

/// Rows where the contract's own words differ from what the table expects.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    // The grammar has port ranges and blocks.
    ("G025", "flag-ok:--allow-net=example.com:80-90", "PORTS may be a range"),
    ("G063", "flag-ok:--allow-net=10.0.0.0/8", "HOST may be a CIDR block"),
];

/// Rows that this floor cannot decide, and who does.
const LEFT: &[(&str, &str)] = &[
    ("G085", "port 0: the Lua front checks numbers; the gate refuses it, too (see `flags_and_answers`)"),
    ("G086", "port 65979: the Lua front checks numbers; here a port is a u16"),
    ("G087", "port 2^32+443: as above"),
    ("G088", "a negative port: as above"),
    ("G090", "a fractional port: as above"),
    ("G091", "a string as port: as above"),
    ("G118", "a table as host: as above"),
    ("G175", "port 73616: as above"),
    ("G193", "metatables on a rule table: the Lua front"),
    ("G194", "the property test of `narrowing.rs`"),
    ("G196", "revocation: the capability that holds the grants"),
    ("G197", "the chain test of `main.rs`"),
    ("G198", "the wide test of `main.rs`, and `bench/grants.rs`"),
];

struct Row {
    id: String,
    kind: String,
    input: String,
    context: String,
    expected: String,
}

fn rows() -> Vec<Row> {
    let table = include_str!("../data/cases.tsv");
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, kind, input, context, expected, ..] = fields[..] else { panic!("{line}") };
        Row { id: id.into(), kind: kind.into(), input: text(input), context: text(context), expected: expected.into() }
    };
    table.lines().skip(1).map(row).collect()
}

/// `net=example.com:443`, `net=*`, `net=(none)`, `listen=127.0.0.1:8080`.
fn from_context(context: &str) -> Grants {
    match context.split_once('=').expect("net= or listen=") {
        ("net", "*") => grants(&["--allow-net"]),
        ("net", "(none)") => Grants::nothing(),
        ("net", value) => grants(&[&format!("--allow-net={value}")]),
        (_, value) => grants(&[&format!("--allow-listen={value}")]),
    }
}

/// HOST:PORT through the raw-socket door.
fn ask<T>(target: &str, ask: impl Fn(&Host, u16) -> Result<T>) -> String {
    let (host, port) = target.rsplit_once(':').unwrap_or((target, "443"));
    match (Host::parse(host), port.parse::<u16>()) {
        (Ok(host), Ok(port)) => word(ask(&host, port)),
        _ => "deny:argument".into(),
    }
}

fn flag(input: &str) -> String {
    match Grants::parse(&[input]) {
        Ok(grants) => format!("flag-ok:{}", grants.flags().join(" ")),
        Err(e) => {
            assert!(!e.to_string().chars().any(char::is_control), "{e:?}");
            "flag-error".into()
        }
    }
}

fn grant(row: &Row) -> String {
    if row.context == "parse-flag" {
        return flag(&row.input);
    }
    if row.context == "parse-jail-rule" {
        let rule = row.input.split_once('=').expect("host=").1;
        return Grants::hosts(&[rule]).map_or("rule-error".into(), |_| "rule-ok".into());
    }
    let gate = from_context(&row.context);
    let connect = |target: &str| ask(target, |host, port| gate.connect(host, port));
    let lookup = |name: &str| ask(name, |host, _| gate.permit_lookup(host));
    let input = row.input.as_str();
    let first = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    if let Some(rest) = input.strip_prefix("bind ") {
        // No host, and an empty one, are the wildcard address.
        let target = rest.replace("(nil):", "0.0.0.0:").replace("\"\":", "0.0.0.0:");
        ask(&target, |host, port| gate.listen(host, port))
    } else if let Some(port) = input.strip_prefix("listen ") {
        ask(&format!("0.0.0.0:{port}"), |host, port| gate.listen(host, port))
    } else if let Some((spec, target)) = input.strip_prefix("narrow{").and_then(|rest| rest.split_once("} then ")) {
        let spec: Vec<&str> = spec.split_terminator(',').collect();
        let narrowed = gate.narrow(&Grants::hosts(&spec).expect("a list of hosts"));
        ask(target, |host, port| narrowed.connect(host, port))
    } else if let Some(rest) = input.strip_prefix("dns-server:") {
        let (server, name) = rest.split_once(" query:").expect("a query");
        assert_eq!(connect(&format!("{server}:53")), "allow");
        lookup(name)
    } else if let Some(name) = input.strip_prefix("dns:").or_else(|| input.strip_prefix("dns-ptr:")) {
        lookup(name)
    } else if let Some(rest) = input.strip_prefix("udp-send:").or_else(|| input.strip_prefix("udp:")) {
        connect(&first(rest))
    } else if let Some(rest) = input.strip_prefix("tls:") {
        // The name that a certificate is verified for is a host that is asked about.
        assert_eq!(connect(&first(rest)), "allow");
        connect(&format!("{}:443", rest.split_once("verify-host=").expect("a host").1))
    } else if let Some(rest) = input.strip_prefix("proxy=http://") {
        let (proxy, target) = rest.split_once(" target=").expect("a target");
        assert_eq!(connect(target), "allow");
        connect(proxy)
    } else if input.starts_with("happy-eyeballs ") {
        let granted = gate.connect(&Host::parse("example.com").unwrap(), 443).expect("granted");
        word(gate.permit(&granted, &["93.184.216.34".parse().unwrap(), "2606:2800::1".parse().unwrap()]))
    } else {
        connect(input.strip_prefix("connect ").unwrap_or(input))
    }
}

/// What a guarded name that resolves to these addresses is answered.
fn resolved(addresses: &[IpAddr]) -> String {
    let gate = grants(&["--allow-net", "--deny-net=private"]);
    let granted = gate.connect(&Host::parse("svc.example").unwrap(), 443).expect("the name is granted");
    let answer = gate.permit(&granted, addresses);
    if let Err(e) = &answer {
        assert!(e.is(Kind::HostNotAllowed), "{e}");
        assert!(!addresses.iter().any(|ip| e.to_string().contains(&ip.to_string())), "{e}");
    }
    word(answer)
}

#[test]
fn grant_rows() {
    let rows = rows();
    let mut ran = 0;
    for row in rows.iter().filter(|row| row.kind == "grant") {
        if LEFT.iter().any(|(id, _)| *id == row.id) {
            continue;
        }
        let got = grant(row);
        let expected = match DIFFERENCES.iter().find(|(id, ..)| *id == row.id) {
            Some((_, expected, _)) => (*expected).to_owned(),
            None => match row.expected.strip_prefix("flag-ok:") {
                // The table writes `net=` and `:*` for any port, or `*:` for any interface.
                Some(form) => format!("flag-ok:--allow-{}", form.trim_end_matches(":*").replace("=*:", "=")),
                None => row.expected.clone(),
            },
        };
        assert_eq!(got, expected, "{} {:?} under {}", row.id, row.input, row.context);
        ran += 1;
    }
    assert_eq!(ran + LEFT.len(), 127, "every grant row is accounted for");
}

#[test]
fn guard_rows() {
    for row in rows().iter().filter(|row| row.kind == "guard") {
        let got = match row.input.parse::<IpAddr>() {
            Ok(ip) => resolved(&[ip]),
            // Only typed addresses come this far: what does not parse is refused before it is one.
            Err(_) if row.context == "guard:string-from-resolver" => "deny:address_not_allowed".into(),
            Err(e) => panic!("{}: {e}", row.id),
        };
        assert_eq!(got, row.expected, "{} {}", row.id, row.input);
    }
}

#[test]
fn dns_rows_of_plain_addresses() {
    let mut ran = 0;
    for row in rows().iter().filter(|row| row.kind == "dns" && row.expected == "deny:address_not_allowed") {
        let Some(("svc.example", answer)) = row.input.split_once(" -> ") else { continue };
        let addresses: Vec<IpAddr> = answer.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        assert_eq!(resolved(&addresses), row.expected, "{} {}", row.id, row.input);
        ran += 1;
    }
    assert!(ran >= 6, "{ran} rows");
}

#[test]
fn url_rows_by_their_host() {
    let mut ran = 0;
    for row in rows().iter().filter(|row| row.kind == "url" && row.expected != "deny:request_not_allowed") {
        let context = row.context.as_str();
        let (host, ports) = match context {
            _ if context.starts_with("jail parent: net=example.com:443; rule host=other.com") => ("other.com", ""),
            _ => {
                let host = context.split_once("host=").and_then(|(_, rest)| rest.split(' ').next()).expect("a host");
                (host, if context.contains("ports=80,443") { ":80+443" } else { ":443" })
            }
        };
        let jail = Grants::hosts(&[format!("{host}{ports}")]).expect("a jail");
        let gate = match context.starts_with("jail parent") {
            true => grants(&["--allow-net=example.com:443"]).narrow(&jail),
            false => jail,
        };
        let got = match Url::parse(&row.input).ok().as_ref().map(|url| (url.host(), url.port_or_known_default())) {
            Some((Some(host), Some(port))) => match Host::from_url(host) {
                Ok(host) => word(gate.connect(&host, port)),
                Err(_) => "deny:argument".into(),
            },
            _ => "deny:argument".into(),
        };
        // The class may be the other one where the URL parser takes what host names do not have.
        assert_eq!(got == "allow", row.expected == "allow", "{} {:?}: {got}", row.id, row.input);
        ran += 1;
    }
    assert!(ran > 80, "{ran} rows");
}

/// Every reader of hosts ends in the same host, whatever is done to the inputs of the table.
#[test]
fn spoiled_hosts_agree_or_are_refused() {
    const BITS: [&str; 24] = [
        ".", "..", "-", ":", "[", "]", "%", "@", "/", "*", "0x", "0", "1", "255", "256", "a", "_", "ß", "\u{ad}", "。",
        "\u{200d}", "xn--", "::", "ffff",
    ];
    let seeds: Vec<String> = rows().into_iter().map(|row| row.input).filter(|input| input.len() < 100).collect();
    let mut state = 1u64;
    let mut next = |bound: usize| {
        // Knuth's linear congruential generator: the same numbers on every run.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut agreed = 0;
    for _ in 0..40_000 {
        let seed = &seeds[next(seeds.len())];
        let mut chars: Vec<char> = seed.trim_start_matches("http://").trim_end_matches('/').chars().collect();
        for _ in 0..next(3) {
            let at = next(chars.len() + 1);
            match next(2) {
                0 if at < chars.len() => drop(chars.remove(at)),
                _ => drop(chars.splice(at..at, BITS[next(BITS.len())].chars())),
            }
        }
        let text: String = chars.into_iter().collect();
        let _ = Grants::parse(&[&text]);
        let _ = Grants::parse(&[format!("--allow-listen={text}")]);
        let raw = Host::parse(&text);
        if let Ok(host) = &raw {
            assert_eq!(Host::parse(&host.to_string()).as_ref(), Ok(host), "{text:?}");
            let again = Url::parse(&format!("http://{}/", host.authority())).expect(&text);
            assert_eq!(Host::from_url(again.host().unwrap()).as_ref(), Ok(host), "{text:?}");
            // `private` is a word of the flags, so no host of that name can be granted.
            if host.name() != Some("private") {
                let flag = format!("--allow-net={}", host.authority());
                assert_eq!(grants(&[&flag]).flags(), [flag], "{text:?}");
            }
        }
        if let (Ok(raw), Ok(url)) = (&raw, Url::parse(&format!("http://{text}/"))) {
            let url = url.host().map(Host::from_url);
            assert_eq!(url, Some(Ok(raw.clone())), "{text:?}");
            agreed += 1;
        }
        if let Ok(gate) = Grants::parse(&[format!("--allow-net={text}"), format!("--deny-net={text}")]) {
            let flags = gate.flags();
            assert_eq!(grants(&flags.iter().map(String::as_str).collect::<Vec<_>>()).flags(), flags, "{text:?}");
        }
    }
    assert!(agreed > 1000, "{agreed} hosts were read by both");
}
