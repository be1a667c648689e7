//! A Lua value as JSON text.

use super::{MAX_DEPTH, names_of};
use crate::{
    allocation,
    error::Error,
    lua::{
        answer::{Answer, argument},
        kinds::Mark,
    },
};
use mlua::{Table, Value};

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
        allocation::reserve(&mut self.bytes, more).map_err(no_memory)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// A Lua value as JSON text of `most` bytes at most: the keys of an object that came from JSON as they stood there, and what was
/// added behind them or among them; of others in the order of their bytes, as all are if `sorted`. Wrong arguments name the place behind `what`: `items[2].name`.
pub fn encode(value: &Value, index: usize, what: &str, sorted: bool, most: usize) -> Answer<Vec<u8>> {
    let mut out = Text { bytes: Vec::new(), most, full: false };
    let mut path = Vec::new();
    match write(value, sorted, &mut path, &mut out) {
        Ok(()) => Ok(out.bytes),
        Err(why) if path.is_empty() || out.full => argument(index, format!("{what} {why}")),
        Err(why) => {
            path.truncate(8);
            argument(index, format!("{what}: {} {why}", path.concat().trim_start_matches('.')))
        }
    }
}

/// On failure `path` leads to the value that is at fault.
fn write(value: &Value, sorted: bool, path: &mut Vec<String>, out: &mut Text) -> Result<(), String> {
    match value {
        value if value.is_null() => out.put(b"null"),
        Value::Boolean(flag) => out.put(if *flag { b"true" } else { b"false" }),
        Value::Integer(number) => out.put(number.to_string().as_bytes()),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => write_text(&text.as_bytes(), out),
        Value::Table(table) => write_table(table, sorted, path, out),
        other => Err(format!("is a {}, which JSON does not have", other.type_name())),
    }
}

fn no_memory(error: Error) -> String {
    format!("is too large: {}", error.fields().message)
}

fn write_number(number: f64, out: &mut Text) -> Result<(), String> {
    if !number.is_finite() {
        return Err(format!("is {number}, which JSON does not have"));
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

fn write_table(table: &Table, sorted: bool, path: &mut Vec<String>, out: &mut Text) -> Result<(), String> {
    if path.len() >= MAX_DEPTH {
        return Err("is nested too deeply (or contains itself)".into());
    }
    let mark = Mark::of(table.metatable().as_ref());
    let length = table.raw_len();
    let mut entries: Vec<Member> = Vec::new();
    let mut indices = 0;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|e| e.to_string())?;
        match &key {
            Value::String(name) => {
                let name = allocation::copied(&name.as_bytes()).map_err(no_memory)?;
                entries.push((usize::MAX, name, value));
            }
            Value::Integer(_) | Value::Number(_) => indices += 1,
            other => return Err(format!("has a {} as a key", other.type_name())),
        }
    }
    if entries.is_empty() && indices == length && (mark == Some(Mark::Array) || length > 0) {
        out.put(b"[")?;
        for at in 1..=length {
            if at > 1 {
                out.put(b",")?;
            }
            let item: Value = table.raw_get(at).map_err(|e| e.to_string())?;
            path.push(format!("[{at}]"));
            write(&item, sorted, path, out)?;
            path.pop();
        }
        out.put(b"]")?;
        return Ok(());
    }
    if indices > 0 {
        return Err("is neither an array (its keys are not 1 to n) nor an object (its keys are not strings)".into());
    }
    entries.sort_unstable_by(|(_, a, _), (_, b, _)| a.cmp(b));
    if let Some(Mark::Ordered(order)) = mark.filter(|_| !sorted) {
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
        write(value, sorted, path, out)?;
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
