//! Datagram sockets. Each datagram that leaves goes to a [`Permitted`] address; a local bind needs a [`Bindable`].

use crate::{
    allocation,
    deadline::{Deadline, check_interrupt},
    descriptors::spare,
    error::{Error, Kind, Result},
    grants::{Bindable, Permitted},
    panics::failpoint,
    wire::{SENDING, Want, unmap, wait},
    zone,
};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::{
    cell::RefCell,
    io,
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
        let socket =
            spare(|| Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))).map_err(|e| Error::from_io("udp", &e))?;
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
        bind().map_err(|e| zone::error(&format!("udp_listen on {}", zone::endpoint(address)), address, &e))?;
        Ok(udp)
    }

    /// Makes `to` the default peer: the only one that is sent to and heard. `peer` names it in messages.
    #[allow(clippy::disallowed_methods, reason = "the caller holds a Permitted")]
    pub fn connect(&mut self, peer: &str, to: &Permitted) -> Result<()> {
        let address = to.addr();
        let done = self.socket.connect(&address.into());
        done.map_err(|e| zone::error(&format!("udp to {peer}"), address, &e))?;
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
        let failed = |e: &io::Error| Error::from_io("udp send", e);
        self.transmit("udp send", deadline, failed, |flags| rustix::net::send(&self.socket, bytes, flags))
    }

    /// Sends one datagram. `peer` names the address in messages.
    pub fn send_to(&self, bytes: &[u8], peer: &str, to: &Permitted, deadline: &Deadline) -> Result<usize> {
        let address = to.addr();
        if Family::of(address.ip()) != self.family {
            let message = format!("send_to {peer}: the socket and the address are of different families (IPv4, IPv6)");
            return Err(Error::new(Kind::Socket, message));
        }
        let what = format!("udp send to {peer}");
        let failed = |e: &io::Error| zone::error(&what, address, e);
        self.transmit(&what, deadline, failed, |flags| rustix::net::sendto(&self.socket, bytes, flags, &address))
    }

    fn transmit(
        &self,
        what: &str,
        deadline: &Deadline,
        failed: impl Fn(&io::Error) -> Error,
        send: impl Fn(SendFlags) -> rustix::io::Result<usize>,
    ) -> Result<usize> {
        loop {
            match send(SENDING) {
                Ok(count) => return Ok(count),
                Err(Errno::AGAIN) => wait(self.socket.as_fd(), Want::Write, deadline, || what.to_owned())?,
                Err(Errno::INTR) => check_interrupt("send")?,
                Err(e) => return Err(failed(&e.into())),
            }
        }
    }

    /// Receives one datagram, cut at `max` bytes as datagram sockets do, and tells who sent it.
    pub fn recv_from(&self, max: usize, deadline: &Deadline) -> Result<(Vec<u8>, Option<SocketAddr>)> {
        // Taken, not borrowed: a signal's handler that runs during the wait may receive, too.
        let mut scratch = SCRATCH.take();
        allocation::lengthen(&mut scratch, MAX_DATAGRAM)?;
        let room = scratch.get_mut(..max.min(MAX_DATAGRAM)).unwrap_or_default();
        let received = loop {
            match rustix::net::recvfrom(&self.socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((count, _, from)) => {
                    failpoint("datagram");
                    let from = from.and_then(|a| SocketAddr::try_from(a).ok()).map(unmap);
                    break allocation::copied(room.get(..count).unwrap_or_default()).map(|bytes| (bytes, from));
                }
                Err(Errno::AGAIN) => {
                    if let Err(e) = wait(self.socket.as_fd(), Want::Read, deadline, || self.receiving()) {
                        break Err(e);
                    }
                }
                Err(Errno::INTR) => {
                    if let Err(e) = check_interrupt("recv") {
                        break Err(e);
                    }
                }
                Err(e) => break Err(Error::from_io(&self.receiving(), &e.into())),
            }
        };
        SCRATCH.set(scratch);
        received
    }

    fn receiving(&self) -> String {
        self.local()
            .ok()
            .flatten()
            .map_or_else(|| "udp recv".to_owned(), |at| format!("udp recv on {}", zone::endpoint(at)))
    }

    /// The bound address, once there is one.
    pub fn local(&self) -> Result<Option<SocketAddr>> {
        let found = self.socket.local_addr().map_err(|e| Error::from_io("local address", &e))?;
        Ok(found.as_socket().filter(|a| a.port() != 0))
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

    /// Joins or leaves a multicast group on an interface.
    pub fn membership(&self, join: bool, group: IpAddr, interface: Interface) -> Result<()> {
        let s = &self.socket;
        let done = match (group, join) {
            (IpAddr::V4(group), true) => s.join_multicast_v4_n(&group, &interface.v4()),
            (IpAddr::V4(group), false) => s.leave_multicast_v4_n(&group, &interface.v4()),
            (IpAddr::V6(group), true) => s.join_multicast_v6(&group, interface.v6()?),
            (IpAddr::V6(group), false) => s.leave_multicast_v6(&group, interface.v6()?),
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

    /// The interface that multicast datagrams leave by.
    pub fn set_multicast_interface(&self, interface: Interface) -> Result<()> {
        match (self.family, interface) {
            (Family::V4, Interface::Address(address)) => self.socket.set_multicast_if_v4(&address),
            (Family::V4, Interface::Index(index)) => by_index(&self.socket, index),
            (Family::V6, _) => self.socket.set_multicast_if_v6(interface.v6()?),
        }
        .map_err(|e| Error::from_io("multicast_interface", &e))
    }
}

/// A network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// By its number.
    Index(u32),
    /// The one that has this address, for IPv4.
    Address(Ipv4Addr),
}

impl Interface {
    /// The system's choice.
    pub const ANY: Interface = Interface::Index(0);

    fn v4(self) -> InterfaceIndexOrAddress {
        match self {
            Interface::Index(index) => InterfaceIndexOrAddress::Index(index),
            Interface::Address(address) => InterfaceIndexOrAddress::Address(address),
        }
    }

    fn v6(self) -> Result<u32> {
        match self {
            Interface::Index(index) => Ok(index),
            Interface::Address(address) => {
                let message =
                    format!("{address} names no interface to IPv6: give its name or its index, as in \"eth0\"");
                Err(Error::new(Kind::Socket, message))
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn by_index(socket: &Socket, index: u32) -> io::Result<()> {
    let any = Ipv4Addr::UNSPECIFIED;
    Ok(rustix::net::sockopt::set_ip_multicast_if_with_ifindex(socket, &any, &any, index)?)
}

/// Elsewhere an address is how IPv4 names an interface.
#[cfg(not(target_os = "linux"))]
fn by_index(_: &Socket, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
