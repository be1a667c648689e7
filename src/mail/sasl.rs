//! The computations of SASL mechanisms: CRAM-MD5 (RFC 2195) and SCRAM (RFC 5802, RFC 7677). The front sends their
//! messages.

use crate::{
    crypto::{digest, hmac, pbkdf2},
    digest::hmac_md5,
};
use data_encoding::HEXLOWER;
use std::num::NonZeroU32;

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scram {
    Sha1,
    Sha256,
}

impl Scram {
    /// By the name of the hash: `sha1`, `sha256`.
    pub fn named(word: &[u8]) -> Option<Scram> {
        match word {
            b"sha1" => Some(Scram::Sha1),
            b"sha256" => Some(Scram::Sha256),
            _ => None,
        }
    }

    /// The client's proof and the server's signature (RFC 5802 section 3).
    ///
    /// `password` is prepared; `message` is the AuthMessage, what both have said. Takes as long as `rounds` say.
    pub fn answer(self, password: &[u8], salt: &[u8], rounds: NonZeroU32, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (derivation, code, hash, length) = match self {
            Scram::Sha1 => (
                pbkdf2::PBKDF2_HMAC_SHA1,
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
                digest::SHA1_OUTPUT_LEN,
            ),
            Scram::Sha256 => {
                (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256, digest::SHA256_OUTPUT_LEN)
            }
        };
        let sign = |key: &[u8], bytes: &[u8]| hmac::sign(&hmac::Key::new(code, key), bytes).as_ref().to_vec();
        let mut salted = vec![0; length];
        pbkdf2::derive(derivation, rounds, salt, password, &mut salted);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash, &client_key);
        let signature = sign(stored_key.as_ref(), message);
        let proof = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        (proof, sign(&sign(&salted, b"Server Key"), message))
    }
}

/// What CRAM-MD5 sends behind the user's name.
pub fn cram(password: &[u8], challenge: &[u8]) -> String {
    HEXLOWER.encode(&hmac_md5(password, challenge))
}

/// The form of a name or password that SCRAM hashes (SASLprep, RFC 4013); why it has none.
pub fn prepared(text: &str) -> Result<String, String> {
    match stringprep::saslprep(text) {
        Ok(prepared) if prepared.is_empty() => Err("is empty, as SCRAM sees it (RFC 4013)".into()),
        Ok(prepared) => Ok(prepared.into_owned()),
        Err(_) => Err("has characters that SCRAM does not take (RFC 4013)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;

    #[test]
    fn published_exchanges() {
        // RFC 5802 section 5, RFC 7677 section 3
        let rows = [
            (
                Scram::Sha1,
                "QSXCR+Q6sek8bf92",
                "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,\
                 i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
                "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Scram::Sha256,
                "W22ZaJ0SNY7soEsUEjb6gQ==",
                "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ];
        for (scram, salt, message, proof, signature) in rows {
            let salt = BASE64.decode(salt.as_bytes()).unwrap();
            let (own, theirs) = scram.answer(b"pencil", &salt, NonZeroU32::new(4096).unwrap(), message.as_bytes());
            assert_eq!(
                (BASE64.encode(&own).as_str(), BASE64.encode(&theirs).as_str()),
                (proof, signature),
                "{scram:?}"
            );
        }
    }

    #[test]
    fn a_published_challenge() {
        // RFC 2195 section 2
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        assert_eq!(cram(b"tanstaaftanstaaf", challenge), "b913a602c7eda7a495b4e6e7334d3890");
    }

    #[test]
    fn names_and_passwords_have_one_form() {
        // RFC 4013 section 3
        for (text, expected) in [
            ("I\u{ad}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}1", None),
            ("", None),
            ("\u{ad}", None),
        ] {
            assert_eq!(prepared(text).ok().as_deref(), expected, "{text:?}");
        }
    }
}
