//! NAT between the stages. RFC 3022 §4, RFC 4787, RFC 5508; the state is `millrace_nat`.
//! Reads: the side of the ports, sessions. Sets: a packet's destination and [`Plan`]. Next: fib_lookup, or the end.
//! Drops: all that begin with `nat-`.
//!
//! ```text
//!   from outside, to an outside address   session, or mapping ─▶ inside destination ─▶ fib_lookup ─▶ … ─▶ rewrite
//!   from inside,  to an outside address   hairpinning: both at once ─────────────────▶ fib_lookup ─▶ … ─▶ rewrite
//!   from inside,  leaving by outside      fib_lookup ─▶ session, or a new one ─▶ … ─▶ rewrite
//!   all else                              as if NAT were not there
//! ```
//!
//! Sessions are looked for by the burst, in three passes: the index, the session, the translation. What is not known then
//! takes the slow path: one that comes from outside before its route is looked up, one that goes out after it has passed
//! every check that could refuse it, so that a packet that never leaves makes no session.
//!
//! It fails closed. What comes from inside leaves by an outside port translated, exempt, or not at all; also while there
//! is no configuration.

use millrace_nat::packet::{self, Parsed};
use millrace_nat::{
    Denied, ErrorRewrite, ErrorVerdict, Flow, Nat, Probe, Refusal, Refused, Rewrite, Side, Tcp,
};
use millrace_net::{Instant, PortId};

use super::{BURST, Burst, Cx, Path};
use crate::frame::{Frame, Handoff, Leg, Shell};
use crate::outcome::{DropReason, IcmpMessage, Verdict};
use crate::packet::{Packet, Plan};
use crate::ports::{NatSide, Ports};
use crate::stage::fib_lookup::Hop;
use crate::stage::icmp_error;
use crate::stage::l4_checksum;

/// Steps of expiry in one call: what a thousand sessions that end together delay the next burst by.
const EXPIRE_STEPS: usize = 512;

/// Said of an outside endpoint that nobody inside has: it may be the host's own.
const NOBODY: millrace_nat::Verdict = millrace_nat::Verdict::Deny(Denied::NoMapping);

/// A packet whose endpoints were read, and where its session is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    flow: Flow,
    tcp: Option<Tcp>,
    probe: Probe,
}

/// What NAT has read of a burst. Entries beyond the frames of the burst are of bursts before.
pub(super) struct Columns {
    known: [Option<Known>; BURST],
    /// One bit a packet.
    inside: u64,
    outside: u64,
}

impl Columns {
    pub(super) const EMPTY: Self = Self { known: [None; BURST], inside: 0, outside: 0 };
}

impl Burst {
    /// Between pass 1 and 2, where a port has a side: packets from inside are marked, packets to outside addresses get
    /// their inside destination.
    #[inline(never)]
    pub(super) fn nat_input<F: Frame>(
        &mut self,
        path: &mut Path<'_, F>,
        (now, ports): (Instant, &Ports),
        rx: &mut [(PortId, F)],
        legs: &[Leg],
    ) {
        self.probe(path, ports, rx, legs);
        let Some(nat) = &mut path.nat else { return };
        for known in self.nat.known.iter().take(rx.len()).flatten() {
            nat.approach(known.probe);
        }
        for (at, (_, frame)) in rx.iter_mut().enumerate().take(BURST) {
            let bit = 1 << at;
            let packet = &mut self.packets[at];
            let decided = if self.nat.outside & bit != 0 {
                let known =
                    self.nat.known[at].and_then(|k| nat.translate_known(now, k.probe, &k.flow, k.tcp));
                match known {
                    Some(rewrite) => {
                        packet.translate(&rewrite);
                        Ok(())
                    }
                    None => arrive(nat, (now, ports), packet, frame),
                }
            } else if self.nat.inside & bit != 0 && nat.is_outside_address(packet.dst) {
                hairpin(nat, (now, ports), packet, frame)
            } else {
                continue;
            };
            path.fib.prefetch(packet.dst);
            self.destinations[at] = packet.dst;
            self.decided[at] = decided.err();
        }
    }

    /// Reads the endpoints of what has come from a side of NAT, and asks for its part of the index.
    fn probe<F: Frame>(&mut self, path: &Path<'_, F>, ports: &Ports, rx: &[(PortId, F)], legs: &[Leg]) {
        (self.nat.inside, self.nat.outside) = (0, 0);
        for (at, (in_port, frame)) in rx.iter().enumerate().take(BURST) {
            self.nat.known[at] = None;
            if self.decided[at].is_some() {
                continue;
            }
            let packet = &mut self.packets[at];
            let leg = legs.get(at);
            packet.handed = leg.is_some();
            let side = match (leg, ports.nat_side(*in_port)) {
                (Some(Leg::Hairpinned), _) | (_, NatSide::Outside) => Side::Outside,
                (_, NatSide::Inside) => Side::Inside,
                (_, NatSide::Neither) => continue,
            };
            match side {
                Side::Inside => {
                    packet.nat = Plan::Leaving;
                    self.nat.inside |= 1 << at;
                }
                Side::Outside => self.nat.outside |= 1 << at,
            }
            let Some(nat) = &path.nat else { continue };
            if let Parsed::Flow { flow, tcp, fragment: None } = packet::parse(side, packet.ip(frame.data())) {
                self.nat.known[at] = Some(Known { flow, tcp, probe: nat.probe(side, &flow) });
            }
        }
    }

    /// Between pass 2 and 3: packets of known sessions that leave from inside to outside.
    #[inline(never)]
    pub(super) fn nat_output<F: Frame>(&mut self, path: &mut Path<'_, F>, (now, ports): (Instant, &Ports)) {
        let Some(nat) = &mut path.nat else { return };
        let mut rest = self.nat.inside;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize % BURST;
            rest &= rest - 1;
            let (Some(known), packet) = (&self.nat.known[at], &mut self.packets[at]) else { continue };
            let out_port = match self.hops[at] {
                Hop::Adjacency(id) => path.fib.adjacency(id).port,
                Hop::Glean(port) => port,
                Hop::Local | Hop::Refused(_) | Hop::Fault(_) | Hop::Elsewhere(_) => continue,
            };
            if packet.nat == Plan::Leaving
                && ports.nat_side(out_port) == NatSide::Outside
                && let Some(rewrite) = nat.translate_known(now, known.probe, &known.flow, known.tcp)
            {
                packet.translate(&rewrite);
            }
        }
    }
}

/// A packet from outside whose session is not known: it gets its inside destination, or `Err` says where it ends.
#[inline(never)]
fn arrive<F: Frame>(
    nat: &mut Nat,
    (now, ports): (Instant, &Ports),
    packet: &mut Packet,
    frame: &mut F,
) -> Result<(), Hop> {
    if !nat.is_outside_address(packet.dst) {
        return Ok(());
    }
    match packet::parse(Side::Outside, packet.ip(frame.data())) {
        Parsed::Flow { flow, tcp, .. } => {
            owned(nat, Side::Outside, &flow, packet)?;
            let verdict = nat.translate(now, Side::Outside, &flow, tcp);
            if verdict != NOBODY || !ports.is_own(packet.dst_addr()) {
                return judge(verdict, packet);
            }
        }
        Parsed::IcmpError { quoted } => {
            owned(nat, Side::Outside, &quoted.reversed(), packet)?;
            match nat.translate_error(Side::Outside, &quoted, packet.dst) {
                ErrorVerdict::Translate(new) => rewrite_error(packet, frame, &new),
                ErrorVerdict::Unrelated if ports.is_own(packet.dst_addr()) => (),
                ErrorVerdict::Unrelated | ErrorVerdict::Handoff(..) => {
                    return Err(Hop::Fault(DropReason::NatUnrelatedError));
                }
            }
        }
        Parsed::LaterFragment(_) => return Err(Hop::Fault(DropReason::NatFragment)),
        Parsed::Malformed if ports.is_own(packet.dst_addr()) => (),
        Parsed::Malformed => return Err(Hop::Fault(DropReason::NatMalformed)),
    }
    Ok(())
}

/// A packet from inside to an outside address: both its endpoints are translated (RFC 4787 REQ-9).
#[inline(never)]
fn hairpin<F: Frame>(
    nat: &mut Nat,
    (now, ports): (Instant, &Ports),
    packet: &mut Packet,
    frame: &mut F,
) -> Result<(), Hop> {
    if packet.ttl <= 1 {
        return Err(Hop::Fault(DropReason::TtlExceeded));
    }
    match packet::parse(Side::Inside, packet.ip(frame.data())) {
        Parsed::Flow { flow, tcp, .. } => {
            owned(nat, Side::Inside, &flow, packet)?;
            let verdict = nat.translate(now, Side::Inside, &flow, tcp);
            if let millrace_nat::Verdict::Handoff(worker, rewrite) = verdict {
                if packet.may_be_partial {
                    l4_checksum::complete(packet, frame.data_mut());
                }
                packet::rewrite(packet.ip_mut(frame.data_mut()), rewrite.src, rewrite.dst);
                return Err(Hop::Elsewhere(Handoff { worker, leg: Leg::Hairpinned }));
            }
            if verdict != NOBODY || !ports.is_own(packet.dst_addr()) {
                return judge(verdict, packet);
            }
            packet.nat = Plan::None;
        }
        Parsed::IcmpError { quoted } => {
            owned(nat, Side::Inside, &quoted.reversed(), packet)?;
            match nat.translate_error(Side::Inside, &quoted, packet.dst) {
                ErrorVerdict::Translate(new) => rewrite_error(packet, frame, &new),
                ErrorVerdict::Handoff(worker, new) => {
                    rewrite_error(packet, frame, &new);
                    return Err(Hop::Elsewhere(Handoff { worker, leg: Leg::Hairpinned }));
                }
                ErrorVerdict::Unrelated if ports.is_own(packet.dst_addr()) => packet.nat = Plan::None,
                ErrorVerdict::Unrelated => return Err(Hop::Fault(DropReason::NatUnrelatedError)),
            }
        }
        Parsed::LaterFragment(_) => return Err(Hop::Fault(DropReason::NatFragment)),
        Parsed::Malformed if ports.is_own(packet.dst_addr()) => packet.nat = Plan::None,
        Parsed::Malformed => return Err(Hop::Fault(DropReason::NatMalformed)),
    }
    Ok(())
}

/// A packet from inside that leaves by an outside port, of no session yet.
#[inline(never)]
fn leave<F: Frame>(nat: &mut Nat, now: Instant, packet: &mut Packet, frame: &mut F) -> Result<(), Hop> {
    match packet::parse(Side::Inside, packet.ip(frame.data())) {
        Parsed::Flow { flow, tcp, .. } => {
            owned(nat, Side::Inside, &flow, packet)?;
            return judge(nat.translate(now, Side::Inside, &flow, tcp), packet);
        }
        _ if nat.exempts(packet.src) => packet.nat = Plan::None,
        Parsed::IcmpError { quoted } => {
            owned(nat, Side::Inside, &quoted.reversed(), packet)?;
            match nat.translate_error(Side::Inside, &quoted, packet.dst) {
                ErrorVerdict::Translate(new) => rewrite_error(packet, frame, &new),
                ErrorVerdict::Unrelated | ErrorVerdict::Handoff(..) => {
                    return Err(Hop::Fault(DropReason::NatUnrelatedError));
                }
            }
        }
        Parsed::LaterFragment(_) => return Err(Hop::Fault(DropReason::NatFragment)),
        Parsed::Malformed => return Err(Hop::Fault(DropReason::NatMalformed)),
    }
    Ok(())
}

/// Whether this shard has the state of the flow; `Err` sends the packet to the one that has.
fn owned(nat: &Nat, side: Side, flow: &Flow, packet: &Packet) -> Result<(), Hop> {
    let worker = nat.owner(side, flow);
    if worker == nat.worker() {
        return Ok(());
    }
    // Shards that do not agree, as for a moment while a configuration comes into force, do not play ball.
    if packet.handed {
        return Err(Hop::Fault(DropReason::NatHandoff));
    }
    Err(Hop::Elsewhere(Handoff { worker, leg: Leg::Owner }))
}

/// What is not translated.
fn judge(verdict: millrace_nat::Verdict, packet: &mut Packet) -> Result<(), Hop> {
    let reason = match verdict {
        millrace_nat::Verdict::Translate(rewrite) => {
            packet.translate(&rewrite);
            return Ok(());
        }
        millrace_nat::Verdict::Bypass => {
            packet.nat = Plan::None;
            return Ok(());
        }
        millrace_nat::Verdict::Handoff(..) => DropReason::NatHandoff,
        millrace_nat::Verdict::Refuse(Refused::PoolExhausted) => DropReason::NatPoolExhausted,
        millrace_nat::Verdict::Refuse(Refused::SubscriberPorts) => DropReason::NatSubscriberPorts,
        millrace_nat::Verdict::Refuse(Refused::SubscriberSessions) => DropReason::NatSubscriberSessions,
        millrace_nat::Verdict::Refuse(Refused::TableFull) => DropReason::NatTableFull,
        millrace_nat::Verdict::Refuse(Refused::NoPool) => DropReason::NatNoPool,
        millrace_nat::Verdict::Deny(Denied::NoMapping) => DropReason::NatNoMapping,
        millrace_nat::Verdict::Deny(Denied::Filtered) => DropReason::NatFiltered,
        millrace_nat::Verdict::Deny(Denied::TcpNoSession) => DropReason::NatNoSession,
        millrace_nat::Verdict::Deny(Denied::TableFull) => DropReason::NatInboundFull,
    };
    Err(Hop::Fault(reason))
}

/// An error is rewritten at once: nobody is told of what becomes of it (RFC 1812 §4.3.2.7).
fn rewrite_error<F: Frame>(packet: &mut Packet, frame: &mut F, new: &ErrorRewrite) {
    packet::rewrite_error(packet.ip_mut(frame.data_mut()), new);
    packet.src = new.outer_src.unwrap_or(packet.src);
    packet.dst = new.outer_dst.unwrap_or(packet.dst);
    packet.nat = Plan::None;
}

impl Packet {
    #[inline]
    fn translate(&mut self, to: &Rewrite) {
        self.dst = to.dst.addr;
        self.nat = Plan::Rewrite { src: to.src.addr, src_port: to.src.port, dst_port: to.dst.port };
    }
}

impl<F: Frame> Path<'_, F> {
    /// A packet that NAT has to do with, before it is sent by `out_port`: its endpoints are written into the frame. `Err`
    /// says where it ends.
    #[inline]
    pub(super) fn translate<S>(
        &mut self,
        cx: &Cx<'_, S>,
        frame: &mut F,
        packet: &mut Packet,
        out_port: PortId,
    ) -> Result<(), Hop> {
        if packet.nat == Plan::Leaving {
            if cx.ports.nat_side(out_port) != NatSide::Outside {
                return Ok(());
            }
            match &mut self.nat {
                Some(nat) => leave(nat, cx.now, packet, frame)?,
                None => return Err(Hop::Fault(DropReason::NatOff)),
            }
        }
        if let Plan::Rewrite { src, src_port, dst_port } = packet.nat {
            let src = millrace_nat::Endpoint { addr: src, port: src_port };
            let dst = millrace_nat::Endpoint { addr: packet.dst, port: dst_port };
            packet::rewrite(packet.ip_mut(frame.data_mut()), src, dst);
        }
        Ok(())
    }

    /// Gives a packet to the worker that has its state.
    pub(super) fn hand_off<S: Shell<Frame = F>>(
        &self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &Packet,
        to: Handoff,
    ) -> Verdict {
        match cx.shell.hand_off(to, packet.in_port, frame) {
            Ok(()) => Verdict::Handoff(to.worker),
            Err(frame) => self.discard(cx, frame, DropReason::NatHandoff),
        }
    }

    /// What is said of a packet dropped for `reason`.
    pub(super) fn message(&self, reason: DropReason) -> Option<IcmpMessage> {
        let message = icmp_error::message(reason)?;
        let refusal = self.nat.as_ref().map(|nat| nat.config().refusal);
        let by_nat = message == IcmpMessage::Prohibited && reason != DropReason::Prohibit;
        if by_nat && refusal == Some(Refusal::HostUnreachable) {
            return Some(IcmpMessage::HostUnreachable);
        }
        Some(message)
    }

    /// Ends a bounded number of sessions that have run out.
    pub(super) fn expire_sessions(&mut self, now: Instant) {
        if let Some(nat) = &mut self.nat {
            nat.expire(now, EXPIRE_STEPS);
        }
    }
}
