//! The records: mappings, sessions, subscribers, each in a slab that never moves them, and the indexes over them.

use crate::expiry::{Link, Links, NIL};
use crate::flow::{Endpoint, Flow, Hasher};
use crate::index::Index;
use crate::tcp_state::TcpState;

/// Position of a session in its shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionId(pub(crate) u32);

/// Where a packet came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Inside,
    Outside,
}

/// Where the session of a packet is looked for. Made for a whole burst before the first packet is translated, so that the
/// memory it leads to is fetched for all at once.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    side: Side,
    hash: u64,
}

impl Probe {
    #[inline]
    pub(crate) const fn side(self) -> Side {
        self.side
    }
}

/// A probe and the session that it most likely finds: a session that has ended since, or another one, is told apart when
/// it is used.
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    pub(crate) probe: Probe,
    pub(crate) id: Option<u32>,
}

impl Guess {
    /// None yet.
    #[inline]
    pub const fn none(probe: Probe) -> Self {
        Self { probe, id: None }
    }

    #[inline]
    pub const fn probe(self) -> Probe {
        self.probe
    }
}

/// One conversation through a mapping. A cache line.
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) inside: Endpoint,
    pub(crate) outside: Endpoint,
    pub(crate) remote: Endpoint,
    pub(crate) mapping: u32,
    pub(crate) link: Link,
    /// Second of the last packet that keeps the session alive.
    pub(crate) refreshed: u32,
    pub(crate) created: u32,
    pub(crate) slot: u16,
    pub(crate) protocol: u8,
    pub(crate) tcp: TcpState,
    /// The remote endpoint is an outside address of ours.
    pub(crate) hairpin: bool,
    /// A gateway reads its payload.
    pub(crate) gateway: bool,
    pub(crate) live: bool,
}

/// An inside endpoint and the outside endpoint it has, whomever it speaks to (RFC 4787 REQ-1).
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) inside: Endpoint,
    pub(crate) outside: Endpoint,
    /// Sessions that use it; a dynamic mapping goes with the last of them.
    pub(crate) sessions: u32,
    pub(crate) created: u32,
    /// Position of the subscriber; `NIL` for a mapping that counts for nobody.
    pub(crate) subscriber: u32,
    pub(crate) protocol: u8,
    pub(crate) origin: Origin,
    pub(crate) live: bool,
}

/// Where a mapping came from: what filters it, and what its end gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Pool, and position of the address in it.
    Pool { pool: u16, address: u16 },
    /// From the configuration, with or without sessions.
    Forward,
    /// A flow of a one-to-one address.
    OneToOne,
}

/// An inside address with state.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) addr: u32,
    pub(crate) sessions: u32,
    pub(crate) ports: u32,
    /// Pool and address that all its mappings use (RFC 4787 REQ-2, paired pooling).
    pub(crate) pairing: Option<(u16, u16)>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) live: bool,
}

/// A port block a subscriber holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    pub(crate) pool: u16,
    pub(crate) address: u16,
    pub(crate) first: u16,
    /// Mappings in it, over all protocols.
    pub(crate) used: u32,
    /// Second at which `used` fell to 0.
    pub(crate) idle_since: u32,
}

/// Records that keep their position for life.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    records: Vec<T>,
    free: Vec<u32>,
    capacity: u32,
}

impl<T> Slab<T> {
    pub(crate) fn new(capacity: u32) -> Self {
        // Address space, not memory: a table that moved as it grew would hold up the packets of that moment.
        Self { records: Vec::with_capacity(capacity as usize), free: Vec::new(), capacity }
    }

    pub(crate) fn insert(&mut self, record: T) -> Option<u32> {
        if let Some(id) = self.free.pop() {
            self.records[id as usize] = record;
            return Some(id);
        }
        let id = u32::try_from(self.records.len()).ok().filter(|&id| id < self.capacity)?;
        self.records.push(record);
        Some(id)
    }

    /// The record stays readable until its position is used again.
    pub(crate) fn release(&mut self, id: u32) {
        self.free.push(id);
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> &T {
        &self.records[id as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> &mut T {
        &mut self.records[id as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.records.len() >= self.capacity as usize
    }

    /// All positions ever used, with their records, live or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(&self.records)
    }

    pub(crate) fn positions(&self) -> usize {
        self.records.len()
    }

    /// At most `records` positions from `from` on, and where the rest begins.
    pub(crate) fn page(&self, from: u32, records: usize) -> (impl Iterator<Item = (u32, &T)>, Option<u32>) {
        let start = (from as usize).min(self.records.len());
        let end = start.saturating_add(records).min(self.records.len());
        let next = u32::try_from(end).ok().filter(|_| end < self.records.len());
        ((from..).zip(&self.records[start..end]), next)
    }
}

impl Links for Slab<Session> {
    fn link(&mut self, id: u32) -> &mut Link {
        &mut self.get_mut(id).link
    }
}

/// A record that is found from both sides.
pub(crate) trait Record {
    fn hash(&self, hasher: Hasher, side: Side) -> u64;
    fn retire(&mut self);
}

impl Record for Session {
    fn hash(&self, hasher: Hasher, side: Side) -> u64 {
        let near = match side {
            Side::Inside => self.inside,
            Side::Outside => self.outside,
        };
        hasher.session(self.protocol, near, self.remote)
    }

    fn retire(&mut self) {
        self.live = false;
    }
}

impl Record for Mapping {
    fn hash(&self, hasher: Hasher, side: Side) -> u64 {
        let near = match side {
            Side::Inside => self.inside,
            Side::Outside => self.outside,
        };
        hasher.endpoint(self.protocol, near)
    }

    fn retire(&mut self) {
        self.live = false;
    }
}

/// Records and the two ways to find one.
#[derive(Debug)]
pub(crate) struct Table<R> {
    pub(crate) slab: Slab<R>,
    by_inside: Index,
    by_outside: Index,
    hasher: Hasher,
}

pub(crate) type Sessions = Table<Session>;
pub(crate) type Mappings = Table<Mapping>;

impl<R: Record> Table<R> {
    pub(crate) fn new(capacity: u32, hasher: Hasher) -> Self {
        Self {
            slab: Slab::new(capacity),
            by_inside: Index::new(capacity as usize),
            by_outside: Index::new(capacity as usize),
            hasher,
        }
    }

    #[inline]
    fn index(&self, side: Side) -> &Index {
        match side {
            Side::Inside => &self.by_inside,
            Side::Outside => &self.by_outside,
        }
    }

    /// `None` where the table is full.
    pub(crate) fn insert(&mut self, record: R) -> Option<u32> {
        let hashes = (record.hash(self.hasher, Side::Inside), record.hash(self.hasher, Side::Outside));
        let id = self.slab.insert(record)?;
        // The indexes have the slab's capacity, so they take what the slab took.
        self.by_inside.insert(hashes.0, id);
        self.by_outside.insert(hashes.1, id);
        Some(id)
    }

    /// Takes a record out; it stays readable until the next insert.
    pub(crate) fn remove(&mut self, id: u32) {
        let record = self.slab.get_mut(id);
        record.retire();
        let hashes = (record.hash(self.hasher, Side::Inside), record.hash(self.hasher, Side::Outside));
        self.by_inside.remove(hashes.0, id);
        self.by_outside.remove(hashes.1, id);
        self.slab.release(id);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slab.records.len() * size_of::<R>() + self.by_inside.bytes() + self.by_outside.bytes()
    }
}

impl Table<Session> {
    #[inline]
    pub(crate) fn probe(&self, side: Side, flow: &Flow) -> Probe {
        let (near, remote) = match side {
            Side::Inside => (flow.src, flow.dst),
            Side::Outside => (flow.dst, flow.src),
        };
        Probe { side, hash: self.hasher.session(flow.protocol, near, remote) }
    }

    /// The index line of a probe.
    #[inline]
    pub(crate) fn index_line(&self, probe: Probe) -> &impl Sized {
        self.index(probe.side).line(probe.hash)
    }

    /// The session of a probe, as far as the index tells.
    #[inline]
    pub(crate) fn guess(&self, probe: Probe) -> Option<u32> {
        self.index(probe.side).likely(probe.hash)
    }

    /// The session of the packet that the probe was made of.
    #[inline]
    pub(crate) fn find(&self, probe: Probe, flow: &Flow) -> Option<u32> {
        self.index(probe.side).get(probe.hash, |id| self.is_it(probe, flow, id))
    }

    /// Whether a session is the one of the packet that the probe was made of.
    #[inline]
    pub(crate) fn is_it(&self, probe: Probe, flow: &Flow, id: u32) -> bool {
        let s = self.slab.get(id);
        let (near, remote) = match probe.side {
            Side::Inside => (s.inside == flow.src, s.remote == flow.dst),
            Side::Outside => (s.outside == flow.dst, s.remote == flow.src),
        };
        near && remote && s.protocol == flow.protocol && s.live
    }

    /// The session of a packet that goes out.
    pub(crate) fn outbound(&self, flow: &Flow) -> Option<u32> {
        self.find(self.probe(Side::Inside, flow), flow)
    }

    /// The session of a packet that comes in.
    pub(crate) fn inbound(&self, flow: &Flow) -> Option<u32> {
        self.find(self.probe(Side::Outside, flow), flow)
    }
}

impl Table<Mapping> {
    pub(crate) fn by_inside(&self, protocol: u8, inside: Endpoint) -> Option<u32> {
        self.by_inside.get(self.hasher.endpoint(protocol, inside), |id| {
            let m = self.slab.get(id);
            m.inside == inside && m.protocol == protocol
        })
    }

    pub(crate) fn by_outside(&self, protocol: u8, outside: Endpoint) -> Option<u32> {
        self.by_outside.get(self.hasher.endpoint(protocol, outside), |id| {
            let m = self.slab.get(id);
            m.outside == outside && m.protocol == protocol
        })
    }
}

/// Subscribers by inside address.
#[derive(Debug)]
pub(crate) struct Subscribers {
    pub(crate) slab: Slab<Subscriber>,
    by_addr: Index,
    hasher: Hasher,
}

impl Subscribers {
    pub(crate) fn new(capacity: u32, hasher: Hasher) -> Self {
        Self { slab: Slab::new(capacity), by_addr: Index::new(capacity as usize), hasher }
    }

    pub(crate) fn find(&self, addr: u32) -> Option<u32> {
        self.by_addr.get(self.hasher.address(addr), |id| self.slab.get(id).addr == addr)
    }

    pub(crate) fn find_or_insert(&mut self, addr: u32) -> Option<u32> {
        if let Some(id) = self.find(addr) {
            return Some(id);
        }
        let fresh = Subscriber { addr, sessions: 0, ports: 0, pairing: None, blocks: Vec::new(), live: true };
        let id = self.slab.insert(fresh)?;
        self.by_addr.insert(self.hasher.address(addr), id);
        Some(id)
    }

    /// Forgets a subscriber that holds nothing.
    pub(crate) fn release_if_idle(&mut self, id: u32) {
        if id == NIL {
            return;
        }
        let s = self.slab.get_mut(id);
        if s.live && s.sessions == 0 && s.ports == 0 && s.blocks.is_empty() {
            s.live = false;
            let addr = s.addr;
            self.by_addr.remove(self.hasher.address(addr), id);
            self.slab.release(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_cache_line() {
        assert_eq!(size_of::<Session>(), 64);
    }
}
