//! One shard of NAT: what becomes of a packet.

use std::collections::{HashMap, VecDeque};

use millrace_net::Instant;

use crate::config::{Allocation, Config, Filtering, SourceAction};
use crate::expiry::{NIL, Wheel};
use crate::flow::{Endpoint, Flow, Hasher, Tcp, protocol};
use crate::index::Index;
use crate::pool::{Exhausted, Pool};
use crate::ports::{Kind, Slices};
use crate::rng::Rng;
use crate::table::{Mapping, Mappings, Origin, Session, SessionId, Sessions, Subscribers};
use crate::tcp_state::{Direction, TcpState, TcpTimer};

/// Where a packet came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Inside,
    Outside,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Forward it with these endpoints.
    Translate(Rewrite),
    /// NAT has nothing to do with it: route it as it is.
    Bypass,
    /// Answer with ICMP 3/13 (RFC 5508 REQ-8, RFC 6888 REQ-11).
    Refuse(Refused),
    /// Drop it without a word: it came uninvited.
    Deny(Denied),
    /// Hairpinning to another shard: rewrite, and let that worker translate it as from outside.
    Handoff(u16, Rewrite),
}

/// The endpoints a packet leaves with. Those that stay as they were are there too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rewrite {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub session: SessionId,
}

/// Why a new flow from inside got no mapping or session. One variant = one counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No port is left in the pool.
    PoolExhausted,
    /// The subscriber's quota of ports or port blocks is used up.
    SubscriberPorts,
    /// The subscriber's quota of sessions is used up.
    SubscriberSessions,
    /// The shard holds as many sessions or mappings as it may.
    TableFull,
    /// No pool translates this inside address.
    NoPool,
}

/// Why a packet was dropped without a word. One variant = one counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// Nobody inside has this outside endpoint.
    NoMapping,
    /// The mapping's filter does not let this remote endpoint in.
    Filtered,
    /// A TCP segment without SYN that belongs to no connection.
    TcpNoSession,
    /// No session could be made for a packet from outside: a cap is reached.
    TableFull,
}

/// Something the log of a carrier-grade NAT wants to know (RFC 6888 REQ-12: without destinations).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    MappingCreated { protocol: u8, inside: Endpoint, outside: Endpoint },
    MappingRemoved { protocol: u8, inside: Endpoint, outside: Endpoint, lifetime_secs: u32 },
    BlockAllocated { inside: u32, outside: u32, first: u16, size: u16 },
    BlockReleased { inside: u32, outside: u32, first: u16, size: u16 },
}

/// Sums since start, and what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub sessions: u64,
    pub mappings: u64,
    pub subscribers: u64,
    pub sessions_created: u64,
    pub sessions_expired: u64,
    pub mappings_created: u64,
    /// Events that were not kept because nobody took the earlier ones.
    pub events_lost: u64,
}

/// One shard.
#[derive(Debug)]
pub struct Nat {
    config: Config,
    slices: Slices,
    worker: u16,
    sessions: Sessions,
    mappings: Mappings,
    subscribers: Subscribers,
    pools: Vec<Pool>,
    /// Outside addresses of pools, forwards and statics.
    outside: HashMap<u32, OutsideAddress>,
    /// One-to-one: inside address → outside address.
    statics: HashMap<u32, u32>,
    /// Whose the outside endpoints of forwards are; the same in every shard.
    forward_owners: HashMap<(u8, Endpoint), u16>,
    permissions: Permissions,
    wheel: Wheel,
    resting: VecDeque<Resting>,
    /// Port blocks whose last mapping has gone, with the subscriber, in order of going.
    idle_blocks: VecDeque<(u32, u32)>,
    events: VecDeque<Event>,
    rng: Rng,
    now_secs: u32,
    totals: Totals,
}

#[derive(Clone, Copy, Debug)]
enum OutsideAddress {
    Pool {
        pool: u16,
        address: u16,
    },
    OneToOne {
        inside: u32,
    },
    /// Only forwards are on it.
    Forwards,
}

/// A port in quarantine.
#[derive(Clone, Copy, Debug)]
struct Resting {
    until: u32,
    pool: u16,
    address: u16,
    kind: Kind,
    port: u16,
}

/// Remote addresses a mapping has sent to, for address-dependent filtering.
#[derive(Debug)]
struct Permissions {
    records: Vec<Permission>,
    free: Vec<u32>,
    index: Index,
    hasher: Hasher,
}

#[derive(Clone, Copy, Debug)]
struct Permission {
    mapping: u32,
    remote: u32,
    sessions: u32,
}

/// Events kept for whoever takes them.
const MAX_EVENTS: usize = 4096;

impl Nat {
    /// A shard of `slices` for `worker`. `seed` is secret randomness; `now` starts the timers.
    pub fn new(config: Config, slices: Slices, worker: u16, seed: u64, now: Instant) -> Self {
        let hasher = Hasher::new(seed);
        let limits = config.limits;
        let now_secs = secs(now);
        let mut outside = HashMap::new();
        for (p, pool) in (0u16..).zip(&config.pools) {
            for (a, addr) in (0u16..).zip(&pool.addresses) {
                outside.insert(addr.to_bits(), OutsideAddress::Pool { pool: p, address: a });
            }
        }
        for s in &config.statics {
            outside.insert(s.outside.to_bits(), OutsideAddress::OneToOne { inside: s.inside.to_bits() });
        }
        for f in &config.forwards {
            outside.entry(f.outside.to_bits()).or_insert(OutsideAddress::Forwards);
        }
        let statics = config.statics.iter().map(|s| (s.inside.to_bits(), s.outside.to_bits())).collect();
        let filters = config.pools.iter().any(|p| {
            [p.filtering.tcp, p.filtering.udp, p.filtering.icmp].contains(&Filtering::AddressDependent)
        });
        let mut nat = Self {
            pools: config.pools.iter().map(|p| Pool::new(p.clone(), slices, worker)).collect(),
            slices,
            worker,
            sessions: Sessions::new(limits.sessions, hasher),
            mappings: Mappings::new(limits.mappings, hasher),
            subscribers: Subscribers::new(limits.mappings, hasher),
            outside,
            statics,
            forward_owners: HashMap::new(),
            permissions: Permissions::new(if filters { limits.sessions } else { 0 }, hasher),
            wheel: Wheel::new(now_secs),
            resting: VecDeque::new(),
            idle_blocks: VecDeque::new(),
            events: VecDeque::new(),
            rng: Rng::new(seed ^ 0x5851_f42d_4c95_7f2d),
            now_secs,
            totals: Totals::default(),
            config,
        };
        nat.install_forwards();
        nat
    }

    /// Which worker's shard a packet belongs to: the inside address says, or the outside endpoint.
    pub fn owner(&self, side: Side, flow: &Flow) -> u16 {
        let endpoint = match side {
            Side::Inside => return self.owner_of_inside(flow.protocol, flow.src.addr),
            Side::Outside => flow.dst,
        };
        match self.outside.get(&endpoint.addr) {
            Some(OutsideAddress::OneToOne { inside }) => self.slices.owner_of_address(*inside),
            Some(OutsideAddress::Pool { .. } | OutsideAddress::Forwards) | None => {
                match self.forward_owners.get(&(flow.protocol, endpoint)) {
                    Some(&owner) => owner,
                    None if Kind::of(flow.protocol).is_none() => 0,
                    None => self.slices.owner(endpoint.port),
                }
            }
        }
    }

    fn owner_of_inside(&self, protocol: u8, inside: u32) -> u16 {
        if let Some((_, range)) = self.pools.iter().find_map(|p| p.deterministic(inside)) {
            return self.slices.owner(*range.start());
        }
        // One host claims a protocol without ports on an address: that takes one shard to decide.
        if Kind::of(protocol).is_none() && !self.statics.contains_key(&inside) {
            return 0;
        }
        self.slices.owner_of_address(inside)
    }

    /// Whether packets to this address come to NAT when they arrive from outside, or from inside (hairpinning).
    #[inline]
    pub fn is_outside_address(&self, addr: u32) -> bool {
        self.outside.contains_key(&addr)
    }

    /// Brings into the cache what [`Nat::translate`] will read for this flow. The result means nothing.
    #[inline]
    pub fn touch(&self, flow: &Flow) -> u16 {
        self.sessions.touch(flow)
    }

    /// Decides about a packet. `tcp` is there for TCP. A packet from inside comes here when it is about to leave through
    /// an outside interface, or when its destination is an outside address (hairpinning).
    pub fn translate(&mut self, now: Instant, side: Side, flow: &Flow, tcp: Option<Tcp>) -> Verdict {
        self.now_secs = self.now_secs.max(secs(now));
        if side == Side::Outside {
            return self.inbound(flow, tcp);
        }
        let out = match self.outbound(flow, tcp) {
            Verdict::Translate(out) if self.is_outside_address(flow.dst.addr) => out,
            done @ (Verdict::Translate(_)
            | Verdict::Bypass
            | Verdict::Refuse(_)
            | Verdict::Deny(_)
            | Verdict::Handoff(..)) => return done,
        };
        // RFC 4787 REQ-9: the peer inside sees the external source address.
        let hairpinned = Flow { protocol: flow.protocol, src: out.src, dst: out.dst };
        let owner = self.owner(Side::Outside, &hairpinned);
        if owner != self.worker {
            return Verdict::Handoff(owner, out);
        }
        match self.inbound(&hairpinned, tcp) {
            Verdict::Translate(back) => Verdict::Translate(Rewrite { src: out.src, ..back }),
            done @ (Verdict::Bypass | Verdict::Refuse(_) | Verdict::Deny(_) | Verdict::Handoff(..)) => done,
        }
    }

    /// The session of the packet quoted in an ICMP error, without touching its state: an error neither refreshes nor
    /// ends anything (RFC 4787 REQ-12, RFC 5508 REQ-6). `side` is where the *error* came from; the flow is as quoted.
    pub fn embedded(&self, side: Side, quoted: &Flow) -> Option<Rewrite> {
        match side {
            // A packet that went out is quoted with its translated source.
            Side::Outside => self.sessions.inbound(&quoted.reversed()).map(|id| {
                let s = self.sessions.slab.get(id);
                Rewrite { src: s.inside, dst: quoted.dst, session: SessionId(id) }
            }),
            // A packet that came in is quoted with its translated destination.
            Side::Inside => self.sessions.outbound(&quoted.reversed()).map(|id| {
                let s = self.sessions.slab.get(id);
                Rewrite { src: quoted.src, dst: s.outside, session: SessionId(id) }
            }),
        }
    }

    /// Ends what has run out, at most `budget` steps at a time. Call it often; it keeps its place.
    pub fn expire(&mut self, now: Instant, budget: usize) {
        self.now_secs = self.now_secs.max(secs(now));
        for _ in 0..budget {
            let Some(id) = self.wheel.pop_due(&mut self.sessions.slab, self.now_secs) else { break };
            let deadline = self.deadline(id);
            if self.now_secs < deadline {
                let slot = self.wheel.insert(&mut self.sessions.slab, id, deadline);
                self.sessions.slab.get_mut(id).slot = slot;
            } else {
                self.end_session(id);
                self.totals.sessions_expired += 1;
            }
        }
        for _ in 0..budget {
            match self.resting.front() {
                Some(r) if r.until <= self.now_secs => {
                    self.pools[usize::from(r.pool)].give_back(r.address, r.kind, r.port);
                    self.resting.pop_front();
                }
                _ => break,
            }
        }
        self.release_idle_blocks(budget);
    }

    /// Ends the sessions `matches` says, as `clear nat sessions` does; gives how many.
    pub fn clear(&mut self, now: Instant, mut matches: impl FnMut(&Flow, Endpoint) -> bool) -> usize {
        self.now_secs = self.now_secs.max(secs(now));
        let chosen: Vec<u32> = self
            .sessions
            .slab
            .iter()
            .filter(|(_, s)| s.live)
            .filter(|(_, s)| matches(&Flow { protocol: s.protocol, src: s.inside, dst: s.remote }, s.outside))
            .map(|(id, _)| id)
            .collect();
        for &id in &chosen {
            let slot = self.sessions.slab.get(id).slot;
            self.wheel.remove(&mut self.sessions.slab, id, slot);
            self.end_session(id);
        }
        chosen.len()
    }

    /// Takes the oldest event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn totals(&self) -> Totals {
        Totals {
            sessions: self.sessions.slab.len() as u64,
            mappings: self.mappings.slab.len() as u64,
            subscribers: self.subscribers.slab.len() as u64,
            ..self.totals
        }
    }

    /// Bytes of memory for sessions and mappings.
    pub fn bytes(&self) -> usize {
        self.sessions.bytes() + self.mappings.bytes()
    }

    /// RFC 7422, forward: the outside address and ports of an inside address.
    pub fn deterministic(&self, inside: u32) -> Option<(u32, core::ops::RangeInclusive<u16>)> {
        self.pools.iter().find_map(|p| p.deterministic(inside).map(|(at, range)| (p.address(at), range)))
    }

    /// RFC 7422, reverse: the inside address behind an outside endpoint.
    pub fn deterministic_inside(&self, outside: Endpoint) -> Option<u32> {
        self.pools.iter().find_map(|p| p.deterministic_inside(outside.addr, outside.port))
    }

    /// Free ports of a pool for a protocol, resting ones not counted.
    pub fn free_ports(&self, pool: u16, protocol: u8) -> Option<u64> {
        Some(self.pools.get(usize::from(pool))?.free(Kind::of(protocol)?))
    }

    fn outbound(&mut self, flow: &Flow, tcp: Option<Tcp>) -> Verdict {
        if let Some(id) = self.sessions.outbound(flow) {
            self.see(id, Direction::Out, tcp);
            let s = self.sessions.slab.get(id);
            return Verdict::Translate(Rewrite { src: s.outside, dst: flow.dst, session: SessionId(id) });
        }
        let mapping = match self.mapping_for(flow, tcp) {
            Ok(mapping) => mapping,
            Err(verdict) => return verdict,
        };
        match self.open_session(mapping, flow.dst, Direction::Out, tcp) {
            Ok(id) => {
                let src = self.mappings.slab.get(mapping).outside;
                Verdict::Translate(Rewrite { src, dst: flow.dst, session: SessionId(id) })
            }
            Err(refused) => {
                self.end_mapping_if_unused(mapping);
                Verdict::Refuse(refused)
            }
        }
    }

    fn inbound(&mut self, flow: &Flow, tcp: Option<Tcp>) -> Verdict {
        if let Some(id) = self.sessions.inbound(flow) {
            self.see(id, Direction::In, tcp);
            let s = self.sessions.slab.get(id);
            return Verdict::Translate(Rewrite { src: flow.src, dst: s.inside, session: SessionId(id) });
        }
        let Some(&outside) = self.outside.get(&flow.dst.addr) else { return Verdict::Bypass };
        let mapping = match (self.mappings.by_outside(flow.protocol, flow.dst), outside) {
            (Some(mapping), _) => mapping,
            (None, OutsideAddress::OneToOne { inside }) => {
                let inside = Endpoint { addr: inside, port: flow.dst.port };
                match self.map_one_to_one(flow.protocol, inside, flow.dst.addr) {
                    Some(mapping) => mapping,
                    None => return Verdict::Deny(Denied::TableFull),
                }
            }
            (None, OutsideAddress::Pool { .. } | OutsideAddress::Forwards) => {
                return Verdict::Deny(Denied::NoMapping);
            }
        };
        if !self.lets_in(mapping, flow) {
            return Verdict::Deny(Denied::Filtered);
        }
        let dynamic = matches!(self.mappings.slab.get(mapping).origin, Origin::Pool { .. });
        if dynamic && tcp.is_some_and(|t| !t.syn) {
            return Verdict::Deny(Denied::TcpNoSession);
        }
        match self.open_session(mapping, flow.src, Direction::In, tcp) {
            Ok(id) => {
                let dst = self.mappings.slab.get(mapping).inside;
                Verdict::Translate(Rewrite { src: flow.src, dst, session: SessionId(id) })
            }
            Err(_) => {
                self.end_mapping_if_unused(mapping);
                Verdict::Deny(Denied::TableFull)
            }
        }
    }

    /// The mapping of an outbound packet's source, made if there is none.
    fn mapping_for(&mut self, flow: &Flow, tcp: Option<Tcp>) -> Result<u32, Verdict> {
        if let Some(id) = self.mappings.by_inside(flow.protocol, flow.src) {
            let dynamic = matches!(self.mappings.slab.get(id).origin, Origin::Pool { .. });
            if dynamic && tcp.is_some_and(|t| !t.syn) {
                return Err(Verdict::Deny(Denied::TcpNoSession));
            }
            return Ok(id);
        }
        if let Some(&outside) = self.statics.get(&flow.src.addr) {
            return self
                .map_one_to_one(flow.protocol, flow.src, outside)
                .ok_or(Verdict::Refuse(Refused::TableFull));
        }
        let addr = flow.src.addr;
        let rule = self.config.sources.iter().find(|s| addr & s.from.mask() == s.from.bits());
        let pool = match rule.map(|s| s.action) {
            Some(SourceAction::Pool(pool)) => pool,
            Some(SourceAction::Exempt) => return Err(Verdict::Bypass),
            None => return Err(Verdict::Refuse(Refused::NoPool)),
        };
        if tcp.is_some_and(|t| !t.syn) {
            return Err(Verdict::Deny(Denied::TcpNoSession));
        }
        self.map_from_pool(pool, flow.protocol, flow.src).map_err(Verdict::Refuse)
    }

    fn map_from_pool(&mut self, pool: u16, protocol: u8, inside: Endpoint) -> Result<u32, Refused> {
        if self.mappings.slab.is_full() {
            return Err(Refused::TableFull);
        }
        let id = self.subscribers.find_or_insert(inside.addr).ok_or(Refused::TableFull)?;
        let result = self.map_for_subscriber(id, pool, protocol, inside);
        self.subscribers.release_if_idle(id);
        result
    }

    fn map_for_subscriber(
        &mut self,
        id: u32,
        p: u16,
        protocol: u8,
        inside: Endpoint,
    ) -> Result<u32, Refused> {
        let kind = Kind::of(protocol);
        let pool = &mut self.pools[usize::from(p)];
        let subscriber = self.subscribers.slab.get_mut(id);
        if kind.is_some() && self.config.limits.ports_per_subscriber <= subscriber.ports {
            return Err(Refused::SubscriberPorts);
        }
        let address = match (pool.deterministic(inside.addr), subscriber.pairing) {
            (Some((address, _)), _) => address,
            (None, Some((paired, address))) if paired == p => address,
            (None, _) => pool.next_address(kind).ok_or(Refused::PoolExhausted)?,
        };
        let outside_addr = pool.address(address);
        let port = match kind {
            None => 0,
            Some(kind) => {
                let taken = pool.take(&mut self.rng, subscriber, p, address, kind, inside.port);
                match taken {
                    Ok((port, new_block)) => {
                        if let (Some(block), Allocation::Blocks { size, .. }) =
                            (new_block, &pool.config.allocation)
                        {
                            let (first, size) = (block.first, *size);
                            self.note(Event::BlockAllocated {
                                inside: inside.addr,
                                outside: outside_addr,
                                first,
                                size,
                            });
                        }
                        port
                    }
                    Err(Exhausted::SubscriberBlocks) => return Err(Refused::SubscriberPorts),
                    Err(Exhausted::Pool) => return Err(Refused::PoolExhausted),
                }
            }
        };
        let outside = Endpoint { addr: outside_addr, port };
        if kind.is_none() && self.mappings.by_outside(protocol, outside).is_some() {
            // A protocol without ports belongs to the one inside host that claimed it.
            return Err(Refused::PoolExhausted);
        }
        let subscriber = self.subscribers.slab.get_mut(id);
        subscriber.ports += 1;
        subscriber.pairing = Some((p, address));
        let origin = Origin::Pool { pool: p, address };
        self.new_mapping(protocol, inside, outside, origin, id).ok_or(Refused::TableFull)
    }

    fn map_one_to_one(&mut self, protocol: u8, inside: Endpoint, outside: u32) -> Option<u32> {
        let outside = Endpoint { addr: outside, port: inside.port };
        self.new_mapping(protocol, inside, outside, Origin::OneToOne, NIL)
    }

    fn new_mapping(
        &mut self,
        protocol: u8,
        inside: Endpoint,
        outside: Endpoint,
        origin: Origin,
        subscriber: u32,
    ) -> Option<u32> {
        let created = self.now_secs;
        let id = self.mappings.insert(Mapping {
            inside,
            outside,
            sessions: 0,
            created,
            subscriber,
            protocol,
            origin,
            live: true,
        })?;
        self.totals.mappings_created += 1;
        if self.logs_mappings(origin) {
            self.note(Event::MappingCreated { protocol, inside, outside });
        }
        Some(id)
    }

    /// Mappings in blocks are covered by their block's line in the log, deterministic ones by arithmetic.
    fn logs_mappings(&self, origin: Origin) -> bool {
        match origin {
            Origin::Pool { pool, .. } => {
                matches!(self.pools[usize::from(pool)].config.allocation, Allocation::Random)
            }
            Origin::OneToOne | Origin::Forward => false,
        }
    }

    fn open_session(
        &mut self,
        mapping: u32,
        remote: Endpoint,
        direction: Direction,
        tcp: Option<Tcp>,
    ) -> Result<u32, Refused> {
        let m = self.mappings.slab.get(mapping);
        let (subscriber, protocol, inside, outside) = (m.subscriber, m.protocol, m.inside, m.outside);
        if subscriber != NIL
            && self.config.limits.sessions_per_subscriber <= self.subscribers.slab.get(subscriber).sessions
        {
            return Err(Refused::SubscriberSessions);
        }
        let state = match tcp {
            Some(t) if t.syn => TcpState::opened_by(direction),
            // In the middle of a connection: only static mappings come here without a SYN.
            _ => TcpState::Established,
        };
        let session = Session {
            inside,
            outside,
            remote,
            mapping,
            link: crate::expiry::Link::NONE,
            refreshed: self.now_secs,
            created: self.now_secs,
            slot: 0,
            protocol,
            tcp: state,
            live: true,
        };
        let id = self.sessions.insert(session).ok_or(Refused::TableFull)?;
        let deadline = self.deadline(id);
        let slot = self.wheel.insert(&mut self.sessions.slab, id, deadline);
        self.sessions.slab.get_mut(id).slot = slot;
        self.mappings.slab.get_mut(mapping).sessions += 1;
        if subscriber != NIL {
            self.subscribers.slab.get_mut(subscriber).sessions += 1;
        }
        if self.filtering(mapping) == Filtering::AddressDependent {
            self.permissions.add(mapping, remote.addr);
        }
        self.totals.sessions_created += 1;
        Ok(id)
    }

    /// A packet of a session: its timer and its TCP state.
    #[inline]
    fn see(&mut self, id: u32, direction: Direction, tcp: Option<Tcp>) {
        let s = self.sessions.slab.get_mut(id);
        // RFC 4787 REQ-6: what goes out keeps the mapping; what comes in only if the operator says so. TCP's timers are
        // for an idle connection, whichever side speaks (RFC 5382 §5).
        if direction == Direction::Out || self.config.timers.inbound_refresh || s.protocol == protocol::TCP {
            s.refreshed = self.now_secs;
        }
        if let Some(segment) = tcp {
            let before = s.tcp;
            s.tcp = before.after(direction, segment);
            if s.tcp.timer() != before.timer() {
                // The deadline may have moved nearer than the slot the session lies in.
                let slot = s.slot;
                s.refreshed = self.now_secs;
                self.wheel.remove(&mut self.sessions.slab, id, slot);
                let deadline = self.deadline(id);
                let slot = self.wheel.insert(&mut self.sessions.slab, id, deadline);
                self.sessions.slab.get_mut(id).slot = slot;
            }
        }
    }

    /// The second at which a session runs out if nothing more is seen of it.
    fn deadline(&self, id: u32) -> u32 {
        let s = self.sessions.slab.get(id);
        let timers = &self.config.timers;
        let idle = match s.protocol {
            protocol::TCP => match s.tcp.timer() {
                TcpTimer::Transitory => timers.tcp_transitory,
                TcpTimer::Established => timers.tcp_established,
            },
            protocol::UDP => timers.udp,
            protocol::ICMP => timers.icmp,
            _ => timers.other,
        };
        s.refreshed.saturating_add(idle)
    }

    fn filtering(&self, mapping: u32) -> Filtering {
        let m = self.mappings.slab.get(mapping);
        let Origin::Pool { pool, .. } = m.origin else { return Filtering::EndpointIndependent };
        let filtering = &self.pools[usize::from(pool)].config.filtering;
        match Kind::of(m.protocol) {
            Some(Kind::Tcp) => filtering.tcp,
            Some(Kind::Udp) => filtering.udp,
            Some(Kind::Icmp) => filtering.icmp,
            None => Filtering::EndpointIndependent,
        }
    }

    /// Whether a packet without a session may come in through a mapping.
    fn lets_in(&self, mapping: u32, flow: &Flow) -> bool {
        match self.filtering(mapping) {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self.permissions.find(mapping, flow.src.addr).is_some(),
            // The very endpoint has a session, or it has none.
            Filtering::AddressAndPortDependent => false,
        }
    }

    /// Ends a session that is no longer on the wheel.
    fn end_session(&mut self, id: u32) {
        let s = self.sessions.slab.get(id);
        let (mapping, remote) = (s.mapping, s.remote);
        if self.filtering(mapping) == Filtering::AddressDependent {
            self.permissions.remove(mapping, remote.addr);
        }
        self.sessions.remove(id);
        let m = self.mappings.slab.get_mut(mapping);
        m.sessions -= 1;
        let subscriber = m.subscriber;
        if subscriber != NIL {
            self.subscribers.slab.get_mut(subscriber).sessions -= 1;
        }
        self.end_mapping_if_unused(mapping);
    }

    fn end_mapping_if_unused(&mut self, id: u32) {
        let m = self.mappings.slab.get(id).clone();
        if m.sessions != 0 || m.origin == Origin::Forward {
            return;
        }
        self.mappings.remove(id);
        if self.logs_mappings(m.origin) {
            let lifetime_secs = self.now_secs - m.created;
            let (protocol, inside, outside) = (m.protocol, m.inside, m.outside);
            self.note(Event::MappingRemoved { protocol, inside, outside, lifetime_secs });
        }
        if let Origin::Pool { pool, address } = m.origin {
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

    fn release_idle_blocks(&mut self, budget: usize) {
        for _ in 0..budget {
            let Some(&(since, id)) = self.idle_blocks.front() else { return };
            let idle_of = |pool: u16| match self.pools[usize::from(pool)].config.allocation {
                // A block's ports must have rested before somebody else gets them.
                Allocation::Blocks { idle_secs, .. } => idle_secs.max(self.config.timers.port_quarantine),
                Allocation::Random | Allocation::Deterministic { .. } => 0,
            };
            let subscriber = self.subscribers.slab.get(id);
            let due =
                |b: &crate::table::Block| b.used == 0 && b.idle_since + idle_of(b.pool) <= self.now_secs;
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

    fn install_forwards(&mut self) {
        let forwards = core::mem::take(&mut self.config.forwards);
        for forward in &forwards {
            for (outside, inside) in forward.pairs() {
                let owner = self.owner_of_inside(forward.protocol, inside.addr);
                self.forward_owners.insert((forward.protocol, outside), owner);
                // The port is nobody else's, whichever worker's slice it lies in.
                if let (Some(OutsideAddress::Pool { pool, address }), Some(kind)) =
                    (self.outside.get(&outside.addr), Kind::of(forward.protocol))
                {
                    self.pools[usize::from(*pool)].take_exactly(*address, kind, outside.port);
                }
                if owner != self.worker {
                    continue;
                }
                self.new_mapping(forward.protocol, inside, outside, Origin::Forward, NIL);
            }
        }
        self.config.forwards = forwards;
    }

    fn note(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.totals.events_lost += 1;
        }
    }
}

impl Permissions {
    fn new(capacity: u32, hasher: Hasher) -> Self {
        Self { records: Vec::new(), free: Vec::new(), index: Index::new(capacity as usize), hasher }
    }

    fn find(&self, mapping: u32, remote: u32) -> Option<u32> {
        self.index.get(self.hasher.permission(mapping, remote), |id| {
            let p = &self.records[id as usize];
            p.mapping == mapping && p.remote == remote
        })
    }

    fn add(&mut self, mapping: u32, remote: u32) {
        if let Some(id) = self.find(mapping, remote) {
            self.records[id as usize].sessions += 1;
            return;
        }
        let record = Permission { mapping, remote, sessions: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                self.records[id as usize] = record;
                id
            }
            None => {
                self.records.push(record);
                // There are never more permissions than sessions, whose numbers are u32.
                u32::try_from(self.records.len() - 1).unwrap_or(NIL)
            }
        };
        self.index.insert(self.hasher.permission(mapping, remote), id);
    }

    fn remove(&mut self, mapping: u32, remote: u32) {
        let Some(id) = self.find(mapping, remote) else { return };
        let record = &mut self.records[id as usize];
        record.sessions -= 1;
        if record.sessions == 0 {
            self.index.remove(self.hasher.permission(mapping, remote), id);
            self.free.push(id);
        }
    }
}

fn secs(now: Instant) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}
