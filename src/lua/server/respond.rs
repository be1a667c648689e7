//! Answers from Lua: status, headers and body.

use super::{
    headers, patience,
    request::{HeldRequest, peek},
};
use crate::lua::{
    answer::{Answer, Failure, argument},
    define, directory,
};
use crate::{
    deadline::{Deadline, check_interrupt},
    error::{Error, Kind},
    files::Refusal,
    http::{
        Invalid, answer as http,
        content_type::content_type,
        ranges::{About, Plan, plan},
        response::Version,
    },
    server::Content,
};
use mlua::{Lua, LuaString, Table, Value};
use std::{os::unix::fs::MetadataExt, rc::Rc};

/// Adds the functions to the core.
pub(super) fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // request_stream(request, status, headers?, events) -> the name under which notes tell that there is room; false: the client is gone
    type Streamed = (Value, f64, Option<Table>, Option<bool>);
    define(lua, core, "request_stream", |lua, (request, status, headers, events): Streamed| {
        let held = unanswered(lua, &request)?;
        let answer = whole_answer(lua, &held, status, headers)?;
        let content = if events == Some(true) { Content::Events } else { Content::Pieces };
        let done = held.server.engine()?.answer(held.ticket(), &answer, content);
        held.answered.set(true);
        match done.map_err(|e| e.op("respond"))? {
            true => lua.create_string(held.ticket().text()).map(Value::String).map_err(Failure::from),
            false => Ok(Value::Boolean(false)),
        }
    })?;
    // request_piece(request, bytes, timeout?) -> true where there is room for more, false where a note will tell;
    // with a timeout it waits for the room. Fails where the client is gone.
    define(lua, core, "request_piece", |lua, (request, bytes, own): (Value, LuaString, Option<f64>)| {
        let held = peek(lua, &request)?;
        if !held.server.engine()?.piece(held.ticket(), &bytes.as_bytes())? {
            return Err(gone().into());
        }
        match own {
            None => Ok(held.server.engine()?.has_room(held.ticket())),
            Some(_) => room(&held, &patience(own)),
        }
    })?;
    // request_file(request, status, headers?, path or a file of `directory`): ranges and conditional requests are ours
    type File = (Value, f64, Option<Table>, Value);
    define(lua, core, "request_file", |lua, (request, status, headers, path): File| {
        let held = unanswered(lua, &request)?;
        let mut answer = whole_answer(lua, &held, status, headers)?;
        let (file, path) = match &path {
            Value::String(path) => {
                let path = path.as_bytes().to_vec();
                let message =
                    |refusal: Refusal| format!("body_file: {}", refusal.message(&String::from_utf8_lossy(&path)));
                let opened = held.server.files.open_regular(&path);
                (opened.or_else(|refusal| argument(3, message(refusal)))?, path)
            }
            Value::UserData(file) => (directory::take(file)?, Vec::new()),
            _ => return argument(3, "body_file must be a path"),
        };
        let shown = String::from_utf8_lossy(&path);
        let about = about(&file).or_else(|e| argument(3, format!("body_file: {shown}: {e}")))?;
        answer.default_field("Content-Type", content_type(&path).as_bytes());
        let head = &held.request.head;
        let (mut from, mut length) = (0, about.length);
        if answer.status == 200 {
            answer.default_field("ETag", about.etag.as_bytes());
            answer.default_field("Last-Modified", about.last_modified().as_bytes());
            answer.default_field("Accept-Ranges", b"bytes");
            match plan(&head.method, &head.fields, &about) {
                Plan::Whole => (),
                Plan::Part(start, count) => {
                    (from, length) = (start, count);
                    answer.status = 206;
                    let place = format!("bytes {from}-{}/{}", from + length - 1, about.length);
                    answer.set_field("Content-Range", place.as_bytes());
                }
                Plan::NotModified => answer.status = 304,
                Plan::Failed => (answer.status, length) = (412, 0),
                Plan::Unsatisfiable => {
                    (answer.status, length) = (416, 0);
                    answer.set_field("Content-Range", format!("bytes */{}", about.length).as_bytes());
                }
            }
        }
        let done = held.server.engine()?.answer(held.ticket(), &answer, Content::File(file, from, length));
        held.answered.set(true);
        Ok(done.map_err(|e| e.op("respond"))?)
    })?;
    define(lua, core, "request_finish", |lua, request: Value| {
        let held = peek(lua, &request)?;
        Ok(held.server.engine()?.finish(held.ticket())?)
    })?;
    define(lua, core, "request_abort", |lua, request: Value| {
        let held = peek(lua, &request)?;
        held.answered.set(true);
        held.server.engine()?.abort(held.ticket());
        Ok(true)
    })
}

fn about(file: &std::fs::File) -> std::io::Result<About> {
    let meta = file.metadata()?;
    Ok(About::new(meta.len(), u64::try_from(meta.mtime()).unwrap_or(0), meta.mtime_nsec() as u32))
}

pub(super) fn gone() -> Error {
    Error::new(Kind::ConnectionReset, "the client has closed the connection").op("respond")
}

/// Waits until the client has taken enough for more.
fn room(held: &HeldRequest, deadline: &Deadline) -> Answer<bool> {
    loop {
        let mut engine = held.server.engine()?;
        if !engine.is_there(held.ticket()) {
            return Err(gone().into());
        }
        if engine.is_roomy(held.ticket()) {
            return Ok(true);
        }
        if deadline.is_past() {
            return Err(deadline.error("send").op("send").into());
        }
        engine.turn(deadline.slice())?;
        drop(engine);
        check_interrupt("send")?;
    }
}

/// A request that may still be answered.
pub(super) fn unanswered(lua: &Lua, request: &Value) -> Answer<Rc<HeldRequest>> {
    let held = peek(lua, request)?;
    held.unanswered()?;
    Ok(held)
}

/// An answer to this request, without headers.
pub(super) fn answer_to(held: &HeldRequest, status: f64) -> Answer<http::Answer> {
    if status < 200.0 && held.request.head.version == Version::Http2 {
        return argument(1, format!("status must be 200..999 over HTTP/2, got {status}"));
    }
    answer(status)
}

fn whole_answer(lua: &Lua, held: &HeldRequest, status: f64, given: Option<Table>) -> Answer<http::Answer> {
    let mut answer = answer_to(held, status)?;
    if let Some(given) = given {
        headers::put_table(lua, &given, &mut answer)?;
    }
    Ok(answer)
}

/// An answer without headers.
pub(super) fn answer(status: f64) -> Answer<http::Answer> {
    let number = status as u16;
    if f64::from(number) != status {
        return argument(1, format!("status must be 200..999, got {status}"));
    }
    http::Answer::new(number).map_err(|Invalid(why)| Failure::Argument(1, why))
}

/// The `Content-Type`, where the script names none.
pub(super) fn default_kind(answer: &mut http::Answer, kind: Option<&[u8]>) -> Answer<()> {
    match kind {
        Some(kind) if !answer.fields().has("Content-Type") => {
            answer.field(b"Content-Type", kind).map_err(|Invalid(why)| Failure::Argument(2, why))
        }
        _ => Ok(()),
    }
}
