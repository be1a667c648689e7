//! `socket.dns`: the system's resolver for addresses and `names` for the way back, both through the gate. An address
//! and `localhost` are answered without a query (RFC 6761, section 6.3).

use super::{
    inet,
    messages::{Fail, NO_NAME, Outcome, fail},
    object::Home,
};
use crate::{
    address::{Host, Zoned},
    deadline::{DEFAULT, Deadline},
    dial,
    error::Error,
    lua::{
        answer::{Answer, argument},
        define,
    },
    names::{Question, Record, Type},
    resolve, zone,
};
use mlua::{Lua, LuaString, Table};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    rc::Rc,
};

/// Adds the functions to the native half.
pub fn register(lua: &Lua, module: &Table, home: &Rc<Home>) -> mlua::Result<()> {
    // addresses(name, v4): the addresses of a name, as text
    let own = Rc::clone(home);
    define(lua, module, "addresses", move |_, (name, v4): (LuaString, bool)| {
        let (found, zone) = told(addresses(&own, &name.as_bytes()))?;
        let text = |ip: &IpAddr| zone::named(*ip, zone);
        Ok(found.iter().filter(|ip| !v4 || ip.is_ipv4()).map(text).collect::<Vec<_>>())
    })?;
    // hostname(address): its name; false if it has none
    let own = Rc::clone(home);
    define(lua, module, "hostname", move |lua, address: LuaString| match told(name(&own, &address.as_bytes()))? {
        Some(name) => lua.create_string(name).map(mlua::Value::String).map_err(Into::into),
        None => Ok(mlua::Value::Boolean(false)),
    })?;
    // service(text): the name of a port, and false if the text is neither a port nor a service
    define(lua, module, "service", |lua, service: LuaString| {
        let text = service.to_string_lossy();
        let find = || -> std::io::Result<Option<String>> {
            let port = match text.parse::<u16>() {
                Ok(port) => Some(port),
                Err(_) => resolve::service(&text, "tcp")?,
            };
            let Some(port) = port else { return Ok(None) };
            Ok(Some(resolve::service_name(port, "tcp")?.unwrap_or_else(|| port.to_string())))
        };
        match told(find().or_else(|_| fail(inet::NO_ANSWER)))? {
            Some(name) => lua.create_string(name).map(mlua::Value::String).map_err(Into::into),
            None => Ok(mlua::Value::Boolean(false)),
        }
    })?;
    // allows(host, port): true if a connection would pass the gate
    let own = Rc::clone(home);
    define(lua, module, "allows", move |_, (host, port): (LuaString, u16)| {
        let host = told(inet::host(&host.as_bytes()))?;
        told(own.cap.net.grants().connect(&host.host, port).map(|_| true).map_err(Fail::from))
    })?;
    define(lua, module, "gethostname", |lua, ()| lua.create_string(resolve::hostname()).map_err(Into::into))
}

fn told<T>(outcome: Outcome<T>) -> Answer<T> {
    outcome.or_else(|fail| match fail {
        Fail::Message(why) => argument(0, why.text()),
        Fail::Argument(_, text) => argument(0, text),
        Fail::Interrupted => Err(Error::interruption("look up").into()),
    })
}

/// The addresses of a name; of an address itself, and the index of the zone that it is in.
fn addresses(home: &Home, name: &[u8]) -> Outcome<(Vec<IpAddr>, u32)> {
    let Zoned { host, zone } = inet::host(name)?;
    if let Some(ip) = host.ip() {
        return Ok((vec![ip], zone.as_ref().map_or(Ok(0), zone::index)?));
    }
    if host.is_localhost() {
        return Ok((vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], 0));
    }
    let net = &home.cap.net;
    let granted = net.permit_lookup("getaddrinfo", &host)?;
    let found = dial::look_up(net, "getaddrinfo", &granted, &Deadline::new(Some(DEFAULT)))?;
    // What a connection could not be made to is not told either.
    match found.iter().find(|ip| net.grants().denies(&Host::from(**ip))) {
        None => Ok((found, 0)),
        Some(_) => fail(format!("host not allowed: {host} resolves to an address that --deny-net forbids")),
    }
}

/// The first name that the address of `text` has.
fn name(home: &Home, text: &[u8]) -> Outcome<Option<String>> {
    let Some(ip) = addresses(home, text)?.0.first().copied() else { return fail(NO_NAME) };
    if [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&ip) {
        return Ok(Some("localhost".into()));
    }
    let Ok(mut question) = Question::new("getnameinfo", &ip.to_string()) else { return fail(NO_NAME) };
    question.kind = Some(Type::Ptr);
    let record = home.cap.names.reverse(&home.cap.net, &question, &Deadline::new(Some(DEFAULT)))?;
    Ok(match record {
        Some(Record::Plain(name)) => Some(String::from_utf8_lossy(&name).into_owned()),
        _ => None,
    })
}
