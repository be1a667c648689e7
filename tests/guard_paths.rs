//! Paths: `tests/data/guard_paths.tsv` has what is matched and sent for what is written, and what is refused.

mod tables;

use caspian_net::{
    error::Kind,
    guard::rules::{Refusal, RuleSpec, Rules},
    http::{
        request::{Form, Method, Request},
        url::HttpUrl,
    },
};
use tables::{rows, text};

/// The request line of the URL that a decision answers: the bytes that go out.
fn request_line(url: &str, form: Form) -> String {
    let request = Request::new(Method::GET, HttpUrl::parse(url).expect("a URL"), None);
    let head = String::from_utf8(request.draft(form).end()).expect("a head");
    head.lines().next().expect("a line").to_owned()
}

#[test]
fn the_table_holds() {
    let rule = RuleSpec { host: "h.example".into(), ..RuleSpec::default() };
    let rules = Rules::new(&[rule], false).expect("a rule");
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for row in rows(include_str!("data/guard_paths.tsv")) {
        let [path, expected] = row[..] else { panic!("{row:?}") };
        let (path, expected) = (text(path), text(expected));
        ran += 1;
        let got = match rules.decide(format!("http://h.example{path}").as_bytes(), b"GET") {
            Ok(decision) => {
                let query = path.split('#').next().and_then(|rest| rest.split_once('?')).map(|(_, query)| query);
                let target = format!("{}{}", decision.path, query.map_or(String::new(), |query| format!("?{query}")));
                assert_eq!(decision.url, format!("http://h.example{target}"), "{path:?}");
                // What was matched is, byte for byte, what is sent.
                assert_eq!(request_line(&decision.url, Form::Origin), format!("GET {target} HTTP/1.1"), "{path:?}");
                let absolute = format!("GET {} HTTP/1.1", decision.url);
                assert_eq!(request_line(&decision.url, Form::Absolute), absolute, "{path:?}");
                decision.path
            }
            Err(Refusal::Refused(error)) => {
                assert_eq!(error.kind(), Kind::RequestNotAllowed, "{path:?}");
                "refused".into()
            }
            Err(Refusal::Wrong(..)) => "wrong".into(),
        };
        if got != expected {
            wrong.push(format!("{path:?}: {got:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= 100, "{ran} rows");
}
