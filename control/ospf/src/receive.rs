//! Which packets are heard, and where they go. RFC 2328 §8.2.

use std::net::Ipv4Addr;

use millrace_proto::{Datagram, Instant};

use crate::auth;
use crate::link::{Link, LinkId, Medium};
use crate::machine::{Notice, Ospf};
use crate::neighbor::NeighborId;
use crate::stats::{BadLsa, BadPacket};
use crate::wire::{ALL_DESIGNATED, ALL_ROUTERS, AreaId, Body, Packet, PacketType};

impl Ospf {
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &Datagram) {
        let physical = LinkId::Interface(datagram.interface);
        let mut link = physical;
        let result = self.accept(now, datagram, &mut link);
        if let Err(reason) = result {
            match self.links.get_mut(&link) {
                Some(link) => link.stats.bad_packets.count(reason),
                None => self.stats.stray += 1,
            }
            let (from, interface) = (*datagram.source.ip(), datagram.interface);
            self.notice(Notice::BadPacket { from, interface, reason });
        }
    }

    /// `at` becomes the link the packet belongs to, which is another than the interface's for virtual links.
    fn accept(&mut self, now: Instant, datagram: &Datagram, at: &mut LinkId) -> Result<(), BadPacket> {
        let (source, destination) = (*datagram.source.ip(), *datagram.destination.ip());
        let packet = Packet::decode(&datagram.payload)?;
        let physical = self.links.get(at).ok_or(BadPacket::Passive)?;
        if packet.router == self.router_id() || physical.interface.has_address(source) {
            return Err(BadPacket::Own);
        }
        let link = self.link_of(physical, &packet, destination)?;
        *at = link.id;
        if !link.talks() {
            return Err(BadPacket::Passive);
        }
        if !link.is_virtual() && is_stranger(link, source) {
            return Err(BadPacket::NotNeighbor);
        }
        if destination == ALL_DESIGNATED && !link.is_designated_or_backup() {
            return Err(BadPacket::NotDesignated);
        }
        let id = NeighborId { link: link.id, key: link.neighbor_key(packet.router, source) };
        let neighbor = link.neighbors.get(&id.key);
        let seen = neighbor.and_then(|neighbor| neighbor.auth_sequence);
        let believed = auth::verify(&link.config.authentication, &packet, self.clock.unix(now), seen)?;
        if packet.kind != PacketType::Hello && neighbor.is_none_or(|n| n.router != packet.router) {
            return Err(BadPacket::UnknownNeighbor);
        }
        let body = packet.body()?;
        if let Some(link) = self.links.get_mut(&id.link) {
            link.stats.received.count(packet.kind);
        }
        match body {
            Body::Hello(hello) => self.receive_hello(now, id, packet.router, source, &hello)?,
            Body::Description(description) => self.receive_description(now, id, &description)?,
            Body::Request(keys) => self.receive_request(now, id, &keys)?,
            Body::Update(update) => self.receive_update(now, id, update)?,
            Body::Ack(headers) => self.receive_ack(now, id, &headers)?,
        }
        if let (Some(sequence), Some(neighbor)) = (believed.0, self.neighbor_mut(id)) {
            neighbor.auth_sequence = Some(sequence);
        }
        Ok(())
    }

    /// By area: the interface's own, or a virtual link through it.
    fn link_of<'s>(
        &'s self,
        physical: &'s Link,
        packet: &Packet<'_>,
        destination: Ipv4Addr,
    ) -> Result<&'s Link, BadPacket> {
        if packet.area == physical.area {
            return Ok(physical);
        }
        let unicast = destination != ALL_ROUTERS && destination != ALL_DESIGNATED;
        let peer = LinkId::Virtual { transit: physical.area, peer: packet.router };
        let through = self.links.get(&peer).filter(|_| packet.area == AreaId::BACKBONE && unicast);
        through.ok_or(BadPacket::Area)
    }

    pub(crate) fn bad_lsa(&mut self, id: NeighborId, reason: BadLsa) {
        let Some(link) = self.links.get_mut(&id.link) else { return };
        link.stats.bad_lsas.count(reason);
        let from = link.neighbors.get(&id.key).map_or(id.key, |neighbor| neighbor.address);
        let interface = link.interface.name.clone();
        self.notice(Notice::BadLsa { from, interface, reason });
    }
}

/// On point-to-point links the source does not matter. RFC 2328 §8.2.
fn is_stranger(link: &Link, source: Ipv4Addr) -> bool {
    match link.medium {
        Medium::Broadcast | Medium::NonBroadcast | Medium::PointToMultipoint => {
            link.network.is_none_or(|network| !network.contains(source))
        }
        Medium::PointToPoint | Medium::Virtual | Medium::Loopback => false,
    }
}
