//! The slow path out: sessions end, mappings go with their last session, ports rest, idle blocks go back.

use crate::config::{Allocation, Filtering};
use crate::expiry::NIL;
use crate::nat::{Nat, Resting};
use crate::ports::Kind;
use crate::table::{Block, Origin};
use crate::verdict::{Event, PortChange};

impl Nat {
    /// Ends a session before its time.
    pub(crate) fn cut_session(&mut self, id: u32) {
        let slot = self.sessions.slab.get(id).slot;
        self.wheel.remove(&mut self.sessions.slab, id, slot);
        self.end_session(id);
    }

    /// Ends a session that is no longer on the wheel.
    pub(crate) fn end_session(&mut self, id: u32) {
        let s = self.sessions.slab.get(id);
        let (mapping, remote, gateway) = (s.mapping, s.remote, s.gateway);
        if gateway {
            self.controls.remove(&id);
        }
        if self.filtering(mapping) == Filtering::AddressDependent {
            self.permissions.remove(mapping, remote.addr);
        }
        self.sessions.remove(id);
        let m = self.mappings.slab.get_mut(mapping);
        m.sessions -= 1;
        let (subscriber, origin) = (m.subscriber, m.origin);
        if let Origin::Pool { pool, .. } = origin {
            self.pools[usize::from(pool)].sessions -= 1;
        }
        if subscriber != NIL {
            self.subscribers.slab.get_mut(subscriber).sessions -= 1;
        }
        self.end_mapping_if_unused(mapping);
    }

    pub(crate) fn end_mapping_if_unused(&mut self, id: u32) {
        let m = self.mappings.slab.get(id).clone();
        if m.sessions != 0 || m.origin == Origin::Forward {
            return;
        }
        self.mappings.remove(id);
        if self.shared.contains(&m.outside.addr) {
            let (protocol, outside) = (m.protocol, m.outside);
            self.port_changes.push_back(PortChange { protocol, outside, held: false });
        }
        if self.logs_mappings(m.origin) {
            let lifetime_secs = self.now_secs - m.created;
            let (protocol, inside, outside) = (m.protocol, m.inside, m.outside);
            self.note(Event::MappingRemoved { protocol, inside, outside, lifetime_secs });
        }
        if let Origin::Pool { pool, address } = m.origin {
            self.pools[usize::from(pool)].mappings -= 1;
            if let Some(kind) = Kind::of(m.protocol) {
                let until = self.now_secs.saturating_add(self.config.timers.port_quarantine);
                self.resting.push_back(Resting { until, pool, address, kind, port: m.outside.port });
            }
            let subscriber = self.subscribers.slab.get_mut(m.subscriber);
            subscriber.ports -= 1;
            if let Allocation::Blocks { size, .. } = self.pools[usize::from(pool)].config.allocation {
                let first = m.outside.port / size * size;
                let found = subscriber
                    .blocks
                    .iter_mut()
                    .find(|b| b.pool == pool && b.address == address && b.first == first);
                if let Some(block) = found.filter(|_| Kind::of(m.protocol).is_some()) {
                    block.used -= 1;
                    if block.used == 0 {
                        block.idle_since = self.now_secs;
                        self.idle_blocks.push_back((self.now_secs, m.subscriber));
                    }
                }
            }
            if subscriber.ports == 0 {
                subscriber.pairing = None;
            }
            self.subscribers.release_if_idle(m.subscriber);
        }
    }

    pub(crate) fn release_idle_blocks(&mut self, budget: usize) {
        for _ in 0..budget {
            let Some(&(since, id)) = self.idle_blocks.front() else { return };
            let idle_of = |pool: u16| match self.pools[usize::from(pool)].config.allocation {
                // A block's ports must have rested before somebody else gets them.
                Allocation::Blocks { idle_secs, .. } => idle_secs.max(self.config.timers.port_quarantine),
                Allocation::Random | Allocation::Deterministic { .. } => 0,
            };
            let subscriber = self.subscribers.slab.get(id);
            let due = |b: &Block| b.used == 0 && b.idle_since + idle_of(b.pool) <= self.now_secs;
            let waits = subscriber.live
                && subscriber.blocks.iter().any(|b| b.used == 0 && b.idle_since == since && !due(b));
            if waits {
                return;
            }
            self.idle_blocks.pop_front();
            if !subscriber.live {
                continue;
            }
            let (inside, released): (u32, Vec<_>) =
                (subscriber.addr, subscriber.blocks.iter().copied().filter(due).collect());
            for block in released {
                let pool = &mut self.pools[usize::from(block.pool)];
                pool.give_back_block(&block);
                let outside = pool.address(block.address);
                if let Allocation::Blocks { size, .. } = pool.config.allocation {
                    self.note(Event::BlockReleased { inside, outside, first: block.first, size });
                }
                self.subscribers.slab.get_mut(id).blocks.retain(|b| *b != block);
            }
            self.subscribers.release_if_idle(id);
        }
    }
}
