//! The native part of the drop-in for LuaSocket and LuaSec: the base of `lua/caspian/net/compat/`. Its objects are
//! LuaSocket's, over the core's sockets and the same gate.
//!
//! Converts and keeps state; the bytes move in `conn` and `compat::bsd`.

mod classes;
mod dns;
mod hot;
mod inet;
mod messages;
mod methods;
mod mime;
mod object;
mod options;
mod ssl;
mod ssl_context;
mod ssl_core;
mod ssl_handshake;
mod ssl_x509;
mod stream;
mod udp;
mod unix;

use super::{
    answer::{Answer, argument},
    define, held,
    userdata::{self, Classes},
};
use crate::{
    compat::bsd::{Bare, Family, pipe},
    conn::Conn,
    deadline::{Deadline, check_block, pause, wall},
    lua::capability::Capability,
    poll,
    wire::Want,
};
use messages::{Class, Fail};
use mlua::{AnyUserData, Lua, MultiValue, Table, Value};
use object::{Home, Item, Object};
use std::{rc::Rc, time::Duration};

/// Adds the table `compat` to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    let compat = lua.create_table()?;
    compat.raw_set("mime", mime::functions(lua)?)?;
    // ssl(): the native half of `ssl` and its kin, for one installation.
    compat.raw_set("ssl", lua.create_function(|lua, ()| ssl_core::functions(lua))?)?;
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
    // sockets(cap, native): the native half of `socket`. `native`: descriptors from elsewhere may be taken over.
    define(lua, &compat, "sockets", |lua, (cap, native): (AnyUserData, bool)| {
        let home = Home::new(held(&cap)?, native);
        pipe::ignore();
        install(lua, &home).map_err(Into::into)
    })?;
    core.raw_set("compat", compat)
}

fn install(lua: &Lua, home: &Rc<Home>) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let classes = Rc::new(classes::classes(lua, methods::of)?);
    let maker = |name, family, datagrams, class| {
        let (home, classes) = (Rc::clone(home), Rc::clone(&classes));
        let make = lua.create_function(move |lua, ()| create(lua, &home, &classes, family, datagrams, class))?;
        module.raw_set(name, make)
    };
    maker("tcp", None, false, Class::TcpMaster)?;
    maker("tcp4", Some(Family::V4), false, Class::TcpMaster)?;
    maker("tcp6", Some(Family::V6), false, Class::TcpMaster)?;
    maker("udp", None, true, Class::UdpUnconnected)?;
    maker("udp4", Some(Family::V4), true, Class::UdpUnconnected)?;
    maker("udp6", Some(Family::V6), true, Class::UdpUnconnected)?;
    maker("stream", Some(Family::Unix), false, Class::StreamMaster)?;
    maker("dgram", Some(Family::Unix), true, Class::DgramUnconnected)?;
    define(lua, &module, "poll", select)?;
    define(lua, &module, "gettime", |_, ()| Ok(wall().as_secs_f64()))?;
    define(lua, &module, "sleep", |_, seconds: f64| {
        let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        pause(time, "sleep")?;
        Ok(true)
    })?;
    dns::register(lua, &module, home)?;
    Ok(module)
}

fn create(
    lua: &Lua,
    home: &Rc<Home>,
    classes: &Classes<Object>,
    family: Option<Family>,
    datagrams: bool,
    class: Class,
) -> mlua::Result<MultiValue> {
    // What has no family yet has no descriptor either, until its first address decides.
    let item = match family.map(|family| Bare::open(family, datagrams)) {
        None => Item::None,
        Some(Ok(bare)) => Item::Bare(bare),
        Some(Err(error)) => {
            let text = match Fail::from(error) {
                Fail::Message(why) => why.text(),
                Fail::Argument(_, text) => text,
                Fail::Interrupted => "interrupted".into(),
            };
            return Ok([Value::Nil, Value::String(lua.create_string(text.as_bytes())?)].into_iter().collect());
        }
    };
    let object = Object::new(home, family, datagrams, item);
    Ok([classes.wrap(lua, class as usize, object)?].into_iter().collect())
}

/// The numbers among `readers` and `writers` that are ready. `timeout`: seconds, negative for ever.
fn select(lua: &Lua, (readers, writers, timeout): (Vec<i32>, Vec<i32>, f64)) -> Answer<(Table, Table)> {
    let timeout = if timeout < 0.0 { None } else { Duration::try_from_secs_f64(timeout).ok() };
    let asked = readers.iter().map(|fd| (*fd, Want::Read)).chain(writers.iter().map(|fd| (*fd, Want::Write)));
    let asked: Vec<_> = asked.collect();
    // After the end of the block that the program is in nothing is ready: `select` says `timeout`.
    let ready = match check_block("select") {
        Ok(()) => poll::by_number(&asked, &Deadline::new(timeout).start())?,
        Err(_) => vec![false; asked.len()],
    };
    let pick = |wanted| {
        let those = asked.iter().zip(&ready).filter(|((_, want), ready)| *want == wanted && **ready);
        lua.create_sequence_from(those.map(|((fd, _), _)| *fd))
    };
    match (pick(Want::Read), pick(Want::Write)) {
        (Ok(readers), Ok(writers)) => Ok((readers, writers)),
        (Err(e), _) | (_, Err(e)) => argument(0, e),
    }
}

/// A stream that left its object, with the capability that it was made over.
pub struct Taken {
    pub conn: Conn,
    pub cap: Rc<Capability>,
}

/// Takes the stream out of a TCP or Unix object, with the bytes that it has buffered: the object is left as `setfd(-1)`
/// leaves it. `None` if the value is no such object, or has no stream.
pub fn take_stream(lua: &Lua, value: &Value) -> mlua::Result<Option<Taken>> {
    let Some(object) = userdata::peek::<Object>(lua, value)? else { return Ok(None) };
    Ok(object.give().map(|conn| Taken { conn, cap: Rc::clone(&object.home.cap) }))
}
