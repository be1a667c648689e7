//! The gate under attack: the rows of `tests/data/cases.tsv` that flags, hosts and addresses decide.
//!
//! Run here: every `grant` row but those in [`LEFT`], every `guard` row, the `url` rows whose scheme is HTTP (their
//! host only) and the `dns` rows that are answers of plain addresses. The kinds `path`, `header`, `redirect`, and what
//! a `url` row says about schemes, belong to the tests of the guard and of the HTTP client.

mod tables;

use caspian_net::{
    address::{Endpoint, Host},
    error::{Kind, Result},
    grants::{Grants, Spec},
};
use std::net::IpAddr;
use tables::text;
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
    ("G194", "the property test below"),
    ("G196", "revocation: the capability that holds the grants"),
    ("G197", "the chain test below"),
    ("G198", "the wide test below, and bench/grants.rs"),
];

struct Row {
    id: String,
    kind: String,
    input: String,
    context: String,
    expected: String,
}

fn rows() -> Vec<Row> {
    let table = include_str!("data/cases.tsv");
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, kind, input, context, expected, ..] = fields[..] else { panic!("{line}") };
        Row { id: id.into(), kind: kind.into(), input: text(input), context: text(context), expected: expected.into() }
    };
    table.lines().skip(1).map(row).collect()
}

fn grants(flags: &[&str]) -> Grants {
    Grants::parse(flags).unwrap_or_else(|e| panic!("{flags:?}: {e}"))
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

fn word<T>(answer: Result<T>) -> String {
    answer.map_or_else(|e| format!("deny:{}", e.kind().word()), |_| "allow".into())
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
    let lookup = |name: &str| ask(name, |host, _| gate.lookup(host));
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

#[test]
fn flags_read_and_written() {
    for (given, canonical) in [
        (&["--allow-net"][..], &["--allow-net"][..]),
        (&["--standard"], &["--allow-net"]),
        (&["--allow-net=b.com,A.com:80", "--allow-net=a.com:443"], &["--allow-net=a.com:80+443", "--allow-net=b.com"]),
        (&["--allow-net=a.com:1-65535"], &["--allow-net=a.com"]),
        (&["--allow-net", "--allow-net=a.com:80"], &["--allow-net"]),
        (&["--allow-net=*.A.com,**.b.com.:80"], &["--allow-net=**.b.com:80", "--allow-net=*.a.com"]),
        (&["--allow-net=10.0.0.0/8:80,10.0.0.1/32"], &["--allow-net=10.0.0.0/8:80", "--allow-net=10.0.0.1"]),
        (&["--allow-net=[FD00::]/8:1,[::1]"], &["--allow-net=[::1]", "--allow-net=[fd00::]/8:1"]),
        (
            &["--allow-net=[::ffff:10.0.0.0]/104", "--allow-net=[::ffff:1.2.3.4]:80"],
            &["--allow-net=1.2.3.4:80", "--allow-net=10.0.0.0/8"],
        ),
        (&["--allow-net=unix:/run//a.sock"], &["--allow-net=unix:/run/a.sock"]),
        (&["--allow-listen"], &["--allow-listen"]),
        (&["--allow-listen=0+1-65535"], &["--allow-listen"]),
        (&["--allow-listen=0,8080"], &["--allow-listen=0+8080"]),
        (&["--allow-listen=127.0.0.1:0+1-65535"], &["--allow-listen=127.0.0.1:0+1-65535"]),
        (&["--allow-listen=localhost:80"], &["--allow-listen=127.0.0.1:80", "--allow-listen=[::1]:80"]),
        (&["--allow-listen=unix:/a"], &["--allow-listen=unix:/a"]),
        (
            &["--deny-net=Private,x.com:25,10.0.0.0/8,unix:/a"],
            &["--deny-net=10.0.0.0/8", "--deny-net=private", "--deny-net=unix:/a", "--deny-net=x.com:25"],
        ),
        // Hosts that a keyword could be meant by are told from it by their dot.
        (&["--deny-net=Private.", "--deny-net=privat."], &["--deny-net=privat.", "--deny-net=private."]),
        (&["--allow-net=private.:80", "--deny-net=db"], &["--allow-net=private.:80", "--deny-net=db"]),
        (&["--no-dns", "--net-log=/tmp/x"], &["--no-dns"]),
        (&[], &[]),
    ] {
        let read = grants(given);
        assert_eq!(read.flags(), canonical, "{given:?}");
        assert_eq!(grants(canonical).flags(), canonical, "{given:?}");
    }
}

#[test]
fn flags_refused_by_name() {
    for (flag, words) in [
        ("--allow-net=", "empty"),
        ("--allow-net=a.com,,b.com", "empty item"),
        ("--allow-net=*", "bare --allow-net"),
        ("--allow-net=*:443", "bare --allow-net"),
        ("--allow-net=*.1.2.3", "odd spelling"),
        ("--allow-net=*.[::1]", "IPv6"),
        ("--allow-net=***.a.com", "star"),
        ("--allow-net=a.*.com", "first label only"),
        ("--allow-net=*a.com", "first label only"),
        ("--allow-net=*.", "empty"),
        ("--allow-net=private", "denied, not allowed"),
        ("--allow-net=10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("--allow-net=10.0.0.0/33", "from 0 to 32"),
        ("--allow-net=10.0.0.0/08", "from 0 to 32"),
        ("--allow-net=10.0.0.0/+8", "from 0 to 32"),
        ("--allow-net=10.0.0.0/", "from 0 to 32"),
        ("--allow-net=[fd00::/8]", "slash"),
        ("--allow-net=fd00::/8", "brackets"),
        ("--allow-net=[::1", "closing"),
        ("--allow-net=[::1]443", "bracket"),
        ("--allow-net=[1.2.3.4]", "brackets"),
        ("--allow-net=example.com/8", "slash"),
        ("--allow-net=example.com/path:80", "slash"),
        ("--allow-net=example.com:", "port is missing"),
        ("--allow-net=example.com:https", "decimal"),
        ("--allow-net=example.com:0", "port 0"),
        ("--allow-net=:80", "host is missing"),
        ("--allow-net=0x7f.1:80", "odd spelling"),
        ("--allow-net= b.com", "blank"),
        ("--allow-net=https://a.com", "URL"),
        ("--allow-net=unix:", "empty"),
        ("--allow-net=unix:run/x", "absolute"),
        ("--allow-net=unix:/run/../x", "`..`"),
        ("--allow-listen=*:80", "--allow-listen=80"),
        ("--allow-listen=example.com:80", "not a name"),
        ("--allow-listen=*.example.com:80", "character"),
        ("--allow-listen=[::1]", "port is missing"),
        ("--allow-listen=127.0.0.1", "port is missing"),
        ("--allow-listen=1-", "port is missing"),
        ("--deny-net", "missing"),
        ("--deny-net=", "empty"),
        ("--deny-net=*", "what no flag allows is denied"),
        ("--deny-net=privat", "did you mean private? (a host of that name is written with a dot at its end: privat.)"),
        ("--deny-net=prviate:80", "did you mean private?"),
        ("--deny-net=loopback", "did you mean 127.0.0.0/8,[::1]?"),
        ("--deny-net=link-local", "did you mean 169.254.0.0/16,[fe80::]/10?"),
        ("--net-log", "missing"),
        ("--net-log=", "empty"),
        ("--no-dns=1", "takes no value"),
        ("--standard=", "takes no value"),
        ("--allow-nets", "unknown flag"),
        ("--Allow-Net", "unknown flag"),
        ("--allow-net ", "unknown flag"),
        ("example.com", "not a flag"),
        ("", "not a flag"),
    ] {
        let error = Grants::parse(&["--allow-net=first.example", flag]).expect_err(flag).to_string();
        assert!(error.contains(words), "{flag}: {error}");
        assert!(error.contains(flag), "{flag} is named: {error}");
    }
    let error = Grants::parse(&["--allow-net=a.com, b.com,c.com"]).unwrap_err().to_string();
    assert!(error.starts_with("--allow-net= b.com: "), "{error}");
    let error = Grants::parse(&["--allow-net=user:secret@example.com"]).unwrap_err().to_string();
    assert!(error.contains("@example.com") && !error.contains("secret"), "{error}");
    assert!(Grants::parse(&["--net-log=a\0b"]).unwrap_err().to_string().contains("control"));
    assert!(Grants::parse(&["--net-log=a", "--net-log=b"]).unwrap_err().to_string().contains("twice"));
}

#[test]
fn flags_and_answers() {
    let n = |word: &str, text: &str| format!("network/{word}_not_allowed: {text}");
    for (flags, target, expected) in [
        (&["--allow-net=example.com:443"][..], "example.com:443", None),
        (
            &["--allow-net=example.com:443"],
            "example.com:80",
            Some(n("port", "connect to example.com:80 is not allowed; --allow-net=example.com:80 would allow it")),
        ),
        (&[], "[::1]:80", Some(n("host", "connect to [::1]:80 is not allowed; --allow-net=[::1]:80 would allow it"))),
        (
            &["--allow-net"],
            "example.com:0",
            Some(n("port", "connect to example.com:0 is not allowed: nothing listens on port 0")),
        ),
        (
            &["--allow-net", "--deny-net=**.example.com"],
            "a.example.com:80",
            Some(n("host", "connect to a.example.com:80 is not allowed: --deny-net=**.example.com forbids it")),
        ),
        (
            &["--allow-net", "--deny-net=example.com:25"],
            "example.com:25",
            Some(n("port", "connect to example.com:25 is not allowed: --deny-net=example.com:25 forbids it")),
        ),
        (
            &["--allow-net", "--deny-net=private"],
            "10.0.0.1:80",
            Some(n("host", "connect to 10.0.0.1:80 is not allowed: --deny-net=private forbids it")),
        ),
        // Linux takes a connection to a wildcard address to the loopback interface.
        (
            &["--allow-net", "--deny-net=127.0.0.0/8"],
            "0.0.0.0:80",
            Some(n("host", "connect to 0.0.0.0:80 is not allowed: --deny-net=127.0.0.0/8 forbids it")),
        ),
        (
            &["--allow-net", "--deny-net=127.0.0.1"],
            "[::ffff:127.0.0.1]:80",
            Some(n("host", "connect to 127.0.0.1:80 is not allowed: --deny-net=127.0.0.1 forbids it")),
        ),
        (
            &["--allow-net", "--no-dns"],
            "localhost:80",
            Some(n("host", "connect to localhost:80 is not allowed: --no-dns forbids names, only IP literals connect")),
        ),
        (&["--allow-net", "--no-dns"], "127.0.0.1:80", None),
        (
            &["--allow-net=[::]/0"],
            "10.0.0.1:80",
            Some(n("host", "connect to 10.0.0.1:80 is not allowed; --allow-net=10.0.0.1:80 would allow it")),
        ),
        (
            &["--allow-net=0.0.0.0/0"],
            "localhost:80",
            Some(n("host", "connect to localhost:80 is not allowed; --allow-net=localhost:80 would allow it")),
        ),
    ] {
        let target = target.rsplit_once(':').map(|(host, port)| (Host::parse(host).unwrap(), port.parse().unwrap()));
        let (host, port) = target.unwrap();
        let answer = grants(flags).connect(&host, port);
        assert_eq!(answer.err().map(|e| e.to_string()), expected, "{flags:?} {host}:{port}");
    }
}

#[test]
fn narrowed_answers_say_so() {
    let gate = grants(&["--allow-net"]).narrow(&grants(&["--allow-net=a.com:443", "--deny-net=10.0.0.0/8"]));
    let error = gate.connect(&Host::parse("b.com").unwrap(), 443).unwrap_err().to_string();
    assert!(error.ends_with("what this capability was narrowed to lacks --allow-net=b.com:443"), "{error}");
    assert_eq!(gate.flags(), ["--allow-net=a.com:443", "--deny-net=10.0.0.0/8"]);
}

#[test]
fn addresses_behind_a_name() {
    let name = Host::parse("svc.example").unwrap();
    for (flags, answers, expected) in [
        (&["--allow-net=svc.example"][..], &["127.0.0.1"][..], "allow"),
        (
            &["--allow-net", "--deny-net=private"],
            &["8.8.8.8", "::ffff:10.0.0.1"],
            "resolves to a private address, which",
        ),
        (&["--allow-net", "--deny-net=private:80"], &["10.0.0.1"], "allow"),
        (
            &["--allow-net", "--deny-net=8.8.8.0/24"],
            &["8.8.8.8"],
            "resolves to a denied address, which --deny-net forbids",
        ),
        (
            &["--allow-net", "--deny-net=127.0.0.1"],
            &["0.0.0.0"],
            "resolves to an unspecified address, which --deny-net ",
        ),
        (&["--allow-net", "--deny-net=[::1]"], &["2001:db9::1", "::"], "unspecified"),
        (&["--allow-net"], &[], "no address"),
    ] {
        let gate = grants(flags);
        let granted = gate.connect(&name, 443).unwrap();
        let answers: Vec<IpAddr> = answers.iter().map(|ip| ip.parse().unwrap()).collect();
        let got = gate.permit(&granted, &answers).map_or_else(|e| e.to_string(), |_| "allow".into());
        assert!(got.contains(expected), "{flags:?}: {got}");
    }
    // Even a mapped address that was never parsed is the IPv4 address that it reaches.
    let mapped = Host::Ip("::ffff:10.0.0.1".parse().unwrap());
    for (flags, expected) in [
        (&["--allow-net", "--deny-net=10.0.0.1"][..], "deny:host_not_allowed"),
        (&["--allow-net", "--deny-net=private"], "deny:host_not_allowed"),
        (&["--allow-net=10.0.0.1"], "allow"),
    ] {
        assert_eq!(word(grants(flags).connect(&mapped, 80)), expected, "{flags:?}");
    }
    let mapped = grants(&["--allow-net"]);
    let permitted = mapped.permit(&mapped.connect(&name, 1).unwrap(), &["::ffff:1.2.3.4".parse().unwrap()]).unwrap();
    assert_eq!(permitted[0].addr().to_string(), "1.2.3.4:1");
}

#[test]
fn a_proof_opens_nothing_where_it_was_not_made() {
    let wide = grants(&["--allow-net"]);
    let narrow = grants(&["--allow-net=a.com:443,10.0.0.1"]);
    let ip = [IpAddr::from([1, 2, 3, 4])];
    let other = wide.connect(&Host::parse("b.com").unwrap(), 443).unwrap();
    assert_eq!(word(narrow.permit(&other, &ip)), "deny:host_not_allowed");
    // Looking a name up opens no connection, and an address stands for itself only.
    let lookup = wide.lookup(&Host::parse("a.com").unwrap()).unwrap();
    assert_eq!(word(wide.permit(&lookup, &ip)), "deny:port_not_allowed");
    let literal = narrow.connect(&Host::parse("10.0.0.1").unwrap(), 80).unwrap();
    assert_eq!(word(narrow.permit(&literal, &ip)), "deny:address_not_allowed");
}

#[test]
fn listeners() {
    for (flags, host, port, expected) in [
        (&["--allow-listen"][..], "0.0.0.0", 0, "allow"),
        (&["--allow-listen=8080"], "::", 8080, "allow"),
        (&["--allow-listen=8080"], "::1", 8081, "deny:port_not_allowed"),
        (&["--allow-listen=8080"], "::1", 0, "deny:port_not_allowed"),
        (&["--allow-listen=0"], "127.0.0.1", 0, "allow"),
        (&["--allow-listen=0"], "127.0.0.1", 50000, "deny:port_not_allowed"),
        (&["--allow-listen=1-65535"], "127.0.0.1", 0, "deny:port_not_allowed"),
        (&["--allow-listen=127.0.0.1:80"], "0.0.0.0", 80, "deny:host_not_allowed"),
        (&["--allow-listen=0.0.0.0/0:80"], "0.0.0.0", 80, "deny:host_not_allowed"),
        (&["--allow-listen=0.0.0.0/0:80"], "127.0.0.1", 80, "allow"),
        (&["--allow-listen=0.0.0.0:80"], "0.0.0.0", 80, "allow"),
        (&["--allow-listen=0.0.0.0:80"], "127.0.0.1", 80, "deny:host_not_allowed"),
        (&["--allow-listen=localhost:80"], "localhost", 80, "allow"),
        (&["--allow-listen"], "example.com", 80, "deny:host_not_allowed"),
        (&["--allow-net"], "127.0.0.1", 80, "deny:port_not_allowed"),
        (&["--standard"], "127.0.0.1", 80, "deny:port_not_allowed"),
        // Denying is about where connections go.
        (&["--allow-listen", "--deny-net=private"], "127.0.0.1", 80, "allow"),
    ] {
        let gate = grants(flags);
        let host = Host::parse(host).unwrap();
        assert_eq!(word(gate.listen(&host, port)), expected, "{flags:?} {host}:{port}");
        let never = flags.iter().all(|flag| flag.starts_with("--allow-listen"));
        assert!(!never || !gate.allows(&host, 80), "{flags:?}: listening is no connecting");
    }
    let error = grants(&["--allow-listen=80"]).listen(&Host::parse("::1").unwrap(), 8080).unwrap_err();
    assert!(
        error.to_string().ends_with("listen on [::1]:8080 is not allowed; --allow-listen=[::1]:8080 would allow it")
    );
}

#[test]
fn unix_sockets_are_granted_by_path() {
    for (flags, path, connect, listen) in [
        (&["--allow-net=unix:/run/a"][..], "/run/a", true, false),
        (&["--allow-net=unix:/run/a"], "/run//./a", true, false),
        (&["--allow-net=unix:/run/a"], "/run/ab", false, false),
        (&["--allow-net=unix:/run/a"], "/run/a/b", false, false),
        (&["--allow-net=unix:/run/a"], "/run/x/../a", false, false),
        (&["--allow-net=unix:/run/a"], "/run/a\0", false, false),
        (&["--allow-net=unix:/run/a"], "run/a", false, false),
        (&["--allow-net", "--allow-listen"], "/run/docker.sock", false, false),
        (&["--allow-listen=unix:/run/a"], "/run/a", false, true),
        (&["--allow-net=unix:/a", "--allow-listen=unix:/a", "--deny-net=unix:/a"], "/a", false, false),
    ] {
        let gate = grants(flags);
        assert_eq!((gate.unix(path).is_ok(), gate.listen_unix(path).is_ok()), (connect, listen), "{flags:?} {path:?}");
    }
    let error = Grants::nothing().unix("/run/a").unwrap_err().to_string();
    assert!(
        error.ends_with("connect to unix:/run/a is not allowed; --allow-net=unix:/run/a would allow it"),
        "{error}"
    );
    let both = grants(&["--allow-net=unix:/a,unix:/b"]).narrow(&grants(&["--allow-net=unix:/b,unix:/c"]));
    assert_eq!(both.flags(), ["--allow-net=unix:/b"]);
}

#[test]
fn tables_say_what_flags_say() {
    let list = |values: &[&str]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
    let spec = Spec {
        allow_net: list(&["example.com:443", "*.org"]),
        allow_listen: list(&["127.0.0.1:0"]),
        deny_net: list(&["private"]),
        dns: false,
        ..Spec::default()
    };
    let flags =
        ["--allow-listen=127.0.0.1:0", "--allow-net=*.org", "--allow-net=example.com:443", "--deny-net=private"];
    assert_eq!(Grants::of(&spec).unwrap().flags(), [&flags[..], &["--no-dns"]].concat());
    assert!(Grants::of(&Spec::default()).unwrap().is_empty());
    let bare = Spec { any_net: true, any_listen: true, ..Spec::default() };
    assert_eq!(Grants::of(&bare).unwrap().flags(), ["--allow-listen", "--allow-net"]);
    let bad = Spec { allow_net: list(&["a.com", ""]), ..Spec::default() };
    assert!(Grants::of(&bad).unwrap_err().to_string().starts_with("allow_net"));
}

#[test]
fn requirements_that_are_missing() {
    let gate = grants(&["--allow-net=a.com:443"]);
    let needs =
        ["a.com:443", "b.com:443", "A.com:80", "b.com:443", "[::1]:1"].map(|text| Endpoint::parse(text).unwrap());
    assert_eq!(gate.missing(&needs), ["--allow-net=b.com:443", "--allow-net=a.com:80", "--allow-net=[::1]:1"]);
    assert!(grants(&["--standard"]).missing(&needs).is_empty());
}

#[test]
fn a_thousand_narrowings_stay_small() {
    let spec = grants(&["--allow-net=a.com:443,b.com", "--deny-net=private"]);
    let chain = (0..1000).fold(grants(&["--allow-net"]), |gate, i| match i % 3 {
        0 => gate.narrow(&spec),
        1 => gate.narrow(&grants(&[&format!("--allow-net=a.com,b.com,c{i}.com")])),
        _ => gate.narrow(&gate),
    });
    assert_eq!(chain.flags(), ["--allow-net=a.com:443", "--allow-net=b.com", "--deny-net=private"]);
    assert!(format!("{chain:?}").len() < 10_000);
}

#[test]
fn a_hundred_thousand_grants_narrow() {
    let flags: Vec<String> = (0..100_000u32)
        .map(|i| match i % 3 {
            0 => format!("--allow-net=host{i}.example:443"),
            1 => format!("--allow-net=**.zone{i}.example"),
            _ => format!("--allow-net=10.{}.{}.{}:80", i >> 16, i >> 8 & 255, i & 255),
        })
        .collect();
    let gate = Grants::parse(&flags).unwrap();
    let half: Vec<&String> = flags.iter().step_by(2).collect();
    let narrowed = gate.narrow(&Grants::parse(&half).unwrap());
    assert_eq!((gate.flags().len(), narrowed.flags().len()), (100_000, 50_000));
    assert!(gate.allows(&Host::parse("a.b.zone1.example").unwrap(), 1));
    assert!(!narrowed.allows(&Host::parse("a.b.zone1.example").unwrap(), 1));
    assert!(narrowed.allows(&Host::parse("10.0.0.2").unwrap(), 80));
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
