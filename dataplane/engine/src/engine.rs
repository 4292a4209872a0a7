//! The engine: a burst through the stages, and what leaves the hold queue.

use core::fmt;
use core::net::Ipv4Addr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use millrace_fib::{Adjacency, AdjacencyId, AdjacencyState, GroupId, Reader};
use millrace_net::{Instant, PortId};

use crate::counters::{CounterPage, Received};
use crate::frame::{Frame, Shell};
use crate::limiter::{Limiter, Rate};
use crate::outcome::{DropReason, Event, IcmpMessage, Verdict, VerdictKind};
use crate::packet::Packet;
use crate::ports::Ports;
use crate::stage::eth_input::eth_input;
use crate::stage::eth_output::eth_output;
use crate::stage::fib_lookup::{self, FlowHash, Hop, fib_lookup};
use crate::stage::hold::{Held, Hold, Refused};
use crate::stage::icmp_error;
use crate::stage::ip_forward::{self, Forward, ip_forward};
use crate::stage::ip_fragment::{self, ip_fragment};
use crate::stage::ip_input::ip_input;
use crate::stage::ip_options::ip_options;
use crate::stage::l4_checksum;

/// Frames in a burst, at most.
pub const BURST: usize = 64;

/// What an engine is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// For hashes and identifications. Workers of one router share it, so that a flow takes one path.
    pub seed: u64,
    /// Source of ICMP errors where the interface has no address of its own (RFC 1812 §4.3.2.4).
    pub router_id: Option<Ipv4Addr>,
    pub icmp_source: IcmpSource,
    /// ICMP errors of each type and code.
    pub icmp_per_message: Rate,
    /// ICMP errors to each receiver.
    pub icmp_per_destination: Rate,
    pub flow_hash: FlowHash,
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
            flow_hash: FlowHash::Ports,
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
    /// Identification of the next packet the router originates.
    ident: u16,
    /// Frames of the packet being fragmented.
    fragments: Vec<F>,
    /// Packets of the burst, and for each its destination and then its group: columns, for the bulk look-up.
    burst: ArrayVec<Result<Packet, DropReason>, BURST>,
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

/// What is to be done with a packet.
enum Step {
    Send(To),
    Fragment(To),
    Hold(PortId, Ipv4Addr),
    Local,
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
        self.parse(ports, rx);
        self.look_up(rx);
        let mut cx = Cx { now, ports, shell };
        let mut sent = 0;
        for (at, (_, frame)) in rx.drain(..).enumerate() {
            let verdict = match (self.burst[at], self.hops[at]) {
                (Ok(packet), hop) => self.settle(&mut cx, frame, packet, hop),
                (Err(reason), _) => self.discard(&mut cx, frame, reason),
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

    /// Pass 1: headers are read and routes asked for.
    #[inline]
    fn parse(&mut self, ports: &Ports, rx: &[(PortId, F)]) {
        self.burst.clear();
        self.destinations.clear();
        let mut received = Received::new(&self.counters);
        for (in_port, frame) in rx {
            let data = frame.data();
            received.add(*in_port, data.len());
            let packet = match ports.get(*in_port) {
                Some(port) => eth_input(data, port).and_then(|l3| ip_input(data, l3, *in_port)),
                None => Err(DropReason::IngressUnknown),
            };
            let dst = packet.as_ref().map_or(0, |packet| packet.dst);
            self.fib.prefetch(dst);
            self.destinations.push(dst);
            self.burst.push(packet);
        }
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
                Err(reason) => Hop::Refused(*reason),
            });
        }
    }

    /// Pass 3: one packet to its end.
    #[inline]
    fn settle<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        mut frame: F,
        mut packet: Packet,
        hop: Hop,
    ) -> Verdict {
        let sent = match self.decide(cx, &mut packet, hop, &mut frame) {
            Ok(Step::Send(to)) => self.send(cx, frame, &packet, &to).map(|()| to.adjacency.port),
            Ok(Step::Fragment(to)) => self.fragment(cx, frame, &packet, &to).map(|()| to.adjacency.port),
            Ok(Step::Hold(port, next_hop)) => {
                return match self.hold(cx, port, next_hop, Held { packet, frame, own: false }) {
                    Ok(()) => Verdict::Hold,
                    Err(frame) => self.discard(cx, frame, DropReason::HoldFull),
                };
            }
            Ok(Step::Local) => return self.deliver(cx, frame, packet.in_port),
            Err(reason) => return self.refuse(cx, frame, &packet, reason),
        };
        match sent {
            Ok(port) => Verdict::Tx(port),
            Err((reason, frame)) => self.discard(cx, frame, reason),
        }
    }

    #[inline]
    fn decide<S>(
        &self,
        cx: &Cx<'_, S>,
        packet: &mut Packet,
        hop: Hop,
        frame: &mut F,
    ) -> Result<Step, DropReason> {
        if hop == Hop::Local {
            return Ok(Step::Local);
        }
        if packet.has_options() {
            ip_options(packet, frame.data())?;
        }
        let next_hop = self.next_hop(cx.ports, hop, packet.dst_addr())?;
        ip_forward::ttl(packet)?;
        let to = match next_hop {
            NextHop::Known(to) => to,
            NextHop::Unknown(port, next_hop) => return Ok(Step::Hold(port, next_hop)),
        };
        let step = match ip_forward(packet, &to.adjacency, cx.ports)? {
            Forward::Whole => Step::Send(to),
            Forward::InFragments => Step::Fragment(to),
            Forward::Hold(port, next_hop) => return Ok(Step::Hold(port, next_hop)),
        };
        let partial = cx.ports.get(packet.in_port).is_some_and(|port| port.partial_checksums);
        if partial && l4_checksum::complete(packet, frame.data_mut()) {
            self.counters.add_event(Event::ChecksumCompleted, 1);
        }
        ip_forward::age(packet, frame.data_mut());
        Ok(step)
    }

    #[inline]
    fn next_hop(&self, ports: &Ports, hop: Hop, dst: Ipv4Addr) -> Result<NextHop, DropReason> {
        match hop {
            Hop::Adjacency(id) => Ok(NextHop::Known(To { id, adjacency: self.fib.adjacency(id) })),
            Hop::Glean(port) => match self.fib.neighbor(port, dst) {
                Some(id) => Ok(NextHop::Known(To { id, adjacency: self.fib.adjacency(id) })),
                None => match ports.get(port) {
                    // RFC 2644: directed broadcasts are not forwarded.
                    Some(link) if link.is_subnet_broadcast(dst) => Err(DropReason::Broadcast),
                    Some(link) if link.up => Ok(NextHop::Unknown(port, dst)),
                    Some(_) | None => Err(DropReason::EgressDown),
                },
            },
            Hop::Refused(reason) => Err(reason),
            Hop::Local => Err(DropReason::NotForwarded),
        }
    }

    #[inline]
    fn send<S: Shell<Frame = F>>(
        &self,
        cx: &mut Cx<'_, S>,
        mut frame: F,
        packet: &Packet,
        to: &To,
    ) -> Result<(), (DropReason, F)> {
        match eth_output(&mut frame, usize::from(packet.l3), usize::from(packet.total_len), &to.adjacency) {
            Ok(()) => self.transmit(cx, frame, to),
            Err(reason) => Err((reason, frame)),
        }
    }

    #[inline]
    fn transmit<S: Shell<Frame = F>>(
        &self,
        cx: &mut Cx<'_, S>,
        frame: F,
        to: &To,
    ) -> Result<(), (DropReason, F)> {
        let bytes = frame.data().len() as u64;
        cx.shell.transmit(to.adjacency.port, frame).map_err(|frame| (DropReason::TxFull, frame))?;
        self.fib.touch(to.id, seconds(cx.now));
        self.counters.add_tx(to.adjacency.port, bytes);
        Ok(())
    }

    fn fragment<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &Packet,
        to: &To,
    ) -> Result<(), (DropReason, F)> {
        let mut fragments = core::mem::take(&mut self.fragments);
        let sent = ip_fragment(packet, to.adjacency.mtu, frame, cx.shell, &mut fragments)
            .and_then(|()| self.send_fragments(cx, &mut fragments, to));
        self.fragments = fragments;
        sent
    }

    /// All of them, or the first that could not be sent and none after it: without it they are of no use.
    fn send_fragments<S: Shell<Frame = F>>(
        &self,
        cx: &mut Cx<'_, S>,
        fragments: &mut Vec<F>,
        to: &To,
    ) -> Result<(), (DropReason, F)> {
        let count = fragments.len() as u64;
        let mut queue = fragments.drain(..);
        while let Some(mut fragment) = queue.next() {
            let len = fragment.data().len();
            let sent = match eth_output(&mut fragment, 0, len, &to.adjacency) {
                Ok(()) => self.transmit(cx, fragment, to),
                Err(reason) => Err((reason, fragment)),
            };
            if sent.is_err() {
                queue.for_each(|rest| cx.shell.put(rest));
                return sent;
            }
        }
        self.counters.add_event(Event::FragmentsSent, count);
        self.counters.add_event(Event::Fragmented, 1);
        Ok(())
    }

    /// Puts a packet into the hold queue, or gives it back.
    fn hold<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        port: PortId,
        next_hop: Ipv4Addr,
        held: Held<F>,
    ) -> Result<(), F> {
        let admission = self.hold.admit(cx.now, (port, next_hop), held);
        self.counters.set_held(self.hold.frames());
        if admission.ask {
            self.counters.add_event(Event::Resolve, 1);
            cx.shell.resolve(port, next_hop);
        }
        match admission.refused {
            None => Ok(()),
            Some(Refused::Older(oldest)) => {
                self.give_up(cx, oldest, DropReason::HoldFull);
                Ok(())
            }
            Some(Refused::New(held)) => Err(held.frame),
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
                Ok(next_hop) => self.originate(cx, frame, &packet, next_hop),
                Err(_) => self.lose(cx, frame),
            };
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

    fn deliver<S: Shell<Frame = F>>(&mut self, cx: &mut Cx<'_, S>, frame: F, in_port: PortId) -> Verdict {
        match cx.shell.to_kernel(in_port, frame) {
            Ok(()) => Verdict::Kernel,
            Err(frame) => self.discard(cx, frame, DropReason::NotForwarded),
        }
    }

    /// A packet that is not forwarded; its sender is told where that is due.
    fn refuse<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        mut frame: F,
        packet: &Packet,
        reason: DropReason,
    ) -> Verdict {
        let Some(message) = icmp_error::message(reason) else { return self.discard(cx, frame, reason) };
        self.counters.add_drop(reason);
        match self.answer(cx, &mut frame, packet, message) {
            Ok((reply, next_hop)) => {
                self.counters.add_icmp_sent(message);
                self.originate(cx, frame, &reply, next_hop);
                Verdict::Reply(reason)
            }
            Err(silence) => {
                self.counters.add_event(silence, 1);
                cx.shell.put(frame);
                Verdict::Drop(reason)
            }
        }
    }

    /// Makes `frame` the ICMP error about `packet`, or says why there is none.
    fn answer<S>(
        &mut self,
        cx: &Cx<'_, S>,
        frame: &mut F,
        packet: &Packet,
        message: IcmpMessage,
    ) -> Result<(Packet, NextHop), Event> {
        if !icmp_error::may_be_answered(packet, frame.data()) {
            return Err(Event::IcmpForbidden);
        }
        let mut reply = packet.answer();
        let hop = self.hop(&reply, &[]);
        let next_hop = self.next_hop(cx.ports, hop, reply.dst_addr()).map_err(|refusal| {
            // RFC 1812 §4.3.2.7: a source that is a broadcast address is no single host.
            let broadcast = refusal == DropReason::Broadcast;
            if broadcast { Event::IcmpForbidden } else { Event::IcmpUnroutable }
        })?;
        let source = self.source(cx.ports, packet, &next_hop).ok_or(Event::IcmpUnroutable)?;
        if !self.limiter.allow(cx.now, message, reply.dst) {
            return Err(Event::IcmpRateLimited);
        }
        self.ident = self.ident.wrapping_add(1);
        reply.src = source.to_bits();
        reply.total_len =
            icmp_error::build(frame, packet, message, source, self.ident).ok_or(Event::OwnLost)?;
        Ok((reply, next_hop))
    }

    /// RFC 1812 §4.3.2.4.
    fn source(&self, ports: &Ports, packet: &Packet, next_hop: &NextHop) -> Option<Ipv4Addr> {
        let outgoing = || {
            let (port, towards) = next_hop.place();
            ports.get(port).and_then(|port| port.address_towards(towards))
        };
        let incoming = || ports.get(packet.in_port).and_then(|port| port.address_towards(packet.src_addr()));
        let preferred = match self.config.icmp_source {
            IcmpSource::Outgoing => outgoing(),
            IcmpSource::Incoming => incoming().or_else(outgoing),
        };
        preferred.or(self.config.router_id)
    }

    /// Sends a packet of the router's own. It is no arrival, so it gets no verdict.
    fn originate<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &Packet,
        next_hop: NextHop,
    ) {
        match next_hop {
            NextHop::Known(to) if to.adjacency.state == AdjacencyState::Complete => {
                if let Err((_, frame)) = self.send(cx, frame, packet, &to) {
                    self.lose(cx, frame);
                }
            }
            NextHop::Known(to) if to.adjacency.state == AdjacencyState::Failed => {
                self.lose(cx, frame);
            }
            NextHop::Known(_) | NextHop::Unknown(..) => {
                let (port, address) = next_hop.place();
                if let Err(frame) = self.hold(cx, port, address, Held { packet: *packet, frame, own: true }) {
                    self.lose(cx, frame);
                }
            }
        }
    }

    /// A packet of the router's own that cannot be sent.
    fn lose<S: Shell<Frame = F>>(&mut self, cx: &mut Cx<'_, S>, frame: F) {
        self.counters.add_event(Event::OwnLost, 1);
        cx.shell.put(frame);
    }

    /// A frame that ends here, silently.
    #[inline]
    fn discard<S: Shell<Frame = F>>(&mut self, cx: &mut Cx<'_, S>, frame: F, reason: DropReason) -> Verdict {
        self.counters.add_drop(reason);
        cx.shell.put(frame);
        Verdict::Drop(reason)
    }
}

impl NextHop {
    fn place(&self) -> (PortId, Ipv4Addr) {
        match self {
            Self::Known(to) => (to.adjacency.port, to.adjacency.next_hop),
            Self::Unknown(port, address) => (*port, *address),
        }
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

/// Seconds as the forwarding table counts them; wraps after 136 years.
fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_secs() & u64::from(u32::MAX)).unwrap_or(0)
}
