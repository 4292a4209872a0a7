//! What the engine asks of the world: frames, a pool of them, and a way out.

use core::net::Ipv4Addr;

use millrace_net::PortId;

use crate::outcome::{DropReason, Stage};

/// One Ethernet frame without its check sequence, owned by whoever holds it.
///
/// Methods that change the length answer `false` and change nothing where the buffer has no room.
pub trait Frame {
    fn data(&self) -> &[u8];
    fn data_mut(&mut self) -> &mut [u8];
    /// Drops the first `n` bytes; they become headroom. `false` where there are fewer.
    fn pull_front(&mut self, n: usize) -> bool;
    /// Prepends `n` bytes of unspecified content. `false` without that much headroom.
    fn push_front(&mut self, n: usize) -> bool;
    /// Cuts or extends at the end; what is added is of unspecified content. `false` without that much tailroom.
    fn resize(&mut self, len: usize) -> bool;
}

/// Where empty frames come from and used ones go.
pub trait Pool {
    type Frame: Frame;
    /// An empty frame with its full headroom; `None` where all are in use.
    fn take(&mut self) -> Option<Self::Frame>;
    fn put(&mut self, frame: Self::Frame);
}

/// Where a packet goes whose NAT state another worker has, and how that worker is to take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handoff {
    pub worker: u16,
    pub leg: Leg,
}

/// Which part of its way a packet has before it when it is handed to another worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leg {
    /// A fragment from outside: this worker gathers those of its datagram, and finds out whose they are.
    Gather,
    /// All of it: this worker owns its state.
    Owner,
    /// Its source is translated already; it comes as from outside, to a host inside (RFC 4787 REQ-9).
    Hairpinned,
}

/// The side of a worker that the engine acts on. Every frame given to the engine comes back through exactly one of
/// [`Pool::put`], [`Shell::transmit`], [`Shell::hand_off`] and [`Shell::to_kernel`], or is in the hold queue.
pub trait Shell: Pool {
    /// Queues a finished frame. Gives it back where the queue of `port` is full; the engine counts and frees it then.
    fn transmit(&mut self, port: PortId, frame: Self::Frame) -> Result<(), Self::Frame>;

    /// Asks for the neighbour `next_hop` on `port` to be resolved. At most once a second for each, and bounded overall.
    /// The answer is a changed adjacency and a call of `Engine::neighbors_changed`.
    fn resolve(&mut self, port: PortId, next_hop: Ipv4Addr);

    /// Gives a frame that arrived on `port` to another worker, whose engine takes it by `Engine::process_handed`. Gives it
    /// back where that worker is behind.
    fn hand_off(&mut self, to: Handoff, port: PortId, frame: Self::Frame) -> Result<(), Self::Frame> {
        let _ = (to, port);
        Err(frame)
    }

    /// A frame that arrived is about to be dropped, or answered, for this reason. It is as it came.
    fn dropped(&mut self, frame: &Self::Frame, reason: DropReason) {
        let _ = (frame, reason);
    }

    /// A stage of the burst is done. A shell that measures reads its clock here; nothing is decided by it.
    fn lap(&mut self, stage: Stage) {
        let _ = stage;
    }

    /// Gives a frame that arrived on `port` for the host itself to the kernel. Gives it back where that cannot be done.
    fn to_kernel(&mut self, port: PortId, frame: Self::Frame) -> Result<(), Self::Frame> {
        let _ = port;
        Err(frame)
    }
}
