//! Files that are read whole or not at all: half a list of authorities or hosts is a different list. The paths come
//! from the system or the launcher, never from a script.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The file's bytes, at most `max`; `None` where there is no such file. One that is there and cannot be read is an error, and
/// so is one that changes meanwhile.
pub fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    there(File::open(path))?.map(|file| bytes(&file, max)).transpose()
}

/// The regular files in a directory; `None` where there is no such directory. A link may lead nowhere.
pub fn list(path: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let Some(entries) = there(std::fs::read_dir(path))? else { return Ok(None) };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if there(std::fs::metadata(&path))?.is_some_and(|about| about.is_file()) {
            files.push(path);
        }
    }
    Ok(Some(files))
}

/// What was found, if anything is there.
pub fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// True if an error says that there is nothing of that name. Every other one says that it could not be found out.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The bytes of an open file, at most `max`. A pipe is read to its end.
pub fn bytes(mut file: &File, max: u64) -> io::Result<Vec<u8>> {
    let before = file.metadata()?;
    let mut read = Vec::new();
    (&mut file).take(max.saturating_add(1)).read_to_end(&mut read)?;
    let length = read.len() as u64;
    if length > max {
        return Err(io::Error::other(format!("larger than {max} bytes")));
    }
    let after = file.metadata()?;
    if before.is_file() && (after.len() != length || !is_same(&before, &after)) {
        return Err(io::Error::other("changed while it was read"));
    }
    Ok(read)
}

fn is_same(before: &Metadata, after: &Metadata) -> bool {
    before.len() == after.len() && before.modified().ok() == after.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write};

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("caspian-net-file-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("list");
        assert!(read(&path, 10).unwrap().is_none());
        assert!(read(&path.join("below"), 10).unwrap().is_none());
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"0123456789");
        // A name below a file is no name.
        assert!(read(&path.join("below"), 10).unwrap().is_none());
        assert_eq!(read(&path, 9).unwrap_err().to_string(), "larger than 9 bytes");
        // A directory is there, and no file.
        assert!(read(&dir, 10).is_err());
        // Somebody cuts the file after its size was asked: what the reader has at its place is not the whole.
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut early = &file;
        early.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(bytes(&file, 10).unwrap_err().to_string(), "changed while it was read");
        (&file).write_all(b"more").unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}
