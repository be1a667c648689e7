//! JSON to Lua values and back, by serde_json.
//!
//! `null` is the light userdata NULL. A decoded array carries a metatable of its own, so that an empty one goes back as
//! an array; a table that Lua made is an array if its keys are 1 to n. Read raw: no metamethod is asked.
//!
//! An object goes back with its keys in the order in which they came. The order is kept beside its metatable, which objects of
//! a document share that have the same keys in the same order: a list of a thousand records keeps it once.

use super::{
    answer::{Answer, argument},
    kinds::{self, Arrays},
};
use crate::{
    error::{Error, Kind},
    pages,
};
use mlua::{IntoLua, Lua, LuaString, Table, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    fmt,
    ops::Range,
};

/// Nesting beyond this is refused in both directions; serde_json's own limit is the same.
const MAX_DEPTH: usize = 127;

/// What serde_json says then, in words that mean nothing to who wrote the text.
const DEEP: &str = "recursion limit exceeded";

/// Orders of keys that a document's objects are compared with: more would be work for nothing.
const MAX_ORDERS: usize = 256;

/// A peer's JSON text as a Lua value. `protocol` if it is none.
pub fn decode(lua: &Lua, text: &[u8]) -> Answer<Value> {
    // RFC 8259, section 8.1: a byte order mark may be ignored.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let Ok(arrays) = kinds::array(lua) else { return argument(0, "out of memory") };
    let seed = Seed {
        lua,
        arrays,
        objects: OnceCell::new(),
        names: RefCell::default(),
        orders: RefCell::default(),
        full: Cell::new(false),
    };
    let value = (&seed).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    Ok(value.map_err(|e| match seed.full.get() {
        true => Error::new(Kind::TooLarge, format!("no memory for the values of {} bytes of JSON", text.len())),
        false => {
            let why = e.to_string();
            Error::new(
                Kind::Protocol,
                format!("malformed JSON: {}", why.replace(DEEP, "nested more than 127 levels deep")),
            )
        }
    })?)
}

struct Seed<'a> {
    lua: &'a Lua,
    arrays: Table,
    /// The metatable of this document's objects, once there is one, where their keys stand in the order of their bytes.
    objects: OnceCell<Table>,
    /// The names of the objects that are being read, the innermost last: see [`put_name`].
    names: RefCell<Vec<u8>>,
    /// The metatables of objects whose keys stand in another order.
    orders: RefCell<HashMap<Box<[u8]>, Table, foldhash::fast::RandomState>>,
    /// Lua had no memory for a value: that is not the peer's fault.
    full: Cell<bool>,
}

/// Adds a name to an order of keys: its length in four bytes, and its bytes. Answers where its bytes are.
fn put_name(names: &mut Vec<u8>, name: &[u8]) -> crate::error::Result<Range<usize>> {
    let length = u32::try_from(name.len()).map_err(|_| pages::no_memory(name.len()))?;
    pages::append(names, &length.to_le_bytes())?;
    pages::append(names, name)?;
    Ok(names.len() - name.len()..names.len())
}

/// The names of an order of keys.
fn names_of(mut order: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = order.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        order = rest;
        Some(name)
    })
}

impl Seed<'_> {
    fn made<T, E: serde::de::Error>(&self, value: mlua::Result<T>) -> Result<T, E> {
        value.map_err(|e| {
            self.full.set(matches!(e, mlua::Error::MemoryError(_)));
            E::custom(e)
        })
    }

    /// The metatable of an object whose keys are `names` from `start` on.
    fn object(&self, start: usize, in_order: bool) -> mlua::Result<Table> {
        if in_order {
            if let Some(objects) = self.objects.get() {
                return Ok(objects.clone());
            }
            let objects = kinds::hash_of_document(self.lua, None)?;
            return Ok(self.objects.get_or_init(|| objects).clone());
        }
        let names = self.names.borrow();
        let order = names.get(start..).unwrap_or_default();
        if let Some(found) = self.orders.borrow().get(order) {
            return Ok(found.clone());
        }
        let made = kinds::hash_of_document(self.lua, Some(order))?;
        let mut orders = self.orders.borrow_mut();
        if orders.len() >= MAX_ORDERS {
            orders.clear();
        }
        // Long orders are rare, and not worth memory twice.
        if order.len() < 4096 {
            orders.insert(order.into(), made.clone());
        }
        Ok(made)
    }
}

/// Reads a name, as a Lua string; and notes it, and whether it stands behind the one before it by its bytes.
struct Name<'a, 'b> {
    seed: &'a Seed<'b>,
    last: &'a mut Option<Range<usize>>,
    in_order: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Value, E> {
        let mut names = self.seed.names.borrow_mut();
        if let Some(last) = self.last.take() {
            *self.in_order &= names.get(last).is_some_and(|last| last <= name.as_bytes());
        }
        match put_name(&mut names, name.as_bytes()) {
            Ok(place) => *self.last = Some(place),
            Err(e) => {
                self.seed.full.set(true);
                return Err(E::custom(e));
            }
        }
        drop(names);
        self.seed.made(self.seed.lua.create_string(name).map(Value::String))
    }
}

impl<'de> DeserializeSeed<'de> for &Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::NULL)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        // Lua before 5.3 has no integers: a number then.
        self.made(value.into_lua(self.lua))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Ok(Value::Number(value as f64)),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.made(self.lua.create_string(value).map(Value::String))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let table = self.made(self.lua.create_table())?;
        let mut at = 0;
        while let Some(item) = items.next_element_seed(self)? {
            at += 1;
            self.made(table.raw_set(at, item))?;
        }
        self.made(table.set_metatable(Some(self.arrays.clone())))?;
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let table = self.made(self.lua.create_table())?;
        let start = self.names.borrow().len();
        let (mut last, mut in_order) = (None, true);
        while let Some(key) = entries.next_key_seed(Name { seed: self, last: &mut last, in_order: &mut in_order })? {
            let value = entries.next_value_seed(self)?;
            self.made(table.raw_set(key, value))?;
        }
        let metatable = self.made(self.object(start, in_order))?;
        self.names.borrow_mut().truncate(start);
        self.made(table.set_metatable(Some(metatable)))?;
        Ok(Value::Table(table))
    }
}

/// What does not change while a value is written.
struct Writer {
    arrays: Arrays,
    /// By metatable; none where all objects are written in the order of their keys' bytes.
    orders: Option<Table>,
}

/// The text that is being written, and its cap: a table that holds another one twice, 127 deep, would fill any memory.
struct Text {
    bytes: Vec<u8>,
    most: usize,
    /// It would be longer, which is no single value's fault.
    full: bool,
}

impl Text {
    /// Room for so many bytes more.
    fn reserve(&mut self, more: usize) -> Result<(), String> {
        self.full = self.bytes.len().saturating_add(more) > self.most;
        if self.full {
            return Err(format!("is longer than {} bytes as JSON", self.most));
        }
        pages::reserve(&mut self.bytes, more).map_err(no_memory)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// A Lua value as JSON text of `most` bytes at most: the keys of an object that came from JSON as they stood there, and what was
/// added behind them or among them; of others in the order of their bytes, as all are if `sorted`. Wrong arguments name the place behind `what`: `items[2].name`.
pub fn encode(lua: &Lua, value: &Value, index: usize, what: &str, sorted: bool, most: usize) -> Answer<Vec<u8>> {
    let mut out = Text { bytes: Vec::new(), most, full: false };
    let mut path = Vec::new();
    let writer = Writer { arrays: Arrays::of(lua), orders: if sorted { None } else { kinds::orders(lua) } };
    match write(value, &writer, &mut path, &mut out) {
        Ok(()) => Ok(out.bytes),
        Err(why) if path.is_empty() || out.full => argument(index, format!("{what} {why}")),
        Err(why) => {
            path.truncate(8);
            argument(index, format!("{what}: {} {why}", path.concat().trim_start_matches('.')))
        }
    }
}

/// On failure `path` leads to the value that is at fault.
fn write(value: &Value, writer: &Writer, path: &mut Vec<String>, out: &mut Text) -> Result<(), String> {
    match value {
        value if value.is_null() => out.put(b"null"),
        Value::Boolean(flag) => out.put(if *flag { b"true" } else { b"false" }),
        Value::Integer(number) => out.put(number.to_string().as_bytes()),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => write_text(&text.as_bytes(), out),
        Value::Table(table) => write_table(table, writer, path, out),
        other => Err(format!("is a {}, which JSON has not", other.type_name())),
    }
}

fn no_memory(error: Error) -> String {
    format!("is too large: {}", error.fields().message)
}

fn write_number(number: f64, out: &mut Text) -> Result<(), String> {
    if !number.is_finite() {
        return Err(format!("is {number}, which JSON has not"));
    }
    // Where Lua has no integers a whole number is meant as one.
    if cfg!(any(feature = "lua51", feature = "lua52", feature = "luajit"))
        && number == number.trunc()
        && number.abs() < 1e15
    {
        return out.put(format!("{number:.0}").as_bytes());
    }
    out.put(serde_json::to_string(&number).map_err(|e| e.to_string())?.as_bytes())
}

fn write_text(bytes: &[u8], out: &mut Text) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is a string that is not valid UTF-8".to_owned())?;
    // A byte may become six: \\u001f.
    let escapes = bytes.iter().filter(|byte| **byte < b' ' || matches!(byte, b'"' | b'\\')).count();
    out.reserve(bytes.len() + 5 * escapes + 2)?;
    serde_json::to_writer(&mut out.bytes, text).map_err(|e| e.to_string())
}

fn write_table(table: &Table, writer: &Writer, path: &mut Vec<String>, out: &mut Text) -> Result<(), String> {
    if path.len() >= MAX_DEPTH {
        return Err("is nested too deeply (or contains itself)".into());
    }
    let metatable = table.metatable();
    let marked = writer.arrays.has(metatable.as_ref());
    let length = table.raw_len();
    let mut entries: Vec<Member> = Vec::new();
    let mut indices = 0;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|e| e.to_string())?;
        match &key {
            Value::String(name) => {
                let name = pages::copied(&name.as_bytes()).map_err(no_memory)?;
                entries.push((usize::MAX, name, value));
            }
            Value::Integer(_) | Value::Number(_) => indices += 1,
            other => return Err(format!("has a {} as a key", other.type_name())),
        }
    }
    if entries.is_empty() && indices == length && (marked || length > 0) {
        out.put(b"[")?;
        for at in 1..=length {
            if at > 1 {
                out.put(b",")?;
            }
            let item: Value = table.raw_get(at).map_err(|e| e.to_string())?;
            path.push(format!("[{at}]"));
            write(&item, writer, path, out)?;
            path.pop();
        }
        out.put(b"]")?;
        return Ok(());
    }
    if indices > 0 {
        return Err("is neither an array (its keys are not 1 to n) nor an object (its keys are not strings)".into());
    }
    entries.sort_unstable_by(|(_, a, _), (_, b, _)| a.cmp(b));
    let order = match (&writer.orders, metatable) {
        (Some(orders), Some(metatable)) => orders.raw_get::<Option<LuaString>>(metatable).map_err(|e| e.to_string())?,
        _ => None,
    };
    if let Some(order) = order {
        rearrange(&mut entries, &order.as_bytes());
    }
    out.put(b"{")?;
    for (at, (_, name, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.put(b",")?;
        }
        // Of a long name enough to find it by.
        path.push(format!(".{}", String::from_utf8_lossy(name.get(..80).unwrap_or(name))));
        write_text(name, out)?;
        out.put(b":")?;
        write(value, writer, path, out)?;
        path.pop();
    }
    out.put(b"}")?;
    Ok(())
}

/// A member of an object: its place in the order of the document, its name, its value.
type Member = (usize, Vec<u8>, Value);

/// Puts members, which are sorted by name, into an order of names; those that it has not come behind.
fn rearrange(members: &mut [Member], order: &[u8]) {
    for (place, name) in names_of(order).enumerate() {
        if let Ok(at) = members.binary_search_by(|(_, member, _)| member.as_slice().cmp(name))
            && let Some(member) = members.get_mut(at)
        {
            // Of equal names the first says where.
            member.0 = place.min(member.0);
        }
    }
    members.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
}
