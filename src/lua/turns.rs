//! What calls use in turns: the connection or descriptor of a socket of ours, or of the drop-in's.
//!
//! A hook, a finalizer or a callback may run anywhere and come back to the same value: it is refused while a call has the item in its hands,
//! and what it closes is closed when that call is over (`userdata`: Sharing). Lua copies from the buffer of a connection between two turns
//! ([`stack::push_front`](super::stack::push_front)): a call of somebody else's meanwhile is a turn, too, after which the copy counts for nothing.

use crate::conn::Conn;
use std::cell::{Cell, Ref, RefCell, RefMut};

/// What can be closed, and may be a connection.
pub trait Item: Default {
    fn stream(&self) -> Option<&Conn>;
    fn stream_mut(&mut self) -> Option<&mut Conn>;
}

/// What Lua copies from.
pub trait Buffered {
    /// The first `length` bytes of the buffer, which stay where they are until the next turn, and the number of this one. `None`: it has fewer.
    fn front(&self, length: usize) -> Option<(u64, *const [u8])>;
    /// While `on`, the bytes stay, and every other call is refused.
    fn pin(&self, on: bool);
    /// Takes `count` bytes from the buffer, and closes what was to be closed meanwhile. False, and nothing is taken, if that turn is over:
    /// another call had the bytes.
    fn taken(&self, turn: u64, count: usize) -> bool;
}

/// The item, nothing once it is closed.
#[derive(Default)]
pub struct Turns<T> {
    item: RefCell<T>,
    /// Lua is copying from the buffer: nothing else may touch it (`userdata`: Pins).
    pinned: Cell<bool>,
    /// It was closed meanwhile, or while a call waits: it is when that is over.
    ended: Cell<bool>,
    /// How often somebody had it in his hands.
    count: Cell<u64>,
}

impl<T: Item> Turns<T> {
    pub fn new(item: T) -> Turns<T> {
        Turns { item: RefCell::new(item), ..Turns::default() }
    }

    /// The item, unless it is in use.
    pub fn item(&self) -> Option<RefMut<'_, T>> {
        if self.pinned.get() {
            return None;
        }
        let item = self.item.try_borrow_mut().ok()?;
        self.count.set(self.count.get() + 1);
        Some(item)
    }

    /// The item, to look at.
    pub fn look(&self) -> Option<Ref<'_, T>> {
        self.item.try_borrow().ok()
    }

    /// It is to be closed, once nobody has it in his hands.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// True if that was asked for and has not been done.
    pub fn is_ending(&self) -> bool {
        self.ended.get()
    }

    /// What is to be closed now: whoever drops it does so.
    pub fn ended(&self) -> Option<T> {
        if !self.ended.get() {
            return None;
        }
        let mut item = self.item()?;
        self.ended.set(false);
        Some(std::mem::take(&mut *item))
    }

    pub fn is_pinned(&self) -> bool {
        self.pinned.get()
    }

    /// While `on`, the item stays where it is, and nobody gets it.
    pub fn pin(&self, on: bool) {
        self.pinned.set(on);
    }

    /// Makes it a later turn than any of `other`'s, whose place this takes.
    pub fn follow(&self, other: &Turns<T>) {
        self.count.set(self.count.get().max(other.count.get()) + 1);
    }

    /// As of [`Buffered`].
    pub fn front(&self, length: usize) -> Option<(u64, *const [u8])> {
        let item = self.look()?;
        let bytes: *const [u8] = item.stream()?.buffered().get(..length)?;
        Some((self.count.get(), bytes))
    }

    /// As of [`Buffered`], but that nothing is closed.
    pub fn taken(&self, turn: u64, count: usize) -> bool {
        if turn != self.count.get() {
            return false;
        }
        if let Some(mut item) = self.item()
            && let Some(conn) = item.stream_mut()
        {
            conn.consume(count);
        }
        true
    }
}
