//! NAT in the packet path: which packets it takes, what leaves, what nobody sees. The requirements on the state itself are
//! tested in `nat/tests/requirements.rs`.

use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use millrace_engine::{BURST, Event, Handoff, NatSide, VerdictKind};
use millrace_fib::Resolution;
use millrace_nat::{
    Allocation, Config, Filtering, Forward, Nat, PerProtocol, Pool, Refusal, Slices, Source, SourceAction,
    Static,
};
use millrace_net::PortId;

use crate::rig::{CLIENT, DF, Datagram, LAN, Router, THIN, WAN, addr, checksum, decode, mac_of, memory, udp};

pub(crate) const POOL: &str = "198.51.100.8";
/// The router's own address on the outside link.
pub(crate) const OWN: &str = "198.51.100.1";
pub(crate) const REMOTE: &str = "10.1.2.3";
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;

/// The LAN is inside, the WAN outside, THIN is neither.
pub(crate) fn config(pool: &str) -> Config {
    Config {
        pools: vec![Pool {
            name: "wan".into(),
            addresses: vec![addr(pool)],
            ports: 1024..=65535,
            filtering: PerProtocol::same(Filtering::EndpointIndependent),
            allocation: Allocation::Random,
        }],
        sources: vec![Source { from: "192.0.2.0/24".parse().unwrap(), action: SourceAction::Pool(0) }],
        limits: millrace_nat::Limits { sessions: 1000, mappings: 1000, ..millrace_nat::Limits::default() },
        ..Config::default()
    }
}

pub(crate) fn sides(router: &mut Router<'_>) {
    router.set_port(LAN, |port| port.nat = NatSide::Inside);
    router.set_port(WAN, |port| port.nat = NatSide::Outside);
}

pub(crate) fn install(router: &mut Router<'_>, config: Config) {
    sides(router);
    let nat = Nat::new(config, Slices::new(1, 64), 0, 42, router.now);
    assert!(router.engine.set_nat(Some(nat)).is_none());
}

/// What is in a packet, its checksums verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) port: PortId,
    pub(crate) protocol: u8,
    pub(crate) src: (Ipv4Addr, u16),
    pub(crate) dst: (Ipv4Addr, u16),
    pub(crate) data: Vec<u8>,
}

pub(crate) fn seen(port: PortId, frame: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ethernet(frame).expect("decodes");
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4") };
    let header = ip.header();
    assert_eq!(checksum(header.slice()), 0, "IPv4 header checksum");
    let (src, dst) = (header.source_addr(), header.destination_addr());
    let (ports, data) = match &sliced.transport {
        Some(TransportSlice::Udp(u)) => {
            if u.checksum() != 0 {
                let sum = u.to_header().calc_checksum_ipv4_raw(src.octets(), dst.octets(), u.payload());
                assert_eq!(u.checksum(), sum.unwrap());
            }
            ((u.source_port(), u.destination_port()), u.payload().to_vec())
        }
        Some(TransportSlice::Tcp(t)) => {
            assert_eq!(t.checksum(), t.calc_checksum_ipv4(src.octets(), dst.octets()).unwrap());
            ((t.source_port(), t.destination_port()), t.payload().to_vec())
        }
        Some(TransportSlice::Icmpv4(i)) => {
            assert_eq!(checksum(i.slice()), 0, "ICMP checksum");
            let id = u16::from_be_bytes([i.bytes5to8()[0], i.bytes5to8()[1]]);
            ((id, id), i.slice().to_vec())
        }
        _ => ((0, 0), ip.payload().payload.to_vec()),
    };
    let protocol = header.protocol().0;
    Seen { port, protocol, src: (src, ports.0), dst: (dst, ports.1), data }
}

pub(crate) fn datagram(protocol: u8, src: (&str, u16), dst: (&str, u16)) -> Datagram {
    let (src_addr, dst_addr) = (addr(src.0), addr(dst.0));
    let mut payload = match protocol {
        UDP => udp(src.1, dst.1, 11),
        TCP => {
            let mut segment = [src.1.to_be_bytes(), dst.1.to_be_bytes()].concat();
            segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 16, 0, 0, 0, 0, 0]);
            segment
        }
        ICMP => {
            let kind = if src.1 == 0 { 0 } else { 8 };
            let id = src.1.max(dst.1).to_be_bytes();
            vec![kind, 0, 0, 0, id[0], id[1], 0, 1, 1, 2, 3, 4]
        }
        _ => vec![1, 2, 3, 4],
    };
    let field = match protocol {
        UDP => 6,
        TCP => 16,
        ICMP => 2,
        _ => return Datagram { src: src_addr, dst: dst_addr, protocol, payload, ..Datagram::default() },
    };
    let mut covered = Vec::new();
    if protocol != ICMP {
        covered.extend(src_addr.octets());
        covered.extend(dst_addr.octets());
        covered.extend([0, protocol]);
        covered.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    }
    covered.extend(&payload);
    payload[field..field + 2].copy_from_slice(&checksum(&covered).to_be_bytes());
    Datagram { src: src_addr, dst: dst_addr, protocol, payload, ..Datagram::default() }
}

/// What leaves when this is received, if anything.
pub(crate) fn pass(router: &mut Router<'_>, port: PortId, datagram: &Datagram) -> Option<Seen> {
    router.bench.tx.clear();
    router.receive([(port, &datagram.on(port)[..])]);
    assert!(router.bench.tx.len() <= 1, "{:?}", router.bench.tx);
    router.bench.tx.first().map(|(port, bytes)| seen(*port, bytes))
}

pub(crate) fn dropped(router: &Router<'_>) -> Vec<(String, u64)> {
    router.counts().into_iter().filter(|(name, _)| name.starts_with("drop ")).collect()
}

#[test]
fn a_flow_goes_out_translated_and_its_answers_come_home() {
    for protocol in [UDP, TCP, ICMP] {
        let memory = memory();
        let mut router = Router::new(&memory);
        install(&mut router, config(POOL));
        let remote_port = if protocol == ICMP { 4001 } else { 53 };
        for _ in 0..2 {
            let out = datagram(protocol, (CLIENT, 4001), (REMOTE, remote_port));
            let sent = pass(&mut router, LAN, &out).expect("leaves");
            assert_eq!((sent.port, sent.src.0, sent.dst.0), (WAN, addr(POOL), addr(REMOTE)));
            assert!(1024 <= sent.src.1);
            let remote = (REMOTE, if protocol == ICMP { 0 } else { remote_port });
            let mut answer = datagram(protocol, remote, (POOL, sent.src.1));
            if protocol == TCP {
                answer.payload[13] = 0x12;
                answer.payload[16..18].fill(0);
                let pseudo = [&answer.src.octets()[..], &answer.dst.octets(), &[0, 6, 0, 20]].concat();
                let sum = checksum(&[pseudo, answer.payload.clone()].concat());
                answer.payload[16..18].copy_from_slice(&sum.to_be_bytes());
            }
            let home = pass(&mut router, WAN, &answer).expect("comes home");
            assert_eq!((home.port, home.src.0, home.dst), (LAN, addr(REMOTE), (addr(CLIENT), 4001)));
        }
        let totals = router.engine.nat().unwrap().totals();
        assert_eq!((totals.sessions, totals.mappings), (1, 1));
        assert_eq!(dropped(&router), []);
    }
}

#[test]
fn a_burst_of_known_flows_is_translated_like_single_packets() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    router.add_frames(BURST);
    let out: Vec<Vec<u8>> =
        (0..64).map(|i| datagram(UDP, (CLIENT, 4000 + i), (REMOTE, 53)).on(LAN)).collect();
    for round in 0..2 {
        router.bench.tx.clear();
        router.receive(out.iter().map(|bytes| (LAN, &bytes[..])));
        let sources: Vec<u16> = router.bench.tx.iter().map(|(port, f)| seen(*port, f).src.1).collect();
        assert_eq!(sources.len(), 64, "round {round}");
        let answers: Vec<Vec<u8>> =
            sources.iter().map(|&port| datagram(UDP, (REMOTE, 53), (POOL, port)).on(WAN)).collect();
        router.bench.tx.clear();
        router.receive(answers.iter().map(|bytes| (WAN, &bytes[..])));
        let home: Vec<_> = router.bench.tx.iter().map(|(port, f)| seen(*port, f).dst).collect();
        let expected: Vec<_> = (0..64).map(|i| (addr(CLIENT), 4000 + i)).collect();
        assert_eq!(home, expected, "round {round}");
    }
}

#[test]
fn only_what_passes_from_inside_to_outside_is_translated() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    for (port, datagram) in [
        (LAN, Datagram::to("10.9.0.1")),
        (THIN, Datagram { src: addr("203.0.113.2"), ..Datagram::to(REMOTE) }),
        (WAN, Datagram { src: addr(REMOTE), ..Datagram::to("10.9.0.1") }),
        (WAN, Datagram { src: addr(REMOTE), ..Datagram::to(CLIENT) }),
    ] {
        let sent = pass(&mut router, port, &datagram).expect("is forwarded");
        assert_eq!((sent.src.0, sent.dst.0), (datagram.src, datagram.dst));
    }
    assert_eq!(router.engine.nat().unwrap().totals().sessions_created, 0);
}

#[test]
fn nothing_leaves_untranslated() {
    // Without a configuration, as after a restart.
    let memory = memory();
    let mut router = Router::new(&memory);
    sides(&mut router);
    assert_eq!(pass(&mut router, LAN, &Datagram::to(REMOTE)), None);
    assert_eq!(dropped(&router), [("drop nat-off".to_owned(), 1)]);

    // An address that no rule names is told so.
    let stranger = Datagram { src: addr("192.0.2.20"), ..Datagram::to(REMOTE) };
    for (refusal, code) in [(Refusal::Prohibited, 13), (Refusal::HostUnreachable, 1)] {
        let memory = crate::rig::memory();
        let mut router = Router::new(&memory);
        let mut config = config(POOL);
        config.sources[0].from = "192.0.2.10/32".parse().unwrap();
        config.refusal = refusal;
        install(&mut router, config);
        let told = pass(&mut router, LAN, &stranger).expect("an answer");
        assert_eq!((told.port, told.protocol, &told.data[..2]), (LAN, ICMP, &[3, code][..]));
        assert_eq!(dropped(&router), [("drop nat-no-pool".to_owned(), 1)]);
    }
}

#[test]
fn exempt_sources_leave_as_they_are() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let mut config = config(POOL);
    config.sources[0].action = SourceAction::Exempt;
    install(&mut router, config);
    let sent = pass(&mut router, LAN, &Datagram::to(REMOTE)).expect("leaves");
    assert_eq!(sent.src.0, addr(CLIENT));
}

#[test]
fn a_packet_that_does_not_leave_makes_no_session() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    for datagram in [
        Datagram { ttl: 1, ..Datagram::to(REMOTE) },
        Datagram { fragment: DF, payload: udp(1, 2, 1480), ..Datagram::to(REMOTE) },
        Datagram::to("8.8.8.8"),
    ] {
        let told = pass(&mut router, LAN, &datagram).expect("an ICMP error");
        let quoted = &told.data[8..];
        assert_eq!(quoted[..], datagram.bytes()[..quoted.len()], "as it was sent");
    }
    assert_eq!(router.engine.nat().unwrap().totals().sessions_created, 0);
}

#[test]
fn uninvited_packets_are_dropped_and_the_hosts_own_go_to_the_kernel() {
    let uninvited = |dst| datagram(UDP, (REMOTE, 53), (dst, 5000));
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    assert_eq!(pass(&mut router, WAN, &uninvited(POOL)), None);
    assert_eq!(dropped(&router), [("drop nat-no-mapping".to_owned(), 1)]);

    let memory = crate::rig::memory();
    let mut router = Router::new(&memory);
    router.bench.kernel_takes = true;
    install(&mut router, config(OWN));
    let own = [uninvited(OWN), datagram(ICMP, (REMOTE, 77), (OWN, 77)), datagram(47, (REMOTE, 0), (OWN, 0))];
    for datagram in &own {
        assert_eq!(pass(&mut router, WAN, datagram), None);
    }
    // From inside too: no session is made on the way.
    assert_eq!(pass(&mut router, LAN, &datagram(UDP, (CLIENT, 53), (OWN, 5000))), None);
    assert_eq!(router.bench.kernel.len(), 4);
    assert_eq!(router.page.verdicts(VerdictKind::Kernel), 4);
    assert_eq!(router.bench.kernel[0].1, own[0].on(WAN), "as it came");
    assert_eq!(router.engine.nat().unwrap().totals().sessions_created, 0);
    // The port of a mapping is NAT's.
    let sent = pass(&mut router, LAN, &datagram(UDP, (CLIENT, 4000), (REMOTE, 53))).expect("leaves");
    assert_eq!(sent.src.0, addr(OWN));
    let home = pass(&mut router, WAN, &datagram(UDP, (REMOTE, 53), (OWN, sent.src.1))).expect("comes home");
    assert_eq!(home.dst, (addr(CLIENT), 4000));
}

#[test]
fn forwards_and_static_addresses_are_reached_from_outside_and_from_inside() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.neighbor(LAN, "192.0.2.30");
    let mut config = config(POOL);
    config.forwards.push(Forward {
        protocol: TCP,
        outside: addr(POOL),
        outside_ports: 8080..=8080,
        inside: addr("192.0.2.30"),
        inside_port: 80,
    });
    config.statics.push(Static { outside: addr("198.51.100.9"), inside: addr("192.0.2.30") });
    install(&mut router, config);
    let open = |src, dst| datagram(TCP, src, dst);
    let inward = pass(&mut router, WAN, &open((REMOTE, 5000), (POOL, 8080))).expect("is let in");
    assert_eq!((inward.port, inward.dst), (LAN, (addr("192.0.2.30"), 80)));
    let inward = pass(&mut router, WAN, &open((REMOTE, 5000), ("198.51.100.9", 22))).expect("is let in");
    assert_eq!((inward.port, inward.dst), (LAN, (addr("192.0.2.30"), 22)));
    let hairpin = pass(&mut router, LAN, &open((CLIENT, 5000), (POOL, 8080))).expect("is let in");
    assert_eq!((hairpin.port, hairpin.dst), (LAN, (addr("192.0.2.30"), 80)));
    assert_eq!(hairpin.src.0, addr(POOL), "the server sees the outside address");
    let back = datagram(TCP, ("192.0.2.30", 80), (POOL, hairpin.src.1));
    let back = pass(&mut router, LAN, &back).expect("is answered");
    assert_eq!((back.src, back.dst), ((addr(POOL), 8080), (addr(CLIENT), 5000)));
    assert_eq!(router.page.events(Event::OwnLost), 0, "and no redirect");
}

/// RFC 5508 REQ-3, REQ-4: what the sender reads is what it sent.
#[test]
fn icmp_errors_come_home_with_what_the_sender_sent() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    let out = datagram(UDP, (CLIENT, 4000), (REMOTE, 33434));
    pass(&mut router, LAN, &out).expect("leaves");
    let on_the_wire = router.bench.tx[0].1[14..].to_vec();
    let error = |quoted: &[u8]| {
        let mut payload = vec![11, 0, 0, 0, 0, 0, 0, 0];
        payload.extend(quoted);
        let sum = checksum(&payload);
        payload[2..4].copy_from_slice(&sum.to_be_bytes());
        Datagram { src: addr("10.1.0.1"), dst: addr(POOL), protocol: ICMP, payload, ..Datagram::default() }
    };
    let home = pass(&mut router, WAN, &error(&on_the_wire)).expect("comes home");
    assert_eq!((home.src.0, home.dst.0), (addr("10.1.0.1"), addr(CLIENT)));
    let mut sent = out.bytes();
    sent[8] -= 1; // aged by the router
    assert_eq!(home.data[8 + 12..], sent[12..], "addresses, ports, checksum, data");

    let mut stranger = datagram(UDP, (POOL, 9999), (REMOTE, 33434)).bytes();
    stranger[8] -= 1;
    stranger[10..12].fill(0);
    let sum = checksum(&stranger[..20]);
    stranger[10..12].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(pass(&mut router, WAN, &error(&stranger)), None);
    assert_eq!(dropped(&router), [("drop nat-unrelated-error".to_owned(), 1)]);
}

/// What the router says about a packet it has translated quotes it as it came, and nothing of the inside shows.
#[test]
fn errors_about_translated_packets_show_no_inside_address() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    let sent = pass(&mut router, LAN, &datagram(UDP, (CLIENT, 4000), (REMOTE, 53))).expect("leaves");
    let late = Datagram { ttl: 1, ..datagram(UDP, (REMOTE, 53), (POOL, sent.src.1)) };
    let told = pass(&mut router, WAN, &late).expect("an ICMP error");
    assert_eq!((told.port, told.src.0, told.dst.0), (WAN, addr(OWN), addr(REMOTE)));
    assert_eq!(&told.data[..2], &[11, 0]);
    assert_eq!(told.data[8..], late.bytes());
}

/// A packet waits for its neighbour as it came, and is translated when it leaves, or quoted as it came.
#[test]
fn held_packets_are_translated_when_they_leave() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    let silent = "192.0.2.77";
    let sent = pass(&mut router, LAN, &datagram(UDP, (silent, 4000), (REMOTE, 53))).expect("leaves");
    let answer = datagram(UDP, (REMOTE, 53), (POOL, sent.src.1));
    assert_eq!(pass(&mut router, WAN, &answer), None);
    assert_eq!(router.engine.held(), 1);
    router.resolve(LAN, silent, Resolution::Complete(mac_of(silent)));
    let (port, bytes) = &router.bench.tx[0];
    assert_eq!(seen(*port, bytes).dst, (addr(silent), 4000));

    let waiting = datagram(UDP, (silent, 4000), ("10.2.0.1", 53));
    assert_eq!(pass(&mut router, LAN, &waiting), None, "its gateway does not answer yet");
    router.resolve(WAN, "198.51.100.3", Resolution::Complete(mac_of("198.51.100.3")));
    let (port, bytes) = &router.bench.tx[0];
    assert_eq!(seen(*port, bytes).src, (addr(POOL), sent.src.1), "the same mapping");
}

#[test]
fn sessions_end_by_the_engines_timer() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    assert_eq!(router.engine.poll_timeout(), None, "an idle router is not woken");
    pass(&mut router, LAN, &datagram(UDP, (CLIENT, 4000), (REMOTE, 53))).expect("leaves");
    let end = router.now + Duration::from_secs(900);
    let mut calls = 0;
    while let Some(deadline) = router.engine.poll_timeout() {
        assert!(deadline <= end, "it ends");
        router.timeout(deadline.max(router.now));
        calls += 1;
    }
    assert!(calls < 1000, "{calls} calls");
    let totals = router.engine.nat().unwrap().totals();
    assert_eq!((totals.sessions, totals.mappings, totals.subscribers), (0, 0, 0));
}

/// Two workers, each with its shard: what arrives at the wrong one ends at the right one, translated alike.
#[test]
fn packets_find_the_worker_that_has_their_state() {
    let memories = [memory(), memory()];
    let slices = Slices::new(2, 64);
    let mut workers: Vec<Router<'_>> = (0u16..)
        .zip(&memories)
        .map(|(worker, memory)| {
            let mut router = Router::new(memory);
            router.neighbor(LAN, "192.0.2.50");
            sides(&mut router);
            router.engine.set_nat(Some(Nat::new(config(POOL), slices, worker, 42, router.now)));
            router
        })
        .collect();
    let mut crossed = 0;
    let mut deliver = |port: PortId, datagram: &Datagram, at: usize| -> Seen {
        workers[at].bench.tx.clear();
        workers[at].receive([(port, &datagram.on(port)[..])]);
        let mut at = at;
        loop {
            if let Some((port, bytes)) = workers[at].bench.tx.first() {
                decode(bytes);
                return seen(*port, bytes);
            }
            let (Handoff { worker, leg }, port, bytes) = workers[at].bench.handed.pop().expect("handed off");
            crossed += 1;
            at = usize::from(worker);
            workers[at].bench.tx.clear();
            workers[at].take_over(port, leg, &bytes);
        }
    };
    let hosts: Vec<String> = (50..60).map(|host| format!("192.0.2.{host}")).collect();
    let mut outside = Vec::new();
    for (i, host) in hosts.iter().enumerate() {
        let sent = deliver(LAN, &datagram(UDP, (host, 4000), (REMOTE, 53)), i % 2);
        assert_eq!(sent.src.0, addr(POOL));
        outside.push(sent.src.1);
    }
    for (i, &port) in outside.iter().enumerate() {
        let hairpin = deliver(LAN, &datagram(UDP, (&hosts[i], 4000), (POOL, outside[0])), 0);
        assert_eq!(hairpin.src, (addr(POOL), port));
        assert_eq!(hairpin.dst, (addr(&hosts[0]), 4000));
    }
    assert!(crossed > 5, "{crossed} hand-offs");
}

/// RFC 5508 REQ-7: queries to a one-to-one address from inside, and their answers.
#[test]
fn rfc5508_req7_queries_are_hairpinned_to_static_addresses() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.neighbor(LAN, "192.0.2.30");
    let mut config = config(POOL);
    config.statics.push(Static { outside: addr("198.51.100.9"), inside: addr("192.0.2.30") });
    install(&mut router, config);
    let ping = datagram(ICMP, (CLIENT, 77), ("198.51.100.9", 0));
    let there = pass(&mut router, LAN, &ping).expect("reaches the host");
    assert_eq!((there.port, there.src.0, there.dst.0), (LAN, addr(POOL), addr("192.0.2.30")));
    let mut answer = datagram(ICMP, ("192.0.2.30", there.dst.1), (POOL, 0));
    answer.payload[0] = 0;
    answer.payload[2..4].fill(0);
    let sum = checksum(&answer.payload);
    answer.payload[2..4].copy_from_slice(&sum.to_be_bytes());
    let back = pass(&mut router, LAN, &answer).expect("is answered");
    assert_eq!((back.src.0, back.dst), (addr("198.51.100.9"), (addr(CLIENT), 77)));
}

/// RFC 5508 REQ-10: kinds of messages that are translated, and that are not.
#[test]
fn rfc5508_req10_kinds_of_messages() {
    for (kind, passes) in
        [(8, true), (0, true), (13, true), (14, true), (4, false), (5, false), (15, false), (10, false)]
    {
        let memory = memory();
        let mut router = Router::new(&memory);
        install(&mut router, config(POOL));
        let mut query = datagram(ICMP, (CLIENT, 77), (REMOTE, 0));
        query.payload[0] = kind;
        query.payload.extend([0; 8]); // as long as a timestamp
        query.payload[2..4].fill(0);
        let sum = checksum(&query.payload);
        query.payload[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(pass(&mut router, LAN, &query).is_some(), passes, "type {kind}");
    }
}

/// RFC 4787 REQ-13: a packet from inside that is too big is answered, or fragmented and translated.
#[test]
fn rfc4787_req13_too_big_packets_from_inside() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    router.set_port(THIN, |port| port.nat = NatSide::Outside);
    router.add_frames(8);
    let big = |fragment| Datagram { fragment, payload: udp(4000, 53, 1000), ..Datagram::to("10.9.0.1") };
    let told = pass(&mut router, LAN, &big(DF)).expect("an ICMP error");
    assert_eq!((told.port, &told.data[..2], &told.data[6..8]), (LAN, &[3, 4][..], &576u16.to_be_bytes()[..]));
    router.bench.tx.clear();
    router.receive([(LAN, &big(0).on(LAN)[..])]);
    assert_eq!(router.bench.tx.len(), 2);
    for (port, frame) in &router.bench.tx {
        decode(frame);
        assert_eq!((*port, &frame[26..30]), (THIN, &addr(POOL).octets()[..]));
    }
}

/// RFC 5508 REQ-5: a host inside, or a router there, complains of a packet from outside.
#[test]
fn errors_from_inside_leave_with_the_outside_address() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    let sent = pass(&mut router, LAN, &datagram(UDP, (CLIENT, 4000), (REMOTE, 53))).expect("leaves");
    let answer = datagram(UDP, (REMOTE, 53), (POOL, sent.src.1));
    pass(&mut router, WAN, &answer).expect("comes home");
    let quoted = router.bench.tx[0].1[14..].to_vec();
    for complainant in [CLIENT, "192.0.2.20"] {
        let mut payload = vec![3, 3, 0, 0, 0, 0, 0, 0];
        payload.extend(&quoted);
        let sum = checksum(&payload);
        payload[2..4].copy_from_slice(&sum.to_be_bytes());
        let (src, dst) = (addr(complainant), addr(REMOTE));
        let error = Datagram { src, dst, protocol: ICMP, payload, ..Datagram::default() };
        let told = pass(&mut router, LAN, &error).expect("leaves");
        assert_eq!((told.port, told.src.0, told.dst.0), (WAN, addr(POOL), addr(REMOTE)));
        assert_eq!(&told.data[..2], &[3, 3], "type and code are kept");
        assert_eq!(told.data[8 + 12..], answer.bytes()[12..], "what the sender sent");
    }
}
