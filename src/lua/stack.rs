//! Arguments and results on Lua's stack, for the files that speak its C API (`userdata` has their invariants).
#![allow(unsafe_code)]

use super::{answer::NO_MEMORY, signals};
use mlua::ffi;
use std::{
    ffi::{CStr, c_int},
    slice,
};

/// Pushes a whole number. Before Lua 5.3, and in LuaJIT, `lua_Integer` is as wide as a pointer, and numbers are doubles: what does not fit
/// into it goes as one.
///
/// # Safety
/// State; its stack has room for a value.
pub unsafe fn push_integer(state: *mut ffi::lua_State, value: i64) {
    // SAFETY: the caller's condition.
    unsafe {
        match ffi::lua_Integer::try_from(value) {
            Ok(value) => ffi::lua_pushinteger(state, value),
            Err(_) => ffi::lua_pushnumber(state, value as f64),
        }
    }
}

/// Pushes a string.
///
/// # Safety
/// State; its stack has room for a value.
pub unsafe fn push_bytes(state: *mut ffi::lua_State, bytes: &[u8]) {
    // SAFETY: the caller's condition; Lua copies the bytes.
    unsafe {
        ffi::lua_pushlstring(state, bytes.as_ptr().cast(), bytes.len());
    }
}

/// The bytes of the string at `index`; none for another value. A number there becomes a string, for which Lua may run a finalizer.
///
/// # Safety
/// State; the value stays on the stack for as long as `'a`.
pub unsafe fn bytes<'a>(state: *mut ffi::lua_State, index: c_int) -> &'a [u8] {
    // SAFETY: the caller's condition: Lua moves no string that a stack holds.
    unsafe {
        let mut length = 0;
        let start = ffi::lua_tolstring(state, index, &mut length);
        if start.is_null() { &[] } else { slice::from_raw_parts(start.cast(), length) }
    }
}

/// The bytes of the string at `index`, if one stands there. Raises nothing.
///
/// # Safety
/// As of [`bytes()`].
pub unsafe fn string<'a>(state: *mut ffi::lua_State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: the caller's condition.
    unsafe { (ffi::lua_type(state, index) == ffi::LUA_TSTRING).then(|| bytes(state, index)) }
}

/// Makes room for `slots` values on Lua's stack, or raises that there is no memory. `luaL_checkstack` would say that the stack
/// overflows, which what is pushed here never makes it do.
///
/// # Safety
/// State, in a protected call.
pub unsafe fn room(state: *mut ffi::lua_State, slots: c_int) {
    // SAFETY: the caller's condition; where there is no room, the extra slots that every C function has are enough for a text.
    unsafe {
        if ffi::lua_checkstack(state, slots) == 0 {
            push_bytes(state, NO_MEMORY.as_bytes());
            ffi::lua_error(state);
        }
    }
}

/// Leaves why a C function failed, as all of the core: raises what a signal's hook has raised, or calls what stands at `why`
/// ([`stashed`](super::answer::stashed)).
///
/// # Safety
/// State; the caller's frames hold plain data only (Jumps).
pub unsafe fn tell(state: *mut ffi::lua_State, why: c_int) -> c_int {
    // SAFETY: the caller's condition.
    unsafe {
        signals::raise(state);
        ffi::lua_pushvalue(state, why);
        ffi::lua_call(state, 0, 3);
    }
    3
}

/// Raises `bad argument #index to 'method' (message)`.
///
/// # Safety
/// State; the caller's frames hold plain data only (Jumps).
pub unsafe fn refuse(state: *mut ffi::lua_State, index: c_int, message: &CStr) -> ! {
    // SAFETY: the caller's condition. luaL_argerror does not return; lua_error tells the compiler the same.
    unsafe {
        ffi::luaL_argerror(state, index, message.as_ptr());
        ffi::lua_error(state)
    }
}
