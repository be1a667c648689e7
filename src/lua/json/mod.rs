//! JSON to Lua values and back, by serde_json.
//!
//! `null` is the light userdata NULL. A decoded array carries a metatable of its own, so that an empty one goes back as
//! an array; a table that Lua made is an array if its keys are 1 to n. Raw access: no metamethod is called.
//!
//! An object goes back with its keys in the order in which they came. The order is kept in its metatable, which is
//! shared by the objects of a document with the same keys in the same order: a list of a thousand records keeps it
//! once.

mod build;
mod encode;

pub use encode::encode;

use super::answer::Answer;
use crate::{
    allocation,
    error::{Error, Kind},
};
use build::{Builder, Step};
use mlua::{Lua, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{fmt, ops::Range};

/// Nesting beyond this is refused in both directions; serde_json's own limit is the same.
const MAX_DEPTH: usize = 127;

/// What serde_json says then, in words that mean nothing to who wrote the text.
const DEEP: &str = "recursion limit exceeded";

/// Orders of keys that a document's objects are compared with: more would be work for nothing.
const MAX_ORDERS: usize = 64;

/// A peer's JSON text as a Lua value. `protocol` if it is none.
pub fn decode(lua: &Lua, text: &[u8]) -> Answer<Value> {
    // RFC 8259, section 8.1: a byte order mark may be ignored.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let builder = Builder::new(lua, text.len());
    let mut seed = Seed { builder, objects: None, names: Vec::new(), orders: Vec::new(), full: false };
    let read = (&mut seed).deserialize(&mut reader).and_then(|()| reader.end());
    let made = read.and_then(|()| {
        let value = seed.builder.finish();
        seed.made(value)
    });
    Ok(made.map_err(|e| match seed.full {
        true => Error::new(Kind::TooLarge, format!("no memory for the values of {} bytes of JSON", text.len())),
        false => {
            let why = match text.trim_ascii().is_empty() {
                true => "the text is empty".to_owned(),
                false => e.to_string().replace(DEEP, "nested more than 127 levels deep"),
            };
            Error::new(Kind::Protocol, format!("malformed JSON: {why}"))
        }
    })?)
}

struct Seed<'a, 'de> {
    builder: Builder<'a, 'de>,
    /// The number of the metatable of this document's objects whose keys stand in the order of their bytes, once there is one.
    objects: Option<i64>,
    /// The names of the objects that are being read, the innermost last: see [`put_name`].
    names: Vec<u8>,
    /// The numbers of the metatables of objects whose keys stand in another order.
    orders: Vec<(Box<[u8]>, i64)>,
    /// There was no memory for a value: that is not the peer's fault.
    full: bool,
}

/// Adds a name to an order of keys: its length in four bytes, and its bytes. Answers where its bytes are.
fn put_name(names: &mut Vec<u8>, name: &[u8]) -> crate::error::Result<Range<usize>> {
    let length = u32::try_from(name.len()).map_err(|_| allocation::no_memory(name.len()))?;
    allocation::append(names, &length.to_le_bytes())?;
    allocation::append(names, name)?;
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

impl<'de> Seed<'_, 'de> {
    fn made<T, E: serde::de::Error>(&mut self, value: mlua::Result<T>) -> Result<T, E> {
        value.map_err(|e| {
            self.full = true;
            E::custom(e)
        })
    }

    fn step<E: serde::de::Error>(&mut self, step: Step<'de>) -> Result<(), E> {
        let done = self.builder.step(step);
        self.made(done)
    }

    /// A string that is not in the document as it is: one with escapes.
    fn unescaped<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        let done = self.builder.unescaped(text);
        self.made(done)
    }

    /// The number of the metatable of an object whose keys are `names` from `start` on.
    fn object(&mut self, start: usize, in_order: bool) -> mlua::Result<i64> {
        if in_order {
            if let Some(objects) = self.objects {
                return Ok(objects);
            }
            let made = self.builder.metatable(None)?;
            return Ok(*self.objects.insert(made));
        }
        let order = self.names.get(start..).unwrap_or_default();
        if let Some((_, found)) = self.orders.iter().find(|(known, _)| **known == *order) {
            return Ok(*found);
        }
        let made = self.builder.metatable(Some(order))?;
        if self.orders.len() >= MAX_ORDERS {
            self.orders.clear();
        }
        // Long orders are rare, and not worth memory twice.
        if order.len() < 4096 {
            self.orders.push((order.into(), made));
        }
        Ok(made)
    }
}

/// Reads a name; notes it, and whether it stands behind the one before it by its bytes.
struct Name<'s, 'a, 'de> {
    seed: &'s mut Seed<'a, 'de>,
    last: &'s mut Option<Range<usize>>,
    in_order: &'s mut bool,
}

impl Name<'_, '_, '_> {
    fn note<E: serde::de::Error>(&mut self, name: &str) -> Result<(), E> {
        let names = &mut self.seed.names;
        if let Some(last) = self.last.take() {
            *self.in_order &= names.get(last).is_some_and(|last| last <= name.as_bytes());
        }
        let place = put_name(names, name.as_bytes()).map_err(|e| {
            self.seed.full = true;
            E::custom(e)
        })?;
        *self.last = Some(place);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(mut self, name: &str) -> Result<(), E> {
        self.note(name)?;
        self.seed.unescaped(name)
    }

    fn visit_borrowed_str<E: serde::de::Error>(mut self, name: &'de str) -> Result<(), E> {
        self.note(name)?;
        self.seed.step(Step::Text(name))
    }
}

impl<'de> DeserializeSeed<'de> for &mut Seed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Seed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.step(Step::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.step(Step::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.step(Step::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.step(i64::try_from(value).map_or(Step::Number(value as f64), Step::Integer))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.step(Step::Number(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.unescaped(value)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<(), E> {
        self.step(Step::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.step(Step::Array(0))?;
        let opened = self.builder.opened();
        let mut count = 0_i32;
        while items.next_element_seed(&mut *self)?.is_some() {
            count = count.saturating_add(1);
        }
        self.builder.expect(opened, Step::Array(count));
        self.step(Step::End(Builder::ARRAYS))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.step(Step::Object(0))?;
        let opened = self.builder.opened();
        let start = self.names.len();
        let (mut last, mut in_order, mut count) = (None, true, 0_i32);
        while entries.next_key_seed(Name { seed: self, last: &mut last, in_order: &mut in_order })?.is_some() {
            entries.next_value_seed(&mut *self)?;
            count = count.saturating_add(1);
        }
        let metatable = self.object(start, in_order);
        let metatable = self.made(metatable)?;
        self.names.truncate(start);
        self.builder.expect(opened, Step::Object(count));
        self.step(Step::End(metatable))
    }
}
