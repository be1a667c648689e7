//! Sockets one step at a time, as in the BSD interface: socket, setsockopt, bind, connect, listen.
//!
//! For programs of LuaSocket; code that opens a connection in one call uses `wire`. As everywhere, nothing is bound or
//! connected without a proof, descriptors do not reach child processes, and a socket stays in blocking mode: each call
//! says whether it may wait.

pub mod option;
pub mod pipe;

use crate::{
    deadline::{Deadline, check_interrupt},
    descriptors::spare,
    error::{Error, Result},
    grants::{Bindable, GrantedPath, Permitted},
    wire::{Named, SENDING, Want, Wire, unmap, wait},
};
use rustix::{
    io::Errno,
    net::{self, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix},
};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    cell::Cell,
    io,
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

/// What a socket's addresses look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    Unix,
}

impl Family {
    pub fn of(ip: IpAddr) -> Family {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// An address as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Ip(SocketAddr),
    /// The path of a Unix socket; empty for one that was not bound.
    Path(Vec<u8>),
}

/// A socket in whatever state its steps have brought it to.
#[derive(Debug)]
pub struct Bare {
    fd: OwnedFd,
    /// It stands where a proof allowed it to. Remembered here, not by whoever holds the socket: programs hand
    /// descriptors round.
    bound: Cell<bool>,
}

/// How far a connection came without a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// Ask again when the socket can be written.
    Started,
    /// Another call has begun it.
    UnderWay,
    /// It stood before.
    Stands,
}

impl Bare {
    /// A new socket; an IPv6 one speaks IPv6 only, so that each grant means one family.
    pub fn open(family: Family, datagrams: bool) -> Result<Bare> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
            Family::Unix => Domain::UNIX,
        };
        let kind = if datagrams { Type::DGRAM } else { Type::STREAM };
        let fd =
            spare(|| Socket::new(domain, kind, None)).map(OwnedFd::from).map_err(|e| Error::from_io("socket", &e))?;
        if family == Family::V6 {
            net::sockopt::set_ipv6_v6only(&fd, true).map_err(|e| failed("socket", e))?;
        }
        Ok(Bare::adopt(fd))
    }

    /// A socket that came from elsewhere.
    pub(crate) fn adopt(fd: OwnedFd) -> Bare {
        Bare { fd, bound: Cell::new(false) }
    }

    pub fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub fn bind(&self, at: &Bindable) -> Result<()> {
        net::bind(&self.fd, &at.addr()).map_err(|e| failed("bind", e))?;
        self.bound.set(true);
        Ok(())
    }

    /// Makes the file of a Unix socket, which stays when the socket is closed.
    pub fn bind_unix(&self, at: &GrantedPath) -> Result<()> {
        let address = SocketAddrUnix::new(at.path()).map_err(|e| failed("bind", e))?;
        net::bind(&self.fd, &address).map_err(|e| failed("bind", e))?;
        self.bound.set(true);
        Ok(())
    }

    /// True if one of the two above has bound it: without a bind, `listen` has the system pick a port, which nothing
    /// has granted.
    pub fn is_bound(&self) -> bool {
        self.bound.get()
    }

    /// Makes a listener of a bound socket.
    pub fn listen(&self, backlog: i32) -> Result<()> {
        net::listen(&self.fd, backlog).map_err(|e| failed("listen", e))?;
        // Another process may take the connection that ended a wait; only a listener is in non-blocking mode.
        rustix::io::ioctl_fionbio(&self.fd, true).map_err(|e| failed("listen", e))
    }

    /// The next connection.
    pub fn accept(&self, deadline: &Deadline) -> Result<Bare> {
        loop {
            match spare(|| SockRef::from(&self.fd).accept()) {
                Ok((socket, _)) => return Ok(Bare::adopt(socket.into())),
                Err(e) => match e.kind() {
                    io::ErrorKind::Interrupted => check_interrupt("accept")?,
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted => self.wait(Want::Read, deadline)?,
                    _ => return Err(Error::from_io("accept", &e)),
                },
            }
        }
    }

    /// Receives one datagram into `room`: how long it was, and who sent it.
    pub fn recv_from(&self, room: &mut [u8], deadline: &Deadline) -> Result<(usize, Option<Name>)> {
        loop {
            match net::recvfrom(&self.fd, &mut *room, RecvFlags::DONTWAIT) {
                Ok((count, _, from)) => return Ok((count.min(room.len()), from.and_then(name))),
                Err(Errno::INTR) => check_interrupt("recv")?,
                Err(Errno::AGAIN) => self.wait(Want::Read, deadline)?,
                Err(e) => return Err(failed("recv", e)),
            }
        }
    }

    /// Sends one datagram to the peer that the socket is connected to.
    pub fn send(&self, bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        self.transmit(deadline, |flags| net::send(&self.fd, bytes, flags))
    }

    /// Sends one datagram.
    pub fn send_to(&self, bytes: &[u8], to: &Permitted, deadline: &Deadline) -> Result<usize> {
        self.transmit(deadline, |flags| net::sendto(&self.fd, bytes, flags, &to.addr()))
    }

    /// Sends one datagram to a Unix socket.
    pub fn send_to_unix(&self, bytes: &[u8], to: &GrantedPath, deadline: &Deadline) -> Result<usize> {
        let named = Named::of(to)?;
        let address = SocketAddrUnix::new(named.path()).map_err(|e| failed("send", e))?;
        self.transmit(deadline, |flags| net::sendto(&self.fd, bytes, flags, &address))
    }

    fn transmit(&self, deadline: &Deadline, send: impl Fn(SendFlags) -> rustix::io::Result<usize>) -> Result<usize> {
        loop {
            match send(SENDING) {
                Ok(count) => return Ok(count),
                Err(Errno::INTR) => check_interrupt("send")?,
                Err(Errno::AGAIN) => self.wait(Want::Write, deadline)?,
                Err(e) => return Err(failed("send", e)),
            }
        }
    }

    /// Takes a datagram socket's peer away.
    pub fn disconnect(&self) -> Result<()> {
        net::connect_unspec(&self.fd).map_err(|e| failed("connect", e))
    }

    /// Waits until the socket can be read or written.
    pub fn wait(&self, want: Want, deadline: &Deadline) -> Result<()> {
        wait(self.fd.as_fd(), want, deadline, || "wait".into())
    }

    /// A stream of it. `peer` names the other end in messages.
    pub fn into_wire(self, peer: &str) -> Wire {
        Wire::adopt(self.fd, peer)
    }
}

impl AsFd for Bare {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Begins to connect a socket, or asks how far it is: it never waits.
pub fn connect(fd: impl AsFd, to: &Permitted) -> Result<Progress> {
    start(fd.as_fd(), |fd| net::connect(fd, &to.addr()))
}

/// The same for a Unix socket, where only a full backlog keeps a connection from standing at once.
pub fn connect_unix(fd: impl AsFd, to: &GrantedPath) -> Result<Progress> {
    let named = Named::of(to)?;
    let address = SocketAddrUnix::new(named.path()).map_err(|e| failed("connect", e))?;
    start(fd.as_fd(), |fd| net::connect(fd, &address))
}

fn start(fd: BorrowedFd<'_>, connect: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<()>) -> Result<Progress> {
    let mode = |on| rustix::io::ioctl_fionbio(fd, on).map_err(|e| failed("connect", e));
    mode(true)?;
    let done = loop {
        match connect(fd) {
            Err(Errno::INTR) => {}
            other => break other,
        }
    };
    // A listener, which cannot be connected, stays as `listen` has left it: in blocking mode `accept` has no deadline.
    mode(done.is_err() && option::get(fd, option::ACCEPTS).is_ok_and(|accepts| accepts != 0))?;
    match done {
        // On loopback a socket can meet itself when the port is in the ephemeral range and nobody listens.
        Ok(()) if meets_itself(fd) => Err(failed("connect", Errno::CONNREFUSED)),
        Ok(()) => Ok(Progress::Done),
        Err(Errno::INPROGRESS | Errno::AGAIN) => Ok(Progress::Started),
        Err(Errno::ALREADY) => Ok(Progress::UnderWay),
        Err(Errno::ISCONN) => Ok(Progress::Stands),
        Err(e) => Err(failed("connect", e)),
    }
}

/// Waits until a connection that was begun stands.
pub fn connected(fd: impl AsFd, deadline: &Deadline) -> Result<()> {
    let fd = fd.as_fd();
    wait(fd, Want::Write, deadline, || "connect".into())?;
    match net::sockopt::socket_error(fd) {
        Ok(Ok(())) if meets_itself(fd) => Err(failed("connect", Errno::CONNREFUSED)),
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) | Err(e) => Err(failed("connect", e)),
    }
}

fn meets_itself(fd: BorrowedFd<'_>) -> bool {
    matches!((local(fd), remote(fd)), (Ok(Name::Ip(here)), Ok(Name::Ip(there))) if here == there)
}

/// This end's address.
pub fn local(fd: impl AsFd) -> Result<Name> {
    let any = net::getsockname(fd).map_err(|e| failed("getsockname", e))?;
    name(any).ok_or_else(|| failed("getsockname", Errno::AFNOSUPPORT))
}

/// The other end's address.
pub fn remote(fd: impl AsFd) -> Result<Name> {
    let any = net::getpeername(fd).map_err(|e| failed("getpeername", e))?;
    any.and_then(name).ok_or_else(|| failed("getpeername", Errno::NOTCONN))
}

/// Ends one direction or both.
pub fn shutdown(fd: impl AsFd, how: Shutdown) -> Result<()> {
    let how = match how {
        Shutdown::Read => net::Shutdown::Read,
        Shutdown::Write => net::Shutdown::Write,
        Shutdown::Both => net::Shutdown::Both,
    };
    net::shutdown(fd, how).map_err(|e| failed("shutdown", e))
}

fn name(any: SocketAddrAny) -> Option<Name> {
    if let Ok(unix) = SocketAddrUnix::try_from(any.clone()) {
        return Some(Name::Path(unix.path_bytes().unwrap_or_default().to_vec()));
    }
    SocketAddr::try_from(any).ok().map(|ip| Name::Ip(unmap(ip)))
}

fn failed(what: &str, errno: Errno) -> Error {
    Error::from_io(what, &io::Error::from(errno))
}
