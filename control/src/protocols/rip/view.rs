//! RIP as `show rip` and the API have it: the machine's views with names for numbers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_rip::table::OriginKind;
use millrace_rip::{Rip, show, wire};
use serde::{Deserialize, Serialize};

use super::RipHost;
use crate::protocols::host::Seen;

/// `/api/v1/rip`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub interfaces: usize,
    pub neighbors: usize,
    /// Destinations in the table, those being forgotten among them.
    pub routes: usize,
    /// Destinations that lead to a neighbour.
    pub learned: usize,
    /// Destinations this router announces by itself.
    pub own: usize,
    /// Datagrams the kernel would not send.
    pub unsent: u64,
    /// Interfaces no socket could be had on, and why.
    pub problems: BTreeMap<String, String>,
}

/// `/api/v1/rip/neighbors`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Neighbor {
    pub address: Ipv4Addr,
    pub interface: String,
    /// Of the protocol: 1 or 2.
    pub version: u8,
    pub heard_seconds_ago: u64,
    /// Destinations it tells of, whether they are used or not.
    pub routes: usize,
    pub bad_packets: u64,
    pub bad_routes: u64,
    pub bfd: bool,
}

/// `/api/v1/rip/routes`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    pub prefix: Prefix,
    /// 16: out of reach, and announced as such.
    pub metric: u8,
    pub tag: u16,
    /// Why this router announces it by itself: connected, redistributed or default; none of what it has learned.
    pub origin: Option<String>,
    pub paths: Vec<Path>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Path {
    pub neighbor: Ipv4Addr,
    pub interface: String,
    pub gateway: Ipv4Addr,
    pub metric: u8,
    pub tag: u16,
    pub in_use: bool,
    pub heard_seconds_ago: u64,
    pub expires_in_seconds: u64,
}

/// `/api/v1/rip/interfaces`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    pub passive: bool,
    pub cost: u8,
    pub neighbors: usize,
    /// None where no regular updates are sent.
    pub next_update_in_seconds: Option<u64>,
    pub requests_received: u64,
    pub responses_received: u64,
    pub requests_sent: u64,
    pub updates_sent: u64,
    pub triggered_sent: u64,
    pub replies_sent: u64,
    /// Messages that no key was valid for.
    pub unsendable: u64,
    /// By reason; those that never happened are left out.
    pub bad_packets: BTreeMap<String, u64>,
    pub bad_routes: BTreeMap<String, u64>,
    /// Why nothing is received.
    pub problem: Option<String>,
}

pub(super) fn summary(host: &RipHost, machine: &Rip, seen: &Seen<'_>) -> Summary {
    let (mut learned, mut own) = (0, 0);
    for route in machine.routes(seen.now) {
        learned += usize::from(route.paths.iter().any(|path| path.in_use));
        own += usize::from(route.origin.is_some());
    }
    Summary {
        interfaces: machine.interfaces(seen.now).count(),
        neighbors: machine.neighbors(seen.now).len(),
        routes: machine.route_count(),
        learned,
        own,
        unsent: host.unsent,
        problems: host.missing.iter().map(|(index, why)| (seen.name(*index), why.clone())).collect(),
    }
}

pub(super) fn neighbors(machine: &Rip, seen: &Seen<'_>) -> Vec<Neighbor> {
    let of = |neighbor: show::NeighborView| Neighbor {
        address: neighbor.address,
        interface: seen.name(neighbor.interface),
        version: match neighbor.version {
            wire::Version::V1 => 1,
            wire::Version::V2 => 2,
        },
        heard_seconds_ago: neighbor.heard.as_secs(),
        routes: neighbor.routes,
        bad_packets: neighbor.bad_packets,
        bad_routes: neighbor.bad_routes,
        bfd: neighbor.bfd,
    };
    machine.neighbors(seen.now).into_iter().map(of).collect()
}

pub(super) fn routes(machine: &Rip, seen: &Seen<'_>) -> Vec<Route> {
    let path = |path: show::PathView| Path {
        neighbor: path.neighbor,
        interface: seen.name(path.interface),
        gateway: path.gateway,
        metric: path.metric.get(),
        tag: path.tag,
        in_use: path.in_use,
        heard_seconds_ago: path.heard.as_secs(),
        expires_in_seconds: path.expires_in.as_secs(),
    };
    let origin = |origin: OriginKind| {
        match origin {
            OriginKind::Connected(_) => "connected",
            OriginKind::Redistributed => "redistributed",
            OriginKind::Default => "default",
        }
        .to_owned()
    };
    let of = |route: show::RouteView| Route {
        prefix: route.prefix,
        metric: route.metric.get(),
        tag: route.tag,
        origin: route.origin.map(origin),
        paths: route.paths.into_iter().map(path).collect(),
    };
    machine.routes(seen.now).map(of).collect()
}

pub(super) fn interfaces(host: &RipHost, machine: &Rip, seen: &Seen<'_>) -> Vec<Interface> {
    let of = |interface: show::InterfaceView| {
        let stats = interface.stats;
        let happened = |(name, count): (&str, u64)| (count != 0).then(|| (name.to_owned(), count));
        Interface {
            name: interface.name,
            passive: interface.passive,
            cost: interface.cost,
            neighbors: interface.neighbors,
            next_update_in_seconds: interface.next_update.map(|wait| wait.as_secs()),
            requests_received: stats.requests_received,
            responses_received: stats.responses_received,
            requests_sent: stats.requests_sent,
            updates_sent: stats.updates_sent,
            triggered_sent: stats.triggered_sent,
            replies_sent: stats.replies_sent,
            unsendable: stats.unsendable,
            bad_packets: stats.bad_packets.iter().map(|(r, n)| (r.name(), n)).filter_map(happened).collect(),
            bad_routes: stats.bad_routes.iter().map(|(r, n)| (r.name(), n)).filter_map(happened).collect(),
            problem: host.missing.get(&interface.index).cloned(),
        }
    };
    machine.interfaces(seen.now).map(of).collect()
}
