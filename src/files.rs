//! Files beneath directories: the one door for every path that a script, or an option of a script's, names.
//!
//! A directory is opened when the permission is made, and its files are opened beneath that descriptor. So nothing
//! outside is opened, made, truncated, renamed or removed, even while other processes rename and link. A path is inside
//! if its names begin with those of a directory; nothing outside is examined, so that the answer is the same whether a
//! file exists or not. Links that stay inside are followed, by the same rule.
//!
//! Linux (5.6) resolves a whole path beneath a descriptor in one call (openat2). Where it refuses, and elsewhere, the
//! path is walked name by name, without links followed by the kernel; that walk decides. /proc and /sys are never
//! opened: they expose the memory of this process, among other things.

mod beneath;
pub mod draft;
#[cfg(test)]
mod tests;
pub mod whole;

use crate::{descriptors, error::reason};
use beneath::{BASE, Root, Spot, absolute, names};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode as Bits, OFlags, fstat, ftruncate, openat, renameat, unlinkat},
    io::Errno,
};
use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which files may be read and written. Defaults to none.
#[derive(Clone, Debug, Default)]
pub struct Files(Option<Arc<[Root]>>);

/// Why not.
#[derive(Debug)]
pub enum Refusal {
    /// No files at all.
    Unpermitted,
    /// Not beneath a directory that is permitted.
    Outside,
    /// In /proc or /sys.
    Kernel,
    /// A pipe, a device, a directory.
    Irregular,
    /// Not the kind of file that modules are.
    Foreign,
    System(io::Error),
}

/// How a file is opened, in the words of fopen(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    kind: Kind,
    /// Both ways: the `+`.
    both: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Append,
}

impl Files {
    /// Every file but the kernel's.
    pub fn everywhere() -> Files {
        Files(Some(Arc::from([Root { dir: None, names: vec![Vec::new()] }])))
    }

    /// What is beneath these directories. The error says which one cannot be opened, counted from zero.
    pub fn within<P: AsRef<Path>>(dirs: &[P]) -> Result<Files, (usize, io::Error)> {
        let open = |(at, dir): (usize, &P)| Root::open(dir.as_ref()).map_err(|err| (at, err));
        let roots = dirs.iter().enumerate().map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(Files(Some(roots.into())))
    }

    /// The directories by their real names.
    pub fn names(&self) -> Vec<PathBuf> {
        self.roots().iter().map(|root| PathBuf::from(std::ffi::OsString::from_vec(root.path()))).collect()
    }

    pub fn open(&self, path: &[u8], mode: Mode) -> Result<File, Refusal> {
        let file = self.find(path, mode.flags(), true)?;
        // Not by O_TRUNC: what is to be refused is not emptied before.
        if mode.kind == Kind::Write && FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
            ftruncate(&file, 0)?;
        }
        Ok(file)
    }

    /// A regular file, open for reading. A pipe or a device would hold the call without a deadline.
    pub fn open_regular(&self, path: &[u8]) -> Result<File, Refusal> {
        regular(self.find(path, OFlags::RDONLY | OFlags::NONBLOCK, true)?)
    }

    /// A file for a while in a directory, open both ways: it has no name any more, and goes when it is closed.
    pub fn scratch(&self, dir: &[u8]) -> Result<File, Refusal> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
        let name = data_encoding::HEXLOWER.encode(&random);
        let path = [dir, b"/.caspian-", name.as_bytes()].concat();
        let flags = BASE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        again(|| {
            let Spot { dir, name } = self.walk_once(&path, false)?;
            let file = openat(&dir, &name, flags, Bits::RUSR | Bits::WUSR)?;
            unlinkat(&dir, &name, AtFlags::empty())?;
            Ok(File::from(file))
        })
    }

    /// What is beneath one directory that is permitted, and nothing else: the directory as it is now, whatever its path leads to later.
    /// Also its path, absolute: what is asked for begins with it.
    pub fn below(&self, path: &[u8]) -> Result<(Files, Vec<u8>), Refusal> {
        let dir = self.find(path, OFlags::RDONLY | OFlags::DIRECTORY, true)?;
        let place = absolute(path)?;
        let root = Root { dir: Some(dir.into()), names: vec![names(&place)] };
        Ok((Files(Some(Arc::from([root]))), place))
    }

    /// The bytes of a regular file, at most `max`, all of them or none; or why not, in words.
    pub fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, String> {
        let file = self.open_regular(path.as_bytes()).map_err(|refusal| refusal.message(path))?;
        whole::bytes(&file, max).map_err(|err| Refusal::System(err).message(path))
    }

    /// The same; nothing for a file that is not there.
    pub fn read_if_there(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, String> {
        match self.open_regular(path.as_bytes()) {
            Err(Refusal::System(err)) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(refusal) => Err(refusal.message(path)),
            Ok(file) => whole::bytes(&file, max).map(Some).map_err(|err| Refusal::System(err).message(path)),
        }
    }

    /// All of a regular file.
    pub fn text(&self, path: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(whole::bytes(&self.open_regular(path)?, u64::MAX)?)
    }

    /// The text of a module: a file that is called `*.lua`, by the path and in truth, so that a syntax error cannot quote
    /// some other file. Beside those nothing can be found out, either.
    pub fn module(&self, path: &[u8]) -> Result<Vec<u8>, Refusal> {
        const NAME: &[u8] = b".lua";
        let nothing = || Refusal::System(Errno::NOENT.into());
        if self.place(&absolute(path)?).is_none() {
            return Err(Refusal::Outside);
        }
        if !path.ends_with(NAME) {
            return Err(Refusal::Foreign);
        }
        let spot = self.walk(path, true).map_err(|refusal| match refusal {
            Refusal::System(_) => nothing(),
            refusal => refusal,
        })?;
        if !spot.name.ends_with(NAME) {
            return Err(Refusal::Foreign);
        }
        let flags = BASE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = again(|| Ok(openat(&spot.dir, &spot.name, flags, Bits::empty())?))?;
        Ok(whole::bytes(&regular(File::from(file))?, u64::MAX)?)
    }

    /// The names in a directory; none where there is no such directory.
    pub fn list(&self, path: &str) -> Result<Vec<String>, String> {
        let listed = match self.find(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY, true) {
            Ok(dir) => Dir::new(OwnedFd::from(dir)),
            Err(Refusal::System(err)) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(refusal) => return Err(refusal.message(path)),
        };
        let entries = listed.map_err(|err| Refusal::from(err).message(path))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_str().ok().map(str::to_owned)));
        let names = names.collect::<Result<Vec<_>, _>>().map_err(|err| Refusal::from(err).message(path))?;
        Ok(names.into_iter().flatten().collect())
    }

    /// As remove(3): a file, or an empty directory. A link itself, not what it leads to.
    pub fn remove(&self, path: &[u8]) -> Result<(), Refusal> {
        let Spot { dir, name } = self.entry(path)?;
        match unlinkat(&dir, &name, AtFlags::empty()) {
            // POSIX has EPERM for a directory, Linux EISDIR.
            Err(Errno::ISDIR | Errno::PERM) => Ok(unlinkat(&dir, &name, AtFlags::REMOVEDIR)?),
            done => Ok(done?),
        }
    }

    /// As rename(2). The error says whether it is the second path's.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), (bool, Refusal)> {
        let source = self.entry(from).map_err(|refusal| (false, refusal))?;
        let target = self.entry(to).map_err(|refusal| (true, refusal))?;
        renameat(&source.dir, &source.name, &target.dir, &target.name).map_err(|err| (false, err.into()))
    }

    /// What removing and renaming work on: the last name itself is not followed.
    fn entry(&self, path: &[u8]) -> Result<Spot, Refusal> {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(path.len().min(1), |last| last + 1);
        let path = path.get(..end).unwrap_or_default();
        if self.place(&absolute(path)?).is_some_and(|(_, rest)| rest.is_empty()) {
            // A directory that is permitted is not in itself.
            return Err(Refusal::Outside);
        }
        let spot = self.walk(path, false)?;
        if spot.name == b"." { Err(Errno::INVAL.into()) } else { Ok(spot) }
    }
}

impl Refusal {
    /// What went wrong with `path`, for people.
    pub fn message(&self, path: &str) -> String {
        match self {
            Refusal::Unpermitted => "files are not permitted here: give the contents, not a path".into(),
            Refusal::Outside => format!("{path}: not allowed (--allow-fs=DIR names other directories)"),
            Refusal::Kernel => format!("{path}: not allowed (never /proc and /sys)"),
            Refusal::Irregular => format!("{path}: not a regular file"),
            Refusal::Foreign => format!("{path}: not allowed (not a .lua file; --allow-fs=DIR opens others)"),
            Refusal::System(err) => format!("{path}: {}", reason(err)),
        }
    }

    /// The same behind the path, for Lua's own functions, which have the system's words as they are.
    pub fn rest(&self) -> String {
        match self {
            Refusal::System(err) => format!(": {}", reason(err)),
            refusal => refusal.message(""),
        }
    }

    /// The system's number for it.
    pub fn code(&self) -> i32 {
        match self {
            Refusal::System(err) => err.raw_os_error().unwrap_or(libc::EIO),
            _ => libc::EACCES,
        }
    }
}

/// Opens something; once more after a collection, where there is no descriptor left (see [`spare`](descriptors::spare)).
fn again<T>(open: impl FnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    descriptors::spare_if(|refusal| matches!(refusal, Refusal::System(err) if descriptors::is_out(err)), open)
}

impl From<Errno> for Refusal {
    fn from(err: Errno) -> Refusal {
        Refusal::System(err.into())
    }
}

impl From<io::Error> for Refusal {
    fn from(err: io::Error) -> Refusal {
        Refusal::System(err)
    }
}

impl Mode {
    pub const READ: Mode = Mode { kind: Kind::Read, both: false };

    /// `r`, `w` or `a`, with `+`, with `b`, which means nothing.
    pub fn parse(text: &[u8]) -> Option<Mode> {
        let (first, rest) = text.split_first()?;
        let kind = match first {
            b'r' => Kind::Read,
            b'w' => Kind::Write,
            b'a' => Kind::Append,
            _ => return None,
        };
        let after = rest.strip_prefix(b"+");
        let fits = after.unwrap_or(rest).iter().all(|byte| *byte == b'b');
        fits.then_some(Mode { kind, both: after.is_some() })
    }

    fn flags(self) -> OFlags {
        let way = match self {
            Mode { both: true, .. } => OFlags::RDWR,
            Mode { kind: Kind::Read, .. } => OFlags::RDONLY,
            _ => OFlags::WRONLY,
        };
        way | match self.kind {
            Kind::Read => OFlags::empty(),
            Kind::Write => OFlags::CREATE,
            Kind::Append => OFlags::CREATE | OFlags::APPEND,
        }
    }
}

fn regular(file: File) -> Result<File, Refusal> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(Refusal::Irregular) }
}
