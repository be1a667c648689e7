//! One `Set-Cookie` field, read as browsers read it (RFC 6265bis section 5.6). The jar decides whether the cookie is
//! accepted.

use super::{super::fields::trim, SameSite, date};

/// Bytes of name and value together.
pub(crate) const MAX_PAIR: usize = 4096;
/// Bytes of one attribute's value; a longer attribute is as if it were not there.
pub(crate) const MAX_ATTRIBUTE: usize = 1024;

/// What the field says, not yet believed.
#[derive(Default, PartialEq)]
pub(crate) struct Line<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// Seconds from now; 0 or less is "delete it".
    pub max_age: Option<i64>,
    /// Seconds since 1970.
    pub expires: Option<u64>,
    /// Without its leading dot; empty if it says nothing.
    pub domain: &'a [u8],
    pub path: Option<&'a [u8]>,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: SameSite,
}

impl<'a> Line<'a> {
    /// `None` if the field is to be ignored altogether.
    pub fn parse(field: &'a [u8]) -> Option<Line<'a>> {
        let mut parts = field.split(|b| *b == b';');
        let pair = parts.next()?;
        let (name, value) = match halves(pair) {
            (name, Some(value)) => (name, value),
            // Without `=` it is a value that has no name.
            (value, None) => (&b""[..], value),
        };
        let mut line = Line { name, value, ..Line::default() };
        if !is_fit(name, value) || field.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return None;
        }
        for part in parts {
            let (name, value) = halves(part);
            let value = value.unwrap_or_default();
            if value.len() <= MAX_ATTRIBUTE {
                line.attribute(name, value);
            }
        }
        // A tab elsewhere is white space; here it would be data, and break what saves cookies as lines.
        if line.path.is_some_and(|path| path.contains(&b'\t')) { None } else { Some(line) }
    }

    /// Of several attributes of one name the last counts.
    fn attribute(&mut self, name: &[u8], value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("expires") {
            self.expires = date::seconds(value).or(self.expires);
        } else if is("max-age") {
            self.max_age = age(value).or(self.max_age);
        } else if is("domain") {
            self.domain = value.strip_prefix(b".").unwrap_or(value);
        } else if is("path") {
            // Anything else is the default path.
            self.path = Some(value).filter(|path| path.starts_with(b"/"));
        } else if is("secure") {
            self.secure = true;
        } else if is("httponly") {
            self.http_only = true;
        } else if is("samesite") {
            self.same_site = SameSite::parse(value);
        }
    }
}

/// What any cookie's name and value have to be, whether it comes from a server or from a saved jar.
pub(crate) fn is_fit(name: &[u8], value: &[u8]) -> bool {
    let fit = |bytes: &[u8]| !bytes.iter().any(u8::is_ascii_control);
    !(name.is_empty() && value.is_empty()) && name.len() + value.len() <= MAX_PAIR && fit(name) && fit(value)
}

/// What stands before and after the first `=`, each without the white space around it.
fn halves(part: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'=', part) {
        Some(at) => {
            let (name, rest) = part.split_at(at);
            (trim(name), rest.get(1..).map(trim))
        }
        None => (trim(part), None),
    }
}

/// The value of `Max-Age`: digits, perhaps after a minus. As large as it gets is large enough.
fn age(value: &[u8]) -> Option<i64> {
    let (sign, digits) = match value {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0i64, |n, b| n.saturating_mul(10).saturating_add(i64::from(b - b'0')));
    Some(sign * size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(field: &[u8]) -> Option<String> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        Line::parse(field).map(|line| {
            let mut out = format!("{}={}", text(line.name), text(line.value));
            line.max_age.iter().for_each(|age| out += &format!(" age:{age}"));
            line.expires.iter().for_each(|at| out += &format!(" at:{at}"));
            line.path.iter().for_each(|path| out += &format!(" path:{}", text(path)));
            if !line.domain.is_empty() {
                out += &format!(" domain:{}", text(line.domain));
            }
            out += if line.secure { " secure" } else { "" };
            out += if line.http_only { " http" } else { "" };
            out + &match line.same_site {
                SameSite::Default => String::new(),
                other => format!(" {}", other.name()),
            }
        })
    }

    #[test]
    fn fields() {
        for (field, expected) in [
            (&b"a=b"[..], Some("a=b")),
            (b"  a \t=  b c\t ; ", Some("a=b c")),
            (b"a=b=c", Some("a=b=c")),
            (b"a=", Some("a=")),
            (b"=b", Some("=b")),
            (b"b", Some("=b")),
            (b"=a=b", Some("=a=b")),
            (b"a='b; c'", Some("a=\\'b")),
            (b"a=b,c=d", Some("a=b,c=d")),
            (b"a=\xe9\xff", Some("a=\\xe9\\xff")),
            (b"", None),
            (b"=", None),
            (b" ; a=b", None),
            (b"a=b; path=/x; PATH = /y ", Some("a=b path:/y")),
            (b"a=b; path=/x; path=y", Some("a=b")),
            (b"a=b; path", Some("a=b")),
            (b"a=b; domain=x; Domain=.y", Some("a=b domain:y")),
            (b"a=b; domain=x; domain", Some("a=b")),
            (b"a=b; domain=..x", Some("a=b domain:.x")),
            (b"a=b; secure=false; HTTPONLY; x; =", Some("a=b secure http")),
            (b"a=b; secured; securE ", Some("a=b secure")),
            (b"a=b; SameSite=lAX", Some("a=b lax")),
            (b"a=b; SameSite=Strict; SameSite=other", Some("a=b")),
            (b"a=b; samesite=none", Some("a=b none")),
            (b"a=b; max-age=10; max-age=x", Some("a=b age:10")),
            (b"a=b; max-age=-10", Some("a=b age:-10")),
            (b"a=b; max-age=99999999999999999999", Some("a=b age:9223372036854775807")),
            (b"a=b; max-age=+1; max-age=; max-age=-; max-age=1.5", Some("a=b")),
            (b"a=b; expires=Thu, 01 Jan 1970 00:00:09 GMT", Some("a=b at:9")),
            (b"a=b; expires=01 Jan 70 00:00:09; expires=never", Some("a=b at:9")),
            (b"a=b\0", None),
            (b"a=b\x7f", None),
            (b"a=b\r\nX: y", None),
            (b"a\x01=b", None),
            (b"a=b; x=\x1f", None),
            (b"a=b\tc", None),
            (b"a\tb=c", None),
            (b"a=b; path=/\t/", None),
            (b"a=b; x=\ty", Some("a=b")),
            (b"a=%0d%0a%00", Some("a=%0d%0a%00")),
        ] {
            assert_eq!(shape(field).as_deref(), expected, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn lengths() {
        let long = |n| "x".repeat(n);
        for (field, expected) in [
            (format!("a={}", long(4095)), true),
            (format!("a={}", long(4096)), false),
            (format!("{}=", long(4096)), true),
            (format!("{}=", long(4097)), false),
        ] {
            assert_eq!(Line::parse(field.as_bytes()).is_some(), expected, "{}", field.len());
        }
        let path = |n| shape(format!("a=b; path=/{}", long(n)).as_bytes()).unwrap().contains("path");
        assert!(path(1023) && !path(1024));
    }
}
