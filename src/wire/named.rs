//! The path of a granted Unix socket: where its directory is granted, links in it are not followed.
//!
//! The file is opened without following a link (`O_PATH`) and reached by its descriptor, so no other process can put a
//! link in its place between the check and the connect. Opens nothing to read or write.

use crate::{
    error::{Error, Kind, Result},
    grants::{GrantedPath, Links},
};
use std::path::{Path, PathBuf};

/// What a socket is connected to. Lives as long as the address is used.
pub(crate) struct Named {
    path: PathBuf,
    /// Keeps the number in `path` ours.
    _file: Option<std::fs::File>,
}

impl Named {
    pub fn of(granted: &GrantedPath) -> Result<Named> {
        match granted.links() {
            Links::Followed => Ok(Named { path: granted.path().to_owned(), _file: None }),
            Links::Refused => held(granted.path()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn a_link(path: &Path) -> Error {
    let path = path.display();
    let message = format!(
        "connect to unix:{path} is not allowed: it is a symbolic link, and only sockets in that directory are granted; \
         --allow-net=unix:{path} would allow it"
    );
    Error::new(Kind::HostNotAllowed, message)
}

#[cfg(target_os = "linux")]
fn held(path: &Path) -> Result<Named> {
    use std::os::{fd::AsRawFd, unix::fs::OpenOptionsExt};
    const DESCRIPTORS: &str = "/proc/self/fd";
    let what = || format!("connect to unix:{}", path.display());
    let mut options = std::fs::File::options();
    let file = options.read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path);
    let file = file.map_err(|e| Error::from_path(&what(), &e))?;
    if file.metadata().map_err(|e| Error::from_io(&what(), &e))?.file_type().is_symlink() {
        return Err(a_link(path));
    }
    let by_number = Path::new(DESCRIPTORS).join(file.as_raw_fd().to_string());
    if !by_number.exists() {
        let message = format!("{}: the grant of a directory needs {DESCRIPTORS}, which is missing", what());
        return Err(Error::new(Kind::Socket, message));
    }
    Ok(Named { path: by_number, _file: Some(file) })
}

/// Elsewhere no descriptor can be connected to: the look comes first.
#[cfg(not(target_os = "linux"))]
fn held(path: &Path) -> Result<Named> {
    match path.symlink_metadata() {
        Ok(meta) if meta.file_type().is_symlink() => Err(a_link(path)),
        _ => Ok(Named { path: path.to_owned(), _file: None }),
    }
}
