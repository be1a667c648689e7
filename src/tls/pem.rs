//! PEM in, DER out: every error names the option it came from, and no error holds a byte of a key.

use super::wrong;
use crate::error::Result;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject, pem::SectionKind};

/// The certificates of a PEM text, in order, at least one. Other sections are skipped.
pub(super) fn certificates(option: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    for section in CertificateDer::pem_slice_iter(text) {
        found.push(section.map_err(|e| unreadable(option, &e))?);
    }
    if found.is_empty() {
        return Err(wrong(option, format!("no certificate found in the PEM{}", hint(text))));
    }
    Ok(found)
}

/// The first private key of a PEM text: PKCS#8, PKCS#1 or SEC1, not encrypted.
pub(super) fn key(option: &str, text: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(text).map_err(|e| match e {
        pem::Error::NoItemsFound if contains(text, b"BEGIN ENCRYPTED PRIVATE KEY") => {
            wrong(option, "the private key is encrypted; give it without a passphrase")
        }
        pem::Error::NoItemsFound => wrong(option, format!("no private key found in the PEM{}", hint(text))),
        e => unreadable(option, &e),
    })
}

/// True if the text holds a private key: a certificate file often carries its key.
pub(super) fn has_key(text: &[u8]) -> bool {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text).flatten().any(|(kind, _)| {
        matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
    })
}

/// True if the text holds a key under a passphrase.
pub(super) fn is_encrypted(text: &[u8]) -> bool {
    contains(text, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(text, b"Proc-Type: 4,ENCRYPTED")
}

fn unreadable(option: &str, err: &pem::Error) -> crate::error::Error {
    let words = match err {
        pem::Error::MissingSectionEnd { .. } => "the PEM ends in the middle of a section",
        pem::Error::IllegalSectionStart { .. } => "the PEM has a malformed BEGIN line",
        pem::Error::Base64Decode(_) => "the PEM is not valid base64",
        _ => "the PEM cannot be read",
    };
    wrong(option, words)
}

fn hint(text: &[u8]) -> &'static str {
    match text {
        [] => " (it is empty)",
        [0x30, ..] => " (it looks like DER)",
        _ if contains(text, b"-----BEGIN") => "",
        _ => " (there is no BEGIN line)",
    }
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find(text, words).is_some()
}

/// A certificate as PEM text.
pub(super) fn encode_certificate(der: &[u8]) -> String {
    encode("CERTIFICATE", der)
}

/// PEM text in lines of 64 characters (RFC 7468).
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for place in 0..4 {
                let six = (bits >> (18 - 6 * place)) & 63;
                let letter = ALPHABET.get(six as usize).copied().unwrap_or(b'A');
                text.push(if place <= group.len() { letter as char } else { '=' });
            }
        }
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_can_be_read() {
        for len in [1usize, 2, 3, 47, 48, 49, 96, 1000] {
            let der: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let text = encode_certificate(&der);
            assert_eq!(certificates("pem", text.as_bytes()).unwrap()[0].as_ref(), der, "{len}");
            assert!(text.lines().all(|line| line.len() <= 64));
        }
    }

    #[test]
    fn errors_name_the_option() {
        let cert = encode_certificate(b"x");
        for (text, words) in [
            (&b""[..], "client_key: no private key found in the PEM (it is empty)"),
            (b"hello", "client_key: no private key found in the PEM (there is no BEGIN line)"),
            (b"\x30\x82", "client_key: no private key found in the PEM (it looks like DER)"),
            (cert.as_bytes(), "client_key: no private key found in the PEM"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n", "client_key: the PEM ends in the middle of a section"),
            (
                b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
                "client_key: the PEM is not valid base64",
            ),
            (
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "client_key: the private key is encrypted; give it without a passphrase",
            ),
        ] {
            assert_eq!(key("client_key", text).unwrap_err().fields().message, words);
        }
    }
}
