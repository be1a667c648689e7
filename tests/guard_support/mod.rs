//! Tables of the guard's tests: tab-separated, a header line, remarks after `//`.

#![allow(dead_code)] // No test uses all of it.

pub mod oracle;

/// The fields of each row.
pub fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.map(|line| line.split('\t').collect())
}

/// A field that is the body of a JSON string; `{{rep:UNIT:N}}` is UNIT N times.
pub fn text(field: &str) -> String {
    let mut text: String = serde_json::from_str(&format!("\"{field}\"")).unwrap_or_else(|e| panic!("{field}: {e}"));
    while let Some(start) = text.find("{{rep:") {
        let end = start + text[start..].find("}}").expect("a closed repetition");
        let (unit, count) = text[start + 6..end].rsplit_once(':').expect("unit and count");
        let repeated = unit.repeat(count.parse().expect("a count"));
        text.replace_range(start..end + 2, &repeated);
    }
    text
}

/// Numbers below a bound, the same ones each time (xorshift).
pub fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound
    }
}
