//! A jar of cookies (RFC 6265bis), with the public suffix list.
//!
//! Pure: the time is passed in, and a jar is saved and loaded as plain records. Its size is bounded, and the cookies to
//! send are chosen for each hop by scheme, host and path. Messages contain names of cookies, never values.
//!
//! No web page starts the requests, so each is same-site: `SameSite` is kept in the records only.

pub mod date;
mod line;

use super::url::{HttpUrl, Origin, Scheme};
use crate::{address::Host, panics::failpoint};
use line::Line;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Cookies of one domain.
pub const MAX_PER_DOMAIN: usize = 50;
/// Cookies in all.
pub const MAX_IN_ALL: usize = 3000;
/// Bytes of one request's `Cookie` value. Servers refuse longer lines, so a server could shut us out of its neighbours.
pub const MAX_HEADER: usize = 8 * 1024 - "Cookie: ".len() - 2;
/// No cookie is kept for longer: 400 days.
const MAX_AGE: u64 = 400 * 86_400;

/// When another site's page may cause a cookie to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// The server said nothing that is known.
    #[default]
    Default,
    None,
    Lax,
    Strict,
}

impl SameSite {
    /// Anything unknown is [`SameSite::Default`].
    pub fn parse(text: &[u8]) -> SameSite {
        [SameSite::None, SameSite::Lax, SameSite::Strict]
            .into_iter()
            .find(|known| known.name().as_bytes().eq_ignore_ascii_case(text))
            .unwrap_or_default()
    }

    pub fn name(self) -> &'static str {
        match self {
            SameSite::Default => "default",
            SameSite::None => "none",
            SameSite::Lax => "lax",
            SameSite::Strict => "strict",
        }
    }
}

/// A cookie as data.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    /// In canonical form, without a leading dot.
    pub domain: String,
    /// True if hosts below `domain` do not get it.
    pub host_only: bool,
    pub path: Vec<u8>,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: SameSite,
    /// Seconds since 1970; `None` lasts as long as the jar.
    pub expires: Option<u64>,
    /// Seconds since 1970.
    pub created: u64,
}

impl fmt::Debug for Record {
    // The value is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, path) = (self.name.escape_ascii(), self.path.escape_ascii());
        write!(f, "Record({name} of {}{path})", self.domain)
    }
}

struct Cookie {
    record: Record,
    /// Counts up: which of two was made first.
    born: u64,
    /// Counts up: which of two was set last.
    set: u64,
}

impl Cookie {
    fn is_over(&self, now: u64) -> bool {
        self.record.expires.is_some_and(|at| at <= now)
    }
}

/// Cookies by domain.
#[derive(Default)]
pub struct Jar {
    // Host-only cookies and those for subdomains too are on the shelf of their domain.
    shelves: BTreeMap<Box<str>, Vec<Cookie>>,
    count: usize,
    turn: u64,
}

impl Jar {
    pub fn new() -> Jar {
        Jar::default()
    }

    /// Takes in one `Set-Cookie` field of a response from `url` (section 5.7). `now` is in seconds since 1970. False
    /// if it was ignored.
    pub fn store(&mut self, url: &HttpUrl, set_cookie: &[u8], now: u64) -> bool {
        let Some(line) = Line::parse(set_cookie) else { return false };
        let host = &url.origin().host;
        let Some((domain, host_only)) = scope(host, line.domain) else { return false };
        let age = |age| u64::try_from(age).ok().filter(|age| *age > 0).map_or(0, |age| now.saturating_add(age));
        let expires = line.max_age.map(age).or(line.expires);
        let record = Record {
            name: line.name.to_vec(),
            value: line.value.to_vec(),
            domain,
            host_only,
            path: line.path.unwrap_or_else(|| default_path(url.path().as_bytes())).to_vec(),
            secure: line.secure,
            http_only: line.http_only,
            same_site: line.same_site,
            expires: expires.map(|at| at.min(now.saturating_add(MAX_AGE))),
            created: now,
        };
        let safe = is_trustworthy(url.origin());
        if !prefix_holds(&record, line.path.is_some()) || (!safe && (record.secure || self.is_guarded(&record, now))) {
            return false;
        }
        failpoint("cookie, with its lock");
        self.put(record, now);
        true
    }

    /// The value of `Cookie` for a request to `url`: longer paths first, then older cookies. No more than
    /// [`MAX_HEADER`] bytes; what does not fit is left out.
    pub fn header(&self, url: &HttpUrl, now: u64) -> Option<Vec<u8>> {
        let origin = url.origin();
        let (path, trustworthy) = (url.path().as_bytes(), is_trustworthy(origin));
        let name = origin.host.to_string();
        let mut found = Vec::new();
        for (domain, exact) in domains(&origin.host, &name) {
            let Some(shelf) = self.shelves.get(domain) else { continue };
            found.extend(shelf.iter().filter(|cookie| {
                let record = &cookie.record;
                (exact || !record.host_only)
                    && (!record.secure || trustworthy)
                    && !cookie.is_over(now)
                    && path_matches(path, &record.path)
            }));
        }
        found.sort_by_key(|cookie| (std::cmp::Reverse(cookie.record.path.len()), cookie.born));
        let mut out = Vec::new();
        for Record { name, value, .. } in found.into_iter().map(|cookie| &cookie.record) {
            let (between, equals): (&[u8], &[u8]) =
                (if out.is_empty() { b"" } else { b"; " }, if name.is_empty() { b"" } else { b"=" });
            let parts = [between, name, equals, value];
            if out.len() + parts.iter().map(|part| part.len()).sum::<usize>() <= MAX_HEADER {
                parts.into_iter().for_each(|part| out.extend_from_slice(part));
            }
        }
        Some(out).filter(|out| !out.is_empty())
    }

    /// What is in the jar and not over, oldest first.
    pub fn records(&self, now: u64) -> Vec<Record> {
        let mut all: Vec<_> = self.shelves.values().flatten().filter(|cookie| !cookie.is_over(now)).collect();
        all.sort_by_key(|cookie| cookie.born);
        all.into_iter().map(|cookie| cookie.record.clone()).collect()
    }

    /// Adds what was saved, oldest first, by the same rules as what servers send. The number of those that were taken.
    pub fn load(&mut self, records: impl IntoIterator<Item = Record>, now: u64) -> usize {
        let mut taken = 0;
        for mut record in records {
            let Ok(host) = Host::parse(&record.domain) else { continue };
            record.domain = host.to_string();
            let apart = record.host_only || is_shareable(&host);
            let path = record.path.starts_with(b"/")
                && record.path.len() <= line::MAX_ATTRIBUTE
                && !record.path.iter().any(|b| b.is_ascii_control() || *b == b';');
            let pair = line::is_fit(&record.name, &record.value)
                && !record.name.iter().any(|b| matches!(b, b'=' | b';'))
                && !record.value.contains(&b';');
            if apart && path && pair && prefix_holds(&record, true) {
                record.expires = record.expires.map(|at| at.min(now.saturating_add(MAX_AGE)));
                self.put(record, now);
                taken += 1;
            }
        }
        taken
    }

    /// How many cookies are held, over or not.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn clear(&mut self) {
        *self = Jar::new();
    }

    /// True if a cookie from plain http would hide one that only https may set: the same name, on overlapping domains
    /// and paths (section 5.7, "leave secure cookies alone").
    fn is_guarded(&self, new: &Record, now: u64) -> bool {
        let overlap = |domain: &str| is_below(domain, &new.domain) || is_below(&new.domain, domain);
        self.shelves.iter().filter(|(domain, _)| overlap(domain)).flat_map(|(_, shelf)| shelf).any(|cookie| {
            let old = &cookie.record;
            old.secure && old.name == new.name && path_matches(&new.path, &old.path) && !cookie.is_over(now)
        })
    }

    /// Replaces the cookie of the same name, domain and path; makes room.
    fn put(&mut self, mut record: Record, now: u64) {
        self.turn += 1;
        let (mut born, set) = (self.turn, self.turn);
        let shelf = self.shelves.entry(record.domain.as_str().into()).or_default();
        let same =
            |old: &Record| old.name == record.name && old.path == record.path && old.host_only == record.host_only;
        if let Some(at) = shelf.iter().position(|old| same(&old.record)) {
            let old = shelf.swap_remove(at);
            self.count -= 1;
            if !old.is_over(now) {
                (born, record.created) = (old.born, old.record.created);
            }
        }
        let cookie = Cookie { record, born, set };
        if !cookie.is_over(now) {
            let most = shelf.len() >= MAX_PER_DOMAIN;
            let domain = if most { cookie.record.domain.clone() } else { String::new() };
            shelf.push(cookie);
            self.count += 1;
            if most {
                self.drop_one(Some(&domain), now);
            } else if self.count > MAX_IN_ALL {
                self.drop_one(None, now);
            }
        } else if shelf.is_empty() {
            let domain = cookie.record.domain;
            self.shelves.remove(domain.as_str());
        }
    }

    /// Drops one cookie, of `domain` or of all: one that is over, else one that any http could have set, else any; the
    /// one whose last setting is longest ago.
    fn drop_one(&mut self, domain: Option<&str>, now: u64) {
        let rank = |cookie: &Cookie| (!cookie.is_over(now), cookie.record.secure, cookie.set);
        let shelves = self.shelves.iter().filter(|(name, _)| domain.is_none_or(|domain| domain == &***name));
        let cookies =
            shelves.flat_map(|(name, shelf)| shelf.iter().enumerate().map(move |(at, one)| (rank(one), name, at)));
        let Some((_, name, at)) = cookies.min_by_key(|(rank, ..)| *rank) else { return };
        let name = name.clone();
        if let Some(shelf) = self.shelves.get_mut(&name) {
            shelf.swap_remove(at);
            self.count -= 1;
            if shelf.is_empty() {
                self.shelves.remove(&name);
            }
        }
    }
}

/// A jar that several requests use. Clones are the same jar.
#[derive(Clone, Debug, Default)]
pub struct SharedJar(Arc<Mutex<Jar>>);

impl SharedJar {
    /// True if both are one jar.
    pub fn is(&self, other: &SharedJar) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn lock(&self) -> MutexGuard<'_, Jar> {
        // A panic with the lock held leaves whole cookies.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jar({} cookies)", self.count)
    }
}

/// True for the origins whose bytes nobody else on the network sees: `Secure` cookies are for them (Secure Contexts,
/// section 3.1: https, loopback addresses, `localhost` and names below it).
fn is_trustworthy(origin: &Origin) -> bool {
    origin.scheme == Scheme::Https || origin.host.is_loopback()
}

/// Which hosts a cookie is for: its domain, and true if only that very host. `None` if `host` may not say so.
fn scope(host: &Host, attribute: &[u8]) -> Option<(String, bool)> {
    let own = host.to_string();
    if attribute.is_empty() {
        return Some((own, true));
    }
    if !attribute.is_ascii() {
        return None;
    }
    let domain = String::from_utf8(attribute.to_ascii_lowercase()).ok()?;
    // An address has no domain but itself, as servers that put their own host there write it (RFC 6265bis section 5.7).
    if host.ip().is_some() {
        return Host::parse(&domain).is_ok_and(|asked| asked == *host).then_some((own, true));
    }
    // What canonicalising changes, a trailing dot among it, names no host of ours.
    let asked = Host::parse(&domain).ok().filter(|asked| asked.name() == Some(&domain))?;
    if !is_below(host.name()?, &domain) {
        return None;
    }
    match is_shareable(&asked) {
        true => Some((domain, false)),
        // A public suffix can be a host as well: then the cookie is its own.
        false if domain == own => Some((own, true)),
        false => None,
    }
}

/// True if cookies may be for all hosts below it: a name that is not a public suffix.
fn is_shareable(host: &Host) -> bool {
    host.name().and_then(psl2::lookup).is_some_and(|domain| !domain.is_public_suffix())
}

/// True if `name` is `domain` or below it. Both are canonical.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// The shelves to look at for `host`, displayed as `name`: its own (true), and for names each domain above it.
fn domains<'a>(host: &Host, name: &'a str) -> impl Iterator<Item = (&'a str, bool)> {
    let above = if host.ip().is_some() { "" } else { name };
    let dots = above.match_indices('.').filter_map(|(at, _)| above.get(at + 1..));
    std::iter::once((name, true)).chain(dots.map(|domain| (domain, false)))
}

/// Section 5.1.4.
fn default_path(path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', path) {
        Some(at @ 1..) if path.starts_with(b"/") => path.get(..at).unwrap_or(b"/"),
        _ => b"/",
    }
}

/// Section 5.1.4: `cookie` is `path`, or a directory above it.
fn path_matches(path: &[u8], cookie: &[u8]) -> bool {
    path.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || cookie.ends_with(b"/") || rest.starts_with(b"/"))
}

/// What names promise with `__Secure-` and `__Host-`, however they spell it; a value without a name must not look like
/// one (section 5.7).
fn prefix_holds(record: &Record, has_path: bool) -> bool {
    let starts = |text: &[u8], prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let text = if record.name.is_empty() { &record.value } else { &record.name };
    if starts(text, "__Secure-") {
        return !record.name.is_empty() && record.secure;
    }
    if starts(text, "__Host-") {
        return !record.name.is_empty() && record.secure && record.host_only && has_path && record.path == b"/";
    }
    true
}

#[cfg(test)]
mod tests;
