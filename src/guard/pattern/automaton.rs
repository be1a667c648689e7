//! A constraint that is matched as a whole, as an automaton of a few machine words (Glushkov's): a position for each
//! character that its text takes, and which positions may come after it. All current positions fit into one word, so
//! that a byte costs at most a step for each of them: linear, without memory of its own.
//!
//! Only a faster form of constraints that `regex-lite` has accepted; it also answers for classes. A constraint that is
//! unknown here, or has more than 64 positions, is left to that crate.

use regex_lite::Regex;
use std::collections::HashMap;

/// Positions are bits of a word.
const MAX_POSITIONS: usize = 64;
/// What is looked at while reading: repetitions of nothing take no position.
const MAX_STEPS: usize = 1024;

#[derive(Debug)]
pub(super) struct Automaton {
    positions: Box<[Position]>,
    ends: Ends,
}

#[derive(Debug)]
struct Position {
    /// The ASCII characters that it takes.
    class: u128,
    next: u64,
}

/// Where a part of a constraint begins and ends.
#[derive(Clone, Copy, Debug)]
struct Ends {
    /// True if it takes no character, too.
    empty: bool,
    first: u64,
    last: u64,
}

/// The characters of a class by its text.
pub(super) type Classes = HashMap<String, u128>;

impl Automaton {
    /// Reads a constraint that `regex-lite` takes; none if it is not understood here.
    pub fn new(source: &str, classes: &mut Classes) -> Option<Automaton> {
        let mut reader = Reader { text: source.as_bytes(), at: 0, positions: Vec::new(), steps: 0, classes };
        let ends = reader.alternatives()?;
        (reader.at == source.len()).then(|| Automaton { positions: reader.positions.into(), ends })
    }

    /// True if the constraint takes all of `text`. No character beyond ASCII is in a canonical path, nor taken here.
    pub fn takes(&self, text: &str) -> bool {
        let (mut now, mut last) = (self.ends.first, self.ends.empty);
        for byte in text.bytes() {
            let Some(character) = 1u128.checked_shl(byte.into()) else { return false };
            let (mut left, mut next) = (now, 0);
            last = false;
            while left != 0 {
                let at = left.trailing_zeros();
                left &= left - 1;
                let position = &self.positions[at as usize];
                if position.class & character != 0 {
                    next |= position.next;
                    last |= self.ends.last >> at & 1 != 0;
                }
            }
            now = next;
        }
        last
    }
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    positions: Vec<Position>,
    steps: usize,
    classes: &'t mut Classes,
}

impl Reader<'_> {
    const NOTHING: Ends = Ends { empty: true, first: 0, last: 0 };

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    /// Up to the end, or to the parenthesis that closes the group.
    fn alternatives(&mut self) -> Option<Ends> {
        let mut all = self.sequence()?;
        while self.skip(b'|') {
            let one = self.sequence()?;
            all = Ends { empty: all.empty || one.empty, first: all.first | one.first, last: all.last | one.last };
        }
        Some(all)
    }

    fn sequence(&mut self) -> Option<Ends> {
        let mut all = Self::NOTHING;
        while self.peek().is_some_and(|byte| byte != b'|' && byte != b')') {
            let one = self.repeated()?;
            all = self.follow(all, one);
        }
        Some(all)
    }

    /// Something, and how often.
    fn repeated(&mut self) -> Option<Ends> {
        let start = self.at;
        let one = self.atom()?;
        let (least, most) = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => self.counts()?,
            _ => return Some(one),
        };
        self.at += 1;
        // Few or many, it is the same texts that are taken.
        self.skip(b'?');
        if matches!(self.peek(), Some(b'*' | b'+' | b'?' | b'{')) {
            return None;
        }
        let end = self.at;
        let (mut all, mut copy) = (Self::NOTHING, one);
        for nth in 0..most.unwrap_or(least.max(1)) {
            if nth > 0 {
                // Each time with positions of its own.
                self.at = start;
                copy = self.atom()?;
            }
            if most.is_none() && nth + 1 >= least {
                copy = self.again(copy);
            }
            copy.empty |= nth >= least;
            all = self.follow(all, copy);
        }
        self.at = end;
        Some(all)
    }

    /// `{2}`, `{2,}`, `{2,3}`, up to the closing brace.
    fn counts(&mut self) -> Option<(usize, Option<usize>)> {
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().position(|byte| *byte == b'}')?;
        self.at += 1 + length;
        let inner = std::str::from_utf8(&rest[..length]).ok()?;
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match inner.split_once(',') {
            None => number(inner).map(|count| (count, Some(count))),
            Some((least, "")) => Some((number(least)?, None)),
            Some((least, most)) => Some((number(least)?, Some(number(most)?))),
        }
    }

    /// A character, a class or a group.
    fn atom(&mut self) -> Option<Ends> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return None;
        }
        let start = self.at;
        let rest = &self.text[start..];
        let length = match rest {
            [b'(', b'?', b':', ..] => {
                self.at += 3;
                let inner = self.alternatives()?;
                return self.skip(b')').then_some(inner);
            }
            [b'*' | b'+' | b'?' | b'{' | b'(' | b')' | b'|', ..] | [] => return None,
            [b'[', ..] => bracket(rest)?,
            [b'\\', _, ..] => 2,
            _ => 1,
        };
        self.at += length;
        let class = self.class(&rest[..length])?;
        let at = self.positions.len();
        if at == MAX_POSITIONS {
            return None;
        }
        self.positions.push(Position { class, next: 0 });
        Some(Ends { empty: false, first: 1 << at, last: 1 << at })
    }

    /// What a character or class takes, as `regex-lite` says.
    fn class(&mut self, text: &[u8]) -> Option<u128> {
        if let [letter] = text
            && letter.is_ascii_alphanumeric()
        {
            return Some(1 << letter);
        }
        let text = std::str::from_utf8(text).ok()?;
        if let Some(known) = self.classes.get(text) {
            return Some(*known);
        }
        let regex = Regex::new(&format!("^(?:{text})$")).ok()?;
        let taken = (0u8..128).filter(|byte| regex.is_match(char::from(*byte).encode_utf8(&mut [0; 4])));
        let class = taken.fold(0, |class, byte| class | 1 << byte);
        self.classes.insert(text.to_owned(), class);
        Some(class)
    }

    fn follow(&mut self, one: Ends, next: Ends) -> Ends {
        self.lead(one.last, next.first);
        Ends {
            empty: one.empty && next.empty,
            first: one.first | if one.empty { next.first } else { 0 },
            last: next.last | if next.empty { one.last } else { 0 },
        }
    }

    /// One time or more.
    fn again(&mut self, one: Ends) -> Ends {
        self.lead(one.last, one.first);
        one
    }

    fn lead(&mut self, from: u64, to: u64) {
        for (at, position) in self.positions.iter_mut().enumerate() {
            if from >> at & 1 != 0 {
                position.next |= to;
            }
        }
    }
}

/// How long the class in brackets is that a text begins with.
fn bracket(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while text.get(at)? != &b']' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random constraints on random texts: the automaton says what the crate says.
    #[test]
    fn agrees_with_the_crate() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % bound
        };
        const WORDS: [&str; 27] = [
            "a", "b", "1", "-", "a", "b", "ab", "\\d", "\\w", "\\W", ".", "[ab]", "[^a]", "[a-c1]", "[\\d-]",
            "[^\\]a]", "\\.", "(?:", "(?:", "(?:", ")", ")", ")", "|", "|", "}", "\\D",
        ];
        const COUNTS: [&str; 14] =
            ["*", "+", "?", "*?", "+?", "??", "{0}", "{2}", "{0,2}", "{1,3}", "{2,}", "{0,}", "{3,3}?", "{,2}"];
        let (mut classes, mut read, mut taken) = (Classes::new(), 0, 0);
        for _ in 0..40_000 {
            let (mut source, mut depth) = (String::new(), 0);
            for _ in 0..1 + below(9) {
                let word = WORDS[below(WORDS.len() as u64) as usize];
                match word {
                    "(?:" => depth += 1,
                    ")" if depth == 0 => continue,
                    ")" => depth -= 1,
                    _ => (),
                }
                source += word;
                if word != "(?:" && word != "|" && below(3) == 0 {
                    source += COUNTS[below(COUNTS.len() as u64) as usize];
                }
            }
            source += &")".repeat(depth);
            let Ok(regex) = Regex::new(&format!("^(?:{source})$")) else { continue };
            let Some(automaton) = Automaton::new(&source, &mut classes) else { continue };
            read += 1;
            for _ in 0..8 {
                let text: String = (0..below(7)).map(|_| char::from(b"aaabbc1-.]"[below(10) as usize])).collect();
                assert_eq!(automaton.takes(&text), regex.is_match(&text), "({source}) on {text:?}");
                taken += usize::from(regex.is_match(&text));
            }
        }
        assert!(read > 10_000 && taken > 10_000, "{read} constraints, {taken} texts");
    }

    #[test]
    fn leaves_to_the_crate_what_it_does_not_understand() {
        let nothing = format!("{}{}", "(?:".repeat(12), "){99}".repeat(12));
        for (source, positions) in [
            ("\\d+", Some(1)),
            ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", Some(36)),
            ("x{64}", Some(64)),
            ("x{65}", None),
            ("x{1,65}", None),
            ("x{2}{3}", None),
            ("x**", None),
            (&nothing, None),
        ] {
            let got = Automaton::new(source, &mut Classes::new()).map(|automaton| automaton.positions.len());
            assert_eq!(got, positions, "{source}");
        }
    }
}
