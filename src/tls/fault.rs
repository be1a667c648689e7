//! Error messages of TLS: whose fault it is, and what would help.

use super::{algorithms, cert::printable};
use crate::{
    dates::iso,
    error::{Error, Kind},
};
use rustls::{
    AlertDescription as Alert, CertificateError as Cert, Error as Tls, InvalidMessage, OtherError, PeerIncompatible,
    pki_types::ServerName,
};
use webpki::Error as Pki;

/// The peer's key is not one of the pinned ones.
#[derive(Debug)]
pub(crate) struct NotPinned;

impl std::fmt::Display for NotPinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the key of the certificate matches none of the pins")
    }
}

impl std::error::Error for NotPinned {}

/// `what` is the act and the peer: `TLS handshake with example.com:443`.
pub(crate) fn error(what: &str, err: &Tls) -> Error {
    Error::new(Kind::Tls, format!("{what}: {}", plain(err))).cause(printable(&err.to_string()))
}

/// One sentence without the act in front.
pub(crate) fn plain(err: &Tls) -> String {
    match err {
        Tls::InvalidCertificate(cert) => certificate(cert),
        Tls::AlertReceived(alert) => alert_received(*alert),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => "the peer does not speak TLS".into(),
        Tls::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            "the peer does not speak TLS, or only a version older than TLSv1.2".into()
        }
        Tls::InvalidMessage(e) => format!("the peer sent a malformed message ({e:?})"),
        Tls::PeerIncompatible(why) => incompatible(why),
        Tls::PeerMisbehaved(why) => format!("the peer broke the protocol ({why:?})"),
        Tls::InappropriateMessage { got_type, .. } => {
            format!("the peer sent a message out of turn ({got_type:?})")
        }
        Tls::InappropriateHandshakeMessage { got_type, .. } => {
            format!("the peer sent a handshake message out of turn ({got_type:?})")
        }
        Tls::PeerSentOversizedRecord => "the peer sent a record larger than the protocol allows".into(),
        Tls::DecryptError => "a record was damaged or forged on its way".into(),
        Tls::NoCertificatesPresented => "the peer presented no certificate, and one is required".into(),
        // Our own words: nothing of rustls is known to be this.
        Tls::General(message) => printable(message),
        Tls::NoApplicationProtocol => "no application protocol in common (alpn)".into(),
        Tls::InconsistentKeys(_) => "the key does not belong to the certificate".into(),
        other => printable(&other.to_string()),
    }
}

fn certificate(err: &Cert) -> String {
    match err {
        Cert::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}", seconds(not_after.as_secs()))
        }
        Cert::Expired => "the certificate has expired".into(),
        Cert::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", seconds(not_before.as_secs()))
        }
        Cert::NotValidYet => "the certificate is not valid yet".into(),
        Cert::NotValidForNameContext { expected, presented } => {
            let expected = match expected {
                ServerName::DnsName(name) => name.as_ref().to_owned(),
                ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
                _ => "the host".into(),
            };
            format!("the certificate is not for {expected}: {}", listed(presented))
        }
        Cert::NotValidForName => "the certificate is for another host".into(),
        Cert::UnknownIssuer => {
            "the certificate's issuer is unknown, or its chain is incomplete; `ca_bundle` can name the issuer".into()
        }
        Cert::BadSignature => "the certificate or the handshake is not signed by the key it names".into(),
        Cert::BadEncoding => "the certificate is malformed".into(),
        Cert::Revoked => "the certificate has been revoked".into(),
        Cert::UnhandledCriticalExtension => "the certificate has a critical extension that is not understood".into(),
        Cert::InvalidPurpose | Cert::InvalidPurposeContext { .. } => {
            "the certificate is not made for this use (extended key usage)".into()
        }
        Cert::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            format!(
                "a certificate of the chain is signed by {}, a signature algorithm that is not accepted ({} are)",
                algorithms::of_signature(signature_algorithm_id),
                algorithms::signatures()
            )
        }
        Cert::UnsupportedSignatureAlgorithmForPublicKeyContext { public_key_algorithm_id, .. } => {
            format!(
                "a key of the chain is {}, and no signature algorithm that is accepted fits it ({} are)",
                algorithms::of_algorithm(public_key_algorithm_id),
                algorithms::signatures()
            )
        }
        // rustls boxes what its own words cannot say.
        Cert::Other(other) => boxed(other),
        other => format!("the certificate is refused ({})", printable(&other.to_string())),
    }
}

/// What rustls passes on from the layer below it, or our own words.
fn boxed(other: &OtherError) -> String {
    let Some(error) = other.0.downcast_ref::<Pki>() else { return printable(&other.0.to_string()) };
    match error {
        Pki::CaUsedAsEndEntity => {
            "the certificate is an authority's own (CA:TRUE), not a server's; listed in `ca_bundle` it is trusted"
        }
        Pki::EndEntityUsedAsCa => "a certificate in the chain is signed by one that is no authority's",
        Pki::PathLenConstraintViolated => "the chain of certificates is longer than an authority in it allows",
        Pki::NameConstraintViolation => "an authority in the chain may not issue the certificate for this name",
        Pki::UnsupportedCriticalExtension => "the certificate has a critical extension that is not understood",
        Pki::UnsupportedCertVersion => {
            "a certificate of the chain is not of version 3, the only one that has names of hosts and authorities \
             (`openssl x509 -req` makes one with -extfile)"
        }
        Pki::MaximumPathDepthExceeded => {
            "the chain has more than six certificates between the server's and a known authority, which is the limit"
        }
        Pki::MaximumPathBuildCallsExceeded
        | Pki::MaximumSignatureChecksExceeded
        | Pki::MaximumNameConstraintComparisonsExceeded => "the chain of certificates takes too many steps to verify",
        other => return format!("the certificate is refused ({})", printable(&other.to_string())),
    }
    .into()
}

/// The names of a certificate, the first few of them.
fn listed(presented: &[String]) -> String {
    const SHOWN: usize = 4;
    let names: Vec<_> = presented
        .iter()
        .take(SHOWN)
        .map(|name| {
            let name = name.trim_start_matches("DnsName(\"").trim_end_matches("\")");
            printable(name.trim_start_matches("IpAddress(").trim_end_matches(')'))
        })
        .collect();
    match (presented.len(), presented.len().saturating_sub(SHOWN)) {
        (0, _) => "it names no host at all (a common name alone does not count)".into(),
        (_, 0) => format!("it is for {}", names.join(", ")),
        (_, more) => format!("it is for {} and {more} more", names.join(", ")),
    }
}

fn alert_received(alert: Alert) -> String {
    let message = match alert {
        Alert::CertificateRequired => "it requires a certificate; give client_cert and client_key",
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            "it does not accept the certificate of this side"
        }
        Alert::UnknownCA => "it does not know the issuer of this side's certificate",
        Alert::CertificateExpired => "it considers this side's certificate expired",
        Alert::CertificateRevoked => "this side's certificate is revoked",
        Alert::ProtocolVersion => {
            "it speaks none of the offered versions (TLSv1.2, TLSv1.3 or what `protocols` leaves)"
        }
        Alert::HandshakeFailure => {
            let message = "no parameters in common (versions, cipher suites, key exchange, a missing client certificate, or a key \
                         of a kind that is not accepted: those";
            return format!("the peer refused: {message} of {})", algorithms::keys());
        }
        Alert::NoApplicationProtocol => "it speaks none of the offered application protocols (alpn)",
        Alert::UnrecognisedName => "it does not know the host that was named (sni)",
        Alert::AccessDenied => "access denied",
        other => return format!("the peer refused with the alert {other:?}"),
    };
    format!("the peer refused: {message}")
}

fn incompatible(why: &PeerIncompatible) -> String {
    use PeerIncompatible as P;
    match why {
        P::NoCipherSuitesInCommon => "no cipher suite in common with the peer".into(),
        P::NoKxGroupsInCommon => "no key exchange group in common with the peer".into(),
        P::NoSignatureSchemesInCommon => "no signature scheme in common with the peer".into(),
        P::ServerDoesNotSupportTls12Or13
        // Clients that old do not send it.
        | P::SignatureAlgorithmsExtensionRequired
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled => "no TLS version in common with the peer".into(),
        other => format!("the peer lacks a required feature ({other:?})"),
    }
}

fn seconds(unix: u64) -> String {
    iso(i64::try_from(unix).unwrap_or(i64::MAX))
}
