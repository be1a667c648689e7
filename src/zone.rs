//! The zones of link-local addresses on this machine: the name of an interface stands for its index, and addresses
//! received there are shown with the name, so that an answer goes back through it (RFC 4007 §11).
//!
//! Asks about interfaces only, and changes nothing.

use crate::{
    address::{Zone, is_link_local},
    error::{Error, Kind, Result},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};

/// The index of the interface. A name comes before the number that it might be, as with getaddrinfo(3).
pub fn index(zone: &Zone) -> Result<u32> {
    let text = zone.as_str();
    let failed = |e: io::Error| Error::from_io(&format!("zone %{text}"), &e);
    if let Some(index) = system::index(text).map_err(failed)? {
        return Ok(index);
    }
    // What leads to no interface is unreachable, says the kernel.
    zone.index().ok_or_else(|| Error::new(Kind::Socket, format!("zone %{text}: this machine has no such interface")))
}

/// The host part of an address that the kernel told: `fe80::1%eth0`. An interface that is gone leaves its index.
pub fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) => named(address.ip(), v6.scope_id()),
        SocketAddr::V4(v4) => v4.ip().to_string(),
    }
}

/// An address in the zone with that index; 0 is none.
pub fn named(ip: IpAddr, zone: u32) -> String {
    match zone {
        0 => ip.to_string(),
        index => {
            let name = system::name(index).ok().flatten().unwrap_or_else(|| index.to_string());
            format!("{ip}%{name}")
        }
    }
}

/// The address with its port: `[fe80::1%eth0]:80`.
pub fn endpoint(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("[{}]:{}", host(address), v6.port()),
        other => other.to_string(),
    }
}

/// What the kernel says of an address, with what it leaves unsaid: to it a link-local one that lacks its zone is only an
/// invalid argument.
pub fn error(what: &str, address: SocketAddr, e: &io::Error) -> Error {
    let error = Error::from_io(what, e);
    match address {
        SocketAddr::V6(v6)
            if v6.scope_id() == 0 && is_link_local(*v6.ip()) && e.kind() == io::ErrorKind::InvalidInput =>
        {
            error.context(&format!("a link-local address needs its zone, as in {}%eth0: ", v6.ip()))
        }
        _ => error,
    }
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::{
        fd::OwnedFd,
        io::Errno,
        net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with},
    };
    use std::io;

    /// netdevice(7) is asked through a socket, whichever it is.
    fn any() -> Result<OwnedFd, Errno> {
        socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
    }

    fn known<T>(answer: Result<T, Errno>) -> io::Result<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Errno::NODEV | Errno::NXIO) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub fn index(name: &str) -> io::Result<Option<u32>> {
        known(netdevice::name_to_index(any()?, name))
    }

    pub fn name(index: u32) -> io::Result<Option<String>> {
        known(netdevice::index_to_name(any()?, index))
    }
}

/// Elsewhere a zone is its index.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    pub fn index(_: &str) -> io::Result<Option<u32>> {
        Ok(None)
    }

    pub fn name(index: u32) -> io::Result<Option<String>> {
        Ok(Some(index.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn names_and_indices() {
        let index_of = |text: &str| index(&Zone::parse(text).unwrap());
        let lo = index_of("lo").unwrap();
        assert_eq!(index_of(&lo.to_string()).unwrap(), lo);
        assert_eq!(index_of("4294967295").unwrap(), u32::MAX);
        for text in ["no-such-iface", "4294967296", "0"] {
            let error = index_of(text).unwrap_err().to_string();
            assert!(error.ends_with(&format!("zone %{text}: this machine has no such interface")), "{error}");
        }
        let told = |zone| SocketAddr::V6(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, zone));
        assert_eq!((host(told(lo)), endpoint(told(lo))), ("fe80::1%lo".into(), "[fe80::1%lo]:80".into()));
        assert_eq!(host(told(u32::MAX)), "fe80::1%4294967295");
        assert_eq!((host(told(0)), endpoint(told(0))), ("fe80::1".into(), "[fe80::1]:80".into()));
    }
}
