//! A document's values, made by Lua's C API: a few hundred in one protected call. mlua protects each of its calls
//! separately, which costs several times as much as making a string or setting a field.
#![allow(unsafe_code)]

use super::MAX_DEPTH;
use crate::{
    allocation,
    lua::{kinds, stack},
};
use mlua::{FromLuaMulti, Lua, Table, Value, ffi};
use std::{ffi::c_int, ops::Range, ptr};

/// So many steps are gathered before they are taken: 12 KiB of them.
const STEPS: usize = 512;

/// So many bytes of strings with escapes are gathered.
const UNESCAPED: usize = 64 * 1024;

/// What is made next.
pub enum Step<'de> {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    /// A string, as it stands in the document.
    Text(&'de str),
    /// A string that had escapes, among the bytes that are kept.
    Unescaped(Range<usize>),
    /// An array begins, of so many items, or more.
    Array(c_int),
    /// An object begins, of so many members, or more. Each is two steps, a string and its value.
    Object(c_int),
    /// The last of them that began ends, and has the metatable of this number.
    End(i64),
    /// The next metatable for objects; the order of their keys, among the bytes that are kept, if it is not that of their bytes.
    Metatable(Option<Range<usize>>),
}

/// An array or object that has begun.
#[derive(Clone, Copy, Default)]
struct Level {
    is_object: bool,
    /// A member's name was made, its value was not.
    has_name: bool,
    /// Items until now.
    items: i64,
}

pub struct Builder<'a, 'de> {
    lua: &'a Lua,
    /// What stays between two calls; most documents take one.
    between: Option<Between>,
    /// How many metatables there are, with those that steps will make; and how many are made.
    count: i64,
    made: i64,
    steps: Vec<Step<'de>>,
    unescaped: Vec<u8>,
    levels: [Level; MAX_DEPTH + 1],
    depth: usize,
    /// How many levels there are, with those that steps will begin; and how many there were at most since steps were taken.
    begun: usize,
    deepest: usize,
    /// How often steps were taken.
    rounds: usize,
}

struct Between {
    /// At 2n - 1 the table of level n, at 2n the name whose value is missing; at 0 the value, in the end.
    open: Table,
    metatables: Table,
}

impl<'a, 'de> Builder<'a, 'de> {
    /// The number of the metatable of arrays.
    pub const ARRAYS: i64 = 1;

    /// For a document of so many bytes.
    pub fn new(lua: &'a Lua, length: usize) -> Builder<'a, 'de> {
        Builder {
            lua,
            between: None,
            count: Builder::ARRAYS,
            made: Builder::ARRAYS,
            steps: Vec::with_capacity((length / 4).min(STEPS)),
            unescaped: Vec::new(),
            levels: [Level::default(); MAX_DEPTH + 1],
            depth: 0,
            begun: 0,
            deepest: 0,
            rounds: 0,
        }
    }

    /// Makes a metatable for objects whose keys stand in this order, or in that of their bytes. Answers its number.
    pub fn metatable(&mut self, order: Option<&[u8]>) -> mlua::Result<i64> {
        let order = order.map(|order| self.keep(order)).transpose()?;
        self.count += 1;
        let number = self.count;
        self.step(Step::Metatable(order))?;
        Ok(number)
    }

    pub fn step(&mut self, step: Step<'de>) -> mlua::Result<()> {
        match step {
            Step::Array(_) | Step::Object(_) => self.begun += 1,
            Step::End(_) => self.begun = self.begun.saturating_sub(1),
            _ => (),
        }
        self.deepest = self.deepest.max(self.begun);
        self.steps.push(step);
        if self.steps.len() >= STEPS || self.unescaped.len() >= UNESCAPED {
            let between = match self.between.take() {
                Some(between) => between,
                None => {
                    let metatables = self.lua.create_sequence_from([kinds::array(self.lua)?])?;
                    Between { open: self.lua.create_table()?, metatables }
                }
            };
            self.take::<()>(Some(&between), false)?;
            self.between = Some(between);
        }
        Ok(())
    }

    /// A string that does not stand in the document as it is: one with escapes.
    pub fn unescaped(&mut self, text: &str) -> mlua::Result<()> {
        let range = self.keep(text.as_bytes())?;
        self.step(Step::Unescaped(range))
    }

    /// Keeps bytes until the steps are taken.
    fn keep(&mut self, bytes: &[u8]) -> mlua::Result<Range<usize>> {
        let start = self.unescaped.len();
        allocation::append(&mut self.unescaped, bytes).map_err(|e| mlua::Error::MemoryError(e.to_string()))?;
        Ok(start..self.unescaped.len())
    }

    /// Where the last step is.
    pub fn opened(&self) -> (usize, usize) {
        (self.rounds, self.steps.len())
    }

    /// Says how many items come, if that table is not made yet.
    pub fn expect(&mut self, (rounds, length): (usize, usize), step: Step<'de>) {
        if rounds == self.rounds
            && let Some(opened) = length.checked_sub(1).and_then(|at| self.steps.get_mut(at))
        {
            *opened = step;
        }
    }

    /// The value, after the last step.
    pub fn finish(&mut self) -> mlua::Result<Value> {
        let between = self.between.take();
        self.take(between.as_ref(), true)
    }

    fn take<R: FromLuaMulti>(&mut self, between: Option<&Between>, last: bool) -> mlua::Result<R> {
        let Builder { lua, made, steps, unescaped, levels, depth, count, deepest, begun, .. } = self;
        let tables = (between.map(|between| &between.open), between.map(|between| &between.metatables));
        let slots = 2 * (*deepest).min(MAX_DEPTH + 1) as c_int + 8;
        let mut run = Run { metatables: *made, steps, unescaped, levels, depth: *depth, slots, last };
        // SAFETY: runs protected and holds plain data only: what Lua raises jumps over references and numbers. Nobody reads
        // `levels` and `depth` after that, since the document has failed then.
        let value = unsafe { lua.exec_raw(tables, |state| make(state, &mut run))? };
        *depth = run.depth;
        *made = *count;
        *deepest = *begun;
        steps.clear();
        unescaped.clear();
        self.rounds += 1;
        Ok(value)
    }
}

/// What the C API is given of a [`Builder`].
struct Run<'r, 'de> {
    /// How many metatables were made before.
    metatables: i64,
    steps: &'r [Step<'de>],
    unescaped: &'r [u8],
    levels: &'r mut [Level; MAX_DEPTH + 1],
    depth: usize,
    /// Of Lua's stack.
    slots: c_int,
    /// The value is whole after these steps.
    last: bool,
}

const OPEN: c_int = 1;
const METATABLES: c_int = 2;

/// Takes the steps, with the two tables of [`Between`] on the stack, or two times nil; leaves the value there after the last ones, and else nothing.
///
/// # Safety
/// `state` is a live Lua state in a protected call.
unsafe fn make(state: *mut ffi::lua_State, run: &mut Run<'_, '_>) {
    let mut metatables = run.metatables;
    // SAFETY: the stack has room for a table and a name of each level, and what is made meanwhile. Index 1 is a table where more steps come or
    // came, index 2 always.
    unsafe {
        stack::room(state, run.slots);
        if ffi::lua_isnil(state, METATABLES) != 0 {
            ffi::lua_createtable(state, 4, 0);
            stack::push_bytes(state, kinds::ARRAY.as_bytes());
            ffi::lua_rawget(state, ffi::LUA_REGISTRYINDEX);
            ffi::lua_rawseti(state, -2, Builder::ARRAYS as _);
            ffi::lua_replace(state, METATABLES);
        }
        for (level, at) in run.levels.iter().zip(1..).take(run.depth) {
            ffi::lua_rawgeti(state, OPEN, 2 * at - 1);
            if level.has_name {
                ffi::lua_rawgeti(state, OPEN, 2 * at);
            }
        }
        for step in run.steps {
            match step {
                Step::Null => ffi::lua_pushlightuserdata(state, ptr::null_mut()),
                Step::Boolean(value) => ffi::lua_pushboolean(state, c_int::from(*value)),
                Step::Integer(value) => stack::push_integer(state, *value),
                Step::Number(value) => ffi::lua_pushnumber(state, *value),
                Step::Text(text) => _ = ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len()),
                Step::Unescaped(range) => {
                    let text = run.unescaped.get(range.clone()).unwrap_or_default();
                    ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len());
                }
                Step::Array(items) => {
                    ffi::lua_createtable(state, *items, 0);
                    begin(state, run.levels, &mut run.depth, false);
                    continue;
                }
                Step::Object(members) => {
                    ffi::lua_createtable(state, 0, *members);
                    begin(state, run.levels, &mut run.depth, true);
                    continue;
                }
                Step::Metatable(order) => {
                    ffi::lua_createtable(state, 0, 1);
                    match order.clone().and_then(|range| run.unescaped.get(range)) {
                        Some(order) => _ = ffi::lua_pushlstring(state, order.as_ptr().cast(), order.len()),
                        None => ffi::lua_pushboolean(state, 1),
                    }
                    ffi::lua_rawsetp(state, -2, kinds::mark());
                    metatables += 1;
                    ffi::lua_rawseti(state, METATABLES, metatables as _);
                    continue;
                }
                Step::End(metatable) => {
                    ffi::lua_rawgeti(state, METATABLES, *metatable as _);
                    ffi::lua_setmetatable(state, -2);
                    run.depth = run.depth.saturating_sub(1);
                }
            }
            attach(state, run.levels, run.depth);
        }
        if run.last {
            if ffi::lua_istable(state, OPEN) != 0 {
                ffi::lua_rawgeti(state, OPEN, 0);
            }
            ffi::lua_replace(state, 1);
            ffi::lua_settop(state, 1);
            return;
        }
        let mut at = run.depth as ffi::lua_Integer;
        for level in run.levels.iter().take(run.depth).rev() {
            if level.has_name {
                ffi::lua_rawseti(state, OPEN, 2 * at);
            }
            ffi::lua_rawseti(state, OPEN, 2 * at - 1);
            at -= 1;
        }
        ffi::lua_settop(state, 0);
    }
}

/// The table on top is the innermost one now.
unsafe fn begin(state: *mut ffi::lua_State, levels: &mut [Level; MAX_DEPTH + 1], depth: &mut usize, is_object: bool) {
    match levels.get_mut(*depth) {
        Some(level) => {
            *level = Level { is_object, has_name: false, items: 0 };
            *depth += 1;
        }
        // SAFETY: as in `make`. The reader of the document stops before.
        None => _ = unsafe { ffi::luaL_error(state, c"nested too deeply".as_ptr()) },
    }
}

/// Puts the value on top where it belongs.
unsafe fn attach(state: *mut ffi::lua_State, levels: &mut [Level; MAX_DEPTH + 1], depth: usize) {
    // SAFETY: as in `make`. Below the value is the table of its level, or the name and then the table.
    unsafe {
        match depth.checked_sub(1).and_then(|at| levels.get_mut(at)) {
            // The whole value stays where it is if these steps are the only ones.
            None if ffi::lua_istable(state, OPEN) == 0 => (),
            None => ffi::lua_rawseti(state, OPEN, 0),
            Some(level) if !level.is_object => {
                level.items += 1;
                ffi::lua_rawseti(state, -2, level.items as _);
            }
            Some(level) => {
                if level.has_name {
                    ffi::lua_rawset(state, -3);
                }
                level.has_name = !level.has_name;
            }
        }
    }
}
