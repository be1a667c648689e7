//! Answers from Lua: status, headers and body.

use super::{
    patience,
    request::{Held, peek},
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
use mlua::{AnyUserData, Lua, LuaString, Table, Value};
use std::os::unix::fs::MetadataExt;

/// Adds the functions to the core.
pub(super) fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // request_respond(request, status, headers?, body?, content_type?) -> false where the client is gone
    type Respond = (AnyUserData, f64, Option<Table>, Option<LuaString>, Option<LuaString>);
    define(lua, core, "request_respond", |_, (request, status, headers, body, kind): Respond| {
        let held = unanswered(&request)?;
        let kind = kind.as_ref().map(LuaString::as_bytes);
        let answer = answer_to(&held, status, headers, kind.as_deref())?;
        let body = body.as_ref().map(LuaString::as_bytes);
        let body = body.as_deref().unwrap_or_default();
        let done = held.server.engine()?.answer(held.ticket(), &answer, Content::Bytes(body));
        held.answered.set(true);
        Ok(done.map_err(|e| e.op("respond"))?)
    })?;
    // request_stream(request, status, headers?, events) -> the name under which notes tell that there is room; false: the client is gone
    type Streamed = (AnyUserData, f64, Option<Table>, Option<bool>);
    define(lua, core, "request_stream", |lua, (request, status, headers, events): Streamed| {
        let held = unanswered(&request)?;
        let answer = answer_to(&held, status, headers, None)?;
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
    define(lua, core, "request_piece", |_, (request, bytes, own): (AnyUserData, LuaString, Option<f64>)| {
        let held = peek(&request)?;
        if !held.server.engine()?.piece(held.ticket(), &bytes.as_bytes())? {
            return Err(gone().into());
        }
        match own {
            None => Ok(held.server.engine()?.has_room(held.ticket())),
            Some(_) => room(&held, &patience(own)),
        }
    })?;
    // request_file(request, status, headers?, path or a file of `directory`): ranges and conditional requests are ours
    type File = (AnyUserData, f64, Option<Table>, Value);
    define(lua, core, "request_file", |_, (request, status, headers, path): File| {
        let held = unanswered(&request)?;
        let mut answer = answer_to(&held, status, headers, None)?;
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
    define(lua, core, "request_finish", |_, request: AnyUserData| {
        let held = peek(&request)?;
        Ok(held.server.engine()?.finish(held.ticket())?)
    })?;
    define(lua, core, "request_abort", |_, request: AnyUserData| {
        let held = peek(&request)?;
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
fn room(held: &Held, deadline: &Deadline) -> Answer<bool> {
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
pub(super) fn unanswered(request: &AnyUserData) -> Answer<std::rc::Rc<Held>> {
    let held = peek(request)?;
    if held.answered.get() {
        return argument(0, "the request was answered already");
    }
    Ok(held)
}

/// [`answer`] to this request.
fn answer_to(held: &Held, status: f64, headers: Option<Table>, kind: Option<&[u8]>) -> Answer<http::Answer> {
    if status < 200.0 && held.request.head.version == Version::Http2 {
        return argument(1, format!("status must be 200..999 over HTTP/2, got {status}"));
    }
    answer(status, headers, kind)
}

/// Status and headers of a script's. `kind` is the `Content-Type`, where the script names none.
pub(super) fn answer(status: f64, headers: Option<Table>, kind: Option<&[u8]>) -> Answer<http::Answer> {
    let wrong = |index| move |why: Invalid| Failure::Argument(index, why.0);
    let number = status as u16;
    if f64::from(number) != status {
        return argument(1, format!("status must be 200..999, got {status}"));
    }
    let mut answer = http::Answer::new(number).map_err(wrong(1))?;
    if let Some(headers) = headers {
        for pair in headers.pairs::<Value, Value>() {
            let (name, value) = pair.or_else(|e| argument(2, e))?;
            let Value::String(name) = name else { return argument(2, "the name of a header must be a string") };
            put(&mut answer, &name, value).map_err(|failure| match failure {
                Failure::Argument(_, message) => Failure::Argument(2, message),
                failure => failure,
            })?;
        }
    }
    if let Some(kind) = kind
        && !answer.fields().has("Content-Type")
    {
        answer.field(b"Content-Type", kind).map_err(wrong(2))?;
    }
    Ok(answer)
}

/// A value is a string, a number, or a flat list of them.
fn put(answer: &mut http::Answer, name: &LuaString, value: Value) -> Answer<()> {
    let mut field = |text: &[u8]| answer.field(&name.as_bytes(), text).map_err(|why| Failure::Argument(2, why.0));
    match value {
        Value::String(text) => field(&text.as_bytes()),
        Value::Integer(number) => field(number.to_string().as_bytes()),
        Value::Number(number) if number.is_finite() => field(number.to_string().as_bytes()),
        Value::Table(list) => {
            for at in 1..=list.raw_len() {
                match list.raw_get::<Value>(at) {
                    Ok(Value::String(text)) => field(&text.as_bytes())?,
                    Ok(Value::Integer(number)) => field(number.to_string().as_bytes())?,
                    Ok(Value::Number(number)) if number.is_finite() => field(number.to_string().as_bytes())?,
                    _ => return argument(2, format!("header {}: a list must be of strings", name.to_string_lossy())),
                }
            }
            Ok(())
        }
        other => {
            let message = format!("header {}: must be a string or a list of strings", name.to_string_lossy());
            argument(2, format!("{message}, got a {}", other.type_name()))
        }
    }
}
