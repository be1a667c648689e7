//! The sockets that a name server is asked with: a datagram socket for both families of a name, as the C library has
//! it, and TCP where an answer is cut off (RFC 7766). Both are connected, so that the system reports a closed port,
//! drops datagrams of other senders, and knows the zone of a link-local address; their ports are the system's, another
//! one for each set of questions. Never looks at an answer beyond what [`Question::hear`] says of it.

use super::{
    ask::Fault,
    message::{Answer, Heard, Question, malformed},
};
use crate::{
    deadline::{Deadline, check_interrupt},
    error::Kind,
    wire::{self, SENDING, Want, wait},
};
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, ErrorKind, Read},
    net::SocketAddr,
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

/// How often a datagram is sent, and the time between two of them.
const SENDINGS: u32 = 3;
const AGAIN: Duration = Duration::from_millis(333);

/// No datagram, and no message over TCP, is longer.
const LONGEST: usize = 1 << 16;

/// One server, and until when it is asked.
pub struct Server<'a> {
    pub at: SocketAddr,
    /// Never use UDP.
    pub tcp: bool,
    /// The call's deadline.
    pub deadline: &'a Deadline,
    /// This server's share of it.
    pub patience: &'a Deadline,
    /// The act, for messages.
    pub what: &'a dyn Fn() -> String,
}

type Said = Result<Answer, Fault>;

/// A question, its message, and what was said to it.
struct Asked<'a> {
    question: &'a Question,
    bytes: Vec<u8>,
    said: Option<Said>,
}

impl Asked<'_> {
    /// Takes what a message says to the question; true if it is the answer, cut off.
    fn hear(&mut self, message: &[u8]) -> bool {
        self.said = match self.question.hear(message) {
            Ok(Heard::Stray) => None,
            Ok(Heard::Truncated) => return true,
            Ok(Heard::Answer(answer)) => Some(Ok(answer)),
            Err(fault) => Some(Err(fault)),
        };
        false
    }

    fn is_answered(&self) -> bool {
        matches!(self.said, Some(Ok(_)))
    }
}

impl Server<'_> {
    /// Asks all at once. What is left without an answer is [`Fault::Silence`].
    pub fn ask(&self, questions: &[Question]) -> Result<Vec<Said>, Fault> {
        let made = questions.iter().map(|question| {
            let bytes = question.bytes()?;
            Ok(Asked { question, bytes, said: None })
        });
        let mut asked = made.collect::<Result<Vec<_>, _>>()?;
        let result = match self.tcp {
            true => self.stream(&mut asked),
            false => match self.datagrams(&mut asked) {
                Ok(true) => self.stream(&mut asked).map_err(|fault| match fault {
                    Fault::Nobody => Fault::NoTcp,
                    fault => fault,
                }),
                other => other.map(|_| ()),
            },
        };
        let rest = match result {
            // At the deadline, one of two answers is better than none.
            Err(Fault::Known(e)) if e.is(Kind::Timeout) && asked.iter().any(Asked::is_answered) => Fault::Silence,
            // What ends the call ends it; anything else is the answer to each question that has none.
            Err(fault @ Fault::Known(_)) => return Err(fault),
            Err(fault) => fault,
            Ok(()) => Fault::Silence,
        };
        Ok(asked.into_iter().map(|asked| asked.said.unwrap_or_else(|| Err(rest.clone()))).collect())
    }

    /// True where an answer is cut off: it, and what has no answer yet, is asked for over TCP.
    fn datagrams(&self, asked: &mut [Asked<'_>]) -> Result<bool, Fault> {
        let mut socket = self.datagram_socket()?;
        let mut buffer = vec![0; LONGEST];
        for sending in 1..=SENDINGS {
            // Nobody would listen for the answer.
            if self.patience.is_past() {
                break;
            }
            // A firewall may let one answer pass for each port (resolv.conf(5), `single-request-reopen`).
            if sending == SENDINGS && asked.iter().any(Asked::is_answered) {
                socket = self.datagram_socket()?;
            }
            for open in open(asked) {
                match send(&socket, &open.bytes) {
                    // The system has no room for it: as good as lost.
                    Err(e) if !is_passing(&e) => return Err(fault(e)),
                    _ => {}
                }
            }
            let turn = match sending {
                SENDINGS => self.patience.clone(),
                _ => self.patience.within(Some(AGAIN)),
            };
            while self.wait(&socket, Want::Read, &turn)? {
                let message = match (&socket).read(&mut buffer) {
                    Ok(length) => buffer.get(..length).unwrap_or_default(),
                    Err(e) if is_passing(&e) => continue,
                    Err(e) => return Err(fault(e)),
                };
                for open in open(asked) {
                    if open.hear(message) {
                        return Ok(true);
                    }
                }
                if open(asked).next().is_none() {
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    fn datagram_socket(&self) -> Result<Socket, Fault> {
        let socket = self.socket(Type::DGRAM)?;
        connect(&socket, self.at).map_err(|_| Fault::Nobody)?;
        Ok(socket)
    }

    /// What has no answer yet: over one connection, and another one where a server answers one question on each.
    fn stream(&self, asked: &mut [Asked<'_>]) -> Result<(), Fault> {
        loop {
            let before = open(asked).count();
            let result = self.connection(asked);
            let left = open(asked).count();
            if result.is_ok() || matches!(result, Err(Fault::Known(_))) || left == before {
                return result;
            }
        }
    }

    fn connection(&self, asked: &mut [Asked<'_>]) -> Result<(), Fault> {
        let socket = self.socket(Type::STREAM)?;
        match connect(&socket, self.at) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) && !is_passing(&e) => return Err(Fault::Nobody),
            _ => {}
        }
        if !self.wait(&socket, Want::Write, self.patience)? {
            return Ok(());
        }
        if !matches!(socket.take_error(), Ok(None)) {
            return Err(Fault::Nobody);
        }
        let mut out = Vec::new();
        for Asked { bytes, .. } in open(asked) {
            // A question is a name of at most 255 bytes and a few more.
            out.extend((bytes.len() as u16).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        let mut left = &out[..];
        while !left.is_empty() {
            match send(&socket, left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(e) if is_passing(&e) => {
                    if !self.wait(&socket, Want::Write, self.patience)? {
                        return Ok(());
                    }
                }
                Err(e) => return Err(fault(e)),
            }
        }
        let mut piece = [0; 4096];
        // At most one message that is not whole, and what comes with its end.
        let mut gathered = Vec::with_capacity(2 + LONGEST + piece.len());
        while open(asked).next().is_some() {
            if !self.wait(&socket, Want::Read, self.patience)? {
                return Ok(());
            }
            match (&socket).read(&mut piece) {
                Ok(0) => return Err(ended()),
                Ok(count) => gathered.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(e) if is_passing(&e) => continue,
                Err(e) => return Err(fault(e)),
            }
            let mut rest = &gathered[..];
            while let Some((&length, after)) = rest.split_first_chunk()
                && let Some((message, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(length)))
            {
                for open in open(asked) {
                    if open.hear(message) {
                        open.said = Some(Err(malformed("it is cut off over TCP too")));
                    }
                }
                rest = after;
            }
            let used = gathered.len() - rest.len();
            gathered.drain(..used);
        }
        Ok(())
    }

    fn socket(&self, kind: Type) -> Result<Socket, Fault> {
        wire::open(Domain::for_address(self.at), kind, None).map_err(fault)
    }

    /// False once `turn` is past and the call is not, also where there is always something to read.
    fn wait(&self, socket: &Socket, want: Want, turn: &Deadline) -> Result<bool, Fault> {
        match wait(socket.as_fd(), want, turn, self.what) {
            // What ends the wait for the host is said once: it must not be taken for the end of the turn.
            Err(error) if !error.is(Kind::Timeout) => Err(error),
            _ if turn.is_past() => self.deadline.check(&(self.what)()).map(|()| false),
            ready => ready.and_then(|()| check_interrupt("wait")).map(|()| true),
        }
        .map_err(Fault::Known)
    }
}

#[allow(clippy::disallowed_methods, reason = "name servers are the system's, or have passed the gate")]
fn connect(socket: &Socket, server: SocketAddr) -> io::Result<()> {
    socket.connect(&server.into())
}

/// Those without an answer.
fn open<'a, 'b>(asked: &'a mut [Asked<'b>]) -> impl Iterator<Item = &'a mut Asked<'b>> {
    asked.iter_mut().filter(|asked| asked.said.is_none())
}

/// Without SIGPIPE, which would end a host.
fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    socket.send_with_flags(bytes, SENDING.bits().cast_signed())
}

fn is_passing(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn ended() -> Fault {
    Fault::Other("the name server ended the connection before its answer".into())
}

fn fault(e: io::Error) -> Fault {
    match e.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Fault::Nobody,
        ErrorKind::TimedOut => Fault::Silence,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => ended(),
        _ => Fault::Io(Arc::new(e)),
    }
}
