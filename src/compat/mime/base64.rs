//! Base64 (RFC 4648, section 4), piece by piece. The coding is data-encoding's, which is strict; here is what LuaSocket's contract adds: pieces,
//! and bytes that are no digits.

use super::{Out, Rest};
use data_encoding::{BASE64, BASE64_NOPAD};

/// Room for the base64 of `length` bytes.
pub const fn b64_room(length: usize) -> Option<usize> {
    match length.checked_add(5) {
        Some(n) => (n / 3).checked_mul(4),
        None => None,
    }
}

fn encode(bytes: &[u8], out: &mut Out<'_>) {
    // The crate takes 220 instructions for nothing, and one of two parts is mostly empty.
    if bytes.is_empty() {
        return;
    }
    let length = BASE64.encode_len(bytes.len());
    if let Some(room) = out.room(length) {
        BASE64.encode_mut(bytes, room);
        out.wrote(length);
    }
}

/// Encodes the parts as if they were one. What makes no group of three is left over.
pub fn b64(parts: [&[u8]; 2], out: &mut Out<'_>) -> Rest {
    let mut rest = Rest::default();
    for part in parts {
        let missing = if rest.len == 0 { 0 } else { (3 - rest.len).min(part.len()) };
        let (head, body) = part.split_at(missing);
        head.iter().for_each(|&byte| rest.push(byte));
        if rest.len == 3 {
            encode(rest.as_slice(), out);
            rest = Rest::default();
        }
        let (groups, tail) = body.split_at(body.len() - body.len() % 3);
        encode(groups, out);
        tail.iter().for_each(|&byte| rest.push(byte));
    }
    rest
}

/// The last group, filled up with `=`.
pub fn b64_end(rest: &Rest, out: &mut Out<'_>) {
    encode(rest.as_slice(), out);
}

/// Decodes the parts as if they were one. Bytes that are no digits are skipped; a group that is not full is left over.
pub fn unb64(parts: [&[u8]; 2], out: &mut Out<'_>) -> Rest {
    let mut rest = Rest::default();
    for part in parts {
        let mut left = part;
        loop {
            if rest.len == 0 && left.len() >= 4 {
                // Whole groups up to a line end or padding.
                let groups = &left[..left.len() / 4 * 4];
                let Some(room) = out.room(groups.len() / 4 * 3) else { break };
                let (read, wrote) = match BASE64_NOPAD.decode_mut(groups, room) {
                    Ok(wrote) => (groups.len(), wrote),
                    Err(partial) => (partial.read, partial.written),
                };
                out.wrote(wrote);
                left = &left[read..];
            }
            let Some((&byte, after)) = left.split_first() else { break };
            left = after;
            digit(byte, &mut rest, out);
        }
    }
    rest
}

fn digit(byte: u8, rest: &mut Rest, out: &mut Out<'_>) {
    if BASE64.interpret_byte(byte).is_invalid() {
        return;
    }
    rest.push(byte);
    if rest.len == 4 {
        let whole = match rest.bytes {
            [_, _, b'=', _] => 1,
            [_, _, _, b'='] => 2,
            _ => 3,
        };
        // `=` is a digit of worth 0, wherever it stands.
        let group = rest.bytes.map(|digit| if digit == b'=' { b'A' } else { digit });
        let mut three = [0; 3];
        let _ = BASE64_NOPAD.decode_mut(&group, &mut three);
        out.extend(&three[..whole]);
        *rest = Rest::default();
    }
}
