//! The binding: what a Rust host calls ([`launch`], [`call`]), and the core table that the front in `lua/` builds `%net` from.
//! Converts, and decides nothing.
//!
//! Each function of the core returns a value, or `nil` and the reason (`answer`). Scripts never get the core; even with
//! it, the function that makes capabilities works once per Lua state.

mod answer;
mod batch;
mod beside;
mod bodies;
mod caller;
mod capability;
mod codec;
mod compat;
mod cookies;
mod directory;
mod events;
mod front;
mod guard;
mod guarded;
mod headers;
mod host;
mod hot;
mod http;
mod json;
mod kinds;
mod long;
#[cfg(feature = "mail")]
mod mail;
mod names;
mod options;
mod polling;
mod progress;
mod properties;
mod request;
mod request_options;
mod responses;
#[cfg(all(feature = "luajit", feature = "module", target_os = "linux"))]
mod returns;
mod saved;
mod server;
mod signals;
mod socket;
mod sockets;
mod stack;
mod turns;
mod userdata;
mod websocket;
mod within;

pub use front::preload;
#[doc(hidden)]
pub use front::{MODULES, modules};
pub use host::{call, error, launch, raised};

use answer::{Answer, Failure, argument, failed, reply};
use capability::{Capability, Held, Opened, Seal};
use kinds::List;

use crate::{fork, grants::slips, panics, reserve};
use mlua::{
    AnyUserData, FromLuaMulti, Function, IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData, UserDataRef, Value,
};
use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

/// The native module: what `require("caspian_net")` gives. With the feature `front` it brings the files of `lua/` along. LuaJIT on Linux
/// opens it through `returns`.
#[cfg(feature = "module")]
#[cfg_attr(not(all(feature = "luajit", target_os = "linux")), mlua::lua_module(name = "caspian_net"))]
fn module(lua: &Lua) -> mlua::Result<Table> {
    #[cfg(feature = "front")]
    front::fill(lua)?;
    core(lua)
}

/// Forgets the Lua state when it closes, and ends what it had: sockets that finalizers open while it closes are finalized by
/// nobody. The first value with a finalizer that we make is the last one to be finalized.
#[derive(Default)]
struct Farewell(RefCell<Vec<Weak<Opened>>>);

impl UserData for Farewell {}

impl Farewell {
    /// Remembers what is to be ended; what has ended is forgotten.
    fn owes(&self, end: Weak<Opened>) {
        let mut ends = self.0.borrow_mut();
        ends.retain(|end| end.strong_count() > 0);
        ends.push(end);
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        signals::forget();
        for end in self.0.take() {
            panics::contained(|| {
                if let Some(opened) = end.upgrade() {
                    opened.end();
                }
            });
        }
    }
}

/// The state's farewell, made once; each copy of the library has its own.
fn farewell(lua: &Lua) -> mlua::Result<AnyUserData> {
    static HERE: u8 = 0;
    let name = format!("caspian.net.farewell.{:p}", &raw const HERE);
    if let Some(made) = lua.named_registry_value::<Option<AnyUserData>>(&name)? {
        return Ok(made);
    }
    let made = lua.create_userdata(Farewell::default())?;
    lua.set_named_registry_value(&name, &made)?;
    Ok(made)
}

/// Makes the core table.
#[doc(hidden)]
pub fn core(lua: &Lua) -> mlua::Result<Table> {
    panics::hush();
    reserve::keep();
    signals::remember(lua)?;
    farewell(lua)?;
    stack::prepare(lua)?;
    kinds::register(lua)?;
    let core = lua.create_table()?;
    core.raw_set("version", env!("CARGO_PKG_VERSION"))?;
    // adopt(errors, fields, array, hash, kinds): the metatable of errors and their fields; of arrays and of hashes; the
    // kinds of values by metatable
    define(lua, &core, "adopt", |lua, (errors, fields, array, hash, kinds): (Table, Table, Table, Table, Table)| {
        capability::unsealed(lua)?;
        let done = answer::set_errors(lua, errors, fields).and_then(|()| kinds::set(lua, array, hash, kinds));
        done.map(|()| true).map_err(Failure::from)
    })?;
    define(lua, &core, "kind", |lua, value: Value| kinds::kind(lua, &value))?;
    // claim(): what capabilities are made with, once in a state; undo(seal): nothing was delivered
    define(lua, &core, "claim", |lua, ()| capability::seal(lua))?;
    define(lua, &core, "undo", |lua, seal: Option<AnyUserData>| {
        owned(&seal)?.undo(lua);
        Ok(true)
    })?;
    define(lua, &core, "mint", |lua, (what, host, seal): (Value, Table, Option<AnyUserData>)| {
        let minted = owned(&seal)?.mint(what, host)?;
        if let (Some(held), Ok(farewell)) = (&minted, farewell(lua))
            && let Ok(farewell) = farewell.borrow::<Farewell>()
        {
            farewell.owes(held.0.end());
        }
        Ok(minted)
    })?;
    define(lua, &core, "nothing", |_, ()| capability::nothing())?;
    define(lua, &core, "missing", |_, (what, requires): (Table, Value)| capability::missing(what, requires))?;
    define(lua, &core, "narrow", |_, (capability, spec): (AnyUserData, Table)| {
        capability::narrow(&*held(&capability)?, spec)
    })?;
    define(lua, &core, "allows", |_, (capability, host, port): (AnyUserData, LuaString, u16)| {
        capability::allows(&*held(&capability)?, &host.to_string_lossy(), port)
    })?;
    define(lua, &core, "grants", |_, capability: AnyUserData| Ok(List(held(&capability)?.net.grants().flags())))?;
    define(lua, &core, "alive", |_, capability: AnyUserData| Ok(held(&capability)?.net.is_alive()))?;
    define(lua, &core, "revoke", |_, capability: AnyUserData| {
        held(&capability)?.revoke();
        Ok(true)
    })?;
    // generation(): differs in a child of fork from what it was in its parent
    define(lua, &core, "generation", |_, ()| Ok(fork::generation() as f64))?;
    // slips(a, b): by how many letters two words differ, for messages
    define(lua, &core, "slips", |_, (a, b): (LuaString, LuaString)| Ok(slips(&a.as_bytes(), &b.as_bytes())))?;
    caller::register(lua, &core)?;
    sockets::register(lua, &core)?;
    properties::register(lua, &core)?;
    polling::register(lua, &core)?;
    let classes = http::register(lua, &core)?;
    codec::register(lua, &core)?;
    cookies::register(lua, &core)?;
    directory::register(lua, &core)?;
    events::register(lua, &core)?;
    guard::register(lua, &core)?;
    guarded::register(lua, &core, classes)?;
    batch::register(lua, &core)?;
    websocket::register(lua, &core)?;
    server::register(lua, &core)?;
    progress::register(lua, &core)?;
    names::register(lua, &core)?;
    within::register(lua, &core)?;
    compat::register(lua, &core)?;
    #[cfg(feature = "mail")]
    mail::register(lua, &core)?;
    #[cfg(feature = "panics")]
    core.raw_set("panic_at", lua.create_function(|_, point| Ok(panics::arm(point)))?)?;
    Ok(core)
}

/// The capability behind a value of the front's.
fn held(value: &AnyUserData) -> Answer<Rc<Capability>> {
    match value.borrow::<Held>() {
        Ok(held) => Ok(Rc::clone(&held.0)),
        Err(_) => argument(0, "not a network capability"),
    }
}

/// The seal behind a value of the front's.
fn owned(value: &Option<AnyUserData>) -> Answer<UserDataRef<Seal>> {
    let seal = value.as_ref().and_then(|value| value.borrow::<Seal>().ok());
    seal.map_or_else(|| argument(0, "already launched"), Ok)
}

/// Adds a function to the core.
fn define<A, R, F>(lua: &Lua, core: &Table, name: &'static str, act: F) -> mlua::Result<()>
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
    F: Fn(&Lua, A) -> Answer<R> + 'static,
{
    core.raw_set(name, function(lua, name, act)?)
}

/// A function of the core's.
fn function<A, R, F>(lua: &Lua, name: &'static str, function: F) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
    F: Fn(&Lua, A) -> Answer<R> + 'static,
{
    let act = move |lua: &Lua, arguments: MultiValue| match A::from_lua_multi(arguments, lua) {
        Ok(arguments) => reply(lua, function(lua, arguments)),
        Err(e) => unfit(lua, name, &e),
    };
    callback(lua, Box::new(act))
}

/// The front checks types first; this is for what it cannot see, such as a value out of range.
fn unfit(lua: &Lua, name: &str, why: &mlua::Error) -> mlua::Result<MultiValue> {
    failed(lua, Failure::Argument(0, format!("{name}: {why}")))
}

type Act = dyn Fn(&Lua, MultiValue) -> mlua::Result<MultiValue>;

/// One shape for all functions: what mlua wraps around a function of a type of its own would be in the binary for each.
fn callback(lua: &Lua, act: Box<Act>) -> mlua::Result<Function> {
    // A panic must not reach mlua, which would hand scripts a value without class or fields.
    let function = lua.create_function(move |lua, arguments: MultiValue| {
        panics::caught(|| Ok(act(lua, arguments))).unwrap_or_else(|err| failed(lua, err.into()))
    })?;
    signals::relay(lua, function)
}
