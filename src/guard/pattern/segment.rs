//! One segment of a pattern against one segment of a path.

use super::{BadPattern, Place, Shared, Values};
use regex_lite::Regex;
use std::sync::Arc;

/// What a segment of a pattern is made of.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text(Text),
    /// `:name`: one byte or more.
    Named(Place),
    /// `*`: any bytes, none too.
    Any,
    /// `:name(constraint)`, `(constraint)`.
    Constrained(Option<Place>, String),
}

#[derive(Clone, Debug)]
pub(super) enum Segment {
    Text(Text),
    /// One variable, and the texts around it.
    Variable {
        before: Text,
        after: Text,
        least: u8,
        name: Option<Place>,
        constraint: Option<Arc<Regex>>,
    },
    /// Anything else: its n-th group is the parameter `names[n]`.
    Mixed {
        regex: Arc<Regex>,
        names: Box<[Place]>,
    },
}

/// Fixed bytes, escapes in upper case; a path may write those in lower case, too (RFC 3986 section 6.2.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub Arc<str>);

impl Text {
    fn is(&self, bytes: &[u8]) -> bool {
        let own = self.0.as_bytes();
        own == bytes || (own.len() == bytes.len() && self.differs_in_case_only(bytes))
    }

    fn differs_in_case_only(&self, bytes: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let in_escape = |at: usize| own[at.saturating_sub(2)..at].contains(&b'%');
        (0..own.len()).all(|at| own[at] == bytes[at] || (in_escape(at) && own[at].eq_ignore_ascii_case(&bytes[at])))
    }

    /// As a regular expression.
    fn regex(&self, out: &mut String) {
        let mut digits = 0;
        for c in self.0.chars() {
            if digits > 0 && c.is_ascii_alphabetic() {
                out.extend(['[', c, c.to_ascii_lowercase(), ']']);
            } else {
                out.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4])));
            }
            digits = if c == '%' { 2 } else { i32::max(digits - 1, 0) };
        }
    }
}

impl Segment {
    pub fn new(mut pieces: Vec<Piece>, shared: &mut Shared) -> Result<Segment, BadPattern> {
        // Left-out groups leave neighbouring texts.
        pieces.dedup_by(|next, piece| match (piece, next) {
            (Piece::Text(text), Piece::Text(more)) => {
                text.0 = [&*text.0, &more.0].concat().into();
                true
            }
            _ => false,
        });
        // The text there, if there is one.
        let mut text = |piece: Option<&Piece>| {
            let text = if let Some(Piece::Text(text)) = piece { &*text.0 } else { "" };
            Text(shared.text(text))
        };
        let variables = pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count();
        let place = pieces.iter().position(|piece| !matches!(piece, Piece::Text(_)));
        let Some(place) = place else { return Ok(Segment::Text(text(pieces.first()))) };
        if variables > 1 {
            return Segment::mixed(&pieces, shared);
        }
        let before = text(place.checked_sub(1).map(|at| &pieces[at]));
        let after = text(pieces.get(place + 1));
        let (name, constraint) = match &pieces[place] {
            Piece::Named(name) => (Some(*name), None),
            Piece::Constrained(name, source) => (*name, Some(shared.compile(&format!("^(?:{source})$"))?)),
            Piece::Text(_) | Piece::Any => (None, None),
        };
        // A variable that is a segment by itself is one segment, and an empty one is none.
        let least = u8::from(pieces.len() == 1 || matches!(pieces[place], Piece::Named(_)));
        Ok(Segment::Variable { before, after, least, name, constraint })
    }

    /// A parameter takes as few bytes as it can, `*` and a constraint as many as they can, from left to right.
    fn mixed(pieces: &[Piece], shared: &mut Shared) -> Result<Segment, BadPattern> {
        let (mut source, mut names) = (String::from("^"), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Text(text) => text.regex(&mut source),
                Piece::Any => source.push_str(".*"),
                Piece::Named(name) => {
                    names.push(*name);
                    source.push_str("(.+?)");
                }
                Piece::Constrained(Some(name), constraint) => {
                    names.push(*name);
                    source.extend(["(", constraint, ")"]);
                }
                Piece::Constrained(None, constraint) => source.extend(["(?:", constraint, ")"]),
            }
        }
        source.push('$');
        Ok(Segment::Mixed { regex: shared.compile(&source)?, names: names.into() })
    }

    pub fn fits<'p>(&self, segment: &'p str, values: &mut Values<'p>, work: &mut usize) -> bool {
        *work += 1;
        match self {
            Segment::Text(text) => {
                *work += text.0.len().min(segment.len());
                text.is(segment.as_bytes())
            }
            Segment::Variable { before, after, least, name, constraint } => {
                let around = before.0.len() + after.0.len();
                if segment.len() < around + usize::from(*least) {
                    return false;
                }
                *work += around;
                // A canonical path is ASCII; `get` spares the proof.
                let bytes = segment.as_bytes();
                let (start, end) = (before.0.len(), bytes.len() - after.0.len());
                if !before.is(&bytes[..start]) || !after.is(&bytes[end..]) {
                    return false;
                }
                let Some(value) = segment.get(start..end) else { return false };
                if let Some(constraint) = constraint {
                    *work += value.len();
                    if !constraint.is_match(value) {
                        return false;
                    }
                }
                if let Some(name) = name {
                    values.push((*name, value));
                }
                true
            }
            Segment::Mixed { regex, names } if names.is_empty() => {
                *work += segment.len();
                !segment.is_empty() && regex.is_match(segment)
            }
            Segment::Mixed { regex, names } => {
                *work += segment.len();
                let Some(found) = regex.captures(segment).filter(|_| !segment.is_empty()) else { return false };
                values.extend((1..).zip(names).filter_map(|(group, name)| Some((*name, found.get(group)?.as_str()))));
                true
            }
        }
    }
}
