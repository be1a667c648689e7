//! What went wrong, in words that say whose fault it is and what would help.

use super::{
    cert::{iso, printable},
    wrong,
};
use crate::error::{Error, Kind};
use rustls::{
    AlertDescription as Alert, CertificateError as Cert, Error as Tls, InvalidMessage, PeerIncompatible,
    pki_types::ServerName,
};

/// The peer's key is not one of the pinned ones.
#[derive(Debug)]
pub(super) struct NotPinned;

impl std::fmt::Display for NotPinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the key of the certificate matches none of the pins")
    }
}

impl std::error::Error for NotPinned {}

/// `what` is the act and the peer: `TLS handshake with example.com:443`.
pub(super) fn error(what: &str, err: &Tls) -> Error {
    Error::new(Kind::Tls, format!("{what}: {}", plain(err))).cause(printable(&err.to_string()))
}

/// One sentence without the act in front.
pub(super) fn plain(err: &Tls) -> String {
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
        Cert::UnsupportedSignatureAlgorithmContext { .. }
        | Cert::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate's signature algorithm is not accepted (SHA-1 and RSA below 2048 bits are not)".into()
        }
        // rustls boxes what its own words cannot say.
        Cert::Other(other) => boxed(&other.to_string()),
        other => format!("the certificate is refused ({})", printable(&other.to_string())),
    }
}

/// What rustls passes on from the layer below it, by name.
fn boxed(text: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("CaUsedAsEndEntity", "the certificate is an authority's own (CA:TRUE), not a server's"),
        ("EndEntityUsedAsCa", "a certificate in the chain is signed by one that is no authority's"),
        ("PathLenConstraintViolated", "the chain of certificates is longer than an authority in it allows"),
        ("NameConstraintViolation", "an authority in the chain may not issue the certificate for this name"),
        ("UnsupportedCriticalExtension", "the certificate has a critical extension that is not understood"),
        ("UnsupportedCertVersion", "the certificate is not of version 3"),
        ("Exceeded", "the chain of certificates is too tangled to be checked"),
    ];
    match WORDS.iter().find(|(name, _)| text.contains(name)) {
        Some((_, words)) => (*words).into(),
        // Our own words (`NotPinned`), or a name that is new to us.
        None if text.contains(' ') => printable(text),
        None => format!("the certificate is refused ({})", printable(text)),
    }
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
    let words = match alert {
        Alert::CertificateRequired => "it requires a certificate; give client_cert and client_key",
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            "it does not accept the certificate of this side"
        }
        Alert::UnknownCA => "it does not know the issuer of this side's certificate",
        Alert::CertificateExpired => "it holds this side's certificate to be expired",
        Alert::CertificateRevoked => "this side's certificate is revoked",
        Alert::ProtocolVersion => {
            "it speaks none of the offered versions (TLSv1.2, TLSv1.3 or what `protocols` leaves)"
        }
        Alert::HandshakeFailure => "no parameters in common (versions, cipher suites, or a missing client certificate)",
        Alert::NoApplicationProtocol => "it speaks none of the offered application protocols (alpn)",
        Alert::UnrecognisedName => "it does not know the host that was named (sni)",
        Alert::AccessDenied => "access denied",
        other => return format!("the peer refused with the alert {other:?}"),
    };
    format!("the peer refused: {words}")
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
        other => format!("the peer lacks what is required ({other:?})"),
    }
}

fn seconds(unix: u64) -> String {
    iso(i64::try_from(unix).unwrap_or(i64::MAX / 2))
}

/// Why a certificate and key of the caller's cannot be used together; `cert` and `key` are the options.
pub(super) fn unusable(cert: &str, key: &str, err: &Tls) -> Error {
    match err {
        Tls::InconsistentKeys(_) => wrong(key, "the key does not belong to the certificate"),
        Tls::InvalidCertificate(_) => wrong(cert, format!("{}, or has a form that cannot be used", plain(err))),
        _ => wrong(key, "the private key cannot be used (RSA of 2048 bits or more, ECDSA P-256 or P-384, Ed25519 can)"),
    }
}
