//! What the configuration and the kernel's interfaces put into the table: static, connected and local routes.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;

use millrace_net::{Instant, Prefix};
use millrace_proto as proto;
use millrace_rib::{IfIndex, Nexthop, Protocol, Rib, Route, Target, Via};

use crate::config::{Config, StaticRoute, StaticTarget};
use crate::links::{Link, LinkTable};

/// Names a candidate in the table.
type Key = (Prefix, Protocol, u16);

/// Connected and local routes as they stand in the table.
#[derive(Debug, Default)]
pub(super) struct Attached {
    routes: BTreeMap<Key, Target>,
    /// Indexes of the configured interfaces, and whether frames pass.
    interfaces: BTreeMap<u32, bool>,
}

impl Attached {
    /// Brings the table in line with the interfaces. A configured interface's subnets are connected; every address of the
    /// host is local, whichever interface it is on.
    pub(super) fn update(&mut self, rib: &mut Rib, config: &Config, links: &LinkTable, now: Instant) {
        let mut routes = BTreeMap::new();
        let mut interfaces = BTreeMap::new();
        for link in links.iter() {
            let configured = config.interfaces.iter().any(|interface| interface.name == link.name);
            if configured {
                interfaces.insert(link.index, link.up);
            }
            for address in &link.addresses {
                if address.address.is_loopback() {
                    continue;
                }
                let instance = instance(link);
                routes.insert((Prefix::host(address.address), Protocol::Local, instance), Target::Local);
                let network = address.network();
                if configured && (network.len() < 32 || address.peer.is_some()) {
                    let target = Target::interface(IfIndex(link.index));
                    routes.insert((network, Protocol::Connected, instance), target);
                }
            }
        }
        for (&index, _) in self.interfaces.iter().filter(|(index, _)| !interfaces.contains_key(index)) {
            rib.set_interface(IfIndex(index), false);
        }
        for (&index, &up) in &interfaces {
            rib.set_interface(IfIndex(index), up);
        }
        for &(prefix, protocol, instance) in self.routes.keys().filter(|key| !routes.contains_key(key)) {
            rib.remove(prefix, protocol, instance);
        }
        for (&(prefix, protocol, instance), target) in &routes {
            let route = Route { protocol, instance, distance: 0, metric: 0, tag: 0, target: target.clone() };
            rib.insert(prefix, &route, now);
        }
        *self = Self { routes, interfaces };
    }
}

/// Tells the candidates of two interfaces for one prefix apart. Only the low bits, which differ on one host.
fn instance(link: &Link) -> u16 {
    u16::try_from(link.index & 0xffff).unwrap_or(u16::MAX)
}

/// A protocol's route as the table takes it.
pub(super) fn candidate(protocol: Protocol, distance: u8, route: &proto::Route) -> Route {
    let nexthop = |hop: &proto::NextHop| {
        let via = match (hop.gateway, hop.interface) {
            (Some(gateway), Some(interface)) => Via::OnLink { interface: IfIndex(interface.0), gateway },
            (Some(gateway), None) => Via::Gateway(gateway),
            (None, Some(interface)) => Via::Interface(IfIndex(interface.0)),
            (None, None) => return None,
        };
        Some(Nexthop { via, weight: hop.weight.max(1) })
    };
    let nexthops: Vec<Nexthop> = route.next_hops.iter().filter_map(nexthop).collect();
    // A route that leads nowhere at all is one to nowhere.
    let target = if nexthops.is_empty() { Target::Unreachable } else { Target::via(nexthops) };
    Route { protocol, instance: 0, distance, metric: route.metric, tag: route.tag, target }
}

/// Static routes as they stand in the table.
#[derive(Debug, Default)]
pub(super) struct Statics {
    routes: Vec<StaticRoute>,
    /// Of those that name an interface: its index when they were put in.
    interfaces: BTreeMap<String, Option<u32>>,
    /// Next hops that BFD watched when they were put in, and where they are.
    watched: BTreeMap<Ipv4Addr, IfIndex>,
}

/// What a change of the static routes came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Changed {
    pub(super) added: u64,
    pub(super) removed: u64,
}

impl Statics {
    /// Brings the table in line with the configuration, the indexes interfaces have, and the next hops that are watched.
    pub(super) fn update(
        &mut self,
        rib: &mut Rib,
        config: &Config,
        links: &LinkTable,
        watched: &BTreeMap<Ipv4Addr, IfIndex>,
        now: Instant,
    ) -> Changed {
        let interfaces: BTreeMap<String, Option<u32>> = config
            .statics
            .iter()
            .filter_map(|route| match &route.target {
                StaticTarget::Interface(name) => {
                    Some((name.clone(), links.by_name(name).map(|link| link.index)))
                }
                StaticTarget::Via(_)
                | StaticTarget::Blackhole
                | StaticTarget::Unreachable
                | StaticTarget::Prohibit => None,
            })
            .collect();
        if self.routes == config.statics && self.interfaces == interfaces && self.watched == *watched {
            return Changed::default();
        }
        let mut changed = Changed::default();
        let old = self.keys();
        *self = Self { routes: config.statics.clone(), interfaces, watched: watched.clone() };
        let new = self.keys();
        for &(prefix, distance) in old.difference(&new) {
            rib.remove(prefix, Protocol::Static, distance);
            changed.removed += 1;
        }
        changed.added = new.difference(&old).count() as u64;
        for route in &self.routes {
            let Some(target) = self.target(route) else { continue };
            let distance = u16::from(route.distance);
            let candidate = Route {
                protocol: Protocol::Static,
                instance: distance,
                distance: route.distance,
                metric: 0,
                tag: 0,
                target,
            };
            for &prefix in route.prefixes.iter() {
                rib.insert(prefix, &candidate, now);
            }
        }
        changed
    }

    /// Every candidate there is. No prefix stands twice with one distance, so the distance tells them apart.
    fn keys(&self) -> HashSet<(Prefix, u16)> {
        let usable = self.routes.iter().filter(|route| self.target(route).is_some());
        usable
            .flat_map(|route| route.prefixes.iter().map(|&prefix| (prefix, u16::from(route.distance))))
            .collect()
    }

    fn via(&self, gateway: Ipv4Addr, bfd: bool) -> Via {
        match self.watched.get(&gateway) {
            Some(&interface) if bfd => Via::Watched { interface, gateway },
            // One that is not directly connected has no session.
            Some(_) | None => Via::Gateway(gateway),
        }
    }

    /// Where a static route leads; none while its interface does not exist.
    fn target(&self, route: &StaticRoute) -> Option<Target> {
        Some(match &route.target {
            StaticTarget::Via(vias) => Target::via(
                vias.iter()
                    .map(|via| Nexthop { via: self.via(via.addr, route.bfd), weight: via.weight })
                    .collect(),
            ),
            StaticTarget::Interface(name) => Target::interface(IfIndex((*self.interfaces.get(name)?)?)),
            StaticTarget::Blackhole => Target::Blackhole,
            StaticTarget::Unreachable => Target::Unreachable,
            StaticTarget::Prohibit => Target::Prohibit,
        })
    }
}
