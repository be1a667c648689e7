//! Tables under `tests/data`: tab-separated, a header line, remarks after `//`.

#![allow(dead_code)] // No test uses all of it.

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
