//! The core's functions for sockets of every class.

use super::{
    answer::{Answer, argument, found},
    beside,
    capability::{self, Capability},
    define, held, hot,
    kinds::{List, hash},
    options::Options,
    socket::{Class, Item, Socket, seconds},
    userdata::{self, Classes},
};
use crate::{
    address::{Host, Zone, Zoned},
    conn::Conn,
    dial::{Target, addresses, dial, dial_unix, peer},
    error::{Error, Kind},
    listen::{BACKLOG, HANDSHAKE_TIMEOUT, Listener, TlsListener},
    tls::{PeerCert, Tls},
    udp::{Family, Interface, MAX_DATAGRAM, Udp},
    wire::Wire,
    zone,
};
use mlua::{AnyUserData, IntoLua, Lua, LuaString, Table, Value};
use std::{
    net::{IpAddr, Shutdown, SocketAddr},
    rc::Rc,
    time::Duration,
};

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    let classes = Rc::new(Classes::<Socket>::new(lua)?);
    let hot = hot::methods(lua, &classes)?;
    lua.set_app_data(Rc::clone(&classes));
    // class(word, methods, metatable): `methods` gains the hot ones where the class has streams.
    define(lua, core, "class", move |lua, (word, methods, metatable): (String, Table, Table)| {
        let Some(class) = Class::ALL.into_iter().find(|class| class.word() == word) else {
            return argument(1, "no such class");
        };
        capability::unsealed(lua)?;
        let build = || -> mlua::Result<()> {
            let made = classes.add(lua, class as usize)?;
            for pair in metatable.pairs::<Value, Value>() {
                let (name, value) = pair?;
                made.raw_set(name, value)?;
            }
            if matches!(class, Class::Tcp | Class::Ssl) {
                for (name, function) in &hot {
                    methods.raw_set(*name, function)?;
                }
            }
            let get: mlua::Function = metatable.raw_get("__index")?;
            made.raw_set("__index", hot::index(lua, &methods, get)?)
        };
        build().map(|()| true).or_else(|e| argument(1, e))
    })?;

    define(lua, core, "tcp", |lua, (cap, host, port, opts): (AnyUserData, LuaString, u16, Option<Table>)| {
        let cap = held(&cap)?;
        let host = parse(&host, 1)?;
        let opts = Options::new(lua, opts, 3);
        let (timeout, deadline) = (opts.timeout()?, opts.deadline()?);
        let granted = cap.net.connect_zoned("tcp", &host, port)?;
        let local = opts.local(&cap, "tcp")?;
        let target =
            Target { op: "tcp", granted: &granted, address: None, names: None, local: local.as_ref(), tls: None };
        let (conn, _) = dial(&cap.net, &target, &deadline)?;
        let socket = Socket::new(Rc::clone(&cap), Class::Tcp, Item::Stream(conn), &host.to_string(), Some(port));
        adjust(&socket, &opts)?;
        wrap(lua, socket, timeout)
    })?;
    define(lua, core, "ssl", |lua, (cap, host, port, opts): (AnyUserData, LuaString, u16, Option<Table>)| {
        let cap = held(&cap)?;
        let host = parse(&host, 1)?;
        let opts = Options::new(lua, opts, 3);
        let (timeout, deadline) = (opts.timeout()?, opts.deadline()?);
        let granted = cap.net.connect_zoned("ssl", &host, port)?;
        let local = opts.local(&cap, "ssl")?;
        let tls = opts.client_tls(&cap, "ssl", port)?;
        let target =
            Target { op: "ssl", granted: &granted, address: None, names: None, local: local.as_ref(), tls: Some(&tls) };
        let (conn, _) = dial(&cap.net, &target, &deadline)?;
        let socket = Socket::new(Rc::clone(&cap), Class::Ssl, Item::Stream(conn), &host.to_string(), Some(port));
        adjust(&socket, &opts)?;
        wrap(lua, socket, timeout)
    })?;
    define(lua, core, "unix", |lua, (cap, path, opts): (AnyUserData, LuaString, Option<Table>)| {
        let cap = held(&cap)?;
        let opts = Options::new(lua, opts, 2);
        let path = cap.net.unix("unix", &path.to_string_lossy(), false)?;
        let (timeout, deadline) = (opts.timeout()?, opts.deadline()?);
        let conn = dial_unix(&cap.net, "unix", &path, &deadline)?;
        let name = format!("unix:{}", path.path().display());
        wrap(lua, Socket::new(Rc::clone(&cap), Class::Tcp, Item::Stream(conn), &name, None), timeout)
    })?;
    define(lua, core, "tcp_listen", |lua, (cap, host, port, opts): (AnyUserData, LuaString, u16, Option<Table>)| {
        let cap = held(&cap)?;
        let opts = Options::new(lua, opts, 3);
        let at = cap.net.listen_zoned("tcp_listen", &interface(&host)?, port)?;
        let item = listening(&cap, &opts, |backlog| Listener::bind(&at, backlog).map_err(|e| e.op("tcp_listen")))?;
        wrap(lua, Socket::new(Rc::clone(&cap), Class::Listener, item, "", None), opts.timeout()?)
    })?;
    define(lua, core, "unix_listen", |lua, (cap, path, opts): (AnyUserData, LuaString, Option<Table>)| {
        let cap = held(&cap)?;
        let opts = Options::new(lua, opts, 2);
        let path = cap.net.unix("unix_listen", &path.to_string_lossy(), true)?;
        let item =
            listening(&cap, &opts, |backlog| Listener::bind_unix(&path, backlog).map_err(|e| e.op("unix_listen")))?;
        let name = format!("unix:{}", path.path().display());
        wrap(lua, Socket::new(Rc::clone(&cap), Class::Listener, item, &name, None), opts.timeout()?)
    })?;
    define(lua, core, "udp", udp)?;
    define(lua, core, "udp_listen", |lua, (cap, host, port, opts): (AnyUserData, LuaString, u16, Option<Table>)| {
        let cap = held(&cap)?;
        let opts = Options::new(lua, opts, 3);
        let at = cap.net.listen_zoned("udp_listen", &interface(&host)?, port)?;
        let udp = Udp::bind(&at, opts.flag("reuse", false)?).map_err(|e| e.op("udp_listen"))?;
        udp.set_broadcast(opts.flag("broadcast", false)?)?;
        wrap(lua, Socket::new(Rc::clone(&cap), Class::Udp, Item::Udp(udp), "", None), opts.timeout()?)
    })?;

    streams(lua, core)?;
    beside::register(lua, core)?;
    datagrams(lua, core)
}

/// Sockets as streams: what is not hot.
fn streams(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // accept(listener, timeout?)
    define(lua, core, "accept", |lua, (listener, own): (Value, Option<f64>)| {
        let socket = peek(lua, &listener)?;
        let cap = &socket.cap;
        let timeout = own.and_then(seconds);
        let deadline = socket.deadline(timeout)?.start();
        let accepted = match &mut *socket.item()? {
            Item::Listener(listener) => listener.accept(&deadline).map(|wire| (Conn::plain(wire), Class::Tcp)),
            Item::TlsListener(listener) => listener
                .accept(&deadline, &mut |peer, error| log_handshake(cap, peer, error))
                .map(|tls| (Conn::tls(tls), Class::Ssl)),
            _ => return Err(Error::new(Kind::Closed, "accept: the listener is closed").op("accept").into()),
        };
        let (conn, class) = accepted.map_err(|e| socket.told(e, "accept"))?;
        let peer = conn.wire().remote();
        let (host, port) =
            peer.map(host_and_port).map_or_else(|| (socket.host.to_string(), None), |(h, p)| (h, Some(p)));
        wrap(lua, Socket::new(Rc::clone(cap), class, Item::Stream(conn), &host, port), socket.timeout())
    })?;
    // starttls(socket, opts, sessions): the plain socket is spent, whatever comes of it. `sessions`, of `tls_sessions`, has the
    // options of TLS and the host, and `opts` the rest.
    define(lua, core, "starttls", |lua, (plain, opts, resumed): (Value, Option<Table>, Option<AnyUserData>)| {
        let plain = peek(lua, &plain)?;
        let cap = &plain.cap;
        let opts = Options::new(lua, opts, 1);
        let deadline = plain.deadline(opts.seconds("timeout")?)?.start();
        cap.net.alive()?;
        let server = match opts.flag("server", false)? {
            true => Some(opts.server_tls(cap)?),
            false => None,
        };
        // A client that is silent must not hold up a server for as long as its socket's timeout.
        let own = server.is_some().then_some(HANDSHAKE_TIMEOUT);
        let deadline = deadline.within(opts.seconds("handshake_timeout")?.unwrap_or(own));
        let resumed = resumed.as_ref().map(beside::sessions).transpose()?;
        let (client, known) = match (&server, resumed) {
            (Some(_), _) => (None, None),
            (None, Some((tls, host))) => (Some(tls), Some(host)),
            (None, None) => (Some(opts.client_tls(cap, "starttls", plain.port.unwrap_or(0))?), None),
        };
        let host = match (&client, opts.text("sni")?) {
            (None, _) => None,
            (Some(_), _) if known.is_some() => known,
            (Some(_), Some(name)) => Some(Host::parse(&name).or_else(|why| argument(1, format!("sni: {why}")))?),
            (Some(_), None) => match Zoned::parse(&plain.host) {
                Ok(zoned) => Some(zoned.host),
                Err(_) => return argument(1, "sni is missing: over a Unix socket it names the host to verify"),
            },
        };
        let conn = match plain.take() {
            Item::Stream(conn) => conn,
            // Closed, or in use by a call that this one interrupts (`take` gave nothing away then).
            _ => {
                return Err(Error::new(Kind::Closed, "starttls: the socket is closed").op("starttls").into());
            }
        };
        let wire = match conn.into_wire() {
            Ok(wire) => wire,
            Err((error, conn)) => {
                plain.put(Item::Stream(*conn));
                return Err(error.op("starttls").into());
            }
        };
        let tls = match (&server, &client, &host) {
            (Some(server), _, _) => Tls::accept(wire, server, &deadline),
            (None, Some(client), Some(host)) => Tls::connect(wire, client, host, &deadline),
            _ => return argument(1, "starttls: neither client nor server"),
        }
        .map_err(|e| e.op("starttls").at(&*plain.host, plain.port.unwrap_or(0)))?;
        let item = Item::Stream(Conn::tls(tls));
        wrap(lua, Socket::new(Rc::clone(cap), Class::Ssl, item, &plain.host, plain.port), plain.timeout())
    })?;
    define(lua, core, "close", |lua, socket: Value| {
        peek(lua, &socket)?.close();
        Ok(true)
    })?;
    define(lua, core, "shutdown", |lua, (socket, how): (Value, String)| {
        let how = match &*how {
            "send" => Shutdown::Write,
            "recv" => Shutdown::Read,
            "both" => Shutdown::Both,
            _ => return argument(1, format!("how must be \"send\", \"recv\" or \"both\", got {how:?}")),
        };
        let socket = peek(lua, &socket)?;
        let deadline = socket.deadline(None)?;
        Ok(socket.stream("shutdown", |conn| conn.shutdown(how, &deadline)).map(|()| true)?)
    })?;
    define(lua, core, "tls_info", |lua, (socket, what): (Value, String)| {
        let socket = peek(lua, &socket)?;
        let read = |tls: &Tls<Wire>| match &*what {
            "cipher" => tls.cipher().into_lua(lua),
            "group" => tls.group().into_lua(lua),
            "protocol" => tls.protocol().into_lua(lua),
            "alpn" => tls.alpn().map(|name| lua.create_string(name)).transpose()?.into_lua(lua),
            _ => tls.peer_cert().map(|cert| cert_table(lua, &cert)).transpose()?.into_lua(lua),
        };
        let value = socket.stream("tls", |conn| Ok(conn.session().map_or(Ok(Value::Nil), read)))?;
        value.map_err(Into::into)
    })
}

/// A listener with the options that TCP and Unix sockets share.
fn listening(cap: &Capability, opts: &Options<'_>, bind: impl FnOnce(i32) -> Result<Listener, Error>) -> Answer<Item> {
    let tls = opts.inner("tls")?.map(|tls| tls.server_tls(cap)).transpose()?;
    let backlog = opts.find::<i32>("backlog")?.unwrap_or(BACKLOG);
    let timeout = opts.seconds("handshake_timeout")?;
    if timeout.is_some() && tls.is_none() {
        return argument(opts.index, "handshake_timeout needs tls");
    }
    let timeout = timeout.unwrap_or(Some(HANDSHAKE_TIMEOUT));
    let listener = bind(backlog)?;
    Ok(match tls {
        Some(tls) => Item::TlsListener(Box::new(TlsListener::new(listener, tls, timeout)?)),
        None => Item::Listener(listener),
    })
}

/// A handshake that came to nothing is nobody's error: `--net-log` has a line for it.
pub fn log_handshake(cap: &Capability, peer: &str, error: &Error) {
    let fields = [
        ("op", "accept".into()),
        ("peer", peer.into()),
        ("class", error.kind().word().into()),
        ("message", error.fields().message.as_str().into()),
    ];
    cap.net.log("handshake", &fields);
}

/// A certificate as Lua sees it (contract, section 4).
pub fn cert_table(lua: &Lua, cert: &PeerCert) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("subject", &*cert.subject)?;
    table.raw_set("issuer", &*cert.issuer)?;
    table.raw_set("fingerprint", &*cert.fingerprint)?;
    table.raw_set("valid_from", &*cert.valid_from)?;
    table.raw_set("valid_until", &*cert.valid_until)?;
    table.raw_set("sans", List(cert.sans.clone()))?;
    table.raw_set("serial", &*cert.serial)?;
    table.raw_set("pem", &*cert.pem)?;
    hash(lua, table)
}

fn udp(
    lua: &Lua,
    (cap, host, port, opts): (AnyUserData, Option<LuaString>, Option<u16>, Option<Table>),
) -> Answer<Value> {
    let cap = held(&cap)?;
    let opts = Options::new(lua, opts, 3);
    let timeout = opts.timeout()?;
    let deadline = opts.deadline()?;
    cap.net.alive()?;
    let family = match opts.text("family")?.as_deref() {
        None => None,
        Some("inet") => Some(Family::V4),
        Some("inet6") => Some(Family::V6),
        Some(other) => return argument(3, format!("family must be \"inet\" or \"inet6\", got {other:?}")),
    };
    let local = opts.local(&cap, "udp")?;
    let open = |family| match &local {
        Some(local) => Udp::bind(local, opts.flag("reuse", false)?).map_err(Into::into),
        None => Answer::Ok(Udp::open(family)?),
    };
    let (udp, name) = match (host, port) {
        (Some(host), Some(port)) => {
            let host = parse(&host, 1)?;
            let granted = cap.net.connect_zoned("udp", &host, port)?;
            let target = Target { op: "udp", granted: &granted, address: None, names: None, local: None, tls: None };
            let all = addresses(&cap.net, &target, &deadline).map_err(|e| e.op("udp"))?;
            let fits = |ip: IpAddr| family.is_none_or(|family| family == Family::of(ip));
            let Some(first) = all.iter().find(|a| fits(a.addr().ip())) else {
                let message = format!("udp to {host}: the name has no address of that family");
                return Err(Error::new(Kind::DnsFailure, message).op("udp").at(host.to_string(), port).into());
            };
            let mut udp = open(Family::of(first.addr().ip()))?;
            udp.connect(&peer(&granted), first).map_err(|e| e.op("udp"))?;
            (udp, Some((host, port)))
        }
        _ => (open(family.unwrap_or(Family::V4))?, None),
    };
    udp.set_broadcast(opts.flag("broadcast", false)?)?;
    let (host, port) = name.map_or((String::new(), None), |(host, port)| (host.to_string(), Some(port)));
    wrap(lua, Socket::new(Rc::clone(&cap), Class::Udp, Item::Udp(udp), &host, port), timeout)
}

fn datagrams(lua: &Lua, core: &Table) -> mlua::Result<()> {
    define(lua, core, "udp_send", |lua, (socket, bytes, own): (Value, LuaString, Option<f64>)| {
        let socket = peek(lua, &socket)?;
        let deadline = socket.deadline(own.and_then(seconds))?;
        Ok(socket.udp("send", |udp| udp.send(&bytes.as_bytes(), &deadline))?)
    })?;
    type SendTo = (Value, LuaString, LuaString, u16, Option<f64>);
    define(lua, core, "udp_send_to", |lua, (socket, bytes, host, port, own): SendTo| {
        let socket = peek(lua, &socket)?;
        let cap = &socket.cap;
        let host = parse(&host, 2)?;
        let deadline = socket.deadline(own.and_then(seconds))?.start();
        let granted = cap.net.connect_zoned("send_to", &host, port)?;
        let target = Target { op: "send_to", granted: &granted, address: None, names: None, local: None, tls: None };
        let all = addresses(&cap.net, &target, &deadline).map_err(|e| e.op("send_to"))?;
        let sent = socket.udp("send_to", |udp| {
            let fitting = all.iter().find(|a| Family::of(a.addr().ip()) == udp.family()).or(all.first());
            match fitting {
                Some(to) => udp.send_to(&bytes.as_bytes(), &peer(&granted), to, &deadline),
                None => Err(Error::new(Kind::DnsFailure, format!("send_to {host}: the name has no address"))),
            }
        });
        Ok(sent.map_err(|e| e.at(host.to_string(), port))?)
    })?;
    define(lua, core, "udp_recv_from", |lua, (socket, max, own): (Value, Option<usize>, Option<f64>)| {
        let socket = peek(lua, &socket)?;
        let deadline = socket.deadline(own.and_then(seconds))?;
        let (bytes, from) = socket.udp("recv", |udp| udp.recv_from(max.unwrap_or(MAX_DATAGRAM), &deadline))?;
        let bytes = lua.create_string(bytes)?;
        let (host, port) = from.map(host_and_port).unzip();
        Ok((bytes, host, port))
    })?;
    type Member = (Value, bool, LuaString, Option<LuaString>);
    define(lua, core, "udp_membership", |lua, (socket, join, group, interface): Member| {
        let socket = peek(lua, &socket)?;
        let group = parse(&group, 1)?;
        let Some(ip) = group.host.ip().filter(IpAddr::is_multicast) else {
            return argument(1, "group must be a multicast address");
        };
        let named = interface.as_ref().map(|text| multicast_interface(text, 2)).transpose()?;
        let interface = match (group.zone.as_ref().map(zone::index).transpose()?.map(Interface::Index), named) {
            (Some(zone), Some(named)) if zone != named => {
                return argument(2, format!("interface must be the zone of {group}, where both are given"));
            }
            (zone, named) => zone.or(named).unwrap_or(Interface::ANY),
        };
        if let (IpAddr::V6(_), Interface::Address(address)) = (ip, interface) {
            return argument(2, format!("interface must be a name or an index for an IPv6 group, got {address}"));
        }
        Ok(socket.udp("membership", |udp| udp.membership(join, ip, interface)).map(|()| true)?)
    })
}

/// An interface by its name, its index (0: the system's choice), or its IPv4 address.
pub fn multicast_interface(text: &LuaString, index: usize) -> Answer<Interface> {
    let text = text.to_string_lossy();
    match (text.parse(), &*text, Zone::parse(&text)) {
        (Ok(v4), ..) => Ok(Interface::Address(v4)),
        (_, "0", _) => Ok(Interface::ANY),
        (.., Some(zone)) => Ok(Interface::Index(zone::index(&zone)?)),
        _ => argument(index, format!("interface must be a name, an index or an IPv4 address, got {text:?}")),
    }
}

fn host_and_port(address: SocketAddr) -> (String, u16) {
    (zone::host(address), address.port())
}

/// `nodelay` and `keepalive`, given with the connection.
fn adjust(socket: &Socket, opts: &Options<'_>) -> Answer<()> {
    let (nodelay, keepalive) = (opts.find("nodelay")?, opts.find("keepalive")?);
    socket.stream("options", |conn| {
        nodelay.map_or(Ok(()), |on| conn.wire().set_nodelay(on))?;
        keepalive.map_or(Ok(()), |on| conn.wire().set_keepalive(on))
    })?;
    Ok(())
}

/// The Lua value of a new socket.
pub fn wrap(lua: &Lua, socket: Socket, timeout: Option<Duration>) -> Answer<Value> {
    socket.set_timeout(timeout);
    let socket = Rc::new(socket);
    socket.cap.opened(Rc::<Socket>::downgrade(&socket));
    let Some(classes) = lua.app_data_ref::<Rc<Classes<Socket>>>() else { return argument(0, "there are no sockets") };
    classes.wrap(lua, socket.kind as usize, socket).map_err(Into::into)
}

pub fn peek(lua: &Lua, value: &Value) -> Answer<Rc<Socket>> {
    found(userdata::peek(lua, value), 0, || "not a socket".into())
}

fn parse(host: &LuaString, index: usize) -> Answer<Zoned> {
    match host.to_str() {
        Ok(text) => parse_text(&text, index),
        Err(_) => argument(index, "host must be valid UTF-8"),
    }
}

fn parse_text(text: &str, index: usize) -> Answer<Zoned> {
    Zoned::parse(text).or_else(|why| argument(index, why))
}

/// The address to bind: `*` is every IPv4 interface.
pub fn interface(host: &LuaString) -> Answer<Zoned> {
    let host = host.to_string_lossy();
    let host = if host == "*" { "0.0.0.0" } else { &host };
    match parse_text(host, 1)? {
        place if place.host.ip().is_some() || place.host.is_localhost() => Ok(place),
        _ => argument(1, format!("host must be an address of this machine, \"localhost\" or \"*\", got {host:?}")),
    }
}
