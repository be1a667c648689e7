//! OpenSSL's texts of failures, which programs match: failures of a handshake, and of a chain.

use super::verify::Complaint;
use crate::tls::trust;
use rustls::{
    AlertDescription as Alert, CertificateError, Error as Tls, InvalidMessage, OtherError, PeerIncompatible,
    pki_types::{CertificateDer, TrustAnchor, UnixTime},
};
use std::{fmt, sync::Arc};
use webpki::Error as Pki;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// The reason of a failure, as OpenSSL 3 gives it.
pub(crate) fn reason(error: &Tls) -> &'static str {
    match error {
        Tls::InvalidCertificate(_) => "certificate verify failed",
        Tls::AlertReceived(alert) => received(*alert),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "wrong version number"
        }
        Tls::InvalidMessage(_) => "bad length",
        Tls::PeerIncompatible(why) => incompatible(why),
        Tls::PeerMisbehaved(_) => "bad protocol data",
        Tls::InappropriateMessage { .. } | Tls::InappropriateHandshakeMessage { .. } => "unexpected message",
        Tls::PeerSentOversizedRecord => "packet length too long",
        Tls::DecryptError => "decryption failed or bad record mac",
        Tls::NoCertificatesPresented => "peer did not return a certificate",
        Tls::NoApplicationProtocol => "no application protocol",
        Tls::Other(other) if other.0.is::<Unreadable>() => Flaw::Unreadable.words(),
        _ => "internal error",
    }
}

fn received(alert: Alert) -> &'static str {
    match alert {
        Alert::CloseNotify => "closed",
        Alert::UnexpectedMessage => "sslv3 alert unexpected message",
        Alert::BadRecordMac => "sslv3 alert bad record mac",
        Alert::DecryptionFailed => "tlsv1 alert decryption failed",
        Alert::RecordOverflow => "tlsv1 alert record overflow",
        Alert::HandshakeFailure => "sslv3 alert handshake failure",
        Alert::NoCertificate => "sslv3 alert no certificate",
        Alert::BadCertificate => "sslv3 alert bad certificate",
        Alert::UnsupportedCertificate => "sslv3 alert unsupported certificate",
        Alert::CertificateRevoked => "sslv3 alert certificate revoked",
        Alert::CertificateExpired => "sslv3 alert certificate expired",
        Alert::CertificateUnknown => "sslv3 alert certificate unknown",
        Alert::IllegalParameter => "sslv3 alert illegal parameter",
        Alert::UnknownCA => "tlsv1 alert unknown ca",
        Alert::AccessDenied => "tlsv1 alert access denied",
        Alert::DecodeError => "tlsv1 alert decode error",
        Alert::DecryptError => "tlsv1 alert decrypt error",
        Alert::ProtocolVersion => "tlsv1 alert protocol version",
        Alert::InsufficientSecurity => "tlsv1 alert insufficient security",
        Alert::InternalError => "tlsv1 alert internal error",
        Alert::InappropriateFallback => "tlsv1 alert inappropriate fallback",
        Alert::UserCanceled => "tlsv1 alert user cancelled",
        Alert::NoRenegotiation => "tlsv1 alert no renegotiation",
        Alert::MissingExtension => "tlsv13 alert missing extension",
        Alert::UnsupportedExtension => "tlsv1 unsupported extension",
        Alert::UnrecognisedName => "tlsv1 unrecognized name",
        Alert::BadCertificateStatusResponse => "tlsv1 bad certificate status response",
        Alert::UnknownPSKIdentity => "tlsv1 alert unknown psk identity",
        Alert::CertificateRequired => "tlsv13 alert certificate required",
        Alert::NoApplicationProtocol => "tlsv1 alert no application protocol",
        _ => "unknown alert type",
    }
}

fn incompatible(why: &PeerIncompatible) -> &'static str {
    use PeerIncompatible as P;
    match why {
        P::NoCipherSuitesInCommon => "no shared cipher",
        P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired => "no suitable key share",
        P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => {
            "no suitable signature algorithm"
        }
        _ => "unsupported protocol",
    }
}

/// What OpenSSL would say of a chain that webpki refused, in the order of depth.
pub(crate) fn chain(
    error: &Pki,
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    now: UnixTime,
) -> Vec<Complaint> {
    let at = |depth, flaw| Complaint { depth, flaw };
    let chain = Chain::of(own, between);
    let mut all = Vec::new();
    match error {
        // These are found below, where they stand.
        Pki::CertExpired { .. } | Pki::CertNotValidYet { .. } | Pki::InvalidCertValidity => {}
        Pki::UnknownIssuer => all.extend(chain.headless()),
        // An authority's own certificate, or one of an old version: OpenSSL speaks of its issuer first.
        Pki::CaUsedAsEndEntity | Pki::UnsupportedCertVersion if chain.certs.len() == 1 => {
            all.extend(chain.headless());
        }
        Pki::CaUsedAsEndEntity | Pki::RequiredEkuNotFoundContext(_) => all.push(at(0, Flaw::Purpose)),
        Pki::CertRevoked => all.push(at(0, Flaw::Revoked)),
        Pki::UnknownRevocationStatus => all.push(at(0, Flaw::Other("unable to get certificate CRL"))),
        Pki::CrlExpired { .. } => all.push(at(0, Flaw::Other("CRL has expired"))),
        Pki::InvalidCrlSignatureForPublicKey => all.push(at(0, Flaw::Other("CRL signature failure"))),
        Pki::InvalidSignatureForPublicKey => all.push(match trust::short_issuer(own, between, anchors) {
            Some(_) => at(1, Flaw::Other("CA certificate key too weak")),
            None => at(0, Flaw::Signature),
        }),
        Pki::EndEntityUsedAsCa => all.push(at(1, Flaw::Other("invalid CA certificate"))),
        Pki::PathLenConstraintViolated => all.push(at(1, Flaw::Other("path length constraint exceeded"))),
        Pki::NameConstraintViolation => all.push(match trust::unchecked_constraint(own, between, anchors) {
            Some(_) => at(0, Flaw::Other("unsupported name constraint type")),
            None => at(0, Flaw::Other("permitted subtree violation")),
        }),
        Pki::UnsupportedCriticalExtension => all.push(at(0, Flaw::Other("unhandled critical extension"))),
        Pki::MaximumPathDepthExceeded
        | Pki::MaximumPathBuildCallsExceeded
        | Pki::MaximumSignatureChecksExceeded
        | Pki::MaximumNameConstraintComparisonsExceeded => {
            all.push(at(chain.certs.len().saturating_sub(1), Flaw::Other("certificate chain too long")));
        }
        Pki::UnsupportedSignatureAlgorithmContext(_) | Pki::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            all.push(at(0, Flaw::Other("unsupported signature algorithm")));
        }
        _ => all.push(at(0, Flaw::Other("certificate rejected"))),
    }
    all.extend(chain.untimely(now));
    if all.is_empty() {
        // The certificate that is out of its time is the authority's, which the peer did not send.
        let late = matches!(error, Pki::CertNotValidYet { .. });
        all.push(at(chain.certs.len(), if late { Flaw::NotYet } else { Flaw::Expired }));
    }
    all
}

/// What is wrong with a certificate that is believed itself.
pub(crate) fn itself(error: &CertificateError) -> Vec<Complaint> {
    let flaw = match error {
        CertificateError::NotValidYetContext { .. } => Flaw::NotYet,
        CertificateError::ExpiredContext { .. } => Flaw::Expired,
        CertificateError::InvalidPurpose => Flaw::Purpose,
        _ => Flaw::Other("certificate rejected"),
    };
    vec![Complaint { depth: 0, flaw }]
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Expired,
    NotYet,
    Revoked,
    Signature,
    Purpose,
    /// It is for other hosts.
    Host,
    /// It is for other addresses.
    Address,
    /// The machine's store is there and cannot be read, so that nobody is believed and nobody refused.
    Unreadable,
    Other(&'static str),
}

impl Flaw {
    /// OpenSSL's words.
    pub const fn words(self) -> &'static str {
        match self {
            Flaw::Expired => "certificate has expired",
            Flaw::NotYet => "certificate is not yet valid",
            Flaw::Revoked => "certificate revoked",
            Flaw::Signature => "certificate signature failure",
            Flaw::Purpose => "unsuitable certificate purpose",
            Flaw::Host => "hostname mismatch",
            Flaw::Address => "IP address mismatch",
            Flaw::Unreadable => "issuer certificate lookup error",
            Flaw::Other(words) => words,
        }
    }

    /// What it is to rustls, which tells the peer by an alert.
    pub(crate) fn error(self) -> Tls {
        let certificate = match self {
            Flaw::Expired => CertificateError::Expired,
            Flaw::NotYet => CertificateError::NotValidYet,
            Flaw::Revoked => CertificateError::Revoked,
            Flaw::Signature => CertificateError::BadSignature,
            Flaw::Purpose => CertificateError::InvalidPurpose,
            Flaw::Host | Flaw::Address => CertificateError::NotValidForName,
            // Nobody has judged the peer: what hinders us is to be told.
            Flaw::Unreadable => return Tls::Other(OtherError(Arc::new(Unreadable))),
            Flaw::Other(_) => CertificateError::UnknownIssuer,
        };
        certificate.into()
    }
}

/// [`Flaw::Unreadable`] on its way through rustls.
#[derive(Debug)]
struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Flaw::Unreadable.words())
    }
}

impl std::error::Error for Unreadable {}

/// The peer's own certificate and those that vouch for it, as far as it sent them.
struct Chain<'a> {
    certs: Vec<X509Certificate<'a>>,
    /// It ends in a certificate that vouches for itself.
    rooted: bool,
}

impl<'a> Chain<'a> {
    fn of(own: &'a CertificateDer<'_>, between: &'a [CertificateDer<'_>]) -> Chain<'a> {
        let parse = |der: &'a CertificateDer<'_>| X509Certificate::from_der(der).ok().map(|(_, cert)| cert);
        let mut others: Vec<_> = between.iter().filter_map(parse).collect();
        let mut chain = Chain { certs: parse(own).into_iter().collect(), rooted: false };
        while let Some(last) = chain.certs.last() {
            chain.rooted = last.subject().as_raw() == last.issuer().as_raw();
            let next = others.iter().position(|cert| cert.subject().as_raw() == last.issuer().as_raw());
            match next {
                Some(next) if !chain.rooted => chain.certs.push(others.swap_remove(next)),
                _ => break,
            }
        }
        chain
    }

    /// Nobody that is believed vouches for the last certificate.
    fn headless(&self) -> Vec<Complaint> {
        let depth = self.certs.len().saturating_sub(1);
        let one = |depth, words| Complaint { depth, flaw: Flaw::Other(words) };
        match (self.rooted, depth) {
            (true, 0) => vec![one(0, "self-signed certificate")],
            (true, _) => vec![one(depth, "self-signed certificate in certificate chain")],
            (false, 0) => {
                vec![one(0, "unable to get local issuer certificate"), one(0, "unable to verify the first certificate")]
            }
            (false, _) => vec![one(depth, "unable to get local issuer certificate")],
        }
    }

    fn untimely(&self, now: UnixTime) -> Vec<Complaint> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let look = |(depth, cert): (usize, &X509Certificate<'_>)| {
            let (from, to) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
            let flaw = match (now < from, now > to) {
                (true, _) => Flaw::NotYet,
                (_, true) => Flaw::Expired,
                _ => return None,
            };
            Some(Complaint { depth, flaw })
        };
        self.certs.iter().enumerate().filter_map(look).collect()
    }
}
