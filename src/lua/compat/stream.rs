//! `send` and `receive` of streams: LuaSocket's patterns and timeouts over the connection's own buffer.

use super::{
    messages::{Fail, Text, Why},
    object::{Clock, Item, Object},
};
use crate::{
    conn::Conn,
    deadline::{check_block, check_interrupt},
    lua::turns::Buffered,
    wire::Want,
};

/// What `receive` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    Line,
    /// A line with the CRs that are not of its end: what is strict about them is told of them.
    Raw,
    All,
    Count(usize),
}

/// What `receive` got.
pub struct Got {
    pub bytes: Bytes,
    /// How much of the buffer is spent.
    pub spent: usize,
    /// Why it is not all; then `bytes` is what there was.
    pub why: Option<Fail>,
}

pub enum Bytes {
    /// The first bytes of the buffer.
    Front(usize),
    Own(Vec<u8>),
}

impl Got {
    fn front(length: usize, spent: usize) -> Got {
        Got { bytes: Bytes::Front(length), spent, why: None }
    }

    pub fn nothing(why: Fail) -> Got {
        Got { bytes: Bytes::Own(Vec::new()), spent: 0, why: Some(why) }
    }
}

/// Why a read stopped before it had everything.
enum Stop {
    End,
    Full,
    Failed(Fail),
}

/// Most bytes that one call may answer, if it says so.
const FULL: Why = Why::Told(Text::Borrowed("oversized"));

/// The longest line, where `maxsize` names no other: a peer that never ends his may not fill the memory.
pub const LINE: usize = 64 * 1024 * 1024;

/// How many bytes a call may take, with a prefix of length `have`.
pub fn room(pattern: Pattern, have: usize, max: Option<usize>) -> usize {
    let max = max.unwrap_or(if pattern == Pattern::Line { LINE } else { usize::MAX });
    max.saturating_sub(have)
}

/// What `send` and `receive` are called on: a plain stream, or one in TLS.
pub trait Streaming: Buffered {
    /// `receive(pattern, prefix, maxsize)`: `have` is the length of the prefix, which counts towards both.
    fn receive(&self, pattern: Pattern, have: usize, max: Option<usize>) -> Got;
    /// Sends all of it: how much went, and why not more.
    fn send(&self, bytes: &[u8]) -> (usize, Option<Fail>);
    /// The answer of a `receive` that the buffer holds whole, if it is an easy one: as of `front`, and how much of the buffer is spent.
    fn quick(&self, pattern: Pattern) -> Option<(u64, *const [u8], usize)> {
        let _ = pattern;
        None
    }
    /// Takes `count` bytes from the buffer, unless it is pinned.
    fn spend(&self, count: usize);
}

impl Streaming for Object {
    fn receive(&self, pattern: Pattern, have: usize, max: Option<usize>) -> Got {
        let room = room(pattern, have, max);
        let clock = match self.timeouts.get().start() {
            Ok(clock) => clock,
            Err(why) => return Got::nothing(why),
        };
        let got = self.with_slot(|slot| {
            let mut item = match slot.item() {
                Ok(item) => item,
                Err(why) => return Got::nothing(why),
            };
            match &mut *item {
                Item::Stream(conn) => read(conn, pattern, have, room, &clock),
                _ => self.drain(pattern, have, room),
            }
        });
        match got.why {
            // What arrived stays, or has gone with the socket.
            Some(Fail::Interrupted) => Got::nothing(self.with_slot(|slot| slot.ending(Fail::Interrupted))),
            _ => got,
        }
    }

    fn send(&self, bytes: &[u8]) -> (usize, Option<Fail>) {
        let clock = match self.timeouts.get().start() {
            Ok(clock) => clock,
            Err(why) => return (0, Some(why)),
        };
        let (sent, why) = self.with_slot(|slot| match slot.item() {
            Ok(mut item) => match &mut *item {
                Item::Stream(conn) => write(conn, bytes, &clock),
                _ => (0, Some(Fail::Message(Why::Closed))),
            },
            Err(why) => (0, Some(why)),
        });
        self.sent.set(self.sent.get() + sent as f64);
        (sent, why.map(|why| self.with_slot(|slot| slot.ending(why))))
    }

    fn quick(&self, pattern: Pattern) -> Option<(u64, *const [u8], usize)> {
        check_block("receive").ok()?;
        self.with_slot(|slot| slot.quick(pattern))
    }

    fn spend(&self, count: usize) {
        self.with_slot(|slot| slot.spend(count));
        self.received.set(self.received.get() + count as f64);
    }
}

impl Buffered for Object {
    fn front(&self, length: usize) -> Option<(u64, *const [u8])> {
        self.with_slot(|slot| slot.front(length))
    }

    fn pin(&self, on: bool) {
        self.with_slot(|slot| slot.pin(on));
    }

    fn taken(&self, turn: u64, count: usize) -> bool {
        let done = self.with_slot(|slot| slot.taken(turn, count));
        if done {
            self.received.set(self.received.get() + count as f64);
        }
        done
    }
}

impl Object {
    /// Of a closed object: what was buffered then.
    fn drain(&self, pattern: Pattern, have: usize, room: usize) -> Got {
        match self.left.try_borrow_mut() {
            Ok(mut left) => drain(&mut left, pattern, have, room),
            Err(_) => Got::nothing(Fail::Message(Why::Closed)),
        }
    }

    /// True if bytes are buffered.
    pub fn dirty(&self) -> bool {
        let buffered = |item: &Item| matches!(item, Item::Stream(conn) if !conn.buffered().is_empty());
        self.with_slot(|slot| slot.look().is_ok_and(|item| buffered(&item)))
            || self.left.try_borrow().is_ok_and(|left| !left.is_empty())
    }
}

/// Of a closed object: takes from what was buffered then.
pub fn drain(left: &mut Vec<u8>, pattern: Pattern, have: usize, room: usize) -> Got {
    let line = memchr::memchr(b'\n', left);
    let (take, spent, why) = match pattern {
        Pattern::Count(count) => match count.saturating_sub(have) {
            missing if missing <= left.len() && missing + left.len() + have > 0 => (missing, missing, None),
            _ => (left.len(), left.len(), Some(Why::Closed)),
        },
        Pattern::All if !left.is_empty() => (left.len(), left.len(), None),
        Pattern::All => (0, 0, Some(Why::Closed)),
        Pattern::Line | Pattern::Raw => match line {
            Some(at) => (at, at + 1, None),
            None => (left.len(), left.len(), Some(Why::Closed)),
        },
    };
    let (take, spent, why) = if take > room { (room, room, Some(FULL)) } else { (take, spent, why) };
    let rest = left.split_off(spent);
    let mut bytes = std::mem::replace(left, rest);
    bytes.truncate(take);
    match pattern {
        Pattern::Line => bytes.retain(|&byte| byte != b'\r'),
        Pattern::Raw if line.is_some() && bytes.ends_with(b"\r") => bytes.truncate(bytes.len() - 1),
        _ => (),
    }
    Got { bytes: Bytes::Own(bytes), spent, why: why.map(Fail::Message) }
}

/// Of what is buffered: how long the answer is, and how much of the buffer it spends. `None` where it is not all there,
/// or is not one piece of the buffer.
pub fn easy(bytes: &[u8], pattern: Pattern) -> Option<(usize, usize)> {
    match pattern {
        Pattern::Count(count) => (count > 0 && count <= bytes.len()).then_some((count, count)),
        Pattern::All | Pattern::Raw => None,
        Pattern::Line => {
            let end = memchr::memchr(b'\n', bytes)?;
            match memchr::memchr(b'\r', bytes.get(..end)?) {
                _ if end > LINE => None,
                None => Some((end, end + 1)),
                Some(at) => (at + 1 == end).then_some((at, end + 1)),
            }
        }
    }
}

/// Reads by a pattern into the connection's buffer. `have` counts towards a number of bytes; `room`: what the call may take.
pub fn read(conn: &mut Conn, pattern: Pattern, have: usize, room: usize, clock: &Clock) -> Got {
    match pattern {
        Pattern::Line => line(conn, room, clock, false),
        Pattern::Raw => line(conn, room, clock, true),
        Pattern::All => {
            let why = loop {
                if let Err(why) = fill(conn, 0, room, clock) {
                    break why;
                }
            };
            let length = conn.buffered().len();
            match why {
                Stop::End if length > 0 => Got::front(length, length),
                why => partial(conn, length.min(room), why, false),
            }
        }
        Pattern::Count(count) => {
            let wanted = count.saturating_sub(have);
            // Nothing is asked for: LuaSocket waits for something to be there all the same.
            let missing = wanted.max((count == 0 && have == 0).into());
            while conn.buffered().len() < missing {
                // What cannot fit is not waited for.
                let less = missing - conn.buffered().len();
                if let Err(why) = fill(conn, less, room, clock) {
                    let length = conn.buffered().len();
                    return partial(conn, length.min(room), why, false);
                }
            }
            match wanted > room {
                true => partial(conn, room, Stop::Full, false),
                false => Got::front(wanted, wanted),
            }
        }
    }
}

/// `raw` keeps each CR that is not of the line's end.
fn line(conn: &mut Conn, room: usize, clock: &Clock, raw: bool) -> Got {
    let mut searched = 0;
    loop {
        let bytes = conn.buffered();
        if let Some(at) = memchr::memchr(b'\n', bytes.get(searched..).unwrap_or_default()) {
            let length = searched + at;
            let line = bytes.get(..length).unwrap_or_default();
            if length > room.saturating_add(line.ends_with(b"\r").into()) {
                return partial(conn, room, Stop::Full, true);
            }
            return match memchr::memchr(b'\r', line) {
                None => Got::front(length, length + 1),
                Some(at) if at + 1 == length => Got::front(at, length + 1),
                Some(_) if raw => Got::front(length - usize::from(line.ends_with(b"\r")), length + 1),
                Some(_) => Got { bytes: Bytes::Own(without_returns(line)), spent: length + 1, why: None },
            };
        }
        searched = bytes.len();
        if let Err(why) = fill(conn, 0, room, clock) {
            return partial(conn, searched.min(room), why, true);
        }
    }
}

/// Every CR of a line goes, wherever it stands.
fn without_returns(line: &[u8]) -> Vec<u8> {
    line.iter().copied().filter(|&byte| byte != b'\r').collect()
}

/// The answer of a call that has to stop: what is buffered, up to `room`, and why.
fn partial(conn: &Conn, length: usize, why: Stop, line: bool) -> Got {
    let why = match why {
        Stop::End => Fail::Message(Why::Closed),
        Stop::Full => Fail::Message(FULL),
        Stop::Failed(fail) => fail,
    };
    let length = length.min(conn.buffered().len());
    let bytes = conn.buffered().get(..length).unwrap_or_default();
    let bytes = match line && memchr::memchr(b'\r', bytes).is_some() {
        true => Bytes::Own(without_returns(bytes)),
        false => Bytes::Front(length),
    };
    Got { bytes, spent: length, why: Some(why) }
}

/// Reads once, towards `missing` bytes if it is not 0.
fn fill(conn: &mut Conn, missing: usize, room: usize, clock: &Clock) -> Result<(), Stop> {
    if conn.buffered().len() > room {
        return Err(Stop::Full);
    }
    let failed = |error| Stop::Failed(Fail::from(error));
    let count = if clock.is_now() {
        conn.fill_now().map_err(failed)?.ok_or(Stop::Failed(Fail::Message(Why::Timeout)))?
    } else {
        if !conn.buffered().is_empty() {
            check_interrupt("receive").map_err(failed)?;
        }
        clock.wait(|deadline| conn.fill_for(missing, deadline)).map_err(failed)?
    };
    if count == 0 { Err(Stop::End) } else { Ok(()) }
}

fn write(conn: &Conn, bytes: &[u8], clock: &Clock) -> (usize, Option<Fail>) {
    let (wire, mut sent) = (conn.wire(), 0);
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        let done = match wire.write_now(rest) {
            Ok(Some(count)) => {
                sent += count;
                Ok(())
            }
            Ok(None) if clock.is_now() => return (sent, Some(Fail::Message(Why::Timeout))),
            Ok(None) => clock.wait(|deadline| wire.wait(Want::Write, deadline)),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            return (sent, Some(error.into()));
        }
    }
    (sent, None)
}

/// The `send(data, i, j)` of Lua's `string.sub`: where the part begins, and where it ends.
pub fn part(length: usize, from: f64, to: f64) -> (usize, usize) {
    let length = length as f64;
    let index = |at: f64| if at < 0.0 { length + at + 1.0 } else { at }.trunc();
    let (from, to) = (index(from).max(1.0), index(to).min(length));
    // A float becomes the nearest number that there is; NaN becomes 0.
    (from as usize, to.max(0.0) as usize)
}
