//! LuaSocket's error strings, and the results of its methods.

use super::object::Object;
use crate::error::{Error, Kind};
use std::{borrow::Cow, ffi::CStr, rc::Rc};

/// Text for Lua: fixed, or made for the occasion.
pub type Text = Cow<'static, str>;

/// Why a method answers `nil`. What a caller in Rust goes by has a name; all else is its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The stream has ended, or the socket is closed.
    Closed,
    Timeout,
    /// A connection is under way already.
    UnderWay,
    /// A connection stands already.
    Stands,
    /// TLS has to read, or to write, before it goes on: programs wait with `select` and call again.
    WantRead,
    WantWrite,
    Told(Text),
}

impl Why {
    pub fn text(self) -> Text {
        match self {
            Why::Closed => "closed".into(),
            Why::Timeout => "timeout".into(),
            Why::UnderWay => "Operation already in progress".into(),
            Why::Stands => "already connected".into(),
            Why::WantRead => "wantread".into(),
            Why::WantWrite => "wantwrite".into(),
            Why::Told(text) => text,
        }
    }
}

impl<T: Into<Text>> From<T> for Why {
    fn from(text: T) -> Why {
        Why::Told(text.into())
    }
}

/// What is told while another call has the socket: a hook or a finalizer may run anywhere.
pub const BUSY: Why = Why::Told(Cow::Borrowed("the socket is in use by another call"));
/// What a socket says that has no descriptor yet.
pub const NO_DESCRIPTOR: Why = Why::Told(Cow::Borrowed("Bad file descriptor"));

/// Why a method failed.
#[derive(Debug)]
pub enum Fail {
    /// Answered as `nil, text`.
    Message(Why),
    /// Raised: a wrong argument, by its index.
    Argument(usize, Text),
    /// Raised: Ctrl-C, or what another signal's handler raises.
    Interrupted,
}

pub type Outcome<T> = Result<T, Fail>;

/// `nil, text`
pub fn fail<T>(why: impl Into<Why>) -> Outcome<T> {
    Err(Fail::Message(why.into()))
}

/// Raises `bad argument #index to 'method' (text)`.
pub fn bad<T>(index: usize, text: impl Into<Text>) -> Outcome<T> {
    Err(Fail::Argument(index, text.into()))
}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        if error.is_interruption() {
            return Fail::Interrupted;
        }
        let fields = error.fields();
        Fail::Message(match fields.kind {
            Kind::Timeout => Why::Timeout,
            Kind::ConnectionReset => Why::Closed,
            Kind::ConnectionRefused => "connection refused".into(),
            Kind::HostNotAllowed | Kind::PortNotAllowed | Kind::AddressNotAllowed | Kind::RequestNotAllowed => {
                format!("host not allowed: {}", fields.message).into()
            }
            Kind::DnsFailure => resolver(fields.cause.as_deref()).into(),
            _ => match &fields.cause {
                Some(cause) => system(cause).into(),
                None => fields.message.clone().into(),
            },
        })
    }
}

/// strerror(3)'s words as LuaSocket hands them on: some have a name of its own.
fn system(cause: &str) -> Text {
    match cause {
        "address already in use" => "address already in use".into(),
        "permission denied" => "permission denied".into(),
        "transport endpoint is already connected" => "already connected".into(),
        other => capitalised(other).into(),
    }
}

fn resolver(cause: Option<&str>) -> Text {
    match cause {
        Some("name or service not known") | None => NO_NAME.into(),
        Some("temporary failure in name resolution") => "temporary failure in name resolution".into(),
        Some("non-recoverable failure in name resolution") => "non-recoverable failure in name resolution".into(),
        Some(other) => capitalised(other).into(),
    }
}

/// The resolver knows no such name.
pub const NO_NAME: &str = "host or service not provided, or not known";

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The classes of objects: their names are what `tostring` begins with, and what wrong ones are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    TcpMaster,
    TcpClient,
    TcpServer,
    UdpUnconnected,
    UdpConnected,
    StreamMaster,
    StreamClient,
    StreamServer,
    DgramUnconnected,
    DgramConnected,
}

impl Class {
    pub const ALL: [Class; 10] = [
        Class::TcpMaster,
        Class::TcpClient,
        Class::TcpServer,
        Class::UdpUnconnected,
        Class::UdpConnected,
        Class::StreamMaster,
        Class::StreamClient,
        Class::StreamServer,
        Class::DgramUnconnected,
        Class::DgramConnected,
    ];

    /// Their names, in this order.
    pub const WORDS: [&CStr; 10] = [
        c"tcp{master}",
        c"tcp{client}",
        c"tcp{server}",
        c"udp{unconnected}",
        c"udp{connected}",
        c"unixstream{master}",
        c"unixstream{client}",
        c"unixstream{server}",
        c"unixdgram{unconnected}",
        c"unixdgram{connected}",
    ];

    pub fn name(self) -> &'static str {
        Class::WORDS[self as usize].to_str().unwrap_or_default()
    }

    pub const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// A value that a method answers.
pub enum Out {
    Nil,
    Bool(bool),
    /// A float where Lua has floats, as LuaSocket's numbers are.
    Number(f64),
    Integer(i64),
    Text(Text),
    Bytes(Vec<u8>),
    Object(Rc<Object>, Class),
    /// `{ on = …, timeout = … }`
    Linger(bool, i64),
}

/// What a method answers: values, and the class that its object has from now on.
#[derive(Default)]
pub struct Answer {
    pub values: Vec<Out>,
    pub class: Option<Class>,
}

impl Answer {
    pub fn one(value: Out) -> Answer {
        Answer { values: vec![value], class: None }
    }

    /// The `1` of a call that has nothing else to say.
    pub fn done() -> Answer {
        Answer::one(Out::Number(1.0))
    }

    pub fn becomes(mut self, class: Class) -> Answer {
        self.class = Some(class);
        self
    }
}

/// An argument: what a method may look at after Lua's stack was read.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    None,
    Nil,
    Bool(bool),
    Number(f64),
    Text(&'a [u8]),
    Table,
    Other(&'static str),
}

impl<'a> Arg<'a> {
    fn type_name(self) -> &'static str {
        match self {
            Arg::None => "no value",
            Arg::Nil => "nil",
            Arg::Bool(_) => "boolean",
            Arg::Number(_) => "number",
            Arg::Text(_) => "string",
            Arg::Table => "table",
            Arg::Other(name) => name,
        }
    }

    pub fn is_absent(self) -> bool {
        matches!(self, Arg::None | Arg::Nil)
    }

    fn expected<T>(self, index: usize, what: &str) -> Outcome<T> {
        bad(index, format!("{what} expected, got {}", self.type_name()))
    }

    /// The string at `index`. Numbers are strings to LuaSocket; they arrive here as text where a method says so.
    pub fn text(self, index: usize) -> Outcome<&'a [u8]> {
        match self {
            Arg::Text(text) => Ok(text),
            _ => self.expected(index, "string"),
        }
    }

    pub fn boolean(self, index: usize) -> Outcome<bool> {
        match self {
            Arg::Bool(on) => Ok(on),
            _ => self.expected(index, "boolean"),
        }
    }

    /// The number at `index`, or in a string there.
    pub fn number(self, index: usize) -> Outcome<f64> {
        let read = |text| std::str::from_utf8(text).ok()?.trim().parse().ok();
        match self {
            Arg::Number(number) => Ok(number),
            Arg::Text(text) => read(text).map_or_else(|| self.expected(index, "number"), Ok),
            _ => self.expected(index, "number"),
        }
    }

    pub fn number_or(self, index: usize, default: f64) -> Outcome<f64> {
        if self.is_absent() { Ok(default) } else { self.number(index) }
    }

    pub fn table(self, index: usize) -> Outcome<()> {
        match self {
            Arg::Table => Ok(()),
            _ => self.expected(index, "table"),
        }
    }
}
