//! The handshake of a connection: its start, its steps, its end and its result.
//!
//! It may stop at any wait and continue later. Some callers need it to read whole records only: bytes after the
//! handshake stay in the transport.

use super::{End, RECORD, Tls};
use crate::{
    address::Host,
    deadline::Deadline,
    error::{Error, Kind, Result},
    panics::failpoint,
    tls::{
        Transport, Version,
        cert::PeerCert,
        client::ClientTls,
        fault,
        gauge::Gauge,
        records::{Engine, Then},
        server::{self, ServerTls},
    },
    wire::Want,
};
use rustls::{
    ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::ServerName,
    server::{Acceptor, UnbufferedServerConnection},
};
use std::sync::Arc;

/// What is asked for in a handshake: a usual chain of certificates.
const HELLO: usize = 2 * RECORD;
/// What a hello may be whose name is looked for before anything else, in bytes and in records.
const MOST_HELLO: usize = 4 * RECORD;
const MOST_PIECES: usize = 16;

/// The type of a handshake's records (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// How many bytes are whole records, and how many records they are.
fn whole_records(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut count) = (0, 0);
    while let Some(&[_, _, _, high, low, ..]) = bytes.get(at..) {
        let end = at + 5 + usize::from(u16::from_be_bytes([high, low]));
        if end > bytes.len() {
            break;
        }
        (at, count) = (end, count + 1);
    }
    (at, count)
}

impl<T: Transport> Tls<T> {
    /// The handshake of a client. `host` is what was dialled; it is named to the server and verified, unless the
    /// `sni` option names another.
    /// Errors: `tls`, `timeout`, `connection_reset`.
    pub fn connect(transport: T, tls: &ClientTls, host: &Host, deadline: &Deadline) -> Result<Self> {
        Tls::client(transport, tls.config(), tls.server_name(host)?)?.handshake(deadline)
    }

    /// The handshake of a server on an accepted connection.
    /// Errors: `tls`, `timeout`, `connection_reset`.
    pub fn accept(transport: T, tls: &ServerTls, deadline: &Deadline) -> Result<Self> {
        Tls::accepted(transport, tls)?.handshake(deadline)
    }

    /// A server on an accepted connection that has not begun its handshake: [`Tls::shake`] does it, in as many calls as it
    /// takes, and [`Tls::wants`] says what to wait for in between.
    pub fn accepted(transport: T, tls: &ServerTls) -> Result<Self> {
        let mut made = Tls::server(transport, tls.config(), &[])?;
        made.names = tls.by_name();
        Ok(made)
    }

    /// Takes the configuration for the name that the client asks for: false while that has not come. What cannot be read is
    /// left to the first one, which says so.
    fn choose(&mut self) -> Result<bool> {
        let Some(names) = self.names.as_ref().filter(|_| self.place.is_none()) else { return Ok(true) };
        let bytes = self.incoming.bytes();
        let mut acceptor = Acceptor::default();
        let (whole, pieces) = whole_records(bytes);
        // A hello in many pieces is nobody's, and would be read over and over.
        let given_up = pieces > MOST_PIECES
            || bytes.len() > if pieces == 0 { RECORD } else { MOST_HELLO }
            || bytes.first().is_some_and(|kind| *kind != HANDSHAKE);
        let mut rest = bytes.get(..whole).filter(|_| !given_up).unwrap_or_default();
        let accepted = loop {
            match acceptor.accept() {
                Ok(Some(accepted)) => break Some(accepted),
                Ok(None) if given_up => break None,
                Ok(None) => match acceptor.read_tls(&mut rest) {
                    Ok(0) => return Ok(false),
                    Ok(_) => (),
                    Err(_) => break None,
                },
                Err(_) => break None,
            }
        };
        let name = accepted.as_ref().and_then(|accepted| accepted.client_hello().server_name().map(str::to_owned));
        let place = names.place(name.as_deref());
        let config = names.config(place).filter(|_| place > 0);
        self.place = Some(place);
        if let Some(config) = config {
            let conn = UnbufferedServerConnection::new(config).map_err(|e| fault::error("TLS", &e))?;
            self.engine = Engine::Server(Box::new(conn));
        }
        Ok(true)
    }

    /// True if what holds for the name that the client asked for in the handshake also holds for `host`: else a request for
    /// it came by the wrong connection, past what `host` asks of clients (RFC 9110 section 15.5.20).
    pub fn serves(&self, host: &str) -> bool {
        self.names.as_ref().is_none_or(|names| self.place == Some(names.place(Some(host))))
    }

    /// What a handshake that came short waits for.
    pub fn wants(&self) -> Want {
        if self.outgoing.is_empty() { Want::Read } else { Want::Write }
    }

    /// A client that has not begun its handshake: [`Tls::shake`] does it, in as many calls as it takes.
    pub(crate) fn client(transport: T, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self> {
        let conn = UnbufferedClientConnection::new(config, name).map_err(|e| fault::error("TLS", &e))?;
        Ok(Tls::new(transport, Engine::Client(Box::new(conn))))
    }

    /// A server that has not begun its handshake. `early`: bytes that were taken from the transport already.
    pub(crate) fn server(transport: T, config: Arc<ServerConfig>, early: &[u8]) -> Result<Self> {
        let conn = UnbufferedServerConnection::new(config).map_err(|e| fault::error("TLS", &e))?;
        let mut tls = Tls::new(transport, Engine::Server(Box::new(conn)));
        tls.arrived_early(early)?;
        Ok(tls)
    }

    /// The handshake leaves in the transport what comes behind it: for programs that wait with the descriptor alone
    /// for what they have not read. Called before anything arrived.
    pub(crate) fn keep_to_records(&mut self) {
        self.gauge = Some(Gauge::default());
    }

    /// Bytes for the handshake that were taken from the transport before it began.
    pub(crate) fn arrived_early(&mut self, early: &[u8]) -> Result<()> {
        if let Some(gauge) = &mut self.gauge {
            gauge.arrived(early);
        }
        if let Some(to) = self.incoming.room(early.len())?.get_mut(..early.len()) {
            to.copy_from_slice(early);
        }
        self.incoming.filled(early.len());
        Ok(())
    }

    fn handshake(mut self, deadline: &Deadline) -> Result<Self> {
        let Err(e) = self.shake(deadline) else { return Ok(self) };
        self.closed = true;
        Err(e)
    }

    /// Goes on with the handshake to its end. After a timeout it may be called again; every other failure is final.
    /// Errors: `tls`, `timeout`, `connection_reset`.
    pub fn shake(&mut self, deadline: &Deadline) -> Result<()> {
        self.own()?;
        failpoint("handshake");
        let mut stranger = None;
        let result = loop {
            let turned = match self.choose() {
                Ok(true) => self.turn(&mut [], &mut 0, Then::Rest),
                undecided => undecided.map(drop),
            };
            if let Err(e) = turned {
                break Err(e);
            }
            if let Some(name) = server::asked() {
                self.asked = Some(name.into());
            }
            // Record by record, a flight is answered once all of it is read: an answer in pieces would wait for
            // acknowledgements (Nagle).
            let at_hand = match self.next_record() {
                Ok(at_hand) => at_hand,
                Err(e) => break Err(e),
            };
            if at_hand.is_none() {
                if let Err(e) = self.flush(deadline) {
                    // A server that refuses may close before it has read all of the client's last flight: its alert,
                    // which says why, is worth more than the reset.
                    break Err(self.last_words().unwrap_or(e));
                }
                if !self.engine.state().is_handshaking() {
                    break Ok(());
                }
                if self.end.is_some() {
                    break Err(Error::new(Kind::ConnectionReset, "the peer closed the connection"));
                }
            }
            let asked = self.gauge.as_ref().map_or(HELLO, Gauge::missing);
            match at_hand.map_or_else(|| self.transport.read(self.incoming.room(asked)?, deadline), Ok) {
                Ok(0) => {
                    self.end = Some(End::Cut);
                    break Err(Error::new(Kind::ConnectionReset, "the peer closed the connection"));
                }
                Ok(count) => {
                    self.incoming.filled(count);
                    if let Some(gauge) = &mut self.gauge {
                        let bytes = self.incoming.bytes();
                        gauge.arrived(bytes.get(bytes.len() - count..).unwrap_or_default());
                    }
                }
                Err(e) => {
                    self.incoming.filled(0);
                    break Err(e);
                }
            }
            stranger.get_or_insert_with(|| not_tls(self.incoming.bytes()));
        };
        self.incoming.park();
        let Err(e) = result else { return Ok(()) };
        // The alert that says what was wrong, if it can leave at once.
        self.flush_now();
        Err(match stranger.flatten() {
            Some(message) if e.is(Kind::Tls) => Error::new(Kind::Tls, format!("{}: {message}", self.act())),
            // It has the act in it.
            _ if e.is(Kind::Tls) => e,
            _ => e.context(&format!("{}: ", self.act())),
        })
    }

    /// Of a handshake that keeps to records: what is there of the next one, read into `incoming`; `None` if nothing is.
    fn next_record(&mut self) -> Result<Option<usize>> {
        let Some(gauge) = &self.gauge else { return Ok(None) };
        if self.end.is_some() || !self.engine.state().is_handshaking() {
            return Ok(None);
        }
        let got = self.transport.read_now(self.incoming.room(gauge.missing())?);
        if !matches!(got, Ok(Some(1..))) {
            self.incoming.filled(0);
        }
        got
    }

    /// After a failed write in the handshake: the alert that may explain it.
    fn last_words(&mut self) -> Option<Error> {
        let count = self.transport.read_now(self.incoming.room(RECORD).ok()?).ok().flatten();
        self.incoming.filled(count.unwrap_or(0));
        self.turn(&mut [], &mut 0, Then::Rest).err()
    }

    /// True until the handshake is done.
    pub fn is_handshaking(&self) -> bool {
        self.engine.state().is_handshaking()
    }

    /// What was negotiated.
    pub(crate) fn state(&self) -> &CommonState {
        self.engine.state()
    }

    /// The certificate that the peer showed; `None` from a client that showed none.
    pub fn peer_cert(&self) -> Option<PeerCert> {
        self.engine.state().peer_certificates()?.first().map(|der| PeerCert::parse(der))
    }

    /// The cipher suite by its IANA name: `TLS_AES_128_GCM_SHA256`.
    pub fn cipher(&self) -> String {
        let suite = self.engine.state().negotiated_cipher_suite().and_then(|s| s.suite().as_str());
        suite.unwrap_or_default().replacen("TLS13_", "TLS_", 1)
    }

    /// The group of the key exchange by its name: `X25519MLKEM768`, `X25519`, `secp256r1`; `None` where a session of TLS 1.2 was
    /// resumed, which exchanges no keys.
    pub fn group(&self) -> Option<&'static str> {
        self.engine.state().negotiated_key_exchange_group()?.name().as_str()
    }

    /// `TLSv1.2` or `TLSv1.3`.
    pub fn protocol(&self) -> &'static str {
        match self.engine.state().protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12.word(),
            _ => Version::Tls13.word(),
        }
    }

    /// The application protocol that both chose.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.engine.state().alpn_protocol()
    }

    /// The name that the client asked this server for (SNI), in lower case.
    pub fn server_name(&self) -> Option<&str> {
        self.asked.as_deref()
    }

    /// True if the session of an earlier connection was resumed.
    pub fn resumed(&self) -> bool {
        self.engine.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// Words for a peer whose first byte is no TLS record's (RFC 8446, section 5.1: 20 to 24), else `None`.
fn not_tls(first: &[u8]) -> Option<String> {
    if first.first().is_none_or(|byte| (20..=24).contains(byte)) {
        return None;
    }
    let text: String = first.iter().take(24).take_while(|b| (32..127).contains(*b)).map(|b| char::from(*b)).collect();
    Some(match text.len() {
        0..4 => "the peer does not speak TLS".into(),
        _ => format!("the peer does not speak TLS (it says {text:?})"),
    })
}
