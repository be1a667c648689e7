//! The text of a pattern, read once from left to right.

use super::{
    BadPattern, MAX_GROUPS, MAX_NAME, MAX_PATTERN, Part, Pattern, Place, Shared, constraint,
    segment::{Piece, Segment, Text},
};
use crate::guard::path;

/// Something of a pattern, where it begins, and the group that it is in.
struct Token {
    at: usize,
    group: Option<usize>,
    what: What,
}

enum What {
    Slash,
    Piece(Piece),
    /// `**`, `:name*`, `:name+`: a whole segment.
    Many {
        least: u8,
        name: Option<Place>,
    },
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    names: Vec<Box<str>>,
    tokens: Vec<Token>,
    /// The group that is open, and where it began.
    open: Option<(usize, usize)>,
    groups: usize,
}

pub(super) fn pattern(text: &str, shared: &mut Shared) -> Result<Pattern, BadPattern> {
    if text.len() > MAX_PATTERN {
        return Err(BadPattern(format!("is longer than {MAX_PATTERN} bytes")));
    }
    if !text.starts_with('/') {
        return Err(BadPattern("does not begin with a slash".into()));
    }
    let mut reader = Reader { text, at: 0, names: Vec::new(), tokens: Vec::new(), open: None, groups: 0 };
    while reader.at < text.len() {
        reader.step()?;
    }
    if let Some((_, at)) = reader.open {
        return fail(at, "a group has no closing brace");
    }
    let Reader { names, tokens, groups, .. } = reader;
    // Bit n of `left_out` is group n, the last one first: the more is taken, and the more to the left, the earlier.
    let mut parts = Vec::new();
    for left_out in 0..1usize << groups {
        let kept = |token: &&Token| token.group.is_none_or(|group| left_out >> (groups - 1 - group) & 1 == 0);
        if left_out > 0 {
            parts.push(Part::Or);
        }
        parts.extend(form(&tokens.iter().filter(kept).collect::<Vec<_>>(), shared)?);
    }
    let names = names.iter().map(|name| shared.text(name)).collect();
    Ok(Pattern { names, parts: parts.into() })
}

fn fail<T>(at: usize, why: impl AsRef<str>) -> Result<T, BadPattern> {
    Err(BadPattern(format!("at byte {}: {}", at + 1, why.as_ref())))
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, at: usize, what: What) {
        self.tokens.push(Token { at, group: self.open.map(|(group, _)| group), what });
    }

    fn step(&mut self) -> Result<(), BadPattern> {
        let at = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(()) };
        match first {
            '/' => {
                self.at += 1;
                self.push(at, What::Slash);
            }
            ':' => return self.parameter(),
            '(' => {
                let source = self.constraint()?;
                self.push(at, What::Piece(Piece::Constrained(None, source)));
            }
            '*' if self.rest().starts_with("**") => {
                self.at += 2;
                if self.rest().starts_with(['*', ':', '+', '?']) {
                    return fail(self.at, "`**` must stand alone in its segment");
                }
                self.push(at, What::Many { least: 0, name: None });
            }
            '*' => {
                self.at += 1;
                self.push(at, What::Piece(Piece::Any));
            }
            '{' => return self.open_group(),
            '}' => return self.close_group(),
            ')' => return fail(at, "`)` closes nothing: write `\\)` for the character"),
            '?' => return fail(at, "`?` follows a group only, as in `{s}?`; a pattern has no query"),
            '#' => return fail(at, "a path has no fragment: write `%23` for the character"),
            _ => return self.literal(),
        }
        Ok(())
    }

    /// `:name`, with what follows it.
    fn parameter(&mut self) -> Result<(), BadPattern> {
        let at = self.at;
        let after = &self.text[at + 1..];
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let name = &after[..end];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return fail(
                at,
                "`:` begins a parameter, whose name has letters, digits and _; write `\\:` for the character",
            );
        }
        if name.len() > MAX_NAME {
            return fail(at, format!("the name of a parameter is longer than {MAX_NAME} bytes"));
        }
        if self.names.iter().any(|known| **known == *name) {
            return fail(at, format!("the parameter `:{name}` is there twice"));
        }
        // A pattern is too short for more of them.
        let place = Place::try_from(self.names.len()).unwrap_or(Place::MAX);
        self.names.push(name.into());
        self.at += 1 + end;
        let what = match self.rest().chars().next() {
            Some('*') => What::Many { least: 0, name: Some(place) },
            Some('+') => What::Many { least: 1, name: Some(place) },
            Some('?') => return fail(self.at, format!("write `{{/:{name}}}?` for an optional parameter")),
            Some('(') => {
                let source = self.constraint()?;
                self.push(at, What::Piece(Piece::Constrained(Some(place), source)));
                return Ok(());
            }
            _ => {
                self.push(at, What::Piece(Piece::Named(place)));
                return Ok(());
            }
        };
        self.at += 1;
        self.push(at, what);
        Ok(())
    }

    /// `(…)`, after which nothing is repeated.
    fn constraint(&mut self) -> Result<String, BadPattern> {
        let start = self.at + 1;
        match constraint::read(&self.text[start..]) {
            Ok(source) => {
                let source = source.to_owned();
                self.at = start + source.len() + 1;
                match self.rest().chars().next() {
                    Some(c @ ('*' | '+' | '?')) => fail(
                        self.at,
                        format!("`{c}` repeats a constraint; only `:name*`, `:name+` and `{{…}}?` repeat"),
                    ),
                    _ => Ok(source),
                }
            }
            Err((at, why)) => fail(start + at, why),
        }
    }

    fn open_group(&mut self) -> Result<(), BadPattern> {
        if self.open.is_some() {
            return fail(self.at, "a group stands in a group");
        }
        if self.groups == MAX_GROUPS {
            return fail(self.at, format!("there are more than {MAX_GROUPS} groups"));
        }
        self.open = Some((self.groups, self.at));
        self.groups += 1;
        self.at += 1;
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), BadPattern> {
        let Some((_, start)) = self.open.take() else {
            return fail(self.at, "`}` closes nothing: write `\\}` for the character");
        };
        if self.at == start + 1 {
            return fail(start, "a group is empty");
        }
        self.at += 1;
        if !self.rest().starts_with('?') {
            return fail(self.at, "a group is optional: write `{…}?`; a parameter is written `:name`");
        }
        self.at += 1;
        Ok(())
    }

    /// Characters that stand for themselves, in the form that a path has them.
    fn literal(&mut self) -> Result<(), BadPattern> {
        let (start, mut encoded) = (self.at, String::new());
        while let Some(c) = self.rest().chars().next() {
            let c = match c {
                '/' | ':' | '(' | ')' | '*' | '{' | '}' | '?' | '#' => break,
                '\\' => {
                    self.at += 1;
                    match self.rest().chars().next() {
                        Some(c) if ":()*{}?+".contains(c) => c,
                        _ => return fail(self.at - 1, "`\\` stands before one of : ( ) * { } ? + only"),
                    }
                }
                c if c.is_control() => return fail(self.at, "there is a control character"),
                c => c,
            };
            self.at += c.len_utf8();
            encode(c, &mut encoded);
        }
        let text = path::unescape(&encoded).or_else(|why| fail(start, format!("the text {why}")))?;
        self.push(start, What::Piece(Piece::Text(Text(upper(&text).into()))));
        Ok(())
    }
}

/// A character as the URL parser writes it in a path. (WHATWG URL, path percent-encode set, as the crate `url` has it: a
/// test compares them, since the standard has added to it.)
fn encode(c: char, out: &mut String) {
    if c.is_ascii_graphic() && !"\"#<>?`{}".contains(c) {
        out.push(c);
        return;
    }
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        out.push('%');
        out.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
    }
}

/// With the digits of its escapes in upper case.
fn upper(text: &str) -> String {
    let mut digits = 0;
    let one = |c: char| {
        let out = if digits > 0 { c.to_ascii_uppercase() } else { c };
        digits = if c == '%' { 2 } else { i32::max(digits - 1, 0) };
        out
    };
    text.chars().map(one).collect()
}

/// The segments of one way to read the pattern.
fn form(tokens: &[&Token], shared: &mut Shared) -> Result<Vec<Part>, BadPattern> {
    let mut parts = Vec::new();
    // The first token is the slash that every pattern begins with.
    for segment in tokens.split(|token| matches!(token.what, What::Slash)).skip(1) {
        if let [Token { what: What::Many { least, name }, .. }] = segment {
            parts.push(Part::Many { least: *least, name: *name });
            continue;
        }
        let at = segment.first().map_or(0, |token| token.at);
        let mut pieces = Vec::new();
        for token in segment {
            match &token.what {
                What::Piece(piece) => pieces.push(piece.clone()),
                _ => return fail(token.at, "a wildcard over several segments must stand alone in its segment"),
            }
        }
        let made = Segment::new(pieces, shared).or_else(|why| fail(at, why.0))?;
        if let Segment::Text(text) = &made
            && let Err(why) = path::refuse_segment(&text.0)
        {
            return fail(at, format!("the segment {why}, and no path has one"));
        }
        parts.push(Part::One(made));
    }
    // One trailing slash is no segment, as in a path.
    if matches!(parts.last(), Some(Part::One(Segment::Text(text))) if text.0.is_empty()) {
        parts.pop();
    }
    Ok(parts)
}
