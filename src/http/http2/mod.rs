//! HTTP/2 (RFC 9113) without I/O: the crate `h2` has frames, HPACK, streams and windows, and is polled after bytes were
//! moved in and out of a [`pipe`]. No runtime, no thread and no wakers: the code that moves bytes polls.
//!
//! [`serve`] is a server's side of a connection. [`session`] is a client's, [`answer`] one request on it; `census`
//! counts the frames that `h2` does not, `meter` does so for a server. Both see the heads that `frames` finds.

pub mod answer;
mod body;
mod census;
mod client_head;
mod frames;
mod head;
mod meter;
pub mod pipe;
pub mod serve;
pub mod session;
#[cfg(test)]
mod tests;

pub use h2::Reason;
