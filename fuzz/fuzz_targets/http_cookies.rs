//! Any bytes as Set-Cookie lines: never a panic, never more than the caps, and what comes out can be loaded again.
use caspian_net::http::{
    cookies::{Jar, MAX_HEADER, MAX_PER_DOMAIN},
    url::HttpUrl,
};
use std::sync::LazyLock;

static URLS: LazyLock<[HttpUrl; 3]> = LazyLock::new(|| {
    ["https://a.b.example.com/x/y", "http://b.example.com/", "http://127.0.0.1/x"].map(|text| HttpUrl::parse(text).unwrap())
});

pub fn run(bytes: &[u8]) {
    let mut jar = Jar::new();
    for (line, url) in bytes.split(|b| *b == b'\n').zip(URLS.iter().cycle()) {
        jar.store(url, line, 1_700_000_000);
    }
    assert!(jar.len() <= MAX_PER_DOMAIN * 6);
    for url in &*URLS {
        let header = jar.header(url, 1_700_000_001).unwrap_or_default();
        assert!(header.len() <= MAX_HEADER && !header.iter().any(u8::is_ascii_control));
    }
    let (records, mut again) = (jar.records(1_700_000_001), Jar::new());
    assert_eq!(again.load(records.clone(), 1_700_000_001), records.len());
    assert_eq!(again.records(1_700_000_001), records);
}
