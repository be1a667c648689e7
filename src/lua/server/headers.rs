//! A script's headers of an answer, from its table to the answer's fields, straight on Lua's C API.
#![allow(unsafe_code)]

use crate::{
    http::{Invalid, answer::Answer as Fields},
    lua::{
        answer::{Answer, Failure, argument},
        stack::string,
    },
};
use mlua::{Lua, Table, ffi};
use std::ffi::{CStr, c_int};

/// The argument that the headers are, to the front.
const INDEX: usize = 2;

/// Adds the headers of the table at `index`: names that are strings; values that are strings, numbers or flat lists of them. Raises nothing, and
/// runs no Lua.
///
/// # Safety
/// `state` is a live Lua state, with room for four values on its stack. What is left on it after a failure is the caller's.
pub(super) unsafe fn put(state: *mut ffi::lua_State, index: c_int, fields: &mut Fields) -> Answer<()> {
    // SAFETY: the caller's condition. No key is converted, so `lua_next` goes on from it, and nothing here raises.
    unsafe {
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, index) != 0 {
            let Some(name) = string(state, -2) else { return argument(INDEX, "the name of a header must be a string") };
            let shown = || String::from_utf8_lossy(name);
            if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
                for at in 1..=ffi::lua_rawlen(state, -1) {
                    ffi::lua_rawgeti(state, -1, at as ffi::lua_Integer);
                    if !add(state, name, fields)? {
                        return argument(INDEX, format!("header {}: a list must be of strings", shown()));
                    }
                    ffi::lua_pop(state, 1);
                }
            } else if !add(state, name, fields)? {
                let given = CStr::from_ptr(ffi::lua_typename(state, ffi::lua_type(state, -1))).to_string_lossy();
                let message = format!("header {}: must be a string or a list of strings, got a {given}", shown());
                return argument(INDEX, message);
            }
            ffi::lua_pop(state, 1);
        }
    }
    Ok(())
}

/// Adds the value on the top of the stack; false if it is no value of a header.
///
/// # Safety
/// As of [`put`].
unsafe fn add(state: *mut ffi::lua_State, name: &[u8], fields: &mut Fields) -> Answer<bool> {
    let mut field = |value: &[u8]| fields.field(name, value).map_err(|Invalid(why)| Failure::Argument(INDEX, why));
    // SAFETY: the caller's condition; a number is read, not converted.
    unsafe {
        if let Some(value) = string(state, -1) {
            field(value)?;
        } else if ffi::lua_type(state, -1) != ffi::LUA_TNUMBER {
            return Ok(false);
        } else if ffi::lua_isinteger(state, -1) != 0 {
            field(ffi::lua_tointeger(state, -1).to_string().as_bytes())?;
        } else {
            let number = ffi::lua_tonumber(state, -1);
            if !number.is_finite() {
                return Ok(false);
            }
            field(number.to_string().as_bytes())?;
        }
    }
    Ok(true)
}

/// The same for a table that mlua holds.
pub(super) fn put_table(lua: &Lua, table: &Table, fields: &mut Fields) -> Answer<()> {
    let mut done = Ok(());
    // SAFETY: runs protected, with the table at 1, and calls nothing that raises.
    unsafe {
        lua.exec_raw::<()>(table, |state| {
            done = put(state, 1, fields);
            ffi::lua_settop(state, 0);
        })?;
    }
    done
}
