//! Arguments and results on Lua's stack, for the files that speak its C API (`userdata` has their invariants).
#![allow(unsafe_code)]

use super::{
    answer::{NO_MEMORY, unstash},
    signals,
    turns::Buffered,
};
use mlua::{Lua, ffi};
use std::{
    ffi::{CStr, c_int, c_void},
    mem::MaybeUninit,
    ptr, slice,
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

/// Finalizers run before a string is made, and may do anything to what it is made of; later Luas run them when it stands.
const EARLY: bool = cfg!(any(feature = "lua51", feature = "lua52", feature = "luajit"));
/// What is copied twice there: a protected call costs more than this.
const SMALL: usize = 1024;

/// Pushes a copy of `bytes`, the front of `from`'s buffer. What Lua raises leaves `from` as it was. Afterwards `from` may be finalized, or have
/// been in other hands: [`Buffered::taken`] tells.
///
/// # Safety
/// State, with room for four values; a block owns `from`, and the turn of the front is not over.
pub unsafe fn push_front<T: Buffered + ?Sized>(state: *mut ffi::lua_State, from: *const T, bytes: *const [u8]) {
    let (start, length) = (bytes.cast::<u8>(), bytes.len());
    // SAFETY: the caller's condition. Nothing that has a destructor is held; a pinned buffer stays, and so does a pinned value.
    unsafe {
        if !EARLY {
            ffi::lua_pushlstring(state, start.cast(), length);
        } else if length <= SMALL {
            let mut copy = MaybeUninit::<[u8; SMALL]>::uninit();
            ptr::copy_nonoverlapping(start, copy.as_mut_ptr().cast(), length);
            ffi::lua_pushlstring(state, copy.as_ptr().cast(), length);
        } else {
            let mut act: Act<'_> = &mut |state| _ = ffi::lua_pushlstring(state, start.cast(), length);
            prime(state, 1, &mut act);
            // Not before that, which may raise, nor in the call, which begins with the hook of a debugger.
            (*from).pin(true);
            let made = call(state);
            (*from).pin(false);
            if !made {
                // No such turn: what was closed meanwhile is closed, and nothing taken.
                (*from).taken(u64::MAX, 0);
                ffi::lua_error(state);
            }
        }
    }
}

/// What [`protected`] runs. Holds plain data where it calls Lua (`userdata`: Jumps).
pub type Act<'a> = &'a mut dyn FnMut(*mut ffi::lua_State);

/// Its address is the registry's key of the C function that [`protected`] calls.
static KEY: u8 = 0;

fn key() -> *const c_void {
    (&raw const KEY).cast()
}

/// Makes ready what [`protected`] needs, which raises nothing itself.
pub fn prepare(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: runs protected; plain data only.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushcclosure(state, run, 0);
            ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, key());
        })
    }
}

unsafe extern "C-unwind" fn run(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: only `protected` calls it.
    unsafe {
        let act = ffi::lua_touserdata(state, 2).cast::<Act<'_>>();
        (*act)(state);
        ffi::lua_gettop(state) - 2
    }
}

/// Calls `act` protected: it finds the value of `index`, which does not count from the top, at 1, and what it leaves above 2 is left on the
/// stack. False if Lua has raised in it: then the error is on the stack. Raises nothing else, but for what [`prime`] may.
///
/// # Safety
/// State, with room for three values and the results.
pub unsafe fn protected(state: *mut ffi::lua_State, index: c_int, mut act: Act<'_>) -> bool {
    // SAFETY: the caller's condition; `act` lives as long as the call.
    unsafe {
        prime(state, index, &mut act);
        call(state)
    }
}

/// Pushes what [`call`] calls. LuaJIT may raise that it has no memory for a light userdata.
///
/// # Safety
/// As of [`protected`]; `act` lives until `call`.
unsafe fn prime(state: *mut ffi::lua_State, index: c_int, act: &mut Act<'_>) {
    // SAFETY: the caller's condition.
    unsafe {
        ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, key());
        ffi::lua_pushvalue(state, index);
        ffi::lua_pushlightuserdata(state, (&raw mut *act).cast());
    }
}

/// See [`protected`].
///
/// # Safety
/// Nothing was pushed since [`prime`].
unsafe fn call(state: *mut ffi::lua_State) -> bool {
    // SAFETY: the caller's condition.
    unsafe { ffi::lua_pcall(state, 2, ffi::LUA_MULTRET, 0) == ffi::LUA_OK }
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

/// Leaves `results` values that say why a C function failed, as all of the core: calls what stands at `why`
/// ([`stashed`](super::answer::stashed)). Or raises what a signal's hook has raised, and nobody is told of the failure.
///
/// # Safety
/// State; the caller's frames hold plain data only (Jumps).
pub unsafe fn tell(state: *mut ffi::lua_State, why: c_int, results: c_int) -> c_int {
    if signals::has_raised() {
        drop(unstash());
    }
    // SAFETY: the caller's condition.
    unsafe {
        signals::raise(state);
        ffi::lua_pushvalue(state, why);
        ffi::lua_call(state, 0, results);
    }
    results
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
