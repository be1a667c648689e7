//! Signals that the program handles while one of our calls waits.
//!
//! A signal handler may not run Lua. So the C handler of every host sets a hook with a count of 1, and the hook runs
//! the program's handler (luaposix) or raises (`lua`'s own Ctrl-C). Hooks run between the instructions of Lua, and a
//! blocked call has none. So a wait that wakes and finds such a hook runs a few instructions: the hook does its work,
//! and the wait goes on. An error of the hook ends the call, which raises it unchanged.
//!
//! Hooks of debuggers, profilers and coverage are left alone: they are the `debug` library's, or have no count of 1.
//!
//! Invariant: Lua raises by `longjmp`, which skips Rust's destructors, and a wait holds many. So all Lua runs protected
//! here, and [`raise`] is called where only plain data is held.
#![allow(unsafe_code)]
// State: the `unsafe fn`s below have one condition, that `state` is a live Lua state. Each leaves the stack balanced.

use mlua::{Function, Lua, ffi};
use std::{
    cell::Cell,
    ffi::{CStr, c_int, c_void},
    ptr,
};

thread_local! {
    /// Where hooks are looked for: the main thread of the Lua state that was opened last; null once it is closed.
    static MAIN: Cell<*mut ffi::lua_State> = const { Cell::new(ptr::null_mut()) };
    /// The address of the hook that `debug.sethook` sets; 0 if there is no such function.
    static LIBRARY: Cell<usize> = const { Cell::new(0) };
    /// A socket was closed while a call has it in its hands.
    static CLOSED: Cell<bool> = const { Cell::new(false) };
    /// A hook has raised, and no call has passed it on yet.
    static RAISED: Cell<bool> = const { Cell::new(false) };
}

/// Their addresses are keys of the registry: the thread in [`MAIN`], what [`run_hook`] calls, and what a hook has raised.
static KEYS: [u8; 3] = [0; 3];

fn key(index: usize) -> *const c_void {
    (&raw const KEYS).cast::<u8>().wrapping_add(index).cast()
}

const THREAD: usize = 0;
const STEP: usize = 1;
const VALUE: usize = 2;

/// Remembers the state whose hooks run while a call waits. [`forget`] is called before the state closes.
pub fn remember(lua: &Lua) -> mlua::Result<()> {
    let step: Function = lua.load("local n = 1 n = n + n return n").set_name("=wait").into_function()?;
    // SAFETY: runs protected and holds plain data only. The state stays alive until `forget`: the main thread by nature,
    // another one by the registry.
    unsafe {
        lua.exec_raw::<()>(step, |state| {
            ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, key(STEP));
            clear(state);
            RAISED.with(|raised| raised.set(false));
            LIBRARY.with(|library| library.set(library_hook(state)));
            main_thread(state);
            MAIN.with(|main| main.set(ffi::lua_tothread(state, -1)));
            ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, key(THREAD));
        })?;
    }
    crate::deadline::set_probe(wants_back);
    crate::descriptors::set_collector(collect);
    Ok(())
}

/// The state of [`remember`] is about to close: what a hook has raised in it goes with it.
pub fn forget() {
    let _ = MAIN.try_with(|main| main.set(ptr::null_mut()));
    let _ = RAISED.try_with(|raised| raised.set(false));
}

/// Pushes the main thread.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
unsafe fn main_thread(state: *mut ffi::lua_State) {
    // SAFETY: State; each pushes one value.
    unsafe {
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_MAINTHREAD as _);
    }
}

/// Pushes the thread that asks: Lua 5.1 does not tell which one is the main thread. If the module was loaded in a
/// coroutine, hooks of the main thread run after the wait.
#[cfg(feature = "lua51")]
unsafe fn main_thread(state: *mut ffi::lua_State) {
    // SAFETY: State; each pushes one value.
    unsafe {
        ffi::lua_pushthread(state);
    }
}

/// Pushes a thread of our own: LuaJIT's hooks are the same in all.
#[cfg(feature = "luajit")]
unsafe fn main_thread(state: *mut ffi::lua_State) {
    // SAFETY: State; each pushes one value.
    unsafe {
        ffi::lua_newthread(state);
    }
}

/// The address of the hook that `debug.sethook` sets. It takes one to see it: none of its own accord, for
/// `debug.gethook` tells strangers apart.
unsafe fn library_hook(state: *mut ffi::lua_State) -> usize {
    // SAFETY: State, in a protected call: what `debug` answers is checked before it is used, and only plain data is held.
    unsafe {
        let top = ffi::lua_gettop(state);
        let mut found = 0;
        ffi::lua_getfield(state, ffi::LUA_REGISTRYINDEX, c"_LOADED".as_ptr());
        if raw_field(state, c"debug") == ffi::LUA_TTABLE {
            let library = ffi::lua_gettop(state);
            match ffi::lua_gethook(state).map(|hook| hook as usize) {
                None => {
                    if raw_field(state, c"sethook") == ffi::LUA_TFUNCTION && ffi::lua_iscfunction(state, -1) != 0 {
                        let sethook = ffi::lua_gettop(state);
                        ffi::lua_pushvalue(state, sethook);
                        // Any function, and so large a count that it is never called.
                        ffi::lua_pushvalue(state, sethook);
                        ffi::lua_pushstring(state, c"".as_ptr());
                        ffi::lua_pushinteger(state, 1 << 30);
                        ffi::lua_call(state, 3, 0);
                        found = ffi::lua_gethook(state).map_or(0, |hook| hook as usize);
                        ffi::lua_call(state, 0, 0);
                    }
                }
                Some(hook) => {
                    ffi::lua_settop(state, library);
                    if raw_field(state, c"gethook") == ffi::LUA_TFUNCTION && ffi::lua_iscfunction(state, -1) != 0 {
                        ffi::lua_call(state, 0, 1);
                        // A stranger is told as the string "external hook".
                        found = if ffi::lua_type(state, -1) == ffi::LUA_TFUNCTION { hook } else { 0 };
                    }
                }
            }
        }
        ffi::lua_settop(state, top);
        found
    }
}

/// Pushes a field of the table on top, read raw; nil of anything else. Its type.
unsafe fn raw_field(state: *mut ffi::lua_State, name: &CStr) -> c_int {
    // SAFETY: State; what is on top is a table where it is read.
    unsafe {
        if ffi::lua_type(state, -1) != ffi::LUA_TTABLE {
            ffi::lua_pushnil(state);
            return ffi::LUA_TNIL;
        }
        ffi::lua_pushstring(state, name.as_ptr());
        ffi::lua_rawget(state, -2)
    }
}

/// Runs the hook that a signal's handler has set, if one has; true if the hook ends the wait.
fn wants_back() -> bool {
    let state = MAIN.with(Cell::get);
    // SAFETY: `forget` runs before the state is freed, so the pointer is live, and this is the state's thread, whose call
    // waits. What runs Lua is protected; Lua documents `lua_sethook` as safe even from a signal handler.
    unsafe {
        if RAISED.with(Cell::get) {
            return true;
        }
        if state.is_null() || !is_pending(state) {
            return false;
        }
        // A coroutine that has yielded can run nothing: the hook is taken for Ctrl-C's, the one that must not be lost.
        if ffi::lua_status(state) != ffi::LUA_OK {
            ffi::lua_sethook(state, None, 0, 0);
            return true;
        }
        let before = CLOSED.with(|closed| closed.replace(false));
        let done = protected(state, run_hook) == ffi::LUA_OK;
        let closed = CLOSED.with(|closed| closed.replace(before || closed.get()));
        if !done {
            keep(state);
        }
        closed || !done
    }
}

/// Takes the error on top, for [`raise`]. The first one stays.
unsafe fn keep(state: *mut ffi::lua_State) {
    // SAFETY: State; the key is there already, so that this takes no memory and cannot raise.
    unsafe {
        if RAISED.with(|raised| raised.replace(true)) {
            ffi::lua_settop(state, -2);
        } else {
            ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, key(VALUE));
        }
    }
}

/// True for a hook that is to run at the next instruction, and was not set by Lua code.
unsafe fn is_pending(state: *mut ffi::lua_State) -> bool {
    // SAFETY: State; these only read.
    unsafe {
        ffi::lua_gethookmask(state) & ffi::LUA_MASKCOUNT != 0
            && ffi::lua_gethookcount(state) == 1
            && ffi::lua_gethook(state).is_some_and(|hook| hook as usize != LIBRARY.with(Cell::get))
    }
}

/// Calls `function`; the error is on the stack if it fails.
#[cfg(any(feature = "lua51", feature = "luajit"))]
unsafe fn protected(state: *mut ffi::lua_State, function: ffi::lua_CFunction) -> c_int {
    // SAFETY: State; `function` is one of this file, which hold plain data only.
    unsafe {
        // Needs no room on the stack and no memory, either of which these Luas raise about.
        ffi::lua_cpcall(state, function, ptr::null_mut())
    }
}

/// Calls `function`; the error is on the stack if it fails.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
unsafe fn protected(state: *mut ffi::lua_State, function: ffi::lua_CFunction) -> c_int {
    // SAFETY: State; `function` is one of this file, which hold plain data only.
    unsafe {
        if ffi::lua_checkstack(state, 4) == 0 {
            return ffi::LUA_OK;
        }
        // A function without upvalues takes no memory.
        ffi::lua_pushcclosure(state, function, 0);
        ffi::lua_pcall(state, 0, 0, 0)
    }
}

unsafe extern "C-unwind" fn run_hook(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls this with a live state; no Rust value is held.
    unsafe {
        ffi::lua_settop(state, 0);
        ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, key(STEP));
        ffi::lua_call(state, 0, 0);
    }
    0
}

/// A socket that a call has in its hands was closed: if the hook of a wait did that, the wait is over.
pub fn closed_in_use() {
    CLOSED.with(|closed| closed.set(true));
}

/// Has Lua collect its garbage, and with it the sockets that nobody holds. How many bytes Lua has then; 0 where there is no Lua.
///
/// An error ends the call in whose midst this is, as it would end a script that asks for a collection: it is a finalizer's (up to Lua 5.3;
/// later ones only warn), or that of a signal's hook, which must not be lost. No hook runs in a finalizer; one for calls or returns does when
/// [`run_collector`] is called or returns, one for a count alone waits for the next look at it ([`wants_back`]).
fn collect() -> u64 {
    let state = MAIN.with(Cell::get);
    // SAFETY: as in `wants_back`.
    unsafe {
        if state.is_null() || ffi::lua_status(state) != ffi::LUA_OK {
            return 0;
        }
        if protected(state, run_collector) != ffi::LUA_OK {
            keep(state);
        }
        u64::try_from(ffi::lua_gc(state, ffi::LUA_GCCOUNT, 0)).unwrap_or(0).saturating_mul(1024)
    }
}

unsafe extern "C-unwind" fn run_collector(state: *mut ffi::lua_State) -> c_int {
    // What a weak table leads to these Luas keep for one collection more.
    let turns = if cfg!(any(feature = "lua51", feature = "luajit")) { 2 } else { 1 };
    for _ in 0..turns {
        // SAFETY: as in `run_hook`.
        unsafe { ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0) };
    }
    0
}

/// True if a hook has raised what [`raise`] will.
pub fn has_raised() -> bool {
    RAISED.with(Cell::get)
}

/// Raises what a hook has raised, if one has.
pub unsafe fn raise(state: *mut ffi::lua_State) {
    // SAFETY: the caller holds plain data only; the registry has the key.
    unsafe {
        if RAISED.with(|raised| raised.replace(false)) {
            ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, key(VALUE));
            clear(state);
            ffi::lua_error(state);
        }
    }
}

/// Nothing is to be raised; the registry keeps the key.
unsafe fn clear(state: *mut ffi::lua_State) {
    // SAFETY: State; the key is there after the first time, so that nothing is allocated.
    unsafe {
        ffi::lua_pushboolean(state, 0);
        ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, key(VALUE));
    }
}

/// The function, and what a hook has raised meanwhile.
pub fn relay(lua: &Lua, function: Function) -> mlua::Result<Function> {
    // SAFETY: as in `remember`.
    unsafe { lua.exec_raw(function, |state| ffi::lua_pushcclosure(state, relayed, 1)) }
}

unsafe extern "C-unwind" fn relayed(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls this with a live state; plain data only.
    unsafe {
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET);
        raise(state);
        ffi::lua_gettop(state)
    }
}
