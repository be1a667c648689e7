//! Byte queues; the memory of an empty one goes back to the thread, so that an idle connection holds none.

use crate::{allocation, error::Result};
use std::cell::RefCell;

/// The size of a shared buffer: what one read asks for at the most, and the beginning of a record from the last one.
pub(crate) const LARGE: usize = 160 * 1024;
/// As many as one thread uses at once: one that is read into, one that is written from, for TLS inside TLS.
const SPARES: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes on their way: `data[head..tail]`. All of `data` is initialised.
#[derive(Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    head: usize,
    tail: usize,
}

impl Buffer {
    pub fn len(&self) -> usize {
        self.tail - self.head
    }

    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    pub fn bytes(&self) -> &[u8] {
        self.data.get(self.head..self.tail).unwrap_or_default()
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.data.get_mut(self.head..self.tail).unwrap_or_default()
    }

    /// Takes `count` bytes off the front. An empty buffer gives its memory back.
    pub fn consume(&mut self, count: usize) {
        self.head += count.min(self.len());
        if self.is_empty() {
            self.release();
        }
    }

    /// `count` bytes of room behind what is there; [`Buffer::filled`] says how many of them were used.
    pub fn room(&mut self, count: usize) -> Result<&mut [u8]> {
        if self.data.len() - self.tail < count {
            self.make_room(count)?;
        }
        Ok(self.data.get_mut(self.tail..self.tail + count).unwrap_or_default())
    }

    pub fn filled(&mut self, count: usize) {
        self.tail = (self.tail + count).min(self.data.len());
        if self.is_empty() {
            self.release();
        }
    }

    /// For a connection that may now rest: keeps the bytes in no more memory than they need.
    pub fn park(&mut self) {
        // Where there is no memory to be small in, it stays as it is.
        if !self.is_empty()
            && self.data.len() > 2 * self.len() + 1024
            && let Ok(small) = allocation::copied(self.bytes())
        {
            self.release();
            self.tail = small.len();
            self.data = small;
        }
    }

    fn make_room(&mut self, count: usize) -> Result<()> {
        let len = self.len();
        let wanted = len + count;
        if wanted <= self.data.len() {
            self.data.copy_within(self.head..self.tail, 0);
        } else {
            let mut larger = if wanted <= LARGE { spare()? } else { zeros(wanted.max(2 * self.data.len()))? };
            if let Some(to) = larger.get_mut(..len) {
                to.copy_from_slice(self.bytes());
            }
            self.release();
            self.data = larger;
        }
        (self.head, self.tail) = (0, len);
        Ok(())
    }

    fn release(&mut self) {
        (self.head, self.tail) = (0, 0);
        let data = std::mem::take(&mut self.data);
        if data.len() == LARGE {
            // At thread exit there is nobody left to give it to.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARES {
                    spare.push(data);
                }
            });
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

fn spare() -> Result<Vec<u8>> {
    SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().map_or_else(|| zeros(LARGE), Ok)
}

fn zeros(length: usize) -> Result<Vec<u8>> {
    allocation::zeroed(length).ok_or_else(|| allocation::no_memory(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut buffer = Buffer::default();
        let (mut next_in, mut next_out) = (0u8, 0u8);
        for step in [1usize, 7, 300, 5000, LARGE, 3, LARGE + 9] {
            for byte in buffer.room(step).unwrap().iter_mut() {
                *byte = next_in;
                next_in = next_in.wrapping_add(1);
            }
            buffer.filled(step);
            let leaving = if step == LARGE + 9 { buffer.len() } else { step / 2 + 1 };
            for byte in &buffer.bytes()[..leaving] {
                assert_eq!(*byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            buffer.consume(leaving);
            buffer.park();
        }
        assert_eq!((next_in, buffer.data.len()), (next_out, 0));
    }

    #[test]
    fn a_resting_buffer_is_small() {
        let mut buffer = Buffer::default();
        buffer.room(LARGE).unwrap()[..5].copy_from_slice(b"hello");
        buffer.filled(5);
        buffer.park();
        assert_eq!((buffer.bytes(), buffer.data.len()), (&b"hello"[..], 5));
        buffer.room(100).unwrap()[0] = b'!';
        buffer.filled(1);
        assert_eq!(buffer.bytes(), b"hello!");
    }
}
