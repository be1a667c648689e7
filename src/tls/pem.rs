//! PEM in, DER out: every error names the option it came from, and no error holds a byte of a key.
//!
//! Sections are found here, since rustls' reader skips the labels and headers that OpenSSL writes; rustls decodes their
//! base64, in a time that does not depend on the bytes of a key.

use super::{
    algorithms, der,
    sealed::{self, Shut},
    trust::Role,
    wrong,
};
use crate::error::{Error, Result};
use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem, pem::SectionKind};

/// One section of a PEM text.
struct Section<'a> {
    label: &'a [u8],
    /// `DEK-Info` of a key under a password (RFC 1421, section 4.6.1.3).
    sealed: Option<&'a [u8]>,
    der: Vec<u8>,
}

/// Why a PEM text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It ends, or another section begins, in the middle of one.
    Cut,
    Begin,
    Base64,
}

impl Broken {
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Broken::Cut => "the PEM ends in the middle of a section",
            Broken::Begin => "the PEM has a malformed BEGIN line",
            Broken::Base64 => "the PEM is not valid base64",
        }
    }
}

/// The sections of a text, in order; what stands between them is passed over. Nothing after one that is cut.
struct Sections<'a>(Option<&'a [u8]>);

impl<'a> Sections<'a> {
    fn of(text: &'a [u8]) -> Self {
        Sections(Some(text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)))
    }

    /// The next line, without blanks around it.
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.filter(|rest| !rest.is_empty())?;
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        self.0 = Some(after.get(1..).unwrap_or_default());
        Some(line.trim_ascii())
    }

    fn section(&mut self) -> std::result::Result<Option<Section<'a>>, Broken> {
        let label = loop {
            let Some(line) = self.line() else { return Ok(None) };
            if let Some(rest) = line.strip_prefix(b"-----BEGIN ") {
                break rest.strip_suffix(b"-----").filter(|label| !label.ends_with(b"-")).ok_or(Broken::Begin)?;
            }
        };
        let (mut sealed, mut body) = (None, Vec::new());
        loop {
            let line = self.line().ok_or(Broken::Cut)?;
            if line.starts_with(b"-----BEGIN ") {
                return Err(Broken::Cut);
            }
            if let Some(rest) = line.strip_prefix(b"-----END ") {
                match rest.strip_prefix(label) {
                    Some(b"-----") => break,
                    _ => return Err(Broken::Cut),
                }
            }
            // No colon is base64: what has one is a header.
            match memchr::memchr(b':', line) {
                Some(at) if line.get(..at) == Some(b"DEK-Info") => sealed = line.get(at + 1..).map(<[u8]>::trim_ascii),
                Some(_) => {}
                None => {
                    body.extend_from_slice(line);
                    body.push(b'\n');
                }
            }
        }
        Ok(Some(Section { label, sealed, der: decode(&body)? }))
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = std::result::Result<Section<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.section().transpose();
        if matches!(next, None | Some(Err(Broken::Cut))) {
            self.0 = None;
        }
        next
    }
}

/// Base64, read as a secret.
fn decode(body: &[u8]) -> std::result::Result<Vec<u8>, Broken> {
    let framed = [b"-----BEGIN PRIVATE KEY-----\n", body, b"-----END PRIVATE KEY-----\n"].concat();
    let read = <(SectionKind, Vec<u8>) as pem::PemObject>::from_pem_slice(&framed);
    read.map(|(_, der)| der).map_err(|_| Broken::Base64)
}

/// The certificate of a section: its DER, and the settings of trust that OpenSSL adds to a TRUSTED CERTIFICATE.
fn certificate(section: Section<'_>) -> Option<(CertificateDer<'static>, Vec<u8>)> {
    match section.label {
        b"CERTIFICATE" | b"X509 CERTIFICATE" => Some((section.der.into(), Vec::new())),
        b"TRUSTED CERTIFICATE" => {
            let mut der = section.der;
            let settings = der::split(&der).map_or_else(Vec::new, |(_, settings)| settings.to_vec());
            der.truncate(der.len() - settings.len());
            Some((der.into(), settings))
        }
        _ => None,
    }
}

/// The certificates of a PEM text, in order, at least one. Other sections are skipped.
pub(crate) fn certificates(option: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    Ok(found(option, text)?.into_iter().map(|(der, _)| der).collect())
}

/// The certificates of a PEM text that are to be believed, at least one. One whose own settings (`openssl x509 -addreject`)
/// forbid that is an error, or the caller would trust less than they think.
pub(crate) fn authorities(option: &str, text: &[u8], role: Role) -> Result<Vec<CertificateDer<'static>>> {
    let found = found(option, text)?.into_iter().enumerate().map(|(index, (der, settings))| {
        if forbids(&settings, role) {
            let whom = if role == Role::Server { "servers" } else { "clients" };
            let message = format!("certificate {} is not trusted for {whom}, by its own settings", index + 1);
            return Err(wrong(option, message));
        }
        Ok(der)
    });
    found.collect()
}

fn found(option: &str, text: &[u8]) -> Result<Vec<(CertificateDer<'static>, Vec<u8>)>> {
    let mut found = Vec::new();
    for section in Sections::of(text) {
        found.extend(certificate(section.map_err(|why| wrong(option, why.message()))?));
    }
    if found.is_empty() {
        return Err(wrong(option, format!("no certificate found in the PEM{}", hint(text))));
    }
    Ok(found)
}

/// What a text has for believing.
#[derive(Default)]
pub(crate) struct Store {
    pub certificates: Vec<CertificateDer<'static>>,
    /// How many more there are whose own settings forbid it.
    pub forbidden: usize,
    pub lists: Vec<CertificateRevocationListDer<'static>>,
}

/// Certificates and revocation lists; a text may have none of either.
pub(crate) fn store(text: &[u8], role: Role) -> std::result::Result<Store, Broken> {
    let mut store = Store::default();
    for section in Sections::of(text) {
        let section = section?;
        if section.label == b"X509 CRL" {
            store.lists.push(section.der.into());
        } else if let Some((der, settings)) = certificate(section) {
            match forbids(&settings, role) {
                true => store.forbidden += 1,
                false => store.certificates.push(der),
            }
        }
    }
    Ok(store)
}

/// The certificates of the machine's store. Sections that cannot be read are skipped, but what is cut is not the store.
#[cfg(not(target_os = "macos"))]
pub(crate) fn machine(text: &[u8]) -> std::result::Result<Vec<CertificateDer<'static>>, Broken> {
    let mut certificates = Vec::new();
    for section in Sections::of(text) {
        match section {
            Err(Broken::Cut) => return Err(Broken::Cut),
            Err(_) => {}
            Ok(section) => {
                let found = certificate(section).filter(|(_, settings)| !forbids(settings, Role::Server));
                certificates.extend(found.map(|(der, _)| der));
            }
        }
    }
    Ok(certificates)
}

/// True where the settings of a TRUSTED CERTIFICATE keep it from this use: X509_check_trust(3).
/// `CertAux ::= SEQUENCE { trust SEQUENCE OF OBJECT IDENTIFIER OPTIONAL, reject [0] SEQUENCE OF …, … }`
fn forbids(settings: &[u8], role: Role) -> bool {
    const ANY: &str = "2.5.29.37.0";
    let purpose = match role {
        Role::Server => "1.3.6.1.5.5.7.3.1",
        Role::Client => "1.3.6.1.5.5.7.3.2",
    };
    let parts = der::read_all(settings).unwrap_or_default();
    let names = |content| {
        let mut rest = content;
        std::iter::from_fn(move || {
            let (oid, after) = der::split(rest)?;
            rest = after;
            Some(algorithms::dotted(oid.content))
        })
    };
    let mut lists = parts.iter().filter(|part| part.tag == 0x30 || part.tag == 0xa0);
    lists.any(|list| names(list.content).any(|name| name == purpose || name == ANY) == (list.tag == 0xa0))
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// The text has none.
    Absent,
    Broken(Broken),
    /// It is under a password, and none was given.
    Sealed,
    Shut(Shut),
    /// In a form of another program's: the words say what would help.
    Foreign(&'static str),
}

/// The first private key of a PEM text: PKCS#8, PKCS#1 or SEC1, opened with the password if it is under one. A password for a
/// key without one is passed over.
pub(crate) fn private_key(text: &[u8], password: Option<&[u8]>) -> std::result::Result<PrivateKeyDer<'static>, NoKey> {
    for section in Sections::of(text) {
        let Section { label, sealed, der } = section.map_err(NoKey::Broken)?;
        if !label.ends_with(b"PRIVATE KEY") {
            continue;
        }
        let secret = || password.ok_or(NoKey::Sealed);
        let der = match sealed {
            Some(info) => sealed::traditional(info, &der, secret()?).map_err(NoKey::Shut)?,
            None if label == b"ENCRYPTED PRIVATE KEY" => sealed::pkcs8(&der, secret()?).map_err(NoKey::Shut)?,
            None => der,
        };
        return Ok(match label {
            b"PRIVATE KEY" | b"ENCRYPTED PRIVATE KEY" => PrivateKeyDer::Pkcs8(der.into()),
            b"RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(der.into()),
            b"EC PRIVATE KEY" => PrivateKeyDer::Sec1(der.into()),
            b"OPENSSH PRIVATE KEY" => {
                return Err(NoKey::Foreign("is in OpenSSH's format; `ssh-keygen -p -m PKCS8` converts it"));
            }
            _ => return Err(NoKey::Foreign("is in an unknown format (DSA?); PKCS#8, PKCS#1 and SEC1 can be read")),
        });
    }
    Err(NoKey::Absent)
}

/// The same, with errors that name `option`, or the option for its password.
pub(crate) fn key(
    (option, secret): (&str, &str),
    text: &[u8],
    password: Option<&[u8]>,
) -> Result<PrivateKeyDer<'static>> {
    private_key(text, password).map_err(|why| no_key((option, secret), text, &why))
}

fn no_key((option, secret): (&str, &str), text: &[u8], why: &NoKey) -> Error {
    match why {
        NoKey::Absent => wrong(option, format!("no private key found in the PEM{}", hint(text))),
        NoKey::Broken(broken) => wrong(option, broken.message()),
        NoKey::Sealed => wrong(option, format!("the private key is encrypted; give its password as {secret}")),
        NoKey::Shut(Shut::Wrong) => wrong(secret, "does not open the private key"),
        NoKey::Shut(shut) => wrong(option, shut.message()),
        NoKey::Foreign(message) => wrong(option, format!("the private key {message}")),
    }
}

/// True if the text holds a private key: a certificate file often carries its key.
pub(crate) fn has_key(text: &[u8]) -> bool {
    Sections::of(text).flatten().any(|section| section.label.ends_with(b"PRIVATE KEY"))
}

fn hint(text: &[u8]) -> &'static str {
    match text {
        [] => " (it is empty)",
        [0x30, ..] => " (it looks like DER)",
        _ if memchr::memmem::find(text, b"-----BEGIN").is_some() => "",
        _ => " (there is no BEGIN line)",
    }
}

/// Reads a text in every way; for tests and fuzzing. How many sections it has.
#[doc(hidden)]
pub fn look(text: &[u8]) -> usize {
    let _ = (private_key(text, Some(b"password")), store(text, Role::Server), has_key(text));
    Sections::of(text).flatten().count()
}

/// A certificate as PEM text.
pub(crate) fn encode_certificate(der: &[u8]) -> String {
    encode("CERTIFICATE", der)
}

/// PEM text in lines of 64 characters (RFC 7468).
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        BASE64.encode_append(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: (&str, &str) = ("client_key", "client_key_password");

    fn certificate_of(der: &[u8], label: &str) -> Vec<u8> {
        certificates("pem", encode(label, der).as_bytes()).unwrap()[0].to_vec()
    }

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
    fn certificates_have_three_labels() {
        let der = b"\x30\x01x";
        assert_eq!(certificate_of(der, "X509 CERTIFICATE"), der);
        // What follows a trusted one are its settings.
        assert_eq!(certificate_of(b"\x30\x01x\x30\x00", "TRUSTED CERTIFICATE"), der);
        assert_eq!(certificate_of(b"", "TRUSTED CERTIFICATE"), b"");
    }

    #[test]
    fn settings_of_trust() {
        const SERVER: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
        const CLIENT: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02";
        const ANY: &[u8] = b"\x06\x04\x55\x1d\x25\x00";
        let list = |tag: u8, names: &[&[u8]]| {
            let names = names.concat();
            [&[tag, names.len() as u8][..], &names].concat()
        };
        let settings = |lists: &[Vec<u8>]| list(0x30, &lists.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (settings, server, client) in [
            (Vec::new(), false, false),
            (settings(&[]), false, false),
            (settings(&[list(0x30, &[SERVER])]), false, true),
            (settings(&[list(0x30, &[SERVER, CLIENT])]), false, false),
            (settings(&[list(0x30, &[ANY])]), false, false),
            (settings(&[list(0xa0, &[SERVER])]), true, false),
            (settings(&[list(0xa0, &[ANY])]), true, true),
            (settings(&[list(0x30, &[SERVER]), list(0xa0, &[SERVER])]), true, true),
            (settings(&[list(0x0c, &[b"alias"])]), false, false),
            (b"\x30\x7f".to_vec(), false, false),
        ] {
            assert_eq!(
                (forbids(&settings, Role::Server), forbids(&settings, Role::Client)),
                (server, client),
                "{settings:x?}"
            );
        }
    }

    #[test]
    fn sections_however_they_are_written() {
        let plain = "-----BEGIN CERTIFICATE-----\nMAF4\n-----END CERTIFICATE-----\n";
        for text in [
            plain.to_owned(),
            plain.replace('\n', "\r\n"),
            plain.replace('\n', "\r"),
            plain.replace('\n', "  \n\t "),
            plain.replace("MAF4", "MA\nF4\n\n"),
            format!("\u{feff}{plain}"),
            format!("subject=CN = x\n{plain}after it"),
            plain.trim_end().to_owned(),
            plain.replace("MAF4", "Comment: no base64\n\nMAF4"),
        ] {
            assert_eq!(certificates("pem", text.as_bytes()).unwrap()[0].as_ref(), b"\x30\x01x", "{text:?}");
        }
        for (text, message) in [
            (plain.replace("-----END CERTIFICATE-----\n", ""), Broken::Cut),
            (plain.replace("-----END", "-----NO"), Broken::Cut),
            (plain.replace("-----END CERTIFICATE", "-----END OTHER"), Broken::Cut),
            (format!("{plain}-----BEGIN CERTIFICATE-----\nMA"), Broken::Cut),
            (format!("-----BEGIN CERTIFICATE-----\nMA\n{plain}"), Broken::Cut),
            (plain.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE----"), Broken::Begin),
            (plain.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE------"), Broken::Begin),
            (plain.replace("MAF4", "MA!4"), Broken::Base64),
        ] {
            assert_eq!(store(text.as_bytes(), Role::Server).err(), Some(message), "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_option() {
        let cert = encode_certificate(b"x");
        let sealed = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let pkcs8 = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let shut = "client_key: the private key is encrypted; give its password as client_key_password";
        for (text, password, message) in [
            (&b""[..], None, "client_key: no private key found in the PEM (it is empty)"),
            (b"hello", None, "client_key: no private key found in the PEM (there is no BEGIN line)"),
            (b"\x30\x82", None, "client_key: no private key found in the PEM (it looks like DER)"),
            (cert.as_bytes(), None, "client_key: no private key found in the PEM"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n", None, "client_key: the PEM ends in the middle of a section"),
            (
                b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
                None,
                "client_key: the PEM is not valid base64",
            ),
            (pkcs8, None, shut),
            (sealed.as_bytes(), None, shut),
            (pkcs8, Some("x"), "client_key: the private key is malformed"),
            (sealed.as_bytes(), Some("x"), "client_key_password: does not open the private key"),
            (
                b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                None,
                "client_key: the private key is in OpenSSH's format; `ssh-keygen -p -m PKCS8` converts it",
            ),
        ] {
            assert_eq!(key(NAMES, text, password.map(str::as_bytes)).unwrap_err().fields().message, message);
        }
    }
}
