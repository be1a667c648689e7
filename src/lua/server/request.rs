//! Requests for Lua: their fields, each made when it is first read.

use super::{Lost, Server};
use crate::lua::{
    answer::{Answer, argument, found},
    define, kinds,
    responses::{fields, raw_fields, text},
    userdata::{self, Held},
};
use crate::{
    error::{Error, Result},
    http::incoming::params,
    panics::contained,
    server::{Request, Ticket},
    zone,
};
use mlua::{IntoLua, Lua, LuaString, Table, Value};
use std::{cell::Cell, ffi::CStr, rc::Rc};

/// A request that the script has, answered or not.
pub struct HeldRequest {
    pub server: Rc<Server>,
    pub request: Request,
    /// Where `accept` was called.
    place: Rc<str>,
    pub answered: Cell<bool>,
    /// Where the next read of the body begins.
    read: Cell<u64>,
}

impl Held for HeldRequest {
    const CLASSES: &'static [&'static CStr] = &[c"HTTP request"];
    const NAME: &'static str = "HTTP request";
    const OPEN: bool = false;
}

impl Drop for HeldRequest {
    fn drop(&mut self) {
        contained(|| {
            self.server.handed.add(self.weight(), false);
            if self.answered.get() {
                return;
            }
            let place = &self.place;
            let head = &self.request.head;
            let path: String = head.target.path().chars().take(80).collect();
            let message = format!("{} {path} was never answered, it got 500; accepted at {place}", head.method);
            self.server.lose(Lost { ticket: self.request.ticket, message });
        });
    }
}

pub fn peek(lua: &Lua, value: &Value) -> Answer<Rc<HeldRequest>> {
    found(userdata::peek(lua, value), 0, || "not a request".into())
}

impl HeldRequest {
    pub(super) fn new(server: &Rc<Server>, request: Request, from: &[u8]) -> HeldRequest {
        let held = HeldRequest {
            server: Rc::clone(server),
            request,
            place: server.place(from),
            answered: Cell::new(false),
            read: Cell::new(0),
        };
        server.handed.add(held.weight(), true);
        held
    }

    /// Bytes of its head and body, and files, of which Lua's collector sees nothing.
    fn weight(&self) -> (u64, u64) {
        let (body, files) = self.request.body.bytes().map_or((0, 1), |bytes| (bytes.len() as u64, 0));
        (self.request.head.weight() + body, files)
    }

    /// Itself, if it may still be answered.
    pub(super) fn unanswered(&self) -> Answer<&HeldRequest> {
        match self.answered.get() {
            true => argument(0, "the request was answered already"),
            false => Ok(self),
        }
    }

    /// For `poll`, of an event stream: whether its client is gone, and whether there is room for more.
    pub fn look(&self) -> (bool, bool) {
        let Ok(engine) = self.server.engine() else { return (false, false) };
        let gone = !engine.is_there(self.ticket());
        (gone, gone || engine.is_roomy(self.ticket()))
    }

    pub fn ticket(&self) -> Ticket {
        self.request.ticket
    }
}

/// Adds the functions to the core.
pub(super) fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    define(lua, core, "request_get", |lua, (request, name): (Value, LuaString)| {
        let held = peek(lua, &request)?;
        get(lua, &held, &name.to_string_lossy()).map_err(Into::into)
    })?;
    // request_pairs(request, "query" | "form") -> { name, value, name, value … }; nil where the body is no form
    define(lua, core, "request_pairs", |lua, (request, what): (Value, String)| {
        let held = peek(lua, &request)?;
        let head = &held.request.head;
        let pairs = match &*what {
            "query" => params::pairs(head.target.query().unwrap_or_default().as_bytes())?,
            _ if is_form(&held) => params::pairs(&whole(&held)?)?,
            _ => return Ok(Value::Nil),
        };
        let made = || -> mlua::Result<Value> {
            let table = lua.create_table_with_capacity(pairs.len() * 2, 0)?;
            for (name, value) in &pairs {
                table.raw_push(lua.create_string(name)?)?;
                table.raw_push(lua.create_string(value)?)?;
            }
            table.into_lua(lua)
        };
        made().map_err(Into::into)
    })?;
    define(lua, core, "request_decode", |lua, (value, plus): (LuaString, bool)| {
        lua.create_string(params::decoded(&value.as_bytes(), plus)).map_err(Into::into)
    })?;
    define(lua, core, "request_text", |lua, (request, body): (Value, LuaString)| {
        let held = peek(lua, &request)?;
        text(lua, held.request.head.fields.parameter("Content-Type", "charset"), &body)
    })?;
    // request_read(request, count?) -> bytes; nil at the end
    define(lua, core, "request_read", |lua, (request, count): (Value, Option<f64>)| {
        let held = peek(lua, &request)?;
        let count = count.map_or(usize::MAX, |n| n as usize);
        let bytes = read(&held, held.read.get(), count)?;
        held.read.set(held.read.get() + bytes.len() as u64);
        match bytes.is_empty() {
            true => Ok(Value::Nil),
            false => lua.create_string(bytes).map(Value::String).map_err(Into::into),
        }
    })
}

fn read(held: &HeldRequest, at: u64, count: usize) -> Result<Vec<u8>> {
    held.request.body.read(at, count).map_err(|e| Error::from_io("read the body", &e))
}

/// All of a body, wherever it is.
fn whole(held: &HeldRequest) -> Result<Vec<u8>> {
    read(held, 0, usize::MAX)
}

fn is_form(held: &HeldRequest) -> bool {
    let kind = held.request.head.fields.first("Content-Type").unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

fn get(lua: &Lua, held: &HeldRequest, name: &str) -> mlua::Result<Value> {
    let Request { number, head, body, remote, peer, secure, ticket } = &held.request;
    match name {
        "id" => format!("{}-{number}", held.server.id).into_lua(lua),
        "method" => (&*head.method).into_lua(lua),
        "target" => head.target.as_str().into_lua(lua),
        "path" => head.target.path().into_lua(lua),
        "query" => head.target.query().into_lua(lua),
        "version" => head.version.number().into_lua(lua),
        "scheme" => (if *secure { "https" } else { "http" }).into_lua(lua),
        "host" => head.target.host.as_deref().into_lua(lua),
        "headers" => fields(lua, &head.fields)?.into_lua(lua),
        "raw_headers" => raw_fields(lua, &head.fields)?.into_lua(lua),
        "cookies" => {
            let table = lua.create_table()?;
            for (name, value) in params::cookies(&head.fields) {
                let name = lua.create_string(name)?;
                // The first is the one with the longest path (RFC 6265 section 5.4).
                if table.raw_get::<Value>(&name)?.is_nil() {
                    table.raw_set(name, lua.create_string(value)?)?;
                }
            }
            kinds::hash(lua, table)?.into_lua(lua)
        }
        "body" => body.bytes().map(|bytes| lua.create_string(bytes)).transpose()?.into_lua(lua),
        "content_length" => body.len().into_lua(lua),
        "remote_host" => remote.map(zone::host).into_lua(lua),
        "remote_port" => remote.map(|remote| remote.port()).into_lua(lua),
        "peer" => match peer {
            None => Ok(Value::Nil),
            Some(peer) => {
                let table = lua.create_table()?;
                table.raw_set("pid", peer.pid)?;
                table.raw_set("uid", peer.uid)?;
                table.raw_set("gid", peer.gid)?;
                kinds::hash(lua, table)?.into_lua(lua)
            }
        },
        "tls" => held.server.engine.try_borrow().ok().map_or(Ok(Value::Nil), |engine| {
            let Some(tls) = engine.session(*ticket) else { return Ok(Value::Nil) };
            let table = lua.create_table()?;
            table.raw_set("protocol", tls.protocol())?;
            table.raw_set("cipher", tls.cipher())?;
            table.raw_set("sni", tls.server_name())?;
            table.raw_set("alpn", tls.alpn().map(|name| lua.create_string(name)).transpose()?)?;
            let cert = tls.peer_cert().map(|cert| crate::lua::sockets::cert_table(lua, &cert)).transpose()?;
            table.raw_set("peer_cert", cert)?;
            kinds::hash(lua, table)?.into_lua(lua)
        }),
        "there" => held.server.engine.try_borrow().is_ok_and(|engine| engine.is_there(*ticket)).into_lua(lua),
        "answered" => held.answered.get().into_lua(lua),
        _ => Ok(Value::Nil),
    }
}
