//! A table of the size of the Internet's: how long it takes, what it weighs, how few deltas a change under it is.
//! Figures of a debug build say nothing, so: `cargo test --release -p millrace-rib --test full_table -- --ignored --nocapture`

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use millrace_net::{Instant, Prefix};
use millrace_rib::{Delta, IfIndex, Protocol, Rib, Route, Settings, Target};

const PREFIXES: u32 = 1_050_000;
/// Changes between two drains: a batch for the dataplane.
const BATCH: usize = 8192;

/// Made up, but as overlapping as the real table: a /16 over its /22s over their /24s, in address order.
fn prefixes() -> Vec<Prefix> {
    let block = |i: u32| std::net::Ipv4Addr::from_bits(0x0100_0000 + (i << 9));
    let mut prefixes: Vec<_> = (0..PREFIXES)
        .map(|i| {
            Prefix::truncated(
                block(i),
                if i % 128 == 0 {
                    16
                } else if i % 2 == 0 {
                    22
                } else {
                    24
                },
            )
        })
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let mut more =
        (0u32..).map(|i| Prefix::truncated(std::net::Ipv4Addr::from_bits(0x8000_0000 + (i << 8)), 24));
    prefixes.extend(more.by_ref().take(PREFIXES as usize - prefixes.len()));
    prefixes.sort_unstable();
    prefixes
}

/// The same in an order without any locality, as BGP sends them.
fn shuffled(mut prefixes: Vec<Prefix>) -> Vec<Prefix> {
    let mut state = 1u64;
    for i in (1..prefixes.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        prefixes.swap(i, usize::try_from(state >> 33).unwrap() % (i + 1));
    }
    prefixes
}

/// CPU time of this thread: what others do on the machine does not count.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn rss_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn route(protocol: Protocol, target: Target) -> Route {
    Route { protocol, instance: 0, distance: protocol.distance(), metric: 0, tag: 0, target }
}

fn load(rib: &mut Rib, prefixes: &[Prefix], route: &Route) -> usize {
    let mut deltas = Vec::new();
    let mut told = 0;
    for batch in prefixes.chunks(BATCH) {
        for prefix in batch {
            rib.insert(*prefix, route, Instant::ZERO);
        }
        while !rib.is_idle() {
            rib.drain(BATCH, &mut deltas);
            told += deltas.len();
            deltas.clear();
        }
    }
    told
}

#[test]
#[ignore = "figures of a release build"]
fn a_full_table_is_fast_and_small() {
    let gateway = |text: &str| Target::gateway(text.parse().unwrap());
    for (order, prefixes) in [("sorted", prefixes()), ("shuffled", shuffled(prefixes()))] {
        let before = rss_kib();
        let mut rib = Rib::new(Settings::default());
        for (i, subnet) in [(1, "10.0.0.0/24"), (2, "10.0.1.0/24")] {
            rib.set_interface(IfIndex(i), true);
            let connected = route(Protocol::Connected, Target::interface(IfIndex(i)));
            rib.insert(subnet.parse().unwrap(), &connected, Instant::ZERO);
        }
        rib.insert(
            "172.16.0.0/16".parse().unwrap(),
            &route(Protocol::Ospf, gateway("10.0.0.1")),
            Instant::ZERO,
        );
        let table = route(Protocol::Static, gateway("172.16.0.1"));

        let start = cpu();
        let told = load(&mut rib, &prefixes, &table);
        let taken = cpu() - start;
        let weight = rss_kib().saturating_sub(before);
        assert_eq!((rib.len(), told), (PREFIXES as usize + 3, PREFIXES as usize + 3 + 4));

        let start = cpu();
        assert_eq!(load(&mut rib, &prefixes, &table), 0, "the same again is not told");
        let again = cpu() - start;

        let start = cpu();
        rib.insert(
            "172.16.0.0/16".parse().unwrap(),
            &route(Protocol::Ospf, gateway("10.0.1.1")),
            Instant::ZERO,
        );
        let mut deltas = Vec::new();
        rib.drain(BATCH, &mut deltas);
        let moved = cpu() - start;
        let of_the_table = deltas.iter().filter(|delta| {
            matches!(delta, Delta::RouteUpsert { prefix, .. }
            if prefix.to_string() != "172.16.0.0/16")
        });
        assert_eq!(of_the_table.count(), 0, "no route is touched when their gateway moves");
        println!(
            "{order}: {PREFIXES} routes in {taken:.0?} and {weight} KiB; the same again {again:.0?}; their gateway moves {moved:.0?}, {} deltas",
            deltas.len()
        );
        assert!(weight < 100 * 1024);
        if order == "sorted" {
            assert!(taken < Duration::from_secs(1));
        }
    }
}
