//! A reserve of memory for allocations that cannot fail.
//!
//! Allocations that can fail are made in `allocation`. But libraries, and the errors themselves, make small allocations that
//! cannot: if one fails, Rust ends the process. So a block is reserved, and freed when a small allocation fails, which
//! is then tried again. While the block is gone, `allocation` refuses larger requests; the block is reserved again as soon
//! as memory is available. The module and the launcher allocate through it; a Rust host has its own allocator.

#![allow(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr::null_mut,
    sync::atomic::{
        AtomicBool, AtomicPtr,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// What is kept back.
const KEPT: Layout = Layout::new::<[u8; 1 << 20]>();

/// What counts as small, in bytes: libraries ask for tables and records of up to 100 KiB.
const SMALL: usize = 128 * 1024;

/// The block; null before the first [`keep`], and once it was given up.
static BLOCK: AtomicPtr<u8> = AtomicPtr::new(null_mut());
/// There was a block: where it is not now, it was given up.
static KEEPS: AtomicBool = AtomicBool::new(false);

/// The system's allocator, with the reserve behind it.
pub struct Reserve;

/// Keeps the block back. True if it is there.
pub fn keep() -> bool {
    if BLOCK.load(Relaxed).is_null() {
        // SAFETY: the layout's size is not zero.
        let block = unsafe { System.alloc(KEPT) };
        if block.is_null() {
            return false;
        }
        if BLOCK.compare_exchange(null_mut(), block, Release, Relaxed).is_err() {
            // SAFETY: another thread was faster; this block is nobody's.
            unsafe { System.dealloc(block, KEPT) };
        }
        KEEPS.store(true, Relaxed);
    }
    true
}

/// False while the reserve is given up and cannot be had back: then nothing large may be had.
pub fn is_whole() -> bool {
    !BLOCK.load(Relaxed).is_null() || !KEEPS.load(Relaxed) || keep()
}

/// Gives the block up, if it is there.
pub fn give_up() {
    let block = BLOCK.swap(null_mut(), Acquire);
    if !block.is_null() {
        // SAFETY: `keep` has made it with this layout, and the swap has left nobody else with it.
        unsafe { System.dealloc(block, KEPT) };
    }
}

fn again(size: usize, ask: impl Fn() -> *mut u8) -> *mut u8 {
    if size > SMALL {
        return null_mut();
    }
    give_up();
    ask()
}

// SAFETY: each function is the system allocator's of that name, asked a second time where it refused: a refusal has changed
// nothing.
unsafe impl GlobalAlloc for Reserve {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        let ask = || unsafe { System.alloc(layout) };
        let made = ask();
        if made.is_null() { again(layout.size(), ask) } else { made }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        let ask = || unsafe { System.alloc_zeroed(layout) };
        let made = ask();
        if made.is_null() { again(layout.size(), ask) } else { made }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is the same, and a refused block is as it was.
        let ask = || unsafe { System.realloc(block, layout, size) };
        let made = ask();
        if made.is_null() { again(size, ask) } else { made }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_comes_and_goes() {
        assert!(keep() && is_whole());
        give_up();
        assert!(BLOCK.load(Relaxed).is_null());
        assert!(is_whole() && !BLOCK.load(Relaxed).is_null());
        // What is refused because it is large costs no reserve; what is small does.
        assert!(again(SMALL + 1, null_mut).is_null() && !BLOCK.load(Relaxed).is_null());
        assert!(again(SMALL, null_mut).is_null() && BLOCK.load(Relaxed).is_null());
        assert!(keep() && !BLOCK.load(Relaxed).is_null());
    }

    #[test]
    fn blocks_are_the_systems() {
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: the layout is not empty, and what is made is freed with the layout it has then.
        unsafe {
            let block = Reserve.alloc_zeroed(layout);
            assert_eq!(*block.add(99), 0);
            *block = 7;
            let block = Reserve.realloc(block, layout, 5000);
            assert_eq!(*block, 7);
            Reserve.dealloc(block, Layout::from_size_align(5000, 8).unwrap());
            assert!(Reserve.alloc(Layout::from_size_align(isize::MAX as usize - 100, 8).unwrap()).is_null());
        }
    }
}
