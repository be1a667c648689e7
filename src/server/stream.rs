//! One accepted connection, plain or TLS, read and written without waiting.

use crate::{
    deadline::Deadline,
    error::{Kind, Result},
    tls::Tls,
    wire::Wire,
};
use std::{net::Shutdown, time::Duration};

pub(super) enum Stream {
    Plain(Wire),
    Tls(Box<Tls<Wire>>),
}

impl Stream {
    pub fn wire(&self) -> &Wire {
        match self {
            Stream::Plain(wire) => wire,
            Stream::Tls(tls) => tls.transport(),
        }
    }

    pub fn tls(&self) -> Option<&Tls<Wire>> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => Some(tls),
        }
    }

    /// A forked child goes on with it.
    pub fn adopt(&mut self) {
        if let Stream::Tls(tls) = self {
            tls.adopt();
        }
    }

    /// Another process goes on with it.
    pub fn abandon(&mut self) {
        if let Stream::Tls(tls) = self {
            tls.abandon();
        }
    }

    /// Goes on with the handshake as far as its bytes are there; true once it is done.
    pub fn shake(&mut self) -> Result<bool> {
        match self {
            Stream::Plain(_) => Ok(true),
            Stream::Tls(tls) => match tls.shake(&Deadline::after(Duration::ZERO)) {
                Ok(()) => Ok(true),
                Err(error) if error.is(Kind::Timeout) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// What is there; `None` if nothing is, 0 at end of stream.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        match self {
            Stream::Plain(wire) => wire.read_now(buf),
            Stream::Tls(tls) => tls.read_now(buf),
        }
    }

    /// Writes what is taken now; `None` if nothing is.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        match self {
            Stream::Plain(wire) => wire.write_now(bytes),
            Stream::Tls(tls) => tls.write_now(bytes),
        }
    }

    /// True once everything that was written is the kernel's.
    pub fn flush(&mut self) -> Result<bool> {
        match self {
            Stream::Plain(_) => Ok(true),
            Stream::Tls(tls) => {
                if tls.is_behind() {
                    tls.write_now(&[])?;
                }
                Ok(!tls.is_behind())
            }
        }
    }

    /// True if a read that fills less than its buffer has taken all that the kernel had.
    pub fn tells_all(&self) -> bool {
        matches!(self, Stream::Plain(_))
    }

    /// True if bytes are decrypted already: no event of the socket tells of them.
    pub fn is_ready(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.ready(),
        }
    }

    /// Ends our direction.
    pub fn finish(&mut self) {
        if let Stream::Tls(tls) = self {
            tls.close_notify();
        }
        let _ = self.wire().shutdown(Shutdown::Write);
    }
}
