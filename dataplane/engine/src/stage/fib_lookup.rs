//! From a destination to where it goes. RFC 1812 §5.2.3, §5.2.4.3; RFC 2992 for the choice among equals.
//! Reads: destination, group, and for several members the flow hash. Sets: the [`Hop`].
//! Next: ip_forward, local, or icmp_error via no-route, blackhole, unreachable, prohibit.

use millrace_fib::{AdjacencyId, Group, GroupId, Reader};
use millrace_net::PortId;
use millrace_net::wire::ipv4::Protocol;

use crate::frame::Handoff;
use crate::outcome::DropReason;
use crate::packet::Packet;

/// Where a packet goes, before anything is known of the neighbour's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hop {
    Adjacency(AdjacencyId),
    /// The destination itself is the next hop, on this link.
    Glean(PortId),
    Local,
    /// The route, or its absence, says no.
    Refused(DropReason),
    /// Reception or NAT has found fault with the packet.
    Fault(DropReason),
    /// Another worker has its NAT state.
    Elsewhere(Handoff),
    /// NAT cannot decide yet; if it never can, this is why the packet is dropped.
    Wait(DropReason),
}

/// Which fields of a packet choose among paths of equal cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FlowHash {
    /// Addresses only: all that two hosts exchange goes one way.
    Addresses,
    /// Addresses, protocol and TCP or UDP ports. Fragments by addresses and protocol only, so that all go one way.
    #[default]
    Ports,
}

/// Decodes a group, chooses the member, and asks for the memory that the next stage reads.
#[inline(always)]
pub(crate) fn fib_lookup(
    fib: &Reader<'_>,
    group: GroupId,
    packet: &Packet,
    flow_hash: impl FnOnce() -> u32,
) -> Hop {
    match fib.group(group) {
        Group::Forward(buckets) => {
            let hash = if buckets.only().is_some() { 0 } else { flow_hash() };
            let id = fib.bucket(buckets, hash);
            fib.prefetch_adjacency(id);
            Hop::Adjacency(id)
        }
        Group::Glean(port) => {
            fib.prefetch_neighbor(port, packet.dst_addr());
            Hop::Glean(port)
        }
        Group::Local => Hop::Local,
        Group::None => Hop::Refused(DropReason::NoRoute),
        Group::Blackhole => Hop::Refused(DropReason::Blackhole),
        Group::Unreachable => Hop::Refused(DropReason::Unreachable),
        Group::Prohibit => Hop::Refused(DropReason::Prohibit),
    }
}

/// The flow's hash. The seed keeps the routers of one network from all deciding alike.
#[inline(never)]
pub(crate) fn flow_hash(seed: u64, fields: FlowHash, packet: &Packet, frame: &[u8]) -> u32 {
    let ports = match (fields, packet.protocol) {
        (FlowHash::Ports, Protocol::TCP | Protocol::UDP) if !packet.fragment.is_fragment() => {
            packet.payload(frame).first_chunk::<4>().map_or(0, |ports| u32::from_be_bytes(*ports))
        }
        _ => 0,
    };
    let protocol = match fields {
        FlowHash::Addresses => 0,
        FlowHash::Ports => packet.protocol.0,
    };
    let addresses = u64::from(packet.src) << 32 | u64::from(packet.dst);
    mix(mix(seed, addresses), u64::from(protocol) << 32 | u64::from(ports))
        .to_be_bytes()
        .first_chunk()
        .map_or(0, |high| u32::from_be_bytes(*high))
}

/// Multiply and fold (wyhash's mixer): every input bit reaches every output bit.
#[inline]
pub(crate) const fn mix(seed: u64, value: u64) -> u64 {
    let product = (seed ^ 0x9e37_79b9_7f4a_7c15) as u128 * (value ^ 0xd6e8_feb8_6659_fd93) as u128;
    #[expect(clippy::cast_possible_truncation, reason = "both halves are kept: that is the fold")]
    let folded = product as u64 ^ (product >> 64) as u64;
    folded
}
