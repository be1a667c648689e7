//! Wrappers of our C functions for LuaJIT, which return the number of results in a whole register.
//!
//! A C function returns an `int`. The ABI leaves the upper half of the register undefined, and a compiler does not
//! clear other bits there. LuaJIT for x86-64 reads the whole register (`BC_FUNCC` in vm_x64.dasc), and then takes its
//! results from a wrong place: a segmentation fault in the caller, in some builds. Most of these functions belong to
//! mlua, so the linker routes the creation of every closure through this file (`--wrap` in build.rs).
#![allow(unsafe_code)]

use mlua::ffi::{lua_CFunction, lua_State};
use std::{
    ffi::{c_int, c_void},
    mem, ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

/// So many functions, at most, are given an entry; others are called as they are. There are some two hundred.
const MOST: usize = 1024;

/// By entry: the function that is called.
static FUNCTIONS: [AtomicPtr<()>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];

type Entry = unsafe extern "C-unwind" fn(*mut lua_State) -> u64;

unsafe extern "C-unwind" fn entry<const AT: usize>(state: *mut lua_State) -> u64 {
    let function = FUNCTIONS[AT].load(Ordering::Relaxed);
    // SAFETY: only `wide` makes Lua call an entry, after it has put a function there, which stays. No Rust value is held.
    let function = unsafe { mem::transmute::<*mut (), lua_CFunction>(function) };
    // SAFETY: Lua calls it as it would have called the function itself.
    u64::from(unsafe { function(state) }.cast_unsigned())
}

macro_rules! entries {
    ($($base:expr)*) => { [$([
        entry::<{ $base }>, entry::<{ $base + 1 }>, entry::<{ $base + 2 }>, entry::<{ $base + 3 }>,
        entry::<{ $base + 4 }>, entry::<{ $base + 5 }>, entry::<{ $base + 6 }>, entry::<{ $base + 7 }>,
        entry::<{ $base + 8 }>, entry::<{ $base + 9 }>, entry::<{ $base + 10 }>, entry::<{ $base + 11 }>,
        entry::<{ $base + 12 }>, entry::<{ $base + 13 }>, entry::<{ $base + 14 }>, entry::<{ $base + 15 }>,
    ]),*] };
}

static ENTRIES: [[Entry; 16]; MOST / 16] = entries![
    0 16 32 48 64 80 96 112 128 144 160 176 192 208 224 240
    256 272 288 304 320 336 352 368 384 400 416 432 448 464 480 496
    512 528 544 560 576 592 608 624 640 656 672 688 704 720 736 752
    768 784 800 816 832 848 864 880 896 912 928 944 960 976 992 1008
];

/// The entry that calls `function`: the same one each time.
fn wide(function: lua_CFunction) -> lua_CFunction {
    let wanted = function as *mut ();
    let first = (wanted as usize >> 4) % MOST;
    for at in (first..MOST).chain(0..first) {
        let (Some(place), Some(entry)) = (FUNCTIONS.get(at), ENTRIES.get(at / 16).and_then(|some| some.get(at % 16)))
        else {
            break;
        };
        // Only the first closure of a function has to write.
        let there = match place.load(Ordering::Relaxed) {
            there if there.is_null() => place
                .compare_exchange(ptr::null_mut(), wanted, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|there| there, |_| wanted),
            there => there,
        };
        if there == wanted {
            // SAFETY: an `int` is the lower half of what the entry answers.
            return unsafe { mem::transmute::<Entry, lua_CFunction>(*entry) };
        }
    }
    function
}

/// What LuaJIT's `require` calls, which finds it by name and not by a closure of the binding's.
///
/// # Safety
/// `state` is a live Lua state, as Lua hands it to a C function.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_caspian_net(state: *mut lua_State) -> u64 {
    // SAFETY: the caller's.
    u64::from(unsafe { mlua::Lua::entrypoint1(state, super::module) }.cast_unsigned())
}

unsafe extern "C-unwind" {
    fn __real_lua_pushcclosure(state: *mut lua_State, function: lua_CFunction, upvalues: c_int);
    fn __real_lua_cpcall(state: *mut lua_State, function: lua_CFunction, data: *mut c_void) -> c_int;
}

/// What the binding calls as `lua_pushcclosure`.
///
/// # Safety
/// As of `lua_pushcclosure`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __wrap_lua_pushcclosure(
    state: *mut lua_State,
    function: lua_CFunction,
    upvalues: c_int,
) {
    // SAFETY: the caller's.
    unsafe { __real_lua_pushcclosure(state, wide(function), upvalues) }
}

/// What the binding calls as `lua_cpcall`.
///
/// # Safety
/// As of `lua_cpcall`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __wrap_lua_cpcall(
    state: *mut lua_State,
    function: lua_CFunction,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the caller's.
    unsafe { __real_lua_cpcall(state, wide(function), data) }
}
