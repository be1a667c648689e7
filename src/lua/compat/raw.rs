//! The drop-in's objects as Lua sees them: userdata whose metatables are made by hand, since programs read and patch
//! `getmetatable(socket).__index`, and the C functions that are their methods (`send` and `receive` of streams: `hot`).
//!
//! Why not mlua: its userdata hide their metatable, an object could not change its class in place, and wrong arguments
//! could not be raised in LuaSocket's words.
//!
//! Invariants:
//! 1. A userdata block begins with one pointer: null, or a `Rc<Object>` turned raw that the block owns. Scripts can read our
//!    metatables and change what is in them, so what marks a block is which metatable it has, not what is in it: the
//!    addresses of the ten stand in [`Classes`], which scripts cannot reach, and the ten live as long as it does.
//!    Nobody but us gives one to a userdata (`setmetatable` takes tables only, and of a table Lua has no block; the
//!    `debug` library is out of any sandbox).
//! 2. Lua raises by `longjmp`, which skips Rust's destructors. So a frame of this file that calls a function of Lua
//!    that may raise holds plain data only: what has a destructor lives and dies in [`caught`], and what leaves it is
//!    owned through a raw pointer, which is freed once Lua has its copy.
//! 3. A span points into a socket's buffer while Lua copies it. Until then its slot is pinned, and a pinned slot
//!    refuses every other use (Lua 5.1 may run a finalizer while it makes a string).
#![allow(unsafe_code)]
// The `unsafe fn`s below have one condition: `state` is a live Lua state with the arguments of the call on its stack,
// as Lua hands it to a C function. Each leaves the stack balanced and keeps to the invariants above.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{
    hot,
    messages::{Answer, Arg, Class, Fail, Out, Outcome, Text},
    object::{Object, Slot},
};
use crate::{
    compat::bsd::Bare,
    lua::{
        raw::{push_integer, share},
        signals,
    },
    panics::{contained, quietly},
};
use mlua::{Function, Lua, Table, Value, ffi};
use std::{
    borrow::Cow,
    ffi::{CStr, c_int, c_void},
    os::fd::{FromRawFd, OwnedFd, RawFd},
    ptr,
    rc::Rc,
};

const CLASSES: usize = Class::ALL.len();

/// How large Lua takes a socket to be, in bytes. The originals' streams hold their buffer, ours a pointer: to the collector
/// it would be next to nothing, and a program that leaves its sockets to it would have run out of descriptors long before.
pub(super) const WEIGHT: usize = 8192;

/// The addresses of an installation's metatables, in the order of [`Class::ALL`].
struct Classes([*const c_void; CLASSES]);

/// A method that is not hot.
pub struct Method {
    pub name: &'static str,
    /// The classes that have it, as bits.
    pub classes: u16,
    /// What others are told: `"tcp{any} expected"`.
    pub expected: &'static CStr,
    /// Positions whose numbers are taken as strings, as bits.
    pub texts: u8,
    pub run: fn(&Object, Class, &Args<'_>) -> Outcome<Answer>,
}

/// The arguments behind the object.
pub struct Args<'a> {
    pub list: [Arg<'a>; 5],
    /// Of a table at position 3: its `on`, `timeout`, `multiaddr`, `interface`.
    pub fields: [Arg<'a>; 4],
}

/// Its address is the registry's key of the table that knows every metatable of the drop-in.
static KNOWN: u8 = 0;

fn known() -> *const c_void {
    (&raw const KNOWN).cast()
}

/// Makes the metatables of an installation. `methods(class)`: what its objects can do.
pub fn classes(lua: &Lua, methods: impl Fn(Class) -> &'static [Method]) -> mlua::Result<Table> {
    let metatables = lua.create_table()?;
    let mut tables = Vec::new();
    for _ in Class::ALL {
        let metatable = lua.create_table()?;
        metatables.raw_push(&metatable)?;
        tables.push(metatable);
    }
    // SAFETY: runs protected, on a stack whose first value is the list of metatables; plain data only (invariant 2).
    // The block is as large as what is written into it, and Lua aligns blocks for any C type.
    let block: Value = unsafe {
        lua.exec_raw(&metatables, |state| {
            let mut addresses = [ptr::null(); CLASSES];
            for (at, address) in addresses.iter_mut().enumerate() {
                ffi::lua_rawgeti(state, 1, (at + 1) as _);
                *address = ffi::lua_topointer(state, -1);
                ffi::lua_settop(state, 1);
            }
            ffi::lua_newuserdata(state, size_of::<Classes>()).cast::<Classes>().write(Classes(addresses));
            // The registry keeps the metatables, so that no other table ever has one of their addresses.
            if ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, known()) != ffi::LUA_TTABLE {
                ffi::lua_settop(state, -2);
                ffi::lua_createtable(state, 0, CLASSES as c_int);
                ffi::lua_pushvalue(state, -1);
                ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, known());
            }
            for at in 0..CLASSES {
                ffi::lua_rawgeti(state, 1, (at + 1) as _);
                ffi::lua_pushboolean(state, 1);
                ffi::lua_rawset(state, 3);
            }
            ffi::lua_settop(state, 2);
            ffi::lua_remove(state, 1);
        })?
    };
    let closure = |function: ffi::lua_CFunction, method: *const Method| -> mlua::Result<Function> {
        // SAFETY: as above. A method's description is static.
        unsafe {
            lua.exec_raw((&block, &metatables), |state| {
                ffi::lua_pushlightuserdata(state, method.cast_mut().cast());
                ffi::lua_pushcclosure(state, function, 3);
            })
        }
    };
    for (class, metatable) in Class::ALL.into_iter().zip(&tables) {
        let index = lua.create_table()?;
        index.raw_set("class", class.name())?;
        for method in methods(class) {
            index.raw_set(method.name, closure(cold, method)?)?;
        }
        match class {
            Class::TcpMaster | Class::TcpClient | Class::TcpServer => {
                index.raw_set("send", closure(hot::send_tcp, ptr::null())?)?;
                index.raw_set("receive", closure(hot::receive_tcp, ptr::null())?)?;
            }
            Class::StreamMaster | Class::StreamClient | Class::StreamServer => {
                index.raw_set("send", closure(hot::send_stream, ptr::null())?)?;
                index.raw_set("receive", closure(hot::receive_stream, ptr::null())?)?;
            }
            _ => {}
        }
        metatable.raw_set("__index", index)?;
        metatable.raw_set("__name", class.name())?;
        metatable.raw_set("__tostring", closure(to_string, ptr::null())?)?;
        metatable.raw_set("__gc", closure(finalize, ptr::null())?)?;
    }
    Ok(metatables)
}

/// A new userdata of the class, with the object that it owns.
pub fn wrap(lua: &Lua, metatables: &Table, object: Rc<Object>, class: Class) -> mlua::Result<Value> {
    let mut raw = Rc::into_raw(object);
    // SAFETY: as in `classes`; the pointer has one owner at any time.
    let made = unsafe {
        lua.exec_raw(metatables, |state| {
            give(state, 1, &mut raw, class);
            ffi::lua_remove(state, 1);
        })
    };
    if !raw.is_null() {
        // SAFETY: the pointer came from `Rc::into_raw` above and no block took it.
        drop(unsafe { Rc::from_raw(raw) });
    }
    made
}

/// Pushes a userdata that takes over `raw`, which is null from then on. `metatables` is the list's place.
unsafe fn give(state: *mut ffi::lua_State, metatables: c_int, raw: &mut *const Object, class: Class) {
    let block = ffi::lua_newuserdata(state, WEIGHT).cast::<*const Object>();
    block.write(ptr::null());
    ffi::lua_rawgeti(state, metatables, (class as usize + 1) as _);
    ffi::lua_setmetatable(state, -2);
    block.write(std::mem::replace(raw, ptr::null()));
}

/// The object behind a value of any installation; `None` for any other value.
pub fn peek(lua: &Lua, value: &Value) -> mlua::Result<Option<Rc<Object>>> {
    let mut found: *const Object = ptr::null();
    // SAFETY: as in `classes`; invariant 1 for what the block holds.
    unsafe {
        lua.exec_raw::<()>(value, |state| {
            if ffi::lua_getmetatable(state, 1) != 0
                && ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, known()) == ffi::LUA_TTABLE
            {
                ffi::lua_pushvalue(state, 2);
                let block = ffi::lua_touserdata(state, 1).cast::<*const Object>();
                if ffi::lua_rawget(state, 3) == ffi::LUA_TBOOLEAN && !block.is_null() {
                    found = block.read();
                }
            }
            ffi::lua_settop(state, 0);
        })?;
    }
    // SAFETY: `found` came from `Rc::into_raw`, and the block that owns it is alive: the caller holds the value, and no
    // Lua ran since.
    Ok(unsafe { share(found) })
}

/// Takes over a descriptor that somebody else made.
pub fn adopt(number: RawFd) -> Bare {
    // SAFETY: the descriptor's owner gives it away with `setfd`, which the installation must have allowed; one that is
    // not open fails in each call.
    Bare::adopt(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The block of the value at `index`, and its class, if it is one of `classes`.
unsafe fn block_at(state: *mut ffi::lua_State, index: c_int, classes: u16) -> (*mut *const Object, Class) {
    let none = (ptr::null_mut(), Class::TcpMaster);
    if ffi::lua_getmetatable(state, index) == 0 {
        return none;
    }
    let address = ffi::lua_topointer(state, -1);
    ffi::lua_settop(state, -2);
    let own = &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast::<Classes>();
    for (class, known) in Class::ALL.into_iter().zip(own.0) {
        if known == address {
            let wanted = classes & class.bit() != 0;
            return if wanted { (ffi::lua_touserdata(state, index).cast(), class) } else { none };
        }
    }
    none
}

/// The object at 1 if its class is one of `classes`; null otherwise.
pub(super) unsafe fn object_at(state: *mut ffi::lua_State, classes: u16) -> (*const Object, Class) {
    let (block, class) = block_at(state, 1, classes);
    if block.is_null() { (ptr::null(), class) } else { (block.read(), class) }
}

unsafe extern "C-unwind" fn finalize(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: invariant 1; the pointer is taken out of the block before it is dropped, so a second call finds null.
    unsafe {
        let (block, _) = block_at(state, 1, u16::MAX);
        // A script may call this by hand, from a finalizer of its own, while Lua copies from the buffer.
        if !block.is_null() && !block.read().is_null() && !(*block.read()).with_slot(Slot::is_pinned) {
            let object = block.replace(ptr::null());
            if !object.is_null() {
                // A panic of a destructor must not cross into the collector.
                contained(|| drop(Rc::from_raw(object)));
            }
        }
    }
    0
}

unsafe extern "C-unwind" fn to_string(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as in `finalize`; plain data only (invariant 2).
    unsafe {
        let (block, class) = block_at(state, 1, u16::MAX);
        if block.is_null() {
            refuse(state, 1, c"a socket expected");
        }
        ffi::lua_pushlstring(state, class.name().as_ptr().cast(), class.name().len());
        ffi::lua_pushfstring(state, c": %p".as_ptr(), block.cast::<c_void>());
        ffi::lua_concat(state, 2);
    }
    1
}

/// What a method leaves, as plain data (invariant 2).
#[derive(Clone, Copy)]
pub(super) enum Plain {
    Nil,
    Bool(bool),
    Number(f64),
    Integer(i64),
    Fixed(&'static str),
    /// Came from `Box::into_raw`, and is freed once Lua has its copy.
    Own(*mut [u8]),
    Object(*const Object, Class),
    Linger(bool, i64),
}

impl Plain {
    pub(super) fn text(text: Text) -> Plain {
        match text {
            Cow::Borrowed(text) => Plain::Fixed(text),
            Cow::Owned(text) => Plain::own(text.into_bytes()),
        }
    }

    pub(super) fn own(bytes: Vec<u8>) -> Plain {
        Plain::Own(Box::into_raw(bytes.into_boxed_slice()))
    }
}

#[derive(Clone, Copy)]
enum Ending {
    Values(usize),
    Argument(usize, Plain),
    Interrupted,
}

struct Done {
    values: [Plain; 4],
    ending: Ending,
    class: Option<Class>,
}

impl Done {
    fn fail(fail: Fail) -> Done {
        let mut values = [Plain::Nil; 4];
        let ending = match fail {
            Fail::Message(text) => {
                values[1] = Plain::text(text);
                Ending::Values(2)
            }
            Fail::Argument(index, text) => Ending::Argument(index, Plain::text(text)),
            Fail::Interrupted => Ending::Interrupted,
        };
        Done { values, ending, class: None }
    }
}

fn panicked<T>() -> Outcome<T> {
    Err(Fail::Message("internal error: a panic was caught".into()))
}

/// Runs a method. Everything with a destructor lives and dies in here.
fn caught(run: impl FnOnce() -> Outcome<Answer>) -> Done {
    match quietly(run).unwrap_or_else(panicked) {
        Err(fail) => Done::fail(fail),
        Ok(answer) => {
            let mut values = [Plain::Nil; 4];
            let count = answer.values.len().min(values.len());
            for (place, value) in values.iter_mut().zip(answer.values) {
                *place = match value {
                    Out::Nil => Plain::Nil,
                    Out::Bool(on) => Plain::Bool(on),
                    Out::Number(number) => Plain::Number(number),
                    Out::Integer(number) => Plain::Integer(number),
                    Out::Text(text) => Plain::text(text),
                    Out::Bytes(bytes) => Plain::own(bytes),
                    Out::Object(object, class) => Plain::Object(Rc::into_raw(object), class),
                    Out::Linger(on, seconds) => Plain::Linger(on, seconds),
                };
            }
            Done { values, ending: Ending::Values(count), class: answer.class }
        }
    }
}

pub(super) unsafe fn push(state: *mut ffi::lua_State, value: Plain) {
    match value {
        Plain::Nil => ffi::lua_pushnil(state),
        Plain::Bool(on) => ffi::lua_pushboolean(state, on.into()),
        Plain::Number(number) => ffi::lua_pushnumber(state, number),
        Plain::Integer(number) => push_integer(state, number),
        Plain::Fixed(text) => {
            ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len());
        }
        Plain::Own(bytes) => {
            ffi::lua_pushlstring(state, bytes.cast_const().cast(), bytes.len());
            drop(Box::from_raw(bytes));
        }
        Plain::Object(mut object, class) => give(state, ffi::lua_upvalueindex(2), &mut object, class),
        Plain::Linger(on, seconds) => {
            ffi::lua_createtable(state, 0, 2);
            ffi::lua_pushboolean(state, on.into());
            ffi::lua_setfield(state, -2, c"on".as_ptr());
            push_integer(state, seconds);
            ffi::lua_setfield(state, -2, c"timeout".as_ptr());
        }
    }
}

/// Raises `bad argument #index to 'method' (words)`.
pub(super) unsafe fn refuse(state: *mut ffi::lua_State, index: c_int, message: &CStr) -> ! {
    ffi::luaL_argerror(state, index, message.as_ptr());
    // luaL_argerror does not return; this tells the compiler the same.
    ffi::lua_error(state)
}

/// Raises what a signal's hook has raised, or what Ctrl-C raises in Lua itself.
pub(super) unsafe fn interrupted(state: *mut ffi::lua_State) -> ! {
    signals::raise(state);
    ffi::lua_settop(state, 0);
    ffi::luaL_where(state, 1);
    ffi::lua_pushstring(state, c"interrupted!".as_ptr());
    ffi::lua_concat(state, 2);
    ffi::lua_error(state)
}

/// Reads the argument at `index`; the slice lives as long as the value stays on the stack. `text`: a number is one too.
unsafe fn arg<'a>(state: *mut ffi::lua_State, index: c_int, text: bool) -> Arg<'a> {
    match ffi::lua_type(state, index) {
        ffi::LUA_TNONE => Arg::None,
        ffi::LUA_TNIL => Arg::Nil,
        ffi::LUA_TBOOLEAN => Arg::Bool(ffi::lua_toboolean(state, index) != 0),
        ffi::LUA_TNUMBER if !text => Arg::Number(ffi::lua_tonumber(state, index)),
        ffi::LUA_TNUMBER | ffi::LUA_TSTRING => Arg::Text(bytes(state, index)),
        ffi::LUA_TTABLE => Arg::Table,
        ffi::LUA_TFUNCTION => Arg::Other("function"),
        ffi::LUA_TTHREAD => Arg::Other("thread"),
        _ => Arg::Other("userdata"),
    }
}

pub(super) unsafe fn bytes<'a>(state: *mut ffi::lua_State, index: c_int) -> &'a [u8] {
    let mut length = 0;
    let start = ffi::lua_tolstring(state, index, &mut length);
    if start.is_null() { &[] } else { std::slice::from_raw_parts(start.cast(), length) }
}

/// Every method that is not hot: upvalue 3 says which.
unsafe extern "C-unwind" fn cold(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: upvalue 3 is a `&'static Method`; the object outlives the call, since its userdata is the first argument;
    // between the calls of Lua only plain data is held (invariant 2).
    unsafe {
        let method = &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(3)).cast::<Method>();
        if object_at(state, method.classes).0.is_null() {
            refuse(state, 1, method.expected);
        }
        let mut args = Args { list: [Arg::None; 5], fields: [Arg::Nil; 4] };
        for (at, place) in args.list.iter_mut().enumerate() {
            let index = at as c_int + 2;
            *place = arg(state, index, method.texts & (1 << index) != 0);
        }
        if matches!(args.list[1], Arg::Table) {
            let names = [c"on", c"timeout", c"multiaddr", c"interface"];
            for (place, name) in args.fields.iter_mut().zip(names) {
                ffi::lua_getfield(state, 3, name.as_ptr());
                // The value stays on the stack, and so does the slice.
                *place = arg(state, ffi::lua_gettop(state), false);
            }
        }
        // As for the hot methods: reading the arguments may have run a script's code.
        let (object, class) = object_at(state, method.classes);
        if object.is_null() {
            refuse(state, 1, method.expected);
        }
        let done = caught(|| (method.run)(&*object, class, &args));
        if let Some(class) = done.class {
            ffi::lua_rawgeti(state, ffi::lua_upvalueindex(2), (class as usize + 1) as _);
            ffi::lua_setmetatable(state, 1);
        }
        match done.ending {
            Ending::Values(count) => {
                for value in done.values.iter().take(count) {
                    push(state, *value);
                }
                count as c_int
            }
            Ending::Argument(index, message) => {
                push(state, message);
                ffi::luaL_argerror(state, index as c_int, ffi::lua_tostring(state, -1))
            }
            Ending::Interrupted => interrupted(state),
        }
    }
}
