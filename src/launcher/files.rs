//! The files of a script: the functions that `sandbox.lua` puts behind its `io` and `os`, over the one door of
//! `caspian_net::files`. Decides nothing.

#![allow(unsafe_code, reason = "Lua's file handles are a C interface")]

use caspian_net::files::{Files, Mode, Refusal};
use mlua::{AnyUserData, BorrowedBytes, Function, Lua, MultiValue, Table, Value, ffi};
use std::{
    ffi::{CString, c_int},
    fs::File,
    io,
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
    ptr::null_mut,
};

/// What is longer is no path (`caspian_net::files`).
const MAX_SHOWN: usize = 64 * 1024;

/// `open(path, mode)`, `remove(path)`, `rename(from, to)`: as Lua's, paths and modes checked; a refusal is `nil`, why, its number.
pub fn table(lua: &Lua, files: &Files) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let own = files.clone();
    table.set(
        "open",
        lua.create_function(move |lua, (path, mode): (Value, mlua::LuaString)| {
            let Some(mode) = Mode::parse(&mode.as_bytes()).zip(CString::new(&*mode.as_bytes()).ok()) else {
                return refused(lua, "invalid mode", libc::EINVAL);
            };
            let Some(path) = bytes(&path) else { return no_path(lua) };
            // The handle first: what is open is not lost where there is no memory for one.
            let handle = Handle::new(lua)?;
            match own.open(&path, mode.0).and_then(|file| Ok(handle.fill(file, &mode.1)?)) {
                Ok(handle) => Ok(MultiValue::from_iter([Value::UserData(handle)])),
                Err(refusal) => refuse(lua, &path, &refusal),
            }
        })?,
    )?;
    let own = files.clone();
    table.set(
        "remove",
        lua.create_function(move |lua, path: Value| {
            let Some(path) = bytes(&path) else { return no_path(lua) };
            match own.remove(&path) {
                Ok(()) => Ok(MultiValue::from_iter([Value::Boolean(true)])),
                Err(refusal) => refuse(lua, &path, &refusal),
            }
        })?,
    )?;
    let own = files.clone();
    table.set(
        "rename",
        lua.create_function(move |lua, (from, to): (Value, Value)| {
            let (Some(source), Some(target)) = (bytes(&from), bytes(&to)) else { return no_path(lua) };
            match own.rename(&source, &target) {
                Ok(()) => Ok(MultiValue::from_iter([Value::Boolean(true)])),
                Err((second, refusal)) => refuse(lua, if second { &target } else { &source }, &refusal),
            }
        })?,
    )?;
    Ok(table)
}

/// `read(path)`: the text of a Lua file that may be loaded; or `nil`, why and its number. Where files are not permitted, that
/// is a module beneath the script's directory.
pub fn reader(lua: &Lua, files: Files, modules: Files) -> mlua::Result<Function> {
    const ELSEWHERE: &[u8] = b": not allowed (outside the script's directory; --allow-fs=DIR opens another)";
    lua.create_function(move |lua, path: Value| {
        let Some(path) = bytes(&path) else { return no_path(lua) };
        let text = match files.text(&path) {
            Err(Refusal::Outside | Refusal::Unpermitted) => modules.module(&path),
            done => done,
        };
        match text {
            Ok(text) => Ok(MultiValue::from_iter([Value::String(lua.create_string(text)?)])),
            Err(Refusal::Outside) => refused(lua, [shown(&path), ELSEWHERE].concat(), libc::EACCES),
            Err(refusal) => refuse(lua, &path, &refusal),
        }
    })
}

/// The path's bytes, if it can be one: where Lua has them, however many a script has made.
fn bytes(path: &Value) -> Option<BorrowedBytes> {
    let Value::String(path) = path else { return None };
    let bytes = path.as_bytes();
    (!bytes.contains(&0)).then_some(bytes)
}

fn no_path(lua: &Lua) -> mlua::Result<MultiValue> {
    refused(lua, "not a path", libc::EACCES)
}

fn refuse(lua: &Lua, path: &[u8], refusal: &Refusal) -> mlua::Result<MultiValue> {
    // A path is bytes, and words are text.
    refused(lua, [shown(path), refusal.rest().as_bytes()].concat(), refusal.code())
}

/// As much of a path as a message has: what a script made of hundreds of megabytes is not copied.
fn shown(path: &[u8]) -> &[u8] {
    path.get(..MAX_SHOWN).unwrap_or(path)
}

fn refused(lua: &Lua, why: impl AsRef<[u8]>, code: i32) -> mlua::Result<MultiValue> {
    Ok(MultiValue::from_iter([Value::Nil, Value::String(lua.create_string(why)?), Value::Integer(code.into())]))
}

/// `luaL_Stream` of lauxlib.h: closed while it has no function that closes it.
#[repr(C)]
struct Stream {
    file: *mut libc::FILE,
    close: Option<ffi::lua_CFunction>,
}

/// A file handle of Lua's that is closed yet.
struct Handle(AnyUserData);

impl Handle {
    fn new(lua: &Lua) -> mlua::Result<Handle> {
        // SAFETY: the block has the size of a stream, is aligned for every C type, and is whole before its metatable is set.
        let made = unsafe {
            lua.exec_raw((), |state| {
                let stream = ffi::lua_newuserdatauv(state, size_of::<Stream>(), 0).cast::<Stream>();
                stream.write(Stream { file: null_mut(), close: None });
                ffi::luaL_setmetatable(state, c"FILE*".as_ptr());
            })
        };
        made.map(Handle)
    }

    /// Opens it over a file.
    fn fill(self, file: File, mode: &CString) -> io::Result<AnyUserData> {
        let number = OwnedFd::from(file).into_raw_fd();
        // SAFETY: `number` is an open descriptor that is ours alone, and `mode` a C string that fopen(3) knows.
        let file = unsafe { libc::fdopen(number, mode.as_ptr()) };
        if file.is_null() {
            let why = io::Error::last_os_error();
            // SAFETY: fdopen has not taken it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
            return Err(why);
        }
        let stream = self.0.to_pointer().cast::<Stream>().cast_mut();
        // SAFETY: `new` has made the block, and its userdata is held here.
        unsafe { stream.write(Stream { file, close: Some(close) }) };
        Ok(self.0)
    }
}

/// What Lua calls when the handle is closed or collected; it has cleared `close` before.
unsafe extern "C-unwind" fn close(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua with a handle; no Rust value is alive here that an error would leak.
    unsafe {
        let stream = ffi::luaL_checkudata(state, 1, c"FILE*".as_ptr()).cast::<Stream>();
        let done = libc::fclose((*stream).file);
        ffi::luaL_fileresult(state, c_int::from(done == 0), std::ptr::null())
    }
}
