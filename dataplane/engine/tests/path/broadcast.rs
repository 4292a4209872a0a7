//! Directed broadcasts: off by default, with a switch. RFC 2644, RFC 1812 §5.3.5.2.

use millrace_engine::VerdictKind::{Drop, Tx};
use millrace_net::Mac;

use crate::rig::{
    Case, Datagram, LAN, Router, WAN, addr, decode, ethernet, forwarded, mac_of, memory, run_on,
};

#[test]
fn directed_broadcasts_are_forwarded_only_where_switched_on() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let frame = Datagram::to("198.51.100.255").on(LAN);
    router.receive([(LAN, &frame[..])]);
    assert_eq!(router.counts()["drop broadcast"], 1, "off by default");

    router.set_port(WAN, |port| port.directed_broadcast = true);
    router.receive([(LAN, &frame[..])]);
    assert_eq!(router.page.verdicts(Tx), 1);
    let (port, bytes) = &router.bench.tx[0];
    decode(bytes);
    assert_eq!((*port, bytes.clone()), (WAN, forwarded(&frame, WAN, Mac::BROADCAST)));
}

#[test]
fn even_where_switched_on_nobody_is_told_of_a_failure() {
    let dropped =
        |name, frame, moved| Case { name, rx: vec![(LAN, frame)], verdict: Drop, tx: vec![], moved };
    let to = |datagram: Datagram| datagram.on(LAN);
    let mut link_broadcast = to(Datagram::to("198.51.100.255"));
    link_broadcast[..6].fill(0xff);
    let cases = vec![
        dropped("the old form, all zeros", to(Datagram::to("198.51.100.0")), &[("drop broadcast", 1)]),
        dropped(
            "TTL exceeded",
            to(Datagram { ttl: 1, ..Datagram::to("198.51.100.255") }),
            &[("drop ttl-exceeded", 1), ("icmp-forbidden", 1)],
        ),
        dropped(
            "a malformed option",
            to(Datagram { options: vec![7, 0, 0, 0], ..Datagram::to("198.51.100.255") }),
            &[("drop ip-bad-option", 1), ("icmp-forbidden", 1)],
        ),
        dropped("received as a link-layer broadcast (§5.3.4)", link_broadcast, &[("drop eth-group", 1)]),
        dropped(
            "from a broadcast address",
            ethernet(
                crate::rig::router_mac(LAN),
                mac_of("192.0.2.10"),
                &Datagram { src: addr("192.0.2.255"), ttl: 1, ..Datagram::default() }.bytes(),
            ),
            &[("drop ttl-exceeded", 1), ("icmp-forbidden", 1)],
        ),
    ];
    run_on(cases, |router| router.set_port(WAN, |port| port.directed_broadcast = true));
}
