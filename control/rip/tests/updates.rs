//! When things are said: regular and triggered updates, their randomness and limits, long tables, failures of links and
//! neighbours, reconfiguration, and replay. RFC 2453 §3.8, §3.10.

mod common;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::num::NonZeroU8;
use std::time::Duration;

use common::{
    A, B, C, ETH0, ETH1, Router, chain, config, entries, interface, key, prefix, route, said, sent,
};
use millrace_proto::{
    Algorithm, IfIndex, Instant, InterfaceEvent, KeyId, Lifetime, LinkKind, Machine, NextHop, RouteChange,
    Step, UnixTime, WallClock, record,
};
use millrace_rip::config::{Authentication, DefaultRoute};
use millrace_rip::{
    Config, Cost, Input, InterfaceConfig, Metric, NeighborKey, Notice, Output, Redistributed, Rip,
};

const NET: &str = "192.0.2.0/24";
const SECOND: Duration = Duration::from_secs(1);

fn both(eth: InterfaceConfig) -> Config {
    config(eth.clone(), eth)
}

fn redistribute(net: &str) -> Input {
    let (metric, tag, next_hop) = (None, 0, None);
    Input::Redistribute(Redistributed {
        protocol: millrace_policy::Protocol::Static,
        prefix: prefix(net),
        metric,
        tag,
        next_hop,
    })
}

fn on(outputs: &[(Instant, Output)], interface: IfIndex) -> Vec<(Instant, Vec<String>)> {
    let mut all: Vec<(Instant, Vec<String>)> = Vec::new();
    for (at, output) in outputs {
        let said = said(std::slice::from_ref(output), interface);
        match all.last_mut() {
            _ if said.is_empty() => {}
            Some((last, texts)) if last == at => texts.extend(said),
            _ => all.push((*at, said)),
        }
    }
    all
}

/// RFC 2453 §3.8: every 30 s give or take 5, never in step, and the whole table.
#[test]
fn regular_updates() {
    let mut router = Router::new(both(InterfaceConfig::default()));
    for net in ["192.0.2.0/24", "198.51.100.0/24"] {
        router.tell(redistribute(net));
    }
    router.pass(10 * SECOND);
    let outputs = router.pass_timed(Duration::from_secs(3000));
    let updates = on(&outputs, ETH0);
    let intervals: BTreeSet<u128> =
        updates.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_millis()).collect();
    assert!(intervals.iter().all(|ms| (25_000..=35_000).contains(ms)), "{intervals:?}");
    assert!(80 < intervals.len(), "intervals repeat: {intervals:?}");
    for (_, said) in &updates {
        assert_eq!(*said, ["10.0.1.0/24 metric 1", "192.0.2.0/24 metric 1", "198.51.100.0/24 metric 1"]);
    }
    assert_ne!(on(&outputs, ETH1)[0].0, updates[0].0);
}

/// RFC 2453 §3.10.1: the first change at once, further ones together after 1 to 5 s, each once, and only what changed.
#[test]
fn triggered_updates() {
    let mut router = Router::quiet();
    let mut holds = BTreeSet::new();
    for round in 0..40u8 {
        let (first, second, third) = (
            format!("10.{}.1.0/24", 50 + round),
            format!("10.{}.2.0/24", 50 + round),
            format!("10.{}.3.0/24", 50 + round),
        );
        let began = router.now;
        assert_eq!(said(&router.tell(redistribute(&first)), ETH0), [format!("{first} metric 1")]);
        assert!(router.tell(redistribute(&second)).is_empty());
        assert!(router.pass(SECOND / 2).is_empty());
        assert!(router.tell(redistribute(&third)).is_empty());
        let later = router.pass_timed(20 * SECOND);
        let [(at, said)] = on(&later, ETH0).try_into().unwrap();
        assert_eq!(said, [format!("{second} metric 1"), format!("{third} metric 1")]);
        let hold = at - began;
        assert!((SECOND..=5 * SECOND).contains(&hold), "{hold:?}");
        holds.insert(hold);
    }
    assert_eq!(holds.len(), 40, "the delay is random");
}

/// RFC 2453 §3.10.1: what a regular update says at this very moment is not said twice.
#[test]
fn a_triggered_update_gives_way_to_a_regular_one() {
    let mut router = Router::new(both(InterfaceConfig::default()));
    router.pass(6 * SECOND);
    let (due, what) = router.rip.poll_timeout().unwrap();
    assert_eq!(what, "rip: regular update");
    // A change, and then the deadline, at the same instant; and the other way round.
    for change_first in [true, false] {
        let mut rip = router.rip.clone();
        if change_first {
            rip.handle_input(due, redistribute(NET));
            rip.handle_timeout(due);
        } else {
            rip.handle_timeout(due);
            rip.handle_input(due, redistribute(NET));
        }
        let outputs: Vec<Output> = std::iter::from_fn(|| rip.poll_output()).collect();
        let times = |interface| said(&outputs, interface).iter().filter(|text| text.starts_with(NET)).count();
        assert_eq!((times(ETH0), times(ETH1)), (1, 1), "change first: {change_first}");
    }
}

/// RFC 2453 §3.8: gone routes are announced as unreachable until garbage collection, then not at all.
#[test]
fn time_out_and_garbage_collection() {
    let mut router = Router::new(both(InterfaceConfig::default()));
    router.hear(A, &[route(NET, 3)]);
    let heard = router.now;
    let outputs = router.pass_timed(Duration::from_secs(500));
    let mut seen: Vec<(u64, String)> = Vec::new();
    for (at, said) in on(&outputs, ETH1) {
        let text = said.into_iter().find(|text| text.starts_with(NET)).unwrap_or_else(|| "absent".into());
        if seen.last().is_none_or(|(_, last)| *last != text) {
            seen.push(((at - heard).as_secs(), text));
        }
    }
    let [(_, first), (gone, second), (absent, third)] = seen.try_into().unwrap();
    assert_eq!([first, second, third], ["192.0.2.0/24 metric 4", "192.0.2.0/24 metric 16", "absent"]);
    assert_eq!(gone, 180);
    assert!((300..=335).contains(&absent), "{absent}");
    let removed = outputs
        .iter()
        .find(|(_, output)| *output == Output::Route(RouteChange::Remove(prefix(NET))))
        .unwrap();
    assert_eq!(removed.0 - heard, Duration::from_secs(180));
}

/// RFC 2453 §3.8: a route that comes back stays, whatever the deletion that had begun.
#[test]
fn a_route_that_comes_back_in_time() {
    let mut router = Router::quiet();
    router.hear(A, &[route(NET, 3)]);
    router.hear(A, &[route(NET, 16)]);
    router.pass(Duration::from_secs(60));
    router.hear(A, &[route(NET, 3)]);
    router.pass(Duration::from_secs(100));
    let view = router.rip.routes(router.now).find(|view| view.prefix == prefix(NET)).unwrap();
    assert_eq!(view.metric.get(), 4);
}

/// RFC 2453 §3.10.2: 25 entries a message; a long table goes out at a pace, complete and without repetition.
#[test]
fn long_tables() {
    let mut router = Router::quiet();
    let nets: Vec<String> = (0..10_000u32).map(|i| format!("20.{}.{}.0/24", i / 256, i % 256)).collect();
    for net in &nets {
        router.tell(redistribute(net));
    }
    router.pass(Duration::from_secs(60));
    let ask = millrace_rip::wire::encode(
        millrace_rip::wire::Command::Request,
        millrace_rip::wire::Version::V2,
        &[millrace_rip::wire::Entry::WHOLE_TABLE],
        millrace_rip::wire::Protection::None,
    );
    let mut outputs: Vec<(Instant, Output)> = Vec::new();
    let now = router.now;
    let first = router.tell(Input::Datagram(common::datagram(ETH0, A, ask)));
    assert_eq!(first.len(), 20, "one burst at once");
    outputs.extend(first.into_iter().map(|output| (now, output)));
    outputs.extend(router.pass_timed(SECOND));
    let sizes: Vec<usize> = outputs
        .iter()
        .flat_map(|(_, o)| sent(std::slice::from_ref(o)))
        .map(|t| entries(&t.payload).len())
        .collect();
    assert_eq!(sizes.len(), 401);
    assert!(sizes[..400].iter().all(|size| *size == 25));
    let said: Vec<String> = outputs.iter().flat_map(|(_, o)| said(std::slice::from_ref(o), ETH0)).collect();
    assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), 10_001);
    let last = outputs.last().unwrap().0;
    assert!(last - now <= Duration::from_millis(250), "{:?}", last - now);
}

/// 10,000 routes from a peer are there as soon as the last message is.
#[test]
fn ten_thousand_routes_from_a_peer() {
    let mut router = Router::quiet();
    let nets: Vec<_> =
        (0..10_000u32).map(|i| route(&format!("20.{}.{}.0/24", i / 256, i % 256), 2)).collect();
    let round = |router: &mut Router| -> usize {
        nets.chunks(25).map(|chunk| routes_told(&router.hear(A, chunk))).sum()
    };
    assert_eq!(round(&mut router), 10_000);
    router.pass(Duration::from_secs(60));
    // A second round of the same says nothing to anyone.
    assert_eq!(round(&mut router), 0);
    assert!(said(&router.pass(Duration::from_secs(60)), ETH1).is_empty());
    assert_eq!(router.rip.neighbors(router.now)[0].routes, 10_000);
}

fn routes_told(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Route(_))).count()
}

/// The table has a limit; what is known stays known.
#[test]
fn the_table_is_bounded() {
    let mut router = Router::new(Config { max_routes: 4, ..both(InterfaceConfig::default()) });
    router.hear(A, &[route("20.1.0.0/16", 1), route("20.2.0.0/16", 1), route("20.3.0.0/16", 1)]);
    assert_eq!(router.rip.route_count(), 4);
    assert_eq!(routes_told(&router.hear(A, &[route("20.1.0.0/16", 5), route("20.3.0.0/16", 1)])), 1);
    let refused = router.rip.interfaces(router.now).next().unwrap().stats.bad_routes.total();
    assert_eq!(refused, 2);
}

/// A link that goes takes its network and what was learned there, at once; when it comes back, tables are asked for.
#[test]
fn a_link_that_fails() {
    let mut router = Router::quiet();
    router.hear(A, &[route(NET, 3)]);
    router.pass(10 * SECOND);
    let down = millrace_proto::Interface { up: false, ..interface(ETH0) };
    let outputs = router.tell(Input::Interface(InterfaceEvent::Upsert(down)));
    assert_eq!(said(&outputs, ETH1), ["10.0.0.0/24 metric 16", "192.0.2.0/24 metric 16"]);
    assert!(outputs.contains(&Output::Route(RouteChange::Remove(prefix(NET)))));
    assert!(outputs.contains(&Output::Unlisten(ETH0)));
    assert!(said(&router.pass(10 * SECOND), ETH0).is_empty());
    let outputs = router.tell(Input::Interface(InterfaceEvent::Upsert(interface(ETH0))));
    assert_eq!(outputs[0], Output::Listen(ETH0));
    assert_eq!(said(&outputs, ETH0)[0], "everything?");
    assert_eq!(said(&outputs, ETH1), ["10.0.0.0/24 metric 1"]);
    assert!(!router.tell(Input::Interface(InterfaceEvent::Remove(ETH0))).is_empty());
    assert!(router.tell(Input::Interface(InterfaceEvent::Remove(ETH0))).is_empty());
}

/// Equal paths share the traffic up to the configured number; the one in use is kept rather than exchanged.
#[test]
fn equal_cost_paths() {
    let two = NonZeroU8::new(2).unwrap();
    let mut router = Router::new(Config { max_paths: two, ..both(InterfaceConfig::default()) });
    let hops = |outputs: &[Output]| {
        common::routes(outputs).last().map(|route| route.next_hops.clone()).unwrap_or_default()
    };
    let (a, b, c) = (NextHop::via(A, ETH0), NextHop::via(B, ETH0), NextHop::via(C, ETH1));
    assert_eq!(hops(&router.hear(B, &[route(NET, 3)])), [b]);
    assert_eq!(hops(&router.hear(C, &[route(NET, 3)])), [b, c]);
    assert_eq!(hops(&router.hear(A, &[route(NET, 3)])), []);
    assert_eq!(hops(&router.hear(B, &[route(NET, 16)])), [a, c]);
    assert_eq!(hops(&router.hear(A, &[route(NET, 2)])), [a]);
    // Poisoned on both links while it comes from both.
    router.hear(A, &[route(NET, 3)]);
    let outputs = router.pass(Duration::from_secs(40));
    for interface in [ETH0, ETH1] {
        let said: Vec<String> =
            said(&outputs, interface).into_iter().filter(|text| text.starts_with(NET)).collect();
        assert_eq!(said.last().unwrap(), "192.0.2.0/24 metric 16");
    }
}

/// An equal configuration, and equal interfaces and routes, cause nothing at all.
#[test]
fn telling_the_same_again_changes_nothing() {
    let config = both(InterfaceConfig { bfd: true, ..InterfaceConfig::default() });
    let mut router = Router::new(config.clone());
    router.hear(A, &[route(NET, 3)]);
    router.tell(redistribute("198.51.100.0/24"));
    router.pass(10 * SECOND);
    let deadline = router.rip.poll_timeout();
    assert_eq!(router.tell(Input::Configure(config)), []);
    assert_eq!(router.tell(Input::Interface(InterfaceEvent::Upsert(interface(ETH0)))), []);
    assert_eq!(router.tell(redistribute("198.51.100.0/24")), []);
    assert_eq!(router.tell(Input::Withdraw(prefix("203.0.113.0/24"))), []);
    assert_eq!(router.hear(A, &[route(NET, 3)]), []);
    assert_eq!(router.rip.poll_timeout(), deadline);
}

/// What a changed configuration does, and nothing beside it.
#[test]
fn reconfiguration() {
    let base = both(InterfaceConfig::default());
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    let eth0 = |config: &mut Config, change: &dyn Fn(&mut InterfaceConfig)| {
        change(config.interfaces.get_mut("eth0").unwrap());
    };
    let default = DefaultRoute { metric: Metric::new(7).unwrap(), tag: 1 };
    for (name, config, eth1_hears) in [
        ("default route", with(&|c| c.default_route = Some(default)), vec!["0.0.0.0/0 metric 7 tag 1"]),
        (
            "default metric",
            with(&|c| c.default_metric = Metric::new(9).unwrap()),
            vec!["198.51.100.0/24 metric 9"],
        ),
        (
            "cost",
            with(&|c| eth0(c, &|e| e.cost = Cost::new(5).unwrap())),
            vec!["10.0.0.0/24 metric 5", "192.0.2.0/24 metric 8"],
        ),
        (
            "cost too high",
            with(&|c| eth0(c, &|e| e.cost = Cost::new(13).unwrap())),
            vec!["10.0.0.0/24 metric 13", "192.0.2.0/24 metric 16"],
        ),
        (
            "without eth0",
            with(&|c| drop(c.interfaces.remove("eth0"))),
            vec!["10.0.0.0/24 metric 16", "192.0.2.0/24 metric 16"],
        ),
        ("passive", with(&|c| eth0(c, &|e| e.passive = true)), vec![]),
    ] {
        let mut router = Router::new(base.clone());
        router.hear(A, &[route(NET, 3)]);
        router.tell(redistribute("198.51.100.0/24"));
        router.pass(10 * SECOND);
        let outputs = router.tell(Input::Configure(config));
        assert_eq!(said(&outputs, ETH1), eth1_hears, "{name}");
    }
}

/// RFC 2453 §3.7: a default route is originated, and taken back.
#[test]
fn default_route_origination() {
    let default = DefaultRoute { metric: Metric::MIN, tag: 0 };
    let mut router = Router::new(Config { default_route: Some(default), ..both(InterfaceConfig::default()) });
    assert!(said(&router.pass(Duration::from_secs(36)), ETH0).contains(&"0.0.0.0/0 metric 1".into()));
    // It yields to nothing that is learned, but what is learned is there for the routing table.
    let outputs = router.hear(A, &[route("0.0.0.0/0", 1)]);
    assert_eq!((routes_told(&outputs), said(&outputs, ETH1)), (1, vec![]));
    let outputs = router.tell(Input::Configure(both(InterfaceConfig::default())));
    assert_eq!(said(&outputs, ETH1), ["0.0.0.0/0 metric 2"]);
}

/// BFD is asked for when a neighbour is heard, and ends with it; a failure forgets what the neighbour said at once.
#[test]
fn bfd() {
    let mut router = Router::new(both(InterfaceConfig { bfd: true, ..InterfaceConfig::default() }));
    let neighbor = NeighborKey { interface: ETH0, address: A };
    let watch = |wanted| Output::Bfd { neighbor, local: Ipv4Addr::new(10, 0, 0, 1), wanted };
    let asks = |outputs: &[Output]| -> Vec<Output> {
        outputs.iter().filter(|output| matches!(output, Output::Bfd { .. })).cloned().collect()
    };
    assert_eq!(asks(&router.hear(A, &[route(NET, 3)])), [watch(true)]);
    assert_eq!(asks(&router.hear(A, &[route(NET, 3)])), []);
    router.pass(10 * SECOND);
    let outputs = router.tell(Input::NeighborDown(neighbor));
    assert_eq!(said(&outputs, ETH1), ["192.0.2.0/24 metric 16"]);
    assert_eq!(asks(&outputs), [watch(false)]);
    assert_eq!(asks(&router.hear(A, &[route(NET, 3)])), [watch(true)]);
    assert_eq!(asks(&router.tell(Input::Configure(both(InterfaceConfig::default())))), [watch(false)]);
    assert_eq!(router.tell(Input::NeighborDown(NeighborKey { interface: ETH1, address: A })), []);
}

/// The last word: nothing can be reached here.
#[test]
fn shutdown() {
    let mut router = Router::quiet();
    router.tell(redistribute("198.51.100.0/24"));
    router.hear(A, &[route(NET, 3)]);
    router.pass(10 * SECOND);
    let outputs = router.tell(Input::Shutdown);
    assert_eq!(
        said(&outputs, ETH1),
        ["10.0.0.0/24 metric 16", "192.0.2.0/24 metric 16", "198.51.100.0/24 metric 16"]
    );
    assert!(outputs.contains(&Output::Route(RouteChange::Remove(prefix(NET)))));
    assert!(sent(&router.pass(Duration::from_secs(400))).is_empty());
}

/// A loopback interface announces its addresses and exchanges nothing; net 127 is nobody's.
#[test]
fn loopback_interfaces() {
    let mut lo = interface(IfIndex(3));
    lo.kind = LinkKind::Loopback;
    lo.name = "lo".into();
    let address = |octets: [u8; 4], prefix_len| millrace_proto::InterfaceAddress {
        address: octets.into(),
        prefix_len,
        peer: None,
    };
    lo.addresses = vec![address([127, 0, 0, 1], 8), address([10, 255, 0, 1], 32)];
    let mut config = both(InterfaceConfig::default());
    config.interfaces.insert("lo".into(), InterfaceConfig::default());
    let mut router = Router::new(config);
    let outputs = router.tell(Input::Interface(InterfaceEvent::Upsert(lo)));
    assert_eq!(said(&outputs, ETH0), ["10.255.0.1/32 metric 1"]);
    assert!(!outputs.contains(&Output::Listen(IfIndex(3))));
    assert!(said(&router.pass(Duration::from_secs(40)), IfIndex(3)).is_empty());
}

/// Keys change while messages flow, and the operator hears of a chain that has run out (RFC 4822 §5.1).
#[test]
fn key_rollover() {
    let lifetime = |start: Option<u64>, end: Option<u64>| {
        let at = |secs| UnixTime(common::EPOCH.0 + secs);
        Lifetime { start: start.map(at), end: end.map(at) }
    };
    let mut old = key(1, Algorithm::KeyedMd5, "old");
    (old.send, old.accept) = (lifetime(None, Some(100)), lifetime(None, Some(130)));
    let mut new = key(2, Algorithm::HmacSha256, "new");
    (new.send, new.accept) = (lifetime(Some(100), Some(200)), lifetime(Some(70), Some(200)));
    let chain = chain(&[old, new]);
    let eth = InterfaceConfig {
        authentication: Authentication::Cryptographic(chain),
        ..InterfaceConfig::default()
    };
    let mut router = Router::new(both(eth));
    let outputs = router.pass_timed(Duration::from_secs(300));
    for (at, output) in &outputs {
        if let Output::Send(transmit) = output {
            let used = transmit.payload[10];
            assert_eq!(used, if at.as_secs() < 100 { 1 } else { 2 }, "at {at:?}");
        }
    }
    let notices: Vec<&Output> = outputs
        .iter()
        .map(|(_, output)| output)
        .filter(|output| matches!(output, Output::Notice(_)))
        .collect();
    let expired =
        |interface| Output::Notice(Notice::KeyExpired { interface, chain: "k".into(), key: KeyId(2) });
    assert_eq!(notices.into_iter().cloned().collect::<Vec<_>>().len(), 2);
    assert!(outputs.iter().any(|(_, output)| *output == expired(ETH0)));
    assert!(outputs.iter().any(|(_, output)| *output == expired(ETH1)));
}

/// A recording, through its file form, gives the same outputs again.
#[test]
fn replay() {
    let mut steps = vec![
        Step::input(Instant::ZERO, Input::Clock(WallClock { at: Instant::ZERO, unix: common::EPOCH })),
        Step::input(Instant::ZERO, Input::Configure(both(InterfaceConfig::default()))),
        Step::input(Instant::ZERO, Input::Interface(InterfaceEvent::Upsert(interface(ETH0)))),
        Step::input(Instant::from_secs(1), Input::Interface(InterfaceEvent::Upsert(interface(ETH1)))),
        Step::input(
            Instant::from_secs(2),
            Input::Datagram(common::datagram(ETH0, A, common::response(&[route(NET, 2)]))),
        ),
        Step::input(Instant::from_secs(3), redistribute("198.51.100.0/24")),
    ];
    steps.extend((4..400).map(|secs| Step::timeout(Instant::from_secs(secs))));
    let file: Vec<String> = steps.iter().map(|step| serde_json::to_string(step).unwrap()).collect();
    let read: Vec<Step<Input>> = file.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, steps);
    let first = record::replay(&mut Rip::new(9), steps);
    let second = record::replay(&mut Rip::new(9), read);
    assert!(first.len() > 30);
    assert_eq!(first, second);
}
