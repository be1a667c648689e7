//! The fuzz targets in one program: `TARGET=NAME` says which of them runs. The rest is libFuzzer's (`torture/fuzz`).
#![no_main]

use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};
use std::sync::OnceLock;

mod answer;
mod frames;
mod guard_reference;

/// Reads the input that a target asks for from the bytes, and runs it; false if they are too few.
fn given<'a, T: Arbitrary<'a>>(bytes: &'a [u8], run: fn(T)) -> bool {
    // The same answer as from the next line, for less.
    if bytes.len() < T::size_hint(0).0 {
        return false;
    }
    T::arbitrary_take_rest(Unstructured::new(bytes)).map(run).is_ok()
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(mod $name;)*
        const TARGETS: &[(&str, fn(&[u8]) -> bool)] = &[$((stringify!($name), |bytes| given(bytes, $name::run))),*];
    };
}

targets! {
    dns grants guard_host guard_path guard_pattern guard_url
    http2_answer http2_serve http_auth http_chunked http_cookies http_decode http_events http_head http_incoming http_multipart http_socks http_url
    imap mail_data mail_mailbox mail_message mime parsed pem websocket
}

static TARGET: OnceLock<fn(&[u8]) -> bool> = OnceLock::new();

/// The target that the environment names. Without one: all names, for `torture/fuzz`.
fn choose() {
    let name = std::env::var("TARGET").unwrap_or_default();
    match TARGETS.iter().find(|(target, _)| *target == name) {
        Some((_, run)) => TARGET.set(*run).unwrap(),
        None => {
            TARGETS.iter().for_each(|(target, _)| println!("{target}"));
            std::process::exit(2);
        }
    }
}

libfuzzer_sys::fuzz_target!(init: choose(), |bytes: &[u8]| -> libfuzzer_sys::Corpus {
    match TARGET.get().is_some_and(|run| run(bytes)) {
        true => libfuzzer_sys::Corpus::Keep,
        false => libfuzzer_sys::Corpus::Reject,
    }
});
