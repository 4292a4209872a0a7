//! BFD beside RIP in whole networks: a link that goes silent is routed around in the detection time, where RIP alone
//! would wait for its time-out.

use std::num::NonZeroU8;
use std::time::Duration;

use millrace_bfd::wire::Micros;
use millrace_bfd::{Config, Input, Params, State};
use millrace_net::Prefix;
use millrace_proto::Machine;
use millrace_rip::InterfaceConfig;
use millrace_rip::config::SplitHorizon;
use millrace_sim::oracle::mismatches;
use millrace_sim::rip::{MEASURE, RipRouter};
use millrace_sim::{Network, Quality, SegmentState, Topology, topology};

const SECOND: Duration = Duration::from_secs(1);

fn network(topology: &Topology, quality: Quality, seed: u64, bfd: bool) -> Network<RipRouter> {
    let plan = topology.clone();
    let base = InterfaceConfig { bfd, ..RipRouter::base(SplitHorizon::PoisonedReverse) };
    let fifty = Micros::from_millis(50);
    let params = Params::new(fifty, fifty, NonZeroU8::new(3).expect("three")).expect("valid");
    let make = move |r, seed| {
        let mut router = RipRouter::new(&plan, r, seed, &base, NonZeroU8::MIN);
        let config = Config { default: params, ..Config::default() };
        router.bfd.handle_input(millrace_proto::Instant::ZERO, Input::Configure(config));
        router
    };
    Network::new(topology.clone(), quality, seed, make)
}

/// How long router 0 keeps its route to router 2's loopback when the segment towards it goes silent.
fn failover(seed: u64, bfd: bool) -> Duration {
    // r0 reaches r2 directly; r1 offers the detour.
    let segments = vec![(vec![0, 2], 1), (vec![0, 1], 1), (vec![1, 2], 1)];
    let mut network = network(&Topology { routers: 3, segments }, Quality::GOOD, seed, bfd);
    network.run_for(90 * SECOND);
    assert_eq!(mismatches(&network, MEASURE, 1), []);
    let target = Prefix::host(topology::loopback(2));
    let direct = |network: &Network<RipRouter>| {
        let route = network.routes(0).get(&target).map(|route| route.metric);
        route == Some(2)
    };
    network.set_segment(0, SegmentState::Silent);
    let cut = network.now();
    while direct(&network) {
        assert!(network.step());
    }
    network.now() - cut
}

#[test]
fn a_silent_link_is_routed_around_within_the_detection_time() {
    for seed in 1..=10 {
        let took = failover(seed, true);
        assert!(took <= Duration::from_millis(155), "seed {seed}: {took:?}");
        assert!(failover(seed, false) >= 100 * SECOND, "without BFD the time-out decides");
    }
}

/// The alternative is at hand, so packets have a way again at once, and not only when the next update comes.
#[test]
fn the_next_best_path_takes_over_at_once() {
    let mut network = network(&Topology::grid(3, 3), Quality::GOOD, 3, true);
    network.run_for(120 * SECOND);
    assert_eq!(mismatches(&network, MEASURE, 1), []);
    network.set_segment(0, SegmentState::Silent);
    network.run_for(Duration::from_millis(200));
    let target = Prefix::host(topology::loopback(8));
    assert!(network.routes(0).contains_key(&target), "r0 has lost r8 with one of two links");
}

/// Loss of a tenth of all packets: three in a row are rare, sessions come back by themselves, and no state is stuck.
#[test]
fn sessions_survive_loss() {
    let mut network = network(&Topology::ring(5), Quality::bad(100), 4, true);
    network.run_for(300 * SECOND);
    network.set_segment(1, SegmentState::Silent);
    network.run_for(10 * SECOND);
    let states = |network: &Network<RipRouter>| -> Vec<State> {
        let running = (0..5).filter_map(|r| network.router(r));
        running.flat_map(|router| router.bfd.sessions(network.now()).map(|view| view.state)).collect()
    };
    assert!(states(&network).iter().filter(|state| **state != State::Up).count() >= 1);
    network.set_segment(1, SegmentState::Up);
    for s in 0..5 {
        network.set_quality(s, Quality::GOOD);
    }
    network.run_for(60 * SECOND);
    assert_eq!(states(&network), [State::Up; 10]);
    assert_eq!(mismatches(&network, MEASURE, 1), []);
}
