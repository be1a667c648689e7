//! SIGPIPE, for programs of LuaSocket. LuaSocket ignores the signal for the whole process, and programs rely on that
//! wherever they write to a pipe. Our own sockets never raise it.
#![allow(unsafe_code)]

/// Ignores SIGPIPE, unless the program has a handler for it or ignores it already.
pub fn ignore() {
    // SAFETY: asks for the signal's action (zero is a valid place for the answer), and changes it only from the default to
    // "ignore", neither of which runs code.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_DFL {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
    }
}
