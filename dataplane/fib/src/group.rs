//! Next-hop groups: what is done with packets to a destination. One word each, so a group changes in one store.
//!
//! ```text
//!  63            32 31        16 15      8 7    3 2   0
//! ┌────────────────┬────────────┬─────────┬──────┬─────┐
//! │ base           │ port       │ 0       │ log₂ │kind │   base: first bucket; or the adjacency itself where
//! └────────────────┴────────────┴─────────┴──────┴─────┘         there is one bucket (log₂ = 0)
//! ```

use millrace_net::PortId;

use crate::id::AdjacencyId;
use crate::word::{u16_at, u32_at};

/// Members a group can have.
pub const MAX_MEMBERS: usize = 64;
/// Fewest and most buckets of a group with several members.
pub(crate) const BLOCK_MIN: u32 = 64;
pub(crate) const BLOCK_MAX: u32 = 1024;

/// What the routes of a group say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// No route.
    None,
    /// To one of several next hops, chosen by flow.
    Forward(Buckets),
    /// Destinations are on this port's link: the neighbour is the destination itself.
    Glean(PortId),
    /// An address of the router.
    Local,
    /// Discarded without a word.
    Blackhole,
    /// Answered with ICMP 3/1.
    Unreachable,
    /// Answered with ICMP 3/13.
    Prohibit,
}

/// The buckets of a group: a power of two of adjacencies, indexed by the low bits of a flow's hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buckets {
    base: u32,
    log2: u8,
}

impl Buckets {
    /// One adjacency: the hash does not matter.
    pub(crate) const fn single(adjacency: AdjacencyId) -> Self {
        Self { base: adjacency.0 as u32, log2: 0 }
    }

    /// `len` is a power of two from 2 on.
    pub(crate) const fn block(base: u32, len: u32) -> Self {
        Self { base, log2: len.trailing_zeros().to_le_bytes()[0] }
    }

    /// How many: 1, or 64 to 1,024. With one, no hash need be computed.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    #[inline]
    pub const fn len(self) -> u32 {
        1 << (self.log2 & 31)
    }

    /// The adjacency, where there is one bucket.
    #[inline]
    pub const fn only(self) -> Option<AdjacencyId> {
        if self.log2 == 0 { Some(AdjacencyId(u16_at(self.base as u64, 0))) } else { None }
    }

    /// Which of them a flow falls in, from 0.
    #[inline]
    pub const fn index(self, hash: u32) -> u32 {
        hash & (self.len() - 1)
    }

    /// Index in the bucket table of the bucket for `hash`.
    #[inline]
    pub(crate) const fn slot(self, hash: u32) -> u32 {
        self.base.wrapping_add(self.index(hash))
    }

    pub(crate) const fn base(self) -> u32 {
        self.base
    }
}

const NONE: u64 = 0;
const FORWARD: u64 = 1;
const GLEAN: u64 = 2;
const LOCAL: u64 = 3;
const BLACKHOLE: u64 = 4;
const UNREACHABLE: u64 = 5;
const PROHIBIT: u64 = 6;

impl Group {
    pub(crate) const fn encode(self) -> u64 {
        match self {
            Self::None => NONE,
            Self::Forward(b) => FORWARD | (b.log2 as u64) << 3 | (b.base as u64) << 32,
            Self::Glean(port) => GLEAN | (port.0 as u64) << 16,
            Self::Local => LOCAL,
            Self::Blackhole => BLACKHOLE,
            Self::Unreachable => UNREACHABLE,
            Self::Prohibit => PROHIBIT,
        }
    }

    #[inline]
    pub(crate) const fn decode(word: u64) -> Self {
        match word & 7 {
            FORWARD => {
                Self::Forward(Buckets { base: u32_at(word, 32), log2: (word >> 3 & 31).to_le_bytes()[0] })
            }
            GLEAN => Self::Glean(PortId(u16_at(word, 16))),
            LOCAL => Self::Local,
            BLACKHOLE => Self::Blackhole,
            UNREACHABLE => Self::Unreachable,
            PROHIBIT => Self::Prohibit,
            _ => Self::None,
        }
    }
}

/// What a group is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupSpec {
    /// Adjacencies and their weights: 1 to [`MAX_MEMBERS`] of them, no weight 0. One that is named twice has the sum.
    Forward(Vec<(AdjacencyId, u16)>),
    Glean(PortId),
    Local,
    Blackhole,
    Unreachable,
    Prohibit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_survives_its_word() {
        for group in [
            Group::None,
            Group::Forward(Buckets::single(AdjacencyId(u16::MAX))),
            Group::Forward(Buckets::block(0xffff_ffc0, 64)),
            Group::Forward(Buckets::block(0, 1024)),
            Group::Glean(PortId(u16::MAX)),
            Group::Local,
            Group::Blackhole,
            Group::Unreachable,
            Group::Prohibit,
        ] {
            assert_eq!(Group::decode(group.encode()), group);
        }
        assert_eq!(Group::decode(7), Group::None, "a kind that is not given out");
    }

    #[test]
    fn one_bucket_is_the_adjacency_itself() {
        let one = Buckets::single(AdjacencyId(7));
        assert_eq!((one.len(), one.only()), (1, Some(AdjacencyId(7))));
        let many = Buckets::block(128, 64);
        assert_eq!((many.len(), many.only()), (64, None));
        assert_eq!((many.slot(0), many.slot(63), many.slot(64)), (128, 191, 128));
    }
}
