//! Results of the pure half of mail as Lua values, in one protected call: a mailbox has thousands of envelopes.
//!
//! The frames that call Lua borrow the `Value` and own nothing, so that a Lua error (no memory), which leaves them by a
//! jump, leaks nothing.
#![allow(unsafe_code)]
// State: the `unsafe fn`s below have one condition, that `state` is a live Lua state in a protected call, with the tables of `LIST`, `HASH` and `NAMES` (the
// last two or nil) at these indices.

use crate::{
    lua::{
        kinds,
        stack::{self, push_bytes},
    },
    mail::value::Value,
};
use mlua::{Lua, ffi};
use std::ffi::c_int;

/// The metatables of lists and hashes, and the names that were made already.
const LIST: c_int = 1;
const HASH: c_int = 2;
const NAMES: c_int = 3;

/// What one value takes on Lua's stack while it is made: itself, a key and an element.
const SLOTS: c_int = 4;

/// Makes Lua's value: lists and hashes have the front's metatables. Nothing is `false` in a list, and no field of a hash.
pub fn made(lua: &Lua, value: &Value<'_>) -> mlua::Result<mlua::Value> {
    let (list, hash) = (kinds::array(lua)?, kinds::hashes(lua));
    let names = match value {
        Value::List(values) if values.len() > 1 => Some(lua.create_table()?),
        _ => None,
    };
    let mut names_known = names.is_some().then_some(Names::NONE);
    // SAFETY: `push` leaves one value above the three tables, which are taken away; it runs protected.
    unsafe {
        lua.exec_raw((list, hash, names), |state| {
            Maker { state, names: names_known.as_mut() }.push(value);
            ffi::lua_replace(state, LIST);
            ffi::lua_settop(state, 1);
        })
    }
}

/// Names that stand in the table [`NAMES`], each at the index of its slot: a list of messages has a few names many times, and to make a
/// string of Lua's anew takes longer than to look it up. A name is known by where it stands: all of `value` stays where it is meanwhile.
struct Names([Option<(*const u8, usize)>; NAMES_KEPT]);

impl Names {
    const NONE: Names = Names([None; NAMES_KEPT]);
}

const NAMES_KEPT: usize = 64;

struct Maker<'n> {
    state: *mut ffi::lua_State,
    names: Option<&'n mut Names>,
}

impl Maker<'_> {
    unsafe fn push(&mut self, value: &Value<'_>) {
        // SAFETY: State; the table of the level is below what is pushed. `value` is borrowed, so that a jump drops nothing.
        unsafe {
            let state = self.state;
            stack::room(state, SLOTS);
            match value {
                Value::Nil => ffi::lua_pushboolean(state, 0),
                Value::True => ffi::lua_pushboolean(state, 1),
                Value::Number(number) => push_number(state, *number),
                Value::Seconds(seconds) => stack::push_integer(state, *seconds),
                Value::Text(bytes) => push_bytes(state, bytes),
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
                        self.push(value);
                        ffi::lua_rawseti(state, -2, at as ffi::lua_Integer + 1);
                    }
                    marked(state, LIST);
                }
                // It stands in hashes alone.
                Value::Same(_) => ffi::lua_pushboolean(state, 0),
                Value::Hash(fields) => {
                    ffi::lua_createtable(state, 0, slots(fields.len()));
                    for (name, value) in fields {
                        if let Value::Same(before) = value {
                            self.name(name);
                            self.name(before.as_bytes());
                            ffi::lua_rawget(state, -3);
                            ffi::lua_rawset(state, -3);
                        } else if *value != Value::Nil {
                            self.name(name);
                            self.push(value);
                            ffi::lua_rawset(state, -3);
                        }
                    }
                    marked(state, HASH);
                }
            }
        }
    }

    unsafe fn name(&mut self, name: &[u8]) {
        // SAFETY: State; slot `index` of NAMES holds the name that `known` says.
        unsafe {
            let Some(Names(known)) = &mut self.names else { return push_bytes(self.state, name) };
            let at = (name.as_ptr() as usize / 4 + name.len()) % NAMES_KEPT;
            let index = at as ffi::lua_Integer + 1;
            let here = Some((name.as_ptr(), name.len()));
            match known.get_mut(at) {
                Some(place) if *place == here => _ = ffi::lua_rawgeti(self.state, NAMES, index),
                Some(place) => {
                    push_bytes(self.state, name);
                    ffi::lua_pushvalue(self.state, -1);
                    ffi::lua_rawseti(self.state, NAMES, index);
                    *place = here;
                }
                None => push_bytes(self.state, name),
            }
        }
    }
}

unsafe fn push_number(state: *mut ffi::lua_State, number: u64) {
    // SAFETY: State.
    unsafe {
        match i64::try_from(number) {
            Ok(number) => stack::push_integer(state, number),
            Err(_) => ffi::lua_pushnumber(state, number as f64),
        }
    }
}

/// There is no metatable for hashes before there is a front.
unsafe fn marked(state: *mut ffi::lua_State, metatable: c_int) {
    // SAFETY: State; the value below is a table, and `metatable` the index of one or of nil.
    unsafe {
        ffi::lua_pushvalue(state, metatable);
        ffi::lua_setmetatable(state, -2);
    }
}

/// A hint of Lua's: what is beyond it grows.
fn slots(count: usize) -> c_int {
    c_int::try_from(count).unwrap_or(0)
}
