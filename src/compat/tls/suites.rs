//! OpenSSL's names of cipher suites, curves and options, and their counterparts in rustls.
//!
//! The nearest safe meaning: a name that OpenSSL knows and rustls lacks selects nothing; a list that selects nothing is
//! an error. A suite that rustls does not offer cannot be selected: TLS 1.2 with ECDHE and AEAD, TLS 1.3.

use crate::crypto::ALL_KX_GROUPS;
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, crypto::SupportedKxGroup};

/// A cipher suite as OpenSSL describes it.
pub struct Suite {
    suite: CipherSuite,
    /// `ECDHE-RSA-AES128-GCM-SHA256`, or the IANA name for TLS 1.3.
    pub name: &'static str,
    pub key: &'static str,
    pub authentication: &'static str,
    pub encryption: &'static str,
    pub bits: u16,
    /// The words that a cipher string may use for it.
    words: &'static [&'static str],
}

const fn suite(
    suite: CipherSuite,
    name: &'static str,
    (key, authentication): (&'static str, &'static str),
    (encryption, bits): (&'static str, u16),
    words: &'static [&'static str],
) -> Suite {
    Suite { suite, name, key, authentication, encryption, bits, words }
}

const RSA: (&str, &str) = ("ECDH", "RSA");
const ECDSA: (&str, &str) = ("ECDH", "ECDSA");
const ANY: (&str, &str) = ("any", "any");
const AES128: (&str, u16) = ("AESGCM(128)", 128);
const AES256: (&str, u16) = ("AESGCM(256)", 256);
const CHACHA: (&str, u16) = ("CHACHA20/POLY1305(256)", 256);

/// In OpenSSL's order of preference.
pub const SUITES: [Suite; 9] = [
    suite(CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", ANY, AES256, &[]),
    suite(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", ANY, CHACHA, &[]),
    suite(CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", ANY, AES128, &[]),
    suite(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        ECDSA,
        AES256,
        &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "SHA384"],
    ),
    suite(
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
        RSA,
        AES256,
        &["aRSA", "AES", "AES256", "AESGCM", "SHA384"],
    ),
    suite(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        ECDSA,
        CHACHA,
        &["aECDSA", "ECDSA", "CHACHA20", "SHA256"],
    ),
    suite(
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        RSA,
        CHACHA,
        &["aRSA", "CHACHA20", "SHA256"],
    ),
    suite(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        ECDSA,
        AES128,
        &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    ),
    suite(
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
        RSA,
        AES128,
        &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    ),
];

/// What every suite of TLS 1.2 that we have answers to.
const COMMON: [&str; 13] = [
    "ALL",
    "DEFAULT",
    "HIGH",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "ECDH",
    "TLSv1.2",
    "FIPS",
    "SUITEB128",
    "SECURE128",
    "COMPLEMENTOFNONE",
];

impl Suite {
    fn is_tls13(&self) -> bool {
        self.key == "any"
    }

    fn answers_to(&self, word: &str) -> bool {
        self.name == word || COMMON.contains(&word) || self.words.contains(&word)
    }
}

/// The description of what was negotiated.
pub(crate) fn described(suite: SupportedCipherSuite) -> Option<&'static Suite> {
    SUITES.iter().find(|known| known.suite == suite.suite())
}

/// Reads a cipher string of OpenSSL (`ciphers(1)`): the suites of TLS 1.2 that it selects, in its order; `None` if it
/// selects none. `@STRENGTH` and `@SECLEVEL` change nothing: the order is by strength, and no suite is weak.
pub(crate) fn ciphers(text: &str) -> Option<Vec<CipherSuite>> {
    let all = || SUITES.iter().filter(|suite| !suite.is_tls13());
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut banned: Vec<&str> = Vec::new();
    for token in
        text.split([':', ',', ' ', ';']).filter_map(|token| token.split('@').next()).filter(|token| !token.is_empty())
    {
        let (sign, words) = match token.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), words)) => (sign, words),
            _ => ("", token),
        };
        let meant: Vec<_> = all().filter(|suite| words.split('+').all(|word| suite.answers_to(word))).collect();
        let is_meant = |suite: &&Suite| meant.iter().any(|other| other.name == suite.name);
        match sign {
            "!" => {
                banned.extend(meant.iter().map(|suite| suite.name));
                chosen.retain(|suite| !is_meant(suite));
            }
            "-" => chosen.retain(|suite| !is_meant(suite)),
            "+" => {
                let (back, front): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|suite| is_meant(suite));
                chosen = front;
                chosen.extend(back);
            }
            _ => {
                for suite in meant {
                    if !banned.contains(&suite.name) && !chosen.iter().any(|other| other.name == suite.name) {
                        chosen.push(suite);
                    }
                }
            }
        }
    }
    (!chosen.is_empty()).then(|| chosen.iter().map(|suite| suite.suite).collect())
}

/// Reads a list of TLS 1.3 suites; `None` if it names one that does not exist, or none.
pub(crate) fn ciphersuites(text: &str) -> Option<Vec<CipherSuite>> {
    /// OpenSSL has them (RFC 8446, appendix B.4), rustls does not.
    const LACKING: [&str; 2] = ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"];
    let mut chosen = Vec::new();
    for name in text.split(':').filter(|name| !name.is_empty()) {
        match SUITES.iter().find(|suite| suite.is_tls13() && suite.name == name) {
            Some(suite) => chosen.push(suite.suite),
            None if LACKING.contains(&name) => {}
            None => return None,
        }
    }
    (!chosen.is_empty()).then_some(chosen)
}

/// OpenSSL's names of the groups that some library has. "curve" is LuaSec's word: the hybrid ones are no curves.
const GROUPS: [(&str, NamedGroup); 11] = [
    ("P-256", NamedGroup::secp256r1),
    ("prime256v1", NamedGroup::secp256r1),
    ("secp256r1", NamedGroup::secp256r1),
    ("P-384", NamedGroup::secp384r1),
    ("secp384r1", NamedGroup::secp384r1),
    ("X25519", NamedGroup::X25519),
    ("x25519", NamedGroup::X25519),
    ("X25519MLKEM768", NamedGroup::X25519MLKEM768),
    ("SecP256r1MLKEM768", NamedGroup::secp256r1MLKEM768),
    ("MLKEM768", NamedGroup::MLKEM768),
    ("MLKEM1024", NamedGroup::MLKEM1024),
];

/// Names that OpenSSL knows for key exchange and that no library has.
const OTHER_GROUPS: [&str; 15] = [
    "P-521",
    "secp521r1",
    "MLKEM512",
    "SecP384r1MLKEM1024",
    "X448",
    "secp256k1",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
    "ffdhe2048",
    "ffdhe3072",
    "ffdhe4096",
    "ffdhe6144",
    "ffdhe8192",
    "P-224",
];

/// The names that this build has a group for.
pub fn curve_names() -> Vec<&'static str> {
    GROUPS.iter().map(|(name, _)| *name).filter(|name| curve(name).is_some()).collect()
}

/// The group behind a name; `None` for one that this build does not have.
pub(crate) fn curve(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    let (_, group) = GROUPS.iter().find(|(known, _)| *known == name)?;
    ALL_KX_GROUPS.iter().copied().find(|had| had.name() == *group)
}

/// The groups of a list `X25519:P-256`, in its order; `None` if it names one that nobody knows, or none that this
/// build has.
pub(crate) fn curves(list: &str) -> Option<Vec<&'static dyn SupportedKxGroup>> {
    let mut chosen: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for name in list.split(':') {
        match curve(name) {
            Some(group) if chosen.iter().any(|other| other.name() == group.name()) => {}
            Some(group) => chosen.push(group),
            None if GROUPS.iter().any(|(known, _)| *known == name) || OTHER_GROUPS.contains(&name) => {}
            None => return None,
        }
    }
    (!chosen.is_empty()).then_some(chosen)
}

/// The names that `options` takes, as in OpenSSL 3.
pub const OPTIONS: [&str; 53] = [
    "all",
    "allow_client_renegotiation",
    "allow_no_dhe_kex",
    "allow_unsafe_legacy_renegotiation",
    "cipher_server_preference",
    "cisco_anyconnect",
    "cleanse_plaintext",
    "cookie_exchange",
    "cryptopro_tlsext_bug",
    "disable_tlsext_ca_names",
    "dont_insert_empty_fragments",
    "enable_ktls",
    "enable_middlebox_compat",
    "ephemeral_rsa",
    "ignore_unexpected_eof",
    "legacy_server_connect",
    "microsoft_big_sslv3_buffer",
    "microsoft_sess_id_bug",
    "msie_sslv2_rsa_padding",
    "netscape_ca_dn_bug",
    "netscape_challenge_bug",
    "netscape_demo_cipher_change_bug",
    "netscape_reuse_cipher_change_bug",
    "no_anti_replay",
    "no_compression",
    "no_dtls_mask",
    "no_dtlsv1",
    "no_dtlsv1_2",
    "no_encrypt_then_mac",
    "no_extended_master_secret",
    "no_query_mtu",
    "no_renegotiation",
    "no_session_resumption_on_renegotiation",
    "no_ssl_mask",
    "no_sslv2",
    "no_sslv3",
    "no_ticket",
    "no_tlsv1",
    "no_tlsv1_1",
    "no_tlsv1_2",
    "no_tlsv1_3",
    "pkcs1_check_1",
    "pkcs1_check_2",
    "prioritize_chacha",
    "safari_ecdhe_ecdsa_bug",
    "single_dh_use",
    "single_ecdh_use",
    "ssleay_080_client_dh_bug",
    "sslref2_reuse_cert_type_bug",
    "tls_block_padding_bug",
    "tls_d5_bug",
    "tls_rollback_bug",
    "tlsext_padding",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_strings_select() {
        let names = |text: &str| -> String {
            let name = |wanted: CipherSuite| SUITES.iter().find(|suite| suite.suite == wanted).unwrap().name;
            ciphers(text).map_or("none".into(), |all| all.into_iter().map(name).collect::<Vec<_>>().join(" "))
        };
        let six = names("ALL");
        assert_eq!(six.split(' ').count(), 6);
        for (text, expected) in [
            ("DEFAULT", &*six),
            ("HIGH:!aNULL:!MD5", &six),
            ("ALL:!ADH:@STRENGTH", &six),
            ("ALL:!ADH:!LOW:!EXP:!MD5:@STRENGTH", &six),
            ("HIGH+kEDH:HIGH+kEECDH:HIGH:!PSK:!SRP:!3DES:!aNULL", &six),
            ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("AES128-SHA:ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
            ("ECDHE+aRSA+AES128", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("CHACHA20:!aECDSA", "ECDHE-RSA-CHACHA20-POLY1305"),
            ("AES128:-aRSA:aRSA+AES128", "ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256"),
            ("AES128:+aECDSA", "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES128-GCM-SHA256"),
            ("!AES128:AES128", "none"),
            ("AES256-SHA", "none"),
            ("NOPE", "none"),
            ("", "none"),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
        for (text, count) in [
            ("TLS_AES_128_GCM_SHA256", Some(1)),
            ("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_CCM_SHA256", Some(2)),
            ("TLS_AES_128_CCM_SHA256", None),
            ("NOPE", None),
            ("", None),
        ] {
            assert_eq!(ciphersuites(text).map(|all| all.len()), count, "{text}");
        }
    }

    #[test]
    fn curve_lists_select() {
        for (text, count) in
            [("P-256", Some(1)), ("X25519:P-521:P-384", Some(2)), ("P-521", None), ("x:P-256", None), ("", None)]
        {
            assert_eq!(curves(text).map(|all| all.len()), count, "{text}");
        }
        let hybrid = ALL_KX_GROUPS.iter().any(|group| group.name() == NamedGroup::X25519MLKEM768);
        assert_eq!(hybrid, cfg!(feature = "full"));
        for (text, count) in [("X25519MLKEM768:X25519", 1 + usize::from(hybrid)), ("SecP384r1MLKEM1024:X448:P-256", 1)]
        {
            assert_eq!(curves(text).map(|all| all.len()), Some(count), "{text}");
        }
        assert_eq!(curve_names().len(), if hybrid { 11 } else { 7 }, "{:?}", curve_names());
    }
}
