//! The URL that the untrusted side is shown after a redirect.
//!
//! Middleware may have changed the URL of a request, perhaps with a secret in it. The server's `Location` then refers
//! to the changed URL, and often repeats parts of it.

use super::path::decode;
use crate::http::{Invalid, url::HttpUrl};
use std::collections::HashSet;

/// Parts that are looked for; where middleware added more, nothing of the redirect is shown.
const MAX_ADDED: usize = 64;

/// What `location` is for who knows `shown` in place of `sent`: the URL that it leads to, or `shown` again where it repeats
/// a part of `sent` that `shown` does not have. Parts are compared decoded, in any case.
pub fn shown_after(sent: &HttpUrl, shown: &HttpUrl, location: &[u8]) -> Result<HttpUrl, Invalid> {
    let next = shown.join(location)?;
    if sent.to_text() == shown.to_text() {
        return Ok(next);
    }
    // Whoever was asked by another name or port is not to be seen either.
    let moved = sent.origin() != shown.origin() && next.origin() == sent.origin();
    let (sent, told) = (sent.to_text(), folded(&next.to_text()));
    let known: HashSet<String> = parts(&shown.to_text()).collect();
    let added: HashSet<String> = parts(&sent).filter(|part| !known.contains(part)).take(MAX_ADDED).collect();
    let repeats = added.len() == MAX_ADDED || added.iter().any(|part| told.contains(part));
    Ok(if moved || repeats { shown.clone() } else { next })
}

/// The parts of a URL that mean something alone.
fn parts(url: &str) -> impl Iterator<Item = String> {
    let after = url.find("://").map_or(url, |at| &url[at + 3..]);
    after.split(['/', '?', '&', '=', ';', '#', ',', ':']).map(folded).filter(|part| !part.is_empty())
}

/// Decoded as often as it can be, in lower case; a `+` is the space that it is in a query.
fn folded(text: &str) -> String {
    let mut text = text.to_ascii_lowercase();
    for _ in 0..4 {
        let decoded = String::from_utf8_lossy(&decode(&text)).to_ascii_lowercase();
        if decoded == text {
            break;
        }
        text = decoded;
    }
    text.replace('+', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_middleware_put_into_a_url_stays_hidden() {
        let (asked, token) = ("https://api.example/v1/me?a=1", "https://api.example/bot77:s3cr3t/me?a=1&key=qqq");
        let other = "https://mirror.example:8443/v1/me?a=1";
        // sent, Location, what is shown (None: what was asked for)
        for (sent, location, expected) in [
            (asked, "/v2/me", Some("https://api.example/v2/me")),
            (asked, "https://b.example/", Some("https://b.example/")),
            (token, "next", Some("https://api.example/v1/next")),
            (token, "/login", Some("https://api.example/login")),
            (token, "https://b.example/x", Some("https://b.example/x")),
            (token, "/bot77:s3cr3t/you", None),
            (token, "/BOT77%3AS3CR3T/you", None),
            (token, "/login?back=%2Fbot77%3As3cr3t%2Fme", None),
            (token, "/login?back=%252Fbot77%253As3cr3t%252Fme", None),
            (token, "https://b.example/?from=bot77:s3cr3t", None),
            (token, "next?key=qqq", None),
            (token, "?a=1&key=QQQ", None),
            ("https://api.example/my%20key/me?a=1", "/login?back=my+key", None),
            ("https://api.example/v1/me?a=1&key=my+key", "/my%20key/you", None),
            (other, "/v2", Some("https://api.example/v2")),
            (other, "https://mirror.example:8443/v2", None),
            (other, "https://b.example/?at=mirror.example", None),
            (other, "//b.example:8443/", None),
        ] {
            let (sent, asked) = (HttpUrl::parse(sent).unwrap(), HttpUrl::parse(asked).unwrap());
            let got = shown_after(&sent, &asked, location.as_bytes()).unwrap().to_text();
            assert_eq!(got, expected.map_or(asked.to_text(), str::to_owned), "{sent:?} {location}");
        }
    }
}
