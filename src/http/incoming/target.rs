//! The request target and its host (RFC 9112 section 3.2).

use super::{Refusal, refuse};
use crate::http::{fields::Fields, response::Version};
use std::net::Ipv6Addr;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As sent.
    text: Box<str>,
    /// Where the path begins in it: behind scheme and authority of the absolute form.
    start: usize,
    /// Where the path ends: at the `?`, or at the end.
    end: usize,
    /// In lower case, without the port; an IPv6 address in its brackets. `None` only on HTTP/1.0.
    pub host: Option<Box<str>>,
    /// The port of the Host field, where it names one.
    pub port: Option<u16>,
}

impl Target {
    /// Checks the target against the method and the Host field.
    pub(super) fn parse(method: &str, target: &str, version: Version, fields: &Fields) -> Result<Target, Refusal> {
        if method == "CONNECT" {
            return refuse(501, "CONNECT: there are no tunnels here");
        }
        let host = host(version, fields)?;
        let start = match target.as_bytes() {
            [b'/', ..] => 0,
            b"*" if method == "OPTIONS" => 0,
            _ if version == Version::Http2 => return refuse(400, ":path does not begin with a slash"),
            _ => absolute(target, host.as_ref())?,
        };
        let end = memchr::memchr(b'?', target.as_bytes().get(start..).unwrap_or_default());
        let end = end.map_or(target.len(), |at| start + at);
        let (host, port) = host.unzip();
        Ok(Target { text: target.into(), start, end, host: host.map(Into::into), port: port.flatten() })
    }

    /// As sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As sent, percent-encoded: `/` at least, or `*`.
    pub fn path(&self) -> &str {
        match self.text.get(self.start..self.end) {
            Some(path) if !path.is_empty() => path,
            _ => "/",
        }
    }

    /// What follows the first `?`, as sent.
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.end..)?.strip_prefix('?')
    }
}

/// The Host field: exactly one on HTTP/1.1, at most one on HTTP/1.0 (RFC 9112 section 3.2).
fn host(version: Version, fields: &Fields) -> Result<Option<(String, Option<u16>)>, Refusal> {
    let mut hosts = fields.all("Host");
    let Some(host) = hosts.next() else {
        return match version {
            Version::Http2 => refuse(400, "neither :authority nor a Host field"),
            Version::Http11 => refuse(400, "no Host field"),
            Version::Http10 => Ok(None),
        };
    };
    if hosts.next().is_some() {
        return refuse(400, "more than one Host field");
    }
    match std::str::from_utf8(host).ok().and_then(authority) {
        Some(host) => Ok(Some(host)),
        None => refuse(400, "the Host field is no host"),
    }
}

/// Where the path of an absolute form begins. Its authority must be that of the Host field: a server in front may route by
/// one of them and we by the other.
fn absolute(target: &str, host: Option<&(String, Option<u16>)>) -> Result<usize, Refusal> {
    let (scheme, default) = match target.get(..8) {
        Some(scheme) if scheme.eq_ignore_ascii_case("https://") => (8, 443),
        Some(scheme) if scheme.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) => (7, 80),
        _ => return refuse(400, "the request target is neither a path nor an http URL"),
    };
    let rest = target.get(scheme..).unwrap_or_default();
    let length = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some((name, port)) = rest.get(..length).and_then(authority) else {
        return refuse(400, "the request target's authority is no host");
    };
    if let Some((asked, asked_port)) = host
        && (*asked != name || asked_port.unwrap_or(default) != port.unwrap_or(default))
    {
        return refuse(400, "the request target's authority is not the Host field's");
    }
    Ok(scheme + length)
}

/// A host in lower case, and its port if there is one. `None` for what is no host: userinfo, blanks, lists, empty names.
pub fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (name, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let end = inner.find(']')?;
            let _: Ipv6Addr = inner.get(..end)?.parse().ok()?;
            text.split_at_checked(end + 2)?
        }
        None => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !name.starts_with('[')
        && (name.is_empty() || name.starts_with('.') || name.contains("..") || !name.bytes().all(is_name))
    {
        return None;
    }
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    Some((name.to_ascii_lowercase(), port))
}
