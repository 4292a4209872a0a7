//! What can be counted from another thread: where the frames are, what a socket met, what the kernel counted.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Where the frames of a UMEM are. Once nothing moves, the books agree: see [`Census::is_consistent`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Census {
    /// Frames in all.
    pub total: u32,
    /// Free, in the shared pool.
    pub pool: u32,
    /// Free, in the caches of workers.
    pub cached: u32,
    /// With the kernel, to receive into.
    pub fill: u32,
    /// With the kernel, to send from.
    pub tx: u32,
    /// Of closed sockets: free as soon as the kernel is known to have torn them down, see [`crate::Umem::reclaim`].
    pub quarantined: u32,
    /// Held by someone as a [`crate::Frame`].
    pub held: u32,
    /// The same as `fill`, as the sockets count it.
    pub fill_rings: u32,
    /// The same as `tx`, as the sockets count it.
    pub tx_rings: u32,
}

impl Census {
    /// With nothing in motion and `held` frames known to be held: every frame is somewhere, once, and both ways of
    /// counting agree. A frame that the kernel never returned shows as `fill` > `fill_rings`; one that this process
    /// lost, as `held`.
    pub fn is_consistent(&self, held: u32) -> bool {
        let sum =
            [self.pool, self.cached, self.fill, self.tx, self.quarantined, self.held].iter().sum::<u32>();
        sum == self.total && self.held == held && self.fill == self.fill_rings && self.tx == self.tx_rings
    }
}

/// What one socket counts. Written by the socket's thread only, read by any.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SocketGauges {
    fill: AtomicU32,
    tx: AtomicU32,
    completed: AtomicU64,
    tx_stuck: AtomicBool,
    tx_stalls: AtomicU64,
    rx_invalid: AtomicU64,
    completion_invalid: AtomicU64,
    rx_fragments: AtomicU64,
    tx_refused: AtomicU64,
    tx_wakes: AtomicU64,
    rx_wakes: AtomicU64,
    wakes_failed: AtomicU64,
}

/// The getters of [`SocketGauges`] and the adders behind them.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident, $add:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&self) -> u64 {
                self.$name.load(Ordering::Relaxed)
            }

            #[inline]
            pub(crate) fn $add(&self, count: u64) {
                self.$name.store(self.$name.load(Ordering::Relaxed) + count, Ordering::Relaxed);
            }
        )*
    };
}

impl SocketGauges {
    /// Frames with the kernel to receive into.
    pub fn fill(&self) -> u32 {
        self.fill.load(Ordering::Relaxed)
    }

    /// Frames with the kernel to send from.
    pub fn tx(&self) -> u32 {
        self.tx.load(Ordering::Relaxed)
    }

    /// Notes that nothing is being sent though something should be. Told by the socket's owner, who has the clock.
    pub fn tx_stalled(&self) {
        self.tx_stuck.store(true, Ordering::Relaxed);
        self.add_tx_stalls(1);
    }

    /// Notes that frames are being sent again.
    pub fn tx_moves(&self) {
        self.tx_stuck.store(false, Ordering::Relaxed);
    }

    /// Whether the last word was [`Self::tx_stalled`].
    pub fn is_tx_stuck(&self) -> bool {
        self.tx_stuck.load(Ordering::Relaxed)
    }

    counters! {
        /// Times transmission stood still.
        tx_stalls, add_tx_stalls;
        /// Frames that were sent and came back. It stands still while the kernel sends nothing.
        completed, add_completed;
        /// Received descriptors that were not believed: outside the UMEM, or a frame that was not given to this socket.
        rx_invalid, add_rx_invalid;
        /// Completions that were not believed.
        completion_invalid, add_completion_invalid;
        /// Pieces of multi-buffer frames: refused, because only whole frames are handled.
        rx_fragments, add_rx_fragments;
        /// Frames not sent because they are shorter than an Ethernet header.
        tx_refused, add_tx_refused;
        /// System calls to make the kernel send.
        tx_wakes, add_tx_wakes;
        /// System calls to make the driver look at the fill ring.
        rx_wakes, add_rx_wakes;
        /// Of these calls, those that failed for another reason than "try again".
        wakes_failed, add_wakes_failed;
    }

    #[inline]
    pub(crate) fn fill_moved(&self, given: u32, returned: u32) {
        let fill = self.fill.load(Ordering::Relaxed).wrapping_add(given).wrapping_sub(returned);
        self.fill.store(fill, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn tx_moved(&self, given: u32, returned: u32) {
        let tx = self.tx.load(Ordering::Relaxed).wrapping_add(given).wrapping_sub(returned);
        self.tx.store(tx, Ordering::Relaxed);
    }
}

/// What the kernel counted for one socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct XdpStatistics {
    /// Received frames dropped for other reasons than those below, e.g. larger than a frame of the UMEM.
    pub rx_dropped: u64,
    /// Addresses in the fill ring that the kernel refused.
    pub rx_invalid_descs: u64,
    /// Descriptors in the tx ring that the kernel refused.
    pub tx_invalid_descs: u64,
    /// Received frames dropped because the rx ring was full: the worker was too slow.
    pub rx_ring_full: u64,
    /// Times the kernel found no frame to receive into: the worker was too slow, or the UMEM is too small.
    pub rx_fill_ring_empty: u64,
    /// Times the kernel found the tx ring empty.
    pub tx_ring_empty: u64,
}

impl From<rustix::net::xdp::XdpStatistics> for XdpStatistics {
    fn from(kernel: rustix::net::xdp::XdpStatistics) -> Self {
        Self {
            rx_dropped: kernel.rx_dropped,
            rx_invalid_descs: kernel.rx_invalid_descs,
            tx_invalid_descs: kernel.tx_invalid_descs,
            rx_ring_full: kernel.rx_ring_full.unwrap_or(0),
            rx_fill_ring_empty: kernel.rx_fill_ring_empty_descs.unwrap_or(0),
            tx_ring_empty: kernel.tx_ring_empty_descs.unwrap_or(0),
        }
    }
}
