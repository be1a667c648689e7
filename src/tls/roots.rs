//! The trusted roots: the system's store, or the bundled Mozilla roots where there is none.
//!
//! Read once per process, when the first certificate is to be verified; never when the module is loaded. A store that
//! exists and cannot be read is an error of that handshake: the next one reads again. The files are fixed paths:
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` are ambient authority and are ignored (on macOS the platform library reads them).

use super::{
    cert::sha256,
    fault, pem, provider,
    trust::{self, Role},
    wrong,
};
use crate::error::{Error, Kind, Result};
use rustls::{
    Error as TlsError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

/// Where the distributions keep one file with every root; the first that is there is the store.
#[cfg(not(target_os = "macos"))]
const FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Arch, Gentoo, NixOS
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",   // older Fedora and RHEL
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/ssl/cert.pem",                  // Alpine, OpenBSD, FreeBSD
    "/usr/local/share/certs/ca-root-nss.crt", // older FreeBSD
];

/// The same as many files, under their hashes.
#[cfg(not(target_os = "macos"))]
const DIRECTORY: &str = "/etc/ssl/certs";

/// Authorities, and certificates that are believed themselves.
#[derive(Debug)]
pub(crate) struct Roots {
    pub store: Arc<RootCertStore>,
    verifier: Arc<WebPkiServerVerifier>,
    /// SHA-256 of each certificate that was given.
    given: HashSet<[u8; 32]>,
}

impl Roots {
    /// Certificates of the caller's: every one must be usable, or the caller would trust less than they think.
    pub fn of(option: &str, certificates: &[CertificateDer<'static>]) -> Result<Roots> {
        let mut roots = (RootCertStore::empty(), HashSet::new());
        add(&mut roots, option, certificates)?;
        Roots::new(roots.0, roots.1)
    }

    fn new(store: RootCertStore, given: HashSet<[u8; 32]>) -> Result<Roots> {
        let store = Arc::new(store);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&store), provider())
            .build()
            .map_err(|e| Error::new(Kind::Tls, format!("trust store: {e}")))?;
        Ok(Roots { store, verifier, given })
    }

    /// True for a certificate that stands among these itself.
    pub fn has(&self, certificate: &CertificateDer<'_>) -> bool {
        self.given.contains(&sha256(certificate))
    }

    /// Judges a server's certificates.
    pub fn judge(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<(), TlsError> {
        if self.has(own) {
            trust::itself(own, Some(Role::Server), now)?;
            return trust::named(own, name);
        }
        let judged = self.verifier.verify_server_cert(own, between, name, ocsp, now);
        judged.map(drop).map_err(|error| trust::explained(error, own, between, &self.store.roots))
    }
}

/// Authorities that are believed beside the machine's (`--ca`).
#[derive(Debug)]
pub struct Ca {
    certificates: Vec<CertificateDer<'static>>,
    with_machine: OnceLock<Arc<Roots>>,
}

impl Ca {
    /// From PEM texts, each with its name for messages. Errors: `tls`, for a text without certificates, and for one that
    /// cannot be used.
    pub fn new<'a>(texts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Ca> {
        let mut certificates = Vec::new();
        for (label, text) in texts {
            let found = pem::authorities(label, text, Role::Server)?;
            Roots::of(label, &found)?;
            certificates.extend(found);
        }
        Ok(Ca { certificates, with_machine: OnceLock::new() })
    }

    fn roots(&self) -> Result<Arc<Roots>> {
        if let Some(roots) = self.with_machine.get() {
            return Ok(Arc::clone(roots));
        }
        let machine = machine(None)?;
        let mut roots = ((*machine.store).clone(), machine.given.clone());
        add(&mut roots, "ca", &self.certificates)?;
        let roots = Arc::new(Roots::new(roots.0, roots.1)?);
        Ok(Arc::clone(self.with_machine.get_or_init(|| roots)))
    }
}

fn add(
    (store, given): &mut (RootCertStore, HashSet<[u8; 32]>),
    option: &str,
    certificates: &[CertificateDer<'static>],
) -> Result<()> {
    for (index, certificate) in certificates.iter().enumerate() {
        store
            .add(certificate.clone())
            .map_err(|e| wrong(option, format!("certificate {} cannot be used: {}", index + 1, fault::plain(&e))))?;
        given.insert(sha256(certificate));
    }
    Ok(())
}

/// What connections believe that name no `ca_bundle`: the machine's store, and `ca`.
pub(crate) fn machine(ca: Option<&Ca>) -> Result<Arc<Roots>> {
    static MACHINE: OnceLock<Arc<Roots>> = OnceLock::new();
    if let Some(ca) = ca {
        return ca.roots();
    }
    if let Some(roots) = MACHINE.get() {
        return Ok(Arc::clone(roots));
    }
    let found = native().map_err(|why| {
        let message = format!("the machine's trust store cannot be read ({why}); `ca_bundle` can name another");
        Error::new(Kind::Tls, message)
    })?;
    let mut store = RootCertStore::empty();
    match &found {
        Some(certificates) => {
            // A root that cannot be used (malformed, of an odd kind) is skipped; the others stand.
            store.add_parsable_certificates(certificates.iter().cloned());
        }
        None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    if store.is_empty() {
        return Err(Error::new(
            Kind::Tls,
            "the machine's trust store has no certificate; `ca_bundle` can name another",
        ));
    }
    let given = found.iter().flatten().map(|certificate| sha256(certificate)).collect();
    let roots = Arc::new(Roots::new(store, given)?);
    Ok(Arc::clone(MACHINE.get_or_init(|| roots)))
}

/// True for a path that distributions keep the machine's store under, file or directory: naming it asks for nothing that
/// `system` does not give.
pub fn is_machine_path(path: &str) -> bool {
    #[cfg(not(target_os = "macos"))]
    {
        let path = path.trim_end_matches('/');
        FILES.contains(&path) || path == DIRECTORY
    }
    #[cfg(target_os = "macos")]
    {
        let _ = path;
        false
    }
}

/// The certificates of the machine's store; `None` where there is none. An error for a store that is there and cannot be read,
/// which is never the same: whoever took it for that would trust others than the machine does.
#[cfg(not(target_os = "macos"))]
fn native() -> std::result::Result<Option<Vec<CertificateDer<'static>>>, String> {
    use crate::{error::reason, files::whole};
    use std::path::Path;
    /// Debian's has 220 KiB.
    const MOST: u64 = 64 << 20;
    let read = |path: &Path| {
        let failed = |why: &str| format!("{}: {why}", path.display());
        let Some(text) = whole::read(path, MOST).map_err(|e| failed(&reason(&e)))? else { return Ok(None) };
        pem::machine(&text).map(Some).map_err(|broken| failed(broken.message()))
    };
    let mut there = false;
    for path in FILES {
        if let Some(found) = read(Path::new(path))? {
            if !found.is_empty() {
                return Ok(Some(found));
            }
            there = true;
        }
    }
    let files = whole::list(Path::new(DIRECTORY)).map_err(|e| format!("{DIRECTORY}: {}", reason(&e)))?;
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for path in files.unwrap_or_default() {
        // Most are links to the same files, under their hashes.
        let found = read(&path)?.unwrap_or_default();
        all.extend(found.into_iter().filter(|certificate| seen.insert(sha256(certificate))));
    }
    // An empty directory comes with OpenSSL; an empty file says that nobody is to be trusted.
    Ok((there || !all.is_empty()).then_some(all))
}

#[cfg(target_os = "macos")]
fn native() -> std::result::Result<Option<Vec<CertificateDer<'static>>>, String> {
    let found = rustls_native_certs::load_native_certs();
    match (found.certs.is_empty(), found.errors.first()) {
        (true, Some(why)) => Err(why.to_string()),
        (true, None) => Ok(None),
        _ => Ok(Some(found.certs)),
    }
}
