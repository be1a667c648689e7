//! Any text as a URL: never a panic, what we write is read back as the same URL, and its target fits in a request line.
use caspian_net::http::url::HttpUrl;

pub fn run(input: (&str, &[u8])) {
    let Ok(url) = HttpUrl::parse(input.0) else { return };
    assert!(url.target().starts_with('/') && url.target().bytes().all(|b| b.is_ascii_graphic()), "{url:?}");
    assert_eq!(HttpUrl::parse(&url.to_text()).as_ref().map(HttpUrl::to_text), Ok(url.to_text()));
    if let Ok(next) = url.join(input.1) {
        // The root's dot is part of an origin and not of its text.
        assert_eq!(HttpUrl::parse(&next.to_text()).map(|url| url.origin().to_string()), Ok(next.origin().to_string()));
    }
}
