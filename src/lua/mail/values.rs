//! Results of the pure half of mail as Lua values, in one protected call: a mailbox has thousands of envelopes.
//!
//! The frames that call Lua borrow the `Value` and own nothing, so that a Lua error (no memory), which leaves them by a
//! jump, leaks nothing.
#![allow(unsafe_code)]
// The `unsafe fn` below has one condition: `state` is a live Lua state in a protected call, with the metatables of lists and hashes at 1 and 2.
#![allow(unsafe_op_in_unsafe_fn)]

use crate::{
    lua::kinds,
    mail::value::{Fields, Value},
};
use mlua::{Lua, ffi};
use std::ffi::c_int;

/// The metatables of lists and hashes.
const LIST: c_int = 1;
const HASH: c_int = 2;

/// What one value takes on Lua's stack while it is made: itself, a key and an element.
const SLOTS: c_int = 4;

/// Makes Lua's value: lists and hashes have the front's metatables. Nothing is `false` in a list, and no field of a hash.
pub fn made(lua: &Lua, value: &Value<'_>) -> mlua::Result<mlua::Value> {
    let (list, hash) = (kinds::array(lua)?, kinds::hash(lua, lua.create_table()?)?.metatable());
    // SAFETY: `push` leaves one value above the two metatables, which are taken away; it runs protected.
    unsafe {
        lua.exec_raw((list, hash), |state| {
            push(state, value);
            ffi::lua_replace(state, LIST);
            ffi::lua_settop(state, 1);
        })
    }
}

unsafe fn push(state: *mut ffi::lua_State, value: &Value<'_>) {
    ffi::luaL_checkstack(state, SLOTS, c"a value of mail".as_ptr());
    match value {
        Value::Nil => ffi::lua_pushboolean(state, 0),
        Value::True => ffi::lua_pushboolean(state, 1),
        Value::Number(number) => push_number(state, *number),
        // The year is at most 9999.
        Value::Seconds(seconds) => ffi::lua_pushinteger(state, *seconds as ffi::lua_Integer),
        Value::Text(bytes) => push_text(state, bytes),
        Value::Numbers(numbers) => {
            ffi::lua_createtable(state, slots(numbers.len()), 0);
            for (at, number) in numbers.iter().enumerate() {
                push_number(state, u64::from(*number));
                ffi::lua_rawseti(state, -2, at as ffi::lua_Integer + 1);
            }
            marked(state, LIST);
        }
        Value::List(values) => {
            ffi::lua_createtable(state, slots(values.len()), 0);
            for (at, value) in values.iter().enumerate() {
                push(state, value);
                ffi::lua_rawseti(state, -2, at as ffi::lua_Integer + 1);
            }
            marked(state, LIST);
        }
        Value::Hash(fields) => push_hash(state, fields),
    }
}

unsafe fn push_hash(state: *mut ffi::lua_State, fields: &Fields<'_>) {
    ffi::lua_createtable(state, 0, slots(fields.len()));
    for (name, value) in fields {
        if *value != Value::Nil {
            push_text(state, name);
            push(state, value);
            ffi::lua_rawset(state, -3);
        }
    }
    marked(state, HASH);
}

unsafe fn push_text(state: *mut ffi::lua_State, bytes: &[u8]) {
    ffi::lua_pushlstring(state, bytes.as_ptr().cast(), bytes.len());
}

/// On Lua 5.1, 5.2 and LuaJIT numbers are doubles, and an integer may have 32 bits.
unsafe fn push_number(state: *mut ffi::lua_State, number: u64) {
    match ffi::lua_Integer::try_from(number) {
        Ok(number) => ffi::lua_pushinteger(state, number),
        Err(_) => ffi::lua_pushnumber(state, number as f64),
    }
}

unsafe fn marked(state: *mut ffi::lua_State, metatable: c_int) {
    ffi::lua_pushvalue(state, metatable);
    ffi::lua_setmetatable(state, -2);
}

/// A hint of Lua's: what is beyond it grows.
fn slots(count: usize) -> c_int {
    c_int::try_from(count).unwrap_or(0)
}
