//! Packet filters and policers of a port. RFC 1812 §5.3.9; RFC 1858, RFC 3128.

use std::sync::Arc;

use millrace_acl::{Acl, Action, Dscps, Fragments, Policer, Rule, RuleIndex, TcpFlags, Unit};
use millrace_engine::VerdictKind::{Drop, Reply, Tx};
use millrace_engine::{Filter, Guard, Hits, VerdictKind};
use millrace_fib::Resolution;
use millrace_net::{PortId, Rate};

use crate::rig::{
    CLIENT, Case, DF, Datagram, LAN, MF, Out, Router, THIN, WAN, addr, check, mac_of, memory, udp,
};

const GATEWAY: &str = "198.51.100.2";

fn filter(rules: &[Rule], default: Action) -> Arc<Filter> {
    Arc::new(Filter::new(Acl::compile(rules).unwrap(), default, Vec::new(), 1))
}

fn guard(filter: &Arc<Filter>) -> Guard {
    Guard { filter: Some(Arc::clone(filter)), policer: None }
}

fn tcp(src_port: u16, dst_port: u16, flags: u8) -> Vec<u8> {
    let mut segment = [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes(), &[0; 8]].concat();
    segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment
}

fn of(protocol: u8, payload: Vec<u8>) -> Datagram {
    Datagram { protocol, payload, ..Datagram::default() }
}

/// Which conditions a packet meets: each rule alone, before a default that drops.
#[test]
fn conditions() {
    let syn = TcpFlags { mask: 0x12, value: 0x02 };
    let rule = || Rule::any(Action::Accept);
    type Row = (&'static str, Rule, Vec<(Datagram, bool)>);
    let rows: Vec<Row> = vec![
        (
            "source",
            Rule { src: vec!["192.0.2.0/28".parse().unwrap()], ..rule() },
            vec![
                (Datagram::default(), true),
                (Datagram { src: addr("192.0.2.17"), ..Datagram::default() }, false),
            ],
        ),
        (
            "destination",
            Rule { dst: vec!["10.1.2.0/24".parse().unwrap()], ..rule() },
            vec![(Datagram::default(), true), (Datagram::to("10.1.3.3"), false)],
        ),
        (
            "protocol and port",
            Rule { protocol: Some(17), dst_ports: vec![50..=53], ..rule() },
            vec![
                (Datagram::default(), true),
                (of(17, udp(4000, 54, 8)), false),
                (of(6, tcp(4000, 53, 2)), false),
                (of(17, vec![0x0f, 0xa0]), false),
            ],
        ),
        (
            "source port",
            Rule { src_ports: vec![4000..=4000], ..rule() },
            vec![
                (Datagram::default(), true),
                (of(132, udp(4000, 1, 8)), true),
                (of(17, udp(4001, 53, 8)), false),
            ],
        ),
        (
            "TCP flags",
            Rule { tcp_flags: Some(syn), ..rule() },
            vec![
                (of(6, tcp(1, 2, 0x02)), true),
                (of(6, tcp(1, 2, 0x12)), false),
                (of(17, tcp(1, 2, 0x02)), false),
            ],
        ),
        (
            "ICMP type and code",
            Rule { protocol: Some(1), src_ports: vec![8..=8], dst_ports: vec![0..=0], ..rule() },
            vec![
                (of(1, vec![8, 0, 0, 0]), true),
                (of(1, vec![13, 0, 0, 0]), false),
                (of(1, vec![8, 1, 0, 0]), false),
            ],
        ),
        (
            "DSCP",
            Rule { dscp: Dscps(1 << 46), ..rule() },
            vec![(Datagram { tos: 46 << 2 | 1, ..Datagram::default() }, true), (Datagram::default(), false)],
        ),
        (
            "later fragments",
            Rule { fragments: Fragments::Later, ..rule() },
            vec![
                (Datagram { fragment: 3, ..Datagram::default() }, true),
                (Datagram { fragment: MF, ..Datagram::default() }, false),
                (Datagram { fragment: DF, ..Datagram::default() }, false),
            ],
        ),
        (
            "no ports in a later fragment",
            Rule { dst_ports: vec![0..=u16::MAX], ..rule() },
            vec![
                (Datagram { fragment: MF, ..Datagram::default() }, true),
                (Datagram { fragment: MF | 3, ..Datagram::default() }, false),
            ],
        ),
    ];
    for (name, rule, packets) in rows {
        for (n, (datagram, passes)) in packets.into_iter().enumerate() {
            let memory = memory();
            let mut router = Router::new(&memory);
            let filter = filter(std::slice::from_ref(&rule), Action::Drop);
            router.set_port(LAN, |port| port.guard_in = guard(&filter));
            let rx = vec![(LAN, datagram.on(LAN))];
            router.receive([(LAN, &rx[0].1[..])]);
            let (verdict, tx, moved): (_, _, &[_]) = if passes {
                (Tx, vec![Out::Forwarded(WAN, GATEWAY)], &[])
            } else {
                (Drop, vec![], &[("drop acl-drop", 1)])
            };
            check(&Case { name, rx, verdict, tx, moved }, &router);
            let hits = Hits { packets: 1, bytes: datagram.bytes().len() as u64, policed: 0 };
            let (met, not) = if passes { (Some(RuleIndex(0)), None) } else { (None, Some(RuleIndex(0))) };
            assert_eq!((filter.hits(met), filter.hits(not)), (hits, Hits::default()), "{name}, packet {n}");
        }
    }
}

fn run(
    name: &'static str,
    prepare: impl Fn(&mut Router<'_>),
    rx: Datagram,
    verdict: VerdictKind,
    tx: Vec<Out>,
    moved: &'static [(&'static str, u64)],
) {
    let memory = memory();
    let mut router = Router::new(&memory);
    prepare(&mut router);
    let case = Case { name, rx: vec![(LAN, rx.on(LAN))], verdict, tx, moved };
    router.receive(case.rx.iter().map(|(port, bytes)| (*port, &bytes[..])));
    check(&case, &router);
}

#[test]
fn actions_in_both_directions() {
    for (name, port, inward) in [("in", LAN, true), ("out", WAN, false)] {
        let with = |action| {
            move |router: &mut Router<'_>| {
                let filter = filter(&[Rule::any(action)], Action::Accept);
                router.set_port(port, |port| {
                    *(if inward { &mut port.guard_in } else { &mut port.guard_out }) = guard(&filter);
                });
            }
        };
        let packet = Datagram::default;
        run(name, with(Action::Accept), packet(), Tx, vec![Out::Forwarded(WAN, GATEWAY)], &[]);
        run(name, with(Action::Drop), packet(), Drop, vec![], &[("drop acl-drop", 1)]);
        let told = vec![Out::Icmp(LAN, CLIENT, 3, 13, 0, "192.0.2.1")];
        run(name, with(Action::Reject), packet(), Reply, told, &[("drop acl-reject", 1), ("icmp 3/13", 1)]);
        // RFC 1812 §4.3.2.7: nobody is told about an ICMP error.
        let error = of(1, vec![3, 1, 0, 0, 0, 0, 0, 0]);
        run(
            name,
            with(Action::Reject),
            error,
            Drop,
            vec![],
            &[("drop acl-reject", 1), ("icmp-forbidden", 1)],
        );
    }
}

/// Ports without a filter, and the other direction of one with it, are not touched.
#[test]
fn a_filter_is_of_its_port_and_direction() {
    let nothing = filter(&[], Action::Drop);
    for (in_port, out_port) in [(WAN, LAN), (THIN, THIN)] {
        let prepare = |router: &mut Router<'_>| {
            router.set_port(in_port, |port| port.guard_in = guard(&nothing));
            router.set_port(out_port, |port| port.guard_out = guard(&nothing));
        };
        run("elsewhere", prepare, Datagram::default(), Tx, vec![Out::Forwarded(WAN, GATEWAY)], &[]);
    }
    assert_eq!(nothing.hits(None), Hits::default());
}

/// RFC 1858 §3, RFC 3128 §2.
#[test]
fn fragments_that_hide_a_tcp_header_are_dropped() {
    let everything = filter(&[], Action::Accept);
    let prepare = |router: &mut Router<'_>| router.set_port(LAN, |port| port.guard_in = guard(&everything));
    let fragment = |fragment, payload| Datagram { fragment, ..of(6, payload) };
    for (name, packet, passes) in [
        ("ends before the flags", fragment(MF, tcp(1, 2, 2)[..13].to_vec()), false),
        ("holds the flags", fragment(MF, tcp(1, 2, 2)[..16].to_vec()), true),
        ("would overwrite them", fragment(1, vec![0; 32]), false),
        ("is behind them", fragment(2, vec![0; 32]), true),
        ("not fragmented", fragment(DF, tcp(1, 2, 2)[..13].to_vec()), true),
        ("not TCP", Datagram { fragment: MF, ..of(17, vec![0; 8]) }, true),
    ] {
        let (verdict, tx, moved): (_, _, &[_]) = if passes {
            (Tx, vec![Out::Forwarded(WAN, GATEWAY)], &[])
        } else {
            (Drop, vec![], &[("drop tiny-fragment", 1)])
        };
        run(name, prepare, packet, verdict, tx, moved);
    }
}

fn policer(burst: u64, unit: Unit) -> Policer {
    Policer::new(Rate { per_second: burst, burst }, unit)
}

fn burst(router: &mut Router<'_>, port: PortId, count: usize) -> u64 {
    let before = router.page.verdicts(Tx);
    let frame = Datagram::default().on(port);
    router.receive((0..count).map(|_| (port, &frame[..])));
    router.page.verdicts(Tx) - before
}

#[test]
fn policers_of_rules_and_ports() {
    let rules = [Rule { protocol: Some(17), ..Rule::any(Action::Accept) }];
    let policers = vec![Some(policer(3, Unit::Packets))];
    let filter = Arc::new(Filter::new(Acl::compile(&rules).unwrap(), Action::Accept, policers, 1));
    let bytes = Datagram::default().bytes().len() as u64;
    let whole = |policer| Guard { filter: None, policer: Some(Arc::new(policer)) };
    for (name, guard_in, guard_out, passes) in [
        ("a rule's", guard(&filter), Guard::NONE, 3),
        ("a port's, in", whole(policer(4, Unit::Packets)), Guard::NONE, 4),
        ("a port's, out", Guard::NONE, whole(policer(2 * bytes, Unit::Bytes)), 2),
    ] {
        let memory = memory();
        let mut router = Router::new(&memory);
        router.set_port(LAN, |port| port.guard_in = guard_in);
        router.set_port(WAN, |port| port.guard_out = guard_out);
        assert_eq!(burst(&mut router, LAN, 10), passes, "{name}");
        assert_eq!(router.counts()["drop policed"], 10 - passes, "{name}");
        router.now = router.now + std::time::Duration::from_secs(1);
        assert_eq!(burst(&mut router, LAN, 10), passes, "{name}, a second later");
    }
    assert_eq!(filter.hits(Some(RuleIndex(0))), Hits { packets: 20, bytes: 20 * bytes, policed: 14 });
}

/// What waits for a neighbour has been counted on the way in, and is judged on the way out when it leaves.
#[test]
fn held_packets_are_judged_once_a_direction() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let (inward, outward) = (filter(&[], Action::Accept), filter(&[], Action::Drop));
    router.set_port(LAN, |port| port.guard_in = guard(&inward));
    router.set_port(WAN, |port| port.guard_out = guard(&outward));
    router.receive([(LAN, &Datagram::to("10.2.0.9").on(LAN)[..])]);
    assert_eq!((inward.hits(None).packets, outward.hits(None).packets), (1, 0));
    router.resolve(WAN, "198.51.100.3", Resolution::Complete(mac_of("198.51.100.3")));
    assert_eq!((inward.hits(None).packets, outward.hits(None).packets), (1, 1));
    assert_eq!(router.counts()["drop acl-drop"], 1);
}

/// A truncated packet is answered (RFC 1812 §5.2.2), but not to those whom the filter keeps out.
#[test]
fn faults_are_not_answered_to_those_kept_out() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let filter = filter(&[], Action::Drop);
    router.set_port(LAN, |port| port.guard_in = guard(&filter));
    let frame = Datagram::default().on(LAN);
    router.receive([(LAN, &frame[..40])]);
    let counts = router.counts();
    assert_eq!((counts.get("drop acl-drop"), counts.get("drop ip-cut-short")), (Some(&1), None));
}
