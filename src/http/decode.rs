//! Content codings (RFC 9110 section 8.4): gzip, deflate, br and zstd, decoded as the bytes arrive.
//!
//! Pure: bytes in, bytes out, into memory of the caller; the state between calls is bounded for any input. Bytes after
//! the end of a coded body are ignored, as in browsers, except a further gzip member or zstd frame, which is decoded.
//! Zero bytes are an empty body in any coding.

mod brotli;
mod inflate;
mod zstd;

use super::{broken, fields::Fields};
use crate::{
    error::{Error, Kind, Result},
    panics::failpoint,
};

/// Codings on one body; more are a bomb or a mistake.
const MAX_CODINGS: usize = 2;
/// Bytes that may come out whatever went in.
const FREE: u64 = 16 << 20;
/// Beyond that, so many for each byte that went in: a little over what deflate can do to zeros.
const MAX_RATIO: u64 = 1100;
/// Coded bytes that are read at once.
const INPUT: usize = 32 * 1024;
/// Bytes between two codings.
const MIDDLE: usize = 16 * 1024;

/// What we can undo, as a request says it.
pub const ACCEPTED: &str = "Accept-Encoding: gzip, deflate, br, zstd\r\n";

/// How far one step came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are done with.
    pub used: usize,
    /// Bytes of the output that are filled.
    pub given: usize,
}

/// Undoes the codings of one body.
pub struct Decoder {
    /// As they are undone; the last one gives the body.
    stages: Vec<Stage>,
    middle: Vec<u8>,
    /// Which part of `middle` is still to be read.
    waiting: std::ops::Range<usize>,
    taken: u64,
    /// Found in the input behind bytes that were given out first.
    failed: Option<Error>,
}

struct Stage {
    coding: Coding,
    given: u64,
}

enum Coding {
    Gzip(inflate::Gzip),
    Deflate(inflate::Deflate),
    Brotli(brotli::Brotli),
    Zstd(zstd::Zstd),
}

impl Decoder {
    /// For the `Content-Encoding` of a head. `None` if the body is to be handed out as it is: it has no coding, or one
    /// that we did not ask for and do not know.
    pub fn new(fields: &Fields) -> Result<Option<Decoder>> {
        let listed = fields.list("Content-Encoding").filter(|name| !name.is_empty());
        let names: Vec<_> = listed.filter(|name| !name.eq_ignore_ascii_case(b"identity")).collect();
        if names.len() > MAX_CODINGS {
            return Err(broken(format!("content codings are chained more than {MAX_CODINGS} times")));
        }
        // A body of 44 bytes can make both keep their windows, of 16 MiB each; no honest server does.
        if names.iter().filter(|name| name.eq_ignore_ascii_case(b"br")).count() > 1 {
            return Err(broken("content codings: br is chained with br"));
        }
        // The last one listed was applied last.
        let stages: Option<Vec<_>> = names.iter().rev().map(|name| Coding::named(name)).collect();
        Ok(stages.filter(|stages| !stages.is_empty()).map(|codings| Decoder {
            middle: if codings.len() > 1 { vec![0; MIDDLE] } else { Vec::new() },
            stages: codings.into_iter().map(|coding| Stage { coding, given: 0 }).collect(),
            waiting: 0..0,
            taken: 0,
            failed: None,
        }))
    }

    /// Decodes from `input` into `into`. Without any progress, more input is needed (or `into` is empty). What was decoded before an
    /// error is given out first; after the error there is nothing more to be had.
    pub fn step(&mut self, input: &[u8], into: &mut [u8]) -> Result<Progress> {
        let mut all = Progress::default();
        failpoint("decode");
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        while all.given < into.len() {
            let rest = input.get(all.used..).unwrap_or_default();
            let took = match self.pass(rest, into.get_mut(all.given..).unwrap_or_default()) {
                Ok(Some(took)) => took,
                Ok(None) => break,
                Err(why) => {
                    self.failed = Some(why.clone());
                    if all.given > 0 {
                        break;
                    }
                    return Err(why);
                }
            };
            all.used += took.used;
            all.given += took.given;
            self.taken = self.taken.saturating_add(took.used as u64);
            let most = self.taken.saturating_mul(MAX_RATIO).saturating_add(FREE);
            if self.stages.iter().any(|stage| stage.given > most) {
                return Err(Error::new(Kind::TooLarge, format!("the body expands more than {MAX_RATIO} times")));
            }
        }
        Ok(all)
    }

    /// The input is over. An error if that is not the end of the coded body, too.
    pub fn finish(&self) -> Result<()> {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        self.stages.iter().try_for_each(|stage| stage.coding.finish())
    }

    /// Moves some bytes through one coding; `None` if none can be moved.
    fn pass(&mut self, input: &[u8], into: &mut [u8]) -> Result<Option<Progress>> {
        let moved = |took: Progress| Some(took).filter(|took| *took != Progress::default());
        let (first, second) = match self.stages.as_mut_slice() {
            [only] => return only.step(input, into).map(moved),
            [first, second] => (first, second),
            _ => return Ok(None),
        };
        let waiting = self.middle.get(self.waiting.clone()).unwrap_or_default();
        if let Some(took) = moved(second.step(waiting, into)?) {
            self.waiting.start += took.used;
            return Ok(Some(Progress { used: 0, given: took.given }));
        }
        // It wants more than is waiting: that goes to the front, and the first coding fills up behind it.
        self.middle.copy_within(self.waiting.clone(), 0);
        self.waiting = 0..self.waiting.len();
        let took = moved(first.step(input, self.middle.get_mut(self.waiting.end..).unwrap_or_default())?);
        self.waiting.end += took.map_or(0, |took| took.given);
        Ok(took.map(|took| Progress { used: took.used, given: 0 }))
    }
}

/// A decoder, and what of its input was read too far.
pub struct Reader {
    decoder: Decoder,
    buffer: Vec<u8>,
    waiting: std::ops::Range<usize>,
}

impl Reader {
    pub fn new(decoder: Decoder) -> Reader {
        Reader { decoder, buffer: Vec::new(), waiting: 0..0 }
    }

    /// Reads decoded bytes: at least one, 0 at the end. `more` reads coded ones, in the same manner.
    pub fn read(&mut self, into: &mut [u8], mut more: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<usize> {
        loop {
            let took = self.decoder.step(self.buffer.get(self.waiting.clone()).unwrap_or_default(), into)?;
            self.waiting.start += took.used;
            if took.given > 0 || into.is_empty() {
                return Ok(took.given);
            }
            if !self.waiting.is_empty() {
                // Without output all input is taken in.
                continue;
            }
            self.buffer.resize(INPUT, 0);
            self.waiting = 0..more(&mut self.buffer)?;
            if self.waiting.is_empty() {
                return self.decoder.finish().map(|()| 0);
            }
        }
    }
}

impl Stage {
    fn step(&mut self, input: &[u8], into: &mut [u8]) -> Result<Progress> {
        let took = match &mut self.coding {
            Coding::Gzip(gzip) => gzip.step(input, into),
            Coding::Deflate(deflate) => deflate.step(input, into),
            Coding::Brotli(brotli) => brotli.step(input, into),
            Coding::Zstd(zstd) => zstd.step(input, into),
        }?;
        self.given = self.given.saturating_add(took.given as u64);
        Ok(took)
    }
}

impl Coding {
    fn named(name: &[u8]) -> Option<Coding> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("gzip") || is("x-gzip") {
            Some(Coding::Gzip(inflate::Gzip::new()))
        } else if is("deflate") {
            Some(Coding::Deflate(inflate::Deflate::new()))
        } else if is("br") {
            Some(Coding::Brotli(brotli::Brotli::new()))
        } else if is("zstd") {
            Some(Coding::Zstd(zstd::Zstd::new()))
        } else {
            None
        }
    }

    fn finish(&self) -> Result<()> {
        let (name, whole) = match self {
            Coding::Gzip(gzip) => ("gzip", gzip.is_whole()),
            Coding::Deflate(deflate) => ("deflate", deflate.is_whole()),
            Coding::Brotli(brotli) => ("br", brotli.is_whole()),
            Coding::Zstd(zstd) => ("zstd", zstd.is_whole()),
        };
        if whole { Ok(()) } else { Err(broken(format!("{name}: the body ends too early"))) }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder({} codings, {} bytes in)", self.stages.len(), self.taken)
    }
}

#[cfg(test)]
mod tests;
