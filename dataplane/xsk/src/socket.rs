//! One AF_XDP socket on one (interface, queue): frames in, frames out, in batches.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};

use arrayvec::ArrayVec;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::ring::{Consumer, Descriptor, MORE_FRAGMENTS, Producer};
use crate::stats::{SocketGauges, XdpStatistics};
use crate::umem::{Area, Owner};
use crate::{BusyPoll, Cache, Frame, OpenError, OpenFailure, Umem};

use close::Membership;
pub(crate) use close::reclaim;

mod close;
mod open;

/// Shortest frame that is sent: an Ethernet header.
const MIN_FRAME: usize = 14;

/// Which mode a socket is asked to be in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bind {
    /// Zero-copy where the driver can, else copy.
    #[default]
    Auto,
    /// Zero-copy or an error.
    ZeroCopy,
    /// Copy mode: works on every interface.
    Copy,
}

/// Which mode a socket is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BoundMode {
    /// The device reads and writes the UMEM.
    ZeroCopy,
    /// The kernel copies each frame.
    Copy,
}

impl BoundMode {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
        }
    }
}

impl fmt::Display for BoundMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Entries of the four rings; powers of two. `fill` is also how many frames wait for packets while the socket is idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingSizes {
    pub rx: u32,
    pub tx: u32,
    pub fill: u32,
    /// Bounds the frames that are being sent: the kernel sends nothing that it could not report as completed.
    pub completion: u32,
}

impl Default for RingSizes {
    fn default() -> Self {
        Self { rx: 2048, tx: 2048, fill: 2048, completion: 2048 }
    }
}

/// Where a socket is opened, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketConfig {
    pub ifindex: u32,
    pub queue: u32,
    pub bind: Bind,
    pub rings: RingSizes,
    pub busy_poll: Option<BusyPoll>,
}

impl SocketConfig {
    /// The queue in automatic mode with the usual rings.
    pub fn new(ifindex: u32, queue: u32) -> Self {
        Self { ifindex, queue, bind: Bind::Auto, rings: RingSizes::default(), busy_poll: None }
    }
}

/// What [`Socket::wake`] achieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Wake {
    /// Nothing waits for the kernel.
    Done,
    /// Frames are still in the tx ring: drain completions and call again before blocking.
    Again,
    /// The interface is down or gone; frames stay in the ring until it is up or the socket is dropped.
    Down,
}

/// A bound socket. Dropping it closes it; the frames that the kernel had come back by [`Umem::reclaim`].
pub struct Socket {
    area: &'static Area,
    rx: Consumer<Descriptor>,
    tx: Producer<Descriptor>,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    /// The last received descriptor said that its frame goes on.
    in_fragments: bool,
    mode: BoundMode,
    zero_copy_refusal: Option<OpenFailure>,
    config: SocketConfig,
    gauges: Arc<SocketGauges>,
    // Dropped after the rings, whose mappings keep the kernel's socket alive, and before the membership.
    fd: Arc<OwnedFd>,
    membership: Membership,
}

impl Socket {
    /// Opens a socket and binds it. A busy queue is tried again for two seconds: the kernel frees the queue of a
    /// process that died some time later.
    pub fn open(umem: &Umem, config: SocketConfig) -> Result<Self, OpenError> {
        open::open(umem.area(), config)
    }

    /// Appends received frames until `frames` is full or none waits; returns how many.
    pub fn rx<const N: usize>(&mut self, frames: &mut ArrayVec<Frame, N>) -> usize {
        let before = frames.len();
        let Self { area, rx, in_fragments, gauges, membership, .. } = self;
        let owner = Owner::Fill(membership.slot);
        let room = u32::try_from(frames.remaining_capacity()).unwrap_or(u32::MAX);
        let taken = rx.consume(room, |descriptor| {
            let Descriptor { addr, len, options } = descriptor;
            let frame = area
                .index_of(addr)
                .filter(|(index, _)| area.take_back(*index, owner))
                .map(|(index, offset)| (index, Frame::with_data(area, index, offset, len as usize)));
            match frame {
                Some((_, Some(frame))) => {
                    let more = options & MORE_FRAGMENTS != 0;
                    if more || *in_fragments {
                        gauges.add_rx_fragments(1);
                        *in_fragments = more;
                    } else {
                        frames.push(frame);
                    }
                }
                Some((index, None)) => {
                    gauges.add_rx_invalid(1);
                    area.release(index);
                }
                None => gauges.add_rx_invalid(1),
            }
        });
        if taken > 0 {
            gauges.fill_moved(0, taken);
        }
        frames.len() - before
    }

    /// Puts frames into the tx ring, first ones first; what the ring has no room for stays in `frames`. Returns how
    /// many it took. The kernel sends them on [`Self::wake`].
    pub fn tx<const N: usize>(&mut self, frames: &mut ArrayVec<Frame, N>) -> usize {
        let room = self.tx_room(frames.len());
        let mut taken = frames.drain(..room);
        self.tx_some(room, || taken.next());
        room
    }

    /// [`Self::tx`] from a queue.
    pub fn tx_queue(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        let room = self.tx_room(frames.len());
        self.tx_some(room, || frames.pop_front());
        room
    }

    /// Of `wanted` frames, how many the tx ring has room for.
    fn tx_room(&mut self, wanted: usize) -> usize {
        let wanted_entries = u32::try_from(wanted).unwrap_or(u32::MAX);
        wanted.min(self.tx.free(wanted_entries) as usize)
    }

    /// Sends `count` frames, for which there is room, from `next`.
    fn tx_some(&mut self, count: usize, mut next: impl FnMut() -> Option<Frame>) {
        let Self { area, tx, gauges, membership, .. } = self;
        let owner = Owner::Tx(membership.slot);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let sent = tx.produce(count, || {
            loop {
                let frame = next()?;
                // The kernel would swallow such a descriptor without completing it; a dropped frame is in the pool.
                if frame.len() < MIN_FRAME || !std::ptr::eq(frame.area(), *area) {
                    gauges.add_tx_refused(1);
                    continue;
                }
                let len = u32::try_from(frame.len()).ok()?;
                let addr = frame.address();
                area.hand_over(frame.into_index(), owner);
                return Some(Descriptor { addr, len, options: 0 });
            }
        });
        if sent > 0 {
            gauges.tx_moved(sent, 0);
        }
    }

    /// Takes back every frame that has been sent; returns how many. To be called each time round, sending or not.
    pub fn complete(&mut self, cache: &mut Cache) -> usize {
        let Self { area, completion, gauges, membership, .. } = self;
        let owner = Owner::Tx(membership.slot);
        let ours = cache.belongs_to(area);
        let mut returned = 0;
        completion.consume(u32::MAX, |addr| {
            match area.index_of(addr).filter(|(index, _)| area.take_back(*index, owner)) {
                Some((index, _)) => {
                    returned += 1;
                    if ours {
                        cache.put_index(index);
                    } else {
                        area.release(index);
                    }
                }
                None => gauges.add_completion_invalid(1),
            }
        });
        if returned > 0 {
            gauges.tx_moved(0, returned);
            gauges.add_completed(returned.into());
        }
        returned as usize
    }

    /// Gives the kernel frames to receive into, as many as the fill ring takes or the cache has; returns how many.
    pub fn refill(&mut self, cache: &mut Cache) -> usize {
        let Self { area, fill, gauges, membership, .. } = self;
        if !cache.belongs_to(area) {
            return 0;
        }
        let owner = Owner::Fill(membership.slot);
        let given = fill.produce(u32::MAX, || {
            let index = cache.take_index()?;
            area.hand_over(index, owner);
            Some(index.address())
        });
        if given > 0 {
            gauges.fill_moved(given, 0);
        }
        given as usize
    }

    /// Makes the kernel look at the tx and fill rings if it asked to be told. One system call for each ring, and
    /// more for tx only as long as each sends something.
    pub fn wake(&mut self) -> Wake {
        if self.fill.needs_wakeup() {
            self.gauges.add_rx_wakes(1);
            match rustix::net::recv(&*self.fd, &mut [0_u8; 0], RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::INTR) => {}
                Err(_) => self.gauges.add_wakes_failed(1),
            }
        }
        let mut pending = self.tx.pending();
        while pending > 0 && self.tx.needs_wakeup() {
            self.gauges.add_tx_wakes(1);
            let sent = rustix::net::send(&*self.fd, &[], SendFlags::DONTWAIT);
            let left = self.tx.pending();
            match sent {
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) if left < pending => {}
                // Zero-copy: the driver has been told, and sends when it can.
                Ok(_) => return Wake::Done,
                Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => return Wake::Again,
                Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV) => {
                    self.gauges.add_wakes_failed(1);
                    return Wake::Down;
                }
                Err(_) => {
                    self.gauges.add_wakes_failed(1);
                    return Wake::Again;
                }
            }
            pending = left;
        }
        Wake::Done
    }

    /// Runs the driver in this thread, where the socket was opened for busy polling; else asks it to look at the fill
    /// ring. One system call.
    pub fn poll_driver(&self) {
        // What it would answer shows in the rx ring.
        let _ = rustix::net::recv(&*self.fd, &mut [0_u8; 0], RecvFlags::DONTWAIT);
    }

    /// Frames wait to be read.
    pub fn has_received(&self) -> bool {
        self.rx.available() > 0
    }

    /// Frames in the tx ring that the kernel has not taken.
    pub fn tx_pending(&self) -> u32 {
        self.tx.pending()
    }

    /// Frames given to the kernel to send and not yet completed.
    pub fn tx_in_flight(&self) -> u32 {
        self.gauges.tx()
    }

    /// The mode the kernel put the socket in.
    pub fn mode(&self) -> BoundMode {
        self.mode
    }

    /// With [`Bind::Auto`]: why the socket is not in zero-copy mode.
    pub fn zero_copy_refusal(&self) -> Option<OpenFailure> {
        self.zero_copy_refusal
    }

    /// Where and how the socket was opened.
    pub fn config(&self) -> &SocketConfig {
        &self.config
    }

    /// Counts that other threads may read.
    pub fn gauges(&self) -> Arc<SocketGauges> {
        Arc::clone(&self.gauges)
    }

    /// The socket as another thread may see it, for as long as it is open.
    pub fn observer(&self) -> Observer {
        Observer { fd: Arc::downgrade(&self.fd), gauges: Arc::clone(&self.gauges) }
    }

    /// What the kernel counted.
    pub fn statistics(&self) -> Result<XdpStatistics, Errno> {
        statistics(self.fd())
    }

    /// The descriptor: to poll for readability, and to put into the XSKMAP.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads a socket's counters without its owner's help.
#[derive(Clone, Debug)]
pub struct Observer {
    fd: Weak<OwnedFd>,
    gauges: Arc<SocketGauges>,
}

impl Observer {
    /// What the kernel counted; none once the socket is closed.
    pub fn statistics(&self) -> Option<XdpStatistics> {
        statistics(self.fd.upgrade()?.as_fd()).ok()
    }

    /// What the socket counted.
    pub fn gauges(&self) -> &SocketGauges {
        &self.gauges
    }
}

fn statistics(fd: BorrowedFd<'_>) -> Result<XdpStatistics, Errno> {
    rustix::net::sockopt::xdp_statistics(fd).map(XdpStatistics::from)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("config", &self.config)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
