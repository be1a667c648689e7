//! The fenced hot path of the binding: the userdata that scripts hold, and the five
//! stream methods that programs call in loops, straight on Lua's C API.
//!
//! Why: a call through mlua and a Lua front costs three times what a C function costs (bench/README.md has
//! the figures), and these five are called per line and per packet. Everything else goes through mlua.
//!
//! Invariants:
//! 1. A userdata block is one pointer: null, or a `Rc<Socket>` turned raw that the block owns. Only a metatable made
//!    by [`seal`] carries [`MARK`], scripts cannot read or set a userdata's metatable (`__metatable` is false; the
//!    `debug` library is out of any sandbox), so a block with the mark is ours.
//! 2. Lua raises by `longjmp`, which skips Rust's destructors. So a frame of this file that calls a function of Lua
//!    that may raise holds plain data only: what has a destructor lives and dies in [`outcome`].
//! 3. A [`Outcome::Span`] points into a socket's buffer while Lua copies it. Until then the socket is pinned, and a
//!    pinned socket refuses every other use (Lua 5.1 may run a finalizer while it makes a string).
#![allow(unsafe_code)]
// The `unsafe fn`s below have one condition: `state` is a live Lua state with the arguments of the call on its stack,
// as Lua hands it to a C function. Each leaves the stack balanced and keeps to the invariants above.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{
    answer::NO_MEMORY,
    signals,
    socket::{Call, Reply, Socket},
};
use crate::{
    error::{Error, Kind, Result},
    panics::{caught, contained},
};
use mlua::{Function, IntoLua, Lua, Table, Value, ffi};
use std::{
    cell::{Cell, RefCell},
    ffi::{CStr, c_int, c_void},
    ptr,
    rc::Rc,
};

/// Its address is the key that marks our metatables.
static MARK: u8 = 0;

fn mark() -> *const c_void {
    (&raw const MARK).cast()
}

thread_local! {
    /// The error that the next `raise` takes.
    static STASH: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Turns `metatable` into one of ours: marked, locked, with the finalizer.
pub fn seal(lua: &Lua, metatable: &Table) -> mlua::Result<()> {
    metatable.raw_set("__metatable", false)?;
    // SAFETY: runs protected, on a stack whose first value is the table; holds plain data only (invariant 2).
    unsafe {
        lua.exec_raw::<()>(metatable, |state| {
            ffi::lua_pushboolean(state, 1);
            ffi::lua_rawsetp(state, 1, mark());
            ffi::lua_pushstring(state, c"__gc".as_ptr());
            ffi::lua_pushcclosure(state, finalize, 0);
            ffi::lua_rawset(state, 1);
            ffi::lua_settop(state, 0);
        })
    }
}

/// The `__index` of sockets: a method if there is one of that name, else what `property(socket, name)` answers.
pub fn index(lua: &Lua, methods: &Table, property: Function) -> mlua::Result<Function> {
    // SAFETY: as in `seal`.
    unsafe { lua.exec_raw((methods, property), |state| ffi::lua_pushcclosure(state, find, 2)) }
}

/// The hot methods, by name. `take_error()` gives the Lua error object of the stashed error.
pub fn methods(lua: &Lua, take_error: &Function) -> mlua::Result<Vec<(&'static str, Function)>> {
    const HOT: [(&str, ffi::lua_CFunction); 5] =
        [("send", send), ("send_all", send_all), ("recv", recv), ("recv_line", recv_line), ("recv_exact", recv_exact)];
    let closure = |(name, function)| {
        // SAFETY: as in `seal`.
        let made = unsafe { lua.exec_raw(take_error, |state| ffi::lua_pushcclosure(state, function, 1)) };
        made.map(|made| (name, made))
    };
    HOT.into_iter().map(closure).collect()
}

/// A new userdata of the class, with the socket that it owns.
pub fn wrap(lua: &Lua, metatable: &Table, socket: Option<Rc<Socket>>) -> mlua::Result<Value> {
    let raw = socket.map_or(ptr::null(), Rc::into_raw);
    let owned = Cell::new(false);
    // SAFETY: as in `seal`. The block is as large as the pointer that is written into it, and aligned for it (Lua
    // aligns blocks for any C type). The metatable comes last: a block is marked only once its pointer stands.
    let made = unsafe {
        lua.exec_raw(metatable, |state| {
            let block = ffi::lua_newuserdata(state, size_of::<*const Socket>()).cast::<*const Socket>();
            block.write(raw);
            ffi::lua_pushvalue(state, 1);
            ffi::lua_setmetatable(state, -2);
            owned.set(true);
            ffi::lua_remove(state, 1);
        })
    };
    if !owned.get() && !raw.is_null() {
        // SAFETY: the pointer came from `Rc::into_raw` above and no block took it.
        drop(unsafe { Rc::from_raw(raw) });
    }
    made
}

/// The socket that a value holds; `None` for any other value, and for a finalized one.
pub fn peek(lua: &Lua, value: impl IntoLua) -> mlua::Result<Option<Rc<Socket>>> {
    let mut found: *const Socket = ptr::null();
    // SAFETY: as in `seal`; `socket_at` only reads.
    unsafe {
        lua.exec_raw::<()>(value, |state| {
            found = socket_at(state, 1);
            ffi::lua_settop(state, 0);
        })?;
    }
    // SAFETY: invariant 1: `found` came from `Rc::into_raw`, and the block that owns it is alive: the caller holds
    // the value, and no Lua ran since.
    Ok(unsafe { share(found) })
}

/// Another count of what a block owns; nothing for null.
///
/// # Safety
/// `found` is null, or came from `Rc::into_raw` and is still owned.
pub unsafe fn share<T>(found: *const T) -> Option<Rc<T>> {
    if found.is_null() {
        return None;
    }
    Rc::increment_strong_count(found);
    Some(Rc::from_raw(found))
}

/// The error that a hot method stashed, for `take_error`.
pub fn take_error() -> Error {
    STASH
        .with(|stash| stash.try_borrow_mut().ok().and_then(|mut e| e.take()))
        .unwrap_or_else(|| Error::new(Kind::Socket, "internal error: no error to raise"))
}

/// Makes room for `slots` values on Lua's stack, or raises that there is no memory. `luaL_checkstack` would say that the stack
/// overflows, which what is pushed here never makes it do.
///
/// # Safety
/// `state` is a live Lua state in a protected call.
pub unsafe fn room(state: *mut ffi::lua_State, slots: c_int) {
    // SAFETY: the caller's promise; where there is no room, the extra slots that every C function has are enough for a text.
    unsafe {
        if ffi::lua_checkstack(state, slots) == 0 {
            ffi::lua_pushlstring(state, NO_MEMORY.as_ptr().cast(), NO_MEMORY.len());
            ffi::lua_error(state);
        }
    }
}

/// Pushes a whole number. Before Lua 5.3, and in LuaJIT, `lua_Integer` is as wide as a pointer, and numbers are doubles: what does not fit
/// into it goes as one.
///
/// # Safety
/// `state` is a live Lua state that has room for a value on its stack.
pub unsafe fn push_integer(state: *mut ffi::lua_State, value: i64) {
    match ffi::lua_Integer::try_from(value) {
        Ok(value) => ffi::lua_pushinteger(state, value),
        Err(_) => ffi::lua_pushnumber(state, value as f64),
    }
}

/// The block's pointer if the value at `index` is one of ours; null otherwise.
unsafe fn socket_at(state: *mut ffi::lua_State, index: c_int) -> *const Socket {
    let block = block_at(state, index);
    if block.is_null() { ptr::null() } else { block.read() }
}

/// Neither a table nor a light userdata passes: scripts cannot lay their hands on a marked metatable, and of what is
/// no userdata Lua has no pointer to give.
unsafe fn block_at(state: *mut ffi::lua_State, index: c_int) -> *mut *const Socket {
    if ffi::lua_getmetatable(state, index) == 0 {
        return ptr::null_mut();
    }
    let ours = ffi::lua_rawgetp(state, -1, mark()) == ffi::LUA_TBOOLEAN;
    ffi::lua_settop(state, -3);
    if ours { ffi::lua_touserdata(state, index).cast() } else { ptr::null_mut() }
}

unsafe extern "C-unwind" fn finalize(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: invariant 1; the pointer is taken out of the block before it is dropped, so a second call finds null.
    unsafe {
        let block = block_at(state, 1);
        if !block.is_null() {
            let socket = block.replace(ptr::null());
            if !socket.is_null() {
                // A panic of a destructor must not cross into the collector.
                contained(|| drop(Rc::from_raw(socket)));
            }
        }
    }
    0
}

/// `__index`: upvalue 1 is the table of methods, upvalue 2 answers properties.
unsafe extern "C-unwind" fn find(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls an `__index` with two values on the stack; plain data only (invariant 2).
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

/// What a hot method leaves on Lua's stack: plain data (invariant 2).
enum Outcome {
    Nil,
    True,
    Count(usize),
    Span { start: *const u8, length: usize },
    Raise,
}

/// Runs the method. Everything with a destructor lives and dies in here.
fn outcome(socket: &Socket, call: &Call<'_>, run: fn(&Socket, &Call<'_>) -> Result<Reply>) -> Outcome {
    let done = caught(|| {
        Ok(match run(socket, call)? {
            Reply::Nil => Outcome::Nil,
            Reply::True => Outcome::True,
            Reply::Count(count) => Outcome::Count(count),
            Reply::Front(length) => match socket.pin(length) {
                Some(bytes) => Outcome::Span { start: bytes.cast(), length: bytes.len() },
                None => return Err(Error::new(Kind::Socket, "internal error: the buffer is shorter than promised")),
            },
        })
    });
    done.unwrap_or_else(stash)
}

fn stash(error: Error) -> Outcome {
    STASH.with(|stash| {
        if let Ok(mut place) = stash.try_borrow_mut() {
            *place = Some(error);
        }
    });
    Outcome::Raise
}

unsafe fn invoke(
    state: *mut ffi::lua_State,
    parse: unsafe fn(*mut ffi::lua_State, &mut Call<'_>),
    run: fn(&Socket, &Call<'_>) -> Result<Reply>,
) -> c_int {
    // SAFETY: the socket outlives the call: its userdata is the first argument, and `close` only empties it. Between
    // `outcome` and the return only plain data is held (invariant 2), and the span is pinned (invariant 3).
    unsafe {
        let socket = socket_at(state, 1);
        if socket.is_null() {
            return ffi::luaL_argerror(state, 1, c"call it with a colon, on a tcp, ssl or unix socket".as_ptr());
        }
        let socket = &*socket;
        let mut call = Call::default();
        parse(state, &mut call);
        match outcome(socket, &call, run) {
            Outcome::Nil => ffi::lua_pushnil(state),
            Outcome::True => ffi::lua_pushboolean(state, 1),
            Outcome::Count(count) => ffi::lua_pushinteger(state, count as ffi::lua_Integer),
            Outcome::Span { start, length } => {
                ffi::lua_pushlstring(state, start.cast(), length);
                socket.unpin(length);
            }
            Outcome::Raise => {
                signals::raise(state);
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
                ffi::lua_call(state, 0, 1);
                ffi::lua_error(state);
            }
        }
    }
    1
}

unsafe extern "C-unwind" fn send(state: *mut ffi::lua_State) -> c_int {
    invoke(state, bytes, |socket, call| socket.send(call))
}

unsafe extern "C-unwind" fn send_all(state: *mut ffi::lua_State) -> c_int {
    invoke(state, bytes, |socket, call| socket.send_all(call))
}

unsafe extern "C-unwind" fn recv(state: *mut ffi::lua_State) -> c_int {
    invoke(state, maximum, |socket, call| socket.recv(call))
}

unsafe extern "C-unwind" fn recv_line(state: *mut ffi::lua_State) -> c_int {
    invoke(state, |state, call| options(state, 2, true, call), |socket, call| socket.recv_line(call))
}

unsafe extern "C-unwind" fn recv_exact(state: *mut ffi::lua_State) -> c_int {
    invoke(state, count, |socket, call| socket.recv_exact(call))
}

/// `(bytes, opts?)`. The bytes stay on the stack, so the slice lives as long as the call.
unsafe fn bytes(state: *mut ffi::lua_State, call: &mut Call<'_>) {
    if !matches!(ffi::lua_type(state, 2), ffi::LUA_TSTRING | ffi::LUA_TNUMBER) {
        refuse(state, 2, c"bytes must be a string");
    }
    let mut length = 0;
    let start = ffi::lua_tolstring(state, 2, &mut length);
    call.bytes = std::slice::from_raw_parts(start.cast(), length);
    options(state, 3, false, call);
}

/// `(max?, opts?)`
unsafe fn maximum(state: *mut ffi::lua_State, call: &mut Call<'_>) {
    call.count = match ffi::lua_type(state, 2) {
        ffi::LUA_TNIL | ffi::LUA_TNONE => super::socket::RECV,
        _ => whole(state, 2).filter(|&n| n > 0).unwrap_or_else(|| {
            refuse_number(
                state,
                2,
                2,
                c"max must be a number, got a string",
                c"max must be a whole number of bytes, 1 or more; options come behind it: recv(nil, { timeout = 1 })",
            );
        }),
    };
    options(state, 3, false, call);
}

/// `(n, opts?)`
unsafe fn count(state: *mut ffi::lua_State, call: &mut Call<'_>) {
    call.count = whole(state, 2).unwrap_or_else(|| {
        refuse_number(
            state,
            2,
            2,
            c"n must be a number, got a string",
            c"n must be a whole number of bytes, 0 or more; options come behind it: recv_exact(n, { timeout = 1 })",
        );
    });
    options(state, 3, false, call);
}

/// A number that is a whole one, from 0 to 2^53.
unsafe fn whole(state: *mut ffi::lua_State, index: c_int) -> Option<usize> {
    if ffi::lua_type(state, index) != ffi::LUA_TNUMBER {
        return None;
    }
    let number = ffi::lua_tonumber(state, index);
    ((0.0..=9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0).then_some(number as usize)
}

/// `{ timeout = seconds, max = bytes }`, read raw: a metatable on the table is never asked.
unsafe fn options(state: *mut ffi::lua_State, index: c_int, line: bool, call: &mut Call<'_>) {
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
            b"timeout" => match ffi::lua_type(state, -1) {
                ffi::LUA_TNUMBER => match super::socket::seconds(ffi::lua_tonumber(state, -1)) {
                    Some(timeout) => call.timeout = Some(timeout),
                    None => refuse(state, index, c"timeout must be 0 or more seconds"),
                },
                _ => {
                    let message = (c"timeout must be a number, got a string", c"timeout must be a number of seconds");
                    refuse_number(state, index, -1, message.0, message.1)
                }
            },
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

/// Refuses the value at `place`, which is no such number: a number as text is the commonest slip.
unsafe fn refuse_number(state: *mut ffi::lua_State, index: c_int, place: c_int, text: &CStr, other: &CStr) -> ! {
    let text = if ffi::lua_type(state, place) == ffi::LUA_TSTRING { text } else { other };
    refuse(state, index, text)
}

/// Raises `bad argument #index to 'method' (words)`. Holds nothing that needs dropping.
unsafe fn refuse(state: *mut ffi::lua_State, index: c_int, message: &CStr) -> ! {
    ffi::luaL_argerror(state, index, message.as_ptr());
    // luaL_argerror does not return; this tells the compiler the same.
    ffi::lua_error(state)
}
