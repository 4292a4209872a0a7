//! Trees against someone who tries every path: distances and first hops, on random graphs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use millrace_ospf::spf::{Graph, Hop, RootEdge, Vertex};
use millrace_ospf::wire::{LinkKind, Network, RouterFlags, RouterId, RouterLink, RouterLsa};
use millrace_proto::IfIndex;
use proptest::prelude::*;

fn id(router: usize) -> RouterId {
    RouterId(Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(router).expect("small")))
}

/// The address of `router` on LAN `lan`; the one of its first member names the LAN.
fn on_lan(lan: usize, router: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xac10_0000 + u32::try_from(lan * 256 + router).expect("small"))
}

#[derive(Clone, Debug)]
struct Plan {
    routers: usize,
    /// From, to, cost there, cost back; one way only if the last says so.
    links: Vec<(usize, usize, u16, u16, bool)>,
    /// Members with their costs.
    lans: Vec<BTreeMap<usize, u16>>,
}

fn plan() -> impl Strategy<Value = Plan> {
    (2usize..14).prop_flat_map(|routers| {
        let link = (0..routers, 0..routers, 1u16..6, 1u16..6, proptest::bool::weighted(0.1));
        let lan = proptest::collection::btree_map(0..routers, 1u16..6, 2..5);
        (proptest::collection::vec(link, 0..24), proptest::collection::vec(lan, 0..4)).prop_map(
            move |(links, lans)| {
                // One link a pair: parallel ones would share what tells their hops apart.
                let mut seen = BTreeSet::new();
                let fresh = |a: usize, b: usize| a != b && seen.insert((a.min(b), a.max(b)));
                let mut fresh = fresh;
                let links = links.into_iter().filter(|(a, b, ..)| fresh(*a, *b)).collect();
                let lans = lans.into_iter().filter(|lan| 2 <= lan.len()).collect();
                Plan { routers, links, lans }
            },
        )
    })
}

fn lsas(plan: &Plan) -> (Vec<RouterLsa>, Vec<(Ipv4Addr, Network)>) {
    let mut routers = vec![RouterLsa { flags: RouterFlags::default(), links: Vec::new() }; plan.routers];
    let mut join = |from: usize, to: usize, metric: u16| {
        let link = RouterLink { kind: LinkKind::PointToPoint, id: id(to).0, data: id(from).0, metric };
        routers[from].links.push(link);
    };
    for (a, b, there, back, one_way) in &plan.links {
        join(*a, *b, *there);
        if !one_way {
            join(*b, *a, *back);
        }
    }
    let mut networks = Vec::new();
    for (lan, members) in plan.lans.iter().enumerate() {
        let name = on_lan(lan, *members.keys().next().expect("two members"));
        for (router, metric) in members {
            let data = on_lan(lan, *router);
            routers[*router].links.push(RouterLink {
                kind: LinkKind::Transit,
                id: name,
                data,
                metric: *metric,
            });
        }
        let network = Network {
            mask: Ipv4Addr::new(255, 255, 255, 0),
            routers: members.keys().map(|r| id(*r)).collect(),
        };
        networks.push((name, network));
    }
    (routers, networks)
}

/// Distances from `from` by relaxing every edge as often as there are vertices (Bellman and Ford).
fn distances(plan: &Plan, from: usize) -> Vec<u32> {
    let mut best = vec![u32::MAX; plan.routers];
    best[from] = 0;
    for _ in 0..plan.routers {
        let mut relax = |a: usize, b: usize, cost: u16| {
            best[b] = best[b].min(best[a].saturating_add(cost.into()));
        };
        for (a, b, there, back, one_way) in &plan.links {
            if !one_way {
                relax(*a, *b, *there);
                relax(*b, *a, *back);
            }
        }
        for lan in &plan.lans {
            for (a, cost) in lan {
                for b in lan.keys().filter(|b| *b != a) {
                    relax(*a, *b, *cost);
                }
            }
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn trees_are_the_oracles(plan in plan()) {
        let (routers, networks) = lsas(&plan);
        let graph = Graph::new(
            routers.iter().enumerate().map(|(at, lsa)| (id(at), lsa)),
            networks.iter().map(|(name, lsa)| (*name, lsa)),
        );
        // The root is router 0; its interfaces are numbered by link, then by LAN.
        let index = |at: usize| IfIndex(u32::try_from(at).unwrap());
        let mut edges = Vec::new();
        // First hops: (cost to get there, hop, router it leads to).
        let mut first: Vec<(u32, Hop, usize)> = Vec::new();
        for (at, (a, b, there, back, one_way)) in plan.links.iter().enumerate() {
            let (to, cost) = match (a, b) { (0, b) => (*b, *there), (a, 0) => (*a, *back), _ => continue };
            let hop = Hop { interface: index(at), gateway: Some(id(to).0) };
            // A link that only one end tells of is no edge, whatever the root believes.
            edges.push(RootEdge { to: Vertex::Router(id(to)), cost, hop });
            if !one_way { first.push((cost.into(), hop, to)); }
            else { let leads_back = *a != 0; if leads_back { edges.pop(); } }
        }
        for (lan, members) in plan.lans.iter().enumerate() {
            let Some(cost) = members.get(&0) else { continue };
            let interface = index(1000 + lan);
            let (name, _) = networks[lan];
            edges.push(RootEdge { to: Vertex::Network(name), cost: *cost, hop: Hop { interface, gateway: None } });
            for to in members.keys().filter(|to| **to != 0) {
                first.push(((*cost).into(), Hop { interface, gateway: Some(on_lan(lan, *to)) }, *to));
            }
        }
        let expected = distances(&plan, 0);
        let from: Vec<Vec<u32>> = (0..plan.routers).map(|r| distances(&plan, r)).collect();
        let tree = graph.tree(id(0), &edges);
        let reached: BTreeMap<RouterId, (u32, Vec<Hop>)> =
            tree.routers().map(|(reached, _)| (reached.name, (reached.cost, reached.hops.to_vec()))).collect();
        for router in 1..plan.routers {
            let cost = expected[router];
            // Every first hop from which the rest of the way is as short as it can be.
            let hops: BTreeSet<Hop> = first.iter()
                .filter(|(first_cost, _, to)| first_cost.saturating_add(from[*to][router]) == cost)
                .map(|(_, hop, _)| *hop).collect();
            let wanted = (cost != u32::MAX).then(|| (cost, hops.into_iter().collect::<Vec<_>>()));
            prop_assert_eq!(reached.get(&id(router)).cloned(), wanted, "router {}", router);
        }
    }
}
