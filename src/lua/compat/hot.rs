//! `send` and `receive` of streams, TLS or not: the C functions that programs call in loops.
//!
//! The invariants are those of `lua/userdata.rs`.
#![allow(unsafe_code)]

use super::{
    classes::{Plain, interrupted, object_at, push_all},
    messages::{Class, Fail},
    ssl::SslConn,
    stream::{Bytes, Got, Pattern, Streaming, part},
};
use crate::{
    lua::{
        stack::{bytes, push_front, refuse},
        userdata::{Classes, finalized, held, share, still},
    },
    panics::quietly,
};
use mlua::{Function, Lua, ffi};
use std::{
    ffi::{CStr, c_int},
    ptr,
    rc::Rc,
};

/// Finds what a hot method is called on; raises for anything else. Making a string of a number may run a finalizer, and a
/// script's may call ours by hand: so after that the object is looked for again.
type Find = unsafe fn(*mut ffi::lua_State) -> *const dyn Streaming;

unsafe fn tcp_at(state: *mut ffi::lua_State) -> *const dyn Streaming {
    // SAFETY: `send_tcp` or `receive_tcp` runs.
    unsafe { client_at(state, Class::TcpClient, c"tcp{client} expected") }
}

unsafe fn stream_at(state: *mut ffi::lua_State) -> *const dyn Streaming {
    // SAFETY: `send_stream` or `receive_stream` runs.
    unsafe { client_at(state, Class::StreamClient, c"unixstream{client} expected") }
}

/// # Safety
/// State; the running function is one of `classes`.
unsafe fn client_at(state: *mut ffi::lua_State, class: Class, expected: &CStr) -> *const dyn Streaming {
    // SAFETY: the caller's condition.
    unsafe {
        let (object, _) = object_at(state, class.bit());
        if object.is_null() {
            refuse(state, 1, expected);
        }
        object
    }
}

unsafe fn ssl_at(state: *mut ffi::lua_State) -> *const dyn Streaming {
    // SAFETY: `send_ssl` or `receive_ssl` runs, which `ssl_methods` made.
    unsafe {
        let (conn, _) = held::<SslConn>(state, 1);
        if conn.is_null() {
            let given = ffi::lua_typename(state, ffi::lua_type(state, 1));
            let message = ffi::lua_pushfstring(state, c"SSL:Connection expected, got %s".as_ptr(), given);
            refuse(state, 1, CStr::from_ptr(message));
        }
        conn
    }
}

pub(super) unsafe extern "C-unwind" fn send_tcp(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: State.
    unsafe { send(state, tcp_at) }
}

pub(super) unsafe extern "C-unwind" fn send_stream(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: State.
    unsafe { send(state, stream_at) }
}

unsafe extern "C-unwind" fn send_ssl(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: State.
    unsafe { send(state, ssl_at) }
}

/// `send(data, i, j)`: the index of the last byte that went; after a failure `nil`, why, and that index.
unsafe fn send(state: *mut ffi::lua_State, find: Find) -> c_int {
    // SAFETY: State. No finalizer ran since the object was found; the data stays on the stack. Only plain data is held where Lua may raise.
    unsafe {
        let mut object = find(state);
        let data = match ffi::lua_type(state, 2) {
            ffi::LUA_TSTRING => bytes(state, 2),
            ffi::LUA_TNUMBER => {
                let data = bytes(state, 2);
                object = find(state);
                data
            }
            _ => {
                ffi::luaL_checklstring(state, 2, ptr::null_mut());
                &[]
            }
        };
        let (from, to) = match ffi::lua_gettop(state) {
            2 => (1, data.len()),
            _ => part(data.len(), ffi::luaL_optnumber(state, 3, 1.0), ffi::luaL_optnumber(state, 4, -1.0)),
        };
        let data = data.get(from - 1..to).unwrap_or_default();
        let (sent, why) = sent(object, data);
        let last = (sent + from - 1) as f64;
        match why {
            Plain::Nil => {
                ffi::lua_pushnumber(state, last);
                ffi::lua_pushnil(state);
                ffi::lua_pushnil(state);
            }
            Plain::Bool(_) => interrupted(state),
            why => {
                ffi::lua_pushnil(state);
                push_all(state, &mut [why]);
                ffi::lua_pushnumber(state, last);
            }
        }
    }
    3
}

/// How much of it went, and why not more: plain data; `Plain::Bool` for an interruption.
///
/// # Safety
/// A block owns the object.
unsafe fn sent(object: *const dyn Streaming, data: &[u8]) -> (usize, Plain) {
    let done = quietly(|| {
        // SAFETY: the caller's condition; from here on the call owns it, too (Calls).
        let Some(object) = (unsafe { share(object) }) else { return (0, Plain::Nil) };
        let (sent, why) = object.send(data);
        (sent, plain_why(why))
    });
    done.unwrap_or((0, Plain::Fixed("internal error: a panic was caught")))
}

fn plain_why(why: Option<Fail>) -> Plain {
    match why {
        None => Plain::Nil,
        Some(Fail::Message(why)) => Plain::text(why.text()),
        Some(Fail::Argument(_, text)) => Plain::text(text),
        Some(Fail::Interrupted) => Plain::Bool(true),
    }
}

pub(super) unsafe extern "C-unwind" fn receive_tcp(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: State.
    unsafe { receive(state, tcp_at) }
}

pub(super) unsafe extern "C-unwind" fn receive_stream(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: State.
    unsafe { receive(state, stream_at) }
}

unsafe extern "C-unwind" fn receive_ssl(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: State.
    unsafe { receive(state, ssl_at) }
}

/// The pattern at 2. Raises for what is none.
unsafe fn pattern(state: *mut ffi::lua_State) -> Pattern {
    // SAFETY: State.
    unsafe {
        let kind = ffi::lua_type(state, 2);
        // First what most programs say: to ask whether it reads as a number costs more than a line.
        let text = if kind == ffi::LUA_TSTRING { bytes(state, 2) } else { &[] };
        match text {
            [b'*', b'l', ..] => Pattern::Line,
            [b'*', b'a', ..] => Pattern::All,
            _ if kind == ffi::LUA_TNIL => Pattern::Line,
            _ if ffi::lua_isnumber(state, 2) != 0 => match ffi::lua_tonumber(state, 2) {
                count if count >= 0.0 => Pattern::Count(count as usize),
                _ => refuse(state, 2, c"invalid receive pattern"),
            },
            _ if kind == ffi::LUA_TSTRING => refuse(state, 2, c"invalid receive pattern"),
            _ => {
                ffi::luaL_checklstring(state, 2, ptr::null_mut());
                Pattern::Line
            }
        }
    }
}

/// `receive(pattern, prefix, maxsize, raw)`, of which a program of LuaSocket's knows two: the data; after a failure `nil`, why, and what there was.
unsafe fn receive(state: *mut ffi::lua_State, find: Find) -> c_int {
    // SAFETY: as in `send`. No Lua runs between the call that tells of a front and `push_front`.
    unsafe {
        let mut at = finalized();
        let mut object = find(state);
        let (mut wanted, mut have, mut max) = (Pattern::Line, 0, None);
        let top = ffi::lua_gettop(state);
        if top > 1 {
            wanted = pattern(state);
        }
        if top > 2 {
            ffi::luaL_optlstring(state, 3, c"".as_ptr(), &mut have);
            if top > 3 && ffi::lua_type(state, 4) != ffi::LUA_TNIL {
                max = Some(ffi::luaL_checknumber(state, 4).max(0.0) as usize);
            }
            if top > 4 && wanted == Pattern::Line && ffi::lua_toboolean(state, 5) != 0 {
                wanted = Pattern::Raw;
            }
        }
        loop {
            object = still(object, &mut at, || find(state));
            if top < 3
                && let Some((turn, bytes, spent)) = (*object).quick(wanted)
            {
                push_front(state, object, bytes);
                object = still(object, &mut at, || find(state));
                if (*object).taken(turn, spent) {
                    ffi::lua_pushnil(state);
                    ffi::lua_pushnil(state);
                    return 3;
                }
                // A finalizer of the script's has used the object meanwhile: it came first.
                ffi::lua_settop(state, -2);
                continue;
            }
            let Received { front, mut values } = received(object, wanted, have, max);
            if let Plain::Bool(_) = values[1] {
                interrupted(state);
            }
            let whole = matches!(values[1], Plain::Nil);
            match &front {
                None => push_all(state, &mut values),
                Some(front) => {
                    push_front(state, object, front.bytes);
                    match whole {
                        true => ffi::lua_pushnil(state),
                        false => push_all(state, &mut values[1..]),
                    }
                }
            }
            if have > 0 {
                ffi::lua_pushvalue(state, 3);
                ffi::lua_pushvalue(state, -3);
                ffi::lua_concat(state, 2);
                ffi::lua_replace(state, -3);
            }
            ffi::lua_pushnil(state);
            if !whole {
                ffi::lua_insert(state, -3);
                ffi::lua_insert(state, -2);
            }
            if let Some(front) = &front {
                object = still(object, &mut at, || find(state));
                if !(*object).taken(front.turn, front.spent) {
                    ffi::lua_settop(state, -4);
                    continue;
                }
            }
            return 3;
        }
    }
}

/// `send` and `receive` of TLS connections, by name.
pub fn ssl_methods(lua: &Lua, classes: &Classes<SslConn>) -> mlua::Result<[(&'static str, Function); 2]> {
    // SAFETY: they keep the invariants, and take TLS connections alone.
    unsafe {
        Ok([("send", classes.function(lua, send_ssl, ())?), ("receive", classes.function(lua, receive_ssl, ())?)])
    }
}

/// What `receive` got, as plain data.
struct Received {
    front: Option<Front>,
    /// The bytes, where they are no front, and why it is not all. Beside a front nothing is owned.
    values: [Plain; 2],
}

/// Of a buffer that the block still owns.
struct Front {
    turn: u64,
    bytes: *const [u8],
    spent: usize,
}

/// Waits for what is asked for.
///
/// # Safety
/// A block owns the object.
unsafe fn received(object: *const dyn Streaming, pattern: Pattern, have: usize, max: Option<usize>) -> Received {
    let own = |bytes, why| Received { front: None, values: [Plain::own(bytes), why] };
    let nothing = |why| own(Vec::new(), why);
    let done = quietly(|| {
        // SAFETY: the caller's condition; from here on the call owns it, too (Calls).
        let Some(object) = (unsafe { share(object) }) else { return nothing(Plain::Nil) };
        let Got { bytes, spent, why } = object.receive(pattern, have, max);
        let why = plain_why(why);
        // What arrived stays for the next call.
        if let Plain::Bool(_) = why {
            return nothing(why);
        }
        match bytes {
            Bytes::Front(length) => match object.front(length) {
                // SAFETY: nobody has had the buffer since.
                Some((turn, bytes)) => unsafe {
                    // Finalized by hand while the call waited, and the buffer ends with the call; or two things would be owned.
                    if Rc::strong_count(&object) == 1 || matches!(why, Plain::Own(_)) {
                        let bytes = (*bytes).to_vec();
                        object.spend(spent);
                        return own(bytes, why);
                    }
                    Received { front: Some(Front { turn, bytes, spent }), values: [Plain::Nil, why] }
                },
                None => nothing(Plain::Fixed("internal error: the buffer is shorter than promised")),
            },
            Bytes::Own(bytes) => {
                object.spend(spent);
                own(bytes, why)
            }
        }
    });
    done.unwrap_or_else(|| nothing(Plain::Fixed("internal error: a panic was caught")))
}
