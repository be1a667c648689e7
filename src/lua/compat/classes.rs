//! The drop-in's objects as Lua sees them: their metatables, which programs read and patch, and the C functions that are their methods
//! (`send` and `receive` of streams: `hot`). Wrong arguments are raised in LuaSocket's words.
//!
//! The invariants are those of `lua/userdata.rs`.
#![allow(unsafe_code)]

use super::{
    hot,
    messages::{Answer, Arg, Class, Fail, Out, Outcome, Text},
    object::{Object, Slot},
};
use crate::{
    compat::bsd::Bare,
    lua::{
        signals,
        stack::{bytes, protected, push_bytes, push_integer, refuse},
        userdata::{Classes, Held, METATABLES, OWN, become_class, give, held, share},
    },
    panics::{contained, quietly},
};
use mlua::{LightUserData, Lua, ffi};
use std::{
    borrow::Cow,
    ffi::{CStr, c_int},
    os::fd::{FromRawFd, OwnedFd, RawFd},
    ptr,
    rc::Rc,
};

/// How large Lua takes a socket to be, in bytes. The originals' streams hold their buffer, ours a pointer: to the collector
/// it would be next to nothing, and a program that leaves its sockets to it would have run out of descriptors long before.
pub(super) const WEIGHT: usize = 8192;

impl Held for Object {
    const CLASSES: &'static [&'static CStr] = &Class::WORDS;
    const NAME: &'static str = "a socket";
    const WEIGHT: usize = WEIGHT;

    fn is_pinned(&self) -> bool {
        self.with_slot(Slot::is_pinned)
    }
}

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

/// Makes the metatables of an installation. `methods(class)`: what its objects can do.
pub fn classes(lua: &Lua, methods: impl Fn(Class) -> &'static [Method]) -> mlua::Result<Classes<Object>> {
    let classes = Classes::new(lua)?;
    let plain = |function: ffi::lua_CFunction| {
        // SAFETY: those of `hot` keep the invariants, and take objects of the drop-in alone.
        unsafe { classes.function(lua, function, ()) }
    };
    for class in Class::ALL {
        let metatable = classes.add(lua, class as usize)?;
        let index = lua.create_table()?;
        index.raw_set("class", class.name())?;
        for method in methods(class) {
            let described = LightUserData(ptr::from_ref(method).cast_mut().cast());
            // SAFETY: as above of `cold`, whose own upvalue is a static description.
            index.raw_set(method.name, unsafe { classes.function(lua, cold, described)? })?;
        }
        match class {
            Class::TcpMaster | Class::TcpClient | Class::TcpServer => {
                index.raw_set("send", plain(hot::send_tcp)?)?;
                index.raw_set("receive", plain(hot::receive_tcp)?)?;
            }
            Class::StreamMaster | Class::StreamClient | Class::StreamServer => {
                index.raw_set("send", plain(hot::send_stream)?)?;
                index.raw_set("receive", plain(hot::receive_stream)?)?;
            }
            _ => {}
        }
        metatable.raw_set("__index", index)?;
        metatable.raw_set("__name", class.name())?;
        metatable.raw_set("__tostring", classes.shown(lua)?)?;
    }
    Ok(classes)
}

/// Takes over a descriptor that somebody else made.
pub fn adopt(number: RawFd) -> Bare {
    // SAFETY: the descriptor's owner gives it away with `setfd`, which the installation must have allowed; one that is
    // not open fails in each call.
    Bare::adopt(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The object at 1, and its class, if that is one of `classes`; null otherwise.
///
/// # Safety
/// State; the running function is one of [`classes`].
pub(super) unsafe fn object_at(state: *mut ffi::lua_State, classes: u16) -> (*const Object, Class) {
    // SAFETY: the caller's condition.
    let (object, class) = unsafe { held::<Object>(state, 1) };
    match Class::ALL.get(class) {
        Some(class) if classes & class.bit() != 0 => (object, *class),
        _ => (ptr::null(), Class::TcpMaster),
    }
}

/// What a method leaves, as plain data (Jumps).
pub(super) enum Plain {
    Nil,
    Bool(bool),
    Number(f64),
    Integer(i64),
    Fixed(&'static str),
    /// Came from `Box::into_raw`.
    Own(*mut [u8]),
    /// Came from `Rc::into_raw`; null once Lua has it.
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

    /// Drops what it owns still.
    fn end(&mut self) {
        // SAFETY: the pointers came from `Box::into_raw` and `Rc::into_raw`, and nobody uses them any more.
        contained(|| unsafe {
            match std::mem::replace(self, Plain::Nil) {
                Plain::Own(bytes) => drop(Box::from_raw(bytes)),
                Plain::Object(object, _) if !object.is_null() => drop(Rc::from_raw(object)),
                _ => (),
            }
        });
    }
}

/// Pushes the values, and drops what they own still: also where Lua raises, which is raised then (Owing).
///
/// # Safety
/// State; the running function is one of [`classes`] where an object is among them.
pub(super) unsafe fn push_all(state: *mut ffi::lua_State, values: &mut [Plain]) {
    // SAFETY: the caller's condition. Nothing else that has a destructor is held.
    unsafe {
        if !values.iter().any(|value| matches!(value, Plain::Own(_) | Plain::Object(..))) {
            return values.iter_mut().for_each(|value| push(state, METATABLES, value));
        }
        let done = protected(state, METATABLES, &mut |state| values.iter_mut().for_each(|value| push(state, 1, value)));
        values.iter_mut().for_each(Plain::end);
        if !done {
            ffi::lua_error(state);
        }
    }
}

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
        let mut values = [const { Plain::Nil }; 4];
        let ending = match fail {
            Fail::Message(why) => {
                values[1] = Plain::text(why.text());
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
            let mut values = [const { Plain::Nil }; 4];
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

/// Pushes what a method leaves. What it owns is [`push_all`]'s.
///
/// # Safety
/// State; the metatables of the drop-in's objects stand at `list` where it is one.
unsafe fn push(state: *mut ffi::lua_State, list: c_int, value: &mut Plain) {
    // SAFETY: the caller's condition. `Own` came from `Box::into_raw`, and `Object` from `Rc::into_raw`.
    unsafe {
        match *value {
            Plain::Nil => ffi::lua_pushnil(state),
            Plain::Bool(on) => ffi::lua_pushboolean(state, on.into()),
            Plain::Number(number) => ffi::lua_pushnumber(state, number),
            Plain::Integer(number) => push_integer(state, number),
            Plain::Fixed(text) => push_bytes(state, text.as_bytes()),
            Plain::Own(bytes) => _ = ffi::lua_pushlstring(state, bytes.cast_const().cast(), bytes.len()),
            Plain::Object(ref mut object, class) => give(state, list, class as usize, object),
            Plain::Linger(on, seconds) => {
                ffi::lua_createtable(state, 0, 2);
                ffi::lua_pushboolean(state, on.into());
                ffi::lua_setfield(state, -2, c"on".as_ptr());
                push_integer(state, seconds);
                ffi::lua_setfield(state, -2, c"timeout".as_ptr());
            }
        }
    }
}

/// Raises what a signal's hook has raised, or what Ctrl-C raises in Lua itself.
///
/// # Safety
/// State; the caller's frames hold plain data only.
pub(super) unsafe fn interrupted(state: *mut ffi::lua_State) -> ! {
    // SAFETY: the caller's condition.
    unsafe {
        signals::raise(state);
        ffi::lua_settop(state, 0);
        ffi::luaL_where(state, 1);
        ffi::lua_pushstring(state, c"interrupted!".as_ptr());
        ffi::lua_concat(state, 2);
        ffi::lua_error(state)
    }
}

/// Reads the argument at `index`. `text`: a number is one too.
///
/// # Safety
/// State; the value stays on the stack for as long as `'a`.
unsafe fn arg<'a>(state: *mut ffi::lua_State, index: c_int, text: bool) -> Arg<'a> {
    // SAFETY: the caller's condition.
    unsafe {
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
}

/// Every method that is not hot: the upvalue [`OWN`] says which.
unsafe extern "C-unwind" fn cold(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: the upvalue is a `&'static Method`; the object is owned when it is found, and by the call as long as that runs (Calls);
    // between the calls of Lua only plain data is held.
    unsafe {
        let method = &*ffi::lua_touserdata(state, OWN).cast::<Method>();
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
        let mut done = caught(|| {
            let Some(object) = share(object) else { return panicked() };
            (method.run)(&object, class, &args)
        });
        if let Some(class) = done.class {
            become_class::<Object>(state, 1, class as usize);
        }
        match done.ending {
            Ending::Values(count) => {
                push_all(state, done.values.get_mut(..count).unwrap_or_default());
                count as c_int
            }
            Ending::Argument(index, message) => {
                push_all(state, &mut [message]);
                ffi::luaL_argerror(state, index as c_int, ffi::lua_tostring(state, -1))
            }
            Ending::Interrupted => interrupted(state),
        }
    }
}
