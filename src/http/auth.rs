//! Credentials and challenges: Basic (RFC 7617), Bearer (RFC 6750) and Digest (RFC 7616), for origins and for proxies.
//!
//! Pure: random bytes are passed in. Decides the answer to a challenge, and when to stop. No error and no `Debug`
//! contains a secret.

mod challenge;

use super::{Invalid, proxy::Proxy, url::Origin};
use crate::{address::Endpoint, crypto::digest};
use challenge::{Algorithm, Challenge, Digest, Qop};
use data_encoding::{BASE64, HEXLOWER};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Answers to challenges of one request.
const MAX_ROUNDS: u8 = 2;
/// Origins and proxies that one client remembers.
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
    /// Nothing before a challenge, then Digest if it is offered, else Basic.
    Challenge,
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
    known: Arc<Mutex<Option<Known>>>,
    /// Answers given to challenges.
    rounds: u8,
    /// What the last [`Auth::header`] answered a challenge with.
    answered: Option<Manner>,
}

/// What a server asked for.
enum Known {
    Basic,
    Digest(Nonce),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Basic,
    Digest,
}

struct Nonce {
    digest: Digest,
    /// Requests made with it.
    count: u32,
}

/// A request's body on its way through the hash of a challenge: what `qop=auth-int` signs (RFC 7616 section 3.4.3).
pub struct BodyHash(Running);

enum Running {
    Md5(md5::Md5),
    Sha(digest::Context),
}

impl BodyHash {
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Running::Md5(hash) => md5::Digest::update(hash, piece),
            Running::Sha(hash) => hash.update(piece),
        }
    }

    fn finish(self) -> String {
        match self.0 {
            Running::Md5(hash) => HEXLOWER.encode(&md5::Digest::finalize(hash)),
            Running::Sha(hash) => HEXLOWER.encode(hash.finish().as_ref()),
        }
    }
}

impl Auth {
    pub fn new(credentials: Credentials) -> Auth {
        Auth { credentials, known: Arc::default(), rounds: 0, answered: None }
    }

    /// For [`Auth::header`], where it is to sign the body: show it all of that.
    pub fn body_hash(&self) -> Option<BodyHash> {
        match self.known().as_ref() {
            Some(Known::Digest(Nonce { digest, .. })) if digest.qop == Qop::Int => Some(digest.algorithm.running()),
            _ => None,
        }
    }

    /// The value of `Authorization` (or `Proxy-Authorization`), if there is something to say yet. `target` is the
    /// request target as it is sent; `random` is fresh for each call; `body` as [`Auth::body_hash`] gave it, without which a
    /// body that must be signed is not answered for.
    pub fn header(&mut self, method: &str, target: &str, random: &[u8; 16], body: Option<BodyHash>) -> Option<Vec<u8>> {
        let (user, password, schemes) = match &self.credentials.0 {
            Kind::Bearer(token) => return Some([b"Bearer ", &**token].concat()),
            Kind::User { user, password, schemes } => (user, password, schemes),
        };
        let mut known = self.known();
        let manner = match known.as_mut() {
            Some(Known::Digest(Nonce { digest, count })) => {
                let body = match digest.qop {
                    Qop::Int => body?.finish(),
                    _ => String::new(),
                };
                *count = count.saturating_add(1);
                let cnonce = HEXLOWER.encode(random);
                let asked = Asked { method, target, cnonce: &cnonce, count: *count, body: &body };
                let value = answer(digest, user, password, &asked);
                drop(known);
                self.answered = Some(Manner::Digest);
                return Some(value);
            }
            Some(Known::Basic) => Some(Manner::Basic),
            None if matches!(schemes, Schemes::Digest | Schemes::Challenge) => return None,
            None => None,
        };
        let value = format!("Basic {}", BASE64.encode(&[&**user, b":", password].concat())).into_bytes();
        drop(known);
        self.answered = manner;
        Some(value)
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
        let known = match digests.rev().max_by_key(|digest| digest.algorithm) {
            // Only a nonce that grew old is a reason to say the same again.
            Some(digest) if self.answered == Some(Manner::Digest) && !digest.stale => return false,
            Some(digest) => Known::Digest(Nonce { digest, count: 0 }),
            None if *schemes != Schemes::Challenge || self.answered.is_some() => return false,
            None if offered.iter().any(Challenge::is_basic) => Known::Basic,
            None => return false,
        };
        self.rounds += 1;
        *self.known() = Some(known);
        true
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        // A panic with the lock held leaves a whole nonce.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the requests of one client learnt from challenges, by origin or proxy: the next one need not be refused first, and
/// the password is not sent in clear to a server that asked for Digest. Clones are the same.
#[derive(Clone, Default)]
pub struct Logins(Arc<Mutex<Vec<(Place, Auth)>>>);

/// Whose challenges they were. A proxy is never the origin that stands at the same place.
#[derive(PartialEq, Eq)]
enum Place {
    Origin(Origin),
    Proxy(Endpoint),
}

impl Logins {
    /// For a request to `origin` with these credentials.
    pub fn auth(&self, origin: &Origin, credentials: &Credentials) -> Auth {
        self.at(Place::Origin(origin.clone()), credentials)
    }

    /// For a request that goes through that proxy, if there are credentials for it.
    pub fn proxy(&self, proxy: &Proxy) -> Option<Auth> {
        Some(self.at(Place::Proxy(proxy.endpoint.clone()), &proxy.credentials()?))
    }

    fn at(&self, place: Place, credentials: &Credentials) -> Auth {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(at, auth): &&(Place, Auth)| *at == place && auth.credentials == *credentials;
        if let Some((_, auth)) = known.iter().find(same) {
            return auth.clone();
        }
        if known.len() >= MAX_LOGINS {
            known.remove(0);
        }
        let auth = Auth::new(credentials.clone());
        known.push((place, auth.clone()));
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
    /// The hash of the body, for `qop=auth-int`.
    body: &'a str,
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
    let (method, target) = (asked.method.as_bytes(), asked.target.as_bytes());
    let what = match digest.qop {
        Qop::Int => hash(&[method, target, asked.body.as_bytes()]),
        _ => hash(&[method, target]),
    };
    let word = digest.qop.word();
    let response = match word {
        Some(word) => {
            let (cnonce, what) = (asked.cnonce.as_bytes(), what.as_bytes());
            hash(&[secret.as_bytes(), nonce, count.as_bytes(), cnonce, word.as_bytes(), what])
        }
        None => hash(&[secret.as_bytes(), nonce, what.as_bytes()]),
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
    if word.is_some() || digest.session {
        quoted("cnonce", asked.cnonce.as_bytes());
    }
    quoted("response", response.as_bytes());
    let mut bare = String::new();
    if let Some(word) = word {
        bare += &format!("qop={word}, nc={count}, ");
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

    fn running(self) -> BodyHash {
        BodyHash(match self {
            Algorithm::Md5 => Running::Md5(md5::Digest::new()),
            Algorithm::Sha256 => Running::Sha(digest::Context::new(&digest::SHA256)),
            Algorithm::Sha512of256 => Running::Sha(digest::Context::new(&digest::SHA512_256)),
        })
    }
}

#[cfg(test)]
mod tests;
