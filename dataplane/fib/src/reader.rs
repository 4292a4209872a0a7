//! What workers do with the table: look up, never wait, never write but the time of use.

use core::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use millrace_net::PortId;

use crate::adjacency::{self, Adjacency};
use crate::bulk::{Bulk, Way};
use crate::group::{Buckets, Group};
use crate::id::{AdjacencyId, GroupId};
use crate::memory::Memory;
use crate::neighbors;
use crate::prefetch::prefetch;
use crate::word::lane;

/// Bit of an entry that says: the other 15 bits name a tbl8 group.
pub(crate) const EXTENDED: u16 = 1 << 15;

/// A view of the tables. Copy it to every worker.
///
/// Ids read through it are good until the worker announces its next quiescent state.
#[derive(Clone, Copy)]
pub struct Reader<'m> {
    pub(crate) memory: Memory<'m>,
    way: Way,
}

impl<'m> Reader<'m> {
    pub(crate) const fn new(memory: Memory<'m>, way: Way) -> Self {
        Self { memory, way }
    }

    /// The group of the longest prefix that covers `address` (host byte order).
    #[inline]
    pub fn lookup(&self, address: u32) -> GroupId {
        let entry = self.entry24(address);
        if entry & EXTENDED == 0 { GroupId(entry) } else { self.lookup8(entry, address) }
    }

    #[inline]
    pub(crate) fn entry24(&self, address: u32) -> u16 {
        lane(self.memory.tbl24[(address >> 10) as usize].load(Ordering::Acquire), address >> 8)
    }

    #[inline]
    pub(crate) fn lookup8(&self, entry: u16, address: u32) -> GroupId {
        match self.memory.tbl8.get(usize::from(entry & !EXTENDED)) {
            Some(hosts) => {
                GroupId(lane(hosts[(address >> 2 & 63) as usize].load(Ordering::Acquire), address))
            }
            None => GroupId::NONE,
        }
    }

    /// Asks for the table line that [`Reader::lookup`] of `address` reads first.
    #[inline]
    pub fn prefetch(&self, address: u32) {
        prefetch(&self.memory.tbl24[(address >> 10) as usize]);
    }

    /// [`Reader::lookup`] of each address into the same place of `groups`; stops at the end of the shorter slice.
    #[inline]
    pub fn lookup_bulk(&self, addresses: &[u32], groups: &mut [GroupId]) {
        self.way.lookup(self, addresses, groups);
    }

    /// This reader with another way of looking up in bulk; `None` where the CPU lacks it.
    pub fn with_bulk(self, bulk: Bulk) -> Option<Self> {
        Way::new(bulk).map(|way| Self { way, ..self })
    }

    /// How [`Reader::lookup_bulk`] goes about it.
    pub fn bulk(&self) -> Bulk {
        self.way.bulk()
    }

    #[inline]
    pub fn group(&self, id: GroupId) -> Group {
        match self.memory.groups.get(id.index()) {
            Some(word) => Group::decode(word.load(Ordering::Acquire)),
            None => Group::None,
        }
    }

    #[inline]
    pub fn prefetch_group(&self, id: GroupId) {
        if let Some(word) = self.memory.groups.get(id.index()) {
            prefetch(word);
        }
    }

    /// The adjacency for a flow. Flows of equal hash go the same way as long as their adjacency is a member.
    #[inline]
    pub fn bucket(&self, buckets: Buckets, hash: u32) -> AdjacencyId {
        if let Some(only) = buckets.only() {
            return only;
        }
        let slot = buckets.slot(hash);
        match self.memory.buckets.get(slot as usize / 4) {
            Some(word) => AdjacencyId(lane(word.load(Ordering::Acquire), slot)),
            None => AdjacencyId::NONE,
        }
    }

    #[inline]
    pub fn adjacency(&self, id: AdjacencyId) -> Adjacency {
        let Some([dst, src, place, _]) = self.memory.adjacencies.get(id.index()) else {
            return Adjacency::decode([0; 3]);
        };
        // The two tags of a frame are in two words. The writer goes through Incomplete to change them, so that
        // finding word 0 unchanged after reading the others proves that they were of one moment.
        let mut first = dst.load(Ordering::Acquire);
        loop {
            let words = [first, src.load(Ordering::Acquire), place.load(Ordering::Acquire)];
            let again = dst.load(Ordering::Acquire);
            if first == again {
                return Adjacency::decode(words);
            }
            first = again;
        }
    }

    #[inline]
    pub fn prefetch_adjacency(&self, id: AdjacencyId) {
        if let Some(words) = self.memory.adjacencies.get(id.index()) {
            prefetch(words);
        }
    }

    /// The adjacency of a neighbour on a link.
    #[inline]
    pub fn neighbor(&self, port: PortId, address: Ipv4Addr) -> Option<AdjacencyId> {
        neighbors::find(self.memory.neighbors, port, address)
    }

    /// Asks for the line where [`Reader::neighbor`] looks first.
    #[inline]
    pub fn prefetch_neighbor(&self, port: PortId, address: Ipv4Addr) {
        let [first, _] = neighbors::lines(self.memory.neighbors.len(), port, address);
        if let Some(line) = self.memory.neighbors.get(first) {
            prefetch(line);
        }
    }

    /// Notes that a packet was sent to this neighbour. `now_secs` is the worker's clock in whole seconds.
    #[inline]
    pub fn touch(&self, id: AdjacencyId, now_secs: u32) {
        if let Some([_, _, _, used]) = self.memory.adjacencies.get(id.index()) {
            let word = adjacency::used(now_secs);
            // One store a second and worker: the line stays shared by all who read the adjacency.
            if used.load(Ordering::Relaxed) != word {
                used.store(word, Ordering::Relaxed);
            }
        }
    }

    /// When a worker last sent to this neighbour, in seconds of the workers' clock; `None` if never.
    #[inline]
    pub fn last_used(&self, id: AdjacencyId) -> Option<u32> {
        let [_, _, _, used] = self.memory.adjacencies.get(id.index())?;
        adjacency::last_used(used.load(Ordering::Relaxed))
    }
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader").field("memory", &self.memory).field("bulk", &self.bulk()).finish()
    }
}
