//! The rules of the drop-in, without Lua: the behaviour of LuaSocket and LuaSec where ours differs.
//!
//! [`bsd`] is the BSD interface, one step at a time; [`mime`] the filters of `mime.core`; [`tls`] contexts, connections
//! and certificates as LuaSec has them. The objects of scripts are in `lua::compat`.

pub mod bsd;
pub mod mime;
pub mod tls;
