//! One TLS connection of the drop-in: its start, and its properties.

use super::{
    context::{Built, Side, server_name},
    messages, suites, verify,
    verify::Complaint,
    x509::Certificate,
};
use crate::{
    crypto::{digest, hkdf},
    error::{Error, Kind, Result},
    tls::{Tls, Transport},
};
use rustls::{KeyLog, pki_types::ServerName, server::Acceptor};
use std::sync::{Arc, Mutex, PoisonError};

/// The secret that keying material is exported from, once the handshake is done (RFC 8446, section 7.5). rustls exports
/// from it itself only where it owns the buffers.
#[derive(Default)]
pub struct Secret(Mutex<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl KeyLog for Secret {
    fn log(&self, label: &str, _random: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = secret.to_vec();
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == "EXPORTER_SECRET"
    }
}

/// What a client said first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The host that it asks for.
    pub name: Option<String>,
    /// The protocols that it offers; none if it says nothing of them.
    pub alpn: Vec<Vec<u8>>,
}

/// A server that listens for a client's first words before it decides which certificate and protocol to answer with.
#[derive(Default)]
pub struct Greeting {
    acceptor: Acceptor,
    /// Everything that arrived, for the connection to begin with.
    bytes: Vec<u8>,
    /// How much of it the acceptor has seen.
    seen: usize,
}

/// Why a greeting was refused, and what to tell the client.
pub struct Refusal {
    pub reason: &'static str,
    pub alert: Vec<u8>,
}

impl Greeting {
    /// Bytes that arrived: the client's words once they are whole.
    pub fn feed(&mut self, bytes: &[u8]) -> std::result::Result<Option<Hello>, Refusal> {
        self.bytes.extend_from_slice(bytes);
        while let Some(mut rest) = self.bytes.get(self.seen..).filter(|rest| !rest.is_empty()) {
            let before = rest.len();
            // The acceptor's own limit ends what never becomes a greeting.
            let read = self.acceptor.read_tls(&mut rest);
            self.seen += before - rest.len();
            match (read, self.acceptor.accept()) {
                (_, Ok(Some(accepted))) => {
                    let hello = accepted.client_hello();
                    return Ok(Some(Hello {
                        name: hello.server_name().map(str::to_owned),
                        alpn: hello.alpn().map_or_else(Vec::new, |names| names.map(<[u8]>::to_vec).collect()),
                    }));
                }
                (_, Err((error, mut told))) => {
                    let mut alert = Vec::new();
                    let _ = told.write_all(&mut alert);
                    return Err(Refusal { reason: messages::reason(&error), alert });
                }
                (Err(_), Ok(None)) => return Err(Refusal { reason: "packet length too long", alert: Vec::new() }),
                (Ok(_), Ok(None)) => {}
            }
        }
        Ok(None)
    }

    /// Everything that arrived.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The alert that says that no such host is here (RFC 6066, section 3), as a record.
pub const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

impl Built {
    /// A client, before its handshake. `name`: the host that it asks for, and checks where it checks at all; an address
    /// is checked and never sent. `early`: bytes that were taken from the transport already.
    /// Errors: `tls` for a name that no certificate can be for.
    pub fn client<T: Transport>(
        &self,
        transport: T,
        early: &[u8],
        name: Option<&str>,
    ) -> Result<(Tls<T>, Arc<Secret>)> {
        let Side::Client(config, nameless) = &self.side else { return Err(wrong_side()) };
        let config = if name.is_some() { config } else { nameless };
        let Ok(name) = server_name(name) else {
            return Err(Error::new(Kind::Tls, "no certificate can be for such a name"));
        };
        let secret = Arc::new(Secret::default());
        let mut config = (**config).clone();
        config.key_log = Arc::clone(&secret) as Arc<dyn KeyLog>;
        let mut tls = Tls::client(transport, Arc::new(config), name)?;
        tls.keep_to_records();
        tls.arrived_early(early)?;
        Ok((tls, secret))
    }

    /// A server, before its handshake. `alpn`: the protocol that was chosen. `early`: what the greeting has taken.
    pub fn server<T: Transport>(
        &self,
        transport: T,
        early: &[u8],
        alpn: Option<Vec<u8>>,
    ) -> Result<(Tls<T>, Arc<Secret>)> {
        let Side::Server(config) = &self.side else { return Err(wrong_side()) };
        let secret = Arc::new(Secret::default());
        let mut config = (**config).clone();
        config.alpn_protocols = alpn.into_iter().collect();
        config.key_log = Arc::clone(&secret) as Arc<dyn KeyLog>;
        let mut tls = Tls::server(transport, Arc::new(config), &[])?;
        tls.keep_to_records();
        tls.arrived_early(early)?;
        Ok((tls, secret))
    }

    /// The same, with the certificates of another context: what a server changes to when it hears a client's name.
    /// Whom it asks for certificates, and what it believes, stays.
    pub fn with_certificates_of(&self, other: &Built) -> Built {
        let mut own = self.clone();
        if let (Side::Server(config), Side::Server(others)) = (&self.side, &other.side) {
            let mut config = (**config).clone();
            config.cert_resolver = Arc::clone(&others.cert_resolver);
            own.side = Side::Server(Arc::new(config));
            own.chain = Arc::clone(&other.chain);
        }
        own
    }

    /// What this end shows: certificates in their order.
    pub fn local_chain(&self) -> Vec<Certificate> {
        self.chain.iter().map(|der| Certificate::from_der(der)).collect()
    }

    /// True of a server without a certificate.
    fn has_nothing_to_show(&self) -> bool {
        matches!(self.side, Side::Server(..)) && self.chain.is_empty()
    }

    /// True if an end without close_notify is an end like any other.
    pub fn ignores_eof(&self) -> bool {
        self.ignores_eof
    }

    /// True if every complaint is kept by its depth (`lsec_continue`).
    pub fn keeps_complaints(&self) -> bool {
        self.asked.proceed
    }

    /// What is wrong with the peer's certificates. `name`: the host that a client has asked for.
    pub fn complaints<T: Transport>(&self, tls: &Tls<T>, name: Option<&str>) -> Vec<Complaint> {
        let Some((own, between)) = tls.state().peer_certificates().and_then(<[_]>::split_first) else {
            return Vec::new();
        };
        let name: Option<ServerName<'_>> =
            name.filter(|_| self.asked.peer).and_then(|name| server_name(Some(name)).ok());
        verify::judge(&self.trust, &self.asked, own, between, name.as_ref(), verify::now())
    }
}

fn wrong_side() -> Error {
    Error::new(Kind::Tls, "the context is for the other side")
}

/// What was negotiated, in OpenSSL's words.
pub struct Info {
    pub cipher: &'static str,
    pub protocol: &'static str,
    pub key: &'static str,
    pub authentication: &'static str,
    pub encryption: &'static str,
    pub bits: u16,
}

impl Info {
    /// `None` before a cipher was agreed on.
    pub fn of<T: Transport>(tls: &Tls<T>) -> Option<Info> {
        let suite = suites::described(tls.state().negotiated_cipher_suite()?)?;
        Some(Info {
            cipher: suite.name,
            protocol: tls.protocol(),
            key: suite.key,
            authentication: suite.authentication,
            encryption: suite.encryption,
            bits: suite.bits,
        })
    }
}

/// The certificates that the peer has shown, its own first.
pub fn peer_chain<T: Transport>(tls: &Tls<T>) -> Vec<Certificate> {
    let shown = tls.state().peer_certificates().unwrap_or_default();
    shown.iter().map(|der| Certificate::from_der(der)).collect()
}

/// The reason of the failure that broke a connection that `built` began, in OpenSSL's words.
pub fn reason<T: Transport>(tls: &Tls<T>, built: &Built) -> Option<&'static str> {
    Some(match tls.fault()? {
        // All that rustls has no other word for; of a server without a certificate, this.
        rustls::Error::General(_) if built.has_nothing_to_show() => "no shared cipher",
        error => messages::reason(error),
    })
}

/// True if this side has refused the peer's certificates.
pub fn refused<T: Transport>(tls: &Tls<T>) -> bool {
    matches!(tls.fault(), Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// Keying material for a label and a context (RFC 8446, section 7.5; RFC 5705); `None` over TLS 1.2, and for more than
/// there can be.
pub fn export<T: Transport>(
    tls: &Tls<T>,
    secret: &Secret,
    label: &[u8],
    context: &[u8],
    length: usize,
) -> Option<Vec<u8>> {
    let suite = tls.state().negotiated_cipher_suite()?.tls13()?;
    let (hash, algorithm) = match suite.common.hash_provider.algorithm() {
        rustls::crypto::hash::HashAlgorithm::SHA256 => (&digest::SHA256, hkdf::HKDF_SHA256),
        rustls::crypto::hash::HashAlgorithm::SHA384 => (&digest::SHA384, hkdf::HKDF_SHA384),
        _ => return None,
    };
    let secret = secret.0.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.is_empty() || length == 0 || length > 255 * hash.output_len() {
        return None;
    }
    let derived = expand(algorithm, &secret, label, digest::digest(hash, b"").as_ref(), hash.output_len())?;
    expand(algorithm, &derived, b"exporter", digest::digest(hash, context).as_ref(), length)
}

/// HKDF-Expand-Label (RFC 8446, section 7.1).
fn expand(algorithm: hkdf::Algorithm, secret: &[u8], label: &[u8], hash: &[u8], length: usize) -> Option<Vec<u8>> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    const PREFIX: &[u8] = b"tls13 ";
    let head = [u16::try_from(length).ok()?.to_be_bytes()[0], u16::try_from(length).ok()?.to_be_bytes()[1]];
    let label_length = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let hash_length = [u8::try_from(hash.len()).ok()?];
    let info = [&head[..], &label_length, PREFIX, label, &hash_length, hash];
    let mut out = vec![0; length];
    let prk = hkdf::Prk::new_less_safe(algorithm, secret);
    prk.expand(&info, Length(length)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_that_are_none() {
        let refused = |bytes: &[u8]| Greeting::default().feed(bytes).err().map(|refusal| refusal.reason);
        assert_eq!(refused(b"GET / HTTP/1.1\r\n\r\n"), Some("wrong version number"));
        assert_eq!(refused(&[22, 3, 1]), None);
        assert_eq!(refused(b""), None);
    }

    #[test]
    fn a_greeting_that_never_ends_is_refused() {
        // A handshake message of 16 MiB, in records of 16 KiB.
        let mut greeting = Greeting::default();
        let mut first = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
        first.extend(vec![0; 0x4000 - 4]);
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.extend(vec![0; 0x4000]);
        let mut refused = greeting.feed(&first).is_err();
        for _ in 0..64 {
            refused = refused || greeting.feed(&record).is_err();
        }
        assert!(refused);
        assert!(greeting.bytes.len() < 70 * 0x4000);
    }
}
