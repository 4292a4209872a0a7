//! Routes of other protocols: telling of them, translating them, and using those of others. RFC 2328 §12.4.4, §16.4;
//! RFC 3101.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_proto::Instant;

use crate::config::{AreaKind, ExternalKind};
use crate::link::{InterfaceState, Medium};
use crate::lsdb::{Lsdb, Scope};
use crate::machine::{Ospf, Redistributed};
use crate::originate::Wanted;
use crate::routes::{NetworkRoute, PathKind, RouterRoute, offer};
use crate::summaries::link_state_ids;
use crate::wire::{AreaId, External, INFINITY, LsaBody, LsaKey, LsaType, Options};

impl Ospf {
    pub(crate) fn external_lsas(&self, now: Instant) -> Wanted {
        let mut wanted = Wanted::new();
        let own = self.own_externals();
        let normal = self.areas.keys().any(|area| self.config.area_kind(*area).has_externals());
        if normal {
            let mut all = self.translated(now);
            all.extend(own.clone());
            for (prefix, id) in link_state_ids(all.keys().copied()) {
                let Some(external) = all.get(&prefix) else { continue };
                let key = LsaKey { kind: LsaType::External, id, router: self.router_id() };
                wanted.insert((Scope::As, key), (Options::E, LsaBody::External(*external)));
            }
        }
        for area in self.areas.keys().filter(|area| self.config.area_kind(**area).is_nssa()) {
            self.nssa_lsas(*area, &own, normal, &mut wanted);
        }
        wanted
    }

    /// What this router has from other protocols, with whom packets go to.
    fn own_externals(&self) -> BTreeMap<Prefix, External> {
        let mut all = BTreeMap::new();
        for route in self.redistributed.values() {
            all.insert(route.prefix, self.external(route));
        }
        if let Some(default) = self.config.default_route {
            let external = External {
                mask: Ipv4Addr::UNSPECIFIED,
                type_2: default.metric.kind == ExternalKind::Type2,
                metric: default.metric.cost,
                forwarding: Ipv4Addr::UNSPECIFIED,
                tag: default.tag,
            };
            all.insert(Prefix::DEFAULT, external);
        }
        all
    }

    fn external(&self, route: &Redistributed) -> External {
        let default = self.config.default_metric;
        let forwarding = route.next_hop.filter(|next_hop| self.is_shared(*next_hop));
        External {
            mask: Ipv4Addr::from_bits(route.prefix.mask()),
            type_2: route.kind.unwrap_or(default.kind) == ExternalKind::Type2,
            metric: route.cost.unwrap_or(default.cost).min(INFINITY - 1),
            forwarding: forwarding.unwrap_or(Ipv4Addr::UNSPECIFIED),
            tag: route.tag,
        }
    }

    /// On a network that other OSPF routers are on too, so that they can send there without a detour (§2.3).
    fn is_shared(&self, address: Ipv4Addr) -> bool {
        self.links.values().any(|link| {
            let many = matches!(link.medium, Medium::Broadcast | Medium::NonBroadcast);
            many && link.state != InterfaceState::Down
                && link.network.is_some_and(|net| net.contains(address))
        })
    }

    /// RFC 3101 §2.4: P says that border routers may translate; it is left out where this router tells of the same as
    /// type 5 itself.
    fn nssa_lsas(&self, area: AreaId, own: &BTreeMap<Prefix, External>, normal: bool, wanted: &mut Wanted) {
        let border = self.is_border();
        let mut all: BTreeMap<Prefix, (External, bool)> = BTreeMap::new();
        let address = self.address_in(area);
        for (prefix, external) in own {
            let mut external = *external;
            let told_itself = border && normal;
            let propagate = !told_itself && !address.is_unspecified();
            if propagate && external.forwarding.is_unspecified() {
                external.forwarding = address;
            }
            all.insert(*prefix, (external, propagate));
        }
        if border && matches!(self.config.area_kind(area), AreaKind::Nssa { summaries: true, .. }) {
            // §2.7: never translated back.
            let metric = self.config.area(area).default_cost;
            let (mask, forwarding) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
            let default = External { mask, type_2: true, metric, forwarding, tag: 0 };
            all.insert(Prefix::DEFAULT, (default, false));
        }
        for (prefix, id) in link_state_ids(all.keys().copied()) {
            let Some((external, propagate)) = all.get(&prefix) else { continue };
            let key = LsaKey { kind: LsaType::Nssa, id, router: self.router_id() };
            let options = Options::default().with(Options::NP, *propagate);
            wanted.insert((Scope::Area(area), key), (options, LsaBody::External(*external)));
        }
    }

    /// An address of this router within the area, best one that is always up. RFC 3101 §2.3.
    fn address_in(&self, area: AreaId) -> Ipv4Addr {
        let up = self.links.values().filter(|link| link.area == area && link.state != InterfaceState::Down);
        let best = up.filter(|link| !link.is_virtual()).max_by_key(|link| link.medium == Medium::Loopback);
        // The first address of a loopback is net 127's.
        let own = |link: &crate::link::Link| {
            link.interface.addresses.iter().map(|own| own.address).find(|address| !address.is_loopback())
        };
        best.and_then(own).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Type 7 LSAs that go on as type 5. RFC 3101 §3.2.
    fn translated(&self, now: Instant) -> BTreeMap<Prefix, External> {
        let mut all: BTreeMap<Prefix, External> = BTreeMap::new();
        for (id, area) in self.areas.iter().filter(|(id, _)| self.is_translator(**id)) {
            let ranges = self.config.area(*id).ranges;
            for (key, entry) in area.db.of_kind(LsaType::Nssa) {
                let LsaBody::External(mut external) = *entry.lsa().body else { continue };
                let own = key.router == self.router_id();
                let propagate = entry.lsa().header.options.has(Options::NP);
                let reachable = area.routers.contains_key(&key.router);
                if own
                    || !propagate
                    || !reachable
                    || entry.is_max_age(now)
                    || external.forwarding.is_unspecified()
                {
                    continue;
                }
                let mut prefix = crate::wire::network_of(key.id, external.mask);
                if let Some(range) = ranges.iter().find(|range| range.prefix.covers(prefix)) {
                    if !range.advertise {
                        continue;
                    }
                    prefix = range.prefix;
                    external.mask = Ipv4Addr::from_bits(prefix.mask());
                    external.metric = range.cost.unwrap_or(external.metric);
                    external.forwarding = Ipv4Addr::UNSPECIFIED;
                }
                let better =
                    |known: &External| (known.type_2, known.metric) <= (external.type_2, external.metric);
                if !all.get(&prefix).is_some_and(better) {
                    all.insert(prefix, external);
                }
            }
        }
        all
    }

    /// RFC 2328 §16.4, RFC 3101 §2.5
    pub(crate) fn add_external(&self, now: Instant, networks: &mut BTreeMap<Prefix, NetworkRoute>) {
        let mut found: BTreeMap<Prefix, NetworkRoute> = BTreeMap::new();
        self.externals_of(now, &self.external, None, networks, &mut found);
        for (id, area) in &self.areas {
            if self.config.area_kind(*id).is_nssa() {
                self.externals_of(now, &area.db, Some(*id), networks, &mut found);
            }
        }
        for (prefix, route) in found {
            networks.entry(prefix).or_insert(route);
        }
    }

    fn externals_of(
        &self,
        now: Instant,
        db: &Lsdb,
        nssa: Option<AreaId>,
        internal: &BTreeMap<Prefix, NetworkRoute>,
        found: &mut BTreeMap<Prefix, NetworkRoute>,
    ) {
        let kind = if nssa.is_some() { LsaType::Nssa } else { LsaType::External };
        for (key, entry) in db.of_kind(kind) {
            let LsaBody::External(external) = *entry.lsa().body else { continue };
            if key.router == self.router_id() || INFINITY <= external.metric || entry.is_max_age(now) {
                continue;
            }
            let prefix = crate::wire::network_of(key.id, external.mask);
            // A border router does not follow another's default into the NSSA it gives one to itself (RFC 3101 §2.5 (3)).
            let propagate = entry.lsa().header.options.has(Options::NP);
            if nssa.is_some() && prefix.len() == 0 && self.is_border() && !propagate {
                continue;
            }
            let Some(boundary) = self.boundary_router(key, nssa) else { continue };
            let (cost, hops, area) = if external.forwarding.is_unspecified() {
                (boundary.cost, boundary.hops.clone(), boundary.area)
            } else {
                let Some(route) = longest_match(internal, external.forwarding) else { continue };
                let usable = match route.kind {
                    PathKind::IntraArea => nssa.is_none_or(|area| route.area == area),
                    PathKind::InterArea => nssa.is_none(),
                    PathKind::External1 | PathKind::External2 => false,
                };
                if !usable || self.links.values().any(|link| link.interface.has_address(external.forwarding))
                {
                    continue;
                }
                // On a network of our own the forwarding address is the next hop.
                let direct = |hop: &crate::spf::Hop| crate::spf::Hop {
                    gateway: hop.gateway.or(Some(external.forwarding)),
                    ..*hop
                };
                let hops = if route.hops.is_empty() {
                    self.hop_to(external.forwarding).into_iter().collect()
                } else {
                    route.hops.iter().map(direct).collect()
                };
                (route.cost, hops, route.area)
            };
            let (kind, cost, type_2_cost) = if external.type_2 {
                (PathKind::External2, cost, external.metric)
            } else {
                (PathKind::External1, cost.saturating_add(external.metric), 0)
            };
            let route =
                NetworkRoute { kind, area, cost, type_2_cost, hops, tag: external.tag, origin: Some(key) };
            if !route.hops.is_empty() {
                offer(found, prefix, route);
            }
        }
    }

    /// The way to who told of it. RFC 2328 §16.4 (3), §16.4.1.
    fn boundary_router(&self, key: LsaKey, nssa: Option<AreaId>) -> Option<&RouterRoute> {
        let routes = self.routes.routers.get(&key.router)?.iter().filter(|route| route.flags.boundary);
        let compatible = self.config.rfc1583_compatible;
        let rank = |route: &&RouterRoute| {
            let preferred = route.kind == PathKind::IntraArea && !route.area.is_backbone();
            (!compatible && !preferred, route.cost, std::cmp::Reverse(route.area))
        };
        routes
            .filter(|route| match nssa {
                Some(area) => route.area == area,
                None => true,
            })
            .min_by_key(rank)
    }

    fn hop_to(&self, address: Ipv4Addr) -> Option<crate::spf::Hop> {
        let on = |link: &&crate::link::Link| link.network.is_some_and(|network| network.contains(address));
        let link = self.links.values().find(on)?;
        Some(crate::spf::Hop { interface: link.interface.index, gateway: Some(address) })
    }
}

fn longest_match(table: &BTreeMap<Prefix, NetworkRoute>, address: Ipv4Addr) -> Option<&NetworkRoute> {
    (0..=32u8).rev().find_map(|len| table.get(&Prefix::truncated(address, len)))
}
