//! caspian-net: network access for Lua that is complete, fast and safe by construction.
//!
//! The map of the house is ARCHITECTURE.md. Floors, from the ground up; a room opens doors only downward:
//!
//! - ground: [`error`], [`deadline`], [`address`], [`crypto`], [`panics`]: words that everyone shares
//! - floor 1: [`grants`], [`guard`] and the pure rooms of [`http`]: decisions, no I/O, no clock
//! - floor 2: [`resolve`], [`wire`], [`conn`], [`udp`], [`tls`], [`compat`], [`poll`], [`files`]: the world outside
//! - floor 3: [`dial`], [`client`]: grants × network × protocol
//! - floor 4: [`lua`], the only room that names mlua

pub mod address;
pub mod client;
pub mod codec;
pub mod compat;
pub mod conn;
#[doc(hidden)] // for the tests: the peers that they make use the same library
pub mod crypto;
pub mod deadline;
pub mod descriptors;
pub mod dial;
pub mod digest;
pub mod error;
pub mod files;
mod fork;
pub mod grants;
pub mod guard;
pub mod http;
pub mod listen;
pub mod log;
#[cfg(any(feature = "embedded", feature = "module"))]
pub mod lua;
pub mod names;
pub mod net;
pub mod pages;
pub mod panics;
pub mod poll;
pub mod reserve;
pub mod resolve;
pub mod server;
pub mod tls;
pub mod udp;
pub mod wire;
pub mod zone;

/// The module is a library of its own in its process: what Rust allocates in it goes through the reserve.
#[cfg(feature = "module")]
#[global_allocator]
static MEMORY: reserve::Reserve = reserve::Reserve;
