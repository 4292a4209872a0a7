//! Pass 3: one packet to its end.

use core::net::Ipv4Addr;
use core::time::Duration;

use millrace_fib::{Adjacency, AdjacencyId, AdjacencyState, Vlan};
use millrace_net::{Instant, Mac, PortId};

use super::{Cx, NextHop, Path, To};
use crate::frame::{Frame, Shell};
use crate::outcome::{DropReason, Event, Verdict};
use crate::packet::{Packet, Plan};
use crate::ports::{Guard, Port, Ports};
use crate::stage::acl;
use crate::stage::eth_output::eth_output;
use crate::stage::fib_lookup::Hop;
use crate::stage::hold::{Held, Refused};
use crate::stage::ip_forward::{self, ip_forward};
use crate::stage::ip_fragment::ip_fragment;
use crate::stage::ip_options::{Options, ip_options};
use crate::stage::l4_checksum;
use crate::stage::mss_clamp::mss_clamp;

impl<F: Frame> Path<'_, F> {
    /// One packet to its verdict.
    ///
    /// What nearly every packet needs is inlined here and works in registers; all else is not.
    #[inline(always)]
    pub(super) fn settle<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &mut Packet,
        hop: Hop,
    ) -> Verdict {
        let id = match hop {
            Hop::Adjacency(id) => id,
            Hop::Glean(port) => match self.fib.neighbor(port, packet.dst_addr()) {
                Some(id) => id,
                None => return self.settle_unknown(cx, frame, packet, port),
            },
            Hop::Local | Hop::Refused(_) | Hop::Fault(_) | Hop::Elsewhere(_) | Hop::Wait(_) => {
                return self.end(cx, frame, packet, hop);
            }
        };
        let adjacency = self.fib.adjacency(id);
        self.forward(cx, frame, packet, id, &adjacency)
    }

    /// A packet that has no way out of a port.
    #[inline(never)]
    fn end<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &mut Packet,
        hop: Hop,
    ) -> Verdict {
        match hop {
            Hop::Refused(reason) => {
                let reason = self.options(packet, &frame, None).err().unwrap_or(reason);
                self.refuse(cx, frame, packet, reason)
            }
            Hop::Fault(reason) => self.refuse(cx, frame, packet, reason),
            Hop::Elsewhere(to) => self.hand_off(cx, frame, packet, to),
            Hop::Wait(reason) => self.nat_hold(cx, frame, packet, reason),
            Hop::Local => match cx.shell.to_kernel(packet.in_port, frame) {
                Ok(()) => Verdict::Kernel,
                Err(frame) => self.discard(cx, frame, DropReason::NotForwarded),
            },
            Hop::Adjacency(_) | Hop::Glean(_) => self.discard(cx, frame, DropReason::NoRoute),
        }
    }

    /// A packet to a destination on a link that nobody has spoken to.
    #[inline(never)]
    fn settle_unknown<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &mut Packet,
        port: PortId,
    ) -> Verdict {
        let dst = packet.dst_addr();
        let decided = match unknown_neighbor(cx.ports, port, dst) {
            Ok(NextHop::Known(to)) => return self.forward(cx, frame, packet, to.id, &to.adjacency),
            Ok(NextHop::Unknown(..)) => {
                self.options(packet, &frame, Some(dst)).and_then(|_| ip_forward::ttl(packet))
            }
            Err(reason) => Err(self.options(packet, &frame, None).err().unwrap_or(reason)),
        };
        match decided {
            Ok(()) => self.wait(cx, frame, packet, port, dst),
            Err(reason) => self.refuse(cx, frame, packet, reason),
        }
    }

    /// Checks at the top, rewriting at the bottom: a packet that is refused or held is as it came.
    #[inline(always)]
    fn forward<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        mut frame: F,
        packet: &mut Packet,
        id: AdjacencyId,
        adjacency: &Adjacency,
    ) -> Verdict {
        let mut options = Options::default();
        if packet.has_options() {
            match self.options(packet, &frame, Some(adjacency.next_hop)) {
                Ok(found) => options = found,
                Err(reason) => return self.refuse(cx, frame, packet, reason),
            }
        }
        match ip_forward(packet, adjacency, cx.ports) {
            Ok(true) => (),
            Ok(false) => return self.wait(cx, frame, packet, adjacency.port, adjacency.next_hop),
            Err(reason) => return self.refuse(cx, frame, packet, reason),
        }
        if let Some(guard) =
            cx.ports.get(adjacency.port).map(|port| &port.guard_out).filter(|guard| !guard.is_open())
            && let Some(reason) = self.guard_out(cx.now, guard, packet, frame.data())
        {
            return self.refuse(cx, frame, packet, reason);
        }
        // A hairpinned packet is on its only way.
        if adjacency.port == packet.in_port && !matches!(packet.nat, Plan::Rewrite { .. }) {
            self.redirect(cx, frame.data(), packet, adjacency, options);
        }
        if packet.may_be_partial && l4_checksum::complete(packet, frame.data_mut()) {
            self.counters.add_event(Event::ChecksumCompleted, 1);
        }
        if packet.nat != Plan::None
            && let Err(end) = self.translate(cx, &mut frame, packet, adjacency.port)
        {
            return self.end(cx, frame, packet, end);
        }
        if cx.ports.has_mss_clamp() && mss_clamp(packet, frame.data_mut(), cx.ports, adjacency.port) {
            self.counters.add_event(Event::MssClamped, 1);
        }
        ip_forward::age(packet, frame.data_mut());
        if options.wants_update() {
            self.update_options(cx, &mut frame, packet, adjacency, options);
        }
        if adjacency.mtu < packet.total_len {
            return self.fragment(cx, frame, packet, id, adjacency);
        }
        let (l3, total_len) = (usize::from(packet.l3), usize::from(packet.total_len));
        if let Err(reason) = eth_output(&mut frame, l3, total_len, adjacency) {
            return self.discard(cx, frame, reason);
        }
        match self.transmit(cx, frame, id, adjacency) {
            Ok(()) => Verdict::Tx(adjacency.port),
            Err(frame) => self.discard(cx, frame, DropReason::TxFull),
        }
    }

    /// Why a packet may not leave, if it may not.
    #[inline(never)]
    fn guard_out(
        &mut self,
        now: Instant,
        guard: &Guard,
        packet: &Packet,
        frame: &[u8],
    ) -> Option<DropReason> {
        let judgement = acl::judge(guard, self.config.worker, now, packet, frame);
        self.judged = Some(judgement);
        judgement.refused
    }

    /// The options of a packet that has some and goes to `next_hop`, if these let it go.
    #[inline(never)]
    fn options(
        &self,
        packet: &mut Packet,
        frame: &F,
        next_hop: Option<Ipv4Addr>,
    ) -> Result<Options, DropReason> {
        let options = ip_options(packet, frame.data())?;
        options.permit(
            self.config.settings.source_routes,
            next_hop.is_none_or(|next_hop| next_hop == packet.dst_addr()),
        )?;
        Ok(options)
    }

    /// Where a packet of the router's own goes.
    pub(super) fn next_hop(&self, ports: &Ports, hop: Hop, dst: Ipv4Addr) -> Result<NextHop, DropReason> {
        match hop {
            Hop::Adjacency(id) => Ok(NextHop::Known(To { id, adjacency: self.fib.adjacency(id) })),
            Hop::Glean(port) => match self.fib.neighbor(port, dst) {
                Some(id) => Ok(NextHop::Known(To { id, adjacency: self.fib.adjacency(id) })),
                None => unknown_neighbor(ports, port, dst),
            },
            Hop::Refused(reason) | Hop::Fault(reason) => Err(reason),
            Hop::Local | Hop::Elsewhere(_) | Hop::Wait(_) => Err(DropReason::NotForwarded),
        }
    }

    #[inline(always)]
    fn transmit<S: Shell<Frame = F>>(
        &self,
        cx: &mut Cx<'_, S>,
        frame: F,
        id: AdjacencyId,
        adjacency: &Adjacency,
    ) -> Result<(), F> {
        let bytes = frame.data().len();
        cx.shell.transmit(adjacency.port, frame)?;
        self.fib.touch(id, cx.seconds);
        if adjacency.port != cx.sent.port {
            cx.sent.sent(&self.counters, adjacency.port);
        }
        cx.sent.add(bytes);
        Ok(())
    }

    #[inline(never)]
    fn fragment<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &Packet,
        id: AdjacencyId,
        adjacency: &Adjacency,
    ) -> Verdict {
        let mut fragments = core::mem::take(&mut self.fragments);
        let sent = ip_fragment(packet, adjacency.mtu, frame, cx.shell, &mut fragments)
            .and_then(|()| self.send_fragments(cx, &mut fragments, id, adjacency));
        self.fragments = fragments;
        match sent {
            Ok(()) => Verdict::Tx(adjacency.port),
            Err((reason, frame)) => self.discard(cx, frame, reason),
        }
    }

    /// All of them, or the first that could not be sent and none after it: without it they are of no use.
    fn send_fragments<S: Shell<Frame = F>>(
        &self,
        cx: &mut Cx<'_, S>,
        fragments: &mut Vec<F>,
        id: AdjacencyId,
        adjacency: &Adjacency,
    ) -> Result<(), (DropReason, F)> {
        let count = fragments.len() as u64;
        let mut queue = fragments.drain(..);
        while let Some(fragment) = queue.next() {
            let sent = self.send(cx, fragment, id, adjacency);
            if sent.is_err() {
                queue.for_each(|rest| cx.shell.put(rest));
                return sent;
            }
        }
        self.counters.add_event(Event::FragmentsSent, count);
        self.counters.add_event(Event::Fragmented, 1);
        Ok(())
    }

    /// Sends a frame whose first byte is that of the IPv4 packet and whose last is the packet's.
    #[inline(never)]
    pub(super) fn send<S: Shell<Frame = F>>(
        &self,
        cx: &mut Cx<'_, S>,
        mut frame: F,
        id: AdjacencyId,
        adjacency: &Adjacency,
    ) -> Result<(), (DropReason, F)> {
        let len = frame.data().len();
        match eth_output(&mut frame, 0, len, adjacency) {
            Ok(()) => self.transmit(cx, frame, id, adjacency).map_err(|frame| (DropReason::TxFull, frame)),
            Err(reason) => Err((reason, frame)),
        }
    }

    #[inline(never)]
    fn update_options<S>(
        &self,
        cx: &Cx<'_, S>,
        frame: &mut F,
        packet: &Packet,
        adjacency: &Adjacency,
        options: Options,
    ) {
        let outgoing = self.address_on(cx.ports, adjacency.port, adjacency.next_hop);
        let own = |addr| cx.ports.is_own(addr) || self.config.settings.router_id == Some(addr);
        options.update(packet, frame.data_mut(), outgoing, self.timestamp(cx.now), own);
    }

    /// A packet whose next hop is not resolved yet.
    #[inline(never)]
    fn wait<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &Packet,
        port: PortId,
        next_hop: Ipv4Addr,
    ) -> Verdict {
        match self.hold(cx, port, next_hop, Held { packet: packet.alone(), frame, own: false }) {
            Ok(()) => Verdict::Hold,
            Err(frame) => self.discard(cx, frame, DropReason::HoldFull),
        }
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

/// A destination on a link that nobody has spoken to.
#[inline(never)]
fn unknown_neighbor(ports: &Ports, port: PortId, dst: Ipv4Addr) -> Result<NextHop, DropReason> {
    match ports.get(port) {
        Some(link) if link.is_subnet_broadcast(dst) => directed_broadcast(port, link, dst),
        Some(link) if link.up => Ok(NextHop::Unknown(port, dst)),
        Some(_) | None => Err(DropReason::EgressDown),
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
pub(super) fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_secs() & u64::from(u32::MAX)).unwrap_or(0)
}
