//! How long OSPF takes to calculate shortest paths over one area: LSAs to graph, and graph to tree with all equal-cost next
//! hops. Random connected graphs of point-to-point links, each a link of both ends.
//!
//! `cargo bench -p millrace-bench --bench spf`

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use millrace_ospf::spf::{Graph, Hop, RootEdge, Vertex};
use millrace_ospf::wire::{LinkKind, RouterFlags, RouterId, RouterLink, RouterLsa};
use millrace_proto::{IfIndex, Rng};

fn id(router: usize) -> RouterId {
    RouterId(Ipv4Addr::from_bits(0x0a00_0000 | u32::try_from(router).unwrap_or(0)))
}

/// A ring, and `links` minus that many between random routers, with costs of 1 to 100.
fn area(routers: usize, links: usize) -> Vec<RouterLsa> {
    let mut lsas = vec![RouterLsa { flags: RouterFlags::default(), links: Vec::new() }; routers];
    let mut rng = Rng::new(1);
    let mut join = |a: usize, b: usize, metric: u16| {
        for (from, to) in [(a, b), (b, a)] {
            let link = RouterLink { kind: LinkKind::PointToPoint, id: id(to).0, data: id(from).0, metric };
            lsas[from].links.push(link);
        }
    };
    for at in 0..links {
        let draw = |rng: &mut Rng| usize::try_from(rng.below(routers as u64)).unwrap_or(0);
        let (a, b) = if at < routers { (at, (at + 1) % routers) } else { (draw(&mut rng), draw(&mut rng)) };
        let metric = 1 + u16::try_from(rng.below(100)).unwrap_or(0);
        if a != b {
            join(a, b, metric);
        }
    }
    lsas
}

fn spf(c: &mut Criterion) {
    let mut group = c.benchmark_group("spf");
    group.sample_size(20);
    for (routers, links) in [(1_000, 3_000), (10_000, 30_000)] {
        let lsas = area(routers, links);
        let edge = |(at, link): (usize, &RouterLink)| RootEdge {
            to: Vertex::Router(RouterId(link.id)),
            cost: link.metric,
            hop: Hop { interface: IfIndex(u32::try_from(at).unwrap_or(0)), gateway: Some(link.id) },
        };
        let edges: Vec<RootEdge> = lsas[0].links.iter().enumerate().map(edge).collect();
        group.bench_function(BenchmarkId::from_parameter(format!("{routers}/{links}")), |b| {
            b.iter(|| {
                let routers = lsas.iter().enumerate().map(|(at, lsa)| (id(at), lsa));
                let tree = Graph::new(routers, []).tree(id(0), &edges);
                black_box(tree.routers().count())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, spf);
criterion_main!(benches);
