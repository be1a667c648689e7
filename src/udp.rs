//! Datagram sockets. Each datagram that leaves goes to a [`Permitted`] address; a local bind needs a [`Bindable`].

use crate::{
    deadline::{Deadline, check_interrupt},
    error::{Error, Kind, Result},
    grants::{Bindable, Permitted},
    panics::point,
    wire::{Want, unmap, wait},
};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

/// The largest datagram there is; what `recv` takes if the caller names nothing else.
pub const MAX_DATAGRAM: usize = 65_535;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Which addresses a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(ip: IpAddr) -> Family {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// A datagram socket.
pub struct Udp {
    socket: Socket,
    family: Family,
    connected: bool,
}

impl Udp {
    /// An unbound socket: the system picks the port at the first send.
    pub fn open(family: Family) -> Result<Udp> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(|e| Error::from_io("udp", &e))?;
        Ok(Udp { socket, family, connected: false })
    }

    /// A socket that receives at `at`. With `reuse`, others may bind it too (multicast).
    #[allow(clippy::disallowed_methods, reason = "the caller holds a Bindable")]
    pub fn bind(at: &Bindable, reuse: bool) -> Result<Udp> {
        let address = at.addr();
        let udp = Udp::open(Family::of(address.ip()))?;
        let bind = || {
            if reuse {
                udp.socket.set_reuse_address(true)?;
            }
            if address.is_ipv6() {
                udp.socket.set_only_v6(true)?;
            }
            udp.socket.bind(&address.into())
        };
        bind().map_err(|e| Error::from_io(&format!("udp_listen on {address}"), &e))?;
        Ok(udp)
    }

    /// Makes `to` the default peer: the only one that is sent to and heard. `peer` names it in messages.
    #[allow(clippy::disallowed_methods, reason = "the caller holds a Permitted")]
    pub fn connect(&mut self, peer: &str, to: &Permitted) -> Result<()> {
        self.socket.connect(&to.addr().into()).map_err(|e| Error::from_io(&format!("udp to {peer}"), &e))?;
        self.connected = true;
        Ok(())
    }

    pub fn family(&self) -> Family {
        self.family
    }

    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Sends one datagram to the default peer.
    pub fn send(&self, bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        if !self.connected {
            return Err(Error::new(Kind::Socket, "send: this udp socket has no default peer; use send_to"));
        }
        self.transmit("udp send", deadline, |flags| rustix::net::send(&self.socket, bytes, flags))
    }

    /// Sends one datagram. `peer` names the address in messages.
    pub fn send_to(&self, bytes: &[u8], peer: &str, to: &Permitted, deadline: &Deadline) -> Result<usize> {
        let address = to.addr();
        if Family::of(address.ip()) != self.family {
            let words = format!("send_to {peer}: the socket and the address are of different families (IPv4, IPv6)");
            return Err(Error::new(Kind::Socket, words));
        }
        let what = format!("udp send to {peer}");
        self.transmit(&what, deadline, |flags| rustix::net::sendto(&self.socket, bytes, flags, &address))
    }

    fn transmit(
        &self,
        what: &str,
        deadline: &Deadline,
        send: impl Fn(SendFlags) -> rustix::io::Result<usize>,
    ) -> Result<usize> {
        loop {
            match send(SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => return Ok(count),
                Err(Errno::AGAIN) => wait(self.socket.as_fd(), Want::Write, deadline, || what.to_owned())?,
                Err(Errno::INTR) => check_interrupt("send")?,
                Err(e) => return Err(Error::from_io(what, &e.into())),
            }
        }
    }

    /// Receives one datagram, cut at `max` bytes as datagram sockets do, and tells who sent it.
    pub fn recv_from(&self, max: usize, deadline: &Deadline) -> Result<(Vec<u8>, Option<SocketAddr>)> {
        SCRATCH.with(|scratch| {
            let mut scratch = scratch.borrow_mut();
            scratch.resize(MAX_DATAGRAM, 0);
            let room = scratch.get_mut(..max.min(MAX_DATAGRAM)).unwrap_or_default();
            loop {
                match rustix::net::recvfrom(&self.socket, &mut *room, RecvFlags::DONTWAIT) {
                    Ok((count, _, from)) => {
                        point("datagram");
                        let from = from.and_then(|a| SocketAddr::try_from(a).ok()).map(unmap);
                        return Ok((room.get(..count).unwrap_or_default().to_vec(), from));
                    }
                    Err(Errno::AGAIN) => wait(self.socket.as_fd(), Want::Read, deadline, || "udp recv".to_owned())?,
                    Err(Errno::INTR) => check_interrupt("recv")?,
                    Err(e) => return Err(Error::from_io("udp recv", &e.into())),
                }
            }
        })
    }

    /// The bound address, once there is one.
    pub fn local(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket().filter(|a| a.port() != 0)
    }

    /// The default peer.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()?.as_socket()
    }

    pub fn broadcast(&self) -> bool {
        self.socket.broadcast().unwrap_or(false)
    }

    pub fn set_broadcast(&self, on: bool) -> Result<()> {
        self.socket.set_broadcast(on).map_err(|e| Error::from_io("broadcast", &e))
    }

    /// Joins or leaves a multicast group, on the interface with that IPv4 address or, for IPv6, that index
    /// (0: the system's choice).
    pub fn membership(&self, join: bool, group: IpAddr, interface: Interface) -> Result<()> {
        let s = &self.socket;
        let done = match (group, join) {
            (IpAddr::V4(group), true) => s.join_multicast_v4(&group, &interface.v4),
            (IpAddr::V4(group), false) => s.leave_multicast_v4(&group, &interface.v4),
            (IpAddr::V6(group), true) => s.join_multicast_v6(&group, interface.index),
            (IpAddr::V6(group), false) => s.leave_multicast_v6(&group, interface.index),
        };
        let word = if join { "join" } else { "leave" };
        done.map_err(|e| Error::from_io(&format!("{word} {group}"), &e))
    }

    /// How many routers a multicast datagram may cross. Defaults to 1.
    pub fn set_multicast_ttl(&self, ttl: u32) -> Result<()> {
        match self.family {
            Family::V4 => self.socket.set_multicast_ttl_v4(ttl),
            Family::V6 => self.socket.set_multicast_hops_v6(ttl),
        }
        .map_err(|e| Error::from_io("multicast_ttl", &e))
    }

    /// Whether this machine hears its own multicast datagrams. Defaults to true.
    pub fn set_multicast_loop(&self, on: bool) -> Result<()> {
        match self.family {
            Family::V4 => self.socket.set_multicast_loop_v4(on),
            Family::V6 => self.socket.set_multicast_loop_v6(on),
        }
        .map_err(|e| Error::from_io("multicast_loop", &e))
    }

    /// The IPv4 interface that multicast datagrams leave by.
    pub fn set_multicast_interface(&self, interface: Interface) -> Result<()> {
        match self.family {
            Family::V4 => self.socket.set_multicast_if_v4(&interface.v4),
            Family::V6 => self.socket.set_multicast_if_v6(interface.index),
        }
        .map_err(|e| Error::from_io("multicast_interface", &e))
    }
}

/// A network interface, as each family names it.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    pub v4: Ipv4Addr,
    pub index: u32,
}

impl Interface {
    /// The system's choice.
    pub const ANY: Interface = Interface { v4: Ipv4Addr::UNSPECIFIED, index: 0 };
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
