//! Socket options that no crate wraps.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Preferred busy polling: the worker's own system calls run the driver, whose interrupts stay off meanwhile
/// (`SO_PREFER_BUSY_POLL` and its two companions). To take effect the device wants
/// `/sys/class/net/IF/napi_defer_hard_irqs` and `gro_flush_timeout` set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusyPoll {
    /// Microseconds a system call may poll the driver.
    pub micros: u16,
    /// Packets a system call may process.
    pub budget: u16,
}

impl Default for BusyPoll {
    fn default() -> Self {
        Self { micros: 20, budget: 64 }
    }
}

impl BusyPoll {
    pub(crate) fn apply(self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        set_int(fd, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1)?;
        set_int(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, self.micros.into())?;
        set_int(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, self.budget.into())
    }
}

/// `XDP_MAX_TX_SKB_BUDGET`, Linux 6.18.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Lets one system call send as much as the tx ring holds in copy mode; without it the kernel stops after 32 frames.
pub(crate) fn raise_tx_budget(fd: BorrowedFd<'_>, frames: u32) -> Result<(), Errno> {
    let frames = i32::try_from(frames).map_err(|_| Errno::INVAL)?;
    set_int(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames)
}

/// `SO_NETNS_COOKIE`, Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Tells network namespaces apart: an interface index means nothing without it. 0 where the kernel cannot tell.
pub(crate) fn namespace(fd: BorrowedFd<'_>) -> u64 {
    let mut cookie = 0_u64;
    let mut len: libc::socklen_t = 8;
    // JUSTIFICATION: the option has no safe wrapper.
    // SAFETY: fd is open; the pointers are to a u64 and to its size, and outlive the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { cookie } else { 0 }
}

/// Sets a socket option that is an int and that rustix does not wrap.
fn set_int(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    const LEN: libc::socklen_t = 4;
    const _: () = assert!(LEN as usize == size_of::<libc::c_int>());
    // JUSTIFICATION: these options have no safe wrapper.
    // SAFETY: fd is open; the pointer is to an int that outlives the call, and LEN is its size.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), LEN) };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}
