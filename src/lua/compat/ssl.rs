//! The state of an `SSL connection`: a stream taken from a plain object, before, during or after the handshake, or
//! closed. Pure Rust; the functions that Lua calls are in `ssl_core`, the handshake is in `ssl_handshake`.

use super::{
    messages::{Fail, Text, Why},
    object::{Clock, Item, Slot, Timeouts},
    ssl_context::SslContext,
    ssl_handshake::Begin,
    stream::{Got, Pattern, Streaming, drain, read, room},
};
use crate::{
    address::Host,
    compat::tls::{Built, Complaint, Secret, reason},
    conn::Conn,
    deadline::uptime,
    error::{Error, Kind},
    lua::{
        capability::{Capability, Ends},
        turns::Buffered,
    },
    tls::Tls,
    wire::Wire,
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    os::fd::{AsFd, AsRawFd, RawFd},
    rc::Rc,
    sync::Arc,
};

/// The stream ended without the peer's close_notify.
pub const CUT: Why = Why::Told(Text::Borrowed("unexpected eof while reading"));

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    New,
    Connected,
    Closed,
}

pub struct SslConn {
    pub context: Rc<SslContext>,
    pub built: RefCell<Built>,
    pub is_server: bool,
    pub(super) state: Cell<State>,
    pub(super) begin: RefCell<Begin>,
    /// The stream once there is TLS.
    pub(super) slot: Rc<Slot>,
    pub(super) cap: RefCell<Option<Rc<Capability>>>,
    pub timeouts: Cell<Timeouts>,
    /// The clock of a handshake that is asked in between.
    pub(super) clock: RefCell<Option<Clock>>,
    /// The host: what a client asks for, or what a server was asked for.
    pub name: RefCell<Option<String>>,
    /// Why the handshake will not be tried again.
    pub(super) failed: RefCell<Option<Why>>,
    pub want: Cell<&'static str>,
    /// Encrypted and on its way, but told to be unsent: the program will send it again.
    unsaid: RefCell<Vec<u8>>,
    /// That the stream was cut has been told once.
    cut_told: Cell<bool>,
    /// What was buffered when the connection was closed.
    left: RefCell<Vec<u8>>,
    pub secret: RefCell<Option<Arc<Secret>>>,
    complaints: OnceCell<Vec<Complaint>>,
    pub received: Cell<f64>,
    pub sent: Cell<f64>,
    /// When it was made, by the clock of `uptime`.
    born: Cell<f64>,
}

impl Ends for SslConn {
    fn end(&self) {
        self.close();
    }
}

impl SslConn {
    pub fn new(context: Rc<SslContext>, built: Built, is_server: bool) -> SslConn {
        SslConn {
            context,
            built: RefCell::new(built),
            is_server,
            state: Cell::new(State::New),
            begin: RefCell::new(Begin::Nothing),
            slot: Slot::new(Item::None),
            cap: RefCell::default(),
            timeouts: Cell::new(Timeouts { block: -1.0, total: -1.0 }),
            clock: RefCell::default(),
            name: RefCell::default(),
            failed: RefCell::default(),
            want: Cell::new("nothing"),
            unsaid: RefCell::default(),
            cut_told: Cell::new(false),
            left: RefCell::default(),
            secret: RefCell::default(),
            complaints: OnceCell::new(),
            received: Cell::new(0.0),
            sent: Cell::new(0.0),
            born: Cell::new(uptime().as_secs_f64()),
        }
    }

    pub fn state(&self) -> State {
        self.state.get()
    }

    /// Takes a stream over. An error for one that speaks TLS already.
    pub fn attach(&self, mut conn: Conn, cap: Rc<Capability>) -> Result<(), Text> {
        if self.state.get() != State::New || !matches!(*self.begin.borrow(), Begin::Nothing) {
            return Err("invalid SSL object state".into());
        }
        let early = conn.buffered().to_vec();
        conn.consume(early.len());
        let wire = conn.into_wire().map_err(|_| Text::Borrowed("the socket speaks TLS already"))?;
        *self.begin.borrow_mut() = Begin::Plain(wire, early);
        *self.cap.borrow_mut() = Some(cap);
        Ok(())
    }

    /// The host that a client asks for, and checks where it checks at all. The host needs a grant like one that is
    /// connected to: a server may serve others than the one that was reached.
    pub fn ask_for(&self, name: &str) -> Result<(), Text> {
        if self.state.get() == State::Closed {
            return Ok(());
        }
        let refused = |text: String| {
            let text = Text::Owned(text);
            *self.failed.borrow_mut() = Some(text.clone().into());
            Err(text)
        };
        let bare = name.trim_end_matches('.');
        let host = match Host::parse(bare) {
            Ok(host) => host,
            Err(why) => return refused(format!("invalid host name ({why})")),
        };
        if let Some(cap) = &*self.cap.borrow() {
            let port = match &*self.begin.borrow() {
                Begin::Plain(wire, _) => wire.remote().map_or(0, |remote| remote.port()),
                _ => 0,
            };
            if let Err(error) = cap.net.connect("sni", &host, port) {
                return refused(format!("host not allowed: {}", error.fields().message));
            }
        }
        self.failed.take();
        *self.name.borrow_mut() = Some(host.to_string());
        Ok(())
    }

    /// The descriptor's number, -1 for none.
    pub fn number(&self) -> RawFd {
        match self.begin.try_borrow().as_deref() {
            Ok(Begin::Plain(wire, _) | Begin::Greeting(wire, _) | Begin::Heard(wire, _)) => wire.as_fd().as_raw_fd(),
            _ => self.slot.number(),
        }
    }

    /// What is told of a failure below TLS; `wanted` is what a timeout waits for.
    pub(super) fn below(&self, error: &Error, wanted: Why) -> Fail {
        match error.kind() {
            Kind::Timeout => Fail::Message(wanted),
            _ => Fail::from(error.clone()),
        }
    }

    /// True while Lua copies from the buffer.
    pub fn has_pin(&self) -> bool {
        self.slot.is_pinned()
    }

    /// Runs `act` on the stream; `None` if there is none, or it is in use.
    pub fn with<T>(&self, act: impl FnOnce(&mut Conn) -> T) -> Option<T> {
        match &mut *self.slot.item().ok()? {
            Item::Stream(conn) if conn.is_ours() => Some(act(conn)),
            _ => None,
        }
    }

    /// Runs `act` on the TLS of a connection that stands.
    pub fn tls<T>(&self, act: impl FnOnce(&Tls<Wire>) -> T) -> Option<T> {
        if self.state.get() != State::Connected {
            return None;
        }
        self.with(|conn| conn.session().map(act))?
    }

    /// What is wrong with the peer's certificates, as it was found at the first question.
    pub fn complaints(&self) -> &[Complaint] {
        self.complaints.get_or_init(|| {
            let name = self.name.borrow().clone().filter(|_| !self.is_server);
            self.tls(|tls| self.built.borrow().complaints(tls, name.as_deref())).unwrap_or_default()
        })
    }

    /// True if bytes are buffered or decrypted.
    pub fn dirty(&self) -> bool {
        if self.state.get() == State::Closed {
            return self.left.try_borrow().is_ok_and(|left| !left.is_empty());
        }
        let pending = |item: &Item| match item {
            Item::Stream(conn) => !conn.buffered().is_empty() || conn.session().is_some_and(Tls::has_plaintext),
            _ => false,
        };
        self.slot.look().is_ok_and(|item| pending(&item))
    }

    /// Closes it, with a close_notify that does not wait. What is buffered can still be received.
    pub fn close(&self) {
        self.state.set(State::Closed);
        self.want.set("nothing");
        if let Ok(mut begin) = self.begin.try_borrow_mut() {
            *begin = Begin::Nothing;
        }
        if let Item::Stream(mut conn) = self.slot.take() {
            if let Ok(mut left) = self.left.try_borrow_mut() {
                left.extend_from_slice(conn.buffered());
            }
            say_goodbye(&mut conn);
        }
    }

    /// Seconds since it was made, or as `setstats` has it.
    pub fn age(&self) -> f64 {
        uptime().as_secs_f64() - self.born.get()
    }

    pub fn set_age(&self, age: f64) {
        self.born.set(uptime().as_secs_f64() - age);
    }

    /// What is told of a read that stopped: TLS knows more than the stream.
    fn stopped(&self, why: Fail) -> Fail {
        let Fail::Message(message) = why else { return why };
        if message == Why::Timeout {
            self.want.set("read");
            return Fail::Message(Why::WantRead);
        }
        let ignores = self.built.borrow().ignores_eof();
        let told = self.with(|conn| {
            let tls = conn.session()?;
            match reason(tls, &self.built.borrow()) {
                Some(reason) => Some(reason.into()),
                None if tls.is_cut() && (ignores || self.cut_told.replace(true)) => Some(Why::Closed),
                None if tls.is_cut() => Some(CUT),
                None => {
                    // Below TLS it failed in mid-read, and that is what OpenSSL keeps saying it wants.
                    if message == Why::Closed && !tls.is_ended() {
                        self.want.set("read");
                    }
                    None
                }
            }
        });
        Fail::Message(told.flatten().unwrap_or(message))
    }

    fn write(&self, conn: &mut Conn, bytes: &[u8], clock: &Clock) -> (usize, Option<Fail>) {
        let Some(tls) = conn.session_mut() else { return (0, Some(Fail::Message(Why::Closed))) };
        let mut unsaid = self.unsaid.borrow_mut();
        let mut sent = 0;
        let failed = |tls: &Tls<Wire>, error: Error| {
            if error.is(Kind::Timeout) {
                self.want.set("write");
                return Fail::Message(Why::WantWrite);
            }
            match reason(tls, &self.built.borrow()) {
                Some(reason) => Fail::Message(reason.into()),
                None => {
                    self.want.set("write");
                    Fail::from(error)
                }
            }
        };
        if !unsaid.is_empty() {
            if let Err(error) = clock.wait(|deadline| tls.flush(deadline)) {
                return (0, Some(failed(tls, error)));
            }
            // The same bytes again, all of them or the first few, are on their way already.
            let again = unsaid.len().min(bytes.len());
            if bytes.get(..again) == unsaid.get(..again) {
                unsaid.drain(..again);
                sent = again;
            } else {
                unsaid.clear();
            }
        }
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match clock.wait(|deadline| tls.write(rest, deadline)) {
                Ok(count) => sent += count,
                Err(error) => {
                    let accepted = usize::try_from(error.fields().sent.unwrap_or(0)).unwrap_or(0);
                    if error.is(Kind::Timeout) {
                        unsaid.extend_from_slice(rest.get(..accepted).unwrap_or_default());
                    } else {
                        sent += accepted;
                    }
                    return (sent, Some(failed(tls, error)));
                }
            }
        }
        (sent, None)
    }
}

/// Sees to it that the last bytes arrive. The kernel would keep them back for an acknowledgement (Nagle), and throw them
/// away where it finds bytes that nobody has read: a server's session tickets, say.
fn say_goodbye(conn: &mut Conn) {
    /// What is read and thrown away at the most.
    const UNREAD: usize = 64 * 1024;
    if !conn.is_ours() {
        return;
    }
    let _ = conn.wire().set_nodelay(true);
    let Some(tls) = conn.session_mut() else { return };
    tls.close_notify();
    let (mut unread, mut waste) = (0, [0; 4096]);
    while unread < UNREAD {
        match tls.transport().read_now(&mut waste) {
            Ok(Some(count)) if count > 0 => unread += count,
            _ => return,
        }
    }
}

impl Streaming for SslConn {
    fn receive(&self, pattern: Pattern, have: usize, max: Option<usize>) -> Got {
        let room = room(pattern, have, max);
        let clock = match self.timeouts.get().start() {
            Ok(clock) => clock,
            Err(why) => return Got::nothing(why),
        };
        let mut got = match self.state.get() {
            State::New => return Got::nothing(Fail::Message(Why::Closed)),
            State::Closed => match self.left.try_borrow_mut() {
                Ok(mut left) => drain(&mut left, pattern, have, room),
                Err(_) => return Got::nothing(Fail::Message(Why::Closed)),
            },
            State::Connected => {
                self.want.set("nothing");
                match self.with(|conn| read(conn, pattern, have, room, &clock)) {
                    Some(got) => got,
                    None => return Got::nothing(Fail::Message(Why::Closed)),
                }
            }
        };
        match got.why.take() {
            // What arrived stays in the buffer, or ends with the connection.
            Some(Fail::Interrupted) => Got::nothing(self.slot.ending(Fail::Interrupted)),
            why => {
                got.why = why.map(|why| self.stopped(why));
                got
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> (usize, Option<Fail>) {
        if self.state.get() != State::Connected {
            return (0, Some(Fail::Message(Why::Closed)));
        }
        let clock = match self.timeouts.get().start() {
            Ok(clock) => clock,
            Err(why) => return (0, Some(why)),
        };
        self.want.set("nothing");
        let done = self.with(|conn| self.write(conn, bytes, &clock));
        let (sent, why) = done.unwrap_or((0, Some(Fail::Message(Why::Closed))));
        self.sent.set(self.sent.get() + sent as f64);
        (sent, why.map(|why| self.slot.ending(why)))
    }

    fn spend(&self, count: usize) {
        self.slot.spend(count);
        self.received.set(self.received.get() + count as f64);
    }
}

impl Buffered for SslConn {
    fn front(&self, length: usize) -> Option<(u64, *const [u8])> {
        self.slot.front(length)
    }

    fn pin(&self, on: bool) {
        self.slot.pin(on);
    }

    fn taken(&self, turn: u64, count: usize) -> bool {
        let done = self.slot.taken(turn, count);
        if done {
            self.received.set(self.received.get() + count as f64);
        }
        done
    }
}
