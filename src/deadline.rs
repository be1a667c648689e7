//! The only clock of the house, and the only place that knows whether a wait was interrupted.
//!
//! A [`Deadline`] belongs to one call: DNS, connect, TLS and every retry inside the call share it. Its clock starts
//! at the first wait, so a call that is answered from a buffer never looks at a clock.

use crate::error::{Error, Kind, Result};
use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// No wait is longer than this before it looks for an interruption again. A signal that arrives just before the
/// system call, and so does not end it, is noticed this much later at the most.
pub const SLICE: Duration = Duration::from_millis(200);

/// What every call that names no timeout gets.
pub const DEFAULT: Duration = Duration::from_secs(30);

/// The end of one call. `None` is "for ever", zero is "now or raise".
#[derive(Clone, Debug)]
pub struct Deadline {
    timeout: Option<Duration>,
    end: Cell<Option<Instant>>,
}

impl Deadline {
    /// `timeout` from the first wait on; `None` waits for ever.
    pub fn new(timeout: Option<Duration>) -> Self {
        Deadline { timeout, end: Cell::new(None) }
    }

    /// The same, its clock running from `now` on.
    pub fn started(timeout: Option<Duration>, now: Instant) -> Self {
        let end = timeout.filter(|timeout| !timeout.is_zero()).and_then(|timeout| now.checked_add(timeout));
        Deadline { timeout, end: Cell::new(end) }
    }

    pub fn after(timeout: Duration) -> Self {
        Self::new(Some(timeout))
    }

    pub fn never() -> Self {
        Self::new(None)
    }

    /// What the caller asked for, for messages.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// True for `timeout = 0`: answer from what is there, without a wait.
    pub fn is_now(&self) -> bool {
        self.timeout == Some(Duration::ZERO)
    }

    /// Starts the clock if it is not running; what is left, `None` for ever.
    pub fn left(&self) -> Option<Duration> {
        match self.timeout? {
            Duration::ZERO => self.timeout,
            _ => self.left_at(now()),
        }
    }

    /// The same for who has just looked at the clock.
    fn left_at(&self, now: Instant) -> Option<Duration> {
        let timeout = self.timeout?;
        if timeout.is_zero() {
            return Some(timeout);
        }
        let end = match self.end.get() {
            Some(end) => end,
            None => {
                // A timeout past the clock's range is for ever.
                let end = now.checked_add(timeout)?;
                self.end.set(Some(end));
                end
            }
        };
        Some(end.saturating_duration_since(now))
    }

    /// Starts the clock now. For calls whose work counts before the first wait.
    pub fn start(self) -> Self {
        self.left();
        self
    }

    /// True once nothing is left. `timeout = 0` is always past: look first, then ask.
    pub fn is_past(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The same for who has just looked at the clock.
    pub fn is_past_at(&self, now: Instant) -> bool {
        match self.end.get() {
            Some(end) => end <= now,
            None => self.left_at(now).is_some_and(|left| left.is_zero()),
        }
    }

    /// The next wait: what is left, but no more than [`SLICE`].
    pub fn slice(&self) -> Duration {
        self.left().map_or(SLICE, |left| left.min(SLICE))
    }

    /// A deadline inside this one: whichever ends first. Keeps its own timeout for messages.
    pub fn within(&self, timeout: Option<Duration>) -> Deadline {
        let now = now();
        match (timeout, self.left_at(now)) {
            (Some(inner), Some(left)) if inner >= left => self.clone(),
            (Some(_), _) => Deadline::started(timeout, now),
            (None, _) => self.clone(),
        }
    }

    /// For loops that make no wait because there is always something at hand: an error once the deadline has passed or
    /// the call is interrupted. `timeout = 0` takes what is there.
    pub fn check(&self, what: &str) -> Result<()> {
        if !self.is_now() && self.is_past() {
            return Err(self.error(what));
        }
        check_interrupt(what)
    }

    /// The error of a passed deadline. `what` is the act: `"recv from 127.0.0.1:80"`.
    pub fn error(&self, what: &str) -> Error {
        let seconds = self.timeout.unwrap_or_default().as_secs_f64();
        Error::new(Kind::Timeout, format!("{what}: timed out after {seconds} s")).timeout(self.timeout)
    }
}

/// Sleeps that long, unless the host wants its thread back.
pub fn pause(time: Duration, what: &str) -> Result<()> {
    let nap = Deadline::after(time).start();
    while !nap.is_past() {
        check_interrupt(what)?;
        std::thread::sleep(nap.slice());
    }
    check_interrupt(what)
}

/// Now, for durations that are reported (`timings`) and for ages (idle connections). Waits use a [`Deadline`].
#[allow(clippy::disallowed_methods, reason = "this room is the only clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// How long ago this was first asked: a clock without a date, for ages that a program sees.
pub fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(now).elapsed()
}

/// Seconds since 1970, for the log and for certificates.
pub fn wall() -> Duration {
    #[allow(clippy::disallowed_methods, reason = "this room is the only clock")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// [`NONE`], [`ASKED`] or [`TOLD`].
static INTERRUPTED: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = 0;
/// The process was asked to stop what it does, and nothing has said so yet.
const ASKED: u8 = 1;
/// A wait has ended with the error. Other threads' waits still end with it, until [`take_interrupt`].
const TOLD: u8 = 2;

/// Marks that the process was asked to stop (the launcher's SIGINT handler; async-signal-safe).
pub fn interrupt() {
    INTERRUPTED.store(ASKED, Relaxed);
}

/// Takes back [`interrupt`]; true if no wait has ended with the error, so that somebody has to raise it.
pub fn take_interrupt() -> bool {
    INTERRUPTED.swap(NONE, Relaxed) == ASKED
}

thread_local! {
    // Set by whoever embeds us: runs what a signal has left to do, and answers true when the host wants its thread back.
    static PROBE: Cell<Option<fn() -> bool>> = const { Cell::new(None) };
}

/// Installs this thread's question "does the host want its thread back?". What it runs may use anything but what the
/// wait has in its hands.
pub fn set_probe(probe: fn() -> bool) {
    PROBE.with(|p| p.set(Some(probe)));
}

/// Asked by every wait when it wakes with nothing done, and before it sleeps again.
pub fn check_interrupt(what: &str) -> Result<()> {
    let interrupted = INTERRUPTED.load(Relaxed) != NONE;
    if interrupted || PROBE.with(|p| p.get()).is_some_and(|probe| probe()) {
        if interrupted {
            INTERRUPTED.store(TOLD, Relaxed);
        }
        return Err(Error::interruption(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_now_and_none_is_for_ever() {
        assert!(Deadline::after(Duration::ZERO).is_now());
        assert!(Deadline::after(Duration::ZERO).is_past());
        assert_eq!(Deadline::never().left(), None);
        assert_eq!(Deadline::never().slice(), SLICE);
        assert_eq!(Deadline::new(Some(Duration::MAX)).left(), None);
    }

    #[test]
    fn the_inner_deadline_never_outlives_the_outer() {
        let outer = Deadline::after(Duration::from_secs(1)).start();
        assert!(outer.within(Some(Duration::from_secs(9))).left().unwrap() <= Duration::from_secs(1));
        assert!(outer.within(None).left().unwrap() <= Duration::from_secs(1));
        let inner = Deadline::never().within(Some(Duration::from_secs(2)));
        assert_eq!(inner.timeout(), Some(Duration::from_secs(2)));
    }
}
