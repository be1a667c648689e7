//! Frames of RFC 6455 without I/O: bytes in, messages out, and the other way round.
//!
//! tungstenite parses heads, and masks; this room checks each frame, at the first byte that decides. The library's own
//! `WebSocket` is not used: it allocates a payload as soon as a head announces it, checks a head only after its
//! payload, answers a bad close code like a good one, and hides its buffered bytes from `poll`. Here memory grows with
//! what arrives, and the answer is the same however the bytes are cut. An error is final.

use super::{super::broken, deflate::Inflater, extension::Way};
use crate::{
    allocation,
    error::{Error, Kind, Result},
};
use std::io::Cursor;
use tungstenite::protocol::frame::{
    Frame, FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

/// A head at its longest: two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;
/// Payload of a control frame (RFC 6455 section 5.5).
pub const MAX_CONTROL: usize = 125;
/// Payload is read straight to where it belongs while as much of it is to come.
const DIRECT: u64 = 32 * 1024;
/// The part of a cap that compressed bytes may be over it: blocks as short as any compressor makes them.
const SPARE: u64 = 16;
/// And then at least as much at a time, if there is.
const STEP: u64 = 64 * 1024;

/// What a message is. Text is valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Binary,
}

impl Form {
    /// `"text"` or `"binary"`.
    pub fn word(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Binary => "binary",
        }
    }
}

/// A close frame's code and reason; 1005 where it has none (RFC 6455 section 7.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    pub code: u16,
    pub reason: String,
}

/// What [`Reader::feed`] found.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Everything was used; more bytes are needed.
    More,
    Message(Form, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Nothing follows.
    Close(Goodbye),
}

/// What a peer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message. Defaults to 16 MiB.
    pub message: u64,
    /// Bytes of one frame of it. Defaults to as much.
    pub frame: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: 16 << 20, frame: 16 << 20 }
    }
}

/// Whose frames are read: a client masks its own, a server none (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Server,
    Client,
}

/// The other side of a WebSocket, read.
pub struct Reader {
    limits: Limits,
    peer: Peer,
    /// A head that has come in part.
    head: Vec<u8>,
    frame: Option<Open>,
    /// The message in the making: `message[..filled]` has come.
    form: Option<Form>,
    message: Vec<u8>,
    filled: usize,
    /// How much of a text is known to be UTF-8.
    checked: usize,
    /// Restores compressed messages, where both sides agreed on that.
    inflater: Option<Inflater>,
    /// The message in the making is one.
    compressed: bool,
    /// Bytes of it that came, compressed.
    taken: u64,
    /// A piece of it without its mask.
    bare: Vec<u8>,
    control: Vec<u8>,
    over: bool,
}

/// The frame that is being read.
struct Open {
    opcode: OpCode,
    last: bool,
    left: u64,
    /// A client's mask, turned so that it begins with the next byte's.
    mask: Option<[u8; 4]>,
}

impl Open {
    /// Takes the mask off the bytes that come next (section 5.3).
    fn unmask(&mut self, bytes: &mut [u8]) {
        let Some(mask) = &mut self.mask else { return };
        let word = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
        let (message, rest) = bytes.as_chunks_mut::<8>();
        for eight in message {
            *eight = (u64::from_ne_bytes(*eight) ^ word).to_ne_bytes();
        }
        rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        mask.rotate_left(rest.len() % 4);
    }
}

impl Reader {
    /// Reads a server's frames.
    pub fn new(limits: Limits) -> Reader {
        Reader::of(Peer::Server, limits)
    }

    /// Reads the frames of that side.
    pub fn of(peer: Peer, limits: Limits) -> Reader {
        Reader {
            limits,
            peer,
            head: Vec::with_capacity(MAX_HEAD),
            frame: None,
            form: None,
            message: Vec::new(),
            filled: 0,
            checked: 0,
            inflater: None,
            compressed: false,
            taken: 0,
            bare: Vec::new(),
            control: Vec::new(),
            over: false,
        }
    }

    /// The same side, which may compress its messages like that (RFC 7692).
    pub fn compressed(mut self, way: Way) -> Reader {
        self.inflater = Some(Inflater::new(way));
        self
    }

    /// Looks at `input` up to the first event in it; how much was used. Call again with what is left, and more.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Event)> {
        let mut used = 0;
        loop {
            if self.over {
                // After its close frame a peer sends nothing (section 5.5.1); what it sends all the same is nothing.
                return Ok((input.len(), Event::More));
            }
            let rest = input.get(used..).unwrap_or_default();
            let Some(frame) = &mut self.frame else {
                let Some(byte) = rest.first() else { return Ok((used, Event::More)) };
                self.head.push(*byte);
                used += 1;
                self.begin()?;
                if let Some(event) = self.finished()? {
                    return Ok((used, event));
                }
                continue;
            };
            let here = usize::try_from(frame.left).unwrap_or(usize::MAX).min(rest.len());
            if here == 0 {
                return Ok((used, Event::More));
            }
            let piece = rest.get(..here).unwrap_or_default();
            used += here;
            if matches!(frame.opcode, OpCode::Control(_)) {
                let start = self.control.len();
                self.control.extend_from_slice(piece);
                frame.unmask(self.control.get_mut(start..).unwrap_or_default());
                frame.left -= here as u64;
            } else if self.compressed {
                self.restore(piece)?;
            } else {
                // What is behind `filled` is room that `room` made and that was not needed.
                self.message.truncate(self.filled);
                allocation::append(&mut self.message, piece)?;
                self.took(here)?;
            }
            if let Some(event) = self.finished()? {
                return Ok((used, event));
            }
        }
    }

    /// Room for payload that may be read straight from the connection, once the input is used up; report it with
    /// [`Reader::took`], and ask [`Reader::finished`] then. Empty where that is not worth it.
    pub fn room(&mut self) -> Result<&mut [u8]> {
        let left = match self.frame {
            Some(Open { opcode: OpCode::Data(_), left, .. }) if left >= DIRECT && !self.compressed => left,
            _ => return Ok(&mut []),
        };
        // Doubling keeps the copying linear; never more than the frame is long.
        let more = usize::try_from(left.min(STEP.max(self.filled as u64))).unwrap_or(usize::MAX);
        let wanted = self.filled.saturating_add(more);
        if (self.message.len() - self.filled) < more / 2 {
            allocation::lengthen(&mut self.message, wanted)?;
        }
        let most = wanted.min(self.message.len());
        Ok(self.message.get_mut(self.filled..most).unwrap_or_default())
    }

    /// `count` bytes of payload came, no more than there was room for.
    pub fn took(&mut self, count: usize) -> Result<()> {
        let Some(frame) = &mut self.frame else { return Ok(()) };
        frame.left = frame.left.saturating_sub(count as u64);
        let start = self.filled;
        self.filled = start.saturating_add(count).min(self.message.len());
        frame.unmask(self.message.get_mut(start..self.filled).unwrap_or_default());
        if self.form == Some(Form::Text) {
            let last = frame.last && frame.left == 0;
            self.check(last)?;
        }
        Ok(())
    }

    /// A piece of a compressed message, held to its cap while it grows.
    fn restore(&mut self, piece: &[u8]) -> Result<()> {
        let (Some(frame), Some(inflater)) = (&mut self.frame, &mut self.inflater) else { return Ok(()) };
        frame.left = frame.left.saturating_sub(piece.len() as u64);
        let input = match frame.mask {
            None => piece,
            Some(_) => {
                self.bare.clear();
                allocation::append(&mut self.bare, piece)?;
                frame.unmask(&mut self.bare);
                &self.bare
            }
        };
        let done = inflater.inflate(input, &mut self.message, self.limits.message);
        self.restored(done)
    }

    /// After a step of the inflater. Of two faults the first one counts, however the bytes were cut: what is no text stands
    /// before what went wrong.
    fn restored(&mut self, done: Result<()>) -> Result<()> {
        self.filled = self.message.len();
        if self.form == Some(Form::Text) {
            self.check(false)?;
        }
        done
    }

    /// The event of the frame that is now complete, if there is one.
    pub fn finished(&mut self) -> Result<Option<Event>> {
        let Some(frame) = self.frame.take_if(|frame| frame.left == 0) else { return Ok(None) };
        let OpCode::Control(control) = frame.opcode else {
            if !frame.last {
                return Ok(None);
            }
            if let Some(inflater) = self.inflater.as_mut().filter(|_| self.compressed) {
                let done = inflater.finish(&mut self.message, self.limits.message);
                self.restored(done)?;
                (self.compressed, self.taken) = (false, 0);
            }
            let form = self.form.take().unwrap_or(Form::Binary);
            if form == Form::Text {
                // An empty last frame has not been looked at.
                self.check(true)?;
            }
            let mut message = std::mem::take(&mut self.message);
            message.truncate(self.filled);
            (self.filled, self.checked) = (0, 0);
            return Ok(Some(Event::Message(form, message)));
        };
        let payload = std::mem::take(&mut self.control);
        Ok(Some(match control {
            Control::Ping => Event::Ping(payload),
            Control::Pong => Event::Pong(payload),
            _ => {
                self.over = true;
                Event::Close(goodbye(&payload)?)
            }
        }))
    }

    /// True between messages: nothing of one has come that is not complete.
    pub fn is_between(&self) -> bool {
        self.head.is_empty() && self.frame.is_none() && self.form.is_none()
    }

    /// Reads the head, if all of it has come, and judges it.
    fn begin(&mut self) -> Result<()> {
        // What the first two bytes say is judged before the length and the mask have come.
        match self.head.as_slice() {
            [first] => self.judge(*first)?,
            [first, second] => {
                match (self.peer, second & 0x80 != 0) {
                    (Peer::Server, true) => return Err(broken("the server masked a frame")),
                    (Peer::Client, false) => return Err(broken("the client did not mask a frame")),
                    _ => (),
                }
                if first & 0x08 != 0 && usize::from(second & 0x7f) > MAX_CONTROL {
                    return Err(broken("a control frame of more than 125 bytes"));
                }
            }
            _ => (),
        }
        let mut cursor = Cursor::new(self.head.as_slice());
        let (header, length) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(why) => return Err(broken(format!("malformed frame: {why}"))),
        };
        if length > i64::MAX as u64 {
            return Err(broken("a frame's length has its highest bit set"));
        }
        if header.len(length) != self.head.len() {
            return Err(broken("a frame's length is not written in the fewest bytes"));
        }
        self.head.clear();
        match header.opcode {
            OpCode::Data(data) => {
                match data {
                    Data::Text => self.form = Some(Form::Text),
                    Data::Binary => self.form = Some(Form::Binary),
                    _ => (),
                }
                if data != Data::Continue {
                    self.compressed = header.rsv1;
                }
                // What is compressed may be longer than what it means, by the heads of its blocks: that much is allowed,
                // and no more, so that a message costs no more time than it may cost memory.
                let (before, spare) = match self.compressed {
                    true => (self.taken, SPARE),
                    false => (self.filled as u64, 0),
                };
                let cap = |most: u64| most.checked_div(spare).map_or(most, |part| (most + part).saturating_add(1024));
                let whole = length.checked_add(before);
                if length > cap(self.limits.frame) {
                    return Err(too_large(format!("a frame of {length} bytes (max_frame_bytes)"), self.limits.frame));
                }
                if whole.is_none_or(|whole| whole > cap(self.limits.message)) {
                    return Err(too_large("a message (max_message_bytes)".into(), self.limits.message));
                }
                if self.compressed {
                    self.taken = whole.unwrap_or(u64::MAX);
                }
            }
            OpCode::Control(_) => self.control.clear(),
        }
        self.frame = Some(Open { opcode: header.opcode, last: header.is_final, left: length, mask: header.mask });
        Ok(())
    }

    /// The first byte of a head: FIN, RSV, opcode (section 5.2).
    fn judge(&self, first: u8) -> Result<()> {
        // RSV1 says that a message is compressed, on the first of its frames alone (RFC 7692 section 6).
        let known = if self.inflater.is_some() && matches!(first & 0x0f, 1 | 2) { 0x40 } else { 0 };
        if first & 0x70 & !known != 0 {
            return Err(broken("a frame has a reserved bit set, and no extension gives it a meaning"));
        }
        match OpCode::from(first & 0x0f) {
            OpCode::Data(Data::Reserved(code)) | OpCode::Control(Control::Reserved(code)) => {
                Err(broken(format!("a frame has the reserved opcode {code}")))
            }
            OpCode::Control(_) if first & 0x80 == 0 => Err(broken("a control frame is fragmented")),
            OpCode::Data(Data::Continue) if self.form.is_none() => {
                Err(broken("a continuation without a message to continue"))
            }
            OpCode::Data(Data::Text | Data::Binary) if self.form.is_some() => {
                Err(broken("a message begins inside another"))
            }
            _ => Ok(()),
        }
    }

    /// Checks what has come of a text; a character may still be cut at its end unless it is the `last` of it.
    fn check(&mut self, last: bool) -> Result<()> {
        let fresh = self.message.get(self.checked..self.filled).unwrap_or_default();
        match std::str::from_utf8(fresh) {
            Ok(_) => self.checked = self.filled,
            Err(why) if why.error_len().is_none() && !last => self.checked += why.valid_up_to(),
            Err(_) => return Err(broken(NOT_UTF8)),
        }
        Ok(())
    }
}

const NOT_UTF8: &str = "a text that is not UTF-8";

pub(super) fn too_large(what: String, most: u64) -> Error {
    Error::new(Kind::TooLarge, format!("{what}: more than {most} bytes"))
}

/// The close code that tells the peer of `err` (section 7.4.1).
pub fn code_for(err: &Error) -> u16 {
    match err.kind() {
        Kind::TooLarge => 1009,
        _ if err.fields().message.ends_with(NOT_UTF8) => 1007,
        _ => 1002,
    }
}

/// What a close frame says (section 5.5.1).
fn goodbye(payload: &[u8]) -> Result<Goodbye> {
    let (code, reason) = match payload {
        [] => return Ok(Goodbye { code: 1005, reason: String::new() }),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        _ => return Err(broken("a close frame of one byte")),
    };
    if !is_sendable(code) {
        return Err(broken(format!("the close code {code} is not one that is sent")));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Goodbye { code, reason: reason.into() }),
        Err(_) => Err(broken(NOT_UTF8).context("close frame: ")),
    }
}

/// True for close codes that may stand in a frame (section 7.4, and IANA's registry).
pub fn is_sendable(code: u16) -> bool {
    // Registered after the library's table was made: Bad Gateway.
    code == 1014 || CloseCode::from(code).is_allowed()
}

/// Appends a message as one frame, masked where there is a mask; `compressed` says that the payload is
/// [`super::deflate::Deflater`]'s.
pub fn message(form: Form, payload: &[u8], compressed: bool, mask: Option<[u8; 4]>, out: &mut Vec<u8>) -> Result<()> {
    let opcode = match form {
        Form::Text => OpCode::Data(Data::Text),
        Form::Binary => OpCode::Data(Data::Binary),
    };
    append(FrameHeader { opcode, mask, rsv1: compressed, ..FrameHeader::default() }, payload, out)
}

/// Appends a ping, masked where there is a mask. No more than [`MAX_CONTROL`] bytes.
pub fn ping(payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) -> Result<()> {
    append(control(Control::Ping, mask), payload, out)
}

/// Appends the answer to a ping, masked where there is a mask.
pub fn pong(payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) -> Result<()> {
    append(control(Control::Pong, mask), payload, out)
}

/// Appends a close frame, masked where there is a mask; an empty one for the code 1005.
pub fn close(goodbye: &Goodbye, mask: Option<[u8; 4]>, out: &mut Vec<u8>) -> Result<()> {
    let mut payload = Vec::new();
    if goodbye.code != 1005 {
        payload.extend_from_slice(&goodbye.code.to_be_bytes());
        payload.extend_from_slice(goodbye.reason.as_bytes());
    }
    append(control(Control::Close, mask), &payload, out)
}

/// The head of a control frame, which is never compressed.
fn control(which: Control, mask: Option<[u8; 4]>) -> FrameHeader {
    FrameHeader { opcode: OpCode::Control(which), mask, ..FrameHeader::default() }
}

fn append(header: FrameHeader, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let header = FrameHeader { is_final: true, ..header };
    allocation::reserve(out, payload.len() + MAX_HEAD)?;
    // Writing to a vector does not fail.
    let _ = Frame::from_payload(header, allocation::copied(payload)?.into()).format(out);
    Ok(())
}
