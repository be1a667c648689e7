//! A caller's headers, from the table of the front to a list: requests, clients, WebSockets, proxies and guards lay them out here.
//!
//! The front has checked the table: a header's value is a string, a list of strings, or `false` for what the client is not to say by itself.
//! Lua's C API reads it, since each call through mlua costs more than a header.
#![allow(unsafe_code)]

use super::{
    answer::{Answer, argument},
    stack::string,
};
use mlua::{Lua, Table, ffi};
use std::{borrow::Cow, ffi::c_int, ptr};

/// A name and its value; `None` for what the client is not to say by itself.
pub(super) type Header<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

/// The headers of the table at `index`, in the order of their names. Raises nothing, and runs no Lua. The bytes are those of the table's strings:
/// they live as long as the table has them.
///
/// # Safety
/// `state` is a live Lua state; the table stays on its stack, unchanged, for as long as `'a`.
pub(super) unsafe fn at<'a>(state: *mut ffi::lua_State, index: c_int) -> Answer<Vec<Header<'a>>> {
    let mut headers = Vec::new();
    // SAFETY: the caller's condition. No key is converted, so `lua_next` goes on from it, and nothing here raises.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TTABLE {
            return Ok(headers);
        }
        headers.reserve(4);
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, index) != 0 {
            let name = string(state, -2).unwrap_or_default();
            match ffi::lua_type(state, -1) {
                ffi::LUA_TTABLE => {
                    for at in 1..=ffi::lua_rawlen(state, -1) {
                        ffi::lua_rawgeti(state, -1, at as ffi::lua_Integer);
                        headers.extend(string(state, -1).map(|value| (name.into(), Some(value.into()))));
                        ffi::lua_pop(state, 1);
                    }
                }
                _ => headers.push((name.into(), string(state, -1).map(Cow::from))),
            }
            ffi::lua_pop(state, 1);
        }
    }
    headers.sort_by(|(a, _): &Header<'_>, (b, _)| {
        a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
    });
    // The values of a list have one name, which is one string of Lua's.
    let twice = |pair: &&[Header<'_>]| matches!(pair, [(a, _), (b, _)] if !ptr::eq(a.as_ptr(), b.as_ptr()) && a.eq_ignore_ascii_case(b));
    match headers.windows(2).find(twice) {
        Some([(name, _), ..]) => argument(2, format!("header {:?} is given twice", String::from_utf8_lossy(name))),
        _ => Ok(headers),
    }
}

/// The same, copied, for what does more with Lua.
pub(super) fn of(lua: &Lua, table: Option<&Table>) -> Answer<Vec<Header<'static>>> {
    let Some(table) = table else { return Ok(Vec::new()) };
    let mut found = Ok(Vec::new());
    let copied = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
    // SAFETY: runs protected, with the table on the stack, and calls nothing that raises.
    let read = unsafe {
        lua.exec_raw::<()>(table, |state| {
            let list = at(state, 1);
            found = list.map(|list| list.into_iter().map(|(name, value)| (copied(name), value.map(copied))).collect());
            ffi::lua_settop(state, 0);
        })
    };
    read?;
    found
}
