//! A request: typed, checked before anything is sent, and its head as bytes.
//!
//! Framing is ours: a caller cannot set `Transfer-Encoding`, nor a wrong `Content-Length`. The body is elsewhere; here
//! are only the fields that describe it.

use super::{Invalid, fields::Fields, fields::trim, is_token, url::HttpUrl};
use std::{borrow::Cow, fmt};

/// Defaults to `GET`. A token (RFC 9110 section 9.1), the common ones in upper case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(Cow<'static, str>);

impl Method {
    pub const GET: Method = Method(Cow::Borrowed("GET"));
    pub const HEAD: Method = Method(Cow::Borrowed("HEAD"));
    pub const CONNECT: Method = Method(Cow::Borrowed("CONNECT"));

    /// A caller's method. `CONNECT` is refused: tunnels are what the option `proxy` makes.
    pub fn parse(text: &[u8]) -> Result<Method, Invalid> {
        const COMMON: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        if let Some(common) = COMMON.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(text)) {
            return Ok(Method(Cow::Borrowed(common)));
        }
        let Some(text) = std::str::from_utf8(text).ok().filter(|text| is_token(text.as_bytes())) else {
            return Invalid::because(match text {
                [] => "method is empty",
                _ => "method contains a character that methods cannot have",
            });
        };
        if text.eq_ignore_ascii_case("CONNECT") {
            return Invalid::because("method CONNECT cannot be fetched; name a proxy with the option `proxy`");
        }
        Ok(Method(Cow::Owned(text.to_owned())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same in upper case. Methods are case-sensitive (RFC 9110 section 9.1), but many servers read `trace` as `TRACE`:
    /// whoever decides on a method decides on this form, and sends it.
    pub fn into_upper_case(self) -> Method {
        match self.0.bytes().any(|byte| byte.is_ascii_lowercase()) {
            true => Method(Cow::Owned(self.0.to_ascii_uppercase())),
            false => self,
        }
    }

    /// True if doing it twice is doing it once (RFC 9110 section 9.2.2): such a request may be sent again.
    pub fn is_idempotent(&self) -> bool {
        matches!(self.as_str(), "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE")
    }

    /// True for methods whose requests usually have a body: its absence is then said with `Content-Length: 0`
    /// (RFC 9110 section 8.6).
    fn expects_body(&self) -> bool {
        matches!(self.as_str(), "POST" | "PUT" | "PATCH")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the head says about a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// In bytes; unknown is sent chunked.
    pub length: Option<u64>,
    /// The `Content-Type`, where the body has one of its own and the caller names none.
    pub content_type: Option<String>,
    /// True if it can be sent a second time, after a redirect or on another connection.
    pub replayable: bool,
}

/// Bytes of the names and values of one request's headers: no server takes nearly as much.
const MAX_FIELDS: usize = 1 << 20;

/// Fields that the client adds by itself, and a caller may leave out.
const OPTIONAL: [&str; 7] =
    ["accept", "accept-encoding", "authorization", "content-type", "cookie", "last-event-id", "user-agent"];

/// One request of one hop.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: HttpUrl,
    /// The caller's, checked. The client's own are added by [`Request::draft`].
    fields: Fields,
    /// Names of the client's own fields that the caller does not want.
    unwanted: Vec<Box<[u8]>>,
    pub payload: Option<Payload>,
}

/// How the request target is written (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Origin,
    /// To a proxy that forwards.
    Absolute,
    /// Over HTTP/2, which has other words for the same (RFC 9113 section 8.3.1) and no transfer codings.
    Http2,
}

impl Request {
    pub fn new(method: Method, url: HttpUrl, payload: Option<Payload>) -> Request {
        Request { method, url, fields: Fields::new(), unwanted: Vec::new(), payload }
    }

    /// Adds a caller's header, whatever is there already. Call it when the payload is known.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Invalid> {
        if !is_token(name) {
            return Invalid::because(format!("header name {} is not a token", super::shown(name)));
        }
        // A token is ASCII.
        let label = String::from_utf8_lossy(name);
        if value.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            // Not which value: it may be a token.
            return Invalid::because(format!("the value of header {label} contains a control character"));
        }
        let value = trim(value);
        match label.to_ascii_lowercase().as_str() {
            "transfer-encoding" => {
                return Invalid::because(
                    "header Transfer-Encoding cannot be set; a function as `body` is sent chunked",
                );
            }
            "content-length" => return self.check_length(value),
            "host" if self.fields.has("host") => return Invalid::because("header Host is given twice"),
            "host" if !is_host(value) => return Invalid::because("header Host is not a host"),
            _ => (),
        }
        if self.fields.size() + name.len() + value.len() > MAX_FIELDS {
            return Invalid::because(format!("the headers are larger than {MAX_FIELDS} bytes"));
        }
        self.fields.push(name, value);
        Ok(())
    }

    /// Leaves out a field that the client would add by itself ([`Draft::own`]). `Host` stays, and so does what frames the body or makes a handshake.
    pub fn without(&mut self, name: &[u8]) {
        if OPTIONAL.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name)) {
            self.unwanted.push(name.into());
        }
    }

    /// True if the caller leaves that field to the client.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let is_other = |other: &[u8]| !other.eq_ignore_ascii_case(name.as_bytes());
        !self.fields.has(name) && self.unwanted.iter().all(|other| is_other(other))
    }

    /// The caller's headers.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(crate) fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// A caller's `Content-Length` is accepted where it is true, and then written by us.
    fn check_length(&self, value: &[u8]) -> Result<(), Invalid> {
        let length = match &self.payload {
            Some(payload) => payload.length,
            None => Some(0),
        };
        match length {
            Some(length) if value == length.to_string().as_bytes() => Ok(()),
            Some(length) => {
                Invalid::because(format!("header Content-Length is not the body's, which has {length} bytes"))
            }
            None => Invalid::because("header Content-Length cannot be set for a body of unknown length"),
        }
    }

    /// Begins the head: the request line, `Host`, the caller's headers, and what each request of ours says.
    pub fn draft(&self, form: Form) -> Draft<'_> {
        let mut draft = Draft {
            request: self,
            payload: self.payload.as_ref(),
            chunks: form != Form::Http2,
            bodiless: self.method.expects_body(),
            out: Vec::with_capacity(256),
        };
        let absolute;
        let target = match form {
            Form::Origin | Form::Http2 => self.url.target(),
            Form::Absolute => {
                absolute = self.url.absolute_form();
                &absolute
            }
        };
        // Host goes first (RFC 9110 section 7.2).
        let host = self.fields.first("host").unwrap_or(self.url.authority().as_bytes());
        let version = if form == Form::Http2 { &b" HTTP/2\r\nHost: "[..] } else { b" HTTP/1.1\r\nHost: " };
        draft.put(&[self.method.as_str().as_bytes(), b" ", target.as_bytes(), version, host, b"\r\n"]);
        for (name, value) in self.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(b"host")) {
            draft.put(&[name, b": ", value, b"\r\n"]);
        }
        draft.stock("User-Agent", concat!("User-Agent: caspian/", env!("CARGO_PKG_VERSION"), "\r\n"));
        draft.stock("Accept", "Accept: */*\r\n");
        draft
    }
}

/// A request's head that is being written.
pub struct Draft<'a> {
    request: &'a Request,
    payload: Option<&'a Payload>,
    /// A body of unknown length comes in chunks.
    chunks: bool,
    /// Without a payload its length is said to be 0.
    bodiless: bool,
    out: Vec<u8>,
}

impl Draft<'_> {
    /// Adds a field of the client's own; a caller's header of the same name replaces it, or it is unwanted.
    pub fn own(&mut self, name: &str, value: &[u8]) {
        if self.request.wants(name) {
            self.put(&[name.as_bytes(), b": ", value, b"\r\n"]);
        }
    }

    /// The same for a field whose line is always this one.
    pub(crate) fn stock(&mut self, name: &str, line: &'static str) {
        if self.request.wants(name) {
            self.put(&[line.as_bytes()]);
        }
    }

    /// The head as bytes, with what it has to say about the body.
    pub fn end(mut self) -> Vec<u8> {
        match self.payload {
            Some(payload) => {
                if let Some(kind) = &payload.content_type {
                    self.own("Content-Type", kind.as_bytes());
                }
                match payload.length {
                    Some(length) => self.put(&[b"Content-Length: ", length.to_string().as_bytes(), b"\r\n"]),
                    None if self.chunks => self.put(&[b"Transfer-Encoding: chunked\r\n"]),
                    None => (),
                }
            }
            None if self.bodiless => self.put(&[b"Content-Length: 0\r\n"]),
            None => (),
        }
        self.put(&[b"\r\n"]);
        self.out
    }

    fn put(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
    }
}

/// What a caller may put in `Host`: no path, userinfo, list or space. It is sent, never connected to.
fn is_host(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|b| b.is_ascii_graphic() && !b"/\\@,?#\"<>".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, payload: Option<Payload>) -> Request {
        let url = HttpUrl::parse("http://example.com:8080/a?b#c").unwrap();
        Request::new(Method::parse(method.as_bytes()).unwrap(), url, payload)
    }

    fn payload(length: Option<u64>, content_type: Option<&str>) -> Option<Payload> {
        Some(Payload { length, content_type: content_type.map(str::to_owned), replayable: true })
    }

    #[test]
    fn methods() {
        for (text, expected) in [
            (&b"get"[..], Some("GET")),
            (b"Patch", Some("PATCH")),
            (b"PROPFIND", Some("PROPFIND")),
            (b"x-y", Some("x-y")),
            (b"", None),
            (b"GET ", None),
            (b"GET\r\nX: y", None),
            (b"GE\0T", None),
            (b"G\xc3\x89T", None),
            (b"connect", None),
        ] {
            let got = Method::parse(text).ok();
            assert_eq!(got.as_ref().map(Method::as_str), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_callers_headers() {
        for (name, value, fine) in [
            (&b"X-A"[..], &b"1"[..], true),
            (b"X-A", b" padded\t", true),
            (b"X-A", b"", true),
            (b"X-A", b"caf\xe9", true),
            (b"X-A", b"a\r\nB: c", false),
            (b"X-A", b"a\nB: c", false),
            (b"X-A", b"a\rb", false),
            (b"X-A", b"a\0b", false),
            (b"X-A", b"a\x7fb", false),
            (b"", b"1", false),
            (b"X A", b"1", false),
            (b"X:A", b"1", false),
            (b"X-A\r\n", b"1", false),
            (b"X-\xe9", b"1", false),
            (b"Host", b"other.example:81", true),
            (b"Host", b"", false),
            (b"Host", b"a, b", false),
            (b"Host", b"u@h", false),
            (b"Transfer-Encoding", b"chunked", false),
            (b"transfer-encoding", b"identity", false),
            (b"Content-Length", b"5", true),
            (b"Content-Length", b"6", false),
            (b"Content-Length", b"+5", false),
            (b"Content-Length", b"05", false),
        ] {
            let got = request("POST", payload(Some(5), None)).field(name, value);
            assert_eq!(got.is_ok(), fine, "{}: {}: {got:?}", name.escape_ascii(), value.escape_ascii());
        }
        assert!(request("GET", None).field(b"Content-Length", b"0").is_ok());
        assert!(request("POST", payload(None, None)).field(b"Content-Length", b"5").is_err());
        let mut twice = request("GET", None);
        twice.field(b"Host", b"a").unwrap();
        assert!(twice.field(b"host", b"b").is_err());
    }

    #[test]
    fn heads() {
        let agent = concat!("User-Agent: caspian/", env!("CARGO_PKG_VERSION"), "\r\n");
        for (method, payload, fields, form, expected) in [
            (
                "GET",
                None,
                &[][..],
                Form::Origin,
                "GET /a?b HTTP/1.1\r\nHost: example.com:8080\r\n{ua}Accept: */*\r\nOwn: 1\r\n\r\n",
            ),
            (
                "GET",
                None,
                &[("accept", "x"), ("host", "h"), ("own", "2"), ("X", "1"), ("X", "2")],
                Form::Absolute,
                "GET http://example.com:8080/a?b HTTP/1.1\r\nHost: h\r\naccept: x\r\nown: 2\r\nX: 1\r\nX: 2\r\n{ua}\r\n",
            ),
            (
                "PUT",
                None,
                &[("User-Agent", "me")],
                Form::Origin,
                "PUT /a?b HTTP/1.1\r\nHost: example.com:8080\r\nUser-Agent: me\r\nAccept: */*\r\nOwn: 1\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                "POST",
                payload(Some(2), Some("application/json")),
                &[("Content-Length", "2")],
                Form::Origin,
                "POST /a?b HTTP/1.1\r\nHost: example.com:8080\r\n{ua}Accept: */*\r\nOwn: 1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n",
            ),
            (
                "POST",
                payload(None, Some("application/json")),
                &[("content-type", "text/x")],
                Form::Origin,
                "POST /a?b HTTP/1.1\r\nHost: example.com:8080\r\ncontent-type: text/x\r\n{ua}Accept: */*\r\nOwn: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
        ] {
            let mut request = request(method, payload);
            for (name, value) in fields {
                request.field(name.as_bytes(), value.as_bytes()).unwrap();
            }
            let mut head = request.draft(form);
            head.own("Own", b"1");
            assert_eq!(String::from_utf8(head.end()).unwrap(), expected.replace("{ua}", agent));
        }
    }
}
