//! The dialect of routes: `tests/data/guard_patterns.tsv` has what matches what, and with which parameters.

mod guard_support;
mod tables;

use caspian_net::guard::{
    path::{Segments, canonical},
    pattern::{Pattern, Shared},
};
use caspian_net::http::url::HttpUrl;
use guard_support::{
    numbers,
    oracle::{self, Source},
};
use tables::{rows, text};

/// What a pattern says about a path: `no`, `yes`, or its parameters.
fn ask(pattern: &str, path: &str) -> String {
    let compiled = Pattern::parse(pattern, &mut Shared::new()).unwrap_or_else(|why| panic!("{pattern}: {why}"));
    let url = HttpUrl::parse(&format!("http://h{path}")).expect("a URL");
    let Ok(path) = canonical(url.path()) else { return "no".into() };
    match compiled.find(&Segments::of(&path)) {
        None => "no".into(),
        Some(params) if params.is_empty() => "yes".into(),
        Some(params) => params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
    }
}

#[test]
fn the_table_holds() {
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for row in rows(include_str!("data/guard_patterns.tsv")) {
        let [pattern, path, expected] = row[..] else { panic!("{row:?}") };
        let (pattern, path, expected) = (text(pattern), text(path), text(expected));
        let got = ask(&pattern, &path);
        ran += 1;
        if got != expected {
            wrong.push(format!("{pattern} on {path}: {got}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= 150, "{ran} rows");
}

/// A character of a pattern stands for itself as the URL parser writes it.
#[test]
fn characters_stand_for_themselves() {
    for c in (' '..='~').chain("äß€😀\u{a0}\u{200b}\u{ff0e}".chars()) {
        let (pattern, path) = match c {
            '/' | '\\' => continue,
            ':' | '(' | ')' | '*' | '{' | '}' | '+' => (format!("/x\\{c}y"), format!("/x{c}y")),
            '?' => ("/x\\?y".into(), "/x%3Fy".into()),
            '#' | '%' => (format!("/x%{:X}y", u32::from(c)), format!("/x%{:x}y", u32::from(c))),
            c => (format!("/x{c}y"), format!("/x{c}y")),
        };
        assert_eq!(ask(&pattern, &path), "yes", "{pattern}");
        assert_eq!(ask(&pattern, "/xy"), "no", "{pattern}");
        // The same beside a constraint, where it is part of a regular expression.
        assert_eq!(ask(&format!("{pattern}:z(z+)"), &format!("{path}zz")), "z=zz", "{pattern}");
    }
}

/// Random patterns and paths, against an oracle that tries everything.
#[test]
fn the_matcher_agrees_with_an_oracle() {
    let mut source = numbers();
    let (mut matched, mut params) = (0, 0);
    for _ in 0..20_000 {
        let mut source = Source::new(&mut source);
        let tokens = source.pattern();
        let text = oracle::write(&tokens);
        let pattern = Pattern::parse(&text, &mut Shared::new()).unwrap_or_else(|why| panic!("{text}: {why}"));
        for _ in 0..8 {
            let path = source.path(&tokens);
            let expected = oracle::find(&tokens, &path);
            let got = pattern.find(&Segments::of(&path)).map(|found| {
                let number = |name: &str| name[1..].parse::<usize>().expect("a number");
                let mut found: Vec<_> = found.iter().map(|(n, v)| (number(n), (*v).to_owned())).collect();
                found.sort();
                found
            });
            assert_eq!(got, expected, "{text} on {path}");
            matched += usize::from(got.is_some());
            params += got.map_or(0, |found| found.len());
        }
    }
    assert!(matched > 20_000 && params > 20_000, "{matched} matches, {params} parameters: too few to say much");
}

/// What the matcher looks at grows as the path does, whatever pattern and path: counted, not timed. (Inside one
/// segment with a constraint it is the crate that promises this.)
#[test]
fn matching_is_linear() {
    let stars = format!("{}/b", "/**/a".repeat(20));
    let plus = format!("{}/b", (0..20).map(|n| format!("/:n{n}+/a/a")).collect::<String>());
    for (pattern, unit) in [
        ("/**/b", "/a"),
        (&stars, "/a"),
        (&plus, "/a"),
        ("/**/a/a/a/a/a/a/a/a/b/**", "/a"),
        ("/:a*/:b*/:c*/:d*/x", "/"),
        ("/**/:x(a+)-:y/**/z{/a}?{/b}?{/c}?{/d}?", "/aa-a"),
        ("/*-*-*-*-*-*-*-x", "-"),
        ("/**/((?:a+)+b)", "/aaaaaaaaaaaaaaaa"),
        ("/:x((?:a+)+b)", "a"),
        ("/:a:b:c:d:e", "a"),
    ] {
        let compiled = Pattern::parse(pattern, &mut Shared::new()).unwrap_or_else(|why| panic!("{pattern}: {why}"));
        let work = |length: usize| {
            let path = format!("/{}", unit.repeat(length / unit.len()));
            let mut work = 0;
            let _ = compiled.find_counted(&Segments::of(&path), &mut work);
            // Each byte of the path against each of the pattern, in each of the ways to take its groups, at the most.
            assert!(work <= 16 * (pattern.len() + 1) * (path.len() + 1), "{pattern}: {work}");
            work
        };
        let (half, whole) = (work(1 << 15), work(1 << 16));
        assert!(whole <= half * 2 + pattern.len() * 16, "{pattern}: {half} steps, then {whole}");
    }
}
