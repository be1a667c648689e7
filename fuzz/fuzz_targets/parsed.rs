//! Any bytes as a message: never a panic, never a stack that grows, and always something to look at or `TooMany`.

use caspian_net::mail::{
    parsed::{parse, decoded_words},
    value::Value,
};

pub fn run(bytes: &[u8]) {
    let mut seen = false;
    let done = parse(bytes, &mut |value| seen = matches!(value, Value::Hash(_)));
    assert_eq!(done.is_ok(), seen);
    let _ = decoded_words(bytes);
}
