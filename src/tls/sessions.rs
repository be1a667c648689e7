//! The TLS sessions of one client with one host, for connections that resume an earlier one (FTP's data connections).
//!
//! A ticket of TLS 1.3 is used once (RFC 8446, appendix C.4), and not every server sends a new one in return: so the
//! caller can ask whether one is left.

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tickets that are kept; a server that gives more has its oldest forgotten.
const TICKETS: usize = 8;

#[derive(Debug, Default)]
struct Kept {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Vec<Tls13ClientSessionValue>,
    /// A ticket was taken, and there was another one before.
    spent: bool,
}

/// Sessions of connections that are all to the same host.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Kept>);

impl Sessions {
    /// What a panic of another thread has left is whole.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if there were tickets and the last one was used: the next connection will resume nothing.
    pub fn is_spent(&self) -> bool {
        let kept = self.kept();
        kept.spent && kept.tls13.is_empty() && kept.tls12.is_none()
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.kept().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.kept().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.kept().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut kept = self.kept();
        if kept.tls13.len() >= TICKETS {
            kept.tls13.remove(0);
        }
        kept.tls13.push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut kept = self.kept();
        let ticket = kept.tls13.pop();
        kept.spent |= ticket.is_some();
        ticket
    }
}
