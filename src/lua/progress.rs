//! Observation of requests for Lua: progress, a bar on a terminal, and records (HAR).

use super::{
    answer::{Answer, argument},
    define,
    responses::peek,
};
use crate::{deadline::wall, http::record::Record};
use mlua::{AnyUserData, Lua, Table, UserData, Value};
use std::{
    cell::Cell,
    io::{IsTerminal, Write},
    time::Duration,
};

/// A bar on the terminal that standard error is.
struct Bar {
    /// Both since 1970.
    started: Duration,
    drawn: Cell<Option<Duration>>,
}

impl UserData for Bar {}

/// Not more often than this.
const PACE: Duration = Duration::from_millis(100);
const WIDTH: usize = 30;

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // http_sent(call) -> bytes of body sent, of how many (nil if unknown)
    define(lua, core, "http_sent", |lua, call: AnyUserData| {
        let call = peek(lua, &call)?;
        let stream = call.stream()?;
        let total = stream.fetch.request().payload.as_ref().and_then(|payload| payload.length);
        Ok((stream.fetch.sent_bytes(), total))
    })?;
    // http_fill(call, count) -> bytes gathered so far, of how many (nil if unknown), whether that is all
    define(lua, core, "http_fill", |lua, (call, count): (AnyUserData, f64)| {
        let call = peek(lua, &call)?;
        let mut stream = call.stream()?;
        stream.fetch.bound();
        let (held, over) = match stream.ahead(count as usize) {
            Ok(done) => done,
            Err(err) => {
                stream.again(err)?;
                (0, false)
            }
        };
        Ok((held, stream.fetch.announced(), over))
    })?;
    // http_total(call) -> bytes that the body is going to have, nil if unknown
    define(lua, core, "http_total", |lua, call: AnyUserData| Ok(peek(lua, &call)?.stream()?.fetch.announced()))?;
    // http_bar() -> a bar; false if standard error is no terminal
    define(lua, core, "http_bar", |lua, (): ()| {
        if !std::io::stderr().is_terminal() {
            return Ok(Value::Boolean(false));
        }
        let bar = lua.create_userdata(Bar { started: wall(), drawn: Cell::new(None) });
        bar.map(Value::UserData).map_err(Into::into)
    })?;
    // http_draw(bar, done, total, last)
    define(lua, core, "http_draw", |_, (bar, done, total, last): (AnyUserData, f64, Option<f64>, bool)| {
        let Ok(bar) = bar.borrow::<Bar>() else { return argument(0, "not a bar") };
        let now = wall();
        if last || bar.drawn.get().is_none_or(|drawn| now.saturating_sub(drawn) >= PACE) {
            bar.drawn.set(Some(now));
            let mut line = line(done, total, now.saturating_sub(bar.started).as_secs_f64());
            line += if last { "\n" } else { "" };
            // A terminal that went away is no reason to stop.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        Ok(true)
    })?;
    // http_records(call) -> what was asked and answered, hop by hop
    define(lua, core, "http_records", |lua, call: AnyUserData| {
        let call = peek(lua, &call)?;
        let stream = call.stream()?;
        let list = stream.fetch.records().iter().map(|one| record(lua, one)).collect::<mlua::Result<Vec<_>>>();
        let list: Answer<Vec<Table>> = list.map_err(Into::into);
        list
    })
}

fn record(lua: &Lua, record: &Record) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let pairs = |fields: &mut dyn Iterator<Item = (&[u8], &[u8])>| {
        let list = lua.create_table()?;
        for (name, value) in fields {
            list.raw_push([lua.create_string(name)?, lua.create_string(value)?])?;
        }
        Ok::<_, mlua::Error>(list)
    };
    table.raw_set("started", record.date())?;
    table.raw_set("method", &*record.method)?;
    table.raw_set("url", &*record.url)?;
    table.raw_set("sent", pairs(&mut record.sent.iter().map(|(n, v)| (&**n, &**v)))?)?;
    table.raw_set("sent_head", record.sent_head)?;
    if let Some(head) = &record.answer {
        table.raw_set("status", head.status)?;
        table.raw_set("reason", lua.create_string(&head.reason)?)?;
        table.raw_set("version", head.version.number())?;
        table.raw_set("fields", pairs(&mut head.fields.iter())?)?;
    }
    Ok(table)
}

/// `\r 42 % [=====>    ]  4.2 MiB of 10.0 MiB  1.1 MiB/s`
fn line(done: f64, total: Option<f64>, seconds: f64) -> String {
    let speed = size(done / seconds.max(0.001));
    match total.filter(|total| *total > 0.0) {
        Some(total) => {
            let part = (done / total).clamp(0.0, 1.0);
            let full = (part * WIDTH as f64) as usize;
            let bar = format!("{}{}", "=".repeat(full), if full < WIDTH { ">" } else { "" });
            format!("\r\x1b[K{:3.0} % [{bar:<WIDTH$}]  {} of {}  {speed}/s", part * 100.0, size(done), size(total))
        }
        None => format!("\r\x1b[K{}  {speed}/s", size(done)),
    }
}

fn size(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = |done, total| line(done, total, 2.0).replace("\r\x1b[K", "");
        assert_eq!(text(512.0, None), "512 B  256 B/s");
        assert_eq!(text(0.0, Some(0.0)), "0 B  0 B/s");
        assert!(
            text(1048576.0, Some(2097152.0)).starts_with(" 50 % [===============>              ]  1.0 MiB of 2.0 MiB")
        );
        assert!(text(3.0, Some(2.0)).starts_with("100 % [==============================]"));
    }
}
