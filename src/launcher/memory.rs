//! The memory of the state: where there is none, Lua is told, and says "not enough memory". (mlua's own allocator ends the
//! process.) The last of it is kept for Rust, which cannot do without what is small: an error has to be said, too.

#![allow(unsafe_code, reason = "Lua's allocator is a C interface")]

use mlua::{Lua, ffi};
use std::{
    alloc::{Layout, alloc, dealloc, realloc},
    ffi::c_void,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

/// What is kept back while there is memory, in bytes. Null once it was let go.
static RESERVE: AtomicPtr<u8> = AtomicPtr::new(null_mut());
const RESERVED: Layout = Layout::new::<[u8; 1 << 20]>();

/// Hands the state an allocator that answers NULL where there is no memory.
pub fn refusing(lua: &Lua) -> mlua::Result<()> {
    // With a limit, whatever it is, mlua expects that memory is refused and protects every call that asks for some.
    lua.set_memory_limit(isize::MAX as usize)?;
    keep();
    // SAFETY: `allocate` frees and moves the blocks that mlua's allocator has made: both ask Rust's with the same layout.
    unsafe { lua.exec_raw::<()>((), |state| ffi::lua_setallocf(state, allocate, null_mut())) }
}

/// Is there a reserve? Makes one if there is not.
fn keep() -> bool {
    if RESERVE.load(Relaxed).is_null() {
        // SAFETY: the layout's size is not zero.
        RESERVE.store(unsafe { alloc(RESERVED) }, Relaxed);
    }
    !RESERVE.load(Relaxed).is_null()
}

/// Nothing for Lua; what was kept back is Rust's now.
#[cold]
fn refuse() -> *mut c_void {
    let reserve = RESERVE.swap(null_mut(), Relaxed);
    if !reserve.is_null() {
        // SAFETY: `keep` has made it with this layout, and the swap has left nobody else with it.
        unsafe { dealloc(reserve, RESERVED) };
    }
    null_mut()
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
                dealloc(block.cast(), before);
            }
            return null_mut();
        }
        // Lua takes nothing of the last memory. To shrink must not fail.
        if new > old && !keep() {
            return refuse();
        }
        let made = if old == 0 { alloc(after) } else { realloc(block.cast(), before, new) };
        if made.is_null() { refuse() } else { made.cast() }
    }
}
