//! The loop around rustls: bytes of the wire in, plaintext and bytes for the wire out. No I/O.

use crate::buffer::Buffer;
use rustls::{
    CommonState, Error,
    client::{ClientConnectionData, UnbufferedClientConnection},
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{
        ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedConnectionCommon, UnbufferedStatus,
        WriteTraffic,
    },
};
use std::ops::Deref;

/// One end of a connection.
// A connection is used and moved as a whole, behind a box: the smaller variant's slack does not matter.
pub(crate) enum Engine {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// What to do once rustls has worked off what arrived.
#[derive(Clone, Copy)]
pub(crate) enum Then<'a> {
    Rest,
    /// Encrypt these bytes.
    Send(&'a [u8]),
    /// Say that no more bytes will follow (RFC 8446, section 6.1).
    Close,
}

/// Where decrypted bytes go: into the caller's slice while it has room, then into `spill`.
pub(crate) struct Sink<'a> {
    pub out: &'a mut [u8],
    pub filled: usize,
    pub spill: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn take(&mut self, bytes: &[u8]) {
        let room = self.out.get_mut(self.filled..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        let (direct, rest) = bytes.split_at(count);
        if let Some(to) = room.get_mut(..count) {
            to.copy_from_slice(direct);
        }
        self.filled += count;
        self.spill.extend_from_slice(rest);
    }
}

impl Engine {
    /// Works off `incoming` as far as it has whole records. What must go to the peer is appended to `outgoing`.
    /// True once the peer has said that nothing more will come.
    pub fn turn(
        &mut self,
        incoming: &mut Buffer,
        outgoing: &mut Buffer,
        sink: &mut Sink<'_>,
        then: Then<'_>,
    ) -> Result<bool, Error> {
        let mut used = 0;
        let bytes = incoming.bytes_mut();
        let result = match self {
            Engine::Client(conn) => turn(&mut ***conn, bytes, &mut used, outgoing, sink, then),
            Engine::Server(conn) => turn(&mut ***conn, bytes, &mut used, outgoing, sink, then),
        };
        incoming.consume(used);
        result
    }

    pub fn state(&self) -> &CommonState {
        match self {
            Engine::Client(conn) => conn.deref().deref(),
            Engine::Server(conn) => conn.deref().deref(),
        }
    }
}

/// Both ends of rustls' unbuffered API have this method, but no trait in common.
trait Process {
    type Data;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn wants_write(&self) -> bool;
}

impl Process for UnbufferedConnectionCommon<ClientConnectionData> {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

impl Process for UnbufferedConnectionCommon<ServerConnectionData> {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

fn turn<P: Process>(
    conn: &mut P,
    incoming: &mut [u8],
    used: &mut usize,
    outgoing: &mut Buffer,
    sink: &mut Sink<'_>,
    then: Then<'_>,
) -> Result<bool, Error> {
    let mut closed = false;
    loop {
        let UnbufferedStatus { mut discard, state, .. } = conn.process(incoming.get_mut(*used..).unwrap_or_default());
        let mut resting = false;
        match state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing)?,
            // What was encoded is in `outgoing`, which always leaves before anything that comes after it.
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    sink.take(record.payload);
                }
            }
            Ok(ConnectionState::PeerClosed) => closed = true,
            Ok(ConnectionState::WriteTraffic(traffic)) => {
                finish(traffic, outgoing, then)?;
                resting = true;
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                if !matches!(then, Then::Rest) {
                    return Err(Error::General("the connection cannot be written to".into()));
                }
                resting = true;
            }
            // Early data is never enabled.
            Ok(_) => return Err(Error::General("unexpected state".into())),
            Err(e) => {
                last_words(conn, outgoing);
                return Err(e);
            }
        }
        *used += discard;
        if resting {
            return Ok(closed);
        }
    }
}

/// After a failure: the alert that tells the peer. rustls must not see the bytes that failed again, and while it has
/// something to send it does not look at any.
fn last_words<P: Process>(conn: &mut P, outgoing: &mut Buffer) {
    while conn.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(data)) = conn.process(&mut []).state else { return };
        if encode(data, outgoing).is_err() {
            return;
        }
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, outgoing: &mut Buffer) -> Result<(), Error> {
    // An empty slice asks for the size.
    let mut size = 0;
    loop {
        match data.encode(outgoing.room(size).map_err(full)?) {
            Ok(count) => {
                outgoing.filled(count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(need)) if need.required_size > size => size = need.required_size,
            Err(e) => return Err(Error::General(e.to_string())),
        }
    }
}

/// No memory for what is to be sent, in rustls' words.
fn full(err: crate::error::Error) -> Error {
    Error::General(err.fields().message.to_string())
}

fn finish<D>(mut traffic: WriteTraffic<'_, D>, outgoing: &mut Buffer, then: Then<'_>) -> Result<(), Error> {
    // The overhead of a record is at most 5 + 8 + 1 + 16 bytes with the suites of TLS 1.2 and 1.3; if that is ever
    // wrong, rustls says what it needs.
    let mut size = match then {
        Then::Rest => return Ok(()),
        Then::Send(bytes) => bytes.len() + (bytes.len() / 16384 + 1) * 32,
        Then::Close => 64,
    };
    loop {
        let room = outgoing.room(size).map_err(full)?;
        let result = match then {
            Then::Send(bytes) => traffic.encrypt(bytes, room),
            _ => traffic.queue_close_notify(room),
        };
        match result {
            Ok(count) => {
                outgoing.filled(count);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(need)) if need.required_size > size => size = need.required_size,
            Err(e) => return Err(Error::General(e.to_string())),
        }
    }
}
