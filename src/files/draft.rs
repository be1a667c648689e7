//! A file that takes its name only once it is whole: until then its bytes are under a name of their own in the same
//! directory, and whatever bears the name already stays as it is. What does not get that far is removed.
//!
//! Never over a link, a device, a pipe or a directory: a rename would put a file in their place.

use super::{BASE, Files, Refusal, Spot, again, beneath::MADE};
use crate::fork;
use rustix::{
    fs::{AtFlags, FileType, Mode as Bits, OFlags, fchmod, fstat, ftruncate, openat, renameat, seek, statat, unlinkat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
};

/// Where a file is to be.
pub struct Place {
    dir: OwnedFd,
    name: Vec<u8>,
}

/// The file in the making.
pub struct Draft {
    file: File,
    place: Place,
    /// Its name until then; none once that is over.
    own: Option<Vec<u8>>,
    /// A child of the process that made it removes nothing.
    born: u64,
}

impl Files {
    /// Where a path leads, as a regular file or nothing. Makes nothing.
    pub fn place_for(&self, path: &[u8]) -> Result<Place, Refusal> {
        let Spot { dir, name } = self.walk(path, true)?;
        if name == b"." || path.ends_with(b"/") {
            return Err(Refusal::Irregular);
        }
        let place = Place { dir, name };
        place.bits()?;
        Ok(place)
    }
}

impl Place {
    /// Who may do what with the file that is there; none where there is none.
    fn bits(&self) -> Result<Option<Bits>, Refusal> {
        match statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Err(err) => Err(err.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => Err(Refusal::Irregular),
            Ok(stat) => Ok(Some(Bits::from_raw_mode(stat.st_mode & 0o777))),
        }
    }

    /// Makes the file, under a name of its own. It may be read by whom its predecessor may be read by, and no more.
    pub fn draft(&self) -> Result<Draft, Refusal> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
        let own = [b".caspian-", data_encoding::HEXLOWER.encode(&random).as_bytes()].concat();
        let bits = self.bits()?;
        let place = Place { dir: again(|| Ok(self.dir.try_clone()?))?, name: self.name.clone() };
        let flags = BASE | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = again(|| Ok(openat(&self.dir, &own, flags, bits.map_or(MADE, |_| Bits::RUSR | Bits::WUSR))?))?;
        let draft = Draft { file: file.into(), place, own: Some(own), born: fork::generation() };
        if let Some(bits) = bits {
            fchmod(&draft.file, bits)?;
        }
        Ok(draft)
    }
}

impl Draft {
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Back to the beginning, with nothing in it.
    pub fn restart(&mut self) -> io::Result<()> {
        ftruncate(&self.file, 0)?;
        seek(&self.file, rustix::fs::SeekFrom::Start(0))?;
        Ok(())
    }

    /// It is whole: from now on it has its name, at one stroke.
    pub fn finish(mut self) -> Result<(), Refusal> {
        // What has come to be there meanwhile is no file to be replaced, either.
        self.place.bits()?;
        let Some(own) = self.own.as_ref() else { return Ok(()) };
        // The file that was made here, and no other that somebody put under its name.
        let (ours, there) = (fstat(&self.file)?, statat(&self.place.dir, own, AtFlags::SYMLINK_NOFOLLOW)?);
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino) {
            self.own = None;
            return Err(Errno::NOENT.into());
        }
        renameat(&self.place.dir, own, &self.place.dir, &self.place.name)?;
        self.own = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(own) = self.own.take().filter(|_| self.born == fork::generation()) {
            let _ = unlinkat(&self.place.dir, &own, AtFlags::empty());
        }
    }
}
