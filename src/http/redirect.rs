//! The next request after a redirect (Fetch standard, "HTTP-redirect fetch").
//!
//! It is made from the previous one, so that a header that was dropped for another origin stays dropped, even if a
//! later redirect leads back. Decides only: the sender asks the grants again.

use super::{
    broken,
    request::{Method, Request},
    response::Head,
    url::Scheme,
};
use crate::error::Result;

/// The caller's options for redirects.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Follow from https to http. Defaults to false.
    pub allow_downgrade: bool,
    /// Names of headers that may follow to another origin, besides [`SAFE`].
    pub forward_headers: Vec<String>,
}

/// The caller's headers that say what is wanted, not who wants it: they follow to another origin.
pub const SAFE: [&str; 10] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "content-encoding",
    "content-language",
    "content-type",
    "if-range",
    "range",
    "user-agent",
];

/// The next hop.
#[derive(Debug)]
pub struct Hop {
    pub request: Request,
    /// True if scheme, host or port changed: the client drops the credentials it holds itself, for good.
    pub crossed: bool,
}

/// True for the statuses that lead elsewhere, where there is a `Location`.
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The request that `head` asks for instead of `request`; `None` if it is to be handed to the caller as it is.
pub fn next(request: &Request, head: &Head, rules: &Rules) -> Result<Option<Hop>> {
    if !is_redirect(head.status) {
        return Ok(None);
    }
    let mut locations = head.fields.all("location");
    let Some(location) = locations.next() else { return Ok(None) };
    if locations.any(|other| other != location) {
        return Err(broken("the redirect has two different Locations"));
    }
    if location.is_empty() {
        return Ok(None);
    }
    let from = request.url.origin();
    let url = request.url.join(location).map_err(|why| broken(format!("the redirect cannot be followed: {why}")))?;
    if from.scheme == Scheme::Https && url.origin().scheme == Scheme::Http && !rules.allow_downgrade {
        return Err(broken("the redirect leads from https to http; `allow_downgrade = true` follows it"));
    }
    let crossed = url.origin() != from;
    let mut next = request.clone();
    next.url = url;
    if becomes_get(head.status, &request.method) {
        next.method = Method::GET;
        next.payload = None;
        next.fields_mut().retain(|name| !is_of_body(name));
    }
    if next.payload.as_ref().is_some_and(|payload| !payload.replayable) {
        return Err(broken(format!(
            "the redirect ({}) asks for the body again, and it comes from a source that can be read only once",
            head.status
        )));
    }
    if crossed {
        next.fields_mut().retain(|name| follows(name, rules));
    }
    Ok(Some(Hop { request: next, crossed }))
}

/// True for headers that go to another origin, too.
pub fn follows(name: &[u8], rules: &Rules) -> bool {
    is_in(&SAFE, name) || is_in(&rules.forward_headers, name)
}

/// Fetch standard, "HTTP-redirect fetch", step 12.
fn becomes_get(status: u16, method: &Method) -> bool {
    match status {
        301 | 302 => method.as_str() == "POST",
        303 => !matches!(method.as_str(), "GET" | "HEAD"),
        _ => false,
    }
}

/// True for headers that describe a body, and go with it: the Fetch standard's four, and all others that say `Content-`.
fn is_of_body(name: &[u8]) -> bool {
    const FRONT: &[u8] = b"content-";
    name.get(..FRONT.len()).is_some_and(|front| front.eq_ignore_ascii_case(FRONT)) || is_in(&["expect"], name)
}

fn is_in(names: &[impl AsRef<str>], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_ref().as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{fields::Fields, request::Payload, response::Version, url::HttpUrl};

    fn head(status: u16, locations: &[&str]) -> Head {
        let mut fields = Fields::new();
        locations.iter().for_each(|location| fields.push(b"Location", location.as_bytes()));
        Head { version: Version::Http11, status, reason: Default::default(), fields }
    }

    fn request(method: &str, url: &str, body: Option<bool>, fields: &[&str]) -> Request {
        let payload = body.map(|replayable| Payload { length: Some(3), content_type: None, replayable });
        let mut request =
            Request::new(Method::parse(method.as_bytes()).unwrap(), HttpUrl::parse(url).unwrap(), payload);
        fields.iter().for_each(|name| request.field(name.as_bytes(), b"1").unwrap());
        request
    }

    #[test]
    fn method_and_body() {
        let (once, again) = (Some(false), Some(true));
        for (status, method, body, expected) in [
            (301, "GET", None, Some(("GET", false))),
            (301, "POST", again, Some(("GET", false))),
            (302, "POST", once, Some(("GET", false))),
            (302, "PUT", again, Some(("PUT", true))),
            (301, "HEAD", None, Some(("HEAD", false))),
            (303, "PUT", again, Some(("GET", false))),
            (303, "HEAD", None, Some(("HEAD", false))),
            (303, "DELETE", None, Some(("GET", false))),
            (307, "POST", again, Some(("POST", true))),
            (308, "POST", again, Some(("POST", true))),
            (308, "POST", once, None),
            (302, "PUT", once, None),
        ] {
            let request = request(method, "http://a.example/", body, &["Content-Type", "X"]);
            let got = next(&request, &head(status, &["/x"]), &Rules::default());
            let got = got.ok().flatten().map(|hop| hop.request);
            let shape = got.as_ref().map(|r| (r.method.as_str(), r.payload.is_some()));
            assert_eq!(shape, expected, "{status} {method} {body:?}");
            if let Some(got) = got {
                let dropped = method != "HEAD" && got.method == Method::GET && method != "GET";
                assert_eq!(got.fields().has("content-type"), !dropped, "{status} {method}");
                assert!(got.fields().has("x"));
            }
        }
    }

    #[test]
    fn what_is_not_followed() {
        let https = request("GET", "https://a.example/", None, &[]);
        for (status, locations, expected) in [
            (200, &["/x"][..], Ok(false)),
            (300, &["/x"], Ok(false)),
            (304, &["/x"], Ok(false)),
            (302, &[], Ok(false)),
            (302, &[""], Ok(false)),
            (302, &["/x", "/x"], Ok(true)),
            (302, &["/x", "/y"], Err(())),
            (302, &["http://a.example/"], Err(())),
            (302, &["ftp://a.example/"], Err(())),
            (302, &["//"], Err(())),
        ] {
            let got = next(&https, &head(status, locations), &Rules::default());
            assert_eq!(got.map(|hop| hop.is_some()).map_err(|_| ()), expected, "{status} {locations:?}");
        }
        let rules = Rules { allow_downgrade: true, ..Rules::default() };
        let hop = next(&https, &head(302, &["http://a.example/"]), &rules).unwrap().unwrap();
        assert!(hop.crossed);
    }

    #[test]
    fn headers_across_origins() {
        let names = ["Authorization", "Cookie", "Proxy-Authorization", "X-API-Key", "Host", "Accept", "Range"];
        for (location, crossed) in [
            ("/x", false),
            ("http://a.example:80/x", false),
            ("http://a.example:81/", true),
            ("https://a.example/", true),
            ("http://a.example.evil/", true),
            ("http://xa.example/", true),
            ("http://b.a.example/", true),
        ] {
            let start = request("GET", "http://a.example/", None, &names);
            let hop = next(&start, &head(302, &[location]), &Rules::default()).unwrap().unwrap();
            assert_eq!(hop.crossed, crossed, "{location}");
            let kept: Vec<_> = hop.request.fields().iter().map(|(name, _)| name.to_vec()).collect();
            let expected: &[&str] = if crossed { &["Accept", "Range"] } else { &names };
            assert_eq!(kept, expected.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), "{location}");
        }
    }

    #[test]
    fn what_was_dropped_stays_dropped() {
        let rules = Rules { forward_headers: vec!["x-trace".into()], ..Rules::default() };
        let start = request("GET", "http://a.example/", None, &["Authorization", "X-Trace"]);
        let away = next(&start, &head(302, &["http://b.example/"]), &rules).unwrap().unwrap();
        let back = next(&away.request, &head(302, &["http://a.example/"]), &rules).unwrap().unwrap();
        assert!(!back.request.fields().has("authorization"));
        assert!(back.request.fields().has("x-trace"));
    }
}
