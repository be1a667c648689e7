//! The gate: what flags mean, what they answer, and how they narrow. Attacks by the table have a file of their own.

mod cases;
#[path = "../tables/mod.rs"]
mod tables;

use caspian_net::{
    address::{Host, Reach},
    error::Result,
    grants::{Grants, Need, Spec},
};
use std::net::IpAddr;

fn grants(flags: &[&str]) -> Grants {
    Grants::parse(flags).unwrap_or_else(|e| panic!("{flags:?}: {e}"))
}

fn word<T>(answer: Result<T>) -> String {
    answer.map_or_else(|e| format!("deny:{}", e.kind().word()), |_| "allow".into())
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
        (&["--allow-net=Unix.:80", "--deny-net=Unix."], &["--allow-net=unix.:80", "--deny-net=unix."]),
        (&["--allow-net=unix"], &["--allow-net=unix."]),
        (&["--allow-net=UNIX:/Run/a"], &["--allow-net=unix:/Run/a"]),
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
        ("--allow-net=unix:/run/../*", "`..`"),
        ("--allow-net=unix:*", "star"),
        ("--allow-net=unix:run/*", "absolute"),
        ("--allow-net=unix:/run/*.sock", "star"),
        ("--allow-net=unix:/run/a*", "star"),
        ("--allow-net=unix:/run/**", "star"),
        ("--allow-net=unix:/run/*/*", "star"),
        ("--allow-net=unix:/run/*/x", "star"),
        ("--allow-net=unix:/run/*/", "star"),
        ("--allow-listen=unix:/*/x", "star"),
        ("--deny-net=unix:/run/x*y", "star"),
        ("--allow-net=unix:/run/", "directory"),
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
    let error = Grants::parse(&["--allow-net=Unix:80"]).unwrap_err().to_string();
    assert!(error.contains("with a dot at its end: Unix.:80)"), "{error}");
    let error = Grants::parse(&["--deny-net=unix"]).unwrap_err().to_string();
    assert!(error.contains("did you mean unix:/PATH? (a host of that name is written with a dot at its end: unix.)"));
    for flag in ["--allow-listen=unix:80", "--allow-net=unix:1/x"] {
        let error = Grants::parse(&[flag]).unwrap_err().to_string();
        assert!(error.contains("not an absolute path") && !error.contains("a dot"), "{error}");
    }
    assert!(Grants::parse(&["--net-log=a\0b"]).unwrap_err().to_string().contains("control"));
    assert!(Grants::parse(&["--net-log=a", "--net-log=b"]).unwrap_err().to_string().contains("twice"));
}

#[test]
fn flags_and_answers() {
    let n = |word: &str, text: &str| format!("network/{word}_not_allowed: {text}");
    for (flags, target, expected) in [
        (&["--allow-net=example.com:443"][..], "example.com:443", None),
        (&[], "unix:80", Some(n("host", "connect to unix:80 is not allowed; --allow-net=unix.:80 would allow it"))),
        (
            &["--allow-net=private.:443"],
            "private:80",
            Some(n("port", "connect to private:80 is not allowed; --allow-net=private.:80 would allow it")),
        ),
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
    assert!(error.ends_with("this capability was narrowed, and lacks --allow-net=b.com:443"), "{error}");
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
    let lookup = wide.permit_lookup(&Host::parse("a.com").unwrap()).unwrap();
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
        (&["--allow-listen=unix:/run/a"], "127.0.0.1", 80, "deny:port_not_allowed"),
        (&["--allow-listen=unix:/run/*"], "127.0.0.1", 80, "deny:port_not_allowed"),
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
    for (flags, host, words) in [
        (&["--allow-listen=80"][..], "::1", "that interface is granted, that port is not; "),
        (&["--allow-listen=[::1]:80"], "::1", "that interface is granted, that port is not; "),
        (&["--allow-listen=127.0.0.1:80"], "::1", "other interfaces are granted, that one is not; "),
        (&["--allow-net"], "::1", "no port is granted on any interface; "),
    ] {
        let error = grants(flags).listen(&Host::parse(host).unwrap(), 8080).unwrap_err().to_string();
        let start = "listen on [::1]:8080 is not allowed: ";
        assert!(error.ends_with(&format!("{start}{words}--allow-listen=[::1]:8080 would allow it")), "{error}");
    }
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
        (&["--allow-net=unix:/run/*"], "/run/a", true, false),
        (&["--allow-net=unix:/run/*"], "//run//./a", true, false),
        (&["--allow-net=unix://run//./*"], "/run/a", true, false),
        (&["--allow-net=unix:/run/*"], "/run/*", true, false),
        (&["--allow-net=unix:/run/*"], "/run/.hidden", true, false),
        (&["--allow-net=unix:/run/*"], "/run", false, false),
        (&["--allow-net=unix:/run/*"], "/run/", false, false),
        (&["--allow-net=unix:/run/*"], "/run/.", false, false),
        (&["--allow-net=unix:/run/*"], "/run/..", false, false),
        (&["--allow-net=unix:/run/*"], "/run/../etc", false, false),
        (&["--allow-net=unix:/run/*"], "/run/x/../a", false, false),
        (&["--allow-net=unix:/run/*"], "/run/a/b", false, false),
        (&["--allow-net=unix:/run/*"], "/runner/a", false, false),
        (&["--allow-net=unix:/run/*"], "/a", false, false),
        (&["--allow-net=unix:/run/*"], "run/a", false, false),
        (&["--allow-net=unix:/run/*"], "/run/a\0b", false, false),
        (&["--allow-net=unix:/run/*"], "\0abstract", false, false),
        (&["--allow-net=unix:/*"], "/a", true, false),
        (&["--allow-net=unix:/*"], "/run/a", false, false),
        (&["--allow-listen=unix:/run/*"], "/run/a", false, true),
        (&["--allow-net=unix:/run/*", "--allow-listen=unix:/run/a", "--deny-net=unix:/run/a"], "/run/a", false, false),
        (&["--allow-net=unix:/run/a", "--allow-listen=unix:/run/a", "--deny-net=unix:/run/*"], "/run/a", false, false),
        (&["--allow-net=unix:/run/x/a", "--deny-net=unix:/run/*"], "/run/x/a", true, false),
        (&["--allow-net=unix:/run/*", "--deny-net=unix:/run/a"], "/run/b", true, false),
    ] {
        let gate = grants(flags);
        assert_eq!((gate.unix(path).is_ok(), gate.listen_unix(path).is_ok()), (connect, listen), "{flags:?} {path:?}");
    }
    let error = Grants::nothing().unix("/run/a").unwrap_err().to_string();
    assert!(
        error.ends_with("connect to unix:/run/a is not allowed; --allow-net=unix:/run/a would allow it"),
        "{error}"
    );
    for (mine, theirs, both) in [
        ("unix:/a,unix:/b", "unix:/b,unix:/c", &["--allow-net=unix:/b"][..]),
        (
            "unix:/r//*,unix:/q/*",
            "unix:/r/a,unix:/r/b/c,unix:/q/./*",
            &["--allow-net=unix:/q/*", "--allow-net=unix:/r/a"],
        ),
        ("unix:/*", "unix:/a,unix:/a/b", &["--allow-net=unix:/a"]),
        ("unix:/r/*", "unix:/r/b/*", &[]),
    ] {
        let [mine, theirs] = [mine, theirs].map(|list| grants(&[&format!("--allow-net={list}")]));
        assert_eq!(mine.narrow(&theirs).flags(), both);
        assert_eq!(theirs.narrow(&mine).flags(), both);
    }
    for (flags, path, words) in [
        (&[][..], "/run/a*b", "; --allow-net=unix:/run/* would allow it"),
        (&[], "/r*n/a", ": no grant can name a directory with a star"),
        (&["--deny-net=unix:/run/*"], "/run/a", ": --deny-net=unix:/run/* forbids it"),
        (&["--deny-net=unix:/run/*,unix:/run/a"], "/run/a", ": --deny-net=unix:/run/a forbids it"),
    ] {
        let error = grants(flags).unix(path).unwrap_err().to_string();
        assert!(error.ends_with(&format!("connect to unix:{path} is not allowed{words}")), "{error}");
    }
}

/// Code that means to restrict does not name a whole top-level domain; a launcher may.
#[test]
fn narrow_and_jail_agree_on_wildcards() {
    for wildcard in ["*.com", "**.com", "*.COM", "*.com.", "*.com:443", "*.xn--p1ai"] {
        assert!(Grants::parse(&[format!("--allow-net={wildcard}")]).is_ok(), "{wildcard}");
        for refused in [
            Grants::narrowing(&[format!("--allow-net={wildcard}")]),
            Grants::narrowing(&[format!("--allow-net=a.com,{wildcard}")]),
            Grants::hosts(&[wildcard]),
        ] {
            let words = refused.expect_err(wildcard).to_string();
            assert!(words.ends_with("a wildcard needs two labels after it, as in *.example.com"), "{words}");
        }
        assert!(Grants::narrowing(&["--allow-net".to_owned(), format!("--deny-net={wildcard}")]).is_ok());
    }
    assert!(Grants::narrowing(&["--allow-net=*.co.uk"]).is_ok());
}

/// A guard is narrowed to the hosts and ports of its rules, as they stand: no name is a keyword.
#[test]
fn rules_of_a_guard() {
    let host = |text: &str| Host::parse(text).unwrap();
    let Host::Name(name) = host("example.com") else { panic!() };
    let rules = [
        (Reach::Host(host("x.example")), &[80, 443][..]),
        (Reach::Children(name), &[443]),
        (Reach::Host(host("192.0.2.1")), &[8080]),
        (Reach::Host(host("unix")), &[80]),
        (Reach::Host(host("x.example")), &[8000]),
        (Reach::Host(host("none.example")), &[]),
    ];
    let grants = Grants::only(rules);
    for (name, port, allowed) in [
        ("x.example", 80, true),
        ("x.example", 443, true),
        ("x.example", 8000, true),
        ("x.example", 81, false),
        ("a.x.example", 80, false),
        ("a.example.com", 443, true),
        ("a.b.example.com", 443, false),
        ("example.com", 443, false),
        ("192.0.2.1", 8080, true),
        ("192.0.2.2", 8080, false),
        ("unix", 80, true),
        ("none.example", 80, false),
    ] {
        assert_eq!(grants.allows(&host(name), port), allowed, "{name}:{port}");
    }
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
    let needs = Need::parse("a.com:443,b.com:443,A.com:80,b.com:443,[::1]:1").unwrap();
    assert_eq!(gate.missing(&needs), ["--allow-net=b.com:443", "--allow-net=a.com:80", "--allow-net=[::1]:1"]);
    assert!(grants(&["--standard"]).missing(&needs).is_empty());

    // granted, needed (nothing: any network), missing
    for (flags, need, missing) in [
        (&["--allow-net"][..], "", &[][..]),
        (&["--allow-net", "--deny-net=private"], "", &[]),
        (&["--allow-net=a.com"], "", &["--allow-net"]),
        (&[], "", &["--allow-net"]),
        (&["--allow-listen"], "", &["--allow-net"]),
        (&["--allow-net=a.com"], "a.com", &[]),
        (&["--allow-net=a.com:443"], "a.com", &["--allow-net=a.com"]),
        (&["--allow-net=a.com:80", "--allow-net=a.com:443"], "a.com:80+443", &[]),
        (&["--allow-net=a.com:80"], "a.com:80+443", &["--allow-net=a.com:80+443"]),
        (&["--allow-net=*.a.com"], "x.a.com:1-9", &[]),
        (&["--allow-net=*.a.com"], "*.a.com:443", &[]),
        (&["--allow-net=*.a.com"], "**.a.com", &["--allow-net=**.a.com"]),
        (&["--allow-net=**.a.com"], "*.x.a.com", &[]),
        (&["--allow-net=x.a.com"], "*.a.com", &["--allow-net=*.a.com"]),
        (&["--allow-net=10.0.0.0/8"], "10.1.0.0/16:80", &[]),
        (&["--allow-net=10.0.0.0/8"], "10.1.2.3", &[]),
        (&["--allow-net=10.0.0.0/16"], "10.0.0.0/8", &["--allow-net=10.0.0.0/8"]),
        (&["--allow-net=[::]/0"], "[::1]:1", &[]),
        (&["--allow-net"], "unix:/run/a", &["--allow-net=unix:/run/a"]),
        (&["--allow-net=unix:/run/*"], "unix:/run/a", &[]),
        (&["--allow-net=unix:/run/*"], "unix:/run/*", &[]),
        (&["--allow-net=unix:/run/a"], "unix:/run/*", &["--allow-net=unix:/run/*"]),
        (&["--allow-net=unix:/run/*", "--deny-net=unix:/run/a"], "unix:/run/a", &["--allow-net=unix:/run/a"]),
        (&["--allow-net", "--no-dns"], "a.com", &["--allow-net=a.com"]),
        (&["--allow-net", "--no-dns"], "10.0.0.1", &[]),
        (&["--allow-net", "--deny-net=a.com"], "a.com:80", &["--allow-net=a.com:80"]),
        (&["--allow-net", "--deny-net=a.com:443"], "a.com:80", &[]),
        (&["--allow-net", "--deny-net=**.com"], "a.com,*.b.com", &["--allow-net=a.com", "--allow-net=*.b.com"]),
        (&["--allow-net", "--deny-net=a.com"], "*.com", &[]),
        (
            &["--allow-net", "--deny-net=private"],
            "10.0.0.0/8,192.168.1.1:80",
            &["--allow-net=10.0.0.0/8", "--allow-net=192.168.1.1:80"],
        ),
        (&["--allow-net", "--deny-net=private"], "0.0.0.0/0,8.8.8.8", &[]),
    ] {
        let needs = if need.is_empty() { vec![Need::any()] } else { Need::parse(need).unwrap() };
        assert_eq!(grants(flags).missing(&needs), missing, "{flags:?} {need}");
    }
    let narrow = grants(&["--allow-net"]).narrow(&grants(&["--allow-net=a.com"]));
    assert_eq!(narrow.missing(&Need::parse("a.com:1,b.com").unwrap()), ["--allow-net=b.com"]);
    for bad in ["", "a.com,", "https://a.com", "private", "a.com:0", "user@a.com", "*", "::1:80"] {
        let words = Need::parse(bad).unwrap_err().to_string();
        assert!(words.starts_with("requires: "), "{bad}: {words}");
    }
}

#[test]
fn what_narrows_may_be_plain_hosts() {
    for (given, flags) in [
        (&["a.com"][..], &["--allow-net=a.com"][..]),
        (&["a.com", "10.0.0.0/8:80"], &["--allow-net=10.0.0.0/8:80", "--allow-net=a.com"]),
        (&["a.com,b.com:1-9"], &["--allow-net=a.com", "--allow-net=b.com:1-9"]),
        (&["*.a.com", "--deny-net=x.a.com"], &["--allow-net=*.a.com", "--deny-net=x.a.com"]),
        (&["unix:/run/a=b"], &["--allow-net=unix:/run/a=b"]),
        (&["[::1]:80", "--allow-listen=8080"], &["--allow-listen=8080", "--allow-net=[::1]:80"]),
    ] {
        assert_eq!(Grants::narrowing(given).unwrap().flags(), flags, "{given:?}");
        assert!(Grants::parse(given).is_err(), "{given:?}");
    }
    for bad in [
        "",
        "a.com,",
        "*",
        "*.com",
        "https://a.com",
        "-a.com",
        "--alow-net",
        "a com",
        "private",
        "allow-net=a.com",
        "80",
    ] {
        let why = Grants::narrowing(&["b.com", bad]).unwrap_err().to_string();
        assert!(why.contains(bad), "{bad}: {why}");
    }
    let words = Grants::parse(&["--alow-net=a.com"]).unwrap_err().to_string();
    assert_eq!(words, "--alow-net=a.com: unknown flag; did you mean --allow-net?");
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
