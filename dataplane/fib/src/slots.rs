//! Which of a table's places are free: single places, and blocks of a power of two (for ECMP buckets).

use std::collections::BTreeSet;

use crate::group::{BLOCK_MAX, BLOCK_MIN};

/// Places numbered from `first` on. Those never used are not listed, so that a large table starts for nothing.
#[derive(Debug)]
pub(crate) struct Slots {
    fresh: u32,
    limit: u32,
    free: Vec<u16>,
    used: u32,
}

impl Slots {
    /// Places `first .. limit`; `limit` is at most 65,536.
    pub(crate) fn new(first: u32, limit: u32) -> Self {
        Self { fresh: first, limit, free: Vec::new(), used: 0 }
    }

    pub(crate) fn take(&mut self) -> Option<u16> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.fresh < self.limit => {
                let slot = u16::try_from(self.fresh).ok()?;
                self.fresh += 1;
                slot
            }
            None => return None,
        };
        self.used += 1;
        Some(slot)
    }

    /// The place is not in use, but readers may still see it: it cannot be taken yet.
    pub(crate) fn retire(&mut self) {
        self.used -= 1;
    }

    /// A retired place can be taken again.
    pub(crate) fn give_back(&mut self, slot: u16) {
        self.free.push(slot);
    }

    pub(crate) const fn used(&self) -> u32 {
        self.used
    }
}

/// A buddy allocator of blocks of 64 to 1,024 buckets, each aligned to its length.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// First buckets of free blocks, by log₂(length / 64).
    free: [BTreeSet<u32>; ORDERS],
    used: u32,
}

const ORDERS: usize = (BLOCK_MAX / BLOCK_MIN).trailing_zeros() as usize + 1;

impl Blocks {
    /// `buckets` is a multiple of 64.
    pub(crate) fn new(buckets: u32) -> Self {
        let mut free = [const { BTreeSet::new() }; ORDERS];
        let mut base = 0;
        for order in (0..ORDERS).rev() {
            while len_of(order) <= buckets - base {
                free[order].insert(base);
                base += len_of(order);
            }
        }
        Self { free, used: 0 }
    }

    /// A block of `len` buckets, a power of two from 64 to 1,024.
    pub(crate) fn take(&mut self, len: u32) -> Option<u32> {
        let order = order_of(len);
        let from = (order..ORDERS).find(|&o| !self.free[o].is_empty())?;
        let base = self.free[from].pop_first()?;
        for half in order..from {
            self.free[half].insert(base + len_of(half));
        }
        self.used += len;
        Some(base)
    }

    /// As [`Slots::retire`].
    pub(crate) fn retire(&mut self, len: u32) {
        self.used -= len;
    }

    pub(crate) fn give_back(&mut self, mut base: u32, len: u32) {
        let mut order = order_of(len);
        while order + 1 < ORDERS && self.free[order].remove(&(base ^ len_of(order))) {
            base &= !len_of(order);
            order += 1;
        }
        self.free[order].insert(base);
    }

    pub(crate) const fn used(&self) -> u32 {
        self.used
    }
}

const fn len_of(order: usize) -> u32 {
    BLOCK_MIN << order
}

fn order_of(len: u32) -> usize {
    ((len / BLOCK_MIN).max(1).ilog2() as usize).min(ORDERS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_run_out_and_come_back() {
        let mut slots = Slots::new(1, 3);
        assert_eq!([slots.take(), slots.take(), slots.take()], [Some(1), Some(2), None]);
        slots.retire();
        assert_eq!((slots.take(), slots.used()), (None, 1), "retired is not free");
        slots.give_back(1);
        assert_eq!((slots.take(), slots.used()), (Some(1), 2));
    }

    #[test]
    fn blocks_split_and_merge() {
        let mut blocks = Blocks::new(1024 + 64);
        let all: Vec<_> = std::iter::from_fn(|| blocks.take(64)).collect();
        assert_eq!((all.len(), blocks.used()), (17, 1088));
        assert!(all.iter().all(|base| base % 64 == 0));
        for &base in all.iter().rev() {
            blocks.retire(64);
            blocks.give_back(base, 64);
        }
        assert_eq!(blocks.take(1024), Some(0), "merged again");
        assert_eq!((blocks.take(128), blocks.take(64), blocks.used()), (None, Some(1024), 1088));
    }
}
