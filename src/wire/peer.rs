//! The process at the other end of a Unix socket, as the kernel reports it.
#![cfg_attr(target_os = "linux", allow(unsafe_code))]

use std::os::fd::BorrowedFd;

/// The process that connected, or that listens: as it was when it did so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// 0 for a process of another pid namespace.
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

impl Peer {
    /// `None` where the socket is no Unix socket, or the system does not tell.
    #[cfg(target_os = "linux")]
    pub fn of(fd: BorrowedFd<'_>) -> Option<Peer> {
        use std::os::fd::AsRawFd;
        // Other families answer, too: with what stands in the option before anything is known.
        let mut told = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: the descriptor is open while it is borrowed; the kernel writes at most `length` bytes of a living value
        // for which every pattern of bits is one. (rustix's pid cannot be 0, which is what some peers have.)
        let done = unsafe {
            let place = (&raw mut told).cast();
            libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, place, &raw mut length)
        };
        let known = done == 0 && told.uid != u32::MAX && told.gid != u32::MAX;
        known.then_some(Peer { pid: told.pid, uid: told.uid, gid: told.gid })
    }

    #[cfg(not(target_os = "linux"))]
    pub fn of(_: BorrowedFd<'_>) -> Option<Peer> {
        None
    }
}
