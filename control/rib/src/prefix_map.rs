//! A map from prefixes, in address order, made for a million of them.
//!
//! Sorted chunks of at most [`CHUNK`] keys under one array of their first keys: a look-up is two binary searches, an
//! insertion moves three kilobytes at most, a walk reads memory front to back. Keys cost 8 bytes, values their size,
//! and chunks filled in ascending order stay full. Covering prefixes are found by predecessor search: they sort
//! before what they cover.

use core::net::Ipv4Addr;

use millrace_net::Prefix;

/// Keys a chunk holds at most.
const CHUNK: usize = 128;

#[derive(Clone, Debug)]
pub struct PrefixMap<T> {
    /// The first key of each chunk.
    firsts: Vec<u64>,
    /// Never empty ones.
    chunks: Vec<Chunk<T>>,
    len: usize,
    /// The key inserted last.
    newest: u64,
}

#[derive(Clone, Debug)]
struct Chunk<T> {
    keys: Vec<u64>,
    values: Vec<T>,
}

/// Where a key is, or would be.
#[derive(Clone, Copy, Debug)]
struct Place {
    chunk: usize,
    index: usize,
}

/// Where a key was. It may be elsewhere since: a hint that is out of date costs a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hint(u32);

impl Place {
    fn hint(self) -> Hint {
        // Too many keys for a hint: one that leads nowhere.
        Hint(u32::try_from(self.chunk * CHUNK + self.index).unwrap_or(u32::MAX))
    }
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { firsts: Vec::new(), chunks: Vec::new(), len: 0, newest: 0 }
    }
}

impl<T> PrefixMap<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn contains(&self, prefix: Prefix) -> bool {
        self.find(key(prefix)).is_ok()
    }

    pub fn get(&self, prefix: Prefix) -> Option<&T> {
        let place = self.find(key(prefix)).ok()?;
        Some(&self.chunks[place.chunk].values[place.index])
    }

    pub fn get_mut(&mut self, prefix: Prefix) -> Option<&mut T> {
        self.locate(prefix).map(|(value, _)| value)
    }

    /// The value, and how it is found again soon.
    pub fn locate(&mut self, prefix: Prefix) -> Option<(&mut T, Hint)> {
        let place = self.find(key(prefix)).ok()?;
        Some((&mut self.chunks[place.chunk].values[place.index], place.hint()))
    }

    /// As [`PrefixMap::get_mut`], without a search if `prefix` is still where it was.
    pub fn get_mut_near(&mut self, prefix: Prefix, hint: Hint) -> Option<&mut T> {
        let key = key(prefix);
        let place = Place { chunk: hint.0 as usize / CHUNK, index: hint.0 as usize % CHUNK };
        let there = self.chunks.get(place.chunk).and_then(|chunk| chunk.keys.get(place.index));
        let place = if there == Some(&key) { place } else { self.find(key).ok()? };
        Some(&mut self.chunks[place.chunk].values[place.index])
    }

    /// The value of `prefix`, made first where there is none.
    pub fn get_or_insert_with(&mut self, prefix: Prefix, make: impl FnOnce() -> T) -> &mut T {
        self.locate_or_insert_with(prefix, make).0
    }

    /// The same, and how it is found again soon.
    pub fn locate_or_insert_with(&mut self, prefix: Prefix, make: impl FnOnce() -> T) -> (&mut T, Hint) {
        let key = key(prefix);
        let place = match self.find(key) {
            Ok(place) => place,
            Err(place) => self.insert_at(place, key, make()),
        };
        (&mut self.chunks[place.chunk].values[place.index], place.hint())
    }

    /// The value that was there before.
    pub fn insert(&mut self, prefix: Prefix, value: T) -> Option<T> {
        let key = key(prefix);
        match self.find(key) {
            Ok(place) => Some(core::mem::replace(&mut self.chunks[place.chunk].values[place.index], value)),
            Err(place) => {
                self.insert_at(place, key, value);
                None
            }
        }
    }

    pub fn remove(&mut self, prefix: Prefix) -> Option<T> {
        let place = self.find(key(prefix)).ok()?;
        let chunk = &mut self.chunks[place.chunk];
        chunk.keys.remove(place.index);
        let value = chunk.values.remove(place.index);
        self.len -= 1;
        match chunk.keys.first() {
            Some(first) => {
                self.firsts[place.chunk] = *first;
                self.join(place.chunk);
                if let Some(before) = place.chunk.checked_sub(1) {
                    self.join(before);
                }
            }
            None => {
                self.chunks.remove(place.chunk);
                self.firsts.remove(place.chunk);
            }
        }
        Some(value)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &T)> {
        self.after(None)
    }

    /// In address order, from the first prefix behind `after`.
    pub fn after(&self, after: Option<Prefix>) -> impl Iterator<Item = (Prefix, &T)> {
        let start = match after {
            None => Place { chunk: 0, index: 0 },
            Some(prefix) => self.upper(key(prefix)),
        };
        self.chunks.iter().enumerate().skip(start.chunk).flat_map(move |(i, chunk)| {
            let skip = if i == start.chunk { start.index } else { 0 };
            chunk.keys.iter().zip(&chunk.values).skip(skip).map(|(key, value)| (prefix(*key), value))
        })
    }

    /// `block` itself and what is inside it, in address order.
    pub fn within(&self, block: Prefix) -> impl Iterator<Item = (Prefix, &T)> {
        let own = self.get(block).map(|value| (block, value));
        own.into_iter().chain(self.after(Some(block)).take_while(move |(prefix, _)| block.covers(*prefix)))
    }

    /// The prefixes that contain `addr`, the longest first.
    pub fn covering(&self, addr: Ipv4Addr) -> Covering<'_, T> {
        Covering { map: self, addr, longest: Some(32) }
    }

    /// The place of `key`, or where it belongs.
    fn find(&self, key: u64) -> Result<Place, Place> {
        let chunk = self.firsts.partition_point(|first| *first <= key).saturating_sub(1);
        let Some(keys) = self.chunks.get(chunk).map(|chunk| &chunk.keys) else {
            return Err(Place { chunk: 0, index: 0 });
        };
        match keys.binary_search(&key) {
            Ok(index) => Ok(Place { chunk, index }),
            Err(index) => Err(Place { chunk, index }),
        }
    }

    /// The place of the first key over `key`; it may be one behind the last of a chunk.
    fn upper(&self, key: u64) -> Place {
        match self.find(key) {
            Ok(place) => Place { index: place.index + 1, ..place },
            Err(place) => place,
        }
    }

    /// The last key that is not over `key`.
    fn last_up_to(&self, key: u64) -> Option<(u64, &T)> {
        let place = match self.find(key) {
            Ok(place) => place,
            Err(place) => Place { index: place.index.checked_sub(1)?, ..place },
        };
        let chunk = self.chunks.get(place.chunk)?;
        Some((*chunk.keys.get(place.index)?, chunk.values.get(place.index)?))
    }

    fn insert_at(&mut self, place: Place, key: u64, value: T) -> Place {
        self.len += 1;
        let before = core::mem::replace(&mut self.newest, key);
        let Some(chunk) = self.chunks.get_mut(place.chunk) else {
            self.firsts.push(key);
            self.chunks.push(Chunk { keys: vec![key], values: vec![value] });
            return place;
        };
        if chunk.keys.len() < CHUNK {
            chunk.keys.insert(place.index, key);
            chunk.values.insert(place.index, value);
            if place.index == 0 {
                self.firsts[place.chunk] = key;
            }
            return place;
        }
        // Ascending input splits where it goes on, and so leaves full chunks behind; any other in the middle.
        let follows = place.index.checked_sub(1).is_some_and(|left| chunk.keys[left] == before);
        let split = if follows { place.index } else { CHUNK / 2 };
        // All the room it may need at once: growing by and by leaves holes of every size in the heap.
        let mut behind = Chunk { keys: Vec::with_capacity(CHUNK), values: Vec::with_capacity(CHUNK) };
        behind.keys.extend(chunk.keys.drain(split..));
        behind.values.extend(chunk.values.drain(split..));
        let (left, right) = (place.chunk, place.chunk + 1);
        self.chunks.insert(right, behind);
        let place = if place.index < split || split < CHUNK && follows {
            place
        } else {
            Place { chunk: right, index: place.index - split }
        };
        let chunk = &mut self.chunks[place.chunk];
        chunk.keys.insert(place.index, key);
        chunk.values.insert(place.index, value);
        self.firsts[left] = self.chunks[left].keys[0];
        self.firsts.insert(right, self.chunks[right].keys[0]);
        place
    }

    /// Joins a chunk that has become small with the one behind it.
    fn join(&mut self, chunk: usize) {
        let Some(next) = self.chunks.get(chunk + 1) else { return };
        if CHUNK / 2 < self.chunks[chunk].keys.len() + next.keys.len() {
            return;
        }
        let next = self.chunks.remove(chunk + 1);
        self.firsts.remove(chunk + 1);
        self.chunks[chunk].keys.extend(next.keys);
        self.chunks[chunk].values.extend(next.values);
    }
}

/// See [`PrefixMap::covering`].
#[derive(Debug)]
pub struct Covering<'m, T> {
    map: &'m PrefixMap<T>,
    addr: Ipv4Addr,
    /// The longest length that has not been tried.
    longest: Option<u8>,
}

impl<'m, T> Iterator for Covering<'m, T> {
    type Item = (Prefix, &'m T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let limit = Prefix::truncated(self.addr, self.longest?);
            let (found, value) = self.map.last_up_to(key(limit))?;
            let found = prefix(found);
            if found.contains(self.addr) {
                self.longest = found.len().checked_sub(1);
                return Some((found, value));
            }
            // Whatever covers the address sorts before `found`, so it covers `found` too.
            let common = (found.bits() ^ self.addr.to_bits()).leading_zeros();
            self.longest = u8::try_from(common).ok();
        }
    }
}

/// Sorts as prefixes do.
const fn key(prefix: Prefix) -> u64 {
    (prefix.bits() as u64) << 8 | prefix.len() as u64
}

const fn prefix(key: u64) -> Prefix {
    let [_, _, _, a, b, c, d, len] = key.to_be_bytes();
    Prefix::truncated(Ipv4Addr::new(a, b, c, d), len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Few enough that they collide and cover each other, more than a chunk takes.
    fn prefixes() -> impl Strategy<Value = Prefix> {
        (0u32..1024, 0u8..=32)
            .prop_map(|(bits, len)| Prefix::truncated(Ipv4Addr::from_bits(bits.rotate_right(10)), len))
    }

    fn check(map: &PrefixMap<u32>, model: &BTreeMap<Prefix, u32>) {
        assert_eq!(map.len(), model.len());
        assert!(map.iter().map(|(p, v)| (p, *v)).eq(model.iter().map(|(p, v)| (*p, *v))));
        assert_eq!(map.firsts, map.chunks.iter().map(|chunk| chunk.keys[0]).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn equals_an_ordered_map(ops in prop::collection::vec((prefixes(), any::<bool>(), any::<u32>()), 0..3000)) {
            let (mut map, mut model) = (PrefixMap::default(), BTreeMap::new());
            for (prefix, insert, value) in ops {
                if insert {
                    prop_assert_eq!(map.insert(prefix, value), model.insert(prefix, value));
                } else {
                    prop_assert_eq!(map.remove(prefix), model.remove(&prefix));
                }
            }
            check(&map, &model);
            for prefix in model.keys().copied().step_by(7).chain([Prefix::DEFAULT]) {
                let next = map.after(Some(prefix)).next().map(|(p, _)| p);
                let range = (core::ops::Bound::Excluded(prefix), core::ops::Bound::Unbounded);
                prop_assert_eq!(next, model.range(range).next().map(|(p, _)| *p));
                let inside: Vec<_> = model.keys().copied().filter(|other| prefix.covers(*other)).collect();
                prop_assert_eq!(map.within(prefix).map(|(p, _)| p).collect::<Vec<_>>(), inside);
                for addr in [prefix.addr(), prefix.last()] {
                    let mut chain: Vec<_> = model.keys().copied().filter(|other| other.contains(addr)).collect();
                    chain.sort_by_key(|prefix| core::cmp::Reverse(prefix.len()));
                    prop_assert_eq!(map.covering(addr).map(|(p, _)| p).collect::<Vec<_>>(), chain);
                }
            }
        }
    }

    #[test]
    fn sorted_input_fills_chunks() {
        let mut map = PrefixMap::default();
        let mut model = BTreeMap::new();
        for i in 0..10_000u32 {
            let prefix = Prefix::truncated(Ipv4Addr::from_bits(i << 8), 24);
            map.insert(prefix, i);
            model.insert(prefix, i);
        }
        check(&map, &model);
        assert_eq!(map.chunks.len(), 10_000usize.div_ceil(CHUNK));
        // Also before what is there already.
        let mut low = PrefixMap::default();
        for i in (9_900..10_000u32).chain(0..9_900) {
            low.insert(Prefix::truncated(Ipv4Addr::from_bits(i << 8), 24), i);
        }
        check(&low, &model);
        assert!(low.chunks.len() <= 10_000usize.div_ceil(CHUNK) + 1);
        for i in 0..10_000u32 {
            if i % 16 != 0 {
                let prefix = Prefix::truncated(Ipv4Addr::from_bits(i << 8), 24);
                assert_eq!(map.remove(prefix), model.remove(&prefix));
            }
        }
        check(&map, &model);
        assert!(map.chunks.len() < 20, "small chunks are joined: {}", map.chunks.len());
    }
}
