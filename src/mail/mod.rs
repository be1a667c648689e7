//! Mail, as far as it is no conversation: what SASL computes. The conversations are the front's (`lua/caspian/net/mail/`).
//!
//! Pure: bytes in, bytes out. No I/O, no clock, no random bytes of its own.

pub mod sasl;
