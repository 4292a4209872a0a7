//! Shortest paths over one area. RFC 2328 §16.1, with all equal-cost next hops.
//!
//! LSAs become a graph once ([`Graph::new`]), in which an edge exists if both ends say so; then Dijkstra's algorithm runs
//! over numbers. Networks are vertices: a router pays to enter one, nobody pays to leave it.
//!
//! ```text
//!   root ──10──▶ network ──0──▶ router ──5──▶ router
//!           hop: (eth0, –)      hop: (eth0, router's address on the network), inherited from there on
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;

use millrace_proto::IfIndex;
use serde::Serialize;

use crate::wire::{LinkKind, Network, RouterId, RouterLsa};

/// A way out of the root: without a gateway its destination is on the link itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Hop {
    pub interface: IfIndex,
    pub gateway: Option<Ipv4Addr>,
}

/// An edge from the root, as the root's own adjacencies have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootEdge {
    pub to: Vertex,
    pub cost: u16,
    pub hop: Hop,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Vertex {
    Router(RouterId),
    /// By its designated router's address.
    Network(Ipv4Addr),
}

/// An area as numbers: routers first, networks behind them.
#[derive(Clone, Debug)]
pub struct Graph<'l> {
    routers: Vec<(RouterId, &'l RouterLsa)>,
    networks: Vec<(Ipv4Addr, &'l Network)>,
    /// Where the edges of each vertex begin; one more than there are vertices.
    first: Vec<u32>,
    edges: Vec<Edge>,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    to: u32,
    cost: u16,
    /// From a network: the address of the router it leads to.
    address: Ipv4Addr,
}

/// Distances and first hops from the root.
#[derive(Clone, Debug)]
pub struct Tree<'l> {
    graph: Graph<'l>,
    cost: Vec<u32>,
    hops: Vec<Vec<Hop>>,
}

/// One vertex that can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Reached<'t, T> {
    pub name: T,
    pub cost: u32,
    /// Empty: the root itself.
    pub hops: &'t [Hop],
}

const UNREACHED: u32 = u32::MAX;

impl<'l> Graph<'l> {
    /// At most one LSA a router and a network; of several of one network the first counts.
    pub fn new(
        routers: impl IntoIterator<Item = (RouterId, &'l RouterLsa)>,
        networks: impl IntoIterator<Item = (Ipv4Addr, &'l Network)>,
    ) -> Self {
        let mut routers: Vec<_> = routers.into_iter().collect();
        routers.sort_unstable_by_key(|(id, _)| *id);
        routers.dedup_by_key(|(id, _)| *id);
        let mut networks: Vec<_> = networks.into_iter().collect();
        networks.sort_by_key(|(id, _)| *id);
        networks.dedup_by_key(|(id, _)| *id);
        let mut graph = Self { routers, networks, first: vec![0], edges: Vec::new() };
        for at in 0..graph.routers.len() {
            let (id, lsa) = graph.routers[at];
            for link in &lsa.links {
                let to = match link.kind {
                    LinkKind::PointToPoint | LinkKind::Virtual => graph.joined(id, link.id, link.kind),
                    LinkKind::Transit => graph.on_network(id, link.id),
                    LinkKind::Stub => None,
                };
                let edge = to.map(|to| Edge { to, cost: link.metric, address: Ipv4Addr::UNSPECIFIED });
                graph.edges.extend(edge);
            }
            graph.first.push(number(graph.edges.len()));
        }
        for at in 0..graph.networks.len() {
            let (id, network) = graph.networks[at];
            for router in &network.routers {
                graph.edges.extend(graph.router_on(*router, id));
            }
            graph.first.push(number(graph.edges.len()));
        }
        graph
    }

    fn router(&self, id: RouterId) -> Option<usize> {
        self.routers.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    fn network(&self, id: Ipv4Addr) -> Option<usize> {
        self.networks.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    /// The router at the far end, if its LSA has a link of this kind back.
    fn joined(&self, from: RouterId, to: Ipv4Addr, kind: LinkKind) -> Option<u32> {
        let at = self.router(RouterId(to))?;
        let (_, lsa) = self.routers[at];
        let back = lsa.links.iter().any(|link| link.kind == kind && link.id == from.0);
        back.then(|| number(at))
    }

    fn on_network(&self, router: RouterId, network: Ipv4Addr) -> Option<u32> {
        let at = self.network(network)?;
        let (_, lsa) = self.networks[at];
        lsa.routers.contains(&router).then(|| number(self.routers.len() + at))
    }

    fn router_on(&self, router: RouterId, network: Ipv4Addr) -> Option<Edge> {
        let at = self.router(router)?;
        let (_, lsa) = self.routers[at];
        let back = lsa.links.iter().find(|link| link.kind == LinkKind::Transit && link.id == network)?;
        Some(Edge { to: number(at), cost: 0, address: back.data })
    }

    fn find(&self, vertex: Vertex) -> Option<usize> {
        match vertex {
            Vertex::Router(id) => self.router(id),
            Vertex::Network(id) => self.network(id).map(|at| at + self.routers.len()),
        }
    }

    fn edges_of(&self, vertex: usize) -> &[Edge] {
        let range = self.first.get(vertex).zip(self.first.get(vertex + 1));
        range.and_then(|(from, to)| self.edges.get(*from as usize..*to as usize)).unwrap_or_default()
    }

    /// The tree of `root`. Its first edges are `root_edges`; those whose far end does not lead back are left out.
    pub fn tree(self, root: RouterId, root_edges: &[RootEdge]) -> Tree<'l> {
        let vertices = self.routers.len() + self.networks.len();
        let mut search = Search {
            cost: vec![UNREACHED; vertices],
            hops: vec![Vec::new(); vertices],
            queue: BinaryHeap::new(),
            routers: self.routers.len(),
        };
        let own = self.router(root);
        if let Some(cost) = own.and_then(|own| search.cost.get_mut(own)) {
            *cost = 0;
        }
        for edge in root_edges {
            let Some(to) = self.find(edge.to) else { continue };
            let back = match edge.to {
                Vertex::Router(id) => {
                    self.routers.get(to).is_some_and(|(_, lsa)| leads_to(lsa, root)) && id != root
                }
                Vertex::Network(_) => self.networks[to - self.routers.len()].1.routers.contains(&root),
            };
            if back {
                search.offer(to, edge.cost.into(), &[edge.hop], None);
            }
        }
        let mut done = vec![false; vertices];
        while let Some(Reverse((cost, _, vertex))) = search.queue.pop() {
            let vertex = vertex as usize;
            if done[vertex] || search.cost[vertex] != cost {
                continue;
            }
            done[vertex] = true;
            let hops = std::mem::take(&mut search.hops[vertex]);
            for edge in self.edges_of(vertex) {
                let to = edge.to as usize;
                if Some(to) == own || done[to] {
                    continue;
                }
                let address = (self.routers.len() <= vertex).then_some(edge.address);
                search.offer(to, cost.saturating_add(edge.cost.into()), &hops, address);
            }
            search.hops[vertex] = hops;
        }
        Tree { graph: self, cost: search.cost, hops: search.hops }
    }
}

struct Search {
    cost: Vec<u32>,
    hops: Vec<Vec<Hop>>,
    /// Networks come before routers of the same distance, so that every equal-cost parent is seen in time (§16.1 (3)).
    queue: BinaryHeap<Reverse<(u32, bool, u32)>>,
    routers: usize,
}

impl Search {
    /// A way of `cost` to vertex `to`; `address` completes hops that lead onto a link of the root.
    fn offer(&mut self, to: usize, cost: u32, hops: &[Hop], address: Option<Ipv4Addr>) {
        let (Some(best), Some(known)) = (self.cost.get_mut(to), self.hops.get_mut(to)) else { return };
        if *best < cost || cost == UNREACHED {
            return;
        }
        let completed = hops.iter().map(|hop| Hop { gateway: hop.gateway.or(address), ..*hop });
        if cost < *best {
            *best = cost;
            known.clear();
            known.extend(completed);
            self.queue.push(Reverse((cost, to < self.routers, number(to))));
        } else {
            for hop in completed {
                if let Err(at) = known.binary_search(&hop) {
                    known.insert(at, hop);
                }
            }
        }
        if known.len() > 1 && !known.is_sorted() {
            known.sort_unstable();
            known.dedup();
        }
    }
}

impl<'l> Tree<'l> {
    pub fn routers(&self) -> impl Iterator<Item = (Reached<'_, RouterId>, &'l RouterLsa)> {
        let all = self.graph.routers.iter().enumerate();
        all.filter_map(|(at, (id, lsa))| Some((self.reached(at, *id)?, *lsa)))
    }

    pub fn networks(&self) -> impl Iterator<Item = (Reached<'_, Ipv4Addr>, &'l Network)> {
        let all = self.graph.networks.iter().enumerate();
        all.filter_map(|(at, (id, lsa))| Some((self.reached(self.graph.routers.len() + at, *id)?, *lsa)))
    }

    fn reached<T>(&self, at: usize, name: T) -> Option<Reached<'_, T>> {
        let (cost, hops) = (self.cost.get(at)?, self.hops.get(at)?);
        (*cost != UNREACHED).then_some(Reached { name, cost: *cost, hops })
    }
}

fn leads_to(lsa: &RouterLsa, root: RouterId) -> bool {
    let joins = |kind| matches!(kind, LinkKind::PointToPoint | LinkKind::Virtual);
    lsa.links.iter().any(|link| joins(link.kind) && link.id == root.0)
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
