//! The record of a request and its response for HAR, without the secrets in headers.
//!
//! Data only. Values of `Authorization`, `Cookie` and their kin are dropped when the record is made, not when it is
//! shown. Bodies are not kept.

use super::{fields::Fields, response::Head, url::HttpUrl};
use crate::dates;
use std::time::Duration;

/// Fields whose values are never kept.
const SECRET: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "www-authenticate", "proxy-authenticate"];
const REDACTED: &[u8] = b"(redacted)";

/// One hop: a request, and its answer if there was one.
#[derive(Clone, Debug)]
pub struct Record {
    /// Since 1970.
    pub started: Duration,
    pub method: String,
    pub url: String,
    pub sent: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the request's head.
    pub sent_head: usize,
    pub answer: Option<Head>,
}

impl Record {
    /// `head` is the request's, as it went out.
    pub fn new(started: Duration, method: &str, url: &HttpUrl, head: &[u8]) -> Record {
        let end = memchr::memmem::find(head, b"\r\n\r\n").unwrap_or(head.len());
        let lines = head.get(..end).unwrap_or_default().split(|b| *b == b'\n').skip(1);
        let pairs = lines.filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let at = memchr::memchr(b':', line)?;
            let (name, value) = (line.get(..at)?, line.get(at + 1..)?.trim_ascii());
            Some((name.to_vec(), shown(name, value).to_vec()))
        });
        Record {
            started,
            method: method.to_owned(),
            url: url.without_fragment(),
            sent: pairs.collect(),
            sent_head: end + 4,
            answer: None,
        }
    }

    pub fn answered(&mut self, head: &Head) {
        let mut fields = Fields::new();
        head.fields.iter().for_each(|(name, value)| fields.push(name, shown(name, value)));
        self.answer = Some(Head { fields, reason: head.reason.clone(), ..*head });
    }

    /// `2026-01-31T23:59:59.123Z`, as HAR wants it.
    pub fn date(&self) -> String {
        date(self.started)
    }
}

fn shown<'a>(name: &[u8], value: &'a [u8]) -> &'a [u8] {
    if SECRET.iter().any(|secret| secret.as_bytes().eq_ignore_ascii_case(name)) { REDACTED } else { value }
}

fn date(since: Duration) -> String {
    let whole = dates::iso(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    format!("{}.{:03}Z", whole.trim_end_matches('Z'), since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let at = Duration::new(784_111_777, 123_999_999);
        assert_eq!(date(at), "1994-11-06T08:49:37.123Z");
    }

    #[test]
    fn no_secret_is_kept() {
        let url = HttpUrl::parse("http://a.example/x?y#z").unwrap();
        let head =
            b"GET /x?y HTTP/1.1\r\nHost: a.example\r\nAUTHORIZATION: Basic s3cret\r\nCookie: a=s3cret\r\n\r\nbody";
        let mut record = Record::new(Duration::ZERO, "GET", &url, head);
        let mut fields = Fields::new();
        fields.push(b"Set-Cookie", b"a=s3cret");
        fields.push(b"X", b"y");
        let version = crate::http::response::Version::Http11;
        record.answered(&Head { version, status: 200, reason: b"OK"[..].into(), fields });
        assert_eq!(record.sent.len(), 3);
        assert_eq!(record.sent_head, head.len() - 4);
        assert!(!record.sent.iter().any(|(_, value)| value.ends_with(b"s3cret")));
        assert_eq!(record.answer.unwrap().fields.first("set-cookie"), Some(REDACTED));
    }
}
