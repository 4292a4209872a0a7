//! The routing table: trees of all areas, routes of other areas, external routes, and what changed. RFC 2328 §16.

use std::collections::BTreeMap;

use millrace_net::Prefix;
use millrace_proto::{Instant, NextHop, Route, RouteChange};
use serde::Serialize;

use crate::area::Area;
use crate::link::{InterfaceState, Link, LinkId, Medium};
use crate::machine::{Ospf, Output, Timer};
use crate::neighbor::Neighbor;
use crate::spf::{Graph, Hop, RootEdge, Vertex};
use crate::wire::{AreaId, INFINITY, LinkKind, LsaBody, LsaKey, LsaType, RouterFlags, RouterId};

/// How much is to be calculated again; each includes those above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    External,
    Inter,
    Full,
}

/// In order of preference. RFC 2328 §11.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathKind {
    IntraArea,
    InterArea,
    External1,
    External2,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NetworkRoute {
    pub(crate) kind: PathKind,
    pub(crate) area: AreaId,
    /// To the destination; of type 2 routes to the boundary router.
    pub(crate) cost: u32,
    /// Of type 2 routes; 0 else.
    pub(crate) type_2_cost: u32,
    /// Empty: this router is on the network.
    pub(crate) hops: Vec<Hop>,
    pub(crate) tag: u32,
    /// Who told of it, where that is one LSA.
    pub(crate) origin: Option<LsaKey>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RouterRoute {
    pub(crate) kind: PathKind,
    pub(crate) area: AreaId,
    pub(crate) cost: u32,
    pub(crate) flags: RouterFlags,
    pub(crate) hops: Vec<Hop>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTable {
    pub(crate) networks: BTreeMap<Prefix, NetworkRoute>,
    /// Border and boundary routers, once for each area they are reached through.
    pub(crate) routers: BTreeMap<RouterId, Vec<RouterRoute>>,
    /// What the routing table was told.
    told: BTreeMap<Prefix, Route>,
}

impl NetworkRoute {
    /// Better comes first.
    pub(crate) fn rank(&self) -> (PathKind, u32, u32) {
        (self.kind, self.type_2_cost, self.cost)
    }

    pub(crate) fn merge(&mut self, hops: &[Hop]) {
        if self.hops.is_empty() || hops.is_empty() {
            return;
        }
        for hop in hops {
            if let Err(at) = self.hops.binary_search(hop) {
                self.hops.insert(at, *hop);
            }
        }
    }
}

/// Takes `route` if it is better than what is there; merges where it is as good.
pub(crate) fn offer(table: &mut BTreeMap<Prefix, NetworkRoute>, prefix: Prefix, route: NetworkRoute) {
    match table.get_mut(&prefix) {
        Some(known) if known.rank() < route.rank() => {}
        Some(known) if known.rank() == route.rank() => {
            if route.hops.is_empty() {
                known.hops.clear();
            } else {
                known.merge(&route.hops);
            }
        }
        Some(_) | None => drop(table.insert(prefix, route)),
    }
}

impl Ospf {
    /// Routes are to be calculated again, when the back-off lets them.
    pub(crate) fn schedule(&mut self, now: Instant, level: Level) {
        self.pending = self.pending.max(Some(level));
        let wait = self.backoff.event(now, &self.config.backoff);
        if self.timers.get(Timer::Spf).is_none() {
            self.timers.set(Timer::Spf, now + wait);
        }
    }

    pub(crate) fn calculate(&mut self, now: Instant) {
        let Some(level) = self.pending.take() else { return };
        if level == Level::Full {
            self.stats.spf_runs += 1;
            self.last_spf = Some(now);
            self.calculate_trees(now);
        } else {
            self.stats.partial_runs += 1;
        }
        let mut networks = BTreeMap::new();
        self.routers_of_areas();
        for area in self.areas.values() {
            for (prefix, route) in &area.networks {
                offer(&mut networks, *prefix, route.clone());
            }
        }
        self.add_inter_area(now, &mut networks);
        self.add_transit_areas(now, &mut networks);
        self.add_external(now, &mut networks);
        let paths = usize::from(self.config.max_paths.get());
        for route in networks.values_mut() {
            route.hops.truncate(paths);
        }
        self.routes.networks = networks;
        self.tell_routes();
        self.stale.summaries = true;
        self.stale.externals = true;
    }

    fn calculate_trees(&mut self, now: Instant) {
        // The backbone comes last: its virtual links follow the trees of the areas they pass.
        let mut order: Vec<AreaId> = self.areas.keys().copied().filter(|area| !area.is_backbone()).collect();
        for transit in &order {
            self.calculate_area(now, *transit);
        }
        self.update_virtual_links(now);
        order.retain(|area| area.is_backbone());
        if self.areas.contains_key(&AreaId::BACKBONE) {
            self.calculate_area(now, AreaId::BACKBONE);
        }
    }

    fn calculate_area(&mut self, now: Instant, id: AreaId) {
        let root = self.router_id();
        let edges = self.root_edges(id);
        let local: Vec<(Prefix, u32)> =
            self.links.values().filter(|l| l.area == id).flat_map(own_networks).collect();
        let Some(area) = self.areas.get_mut(&id) else { return };
        let (networks, routers) = solve(now, area, id, root, &edges, &local);
        area.transit = routers.values().any(|router| router.flags.virtual_end);
        area.networks = networks;
        area.routers = routers;
    }

    /// The first edges, from this router's own adjacencies: they are known before its LSA tells others.
    fn root_edges(&self, area: AreaId) -> Vec<RootEdge> {
        let mut edges = Vec::new();
        for link in self.links.values().filter(|link| link.area == area) {
            let interface = link.interface.index;
            match link.medium {
                Medium::PointToPoint | Medium::PointToMultipoint => {
                    let adjacent = link.neighbors.values().filter(|neighbor| neighbor.is_adjacent());
                    edges.extend(adjacent.map(|neighbor| RootEdge {
                        to: Vertex::Router(neighbor.router),
                        cost: link.cost,
                        hop: Hop { interface, gateway: Some(neighbor.address) },
                    }));
                }
                Medium::Virtual => edges.extend(self.virtual_edges(link)),
                Medium::Broadcast | Medium::NonBroadcast => {
                    edges.extend(link.is_transit().then_some(RootEdge {
                        to: Vertex::Network(link.designated),
                        cost: link.cost,
                        hop: Hop { interface, gateway: None },
                    }));
                }
                Medium::Loopback => {}
            }
        }
        edges
    }

    /// Packets take the way through the transit area.
    fn virtual_edges(&self, link: &Link) -> Vec<RootEdge> {
        let LinkId::Virtual { transit, peer } = link.id else { return Vec::new() };
        let route = self.areas.get(&transit).and_then(|area| area.routers.get(&peer));
        let adjacent = link.neighbors.values().any(Neighbor::is_adjacent);
        let hops = route.filter(|_| adjacent).map_or(&[][..], |route| &route.hops);
        let edge = |hop: &Hop| RootEdge { to: Vertex::Router(peer), cost: link.cost, hop: *hop };
        hops.iter().map(edge).collect()
    }

    fn routers_of_areas(&mut self) {
        let mut all: BTreeMap<RouterId, Vec<RouterRoute>> = BTreeMap::new();
        for area in self.areas.values() {
            for (id, route) in &area.routers {
                if route.flags.border || route.flags.boundary {
                    all.entry(*id).or_default().push(route.clone());
                }
            }
        }
        self.routes.routers = all;
    }

    /// Areas whose summaries are looked at: the backbone alone, for a border router.
    fn summary_areas(&self) -> Vec<AreaId> {
        if self.is_border() {
            return vec![AreaId::BACKBONE];
        }
        self.areas.keys().copied().collect()
    }

    /// RFC 2328 §16.2
    fn add_inter_area(&mut self, now: Instant, networks: &mut BTreeMap<Prefix, NetworkRoute>) {
        let own = self.router_id();
        for id in self.summary_areas() {
            let Some(area) = self.areas.get(&id) else { continue };
            let mut boundary: Vec<(RouterId, RouterRoute)> = Vec::new();
            for kind in [LsaType::Summary, LsaType::AsbrSummary] {
                for (key, entry) in area.db.of_kind(kind) {
                    let LsaBody::Summary(summary) = &*entry.lsa().body else { continue };
                    if key.router == own || INFINITY <= summary.metric || entry.is_max_age(now) {
                        continue;
                    }
                    let Some(border) = area.routers.get(&key.router).filter(|r| r.flags.border) else {
                        continue;
                    };
                    let cost = border.cost.saturating_add(summary.metric);
                    if kind == LsaType::AsbrSummary {
                        let flags = RouterFlags { boundary: true, ..RouterFlags::default() };
                        let route = RouterRoute {
                            kind: PathKind::InterArea,
                            area: id,
                            cost,
                            flags,
                            hops: border.hops.clone(),
                        };
                        boundary.push((RouterId(key.id), route));
                        continue;
                    }
                    let prefix = crate::wire::network_of(key.id, summary.mask);
                    if self.is_own_active_range(prefix) {
                        continue;
                    }
                    let route = NetworkRoute {
                        kind: PathKind::InterArea,
                        area: id,
                        cost,
                        type_2_cost: 0,
                        hops: border.hops.clone(),
                        tag: 0,
                        origin: Some(key),
                    };
                    offer(networks, prefix, route);
                }
            }
            for (router, route) in boundary {
                add_router(&mut self.routes.routers, router, route);
            }
        }
    }

    /// Ways through areas that carry virtual links may be shorter than those of the backbone. RFC 2328 §16.3.
    fn add_transit_areas(&mut self, now: Instant, networks: &mut BTreeMap<Prefix, NetworkRoute>) {
        let own = self.router_id();
        if !self.is_border() {
            return;
        }
        for area in self.areas.values().filter(|area| area.transit) {
            for (key, entry) in area.db.of_kind(LsaType::Summary) {
                let LsaBody::Summary(summary) = &*entry.lsa().body else { continue };
                if key.router == own || INFINITY <= summary.metric || entry.is_max_age(now) {
                    continue;
                }
                let prefix = crate::wire::network_of(key.id, summary.mask);
                let Some(border) = area.routers.get(&key.router).filter(|r| r.flags.border) else { continue };
                let Some(known) = networks.get_mut(&prefix) else { continue };
                if !known.area.is_backbone() || PathKind::InterArea < known.kind || known.hops.is_empty() {
                    continue;
                }
                let cost = border.cost.saturating_add(summary.metric);
                if cost < known.cost {
                    known.cost = cost;
                    known.hops = border.hops.clone();
                } else if cost == known.cost {
                    known.merge(&border.hops);
                }
            }
        }
    }

    /// Tells the routing table what differs from what it was told.
    fn tell_routes(&mut self) {
        let mut told = BTreeMap::new();
        for (prefix, route) in &self.routes.networks {
            if let Some(route) = announced(*prefix, route) {
                told.insert(*prefix, route);
            }
        }
        let before = std::mem::take(&mut self.routes.told);
        for prefix in before.keys().filter(|prefix| !told.contains_key(prefix)) {
            self.outputs.push_back(Output::Route(RouteChange::Remove(*prefix)));
        }
        for (prefix, route) in &told {
            if before.get(prefix) != Some(route) {
                self.outputs.push_back(Output::Route(RouteChange::Upsert(route.clone())));
            }
        }
        self.routes.told = told;
    }

    pub(crate) fn withdraw_routes(&mut self) {
        for prefix in std::mem::take(&mut self.routes.told).into_keys() {
            self.outputs.push_back(Output::Route(RouteChange::Remove(prefix)));
        }
        self.routes = RouteTable::default();
    }
}

/// None: the network is at this router, where the kernel knows it.
fn announced(prefix: Prefix, route: &NetworkRoute) -> Option<Route> {
    if route.hops.is_empty() || route.hops.iter().any(|hop| hop.gateway.is_none()) {
        return None;
    }
    let next_hop = |hop: &Hop| NextHop { gateway: hop.gateway, interface: Some(hop.interface), weight: 1 };
    let mut next_hops: Vec<NextHop> = route.hops.iter().map(next_hop).collect();
    next_hops.sort_unstable();
    next_hops.dedup();
    let metric = match route.kind {
        PathKind::IntraArea | PathKind::InterArea | PathKind::External1 => route.cost,
        PathKind::External2 => route.type_2_cost,
    };
    Some(Route { prefix, next_hops, metric, tag: route.tag, distance: None })
}

fn add_router(table: &mut BTreeMap<RouterId, Vec<RouterRoute>>, id: RouterId, route: RouterRoute) {
    let known = table.entry(id).or_default();
    // An intra-area path of the same area counts before one through a border router.
    match known.iter_mut().find(|other| other.area == route.area) {
        Some(other) if other.kind < route.kind && other.flags.boundary => {}
        Some(other) if other.kind == route.kind && other.cost < route.cost => {}
        Some(other) if other.kind == route.kind && other.cost == route.cost => {
            for hop in route.hops {
                if let Err(at) = other.hops.binary_search(&hop) {
                    other.hops.insert(at, hop);
                }
            }
        }
        Some(other) if other.kind == route.kind => *other = route,
        Some(_) | None => known.push(route),
    }
}

/// What this router is itself on: its cost, wherever its own LSA stands.
fn own_networks(link: &Link) -> Vec<(Prefix, u32)> {
    let up = link.state != InterfaceState::Down && !link.is_virtual();
    let all =
        link.interface.addresses.iter().filter(|own| up && own.peer.is_none() && !own.address.is_loopback());
    all.map(|own| (own.network(), u32::from(link.cost))).collect()
}

type Solution = (BTreeMap<Prefix, NetworkRoute>, BTreeMap<RouterId, RouterRoute>);

fn solve(
    now: Instant,
    area: &Area,
    id: AreaId,
    root: RouterId,
    edges: &[RootEdge],
    local: &[(Prefix, u32)],
) -> Solution {
    let routers = area.db.of_kind(LsaType::Router).filter(|(_, entry)| !entry.is_max_age(now));
    let routers = routers.filter_map(|(key, entry)| match &*entry.lsa().body {
        LsaBody::Router(lsa) => Some((key.router, lsa)),
        LsaBody::Network(_) | LsaBody::Summary(_) | LsaBody::External(_) | LsaBody::Opaque(_) => None,
    });
    let networks = area.db.of_kind(LsaType::Network).filter(|(_, entry)| !entry.is_max_age(now));
    let networks = networks.filter_map(|(key, entry)| match &*entry.lsa().body {
        LsaBody::Network(lsa) => Some((key.id, lsa)),
        LsaBody::Router(_) | LsaBody::Summary(_) | LsaBody::External(_) | LsaBody::Opaque(_) => None,
    });
    let tree = Graph::new(routers, networks).tree(root, edges);
    let mut found: BTreeMap<Prefix, NetworkRoute> = BTreeMap::new();
    let intra = |cost, hops: &[Hop]| NetworkRoute {
        kind: PathKind::IntraArea,
        area: id,
        cost,
        type_2_cost: 0,
        hops: hops.to_vec(),
        tag: 0,
        origin: None,
    };
    for (prefix, cost) in local {
        offer(&mut found, *prefix, intra(*cost, &[]));
    }
    let mut reached = BTreeMap::new();
    for (network, lsa) in tree.networks() {
        let prefix = crate::wire::network_of(network.name, lsa.mask);
        // A mask of 32 ones says that the network is for transit only (RFC 6860).
        if prefix.len() < 32 {
            offer(&mut found, prefix, intra(network.cost, network.hops));
        }
    }
    for (router, lsa) in tree.routers() {
        if router.name == root {
            continue;
        }
        for link in lsa.links.iter().filter(|link| link.kind == LinkKind::Stub) {
            let prefix = crate::wire::network_of(link.id, link.data);
            offer(&mut found, prefix, intra(router.cost.saturating_add(link.metric.into()), router.hops));
        }
        let (kind, cost, hops) = (PathKind::IntraArea, router.cost, router.hops.to_vec());
        reached.insert(router.name, RouterRoute { kind, area: id, cost, flags: lsa.flags, hops });
    }
    (found, reached)
}
