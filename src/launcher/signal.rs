//! Ctrl-C and broken pipes. The first Ctrl-C ends the wait or the loop that the script is in, as a Lua error; the
//! second ends the process. Between scripts (at the REPL's prompt) it only interrupts the read.

#![allow(unsafe_code, reason = "signal handlers and Lua's hook are C interfaces")]

use caspian_net::deadline;
use mlua::{Lua, ffi};
use std::{
    ffi::c_int,
    ptr::null_mut,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering::SeqCst},
};

/// The main thread of the one Lua state, null before [`watch`].
static MAIN: AtomicPtr<ffi::lua_State> = AtomicPtr::new(null_mut());
/// A script is running, so there is something to interrupt.
static RUNNING: AtomicBool = AtomicBool::new(false);
/// Ctrl-C came, and nothing has been done about it.
static SEEN: AtomicBool = AtomicBool::new(false);

/// Broken pipes end the process quietly, as of any filter (`caspian-net … | head`); Rust's start-up ignores the signal.
/// Sockets do not raise it: they send with `MSG_NOSIGNAL`.
pub fn quiet_pipes() {
    // SAFETY: restores the default action before any thread exists.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Installs the Ctrl-C handler for this state. The state must live as long as the process runs Lua.
pub fn watch(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: only reads the state's pointer. Nothing runs Lua yet but us, so it is the main thread's.
    unsafe { lua.exec_raw::<()>((), |state| MAIN.store(state, SeqCst))? };
    // SAFETY: `action` is fully initialised (zero is a valid sigaction: no flags, so that Ctrl-C ends a blocking read
    // with EINTR) and the handler does only what is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_interrupt as *const () as libc::sighandler_t;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGINT, &action, null_mut());
    }
    Ok(())
}

/// A script starts: from here on Ctrl-C interrupts it. One that came a moment before was meant for it, too.
pub fn begin() {
    RUNNING.store(true, SeqCst);
    let main = MAIN.load(SeqCst);
    if SEEN.load(SeqCst) && !main.is_null() {
        deadline::interrupt();
        // Not at the next instruction, which is the launcher's: it calls the script protected.
        // SAFETY: the state lives, and we are on its thread, outside any hook.
        unsafe { ffi::lua_sethook(main, Some(stop), ffi::LUA_MASKCOUNT, 100) };
    }
}

/// A prompt is shown: what was interrupted is over.
pub fn forget() {
    SEEN.store(false, SeqCst);
    deadline::take_interrupt();
}

/// The script ended; true if Ctrl-C came meanwhile.
pub fn finish() -> bool {
    RUNNING.store(false, SeqCst);
    let main = MAIN.load(SeqCst);
    if !main.is_null() {
        // SAFETY: the state lives, and we are on its thread, outside any hook.
        unsafe { ffi::lua_sethook(main, None, 0, 0) };
    }
    deadline::take_interrupt();
    SEEN.swap(false, SeqCst)
}

/// No more scripts: Ctrl-C ends the process again, also one whose finalisers do not end.
pub fn release() {
    MAIN.store(null_mut(), SeqCst);
    // SAFETY: restores the default action.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
    }
}

extern "C" fn on_interrupt(_: c_int) {
    let again = SEEN.swap(true, SeqCst);
    deadline::interrupt();
    if !RUNNING.load(SeqCst) {
        return;
    }
    // SAFETY: signal and raise are async-signal-safe; lua_sethook is documented as callable from a handler, and MAIN is a
    // live state while RUNNING is set.
    unsafe {
        if again {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            libc::raise(libc::SIGINT);
        }
        // At the next instruction of a Lua function, never at a call: mlua's own calls are not the place to raise.
        ffi::lua_sethook(MAIN.load(SeqCst), Some(stop), ffi::LUA_MASKCOUNT, 1);
    }
}

/// Set by the handler only when it is needed: a standing count hook would make every loop pay (1.7 times the time of a
/// tight one). So a loop inside a coroutine, which has hooks of its own, is ended by the second Ctrl-C.
unsafe extern "C-unwind" fn stop(state: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: called by Lua with a valid state, from an instruction that may raise; no Rust value is alive here.
    unsafe {
        ffi::lua_sethook(state, None, 0, 0);
        // One Ctrl-C, one error: if a wait has ended with it, the front is about to raise that.
        if deadline::take_interrupt() && RUNNING.load(SeqCst) {
            ffi::lua_pushliteral(state, c"interrupted");
            ffi::lua_error(state);
        }
    }
}
