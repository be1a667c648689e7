//! Directories of static files: each is opened once, and files are found beneath it (`crate::files`).

use super::{
    answer::{Answer, argument},
    define, held,
};
use crate::files::Files;
use mlua::{AnyUserData, Lua, LuaString, Table, UserData};
use std::{cell::RefCell, fs::File};

struct Directory {
    files: Files,
    /// Absolute.
    place: Vec<u8>,
}

impl UserData for Directory {}

/// A file that is to be sent.
struct Opened(RefCell<Option<File>>);

impl UserData for Opened {}

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // directory(capability, path) -> a directory, if the capability may read files there
    define(lua, core, "directory", |_, (capability, path): (AnyUserData, LuaString)| {
        let files = held(&capability)?.files.clone();
        match files.below(&path.as_bytes()) {
            Ok((files, place)) => Ok(Directory { files, place }),
            Err(refusal) => argument(1, refusal.message(&path.to_string_lossy())),
        }
    })?;
    // directory_file(directory, name) -> an open file, for `request_file`; nil if there is no regular file of that name beneath
    // the directory
    define(lua, core, "directory_file", |_, (directory, name): (AnyUserData, LuaString)| {
        let Ok(directory) = directory.borrow::<Directory>() else { return argument(0, "not a directory") };
        let path = [&directory.place[..], b"/", &name.as_bytes()].concat();
        Ok(directory.files.open_regular(&path).ok().map(|file| Opened(RefCell::new(Some(file)))))
    })
}

/// The file behind a value of [`register`]'s, once.
pub(super) fn take(value: &AnyUserData) -> Answer<File> {
    let file = value.borrow::<Opened>().ok().and_then(|opened| opened.0.borrow_mut().take());
    file.map_or_else(|| argument(3, "body_file must be a path"), Ok)
}
