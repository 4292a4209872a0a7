//! Quiescent-state-based reclamation: how the writer knows that no reader can still see what it took out.
//!
//! The writer counts epochs. It takes something out of the table, then begins an epoch. A worker, between bursts, when
//! it holds no id it read before, copies the epoch to its own slot. Once every online worker's slot shows the epoch,
//! nothing read before it is in use. A worker that is about to wait goes offline, so that it holds nothing up.
//!
//! Why it is right: a worker that copied epoch *e* (Acquire) sees everything stored before *e* was begun (Release), so
//! it cannot find what was taken out; and its earlier reads are over before it shows *e* (Release), which the writer
//! reads (Acquire) before reuse. Coming online takes two fences instead: either the writer sees the worker's slot,
//! or the worker sees what the writer stored before looking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// The slot of a worker that holds nothing.
const OFFLINE: u64 = u64::MAX;

/// The meeting place of the writer and its workers. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Quiescence(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoch: AtomicU64,
    slots: Box<[Slot]>,
}

/// A line of its own, so that workers do not disturb each other.
#[repr(align(128))]
#[derive(Debug)]
struct Slot {
    seen: AtomicU64,
    taken: AtomicBool,
}

impl Quiescence {
    pub fn new(workers: usize) -> Self {
        let slot = || Slot { seen: AtomicU64::new(OFFLINE), taken: AtomicBool::new(false) };
        Self(Arc::new(Shared { epoch: AtomicU64::new(0), slots: (0..workers).map(|_| slot()).collect() }))
    }

    /// The handle of a worker, offline. `None` if there is no such worker or its handle is out.
    pub fn worker(&self, index: usize) -> Option<Quiescent> {
        let slot = self.0.slots.get(index)?;
        (!slot.taken.swap(true, Ordering::AcqRel)).then(|| Quiescent { shared: Arc::clone(&self.0), index })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Relaxed)
    }

    /// Begins `epoch`: what was taken out of the table so far belongs to earlier ones.
    pub(crate) fn begin(&self, epoch: u64) {
        self.0.epoch.store(epoch, Ordering::Release);
    }

    /// The epoch that every online worker has passed.
    pub(crate) fn passed(&self) -> u64 {
        fence(Ordering::SeqCst);
        let epoch = self.0.epoch.load(Ordering::Relaxed);
        self.0.slots.iter().map(|slot| slot.seen.load(Ordering::Acquire)).min().unwrap_or(OFFLINE).min(epoch)
    }
}

/// One worker's side. Dropping it goes offline and gives the handle back.
#[derive(Debug)]
pub struct Quiescent {
    shared: Arc<Shared>,
    index: usize,
}

impl Quiescent {
    fn slot(&self) -> Option<&AtomicU64> {
        self.shared.slots.get(self.index).map(|slot| &slot.seen)
    }

    /// Says that no id read before is in use. Call it between bursts; a load and, when there is news, a store.
    #[inline]
    pub fn quiescent(&self) {
        let Some(seen) = self.slot() else { return };
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        let shown = seen.load(Ordering::Relaxed);
        if shown != epoch && shown != OFFLINE {
            seen.store(epoch, Ordering::Release);
        }
    }

    /// Says that nothing is in use and nothing will be read until [`Quiescent::online`].
    pub fn offline(&self) {
        if let Some(seen) = self.slot() {
            seen.store(OFFLINE, Ordering::Release);
        }
    }

    /// Must be called before the table is read for the first time and after every [`Quiescent::offline`].
    pub fn online(&self) {
        if let Some(seen) = self.slot() {
            seen.store(self.shared.epoch.load(Ordering::Acquire), Ordering::Release);
            fence(Ordering::SeqCst);
        }
    }
}

impl Drop for Quiescent {
    fn drop(&mut self) {
        self.offline();
        if let Some(slot) = self.shared.slots.get(self.index) {
            slot.taken.store(false, Ordering::Release);
        }
    }
}
