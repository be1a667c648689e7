//! `multipart/form-data` bodies (RFC 7578), names escaped as browsers do (HTML standard, "multipart/form-data encoding").
//!
//! Makes the heads between the parts and computes the total length; the content of the parts is not copied, so that
//! files can be streamed.

use super::Invalid;
use std::fmt::Write as _;

/// What a part's head says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub name: Vec<u8>,
    pub filename: Option<Vec<u8>>,
    pub content_type: Option<String>,
}

/// The value of `Content-Type` for a whole body.
pub fn content_type(boundary: &str) -> String {
    format!("multipart/form-data; boundary={boundary}")
}

/// A caller's `Content-Type` for a body that we make: with the boundary of `own`, which [`content_type`] made, in place of any
/// other. `None` where one of them is not of a multipart body.
pub fn bounded(given: &[u8], own: &str) -> Option<Vec<u8>> {
    let boundary = own.strip_prefix("multipart/form-data; ")?;
    if !given.get(.."multipart/".len())?.eq_ignore_ascii_case(b"multipart/") {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    let parameters = given.split(|byte| {
        let ends = *byte == b';' && !quoted;
        quoted ^= *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
        ends
    });
    let mut out = Vec::new();
    for parameter in parameters.map(<[u8]>::trim_ascii).filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
        if !name.trim_ascii().eq_ignore_ascii_case(b"boundary") {
            out.extend_from_slice(parameter);
            out.extend_from_slice(b"; ");
        }
    }
    out.extend_from_slice(boundary.as_bytes());
    Some(out)
}

/// Sixteen random bytes as a boundary that no part's bytes can guess.
pub fn boundary(random: [u8; 16]) -> String {
    let mut out = String::from("caspian-");
    for byte in random {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// What goes before a part's bytes; `first` is true for the first part.
pub fn before(part: &Part, boundary: &str, first: bool) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::new();
    if !first {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"").as_bytes());
    escape(&part.name, "name", &mut out)?;
    out.push(b'"');
    if let Some(filename) = &part.filename {
        out.extend_from_slice(b"; filename=\"");
        escape(filename, "filename", &mut out)?;
        out.push(b'"');
    }
    let default = part.filename.as_ref().map(|_| "application/octet-stream");
    if let Some(kind) = part.content_type.as_deref().or(default) {
        if kind.bytes().any(|b| b.is_ascii_control()) {
            return Invalid::because("the content type of a part contains a control character");
        }
        out.extend_from_slice(format!("\r\nContent-Type: {kind}").as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
    Ok(out)
}

/// What goes after the last part's bytes.
pub fn after(boundary: &str, empty: bool) -> Vec<u8> {
    let lead = if empty { "" } else { "\r\n" };
    format!("{lead}--{boundary}--\r\n").into_bytes()
}

/// `"`, CR and LF as `%22`, `%0D` and `%0A`; NUL is refused.
fn escape(text: &[u8], what: &str, out: &mut Vec<u8>) -> Result<(), Invalid> {
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"%22"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'\n' => out.extend_from_slice(b"%0A"),
            0 => return Invalid::because(format!("the {what} of a part contains a NUL")),
            _ => out.push(*byte),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let part = |name: &[u8], filename: Option<&[u8]>, kind: Option<&str>| Part {
            name: name.to_vec(),
            filename: filename.map(<[u8]>::to_vec),
            content_type: kind.map(str::to_owned),
        };
        for (part, expected) in [
            (part(b"a", None, None), Some("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n")),
            (
                part(b"a\"\r\nb", Some("ü.txt".as_bytes()), Some("text/plain")),
                Some(
                    "--B\r\nContent-Disposition: form-data; name=\"a%22%0D%0Ab\"; filename=\"ü.txt\"\r\nContent-Type: text/plain\r\n\r\n",
                ),
            ),
            (
                part(b"a", Some(b""), None),
                Some(
                    "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"\"\r\nContent-Type: application/octet-stream\r\n\r\n",
                ),
            ),
            (part(b"a", None, Some("text/plain\r\nX: y")), None),
            (part(b"a\0", None, None), None),
            (part(b"a", Some(b"\0"), None), None),
        ] {
            let got = before(&part, "B", true).ok().map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(got.as_deref(), expected, "{part:?}");
        }
        for (given, expected) in [
            ("multipart/form-data", Some("multipart/form-data; boundary=B")),
            ("multipart/related ; type=\"a;b\";", Some("multipart/related; type=\"a;b\"; boundary=B")),
            ("Multipart/mixed; Boundary=\"x;\\\"; y\"; a=b", Some("Multipart/mixed; a=b; boundary=B")),
            ("text/plain", None),
            ("", None),
        ] {
            let got = bounded(given.as_bytes(), &content_type("B")).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(got.as_deref(), expected, "{given}");
        }
        assert_eq!(bounded(b"multipart/mixed", "application/json"), None);
        assert_eq!(after("B", false), b"\r\n--B--\r\n");
        assert_eq!(boundary([0xab; 16]).len(), 40);
    }
}
