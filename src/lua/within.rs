//! `net.within`: a function call with one deadline for all network calls in it.
//!
//! Called on Lua's C API, so that no hook and no error can separate the end of the call from the end of the block.
#![allow(unsafe_code)]

use super::{define, socket::seconds};
use crate::{
    deadline::{Block, begin_block, enter_block},
    lua::answer::argument,
};
use mlua::{Function, Lua, Table, ffi};
use std::ffi::c_int;

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // block_begin(seconds) -> end, time: the block that begins now, inside the one that runs, for `block_call`
    define(lua, core, "block_begin", |_, given: f64| {
        let Some(time) = seconds(given) else { return argument(1, "seconds must be 0 or more") };
        Ok(begin_block(time).map_or((f64::INFINITY, f64::INFINITY), Block::seconds))
    })?;
    // block_call(end, time, f, …) -> what f(…) returns; raises what it raises
    // SAFETY: runs protected; plain data only.
    let call: Function = unsafe { lua.exec_raw((), |state| ffi::lua_pushcclosure(state, call, 0)) }?;
    core.raw_set("block_call", call)
}

unsafe extern "C-unwind" fn call(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls this with a live state, and with two numbers and a function on its stack; the block is plain data.
    unsafe {
        let block = Block::from_seconds(ffi::lua_tonumber(state, 1), ffi::lua_tonumber(state, 2));
        let outer = enter_block(block);
        let status = ffi::lua_pcall(state, ffi::lua_gettop(state) - 3, ffi::LUA_MULTRET, 0);
        enter_block(outer);
        if status != ffi::LUA_OK {
            ffi::lua_error(state);
        }
        ffi::lua_gettop(state) - 2
    }
}
