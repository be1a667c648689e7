//! One connected stream socket, TCP or Unix: the only place that moves its bytes.
//!
//! Sockets stay in blocking mode and every wait has the deadline: a read sleeps in the kernel for at most one [`SLICE`]
//! (`SO_RCVTIMEO`), so a round trip costs two system calls, as in a C client, while an interrupted or expired wait is
//! still noticed. Opens sockets only against a [`Permitted`] or a [`GrantedPath`].

mod named;
mod peer;

pub(crate) use named::Named;
pub use peer::Peer;

use crate::{
    deadline::{Deadline, SLICE, check_interrupt},
    descriptors::spare,
    error::{Error, Kind, Result},
    grants::{Bindable, GrantedPath, Permitted},
    panics::failpoint,
    zone,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    cell::Cell,
    fmt, io,
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// RFC 8305, section 8: the Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How bytes are sent: without a wait; and a peer that went away is an error of the call, never a SIGPIPE for the process. Apple's
/// systems have no flag for that, but an option, with which socket2 makes every socket.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SENDING: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(target_vendor = "apple")]
pub(crate) const SENDING: SendFlags = SendFlags::DONTWAIT;

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Read,
    Write,
}

/// A connected stream socket.
pub struct Wire {
    socket: Socket,
    /// `SO_RCVTIMEO` is set to [`SLICE`].
    sliced: Cell<bool>,
    /// Who is at the other end, as the caller named it: `example.com:80`, `unix:/run/x`.
    peer: Box<str>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.peer)
    }
}

impl Wire {
    /// Connects to whichever address answers first, racing IPv6 and IPv4 (RFC 8305, sections 4 and 5). `peer` names
    /// the other end in messages; the addresses are not named there.
    pub fn connect(peer: &str, addresses: &[Permitted], local: Option<&Bindable>, deadline: &Deadline) -> Result<Wire> {
        let socket = race(peer, interleave(addresses), local, deadline)?;
        let _ = socket.set_tcp_nodelay(true);
        Ok(Wire::new(socket, peer))
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &GrantedPath, deadline: &Deadline) -> Result<Wire> {
        let peer = format!("unix:{}", path.path().display());
        let what = format!("connect to {peer}");
        let named = Named::of(path)?;
        let address = SockAddr::unix(named.path()).map_err(|e| Error::from_io(&what, &e))?;
        let socket = open(Domain::UNIX, Type::STREAM, None).map_err(|e| Error::from_io(&what, &e))?;
        loop {
            match start(&socket, &address) {
                Ok(()) => break,
                // A full backlog: a Unix socket does not tell when there is room, so ask again.
                Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => {
                    if deadline.is_past() {
                        return Err(deadline.error(&what));
                    }
                    check_interrupt(&what)?;
                    nap(deadline.slice().min(Duration::from_millis(10)));
                }
                Err(e) => return Err(Error::from_path(&what, &e)),
            }
        }
        socket.set_nonblocking(false).map_err(|e| Error::from_io(&what, &e))?;
        Ok(Wire::new(socket, &peer))
    }

    /// A socket that a listener accepted.
    pub(crate) fn accepted(socket: Socket, peer: &str) -> Wire {
        let _ = socket.set_tcp_nodelay(true);
        Wire::new(socket, peer)
    }

    /// A connected socket, or one that is about to be, whose options are somebody else's.
    pub(crate) fn adopt(fd: OwnedFd, peer: &str) -> Wire {
        Wire::new(Socket::from(fd), peer)
    }

    fn new(socket: Socket, peer: &str) -> Wire {
        Wire { socket, sliced: Cell::new(false), peer: peer.into() }
    }

    /// The other end, as the caller named it.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Reads what is there, waiting until something is; 0 at end of stream.
    pub fn read(&self, buf: &mut [u8], deadline: &Deadline) -> Result<usize> {
        self.receive(buf, RecvFlags::empty(), deadline)
    }

    /// Reads until `buf` is full if it can; less on a signal, at end of stream or when a slice ends.
    pub fn read_full(&self, buf: &mut [u8], deadline: &Deadline) -> Result<usize> {
        self.receive(buf, RecvFlags::WAITALL, deadline)
    }

    fn receive(&self, buf: &mut [u8], flags: RecvFlags, deadline: &Deadline) -> Result<usize> {
        loop {
            let left = deadline.left();
            // Sleeping in the kernel is one call less than poll and read; only the last slice needs poll.
            let asleep = left.is_none_or(|left| left >= SLICE) && self.slice();
            if !asleep && left != Some(Duration::ZERO) {
                self.wait(Want::Read, deadline)?;
            }
            let flags = if asleep { flags } else { flags | RecvFlags::DONTWAIT };
            failpoint("read");
            match rustix::net::recv(&self.socket, &mut *buf, flags) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::AGAIN | Errno::INTR) => {
                    if deadline.is_past() {
                        return Err(deadline.error(&format!("recv from {}", self.peer)));
                    }
                    check_interrupt("recv")?;
                }
                Err(e) => return Err(self.error("recv from", e)),
            }
        }
    }

    /// Reads what is there; `None` if nothing is, without a wait.
    pub fn read_now(&self, buf: &mut [u8]) -> Result<Option<usize>> {
        self.receive_now(buf, RecvFlags::DONTWAIT)
    }

    /// Looks at what is there without taking it; `None` if nothing is, `Some(0)` at end of stream.
    pub fn peek_now(&self, buf: &mut [u8]) -> Result<Option<usize>> {
        self.receive_now(buf, RecvFlags::DONTWAIT | RecvFlags::PEEK)
    }

    fn receive_now(&self, buf: &mut [u8], flags: RecvFlags) -> Result<Option<usize>> {
        match rustix::net::recv(&self.socket, buf, flags) {
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(e) => Err(self.error("recv from", e)),
        }
    }

    /// Writes what the kernel takes, waiting until it takes at least one byte.
    pub fn write(&self, bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        loop {
            match self.write_now(bytes)? {
                Some(count) => return Ok(count),
                None => self.wait(Want::Write, deadline)?,
            }
        }
    }

    /// Writes what the kernel takes now; `None` if it takes nothing.
    pub fn write_now(&self, bytes: &[u8]) -> Result<Option<usize>> {
        failpoint("write");
        match rustix::net::send(&self.socket, bytes, SENDING) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(e) => Err(self.error("send to", e)),
        }
    }

    /// Waits until the socket can be read or written.
    pub fn wait(&self, want: Want, deadline: &Deadline) -> Result<()> {
        let message = match want {
            Want::Read => "recv from",
            Want::Write => "send to",
        };
        wait(self.socket.as_fd(), want, deadline, || format!("{message} {}", self.peer))
    }

    /// True once `SO_RCVTIMEO` is one slice.
    fn slice(&self) -> bool {
        if !self.sliced.get() {
            self.sliced.set(self.socket.set_read_timeout(Some(SLICE)).is_ok());
        }
        self.sliced.get()
    }

    /// Ends one direction or both.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        match self.socket.shutdown(how) {
            // The peer was faster: what was asked for is so.
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other.map_err(|e| Error::from_io("shutdown", &e)),
        }
    }

    /// The address that was reached; `None` for a Unix socket.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()?.as_socket().map(unmap)
    }

    /// This end's address; `None` for a Unix socket.
    pub fn local(&self) -> Result<Option<SocketAddr>> {
        let found = self.socket.local_addr().map_err(|e| Error::from_io("local address", &e))?;
        Ok(found.as_socket().map(unmap))
    }

    /// The process at the other end of a Unix socket.
    pub fn credentials(&self) -> Option<Peer> {
        Peer::of(self.socket.as_fd())
    }

    pub fn nodelay(&self) -> bool {
        self.socket.tcp_nodelay().unwrap_or(false)
    }

    /// Closing it resets the connection, and what was not sent yet is thrown away.
    pub fn reset_at_close(&self) -> Result<()> {
        self.socket.set_linger(Some(Duration::ZERO)).map_err(|e| Error::from_io("reset", &e))
    }

    pub fn set_nodelay(&self, on: bool) -> Result<()> {
        self.socket.set_tcp_nodelay(on).map_err(|e| Error::from_io("nodelay", &e))
    }

    pub fn keepalive(&self) -> bool {
        self.socket.keepalive().unwrap_or(false)
    }

    pub fn set_keepalive(&self, on: bool) -> Result<()> {
        self.socket.set_keepalive(on).map_err(|e| Error::from_io("keepalive", &e))
    }

    fn error(&self, what: &str, errno: Errno) -> Error {
        Error::from_io(&format!("{what} {}", self.peer), &errno.into())
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits until `fd` can be read or written, in slices, so that an interruption is seen.
pub(crate) fn wait(fd: BorrowedFd<'_>, want: Want, deadline: &Deadline, what: impl Fn() -> String) -> Result<()> {
    let flags = match want {
        Want::Read => PollFlags::IN,
        Want::Write => PollFlags::OUT,
    };
    loop {
        let slice = deadline.slice();
        match poll_for(&mut [PollFd::from_borrowed_fd(fd, flags)], slice) {
            Ok(0) => {
                if deadline.is_past() {
                    return Err(deadline.error(&what()));
                }
                check_interrupt("wait")?;
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => check_interrupt("wait")?,
            Err(e) => return Err(Error::from_io(&what(), &e.into())),
        }
    }
}

/// Waits until `fd` can be read or written, as far as that is wanted, or `time` has passed, or a signal came.
#[cfg(feature = "http2")]
pub(crate) fn stir(fd: BorrowedFd<'_>, read: bool, write: bool, time: Duration) -> Result<()> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, read);
    flags.set(PollFlags::OUT, write);
    match poll_for(&mut [PollFd::from_borrowed_fd(fd, flags)], time) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(Error::from_io("wait", &e.into())),
    }
}

/// poll(2) for at most `time`.
pub(crate) fn poll_for(fds: &mut [PollFd<'_>], time: Duration) -> std::result::Result<usize, Errno> {
    // Round up to the clock's grain: a wait that ends a hair early would be one more turn of the loop.
    let time = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ };
    poll(fds, Some(&time))
}

/// Sleeps without a socket to wait for; ends early on a signal.
pub(crate) fn nap(time: Duration) {
    let _ = poll_for(&mut [], time);
}

/// IPv4-mapped addresses as the IPv4 addresses they are; all others as they are, with their zone.
pub(crate) fn unmap(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// A socket in non-blocking mode.
#[cfg(target_os = "linux")]
pub(crate) fn open(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    spare(|| Socket::new(domain, kind.nonblocking(), protocol))
}

/// The same where a socket is not made in non-blocking mode.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    let socket = spare(|| Socket::new(domain, kind, protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Starts a connection on a non-blocking socket.
#[allow(clippy::disallowed_methods, reason = "streams connect here: both callers hold a proof")]
fn start(socket: &Socket, address: &SockAddr) -> io::Result<()> {
    socket.connect(address)
}

/// Alternates the families, beginning with the first address's (RFC 8305, section 4).
fn interleave(addresses: &[Permitted]) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(|a| a.addr().is_ipv4());
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().map(Permitted::addr).partition(|a| a.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(addresses.len());
    loop {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}

/// RFC 8305, section 5: a new attempt each 250 ms, or at once when one failed; the first to connect wins, the others
/// are closed.
fn race(peer: &str, addresses: Vec<SocketAddr>, local: Option<&Bindable>, deadline: &Deadline) -> Result<Socket> {
    let what = || format!("connect to {peer}");
    let mut waiting = addresses.into_iter();
    let mut running: Vec<(Socket, SocketAddr)> = Vec::new();
    let mut failure: Option<Error> = None;
    // The attempt that was started last gets this long before it has company.
    let mut head_start = Deadline::after(Duration::ZERO);
    loop {
        if running.is_empty() || head_start.is_past() {
            match waiting.next() {
                Some(address) => match attempt(address, local) {
                    Ok((socket, true)) => return finish(socket).map_err(|e| Error::from_io(&what(), &e)),
                    Ok((socket, false)) => {
                        running.push((socket, address));
                        head_start = Deadline::after(ATTEMPT_DELAY).start();
                    }
                    Err(e) => {
                        keep(&mut failure, zone::error(&what(), address, &e));
                        continue;
                    }
                },
                None if running.is_empty() => {
                    return Err(failure.unwrap_or_else(|| {
                        Error::new(Kind::DnsFailure, format!("{}: the name has no address", what()))
                    }));
                }
                None => {}
            }
        }
        failpoint("connect");
        let mut slice = deadline.slice();
        if waiting.len() > 0 {
            slice = slice.min(head_start.left().unwrap_or(slice));
        }
        let mut fds: Vec<_> =
            running.iter().map(|(s, _)| PollFd::from_borrowed_fd(s.as_fd(), PollFlags::OUT)).collect();
        match poll_for(&mut fds, slice) {
            Ok(0) | Err(Errno::INTR) => {
                if deadline.is_past() {
                    return Err(deadline.error(&what()));
                }
                check_interrupt("connect")?;
                continue;
            }
            Ok(_) => {}
            Err(e) => return Err(Error::from_io(&what(), &e.into())),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        for index in (0..running.len()).rev().filter(|&i| ready[i]).collect::<Vec<_>>() {
            let (socket, address) = running.swap_remove(index);
            match outcome(&socket, address) {
                Ok(()) => return finish(socket).map_err(|e| Error::from_io(&what(), &e)),
                Err(e) => {
                    keep(&mut failure, Error::from_io(&what(), &e));
                    // A failure is an answer: the next attempt need not wait.
                    head_start = Deadline::after(Duration::ZERO);
                }
            }
        }
    }
}

/// Of several failures the one that says most: a refusal is an answer, "unreachable" often is not.
fn keep(failure: &mut Option<Error>, new: Error) {
    if failure.as_ref().is_none_or(|old| new.is(Kind::ConnectionRefused) && !old.is(Kind::ConnectionRefused)) {
        *failure = Some(new);
    }
}

/// Starts one connection: `true` if it stands at once.
fn attempt(address: SocketAddr, local: Option<&Bindable>) -> io::Result<(Socket, bool)> {
    let socket = open(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(local) = local {
        bind(&socket, local.addr())?;
    }
    match start(&socket, &address.into()) {
        Ok(()) => outcome(&socket, address).map(|()| (socket, true)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok((socket, false)),
        Err(e) => Err(e),
    }
}

#[allow(clippy::disallowed_methods, reason = "the caller holds a Bindable")]
fn bind(socket: &Socket, local: SocketAddr) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())
}

fn outcome(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match socket.take_error()? {
        Some(error) => Err(error),
        // On loopback a socket can meet itself when the port is in the ephemeral range and nobody listens.
        None if socket.local_addr()?.as_socket() == Some(address) => Err(io::ErrorKind::ConnectionRefused.into()),
        None => Ok(()),
    }
}

fn finish(socket: Socket) -> io::Result<Socket> {
    socket.set_nonblocking(false)?;
    Ok(socket)
}
