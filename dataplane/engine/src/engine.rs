//! The engine: a burst through the stages, and what leaves the hold queue.

use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;
use std::sync::Arc;

use arrayvec::ArrayVec;
use millrace_fib::{Adjacency, AdjacencyId, AdjacencyState, GroupId, Reader};
use millrace_net::{Instant, PortId};

use crate::counters::{CounterPage, Received};
use crate::frame::{Frame, Shell};
use crate::limiter::{Limiter, Rate};
use crate::outcome::{DropReason, Event, Verdict, VerdictKind};
use crate::packet::Packet;
use crate::ports::{Ports, Urpf};
use crate::stage::eth_input::eth_input;
use crate::stage::fib_lookup::{self, FlowHash, Hop, fib_lookup};
use crate::stage::hold::{Held, Hold};
use crate::stage::ip_fragment;
use crate::stage::ip_input::{Fault, ip_input};
use crate::stage::urpf::urpf;

mod answer;
mod forward;

/// Frames in a burst, at most.
pub const BURST: usize = 64;

/// What an engine is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// For hashes and identifications. Workers of one router share it, so that a flow takes one path.
    pub seed: u64,
    /// Address for what the router says where the interface has none of its own (RFC 1812 §4.2.2.2, §4.3.2.4).
    pub router_id: Option<Ipv4Addr>,
    pub icmp_source: IcmpSource,
    /// ICMP errors of each type and code.
    pub icmp_per_message: Rate,
    /// ICMP errors to each receiver.
    pub icmp_per_destination: Rate,
    /// TTL of what the router originates; not zero (RFC 1812 §4.2.2.9).
    pub ttl: u8,
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
            seed,
            router_id: None,
            icmp_source: IcmpSource::Outgoing,
            icmp_per_message: Rate { per_second: 1000, burst: 250 },
            icmp_per_destination: Rate { per_second: 50, burst: 50 },
            ttl: 64,
            flow_hash: FlowHash::Ports,
            source_routes: false,
        }
    }
}

/// One worker's packet path.
pub struct Engine<'m, F> {
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
    /// The burst in columns: what was parsed, where to, by which group, and what that means.
    burst: ArrayVec<Result<Packet, Fault>, BURST>,
    destinations: ArrayVec<u32, BURST>,
    groups: [GroupId; BURST],
    hops: ArrayVec<Hop, BURST>,
}

/// What the stages of one call share.
struct Cx<'a, S> {
    now: Instant,
    ports: &'a Ports,
    shell: &'a mut S,
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
        Self {
            fib,
            counters,
            config,
            hold: Hold::new(),
            limiter: Limiter::new(config.icmp_per_message, config.icmp_per_destination, config.seed),
            ident: u16::from_be_bytes([high, low]),
            time_of_day: None,
            fragments: Vec::with_capacity(ip_fragment::MAX_FRAGMENTS),
            burst: ArrayVec::new(),
            destinations: ArrayVec::new(),
            groups: [GroupId::NONE; BURST],
            hops: ArrayVec::new(),
        }
    }

    /// Takes every frame of `rx`. Each gets exactly one [`Verdict`], in the order of arrival.
    pub fn process<S: Shell<Frame = F>>(
        &mut self,
        now: Instant,
        ports: &Ports,
        rx: &mut ArrayVec<(PortId, F), BURST>,
        shell: &mut S,
    ) {
        let urpf = self.parse(ports, rx);
        self.look_up(rx);
        if urpf {
            self.check_sources(ports);
        }
        let mut cx = Cx { now, ports, shell };
        let mut sent = 0;
        for (at, (_, frame)) in rx.drain(..).enumerate() {
            let verdict = match self.burst[at] {
                Ok(packet) => self.settle(&mut cx, frame, packet, self.hops[at]),
                Err(Fault::Silent(reason)) => self.discard(&mut cx, frame, reason),
                Err(Fault::Answerable(reason, packet)) => self.refuse(&mut cx, frame, &packet, reason),
            };
            match verdict {
                Verdict::Tx(_) => sent += 1,
                Verdict::Reply(_) | Verdict::Hold | Verdict::Kernel | Verdict::Drop(_) => {
                    self.counters.add_verdict(verdict.kind(), 1);
                }
            }
        }
        self.counters.add_verdict(VerdictKind::Tx, sent);
    }

    /// Tells the time of day, for IP timestamps: `since_midnight` UT have passed at `now`. Until it is told, and
    /// after a day without being told, timestamps are marked as non-standard (RFC 791 §3.1).
    pub fn set_time_of_day(&mut self, now: Instant, since_midnight: Duration) {
        self.time_of_day = Some((now, since_midnight));
    }

    /// When [`Engine::handle_timeout`] has something to do, at the earliest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.hold.deadline()
    }

    /// Gives up on neighbours that have not answered in time.
    pub fn handle_timeout<S: Shell<Frame = F>>(&mut self, now: Instant, ports: &Ports, shell: &mut S) {
        let mut cx = Cx { now, ports, shell };
        while let Some(released) = self.hold.expired(now) {
            for held in released {
                self.give_up(&mut cx, held, DropReason::NeighborFailed);
            }
        }
        self.counters.set_held(self.hold.frames());
    }

    /// Routes anew what waits for neighbours that have answered or failed since.
    pub fn neighbors_changed<S: Shell<Frame = F>>(&mut self, now: Instant, ports: &Ports, shell: &mut S) {
        let mut cx = Cx { now, ports, shell };
        let fib = self.fib;
        let decided = |(port, next_hop): (PortId, Ipv4Addr)| match fib.neighbor(port, next_hop) {
            Some(id) => fib.adjacency(id).state != AdjacencyState::Incomplete,
            None => false,
        };
        let mut cursor = self.hold.end();
        while let Some(released) = self.hold.take_if(&mut cursor, decided) {
            self.counters.add_event(Event::HeldReleased, released.len() as u64);
            for held in released {
                self.release(&mut cx, held);
            }
        }
        self.counters.set_held(self.hold.frames());
    }

    /// Frames in the hold queue.
    pub const fn held(&self) -> usize {
        self.hold.frames()
    }

    /// Pass 1: headers are read and routes asked for. Whether any source is to be checked.
    #[inline]
    fn parse(&mut self, ports: &Ports, rx: &[(PortId, F)]) -> bool {
        self.burst.clear();
        self.destinations.clear();
        let mut received = Received::new(&self.counters);
        let mut check_sources = false;
        for (in_port, frame) in rx {
            let data = frame.data();
            received.add(*in_port, data.len());
            let packet = match ports.get(*in_port) {
                Some(port) => {
                    check_sources |= port.urpf != Urpf::Off;
                    eth_input(data, port).map_err(Fault::Silent).and_then(|l3| ip_input(data, l3, *in_port))
                }
                None => Err(Fault::Silent(DropReason::IngressUnknown)),
            };
            let dst = packet.as_ref().map_or(0, |packet| packet.dst);
            self.fib.prefetch(dst);
            self.destinations.push(dst);
            self.burst.push(packet);
        }
        check_sources
    }

    /// Pass 2: from destinations to hops, for the whole burst.
    #[inline]
    fn look_up(&mut self, rx: &[(PortId, F)]) {
        self.fib.lookup_bulk(&self.destinations, &mut self.groups);
        self.hops.clear();
        let (seed, fields) = (self.config.seed, self.config.flow_hash);
        for ((packet, group), (_, frame)) in self.burst.iter().zip(self.groups).zip(rx) {
            self.hops.push(match packet {
                Ok(packet) => fib_lookup(&self.fib, group, packet, || {
                    fib_lookup::flow_hash(seed, fields, packet, frame.data())
                }),
                Err(Fault::Silent(reason) | Fault::Answerable(reason, _)) => Hop::Refused(*reason),
            });
        }
    }

    /// Unicast reverse path forwarding, in a burst that has packets from ports with it.
    fn check_sources(&mut self, ports: &Ports) {
        for packet in self.burst.iter().flatten() {
            self.fib.prefetch(packet.src);
        }
        for parsed in &mut self.burst {
            if let Ok(packet) = parsed
                && let Some(port) = ports.get(packet.in_port)
                && !urpf(&self.fib, port.urpf, packet)
            {
                *parsed = Err(Fault::Silent(DropReason::Urpf));
            }
        }
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
        let Held { packet, frame, own } = held;
        let hop = self.hop(&packet, frame.data());
        if own {
            match self.next_hop(cx.ports, hop, packet.dst_addr()) {
                Ok(next_hop) => self.originate(cx, frame, &packet, &next_hop),
                Err(_) => self.lose(cx, frame),
            }
        } else {
            let verdict = self.settle(cx, frame, packet, hop);
            self.counters.add_verdict(verdict.kind(), 1);
        }
    }

    /// The hop of a single packet.
    fn hop(&self, packet: &Packet, frame: &[u8]) -> Hop {
        let group = self.fib.lookup(packet.dst);
        fib_lookup(&self.fib, group, packet, || {
            fib_lookup::flow_hash(self.config.seed, self.config.flow_hash, packet, frame)
        })
    }

    /// A frame that ends here, silently.
    #[inline]
    fn discard<S: Shell<Frame = F>>(&self, cx: &mut Cx<'_, S>, frame: F, reason: DropReason) -> Verdict {
        self.counters.add_drop(reason);
        cx.shell.put(frame);
        Verdict::Drop(reason)
    }
}

impl<F> fmt::Debug for Engine<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.config)
            .field("held", &self.hold.frames())
            .finish_non_exhaustive()
    }
}
