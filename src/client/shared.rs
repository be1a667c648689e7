//! One HTTP/2 connection that requests share: bytes go between the socket and the [`Session`], under the deadline of
//! the waiting call.
//!
//! There is no thread of its own. A call that waits for an answer moves the bytes of all; if several threads wait
//! (`fetch_all`), one waits for the socket and the others for it. While no call waits, nothing is sent or answered, not
//! even a peer's PING.

use crate::{
    conn::Conn,
    deadline::{Deadline, check_interrupt, uptime},
    error::{Error, Kind, Result},
    fork,
    http::http2::{
        answer::Answer,
        session::{Fault, Session},
    },
    panics::{contained, failpoint},
    wire::stir,
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Reads in a row before whoever waits looks at what has come.
const MAX_READS: usize = 4;
/// After so many bytes there are likely more.
const LONG_READ: usize = 32 * 1024;

/// What one more request would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It goes out now.
    Now,
    /// It waits until the peer allows one more.
    Later,
    /// There are as many as we make on one connection.
    None,
    /// No further requests may be made.
    Gone,
}

/// A connection. Clones of the `Arc` are its users.
pub struct Shared {
    state: Mutex<State>,
    /// Something was moved, or nobody waits for the socket any more.
    changed: Condvar,
    /// The socket's, for waits without the lock.
    fd: OwnedFd,
    peer: String,
    born: u64,
}

/// What the lock guards.
pub struct State {
    conn: Conn,
    pub session: Session,
    /// Somebody waits for the socket.
    waited: bool,
    /// Threads that wait for who does: each `notify` is a system call.
    others: usize,
    /// Bytes that have come, in all: to tell a silent connection.
    heard: u64,
    /// No further requests: it was silent for too long.
    retired: bool,
    /// When a request on it ended last, by [`uptime`].
    released: Duration,
    /// Counts what may have become of the requests: whoever looked, and let go of the lock, looks again.
    turns: u64,
}

impl Shared {
    /// A connection whose peer is known to speak HTTP/2.
    pub fn new(conn: Conn) -> Result<Arc<Shared>> {
        let fd = conn.as_fd().try_clone_to_owned().map_err(|e| Error::from_io("duplicate a descriptor", &e))?;
        let peer = conn.wire().peer().to_owned();
        let state = State {
            conn,
            session: Session::new()?,
            waited: false,
            others: 0,
            heard: 0,
            retired: false,
            released: Duration::ZERO,
            turns: 0,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Ok(Arc::new(Shared { state, changed, fd, peer, born: fork::generation() }))
    }

    /// True if this process made the connection.
    pub fn is_ours(&self) -> bool {
        self.born == fork::generation()
    }

    /// Whether it can carry one more request. Looks at what has come meanwhile.
    pub fn room(&self) -> Room {
        if !self.is_ours() {
            return Room::Gone;
        }
        let mut state = self.lock();
        let alone = !state.waited;
        if alone && state.pump(true).is_err() {
            return Room::Gone;
        }
        self.told(&state);
        match state.is_usable() {
            false => Room::Gone,
            true if state.session.has_room() => Room::Now,
            true if state.session.takes_more() => Room::Later,
            true => Room::None,
        }
    }

    /// Requests under way.
    pub fn streams(&self) -> usize {
        self.lock().session.streams()
    }

    /// True if one more goes out at once, by what is known.
    pub fn has_room(&self) -> bool {
        let state = self.lock();
        state.is_usable() && state.session.has_room()
    }

    /// When a request on it ended last, by [`uptime`].
    pub fn released(&self) -> Duration {
        self.lock().released
    }

    /// What stirs when something comes.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Does something with the session, and sends what it has to say as far as that goes without a wait.
    pub fn with<T>(&self, act: impl FnOnce(&mut Session) -> T) -> T {
        let mut state = self.lock();
        let done = act(&mut state.session);
        state.turns += 1;
        // What goes wrong here, the next wait tells.
        let _ = state.pump(false);
        self.told(&state);
        done
    }

    /// The same, and reads what is there before.
    pub fn glance<T>(&self, act: impl FnOnce(&mut Session) -> T) -> T {
        let mut state = self.lock();
        let _ = state.pump(true);
        self.told(&state);
        act(&mut state.session)
    }

    /// Waits until `look` finds what it looks for: moves bytes meanwhile, or lets another thread do so. `since`: what had been heard of
    /// the peer when the request was made; where nothing has been since, and time is up, no further requests are made here.
    pub fn wait<T>(
        &self,
        deadline: &Deadline,
        since: Option<u64>,
        mut look: impl FnMut(&mut Session) -> std::result::Result<Option<T>, Fault>,
    ) -> std::result::Result<T, Fault> {
        let mut state = self.lock();
        // What is here already counts, whatever the clock says.
        let mut read = deadline.is_now();
        let mut last = read;
        loop {
            let moved = state.pump(read);
            let found = look(&mut state.session);
            // What was found may have made room, for the peer or for us.
            let more = state.pump(false);
            self.told(&state);
            match found {
                Ok(None) => {
                    moved.and(more)?;
                    state.session.over().map_or(Ok(()), Err)?;
                }
                Ok(Some(found)) => return Ok(found),
                Err(fault) => return Err(fault),
            }
            if deadline.is_past() {
                if !last {
                    // The bytes may have come while this thread had other work.
                    (last, read) = (true, true);
                    continue;
                }
                // A connection that said nothing all the while may be a dead one.
                state.retired |= since == Some(state.heard) && !deadline.is_now();
                return Err(deadline.error(&format!("recv from {}", self.peer)).into());
            }
            // Without the lock: a signal's handler may use this connection, or let go of requests on it.
            let turns = state.turns;
            drop(state);
            check_interrupt("recv")?;
            state = self.lock();
            if state.turns != turns {
                read = false;
                continue;
            }
            (state, read) = self.pause(state, deadline);
        }
    }

    /// Waits for the socket, or for who waits for it; whether there may be something to read.
    fn pause<'a>(&'a self, mut state: MutexGuard<'a, State>, deadline: &Deadline) -> (MutexGuard<'a, State>, bool) {
        let slice = deadline.slice();
        let blocked = state.session.pending() > 0 || state.conn.is_behind();
        if state.waited && !blocked {
            state.others += 1;
            let (mut state, _) = self.changed.wait_timeout(state, slice).unwrap_or_else(PoisonError::into_inner);
            state.others -= 1;
            return (state, false);
        }
        if state.conn.ready() && state.session.room() > 0 {
            return (state, true);
        }
        let leads = !std::mem::replace(&mut state.waited, true);
        // No more is read than there is room for.
        let wants = leads && state.session.room() > 0;
        drop(state);
        let stirred = stir(self.fd.as_fd(), wants, blocked, slice);
        let mut state = self.lock();
        if leads {
            state.waited = false;
            self.told(&state);
        }
        if let Err(err) = stirred {
            state.session.fail(err);
            state.turns += 1;
        }
        (state, wants)
    }

    /// Tells the others that there may be something for them.
    fn told(&self, state: &State) {
        if state.others > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.session.fail(Error::new(Kind::Socket, "the connection was in the middle of a failure"));
            self.state.clear_poison();
            state
        })
    }
}

impl State {
    fn is_usable(&self) -> bool {
        self.session.is_open() && !self.retired
    }

    /// Moves what can be moved without a wait; bytes of the peer's only with `read`.
    fn pump(&mut self, read: bool) -> Result<()> {
        failpoint("http2");
        self.write();
        for _ in 0..if read { MAX_READS } else { 0 } {
            if self.session.room() == 0 {
                break;
            }
            let mut long = false;
            if self.conn.buffered().is_empty() {
                let filled = self.conn.fill_now();
                self.turns += u64::from(!matches!(filled, Ok(None)));
                match filled {
                    Ok(None) => break,
                    Ok(Some(0)) => {
                        self.session.end();
                        break;
                    }
                    Ok(Some(count)) => {
                        self.heard += count as u64;
                        long = count >= LONG_READ;
                    }
                    Err(err) if err.is(Kind::ConnectionReset) => {
                        // As an end: what came before is worth having.
                        self.session.end();
                        break;
                    }
                    Err(err) => {
                        self.session.fail(err.clone());
                        return Err(err);
                    }
                }
            }
            let session = &mut self.session;
            if !self.conn.hand_over(|data, part| session.feed_all(data, part)) {
                let count = session.feed(self.conn.buffered());
                self.conn.consume(count);
            }
            self.turns += 1;
            self.write();
            if !long && !self.conn.ready() {
                // Another look costs a system call, and the wait that follows is one anyway.
                break;
            }
        }
        Ok(())
    }

    /// Sends what the transport takes.
    fn write(&mut self) {
        while self.session.pending() > 0 {
            let conn = &mut self.conn;
            match self.session.send(|bytes| Ok(conn.write_now(bytes)?.unwrap_or(0))) {
                Ok(0) => break,
                // There may be room for more of somebody's body.
                Ok(_) => self.turns += 1,
                Err(_) => {
                    // Nobody will read it. What the peer said before it went away is read still.
                    let _ = self.session.send(|bytes| Ok(bytes.len()));
                }
            }
        }
        self.conn.push_on();
    }
}

/// A request on a shared connection: released, whatever becomes of it.
pub struct Stream {
    pub shared: Arc<Shared>,
    answer: Option<Answer>,
    /// What had been heard when it began.
    since: u64,
}

impl Stream {
    pub fn new(shared: Arc<Shared>, answer: Answer) -> Stream {
        let since = shared.lock().heard;
        Stream { shared, answer: Some(answer), since }
    }

    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }

    pub fn answer_mut(&mut self) -> Option<&mut Answer> {
        self.answer.as_mut()
    }

    /// See [`Shared::wait`].
    pub fn wait<T>(
        &mut self,
        deadline: &Deadline,
        mut look: impl FnMut(&mut Answer, &mut Session) -> std::result::Result<Option<T>, Fault>,
    ) -> std::result::Result<T, Fault> {
        let Some(answer) = &mut self.answer else { return Err(gone().into()) };
        self.shared.wait(deadline, Some(self.since), |session| look(answer, session))
    }

    /// See [`Shared::glance`].
    pub fn glance<T>(
        &mut self,
        look: impl FnOnce(&mut Answer, &mut Session) -> std::result::Result<T, Fault>,
    ) -> std::result::Result<T, Fault> {
        let Some(answer) = &mut self.answer else { return Err(gone().into()) };
        self.shared.glance(|session| look(answer, session))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        if self.shared.is_ours() {
            contained(|| {
                self.shared.with(|session| session.release(answer));
                self.shared.lock().released = uptime();
            });
        }
    }
}

fn gone() -> Error {
    Error::new(Kind::Closed, "the request was closed")
}
