//! PEM and the keys in it, with and without a password: whatever the text, no panic, and never more sections than BEGIN lines.

use caspian_net::tls::pem::look;

pub fn run(text: &[u8]) {
    assert!(look(text) <= text.windows(11).filter(|words| words == b"-----BEGIN ").count());
}
