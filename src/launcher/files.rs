//! Where a path really leads, for `--allow-fs=DIR` and for the modules beside a script: symlinks and `..` resolved.
//! Decides nothing: files.lua compares the answer with what is allowed.

use mlua::{Function, Lua, LuaString};
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

/// ENOENT, everywhere.
const NO_ENTRY: i32 = 2;

/// The canonical path of what opening `path` would reach; a file that does not exist yet is a name in its directory.
pub fn realpath(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let entry = entry(path)?;
            // A dangling symlink: creating the file would follow it to wherever it points.
            if fs::symlink_metadata(&entry).is_ok() { Err(err) } else { Ok(entry) }
        }
        answer => answer,
    }
}

/// The canonical path of the directory entry itself (what removing or renaming works on): the last name is not followed.
pub fn entry(path: &Path) -> io::Result<PathBuf> {
    let nothing = || io::Error::from_raw_os_error(NO_ENTRY);
    let name = path.file_name().ok_or_else(nothing)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(fs::canonicalize(parent)?.join(name))
}

/// As a Lua function: `path` → canonical path, or `nil`, the reason and the system's number for it.
pub fn function(lua: &Lua, find: fn(&Path) -> io::Result<PathBuf>) -> mlua::Result<Function> {
    lua.create_function(move |lua, path: LuaString| {
        let found = path_of(&path.as_bytes()).and_then(|path| find(&path));
        Ok(match found {
            Ok(path) => (Some(lua.create_string(path.as_os_str().as_encoded_bytes())?), None, None),
            Err(err) => (None, Some(reason(&err)), Some(err.raw_os_error().unwrap_or(NO_ENTRY))),
        })
    })
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Ok(PathBuf::from(OsString::from_vec(bytes.to_vec())))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> io::Result<PathBuf> {
    let text = std::str::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(PathBuf::from(OsString::from(text)))
}

/// The operating system's words without Rust's `(os error 2)`.
pub fn reason(err: &io::Error) -> String {
    let text = err.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
