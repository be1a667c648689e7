//! The number of a capability's running look-ups in the system's resolver, whose threads cannot be ended: a look-up
//! that was given up counts until the system answers it.
//!
//! Each capability has its own places, and others for its narrowed ones together, so that the hanging look-ups of a
//! narrowed one take no place from its parent or its siblings. Pure, except for the counter of forks.

use crate::fork::generation;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Look-ups of one capability.
const OWN: u32 = 128;

/// Look-ups of all that was narrowed from one capability, and from the one of the launch.
const BELOW: u32 = 256;
const BELOW_ROOT: u32 = 1024;

/// The counts of one capability. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Pending(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    own: Count,
    below: Count,
    most_below: u32,
    parent: Option<Pending>,
}

/// A place that is taken, here and with each capability that this one came from, until it is dropped.
#[derive(Debug)]
pub struct Place(Pending);

impl Pending {
    pub fn root() -> Pending {
        Pending::new(BELOW_ROOT, None)
    }

    /// For a capability that was narrowed from this one.
    pub fn narrowed(&self) -> Pending {
        Pending::new(BELOW, Some(self.clone()))
    }

    fn new(most_below: u32, parent: Option<Pending>) -> Pending {
        Pending(Arc::new(Counts { own: Count::default(), below: Count::default(), most_below, parent }))
    }

    /// A place for one more look-up, if there is one.
    pub fn begin(&self) -> Option<Place> {
        if !self.0.own.add(OWN) {
            return None;
        }
        for (passed, above) in self.above().enumerate() {
            if !above.0.below.add(above.0.most_below) {
                self.above().take(passed).for_each(|above| above.0.below.remove());
                self.0.own.remove();
                return None;
            }
        }
        Some(Place(self.clone()))
    }

    /// The capabilities that this one came from, the nearest first.
    fn above(&self) -> impl Iterator<Item = &Pending> {
        std::iter::successors(self.0.parent.as_ref(), |above| above.0.parent.as_ref())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.above().for_each(|above| above.0.below.remove());
        self.0.0.own.remove();
    }
}

/// A number, and the generation of the process that it is about: a child of `fork` has none of its parent's threads, and
/// begins at zero.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn read(packed: u64, now: u64) -> u32 {
        let (generation, count) = (packed >> 32, packed & u64::from(u32::MAX));
        if generation == now { u32::try_from(count).unwrap_or(u32::MAX) } else { 0 }
    }

    fn update(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        let now = generation() & u64::from(u32::MAX);
        let changed = |packed| change(Count::read(packed, now)).map(|count| now << 32 | u64::from(count));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed).is_ok()
    }

    fn add(&self, most: u32) -> bool {
        self.update(|count| (count < most).then_some(count + 1))
    }

    fn remove(&self) {
        self.update(|count| Some(count.saturating_sub(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(pending: &Pending) -> Vec<Place> {
        std::iter::from_fn(|| pending.begin()).take(5000).collect()
    }

    #[test]
    fn one_takes_no_place_of_another() {
        let root = Pending::root();
        let (one, two) = (root.narrowed(), root.narrowed());
        let full = fill(&one);
        assert_eq!(full.len(), 128);
        assert_eq!((fill(&two).len(), fill(&root).len()), (128, 128));
        // However many are narrowed from it, together they have so many places, and it keeps its own.
        drop(full);
        let more: Vec<_> = (0..20).map(|_| one.narrowed()).flat_map(|child| fill(&child.narrowed())).collect();
        assert_eq!(more.len(), 256);
        assert_eq!((fill(&one).len(), fill(&two).len(), fill(&root).len()), (128, 128, 128));
        // Each place is given back, here and above.
        drop(more);
        let all: Vec<_> = (0..40).flat_map(|_| fill(&root.narrowed())).collect();
        assert_eq!((all.len(), one.begin().is_none(), fill(&root).len()), (1024, true, 128));
        drop(all);
        for pending in [&root, &one, &two] {
            assert_eq!(
                (Count::read(pending.0.own.0.load(Ordering::Relaxed), generation()), fill(pending).len()),
                (0, 128)
            );
        }
    }

    #[test]
    fn a_child_of_fork_begins_at_zero() {
        let count = Count(AtomicU64::new((generation() + 1) << 32 | 128));
        assert!(count.add(1) && !count.add(1));
        count.remove();
        assert!(count.add(1));
    }
}
