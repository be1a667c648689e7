//! HTTP over connections: the loop that speaks it, from the gate to the last byte of the body, and what stands around that.
//!
//! [`Fetch`] is one fetch, in a `state` at a time; its `errand` is what it knows in all of them. Works in steps, without callbacks.
//! Every hop asks the grants again, and one deadline spans all hops. A connection in an unknown state is closed, never reused.

pub mod batch;
mod connector;
mod decision;
mod errand;
pub mod event_source;
mod fetch;
mod options;
pub mod pool;
mod reading;
mod retrying;
#[cfg(feature = "http2")]
pub mod shared;
mod state;
pub mod stream;
#[cfg(feature = "http2")]
mod together;
mod transaction;
pub mod upload;
pub mod websocket;

pub use fetch::{Fetch, Step, closed};
pub use options::{Http2, Options, Timings};
pub use reading::came_short;
#[cfg(feature = "http2")]
pub use together::first_answered;

const OP: &str = "fetch";
