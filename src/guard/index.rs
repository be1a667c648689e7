//! The routes of one host, indexed by the beginning of their patterns, so that their number does not matter.
//!
//! A tree of literal segments: a route is where the fixed segments at its beginning end. The walk of a path through the
//! tree meets all the routes that may match it, and few others; a [`Sieve`] excludes most of those. No other memory of
//! an excluded route is touched: with many rules the cost of a decision is cache misses.
//!
//! Segments are compared by marks; a collision only leads to a pattern that does not match.

use super::{
    path::Segments,
    pattern::{Form, Pattern},
};
use std::collections::BTreeMap;

/// Deeper than this the segments of a pattern are not looked at here.
const DEPTH: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// The root first, if there is any entry.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// By marks.
    below: BTreeMap<u64, usize>,
    /// In ascending order.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    rule: u32,
    /// `None` for every path.
    route: Option<u32>,
    sieve: Sieve,
}

/// What can be said of the paths that a pattern matches without looking at it.
#[derive(Clone, Copy, Debug)]
struct Sieve {
    /// How many segments they have.
    least: u32,
    most: u32,
    /// Segments that each of them has: bits by their marks.
    texts: u64,
}

impl Sieve {
    const EVERY: Sieve = Sieve { least: 0, most: u32::MAX, texts: 0 };

    fn of(pattern: &Pattern) -> Sieve {
        let one = |form: Form<'_>| {
            let (least, most) = form.length();
            Sieve {
                least: number(least),
                most: most.map_or(u32::MAX, number),
                texts: form.texts().fold(0, |texts, text| texts | bit(mark(text))),
            }
        };
        let either = |one: Sieve, other: Sieve| Sieve {
            least: one.least.min(other.least),
            most: one.most.max(other.most),
            texts: one.texts & other.texts,
        };
        pattern.forms().map(one).reduce(either).unwrap_or(Sieve::EVERY)
    }

    fn takes(&self, segments: u32, texts: u64) -> bool {
        (self.least..=self.most).contains(&segments) && self.texts & texts == self.texts
    }
}

impl Entry {
    fn place(&self) -> (u32, Option<u32>) {
        (self.rule, self.route)
    }
}

/// Nothing that is counted here comes near the end of them.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Short for a segment (FNV-1a). Only the author of the rules could make two share one, and they gain nothing by it.
fn mark(segment: &str) -> u64 {
    let one = |mark: u64, byte: u8| (mark ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    segment.bytes().fold(0xcbf2_9ce4_8422_2325, one)
}

fn bit(mark: u64) -> u64 {
    1 << (mark >> 58)
}

impl Index {
    /// Adds a route of a rule, or a rule without routes, in ascending order.
    pub fn add(&mut self, rule: usize, route: Option<(usize, &Pattern)>) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let (pattern, mut at) = (route.map(|(_, pattern)| pattern), 0);
        for segment in pattern.into_iter().flat_map(Pattern::beginning).take(DEPTH) {
            let new = self.nodes.len();
            at = *self.nodes[at].below.entry(mark(segment)).or_insert(new);
            if at == new {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].entries.push(Entry {
            rule: number(rule),
            route: route.map(|(nth, _)| number(nth)),
            sieve: pattern.map_or(Sieve::EVERY, Sieve::of),
        });
    }

    /// The rules and routes (`None`: of every path) that a path may belong to, in ascending order.
    pub fn find(&self, path: &Segments<'_>) -> impl Iterator<Item = (usize, Option<usize>)> {
        let (mut marks, mut texts) = ([0; DEPTH], 0);
        for at in 0..path.len() {
            let mark = mark(path.get(at));
            texts |= bit(mark);
            if let Some(place) = marks.get_mut(at) {
                *place = mark;
            }
        }
        let segments = number(path.len());
        // The entries of each node on the way, the first one that the sieve takes in front.
        let mut lists: [&[Entry]; DEPTH + 1] = [&[]; DEPTH + 1];
        let sift = move |list: &mut &[Entry]| {
            while let Some((first, rest)) = list.split_first()
                && !first.sieve.takes(segments, texts)
            {
                *list = rest;
            }
        };
        let (mut node, mut depth) = (self.nodes.first(), 0);
        while let Some(here) = node {
            lists[depth] = &here.entries;
            sift(&mut lists[depth]);
            let mark = marks[..path.len().min(DEPTH)].get(depth);
            node = mark.and_then(|mark| here.below.get(mark)).map(|at| &self.nodes[*at]);
            depth += 1;
        }
        std::iter::from_fn(move || {
            let lists = lists[..depth].iter_mut().filter(|list| !list.is_empty());
            let list = lists.min_by_key(|list| list[0].place())?;
            let (first, rest) = list.split_first()?;
            *list = rest;
            sift(list);
            Some((first.rule as usize, first.route.map(|route| route as usize)))
        })
    }
}
