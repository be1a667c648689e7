//! The file that a body is saved to, when the request is repeated: the bytes of the first, truncated answer are
//! removed.
//!
//! Lua has no ftruncate(2), and a shorter second answer would leave the rest of the first behind it.
#![allow(unsafe_code)]

use mlua::{AnyUserData, Lua, ffi};
use std::io;

/// `luaL_Stream` of lauxlib.h; Lua 5.1 and LuaJIT have no more than the pointer that we read, null once it is closed.
#[repr(C)]
struct Stream {
    file: *mut libc::FILE,
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    close: Option<ffi::lua_CFunction>,
}

/// Cuts an open file of Lua's to `length` bytes. Where the next write goes is for its `seek` to say.
pub(super) fn cut(lua: &Lua, file: &AnyUserData, length: u64) -> io::Result<()> {
    let place = std::cell::Cell::new(std::ptr::null_mut::<Stream>());
    // SAFETY: runs protected (what is no file raises) and holds plain data only; the block is what Lua's own files have behind this metatable.
    let looked = unsafe {
        lua.exec_raw::<()>(file, |state| {
            place.set(ffi::luaL_checkudata(state, 1, c"FILE*".as_ptr()).cast());
            ffi::lua_settop(state, 0);
        })
    };
    let closed = || io::Error::new(io::ErrorKind::InvalidInput, "the file is closed");
    looked.map_err(|_| closed())?;
    // SAFETY: null, or the block of `file`, which is held here.
    let Some(stream) = (unsafe { place.get().as_ref() }) else { return Err(closed()) };
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    if stream.close.is_none() {
        return Err(closed());
    }
    if stream.file.is_null() {
        return Err(closed());
    }
    let length = libc::off_t::try_from(length).map_err(io::Error::other)?;
    // SAFETY: an open stream, checked above; nothing between there and here runs Lua, which alone closes it.
    let done = unsafe { libc::fflush(stream.file) == 0 && libc::ftruncate(libc::fileno(stream.file), length) == 0 };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
