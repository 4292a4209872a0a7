//! The state as operators see it: `show ospf`, the API and the metrics read these.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::{IfIndex, Instant};
use serde::Serialize;

use crate::config::AreaKind;
use crate::link::{InterfaceState, Link, LinkId, Medium};
use crate::lsdb::{Entry, Lsdb};
use crate::machine::{Ospf, Timer};
use crate::neighbor::{NeighborId, NeighborState};
use crate::routes::PathKind;
use crate::spf::Hop;
use crate::stats::{LinkStats, ProcessStats};
use crate::wire::{AreaId, LsaBody, LsaKey, LsaType, RouterId};

/// A duration that is a number of seconds in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    pub router_id: Option<RouterId>,
    pub border_router: bool,
    pub boundary_router: bool,
    /// Others are asked to route around it.
    pub stub_router: bool,
    pub areas: Vec<AreaView>,
    pub external_lsas: usize,
    pub neighbors: usize,
    pub full_neighbors: usize,
    pub routes: usize,
    pub spf: SpfView,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AreaView {
    pub id: AreaId,
    /// `normal`, `stub`, `totally-stubby`, `nssa`, `totally-nssa`.
    pub kind: &'static str,
    pub interfaces: usize,
    pub full_neighbors: usize,
    pub routers: usize,
    /// By name of the type.
    pub lsas: BTreeMap<&'static str, usize>,
    /// Seconds, of the oldest LSA.
    pub oldest_lsa: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SpfView {
    pub stats: ProcessStats,
    /// Ago.
    pub last_run: Option<Seconds>,
    /// Until the next.
    pub next_run: Option<Seconds>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NeighborView {
    pub router_id: RouterId,
    pub address: Ipv4Addr,
    pub interface: String,
    pub area: AreaId,
    pub state: NeighborState,
    /// In this state.
    pub since: Seconds,
    pub priority: u8,
    /// `dr`, `backup`, `other`; `-` where none is elected.
    pub role: &'static str,
    /// Until it counts as gone.
    pub dead_in: Option<Seconds>,
    pub requests: usize,
    pub unacknowledged: usize,
    pub retransmissions: u64,
    /// How often it left Full.
    pub losses: u64,
    pub bfd: bool,
    /// It restarts, and is helped for this long.
    pub helped_for: Option<Seconds>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct InterfaceView {
    pub name: String,
    pub index: IfIndex,
    pub address: Ipv4Addr,
    pub network: Option<Prefix>,
    pub area: AreaId,
    pub network_type: Medium,
    pub state: InterfaceState,
    pub cost: u16,
    pub priority: u8,
    pub designated_router: Option<Ipv4Addr>,
    pub backup_designated_router: Option<Ipv4Addr>,
    /// Seconds.
    pub hello_interval: u16,
    /// Seconds.
    pub dead_interval: u32,
    pub passive: bool,
    pub neighbors: usize,
    pub full_neighbors: usize,
    pub next_hello: Option<Seconds>,
    pub stats: LinkStats,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LsaView {
    /// None: flooded through the whole domain.
    pub area: Option<AreaId>,
    #[serde(rename = "type")]
    pub kind: LsaType,
    pub id: Ipv4Addr,
    pub advertising_router: RouterId,
    /// Seconds.
    pub age: u16,
    /// As hexadecimal digits are usual for it, shown as `0x80000001`.
    pub sequence: String,
    pub checksum: u16,
    pub len: usize,
    pub body: LsaBody,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteView {
    pub prefix: Prefix,
    pub kind: PathKind,
    pub area: AreaId,
    pub cost: u32,
    pub type_2_cost: Option<u32>,
    pub tag: u32,
    /// Empty: this router is on the network.
    pub next_hops: Vec<Hop>,
}

impl Ospf {
    pub fn summary(&self, now: Instant) -> Summary {
        let neighbors = || self.links.values().flat_map(|link| link.neighbors.values());
        Summary {
            router_id: self.router_id,
            border_router: self.is_border(),
            boundary_router: self.areas.keys().any(|area| self.is_boundary(*area)),
            stub_router: self.is_stub_router(),
            areas: self.areas.keys().map(|area| self.area_view(now, *area)).collect(),
            external_lsas: self.external.len(),
            neighbors: neighbors().count(),
            full_neighbors: neighbors().filter(|n| n.state == NeighborState::Full).count(),
            routes: self.routes.networks.len(),
            spf: self.spf(now),
        }
    }

    pub fn spf(&self, now: Instant) -> SpfView {
        SpfView {
            stats: self.stats,
            last_run: self.last_spf.map(|at| Seconds(now.since(at))),
            next_run: self.timers.get(Timer::Spf).map(|at| Seconds(at.since(now))),
        }
    }

    fn area_view(&self, now: Instant, id: AreaId) -> AreaView {
        let links = || self.links.values().filter(move |link| link.area == id);
        let area = self.areas.get(&id);
        let mut lsas = BTreeMap::new();
        let mut oldest_lsa = 0;
        for (key, entry) in area.into_iter().flat_map(|area| area.db.iter()) {
            *lsas.entry(key.kind.name()).or_insert(0) += 1;
            oldest_lsa = entry.age(now).max(oldest_lsa);
        }
        AreaView {
            id,
            kind: match self.config.area_kind(id) {
                AreaKind::Normal => "normal",
                AreaKind::Stub { summaries: true } => "stub",
                AreaKind::Stub { summaries: false } => "totally-stubby",
                AreaKind::Nssa { summaries: true, .. } => "nssa",
                AreaKind::Nssa { summaries: false, .. } => "totally-nssa",
            },
            interfaces: links().count(),
            full_neighbors: links().map(full).sum(),
            routers: area.map_or(0, |area| area.routers.len()),
            lsas,
            oldest_lsa,
        }
    }

    pub fn neighbors(&self, now: Instant) -> Vec<NeighborView> {
        let mut views = Vec::new();
        for link in self.links.values() {
            for (key, neighbor) in &link.neighbors {
                let id = NeighborId { link: link.id, key: *key };
                let role = if !link.medium.elects() {
                    "-"
                } else if neighbor.address == link.designated {
                    "dr"
                } else if neighbor.address == link.backup {
                    "backup"
                } else {
                    "other"
                };
                views.push(NeighborView {
                    router_id: neighbor.router,
                    address: neighbor.address,
                    interface: name(link),
                    area: link.area,
                    state: neighbor.state,
                    since: Seconds(now.since(neighbor.since)),
                    priority: neighbor.priority,
                    role,
                    dead_in: self.timers.get(Timer::Inactivity(id)).map(|at| Seconds(at.since(now))),
                    requests: neighbor.requests.len(),
                    unacknowledged: neighbor.unacknowledged.len(),
                    retransmissions: neighbor.retransmissions,
                    losses: neighbor.losses,
                    bfd: neighbor.bfd,
                    helped_for: neighbor.helped_until.map(|until| Seconds(until.since(now))),
                });
            }
        }
        views
    }

    pub fn interfaces(&self, now: Instant) -> Vec<InterfaceView> {
        let somebody = |address: Ipv4Addr| (!address.is_unspecified()).then_some(address);
        let view = |link: &Link| InterfaceView {
            name: name(link),
            index: link.interface.index,
            address: link.address,
            network: link.network,
            area: link.area,
            network_type: link.medium,
            state: link.state,
            cost: link.cost,
            priority: link.config.priority,
            designated_router: somebody(link.designated),
            backup_designated_router: somebody(link.backup),
            hello_interval: link.config.hello_interval.get(),
            dead_interval: link.config.dead_interval,
            passive: link.config.passive,
            neighbors: link.neighbors.len(),
            full_neighbors: full(link),
            next_hello: self.timers.get(Timer::Hello(link.id)).map(|at| Seconds(at.since(now))),
            stats: link.stats,
        };
        self.links.values().map(view).collect()
    }

    /// Every LSA, or those of one type.
    pub fn lsas(&self, now: Instant, kind: Option<LsaType>) -> Vec<LsaView> {
        let mut views = Vec::new();
        let mut take = |area: Option<AreaId>, db: &Lsdb| {
            let wanted = db.iter().filter(|(key, _)| kind.is_none_or(|kind| key.kind == kind));
            views.extend(wanted.map(|(key, entry)| lsa_view(now, area, key, entry)));
        };
        for (id, area) in &self.areas {
            take(Some(*id), &area.db);
        }
        for link in self.links.values() {
            take(Some(link.area), &link.db);
        }
        take(None, &self.external);
        views
    }

    /// Names, instances and contents of everything but what is link-local: equal wherever databases are.
    pub fn database_digest(&self, now: Instant) -> Vec<(Option<AreaId>, LsaKey, i32, u16)> {
        let mut all = Vec::new();
        let mut take = |area: Option<AreaId>, db: &Lsdb| {
            let live = db.iter().filter(|(_, entry)| !entry.is_max_age(now));
            all.extend(live.map(|(key, entry)| {
                let header = entry.lsa().header;
                (area, key, header.sequence, header.checksum)
            }));
        };
        for (id, area) in &self.areas {
            take(Some(*id), &area.db);
        }
        take(None, &self.external);
        all
    }

    pub fn routes(&self) -> impl Iterator<Item = RouteView> {
        self.routes.networks.iter().map(|(prefix, route)| RouteView {
            prefix: *prefix,
            kind: route.kind,
            area: route.area,
            cost: route.cost,
            type_2_cost: (route.kind == PathKind::External2).then_some(route.type_2_cost),
            tag: route.tag,
            next_hops: route.hops.clone(),
        })
    }

    /// LSAs of each area and, under None, of the whole domain.
    pub fn lsa_counts(&self) -> Vec<(Option<AreaId>, usize)> {
        let areas = self.areas.iter().map(|(id, area)| (Some(*id), area.db.len()));
        areas.chain(std::iter::once((None, self.external.len()))).collect()
    }
}

fn full(link: &Link) -> usize {
    link.neighbors.values().filter(|neighbor| neighbor.state == NeighborState::Full).count()
}

fn name(link: &Link) -> String {
    match link.id {
        LinkId::Interface(_) => link.interface.name.clone(),
        LinkId::Virtual { transit, peer } => format!("virtual {peer} through {transit}"),
    }
}

fn lsa_view(now: Instant, area: Option<AreaId>, key: LsaKey, entry: &Entry) -> LsaView {
    let lsa = entry.lsa();
    LsaView {
        area,
        kind: key.kind,
        id: key.id,
        advertising_router: key.router,
        age: entry.age(now),
        sequence: format!("{:#010x}", lsa.header.sequence),
        checksum: lsa.header.checksum,
        len: lsa.len(),
        body: (*lsa.body).clone(),
    }
}
