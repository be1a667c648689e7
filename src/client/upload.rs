//! The body of a request: from memory, from files, or piece by piece from the caller.
//!
//! Reads files that are open already; opens none, and knows no connection.

use crate::{
    allocation,
    error::{Error, Kind, Result},
    http::request::Payload,
};
use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    sync::Arc,
};

/// One piece on its way to the connection.
const PIECE: usize = 256 * 1024;

/// Where a body comes from.
#[derive(Clone)]
pub enum Source {
    /// One after the other.
    Parts(Vec<Part>),
    /// The caller hands over the pieces; so many bytes in all, if that is known.
    Caller(Option<u64>),
}

/// A stretch of a body.
#[derive(Clone)]
pub enum Part {
    Bytes(Arc<Vec<u8>>),
    /// So many bytes of an open file, from that place on.
    File {
        file: Arc<File>,
        start: u64,
        length: u64,
    },
}

impl Part {
    /// A file from where it stands to its end.
    pub fn rest_of(mut file: File) -> std::io::Result<Part> {
        let start = file.stream_position()?;
        let length = file.metadata()?.len().saturating_sub(start);
        Ok(Part::File { file: Arc::new(file), start, length })
    }

    fn length(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File { length, .. } => *length,
        }
    }
}

impl Source {
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Source {
        Source::Parts(vec![Part::Bytes(Arc::new(bytes.into()))])
    }

    /// What the head says about it.
    pub fn payload(&self, content_type: Option<String>) -> Payload {
        match self {
            Source::Parts(parts) => Payload {
                length: parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.length())),
                content_type,
                replayable: true,
            },
            Source::Caller(length) => Payload { length: *length, content_type, replayable: false },
        }
    }
}

/// A body under way.
pub struct Upload {
    source: Source,
    /// The part that is being sent, and how much of it went.
    part: usize,
    offset: u64,
    /// Bytes handed over, by the caller or by the parts.
    given: u64,
    /// Nothing more will come.
    over: bool,
    buffer: Vec<u8>,
}

impl Upload {
    pub fn new(source: Source) -> Upload {
        Upload { source, part: 0, offset: 0, given: 0, over: false, buffer: Vec::new() }
    }

    /// True if the caller has to hand over the next piece.
    pub fn is_callers(&self) -> bool {
        matches!(self.source, Source::Caller(_)) && !self.over
    }

    /// True once nothing is left to be sent.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Bytes on their way, or gone.
    pub fn handed(&self) -> u64 {
        self.given
    }

    /// True if it can be sent from its beginning (again).
    pub fn is_fresh(&self) -> bool {
        matches!(self.source, Source::Parts(_)) || self.given == 0 && !self.over
    }

    /// Back to the beginning.
    pub fn rewind(&mut self) {
        (self.part, self.offset, self.given, self.over) = (0, 0, 0, false);
    }

    /// The next piece of a body that is not the caller's; empty at the end.
    pub fn piece(&mut self) -> Result<&[u8]> {
        let Source::Parts(parts) = &self.source else { return Ok(&[]) };
        while let Some(part) = parts.get(self.part) {
            let left = part.length() - self.offset;
            if left == 0 {
                (self.part, self.offset) = (self.part + 1, 0);
                continue;
            }
            let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let at = self.offset;
            self.offset += count as u64;
            self.given += count as u64;
            match part {
                Part::Bytes(bytes) => {
                    let at = usize::try_from(at).unwrap_or(usize::MAX);
                    return Ok(bytes.get(at..at + count).unwrap_or_default());
                }
                Part::File { file, start, .. } => {
                    self.buffer.truncate(count);
                    allocation::lengthen(&mut self.buffer, count)?;
                    read_at(file, start + at, &mut self.buffer)?;
                    return Ok(&self.buffer);
                }
            }
        }
        self.over = true;
        Ok(&[])
    }

    /// A piece from the caller; an empty one is the end. Holds the caller to the length that was announced.
    pub fn given(&mut self, piece: &[u8]) -> Result<()> {
        self.given += piece.len() as u64;
        self.over = piece.is_empty();
        if let Source::Caller(Some(length)) = self.source {
            let message = match self.given {
                given if given > length => "longer",
                given if given < length && self.over => "shorter",
                _ => return Ok(()),
            };
            return Err(Error::new(Kind::Socket, format!("the body is {message} than the {length} bytes announced")));
        }
        Ok(())
    }
}

/// Fills `buffer` from that place of the file, whatever was read of it before.
fn read_at(mut file: &File, at: u64, buffer: &mut [u8]) -> Result<()> {
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(buffer));
    read.map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => Error::new(Kind::Socket, "the body's file became shorter while it was sent"),
        _ => Error::from_io("read the body's file", &e),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_one_body_and_can_be_sent_again() {
        let source = Source::Parts(vec![
            Part::Bytes(Arc::new(b"ab".to_vec())),
            Part::Bytes(Arc::new(Vec::new())),
            Part::Bytes(Arc::new(b"c".to_vec())),
        ]);
        assert_eq!(source.payload(None).length, Some(3));
        let mut upload = Upload::new(source);
        for _ in 0..2 {
            let mut all = Vec::new();
            while !upload.is_over() {
                all.extend_from_slice(upload.piece().unwrap());
            }
            assert_eq!(all, b"abc");
            assert!(upload.is_fresh());
            upload.rewind();
        }
    }

    #[test]
    fn a_caller_is_held_to_the_length() {
        for (length, pieces, fine) in [
            (Some(3), &[&b"ab"[..], b"c", b""][..], true),
            (Some(3), &[b"ab", b"cd"], false),
            (Some(3), &[b"ab", b""], false),
            (None, &[b"ab", b"cd", b""], true),
        ] {
            let mut upload = Upload::new(Source::Caller(length));
            let done = pieces.iter().try_for_each(|piece| upload.given(piece));
            assert_eq!(done.is_ok(), fine, "{length:?} {pieces:?}");
        }
    }
}
