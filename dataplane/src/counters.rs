//! What a worker counts beside the engine's page: its time, its bursts, and the frames it has in hand.
//!
//! Written by the worker only, so adding is a relaxed load and store; read at any time by the clerk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace_engine::Stage;

use crate::scheduling::Granted;

/// Bursts are counted by size: 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64 and more.
pub(crate) const BURST_SIZES: usize = 7;

#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct WorkerPage {
    busy_nanos: AtomicU64,
    idle_nanos: AtomicU64,
    bursts: [AtomicU64; BURST_SIZES],
    packets: AtomicU64,
    wakeups: AtomicU64,
    /// Frames that had been accepted for a port that then went out of service.
    abandoned: AtomicU64,
    /// Frames another worker handed over and the transmit queue had no room for.
    overflowed: AtomicU64,
    /// Frames in transmit queues, waiting for the ring. A gauge.
    waiting: AtomicU64,
    /// Time in each stage, and the packets it was measured over.
    stage_nanos: [AtomicU64; Stage::COUNT],
    measured: AtomicU64,
    /// Set once, when the worker starts.
    pub(crate) scheduling: Granted,
}

/// A reading of a [`WorkerPage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct WorkerCounts {
    pub(crate) busy: Duration,
    pub(crate) idle: Duration,
    pub(crate) bursts: [u64; BURST_SIZES],
    pub(crate) packets: u64,
    pub(crate) wakeups: u64,
    pub(crate) abandoned: u64,
    pub(crate) overflowed: u64,
    pub(crate) waiting: u64,
    pub(crate) stages: [Duration; Stage::COUNT],
    /// Packets that `stages` was measured over.
    pub(crate) measured: u64,
}

impl WorkerPage {
    #[inline]
    pub(crate) fn add_time(&self, busy: bool, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add(if busy { &self.busy_nanos } else { &self.idle_nanos }, nanos);
    }

    #[inline]
    pub(crate) fn add_burst(&self, frames: usize) {
        if let Some(log2) = frames.checked_ilog2() {
            add(&self.bursts[(log2 as usize).min(BURST_SIZES - 1)], 1);
            add(&self.packets, frames as u64);
        }
    }

    #[inline]
    pub(crate) fn add_wakeup(&self) {
        add(&self.wakeups, 1);
    }

    pub(crate) fn add_abandoned(&self, frames: usize) {
        add(&self.abandoned, frames as u64);
    }

    pub(crate) fn add_overflowed(&self) {
        add(&self.overflowed, 1);
    }

    #[inline]
    pub(crate) fn set_waiting(&self, frames: usize) {
        self.waiting.store(frames as u64, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn add_stage(&self, stage: Stage, time: Duration) {
        add(&self.stage_nanos[stage.index()], u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    #[inline]
    pub(crate) fn add_measured(&self, packets: usize) {
        add(&self.measured, packets as u64);
    }

    pub(crate) fn read(&self) -> WorkerCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerCounts {
            busy: Duration::from_nanos(read(&self.busy_nanos)),
            idle: Duration::from_nanos(read(&self.idle_nanos)),
            bursts: self.bursts.each_ref().map(read),
            packets: read(&self.packets),
            wakeups: read(&self.wakeups),
            abandoned: read(&self.abandoned),
            overflowed: read(&self.overflowed),
            waiting: read(&self.waiting),
            stages: self.stage_nanos.each_ref().map(|nanos| Duration::from_nanos(read(nanos))),
            measured: read(&self.measured),
        }
    }
}

#[inline]
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_counted_by_size() {
        let page = WorkerPage::default();
        for frames in [0, 1, 2, 3, 4, 63, 64, 200] {
            page.add_burst(frames);
        }
        let counts = page.read();
        assert_eq!((counts.bursts, counts.packets), ([1, 2, 1, 0, 0, 1, 2], 337));
    }
}
