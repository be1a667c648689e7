//! JSON to Lua values and back, by serde_json.
//!
//! `null` is the light userdata NULL. A decoded array carries a metatable of its own, so that an empty one goes back as
//! an array; a table that Lua made is an array if its keys are 1 to n. Read raw: no metamethod is asked.

use super::{
    answer::{Answer, argument},
    kinds,
};
use crate::{
    error::{Error, Kind},
    pages,
};
use mlua::{IntoLua, Lua, Table, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{
    cell::{Cell, OnceCell},
    fmt,
};

/// Nesting beyond this is refused in both directions; serde_json's own limit is the same.
const MAX_DEPTH: usize = 127;

/// A peer's JSON text as a Lua value. `protocol` if it is none.
pub fn decode(lua: &Lua, text: &[u8]) -> Answer<Value> {
    // RFC 8259, section 8.1: a byte order mark may be ignored.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let seed = Seed { lua, arrays: kinds::array(lua), objects: OnceCell::new(), full: Cell::new(false) };
    let value = (&seed).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    Ok(value.map_err(|e| match seed.full.get() {
        true => Error::new(Kind::TooLarge, format!("no memory for the values of {} bytes of JSON", text.len())),
        false => Error::new(Kind::Protocol, format!("malformed JSON: {e}")),
    })?)
}

struct Seed<'a> {
    lua: &'a Lua,
    arrays: Option<Table>,
    /// The metatable of this document's objects, once there is one.
    objects: OnceCell<Option<Table>>,
    /// Lua had no memory for a value: that is not the peer's fault.
    full: Cell<bool>,
}

impl Seed<'_> {
    fn made<T, E: serde::de::Error>(&self, value: mlua::Result<T>) -> Result<T, E> {
        value.map_err(|e| {
            self.full.set(matches!(e, mlua::Error::MemoryError(_)));
            E::custom(e)
        })
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
        self.made(table.set_metatable(self.arrays.clone()))?;
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let table = self.made(self.lua.create_table())?;
        while let Some(key) = entries.next_key_seed(self)? {
            let value = entries.next_value_seed(self)?;
            self.made(table.raw_set(key, value))?;
        }
        if self.objects.get().is_none() {
            let _ = self.objects.set(self.made(kinds::hash_of_document(self.lua))?);
        }
        self.made(table.set_metatable(self.objects.get().cloned().flatten()))?;
        Ok(Value::Table(table))
    }
}

/// A Lua value as JSON text, objects in the order of their keys. Wrong arguments name the place: `items[2].name`.
pub fn encode(lua: &Lua, value: &Value, index: usize) -> Answer<Vec<u8>> {
    let mut out = Vec::new();
    let mut path = Vec::new();
    let arrays = kinds::array(lua);
    match write(value, arrays.as_ref(), &mut path, &mut out) {
        Ok(()) => Ok(out),
        Err(why) if path.is_empty() => argument(index, format!("body_json {why}")),
        Err(why) => {
            path.truncate(8);
            argument(index, format!("body_json: {} {why}", path.concat().trim_start_matches('.')))
        }
    }
}

/// On failure `path` leads to the value that is at fault.
fn write(value: &Value, arrays: Option<&Table>, path: &mut Vec<String>, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        value if value.is_null() => put(out, b"null"),
        Value::Boolean(flag) => put(out, if *flag { b"true" } else { b"false" }),
        Value::Integer(number) => put(out, number.to_string().as_bytes()),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => write_text(&text.as_bytes(), out),
        Value::Table(table) => write_table(table, arrays, path, out),
        other => Err(format!("is a {}, which JSON has not", other.type_name())),
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    pages::append(out, bytes).map_err(no_memory)
}

fn no_memory(error: Error) -> String {
    format!("is too large: {}", error.fields().message)
}

fn write_number(number: f64, out: &mut Vec<u8>) -> Result<(), String> {
    if !number.is_finite() {
        return Err(format!("is {number}, which JSON has not"));
    }
    // Where Lua has no integers a whole number is meant as one.
    if cfg!(any(feature = "lua51", feature = "lua52", feature = "luajit"))
        && number == number.trunc()
        && number.abs() < 1e15
    {
        return put(out, format!("{number:.0}").as_bytes());
    }
    put(out, serde_json::to_string(&number).map_err(|e| e.to_string())?.as_bytes())
}

fn write_text(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is a string that is not valid UTF-8".to_owned())?;
    // A byte may become six: \\u001f.
    let escapes = bytes.iter().filter(|byte| **byte < b' ' || matches!(byte, b'"' | b'\\')).count();
    pages::reserve(out, bytes.len() + 5 * escapes + 2).map_err(no_memory)?;
    serde_json::to_writer(out, text).map_err(|e| e.to_string())
}

fn write_table(table: &Table, arrays: Option<&Table>, path: &mut Vec<String>, out: &mut Vec<u8>) -> Result<(), String> {
    if path.len() >= MAX_DEPTH {
        return Err("is nested too deeply (or contains itself)".into());
    }
    let marked = arrays.is_some() && table.metatable().as_ref() == arrays;
    let length = table.raw_len();
    let mut entries = Vec::new();
    let mut indices = 0;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|e| e.to_string())?;
        match &key {
            Value::String(name) => entries.push((pages::copied(&name.as_bytes()).map_err(no_memory)?, value)),
            Value::Integer(_) | Value::Number(_) => indices += 1,
            other => return Err(format!("has a {} as a key", other.type_name())),
        }
    }
    if entries.is_empty() && indices == length && (marked || length > 0) {
        put(out, b"[")?;
        for at in 1..=length {
            if at > 1 {
                put(out, b",")?;
            }
            let item: Value = table.raw_get(at).map_err(|e| e.to_string())?;
            path.push(format!("[{at}]"));
            write(&item, arrays, path, out)?;
            path.pop();
        }
        put(out, b"]")?;
        return Ok(());
    }
    if indices > 0 {
        return Err("is neither an array (its keys are not 1 to n) nor an object (its keys are not strings)".into());
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    put(out, b"{")?;
    for (at, (name, value)) in entries.iter().enumerate() {
        if at > 0 {
            put(out, b",")?;
        }
        // Of a long name enough to find it by.
        path.push(format!(".{}", String::from_utf8_lossy(name.get(..80).unwrap_or(name))));
        write_text(name, out)?;
        put(out, b":")?;
        write(value, arrays, path, out)?;
        path.pop();
    }
    put(out, b"}")?;
    Ok(())
}
