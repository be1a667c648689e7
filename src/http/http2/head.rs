//! Heads between HTTP/2 and the types of the server: a head of `h2` becomes a [`Head`], an [`Answer`] becomes a head of
//! `h2`.
//!
//! `h2` refuses malformed requests before (RFC 9113 sections 8.2 and 8.3): fields of the connection, upper case,
//! controls, pseudo-fields that are missing, doubled, unknown or late, a Content-Length that differs from the body. The
//! remaining checks are those of HTTP/1.1.

use crate::http::{
    answer::{Answer, Ends, Exchange},
    fields::{Fields, trim},
    incoming::{Head, Limits, Refusal, authority},
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

/// The head of a request. `ends`: no body follows.
pub fn request(request: &Request<()>, ends: bool, limits: &Limits) -> Result<Head, Refusal> {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        return Err(Refusal::new(501, "CONNECT: there are no tunnels here"));
    }
    if uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Refusal::new(400, ":scheme is neither http nor https"));
    }
    if uri.path().is_empty() {
        return Err(Refusal::new(400, "no :path"));
    }
    let mut fields = Fields::new();
    let mut agreed = None;
    if let Some(name) = uri.authority() {
        // It stands where a Host field would, which scripts know.
        fields.push(b"host", name.as_str().as_bytes());
        agreed = Some(authority(name.as_str()));
    }
    let mut cookies = Vec::new();
    for (name, value) in request.headers() {
        let value = value.as_bytes();
        if trim(value).len() != value.len() {
            return Err(Refusal::new(400, "a blank around a field's value"));
        }
        match (name.as_str(), &agreed) {
            // RFC 9113 section 8.3.1: they may not differ, for a server in front may route by one of them.
            ("host", Some(agreed)) => {
                let host = std::str::from_utf8(value).ok().and_then(authority);
                if host.is_none() || host != *agreed {
                    return Err(Refusal::new(400, "the Host field is not :authority"));
                }
            }
            // Crumbs of one field (section 8.2.3).
            ("cookie", _) => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value);
            }
            (name, _) => fields.push(name.as_bytes(), value),
        }
    }
    if !cookies.is_empty() {
        fields.push(b"cookie", &cookies);
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Head::of(request.method().as_str(), target, fields, ends, limits)
}

/// Fields of a script's answer that are about the connection: left out.
const CONNECTION: [&str; 4] = ["keep-alive", "proxy-connection", "te", "upgrade"];

/// The head of a response. `None` for a field that HTTP/2 cannot carry: a control character, or more fields than anybody takes.
pub fn response(answer: &Answer, exchange: &Exchange<'_>, ends: Ends) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(answer.status).ok()?;
    let headers = response.headers_mut();
    headers.try_insert("date", HeaderValue::from_str(exchange.date).ok()?).ok()?;
    for (name, value) in answer.fields().iter() {
        // Fields of the connection (RFC 9113 section 8.2.2): those that an answer can have, the others are ours.
        if CONNECTION.iter().any(|field| field.as_bytes().eq_ignore_ascii_case(name)) {
            continue;
        }
        headers.try_append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?).ok()?;
    }
    if let Some(length) = answer.content_length(exchange, ends) {
        headers.try_insert("content-length", HeaderValue::from(length)).ok()?;
    }
    Some(response)
}
