//! Many fetches in one blocking call: a few worker threads, and the calling thread, which waits for them.
//!
//! The threads end with the call. Only the calling thread can see an interrupt (Ctrl-C); the workers learn of it at the
//! next slice of their waits.

#[cfg(feature = "http2")]
use crate::client;
use crate::{
    allocation,
    client::{Http2, Step, stream::Stream},
    deadline::{Deadline, SLICE, check_interrupt, set_probe},
    error::{Error, Kind, Result},
    http::url::Origin,
    panics::{caught, contained, failpoint},
};
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

const OP: &str = "fetch_all";
/// Of each thread, in bytes. What is reserved counts where a process may have so much address space and no more.
const STACK: usize = 1 << 20;
/// What must be left when a thread is started besides the first, in bytes: so much, and for the work of each so much more.
/// (Larger than what glibc, having seen it freed, would keep for later.)
const SPARE: usize = 40 << 20;
const EACH: usize = 2 << 20;

/// How many at once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// In all. Defaults to 16.
    pub parallel: usize,
    /// To one origin, as far as the first hop goes. Defaults to 6.
    pub per_origin: usize,
    /// To one origin whose connection is shared (HTTP/2), by one of those. Defaults to 100.
    pub streams: usize,
    /// Of everything together; each fetch has its own besides. Defaults to `None`.
    pub timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { parallel: 16, per_origin: 6, streams: 100, timeout: None }
    }
}

/// One of the fetches.
struct Job<'a> {
    /// Its place in the results.
    index: usize,
    stream: &'a mut Stream,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "http2"), allow(dead_code, reason = "nothing comes back"))]
enum At {
    /// Its clock has not started.
    New,
    /// It was under way: a request of it is out, or is to be made anew.
    Begun,
    /// The head of its answer is here.
    Body,
}

struct State<'a> {
    waiting: VecDeque<Job<'a>>,
    /// Fetches that may come to wait again.
    together: usize,
    /// Fetches under way.
    busy: HashMap<Origin, usize>,
    done: Vec<Option<Result<()>>>,
    /// Threads that have ended.
    gone: usize,
}

struct Shared<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
    cancelled: Arc<AtomicBool>,
}

/// Fetches them all, bodies included, and tells of each how it ended, in their order. Fails as a whole only if it is
/// interrupted, or no thread can be had.
pub fn gather(streams: Vec<&mut Stream>, limits: &Limits) -> Result<Vec<Result<()>>> {
    // The threads know nothing of the block that this call is in.
    let whole = Deadline::of_work(Deadline::new(limits.timeout).left()).start();
    let count = streams.len();
    let shared = Shared {
        state: Mutex::new(State {
            waiting: streams
                .into_iter()
                .enumerate()
                .map(|(index, stream)| Job { index, stream, at: At::New })
                .collect(),
            together: 0,
            busy: HashMap::new(),
            done: (0..count).map(|_| None).collect(),
            gone: 0,
        }),
        changed: Condvar::new(),
        cancelled: Arc::new(AtomicBool::new(false)),
    };
    let ended = thread::scope(|scope| {
        let mut running = 0;
        let mut none = None;
        for _ in 0..count.min(limits.parallel.max(1)) {
            // Stacks must not take the last of the memory: see `allocation`.
            if running > 0 && !allocation::has(SPARE + running * EACH) {
                break;
            }
            let (shared, whole) = (&shared, whole.clone());
            let work = move || contained(|| shared.work(limits, &whole));
            match thread::Builder::new().name(OP.into()).stack_size(STACK).spawn_scoped(scope, work) {
                Ok(_) => running += 1,
                Err(e) => none = Some(Error::from_io("fetch_all: start a thread", &e)),
            }
        }
        match none {
            Some(err) if running == 0 => Err(err),
            _ => shared.wait(running),
        }
    });
    ended?;
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lost = || Error::new(Kind::Socket, "fetch_all: the request was not made");
    Ok(state.done.into_iter().map(|done| done.unwrap_or_else(|| Err(lost()))).collect())
}

impl<'a> Shared<'a> {
    fn state(&self) -> MutexGuard<'_, State<'a>> {
        // A panic with the lock held leaves whole entries.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the threads' end, and ends them if the host wants its thread back.
    fn wait(&self, running: usize) -> Result<()> {
        let mut interrupted = Ok(());
        let mut state = self.state();
        while state.gone < running {
            drop(state);
            if interrupted.is_ok() {
                interrupted = check_interrupt(OP);
                if interrupted.is_err() {
                    self.cancelled.store(true, Relaxed);
                    self.changed.notify_all();
                }
            }
            state = self.state();
            if state.gone < running {
                state = self.changed.wait_timeout(state, SLICE).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        interrupted
    }

    /// What each thread does.
    fn work(&self, limits: &Limits, whole: &Deadline) {
        let _leave = Leave(self);
        CANCELLED.with(|flag| flag.replace(Some(Arc::clone(&self.cancelled))));
        set_probe(|| CANCELLED.with(|flag| flag.borrow().as_ref().is_some_and(|flag| flag.load(Relaxed))));
        while let Some((job, origin)) = self.next(limits.per_origin.max(1)) {
            #[cfg(feature = "http2")]
            let _done = (job.stream.fetch.options().http2 != Http2::Never).then(|| Together(self));
            if whole.is_past() {
                self.ended(job.index, &origin, Err(whole.error(OP)));
                continue;
            }
            #[cfg(feature = "http2")]
            if job.stream.fetch.options().http2 != Http2::Never {
                self.together(job, &origin, limits.streams, whole);
                continue;
            }
            let done = caught(|| fetch(job.stream, whole));
            self.ended(job.index, &origin, done);
        }
    }

    /// The request `index` is done with.
    fn ended(&self, index: usize, origin: &Origin, done: Result<()>) {
        let mut state = self.state();
        if let Some(place) = state.done.get_mut(index) {
            *place = Some(done);
        }
        if let Some(count) = state.busy.get_mut(origin) {
            *count -= 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Makes a request; where it goes over a connection that others share, makes more of them at once, up to `most`, and takes
    /// the answers as they come: whatever would wait for anything else goes back, for a thread that has nothing else to do.
    #[cfg(feature = "http2")]
    fn together(&self, first: Job<'a>, origin: &Origin, most: usize, whole: &Deadline) {
        let (mut under_way, mut next, mut shares) = (Vec::new(), Some(first), false);
        loop {
            while let Some(job) = next.take() {
                let alone = under_way.is_empty();
                if let Some(job) = self.launch(job, origin, whole) {
                    let is_shared = job.at != At::Body && job.stream.fetch.is_shared();
                    match is_shared || alone {
                        true => under_way.push(job),
                        false => self.back(job, origin),
                    }
                    shares = is_shared || shares && !alone;
                }
                next = self.further(&under_way, shares, origin, most, whole);
            }
            if under_way.is_empty() {
                return;
            }
            if !shares {
                for job in under_way.drain(..) {
                    let done = caught(|| finish(job.at, job.stream));
                    self.ended(job.index, origin, done);
                }
                return;
            }
            let found = client::first_answered(under_way.iter_mut().map(|job| &mut *job.stream.fetch));
            let (at, late) = found.unwrap_or((0, true));
            // Behind the others, if it comes back: one that always has something must not keep them waiting.
            let job = under_way.remove(at.min(under_way.len() - 1));
            next = self.go_on(job, late, origin, &mut under_way);
            if next.is_none() {
                next = self.further(&under_way, shares, origin, most, whole);
            }
        }
    }

    /// Makes the request. `None` if that failed.
    #[cfg(feature = "http2")]
    fn launch(&self, mut job: Job<'a>, origin: &Origin, whole: &Deadline) -> Option<Job<'a>> {
        if job.at == At::Body {
            return Some(job);
        }
        let new = job.at == At::New;
        job.at = At::Begun;
        match caught(|| launch(job.stream, new.then_some(whole))) {
            Ok(()) => Some(job),
            Err(err) => {
                self.ended(job.index, origin, Err(err));
                None
            }
        }
    }

    /// Goes on with an answer of which more is here, or whose time is up, as far as that needs no wait. What is to be made anew at
    /// once.
    #[cfg(feature = "http2")]
    fn go_on(&self, mut job: Job<'a>, late: bool, origin: &Origin, under_way: &mut Vec<Job<'a>>) -> Option<Job<'a>> {
        if late {
            job.stream.fetch.hurry();
        }
        if job.at == At::Begun {
            match caught(|| job.stream.fetch.land()) {
                Ok(Some(Step::Head)) => job.at = At::Body,
                Ok(Some(_)) => {
                    self.ended(job.index, origin, Err(unfit()));
                    return None;
                }
                Ok(None) => {
                    let fetch = &job.stream.fetch;
                    if fetch.stays() && fetch.request().url.origin() == origin && !fetch.is_late() {
                        return Some(job);
                    }
                    self.back(job, origin);
                    return None;
                }
                Err(err) => {
                    self.ended(job.index, origin, Err(err));
                    return None;
                }
            }
        }
        let done = caught(|| match job.stream.soak() || late || job.stream.fetch.is_late() {
            // A body that was lost may be asked for again, after a pause.
            true if job.stream.fetch.options().retry.is_some() && !job.stream.fetch.is_over() => Ok(Some(false)),
            true => job.stream.gather().map(|()| Some(true)),
            false => Ok(None),
        });
        match done {
            Ok(None) => under_way.push(job),
            Ok(Some(false)) => self.back(job, origin),
            Ok(Some(true)) => self.ended(job.index, origin, Ok(())),
            Err(err) => self.ended(job.index, origin, Err(err)),
        }
        None
    }

    /// Has another thread go on with it, or this one once it is done with the others.
    #[cfg(feature = "http2")]
    fn back(&self, job: Job<'a>, origin: &Origin) {
        let mut state = self.state();
        if let Some(count) = state.busy.get_mut(origin) {
            *count -= 1;
        }
        state.waiting.push_front(job);
        drop(state);
        self.changed.notify_all();
    }

    /// One more for [`Shared::together`].
    #[cfg(feature = "http2")]
    fn further(
        &self,
        under_way: &[Job<'a>],
        shares: bool,
        origin: &Origin,
        most: usize,
        whole: &Deadline,
    ) -> Option<Job<'a>> {
        // Where the connection has no room, another thread opens one of its own.
        let has_room = under_way.last().is_none_or(|job| job.stream.fetch.has_room());
        (shares && has_room && !self.cancelled.load(Relaxed) && !whole.is_past()).then(|| self.alike(origin, most))?
    }

    /// One more request to that origin that may go over a shared connection, where fewer than `most` are under way.
    #[cfg(feature = "http2")]
    fn alike(&self, origin: &Origin, most: usize) -> Option<Job<'a>> {
        let mut state = self.state();
        if state.busy.get(origin).is_some_and(|count| *count >= most) {
            return None;
        }
        let like = |job: &Job<'_>| {
            let fetch = &job.stream.fetch;
            job.at == At::New && !fetch.stands_alone() && fetch.request().url.origin() == origin
        };
        let at = state.waiting.iter().position(like)?;
        let found = state.waiting.remove(at)?;
        *state.busy.entry(origin.clone()).or_default() += 1;
        Some(found)
    }

    /// The first that waits for an origin with room, once there is one; `None` when none is left.
    fn next(&self, per_origin: usize) -> Option<(Job<'a>, Origin)> {
        let mut state = self.state();
        loop {
            if state.waiting.is_empty() && state.together == 0 || self.cancelled.load(Relaxed) {
                return None;
            }
            failpoint("fetch_all, with its lock");
            let State { waiting, busy, .. } = &mut *state;
            // What has begun has had its turn.
            let has_room = |job: &Job<'_>| {
                let count = busy.get(job.stream.fetch.request().url.origin());
                job.at != At::New || count.is_none_or(|count| *count < per_origin)
            };
            if let Some(at) = waiting.iter().position(has_room)
                && let Some(job) = waiting.remove(at)
            {
                let origin = job.stream.fetch.request().url.origin().clone();
                *busy.entry(origin.clone()).or_default() += 1;
                state.together += usize::from(job.stream.fetch.options().http2 != Http2::Never);
                return Some((job, origin));
            }
            state = self.changed.wait_timeout(state, SLICE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Fetches are under way that may come to wait again.
#[cfg(feature = "http2")]
struct Together<'a, 'b>(&'a Shared<'b>);

#[cfg(feature = "http2")]
impl Drop for Together<'_, '_> {
    fn drop(&mut self) {
        self.0.state().together -= 1;
        self.0.changed.notify_all();
    }
}

/// Tells that a thread has ended, however it did.
struct Leave<'a, 'b>(&'a Shared<'b>);

impl Drop for Leave<'_, '_> {
    fn drop(&mut self) {
        self.0.state().gone += 1;
        self.0.changed.notify_all();
    }
}

thread_local! {
    static CANCELLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

fn fetch(stream: &mut Stream, whole: &Deadline) -> Result<()> {
    stream.fetch.begin(whole);
    failpoint("fetch_all");
    finish(At::Begun, stream)
}

/// Sends the request, and waits for nothing more. `whole` where it begins.
#[cfg(feature = "http2")]
fn launch(stream: &mut Stream, whole: Option<&Deadline>) -> Result<()> {
    if let Some(whole) = whole {
        stream.fetch.begin(whole);
    }
    failpoint("fetch_all");
    stream.fetch.launch()
}

fn finish(at: At, stream: &mut Stream) -> Result<()> {
    if at == At::Body {
        return stream.gather();
    }
    match stream.fetch.step()? {
        Step::Head => stream.gather(),
        Step::Piece | Step::Sent => Err(unfit()),
    }
}

fn unfit() -> Error {
    Error::new(Kind::Socket, "fetch_all: the body has to come from memory or a file")
}
