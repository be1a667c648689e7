//! A message in DATA (RFC 5321 section 4.5.2): line ends, dots, and base64 in lines.

use data_encoding::BASE64;

/// Bytes of a line of base64: 76 characters (RFC 2045 section 6.8).
const LINE: usize = 57;

/// Writes bytes as lines of base64, each with its CRLF. Pieces of a whole number of lines ([`PIECE`]) can be joined.
pub fn base64_lines(bytes: &[u8], out: &mut Vec<u8>) {
    let mut line = [0; LINE.div_ceil(3) * 4];
    for chunk in bytes.chunks(LINE) {
        if let Some(line) = line.get_mut(..BASE64.encode_len(chunk.len())) {
            BASE64.encode_mut(chunk, line);
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Bytes of a file that are encoded at once.
pub const PIECE: usize = LINE * 1024;

/// How long so many bytes are in lines of base64.
pub fn base64_length(length: u64) -> Option<u64> {
    let lines = length.div_ceil(LINE as u64);
    length.div_ceil(3).checked_mul(4)?.checked_add(lines.checked_mul(2)?)
}

/// Makes the data of a message what may go over the wire, piece by piece: every line ends in CRLF, whatever it ended in
/// (so no other line end can hide a dot from one server and show it to the next), and a dot that begins a line is doubled.
pub struct Stuffer {
    /// A line begins here.
    start: bool,
    /// The byte before was CR: an LF says nothing new.
    after_cr: bool,
}

impl Default for Stuffer {
    fn default() -> Self {
        Stuffer { start: true, after_cr: false }
    }
}

impl Stuffer {
    /// Writes the next piece. The output does not depend on how the data was cut.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            match first {
                b'\n' if self.after_cr => {
                    self.after_cr = false;
                    rest = after;
                }
                b'\r' | b'\n' => {
                    out.extend_from_slice(b"\r\n");
                    self.start = true;
                    self.after_cr = first == b'\r';
                    rest = after;
                }
                _ => {
                    if self.start && first == b'.' {
                        out.push(b'.');
                    }
                    let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    let (run, after) = rest.split_at(end);
                    out.extend_from_slice(run);
                    self.start = false;
                    self.after_cr = false;
                    rest = after;
                }
            }
        }
    }

    /// Writes the end of the data: of its last line, if that has none, and the dot.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        *self = Stuffer::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_the_same_however_it_is_cut() {
        let rows: &[(&[u8], &[u8])] = &[
            (b"", b".\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"),
            (b"\n.\n", b"\r\n..\r\n.\r\n"),
            (b"a\n.\r\nMAIL", b"a\r\n..\r\nMAIL\r\n.\r\n"),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\n\r.\r\r\n", b"a\r\n\r\n..\r\n\r\n.\r\n"),
            (b"...\r\n..", b"....\r\n...\r\n.\r\n"),
            (b"a.b\r\n .c", b"a.b\r\n .c\r\n.\r\n"),
            (b"\0.\xff\n", b"\0.\xff\r\n.\r\n"),
        ];
        for (data, expected) in rows {
            for cut in 0..=data.len() {
                for second in cut..=data.len() {
                    let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
                    for piece in [&data[..cut], &data[cut..second], &data[second..]] {
                        stuffer.push(piece, &mut out);
                    }
                    stuffer.finish(&mut out);
                    assert_eq!(out, *expected, "{data:?} cut at {cut} and {second}");
                }
            }
        }
    }

    #[test]
    fn base64_has_the_length_that_was_said() {
        for length in (0..200).chain([PIECE - 1, PIECE, PIECE + 1]) {
            let bytes = vec![b'x'; length];
            let mut out = Vec::new();
            base64_lines(&bytes, &mut out);
            assert_eq!(base64_length(length as u64), Some(out.len() as u64), "{length}");
            let mut pieces = Vec::new();
            bytes.chunks(PIECE).for_each(|piece| base64_lines(piece, &mut pieces));
            assert_eq!(pieces, out);
            let text: Vec<u8> = out.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
            assert_eq!(BASE64.decode(&text).unwrap(), bytes);
        }
        assert_eq!(base64_length(u64::MAX), None);
    }
}
