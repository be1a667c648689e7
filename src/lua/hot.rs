//! The hot methods of sockets: the five of streams that programs call in loops, straight on Lua's C API.
//!
//! Why: a call through mlua and a Lua front costs three times what a C function costs (bench/README.md has
//! the figures), and these five are called per line and per packet. Everything else goes through mlua.
//!
//! The invariants are those of `userdata`.
#![allow(unsafe_code)]

use super::{
    answer,
    socket::{Call, Reply, Socket},
    stack::{bytes, push_front, refuse, tell},
    turns::Buffered,
    userdata::{Classes, OWN, finalized, held, share, still},
};
use crate::error::{Error, Kind, Result};
use mlua::{Function, Lua, Table, ffi};
use std::{
    ffi::{CStr, c_int},
    ptr,
    rc::Rc,
    time::Duration,
};

/// The `__index` of sockets: a method if there is one of that name, else what `property(socket, name)` answers.
pub fn index(lua: &Lua, methods: &Table, property: Function) -> mlua::Result<Function> {
    // SAFETY: runs protected; plain data only.
    unsafe { lua.exec_raw((methods, property), |state| ffi::lua_pushcclosure(state, find, 2)) }
}

/// The hot methods, by name.
pub fn methods(lua: &Lua, classes: &Classes<Socket>) -> mlua::Result<Vec<(&'static str, Function)>> {
    const HOT: [(&str, ffi::lua_CFunction); 5] =
        [("send", send), ("send_all", send_all), ("recv", recv), ("recv_line", recv_line), ("recv_exact", recv_exact)];
    let stashed = answer::stashed(lua)?;
    // SAFETY: they keep the invariants, and `invoke` takes sockets alone.
    let closure = |(name, function)| Ok((name, unsafe { classes.function(lua, function, &stashed)? }));
    HOT.into_iter().map(closure).collect()
}

/// `__index`: upvalue 1 is the table of methods, upvalue 2 answers properties.
unsafe extern "C-unwind" fn find(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls an `__index` with two values on the stack; plain data only.
    unsafe {
        ffi::lua_settop(state, 2);
        ffi::lua_pushvalue(state, 2);
        if ffi::lua_rawget(state, ffi::lua_upvalueindex(1)) == ffi::LUA_TNIL {
            ffi::lua_settop(state, 2);
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
            ffi::lua_insert(state, 1);
            ffi::lua_call(state, 2, 1);
        }
    }
    1
}

/// What a hot method leaves on Lua's stack: plain data (Jumps).
enum Outcome {
    Nil,
    True,
    Count(usize),
    /// The front of the socket's buffer, and the turn it is of.
    Front(u64, *const [u8]),
    Raise,
}

/// Runs the method. Everything with a destructor lives and dies in here.
///
/// # Safety
/// A block owns the socket.
unsafe fn outcome(socket: *const Socket, call: &Call<'_>, run: fn(&Socket, &Call<'_>) -> Result<Reply>) -> Outcome {
    answer::or_stashed(Outcome::Raise, || {
        // SAFETY: the caller's condition; from here on the call owns it, too (Calls).
        let Some(socket) = (unsafe { share(socket) }) else { return Err(Error::internal("no socket").into()) };
        Ok(match run(&socket, call)? {
            Reply::Nil => Outcome::Nil,
            Reply::True => Outcome::True,
            Reply::Count(count) => Outcome::Count(count),
            Reply::Front(length) => match socket.front(length) {
                // No block keeps the buffer for Lua to copy from.
                Some(_) if Rc::strong_count(&socket) == 1 => {
                    let error = Error::new(Kind::Closed, "the socket was closed by another call");
                    return Err(socket.told(error, "recv").into());
                }
                Some((turn, bytes)) => Outcome::Front(turn, bytes),
                None => return Err(Error::internal("the buffer is shorter than promised").into()),
            },
        })
    })
}

/// # Safety
/// State; the running function is one of [`methods`].
unsafe fn invoke(
    state: *mut ffi::lua_State,
    parse: unsafe fn(*mut ffi::lua_State, &mut Call<'_>),
    run: fn(&Socket, &Call<'_>) -> Result<Reply>,
) -> c_int {
    // SAFETY: the caller's condition. Between `outcome` and the return only plain data is held, and no Lua runs between it and `push_front`.
    unsafe {
        let mut at = finalized();
        let mut socket = socket_at(state);
        let mut call = Call::default();
        parse(state, &mut call);
        loop {
            socket = still(socket, &mut at, || socket_at(state));
            match outcome(socket, &call, run) {
                Outcome::Nil => ffi::lua_pushnil(state),
                Outcome::True => ffi::lua_pushboolean(state, 1),
                Outcome::Count(count) => ffi::lua_pushinteger(state, count as ffi::lua_Integer),
                Outcome::Front(turn, bytes) => {
                    push_front(state, socket, bytes);
                    socket = still(socket, &mut at, || socket_at(state));
                    if !(*socket).taken(turn, bytes.len()) {
                        // A finalizer of the script's has used the socket meanwhile: it came first.
                        ffi::lua_settop(state, -2);
                        continue;
                    }
                }
                Outcome::Raise => {
                    tell(state, OWN, 2);
                    ffi::lua_error(state);
                }
            }
            return 1;
        }
    }
}

/// The socket at 1; raises where there is none.
///
/// # Safety
/// As of [`invoke`].
unsafe fn socket_at(state: *mut ffi::lua_State) -> *const Socket {
    // SAFETY: the caller's condition.
    unsafe {
        let (socket, _) = held::<Socket>(state, 1);
        if socket.is_null() {
            refuse(state, 1, c"call it with a colon, on a tcp, ssl or unix socket");
        }
        socket
    }
}

unsafe extern "C-unwind" fn send(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: one of `methods`, as are the next ones.
    unsafe { invoke(state, sent, |socket, call| socket.send(call)) }
}

unsafe extern "C-unwind" fn send_all(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `send`.
    unsafe { invoke(state, sent, |socket, call| socket.send_all(call)) }
}

unsafe extern "C-unwind" fn recv(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `send`.
    unsafe { invoke(state, maximum, |socket, call| socket.recv(call)) }
}

unsafe extern "C-unwind" fn recv_line(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `send`.
    unsafe { invoke(state, line, |socket, call| socket.recv_line(call)) }
}

unsafe extern "C-unwind" fn recv_exact(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as of `send`.
    unsafe { invoke(state, count, |socket, call| socket.recv_exact(call)) }
}

/// `(bytes, opts?)`. The bytes stay on the stack, so the slice lives as long as the call.
unsafe fn sent(state: *mut ffi::lua_State, call: &mut Call<'_>) {
    // SAFETY: State; the frames that `refuse` leaves hold plain data.
    unsafe {
        if !matches!(ffi::lua_type(state, 2), ffi::LUA_TSTRING | ffi::LUA_TNUMBER) {
            refuse(state, 2, c"bytes must be a string");
        }
        call.bytes = bytes(state, 2);
        options(state, 3, false, call);
    }
}

/// `(opts?)`
unsafe fn line(state: *mut ffi::lua_State, call: &mut Call<'_>) {
    // SAFETY: State.
    unsafe { options(state, 2, true, call) }
}

/// `(max?, opts?)`
unsafe fn maximum(state: *mut ffi::lua_State, call: &mut Call<'_>) {
    const TEXT: &CStr = c"max must be a number, got a string";
    const OTHER: &CStr =
        c"max must be a whole number of bytes, 1 or more; options are the second argument: recv(nil, { timeout = 1 })";
    // SAFETY: State.
    unsafe {
        call.count = match ffi::lua_type(state, 2) {
            ffi::LUA_TNIL | ffi::LUA_TNONE => super::socket::RECV,
            _ => match whole(state, 2).filter(|&n| n > 0) {
                Some(max) => max,
                None => refuse_number(state, 2, 2, TEXT, OTHER),
            },
        };
        options(state, 3, false, call);
    }
}

/// `(n, opts?)`
unsafe fn count(state: *mut ffi::lua_State, call: &mut Call<'_>) {
    const TEXT: &CStr = c"n must be a number, got a string";
    const OTHER: &CStr =
        c"n must be a whole number of bytes, 0 or more; options are the second argument: recv_exact(n, { timeout = 1 })";
    // SAFETY: State.
    unsafe {
        call.count = match whole(state, 2) {
            Some(count) => count,
            None => refuse_number(state, 2, 2, TEXT, OTHER),
        };
        options(state, 3, false, call);
    }
}

/// A number that is a whole one, from 0 to 2^53.
unsafe fn whole(state: *mut ffi::lua_State, index: c_int) -> Option<usize> {
    // SAFETY: State; neither raises.
    let number = unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TNUMBER {
            return None;
        }
        ffi::lua_tonumber(state, index)
    };
    ((0.0..=9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0).then_some(number as usize)
}

/// `{ timeout = seconds, max = bytes }`, read raw: a metatable on the table is never asked.
unsafe fn options(state: *mut ffi::lua_State, index: c_int, line: bool, call: &mut Call<'_>) {
    // SAFETY: State. A key that is a string is not converted, so `lua_next` goes on from it.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TNIL | ffi::LUA_TNONE => return,
            ffi::LUA_TTABLE => {}
            _ => refuse(state, index, c"opts must be a table"),
        }
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, index) != 0 {
            let name = match ffi::lua_type(state, -2) {
                ffi::LUA_TSTRING => CStr::from_ptr(ffi::lua_tolstring(state, -2, ptr::null_mut())),
                _ => c"?",
            };
            match name.to_bytes() {
                b"timeout" => call.timeout = Some(timeout(state, index)),
                b"max" if line => match whole(state, -1).filter(|&n| n > 0) {
                    Some(max) => call.max = Some(max),
                    None => {
                        let message =
                            (c"max must be a number, got a string", c"max must be a whole number of bytes, 1 or more");
                        refuse_number(state, index, -1, message.0, message.1)
                    }
                },
                _ => {
                    let message = ffi::lua_pushfstring(state, c"unknown option '%s'".as_ptr(), name.as_ptr());
                    ffi::luaL_argerror(state, index, message);
                }
            }
            ffi::lua_settop(state, -2);
        }
    }
}

/// The option on top, of the table at `index`.
unsafe fn timeout(state: *mut ffi::lua_State, index: c_int) -> Option<Duration> {
    const TEXT: &CStr = c"timeout must be a number, got a string";
    const OTHER: &CStr = c"timeout must be a number of seconds";
    // SAFETY: State.
    unsafe {
        if ffi::lua_type(state, -1) != ffi::LUA_TNUMBER {
            refuse_number(state, index, -1, TEXT, OTHER);
        }
        match super::socket::seconds(ffi::lua_tonumber(state, -1)) {
            Some(timeout) => timeout,
            None => refuse(state, index, c"timeout must be 0 or more seconds"),
        }
    }
}

/// Refuses the value at `place`, which is no such number: a number as text is the commonest slip.
unsafe fn refuse_number(state: *mut ffi::lua_State, index: c_int, place: c_int, text: &CStr, other: &CStr) -> ! {
    // SAFETY: State; the callers hold plain data.
    unsafe {
        let text = if ffi::lua_type(state, place) == ffi::LUA_TSTRING { text } else { other };
        refuse(state, index, text)
    }
}
