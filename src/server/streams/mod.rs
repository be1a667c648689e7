//! Connections of many streams (HTTP/2): requests and answers side by side.
//!
//! `http::http2::serve` knows the protocol; here are exchanges, what they may have of memory, and data that waits for windows. `moving`
//! moves the bytes of a connection, `requests` hears of requests, `answers` gives answers, `timers` has the clocks. A ticket
//! with a `stream` other than 0 belongs here.

mod answers;
mod moving;
mod requests;
mod timers;

use super::{
    Body, Connection, Engine, HIGH, Phase, Request, State, Ticket, Transaction,
    body::{Claim, FILES as SPILLED, Held, TOO_MANY_FILES},
    connection::Out,
};
use crate::{
    fork,
    http::{
        http2::{Reason, serve::Session},
        incoming::{Framing, Head},
    },
};
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    rc::Rc,
    time::Duration,
};

/// What one stream is given at a time, and where there are many of them.
const PIECE: usize = 64 * 1024;
const SMALL: usize = 16 * 1024;
const MANY: usize = 4;
/// Nothing is added to so many bytes that go out.
const ENOUGH: usize = 32 * 1024;
/// Bytes of heads that one connection may have: HPACK makes 64 KiB of 30 bytes.
const HEADS: u64 = 1024 * 1024;
/// Answers of one connection that its client has not taken, in bytes and in open files: beyond it no further request is handed out.
const UNTAKEN: usize = 2 * 1024 * 1024;
const FILES: usize = 8;
/// Answers that are all given and wait for the kernel: beyond it the oldest count as gone.
const LEAVING: usize = 32;

/// The streams of one connection.
pub(super) struct Streams {
    session: Session,
    exchanges: BTreeMap<u32, Exchange>,
    /// Answers that are all given, until the kernel has them, and whether they are whole.
    leaving: VecDeque<(Transaction, Claim, bool)>,
    /// The heads of its requests, and their bodies that were not handed out.
    heads: Rc<Held>,
    bodies: Rc<Held>,
    /// The client leaves too much of its answers untaken, and what has come meanwhile.
    full: bool,
    withheld: Vec<Request>,
    /// Since when bytes wait for the client without a break, and how many it has taken since: of bodies into its windows, and any where it is
    /// the kernel that had no room.
    waited: Option<(Duration, u64)>,
    blocked: bool,
    /// A GOAWAY has said that it is the last of them.
    draining: bool,
    /// The client has ended its direction.
    ended: bool,
}

/// One request and its answer.
struct Exchange {
    transaction: Transaction,
    /// What its head has of memory.
    claim: Claim,
    /// While the request comes in.
    coming: Option<Box<Coming>>,
    /// The script has it.
    handed: bool,
    /// What waits for room in the stream's window.
    out: Out,
    /// When the client last took some of it.
    since: Duration,
}

struct Coming {
    body: Body,
    began: Duration,
}

/// Who has no room for a request.
enum Lack {
    /// The connection, and why.
    Own(&'static str),
    /// All connections together.
    All,
}

/// What becomes of a connection.
enum Next {
    Stays,
    /// All was said, and the client may read it.
    Lingers,
    Ends,
}

impl Exchange {
    fn is_asked(&self) -> bool {
        self.transaction.state == State::Asked && self.coming.is_none()
    }
}

impl Streams {
    /// Begins with them, where that is allowed. `told`: what looks like a head in the preface was read already.
    pub fn open(engine: &Engine, told: bool, now: Duration) -> Option<Box<Streams>> {
        if !engine.options.http2 {
            return None;
        }
        Some(Box::new(Streams {
            session: Session::new(engine.options.limits, told, now),
            exchanges: BTreeMap::new(),
            leaving: VecDeque::new(),
            heads: Rc::default(),
            bodies: Rc::default(),
            full: false,
            withheld: Vec::new(),
            waited: None,
            blocked: false,
            draining: false,
            ended: false,
        }))
    }

    /// Something goes on without the script.
    pub fn is_under_way(&self) -> bool {
        let parting = self.session.is_over() || self.draining && self.exchanges.is_empty();
        parting
            || self.session.pending() > 0
            || !self.leaving.is_empty()
            || self.exchanges.values().any(|one| !one.is_asked())
    }

    fn is_idle(&self) -> bool {
        self.exchanges.is_empty() && self.leaving.is_empty() && self.session.pending() == 0
    }

    /// A child was forked that may answer a request on this connection: until that is known nobody else touches it.
    pub fn is_frozen(&self) -> bool {
        self.exchanges.values().any(|one| one.handed && one.is_asked() && one.transaction.forks != fork::forks())
    }

    /// The connection is this process's.
    fn claim(&mut self) {
        for one in self.exchanges.values_mut() {
            one.transaction.forks = fork::forks();
        }
    }

    /// In a forked child: requests that the script has may be answered, everything else is the parent's, or nobody's. False if there
    /// are none.
    pub fn inherit(&mut self, is_queued: impl Fn(u32) -> bool) -> bool {
        let kept = |id: u32, one: &Exchange| one.is_asked() && one.handed && !is_queued(id);
        let others: Vec<u32> = self.exchanges.iter().filter(|(id, one)| !kept(**id, one)).map(|(id, _)| *id).collect();
        if others.len() == self.exchanges.len() {
            return false;
        }
        for id in others {
            self.exchanges.remove(&id);
            self.session.reset(id, Reason::REFUSED_STREAM);
        }
        self.leaving.clear();
        self.withheld.clear();
        self.claim();
        self.drain();
        true
    }

    fn drain(&mut self) {
        if !mem::replace(&mut self.draining, true) {
            self.session.drain();
        }
    }

    /// Hands the session what there is room for in the windows of streams; true if that was anything. `hungry` gets those whose
    /// pieces may go on.
    fn pump(&mut self, now: Duration, hungry: &mut Vec<u32>) -> bool {
        if self.session.pending() >= ENOUGH {
            return false;
        }
        let piece = if self.exchanges.len() > MANY { SMALL } else { PIECE };
        let high = self.high();
        let mut over = Vec::new();
        let mut moved = false;
        for (id, one) in &mut self.exchanges {
            let last = one.transaction.state == State::Given;
            if one.transaction.state == State::Asked || one.out.is_empty() && !last {
                continue;
            }
            // A file is not read before there is a window for it.
            let want = if one.out.held() > 0 { one.out.held().min(piece) } else { piece };
            let room = if one.out.is_empty() { 0 } else { self.session.window(*id, want) };
            if room == 0 && !one.out.is_empty() {
                continue;
            }
            if one.out.fill().is_err() {
                // The file was cut meanwhile: the client must see that.
                self.session.reset(*id, Reason::INTERNAL_ERROR);
                over.push((*id, false));
                moved = true;
                continue;
            }
            let room = room.min(one.out.held());
            let ends = last && one.out.is_only(room);
            if !self.session.data(*id, one.out.front(room), ends) {
                // The client has taken it back: that is among the events, which are heard after this.
                continue;
            }
            if ends {
                over.push((*id, true));
            }
            one.out.advance(room);
            one.since = now;
            moved = true;
            if let Some((_, taken)) = &mut self.waited {
                *taken += room as u64;
            }
            if one.transaction.hungry && one.out.held() <= high / 2 {
                one.transaction.hungry = false;
                hungry.push(*id);
            }
        }
        for (id, complete) in over {
            if let Some(one) = self.exchanges.remove(&id) {
                self.leaving.push_back((one.transaction, one.claim, complete));
            }
        }
        if moved {
            self.session.poll();
        }
        moved
    }

    /// How many bytes may wait for a stream before whoever streams to it waits: less where there are many.
    fn high(&self) -> usize {
        if self.exchanges.len() > MANY { HIGH / 8 } else { HIGH }
    }

    /// True if the client has left so much of its answers untaken that there shall be no more of them.
    fn is_full(&self) -> bool {
        let kept: usize = self.exchanges.values().map(|one| one.out.kept()).sum();
        kept > UNTAKEN || self.exchanges.values().filter(|one| one.out.has_file()).count() >= FILES
    }

    /// Whether a request may have a head of so many bytes, and the body that is announced. What HTTP/1.1 would let the connection have is
    /// always there.
    fn has_room_for(&self, weight: u64, head: &Head, engine: &Engine) -> std::result::Result<(), Lack> {
        let (own, limits) = (self.heads.bytes.get(), &engine.options.limits);
        let is_long = matches!(head.framing, Framing::Length(length) if length > engine.options.memory);
        if is_long && engine.options.spill.is_some() && self.bodies.files.get() >= SPILLED {
            return Err(Lack::Own(TOO_MANY_FILES));
        }
        let sum = own.saturating_add(weight);
        if own == 0 || sum <= limits.head as u64 {
            return Ok(());
        }
        if sum > HEADS {
            return Err(Lack::Own("the heads of one connection are longer than 1 MiB"));
        }
        match engine.heads.get().saturating_add(weight) > engine.options.buffered / 4 {
            true => Err(Lack::All),
            false => Ok(()),
        }
    }

    /// True if the client takes what waits for it more slowly than `rate`, in bytes a second, after `grace`.
    fn is_slow(&self, now: Duration, grace: Duration, rate: u64) -> bool {
        self.waited.is_some_and(|(since, taken)| {
            let waited = now.saturating_sub(since);
            waited > grace && (taken as f64) < waited.as_secs_f64() * rate as f64
        })
    }
}

/// Takes the streams of a connection, to be put back.
fn lift(connection: &mut Connection) -> Option<Box<Streams>> {
    if !matches!(connection.phase, Phase::Streams(_)) {
        return None;
    }
    match mem::replace(&mut connection.phase, Phase::Rest) {
        Phase::Streams(streams) => Some(streams),
        _ => None,
    }
}

impl Engine {
    fn streams(&mut self, ticket: Ticket) -> Option<&mut Streams> {
        let slot = self.slots.get_mut(ticket.index).filter(|slot| slot.turn == ticket.turn)?;
        match &mut slot.connection.as_deref_mut()?.phase {
            Phase::Streams(streams) => Some(streams),
            _ => None,
        }
    }

    fn all_streams(&self, ticket: Ticket) -> Option<&Streams> {
        let slot = self.slots.get(ticket.index).filter(|slot| slot.turn == ticket.turn)?;
        match &slot.connection.as_deref()?.phase {
            Phase::Streams(streams) => Some(streams),
            _ => None,
        }
    }

    fn stream(&self, ticket: Ticket) -> Option<&Exchange> {
        self.all_streams(ticket)?.exchanges.get(&ticket.stream)
    }

    pub(super) fn has_stream(&self, ticket: Ticket) -> bool {
        self.stream(ticket).is_some()
    }
}
