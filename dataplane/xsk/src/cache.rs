//! A worker's own stock of free frames over the shared pool, so that the pool is touched once in dozens of frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam::utils::CachePadded;

use crate::Frame;
use crate::umem::{Area, FrameIndex, Umem};

/// Frames that move between cache and pool at a time.
const BATCH: usize = 64;
/// Frames a cache holds at most.
const CAPACITY: usize = 4 * BATCH;

/// Free frames that belong to one thread. Dropping it returns them to the pool.
#[derive(Debug)]
pub struct Cache {
    area: &'static Area,
    free: Vec<FrameIndex>,
    /// Length of `free`, for the census.
    gauge: Arc<CachePadded<AtomicU32>>,
}

impl Cache {
    /// An empty cache; it fills itself from the pool on demand.
    pub fn new(umem: &Umem) -> Self {
        let area = umem.area();
        Self { area, free: Vec::with_capacity(CAPACITY), gauge: area.register_cache() }
    }

    /// An empty frame with [`crate::HEADROOM`] before its data. None if cache and pool are empty.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.take_index().map(|index| Frame::empty(self.area, index))
    }

    /// Takes a frame back.
    #[inline]
    pub fn put(&mut self, frame: Frame) {
        if std::ptr::eq(frame.area(), self.area) {
            self.put_index(frame.into_index());
        }
        // A frame of another UMEM goes to its own pool by being dropped.
    }

    #[inline]
    pub(crate) fn take_index(&mut self) -> Option<FrameIndex> {
        if self.free.is_empty() {
            self.area.take_free(BATCH, &mut self.free);
        }
        let index = self.free.pop();
        self.publish();
        index
    }

    #[inline]
    pub(crate) fn put_index(&mut self, index: FrameIndex) {
        if self.free.len() == CAPACITY {
            for surplus in self.free.drain(CAPACITY - BATCH..) {
                self.area.release(surplus);
            }
        }
        self.free.push(index);
        self.publish();
    }

    /// How many frames it holds, for other threads.
    pub fn gauge(&self) -> Arc<CachePadded<AtomicU32>> {
        Arc::clone(&self.gauge)
    }

    pub(crate) fn belongs_to(&self, area: &'static Area) -> bool {
        std::ptr::eq(self.area, area)
    }

    fn publish(&self) {
        self.gauge.store(u32::try_from(self.free.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for index in self.free.drain(..) {
            self.area.release(index);
        }
        self.publish();
        self.area.unregister_cache(&self.gauge);
    }
}
