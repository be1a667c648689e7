//! The pure half of mail: mailboxes, messages, their data, and the computations of SASL. The front runs the protocols
//! (`lua/caspian/net/mail/`).
//!
//! Pure: bytes in, bytes out. No I/O, no clock, no random bytes of its own.

pub mod data;
pub mod imap;
pub mod mailbox;
pub mod message;
pub mod parsed;
pub mod sasl;
pub mod value;
