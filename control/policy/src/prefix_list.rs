//! Lists of prefixes with lengths: `10.0.0.0/8`, `192.0.2.0/24 ge 25 le 28`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use millrace_net::Prefix;
use serde::{Deserialize, Serialize};

/// The first entry that matches decides; what none matches is not in the list.
///
/// Looking one up costs as many steps as the prefix is long, however many entries there are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct PrefixList {
    entries: Vec<Entry>,
    /// Which entries are about a prefix and what is in it, by position.
    by_prefix: BTreeMap<Prefix, Vec<usize>>,
}

/// Matches prefixes in `prefix` whose length is from `shortest` to `longest`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    prefix: Prefix,
    shortest: u8,
    longest: u8,
    /// Whether what matches is in the list.
    permit: bool,
}

/// Why lengths make no entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("lengths from {} (of the prefix itself) up to 32, `ge` not over `le`", .0.len())]
pub struct LengthError(Prefix);

impl Entry {
    /// Neither bound: the prefix itself. Only `ge`: up to 32. Only `le`: from the prefix's own length.
    pub fn new(prefix: Prefix, ge: Option<u8>, le: Option<u8>, permit: bool) -> Result<Self, LengthError> {
        let shortest = ge.unwrap_or(prefix.len());
        let longest = le.unwrap_or(if ge.is_some() { 32 } else { prefix.len() });
        if shortest < prefix.len() || longest < shortest || 32 < longest {
            return Err(LengthError(prefix));
        }
        Ok(Self { prefix, shortest, longest, permit })
    }

    fn lengths(&self) -> RangeInclusive<u8> {
        self.shortest..=self.longest
    }
}

impl PrefixList {
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut by_prefix: BTreeMap<Prefix, Vec<usize>> = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate() {
            by_prefix.entry(entry.prefix).or_default().push(at);
        }
        Self { entries, by_prefix }
    }

    pub fn contains(&self, prefix: Prefix) -> bool {
        let covering = (0..=prefix.len()).map(|len| Prefix::truncated(prefix.addr(), len));
        let about = covering.filter_map(|covering| self.by_prefix.get(&covering)).flatten();
        let matching =
            about.filter(|at| self.entries.get(**at).is_some_and(|e| e.lengths().contains(&prefix.len())));
        matching.min().and_then(|at| self.entries.get(*at)).is_some_and(|entry| entry.permit)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl From<Vec<Entry>> for PrefixList {
    fn from(entries: Vec<Entry>) -> Self {
        Self::new(entries)
    }
}

impl From<PrefixList> for Vec<Entry> {
    fn from(list: PrefixList) -> Self {
        list.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn entry(text: &str, ge: Option<u8>, le: Option<u8>, permit: bool) -> Entry {
        Entry::new(prefix(text), ge, le, permit).unwrap()
    }

    #[test]
    fn lengths_and_order() {
        let list = PrefixList::new(vec![
            entry("10.9.0.0/16", None, Some(32), false),
            entry("10.0.0.0/8", Some(16), Some(24), true),
            entry("192.0.2.0/24", None, None, true),
            entry("172.16.0.0/12", Some(14), None, true),
            entry("0.0.0.0/0", None, None, true),
            entry("10.9.9.0/24", None, None, true),
        ]);
        for (text, expected) in [
            ("10.0.0.0/8", false),
            ("10.0.0.0/16", true),
            ("10.1.2.0/24", true),
            ("10.1.2.0/25", false),
            ("10.9.1.0/24", false),
            ("10.9.9.0/24", false),
            ("192.0.2.0/24", true),
            ("192.0.2.0/25", false),
            ("172.16.0.0/12", false),
            ("172.16.0.1/32", true),
            ("0.0.0.0/0", true),
            ("0.0.0.0/1", false),
        ] {
            assert_eq!(list.contains(prefix(text)), expected, "{text}");
        }
        assert!(!PrefixList::default().contains(prefix("0.0.0.0/0")));
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<PrefixList>(&json).unwrap(), list);
    }

    #[test]
    fn bounds_that_cannot_be() {
        let refused = |ge, le| Entry::new(prefix("10.0.0.0/8"), ge, le, true).is_err();
        assert!(
            refused(Some(7), None)
                && refused(None, Some(7))
                && refused(Some(20), Some(16))
                && refused(None, Some(33))
        );
        assert!(!refused(Some(8), Some(8)) && !refused(Some(32), None));
    }

    proptest! {
        /// Against going through the entries one by one.
        #[test]
        fn agrees_with_going_through(
            entries in proptest::collection::vec((0u32..16, 0u8..=6, 0u8..=6, 0u8..=6, any::<bool>()), 0..12),
            bits in 0u32..64, len in 0u8..=6,
        ) {
            // Only the first six bits differ, so that entries meet.
            let prefix = |bits: u32, len: u8| Prefix::truncated((bits << 26).into(), len);
            let entries: Vec<Entry> = entries
                .into_iter()
                .filter_map(|(bits, len, ge, le, permit)| Entry::new(prefix(bits << 2, len), Some(ge), Some(le), permit).ok())
                .collect();
            let asked = prefix(bits, len);
            let hit = entries.iter().find(|e| e.prefix.covers(asked) && e.lengths().contains(&asked.len()));
            prop_assert_eq!(PrefixList::new(entries.clone()).contains(asked), hit.is_some_and(|e| e.permit));
        }
    }
}
