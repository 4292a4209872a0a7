//! What the tests hold the table against: a list of routes, searched one by one; and seeded randomness.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses its part; a test that cannot go on has failed"
)]

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use millrace_fib::{Geometry, GroupId, GroupSpec, Link, Vlan, Writer};
use millrace_net::{Mac, PortId, Prefix};

/// Small enough that every kind of exhaustion is within reach.
pub(crate) const SMALL: Geometry =
    Geometry { tbl8_groups: 6, groups: 64, buckets: 1024, adjacencies: 64, neighbors: 128 };

pub(crate) const LINK: Link = Link { mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, vlan: Vlan::Untagged };

/// Routes by prefix, with linear search.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive<V>(pub(crate) BTreeMap<Prefix, V>);

impl<V: Copy> Naive<V> {
    pub(crate) fn longest(&self, address: u32) -> Option<(Prefix, V)> {
        let address = Ipv4Addr::from_bits(address);
        self.0.iter().filter(|(p, _)| p.contains(address)).max_by_key(|(p, _)| p.len()).map(|(p, v)| (*p, *v))
    }

    /// /24 blocks that take a tbl8 group.
    pub(crate) fn extended_blocks(&self) -> usize {
        let mut blocks: Vec<_> = self.0.keys().filter(|p| 24 < p.len()).map(|p| p.bits() >> 8).collect();
        blocks.dedup();
        blocks.len()
    }
}

/// Addresses at and about the ends of a prefix.
pub(crate) fn corners(prefix: Prefix) -> [u32; 5] {
    let (first, last) = (prefix.bits(), prefix.last().to_bits());
    [first, last, first.wrapping_sub(1), last.wrapping_add(1), first + (last - first) / 2]
}

/// `count` groups that are told apart by their ports.
pub(crate) fn glean_groups(writer: &mut Writer<'_>, count: u16) -> Vec<GroupId> {
    (0..count).map(|port| writer.group_insert(&GroupSpec::Glean(PortId(port))).unwrap()).collect()
}

/// splitmix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    /// Prefixes that nest: few places, all lengths, long ones more often.
    pub(crate) fn prefix(&mut self) -> Prefix {
        let places =
            [0, 0x0a00_0000, 0x0a00_00ff, 0x0a01_0203, 0x0a40_0000, 0x0a00_0100, 0xc0a8_0180, u32::MAX];
        let noise = match self.below(4) {
            0 => 1 << self.below(32),
            1 => u32::try_from(self.below(1 << 10)).unwrap(),
            _ => 0,
        };
        let address = Ipv4Addr::from_bits(places[self.index(places.len())] ^ noise);
        let len = match self.below(16) {
            0 => self.below(16),
            1..6 => 16 + self.below(9),
            _ => 20 + self.below(13),
        };
        Prefix::truncated(address, u8::try_from(len).unwrap())
    }
}
