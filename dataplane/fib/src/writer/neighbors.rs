//! Neighbours and their adjacencies: mirrored from the kernel by the clerk, used by groups and by glean look-ups.

use core::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use millrace_net::{Mac, PortId};

use super::{Refusal, Retired, Writer};
use crate::adjacency::{Adjacency, AdjacencyState, Link};
use crate::id::AdjacencyId;
use crate::neighbors;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    port: PortId,
    address: Ipv4Addr,
    /// How often groups name it.
    groups: u32,
    /// Inserted and not removed since.
    wanted: bool,
}

/// What the kernel knows of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    Incomplete,
    Complete(Mac),
    Failed,
}

/// A row of `show neighbors`; the rest is in the [`Adjacency`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    pub id: AdjacencyId,
    pub port: PortId,
    pub address: Ipv4Addr,
    /// How many members of groups it is.
    pub groups: u32,
}

impl Writer<'_> {
    /// Says what a port's frames have in common. All adjacencies of the port follow, and those to come.
    pub fn port_set(&mut self, port: PortId, link: Link) {
        if self.links.len() <= port.index() {
            self.links.resize(port.index() + 1, None);
        }
        self.links[port.index()] = Some(link);
        let ids: Vec<_> = self.neighbors().filter(|n| n.port == port).map(|n| n.id).collect();
        for id in ids {
            let old = self.reader().adjacency(id);
            self.store(id, &old, &Adjacency { src: link.mac, mtu: link.mtu, vlan: link.vlan, ..old });
        }
    }

    /// The adjacency of a neighbour: the one it has, or a new one, `Incomplete`.
    pub fn neighbor_insert(&mut self, port: PortId, address: Ipv4Addr) -> Result<AdjacencyId, Refusal> {
        let link = self.links.get(port.index()).copied().flatten().ok_or(Refusal::UnknownPort)?;
        if let Some(id) = self.reader().neighbor(port, address) {
            self.adjacencies[id.index()].wanted = true;
            return Ok(id);
        }
        let slot = self.allocate(|w| w.adjacency_slots.take(), Refusal::AdjacenciesExhausted)?;
        let id = AdjacencyId(slot);
        let adjacency = Adjacency {
            state: AdjacencyState::Incomplete,
            port,
            src: link.mac,
            dst: Mac::ZERO,
            mtu: link.mtu,
            vlan: link.vlan,
            next_hop: address,
        };
        // No reader can see the adjacency before the entry below says where it is.
        if let Some([dst, src, place, used]) = self.memory.adjacencies.get(id.index()) {
            for (word, value) in [dst, src, place].into_iter().zip(adjacency.encode()) {
                word.store(value, Ordering::Release);
            }
            used.store(0, Ordering::Relaxed);
        }
        if !neighbors::insert(self.memory.neighbors, port, address, id) {
            self.adjacency_slots.retire();
            self.adjacency_slots.give_back(slot);
            self.refused += 1;
            return Err(Refusal::NeighborsExhausted);
        }
        let entry = Entry { port, address, groups: 0, wanted: true };
        if self.adjacencies.len() <= id.index() {
            let vacant = Entry { port, address: Ipv4Addr::UNSPECIFIED, groups: 0, wanted: false };
            self.adjacencies.resize(id.index() + 1, vacant);
        }
        self.adjacencies[id.index()] = entry;
        Ok(id)
    }

    /// Mirrors what the kernel says of a neighbour, in one store.
    pub fn neighbor_set(&mut self, id: AdjacencyId, resolution: Resolution) -> Result<(), Refusal> {
        if !self.adjacency_exists(id) {
            return Err(Refusal::UnknownAdjacency);
        }
        let old = self.reader().adjacency(id);
        let (state, dst) = match resolution {
            Resolution::Incomplete => (AdjacencyState::Incomplete, Mac::ZERO),
            Resolution::Complete(mac) => (AdjacencyState::Complete, mac),
            Resolution::Failed => (AdjacencyState::Failed, Mac::ZERO),
        };
        self.store(id, &old, &Adjacency { state, dst, ..old });
        Ok(())
    }

    /// Forgets a neighbour. One that groups name becomes `Incomplete` and goes when the last of them lets go of it.
    pub fn neighbor_remove(&mut self, port: PortId, address: Ipv4Addr) {
        let Some(id) = self.reader().neighbor(port, address) else { return };
        self.adjacencies[id.index()].wanted = false;
        if !self.let_go(id) {
            let old = self.reader().adjacency(id);
            self.store(id, &old, &Adjacency { state: AdjacencyState::Incomplete, dst: Mac::ZERO, ..old });
        }
    }

    /// All neighbours, in order of their ids.
    pub fn neighbors(&self) -> impl Iterator<Item = Neighbor> {
        (0..=u16::MAX).zip(&self.adjacencies).filter(|(_, entry)| entry.is_used()).map(|(id, entry)| {
            Neighbor { id: AdjacencyId(id), port: entry.port, address: entry.address, groups: entry.groups }
        })
    }

    pub(super) fn adjacency_exists(&self, id: AdjacencyId) -> bool {
        self.adjacencies.get(id.index()).is_some_and(Entry::is_used)
    }

    pub(super) fn hold_adjacency(&mut self, id: AdjacencyId) {
        self.adjacencies[id.index()].groups += 1;
    }

    pub(super) fn release_adjacency(&mut self, id: AdjacencyId) {
        self.adjacencies[id.index()].groups -= 1;
        self.let_go(id);
    }

    /// Takes an adjacency that nothing wants out of the table.
    fn let_go(&mut self, id: AdjacencyId) -> bool {
        let entry = self.adjacencies[id.index()];
        if entry.is_used() {
            return false;
        }
        neighbors::remove(self.memory.neighbors, entry.port, entry.address, id);
        self.retire(Retired::Adjacency(id.0));
        true
    }

    fn store(&self, id: AdjacencyId, old: &Adjacency, new: &Adjacency) {
        let Some([dst, src, place, _]) = self.memory.adjacencies.get(id.index()) else { return };
        let [new_dst, new_src, new_place] = new.encode();
        if old.vlan != new.vlan {
            // Tags are in two words: no reader may take the outer of one moment and the inner of another.
            let hidden = Adjacency { state: AdjacencyState::Incomplete, dst: Mac::ZERO, ..*old };
            dst.store(hidden.encode()[0], Ordering::Release);
        }
        src.store(new_src, Ordering::Release);
        place.store(new_place, Ordering::Release);
        dst.store(new_dst, Ordering::Release);
    }
}

impl Entry {
    fn is_used(&self) -> bool {
        self.wanted || 0 < self.groups
    }
}
