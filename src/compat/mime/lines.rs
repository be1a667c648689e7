//! Lines of mail: length, line ends, and dot-stuffing.

use super::Out;

/// Room for `length` bytes wrapped by [`wrp`] or [`qpwrp`].
pub fn wrap_room(length: usize) -> Option<usize> {
    length.checked_mul(4)
}

/// Breaks lines longer than `length`; `left` is what the current line still takes. Answers the new `left`.
pub fn wrp(text: &[u8], mut left: i64, length: i64, out: &mut Out<'_>) -> i64 {
    let mut rest = text;
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let mut run = &rest[..end];
        while !run.is_empty() {
            if left <= 0 {
                out.extend(b"\r\n");
                left = length;
            }
            // A length of nothing still takes a byte for each line.
            let taken = usize::try_from(left.max(1)).unwrap_or(usize::MAX).min(run.len());
            out.extend(&run[..taken]);
            left = left.saturating_sub(taken as i64);
            run = &run[taken..];
        }
        if rest.get(end) == Some(&b'\n') {
            out.extend(b"\r\n");
            left = length;
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    left
}

/// The same for quoted-printable text: breaks are soft, and never inside an escape.
pub fn qpwrp(text: &[u8], mut left: i64, length: i64, out: &mut Out<'_>) -> i64 {
    for &byte in text {
        match byte {
            b'\r' => continue,
            b'\n' => {
                out.extend(b"\r\n");
                left = length;
                continue;
            }
            b'=' if left <= 3 => {}
            b'=' => {
                out.push(byte);
                left = left.saturating_sub(1);
                continue;
            }
            _ if left <= 1 => {}
            _ => {
                out.push(byte);
                left = left.saturating_sub(1);
                continue;
            }
        }
        out.extend(b"=\r\n");
        left = length.saturating_sub(1);
        out.push(byte);
    }
    left
}

/// Room for the text of [`eol`]: each CR or LF may become a marker.
pub fn eol_room(text: &[u8], marker: usize) -> Option<usize> {
    memchr::memchr2_iter(b'\r', b'\n', text).count().checked_mul(marker)?.checked_add(text.len())
}

/// Makes every line end (CR, LF, CRLF, LFCR) the marker. `last` is the CR or LF that the text before ended with, or 0;
/// answers the same for the text after.
pub fn eol(text: &[u8], mut last: u8, marker: &[u8], out: &mut Out<'_>) -> u8 {
    let mut at = 0;
    for end in memchr::memchr2_iter(b'\r', b'\n', text) {
        if end > at {
            out.extend(&text[at..end]);
            last = 0;
        }
        at = end + 1;
        // The second half of a pair says nothing new.
        if matches!(last, b'\r' | b'\n') && last != text[end] {
            last = 0;
            continue;
        }
        out.extend(marker);
        // Two of a kind are two lines, and the second of them opens no pair.
        last = if last == text[end] { 0 } else { text[end] };
    }
    if at < text.len() {
        out.extend(&text[at..]);
        last = 0;
    }
    last
}

/// Room for `length` bytes stuffed by [`dot`].
pub fn dot_room(length: usize) -> Option<usize> {
    length.checked_mul(2)
}

/// Doubles a dot that begins a line (RFC 5321, 4.5.2). `state` is 2 after CRLF, 1 after CR, else 0; answers the new one.
pub fn dot(text: &[u8], mut state: u8, out: &mut Out<'_>) -> u8 {
    let mut left = text;
    while let Some((&byte, after)) = left.split_first() {
        if state == 0 && byte != b'\r' {
            // Nothing happens before the next CR.
            let (run, after) = left.split_at(memchr::memchr(b'\r', left).unwrap_or(left.len()));
            out.extend(run);
            left = after;
            continue;
        }
        out.push(byte);
        state = match byte {
            b'\r' => 1,
            b'\n' if state == 1 => 2,
            b'.' if state == 2 => {
                out.push(b'.');
                0
            }
            _ => 0,
        };
        left = after;
    }
    state
}
