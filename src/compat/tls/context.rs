//! A LuaSec context: settings, made step by step, and the rustls configurations built from them.
//!
//! Certificates, keys and revocation lists are passed as PEM text; permission to read files is checked elsewhere.
//! Errors are LuaSec's texts without their prefix.

use super::{
    suites,
    verify::{Asked, NAMELESS, Purpose, Trust, Verifier},
};
use crate::{
    error::Result as Outcome,
    tls::{
        Ca, Version, pem,
        pem::NoKey,
        provider,
        sealed::Shut,
        shown::{self, fits},
        trust::Role,
    },
};
use rustls::{
    CipherSuite, ClientConfig, ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
    client::{ResolvesClientCert, Resumption},
    crypto::{CryptoProvider, SupportedKxGroup},
    pki_types::{CertificateDer, DnsName, ServerName},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache},
    sign::{CertifiedKey, SigningKey},
};
use std::{net::IpAddr, sync::Arc};

/// Sessions that a context remembers for resumption.
const SESSIONS: usize = 256;

/// Which end a context is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Client,
    Server,
}

/// What a program asked of a context.
#[derive(Default)]
pub struct Context {
    pub mode: Option<Mode>,
    /// What `protocol` leaves, before the options `no_tlsv1_2` and `no_tlsv1_3`.
    versions: Vec<Version>,
    no: Vec<Version>,
    identities: Vec<Identity>,
    pending: Option<Arc<dyn SigningKey>>,
    trust: Arc<Trust>,
    asked: Asked,
    ciphers: Option<Vec<CipherSuite>>,
    ciphersuites: Option<Vec<CipherSuite>>,
    groups: Option<Vec<&'static dyn SupportedKxGroup>>,
    server_preference: bool,
    no_ticket: bool,
    ignores_eof: bool,
    /// Offered by a client. A server's choice is made at each handshake.
    pub alpn: Vec<Vec<u8>>,
}

/// Why a key cannot be used.
pub struct BadKey {
    pub message: String,
    /// It is under a password, and none was given.
    pub sealed: bool,
}

impl BadKey {
    fn fail(message: &str) -> BadKey {
        BadKey { message: message.to_owned(), sealed: false }
    }
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Option<Arc<dyn SigningKey>>,
}

/// What connections of a context begin with, built once.
#[derive(Clone)]
pub struct Built {
    pub(crate) trust: Arc<Trust>,
    pub(crate) asked: Asked,
    /// Its own certificates, the first identity's.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
    pub(crate) side: Side,
    pub(crate) ignores_eof: bool,
}

#[derive(Clone)]
pub(crate) enum Side {
    /// With sessions to resume, for a server that has a name; and without.
    Client(Arc<ClientConfig>, Arc<ClientConfig>),
    Server(Arc<ServerConfig>),
}

impl Context {
    /// `any`, `sslv23`, `tlsv1_2` or `tlsv1_3`; `None` for everything else, the older versions among it. `ca` is believed
    /// beside the machine's store.
    pub fn new(protocol: &str, ca: Option<Arc<Ca>>) -> Option<Context> {
        let versions = match protocol {
            "any" | "sslv23" => Version::ALL.to_vec(),
            "tlsv1_2" => vec![Version::Tls12],
            "tlsv1_3" => vec![Version::Tls13],
            _ => return None,
        };
        let trust = Arc::new(Trust::with(ca));
        Some(Context { versions, trust, ..Context::default() })
    }

    /// The certificate chain to show, its own first.
    pub fn add_certificate(&mut self, text: &[u8]) -> Result<(), &'static str> {
        let chain = pem::certificates("", text).map_err(|_| "no start line")?;
        if !chain.first().is_some_and(shown::is_certificate) {
            return Err("the certificate cannot be read");
        }
        let key = self.pending.take();
        self.identities.push(Identity { chain, key });
        Ok(())
    }

    /// The private key for the certificate that comes next, or for the last one if it has none.
    pub fn add_key(&mut self, text: &[u8], password: Option<&[u8]>) -> Result<(), BadKey> {
        let key = pem::private_key(text, password).map_err(|why| match why {
            NoKey::Absent => BadKey::fail("no start line"),
            NoKey::Broken(broken) => BadKey::fail(broken.message()),
            NoKey::Sealed => BadKey { message: "bad password read".into(), sealed: true },
            NoKey::Shut(Shut::Wrong) => BadKey::fail("bad decrypt"),
            NoKey::Shut(shut) => BadKey::fail(shut.message()),
            NoKey::Foreign(message) => BadKey::fail(&format!("the private key {message}")),
        })?;
        let key = shown::usable(key).map_err(|message| BadKey::fail(&message))?;
        match self.identities.last_mut() {
            Some(Identity { key: empty @ None, .. }) => *empty = Some(key),
            _ => self.pending = Some(key),
        }
        Ok(())
    }

    /// True if the last certificate and its key belong together.
    pub fn keys_match(&self) -> bool {
        match self.identities.last() {
            Some(Identity { chain, key: Some(key) }) => {
                chain.first().is_some_and(|own| fits(own, &**key) == Some(true))
            }
            _ => false,
        }
    }

    /// Whom to believe is about to be said.
    pub fn tell_trust(&mut self) {
        Arc::make_mut(&mut self.trust).tell();
    }

    /// Believes the certificates of this text, and knows its revocation lists. How many of both there were; an error for a
    /// text that is cut or malformed, of which nothing is believed.
    pub fn add_trust(&mut self, text: &[u8]) -> Result<usize, &'static str> {
        let role = if self.mode == Some(Mode::Server) { Role::Client } else { Role::Server };
        let found = pem::store(text, role).map_err(pem::Broken::message)?;
        let trust = Arc::make_mut(&mut self.trust);
        let certificates = found.certificates.into_iter().filter(|der| trust.add(der.clone()).is_ok()).count();
        let lists = found.lists.iter().filter(|der| trust.add_crl(der).is_ok()).count();
        Ok(certificates + found.forbidden + lists)
    }

    /// Believes the authorities of the machine's store. An error where it is there and cannot be read.
    pub fn trust_machine(&mut self) -> Outcome<()> {
        Arc::make_mut(&mut self.trust).add_machine()
    }

    /// The suites of TLS 1.2, as a cipher string of OpenSSL; false if it selects none.
    pub fn set_ciphers(&mut self, text: &str) -> bool {
        let chosen = suites::ciphers(text);
        let good = chosen.is_some();
        self.ciphers = chosen.or(self.ciphers.take());
        good
    }

    /// The suites of TLS 1.3; false if the list names none, or one that does not exist.
    pub fn set_ciphersuites(&mut self, text: &str) -> bool {
        let chosen = suites::ciphersuites(text);
        let good = chosen.is_some();
        self.ciphersuites = chosen.or(self.ciphersuites.take());
        good
    }

    /// The group of key exchange, by the name of its curve; false for one that is not offered.
    pub fn set_curve(&mut self, name: &str) -> bool {
        let group = suites::curve(name);
        self.groups = group.map(|group| vec![group]).or(self.groups.take());
        group.is_some()
    }

    /// The groups of key exchange, in order of preference.
    pub fn set_curves(&mut self, list: &str) -> bool {
        let groups = suites::curves(list);
        let good = groups.is_some();
        self.groups = groups.or(self.groups.take());
        good
    }

    /// A word of `verify`; false for none of them.
    pub fn verify(&mut self, word: &str) -> bool {
        match word {
            // There is no renegotiation, so that a client is never asked twice.
            "none" | "client_once" => {}
            "peer" => self.asked.peer = true,
            "fail_if_no_peer_cert" => self.asked.required = true,
            _ => return false,
        }
        true
    }

    /// Forgets what [`Context::verify`] was told.
    pub fn verify_anew(&mut self) {
        (self.asked.peer, self.asked.required) = (false, false);
    }

    /// A word of `verifyext`; false for none of them.
    pub fn verify_ext(&mut self, word: &str) -> bool {
        match word {
            "lsec_continue" => self.asked.proceed = true,
            "lsec_ignore_purpose" => self.asked.ignore_purpose = true,
            "crl_check" => self.asked.crl_check = true,
            "crl_check_chain" => self.asked.crl_check_chain = true,
            _ => return false,
        }
        true
    }

    /// Forgets what [`Context::verify_ext`] was told.
    pub fn verify_ext_anew(&mut self) {
        let Asked { peer, required, depth, purpose, .. } = self.asked;
        self.asked = Asked { peer, required, depth, purpose, ..Asked::default() };
    }

    /// How many certificates may stand between the peer's own and an authority.
    pub fn set_depth(&mut self, depth: i64) {
        self.asked.depth = Some(usize::try_from(depth).unwrap_or(0));
    }

    /// A word of `options`; false for none that OpenSSL 3 has. Most change nothing: what they forbid does not exist.
    pub fn option(&mut self, word: &str) -> bool {
        match word {
            "no_tlsv1_2" => self.no.push(Version::Tls12),
            "no_tlsv1_3" => self.no.push(Version::Tls13),
            "no_ssl_mask" => self.no.extend(Version::ALL),
            "cipher_server_preference" => self.server_preference = true,
            "ignore_unexpected_eof" => self.ignores_eof = true,
            "no_ticket" => self.no_ticket = true,
            _ => {}
        }
        suites::OPTIONS.contains(&word)
    }

    /// What connections begin with. An error where nothing is left that could be spoken.
    pub fn build(&self) -> Result<Built, &'static str> {
        let mode = self.mode.ok_or("invalid mode")?;
        let versions: Vec<_> = self.versions.iter().filter(|v| !self.no.contains(v)).map(|v| v.rustls()).collect();
        if versions.is_empty() {
            return Err("no protocols available");
        }
        let provider = self.provider(&versions);
        let trust = Arc::clone(&self.trust);
        let purpose = match mode {
            Mode::Client => Purpose::Server,
            Mode::Server if self.asked.ignore_purpose => Purpose::Any,
            Mode::Server => Purpose::Client,
        };
        let asked = Asked { purpose, ..self.asked };
        let verifier = Arc::new(Verifier { trust: Arc::clone(&trust), asked });
        let certified = |identity: &Identity| {
            let key = Arc::clone(identity.key.as_ref()?);
            // A lone certificate is completed, as in OpenSSL.
            let chain = match &*identity.chain {
                [own] => self.trust.chain_of(own),
                _ => identity.chain.clone(),
            };
            Some(Arc::new(CertifiedKey::new(chain, key)))
        };
        let shown = Arc::new(Shown(self.identities.iter().filter_map(certified).collect()));
        let chain = self.identities.first().map_or_else(|| Arc::from([]), |identity| identity.chain.clone().into());
        let side = match mode {
            Mode::Client => {
                let mut config = ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&versions)
                    .map_err(|_| "no ciphers available")?
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
                    .with_client_cert_resolver(shown);
                config.alpn_protocols = self.alpn.clone();
                // Sessions are kept by the server's name: without one they would be one heap.
                config.resumption = Resumption::disabled();
                let nameless = Arc::new(config.clone());
                if !self.no_ticket {
                    config.resumption = Resumption::in_memory_sessions(SESSIONS);
                }
                Side::Client(Arc::new(config), nameless)
            }
            Mode::Server => {
                let mut config = ServerConfig::builder_with_provider(provider)
                    .with_protocol_versions(&versions)
                    .map_err(|_| "no ciphers available")?
                    .with_client_cert_verifier(verifier)
                    .with_cert_resolver(shown);
                config.ignore_client_order = self.server_preference;
                // A resumed session repeats what the client proved then; who asks for certificates is shown them anew.
                let keeps = !self.no_ticket && !self.asked.peer;
                config.session_storage = match keeps {
                    true => ServerSessionMemoryCache::new(SESSIONS),
                    false => Arc::new(NoServerSessionStorage {}),
                };
                if !keeps {
                    config.send_tls13_tickets = 0;
                }
                Side::Server(Arc::new(config))
            }
        };
        Ok(Built { trust, asked, chain, side, ignores_eof: self.ignores_eof })
    }

    /// The suites and groups that were asked for. Suites of other versions would count in the choice of a server's
    /// certificate: those of TLS 1.3 fit any.
    fn provider(&self, versions: &[&SupportedProtocolVersion]) -> Arc<CryptoProvider> {
        let mut own = (*provider()).clone();
        let mut suites = Vec::new();
        for (chosen, is_13) in [(&self.ciphersuites, true), (&self.ciphers, false)] {
            let all = || own.cipher_suites.iter().copied().filter(|suite| suite.tls13().is_some() == is_13);
            match chosen {
                None => suites.extend(all()),
                Some(chosen) => {
                    suites.extend(chosen.iter().filter_map(|wanted| all().find(|suite| suite.suite() == *wanted)));
                }
            }
        }
        suites.retain(|suite: &SupportedCipherSuite| versions.contains(&suite.version()));
        own.cipher_suites = suites;
        if let Some(groups) = &self.groups {
            own.kx_groups = groups.clone();
        }
        Arc::new(own)
    }
}

/// Whom a client asks for: nobody by name, or a host. An address is checked but never sent.
pub(crate) fn server_name(name: Option<&str>) -> Result<ServerName<'static>, ()> {
    let ip = match name {
        None => Some(NAMELESS),
        Some(name) => name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok(),
    };
    match (ip, name) {
        (Some(ip), _) => Ok(ServerName::IpAddress(ip.into())),
        (None, Some(name)) => DnsName::try_from(name.to_owned()).map(ServerName::DnsName).map_err(drop),
        (None, None) => Err(()),
    }
}

/// The certificates that a context shows.
#[derive(Debug)]
struct Shown(Vec<Arc<CertifiedKey>>);

impl Shown {
    fn fitting(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|identity| identity.key.choose_scheme(schemes).is_some()).cloned()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // None that fits is for the handshake to tell: rustls would call it a matter of access.
        self.fitting(hello.signature_schemes()).or_else(|| self.0.first().cloned())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.fitting(schemes)
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
