//! The decision to forward, and the change of the header that goes with it. RFC 1812 §5.3.1, §4.2.2.9; RFC 1624.
//! Reads: TTL, size, adjacency. Sets: TTL and header checksum in the frame. Next: eth_output, ip_fragment, or hold.
//! Drops: ttl-exceeded, egress-down, neighbor-failed, too-big.

use millrace_fib::{Adjacency, AdjacencyState};
use millrace_net::wire::ipv4::Ipv4;

use crate::outcome::DropReason;
use crate::packet::Packet;
use crate::ports::Ports;

/// RFC 1812 §5.3.1: the packet lives at least one hop more, or does not leave.
#[inline(always)]
pub(crate) const fn ttl(packet: &Packet) -> Result<(), DropReason> {
    if packet.ttl <= 1 { Err(DropReason::TtlExceeded) } else { Ok(()) }
}

/// Whether the packet can be sent to `adjacency`; `false` where its hardware address is not known yet.
#[inline(always)]
pub(crate) fn ip_forward(
    packet: &mut Packet,
    adjacency: &Adjacency,
    ports: &Ports,
) -> Result<bool, DropReason> {
    ttl(packet)?;
    if !ports.get(adjacency.port).is_some_and(|port| port.up) {
        return Err(DropReason::EgressDown);
    }
    match adjacency.state {
        AdjacencyState::Complete => (),
        AdjacencyState::Incomplete => return Ok(false),
        AdjacencyState::Failed => return Err(DropReason::NeighborFailed),
    }
    if adjacency.mtu < packet.total_len && packet.fragment.dont_fragment() {
        packet.detail = u32::from(adjacency.mtu); // RFC 1191 §4: the size that would have gone through
        return Err(DropReason::TooBig);
    }
    Ok(true)
}

/// One hop less to live.
#[inline(always)]
pub(crate) fn age(packet: &Packet, frame: &mut [u8]) {
    if let Ok(mut header) = Ipv4::new_checked_mut(packet.ip_mut(frame)) {
        header.decrement_ttl();
    }
}
