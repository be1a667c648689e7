//! Whom we trust: the machine's own store, or the bundled Mozilla roots where it has none.
//!
//! Read once per process, when the first certificate is to be verified; never when the module is loaded. The files
//! are fixed paths: `SSL_CERT_FILE` and `SSL_CERT_DIR` are ambient authority and are not asked (on macOS and Windows
//! the platform library does ask them).

use super::provider;
use crate::error::{Error, Kind, Result};
use rustls::{RootCertStore, client::WebPkiServerVerifier, pki_types::CertificateDer};
use std::sync::{Arc, OnceLock};

/// Where the distributions keep one file with every root; the first that holds a certificate is the store.
#[cfg(all(unix, not(target_os = "macos")))]
const FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Arch, Gentoo, NixOS
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",   // older Fedora and RHEL
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/ssl/cert.pem",                  // Alpine, OpenBSD, FreeBSD
    "/usr/local/share/certs/ca-root-nss.crt", // older FreeBSD
];

/// The verifier over the machine's store, shared by every connection that names no `ca_bundle`.
pub(super) fn system() -> Result<Arc<WebPkiServerVerifier>> {
    static SYSTEM: OnceLock<Arc<WebPkiServerVerifier>> = OnceLock::new();
    if let Some(verifier) = SYSTEM.get() {
        return Ok(verifier.clone());
    }
    let mut store = RootCertStore::empty();
    // A root that cannot be used (malformed, of an old version) is skipped; the others stand.
    store.add_parsable_certificates(native());
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let verifier = verifier(store)?;
    Ok(SYSTEM.get_or_init(|| verifier).clone())
}

pub(super) fn verifier(store: RootCertStore) -> Result<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
        .build()
        .map_err(|e| Error::new(Kind::Tls, format!("trust store: {e}")))
}

/// A store of the caller's: every certificate must be usable, or the caller would trust less than they think.
pub(super) fn store(option: &str, certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        store.add(certificate).map_err(|e| {
            super::wrong(option, format!("certificate {} cannot be used: {}", index + 1, super::fault::plain(&e)))
        })?;
    }
    Ok(store)
}

#[cfg(all(unix, not(target_os = "macos")))]
fn native() -> Vec<CertificateDer<'static>> {
    use std::path::Path;
    for file in FILES {
        let found = rustls_native_certs::load_certs_from_paths(Some(Path::new(file)), None).certs;
        if !found.is_empty() {
            return found;
        }
    }
    rustls_native_certs::load_certs_from_paths(None, Some(Path::new("/etc/ssl/certs"))).certs
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
fn native() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}
