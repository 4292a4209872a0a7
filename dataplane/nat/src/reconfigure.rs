//! State under another configuration: what still fits goes on, the rest ends.
//!
//! A mapping fits if the new configuration could have made it: the same rule gives its inside address a pool that has its
//! outside address and port, and this shard owns both. Its sessions fit with it. The same question is asked of state
//! that comes from a dump.

use millrace_net::Instant;

use crate::config::{Allocation, Config, SourceAction};
use crate::expiry::{Link, NIL};
use crate::flow::Endpoint;
use crate::nat::Nat;
use crate::ports::{Kind, Slices};
use crate::table::{Block, Mapping, Origin, Session};
use crate::tcp_state::TcpState;
use crate::verdict::{Event, PortChange};

/// What became of state under a new configuration, or of a dump's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    pub mappings: u64,
    pub sessions: u64,
    /// Mappings that did not fit.
    pub mappings_ended: u64,
    pub sessions_ended: u64,
}

/// A mapping as it is taken over, times in seconds on this shard's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takeover {
    pub(crate) protocol: u8,
    pub(crate) inside: Endpoint,
    pub(crate) outside: Endpoint,
    pub(crate) created: u32,
}

impl Nat {
    /// Puts `config` into force. Time-outs, quotas and filters change in place; anything else takes about 0.3 s for a
    /// million sessions, in which this shard forwards nothing.
    pub fn reconfigure(&mut self, now: Instant, config: Config, slices: Slices) -> Kept {
        self.advance(now);
        if self.slices == slices && self.config.differs_only_in_policy(&config) {
            self.config = config;
            let totals = self.totals();
            return Kept { mappings: totals.mappings, sessions: totals.sessions, ..Kept::default() };
        }
        let fresh = Self::new(config, slices, self.worker, self.seed, now);
        let mut old = core::mem::replace(self, fresh);
        core::mem::swap(&mut self.events, &mut old.events);
        core::mem::swap(&mut self.rng, &mut old.rng);
        let told = core::mem::take(&mut self.port_changes);
        self.port_changes = core::mem::take(&mut old.port_changes);
        for (_, m) in old.mappings.slab.iter().filter(|(_, m)| m.live && old.shared.contains(&m.outside.addr))
        {
            self.port_changes.push_back(PortChange { protocol: m.protocol, outside: m.outside, held: false });
        }
        self.port_changes.extend(told);
        self.totals = old.totals;
        let mut kept = Kept::default();
        let mut places = vec![NIL; old.mappings.slab.positions()];
        for (id, m) in old.mappings.slab.iter().filter(|(_, m)| m.live) {
            let Mapping { protocol, inside, outside, created, .. } = *m;
            match self.take_over(Takeover { protocol, inside, outside, created }) {
                Some(place) => {
                    places[id as usize] = place;
                    kept.mappings += 1;
                }
                None => {
                    kept.mappings_ended += 1;
                    if old.logs_mappings(m.origin) {
                        let lifetime_secs = self.now_secs.saturating_sub(created);
                        self.note(Event::MappingRemoved { protocol, inside, outside, lifetime_secs });
                    }
                }
            }
        }
        for (_, s) in old.sessions.slab.iter().filter(|(_, s)| s.live) {
            let exempt = self.exempts_destination(s.inside.addr, s.remote.addr);
            let place = if exempt { NIL } else { places[s.mapping as usize] };
            let times = (s.created, s.refreshed);
            if place != NIL && self.take_over_session(place, s.remote, s.tcp, times) {
                kept.sessions += 1;
            } else {
                kept.sessions_ended += 1;
            }
        }
        for resting in &old.resting {
            let address = old.pools[usize::from(resting.pool)].address(resting.address);
            self.rest_again(address, resting.kind, resting.port, resting.until);
        }
        self.end_unused_takeovers(&places);
        for (_, holder) in old.subscribers.slab.iter().filter(|(_, s)| s.live) {
            for block in &holder.blocks {
                let pool = &old.pools[usize::from(block.pool)];
                let outside = pool.address(block.address);
                if let Allocation::Blocks { size, .. } = pool.config.allocation
                    && !self.holds_block(holder.addr, outside, block.first)
                {
                    self.note(Event::BlockReleased {
                        inside: holder.addr,
                        outside,
                        first: block.first,
                        size,
                    });
                }
            }
        }
        kept
    }

    fn holds_block(&self, inside: u32, outside: u32, first: u16) -> bool {
        let Some(id) = self.subscribers.find(inside) else { return false };
        let held =
            |b: &Block| b.first == first && self.pools[usize::from(b.pool)].address(b.address) == outside;
        self.subscribers.slab.get(id).blocks.iter().any(held)
    }

    /// A mapping of before, if this configuration could have made it. It has no session yet:
    /// [`Nat::end_unused_takeovers`] ends those that get none.
    pub(crate) fn take_over(&mut self, from: Takeover) -> Option<u32> {
        let Takeover { protocol, inside, outside, created } = from;
        if let Some(id) = self.mappings.by_outside(protocol, outside) {
            // A forward, installed with the configuration.
            return (self.mappings.slab.get(id).inside == inside).then_some(id);
        }
        if self.mappings.by_inside(protocol, inside).is_some()
            || self.owner_of_inside(protocol, inside.addr) != self.worker
        {
            return None;
        }
        if let Some(&address) = self.statics.get(&inside.addr) {
            let same = address == outside.addr && inside.port == outside.port;
            return same.then(|| self.map_one_to_one(protocol, inside, address)).flatten();
        }
        let Some(SourceAction::Pool(p)) = self.source_action(inside.addr) else { return None };
        let pool = &self.pools[usize::from(p)];
        let address = pool.position(outside.addr)?;
        let subscriber = self.subscribers.find_or_insert(inside.addr)?;
        let taken = self.take_outside(subscriber, (p, address), Kind::of(protocol), outside.port);
        let id = taken.then(|| {
            let holder = self.subscribers.slab.get_mut(subscriber);
            holder.ports += 1;
            holder.pairing = Some((p, address));
            let origin = Origin::Pool { pool: p, address };
            let mapping =
                Mapping { protocol, inside, outside, created, origin, subscriber, sessions: 0, live: true };
            self.add_mapping(mapping)
        });
        self.subscribers.release_if_idle(subscriber);
        id.flatten()
    }

    /// This very port for a subscriber, if the pool lets it have it.
    fn take_outside(&mut self, subscriber: u32, (p, at): (u16, u16), kind: Option<Kind>, port: u16) -> bool {
        let Some(kind) = kind else { return true };
        let pool = &mut self.pools[usize::from(p)];
        let holder = self.subscribers.slab.get_mut(subscriber);
        let paired = holder.pairing.is_none_or(|pairing| pairing == (p, at));
        if !paired
            || self.config.limits.ports_per_subscriber <= holder.ports
            || !pool.config.ports.contains(&port)
            || self.slices.owner(port) != self.worker
        {
            return false;
        }
        match pool.config.allocation {
            Allocation::Random => pool.take_exactly(at, kind, port),
            Allocation::Deterministic { .. } => {
                let has = |(address, range): (u16, core::ops::RangeInclusive<u16>)| {
                    address == at && range.contains(&port)
                };
                pool.deterministic(holder.addr).is_some_and(has) && pool.take_exactly(at, kind, port)
            }
            Allocation::Blocks { size, max, .. } => {
                let first = port / size * size;
                let known = holder.blocks.iter().position(|b| (b.pool, b.address, b.first) == (p, at, first));
                let known = match known {
                    Some(known) => known,
                    None if holder.blocks.len() < usize::from(max) && pool.take_exact_block(at, first) => {
                        holder.blocks.push(Block { pool: p, address: at, first, used: 0, idle_since: 0 });
                        holder.blocks.len() - 1
                    }
                    None => return false,
                };
                let taken = pool.take_exactly(at, kind, port);
                holder.blocks[known].used += u32::from(taken);
                taken
            }
        }
    }

    /// A session of a mapping that was taken over. `times`: when it was made, and last refreshed.
    pub(crate) fn take_over_session(
        &mut self,
        mapping: u32,
        remote: Endpoint,
        tcp: TcpState,
        times: (u32, u32),
    ) -> bool {
        let m = self.mappings.slab.get(mapping);
        let (protocol, inside, outside) = (m.protocol, m.inside, m.outside);
        let session = Session {
            inside,
            outside,
            remote,
            mapping,
            link: Link::NONE,
            refreshed: times.1.min(self.now_secs),
            created: times.0.min(self.now_secs),
            slot: 0,
            protocol,
            tcp,
            hairpin: self.is_outside_address(remote.addr),
            gateway: false,
            live: true,
        };
        self.add_session(session).is_ok()
    }

    /// Ends the mappings among `places` that no session was taken over for.
    pub(crate) fn end_unused_takeovers(&mut self, places: &[u32]) {
        for &id in places.iter().filter(|&&id| id != NIL) {
            if self.mappings.slab.get(id).live {
                self.end_mapping_if_unused(id);
            }
        }
    }

    /// A port goes on resting, where this configuration has it and nobody took it over.
    pub(crate) fn rest_again(&mut self, addr: u32, kind: Kind, port: u16, until: u32) {
        for (p, pool) in (0u16..).zip(&mut self.pools) {
            let Some(address) = pool.position(addr) else { continue };
            if pool.config.ports.contains(&port)
                && self.slices.owner(port) == self.worker
                && pool.take_exactly(address, kind, port)
            {
                self.resting.push_back(crate::nat::Resting { until, pool: p, address, kind, port });
            }
        }
    }
}

impl Config {
    /// Whether nothing is different that a mapping depends on.
    fn differs_only_in_policy(&self, other: &Self) -> bool {
        let caps = |config: &Self| (config.limits.sessions, config.limits.mappings);
        self.pools == other.pools
            && self.sources == other.sources
            && self.forwards == other.forwards
            && self.statics == other.statics
            && self.shared == other.shared
            && self.host_ports == other.host_ports
            && caps(self) == caps(other)
    }
}
