//! The rules of the drop-in, without Lua: what LuaSocket and LuaSec do where this library does otherwise.
//!
//! [`bsd`] is the BSD interface, one step at a time; [`mime`] the filters of `mime.core`; [`tls`] contexts, connections and
//! certificates as LuaSec has them. The objects that a script sees are in `lua::compat`.

pub mod bsd;
pub mod mime;
pub mod tls;
