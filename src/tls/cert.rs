//! The fields of a peer's certificate, for people and logs. Verification does not use them.

use super::pem;
use crate::{crypto::digest, dates::iso};
use data_encoding::HEXLOWER;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

/// The fields of `peer_cert()`. A certificate that cannot be parsed (only `verify = false` accepts one) has its
/// fingerprint and PEM, and empty words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCert {
    /// As in `C=DE, O=Example, CN=example.com`.
    pub subject: String,
    pub issuer: String,
    /// SHA-256 of the whole certificate, in hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of the SubjectPublicKeyInfo, in hexadecimal: what the `pins` option takes.
    pub pin: String,
    /// ISO 8601, UTC: `2026-01-31T12:00:00Z`.
    pub valid_from: String,
    pub valid_until: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    /// Host names and IP addresses as they are, others with their kind: `email:a@example.com`, `URI:…`.
    pub sans: Vec<String>,
    /// A whole number in hexadecimal, lower case, whole bytes: without the zero byte that DER puts before a first bit that is set,
    /// with `-` before a negative one, as OpenSSL writes it.
    pub serial: String,
    pub pem: String,
}

impl PeerCert {
    /// Reads a certificate; control characters in its texts are shown as `\u{7}`.
    pub fn parse(der: &[u8]) -> PeerCert {
        let mut cert =
            PeerCert { fingerprint: fingerprint(der), pem: pem::encode_certificate(der), ..PeerCert::default() };
        let Ok((_, x509)) = X509Certificate::from_der(der) else { return cert };
        cert.subject = printable(&x509.subject().to_string());
        cert.issuer = printable(&x509.issuer().to_string());
        cert.pin = fingerprint(x509.public_key().raw);
        cert.not_before = x509.validity().not_before.timestamp();
        cert.not_after = x509.validity().not_after.timestamp();
        cert.valid_from = iso(cert.not_before);
        cert.valid_until = iso(cert.not_after);
        cert.serial = serial(x509.raw_serial());
        for extension in x509.extensions() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                cert.sans.extend(names.general_names.iter().filter_map(name));
            }
        }
        cert
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(bytes) => {
            let ip = match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(v4), _) => std::net::IpAddr::from(v4),
                (_, Ok(v6)) => std::net::IpAddr::from(v6),
                _ => return None,
            };
            Some(ip.to_string())
        }
        GeneralName::RFC822Name(name) => Some(format!("email:{}", printable(name))),
        GeneralName::URI(name) => Some(format!("URI:{}", printable(name))),
        _ => None,
    }
}

/// The SubjectPublicKeyInfo of a certificate of any version; `None` for bytes that are none.
pub(crate) fn public_key(der: &[u8]) -> Option<&[u8]> {
    X509Certificate::from_der(der).ok().map(|(_, cert)| cert.tbs_certificate.subject_pki.raw)
}

/// The content of a DER INTEGER (X.690 section 8.3, two's complement) in hexadecimal: see [`PeerCert::serial`].
pub(crate) fn serial(content: &[u8]) -> String {
    let negative = content.first().is_some_and(|first| first & 0x80 != 0);
    let magnitude = if negative { negated(content) } else { content.to_vec() };
    match magnitude.iter().position(|byte| *byte != 0) {
        Some(first) => format!("{}{}", if negative { "-" } else { "" }, HEXLOWER.encode(&magnitude[first..])),
        None => "00".into(),
    }
}

/// The two's complement of a number.
fn negated(bytes: &[u8]) -> Vec<u8> {
    let mut carry = true;
    let mut out: Vec<u8> = bytes
        .iter()
        .rev()
        .map(|byte| {
            let (sum, over) = (!byte).overflowing_add(u8::from(carry));
            carry = over;
            sum
        })
        .collect();
    out.reverse();
    out
}

/// SHA-256 in hexadecimal, lower case.
pub fn fingerprint(bytes: &[u8]) -> String {
    HEXLOWER.encode(&sha256(bytes))
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// A peer chooses these words: no line break or escape sequence of theirs reaches a terminal or a log.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials() {
        for (content, text) in [
            (&[0x00, 0xfd, 0x9f][..], "fd9f"),
            (&[0x7f], "7f"),
            (&[0x00, 0x80], "80"),
            (&[0x01, 0x00], "0100"),
            (&[0x00, 0x00, 0x05], "05"), // not DER
            (&[0x80], "-80"),
            (&[0xff], "-01"),
            (&[0xff, 0x00], "-0100"),
            (&[0x00], "00"),
            (&[], "00"),
        ] {
            assert_eq!(serial(content), text);
        }
    }

    #[test]
    fn garbage_is_no_certificate_and_no_panic() {
        let cert = PeerCert::parse(b"\x30\x82\xff\xffgarbage");
        assert_eq!((cert.subject.as_str(), cert.fingerprint.len()), ("", 64));
        assert_eq!(printable("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
    }
}
