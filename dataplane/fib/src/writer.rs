//! The single writer: routes, next-hop groups, neighbours; what it takes out of the table it reuses after quiescence.
//!
//! Every change either happens or is refused and counted, and a refused change changes nothing. Ids that the caller
//! gives are checked, so no route can name a group that is not there, and no group such an adjacency.

mod groups;
mod hosts;
mod neighbors;
mod routes;

use std::collections::VecDeque;

use crate::dir::Dir;
use crate::group::Group;
use crate::id::GroupId;
use crate::memory::Memory;
use crate::quiescence::Quiescence;
use crate::reader::Reader;
use crate::shadow::Shadow;
use crate::slots::{Blocks, Slots};

pub use neighbors::{Neighbor, Resolution};

/// Why a change was not made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("all next-hop groups are in use")]
    GroupsExhausted,
    #[error("no tbl8 group is left for prefixes longer than /24")]
    Tbl8Exhausted,
    #[error("no adjacency is left")]
    AdjacenciesExhausted,
    #[error("no ECMP bucket is left")]
    BucketsExhausted,
    #[error("both lines of the neighbour table where this neighbour could stand are full")]
    NeighborsExhausted,
    #[error("the next-hop group is not known")]
    UnknownGroup,
    #[error("the group names an adjacency that is not known")]
    UnknownAdjacency,
    #[error("the port has no link: port_set comes before its first neighbour")]
    UnknownPort,
    #[error("a group has 1 to 64 members, each of a weight from 1 on")]
    BadMembers,
    #[error("routes still use the next-hop group")]
    GroupInUse,
}

/// How full a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    pub used: u32,
    pub total: u32,
}

/// Figures for `show fib` and the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    pub routes: u32,
    pub tbl8: Usage,
    pub groups: Usage,
    pub buckets: Usage,
    pub adjacencies: Usage,
    /// Changes refused because a table was full, since the start.
    pub refused: u64,
    /// Places taken out of the table and not yet known to be out of every reader's sight.
    pub awaiting_quiescence: u32,
}

/// The one that changes the tables. Workers hold [`Reader`]s meanwhile.
pub struct Writer<'m> {
    memory: Memory<'m>,
    quiescence: Quiescence,
    /// What is taken out next belongs to this epoch; it has not begun.
    epoch: u64,
    retired: VecDeque<(u64, Retired)>,
    refused: u64,

    dir: Dir<'m>,
    shadow: Shadow,
    /// By tbl8 group.
    hosts: Vec<hosts::Hosts>,
    routes: u32,
    tbl8: Slots,

    groups: Vec<groups::Entry>,
    group_slots: Slots,
    blocks: Blocks,

    adjacencies: Vec<neighbors::Entry>,
    adjacency_slots: Slots,
    links: Vec<Option<crate::adjacency::Link>>,
}

/// Something no word points to any more.
#[derive(Clone, Copy, Debug)]
enum Retired {
    Tbl8(u16),
    Group(u16),
    Block { base: u32, len: u32 },
    Adjacency(u16),
}

impl<'m> Writer<'m> {
    /// The memory must be zeroed, and no other writer may have it.
    pub fn new(memory: Memory<'m>, quiescence: Quiescence) -> Self {
        let geometry = memory.geometry();
        Self {
            memory,
            epoch: quiescence.epoch() + 1,
            quiescence,
            retired: VecDeque::new(),
            refused: 0,
            dir: Dir::new(&memory),
            shadow: Shadow::new(),
            hosts: Vec::new(),
            routes: 0,
            tbl8: Slots::new(0, geometry.tbl8_groups),
            groups: Vec::new(),
            group_slots: Slots::new(1, geometry.groups),
            blocks: Blocks::new(geometry.buckets),
            adjacencies: Vec::new(),
            adjacency_slots: Slots::new(1, geometry.adjacencies),
            links: Vec::new(),
        }
    }

    pub fn reader(&self) -> Reader<'m> {
        self.memory.reader()
    }

    /// Makes reusable what every online worker has stopped seeing. Call it now and then: allocation does so by itself
    /// only when a table is full.
    pub fn reclaim(&mut self) {
        let Some(&(newest, _)) = self.retired.back() else { return };
        if newest == self.epoch {
            self.quiescence.begin(self.epoch);
            self.epoch += 1;
        }
        let passed = self.quiescence.passed();
        while let Some(&(epoch, item)) = self.retired.front()
            && epoch <= passed
        {
            self.retired.pop_front();
            match item {
                Retired::Tbl8(slot) => self.tbl8.give_back(slot),
                Retired::Group(slot) => {
                    self.store_group(GroupId(slot), Group::None);
                    self.group_slots.give_back(slot);
                }
                Retired::Block { base, len } => self.blocks.give_back(base, len),
                Retired::Adjacency(slot) => self.adjacency_slots.give_back(slot),
            }
        }
    }

    pub fn stats(&self) -> Stats {
        let geometry = self.memory.geometry();
        Stats {
            routes: self.routes,
            tbl8: Usage { used: self.tbl8.used(), total: geometry.tbl8_groups },
            groups: Usage { used: self.group_slots.used(), total: geometry.groups - 1 },
            buckets: Usage { used: self.blocks.used(), total: geometry.buckets },
            adjacencies: Usage { used: self.adjacency_slots.used(), total: geometry.adjacencies - 1 },
            refused: self.refused,
            awaiting_quiescence: u32::try_from(self.retired.len()).unwrap_or(u32::MAX),
        }
    }

    /// Takes something out of use. The caller has already stored what makes it unreachable.
    fn retire(&mut self, item: Retired) {
        match item {
            Retired::Tbl8(_) => self.tbl8.retire(),
            Retired::Group(_) => self.group_slots.retire(),
            Retired::Block { len, .. } => self.blocks.retire(len),
            Retired::Adjacency(_) => self.adjacency_slots.retire(),
        }
        self.retired.push_back((self.epoch, item));
    }

    /// Tries once more after reclaiming; counts the refusal if that does not help.
    fn allocate<T>(&mut self, take: impl Fn(&mut Self) -> Option<T>, refusal: Refusal) -> Result<T, Refusal> {
        if let Some(taken) = take(self) {
            return Ok(taken);
        }
        self.reclaim();
        take(self).ok_or_else(|| {
            self.refused += 1;
            refusal
        })
    }
}

impl core::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Writer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
