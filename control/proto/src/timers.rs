//! Many deadlines by key, and the earliest of them.

use std::collections::{BTreeMap, BTreeSet};

use millrace_net::Instant;

/// At most one deadline a key. Setting, cancelling and taking cost O(log n); equal deadlines fire in key order.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Timers<K> {
    pub const fn new() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Sets the deadline of `key`, whatever it was.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(previous) = self.by_key.insert(key, at) {
            self.by_time.remove(&(previous, key));
        }
        self.by_time.insert((at, key));
    }

    /// Says whether there was one.
    pub fn cancel(&mut self, key: K) -> bool {
        match self.by_key.remove(&key) {
            Some(at) => self.by_time.remove(&(at, key)),
            None => false,
        }
    }

    pub fn get(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<(Instant, K)> {
        self.by_time.first().copied()
    }

    /// Takes the earliest deadline that is due. Timers set while handling it may be due too: call until None.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let &(at, key) = self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, key));
        self.by_key.remove(&key);
        Some(key)
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_setting_counts() {
        let mut timers = Timers::new();
        timers.set('a', Instant::from_secs(5));
        timers.set('b', Instant::from_secs(3));
        timers.set('a', Instant::from_secs(1));
        assert_eq!(timers.next(), Some((Instant::from_secs(1), 'a')));
        assert_eq!(timers.pop_due(Instant::ZERO), None);
        assert_eq!(timers.pop_due(Instant::from_secs(9)), Some('a'));
        assert_eq!(timers.get('a'), None);
        assert!(timers.cancel('b') && !timers.cancel('b'));
        assert!(timers.is_empty());
    }

    proptest! {
        /// Against a plain list of (key, deadline).
        #[test]
        fn agrees_with_a_list(ops in proptest::collection::vec((0u8..4, 0u8..8, 0u64..50), 0..200)) {
            let mut timers = Timers::new();
            let mut list: Vec<(u8, u64)> = Vec::new();
            for (op, key, secs) in ops {
                match op {
                    0 | 1 => {
                        timers.set(key, Instant::from_secs(secs));
                        list.retain(|(k, _)| *k != key);
                        list.push((key, secs));
                    }
                    2 => {
                        prop_assert_eq!(timers.cancel(key), list.iter().any(|(k, _)| *k == key));
                        list.retain(|(k, _)| *k != key);
                    }
                    _ => {
                        let due = list.iter().copied().filter(|(_, at)| *at <= secs).min_by_key(|&(k, at)| (at, k));
                        prop_assert_eq!(timers.pop_due(Instant::from_secs(secs)), due.map(|(k, _)| k));
                        list.retain(|entry| Some(*entry) != due);
                    }
                }
                prop_assert_eq!(timers.len(), list.len());
                let first = list.iter().map(|&(k, at)| (Instant::from_secs(at), k)).min();
                prop_assert_eq!(timers.next(), first);
            }
        }
    }
}
