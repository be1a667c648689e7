//! The proofs: values that only the gate makes, and without which no socket is opened, bound or looked up.

use crate::address::{Endpoint, Host};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A host and a port that passed by name, before DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Granted(pub(super) Endpoint);

impl Granted {
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Zero in the proof of [`super::Grants::lookup`], which opens no connection.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.0
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
