//! The options of a server, with their defaults.

use super::Spill;
use crate::http::incoming::Limits;
use std::time::Duration;

/// What a server is told once.
#[derive(Clone)]
pub struct Options {
    pub limits: Limits,
    /// Bytes of a body that may be in memory. Defaults to 1 MiB.
    pub memory: u64,
    /// Bytes of all bodies together that may be in memory before the script has them. Defaults to 256 MiB.
    pub buffered: u64,
    pub spill: Option<Spill>,
    /// For a head, from its first byte on. Defaults to 10 s.
    pub head_timeout: Duration,
    /// From here on a body comes at [`Options::body_rate`] at least. Defaults to 10 s.
    pub body_grace: Duration,
    /// Bytes a second. Defaults to 1 KiB.
    pub body_rate: u64,
    /// From here on a client takes what waits for it at [`Options::send_rate`] at least. Defaults to 10 s.
    pub send_grace: Duration,
    /// Bytes a second. Defaults to 1 KiB.
    pub send_rate: u64,
    /// Between requests, and for a client that takes nothing of an answer. Defaults to 75 s.
    pub idle_timeout: Duration,
    /// Of TLS. Defaults to 10 s.
    pub handshake_timeout: Duration,
    /// For what is under way when the server stops. Defaults to 10 s.
    pub drain_timeout: Duration,
    /// Connections at a time; others wait in the kernel. Defaults to 10,000.
    pub connections: usize,
    /// Requests on one connection. Defaults to 1,000.
    pub requests: u32,
    /// HTTP/2 is spoken: where ALPN has chosen it, and over cleartext with a client that begins with it. Defaults to yes where it is built in.
    pub http2: bool,
    /// Whoever runs the server wants to know of refusals, and of answers.
    pub tells_refusals: bool,
    pub tells_answers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            limits: Limits::default(),
            memory: 1 << 20,
            buffered: 256 << 20,
            spill: None,
            head_timeout: Duration::from_secs(10),
            body_grace: Duration::from_secs(10),
            body_rate: 1024,
            send_grace: Duration::from_secs(10),
            send_rate: 1024,
            idle_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            connections: 10_000,
            requests: 1000,
            http2: cfg!(feature = "http2"),
            tells_refusals: false,
            tells_answers: false,
        }
    }
}
