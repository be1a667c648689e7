//! Connections of many streams (HTTP/2): requests and answers side by side.
//!
//! `http::http2::serve` knows the protocol; here are the limits of requests, the clocks, and data that waits for
//! windows. A ticket with a `stream` other than 0 belongs here.

use super::{
    Body, Connection, Content, Engine, HIGH, Handing, Note, Phase, Request, State, Ticket, Transaction,
    body::{Claim, FILES as SPILLED, Held, Share, TOO_MANY_FILES},
    connection::Out,
};
use crate::{
    allocation,
    error::{Error, Kind, Result},
    fork,
    http::{
        answer::{Answer, Ends, Exchange as Known, reason},
        http2::{
            Reason,
            serve::{Event, STREAMS, Session},
        },
        incoming::{Framing, Head, Refusal},
        response::Version,
    },
    panics::failpoint,
};
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    rc::Rc,
    time::Duration,
};

/// One read from the kernel.
const READ: usize = 64 * 1024;
/// Turns of one connection in a row: then it is others' turn.
const TURNS: usize = 16;
/// What one stream is given at a time, and where there are many of them.
const PIECE: usize = 64 * 1024;
const SMALL: usize = 16 * 1024;
const MANY: usize = 4;
/// A body up to here takes no way around.
const TOGETHER: usize = 32 * 1024;
/// Nothing is added to so many bytes that go out.
const ENOUGH: usize = 32 * 1024;
/// Bytes of heads that one connection may have: HPACK makes 64 KiB of 30 bytes.
const HEADS: u64 = 1024 * 1024;
/// What a field costs besides its text (RFC 9113 section 6.5.2).
const FIELD: usize = 32;
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
    /// Goes on with a connection as far as it goes without a wait; false once it is over.
    pub(super) fn converse(&mut self, index: usize, connection: &mut Connection, now: Duration) -> Result<bool> {
        let Some(mut streams) = lift(connection) else { return Ok(true) };
        let next = self.proceed(index, connection, &mut streams, now);
        match next {
            Ok(Next::Lingers) => {
                self.lose_streams(index, connection, *streams);
                connection.phase = Phase::Linger;
                connection.since = now;
                connection.stream.finish();
                connection.readable = true;
                self.discard(index, connection)
            }
            next => {
                connection.phase = Phase::Streams(streams);
                next.map(|next| matches!(next, Next::Stays))
            }
        }
    }

    fn proceed(
        &mut self,
        index: usize,
        connection: &mut Connection,
        streams: &mut Streams,
        now: Duration,
    ) -> Result<Next> {
        if streams.is_frozen() {
            return Ok(Next::Stays);
        }
        for _ in 0..TURNS {
            let gone = self.flush(index, connection, streams, now)?;
            if streams.session.has_events() {
                let mut said = false;
                while let Some(event) = streams.session.event() {
                    said |= self.hear(index, connection, streams, event, now);
                }
                if said {
                    streams.session.poll();
                }
                continue;
            }
            if streams.session.is_over() {
                return Ok(if gone { Next::Lingers } else { Next::Stays });
            }
            if gone && streams.is_idle() {
                if streams.ended {
                    return Ok(Next::Ends);
                }
                if streams.draining {
                    streams.session.go_away(Reason::NO_ERROR);
                    continue;
                }
            }
            if !self.listen(index, connection, streams, now)? {
                return Ok(Next::Stays);
            }
        }
        self.stir(index, connection);
        Ok(Next::Stays)
    }

    /// Reads what has come; false if that is nothing.
    fn listen(
        &mut self,
        index: usize,
        connection: &mut Connection,
        streams: &mut Streams,
        now: Duration,
    ) -> Result<bool> {
        if !connection.input.is_empty() {
            let used = streams.session.feed(&connection.input, now);
            connection.input.drain(..used);
            return Ok(used > 0);
        }
        let room = streams.session.room().min(READ);
        if room == 0 || streams.ended || !(connection.readable || connection.stream.is_ready()) {
            return Ok(false);
        }
        let mut scratch = mem::take(&mut self.scratch);
        scratch.resize(READ, 0);
        let read = connection.stream.read(scratch.get_mut(..room).unwrap_or_default());
        let heard = read.map(|read| match read {
            Some(0) => {
                self.deaf(index, connection, streams, now);
                true
            }
            Some(count) => {
                // A short read has emptied the kernel's buffer: the next byte is an event.
                connection.readable &= count == room || connection.ended || !connection.stream.tells_all();
                if !streams.session.feed_all(&mut scratch, 0..count, now) {
                    streams.session.feed(scratch.get(..count).unwrap_or_default(), now);
                }
                true
            }
            None => {
                connection.readable = false;
                false
            }
        });
        self.scratch = scratch;
        heard
    }

    /// The client has ended its direction: requests that are not whole never will be, and one that only listens is gone. `h2` is not
    /// told, for it would end the answers, too.
    fn deaf(&mut self, index: usize, connection: &Connection, streams: &mut Streams, now: Duration) {
        streams.ended = true;
        let lost = |one: &Exchange| one.coming.is_some() || one.transaction.watched;
        let lost: Vec<u32> = streams.exchanges.iter().filter(|(_, one)| lost(one)).map(|(id, _)| *id).collect();
        for id in lost {
            streams.session.reset(id, Reason::CANCEL);
            if let Some(one) = streams.exchanges.remove(&id) {
                self.lose(index, connection, id, &one, now);
            }
        }
        streams.session.poll();
    }

    /// An exchange that is over before its end.
    fn lose(&mut self, index: usize, connection: &Connection, id: u32, one: &Exchange, now: Duration) {
        if one.transaction.state != State::Asked {
            self.log(connection, &one.transaction, false, now);
        }
        if one.transaction.hungry {
            // Whoever has pieces ready learns that nobody takes them.
            let ticket = Ticket { stream: id, ..self.ticket(index) };
            self.tell(Note::Hungry(ticket));
        }
    }

    /// All exchanges of a connection that is over.
    pub(super) fn lose_streams(&mut self, index: usize, connection: &Connection, streams: Streams) {
        let now = self.clock.now();
        for (id, one) in &streams.exchanges {
            self.lose(index, connection, *id, one, now);
        }
        for (transaction, ..) in &streams.leaving {
            self.log(connection, transaction, false, now);
        }
    }

    /// Writes what the kernel takes; true once nothing waits for it.
    fn flush(
        &mut self,
        index: usize,
        connection: &mut Connection,
        streams: &mut Streams,
        now: Duration,
    ) -> Result<bool> {
        let mut hungry = Vec::new();
        let gone = loop {
            let moved = streams.pump(now, &mut hungry);
            if !connection.writable {
                break false;
            }
            if streams.session.pending() == 0 {
                let done = connection.stream.flush()?;
                connection.writable &= done;
                if done && moved {
                    continue;
                }
                break done;
            }
            let Connection { stream, .. } = &mut *connection;
            let wrote = streams.session.take(|bytes| stream.write(bytes).map(|count| count.unwrap_or(0)))?;
            if wrote == 0 {
                connection.writable = false;
                streams.blocked = true;
                break false;
            }
            if let Some((_, taken)) = streams.waited.as_mut().filter(|_| streams.blocked) {
                *taken += wrote as u64;
            }
        };
        streams.blocked &= !gone;
        for id in hungry {
            let ticket = Ticket { stream: id, ..self.ticket(index) };
            self.tell(Note::Hungry(ticket));
        }
        if gone && !streams.leaving.is_empty() {
            for (transaction, _, complete) in mem::take(&mut streams.leaving) {
                self.log(connection, &transaction, complete, now);
            }
            connection.since = now;
        }
        while streams.leaving.len() > LEAVING
            && let Some((transaction, _, complete)) = streams.leaving.pop_front()
        {
            self.log(connection, &transaction, complete, now);
        }
        // Whatever makes room comes by here.
        streams.full = streams.is_full() || !connection.writable && streams.session.pending() >= ENOUGH;
        if !streams.full {
            self.queue.extend(streams.withheld.drain(..));
        }
        if !gone || streams.exchanges.values().any(|one| !one.out.is_empty()) {
            streams.waited.get_or_insert((now, 0));
        } else {
            streams.waited = None;
        }
        Ok(gone)
    }

    /// What has happened to a stream; true if the client is to hear something of us.
    fn hear(
        &mut self,
        index: usize,
        connection: &mut Connection,
        streams: &mut Streams,
        event: Event,
        now: Duration,
    ) -> bool {
        match event {
            Event::Request { stream, head, ends } => {
                let head = Rc::from(head);
                let met = self.meet(connection, streams, stream, &head, now);
                if met && ends {
                    self.complete_stream(index, connection, streams, stream);
                }
                return !met || head.expects;
            }
            Event::Refused { stream, refusal, head_only } => {
                if self.admit(connection, streams, now) {
                    self.refuse_stream(connection, streams, stream, None, head_only, refusal);
                }
            }
            Event::Data(id, bytes) => {
                let o = &self.options;
                let share = Share::new(o.memory, o.buffered);
                let Some(one) = streams.exchanges.get_mut(&id) else { return true };
                let Some(coming) = &mut one.coming else { return true };
                let taken = match coming.body.len() + bytes.len() as u64 > o.limits.body {
                    true => Err(Refusal::new(413, "the body is longer than max_body_bytes")),
                    false => coming.body.push(&bytes, share, o.spill.as_ref()),
                };
                if let Err(refusal) = taken {
                    let one = streams.exchanges.remove(&id);
                    self.refuse_stream(connection, streams, id, one, false, refusal);
                }
            }
            Event::End(id) => self.complete_stream(index, connection, streams, id),
            Event::Reset(id) => {
                connection.since = now;
                streams.withheld.retain(|request| request.ticket.stream != id);
                if let Some(one) = streams.exchanges.remove(&id) {
                    self.lose(index, connection, id, &one, now);
                }
            }
        }
        true
    }

    /// A request has a head; false if that is the end of it.
    fn meet(
        &mut self,
        connection: &mut Connection,
        streams: &mut Streams,
        id: u32,
        head: &Rc<Head>,
        now: Duration,
    ) -> bool {
        if !self.admit(connection, streams, now) {
            return false;
        }
        let weight = (head.fields.size() + head.fields.len() * FIELD + head.target.as_str().len()) as u64;
        let room = streams.has_room_for(weight, head, self);
        let mut claim = Claim::new(&self.heads, &streams.heads);
        claim.add(weight);
        let transaction = Transaction::new(Rc::clone(head), now, true);
        let body = Body::of(Claim::new(&self.held, &streams.bodies));
        let coming = Some(Box::new(Coming { body, began: now }));
        let mut one = Exchange { transaction, claim, coming, handed: false, out: Out::default(), since: now };
        match room {
            Ok(()) => (),
            Err(Lack::Own(why)) => {
                // It was not looked at: the client may ask again once others are answered (RFC 9113 section 8.7).
                streams.session.reset(id, Reason::REFUSED_STREAM);
                self.tell_refusal(connection, Some(&one), Refusal::new(503, why));
                return false;
            }
            Err(Lack::All) => {
                let why = "the heads together are longer than a quarter of max_buffered_bytes";
                self.refuse_stream(connection, streams, id, Some(one), false, Refusal::new(503, why));
                return false;
            }
        }
        let fits = self.judge(connection, head, &mut one);
        match fits {
            Ok(()) => {
                if head.expects {
                    streams.session.go_on(id);
                }
                streams.exchanges.insert(id, one);
                true
            }
            Err(refusal) => {
                self.refuse_stream(connection, streams, id, Some(one), false, refusal);
                false
            }
        }
    }

    /// Counts a request; false where the connection ends with it.
    fn admit(&self, connection: &mut Connection, streams: &mut Streams, now: Duration) -> bool {
        connection.served = connection.served.saturating_add(1);
        connection.since = now;
        if connection.served >= self.options.requests {
            streams.drain();
        }
        if connection.served > self.options.requests.saturating_add(STREAMS) {
            // It was told to go, and has had the time to hear it.
            streams.session.go_away(Reason::ENHANCE_YOUR_CALM);
            return false;
        }
        true
    }

    fn judge(&self, connection: &Connection, head: &Head, one: &mut Exchange) -> std::result::Result<(), Refusal> {
        let o = &self.options;
        let host = head.target.host.as_deref();
        if host.zip(connection.stream.tls()).is_some_and(|(host, tls)| !tls.serves(host)) {
            return Err(Refusal::new(421, "the connection was made for another host"));
        }
        let Some(coming) = &mut one.coming else { return Ok(()) };
        match head.framing {
            Framing::Length(length) if length > o.memory => coming.body.spill(o.spill.as_ref()),
            _ => Ok(()),
        }
    }

    /// A request is whole: it joins the queue.
    fn complete_stream(&mut self, index: usize, connection: &mut Connection, streams: &mut Streams, id: u32) {
        let Some(one) = streams.exchanges.get_mut(&id) else { return };
        let Some(coming) = one.coming.take() else { return };
        let mut body = coming.body;
        if let Err(refusal) = body.rewind() {
            let one = streams.exchanges.remove(&id);
            return self.refuse_stream(connection, streams, id, one, false, refusal);
        }
        one.transaction.forks = fork::forks();
        self.numbers += 1;
        let request = Request {
            ticket: Ticket { stream: id, ..self.ticket(index) },
            number: self.numbers,
            head: Rc::clone(&one.transaction.head),
            body,
            remote: connection.remote,
            peer: connection.peer,
            secure: connection.stream.tls().is_some(),
        };
        self.queue.push_back(request);
    }

    /// Says why on the stream; the others go on.
    fn refuse_stream(
        &mut self,
        connection: &Connection,
        streams: &mut Streams,
        id: u32,
        one: Option<Exchange>,
        head_only: bool,
        refusal: Refusal,
    ) {
        let date = self.date();
        let message = format!("{} {}\n", refusal.status, reason(refusal.status));
        let head = one.as_ref().map(|one| &one.transaction.head);
        let head_only = head_only || head.is_some_and(|head| &*head.method == "HEAD");
        let known = Known { version: Version::Http2, head_only, keeps_alive: true, date: &date };
        if let Ok(mut answer) = Answer::new(refusal.status) {
            answer.default_field("Content-Type", b"text/plain");
            let bodiless = answer.is_bodiless(&known);
            let ends = Ends::After(message.len() as u64);
            if streams.session.respond(id, &answer, &known, ends, bodiless).is_ok_and(|there| there) && !bodiless {
                streams.session.data(id, message.as_bytes(), true);
            }
        }
        self.tell_refusal(connection, one.as_ref(), refusal);
    }

    fn tell_refusal(&mut self, connection: &Connection, one: Option<&Exchange>, refusal: Refusal) {
        if self.options.tells_refusals {
            let length = one.and_then(|one| one.transaction.head.content_length());
            let in_memory = one.and_then(|one| one.coming.as_ref()).is_some_and(|it| it.body.bytes().is_some());
            let spill = refusal.status == 413 && in_memory && length.is_none_or(|n| n <= self.options.limits.body);
            self.tell(Note::Refused { remote: connection.remote, refusal, length, spill });
        }
    }

    /// True if a request that waits may be handed out.
    pub(super) fn may_hand_out(&self, ticket: Ticket) -> bool {
        let streams = self.all_streams(ticket).filter(|streams| !streams.full && !streams.is_frozen());
        streams.is_some_and(|streams| streams.exchanges.contains_key(&ticket.stream))
    }

    /// Whether a request that waited may be handed out: it may have been taken back, be another process's, or have to wait until its
    /// client has taken more of other answers.
    pub(super) fn hand_out(&mut self, request: Request) -> Handing {
        let Some(streams) = self.streams(request.ticket) else { return Handing::Gone };
        if streams.is_frozen() {
            return Handing::Later(request);
        }
        let full = streams.full;
        let Some(one) = streams.exchanges.get_mut(&request.ticket.stream).filter(|one| one.is_asked()) else {
            return Handing::Gone;
        };
        if full {
            streams.withheld.push(request);
            return Handing::Gone;
        }
        one.handed = true;
        Handing::Now(request)
    }

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

    /// [`Engine::is_roomy`] for a stream.
    pub(super) fn stream_is_roomy(&self, ticket: Ticket) -> bool {
        let Some(streams) = self.all_streams(ticket) else { return true };
        streams.exchanges.get(&ticket.stream).is_none_or(|one| one.out.held() <= streams.high())
    }

    /// [`Engine::has_room`] for a stream.
    pub(super) fn stream_has_room(&mut self, ticket: Ticket) -> bool {
        let Some(streams) = self.streams(ticket) else { return true };
        let high = streams.high();
        let Some(one) = streams.exchanges.get_mut(&ticket.stream) else { return true };
        let full = one.out.held() > high;
        one.transaction.hungry |= full;
        !full
    }

    /// [`Engine::answer`] for a stream.
    pub(super) fn answer_stream(&mut self, ticket: Ticket, answer: &Answer, content: Content<'_>) -> Result<bool> {
        let (now, date) = (self.clock.now(), self.date());
        let Some(streams) = self.streams(ticket) else { return Ok(false) };
        if !streams.exchanges.get(&ticket.stream).is_some_and(Exchange::is_asked) {
            return Ok(false);
        }
        failpoint("server answer");
        streams.claim();
        let Streams { session, exchanges, leaving, .. } = streams;
        let Some(one) = exchanges.get_mut(&ticket.stream) else { return Ok(false) };
        let head_only = &*one.transaction.head.method == "HEAD";
        let known = Known { version: Version::Http2, head_only, keeps_alive: true, date: &date };
        let ends = match &content {
            Content::Bytes(bytes) => Ends::After(bytes.len() as u64),
            Content::File(_, _, length) => Ends::After(*length),
            Content::Pieces | Content::Events => Ends::Chunked,
        };
        let bodiless = answer.is_bodiless(&known) || ends == Ends::After(0);
        match session.respond(ticket.stream, answer, &known, ends, bodiless) {
            Ok(true) => (),
            // Its end is among the events.
            Ok(false) => return Ok(false),
            Err(why) => {
                let _ = self.fail_stream(ticket);
                return Err(Error::new(Kind::Protocol, why.0));
            }
        }
        one.transaction.status = answer.status;
        one.transaction.state = State::Given;
        one.since = now;
        let (mut all, mut lacking) = (bodiless, None);
        match content {
            _ if bodiless => (),
            Content::Pieces | Content::Events => {
                one.transaction.state = State::Chunked;
                one.transaction.watched = matches!(content, Content::Events);
            }
            Content::Bytes(bytes) => {
                one.transaction.sent = bytes.len() as u64;
                let fits = bytes.len() <= TOGETHER
                    && session.pending() < ENOUGH
                    && session.window(ticket.stream, bytes.len()) == bytes.len();
                if fits {
                    session.data(ticket.stream, bytes, true);
                    all = true;
                } else {
                    lacking = allocation::append(one.out.bytes(), bytes).err();
                }
            }
            Content::File(file, from, length) => {
                one.transaction.sent = length;
                one.out.put_file(file, from, length);
            }
        }
        if let Some(error) = lacking {
            self.abort_stream(ticket);
            return Err(error);
        }
        if all && let Some(one) = exchanges.remove(&ticket.stream) {
            leaving.push_back((one.transaction, one.claim, true));
        }
        if answer.closes() {
            streams.drain();
        }
        streams.session.poll();
        self.settle(ticket, now)
    }

    /// An answer that cannot be given: the client gets 500.
    fn fail_stream(&mut self, ticket: Ticket) -> Result<bool> {
        let Ok(mut answer) = Answer::new(500) else { return Ok(false) };
        answer.default_field("Content-Type", b"text/plain");
        self.answer_stream(ticket, &answer, Content::Bytes(b"500 Internal Server Error\n"))
    }

    /// [`Engine::piece`] for a stream.
    pub(super) fn stream_piece(&mut self, ticket: Ticket, bytes: &[u8]) -> Result<bool> {
        let now = self.clock.now();
        let Some(one) = self.streams(ticket).and_then(|streams| streams.exchanges.get_mut(&ticket.stream)) else {
            return Ok(false);
        };
        if one.transaction.state != State::Chunked {
            return Ok(true);
        }
        failpoint("server piece");
        if one.out.is_empty() {
            // The client has taken all that there was, however long ago: its time begins now.
            one.since = now;
        }
        allocation::append(one.out.bytes(), bytes)?;
        one.transaction.sent += bytes.len() as u64;
        self.settle(ticket, now)
    }

    /// [`Engine::finish`] for a stream.
    pub(super) fn finish_stream(&mut self, ticket: Ticket) -> Result<bool> {
        let now = self.clock.now();
        let Some(one) = self.streams(ticket).and_then(|streams| streams.exchanges.get_mut(&ticket.stream)) else {
            return Ok(false);
        };
        one.transaction.state = State::Given;
        one.transaction.hungry = false;
        self.settle(ticket, now)
    }

    /// [`Engine::abort`] for a stream.
    pub(super) fn abort_stream(&mut self, ticket: Ticket) {
        let now = self.clock.now();
        let Some(streams) = self.streams(ticket) else { return };
        let over = streams.exchanges.remove(&ticket.stream);
        streams.session.reset(ticket.stream, Reason::INTERNAL_ERROR);
        streams.session.poll();
        if let (Some(one), Some(connection)) = (over, self.take(ticket.index)) {
            self.log(&connection, &one.transaction, false, now);
            self.put(ticket.index, connection);
        }
        let _ = self.settle(ticket, now);
    }

    /// Whether nobody will answer: [`Engine::abandon`] for a stream. Where a child may be answering, this end lets go of all of the
    /// connection.
    pub(super) fn abandon_stream(&mut self, ticket: Ticket) -> bool {
        if !self.stream(ticket).is_some_and(Exchange::is_asked) {
            return false;
        }
        if self.stream(ticket).is_some_and(|one| one.transaction.forks != fork::forks()) {
            self.drop_connection(ticket.index);
            return false;
        }
        self.fail_stream(ticket).unwrap_or(false)
    }

    /// Writes what the kernel takes of a connection that was spoken to; false if the client is gone.
    fn settle(&mut self, ticket: Ticket, now: Duration) -> Result<bool> {
        let Some(mut connection) = self.take(ticket.index) else { return Ok(false) };
        let Some(mut streams) = lift(&mut connection) else {
            self.put(ticket.index, connection);
            return Ok(false);
        };
        let wrote = self.flush(ticket.index, &mut connection, &mut streams, now);
        let goes_on = streams.session.has_events() || streams.session.is_over() || streams.draining;
        connection.phase = Phase::Streams(streams);
        match wrote {
            Ok(_) => {
                if goes_on || !connection.input.is_empty() || connection.readable || connection.stream.is_ready() {
                    self.stir(ticket.index, &mut connection);
                }
                self.put(ticket.index, connection);
                Ok(true)
            }
            Err(error) => {
                self.end(ticket.index, *connection);
                if error.is(Kind::ConnectionReset) { Ok(false) } else { Err(error) }
            }
        }
    }

    /// The server stops: what is under way may end, and one without anything under way is told and closed.
    pub(super) fn dismiss(&mut self, index: usize) {
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
    pub(super) fn part(&mut self, index: usize, connection: &mut Connection, now: Duration) {
        let Some(mut streams) = lift(connection) else { return };
        if !streams.is_frozen() && self.flush(index, connection, &mut streams, now).is_ok() {
            streams.session.go_away(Reason::NO_ERROR);
            let _ = self.flush(index, connection, &mut streams, now);
        }
        connection.phase = Phase::Streams(streams);
    }

    /// The timers of a connection. `late`: the server has waited for it long enough.
    pub(super) fn sweep_streams(&mut self, index: usize, now: Duration, late: bool) {
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
