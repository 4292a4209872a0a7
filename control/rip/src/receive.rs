//! What comes in: whether a message is one to act on, and what its entries say. RFC 2453 §3.9.

use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_proto::{Datagram, Interface, InterfaceAddress, UnixTime};

use crate::Metric;
use crate::auth::{self, Believed};
use crate::config::{Authentication, TtlSecurity};
use crate::link::{Link, MAX_NEIGHBORS};
use crate::stats::{BadPacket, BadRoute};
use crate::table::Received;
use crate::wire::{self, Command, Entry, Packet, Version};

/// A message to act on, and the address of ours on the network it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted<'d> {
    pub(crate) packet: Packet<'d>,
    pub(crate) believed: Believed,
    pub(crate) own: InterfaceAddress,
}

/// Every check on the message as a whole. `ours` says whether an address is one of the router's own.
pub(crate) fn accept<'d>(
    datagram: &'d Datagram,
    link: &Link,
    ours: impl Fn(Ipv4Addr) -> bool,
    now: UnixTime,
) -> Result<Accepted<'d>, BadPacket> {
    let sender = *datagram.source.ip();
    if ours(sender) {
        return Err(BadPacket::Own);
    }
    let own = *link.interface.address_towards(sender).ok_or(BadPacket::NotNeighbor)?;
    if link.config.ttl_security == TtlSecurity::On && datagram.ttl != Some(255) {
        return Err(BadPacket::Ttl);
    }
    let packet = Packet::decode(&datagram.payload)?;
    if packet.command == Command::Response && datagram.source.port() != wire::PORT {
        return Err(BadPacket::SourcePort);
    }
    // Version 1 has no authentication, so where that is asked for it is not taken (RFC 2453 §4.1).
    if packet.version == Version::V1
        && !(link.config.receive_version_1 && link.config.authentication == Authentication::None)
    {
        return Err(BadPacket::VersionOne);
    }
    let known = link.neighbors.get(&sender);
    let believed =
        auth::verify(&link.config.authentication, &packet, now, known.map(|known| &known.sequences))?;
    if known.is_none() && MAX_NEIGHBORS <= link.neighbors.len() {
        return Err(BadPacket::NeighborLimit);
    }
    Ok(Accepted { packet, believed, own })
}

/// What one entry of a response says. RFC 2453 §3.9.2, §4.2 to 4.4.
pub(crate) fn interpret(
    entry: &Entry,
    version: Version,
    sender: Ipv4Addr,
    own: &InterfaceAddress,
    interface: &Interface,
) -> Result<(Prefix, Received), BadRoute> {
    if entry.family != wire::FAMILY_IPV4 {
        return Err(BadRoute::Family);
    }
    let metric = u8::try_from(entry.metric).ok().and_then(Metric::new).ok_or(BadRoute::Metric)?;
    let prefix = destination(entry, version, own)?;
    if prefix != Prefix::DEFAULT && !is_unicast_network(prefix.addr()) {
        return Err(BadRoute::Address);
    }
    // Whoever would send packets for it to this router cannot carry them for it.
    let metric = if interface.has_address(entry.next_hop) { Metric::INFINITY } else { metric };
    // A next hop that is not directly reachable counts as the sender (RFC 2453 §4.4).
    let named = !entry.next_hop.is_unspecified() && entry.next_hop != sender && own.reaches(entry.next_hop);
    let next_hop = named.then_some(entry.next_hop);
    Ok((prefix, Received { metric, tag: entry.tag, next_hop }))
}

/// The destination of an entry, of a response or of a request for it.
pub(crate) fn destination(
    entry: &Entry,
    version: Version,
    own: &InterfaceAddress,
) -> Result<Prefix, BadRoute> {
    let mask = entry.mask.to_bits();
    let len = match version {
        // No mask is included (RFC 2453 §4.3).
        Version::V1 => natural_length(entry.address, own),
        Version::V2 if mask == 0 => natural_length(entry.address, own),
        Version::V2 if mask.leading_ones() + mask.trailing_zeros() == u32::BITS => {
            u8::try_from(mask.leading_ones()).map_err(|_| BadRoute::Mask)?
        }
        Version::V2 => return Err(BadRoute::Mask),
    };
    Prefix::new(entry.address, len).map_err(|_| BadRoute::HostBits)
}

/// The length of a mask that is not in the message: that of the network's class; that of the receiving network where
/// it is part of the same one; 32 where bits beyond it are set. RFC 1058 §3.2, RFC 2453 §3.7.
pub(crate) fn natural_length(address: Ipv4Addr, own: &InterfaceAddress) -> u8 {
    if address.is_unspecified() {
        return 0;
    }
    let class = |address: Ipv4Addr| match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192.. => 24,
    };
    let len = class(address);
    let same_network = Prefix::truncated(address, len).contains(own.address) && class(own.address) == len;
    let len = if same_network { own.prefix_len.clamp(len, 32) } else { len };
    if Prefix::new(address, len).is_ok() { len } else { 32 }
}

/// Unicast, and not net 0 or 127 (RFC 2453 §3.9.2).
fn is_unicast_network(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..)
}
