//! The opening handshake of RFC 6455 section 4, the client's side: the request, and the check of the answer.
//!
//! Pure: a request's fields and an answer's head. No extension but permessage-deflate is offered, and that only where it is asked for.

use super::super::{
    Invalid, broken, incoming, is_token,
    request::{Form, Method, Request},
    response::{Head, Version},
    url::{Fault, HttpUrl},
};
use super::extension::{self, Agreed, Compress};
use crate::{
    crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY as SHA1, digest},
    error::Result,
};
use data_encoding::BASE64;

/// What makes the key an answer that no other protocol gives by chance (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A `ws` or `wss` URL, as the `http` or `https` one that is asked. RFC 6455 section 3: no fragment.
pub fn parse_url(text: &str) -> std::result::Result<HttpUrl, Invalid> {
    let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let url = match &scheme {
        Some((scheme, rest)) if scheme == "ws" => format!("http:{rest}"),
        Some((scheme, rest)) if scheme == "wss" => format!("https:{rest}"),
        _ => return Invalid::because("URL must begin with ws:// or wss://"),
    };
    if text.contains('#') {
        return Invalid::because("URL of a WebSocket has no fragment");
    }
    HttpUrl::read(&url).map_err(|(fault, why)| match fault {
        Fault::Credentials => Invalid("URL contains credentials; give them in the header Authorization".into()),
        _ => why,
    })
}

/// The URL as the caller knows it: with `ws` for `http`.
pub fn shown(url: &HttpUrl) -> String {
    url.without_fragment().replacen("http", "ws", 1)
}

/// A handshake that is under way.
pub struct Handshake {
    pub request: Request,
    /// Messages may be compressed. Defaults to `None`: that is not offered.
    pub compress: Option<Compress>,
    key: String,
    subprotocols: Vec<String>,
}

impl Handshake {
    /// `random`: 16 bytes that nobody can guess. Subprotocols are tokens, each named once (section 4.1).
    pub fn new(url: HttpUrl, subprotocols: Vec<String>, random: [u8; 16]) -> std::result::Result<Handshake, Invalid> {
        for (at, name) in subprotocols.iter().enumerate() {
            if !is_token(name.as_bytes()) {
                return Invalid::because(format!("subprotocols: {name:?} is not a token"));
            }
            if subprotocols.iter().take(at).any(|other| other == name) {
                return Invalid::because(format!("subprotocols: {name:?} is named twice"));
            }
        }
        Ok(Handshake {
            request: Request::new(Method::GET, url, None),
            compress: None,
            key: BASE64.encode(&random),
            subprotocols,
        })
    }

    /// Adds a caller's header; those of the handshake are ours.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> std::result::Result<(), Invalid> {
        let lower = name.to_ascii_lowercase();
        match lower.as_slice() {
            b"sec-websocket-protocol" => {
                return Invalid::because("header Sec-WebSocket-Protocol cannot be set; use the option `subprotocols`");
            }
            b"proxy-authorization" => {
                return Invalid::because(
                    "header Proxy-Authorization: give the credentials in the URL of the option `proxy`",
                );
            }
            b"connection" | b"upgrade" | b"content-length" | b"expect" | b"te" | b"trailer" => (),
            name if name.starts_with(b"sec-websocket-") => (),
            _ => return self.request.field(name, value),
        }
        // One of a few names, or a prefix and a token that `field` would have checked: short and without secrets.
        Invalid::because(format!("header {} cannot be set: it is the handshake's", crate::http::shown(name)))
    }

    /// The request's head.
    pub fn head(&self) -> Vec<u8> {
        let mut head = self.request.draft(Form::Origin);
        head.own("Upgrade", b"websocket");
        head.own("Connection", b"Upgrade");
        head.own("Sec-WebSocket-Key", self.key.as_bytes());
        head.own("Sec-WebSocket-Version", b"13");
        if !self.subprotocols.is_empty() {
            head.own("Sec-WebSocket-Protocol", self.subprotocols.join(", ").as_bytes());
        }
        if let Some(compress) = &self.compress {
            head.own(extension::FIELD, compress.offer().as_bytes());
        }
        head.end()
    }

    /// Judges the final answer (section 4.1, the numbered list at its end); the subprotocol that was chosen, and how messages
    /// are compressed, if they are.
    pub fn check(&self, head: &Head) -> Result<(Option<String>, Option<Agreed>)> {
        if head.status != 101 {
            return Err(broken(self.refused(head)));
        }
        if head.version != Version::Http11 {
            return Err(broken("the server switched protocols in HTTP/1.0"));
        }
        let fields = &head.fields;
        let mut upgrade = fields.list("upgrade");
        if !upgrade.next().is_some_and(|name| name.eq_ignore_ascii_case(b"websocket")) || upgrade.next().is_some() {
            return Err(broken("the server's Upgrade is not websocket"));
        }
        if !fields.lists("connection", "upgrade") {
            return Err(broken("the server's Connection does not say upgrade"));
        }
        let mut accept = fields.all("sec-websocket-accept");
        if accept.next() != Some(accept_of(&self.key).as_bytes()) || accept.next().is_some() {
            return Err(broken("the server's Sec-WebSocket-Accept is not the answer to our key"));
        }
        let agreed = match &self.compress {
            Some(compress) => compress.accepted(fields).map_err(broken)?,
            None if fields.list(extension::FIELD).any(|extension| !extension.is_empty()) => {
                return Err(broken("the server uses an extension that was not offered"));
            }
            None => None,
        };
        let mut chosen = fields.all("sec-websocket-protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok((None, agreed)),
            (Some(name), None) => match self.subprotocols.iter().find(|asked| asked.as_bytes() == name) {
                Some(name) => Ok((Some(name.clone()), agreed)),
                None => Err(broken("the server chose a subprotocol that was not asked for")),
            },
            _ => Err(broken("the server chose two subprotocols")),
        }
    }

    /// Words for an answer that is not 101. Of a redirect only the host is told: the rest may be a secret.
    fn refused(&self, head: &Head) -> String {
        let status = head.status;
        if !(300..400).contains(&status) {
            return format!("the server answered {status} instead of 101");
        }
        let location = head.fields.first("location").map(|location| match location {
            [b'w', b's', rest @ ..] if matches!(rest, [b':', ..] | [b's', b':', ..]) => [b"http", rest].concat(),
            other => other.to_vec(),
        });
        match location.and_then(|location| self.request.url.join(&location).ok()) {
            Some(url) => {
                let host = &url.origin().host;
                format!("the server answered {status}, a redirect to {host}, which a WebSocket does not follow")
            }
            None => format!("the server answered {status} instead of 101"),
        }
    }
}

/// A client's handshake (section 4.2.1): the answer to its key, and the subprotocols that it offers.
#[derive(Debug, PartialEq, Eq)]
pub struct Opening {
    pub accept: String,
    pub offered: Vec<String>,
}

impl Opening {
    /// Judges a request. The error is the status to refuse it with, and why: 426 for another version of the protocol.
    pub fn of(request: &incoming::Head) -> std::result::Result<Opening, incoming::Refusal> {
        let refuse = |status, why: &'static str| Err(incoming::Refusal::new(status, why));
        let fields = &request.fields;
        if &*request.method != "GET" || request.version != Version::Http11 {
            return refuse(400, "a WebSocket begins with GET on HTTP/1.1");
        }
        if request.framing != incoming::Framing::Empty {
            return refuse(400, "the request has a body");
        }
        if !fields.lists("Upgrade", "websocket") || !fields.lists("Connection", "upgrade") {
            return refuse(426, "the request does not ask for a WebSocket");
        }
        let mut versions = fields.all("Sec-WebSocket-Version");
        if versions.next() != Some(b"13") || versions.next().is_some() {
            return refuse(426, "Sec-WebSocket-Version is not 13");
        }
        let mut keys = fields.all("Sec-WebSocket-Key");
        let key = match (keys.next().map(std::str::from_utf8), keys.next()) {
            (Some(Ok(key)), None) if BASE64.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16) => key,
            _ => return refuse(400, "Sec-WebSocket-Key is not 16 bytes in Base64"),
        };
        let offered = fields.list("Sec-WebSocket-Protocol").filter(|name| is_token(name));
        let offered = offered.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        Ok(Opening { accept: accept_of(key), offered })
    }
}

fn accept_of(key: &str) -> String {
    BASE64.encode(digest(&SHA1, &[key.as_bytes(), GUID].concat()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_of_the_rfc() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn urls() {
        for (text, expected) in [
            ("ws://example.com/chat?room=1", Ok("ws://example.com/chat?room=1")),
            ("WSS://Example.COM:443", Ok("wss://example.com/")),
            ("wss://[::1]:80/", Ok("wss://[::1]:80/")),
            ("ws://0x7f.1/", Ok("ws://127.0.0.1/")),
            ("ws://http/", Ok("ws://http/")),
            ("ws://example.com/#f", Err("fragment")),
            ("ws://example.com/#", Err("fragment")),
            ("http://example.com/", Err("ws:// or wss://")),
            ("example.com", Err("ws:// or wss://")),
            ("ws:", Err("malformed")),
            ("ws://example.com:0/", Err("port 0")),
            ("ws://u:s3cret@example.com/", Err("credentials")),
            ("ws://example.com/\r\nX: y", Err("control character")),
        ] {
            match (parse_url(text), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(shown(&url), expected, "{text:?}"),
                (Err(why), Err(expected)) => {
                    assert!(why.0.contains(expected), "{text:?}: {why}");
                    assert!(!why.0.contains("s3cret"), "{text:?}: {why}");
                }
                (got, _) => panic!("{text:?}: {got:?}, not {expected:?}"),
            }
        }
    }
}
