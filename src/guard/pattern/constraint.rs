//! Constraints of parameters: a small, frozen part of the regular expressions of `regex-lite`.
//!
//! A constraint matches one segment, or the part of it between fixed texts; so it never crosses a slash. Its classes
//! are ASCII, it is anchored at both ends, and it captures nothing.

use super::MAX_CONSTRAINT;

/// The constraint that `text` begins with, up to the parenthesis that closes it. On failure: how far in, and why.
/// What is wrong with all of it is so at its beginning.
pub(super) fn read(text: &str) -> Result<&str, (usize, String)> {
    let (mut depth, mut chars) = (0usize, text.char_indices().peekable());
    let fail = |at: usize, why: &str| Err((at, why.to_owned()));
    while let Some((at, c)) = chars.next() {
        match c {
            _ if at > MAX_CONSTRAINT => return fail(0, &format!("a constraint is longer than {MAX_CONSTRAINT} bytes")),
            ')' if depth == 0 => {
                return match at {
                    0 => fail(at, "a constraint is empty"),
                    _ => Ok(&text[..at]),
                };
            }
            ')' => depth -= 1,
            '(' if !text[at..].starts_with("(?:") => {
                return fail(at, "a constraint captures nothing: write (?:…) for a group in it");
            }
            '(' => {
                depth += 1;
                // What the group begins with is not something to repeat.
                chars.next();
                chars.next();
            }
            '^' | '$' => return fail(at, "a constraint is anchored already: write \\^ or \\$ for the character"),
            '/' => return fail(at, "a constraint never crosses a slash"),
            '\\' => match chars.next() {
                Some((_, 'd' | 'D' | 'w' | 'W' | 's' | 'S')) => (),
                Some((_, c)) if c.is_ascii_punctuation() && !matches!(c, '<' | '>') => (),
                _ => return fail(at, "a constraint has an escape that is not \\d \\w \\s \\D \\W \\S or punctuation"),
            },
            '[' => class(at, &mut chars)?,
            c if !c.is_ascii() || c.is_ascii_control() => {
                return fail(at, "a constraint has a character that is not printable ASCII");
            }
            _ => (),
        }
    }
    fail(0, "a constraint has no closing parenthesis")
}

/// A class in brackets, after the opening one. What the crate and a reader may take differently is refused: nested
/// classes, operators, a closing bracket that stands first.
fn class(open: usize, chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) -> Result<(), (usize, String)> {
    let fail = |at: usize, why: &str| Err((at, why.to_owned()));
    chars.next_if(|(_, c)| *c == '^');
    let mut before = None;
    while let Some((at, c)) = chars.next() {
        match c {
            ']' if before.is_none() => return fail(at, "a class in a constraint is empty: write \\] for the bracket"),
            ']' => return Ok(()),
            '[' => return fail(at, "a class in a constraint holds another: write \\[ for the bracket"),
            '&' | '-' | '~' if before == Some(c) => return fail(at, "a class in a constraint has an operator"),
            '\\' => match chars.next() {
                Some((_, 'd' | 'D' | 'w' | 'W' | 's' | 'S')) => (),
                Some((_, c)) if c.is_ascii_punctuation() && !matches!(c, '<' | '>') => (),
                _ => return fail(at, "a constraint has an escape that is not \\d \\w \\s \\D \\W \\S or punctuation"),
            },
            c if !c.is_ascii() || c.is_ascii_control() => {
                return fail(at, "a constraint has a character that is not printable ASCII");
            }
            _ => (),
        }
        before = Some(c);
    }
    fail(open, "a class in a constraint has no closing bracket")
}
