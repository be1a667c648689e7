//! The clocks of a connection of many streams, and its end.

use super::{Coming, lift};
use crate::{
    http::{http2::Reason, incoming::Refusal},
    server::{Connection, Engine, Phase},
};
use std::time::Duration;

impl Engine {
    /// The server stops: what is under way may end, and one without anything under way is told and closed.
    pub(in crate::server) fn dismiss(&mut self, index: usize) {
        let now = self.clock.now();
        let Some(mut connection) = self.take(index) else { return };
        if let Phase::Streams(streams) = &mut connection.phase
            && !streams.is_frozen()
        {
            match streams.is_idle() {
                // It lingers: the client may have sent windows for what it still reads, and a close with these unread is a reset.
                true => streams.session.go_away(Reason::NO_ERROR),
                false => streams.drain(),
            }
        }
        let ticket = self.ticket(index);
        self.put(index, connection);
        let _ = self.settle(ticket, now);
    }

    /// The last words at [`Engine::close`]: what was answered, as far as the kernel takes it, and that there is no more.
    pub(in crate::server) fn part(&mut self, index: usize, connection: &mut Connection, now: Duration) {
        let Some(mut streams) = lift(connection) else { return };
        if !streams.is_frozen() && self.flush(index, connection, &mut streams, now).is_ok() {
            streams.session.go_away(Reason::NO_ERROR);
            let _ = self.flush(index, connection, &mut streams, now);
        }
        connection.phase = Phase::Streams(streams);
    }

    /// The timers of a connection. `late`: the server has waited for it long enough.
    pub(in crate::server) fn sweep_streams(&mut self, index: usize, now: Duration, late: bool) {
        let Some(mut connection) = self.take(index) else { return };
        let Some(mut streams) = lift(&mut connection) else { return self.put(index, connection) };
        let mut ends = late;
        if !late && !streams.is_frozen() {
            let o = &self.options;
            let past = |since: Duration, time: Duration| now.saturating_sub(since) > time;
            let (grace, rate, idle) = (o.body_grace, o.body_rate, o.idle_timeout);
            if streams.is_slow(now, o.send_grace, o.send_rate) {
                streams.session.go_away(Reason::ENHANCE_YOUR_CALM);
                ends = true;
            } else if streams.session.head_since().is_some_and(|since| past(since, o.head_timeout)) {
                streams.session.go_away(Reason::ENHANCE_YOUR_CALM);
            } else if streams.is_idle() && (self.stopping.is_some() || past(connection.since, idle)) {
                streams.session.go_away(Reason::NO_ERROR);
            }
            let is_late = |coming: &Coming| {
                let age = now.saturating_sub(coming.began);
                age > grace && (coming.body.len() as f64) < age.as_secs_f64() * rate as f64
            };
            let (mut slow, mut stuck) = (Vec::new(), Vec::new());
            for (id, one) in &streams.exchanges {
                if one.coming.as_deref().is_some_and(is_late) {
                    slow.push(*id);
                } else if !one.out.is_empty() && past(one.since, idle) {
                    stuck.push(*id);
                }
            }
            for id in slow {
                let one = streams.exchanges.remove(&id);
                let refusal = Refusal::new(408, "the body came more slowly than min_body_rate");
                self.refuse_stream(&connection, &mut streams, id, one, false, refusal);
            }
            for id in stuck {
                streams.session.reset(id, Reason::CANCEL);
                if let Some(one) = streams.exchanges.remove(&id) {
                    self.lose(index, &connection, id, &one, now);
                }
            }
            streams.session.tick(now);
            streams.session.poll();
            ends |= self.flush(index, &mut connection, &mut streams, now).is_err();
            if streams.session.is_over() || streams.draining {
                self.stir(index, &mut connection);
            }
        }
        connection.phase = Phase::Streams(streams);
        match ends {
            true => self.end(index, *connection),
            false => self.put(index, connection),
        }
    }
}
