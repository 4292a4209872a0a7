//! Adjacencies: all that is written on a frame to one neighbour. Four words each.
//!
//! ```text
//!        63        52 51   48 47                     0
//! word 0 ┌───────────┬───────┬────────────────────────┐
//!        │ inner VID │ state │ destination MAC        │  one store resolves, moves or fails a neighbour
//! word 1 ├───────────┼───────┼────────────────────────┤
//!        │ outer VID │ tags  │ source MAC             │  tags: count (2 bits), outer is S-tag, inner is S-tag
//! word 2 ├───────────┴──┬────┴─────┬──────────────────┤
//!        │ MTU (63..48) │ port     │ next hop (31..0) │  port and next hop never change while the id is in use
//! word 3 ├──────────────┴──────────┼──────────────────┤
//!        │ used: 1 (32)            │ seconds          │  written by workers, the others by the writer
//!        └─────────────────────────┴──────────────────┘
//! ```
//!
//! A reader may find words of two moments. That is harmless: next hop and port are fixed; MAC and state are one word;
//! a source address, an MTU and a destination of two moments are each right for their moment. Only the two tags of a
//! double-tagged frame belong together across words: see [`Adjacency`]'s reading in `Reader::adjacency`.

use core::net::Ipv4Addr;

use millrace_net::{Mac, PortId};

use crate::word::{u16_at, u32_at};

/// What a frame to this neighbour looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adjacency {
    pub state: AdjacencyState,
    pub port: PortId,
    pub src: Mac,
    /// Meaningful in state `Complete` only.
    pub dst: Mac,
    /// Largest IP packet the link takes, in bytes.
    pub mtu: u16,
    pub vlan: Vlan,
    pub next_hop: Ipv4Addr,
}

/// Whether the neighbour's hardware address is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdjacencyState {
    /// Asked for, or to be asked for.
    Incomplete,
    Complete,
    /// Asked for in vain: packets are answered with ICMP 3/1.
    Failed,
}

/// What all adjacencies of a port have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    pub mac: Mac,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    pub vlan: Vlan,
}

/// The tags pushed before the frame's type (IEEE 802.1Q-2018 §9).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Vlan {
    #[default]
    Untagged,
    Tagged(Tag),
    Double {
        outer: Tag,
        inner: Tag,
    },
}

/// A VLAN tag without its priority, which is the packet's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    pub tpid: Tpid,
    /// 12 bits.
    vid: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tpid {
    /// C-tag, 0x8100.
    Customer,
    /// S-tag, 0x88a8.
    Service,
}

impl Tpid {
    pub const fn ethertype(self) -> u16 {
        match self {
            Self::Customer => 0x8100,
            Self::Service => 0x88a8,
        }
    }
}

impl Tag {
    /// The VLAN ids 0 (priority only) and 4095 (reserved) name no VLAN (IEEE 802.1Q-2018 table 9-2).
    pub const fn new(tpid: Tpid, vid: u16) -> Option<Self> {
        if 0 < vid && vid < 4095 { Some(Self { tpid, vid }) } else { None }
    }

    pub const fn vid(self) -> u16 {
        self.vid
    }

    const fn is_service(self) -> u64 {
        match self.tpid {
            Tpid::Customer => 0,
            Tpid::Service => 1,
        }
    }

    const fn decode(service: u64, vid: u64) -> Self {
        let tpid = if service & 1 == 0 { Tpid::Customer } else { Tpid::Service };
        Self { tpid, vid: u16_at(vid & 0xfff, 0) }
    }
}

const FAILED: u64 = 0;
const INCOMPLETE: u64 = 1;
const COMPLETE: u64 = 2;
const USED: u64 = 1 << 32;

impl Adjacency {
    /// The words the writer owns.
    pub(crate) fn encode(&self) -> [u64; 3] {
        let state = match self.state {
            AdjacencyState::Failed => FAILED,
            AdjacencyState::Incomplete => INCOMPLETE,
            AdjacencyState::Complete => COMPLETE,
        };
        let (tags, outer, inner) = match self.vlan {
            Vlan::Untagged => (0, 0, 0),
            Vlan::Tagged(tag) => (1 | tag.is_service() << 2, tag.vid, 0),
            Vlan::Double { outer, inner } => {
                (2 | outer.is_service() << 2 | inner.is_service() << 3, outer.vid, inner.vid)
            }
        };
        [
            self.dst.to_bits() | state << 48 | u64::from(inner) << 52,
            self.src.to_bits() | tags << 48 | u64::from(outer) << 52,
            u64::from(self.next_hop.to_bits()) | u64::from(self.port.0) << 32 | u64::from(self.mtu) << 48,
        ]
    }

    #[inline]
    pub(crate) const fn decode(words: [u64; 3]) -> Self {
        let [dst, src, place] = words;
        Self {
            state: match dst >> 48 & 15 {
                INCOMPLETE => AdjacencyState::Incomplete,
                COMPLETE => AdjacencyState::Complete,
                _ => AdjacencyState::Failed,
            },
            port: PortId(u16_at(place, 32)),
            src: Mac::from_bits(src),
            dst: Mac::from_bits(dst),
            mtu: u16_at(place, 48),
            vlan: match src >> 48 & 3 {
                0 => Vlan::Untagged,
                1 => Vlan::Tagged(Tag::decode(src >> 50, src >> 52)),
                _ => Vlan::Double {
                    outer: Tag::decode(src >> 50, src >> 52),
                    inner: Tag::decode(src >> 51, dst >> 52),
                },
            },
            next_hop: Ipv4Addr::from_bits(u32_at(place, 0)),
        }
    }
}

/// Word 3 for a use at `now_secs`.
#[inline]
pub(crate) const fn used(now_secs: u32) -> u64 {
    USED | now_secs as u64
}

#[inline]
pub(crate) const fn last_used(word: u64) -> Option<u32> {
    if word & USED == 0 { None } else { Some(u32_at(word, 0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_adjacency_survives_its_words() {
        let tag = |tpid, vid| Tag::new(tpid, vid).unwrap();
        for vlan in [
            Vlan::Untagged,
            Vlan::Tagged(tag(Tpid::Customer, 1)),
            Vlan::Tagged(tag(Tpid::Service, 4094)),
            Vlan::Double { outer: tag(Tpid::Service, 4094), inner: tag(Tpid::Customer, 1) },
            Vlan::Double { outer: tag(Tpid::Customer, 7), inner: tag(Tpid::Service, 4093) },
        ] {
            for state in [AdjacencyState::Incomplete, AdjacencyState::Complete, AdjacencyState::Failed] {
                let adjacency = Adjacency {
                    state,
                    port: PortId(u16::MAX),
                    src: Mac([2, 3, 4, 5, 6, 7]),
                    dst: Mac::BROADCAST,
                    mtu: 9000,
                    vlan,
                    next_hop: Ipv4Addr::new(203, 0, 113, 255),
                };
                assert_eq!(Adjacency::decode(adjacency.encode()), adjacency);
            }
        }
    }

    #[test]
    fn zeroed_memory_is_a_failed_adjacency() {
        assert_eq!(Adjacency::decode([0; 3]).state, AdjacencyState::Failed);
        assert_eq!((last_used(0), last_used(used(0)), last_used(used(9))), (None, Some(0), Some(9)));
    }

    #[test]
    fn vlan_ids_that_name_no_vlan() {
        for vid in [0, 4095, 4096, u16::MAX] {
            assert_eq!(Tag::new(Tpid::Customer, vid), None, "{vid}");
        }
    }
}
