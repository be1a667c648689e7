//! HTTP (RFC 9110): HTTP/1.1 (RFC 9112), and what of HTTP/2 knows no I/O.
//!
//! The pure rooms know no socket, no clock and no Lua:
//! [`url`] what may be asked for, [`fields`] header fields, [`request`] what we send, [`response`] the head of what
//! comes back, [`body`] where it ends, [`exchange`] one request's answer as bytes in and counts out, [`redirect`] where
//! to go next, [`record`] what it was for whoever looks later, [`form`] and [`multipart`] what bodies are made of,
//! [`decode`] what they are coded in, [`cookies`] and [`auth`] who we are to a server, [`events`] an event stream's text,
//! [`proxy`] and [`socks`] what is said to proxies, [`retry`] when to ask again, [`websocket`] frames and their handshake.
//! `client` speaks all that over connections.

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
