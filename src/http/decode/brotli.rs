//! br (RFC 7932). Large windows, an extension that HTTP does not have, are refused: 16 MiB is the most.

use super::Progress;
use crate::{error::Result, http::broken};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

pub(crate) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    begun: bool,
    over: bool,
}

impl Brotli {
    pub fn new() -> Brotli {
        let alloc = StandardAlloc::default;
        let mut state = Box::new(BrotliState::new_strict(alloc(), alloc(), alloc()));
        // The window at once: one that grows holds the old one beside the new one, half as much again.
        state.set_initial_ring_buffer_size(u32::MAX);
        Brotli { state, begun: false, over: false }
    }

    pub fn is_whole(&self) -> bool {
        self.over || !self.begun
    }

    pub fn step(&mut self, input: &[u8], into: &mut [u8]) -> Result<Progress> {
        if self.over {
            return Ok(Progress { used: input.len(), given: 0 });
        }
        self.begun |= !input.is_empty();
        let (mut input_left, mut used, mut room, mut given, mut total) = (input.len(), 0, into.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut input_left,
            &mut used,
            input,
            &mut room,
            &mut given,
            into,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultSuccess => self.over = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => (),
            // What was decoded until then comes first; the state keeps the failure for the next step.
            BrotliResult::ResultFailure if given > 0 => (),
            BrotliResult::ResultFailure => return Err(broken("br: corrupt data")),
        }
        Ok(Progress { used, given })
    }
}
