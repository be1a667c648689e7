//! Waits for many sockets at once: plain, TLS, datagram and listening ones, mixed.

use crate::{
    deadline::{Deadline, check_interrupt},
    error::{Error, Result},
    wire::{Want, poll_for},
};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use std::{
    os::fd::{BorrowedFd, RawFd},
    time::Duration,
};

/// One socket, and what is asked about it.
pub struct Interest<'a> {
    pub fd: BorrowedFd<'a>,
    pub want: Want,
    /// Bytes are buffered above the socket: the answer is yes without asking the kernel.
    pub ready: bool,
    /// The wait ends when this one is ready. Others are only reported.
    pub wakes: bool,
}

impl Interest<'_> {
    fn flags(&self) -> PollFlags {
        match self.want {
            Want::Read => PollFlags::IN,
            Want::Write => PollFlags::OUT,
        }
    }
}

/// Waits until one that wakes is ready, or the deadline: which are ready then. Passing the deadline is no error.
pub fn wait(interests: &[Interest<'_>], deadline: &Deadline) -> Result<Vec<bool>> {
    let mut fds: Vec<_> = interests
        .iter()
        .map(|i| PollFd::from_borrowed_fd(i.fd, if i.wakes { i.flags() } else { PollFlags::empty() }))
        .collect();
    while !interests.iter().any(|i| i.wakes && i.ready) {
        match poll_for(&mut fds, deadline.slice()) {
            Ok(count) if count > 0 && interests.iter().zip(&fds).any(|(i, fd)| i.wakes && !fd.revents().is_empty()) => {
                break;
            }
            Ok(_) | Err(Errno::INTR) => {
                if deadline.is_past() {
                    break;
                }
                check_interrupt("poll")?;
            }
            Err(e) => return Err(Error::from_io("poll", &e.into())),
        }
    }
    let mut fds: Vec<_> = interests.iter().map(|i| PollFd::from_borrowed_fd(i.fd, i.flags())).collect();
    match poll_for(&mut fds, Duration::ZERO) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => return Err(Error::from_io("poll", &e.into())),
    }
    // An error or a hang-up counts as ready: the next call tells it.
    Ok(interests.iter().zip(&fds).map(|(i, fd)| i.ready || !fd.revents().is_empty()).collect())
}

/// The same for descriptors that are known by their numbers, without a second look: one poll(2) unless it has to wait
/// longer than a slice. Fails if a number is no open descriptor. The numbers may be anybody's: nothing is done with one
/// but this question.
pub fn by_number(asked: &[(RawFd, Want)], deadline: &Deadline) -> Result<Vec<bool>> {
    let closed = || Error::from_io("select", &Errno::BADF.into());
    if asked.iter().any(|(fd, _)| *fd < 0) {
        return Err(closed());
    }
    let mut fds: Vec<_> = asked.iter().map(|(fd, want)| number(*fd, *want)).collect();
    loop {
        match poll_for(&mut fds, deadline.slice()) {
            Ok(0) | Err(Errno::INTR) => {
                check_interrupt("select")?;
                if deadline.is_past() {
                    return Ok(vec![false; asked.len()]);
                }
            }
            Ok(_) if fds.iter().any(|fd| fd.revents().contains(PollFlags::NVAL)) => {
                return Err(closed());
            }
            Ok(_) => return Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(e) => return Err(Error::from_io("select", &e.into())),
        }
    }
}

#[allow(unsafe_code)]
fn number<'a>(fd: RawFd, want: Want) -> PollFd<'a> {
    let flags = match want {
        Want::Read => PollFlags::IN,
        Want::Write => PollFlags::OUT,
    };
    // SAFETY: `by_number` has refused -1, which is no `BorrowedFd`; poll(2) only looks at the number, and says so where it
    // is not open. The value lives no longer than that call's list.
    PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(fd) }, flags)
}
