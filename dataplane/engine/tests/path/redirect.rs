//! Redirects: off by default, with a switch. RFC 1812 §4.3.3.2, §5.2.7.2.

use millrace_engine::VerdictKind::Tx;
use millrace_net::PortId;

use crate::rig::{
    CLIENT, Case, DF, Datagram, LAN, Out, Router, WAN, addr, check, config, memory, run, run_on, udp,
};

/// From a host of the LAN to what the LAN's other router has.
fn case(name: &'static str, src: &str, dst: &str, redirected: bool) -> Case {
    let rx = vec![(LAN, Datagram { src: addr(src), ..Datagram::to(dst) }.on(LAN))];
    let forwarded = Out::Forwarded(LAN, "192.0.2.20");
    if redirected {
        let gateway = addr("192.0.2.20").to_bits();
        let tx = vec![Out::Icmp(LAN, CLIENT, 5, 1, gateway, "192.0.2.1"), forwarded];
        Case { name, rx, verdict: Tx, tx, moved: &[("icmp 5/1", 1)] }
    } else {
        Case { name, rx, verdict: Tx, tx: vec![forwarded], moved: &[] }
    }
}

fn on(port: PortId) -> impl Fn(&mut Router<'_>) {
    move |router| router.set_port(port, |port| port.redirects = true)
}

#[test]
fn redirects_are_off_by_default() {
    run(vec![case("a better router on the link", CLIENT, "172.16.1.1", false)]);
    run_on(vec![case("switched on for another link", CLIENT, "172.16.1.1", false)], on(WAN));
}

#[test]
fn hosts_are_told_of_a_better_router_on_their_link() {
    let with = |name, datagram: Datagram, expected: Case| Case {
        name,
        rx: vec![(LAN, Datagram { src: addr(CLIENT), dst: addr("172.16.1.1"), ..datagram }.on(LAN))],
        ..expected
    };
    let plain = |redirected| case("", CLIENT, "172.16.1.1", redirected);
    run_on(
        vec![
            case("a better router", CLIENT, "172.16.1.1", true),
            case("a source of another subnet", "10.11.0.9", "172.16.1.1", false),
            with(
                "a big packet is quoted in part",
                Datagram { payload: udp(1, 2, 1400), ..Datagram::default() },
                plain(true),
            ),
            with("DF", Datagram { fragment: DF, ..Datagram::default() }, plain(true)),
            Case {
                moved: &[("icmp-forbidden", 1)],
                ..with(
                    "about an ICMP error, never",
                    Datagram { protocol: 1, payload: vec![3; 8], ..Datagram::default() },
                    plain(false),
                )
            },
            Case {
                moved: &[("icmp-forbidden", 1)],
                ..with(
                    "about a later fragment, never",
                    Datagram { fragment: 7, ..Datagram::default() },
                    plain(false),
                )
            },
        ],
        on(LAN),
    );
}

/// Another interface, or a host that is its own next hop on the link: nothing to say in the first case.
#[test]
fn what_leaves_by_another_interface_is_not_redirected() {
    let rx = vec![(LAN, Datagram::default().on(LAN))];
    let tx = vec![Out::Forwarded(WAN, "198.51.100.2")];
    run_on(vec![Case { name: "by the WAN", rx, verdict: Tx, tx, moved: &[] }], on(LAN));
}

/// Without a free frame the packet is forwarded all the same.
#[test]
fn a_redirect_needs_a_free_frame() {
    run_on(vec![case("no frame", CLIENT, "172.16.1.1", false)], |router| {
        on(LAN)(router);
        router.frames -= router.bench.free.len();
        router.bench.free.clear();
    });
}

/// §5.2.7.2: source-routed packets, where they are forwarded at all, are never redirected.
#[test]
fn a_source_routed_packet_is_not_redirected() {
    let rx = vec![(
        LAN,
        Datagram { options: vec![131, 7, 4, 9, 9, 9, 9, 0], ..Datagram::to("172.16.1.1") }.on(LAN),
    )];
    let case =
        Case { name: "LSRR", rx, verdict: Tx, tx: vec![Out::Forwarded(LAN, "192.0.2.20")], moved: &[] };
    let memory = memory();
    let mut config = config();
    config.settings.source_routes = true;
    let mut router = Router::with_config(&memory, config);
    on(LAN)(&mut router);
    router.receive([(LAN, &case.rx[0].1[..])]);
    check(&case, &router);
}
