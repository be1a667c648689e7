//! The memory of buffers: large pages under large ones, and zeros to read over.
//!
//! The kernel provides fresh memory page by page, and that is the largest cost of receiving a large body: a few large
//! pages cost a fraction of many small ones.
//!
//! Memory whose size a peer or a script chooses is allocated here: a failure is an error. (Elsewhere Rust ends the
//! process when an allocation fails.)
#![allow(unsafe_code)]

use crate::{
    error::{Error, Kind, Result},
    reserve::is_whole,
};
use std::{
    alloc::{Layout, alloc_zeroed},
    collections::TryReserveError,
    ptr::NonNull,
};

/// Buffers from this size on are worth the advice, in bytes.
const WORTH: usize = 4 * 1024 * 1024;

/// What a large piece of memory must leave for the small ones, which Rust cannot do without, in bytes.
const SPARE: usize = 1024 * 1024;

/// What is let through while the reserve is gone, in bytes.
const LITTLE: usize = 4096;

/// Makes `buffer` `length` bytes long, with zeros. In a module built for size `Vec::resize` writes byte after byte, which
/// takes longer than to receive them; this copies.
/// Errors: `too_large` where there is no memory for that.
pub fn lengthen(buffer: &mut Vec<u8>, length: usize) -> Result<()> {
    /// Few, for they are part of the module.
    static ZEROS: [u8; 256] = [0; 256];
    /// What is copied at once stays in the nearest cache.
    const PIECE: usize = 8192;
    let start = buffer.len();
    reserve(buffer, length.saturating_sub(start))?;
    while buffer.len() < length {
        let (zeros, missing) = (buffer.len() - start, length - buffer.len());
        match ZEROS.get(..missing.min(ZEROS.len())).filter(|_| zeros < ZEROS.len()) {
            Some(first) => buffer.extend_from_slice(first),
            // Those that are there already: twice as many with each turn.
            None => buffer.extend_from_within(start..start + zeros.min(PIECE).min(missing)),
        }
    }
    Ok(())
}

/// Makes room for `more` bytes.
pub fn reserve(buffer: &mut Vec<u8>, more: usize) -> Result<()> {
    if more > LITTLE && !is_whole() {
        return Err(no_memory(buffer.len().saturating_add(more)));
    }
    let exactly = |buffer: &mut Vec<u8>| -> std::result::Result<(), TryReserveError> {
        // A buffer that grows to the end in small steps leaves as much as a large one that is made at once: Lua has an allocator of its own.
        let needed = buffer.len().saturating_add(more);
        buffer.try_reserve_exact(more.saturating_add(SPARE))?;
        buffer.shrink_to(needed);
        Ok(())
    };
    // Twice as much as there was, or where that is too much, what is needed.
    let reserved = buffer.try_reserve(more).or_else(|_| exactly(buffer));
    if reserved.is_ok() && (more < SPARE || has(SPARE)) {
        return Ok(());
    }
    Err(no_memory(buffer.len().saturating_add(more)))
}

/// Adds `bytes` at the end.
pub fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    reserve(buffer, bytes.len())?;
    buffer.extend_from_slice(bytes);
    Ok(())
}

/// A copy of `bytes`.
pub fn copied(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = room(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Nothing yet, with room for `length` bytes.
pub fn room(length: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    if length > LITTLE && !is_whole() {
        return Err(no_memory(length));
    }
    match buffer.try_reserve_exact(length) {
        Ok(()) if length < SPARE || has(SPARE) => Ok(buffer),
        _ => Err(no_memory(length)),
    }
}

/// Is there memory for so many bytes now? It may be gone the next moment.
pub fn has(length: usize) -> bool {
    is_whole() && Vec::<u8>::new().try_reserve_exact(length).is_ok()
}

pub fn no_memory(length: usize) -> Error {
    Error::new(Kind::TooLarge, format!("no memory for {length} bytes"))
}

/// So many zeros, which cost nothing before they are touched: fresh memory is zeros already. With large pages where that is
/// worth it; nothing if there is no memory.
pub fn zeroed(length: usize) -> Option<Vec<u8>> {
    let layout = Layout::array::<u8>(length).ok().filter(|layout| layout.size() > 0 && is_whole())?;
    // SAFETY: the layout's size is not zero.
    let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
    // SAFETY: `start` is an allocation of the global allocator's for `length` bytes at the alignment of `u8`, and each of
    // them is initialized: it is zero.
    let mut buffer = unsafe { Vec::from_raw_parts(start.as_ptr(), length, length) };
    if length >= WORTH {
        if !has(SPARE) {
            return None;
        }
        advise(&mut buffer);
    }
    Some(buffer)
}

/// Advises large pages for all that `buffer` has room for. Best effort: where there are none, small ones serve.
#[cfg(target_os = "linux")]
fn advise(buffer: &mut Vec<u8>) {
    // Whole pages only, and no page anywhere is larger than this but the large ones themselves.
    const PAGE: usize = 64 * 1024;
    let spare = buffer.as_mut_ptr().align_offset(PAGE);
    let Some(length) = buffer.capacity().checked_sub(spare).map(|n| n / PAGE * PAGE).filter(|n| *n > 0) else { return };
    // SAFETY: the range lies within the vector's own allocation, since `spare + length` is at most its capacity; the
    // advice changes how pages are made, never what is in them. A refusal changes nothing.
    unsafe { libc::madvise(buffer.as_mut_ptr().add(spare).cast(), length, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_buffer: &mut Vec<u8>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengthened_with_zeros() {
        for (from, to) in [
            (0, 0),
            (0, 1),
            (5, 3),
            (5, 5),
            (9, 264),
            (9, 265),
            (9, 266),
            (0, 700),
            (3, 8195),
            (3, 16643),
            (1, 100_000),
        ] {
            let mut buffer = vec![7; from];
            lengthen(&mut buffer, to).unwrap();
            let mut expected = vec![7; from];
            expected.resize(to.max(from), 0);
            assert_eq!(buffer, expected);
        }
    }

    #[test]
    fn what_there_is_no_memory_for_is_an_error() {
        let mut buffer = vec![7; 3];
        for error in
            [lengthen(&mut buffer, isize::MAX as usize).unwrap_err(), reserve(&mut buffer, usize::MAX).unwrap_err()]
        {
            assert!(error.is(Kind::TooLarge), "{error}");
        }
        append(&mut buffer, b"abc").unwrap();
        assert_eq!(copied(&buffer).unwrap(), b"\x07\x07\x07abc");
    }

    #[test]
    fn zeros_of_every_size() {
        for size in [1, 4096, WORTH - 1, WORTH, WORTH + 12345] {
            let zeros = zeroed(size).unwrap();
            assert_eq!((zeros.len(), zeros.iter().any(|byte| *byte != 0)), (size, false));
        }
        assert!(zeroed(0).is_none() && zeroed(usize::MAX).is_none() && zeroed(isize::MAX as usize).is_none());
    }

    #[test]
    fn advice_changes_no_byte() {
        for size in [0, 1, 4096, 65535, WORTH, WORTH + 12345] {
            let mut buffer: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let before = buffer.clone();
            advise(&mut buffer);
            assert_eq!(buffer, before);
        }
    }
}
