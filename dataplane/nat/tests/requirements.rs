//! What the RFCs require of the state, each requirement by its name. Time is injected.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test panics on whatever it did not expect")]

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;
use std::collections::HashSet;

use millrace_nat::{
    Allocation, Config, Cursor, Denied, Endpoint, ErrorRewrite, ErrorVerdict, Event, Filtering, Flow,
    Forward, Limits, Nat, PerProtocol, Pool, Refused, Side, Slices, Source, SourceAction, Static, Tcp,
    Timers, Verdict, protocol,
};
use millrace_net::{Instant, Prefix};

const SYN: Tcp = Tcp { syn: true, ack: false, fin: false, rst: false };
const ACK: Tcp = Tcp { syn: false, ack: true, fin: false, rst: false };
const FIN: Tcp = Tcp { syn: false, ack: true, fin: true, rst: false };
const RST: Tcp = Tcp { syn: false, ack: false, fin: false, rst: true };

fn ep(text: &str) -> Endpoint {
    let (addr, port) = text.split_once(':').expect("address:port");
    Endpoint::new(addr.parse().expect("address"), port.parse().expect("port"))
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("prefix")
}

fn pool(addresses: &[&str]) -> Pool {
    Pool {
        name: "wan".into(),
        addresses: addresses.iter().map(|a| a.parse().expect("address")).collect(),
        ports: 1024..=65535,
        filtering: PerProtocol::same(Filtering::EndpointIndependent),
        allocation: Allocation::Random,
    }
}

fn config(pool: Pool) -> Config {
    let source = Source { from: prefix("192.168.0.0/16"), action: SourceAction::Pool(0) };
    let limits = Limits { sessions: 10_000, mappings: 10_000, ..Limits::default() };
    Config { pools: vec![pool], sources: vec![source], limits, ..Config::default() }
}

/// A shard and its clock, in seconds.
struct Bed {
    nat: Nat,
    now: u64,
}

impl Bed {
    fn new(config: Config) -> Self {
        Self { nat: Nat::new(config, Slices::new(1, 64), 0, 42, Instant::from_secs(1000)), now: 1000 }
    }

    fn send(&mut self, side: Side, protocol: u8, src: Endpoint, dst: Endpoint, tcp: Option<Tcp>) -> Verdict {
        self.nat.translate(Instant::from_secs(self.now), side, &Flow { protocol, src, dst }, tcp)
    }

    fn udp_out(&mut self, src: &str, dst: &str) -> Endpoint {
        match self.send(Side::Inside, protocol::UDP, ep(src), ep(dst), None) {
            Verdict::Translate(r) => r.src,
            other => panic!("{src} -> {dst}: {other:?}"),
        }
    }

    fn udp_in(&mut self, src: &str, dst: Endpoint) -> Verdict {
        self.send(Side::Outside, protocol::UDP, ep(src), dst, None)
    }

    fn wait(&mut self, secs: u64) {
        self.now += secs;
        self.nat.expire(Instant::from_secs(self.now), 1_000_000);
    }

    fn counts(&self) -> (u64, u64, u64) {
        let t = self.nat.totals();
        (t.sessions, t.mappings, t.subscribers)
    }
}

fn translated(verdict: ErrorVerdict) -> ErrorRewrite {
    let ErrorVerdict::Translate(rewrite) = verdict else { panic!("{verdict:?}") };
    rewrite
}

fn reaches(verdict: Verdict, inside: &str) -> bool {
    matches!(verdict, Verdict::Translate(r) if r.dst == ep(inside))
}

#[test]
fn rfc4787_req1_endpoint_independent_mapping() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let first = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    assert_eq!(bed.udp_out("192.168.0.5:4000", "198.51.100.1:54"), first);
    assert_eq!(bed.udp_out("192.168.0.5:4000", "198.51.100.2:53"), first);
    assert_ne!(bed.udp_out("192.168.0.5:4001", "198.51.100.1:53"), first);
    assert_eq!(bed.counts(), (4, 2, 1));
}

#[test]
fn rfc4787_req2_paired_pooling_over_round_robin_addresses() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8", "203.0.113.9", "203.0.113.10"])));
    let mut addresses = HashSet::new();
    for host in 1..=6 {
        let used: HashSet<u32> = (1..=20)
            .map(|port| bed.udp_out(&format!("192.168.0.{host}:{port}"), "198.51.100.1:53").addr)
            .collect();
        assert_eq!(used.len(), 1, "one host, one outside address");
        addresses.extend(used);
    }
    assert_eq!(addresses.len(), 3, "hosts spread over the pool");
}

#[test]
fn rfc4787_req3_no_overloading_and_exhaustion_is_refused_without_evicting() {
    let mut bed = Bed::new(config(Pool { ports: 2000..=2099, ..pool(&["203.0.113.8"]) }));
    let mut seen = HashSet::new();
    for port in 0..100 {
        assert!(seen.insert(bed.udp_out(&format!("192.168.0.5:{}", 5000 + port), "198.51.100.1:53")));
    }
    let refused = bed.send(Side::Inside, protocol::UDP, ep("192.168.0.6:1"), ep("198.51.100.1:53"), None);
    assert_eq!(refused, Verdict::Refuse(Refused::PoolExhausted));
    assert_eq!(bed.counts(), (100, 100, 1), "the refused host left nothing behind");
    for outside in seen {
        assert!(matches!(bed.udp_in("198.51.100.1:53", outside), Verdict::Translate(_)));
    }
}

#[test]
fn rfc4787_req3a_req4_range_and_parity() {
    let mut bed = Bed::new(config(Pool { ports: 1..=65535, ..pool(&["203.0.113.8"]) }));
    for port in [500, 501, 4500, 4501] {
        let outside = bed.udp_out(&format!("192.168.0.5:{port}"), "198.51.100.1:53").port;
        assert_eq!((outside < 1024, outside % 2), (port < 1024, port % 2), "{port} became {outside}");
    }
}

#[test]
fn rfc4787_req5_udp_timer_and_req6_outbound_refresh() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let outside = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    bed.wait(299);
    assert!(reaches(bed.udp_in("198.51.100.1:53", outside), "192.168.0.5:4000"));
    bed.wait(1);
    assert_eq!(bed.counts(), (0, 0, 0), "what came in did not refresh");
    let outside = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    bed.wait(200);
    bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    bed.wait(299);
    assert_eq!(bed.counts(), (1, 1, 1), "what went out did");
    bed.wait(1);
    assert_eq!(bed.udp_in("198.51.100.1:53", outside), Verdict::Deny(Denied::NoMapping));
}

#[test]
fn rfc4787_req6_inbound_refresh_can_be_switched_on() {
    let timers = Timers { inbound_refresh: true, ..Timers::default() };
    let mut bed = Bed::new(Config { timers, ..config(pool(&["203.0.113.8"])) });
    let outside = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    bed.wait(200);
    bed.udp_in("198.51.100.1:53", outside);
    bed.wait(299);
    assert_eq!(bed.counts(), (1, 1, 1));
}

#[test]
fn rfc4787_req8_filtering_of_all_three_kinds() {
    let strangers = ["198.51.100.1:53", "198.51.100.1:99", "198.51.100.9:53"];
    for (filtering, let_in) in [
        (Filtering::EndpointIndependent, [true, true, true]),
        (Filtering::AddressDependent, [true, true, false]),
        (Filtering::AddressAndPortDependent, [true, false, false]),
    ] {
        for (stranger, let_in) in strangers.into_iter().zip(let_in) {
            let filtering = PerProtocol::same(filtering);
            let mut bed = Bed::new(config(Pool { filtering, ..pool(&["203.0.113.8"]) }));
            let outside = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
            let verdict = bed.udp_in(stranger, outside);
            if let_in {
                assert!(reaches(verdict, "192.168.0.5:4000"), "{filtering:?} {stranger}: {verdict:?}");
            } else {
                assert_eq!(verdict, Verdict::Deny(Denied::Filtered), "{filtering:?} {stranger}");
            }
        }
    }
}

#[test]
fn rfc4787_req8_address_permission_goes_with_its_last_session() {
    let filtering = PerProtocol::same(Filtering::AddressDependent);
    let mut bed = Bed::new(config(Pool { filtering, ..pool(&["203.0.113.8"]) }));
    let outside = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    bed.wait(200);
    bed.udp_out("192.168.0.5:4000", "198.51.100.2:53");
    bed.wait(100);
    assert_eq!(bed.udp_in("198.51.100.1:9", outside), Verdict::Deny(Denied::Filtered));
    assert!(reaches(bed.udp_in("198.51.100.2:9", outside), "192.168.0.5:4000"));
}

#[test]
fn rfc4787_req9_hairpinning_with_the_external_source_address() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let server = bed.udp_out("192.168.0.6:7000", "198.51.100.1:53");
    let there = bed.send(Side::Inside, protocol::UDP, ep("192.168.0.5:4000"), server, None);
    let Verdict::Translate(there) = there else { panic!("{there:?}") };
    assert_eq!(there.dst, ep("192.168.0.6:7000"));
    assert_eq!(there.src.addr(), Ipv4Addr::new(203, 0, 113, 8));
    let back = bed.send(Side::Inside, protocol::UDP, ep("192.168.0.6:7000"), there.src, None);
    let Verdict::Translate(back) = back else { panic!("{back:?}") };
    assert_eq!((back.src, back.dst), (server, ep("192.168.0.5:4000")));
    let flow = Flow { protocol: protocol::UDP, src: ep("192.168.0.5:4000"), dst: server };
    let guess = bed.nat.approach(bed.nat.probe(Side::Inside, &flow));
    assert_eq!(
        bed.nat.translate_known(Instant::from_secs(1000), guess, &flow, None),
        None,
        "takes two sessions"
    );
}

#[test]
fn a_known_packet_is_translated_alike_on_both_paths() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let outside = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    let now = Instant::from_secs(1000);
    for (side, src, dst, known) in [
        (Side::Inside, "192.168.0.5:4000", "198.51.100.1:53", true),
        (Side::Inside, "192.168.0.5:4000", "198.51.100.1:54", false),
        (Side::Inside, "192.168.0.5:4001", "198.51.100.1:53", false),
        (Side::Outside, "198.51.100.1:53", "203.0.113.8:0", true),
        (Side::Outside, "198.51.100.2:53", "203.0.113.8:0", false),
    ] {
        let dst = if side == Side::Outside { outside } else { ep(dst) };
        let flow = Flow { protocol: protocol::UDP, src: ep(src), dst };
        let guess = bed.nat.approach(bed.nat.probe(side, &flow));
        assert_eq!(bed.nat.session_line(guess).is_some(), known, "{src} -> {dst}");
        let fast = bed.nat.translate_known(now, guess, &flow, None);
        assert_eq!(fast.is_some(), known, "{src} -> {dst}");
        if let Some(fast) = fast {
            assert_eq!(bed.nat.translate(now, side, &flow, None), Verdict::Translate(fast));
        }
    }
}

#[test]
fn rfc4787_req12_rfc5508_icmp_errors_are_translated_and_end_nothing() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let outside = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    let remote = ep("198.51.100.1:53");
    let about = |src, dst| Flow { protocol: protocol::UDP, src, dst };
    let inside = ep("192.168.0.5:4000");
    let inward = translated(bed.nat.translate_error(Side::Outside, &about(outside, remote), outside.addr));
    assert_eq!((inward.inner_src, inward.inner_dst), (inside, remote));
    assert_eq!((inward.outer_src, inward.outer_dst), (None, Some(inside.addr)));
    let outward = translated(bed.nat.translate_error(Side::Inside, &about(remote, inside), remote.addr));
    assert_eq!((outward.inner_src, outward.inner_dst), (remote, outside));
    assert_eq!((outward.outer_src, outward.outer_dst), (Some(outside.addr), None));
    let stranger = about(outside, ep("198.51.100.1:54"));
    assert_eq!(bed.nat.translate_error(Side::Outside, &stranger, outside.addr), ErrorVerdict::Unrelated);
    assert_eq!(bed.counts(), (1, 1, 1));
}

#[test]
fn rfc5508_req7_icmp_errors_about_hairpinned_packets() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let (a, b) = (ep("192.168.0.5:4000"), ep("192.168.0.6:7000"));
    let b_outside = bed.udp_out("192.168.0.6:7000", "198.51.100.1:53");
    let Verdict::Translate(there) = bed.send(Side::Inside, protocol::UDP, a, b_outside, None) else {
        panic!()
    };
    // B answers port unreachable to what it saw: from A's outside endpoint to itself.
    let quoted = Flow { protocol: protocol::UDP, src: there.src, dst: b };
    let error = translated(bed.nat.translate_error(Side::Inside, &quoted, there.src.addr));
    assert_eq!((error.inner_src, error.inner_dst), (a, b_outside), "A reads what A sent");
    assert_eq!((error.outer_src, error.outer_dst), (Some(b_outside.addr), Some(a.addr)));
}

#[test]
fn rfc5382_req2_simultaneous_open() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let (inside, remote) = (ep("192.168.0.5:4000"), ep("198.51.100.1:80"));
    let Verdict::Translate(out) = bed.send(Side::Inside, protocol::TCP, inside, remote, Some(SYN)) else {
        panic!()
    };
    let back = bed.send(Side::Outside, protocol::TCP, remote, out.src, Some(SYN));
    assert!(reaches(back, "192.168.0.5:4000"));
    bed.wait(3600);
    assert_eq!(bed.counts(), (1, 1, 1), "open on both sides is established");
}

#[test]
fn rfc5382_req5_rfc7857_tcp_timers() {
    // (what is seen, seconds it is kept)
    type Seen<'a> = &'a [(Side, Tcp)];
    let table: [(&str, Seen<'_>, u64); 6] = [
        ("half open", &[(Side::Inside, SYN)], 240),
        ("established", &[(Side::Inside, SYN), (Side::Outside, SYN), (Side::Inside, ACK)], 7440),
        ("closing on one side", &[(Side::Inside, SYN), (Side::Outside, SYN), (Side::Inside, FIN)], 7440),
        (
            "closed on both",
            &[(Side::Inside, SYN), (Side::Outside, SYN), (Side::Inside, FIN), (Side::Outside, FIN)],
            240,
        ),
        ("reset", &[(Side::Inside, SYN), (Side::Outside, SYN), (Side::Outside, RST)], 240),
        (
            "reset, and going on",
            &[(Side::Inside, SYN), (Side::Outside, SYN), (Side::Outside, RST), (Side::Inside, ACK)],
            7440,
        ),
    ];
    for (name, seen, kept) in table {
        let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
        let (inside, remote) = (ep("192.168.0.5:4000"), ep("198.51.100.1:80"));
        let mut outside = Endpoint::default();
        for &(side, tcp) in seen {
            bed.wait(1);
            let (src, dst) = if side == Side::Inside { (inside, remote) } else { (remote, outside) };
            match bed.send(side, protocol::TCP, src, dst, Some(tcp)) {
                Verdict::Translate(r) if side == Side::Inside => outside = r.src,
                Verdict::Translate(_) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        bed.wait(kept - 1);
        assert_eq!(bed.counts(), (1, 1, 1), "{name}: kept for {kept} s");
        bed.wait(1);
        assert_eq!(bed.counts(), (0, 0, 0), "{name}: no longer than {kept} s");
    }
}

#[test]
fn timers_under_the_rfc_minimum_are_refused() {
    assert!(Timers::default().checked().is_ok());
    for (timers, named) in [
        (
            Timers { tcp_established: 7439, ..Timers::default() },
            "tcp-established must be at least 7440 seconds",
        ),
        (Timers { tcp_transitory: 239, ..Timers::default() }, "tcp-transitory must be at least 240 seconds"),
        (Timers { udp: 119, ..Timers::default() }, "udp must be at least 120 seconds"),
        (Timers { icmp: 59, ..Timers::default() }, "icmp must be at least 60 seconds"),
    ] {
        let error = timers.checked().unwrap_err().to_string();
        assert!(error.starts_with(named), "{error}");
    }
}

#[test]
fn a_tcp_segment_out_of_nowhere_opens_nothing() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    for segment in [ACK, FIN, RST] {
        let verdict = bed.send(
            Side::Inside,
            protocol::TCP,
            ep("192.168.0.5:4000"),
            ep("198.51.100.1:80"),
            Some(segment),
        );
        assert_eq!(verdict, Verdict::Deny(Denied::TcpNoSession));
    }
    assert_eq!(bed.counts(), (0, 0, 0));
}

#[test]
fn rfc6888_req4_quotas_of_a_subscriber() {
    let limits = Limits { sessions: 100, mappings: 100, sessions_per_subscriber: 3, ports_per_subscriber: 2 };
    let mut bed = Bed::new(Config { limits, ..config(pool(&["203.0.113.8"])) });
    bed.udp_out("192.168.0.5:1", "198.51.100.1:53");
    bed.udp_out("192.168.0.5:2", "198.51.100.1:53");
    let third = bed.send(Side::Inside, protocol::UDP, ep("192.168.0.5:3"), ep("198.51.100.1:53"), None);
    assert_eq!(third, Verdict::Refuse(Refused::SubscriberPorts));
    bed.udp_out("192.168.0.5:2", "198.51.100.2:53");
    let fourth = bed.send(Side::Inside, protocol::UDP, ep("192.168.0.5:2"), ep("198.51.100.3:53"), None);
    assert_eq!(fourth, Verdict::Refuse(Refused::SubscriberSessions));
    bed.udp_out("192.168.0.6:1", "198.51.100.1:53");
    assert_eq!(bed.counts(), (4, 3, 2), "another subscriber is not concerned");
}

#[test]
fn rfc6888_req8_a_port_rests_for_120_seconds() {
    let mut bed = Bed::new(config(Pool { ports: 2000..=2000, ..pool(&["203.0.113.8"]) }));
    bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    bed.wait(300);
    assert_eq!(bed.counts(), (0, 0, 0));
    let at_once = bed.send(Side::Inside, protocol::UDP, ep("192.168.0.6:1"), ep("198.51.100.1:53"), None);
    assert_eq!(at_once, Verdict::Refuse(Refused::PoolExhausted));
    bed.wait(119);
    let early = bed.send(Side::Inside, protocol::UDP, ep("192.168.0.6:1"), ep("198.51.100.1:53"), None);
    assert_eq!(early, Verdict::Refuse(Refused::PoolExhausted));
    bed.wait(1);
    bed.udp_out("192.168.0.6:1", "198.51.100.1:53");
}

#[test]
fn rfc6888_req14_port_blocks_are_logged_once_and_go_back_when_idle() {
    let allocation = Allocation::Blocks { size: 64, max: 2, idle_secs: 60 };
    let mut bed = Bed::new(config(Pool { allocation, ..pool(&["203.0.113.8"]) }));
    let ports: Vec<u16> =
        (0..128).map(|i| bed.udp_out(&format!("192.168.0.5:{}", 3000 + i), "198.51.100.1:53").port).collect();
    let blocks: HashSet<u16> = ports.iter().map(|p| p / 64).collect();
    assert_eq!(blocks.len(), 2);
    let over = bed.send(Side::Inside, protocol::UDP, ep("192.168.0.5:9"), ep("198.51.100.1:53"), None);
    assert_eq!(over, Verdict::Refuse(Refused::SubscriberPorts));
    let events: Vec<Event> = core::iter::from_fn(|| bed.nat.poll_event()).collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.iter().all(|e| matches!(e, Event::BlockAllocated { size: 64, .. })));
    bed.wait(300);
    assert_eq!(bed.nat.poll_event(), None, "the blocks are held while their ports rest");
    bed.wait(120);
    let events: Vec<Event> = core::iter::from_fn(|| bed.nat.poll_event()).collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.iter().all(|e| matches!(e, Event::BlockReleased { size: 64, .. })));
    assert_eq!(bed.counts(), (0, 0, 0));
}

#[test]
fn rfc7422_deterministic_is_a_bijection() {
    let allocation = Allocation::Deterministic { inside: prefix("192.168.4.0/24") };
    let addresses = ["203.0.113.8", "203.0.113.9"];
    let mut bed = Bed::new(config(Pool { allocation, ..pool(&addresses) }));
    let mut taken: HashSet<(u32, u16)> = HashSet::new();
    for host in 0..=255u8 {
        let inside = Ipv4Addr::new(192, 168, 4, host).to_bits();
        let (outside, range): (u32, RangeInclusive<u16>) =
            bed.nat.deterministic(inside).expect("in the prefix");
        assert_eq!(range.len(), 256);
        for port in range.clone() {
            assert!(1024 <= port && taken.insert((outside, port)), "given to two hosts");
            let reverse = bed.nat.deterministic_inside(Endpoint { addr: outside, port });
            assert_eq!(reverse, Some(inside));
        }
        let got = bed.udp_out(&format!("192.168.4.{host}:4000"), "198.51.100.1:53");
        assert!(got.addr == outside && range.contains(&got.port), "192.168.4.{host} got {got}");
    }
    assert_eq!(bed.nat.poll_event(), None, "nothing to log");
}

#[test]
fn forwards_reach_inside_from_outside_and_from_inside() {
    let forward = Forward {
        protocol: protocol::TCP,
        outside: Ipv4Addr::new(203, 0, 113, 8),
        outside_ports: 8080..=8082,
        inside: Ipv4Addr::new(192, 168, 50, 6),
        inside_port: 80,
    };
    let mut bed = Bed::new(Config { forwards: vec![forward], ..config(pool(&["203.0.113.8"])) });
    for (outside, inside) in [(8080, 80), (8081, 81), (8082, 82)] {
        let verdict = bed.send(
            Side::Outside,
            protocol::TCP,
            ep("198.51.100.1:5000"),
            ep(&format!("203.0.113.8:{outside}")),
            Some(SYN),
        );
        assert!(reaches(verdict, &format!("192.168.50.6:{inside}")), "{verdict:?}");
    }
    let answer =
        bed.send(Side::Inside, protocol::TCP, ep("192.168.50.6:80"), ep("198.51.100.1:5000"), Some(SYN));
    assert!(matches!(answer, Verdict::Translate(r) if r.src == ep("203.0.113.8:8080")));
    let hairpin =
        bed.send(Side::Inside, protocol::TCP, ep("192.168.0.5:4000"), ep("203.0.113.8:8080"), Some(SYN));
    assert!(reaches(hairpin, "192.168.50.6:80"), "{hairpin:?}");
    let closed =
        bed.send(Side::Outside, protocol::TCP, ep("198.51.100.1:5000"), ep("203.0.113.8:8083"), Some(SYN));
    assert_eq!(closed, Verdict::Deny(Denied::NoMapping));
    bed.wait(8000);
    assert_eq!(bed.counts(), (0, 3, 0), "a forward outlives its sessions");
}

#[test]
fn a_one_to_one_address_passes_every_port_both_ways() {
    let one = Static { outside: Ipv4Addr::new(203, 0, 113, 9), inside: Ipv4Addr::new(192, 168, 50, 50) };
    let mut bed = Bed::new(Config { statics: vec![one], ..config(pool(&["203.0.113.8"])) });
    let inward =
        bed.send(Side::Outside, protocol::TCP, ep("198.51.100.1:5000"), ep("203.0.113.9:22"), Some(SYN));
    assert!(reaches(inward, "192.168.50.50:22"));
    let out = bed.udp_out("192.168.50.50:5353", "198.51.100.1:53");
    assert_eq!(out, ep("203.0.113.9:5353"));
    const GRE: u8 = 47;
    let gre = bed.send(Side::Outside, GRE, ep("198.51.100.1:0"), ep("203.0.113.9:0"), None);
    assert!(reaches(gre, "192.168.50.50:0"));
    bed.wait(8000);
    assert_eq!(bed.counts(), (0, 0, 0));
}

#[test]
fn a_protocol_without_ports_belongs_to_the_host_that_claimed_it() {
    const ESP: u8 = 50;
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let (first, second, remote) = (ep("192.168.0.5:0"), ep("192.168.0.6:0"), ep("198.51.100.1:0"));
    let Verdict::Translate(out) = bed.send(Side::Inside, ESP, first, remote, None) else { panic!() };
    assert_eq!(out.src, ep("203.0.113.8:0"));
    assert_eq!(bed.send(Side::Inside, ESP, second, remote, None), Verdict::Refuse(Refused::PoolExhausted));
    assert!(reaches(bed.send(Side::Outside, ESP, remote, out.src, None), "192.168.0.5:0"));
    bed.wait(300);
    assert!(matches!(bed.send(Side::Inside, ESP, second, remote, None), Verdict::Translate(_)));
}

#[test]
fn an_announced_connection_comes_in_through_every_filter() {
    for filtering in
        [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent]
    {
        let filtering = PerProtocol::same(filtering);
        let mut bed = Bed::new(config(Pool { filtering, ..pool(&["203.0.113.8"]) }));
        let server = ep("198.51.100.1:20");
        let now = Instant::from_secs(bed.now);
        let outside =
            bed.nat.expect(now, protocol::TCP, ep("192.168.0.5:4000"), server.addr).expect("a free port");
        let data = bed.send(Side::Outside, protocol::TCP, server, outside, Some(SYN));
        assert!(reaches(data, "192.168.0.5:4000"), "{filtering:?}: {data:?}");
        let stranger = bed.send(Side::Outside, protocol::TCP, ep("198.51.100.9:20"), outside, Some(SYN));
        assert_eq!(
            matches!(stranger, Verdict::Translate(_)),
            filtering.tcp == Filtering::EndpointIndependent
        );
        bed.wait(8000);
        assert_eq!(bed.counts(), (0, 0, 0));
    }
}

#[test]
fn exempt_sources_and_strangers() {
    let mut config = config(pool(&["203.0.113.8"]));
    config.sources.insert(0, Source { from: prefix("192.168.9.0/24"), action: SourceAction::Exempt });
    let mut bed = Bed::new(config);
    let remote = ep("198.51.100.1:53");
    assert_eq!(bed.send(Side::Inside, protocol::UDP, ep("192.168.9.1:1"), remote, None), Verdict::Bypass);
    let stranger = bed.send(Side::Inside, protocol::UDP, ep("10.0.0.1:1"), remote, None);
    assert_eq!(stranger, Verdict::Refuse(Refused::NoPool), "fail closed: no inside address leaks");
    assert_eq!(bed.send(Side::Outside, protocol::UDP, remote, ep("192.0.2.1:1"), None), Verdict::Bypass);
}

#[test]
fn clearing_ends_what_matches_and_nothing_else() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    for host in 1..=4 {
        bed.udp_out(&format!("192.168.0.{host}:1"), "198.51.100.1:53");
    }
    let inside = ep("192.168.0.2:1");
    let now = Instant::from_secs(1001);
    let (ended, rest) = bed.nat.clear(now, Cursor::default(), 1, |s| s.inside == inside);
    assert_eq!(ended, 0, "the first page has one session, of another host");
    let (ended, rest) = bed.nat.clear(now, rest.expect("more"), 100, |s| s.inside == inside);
    assert_eq!((ended, rest), (1, None));
    assert_eq!(bed.counts(), (3, 3, 3));
    bed.wait(1000);
    assert_eq!(bed.counts(), (0, 0, 0));
}

#[test]
fn rfc6888_req6_no_translation_to_some_destinations() {
    let mut config = config(pool(&["203.0.113.8"]));
    let to = |from, to| Source { from: prefix(from), action: SourceAction::ExemptTo(prefix(to)) };
    let translated = config.sources[0];
    config.sources = vec![
        to("192.168.0.0/24", "198.51.100.0/25"),
        Source { from: prefix("192.168.0.6/32"), ..translated },
        to("192.168.0.0/16", "198.51.100.192/26"),
        translated,
        to("192.168.0.0/16", "0.0.0.0/0"),
    ];
    config.statics =
        vec![Static { outside: Ipv4Addr::new(203, 0, 113, 9), inside: Ipv4Addr::new(192, 168, 0, 7) }];
    let mut bed = Bed::new(config);
    // The first rule that holds for both decides; (inside, remote, exempt).
    for (inside, remote, exempt) in [
        ("192.168.0.5", "198.51.100.127", true),
        ("192.168.0.5", "198.51.100.128", false),
        ("192.168.0.5", "198.51.100.193", true),
        ("192.168.1.5", "198.51.100.127", false),
        ("192.168.1.5", "198.51.100.193", true),
        ("192.168.0.6", "198.51.100.127", true),
        ("192.168.0.6", "198.51.100.193", false),
        ("192.168.0.7", "198.51.100.127", true),
        ("192.168.0.7", "198.51.100.128", false),
    ] {
        let (from, to) = (ep(&format!("{inside}:4000")), ep(&format!("{remote}:53")));
        for (protocol, tcp) in [(protocol::UDP, None), (protocol::TCP, Some(SYN))] {
            let verdict = bed.send(Side::Inside, protocol, from, to, tcp);
            assert_eq!(verdict == Verdict::Bypass, exempt, "{protocol} {inside} {remote}: {verdict:?}");
        }
        assert_eq!(bed.nat.exempts(from.addr, to.addr), exempt, "{inside} {remote}");
    }
}

/// RFC 4787 REQ-11: the same at any load; nothing depends on what was there before.
#[test]
fn rfc4787_req11_behaviour_does_not_change_with_load() {
    let filtering = PerProtocol::same(Filtering::AddressDependent);
    let mut bed = Bed::new(config(Pool { filtering, ports: 1024..=3071, ..pool(&["203.0.113.8"]) }));
    let first = bed.udp_out("192.168.0.5:4000", "198.51.100.1:53");
    let mut refused = 0;
    for n in 0..3000u16 {
        let src = Endpoint { addr: ep("192.168.1.1:0").addr + u32::from(n % 50), port: 1000 + n };
        if bed.send(Side::Inside, protocol::UDP, src, ep("198.51.100.9:9"), None)
            == Verdict::Refuse(Refused::PoolExhausted)
        {
            refused += 1;
        }
        assert_eq!(bed.udp_out("192.168.0.5:4000", "198.51.100.1:53"), first);
        assert_eq!(bed.udp_in("198.51.100.2:53", first), Verdict::Deny(Denied::Filtered));
    }
    assert!(900 < refused, "the pool was exhausted on the way: {refused}");
}

/// No two live mappings share an outside endpoint, and what goes out comes back, whatever is made and ends in between.
#[test]
fn endpoints_are_never_shared_while_sessions_come_and_go() {
    let mut config = config(Pool { ports: 1024..=1279, ..pool(&["203.0.113.8", "203.0.113.9"]) });
    config.timers.port_quarantine = 0;
    let mut bed = Bed::new(config);
    let mut state = 12345u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for _ in 0..20_000 {
        let host = ep("192.168.0.0:0").addr + random(40);
        let src = Endpoint { addr: host, port: 2000 + u16::try_from(random(20)).expect("small") };
        let protocol = if random(2) == 0 { protocol::UDP } else { protocol::TCP };
        let tcp = (protocol == protocol::TCP).then_some(SYN);
        if let Verdict::Translate(r) = bed.send(Side::Inside, protocol, src, ep("198.51.100.1:53"), tcp) {
            let back = bed.send(Side::Outside, protocol, ep("198.51.100.1:53"), r.src, tcp);
            assert!(matches!(back, Verdict::Translate(b) if b.dst == src), "{back:?}");
        }
        if random(10) == 0 {
            bed.wait(u64::from(random(60)));
            let mut seen = HashSet::new();
            bed.nat.mappings_page(Cursor::default(), 10_000, |m| {
                assert!(seen.insert((m.protocol, m.outside)), "{} is shared", m.outside);
            });
        }
    }
    bed.wait(10_000);
    assert_eq!(bed.counts(), (0, 0, 0));
    let pools: Vec<_> = bed.nat.pools().map(|p| (p.free, p.size)).collect();
    assert!(pools.iter().all(|(free, size)| free.tcp == *size && free.udp == *size), "{pools:?}");
}

#[test]
fn rfc5508_req2_query_sessions_live_sixty_seconds() {
    let mut bed = Bed::new(config(pool(&["203.0.113.8"])));
    let sent = bed.send(Side::Inside, protocol::ICMP, ep("192.168.0.5:77"), ep("198.51.100.1:0"), None);
    assert!(matches!(sent, Verdict::Translate(_)));
    bed.wait(59);
    assert_eq!(bed.counts(), (1, 1, 1));
    bed.wait(1);
    assert_eq!(bed.counts(), (0, 0, 0));
}

#[test]
fn rfc6888_req3_pools_need_not_be_contiguous() {
    let addresses = ["203.0.113.8", "198.18.7.1", "203.0.113.200"];
    let mut bed = Bed::new(config(pool(&addresses)));
    let used: HashSet<String> = (1..=9)
        .map(|host| bed.udp_out(&format!("192.168.0.{host}:1"), "198.51.100.1:53").addr().to_string())
        .collect();
    assert_eq!(used, addresses.map(str::to_owned).into());
}
