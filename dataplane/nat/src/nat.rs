//! One shard of NAT: what becomes of a packet.

use core::hash::BuildHasher;
use std::collections::{HashMap, HashSet, VecDeque};

use millrace_net::Instant;

use crate::alg::Controls;
use crate::config::{Config, Filtering};
use crate::expiry::Wheel;
use crate::flow::{Endpoint, Flow, Hasher, Tcp, protocol};
use crate::packet::Datagram;
use crate::permission::Permissions;
use crate::pool::Pool;
use crate::ports::{Kind, Slices};
use crate::rng::Rng;
use crate::table::{Guess, Mappings, Origin, Probe, SessionId, Sessions, Side, Subscribers};
use crate::tcp_state::{Direction, TcpTimer};
use crate::verdict::{Denied, ErrorRewrite, ErrorVerdict, Event, PortChange, Rewrite, Totals, Verdict};

/// One shard.
#[derive(Debug)]
pub struct Nat {
    pub(crate) config: Config,
    pub(crate) slices: Slices,
    pub(crate) worker: u16,
    pub(crate) sessions: Sessions,
    pub(crate) mappings: Mappings,
    pub(crate) subscribers: Subscribers,
    pub(crate) pools: Vec<Pool>,
    /// Outside addresses of pools, forwards and statics.
    pub(crate) outside: HashMap<u32, OutsideAddress, ByAddress>,
    /// One bit for each of 64 classes of addresses, set where one of `outside` is of the class.
    outside_classes: u64,
    /// Those of them that the host has too.
    pub(crate) shared: HashSet<u32, ByAddress>,
    /// One-to-one: inside address → outside address.
    pub(crate) statics: HashMap<u32, u32, ByAddress>,
    /// Whose the outside endpoints of forwards are; the same in every shard.
    pub(crate) forward_owners: HashMap<(u8, Endpoint), u16>,
    pub(crate) permissions: Permissions,
    pub(crate) controls: Controls,
    pub(crate) wheel: Wheel,
    pub(crate) resting: VecDeque<Resting>,
    /// Port blocks whose last mapping has gone, with the subscriber, in order of going.
    pub(crate) idle_blocks: VecDeque<(u32, u32)>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) port_changes: VecDeque<PortChange>,
    pub(crate) seed: u64,
    pub(crate) rng: Rng,
    /// The last time that was told.
    now: Instant,
    pub(crate) now_secs: u32,
    pub(crate) totals: Totals,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum OutsideAddress {
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
pub(crate) struct Resting {
    pub(crate) until: u32,
    pub(crate) pool: u16,
    pub(crate) address: u16,
    pub(crate) kind: Kind,
    pub(crate) port: u16,
}

/// Events kept for whoever takes them.
const MAX_EVENTS: usize = 4096;

impl Nat {
    /// A shard of `slices` for `worker`. `seed` is secret randomness; `now` starts the timers.
    pub fn new(config: Config, slices: Slices, worker: u16, seed: u64, now: Instant) -> Self {
        let hasher = Hasher::new(seed);
        let limits = config.limits;
        let now_secs = secs(now);
        let by_address = ByAddress(hasher);
        let mut outside = HashMap::with_hasher(by_address);
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
        let mut statics = HashMap::with_hasher(by_address);
        statics.extend(config.statics.iter().map(|s| (s.inside.to_bits(), s.outside.to_bits())));
        let mut shared = HashSet::with_hasher(by_address);
        shared.extend(config.shared.iter().map(|addr| addr.to_bits()));
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
            outside_classes: outside.keys().fold(0, |classes, &addr| classes | class(addr)),
            outside,
            shared,
            statics,
            forward_owners: HashMap::new(),
            permissions: Permissions::new(if filters { limits.sessions } else { 0 }, hasher),
            controls: Controls::with_hasher(by_address),
            wheel: Wheel::new(now_secs),
            resting: VecDeque::new(),
            idle_blocks: VecDeque::new(),
            events: VecDeque::new(),
            port_changes: VecDeque::new(),
            seed,
            rng: Rng::new(seed ^ 0x5851_f42d_4c95_7f2d),
            now,
            now_secs,
            totals: Totals::default(),
            config,
        };
        nat.install_forwards();
        nat.leave_to_the_host();
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

    pub(crate) fn owner_of_inside(&self, protocol: u8, inside: u32) -> u16 {
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
        self.outside_classes & class(addr) != 0 && self.outside.contains_key(&addr)
    }

    /// First pass over a burst: where the packet's session is looked for.
    #[inline]
    pub fn probe(&self, side: Side, flow: &Flow) -> Probe {
        self.sessions.probe(side, flow)
    }

    /// The line of the index that a probe is looked for in: for the caller to fetch, in the first pass.
    #[inline]
    pub fn index_line(&self, probe: Probe) -> &impl Sized {
        self.sessions.index_line(probe)
    }

    /// The second pass: which session a probe most likely finds. [`Nat::session_line`] is then to be fetched.
    #[inline]
    pub fn approach(&self, probe: Probe) -> Guess {
        Guess { probe, id: self.sessions.guess(probe) }
    }

    /// The session of a guess.
    #[inline]
    pub fn session_line(&self, guess: Guess) -> Option<&impl Sized> {
        guess.id.map(|id| self.sessions.slab.get(id))
    }

    /// The third pass, for nearly every packet: the translation of a packet whose session is there. `None`: ask
    /// [`Nat::translate`].
    #[inline(always)]
    pub fn translate_known(
        &mut self,
        now: Instant,
        guess: Guess,
        flow: &Flow,
        tcp: Option<Tcp>,
    ) -> Option<Rewrite> {
        let probe = guess.probe;
        let id = match guess.id {
            Some(id) if self.sessions.is_it(probe, flow, id) => id,
            Some(_) | None => self.sessions.find(probe, flow)?,
        };
        self.advance(now);
        match probe.side() {
            // Hairpinning takes a second session.
            Side::Inside if self.sessions.slab.get(id).hairpin => None,
            Side::Inside => Some(self.send(id, flow, tcp)),
            Side::Outside => Some(self.receive(id, flow, tcp)),
        }
    }

    /// Decides about a packet. `tcp` is there for TCP. A packet from inside comes here when it is about to leave through
    /// an outside interface, or when its destination is an outside address (hairpinning).
    pub fn translate(&mut self, now: Instant, side: Side, flow: &Flow, tcp: Option<Tcp>) -> Verdict {
        self.advance(now);
        if side == Side::Outside {
            return self.inbound(flow, tcp);
        }
        if self.is_outside_address(flow.dst.addr) && !self.may_reach(flow) {
            return Verdict::Deny(Denied::NoMapping);
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
        let mut hairpinned = Flow { protocol: flow.protocol, src: out.src, dst: out.dst };
        if flow.protocol == protocol::ICMP {
            (hairpinned.src.port, hairpinned.dst.port) = (0, out.src.port);
        }
        let owner = self.owner(Side::Outside, &hairpinned);
        if owner != self.worker {
            return Verdict::Handoff(owner, out);
        }
        match self.inbound(&hairpinned, tcp) {
            Verdict::Translate(back) => {
                Verdict::Translate(Rewrite { src: out.src, dst: back.dst, gateway: None })
            }
            done @ (Verdict::Bypass | Verdict::Refuse(_) | Verdict::Deny(_) | Verdict::Handoff(..)) => done,
        }
    }

    /// Whether a hairpinned packet will find somebody, as far as this shard can tell: one that will not makes no session.
    fn may_reach(&self, flow: &Flow) -> bool {
        let mut dst = flow.dst;
        if flow.protocol == protocol::ICMP {
            dst.port = flow.src.port;
        }
        self.owner(Side::Outside, &Flow { dst, ..*flow }) != self.worker
            || self.mappings.by_outside(flow.protocol, dst).is_some()
            || matches!(self.outside.get(&flow.dst.addr), Some(OutsideAddress::OneToOne { .. }))
    }

    /// What becomes of an ICMP error about a packet of the flow `quoted`, without touching any state: an error neither
    /// refreshes nor ends a session (RFC 4787 REQ-12, RFC 5508 REQ-6). `side` is where the *error* came from, `outer_dst`
    /// whom it is for.
    pub fn translate_error(&self, side: Side, quoted: &Flow, outer_dst: u32) -> ErrorVerdict {
        if side == Side::Outside {
            return self.error_inward(quoted).map_or(ErrorVerdict::Unrelated, ErrorVerdict::Translate);
        }
        // A packet that came in is quoted with its translated destination.
        let Some(id) = self.sessions.outbound(&quoted.reversed()) else { return ErrorVerdict::Unrelated };
        let s = self.sessions.slab.get(id);
        // RFC 5508 REQ-5: a router inside has no mapping of its own and shows the address of the mapping.
        let out = ErrorRewrite {
            outer_src: Some(s.outside.addr),
            outer_dst: None,
            inner_src: quoted.src,
            inner_dst: s.outside,
        };
        if !self.is_outside_address(outer_dst) {
            return ErrorVerdict::Translate(out);
        }
        // RFC 5508 REQ-7: the packet had been hairpinned, and so is the error about it.
        let hairpinned = Flow { protocol: quoted.protocol, src: quoted.src, dst: s.outside };
        let owner = self.owner(Side::Outside, &hairpinned.reversed());
        if owner != self.worker {
            return ErrorVerdict::Handoff(owner, out);
        }
        match self.error_inward(&hairpinned) {
            Some(back) => ErrorVerdict::Translate(ErrorRewrite { outer_src: out.outer_src, ..back }),
            None => ErrorVerdict::Unrelated,
        }
    }

    /// A packet that went out is quoted with its translated source.
    fn error_inward(&self, quoted: &Flow) -> Option<ErrorRewrite> {
        let s = self.sessions.slab.get(self.sessions.inbound(&quoted.reversed())?);
        Some(ErrorRewrite {
            outer_src: None,
            outer_dst: Some(s.inside.addr),
            inner_src: s.inside,
            inner_dst: quoted.dst,
        })
    }

    /// Ends what has run out, at most `budget` steps at a time. Call it often; it keeps its place.
    pub fn expire(&mut self, now: Instant, budget: usize) {
        self.advance(now);
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

    /// When [`Nat::expire`] has something to do, at the earliest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sessions = (self.sessions.slab.len() != 0).then(|| self.wheel.next_secs());
        let resting = self.resting.front().map(|r| r.until);
        let idle = self.idle_blocks.front().map(|_| self.now_secs + 1);
        let secs = sessions.into_iter().chain(resting).chain(idle).min()?;
        Some(Instant::from_secs(secs.into()))
    }

    /// Whether the flow of a packet from outside has a session. Touches nothing.
    pub fn has_session(&self, flow: &Flow) -> bool {
        self.sessions.inbound(flow).is_some()
    }

    /// Which worker gathers the fragments of a datagram from outside: the later ones have no ports that name an owner.
    pub fn gatherer(&self, datagram: &Datagram) -> u16 {
        self.slices.owner_of_address(datagram.src ^ datagram.dst.rotate_left(16) ^ u32::from(datagram.ident))
    }

    /// The worker whose shard this is.
    pub const fn worker(&self) -> u16 {
        self.worker
    }

    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the oldest event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes the oldest change of a port that NAT shares with the host.
    pub fn poll_port_change(&mut self) -> Option<PortChange> {
        self.port_changes.pop_front()
    }

    pub fn totals(&self) -> Totals {
        Totals {
            sessions: self.sessions.slab.len() as u64,
            mappings: self.mappings.slab.len() as u64,
            subscribers: self.subscribers.slab.len() as u64,
            ..self.totals
        }
    }

    fn outbound(&mut self, flow: &Flow, tcp: Option<Tcp>) -> Verdict {
        if let Some(id) = self.sessions.outbound(flow) {
            return Verdict::Translate(self.send(id, flow, tcp));
        }
        if self.exempts_destination(flow.src.addr, flow.dst.addr) {
            return Verdict::Bypass;
        }
        let mapping = match self.mapping_for(flow, tcp) {
            Ok(mapping) => mapping,
            Err(verdict) => return verdict,
        };
        match self.open_session(mapping, flow.dst, Direction::Out, tcp) {
            Ok(id) => {
                let s = self.sessions.slab.get(id);
                let gateway = s.gateway.then_some(SessionId(id));
                Verdict::Translate(Rewrite { src: s.outside, dst: flow.dst, gateway })
            }
            Err(refused) => {
                self.end_mapping_if_unused(mapping);
                Verdict::Refuse(refused)
            }
        }
    }

    fn inbound(&mut self, flow: &Flow, tcp: Option<Tcp>) -> Verdict {
        if let Some(id) = self.sessions.inbound(flow) {
            return Verdict::Translate(self.receive(id, flow, tcp));
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
                let s = self.sessions.slab.get(id);
                let gateway = s.gateway.then_some(SessionId(id));
                Verdict::Translate(Rewrite { src: flow.src, dst: s.inside, gateway })
            }
            Err(_) => {
                self.end_mapping_if_unused(mapping);
                Verdict::Deny(Denied::TableFull)
            }
        }
    }

    #[inline]
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.now != now {
            self.now = now;
            self.now_secs = self.now_secs.max(secs(now));
        }
    }

    #[inline(always)]
    fn send(&mut self, id: u32, flow: &Flow, tcp: Option<Tcp>) -> Rewrite {
        self.see(id, Direction::Out, tcp);
        let s = self.sessions.slab.get(id);
        Rewrite { src: s.outside, dst: flow.dst, gateway: s.gateway.then_some(SessionId(id)) }
    }

    #[inline(always)]
    fn receive(&mut self, id: u32, flow: &Flow, tcp: Option<Tcp>) -> Rewrite {
        self.see(id, Direction::In, tcp);
        let s = self.sessions.slab.get(id);
        Rewrite { src: flow.src, dst: s.inside, gateway: s.gateway.then_some(SessionId(id)) }
    }

    /// A packet of a session: its timer and its TCP state.
    #[inline]
    pub(crate) fn see(&mut self, id: u32, direction: Direction, tcp: Option<Tcp>) {
        let s = self.sessions.slab.get_mut(id);
        // RFC 4787 REQ-6: what goes out keeps the mapping; what comes in only if the operator says so. TCP's timers are
        // for an idle connection, whichever side speaks (RFC 5382 §5). A line that need not be written stays clean.
        if s.refreshed != self.now_secs
            && (direction == Direction::Out
                || self.config.timers.inbound_refresh
                || s.protocol == protocol::TCP)
        {
            s.refreshed = self.now_secs;
        }
        if let Some(segment) = tcp {
            let before = s.tcp;
            let after = before.after(direction, segment);
            if after == before {
                return;
            }
            s.tcp = after;
            if after.timer() != before.timer() {
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
    pub(crate) fn deadline(&self, id: u32) -> u32 {
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

    pub(crate) fn filtering(&self, mapping: u32) -> Filtering {
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
            // The very endpoint has a session, or it has none; unless a gateway has announced its address.
            Filtering::AddressAndPortDependent => {
                let inside = self.mappings.slab.get(mapping).inside;
                let announced = Endpoint { addr: flow.src.addr, port: 0 };
                self.sessions
                    .outbound(&Flow { protocol: flow.protocol, src: inside, dst: announced })
                    .is_some()
            }
        }
    }

    pub(crate) fn note(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.totals.events_lost += 1;
        }
    }
}

/// One of 64 bits: nearly every address that is none of ours is told apart without a look-up.
const fn class(addr: u32) -> u64 {
    1 << (addr.wrapping_mul(0x9e37_79b9) >> 26)
}

/// Hashes addresses for the standard library's maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByAddress(Hasher);

/// The address written into it.
#[derive(Debug)]
pub(crate) struct AddressHash(Hasher, u64);

impl BuildHasher for ByAddress {
    type Hasher = AddressHash;

    fn build_hasher(&self) -> AddressHash {
        AddressHash(self.0, 0)
    }
}

impl core::hash::Hasher for AddressHash {
    fn write(&mut self, bytes: &[u8]) {
        self.1 = bytes.iter().fold(self.1, |sum, &b| sum << 8 | u64::from(b));
    }

    fn write_u32(&mut self, addr: u32) {
        self.1 = addr.into();
    }

    fn finish(&self) -> u64 {
        self.0.word(self.1)
    }
}

pub(crate) fn secs(now: Instant) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}
