//! The dialect of routes: the paths that a route matches, and its parameters.
//!
//! A pattern is a list of segments; a wildcard over several of them (`**`, `:n*`, `:n+`) takes as few as possible. The
//! match is the greedy one of file globs: each stretch between two such wildcards is tried from left to right, and
//! never again once it has matched. So every segment of the pattern looks at each segment of the path at most once, and
//! the whole is linear in the length of the path times that of the pattern; a segment with a constraint is a
//! regular expression of a crate that has no backtracking.

mod constraint;
mod parse;
mod segment;
mod shared;

pub use shared::Shared;
pub(super) use shared::one;

use super::path::Segments;
use segment::Segment;
use std::{fmt, sync::Arc};

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 2048;
/// The longest constraint, in bytes, and what it may be as a compiled program.
pub const MAX_CONSTRAINT: usize = 256;
pub const MAX_COMPILED: usize = 32 * 1024;
/// The longest name of a parameter, in bytes.
pub const MAX_NAME: usize = 64;
/// Optional groups of one pattern: each doubles the ways to read it.
pub const MAX_GROUPS: usize = 4;

/// Why a text is no pattern: a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(pub String);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPattern {}

/// A route's path, compiled. Small and in one place, since among many rules it is far memory.
#[derive(Clone, Debug)]
pub struct Pattern {
    names: Box<[Arc<str>]>,
    /// Of each form, with [`Part::Or`] between them.
    parts: Box<[Part]>,
}

/// One way to read a pattern, with some of its groups and without the others; the first one has all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form<'s>(&'s [Part]);

#[derive(Clone, Debug)]
enum Part {
    One(Segment),
    /// Any segments in a row, at least one or none, too.
    Many {
        least: u8,
        name: Option<Place>,
    },
    /// The next form begins.
    Or,
}

/// Of a parameter, among the names of its pattern.
type Place = u16;

/// The parameters of a match: names, and the bytes that they stand for.
pub type Params<'s, 'p> = Vec<(&'s str, &'p str)>;

/// What a match found so far: places of parameters, and the bytes as they stand in the path.
type Values<'p> = Vec<(Place, &'p str)>;

impl Pattern {
    /// Reads a pattern. `shared` is what other patterns have, so that what is equal is there once.
    pub fn parse(text: &str, shared: &mut Shared) -> Result<Pattern, BadPattern> {
        parse::pattern(text, shared)
    }

    /// The parameters, if the path matches: each name with the bytes that it stands for, undecoded. A parameter of a
    /// group that is left out, and a `:name*` of no segments, is not among them.
    pub fn find<'s, 'p>(&'s self, path: &Segments<'p>) -> Option<Params<'s, 'p>> {
        self.find_counted(path, &mut 0)
    }

    /// The same; adds to `work` the bytes of path and pattern that were looked at.
    pub fn find_counted<'s, 'p>(&'s self, path: &Segments<'p>, work: &mut usize) -> Option<Params<'s, 'p>> {
        let mut values = Vec::new();
        self.forms().find(|form| {
            values.clear();
            form.fits(path, &mut values, work)
        })?;
        // In the order of the pattern: what comes after a wildcard was found before what the wildcard took.
        values.sort_unstable_by_key(|(name, _)| *name);
        Some(values.into_iter().map(|(name, value)| (&*self.names[usize::from(name)], value)).collect())
    }

    pub(super) fn forms(&self) -> impl Iterator<Item = Form<'_>> {
        self.parts.split(|part| matches!(part, Part::Or)).map(Form)
    }

    /// The fixed segments that a path has to begin with; without those with escapes, which have several spellings.
    pub(super) fn beginning(&self) -> impl Iterator<Item = &str> {
        (0..).map_while(|at| {
            let mut texts = self.forms().map(|form| form.0.get(at).and_then(Part::fixed));
            let first = texts.next().flatten()?;
            texts.all(|text| text == Some(first)).then_some(first)
        })
    }
}

impl Part {
    fn fixed(&self) -> Option<&str> {
        match self {
            Part::One(Segment::Text(text)) if !text.0.contains('%') => Some(&text.0),
            _ => None,
        }
    }
}

impl<'s> Form<'s> {
    /// The fewest segments of a path that matches, and the most, if they are not any number.
    pub(super) fn length(&self) -> (usize, Option<usize>) {
        let least = |part: &Part| if let Part::Many { least, .. } = part { usize::from(*least) } else { 1 };
        let ones = self.0.iter().all(|part| matches!(part, Part::One(_)));
        (self.0.iter().map(least).sum(), ones.then_some(self.0.len()))
    }

    /// The fixed segments anywhere in it; without those with escapes.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        self.0.iter().filter_map(Part::fixed)
    }

    fn fits<'p>(&self, path: &Segments<'p>, values: &mut Values<'p>, work: &mut usize) -> bool {
        let parts = self.0;
        let wildcards = parts.iter().filter(|part| matches!(part, Part::Many { .. })).count();
        // What comes before the first wildcard stands at the beginning, what comes after the last one at the end.
        let mut stretches = parts.split(|part| matches!(part, Part::Many { .. }));
        let head = stretches.next().unwrap_or_default();
        if wildcards == 0 {
            return path.len() == head.len() && stretch(head, path, 0, values, work);
        }
        if path.len() < head.len() || !stretch(head, path, 0, values, work) {
            return false;
        }
        let mut from = head.len();
        let many = parts.iter().filter_map(|part| match part {
            Part::Many { least, name } => Some((usize::from(*least), *name)),
            Part::One(_) | Part::Or => None,
        });
        for (nth, ((least, name), after)) in many.zip(stretches).enumerate() {
            let Some(last) = path.len().checked_sub(after.len()) else { return false };
            let earliest = from + least;
            let found = if nth + 1 == wildcards {
                (earliest <= last && stretch(after, path, last, values, work)).then_some(last)
            } else {
                (earliest..=last).find(|at| stretch(after, path, *at, values, work))
            };
            let Some(at) = found else { return false };
            if let Some(name) = name.filter(|_| at > from) {
                values.push((name, path.between(from, at)));
            }
            from = at + after.len();
        }
        true
    }
}

/// True if these parts, each one segment, match the path's segments from `at` on. If not, `values` are as before.
fn stretch<'p>(parts: &[Part], path: &Segments<'p>, at: usize, values: &mut Values<'p>, work: &mut usize) -> bool {
    let before = values.len();
    let fits = parts.iter().enumerate().all(|(i, part)| match part {
        Part::One(segment) => segment.fits(path.get(at + i), values, work),
        Part::Many { .. } | Part::Or => false,
    });
    if !fits {
        values.truncate(before);
    }
    fits
}
