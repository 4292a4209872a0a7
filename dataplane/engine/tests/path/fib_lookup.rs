//! Where packets go: kinds of routes, neighbours on a link, equal-cost paths. RFC 1812 §5.2.3, §5.2.4.3, §5.2.7.1.

use std::collections::BTreeMap;

use millrace_engine::VerdictKind::{Drop, Hold, Kernel, Reply, Tx};
use millrace_engine::{EngineConfig, FlowHash};
use millrace_net::PortId;

use crate::rig::{
    BARE, CLIENT, Case, Datagram, LAN, MF, Out, Router, THIN, WAN, WAN2, config, memory, run, run_on, udp,
};

#[test]
fn each_kind_of_route() {
    let to = |name, dst, verdict, tx, moved| Case {
        name,
        rx: vec![(LAN, Datagram::to(dst).on(LAN))],
        verdict,
        tx,
        moved,
    };
    run(vec![
        to("by a gateway", "10.1.2.3", Tx, vec![Out::Forwarded(WAN, "198.51.100.2")], &[]),
        to("to a neighbour", "198.51.100.2", Tx, vec![Out::Forwarded(WAN, "198.51.100.2")], &[]),
        to("by a small link", "10.9.0.1", Tx, vec![Out::Forwarded(THIN, "203.0.113.2")], &[]),
        to("by an unnumbered link", "10.10.0.1", Tx, vec![Out::Forwarded(BARE, "10.30.0.2")], &[]),
        to("back where it came from", "10.11.0.1", Tx, vec![Out::Forwarded(LAN, CLIENT)], &[]),
        to(
            "nowhere: 3/0",
            "8.8.8.8",
            Reply,
            vec![Out::Icmp(LAN, CLIENT, 3, 0, 0, "192.0.2.1")],
            &[("drop no-route", 1), ("icmp 3/0", 1)],
        ),
        to("blackhole: silence", "10.6.0.1", Drop, vec![], &[("drop blackhole", 1)]),
        to(
            "unreachable: 3/1",
            "10.7.0.1",
            Reply,
            vec![Out::Icmp(LAN, CLIENT, 3, 1, 0, "192.0.2.1")],
            &[("drop unreachable", 1), ("icmp 3/1", 1)],
        ),
        to(
            "prohibit: 3/13",
            "10.8.0.1",
            Reply,
            vec![Out::Icmp(LAN, CLIENT, 3, 13, 0, "192.0.2.1")],
            &[("drop prohibit", 1), ("icmp 3/13", 1)],
        ),
        to(
            "an interface that is down: 3/1",
            "10.4.0.1",
            Reply,
            vec![Out::Icmp(LAN, CLIENT, 3, 1, 0, "192.0.2.1")],
            &[("drop egress-down", 1), ("icmp 3/1", 1)],
        ),
        to(
            "a link that is down: 3/1",
            "10.40.0.77",
            Reply,
            vec![Out::Icmp(LAN, CLIENT, 3, 1, 0, "192.0.2.1")],
            &[("drop egress-down", 1), ("icmp 3/1", 1)],
        ),
        to(
            "a gateway that has failed: 3/1",
            "10.3.0.1",
            Reply,
            vec![Out::Icmp(LAN, CLIENT, 3, 1, 0, "192.0.2.1")],
            &[("drop neighbor-failed", 1), ("icmp 3/1", 1)],
        ),
        to("a gateway not resolved yet", "10.2.0.1", Hold, vec![], &[("resolve", 1), ("held", 1)]),
        to("a neighbour nobody knows yet", "198.51.100.9", Hold, vec![], &[("resolve", 1), ("held", 1)]),
        to("ours, and no way to the kernel", "198.51.100.1", Drop, vec![], &[("drop not-forwarded", 1)]),
        to("the subnet's broadcast", "198.51.100.255", Drop, vec![], &[("drop broadcast", 1)]),
        to("the subnet's old broadcast", "198.51.100.0", Drop, vec![], &[("drop broadcast", 1)]),
    ]);
}

/// What is for the host is neither aged nor judged by its TTL or options.
#[test]
fn the_hosts_own_packets_go_to_the_kernel_untouched() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.bench.kernel_takes = true;
    let frame = Datagram { ttl: 1, options: vec![7, 200, 0, 0], ..Datagram::to("198.51.100.1") }.on(LAN);
    router.receive([(LAN, &frame[..])]);
    assert_eq!(router.bench.kernel, [(LAN, frame)]);
    assert_eq!(router.page.verdicts(Kernel), 1);
}

#[test]
fn a_full_transmit_queue_is_counted() {
    let case = Case {
        name: "no room",
        rx: vec![(LAN, Datagram::default().on(LAN))],
        verdict: Drop,
        tx: vec![],
        moved: &[("drop tx-full", 1)],
    };
    run_on(vec![case], |router| router.bench.tx_room = 0);
}

/// The port each of these packets takes.
fn paths(config: EngineConfig, packets: &[Datagram]) -> Vec<PortId> {
    let memory = memory();
    let mut router = Router::with_config(&memory, config);
    for packet in packets {
        router.receive([(LAN, &packet.on(LAN)[..])]);
    }
    assert_eq!(router.bench.tx.len(), packets.len());
    router.bench.tx.iter().map(|(port, _)| *port).collect()
}

fn shares(paths: &[PortId]) -> BTreeMap<PortId, usize> {
    let mut shares = BTreeMap::new();
    for &port in paths {
        *shares.entry(port).or_insert(0) += 1;
    }
    shares
}

#[test]
fn equal_paths_share_flows_and_keep_each_flow() {
    let flow = |i: u16| Datagram { payload: udp(1000 + i, 53, 10), ..Datagram::to("10.5.0.1") };
    let flows: Vec<_> = (0..400).map(flow).collect();
    let once = paths(config(), &flows);
    assert_eq!(once, paths(config(), &flows), "a flow keeps its path");
    for port in [WAN, WAN2] {
        let share = shares(&once)[&port];
        assert!((150..=250).contains(&share), "{port:?} has {share} of 400 flows");
    }
    let reseeded = paths(EngineConfig::new(8), &flows);
    assert_ne!(once, reseeded, "another seed, another choice");
}

/// Fragments have no ports, or the first has and the others have not: all go by addresses.
#[test]
fn fragments_of_a_datagram_take_one_path() {
    for host in 1..40 {
        let fragment = |fragment, src_port| Datagram {
            fragment,
            payload: udp(src_port, 53, 16),
            ..Datagram::to(&format!("10.5.0.{host}"))
        };
        let pieces = [fragment(MF, 1000), fragment(MF | 3, 2000), fragment(6, 3000)];
        assert_eq!(shares(&paths(config(), &pieces)).len(), 1, "host {host}");
    }
}

#[test]
fn hash_by_addresses_ignores_ports() {
    let flows: Vec<_> =
        (0..100).map(|i| Datagram { payload: udp(1000 + i, 53, 10), ..Datagram::to("10.5.0.1") }).collect();
    let mut config = config();
    config.settings.flow_hash = FlowHash::Addresses;
    assert_eq!(shares(&paths(config, &flows)).len(), 1);
    let hosts: Vec<_> = (0..200).map(|i| Datagram::to(&format!("10.5.1.{i}"))).collect();
    assert_eq!(shares(&paths(config, &hosts)).len(), 2);
}
