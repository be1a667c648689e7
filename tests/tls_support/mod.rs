//! Certificates made on the spot, servers on loopback threads, and a transport over a plain socket.

#![allow(dead_code, reason = "each test file uses its part")]

use caspian_net::{
    address::Host,
    crypto::digest,
    deadline::Deadline,
    error::{Error, Kind, Result},
    tls::{ClientOptions, PeerCert, ServerOptions, ServerTls, Tls, Transport},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Long enough for a busy machine, short enough to notice.
pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// A certificate of an authority, and its key.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// One root that the clients trust.
pub struct Pki {
    pub root: Authority,
}

/// A leaf's certificate, with what else the server sends, and its key.
pub struct Chain {
    pub cert: String,
    pub key: String,
}

pub fn leaf(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "leaf");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

pub fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub fn self_signed(params: CertificateParams) -> Chain {
    let key = KeyPair::generate().unwrap();
    Chain { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

impl Pki {
    pub fn new() -> Pki {
        Pki::named("root")
    }

    /// Another root, of whom nobody has heard.
    pub fn stranger() -> Pki {
        Pki::named("stranger")
    }

    fn named(name: &str) -> Pki {
        Pki::with_key(name, KeyPair::generate().unwrap())
    }

    pub fn with_key(name: &str, key: KeyPair) -> Pki {
        let params = authority(name);
        let pem = params.self_signed(&key).unwrap().pem();
        Pki { root: Authority { pem, issuer: Issuer::new(params, key) } }
    }

    /// A client that trusts the root.
    pub fn client(&self) -> ClientOptions {
        ClientOptions { ca_bundle: Some(self.root.pem.clone().into()), ..ClientOptions::default() }
    }
}

impl Authority {
    pub fn issue(&self, params: CertificateParams) -> Chain {
        self.issue_for(params, KeyPair::generate().unwrap())
    }

    pub fn issue_for(&self, params: CertificateParams, key: KeyPair) -> Chain {
        Chain { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    pub fn authority(&self, params: CertificateParams) -> Authority {
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub fn pin(&self) -> [u8; 32] {
        pin(&self.pem)
    }

    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl Chain {
    pub fn server(&self) -> ServerOptions {
        ServerOptions { cert: self.cert.clone().into(), key: Some(self.key.clone().into()), ..ServerOptions::default() }
    }

    pub fn pin(&self) -> [u8; 32] {
        pin(&self.cert)
    }
}

fn pin(pem: &str) -> [u8; 32] {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (_, cert) = x509_parser::parse_x509_certificate(&der).unwrap();
    digest::digest(&digest::SHA256, cert.public_key().raw).as_ref().try_into().unwrap()
}

/// A plain socket as a transport, with nothing of the house's own sockets in it.
pub struct Tcp(pub TcpStream);

impl Tcp {
    pub fn dial(port: u16) -> Tcp {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        Tcp(socket)
    }

    fn run<T>(&mut self, deadline: &Deadline, mut act: impl FnMut(&mut TcpStream) -> io::Result<T>) -> Result<T> {
        loop {
            let left = deadline.left();
            let wait = left.map(|left| left.max(Duration::from_millis(1)));
            self.0.set_read_timeout(wait).and_then(|()| self.0.set_write_timeout(wait)).unwrap();
            match act(&mut self.0) {
                Ok(value) => return Ok(value),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if deadline.is_past() {
                        return Err(deadline.error("transport"));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::from_io("transport", &e)),
            }
        }
    }

    fn run_now<T>(&mut self, mut act: impl FnMut(&mut TcpStream) -> io::Result<T>) -> Result<Option<T>> {
        self.0.set_nonblocking(true).unwrap();
        let result = act(&mut self.0);
        self.0.set_nonblocking(false).unwrap();
        match result {
            Ok(value) => Ok(Some(value)),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(e) => Err(Error::from_io("transport", &e)),
        }
    }
}

impl Transport for Tcp {
    fn read(&mut self, buf: &mut [u8], deadline: &Deadline) -> Result<usize> {
        self.run(deadline, |socket| socket.read(buf))
    }
    fn read_now(&mut self, buf: &mut [u8]) -> Result<Option<usize>> {
        self.run_now(|socket| socket.read(buf))
    }
    fn write(&mut self, bytes: &[u8], deadline: &Deadline) -> Result<usize> {
        self.run(deadline, |socket| socket.write(bytes))
    }
    fn write_now(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        self.run_now(|socket| socket.write(bytes))
    }
    fn peer(&self) -> &str {
        "localhost:0"
    }
}

/// Sends five bytes and wants them back.
pub fn echo<T: Transport>(tls: &mut Tls<T>) -> Result<()> {
    assert_eq!(tls.write(b"hello", &soon())?, 5);
    let mut back = Vec::new();
    while back.len() < 5 {
        let mut buf = [0; 5];
        let count = tls.read(&mut buf, &soon())?;
        if count == 0 {
            return Err(Error::new(Kind::ConnectionReset, "the echo ended"));
        }
        back.extend_from_slice(&buf[..count]);
    }
    assert_eq!(back, b"hello");
    Ok(())
}

/// A TLS echo server of our own making: serves one connection after another.
pub struct Echo {
    pub port: u16,
    outcomes: mpsc::Receiver<Result<Option<PeerCert>>>,
}

impl Echo {
    pub fn dial(&self) -> Tcp {
        Tcp::dial(self.port)
    }

    /// How the handshake of the next connection went: the client's certificate, or why not.
    pub fn outcome(&self) -> Result<Option<PeerCert>> {
        self.outcomes.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

pub fn serve_echo(tls: ServerTls) -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, outcomes) = mpsc::channel();
    // The thread lives as long as the test's process; each connection has a thread of its own.
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (tls, tell) = (tls.clone(), tell.clone());
            thread::spawn(move || {
                let socket = socket.unwrap();
                let spare = socket.try_clone().unwrap();
                socket.set_nodelay(true).unwrap();
                let mut conn = match Tls::accept(Tcp(socket), &tls, &soon()) {
                    Ok(conn) => conn,
                    Err(e) => {
                        let _ = tell.send(Err(e));
                        drain(spare);
                        return;
                    }
                };
                let _ = tell.send(Ok(conn.peer_cert()));
                let mut buf = [0; 1000];
                while let Ok(count @ 1..) = conn.read(&mut buf, &soon()) {
                    let mut sent = 0;
                    while sent < count {
                        match conn.write(&buf[sent..count], &soon()) {
                            Ok(more) => sent += more,
                            Err(_) => return,
                        }
                    }
                }
                conn.close_notify();
                drain(spare);
            });
        }
    });
    Echo { port, outcomes }
}

/// Reads to the end, so that closing is no reset that overtakes an alert.
fn drain(mut socket: TcpStream) {
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = io::copy(&mut socket, &mut io::sink());
}

/// rustls' own server for one connection: `act` runs after the handshake.
pub fn serve_rustls<R: Send + 'static>(
    chain: &Chain,
    act: impl FnOnce(&mut rustls::ServerConnection, &mut TcpStream) -> R + Send + 'static,
) -> (u16, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = rustls_server(chain);
    let thread = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut conn = rustls::ServerConnection::new(config).unwrap();
        while conn.is_handshaking() || conn.wants_write() {
            conn.complete_io(&mut socket).unwrap();
        }
        act(&mut conn, &mut socket)
    });
    (port, thread)
}

/// rustls' own echo server, which shows any certificate, for one connection after another.
pub fn serve_any(chain: &Chain) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = rustls_server(chain);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let config = config.clone();
            thread::spawn(move || {
                let mut socket = socket.unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let mut conn = rustls::ServerConnection::new(config).unwrap();
                let mut stream = rustls::Stream::new(&mut conn, &mut socket);
                let mut buf = [0; 5];
                if stream.read_exact(&mut buf).and_then(|()| stream.write_all(&buf)).is_ok() {
                    conn.send_close_notify();
                    let _ = conn.write_tls(&mut socket);
                }
                drain(socket);
            });
        }
    });
    port
}

/// A configuration that does not look at its own certificate.
pub fn rustls_server(chain: &Chain) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(caspian_net::crypto::default_provider());
    let certs = CertificateDer::pem_slice_iter(chain.cert.as_bytes()).collect::<std::result::Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(chain.key.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(certs.unwrap(), key);
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    Arc::new(config)
}
