//! The timers of all connections, checked together.

use super::{Engine, Note, Phase, State};
use crate::{
    error::{Error, Kind},
    http::incoming::Refusal,
    panics::failpoint,
};
use std::time::Duration;

/// What is read and dropped of a client that was refused, and how long.
const LINGER: Duration = Duration::from_secs(2);
/// The looks at all timers are at least this far apart, and a quarter of the shortest timer at the most.
const SWEEP: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

impl Engine {
    /// No longer than to the next timer.
    pub(super) fn wait(&self) -> Duration {
        let now = self.clock.now();
        let mut wait = if self.connections() > 0 { self.sweep_every() } else { Duration::MAX };
        if self.calling && self.paused > now {
            wait = wait.min(self.paused - now);
        }
        wait
    }

    pub(super) fn sweep_every(&self) -> Duration {
        let o = &self.options;
        let timers = [o.head_timeout, o.body_grace, o.send_grace, o.idle_timeout, o.handshake_timeout, o.drain_timeout];
        let shortest = timers.into_iter().min().unwrap_or(SWEEP.1);
        (shortest / 4).clamp(SWEEP.0, SWEEP.1)
    }

    /// Looks at the timers of all.
    pub(super) fn sweep(&mut self, now: Duration) {
        failpoint("server timers");
        let late = self.stopping.is_some_and(|end| end <= now);
        for index in 0..self.slots.len() {
            let Some(connection) = self.peek(index) else { continue };
            if let Phase::Streams(_) = connection.phase {
                self.sweep_streams(index, now, late);
                continue;
            }
            let age = now.saturating_sub(connection.since);
            let o = &self.options;
            enum Verdict {
                Stays,
                Ends,
                TooSlow(&'static str),
            }
            let verdict = match &connection.phase {
                Phase::Shake if age > o.handshake_timeout => Verdict::Ends,
                Phase::Rest if age > o.idle_timeout || self.stopping.is_some() => Verdict::Ends,
                Phase::Linger if age > LINGER => Verdict::Ends,
                _ if late => Verdict::Ends,
                Phase::Transaction(_) if connection.is_slow(now, o.send_grace, o.send_rate) => Verdict::Ends,
                Phase::Transaction(transaction)
                    if transaction.state != State::Asked && !connection.out.is_empty() && age > o.idle_timeout =>
                {
                    Verdict::Ends
                }
                Phase::Read(reading) if reading.head.is_none() => {
                    match now.saturating_sub(reading.began) > o.head_timeout {
                        true if reading.reader.is_fresh() => Verdict::Ends,
                        true => Verdict::TooSlow("the head took longer than head_timeout"),
                        false => Verdict::Stays,
                    }
                }
                Phase::Read(reading) => {
                    let age = now.saturating_sub(reading.body_began);
                    let least = age.as_secs_f64() * o.body_rate as f64;
                    match age > o.body_grace && (reading.body.len() as f64) < least {
                        true => Verdict::TooSlow("the body came more slowly than min_body_rate"),
                        false => Verdict::Stays,
                    }
                }
                _ => Verdict::Stays,
            };
            match verdict {
                Verdict::Stays => (),
                Verdict::Ends => {
                    if let Some(connection) = self.take(index) {
                        match &connection.phase {
                            Phase::Shake => {
                                let peer = connection.stream.wire().peer().to_owned();
                                let error = Error::new(Kind::Timeout, "TLS handshake: timed out");
                                self.tell(Note::Handshake(peer, error));
                            }
                            Phase::Transaction(transaction) if transaction.state != State::Asked => {
                                self.log(&connection, transaction, false, now)
                            }
                            _ => (),
                        }
                        self.end(index, *connection);
                    }
                }
                Verdict::TooSlow(why) => {
                    if let Some(mut connection) = self.take(index) {
                        match self.refuse(index, &mut connection, Refusal::new(408, why), now) {
                            Ok(()) => self.put(index, connection),
                            Err(_) => self.end(index, *connection),
                        }
                    }
                }
            }
        }
    }
}
