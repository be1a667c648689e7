//! A long Lua string, written in its final memory.
//!
//! Lua's API makes strings by copying. For a body of 256 MiB that doubles the memory, and fresh memory is the largest
//! cost of receiving a large body. So the bytes are read into a block of the state's own allocator, and when Lua then
//! asks that allocator for the memory of the string, it is handed this block, with the bytes in their place already.
//!
//! Nothing here depends on how Lua lays out its strings: it is tried first, on small ones. If Lua uses its memory
//! differently, the string is copied, as always.
//!
//! Lua 5.1, LuaJIT and Lua 5.2 collect garbage before they ask for the memory of a string, and a finalizer that makes one of
//! the same size there would be handed the block: they copy, too. From 5.3 on they collect after it.
#![allow(unsafe_code)]

use crate::allocation;
use mlua::{Lua, LuaString, ffi};
use std::{
    cell::Cell,
    ffi::c_void,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

/// Strings from this size on are worth it, in bytes.
pub const WORTH: usize = 1024 * 1024;

/// The bytes of strings that are tried: long enough to have a block of their own in every Lua.
const SAMPLE: usize = 64;

/// What Lua tells its allocator of a new string.
const KIND: usize = ffi::LUA_TSTRING as usize;

/// True of a Lua that asks for the memory of a string first of all, when nothing else can take it.
const ASKS_FIRST: bool = !cfg!(any(feature = "lua51", feature = "luajit", feature = "lua52"));

/// Makes them for one state.
pub struct Maker<'a> {
    lua: &'a Lua,
    home: Home,
    head: usize,
}

/// A string that is being written. Its block belongs to the Lua state's allocator.
pub struct LongString<'a> {
    lua: &'a Lua,
    home: Home,
    block: NonNull<u8>,
    /// Bytes of the block before those of the string.
    head: usize,
    length: usize,
    /// So many bytes of the string are initialized.
    ready: usize,
}

/// An allocator, as the state has it.
#[derive(Clone, Copy)]
struct Home {
    alloc: ffi::lua_Alloc,
    own: *mut c_void,
}

/// Stands before the allocator for one call.
struct Desk {
    home: Home,
    /// What is handed out, once, for the first block of this size: that of the string ([`ASKS_FIRST`]).
    block: *mut c_void,
    size: usize,
    taken: bool,
}

/// Takes the desk away, whatever happened: an error of Lua's, or a panic of the binding's.
struct Closing {
    home: Home,
    state: Cell<*mut ffi::lua_State>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.state.get().is_null() {
            // SAFETY: the state is alive, and this is the allocator that it had.
            unsafe { ffi::lua_setallocf(self.state.get(), self.home.alloc, self.home.own) };
        }
    }
}

unsafe extern "C" fn serve(desk: *mut c_void, old: *mut c_void, old_size: usize, size: usize) -> *mut c_void {
    // SAFETY: `pushed` installs this function with a `Desk` of its own frame, and takes it away before that frame ends.
    // Lua calls its allocator from one thread, and the home's is called as Lua would.
    unsafe {
        let desk = desk.cast::<Desk>();
        let Desk { home, block, size: wanted, taken } = *desk;
        if old.is_null() && size == wanted && !taken {
            (*desk).taken = true;
            return block;
        }
        (home.alloc)(home.own, old, old_size, size)
    }
}

/// Makes a string of the bytes at `from`, with `desk` before the allocator.
///
/// # Safety
/// `from` is good for reading `length` bytes.
unsafe fn pushed(lua: &Lua, desk: &mut Desk, from: *const u8, length: usize) -> mlua::Result<LuaString> {
    let closing = Closing { home: desk.home, state: Cell::new(ptr::null_mut()) };
    let desk: *mut Desk = desk;
    // SAFETY: runs protected and holds plain data only. An error of Lua's jumps out of the closure with the desk still
    // before the allocator, so `closing` takes it away; until then `desk` lives in the caller's frame.
    let made = unsafe {
        lua.exec_raw::<LuaString>((), |running| {
            closing.state.set(running);
            ffi::lua_setallocf(running, serve, desk.cast());
            ffi::lua_pushlstring(running, from.cast(), length);
        })
    };
    drop(closing);
    made
}

fn home(lua: &Lua) -> Option<Home> {
    let mut found = None;
    // SAFETY: only reads.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            let mut own = ptr::null_mut();
            let alloc = ffi::lua_getallocf(state, &mut own);
            found = Some(Home { alloc, own });
        })
        .ok()?;
    }
    found
}

/// How many bytes of a string's block come before its own; one zero follows them. Nothing if strings of this Lua cannot
/// be written in their place: it is tried on small ones, of all lengths that a rounding could tell apart.
fn measure(lua: &Lua, home: Home) -> Option<usize> {
    (16..64).step_by(8).find(|head| (SAMPLE..SAMPLE + 8).all(|length| stays(lua, home, *head, length)))
}

/// Writes a small string in its place: is it there, and whole?
fn stays(lua: &Lua, home: Home, head: usize, length: usize) -> bool {
    // Another each time: Luas that keep equal strings once would make none.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(mut sample) = LongString::in_block(lua, home, head, length) else { return false };
    let place = sample.window(0, length);
    place.fill(b'\xfe');
    for (byte, count) in place.iter_mut().zip(COUNT.fetch_add(1, Ordering::Relaxed).to_ne_bytes()) {
        *byte = count;
    }
    let (start, bytes) = (place.as_ptr(), place.to_vec());
    sample.finish().is_ok_and(|made| made.as_bytes().as_ptr() == start && *made.as_bytes() == bytes)
}

impl<'a> Maker<'a> {
    /// Nothing where Lua cannot be handed memory.
    pub fn new(lua: &'a Lua) -> Option<Maker<'a>> {
        if !ASKS_FIRST {
            return None;
        }
        let home = home(lua)?;
        Some(Maker { lua, home, head: measure(lua, home)? })
    }

    /// Room for a string of `length` bytes; nothing if there is no memory.
    pub fn room(&self, length: usize) -> Option<LongString<'a>> {
        // The allocator of a state may end the process where there is no memory: ask one that does not.
        let enough = allocation::has(length.checked_add(self.head + 1)?);
        enough.then(|| LongString::in_block(self.lua, self.home, self.head, length)).flatten()
    }
}

impl<'a> LongString<'a> {
    fn in_block(lua: &'a Lua, home: Home, head: usize, length: usize) -> Option<LongString<'a>> {
        let size = length.checked_add(head + 1)?;
        // SAFETY: as Lua asks for a new block (`lua_Alloc` in its manual).
        let block = unsafe { (home.alloc)(home.own, ptr::null_mut(), KIND, size) };
        let block = NonNull::new(block.cast())?;
        Some(LongString { lua, home, block, head, length, ready: 0 })
    }

    /// The string from byte `from` on: at most `most` bytes of it, to write to.
    pub fn window(&mut self, from: usize, most: usize) -> &mut [u8] {
        let from = from.min(self.length);
        let end = from.saturating_add(most).min(self.length);
        let start = self.block.as_ptr().wrapping_add(self.head);
        if let Some(fresh) = end.checked_sub(self.ready) {
            // SAFETY: `ready + fresh` is at most `length`, and the block has that many bytes after `head`.
            unsafe { start.add(self.ready).write_bytes(0, fresh) };
            self.ready = end;
        }
        // SAFETY: the bytes up to `ready` are initialized, `end` is no more, and nobody else knows of the block.
        unsafe { slice::from_raw_parts_mut(start.add(from), end - from) }
    }

    /// The string. Fails with what Lua raises meanwhile: no memory, or a finalizer's error.
    pub fn finish(mut self) -> mlua::Result<LuaString> {
        self.window(self.ready, self.length);
        let block = self.block.as_ptr();
        let mut desk = Desk { home: self.home, block: block.cast(), size: self.size(), taken: false };
        // SAFETY: all bytes are initialized. Where Lua takes the block it copies each byte to where it is, which
        // compilers demand of every `memcpy`.
        let made = unsafe { pushed(self.lua, &mut desk, block.wrapping_add(self.head), self.length) };
        if desk.taken {
            // Lua's from now on.
            std::mem::forget(self);
        }
        made
    }

    fn size(&self) -> usize {
        self.head + self.length + 1
    }
}

impl Drop for LongString<'_> {
    fn drop(&mut self) {
        // SAFETY: the block came from this allocator with this size, and Lua has not taken it.
        unsafe { (self.home.alloc)(self.home.own, self.block.as_ptr().cast(), self.size(), 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_string_stays_where_it_was_written() {
        let lua = Lua::new();
        lua.gc_stop();
        for length in [WORTH, WORTH + 1, 3 * WORTH + 7] {
            let before = lua.used_memory();
            let mut long = Maker::new(&lua).unwrap().room(length).unwrap();
            let (mut filled, mut start) = (0, ptr::null());
            while filled < length {
                let window = long.window(filled, 1000);
                assert!(window.iter().all(|byte| *byte == 0) && window.len() == 1000.min(length - filled));
                window.iter_mut().zip(filled..).for_each(|(byte, at)| *byte = at as u8);
                start = if filled == 0 { window.as_ptr() } else { start };
                filled += window.len();
            }
            let made = long.finish().unwrap();
            assert_eq!(made.as_bytes().as_ptr(), start);
            assert!(made.as_bytes().iter().zip(0..length).all(|(byte, at)| *byte == at as u8));
            assert_eq!(made.as_bytes().len(), length);
            // Lua counts it as its own, and frees it.
            assert!(lua.used_memory() >= before + length);
            drop(made);
            lua.gc_collect().unwrap();
            assert!(lua.used_memory() < before + length / 2);
        }
    }

    #[test]
    fn what_is_not_finished_is_given_back() {
        let lua = Lua::new();
        drop(Maker::new(&lua).unwrap().room(WORTH).unwrap());
        lua.gc_collect().unwrap();
        let before = lua.used_memory();
        for written in [0, 1, WORTH] {
            let mut long = Maker::new(&lua).unwrap().room(WORTH).unwrap();
            assert_eq!(long.window(0, written).len(), written);
            assert_eq!(long.window(WORTH, 1).len(), 0);
            drop(long);
        }
        lua.gc_collect().unwrap();
        assert!(lua.used_memory() <= before + 4096, "{} after {before}", lua.used_memory());
        let maker = Maker::new(&lua).unwrap();
        assert!(maker.room(usize::MAX).is_none() && maker.room(isize::MAX as usize).is_none());
    }

    #[test]
    fn finalizers_that_make_long_strings_meanwhile() {
        let lua = Lua::new();
        let make = lua
            .create_function(|lua, byte: u8| {
                let mut long = Maker::new(lua).unwrap().room(WORTH).unwrap();
                long.window(0, WORTH).fill(byte);
                long.finish()
            })
            .unwrap();
        lua.globals().set("make", make).unwrap();
        lua.load(
            r#"
            local seen = 0
            collectgarbage("setpause", 0)
            for i = 1, 200 do
              setmetatable({}, { __gc = function() assert(make(i % 256) == string.char(i % 256):rep(1048576)); seen = seen + 1 end })
              assert(make((i + 1) % 256) == string.char((i + 1) % 256):rep(1048576))
            end
            collectgarbage() collectgarbage()
            assert(seen == 200)
            "#,
        )
        .exec()
        .unwrap();
    }
}
