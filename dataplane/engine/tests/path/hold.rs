//! Packets that wait for a neighbour. RFC 1812 §3.3.2, RFC 1122 §2.3.2.2.

use std::time::Duration;

use millrace_engine::VerdictKind::{Drop, Hold, Reply, Tx};
use millrace_fib::{GroupSpec, Resolution};

use crate::rig::{
    CLIENT, Case, Datagram, LAN, Out, Router, WAN, addr, check, decode, forwarded, mac_of, memory, router_mac,
};

const SECOND: Duration = Duration::from_secs(1);

fn to(dst: &str, ident: u16) -> Vec<u8> {
    Datagram { ident, ..Datagram::to(dst) }.on(LAN)
}

/// The identifications of what has left.
fn sent(router: &Router<'_>) -> Vec<u16> {
    router.bench.tx.iter().map(|(_, f)| u16::from_be_bytes([f[18], f[19]])).collect()
}

#[test]
fn held_packets_leave_in_order_when_the_neighbour_answers() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let frames: Vec<_> = (1..=3).map(|ident| to("198.51.100.9", ident)).collect();
    router.receive(frames.iter().map(|f| (LAN, &f[..])));
    assert_eq!(router.bench.asked, [(WAN, addr("198.51.100.9"))], "asked once");
    assert_eq!((router.engine.held(), router.page.verdicts(Hold)), (3, 3));
    assert_eq!(router.engine.poll_timeout(), Some(router.now + 3 * SECOND));

    router.resolve(WAN, "198.51.100.9", Resolution::Incomplete);
    assert_eq!(router.engine.held(), 3, "no answer yet");
    router.resolve(WAN, "198.51.100.9", Resolution::Complete(mac_of("198.51.100.9")));
    assert_eq!(sent(&router), [1, 2, 3]);
    for (frame, (port, bytes)) in frames.iter().zip(&router.bench.tx) {
        assert_eq!((*port, bytes.clone()), (WAN, forwarded(frame, WAN, mac_of("198.51.100.9"))));
    }
    assert_eq!((router.engine.held(), router.engine.poll_timeout()), (0, None));
    let expected = [("held-released", 3), ("resolve", 1), ("verdict hold", 3), ("verdict tx", 3)];
    assert_eq!(router.counts(), expected.map(|(name, n)| (name.to_owned(), n)).into());
}

#[test]
fn failure_answers_what_is_held_with_host_unreachable() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let frame = to("198.51.100.9", 1);
    router.receive([(LAN, &frame[..])]);
    router.resolve(WAN, "198.51.100.9", Resolution::Failed);
    let case = Case {
        name: "failed",
        rx: vec![(LAN, frame)],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, CLIENT, 3, 1, 0, "192.0.2.1")],
        moved: &[
            ("drop neighbor-failed", 1),
            ("held-released", 1),
            ("icmp 3/1", 1),
            ("resolve", 1),
            ("verdict hold", 1),
        ],
    };
    check(&case, &router);
}

/// The quoted packet is the one received: its TTL is not decremented by the wait.
#[test]
fn patience_ends_after_three_seconds() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let start = router.now;
    let frame = to("10.2.0.1", 1);
    router.receive([(LAN, &frame[..])]);
    router.timeout(start + Duration::from_nanos(2_999_999_999));
    assert_eq!(router.engine.held(), 1);
    router.timeout(start + 3 * SECOND);
    let case = Case {
        name: "timed out",
        rx: vec![(LAN, frame)],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, CLIENT, 3, 1, 0, "192.0.2.1")],
        moved: &[("drop neighbor-failed", 1), ("icmp 3/1", 1), ("resolve", 1), ("verdict hold", 1)],
    };
    check(&case, &router);
    assert_eq!(router.engine.poll_timeout(), None);
}

#[test]
fn a_neighbour_is_asked_for_once_a_second() {
    let memory = memory();
    let mut router = Router::new(&memory);
    for millis in [0, 1, 999, 1000, 1001, 1999, 2000] {
        router.now = millrace_net::Instant::from_secs(1000) + Duration::from_millis(millis);
        router.receive([(LAN, &to("198.51.100.9", 1)[..])]);
    }
    assert_eq!(router.bench.asked.len(), 3);
}

/// RFC 1122 §2.3.2.2: the latest packets are kept.
#[test]
fn the_oldest_gives_way_within_a_next_hop() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let frames: Vec<_> = (1..=11).map(|ident| to("198.51.100.9", ident)).collect();
    router.receive(frames.iter().map(|f| (LAN, &f[..])));
    assert_eq!((router.engine.held(), router.page.verdicts(Hold), router.page.verdicts(Drop)), (8, 11, 3));
    router.resolve(WAN, "198.51.100.9", Resolution::Complete(mac_of("198.51.100.9")));
    assert_eq!(sent(&router), [4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!((router.page.verdicts(Tx), router.counts()["drop hold-full"]), (8, 3));
}

/// A scan of a subnet fills the queue; a next hop that waits already keeps its latest packet, others are asked for at a
/// bounded rate though their packets are not kept.
#[test]
fn a_full_queue_refuses_new_next_hops_but_asks_for_some() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.route_to("10.20.0.0/16".parse().unwrap(), &GroupSpec::Glean(WAN));
    router.add_frames(300);
    let scan = |router: &mut Router<'_>, from: u16, to_host: u16| {
        for host in from..to_host {
            router.receive([(LAN, &to(&format!("10.20.{}.{}", host / 250, 1 + host % 250), host)[..])]);
        }
    };
    scan(&mut router, 0, 256);
    assert_eq!((router.engine.held(), router.bench.asked.len()), (256, 256));
    scan(&mut router, 256, 356);
    assert_eq!((router.engine.held(), router.bench.asked.len()), (256, 256 + 20));
    assert_eq!(router.counts()["drop hold-full"], 100);

    router.receive([(LAN, &to("10.20.0.1", 999)[..])]);
    assert_eq!(
        (router.engine.held(), router.counts()["drop hold-full"]),
        (256, 101),
        "the older one gave way"
    );
    router.resolve(WAN, "10.20.0.1", Resolution::Complete(mac_of("10.20.0.1")));
    assert_eq!(sent(&router), [999]);
    assert_eq!(router.engine.held(), 255);

    router.timeout(router.now + 4 * SECOND);
    assert_eq!((router.engine.held(), router.engine.poll_timeout()), (0, None));
    assert_eq!(router.counts()["drop neighbor-failed"], 255);
}

/// Deadlines are each next hop's own, and the earliest is what `poll_timeout` says.
#[test]
fn deadlines_are_per_next_hop() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let start = router.now;
    router.receive([(LAN, &to("198.51.100.11", 1)[..])]);
    router.now = start + SECOND;
    router.receive([(LAN, &to("198.51.100.12", 2)[..]), (LAN, &to("198.51.100.11", 3)[..])]);
    router.timeout(start + 3 * SECOND);
    assert_eq!(router.engine.held(), 1, "both packets of the first next hop are given up");
    assert_eq!(router.engine.poll_timeout(), Some(start + 4 * SECOND));
    router.timeout(start + 4 * SECOND);
    assert_eq!((router.engine.held(), router.engine.poll_timeout()), (0, None));
}

/// Released packets are routed anew: the route may have changed while they waited.
#[test]
fn a_released_packet_takes_the_route_of_the_moment() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.receive([(LAN, &to("10.2.0.1", 1)[..])]);
    let client = router.neighbor(LAN, CLIENT);
    router.route_to("10.2.0.0/16".parse().unwrap(), &GroupSpec::Forward(vec![(client, 1)]));
    router.resolve(WAN, "198.51.100.3", Resolution::Complete(mac_of("198.51.100.3")));
    let (port, bytes) = &router.bench.tx[0];
    decode(bytes);
    assert_eq!((*port, &bytes[..6], &bytes[6..12]), (LAN, &mac_of(CLIENT).0[..], &router_mac(LAN).0[..]));
}
