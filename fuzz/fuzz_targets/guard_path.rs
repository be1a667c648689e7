//! Any text as a path: refused or sent as a second reading says, byte for byte, and sent again it is the same.
use crate::guard_reference;

use caspian_net::{
    guard::rules::{Refusal, RuleSpec, Rules},
    http::url::HttpUrl,
};
use std::sync::LazyLock;
use url::Url;

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    Rules::new(&[RuleSpec { host: "h.example".into(), ..RuleSpec::default() }], false).unwrap()
});

pub fn run(text: &str) {
    let text = format!("http://h.example/{text}");
    // The URL parser trims blanks at the end, and drops tabs and newlines, which the guard refuses.
    let trimmed = text.trim_end_matches(' ');
    let expected = match text.chars().any(|c| c.is_ascii_control()) {
        true => None,
        false => guard_reference::path(&trimmed[16..], &Url::parse(&text).unwrap()),
    };
    let got = match RULES.decide(text.as_bytes(), b"GET") {
        Ok(decision) => {
            let url = HttpUrl::parse(&decision.url).unwrap();
            assert_eq!(url.path(), decision.path);
            assert_eq!(url.without_fragment(), decision.url);
            let again = RULES.decide(decision.url.as_bytes(), b"GET").unwrap();
            assert_eq!(again.url, decision.url);
            Some(decision.path)
        }
        Err(Refusal::Refused(_) | Refusal::Wrong(1, _)) => None,
        Err(why) => panic!("{why:?}"),
    };
    assert_eq!(got, expected, "{text:?}");
}
