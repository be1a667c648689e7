//! Any text as a URL: passes exactly where the answer of the crate `url`, read by plain string comparisons, has a host,
//! port, scheme, path and query that the rules allow.
use crate::guard_reference;

use caspian_net::{
    guard::rules::{RouteSpec, RuleSpec, Rules},
    http::url::HttpUrl,
};
use std::sync::LazyLock;
use url::{Host, Url};

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let routes = Some(vec![RouteSpec { path: "/a/**".into(), methods: None }]);
    let rule = |host: &str, https_only| RuleSpec { host: host.into(), https_only, ..RuleSpec::default() };
    let rules = [
        RuleSpec { routes, ..rule("a.example", true) },
        rule("*.b.example", false),
        RuleSpec { ports: Some(vec![8080]), ..rule("127.0.0.1", false) },
        rule("[::1]", true),
    ];
    Rules::new(&rules, false).unwrap()
});

fn expected(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = !text.chars().any(|c| c.is_ascii_control()) && url.username().is_empty() && url.password().is_none();
    let (scheme, port) = (url.scheme(), url.port_or_known_default()?);
    let web = port == 443 || port == 80 && scheme == "http";
    let mut any = true;
    let allowed = plain
        && ["http", "https"].contains(&scheme)
        && match url.host()? {
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                let label = name.strip_suffix(".b.example");
                any = name != "a.example";
                !any && scheme == "https" && port == 443
                    || label.is_some_and(|label| {
                        let edge = |c: Option<u8>| c.is_some_and(|c| c != b'-');
                        let bytes = label.as_bytes();
                        (port == 80 || port == 443)
                            && label.len() < 64
                            && edge(bytes.first().copied())
                            && edge(bytes.last().copied())
                            && bytes.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-' || *c == b'_')
                    })
            }
            Host::Ipv4(ip) => ip.is_loopback() && ip.octets() == [127, 0, 0, 1] && port == 8080,
            Host::Ipv6(ip) if ip.to_ipv4_mapped().is_some() => ip.segments()[6..] == [0x7f00, 1] && port == 8080,
            Host::Ipv6(ip) => ip.is_loopback() && scheme == "https" && web,
        };
    if !allowed {
        return None;
    }
    // The path as it was written: after the slashes and what stands between them and the next slash.
    let trimmed = text.trim_matches(' ');
    let rest = trimmed[trimmed.find(':')? + 1..].trim_start_matches(['/', '\\']);
    let raw = rest.find(['/', '\\', '?', '#']).map_or("", |at| &rest[at..]);
    let path = guard_reference::path(raw, &url)?;
    if !any && path != "/a" && !path.starts_with("/a/") {
        return None;
    }
    Some(url.query().map_or(path.clone(), |query| format!("{path}?{query}")))
}

pub fn run(input: (u8, &str)) {
    // Some begin well, or few would get far.
    let starts = ["", "", "https://", "https://a.example/a/", "http://x.b.example/", "http://127.0.0.1:8080", "https://[::1]"];
    let text = format!("{}{}", starts[usize::from(input.0) % starts.len()], input.1);
    let got = RULES.decide(text.as_bytes(), b"GET").ok().map(|decision| {
        let url = HttpUrl::parse(&decision.url).unwrap();
        // The root's dot is part of an origin and not of its text: a guard tries no search domains.
        assert_eq!((url.origin().to_string(), url.path()), (decision.origin.to_string(), &*decision.path));
        url.target().to_owned()
    });
    assert_eq!(got, expected(&text), "{text:?}");
}
