//! Listening sockets, TCP and Unix. Bound only against a [`Bindable`] or a [`GrantedPath`].
//!
//! [`TlsListener`] shakes hands behind one of them.

mod tls;

pub use tls::{HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, TlsListener};

use crate::{
    deadline::{Deadline, SLICE, check_interrupt},
    descriptors::spare,
    error::{Error, Result},
    grants::{Bindable, GrantedPath},
    panics::{contained, failpoint},
    wire::{Want, Wire, unmap, wait},
    zone,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::PathBuf,
};

/// The kernel caps it further (`net.core.somaxconn`).
pub const BACKLOG: i32 = 1024;

/// A listening socket.
pub struct Listener {
    socket: Socket,
    name: Box<str>,
    file: Option<SocketFile>,
}

/// The file of a Unix socket, removed with the listener that made it.
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
    generation: u64,
}

impl Listener {
    /// Binds and listens. An IPv6 wildcard serves IPv6 only, so that each grant means one family.
    pub fn bind(at: &Bindable, backlog: i32) -> Result<Listener> {
        Listener::bind_shared(at, backlog, false)
    }

    /// The same; `shared` lets other processes of the same user bind the port, too, each with a queue of its own
    /// (`SO_REUSEPORT`).
    pub fn bind_shared(at: &Bindable, backlog: i32, shared: bool) -> Result<Listener> {
        let address = at.addr();
        let name = zone::endpoint(address);
        let what = format!("listen on {name}");
        let socket = tcp(address, backlog, shared).map_err(|e| zone::error(&what, address, &e))?;
        // Port 0 has become one that is real.
        let name = socket.local_addr().ok().and_then(|real| real.as_socket()).map_or(name, zone::endpoint);
        Ok(Listener { socket, name: name.into(), file: None })
    }

    /// Binds and listens on a path, which must not exist; the file goes when the listener does.
    pub fn bind_unix(at: &GrantedPath, backlog: i32) -> Result<Listener> {
        let name = format!("unix:{}", at.path().display());
        let what = format!("listen on {name}");
        let socket = unix(at, backlog).map_err(|e| {
            let err = Error::from_io(&what, &e);
            match e.kind() {
                io::ErrorKind::AddrInUse => err.context("the path exists; remove it if its listener has ended: "),
                _ => err,
            }
        })?;
        let file = std::fs::symlink_metadata(at.path()).ok().map(|meta| SocketFile {
            path: at.path().to_owned(),
            inode: (meta.dev(), meta.ino()),
            generation: crate::fork::generation(),
        });
        Ok(Listener { socket, name: name.into(), file })
    }

    /// The next connection.
    pub fn accept(&self, deadline: &Deadline) -> Result<Wire> {
        loop {
            let left = deadline.left();
            let asleep = left.is_none_or(|left| left >= SLICE);
            if !asleep {
                wait(self.socket.as_fd(), Want::Read, deadline, || format!("accept on {}", self.name))?;
            }
            match spare(|| self.socket.accept()) {
                Ok(accepted) => return Ok(self.wire(accepted)),
                // A slice ended.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock || is_passing(&e) => {
                    if deadline.is_past() {
                        return Err(deadline.error(&format!("accept on {}", self.name)));
                    }
                    check_interrupt("accept")?;
                }
                Err(e) => return Err(Error::from_io(&format!("accept on {}", self.name), &e)),
            }
        }
    }

    /// From here on [`accept_now`](Self::accept_now) takes connections, and nothing waits.
    pub fn unblock(&self) -> Result<()> {
        self.socket.set_nonblocking(true).map_err(|e| Error::from_io(&format!("listen on {}", self.name), &e))
    }

    /// What it is bound to, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of a Unix socket.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// A connection that is there already; `None` if there is none. For a socket that does not block. One try: whoever asks
    /// again after an error that passes looks at his deadline in between.
    pub fn accept_now(&self) -> io::Result<Option<Wire>> {
        match spare(|| self.socket.accept()) {
            Ok((socket, peer)) => {
                // Some systems let it inherit that it does not block.
                socket.set_nonblocking(false)?;
                Ok(Some(self.wire((socket, peer))))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn wire(&self, (socket, peer): (Socket, SockAddr)) -> Wire {
        failpoint("accept");
        match peer.as_socket() {
            Some(address) => Wire::accepted(socket, &zone::endpoint(unmap(address))),
            None => Wire::accepted(socket, &self.name),
        }
    }

    /// The bound address; `None` for a Unix socket.
    pub fn local(&self) -> Result<Option<SocketAddr>> {
        Ok(self.socket.local_addr().map_err(|e| Error::from_io("local address", &e))?.as_socket())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        contained(|| {
            // Only the file that this listener made, and not from a forked child that inherited the listener.
            let same = std::fs::symlink_metadata(&self.path)
                .is_ok_and(|meta| meta.file_type().is_socket() && (meta.dev(), meta.ino()) == self.inode);
            if same && self.generation == crate::fork::generation() {
                let _ = std::fs::remove_file(&self.path);
            }
            failpoint("drop of a listener");
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.file.take());
    }
}

/// True for what accept(2) says of a connection that went away again before it was accepted, and of a signal: the next one
/// may be good.
pub fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const PASSING: [Errno; 9] = [
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::PERM,
    ];
    PASSING.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[allow(clippy::disallowed_methods, reason = "the caller holds a Bindable")]
fn tcp(address: SocketAddr, backlog: i32, shared: bool) -> io::Result<Socket> {
    let socket = spare(|| Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    // An accept sleeps for one slice at the most, also where another process takes the connection that woke it.
    socket.set_read_timeout(Some(SLICE))?;
    socket.listen(backlog)?;
    Ok(socket)
}

#[allow(clippy::disallowed_methods, reason = "the caller holds a GrantedPath")]
fn unix(at: &GrantedPath, backlog: i32) -> io::Result<Socket> {
    let socket = spare(|| Socket::new(Domain::UNIX, Type::STREAM, None))?;
    socket.bind(&SockAddr::unix(at.path())?)?;
    // An accept sleeps for one slice at the most, also where another process takes the connection that woke it.
    socket.set_read_timeout(Some(SLICE))?;
    socket.listen(backlog)?;
    Ok(socket)
}
