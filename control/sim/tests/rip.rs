//! RIP in whole networks: tables against the oracle, loops, counting to infinity, failures, loss.

use std::num::NonZeroU8;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::Rng;
use millrace_rip::config::SplitHorizon;
use millrace_sim::oracle::mismatches;
use millrace_sim::rip::{MEASURE, RipRouter};
use millrace_sim::{Network, Quality, SegmentState, Topology, report, topology};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any timer: who is silent for this long has nothing left to say.
const QUIET: Duration = Duration::from_secs(310);
const LIMIT: Duration = Duration::from_secs(3600);

fn network_of(
    topology: &Topology,
    quality: Quality,
    seed: u64,
    split_horizon: SplitHorizon,
    max_paths: u8,
) -> Network<RipRouter> {
    let plan = topology.clone();
    let max_paths = NonZeroU8::new(max_paths).expect("at least one path");
    let make = move |r, seed| RipRouter::new(&plan, r, seed, &RipRouter::base(split_horizon), max_paths);
    Network::new(topology.clone(), quality, seed, make)
}

fn poisoned(topology: &Topology, seed: u64) -> Network<RipRouter> {
    network_of(topology, Quality::GOOD, seed, SplitHorizon::PoisonedReverse, 1)
}

fn settle(network: &mut Network<RipRouter>, what: &str) -> Duration {
    let began = network.now();
    let quiet = network.run_until_quiet(QUIET, LIMIT).unwrap_or_else(|| panic!("{what}: never quiet"));
    assert_eq!(mismatches(network, MEASURE, 1), [], "{what}");
    assert!(!network.loops().is_looping(), "{what}");
    quiet - began
}

/// Every shape, from nothing: the tables are the oracle's within a few seconds a hop, and no packet ever circles.
#[test]
fn networks_converge_to_the_oracle() {
    for (name, topology, seconds) in [
        ("line", Topology::line(8), 20),
        ("ring", Topology::ring(7), 10),
        ("grid", Topology::grid(6, 6), 15),
        ("lan", Topology::lan(12), 5),
        ("tree", Topology::tree(20, &mut Rng::new(4)), 20),
        ("random", Topology::random(24, 14, &mut Rng::new(5)), 20),
    ] {
        for seed in 1..=3 {
            let mut network = poisoned(&topology, seed);
            let took = settle(&mut network, name);
            assert!(took <= seconds * SECOND, "{name} took {took:?}");
            assert_eq!(network.loops().count(), 0, "{name}");
        }
    }
}

#[test]
fn final_tables() {
    let mut line = poisoned(&Topology::line(4), 1);
    settle(&mut line, "line");
    insta::assert_snapshot!("line-of-4", report::tables(&line));
    let mut ring = poisoned(&Topology::ring(5), 1);
    settle(&mut ring, "ring");
    insta::assert_snapshot!("ring-of-5", report::tables(&ring));
    let mut lan = poisoned(&Topology::lan(3), 1);
    settle(&mut lan, "lan");
    insta::assert_snapshot!("lan-of-3", report::tables(&lan));
    let mut grid = poisoned(&Topology::grid(6, 6), 1);
    settle(&mut grid, "grid");
    let corner: String = report::tables(&grid)
        .lines()
        .filter(|line| line.starts_with("r0 "))
        .map(|line| format!("{line}\n"))
        .collect();
    insta::assert_snapshot!("grid-6x6-corner", corner);
}

/// What is 16 away is out of reach: the ends of a line of 18 do not know each other.
#[test]
fn infinity_is_sixteen() {
    let mut network = poisoned(&Topology::line(18), 1);
    settle(&mut network, "line of 18");
    let far = |r: usize| network.routes(0).contains_key(&Prefix::host(topology::loopback(r)));
    assert_eq!((far(14), far(15), far(17)), (true, false, false));
}

/// With several paths allowed, all of the best are used.
#[test]
fn equal_cost_paths_are_the_oracles() {
    for (topology, seed) in [(Topology::grid(5, 5), 1), (Topology::random(20, 20, &mut Rng::new(6)), 2)] {
        let mut network = network_of(&topology, Quality::GOOD, seed, SplitHorizon::PoisonedReverse, 4);
        network.run_until_quiet(QUIET, LIMIT).expect("quiet");
        assert_eq!(mismatches(&network, MEASURE, 4), []);
        assert_eq!(network.loops().count(), 0);
    }
}

/// In a network without cycles split horizon leaves no packet circling at any moment, whatever fails in whatever order.
#[test]
fn trees_never_loop() {
    for split_horizon in [SplitHorizon::Simple, SplitHorizon::PoisonedReverse] {
        for seed in 1..=6 {
            let mut rng = Rng::new(seed);
            let topology = Topology::tree(14, &mut rng);
            let mut network = network_of(&topology, Quality::bad(50), seed, split_horizon, 1);
            network.run_for(60 * SECOND);
            for _ in 0..25 {
                network.flap(&mut rng);
                network.run_for(rng.between(Duration::ZERO, 20 * SECOND));
            }
            assert_eq!(network.loops().count(), 0, "{split_horizon:?} seed {seed}");
        }
    }
}

/// Three routers pass a dead destination round, each believing the one before, until it is 16 away: counting is bounded.
#[test]
fn counting_to_infinity_is_bounded() {
    // r0 hangs on r1; r1, r2 and r3 are a triangle.
    let segments = [[0, 1], [1, 2], [1, 3], [2, 3]].map(|members| (members.to_vec(), 1)).to_vec();
    for seed in 1..=5 {
        let mut network = poisoned(&Topology { routers: 4, segments: segments.clone() }, seed);
        settle(&mut network, "triangle");
        // r3 does not hear that r0 is gone, and r2 believes r3.
        network.set_segment(2, SegmentState::Silent);
        network.set_segment(0, SegmentState::Down);
        network.run_for(SECOND);
        network.set_segment(2, SegmentState::Up);
        let gone = settle(&mut network, "triangle without r0");
        assert!(gone <= 16 * 5 * SECOND, "{gone:?}");
        assert_ne!(network.loops().count(), 0, "seed {seed}: nobody counted");
        assert!(network.loops().longest(network.now()) <= 16 * 5 * SECOND);
    }
    // In a ring split horizon does not help by itself; infinity does.
    for seed in 1..=5 {
        let mut network = poisoned(&Topology::ring(4), seed);
        settle(&mut network, "ring");
        network.set_segment(0, SegmentState::Down);
        network.crash(0);
        network.run_for(180 * SECOND);
        let took = settle(&mut network, "ring without r0");
        assert!(took <= 16 * 5 * SECOND, "{took:?}");
        assert!(network.loops().longest(network.now()) <= 16 * 5 * SECOND);
    }
}

/// A link that goes down is routed around in seconds; one that comes back is used again.
#[test]
fn failover_in_a_ring() {
    for seed in 1..=5 {
        let mut network = poisoned(&Topology::ring(6), seed);
        settle(&mut network, "ring");
        network.set_segment(2, SegmentState::Down);
        let took = settle(&mut network, "ring cut");
        assert!(took <= 35 * SECOND, "cut: {took:?}");
        network.set_segment(2, SegmentState::Up);
        let took = settle(&mut network, "ring mended");
        assert!(took <= 35 * SECOND, "mended: {took:?}");
    }
}

/// A router that dies without a word is noticed by its silence, and takes part again when it is back.
#[test]
fn a_router_is_killed_and_comes_back() {
    for seed in 1..=3 {
        let topology = Topology::grid(4, 4);
        let mut network = poisoned(&topology, seed);
        settle(&mut network, "grid");
        network.crash(5);
        network.run_for(181 * SECOND);
        settle(&mut network, "grid without r5");
        assert!(network.routes(0).keys().all(|prefix| prefix.addr() != topology::loopback(5)));
        network.start(5);
        let took = settle(&mut network, "grid with r5 again");
        assert!(took <= 40 * SECOND, "{took:?}");
    }
}

/// Loss of up to a fifth of all frames, repetition, reordering, links and routers that come and go; then only the loss
/// goes on, and the tables are the oracle's.
#[test]
fn random_networks_with_loss_and_flaps() {
    for (seed, loss) in [(1, 10), (2, 50), (3, 100), (4, 150), (5, 200), (6, 200)] {
        let mut rng = Rng::new(seed);
        let topology = Topology::random(12, 8, &mut rng);
        let mut network = network_of(&topology, Quality::bad(loss), seed, SplitHorizon::PoisonedReverse, 1);
        network.run_for(60 * SECOND);
        for _ in 0..20 {
            network.flap(&mut rng);
            network.run_for(rng.between(Duration::ZERO, 40 * SECOND));
        }
        network.mend();
        let what = format!("seed {seed}, {loss} permille");
        let began = network.now();
        let agreed = (0..60).any(|_| {
            network.run_for(10 * SECOND);
            mismatches(&network, MEASURE, 1).is_empty()
        });
        assert!(agreed, "{what}: {:?}", mismatches(&network, MEASURE, 1).first());
        let took = network.now() - began;
        eprintln!(
            "{what}: {took:?} loops {} longest {:?}",
            network.loops().count(),
            network.loops().longest(network.now())
        );
        assert!(took <= Duration::from_secs(320), "{what} took {took:?}");
        // Lost poison leaves loops until the next regular updates get through.
        assert!(network.loops().longest(network.now()) <= Duration::from_secs(180), "{what}");
        // And it stays so while the loss goes on.
        for _ in 0..30 {
            network.run_for(20 * SECOND);
            assert_eq!(mismatches(&network, MEASURE, 1), [], "{what}");
        }
    }
}

/// An hour of a stable network is regular updates and nothing else.
#[test]
fn a_stable_network_is_quiet() {
    let mut network = poisoned(&Topology::ring(6), 1);
    settle(&mut network, "ring");
    let before = network.frames_sent();
    network.run_for(Duration::from_secs(3600));
    let frames = network.frames_sent() - before;
    // 12 ends of links, an update each 30 s.
    assert!((12 * 115..=12 * 125).contains(&frames), "{frames}");
}

/// The same seed gives the same run, frame by frame.
#[test]
fn runs_are_reproducible() {
    let run = |seed| {
        let mut rng = Rng::new(seed);
        let topology = Topology::random(10, 5, &mut rng);
        let mut network = network_of(&topology, Quality::bad(100), seed, SplitHorizon::PoisonedReverse, 1);
        for _ in 0..10 {
            network.flap(&mut rng);
            network.run_for(15 * SECOND);
        }
        (network.frames_sent(), network.loops().count(), report::tables(&network))
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
