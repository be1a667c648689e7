//! A script's socket: a connection, a datagram socket or a listener, with the capability that opened it.
//!
//! One value serves all classes; the metatable decides which methods a script can reach. Pure Rust: the Lua values
//! are made in `userdata`, and its methods in `hot` and in the binding beside it.

use super::{
    capability::Capability,
    server::Serving,
    signals,
    turns::{self, Buffered, Turns},
    userdata::Held,
};
use crate::{
    client::websocket::WebSocket,
    conn::{Conn, MAX_LINE},
    deadline::{DEFAULT, Deadline, check_block},
    error::{Error, Kind, Result},
    listen::{Listener, TlsListener},
    udp::Udp,
    zone,
};
use std::{
    cell::{Cell, OnceCell, Ref, RefMut},
    ffi::CStr,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

/// What `recv` takes at the most if the caller names nothing else.
pub const RECV: usize = 64 * 1024;

/// A socket of any class.
pub struct Socket {
    turns: Turns<Item>,
    timeout: Cell<Option<Duration>>,
    /// This end's address as it was when the socket was closed.
    last: OnceCell<Box<Option<SocketAddr>>>,
    pub cap: Rc<Capability>,
    /// The other end as the caller named it; empty for listeners and unconnected datagram sockets.
    pub host: Box<str>,
    pub port: Option<u16>,
    pub kind: Class,
}

/// The classes of the contract, by the last word of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Tcp,
    Ssl,
    Udp,
    Listener,
    WebSocket,
    Server,
}

impl Class {
    pub const ALL: [Class; 6] = [Class::Tcp, Class::Ssl, Class::Udp, Class::Listener, Class::WebSocket, Class::Server];

    pub const fn word(self) -> &'static str {
        match self {
            Class::Tcp => "tcp",
            Class::Ssl => "ssl",
            Class::Udp => "udp",
            Class::Listener => "tcp_listener",
            Class::WebSocket => "websocket",
            Class::Server => "server",
        }
    }
}

impl Held for Socket {
    const CLASSES: &'static [&'static CStr] = &[c"tcp", c"ssl", c"udp", c"tcp_listener", c"websocket", c"server"];
    const NAME: &'static str = "socket";
    const OPEN: bool = false;

    fn is_pinned(&self) -> bool {
        self.turns.is_pinned()
    }
}

/// What a socket holds; nothing once it is closed.
#[derive(Default)]
pub enum Item {
    #[default]
    Closed,
    Stream(Conn),
    Udp(Udp),
    Listener(Listener),
    TlsListener(Box<TlsListener>),
    WebSocket(Box<WebSocket>),
    Server(Serving),
}

impl Item {
    fn local(&self) -> Result<Option<SocketAddr>> {
        match self {
            Item::Stream(conn) => conn.wire().local(),
            Item::Udp(udp) => udp.local(),
            Item::WebSocket(ws) => ws.local(),
            Item::Listener(listener) => listener.local(),
            Item::TlsListener(listener) => listener.listener().local(),
            Item::Server(serving) => Ok(serving.0.local()),
            Item::Closed => Ok(None),
        }
    }
}

impl turns::Item for Item {
    fn stream(&self) -> Option<&Conn> {
        if let Item::Stream(conn) = self { Some(conn) } else { None }
    }

    fn stream_mut(&mut self) -> Option<&mut Conn> {
        if let Item::Stream(conn) = self { Some(conn) } else { None }
    }
}

/// The arguments of a hot method: plain data.
#[derive(Default)]
pub struct Call<'a> {
    pub bytes: &'a [u8],
    pub count: usize,
    pub max: Option<usize>,
    /// The outer `None`: the socket's own timeout. The inner one: for ever.
    pub timeout: Option<Option<Duration>>,
}

/// What a hot method answers.
pub enum Reply {
    Nil,
    True,
    Count(usize),
    /// The first bytes of the connection's buffer.
    Front(usize),
}

impl Socket {
    pub fn new(cap: Rc<Capability>, kind: Class, item: Item, host: &str, port: Option<u16>) -> Socket {
        Socket {
            turns: Turns::new(item),
            timeout: Cell::new(Some(DEFAULT)),
            last: OnceCell::new(),
            cap,
            host: host.into(),
            port,
            kind,
        }
    }

    /// The socket's item, while it may be used: alive, and by nobody else (a hook or finalizer may run anywhere).
    pub fn item(&self) -> Result<RefMut<'_, Item>> {
        self.cap.net.alive()?;
        self.sweep();
        self.turns.item().ok_or_else(busy)
    }

    /// The socket's item, to look at.
    pub fn look(&self) -> Result<Ref<'_, Item>> {
        self.cap.net.alive()?;
        self.sweep();
        self.turns.look().ok_or_else(busy)
    }

    /// Runs `act` on the connection; its errors learn which call and which peer.
    pub fn stream<T>(&self, op: &'static str, act: impl FnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        let done = self.item().and_then(|mut item| match &mut *item {
            Item::Stream(conn) if conn.is_ours() || !conn.is_tls() => act(conn),
            Item::Stream(_) => Err(Error::new(
                Kind::Socket,
                format!("{op}: a TLS connection works only in the process that opened it"),
            )),
            _ => Err(closed(op)),
        });
        done.map_err(|e| self.told(e, op))
    }

    /// Runs `act` on the datagram socket.
    pub fn udp<T>(&self, op: &'static str, act: impl FnOnce(&mut Udp) -> Result<T>) -> Result<T> {
        let done = self.item().and_then(|mut item| match &mut *item {
            Item::Udp(udp) => act(udp),
            _ => Err(closed(op)),
        });
        done.map_err(|e| self.told(e, op))
    }

    /// Runs `act` on the WebSocket.
    pub fn websocket<T>(&self, op: &'static str, act: impl FnOnce(&mut WebSocket) -> Result<T>) -> Result<T> {
        let done = self.item().and_then(|mut item| match &mut *item {
            Item::WebSocket(ws) => act(ws).map_err(|e| e.url(ws.public())),
            _ => Err(closed(op)),
        });
        done.map_err(|e| self.told(e, op))
    }

    pub fn told(&self, error: Error, op: &'static str) -> Error {
        let error = self.ending(error, op).op(op);
        match (self.host.is_empty(), self.port) {
            (false, Some(port)) => error.at(&*self.host, port),
            // A listener, or a datagram socket without a peer: where it is bound.
            (true, _) => match self.bound() {
                Some(local) => error.at(zone::host(local), local.port()),
                None => error,
            },
            _ => error,
        }
    }

    fn bound(&self) -> Option<SocketAddr> {
        match &*self.turns.look()? {
            Item::Listener(listener) => listener.local().ok()?,
            Item::TlsListener(listener) => listener.listener().local().ok()?,
            Item::Udp(udp) => udp.local().ok()?,
            Item::Server(serving) => serving.0.local(),
            _ => None,
        }
    }

    /// What has ended a call, where that is a handler of a signal that closed the socket.
    pub fn ending(&self, error: Error, op: &str) -> Error {
        let error = if error.is_interruption() && self.turns.is_ending() { closed(op) } else { error };
        self.sweep();
        error
    }

    /// Closes it. Fine more than once, and while a call has it in its hands.
    pub fn close(&self) {
        self.turns.end();
        self.sweep();
        if self.turns.is_ending() {
            signals::closed_in_use();
        }
    }

    /// Closes it if that was asked for and nobody has it in his hands.
    fn sweep(&self) {
        if let Some(item) = self.turns.ended() {
            if let Ok(local) = item.local() {
                let _ = self.last.set(Box::new(local));
            }
            drop(item);
        }
    }

    /// This end's address, also of a socket that was closed. `None` where it has none, as those over Unix sockets; an error
    /// where it cannot be told: a socket that `starttls` has spent has none to tell.
    pub fn local(&self) -> Result<Option<SocketAddr>> {
        self.sweep();
        if let Some(last) = self.last.get() {
            return Ok(**last);
        }
        match &*self.look()? {
            Item::Closed => Err(Error::new(Kind::Closed, "local address: the socket is closed")),
            item => item.local(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.cap.net.is_alive()
            && !self.turns.is_ending()
            && self.turns.look().is_some_and(|item| match &*item {
                Item::Closed => false,
                Item::WebSocket(ws) => ws.is_open(),
                _ => true,
            })
    }

    /// Takes the item out, leaving the socket closed. One that is in use gives nothing away.
    pub fn take(&self) -> Item {
        self.turns.item().map(|mut item| std::mem::take(&mut *item)).unwrap_or_default()
    }

    /// Puts back what [`take`](Self::take) took. A pinned socket gave nothing away, and keeps what it has.
    pub fn put(&self, item: Item) {
        if let Some(mut place) = self.turns.item() {
            *place = item;
        }
    }

    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.get()
    }

    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeout.set(timeout);
    }

    /// A call's deadline: its own timeout, or the socket's.
    /// `timeout` if the block that the call is in has ended.
    pub fn deadline(&self, own: Option<Option<Duration>>) -> Result<Deadline> {
        check_block("called too late")?;
        Ok(Deadline::new(own.unwrap_or(self.timeout.get())))
    }

    pub fn send(&self, call: &Call<'_>) -> Result<Reply> {
        self.stream("send", |conn| conn.send(call.bytes, &self.deadline(call.timeout)?).map(Reply::Count))
    }

    pub fn send_all(&self, call: &Call<'_>) -> Result<Reply> {
        self.stream("send_all", |conn| conn.send_all(call.bytes, &self.deadline(call.timeout)?).map(|()| Reply::True))
    }

    pub fn recv(&self, call: &Call<'_>) -> Result<Reply> {
        let some = |conn: &mut Conn| conn.some(call.count, &self.deadline(call.timeout)?);
        self.stream("recv", some).map(|count| count.map_or(Reply::Nil, Reply::Front))
    }

    pub fn recv_line(&self, call: &Call<'_>) -> Result<Reply> {
        let line = |conn: &mut Conn| conn.line(call.max.unwrap_or(MAX_LINE), &self.deadline(call.timeout)?);
        self.stream("recv_line", line).map(|count| count.map_or(Reply::Nil, Reply::Front))
    }

    pub fn recv_exact(&self, call: &Call<'_>) -> Result<Reply> {
        let exact = |conn: &mut Conn| conn.exact(call.count, &self.deadline(call.timeout)?);
        self.stream("recv_exact", exact).map(|()| Reply::Front(call.count))
    }
}

impl Buffered for Socket {
    fn front(&self, length: usize) -> Option<(u64, *const [u8])> {
        self.turns.front(length)
    }

    fn pin(&self, on: bool) {
        self.turns.pin(on);
    }

    fn taken(&self, turn: u64, count: usize) -> bool {
        let done = self.turns.taken(turn, count);
        self.sweep();
        done
    }
}

fn busy() -> Error {
    Error::new(Kind::Socket, "the socket is in use by another call")
}

fn closed(op: &str) -> Error {
    Error::new(Kind::Closed, format!("{op}: the socket is closed"))
}

/// Seconds as they come from Lua: `None` inside for `math.huge`; no answer for NaN and negatives.
pub fn seconds(seconds: f64) -> Option<Option<Duration>> {
    if seconds.is_nan() || seconds < 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds).ok())
}
