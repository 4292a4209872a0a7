//! The engine: a burst through the stages, and what leaves the hold queue.

use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::sync::Arc;

use arrayvec::ArrayVec;
use millrace_fib::{Adjacency, AdjacencyId, AdjacencyState, GroupId, Reader};
use millrace_nat::Nat;
use millrace_net::{Instant, PortId, Rate};

use crate::counters::{CounterPage, Run};
use crate::filter::Judgement;
use crate::frame::{Frame, Leg, Shell};
use crate::limiter::Limiter;
use crate::outcome::{DropReason, Event, Stage, Verdict, VerdictKind};
use crate::packet::Packet;
use crate::ports::{Port, Ports, Urpf};
use crate::stage::acl;
use crate::stage::eth_input::eth_input;
use crate::stage::fib_lookup::{self, FlowHash, Hop, fib_lookup};
use crate::stage::hold::{Held, Hold};
use crate::stage::icmp_error;
use crate::stage::ip_fragment;
use crate::stage::ip_input::ip_input;
use crate::stage::nat_wait::NatWait;
use crate::stage::urpf::urpf;

pub use explain::Explanation;

mod answer;
mod explain;
mod forward;
mod nat;

/// Frames in a burst, at most.
pub const BURST: usize = 64;

/// What an engine is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// The worker's number, which tells its counters in filters from those of others. Beyond their number of workers
    /// nothing is counted or taken there: such an engine only says what would happen.
    pub worker: usize,
    /// For hashes and identifications. Workers of one router share it, so that a flow takes one path.
    pub seed: u64,
    pub settings: Settings,
    /// ICMP errors of each type and code.
    pub icmp_per_message: Rate,
    /// ICMP errors to each receiver.
    pub icmp_per_destination: Rate,
    /// TTL of what the router originates; not zero (RFC 1812 §4.2.2.9).
    pub ttl: u8,
}

/// What an engine can be told anew at any time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Address for what the router says where the interface has none of its own (RFC 1812 §4.2.2.2, §4.3.2.4). Without
    /// it that is the highest address of any port.
    pub router_id: Option<Ipv4Addr>,
    pub icmp_source: IcmpSource,
    pub flow_hash: FlowHash,
    /// Whether source-routed packets are forwarded. RFC 7126 §4.3-4.4 says no, against RFC 1812 §5.3.13.4.
    pub source_routes: bool,
}

/// Which interface's address an ICMP error comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IcmpSource {
    /// The one it leaves by: a MUST of RFC 1812 §4.3.2.4, and Linux' default.
    #[default]
    Outgoing,
    /// The one the packet it is about arrived on: what traceroute shows is then the path also where routing is
    /// asymmetric. Linux' `icmp_errors_use_inbound_ifaddr`.
    Incoming,
}

impl EngineConfig {
    pub const fn new(seed: u64) -> Self {
        Self {
            worker: 0,
            seed,
            settings: Settings {
                router_id: None,
                icmp_source: IcmpSource::Outgoing,
                flow_hash: FlowHash::Ports,
                source_routes: false,
            },
            icmp_per_message: Rate { per_second: 1000, burst: 250 },
            icmp_per_destination: Rate { per_second: 50, burst: 50 },
            ttl: 64,
        }
    }
}

/// One worker's packet path.
pub struct Engine<'m, F> {
    path: Path<'m, F>,
    burst: Burst,
}

/// What packets meet on their way.
struct Path<'m, F> {
    fib: Reader<'m>,
    counters: Arc<CounterPage>,
    config: EngineConfig,
    hold: Hold<F>,
    limiter: Limiter,
    /// Identification of the last packet the router originated.
    ident: u16,
    /// For IP timestamps: when the time of day was told last, and how long after midnight UT that was.
    time_of_day: Option<(Instant, Duration)>,
    /// Frames of the packet being fragmented.
    fragments: Vec<F>,
    nat: Option<Nat>,
    nat_wait: NatWait<F>,
    nat_columns: nat::Columns,
    /// What the filter of the last packet that met one on its way out said; for [`Engine::explain`].
    judged: Option<Judgement>,
}

/// The burst in columns. Entries beyond the frames of the burst are of bursts before.
struct Burst {
    packets: [Packet; BURST],
    /// Packets whose end is known without a route.
    decided: [Option<Hop>; BURST],
    destinations: [u32; BURST],
    groups: [GroupId; BURST],
    hops: [Hop; BURST],
    /// The same for the way in.
    judged: Option<Judgement>,
}

/// What the stages of one call share.
struct Cx<'a, S> {
    now: Instant,
    /// `now` as the forwarding table counts it.
    seconds: u32,
    ports: &'a Ports,
    shell: &'a mut S,
    /// Frames sent in a row by one port, not counted yet.
    sent: Run,
}

impl<'a, S> Cx<'a, S> {
    fn new(now: Instant, ports: &'a Ports, shell: &'a mut S) -> Self {
        Self { now, seconds: forward::seconds(now), ports, shell, sent: Run::EMPTY }
    }
}

/// An adjacency as it was read.
#[derive(Clone, Copy)]
struct To {
    id: AdjacencyId,
    adjacency: Adjacency,
}

/// A next hop and what is known of it.
enum NextHop {
    Known(To),
    /// No adjacency yet: a neighbour nobody has spoken to.
    Unknown(PortId, Ipv4Addr),
}

impl NextHop {
    const fn place(&self) -> (PortId, Ipv4Addr) {
        match self {
            Self::Known(to) => (to.adjacency.port, to.adjacency.next_hop),
            Self::Unknown(port, address) => (*port, *address),
        }
    }
}

impl<'m, F: Frame> Engine<'m, F> {
    pub fn new(fib: Reader<'m>, counters: Arc<CounterPage>, config: EngineConfig) -> Self {
        let [.., high, low] = fib_lookup::mix(config.seed, 0).to_be_bytes();
        let path = Path {
            fib,
            counters,
            config,
            hold: Hold::new(),
            limiter: Limiter::new(config.icmp_per_message, config.icmp_per_destination, config.seed),
            ident: u16::from_be_bytes([high, low]),
            time_of_day: None,
            fragments: Vec::with_capacity(ip_fragment::MAX_FRAGMENTS),
            nat: None,
            nat_wait: NatWait::new(config.seed),
            nat_columns: nat::Columns::EMPTY,
            judged: None,
        };
        Self { path, burst: Burst::EMPTY }
    }

    /// Takes every frame of `rx`. Each gets exactly one [`Verdict`], in the order of arrival.
    pub fn process<S: Shell<Frame = F>>(
        &mut self,
        now: Instant,
        ports: &Ports,
        rx: &mut ArrayVec<(PortId, F), BURST>,
        shell: &mut S,
    ) {
        self.run(now, ports, rx, &[], shell);
    }

    /// The same for frames that other workers have given by [`Shell::hand_off`], each with its leg; a leg missing counts
    /// as [`Leg::Owner`]. They are not counted as received again.
    pub fn process_handed<S: Shell<Frame = F>>(
        &mut self,
        now: Instant,
        ports: &Ports,
        rx: &mut ArrayVec<(PortId, F), BURST>,
        legs: &[Leg],
        shell: &mut S,
    ) {
        let mut all = [Leg::Owner; BURST];
        all.iter_mut().zip(legs).for_each(|(leg, given)| *leg = *given);
        self.run(now, ports, rx, &all, shell);
    }

    fn run<S: Shell<Frame = F>>(
        &mut self,
        now: Instant,
        ports: &Ports,
        rx: &mut ArrayVec<(PortId, F), BURST>,
        legs: &[Leg],
        shell: &mut S,
    ) {
        let Self { path, burst } = self;
        burst.parse(now, path, ports, rx, !legs.is_empty());
        if ports.has_nat() {
            burst.nat_input(path, (now, ports), rx, legs);
        }
        shell.lap(Stage::Parse);
        burst.look_up(path, rx);
        shell.lap(Stage::LookUp);
        let mut cx = Cx::new(now, ports, shell);
        let mut sent = 0;
        for ((_, frame), (packet, &hop)) in rx.drain(..).zip(burst.packets.iter_mut().zip(&burst.hops)) {
            let verdict = path.settle(&mut cx, frame, packet, hop);
            match verdict {
                Verdict::Tx(_) => sent += 1,
                Verdict::Reply(_)
                | Verdict::Hold
                | Verdict::Kernel
                | Verdict::Handoff(_)
                | Verdict::Drop(_) => path.counters.add_verdict(verdict.kind(), 1),
            }
        }
        path.counters.add_verdict(VerdictKind::Tx, sent);
        path.release_fragments(&mut cx);
        path.finish(&mut cx);
        shell.lap(Stage::Settle);
    }

    /// Puts a NAT shard into the packet path, or takes it out; gives the one that was there.
    pub fn set_nat(&mut self, nat: Option<Nat>) -> Option<Nat> {
        if nat.is_some() {
            self.path.nat_wait.provide();
        }
        core::mem::replace(&mut self.path.nat, nat)
    }

    pub const fn nat(&self) -> Option<&Nat> {
        self.path.nat.as_ref()
    }

    /// The shard between two bursts: for its events, a new configuration, a page of what it has.
    pub const fn nat_mut(&mut self) -> Option<&mut Nat> {
        self.path.nat.as_mut()
    }

    /// In force from the next packet on.
    pub fn set(&mut self, settings: Settings) {
        self.path.config.settings = settings;
    }

    /// Tells the time of day, for IP timestamps: `since_midnight` UT have passed at `now`. Until it is told, and
    /// after a day without being told, timestamps are marked as non-standard (RFC 791 §3.1).
    pub fn set_time_of_day(&mut self, now: Instant, since_midnight: Duration) {
        self.path.time_of_day = Some((now, since_midnight));
    }

    /// When [`Engine::handle_timeout`] has something to do, at the earliest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let nat = self.path.nat.as_ref().and_then(Nat::poll_timeout);
        let waiting = self.path.nat_wait.deadline();
        self.path.hold.deadline().into_iter().chain(nat).chain(waiting).min()
    }

    /// Gives up on neighbours that have not answered in time, and ends a bounded number of NAT sessions that have run out.
    pub fn handle_timeout<S: Shell<Frame = F>>(&mut self, now: Instant, ports: &Ports, shell: &mut S) {
        let path = &mut self.path;
        path.expire_sessions(now);
        let mut cx = Cx::new(now, ports, shell);
        path.give_up_waiting(&mut cx);
        while let Some(released) = path.hold.expired(now) {
            for held in released {
                path.give_up(&mut cx, held, DropReason::NeighborFailed);
            }
        }
        path.finish(&mut cx);
    }

    /// Routes anew what waits for neighbours that have answered or failed since.
    pub fn neighbors_changed<S: Shell<Frame = F>>(&mut self, now: Instant, ports: &Ports, shell: &mut S) {
        let path = &mut self.path;
        let mut cx = Cx::new(now, ports, shell);
        let fib = path.fib;
        let decided = |(port, next_hop): (PortId, Ipv4Addr)| match fib.neighbor(port, next_hop) {
            Some(id) => fib.adjacency(id).state != AdjacencyState::Incomplete,
            None => false,
        };
        let mut cursor = path.hold.end();
        while let Some(released) = path.hold.take_if(&mut cursor, decided) {
            path.counters.add_event(Event::HeldReleased, released.len() as u64);
            for held in released {
                path.release(&mut cx, held);
            }
        }
        path.finish(&mut cx);
    }

    /// Frames in the hold queue, and those NAT cannot decide about yet.
    pub const fn held(&self) -> usize {
        self.path.hold.frames() + self.path.nat_wait.frames()
    }
}

impl Burst {
    const EMPTY: Self = Self {
        packets: [Packet::EMPTY; BURST],
        decided: [None; BURST],
        destinations: [0; BURST],
        groups: [GroupId::NONE; BURST],
        hops: [Hop::Local; BURST],
        judged: None,
    };

    /// Pass 1: headers are read and routes asked for. Sources are checked where a port wants it.
    #[inline(always)]
    fn parse<F: Frame>(
        &mut self,
        now: Instant,
        path: &Path<'_, F>,
        ports: &Ports,
        rx: &[(PortId, F)],
        handed: bool,
    ) {
        let mut received = Run::EMPTY;
        let mut port = ports.get(received.port);
        let checked = |port: &Port| port.urpf != Urpf::Off;
        let guarded = |port: &Port| !port.guard_in.is_open();
        let (mut check_sources, mut guard) = (port.is_some_and(checked), port.is_some_and(guarded));
        for (at, (in_port, frame)) in rx.iter().enumerate().take(BURST) {
            let data = frame.data();
            if *in_port != received.port {
                received.received(&path.counters, *in_port);
                port = ports.get(*in_port);
                check_sources |= port.is_some_and(checked);
                guard |= port.is_some_and(guarded);
            }
            if !handed {
                received.add(data.len());
            }
            let packet = &mut self.packets[at];
            let parsed = match port {
                Some(port) => eth_input(data, port).and_then(|l3| ip_input(data, l3, *in_port, port, packet)),
                None => Err(DropReason::IngressUnknown),
            };
            path.fib.prefetch(packet.dst);
            self.destinations[at] = packet.dst;
            self.decided[at] = parsed.err().map(Hop::Fault);
        }
        received.received(&path.counters, PortId(0));
        if check_sources {
            self.check_sources(&path.fib, ports, rx.len());
        }
        if guard && !handed {
            self.guard(now, path.config.worker, ports, rx);
        }
    }

    /// Packet filters and policers, in a burst that has packets from ports with them.
    #[inline(never)]
    fn guard<F: Frame>(&mut self, now: Instant, worker: usize, ports: &Ports, rx: &[(PortId, F)]) {
        for ((packet, decided), (in_port, frame)) in self.packets.iter().zip(&mut self.decided).zip(rx) {
            let Some(guard) = ports.get(*in_port).map(|port| &port.guard_in).filter(|guard| !guard.is_open())
            else {
                continue;
            };
            // Faults that are answered are not answered to those whom the filter keeps out.
            if is_answered(*decided) {
                let judgement = acl::judge(guard, worker, now, packet, frame.data());
                *decided = judgement.refused.map(Hop::Fault).or(*decided);
                self.judged = Some(judgement);
            }
        }
    }

    /// Unicast reverse path forwarding, in a burst that has packets from ports with it.
    #[inline(never)]
    fn check_sources(&mut self, fib: &Reader<'_>, ports: &Ports, len: usize) {
        for packet in self.packets.iter().take(len) {
            fib.prefetch(packet.src);
        }
        for (packet, decided) in self.packets.iter().zip(&mut self.decided).take(len) {
            // Faults that are answered are not answered to forged sources either.
            let passes = |port: &Port| urpf(fib, port.urpf, packet);
            if is_answered(*decided) && !ports.get(packet.in_port).is_none_or(passes) {
                *decided = Some(Hop::Fault(DropReason::Urpf));
            }
        }
    }

    /// Pass 2: from destinations to hops, for the whole burst.
    #[inline(always)]
    fn look_up<F: Frame>(&mut self, path: &Path<'_, F>, rx: &[(PortId, F)]) {
        let len = rx.len().min(BURST);
        path.fib.lookup_bulk(&self.destinations[..len], &mut self.groups);
        for (at, (_, frame)) in rx.iter().enumerate().take(len) {
            let packet = &self.packets[at];
            self.hops[at] = match self.decided[at] {
                None => {
                    fib_lookup(&path.fib, self.groups[at], packet, || path.flow_hash(packet, frame.data()))
                }
                Some(hop) => hop,
            };
        }
    }
}

/// Whether nothing is wrong with a packet so far, or something its sender is told of.
fn is_answered(decided: Option<Hop>) -> bool {
    match decided {
        Some(Hop::Fault(reason)) => icmp_error::message(reason).is_some(),
        Some(_) | None => true,
    }
}

impl<F: Frame> Path<'_, F> {
    /// Counts what a call has left to be counted at its end.
    fn finish<S>(&self, cx: &mut Cx<'_, S>) {
        cx.sent.sent(&self.counters, PortId(0));
        self.counters.set_held(self.hold.frames() + self.nat_wait.frames());
    }

    /// The last verdict on a packet that has waited in vain.
    fn give_up<S: Shell<Frame = F>>(&mut self, cx: &mut Cx<'_, S>, held: Held<F>, reason: DropReason) {
        if held.own {
            self.lose(cx, held.frame);
        } else {
            let verdict = self.refuse(cx, held.frame, &held.packet, reason);
            self.counters.add_verdict(verdict.kind(), 1);
        }
    }

    /// A packet whose neighbour has answered, or will not, starts again from its destination.
    fn release<S: Shell<Frame = F>>(&mut self, cx: &mut Cx<'_, S>, held: Held<F>) {
        let Held { mut packet, frame, own } = held;
        let hop = self.hop(&packet, frame.data());
        if own {
            match self.next_hop(cx.ports, hop, packet.dst_addr()) {
                Ok(next_hop) => self.originate(cx, frame, &packet, &next_hop),
                Err(_) => self.lose(cx, frame),
            }
        } else {
            let verdict = self.settle(cx, frame, &mut packet, hop);
            self.counters.add_verdict(verdict.kind(), 1);
        }
    }

    /// The hop of a single packet.
    fn hop(&self, packet: &Packet, frame: &[u8]) -> Hop {
        fib_lookup(&self.fib, self.fib.lookup(packet.dst), packet, || self.flow_hash(packet, frame))
    }

    fn flow_hash(&self, packet: &Packet, frame: &[u8]) -> u32 {
        fib_lookup::flow_hash(self.config.seed, self.config.settings.flow_hash, packet, frame)
    }

    /// A frame that ends here, silently.
    #[inline]
    fn discard<S: Shell<Frame = F>>(&self, cx: &mut Cx<'_, S>, frame: F, reason: DropReason) -> Verdict {
        self.counters.add_drop(reason);
        cx.shell.dropped(&frame, reason);
        cx.shell.put(frame);
        Verdict::Drop(reason)
    }
}

impl<F: Frame> fmt::Debug for Engine<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.path.config)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}
