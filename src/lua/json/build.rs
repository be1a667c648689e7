//! A document's values, made by Lua's C API: a few hundred in one protected call. mlua protects each of its calls
//! separately, which costs several times as much as making a string or setting a field.
#![allow(unsafe_code)]

use super::MAX_DEPTH;
use crate::{
    allocation,
    lua::{kinds::OfDocument, stack},
};
use mlua::{Lua, Table, Value, ffi};
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
    /// Between two calls: at 2n - 1 the table of level n, at 2n the name whose value is missing; at 0 the value, in the end.
    open: Table,
    metatables: Table,
    marks: OfDocument,
    /// How many metatables there are, with those that steps will make; and how many are made.
    count: i64,
    made: i64,
    steps: Vec<Step<'de>>,
    unescaped: Vec<u8>,
    levels: [Level; MAX_DEPTH + 1],
    depth: usize,
    /// How often steps were taken.
    rounds: usize,
}

impl<'a, 'de> Builder<'a, 'de> {
    /// The number of the metatable of arrays.
    pub const ARRAYS: i64 = 1;

    pub fn new(lua: &'a Lua) -> mlua::Result<Builder<'a, 'de>> {
        let marks = OfDocument::new(lua)?;
        let (open, metatables) = (lua.create_table()?, lua.create_sequence_from([&marks.array])?);
        Ok(Builder {
            lua,
            open,
            metatables,
            marks,
            count: Builder::ARRAYS,
            made: Builder::ARRAYS,
            steps: Vec::new(),
            unescaped: Vec::new(),
            levels: [Level::default(); MAX_DEPTH + 1],
            depth: 0,
            rounds: 0,
        })
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
        self.steps.push(step);
        if self.steps.len() >= STEPS || self.unescaped.len() >= UNESCAPED {
            self.take()?;
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
        self.take()?;
        self.open.raw_get(0)
    }

    fn take(&mut self) -> mlua::Result<()> {
        let Builder { lua, open, metatables, marks, made, steps, unescaped, levels, depth, count, .. } = self;
        let mut run = Run { metatables: *made, steps, unescaped, levels, depth: *depth };
        // SAFETY: runs protected and holds plain data only: what Lua raises jumps over references and numbers. Nobody reads
        // `levels` and `depth` after that, since the document has failed then.
        unsafe {
            lua.exec_raw::<()>((&*open, &*metatables, &marks.kinds, &marks.orders), |state| make(state, &mut run))?
        };
        *depth = run.depth;
        *made = *count;
        steps.clear();
        unescaped.clear();
        self.rounds += 1;
        Ok(())
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
}

const OPEN: c_int = 1;
const METATABLES: c_int = 2;
const KINDS: c_int = 3;
const ORDERS: c_int = 4;

/// Takes the steps, with the four tables on the stack, and nothing else.
///
/// # Safety
/// `state` is a live Lua state in a protected call.
unsafe fn make(state: *mut ffi::lua_State, run: &mut Run<'_, '_>) {
    let mut metatables = run.metatables;
    // SAFETY: the stack has room for a table and a name of each level, and what is made meanwhile. Indices 1 to 4 are tables.
    unsafe {
        stack::room(state, 2 * MAX_DEPTH as c_int + 8);
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
                    ffi::lua_createtable(state, 0, 0);
                    ffi::lua_pushvalue(state, -1);
                    ffi::lua_pushlstring(state, c"hash".as_ptr(), 4);
                    ffi::lua_rawset(state, KINDS);
                    if let Some(order) = order.clone().and_then(|range| run.unescaped.get(range)) {
                        ffi::lua_pushvalue(state, -1);
                        ffi::lua_pushlstring(state, order.as_ptr().cast(), order.len());
                        ffi::lua_rawset(state, ORDERS);
                    }
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
