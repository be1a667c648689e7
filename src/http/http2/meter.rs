//! The cost of a peer's frames compared with their use, and the time that a head takes.
//!
//! Looks at the heads of frames alone, before `h2` does. `h2` bounds the memory of a frame; an
//! endless sequence of frames that only cause work (PING, SETTINGS, PRIORITY, unknown types, empty DATA) is bounded
//! here. The time is passed in.

use super::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Scanner, Step};
use std::time::Duration;

/// Frames that ask for work alone and are free, at the beginning and with each second.
const FREE: u64 = 1000;
const EACH_SECOND: u64 = 100;
/// Such frames that a stream's HEADERS pay for, and each KiB of bodies either way: windows are opened, streams reset.
const EACH_STREAM: u64 = 20;

/// The account of one connection.
#[derive(Debug)]
pub struct Meter {
    /// Bytes of the preface to come.
    preface: usize,
    scanner: Scanner,
    /// A head is over with the frame at hand.
    closes: bool,
    /// Since when a head is under way.
    block: Option<Duration>,
    began: Duration,
    spent: u64,
    streams: u64,
    /// Bytes of bodies, either way.
    moved: u64,
}

impl Meter {
    /// `preface`: bytes of it that are still to come.
    pub fn new(preface: usize, now: Duration) -> Meter {
        Meter {
            preface,
            scanner: Scanner::default(),
            closes: false,
            block: None,
            began: now,
            spent: 0,
            streams: 0,
            moved: 0,
        }
    }

    /// Looks at what has come; false once it is a flood.
    pub fn feed(&mut self, bytes: &[u8], now: Duration) -> bool {
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        let mut rest = bytes.get(skipped..).unwrap_or_default();
        while let Some(step) = self.scanner.next(&mut rest) {
            match step {
                Step::Head(frame) => self.frame(&frame, now),
                Step::End if self.closes => (self.closes, self.block) = (false, None),
                Step::End => (),
            }
        }
        self.is_fair(now)
    }

    fn frame(&mut self, frame: &Frame, now: Duration) {
        self.closes = false;
        match frame.kind {
            DATA if frame.length > 0 => self.moved += frame.length as u64,
            DATA if frame.flags & END_STREAM != 0 => (),
            HEADERS | CONTINUATION => {
                self.closes = frame.flags & END_HEADERS != 0;
                self.block.get_or_insert(now);
                self.streams += u64::from(frame.kind == HEADERS);
                self.spent += u64::from(frame.kind == CONTINUATION);
            }
            _ => self.spent += 1,
        }
    }

    /// Counts bytes of bodies that go out.
    pub fn sent(&mut self, bytes: usize) {
        self.moved += bytes as u64;
    }

    fn is_fair(&self, now: Duration) -> bool {
        let free = FREE + EACH_SECOND * now.saturating_sub(self.began).as_secs();
        self.spent <= free + EACH_STREAM * self.streams + self.moved / 1024
    }

    /// Since when a head is under way that is not whole.
    pub fn head_since(&self) -> Option<Duration> {
        self.block
    }
}

#[cfg(test)]
mod tests {
    use super::{super::frames::HEAD, *};

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + payload, b'x');
        bytes
    }

    #[test]
    fn frames_that_ask_for_work_alone_are_counted_however_they_are_cut() {
        let ping = frame(6, 0, 8);
        for (what, one, paid) in [
            ("PING", ping.clone(), 0),
            ("SETTINGS", frame(4, 0, 0), 0),
            ("PRIORITY", frame(2, 0, 5), 0),
            ("WINDOW_UPDATE", frame(8, 0, 4), 0),
            ("unknown", frame(77, 0, 100), 0),
            ("empty DATA", frame(DATA, 0, 0), 0),
            ("CONTINUATION", frame(CONTINUATION, 0, 5), 0),
            ("PING beside a stream", [frame(HEADERS, 5, 3), frame(6, 0, 8).repeat(21)].concat(), 20),
            ("PING beside a body", [frame(DATA, 0, 4096), frame(6, 0, 8).repeat(5)].concat(), 4),
        ] {
            for size in [1, 7, 9, 10, 16_384] {
                let mut meter = Meter::new(24, Duration::ZERO);
                assert!(meter.feed(&[b'P'; 24], Duration::ZERO));
                let mut rounds = 0;
                while one.chunks(size).all(|part| meter.feed(part, Duration::ZERO)) {
                    rounds += 1;
                    assert!(rounds < 2000, "{what}");
                }
                assert_eq!(rounds, FREE, "{what} in {size}");
                assert!(meter.spent == FREE + 1 + rounds.saturating_add(1) * paid, "{what}: {meter:?}");
                // Time pays, too.
                assert!(meter.feed(&[], Duration::from_secs(1)));
            }
        }
        let mut meter = Meter::new(0, Duration::ZERO);
        for _ in 0..100_000 {
            assert!(
                meter.feed(&frame(DATA, 0, 1), Duration::ZERO)
                    && meter.feed(&frame(DATA, END_STREAM, 0), Duration::ZERO)
            );
        }
        meter.sent(1024 * 1024);
        assert!((0..2000).all(|_| meter.feed(&ping, Duration::ZERO)));
    }

    #[test]
    fn a_head_is_under_way_until_its_last_byte() {
        let at = Duration::from_secs;
        let block = [frame(HEADERS, 0, 3), frame(CONTINUATION, 0, 0), frame(CONTINUATION, END_HEADERS, 2)].concat();
        let mut meter = Meter::new(0, at(0));
        for (place, byte) in block.iter().enumerate() {
            assert!(meter.feed(&[*byte], at(place as u64)));
            let expected = (place >= 8 && place < block.len() - 1).then_some(at(8));
            assert_eq!(meter.head_since(), expected, "{place}");
        }
        meter.feed(&frame(HEADERS, END_HEADERS, 0), at(99));
        assert_eq!(meter.head_since(), None);
    }
}
