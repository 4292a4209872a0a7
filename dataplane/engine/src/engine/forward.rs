//! Pass 3: one packet to its end.

use core::net::Ipv4Addr;
use core::time::Duration;

use millrace_fib::{Adjacency, AdjacencyId, AdjacencyState, Vlan};
use millrace_net::{Instant, Mac, PortId};

use super::{Cx, Engine, NextHop, To};
use crate::frame::{Frame, Shell};
use crate::outcome::{DropReason, Event, Verdict};
use crate::packet::Packet;
use crate::ports::{Port, Ports};
use crate::stage::eth_output::eth_output;
use crate::stage::fib_lookup::Hop;
use crate::stage::hold::{Held, Refused};
use crate::stage::ip_forward::{self, Forward, ip_forward};
use crate::stage::ip_fragment::ip_fragment;
use crate::stage::ip_options::{Options, ip_options};
use crate::stage::l4_checksum;

/// What is to be done with a packet.
enum Step {
    Send(To),
    Fragment(To),
    Hold(PortId, Ipv4Addr),
    Local,
}

impl<F: Frame> Engine<'_, F> {
    #[inline]
    pub(super) fn settle<S: Shell<Frame = F>>(
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

    /// Checks at the top, rewriting at the bottom: a packet that is refused or held is as it came.
    #[inline]
    fn decide<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        packet: &mut Packet,
        hop: Hop,
        frame: &mut F,
    ) -> Result<Step, DropReason> {
        if hop == Hop::Local {
            return Ok(Step::Local);
        }
        let options =
            if packet.has_options() { ip_options(packet, frame.data())? } else { Options::default() };
        let next_hop = self.next_hop(cx.ports, hop, packet.dst_addr())?;
        if options.is_source_routed() {
            let (_, address) = next_hop.place();
            options.permit(self.config.source_routes, address == packet.dst_addr())?;
        }
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
        if let Some(port) = cx.ports.get(packet.in_port) {
            if to.adjacency.port == packet.in_port && port.redirects && !options.is_source_routed() {
                self.redirect(cx, frame.data(), packet, port, to.adjacency.next_hop);
            }
            if port.partial_checksums && l4_checksum::complete(packet, frame.data_mut()) {
                self.counters.add_event(Event::ChecksumCompleted, 1);
            }
        }
        ip_forward::age(packet, frame.data_mut());
        if options.wants_update() {
            let outgoing = self.address_on(cx.ports, to.adjacency.port, to.adjacency.next_hop);
            let own = |addr| cx.ports.is_own(addr) || self.config.router_id == Some(addr);
            options.update(packet, frame.data_mut(), outgoing, self.timestamp(cx.now), own);
        }
        Ok(step)
    }

    #[inline]
    pub(super) fn next_hop(&self, ports: &Ports, hop: Hop, dst: Ipv4Addr) -> Result<NextHop, DropReason> {
        match hop {
            Hop::Adjacency(id) => Ok(NextHop::Known(To { id, adjacency: self.fib.adjacency(id) })),
            Hop::Glean(port) => match self.fib.neighbor(port, dst) {
                Some(id) => Ok(NextHop::Known(To { id, adjacency: self.fib.adjacency(id) })),
                None => match ports.get(port) {
                    Some(link) if link.is_subnet_broadcast(dst) => directed_broadcast(port, link, dst),
                    Some(link) if link.up => Ok(NextHop::Unknown(port, dst)),
                    Some(_) | None => Err(DropReason::EgressDown),
                },
            },
            Hop::Refused(reason) => Err(reason),
            Hop::Local => Err(DropReason::NotForwarded),
        }
    }

    #[inline]
    pub(super) fn send<S: Shell<Frame = F>>(
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
    pub(super) fn hold<S: Shell<Frame = F>>(
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

    fn deliver<S: Shell<Frame = F>>(&self, cx: &mut Cx<'_, S>, frame: F, in_port: PortId) -> Verdict {
        match cx.shell.to_kernel(in_port, frame) {
            Ok(()) => Verdict::Kernel,
            Err(frame) => self.discard(cx, frame, DropReason::NotForwarded),
        }
    }

    /// The timestamp of RFC 791 §3.1: milliseconds since midnight UT, or anything with the high bit set.
    fn timestamp(&self, now: Instant) -> u32 {
        const DAY: Duration = Duration::from_secs(86_400);
        const NON_STANDARD: u32 = 1 << 31;
        match self.time_of_day {
            Some((told, since_midnight)) if now.since(told) < DAY => {
                let ms = (since_midnight + now.since(told)).as_millis() % DAY.as_millis();
                u32::try_from(ms).unwrap_or(NON_STANDARD)
            }
            Some(_) | None => NON_STANDARD | seconds(now),
        }
    }
}

/// RFC 2644: onto the link as a link-layer broadcast if the administrator says so.
fn directed_broadcast(port: PortId, link: &Port, dst: Ipv4Addr) -> Result<NextHop, DropReason> {
    if !link.directed_broadcast || !link.is_directed_broadcast(dst) {
        return Err(DropReason::Broadcast);
    }
    let adjacency = Adjacency {
        state: AdjacencyState::Complete,
        port,
        src: link.mac,
        dst: Mac::BROADCAST,
        mtu: link.mtu,
        vlan: Vlan::Untagged,
        next_hop: dst,
    };
    Ok(NextHop::Known(To { id: AdjacencyId::NONE, adjacency }))
}

/// Seconds as the forwarding table counts them; wraps after 136 years.
fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_secs() & u64::from(u32::MAX)).unwrap_or(0)
}
