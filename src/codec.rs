//! The parts of requests as text: percent-encoding, URLs of every scheme, base64. For scripts; requests of our own go
//! through `http::url`, which knows fewer URLs and refuses more.
//!
//! Pure. Every function takes any bytes; a refusal is an [`Invalid`] with the place.

use crate::{allocation, error::Result as Allocated};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use url::Url;

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

type Result<T> = std::result::Result<T, Invalid>;

fn invalid<T>(why: impl Into<String>) -> Result<T> {
    Err(Invalid(why.into()))
}

fn room<T>(made: Allocated<T>) -> Result<T> {
    made.map_err(|err| Invalid(err.fields().message.clone()))
}

/// No URL is longer, in bytes.
pub const MAX_URL: usize = 1 << 20;

// --- percent-encoding (RFC 3986, section 2.1) ----------------------------------------------------------------------

/// Escapes every byte but the unreserved ones (RFC 3986, section 2.3) and those of `safe`.
pub fn percent_encode(bytes: &[u8], safe: &[u8]) -> Result<Vec<u8>> {
    let mut keep = [false; 256];
    for byte in 0..=255u8 {
        keep[usize::from(byte)] = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || safe.contains(&byte);
    }
    let escaped = bytes.iter().filter(|byte| !keep[usize::from(**byte)]).count();
    let mut out = room(allocation::room(bytes.len().saturating_add(escaped.saturating_mul(2))))?;
    for &byte in bytes {
        if keep[usize::from(byte)] {
            out.push(byte);
        } else {
            let digit = |half: u8| b"0123456789ABCDEF"[usize::from(half)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    Ok(out)
}

/// Takes escapes back; with `plus`, `+` is a space, as in forms. An escape without two hex digits is refused.
pub fn percent_decode(bytes: &[u8], plus: bool) -> Result<Vec<u8>> {
    decode(bytes, plus, |at| invalid(format!("invalid escape at byte {}", at + 1)))
}

/// The same, where a percent sign that begins no escape stands for itself: so browsers read queries.
fn percent_decode_lossless(bytes: &[u8]) -> Result<Vec<u8>> {
    decode(bytes, true, |_| Ok(()))
}

fn decode(bytes: &[u8], plus: bool, stray: impl Fn(usize) -> Result<()>) -> Result<Vec<u8>> {
    let mut out = room(allocation::room(bytes.len()))?;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let value = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8);
        match (byte, value(bytes.get(at + 1)), value(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 2;
            }
            (b'%', ..) => {
                stray(at)?;
                out.push(b'%');
            }
            (b'+', ..) if plus => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Ok(out)
}

/// The names and values of a query, in order, as browsers read them (WHATWG URL standard, section 5.1): as bytes.
pub fn pairs(query: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let parts = query.as_bytes().split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    let pair = |part: &[u8]| {
        let at = part.iter().position(|byte| *byte == b'=');
        let (name, value) = at.map_or((part, &b""[..]), |at| (&part[..at], &part[at + 1..]));
        Ok((percent_decode_lossless(name)?, percent_decode_lossless(value)?))
    };
    parts.map(pair).collect()
}

// --- URLs (WHATWG) -------------------------------------------------------------------------------------------------

/// What a URL is made of; what is `None` is not there. `host` is without the brackets of an IPv6 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub scheme: String,
    /// `user` or `user:password`, still escaped.
    pub userinfo: Option<String>,
    pub host: Option<String>,
    /// Read: the scheme's own where the URL names none.
    pub port: Option<u16>,
    pub path: String,
    pub query: Option<String>,
    pub fragment: Option<String>,
}

fn read(text: &str, base: Option<&Url>) -> Result<Url> {
    if text.len() > MAX_URL {
        return invalid(format!("URL is longer than {MAX_URL} bytes"));
    }
    // The parser would drop some of them: what is read would be another URL than what was written.
    if let Some(bad) = text.bytes().find(u8::is_ascii_control) {
        return invalid(format!("URL contains the control character {:?}", char::from(bad)));
    }
    Url::options().base_url(base).parse(text).map_err(|why| match why {
        url::ParseError::RelativeUrlWithoutBase => Invalid("URL has no scheme".into()),
        why => Invalid(format!("malformed URL: {why}")),
    })
}

/// Reads an absolute URL of any scheme as browsers do.
pub fn parse(text: &str) -> Result<Parts> {
    let url = read(text, None)?;
    let userinfo = (!url.username().is_empty() || url.password().is_some())
        .then(|| [url.username(), url.password().map_or("", |_| ":"), url.password().unwrap_or("")].concat());
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Parts {
        scheme: url.scheme().to_owned(),
        userinfo,
        host: url.host_str().map(bare),
        port: url.port_or_known_default(),
        path: url.path().to_owned(),
        query: url.query().map(str::to_owned),
        fragment: url.fragment().map(str::to_owned),
    })
}

/// Where `reference` leads from `base` (RFC 3986, section 5, as browsers do it).
pub fn join(base: &str, reference: &str) -> Result<String> {
    Ok(read(reference, Some(&read(base, None)?))?.into())
}

/// True for what is a URL only beside a base.
pub fn is_relative(text: &str) -> bool {
    matches!(Url::parse(text), Err(url::ParseError::RelativeUrlWithoutBase))
}

/// True where a URL without a host is none (the special schemes of the WHATWG, but `file`).
fn has_host(scheme: &str) -> bool {
    ["http", "https", "ws", "wss", "ftp"].iter().any(|special| scheme.eq_ignore_ascii_case(special))
}

/// The URL of parts. What has no place in a part is escaped; what would make another part of it is refused.
pub fn build(parts: &Parts) -> Result<String> {
    let Parts { scheme, userinfo, host, port, path, query, fragment } = parts;
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !named {
        return invalid(format!("scheme {scheme:?} is malformed"));
    }
    let texts = [host, userinfo, query, fragment, &Some(path.clone())];
    let length: usize = texts.iter().map(|text| text.as_ref().map_or(0, String::len)).sum();
    if length > MAX_URL {
        return invalid(format!("URL is longer than {MAX_URL} bytes"));
    }
    for text in texts.into_iter().flatten() {
        if let Some(bad) = text.bytes().find(u8::is_ascii_control) {
            return invalid(format!("URL contains the control character {:?}", char::from(bad)));
        }
    }
    let mut url = match host.as_deref().filter(|host| !host.is_empty()) {
        Some(host) => {
            let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            if inner.contains(['/', '?', '#', '@', '\\', '[', ']', '%', ' ']) {
                return invalid(format!("host {host:?} is malformed"));
            }
            let address = if inner.contains(':') { format!("[{inner}]") } else { inner.to_owned() };
            read(&format!("{scheme}://{address}"), None)?
        }
        None if scheme.eq_ignore_ascii_case("file") => read("file:///", None)?,
        None if port.is_some() || userinfo.is_some() || has_host(scheme) => return invalid("host is missing"),
        // An empty host would be read out of the path.
        None if path.starts_with("//") || path.starts_with("/\\") => {
            return invalid("path begins with // and there is no host");
        }
        None => {
            let path = path.replace('?', "%3F").replace('#', "%23");
            read(&format!("{scheme}:{path}"), None)?
        }
    };
    if host.as_ref().is_some_and(|host| !host.is_empty()) || scheme.eq_ignore_ascii_case("file") {
        if path.is_empty() || path.starts_with('/') { url.set_path(path) } else { url.set_path(&format!("/{path}")) }
    }
    let refused = |what: &str| Invalid(format!("a URL of this scheme has no {what}"));
    if let Some(port) = port {
        url.set_port(Some(*port)).map_err(|()| refused("port"))?;
    }
    if let Some(userinfo) = userinfo {
        let (user, password) = userinfo.split_once(':').map_or((&**userinfo, None), |(user, pass)| (user, Some(pass)));
        url.set_username(user).and_then(|()| url.set_password(password)).map_err(|()| refused("userinfo"))?;
    }
    url.set_query(query.as_deref());
    url.set_fragment(fragment.as_deref());
    Ok(url.into())
}

// --- base64 (RFC 4648) ---------------------------------------------------------------------------------------------

/// Section 4, padded; or for URLs, section 5, without padding.
pub fn base64_encode(bytes: &[u8], for_url: bool) -> Result<String> {
    let encoding = if for_url { &BASE64URL_NOPAD } else { &BASE64 };
    let mut out = room(
        allocation::zeroed(encoding.encode_len(bytes.len()).max(1)).ok_or_else(|| allocation::no_memory(bytes.len())),
    )?;
    out.truncate(encoding.encode_len(bytes.len()));
    encoding.encode_mut(bytes, &mut out);
    String::from_utf8(out).map_err(|_| Invalid("not ASCII".into()))
}

/// Strict: no other characters, no missing padding (for URLs it may be there or not), no bits left over.
pub fn base64_decode(text: &[u8], for_url: bool) -> Result<Vec<u8>> {
    let (encoding, text) = match for_url {
        true => {
            let bare = text.len() - text.iter().rev().take_while(|byte| **byte == b'=').count();
            let padding = text.len() - bare;
            if padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
                return invalid(format!("invalid padding at byte {}", bare + 1));
            }
            (&BASE64URL_NOPAD, &text[..bare])
        }
        // The crate takes several texts, each with its padding, for one.
        false => match text.iter().position(|byte| *byte == b'=') {
            Some(at) if at + 2 < text.len() => return invalid(format!("invalid padding at byte {}", at + 1)),
            _ => (&BASE64, text),
        },
    };
    let length = encoding.decode_len(text.len()).map_err(|why| Invalid(broken(&why)))?;
    let mut out = room(allocation::zeroed(length.max(1)).ok_or_else(|| allocation::no_memory(length)))?;
    out.truncate(length);
    let made = encoding.decode_mut(text, &mut out).map_err(|part| Invalid(broken(&part.error)))?;
    out.truncate(made);
    Ok(out)
}

fn broken(why: &data_encoding::DecodeError) -> String {
    let what = match why.kind {
        data_encoding::DecodeKind::Length => "invalid length",
        data_encoding::DecodeKind::Symbol => "invalid character",
        data_encoding::DecodeKind::Trailing => "bits left over",
        data_encoding::DecodeKind::Padding => "invalid padding",
    };
    format!("{what} at byte {}", why.position + 1)
}

#[cfg(test)]
mod tests;
