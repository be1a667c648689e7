//! The process has no descriptor left: unreferenced values that Lua has not collected yet may hold some.

use std::{cell::Cell, io};

thread_local! {
    // Set by whoever embeds us: see `collect`.
    static COLLECTOR: Cell<Option<fn() -> u64>> = const { Cell::new(None) };
}

/// Installs what closes this thread's unreachable sockets and files, and returns the embedder's heap in bytes.
pub fn set_collector(collect: fn() -> u64) {
    COLLECTOR.with(|c| c.set(Some(collect)));
}

/// Makes something with a descriptor; once more after a collection, where the process (EMFILE) or the system (ENFILE) has
/// none left.
pub fn spare<T, E: Into<io::Error>>(mut make: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    spare_if(is_out, || make().map_err(Into::into))
}

/// The same where the error has another form: `out` is true of those that say that there is no descriptor left.
pub fn spare_if<T, E>(out: impl Fn(&E) -> bool, mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    match make() {
        Err(e) if out(&e) => {
            collect();
            make()
        }
        made => made,
    }
}

/// Closes what nobody can reach any more. How many bytes of memory the embedder manages then, as far as it tells.
pub fn collect() -> u64 {
    COLLECTOR.with(Cell::get).map_or(0, |collect| collect())
}

/// True of an error that says that there is no descriptor left.
pub fn is_out(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
