//! The body of a request: in memory up to a limit, beyond it in a file that has no name any more.

use crate::{
    allocation,
    files::{Files, Refusal as Refused},
    http::incoming::Refusal,
    panics::failpoint,
};
use std::{
    cell::Cell,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    rc::Rc,
};

/// Files that the bodies of one connection may have before the script gets them.
pub(super) const FILES: usize = 16;
pub(super) const TOO_MANY_FILES: &str = "more than 16 bodies of one connection are too long for memory";

/// Where bodies that are too long for memory go.
#[derive(Clone)]
pub struct Spill {
    pub files: Files,
    /// A directory.
    pub dir: String,
}

/// What bodies may have of memory: each, those of one connection of many streams, and all together that the script has not got
/// yet, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub each: u64,
    pub connection: u64,
    pub all: u64,
}

impl Share {
    /// Of so many bytes for all, and for each body. No connection can fill it alone.
    pub fn new(each: u64, all: u64) -> Share {
        Share { each, connection: each.max(all / 8), all }
    }
}

/// A body that has come, or is coming.
#[derive(Debug, Default)]
pub struct Body {
    /// All of it, unless there is a file.
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
    claim: Claim,
    /// It was too long for memory, and there was nowhere else.
    unstored: bool,
}

/// What the requests of one connection of many streams have together, until the script gets them: bytes in memory, and files.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub bytes: Cell<u64>,
    pub files: Cell<usize>,
}

/// How many of the bytes in memory are one's own: of all, and of a connection's where it has many requests at a time.
#[derive(Debug, Default)]
pub(super) struct Claim {
    all: Rc<Cell<u64>>,
    connection: Option<Rc<Held>>,
    own: u64,
    /// One of the connection's files is its own, too.
    file: bool,
}

impl Claim {
    /// Of nothing yet.
    #[cfg(feature = "http2")]
    pub fn new(all: &Rc<Cell<u64>>, connection: &Rc<Held>) -> Claim {
        let mut claim = Claim::of_all(all);
        claim.connection = Some(Rc::clone(connection));
        claim
    }

    fn of_all(all: &Rc<Cell<u64>>) -> Claim {
        Claim { all: Rc::clone(all), connection: None, own: 0, file: false }
    }

    pub fn add(&mut self, count: u64) {
        self.own += count;
        for sum in [Some(&*self.all), self.connection.as_ref().map(|held| &held.bytes)].into_iter().flatten() {
            sum.set(sum.get().saturating_add(count));
        }
    }

    fn clear(&mut self) {
        let own = std::mem::take(&mut self.own);
        for sum in [Some(&*self.all), self.connection.as_ref().map(|held| &held.bytes)].into_iter().flatten() {
            sum.set(sum.get().saturating_sub(own));
        }
        if std::mem::take(&mut self.file)
            && let Some(held) = &self.connection
        {
            held.files.set(held.files.get().saturating_sub(1));
        }
    }

    /// The bytes are in a file from now on. Errors: the connection has too many.
    fn file(&mut self) -> Result<(), Refusal> {
        if self.connection.as_ref().is_some_and(|held| held.files.get() >= FILES) {
            return Err(Refusal::new(503, TOO_MANY_FILES));
        }
        self.clear();
        if let Some(held) = &self.connection {
            held.files.set(held.files.get() + 1);
            self.file = true;
        }
        Ok(())
    }

    /// True if there is room for so many more.
    fn fits(&self, count: u64, share: Share) -> bool {
        let within = |sum: &Cell<u64>, most| sum.get().saturating_add(count) <= most;
        within(&self.all, share.all)
            && self.connection.as_ref().is_none_or(|held| within(&held.bytes, share.connection))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Body {
    /// `held`: bytes of all bodies in memory.
    pub(super) fn new(held: &Rc<Cell<u64>>) -> Body {
        Body { claim: Claim::of_all(held), ..Body::default() }
    }

    /// One that counts for its connection, too.
    #[cfg(feature = "http2")]
    pub(super) fn of(claim: Claim) -> Body {
        Body { claim, ..Body::default() }
    }

    /// From here on it is the script's, and counts no more.
    pub(super) fn hand_out(&mut self) {
        self.claim.clear();
    }

    /// Takes more of it.
    pub(super) fn push(&mut self, bytes: &[u8], share: Share, spill: Option<&Spill>) -> Result<(), Refusal> {
        let added = bytes.len() as u64;
        let length = self.length + added;
        if self.file.is_none() {
            if length > share.each {
                self.spill(spill)?;
            } else if !self.claim.fits(added, share) {
                if spill.is_none() {
                    return Err(Refusal::new(503, "the bodies together are longer than max_buffered_bytes"));
                }
                self.spill(spill)?;
            }
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(|error| full(&error))?,
            None => {
                let done = allocation::append(&mut self.memory, bytes);
                done.map_err(|_| Refusal::new(503, "no memory for the body"))?;
                self.claim.add(added);
            }
        }
        self.length = length;
        Ok(())
    }

    /// From here on it goes to a file.
    pub(super) fn spill(&mut self, spill: Option<&Spill>) -> Result<(), Refusal> {
        let Some(spill) = spill else {
            self.unstored = true;
            return Err(Refusal::new(413, "the body is longer than max_memory_bytes, and the option spill is not set"));
        };
        self.claim.file()?;
        failpoint("server spill");
        let made = spill.files.scratch(spill.dir.as_bytes());
        let mut file = made.map_err(|refusal| match refusal {
            Refused::System(error) => full(&error),
            refusal => Refusal::new(500, refusal.message("spill")),
        })?;
        file.write_all(&self.memory).map_err(|error| full(&error))?;
        self.memory = Vec::new();
        self.file = Some(file);
        Ok(())
    }

    /// It is whole: the next read begins at its front.
    pub(super) fn rewind(&mut self) -> Result<(), Refusal> {
        match &mut self.file {
            Some(file) => file.seek(SeekFrom::Start(0)).map(drop).map_err(|error| full(&error)),
            None => Ok(()),
        }
    }

    /// True if it was refused for want of a place where it could go.
    pub(super) fn lacks_spill(&self) -> bool {
        self.unstored
    }

    /// Bytes of it.
    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All of it, where it is in memory.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&self.memory)
    }

    /// Up to `count` bytes from `at` on; none at the end.
    pub fn read(&self, at: u64, count: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
        let count = count.min(left);
        match &self.file {
            None => {
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                let bytes = self.memory.get(start..start.saturating_add(count)).unwrap_or_default();
                allocation::copied(bytes).map_err(|_| io::ErrorKind::OutOfMemory.into())
            }
            Some(file) => {
                let mut file: &File = file;
                file.seek(SeekFrom::Start(at))?;
                let mut bytes = allocation::room(count).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
                file.take(count as u64).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// RFC 4918 section 11.5 has the status for a server that cannot store what the request needs.
fn full(error: &io::Error) -> Refusal {
    Refusal::new(507, format!("spill: {}", crate::error::reason(error)))
}
