//! PEM and the keys in it, with and without a password: whatever the text, no panic, and never more sections than BEGIN lines.
#![no_main]

use caspian_net::tls::pem::look;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    assert!(look(text) <= text.windows(11).filter(|words| words == b"-----BEGIN ").count());
});
