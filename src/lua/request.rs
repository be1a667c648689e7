//! The one way of a request from Lua to the core, straight on Lua's C API: passing two strings and a value through mlua costs as much as half
//! of HTTP. What most requests say (headers, a timeout, a body that is a string) is read here; tables of options and other bodies by mlua,
//! in a function that is called for them.
//!
//! Lua raises by `longjmp`, which skips Rust's destructors. So a frame that calls a Lua function that may raise holds
//! plain data only: the call, with its body until Lua has a copy, belongs to a userdata made before.
#![allow(unsafe_code)]
// The `unsafe fn`s below have one condition: `state` is a live Lua state, as Lua hands it to a C function.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{
    answer::{Answer, Failure, argument, failed},
    boxed::{self, Class, Empty},
    capability::Ends,
    function,
    headers::{self, bytes},
    http::{Classes, Client, Given, Own, Told, own, owner},
    long,
    responses::{Call, whole},
    signals,
    socket::seconds,
};
use crate::{
    allocation,
    client::{Step, upload::Source},
    error::{Error, Kind},
    panics::caught,
};
use mlua::{AnyUserData, Function, Lua, Value, ffi};
use std::{cell::RefCell, ffi::c_int, ptr, rc::Rc};

thread_local! {
    /// Why the last call failed, for the function that makes an answer of it.
    static STASH: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// `http_request(client, url, method, headers?, opts?, body?, type?, apart?)`: a call; and status and body, if Lua has no part in that
/// and it is not asked for apart. `headers` as [`headers`] says; `opts` is a timeout, or a table; `body` a string with its content type, or a
/// table ([`own`]). After a failure as all of the core: `nil` and why. One function for all clients: LuaJIT's traces keep the
/// functions that they call, and as old as the core: when a state closes, its functions end before what is older.
pub(super) fn made(lua: &Lua, classes: &Rc<Classes>) -> mlua::Result<Function> {
    let why = lua.create_function(|lua, ()| {
        let stashed = STASH.with(|stash| stash.try_borrow_mut().ok().and_then(|mut why| why.take()));
        failed(lua, stashed.unwrap_or_else(|| Error::new(Kind::Socket, "internal error: no error to raise").into()))
    })?;
    let of = Rc::clone(classes);
    let begin = function(lua, "http_request", move |lua, given| begin(lua, &of.calls, given))?;
    let rest = function(lua, "http_request", |lua, call: AnyUserData| whole(lua, &call))?;
    // SAFETY: runs protected; plain data only.
    unsafe { lua.exec_raw((classes.calls.get(), why, begin, rest), |state| ffi::lua_pushcclosure(state, request, 4)) }
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

/// The upvalues, as [`made`] puts them.
const CALLS: c_int = ffi::lua_upvalueindex(1);
const WHY: c_int = ffi::lua_upvalueindex(2);
const BEGIN: c_int = ffi::lua_upvalueindex(3);
const REST: c_int = ffi::lua_upvalueindex(4);

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
            let call = boxed::held::<Call>(state, -1);
            outcome(|| match call.as_ref() {
                Some(_) if apart => Ok(Outcome::Begun),
                Some(call) => answered(call).inspect_err(|_| call.end()),
                None => argument(0, "not an HTTP call"),
            })
        } else {
            let (url, method) = (text(state, URL), text(state, METHOD));
            let place = boxed::empty::<Call>(state, CALLS);
            // After the last word of Lua's collector, which while a state closes takes what is in use, too.
            let client = boxed::held::<Client>(state, CLIENT);
            outcome(|| match client.as_ref() {
                Some(client) => begun(client, url, method, plain(state)?, apart, place),
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
            Outcome::Failed => {
                signals::raise(state);
                ffi::lua_pushvalue(state, WHY);
                ffi::lua_call(state, 0, 3);
                3
            }
        }
    }
}

/// The bytes of the string at `index`; raises for anything else.
unsafe fn text<'a>(state: *mut ffi::lua_State, index: c_int) -> &'a [u8] {
    bytes(state, index).unwrap_or_else(|| {
        ffi::luaL_argerror(state, index, c"a string expected".as_ptr());
        &[]
    })
}

/// What a request says of its own, where neither options nor body are tables. Raises nothing.
unsafe fn plain<'a>(state: *mut ffi::lua_State) -> Answer<Own<'a>> {
    let told = match ffi::lua_type(state, OPTIONS) {
        ffi::LUA_TNUMBER => seconds(ffi::lua_tonumber(state, OPTIONS)).map_or(Told::Nothing, Told::Timeout),
        _ => Told::Nothing,
    };
    let source = match bytes(state, BODY) {
        Some(body) => Some(Source::bytes(allocation::copied(body)?)),
        None => None,
    };
    let content_type = bytes(state, TYPE).and_then(|kind| std::str::from_utf8(kind).ok()).map(str::to_owned);
    Ok(Own { headers: headers::at(state, HEADERS)?, source, content_type, told })
}

/// The same for tables: a call, and whether Lua has no part in it.
fn begin(lua: &Lua, calls: &Class, given: Given) -> Answer<(Value, bool)> {
    let (of, url, method, headers, opts, body, content_type) = given;
    let client = owner(lua, &of)?;
    let own = own(lua, &client, headers.as_ref(), opts, body, content_type)?;
    let (call, whole) = client.call(&url.as_bytes(), &method.as_bytes(), own)?;
    Ok((call.into_lua(lua, calls)?, whole))
}

/// Does what may fail or panic. Everything with a destructor lives and dies in here, or belongs to a userdata.
fn outcome(act: impl FnOnce() -> Answer<Outcome>) -> Outcome {
    let done = caught(|| Ok(act())).unwrap_or_else(|panic| Err(panic.into()));
    done.unwrap_or_else(|why| {
        STASH.with(|stash| stash.try_borrow_mut().map(|mut place| place.replace(why)).ok());
        Outcome::Failed
    })
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
