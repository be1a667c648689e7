//! Quoted-printable (RFC 2045, section 6.7).

use super::{Out, Rest};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Room for `length` bytes quoted, in which `ends` line ends become a marker of `marker` bytes.
pub fn qp_room(length: usize, ends: usize, marker: usize) -> Option<usize> {
    length.checked_mul(3)?.checked_add(ends.checked_mul(marker)?)?.checked_add(8)
}

fn quote(byte: u8, out: &mut Out<'_>) {
    out.extend(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

#[inline]
fn plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'<' | b'>'..=b'~')
}

/// Quotes the parts as if they were one (RFC 2045, 6.7), without limiting lines. CRLF becomes `marker`. What may be the
/// end of a line is left over.
pub fn qp(parts: [&[u8]; 2], marker: &[u8], out: &mut Out<'_>) -> Rest {
    let mut rest = Rest::default();
    for &byte in parts.into_iter().flatten() {
        if rest.len == 0 && plain(byte) {
            out.push(byte);
            continue;
        }
        rest.push(byte);
        while let Some((&first, after)) = rest.as_slice().split_first() {
            match (first, after) {
                (b'\r', []) | (b' ' | b'\t', [] | [_]) => break,
                (b'\r', [b'\n', ..]) => {
                    out.extend(marker);
                    rest = Rest::default();
                    break;
                }
                // A blank at the end of a line would be lost.
                (b' ' | b'\t', [b'\r', b'\n', ..]) => {
                    quote(first, out);
                    out.extend(marker);
                    rest = Rest::default();
                    break;
                }
                (b' ' | b'\t', _) => out.push(first),
                _ if plain(first) => out.push(first),
                _ => quote(first, out),
            }
            rest.shift();
        }
    }
    rest
}

/// The end of the text: nothing follows that could be a line end, and a soft line break closes it.
pub fn qp_end(rest: &Rest, out: &mut Out<'_>) {
    for &byte in rest.as_slice() {
        if plain(byte) { out.push(byte) } else { quote(byte, out) }
    }
    if !rest.as_slice().is_empty() {
        out.extend(b"=\r\n");
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|worth| worth as u8)
}

/// Decodes the parts as if they were one. What is neither printable nor a CRLF is dropped, an escape without two hex
/// digits stays as it is, an escape that is not complete is left over. Never longer than its input.
pub fn unqp(parts: [&[u8]; 2], out: &mut Out<'_>) -> Rest {
    let mut rest = Rest::default();
    for &byte in parts.into_iter().flatten() {
        rest.push(byte);
        match *rest.as_slice() {
            [b'='] | [b'=', _] | [b'\r'] => continue,
            [b'=', b'\r', b'\n'] => {}
            [b'=', high, low] => match (nibble(high), nibble(low)) {
                (Some(high), Some(low)) => out.push(high << 4 | low),
                _ => out.extend(&[b'=', high, low]),
            },
            [b'\r', b'\n'] => out.extend(b"\r\n"),
            [b'\t' | b' '..=b'~'] => out.push(byte),
            _ => {}
        }
        rest = Rest::default();
    }
    rest
}
