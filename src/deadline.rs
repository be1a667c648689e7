//! The only clock, and the only place that knows whether a wait was interrupted.
//!
//! A [`Deadline`] belongs to one call: DNS, connect, TLS and every retry inside the call share it. Its clock starts at
//! the first wait, so a call that is answered from a buffer never reads the clock.
//!
//! A block of a script may have its own deadline ([`begin_block`], `net.within`): the deadlines of calls
//! ([`Deadline::new`]) end with the block in which they wait; those of work that continues between calls do not.

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
    /// It is a call's, which ends with the block it waits in.
    in_block: bool,
}

/// The end of a block of a script, and how many seconds it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    end: Instant,
    time: Duration,
}

thread_local! {
    /// The end of the block that runs on this thread.
    static BLOCK: Cell<Option<Block>> = const { Cell::new(None) };
}

/// The block that begins now and may take `time`, inside the one that runs: the nearer end wins. `None` where neither has an
/// end. It counts once it is entered ([`enter_block`]).
pub fn begin_block(time: Option<Duration>) -> Option<Block> {
    let outer = BLOCK.get();
    let inner = time.and_then(|time| Some(Block { end: now().checked_add(time)?, time }));
    match (inner, outer) {
        (Some(inner), Some(outer)) if outer.end <= inner.end => Some(outer),
        (Some(inner), _) => Some(inner),
        (None, outer) => outer,
    }
}

/// Makes `block` the one that runs on this thread; the one before.
pub fn enter_block(block: Option<Block>) -> Option<Block> {
    BLOCK.replace(block)
}

/// For the beginning of a call: `timeout` where the block that it is in has ended, though the call might not have to wait.
pub fn check_block(what: &str) -> Result<()> {
    match BLOCK.get() {
        Some(block) if block.end <= now() => Err(block.error(what)),
        _ => Ok(()),
    }
}

impl Block {
    /// Its end by [`uptime`] and its time, in seconds: plain numbers, which Lua keeps between two steps of a coroutine.
    pub fn seconds(self) -> (f64, f64) {
        (self.end.saturating_duration_since(start()).as_secs_f64(), self.time.as_secs_f64())
    }

    /// What [`seconds`](Self::seconds) gave; `None` for what it never gives.
    pub fn from_seconds(end: f64, time: f64) -> Option<Block> {
        let end = start().checked_add(Duration::try_from_secs_f64(end).ok()?)?;
        Some(Block { end, time: Duration::try_from_secs_f64(time).ok()? })
    }

    fn error(self, what: &str) -> Error {
        let seconds = self.time.as_secs_f64();
        let message = format!("{what}: the {seconds} s of `within` have passed");
        Error::new(Kind::Timeout, message).timeout(Some(self.time))
    }
}

impl Deadline {
    /// A call's: `timeout` from the first wait on, `None` waits for ever; and no longer than the block that it waits in.
    pub fn new(timeout: Option<Duration>) -> Self {
        Deadline { timeout, end: Cell::new(None), in_block: true }
    }

    /// The same, its clock running from `now` on.
    pub fn started(timeout: Option<Duration>, now: Instant) -> Self {
        let end = timeout.filter(|timeout| !timeout.is_zero()).and_then(|timeout| now.checked_add(timeout));
        Deadline { timeout, end: Cell::new(end), in_block: true }
    }

    /// That of work which goes on between calls, whatever block they are in.
    pub fn of_work(timeout: Option<Duration>) -> Self {
        Deadline { timeout, end: Cell::new(None), in_block: false }
    }

    /// The same.
    pub fn after(timeout: Duration) -> Self {
        Self::of_work(Some(timeout))
    }

    /// A call's that waits for ever.
    pub fn never() -> Self {
        Self::new(None)
    }

    /// The block that this ends with.
    fn block(&self) -> Option<Block> {
        if self.in_block { BLOCK.get() } else { None }
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
        match (self.timeout, self.block()) {
            (None, None) => None,
            (Some(Duration::ZERO), _) => self.timeout,
            _ => self.left_at(now()),
        }
    }

    /// The same for who has just looked at the clock.
    fn left_at(&self, now: Instant) -> Option<Duration> {
        let own = self.own_left_at(now);
        match self.block() {
            Some(block) => {
                let left = block.end.saturating_duration_since(now);
                Some(own.map_or(left, |own| own.min(left)))
            }
            None => own,
        }
    }

    /// What is left of its own time.
    fn own_left_at(&self, now: Instant) -> Option<Duration> {
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
            Some(end) if self.block().is_none() => end <= now,
            _ => self.left_at(now).is_some_and(|left| left.is_zero()),
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
            (Some(_), _) => Deadline { in_block: self.in_block, ..Deadline::started(timeout, now) },
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
        if let Some(block) = self.block() {
            let now = now();
            if block.end <= now && self.own_left_at(now).is_none_or(|left| !left.is_zero()) {
                return block.error(what);
            }
        }
        let seconds = self.timeout.unwrap_or_default().as_secs_f64();
        Error::new(Kind::Timeout, format!("{what}: timed out after {seconds} s")).timeout(self.timeout)
    }
}

/// Sleeps that long, unless the host wants its thread back, or the block that it is in ends.
pub fn pause(time: Duration, what: &str) -> Result<()> {
    let nap = Deadline::new(Some(time)).start();
    while !nap.is_past() {
        check_interrupt(what)?;
        std::thread::sleep(nap.slice());
    }
    if nap.own_left_at(now()).is_some_and(|left| !left.is_zero()) {
        return Err(nap.error(what));
    }
    check_interrupt(what)
}

/// Now, for durations that are reported (`timings`) and for ages (idle connections). Waits use a [`Deadline`].
#[allow(clippy::disallowed_methods, reason = "this room is the only clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// When this was first asked.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(now)
}

/// How long ago this was first asked: a clock without a date, for ages that a program sees.
pub fn uptime() -> Duration {
    start().elapsed()
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

    #[test]
    fn calls_end_with_the_block_that_they_wait_in() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let (call, endless, work) =
            (Deadline::new(Some(hour)).start(), Deadline::never(), Deadline::of_work(Some(hour)).start());
        let outer = begin_block(Some(second));
        assert_eq!(enter_block(outer), None);
        assert!(call.left() <= Some(second) && endless.left() <= Some(second));
        assert!(call.within(Some(hour)).left() <= Some(second) && work.left() > Some(second));
        // The nearer end wins, and what has no end of its own has the outer one.
        assert_eq!(begin_block(Some(hour)), outer);
        assert_eq!(begin_block(None), outer);
        assert!(check_block("x").is_ok());
        let (end, time) = outer.unwrap().seconds();
        let again = Block::from_seconds(end, time).unwrap();
        assert!(again.end.saturating_duration_since(outer.unwrap().end) < Duration::from_micros(1));
        assert_eq!(
            (again.time, Block::from_seconds(f64::INFINITY, 1.0), Block::from_seconds(-1.0, 1.0)),
            (second, None, None)
        );
        let inner = begin_block(Some(Duration::ZERO));
        assert_eq!(enter_block(inner), outer);
        assert!(call.is_past() && endless.is_past() && !work.is_past() && call.is_past_at(now()));
        for error in [check_block("x").unwrap_err(), call.error("x"), endless.error("x"), pause(hour, "x").unwrap_err()]
        {
            assert_eq!(error.fields().message, "x: the 0 s of `within` have passed");
            assert!(error.is(Kind::Timeout));
        }
        assert!(pause(Duration::ZERO, "x").is_ok());
        // A call with `timeout = 0` has an end of its own.
        assert!(Deadline::new(Some(Duration::ZERO)).is_now());
        assert_eq!(enter_block(outer), inner);
        assert_eq!(enter_block(None), outer);
        assert!(call.left() > Some(second) && endless.left().is_none());
    }
}
