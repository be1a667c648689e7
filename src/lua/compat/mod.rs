//! The native part of the drop-in for LuaSocket and LuaSec: what `lua/caspian/net/compat/` builds on.

mod mime;

use mlua::{Lua, Table, Value};

/// Adds the table `compat` to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    let compat = lua.create_table()?;
    compat.raw_set("mime", mime::functions(lua)?)?;
    // Seconds of a clock that never jumps.
    let start = crate::deadline::now();
    compat.raw_set(
        "now",
        lua.create_function(move |_, ()| Ok(crate::deadline::now().duration_since(start).as_secs_f64()))?,
    )?;
    // 32 hex digits that nobody can guess; nil if the system has no random bytes.
    compat.raw_set(
        "token",
        lua.create_function(|lua, ()| {
            let mut bytes = [0; 16];
            if getrandom::fill(&mut bytes).is_err() {
                return Ok(Value::Nil);
            }
            Ok(Value::String(lua.create_string(data_encoding::HEXLOWER.encode(&bytes))?))
        })?,
    )?;
    core.raw_set("compat", compat)
}
