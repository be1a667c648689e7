//! What every request does, straight on Lua's C API: `server_next` hands it out, `request_respond` answers it. Through mlua the two cost a
//! fifth of a small request (bench/README.md).
//!
//! The invariants are those of `userdata`: a request belongs to a userdata that is made before the wait for it.
#![allow(unsafe_code)]

use super::{
    Next, headers,
    request::HeldRequest,
    respond::{answer_to, default_kind},
    serving,
};
use crate::{
    lua::{
        answer::{self, Answer, argument},
        socket::Socket,
        stack::{push_bytes, refuse, string, tell},
        userdata::{Classes, Empty, OWN, empty, held, share},
    },
    server::Content,
};
use mlua::{Function, Lua, ffi};
use std::{ffi::c_int, rc::Rc};

const REQUESTS: c_int = OWN;
const WHY: c_int = OWN - 1;

/// `server_next(server, timeout?, place?)`: a request, its method and path; false once the server has stopped; true and the seconds left
/// where there is a note. After a failure as all of the core.
pub(super) fn next(lua: &Lua, sockets: &Classes<Socket>, requests: &Classes<HeldRequest>) -> mlua::Result<Function> {
    // SAFETY: `next_request` keeps the invariants: it takes sockets alone, and makes requests of the list at REQUESTS.
    unsafe { sockets.function(lua, next_request, (requests.list(), answer::stashed(lua)?)) }
}

/// `request_respond(request, status, headers?, body?, content_type?)`: false where the client is gone.
pub(super) fn respond(lua: &Lua, requests: &Classes<HeldRequest>) -> mlua::Result<Function> {
    // SAFETY: `respond_to` keeps the invariants: it takes requests alone.
    unsafe { requests.function(lua, respond_to, answer::stashed(lua)?) }
}

/// What a call leaves on Lua's stack: plain data (Jumps).
enum Outcome {
    /// The request stands in the userdata on the stack, with its method and its path.
    Request(*const [u8], *const [u8]),
    Note(f64),
    Boolean(bool),
    Failed,
}

/// Leaves the results of a call, or why it failed: what stands at `why` tells.
///
/// # Safety
/// State; the caller's frames hold plain data only, and a request that was handed out is on the top of the stack.
unsafe fn leave(state: *mut ffi::lua_State, outcome: &Outcome, why: c_int) -> c_int {
    // SAFETY: the caller's condition; the bytes belong to the request on the stack.
    unsafe {
        match outcome {
            Outcome::Request(method, path) => {
                push_bytes(state, &**method);
                push_bytes(state, &**path);
                3
            }
            Outcome::Note(left) => {
                ffi::lua_pushboolean(state, 1);
                ffi::lua_pushnumber(state, *left);
                2
            }
            Outcome::Boolean(value) => {
                ffi::lua_pushboolean(state, c_int::from(*value));
                1
            }
            Outcome::Failed => tell(state, why, 3),
        }
    }
}

unsafe extern "C-unwind" fn next_request(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: the upvalues are those of `next`. The arguments stay on the stack, so the socket and the bytes of `from` live as long as the call.
    unsafe {
        ffi::lua_settop(state, 3);
        let timeout = (ffi::lua_type(state, 2) == ffi::LUA_TNUMBER).then(|| ffi::lua_tonumber(state, 2));
        let from = string(state, 3).unwrap_or_default();
        let place = empty::<HeldRequest>(state, REQUESTS, 0);
        // After the last word of Lua's collector, which while a state closes takes what is in use, too.
        let (socket, _) = held::<Socket>(state, 1);
        // The call owns the socket, too, as long as it waits (Calls).
        let outcome = answer::or_stashed(Outcome::Failed, || match share(socket) {
            Some(socket) => waited(&socket, timeout, from, place),
            None => argument(0, "not a server"),
        });
        leave(state, &outcome, WHY)
    }
}

/// Waits for a request, or for something else to tell.
fn waited(socket: &Socket, timeout: Option<f64>, from: &[u8], place: Empty<HeldRequest>) -> Answer<Outcome> {
    let server = serving(socket, "accept")?;
    Ok(match server.next(socket, timeout)? {
        Next::Request(request) => {
            let held = Rc::new(HeldRequest::new(&server, request, from));
            // SAFETY: the userdata is on the stack of `next_request`, and lives as long as that runs.
            let held = unsafe { place.fill(held) };
            let head = &held.request.head;
            Outcome::Request(head.method.as_bytes(), head.target.path().as_bytes())
        }
        Next::Note(left) => Outcome::Note(left),
        Next::Over => Outcome::Boolean(false),
    })
}

unsafe extern "C-unwind" fn respond_to(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: the upvalues are those of `respond`. The arguments stay on the stack, so the request and the bytes live as long as the call; no
    // Lua runs between the look at a table of headers and the last look at its strings.
    unsafe {
        ffi::lua_settop(state, 5);
        let (request, _) = held::<HeldRequest>(state, 1);
        if ffi::lua_type(state, 2) != ffi::LUA_TNUMBER {
            refuse(state, 2, c"status must be a number");
        }
        let status = ffi::lua_tonumber(state, 2);
        let outcome = answer::or_stashed(Outcome::Failed, || {
            let Some(held) = request.as_ref() else { return argument(0, "not a request") };
            let held = held.unanswered()?;
            let mut answer = answer_to(held, status)?;
            if ffi::lua_type(state, 3) == ffi::LUA_TTABLE {
                headers::put(state, 3, &mut answer)?;
            }
            default_kind(&mut answer, string(state, 5))?;
            let body = string(state, 4).unwrap_or_default();
            let done = held.server.engine()?.answer(held.ticket(), &answer, Content::Bytes(body));
            held.answered.set(true);
            Ok(Outcome::Boolean(done.map_err(|e| e.op("respond"))?))
        });
        leave(state, &outcome, OWN)
    }
}
