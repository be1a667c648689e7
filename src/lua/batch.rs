//! `fetch_all` for Lua: the calls that the front has started, fetched together.

use super::{answer::error_object, define, kinds::List, responses::peek, socket::seconds};
use crate::client::batch::{Limits, gather};
use mlua::{AnyUserData, Lua, Table, Value};

/// Adds the function to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // http_all(calls, parallel, per_origin, timeout) -> { true | error … }
    define(lua, core, "http_all", all)
}

type Given = (Vec<AnyUserData>, Option<f64>, Option<f64>, Option<f64>);

fn all(lua: &Lua, (calls, parallel, per_origin, timeout): Given) -> super::answer::Answer<List<Value>> {
    let default = Limits::default();
    let limits = Limits {
        parallel: parallel.map_or(default.parallel, |n| n as usize),
        per_origin: per_origin.map_or(default.per_origin, |n| n as usize),
        // Who says how many, says so of these, too.
        streams: parallel.into_iter().chain(per_origin).fold(default.streams, |most, n| most.min(n as usize)),
        timeout: timeout.and_then(seconds).flatten(),
    };
    let calls = calls.iter().map(|call| peek(lua, call)).collect::<Result<Vec<_>, _>>()?;
    let mut streams = Vec::with_capacity(calls.len());
    for call in &calls {
        streams.push(call.stream()?);
    }
    let done = gather(streams.iter_mut().map(|stream| &mut **stream).collect(), &limits)?;
    let told = done.into_iter().map(|done| match done {
        Ok(()) => Ok(Value::Boolean(true)),
        Err(err) => error_object(lua, &err).map(Value::Table),
    });
    told.collect::<mlua::Result<_>>().map(List).map_err(Into::into)
}
