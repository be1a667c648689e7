//! One connection of a server: its state, and its buffers. An idle one holds no buffer.

use super::{body::Body, stream::Stream, streams::Streams};
use crate::{
    error::{Error, Kind, Result},
    fork,
    http::incoming::{Head, Limits, Reader},
    wire::Peer,
};
use std::{cell::Cell, fs::File, net::SocketAddr, os::unix::fs::FileExt, rc::Rc, time::Duration};

/// What is read from a file at a time.
const PIECE: usize = 64 * 1024;

pub(super) struct Connection {
    pub stream: Stream,
    pub phase: Phase,
    /// The kernel may have something to read, or room to write: it says so once (edge-triggered).
    pub readable: bool,
    pub writable: bool,
    /// The client has ended its direction: there is an end to read.
    pub ended: bool,
    /// It stands in the list of those that something is to be done for.
    pub stirred: bool,
    /// Arrived, and not looked at yet.
    pub input: Vec<u8>,
    pub out: Out,
    /// Requests so far.
    pub served: u32,
    /// When the phase began; while an answer is written, when the client last took some of it.
    pub since: Duration,
    /// Since when bytes wait for the client without a break, and how many it has taken since.
    pub waited: Option<(Duration, u64)>,
    pub remote: Option<SocketAddr>,
    pub peer: Option<Peer>,
    /// One of those that are open, for as long as it lives.
    _counted: Counted,
}

/// A connection that is open: counted while this lives, also where a panic drops it.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(open: &Rc<Cell<usize>>) -> Counted {
        open.set(open.get() + 1);
        Counted(Rc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

pub(super) enum Phase {
    /// The TLS handshake.
    Shake,
    /// Between requests.
    Rest,
    Read(Box<Reading>),
    /// The request is the script's, or on the way to it, or its answer is under way.
    Transaction(Box<Transaction>),
    /// Many requests and answers at a time: HTTP/2.
    Streams(Box<Streams>),
    /// The last words are on their way; what the client still sends is dropped, so that no reset overtakes them.
    Linger,
}

/// A request that is coming in.
pub(super) struct Reading {
    pub reader: Reader,
    pub head: Option<Rc<Head>>,
    pub body: Body,
    /// When its first byte came, and when its head was there.
    pub began: Duration,
    pub body_began: Duration,
}

impl Reading {
    pub fn new(limits: Limits, body: Body, now: Duration) -> Reading {
        Reading { reader: Reader::new(limits), head: None, body, began: now, body_began: now }
    }
}

/// A request that is being answered.
pub(super) struct Transaction {
    pub head: Rc<Head>,
    pub began: Duration,
    pub state: State,
    pub status: u16,
    /// Bytes of body that were given.
    pub sent: u64,
    pub keeps_alive: bool,
    /// Somebody has pieces ready, and is told when there is room.
    pub hungry: bool,
    /// A client that ends its direction wants no more of the answer.
    pub watched: bool,
    /// Children forked when the request was handed out: one of them may be the one that answers.
    pub forks: u64,
}

impl Transaction {
    pub fn new(head: Rc<Head>, began: Duration, keeps_alive: bool) -> Transaction {
        Transaction {
            head,
            began,
            state: State::Asked,
            status: 0,
            sent: 0,
            keeps_alive,
            hungry: false,
            watched: false,
            forks: fork::forks(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not answered yet.
    Asked,
    /// A body in pieces: chunked, or until the connection ends.
    Chunked,
    Close,
    /// All of it was given.
    Given,
}

/// What waits to be written.
#[derive(Default)]
pub(super) struct Out {
    bytes: Vec<u8>,
    at: usize,
    /// Behind the bytes: so many of a file, from a place on.
    file: Option<(File, u64, u64)>,
}

impl Out {
    /// Bytes in memory.
    pub fn held(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.held() == 0 && self.file.is_none()
    }

    pub fn bytes(&mut self) -> &mut Vec<u8> {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        &mut self.bytes
    }

    pub fn put_file(&mut self, file: File, from: u64, count: u64) {
        self.file = (count > 0).then_some((file, from, count));
    }

    /// Gets the next of the file once nothing else is left.
    pub fn fill(&mut self) -> Result<()> {
        if self.held() > 0 {
            return Ok(());
        }
        self.bytes = Vec::new();
        self.at = 0;
        match self.file.take() {
            Some(piece) => self.refill(piece),
            None => Ok(()),
        }
    }

    fn refill(&mut self, (file, from, left): (File, u64, u64)) -> Result<()> {
        let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        self.bytes.resize(count, 0);
        let read = loop {
            match file.read_at(&mut self.bytes, from) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                read => break read.unwrap_or(0),
            }
        };
        self.bytes.truncate(read);
        if read == 0 {
            // It was cut meanwhile: what was announced cannot be sent.
            return Err(Error::new(Kind::ConnectionReset, "the file was cut while it was sent"));
        }
        let read = read as u64;
        if left > read {
            self.file = Some((file, from + read, left - read));
        }
        Ok(())
    }
}

/// For streams, which take what their windows have room for.
#[cfg(feature = "http2")]
impl Out {
    /// Up to `count` of the bytes in memory.
    pub fn front(&self, count: usize) -> &[u8] {
        self.bytes.get(self.at..self.at + count).unwrap_or_default()
    }

    pub fn advance(&mut self, count: usize) {
        self.at += count;
    }

    /// Bytes that it keeps in memory: those that were taken go with the last of them, or before the next.
    pub fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// True while it keeps a file open.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// True if `count` bytes are all that waits.
    pub fn is_only(&self, count: usize) -> bool {
        self.held() == count && self.file.is_none()
    }
}

impl Connection {
    /// `open`: how many there are.
    pub fn new(stream: Stream, phase: Phase, now: Duration, open: &Rc<Cell<usize>>) -> Connection {
        let wire = stream.wire();
        let remote = wire.remote();
        let peer = if remote.is_none() { wire.credentials() } else { None };
        Connection {
            stream,
            phase,
            readable: true,
            writable: true,
            ended: false,
            stirred: false,
            input: Vec::new(),
            out: Out::default(),
            served: 0,
            since: now,
            waited: None,
            remote,
            peer,
            _counted: Counted::new(open),
        }
    }

    /// Writes what the kernel takes; true once nothing waits. Sets `since` when the client takes some.
    pub fn pump(&mut self, now: Duration) -> Result<bool> {
        loop {
            if self.out.held() == 0 {
                self.out.fill()?;
                if self.out.held() == 0 {
                    break;
                }
            }
            let bytes = self.out.bytes.get(self.out.at..).unwrap_or_default();
            match self.stream.write(bytes)? {
                Some(count) => {
                    self.out.at += count;
                    self.since = now;
                    if let Some((_, taken)) = &mut self.waited {
                        *taken += count as u64;
                    }
                }
                None => {
                    self.writable = false;
                    self.waited.get_or_insert((now, 0));
                    return Ok(false);
                }
            }
        }
        let done = self.stream.flush()?;
        self.writable &= done;
        if done {
            self.waited = None;
        } else {
            self.waited.get_or_insert((now, 0));
        }
        Ok(done)
    }

    /// True if the client takes what waits for it more slowly than `rate`, in bytes a second, after `grace`.
    pub fn is_slow(&self, now: Duration, grace: Duration, rate: u64) -> bool {
        self.waited.is_some_and(|(since, taken)| {
            let waited = now.saturating_sub(since);
            waited > grace && (taken as f64) < waited.as_secs_f64() * rate as f64
        })
    }
}
