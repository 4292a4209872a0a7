//! Random histories: whatever came before, the forwarding table is the one a naive reading of the rules gives.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use common::Fib;
use millrace_net::{Instant, Prefix};
use millrace_rib::{IfIndex, Kind, Nexthop, Path, Protocol, Rib, Route, Settings, Target, Via};
use proptest::prelude::*;

/// The whole input of the table, kept plainly.
#[derive(Default)]
struct Oracle {
    candidates: BTreeMap<(Prefix, Protocol, u16), Route>,
    up: BTreeSet<IfIndex>,
    silent: BTreeSet<(IfIndex, Ipv4Addr)>,
    settings: Settings,
}

/// Ways out with exact shares of the flows.
type Shares = BTreeMap<(IfIndex, Ipv4Addr), (u128, u128)>;

#[derive(Clone)]
enum Reached {
    Paths(Shares),
    Other(Kind),
}

impl Oracle {
    fn table(&self) -> BTreeMap<Prefix, Kind> {
        let prefixes: BTreeSet<_> = self.candidates.keys().map(|(prefix, ..)| *prefix).collect();
        let best = |prefix| Some((prefix, self.best(prefix, &mut Vec::new())?));
        prefixes.into_iter().filter_map(best).map(|(prefix, reached)| (prefix, self.kind(reached))).collect()
    }

    fn kind(&self, reached: Reached) -> Kind {
        match reached {
            Reached::Other(kind) => kind,
            Reached::Paths(shares) => Kind::Forward(weights(&self.cut(shares))),
        }
    }

    fn cut(&self, shares: Shares) -> Shares {
        shares.into_iter().take(self.settings.max_paths).collect()
    }

    /// What packets to `prefix` meet: the first class of equal candidates that leads anywhere.
    fn best(&self, prefix: Prefix, path: &mut Vec<Ipv4Addr>) -> Option<Reached> {
        let mut routes: Vec<_> = self
            .candidates
            .range((prefix, Protocol::Local, 0)..)
            .take_while(|((p, ..), _)| *p == prefix)
            .map(|(_, r)| r)
            .collect();
        routes.sort_by_key(|r| (r.distance, r.protocol, r.metric, r.instance));
        while let Some(first) = routes.first() {
            let rank = |r: &Route| (r.distance, r.protocol, r.metric);
            let n = routes.iter().take_while(|r| rank(r) == rank(first)).count();
            let class: Vec<_> = routes.drain(..n).collect();
            let all_gateways = class.iter().all(|r| match &r.target {
                Target::Nexthops(n) => n.iter().all(|n| !matches!(n.via, Via::Interface(_))),
                Target::Local | Target::Blackhole | Target::Unreachable | Target::Prohibit => false,
            });
            let reached = if all_gateways {
                let mut merged: BTreeMap<Via, u16> = BTreeMap::new();
                for nexthop in class.iter().flat_map(|r| r.target.nexthops()) {
                    let weight = merged.entry(nexthop.via).or_default();
                    *weight = nexthop.weight.max(*weight);
                }
                let nexthops = merged.into_iter().map(|(via, weight)| Nexthop { via, weight }).collect();
                self.reach(&Target::Nexthops(nexthops), path)
            } else {
                class.iter().find_map(|r| self.reach(&r.target, path))
            };
            if reached.is_some() {
                return reached;
            }
        }
        None
    }

    fn reach(&self, target: &Target, path: &mut Vec<Ipv4Addr>) -> Option<Reached> {
        let nexthops = match target {
            Target::Nexthops(nexthops) => nexthops,
            Target::Local => return Some(Reached::Other(Kind::Local)),
            Target::Blackhole => return Some(Reached::Other(Kind::Blackhole)),
            Target::Unreachable => return Some(Reached::Other(Kind::Unreachable)),
            Target::Prohibit => return Some(Reached::Other(Kind::Prohibit)),
        };
        let mut shares = Shares::new();
        let mut others = Vec::new();
        for nexthop in nexthops {
            let weight = u128::from(nexthop.weight);
            match nexthop.via {
                Via::OnLink { interface, gateway } if self.up.contains(&interface) => {
                    add(&mut shares, (interface, gateway), (weight, 1));
                }
                Via::Watched { interface, gateway }
                    if self.up.contains(&interface) && !self.silent.contains(&(interface, gateway)) =>
                {
                    add(&mut shares, (interface, gateway), (weight, 1));
                }
                Via::Interface(interface) if self.up.contains(&interface) => {
                    others.insert(0, Kind::Glean(interface))
                }
                Via::OnLink { .. } | Via::Watched { .. } | Via::Interface(_) => {}
                Via::Gateway(gateway) => match self.gateway(gateway, path) {
                    Some(Reached::Paths(paths)) => {
                        let weights = weights(&paths);
                        let sum: u128 = weights.iter().map(|path| u128::from(path.weight)).sum();
                        for path in weights {
                            add(
                                &mut shares,
                                (path.interface, path.gateway),
                                (weight * u128::from(path.weight), sum),
                            );
                        }
                    }
                    Some(Reached::Other(kind)) => others.push(kind),
                    None => {}
                },
            }
        }
        if shares.is_empty() {
            // An interface before a blackhole, the first one each.
            let glean = others.iter().rfind(|kind| matches!(kind, Kind::Glean(_)));
            return glean.or(others.first()).cloned().map(Reached::Other);
        }
        Some(Reached::Paths(self.cut(shares)))
    }

    fn gateway(&self, gateway: Ipv4Addr, path: &mut Vec<Ipv4Addr>) -> Option<Reached> {
        if path.contains(&gateway) {
            return None;
        }
        let covering = |longest_first: u8| Prefix::truncated(gateway, 32 - longest_first);
        let on = |interface| Reached::Paths(Shares::from([((interface, gateway), (1, 1))]));
        let own = |route: &Route| route.target == Target::Local;
        if self.candidates.iter().any(|((p, ..), r)| *p == Prefix::host(gateway) && own(r)) {
            return None;
        }
        for prefix in (0..=32).map(covering) {
            for ((p, protocol, _), route) in &self.candidates {
                if *p == prefix && *protocol == Protocol::Connected {
                    for nexthop in route.target.nexthops() {
                        match nexthop.via {
                            Via::Interface(interface) if self.up.contains(&interface) => {
                                return Some(on(interface));
                            }
                            Via::Interface(_)
                            | Via::OnLink { .. }
                            | Via::Watched { .. }
                            | Via::Gateway(_) => {}
                        }
                    }
                }
            }
        }
        path.push(gateway);
        let lengths = if self.settings.resolve_via_default { 0..=32 } else { 0..=31 };
        let found = lengths.map(covering).find_map(|prefix| self.best(prefix, path));
        path.pop();
        match found? {
            Reached::Other(Kind::Glean(interface)) => Some(on(interface)),
            Reached::Other(Kind::Local) => None,
            found @ (Reached::Other(_) | Reached::Paths(_)) => Some(found),
        }
    }
}

fn add(shares: &mut Shares, way: (IfIndex, Ipv4Addr), (part, of): (u128, u128)) {
    let share = shares.entry(way).or_insert((0, 1));
    *share = (share.0 * of + part * share.1, share.1 * of);
    let divisor = gcd(share.0, share.1);
    *share = (share.0 / divisor, share.1 / divisor);
}

/// Exact shares in the smallest whole numbers.
fn weights(shares: &Shares) -> Vec<Path> {
    let denominator = shares.values().fold(1, |all, (_, of)| all / gcd(all, *of) * of);
    let whole: Vec<_> = shares.values().map(|(part, of)| part * (denominator / of)).collect();
    let divisor = whole.iter().fold(0, |all, one| gcd(all, *one)).max(1);
    let largest = whole.iter().map(|one| one / divisor).max().unwrap_or(1);
    let scale = |one: u128| if largest <= 256 { one } else { ((one * 256 + largest / 2) / largest).max(1) };
    let scaled: Vec<_> = whole.iter().map(|one| scale(one / divisor)).collect();
    let divisor = scaled.iter().fold(0, |all, one| gcd(all, *one)).max(1);
    let path = |((interface, gateway), weight): (&(IfIndex, Ipv4Addr), &u128)| Path {
        interface: *interface,
        gateway: *gateway,
        weight: u16::try_from(weight / divisor).unwrap(),
    };
    shares.keys().zip(&scaled).map(path).collect()
}

fn table(fib: &Fib) -> BTreeMap<Prefix, Kind> {
    fib.routes.iter().map(|(prefix, group)| (*prefix, fib.groups[group].clone())).collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Prefix, Route),
    /// So many neighbouring prefixes that their users are not remembered one by one.
    InsertMany(u8, Route),
    Remove(Prefix, Protocol, u16),
    RemoveMany(u8, Protocol, u16),
    Interface(IfIndex, bool),
    Silent(IfIndex, Ipv4Addr, bool),
    Settings(Settings),
    Drain(usize),
    /// Drains everything and compares.
    Compare,
}

fn prefix() -> impl Strategy<Value = Prefix> {
    const TEXT: [&str; 12] = [
        "0.0.0.0/0",
        "0.0.0.0/1",
        "10.0.0.0/8",
        "10.0.0.0/16",
        "10.0.1.0/24",
        "10.0.1.1/32",
        "10.1.0.0/16",
        "10.1.1.0/24",
        "192.0.2.0/24",
        "192.0.2.128/25",
        "192.0.2.1/32",
        "192.0.2.200/32",
    ];
    prop::sample::select(&TEXT[..]).prop_map(|text| text.parse().unwrap())
}

fn many(count: u8) -> impl Iterator<Item = Prefix> {
    (0..count).map(|i| Prefix::truncated(Ipv4Addr::new(198, 18, i, 0), 24))
}

fn gateway() -> impl Strategy<Value = Ipv4Addr> {
    prop::sample::select(vec![
        Ipv4Addr::new(10, 0, 1, 1),
        Ipv4Addr::new(10, 0, 1, 2),
        Ipv4Addr::new(10, 1, 1, 1),
        Ipv4Addr::new(192, 0, 2, 1),
        Ipv4Addr::new(192, 0, 2, 200),
    ])
}

fn interface() -> impl Strategy<Value = IfIndex> {
    (1u32..4).prop_map(IfIndex)
}

fn target() -> impl Strategy<Value = Target> {
    let via = prop_oneof![
        6 => gateway().prop_map(Via::Gateway),
        2 => (interface(), gateway()).prop_map(|(interface, gateway)| Via::OnLink { interface, gateway }),
        2 => (interface(), gateway()).prop_map(|(interface, gateway)| Via::Watched { interface, gateway }),
        1 => interface().prop_map(Via::Interface),
    ];
    let nexthop = (via, 1u16..4).prop_map(|(via, weight)| Nexthop { via, weight });
    prop_oneof![
        8 => prop::collection::vec(nexthop, 1..4).prop_map(Target::via),
        1 => prop::sample::select(vec![Target::Blackhole, Target::Unreachable, Target::Prohibit]),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let learned = prop::sample::select(vec![Protocol::Static, Protocol::Ospf, Protocol::Rip]);
    prop_oneof![
        3 => (interface(), 0u16..2).prop_map(|(interface, instance)| Route {
            protocol: Protocol::Connected, instance, distance: 0, metric: 0, tag: 0, target: Target::interface(interface),
        }),
        1 => Just(Route { protocol: Protocol::Local, instance: 0, distance: 0, metric: 0, tag: 0, target: Target::Local }),
        8 => (learned, 0u16..3, prop::sample::select(vec![None, Some(5)]), 0u32..2, target()).prop_map(
            |(protocol, instance, distance, metric, target)| Route {
                protocol, instance, distance: distance.unwrap_or(protocol.distance()), metric, tag: 0, target,
            }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let protocol = || prop::sample::select(&Protocol::ALL[..6]);
    prop_oneof![
        12 => (prefix(), route()).prop_map(|(prefix, route)| Step::Insert(prefix, route)),
        6 => (prefix(), protocol(), 0u16..3).prop_map(|(prefix, protocol, instance)| Step::Remove(prefix, protocol, instance)),
        1 => (1u8..100, route()).prop_map(|(count, route)| Step::InsertMany(count, route)),
        1 => (1u8..100, protocol(), 0u16..3).prop_map(|(count, protocol, instance)| Step::RemoveMany(count, protocol, instance)),
        4 => (interface(), any::<bool>()).prop_map(|(interface, up)| Step::Interface(interface, up)),
        4 => (interface(), gateway(), any::<bool>()).prop_map(|(interface, neighbor, silent)| Step::Silent(interface, neighbor, silent)),
        1 => (1usize..5, any::<bool>()).prop_map(|(max_paths, resolve_via_default)| Step::Settings(Settings { max_paths, resolve_via_default })),
        4 => (1usize..40).prop_map(Step::Drain),
        4 => Just(Step::Compare),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_forwarding_table_is_the_oracles(steps in prop::collection::vec(step(), 1..60)) {
        let settings = Settings::default();
        let (mut rib, mut fib) = (Rib::new(settings), Fib::default());
        let mut oracle = Oracle { settings, ..Oracle::default() };
        for step in steps.into_iter().chain([Step::Compare]) {
            match step {
                Step::Insert(prefix, route) => {
                    rib.insert(prefix, &route, Instant::ZERO);
                    oracle.candidates.insert((prefix, route.protocol, route.instance), route);
                }
                Step::InsertMany(count, route) => {
                    for prefix in many(count) {
                        rib.insert(prefix, &route, Instant::ZERO);
                        oracle.candidates.insert((prefix, route.protocol, route.instance), route.clone());
                    }
                }
                Step::Remove(prefix, protocol, instance) => {
                    rib.remove(prefix, protocol, instance);
                    oracle.candidates.remove(&(prefix, protocol, instance));
                }
                Step::RemoveMany(count, protocol, instance) => {
                    for prefix in many(count) {
                        rib.remove(prefix, protocol, instance);
                        oracle.candidates.remove(&(prefix, protocol, instance));
                    }
                }
                Step::Interface(interface, up) => {
                    rib.set_interface(interface, up);
                    if up { oracle.up.insert(interface); } else { oracle.up.remove(&interface); }
                }
                Step::Silent(interface, neighbor, silent) => {
                    rib.set_silent(interface, neighbor, silent);
                    let key = (interface, neighbor);
                    if silent { oracle.silent.insert(key); } else { oracle.silent.remove(&key); }
                }
                Step::Settings(settings) => {
                    rib.set_settings(settings);
                    oracle.settings = settings;
                }
                Step::Drain(limit) => {
                    fib.drain(&mut rib, limit);
                }
                Step::Compare => {
                    fib.drain_all(&mut rib);
                    prop_assert_eq!(table(&fib), oracle.table());
                    let used: BTreeSet<_> = fib.routes.values().copied().collect();
                    prop_assert!(fib.groups.keys().eq(used.iter()), "every group has a route");
                    prop_assert_eq!(rib.candidates().iter().sum::<usize>(), oracle.candidates.len());
                    prop_assert_eq!(rib.entries_after(None).map(|entry| entry.candidates().count()).sum::<usize>(), oracle.candidates.len());
                }
            }
        }
        // Nothing is left behind when everything is taken back.
        for (prefix, protocol, instance) in oracle.candidates.into_keys() {
            rib.remove(prefix, protocol, instance);
        }
        fib.drain_all(&mut rib);
        prop_assert_eq!((fib.groups.len(), fib.routes.len(), rib.len(), rib.gateways()), (0, 0, 0, (0, 0)));
        prop_assert_eq!(rib.group_views().count(), 0);
    }
}
