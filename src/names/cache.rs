//! Answers, kept for their TTL. Belongs to one capability; the key contains the server and the transport too, so that
//! the answer of one server is never given for another.

use super::{
    ask::{Fault, Found},
    record::{Record, Type},
};
use crate::{address::Host, deadline::now};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Answers kept at once.
const MAX_ENTRIES: usize = 512;

/// Larger answers are asked for again.
const MAX_SIZE: usize = 16 << 10;

/// No answer is believed longer than this, whatever its TTL.
const MAX_AGE: u32 = 24 * 3600;

/// No negative answer is (RFC 2308 §5 asks for a limit of the resolver's own).
const MAX_NEGATIVE_AGE: u32 = 900;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub host: Host,
    pub absolute: bool,
    pub kind: Option<Type>,
    pub server: Option<SocketAddr>,
    pub tcp: bool,
}

#[derive(Debug)]
struct Entry {
    until: Instant,
    /// `Err(exists)`: nothing was found, though the name may exist.
    records: Result<Arc<[Record]>, bool>,
}

#[derive(Debug, Default)]
pub struct Cache(HashMap<Key, Entry>);

impl Cache {
    pub fn find(&self, key: &Key) -> Option<Result<Arc<[Record]>, Fault>> {
        let entry = self.0.get(key).filter(|entry| now() < entry.until)?;
        Some(entry.records.clone().map_err(|exists| Fault::Nothing { exists, ttl: 0 }))
    }

    /// Keeps an answer, also a negative one; no failure is kept.
    pub fn keep(&mut self, key: Key, answer: &Result<Found, Fault>) {
        let (records, ttl) = match answer {
            Ok(found) if found.records.iter().map(Record::size).sum::<usize>() > MAX_SIZE => return,
            Ok(found) => (Ok(Arc::clone(&found.records)), found.ttl.min(MAX_AGE)),
            Err(Fault::Nothing { exists, ttl }) => (Err(*exists), (*ttl).min(MAX_NEGATIVE_AGE)),
            Err(_) => return,
        };
        if ttl == 0 {
            self.0.remove(&key);
            return;
        }
        let now = now();
        if self.0.len() >= MAX_ENTRIES && !self.0.contains_key(&key) {
            self.0.retain(|_, entry| now < entry.until);
            if self.0.len() >= MAX_ENTRIES {
                let first = self.0.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone());
                first.and_then(|first| self.0.remove(&first));
            }
        }
        self.0.insert(key, Entry { until: now + Duration::from_secs(ttl.into()), records });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key { host: Host::parse(&format!("n{n}.test")).unwrap(), absolute: false, kind: None, server: None, tcp: false }
    }

    fn found(size: usize, ttl: u32) -> Result<Found, Fault> {
        Ok(Found { records: vec![Record::Plain(vec![b'x'; size].into())].into(), ttl })
    }

    #[test]
    fn what_is_kept() {
        let rows = [
            ("an answer", found(9, 60), true),
            ("without a TTL", found(9, 0), false),
            ("too large", found(MAX_SIZE, 60), false),
            ("nothing, with a SOA", Err(Fault::Nothing { exists: false, ttl: 60 }), true),
            ("nothing, without", Err(Fault::Nothing { exists: false, ttl: 0 }), false),
            ("a failure", Err(Fault::Silence), false),
        ];
        for (what, answer, kept) in rows {
            let mut cache = Cache::default();
            cache.keep(key(1), &answer);
            assert_eq!(cache.find(&key(1)).is_some(), kept, "{what}");
            let other = Key { server: Some(([127, 0, 0, 1], 53).into()), ..key(1) };
            assert!(cache.find(&other).is_none(), "{what}");
        }
    }

    #[test]
    fn the_soonest_to_expire_makes_room() {
        let mut cache = Cache::default();
        for n in 0..=MAX_ENTRIES {
            cache.keep(key(n), &found(9, 60 + u32::try_from(n).unwrap()));
        }
        assert_eq!(cache.0.len(), MAX_ENTRIES);
        assert!(cache.find(&key(0)).is_none() && cache.find(&key(MAX_ENTRIES)).is_some());
    }
}
