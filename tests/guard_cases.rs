//! The guard's rules under attack: the rows `url` and `path` of `tests/data/cases.tsv`, whole.

mod tables;

use caspian_net::guard::rules::{Refusal, RouteSpec, RuleSpec, Rules};
use tables::{rows, text};

/// Rows where the contract's own words, or what is asked here, differ from what the table expects.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("P054", "deny:argument", "contract, section 5: LF in a URL is refused, not dropped"),
    ("U106", "deny:argument", "as above"),
    ("U105", "deny:argument", "as above: control characters"),
    ("P057", "deny:host_not_allowed", "the input is a URL of its own, of another host"),
    ("U090", "deny:request_not_allowed", "contract, section 7: URLs with credentials are refused, whatever the host"),
    ("U091", "deny:request_not_allowed", "contract, section 7: URLs with credentials are refused, whatever the host"),
    ("U092", "deny:request_not_allowed", "contract, section 7: URLs with credentials are refused, whatever the host"),
    ("U093", "deny:request_not_allowed", "contract, section 7: URLs with credentials are refused, whatever the host"),
    ("U094", "deny:request_not_allowed", "contract, section 7: URLs with credentials are refused, whatever the host"),
    ("U100", "deny:request_not_allowed", "contract, section 7: URLs with credentials are refused, whatever the host"),
    ("U119", "deny:request_not_allowed", "contract, section 7: URLs with credentials are refused, whatever the host"),
    ("U176", "allow", "the grants refuse it, not the rule"),
];

fn decide(rules: &Rules, url: &str, method: &str) -> String {
    match rules.decide(url.as_bytes(), method.as_bytes()) {
        Ok(_) => "allow".into(),
        Err(Refusal::Refused(error)) => {
            let shown = error.to_string();
            assert!(!shown.chars().any(char::is_control) && !shown.contains("s3cret"), "{shown:?}");
            format!("deny:{}", error.kind().word())
        }
        Err(Refusal::Wrong(..)) => "deny:argument".into(),
    }
}

fn url(input: &str, context: &str) -> String {
    let host = context.split("host=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a host");
    let open = context.contains("httpsOnly=false");
    let ports = context.contains("ports=80,443").then(|| vec![80, 443]);
    let rule = RuleSpec { host: host.into(), https_only: !open, ports, routes: None };
    decide(&Rules::new(&[rule], false).expect("a rule"), input, "GET")
}

fn path(input: &str, context: &str) -> String {
    let routes = match context.strip_prefix("route=").expect("a route") {
        "(routes = {})" => vec![],
        route => {
            let (method, path) = route.split_once(' ').expect("a method and a path");
            vec![RouteSpec { path: path.into(), methods: (method != "*").then(|| vec![method.into()]) }]
        }
    };
    let rule = RuleSpec { host: "example.com".into(), https_only: true, ports: None, routes: Some(routes) };
    let rules = match Rules::new(&[rule], false) {
        Ok(rules) => rules,
        Err(why) => {
            assert_eq!(why.key, "rules[1].routes[1].path", "{why}");
            return "rule-error".into();
        }
    };
    let (path, method) = match input.strip_suffix(']').and_then(|rest| rest.split_once(" [")) {
        // A header, which is no method.
        Some((path, header)) if header.contains(": ") => (path, "GET"),
        Some((path, method)) => (path, method),
        None => (input, "GET"),
    };
    let url = if path.starts_with('/') { format!("https://example.com{path}") } else { path.to_owned() };
    decide(&rules, &url, method)
}

#[test]
fn the_table_holds() {
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for row in rows(include_str!("data/cases.tsv")) {
        let [id, kind, input, context, expected, ..] = row[..] else { panic!("{row:?}") };
        let (input, context) = (&text(input), &text(context));
        let got = match kind {
            "url" => url(input, context),
            "path" => path(input, context),
            _ => continue,
        };
        let expected = DIFFERENCES.iter().find(|(row, ..)| *row == id).map_or(expected, |(_, own, _)| own);
        ran += 1;
        if got != expected {
            wrong.push(format!("{id} {input:?} with {context:?}: {got}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(ran, 179);
}
