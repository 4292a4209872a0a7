//! How one thread wakes another that may be blocked: an eventfd, written only if the other sleeps.
//!
//! The one that sleeps says so ([`Bell::lie_down`]), looks once more for work, and blocks on the descriptor. The one
//! that has work for it puts the work where it will be looked for, and then rings. Both sides have a full fence between
//! their write and their read, so either the sleeper sees the work or the ringer sees the sleeper.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

#[derive(Debug)]
pub(crate) struct Bell {
    fd: OwnedFd,
    asleep: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> std::io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, asleep: AtomicBool::new(false) })
    }

    /// Wakes the owner if it sleeps. What it is to find must be in place.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            // Can fail only when the count is at its maximum, and then it is rung already.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// The owner is about to block. It must look for work after this and before it does.
    pub(crate) fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake. Silences the bell.
    pub(crate) fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.fd, &mut count);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn rung(bell: &Bell) -> bool {
        let mut fds = [rustix::event::PollFd::new(bell, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() == 1
    }

    #[test]
    fn it_rings_for_sleepers_only() {
        let bell = Bell::new().unwrap();
        bell.ring();
        assert!(!rung(&bell));
        bell.lie_down();
        bell.ring();
        assert!(rung(&bell));
        bell.get_up();
        assert!(!rung(&bell));
    }

    /// A sleeper that saw no work and is not rung would block for ever.
    #[test]
    fn no_work_is_slept_through() {
        const ITEMS: u64 = 20_000;
        let bell = Bell::new().unwrap();
        let posted = AtomicU64::new(0);
        let patience = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=ITEMS {
                    posted.store(n, Ordering::Relaxed);
                    bell.ring();
                    if n % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
            let mut seen = 0;
            while seen < ITEMS {
                bell.lie_down();
                if posted.load(Ordering::Relaxed) == seen {
                    let mut fds = [rustix::event::PollFd::new(&bell, rustix::event::PollFlags::IN)];
                    assert_eq!(rustix::event::poll(&mut fds, Some(&patience)), Ok(1), "slept through {seen}");
                }
                bell.get_up();
                seen = posted.load(Ordering::Relaxed);
            }
        });
    }
}
