//! Certificates as LuaSec shows them: names with their object identifiers, OpenSSL's texts for times and keys.
//!
//! Reads certificates without verifying them; only `issued` checks a signature. The bytes come from a peer: an
//! unreadable part gives nothing, never a panic.

use super::verify;
use crate::{
    dates::Moment,
    tls::{
        algorithms,
        der::{self, Encode, text},
        pem,
    },
};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::Oid,
    prelude::FromDer,
    public_key::PublicKey,
    x509::X509Name,
};

/// A certificate, whatever its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
}

/// One attribute of a subject or an issuer, in the certificate's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Dotted.
    pub oid: String,
    /// OpenSSL's long name, or the dotted identifier.
    pub name: String,
    pub value: Option<Vec<u8>>,
}

/// One alternative name of the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// `dNSName`, `rfc822Name`, `uniformResourceIdentifier` or `iPAddress`.
    Plain(&'static str, Option<Vec<u8>>),
    /// A form of its own: its identifier, its long name, its text.
    Other(String, String, Option<Vec<u8>>),
}

/// The identifier of the subject alternative name (RFC 5280, section 4.2.1.6).
pub const ALT_NAMES: (&str, &str) = ("2.5.29.17", "X509v3 Subject Alternative Name");

impl Certificate {
    pub fn from_der(der: &[u8]) -> Certificate {
        Certificate { der: der.to_vec().into() }
    }

    /// The first certificate of a PEM text; `None` if there is none that can be read.
    pub fn from_pem(text: &[u8]) -> Option<Certificate> {
        let der = pem::certificates("", text).ok()?.into_iter().next()?;
        let cert = Certificate { der };
        cert.parsed().is_some().then_some(cert)
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub fn pem(&self) -> String {
        pem::encode_certificate(&self.der)
    }

    fn parsed(&self) -> Option<X509Certificate<'_>> {
        X509Certificate::from_der(&self.der).ok().map(|(_, cert)| cert)
    }

    pub fn subject(&self, encode: Encode) -> Vec<Attribute> {
        self.parsed().map_or_else(Vec::new, |cert| attributes(cert.subject(), encode))
    }

    pub fn issuer(&self, encode: Encode) -> Vec<Attribute> {
        self.parsed().map_or_else(Vec::new, |cert| attributes(cert.issuer(), encode))
    }

    /// The subject's alternative names; `None` if the certificate has no such extension.
    pub fn alt_names(&self, encode: Encode) -> Option<Vec<AltName>> {
        let cert = self.parsed()?;
        let mut found = None;
        for extension in cert.extensions() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                let found = found.get_or_insert_with(Vec::new);
                found.extend(names.general_names.iter().filter_map(|name| alt_name(name, encode)));
            }
        }
        found
    }

    /// In hexadecimal; `None` for an algorithm other than `sha1`, `sha256` and `sha512`.
    pub fn digest(&self, algorithm: &str) -> Option<String> {
        use crate::crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
        let algorithm = match algorithm {
            "sha1" => &SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &SHA256,
            "sha512" => &SHA512,
            _ => return None,
        };
        Some(data_encoding::HEXLOWER.encode(digest(algorithm, &self.der).as_ref()))
    }

    /// Seconds since 1970: not before, not after.
    pub fn validity(&self) -> (i64, i64) {
        self.parsed()
            .map_or((0, -1), |cert| (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp()))
    }

    /// In hexadecimal, upper case, whole bytes, as OpenSSL writes it; zero is `0`.
    pub fn serial(&self) -> String {
        let Some(cert) = self.parsed() else { return String::new() };
        match crate::tls::cert::serial(cert.raw_serial()).to_ascii_uppercase() {
            zero if zero == "00" => "0".into(),
            digits => digits,
        }
    }

    /// The public key as PEM, its kind (`RSA`, `EC`, `DSA`, else `Unknown`) and its size in bits.
    pub fn public_key(&self) -> Option<(String, &'static str, u32)> {
        let cert = self.parsed()?;
        let key = cert.public_key();
        let (kind, bits) = match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => ("RSA", algorithms::bits(rsa.modulus)),
            Ok(PublicKey::EC(point)) => {
                let curve =
                    key.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|oid| oid.to_id_string());
                ("EC", curve_bits(curve.as_deref(), point.key_size() as u32))
            }
            Ok(PublicKey::DSA(_)) => ("DSA", 0),
            // RFC 8410, in OpenSSL's count.
            _ => match key.algorithm.algorithm.to_id_string().as_str() {
                "1.3.101.110" => ("Unknown", 253),
                "1.3.101.112" => ("Unknown", 256),
                "1.3.101.111" => ("Unknown", 448),
                "1.3.101.113" => ("Unknown", 456),
                _ => ("Unknown", 0),
            },
        };
        Some((pem::encode("PUBLIC KEY", key.raw), kind, bits))
    }

    /// OpenSSL's short name of the signature algorithm; `UNDEF` for one without.
    pub fn signature_name(&self) -> &'static str {
        let oid = self.parsed().map(|cert| cert.signature_algorithm.algorithm.to_id_string());
        let found = SIGNATURES.iter().find(|(known, _)| oid.as_deref() == Some(*known));
        found.map_or("UNDEF", |(_, name)| name)
    }

    /// Checks that this certificate, which must be a root, vouches for `subject`, over `between` if need be; else why
    /// not, in OpenSSL's words.
    pub fn issued(&self, subject: &Certificate, between: &[Certificate]) -> Result<(), &'static str> {
        let between: Vec<_> = between.iter().map(|cert| cert.der.clone()).collect();
        verify::vouches(&self.der, &subject.der, &between, verify::now())
    }
}

/// A time as OpenSSL prints it: `Nov 21 01:38:05 2026 GMT`.
pub fn time_text(seconds: i64) -> String {
    let at = Moment::of(seconds);
    let Moment { year, day, hour, minute, second, .. } = at;
    format!("{} {day:>2} {hour:02}:{minute:02}:{second:02} {year:04} GMT", at.month_name())
}

fn attributes(name: &X509Name<'_>, encode: Encode) -> Vec<Attribute> {
    name.iter_attributes()
        .map(|attribute| {
            let value = attribute.attr_value();
            Attribute {
                oid: attribute.attr_type().to_id_string(),
                name: long_name(attribute.attr_type()),
                value: text(value.tag().0, value.data, encode),
            }
        })
        .collect()
}

fn alt_name(name: &GeneralName<'_>, encode: Encode) -> Option<AltName> {
    const IA5: u32 = 22;
    Some(match name {
        GeneralName::DNSName(name) => AltName::Plain("dNSName", text(IA5, name.as_bytes(), encode)),
        GeneralName::RFC822Name(name) => AltName::Plain("rfc822Name", text(IA5, name.as_bytes(), encode)),
        GeneralName::URI(uri) => AltName::Plain("uniformResourceIdentifier", text(IA5, uri.as_bytes(), encode)),
        GeneralName::IPAddress(bytes) => {
            let ip = match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(v4), _) => Some(std::net::IpAddr::from(v4)),
                (_, Ok(v6)) => Some(std::net::IpAddr::from(v6)),
                _ => None,
            };
            AltName::Plain("iPAddress", ip.map(|ip| ip.to_string().into_bytes()))
        }
        GeneralName::OtherName(oid, bytes) => {
            // The value stands in a tag [0] of its own (RFC 5280, section 4.2.1.6).
            let value =
                der::read(bytes).and_then(|outer| if outer.tag == 0xa0 { der::read(outer.content) } else { None });
            let value = value.and_then(|value| text(u32::from(value.tag & 0x1f), value.content, encode));
            AltName::Other(oid.to_id_string(), long_name(oid), value)
        }
        _ => return None,
    })
}

fn curve_bits(curve: Option<&str>, otherwise: u32) -> u32 {
    match curve {
        Some("1.2.840.10045.3.1.7" | "1.3.132.0.10") => 256,
        Some("1.3.132.0.34") => 384,
        Some("1.3.132.0.35") => 521,
        _ => otherwise,
    }
}

fn long_name(oid: &Oid<'_>) -> String {
    let dotted = oid.to_id_string();
    match LONG_NAMES.iter().find(|(known, _)| *known == dotted) {
        Some((_, name)) => (*name).into(),
        None => dotted,
    }
}

/// OpenSSL's short names of signature algorithms.
const SIGNATURES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.4", "RSA-MD5"),
    ("1.2.840.113549.1.1.5", "RSA-SHA1"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS"),
    ("1.2.840.113549.1.1.11", "RSA-SHA256"),
    ("1.2.840.113549.1.1.12", "RSA-SHA384"),
    ("1.2.840.113549.1.1.13", "RSA-SHA512"),
    ("1.2.840.113549.1.1.14", "RSA-SHA224"),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
    ("1.2.840.10045.4.3.1", "ecdsa-with-SHA224"),
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
    ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
    ("1.2.840.10040.4.3", "DSA-SHA1"),
    ("2.16.840.1.101.3.4.3.2", "dsa_with_SHA256"),
    ("1.3.101.112", "ED25519"),
    ("1.3.101.113", "ED448"),
];

/// OpenSSL's long names of what stands in certificates' names.
const LONG_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "commonName"),
    ("2.5.4.4", "surname"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "countryName"),
    ("2.5.4.7", "localityName"),
    ("2.5.4.8", "stateOrProvinceName"),
    ("2.5.4.9", "streetAddress"),
    ("2.5.4.10", "organizationName"),
    ("2.5.4.11", "organizationalUnitName"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "givenName"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.97", "organizationIdentifier"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("0.9.2342.19200300.100.1.1", "userId"),
    ("0.9.2342.19200300.100.1.3", "rfc822Mailbox"),
    ("0.9.2342.19200300.100.1.25", "domainComponent"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionLocalityName"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionStateOrProvinceName"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionCountryName"),
    ("1.3.6.1.4.1.311.20.2.3", "Microsoft User Principal Name"),
    ("1.3.6.1.5.5.7.8.5", "XmppAddr"),
    ("1.3.6.1.5.5.7.8.7", "SRVName"),
    ("1.3.6.1.5.5.7.8.8", "NAIRealm"),
    ("1.3.6.1.5.5.7.8.9", "Smtp UTF8 Mailbox"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_openssls() {
        for (seconds, text) in [
            (0, "Jan  1 00:00:00 1970 GMT"),
            (1_795_225_085, "Nov 21 01:38:05 2026 GMT"),
            (253_402_300_799, "Dec 31 23:59:59 9999 GMT"),
            (-1, "Dec 31 23:59:59 1969 GMT"),
        ] {
            assert_eq!(time_text(seconds), text);
        }
    }

    #[test]
    fn garbage_has_no_fields_and_no_panic() {
        assert_eq!(Certificate::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
        let cert = Certificate::from_der(b"\x30\x82\xff\xffgarbage");
        assert_eq!((cert.subject(Encode::Raw), cert.alt_names(Encode::Raw)), (vec![], None));
        assert_eq!((cert.serial(), cert.public_key(), cert.validity()), (String::new(), None, (0, -1)));
        assert_eq!(cert.issued(&cert, &[]), Err("certificate rejected"));
    }

    /// Every byte of a certificate changed, in several ways, and the certificate cut at every place.
    #[test]
    fn damaged_certificates_are_read_without_a_panic() {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let good = made.cert.der().to_vec();
        let look = |der: &[u8]| {
            let cert = Certificate::from_der(der);
            for encode in [Encode::Raw, Encode::Utf8] {
                let _ = (cert.subject(encode), cert.issuer(encode), cert.alt_names(encode));
            }
            let (from, to) = cert.validity();
            let _ = (time_text(from), time_text(to), cert.serial(), cert.public_key(), cert.signature_name());
            let _ = (cert.digest("sha1"), cert.pem(), cert.issued(&cert, std::slice::from_ref(&cert)));
        };
        for at in 0..good.len() {
            look(&good[..at]);
            for change in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= change;
                look(&bad);
            }
        }
    }
}
