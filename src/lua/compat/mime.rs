//! `mime.core`: the codecs of `crate::mime` as C functions on Lua's stack, since filters call them for every piece.
//!
//! The contract of LuaSocket: `A, B = f(C, D)`, where A is what C followed by D gives, and B what must come first in the
//! next call. Without D the text ends with C. Without C both are nil.
//!
//! Invariant: Lua raises by `longjmp`, so a frame of this file that calls Lua holds plain data only. Output is written
//! on the C stack, or where it is larger into a userdata that Lua owns; never into memory of Rust's.
#![allow(unsafe_code)]
// State: the `unsafe fn`s below have one condition, that `state` is a live Lua state with the arguments of the call on its stack.

use crate::{
    compat::mime::{self, Out, Rest},
    panics::{failpoint, quietly},
};
use mlua::{Lua, Table, ffi};
use std::{ffi::c_int, mem::MaybeUninit, ptr, slice};

/// Output that is made without asking Lua for memory.
const SMALL: usize = 4096;

const CRLF: &[u8] = b"\r\n";

/// The table of functions.
pub fn functions(lua: &Lua) -> mlua::Result<Table> {
    const ALL: [(&str, ffi::lua_CFunction); 8] = [
        ("b64", b64),
        ("unb64", unb64),
        ("qp", qp),
        ("unqp", unqp),
        ("wrp", wrp),
        ("qpwrp", qpwrp),
        ("eol", eol),
        ("dot", dot),
    ];
    let table = lua.create_table()?;
    for (name, function) in ALL {
        // SAFETY: the functions keep the invariant above.
        table.raw_set(name, unsafe { lua.create_c_function(function)? })?;
    }
    Ok(table)
}

/// The string (or number) at `index`; `None` where there is none.
unsafe fn text<'a>(state: *mut ffi::lua_State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: State; the value stays on the stack for as long as the call.
    unsafe {
        if ffi::lua_type(state, index) <= ffi::LUA_TNIL {
            return None;
        }
        let mut length = 0;
        let start = ffi::luaL_checklstring(state, index, &mut length);
        // The value stays on the stack for as long as the call.
        Some(slice::from_raw_parts(start.cast(), length))
    }
}

/// Pushes what `write` writes, in a buffer of `room` bytes; answers what `write` answered, and the bytes written.
unsafe fn emit<T: Copy>(
    state: *mut ffi::lua_State,
    room: Option<usize>,
    write: impl FnOnce(&mut Out<'_>) -> T,
) -> (T, usize) {
    // SAFETY: State; `buffer` has `room` bytes, on this stack or in a userdata that is on Lua's.
    unsafe {
        match room {
            Some(room) if room <= SMALL => {
                let mut buffer = MaybeUninit::<[u8; SMALL]>::uninit();
                emit_into(state, buffer.as_mut_ptr().cast(), room, write)
            }
            // Half of the address space is more than Lua gives anyone.
            Some(room) if isize::try_from(room).is_ok() => {
                let buffer = ffi::lua_newuserdata(state, room).cast();
                emit_into(state, buffer, room, write)
            }
            _ => {
                ffi::luaL_error(state, c"result too large".as_ptr());
                ffi::lua_error(state)
            }
        }
    }
}

unsafe fn emit_into<T: Copy>(
    state: *mut ffi::lua_State,
    buffer: *mut u8,
    room: usize,
    write: impl FnOnce(&mut Out<'_>) -> T,
) -> (T, usize) {
    // SAFETY: `buffer` has `room` bytes, which nobody else uses; only plain data is held where Lua may raise.
    unsafe {
        ptr::write_bytes(buffer, 0, room);
        let mut out = Out::new(slice::from_raw_parts_mut(buffer, room));
        let answer = quietly(|| {
            failpoint("mime");
            write(&mut out)
        });
        let Some(answer) = answer else {
            ffi::luaL_error(state, c"internal error: a panic was caught".as_ptr());
            ffi::lua_error(state)
        };
        let length = out.len();
        ffi::lua_pushlstring(state, buffer.cast(), length);
        (answer, length)
    }
}

/// The frame of the codecs that leave input over: `code` works on both parts and, where the text ends, `end` closes it.
unsafe fn codec(
    state: *mut ffi::lua_State,
    room: impl FnOnce(usize, [&[u8]; 2]) -> Option<usize>,
    code: impl FnOnce([&[u8]; 2], &mut Out<'_>) -> Rest,
    end: impl FnOnce(&Rest, &mut Out<'_>),
) -> c_int {
    // SAFETY: State; the texts stay on the stack for as long as the call.
    unsafe {
        let (first, second) = (text(state, 1), text(state, 2));
        let Some(first) = first else {
            ffi::lua_pushnil(state);
            ffi::lua_pushnil(state);
            return 2;
        };
        let parts = [first, second.unwrap_or_default()];
        let room = parts[0].len().checked_add(parts[1].len()).and_then(|length| room(length, parts));
        let (rest, written) = emit(state, room, |out| {
            let rest = code(parts, out);
            if second.is_none() {
                end(&rest, out);
            }
            rest
        });
        if second.is_some() {
            ffi::lua_pushlstring(state, rest.as_slice().as_ptr().cast(), rest.as_slice().len());
        } else {
            if written == 0 {
                ffi::lua_pushnil(state);
            }
            ffi::lua_pushnil(state);
        }
        2
    }
}

unsafe extern "C-unwind" fn b64(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls this with a live state, as the next ones.
    unsafe { codec(state, |length, _| mime::b64_room(length), mime::b64, mime::b64_end) }
}

unsafe extern "C-unwind" fn unb64(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `b64`.
    unsafe { codec(state, |length, _| Some(length), mime::unb64, |_, _| {}) }
}

unsafe extern "C-unwind" fn qp(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `b64`.
    unsafe {
        let marker = text(state, 3).unwrap_or(CRLF);
        let room = |length, parts: [&[u8]; 2]| {
            let ends = parts.map(|part| memchr::memchr_iter(b'\n', part).count());
            mime::qp_room(length, ends[0] + ends[1], marker.len())
        };
        codec(state, room, |parts, out| mime::qp(parts, marker, out), mime::qp_end)
    }
}

unsafe extern "C-unwind" fn unqp(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `b64`.
    unsafe { codec(state, |length, _| Some(length), mime::unqp, |_, _| {}) }
}

/// The frame of both wrappers: `(left, text, length = 76)`; without a text the last line ends.
unsafe fn wrapper(state: *mut ffi::lua_State, end: &[u8], wrap: fn(&[u8], i64, i64, &mut Out<'_>) -> i64) -> c_int {
    // SAFETY: State; only plain data is held.
    unsafe {
        let left = ffi::luaL_checknumber(state, 1) as i64;
        let text = text(state, 2);
        let length = ffi::luaL_optnumber(state, 3, 76.0) as i64;
        let after = match text {
            Some(text) => emit(state, mime::wrap_room(text.len()), |out| wrap(text, left, length, out)).0,
            None if left < length => {
                ffi::lua_pushlstring(state, end.as_ptr().cast(), end.len());
                length
            }
            None => {
                ffi::lua_pushnil(state);
                length
            }
        };
        ffi::lua_pushnumber(state, after as ffi::lua_Number);
        2
    }
}

unsafe extern "C-unwind" fn wrp(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `b64`.
    unsafe { wrapper(state, CRLF, mime::wrp) }
}

unsafe extern "C-unwind" fn qpwrp(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `b64`.
    unsafe { wrapper(state, b"=\r\n", mime::qpwrp) }
}

/// `(last, text, marker = CRLF)`
unsafe extern "C-unwind" fn eol(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `b64`.
    unsafe {
        // A number of another kind is as good as none: only CR and LF mean anything.
        let last = ffi::luaL_checknumber(state, 1) as u8;
        let marker = text(state, 3).unwrap_or(CRLF);
        let after = match text(state, 2) {
            Some(text) => emit(state, mime::eol_room(text, marker.len()), |out| mime::eol(text, last, marker, out)).0,
            None => {
                ffi::lua_pushnil(state);
                0
            }
        };
        ffi::lua_pushnumber(state, after.into());
        2
    }
}

/// `(state, text)`
unsafe extern "C-unwind" fn dot(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `b64`.
    unsafe {
        let before = ffi::luaL_checknumber(state, 1) as u8;
        let after = match text(state, 2) {
            Some(text) => emit(state, mime::dot_room(text.len()), |out| mime::dot(text, before, out)).0,
            None => {
                ffi::lua_pushnil(state);
                2
            }
        };
        ffi::lua_pushnumber(state, after.into());
        2
    }
}
