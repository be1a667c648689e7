//! Names of mailboxes: modified UTF-7 (RFC 3501 section 5.1.3).

use data_encoding::{BASE64_NOPAD, Encoding, Specification};
use std::sync::LazyLock;

/// Base64 with a comma for the slash. What is left over of a group is zero, or somebody else's name reads the same.
static BASE64: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,");
    specification.encoding().unwrap_or(BASE64_NOPAD)
});

/// A name as the line has it.
pub fn encode_mailbox(name: &str) -> String {
    let (mut out, mut shifted) = (String::with_capacity(name.len()), Vec::new());
    for c in name.chars() {
        if (' '..='~').contains(&c) {
            end(&mut out, &mut shifted);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| shifted.extend(unit.to_be_bytes()));
        }
    }
    end(&mut out, &mut shifted);
    out
}

fn end(out: &mut String, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        out.push('&');
        BASE64.encode_append(shifted, out);
        out.push('-');
        shifted.clear();
    }
}

/// The name that a line has; `None` where [`encode_mailbox`] would not give the same line again: then it is what it is.
pub fn decode_mailbox(name: &[u8]) -> Option<String> {
    decode(name).filter(|decoded| encode_mailbox(decoded).as_bytes() == name)
}

fn decode(name: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = str::from_utf8(name).ok()?;
    while let Some((plain, shifted)) = rest.split_once('&') {
        let (code, after) = shifted.split_once('-')?;
        out.push_str(plain);
        rest = after;
        if code.is_empty() {
            out.push('&');
            continue;
        }
        let bytes = BASE64.decode(code.as_bytes()).ok()?;
        let units = bytes.chunks(2).map(|pair| <[u8; 2]>::try_from(pair).map(u16::from_be_bytes));
        let units = units.collect::<Result<Vec<_>, _>>().ok()?;
        let text = String::from_utf16(&units).ok()?;
        out.push_str(&text);
    }
    out.push_str(rest);
    Some(out)
}
