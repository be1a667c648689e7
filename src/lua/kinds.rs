//! The kinds of values: our arrays and hashes carry metatables of the front, and `kind` names every value of ours.
//! Metatables are compared; no metamethod is called.

use super::{
    answer::Answer,
    socket::{Class, Socket},
    userdata,
};
use mlua::{IntoLua, Lua, Table, Value};

/// The names under which the front's tables are kept: the metatables of arrays and of hashes, and the kinds of values by
/// metatable.
const ARRAY: &str = "caspian.net.array";
const HASH: &str = "caspian.net.hash";
const KINDS: &str = "caspian.net.kinds";

/// What JSON was made into before there was a front: the kinds of those metatables, and the one of arrays.
const EARLY: &str = "caspian.net.kinds.early";
const EARLY_ARRAY: &str = "caspian.net.array.early";

/// In which order the keys of an object of JSON stood, by its metatable.
const ORDERS: &str = "caspian.net.orders";

/// Remembers the front's tables.
pub fn set(lua: &Lua, array: Table, hash: Table, kinds: Table) -> mlua::Result<()> {
    if let Some(early) = named(lua, EARLY) {
        for pair in early.pairs::<Table, Value>() {
            let (metatable, kind) = pair?;
            kinds.raw_set(metatable, kind)?;
        }
    }
    lua.set_named_registry_value(ARRAY, array)?;
    lua.set_named_registry_value(HASH, hash)?;
    lua.set_named_registry_value(KINDS, kinds)
}

fn named(lua: &Lua, name: &str) -> Option<Table> {
    lua.named_registry_value::<Option<Table>>(name).ok().flatten()
}

/// A table of the registry whose keys are weak, made when it is first asked for.
fn weak(lua: &Lua, name: &str) -> mlua::Result<Table> {
    if let Some(table) = named(lua, name) {
        return Ok(table);
    }
    let (table, metatable) = (lua.create_table()?, lua.create_table()?);
    metatable.raw_set("__mode", "k")?;
    table.set_metatable(Some(metatable))?;
    lua.set_named_registry_value(name, &table)?;
    Ok(table)
}

/// The kinds of values by metatable: the front's, or what it will be told.
fn kinds(lua: &Lua) -> mlua::Result<Table> {
    named(lua, KINDS).map_or_else(|| weak(lua, EARLY), Ok)
}

/// The metatable of arrays.
pub fn array(lua: &Lua) -> mlua::Result<Table> {
    if let Some(array) = named(lua, ARRAY).or_else(|| named(lua, EARLY_ARRAY)) {
        return Ok(array);
    }
    let array = lua.create_table()?;
    array.raw_set("__name", "caspian.net.array")?;
    array.raw_set("__metatable", false)?;
    kinds(lua)?.raw_set(&array, "array")?;
    lua.set_named_registry_value(EARLY_ARRAY, &array)?;
    Ok(array)
}

/// The metatables that arrays of ours have.
pub struct Arrays(Vec<Table>);

impl Arrays {
    pub fn of(lua: &Lua) -> Arrays {
        Arrays([ARRAY, EARLY_ARRAY].into_iter().filter_map(|name| named(lua, name)).collect())
    }

    pub fn has(&self, metatable: Option<&Table>) -> bool {
        metatable.is_some_and(|metatable| self.0.contains(metatable))
    }
}

/// What the values of a document of JSON say of themselves. Its objects have metatables of their own, which a script may replace:
/// what it does to one, no other document sees. `build` makes them.
pub struct OfDocument {
    /// The metatable of arrays.
    pub array: Table,
    /// Where a metatable is told to be a hash's.
    pub kinds: Table,
    /// Where the order of the keys stands by metatable, as [`orders`] gives it back.
    pub orders: Table,
}

impl OfDocument {
    pub fn new(lua: &Lua) -> mlua::Result<OfDocument> {
        Ok(OfDocument { array: array(lua)?, kinds: kinds(lua)?, orders: weak(lua, ORDERS)? })
    }
}

/// The orders of keys by metatable; none if no object ever had one.
pub fn orders(lua: &Lua) -> Option<Table> {
    named(lua, ORDERS)
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
        Value::Table(table) => match (table.metatable(), kinds(lua)) {
            (Some(metatable), Ok(kinds)) => kinds.raw_get(metatable),
            _ => Ok(Value::Nil),
        },
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
