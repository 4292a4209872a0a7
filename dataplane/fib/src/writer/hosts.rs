//! The routes of one /24 block that holds any longer than /24: what its tbl8 group is composed from.

use core::net::Ipv4Addr;

use millrace_net::Prefix;

use crate::id::GroupId;

/// Routes of length 24 to 32 by heap index (1 is the /24, 256 to 511 are the hosts): ordered by length, then address.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<(u16, GroupId)>);

impl Hosts {
    pub(super) fn get(&self, prefix: Prefix) -> Option<GroupId> {
        self.find(heap(prefix)).ok().map(|i| self.0[i].1)
    }

    pub(super) fn insert(&mut self, prefix: Prefix, group: GroupId) -> Option<GroupId> {
        match self.find(heap(prefix)) {
            Ok(i) => Some(std::mem::replace(&mut self.0[i].1, group)),
            Err(i) => {
                self.0.insert(i, (heap(prefix), group));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, prefix: Prefix) -> Option<GroupId> {
        self.find(heap(prefix)).ok().map(|i| self.0.remove(i).1)
    }

    /// The group of the /24 itself.
    pub(super) fn block(&self) -> Option<GroupId> {
        self.0.first().filter(|&&(heap, _)| heap == 1).map(|&(_, group)| group)
    }

    /// Whether any route is longer than /24.
    pub(super) fn is_extended(&self) -> bool {
        self.0.last().is_some_and(|&(heap, _)| 1 < heap)
    }

    /// The group for each of the 256 addresses, where `cover` is that of the longest prefix shorter than /24.
    pub(super) fn compose(&self, cover: GroupId) -> [u16; 256] {
        let mut entries = [cover.0; 256];
        for &(heap, group) in &self.0 {
            let depth = heap.max(1).ilog2();
            let width = 256usize >> depth;
            let start = (usize::from(heap) - (1 << depth)) * width;
            entries[start..start + width].fill(group.0);
        }
        entries
    }

    /// The longest route that covers an address of this block.
    pub(super) fn longest(&self, address: Ipv4Addr) -> Option<(Prefix, GroupId)> {
        (24..=32).rev().find_map(|len| {
            let prefix = Prefix::truncated(address, len);
            self.get(prefix).map(|group| (prefix, group))
        })
    }

    /// All routes of block number `block`, in order of address and length.
    pub(super) fn sorted(&self, block: u32) -> Vec<(Prefix, GroupId)> {
        let mut routes: Vec<_> = self.0.iter().map(|&(heap, group)| (prefix(block, heap), group)).collect();
        routes.sort_unstable_by_key(|&(prefix, _)| prefix);
        routes
    }

    fn find(&self, heap: u16) -> Result<usize, usize> {
        self.0.binary_search_by_key(&heap, |&(heap, _)| heap)
    }
}

/// The heap index of a prefix of length 24 to 32 in its block.
fn heap(prefix: Prefix) -> u16 {
    let depth = prefix.len().saturating_sub(24).min(8);
    1 << depth | u16::from(prefix.bits().to_le_bytes()[0]) >> (8 - depth)
}

fn prefix(block: u32, heap: u16) -> Prefix {
    let depth = heap.max(1).ilog2();
    let bits = block << 8 | (u32::from(heap) << (8 - depth) & 0xff);
    Prefix::truncated(Ipv4Addr::from_bits(bits), 24 + depth.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_indices_and_prefixes_are_each_others_inverse() {
        for len in 24..=32u8 {
            for low in 0..=255 {
                let p = Prefix::truncated(Ipv4Addr::new(10, 1, 2, low), len);
                assert_eq!(prefix(p.bits() >> 8, heap(p)), p);
            }
        }
    }

    #[test]
    fn longer_routes_lie_over_shorter_ones() {
        let p = |text: &str| text.parse().unwrap();
        let mut hosts = Hosts::default();
        for (text, group) in [("10.0.0.64/26", 2), ("10.0.0.65/32", 4), ("10.0.0.64/27", 3)] {
            assert_eq!(hosts.insert(p(text), GroupId(group)), None);
        }
        let entries = hosts.compose(GroupId(1));
        assert_eq!(
            [0, 63, 64, 65, 66, 95, 96, 127, 128, 255].map(|i| entries[i]),
            [1, 1, 3, 4, 3, 3, 2, 2, 1, 1]
        );
        assert_eq!(hosts.longest(Ipv4Addr::new(10, 0, 0, 97)), Some((p("10.0.0.64/26"), GroupId(2))));
        assert_eq!(hosts.longest(Ipv4Addr::new(10, 0, 0, 1)), None);
        assert_eq!((hosts.block(), hosts.is_extended()), (None, true));
        hosts.insert(p("10.0.0.0/24"), GroupId(9));
        assert_eq!(hosts.compose(GroupId(1))[0], 9);
        let order: Vec<_> = hosts.sorted(10 << 16).into_iter().map(|(p, _)| p).collect();
        assert_eq!(order, ["10.0.0.0/24", "10.0.0.64/26", "10.0.0.64/27", "10.0.0.65/32"].map(p));
    }
}
