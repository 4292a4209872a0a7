//! The DIR-24-8 table as the writer sees it: entries, and ranges of them. A block is a /24, numbered by its 24 bits.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::{Memory, TBL8_WORDS, TBL24_WORDS};
use crate::word::{blend, lane, lanes, splat};

#[derive(Clone, Copy)]
pub(crate) struct Dir<'m> {
    tbl24: &'m [AtomicU64; TBL24_WORDS],
    tbl8: &'m [[AtomicU64; TBL8_WORDS]],
}

impl<'m> Dir<'m> {
    pub(crate) const fn new(memory: &Memory<'m>) -> Self {
        Self { tbl24: memory.tbl24, tbl8: memory.tbl8 }
    }

    fn word(&self, block: u32) -> &'m AtomicU64 {
        &self.tbl24[(block >> 2) as usize & (TBL24_WORDS - 1)]
    }

    pub(crate) fn entry(&self, block: u32) -> u16 {
        lane(self.word(block).load(Ordering::Relaxed), block)
    }

    pub(crate) fn set(&self, block: u32, entry: u16) {
        blend(self.word(block), lanes(1 << (block & 3)), entry);
    }

    /// All entries of a range whose ends are multiples of 64.
    pub(crate) fn fill(&self, blocks: Range<u32>, entry: u16) {
        let words = splat(entry);
        for word in
            self.tbl24.get((blocks.start >> 2) as usize..(blocks.end >> 2) as usize).unwrap_or_default()
        {
            word.store(words, Ordering::Release);
        }
    }

    /// The entries of `first ..= first + 63` whose bit is set; `first` is a multiple of 64.
    pub(crate) fn fill_slots(&self, first: u32, slots: u64, entry: u16) {
        for quarter in 0..16 {
            match slots >> (4 * quarter) & 15 {
                0 => {}
                15 => self.word(first + 4 * quarter).store(splat(entry), Ordering::Release),
                some => blend(self.word(first + 4 * quarter), lanes(some), entry),
            }
        }
    }

    /// The entries of a tbl8 group; words that do not change are not stored.
    pub(crate) fn set_hosts(&self, group: u16, entries: &[u16; 256]) {
        let Some(words) = self.tbl8.get(usize::from(group)) else { return };
        for (word, &[a, b, c, d]) in words.iter().zip(entries.as_chunks().0) {
            let new = u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48;
            if word.load(Ordering::Relaxed) != new {
                word.store(new, Ordering::Release);
            }
        }
    }
}
