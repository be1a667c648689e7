//! A connection in memory: the end that `h2` reads and writes as a stream, and ours, which moves its bytes to and from a socket.
//!
//! Both directions are capped: bytes that do not fit are not taken, and `h2` continues when it is polled after there is
//! room. An empty pipe holds almost no memory.

use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an empty direction keeps of its memory.
const KEEP: usize = 4096;

/// Bytes on their way: `data[head..]`, no more than `cap`.
struct Direction {
    data: Vec<u8>,
    head: usize,
    cap: usize,
    /// `data` is somebody else's memory, who gets it back; so many bytes at its end do not count.
    lent: Option<usize>,
    /// Nothing follows.
    ended: bool,
}

impl Direction {
    fn new(cap: usize) -> Direction {
        Direction { data: Vec::new(), head: 0, cap, lent: None, ended: false }
    }

    fn bytes(&self) -> &[u8] {
        let end = self.data.len() - self.lent.unwrap_or(0).min(self.data.len());
        self.data.get(self.head..end).unwrap_or_default()
    }

    fn room(&self) -> usize {
        self.cap.saturating_sub(self.bytes().len())
    }

    /// Takes what there is room for; how much.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        if self.head > 0 && self.data.len() + count > self.data.capacity() {
            self.data.drain(..self.head);
            self.head = 0;
        }
        self.data.extend_from_slice(bytes.get(..count).unwrap_or_default());
        count
    }

    fn consume(&mut self, count: usize) {
        self.head += count.min(self.bytes().len());
        if self.lent.is_none() && self.head == self.data.len() {
            self.head = 0;
            match self.data.capacity() > KEEP {
                true => self.data = Vec::new(),
                false => self.data.clear(),
            }
        }
    }

    /// Puts a part of `data` on its way without a copy; false if others are before it, or it is too long.
    fn lend(&mut self, data: &mut Vec<u8>, part: &Range<usize>) -> bool {
        let fits = self.bytes().is_empty() && part.len() <= self.cap && part.end <= data.len();
        if fits {
            (self.head, self.lent) = (part.start, Some(data.len() - part.end));
            std::mem::swap(&mut self.data, data);
        }
        fits
    }

    /// The memory that was lent; what is left of its bytes moves to memory of our own.
    fn redeem(&mut self) -> Vec<u8> {
        let rest = self.bytes().to_vec();
        (self.head, self.lent) = (0, None);
        std::mem::replace(&mut self.data, rest)
    }
}

struct Both {
    /// To `h2`.
    inward: Direction,
    /// From it.
    outward: Direction,
}

/// Our end.
pub struct Pipe(Arc<Mutex<Both>>);

/// The end that is `h2`'s.
pub struct Stream(Arc<Mutex<Both>>);

/// A pipe that holds so many bytes to `h2`, and so many from it.
pub fn pipe(inward: usize, outward: usize) -> (Pipe, Stream) {
    let both = Both { inward: Direction::new(inward), outward: Direction::new(outward) };
    let both = Arc::new(Mutex::new(both));
    (Pipe(both.clone()), Stream(both))
}

/// For polling: nobody is to be woken, since everything is polled again after bytes were moved.
pub fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn lock(both: &Mutex<Both>) -> MutexGuard<'_, Both> {
    // Nothing in here panics with the lock held, and a direction is whole after each call.
    both.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    /// Hands `bytes` in, as far as there is room; how many were taken.
    pub fn give(&self, bytes: &[u8]) -> usize {
        lock(&self.0).inward.put(bytes)
    }

    /// True if [`Pipe::lend`] would take so many bytes.
    pub fn fits(&self, count: usize) -> bool {
        let both = lock(&self.0);
        both.inward.bytes().is_empty() && count <= both.inward.cap
    }

    /// Hands in a part of `data`, which stays where it is until [`Pipe::redeem`]; false if it does not fit.
    pub fn lend(&self, data: &mut Vec<u8>, part: &Range<usize>) -> bool {
        lock(&self.0).inward.lend(data, part)
    }

    /// The memory of [`Pipe::lend`].
    pub fn redeem(&self) -> Vec<u8> {
        lock(&self.0).inward.redeem()
    }

    /// How many bytes would be taken.
    pub fn room(&self) -> usize {
        lock(&self.0).inward.room()
    }

    /// How many bytes were handed in and not read.
    pub fn unread(&self) -> usize {
        lock(&self.0).inward.bytes().len()
    }

    /// Nothing more will be handed in: the peer has ended the connection.
    pub fn end(&self) {
        lock(&self.0).inward.ended = true;
    }

    /// Shows `send` what is to go out, and drops as much as it says has gone.
    pub fn take<E>(&self, send: impl FnOnce(&[u8]) -> Result<usize, E>) -> Result<usize, E> {
        let mut both = lock(&self.0);
        let count = send(both.outward.bytes())?;
        both.outward.consume(count);
        Ok(count)
    }

    /// How many bytes are to go out.
    pub fn pending(&self) -> usize {
        lock(&self.0).outward.bytes().len()
    }

    /// True once `h2` has ended the connection: nothing follows what is pending.
    pub fn is_shut(&self) -> bool {
        lock(&self.0).outward.ended
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut both = lock(&self.0);
        let inward = &mut both.inward;
        let count = inward.bytes().len().min(into.remaining());
        if count == 0 && !inward.ended && into.remaining() > 0 {
            return Poll::Pending;
        }
        into.put_slice(inward.bytes().get(..count).unwrap_or_default());
        inward.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut both = lock(&self.0);
        if both.outward.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        match both.outward.put(bytes) {
            0 if !bytes.is_empty() => Poll::Pending,
            count => Poll::Ready(Ok(count)),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut both = lock(&self.0);
        if both.outward.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = parts.iter().map(|part| both.outward.put(part)).sum();
        match count {
            0 if parts.iter().any(|part| !part.is_empty()) => Poll::Pending,
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written is on its way: the cap holds back whoever writes more.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).outward.ended = true;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &mut Stream, most: usize) -> Option<Vec<u8>> {
        let mut room = vec![0; most];
        let mut into = ReadBuf::new(&mut room);
        match Pin::new(stream).poll_read(&mut context(), &mut into) {
            Poll::Ready(done) => done.map(|()| Some(into.filled().to_vec())).unwrap(),
            Poll::Pending => None,
        }
    }

    fn write(stream: &mut Stream, bytes: &[u8]) -> Option<usize> {
        match Pin::new(stream).poll_write(&mut context(), bytes) {
            Poll::Ready(done) => Some(done.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn bytes_go_in_up_to_the_cap_and_come_out_in_order() {
        let (pipe, mut stream) = pipe(5, 0);
        assert_eq!((read(&mut stream, 9), pipe.room()), (None, 5));
        assert_eq!(pipe.give(b"abcdefg"), 5);
        assert_eq!((pipe.give(b"x"), pipe.unread(), pipe.room()), (0, 5, 0));
        assert_eq!(read(&mut stream, 2).as_deref(), Some(&b"ab"[..]));
        assert_eq!(pipe.give(b"fgh"), 2);
        assert_eq!(read(&mut stream, 9).as_deref(), Some(&b"cdefg"[..]));
        assert_eq!(read(&mut stream, 9), None);
        pipe.give(b"h");
        pipe.end();
        assert_eq!(read(&mut stream, 0).as_deref(), Some(&b""[..]));
        assert_eq!(read(&mut stream, 9).as_deref(), Some(&b"h"[..]));
        assert_eq!(read(&mut stream, 9).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn memory_that_is_lent_comes_back() {
        let (pipe, mut stream) = pipe(5000, 0);
        for (part, first) in [(0..5000, 5000), (0..5000, 4999), (7..5000, 1), (7..8, 9)] {
            let mut data: Vec<u8> = (0..6000).map(|n| n as u8).collect();
            let (place, expected) = (data.as_ptr(), data[part.clone()].to_vec());
            assert!(pipe.lend(&mut data, &part) && !pipe.lend(&mut vec![b'y'], &(0..1)));
            let mut came = read(&mut stream, first).unwrap_or_default();
            let data = pipe.redeem();
            assert_eq!((data.as_ptr(), data.len(), pipe.unread()), (place, 6000, part.len() - came.len()), "{part:?}");
            came.extend(read(&mut stream, 9000).unwrap_or_default());
            assert!(came == expected, "{part:?}");
        }
        assert!(!pipe.lend(&mut vec![0; 6000], &(0..5001)) && !pipe.lend(&mut vec![0; 6], &(3..7)));
        assert_eq!((pipe.give(b"abc"), pipe.lend(&mut vec![0], &(0..1))), (3, false));
        assert_eq!(read(&mut stream, 9).as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn bytes_go_out_up_to_the_cap_and_stay_until_they_were_sent() {
        let (pipe, mut stream) = pipe(0, 6);
        assert_eq!(write(&mut stream, b"abcd"), Some(4));
        let parts = [io::IoSlice::new(b""), io::IoSlice::new(b"e"), io::IoSlice::new(b"fg")];
        let vectored = |stream: &mut Stream| match Pin::new(stream).poll_write_vectored(&mut context(), &parts) {
            Poll::Ready(done) => Some(done.unwrap()),
            Poll::Pending => None,
        };
        assert_eq!(vectored(&mut stream), Some(2));
        assert_eq!((vectored(&mut stream), write(&mut stream, b"x"), write(&mut stream, b"")), (None, None, Some(0)));
        assert_eq!(pipe.take(|bytes| Err::<usize, _>(bytes.len())), Err(6));
        let sent = |pipe: &Pipe, count| pipe.take(|bytes| Ok::<_, ()>(bytes.len().min(count))).unwrap();
        assert_eq!((sent(&pipe, 1), pipe.pending()), (1, 5));
        assert_eq!(write(&mut stream, b"gh"), Some(1));
        let mut out = Vec::new();
        let all = pipe.take(|bytes| {
            out.extend_from_slice(bytes);
            Ok::<_, ()>(bytes.len())
        });
        assert_eq!((all, &out[..], pipe.pending()), (Ok(6), &b"bcdefg"[..], 0));
        assert!(!pipe.is_shut());
        assert!(Pin::new(&mut stream).poll_shutdown(&mut context()).is_ready() && pipe.is_shut());
        match Pin::new(&mut stream).poll_write(&mut context(), b"x") {
            Poll::Ready(Err(e)) => assert_eq!(e.kind(), io::ErrorKind::BrokenPipe),
            other => panic!("{other:?}"),
        }
    }

    /// Whatever is moved in whatever portions, and no more memory than the cap and what one turn moves.
    #[test]
    fn long_streams() {
        let (pipe, mut stream) = pipe(1000, 1000);
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let (mut given, mut back) = (0, Vec::new());
        let mut turn = 0;
        while back.len() < bytes.len() {
            turn += 1;
            given += pipe.give(&bytes[given..(given + turn * 7 % 1500).min(bytes.len())]);
            if let Some(part) = read(&mut stream, turn * 13 % 900) {
                let mut at = 0;
                while at < part.len() {
                    at += write(&mut stream, &part[at..]).unwrap_or(0);
                    pipe.take(|out| {
                        back.extend_from_slice(out);
                        Ok::<_, ()>(out.len())
                    })
                    .unwrap();
                }
            }
            assert!(lock(&pipe.0).inward.data.capacity() <= 4096);
        }
        assert!(back == bytes);
    }

    /// `h2` shakes hands with itself over two pipes, and one request is answered.
    #[test]
    fn both_sides_of_h2_over_pipes() {
        let (near, end) = pipe(1 << 16, 1 << 16);
        let (far, far_end) = pipe(1 << 16, 1 << 16);
        let mut client = Box::pin(h2::client::Builder::new().handshake::<_, bytes::Bytes>(end));
        let mut server = Box::pin(h2::server::Builder::new().handshake::<_, bytes::Bytes>(far_end));
        let carry = |from: &Pipe, to: &Pipe| from.take(|bytes| Ok::<_, ()>(to.give(bytes))).unwrap();
        let cx = &mut context();
        let Poll::Ready(Ok((mut sender, mut connection))) = client.as_mut().poll(cx) else { panic!("no client") };
        assert!(Pin::new(&mut connection).poll(cx).is_pending());
        assert!(carry(&near, &far) > 24);
        let Poll::Ready(Ok(mut server)) = server.as_mut().poll(cx) else { panic!("no server") };
        let request = http::Request::get("http://example.com/x").body(()).unwrap();
        let (mut answer, _) = sender.send_request(request, true).unwrap();
        let mut asked = false;
        for _ in 0..10 {
            assert!(Pin::new(&mut connection).poll(cx).is_pending());
            carry(&near, &far);
            if let Poll::Ready(Some(Ok((request, mut respond)))) = server.poll_accept(cx) {
                assert_eq!(request.uri().path(), "/x");
                respond.send_response(http::Response::builder().status(204).body(()).unwrap(), true).unwrap();
                asked = true;
            }
            let _ = server.poll_closed(cx);
            carry(&far, &near);
            if let Poll::Ready(answer) = Pin::new(&mut answer).poll(cx) {
                assert_eq!(answer.unwrap().status(), 204);
                return assert!(asked);
            }
        }
        panic!("no answer");
    }
}
