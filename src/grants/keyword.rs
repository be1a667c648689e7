//! The one keyword among hosts, `private`, its likely misspellings, and words for what is written in another way. In `--deny-net` such a
//! word would deny a host that does not exist, and nothing else: so it is a host only with a dot at its end. Pure.

/// With a colon it stands before the path of a Unix socket.
pub(super) const UNIX: &str = "unix";

/// Every address that is not global unicast.
pub(super) const PRIVATE: &str = "private";

/// Kinds of addresses, by the names that people have for them, and how they are written here.
const KINDS: [(&str, &str); 4] = [
    (UNIX, "unix:/PATH"),
    ("loopback", "127.0.0.0/8,[::1]"),
    ("link-local", "169.254.0.0/16,[fe80::]/10"),
    ("multicast", "224.0.0.0/4,[ff00::]/8"),
];

/// How many letters a typing error gets wrong.
const SLIPS: usize = 2;

/// Letters of a word that is compared.
const LONGEST: usize = 64;

/// What a host without a dot is probably meant for, as it is written; `None` for all that are hosts.
pub(super) fn meant(host: &str) -> Option<&'static str> {
    let host = host.to_ascii_lowercase();
    if let Some((_, written)) = KINDS.iter().find(|(kind, _)| *kind == host) {
        return Some(written);
    }
    // Hosts that are numbered (private1, private-2) are no slips.
    let word = host.len().abs_diff(PRIVATE.len()) <= SLIPS && host.bytes().all(|b| b.is_ascii_lowercase());
    (word && slips(host.as_bytes(), PRIVATE.as_bytes()) <= SLIPS).then_some(PRIVATE)
}

/// What a host ends with so that it is read as a host: a dot where it could be meant for something else.
pub(super) fn dot(host: &str) -> &'static str {
    if meant(host).is_some() { "." } else { "" }
}

/// The word that is probably meant by another one, if any: the first of the nearest.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let near = words.into_iter().map(|one| (slips(word.as_bytes(), one.as_bytes()), one));
    // Of a short word two letters are too much of it.
    let close = |(count, one): &(usize, &str)| *count <= if one.len() < 8 { 1 } else { SLIPS };
    near.filter(close).min_by_key(|(count, _)| *count).map(|(_, one)| one)
}

/// The least number of letters added, left out, replaced or swapped with the next one (optimal string alignment). With a
/// word of more than 64 letters, which is no typing error, the length of the longer one: counting takes time and memory
/// by the product of both.
pub fn slips(a: &[u8], b: &[u8]) -> usize {
    let longest = a.len().max(b.len());
    if longest > LONGEST {
        return longest;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = match i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    true => rows[i - 2][j - 2] + 1,
                    false => replaced,
                };
                replaced.min(swapped).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant() {
        for (host, expected) in [
            ("private", Some(PRIVATE)),
            ("privat", Some(PRIVATE)),
            ("privates", Some(PRIVATE)),
            ("pirvate", Some(PRIVATE)),
            ("PRIVTE", Some(PRIVATE)),
            ("prviate", Some(PRIVATE)),
            ("priv", None),
            ("provider", None),
            ("private1", None),
            ("private-a", None),
            ("private.", None),
            ("db", None),
            ("", None),
            ("localhost", None),
            ("Loopback", Some("127.0.0.0/8,[::1]")),
            ("loopback.", None),
            ("Unix", Some("unix:/PATH")),
            ("unix.", None),
            ("unixes", None),
        ] {
            assert_eq!(meant(host), expected, "{host}");
        }
    }
    #[test]
    fn long_words_are_not_compared() {
        let word = |length: usize| vec![b'a'; length];
        assert_eq!(slips(&word(64), &word(63)), 1);
        assert_eq!(slips(&word(65), &word(64)), 65);
        assert_eq!(slips(b"", &word(1 << 20)), 1 << 20);
        assert_eq!(slips(&word(1 << 20), &word(1 << 20)), 1 << 20);
    }
}
