//! The server's side of the configuration: what to show, and whether to ask the client for a certificate.

use super::{Version, check_alpn, fault, pem, provider, roots, versions, wrong};
use crate::error::Result;
use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier},
};
use std::{fmt, sync::Arc};

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
        check_alpn(&options.alpn)?;
        let chain = pem::certificates("cert", &options.cert)?;
        let key = match &options.key {
            Some(key) => pem::key("key", key)?,
            None if pem::has_key(&options.cert) => pem::key("cert", &options.cert)?,
            None => return Err(wrong("key", "is missing; cert was given without it")),
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(&options.protocols))
            .map_err(|e| wrong("protocols", e))?;
        let builder = match &options.client_ca {
            None => builder.with_no_client_auth(),
            Some(text) => {
                let store = roots::store("client_ca", pem::certificates("client_ca", text)?)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
                let verifier = match options.client_auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|e| wrong("client_ca", e))?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|e| fault::unusable("cert", "key", &e))?;
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

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.clone()
    }
}
