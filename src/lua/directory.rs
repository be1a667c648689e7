//! Directories whose files a server hands out: each is opened once, and files are found beneath it (`crate::files`).

use super::{
    answer::{Answer, argument},
    define, held,
};
use crate::{
    error::{Error, Kind},
    files::{Files, reason},
    pages,
};
use mlua::{AnyUserData, Lua, LuaString, MultiValue, Table, UserData, UserDataRef, Value};
use std::{cell::RefCell, fs::File, io::Read, time::UNIX_EPOCH};

struct Directory {
    files: Files,
    /// Absolute.
    place: Vec<u8>,
}

impl UserData for Directory {}

/// A file that is being sent; closed once it is at its end.
struct Opened(RefCell<Option<File>>);

impl UserData for Opened {}

/// What is read at once, at most.
const MOST: usize = 1 << 20;

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // directory(capability, path) -> a directory, if the capability may read files there
    define(lua, core, "directory", |_, (capability, path): (AnyUserData, LuaString)| {
        let files = held(&capability)?.files.clone();
        match files.below(&path.as_bytes()) {
            Ok((files, place)) => Ok(Directory { files, place }),
            Err(refusal) => argument(1, refusal.words(&path.to_string_lossy())),
        }
    })?;
    // directory_file(directory, name) -> a file, its size, when it was changed (nanoseconds since 1970, as text); nil if
    // there is no regular file of that name beneath the directory
    define(lua, core, "directory_file", |lua, (directory, name): (AnyUserData, LuaString)| {
        let Ok(directory) = directory.borrow::<Directory>() else { return argument(0, "not a directory") };
        let path = [&directory.place[..], b"/", &name.as_bytes()].concat();
        let Ok(file) = directory.files.open_regular(&path) else { return Ok(MultiValue::new()) };
        let Ok(about) = file.metadata() else { return Ok(MultiValue::new()) };
        let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let made = || {
            let size = Value::Number(about.len() as f64);
            let changed = Value::String(lua.create_string(changed.as_nanos().to_string())?);
            let file = lua.create_userdata(Opened(RefCell::new(Some(file))))?;
            Ok(MultiValue::from_iter([Value::UserData(file), size, changed]))
        };
        made().or_else(|e: mlua::Error| argument(0, e))
    })?;
    // directory_read(file, count) -> bytes; nil at the end
    define(lua, core, "directory_read", |lua, (file, count): (AnyUserData, usize)| {
        let opened = opened(&file)?;
        let mut slot = opened.0.borrow_mut();
        let Some(file) = slot.as_mut() else { return Ok(Value::Nil) };
        let mut bytes = Vec::new();
        pages::lengthen(&mut bytes, count.clamp(1, MOST))?;
        let read = loop {
            match file.read(&mut bytes) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::new(Kind::Socket, format!("read a file: {}", reason(&e))).into()),
                Ok(read) => break read,
            }
        };
        if read == 0 {
            *slot = None;
            return Ok(Value::Nil);
        }
        lua.create_string(bytes.get(..read).unwrap_or_default()).map(Value::String).or_else(|e| argument(0, e))
    })?;
    define(lua, core, "directory_close", |_, file: AnyUserData| {
        *opened(&file)?.0.borrow_mut() = None;
        Ok(true)
    })
}

fn opened(value: &AnyUserData) -> Answer<UserDataRef<Opened>> {
    value.borrow::<Opened>().or_else(|_| argument(0, "not a file"))
}
