//! The proofs: values that only the gate makes, and without which no socket is opened, bound or looked up.

use crate::address::{Endpoint, Host};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A host and a port that passed by name, before DNS. A grant covers every zone of an address, so the zone is the
/// caller's to choose: 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Granted {
    pub(super) endpoint: Endpoint,
    pub(super) zone: u32,
}

impl Granted {
    pub fn host(&self) -> &Host {
        &self.endpoint.host
    }

    /// Zero in the proof of [`super::Grants::lookup`], which opens no connection.
    pub fn port(&self) -> u16 {
        self.endpoint.port
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address that it is, if it is no name: with its zone.
    pub fn addr(&self) -> Option<SocketAddr> {
        Some(within(SocketAddr::new(self.host().ip()?, self.port()), self.zone))
    }

    /// The same address in the zone of the interface with that index.
    pub fn in_zone(self, zone: u32) -> Granted {
        Granted { zone, ..self }
    }
}

/// An address that passed, behind a host that passed: it may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permitted(pub(super) SocketAddr);

impl Permitted {
    pub fn addr(&self) -> SocketAddr {
        self.0
    }
}

/// An interface and a port that may be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bindable(pub(super) SocketAddr);

impl Bindable {
    pub fn addr(&self) -> SocketAddr {
        self.0
    }

    /// The same address in the zone of the interface with that index.
    pub fn in_zone(self, zone: u32) -> Bindable {
        Bindable(within(self.0, zone))
    }
}

/// An address in a zone.
pub(super) fn within(address: SocketAddr, zone: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) => {
            v6.set_scope_id(zone);
            v6.into()
        }
        SocketAddr::V4(_) => address,
    }
}

/// The path of a Unix socket that may be connected to, or bound: whichever it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrantedPath {
    pub(super) path: PathBuf,
    pub(super) links: Links,
}

/// What becomes of a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Links {
    /// The directory is granted: a link in it would lead to a socket that is elsewhere.
    Refused,
    /// The path is granted, and with it what the machine has there.
    Followed,
}

impl GrantedPath {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn links(&self) -> Links {
        self.links
    }
}
