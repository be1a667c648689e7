//! Any two texts, as the host of a rule and as that of a URL: the rule covers it exactly where the crate `url` reads
//! both as the same host.
use caspian_net::{
    address::Host,
    guard::rules::{RuleSpec, Rules},
};
use std::net::IpAddr;

/// What `url` makes of a host: its ASCII form, an IPv4-mapped address as the IPv4 address.
fn whatwg(text: &str) -> Option<String> {
    Some(match url::Host::parse(text).ok()? {
        url::Host::Domain(name) => name.strip_suffix('.').unwrap_or(&name).to_owned(),
        url::Host::Ipv4(ip) => ip.to_string(),
        url::Host::Ipv6(ip) => ip.to_ipv4_mapped().map_or(ip.to_string(), |ip| ip.to_string()),
    })
}

pub fn run(input: (&str, &str, bool)) {
    let (own, other, below) = input;
    if let Ok(host) = Host::parse(own) {
        let form = host.to_string();
        // A bare IPv6 address is what URLs have in brackets.
        let text = if own.contains(':') && !own.starts_with('[') { format!("[{own}]") } else { own.to_owned() };
        assert_eq!(whatwg(&text).as_ref(), Some(&form), "{own:?}");
        assert_eq!(Host::parse(&form).as_ref(), Ok(&host), "{own:?}");
    }
    let rule = if below { format!("*.{own}") } else { own.to_owned() };
    let Ok(rules) = Rules::new(&[RuleSpec { host: rule, https_only: true, ..RuleSpec::default() }], false) else { return };
    // A star of the text's own makes the rule one for a label more, too.
    let (below, own) = own.strip_prefix("*.").map_or((below, own), |own| (true, own));
    for asked in [other, own, &format!("{other}.{own}")] {
        let Ok(decision) = rules.decide(format!("https://{asked}").as_bytes(), b"GET") else { continue };
        let read = url::Url::parse(&format!("https://{asked}")).unwrap();
        let host = whatwg(read.host_str().unwrap()).unwrap();
        assert_eq!(decision.origin.host.to_string(), host, "{asked:?}");
        let own = Host::parse(own).unwrap().to_string();
        let covered = match host.split_once('.') {
            _ if !below => host == own,
            Some((label, parent)) => !label.is_empty() && parent == own && host.parse::<IpAddr>().is_err(),
            None => false,
        };
        assert!(covered, "{asked:?} by {own:?}");
    }
}
