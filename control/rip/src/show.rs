//! The state as operators see it: `show rip`, the API and the metrics read these.

use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::{IfIndex, Instant};
use serde::Serialize;

use crate::Metric;
use crate::machine::{Rip, Timer};
use crate::stats::LinkStats;
use crate::table::{OriginKind, State};
use crate::wire::Version;

/// One destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteView {
    pub prefix: Prefix,
    /// As announced; infinity while the route is garbage.
    pub metric: Metric,
    pub tag: u16,
    /// Why this router announces it itself, if it does.
    pub origin: Option<OriginKind>,
    /// What neighbours say, whether it is used or not.
    pub paths: Vec<PathView>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PathView {
    pub neighbor: Ipv4Addr,
    pub interface: IfIndex,
    /// Where packets go; mostly the neighbour itself.
    pub gateway: Ipv4Addr,
    pub metric: Metric,
    pub tag: u16,
    pub in_use: bool,
    pub heard: Duration,
    pub expires_in: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NeighborView {
    pub address: Ipv4Addr,
    pub interface: IfIndex,
    pub version: Version,
    /// Ago.
    pub heard: Duration,
    /// Paths it gives, used or not.
    pub routes: usize,
    pub bad_packets: u64,
    pub bad_routes: u64,
    pub bfd: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct InterfaceView {
    pub index: IfIndex,
    pub name: String,
    pub passive: bool,
    pub cost: u8,
    pub neighbors: usize,
    /// Until the next regular update; None where none is sent.
    pub next_update: Option<Duration>,
    pub stats: LinkStats,
}

impl Rip {
    pub fn routes(&self, now: Instant) -> impl Iterator<Item = RouteView> {
        self.table.iter().filter_map(move |(prefix, entry)| {
            let state = entry.state()?;
            let paths = entry.paths().iter().map(|path| PathView {
                neighbor: path.neighbor.address,
                interface: path.neighbor.interface,
                gateway: path.gateway(),
                metric: path.metric,
                tag: path.tag,
                in_use: path.in_use(),
                heard: now.since(path.heard),
                expires_in: path.expires.since(now),
            });
            Some(RouteView {
                prefix,
                metric: state.metric(),
                tag: state.tag(),
                origin: match state {
                    State::Own(origin) => Some(origin.kind),
                    State::Learned { .. } | State::Garbage { .. } => None,
                },
                paths: paths.collect(),
            })
        })
    }

    pub fn neighbors(&self, now: Instant) -> Vec<NeighborView> {
        let mut views = Vec::new();
        for link in self.links.values() {
            let interface = link.interface.index;
            views.extend(link.neighbors.iter().map(|(address, neighbor)| NeighborView {
                address: *address,
                interface,
                version: neighbor.version,
                heard: now.since(neighbor.heard),
                routes: 0,
                bad_packets: neighbor.bad_packets,
                bad_routes: neighbor.bad_routes,
                bfd: neighbor.bfd,
            }));
        }
        for path in self.table.iter().flat_map(|(_, entry)| entry.paths()) {
            let of = |view: &NeighborView| (view.interface, view.address);
            let key = (path.neighbor.interface, path.neighbor.address);
            if let Ok(at) = views.binary_search_by_key(&key, of) {
                views[at].routes += 1;
            }
        }
        views
    }

    pub fn interfaces(&self, now: Instant) -> impl Iterator<Item = InterfaceView> {
        self.links.iter().map(move |(index, link)| InterfaceView {
            index: *index,
            name: link.interface.name.clone(),
            passive: link.config.passive,
            cost: link.config.cost.get(),
            neighbors: link.neighbors.len(),
            next_update: self.timers.get(Timer::Regular(*index)).map(|at| at.since(now)),
            stats: link.stats,
        })
    }

    /// Destinations in the table, those being forgotten among them.
    pub fn route_count(&self) -> usize {
        self.table.len()
    }
}
