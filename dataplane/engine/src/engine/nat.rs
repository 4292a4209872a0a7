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
//! Sessions are looked for by the burst, in three passes: the index, the session, the translation. What is not known
//! then
//! takes the slow path: one that comes from outside before its route is looked up, one that goes out after it has passed
//! every check that could refuse it, so that a packet that never leaves makes no session.
//!
//! It fails closed. What comes from inside leaves by an outside port translated, exempt, or not at all; also while there
//! is no configuration.

use millrace_fib::prefetch;
use millrace_nat::packet::{self, Parsed};
use millrace_nat::{Flow, Guess, Refusal, Side, Tcp};
use millrace_net::{Instant, PortId};

use super::{BURST, Burst, Cx, Path};
use crate::frame::{Frame, Handoff, Leg, Shell};
use crate::outcome::{DropReason, Event, IcmpMessage, Verdict};
use crate::packet::{Packet, Plan};
use crate::ports::{NatSide, Ports};
use crate::stage::fib_lookup::Hop;
use crate::stage::icmp_error;
use crate::stage::nat::{arrive, hairpin, leave, pass_gateway, take};
use crate::stage::nat_wait::{Cause, Whose};

/// Steps of expiry in one call: what a thousand sessions that end together delay the next burst by.
const EXPIRE_STEPS: usize = 512;

/// A packet whose endpoints were read, and where its session is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    flow: Flow,
    tcp: Option<Tcp>,
    guess: Guess,
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
        let columns = &mut path.nat_columns;
        for known in columns.known.iter_mut().take(rx.len()).flatten() {
            known.guess = nat.approach(known.guess.probe());
            if let Some(line) = nat.session_line(known.guess) {
                prefetch(line);
            }
        }
        for (at, (_, frame)) in rx.iter_mut().enumerate().take(BURST) {
            let bit = 1 << at;
            let packet = &mut self.packets[at];
            let decided = if columns.outside & bit != 0 {
                let known = columns.known[at].and_then(|k| nat.translate_known(now, k.guess, &k.flow, k.tcp));
                match known {
                    Some(rewrite) => {
                        packet.translate(&rewrite);
                        Ok(())
                    }
                    None => arrive(nat, &mut path.nat_wait, (now, ports), (packet, frame), legs.get(at)),
                }
            } else if columns.inside & bit != 0 && nat.is_outside_address(packet.dst) {
                hairpin(nat, &mut path.nat_wait, (now, ports), packet, frame)
            } else {
                continue;
            };
            path.fib.prefetch(packet.dst);
            self.destinations[at] = packet.dst;
            self.decided[at] = decided.err();
        }
    }

    /// Reads the endpoints of what has come from a side of NAT, and asks for its part of the index.
    fn probe<F: Frame>(&mut self, path: &mut Path<'_, F>, ports: &Ports, rx: &[(PortId, F)], legs: &[Leg]) {
        let columns = &mut path.nat_columns;
        (columns.inside, columns.outside) = (0, 0);
        let mut port = PortId(0);
        let mut port_side = ports.nat_side(port);
        for ((at, (in_port, frame)), number) in rx.iter().enumerate().take(BURST).zip(0u8..) {
            columns.known[at] = None;
            if self.decided[at].is_some() {
                continue;
            }
            if *in_port != port {
                port = *in_port;
                port_side = ports.nat_side(port);
            }
            let packet = &mut self.packets[at];
            let leg = legs.get(at);
            packet.handed = leg.is_some_and(|leg| *leg != Leg::Gather);
            let side = match (leg, port_side) {
                (Some(Leg::Hairpinned), _) | (_, NatSide::Outside) => Side::Outside,
                (_, NatSide::Inside) => Side::Inside,
                (_, NatSide::Neither) => continue,
            };
            match side {
                Side::Inside => {
                    packet.nat = Plan::Leaving(Some(number));
                    columns.inside |= 1 << at;
                }
                Side::Outside => columns.outside |= 1 << at,
            }
            let Some(nat) = &path.nat else { continue };
            if let Some((flow, tcp)) = endpoints(side, packet, frame.data()) {
                let probe = nat.probe(side, &flow);
                prefetch(nat.index_line(probe));
                columns.known[at] = Some(Known { flow, tcp, guess: Guess::none(probe) });
            }
        }
    }
}

/// The endpoints of a packet that may be of a known session: no fragment, no ICMP error.
#[inline]
fn endpoints(side: Side, packet: &Packet, frame: &[u8]) -> Option<(Flow, Option<Tcp>)> {
    if packet.fragment.is_fragment() {
        return None;
    }
    let plain = packet::plain_flow(packet.protocol.0, packet.src, packet.dst, packet.payload(frame));
    if plain.is_some() {
        return plain;
    }
    match packet::parse(side, packet.ip(frame)) {
        Parsed::Flow { flow, tcp, fragment: None } => Some((flow, tcp)),
        Parsed::Flow { .. } | Parsed::LaterFragment(_) | Parsed::IcmpError { .. } | Parsed::Malformed => None,
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
        if let Plan::Leaving(place) = packet.nat {
            if cx.ports.nat_side(out_port) != NatSide::Outside {
                return Ok(());
            }
            let Some(nat) = &mut self.nat else { return Err(Hop::Fault(DropReason::NatOff)) };
            let known = place.and_then(|at| *self.nat_columns.known.get(usize::from(at))?);
            match known.and_then(|k| nat.translate_known(cx.now, k.guess, &k.flow, k.tcp)) {
                Some(rewrite) if rewrite.gateway.is_none() => {
                    packet::rewrite(packet.ip_mut(frame.data_mut()), rewrite.src, rewrite.dst);
                    return Ok(());
                }
                Some(rewrite) => packet.translate(&rewrite),
                None => leave(nat, &mut self.nat_wait, cx.now, packet, frame)?,
            }
        }
        if let Plan::Rewrite { src, src_port, dst_port, gateway } = packet.nat {
            if let (Some(session), Some(nat)) = (gateway, &mut self.nat) {
                pass_gateway(nat, cx.now, session, packet, frame)?;
            }
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

    /// Lets a packet wait until NAT can decide.
    pub(super) fn nat_hold<S: Shell<Frame = F>>(
        &mut self,
        cx: &mut Cx<'_, S>,
        frame: F,
        packet: &Packet,
        reason: DropReason,
    ) -> Verdict {
        let side = if matches!(packet.nat, Plan::Leaving(_)) { Side::Inside } else { Side::Outside };
        let cause = match packet::parse(side, packet.ip(frame.data())) {
            Parsed::LaterFragment(datagram) => Cause::Fragment(Whose { side, datagram }),
            Parsed::Flow { flow, .. } => Cause::Syn(flow, reason),
            Parsed::IcmpError { .. } | Parsed::Malformed => return self.discard(cx, frame, reason),
        };
        match self.nat_wait.admit(cx.now, packet.alone(), frame, cause) {
            Ok(()) => {
                self.counters.add_event(Event::NatWaiting, 1);
                Verdict::Hold
            }
            Err(frame) => self.discard(cx, frame, reason),
        }
    }

    /// Fragments whose first one has been decided in this call go the same way.
    pub(super) fn release_fragments<S: Shell<Frame = F>>(&mut self, cx: &mut Cx<'_, S>) {
        while let Some((waiting, way)) = self.nat_wait.released(cx.now) {
            let (mut packet, mut frame) = (waiting.packet, waiting.frame);
            let hop = match take(way, &mut packet, &mut frame) {
                Ok(()) => self.hop(&packet, frame.data()),
                Err(end) => end,
            };
            let verdict = self.settle(cx, frame, &mut packet, hop);
            self.counters.add_verdict(verdict.kind(), 1);
        }
    }

    /// Ends the waiting of those whose time is up.
    pub(super) fn give_up_waiting<S: Shell<Frame = F>>(&mut self, cx: &mut Cx<'_, S>) {
        while let Some(waiting) = self.nat_wait.expired(cx.now) {
            let (frame, reason) = (waiting.frame, given_up(&waiting.cause));
            let opened = match &waiting.cause {
                // Opened from inside meanwhile: the SYN is dropped in silence (RFC 5382 REQ-4 b).
                Cause::Syn(flow, _) => self.nat.as_ref().is_some_and(|nat| nat.has_session(flow)),
                Cause::Fragment(_) => true,
            };
            let verdict = if opened {
                self.discard(cx, frame, reason)
            } else {
                self.refuse(cx, frame, &waiting.packet, DropReason::NatSynUnanswered)
            };
            self.counters.add_verdict(verdict.kind(), 1);
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

/// Why a packet that has waited, or may not wait, is dropped.
const fn given_up(cause: &Cause) -> DropReason {
    match cause {
        Cause::Fragment(_) => DropReason::NatFragment,
        Cause::Syn(_, reason) => *reason,
    }
}
