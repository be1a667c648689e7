//! Challenges of a server: the fields `WWW-Authenticate` and `Proxy-Authenticate` (RFC 9110 section 11.6.1), read
//! strictly up to the first fault. Knows nothing of secrets.

use super::super::{fields::trim, is_token};

/// Bytes of one parameter; what a Digest challenge says comes back in our request.
const MAX_VALUE: usize = 4096;

/// One challenge: a scheme and its parameters.
#[derive(Debug, PartialEq)]
pub(crate) struct Challenge<'a> {
    pub scheme: &'a [u8],
    /// Names as they came; values without quotes.
    pub params: Vec<(&'a [u8], Vec<u8>)>,
}

/// Weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    Md5,
    Sha256,
    /// SHA-512/256.
    Sha512of256,
}

/// What a Digest answer protects (RFC 7616 section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qop {
    /// As RFC 2069 had it: the server knows none.
    None,
    /// Method and target.
    Auth,
    /// These and the body.
    Int,
}

impl Qop {
    pub fn word(self) -> Option<&'static str> {
        match self {
            Qop::None => None,
            Qop::Auth => Some("auth"),
            Qop::Int => Some("auth-int"),
        }
    }
}

/// A Digest challenge that we can answer.
#[derive(Clone, PartialEq)]
pub(crate) struct Digest {
    pub algorithm: Algorithm,
    /// The algorithm as the server wrote it, if it did.
    pub name: Option<String>,
    /// The `-sess` variant.
    pub session: bool,
    pub realm: Vec<u8>,
    pub nonce: Vec<u8>,
    pub opaque: Option<Vec<u8>>,
    /// `auth` where the server takes it: a body need not be read twice then.
    pub qop: Qop,
    pub stale: bool,
    pub userhash: bool,
}

impl Challenge<'_> {
    pub fn is_basic(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"basic")
    }

    /// `None` if it is no Digest, or one that we must not or cannot answer: an unknown algorithm, no nonce, a parameter
    /// given twice, no `qop` that we know.
    pub fn digest(&self) -> Option<Digest> {
        if !self.scheme.eq_ignore_ascii_case(b"digest") {
            return None;
        }
        let twice =
            |at: usize, name: &[u8]| self.params.iter().skip(at + 1).any(|(other, _)| other.eq_ignore_ascii_case(name));
        if self.params.iter().enumerate().any(|(at, (name, value))| twice(at, name) || !is_fit(value)) {
            return None;
        }
        let param = |name: &str| {
            let mut named = self.params.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
            named.next().map(|(_, value)| value)
        };
        let is_true = |name| param(name).is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
        let name = match param("algorithm") {
            Some(name) => Some(String::from_utf8(name.clone()).ok()?),
            None => None,
        };
        let (algorithm, session) = match name.as_deref().unwrap_or("MD5").to_ascii_lowercase().as_str() {
            "md5" => (Algorithm::Md5, false),
            "md5-sess" => (Algorithm::Md5, true),
            "sha-256" => (Algorithm::Sha256, false),
            "sha-256-sess" => (Algorithm::Sha256, true),
            "sha-512-256" => (Algorithm::Sha512of256, false),
            "sha-512-256-sess" => (Algorithm::Sha512of256, true),
            _ => return None,
        };
        let qop = match param("qop") {
            Some(list) => {
                let has = |qop: Qop| {
                    let named =
                        |word: &[u8]| qop.word().is_some_and(|known| word.eq_ignore_ascii_case(known.as_bytes()));
                    list.split(|b| *b == b',').any(|word| named(trim(word)))
                };
                [Qop::Auth, Qop::Int].into_iter().find(|qop| has(*qop))?
            }
            None => Qop::None,
        };
        Some(Digest {
            algorithm,
            name,
            session,
            realm: param("realm")?.clone(),
            nonce: param("nonce").filter(|nonce| !nonce.is_empty())?.clone(),
            opaque: param("opaque").cloned(),
            qop,
            stale: is_true("stale"),
            userhash: is_true("userhash"),
        })
    }
}

fn is_fit(value: &[u8]) -> bool {
    value.len() <= MAX_VALUE && !value.iter().any(|b| b.is_ascii_control() && *b != b'\t')
}

/// The challenges of one field line. What comes after a fault is not believed.
pub(crate) fn parse(line: &[u8]) -> Vec<Challenge<'_>> {
    let mut reader = Reader(line);
    let mut found: Vec<Challenge<'_>> = Vec::new();
    while reader.commas() {
        let Some(word) = reader.token() else { break };
        // `name =` goes on with the last challenge; a scheme is followed by a blank, a comma or nothing.
        match (reader.value(), found.last_mut()) {
            (Ok(Some(value)), Some(last)) => last.params.push((word, value)),
            (Ok(None), _) => {
                found.push(Challenge { scheme: word, params: Vec::new() });
                reader.token68();
            }
            _ => {
                // The challenge that the fault is in is not whole.
                found.pop();
                break;
            }
        }
    }
    found
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Skips blanks and commas. False at the end.
    fn commas(&mut self) -> bool {
        self.skip(|b| matches!(b, b' ' | b'\t' | b','));
        !self.0.is_empty()
    }

    fn blanks(&mut self) {
        self.skip(|b| matches!(b, b' ' | b'\t'));
    }

    fn skip(&mut self, what: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|b| !what(*b)).unwrap_or(self.0.len());
        let (front, rest) = self.0.split_at(end);
        self.0 = rest;
        front
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let token = self.skip(|b| is_token(&[b]));
        if token.is_empty() { None } else { Some(token) }
    }

    /// The value after `=`, to its end: a comma or the line's. `None` if there is no `=`, an error if it is no value.
    fn value(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let before = self.0;
        self.blanks();
        let [b'=', rest @ ..] = self.0 else {
            self.0 = before;
            return Ok(None);
        };
        self.0 = rest;
        self.blanks();
        let value = match self.0 {
            [b'"', rest @ ..] => {
                self.0 = rest;
                self.quoted().ok_or(())?
            }
            _ => self.token().ok_or(())?.to_vec(),
        };
        self.blanks();
        if self.0.first().is_none_or(|b| *b == b',') { Ok(Some(value)) } else { Err(()) }
    }

    /// After the opening quote.
    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        loop {
            value.extend_from_slice(self.skip(|b| !matches!(b, b'"' | b'\\')));
            match self.0 {
                [b'\\', byte, rest @ ..] => {
                    value.push(*byte);
                    self.0 = rest;
                }
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return Some(value);
                }
                _ => return None,
            }
        }
    }

    /// Skips what some schemes have instead of parameters: one word that a comma or the end follows.
    fn token68(&mut self) {
        let before = self.0;
        self.blanks();
        let word = self.skip(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
        self.skip(|b| b == b'=');
        self.blanks();
        if word.is_empty() || self.0.first().is_some_and(|b| *b != b',') {
            self.0 = before;
        }
    }
}
