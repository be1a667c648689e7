//! The server's configuration: its certificates, and whether it asks the client for one.

use super::{
    Version,
    cert::PeerCert,
    check_alpn, pem, provider,
    roots::Roots,
    shown::{self, Names},
    trust::{self, Role},
    versions, wrong,
};
use crate::error::Result;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error as TlsError, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{cell::Cell, fmt, sync::Arc};

/// Sessions that are remembered for resumption.
const SESSIONS: usize = 1024;

/// What is asked of a client where a `client_ca` is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// No certificate, no connection.
    #[default]
    Required,
    /// A client may have none; one that it shows must be good.
    Optional,
}

/// The options of a TLS server. Certificates and keys are PEM text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServerOptions {
    /// The certificate chain, own certificate first.
    pub cert: Vec<u8>,
    /// Its key. Defaults to the key in `cert`.
    pub key: Option<Vec<u8>>,
    /// Opens the key, if it is under a password. Defaults to none.
    pub key_password: Option<Vec<u8>>,
    /// Offered in this order of preference (RFC 7301). Defaults to none.
    pub alpn: Vec<Vec<u8>>,
    /// Clients must show a certificate that one of these issued. Defaults to none: clients are not asked.
    pub client_ca: Option<Vec<u8>>,
    /// Whether `client_ca` is a must. Defaults to required.
    pub client_auth: ClientAuth,
    /// Defaults to every version.
    pub protocols: Vec<Version>,
}

impl ServerOptions {
    /// True if only their certificates differ.
    fn serves_as(&self, other: &ServerOptions) -> bool {
        let key =
            |one: &ServerOptions| (one.alpn.clone(), one.client_ca.clone(), one.client_auth, one.protocols.clone());
        key(self) == key(other)
    }
}

/// Built configurations, each with its own cache of sessions.
#[derive(Clone)]
pub struct ServerTls {
    /// For a client that asks for no name, or for one that is nobody's.
    first: Arc<ServerConfig>,
    /// Where the names differ in more than their certificates.
    by_name: Option<Arc<ByName>>,
}

/// Configurations by the name that a client asks for (SNI, RFC 6066 section 3).
#[derive(Debug)]
pub(super) struct ByName {
    /// In their order, with the place of their configuration.
    names: Vec<(Vec<String>, usize)>,
    configs: Vec<Arc<ServerConfig>>,
}

impl ByName {
    /// The place of the configuration for a name.
    pub fn place(&self, name: Option<&str>) -> usize {
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let fitting = name.and_then(|name| self.names.iter().find(|(names, _)| is_for(names, &name)));
        fitting.or(self.names.first()).map_or(0, |(_, place)| *place)
    }

    pub fn config(&self, place: usize) -> Option<Arc<ServerConfig>> {
        self.configs.get(place).cloned()
    }
}

/// True if a certificate with these names is for that one (RFC 9525 section 6.3), in lower case.
fn is_for(names: &[String], name: &str) -> bool {
    let parent = name.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|own| own == name || own.strip_prefix("*.").is_some_and(|own| Some(own) == parent))
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Checks and builds. Errors: `tls`, naming the option.
    pub fn new(options: &ServerOptions) -> Result<ServerTls> {
        ServerTls::choosing(std::slice::from_ref(options))
    }

    /// The same with several certificates, each with what else is to hold for its names: the one for the name that a client
    /// asks for (SNI, RFC 6066 section 3), else the first.
    pub fn choosing(all: &[ServerOptions]) -> Result<ServerTls> {
        const SHOWN: Names = Names { cert: "cert", key: "key", password: "key_password" };
        // Those that differ in nothing but their certificates share a configuration.
        let mut groups: Vec<(&ServerOptions, Vec<_>)> = Vec::new();
        let mut names = Vec::new();
        for one in all {
            let own = shown::certified(&SHOWN, &one.cert, one.key.as_deref(), one.key_password.as_deref())?;
            let sans = pem::certificates(SHOWN.cert, &one.cert)?;
            let sans = sans.first().map(|der| PeerCert::parse(der).sans).unwrap_or_default();
            let sans: Vec<String> = sans.iter().map(|name| name.to_ascii_lowercase()).collect();
            let place = groups.iter().position(|(first, _)| first.serves_as(one)).unwrap_or(groups.len());
            match groups.get_mut(place) {
                Some((_, certificates)) => certificates.push((sans.clone(), own)),
                None => groups.push((one, vec![(sans.clone(), own)])),
            }
            names.push((sans, place));
        }
        let built = groups.into_iter().map(|(options, certificates)| ServerTls::build(options, certificates));
        let configs = built.collect::<Result<Vec<_>>>()?;
        let Some(first) = configs.first().cloned() else { return Err(wrong("cert", "is missing")) };
        Ok(ServerTls { first, by_name: (configs.len() > 1).then(|| Arc::new(ByName { names, configs })) })
    }

    fn build(
        options: &ServerOptions,
        certificates: Vec<(Vec<String>, Arc<SingleCertAndKey>)>,
    ) -> Result<Arc<ServerConfig>> {
        check_alpn(&options.alpn)?;
        let own = Arc::new(Choice { certificates });
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(&options.protocols))
            .map_err(|e| wrong("protocols", e))?;
        let builder = match &options.client_ca {
            None => builder.with_no_client_auth(),
            Some(text) => {
                let roots = Roots::of("client_ca", &pem::authorities("client_ca", text, Role::Client)?)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.store), provider());
                let verifier = match options.client_auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let webpki = verifier.build().map_err(|e| wrong("client_ca", e))?;
                builder.with_client_cert_verifier(Arc::new(Clients { webpki, roots }))
            }
        };
        let mut config = builder.with_cert_resolver(own);
        config.alpn_protocols = options.alpn.clone();
        // A resumed session repeats the identity that the client proved then; a certificate that has expired since
        // must not outlive itself that way, so mutual TLS always proves anew.
        config.session_storage = match &options.client_ca {
            None => ServerSessionMemoryCache::new(SESSIONS),
            Some(_) => Arc::new(NoServerSessionStorage {}),
        };
        if options.client_ca.is_some() {
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.first.clone()
    }

    pub(super) fn by_name(&self) -> Option<Arc<ByName>> {
        self.by_name.clone()
    }
}

thread_local! {
    /// The name that the last client asked for, until its handshake takes it.
    static ASKED: Cell<Option<String>> = const { Cell::new(None) };
}

/// The name that a client has asked for in the handshake step that is just over.
pub(super) fn asked() -> Option<String> {
    ASKED.with(Cell::take)
}

/// The certificates of a server, with the names that each is for.
#[derive(Debug)]
struct Choice {
    certificates: Vec<(Vec<String>, Arc<SingleCertAndKey>)>,
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let fitting = name.as_deref().and_then(|name| self.certificates.iter().find(|(names, _)| is_for(names, name)));
        let chosen = fitting.or(self.certificates.first());
        ASKED.with(|asked| asked.set(name));
        chosen?.1.resolve(hello)
    }
}

/// Judges clients: by their authorities, or as a certificate that is believed itself.
#[derive(Debug)]
struct Clients {
    webpki: Arc<dyn ClientCertVerifier>,
    roots: Roots,
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.webpki.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, TlsError> {
        if self.roots.has(own) {
            trust::itself(own, Some(Role::Client), now)?;
            return Ok(ClientCertVerified::assertion());
        }
        let judged = self.webpki.verify_client_cert(own, between, now);
        judged.map_err(|error| trust::explained(error, own, between, &self.roots.store.roots))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        trust::signature(Version::Tls12, message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        trust::signature(Version::Tls13, message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
