//! The queue of bytes that a connection reads into, encrypted or not. An empty one gives its memory to the thread's next: an idle
//! connection has none, and a busy thread allocates none.

use crate::{allocation, error::Result};
use std::{cell::RefCell, ops::Range};

/// What a queue begins with, in bytes: one read of a socket.
const FIRST: usize = 64 * 1024;
/// What a queue begins with that has to hold more, in bytes. TLS asks for no more than this at once: records, and the beginning of
/// the next one.
pub(crate) const LARGE: usize = 160 * 1024;
/// The largest memory that a thread keeps for its next queues, in bytes, and how many of them: one of the connection and four of TLS
/// inside TLS, each with one that is read into and one that is written from.
const LARGEST_SPARE: usize = 1024 * 1024;
const SPARES: usize = 5;
/// A queue doubles up to this size, in bytes, and grows by as much from there on.
const MOST_DOUBLED: usize = 64 << 20;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that came and were not taken: `data[head..tail]`. All of `data` is initialised.
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

    /// The memory, and where in it the bytes are: for a reader that takes over the memory without a copy.
    #[cfg(feature = "http2")]
    pub fn parts(&mut self) -> (&mut Vec<u8>, Range<usize>) {
        (&mut self.data, self.head..self.tail)
    }

    /// Takes `count` bytes off the front. An empty queue gives its memory back.
    pub fn consume(&mut self, count: usize) {
        self.head += count.min(self.len());
        if self.is_empty() {
            self.release();
        }
    }

    /// All bytes, without a copy.
    pub fn take(&mut self) -> Vec<u8> {
        let mut data = std::mem::take(&mut self.data);
        data.truncate(self.tail);
        data.drain(..self.head);
        (self.head, self.tail) = (0, 0);
        data
    }

    /// Room for `count` bytes behind those that are there; [`Buffer::filled`] says how many of them were used.
    /// Errors: `too_large` where there is no memory for that; no byte is lost.
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
            self.put(small);
        }
    }

    fn make_room(&mut self, count: usize) -> Result<()> {
        let wanted = self.len().saturating_add(count);
        if wanted > self.data.len() && self.data.len() < LARGE {
            let mut larger = spare(wanted)?;
            if let Some(to) = larger.get_mut(..self.len()) {
                to.copy_from_slice(self.bytes());
            }
            self.put(larger);
        } else {
            self.data.copy_within(self.head..self.tail, 0);
            (self.head, self.tail) = (0, self.len());
        }
        if wanted > self.data.len() {
            // Doubling keeps the copying linear however the bytes drip in.
            let doubled = wanted.max(self.data.len() + self.data.len().min(MOST_DOUBLED));
            allocation::lengthen(&mut self.data, doubled).or_else(|_| allocation::lengthen(&mut self.data, wanted))?;
        }
        Ok(())
    }

    /// Goes on in `data`, which begins with all bytes.
    fn put(&mut self, data: Vec<u8>) {
        let length = self.len();
        self.release();
        (self.data, self.tail) = (data, length);
    }

    /// Gives the memory to the thread.
    fn release(&mut self) {
        (self.head, self.tail) = (0, 0);
        let data = std::mem::take(&mut self.data);
        if (FIRST..=LARGEST_SPARE).contains(&data.len()) {
            // At thread exit there is nobody left to give it to.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARES {
                    spare.push(data);
                } else if let Some(smallest) = spare.iter_mut().min_by_key(|spare| spare.len())
                    && smallest.len() < data.len()
                {
                    *smallest = data;
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

/// Memory for `wanted` bytes, or for [`LARGE`] where that is less: what was given back last.
fn spare(wanted: usize) -> Result<Vec<u8>> {
    let size = if wanted <= FIRST { FIRST } else { LARGE };
    let take = |spares: &mut Vec<Vec<u8>>| {
        let found = spares.iter().rposition(|spare| spare.len() >= size)?;
        Some(spares.swap_remove(found))
    };
    let kept = SPARE.try_with(|spares| take(&mut spares.borrow_mut())).ok().flatten();
    kept.or_else(|| allocation::zeroed(size)).ok_or_else(|| allocation::no_memory(size))
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
        buffer.room(FIRST).unwrap()[..5].copy_from_slice(b"hello");
        buffer.filled(5);
        buffer.park();
        assert_eq!((buffer.bytes(), buffer.data.len()), (&b"hello"[..], 5));
        buffer.room(100).unwrap()[0] = b'!';
        buffer.filled(1);
        assert_eq!(buffer.bytes(), b"hello!");
    }

    #[test]
    fn memory_is_used_again() {
        let kept = || SPARE.with(|spare| spare.borrow().iter().map(Vec::len).collect::<Vec<_>>());
        let of = |length: usize| {
            let mut buffer = Buffer::default();
            buffer.room(length).unwrap()[0] = 1;
            buffer.filled(1);
            buffer
        };
        // A thread of its own has none yet.
        std::thread::spawn(move || {
            let mut one = of(100);
            let place = one.bytes().as_ptr();
            one.consume(1);
            assert_eq!((kept(), of(FIRST).bytes().as_ptr()), (vec![FIRST], place));
            // One that is too small is left for others.
            drop(of(FIRST + 1));
            assert_eq!(kept(), [FIRST, LARGE]);
            // Dropped with bytes in it, it is given back too; larger than the limit, it is not.
            drop(of(LARGEST_SPARE));
            assert_eq!(kept(), [FIRST, LARGEST_SPARE]);
            drop(of(LARGEST_SPARE + 1));
            assert_eq!(kept(), [FIRST]);
            // No more than so many, the largest ones.
            drop((0..=SPARES).map(|_| of(1)).collect::<Vec<_>>());
            assert_eq!(kept(), [FIRST; SPARES]);
            drop((0..=SPARES).map(|_| of(LARGE)).collect::<Vec<_>>());
            assert_eq!(kept(), [LARGE; SPARES]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_long_one_grows_by_doubling() {
        let mut buffer = Buffer::default();
        let mut sizes = Vec::new();
        for _ in 0..1000 {
            buffer.room(1000).unwrap()[0] = 7;
            buffer.filled(1000);
            sizes.push(buffer.data.len());
        }
        sizes.dedup();
        assert_eq!(sizes, [FIRST, LARGE, 2 * LARGE, 4 * LARGE, 8 * LARGE]);
        assert!(buffer.room(usize::MAX).is_err());
        let bytes = buffer.take();
        assert_eq!((bytes.len(), bytes[999_000], buffer.len(), buffer.data.len()), (1_000_000, 7, 0, 0));
    }
}
