//! Verification of a peer's certificate where webpki is not used or gives no reason: certificates that are trusted as
//! they are, signatures by the peer's key, and the exact reason of a refusal. One rule for `net.ssl` and the drop-in.

use super::{Version, algorithms, cert::public_key, der, provider};
use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, PeerMisbehaved,
    client::{danger::HandshakeSignatureValid, verify_server_name},
    crypto::verify_tls13_signature_with_raw_key,
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime},
    server::ParsedCertificate,
};
use std::{fmt, sync::Arc};
use webpki::{Error as Pki, RawPublicKeyEntity};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, x509::X509Version};

/// What a certificate is to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// A refusal in our own words.
#[derive(Debug)]
pub(crate) struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for TlsError {
    fn from(refused: Refused) -> TlsError {
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

/// Judges a certificate that is believed itself: what is left are its dates and its purpose (any, without a role). Who
/// signed it, with what, and whether it may sign others is nobody's question then.
pub(crate) fn itself(own: &CertificateDer<'_>, role: Option<Role>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, cert) = X509Certificate::from_der(own).map_err(|_| CertificateError::BadEncoding)?;
    let (from, to) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
    let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let time = |seconds: i64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.max(0).unsigned_abs()));
    if at < from {
        return Err(CertificateError::NotValidYetContext { time: now, not_before: time(from) });
    }
    if at > to {
        return Err(CertificateError::ExpiredContext { time: now, not_after: time(to) });
    }
    let Ok(usage) = cert.extended_key_usage() else { return Err(CertificateError::BadEncoding) };
    let fits = usage.is_none_or(|usage| match role {
        _ if usage.value.any => true,
        Some(Role::Server) => usage.value.server_auth,
        Some(Role::Client) => usage.value.client_auth,
        None => true,
    });
    if fits { Ok(()) } else { Err(CertificateError::InvalidPurpose) }
}

/// Whether a certificate is for a host, by its alternative names (RFC 9525, section 6.3).
pub(crate) fn named(own: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), TlsError> {
    match ParsedCertificate::try_from(own) {
        Ok(cert) => verify_server_name(&cert, name),
        // Before version 3 there were no alternative names.
        Err(_) if is_old(own) => {
            let expected = name.to_owned();
            Err(CertificateError::NotValidForNameContext { expected, presented: Vec::new() }.into())
        }
        Err(error) => Err(error),
    }
}

fn is_old(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, cert)| cert.version() != X509Version::V3)
}

/// Checks what the peer signed of the handshake, by the bare key: a certificate of any version will do.
pub(crate) fn signature(
    version: Version,
    message: &[u8],
    cert: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, TlsError> {
    let raw = public_key(cert).ok_or(CertificateError::BadEncoding)?;
    let key = SubjectPublicKeyInfoDer::from(raw);
    let checked = match version {
        Version::Tls12 => signature_12(message, &key, signed),
        Version::Tls13 => {
            let algorithms = provider().signature_verification_algorithms;
            verify_tls13_signature_with_raw_key(message, &key, signed, &algorithms)
        }
    };
    let short = || der::read(raw).and_then(|key| algorithms::short_rsa(key.content));
    match (checked, short) {
        (Err(TlsError::InvalidCertificate(CertificateError::BadSignature)), short) => Err(match short() {
            Some(bits) => Refused(format!(
                "the key of the certificate is RSA of {bits} bits, which is not accepted ({} are)",
                algorithms::keys()
            ))
            .into(),
            None => CertificateError::BadSignature.into(),
        }),
        (checked, _) => checked,
    }
}

/// In TLS 1.2 a scheme names no curve (RFC 8422, section 5.1.1), so several algorithms may be meant.
fn signature_12(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, TlsError> {
    let key = RawPublicKeyEntity::try_from(key).map_err(|_| CertificateError::BadEncoding)?;
    let mapping = provider().signature_verification_algorithms.mapping;
    let Some((_, possible)) = mapping.iter().find(|(scheme, _)| *scheme == signed.scheme) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let mut error = CertificateError::BadSignature;
    for algorithm in *possible {
        match key.verify_signature(*algorithm, message, signed.signature()) {
            Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
            Err(Pki::UnsupportedSignatureAlgorithmForPublicKeyContext(about)) => {
                error = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                    signature_algorithm_id: about.signature_algorithm_id,
                    public_key_algorithm_id: about.public_key_algorithm_id,
                };
            }
            Err(_) => return Err(CertificateError::BadSignature.into()),
        }
    }
    Err(error.into())
}

/// What webpki said, or what it meant by it.
pub(crate) fn explained(
    error: TlsError,
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
) -> TlsError {
    let TlsError::InvalidCertificate(why) = &error else { return error };
    let refused = match why {
        CertificateError::BadSignature => short_issuer(own, between, anchors).map(|bits| {
            format!(
                "an authority in the chain has an RSA key of {bits} bits, which is not accepted ({} are)",
                algorithms::keys()
            )
        }),
        CertificateError::Other(other) if matches!(other.0.downcast_ref(), Some(Pki::NameConstraintViolation)) => {
            unchecked_constraint(own, between, anchors).map(|kind| {
                format!("an authority in the chain has name constraints for {kind}, which are not supported")
            })
        }
        _ => None,
    };
    refused.map_or(error, |message| Refused(message).into())
}

/// The size of an RSA key that vouches for a certificate of the chain and is too short for that.
pub(crate) fn short_issuer(
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
) -> Option<u32> {
    let chain: Vec<_> = parsed(own, between).collect();
    let content = |raw| der::read(raw).map_or(&[][..], |value| value.content);
    let subjects = chain.iter().skip(1).map(|cert| (content(cert.subject().as_raw()), content(cert.public_key().raw)));
    let anchors = anchors.iter().map(|anchor| (anchor.subject.as_ref(), anchor.subject_public_key_info.as_ref()));
    subjects.chain(anchors).find_map(|(subject, key)| {
        let vouches = chain.iter().any(|cert| content(cert.issuer().as_raw()) == subject);
        algorithms::short_rsa(key).filter(|_| vouches)
    })
}

/// What an authority's name constraints are about that webpki refuses without a look at the names (RFC 5280, section 4.2.1.10,
/// allows that).
pub(crate) fn unchecked_constraint(
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
) -> Option<&'static str> {
    const ALTERNATIVE: &str = "2.5.29.17";
    const CONSTRAINTS: &str = "2.5.29.30";
    let chain: Vec<_> = parsed(own, between).collect();
    let issuers: Vec<&[u8]> =
        chain.iter().filter_map(|cert| Some(der::read(cert.issuer().as_raw())?.content)).collect();
    let extension = |cert: &X509Certificate<'_>, wanted: &str| {
        let found = cert.extensions().iter().find(|extension| extension.oid.to_id_string() == wanted)?;
        der::read(found.value).map(|value| value.content.to_vec())
    };
    let mut constraints: Vec<Vec<u8>> = chain.iter().skip(1).filter_map(|cert| extension(cert, CONSTRAINTS)).collect();
    let anchors = anchors.iter().filter(|anchor| issuers.contains(&anchor.subject.as_ref()));
    constraints.extend(anchors.filter_map(|anchor| anchor.name_constraints.as_ref()).map(|raw| raw.as_ref().to_vec()));
    // NameConstraints ::= SEQUENCE { permitted [0] SEQUENCE OF GeneralSubtree, excluded [1] … }; the base comes first.
    let mut limited = Vec::new();
    for list in constraints.iter().filter_map(|raw| der::values(raw)).flatten() {
        let subtrees = der::values(list.content).unwrap_or_default();
        limited.extend(subtrees.iter().filter_map(|subtree| der::read(subtree.content)).map(|base| base.tag & 0x1f));
    }
    let names = chain.first().and_then(|own| extension(own, ALTERNATIVE)).unwrap_or_default();
    let has = |kind| der::values(&names).is_some_and(|names| names.iter().any(|name| name.tag & 0x1f == kind));
    [(4, "directory names"), (6, "URIs"), (1, "mail addresses"), (0, "names of other kinds")]
        .into_iter()
        // Every certificate has a directory name: its subject.
        .find(|(kind, _)| limited.contains(kind) && (*kind == 4 || has(*kind)))
        .map(|(_, message)| message)
}

fn parsed<'a>(
    own: &'a CertificateDer<'_>,
    between: &'a [CertificateDer<'_>],
) -> impl Iterator<Item = X509Certificate<'a>> {
    let all = std::iter::once(own).chain(between);
    all.filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, cert)| cert))
}
