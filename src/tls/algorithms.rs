//! Names of key types and signatures, and the provider's support for them.

use super::{der, provider};
use rustls::pki_types::PrivateKeyDer;
use x509_parser::oid_registry::Oid;

/// The shortest RSA key that the providers check signatures with; they have no name for it.
const MIN_RSA: u32 = 2048;

/// What a private key is for: `ECDSA P-521`, `RSA of 1024 bits`.
pub(crate) fn of_key(key: &PrivateKeyDer<'_>) -> String {
    let parts = der::read_all(key.secret_der()).unwrap_or_default();
    let name = match key {
        // RSAPrivateKey ::= SEQUENCE { version, modulus, … } (RFC 8017, appendix A.1.2)
        PrivateKeyDer::Pkcs1(_) => parts.get(1).map(|modulus| rsa(modulus.content)),
        // ECPrivateKey ::= SEQUENCE { version, privateKey, [0] parameters, … } (RFC 5915)
        PrivateKeyDer::Sec1(_) => {
            let curve = parts.iter().find(|part| part.tag == 0xa0).and_then(|part| der::read(part.content));
            Some(curve.map_or_else(|| "ECDSA".into(), ecdsa))
        }
        // PrivateKeyInfo ::= SEQUENCE { version, privateKeyAlgorithm, privateKey, … } (RFC 5958)
        PrivateKeyDer::Pkcs8(_) => parts.get(1).map(|algorithm| {
            let name = of_algorithm(algorithm.content);
            let inner = parts.get(2).and_then(|key| der::read_all(key.content)).unwrap_or_default();
            match inner.get(1) {
                Some(modulus) if name == "RSA" => rsa(modulus.content),
                _ => name,
            }
        }),
        _ => None,
    };
    name.unwrap_or_else(|| "malformed".into())
}

/// The size of an RSA key that is too short for its signatures to be checked; `None` for other keys. From the content of a
/// SubjectPublicKeyInfo.
pub(crate) fn short_rsa(spki: &[u8]) -> Option<u32> {
    rsa_bits(spki).filter(|bits| *bits < MIN_RSA)
}

fn rsa_bits(spki: &[u8]) -> Option<u32> {
    let parts = der::values(spki)?;
    if !of_algorithm(parts.first()?.content).starts_with("RSA") {
        return None;
    }
    // A BIT STRING without unused bits, with RSAPublicKey ::= SEQUENCE { modulus, publicExponent } in it.
    let key = der::read_all(parts.get(1)?.content.get(1..)?)?;
    Some(bits(key.first()?.content))
}

/// The key's kind in an AlgorithmIdentifier (its content, without the tag).
pub(crate) fn of_algorithm(identifier: &[u8]) -> String {
    let Some((oid, rest)) = der::split(identifier) else { return "of an unknown kind".into() };
    match dotted(oid.content).as_str() {
        "1.2.840.113549.1.1.1" => "RSA".into(),
        "1.2.840.113549.1.1.10" => "RSA-PSS".into(),
        "1.2.840.10040.4.1" => "DSA".into(),
        "1.2.840.10045.2.1" => der::read(rest).map_or_else(|| "ECDSA".into(), ecdsa),
        "1.3.101.110" => "X25519".into(),
        "1.3.101.111" => "X448".into(),
        "1.3.101.112" => "Ed25519".into(),
        "1.3.101.113" => "Ed448".into(),
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44".into(),
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65".into(),
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87".into(),
        other => format!("of the kind {other}"),
    }
}

fn ecdsa(curve: der::Value<'_>) -> String {
    // A curve that is spelled out has no name (RFC 5480, section 2.1.1, forbids it).
    let name = match (curve.tag, dotted(curve.content).as_str()) {
        (6, "1.2.840.10045.3.1.7") => "P-256".into(),
        (6, "1.3.132.0.33") => "P-224".into(),
        (6, "1.3.132.0.34") => "P-384".into(),
        (6, "1.3.132.0.35") => "P-521".into(),
        (6, "1.3.132.0.10") => "secp256k1".into(),
        (6, other) => format!("on the curve {other}"),
        _ => "on a curve without a name".into(),
    };
    format!("ECDSA {name}")
}

fn rsa(modulus: &[u8]) -> String {
    format!("RSA of {} bits", bits(modulus))
}

pub(crate) fn bits(number: &[u8]) -> u32 {
    let number: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
    let first = number.first().map_or(0, |first| 8 - first.leading_zeros());
    first + 8 * u32::try_from(number.len().saturating_sub(1)).unwrap_or(0)
}

/// A signature's kind by its AlgorithmIdentifier: `ECDSA with SHA-512`.
pub(crate) fn of_signature(identifier: &[u8]) -> String {
    let Some(oid) = der::read(identifier) else { return "an unknown algorithm".into() };
    let oid = dotted(oid.content);
    SIGNATURES.iter().find(|(known, _)| *known == oid).map_or(oid, |(_, name)| (*name).into())
}

/// The kinds of keys whose signatures are checked and, but for their size, that can be used: from the provider.
pub(crate) fn keys() -> String {
    let mut names: Vec<String> = Vec::new();
    for algorithm in provider().signature_verification_algorithms.all {
        let name = match of_algorithm(&algorithm.public_key_alg_id()).as_str() {
            "RSA" => format!("RSA of {MIN_RSA} bits or more"),
            other => other.to_owned(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    listed(&names, "and")
}

/// True of a name that [`of_key`] gave to a kind of keys that can be used.
pub(super) fn is_usable(name: &str) -> bool {
    match name
        .strip_prefix("RSA of ")
        .and_then(|rest| rest.strip_suffix(" bits"))
        .and_then(|bits| bits.parse::<u32>().ok())
    {
        Some(bits) => bits >= MIN_RSA,
        None => {
            let mut known = provider().signature_verification_algorithms.all.iter();
            known.any(|known| of_algorithm(&known.public_key_alg_id()) == name)
        }
    }
}

/// The signatures that are checked: `ECDSA P-256 with SHA-256 or SHA-384, …`.
pub(crate) fn signatures() -> String {
    let mut kinds: Vec<(String, Vec<String>)> = Vec::new();
    for algorithm in provider().signature_verification_algorithms.all {
        let key = of_algorithm(&algorithm.public_key_alg_id());
        let hash = of_signature(&algorithm.signature_alg_id());
        let hash = hash.split_once(" with ").map(|(_, hash)| hash.to_owned());
        if !kinds.iter().any(|(known, _)| *known == key) {
            kinds.push((key.clone(), Vec::new()));
        }
        for (_, hashes) in kinds.iter_mut().filter(|(known, _)| *known == key) {
            hashes.extend(hash.iter().filter(|hash| !hashes.contains(hash)).cloned().collect::<Vec<_>>());
        }
    }
    let texts = kinds.into_iter().map(|(key, mut hashes)| {
        hashes.sort_unstable();
        match hashes.is_empty() {
            true => key,
            false => format!("{key} with {}", listed(&hashes, "or")),
        }
    });
    listed(&texts.collect::<Vec<_>>(), "and")
}

fn listed(names: &[String], word: &str) -> String {
    match names {
        [] => "nothing".into(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

pub(crate) fn dotted(oid: &[u8]) -> String {
    Oid::new(oid.into()).to_id_string()
}

const SIGNATURES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.2", "RSA with MD2"),
    ("1.2.840.113549.1.1.4", "RSA with MD5"),
    ("1.2.840.113549.1.1.5", "RSA with SHA-1"),
    ("1.2.840.113549.1.1.10", "RSA-PSS (with parameters that are not its hash's)"),
    ("1.2.840.113549.1.1.11", "RSA with SHA-256"),
    ("1.2.840.113549.1.1.12", "RSA with SHA-384"),
    ("1.2.840.113549.1.1.13", "RSA with SHA-512"),
    ("1.2.840.113549.1.1.14", "RSA with SHA-224"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.10045.4.3.1", "ECDSA with SHA-224"),
    ("1.2.840.10045.4.3.2", "ECDSA with SHA-256"),
    ("1.2.840.10045.4.3.3", "ECDSA with SHA-384"),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512"),
    ("1.2.840.10040.4.3", "DSA with SHA-1"),
    ("2.16.840.1.101.3.4.3.2", "DSA with SHA-256"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_has_a_name_and_no_panic() {
        for bytes in [&b""[..], b"\x30\x82\xff\xff", b"\x30\x03\x02\x01\x00", b"\x30\x06\x02\x01\x00\x30\x01\x06"] {
            for key in [
                PrivateKeyDer::Pkcs8(bytes.to_vec().into()),
                PrivateKeyDer::Pkcs1(bytes.to_vec().into()),
                PrivateKeyDer::Sec1(bytes.to_vec().into()),
            ] {
                of_key(&key);
            }
            let _ = (short_rsa(bytes), of_signature(bytes), of_algorithm(bytes));
        }
        assert_eq!((bits(&[0, 0x80, 0]), bits(&[1]), bits(&[])), (16, 1, 0));
    }

    #[test]
    fn what_the_provider_can_do_is_told_in_words() {
        for (text, message) in [(keys(), "RSA of 2048 bits or more"), (keys(), "ECDSA P-256"), (keys(), "Ed25519")] {
            assert!(text.contains(message), "{text}");
        }
        assert!(signatures().contains("ECDSA P-256 with SHA-256"), "{}", signatures());
        assert!(signatures().contains("RSA with SHA-256, SHA-384 or SHA-512"), "{}", signatures());
    }
}
