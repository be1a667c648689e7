//! Our own identity in TLS: a chain of certificates and its key.

use super::{algorithms, cert::public_key, pem, provider, wrong};
use crate::error::Result;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
};
use std::sync::Arc;

/// The options that these come from, for messages.
pub(crate) struct Names {
    pub cert: &'static str,
    pub key: &'static str,
    pub password: &'static str,
}

/// A chain and the key of its first certificate, which may stand in the same text. The certificate is taken as the caller
/// has it, of whatever version: whether a peer believes it is the peer's business.
pub(crate) fn certified(
    names: &Names,
    cert: &[u8],
    key: Option<&[u8]>,
    password: Option<&[u8]>,
) -> Result<Arc<SingleCertAndKey>> {
    let chain = pem::certificates(names.cert, cert)?;
    let (option, text) = match key {
        Some(key) => (names.key, key),
        None if pem::has_key(cert) => (names.cert, cert),
        None => return Err(wrong(names.cert, format!("needs {}, which is missing", names.key))),
    };
    let key = usable(pem::key((option, names.password), text, password)?).map_err(|message| wrong(option, message))?;
    let own = chain.first().map_or(&[][..], |own| own.as_ref());
    match fits(own, &*key) {
        Some(true) => Ok(Arc::new(CertifiedKey::new(chain, key).into())),
        Some(false) => Err(wrong(option, "the key does not belong to the certificate")),
        None => Err(wrong(names.cert, "the certificate is malformed")),
    }
}

/// The key as the provider has it; or what it is, and what can be used. One of a kind that can be used is refused where it is
/// damaged, or where the system has no random bytes for the test that it is put to.
pub(crate) fn usable(key: PrivateKeyDer<'static>) -> std::result::Result<Arc<dyn SigningKey>, String> {
    provider().key_provider.load_private_key(key.clone_key()).map_err(|_| {
        let (own, all) = (algorithms::of_key(&key), algorithms::keys());
        match algorithms::is_usable(&own) {
            true => {
                format!("the private key ({own}) was refused: it is damaged, or there were no random bytes to try it")
            }
            false => format!("the private key is {own}, which cannot be used ({all} can)"),
        }
    })
}

/// True if the key is the one of the certificate; `None` if that cannot be read.
pub(crate) fn fits(cert: &[u8], key: &dyn SigningKey) -> Option<bool> {
    let public = public_key(cert)?;
    Some(key.public_key().is_none_or(|own| own.as_ref() == public))
}

/// True for bytes that are a certificate of any version.
pub(crate) fn is_certificate(der: &CertificateDer<'_>) -> bool {
    public_key(der).is_some()
}
