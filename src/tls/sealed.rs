//! Encrypted private keys: PKCS#8 (RFC 8018, by a crate) and OpenSSL's older way with headers in the PEM (RFC 1421,
//! PEM_read_bio_PrivateKey(3)). Messages contain nothing of the key or the password.

use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit, block_padding::Pkcs7};
use md5::{Digest, Md5};
use pkcs8::{
    EncryptedPrivateKeyInfoRef,
    pkcs5::{EncryptionScheme, Error as Pkcs5, pbes2::Kdf},
};

/// Rounds of PBKDF2 that are made for a key. Advice for new keys is at 600,000; who asks for more than this would hold the
/// call for many seconds.
const MAX_ROUNDS: u32 = 10_000_000;

/// What scrypt may take of memory, as in OpenSSL, and how often over.
const MAX_SCRYPT: u64 = 32 * 1024 * 1024;
const MAX_LANES: u16 = 16;

/// Why a key stays shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// The password is another one, or the key is damaged: nobody can tell the two apart.
    Wrong,
    /// By a method that is not offered.
    Method,
    /// Opening it would take more time or memory than is given to a key.
    Costly,
    /// It is not what its frame says.
    Malformed,
}

impl Shut {
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Shut::Wrong => "the password does not open the private key",
            Shut::Method => {
                "the private key is encrypted by a method that is not offered (PBES2 with PBKDF2 or scrypt and AES or 3DES is, \
                 and OpenSSL's older form with AES or 3DES; `openssl pkcs8 -topk8` makes one)"
            }
            Shut::Costly => "the private key's encryption needs more iterations or memory than are allowed",
            Shut::Malformed => "the private key is malformed",
        }
    }
}

/// Opens an EncryptedPrivateKeyInfo (RFC 5958, section 3): the PrivateKeyInfo in it.
pub(crate) fn pkcs8(der: &[u8], password: &[u8]) -> Result<Vec<u8>, Shut> {
    // The methods before PBES2 have identifiers that the crate does not read.
    let sealed = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| match super::der::read(der) {
        Some(value) if value.tag == 0x30 => Shut::Method,
        _ => Shut::Malformed,
    })?;
    if let EncryptionScheme::Pbes2(with) = &sealed.encryption_algorithm {
        let costly = match &with.kdf {
            Kdf::Pbkdf2(kdf) => kdf.iteration_count > MAX_ROUNDS,
            Kdf::Scrypt(kdf) => {
                // RFC 7914 section 2; the crate computes with what is neither.
                if kdf.cost_parameter < 2
                    || !kdf.cost_parameter.is_power_of_two()
                    || kdf.block_size == 0
                    || kdf.parallelization == 0
                {
                    return Err(Shut::Malformed);
                }
                let block = 128 * u64::from(kdf.block_size);
                kdf.cost_parameter.saturating_mul(block) > MAX_SCRYPT || kdf.parallelization > MAX_LANES
            }
            _ => return Err(Shut::Method),
        };
        if costly {
            return Err(Shut::Costly);
        }
    }
    let opened = sealed.encryption_algorithm.decrypt(password, sealed.encrypted_data.as_ref());
    whole(opened.map_err(|why| match why {
        Pkcs5::DecryptFailed => Shut::Wrong,
        Pkcs5::AlgorithmParametersInvalid { .. } => Shut::Malformed,
        _ => Shut::Method,
    })?)
}

/// Opens a key whose PEM has the header `DEK-Info: METHOD,IV`.
pub(crate) fn traditional(info: &[u8], der: &[u8], password: &[u8]) -> Result<Vec<u8>, Shut> {
    let info = std::str::from_utf8(info).map_err(|_| Shut::Malformed)?;
    let (method, iv) = info.split_once(',').ok_or(Shut::Malformed)?;
    let iv = data_encoding::HEXUPPER_PERMISSIVE.decode(iv.trim().as_bytes()).map_err(|_| Shut::Malformed)?;
    let salt = iv.get(..8).ok_or(Shut::Malformed)?;
    let opened = match method.trim().to_ascii_uppercase().as_str() {
        "AES-128-CBC" => decrypt::<aes::Aes128Dec>(&stretched(password, salt, 16), &iv, der),
        "AES-192-CBC" => decrypt::<aes::Aes192Dec>(&stretched(password, salt, 24), &iv, der),
        "AES-256-CBC" => decrypt::<aes::Aes256Dec>(&stretched(password, salt, 32), &iv, der),
        "DES-EDE3-CBC" => decrypt::<des::TdesEde3>(&stretched(password, salt, 24), &iv, der),
        _ => return Err(Shut::Method),
    };
    whole(opened?)
}

fn decrypt<C: BlockCipherDecrypt + KeyInit>(key: &[u8], iv: &[u8], der: &[u8]) -> Result<Vec<u8>, Shut> {
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| Shut::Malformed)?;
    let mut bytes = der.to_vec();
    let length = cipher.decrypt_padded::<Pkcs7>(&mut bytes).map_err(|_| Shut::Wrong)?.len();
    bytes.truncate(length);
    Ok(bytes)
}

/// The key of a password: EVP_BytesToKey(3) with MD5 and one round, which these files were made with.
fn stretched(password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let (mut key, mut last) = (Vec::with_capacity(length + 16), Vec::new());
    while key.len() < length {
        last = Md5::new().chain_update(&last).chain_update(password).chain_update(salt).finalize().to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

/// One wrong password in 256 leaves a padding that looks right: what it opens is no DER.
fn whole(der: Vec<u8>) -> Result<Vec<u8>, Shut> {
    match super::der::split(&der) {
        Some((value, [])) if value.tag == 0x30 => Ok(der),
        _ => Err(Shut::Wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_stays_shut() {
        let iv = b"AES-128-CBC,00112233445566778899AABBCCDDEEFF";
        for (info, der, expected) in [
            (&iv[..], &[0; 16][..], Shut::Wrong),
            (iv, &[0; 15], Shut::Wrong),
            (iv, b"", Shut::Wrong),
            (b"AES-128-CBC,00112233445566", &[0; 16], Shut::Malformed),
            (b"AES-128-CBC,0011223344556677", &[0; 16], Shut::Malformed),
            (b"AES-128-CBC,zz", &[0; 16], Shut::Malformed),
            (b"AES-128-CBC", &[0; 16], Shut::Malformed),
            (b"\xff\xff", &[0; 16], Shut::Malformed),
            (b"RC2-40-CBC,0011223344556677", &[0; 16], Shut::Method),
        ] {
            assert_eq!(traditional(info, der, b"x"), Err(expected), "{info:?}");
        }
        assert_eq!(pkcs8(b"", b"x"), Err(Shut::Malformed));
        assert_eq!(pkcs8(b"\x30\x05abc", b"x"), Err(Shut::Malformed));
        assert_eq!(pkcs8(b"\x30\x03abc", b"x"), Err(Shut::Method));
    }

    /// RFC 7914 section 2: the cost is a power of two above 1, and neither block size nor parallelization is 0.
    #[test]
    fn parameters_of_scrypt() {
        for (cost, block, lanes, expected) in [
            ("020102", "020101", "020101", Shut::Wrong),
            ("020100", "020108", "020101", Shut::Malformed),
            ("020101", "020108", "020101", Shut::Malformed),
            ("020103", "020108", "020101", Shut::Malformed),
            ("02020300", "020108", "020101", Shut::Malformed),
            ("020102", "020100", "020101", Shut::Malformed),
            ("020102", "020108", "020100", Shut::Malformed),
            ("020440000000", "020108", "020101", Shut::Costly),
            ("020102", "020108", "020111", Shut::Costly),
        ] {
            let value = |tag: &str, content: &str| format!("{tag}{:02x}{content}", content.len() / 2);
            let salt = "040873616c7473616c74";
            let scrypt =
                value("30", &["06092b06010401da47040b", &value("30", &[salt, cost, block, lanes].concat())].concat());
            let aes = value("30", &["060960864801650304012a", "041000112233445566778899aabbccddeeff"].concat());
            let method = ["06092a864886f70d01050d", &value("30", &[scrypt, aes].concat())].concat();
            let sealed = value("30", &[value("30", &method), value("04", &"00".repeat(16))].concat());
            let der = data_encoding::HEXLOWER.decode(sealed.as_bytes()).unwrap();
            assert_eq!(pkcs8(&der, b"x"), Err(expected), "{cost} {block} {lanes}");
        }
    }
}
