//! What the router says itself: ICMP errors and redirects, and how they get on their way.

use core::net::Ipv4Addr;

use millrace_fib::{Adjacency, AdjacencyState};
use millrace_net::PortId;

use super::{Cx, IcmpSource, NextHop, Path};
use crate::frame::{Frame, Shell};
use crate::outcome::{DropReason, Event, IcmpMessage, Verdict};
use crate::packet::Packet;
use crate::ports::{Port, Ports};
use crate::stage::hold::Held;
use crate::stage::icmp_error::{self, Origin};
use crate::stage::ip_options::Options;

impl<F: Frame> Path<'_, F> {
    /// A packet that is not forwarded; its sender is told where that is due.
    #[inline(never)]
    pub(super) fn refuse<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        mut frame: F,
        packet: &Packet,
        reason: DropReason,
    ) -> Verdict {
        let Some(message) = self.message(reason) else { return self.discard(cx, frame, reason) };
        self.counters.add_drop(reason);
        cx.shell.dropped(&frame, reason);
        match self.answer(cx, &mut frame, packet, message) {
            Ok((reply, next_hop)) => {
                self.originate(cx, frame, &reply, &next_hop);
                Verdict::Reply(reason)
            }
            Err(silence) => {
                self.counters.add_event(silence, 1);
                cx.shell.put(frame);
                Verdict::Drop(reason)
            }
        }
    }

    /// RFC 1812 §5.2.7.2: a packet leaves by the port it came in by; if that is for want of knowledge, its sender is told
    /// of the better router. The packet itself is forwarded.
    #[inline(never)]
    pub(super) fn redirect<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: &[u8],
        packet: &Packet,
        adjacency: &Adjacency,
        options: Options,
    ) {
        let next_hop = adjacency.next_hop;
        let due = |port: &Port| port.redirects && port.shares_subnet(packet.src_addr(), next_hop);
        if options.is_source_routed() || !cx.ports.get(packet.in_port).is_some_and(due) {
            return;
        }
        let Some(mut copy) = cx.shell.take() else { return };
        let original = packet.ip(frame);
        if !copy.resize(original.len()) {
            return self.lose(cx, copy);
        }
        copy.data_mut().copy_from_slice(original);
        let quoted = Packet { l3: 0, detail: next_hop.to_bits(), ..*packet };
        match self.answer(cx, &mut copy, &quoted, IcmpMessage::RedirectHost) {
            Ok((reply, next_hop)) => self.originate(cx, copy, &reply, &next_hop),
            Err(silence) => {
                self.counters.add_event(silence, 1);
                cx.shell.put(copy);
            }
        }
    }

    /// Makes `frame`, which holds `packet`, the message about it, or says why there is none.
    fn answer<S>(
        &mut self,
        cx: &Cx<'_, S>,
        frame: &mut F,
        packet: &Packet,
        message: IcmpMessage,
    ) -> Result<(Packet, NextHop), Event> {
        if !icmp_error::may_be_answered(packet, frame.data(), cx.ports) {
            return Err(Event::IcmpForbidden);
        }
        let mut reply = packet.answer();
        let hop = self.hop(&reply, &[]);
        let next_hop = self.next_hop(cx.ports, hop, reply.dst_addr()).map_err(|_| Event::IcmpUnroutable)?;
        let source = self.source(cx.ports, packet, &next_hop).ok_or(Event::IcmpUnroutable)?;
        if !self.limiter.allow(cx.now, message, reply.dst) {
            return Err(Event::IcmpRateLimited);
        }
        self.ident = self.ident.wrapping_add(1);
        let origin = Origin { source, ident: self.ident, ttl: self.config.ttl };
        reply.src = source.to_bits();
        reply.total_len = icmp_error::build(frame, packet, message, origin).ok_or(Event::OwnLost)?;
        self.counters.add_icmp_sent(message);
        Ok((reply, next_hop))
    }

    /// RFC 1812 §4.3.2.4.
    fn source(&self, ports: &Ports, packet: &Packet, next_hop: &NextHop) -> Option<Ipv4Addr> {
        let (out_port, towards) = next_hop.place();
        match self.config.settings.icmp_source {
            IcmpSource::Outgoing => self.address_on(ports, out_port, towards),
            IcmpSource::Incoming => ports
                .get(packet.in_port)
                .and_then(|port| port.address_towards(packet.src_addr()))
                .or_else(|| self.address_on(ports, out_port, towards)),
        }
    }

    /// The router's address on a port, or its router-id where the port has none (RFC 1812 §4.2.2.2, §4.3.2.4).
    pub(super) fn address_on(&self, ports: &Ports, port: PortId, towards: Ipv4Addr) -> Option<Ipv4Addr> {
        let own = ports.get(port).and_then(|port| port.address_towards(towards));
        own.or(self.config.settings.router_id).or_else(|| ports.highest_address())
    }

    /// Sends a packet of the router's own. It is no arrival, so it gets no verdict.
    pub(super) fn originate<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &Packet,
        next_hop: &NextHop,
    ) {
        let lost = match next_hop {
            NextHop::Known(to) if to.adjacency.state == AdjacencyState::Complete => {
                self.send(cx, frame, to.id, &to.adjacency).err().map(|(_, frame)| frame)
            }
            NextHop::Known(to) if to.adjacency.state == AdjacencyState::Failed => Some(frame),
            NextHop::Known(_) | NextHop::Unknown(..) => {
                let (port, address) = next_hop.place();
                self.hold(cx, port, address, Held { packet: *packet, frame, own: true }).err()
            }
        };
        if let Some(frame) = lost {
            self.lose(cx, frame);
        }
    }

    /// A packet of the router's own that cannot be sent.
    pub(super) fn lose<S: Shell<Frame = F>>(&self, cx: &mut Cx<'_, S>, frame: F) {
        self.counters.add_event(Event::OwnLost, 1);
        cx.shell.put(frame);
    }
}
