//! Counts of incoming frames by kind: the limits that `h2` leaves open.
//!
//! Reads the bytes before `h2` does, however they are cut: the heads of frames (RFC 9113 section 4.1), and of their
//! payload only the length of padding and the two numbers of GOAWAY. `h2` bounds frames' and header blocks' sizes,
//! CONTINUATION, resets and memory of small DATA; interim heads, PING, SETTINGS, PRIORITY, WINDOW_UPDATE and frames of
//! no known type are bounded here.

use crate::{error::Result, http::broken};
use std::collections::HashMap;

/// Frames in a row that bring no part of an answer and take no part of a request.
const MAX_FRUITLESS: u32 = 10_000;
/// HEADERS of one answer: 16 interim ones, the final one, trailers.
pub(super) const MAX_HEADS: u8 = 18;
/// Length, type, flags and stream.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const PADDED: u8 = 8;

/// The last word of a peer that is going away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goaway {
    /// Requests on streams above this one were not looked at.
    pub last: u32,
    pub code: u32,
}

#[derive(Default)]
pub(super) struct Census {
    /// The frame's head as far as it has come, and the first bytes behind it where they count.
    seen: Vec<u8>,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// Some frame has come whole.
    begun: bool,
    fruitless: u32,
    /// HEADERS by stream, of the requests that are under way.
    heads: HashMap<u32, u8>,
    goaway: Option<Goaway>,
}

impl Census {
    /// Looks at what arrived. Errors are final.
    pub fn look(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.seen.is_empty() && self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = self.wanted();
            let count = (wanted - self.seen.len()).min(bytes.len());
            let (here, rest) = bytes.split_at(count);
            self.seen.extend_from_slice(here);
            bytes = rest;
            if self.seen.len() == self.wanted() {
                self.count()?;
            }
        }
        Ok(())
    }

    /// How much of the frame at hand has to be seen.
    fn wanted(&self) -> usize {
        let Some(&[a, b, c, kind, flags, ..]) = self.seen.get(..HEAD) else { return HEAD };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let more = match kind {
            DATA if flags & PADDED != 0 => 1,
            GOAWAY => 8,
            _ => 0,
        };
        HEAD + length.min(more)
    }

    fn count(&mut self) -> Result<()> {
        let Some(&[a, b, c, kind, _, d, e, f, g]) = self.seen.first_chunk::<HEAD>() else { return Ok(()) };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
        let shown = self.seen.get(HEAD..).unwrap_or_default();
        self.left = length - shown.len().min(length);
        if !self.begun && (kind, stream) != (SETTINGS, 0) {
            return Err(broken("the server does not speak HTTP/2: its first bytes are no SETTINGS frame"));
        }
        self.begun = true;
        let padding = match (kind, shown) {
            (DATA, [padding, ..]) => usize::from(*padding) + 1,
            _ => 0,
        };
        if let (GOAWAY, Some([a, b, c, d]), Some([e, f, g, h])) = (kind, shown.get(..4), shown.get(4..8)) {
            let last = u32::from_be_bytes([*a, *b, *c, *d]) & 0x7fff_ffff;
            let code = u32::from_be_bytes([*e, *f, *g, *h]);
            // A later one can only take back more (RFC 9113 section 6.8).
            let last = self.goaway.map_or(last, |before| before.last.min(last));
            self.goaway = Some(Goaway { last, code });
        }
        self.seen.clear();
        match (kind, self.heads.get_mut(&stream)) {
            (DATA, Some(_)) if length > padding => self.fruitless = 0,
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

    pub fn goaway(&self) -> Option<Goaway> {
        self.goaway
    }

    /// True once a frame has come.
    pub fn begun(&self) -> bool {
        self.begun
    }
}
