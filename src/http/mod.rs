//! HTTP/1.1 (RFC 9110, RFC 9112) as a client speaks it.
//!
//! The pure rooms know no socket, no clock and no Lua:
//! [`url`] what may be asked for, [`fields`] header fields, [`request`] what we send, [`response`] the head of what
//! comes back, [`body`] where it ends, [`exchange`] one request's answer as bytes in and counts out, [`redirect`] where
//! to go next, [`record`] what it was for whoever looks later, [`form`] and [`multipart`] what bodies are made of,
//! [`decode`] what they are coded in, [`cookies`] and [`auth`] who we are to a server, [`events`] an event stream's text,
//! [`proxy`] and [`socks`] what is said to proxies. Above them: `route` opens connections, [`retry`] says when to ask
//! again, [`client`] speaks all that over connections, `talk` by `talk`, [`pool`] keeps the idle ones, [`upload`] reads
//! what is sent, [`stream`] hands out what comes in measured pieces, [`batch`] does many at once, [`feed`] follows an
//! event stream; [`websocket`] is what a connection becomes
//! after another handshake.

pub mod auth;
pub mod batch;
pub mod body;
pub mod client;
pub mod cookies;
pub mod decode;
pub mod events;
pub mod exchange;
pub mod feed;
pub mod fields;
pub mod form;
pub mod multipart;
pub mod pool;
pub mod proxy;
pub mod record;
pub mod redirect;
pub mod request;
pub mod response;
pub mod retry;
mod route;
pub mod socks;
pub mod stream;
mod talk;
pub mod upload;
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
fn broken(why: impl Into<String>) -> Error {
    Error::new(Kind::Protocol, why)
}

/// A peer's bytes for a message: escaped, and short whatever the peer sent. Not for values that may be secrets.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 32;
    let text = bytes.iter().take(MOST).flat_map(|b| std::ascii::escape_default(*b)).map(char::from);
    let rest = if bytes.len() > MOST { "…" } else { "" };
    format!("\"{}{rest}\"", text.collect::<String>())
}

/// A token of RFC 9110 section 5.6.2: what methods and field names are made of.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}
