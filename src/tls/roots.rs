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

/// The same as many files, under their hashes.
#[cfg(all(unix, not(target_os = "macos")))]
const DIRECTORY: &str = "/etc/ssl/certs";

/// The verifier over the machine's store, shared by every connection that names no `ca_bundle`.
pub(super) fn system() -> Result<Arc<WebPkiServerVerifier>> {
    static SYSTEM: OnceLock<Arc<WebPkiServerVerifier>> = OnceLock::new();
    if let Some(verifier) = SYSTEM.get() {
        return Ok(verifier.clone());
    }
    let verifier = verifier(machine())?;
    Ok(SYSTEM.get_or_init(|| verifier).clone())
}

/// The machine's store.
pub(super) fn machine() -> Arc<RootCertStore> {
    static MACHINE: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    MACHINE
        .get_or_init(|| {
            let mut store = RootCertStore::empty();
            // A root that cannot be used (malformed, of an old version) is skipped; the others stand.
            store.add_parsable_certificates(native());
            if store.is_empty() {
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            Arc::new(store)
        })
        .clone()
}

/// True for a path that distributions keep the machine's store under, file or directory: naming it asks for nothing that
/// `system` does not give.
pub fn is_machine_path(path: &str) -> bool {
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        let path = path.trim_end_matches('/');
        FILES.contains(&path) || path == DIRECTORY
    }
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    {
        let _ = path;
        false
    }
}

pub(super) fn verifier(store: impl Into<Arc<RootCertStore>>) -> Result<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(store.into(), provider())
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
    rustls_native_certs::load_certs_from_paths(None, Some(Path::new(DIRECTORY))).certs
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
fn native() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}
