//! Telling the sender. RFC 792; RFC 1812 §4.3.2, §4.3.3, §5.2.7.1; RFC 1191 §4.
//! Reads: the refused packet as it came. Sets: the frame, which becomes the message about it. Next: fib_lookup of the
//! source, eth_output. Silent: icmp-forbidden, icmp-rate-limited, icmp-unroutable, no-headroom.

use core::net::Ipv4Addr;

use millrace_net::checksum;
use millrace_net::wire::icmp::{self, Icmp, Kind};
use millrace_net::wire::ipv4::{self, Fragment, Ipv4, Protocol};

use crate::frame::Frame;
use crate::outcome::{DropReason, IcmpMessage};
use crate::packet::Packet;
use crate::ports::Ports;

/// RFC 1812 §4.3.2.3: as much of the original as fits without the message exceeding this.
const MAX_TOTAL_LEN: usize = 576;
const HEADERS_LEN: usize = ipv4::LEN + icmp::LEN;
/// RFC 1812 §4.3.2.5: errors have precedence 6, INTERNETWORK CONTROL.
const PRECEDENCE: u8 = 6 << 5;
/// RFC 1812 §4.3.2.5: the TOS bits are the original's. Of the four of RFC 1349 the lowest belongs to ECN since RFC 3168,
/// which such a message must not claim.
const TOS_BITS: u8 = 0x1c;

/// What is said about a packet that was dropped for `reason`; nothing about most.
pub(crate) const fn message(reason: DropReason) -> Option<IcmpMessage> {
    match reason {
        DropReason::TtlExceeded => Some(IcmpMessage::TtlExceeded),
        DropReason::NoRoute => Some(IcmpMessage::NetUnreachable),
        // RFC 1812 §5.3.12.3 for an interface that is down. Other hosts of the network may well be reachable (§5.2.7.1).
        DropReason::Unreachable | DropReason::NeighborFailed | DropReason::EgressDown => {
            Some(IcmpMessage::HostUnreachable)
        }
        DropReason::SourceRouteFailed => Some(IcmpMessage::SourceRouteFailed),
        DropReason::NatSynUnanswered => Some(IcmpMessage::PortUnreachable),
        DropReason::Prohibit
        | DropReason::AclReject
        | DropReason::NatNoPool
        | DropReason::NatPoolExhausted
        | DropReason::NatSubscriberPorts
        | DropReason::NatSubscriberSessions
        | DropReason::NatTableFull => Some(IcmpMessage::Prohibited),
        DropReason::TooBig => Some(IcmpMessage::FragmentationNeeded),
        DropReason::IpBadOption | DropReason::IpCutShort => Some(IcmpMessage::ParameterProblem),
        DropReason::IngressUnknown
        | DropReason::EthTruncated
        | DropReason::EthNotForUs
        | DropReason::EthGroup
        | DropReason::EthTypeUnknown
        | DropReason::IpTruncated
        | DropReason::IpBadVersion
        | DropReason::IpBadHeaderLength
        | DropReason::IpBadTotalLength
        | DropReason::IpBadChecksum
        | DropReason::SourceRouted
        | DropReason::MartianSource
        | DropReason::MartianDestination
        | DropReason::Urpf
        | DropReason::AclDrop
        | DropReason::TinyFragment
        | DropReason::Policed
        | DropReason::Multicast
        | DropReason::Broadcast
        | DropReason::Blackhole
        | DropReason::HoldFull
        | DropReason::FragmentFailed
        | DropReason::NoHeadroom
        | DropReason::NotForwarded
        | DropReason::TxFull
        | DropReason::NatOff
        | DropReason::NatInboundFull
        | DropReason::NatNoMapping
        | DropReason::NatFiltered
        | DropReason::NatNoSession
        | DropReason::NatUnrelatedError
        | DropReason::NatMalformed
        | DropReason::NatFragment
        | DropReason::NatGateway
        | DropReason::NatHandoff
        | DropReason::RxRingFull
        | DropReason::NoBuffer
        | DropReason::RxRefused
        | DropReason::RxTooLarge
        | DropReason::XdpTruncated
        | DropReason::NoWorker => None,
    }
}

/// RFC 1812 §4.3.2.7: no errors about errors, about later fragments, about what goes to or seems to come from a
/// broadcast address of a subnet.
///
/// The section's other cases never get here: what fails validation, comes as a link-layer broadcast, goes to the limited
/// broadcast or a multicast group, or has a source no host can have, has been dropped by eth_input and ip_input.
pub(crate) fn may_be_answered(packet: &Packet, frame: &[u8], ports: &Ports) -> bool {
    if packet.fragment.offset_bytes() != 0
        || ports.is_subnet_broadcast(packet.dst_addr())
        || ports.is_subnet_broadcast(packet.src_addr())
    {
        return false;
    }
    // A truncated ICMP message may be an error: better silent.
    packet.protocol != Protocol::ICMP
        || packet.payload(frame).first().is_some_and(|&kind| Kind(kind).is_query())
}

/// What the router puts into the header of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) source: Ipv4Addr,
    pub(crate) ident: u16,
    pub(crate) ttl: u8,
}

/// Turns the frame of `packet` into the message about it, an IPv4 packet at the frame's first byte. Its length;
/// `None` where the frame has no room for it.
pub(crate) fn build(
    frame: &mut impl Frame,
    packet: &Packet,
    message: IcmpMessage,
    origin: Origin,
) -> Option<u16> {
    let quote_len = usize::from(packet.total_len).min(MAX_TOTAL_LEN - HEADERS_LEN);
    let start = usize::from(packet.l3);
    if !frame.resize(start + quote_len) || !open(frame, start, quote_len) {
        return None;
    }
    let total_len = u16::try_from(HEADERS_LEN + quote_len).ok()?;
    let (mut ip, body) = Ipv4::split_mut(frame.data_mut()).ok()?;
    ip.set_header_len(20);
    ip.set_tos(packet.tos & TOS_BITS | PRECEDENCE);
    ip.set_total_len(total_len);
    ip.set_ident(origin.ident);
    ip.set_fragment(Fragment::NONE);
    ip.set_ttl(origin.ttl);
    ip.set_protocol(Protocol::ICMP);
    ip.set_src(origin.source);
    ip.set_dst(packet.src_addr());
    ip.fill_checksum(&[]);
    let (kind, code, rest) = match message {
        IcmpMessage::NetUnreachable => (Kind::UNREACHABLE, 0, 0),
        IcmpMessage::HostUnreachable => (Kind::UNREACHABLE, 1, 0),
        IcmpMessage::FragmentationNeeded => (Kind::UNREACHABLE, 4, packet.detail),
        IcmpMessage::SourceRouteFailed => (Kind::UNREACHABLE, 5, 0),
        IcmpMessage::PortUnreachable => (Kind::UNREACHABLE, 3, 0),
        IcmpMessage::Prohibited => (Kind::UNREACHABLE, 13, 0),
        IcmpMessage::RedirectHost => (Kind::REDIRECT, 1, packet.detail),
        IcmpMessage::TtlExceeded => (Kind::TIME_EXCEEDED, 0, 0),
        IcmpMessage::ParameterProblem => (Kind::PARAMETER_PROBLEM, 0, packet.detail << 24),
    };
    let mut header = Icmp::new_checked_mut(body).ok()?;
    header.set_kind(kind);
    header.set_code(code);
    header.set_rest(rest);
    header.set_checksum(0);
    let check = checksum::checksum(body);
    Icmp::new_checked_mut(body).ok()?.set_checksum(check);
    Some(total_len)
}

/// Makes room for the headers before the quoted packet, which ends the frame; what was before it becomes headroom, so
/// that there is as much for the Ethernet header as there was.
fn open(frame: &mut impl Frame, start: usize, quote_len: usize) -> bool {
    if frame.push_front(HEADERS_LEN) {
        return frame.pull_front(start);
    }
    let opened = frame.resize(start + HEADERS_LEN + quote_len);
    if opened {
        frame.data_mut().copy_within(start..start + quote_len, start + HEADERS_LEN);
    }
    opened && frame.pull_front(start)
}
