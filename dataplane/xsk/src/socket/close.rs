//! Closing: which frames are ours again, and when.
//!
//! What lies in the rx and completion rings is ours at once. The rest the kernel may write after `close` returned:
//! a driver in zero-copy mode until it is told to stop, later and by a kernel thread; and in any mode as long as a child
//! process, which another thread is just starting, holds a copy of the descriptor. One thing proves the end: the kernel
//! lets a queue be bound only when nothing is left of the socket that was there before.

use std::os::fd::AsFd;

use arrayvec::ArrayVec;
use rustix::io::Errno;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::{Socket, open};
use crate::umem::{Area, Closing, Owner, Place, Slot};
use crate::{Cache, Frame, Umem, options};

/// Ring entries of a socket that only asks whether a queue is free.
const PROBE_ENTRIES: u32 = 1;

impl Drop for Socket {
    fn drop(&mut self) {
        let mut cache = Cache::new(&Umem::of(self.area));
        self.complete(&mut cache);
        let mut frames = ArrayVec::<Frame, 64>::new();
        while self.has_received() {
            self.rx(&mut frames);
            frames.clear();
        }
        // The kernel sets this error when the interface goes, under a lock that the statistics take too: once they
        // are read, the interface is detached from the UMEM.
        let gone = matches!(sockopt::socket_error(&*self.fd), Ok(Err(Errno::NETDOWN)));
        self.membership.interface_gone = gone && self.statistics().is_ok();
    }
}

/// The entry in the registry. It is dropped after the socket's rings and descriptor, and says what becomes of the
/// frames.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) area: &'static Area,
    pub(super) slot: Slot,
    pub(super) interface_gone: bool,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Self { area, slot, interface_gone } = *self;
        let kernels = [Owner::Fill(slot), Owner::Tx(slot)];
        {
            // Whoever borrowed the descriptor to share the registration did so under this lock, and has let it go.
            let mut registry = area.registry();
            let Some(position) = registry.members.iter().position(|member| member.slot == slot) else {
                return;
            };
            let member = registry.members.swap_remove(position);
            if interface_gone {
                area.reassign(&kernels, Owner::User);
                return;
            }
            area.reassign(&kernels, Owner::Quarantine(slot));
            registry.closing.push(Closing { slot, place: member.place });
        }
    }
}

/// Frees the frames of closed sockets that are torn down.
pub(crate) fn reclaim(area: &Area) {
    // Held throughout, so that no probe is in the way of a socket being opened.
    let mut registry = area.registry();
    let places: Vec<Place> = registry.closing.iter().map(|closing| closing.place).collect();
    for place in places {
        if is_free(area, place) {
            registry.torn_down(area, place);
        }
    }
}

/// Whether nothing is left of a socket on that queue: it can be bound, or its interface is gone.
fn is_free(area: &Area, place: Place) -> bool {
    let Place { namespace, ifindex, queue } = place;
    let bind = || {
        let fd = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        if options::namespace(fd.as_fd()) != namespace {
            return Err(Errno::XDEV);
        }
        // Without a frame in its fill ring it receives nothing, and one page is enough to register.
        sockopt::set_xdp_umem_reg(&fd, open::registration(area, 1))?;
        sockopt::set_xdp_umem_fill_ring_size(&fd, PROBE_ENTRIES)?;
        sockopt::set_xdp_umem_completion_ring_size(&fd, PROBE_ENTRIES)?;
        sockopt::set_xdp_rx_ring_size(&fd, PROBE_ENTRIES)?;
        rustix::net::bind(&fd, &SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, ifindex, queue))
    };
    // The kernel answers ENODEV only after it has detached every socket from an interface that goes.
    matches!(bind(), Ok(()) | Err(Errno::NODEV))
}
