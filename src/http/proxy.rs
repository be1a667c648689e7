//! Proxies that a caller names: the URL of the option `proxy`, and the head of a CONNECT (RFC 9110 section 9.3.6).
//!
//! Bytes and types only; connections through a proxy are made by `client::connector`. Credentials leave this room in
//! exactly two places, [`Proxy::credentials`] and [`Proxy::login`]: no message, log or `Debug` contains them, or the
//! values of a proxy's headers.

use super::{
    Invalid,
    auth::{Credentials, Schemes},
    is_token,
    url::{NO_ZONES, has_zone},
};
use crate::address::{Endpoint, Host};
use data_encoding::HEXLOWER_PERMISSIVE;
use std::fmt;

/// Bytes of the names and values of the headers for a proxy.
const MAX_HEADERS: usize = 64 * 1024;
/// What each request says itself, and what speaks of one connection.
const OURS: [&str; 11] = [
    "host",
    "connection",
    "proxy-connection",
    "keep-alive",
    "content-length",
    "transfer-encoding",
    "expect",
    "te",
    "trailer",
    "upgrade",
    "user-agent",
];

/// What is spoken to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `http://`: requests in absolute form, CONNECT for https.
    Http,
    /// `https://`: the same inside TLS.
    Https,
    /// `socks4://`: SOCKS4, with IPv4 addresses that were resolved here.
    Socks4,
    /// `socks4a://`: SOCKS4 with names that the proxy resolves.
    Socks4a,
    /// `socks5://`: SOCKS5 (RFC 1928) with addresses that were resolved here.
    Socks5,
    /// `socks5h://`: SOCKS5 with names that the proxy resolves.
    Socks5h,
}

impl Kind {
    const ALL: [(&'static str, Kind, u16); 6] = [
        ("http", Kind::Http, 80),
        ("https", Kind::Https, 443),
        ("socks4", Kind::Socks4, 1080),
        ("socks4a", Kind::Socks4a, 1080),
        ("socks5", Kind::Socks5, 1080),
        ("socks5h", Kind::Socks5h, 1080),
    ];

    pub fn is_socks(self) -> bool {
        !matches!(self, Kind::Http | Kind::Https)
    }

    /// It knows nothing but IPv4, and no password.
    pub fn is_socks4(self) -> bool {
        matches!(self, Kind::Socks4 | Kind::Socks4a)
    }

    /// It is told addresses, never names.
    pub fn by_address(self) -> bool {
        matches!(self, Kind::Socks4 | Kind::Socks5)
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
    schemes: Schemes,
    /// What it alone is told, with each CONNECT and each request that it forwards.
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Plain http goes through a tunnel, too. Defaults to false: the proxy forwards it.
    pub tunnel: bool,
}

impl Proxy {
    /// `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT]`, percent-encoded where it must be. The scheme defaults to `http`, the port
    /// to 80, 443, or 1080 for SOCKS. Never quotes the URL: it may hold a password.
    pub fn parse(text: &str) -> Result<Proxy, Invalid> {
        let wrong = |why: &str| Err(Invalid(format!("proxy: {why}")));
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let known = Kind::ALL.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let Some((_, kind, default)) = known else {
            return wrong("the scheme is not one of http, https, socks4, socks4a, socks5 and socks5h");
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
        let mut proxy = Proxy {
            kind: *kind,
            endpoint: Endpoint { host, port },
            login: None,
            schemes: Schemes::Any,
            headers: Vec::new(),
            tunnel: false,
        };
        if !url.username().is_empty() || url.password().is_some() {
            let (user, password) =
                (percent_decoded(url.username()), percent_decoded(url.password().unwrap_or_default()));
            proxy.log_in(&user, &password, Schemes::Any)?;
        }
        Ok(proxy)
    }

    /// With these credentials, in place of those in the URL.
    pub fn log_in(&mut self, user: &[u8], password: &[u8], schemes: Schemes) -> Result<(), Invalid> {
        let wrong = |why: &str| Err(Invalid(format!("proxy: {why}")));
        if user.iter().chain(password).any(u8::is_ascii_control) {
            return wrong("the credentials contain a control character");
        }
        if self.kind.is_socks() {
            // RFC 1929 section 2: one byte of length each, and neither is empty. SOCKS4's user ends with a NUL.
            if !(1..=255).contains(&user.len()) || password.len() > 255 {
                return wrong("SOCKS takes a user of 1 to 255 bytes and a password of up to 255");
            }
            if self.kind.is_socks4() && !password.is_empty() {
                return wrong("SOCKS4 knows no password, only a user");
            }
            if schemes != Schemes::Any {
                return wrong("auth.scheme is for proxies that speak HTTP");
            }
        } else if user.contains(&b':') {
            return wrong("the user contains a colon, which Basic authentication cannot say");
        }
        self.login = Some(Login { user: user.to_vec(), password: password.to_vec() });
        self.schemes = schemes;
        Ok(())
    }

    /// Adds a header for the proxy.
    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<(), Invalid> {
        let shown = super::shown(name);
        let wrong = |why: &str| Err(Invalid(format!("proxy: header {shown} {why}")));
        if self.kind.is_socks() {
            return Invalid::because("proxy: headers are for proxies that speak HTTP");
        }
        if !is_token(name) {
            return wrong("is not a token");
        }
        if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes())) {
            return wrong("cannot be set");
        }
        if name.eq_ignore_ascii_case(b"proxy-authorization") && self.login.is_some() {
            return wrong("and credentials exclude each other");
        }
        if value.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return wrong("has a value with a control character");
        }
        let held: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if held + name.len() + value.len() > MAX_HEADERS {
            return Invalid::because(format!("proxy: the headers are larger than {MAX_HEADERS} bytes"));
        }
        self.headers.push((name.to_vec(), super::fields::trim(value).to_vec()));
        Ok(())
    }

    /// For SOCKS5 (RFC 1929), and the user for SOCKS4.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// For `Proxy-Authorization`.
    pub fn credentials(&self) -> Option<Credentials> {
        let login = self.login.as_ref().filter(|_| !self.kind.is_socks())?;
        // Checked when they were taken.
        Credentials::user(&login.user, &login.password, self.schemes).ok()
    }

    /// What it is told beside.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// What a CONNECT asks for: a tunnel to `host`.
    pub fn target(host: &Host, port: u16) -> String {
        format!("{}:{port}", host.authority_asked())
    }

    /// The request that asks for a tunnel to `target`.
    pub fn connect(&self, target: &str, authorization: Option<&[u8]>) -> Vec<u8> {
        let agent = concat!("caspian/", env!("CARGO_PKG_VERSION"));
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {agent}\r\n").into_bytes();
        let own = authorization.map(|value| (&b"Proxy-Authorization"[..], value));
        for (name, value) in own.into_iter().chain(self.headers()) {
            [name, b": ", value, b"\r\n"].iter().for_each(|part| head.extend_from_slice(part));
        }
        head.extend_from_slice(b"\r\n");
        head
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
            ("proxy.example:3128", Ok("Http proxy.example:3128")),
            ("proxy.example", Ok("Http proxy.example:80")),
            ("u:s3cret@[::1]:3128", Ok("Http [::1]:3128")),
            ("socks4://h", Ok("Socks4 h:1080")),
            ("SOCKS4a://u@h:9", Ok("Socks4a h:9")),
            ("", Err("malformed")),
            ("://h", Err("not one of")),
            ("http:/h", Err("ends after")),
            ("socks6://u:s3cret@h", Err("not one of")),
            ("socks4://u:s3cret@h", Err("no password")),
            ("socks4://u%00@h", Err("control character")),
            ("u:s3cret@h/path", Err("ends after")),
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
        let text = |proxy: &Proxy, host: &str, authorization: Option<&[u8]>| {
            let target = Proxy::target(&Host::parse(host).unwrap(), 443);
            String::from_utf8(proxy.connect(&target, authorization)).unwrap()
        };
        let mut proxy = Proxy::parse("http://us%65r:p%40%zz@h").unwrap();
        let login = proxy.login().unwrap();
        assert_eq!((&*login.user, &*login.password), (&b"user"[..], &b"p@%zz"[..]));
        let head = text(&proxy, "::1", Some(b"Basic x"));
        assert!(head.starts_with("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n"), "{head}");
        assert!(head.ends_with("\r\nProxy-Authorization: Basic x\r\n\r\n"), "{head}");
        proxy.header(b"X-Team", b" one ").unwrap();
        proxy.header(b"x-team", b"two").unwrap();
        let head = text(&proxy, "a.example", None);
        assert!(head.ends_with("\r\nX-Team: one\r\nx-team: two\r\n\r\n"), "{head}");
        // The proxy resolves the name: its dot goes along.
        let absolute = text(&Proxy::parse("h").unwrap(), "Short.", None);
        assert!(absolute.starts_with("CONNECT short.:443 HTTP/1.1\r\nHost: short.:443\r\n"), "{absolute}");
        assert!(!absolute.contains("uthorization"));
    }

    #[test]
    fn headers_that_a_proxy_is_not_told() {
        let long = "x".repeat(MAX_HEADERS);
        for (url, name, value, expected) in [
            ("h", "X-A", "caf\u{e9}", ""),
            ("h", "Proxy-Authorization", "Bearer s3cret", ""),
            ("u:p@h", "Proxy-Authorization", "Bearer s3cret", "exclude"),
            ("h", "Host", "s3cret", "cannot be set"),
            ("h", "CONNECTION", "s3cret", "cannot be set"),
            ("h", "Content-Length", "1", "cannot be set"),
            ("h", "Transfer-Encoding", "chunked", "cannot be set"),
            ("h", "X A", "s3cret", "not a token"),
            ("h", "", "s3cret", "not a token"),
            ("h", "X\r\nB", "s3cret", "not a token"),
            ("h", "X-A", "s3cret\r\nB: c", "control character"),
            ("h", "X-A", "s3cret\0", "control character"),
            ("h", "X-A", &long, "larger than"),
            ("socks5://h", "X-A", "s3cret", "speak HTTP"),
            ("socks4a://h", "X-A", "s3cret", "speak HTTP"),
        ] {
            let got = Proxy::parse(url).unwrap().header(name.as_bytes(), value.as_bytes());
            match got {
                Ok(()) => assert_eq!(expected, "", "{name:?}"),
                Err(why) => {
                    assert!(!expected.is_empty() && why.0.contains(expected), "{name:?}: {why}");
                    assert!(!why.0.contains("s3cret"), "{why}");
                }
            }
        }
    }
}
