//! A listener whose connections speak TLS: handshakes run side by side during any waiting call, and only ready
//! connections are returned.
//!
//! No thread and no clock of its own: [`TlsListener::accept`] and [`TlsListener::settle`] drive every handshake as far
//! as its bytes allow. A handshake that fails or exceeds its timeout is reported to the caller and dropped.

use super::{Listener, is_passing};
use crate::{
    deadline::{Deadline, check_interrupt},
    descriptors::is_out,
    error::{Error, Kind, Result},
    fork,
    panics::{caught, contained},
    tls::{ServerTls, Tls},
    wire::{Want, Wire, poll_for},
};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

/// What a handshake may take. Defaults to 10 s.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at a time. Where one more comes, the oldest gives way: who is silent holds up nobody.
pub const MAX_HANDSHAKES: usize = 1024;
/// Connections that wait to be handed out; the kernel's queue holds the others.
const MAX_FINISHED: usize = 128;
/// Connections that are asked of the kernel in one turn, so that a flood of them leaves time for handshakes.
const BATCH: usize = 64;

/// Called with each handshake that came to nothing: the peer's address, and why.
pub type Failed<'a> = &'a mut dyn FnMut(&str, &Error);

pub struct TlsListener {
    listener: Listener,
    tls: ServerTls,
    timeout: Option<Duration>,
    /// In the order in which they began, which is that in which they time out.
    handshakes: VecDeque<Handshake>,
    finished: VecDeque<Tls<Wire>>,
    /// The process that the handshakes belong to.
    generation: u64,
}

struct Handshake {
    tls: Tls<Wire>,
    deadline: Deadline,
}

impl TlsListener {
    /// `timeout` is for each handshake; `None` is for ever.
    pub fn new(listener: Listener, tls: ServerTls, timeout: Option<Duration>) -> Result<TlsListener> {
        listener.socket.set_nonblocking(true).map_err(|e| Error::from_io("listen", &e))?;
        Ok(TlsListener {
            listener,
            tls,
            timeout,
            handshakes: VecDeque::new(),
            finished: VecDeque::new(),
            generation: fork::generation(),
        })
    }

    /// The listener beneath, and what it speaks. Handshakes that are under way end.
    pub fn into_parts(self) -> (Listener, ServerTls) {
        (self.listener, self.tls)
    }

    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// The next connection whose handshake is done.
    pub fn accept(&mut self, deadline: &Deadline, failed: Failed<'_>) -> Result<Tls<Wire>> {
        let mut time = Duration::ZERO;
        loop {
            let turned = self.turn(time, failed);
            // First what is ready: where descriptors have run out, those that wait here have some of them.
            if let Some(tls) = self.finished.pop_front() {
                return Ok(tls);
            }
            turned?;
            if deadline.is_past() {
                return Err(deadline.error(&format!("accept on {}", self.listener.name)));
            }
            check_interrupt("accept")?;
            time = deadline.slice().min(self.expiry().unwrap_or(Duration::MAX));
        }
    }

    /// Goes on with every handshake, without a wait; true if [`accept`](Self::accept) would answer at once.
    pub fn settle(&mut self, failed: Failed<'_>) -> bool {
        // What the listener itself has to say is for `accept`.
        self.turn(Duration::ZERO, failed).is_err() || self.ready()
    }

    /// True if a connection waits to be handed out.
    pub fn ready(&self) -> bool {
        !self.finished.is_empty() && self.generation == fork::generation()
    }

    /// What to wait for: each descriptor, and whether it is to be read or written.
    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Want)> {
        let own = self.generation == fork::generation();
        let handshakes = self.handshakes.iter().filter(move |_| own);
        std::iter::once((self.listener.as_fd(), Want::Read))
            .chain(handshakes.map(|one| (one.tls.transport().as_fd(), one.tls.wants())))
    }

    /// When the oldest handshake has had its time.
    pub fn expiry(&self) -> Option<Duration> {
        self.handshakes.front()?.deadline.left()
    }

    /// Waits at most `time` for something to do, and does it.
    fn turn(&mut self, time: Duration, failed: Failed<'_>) -> Result<()> {
        if self.generation != fork::generation() {
            // The parent's: their TLS state cannot be shared, and nothing is said on them.
            (self.handshakes, self.finished) = (VecDeque::new(), VecDeque::new());
            self.generation = fork::generation();
        }
        let flags = |want| if matches!(want, Want::Write) { PollFlags::OUT } else { PollFlags::IN };
        let full = self.finished.len() >= MAX_FINISHED;
        let mut fds: Vec<_> = self.interests().map(|(fd, want)| PollFd::from_borrowed_fd(fd, flags(want))).collect();
        if full && let Some(listener) = fds.first_mut() {
            *listener = PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::empty());
        }
        match poll_for(&mut fds, time) {
            Ok(0) | Err(Errno::INTR) => return self.expire(failed),
            Ok(_) => (),
            Err(e) => return Err(Error::from_io(&format!("accept on {}", self.listener.name), &e.into())),
        }
        let mut stirred: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let comes = stirred.remove(0);
        for stirred in stirred {
            // Each goes through the queue once, so the order stays.
            let Some(one) = self.handshakes.pop_front() else { break };
            match stirred {
                true => self.shake(one, failed),
                false => self.handshakes.push_back(one),
            }
        }
        self.expire(failed)?;
        if comes && !full { self.greet(failed) } else { Ok(()) }
    }

    /// Takes connections from the kernel and begins their handshakes.
    fn greet(&mut self, failed: Failed<'_>) -> Result<()> {
        for _ in 0..BATCH {
            let wire = match self.listener.accept_now() {
                Ok(Some(wire)) => wire,
                Ok(None) => break,
                // It counts: whoever waits looks at his deadline after this many.
                Err(e) if is_passing(&e) => continue,
                // Out of descriptors: those that say nothing have some.
                Err(e) if is_out(&e) && self.give_way(failed) => continue,
                Err(e) => return Err(Error::from_io(&format!("accept on {}", self.listener.name), &e)),
            };
            if self.handshakes.len() >= MAX_HANDSHAKES {
                self.give_way(failed);
            }
            let peer = wire.peer().to_owned();
            match Tls::accepted(wire, &self.tls) {
                Ok(tls) => self.shake(Handshake { tls, deadline: Deadline::of_work(self.timeout).start() }, failed),
                Err(error) => tell(failed, &peer, &error),
            }
        }
        Ok(())
    }

    /// Goes on with one handshake as far as its bytes are there. A panic in it is its own end, and nobody else's: the queue is
    /// gone through meanwhile.
    fn shake(&mut self, mut one: Handshake, failed: Failed<'_>) {
        match caught(|| one.tls.shake(&Deadline::after(Duration::ZERO))) {
            Ok(()) => self.finished.push_back(one.tls),
            Err(error) if error.is(Kind::Timeout) => self.handshakes.push_back(one),
            Err(error) => tell(failed, one.tls.transport().peer(), &error),
        }
    }

    /// Ends the handshakes that have had their time.
    fn expire(&mut self, failed: Failed<'_>) -> Result<()> {
        while self.handshakes.front().is_some_and(|one| one.deadline.is_past())
            && let Some(one) = self.handshakes.pop_front()
        {
            tell(failed, one.tls.transport().peer(), &one.deadline.error("TLS handshake"));
        }
        Ok(())
    }

    /// Ends the oldest handshake, if there is one.
    fn give_way(&mut self, failed: Failed<'_>) -> bool {
        let Some(one) = self.handshakes.pop_front() else { return false };
        let message = "TLS handshake: ended as the oldest of too many at a time";
        tell(failed, one.tls.transport().peer(), &Error::new(Kind::Socket, message));
        true
    }
}

/// Tells of a handshake that came to nothing. Whoever hears it holds up none of the others.
fn tell(failed: Failed<'_>, peer: &str, error: &Error) {
    contained(|| failed(peer, error));
}
