//! Counts of incoming frames by kind: the limits that `h2` leaves open.
//!
//! Looks at the heads of frames before `h2` does. `h2` bounds frames' and header blocks' sizes, CONTINUATION, resets and
//! memory of small DATA; interim heads, PING, SETTINGS, PRIORITY, WINDOW_UPDATE and frames of no known type are bounded
//! here.

use super::frames::{DATA, Frame, HEADERS, SETTINGS, Scanner, Step};
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
    /// DATA frames under [`SHORT`] bytes since [`Census::crumbs`] was asked.
    short: u32,
}

/// A frame of DATA costs `h2` so many bytes, beside those that the window counts (`DEFAULT_DATA_FRAME_OVERHEAD_THRESHOLD`).
const SHORT: usize = 256;
/// What short frames that are unread may cost it: as many as one turn brings find room beside [`MANY`].
pub(super) const SHORT_BUDGET: usize = 4 << 20;
/// After so many of them the bodies are gathered.
const MANY: u32 = 2000;

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
        self.short += u32::from(frame.kind == DATA && frame.length < SHORT);
        match (frame.kind, self.heads.get_mut(&frame.stream)) {
            (DATA, Some(_)) if frame.length > frame.padding() => self.fruitless = 0,
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

    pub fn goaway(&self) -> Option<Goaway> {
        self.goaway
    }

    /// True once a frame has come.
    pub fn begun(&self) -> bool {
        self.begun
    }
}
