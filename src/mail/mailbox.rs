//! Mailboxes (addresses): `a@example.com`, `Ann <a@example.com>`, `"Miller, Ann" <a@example.com>`, and lists of them
//! (RFC 5322 section 3.4, without groups, comments and the obsolete forms; RFC 6531 and 6532 for other scripts).

use crate::address::Host;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of what stands before the `@`, and of a domain (RFC 5321 section 4.5.3.1).
const LOCAL: usize = 64;
const DOMAIN: usize = 255;

/// A name, where there is one, and an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub name: Option<String>,
    /// As it goes into the envelope: its domain in ASCII.
    pub address: String,
}

impl Mailbox {
    /// True if a server must know SMTPUTF8 for it.
    pub fn is_international(&self) -> bool {
        !self.address.is_ascii()
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// Reads a list of mailboxes, with commas between. The error says what is wrong with which.
pub fn list(text: &str) -> Result<Vec<Mailbox>, String> {
    if let Some(control) = text.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(format!("it holds a control character (U+{:04X})", u32::from(control)));
    }
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (one, after) = cut(rest);
        found.push(mailbox(one.trim_matches([' ', '\t']))?);
        match after {
            Some(after) => rest = after,
            None => return Ok(found),
        }
    }
}

/// What stands before the first comma that is in no quotes, and what behind it.
fn cut(text: &str) -> (&str, Option<&str>) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
            _ => {}
        }
    }
    (text, None)
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let Some(body) = text.strip_suffix('>') else {
        return Ok(Mailbox { name: None, address: address(text)? });
    };
    let Some((name, inner)) = body.rsplit_once('<') else {
        return Err(format!("{}: a \">\" without \"<\"", shown(text)));
    };
    let name = name.trim_matches([' ', '\t']);
    Ok(Mailbox { name: if name.is_empty() { None } else { Some(phrase(name)?) }, address: address(inner)? })
}

/// A name: a quoted string, or words without the characters that mean something in a list.
fn phrase(text: &str) -> Result<String, String> {
    match quoted(text) {
        Some(Ok(name)) => Ok(name),
        Some(Err(())) => Err(format!("{}: a quote in the middle of a name", shown(text))),
        None => match text.find(['<', '>', '(', ')', '[', ']', ':', ';', '@', '\\', '"']) {
            Some(_) => Err(format!("{}: a name with \"<>()[]:;@\\\" or quotes in it stands in quotes", shown(text))),
            None => Ok(text.to_owned()),
        },
    }
}

/// The text of a quoted string; nothing for what does not begin with a quote.
fn quoted(text: &str) -> Option<Result<String, ()>> {
    let rest = text.strip_prefix('"')?;
    let mut out = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(if chars.next().is_none() { Ok(out) } else { Err(()) }),
            '\\' => match chars.next() {
                Some(c) => out.push(c),
                None => break,
            },
            c => out.push(c),
        }
    }
    Some(Err(()))
}

/// An address as it goes into the envelope.
pub fn address(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{}: {why}", shown(text)));
    let Some((local, domain)) = text.rsplit_once('@') else {
        return wrong("an address has an @");
    };
    if local.is_empty() || local.len() > LOCAL {
        return wrong("1 to 64 bytes stand before the @");
    }
    let fine = if local.starts_with('"') {
        // The wire knows printable characters and blanks in quotes (RFC 5321 section 4.1.2).
        // Angle brackets, too; but nobody has them, and not every server minds the quotes.
        matches!(quoted(local), Some(Ok(_))) && !local.chars().any(|c| c.is_control() || matches!(c, '<' | '>'))
    } else {
        local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
    };
    if !fine {
        return wrong("what stands before the @ is malformed");
    }
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let known = match literal.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
                literal.get(5..).is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
            }
            _ => literal.parse::<Ipv4Addr>().is_ok(),
        };
        return if known { Ok(text.to_owned()) } else { wrong("the address in brackets is malformed") };
    }
    // A name as everywhere: its letters, digits and hyphens, its A-labels.
    let named = Host::parse(domain).ok().filter(|host| !host.is_absolute());
    let Some(name) = named.as_ref().and_then(Host::name).filter(|name| name.len() <= DOMAIN) else {
        return wrong("what stands behind the @ is no domain");
    };
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')) {
        return wrong("what stands behind the @ is no domain");
    }
    // As it was written, where that is ASCII: the caller looks for his own words in the answer.
    Ok(if domain.is_ascii() { text.to_owned() } else { format!("{local}@{name}") })
}

/// RFC 5322 section 3.2.3, and what RFC 6532 adds.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// What was written, short enough for a message.
fn shown(text: &str) -> String {
    if text.chars().count() > 60 { format!("an entry of {} bytes", text.len()) } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes() {
        let one = |name: Option<&str>, address: &str| Mailbox { name: name.map(Into::into), address: address.into() };
        for (text, expected) in [
            ("a@b.example", vec![one(None, "a@b.example")]),
            ("<a@B.example>", vec![one(None, "a@B.example")]),
            (" Ann  <a@b.example> ", vec![one(Some("Ann"), "a@b.example")]),
            ("Ann B. Mc'Dee <a@b.example>", vec![one(Some("Ann B. Mc'Dee"), "a@b.example")]),
            (r#""Miller, \"Ann\" <x>" <a@b.example>"#, vec![one(Some("Miller, \"Ann\" <x>"), "a@b.example")]),
            ("Jörg <j@b.example>", vec![one(Some("Jörg"), "j@b.example")]),
            ("a@x, B <b@y>,\tc@z", vec![one(None, "a@x"), one(Some("B"), "b@y"), one(None, "c@z")]),
            ("jörg@bücher.example", vec![one(None, "jörg@xn--bcher-kva.example")]),
            (r#""a b"@x"#, vec![one(None, r#""a b"@x"#)]),
            (r#""a, b@c" <"a@b"@x>"#, vec![one(Some("a, b@c"), r#""a@b"@x"#)]),
            ("a@[192.0.2.1]", vec![one(None, "a@[192.0.2.1]")]),
            ("a@[IPv6:2001:db8::1]", vec![one(None, "a@[IPv6:2001:db8::1]")]),
            ("a+b=c/d@x-y.example", vec![one(None, "a+b=c/d@x-y.example")]),
        ] {
            assert_eq!(list(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_mailbox() {
        for text in [
            "",
            ",",
            "a@x,",
            "a",
            "@x",
            "a@",
            "a b@x",
            "a@x y",
            "a..b@x",
            ".a@x",
            "a.@x",
            "a@x\r\nRCPT TO:<b@y>",
            "a@x\0",
            "a\u{85}@x",
            "<a@x",
            "a@x>",
            "A <a@x> B",
            "A <a@x> <b@y>",
            "<<a@x>>",
            "a@x <b@y>",
            "a:b@x",
            "\"a>b\"@x",
            "(c) a@x",
            "\"a <a@x>",
            "\"a\"b <a@x>",
            "\"a\"b@x",
            "\"a@x",
            "a@[1.2.3]",
            "a@[IPv6:::g]",
            "a@192.0.2.1",
            "a@x..y",
            "a@-x-.",
            "a@x.",
            "a@<x>",
            "a>b@x",
            "a@x;b@y",
            "group: a@x;",
            "a@x SIZE=1",
            "<a@x> SIZE=1",
            "a@b@x",
            "a\\b@x",
        ] {
            assert!(list(text).is_err(), "{text:?} is {:?}", list(text));
        }
        assert!(address(&format!("{}@x", "a".repeat(64))).is_ok());
        assert!(address(&format!("{}@x", "a".repeat(65))).is_err());
    }

    #[test]
    fn what_is_international() {
        let is = |text: &str| list(text).unwrap()[0].is_international();
        assert!(is("jörg@b.example"));
        assert!(!is("Jörg <j@bücher.example>"));
    }
}
