//! caspian-net: network access for Lua that is complete, fast and safe by construction.
//!
//! A program that embeds Lua by [`mlua`](https://docs.rs/mlua) gives its scripts a network with exactly the granted
//! hosts:
//!
//! ```toml
//! caspian-net = { version = "0.1", default-features = false, features = ["full", "lua54", "vendored"] }
//! mlua = { version = "0.12", features = ["lua54", "vendored"] }
//! ```
//!
//! ```
//! # #[cfg(feature = "embedded")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use caspian_net::{Grants, lua};
//!
//! let state = mlua::Lua::new();
//! let net = lua::launch(&state, Grants::parse(&["--allow-net=api.example.com:443", "--deny-net=private"])?)?;
//! state.globals().set("net", net)?; // or to one chunk only, as an argument or in its environment
//! # Ok(()) }
//! # #[cfg(not(feature = "embedded"))] fn main() {}
//! ```
//!
//! A network error of a script comes back as an [`Error`] with its [`Kind`], host, port and URL: [`lua::call`] returns
//! it, and [`lua::raised`] finds it in an `mlua::Error`. `examples/plugin.rs` gives a plugin one API through a guard.
//! The pages in `docs/` describe the Lua side.
//!
//! Features: one TLS provider, `full` (aws-lc-rs) or `small` (ring), and one Lua of `lua51`, `lua52`, `lua53`, `lua54`,
//! `lua55`, `luajit`; with `vendored` its source is built in; without it the system's is linked; with `module` (the
//! native module `caspian_net.so`) it is the Lua of the loading program. `embedded`, in the default, is the launcher's:
//! `lua54` and `vendored`. `front` is for C: the Lua files inside the module. The `mlua` beside this crate must be of
//! the version above, since its types are in the functions below. Luau has a different C interface and is not
//! supported.
//!
//! Only the items on this page are the interface of the crate.

// The other modules are public for the launcher, tests and benches. Their map is ARCHITECTURE.md. Floors, from the ground up; a room opens
// doors only downward:
//
// - ground: `error`, `deadline`, `address`, `panics`: words that everyone shares
// - floor 1: `grants`, `guard` and the pure rooms of `http`: decisions, no I/O, no clock
// - floor 2: `resolve`, `wire`, `conn`, `udp`, `tls`, `compat`, `poll`, `files`: the world outside
// - floor 3: `dial`, `client`: grants × network × protocol
// - floor 4: `lua`, the only room that names mlua

#![deny(missing_docs)]

#[doc(hidden)]
pub mod address;
#[doc(hidden)]
pub mod allocation;
mod buffer;
#[doc(hidden)]
pub mod client;
#[doc(hidden)]
pub mod codec;
#[doc(hidden)]
pub mod compat;
#[doc(hidden)]
pub mod conn;
#[doc(hidden)] // for the tests: the peers that they make use the same library
pub mod crypto;
#[doc(hidden)]
pub mod dates;
#[doc(hidden)]
pub mod deadline;
#[doc(hidden)]
pub mod descriptors;
#[doc(hidden)]
pub mod dial;
#[doc(hidden)]
pub mod digest;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod files;
mod fork;
#[doc(hidden)]
pub mod grants;
#[doc(hidden)]
pub mod guard;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod listen;
#[doc(hidden)]
pub mod log;
#[cfg(feature = "lua")]
pub mod lua;
#[cfg(feature = "mail")]
#[doc(hidden)]
pub mod mail;
#[doc(hidden)]
pub mod names;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod panics;
#[doc(hidden)]
pub mod poll;
#[doc(hidden)]
pub mod reserve;
#[doc(hidden)]
pub mod resolve;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod tls;
#[doc(hidden)]
pub mod udp;
#[doc(hidden)]
pub mod wire;
#[doc(hidden)]
pub mod zone;

pub use error::{Error, Fields, Kind};
pub use grants::{Grants, UsageError};

/// The module is a library of its own in its process: what Rust allocates in it goes through the reserve.
#[cfg(feature = "module")]
#[global_allocator]
static MEMORY: reserve::Reserve = reserve::Reserve;
