//! The allocator of the state: a failed allocation is Lua's error "not enough memory" (mlua's own allocator ends the
//! process). Lua gets nothing of the reserve for Rust.

#![allow(unsafe_code, reason = "Lua's allocator is a C interface")]

use caspian_net::reserve;
use mlua::{Lua, ffi};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    ffi::c_void,
    ptr::null_mut,
};

/// Hands the state an allocator that answers NULL where there is no memory.
pub fn refusing(lua: &Lua) -> mlua::Result<()> {
    // With a limit, whatever it is, mlua expects that memory is refused and protects every call that asks for some.
    lua.set_memory_limit(isize::MAX as usize)?;
    reserve::keep();
    // SAFETY: `allocate` frees and moves the blocks that mlua's allocator has made: both are the system's, with one layout.
    unsafe { lua.exec_raw::<()>((), |state| ffi::lua_setallocf(state, allocate, null_mut())) }
}

/// `lua_Alloc` of the manual.
unsafe extern "C" fn allocate(_: *mut c_void, block: *mut c_void, old: usize, new: usize) -> *mut c_void {
    let layout = |size| Layout::from_size_align(size, ffi::SYS_MIN_ALIGN);
    // Without a block `old` is the kind of what is made.
    let old = if block.is_null() { 0 } else { old };
    let (Ok(before), Ok(after)) = (layout(old), layout(new)) else { return null_mut() };
    // SAFETY: a block that Lua has is one that this function, or mlua's before it, made with `old` bytes at this
    // alignment; no layout that is asked for is empty.
    unsafe {
        if new == 0 {
            if old > 0 {
                System.dealloc(block.cast(), before);
            }
            return null_mut();
        }
        // To shrink must not fail.
        if new > old && !reserve::is_whole() {
            return null_mut();
        }
        let made = if old == 0 { System.alloc(after) } else { System.realloc(block.cast(), before, new) };
        if made.is_null() && new > old {
            // Rust has to say so, and needs memory for that.
            reserve::give_up();
        }
        made.cast()
    }
}
