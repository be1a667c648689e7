//! WebSockets made from requests; and the parts of a form.

use super::{
    headers::put_table,
    request::{HeldRequest, peek},
    respond::{answer, gone, unanswered},
};
use crate::lua::{
    answer::Answer,
    define,
    options::Options,
    responses::fields,
    socket::{Class, Item, Socket},
    sockets::wrap,
    websocket::compress,
};
use crate::{
    client::websocket::WebSocket,
    error::{Error, Kind, Result},
    http::{
        incoming::{
            Refusal,
            multipart::{Part, Scanner, boundary},
        },
        websocket::{extension::FIELD, frames::Limits, handshake::Opening},
    },
    server::Content,
    zone,
};
use mlua::{IntoLua, Lua, Table, Value};
use std::rc::Rc;

/// What is read of a body at a time.
const PIECE: usize = 64 * 1024;

/// Adds the functions to the core.
pub(super) fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // request_websocket(request, headers?, opts) -> a socket
    define(lua, core, "request_websocket", websocket)?;
    // request_parts(request) -> { { name, filename?, headers, start, length } … }; nil where the body is no multipart form
    define(lua, core, "request_parts", |lua, request: Value| {
        let held = peek(lua, &request)?;
        let Some(parts) = parts(&held)? else { return Ok(Value::Nil) };
        let made = || -> mlua::Result<Value> {
            let list = lua.create_table_with_capacity(parts.len(), 0)?;
            for part in &parts {
                let row = lua.create_table()?;
                row.raw_set(1, lua.create_string(&part.name)?)?;
                row.raw_set(2, part.filename.as_ref().map(|name| lua.create_string(name)).transpose()?)?;
                row.raw_set(3, fields(lua, &part.fields)?)?;
                row.raw_set(4, part.place.start as f64)?;
                row.raw_set(5, (part.place.end - part.place.start) as f64)?;
                list.raw_push(row)?;
            }
            list.into_lua(lua)
        };
        made().map_err(Into::into)
    })?;
    // request_slice(request, start, count) -> bytes
    define(lua, core, "request_slice", |lua, (request, start, count): (Value, f64, f64)| {
        let held = peek(lua, &request)?;
        let bytes = slice(&held, start as u64, count as usize)?;
        lua.create_string(bytes).map_err(Into::into)
    })
}

fn slice(held: &HeldRequest, start: u64, count: usize) -> Result<Vec<u8>> {
    held.request.body.read(start, count).map_err(|e| Error::from_io("read the body", &e))
}

fn parts(held: &HeldRequest) -> Result<Option<Vec<Part>>> {
    let Some(boundary) = boundary(&held.request.head.fields) else { return Ok(None) };
    let mut scanner = Scanner::new(boundary);
    match held.request.body.bytes() {
        Some(bytes) => scanner.feed(bytes)?,
        None => {
            let mut at = 0;
            loop {
                let piece = slice(held, at, PIECE)?;
                if piece.is_empty() {
                    break;
                }
                at += piece.len() as u64;
                scanner.feed(&piece)?;
            }
        }
    }
    scanner.finish().map(Some)
}

fn websocket(lua: &Lua, (request, headers, opts): (Value, Option<Table>, Option<Table>)) -> Answer<Value> {
    let held = unanswered(lua, &request)?;
    let opts = Options::new(lua, opts, 1);
    let timeout = opts.timeout()?;
    let message = opts.find::<f64>("max_message_bytes")?.map_or(Limits::default().message, |n| n as u64);
    let frame = opts.find::<f64>("max_frame_bytes")?.map_or(message, |n| n as u64);
    let known = opts.list("subprotocols")?;
    let head = &held.request.head;
    let wanted = compress(&opts)?;
    let opened = Opening::of(head).and_then(|opening| match wanted.map(|wanted| wanted.choose(&head.fields)) {
        Some(Err(_)) => Err(Refusal::new(400, "Sec-WebSocket-Extensions is malformed")),
        Some(Ok(chosen)) => Ok((opening, chosen)),
        None => Ok((opening, None)),
    });
    let (opening, extension) = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            let mut no = answer(f64::from(refusal.status))?;
            no.set_field("Content-Type", b"text/plain");
            if refusal.status == 426 {
                no.set_field("Upgrade", b"websocket");
                no.set_field("Sec-WebSocket-Version", b"13");
            }
            held.server.engine()?.answer(held.ticket(), &no, Content::Bytes(refusal.why.as_bytes()))?;
            held.answered.set(true);
            return Err(Error::new(Kind::Protocol, format!("websocket: {}", refusal.why)).op("websocket").into());
        }
    };
    let mut yes = answer(101.0)?;
    if let Some(headers) = headers {
        put_table(lua, &headers, &mut yes)?;
    }
    let chosen = known.into_iter().find(|name| opening.offered.contains(name));
    yes.set_field("Upgrade", b"websocket");
    yes.set_field("Sec-WebSocket-Accept", opening.accept.as_bytes());
    match &chosen {
        Some(name) => yes.set_field("Sec-WebSocket-Protocol", name.as_bytes()),
        None => yes.drop_field("Sec-WebSocket-Protocol"),
    }
    match &extension {
        Some((_, text)) => yes.set_field(FIELD, text.as_bytes()),
        None => yes.drop_field(FIELD),
    }
    let switched = held.server.engine()?.switch(held.ticket(), &yes);
    held.answered.set(true);
    let Some(conn) = switched.map_err(|e| e.op("websocket"))? else { return Err(gone().op("websocket").into()) };
    let scheme = if held.request.secure { "wss" } else { "ws" };
    let url = format!("{scheme}://{}{}", head.target.host.as_deref().unwrap_or_default(), head.target.path());
    let (host, port) = held.request.remote.map(|remote| (zone::host(remote), remote.port())).unzip();
    let ws = WebSocket::accepted(conn, Limits { message, frame }, url, (chosen, extension.map(|(agreed, _)| agreed)));
    let item = Item::WebSocket(Box::new(ws));
    let host = host.or_else(|| held.server.path().map(|path| format!("unix:{path}"))).unwrap_or_default();
    wrap(lua, Socket::new(Rc::clone(&held.server.cap), Class::WebSocket, item, &host, port), timeout)
}
