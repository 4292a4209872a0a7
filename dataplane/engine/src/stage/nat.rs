//! What NAT decides about one packet that is not of a known session: where it goes, or why it does not. RFC 3022 §4,
//! RFC 4787, RFC 5508.
//! Reads: the packet, the shard. Sets: its destination and [`Plan`]; the frame of an ICMP error. Next: fib_lookup for what
//! comes from outside, transmission for what leaves, nat_wait, or another worker.
//! Drops: all that begin with `nat-`.

use millrace_nat::alg::Outgoing;
use millrace_nat::packet::{self, Datagram, Parsed};
use millrace_nat::segment;
use millrace_nat::{Denied, ErrorRewrite, ErrorVerdict, Flow, Nat, Refused, Rewrite, SessionId, Side, Tcp};
use millrace_net::Instant;
use millrace_net::wire::ipv4::Ipv4;

use crate::frame::{Frame, Handoff, Leg};
use crate::outcome::DropReason;
use crate::packet::{Packet, Plan};
use crate::ports::Ports;
use crate::stage::fib_lookup::Hop;
use crate::stage::l4_checksum;
use crate::stage::nat_wait::{NatWait, Way, Whose};

/// Said of an outside endpoint that nobody inside has: it may be the host's own.
const NOBODY: millrace_nat::Verdict = millrace_nat::Verdict::Deny(Denied::NoMapping);

/// A packet from outside whose session is not known: it gets its inside destination, or `Err` says where it ends.
#[inline(never)]
pub(crate) fn arrive<F: Frame>(
    nat: &mut Nat,
    wait: &mut NatWait<F>,
    (now, ports): (Instant, &Ports),
    (packet, frame): (&mut Packet, &mut F),
    leg: Option<&Leg>,
) -> Result<(), Hop> {
    if !nat.is_outside_address(packet.dst) {
        return Ok(());
    }
    let own = ports.is_own(packet.dst_addr()) && leg != Some(&Leg::Hairpinned);
    match packet::parse(Side::Outside, packet.ip(frame.data())) {
        Parsed::Flow { flow, tcp, fragment } => {
            if let (Some(datagram), None) = (&fragment, leg) {
                gathered(nat, datagram)?;
            }
            let judged = owned(nat, Side::Outside, &flow, packet).and_then(|()| {
                let verdict = nat.translate(now, Side::Outside, &flow, tcp);
                if own && verdict == NOBODY {
                    return Ok(());
                }
                judge(verdict, packet).map_err(|end| unsolicited(end, tcp))
            });
            decide(wait, now, Side::Outside, fragment, packet, judged)
        }
        Parsed::IcmpError { quoted } => {
            owned(nat, Side::Outside, &quoted.reversed(), packet)?;
            match nat.translate_error(Side::Outside, &quoted, packet.dst) {
                ErrorVerdict::Translate(new) => rewrite_error(packet, frame, &new),
                ErrorVerdict::Unrelated if own => (),
                ErrorVerdict::Unrelated | ErrorVerdict::Handoff(..) => {
                    return Err(Hop::Fault(DropReason::NatUnrelatedError));
                }
            }
            Ok(())
        }
        Parsed::LaterFragment(datagram) => {
            if leg.is_none() {
                gathered(nat, &datagram)?;
            }
            follow(wait, now, Whose { side: Side::Outside, datagram }, packet, frame)
        }
        Parsed::Malformed if own => Ok(()),
        Parsed::Malformed => Err(Hop::Fault(DropReason::NatMalformed)),
    }
}

/// A packet from inside to an outside address: both its endpoints are translated (RFC 4787 REQ-9).
#[inline(never)]
pub(crate) fn hairpin<F: Frame>(
    nat: &mut Nat,
    wait: &mut NatWait<F>,
    (now, ports): (Instant, &Ports),
    packet: &mut Packet,
    frame: &mut F,
) -> Result<(), Hop> {
    if packet.ttl <= 1 {
        return Err(Hop::Fault(DropReason::TtlExceeded));
    }
    let own = ports.is_own(packet.dst_addr());
    match packet::parse(Side::Inside, packet.ip(frame.data())) {
        Parsed::Flow { flow, tcp, fragment } => {
            owned(nat, Side::Inside, &flow, packet)?;
            let mut outside = None;
            let verdict = nat.translate(now, Side::Inside, &flow, tcp);
            let judged = if let millrace_nat::Verdict::Handoff(worker, rewrite) = verdict {
                if packet.may_be_partial {
                    l4_checksum::complete(packet, frame.data_mut());
                }
                packet::rewrite(packet.ip_mut(frame.data_mut()), rewrite.src, rewrite.dst);
                outside = Some(rewrite.src.addr);
                Err(Hop::Elsewhere(Handoff { worker, leg: Leg::Hairpinned }))
            } else if own && verdict == NOBODY {
                packet.nat = Plan::None;
                Ok(())
            } else {
                judge(verdict, packet)
            };
            match (fragment, judged) {
                (Some(datagram), Err(Hop::Elsewhere(to))) => {
                    wait.decide(now, Whose { side: Side::Inside, datagram }, Way::Elsewhere(to, outside));
                    Err(Hop::Elsewhere(to))
                }
                (fragment, judged) => decide(wait, now, Side::Inside, fragment, packet, judged),
            }
        }
        Parsed::IcmpError { quoted } => {
            owned(nat, Side::Inside, &quoted.reversed(), packet)?;
            match nat.translate_error(Side::Inside, &quoted, packet.dst) {
                ErrorVerdict::Translate(new) => rewrite_error(packet, frame, &new),
                ErrorVerdict::Handoff(worker, new) => {
                    rewrite_error(packet, frame, &new);
                    return Err(Hop::Elsewhere(Handoff { worker, leg: Leg::Hairpinned }));
                }
                ErrorVerdict::Unrelated if own => packet.nat = Plan::None,
                ErrorVerdict::Unrelated => return Err(Hop::Fault(DropReason::NatUnrelatedError)),
            }
            Ok(())
        }
        Parsed::LaterFragment(datagram) => later_from_inside(nat, wait, now, datagram, packet, frame),
        Parsed::Malformed if own => {
            packet.nat = Plan::None;
            Ok(())
        }
        Parsed::Malformed => Err(Hop::Fault(DropReason::NatMalformed)),
    }
}

/// A packet from inside that leaves by an outside port, of no session yet.
#[inline(never)]
pub(crate) fn leave<F: Frame>(
    nat: &mut Nat,
    wait: &mut NatWait<F>,
    now: Instant,
    packet: &mut Packet,
    frame: &mut F,
) -> Result<(), Hop> {
    match packet::parse(Side::Inside, packet.ip(frame.data())) {
        Parsed::Flow { flow, tcp, fragment } => {
            owned(nat, Side::Inside, &flow, packet)?;
            let judged = judge(nat.translate(now, Side::Inside, &flow, tcp), packet);
            decide(wait, now, Side::Inside, fragment, packet, judged)
        }
        _ if nat.exempts(packet.src, packet.dst) => {
            packet.nat = Plan::None;
            Ok(())
        }
        Parsed::IcmpError { quoted } => {
            owned(nat, Side::Inside, &quoted.reversed(), packet)?;
            match nat.translate_error(Side::Inside, &quoted, packet.dst) {
                ErrorVerdict::Translate(new) => rewrite_error(packet, frame, &new),
                ErrorVerdict::Unrelated | ErrorVerdict::Handoff(..) => {
                    return Err(Hop::Fault(DropReason::NatUnrelatedError));
                }
            }
            Ok(())
        }
        Parsed::LaterFragment(datagram) => later_from_inside(nat, wait, now, datagram, packet, frame),
        Parsed::Malformed => Err(Hop::Fault(DropReason::NatMalformed)),
    }
}

/// RFC 5382 REQ-4: a SYN that nobody has asked for is not answered at once, as the host inside may be about to.
const fn unsolicited(end: Hop, tcp: Option<Tcp>) -> Hop {
    match (end, tcp) {
        (
            Hop::Fault(reason @ (DropReason::NatNoMapping | DropReason::NatFiltered)),
            Some(Tcp { syn: true, ack: false, rst: false, .. }),
        ) => Hop::Wait(reason),
        (end, _) => end,
    }
}

/// Remembers what was decided of a first fragment, for those that follow it.
fn decide<F>(
    wait: &mut NatWait<F>,
    now: Instant,
    side: Side,
    fragment: Option<Datagram>,
    packet: &Packet,
    judged: Result<(), Hop>,
) -> Result<(), Hop> {
    if let Some(datagram) = fragment {
        let way = match (judged, packet.nat) {
            (Ok(()), Plan::Rewrite { src, .. }) => Way::Rewrite { src, dst: packet.dst },
            (Ok(()), Plan::None | Plan::Leaving(_)) => Way::Untouched,
            (Err(Hop::Elsewhere(to)), _) => Way::Elsewhere(to, None),
            (Err(_), _) => Way::Refused,
        };
        wait.decide(now, Whose { side, datagram }, way);
    }
    judged
}

fn later_from_inside<F: Frame>(
    nat: &Nat,
    wait: &NatWait<F>,
    now: Instant,
    datagram: Datagram,
    packet: &mut Packet,
    frame: &mut F,
) -> Result<(), Hop> {
    // The inside address alone says whose it is.
    let at = |addr| millrace_nat::Endpoint { addr, port: 0 };
    let flow = Flow { protocol: datagram.protocol, src: at(datagram.src), dst: at(datagram.dst) };
    owned(nat, Side::Inside, &flow, packet)?;
    follow(wait, now, Whose { side: Side::Inside, datagram }, packet, frame)
}

/// A later fragment goes where its first one went, or waits for it.
fn follow<F: Frame>(
    wait: &NatWait<F>,
    now: Instant,
    whose: Whose,
    packet: &mut Packet,
    frame: &mut F,
) -> Result<(), Hop> {
    match wait.way(now, &whose) {
        Some(way) => take(way, packet, frame),
        None => Err(Hop::Wait(DropReason::NatFragment)),
    }
}

pub(crate) fn take<F: Frame>(way: Way, packet: &mut Packet, frame: &mut F) -> Result<(), Hop> {
    match way {
        Way::Rewrite { src, dst } => packet.follow(src, dst),
        Way::Untouched => packet.nat = Plan::None,
        Way::Elsewhere(to, outside) => {
            if let Some(src) = outside {
                let dst = packet.dst;
                packet::rewrite_later_fragment(packet.ip_mut(frame.data_mut()), src, dst);
            }
            return Err(Hop::Elsewhere(to));
        }
        Way::Refused => return Err(Hop::Fault(DropReason::NatFragment)),
    }
    Ok(())
}

/// Whether this worker gathers the datagram's fragments; `Err` sends it to the one that does.
fn gathered(nat: &Nat, datagram: &Datagram) -> Result<(), Hop> {
    let worker = nat.gatherer(datagram);
    if worker == nat.worker() { Ok(()) } else { Err(Hop::Elsewhere(Handoff { worker, leg: Leg::Gather })) }
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

/// A segment of an FTP control connection: its text, and the numbers that change with it.
#[inline(never)]
pub(crate) fn pass_gateway<F: Frame>(
    nat: &mut Nat,
    now: Instant,
    session: SessionId,
    packet: &mut Packet,
    frame: &mut F,
) -> Result<(), Hop> {
    let (start, ip) = (usize::from(packet.l3), packet.ip_mut(frame.data_mut()));
    let Some(segment) = segment::read(ip) else { return Ok(()) };
    let outward = Ipv4::new_checked(ip).is_ok_and(|header| header.dst_bits() == packet.dst);
    let side = if outward { Side::Inside } else { Side::Outside };
    let Parsed::Flow { flow, .. } = packet::parse(side, ip) else { return Ok(()) };
    if !outward {
        let ack = nat.control_ack(session, &flow, segment.ack);
        if ack != segment.ack {
            segment::set_acknowledgment(ip, ack);
        }
        return Ok(());
    }
    if segment.syn {
        segment::refuse_sack(ip);
    }
    let payload = ip.get(segment.payload.clone()).unwrap_or_default();
    let (seq, text) = match nat.control_out(now, session, &flow, (segment.seq, payload)) {
        Outgoing::Forward { seq, payload } => (seq, payload),
        Outgoing::Keep => return Err(Hop::Fault(DropReason::NatGateway)),
    };
    if seq != segment.seq {
        segment::set_sequence(ip, seq);
    }
    if let Some(text) = text {
        let len = segment.payload.start + text.len();
        let (true, Ok(total_len)) = (frame.resize(start + len), u16::try_from(len)) else {
            return Err(Hop::Fault(DropReason::NoHeadroom));
        };
        packet.total_len = total_len;
        segment::set_payload(packet.ip_mut(frame.data_mut()), segment.payload.start, &text);
    }
    Ok(())
}

impl Packet {
    /// The packet outside its burst.
    pub(crate) const fn alone(&self) -> Self {
        let nat = match self.nat {
            Plan::Leaving(_) => Plan::Leaving(None),
            plan @ (Plan::None | Plan::Rewrite { .. }) => plan,
        };
        Self { nat, ..*self }
    }

    #[inline]
    pub(crate) fn translate(&mut self, to: &Rewrite) {
        self.dst = to.dst.addr;
        let gateway = to.gateway;
        self.nat = Plan::Rewrite { src: to.src.addr, src_port: to.src.port, dst_port: to.dst.port, gateway };
    }
}
