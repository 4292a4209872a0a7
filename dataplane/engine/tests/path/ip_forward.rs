//! Forwarding itself: TTL, header rewriting, VLAN tags on the way out. RFC 1812 §5.3.1, RFC 1624.

use millrace_engine::VerdictKind::{Reply, Tx};
use millrace_fib::{Link, Tag, Tpid, Vlan};

use crate::rig::{
    CLIENT, Case, DF, Datagram, LAN, Out, Router, WAN, decode, forwarded, mac_of, memory, router_mac, run,
    udp,
};

#[test]
fn ttl_is_decremented_or_exceeded() {
    let alive = |name, ttl| Case {
        name,
        rx: vec![(LAN, Datagram { ttl, ..Datagram::default() }.on(LAN))],
        verdict: Tx,
        tx: vec![Out::Forwarded(WAN, "198.51.100.2")],
        moved: &[],
    };
    let dead = |name, ttl, dst| Case {
        name,
        rx: vec![(LAN, Datagram { ttl, ..Datagram::to(dst) }.on(LAN))],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, CLIENT, 11, 0, 0, "192.0.2.1")],
        moved: &[("drop ttl-exceeded", 1), ("icmp 11/0", 1)],
    };
    run(vec![
        alive("255", 255),
        alive("2: whether the next router will drop it is not ours to say", 2),
        dead("1", 1, "10.1.2.3"),
        dead("0", 0, "10.1.2.3"),
        dead("1, and the next hop is not known: nobody is asked", 1, "198.51.100.9"),
        dead("1, and the packet is too big as well", 1, "10.9.0.1"),
    ]);
}

/// No route is found before the TTL is looked at (§5.2.1.2).
#[test]
fn no_route_is_said_before_ttl_exceeded() {
    run(vec![Case {
        name: "TTL 1 to nowhere",
        rx: vec![(LAN, Datagram { ttl: 1, ..Datagram::to("8.8.8.8") }.on(LAN))],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, CLIENT, 3, 0, 0, "192.0.2.1")],
        moved: &[("drop no-route", 1), ("icmp 3/0", 1)],
    }]);
}

/// Only MAC addresses, TTL and header checksum change, whatever else the header says.
#[test]
fn nothing_else_is_rewritten() {
    let case = |name, datagram: Datagram| Case {
        name,
        rx: vec![(LAN, datagram.on(LAN))],
        verdict: Tx,
        tx: vec![Out::Forwarded(WAN, "198.51.100.2")],
        moved: &[],
    };
    run(vec![
        case("TOS", Datagram { tos: 0xff, ..Datagram::default() }),
        case("DF", Datagram { fragment: DF, ..Datagram::default() }),
        case("the reserved flag", Datagram { fragment: 0x8000, ..Datagram::default() }),
        case("a first fragment", Datagram { fragment: 0x2000, ..Datagram::default() }),
        case("a last fragment", Datagram { fragment: 0x1fff, payload: vec![1; 6], ..Datagram::default() }),
        case("identification", Datagram { ident: 0xffff, ..Datagram::default() }),
        case("an unknown protocol", Datagram { protocol: 253, ..Datagram::default() }),
        case("no payload", Datagram { payload: vec![], ..Datagram::default() }),
        case("as big as the MTU", Datagram { payload: udp(1, 2, 1472), ..Datagram::default() }),
        case("router alert", Datagram { options: vec![148, 4, 0, 0], ..Datagram::default() }),
        case("40 bytes of no operation", Datagram { options: vec![1; 40], ..Datagram::default() }),
        case("an unknown option", Datagram { options: vec![0x5e, 4, 9, 9], ..Datagram::default() }),
        case("after the end, anything", Datagram { options: vec![0, 7, 200, 3], ..Datagram::default() }),
    ]);
}

#[test]
fn tags_of_the_adjacency_are_pushed() {
    let tag = |tpid, vid| Tag::new(tpid, vid).unwrap();
    let double = Vlan::Double { outer: tag(Tpid::Service, 300), inner: tag(Tpid::Customer, 7) };
    for (vlan, expected) in [
        (Vlan::Untagged, &[][..]),
        (Vlan::Tagged(tag(Tpid::Customer, 100)), &[0x81, 0, 0, 100][..]),
        (double, &[0x88, 0xa8, 1, 44, 0x81, 0, 0, 7][..]),
    ] {
        let memory = memory();
        let mut router = Router::new(&memory);
        router.writer.port_set(WAN, Link { mac: router_mac(WAN), mtu: 1500, vlan });
        let received = Datagram::default().on(LAN);
        router.receive([(LAN, &received[..])]);
        let (port, sent) = &router.bench.tx[0];
        decode(sent);
        let mut untagged = sent.clone();
        assert_eq!(untagged.drain(12..12 + expected.len()).collect::<Vec<_>>(), expected);
        assert_eq!((*port, untagged), (WAN, forwarded(&received, WAN, mac_of("198.51.100.2"))));
    }
}
