//! Parts that many patterns have in common, kept once: this saves work and cache misses.

use super::{BadPattern, MAX_COMPILED};
use regex_lite::{Regex, RegexBuilder};
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

/// What the patterns of one guard share: texts, and compiled constraints.
#[derive(Debug, Default)]
pub struct Shared {
    regexes: HashMap<String, Arc<Regex>>,
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

    pub(super) fn compile(&mut self, source: &str) -> Result<Arc<Regex>, BadPattern> {
        if let Some(regex) = self.regexes.get(source) {
            return Ok(regex.clone());
        }
        let regex = RegexBuilder::new(source)
            .size_limit(MAX_COMPILED)
            .nest_limit(16)
            .build()
            .map(Arc::new)
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
