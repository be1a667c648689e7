//! Counts of incoming frames by kind: the limits that `h2` leaves open.
//!
//! Looks at the heads of frames before `h2` does. `h2` bounds frames' and header blocks' sizes, CONTINUATION, resets and
//! memory of small DATA; interim heads, PING, SETTINGS, PRIORITY, WINDOW_UPDATE and frames of no known type are bounded
//! here.

use super::frames::{DATA, END_STREAM, Frame, HEADERS, SETTINGS, Scanner, Step};
use crate::{error::Result, http::broken};
use std::collections::HashMap;

/// Frames in a row that bring no part of an answer and take no part of a request.
const MAX_FRUITLESS: u32 = 10_000;
/// HEADERS of one answer: 16 interim ones, the final one, trailers.
pub(super) const MAX_HEADS: u8 = 18;

/// The last word of a peer that is going away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goaway {
    /// Requests on streams above this one were not looked at.
    pub last: u32,
    pub code: u32,
}

#[derive(Default)]
pub(super) struct Census {
    scanner: Scanner,
    /// Some frame has come whole.
    begun: bool,
    fruitless: u32,
    /// HEADERS by stream, of the requests that are under way.
    heads: HashMap<u32, u8>,
    goaway: Option<Goaway>,
    /// DATA frames whose content is under [`SHORT`] bytes since [`Census::crumbs`] was asked.
    short: u32,
    /// DATA frames without content that end no stream.
    empty: u32,
}

/// A frame of DATA costs `h2` so many bytes, beside those that the window counts (`DEFAULT_DATA_FRAME_OVERHEAD_THRESHOLD`).
const SHORT: usize = 256;
/// What short frames that are unread may cost it: as many as one turn brings find room beside [`MANY`].
pub(super) const SHORT_BUDGET: usize = 4 << 20;
/// After so many of them the bodies are gathered.
const MANY: u32 = 2000;
/// `h2` ends a connection after 100 empty ones in all its life (`MAX_RECV_EMPTY_DATA_FRAMES`). Some servers send one with each
/// answer: after so many no more are asked for, and those under way have the rest.
const MAX_EMPTY: u32 = 50;

impl Census {
    /// Looks at what arrived. Errors are final.
    pub fn look(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(step) = self.scanner.next(&mut bytes) {
            if let Step::Head(frame) = step {
                self.count(&frame)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, frame: &Frame) -> Result<()> {
        if !self.begun && (frame.kind, frame.stream) != (SETTINGS, 0) {
            return Err(broken("the server does not speak HTTP/2: its first bytes are no SETTINGS frame"));
        }
        self.begun = true;
        if let Some((last, code)) = frame.goaway() {
            // A later one can only take back more (RFC 9113 section 6.8).
            let last = self.goaway.map_or(last, |before| before.last.min(last));
            self.goaway = Some(Goaway { last, code });
        }
        let content = frame.length.saturating_sub(frame.padding());
        self.short += u32::from(frame.kind == DATA && content < SHORT);
        self.empty += u32::from(frame.kind == DATA && content == 0 && frame.flags & END_STREAM == 0);
        match (frame.kind, self.heads.get_mut(&frame.stream)) {
            (DATA, Some(_)) if content > 0 => self.fruitless = 0,
            (HEADERS, Some(heads)) => {
                *heads += 1;
                if *heads > MAX_HEADS {
                    return Err(broken("more than 16 interim responses"));
                }
            }
            _ => {
                self.fruitless += 1;
                if self.fruitless > MAX_FRUITLESS {
                    let message = "more than 10,000 HTTP/2 frames in a row that bring no part of an answer";
                    return Err(broken(message));
                }
            }
        }
        Ok(())
    }

    /// A request is under way on that stream.
    pub fn opened(&mut self, stream: u32) {
        self.heads.insert(stream, 0);
    }

    /// It is not any more.
    pub fn closed(&mut self, stream: u32) {
        self.heads.remove(&stream);
    }

    /// Some of a request's body was taken: windows are opened for that.
    pub fn moved(&mut self) {
        self.fruitless = 0;
    }

    /// True, once, after many short frames of DATA.
    pub fn crumbs(&mut self) -> bool {
        let many = self.short > MANY;
        if many {
            self.short = 0;
        }
        many
    }

    /// True once so many empty frames have come that the connection is to take no more requests.
    pub fn is_worn(&self) -> bool {
        self.empty >= MAX_EMPTY
    }

    pub fn goaway(&self) -> Option<Goaway> {
        self.goaway
    }

    /// True once a frame has come.
    pub fn begun(&self) -> bool {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_no_content() {
        // Length, flags, what is shown of the payload; whether it is short, and whether it is empty.
        let rows: [(usize, u8, &[u8], u32, u32); 8] = [
            (0, 0, b"", 1, 1),
            (0, END_STREAM, b"", 1, 0),
            (255, 0, b"", 1, 0),
            (256, 0, b"", 0, 0),
            (256, 8, b"\0", 1, 0),
            (300, 8, b"\xc8", 1, 0),
            (11, 8, b"\x0a", 1, 1),
            (1, 8, b"\xff", 1, 1),
        ];
        for (length, flags, shown, short, empty) in rows {
            let mut census = Census { begun: true, ..Census::default() };
            let [_, _, high, low] = (length as u32).to_be_bytes();
            census.look(&[&[0, high, low, DATA, flags, 0, 0, 0, 1], shown].concat()).unwrap();
            assert_eq!((census.short, census.empty), (short, empty), "{length} {flags}");
        }
    }
}
