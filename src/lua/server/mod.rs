//! HTTP servers for Lua: sockets of their own class, which return complete requests.
//!
//! The engine is not borrowed while a call waits, so that the handler of a signal may stop the server, close it, or
//! answer a request. The front gets its work (logs, callbacks, streams) as notes, one at a time.

mod headers;
mod hot;
mod request;
mod respond;
mod upgrade;

pub use request::{HeldRequest, peek as asked};

use super::{
    answer::{Answer, argument, found},
    capability::Capability,
    define, held,
    kinds::hash,
    options::Options,
    request_options::NO_HTTP2,
    socket::{Class, Item, Socket, seconds},
    sockets::{interface, log_handshake, wrap},
    userdata,
};
use crate::{
    deadline::{Deadline, check_interrupt},
    descriptors,
    error::{Error, Kind, Result},
    files::Files,
    http::{
        answer::log_date,
        incoming::{Limits, MOST_FIELDS},
        response::Version,
    },
    listen::{BACKLOG, Listener},
    panics::contained,
    server::{self, Engine, Entry, Note, Request, Spill, Ticket},
    tls::{ServerOptions, ServerTls},
    zone,
};
use mlua::{AnyUserData, IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};
use std::{
    cell::{Cell, RefCell, RefMut},
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    time::Duration,
};

/// A server, shared by its socket and by the requests that it has handed out.
pub struct Server {
    engine: RefCell<Engine>,
    /// Begins the ids of its requests.
    id: String,
    /// What it listens on, after it has stopped, too.
    local: Option<SocketAddr>,
    path: Option<String>,
    /// What answers may be read from.
    files: Files,
    /// What its requests become sockets of.
    cap: Rc<Capability>,
    /// Requests that were collected unanswered while the engine was at work, and where they were accepted.
    lost: RefCell<Vec<Lost>>,
    /// The last turn failed: `accept` says why.
    fails: Cell<bool>,
    /// Where `accept` was called last.
    place: RefCell<Rc<str>>,
    handed: Handed,
}

/// The heads and bodies of requests that Lua has, answered or not, and has not collected. Its collector goes by what Lua allocates, and of
/// these that is nothing: so it is called where they have become twice as many as it left.
struct Handed {
    /// Bytes in memory, and files.
    now: Cell<(u64, u64)>,
    most: Cell<(u64, u64)>,
}

impl Handed {
    /// So much is left to Lua's own pace.
    const LEAST: (u64, u64) = (16 * 1024 * 1024, 32);

    fn new() -> Handed {
        Handed { now: Cell::default(), most: Cell::new(Handed::LEAST) }
    }

    fn add(&self, (bytes, files): (u64, u64), comes: bool) {
        let (held, open) = self.now.get();
        self.now.set(match comes {
            true => (held.saturating_add(bytes), open.saturating_add(files)),
            false => (held.saturating_sub(bytes), open.saturating_sub(files)),
        });
    }

    /// Has Lua collect where that is due.
    fn settle(&self) {
        let ((bytes, files), (most_bytes, most_files)) = (self.now.get(), self.most.get());
        if bytes > most_bytes || files > most_files {
            // A collection takes time by what Lua has: so it may be as much again, whatever the clients send.
            let heap = descriptors::collect();
            let (bytes, files) = self.now.get();
            let most = bytes.saturating_mul(2).max(heap);
            self.most.set((Handed::LEAST.0.max(most), Handed::LEAST.1.max(files.saturating_mul(2))));
        }
    }
}

/// What [`Server::next`] has found.
enum Next {
    Request(Request),
    /// Work for the front, and the seconds left for it.
    Note(f64),
    /// The server has stopped.
    Over,
}

/// A request that nobody will answer.
pub struct Lost {
    ticket: Ticket,
    message: String,
}

/// What a socket of the class holds: with it the server ends.
pub struct Serving(pub Rc<Server>);

impl Drop for Serving {
    fn drop(&mut self) {
        contained(|| {
            if let Ok(mut engine) = self.0.engine.try_borrow_mut() {
                engine.close();
            }
        });
    }
}

impl Server {
    fn engine(&self) -> Result<RefMut<'_, Engine>> {
        match self.engine.try_borrow_mut() {
            Ok(engine) => Ok(engine),
            Err(_) => Err(Error::new(Kind::Socket, "the server is in use by another call")),
        }
    }

    /// Answers what nobody else will, now or once the engine is not at work.
    fn lose(&self, lost: Lost) {
        self.lost.borrow_mut().push(lost);
        if let Ok(mut engine) = self.engine.try_borrow_mut() {
            self.make_up(&mut engine);
        }
    }

    fn make_up(&self, engine: &mut Engine) {
        for Lost { ticket, message } in self.lost.take() {
            if engine.abandon(ticket) {
                eprintln!("caspian-net: {message}");
            }
        }
    }

    /// Waits for the next request, or for something else to tell.
    fn next(&self, socket: &Socket, timeout: Option<f64>) -> Answer<Next> {
        let deadline = socket.deadline(timeout.and_then(seconds))?.start();
        // While nothing is borrowed and no request has been taken: finalizers run, and an error of theirs ends the call.
        self.handed.settle();
        check_interrupt("accept").map_err(|e| socket.told(e, "accept"))?;
        let mut looked = false;
        loop {
            socket.cap.net.alive()?;
            let mut engine = self.engine().map_err(|e| socket.told(e, "accept"))?;
            self.make_up(&mut engine);
            if engine.is_due() {
                engine.turn(Duration::ZERO).map_err(|e| socket.told(e, "accept"))?;
            }
            if let Some(note) = engine.handshake() {
                log_handshake(&socket.cap, &note.0, &note.1);
                continue;
            }
            if engine.has_notes() {
                return Ok(Next::Note(deadline.left().map_or(f64::INFINITY, |left| left.as_secs_f64())));
            }
            if let Some(request) = engine.request() {
                return Ok(Next::Request(request));
            }
            if engine.is_over() {
                return Ok(Next::Over);
            }
            if looked && deadline.is_past() {
                return Err(socket.told(deadline.error("accept"), "accept").into());
            }
            let done = engine.turn(deadline.slice());
            drop(engine);
            looked = true;
            done.and_then(|()| check_interrupt("accept")).map_err(|e| socket.told(e, "accept"))?;
        }
    }

    /// Where `accept` was called, which is most often where it was called before.
    fn place(&self, from: &[u8]) -> Rc<str> {
        let mut last = self.place.borrow_mut();
        if last.as_bytes() != from {
            *last = String::from_utf8_lossy(from).into();
        }
        Rc::clone(&last)
    }

    /// Does what there is to do without a wait.
    pub fn turn(&self) {
        if let Ok(mut engine) = self.engine() {
            self.fails.set(engine.turn(Duration::ZERO).is_err());
        }
    }

    /// True if `accept` has something to answer or to do.
    pub fn is_ready(&self) -> bool {
        self.fails.get() || self.engine().is_ok_and(|engine| engine.is_ready())
    }

    /// For `poll`: a descriptor that can be read when there is something to do, and when the timers are to be looked at.
    pub fn interest(&self) -> Result<(OwnedFd, Duration)> {
        let engine = self.engine()?;
        let fd = engine.interest().try_clone_to_owned().map_err(|e| Error::from_io("poll", &e))?;
        Ok((fd, engine.expiry()))
    }

    /// Connections that are open.
    pub fn connections(&self) -> Option<usize> {
        Some(self.engine().ok()?.connections())
    }

    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

/// capability, host, port, path, listener, opts
type Open = (AnyUserData, Option<LuaString>, Option<u16>, Option<LuaString>, Option<Value>, Table);

/// Adds the functions to the core.
pub fn register(lua: &Lua, core: &Table) -> mlua::Result<()> {
    define(lua, core, "server_open", open)?;
    let requests = userdata::Classes::<HeldRequest>::new(lua)?;
    requests.around(lua, lua.create_table()?)?;
    let sockets = lua.app_data_ref::<Rc<userdata::Classes<Socket>>>().map(|sockets| Rc::clone(&sockets));
    if let Some(sockets) = sockets {
        core.raw_set("server_next", hot::next(lua, &sockets, &requests)?)?;
    }
    core.raw_set("request_respond", hot::respond(lua, &requests)?)?;
    define(lua, core, "server_note", |lua, socket: Value| note(lua, &socket))?;
    define(lua, core, "server_stop", |lua, socket: Value| {
        let (socket, server) = peek(lua, &socket, "stop")?;
        server.engine().map_err(|e| socket.told(e, "stop"))?.stop();
        Ok(true)
    })?;
    // server_tls(server, tls): for connections from now on
    define(lua, core, "server_tls", |lua, (socket, tls): (Value, Table)| {
        let (socket, server) = peek(lua, &socket, "reload_tls")?;
        let opts = Options::new(lua, None, 1);
        let mut engine = server.engine().map_err(|e| socket.told(e, "reload_tls"))?;
        let tls = certificates(&opts, &socket.cap, &Value::Table(tls), engine.has_http2())?;
        if !engine.is_secure() {
            return argument(0, "the server does not speak TLS");
        }
        engine.set_tls(tls);
        Ok(true)
    })?;
    request::register(lua, core)?;
    respond::register(lua, core)?;
    upgrade::register(lua, core)
}

/// The socket of a server, and the server.
fn peek(lua: &Lua, value: &Value, op: &'static str) -> Answer<(Rc<Socket>, Rc<Server>)> {
    let socket = found(userdata::peek::<Socket>(lua, value), 0, || "not a server".into())?;
    let server = serving(&socket, op)?;
    Ok((socket, server))
}

/// The server behind a socket of the class.
fn serving(socket: &Socket, op: &'static str) -> Answer<Rc<Server>> {
    match (&*socket.look()?, socket.kind) {
        (Item::Server(serving), _) => Ok(Rc::clone(&serving.0)),
        (_, Class::Server) => Err(Error::new(Kind::Closed, format!("{op}: the server is closed")).op(op).into()),
        _ => argument(0, "not a server"),
    }
}

fn open(lua: &Lua, (cap, host, port, path, listener, table): Open) -> Answer<Value> {
    let cap = held(&cap)?;
    let index = if listener.is_some() || path.is_some() { 1 } else { 3 };
    let opts = Options::new(lua, Some(table), index);
    let timeout = opts.timeout()?;
    let options = settings(&opts, &cap.files)?;
    let tls = match opts.find::<Value>("tls")? {
        None => None,
        Some(given) => Some(certificates(&opts, &cap, &given, options.http2)?),
    };
    let backlog = opts.find::<i32>("backlog")?.unwrap_or(BACKLOG);
    let shared = opts.flag("reuse_port", false)?;
    let mut unix = None;
    let (listener, tls) = match (listener, path, host, port) {
        (Some(listener), ..) => {
            let socket = found(userdata::peek::<Socket>(lua, &listener), 1, || "not a listener".into())?;
            if socket.kind != Class::Listener {
                return argument(1, "a listener expected");
            }
            socket.cap.net.alive()?;
            match socket.take() {
                Item::Listener(listener) => (listener, tls),
                Item::TlsListener(listener) => {
                    let (listener, own) = listener.into_parts();
                    (listener, tls.or(Some(own)))
                }
                _ => return Err(Error::new(Kind::Closed, "server: the listener is closed").op("server").into()),
            }
        }
        (_, Some(path), ..) => {
            let path = cap.net.unix("server", &path.to_string_lossy(), true)?;
            unix = Some(path.path().display().to_string());
            (Listener::bind_unix(&path, backlog).map_err(|e| e.op("server"))?, tls)
        }
        (_, _, Some(host), Some(port)) => {
            let at = cap.net.listen_zoned("server", &interface(&host)?, port)?;
            (Listener::bind_shared(&at, backlog, shared).map_err(|e| e.op("server"))?, tls)
        }
        _ => return argument(1, "a host and a port, a path or a listener expected"),
    };
    let mut random = [0; 6];
    if let Err(e) = getrandom::fill(&mut random) {
        return Err(Error::new(Kind::Socket, format!("no random bytes: {e}")).into());
    }
    let local = listener.local()?;
    let path = unix.or_else(|| listener.path().map(|path| path.display().to_string()));
    let engine = RefCell::new(Engine::new(listener, tls, options)?);
    let id = data_encoding::HEXLOWER.encode(&random);
    let item = Item::Server(Serving(Rc::new(Server {
        engine,
        id,
        local,
        path,
        files: cap.files.clone(),
        cap: Rc::clone(&cap),
        lost: RefCell::default(),
        fails: Cell::new(false),
        place: RefCell::new("?".into()),
        handed: Handed::new(),
    })));
    wrap(lua, Socket::new(Rc::clone(&cap), Class::Server, item, "", None), timeout)
}

fn settings(opts: &Options<'_>, files: &Files) -> Answer<server::Options> {
    let plain = server::Options::default();
    let number = |name, default: u64| Answer::Ok(opts.find::<f64>(name)?.map_or(default, |n| n as u64));
    // For ever is as long as a clock can tell.
    let time =
        |name, default| Answer::Ok(opts.seconds(name)?.map_or(default, |time| time.unwrap_or(Duration::MAX / 4)));
    let fields = number("max_fields", plain.limits.fields as u64)?;
    if fields > MOST_FIELDS as u64 {
        return argument(opts.index, format!("max_fields must be {MOST_FIELDS} or less, got {fields}"));
    }
    let spill = match opts.text("spill")? {
        None => None,
        Some(dir) => {
            let spill = Spill { files: files.clone(), dir };
            // What cannot be written to is found out now, not with the first large body.
            spill
                .files
                .scratch(spill.dir.as_bytes())
                .or_else(|refusal| argument(opts.index, format!("spill: {}", refusal.message(&spill.dir))))?;
            Some(spill)
        }
    };
    Ok(server::Options {
        limits: Limits {
            head: number("max_head_bytes", plain.limits.head as u64)? as usize,
            fields: fields as usize,
            body: number("max_body_bytes", plain.limits.body)?,
        },
        memory: number("max_memory_bytes", plain.memory)?,
        buffered: number("max_buffered_bytes", plain.buffered)?,
        spill,
        head_timeout: time("head_timeout", plain.head_timeout)?,
        body_grace: time("body_grace", plain.body_grace)?,
        body_rate: number("min_body_rate", plain.body_rate)?,
        send_grace: time("send_grace", plain.send_grace)?,
        send_rate: number("min_send_rate", plain.send_rate)?,
        idle_timeout: time("idle_timeout", plain.idle_timeout)?,
        handshake_timeout: time("handshake_timeout", plain.handshake_timeout)?,
        drain_timeout: time("drain_timeout", plain.drain_timeout)?,
        connections: number("max_connections", plain.connections as u64)? as usize,
        requests: u32::try_from(number("max_requests", u64::from(plain.requests))?).unwrap_or(u32::MAX),
        http2: http2(opts)?,
        tells_refusals: opts.flag("tells_refusals", false)?,
        tells_answers: opts.flag("tells_answers", false)?,
    })
}

/// Whether HTTP/2 is spoken. Defaults to yes where it is built in.
fn http2(opts: &Options<'_>) -> Answer<bool> {
    let asked = opts.flag("http2", cfg!(feature = "http2"))?;
    if asked && cfg!(not(feature = "http2")) {
        return argument(opts.index, NO_HTTP2);
    }
    Ok(asked)
}

/// One certificate, or a list of them that SNI picks from. An entry without `alpn` offers what is spoken.
fn certificates(opts: &Options<'_>, cap: &Capability, given: &Value, http2: bool) -> Answer<ServerTls> {
    let entry = |table| -> Answer<ServerOptions> {
        let mut options = opts.of(table).server_options(cap)?;
        if !http2 && options.alpn.iter().any(|name| name == b"h2") {
            return argument(opts.index, "tls: alpn names h2, which this server does not speak (http2 = false)");
        }
        if http2 && options.alpn.is_empty() {
            options.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(options)
    };
    let Value::Table(table) = given else { return argument(opts.index, "tls must be a table") };
    if table.raw_len() == 0 {
        return ServerTls::new(&entry(table.clone())?).or_else(|why| argument(opts.index, &why.fields().message));
    }
    let mut all = Vec::new();
    for at in 1..=table.raw_len() {
        let one: Table = table.raw_get(at).or_else(|_| argument(opts.index, format!("tls[{at}] must be a table")))?;
        all.push(entry(one)?);
    }
    ServerTls::choosing(&all).or_else(|why| argument(opts.index, &why.fields().message))
}

/// The next note: its kind, and a table or a ticket's number.
fn note(lua: &Lua, value: &Value) -> Answer<MultiValue> {
    let (socket, server) = peek(lua, value, "accept")?;
    let note = server.engine()?.note();
    let made = match note {
        None => Ok(MultiValue::new()),
        Some(Note::Handshake(peer, error)) => {
            log_handshake(&socket.cap, &peer, &error);
            Ok(MultiValue::new())
        }
        Some(Note::Hungry(ticket)) => ("hungry", ticket.text()).into_lua_multi(lua),
        Some(Note::Answered(entry)) => answered(lua, &entry).and_then(|table| ("answered", table).into_lua_multi(lua)),
        Some(Note::Refused { remote, refusal, length, spill }) => {
            let table = lua.create_table().and_then(|table| {
                table.raw_set("status", refusal.status)?;
                table.raw_set("reason", &*refusal.why)?;
                table.raw_set("remote_host", remote.map(zone::host))?;
                table.raw_set("remote_port", remote.map(|remote| remote.port()))?;
                table.raw_set("content_length", length)?;
                if spill {
                    table.raw_set("class", "puck.uno/touchstone/error/cannot_store_files")?;
                    table.raw_set("limit", server.engine.borrow().memory())?;
                } else if refusal.status == 413 {
                    table.raw_set("limit", server.engine.borrow().most())?;
                }
                hash(lua, table)
            });
            table.and_then(|table| ("refused", table).into_lua_multi(lua))
        }
    };
    made.map_err(Into::into)
}

/// An entry of the access log; `line` is the common log format, whose text nothing of a client's can break.
fn answered(lua: &Lua, entry: &Entry) -> mlua::Result<Table> {
    let now = crate::deadline::wall();
    let (host, head) = (entry.remote.map(zone::host), &entry.head);
    let target = head.target.as_str().replace('"', "%22");
    // As other servers write it.
    let version = if head.version == Version::Http2 { "2.0" } else { head.version.number() };
    let line = format!(
        "{} - - [{}] \"{} {target} HTTP/{version}\" {} {}",
        host.as_deref().unwrap_or("-"),
        log_date(now.as_secs()),
        head.method,
        entry.status,
        entry.bytes
    );
    let table = lua.create_table()?;
    table.raw_set("time", now.as_secs_f64())?;
    table.raw_set("remote_host", host)?;
    table.raw_set("remote_port", entry.remote.map(|remote| remote.port()))?;
    table.raw_set("method", &*head.method)?;
    table.raw_set("target", head.target.as_str())?;
    table.raw_set("version", head.version.number())?;
    table.raw_set("status", entry.status)?;
    table.raw_set("bytes", entry.bytes)?;
    table.raw_set("seconds", entry.seconds)?;
    table.raw_set("complete", entry.complete)?;
    for name in ["referer", "user-agent"] {
        let value = head.fields.first(name).map(|value| lua.create_string(value)).transpose()?;
        table.raw_set(name.replace('-', "_"), value)?;
    }
    table.raw_set("line", line)?;
    hash(lua, table)
}

/// The fields that only a server has.
pub fn property(lua: &Lua, socket: &Socket, name: &str) -> mlua::Result<Value> {
    let item = socket.item();
    let Ok(Item::Server(serving)) = item.as_deref() else { return Ok(Value::Nil) };
    match name {
        "path" => serving.0.path().into_lua(lua),
        "connections" => serving.0.connections().into_lua(lua),
        _ => Ok(Value::Nil),
    }
}

/// A deadline of an answer's calls.
fn patience(own: Option<f64>) -> Deadline {
    Deadline::new(own.and_then(seconds).unwrap_or(Some(crate::deadline::DEFAULT))).start()
}
