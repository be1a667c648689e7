//! TLS over any byte transport: client and server, built on rustls. All cryptography is done by rustls.
//!
//! [`ClientTls`] and [`ServerTls`] are configurations, made once; [`Tls`] is one connection. May touch its transport
//! and, once per process, the machine's trust store. Never reads the environment (`SSL_CERT_FILE`, `SSL_CERT_DIR`,
//! `SSLKEYLOGFILE` are ignored), never opens a file that a caller names: certificates and keys are passed as PEM.

pub(crate) mod algorithms;
pub(crate) mod cert;
mod client;
pub(crate) mod der;
mod fault;
mod gauge;
#[doc(hidden)]
pub mod pem;
mod records;
pub(crate) mod roots;
pub(crate) mod sealed;
mod server;
mod sessions;
pub(crate) mod shown;
mod stream;
pub(crate) mod trust;

pub use cert::{PeerCert, fingerprint};
pub use client::{ClientConfigs, ClientOptions, ClientTls, Identity, SharedOptions};
pub use roots::{Ca, is_machine_path};
pub use server::{ClientAuth, ServerOptions, ServerTls};
pub use sessions::Sessions;
pub use stream::Tls;

use crate::{
    crypto,
    deadline::Deadline,
    error::{Error, Kind, Result},
};
use rustls::{SupportedProtocolVersion, crypto::CryptoProvider};
use std::sync::{Arc, OnceLock};

/// What TLS runs over: a connected socket, or another TLS connection (an https proxy).
pub trait Transport {
    /// Reads what is there, waiting until something is; 0 at end of stream.
    fn read(&mut self, buf: &mut [u8], deadline: &Deadline) -> Result<usize>;
    /// Reads what is there; `None` if nothing is, without a wait.
    fn read_now(&mut self, buf: &mut [u8]) -> Result<Option<usize>>;
    /// Writes some of `bytes`, waiting until at least one byte is taken.
    fn write(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<usize>;
    /// Writes what is taken now; `None` if nothing is.
    fn write_now(&mut self, bytes: &[u8]) -> Result<Option<usize>>;
    /// The other end, as the caller named it, for messages.
    fn peer(&self) -> &str;
}

/// The protocol versions that are spoken, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// RFC 5246, with forward secrecy and AEAD suites only.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    pub const ALL: [Version; 2] = [Version::Tls12, Version::Tls13];

    /// `TLSv1.2` or `TLSv1.3`, as the `protocols` option spells them; `None` for every other word.
    pub fn parse(word: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|v| v.word() == word)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        }
    }

    pub(crate) fn rustls(self) -> &'static SupportedProtocolVersion {
        match self {
            Version::Tls12 => &rustls::version::TLS12,
            Version::Tls13 => &rustls::version::TLS13,
        }
    }
}

/// The versions that an option names; both if it names none.
fn versions(protocols: &[Version]) -> Vec<&'static SupportedProtocolVersion> {
    Version::ALL.into_iter().filter(|v| protocols.is_empty() || protocols.contains(v)).map(Version::rustls).collect()
}

/// Refuses ALPN names that no ClientHello can hold (RFC 7301, section 3.1: 1 to 255 bytes, a list of 65535).
fn check_alpn(alpn: &[Vec<u8>]) -> Result<()> {
    if let Some(bad) = alpn.iter().find(|name| !(1..=255).contains(&name.len())) {
        return Err(wrong("alpn", format!("a protocol name has 1 to 255 bytes, got {}", bad.len())));
    }
    if alpn.iter().map(|name| name.len() + 1).sum::<usize>() > 0x4000 {
        return Err(wrong("alpn", "the names are too long together"));
    }
    Ok(())
}

/// A wrong option: the caller's fault, named.
fn wrong(option: &str, message: impl std::fmt::Display) -> Error {
    Error::new(Kind::Tls, format!("{option}: {message}"))
}

/// The name of the cryptography.
pub const PROVIDER: &str = crypto::NAME;

/// The cryptography of every connection, made once.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(crypto::default_provider())).clone()
}
