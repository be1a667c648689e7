//! The fields of sockets: their values, and the settable ones.

use super::{
    answer::argument,
    define, server,
    socket::{Class, Item, Socket, seconds},
    sockets::{multicast_interface, peek},
    websocket,
};
use crate::{conn::Conn, zone};
use mlua::{IntoLua, Lua, Table, Value};
use std::net::SocketAddr;

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    define(lua, core, "get", |lua, (socket, name): (Value, Value)| {
        let socket = peek(lua, &socket)?;
        let Some(name) = name.as_string().map(|name| name.to_string_lossy()) else { return Ok(Value::Nil) };
        let local = match name.starts_with("local_") {
            true => socket.local().map_err(|e| e.op("get"))?,
            false => None,
        };
        let read = || -> mlua::Result<Value> {
            let remote = || remote_of(&socket);
            match &*name {
                "host" if matches!(socket.kind, Class::Listener | Class::Server) => Ok(Value::Nil),
                "host" if !socket.host.is_empty() => (&*socket.host).into_lua(lua),
                "port" => socket.port.into_lua(lua),
                "remote_host" => remote().map(zone::host).into_lua(lua),
                "remote_port" => remote().map(|a| a.port()).into_lua(lua),
                "local_host" => local.map(zone::host).into_lua(lua),
                "local_port" => local.map(|a| a.port()).into_lua(lua),
                "connected" | "connected?" => match socket.kind {
                    Class::Listener | Class::Server => Ok(Value::Nil),
                    _ => is_connected(&socket).into_lua(lua),
                },
                "timeout" => socket.timeout().map_or(f64::INFINITY, |time| time.as_secs_f64()).into_lua(lua),
                "nodelay" => flag(&socket, |conn| conn.wire().nodelay()).into_lua(lua),
                "keepalive" => flag(&socket, |conn| conn.wire().keepalive()).into_lua(lua),
                "url" | "subprotocol" | "compressed" | "close_code" | "close_reason" => {
                    websocket::property(lua, &socket, &name)
                }
                "peer" => socket.stream("get", |conn| Ok(conn.wire().credentials())).ok().flatten().map_or(
                    Ok(Value::Nil),
                    |peer| {
                        let table = lua.create_table()?;
                        table.raw_set("pid", peer.pid)?;
                        table.raw_set("uid", peer.uid)?;
                        table.raw_set("gid", peer.gid)?;
                        table.into_lua(lua)
                    },
                ),
                "path" | "connections" => server::property(lua, &socket, &name),
                "broadcast" => socket.udp("broadcast", |udp| Ok(udp.broadcast())).ok().into_lua(lua),
                _ => Ok(Value::Nil),
            }
        };
        read().map_err(Into::into)
    })?;
    define(lua, core, "describe", |lua, (socket, label): (Value, String)| {
        let socket = peek(lua, &socket)?;
        let name = match (socket.host.is_empty(), socket.port, socket.local().ok().flatten()) {
            (false, Some(port), _) if socket.host.contains(':') => format!("[{}]:{port}", socket.host),
            (false, Some(port), _) => format!("{}:{port}", socket.host),
            (false, None, _) => socket.host.to_string(),
            (true, _, Some(local)) => zone::endpoint(local),
            _ => String::new(),
        };
        let state = if socket.is_open() { "" } else { ", closed" };
        Ok(format!("{label} ({name}{state})"))
    })?;
    define(lua, core, "set", |lua, (socket, name, value): (Value, String, Value)| {
        let socket = peek(lua, &socket)?;
        let boolean = || match value {
            Value::Boolean(on) => Ok(on),
            _ => argument(0, format!("{name} must be true or false")),
        };
        match (&*name, socket.kind) {
            // Lua's 5 and 5.0 are one number, mlua's two.
            ("timeout", _) => match value.as_f64().or(value.as_i64().map(|n| n as f64)).and_then(seconds) {
                Some(timeout) => socket.set_timeout(timeout),
                None if value.is_string() => return argument(0, "timeout must be a number, got a string"),
                None => return argument(0, "timeout must be 0 or more seconds (math.huge: for ever)"),
            },
            ("nodelay", Class::Tcp | Class::Ssl) => {
                let on = boolean()?;
                socket.stream("nodelay", |conn| conn.wire().set_nodelay(on))?;
            }
            ("keepalive", Class::Tcp | Class::Ssl) => {
                let on = boolean()?;
                socket.stream("keepalive", |conn| conn.wire().set_keepalive(on))?;
            }
            ("broadcast", Class::Udp) => {
                let on = boolean()?;
                socket.udp("broadcast", |udp| udp.set_broadcast(on))?;
            }
            ("multicast_loop", Class::Udp) => {
                let on = boolean()?;
                socket.udp("multicast_loop", |udp| udp.set_multicast_loop(on))?;
            }
            ("multicast_ttl", Class::Udp) => match value.as_u32().filter(|ttl| *ttl < 256) {
                Some(ttl) => socket.udp("multicast_ttl", |udp| udp.set_multicast_ttl(ttl))?,
                None => return argument(0, "multicast_ttl must be 0..255"),
            },
            ("multicast_interface", Class::Udp) => {
                // Lua's 5 and 5.0 are one number, mlua's two.
                let text = match (value.as_u32(), &value) {
                    (Some(index), _) => lua.create_string(index.to_string())?,
                    (_, Value::String(text)) => text.clone(),
                    _ => return argument(0, "multicast_interface must be a name, an index or an IPv4 address"),
                };
                let interface = multicast_interface(&text, 0)?;
                socket.udp("multicast_interface", |udp| udp.set_multicast_interface(interface))?;
            }
            _ => return argument(0, format!("a {} socket has no writable field {name:?}", socket.kind.word())),
        }
        Ok(true)
    })
}

fn flag(socket: &Socket, read: impl FnOnce(&Conn) -> bool) -> Option<bool> {
    socket.stream("get", |conn| Ok(read(conn))).ok()
}

fn is_connected(socket: &Socket) -> bool {
    socket.is_open()
        && socket.item().is_ok_and(|item| match &*item {
            Item::Stream(conn) => conn.is_open(),
            Item::Udp(udp) => udp.is_connected(),
            Item::WebSocket(ws) => ws.is_open(),
            _ => false,
        })
}

fn remote_of(socket: &Socket) -> Option<SocketAddr> {
    match socket.item().as_deref() {
        Ok(Item::Stream(conn)) => conn.wire().remote(),
        Ok(Item::Udp(udp)) => udp.remote(),
        Ok(Item::WebSocket(ws)) => ws.conn()?.wire().remote(),
        _ => None,
    }
}
