//! A second connection to the address of a first one: FTP's data connections.

use super::{
    answer::{Answer, argument},
    define, held,
    options::Options,
    socket::{Class, Item, Socket, seconds},
    sockets::{peek, wrap},
};
use crate::{
    address::{Host, Zoned},
    dial::{Target, dial},
    error::{Error, Kind},
    tls::{ClientTls, Sessions},
};
use mlua::{AnyUserData, Lua, LuaString, Table, UserData, Value};
use std::{rc::Rc, sync::Arc};

/// TLS sessions that a client's connections resume, and nobody else's: servers of FTP want to see the session of the control
/// connection again, and not that of another client to the same host. All go to one host by name.
struct Resumed {
    tls: ClientTls,
    sessions: Arc<Sessions>,
    host: Host,
}

impl UserData for Resumed {}

/// What `starttls` needs of a client's sessions.
pub(super) fn sessions(value: &AnyUserData) -> Answer<(ClientTls, Host)> {
    match value.borrow::<Resumed>() {
        Ok(resumed) => Ok((resumed.tls.clone(), resumed.host.clone())),
        Err(_) => argument(2, "not a store of sessions"),
    }
}

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // tls_sessions(capability, host, port, opts) -> sessions of a client, for `starttls`
    define(lua, core, "tls_sessions", |lua, (cap, host, port, opts): (AnyUserData, LuaString, u16, Option<Table>)| {
        let cap = held(&cap)?;
        let Ok(dialled) = Zoned::parse(&host.to_string_lossy()) else { return argument(1, "host is malformed") };
        let opts = Options::new(lua, opts, 1);
        let options = opts.client_options(&cap, "tls", port)?;
        let (tls, sessions) = cap.net.own_client_tls(&options).or_else(|why| argument(1, &why.fields().message))?;
        Ok(Resumed { tls, sessions, host: options.sni.unwrap_or(dialled.host) })
    })?;
    // tls_spent(sessions) -> true if the server's tickets are used up
    define(lua, core, "tls_spent", |_, resumed: AnyUserData| match resumed.borrow::<Resumed>() {
        Ok(resumed) => Ok(resumed.sessions.is_spent()),
        Err(_) => argument(1, "not a store of sessions"),
    })?;
    // beside(socket, port, timeout) -> a connection to the very address that `socket` leads to, at another port; the gate is asked
    // about its host and that port
    define(lua, core, "beside", |lua, (first, port, timeout): (Value, u16, f64)| {
        let first = peek(lua, &first)?;
        let cap = &first.cap;
        let Some(timeout) = seconds(timeout) else { return argument(3, "timeout must be 0 or more seconds") };
        let deadline = first.deadline(Some(timeout))?.start();
        let Ok(host) = Zoned::parse(&first.host) else { return argument(1, "not a connection to a host") };
        let granted = cap.net.connect_zoned("tcp", &host, port)?;
        let address = first.stream("tcp", |conn| Ok(conn.wire().remote()))?.map(|remote| remote.ip());
        if address.is_none() {
            return Err(Error::new(Kind::Socket, "tcp: the first connection has no address").into());
        }
        let target = Target { op: "tcp", granted: &granted, address, names: None, local: None, tls: None };
        let (conn, _) = dial(&cap.net, &target, &deadline)?;
        let socket = Socket::new(Rc::clone(cap), Class::Tcp, Item::Stream(conn), &first.host, Some(port));
        wrap(lua, socket, timeout)
    })?;
    // reset(socket): closes it so that the peer does not take this for the end of what was to be sent
    define(lua, core, "reset", |lua, socket: Value| {
        let socket = peek(lua, &socket)?;
        // Where that fails it was closed already.
        let _ = socket.stream("reset", |conn| conn.reset_at_close());
        socket.close();
        Ok(true)
    })
}
