//! HTTP/2 (RFC 9113) without I/O: the crate `h2` has frames, HPACK, streams and windows, and is driven by polling it after bytes were
//! moved in and out of a [`pipe`]. No runtime and no thread; nobody is woken, since whoever moves bytes polls.

mod head;
mod meter;
pub mod pipe;
pub mod serve;

pub use h2::Reason;
