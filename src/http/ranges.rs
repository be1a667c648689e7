//! Conditional requests and ranges of a file (RFC 9110 sections 13 and 14): the part to send, if any.
//!
//! Pure: the request's fields and the file's metadata in, a plan out. Several ranges are answered with the whole file,
//! as section 14.2 allows.

use super::{
    answer::date,
    cookies::date::seconds,
    fields::{Fields, trim},
};

/// What is known of a file.
#[derive(Clone, Debug)]
pub struct About {
    pub length: u64,
    /// Seconds since 1970.
    pub modified: u64,
    /// With its quotes.
    pub etag: String,
}

impl About {
    /// `nanoseconds`: of the modification, behind its second. The two and the length make the ETag.
    pub fn new(length: u64, modified: u64, nanoseconds: u32) -> About {
        About { length, modified, etag: format!("\"{modified:x}.{nanoseconds:x}-{length:x}\"") }
    }

    /// The value of `Last-Modified`.
    pub fn last_modified(&self) -> String {
        date(self.modified)
    }
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// 200 with all of it.
    Whole,
    /// 206: so many bytes from a place on.
    Part(u64, u64),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Unsatisfiable,
}

/// RFC 9110 section 13.2.2, in its order.
pub fn plan(method: &str, fields: &Fields, about: &About) -> Plan {
    let safe = matches!(method, "GET" | "HEAD");
    let since = |name| fields.first(name).and_then(seconds);
    if fields.has("If-Match") {
        if !lists(fields, "If-Match", &about.etag, false) {
            return Plan::Failed;
        }
    } else if since("If-Unmodified-Since").is_some_and(|time| about.modified > time) {
        return Plan::Failed;
    }
    if fields.has("If-None-Match") {
        if lists(fields, "If-None-Match", &about.etag, true) {
            return if safe { Plan::NotModified } else { Plan::Failed };
        }
    } else if safe && since("If-Modified-Since").is_some_and(|time| about.modified <= time) {
        return Plan::NotModified;
    }
    if method != "GET" || !applies(fields, about) {
        return Plan::Whole;
    }
    match fields.first("Range").map(|text| range(text, about.length)) {
        None | Some(None) => Plan::Whole,
        Some(Some(Some((from, length)))) => Plan::Part(from, length),
        Some(Some(None)) => Plan::Unsatisfiable,
    }
}

/// True if a list of entity tags has this one, or is `*`. The weak comparison takes `W/` for nothing (section 8.8.3.2).
fn lists(fields: &Fields, name: &str, etag: &str, weak: bool) -> bool {
    fields.list(name).any(|member| {
        let member = if weak { member.strip_prefix(b"W/").unwrap_or(member) } else { member };
        member == b"*" || member == etag.as_bytes()
    })
}

/// `If-Range`: the range is of what the client has a part of (section 13.1.5).
fn applies(fields: &Fields, about: &About) -> bool {
    match fields.first("If-Range") {
        None => true,
        Some(tag @ [b'"', ..]) => tag == about.etag.as_bytes(),
        Some(text) => seconds(text) == Some(about.modified),
    }
}

/// One range of bytes (section 14.1.2): where it begins and how long it is; inside, nothing where it lies behind the end.
/// Nothing for what is no single range.
fn range(text: &[u8], length: u64) -> Option<Option<(u64, u64)>> {
    let text = std::str::from_utf8(text).ok()?;
    let (unit, ranges) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = std::str::from_utf8(trim(ranges.as_bytes())).ok()?.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        let suffix = number(last)?.min(length);
        return Some((suffix > 0).then_some((length - suffix, suffix)));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < length).then(|| (first, last.min(length - 1) - first + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans() {
        let about = About { length: 10, modified: 784_111_777, etag: "\"a\"".into() };
        let (at, before, after) =
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        for (method, fields, expected) in [
            ("GET", &[][..], Plan::Whole),
            ("GET", &[("Range", "bytes=0-0")], Plan::Part(0, 1)),
            ("GET", &[("Range", "bytes=2-")], Plan::Part(2, 8)),
            ("GET", &[("Range", "bytes=2-99")], Plan::Part(2, 8)),
            ("GET", &[("Range", "BYTES = 2-3 ")], Plan::Part(2, 2)),
            ("GET", &[("Range", "bytes=-3")], Plan::Part(7, 3)),
            ("GET", &[("Range", "bytes=-30")], Plan::Part(0, 10)),
            ("GET", &[("Range", "bytes=-0")], Plan::Unsatisfiable),
            ("GET", &[("Range", "bytes=10-")], Plan::Unsatisfiable),
            ("GET", &[("Range", "bytes=99999999999999999999-")], Plan::Unsatisfiable),
            ("GET", &[("Range", "bytes=3-2")], Plan::Whole),
            ("GET", &[("Range", "bytes=0-1,3-4")], Plan::Whole),
            ("GET", &[("Range", "bytes=+1-2")], Plan::Whole),
            ("GET", &[("Range", "bytes=-")], Plan::Whole),
            ("GET", &[("Range", "lines=0-1")], Plan::Whole),
            ("HEAD", &[("Range", "bytes=0-0")], Plan::Whole),
            ("POST", &[("Range", "bytes=0-0")], Plan::Whole),
            ("GET", &[("Range", "bytes=0-0"), ("If-Range", "\"a\"")], Plan::Part(0, 1)),
            ("GET", &[("Range", "bytes=0-0"), ("If-Range", "W/\"a\"")], Plan::Whole),
            ("GET", &[("Range", "bytes=0-0"), ("If-Range", "\"b\"")], Plan::Whole),
            ("GET", &[("Range", "bytes=0-0"), ("If-Range", at)], Plan::Part(0, 1)),
            ("GET", &[("Range", "bytes=0-0"), ("If-Range", after)], Plan::Whole),
            ("GET", &[("If-None-Match", "\"a\"")], Plan::NotModified),
            ("HEAD", &[("If-None-Match", "\"x\", W/\"a\"")], Plan::NotModified),
            ("GET", &[("If-None-Match", "*")], Plan::NotModified),
            ("PUT", &[("If-None-Match", "*")], Plan::Failed),
            ("GET", &[("If-None-Match", "\"b\""), ("If-Modified-Since", after)], Plan::Whole),
            ("GET", &[("If-Modified-Since", at)], Plan::NotModified),
            ("GET", &[("If-Modified-Since", before)], Plan::Whole),
            ("GET", &[("If-Modified-Since", "yesterday")], Plan::Whole),
            ("POST", &[("If-Modified-Since", after)], Plan::Whole),
            ("GET", &[("If-Match", "\"a\"")], Plan::Whole),
            ("GET", &[("If-Match", "*")], Plan::Whole),
            ("GET", &[("If-Match", "W/\"a\"")], Plan::Failed),
            ("GET", &[("If-Match", "\"b\""), ("If-None-Match", "\"a\"")], Plan::Failed),
            ("GET", &[("If-Unmodified-Since", before)], Plan::Failed),
            ("GET", &[("If-Unmodified-Since", at)], Plan::Whole),
        ] {
            let mut all = Fields::new();
            fields.iter().for_each(|(name, value)| all.push(name.as_bytes(), value.as_bytes()));
            assert_eq!(plan(method, &all, &about), expected, "{method} {fields:?}");
        }
        assert_eq!(range(b"bytes=0-", 0), Some(None));
    }
}
