//! The rules one by one, each as a short history and what the dataplane is told.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::net::Ipv4Addr;

use common::Fib;
use millrace_net::{Instant, Prefix};
use millrace_rib::{
    Delta, GroupId, IfIndex, Kind, Nexthop, Path, Protocol, Rib, Route, Settings, Target, Unresolved, Via,
};

const ETH0: IfIndex = IfIndex(1);
const ETH1: IfIndex = IfIndex(2);

fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn a(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn connected(interface: IfIndex) -> Route {
    Route {
        protocol: Protocol::Connected,
        instance: 0,
        distance: 0,
        metric: 0,
        tag: 0,
        target: Target::interface(interface),
    }
}

/// A static route at a distance, which tells floating ones apart.
fn fixed(distance: u8, target: Target) -> Route {
    Route { protocol: Protocol::Static, instance: distance.into(), distance, metric: 0, tag: 0, target }
}

fn via(gateway: &str) -> Route {
    fixed(1, Target::gateway(a(gateway)))
}

fn learned(protocol: Protocol, metric: u32, target: Target) -> Route {
    Route { protocol, instance: 0, distance: protocol.distance(), metric, tag: 0, target }
}

fn path(interface: IfIndex, gateway: &str, weight: u16) -> Path {
    Path { interface, gateway: a(gateway), weight }
}

fn forward(paths: &[Path]) -> Kind {
    Kind::Forward(paths.to_vec())
}

struct World {
    rib: Rib,
    fib: Fib,
}

impl World {
    /// eth0 with 10.0.0.0/24 (we are .254) and eth1 with 10.0.1.0/24, both up.
    fn new() -> Self {
        let mut rib = Rib::new(Settings::default());
        rib.set_interface(ETH0, true);
        rib.set_interface(ETH1, true);
        let mut world = Self { rib, fib: Fib::default() };
        world.insert("10.0.0.0/24", &connected(ETH0));
        world.insert("10.0.1.0/24", &connected(ETH1));
        let local = learned(Protocol::Local, 0, Target::Local);
        world.insert("10.0.0.254/32", &local);
        world.settle();
        world
    }

    fn insert(&mut self, prefix: &str, route: &Route) {
        self.rib.insert(p(prefix), route, Instant::ZERO);
    }

    fn settle(&mut self) -> Vec<Delta> {
        self.fib.drain_all(&mut self.rib)
    }

    fn kind(&self, prefix: &str) -> Option<Kind> {
        let group = self.fib.routes.get(&p(prefix))?;
        self.fib.groups.get(group).cloned()
    }

    fn group(&self, prefix: &str) -> GroupId {
        self.fib.routes[&p(prefix)]
    }

    /// `count` prefixes through one gateway.
    fn crowd(&mut self, count: u32, route: &Route) {
        for prefix in crowd(count) {
            self.rib.insert(prefix, route, Instant::ZERO);
        }
    }
}

fn crowd(count: u32) -> impl Iterator<Item = Prefix> {
    (0..count).map(|i| Prefix::truncated(Ipv4Addr::from_bits(0x2000_0000 | i << 8), 24))
}

#[test]
fn the_lowest_distance_that_can_be_used_wins() {
    let mut world = World::new();
    let prefix = "192.0.2.0/24";
    let steps: [(&str, Route, Option<&str>); 4] = [
        ("rip alone", learned(Protocol::Rip, 3, Target::gateway(a("10.0.0.1"))), Some("10.0.0.1")),
        ("ospf before rip", learned(Protocol::Ospf, 90, Target::gateway(a("10.0.0.2"))), Some("10.0.0.2")),
        ("a static before both", via("10.0.0.3"), Some("10.0.0.3")),
        ("one that floats stands back", fixed(250, Target::gateway(a("10.0.0.4"))), Some("10.0.0.3")),
    ];
    for (name, route, gateway) in steps {
        world.insert(prefix, &route);
        world.settle();
        let expected = gateway.map(|gateway| forward(&[path(ETH0, gateway, 1)]));
        assert_eq!(world.kind(prefix), expected, "{name}");
    }
    world.insert(prefix, &via("172.16.0.1"));
    world.settle();
    assert_eq!(
        world.kind(prefix),
        Some(forward(&[path(ETH0, "10.0.0.2", 1)])),
        "the static cannot be used any more"
    );
    let selected: Vec<_> = world
        .rib
        .entry(p(prefix))
        .unwrap()
        .candidates()
        .map(|c| (c.protocol, c.selected, c.kind.is_some()))
        .collect();
    assert_eq!(
        selected,
        [
            (Protocol::Static, false, false),
            (Protocol::Ospf, true, true),
            (Protocol::Rip, false, true),
            (Protocol::Static, false, true),
        ]
    );
}

#[test]
fn equal_candidates_share_the_load_and_others_do_not() {
    let mut world = World::new();
    let prefix = "192.0.2.0/24";
    let rip = |instance, metric, gateway: &str| Route {
        protocol: Protocol::Rip,
        instance,
        distance: 120,
        metric,
        tag: 0,
        target: Target::gateway(a(gateway)),
    };
    world.insert(prefix, &rip(1, 2, "10.0.0.1"));
    world.insert(prefix, &rip(2, 2, "10.0.1.1"));
    world.insert(prefix, &rip(3, 5, "10.0.1.9"));
    world.settle();
    let both = forward(&[path(ETH0, "10.0.0.1", 1), path(ETH1, "10.0.1.1", 1)]);
    assert_eq!(world.kind(prefix), Some(both));
    world.rib.set_interface(ETH1, false);
    let deltas = world.settle();
    assert_eq!(world.kind(prefix), Some(forward(&[path(ETH0, "10.0.0.1", 1)])), "{deltas:?}");
    world.rib.remove(p(prefix), Protocol::Rip, 1);
    world.rib.remove(p(prefix), Protocol::Rip, 2);
    world.rib.set_interface(ETH1, true);
    world.settle();
    assert_eq!(world.kind(prefix), Some(forward(&[path(ETH1, "10.0.1.9", 1)])));
}

#[test]
fn gateways_are_found_directly_or_through_other_routes() {
    let blackhole = fixed(1, Target::Blackhole);
    let default = via("10.0.0.1");
    type Case<'c> = (&'c str, Vec<(&'c str, Route)>, &'c str, Result<Kind, Unresolved>);
    let eth0 = |gateway| Ok(forward(&[path(ETH0, gateway, 1)]));
    let cases: Vec<Case<'_>> = vec![
        ("on the subnet", vec![], "10.0.0.1", eth0("10.0.0.1")),
        ("nowhere", vec![], "172.16.0.1", Err(Unresolved::NoRoute)),
        ("through another", vec![("172.16.0.0/16", via("10.0.0.1"))], "172.16.0.1", eth0("10.0.0.1")),
        (
            "through two others",
            vec![("172.16.0.0/16", via("172.17.0.1")), ("172.17.0.0/16", via("10.0.1.7"))],
            "172.16.0.1",
            Ok(forward(&[path(ETH1, "10.0.1.7", 1)])),
        ),
        (
            "the default route does not count",
            vec![("0.0.0.0/0", default)],
            "172.16.0.1",
            Err(Unresolved::OnlyDefault),
        ),
        ("an own address", vec![], "10.0.0.254", Err(Unresolved::OwnAddress)),
        ("through itself", vec![("172.16.0.0/16", via("172.16.0.1"))], "172.16.0.1", Err(Unresolved::Loop)),
        (
            "in a circle",
            vec![("172.16.0.0/16", via("172.17.0.1")), ("172.17.0.0/16", via("172.16.0.1"))],
            "172.16.0.1",
            Err(Unresolved::Loop),
        ),
        (
            "past a route through itself",
            vec![("172.16.0.0/16", via("172.16.0.1")), ("172.0.0.0/8", via("10.0.0.1"))],
            "172.16.0.1",
            eth0("10.0.0.1"),
        ),
        (
            "the subnet goes before a more specific route",
            vec![("10.0.0.0/28", via("10.0.1.1"))],
            "10.0.0.1",
            eth0("10.0.0.1"),
        ),
        ("into a blackhole", vec![("192.0.2.0/24", blackhole)], "192.0.2.1", Ok(Kind::Blackhole)),
        (
            "to a neighbour behind an interface route",
            vec![("172.16.0.0/16", fixed(1, Target::interface(ETH1)))],
            "172.16.0.1",
            Ok(forward(&[path(ETH1, "172.16.0.1", 1)])),
        ),
    ];
    for (name, others, gateway, expected) in cases {
        // Whatever comes first.
        for last in [false, true] {
            let mut world = World::new();
            let mut insertions = others.clone();
            insertions.insert(if last { insertions.len() } else { 0 }, ("203.0.113.0/24", via(gateway)));
            for (prefix, route) in insertions {
                world.insert(prefix, &route);
                world.settle();
            }
            let reason = world.rib.unresolved(a(gateway));
            assert_eq!(
                world.kind("203.0.113.0/24").ok_or_else(|| reason.unwrap()),
                expected,
                "{name}, last: {last}"
            );
        }
    }
}

#[test]
fn the_default_route_counts_if_allowed() {
    let mut world = World::new();
    world.insert("0.0.0.0/0", &via("10.0.0.1"));
    world.insert("192.0.2.0/24", &via("172.16.0.1"));
    world.settle();
    assert_eq!(world.kind("192.0.2.0/24"), None);
    world.rib.set_settings(Settings { resolve_via_default: true, ..Settings::default() });
    world.settle();
    assert_eq!(world.kind("192.0.2.0/24"), Some(forward(&[path(ETH0, "10.0.0.1", 1)])));
}

#[test]
fn a_long_chain_is_refused() {
    let mut world = World::new();
    for i in 0..=255u8 {
        world.insert(&format!("100.64.{i}.0/24"), &via(&format!("100.64.{}.1", i.wrapping_add(1))));
    }
    world.insert("100.65.0.0/24", &via("100.64.0.1"));
    world.settle();
    assert_eq!(world.rib.unresolved(a("100.64.0.1")), Some(Unresolved::TooDeep));
}

#[test]
fn a_moved_gateway_is_one_delta() {
    let mut world = World::new();
    world.insert("172.16.0.0/16", &via("10.0.0.1"));
    world.crowd(10_000, &via("172.16.0.1"));
    world.settle();
    let group = world.group("32.0.0.0/24");

    world.insert("172.16.0.0/16", &via("10.0.1.1"));
    let moved = forward(&[path(ETH1, "10.0.1.1", 1)]);
    let deltas = world.settle();
    let of_the_crowd: Vec<_> = deltas
        .iter()
        .filter(|delta| match delta {
            Delta::GroupUpsert { group: other, .. } | Delta::GroupRemove { group: other } => *other == group,
            Delta::RouteUpsert { prefix, .. } | Delta::RouteRemove { prefix } => {
                *prefix != p("172.16.0.0/16")
            }
        })
        .collect();
    assert_eq!(of_the_crowd, [&Delta::GroupUpsert { group, kind: moved }]);
}

#[test]
fn a_member_that_goes_is_one_delta() {
    let mut world = World::new();
    let gateways = [a("10.0.0.1"), a("10.0.1.1")];
    let target =
        Target::via(gateways.map(|gateway| Nexthop { via: Via::Gateway(gateway), weight: 1 }).to_vec());
    world.crowd(10_000, &fixed(1, target));
    world.settle();
    let group = world.group("32.0.0.0/24");
    world.rib.set_interface(ETH1, false);
    let deltas = world.settle();
    assert!(deltas.contains(&Delta::GroupUpsert { group, kind: forward(&[path(ETH0, "10.0.0.1", 1)]) }));
    // The other two are the subnet of the interface: its route and its group.
    assert_eq!(deltas.len(), 3, "{deltas:?}");
}

#[test]
fn a_watched_neighbour_that_falls_silent_is_one_delta() {
    let watched =
        |interface, gateway| Nexthop { via: Via::Watched { interface, gateway: a(gateway) }, weight: 1 };
    let mut world = World::new();
    let target = Target::via(vec![watched(ETH0, "10.0.0.1"), watched(ETH1, "10.0.1.1")]);
    world.crowd(10_000, &fixed(1, target));
    // Not watched here: what is known of the neighbour does not matter.
    world.insert("20.0.0.0/8", &via("10.0.0.1"));
    world.settle();
    let group = world.group("32.0.0.0/24");
    let other = forward(&[path(ETH1, "10.0.1.1", 1)]);
    let both = forward(&[path(ETH0, "10.0.0.1", 1), path(ETH1, "10.0.1.1", 1)]);
    for (silent, kind) in [(true, other), (false, both)] {
        world.rib.set_silent(ETH0, a("10.0.0.1"), silent);
        assert_eq!(world.settle(), [Delta::GroupUpsert { group, kind }], "silent: {silent}");
        world.rib.set_silent(ETH0, a("10.0.0.1"), silent);
        assert!(world.rib.is_idle(), "an equal statement changes nothing");
    }
}

#[test]
fn a_crowd_is_stopped_at_once_and_then_taken_away() {
    let mut world = World::new();
    world.crowd(1000, &via("10.0.1.1"));
    world.insert("32.0.7.0/24", &fixed(9, Target::gateway(a("10.0.0.9"))));
    world.settle();
    let group = world.group("32.0.0.0/24");

    world.rib.set_interface(ETH1, false);
    let deltas = world.fib.drain(&mut world.rib, 10);
    let told = |kind| Delta::GroupUpsert { group, kind };
    assert_eq!(deltas[0], told(Kind::Unreachable), "before any route is touched");
    assert!(world.fib.routes.len() > 900);
    world.settle();
    assert_eq!(
        world.kind("32.0.7.0/24"),
        Some(forward(&[path(ETH0, "10.0.0.9", 1)])),
        "the floating one takes over"
    );
    assert_eq!(world.fib.routes.keys().filter(|prefix| p("32.0.0.0/8").covers(**prefix)).count(), 1);
    assert!(!world.fib.groups.contains_key(&group));

    world.rib.set_interface(ETH1, true);
    let deltas = world.settle();
    assert_eq!(deltas.iter().filter(|delta| matches!(delta, Delta::RouteUpsert { .. })).count(), 1001);
}

#[test]
fn a_gateway_that_returns_in_time_costs_little() {
    let mut world = World::new();
    world.crowd(5000, &via("10.0.1.1"));
    world.settle();
    let group = world.group("32.0.0.0/24");
    world.rib.set_interface(ETH1, false);
    // Some have gone already when it returns; the walk is in the middle of the table.
    for _ in 0..20 {
        world.fib.drain(&mut world.rib, 10);
    }
    let gone = 5000 - world.fib.routes.keys().filter(|prefix| p("32.0.0.0/8").covers(**prefix)).count();
    assert!((1..1000).contains(&gone), "{gone}");
    world.rib.set_interface(ETH1, true);
    let deltas = world.settle();
    assert_eq!(world.fib.routes.keys().filter(|prefix| p("32.0.0.0/8").covers(**prefix)).count(), 5000);
    assert_eq!(world.group("32.0.0.0/24"), group);
    // Those that had gone, the subnet, and the group itself.
    assert_eq!(deltas.len(), gone + 2);
}

#[test]
fn churn_does_not_keep_a_crowd_from_leaving() {
    let mut world = World::new();
    world.crowd(1000, &via("10.0.1.1"));
    world.settle();
    world.rib.set_interface(ETH1, false);
    for i in 0..200 {
        world.insert("192.0.2.0/24", &via(["10.0.0.1", "10.0.0.2"][i % 2]));
        world.fib.drain(&mut world.rib, 64);
    }
    assert!(!world.fib.routes.keys().any(|prefix| p("32.0.0.0/8").covers(*prefix)));
}

#[test]
fn few_routes_leave_without_a_detour() {
    let mut world = World::new();
    world.insert("192.0.2.0/24", &via("10.0.1.1"));
    world.settle();
    let (prefix, group) = (p("192.0.2.0/24"), world.group("192.0.2.0/24"));
    world.rib.remove(p("10.0.1.0/24"), Protocol::Connected, 0);
    let deltas = world.settle();
    assert!(
        deltas.contains(&Delta::RouteRemove { prefix }) && deltas.contains(&Delta::GroupRemove { group })
    );
    assert!(!deltas.iter().any(|delta| matches!(delta, Delta::GroupUpsert { .. })), "{deltas:?}");
}

#[test]
fn what_changes_back_is_not_told() {
    let mut world = World::new();
    world.insert("192.0.2.0/24", &via("10.0.0.1"));
    world.settle();

    world.rib.remove(p("192.0.2.0/24"), Protocol::Static, 1);
    world.insert("192.0.2.0/24", &via("10.0.0.1"));
    assert_eq!(world.settle(), [], "away and back");

    world.insert("192.0.2.0/24", &via("10.0.0.1"));
    assert!(world.rib.is_idle(), "the same again");

    world.rib.set_interface(ETH0, false);
    world.rib.set_interface(ETH0, true);
    assert_eq!(world.settle(), [], "down and up");
}

#[test]
fn a_group_that_is_taken_up_again_has_its_new_content() {
    let mut world = World::new();
    world.insert("172.16.0.0/16", &via("10.0.0.1"));
    world.insert("192.0.2.0/24", &via("172.16.0.1"));
    world.settle();
    world.rib.remove(p("192.0.2.0/24"), Protocol::Static, 1);
    world.insert("172.16.0.0/16", &via("10.0.1.1"));
    world.insert("192.0.2.0/24", &via("172.16.0.1"));
    world.settle();
    assert_eq!(world.kind("192.0.2.0/24"), Some(forward(&[path(ETH1, "10.0.1.1", 1)])));
}

#[test]
fn an_equal_route_keeps_its_age() {
    let mut world = World::new();
    let prefix = p("192.0.2.0/24");
    let since = |rib: &Rib| rib.entry(prefix).unwrap().candidates().next().unwrap().since_secs;
    world.rib.insert(prefix, &via("10.0.0.1"), Instant::from_secs(7));
    world.rib.insert(prefix, &via("10.0.0.1"), Instant::from_secs(9));
    assert_eq!(since(&world.rib), 7);
    world.rib.insert(prefix, &via("10.0.0.2"), Instant::from_secs(11));
    assert_eq!(since(&world.rib), 11);
}

#[test]
fn what_packets_follow_is_the_longest_usable_prefix() {
    let mut world = World::new();
    world.insert("0.0.0.0/0", &via("10.0.0.1"));
    world.insert("192.0.2.0/24", &via("10.0.1.1"));
    world.insert("192.0.2.0/25", &via("172.16.0.1"));
    world.settle();
    for (addr, prefix) in
        [("192.0.2.1", "192.0.2.0/24"), ("8.8.8.8", "0.0.0.0/0"), ("10.0.1.4", "10.0.1.0/24")]
    {
        assert_eq!(world.rib.longest_match(a(addr)).map(|entry| entry.prefix()), Some(p(prefix)), "{addr}");
    }
}

/// Sources, metrics and tags are of interest to others even where the dataplane has nothing to be told.
#[test]
fn settled_prefixes_are_named_although_nothing_is_told() {
    let mut rib = Rib::new(Settings::default());
    let drained = |rib: &mut Rib| {
        let (mut deltas, mut settled) = (Vec::new(), Vec::new());
        rib.drain_noting(10, &mut deltas, |prefix| settled.push(prefix));
        (deltas.len(), settled)
    };
    let prefix: Prefix = "10.1.0.0/16".parse().unwrap();
    let rip = |metric, tag| Route { tag, ..learned(Protocol::Rip, metric, Target::Blackhole) };
    let tag = |rib: &Rib| rib.entry(prefix).unwrap().candidates().next().unwrap().tag;
    for (route, deltas, settled) in [
        (rip(3, 0), 2, 1),
        (rip(3, 0), 0, 0),
        (rip(3, 7), 0, 1),
        (rip(3, 7), 0, 0),
        (rip(4, 7), 0, 1),
        (fixed(1, Target::Blackhole), 0, 1),
    ] {
        rib.insert(prefix, &route, Instant::ZERO);
        assert_eq!(drained(&mut rib), (deltas, vec![prefix; settled]), "{route:?}");
    }
    assert_eq!(tag(&rib), 0, "the static route's");
    rib.remove(prefix, Protocol::Static, 1);
    assert_eq!((drained(&mut rib), tag(&rib)), ((0, vec![prefix]), 7));
    rib.insert(prefix, &rip(4, 0), Instant::ZERO);
    assert_eq!((drained(&mut rib), tag(&rib)), ((0, vec![prefix]), 0));
    rib.insert(prefix, &rip(4, 9), Instant::ZERO);
    rib.remove(prefix, Protocol::Rip, 0);
    rib.insert(prefix, &rip(4, 0), Instant::ZERO);
    assert_eq!(tag(&rib), 0, "a tag goes with its route");
}

#[test]
fn a_protocol_moves_to_another_distance() {
    let mut rib = Rib::new(Settings::default());
    let prefix: Prefix = "10.1.0.0/16".parse().unwrap();
    let of = |protocol, distance| Route {
        distance,
        tag: 5,
        ..learned(protocol, 3, Target::interface(IfIndex(1)))
    };
    rib.insert(prefix, &of(Protocol::Rip, 120), Instant::ZERO);
    rib.insert(prefix, &of(Protocol::Ospf, 110), Instant::ZERO);
    rib.insert("10.2.0.0/16".parse().unwrap(), &of(Protocol::Rip, 9), Instant::ZERO);
    rib.change_distance(Protocol::Rip, 120, 90, Instant::ZERO);
    let seen: Vec<_> = rib
        .entries_after(None)
        .flat_map(|entry| entry.candidates().map(|c| (c.protocol, c.distance, c.tag)).collect::<Vec<_>>())
        .collect();
    assert_eq!(seen, [(Protocol::Rip, 90, 5), (Protocol::Ospf, 110, 5), (Protocol::Rip, 9, 5)]);
}
