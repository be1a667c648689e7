//! Responses of IMAP, names of mailboxes, and parsed messages, for the front.

use super::values::made;
use crate::{
    error::{Error, Kind},
    lua::{
        answer::{Answer, argument},
        define,
    },
    mail::{imap, parsed, value::Value as Said},
};
use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // imap_literal(line, first) -> the length of the literal that follows a line; false where none does
    define(lua, core, "imap_literal", |lua, (line, first): (LuaString, bool)| {
        let found = match imap::literal(&line.as_bytes(), first) {
            // Beyond 2^53 a double is not exact, and nobody has so much.
            Some(length) => (length.min(1 << 53) as f64).into_lua_multi(lua),
            None => false.into_lua_multi(lua),
        };
        found.or_else(|e| argument(0, e))
    })?;
    // imap_parse(response) -> what it says, how many values it has
    define(lua, core, "imap_parse", |lua, response: LuaString| {
        let (value, items) =
            imap::parse(&response.as_bytes()).map(|(value, items)| (made(lua, &value), items)).map_err(malformed)?;
        pair(lua, value, items)
    })?;
    // imap_encode(name) -> the name on the line; imap_decode(line) -> the name, false where it is no modified UTF-7
    define(lua, core, "imap_encode", |_, name: LuaString| match name.to_str() {
        Ok(name) => Ok(imap::encode_mailbox(&name)),
        Err(_) => argument(0, "is not valid UTF-8"),
    })?;
    define(lua, core, "imap_decode", |lua, name: LuaString| {
        let decoded = match imap::decode_mailbox(&name.as_bytes()) {
            Some(name) => name.into_lua_multi(lua),
            None => false.into_lua_multi(lua),
        };
        decoded.or_else(|e| argument(0, e))
    })?;
    // imap_expand(set) -> its numbers
    define(lua, core, "imap_expand", |lua, set: LuaString| {
        let numbers = imap::expand(&set.as_bytes()).map_err(malformed)?;
        made(lua, &Said::Numbers(numbers)).or_else(|e| argument(0, e))
    })?;
    // mail_parse(bytes) -> the message
    define(lua, core, "mail_parse", |lua, bytes: LuaString| {
        let mut value = Ok(Value::Nil);
        match parsed::parse(&bytes.as_bytes(), &mut |message| value = made(lua, &message)) {
            Ok(()) => value.or_else(|e| argument(0, e)),
            Err(parsed::TooMany) => {
                let words =
                    format!("the message has more than {} parts, header fields or addresses", parsed::MAX_ITEMS);
                Err(Error::new(Kind::TooLarge, words).into())
            }
        }
    })
}

fn malformed(imap::Malformed(why): imap::Malformed) -> Error {
    Error::new(Kind::Protocol, format!("malformed response: {why}"))
}

fn pair(lua: &Lua, value: mlua::Result<Value>, items: usize) -> Answer<MultiValue> {
    value.and_then(|value| (value, items as f64).into_lua_multi(lua)).or_else(|e| argument(0, e))
}
