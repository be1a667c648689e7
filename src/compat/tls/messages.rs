//! OpenSSL's texts of failures, which programs match: failures of a handshake, and of a chain.

use super::verify::Complaint;
use crate::tls::trust;
use rustls::{
    AlertDescription as Alert, CertificateError, Error as Tls, InvalidMessage, PeerIncompatible,
    pki_types::{CertificateDer, TrustAnchor, UnixTime},
};
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
        Tls::General(message) if message == UNREADABLE => UNREADABLE,
        Tls::General(message) if message.contains("certificate chain") => "no shared cipher",
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
    let at = |depth, message| Complaint { depth, message };
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
        Pki::CaUsedAsEndEntity | Pki::RequiredEkuNotFoundContext(_) => {
            all.push(at(0, "unsuitable certificate purpose"))
        }
        Pki::CertRevoked => all.push(at(0, "certificate revoked")),
        Pki::UnknownRevocationStatus => all.push(at(0, "unable to get certificate CRL")),
        Pki::CrlExpired { .. } => all.push(at(0, "CRL has expired")),
        Pki::InvalidCrlSignatureForPublicKey => all.push(at(0, "CRL signature failure")),
        Pki::InvalidSignatureForPublicKey => all.push(match trust::short_issuer(own, between, anchors) {
            Some(_) => at(1, "CA certificate key too weak"),
            None => at(0, "certificate signature failure"),
        }),
        Pki::EndEntityUsedAsCa => all.push(at(1, "invalid CA certificate")),
        Pki::PathLenConstraintViolated => all.push(at(1, "path length constraint exceeded")),
        Pki::NameConstraintViolation => all.push(match trust::unchecked_constraint(own, between, anchors) {
            Some(_) => at(0, "unsupported name constraint type"),
            None => at(0, "permitted subtree violation"),
        }),
        Pki::UnsupportedCriticalExtension => all.push(at(0, "unhandled critical extension")),
        Pki::MaximumPathDepthExceeded
        | Pki::MaximumPathBuildCallsExceeded
        | Pki::MaximumSignatureChecksExceeded
        | Pki::MaximumNameConstraintComparisonsExceeded => {
            all.push(at(chain.certs.len().saturating_sub(1), "certificate chain too long"));
        }
        Pki::UnsupportedSignatureAlgorithmContext(_) | Pki::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            all.push(at(0, "unsupported signature algorithm"));
        }
        _ => all.push(at(0, "certificate rejected")),
    }
    all.extend(chain.untimely(now));
    if all.is_empty() {
        // The certificate that is out of its time is the authority's, which the peer did not send.
        let late = matches!(error, Pki::CertNotValidYet { .. });
        all.push(at(chain.certs.len(), if late { NOT_YET } else { EXPIRED }));
    }
    all
}

/// What is wrong with a certificate that is believed itself.
pub(crate) fn itself(error: &CertificateError) -> Vec<Complaint> {
    let message = match error {
        CertificateError::NotValidYetContext { .. } => NOT_YET,
        CertificateError::ExpiredContext { .. } => EXPIRED,
        CertificateError::InvalidPurpose => "unsuitable certificate purpose",
        _ => "certificate rejected",
    };
    vec![Complaint { depth: 0, message }]
}

/// What a complaint is to rustls, which tells the peer by it.
pub(crate) fn alert(message: &str) -> CertificateError {
    match message {
        EXPIRED => CertificateError::Expired,
        NOT_YET => CertificateError::NotValidYet,
        "certificate revoked" => CertificateError::Revoked,
        "certificate signature failure" => CertificateError::BadSignature,
        "hostname mismatch" | "IP address mismatch" => CertificateError::NotValidForName,
        "unsuitable certificate purpose" => CertificateError::InvalidPurpose,
        _ => CertificateError::UnknownIssuer,
    }
}

/// The machine's store is there and cannot be read, so that nobody is believed and nobody refused.
pub(crate) const UNREADABLE: &str = "issuer certificate lookup error";
const EXPIRED: &str = "certificate has expired";
const NOT_YET: &str = "certificate is not yet valid";

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
        let one = |depth, message| Complaint { depth, message };
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
            let message = match (now < from, now > to) {
                (true, _) => NOT_YET,
                (_, true) => EXPIRED,
                _ => return None,
            };
            Some(Complaint { depth, message })
        };
        self.certs.iter().enumerate().filter_map(look).collect()
    }
}
