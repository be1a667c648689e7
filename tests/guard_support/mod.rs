//! What the guard's tests share: an oracle, and numbers to try it with.

#![allow(dead_code)] // No test uses all of it.

pub mod oracle;

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
