//! Tells a forked child from its parent without a system call: a counter that the child's `fork` raises.
//!
//! A TLS connection, or one with a request under way, has state that two processes cannot share. Each stores the
//! [`generation`] of its process, and refuses to work in another.

use std::sync::{
    Once,
    atomic::{AtomicU64, Ordering},
};

static GENERATION: AtomicU64 = AtomicU64::new(0);
static FORKS: AtomicU64 = AtomicU64::new(0);
static WATCH: Once = Once::new();

/// This process's generation: differs from the parent's after a `fork`.
pub fn generation() -> u64 {
    WATCH.call_once(watch);
    GENERATION.load(Ordering::Relaxed)
}

/// How many children this process has forked since the first question.
pub fn forks() -> u64 {
    WATCH.call_once(watch);
    FORKS.load(Ordering::Relaxed)
}

extern "C" fn in_parent() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

#[allow(unsafe_code)]
fn watch() {
    // SAFETY: both are plain functions that live as long as the code does (the C library drops the handlers
    // of an unloaded library itself), and only touch an atomic, which is safe in a child of a threaded process.
    // A failure (out of memory) leaves the generation at zero: the guard is lost, nothing else.
    unsafe { libc::pthread_atfork(None, Some(in_parent), Some(in_child)) };
}
