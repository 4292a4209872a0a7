//! Virtual links: the backbone, led through another area. RFC 2328 §15.

use std::net::Ipv4Addr;

use millrace_proto::Instant;

use crate::link::{InterfaceEvent, InterfaceState, LinkId};
use crate::lsdb::Scope;
use crate::machine::Ospf;
use crate::neighbor::Neighbor;
use crate::wire::{AreaId, LinkKind, LsaBody, LsaKey, LsaType, MAX_LINK_METRIC, RouterId};

/// Where a virtual link leads at this moment.
struct Path {
    interface: millrace_proto::Interface,
    local: Ipv4Addr,
    peer: Ipv4Addr,
    cost: u16,
}

impl Ospf {
    /// Brings virtual links up and down with the routes to their peers, after the trees of the transit areas.
    pub(crate) fn update_virtual_links(&mut self, now: Instant) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            let LinkId::Virtual { transit, peer } = id else { continue };
            let path = self.virtual_path(transit, peer);
            let Some(link) = self.links.get_mut(&id) else { continue };
            match path {
                None => self.link_event(now, id, InterfaceEvent::Down),
                Some(path) => {
                    link.interface = path.interface;
                    if link.cost != path.cost {
                        link.cost = path.cost;
                        self.stale.router(AreaId::BACKBONE);
                    }
                    let moved = link.address != path.local;
                    link.address = path.local;
                    // Hellos are sent to the peer from the start: nobody else could answer them.
                    let known =
                        link.neighbors.entry(peer.0).or_insert_with(|| Neighbor::new(now, peer, path.peer));
                    known.address = path.peer;
                    if moved {
                        self.stale.router(AreaId::BACKBONE);
                    }
                    if link.state == InterfaceState::Down {
                        self.link_event(now, id, InterfaceEvent::Up);
                    }
                }
            }
        }
    }

    fn virtual_path(&self, transit: AreaId, peer: RouterId) -> Option<Path> {
        let area = self.areas.get(&transit)?;
        let route = area.routers.get(&peer).filter(|route| route.flags.border || route.cost > 0)?;
        let cost = u16::try_from(route.cost).ok().filter(|cost| *cost < MAX_LINK_METRIC)?;
        let hop = route.hops.first()?;
        let out = self.links.get(&LinkId::Interface(hop.interface))?;
        let key = LsaKey { kind: LsaType::Router, id: peer.0, router: peer };
        let lsa = self.database(Scope::Area(transit))?.get(key)?.lsa();
        let LsaBody::Router(router) = &*lsa.body else { return None };
        let addressed = |kind| matches!(kind, LinkKind::PointToPoint | LinkKind::Transit);
        // An address on a network we share is the one its packets come from; else the first there is.
        let mut addresses = router.links.iter().filter(|link| addressed(link.kind)).map(|link| link.data);
        let shared = addresses.clone().find(|address| out.network.is_some_and(|net| net.contains(*address)));
        let peer = shared.or_else(|| addresses.next())?;
        Some(Path { interface: out.interface.clone(), local: out.address, peer, cost })
    }
}
