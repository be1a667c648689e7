//! The client's configuration: trust, its own certificate, offered protocols.

use super::{
    Version,
    cert::{public_key, sha256},
    check_alpn,
    fault::NotPinned,
    pem, provider,
    roots::{self, Ca, Roots},
    sessions::Sessions,
    shown::{self, Names},
    trust::{self, Role},
    versions, wrong,
};
use crate::{
    address::Host,
    error::{Error, Kind, Result},
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, OtherError, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, DnsName, ServerName, UnixTime},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Sessions that are remembered for resumption, eight to a host.
const SESSIONS: usize = 256;

/// The options of a TLS client, as the caller gave them. Certificates and keys are PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Verify the certificate chain and the host. Defaults to true.
    pub verify: bool,
    /// Trusted instead of the machine's store. Defaults to none.
    pub ca_bundle: Option<Vec<u8>>,
    /// The certificate chain to show to a server that asks, own certificate first.
    pub client_cert: Option<Vec<u8>>,
    /// Its key. Defaults to the key in `client_cert`.
    pub client_key: Option<Vec<u8>>,
    /// Opens the key, if it is under a password. Defaults to none.
    pub client_key_password: Option<Vec<u8>>,
    /// The host to ask for and to verify, instead of the one that was dialled. The caller must hold a grant for it.
    pub sni: Option<Host>,
    /// Defaults to every version.
    pub protocols: Vec<Version>,
    /// Offered in this order (RFC 7301). Defaults to none.
    pub alpn: Vec<Vec<u8>>,
    /// SHA-256 of the SubjectPublicKeyInfo of the server's own certificate; one must match, beside what `verify`
    /// asks. An authority's key is no pin: what a server sends along proves nothing.
    pub pins: Vec<[u8; 32]>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            verify: true,
            ca_bundle: None,
            client_cert: None,
            client_key: None,
            client_key_password: None,
            sni: None,
            protocols: Vec::new(),
            alpn: Vec::new(),
            pins: Vec::new(),
        }
    }
}

/// Stands for a set of options: connections and sessions are shared only between equal ones. Holds no secret (it is a
/// SHA-256 over everything).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 32]);

impl ClientOptions {
    /// The key under which connections, sessions and built configurations may be shared, within one capability.
    pub fn identity(&self) -> Identity {
        let mut text = vec![u8::from(self.verify)];
        let mut add = |tag: u8, bytes: &[u8]| {
            text.push(tag);
            text.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            text.extend_from_slice(bytes);
        };
        let given = [&self.ca_bundle, &self.client_cert, &self.client_key];
        for (tag, bytes) in (1..).zip(given).chain([(8, &self.client_key_password)]) {
            if let Some(bytes) = bytes {
                add(tag, bytes);
            }
        }
        if let Some(sni) = &self.sni {
            add(4, sni.to_string().as_bytes());
        }
        for version in versions(&self.protocols) {
            add(5, format!("{:?}", version.version).as_bytes());
        }
        self.alpn.iter().for_each(|name| add(6, name));
        let mut pins = self.pins.clone();
        pins.sort_unstable();
        pins.dedup();
        pins.iter().for_each(|pin| add(7, pin));
        Identity(sha256(&text))
    }
}

/// Options that many connections share: their identity is worked out once. Cheap to clone.
#[derive(Clone)]
pub struct SharedOptions(Arc<(ClientOptions, Identity)>);

impl From<ClientOptions> for SharedOptions {
    fn from(options: ClientOptions) -> Self {
        let identity = options.identity();
        SharedOptions(Arc::new((options, identity)))
    }
}

impl SharedOptions {
    /// Other options, made from these. Those that share them keep them.
    pub fn change(&mut self, how: impl FnOnce(&mut ClientOptions)) {
        let mut options = self.0.0.clone();
        how(&mut options);
        *self = options.into();
    }
}

impl std::ops::Deref for SharedOptions {
    type Target = ClientOptions;

    fn deref(&self) -> &ClientOptions {
        &self.0.0
    }
}

/// A built configuration with its own cache of sessions. Make one per capability and set of options, and keep it:
/// sessions are resumed only through the `ClientTls` that got them.
#[derive(Clone)]
pub struct ClientTls(Arc<Inner>);

struct Inner {
    config: Arc<ClientConfig>,
    sni: Option<Host>,
    identity: Identity,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// Checks and builds. The machine's trust store is not read here but when the first certificate is verified.
    /// Errors: `tls`, naming the option.
    pub fn new(options: &ClientOptions) -> Result<ClientTls> {
        ClientTls::with_ca(options, None)
    }

    /// The same, with authorities beside the machine's store.
    fn with_ca(options: &ClientOptions, ca: Option<Arc<Ca>>) -> Result<ClientTls> {
        const SHOWN: Names = Names { cert: "client_cert", key: "client_key", password: "client_key_password" };
        check_alpn(&options.alpn)?;
        let given =
            options.ca_bundle.as_ref().map(|text| pem::authorities("ca_bundle", text, Role::Server)).transpose()?;
        let trust = match (options.verify, given) {
            (true, None) => Trust::Machine(ca),
            (true, Some(given)) => Trust::Given(Roots::of("ca_bundle", &given)?),
            // A bundle that nobody will ask was still read: a typo in it is a mistake.
            (false, _) => Trust::Nobody,
        };
        let verifier = Verifier { trust, pins: options.pins.clone() };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(&options.protocols))
            .map_err(|e| wrong("protocols", e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let password = options.client_key_password.as_deref();
        let mut config = match (&options.client_cert, &options.client_key) {
            (None, None) => builder.with_no_client_auth(),
            (None, Some(_)) => return Err(wrong("client_key", "needs client_cert, which is missing")),
            (Some(cert), key) => {
                builder.with_client_cert_resolver(shown::certified(&SHOWN, cert, key.as_deref(), password)?)
            }
        };
        config.alpn_protocols = options.alpn.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        // RFC 6066, section 3: an address is never named; rustls sees to that for `ServerName::IpAddress`.
        config.enable_sni = true;
        Ok(ClientTls(Arc::new(Inner {
            config: Arc::new(config),
            sni: options.sni.clone(),
            identity: options.identity(),
        })))
    }

    /// Equal for equal options; see [`ClientOptions::identity`].
    pub fn identity(&self) -> Identity {
        self.0.identity
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.0.config.clone()
    }

    /// Whom the server must prove to be.
    pub(crate) fn server_name(&self, dialled: &Host) -> Result<ServerName<'static>> {
        let host = self.0.sni.as_ref().unwrap_or(dialled);
        if let Some(ip) = host.ip() {
            return Ok(ServerName::IpAddress(ip.into()));
        }
        DnsName::try_from(host.name().unwrap_or_default().to_owned())
            .map(ServerName::DnsName)
            .map_err(|_| Error::new(Kind::Tls, format!("{host}: not a name that a certificate can have")))
    }
}

/// The built configurations of one capability: equal options share their sessions, other capabilities never do.
#[derive(Debug, Default)]
pub struct ClientConfigs {
    built: Mutex<HashMap<Identity, ClientTls>>,
    ca: Option<Arc<Ca>>,
}

impl ClientConfigs {
    /// Those that believe `ca` beside the machine's store.
    pub fn with_ca(ca: Option<Arc<Ca>>) -> Self {
        ClientConfigs { built: Mutex::default(), ca }
    }

    /// What is believed beside the machine's store.
    pub fn ca(&self) -> Option<&Arc<Ca>> {
        self.ca.as_ref()
    }

    /// Configurations that are kept; a script that makes up ever new options does not fill the memory.
    const KEPT: usize = 64;

    /// The configuration for these options, built at the first call. Errors: as [`ClientTls::new`].
    pub fn client(&self, options: &ClientOptions) -> Result<ClientTls> {
        self.known(options, options.identity())
    }

    /// The same with sessions of its own, built at each call: for connections to one host.
    pub fn own(&self, options: &ClientOptions) -> Result<(ClientTls, Arc<Sessions>)> {
        let sessions = Arc::new(Sessions::default());
        let built = ClientTls::with_ca(options, self.ca.clone())?.0;
        let mut config = ClientConfig::clone(&built.config);
        config.resumption = Resumption::store(sessions.clone());
        let inner = Inner { config: Arc::new(config), sni: built.sni.clone(), identity: built.identity };
        Ok((ClientTls(Arc::new(inner)), sessions))
    }

    /// The same for options that are shared.
    pub fn shared(&self, options: &SharedOptions) -> Result<ClientTls> {
        let SharedOptions(shared) = options;
        self.known(&shared.0, shared.1)
    }

    fn known(&self, options: &ClientOptions, identity: Identity) -> Result<ClientTls> {
        // A panic of another thread cannot leave the map half changed.
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = built.get(&identity) {
            return Ok(tls.clone());
        }
        let tls = ClientTls::with_ca(options, self.ca.clone())?;
        if built.len() >= Self::KEPT {
            built.clear();
        }
        built.insert(identity, tls.clone());
        Ok(tls)
    }

    /// Forgets every session.
    pub fn clear(&self) {
        self.built.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[derive(Debug)]
enum Trust {
    /// The machine's store, read at the first verification, and what is believed beside it.
    Machine(Option<Arc<Ca>>),
    Given(Roots),
    /// `verify = false`.
    Nobody,
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    pins: Vec<[u8; 32]>,
}

impl Verifier {
    /// With neither trust nor pins there is nothing that a signature could prove, so that devices with broken
    /// certificates can be reached.
    fn proves_nothing(&self) -> bool {
        matches!(self.trust, Trust::Nobody) && self.pins.is_empty()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        let machine;
        let inner = match &self.trust {
            Trust::Nobody => None,
            Trust::Given(roots) => Some(roots),
            Trust::Machine(ca) => {
                machine = roots::machine(ca.as_deref()).map_err(|e| TlsError::General(e.fields().message.clone()))?;
                Some(&*machine)
            }
        };
        if let Some(roots) = inner {
            roots.judge(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        if !self.pins.is_empty() {
            let key = public_key(end_entity).ok_or(CertificateError::BadEncoding)?;
            if !self.pins.contains(&sha256(key)) {
                return Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        if self.proves_nothing() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        trust::signature(Version::Tls12, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        if self.proves_nothing() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        trust::signature(Version::Tls13, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = provider().signature_verification_algorithms.supported_schemes();
        if self.proves_nothing() {
            schemes.extend([SignatureScheme::RSA_PKCS1_SHA1, SignatureScheme::ECDSA_SHA1_Legacy]);
        }
        schemes
    }
}
