//! Userdata whose metatables are made by hand: sockets, HTTP's clients and calls, and the drop-in's objects. What is not on a hot path, and
//! whose metatable nobody reads, is mlua's (`UserData`).
//!
//! Why not mlua for these: programs read and patch the metatables of LuaSocket's and LuaSec's objects; an object of LuaSocket's changes its
//! class in place; a call through mlua costs three times what a C function costs, and a userdata of its own as much as a third of a small
//! request (bench/README.md).
//!
//! Invariants. Files that speak Lua's C API beside this one refer to them by these names:
//! - *Identity.* What a userdata holds is known by which metatable it has, never by what is in that. Only [`Classes::add`] makes such a
//!   metatable, and the registry keeps it, so that no other table ever has its address. Only [`empty`] and [`become_class`] give one to a
//!   userdata: `setmetatable` takes tables only, of which Lua has no block to give, and the `debug` library is out of any sandbox. A program that
//!   changes an open metatable changes methods, never the type of a block.
//! - *Ownership.* A block is one pointer: null, or an `Rc<T>` turned raw that the block owns. The finalizer takes it out before it drops it, so
//!   that a second call, which a program may make by hand, finds null. A value on the stack keeps its block, and what the block holds.
//! - *Calls.* A call that may wait keeps a count of its own ([`share`]): meanwhile a signal's handler or a finalizer may run, and a script's may
//!   call ours by hand on what is in use. It takes its count out of the block, and the value ends with the call.
//! - *Sharing.* What is held is lent as `&T` alone. A hook, a finalizer or a callback may run anywhere and come back to the same value: it meets
//!   `Cell`s, and `RefCell`s that refuse it (`turns`).
//! - *Jumps.* Lua raises by `longjmp`, which skips Rust's destructors. A frame that calls a function of Lua that may raise holds plain data
//!   only: what has a destructor lives and dies in a call that asks nothing of Lua, and what leaves it is owned through a raw pointer.
//! - *Panics.* No panic leaves a C function: it is caught where everything with a destructor lives (`panics`).
//! - *Owing.* What is owned through a raw pointer while Lua may raise is pushed in a protected call ([`stack::protected`](super::stack::protected)),
//!   and dropped after it, whatever came of it.
//! - *Pins.* Lua copies from a socket's buffer while nobody else has it ([`stack::push_front`](super::stack::push_front)). Where Lua may run a
//!   finalizer before it copies, and a script's may call ours by hand, the buffer is pinned during a protected call: a pinned value refuses
//!   every other use and is not finalized.
//! - *State.* The `unsafe fn`s of these files have one condition, beside what their own lines say: `state` is a live Lua state, as Lua hands it
//!   to a C function, with the arguments of the call on its stack.
#![allow(unsafe_code)]

use crate::panics::contained;
use mlua::{Function, IntoLua, IntoLuaMulti, Lua, Table, Value, ffi};
use std::{
    any::TypeId,
    ffi::{CStr, c_int, c_void},
    marker::PhantomData,
    ptr::{self, NonNull},
    rc::Rc,
    slice,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A type whose values Lua may hold.
pub trait Held: Sized + 'static {
    /// The classes that its values may have, by what `tostring` begins with.
    const CLASSES: &'static [&'static CStr];
    /// What a wrong value is told to be instead: `SSL:Context`.
    const NAME: &'static str;
    /// Programs may see and change the metatables. Where they may not, these hide like those of all our other values: with a
    /// finalizer of one's own in one of them one gets hold of every value of the class that is dropped, whoever's it was.
    const OPEN: bool = true;
    /// How large Lua takes a value to be, at least, in bytes: what the collector goes by.
    const WEIGHT: usize = 0;

    /// What stands behind the address in `tostring`.
    fn suffix(&self) -> &'static CStr {
        c""
    }

    /// True while Lua copies from it.
    fn is_pinned(&self) -> bool {
        false
    }

    /// Its finalizer runs, or its `__close`.
    fn end(&self) {}
}

/// What a wrong value is told.
pub fn expected<T: Held>(value: &Value) -> String {
    let given = match value {
        Value::Nil => "no value",
        Value::Integer(_) => "number",
        other => other.type_name(),
    };
    format!("{} expected, got {given}", T::NAME)
}

/// Its address is the registry's key of the table from every metatable of ours to the [`Known`] that it stands in: a name would
/// be another module's to take.
static KEY: u8 = 0;

fn key() -> *const c_void {
    (&raw const KEY).cast()
}

/// The head of a block that Lua keeps: the type, and behind it the addresses of its metatables in one installation, in the order of
/// [`Held::CLASSES`]; null for one that is not there yet.
#[repr(C)]
struct Known {
    kind: TypeId,
    addresses: [*const c_void; 0],
}

/// The metatables of a type in one installation.
pub struct Classes<T> {
    /// From 1 on, in the order of [`Held::CLASSES`].
    list: Table,
    /// A userdata that holds a [`Known`].
    known: Value,
    of: PhantomData<T>,
}

/// Upvalues of the C functions that [`Classes::function`] makes; their own come behind these.
pub const METATABLES: c_int = ffi::lua_upvalueindex(2);
pub const OWN: c_int = ffi::lua_upvalueindex(3);

impl<T: Held> Classes<T> {
    pub fn new(lua: &Lua) -> mlua::Result<Classes<T>> {
        let list = lua.create_table()?;
        // SAFETY: runs protected and holds plain data only. The block has room for the head and an address of each class, and Lua aligns blocks
        // for any C type.
        let known = unsafe {
            lua.exec_raw((), |state| {
                let size = size_of::<Known>() + size_of::<*const c_void>() * T::CLASSES.len();
                let known = ffi::lua_newuserdata(state, size).cast::<Known>();
                (&raw mut (*known).kind).write(TypeId::of::<T>());
                let addresses = (&raw mut (*known).addresses).cast::<*const c_void>();
                (0..T::CLASSES.len()).for_each(|at| addresses.add(at).write(ptr::null()));
            })?
        };
        Ok(Classes { list, known, of: PhantomData })
    }

    /// The metatable of a class, with the finalizer, for the caller to put the rest in. Made once: a front that is launched again after a
    /// failure gets the same one.
    pub fn add(&self, lua: &Lua, class: usize) -> mlua::Result<Table> {
        if let Some(made) = self.list.raw_get(class + 1)? {
            return Ok(made);
        }
        if class >= T::CLASSES.len() {
            return Err(mlua::Error::runtime("no such class"));
        }
        let metatable = lua.create_table()?;
        // SAFETY: `finalize` keeps the invariants.
        metatable.raw_set("__gc", unsafe { self.function(lua, finalize::<T>, ())? })?;
        if !T::OPEN {
            metatable.raw_set("__metatable", false)?;
        }
        // SAFETY: runs protected, with `known` at 1 and the metatable at 2; plain data only. `class` is one of those that the block has room for.
        unsafe {
            lua.exec_raw::<()>((&self.known, &metatable), |state| {
                if ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, key()) != ffi::LUA_TTABLE {
                    ffi::lua_settop(state, 2);
                    ffi::lua_createtable(state, 0, T::CLASSES.len() as c_int);
                    ffi::lua_pushvalue(state, 3);
                    ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, key());
                }
                ffi::lua_pushvalue(state, 2);
                ffi::lua_pushvalue(state, 1);
                ffi::lua_rawset(state, 3);
                let known = ffi::lua_touserdata(state, 1).cast::<Known>();
                let addresses = (&raw mut (*known).addresses).cast::<*const c_void>();
                addresses.add(class).write(ffi::lua_topointer(state, 2));
                ffi::lua_settop(state, 0);
            })?;
        }
        self.list.raw_set(class + 1, &metatable)?;
        Ok(metatable)
    }

    /// The metatable of a type with one class, of LuaSec's shape: its `__index` is the table of methods.
    pub fn around(&self, lua: &Lua, methods: Table) -> mlua::Result<Table> {
        let metatable = self.add(lua, 0)?;
        // SAFETY: both keep the invariants.
        unsafe {
            metatable.raw_set("__close", self.function(lua, finish::<T>, ())?)?;
            metatable.raw_set("__tostring", self.function(lua, show::<T>, ())?)?;
        }
        metatable.raw_set("__index", methods)?;
        Ok(metatable)
    }

    /// What `tostring` calls.
    pub fn shown(&self, lua: &Lua) -> mlua::Result<Function> {
        // SAFETY: `show` keeps the invariants.
        unsafe { self.function(lua, show::<T>, ()) }
    }

    /// A C function that takes values of these classes, with upvalues of its own from [`OWN`] on.
    ///
    /// # Safety
    /// The function keeps the invariants, and asks [`held`] and its like for `T` alone.
    pub unsafe fn function(
        &self,
        lua: &Lua,
        function: ffi::lua_CFunction,
        own: impl IntoLuaMulti,
    ) -> mlua::Result<Function> {
        // SAFETY: runs protected; plain data only. All that is on the stack becomes upvalues.
        unsafe {
            lua.exec_raw((&self.known, &self.list, own), |state| {
                ffi::lua_pushcclosure(state, function, ffi::lua_gettop(state));
            })
        }
    }

    /// A new userdata of the class.
    pub fn wrap(&self, lua: &Lua, class: usize, value: Rc<T>) -> mlua::Result<Value> {
        let mut raw = Rc::into_raw(value);
        // SAFETY: runs protected, with the list of metatables at 1; plain data only. The pointer has one owner at any time.
        let made = unsafe {
            lua.exec_raw(&self.list, |state| {
                give(state, 1, class, &mut raw);
                ffi::lua_remove(state, 1);
            })
        };
        if !raw.is_null() {
            // SAFETY: the pointer came from `Rc::into_raw` above and no block took it.
            drop(unsafe { Rc::from_raw(raw) });
        }
        made
    }

    /// The metatables, for [`empty`] in a C function that makes values of several types.
    pub fn list(&self) -> &Table {
        &self.list
    }

    /// Their addresses, for [`held_among`] in a C function that takes values of several types.
    pub fn known(&self) -> &Value {
        &self.known
    }
}

/// What a value holds; `None` for a value of another type, and for a finalized one. Of any installation.
pub fn peek<T: Held>(lua: &Lua, value: impl IntoLua) -> mlua::Result<Option<Rc<T>>> {
    let mut found = None;
    // SAFETY: runs protected, with the value at 1, which keeps its block. Nothing raises once there is an `Rc`.
    unsafe {
        lua.exec_raw::<()>(value, |state| {
            let mut held: *const T = ptr::null();
            if ffi::lua_type(state, 1) == ffi::LUA_TUSERDATA
                && ffi::lua_getmetatable(state, 1) != 0
                && ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, key()) == ffi::LUA_TTABLE
            {
                ffi::lua_pushvalue(state, 2);
                // Identity: a metatable that is in the table of the registry stands in this block, which says of which type it is.
                if ffi::lua_rawget(state, 3) == ffi::LUA_TUSERDATA
                    && (*ffi::lua_touserdata(state, -1).cast::<Known>()).kind == TypeId::of::<T>()
                {
                    held = ffi::lua_touserdata(state, 1).cast::<*const T>().read();
                }
            }
            found = share(held);
            ffi::lua_settop(state, 0);
        })?;
    }
    Ok(found)
}

/// Another count of what a block owns; nothing for null.
///
/// # Safety
/// `held` is null, or came from `Rc::into_raw` and is still owned.
pub unsafe fn share<T: ?Sized>(held: *const T) -> Option<Rc<T>> {
    if held.is_null() {
        return None;
    }
    // SAFETY: the caller's condition.
    unsafe {
        Rc::increment_strong_count(held);
        Some(Rc::from_raw(held))
    }
}

/// The block at `index` and its class, if that is one of the running function's. Leaves the stack as it was.
///
/// # Safety
/// The running function was made by `Classes::<T>::function`.
unsafe fn block<T: Held>(state: *mut ffi::lua_State, index: c_int) -> Option<(NonNull<*const T>, usize)> {
    // SAFETY: the caller's condition.
    unsafe { block_among(state, index, ffi::lua_upvalueindex(1)) }
}

/// # Safety
/// State; at `known` is the `Known` of `T`.
unsafe fn block_among<T: Held>(
    state: *mut ffi::lua_State,
    index: c_int,
    known: c_int,
) -> Option<(NonNull<*const T>, usize)> {
    // SAFETY: the caller's condition: the block has an address of each class. By Identity the userdata is one of `T`'s.
    unsafe {
        if ffi::lua_getmetatable(state, index) == 0 {
            return None;
        }
        let address = ffi::lua_topointer(state, -1);
        ffi::lua_settop(state, -2);
        let known = ffi::lua_touserdata(state, known).cast::<Known>();
        let addresses = (&raw const (*known).addresses).cast::<*const c_void>();
        let class = slice::from_raw_parts(addresses, T::CLASSES.len()).iter().position(|known| *known == address)?;
        // A table that a program has given the metatable has no block.
        Some((NonNull::new(ffi::lua_touserdata(state, index).cast())?, class))
    }
}

/// What the value at `index` holds, and its class; null for another value and for a finalized one. The pointer is good for as long as the value
/// is on the stack.
///
/// # Safety
/// The running function was made by `Classes::<T>::function`.
pub unsafe fn held<T: Held>(state: *mut ffi::lua_State, index: c_int) -> (*const T, usize) {
    // SAFETY: the caller's condition; Ownership for what the block holds.
    unsafe { block::<T>(state, index).map_or((ptr::null(), 0), |(block, class)| (block.read(), class)) }
}

/// The same, of a type besides that of the running function.
///
/// # Safety
/// State; at `known` is what `Classes::<T>::known` answers.
pub unsafe fn held_among<T: Held>(state: *mut ffi::lua_State, index: c_int, known: c_int) -> *const T {
    // SAFETY: the caller's condition; Ownership for what the block holds.
    unsafe { block_among::<T>(state, index, known).map_or(ptr::null(), |(block, _)| block.read()) }
}

/// A userdata that is on Lua's stack and holds nothing yet.
pub struct Empty<T>(NonNull<*const T>);

/// Pushes a userdata of the class.
///
/// # Safety
/// At `list` are the metatables of `T`.
pub unsafe fn empty<T: Held>(state: *mut ffi::lua_State, list: c_int, class: usize) -> Empty<T> {
    // SAFETY: State. The block is at least as large as the pointer that is written into it, and aligned for it. The metatable comes last: a block is
    // known only once its pointer stands.
    unsafe {
        let block = ffi::lua_newuserdata(state, T::WEIGHT.max(size_of::<*const T>())).cast::<*const T>();
        block.write(ptr::null());
        if ffi::lua_rawgeti(state, list, class as ffi::lua_Integer + 1) != ffi::LUA_TTABLE {
            ffi::luaL_error(state, c"the class is not there".as_ptr());
        }
        ffi::lua_setmetatable(state, -2);
        Empty(NonNull::new_unchecked(block))
    }
}

impl<T: Held> Empty<T> {
    /// From now on it holds `value`, which lives as long as the userdata.
    ///
    /// # Safety
    /// The userdata is still on the stack, and stays there for as long as `'a`.
    pub unsafe fn fill<'a>(self, value: Rc<T>) -> &'a T {
        let raw = Rc::into_raw(value);
        // SAFETY: the caller's condition; the block owns the value from now on.
        unsafe {
            self.0.write(raw);
            &*raw
        }
    }
}

/// Pushes a userdata that takes over `raw`, which is null from then on.
///
/// # Safety
/// At `list` are the metatables of `T`; `raw` came from `Rc::into_raw`, and is the caller's.
pub unsafe fn give<T: Held>(state: *mut ffi::lua_State, list: c_int, class: usize, raw: &mut *const T) {
    // SAFETY: the caller's condition. Nothing stands between the last call of Lua and the new owner.
    unsafe {
        let place = empty::<T>(state, list, class);
        place.0.write(std::mem::replace(raw, ptr::null()));
    }
}

/// The userdata at `index` has another class of its type from now on.
///
/// # Safety
/// `held::<T>` has found it there, and the running function was made by `Classes::<T>::function`.
pub unsafe fn become_class<T: Held>(state: *mut ffi::lua_State, index: c_int, class: usize) {
    // SAFETY: the caller's condition: the old metatable and the new one are both of `T`.
    unsafe {
        if ffi::lua_rawgeti(state, METATABLES, class as ffi::lua_Integer + 1) == ffi::LUA_TTABLE {
            ffi::lua_setmetatable(state, index);
        }
    }
}

/// How many values were finalized in this process.
static FINALIZED: AtomicUsize = AtomicUsize::new(0);

/// The same number as before says that what [`held`] answered before is still there.
pub fn finalized() -> usize {
    FINALIZED.load(Ordering::Relaxed)
}

/// What was found before Lua may have run a finalizer that takes it: nothing was finalized since `at`, or it is looked for again. `find` may
/// raise: nothing that has a destructor may be alive.
#[inline]
pub fn still<P>(known: P, at: &mut usize, find: impl FnOnce() -> P) -> P {
    let now = finalized();
    if std::mem::replace(at, now) == now { known } else { find() }
}

unsafe extern "C-unwind" fn finalize<T: Held>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: `add` made the function. Ownership: the pointer is out of the block before what it points to is dropped.
    unsafe {
        if let Some((block, _)) = block::<T>(state, 1) {
            let held = block.read();
            if !held.is_null() && !(*held).is_pinned() {
                block.write(ptr::null());
                FINALIZED.fetch_add(1, Ordering::Relaxed);
                // A panic of a destructor must not cross into the collector.
                contained(|| {
                    let value = Rc::from_raw(held);
                    value.end();
                });
            }
        }
    }
    0
}

/// `__close`: the object ends but can still be asked.
unsafe extern "C-unwind" fn finish<T: Held>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: `around` made the function; the value is on the stack for as long as the call.
    unsafe {
        if let Some(value) = held::<T>(state, 1).0.as_ref() {
            contained(|| value.end());
        }
    }
    0
}

unsafe extern "C-unwind" fn show<T: Held>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: `around` or `shown` made the function; only plain data is held when Lua is called.
    unsafe {
        let Some((block, class)) = block::<T>(state, 1) else {
            ffi::lua_pushlstring(state, T::NAME.as_ptr().cast(), T::NAME.len());
            let message = ffi::lua_pushfstring(state, c"%s expected".as_ptr(), ffi::lua_tostring(state, -1));
            return ffi::luaL_argerror(state, 1, message);
        };
        let suffix = block.read().as_ref().map_or(c"", T::suffix);
        let word = T::CLASSES.get(class).copied().unwrap_or_default();
        let address = block.as_ptr().cast::<c_void>();
        ffi::lua_pushfstring(state, c"%s: %p%s".as_ptr(), word.as_ptr(), address, suffix.as_ptr());
    }
    1
}
