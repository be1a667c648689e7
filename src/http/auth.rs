//! Credentials and challenges: Basic (RFC 7617), Bearer (RFC 6750) and Digest (RFC 7616), for origins and for proxies.
//!
//! Pure: random bytes are passed in. Decides what to answer to a challenge, and when to give up. Secrets are in no error
//! and in no `Debug`.

mod challenge;

use super::{Invalid, url::Origin};
use crate::crypto::digest;
use challenge::{Algorithm, Challenge, Digest};
use data_encoding::{BASE64, HEXLOWER};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Answers to challenges of one request.
const MAX_ROUNDS: u8 = 2;
/// Origins that one client remembers.
const MAX_LOGINS: usize = 32;

/// Which schemes a user and password may be used with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schemes {
    /// Basic at once, and Digest if that is what is asked for.
    #[default]
    Any,
    Basic,
    /// The password itself is never sent.
    Digest,
}

/// Who we are, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    User { user: Vec<u8>, password: Vec<u8>, schemes: Schemes },
    Bearer(Vec<u8>),
}

impl Credentials {
    /// A user without control characters or colon, a password without control characters (RFC 7617 section 2).
    pub fn user(user: &[u8], password: &[u8], schemes: Schemes) -> Result<Credentials, Invalid> {
        if user.contains(&b':') {
            return Invalid::because("the user of `auth` contains a colon");
        }
        if user.iter().chain(password).any(u8::is_ascii_control) {
            return Invalid::because("user or password of `auth` contains a control character");
        }
        Ok(Credentials(Kind::User { user: user.to_vec(), password: password.to_vec(), schemes }))
    }

    /// A token as RFC 6750 section 2.1 writes it: visible ASCII.
    pub fn bearer(token: &[u8]) -> Result<Credentials, Invalid> {
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Invalid::because(
                "the bearer token of `auth` is empty or contains a character that tokens cannot have",
            );
        }
        Ok(Credentials(Kind::Bearer(token.to_vec())))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Credentials at work for one request, against one origin or one proxy. Make a new one for another: nothing of it goes
/// along.
#[derive(Clone)]
pub struct Auth {
    credentials: Credentials,
    /// What the server asked for last; the requests that follow say it at once (RFC 7616 section 3.4).
    nonce: Arc<Mutex<Option<Nonce>>>,
    /// Answers given to challenges.
    rounds: u8,
    /// The last [`Auth::header`] answered a challenge.
    answered: bool,
}

struct Nonce {
    digest: Digest,
    /// Requests made with it.
    count: u32,
}

impl Auth {
    pub fn new(credentials: Credentials) -> Auth {
        Auth { credentials, nonce: Arc::default(), rounds: 0, answered: false }
    }

    /// The value of `Authorization` (or `Proxy-Authorization`), if there is something to say yet. `target` is the
    /// request target as it is sent; `random` is fresh for each call.
    pub fn header(&mut self, method: &str, target: &str, random: &[u8; 16]) -> Option<Vec<u8>> {
        let (user, password, schemes) = match &self.credentials.0 {
            Kind::Bearer(token) => return Some([b"Bearer ", &**token].concat()),
            Kind::User { user, password, schemes } => (user, password, schemes),
        };
        let mut nonce = self.nonce();
        if let Some(Nonce { digest, count }) = nonce.as_mut() {
            *count = count.saturating_add(1);
            let cnonce = HEXLOWER.encode(random);
            let value = answer(digest, user, password, &Asked { method, target, cnonce: &cnonce, count: *count });
            drop(nonce);
            self.answered = true;
            return Some(value);
        }
        if *schemes == Schemes::Digest {
            return None;
        }
        Some(format!("Basic {}", BASE64.encode(&[&**user, b":", password].concat())).into_bytes())
    }

    /// Takes in the `WWW-Authenticate` (or `Proxy-Authenticate`) fields of a 401 (407). True if the same request is
    /// worth sending again, with a new [`Auth::header`].
    pub fn challenged<'a>(&mut self, fields: impl Iterator<Item = &'a [u8]>) -> bool {
        let Kind::User { schemes, .. } = &self.credentials.0 else { return false };
        if self.rounds >= MAX_ROUNDS || *schemes == Schemes::Basic {
            return false;
        }
        let offered: Vec<_> = fields.flat_map(challenge::parse).collect();
        // The strongest; of equals the one that is named first, as the server prefers it.
        let digests = offered.iter().filter_map(Challenge::digest);
        let Some(digest) = digests.rev().max_by_key(|digest| digest.algorithm) else { return false };
        // Only a nonce that grew old is a reason to say the same again.
        if self.answered && !digest.stale {
            return false;
        }
        self.rounds += 1;
        *self.nonce() = Some(Nonce { digest, count: 0 });
        true
    }

    fn nonce(&self) -> MutexGuard<'_, Option<Nonce>> {
        // A panic with the lock held leaves a whole nonce.
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the requests of one client learnt from challenges, by origin: the next one need not be refused first, and the
/// password is not sent in clear to a server that asked for Digest. Clones are the same.
#[derive(Clone, Default)]
pub struct Logins(Arc<Mutex<Vec<(Origin, Auth)>>>);

impl Logins {
    /// For a request to `origin` with these credentials.
    pub fn auth(&self, origin: &Origin, credentials: &Credentials) -> Auth {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(at, auth): &&(Origin, Auth)| at == origin && auth.credentials == *credentials;
        if let Some((_, auth)) = known.iter().find(same) {
            return auth.clone();
        }
        if known.len() >= MAX_LOGINS {
            known.remove(0);
        }
        let auth = Auth::new(credentials.clone());
        known.push((origin.clone(), auth.clone()));
        auth
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}

/// What a Digest answer is about.
struct Asked<'a> {
    method: &'a str,
    target: &'a str,
    cnonce: &'a str,
    count: u32,
}

/// RFC 7616 section 3.4; without `qop`, section 2.2 of RFC 2069, which old devices still speak.
fn answer(digest: &Digest, user: &[u8], password: &[u8], asked: &Asked<'_>) -> Vec<u8> {
    let Digest { algorithm, realm, nonce, .. } = digest;
    let hash = |parts: &[&[u8]]| HEXLOWER.encode(&algorithm.hash(&parts.join(&b':')));
    let count = format!("{:08x}", asked.count);
    let mut secret = hash(&[user, realm, password]);
    if digest.session {
        secret = hash(&[secret.as_bytes(), nonce, asked.cnonce.as_bytes()]);
    }
    let what = hash(&[asked.method.as_bytes(), asked.target.as_bytes()]);
    let response = match digest.qop {
        true => {
            let parts = [secret.as_bytes(), nonce, count.as_bytes(), asked.cnonce.as_bytes(), b"auth", what.as_bytes()];
            hash(&parts)
        }
        false => hash(&[secret.as_bytes(), nonce, what.as_bytes()]),
    };
    let name = match digest.userhash {
        true => hash(&[user, realm]).into_bytes(),
        false => user.to_vec(),
    };
    let mut out = b"Digest ".to_vec();
    let mut quoted = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        for byte in value {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out.extend_from_slice(b"\", ");
    };
    quoted("username", &name);
    quoted("realm", realm);
    quoted("nonce", nonce);
    quoted("uri", asked.target.as_bytes());
    if let Some(opaque) = &digest.opaque {
        quoted("opaque", opaque);
    }
    if digest.qop || digest.session {
        quoted("cnonce", asked.cnonce.as_bytes());
    }
    quoted("response", response.as_bytes());
    let mut bare = String::new();
    if digest.qop {
        bare += &format!("qop=auth, nc={count}, ");
    }
    if let Some(name) = &digest.name {
        bare += &format!("algorithm={name}, ");
    }
    if digest.userhash {
        bare += "userhash=true, ";
    }
    out.extend_from_slice(bare.as_bytes());
    out.truncate(out.len() - 2);
    out
}

impl Algorithm {
    fn hash(self, text: &[u8]) -> Vec<u8> {
        let digest = |algorithm| digest::digest(algorithm, text).as_ref().to_vec();
        match self {
            Algorithm::Md5 => <md5::Md5 as md5::Digest>::digest(text).to_vec(),
            Algorithm::Sha256 => digest(&digest::SHA256),
            Algorithm::Sha512of256 => digest(&digest::SHA512_256),
        }
    }
}

#[cfg(test)]
mod tests;
