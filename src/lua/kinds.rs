//! The kinds of values: our arrays and hashes carry metatables of the front, and `kind` names every value of ours.
//! Metatables are compared; no metamethod is called.

use super::{
    answer::Answer,
    socket::{Class, Socket},
    userdata,
};
use mlua::{IntoLua, LightUserData, Lua, LuaString, Table, Value};
use std::ffi::c_void;

/// The names in the registry under which the front's tables are kept: the metatables of arrays and of hashes, and the kinds of values by
/// metatable.
pub const ARRAY: &str = "caspian.net.array";
const HASH: &str = "caspian.net.hash";
const KINDS: &str = "caspian.net.kinds";

/// Its address is the field of a metatable that says what its tables are: `false` for arrays, `true` for objects of JSON whose keys are
/// written in the order of their bytes, a string for those that keep another one. No script gives it by accident, as it might a name.
static MARK: u8 = 0;

pub fn mark() -> *const c_void {
    (&raw const MARK).cast()
}

/// There are arrays before there is a front.
pub fn register(lua: &Lua) -> mlua::Result<()> {
    if named(lua, ARRAY).is_some() {
        return Ok(());
    }
    let array = lua.create_table()?;
    array.raw_set("__name", "caspian.net.array")?;
    array.raw_set("__metatable", false)?;
    array.raw_set(field(), false)?;
    lua.set_named_registry_value(ARRAY, array)
}

fn field() -> LightUserData {
    LightUserData(mark().cast_mut())
}

/// Remembers the front's tables.
pub fn set(lua: &Lua, array: Table, hash: Table, kinds: Table) -> mlua::Result<()> {
    array.raw_set(field(), false)?;
    lua.set_named_registry_value(ARRAY, array)?;
    lua.set_named_registry_value(HASH, hash)?;
    lua.set_named_registry_value(KINDS, kinds)
}

fn named(lua: &Lua, name: &str) -> Option<Table> {
    lua.named_registry_value::<Option<Table>>(name).ok().flatten()
}

/// The metatable of arrays.
pub fn array(lua: &Lua) -> mlua::Result<Table> {
    lua.named_registry_value(ARRAY)
}

/// What a metatable says of its tables.
#[derive(PartialEq, Eq)]
pub enum Mark {
    Array,
    Object,
    /// An object of JSON, whose keys have this order.
    Ordered(LuaString),
}

impl Mark {
    pub fn of(metatable: Option<&Table>) -> Option<Mark> {
        match metatable?.raw_get(field()) {
            Ok(Value::Boolean(false)) => Some(Mark::Array),
            Ok(Value::Boolean(true)) => Some(Mark::Object),
            Ok(Value::String(order)) => Some(Mark::Ordered(order)),
            _ => None,
        }
    }
}

/// A list that says that it is one, when it is empty, too.
pub struct List<T>(pub Vec<T>);

impl<T: IntoLua> IntoLua for List<T> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        let list = lua.create_sequence_from(self.0)?;
        list.set_metatable(Some(array(lua)?))?;
        Ok(Value::Table(list))
    }
}

/// The metatable of hashes; none before there is a front.
pub fn hashes(lua: &Lua) -> Option<Table> {
    named(lua, HASH)
}

/// A table of ours with names for keys.
pub fn hash(lua: &Lua, table: Table) -> mlua::Result<Table> {
    table.set_metatable(hashes(lua))?;
    Ok(table)
}

/// The kind of a value: `array`, `hash`, `null`, `tcp`, `response` …; nil of what is not ours.
pub fn kind(lua: &Lua, value: &Value) -> Answer<Value> {
    let kind = match value {
        Value::Table(table) => {
            let metatable = table.metatable();
            match (Mark::of(metatable.as_ref()), metatable, named(lua, KINDS)) {
                (Some(Mark::Array), ..) => "array".into_lua(lua),
                (Some(_), ..) => "hash".into_lua(lua),
                (None, Some(metatable), Some(kinds)) => kinds.raw_get(metatable),
                _ => Ok(Value::Nil),
            }
        }
        Value::UserData(_) => {
            userdata::peek::<Socket>(lua, value).and_then(|socket| match socket.map(|socket| socket.kind) {
                Some(Class::Listener) => "listener".into_lua(lua),
                Some(class) => class.word().into_lua(lua),
                None => Ok(Value::Nil),
            })
        }
        value if value.is_null() => "null".into_lua(lua),
        _ => Ok(Value::Nil),
    };
    kind.map_err(Into::into)
}
