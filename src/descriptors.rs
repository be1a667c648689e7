//! The process has no descriptor left: unreferenced values that Lua has not collected yet may hold some.

use std::{cell::Cell, io};

thread_local! {
    // Set by whoever embeds us: closes what nobody can reach any more.
    static COLLECTOR: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Installs what closes this thread's unreachable sockets and files.
pub fn set_collector(collect: fn()) {
    COLLECTOR.with(|c| c.set(Some(collect)));
}

/// Makes something with a descriptor; once more after a collection, where the process (EMFILE) or the system (ENFILE) has
/// none left.
pub fn spare<T, E: Into<io::Error>>(mut make: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    match make().map_err(Into::into) {
        Err(e) if is_out(&e) => {
            collect();
            make().map_err(Into::into)
        }
        made => made,
    }
}

/// Closes what nobody can reach any more.
pub fn collect() {
    if let Some(collect) = COLLECTOR.with(Cell::get) {
        collect();
    }
}

/// True of an error that says that there is no descriptor left.
pub fn is_out(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
