//! A hash index of fixed capacity: from a hash and an equality to a `u32`, one cache line a look-up.
//!
//! ```text
//!   bucket (64 bytes)   │ tag × 10 │ overflow │ used │ value × 10 │
//! ```
//!
//! A bucket holds ten entries, each a 16-bit tag of the hash and a value; the caller keeps the records and says which
//! one is meant. An entry that finds its home bucket full goes to the next ones, and every full bucket it passed counts
//! it in `overflow`: a look-up goes on only past buckets that something has passed, and a removal needs no tombstone.

/// Entries a bucket holds.
const SLOTS: usize = 10;

#[repr(C, align(64))]
#[derive(Clone)]
struct Bucket {
    tags: [u16; SLOTS],
    /// Entries that were stored in a later bucket because this one was full.
    overflow: u16,
    /// Bit *i*: slot *i* is in use.
    used: u16,
    values: [u32; SLOTS],
}

impl Bucket {
    /// The slots in use with this tag, a bit each.
    #[inline]
    fn candidates(&self, tag: u16) -> u16 {
        let mut equal = 0;
        for (i, &t) in self.tags.iter().enumerate() {
            equal |= u16::from(t == tag) << i;
        }
        equal & self.used
    }
}

const EMPTY: Bucket = Bucket { tags: [0; SLOTS], overflow: 0, used: 0, values: [0; SLOTS] };
const ALL_USED: u16 = (1 << SLOTS) - 1;

/// The index. It never grows; [`Index::insert`] refuses when it is full.
pub(crate) struct Index {
    buckets: Box<[Bucket]>,
    /// Number of buckets − 1; a power of two − 1.
    mask: usize,
    len: usize,
    capacity: usize,
}

impl Index {
    /// Room for `capacity` entries at a load that keeps look-ups to one bucket.
    pub(crate) fn new(capacity: usize) -> Self {
        let buckets = (capacity.max(1) * 4 / 3).div_ceil(SLOTS).next_power_of_two();
        Self { buckets: vec![EMPTY; buckets].into(), mask: buckets - 1, len: 0, capacity }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[Bucket]>(&self.buckets)
    }

    /// The home bucket of `hash`, to be fetched before the look-up comes.
    #[inline]
    pub(crate) fn line(&self, hash: u64) -> &impl Sized {
        &self.buckets[self.home(hash)]
    }

    /// The value that a look-up of `hash` will most likely be about.
    #[inline]
    pub(crate) fn likely(&self, hash: u64) -> Option<u32> {
        let bucket = &self.buckets[self.home(hash)];
        let candidates = bucket.candidates(tag(hash));
        (candidates != 0).then(|| bucket.values[candidates.trailing_zeros() as usize % SLOTS])
    }

    /// The value under `hash` for which `is_it` holds.
    #[inline]
    pub(crate) fn get(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.find(hash, &mut is_it).map(|(b, slot)| self.buckets[b].values[slot])
    }

    /// Adds `value` under `hash`; `false` when the index is full. The caller has made sure that it is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, value: u32) -> bool {
        if self.len == self.capacity {
            return false;
        }
        let mut b = self.home(hash);
        // The load is under 3/4, so some bucket has a free slot.
        while self.buckets[b].used == ALL_USED {
            self.buckets[b].overflow += 1;
            b = (b + 1) & self.mask;
        }
        let bucket = &mut self.buckets[b];
        let slot = (!bucket.used).trailing_zeros() as usize;
        bucket.used |= 1 << slot;
        bucket.tags[slot] = tag(hash);
        bucket.values[slot] = value;
        self.len += 1;
        true
    }

    /// Takes `value` out from under `hash`; says whether it was there.
    pub(crate) fn remove(&mut self, hash: u64, value: u32) -> bool {
        let Some((found, slot)) = self.find(hash, &mut |v| v == value) else { return false };
        self.buckets[found].used &= !(1 << slot);
        let mut b = self.home(hash);
        while b != found {
            self.buckets[b].overflow -= 1;
            b = (b + 1) & self.mask;
        }
        self.len -= 1;
        true
    }

    #[inline]
    fn find(&self, hash: u64, is_it: &mut impl FnMut(u32) -> bool) -> Option<(usize, usize)> {
        let tag = tag(hash);
        let mut b = self.home(hash);
        for _ in 0..=self.mask {
            let bucket = &self.buckets[b];
            let mut candidates = bucket.candidates(tag);
            while candidates != 0 {
                let slot = candidates.trailing_zeros() as usize;
                if is_it(bucket.values[slot]) {
                    return Some((b, slot));
                }
                candidates &= candidates - 1;
            }
            if bucket.overflow == 0 {
                return None;
            }
            b = (b + 1) & self.mask;
        }
        None
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the mask keeps the low bits; usize is 64 bits on our targets"
    )]
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.mask
    }
}

#[inline]
fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16
}

impl core::fmt::Debug for Index {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Index")
            .field("len", &self.len)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u32),
        Remove(u32),
    }

    proptest! {
        /// Hashes with few distinct homes and tags, so that buckets overflow and tags collide.
        #[test]
        fn agrees_with_a_map(ops in prop::collection::vec(
            (any::<bool>(), 0u32..60).prop_map(|(add, v)| if add { Op::Insert(v) } else { Op::Remove(v) }), 0..400)
        ) {
            let hash = |v: u32| u64::from(v % 3) | u64::from(v % 2) << 48;
            let mut index = Index::new(50);
            let mut model = HashMap::new();
            for op in ops {
                match op {
                    Op::Insert(v) if !model.contains_key(&v) => {
                        let fits = model.len() < 50;
                        prop_assert_eq!(index.insert(hash(v), v), fits);
                        if fits { model.insert(v, ()); }
                    }
                    Op::Insert(_) => {}
                    Op::Remove(v) => prop_assert_eq!(index.remove(hash(v), v), model.remove(&v).is_some()),
                }
                prop_assert_eq!(index.len, model.len());
                for v in 0..60 {
                    prop_assert_eq!(index.get(hash(v), |x| x == v).is_some(), model.contains_key(&v));
                }
            }
            for v in 0..60 { index.remove(hash(v), v); }
            prop_assert!(index.buckets.iter().all(|b| b.used == 0 && b.overflow == 0));
        }
    }

    #[test]
    fn a_bucket_is_a_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }
}
