//! Unicast reverse path forwarding. RFC 3704, RFC 1812 §5.3.8, RFC 5635.

use millrace_engine::Urpf;
use millrace_engine::VerdictKind::{Drop, Kernel, Tx};
use millrace_fib::GroupSpec;
use millrace_net::PortId;

use crate::rig::{BARE, Datagram, LAN, Router, THIN, WAN, WAN2, addr, memory};

/// Whether a packet from this source passes on this port.
fn passes(mode: Urpf, port: PortId, src: &str, prepare: impl Fn(&mut Router<'_>)) -> bool {
    let memory = memory();
    let mut router = Router::new(&memory);
    prepare(&mut router);
    router.set_port(port, |port| port.urpf = mode);
    let frame = Datagram { src: addr(src), ..Datagram::to("10.9.0.1") }.on(port);
    router.receive([(port, &frame[..])]);
    let passed = router.page.verdicts(Tx) == 1;
    let expected = if passed { vec![("verdict tx", 1)] } else { vec![("drop urpf", 1), ("verdict drop", 1)] };
    assert_eq!(router.counts(), expected.into_iter().map(|(name, n)| (name.to_owned(), n)).collect());
    assert!(passed || router.bench.tx.is_empty(), "silently");
    passed
}

#[test]
fn sources_are_checked_against_the_routes() {
    // (source, port, what it is, passes loose, passes strict)
    for (src, port, what, loose, strict) in [
        ("192.0.2.10", LAN, "of the link's subnet", true, true),
        ("192.0.2.10", WAN, "of another link's subnet", true, false),
        ("172.16.5.5", LAN, "routed by this link", true, true),
        ("172.16.5.5", WAN, "routed by another link", true, false),
        ("10.5.0.9", WAN, "ECMP, by the first member", true, true),
        ("10.5.0.9", WAN2, "ECMP, by the second member", true, true),
        ("10.5.0.9", LAN, "ECMP, by neither", true, false),
        ("10.2.0.9", WAN, "by a next hop not resolved yet", true, true),
        ("10.3.0.9", WAN, "by a next hop that has failed", true, true),
        ("8.8.8.8", LAN, "routed nowhere", false, false),
        ("10.6.0.1", LAN, "blackhole (RFC 5635)", false, false),
        ("10.7.0.1", LAN, "unreachable", false, false),
        ("10.8.0.1", LAN, "prohibit", false, false),
        ("192.0.2.1", LAN, "the router's own", false, false),
        ("198.51.100.1", LAN, "the router's own on another link", false, false),
        ("10.10.0.9", BARE, "by an unnumbered link", true, true),
    ] {
        assert!(passes(Urpf::Off, port, src, |_| ()), "off: {what}");
        assert_eq!(passes(Urpf::Loose, port, src, |_| ()), loose, "loose: {what}");
        assert_eq!(passes(Urpf::Strict, port, src, |_| ()), strict, "strict: {what}");
    }
}

/// RFC 3704 §2.2, §2.4: a default route is a route.
#[test]
fn the_default_route_counts() {
    let default_by_wan = |router: &mut Router<'_>| {
        let gateway = router.neighbor(WAN, "198.51.100.2");
        router.route_to("0.0.0.0/0".parse().unwrap(), &GroupSpec::Forward(vec![(gateway, 1)]));
    };
    assert!(passes(Urpf::Loose, LAN, "8.8.8.8", default_by_wan));
    assert!(passes(Urpf::Strict, WAN, "8.8.8.8", default_by_wan));
    assert!(!passes(Urpf::Strict, LAN, "8.8.8.8", default_by_wan), "customers cannot claim the Internet");
    assert!(!passes(Urpf::Strict, WAN, "192.0.2.10", default_by_wan), "the Internet cannot claim customers");
}

/// A change of the routes counts from the next packet on.
#[test]
fn strict_follows_the_routes() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.set_port(LAN, |port| port.urpf = Urpf::Strict);
    let frame = Datagram { src: addr("10.1.0.7"), ..Datagram::to("10.9.0.1") }.on(LAN);
    router.receive([(LAN, &frame[..])]);
    assert_eq!(router.page.verdicts(Drop), 1);
    let neighbor = router.neighbor(LAN, "192.0.2.20");
    router.route_to("10.1.0.0/16".parse().unwrap(), &GroupSpec::Forward(vec![(neighbor, 1)]));
    router.receive([(LAN, &frame[..])]);
    assert_eq!((router.page.verdicts(Drop), router.page.verdicts(Tx)), (1, 1));
}

/// Only the port's own packets are checked, and what is for the host is checked too.
#[test]
fn the_check_is_per_port_and_covers_the_host() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.bench.kernel_takes = true;
    router.set_port(LAN, |port| port.urpf = Urpf::Strict);
    let spoofed = |port, dst: &str| Datagram { src: addr("10.1.0.7"), ..Datagram::to(dst) }.on(port);
    let frames = [
        (LAN, spoofed(LAN, "10.9.0.1")),
        (THIN, spoofed(THIN, "10.9.0.1")),
        (LAN, spoofed(LAN, "192.0.2.1")),
    ];
    router.receive(frames.iter().map(|(port, frame)| (*port, &frame[..])));
    assert_eq!(router.page.verdicts(Tx), 1);
    assert_eq!((router.page.verdicts(Drop), router.page.verdicts(Kernel)), (2, 0));
}

/// A truncated packet is answered (RFC 1812 §5.2.2), but not to a forged source.
#[test]
fn faults_are_not_answered_to_forged_sources() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.set_port(LAN, |port| port.urpf = Urpf::Strict);
    let honest = Datagram::default().on(LAN);
    let forged = Datagram { src: addr("10.1.0.7"), ..Datagram::default() }.on(LAN);
    router.receive([(LAN, &honest[..40]), (LAN, &forged[..40])]);
    let counts = router.counts();
    assert_eq!((counts["drop ip-cut-short"], counts["drop urpf"], counts["icmp 12/0"]), (1, 1, 1));
}
