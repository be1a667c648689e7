//! URLs that can be fetched: `http` and `https`, read as browsers read them (WHATWG), with the host in the form that
//! the grants check.
//!
//! Parsed once; the host that is checked is the host that is resolved, named in SNI and sent as `Host`. Never holds
//! userinfo, and no message repeats it.

use super::Invalid;
use crate::address::{Endpoint, Host};
use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// No URL is longer, in bytes: browsers take no more than twice as much.
pub const MAX_URL: usize = 1 << 20;

/// Scheme, host and port: what has to be the same for a connection or a credential to be shared (RFC 6454).
#[derive(Clone, Debug)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
}

impl PartialEq for Origin {
    /// As in browsers, a name with the root's dot is another origin: without it a search domain may make another host of it.
    fn eq(&self, other: &Origin) -> bool {
        (self.scheme, self.port, &self.host, self.host.is_absolute())
            == (other.scheme, other.port, &other.host, other.host.is_absolute())
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.scheme, self.port, &self.host).hash(state);
    }
}

impl Origin {
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { host: self.host.clone(), port: self.port }
    }

    /// The value of `Host`: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let host = self.host.authority();
        if self.port == self.scheme.default_port() { host.into_owned() } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

/// An absolute `http` or `https` URL without userinfo. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(Arc<Parsed>);

#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    url: ::url::Url,
    origin: Origin,
    authority: String,
}

/// What is wrong with a URL, where it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is none.
    Malformed,
    /// It is neither `http` nor `https`.
    Scheme,
    /// Its host is none, for the WHATWG parser lets more pass than DNS has names for.
    Host,
    /// It has userinfo.
    Credentials,
}

impl HttpUrl {
    /// A caller's URL. Control characters are refused rather than dropped, as the WHATWG parser would; so is userinfo.
    pub fn parse(text: &str) -> Result<HttpUrl, Invalid> {
        Self::read(text).map_err(|(_, why)| why)
    }

    /// The same, for whoever answers differently to different faults.
    pub fn read(text: &str) -> Result<HttpUrl, (Fault, Invalid)> {
        let fail = |fault, why: String| Err((fault, Invalid(why)));
        if text.len() > MAX_URL {
            return fail(Fault::Malformed, format!("URL is longer than {MAX_URL} bytes"));
        }
        if let Some(bad) = text.bytes().find(u8::is_ascii_control).map(char::from) {
            return fail(Fault::Malformed, format!("URL contains the control character {bad:?}"));
        }
        let url = match ::url::Url::parse(text) {
            Ok(url) => url,
            Err(::url::ParseError::RelativeUrlWithoutBase) => {
                return fail(Fault::Malformed, "URL has no scheme; it must begin with http:// or https://".into());
            }
            Err(_) if has_zone(text) => {
                return fail(Fault::Malformed, format!("malformed URL: {NO_ZONES}"));
            }
            Err(why) => return fail(Fault::Malformed, format!("malformed URL: {why}")),
        };
        if has_userinfo(&url) {
            return fail(Fault::Credentials, "URL contains credentials; give them with the option `auth`".into());
        }
        Self::from_parsed(url)
    }

    /// Where `location` leads from here: resolved as browsers do, userinfo dropped, our fragment inherited if it has
    /// none of its own (RFC 9110 section 10.2.2).
    pub fn join(&self, location: &[u8]) -> Result<HttpUrl, Invalid> {
        let mut url = self.0.url.join(&readable(location)).map_err(|why| Invalid(format!("malformed URL: {why}")))?;
        if url.fragment().is_none() {
            url.set_fragment(self.0.url.fragment());
        }
        if has_userinfo(&url) {
            // Both fail only for URLs without a host, which `from_parsed` refuses.
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        Self::from_parsed(url).map_err(|(_, why)| why)
    }

    /// True if [`HttpUrl::join`] drops userinfo there.
    pub fn joins_userinfo(&self, location: &[u8]) -> bool {
        self.0.url.join(&readable(location)).is_ok_and(|url| has_userinfo(&url))
    }

    /// The same with these pairs behind the query that it has.
    pub fn with_pairs(&self, pairs: &str) -> HttpUrl {
        let Parsed { url, origin, authority } = &*self.0;
        let query = url.query().unwrap_or_default();
        let between = if query.is_empty() || query.ends_with(['?', '&']) { "" } else { "&" };
        let mut url = url.clone();
        url.set_query(Some(&format!("{query}{between}{pairs}")));
        HttpUrl(Arc::new(Parsed { url, origin: origin.clone(), authority: authority.clone() }))
    }

    fn from_parsed(url: ::url::Url) -> Result<HttpUrl, (Fault, Invalid)> {
        let fail = |fault, why: String| Err((fault, Invalid(why)));
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return fail(Fault::Scheme, format!("scheme {other:?} is not http or https")),
        };
        let Some(host) = url.host() else { return fail(Fault::Malformed, "URL has no host".into()) };
        let host = match Host::from_url(host) {
            Ok(host) => host,
            Err(why) => return fail(Fault::Host, format!("malformed URL: {why}")),
        };
        let port = url.port().unwrap_or(scheme.default_port());
        if port == 0 {
            return fail(Fault::Malformed, "URL has port 0".into());
        }
        let origin = Origin { scheme, host, port };
        Ok(HttpUrl(Arc::new(Parsed { url, authority: origin.authority(), origin })))
    }

    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// The value of `Host`; see [`Origin::authority`].
    pub fn authority(&self) -> &str {
        &self.0.authority
    }

    /// The request target in origin form: path and query. ASCII without spaces or controls, by the parser's escaping.
    pub fn target(&self) -> &str {
        // Positions of a parsed URL are its own: the range is always in it.
        &self.0.url[::url::Position::BeforePath..::url::Position::AfterQuery]
    }

    pub fn path(&self) -> &str {
        self.0.url.path()
    }

    pub fn query(&self) -> Option<&str> {
        self.0.url.query()
    }

    /// Without fragment: the request target in absolute form, for a proxy that resolves the host.
    pub fn absolute_form(&self) -> String {
        let Origin { scheme, host, .. } = self.origin();
        let port = self.authority().strip_prefix(&*host.authority()).unwrap_or_default();
        [scheme.name(), "://", &*host.authority_asked(), port, self.target()].concat()
    }

    /// Origin and path, what errors and the log name: a query is where tokens are.
    pub fn public(&self) -> String {
        format!("{}{}", self.origin(), self.path())
    }

    /// Without fragment.
    pub fn without_fragment(&self) -> String {
        [self.0.origin.scheme.name(), "://", self.authority(), self.target()].concat()
    }

    /// With fragment: what the response's `url` is.
    pub fn to_text(&self) -> String {
        match self.0.url.fragment() {
            Some(fragment) => format!("{}#{fragment}", self.without_fragment()),
            None => self.without_fragment(),
        }
    }
}

fn has_userinfo(url: &::url::Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// RFC 6874 would write them; browsers and the WHATWG do not.
pub(crate) const NO_ZONES: &str = "URLs have no zones, only raw sockets do";

/// True if the host is an IPv6 address with a percent sign in its brackets.
pub(crate) fn has_zone(text: &str) -> bool {
    let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let host = authority.and_then(|authority| authority.rsplit_once('[')?.1.split(']').next());
    host.is_some_and(|host| host.contains('%'))
}

/// Old servers send their own charset: its bytes, escaped, are what they expect back.
fn readable(location: &[u8]) -> String {
    match std::str::from_utf8(location) {
        Ok(text) => text.to_owned(),
        Err(_) => location.iter().map(escape_high).collect(),
    }
}

fn escape_high(byte: &u8) -> String {
    if byte.is_ascii() { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_url() {
        for (text, expected) in [
            ("http://example.com", Ok("http://example.com/")),
            ("HTTPS://Example.COM:443/a b?q=\"#f", Ok("https://example.com/a%20b?q=%22#f")),
            ("http://example.com.:80/", Ok("http://example.com/")),
            ("http://0x7f.1/", Ok("http://127.0.0.1/")),
            ("http://[::ffff:127.0.0.1]:81/", Ok("http://127.0.0.1:81/")),
            ("http://[0::1]:8080/", Ok("http://[::1]:8080/")),
            ("http://bücher.example/ü", Ok("http://xn--bcher-kva.example/%C3%BC")),
            ("http://example.com?q", Ok("http://example.com/?q")),
            ("http://example.com/../x", Ok("http://example.com/x")),
            ("http:\\\\example.com\\x", Ok("http://example.com/x")),
            ("http://a:s3cret@example.com/", Err("`auth`")),
            ("http://a@b@c/", Err("`auth`")),
            ("http://:s3cret@example.com/", Err("`auth`")),
            ("example.com/x", Err("no scheme")),
            ("//example.com/x", Err("no scheme")),
            ("", Err("no scheme")),
            ("localhost:80/x", Err("not http or https")),
            ("ftp://example.com/", Err("not http or https")),
            ("file:///etc/passwd", Err("not http or https")),
            ("ws://example.com/", Err("not http or https")),
            ("http:///", Err("malformed")),
            ("http://example.com:0/", Err("port 0")),
            ("http://example.com:65536/", Err("malformed")),
            ("http://[::1%25lo]/", Err("malformed")),
            ("http://example.com/\r\nX: y", Err("control character")),
            ("http://example.com/\0", Err("control character")),
            ("http://exam\tple.com/", Err("control character")),
        ] {
            match (HttpUrl::parse(text), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.to_text(), expected, "{text:?}"),
                (Err(why), Err(expected)) => {
                    assert!(why.0.contains(expected), "{text:?}: {why}");
                    assert!(!why.0.contains("s3cret"), "{text:?}: {why}");
                }
                (got, _) => panic!("{text:?}: {got:?}, not {expected:?}"),
            }
        }
    }

    /// The dot at a name's end is for who resolves it: a resolver of ours, or a proxy.
    #[test]
    fn an_absolute_name() {
        for (text, asked, absolute) in [
            ("http://short/x?q#f", "http://short/x?q", false),
            ("http://SHORT.:80/x?q#f", "http://short./x?q", true),
            ("https://short.:8443/", "https://short.:8443/", true),
            ("http://[::1]:81/", "http://[::1]:81/", false),
            ("http://127.0.0.1/", "http://127.0.0.1/", false),
        ] {
            let url = HttpUrl::parse(text).unwrap();
            assert_eq!((&*url.absolute_form(), url.origin().host.is_absolute()), (asked, absolute), "{text}");
            assert!(!url.authority().contains(".:") && !url.to_text().contains("t./"), "{text}");
            assert_eq!(url.join(b"/y").unwrap().origin(), url.origin(), "{text}");
            let other = HttpUrl::parse(&text.replace("short.", "short").replace("SHORT.", "short")).unwrap();
            assert_eq!(other.origin() == url.origin(), !absolute, "{text}");
        }
    }

    #[test]
    fn a_location() {
        let base = HttpUrl::parse("https://example.com/a/b?q#frag").unwrap();
        for (location, expected) in [
            (&b"/x"[..], Ok("https://example.com/x#frag")),
            (b"x#own", Ok("https://example.com/a/x#own")),
            (b"?z", Ok("https://example.com/a/b?z#frag")),
            (b"#g", Ok("https://example.com/a/b?q#g")),
            (b"//other.example/x", Ok("https://other.example/x#frag")),
            (b"\\\\other.example", Ok("https://other.example/#frag")),
            (b"https:y", Ok("https://example.com/a/y#frag")),
            (b"http:other.example", Ok("http://other.example/#frag")),
            (b"/a\tb c", Ok("https://example.com/ab%20c#frag")),
            ("/ü".as_bytes(), Ok("https://example.com/%C3%BC#frag")),
            (b"/\xfc", Ok("https://example.com/%FC#frag")),
            (b"https://u:p@other.example/", Ok("https://other.example/#frag")),
            (b"file:///etc/passwd", Err("not http or https")),
            (b"javascript:alert(1)", Err("not http or https")),
            (b"unix:/run/x.sock", Err("not http or https")),
            (b"data:,x", Err("not http or https")),
            (b"http://", Err("malformed")),
            (b"http://a:99999/", Err("malformed")),
        ] {
            let shown = String::from_utf8_lossy(location);
            match (base.join(location), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.to_text(), expected, "{shown:?}"),
                (Err(why), Err(expected)) => assert!(why.0.contains(expected), "{shown:?}: {why}"),
                (got, _) => panic!("{shown:?}: {got:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn pairs_behind_a_query() {
        for (text, expected) in [
            ("http://example.com/x", "/x?a=%20b"),
            ("http://example.com/x?#f?", "/x?a=%20b"),
            ("http://example.com/x?c=d#f", "/x?c=d&a=%20b"),
            ("http://example.com/x?c=d&", "/x?c=d&a=%20b"),
            ("http://example.com/x?c?", "/x?c?a=%20b"),
        ] {
            assert_eq!(HttpUrl::parse(text).unwrap().with_pairs("a=%20b").target(), expected, "{text}");
        }
    }

    #[test]
    fn a_target_is_what_goes_on_the_wire() {
        for (text, target, host) in [
            ("http://example.com#f", "/", "example.com"),
            ("https://example.com:80/x?y#f", "/x?y", "example.com:80"),
            ("http://[::1]/?", "/?", "[::1]"),
        ] {
            let url = HttpUrl::parse(text).unwrap();
            assert_eq!((url.target(), url.origin().authority().as_str()), (target, host), "{text}");
        }
    }
}
