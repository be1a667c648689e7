//! Parts that many patterns have in common, kept once: this saves work and cache misses.

use super::{
    BadPattern, MAX_COMPILED,
    automaton::{Automaton, Classes},
    constraint::Constraint,
};
use regex_lite::{Regex, RegexBuilder};
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

/// What the patterns of one guard share: texts, and compiled constraints.
#[derive(Debug, Default)]
pub struct Shared {
    regexes: HashMap<String, Regex>,
    alone: HashMap<String, Arc<Constraint>>,
    classes: Classes,
    texts: HashSet<Arc<str>>,
}

impl Shared {
    pub fn new() -> Shared {
        Shared::default()
    }

    /// A fixed text, or the name of a parameter.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        one(&mut self.texts, text.into())
    }

    pub(super) fn alone(&mut self, source: &str) -> Result<Arc<Constraint>, BadPattern> {
        if let Some(constraint) = self.alone.get(source) {
            return Ok(constraint.clone());
        }
        // The crate says what a constraint is, whoever matches it.
        let regex = self.compile(&format!("^(?:{source})$"))?;
        let constraint = Arc::new(match Automaton::new(source, &mut self.classes) {
            Some(automaton) => Constraint::Automaton(automaton),
            None => Constraint::Regex(regex),
        });
        self.alone.insert(source.to_owned(), constraint.clone());
        Ok(constraint)
    }

    pub(super) fn compile(&mut self, source: &str) -> Result<Regex, BadPattern> {
        if let Some(regex) = self.regexes.get(source) {
            return Ok(regex.clone());
        }
        let regex = RegexBuilder::new(source)
            .size_limit(MAX_COMPILED)
            .nest_limit(16)
            .build()
            .map_err(|why| BadPattern(format!("the constraint is refused: {why}")))?;
        self.regexes.insert(source.to_owned(), regex.clone());
        Ok(regex)
    }
}

/// `new`, or what is known to be equal to it.
pub(in crate::guard) fn one<T: ?Sized + Eq + Hash>(known: &mut HashSet<Arc<T>>, new: Arc<T>) -> Arc<T> {
    match known.get(&new) {
        Some(known) => Arc::clone(known),
        None => {
            known.insert(Arc::clone(&new));
            new
        }
    }
}
