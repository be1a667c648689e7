//! Base64 (RFC 4648, section 4), in groups of three bytes.

use super::{Out, Rest};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Two digits for each twelve bits.
const PAIRS: [[u8; 2]; 4096] = {
    let mut pairs = [[0; 2]; 4096];
    let mut i = 0;
    while i < pairs.len() {
        pairs[i] = [DIGITS[i >> 6], DIGITS[i & 63]];
        i += 1;
    }
    pairs
};

const SKIPPED: u8 = 255;

/// What a digit is worth. `=` is a digit of worth 0: it fills a group up.
const WORTH: [u8; 256] = {
    let mut worth = [SKIPPED; 256];
    let mut i = 0;
    while i < DIGITS.len() {
        worth[DIGITS[i] as usize] = i as u8;
        i += 1;
    }
    worth[b'=' as usize] = 0;
    worth
};

/// Room for the base64 of `length` bytes.
pub const fn b64_room(length: usize) -> Option<usize> {
    match length.checked_add(5) {
        Some(n) => (n / 3).checked_mul(4),
        None => None,
    }
}

#[inline]
fn group(three: &[u8; 3], out: &mut Out<'_>) {
    let bits = usize::from(three[0]) << 16 | usize::from(three[1]) << 8 | usize::from(three[2]);
    let (high, low) = (PAIRS[bits >> 12], PAIRS[bits & 4095]);
    out.extend(&[high[0], high[1], low[0], low[1]]);
}

/// Encodes the parts as if they were one. What makes no group of three is left over.
pub fn b64(parts: [&[u8]; 2], out: &mut Out<'_>) -> Rest {
    let mut rest = Rest::default();
    for part in parts {
        let missing = if rest.len == 0 { 0 } else { (3 - rest.len).min(part.len()) };
        let (head, body) = part.split_at(missing);
        head.iter().for_each(|&byte| rest.push(byte));
        if rest.len == 3 {
            group(&[rest.bytes[0], rest.bytes[1], rest.bytes[2]], out);
            rest = Rest::default();
        }
        let (groups, tail) = body.as_chunks::<3>();
        groups.iter().for_each(|three| group(three, out));
        tail.iter().for_each(|&byte| rest.push(byte));
    }
    rest
}

/// The last group, filled up with `=`.
pub fn b64_end(rest: &Rest, out: &mut Out<'_>) {
    let [a, b, ..] = rest.bytes;
    match rest.len {
        1 => {
            let pair = PAIRS[usize::from(a) << 4];
            out.extend(&[pair[0], pair[1], b'=', b'=']);
        }
        2 => {
            let bits = usize::from(a) << 16 | usize::from(b) << 8;
            let (high, low) = (PAIRS[bits >> 12], PAIRS[bits & 4095]);
            out.extend(&[high[0], high[1], low[0], b'=']);
        }
        _ => {}
    }
}

/// Decodes the parts as if they were one. Bytes that are no digits are skipped; a group that is not full is left over.
pub fn unb64(parts: [&[u8]; 2], out: &mut Out<'_>) -> Rest {
    let mut rest = Rest::default();
    for part in parts {
        let mut left = part;
        while let Some((&byte, after)) = left.split_first() {
            // Whole groups without line ends or padding: the usual case.
            if rest.len == 0 {
                while let Some((four, after)) = left.split_first_chunk::<4>() {
                    let [a, b, c, d] = four.map(|digit| u32::from(WORTH[usize::from(digit)]));
                    if (a | b | c | d) > 63 || four[2] == b'=' || four[3] == b'=' {
                        break;
                    }
                    let bits = a << 18 | b << 12 | c << 6 | d;
                    out.extend(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
                    left = after;
                }
                let Some((&byte, after)) = left.split_first() else { break };
                left = after;
                digit(byte, &mut rest, out);
                continue;
            }
            left = after;
            digit(byte, &mut rest, out);
        }
    }
    rest
}

fn digit(byte: u8, rest: &mut Rest, out: &mut Out<'_>) {
    if WORTH[usize::from(byte)] == SKIPPED {
        return;
    }
    rest.push(byte);
    if rest.len == 4 {
        let [a, b, c, d] = rest.bytes.map(|digit| u32::from(WORTH[usize::from(digit)]));
        let bits = a << 18 | b << 12 | c << 6 | d;
        let three = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        let valid = match rest.bytes {
            [_, _, b'=', _] => 1,
            [_, _, _, b'='] => 2,
            _ => 3,
        };
        out.extend(&three[..valid]);
        *rest = Rest::default();
    }
}
