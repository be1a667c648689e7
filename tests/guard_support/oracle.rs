//! A second reading of the dialect, as plain as it can be and exponential: for small patterns only.
//!
//! Patterns are made here as trees, and only written as text for the other side; so nothing of its parser is shared.

/// What a pattern is made of. Names are numbers, written `n0`, `n1` …
#[derive(Clone, Debug)]
pub enum Token {
    Slash,
    Text(char),
    Name(usize),
    Star,
    Constraint(Option<usize>, usize),
    /// `**`, `:n*`, `:n+`
    Many(usize, Option<usize>),
    Group(Vec<Token>),
}

type Constraint = (&'static str, fn(&str) -> bool);

/// Constraints, and what they say, by hand.
pub const CONSTRAINTS: [Constraint; 5] = [
    ("\\d+", |s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())),
    ("a|b", |s| s == "a" || s == "b"),
    ("[ab]*", |s| s.bytes().all(|b| b == b'a' || b == b'b')),
    ("(?:a+)+b", |s| s.len() > 1 && s.ends_with('b') && s[..s.len() - 1].bytes().all(|b| b == b'a')),
    ("[^a]{1,2}", |s| (1..3).contains(&s.len()) && !s.contains('a')),
];

pub fn write(tokens: &[Token]) -> String {
    let one = |token: &Token| match token {
        Token::Slash => "/".to_owned(),
        Token::Text(c) if ":()*{}?+".contains(*c) => format!("\\{c}"),
        Token::Text(c) => c.to_string(),
        Token::Name(n) => format!(":n{n}"),
        Token::Star => "*".into(),
        Token::Constraint(Some(n), which) => format!(":n{n}({})", CONSTRAINTS[*which].0),
        Token::Constraint(None, which) => format!("({})", CONSTRAINTS[*which].0),
        Token::Many(_, None) => "**".into(),
        Token::Many(least, Some(n)) => format!(":n{n}{}", if *least == 0 { '*' } else { '+' }),
        Token::Group(tokens) => format!("{{{}}}?", write(tokens)),
    };
    tokens.iter().map(one).collect()
}

type Found = Vec<(usize, String)>;

/// The parameters of the first way in which a pattern matches, by their numbers.
pub fn find(tokens: &[Token], path: &str) -> Option<Found> {
    if let Some(at) = tokens.iter().position(|token| matches!(token, Token::Group(_))) {
        let Token::Group(inner) = &tokens[at] else { unreachable!("a group was found") };
        let taken = [&tokens[..at], inner, &tokens[at + 1..]].concat();
        let left = [&tokens[..at], &tokens[at + 1..]].concat();
        return find(&taken, path).or_else(|| find(&left, path));
    }
    let mut pattern: Vec<&[Token]> = tokens.split(|token| matches!(token, Token::Slash)).skip(1).collect();
    if pattern.last().is_some_and(|last| last.is_empty()) {
        pattern.pop();
    }
    let mut path: Vec<&str> = path.split('/').skip(1).collect();
    if path.last() == Some(&"") {
        path.pop();
    }
    let mut found = segments(&pattern, &path)?;
    found.sort();
    Some(found)
}

fn segments(pattern: &[&[Token]], path: &[&str]) -> Option<Found> {
    let Some((first, rest)) = pattern.split_first() else { return path.is_empty().then(Vec::new) };
    if let [Token::Many(least, name)] = first {
        return (*least..=path.len()).find_map(|count| {
            let mut found = segments(rest, &path[count..])?;
            if let Some(name) = name.filter(|_| count > 0) {
                found.push((name, path[..count].join("/")));
            }
            Some(found)
        });
    }
    let (segment, others) = path.split_first()?;
    let mut found = match first {
        // A variable is something: an empty segment is a text's alone.
        [] => segment.is_empty().then(Vec::new)?,
        _ if segment.is_empty() => return None,
        tokens => one(tokens, segment)?,
    };
    found.extend(segments(rest, others)?);
    Some(found)
}

fn one(tokens: &[Token], text: &str) -> Option<Found> {
    let Some((first, rest)) = tokens.split_first() else { return text.is_empty().then(Vec::new) };
    let lengths: Vec<usize> = match first {
        Token::Text(c) => {
            return if text.starts_with(*c) { one(rest, &text[c.len_utf8()..]) } else { None };
        }
        Token::Name(_) => (1..=text.len()).collect(),
        _ => (0..=text.len()).rev().collect(),
    };
    lengths.into_iter().find_map(|length| {
        let (value, after) = text.split_at(length);
        if matches!(first, Token::Constraint(_, which) if !CONSTRAINTS[*which].1(value)) {
            return None;
        }
        let mut found = one(rest, after)?;
        if let Token::Name(name) | Token::Constraint(Some(name), _) = first {
            found.push((*name, value.to_owned()));
        }
        Some(found)
    })
}

/// Where random patterns and paths come from: any stream of numbers below a bound.
pub struct Source<F: FnMut(usize) -> usize> {
    pub below: F,
    names: usize,
}

impl<F: FnMut(usize) -> usize> Source<F> {
    pub fn new(below: F) -> Source<F> {
        Source { below, names: 0 }
    }

    fn name(&mut self) -> usize {
        self.names += 1;
        self.names - 1
    }

    fn optional(&mut self) -> Option<usize> {
        if (self.below)(2) == 0 { Some(self.name()) } else { None }
    }

    fn text(&mut self) -> char {
        ['a', 'b', '1', '-', ':'][(self.below)(5)]
    }

    /// A pattern that the dialect allows, of up to five segments.
    pub fn pattern(&mut self) -> Vec<Token> {
        let (mut tokens, mut groups) = (Vec::new(), 0);
        for nth in 0..(self.below)(5) + 1 {
            match (self.below)(10) {
                0..3 => {
                    let many = match (self.below)(3) {
                        0 => Token::Many(0, None),
                        least => Token::Many(least - 1, Some(self.name())),
                    };
                    match (self.below)(4) {
                        0 if groups < 4 && nth > 0 => {
                            groups += 1;
                            tokens.push(Token::Group(vec![Token::Slash, many]));
                        }
                        _ => tokens.extend([Token::Slash, many]),
                    }
                }
                3 if groups < 4 && nth > 0 => {
                    groups += 1;
                    let mut inner = vec![Token::Slash];
                    self.pieces(&mut inner, 2);
                    tokens.push(Token::Group(inner));
                }
                _ => {
                    tokens.push(Token::Slash);
                    self.pieces(&mut tokens, 3);
                    if groups < 4 && (self.below)(4) == 0 {
                        groups += 1;
                        let mut inner = Vec::new();
                        self.pieces(&mut inner, 2);
                        if !inner.is_empty() {
                            tokens.push(Token::Group(inner));
                            self.pieces(&mut tokens, 2);
                        }
                    }
                }
            }
        }
        tokens
    }

    /// Some pieces of a segment, such that their text is read back as them.
    fn pieces(&mut self, tokens: &mut Vec<Token>, most: usize) {
        for _ in 0..(self.below)(most + 1) {
            let token = match (self.below)(8) {
                0 => Token::Name(self.name()),
                1 => Token::Star,
                2 => Token::Constraint(self.optional(), (self.below)(CONSTRAINTS.len())),
                _ => Token::Text(self.text()),
            };
            let fits = match (tokens.last(), &token) {
                // `:n0a` is another name, `:n0(…)` a constraint of its own, `:n0*` repeats, `***` is nothing.
                (Some(Token::Name(_)), Token::Text(c)) => !c.is_ascii_alphanumeric(),
                (Some(Token::Name(_)), next) => matches!(next, Token::Name(_) | Token::Constraint(Some(_), _)),
                (Some(Token::Star | Token::Constraint(..)), Token::Star) => false,
                _ => true,
            };
            if fits {
                tokens.push(token);
            }
        }
    }

    /// A path, sometimes one that the pattern is about.
    pub fn path(&mut self, tokens: &[Token]) -> String {
        let mut path = String::new();
        if (self.below)(4) > 0 {
            self.like(tokens, &mut path);
        } else {
            for _ in 0..(self.below)(12) {
                path.push(['/', 'a', 'b', '1', '-', ':', '/', 'a'][(self.below)(8)]);
            }
        }
        if (self.below)(4) == 0 {
            path.push('/');
        }
        if (self.below)(4) == 0 && !path.is_empty() {
            let at = (self.below)(path.len());
            path.remove(at);
        }
        // Few enough for an exponential oracle.
        path.truncate(24);
        if path.starts_with('/') { path } else { format!("/{path}") }
    }

    fn like(&mut self, tokens: &[Token], path: &mut String) {
        for token in tokens {
            match token {
                Token::Slash => path.push('/'),
                Token::Text(c) => path.push(*c),
                Token::Name(_) | Token::Star | Token::Constraint(..) => {
                    for _ in 0..(self.below)(3) + 1 {
                        path.push(self.text());
                    }
                }
                Token::Many(..) => {
                    for nth in 0..(self.below)(4) {
                        if nth > 0 {
                            path.push('/');
                        }
                        path.push(self.text());
                    }
                }
                Token::Group(inner) if (self.below)(2) == 0 => self.like(inner, path),
                Token::Group(_) => (),
            }
        }
    }
}
