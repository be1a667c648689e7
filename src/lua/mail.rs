//! What mail computes, for the front: SASL.

use super::{
    answer::{Answer, argument},
    define,
};
use crate::mail::sasl::{self, Scram};
use mlua::{Lua, LuaString, Table};
use std::num::NonZeroU32;

/// Adds the functions to the core; without them the front knows that this build has no mail.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // sasl_prepared(text) -> the form that SCRAM hashes
    define(lua, core, "sasl_prepared", |lua, text: LuaString| {
        let Ok(text) = text.to_str() else { return argument(1, "is not valid UTF-8") };
        bytes(lua, sasl::prepared(&text).or_else(|why| argument(1, why))?.as_bytes())
    })?;
    // sasl_cram(password, challenge) -> the answer's digest
    define(lua, core, "sasl_cram", |_, (password, challenge): (LuaString, LuaString)| {
        Ok(sasl::cram(&password.as_bytes(), &challenge.as_bytes()))
    })?;
    // sasl_scram(hash, password, salt, rounds, message) -> proof, signature
    type Said = (LuaString, LuaString, LuaString, u32, LuaString);
    define(lua, core, "sasl_scram", |lua, (hash, password, salt, rounds, message): Said| {
        let (Some(scram), Some(rounds)) = (Scram::named(&hash.as_bytes()), NonZeroU32::new(rounds)) else {
            return argument(0, "no such SCRAM");
        };
        let (proof, signature) = scram.answer(&password.as_bytes(), &salt.as_bytes(), rounds, &message.as_bytes());
        Ok((bytes(lua, &proof)?, bytes(lua, &signature)?))
    })
}

fn bytes(lua: &Lua, text: &[u8]) -> Answer<LuaString> {
    lua.create_string(text).or_else(|e| argument(0, e))
}
