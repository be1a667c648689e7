//! Userdata with metatables of our own: contexts, certificates and connections of the drop-in, and the calls of HTTP.
//!
//! LuaSec's objects have a plain table as `__index` and an open metatable, which programs enumerate and patch; mlua's
//! own userdata has neither, and one of them costs as much as a third of a small request. A block is a type and a
//! pointer, and is known by the identity of its metatable: the registry keeps those of each installation. Only the
//! `debug` library (outside any sandbox) can give a userdata another metatable. A program that changes the fields of an
//! open metatable changes its methods, never the type of the block.
#![allow(unsafe_code)]
#![allow(unsafe_op_in_unsafe_fn)]

use crate::{lua::raw::share, panics::contained};
use mlua::{Function, IntoLua, Lua, Table, Value, ffi};
use std::{
    any::TypeId,
    cell::{Cell, OnceCell},
    ffi::{CStr, c_int, c_void},
    marker::PhantomData,
    ptr,
    rc::Rc,
};

/// A type whose values Lua may hold.
pub trait Boxed: 'static {
    /// The class by LuaSec's name, `SSL:Context`, for messages.
    const NAME: &'static str;
    /// What `tostring` begins with: `SSL context`.
    const WORD: &'static CStr;
    /// Programs may see and change the metatable. Where they may not, it hides like those of all our other values: with a
    /// finalizer of one's own in it one gets hold of every value of the class that is dropped, whoever's it was.
    const OPEN: bool = true;
    /// How large Lua takes a value to be, at least, in bytes: what the collector goes by.
    const WEIGHT: usize = 0;

    /// What stands behind the address in `tostring`.
    fn suffix(&self) -> &'static CStr {
        c""
    }

    /// True while Lua copies from it: then no finalizer, which a script may call by hand, takes it away.
    fn is_pinned(&self) -> bool {
        false
    }

    /// Its finalizer runs, or its `__close`.
    fn end(&self) {}
}

/// What a userdata holds: an `Rc<T>` turned raw, or null, and which `T` it is.
struct Block {
    kind: TypeId,
    value: *const c_void,
}

/// What a wrong object is told.
pub fn expected<T: Boxed>(value: &Value) -> String {
    let given = match value {
        Value::Nil => "no value",
        Value::Integer(_) => "number",
        other => other.type_name(),
    };
    format!("{} expected, got {given}", T::NAME)
}

/// Its address is the registry's key of the set of metatables: a name would be another module's to take.
static KNOWN: u8 = 0;

/// A class of one installation, once its methods are there.
pub type Class = OnceCell<Table>;

/// Makes the class around its table of methods; answers its metatable.
pub fn class<T: Boxed>(lua: &Lua, class: &Class, methods: Table) -> mlua::Result<Table> {
    // SAFETY: runs protected, on a stack whose first value is the table; holds plain data only, so that an error of Lua,
    // which skips Rust's frames, skips nothing that must be dropped.
    let metatable: Table = unsafe {
        lua.exec_raw(methods, |state| {
            ffi::lua_createtable(state, 0, 6);
            let functions: [(&CStr, ffi::lua_CFunction); 3] =
                [(c"__gc", finalize::<T>), (c"__close", finish::<T>), (c"__tostring", show::<T>)];
            for (name, function) in functions {
                ffi::lua_pushcclosure(state, function, 0);
                ffi::lua_setfield(state, -2, name.as_ptr());
            }
            if !T::OPEN {
                ffi::lua_pushboolean(state, 0);
                ffi::lua_setfield(state, -2, c"__metatable".as_ptr());
            }
            ffi::lua_insert(state, 1);
            ffi::lua_setfield(state, 1, c"__index".as_ptr());
            if !known(state) {
                ffi::lua_settop(state, 1);
                ffi::lua_createtable(state, 0, 1);
                ffi::lua_pushvalue(state, 2);
                ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, (&raw const KNOWN).cast());
            }
            ffi::lua_pushvalue(state, 1);
            ffi::lua_pushboolean(state, 1);
            ffi::lua_rawset(state, 2);
            ffi::lua_settop(state, 1);
        })?
    };
    let _ = class.set(metatable.clone());
    Ok(metatable)
}

/// A new userdata of the class, which must have been made, that holds `value`.
pub fn wrap<T: Boxed>(lua: &Lua, class: &Class, value: Rc<T>) -> mlua::Result<Value> {
    let Some(metatable) = class.get() else { return Err(mlua::Error::runtime("the class is not there")) };
    let raw = Rc::into_raw(value);
    let owned = Cell::new(false);
    // SAFETY: as in `class`; the pointer has one owner at any time.
    let made = unsafe {
        lua.exec_raw(metatable, |state| {
            (*empty::<T>(state, 1).0).value = raw.cast();
            owned.set(true);
            ffi::lua_remove(state, 1);
        })
    };
    if !owned.get() {
        // SAFETY: the pointer came from `Rc::into_raw` above and no block took it.
        drop(unsafe { Rc::from_raw(raw) });
    }
    made
}

/// A userdata that is on Lua's stack and holds nothing yet.
pub struct Empty<T>(*mut Block, PhantomData<T>);

/// Pushes a userdata of the class whose metatable is at `metatable`.
pub unsafe fn empty<T: Boxed>(state: *mut ffi::lua_State, metatable: c_int) -> Empty<T> {
    // The block is at least as large as what is written into it, and aligned for it (Lua aligns blocks for any C type). The
    // metatable comes last: a block is known only once it was written.
    let block = ffi::lua_newuserdata(state, T::WEIGHT.max(size_of::<Block>())).cast::<Block>();
    block.write(Block { kind: TypeId::of::<T>(), value: ptr::null() });
    ffi::lua_pushvalue(state, metatable);
    ffi::lua_setmetatable(state, -2);
    Empty(block, PhantomData)
}

impl<T: Boxed> Empty<T> {
    /// From now on it holds `value`, which lives as long as the userdata. That must still be on the stack.
    pub unsafe fn fill<'a>(self, value: Rc<T>) -> &'a T {
        let raw = Rc::into_raw(value);
        (*self.0).value = raw.cast();
        &*raw
    }
}

/// What a value holds; `None` for a value of another type, and for a finalized one.
pub fn peek<T: Boxed>(lua: &Lua, value: impl IntoLua) -> mlua::Result<Option<Rc<T>>> {
    let mut found: *const T = ptr::null();
    // SAFETY: as in `class`; `held` only reads.
    unsafe {
        lua.exec_raw::<()>(value, |state| {
            found = held(state, 1);
            ffi::lua_settop(state, 0);
        })?;
    }
    // SAFETY: `found` came from `Rc::into_raw`, and the block that owns it is alive: the caller holds the value, and no Lua
    // ran since.
    Ok(unsafe { share(found) })
}

/// A C function as a Lua value.
pub fn function(lua: &Lua, function: ffi::lua_CFunction) -> mlua::Result<Function> {
    // SAFETY: as in `class`.
    unsafe { lua.exec_raw((), |state| ffi::lua_pushcclosure(state, function, 0)) }
}

/// Pushes the set of our metatables; false, and something else, if there is none yet.
unsafe fn known(state: *mut ffi::lua_State) -> bool {
    ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, (&raw const KNOWN).cast()) == ffi::LUA_TTABLE
}

/// The block at `index` if the value there is of the class; null otherwise. Leaves the stack as it was.
unsafe fn block<T: Boxed>(state: *mut ffi::lua_State, index: c_int) -> *mut Block {
    if ffi::lua_type(state, index) != ffi::LUA_TUSERDATA || ffi::lua_getmetatable(state, index) == 0 {
        return ptr::null_mut();
    }
    let top = ffi::lua_gettop(state) - 1;
    let mut ours = false;
    if known(state) {
        ffi::lua_pushvalue(state, -2);
        ours = ffi::lua_rawget(state, -2) == ffi::LUA_TBOOLEAN;
    }
    ffi::lua_settop(state, top);
    if !ours {
        return ptr::null_mut();
    }
    let block = ffi::lua_touserdata(state, index).cast::<Block>();
    // The set has the metatables of every class; the block says which one it is of.
    if (*block).kind == TypeId::of::<T>() { block } else { ptr::null_mut() }
}

/// What the value at `index` holds; null for another value and for a finalized one.
pub unsafe fn held<T: Boxed>(state: *mut ffi::lua_State, index: c_int) -> *const T {
    let block = block::<T>(state, index);
    if block.is_null() { ptr::null() } else { (*block).value.cast() }
}

unsafe extern "C-unwind" fn finalize<T: Boxed>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: the pointer is taken out of the block before it is dropped, so that a second call, which a program may make
    // by hand, finds null.
    unsafe {
        let block = block::<T>(state, 1);
        let held = held::<T>(state, 1);
        if !held.is_null() && !(*held).is_pinned() {
            let value = std::mem::replace(&mut (*block).value, ptr::null()).cast::<T>();
            if !value.is_null() {
                // A panic of a destructor must not cross into the collector.
                contained(|| {
                    let value = Rc::from_raw(value);
                    value.end();
                });
            }
        }
    }
    0
}

/// `__close`: the object ends but can still be asked.
unsafe extern "C-unwind" fn finish<T: Boxed>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: what `held` answers lives as long as its userdata, which is the first argument.
    unsafe {
        let value = held::<T>(state, 1);
        if !value.is_null() {
            contained(|| (*value).end());
        }
    }
    0
}

unsafe extern "C-unwind" fn show<T: Boxed>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as in `finish`; only plain data is held when Lua is called.
    unsafe {
        if block::<T>(state, 1).is_null() {
            return ffi::luaL_argerror(state, 1, T::WORD.as_ptr());
        }
        let value = held::<T>(state, 1);
        let suffix = if value.is_null() { c"" } else { (*value).suffix() };
        let address = ffi::lua_touserdata(state, 1);
        ffi::lua_pushfstring(state, c"%s: %p%s".as_ptr(), T::WORD.as_ptr(), address, suffix.as_ptr());
    }
    1
}
