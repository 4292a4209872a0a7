//! OSPF in whole networks: tables against the oracle, databases against each other, failures, loss, areas.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::num::NonZeroU8;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_ospf::config::{AreaConfig, AreaKind, ExternalKind, NetworkType, Range, Translate};
use millrace_ospf::wire::{AreaId, LsaType};
use millrace_ospf::{Config, Input, InterfaceConfig, Redistributed};
use millrace_proto::{Instant, Rng};
use millrace_sim::oracle::mismatches;
use millrace_sim::ospf::{MEASURE, OspfRouter};
use millrace_sim::{Network, Quality, SegmentState, Topology, topology};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than the dead interval and what follows from it.
const QUIET: Duration = Duration::from_secs(70);
const LIMIT: Duration = Duration::from_secs(900);
const PATHS: usize = 8;

fn area(number: u8) -> AreaId {
    AreaId(Ipv4Addr::new(0, 0, 0, number))
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

fn network_of(
    topology: &Topology,
    quality: Quality,
    seed: u64,
    config: impl Fn(&Topology, usize) -> Config + 'static,
) -> Network<OspfRouter> {
    let plan = topology.clone();
    let make = move |r, seed| {
        let max_paths = NonZeroU8::new(u8::try_from(PATHS).expect("few")).expect("some");
        OspfRouter::new(seed, Config { max_paths, ..config(&plan, r) })
    };
    Network::new(topology.clone(), quality, seed, make)
}

fn backbone(topology: &Topology, seed: u64) -> Network<OspfRouter> {
    network_of(topology, Quality::GOOD, seed, OspfRouter::config)
}

/// Databases of all running routers are the same.
fn assert_databases_equal(network: &Network<OspfRouter>, what: &str) {
    let now = network.now();
    let digest = |r: usize| {
        let all = network.router(r)?.ospf.database_digest(now);
        Some(all.into_iter().filter(|(_, key, ..)| key.kind != LsaType::OpaqueLink).collect::<Vec<_>>())
    };
    let mut all = (0..network.topology().routers).filter_map(|r| Some((r, digest(r)?)));
    let Some((_, first)) = all.next() else { return };
    for (r, other) in all {
        let (a, b): (BTreeSet<_>, BTreeSet<_>) = (first.iter().collect(), other.iter().collect());
        let different: Vec<_> = a.symmetric_difference(&b).collect();
        assert!(different.is_empty(), "{what}: r{r}: {different:?}");
    }
}

fn settle(network: &mut Network<OspfRouter>, what: &str) -> Duration {
    let began = network.now();
    let quiet = network.run_until_quiet(QUIET, LIMIT).unwrap_or_else(|| panic!("{what}: never quiet"));
    assert_eq!(mismatches(network, MEASURE, PATHS).first(), None, "{what}");
    assert!(!network.loops().is_looping(), "{what}");
    quiet - began
}

/// Every shape, from nothing: the tables are the oracle's with all equal-cost paths, the databases equal.
#[test]
fn networks_converge_to_the_oracle() {
    for (name, topology) in [
        ("line", Topology::line(8)),
        ("ring", Topology::ring(7)),
        ("grid", Topology::grid(6, 6)),
        ("tree", Topology::tree(20, &mut Rng::new(4))),
    ] {
        let mut network = backbone(&topology, 1);
        let took = settle(&mut network, name);
        assert!(took <= 20 * SECOND, "{name} took {took:?}");
        assert_databases_equal(&network, name);
    }
    for seed in 5..=7 {
        let topology = Topology::random(24, 14, &mut Rng::new(seed));
        let mut network = backbone(&topology, seed);
        let took = settle(&mut network, "random");
        // A segment that elects waits for the dead interval first.
        assert!(took <= 70 * SECOND, "random took {took:?}");
        assert_databases_equal(&network, "random");
    }
}

/// Twenty routers on one network have two adjacencies each, but for the designated ones; these are killed one by one.
#[test]
fn designated_routers_fail_on_a_lan_of_twenty() {
    let topology = Topology::lan(20);
    let mut network = backbone(&topology, 1);
    settle(&mut network, "lan");
    assert_databases_equal(&network, "lan");
    let full = |network: &Network<OspfRouter>| {
        let of = |r: usize| network.router(r).map(|router| router.ospf.summary(network.now()).full_neighbors);
        let mut all: Vec<usize> = (0..20).filter_map(of).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(full(&network), [vec![2; 18], vec![19; 2]].concat());
    for killed in [19, 18] {
        network.crash(killed);
        network.run_for(42 * SECOND);
        let took = settle(&mut network, "lan with one less");
        assert!(took <= 15 * SECOND, "{took:?}");
    }
    assert_eq!(full(&network), [vec![2; 16], vec![17; 2]].concat());
    network.start(19);
    network.start(18);
    settle(&mut network, "lan again whole");
    // Who comes back does not take the role back.
    let now = network.now();
    let state = network.router(19).expect("runs").ospf.interfaces(now)[1].state;
    assert_eq!(state.name(), "dr-other");
}

/// A link that goes down is routed around as soon as it is seen; a silent one after the dead interval.
#[test]
fn failover_in_a_ring() {
    for (state, seconds) in [(SegmentState::Down, 3), (SegmentState::Silent, 45)] {
        let mut network = backbone(&Topology::ring(6), 1);
        settle(&mut network, "ring");
        network.set_segment(2, state);
        if state == SegmentState::Silent {
            network.run_for(41 * SECOND);
        }
        let began = network.now();
        network.run_until_quiet(QUIET, LIMIT).expect("quiet");
        // The network of a silent link is still on both routers: only that it is not passed is compared.
        let took = network.now() - began - QUIET;
        assert!(took <= seconds * SECOND, "{state:?}: {took:?}");
        let host = Prefix::host(topology::loopback(3));
        let gateways = network.routes(2)[&host].next_hops.iter().map(|hop| hop.gateway.expect("a gateway"));
        assert_eq!(gateways.collect::<Vec<_>>(), [topology::member_address(1, 0)], "{state:?}");
        network.set_segment(2, SegmentState::Up);
        let took = settle(&mut network, "ring mended");
        assert!(took <= 60 * SECOND, "mended: {took:?}");
    }
}

/// A router that dies without a word is noticed by its silence, and takes part again when it is back.
#[test]
fn a_router_is_killed_and_comes_back() {
    let topology = Topology::grid(4, 4);
    let mut network = backbone(&topology, 2);
    settle(&mut network, "grid");
    network.crash(5);
    network.run_for(41 * SECOND);
    settle(&mut network, "grid without r5");
    assert!(network.routes(0).keys().all(|prefix| prefix.addr() != topology::loopback(5)));
    network.start(5);
    let took = settle(&mut network, "grid with r5 again");
    assert!(took <= 60 * SECOND, "{took:?}");
    assert_databases_equal(&network, "grid with r5 again");
}

/// Loss of up to a fifth of all frames, repetition, reordering, links and routers that come and go; then only the loss
/// goes on, and tables and databases are right.
#[test]
fn random_networks_with_loss_and_flaps() {
    for (seed, routers, loss) in [(1, 20, 10), (2, 20, 50), (3, 30, 100), (4, 50, 200)] {
        let mut rng = Rng::new(seed);
        let topology = Topology::random(routers, routers / 2, &mut rng);
        let mut network = network_of(&topology, Quality::bad(loss), seed, OspfRouter::config);
        network.run_for(60 * SECOND);
        for _ in 0..15 {
            network.flap(&mut rng);
            network.run_for(rng.between(Duration::ZERO, 40 * SECOND));
        }
        network.mend();
        let what = format!("seed {seed}, {loss} permille");
        // Four hellos in a row are lost now and then at a fifth: it is enough to agree at some time.
        let agreed = (0..60).any(|_| {
            network.run_for(10 * SECOND);
            mismatches(&network, MEASURE, PATHS).is_empty()
        });
        assert!(agreed, "{what}: {:?}", mismatches(&network, MEASURE, PATHS).first());
        for s in 0..network.topology().segments.len() {
            network.set_quality(s, Quality::GOOD);
        }
        settle(&mut network, &what);
        assert_databases_equal(&network, &what);
    }
}

/// 200 routers in one area, from nothing.
#[test]
fn two_hundred_routers_converge() {
    let topology = Topology::random(200, 150, &mut Rng::new(9));
    let mut network = backbone(&topology, 9);
    network.stop_watching_loops();
    let took = settle(&mut network, "200 routers");
    assert!(took <= 80 * SECOND, "{took:?}");
    assert_databases_equal(&network, "200 routers");
    eprintln!("200 routers, 350 links: {took:?} of virtual time, {} frames", network.frames_sent());
}

/// r0-r1 in area 1, r1-r2 backbone, r2-r3 in area 2.
fn three_areas() -> Topology {
    Topology::line(4)
}

fn three_area_config(topology: &Topology, r: usize) -> Config {
    OspfRouter::config_of_areas(topology, r, |segment| area([1, 0, 2][segment]))
}

#[test]
fn three_areas_with_two_border_routers() {
    let mut network = network_of(&three_areas(), Quality::GOOD, 1, three_area_config);
    settle(&mut network, "three areas");
    let kinds = |network: &Network<OspfRouter>, r: usize| {
        let of = |name: &str| {
            let host = prefix(name);
            let route = network.router(r).expect("runs").ospf.routes().find(|route| route.prefix == host);
            route.map(|route| format!("{:?} {}", route.kind, route.cost))
        };
        [of("10.0.0.0/24"), of("10.0.1.0/24"), of("10.0.2.0/24")].map(|text| text.unwrap_or_default())
    };
    assert_eq!(kinds(&network, 0), ["IntraArea 1", "InterArea 2", "InterArea 3"]);
    assert_eq!(kinds(&network, 1), ["IntraArea 1", "IntraArea 1", "InterArea 2"]);
    network.set_segment(1, SegmentState::Down);
    settle(&mut network, "backbone cut");
    assert_eq!(kinds(&network, 0), ["IntraArea 1", "", ""]);
    network.set_segment(1, SegmentState::Up);
    settle(&mut network, "backbone mended");
    assert_eq!(kinds(&network, 0), ["IntraArea 1", "InterArea 2", "InterArea 3"]);
}

/// The networks of an area are told as one, at the cost of the farthest; or not at all.
#[test]
fn ranges() {
    for advertise in [true, false] {
        let config = move |topology: &Topology, r: usize| {
            let range = Range { prefix: prefix("172.16.0.0/23"), advertise, cost: None };
            let areas = [(area(1), AreaConfig { ranges: vec![range], ..AreaConfig::default() })].into();
            Config { areas, ..three_area_config(topology, r) }
        };
        let mut network = network_of(&three_areas(), Quality::GOOD, 1, config);
        network.run_until_quiet(QUIET, LIMIT).expect("quiet");
        let at_r3: Vec<String> = network
            .routes(3)
            .iter()
            .filter(|(prefix, _)| prefix.addr().octets()[0] == 172)
            .map(|(prefix, route)| format!("{prefix} {}", route.metric))
            .collect();
        // r1's and r2's host addresses: r0 and r1 have theirs in area 1, r2 in the backbone.
        let expected: &[&str] =
            if advertise { &["172.16.0.0/23 4", "172.16.0.2/32 2"] } else { &["172.16.0.2/32 2"] };
        assert_eq!(at_r3, expected, "advertise {advertise}");
    }
}

fn external(text: &str, kind: ExternalKind, cost: u32) -> Input {
    let (prefix, tag) = (prefix(text), 7);
    Input::Redistribute(Redistributed { prefix, cost: Some(cost), kind: Some(kind), tag, next_hop: None })
}

fn tell(network: &mut Network<OspfRouter>, r: usize, input: Input) {
    network.with_router(r, |router, now: Instant| router.input(now, input));
}

fn found(network: &Network<OspfRouter>, r: usize, text: &str) -> Option<(u32, u32)> {
    network.routes(r).get(&prefix(text)).map(|route| (route.metric, route.tag))
}

#[test]
fn external_routes_of_both_types() {
    let mut network = network_of(&three_areas(), Quality::GOOD, 1, three_area_config);
    for (r, cost) in [(0, 10), (3, 20)] {
        tell(&mut network, r, external("198.51.100.0/24", ExternalKind::Type1, cost));
        tell(&mut network, r, external("203.0.113.0/24", ExternalKind::Type2, cost));
    }
    network.run_until_quiet(QUIET, LIMIT).expect("quiet");
    // Type 1: the way counts. r2 is 2 from r0 and 1 from r3.
    assert_eq!(found(&network, 2, "198.51.100.0/24"), Some((12, 7)));
    assert_eq!(found(&network, 2, "203.0.113.0/24"), Some((10, 7)));
    // What is better from elsewhere is not used by who has it itself: it is its own protocol's affair.
    assert_eq!(found(&network, 3, "203.0.113.0/24"), Some((10, 7)));
    tell(&mut network, 0, Input::Withdraw(prefix("203.0.113.0/24")));
    network.run_until_quiet(QUIET, LIMIT).expect("quiet");
    assert_eq!(found(&network, 1, "203.0.113.0/24"), Some((20, 7)));
}

/// Area 2 is a stub, totally stubby, or an NSSA; r3 is within, r2 its border router, r0 has an external route.
#[test]
fn stub_areas_and_nssa() {
    let outside = "198.51.100.0/24";
    let inside = "203.0.113.0/24";
    let translate = Translate::Candidate;
    // (kind, r3 knows the external route of r0, of a network of area 1, the default; r0 knows the external route of r3)
    for (name, kind, expected) in [
        ("normal", AreaKind::Normal, [true, true, false, true]),
        ("stub", AreaKind::Stub { summaries: true }, [false, true, true, false]),
        ("totally stubby", AreaKind::Stub { summaries: false }, [false, false, true, false]),
        ("nssa", AreaKind::Nssa { summaries: true, translate }, [false, true, true, true]),
        ("totally nssa", AreaKind::Nssa { summaries: false, translate }, [false, false, true, true]),
        (
            "nssa that nobody translates",
            AreaKind::Nssa { summaries: true, translate: Translate::Never },
            [false, true, true, false],
        ),
    ] {
        let config = move |topology: &Topology, r: usize| {
            let areas = [(area(2), AreaConfig { kind, ..AreaConfig::default() })].into();
            Config { areas, ..three_area_config(topology, r) }
        };
        let mut network = network_of(&three_areas(), Quality::GOOD, 1, config);
        tell(&mut network, 0, external(outside, ExternalKind::Type2, 10));
        tell(&mut network, 3, external(inside, ExternalKind::Type2, 10));
        network.run_until_quiet(QUIET, LIMIT).expect("quiet");
        let knows = |r: usize, text: &str| found(&network, r, text).is_some();
        let actual = [knows(3, outside), knows(3, "10.0.0.0/24"), knows(3, "0.0.0.0/0"), knows(0, inside)];
        assert_eq!(actual, expected, "{name}");
        // Within the NSSA, the border router itself knows it as type 7.
        if kind.is_nssa() {
            assert!(knows(2, inside), "{name}");
        }
    }
}

/// Area 2 hangs on area 1: a virtual link through area 1 joins it to the backbone.
#[test]
fn a_virtual_link_joins_an_area_to_the_backbone() {
    let config = |with_link: bool| {
        move |topology: &Topology, r: usize| {
            let mut config = OspfRouter::config_of_areas(topology, r, |segment| area([0, 1, 2][segment]));
            let peer = match r {
                1 => Some(2),
                2 => Some(1),
                _ => None,
            };
            if let (Some(peer), true) = (peer, with_link) {
                let peer = millrace_ospf::wire::RouterId(topology::loopback(peer));
                let virtual_links = [(peer, InterfaceConfig::new(area(1)))].into();
                config.areas = [(area(1), AreaConfig { virtual_links, ..AreaConfig::default() })].into();
            }
            config
        }
    };
    let mut network = network_of(&Topology::line(4), Quality::GOOD, 1, config(false));
    network.run_until_quiet(QUIET, LIMIT).expect("quiet");
    assert_eq!(found(&network, 3, "10.0.0.0/24"), None);
    let mut network = network_of(&Topology::line(4), Quality::GOOD, 1, config(true));
    settle(&mut network, "virtual link");
    assert_eq!(found(&network, 3, "10.0.0.0/24"), Some((3, 0)));
}

/// Networks where nobody is heard by multicast, with and without a designated router.
#[test]
fn non_broadcast_networks() {
    for (name, kind) in [("nbma", NetworkType::NonBroadcast), ("p2mp", NetworkType::PointToMultipoint)] {
        let config = move |topology: &Topology, r: usize| {
            let mut config = OspfRouter::config(topology, r);
            for (interface, _) in topology.interfaces(r).into_iter().skip(1) {
                let neighbors = (0..4).map(|at| topology::member_address(0, at));
                let own = interface.addresses[0].address;
                let settings = config.interfaces.get_mut(&interface.name).expect("configured");
                settings.network = Some(kind);
                settings.neighbors = neighbors.filter(|address| *address != own).collect();
            }
            config
        };
        let mut network = network_of(&Topology::lan(4), Quality::GOOD, 1, config);
        network.run_until_quiet(QUIET, LIMIT).expect("quiet");
        let now = network.now();
        let full = |r: usize| network.router(r).expect("runs").ospf.summary(now).full_neighbors;
        // The two highest are designated and backup.
        let expected = if kind == NetworkType::NonBroadcast { [2, 2, 3, 3] } else { [3; 4] };
        assert_eq!((0..4).map(full).collect::<Vec<_>>(), expected, "{name}");
        for r in 0..4 {
            for other in (0..4).filter(|other| *other != r) {
                let host = Prefix::host(topology::loopback(other));
                assert!(network.routes(r).contains_key(&host), "{name}: r{r} to r{other}");
            }
        }
    }
}

/// Nobody passes a stub router as long as there is another way; what is on it stays within reach.
#[test]
fn a_stub_router_is_routed_around() {
    let mut network = backbone(&Topology::ring(5), 1);
    settle(&mut network, "ring");
    let through = |network: &Network<OspfRouter>| {
        let hop = network.routes(0)[&Prefix::host(topology::loopback(2))].next_hops[0].gateway;
        hop.and_then(|gateway| network.owner(gateway))
    };
    assert_eq!(through(&network), Some(1));
    tell(&mut network, 1, Input::StubRouter(true));
    network.run_until_quiet(QUIET, LIMIT).expect("quiet");
    assert_eq!(through(&network), Some(4));
    assert!(network.routes(0).contains_key(&Prefix::host(topology::loopback(1))));
    tell(&mut network, 1, Input::StubRouter(false));
    network.run_until_quiet(QUIET, LIMIT).expect("quiet");
    assert_eq!(through(&network), Some(1));
}

/// Own LSAs are repeated every half hour and no others; a router that leaves says so.
#[test]
fn refresh_and_shutdown() {
    let mut network = backbone(&Topology::ring(4), 1);
    settle(&mut network, "ring");
    network.run_for(Duration::from_secs(2 * 3600));
    settle(&mut network, "ring after two hours");
    assert_databases_equal(&network, "ring after two hours");
    let now = network.now();
    let lsas = network.router(0).expect("runs").ospf.lsas(now, None);
    assert_eq!(lsas.len(), 4);
    assert!(lsas.iter().all(|lsa| lsa.age < 1900), "{lsas:?}");
    tell(&mut network, 2, Input::Shutdown);
    network.run_for(3 * SECOND);
    assert!(network.routes(0).keys().all(|prefix| prefix.addr() != topology::loopback(2)));
    assert_eq!(network.router(0).expect("runs").ospf.lsas(network.now(), None).len(), 3);
}

/// The same seed gives the same run, frame by frame.
#[test]
fn runs_are_reproducible() {
    let run = |seed| {
        let mut rng = Rng::new(seed);
        let topology = Topology::random(10, 5, &mut rng);
        let mut network = network_of(&topology, Quality::bad(100), seed, OspfRouter::config);
        for _ in 0..8 {
            network.flap(&mut rng);
            network.run_for(15 * SECOND);
        }
        (network.frames_sent(), network.loops().count(), millrace_sim::report::tables(&network))
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
