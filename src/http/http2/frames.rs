//! The heads of frames (RFC 9113 section 4.1) among the bytes of a peer, however these are cut. Of payloads it shows what its users count:
//! the length of padding, and the two numbers of GOAWAY.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// Length, type, flags and stream.
pub(super) const HEAD: usize = 9;
/// Bytes of a payload that are shown at most.
const SHOWN: usize = 8;

/// The head of a frame, and the first bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    shown: [u8; SHOWN],
}

/// What comes next among the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Head(Frame),
    /// All of its payload has come.
    End,
}

/// Where the bytes have got to.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The head as far as it has come, and the first bytes behind it where they count.
    seen: [u8; HEAD + SHOWN],
    have: usize,
    /// A head was found, and of its payload so many bytes are to come.
    inside: bool,
    left: usize,
}

impl Scanner {
    /// Takes bytes as far as the next step; `None` once there are no more.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<Step> {
        loop {
            if self.inside {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                *bytes = bytes.get(skipped..).unwrap_or_default();
                if self.left > 0 {
                    return None;
                }
                self.inside = false;
                return Some(Step::End);
            }
            let wanted = self.wanted();
            let place = self.seen.get_mut(self.have..wanted).unwrap_or_default();
            let count = place.len().min(bytes.len());
            let (here, rest) = bytes.split_at(count);
            if let Some(place) = place.get_mut(..count) {
                place.copy_from_slice(here);
            }
            *bytes = rest;
            self.have += count;
            if self.have == self.wanted() {
                return Some(Step::Head(self.found()));
            }
            if bytes.is_empty() {
                return None;
            }
        }
    }

    /// How much of the frame at hand has to be seen.
    fn wanted(&self) -> usize {
        let [a, b, c, kind, flags, ..] = self.seen;
        let more = match kind {
            _ if self.have < HEAD => 0,
            DATA if flags & PADDED != 0 => 1,
            GOAWAY => SHOWN,
            _ => 0,
        };
        HEAD + more.min(u32::from_be_bytes([0, a, b, c]) as usize)
    }

    fn found(&mut self) -> Frame {
        let [a, b, c, kind, flags, d, e, f, g, shown @ ..] = self.seen;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        (self.inside, self.left) = (true, length - length.min(self.have - HEAD));
        (self.seen, self.have) = Default::default();
        Frame { length, kind, flags, stream: u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff, shown }
    }
}

impl Frame {
    /// Bytes of a DATA frame that are no content: the padding, and its length.
    pub fn padding(&self) -> usize {
        let [padding, ..] = self.shown;
        if self.kind == DATA && self.flags & PADDED != 0 { usize::from(padding) + 1 } else { 0 }
    }

    /// The last stream and the code of a GOAWAY.
    pub fn goaway(&self) -> Option<(u32, u32)> {
        let [a, b, c, d, e, f, g, h] = self.shown;
        let last = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
        (self.kind == GOAWAY && self.length >= SHOWN).then(|| (last, u32::from_be_bytes([e, f, g, h])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Step> {
        let (mut scanner, mut steps) = (Scanner::default(), Vec::new());
        for mut piece in pieces {
            while let Some(step) = scanner.next(&mut piece) {
                steps.push(step);
            }
            assert!(piece.is_empty());
        }
        steps
    }

    /// Bytes; length, type, flags and stream; padding; last stream and code.
    type Row = (&'static [u8], (usize, u8, u8, u32), usize, Option<(u32, u32)>);

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let rows: [Row; 9] = [
            (b"\0\0\0\x04\0\0\0\0\0", (0, SETTINGS, 0, 0), 0, None),
            (b"\0\0\x03\0\x01\0\0\0\x01abc", (3, DATA, 1, 1), 0, None),
            (b"\0\0\x05\0\x08\0\0\0\x01\x02ab\0\0", (5, DATA, 8, 1), 3, None),
            (b"\0\0\0\0\x08\0\0\0\x01", (0, DATA, 8, 1), 1, None),
            (b"\0\0\x01\0\x09\0\0\0\x03\xff", (1, DATA, 9, 3), 256, None),
            (b"\0\0\x09\x07\0\0\0\0\0\x80\0\0\x05\0\0\0\x0bx", (9, GOAWAY, 0, 0), 0, Some((5, 11))),
            (b"\0\0\x04\x07\0\0\0\0\0\0\0\0\x05", (4, GOAWAY, 0, 0), 0, None),
            (b"\0\0\x02\x01\x0c\xff\xff\xff\xff\x01\0", (2, HEADERS, 12, 0x7fff_ffff), 0, None),
            (b"\0\0\x01\xff\xff\0\0\0\0x", (1, 255, 255, 0), 0, None),
        ];
        let all: Vec<u8> = rows.iter().flat_map(|row| row.0).copied().collect();
        let whole = steps([&all[..]]);
        let found: Vec<Frame> =
            whole.iter().filter_map(|step| if let Step::Head(frame) = step { Some(*frame) } else { None }).collect();
        assert_eq!((found.len(), whole.len()), (rows.len(), 2 * rows.len()));
        for (frame, (bytes, head, padding, goaway)) in found.iter().zip(rows) {
            let known = (frame.length, frame.kind, frame.flags, frame.stream);
            assert_eq!((known, frame.padding(), frame.goaway()), (head, padding, goaway), "{bytes:?}");
        }
        for cut in 0..=all.len() {
            assert_eq!(steps([&all[..cut], &all[cut..]]), whole, "{cut}");
        }
        for size in 1..20 {
            assert_eq!(steps(all.chunks(size)), whole, "{size}");
        }
    }
}
