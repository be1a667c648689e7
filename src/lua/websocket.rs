//! WebSockets for Lua: sockets of their own class, which send and receive whole messages.

use super::{
    answer::{Answer, argument},
    capability::Capability,
    define, headers, held,
    options::Options,
    request_options::{proxy, resolve},
    socket::{Class, Item, Socket, seconds},
    sockets::{peek, wrap},
};
use crate::{
    client::{
        self,
        websocket::{self, Received, WebSocket},
    },
    deadline::Deadline,
    error::{Error, Kind},
    http::{
        url::{HttpUrl, Scheme},
        websocket::{
            extension::{Compress, MOST_BITS},
            frames::{Form, Goodbye, Limits, MAX_CONTROL, is_sendable},
            handshake::{Handshake, parse_url},
        },
    },
};
use mlua::{AnyUserData, IntoLua, IntoLuaMulti, Lua, LuaString, Table, Value};
use std::{rc::Rc, time::Duration};

/// The longest wait for the peer's goodbye, unless the caller names another.
const PATIENCE: Duration = Duration::from_secs(5);

/// capability, url, headers, opts
type Given = (AnyUserData, LuaString, Option<Table>, Option<Table>);

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    define(lua, core, "websocket", connect)?;
    type Send = (Value, LuaString, String, Option<f64>);
    define(lua, core, "websocket_send", |lua, (socket, data, form, own): Send| {
        let socket = peek(lua, &socket)?;
        let data = data.as_bytes();
        let form = match &*form {
            "text" if std::str::from_utf8(&data).is_err() => {
                return argument(1, "text must be valid UTF-8; send other bytes as \"binary\"");
            }
            "text" => Form::Text,
            _ => Form::Binary,
        };
        let deadline = socket.deadline(own.and_then(seconds))?;
        Ok(socket.websocket("send", |ws| ws.send(form, &data, &deadline)).map(|()| true)?)
    })?;
    // websocket_recv(socket, timeout?) -> data, "text" | "binary"; false, code, reason after the peer's goodbye
    define(lua, core, "websocket_recv", |lua, (socket, own): (Value, Option<f64>)| {
        let socket = peek(lua, &socket)?;
        let deadline = socket.deadline(own.and_then(seconds))?;
        let made = match socket.websocket("recv", |ws| ws.recv(&deadline))? {
            Received::Message(form, data) => {
                lua.create_string(data).and_then(|data| (data, form.word()).into_lua_multi(lua))
            }
            Received::Closed(Goodbye { code, reason }) => (false, code, reason).into_lua_multi(lua),
        };
        made.map_err(Into::into)
    })?;
    define(lua, core, "websocket_ping", |lua, (socket, data, own): (Value, LuaString, Option<f64>)| {
        let socket = peek(lua, &socket)?;
        let data = data.as_bytes();
        if data.len() > MAX_CONTROL {
            return argument(1, format!("data must be {MAX_CONTROL} bytes or less, got {}", data.len()));
        }
        let deadline = socket.deadline(own.and_then(seconds))?;
        Ok(socket.websocket("ping", |ws| ws.ping(&data, &deadline)).map(|()| true)?)
    })?;
    type Close = (Value, f64, LuaString, Option<f64>);
    define(lua, core, "websocket_close", |lua, (socket, code, reason, own): Close| {
        let socket = peek(lua, &socket)?;
        let goodbye = goodbye(code, &reason)?;
        let own = own.and_then(seconds).unwrap_or_else(|| Some(socket.timeout().map_or(PATIENCE, |t| t.min(PATIENCE))));
        let deadline = Deadline::new(own).start();
        // Closing twice, and closing what was revoked, is no error.
        Ok(socket.websocket("close", |ws| Ok(ws.close(&goodbye, &deadline))).unwrap_or(false))
    })
}

fn connect(lua: &Lua, (cap, url, headers, opts): Given) -> Answer<Value> {
    let cap = held(&cap)?;
    cap.net.alive()?;
    let Ok(url) = std::str::from_utf8(&url.as_bytes()).map(str::to_owned) else {
        return argument(1, "URL is not valid UTF-8");
    };
    let url = parse_url(&url).or_else(|why| argument(1, why))?;
    let opts = Options::new(lua, opts, 2);
    let (timeout, deadline) = (opts.timeout()?, opts.deadline()?);
    let options = options(&opts, &cap, &url)?;
    let mut random = [0; 16];
    if let Err(e) = getrandom::fill(&mut random) {
        return Err(Error::new(Kind::Socket, format!("no random bytes: {e}")).into());
    }
    let mut handshake = Handshake::new(url, opts.list("subprotocols")?, random).or_else(|why| argument(2, why))?;
    for (name, value) in headers::of(lua, headers.as_ref())? {
        match value {
            Some(value) => handshake.field(&name, &value).or_else(|why| argument(2, why))?,
            None => handshake.request.without(&name),
        }
    }
    handshake.compress = compress(&opts)?;
    let ws = WebSocket::connect(&cap.net, &handshake, &options, &deadline)?;
    let origin = handshake.request.url.origin();
    let (host, port) = (origin.host.to_string(), origin.port);
    let item = Item::WebSocket(Box::new(ws));
    wrap(lua, Socket::new(Rc::clone(&cap), Class::WebSocket, item, &host, Some(port)), timeout)
}

/// `compress = { server_no_context_takeover =, client_no_context_takeover =, server_max_window_bits =, client_max_window_bits =,
/// threshold = }`, as the front has checked it.
pub fn compress(opts: &Options<'_>) -> Answer<Option<Compress>> {
    let Some(given) = opts.inner("compress")? else { return Ok(None) };
    let default = Compress::default();
    let bits = |name| Answer::Ok(given.find::<f64>(name)?.map_or(MOST_BITS, |bits| bits as u8).clamp(9, MOST_BITS));
    Ok(Some(Compress {
        server_no_context_takeover: given.flag("server_no_context_takeover", false)?,
        client_no_context_takeover: given.flag("client_no_context_takeover", false)?,
        server_max_window_bits: bits("server_max_window_bits")?,
        client_max_window_bits: bits("client_max_window_bits")?,
        threshold: given.find::<f64>("threshold")?.map_or(default.threshold, |bytes| bytes as usize),
    }))
}

fn options(opts: &Options<'_>, cap: &Capability, url: &HttpUrl) -> Answer<websocket::Options> {
    let tls = opts.client_options(cap, "websocket", url.origin().port)?;
    if url.origin().scheme == Scheme::Https {
        // A wrong certificate or key is the caller's mistake, found before anything moves.
        cap.net.client_tls(&tls).or_else(|why| argument(opts.index, &why.fields().message))?;
    }
    let message = opts.find::<f64>("max_message_bytes")?.map_or(Limits::default().message, |n| n as u64);
    let frame = opts.find::<f64>("max_frame_bytes")?.map_or(message, |n| n as u64);
    let limits = Limits { message, frame };
    let way = client::Options {
        tls: tls.into(),
        resolve: resolve(opts)?,
        unix: opts.text("unix")?,
        proxy: proxy(opts)?,
        ..client::Options::default()
    };
    Ok(websocket::Options { way, limits })
}

/// What a caller says at the end.
fn goodbye(code: f64, reason: &LuaString) -> Answer<Goodbye> {
    // A float that is no code saturates to one that is not sendable.
    let number = code as u16;
    if !is_sendable(number) || f64::from(number) != code {
        return argument(1, format!("code must be 1000..1003, 1007..1014 or 3000..4999, got {code}"));
    }
    let Ok(reason) = reason.to_str().map(|reason| reason.to_owned()) else {
        return argument(2, "reason must be valid UTF-8");
    };
    if reason.len() > MAX_CONTROL - 2 {
        return argument(2, format!("reason must be {} bytes or less, got {}", MAX_CONTROL - 2, reason.len()));
    }
    Ok(Goodbye { code: number, reason })
}

/// The fields that only a WebSocket has.
pub fn property(lua: &Lua, socket: &Socket, name: &str) -> mlua::Result<Value> {
    let item = socket.item();
    let Ok(Item::WebSocket(ws)) = item.as_deref() else { return Ok(Value::Nil) };
    match name {
        "url" => ws.url().into_lua(lua),
        "subprotocol" => ws.subprotocol().into_lua(lua),
        "compressed" => ws.is_compressed().into_lua(lua),
        "close_code" => ws.goodbye().map(|goodbye| goodbye.code).into_lua(lua),
        "close_reason" => ws.goodbye().map(|goodbye| &*goodbye.reason).into_lua(lua),
        _ => Ok(Value::Nil),
    }
}
