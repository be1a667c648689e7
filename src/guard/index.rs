//! The routes of one host by what their patterns begin with, so that their number does not matter either.
//!
//! A tree of literal segments: a route is where the fixed segments at its beginning end. On the way of a path through
//! the tree are all the routes that may match it, and few others.

use super::{path::Segments, pattern::Pattern};
use std::collections::HashMap;

/// Deeper than this the segments of a pattern are not looked at here.
const DEPTH: usize = 8;

/// A rule, and a route of it; `None` for every path.
pub(super) type Entry = (usize, Option<usize>);

#[derive(Debug, Default)]
pub(super) struct Index {
    /// The root first, if there is any entry.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    below: HashMap<Box<str>, usize>,
    /// In ascending order.
    entries: Vec<Entry>,
}

impl Index {
    /// Adds an entry, in ascending order.
    pub fn add(&mut self, entry: Entry, pattern: Option<&Pattern>) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in pattern.into_iter().flat_map(Pattern::beginning).take(DEPTH) {
            at = match self.nodes[at].below.get(segment) {
                Some(below) => *below,
                None => {
                    self.nodes.push(Node::default());
                    let new = self.nodes.len() - 1;
                    self.nodes[at].below.insert(segment.into(), new);
                    new
                }
            };
        }
        self.nodes[at].entries.push(entry);
    }

    /// The entries that a path may belong to, in ascending order.
    pub fn find(&self, path: &Segments<'_>) -> impl Iterator<Item = Entry> {
        let mut lists: [&[Entry]; DEPTH + 1] = [&[]; DEPTH + 1];
        let mut node = self.nodes.first();
        for (depth, list) in lists.iter_mut().enumerate() {
            let Some(here) = node else { break };
            *list = &here.entries;
            node = match depth < path.len() && !here.below.is_empty() {
                true => here.below.get(path.get(depth)).and_then(|below| self.nodes.get(*below)),
                false => None,
            };
        }
        std::iter::from_fn(move || {
            let list = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0])?;
            let (first, rest) = list.split_first()?;
            *list = rest;
            Some(*first)
        })
    }
}
