//! Proxies that a caller names: the URL of the option `proxy`, and the head of a CONNECT (RFC 9110 section 9.3.6).
//!
//! Bytes and types only; connections through a proxy are made in `route`. Credentials are in here and come out in
//! exactly two places, [`Proxy::authorization`] and [`Proxy::login`]: no message, log or `Debug` ever has them.

use super::{
    Invalid,
    url::{NO_ZONES, has_zone},
};
use crate::address::{Endpoint, Host};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use std::fmt;

/// What is spoken to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `http://`: requests in absolute form, CONNECT for https.
    Http,
    /// `https://`: the same inside TLS.
    Https,
    /// `socks5://`: SOCKS5 (RFC 1928) with addresses that were resolved here.
    Socks5,
    /// `socks5h://`: SOCKS5 with names that the proxy resolves.
    Socks5h,
}

impl Kind {
    const ALL: [(&'static str, Kind, u16); 4] = [
        ("http", Kind::Http, 80),
        ("https", Kind::Https, 443),
        ("socks5", Kind::Socks5, 1080),
        ("socks5h", Kind::Socks5h, 1080),
    ];

    pub fn is_socks(self) -> bool {
        matches!(self, Kind::Socks5 | Kind::Socks5h)
    }
}

/// Who we are to a proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: Vec<u8>,
    pub password: Vec<u8>,
}

/// A proxy as its URL names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub kind: Kind,
    pub endpoint: Endpoint,
    login: Option<Login>,
}

impl Proxy {
    /// `SCHEME://[USER[:PASSWORD]@]HOST[:PORT]`, percent-encoded where it must be. The port defaults to 80, 443, or 1080
    /// for SOCKS. Never quotes the URL: it may hold a password.
    pub fn parse(text: &str) -> Result<Proxy, Invalid> {
        let wrong = |why: &str| Err(Invalid(format!("proxy: {why}")));
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("the URL has no scheme; there are http://, https://, socks5:// and socks5h://");
        };
        let known = Kind::ALL.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let Some((_, kind, default)) = known else {
            return wrong("the scheme is not one of http, https, socks5 and socks5h");
        };
        if text.chars().any(|c| c.is_ascii_control()) {
            return wrong("the URL contains a control character");
        }
        // All schemes are read by the rules of http, and by those of https to see a port that http takes for its own.
        let (Ok(url), Ok(twin)) =
            (::url::Url::parse(&format!("http://{rest}")), ::url::Url::parse(&format!("https://{rest}")))
        else {
            return wrong(if has_zone(text) { NO_ZONES } else { "malformed URL" });
        };
        let Some(Ok(host)) = url.host().map(Host::from_url) else { return wrong("malformed host") };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return wrong("the URL of a proxy ends after its port");
        }
        let port = url.port().or_else(|| twin.port()).unwrap_or(*default);
        if port == 0 {
            return wrong("the URL has port 0");
        }
        let login = if url.username().is_empty() && url.password().is_none() {
            None
        } else {
            let user = percent_decoded(url.username());
            let password = percent_decoded(url.password().unwrap_or_default());
            if user.iter().chain(&password).any(u8::is_ascii_control) {
                return wrong("the credentials contain a control character");
            }
            if !kind.is_socks() && user.contains(&b':') {
                return wrong("the user contains a colon, which Basic authentication cannot say");
            }
            // RFC 1929 section 2: one byte of length each, and neither is empty.
            if kind.is_socks() && !(1..=255).contains(&user.len()) || kind.is_socks() && password.len() > 255 {
                return wrong("SOCKS5 takes a user of 1 to 255 bytes and a password of up to 255");
            }
            Some(Login { user, password })
        };
        Ok(Proxy { kind: *kind, endpoint: Endpoint { host, port }, login })
    }

    /// For SOCKS5 (RFC 1929).
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The value of `Proxy-Authorization` (RFC 7617).
    pub fn authorization(&self) -> Option<String> {
        let login = self.login.as_ref()?;
        Some(format!("Basic {}", BASE64.encode(&[&login.user[..], b":", &login.password].concat())))
    }

    /// The request that asks for a tunnel to `host`.
    pub fn connect(&self, host: &Host, port: u16) -> Vec<u8> {
        let target = format!("{}:{port}", host.authority_asked());
        let agent = concat!("caspian/", env!("CARGO_PKG_VERSION"));
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {agent}\r\n");
        if let Some(authorization) = self.authorization() {
            head += &format!("Proxy-Authorization: {authorization}\r\n");
        }
        head += "\r\n";
        head.into_bytes()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?} {})", self.kind, self.endpoint)
    }
}

/// `%41` becomes `A`; what is no escape stays as it is.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((first, rest)) = bytes.split_first() {
        let escaped = rest.get(..2).filter(|_| *first == b'%').and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex).ok());
        out.extend(escaped.as_deref().unwrap_or(&[*first]));
        bytes = if escaped.is_some() { rest.get(2..).unwrap_or_default() } else { rest };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let long = "x".repeat(256);
        for (text, expected) in [
            ("http://proxy.example", Ok("Http proxy.example:80")),
            ("http://proxy.example:80/", Ok("Http proxy.example:80")),
            ("HTTP://Proxy.Example:443", Ok("Http proxy.example:443")),
            ("https://proxy.example", Ok("Https proxy.example:443")),
            ("https://proxy.example:80", Ok("Https proxy.example:80")),
            ("socks5://[::1]", Ok("Socks5 [::1]:1080")),
            ("socks5://127.0.0.1:80", Ok("Socks5 127.0.0.1:80")),
            ("socks5://127.0.0.1:443", Ok("Socks5 127.0.0.1:443")),
            ("socks5h://u:s3cret@h:9", Ok("Socks5h h:9")),
            ("http://u:s3cret@h:9", Ok("Http h:9")),
            ("http://0x7f.1:9", Ok("Http 127.0.0.1:9")),
            ("", Err("no scheme")),
            ("proxy.example:3128", Err("no scheme")),
            ("socks4://h", Err("not one of")),
            ("ftp://u:s3cret@h", Err("not one of")),
            ("http://", Err("malformed")),
            ("http://u:s3cret@", Err("malformed")),
            ("http://h:99999", Err("malformed")),
            ("http://h:0", Err("port 0")),
            ("http://h/path", Err("ends after")),
            ("http://h?q", Err("ends after")),
            ("http://h#f", Err("ends after")),
            ("http://u:s3cret\r\nX@h", Err("control character")),
            ("http://u:s3cret%0d%0aX@h", Err("control character")),
            ("http://u%00:s3cret@h", Err("control character")),
            ("http://a%3ab:s3cret@h", Err("colon")),
            ("socks5://:s3cret@h", Err("1 to 255")),
            (&format!("socks5://{long}@h"), Err("1 to 255")),
            (&format!("socks5://u:{long}@h"), Err("up to 255")),
        ] {
            match (Proxy::parse(text), expected) {
                (Ok(proxy), Ok(expected)) => assert_eq!(format!("{proxy:?}"), format!("Proxy({expected})"), "{text}"),
                (Err(why), Err(expected)) => {
                    assert!(why.0.contains(expected), "{text:?}: {why}");
                    assert!(!why.0.contains("s3cret"), "{text:?}: {why}");
                }
                (got, _) => panic!("{text:?}: {got:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn credentials_and_heads() {
        let proxy = Proxy::parse("http://us%65r:p%40%zz@h").unwrap();
        let head = String::from_utf8(proxy.connect(&Host::parse("::1").unwrap(), 443)).unwrap();
        let basic = BASE64.encode(b"user:p@%zz");
        assert!(head.starts_with("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n"), "{head}");
        assert!(head.ends_with(&format!("Proxy-Authorization: Basic {basic}\r\n\r\n")), "{head}");
        // The proxy resolves the name: its dot goes along.
        let absolute = proxy.connect(&Host::parse("Short.").unwrap(), 443);
        let absolute = String::from_utf8(absolute).unwrap();
        assert!(absolute.starts_with("CONNECT short.:443 HTTP/1.1\r\nHost: short.:443\r\n"), "{absolute}");
        let open = Proxy::parse("http://h").unwrap().connect(&Host::parse("a.example").unwrap(), 80);
        assert!(!String::from_utf8(open).unwrap().contains("uthorization"));
    }
}
