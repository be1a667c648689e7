//! HTTP (RFC 9110): HTTP/1.1 (RFC 9112), and HTTP/2 without I/O.
//!
//! Pure: no socket, no clock, no Lua. [`url`]: URLs that can be fetched; [`fields`]: header fields; [`request`]:
//! requests; [`response`]: heads of responses; [`body`]: framing; [`exchange`]: the response to one request as bytes in
//! and counts out; [`redirect`]: the next request; [`record`]: the record for HAR; [`form`] and [`multipart`]: forms;
//! [`decode`]: content codings; [`cookies`] and [`auth`]: cookies and credentials; [`events`]: event streams; [`proxy`]
//! and [`socks`]: the protocols of proxies; [`retry`]: repeated requests; [`websocket`]: frames and the handshake.
//! `client` runs these over connections.

pub mod answer;
pub mod auth;
pub mod body;
pub mod content_type;
pub mod cookies;
pub mod decode;
pub mod events;
pub mod exchange;
pub mod fields;
pub mod form;
#[cfg(feature = "http2")]
pub mod http2;
pub mod incoming;
pub mod multipart;
pub mod proxy;
pub mod ranges;
pub mod record;
pub mod redirect;
pub mod request;
pub mod response;
pub mod retry;
pub mod socks;
pub mod url;
pub mod websocket;

use crate::error::{Error, Kind};
use std::fmt;

/// A wrong argument of the caller's: it becomes an ordinary Lua error, not a network error. Never quotes a value that
/// may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl Invalid {
    fn because<T>(why: impl Into<String>) -> Result<T, Invalid> {
        Err(Invalid(why.into()))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// The peer broke the protocol.
pub(crate) fn broken(why: impl Into<String>) -> Error {
    Error::new(Kind::Protocol, why)
}

/// A peer's bytes for a message: escaped, and short whatever the peer sent. Not for values that may be secrets.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 32;
    let text = bytes.iter().take(MOST).flat_map(|b| std::ascii::escape_default(*b)).map(char::from);
    let rest = if bytes.len() > MOST { "…" } else { "" };
    format!("\"{}{rest}\"", text.collect::<String>())
}

/// A token of RFC 9110 section 5.6.2: what methods and field names are made of.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}
