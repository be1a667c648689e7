//! Socket options by their numbers, for programs that name them: most are an `int`, and only those use the C interface
//! here.
#![allow(unsafe_code)]

use super::failed;
use crate::error::Result;
use rustix::{io::Errno, net::sockopt};
use std::{
    ffi::c_int,
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

/// Where an option is found: its level and its number.
pub type Key = (c_int, c_int);

pub const REUSE_ADDRESS: Key = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
pub const REUSE_PORT: Key = (libc::SOL_SOCKET, libc::SO_REUSEPORT);
pub const KEEPALIVE: Key = (libc::SOL_SOCKET, libc::SO_KEEPALIVE);
pub const DONT_ROUTE: Key = (libc::SOL_SOCKET, libc::SO_DONTROUTE);
pub const BROADCAST: Key = (libc::SOL_SOCKET, libc::SO_BROADCAST);
pub const RECEIVE_BUFFER: Key = (libc::SOL_SOCKET, libc::SO_RCVBUF);
pub const SEND_BUFFER: Key = (libc::SOL_SOCKET, libc::SO_SNDBUF);
pub const NO_DELAY: Key = (libc::IPPROTO_TCP, libc::TCP_NODELAY);
#[cfg(not(target_vendor = "apple"))]
pub const KEEP_IDLE: Key = (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE);
#[cfg(target_vendor = "apple")]
pub const KEEP_IDLE: Key = (libc::IPPROTO_TCP, libc::TCP_KEEPALIVE);
pub const KEEP_COUNT: Key = (libc::IPPROTO_TCP, libc::TCP_KEEPCNT);
pub const KEEP_INTERVAL: Key = (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL);
#[cfg(target_os = "linux")]
pub const DEFER_ACCEPT: Key = (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT);
pub const FAST_OPEN: Key = (libc::IPPROTO_TCP, libc::TCP_FASTOPEN);
#[cfg(target_os = "linux")]
pub const FAST_OPEN_CONNECT: Key = (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT);
pub const ACCEPTS: Key = (libc::SOL_SOCKET, libc::SO_ACCEPTCONN);
pub const V6_ONLY: Key = (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);
pub const V6_HOPS: Key = (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS);
pub const V6_MULTICAST_HOPS: Key = (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS);
pub const V6_MULTICAST_LOOP: Key = (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP);
pub const MULTICAST_TTL: Key = (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL);
pub const MULTICAST_LOOP: Key = (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP);

/// Sets an option that is an `int`.
pub fn set(fd: BorrowedFd<'_>, (level, name): Key, value: i32) -> Result<()> {
    let value: c_int = value;
    // SAFETY: the descriptor is open while it is borrowed; the pointer and the length are those of a living `int`.
    let done = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<c_int>() as libc::socklen_t)
    };
    if done == 0 { Ok(()) } else { Err(last("setsockopt")) }
}

/// Reads an option that is an `int`.
pub fn get(fd: BorrowedFd<'_>, (level, name): Key) -> Result<i32> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: as in `set`; the kernel writes at most `length` bytes.
    let done = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    if done == 0 { Ok(value) } else { Err(last("getsockopt")) }
}

fn last(what: &str) -> crate::error::Error {
    crate::error::Error::from_io(what, &io::Error::last_os_error())
}

/// What a close does with bytes that were not sent: waits for that many seconds, or nothing special.
pub fn linger(fd: BorrowedFd<'_>) -> Result<Option<u64>> {
    sockopt::socket_linger(fd).map(|time| time.map(|t| t.as_secs())).map_err(|e| failed("getsockopt", e))
}

pub fn set_linger(fd: BorrowedFd<'_>, seconds: Option<u64>) -> Result<()> {
    sockopt::set_socket_linger(fd, seconds.map(Duration::from_secs)).map_err(|e| failed("setsockopt", e))
}

/// The pending error of a socket, which is cleared.
pub fn take_error(fd: BorrowedFd<'_>) -> Result<()> {
    sockopt::socket_error(fd).and_then(|error| error).map_err(|e| failed("getsockopt", e))
}

pub fn multicast_interface(fd: BorrowedFd<'_>) -> Result<Ipv4Addr> {
    sockopt::ip_multicast_if(fd).map_err(|e| failed("getsockopt", e))
}

pub fn set_multicast_interface(fd: BorrowedFd<'_>, interface: Ipv4Addr) -> Result<()> {
    sockopt::set_ip_multicast_if(fd, &interface).map_err(|e| failed("setsockopt", e))
}

/// Joins or leaves a multicast group, on the IPv4 interface with that address or the IPv6 one with that index.
pub fn membership(fd: BorrowedFd<'_>, join: bool, group: IpAddr, v4: Ipv4Addr, index: u32) -> Result<()> {
    let done = match (group, join) {
        (IpAddr::V4(group), true) => sockopt::set_ip_add_membership(fd, &group, &v4),
        (IpAddr::V4(group), false) => sockopt::set_ip_drop_membership(fd, &group, &v4),
        (IpAddr::V6(group), true) => sockopt::set_ipv6_add_membership(fd, &group, index),
        (IpAddr::V6(group), false) => sockopt::set_ipv6_drop_membership(fd, &group, index),
    };
    done.map_err(|e| failed("setsockopt", e))
}

/// The interface that the socket is tied to; empty for none.
pub fn device(fd: impl AsFd) -> Result<Vec<u8>> {
    let name =
        interface::of(&socket2::SockRef::from(&fd)).map_err(|e| crate::error::Error::from_io("getsockopt", &e))?;
    Ok(name.unwrap_or_default())
}

pub fn set_device(fd: impl AsFd, name: &[u8]) -> Result<()> {
    let name = if name.is_empty() { None } else { Some(name) };
    if name.is_some_and(|name| name.contains(&0)) {
        return Err(failed("setsockopt", Errno::INVAL));
    }
    interface::tie(&socket2::SockRef::from(&fd), name).map_err(|e| crate::error::Error::from_io("setsockopt", &e))
}

/// A socket's tie to an interface by its name, which is Linux's (SO_BINDTODEVICE).
#[cfg(target_os = "linux")]
mod interface {
    use std::io;

    pub fn of(socket: &socket2::SockRef<'_>) -> io::Result<Option<Vec<u8>>> {
        socket.device()
    }

    pub fn tie(socket: &socket2::SockRef<'_>, name: Option<&[u8]>) -> io::Result<()> {
        socket.bind_device(name)
    }
}

#[cfg(not(target_os = "linux"))]
mod interface {
    use rustix::io::Errno;
    use std::io;

    pub fn of(_: &socket2::SockRef<'_>) -> io::Result<Option<Vec<u8>>> {
        Err(Errno::NOPROTOOPT.into())
    }

    pub fn tie(_: &socket2::SockRef<'_>, _: Option<&[u8]>) -> io::Result<()> {
        Err(Errno::NOPROTOOPT.into())
    }
}
