//! The UMEM: one area of frames, registered with the kernel and shared by every socket; who owns which frame.

use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use rustix::mm::{MapFlags, ProtFlags};

use crate::FRAME_SIZE;
use crate::error::UmemError;
use crate::socket::{self, BoundMode};
use crate::stats::{Census, SocketGauges};

/// Frames a UMEM may have: their indices and addresses fit the kernel's descriptors with room to spare.
const MAX_FRAMES: u32 = 1 << 22;

/// How large a UMEM is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UmemConfig {
    /// Frames of [`FRAME_SIZE`] bytes.
    pub frames: u32,
}

impl Default for UmemConfig {
    fn default() -> Self {
        Self { frames: 16384 }
    }
}

/// A handle on the UMEM, which lives as long as the process: frames of it may be anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Umem(&'static Area);

impl Umem {
    /// Allocates the area; no rights are needed for it. All frames start in the pool.
    pub fn new(config: UmemConfig) -> Result<Self, UmemError> {
        let UmemConfig { frames } = config;
        if frames == 0 || frames > MAX_FRAMES {
            return Err(UmemError::Size { frames, max: MAX_FRAMES });
        }
        let len = frames as usize * FRAME_SIZE;
        // JUSTIFICATION: the kernel and devices read and write this memory; it must be whole pages that never move.
        // SAFETY: a null hint lets the kernel choose an unused range, so no existing object is replaced.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )
        }
        .map_err(|errno| UmemError::Memory { bytes: len, errno })?;
        let base = NonNull::new(base.cast::<u8>())
            .ok_or(UmemError::Memory { bytes: len, errno: rustix::io::Errno::NOMEM })?;

        let free = ArrayQueue::new(frames as usize);
        for index in 0..frames {
            // The queue has a place for each frame.
            let _ = free.push(FrameIndex(index));
        }
        let area = Area {
            base,
            frames,
            owners: (0..frames).map(|_| AtomicU16::new(Owner::User.encode())).collect(),
            free,
            registry: Mutex::default(),
        };
        Ok(Self(Box::leak(Box::new(area))))
    }

    /// Frames in all.
    pub fn frames(&self) -> u32 {
        self.0.frames
    }

    /// Where all frames are. May be called from any thread; while workers run, a frame in motion may be counted
    /// where it was or where it goes.
    pub fn census(&self) -> Census {
        self.0.census()
    }

    /// Takes back the frames of closed sockets that the kernel has torn down since, which takes it some tens of
    /// milliseconds; returns how many frames are still waited for. To be called now and then while the census shows
    /// quarantined frames. Opening a socket on the same queue takes back those that were closed there.
    pub fn reclaim(&self) -> u32 {
        socket::reclaim(self.0);
        self.census().quarantined
    }

    pub(crate) fn area(&self) -> &'static Area {
        self.0
    }

    pub(crate) fn of(area: &'static Area) -> Self {
        Self(area)
    }
}

/// Number of a frame; less than `Area::frames` of the area it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameIndex(u32);

impl FrameIndex {
    /// Byte offset of the frame from the start of the UMEM.
    pub(crate) fn address(self) -> u64 {
        u64::from(self.0) * FRAME_SIZE as u64
    }
}

/// A socket's number in its UMEM; given anew after the socket is gone and its frames are back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(NonZeroU16);

impl Slot {
    /// Two bits of an owner word are the path.
    const MAX: u16 = (1 << 14) - 1;
}

/// Who has a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// This process: the pool, a cache, or a `Frame`.
    User,
    /// The kernel, to receive into, by this socket's fill ring.
    Fill(Slot),
    /// The kernel, to send from, by this socket's tx ring.
    Tx(Slot),
    /// The kernel may still write it: its socket is closed, but not known to be torn down.
    Quarantine(Slot),
}

impl Owner {
    fn encode(self) -> u16 {
        match self {
            Self::User => 0,
            Self::Fill(Slot(slot)) => slot.get() << 2 | 1,
            Self::Tx(Slot(slot)) => slot.get() << 2 | 2,
            Self::Quarantine(Slot(slot)) => slot.get() << 2 | 3,
        }
    }

    fn decode(word: u16) -> Self {
        match (NonZeroU16::new(word >> 2), word & 3) {
            (Some(slot), 1) => Self::Fill(Slot(slot)),
            (Some(slot), 2) => Self::Tx(Slot(slot)),
            (Some(slot), 3) => Self::Quarantine(Slot(slot)),
            _ => Self::User,
        }
    }
}

/// The memory and its books.
#[derive(Debug)]
pub(crate) struct Area {
    base: NonNull<u8>,
    frames: u32,
    /// Who has each frame. A word is changed only by the thread that owns the frame, or the socket it was given to.
    owners: Box<[AtomicU16]>,
    free: ArrayQueue<FrameIndex>,
    registry: Mutex<Registry>,
}

// JUSTIFICATION: the base is a raw pointer, so Send is not derived.
// SAFETY: the mapping belongs to no thread, is never unmapped, and its bytes are reached only through a `Frame`, of which
// one exists for each index.
unsafe impl Send for Area {}
// JUSTIFICATION: the base is a raw pointer, so Sync is not derived.
// SAFETY: `&Area` gives out the base only as a raw pointer; the rest is atomics, a concurrent queue and a mutex.
unsafe impl Sync for Area {}

impl Area {
    /// First byte of a frame.
    #[inline]
    pub(crate) fn bytes(&self, index: FrameIndex) -> NonNull<u8> {
        // JUSTIFICATION: the frames are parts of one mapping.
        // SAFETY: index < frames (a `FrameIndex` is made only in `Umem::new` and `index_of`, for this area), so the
        // offset is inside the mapping.
        unsafe { self.base.add(index.0 as usize * FRAME_SIZE) }
    }

    pub(crate) fn base_address(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// The frame that holds byte `address` of the UMEM, and the byte's offset in it. None if the UMEM ends before.
    pub(crate) fn index_of(&self, address: u64) -> Option<(FrameIndex, usize)> {
        let index = u32::try_from(address / FRAME_SIZE as u64).ok().filter(|index| *index < self.frames)?;
        let offset = usize::try_from(address % FRAME_SIZE as u64).ok()?;
        Some((FrameIndex(index), offset))
    }

    /// Puts a frame that the caller owns into the pool.
    pub(crate) fn release(&self, index: FrameIndex) {
        let pushed = self.free.push(index);
        debug_assert!(pushed.is_ok(), "the pool has a place for each frame");
    }

    /// Moves up to `count` free frames from the pool into `into`.
    pub(crate) fn take_free(&self, count: usize, into: &mut Vec<FrameIndex>) {
        into.extend(std::iter::from_fn(|| self.free.pop()).take(count));
    }

    /// Notes that a frame the caller owns goes to `owner`.
    #[inline]
    pub(crate) fn hand_over(&self, index: FrameIndex, owner: Owner) {
        if let Some(word) = self.owners.get(index.0 as usize) {
            word.store(owner.encode(), Ordering::Relaxed);
        }
    }

    /// Takes a frame back that the kernel returns. False if it was not given to `owner`: the kernel must not be believed.
    #[inline]
    #[must_use]
    pub(crate) fn take_back(&self, index: FrameIndex, owner: Owner) -> bool {
        match self.owners.get(index.0 as usize) {
            Some(word) if word.load(Ordering::Relaxed) == owner.encode() => {
                word.store(Owner::User.encode(), Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }

    /// Every frame that `of` owns goes to `to`, and to the pool if that is this process.
    pub(crate) fn reassign(&self, of: &[Owner], to: Owner) {
        for (word, index) in self.owners.iter().zip(0..) {
            if of.contains(&Owner::decode(word.load(Ordering::Relaxed))) {
                word.store(to.encode(), Ordering::Relaxed);
                if to == Owner::User {
                    self.release(FrameIndex(index));
                }
            }
        }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register_cache(&self) -> Arc<CachePadded<AtomicU32>> {
        let gauge = Arc::new(CachePadded::new(AtomicU32::new(0)));
        self.registry().caches.push(Arc::clone(&gauge));
        gauge
    }

    pub(crate) fn unregister_cache(&self, gauge: &Arc<CachePadded<AtomicU32>>) {
        self.registry().caches.retain(|other| !Arc::ptr_eq(other, gauge));
    }

    fn census(&self) -> Census {
        let mut census = Census { total: self.frames, ..Census::default() };
        let mut user = 0_u32;
        for word in &self.owners {
            match Owner::decode(word.load(Ordering::Relaxed)) {
                Owner::User => user += 1,
                Owner::Fill(_) => census.fill += 1,
                Owner::Tx(_) => census.tx += 1,
                Owner::Quarantine(_) => census.quarantined += 1,
            }
        }
        let registry = self.registry();
        census.pool = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
        census.cached = registry.caches.iter().map(|gauge| gauge.load(Ordering::Relaxed)).sum();
        census.held = user.saturating_sub(census.pool).saturating_sub(census.cached);
        for member in &registry.members {
            census.fill_rings += member.gauges.fill();
            census.tx_rings += member.gauges.tx();
        }
        census
    }
}

/// What changes when sockets come and go.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) members: Vec<Member>,
    /// Closed sockets whose frames wait until the kernel has torn the queue down.
    pub(crate) closing: Vec<Closing>,
    caches: Vec<Arc<CachePadded<AtomicU32>>>,
}

impl Registry {
    /// A number that no socket has. None if there are more sockets than numbers.
    pub(crate) fn free_slot(&self) -> Option<Slot> {
        let taken = |slot: Slot| {
            self.members.iter().any(|member| member.slot == slot)
                || self.closing.iter().any(|closing| closing.slot == slot)
        };
        (1..=Slot::MAX).filter_map(NonZeroU16::new).map(Slot).find(|slot| !taken(*slot))
    }

    /// The kernel has torn down what was closed on this queue: its frames are free.
    pub(crate) fn torn_down(&mut self, area: &Area, place: Place) {
        self.closing.retain(|closing| {
            if closing.place == place {
                area.reassign(&[Owner::Quarantine(closing.slot)], Owner::User);
            }
            closing.place != place
        });
    }

    /// Live sockets whose registration with the kernel a new one of the same mode can share.
    pub(crate) fn lenders(&self, mode: BoundMode) -> impl Iterator<Item = Arc<OwnedFd>> {
        self.members.iter().filter(move |member| member.mode == mode).filter_map(|member| member.fd.upgrade())
    }
}

/// A queue of an interface of a network namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// See [`crate::options::namespace`].
    pub(crate) namespace: u64,
    pub(crate) ifindex: u32,
    pub(crate) queue: u32,
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) slot: Slot,
    pub(crate) place: Place,
    pub(crate) mode: BoundMode,
    pub(crate) fd: Weak<OwnedFd>,
    pub(crate) gauges: Arc<SocketGauges>,
}

/// A closed socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    pub(crate) slot: Slot,
    pub(crate) place: Place,
}

#[cfg(test)]
mod tests;
