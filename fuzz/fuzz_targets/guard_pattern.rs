//! Any text as a pattern: never a panic, never more work than lengths multiplied. Patterns that are made from the
//! bytes match as an oracle says, and constraints as another engine does.
#[path = "../../tests/guard_support/oracle.rs"]
mod oracle;

use caspian_net::guard::{
    path::Segments,
    pattern::{Pattern, Shared},
};
use regex_automata::{
    nfa::thompson::{self, pikevm::PikeVM},
    util::syntax,
};

/// Any pattern on any path.
fn any(pattern: &str, path: &str) {
    let path = format!("/{path}");
    let Ok(compiled) = Pattern::parse(pattern, &mut Shared::new()) else { return };
    let mut work = 0;
    let found = compiled.find_counted(&Segments::of(&path), &mut work);
    assert!(work <= 16 * (pattern.len() + 1) * (path.len() + 1), "{pattern:?} on {path:?}: {work}");
    for (name, value) in found.into_iter().flatten() {
        assert!(pattern.contains(&format!(":{name}")) && path.contains(value));
    }
}

/// A constraint that is all of its segment, against another engine, without Unicode.
fn constraint(source: &str, segment: &str) {
    if segment.is_empty() || !segment.bytes().all(|b| b.is_ascii_graphic() && b != b'/') {
        return;
    }
    let Ok(compiled) = Pattern::parse(&format!("/:x({source})"), &mut Shared::new()) else { return };
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    // A text that is no regular expression by itself is a constraint, and something after it.
    if syntax::parse_with(source, &syntax).is_err() {
        return;
    }
    let bytes = thompson::Config::new().utf8(false);
    let Ok(regex) = PikeVM::builder().syntax(syntax).thompson(bytes).build(&format!("^(?:{source})$")) else { return };
    let path = format!("/{segment}");
    let got = compiled.find(&Segments::of(&path)).is_some();
    assert_eq!(got, regex.is_match(&mut regex.create_cache(), segment), "({source}) on {segment}");
}

/// A pattern that is made from the bytes.
fn made(bytes: &[u8]) {
    let mut bytes = bytes.iter();
    let mut source = oracle::Source::new(|bound| usize::from(bytes.next().copied().unwrap_or_default()) % bound);
    let tokens = source.pattern();
    let text = oracle::write(&tokens);
    let pattern = Pattern::parse(&text, &mut Shared::new()).unwrap();
    for _ in 0..4 {
        let path = source.path(&tokens);
        let got = pattern.find(&Segments::of(&path)).map(|found| {
            let mut found: Vec<(usize, String)> =
                found.iter().map(|(name, value)| (name[1..].parse().unwrap(), (*value).to_owned())).collect();
            found.sort();
            found
        });
        assert_eq!(got, oracle::find(&tokens, &path), "{text} on {path}");
    }
}

pub fn run(input: (&str, &str, &[u8])) {
    any(input.0, input.1);
    any(&format!("/{}", input.0), input.1);
    constraint(input.0, input.1);
    made(input.2);
}
