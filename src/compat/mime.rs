//! The transfer encodings of MIME (RFC 2045, RFC 4648) and the line work of mail, piece by piece: bytes in, bytes out,
//! and the rest that waits for the next piece.
//!
//! Pure: no I/O, no allocation, no clock. Each function writes into an [`Out`] as large as its `room` function says.

mod base64;
mod lines;
mod quoted;

pub use base64::{b64, b64_end, b64_room, unb64};
pub use lines::{dot, dot_room, eol, eol_room, qpwrp, wrap_room, wrp};
pub use quoted::{qp, qp_end, qp_room, unqp};

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

    /// The next `length` bytes, to write into; [`Out::wrote`] says how many of them were used.
    #[inline]
    fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        let room = self.to.get_mut(self.at..self.at + length);
        debug_assert!(room.is_some(), "the room was counted wrong");
        room
    }

    #[inline]
    fn wrote(&mut self, length: usize) {
        self.at += length;
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
