//! The server's side of the configuration: what to show, and whether to ask the client for a certificate.

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

/// A built configuration with its own cache of sessions.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

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

    /// The same with several certificates: the one for the name that a client asks for (SNI, RFC 6066 section 3), else the
    /// first. What is not about certificates is as the first has it.
    pub fn choosing(all: &[ServerOptions]) -> Result<ServerTls> {
        const SHOWN: Names = Names { cert: "cert", key: "key", password: "key_password" };
        let Some(options) = all.first() else { return Err(wrong("cert", "is missing")) };
        check_alpn(&options.alpn)?;
        let mut certificates = Vec::new();
        for one in all {
            let own = shown::certified(&SHOWN, &one.cert, one.key.as_deref(), one.key_password.as_deref())?;
            let names = pem::certificates(SHOWN.cert, &one.cert)?;
            let names = names.first().map(|der| PeerCert::parse(der).sans).unwrap_or_default();
            certificates.push((names.iter().map(|name| name.to_ascii_lowercase()).collect(), own));
        }
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
        Ok(ServerTls(Arc::new(config)))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.0.clone()
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
        let is_for = |names: &[String], name: &str| {
            let parent = name.split_once('.').map(|(_, parent)| parent);
            names.iter().any(|own| own == name || own.strip_prefix("*.").is_some_and(|own| Some(own) == parent))
        };
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
