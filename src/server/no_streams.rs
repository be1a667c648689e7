//! A build without HTTP/2: there are no connections of many streams, and no ticket leads to one.

use super::{Connection, Content, Engine, Handing, Request, Ticket};
use crate::{error::Result, http::answer::Answer};
use std::time::Duration;

/// None exist.
pub(super) enum Streams {}

impl Streams {
    pub fn open(_: &Engine, _: bool, _: Duration) -> Option<Box<Streams>> {
        None
    }

    pub fn is_under_way(&self) -> bool {
        match *self {}
    }

    pub fn is_frozen(&self) -> bool {
        match *self {}
    }

    pub fn inherit(&mut self, _: impl Fn(u32) -> bool) -> bool {
        match *self {}
    }
}

impl Engine {
    pub(super) fn converse(&mut self, _: usize, _: &mut Connection, _: Duration) -> Result<bool> {
        Ok(false)
    }

    pub(super) fn lose_streams(&mut self, _: usize, _: &Connection, streams: Streams) {
        match streams {}
    }

    pub(super) fn may_hand_out(&self, _: Ticket) -> bool {
        false
    }

    pub(super) fn hand_out(&mut self, _: Request) -> Handing {
        Handing::Gone
    }

    pub(super) fn has_stream(&self, _: Ticket) -> bool {
        false
    }

    pub(super) fn stream_is_roomy(&self, _: Ticket) -> bool {
        true
    }

    pub(super) fn stream_has_room(&mut self, _: Ticket) -> bool {
        true
    }

    pub(super) fn answer_stream(&mut self, _: Ticket, _: &Answer, _: Content<'_>) -> Result<bool> {
        Ok(false)
    }

    pub(super) fn stream_piece(&mut self, _: Ticket, _: &[u8]) -> Result<bool> {
        Ok(false)
    }

    pub(super) fn finish_stream(&mut self, _: Ticket) -> Result<bool> {
        Ok(false)
    }

    pub(super) fn abort_stream(&mut self, _: Ticket) {}

    pub(super) fn abandon_stream(&mut self, _: Ticket) -> bool {
        false
    }

    pub(super) fn dismiss(&mut self, _: usize) {}

    pub(super) fn part(&mut self, _: usize, _: &mut Connection, _: Duration) {}

    pub(super) fn sweep_streams(&mut self, _: usize, _: Duration, _: bool) {}
}
