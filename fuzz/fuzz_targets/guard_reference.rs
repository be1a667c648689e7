//! What the guard's targets share: a second reading of URLs for a guard, on top of the crate `url` alone.

use std::collections::VecDeque;
use url::Url;

/// The path that a guard sends, if it sends any: from the path as it was written, and from what `url` made of it.
pub fn path(raw: &str, parsed: &Url) -> Option<String> {
    let raw = raw.split(['?', '#']).next().unwrap_or_default();
    read(raw)?.split(['/', '\\']).all(harmless).then_some(())?;
    let path = read(parsed.path())?;
    path.split('/').all(|segment| harmless(segment) && segment != "." && segment != "..").then_some(path)
}

/// Every escape looked at on its own, as a queue of characters.
fn read(text: &str) -> Option<String> {
    let (mut queue, mut out, mut bytes): (VecDeque<char>, _, _) = (text.chars().collect(), String::new(), Vec::new());
    while let Some(c) = queue.pop_front() {
        if c != '%' {
            out.push(c);
            bytes.extend(c.to_string().bytes());
            continue;
        }
        let digits: String = [queue.pop_front()?, queue.pop_front()?].iter().collect();
        if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(&digits, 16).ok()?;
        if [0x2f, 0x5c, 0, 0x0a, 0x0d].contains(&byte) {
            return None;
        }
        bytes.push(byte);
        match char::from(byte) {
            c if c.is_ascii_alphanumeric() || "-._~".contains(c) => out.push(c),
            _ => out.push_str(&format!("%{digits}")),
        }
    }
    String::from_utf8(bytes).ok()?;
    let twice =
        out.as_bytes().windows(5).any(|five| &five[..3] == b"%25" && five[3..].iter().all(u8::is_ascii_hexdigit));
    (!twice).then_some(out)
}

fn harmless(segment: &str) -> bool {
    let lower = segment.to_ascii_lowercase();
    ![".;", "..;", ".%3b", "..%3b"].iter().any(|start| lower.starts_with(start))
}
