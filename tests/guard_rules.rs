//! Rules: what is refused when a guard is made, with the key that is wrong, and what each rule allows.

mod guard_support;
mod tables;

use caspian_net::{
    address::Reach,
    guard::{
        path::Segments,
        pattern::{MAX_CONSTRAINT, MAX_GROUPS, MAX_NAME, MAX_PATTERN, Pattern, Shared},
        rules::{BadRule, MAX_METHODS, MAX_PORTS, MAX_ROUTES, MAX_RULES, MAX_URL, Refusal, RouteSpec, RuleSpec, Rules},
    },
};
use guard_support::{numbers, oracle};
use serde_json::Value;
use tables::{rows, text};

/// Rules as JSON has them; `https_only` defaults to true, as in the front.
fn specs(json: &str) -> Vec<RuleSpec> {
    let json: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"));
    let list = |value: &Value| value.as_array().cloned();
    let texts = |value: &Value| {
        Some(list(value)?.iter().map(|text| text.as_str().expect("a text").to_owned()).collect::<Vec<_>>())
    };
    let route = |value: &Value| RouteSpec {
        path: value["path"].as_str().expect("a path").into(),
        methods: texts(&value["methods"]),
    };
    let rule = |value: &Value| RuleSpec {
        host: value["host"].as_str().expect("a host").into(),
        https_only: value["https_only"].as_bool().unwrap_or(true),
        ports: list(&value["ports"]).map(|ports| ports.iter().map(|port| port.as_i64().expect("a number")).collect()),
        routes: list(&value["routes"]).map(|routes| routes.iter().map(route).collect()),
    };
    list(&json).expect("a list").iter().map(rule).collect()
}

fn rules(json: &str, has_policy: bool) -> Rules {
    Rules::new(&specs(json), has_policy).unwrap_or_else(|why| panic!("{json}: {why}"))
}

/// What the gate of a guard is narrowed to.
#[test]
fn hosts_of_rules() {
    let rows = [
        (r#"[{"host": "X.example"}]"#, false, "x.example [443]"),
        (r#"[{"host": "x.example", "https_only": false}]"#, false, "x.example [80, 443]"),
        (r#"[{"host": "*.example.com", "ports": [8443]}]"#, false, "*.example.com [8443]"),
        (r#"[{"host": "[::1]", "ports": [1, 2]}]"#, false, "::1 [1, 2]"),
        (
            r#"[{"host": "unix"}, {"host": "x.example"}, {"host": "unix", "ports": [80]}]"#,
            false,
            "unix [443], unix [80], x.example [443]",
        ),
        (r#"[]"#, false, ""),
        (r#"[{"host": "x.example"}]"#, true, "any"),
    ];
    for (json, has_policy, expected) in rows {
        let rules = rules(json, has_policy);
        let text = |(reach, ports): (Reach, &[u16])| match reach {
            Reach::Host(host) => format!("{host} {ports:?}"),
            Reach::Children(name) => format!("*.{} {ports:?}", name.as_str()),
        };
        let hosts = rules.hosts().map(|hosts| {
            let mut hosts: Vec<_> = hosts.map(text).collect();
            hosts.sort();
            hosts.join(", ")
        });
        assert_eq!(hosts.as_deref().unwrap_or("any"), expected, "{json}");
    }
}

/// `allow RULE.ROUTE URL`, or the class of the refusal.
fn ask(rules: &Rules, url: &str, method: &str) -> String {
    match rules.decide(url.as_bytes(), method.as_bytes()) {
        Ok(decision) => format!("{}.{} {}", decision.rule, decision.route, decision.url),
        Err(Refusal::Refused(error)) => error.kind().word().into(),
        Err(Refusal::Wrong(index, _)) => format!("argument {index}"),
    }
}

#[test]
fn bad_rules_are_refused_by_key() {
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for row in rows(include_str!("data/guard_bad_rules.tsv")) {
        let [json, key, says] = row[..] else { panic!("{row:?}") };
        let (key, says) = (text(key), text(says));
        ran += 1;
        match Rules::new(&specs(json), true) {
            Ok(_) => wrong.push(format!("{json} is taken")),
            Err(why) if why.key != key || !why.why.contains(&says) => wrong.push(format!("{json}: {why}; not {says}")),
            Err(why) => {
                let shown = why.to_string();
                assert!(shown.starts_with(&format!("{key}: ")) && !shown.contains("s3cret"), "{shown}");
                assert!(!shown.chars().any(char::is_control), "{shown:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= 150, "{ran} rows");
}

#[test]
fn caps() {
    let path = |path: String| RuleSpec {
        host: "a.example".into(),
        routes: Some(vec![RouteSpec { path, methods: None }]),
        ..RuleSpec::default()
    };
    let many = |count: usize, routes: usize| {
        let route = RouteSpec { path: "/".into(), methods: None };
        let routes = Some(vec![route; routes]);
        vec![RuleSpec { host: "a.example".into(), routes, ..RuleSpec::default() }; count]
    };
    let ports = |count| RuleSpec { host: "a.example".into(), ports: Some(vec![443; count]), ..RuleSpec::default() };
    let methods = |count| {
        let mut rule = path("/".into());
        if let Some(routes) = &mut rule.routes {
            routes[0].methods = Some(vec!["GET".into(); count]);
        }
        rule
    };
    let groups = |count| "{a}?".repeat(count);
    let rows: [(Vec<RuleSpec>, Vec<RuleSpec>, &str, &str); 9] = [
        (many(MAX_RULES, 0), many(MAX_RULES + 1, 0), "rules", "more than 10000 rules"),
        (many(100, MAX_ROUTES / 100), many(101, MAX_ROUTES / 100), "rules", "more than 100000 routes"),
        (vec![ports(MAX_PORTS)], vec![ports(MAX_PORTS + 1)], "rules[1].ports", "more than 1000 ports"),
        (vec![methods(MAX_METHODS)], vec![methods(MAX_METHODS + 1)], "rules[1].routes[1].methods", "more than 100"),
        (
            vec![path(format!("/{}", "a".repeat(MAX_PATTERN - 1)))],
            vec![path(format!("/{}", "a".repeat(MAX_PATTERN)))],
            "rules[1].routes[1].path",
            "longer than 2048 bytes",
        ),
        (
            vec![path(format!("/:a({})", "x".repeat(MAX_CONSTRAINT)))],
            vec![path(format!("/:a({})", "x".repeat(MAX_CONSTRAINT + 1)))],
            "rules[1].routes[1].path",
            "longer than 256 bytes",
        ),
        (
            vec![path("/:a([0-9a-f]{64})".into())],
            vec![path("/:a((?:[0-9a-f]{64}){64})".into())],
            "rules[1].routes[1].path",
            "the constraint is refused",
        ),
        (
            vec![path(format!("/:{}", "n".repeat(MAX_NAME)))],
            vec![path(format!("/:{}", "n".repeat(MAX_NAME + 1)))],
            "rules[1].routes[1].path",
            "longer than 64 bytes",
        ),
        (
            vec![path(format!("/{}", groups(MAX_GROUPS)))],
            vec![path(format!("/{}", groups(MAX_GROUPS + 1)))],
            "rules[1].routes[1].path",
            "more than 4 groups",
        ),
    ];
    for (most, more, key, says) in rows {
        assert!(Rules::new(&most, false).is_ok(), "{says}");
        let BadRule { key: got, why } = Rules::new(&more, false).expect_err(says);
        assert!(got == key && why.contains(says), "{got}: {why}");
    }
    // Repetitions of nothing are no way round.
    for constraint in ["(?:){4294967295}", "(?:(?:){9999}){9999}", "(?:a{0}){4294967295}"] {
        let _ = Rules::new(&[path(format!("/:a({constraint})"))], false);
    }
    let long = rules(r#"[{"host": "a.example"}]"#, false);
    let url = |length: usize| format!("https://a.example/{}", "x".repeat(length - 18));
    assert!(ask(&long, &url(MAX_URL), "GET").starts_with("1.0 "));
    assert_eq!(ask(&long, &url(MAX_URL + 1), "GET"), "argument 1");
}

#[test]
fn rules_decide() {
    let guard = rules(
        r#"[
            {"host": "api.example.com", "routes": [{"path": "/v1/**", "methods": ["get", "HEAD"]}, {"path": "/v1/:x", "methods": ["POST"]}]},
            {"host": "*.example.com", "ports": [443, 8443], "routes": [{"path": "/any"}]},
            {"host": "api.example.com", "https_only": false, "routes": [{"path": "/plain"}, {"path": "/v1/x"}]},
            {"host": "closed.example.com", "routes": []},
            {"host": "bücher.example", "https_only": false},
            {"host": "[::ffff:192.0.2.1]", "https_only": false, "ports": [81]},
            {"host": "[2001:DB8::1]"},
            {"host": "odd.example", "https_only": false, "ports": [443]},
            {"host": "TRAILING.example.", "routes": [{"path": "/", "methods": ["x-y"]}]}
        ]"#,
        false,
    );
    for (method, url, expected) in [
        ("GET", "https://api.example.com/v1/a", "1.1 https://api.example.com/v1/a"),
        ("get", "https://API.example.COM.:443/v1/a#f", "1.1 https://api.example.com/v1/a"),
        ("HEAD", "https://api.example.com/v1", "1.1 https://api.example.com/v1"),
        ("POST", "https://api.example.com/v1/a?x=%2f", "1.2 https://api.example.com/v1/a?x=%2f"),
        ("POST", "https://api.example.com/v1/a?", "1.2 https://api.example.com/v1/a?"),
        ("PUT", "https://api.example.com/v1/x", "3.2 https://api.example.com/v1/x"),
        ("PUT", "https://api.example.com/v1/y", "request_not_allowed"),
        // Exact rules in their order, then wildcards: they add up.
        ("PUT", "https://api.example.com/any", "2.1 https://api.example.com/any"),
        ("PUT", "https://api.example.com:8443/any", "2.1 https://api.example.com:8443/any"),
        ("GET", "https://api.example.com:8443/v1/a", "request_not_allowed"),
        ("GET", "https://api.example.com:9443/v1/a", "port_not_allowed"),
        ("GET", "http://api.example.com/plain", "3.1 http://api.example.com/plain"),
        ("GET", "http://api.example.com:443/plain", "3.1 http://api.example.com:443/plain"),
        ("GET", "http://api.example.com/any", "request_not_allowed"),
        ("GET", "https://other.example.com/any", "2.1 https://other.example.com/any"),
        ("GET", "https://example.com/any", "host_not_allowed"),
        ("GET", "https://a.b.example.com/any", "host_not_allowed"),
        ("GET", "https://api.example.com.evil.example/v1/a", "host_not_allowed"),
        ("GET", "https://closed.example.com/", "request_not_allowed"),
        // An empty list denies its own rule's paths; the wildcard's are its own.
        ("GET", "https://closed.example.com/any", "2.1 https://closed.example.com/any"),
        ("GET", "http://xn--bcher-kva.example/ü", "5.0 http://xn--bcher-kva.example/%C3%BC"),
        ("GET", "https://B%C3%9Ccher.example", "5.0 https://xn--bcher-kva.example/"),
        ("GET", "http://xn--bcher-kva.example:8080/", "port_not_allowed"),
        ("GET", "http://192.0.2.1:81/", "6.0 http://192.0.2.1:81/"),
        ("GET", "http://0xc0000201:81/", "6.0 http://192.0.2.1:81/"),
        ("GET", "http://[::ffff:c000:201]:81/", "6.0 http://192.0.2.1:81/"),
        ("GET", "http://192.0.2.1/", "port_not_allowed"),
        ("GET", "https://[2001:db8:0::1]/", "7.0 https://[2001:db8::1]/"),
        ("GET", "http://[2001:db8::1]/", "request_not_allowed"),
        ("GET", "http://odd.example/", "port_not_allowed"),
        ("GET", "http://odd.example:443/", "8.0 http://odd.example:443/"),
        ("x-y", "https://trailing.example", "9.1 https://trailing.example/"),
        ("X-Y", "https://trailing.example", "9.1 https://trailing.example/"),
        ("GET", "https://user@api.example.com/v1/a", "request_not_allowed"),
        ("GET", "https://:p@api.example.com/v1/a", "request_not_allowed"),
        ("GET", "https://@api.example.com/v1/a", "1.1 https://api.example.com/v1/a"),
        ("GET", "ftp://api.example.com/v1/a", "request_not_allowed"),
        ("GET", "wss://api.example.com/v1/a", "request_not_allowed"),
        ("GET", "https://*.example.com/any", "host_not_allowed"),
        ("GET", "https://.example.com/any", "host_not_allowed"),
        ("GET", "https://api.example.com:0/v1/a", "argument 1"),
        ("GET", "https://api.example.com/v1/\0", "argument 1"),
        ("GET", "https://api.example.com/v1/\r\nX: y", "argument 1"),
        ("GET", "/v1/a", "argument 1"),
        ("", "https://api.example.com/v1/a", "argument 2"),
        ("GET x", "https://api.example.com/v1/a", "argument 2"),
        ("connect", "https://api.example.com/v1/a", "argument 2"),
    ] {
        assert_eq!(ask(&guard, url, method), expected, "{method} {url}");
    }
    assert_eq!(
        guard.decide(b"https://api.example.com/v1/\xff", b"GET").err().map(|why| format!("{why:?}")),
        Some("Wrong(1, Invalid(\"URL is not UTF-8\"))".into())
    );
}

/// Finding the rule and route by host and literal beginning is the same as trying each in its order.
#[test]
fn the_first_rule_and_route_decide() {
    let mut below = numbers();
    let (hosts, methods) = (["a.b.example", "*.b.example", "c.b.example"], ["GET", "POST"]);
    let mut passed = 0;
    for _ in 0..400 {
        let mut trees = Vec::new();
        let mut route = |below: &mut dyn FnMut(usize) -> usize| {
            // Several with the same beginning.
            let mut tree: Vec<oracle::Token> = "/a/b/ab".chars().take(below(4) * 2).map(token).collect();
            tree.extend(oracle::Source::new(&mut *below).pattern());
            let path = oracle::write(&tree);
            trees.push(tree);
            RouteSpec { path, methods: (below(2) == 0).then(|| vec![methods[below(2)].into()]) }
        };
        let specs: Vec<RuleSpec> = (0..below(5) + 1)
            .map(|_| RuleSpec {
                host: hosts[below(3)].into(),
                https_only: below(4) > 0,
                ports: (below(4) == 0).then(|| vec![8080]),
                routes: (below(8) > 0).then(|| (0..below(6)).map(|_| route(&mut below)).collect()),
            })
            .collect();
        let rules = Rules::new(&specs, false).expect("rules");
        for _ in 0..20 {
            let path = match trees.len() {
                0 => "/a".into(),
                count => {
                    let tree = &trees[below(count)];
                    oracle::Source::new(&mut below).path(tree)
                }
            };
            let (host, method) = (["a.b.example", "c.b.example"][below(2)], methods[below(2)]);
            let port = [443, 443, 8080][below(3)];
            let fits = |spec: &RuleSpec| {
                let ports = spec.ports.clone().unwrap_or(vec![80, 443]);
                ports.contains(&port).then_some(())?;
                let Some(routes) = &spec.routes else { return Some(0) };
                let nth = routes.iter().position(|route| {
                    let pattern = Pattern::parse(&route.path, &mut Shared::new()).expect("a pattern");
                    let asked = route.methods.as_ref().is_none_or(|methods| methods[0] == method);
                    asked && pattern.find(&Segments::of(&path)).is_some()
                });
                nth.map(|nth| nth + 1)
            };
            let among = |star: bool| {
                let of_host = move |spec: &RuleSpec| if star { spec.host.starts_with('*') } else { spec.host == host };
                specs.iter().enumerate().filter(move |(_, spec)| of_host(spec))
            };
            let expected = among(false).chain(among(true)).find_map(|(nth, spec)| Some((nth + 1, fits(spec)?)));
            let url = format!("https://{host}:{port}{path}");
            let got =
                rules.decide(url.as_bytes(), method.as_bytes()).ok().map(|decision| (decision.rule, decision.route));
            assert_eq!(got, expected, "{method} {url} by {specs:?}");
            passed += usize::from(got.is_some());
        }
    }
    assert!(passed > 1000, "{passed}");
}

fn token(c: char) -> oracle::Token {
    if c == '/' { oracle::Token::Slash } else { oracle::Token::Text(c) }
}

#[test]
fn a_policy_is_for_hosts_without_a_rule() {
    let json = r#"[{"host": "a.example", "routes": []}]"#;
    for (rules, url, expected) in [
        (rules(json, true), "https://b.example:8443/%41", "0.0 https://b.example:8443/A"),
        (rules(json, true), "http://b.example/", "0.0 http://b.example/"),
        (rules(json, true), "https://a.example/", "request_not_allowed"),
        (rules(json, true), "https://a.example:8443/", "port_not_allowed"),
        (rules(json, true), "https://b.example/%2f", "request_not_allowed"),
        (rules(json, true), "https://u:p@b.example/", "request_not_allowed"),
        (rules(json, true), "ftp://b.example/", "request_not_allowed"),
        (rules(json, false), "https://b.example/", "host_not_allowed"),
        (rules("[]", true), "https://b.example/", "0.0 https://b.example/"),
        (rules("[]", true), "https://b.example/a/..;/b", "request_not_allowed"),
        // Neither rules nor a policy: nothing is allowed.
        (rules("[]", false), "https://b.example/", "host_not_allowed"),
    ] {
        assert_eq!(ask(&rules, url, "GET"), expected, "{url}");
    }
}

/// What a refusal says: what was asked and what would allow it, but neither path nor query, nor anything of userinfo.
#[test]
fn refusals_hold_no_secret() {
    let guard = rules(r#"[{"host": "a.example", "routes": [{"path": "/x", "methods": ["GET"]}]}]"#, false);
    for (method, url, says) in [
        ("GET", "http://a.example/s3cret", "https_only = false"),
        ("GET", "https://a.example:81/s3cret", "port 81"),
        ("GET", "https://a.example/s3cret?s3cret", "no route"),
        ("POST", "https://a.example/x?s3cret", "POST"),
        ("GET", "https://b.example/s3cret", "host = \"b.example\""),
        ("GET", "https://s3cret:s3cret@a.example/x", "credentials"),
        ("GET", "https://a.example/s3cret%2f", "%2F"),
        ("GET", "ftp://s3cret@a.example/s3cret", "credentials"),
    ] {
        let Err(Refusal::Refused(error)) = guard.decide(url.as_bytes(), method.as_bytes()) else { panic!("{url}") };
        let fields = format!("{:?}", error.fields());
        assert!(!fields.contains("s3cret") && error.fields().message.contains(says), "{url}: {fields}");
    }
}
