//! zstd (RFC 8878), with windows of at most 8 MiB (RFC 9659).
//!
//! The library decodes whole blocks, so the framing is read here: at most one incomplete block is kept, and the memory
//! of a frame is known before it is allocated.

use super::Progress;
use crate::{
    error::{Error, Kind, Result},
    http::broken,
};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::Read;

const MAX_WINDOW: u64 = 8 << 20;
/// What a block may hold, coded or not (section 3.1.1.2.4).
const MAX_BLOCK: usize = 128 * 1024;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first byte of a skippable frame is anything from 0x50 to 0x5f.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

pub(crate) struct Zstd {
    decoder: Box<FrameDecoder>,
    at: At,
    /// The header or block that is being gathered.
    part: Vec<u8>,
    /// A frame has ended: what does not begin like another is ignored.
    seen: bool,
    /// Bytes that the frame has given, and those that its header promised.
    given: u64,
    promised: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a frame's header.
    Header,
    /// In a block; true if the frame ends with a checksum.
    Block(bool),
    /// The last block is decoded.
    End,
    /// In a skippable frame, with so many bytes left.
    Skip(u32),
    Over,
}

impl Zstd {
    pub fn new() -> Zstd {
        Zstd {
            decoder: Box::new(FrameDecoder::new()),
            at: At::Header,
            part: Vec::new(),
            seen: false,
            given: 0,
            promised: None,
        }
    }

    pub fn is_whole(&self) -> bool {
        self.at == At::Over || (self.at == At::Header && self.part.is_empty())
    }

    pub fn step(&mut self, input: &[u8], into: &mut [u8]) -> Result<Progress> {
        let mut used = 0;
        loop {
            if self.decoder.can_collect() > 0 {
                let given = self.decoder.read(into).map_err(|why| corrupt(&why))?;
                self.given += given as u64;
                return Ok(Progress { used, given });
            }
            let rest = input.get(used..).unwrap_or_default();
            match self.at {
                At::Over => return Ok(Progress { used: input.len(), given: 0 }),
                At::End => self.end()?,
                At::Skip(0) => (self.at, self.seen) = (At::Header, true),
                At::Skip(_) if rest.is_empty() => return Ok(Progress { used, given: 0 }),
                At::Skip(left) => {
                    let here = u32::try_from(rest.len()).unwrap_or(u32::MAX).min(left);
                    self.at = At::Skip(left - here);
                    used += here as usize;
                }
                At::Header | At::Block(_) => {
                    let missing = self.wanted()?.saturating_sub(self.part.len());
                    let piece = rest.get(..missing.min(rest.len())).unwrap_or_default();
                    self.part.extend_from_slice(piece);
                    used += piece.len();
                    if missing == 0 {
                        self.whole()?;
                    } else if piece.is_empty() {
                        return Ok(Progress { used, given: 0 });
                    }
                }
            }
        }
    }

    /// How long the part is going to be, as far as its beginning says.
    fn wanted(&mut self) -> Result<usize> {
        let part = self.part.as_slice();
        let At::Block(checksum) = self.at else {
            let like = |magic: &[u8]| part.iter().zip(magic).all(|(a, b)| a == b);
            let skippable = part.iter().skip(1).zip(SKIPPABLE).all(|(a, b)| *a == b);
            return match part {
                [0x50..=0x5f, ..] if skippable => Ok(8),
                _ if !like(&MAGIC) && self.seen => {
                    (self.at, self.part) = (At::Over, Vec::new());
                    Ok(0)
                }
                _ if !like(&MAGIC) => Err(broken("zstd: the body does not begin like zstd")),
                [_, _, _, _, descriptor, ..] => Ok(5 + Descriptor(*descriptor).length()),
                // One more than there is: each byte is looked at as it comes.
                _ => Ok(part.len() + 1),
            };
        };
        let &[a, b, c, ..] = part else { return Ok(3) };
        let header = u32::from_le_bytes([a, b, c, 0]);
        let (last, kind, size) = (header & 1 == 1, header >> 1 & 3, (header >> 3) as usize);
        if size > MAX_BLOCK || kind == 3 {
            return Err(broken("zstd: a block of an impossible kind or size"));
        }
        let coded = if kind == 1 { 1 } else { size };
        Ok(3 + coded + if last && checksum { 4 } else { 0 })
    }

    /// The part has come to its end.
    fn whole(&mut self) -> Result<()> {
        match (self.at, self.part.as_slice()) {
            (At::Header, [0x50..=0x5f, _, _, _, a, b, c, d]) => {
                self.at = At::Skip(u32::from_le_bytes([*a, *b, *c, *d]))
            }
            (At::Header, [_, _, _, _, descriptor, rest @ ..]) => {
                let descriptor = Descriptor(*descriptor);
                let (window, promised) = descriptor.read(rest)?;
                if window > MAX_WINDOW {
                    return Err(Error::new(Kind::TooLarge, "zstd: the window is larger than 8 MiB"));
                }
                (self.given, self.promised) = (0, promised);
                self.decoder.reset(self.part.as_slice()).map_err(|why| corrupt(&why))?;
                self.at = At::Block(descriptor.checksum());
            }
            (At::Block(_), part) => {
                let last = self.decoder.decode_blocks(part, BlockDecodingStrategy::UptoBlocks(1));
                if last.map_err(|why| corrupt(&why))? {
                    self.at = At::End;
                }
            }
            _ => (),
        }
        self.part.clear();
        Ok(())
    }

    /// The frame's data is all taken out: it must be what was promised.
    fn end(&mut self) -> Result<()> {
        let said = self.decoder.get_checksum_from_data();
        if said.is_some() && said != self.decoder.get_calculated_checksum() {
            return Err(broken("zstd: the checksum is wrong"));
        }
        if self.promised.is_some_and(|promised| promised != self.given) {
            return Err(broken("zstd: the frame has another length than it says"));
        }
        (self.at, self.seen) = (At::Header, true);
        Ok(())
    }
}

/// The byte that says what is in a frame's header (section 3.1.1.1.1).
#[derive(Clone, Copy)]
struct Descriptor(u8);

impl Descriptor {
    fn single_segment(self) -> bool {
        self.0 & 0x20 != 0
    }

    fn checksum(self) -> bool {
        self.0 & 4 != 0
    }

    fn window_bytes(self) -> usize {
        usize::from(!self.single_segment())
    }

    fn dictionary_bytes(self) -> usize {
        [0, 1, 2, 4][usize::from(self.0 & 3)]
    }

    fn size_bytes(self) -> usize {
        match self.0 >> 6 {
            0 => usize::from(self.single_segment()),
            flag => 1 << flag,
        }
    }

    /// Bytes after the descriptor.
    fn length(self) -> usize {
        self.window_bytes() + self.dictionary_bytes() + self.size_bytes()
    }

    /// The window and the size of the content, from the bytes after the descriptor.
    fn read(self, rest: &[u8]) -> Result<(u64, Option<u64>)> {
        if self.0 & 8 != 0 {
            return Err(broken("zstd: a reserved bit is set"));
        }
        let (window, rest) = rest.split_at_checked(self.window_bytes()).unwrap_or_default();
        let (dictionary, size) = rest.split_at_checked(self.dictionary_bytes()).unwrap_or_default();
        if dictionary.iter().any(|b| *b != 0) {
            return Err(broken("zstd: the body wants a dictionary"));
        }
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(size).for_each(|(to, from)| *to = *from);
        let size = match size.len() {
            0 => None,
            2 => Some(u64::from_le_bytes(bytes) + 256),
            _ => Some(u64::from_le_bytes(bytes)),
        };
        let window = match window {
            [byte, ..] => {
                let base = 1u64 << (10 + (byte >> 3));
                base + base / 8 * u64::from(byte & 7)
            }
            [] => size.unwrap_or(0),
        };
        Ok((window, size))
    }
}

fn corrupt(_why: &dyn std::error::Error) -> Error {
    broken("zstd: corrupt data")
}
