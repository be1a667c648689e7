//! A panic is a defect of ours, and none of them may end the host: it is caught where Lua calls us, in our threads and
//! in our destructors, and becomes an error that names the line. Nothing is printed on standard error.
//!
//! With the feature `panics`, which is for tests only, named points of the code panic on request; without it they do
//! nothing.

use crate::error::{Error, Result};
use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

thread_local! {
    /// How many [`quietly`] are under way.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Puts the hook in place that keeps quiet about what is caught. It belongs to this library's copy of Rust's runtime:
/// where the module is loaded, other libraries of the process keep theirs.
pub fn hush() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
                return before(info);
            }
            let place = info.location().map(|at| {
                // Where a dependency was built is nobody's business.
                let file = at.file();
                let file = if file.starts_with('/') { file.rsplit('/').next().unwrap_or_default() } else { file };
                format!(" at {file}:{}", at.line())
            });
            let _ = PLACE.try_with(|last| last.replace(place.unwrap_or_default()));
        }));
    });
}

/// Runs `act`; nothing if it panics. What it worked on stays as the panic left it: locks are open, and what was under way
/// is lost.
pub fn quietly<T>(act: impl FnOnce() -> T) -> Option<T> {
    let deeper = |by: i32| DEPTH.try_with(|depth| depth.set(depth.get().wrapping_add_signed(by)));
    let _ = deeper(1);
    let done = catch_unwind(AssertUnwindSafe(act));
    let _ = deeper(-1);
    done.ok()
}

/// The same; a panic is an error.
pub fn caught<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    quietly(act).unwrap_or_else(|| {
        let place = PLACE.try_with(RefCell::take).unwrap_or_default();
        Err(Error::internal(format_args!("a panic{place} was caught")))
    })
}

/// The same, and goes on: for threads, whose callers see that no answer came, and for destructors, since a panic that
/// leaves one in the middle of another ends the process.
pub fn contained(act: impl FnOnce()) {
    let _ = quietly(act);
}

/// A stripped library has no names for the frames of a panic that nobody catches, and the code of Rust's hook that would
/// look them up (DWARF, zlib, demangling) is 0.2 MB. It finds no frame here, and prints the message alone.
///
/// Only a cdylib may have this. Within it the name binds, as hidden, the one copy of Rust's runtime that is there; in a
/// static library or an rlib it would bind a whole program, or meet the unwinder's own.
#[cfg(all(feature = "stripped", target_os = "linux"))]
#[allow(unsafe_code, reason = "the name that Rust's runtime calls")]
mod frames {
    // Not exported: whatever else is in the process keeps its own.
    std::arch::global_asm!(".hidden _Unwind_Backtrace");

    // SAFETY: the signature is that of the Itanium ABI; nothing is called, and 5 is its `_URC_END_OF_STACK`.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Backtrace(_: *const std::ffi::c_void, _: *mut std::ffi::c_void) -> std::ffi::c_int {
        5
    }
}

#[cfg(all(feature = "panics", not(debug_assertions)))]
compile_error!("the feature `panics` is for tests only");

/// A point that tests can have panic, by name.
#[cfg(not(feature = "panics"))]
#[inline(always)]
pub fn failpoint(_: &str) {}

/// Panics if [`arm`] has named this point, once.
#[cfg(feature = "panics")]
#[track_caller]
pub fn failpoint(name: &str) {
    let mut armed = ARMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if armed.as_deref() == Some(name) {
        *armed = None;
        drop(armed);
        panic!("{name}");
    }
}

/// Has the point of that name panic when it is passed next; `None` for none. Answers the one that was still waiting.
#[cfg(feature = "panics")]
pub fn arm(name: Option<String>) -> Option<String> {
    std::mem::replace(&mut *ARMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner), name)
}

#[cfg(feature = "panics")]
static ARMED: std::sync::Mutex<Option<String>> = std::sync::Mutex::new(None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_names_the_line() {
        hush();
        let line = line!() + 1;
        let err = caught(|| -> Result<()> { panic!("a secret") }).unwrap_err();
        assert_eq!(
            err.to_string(),
            Error::internal(format_args!("a panic at src/panics.rs:{line} was caught")).to_string()
        );
        // Nor does one in a destructor, while another is under way, end the process.
        struct Late;
        impl Drop for Late {
            fn drop(&mut self) {
                contained(|| panic!("late"));
            }
        }
        contained(|| {
            let _late = Late;
            panic!("first");
        });
        assert_eq!(caught(|| Ok(1)).unwrap(), 1);
    }
}
