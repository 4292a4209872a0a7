//! Fields of a 64-bit word, and entries of 16 bits packed four to a word.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits `at .. at + 16`.
#[inline]
pub(crate) const fn u16_at(word: u64, at: u32) -> u16 {
    let bytes = (word >> at).to_le_bytes();
    u16::from_le_bytes([bytes[0], bytes[1]])
}

/// Bits `at .. at + 32`.
#[inline]
pub(crate) const fn u32_at(word: u64, at: u32) -> u32 {
    let bytes = (word >> at).to_le_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The entry at `index` of the four in a word; the lowest bits hold the first.
#[inline]
pub(crate) const fn lane(word: u64, index: u32) -> u16 {
    u16_at(word, 16 * (index & 3))
}

/// Four equal entries.
#[inline]
pub(crate) const fn splat(entry: u16) -> u64 {
    entry as u64 * 0x0001_0001_0001_0001
}

/// All bits of the lanes whose bit is set in the low four bits of `nibble`.
#[inline]
pub(crate) const fn lanes(nibble: u64) -> u64 {
    let spread = (nibble & 1) | (nibble & 2) << 15 | (nibble & 4) << 30 | (nibble & 8) << 45;
    spread * 0xffff
}

/// Stores `entry` in the lanes of `mask`. Only the single writer calls this, so reading and storing need not be one step.
#[inline]
pub(crate) fn blend(word: &AtomicU64, mask: u64, entry: u16) {
    let old = word.load(Ordering::Relaxed);
    word.store(old & !mask | splat(entry) & mask, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_addressed_from_the_low_end() {
        let word = AtomicU64::new(0x0004_0003_0002_0001);
        assert_eq!([0, 1, 2, 3].map(|i| lane(word.load(Ordering::Relaxed), i)), [1, 2, 3, 4]);
        blend(&word, lanes(0b0101), 9);
        assert_eq!(word.load(Ordering::Relaxed), 0x0004_0009_0002_0009);
        assert_eq!(lanes(0b1111), u64::MAX);
        assert_eq!(u32_at(0x1122_3344_5566_7788, 32), 0x1122_3344);
    }
}
