//! The handshake of an `SSL connection`, over several calls; each waits at most for its timeouts.

use super::{
    messages::{BUSY, Fail, Text, Why},
    object::{Clock, Item},
    ssl::{CUT, SslConn, State},
    ssl_context::SslContext,
};
use crate::{
    compat::tls::{Greeting, Hello, Refusal, Secret, UNRECOGNIZED_NAME, reason, refused},
    conn::Conn,
    tls::Tls,
    wire::Wire,
};
use std::sync::Arc;

/// Before there is TLS.
pub enum Begin {
    /// No socket yet, or TLS has it.
    Nothing,
    /// A socket, and the bytes that came before the handshake.
    Plain(Wire, Vec<u8>),
    /// A server that waits for the client's first words.
    Greeting(Wire, Box<Greeting>),
    /// A server that has them and must decide.
    Heard(Wire, Vec<u8>),
}

/// What a step of the handshake came to.
pub enum Step {
    Done,
    /// The client's first words: who answers, and with which protocol, is to be said with [`SslConn::choose`].
    Hello(Hello),
    Failed(Fail),
}

impl Step {
    fn failed(why: impl Into<Why>) -> Step {
        Step::Failed(Fail::Message(why.into()))
    }
}

impl SslConn {
    /// Goes on with the handshake. `first`: a call begins, and with it its clock.
    pub fn shake(&self, first: bool) -> Step {
        match self.state.get() {
            State::Closed => return Step::failed(Why::Closed),
            State::Connected => return Step::Done,
            State::New => {}
        }
        if let Some(message) = &*self.failed.borrow() {
            return Step::failed(message.clone());
        }
        let Ok(mut clock) = self.clock.try_borrow_mut() else { return Step::failed(BUSY) };
        if first {
            *clock = None;
        }
        let Ok(new) = self.timeouts.get().start() else { return Step::failed(Why::Timeout) };
        let clock = clock.get_or_insert(new);
        if let Some(cap) = &*self.cap.borrow()
            && !cap.net.is_alive()
        {
            return Step::failed(Why::Closed);
        }
        let step = match self.begin(clock).unwrap_or_else(|| self.go_on(clock)) {
            Step::Failed(fail) => Step::Failed(self.slot.ending(fail)),
            step => step,
        };
        match &step {
            Step::Done => {
                self.state.set(State::Connected);
                self.want.set("nothing");
            }
            Step::Failed(Fail::Message(Why::WantRead)) => self.want.set("read"),
            Step::Failed(Fail::Message(Why::WantWrite)) => self.want.set("write"),
            // The next call goes on.
            Step::Failed(Fail::Interrupted | Fail::Argument(..)) => {}
            Step::Failed(Fail::Message(message)) => {
                // OpenSSL has read to its end what it refuses itself; where the peer fails, it still wants to read.
                let refused = self.with(|conn| conn.session().is_some_and(refused)).unwrap_or(false);
                self.want.set(if refused { "nothing" } else { "read" });
                *self.failed.borrow_mut() = Some(message.clone());
            }
            Step::Hello(_) => {}
        }
        step
    }

    /// Up to the point where there is TLS; `None` once there is.
    fn begin(&self, clock: &Clock) -> Option<Step> {
        let Ok(mut begin) = self.begin.try_borrow_mut() else { return Some(Step::failed(BUSY)) };
        loop {
            match std::mem::replace(&mut *begin, Begin::Nothing) {
                Begin::Nothing => {
                    return matches!(self.slot.look().as_deref(), Ok(Item::None)).then_some(Step::failed(Why::Closed));
                }
                Begin::Plain(wire, early) if self.is_server => {
                    let mut greeting = Box::new(Greeting::default());
                    match greeting.feed(&early) {
                        Ok(None) => *begin = Begin::Greeting(wire, greeting),
                        heard => return Some(self.heard(&mut begin, wire, *greeting, heard)),
                    }
                }
                Begin::Plain(wire, early) => {
                    let made = self.built.borrow().client(wire, &early, self.name.borrow().as_deref());
                    return self.secured(made);
                }
                Begin::Greeting(wire, mut greeting) => {
                    // A usual greeting is a tenth of it.
                    let mut bytes = vec![0; 16 * 1024];
                    let count = match clock.wait(|deadline| wire.read(&mut bytes, deadline)) {
                        Ok(0) => return Some(Step::failed(CUT)),
                        Ok(count) => count,
                        Err(error) => {
                            *begin = Begin::Greeting(wire, greeting);
                            return Some(Step::Failed(self.below(&error, Why::WantRead)));
                        }
                    };
                    match greeting.feed(bytes.get(..count).unwrap_or_default()) {
                        Ok(None) => *begin = Begin::Greeting(wire, greeting),
                        heard => return Some(self.heard(&mut begin, wire, *greeting, heard)),
                    }
                }
                Begin::Heard(wire, bytes) => {
                    *begin = Begin::Heard(wire, bytes);
                    return Some(Step::failed(BUSY));
                }
            }
        }
    }

    fn heard(&self, begin: &mut Begin, wire: Wire, greeting: Greeting, heard: Result<Option<Hello>, Refusal>) -> Step {
        match heard {
            Ok(hello) => {
                let hello = hello.unwrap_or_default();
                (*self.name.borrow_mut()).clone_from(&hello.name);
                *begin = Begin::Heard(wire, greeting.into_bytes());
                Step::Hello(hello)
            }
            Err(refusal) => {
                let _ = wire.write_now(&refusal.alert);
                *begin = Begin::Plain(wire, Vec::new());
                Step::failed(refusal.reason)
            }
        }
    }

    /// A server's answer to the client's first words: as `context` has its certificates, and with that protocol.
    pub fn choose(&self, context: &SslContext, alpn: Option<Vec<u8>>) -> Result<(), Text> {
        let Ok(mut begin) = self.begin.try_borrow_mut() else { return Err(BUSY.text()) };
        match std::mem::replace(&mut *begin, Begin::Nothing) {
            Begin::Heard(wire, bytes) => {
                if !std::ptr::eq(context, &raw const *self.context) {
                    let other = context.built().map_err(Text::Borrowed)?;
                    let own = self.built.borrow().with_certificates_of(&other);
                    *self.built.borrow_mut() = own;
                }
                let made = self.built.borrow().server(wire, &bytes, alpn);
                match self.secured(made) {
                    Some(Step::Failed(Fail::Message(why))) => Err(why.text()),
                    _ => Ok(()),
                }
            }
            other => {
                *begin = other;
                Err(BUSY.text())
            }
        }
    }

    /// A server's answer to a name that it does not have.
    pub fn refuse(&self) {
        if let Ok(Begin::Heard(wire, _)) = self.begin.try_borrow().as_deref() {
            let _ = wire.write_now(&UNRECOGNIZED_NAME);
        }
        *self.failed.borrow_mut() = Some("callback failed".into());
    }

    fn secured(&self, made: crate::error::Result<(Tls<Wire>, Arc<Secret>)>) -> Option<Step> {
        match made {
            Ok((tls, secret)) => {
                *self.secret.borrow_mut() = Some(secret);
                if let Ok(mut item) = self.slot.item() {
                    *item = Item::Stream(Conn::tls(tls));
                }
                None
            }
            Err(error) => Some(Step::failed(error.fields().message.clone())),
        }
    }

    fn go_on(&self, clock: &Clock) -> Step {
        let done = self.with(|conn| {
            let Some(tls) = conn.session_mut() else { return Err(Fail::Message(Why::Closed)) };
            match clock.wait(|deadline| tls.shake(deadline)) {
                Ok(()) => Ok(()),
                Err(error) => {
                    let wanted = if tls.is_behind() { Why::WantWrite } else { Why::WantRead };
                    Err(match reason(tls, &self.built.borrow()) {
                        Some(reason) => Fail::Message(reason.into()),
                        None if tls.is_cut() => Fail::Message(CUT),
                        None => self.below(&error, wanted),
                    })
                }
            }
        });
        match done {
            Some(Ok(())) => Step::Done,
            Some(Err(fail)) => Step::Failed(fail),
            None => Step::failed(Why::Closed),
        }
    }
}
