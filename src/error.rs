//! The only error type: a closed set of kinds, each with its class name in Lua.
//!
//! A message says what was asked, what went wrong and what would fix it; it never holds a secret (no userinfo, token,
//! cookie or key, and no address behind a name). Knows nothing of sockets or Lua.

use std::{borrow::Cow, fmt, io, time::Duration};

/// The result of this crate's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as a closed set. The stable word is [`Kind::word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No grant covers the host.
    HostNotAllowed,
    /// The host is granted but not the port; or the listen port is not.
    PortNotAllowed,
    /// A denied or guarded address behind an allowed name.
    AddressNotAllowed,
    /// A guard's rule refuses path, method, scheme or policy.
    RequestNotAllowed,
    /// The deadline passed.
    Timeout,
    /// Refused at the network layer.
    ConnectionRefused,
    /// Reset, broken pipe, or end of stream in mid-message.
    ConnectionReset,
    /// The name did not resolve.
    DnsFailure,
    /// Handshake or certificate validation failed.
    Tls,
    /// The peer broke the protocol.
    Protocol,
    /// A cap was reached.
    TooLarge,
    /// Any other socket error. The four kinds below have the same class in Lua.
    Socket,
    /// A signal or the host program ended the wait. Not retried.
    Interrupted,
    /// The socket, listener, client or stream is closed.
    Closed,
    /// The capability was revoked.
    Revoked,
    /// An internal error: a defect of this crate.
    Internal,
}

/// The words of the kinds, once.
macro_rules! classes {
    ($($kind:ident $word:literal,)*) => {
        impl Kind {
            /// The last word of the class, as in `puck.uno/error/network/<word>`.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Kind::$kind => $word,)*
                }
            }

            /// The class as scripts see it: `puck.uno/error/network/timeout`.
            pub const fn class(self) -> &'static str {
                match self {
                    $(Kind::$kind => concat!("puck.uno/error/network/", $word),)*
                }
            }
        }
    };
}

classes! {
    HostNotAllowed "host_not_allowed",
    PortNotAllowed "port_not_allowed",
    AddressNotAllowed "address_not_allowed",
    RequestNotAllowed "request_not_allowed",
    Timeout "timeout",
    ConnectionRefused "connection_refused",
    ConnectionReset "connection_reset",
    DnsFailure "dns_failure",
    Tls "tls",
    Protocol "protocol",
    TooLarge "too_large",
    Socket "socket",
    Interrupted "socket",
    Closed "socket",
    Revoked "socket",
    Internal "socket",
}

impl Kind {
    /// The class that this one is a special case of, as `err:is()` answers.
    pub const fn parent(self) -> Option<Kind> {
        match self {
            Kind::AddressNotAllowed | Kind::RequestNotAllowed => Some(Kind::HostNotAllowed),
            Kind::TooLarge => Some(Kind::Protocol),
            Kind::Interrupted | Kind::Closed | Kind::Revoked | Kind::Internal => Some(Kind::Socket),
            _ => None,
        }
    }

    /// Every kind that has a class of its own, for tables and tests.
    pub const ALL: [Kind; 12] = [
        Kind::HostNotAllowed,
        Kind::PortNotAllowed,
        Kind::AddressNotAllowed,
        Kind::RequestNotAllowed,
        Kind::Timeout,
        Kind::ConnectionRefused,
        Kind::ConnectionReset,
        Kind::DnsFailure,
        Kind::Tls,
        Kind::Protocol,
        Kind::TooLarge,
        Kind::Socket,
    ];
}

/// An error of the network. One pointer wide, so that `Result<usize>` stays small on the hot path.
#[derive(Clone, PartialEq)]
pub struct Error(Box<Fields>);

/// What an [`Error`] carries; the names are those that Lua sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// What went wrong.
    pub kind: Kind,
    /// One line for people, without the class.
    pub message: String,
    /// The call that failed: `tcp`, `recv`, `fetch` …
    pub op: Option<Cow<'static, str>>,
    /// The host that was asked for, as it was written; for a Unix socket its path.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Without userinfo and without fragment.
    pub url: Option<String>,
    /// The timeout that passed, in seconds.
    pub timeout: Option<f64>,
    /// Bytes that arrived before the error; no later call returns them.
    pub partial: Option<Vec<u8>>,
    /// The number of bytes of the caller's data that were sent.
    pub sent: Option<u64>,
    /// One line from the layer below.
    pub cause: Option<String>,
    /// Nobody listens at a Unix socket's path, or not yet: nothing was sent.
    absent: bool,
}

impl Error {
    /// An error with nothing but its words.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Fields {
            kind,
            message: message.into(),
            op: None,
            host: None,
            port: None,
            url: None,
            timeout: None,
            partial: None,
            sent: None,
            cause: None,
            absent: false,
        }))
    }

    /// The end of a wait because the host wants its thread back.
    #[doc(hidden)]
    pub fn interruption(what: &str) -> Self {
        Error::new(Kind::Interrupted, format!("{what}: interrupted"))
    }

    /// A defect of ours, as far as it is known.
    #[doc(hidden)]
    pub fn internal(what: impl fmt::Display) -> Self {
        Error::new(Kind::Internal, format!("internal error: {what}"))
    }

    /// True of [`Error::interruption`].
    pub fn is_interruption(&self) -> bool {
        self.0.kind == Kind::Interrupted
    }

    /// An operating system's error: its kind where one fits, `socket` otherwise. `what` is the act: `"connect"`.
    #[doc(hidden)]
    pub fn from_io(what: &str, err: &io::Error) -> Self {
        use io::ErrorKind as K;
        let kind = match err.kind() {
            K::ConnectionRefused => Kind::ConnectionRefused,
            K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof => Kind::ConnectionReset,
            K::TimedOut => Kind::Timeout,
            _ => Kind::Socket,
        };
        let text = describe(err);
        Error::new(kind, format!("{what}: {text}")).cause(text)
    }

    /// A Unix socket's path that is not there (ENOENT) or that nobody listens at (ECONNREFUSED); every other error as
    /// [`Error::from_io`] has it.
    #[doc(hidden)]
    pub fn from_path(what: &str, err: &io::Error) -> Self {
        let mut error = Error::from_io(what, err);
        error.0.absent = matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        error
    }

    /// True where a server that is a moment late would have answered: see [`Error::from_path`].
    #[doc(hidden)]
    pub fn is_absence(&self) -> bool {
        self.0.absent
    }

    /// The class as scripts see it: `puck.uno/error/network/timeout`.
    pub fn class(&self) -> &'static str {
        self.0.kind.class()
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// True of that kind and its special cases, as `err:is(…)` in Lua.
    pub fn is(&self, kind: Kind) -> bool {
        self.0.kind == kind || self.0.kind.parent() == Some(kind)
    }

    /// All fields of the error.
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// The call that failed, unless it is known.
    pub fn op(mut self, op: impl Into<Cow<'static, str>>) -> Self {
        self.0.op.get_or_insert_with(|| op.into());
        self
    }

    /// For errors without a port.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        if self.0.host.is_none() {
            self.0.host = Some(host.into());
        }
        self
    }

    /// The host and port that were asked for, unless they are known.
    pub fn at(mut self, host: impl Into<String>, port: u16) -> Self {
        if self.0.host.is_none() {
            self.0.host = Some(host.into());
            self.0.port = Some(port);
        }
        self
    }

    /// The URL, unless it is known: without userinfo and fragment.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        if self.0.url.is_none() {
            self.0.url = Some(url.into());
        }
        self
    }

    /// The timeout that passed.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.0.timeout = timeout.map(|t| t.as_secs_f64());
        self
    }

    /// Bytes that had arrived.
    pub fn partial(mut self, bytes: Vec<u8>) -> Self {
        self.0.partial = Some(bytes);
        self
    }

    /// Bytes that were handed to the peer's side.
    pub fn sent(mut self, count: u64) -> Self {
        self.0.sent = Some(count);
        self
    }

    /// One line from the layer below.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Puts words in front: `"proxy: "`.
    #[doc(hidden)]
    pub fn context(mut self, message: &str) -> Self {
        self.0.message.insert_str(0, message);
        self
    }

    /// Puts words behind: `"; not asked again"`.
    #[doc(hidden)]
    pub fn adding(mut self, message: &str) -> Self {
        self.0.message.push_str(message);
        self
    }
}

/// The operating system's words without Rust's `(os error 2)`, which no message shows.
pub fn reason(err: &io::Error) -> String {
    let mut text = err.to_string();
    if let Some(at) = text.find(" (os error") {
        text.truncate(at);
    }
    text
}

/// The same, in the middle of our words.
pub fn describe(err: &io::Error) -> String {
    let text = reason(err);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "unknown error".into(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network/{}: {}", self.0.kind.word(), self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_cases_answer_to_their_parent() {
        for (kind, parent) in [
            (Kind::AddressNotAllowed, Kind::HostNotAllowed),
            (Kind::RequestNotAllowed, Kind::HostNotAllowed),
            (Kind::TooLarge, Kind::Protocol),
        ] {
            assert!(Error::new(kind, "").is(parent), "{kind:?}");
        }
        assert!(!Error::new(Kind::HostNotAllowed, "").is(Kind::AddressNotAllowed));
    }

    /// The front has the classes for `err:is` and `net.errors`.
    #[test]
    fn the_front_knows_every_kind_and_its_parent() {
        let front = include_str!("../lua/caspian/net/error_methods.lua");
        for kind in Kind::ALL {
            let parent = kind.parent().map_or("network", Kind::word);
            assert!(front.contains(&format!("\n  {} = \"{parent}\",\n", kind.word())), "{kind:?}");
        }
    }

    #[test]
    fn io_errors_become_one_clear_line() {
        let err = Error::from_io("connect to 127.0.0.1:1", &io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert_eq!(err.to_string(), "network/connection_refused: connect to 127.0.0.1:1: connection refused");
    }
}
