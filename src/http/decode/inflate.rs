//! gzip (RFC 1952), and deflate as servers send it: in zlib's wrapping (RFC 1950), as it should be, or without.

use super::Progress;
use crate::{error::Result, http::broken};
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// One step of a raw or zlib stream; true at its end.
fn inflate(stream: &mut Decompress, name: &str, input: &[u8], into: &mut [u8]) -> Result<(Progress, bool)> {
    let (before_in, before_out) = (stream.total_in(), stream.total_out());
    let status = stream.decompress(input, into, FlushDecompress::None);
    // Differences of counters that one call moved by no more than the slices are long.
    let used = usize::try_from(stream.total_in() - before_in).unwrap_or(input.len());
    let given = usize::try_from(stream.total_out() - before_out).unwrap_or(into.len());
    match status {
        Ok(status) => Ok((Progress { used, given }, status == Status::StreamEnd)),
        // What was decoded until then comes first; the state keeps the failure for the next step.
        Err(_) if given > 0 => Ok((Progress { used, given }, false)),
        Err(why) => Err(broken(format!("{name}: corrupt data ({why})"))),
    }
}

/// Reads members one after the other.
pub(crate) struct Gzip {
    at: At,
    stream: Decompress,
    crc: Crc,
}

#[derive(Clone, Copy)]
enum At {
    /// In the ten fixed bytes of a header; so many are read, and these are the flags.
    Header(u8, u8),
    /// In the length of the extra field.
    ExtraLength(u8, Option<u8>),
    /// So many bytes to skip.
    Extra(u8, u16),
    /// In a text that ends with NUL.
    Text(u8),
    Data,
    /// In the CRC and the length: so many bytes read, and what they say.
    Trailer(u8, u64),
    /// After a member; true if the first byte of a further one was seen.
    Between(bool),
    Over,
}

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The only compression method there is.
const DEFLATED: u8 = 8;
// The flags of a header.
const HCRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

impl Gzip {
    pub fn new() -> Gzip {
        Gzip { at: At::Header(0, 0), stream: Decompress::new(false), crc: Crc::new() }
    }

    pub fn is_whole(&self) -> bool {
        matches!(self.at, At::Header(0, _) | At::Between(false) | At::Over)
    }

    pub fn step(&mut self, input: &[u8], into: &mut [u8]) -> Result<Progress> {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            self.at = match (self.at, rest.first()) {
                (At::Data, _) => {
                    let (took, ended) = inflate(&mut self.stream, "gzip", rest, into)?;
                    self.crc.update(into.get(..took.given).unwrap_or_default());
                    if ended {
                        self.at = At::Trailer(0, 0);
                    }
                    return Ok(Progress { used: used + took.used, given: took.given });
                }
                (At::Over, _) => return Ok(Progress { used: input.len(), given: 0 }),
                (_, None) => return Ok(Progress { used, given: 0 }),
                (at, Some(byte)) => self.framing(at, *byte)?,
            };
            used += 1;
        }
    }

    /// What one byte of a header or trailer leads to.
    fn framing(&mut self, at: At, byte: u8) -> Result<At> {
        Ok(match at {
            At::Header(0, _) if byte != MAGIC[0] => return Err(unlike()),
            At::Header(1, _) if byte != MAGIC[1] => return Err(unlike()),
            At::Header(2, _) if byte != DEFLATED => return Err(unlike()),
            At::Header(3, _) if byte & RESERVED != 0 => return Err(broken("gzip: unknown flags")),
            At::Header(3, _) => At::Header(4, byte),
            At::Header(9, flags) => At::after(flags),
            At::Header(read, flags) => At::Header(read + 1, flags),
            At::ExtraLength(flags, None) => At::ExtraLength(flags, Some(byte)),
            At::ExtraLength(flags, Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => At::after(flags),
                length => At::Extra(flags, length),
            },
            At::Extra(flags, 1) => At::after(flags),
            At::Extra(flags, left) => At::Extra(flags, left - 1),
            At::Text(flags) if byte == 0 => At::after(flags),
            At::Text(flags) => At::Text(flags),
            At::Trailer(7, read) => {
                let said = read >> 8 | u64::from(byte) << 56;
                if said != u64::from(self.crc.sum()) | u64::from(self.crc.amount()) << 32 {
                    return Err(broken("gzip: the checksum is wrong"));
                }
                At::Between(false)
            }
            At::Trailer(at, read) => At::Trailer(at + 1, read >> 8 | u64::from(byte) << 56),
            At::Between(false) if byte == MAGIC[0] => At::Between(true),
            At::Between(true) if byte == MAGIC[1] => {
                self.stream.reset(false);
                self.crc.reset();
                At::Header(2, 0)
            }
            At::Between(_) | At::Data | At::Over => At::Over,
        })
    }
}

fn unlike() -> crate::error::Error {
    broken("gzip: the body does not begin like gzip")
}

impl At {
    /// The part of a header that comes next; `flags` are those not yet honoured.
    fn after(flags: u8) -> At {
        if flags & EXTRA != 0 {
            At::ExtraLength(flags & !EXTRA, None)
        } else if flags & NAME != 0 {
            At::Text(flags & !NAME)
        } else if flags & COMMENT != 0 {
            At::Text(flags & !COMMENT)
        } else if flags & HCRC != 0 {
            // Two bytes; what they protect is not used.
            At::Extra(0, 2)
        } else {
            At::Data
        }
    }
}

/// Finds out from the first two bytes which of both it is.
pub(crate) struct Deflate {
    /// The beginning, until the stream has taken it.
    front: Vec<u8>,
    stream: Option<Decompress>,
    over: bool,
}

impl Deflate {
    pub fn new() -> Deflate {
        Deflate { front: Vec::new(), stream: None, over: false }
    }

    pub fn is_whole(&self) -> bool {
        self.over || (self.stream.is_none() && self.front.is_empty())
    }

    pub fn step(&mut self, input: &[u8], into: &mut [u8]) -> Result<Progress> {
        if self.over {
            return Ok(Progress { used: input.len(), given: 0 });
        }
        let mut rest = input;
        while self.stream.is_none() {
            let Some((byte, after)) = rest.split_first() else {
                return Ok(Progress { used: input.len(), given: 0 });
            };
            rest = after;
            self.front.push(*byte);
            if let [first, second] = *self.front {
                self.stream = Some(Decompress::new(is_zlib(first, second)));
            }
        }
        let used = input.len() - rest.len();
        let Some(stream) = &mut self.stream else { return Ok(Progress { used, given: 0 }) };
        if !self.front.is_empty() {
            let (took, over) = inflate(stream, "deflate", &self.front, into)?;
            self.front.drain(..took.used);
            self.over = over;
            return Ok(Progress { used, given: took.given });
        }
        let (took, over) = inflate(stream, "deflate", rest, into)?;
        self.over = over;
        Ok(Progress { used: used + took.used, given: took.given })
    }
}

/// RFC 1950 section 2.2. A raw stream that begins so would have to begin with a stored block whose padding is not zero.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}
