//! The memory of buffers: large pages under large ones, and zeros to read over.
//!
//! Fresh memory is given page by page, and of receiving a large body that is the dearest part: a few large pages cost
//! a fraction of many small ones.
#![allow(unsafe_code)]

use std::{
    alloc::{Layout, alloc_zeroed},
    ptr::NonNull,
};

/// Buffers from this size on are worth the advice, in bytes.
const WORTH: usize = 4 * 1024 * 1024;

/// Makes `buffer` `length` bytes long, with zeros. In a module built for size `Vec::resize` writes byte after byte, which
/// takes longer than to receive them; this copies.
pub fn lengthen(buffer: &mut Vec<u8>, length: usize) {
    static ZEROS: [u8; 8192] = [0; 8192];
    buffer.reserve(length.saturating_sub(buffer.len()));
    while let Some(zeros) = ZEROS.get(..length.saturating_sub(buffer.len()).min(ZEROS.len())).filter(|z| !z.is_empty())
    {
        buffer.extend_from_slice(zeros);
    }
}

/// So many zeros, which cost nothing before they are touched: fresh memory is zeros already. With large pages where that is
/// worth it; nothing if there is no memory.
pub fn zeroed(length: usize) -> Option<Vec<u8>> {
    let layout = Layout::array::<u8>(length).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout's size is not zero.
    let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
    // SAFETY: `start` is an allocation of the global allocator's for `length` bytes at the alignment of `u8`, and each of
    // them is initialized: it is zero.
    let mut buffer = unsafe { Vec::from_raw_parts(start.as_ptr(), length, length) };
    if length >= WORTH {
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
        for (from, to) in [(0, 0), (0, 1), (5, 3), (5, 5), (3, 8192), (3, 8195), (1, 100_000)] {
            let mut buffer = vec![7; from];
            lengthen(&mut buffer, to);
            let mut expected = vec![7; from];
            expected.resize(to.max(from), 0);
            assert_eq!(buffer, expected);
        }
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
