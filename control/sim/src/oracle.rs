//! What the tables should say: shortest paths by someone who sees the whole network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use millrace_net::Prefix;

use crate::network::Network;
use crate::router::Router;
use crate::segment::SegmentState;
use crate::topology;

/// A distance, and every first hop it is reached by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Best {
    pub metric: u32,
    pub gateways: BTreeSet<Ipv4Addr>,
}

/// How a protocol measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measure {
    /// What is this far is out of reach.
    pub infinity: u32,
}

/// Where a table and the oracle differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    pub router: usize,
    pub prefix: Prefix,
    pub expected: Option<Best>,
    pub found: Option<Best>,
}

/// For each running router, every network it is not on itself and can reach.
///
/// A network costs those on it what sending there costs; each hop adds the cost of the segment it crosses.
pub fn tables<R: Router>(network: &Network<R>, measure: Measure) -> Vec<BTreeMap<Prefix, Best>> {
    let topology = network.topology();
    let mut tables: Vec<BTreeMap<Prefix, Best>> = (0..topology.routers)
        .map(|r| {
            let cost = |prefix: &Prefix| {
                let own = topology.interfaces(r);
                let on = own.iter().find(|(i, _)| i.addresses.iter().any(|a| a.network() == *prefix));
                on.map_or(1, |(_, cost)| u32::from(*cost))
            };
            let best = |prefix: Prefix| (prefix, Best { metric: cost(&prefix), gateways: BTreeSet::new() });
            network.connected(r).into_iter().map(best).collect()
        })
        .collect();
    let connected: Vec<BTreeSet<Prefix>> = (0..topology.routers).map(|r| network.connected(r)).collect();
    // As many rounds as the longest path has hops (Bellman and Ford).
    let mut learned = true;
    while std::mem::take(&mut learned) {
        for (s, (members, cost)) in topology.segments.iter().enumerate() {
            if network.segment_state(s) != SegmentState::Up {
                continue;
            }
            for (at, &teacher) in members.iter().enumerate() {
                let gateway = topology::member_address(s, at);
                for &pupil in members.iter().filter(|pupil| **pupil != teacher) {
                    if !network.is_running(teacher) || !network.is_running(pupil) {
                        continue;
                    }
                    for (prefix, best) in tables[teacher].clone() {
                        if connected[pupil].contains(&prefix) {
                            continue;
                        }
                        let metric = best.metric + u32::from(*cost);
                        learned |= learn(&mut tables[pupil], prefix, metric, gateway, measure);
                    }
                }
            }
        }
    }
    for (table, connected) in tables.iter_mut().zip(&connected) {
        table.retain(|prefix, _| !connected.contains(prefix));
    }
    tables
}

/// Says whether the table has changed.
fn learn(
    table: &mut BTreeMap<Prefix, Best>,
    prefix: Prefix,
    metric: u32,
    gateway: Ipv4Addr,
    measure: Measure,
) -> bool {
    if measure.infinity <= metric {
        return false;
    }
    match table.get_mut(&prefix) {
        Some(best) if best.metric < metric => false,
        Some(best) if best.metric == metric => best.gateways.insert(gateway),
        Some(_) | None => {
            table.insert(prefix, Best { metric, gateways: BTreeSet::from([gateway]) });
            true
        }
    }
}

/// Where the routers' tables differ from the oracle's. With `max_paths` next hops a table may hold any of the best.
pub fn mismatches<R: Router>(network: &Network<R>, measure: Measure, max_paths: usize) -> Vec<Mismatch> {
    let mut all = Vec::new();
    for (router, table) in tables(network, measure).into_iter().enumerate() {
        let connected = network.connected(router);
        let found: BTreeMap<Prefix, Best> = network
            .routes(router)
            .iter()
            .filter(|(prefix, _)| !connected.contains(*prefix))
            .map(|(prefix, route)| {
                let gateways = route.next_hops.iter().filter_map(|hop| hop.gateway).collect();
                (*prefix, Best { metric: route.metric, gateways })
            })
            .collect();
        let prefixes: BTreeSet<Prefix> = table.keys().chain(found.keys()).copied().collect();
        for prefix in prefixes {
            let (expected, found) = (table.get(&prefix), found.get(&prefix));
            let same = match (expected, found) {
                (Some(expected), Some(found)) => {
                    expected.metric == found.metric
                        && found.gateways.is_subset(&expected.gateways)
                        && found.gateways.len() == expected.gateways.len().min(max_paths)
                }
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !same {
                all.push(Mismatch { router, prefix, expected: expected.cloned(), found: found.cloned() });
            }
        }
    }
    all
}
