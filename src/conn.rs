//! A buffered stream over plain, TLS and Unix sockets: `recv_line`, `recv_exact` and the others exist once, here.
//!
//! Nothing is lost: received bytes stay in the buffer until a call returns them, whatever ended the call before.

use crate::{
    address::Host,
    buffer::Buffer,
    deadline::Deadline,
    error::{Error, Kind, Result},
    fork,
    tls::{ClientTls, PeerCert, Tls, Transport},
    wire::Wire,
};
#[cfg(feature = "http2")]
use std::ops::Range;
use std::{
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd},
};

/// One read from the kernel asks for this much.
const READ: usize = 64 * 1024;
/// What `recv_line` takes at the most, if the caller names nothing else: 1 MiB.
pub const MAX_LINE: usize = 1024 * 1024;

enum Stream {
    Plain(Wire),
    Tls(Box<Tls<Wire>>),
    /// Through an https proxy.
    Nested(Box<Tls<Tls<Wire>>>),
}

/// A connection with its read buffer.
pub struct Conn {
    stream: Stream,
    buffer: Buffer,
    /// How far the buffer has been searched for a newline, from its head.
    searched: usize,
    /// So many buffered bytes were not enough for the call that came short last.
    short: usize,
    /// The peer said that nothing follows.
    ended: bool,
    born: u64,
}

impl Conn {
    pub fn plain(wire: Wire) -> Conn {
        Conn::new(Stream::Plain(wire))
    }

    pub fn tls(tls: Tls<Wire>) -> Conn {
        Conn::new(Stream::Tls(Box::new(tls)))
    }

    fn new(stream: Stream) -> Conn {
        Conn { stream, buffer: Buffer::default(), searched: 0, short: 0, ended: false, born: fork::generation() }
    }

    /// The socket beneath.
    pub fn wire(&self) -> &Wire {
        match &self.stream {
            Stream::Plain(wire) => wire,
            Stream::Tls(tls) => tls.transport(),
            Stream::Nested(tls) => tls.transport().transport(),
        }
    }

    /// The TLS session, if there is exactly one.
    pub fn session(&self) -> Option<&Tls<Wire>> {
        match &self.stream {
            Stream::Tls(tls) => Some(tls),
            Stream::Plain(_) | Stream::Nested(_) => None,
        }
    }

    /// The same, to go on with its handshake or to write to it past this buffer.
    pub fn session_mut(&mut self) -> Option<&mut Tls<Wire>> {
        match &mut self.stream {
            Stream::Tls(tls) => Some(tls),
            Stream::Plain(_) | Stream::Nested(_) => None,
        }
    }

    /// The peer of a connection that is closed from now on sees a reset, and no end: not of TLS either.
    pub fn reset_at_close(&mut self) -> Result<()> {
        if let Some(tls) = self.session_mut() {
            tls.abandon();
        }
        self.wire().reset_at_close()
    }

    /// True if this process must not share the connection with a child: there is TLS on it.
    pub fn is_tls(&self) -> bool {
        !matches!(self.stream, Stream::Plain(_))
    }

    /// The application protocol that the innermost TLS session has agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.alpn(),
            Stream::Nested(tls) => tls.alpn(),
        }
    }

    /// The certificate of the other end: of the innermost TLS session, if there is one.
    pub fn peer_cert(&self) -> Option<PeerCert> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.peer_cert(),
            Stream::Nested(tls) => tls.peer_cert(),
        }
    }

    /// Speaks TLS to `host` over this connection, which may be TLS itself (to a proxy). Bytes that came before the
    /// handshake are a protocol error, as in [`Conn::into_wire`].
    pub fn secured(self, tls: &ClientTls, host: &Host, deadline: &Deadline) -> Result<Conn> {
        if !self.buffer.is_empty() {
            return Err(Error::new(Kind::Protocol, "the peer sent bytes before the TLS handshake"));
        }
        Ok(Conn::new(match self.stream {
            Stream::Plain(wire) => Stream::Tls(Box::new(Tls::connect(wire, tls, host, deadline)?)),
            Stream::Tls(outer) => Stream::Nested(Box::new(Tls::connect(*outer, tls, host, deadline)?)),
            Stream::Nested(_) => return Err(Error::new(Kind::Socket, "the connection has two layers of TLS already")),
        }))
    }

    /// The plain socket, to speak TLS over it. Fails if bytes that the peer sent are waiting: they came before the
    /// handshake, in the clear, and must not be taken for what comes after it.
    pub fn into_wire(self) -> std::result::Result<Wire, (Error, Box<Conn>)> {
        if !self.buffer.is_empty() {
            let message = "starttls: the peer sent bytes before the handshake; read them first";
            return Err((Error::new(Kind::Protocol, message), Box::new(self)));
        }
        match self.stream {
            Stream::Plain(wire) => Ok(wire),
            Stream::Tls(_) | Stream::Nested(_) => {
                Err((Error::new(Kind::Socket, "starttls: the socket speaks TLS already"), Box::new(self)))
            }
        }
    }

    /// Bytes that arrived and were not handed on.
    pub fn buffered(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Bytes that were read elsewhere and come first.
    pub fn preload(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.room(bytes.len())?.copy_from_slice(bytes);
        self.buffer.filled(bytes.len());
        Ok(())
    }

    /// Takes `count` bytes from the front of the buffer.
    pub fn consume(&mut self, count: usize) {
        self.searched = self.searched.saturating_sub(count);
        self.short = 0;
        self.buffer.consume(count);
    }

    /// Shows `take` the buffer and the part of it that arrived; all of that is consumed if it says so.
    #[cfg(feature = "http2")]
    pub fn hand_over(&mut self, take: impl FnOnce(&mut Vec<u8>, Range<usize>) -> bool) -> bool {
        let (data, part) = self.buffer.parts();
        let taken = take(data, part);
        if taken {
            self.consume(self.buffer.len());
        }
        taken
    }

    /// True if a read would answer without a wait for the network: bytes are buffered here or decrypted below. After a call
    /// that came short, only what would bring it further counts.
    pub fn ready(&self) -> bool {
        self.buffer.len() > self.short || self.ended || self.decrypted()
    }

    fn decrypted(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.ready(),
            Stream::Nested(tls) => tls.ready(),
        }
    }

    /// True if a connection that should be idle is: open, and with nothing to read.
    pub fn is_idle_clean(&mut self) -> bool {
        if !self.buffer.is_empty() || self.ended || self.born != fork::generation() {
            return false;
        }
        !self.settle()
    }

    /// Works off what arrived without a wait; true if a read would now answer at once.
    pub fn settle(&mut self) -> bool {
        self.ready()
            || match &mut self.stream {
                Stream::Plain(wire) => !matches!(wire.peek_now(&mut [0]), Ok(None)),
                Stream::Tls(tls) => tls.settle(),
                Stream::Nested(tls) => tls.settle(),
            }
    }

    /// True until the peer said that nothing follows, or a failure of the socket is known.
    pub fn is_open(&self) -> bool {
        // What is buffered must be read first, so only a look tells whether the end is already here.
        !self.buffer.is_empty() || !self.ended && !matches!(self.wire().peek_now(&mut [0]), Ok(Some(0)) | Err(_))
    }

    /// True if this process made the connection: a child must not touch its parent's TLS state.
    pub fn is_ours(&self) -> bool {
        self.born == fork::generation()
    }

    /// Reads once and appends to the buffer; 0 at end of stream.
    pub fn fill(&mut self, deadline: &Deadline) -> Result<usize> {
        self.fill_with(READ, false, deadline)
    }

    /// Reads once, towards `missing` bytes: the kernel is asked for all of many at once; 0 at end of stream.
    pub fn fill_for(&mut self, missing: usize, deadline: &Deadline) -> Result<usize> {
        // Memory grows with what arrives, not with what was asked for.
        const STEP: usize = 4 * 1024 * 1024;
        match missing > READ {
            true => self.fill_with(missing.min(STEP.max(self.buffer.len())), true, deadline),
            false => self.fill(deadline),
        }
    }

    /// Appends what is there to the buffer, without a wait: how much, 0 at end of stream; `None` if nothing is.
    pub fn fill_now(&mut self) -> Result<Option<usize>> {
        if self.ended {
            return Ok(Some(0));
        }
        let room = self.buffer.room(READ)?;
        let read = match &mut self.stream {
            Stream::Plain(wire) => wire.read_now(room),
            Stream::Tls(tls) => tls.read_now(room),
            Stream::Nested(tls) => tls.read_now(room),
        };
        self.buffer.filled(*read.as_ref().ok().and_then(Option::as_ref).unwrap_or(&0));
        self.ended |= matches!(read, Ok(Some(0)));
        read
    }

    /// Reads up to `count` bytes; `full` waits for all of them where the kernel can.
    fn fill_with(&mut self, count: usize, full: bool, deadline: &Deadline) -> Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let room = self.buffer.room(count)?;
        let read = match &mut self.stream {
            Stream::Plain(wire) if full => wire.read_full(room, deadline),
            Stream::Plain(wire) => wire.read(room, deadline),
            Stream::Tls(tls) => tls.read(room, deadline),
            Stream::Nested(tls) => tls.read(room, deadline),
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.filled(count);
        self.ended |= matches!(read, Ok(0));
        read
    }

    /// Makes sure that something is buffered: how much may be taken, up to `max`; `None` at end of stream.
    pub fn some(&mut self, max: usize, deadline: &Deadline) -> Result<Option<usize>> {
        if self.buffer.is_empty() && self.fill(deadline)? == 0 {
            return Ok(None);
        }
        Ok(Some(self.buffer.len().min(max)))
    }

    /// Makes sure that a line is buffered: its length with the newline, or without one at end of stream; `None` when
    /// nothing is left. `too_large` past `max` bytes, which stay buffered.
    pub fn line(&mut self, max: usize, deadline: &Deadline) -> Result<Option<usize>> {
        self.short = 0;
        loop {
            let bytes = self.buffer.bytes();
            let unsearched = bytes.get(self.searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', unsearched) {
                let length = self.searched + at + 1;
                if length <= max {
                    return Ok(Some(length));
                }
            }
            let length = bytes.len();
            self.searched = length;
            if length >= max {
                // Found or not, the next search begins anew: the caller may come back with a larger cap.
                self.searched = 0;
                return Err(Error::new(Kind::TooLarge, format!("recv_line: no newline within {max} bytes")));
            }
            if self.more("recv_line", 0, deadline)? == 0 {
                return Ok((length > 0).then_some(length));
            }
        }
    }

    /// Makes sure that `count` bytes are buffered. At end of stream before that: `connection_reset` with what there
    /// was as `err.partial`. After any other failure the bytes stay buffered.
    pub fn exact(&mut self, count: usize, deadline: &Deadline) -> Result<()> {
        self.short = 0;
        while self.buffer.len() < count {
            if self.more("recv_exact", count - self.buffer.len(), deadline)? == 0 {
                let partial = self.buffer.take();
                self.searched = 0;
                let message = format!("recv_exact: the stream ended after {} of {count} bytes", partial.len());
                return Err(Error::new(Kind::ConnectionReset, message).partial(partial));
            }
        }
        Ok(())
    }

    /// Reads once more, towards `missing` bytes, for a call that needs more than is buffered: 0 at end of stream.
    fn more(&mut self, what: &str, missing: usize, deadline: &Deadline) -> Result<usize> {
        let checked = if !self.buffer.is_empty() { deadline.check(what) } else { Ok(()) };
        let read = checked.and_then(|()| self.fill_for(missing, deadline));
        if read.is_err() {
            self.short = self.buffer.len();
        }
        read
    }

    /// Reads into `into`: from the buffer if it holds anything, else straight from the stream; 0 at end of stream.
    pub fn read(&mut self, into: &mut [u8], deadline: &Deadline) -> Result<usize> {
        let buffered = self.buffer.bytes();
        if !buffered.is_empty() || self.ended {
            let count = buffered.len().min(into.len());
            if let (Some(to), Some(from)) = (into.get_mut(..count), buffered.get(..count)) {
                to.copy_from_slice(from);
            }
            self.consume(count);
            return Ok(count);
        }
        let count = match &mut self.stream {
            Stream::Plain(wire) => wire.read(into, deadline)?,
            Stream::Tls(tls) => tls.read(into, deadline)?,
            Stream::Nested(tls) => tls.read(into, deadline)?,
        };
        self.ended |= count == 0 && !into.is_empty();
        Ok(count)
    }

    /// Sends what is taken at once, at least one byte; how many.
    pub fn send(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match &mut self.stream {
            Stream::Plain(wire) => wire.write(bytes, deadline),
            Stream::Tls(tls) => tls.write(bytes, deadline),
            Stream::Nested(tls) => tls.write(bytes, deadline),
        }
    }

    /// Sends what is taken without a wait; how many, 0 where only [`Conn::send`] can tell.
    pub fn send_at_once(&mut self, bytes: &[u8]) -> Result<usize> {
        match &mut self.stream {
            Stream::Plain(wire) => Ok(wire.write_now(bytes)?.unwrap_or(0)),
            // What TLS has made of them waits for the transport to take all of it.
            Stream::Tls(_) | Stream::Nested(_) => Ok(0),
        }
    }

    /// Takes what goes without a wait; how many bytes, `None` if none. Over TLS what was taken may still wait for the transport: see
    /// [`Conn::is_behind`].
    pub fn write_now(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        match &mut self.stream {
            Stream::Plain(wire) => wire.write_now(bytes),
            Stream::Tls(tls) => tls.write_now(bytes),
            Stream::Nested(tls) => tls.write_now(bytes),
        }
    }

    /// True if bytes that were taken wait for the transport.
    pub fn is_behind(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.is_behind(),
            Stream::Nested(tls) => tls.is_behind() || tls.transport().is_behind(),
        }
    }

    /// Sends of those what goes without a wait. A failure comes with the next bytes.
    pub fn push_on(&mut self) {
        if self.is_behind() {
            let _ = self.write_now(&[]);
        }
    }

    /// Sends all of it. A failure tells in `err.sent` how much went before.
    pub fn send_all(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<()> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.send(rest, deadline) {
                Ok(count) => sent += count,
                Err(e) => {
                    let below = e.fields().sent.unwrap_or(0);
                    return Err(e.sent(sent as u64 + below));
                }
            }
        }
        Ok(())
    }

    /// Ends one direction or both. Over TLS, ending the sending side says close_notify first.
    pub fn shutdown(&mut self, how: Shutdown, deadline: &Deadline) -> Result<()> {
        if let (Stream::Tls(tls), Shutdown::Write | Shutdown::Both) = (&mut self.stream, how) {
            tls.flush(deadline)?;
            tls.close_notify();
        }
        self.wire().shutdown(how)
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Plain(wire) => wire.as_fd(),
            Stream::Tls(tls) => tls.transport().as_fd(),
            Stream::Nested(tls) => tls.transport().transport().as_fd(),
        }
    }
}

impl Transport for Wire {
    fn read(&mut self, buf: &mut [u8], deadline: &Deadline) -> Result<usize> {
        Wire::read(self, buf, deadline)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        Wire::read_now(self, buf)
    }

    fn write(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        Wire::write(self, bytes, deadline)
    }

    fn write_now(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        Wire::write_now(self, bytes)
    }

    fn peer(&self) -> &str {
        Wire::peer(self)
    }
}
