//! Responses of IMAP, names of mailboxes, and parsed messages, for the front.

use super::values::made;
use crate::{
    error::{Error, Kind},
    lua::{
        answer::{Answer, argument},
        define,
        sockets::peek,
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
        found.map_err(Into::into)
    })?;
    // imap_parse(response, most) -> what it says, how many values that is: `most` of them, or it is too large
    define(lua, core, "imap_parse", |lua, (response, most): (LuaString, f64)| {
        let response = response.as_bytes();
        let (value, count) = imap::parse(&response, most as usize).map_err(told)?;
        pair(lua, made(lua, &value), count)
    })?;
    // imap_fetched(socket, longest, most) -> the messages that the responses of FETCH tell of which have arrived, how many values each
    // has, how many bytes their lines had; false where what comes next is no such response, or no ordinary one
    define(lua, core, "imap_fetched", |lua, (socket, longest, most): (Value, f64, f64)| {
        let socket = peek(lua, &socket)?;
        let mut made = Ok(MultiValue::new());
        socket.stream("recv_line", |conn| {
            let found = imap::fetched(conn.buffered(), longest as usize, most as usize);
            let length = found.length;
            made = match length {
                0 => false.into_lua_multi(lua),
                _ => values(lua, found),
            };
            // What Lua has no memory for stays.
            if made.is_ok() {
                conn.consume(length);
            }
            Ok(())
        })?;
        made.map_err(Into::into)
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
        decoded.map_err(Into::into)
    })?;
    // imap_expand(set, most) -> its numbers, how many: `most` of them, or it is too large
    define(lua, core, "imap_expand", |lua, (set, most): (LuaString, f64)| {
        let numbers = imap::expand(&set.as_bytes(), most as usize).map_err(told)?;
        let count = numbers.len();
        pair(lua, made(lua, &Said::Numbers(numbers)), count)
    })?;
    // mail_parse(bytes) -> the message
    define(lua, core, "mail_parse", |lua, bytes: LuaString| {
        let mut value = Ok(Value::Nil);
        match parsed::parse(&bytes.as_bytes(), &mut |message| value = made(lua, &message)) {
            Ok(()) => value.map_err(Into::into),
            Err(parsed::TooMany) => {
                let message =
                    format!("the message has more than {} parts, header fields or addresses", parsed::MAX_ITEMS);
                Err(Error::new(Kind::TooLarge, message).into())
            }
        }
    })
}

fn values(lua: &Lua, found: imap::Fetched<'_>) -> mlua::Result<MultiValue> {
    let messages = made(lua, &Said::List(found.messages))?;
    let counts = made(lua, &Said::Numbers(found.counts))?;
    (messages, counts, found.length as f64).into_lua_multi(lua)
}

fn told(fault: imap::Fault) -> Error {
    match fault {
        imap::Fault::Malformed(why) => Error::new(Kind::Protocol, format!("malformed response: {why}")),
        imap::Fault::TooMany => Error::new(Kind::TooLarge, "the response has more values than it may"),
    }
}

fn pair(lua: &Lua, value: mlua::Result<Value>, items: usize) -> Answer<MultiValue> {
    value.and_then(|value| (value, items as f64).into_lua_multi(lua)).map_err(Into::into)
}
