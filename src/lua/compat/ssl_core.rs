//! `ssl.core`: connections as Lua sees them.

use super::{
    hot,
    messages::Fail,
    ssl::{SslConn, State},
    ssl_context::{self, SslContext},
    ssl_handshake::Step,
    ssl_x509::{self, X509},
    take_stream,
};
use crate::lua::userdata::{self, Held, expected};
use crate::{
    compat::tls::{Info, Mode, export, peer_chain},
    lua::{
        answer::{Answer, argument, found},
        capability::Ends,
        define,
    },
    tls::Tls,
};
use mlua::{IntoLua, Lua, LuaString, MultiValue, Table, Value};
use std::{
    ffi::CStr,
    rc::{Rc, Weak},
};

impl Held for SslConn {
    const NAME: &'static str = "SSL:Connection";
    const CLASSES: &'static [&'static CStr] = &[c"SSL connection"];
    const WEIGHT: usize = super::classes::WEIGHT;

    fn suffix(&self) -> &'static CStr {
        match self.state() {
            State::Closed => c" (closed)",
            _ => c"",
        }
    }

    fn is_pinned(&self) -> bool {
        self.has_pin()
    }

    fn end(&self) {
        self.close();
    }
}

fn held(lua: &Lua, value: &Value) -> Answer<Rc<SslConn>> {
    found(userdata::peek(lua, value), 1, || expected::<SslConn>(value))
}

fn text(lua: &Lua, fail: Fail) -> Answer<Value> {
    match fail {
        Fail::Message(why) => Ok(why.text().as_ref().into_lua(lua)?),
        Fail::Argument(_, text) => argument(0, text),
        // Raised as Lua raises Ctrl-C.
        Fail::Interrupted => argument(0, "interrupted!"),
    }
}

/// The classes of one installation.
pub struct Classes {
    pub x509: userdata::Classes<X509>,
    pub context: userdata::Classes<SslContext>,
    conn: userdata::Classes<SslConn>,
}

/// The functions of one installation.
pub fn functions(lua: &Lua) -> mlua::Result<Table> {
    let (x509, context, conn) =
        (userdata::Classes::new(lua)?, userdata::Classes::new(lua)?, userdata::Classes::new(lua)?);
    let (core, classes) = (lua.create_table()?, Rc::new(Classes { x509, context, conn }));
    ssl_x509::register(lua, &core, &classes)?;
    ssl_context::register(lua, &core, &classes)?;
    register(lua, &core, &classes)?;
    Ok(core)
}

fn register(lua: &Lua, core: &Table, classes: &Rc<Classes>) -> mlua::Result<()> {
    // The class around its methods: the hot ones join those that the front has made.
    let own = Rc::clone(classes);
    define(lua, core, "class", move |lua, methods: Table| {
        let build = || {
            for (name, function) in hot::ssl_methods(lua, &own.conn)? {
                methods.raw_set(name, function)?;
            }
            own.conn.around(lua, methods)
        };
        build().map_err(Into::into)
    })?;
    // create(context): a connection without a socket; false and why
    let own = Rc::clone(classes);
    define(lua, core, "create", move |lua, context: Value| {
        let Ok(context) = ssl_context::held(lua, &context, 1) else { return argument(1, "invalid context") };
        let built = match (context.mode(), context.built()) {
            (None, _) => return Ok((Value::Boolean(false), Some("invalid mode".to_owned()))),
            (_, Err(why)) => return Ok((Value::Boolean(false), Some(format!("error creating SSL object ({why})")))),
            (Some(_), Ok(built)) => built,
        };
        let is_server = context.mode() == Some(Mode::Server);
        let conn = Rc::new(SslConn::new(context, built, is_server));
        Ok((own.conn.wrap(lua, 0, conn)?, None))
    })?;
    // attach(conn, socket): takes the stream out of an object of `socket`; false and why
    define(lua, core, "attach", |lua, (conn, socket): (Value, Value)| {
        let conn = held(lua, &conn)?;
        let Ok(Some(taken)) = take_stream(lua, &socket) else {
            return Ok((false, Some("the socket is closed, or none of this program's".to_owned())));
        };
        taken.cap.opened(Rc::downgrade(&conn) as Weak<dyn Ends>);
        Ok(match conn.attach(taken.conn, taken.cap) {
            Ok(()) => (true, None),
            Err(why) => (false, Some(why.into_owned())),
        })
    })?;
    handshakes(lua, core)?;
    certificates(lua, core, classes)?;
    define(lua, core, "close", |lua, conn: Value| {
        held(lua, &conn)?.close();
        Ok(true)
    })?;
    define(lua, core, "getfd", |lua, conn: Value| Ok(f64::from(held(lua, &conn)?.number())))?;
    define(lua, core, "dirty", |lua, conn: Value| Ok(held(lua, &conn)?.dirty()))?;
    define(lua, core, "want", |lua, conn: Value| Ok(held(lua, &conn)?.want.get()))?;
    define(lua, core, "state", |lua, conn: Value| {
        Ok(match held(lua, &conn)?.state() {
            State::New => "new",
            State::Connected => "connected",
            State::Closed => "closed",
        })
    })?;
    // timeout(conn, total, seconds)
    define(lua, core, "timeout", |lua, (conn, total, seconds): (Value, bool, f64)| {
        let conn = held(lua, &conn)?;
        let mut timeouts = conn.timeouts.get();
        *if total { &mut timeouts.total } else { &mut timeouts.block } = seconds;
        conn.timeouts.set(timeouts);
        Ok(1.0)
    })?;
    define(lua, core, "gettimeout", |lua, conn: Value| {
        let timeouts = held(lua, &conn)?.timeouts.get();
        Ok((timeouts.block, timeouts.total))
    })?;
    define(lua, core, "getstats", |lua, conn: Value| {
        let conn = held(lua, &conn)?;
        Ok((conn.received.get(), conn.sent.get(), conn.age()))
    })?;
    type Stats = (Value, f64, f64, f64);
    define(lua, core, "setstats", |lua, (conn, received, sent, age): Stats| {
        let conn = held(lua, &conn)?;
        conn.received.set(received);
        conn.sent.set(sent);
        conn.set_age(age);
        Ok(1.0)
    })
}

fn handshakes(lua: &Lua, core: &Table) -> mlua::Result<()> {
    // shake(conn, first): true; false and why; or "hello", the host that the client asks for and an array of protocols
    define(lua, core, "shake", |lua, (conn, first): (Value, bool)| {
        let conn = held(lua, &conn)?;
        let build = || -> Answer<MultiValue> {
            Ok(match conn.shake(first) {
                Step::Done => [Value::Boolean(true)].into_iter().collect(),
                Step::Failed(fail) => [Value::Boolean(false), text(lua, fail)?].into_iter().collect(),
                Step::Hello(hello) => {
                    let names = lua.create_sequence_from(hello.alpn.iter().flat_map(|name| lua.create_string(name)));
                    let values = ["hello".into_lua(lua), hello.name.into_lua(lua), names.and_then(|n| n.into_lua(lua))];
                    values.into_iter().collect::<mlua::Result<_>>()?
                }
            })
        };
        build()
    })?;
    // choose(conn, context, protocol): the answer to "hello"; false and why
    define(lua, core, "choose", |lua, (conn, context, alpn): (Value, Value, Option<LuaString>)| {
        let conn = held(lua, &conn)?;
        let context = ssl_context::held(lua, &context, 2)?;
        Ok(match conn.choose(&context, alpn.map(|name| name.as_bytes().to_vec())) {
            Ok(()) => (true, None),
            Err(why) => (false, Some(why.into_owned())),
        })
    })?;
    define(lua, core, "refuse", |lua, conn: Value| {
        held(lua, &conn)?.refuse();
        Ok(true)
    })?;
    define(lua, core, "is_server", |lua, conn: Value| Ok(held(lua, &conn)?.is_server))?;
    // sni(conn, name): what a client asks for; false and why
    define(lua, core, "sni", |lua, (conn, name): (Value, LuaString)| {
        Ok(match held(lua, &conn)?.ask_for(&name.to_string_lossy()) {
            Ok(()) => (true, None),
            Err(why) => (false, Some(why.into_owned())),
        })
    })?;
    define(lua, core, "sniname", |lua, conn: Value| Ok(held(lua, &conn)?.name.borrow().clone()))?;
    define(lua, core, "alpn", |lua, conn: Value| {
        let name = held(lua, &conn)?.tls(|tls| tls.alpn().map(<[u8]>::to_vec)).flatten();
        name.map(|name| lua.create_string(name)).transpose().map_err(Into::into)
    })?;
    // info(conn): protocol, cipher, key exchange, authentication, encryption, bits; nothing before there is a cipher
    define(lua, core, "info", |lua, conn: Value| {
        let info = held(lua, &conn)?.tls(Info::of).flatten();
        Ok(match info {
            Some(i) => (
                Some(i.protocol),
                Some(i.cipher),
                Some(i.key),
                Some(i.authentication),
                Some(i.encryption),
                Some(i.bits),
            ),
            None => (None, None, None, None, None, None),
        })
    })?;
    type Export = (Value, LuaString, f64, Option<LuaString>);
    define(lua, core, "export", |lua, (conn, label, length, context): Export| {
        let conn = held(lua, &conn)?;
        let context = context.map_or_else(Vec::new, |context| context.as_bytes().to_vec());
        let secret = conn.secret.borrow().clone();
        let made = |tls: &Tls<_>| export(tls, &*secret?, &label.as_bytes(), &context, length as usize);
        let bytes = conn.tls(made).flatten();
        bytes.map(|bytes| lua.create_string(bytes)).transpose().map_err(Into::into)
    })
}

fn certificates(lua: &Lua, core: &Table, classes: &Rc<Classes>) -> mlua::Result<()> {
    // chain(conn, local): an array of certificates, one's own first
    let own = Rc::clone(classes);
    define(lua, core, "chain", move |lua, (conn, local): (Value, bool)| {
        let conn = held(lua, &conn)?;
        let chain = match local {
            true => conn.built.borrow().local_chain(),
            false => conn.tls(peer_chain).unwrap_or_default(),
        };
        let all = lua.create_table()?;
        for cert in chain {
            all.raw_push(ssl_x509::wrap(lua, &own, cert)?)?;
        }
        Ok(all)
    })?;
    // verdict(conn): true; or false and the first complaint, or false and all of them by their depth
    define(lua, core, "verdict", |lua, conn: Value| {
        let conn = held(lua, &conn)?;
        let complaints = conn.complaints();
        let Some(first) = complaints.first() else { return Ok((true, Value::Nil)) };
        let build = || -> mlua::Result<Value> {
            if !conn.built.borrow().keeps_complaints() {
                return first.flaw.words().into_lua(lua);
            }
            let all = lua.create_table()?;
            for complaint in complaints {
                let at = complaint.depth + 1;
                let list = match all.raw_get::<Option<Table>>(at)? {
                    Some(list) => list,
                    None => lua.create_table()?,
                };
                list.raw_push(complaint.flaw.words())?;
                all.raw_set(at, list)?;
            }
            all.into_lua(lua)
        };
        Ok((false, build()?))
    })
}
