//! Mail, as far as it is no conversation: mailboxes, messages, their data, and what SASL computes. The conversations are the
//! front's (`lua/caspian/net/mail/`).
//!
//! Pure: bytes in, bytes out. No I/O, no clock, no random bytes of its own.

pub mod data;
pub mod imap;
pub mod mailbox;
pub mod message;
pub mod parsed;
pub mod sasl;
pub mod value;
