//! Digests and message authentication codes, by the cryptographic library of TLS; MD5, which it lacks, by the crate
//! `md-5`.
//!
//! Pure: bytes in, bytes out. No message contains the input.

use crate::crypto::{digest as provider, hmac};
use subtle::ConstantTimeEq;

/// The algorithms that protocols of the web name. MD5 and SHA-1 are broken against forgers, and here for what asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 1321.
    Md5,
    /// FIPS 180-4.
    Sha1,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha512,
}

impl Algorithm {
    /// By the name that scripts use: `md5`, `sha1`, `sha256`, `sha512`.
    pub fn named(word: &[u8]) -> Option<Algorithm> {
        Some(match word {
            b"md5" => Algorithm::Md5,
            b"sha1" => Algorithm::Sha1,
            b"sha256" => Algorithm::Sha256,
            b"sha512" => Algorithm::Sha512,
            _ => return None,
        })
    }

    /// The digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Algorithm::Md5 => return <md5::Md5 as md5::Digest>::digest(bytes).to_vec(),
            Algorithm::Sha1 => &provider::SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => &provider::SHA256,
            Algorithm::Sha512 => &provider::SHA512,
        };
        provider::digest(algorithm, bytes).as_ref().to_vec()
    }

    /// The HMAC of `bytes` (RFC 2104), under a key of any length. `None` for MD5, which no new protocol asks for.
    pub fn hmac(self, key: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
        let algorithm = match self {
            Algorithm::Md5 => return None,
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        Some(hmac::sign(&hmac::Key::new(algorithm, key), bytes).as_ref().to_vec())
    }
}

/// The HMAC of `bytes` with MD5, for CRAM-MD5 (RFC 2195) alone. Neither library of cryptography has it.
pub fn hmac_md5(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let hashed;
    let key = if key.len() > BLOCK {
        hashed = Algorithm::Md5.digest(key);
        &hashed
    } else {
        key
    };
    let pad = |with: u8| (0..BLOCK).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<u8>>();
    let inner = Algorithm::Md5.digest(&[&pad(0x36), bytes].concat());
    Algorithm::Md5.digest(&[pad(0x5c), inner].concat())
}

/// Are they the same? Takes as long wherever they differ; of different lengths they are told apart at once.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, equal, hmac_md5};
    use data_encoding::HEXLOWER;

    #[test]
    fn published_digests() {
        // RFC 1321 appendix A.5; FIPS 180-4, "abc"
        for (word, expected) in [
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "sha512",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            let algorithm = Algorithm::named(word.as_bytes()).unwrap();
            assert_eq!(HEXLOWER.encode(&algorithm.digest(b"abc")), expected, "{word}");
        }
        assert_eq!(Algorithm::named(b"SHA256"), None);
    }

    #[test]
    fn published_codes() {
        // RFC 2202 and RFC 4231, test case 2
        let text = b"what do ya want for nothing?";
        for (algorithm, expected) in [
            (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (Algorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                Algorithm::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            assert_eq!(HEXLOWER.encode(&algorithm.hmac(b"Jefe", text).unwrap()), expected);
        }
        assert_eq!(Algorithm::Md5.hmac(b"Jefe", text), None);
    }

    #[test]
    fn codes_with_md5() {
        // RFC 2202 section 2: cases 2 and 6, whose key is longer than a block
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        for (key, text, expected) in [
            (&b"Jefe"[..], &b"what do ya want for nothing?"[..], "750c783e6ab0b503eaa86e310a5db738"),
            (&[0xaa; 80], long, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"),
        ] {
            assert_eq!(HEXLOWER.encode(&hmac_md5(key, text)), expected);
        }
    }

    #[test]
    fn equality() {
        for (a, b, same) in [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false), ("", "a", false)]
        {
            assert_eq!(equal(a.as_bytes(), b.as_bytes()), same, "{a:?} {b:?}");
        }
    }
}
