//! Heads in the form of `h2`, and the rules of RFC 9113 section 8 that it leaves to its users.

use crate::{
    error::{Error, Kind, Result},
    http::{
        broken,
        fields::{Fields, trim},
        response::{Budget, Head, Version},
        shown,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};

/// Fields that are about a connection of HTTP/1.1 (RFC 9113 section 8.2.2), and `Host`, which is `:authority`.
const DROPPED: [&str; 7] =
    ["connection", "host", "http2-settings", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
/// Values that do not go into the tables of the compression, where others could feel for them (RFC 7541 section 7.1.3).
const SENSITIVE: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// A request from its head as [`crate::http::request::Draft`] writes it.
pub(super) fn request(scheme: &str, text: &[u8]) -> Result<Request<()>> {
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut parts = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let fields: Vec<(&[u8], &[u8])> = lines
        .filter_map(|line| {
            let at = memchr::memchr(b':', line)?;
            Some((line.get(..at)?, trim(line.get(at + 1..)?)))
        })
        .collect();
    let named =
        |name: &'static str| fields.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
    let authority = named("host").next().map_or(&b""[..], |(_, value)| value);
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(target)
        .build()
        .map_err(|why| unfit("the URL", &why))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).map_err(|why| unfit("the method", &why))?;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    let mut dropped: Vec<Vec<u8>> = DROPPED.iter().map(|name| name.as_bytes().to_vec()).collect();
    // What `Connection` names is about that connection, too.
    let listed = named("connection").flat_map(|(_, value)| value.split(|byte| *byte == b','));
    dropped.extend(listed.map(|name| trim(name).to_ascii_lowercase()));
    for (name, value) in &fields {
        let lower = name.to_ascii_lowercase();
        if dropped.contains(&lower) || lower == b"te" && !value.eq_ignore_ascii_case(b"trailers") {
            continue;
        }
        // In the case in which it is allowed (RFC 9113 section 8.2.2).
        let value = if lower == b"te" { b"trailers" } else { *value };
        let name = HeaderName::from_bytes(&lower).map_err(|why| unfit("a header's name", &why))?;
        let mut value = HeaderValue::from_bytes(value).map_err(|why| unfit("a header's value", &why))?;
        value.set_sensitive(SENSITIVE.contains(&name.as_str()));
        let room = request.headers_mut().try_append(name, value);
        room.map_err(|why| unfit("so many headers", &why))?;
    }
    Ok(request)
}

/// Not the values: one of them may be a token.
fn unfit(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Socket, format!("{what} cannot be sent over HTTP/2: {why}"))
}

/// A response's head; `budget` pays for it.
pub(super) fn response(response: &Response<()>, budget: &mut Budget) -> Result<Box<Head>> {
    let status = response.status().as_u16();
    let fields = fields(response.headers(), budget)?;
    Ok(Box::new(Head { version: Version::Http2, status, reason: Default::default(), fields }))
}

/// Fields of a head or of trailers. `h2` has refused names in upper case, fields about a connection, control characters, and pseudo-header
/// fields in the wrong place.
pub(super) fn fields(map: &HeaderMap, budget: &mut Budget) -> Result<Fields> {
    // The line of HTTP/1.1 that it would be.
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    if map.len() > budget.fields() {
        return Err(broken("the response has more than 256 fields"));
    }
    budget.take(map.iter().map(size).sum(), map.len())?;
    let mut fields = Fields::new();
    for (name, value) in map {
        let value = value.as_bytes();
        // RFC 9113 section 8.2.1.
        if trim(value).len() != value.len() {
            return Err(broken(format!(
                "the value of field {} begins or ends with a blank",
                shown(name.as_str().as_bytes())
            )));
        }
        fields.push(name.as_str().as_bytes(), value);
    }
    Ok(fields)
}
