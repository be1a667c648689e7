//! What values say of themselves: arrays and hashes that we give carry metatables of the front, and `kind` names every value
//! of ours. No metamethod is asked: a metatable is looked at, never called.

use super::{
    answer::{Answer, argument},
    raw,
    socket::Class,
};
use mlua::{IntoLua, Lua, Table, Value};

/// The names under which the front's tables are kept: the metatables of arrays and of hashes, and the kinds of values by
/// metatable.
const ARRAY: &str = "caspian.net.array";
const HASH: &str = "caspian.net.hash";
const KINDS: &str = "caspian.net.kinds";

/// Remembers the front's tables.
pub fn set(lua: &Lua, array: Table, hash: Table, kinds: Table) -> mlua::Result<()> {
    lua.set_named_registry_value(ARRAY, array)?;
    lua.set_named_registry_value(HASH, hash)?;
    lua.set_named_registry_value(KINDS, kinds)
}

fn named(lua: &Lua, name: &str) -> Option<Table> {
    lua.named_registry_value::<Option<Table>>(name).ok().flatten()
}

/// The metatable of arrays.
pub fn array(lua: &Lua) -> Option<Table> {
    named(lua, ARRAY)
}

/// A metatable for the hashes of one document, which a script may replace by its own: what it does to this one, no other
/// document sees.
pub fn hash_of_document(lua: &Lua) -> mlua::Result<Option<Table>> {
    let Some(kinds) = named(lua, KINDS) else { return Ok(None) };
    let metatable = lua.create_table()?;
    kinds.raw_set(&metatable, "hash")?;
    Ok(Some(metatable))
}

/// A list that says that it is one, when it is empty, too.
pub struct List<T>(pub Vec<T>);

impl<T: IntoLua> IntoLua for List<T> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        let list = lua.create_sequence_from(self.0)?;
        list.set_metatable(array(lua))?;
        Ok(Value::Table(list))
    }
}

/// A table of ours with names for keys.
pub fn hash(lua: &Lua, table: Table) -> mlua::Result<Table> {
    table.set_metatable(named(lua, HASH))?;
    Ok(table)
}

/// The kind of a value: `array`, `hash`, `null`, `tcp`, `response` …; nil of what is not ours.
pub fn kind(lua: &Lua, value: &Value) -> Answer<Value> {
    let kind = match value {
        Value::Table(table) => match (table.metatable(), named(lua, KINDS)) {
            (Some(metatable), Some(kinds)) => kinds.raw_get(metatable),
            _ => Ok(Value::Nil),
        },
        Value::UserData(_) => raw::peek(lua, value).and_then(|socket| match socket.map(|socket| socket.kind) {
            Some(Class::Listener) => "listener".into_lua(lua),
            Some(class) => class.word().into_lua(lua),
            None => Ok(Value::Nil),
        }),
        value if value.is_null() => "null".into_lua(lua),
        _ => Ok(Value::Nil),
    };
    kind.or_else(|e| argument(0, e))
}
