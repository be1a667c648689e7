//! A request without callbacks, straight on Lua's C API: most requests are like that, with headers, a timeout and a body or without,
//! and passing two strings and a value through mlua costs as much as half of HTTP.
//!
//! Lua raises by `longjmp`, which skips Rust's destructors. So a frame that calls a Lua function that may raise holds
//! plain data only: the call, with its body until Lua has a copy, belongs to a userdata made before.
#![allow(unsafe_code)]
// The `unsafe fn`s below have one condition: `state` is a live Lua state, as Lua hands it to a C function.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{
    answer::{Answer, Failure, argument, failed},
    boxed::{self, Class, Empty},
    http::{Client, Own, answered},
    long,
    responses::Call,
    signals,
    socket::seconds,
};
use crate::{
    client::Fetch,
    error::{Error, Kind},
    panics::caught,
};
use mlua::{Function, Lua, ffi};
use std::{cell::RefCell, ffi::c_int, ptr, slice};

thread_local! {
    /// Why the last call failed, for the function that makes an answer of it.
    static STASH: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// `http_plain(client, url, method, names?, values?, timeout?, body?, type?)`: call, status and body. Without the body where that is
/// large: it is read to where Lua keeps it. `names` and `values` are headers as for `http_start`; `body` is a string, and `type` its
/// content type. After a failure as all of the core: `nil` and why. One function for all clients: LuaJIT's traces keep the
/// functions that they call, and as old as the core: when a state closes, its functions end before what is older.
pub(super) fn function(lua: &Lua, calls: &Class) -> mlua::Result<Function> {
    let why = lua.create_function(|lua, ()| {
        let stashed = STASH.with(|stash| stash.try_borrow_mut().ok().and_then(|mut why| why.take()));
        failed(lua, stashed.unwrap_or_else(|| Error::new(Kind::Socket, "internal error: no error to raise").into()))
    })?;
    // SAFETY: runs protected; plain data only.
    unsafe { lua.exec_raw((calls.get(), why), |state| ffi::lua_pushcclosure(state, fetch, 2)) }
}

/// What a request came to, as plain data.
enum Outcome {
    /// The body stands in the call's buffer.
    Whole(u16, *const Call, *const [u8]),
    /// The body is still to be read, and the status with it.
    Head(u16),
    Failed,
}

/// The arguments of `http_plain` by their places.
const URL: c_int = 2;
const METHOD: c_int = 3;
const NAMES: c_int = 4;
const VALUES: c_int = 5;
const TIMEOUT: c_int = 6;
const BODY: c_int = 7;
const TYPE: c_int = 8;

unsafe extern "C-unwind" fn fetch(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: the upvalues are those of `function`. The arguments stay on the stack, so their bytes live as long as the call: the
    // tables are the front's, and nobody else has them.
    unsafe {
        ffi::lua_settop(state, TYPE);
        let (url, method) = (text(state, URL), text(state, METHOD));
        let place = boxed::empty::<Call>(state, ffi::lua_upvalueindex(1));
        // After the last word of Lua's collector, which while a state closes takes what is in use, too.
        let client = boxed::held::<Client>(state, 1);
        let asked = |client: &Client| {
            let (names, values) = (column(state, NAMES), column(state, VALUES));
            let timeout = match ffi::lua_type(state, TIMEOUT) {
                ffi::LUA_TNUMBER => seconds(ffi::lua_tonumber(state, TIMEOUT)),
                _ => None,
            };
            let (body, content_type) = (bytes(state, BODY), bytes(state, TYPE));
            let own = Own { names: &names, values: &values, timeout, body, content_type };
            client.plain(url, method, &own)
        };
        match outcome(client.as_ref(), asked, place) {
            Outcome::Whole(status, call, body) => {
                ffi::lua_pushinteger(state, status.into());
                ffi::lua_pushlstring(state, body.cast(), body.len());
                // Nobody else knows the call: it is on our stack only.
                (*call).spent();
                3
            }
            Outcome::Head(status) => {
                ffi::lua_pushinteger(state, status.into());
                2
            }
            Outcome::Failed => {
                signals::raise(state);
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
                ffi::lua_call(state, 0, 3);
                3
            }
        }
    }
}

/// The bytes of the string at `index`; raises for anything else.
unsafe fn text<'a>(state: *mut ffi::lua_State, index: c_int) -> &'a [u8] {
    if ffi::lua_type(state, index) != ffi::LUA_TSTRING {
        ffi::luaL_argerror(state, index, c"a string expected".as_ptr());
    }
    let mut length = 0;
    let start = ffi::lua_tolstring(state, index, &mut length);
    slice::from_raw_parts(start.cast(), length)
}

/// The bytes of the string at `index`, if one stands there.
unsafe fn bytes<'a>(state: *mut ffi::lua_State, index: c_int) -> Option<&'a [u8]> {
    // Of a number `lua_tolstring` would make a string, which may raise.
    if ffi::lua_type(state, index) != ffi::LUA_TSTRING {
        return None;
    }
    let mut length = 0;
    let start = ffi::lua_tolstring(state, index, &mut length);
    Some(slice::from_raw_parts(start.cast(), length))
}

/// The strings of the list at `index`, which keeps them. Raises nothing.
unsafe fn column<'a>(state: *mut ffi::lua_State, index: c_int) -> Vec<&'a [u8]> {
    if ffi::lua_type(state, index) != ffi::LUA_TTABLE {
        return Vec::new();
    }
    let count = ffi::lua_rawlen(state, index);
    let mut column = Vec::with_capacity(count);
    for at in 1..=count {
        ffi::lua_rawgeti(state, index, at as ffi::lua_Integer);
        column.extend(bytes(state, -1));
        ffi::lua_pop(state, 1);
    }
    column
}

/// Does the request. Everything with a destructor lives and dies in here, or belongs to the userdata.
fn outcome(client: Option<&Client>, asked: impl FnOnce(&Client) -> Answer<Box<Fetch>>, place: Empty<Call>) -> Outcome {
    let done = caught(|| Ok(run(client, asked, place))).unwrap_or_else(|panic| Err(panic.into()));
    done.unwrap_or_else(|why| {
        STASH.with(|stash| stash.try_borrow_mut().map(|mut place| place.replace(why)).ok());
        Outcome::Failed
    })
}

fn run(
    client: Option<&Client>,
    asked: impl FnOnce(&Client) -> Answer<Box<Fetch>>,
    place: Empty<Call>,
) -> Answer<Outcome> {
    let Some(client) = client else { return argument(0, "not an HTTP client") };
    let call = Call::new(asked(client)?);
    let mut stream = call.stream()?;
    let mut status = answered(&mut stream)?;
    let large = stream.left().is_some_and(|left| left >= long::WORTH);
    if !large {
        stream.gather()?;
        // A body that was lost may have come with another answer.
        status = stream.fetch.head().map_or(status, |head| head.status);
    }
    let body: *const [u8] = stream.held();
    drop(stream);
    // Only what succeeded: what failed is over now, and not when Lua collects it.
    // SAFETY: the userdata is on the stack of `fetch`, and lives as long as that runs.
    let call: &Call = unsafe { place.fill(call) };
    Ok(if large { Outcome::Head(status) } else { Outcome::Whole(status, ptr::from_ref(call), body) })
}
