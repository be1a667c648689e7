//! The target of a path: from its names to a permitted directory, and from there beneath an open descriptor.

use super::{Files, Refusal, again};
use rustix::{
    fs::{CWD, Mode, OFlags, openat, readlinkat},
    io::Errno,
};
use std::{
    fs::{File, canonicalize},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Links that one path may lead over, and how often one that changes meanwhile is looked at again.
const MOST_LINKS: usize = 40;

#[derive(Debug)]
pub(super) struct Root {
    /// `/` is opened when it is needed.
    pub(super) dir: Option<OwnedFd>,
    /// The names that lead here, as components from `/`: the real one first, then how it was given.
    pub(super) names: Vec<Vec<Vec<u8>>>,
}

/// An open directory and a name in it: what a path leads to. No link.
pub(super) struct Spot {
    pub(super) dir: OwnedFd,
    pub(super) name: Vec<u8>,
}

/// What a path may be long, in bytes. Far more than the system takes at once, and no work or memory without an end.
const MAX_PATH: usize = 64 * 1024;

/// How everything is opened.
pub(super) const BASE: OFlags = OFlags::CLOEXEC.union(OFlags::NOCTTY);

/// Who may do what with a file that is made; the process's umask takes from it.
pub(super) const MADE: Mode = Mode::from_raw_mode(0o666);

/// A directory on the way, which needs no right to list it.
#[cfg(target_os = "linux")]
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const STEP: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Files {
    pub(super) fn roots(&self) -> &[Root] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Opens what a path leads to: `quick` asks the kernel first.
    pub(super) fn find(&self, path: &[u8], flags: OFlags, quick: bool) -> Result<File, Refusal> {
        again(|| self.find_once(path, flags, quick))
    }

    fn find_once(&self, path: &[u8], flags: OFlags, quick: bool) -> Result<File, Refusal> {
        if self.0.is_none() {
            return Err(Refusal::Unpermitted);
        }
        if quick && let Some(file) = self.beneath(path, BASE | flags)? {
            return checked(file);
        }
        for _ in 0..MOST_LINKS {
            let spot = self.walk_once(path, true)?;
            match openat(&spot.dir, &spot.name, BASE | OFlags::NOFOLLOW | flags, MADE) {
                // It was no link when it was looked at.
                Err(Errno::LOOP) => {}
                opened => return checked(File::from(opened?)),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// The same in one system call. Nothing where that does not succeed, for whatever reason: the walk says which.
    #[cfg(target_os = "linux")]
    fn beneath(&self, path: &[u8], flags: OFlags) -> Result<Option<File>, Refusal> {
        use rustix::fs::{ResolveFlags, openat2};
        let path = absolute(path)?;
        let Some((root, rest)) = self.place(&path).filter(|_| !is_kernels(&path)) else { return Ok(None) };
        let mode = if flags.contains(OFlags::CREATE) { MADE } else { Mode::empty() };
        let rest = if rest.is_empty() { b".".to_vec() } else { rest.join(&b'/') };
        let opened = match &root.dir {
            Some(dir) => openat2(dir, rest, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS),
            None => openat2(root.start()?, rest, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS),
        };
        match opened {
            // A signal ended the wait for the other end of a pipe.
            Err(Errno::INTR) => Err(Errno::INTR.into()),
            opened => Ok(opened.ok().map(File::from)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn beneath(&self, _: &[u8], _: OFlags) -> Result<Option<File>, Refusal> {
        Ok(None)
    }

    /// Goes to the last name of a path, and over it if it is a link to be followed.
    pub(super) fn walk(&self, path: &[u8], follow: bool) -> Result<Spot, Refusal> {
        again(|| self.walk_once(path, follow))
    }

    pub(super) fn walk_once(&self, path: &[u8], follow: bool) -> Result<Spot, Refusal> {
        if self.0.is_none() {
            return Err(Refusal::Unpermitted);
        }
        let mut path = absolute(path)?;
        let mut links = 0..MOST_LINKS;
        'placed: loop {
            let (root, rest) = self.place(&path).ok_or(Refusal::Outside)?;
            if is_kernels(&path) {
                return Err(Refusal::Kernel);
            }
            let start = root.start()?;
            // The directories from there to here; `..` takes the last one away, wherever it has been moved to.
            let mut dirs = vec![start];
            let mut left: Vec<Vec<u8>> = rest.into_iter().rev().map(<[u8]>::to_vec).collect();
            loop {
                let Some(here) = dirs.last() else { return Err(Refusal::Outside) };
                let part = left.pop().unwrap_or_else(|| b".".to_vec());
                let is_last = left.is_empty();
                if part == b".." {
                    if dirs.len() == 1 {
                        // Up and out: perhaps into another one.
                        path = [&root.path()[..], b"/..", &tail(&left)].concat();
                        continue 'placed;
                    }
                    dirs.pop();
                    continue;
                }
                if part == b"." && !is_last {
                    continue;
                }
                if part == b"." || is_last && !follow {
                    let Some(dir) = dirs.pop() else { return Err(Refusal::Outside) };
                    return Ok(Spot { dir, name: part });
                }
                match readlinkat(here, &part, Vec::new()) {
                    Ok(target) => {
                        links.next().ok_or(Errno::LOOP)?;
                        let target = target.into_bytes();
                        if target.starts_with(b"/") {
                            path = [&target[..], &tail(&left)].concat();
                            continue 'placed;
                        }
                        left.extend(parts(&target).into_iter().rev().map(<[u8]>::to_vec));
                    }
                    Err(Errno::INVAL | Errno::NOENT) if is_last => {
                        let Some(dir) = dirs.pop() else { return Err(Refusal::Outside) };
                        return Ok(Spot { dir, name: part });
                    }
                    Err(Errno::INVAL) => match openat(here, &part, STEP, Mode::empty()) {
                        Ok(dir) => {
                            is_kernel(dir.as_fd())?;
                            dirs.push(dir);
                        }
                        // A link by now?
                        Err(Errno::NOTDIR | Errno::LOOP) if readlinkat(here, &part, Vec::new()).is_ok() => {
                            links.next().ok_or(Errno::LOOP)?;
                            left.push(part);
                        }
                        Err(err) => return Err(err.into()),
                    },
                    Err(err) => return Err(err.into()),
                }
            }
        }
    }

    /// The directory that a path's names lead to first, and what is left of them there. No look at any file.
    pub(super) fn place<'p>(&self, path: &'p [u8]) -> Option<(&Root, Vec<&'p [u8]>)> {
        let parts = parts(path);
        let mut names: Vec<&[u8]> = Vec::new();
        // How many names lead there, and which part is the first in it.
        let find = |names: &[&[u8]], next| Some((self.roots().iter().find(|root| root.is(names))?, names.len(), next));
        let mut found = find(&names, 0);
        for (at, part) in parts.iter().enumerate() {
            match *part {
                b".." => {
                    if found.is_some_and(|(_, depth, _)| names.len() <= depth) {
                        found = None;
                    }
                    names.pop();
                }
                b"." => {}
                name => names.push(name),
            }
            found = found.or_else(|| find(&names, at + 1));
        }
        found.map(|(root, _, next)| (root, parts.get(next..).unwrap_or_default().to_vec()))
    }
}

impl Root {
    pub(super) fn open(given: &Path) -> io::Result<Root> {
        let real = canonicalize(given)?;
        let dir = openat(CWD, &real, STEP, Mode::empty())?;
        let mut names = vec![names(real.as_os_str().as_bytes())];
        // As scripts spell it, who have the flag before their eyes. It leads to this directory whatever it comes to be.
        let alias = names_of(given)?;
        if !names.contains(&alias) {
            names.push(alias);
        }
        Ok(Root { dir: Some(dir), names })
    }

    fn start(&self) -> Result<OwnedFd, Refusal> {
        let dir = match &self.dir {
            Some(dir) => dir.try_clone().map_err(Refusal::System)?,
            None => openat(CWD, "/", STEP, Mode::empty())?,
        };
        is_kernel(dir.as_fd())?;
        Ok(dir)
    }

    fn is(&self, at: &[&[u8]]) -> bool {
        self.names.iter().any(|name| name.iter().map(Vec::as_slice).eq(at.iter().copied()))
    }

    /// Its real name.
    pub(super) fn path(&self) -> Vec<u8> {
        self.names.first().map(|name| [b"/", &name.join(&b'/')[..]].concat()).unwrap_or_default()
    }
}

fn checked(file: File) -> Result<File, Refusal> {
    is_kernel(file.as_fd())?;
    Ok(file)
}

/// The path from `/`. A relative one begins where the process is.
pub(super) fn absolute(path: &[u8]) -> Result<Vec<u8>, Refusal> {
    if path.is_empty() {
        return Err(Errno::NOENT.into());
    }
    if path.len() > MAX_PATH {
        return Err(Errno::NAMETOOLONG.into());
    }
    if path.contains(&0) {
        return Err(Errno::INVAL.into());
    }
    if path.starts_with(b"/") {
        return Ok(path.to_vec());
    }
    let here = std::env::current_dir()?;
    Ok([here.as_os_str().as_bytes(), b"/", path].concat())
}

/// The components of a path; behind a last slash is the directory itself, `.`.
fn parts(path: &[u8]) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    if path.ends_with(b"/") && !parts.is_empty() {
        parts.push(b".");
    }
    parts
}

/// What is left of a path, the last part first, as text behind another one.
fn tail(left: &[Vec<u8>]) -> Vec<u8> {
    left.iter().rev().fold(Vec::new(), |mut text, part| {
        text.push(b'/');
        text.extend_from_slice(part);
        text
    })
}

/// The components of an absolute path, `.` and `..` gone.
pub(super) fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for part in parts(path) {
        match part {
            b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name.to_vec()),
        }
    }
    names
}

fn names_of(given: &Path) -> io::Result<Vec<Vec<u8>>> {
    let path = match absolute(given.as_os_str().as_bytes()) {
        Err(Refusal::System(err)) => return Err(err),
        path => path.unwrap_or_default(),
    };
    Ok(names(&path))
}

/// True for what is in /proc and /sys by its names.
fn is_kernels(path: &[u8]) -> bool {
    names(path).first().is_some_and(|name| name == b"proc" || name == b"sys")
}

/// An error for what is on a file system that the kernel makes up, wherever it is mounted.
#[cfg(target_os = "linux")]
fn is_kernel(file: BorrowedFd<'_>) -> Result<(), Refusal> {
    /// Of statfs(2): proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, bpf, pstore, efivarfs, configfs, selinuxfs,
    /// smackfs, binfmt_misc, nsfs.
    const KINDS: [u32; 15] = [
        0x9fa0,
        0x6265_6572,
        0x0027_e0eb,
        0x6367_7270,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0xcafe_4a11,
        0x6165_676c,
        0xde5e_81e4,
        0x6265_6570,
        0xf97c_ff8c,
        0x4341_5d53,
        0x4249_4e4d,
        0x6e73_6673,
    ];
    let kind = rustix::fs::fstatfs(file)?.f_type as u32;
    if KINDS.contains(&kind) { Err(Refusal::Kernel) } else { Ok(()) }
}

#[cfg(not(target_os = "linux"))]
fn is_kernel(_: BorrowedFd<'_>) -> Result<(), Refusal> {
    Ok(())
}
