//! Messages compressed and restored (RFC 7692 section 7.2), without I/O: each is a stretch of one raw DEFLATE stream, cut at
//! a flush whose last four bytes are left out.
//!
//! The cap on the output is checked while it is produced. The memory for a peer's messages is the window of a stream
//! (32 KiB, and its tables), whatever it sends; it is allocated for the first compressed message, and freed after each
//! if there is no context takeover. zlib-rs keeps a full window for reading, so a distance is checked equally however
//! the bytes are cut.

use super::{super::broken, extension::Way, frames::too_large};
use crate::{allocation, error::Result};
use flate2::{Decompress, FlushDecompress, Status};

/// What a flush ends with, and a message leaves out (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The least and the most that is made room for at once.
const STEPS: std::ops::RangeInclusive<usize> = 1024..=64 * 1024;

/// Last blocks that messages may have together, besides one each, and one for so many of their bytes: after each the stream
/// begins anew, which costs what much content costs. Compressors have one in a message, or none.
const LAST_BLOCKS: u64 = 256;
const BYTES_EACH: u64 = 32;

/// The peer's messages, restored.
pub(super) struct Inflater {
    takeover: bool,
    stream: Option<Decompress>,
    /// Nothing has come since the stream ended, or since there was none.
    fresh: bool,
    /// Last blocks that neither a message nor its content has paid for.
    last: u64,
}

impl Inflater {
    pub fn new(way: Way) -> Inflater {
        Inflater { takeover: way.takeover, stream: None, fresh: true, last: 0 }
    }

    /// Restores `input` to the end of `message`, which has at most `most` bytes then. What came before a failure is there.
    pub fn inflate(&mut self, mut input: &[u8], message: &mut Vec<u8>, most: u64) -> Result<()> {
        // One byte more than fits shows that there are more.
        let cap = usize::try_from(most.saturating_add(1)).unwrap_or(usize::MAX);
        let step = input.len().saturating_mul(4).clamp(*STEPS.start(), *STEPS.end());
        let mut full = true;
        while full || !input.is_empty() {
            let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
            let start = message.len();
            allocation::lengthen(message, start.saturating_add(step).min(cap))?;
            let (before_in, before_out) = (stream.total_in(), stream.total_out());
            let into = message.get_mut(start..).unwrap_or_default();
            let room = into.len();
            let status = stream.decompress(input, into, FlushDecompress::None);
            // One call moves the counters by no more than the slices are long.
            let used = usize::try_from(stream.total_in() - before_in).unwrap_or(input.len());
            let given = usize::try_from(stream.total_out() - before_out).unwrap_or(room);
            message.truncate(start + given);
            self.fresh &= used == 0;
            input = input.get(used..).unwrap_or_default();
            let status = status.map_err(|why| broken(format!("a compressed message: corrupt data ({why})")))?;
            if message.len() as u64 > most {
                return Err(too_large("a message (max_message_bytes)".into(), most));
            }
            full = given == room;
            if status == Status::StreamEnd {
                // A block that says it is the last one, and others may follow (section 7.2.3.4): they begin anew, as after
                // the flush of a compressor that has done so.
                stream.reset(false);
                (self.fresh, full) = (true, false);
                self.last += 1;
                if self.last > LAST_BLOCKS + message.len() as u64 / BYTES_EACH {
                    return Err(broken("a compressed message: too many last blocks for what is in them"));
                }
            } else if used == 0 && given == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The message is over: what its flush left out is read, too.
    pub fn finish(&mut self, message: &mut Vec<u8>, most: u64) -> Result<()> {
        if !self.fresh {
            self.inflate(&TAIL, message, most)?;
        }
        self.last = self.last.saturating_sub(1 + message.len() as u64 / BYTES_EACH);
        if !self.takeover {
            (self.stream, self.fresh) = (None, true);
        }
        Ok(())
    }
}

/// Our messages, compressed. A `small` build has no compressor: what it sends goes as it is, which the RFC leaves to the
/// sender (section 6).
pub struct Deflater {
    #[cfg(feature = "full")]
    way: Way,
    #[cfg(feature = "full")]
    threshold: usize,
    /// About 370 KiB with the largest window; between messages only where their context is taken over.
    #[cfg(feature = "full")]
    stream: Option<flate2::Compress>,
}

#[cfg(feature = "full")]
impl Deflater {
    pub fn new(way: Way, threshold: usize) -> Deflater {
        Deflater { way, threshold, stream: None }
    }

    /// The message as it is to be sent; nothing where it goes as it is: it is short, or would not become shorter.
    pub fn deflate(&mut self, payload: &[u8]) -> Result<Option<Vec<u8>>> {
        use flate2::{Compress, Compression, FlushCompress};
        // zlib has no raw stream with a window of 8 bits; whoever asks for that gets messages as they are.
        if payload.len() < self.threshold.max(TAIL.len() + 2) || self.way.window_bits < 9 {
            return Ok(None);
        }
        let bits = self.way.window_bits.min(super::extension::MOST_BITS);
        let make = || Compress::new_with_window_bits(Compression::default(), false, bits);
        let stream = self.stream.get_or_insert_with(make);
        let (mut used, mut given, mut out) = (0, 0, Vec::new());
        let shorter = loop {
            let room = (out.len() + payload.len() / 4).clamp(*STEPS.start(), payload.len().max(*STEPS.start()));
            allocation::lengthen(&mut out, room.min(payload.len()))?;
            let (before_in, before_out) = (stream.total_in(), stream.total_out());
            let into = out.get_mut(given..).unwrap_or_default();
            let rest = payload.get(used..).unwrap_or_default();
            if stream.compress(rest, into, FlushCompress::Sync).is_err() {
                break false;
            }
            used += usize::try_from(stream.total_in() - before_in).unwrap_or(rest.len());
            given += usize::try_from(stream.total_out() - before_out).unwrap_or(0);
            if given < out.len() {
                // With room left, all of it is out.
                break used == payload.len();
            }
            if out.len() >= payload.len() {
                break false;
            }
        };
        out.truncate(given);
        let shorter = shorter && out.ends_with(&TAIL);
        if !shorter {
            // The peer does not see what the compressor has seen: from now on it knows nothing of it, either. A stream that
            // begins anew refers to nothing before, so the peer's goes on.
            self.forget();
            return Ok(None);
        }
        out.truncate(given - TAIL.len());
        if !self.way.takeover {
            self.stream = None;
        }
        Ok(Some(out))
    }

    /// The last message was not sent.
    pub fn forget(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.reset();
        }
    }
}

#[cfg(not(feature = "full"))]
impl Deflater {
    pub fn new(_: Way, _: usize) -> Deflater {
        Deflater {}
    }

    pub fn deflate(&mut self, _: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    pub fn forget(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(window_bits: u8, takeover: bool) -> Way {
        Way { window_bits, takeover }
    }

    /// Text that a compressor finds something in, and that is never the same.
    fn text(length: usize, seed: usize) -> Vec<u8> {
        (0..)
            .flat_map(|n: usize| format!("{{\"id\":{},\"name\":\"n{}\"}},", n * 7 + seed, n % 13).into_bytes())
            .take(length)
            .collect()
    }

    /// Bytes that it finds nothing in.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect()
    }

    #[test]
    #[cfg(feature = "full")]
    fn what_is_compressed_is_restored() {
        for (bits, takeover) in [(15, true), (15, false), (9, true), (9, false), (12, true), (8, true)] {
            let (mut out, mut back) = (Deflater::new(way(bits, takeover), 16), Inflater::new(way(bits, takeover)));
            for (at, payload) in [
                text(15, 0),
                text(200, 1),
                text(200, 1),
                noise(100),
                text(70_000, 2),
                noise(70_000),
                text(70_000, 2),
                vec![0; 1 << 20],
                text(3000, 3),
            ]
            .iter()
            .enumerate()
            {
                let Some(sent) = out.deflate(payload).unwrap() else {
                    assert!(bits == 8 || payload.len() < 16 || [3, 5].contains(&at), "{bits} {at}");
                    continue;
                };
                assert!(sent.len() < payload.len() && bits > 8);
                for piece in [1, 7, usize::MAX] {
                    // Another reader for each way to cut it, but the last, which has read all before.
                    let mut message = Vec::new();
                    let mut anew = Inflater::new(way(bits, takeover));
                    let reader = if piece == usize::MAX { &mut back } else { &mut anew };
                    if takeover && piece != usize::MAX && at > 1 {
                        continue;
                    }
                    for part in sent.chunks(piece.min(sent.len())) {
                        reader.inflate(part, &mut message, 1 << 20).unwrap();
                    }
                    reader.finish(&mut message, 1 << 20).unwrap();
                    assert!(message == *payload, "{bits} {takeover} {at}");
                    assert_eq!(reader.stream.is_some(), takeover);
                }
            }
        }
    }

    /// Blocks with fixed codes of one letter each, then what a flush leaves: with the bit that says "the last one", and without (RFC 7692 section
    /// 7.2.3.5, which appends an empty block of no compression to the first).
    #[test]
    fn blocks_may_be_the_last_ones_anywhere() {
        // `a` in a block of fixed codes, ended at a byte; of a last block nothing is left out.
        let last: &[u8] = &[0x4b, 0x04, 0x00];
        // The same, not the last: an empty stored block follows, whose last four bytes the end of a message leaves out.
        let more: &[u8] = &[0x4a, 0x04, 0x00, 0x00, 0x00, 0xff, 0xff];
        let end: &[u8] = &[0x4a, 0x04, 0x00];
        for (name, fragments, expected) in [
            ("the only one", &[&[last, &[0]].concat()[..]][..], "a"),
            ("without the byte that is appended", &[last], "a"),
            ("in the middle", &[more, last, end], "aaa"),
            ("in each fragment", &[last, last, last, &[0]], "aaa"),
            ("in one fragment, twice", &[&[last, last].concat(), &[0]], "aa"),
            ("first, and more blocks", &[&[last, more, end].concat()], "aaa"),
            ("nothing behind the last one", &[more, last], "aa"),
        ] {
            for takeover in [true, false] {
                let mut reader = Inflater::new(way(15, takeover));
                // A message of its kind, and an ordinary one behind it.
                for (fragments, expected) in [(fragments, expected), (&[end][..], "a"), (fragments, expected)] {
                    for size in [1, 2, usize::MAX] {
                        let mut message = Vec::new();
                        for part in fragments.iter().flat_map(|fragment| fragment.chunks(size)) {
                            reader.inflate(part, &mut message, 100).unwrap();
                        }
                        reader.finish(&mut message, 100).unwrap();
                        assert_eq!(message, expected.as_bytes(), "{name}, {takeover}, {size}");
                    }
                }
            }
        }
    }

    #[test]
    #[cfg(feature = "full")]
    fn a_message_that_was_not_sent_leaves_the_peer_in_step() {
        let (mut out, mut back) = (Deflater::new(way(15, true), 16), Inflater::new(way(15, true)));
        for at in 0..20 {
            let payload = text(500, at);
            let sent = out.deflate(&payload).unwrap().unwrap();
            if at % 3 == 1 {
                out.forget();
                continue;
            }
            let mut message = Vec::new();
            back.inflate(&sent, &mut message, 500).unwrap();
            back.finish(&mut message, 500).unwrap();
            assert!(message == payload, "{at}");
        }
    }
}
