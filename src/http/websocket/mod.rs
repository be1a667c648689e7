//! WebSockets (RFC 6455) without I/O: [`frames`] and the [`handshake`]. `client::websocket` feeds them.

pub mod deflate;
pub mod extension;
pub mod frames;
pub mod handshake;
