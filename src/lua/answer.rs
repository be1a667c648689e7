//! The results of the core for the front: a value, or `nil` and the reason.
//!
//! Why not `Err`: mlua would turn it into an opaque userdata. A failure of the network becomes a plain table with the
//! metatable that the front registered; a wrong argument becomes its text and its index, and the front raises both.

use super::signals;
use crate::{
    error::Error,
    panics::{caught, failpoint},
};
use mlua::{Function, IntoLua, IntoLuaMulti, Lua, MultiValue, Table, Value};
use std::cell::RefCell;

/// Why a call of the core failed.
#[derive(Debug)]
pub enum Failure {
    /// The world's fault, or the launcher's.
    Network(Error),
    /// The caller's: which argument, and what is wrong with it.
    Argument(usize, String),
}

pub type Answer<T> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Network(error)
    }
}

/// Lua's own refusal: the front raises its first line, as Lua would have; what mlua adds is a traceback.
impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        let message = match error {
            mlua::Error::MemoryError(_) => NO_MEMORY.to_owned(),
            other => other.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        Failure::Argument(0, message)
    }
}

/// What Lua says where there is no memory.
pub const NO_MEMORY: &str = "not enough memory";

/// A wrong argument.
pub fn argument<T>(index: usize, message: impl ToString) -> Answer<T> {
    Err(Failure::Argument(index, message.to_string()))
}

/// What a value holds, or that it is another value. An error is Lua's own, whose hook for Ctrl-C may run where it is asked.
pub fn found<T>(found: mlua::Result<Option<T>>, index: usize, other: impl FnOnce() -> String) -> Answer<T> {
    match found {
        Ok(found) => found.map_or_else(|| argument(index, other()), Ok),
        Err(e) => Err(e.into()),
    }
}

/// `value …` or `nil, error` or `nil, words, index`; `nil, error, true` where the host wants its thread back, which is known by
/// that and not by the words.
pub fn reply<T: IntoLuaMulti>(lua: &Lua, answer: Answer<T>) -> mlua::Result<MultiValue> {
    match answer {
        Ok(value) => value.into_lua_multi(lua),
        Err(failure) => failed(lua, failure),
    }
}

/// Not in [`reply`], which is in the binary once for each type of answer.
pub fn failed(lua: &Lua, failure: Failure) -> mlua::Result<MultiValue> {
    // Whoever called the function raises it; making objects here might run a finalizer, which would be taken for him.
    if signals::has_raised() {
        return Ok(MultiValue::new());
    }
    match failure {
        Failure::Network(error) => {
            let object = error_object(lua, &error)?;
            match error.is_interruption() {
                true => (Value::Nil, object, true).into_lua_multi(lua),
                false => (Value::Nil, object).into_lua_multi(lua),
            }
        }
        Failure::Argument(index, message) => (Value::Nil, message, index).into_lua_multi(lua),
    }
}

thread_local! {
    /// Why C functions fail that have not told yet, the innermost first: a finalizer may run, and fail, before one has.
    static STASH: RefCell<[Option<Failure>; STASHED]> = const { RefCell::new([const { None }; STASHED]) };
}

/// Failures that are kept: older ones are those of functions that Lua had no memory to tell of.
const STASHED: usize = 8;

/// Keeps why a C function fails: what calls Lua holds nothing that has a destructor. The function of [`stashed`] comes next.
fn stash(why: Failure) {
    STASH.with(|stash| {
        if let Ok(mut stash) = stash.try_borrow_mut() {
            stash.rotate_right(1);
            stash[0] = Some(why);
        }
    });
}

/// Takes what the running C function has stashed.
pub fn unstash() -> Option<Failure> {
    STASH.with(|stash| {
        let mut stash = stash.try_borrow_mut().ok()?;
        stash.rotate_left(1);
        stash[STASHED - 1].take()
    })
}

/// Does what may fail or panic for a C function, whose frame holds plain data: everything with a destructor lives and dies in here, or belongs
/// to a userdata. After a failure it is `failed`, and why is stashed.
pub fn or_stashed<T>(failed: T, act: impl FnOnce() -> Answer<T>) -> T {
    let done = caught(|| Ok(act())).unwrap_or_else(|panic| Err(panic.into()));
    done.unwrap_or_else(|why| {
        stash(why);
        failed
    })
}

/// What a C function calls for what it has stashed: `nil` and why, as all of the core.
pub fn stashed(lua: &Lua) -> mlua::Result<Function> {
    lua.create_function(|lua, ()| failed(lua, unstash().unwrap_or_else(|| Error::internal("no error to raise").into())))
}

/// The names under which the front's metatable of errors is kept, and its table from errors to their fields.
const METATABLE: &str = "caspian.net.error";
const FIELDS: &str = "caspian.net.error.fields";

/// Remembers the metatable of error objects, and the table that their fields are in, by object: what stands in the object
/// itself could be changed.
pub fn set_errors(lua: &Lua, metatable: Table, fields: Table) -> mlua::Result<()> {
    lua.set_named_registry_value(METATABLE, metatable)?;
    lua.set_named_registry_value(FIELDS, fields)
}

/// The fields behind a value that is an error of ours; the value is not asked.
pub fn fields_of(lua: &Lua, value: &Value) -> Option<Table> {
    let Value::Table(object) = value else { return None };
    let ours: Table = lua.named_registry_value(METATABLE).ok()?;
    let all: Table = lua.named_registry_value(FIELDS).ok()?;
    let known = object.metatable().is_some_and(|metatable| metatable.to_pointer() == ours.to_pointer());
    if known { all.raw_get(object).ok()? } else { None }
}

/// The error as Lua sees it: a table with the contract's fields, as its shared metatable shows them.
pub fn error_object(lua: &Lua, error: &Error) -> mlua::Result<Table> {
    failpoint("error object");
    let fields = error.fields();
    let own = lua.create_table()?;
    own.raw_set("class", format!("puck.uno/error/network/{}", fields.kind.word()))?;
    own.raw_set("message", &*fields.message)?;
    put(&own, "op", fields.op.as_deref())?;
    put(&own, "host", fields.host.as_deref())?;
    put(&own, "port", fields.port)?;
    put(&own, "url", fields.url.as_deref())?;
    put(&own, "timeout", fields.timeout)?;
    if let Some(partial) = &fields.partial {
        own.raw_set("partial", lua.create_string(partial)?)?;
    }
    put(&own, "sent", fields.sent)?;
    put(&own, "cause", fields.cause.as_deref())?;
    let Value::Table(all) = lua.named_registry_value(FIELDS)? else { return Ok(own) };
    let object = lua.create_table()?;
    all.raw_set(&object, own)?;
    // Read last, as a string: what a finalizer on Lua 5.1 leaves in the slot by which the binding hands functions on is then
    // what makes strings, and most of what it interrupts does that (SECURITY.md).
    if let Value::Table(metatable) = lua.named_registry_value(METATABLE)? {
        object.set_metatable(Some(metatable))?;
    }
    Ok(object)
}

/// A field that is there.
fn put(own: &Table, name: &str, value: Option<impl IntoLua>) -> mlua::Result<()> {
    value.map_or(Ok(()), |value| own.raw_set(name, value))
}
