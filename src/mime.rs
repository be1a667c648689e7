//! The transfer encodings of MIME (RFC 2045, RFC 4648) and the line work of mail, piece by piece: bytes in, bytes out,
//! and what must wait for the next piece.
//!
//! Pure: no I/O, no allocation, no clock. Each function writes into an [`Out`] as large as its `room` function says.

/// Where the output goes: a slice that was made large enough. What does not fit is dropped, never a panic.
pub struct Out<'a> {
    to: &'a mut [u8],
    at: usize,
}

impl<'a> Out<'a> {
    pub fn new(to: &'a mut [u8]) -> Self {
        Self { to, at: 0 }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.at
    }

    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        debug_assert!(self.at < self.to.len(), "the room was counted wrong");
        if let Some(place) = self.to.get_mut(self.at) {
            *place = byte;
            self.at += 1;
        }
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        debug_assert!(self.to.len() - self.at >= bytes.len(), "the room was counted wrong");
        if let Some(place) = self.to.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }
}

/// Input that is not complete yet: at most three bytes.
#[derive(Clone, Copy, Default)]
pub struct Rest {
    bytes: [u8; 4],
    len: usize,
}

impl Rest {
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Drops the first byte.
    #[inline]
    fn shift(&mut self) {
        self.bytes = [self.bytes[1], self.bytes[2], self.bytes[3], 0];
        self.len = self.len.saturating_sub(1);
    }
}

// --- base64 ----------------------------------------------------------------------------------------------------------

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

// --- quoted-printable ------------------------------------------------------------------------------------------------

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

// --- lines -----------------------------------------------------------------------------------------------------------

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a codec over a text that is cut at every place, and answers the outputs that differ from the whole.
    fn cut(room: usize, text: &[u8], run: impl Fn(&[u8], &[u8], &mut Out<'_>)) -> Vec<Vec<u8>> {
        let at = |cut: usize| {
            let mut buffer = vec![0; room];
            let mut out = Out::new(&mut buffer);
            run(&text[..cut], &text[cut..], &mut out);
            let length = out.len();
            buffer.truncate(length);
            buffer
        };
        let mut found: Vec<_> = (0..=text.len()).map(at).collect();
        found.dedup();
        found
    }

    #[test]
    fn base64_is_that_of_data_encoding() {
        let text: Vec<u8> = (0..=255).cycle().take(700).collect();
        for length in (0..40).chain([256, 699, 700]) {
            let text = &text[..length];
            let expected = data_encoding::BASE64.encode(text).into_bytes();
            let coded = cut(b64_room(length).unwrap(), text, |a, b, out| {
                let rest = b64([a, b], out);
                b64_end(&rest, out);
            });
            assert_eq!(coded, std::slice::from_ref(&expected));
            let plain = cut(expected.len(), &expected, |a, b, out| {
                unb64([a, b], out);
            });
            assert_eq!(plain, [text]);
        }
    }

    #[test]
    fn base64_skips_what_is_no_digit() {
        let rows: [(&[u8], &[u8], &[u8]); 6] = [
            (b"Y W\r\nJj", b"abc", b""),
            (b"YWJjZA==YWJj", b"abcdabc", b""),
            (b"YWJ", b"", b"YWJ"),
            (b"Y===", b"`", b""),
            (b"\xff*YQ==", b"a", b""),
            (b"====", b"\0", b""),
        ];
        for (text, plain, over) in rows {
            let mut buffer = [0; 64];
            let mut out = Out::new(&mut buffer);
            let rest = unb64([text, b""], &mut out);
            assert_eq!((&buffer[..plain.len()], rest.as_slice()), (plain, over), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn quoted_printable_however_it_is_cut() {
        let rows: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"abc", b"abc"),
            (b"a=b\xe9", b"a=3Db=E9"),
            (b"a \r\nb", b"a=20\r\nb"),
            (b"a \r", b"a=20=0D=\r\n"),
            (b"tab\t", b"tab=09=\r\n"),
            (b"a\nb\rc", b"a=0Ab=0Dc"),
            (b" a  b", b" a =20b=\r\n"),
        ];
        for (text, coded) in rows {
            let found = cut(qp_room(text.len(), 1, 2).unwrap(), text, |a, b, out| {
                let rest = qp([a, b], b"\r\n", out);
                qp_end(&rest, out);
            });
            assert_eq!(found, [coded], "{}", text.escape_ascii());
        }
        let found = cut(64, b"a=3db=E9=\r\n=zz\x01\x80\r\n\rx=4", |a, b, out| {
            assert_eq!(unqp([a, b], out).as_slice(), b"=4");
        });
        assert_eq!(found, [b"a=b\xe9=zz\r\n"]);
    }

    /// The rooms are never too small, whatever the bytes: `Out` would say so.
    #[test]
    fn the_room_is_enough() {
        for byte in 0..=255 {
            for text in [vec![byte; 99], [byte, b'\r', b'\n', b'.', b'='].repeat(20), [b' ', byte].repeat(50)] {
                for marker in [&b""[..], b"\r\n", b"a longer marker"] {
                    let ends = memchr::memchr_iter(b'\n', &text).count();
                    let mut buffer = vec![0; qp_room(text.len(), ends, marker.len()).unwrap()];
                    let mut out = Out::new(&mut buffer);
                    let rest = qp([&text, b""], marker, &mut out);
                    qp_end(&rest, &mut out);
                    eol(&text, 0, marker, &mut Out::new(&mut vec![0; eol_room(&text, marker.len()).unwrap()]));
                }
                for length in [i64::MIN, -1, 0, 1, 3, 76] {
                    wrp(&text, length, length, &mut Out::new(&mut vec![0; wrap_room(text.len()).unwrap()]));
                    qpwrp(&text, length, length, &mut Out::new(&mut vec![0; wrap_room(text.len()).unwrap()]));
                }
                dot(&text, 2, &mut Out::new(&mut vec![0; dot_room(text.len()).unwrap()]));
                unqp([&text, b""], &mut Out::new(&mut vec![0; text.len()]));
                unb64([&text, b""], &mut Out::new(&mut vec![0; text.len()]));
                b64([&text, b""], &mut Out::new(&mut vec![0; b64_room(text.len()).unwrap()]));
            }
        }
    }
}
