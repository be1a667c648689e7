//! The one way of a request from Lua to the core, straight on Lua's C API: passing two strings and a value through mlua costs as much as half
//! of HTTP. What most requests say (headers, a timeout, a body that is a string) is read here; tables of options and other bodies by mlua,
//! in a function that is called for them.
//!
//! The invariants are those of `userdata`: the call, with its body until Lua has a copy, belongs to a userdata made before.
#![allow(unsafe_code)]

use super::{
    answer::{self, Answer, argument},
    capability::Ends,
    function, headers,
    http::{Classes, Client, Given, Own, Told, own, owner},
    long,
    responses::{Call, whole},
    socket::seconds,
    stack::{refuse, string, tell},
    userdata::{self, Empty, OWN, empty, held, held_among, share},
};
use crate::{
    allocation,
    client::{self, Step, upload::Source},
};
use mlua::{AnyUserData, Function, Lua, Value, ffi};
use std::{ffi::c_int, ptr, rc::Rc};

/// `http_request(client, url, method, headers?, opts?, body?, type?, apart?)`: a call; and status and body, if Lua has no part in that
/// and it is not asked for apart. `headers` as [`headers`] says; `opts` is a timeout, or a table; `body` a string with its content type, or a
/// table ([`own`]). After a failure as all of the core: `nil` and why. One function for all clients: LuaJIT's traces keep the
/// functions that they call, and as old as the core: when a state closes, its functions end before what is older.
pub(super) fn made(lua: &Lua, classes: &Rc<Classes>) -> mlua::Result<Function> {
    let of = Rc::clone(classes);
    let begin = function(lua, "http_request", move |lua, given| begin(lua, &of.calls, given))?;
    let rest = function(lua, "http_request", |lua, call: AnyUserData| whole(lua, &call))?;
    let (calls, known) = (classes.calls.list(), classes.calls.known());
    // SAFETY: `request` keeps the invariants: it takes clients by its own classes, and calls by those of `KNOWN`.
    unsafe { classes.clients.function(lua, request, (calls, known, answer::stashed(lua)?, begin, rest)) }
}

/// The arguments of `http_request` by their places.
const CLIENT: c_int = 1;
const URL: c_int = 2;
const METHOD: c_int = 3;
const HEADERS: c_int = 4;
const OPTIONS: c_int = 5;
const BODY: c_int = 6;
const TYPE: c_int = 7;
const APART: c_int = 8;

/// The upvalues, as [`made`] puts them: the metatables of calls and their addresses, what gives the error that was stashed, and two steps that
/// mlua does.
const CALLS: c_int = OWN;
const KNOWN: c_int = OWN - 1;
const WHY: c_int = OWN - 2;
const BEGIN: c_int = OWN - 3;
const REST: c_int = OWN - 4;

/// What a request came to, as plain data.
enum Outcome {
    /// The body stands in the call's buffer.
    Whole(u16, *const Call, *const [u8]),
    /// The head is here; the body is to be read to where Lua keeps it, and the status with it.
    Large,
    /// Lua has a part in it, or asks for the answer later.
    Begun,
    Failed,
}

unsafe extern "C-unwind" fn request(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: the upvalues are those of `made`. The arguments stay on the stack, so their bytes live as long as the call: no Lua runs between
    // the look at a table of headers and the last look at its strings.
    unsafe {
        ffi::lua_settop(state, APART);
        let apart = ffi::lua_toboolean(state, APART) != 0;
        let is_table = |index| ffi::lua_type(state, index) == ffi::LUA_TTABLE;
        let outcome = if is_table(OPTIONS) || is_table(BODY) {
            ffi::lua_pushvalue(state, BEGIN);
            (CLIENT..APART).for_each(|index| ffi::lua_pushvalue(state, index));
            ffi::lua_call(state, APART - CLIENT, 3);
            if ffi::lua_type(state, -3) != ffi::LUA_TUSERDATA {
                return 3;
            }
            let apart = apart || ffi::lua_toboolean(state, -2) == 0;
            ffi::lua_pop(state, 2);
            let call = held_among::<Call>(state, -1, KNOWN);
            answer::or_stashed(Outcome::Failed, || match share(call) {
                Some(_) if apart => Ok(Outcome::Begun),
                Some(call) => {
                    let outcome = answered(&call).inspect_err(|_| call.end())?;
                    if Rc::strong_count(&call) == 1 {
                        // Finalized by hand meanwhile: no block keeps the body for Lua to copy from.
                        return Err(client::closed("fetch").into());
                    }
                    Ok(outcome)
                }
                None => argument(0, "not an HTTP call"),
            })
        } else {
            let (Some(url), Some(method)) = (string(state, URL), string(state, METHOD)) else {
                refuse(state, URL, c"URL and method must be strings");
            };
            let place = empty::<Call>(state, CALLS, 0);
            // After the last word of Lua's collector, which while a state closes takes what is in use, too.
            let (client, _) = held::<Client>(state, CLIENT);
            answer::or_stashed(Outcome::Failed, || match share(client) {
                Some(client) => begun(&client, url, method, plain(state)?, apart, place),
                None => argument(0, "not an HTTP client"),
            })
        };
        match outcome {
            Outcome::Whole(status, call, body) => {
                ffi::lua_pushinteger(state, status.into());
                ffi::lua_pushlstring(state, body.cast(), body.len());
                // Nobody else knows the call: it is on our stack only.
                (*call).spent();
                3
            }
            Outcome::Large => {
                ffi::lua_pushvalue(state, REST);
                ffi::lua_pushvalue(state, -2);
                ffi::lua_call(state, 1, 3);
                let failed = ffi::lua_isnil(state, -3) != 0;
                ffi::lua_pop(state, c_int::from(!failed));
                3
            }
            Outcome::Begun => 1,
            Outcome::Failed => tell(state, WHY, 3),
        }
    }
}

/// What a request says of its own, where neither options nor body are tables. Raises nothing.
///
/// # Safety
/// State; the arguments stay on the stack, and the table of headers as it is, for as long as `'a`.
unsafe fn plain<'a>(state: *mut ffi::lua_State) -> Answer<Own<'a>> {
    // SAFETY: the caller's condition.
    unsafe {
        let told = match ffi::lua_type(state, OPTIONS) {
            ffi::LUA_TNUMBER => seconds(ffi::lua_tonumber(state, OPTIONS)).map_or(Told::Nothing, Told::Timeout),
            _ => Told::Nothing,
        };
        let source = match string(state, BODY) {
            Some(body) => Some(Source::bytes(allocation::copied(body)?)),
            None => None,
        };
        let content_type = string(state, TYPE).and_then(|kind| std::str::from_utf8(kind).ok()).map(str::to_owned);
        Ok(Own { headers: headers::at(state, HEADERS)?, source, content_type, told })
    }
}

/// The same for tables: a call, and whether Lua has no part in it.
fn begin(lua: &Lua, calls: &userdata::Classes<Call>, given: Given) -> Answer<(Value, bool)> {
    let (of, url, method, headers, opts, body, content_type) = given;
    let client = owner(lua, &of)?;
    let own = own(lua, &client, headers.as_ref(), opts, body, content_type)?;
    let (call, whole) = client.call(&url.as_bytes(), &method.as_bytes(), own)?;
    Ok((call.into_lua(lua, calls)?, whole))
}

/// Makes the call, and does the request unless the answer is asked for apart.
fn begun(client: &Client, url: &[u8], method: &[u8], own: Own<'_>, apart: bool, place: Empty<Call>) -> Answer<Outcome> {
    let (call, whole) = client.call(url, method, own)?;
    let outcome = if whole && !apart { answered(&call)? } else { Outcome::Begun };
    // Only what succeeded: what failed is over now, and not when Lua collects it.
    // SAFETY: the userdata is on the stack of `request`, and lives as long as that runs.
    unsafe { place.fill(call) };
    Ok(outcome)
}

/// Does a request that Lua has no part in. The call stays where it is.
fn answered(call: &Call) -> Answer<Outcome> {
    let mut stream = call.stream()?;
    let Step::Head = stream.fetch.step()? else { return argument(2, "this body comes in pieces") };
    if stream.left().is_some_and(|left| left >= long::WORTH) {
        return Ok(Outcome::Large);
    }
    stream.gather()?;
    // A body that was lost may have come with another answer.
    let status = stream.fetch.head().map_or(0, |head| head.status);
    let body: *const [u8] = stream.held();
    Ok(Outcome::Whole(status, ptr::from_ref(call), body))
}
