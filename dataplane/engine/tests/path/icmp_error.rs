//! ICMP errors: about what, from whom, how much of the original, how often. RFC 1812 §4.3.2, §4.3.3.

use std::time::Duration;

use millrace_engine::VerdictKind::{Drop, Reply};
use millrace_engine::{EngineConfig, IcmpMessage, IcmpSource};
use millrace_fib::Resolution;
use millrace_net::Rate;

use crate::rig::{
    BARE, Buffer, CLIENT, Case, DEAD, Datagram, LAN, MF, Out, Router, THIN, WAN, WAN2, addr, check, config,
    decode, mac_of, memory, run, run_on, udp,
};

fn answered(name: &'static str, datagram: Datagram) -> Case {
    Case {
        name,
        rx: vec![(LAN, datagram.on(LAN))],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, CLIENT, 3, 0, 0, "192.0.2.1")],
        moved: &[("drop no-route", 1), ("icmp 3/0", 1)],
    }
}

fn forbidden(name: &'static str, datagram: Datagram) -> Case {
    Case {
        name,
        rx: vec![(LAN, datagram.on(LAN))],
        verdict: Drop,
        tx: vec![],
        moved: &[("drop no-route", 1), ("icmp-forbidden", 1)],
    }
}

fn icmp(kind: u8) -> Datagram {
    Datagram { protocol: 1, payload: vec![kind, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3], ..Datagram::to("8.8.8.8") }
}

/// §4.3.2.7.
#[test]
fn no_errors_about_errors_fragments_or_what_has_no_single_sender() {
    let mut cases = Vec::new();
    for kind in [3, 4, 5, 11, 12, 1, 2, 6, 7, 19, 37, 40, 41, 44, 253, 255] {
        cases.push(forbidden("an ICMP error, or a type nobody knows", icmp(kind)));
    }
    for kind in [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43] {
        cases.push(answered("an ICMP query or answer", icmp(kind)));
    }
    cases.push(forbidden("an ICMP message without a type", Datagram { payload: vec![], ..icmp(8) }));
    cases.push(forbidden("a later fragment", Datagram { fragment: 1, ..Datagram::to("8.8.8.8") }));
    cases.push(forbidden(
        "a later fragment, not the last",
        Datagram { fragment: MF | 1, ..Datagram::to("8.8.8.8") },
    ));
    cases.push(answered("a first fragment", Datagram { fragment: MF, ..Datagram::to("8.8.8.8") }));
    cases.push(forbidden(
        "from a subnet's broadcast",
        Datagram { src: addr("192.0.2.255"), ..Datagram::to("8.8.8.8") },
    ));
    cases.push(forbidden(
        "from a subnet's old broadcast",
        Datagram { src: addr("192.0.2.0"), ..Datagram::to("8.8.8.8") },
    ));
    run(cases);
}

/// The other cases of §4.3.2.7 never get as far: no counter of ICMP moves, only the drop.
#[test]
fn no_errors_about_what_reception_refuses() {
    let mut link_broadcast = Datagram { ttl: 1, ..Datagram::default() }.on(LAN);
    link_broadcast[..6].fill(0xff);
    let mut bad_checksum = Datagram { ttl: 1, ..Datagram::default() }.on(LAN);
    bad_checksum[24] ^= 1;
    let dropped =
        |name, frame, moved| Case { name, rx: vec![(LAN, frame)], verdict: Drop, tx: vec![], moved };
    let to = |dst| Datagram { ttl: 1, ..Datagram::to(dst) }.on(LAN);
    let from = |src| Datagram { ttl: 1, src: addr(src), ..Datagram::default() }.on(LAN);
    run(vec![
        dropped("fails validation", bad_checksum, &[("drop ip-bad-checksum", 1)]),
        dropped("to a multicast group", to("224.0.0.5"), &[("drop multicast", 1)]),
        dropped("to the broadcast", to("255.255.255.255"), &[("drop broadcast", 1)]),
        dropped("to a subnet's broadcast", to("198.51.100.255"), &[("drop broadcast", 1)]),
        dropped("as a link-layer broadcast", link_broadcast, &[("drop eth-group", 1)]),
        dropped("from network zero", from("0.0.0.0"), &[("drop martian-source", 1)]),
        dropped("from loopback", from("127.0.0.1"), &[("drop martian-source", 1)]),
        dropped("from a group", from("239.1.2.3"), &[("drop martian-source", 1)]),
        dropped("from class E", from("250.1.2.3"), &[("drop martian-source", 1)]),
        dropped("from the broadcast", from("255.255.255.255"), &[("drop martian-source", 1)]),
    ]);
}

/// §4.3.2.3: as much as fits in 576 bytes; padding of the frame is no part of the original.
#[test]
fn the_original_is_quoted_up_to_576_bytes() {
    let sized =
        |name, data_len| answered(name, Datagram { payload: udp(1, 2, data_len), ..Datagram::to("8.8.8.8") });
    let mut padded =
        answered("with Ethernet padding", Datagram { payload: vec![9], ..Datagram::to("8.8.8.8") });
    padded.rx[0].1.resize(60, 0xee);
    run(vec![
        sized("28 bytes", 0),
        sized("547 bytes", 519),
        sized("548 bytes, all of it", 520),
        sized("549 bytes, all but one", 521),
        sized("1500 bytes", 1472),
        answered(
            "options in the quote",
            Datagram { options: vec![1; 40], payload: udp(1, 2, 900), ..Datagram::to("8.8.8.8") },
        ),
        padded,
    ]);
}

/// §4.3.2.5: precedence 6 and the TOS of the original; ECN never. (The rig composes the same.)
#[test]
fn errors_have_internetwork_control_precedence_and_the_originals_tos() {
    for (tos, expected) in
        [(0x00, 0xc0), (0x10, 0xd0), (0x1c, 0xdc), (0xff, 0xdc), (0xe3, 0xc0), (0xb8, 0xd8)]
    {
        let memory = memory();
        let mut router = Router::new(&memory);
        router.receive([(LAN, &Datagram { tos, ..Datagram::to("8.8.8.8") }.on(LAN)[..])]);
        assert_eq!(router.bench.tx[0].1[15], expected, "TOS {tos:#x}");
    }
}

/// §4.3.2.4: an address of the interface it leaves by; the one of the receiver's subnet where there are several.
#[test]
fn errors_come_from_the_interface_they_leave_by() {
    let case = |name, src, in_port, out| Case {
        name,
        rx: vec![(in_port, Datagram { src: addr(src), ..Datagram::to("8.8.8.8") }.on(in_port))],
        verdict: Reply,
        tx: vec![out],
        moved: &[("drop no-route", 1), ("icmp 3/0", 1)],
    };
    let cases = || {
        vec![
            case("symmetric", CLIENT, LAN, Out::Icmp(LAN, CLIENT, 3, 0, 0, "192.0.2.1")),
            case("by a router", "172.16.5.5", LAN, Out::Icmp(LAN, "192.0.2.20", 3, 0, 0, "192.0.2.1")),
            case("asymmetric", "172.16.5.5", WAN, Out::Icmp(LAN, "192.0.2.20", 3, 0, 0, "192.0.2.1")),
            case(
                "asymmetric the other way",
                "10.1.0.9",
                LAN,
                Out::Icmp(WAN, "198.51.100.2", 3, 0, 0, "198.51.100.1"),
            ),
        ]
    };
    run(cases());
    // With a second subnet on the link, listed first.
    run_on(cases(), |router| {
        for (port, other) in [(LAN, "100.64.1.1"), (WAN, "100.64.2.1")] {
            router.set_port(port, |port| port.addresses.insert(0, (addr(other), 24)));
        }
    });
}

#[test]
fn errors_can_come_from_the_interface_the_packet_arrived_on() {
    let case = Case {
        name: "asymmetric",
        rx: vec![(WAN, Datagram { src: addr("172.16.5.5"), ..Datagram::to("8.8.8.8") }.on(WAN))],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, "192.0.2.20", 3, 0, 0, "198.51.100.1")],
        moved: &[("drop no-route", 1), ("icmp 3/0", 1)],
    };
    let memory = memory();
    let mut config = config();
    config.settings.icmp_source = IcmpSource::Incoming;
    let mut router = Router::with_config(&memory, config);
    router.receive([(WAN, &case.rx[0].1[..])]);
    check(&case, &router);
}

/// §4.3.2.4: the router-id where the interface has no address, or else the highest address there is.
#[test]
fn errors_from_an_unnumbered_interface() {
    let case = |name, source| Case {
        name,
        rx: vec![(BARE, Datagram { src: addr("10.10.0.9"), ..Datagram::to("8.8.8.8") }.on(BARE))],
        verdict: Reply,
        tx: vec![Out::Icmp(BARE, "10.30.0.2", 3, 0, 0, source)],
        moved: &[("drop no-route", 1), ("icmp 3/0", 1)],
    };
    run(vec![case("no router-id", "203.0.113.1")]);

    let named = case("router-id", "10.255.0.1");
    let memory = memory();
    let mut config = config();
    config.settings.router_id = Some(addr("10.255.0.1"));
    let mut router = Router::with_config(&memory, config);
    router.receive([(BARE, &named.rx[0].1[..])]);
    check(&named, &router);

    let nameless = Case {
        name: "no address at all",
        verdict: Drop,
        tx: vec![],
        moved: &[("drop no-route", 1), ("icmp-unroutable", 1)],
        ..case("", "0.0.0.0")
    };
    run_on(vec![nameless], |router| {
        for port in [LAN, WAN, THIN, DEAD, WAN2] {
            router.set_port(port, |port| port.addresses.clear());
        }
    });
}

/// §4.2.2.9, §4.3.2.2: a TTL of the router's own choosing, whatever the original's.
#[test]
fn the_ttl_of_errors_is_configurable() {
    for (ttl, original) in [(64, 200), (255, 64), (17, 2)] {
        let memory = memory();
        let mut config = config();
        config.ttl = ttl;
        let mut router = Router::with_config(&memory, config);
        router.receive([(LAN, &Datagram { ttl: original, ..Datagram::to("8.8.8.8") }.on(LAN)[..])]);
        assert_eq!(router.bench.tx[0].1[22], ttl);
    }
}

/// §4.3.3.3, RFC 6633 §3: no message the router can send is of type 4, however full its queues are.
#[test]
fn there_is_no_source_quench() {
    assert!(IcmpMessage::ALL.iter().all(|message| !message.name().starts_with("4/")));
    run_on(
        vec![Case {
            name: "a full queue",
            rx: vec![(LAN, Datagram::default().on(LAN))],
            verdict: Drop,
            tx: vec![],
            moved: &[("drop tx-full", 1)],
        }],
        |router| router.bench.tx_room = 0,
    );
}

/// An error goes where the sender's address is routed, or nowhere.
#[test]
fn errors_that_cannot_be_routed_are_counted() {
    let unroutable = |name, src| Case {
        name,
        rx: vec![(LAN, Datagram { src: addr(src), ..Datagram::to("8.8.8.8") }.on(LAN))],
        verdict: Drop,
        tx: vec![],
        moved: &[("drop no-route", 1), ("icmp-unroutable", 1)],
    };
    run(vec![
        unroutable("no route back", "9.9.9.9"),
        unroutable("blackhole back", "10.6.0.1"),
        unroutable("a source that is the router's own", "198.51.100.1"),
    ]);
    run(vec![
        Case {
            name: "the neighbour back has failed",
            rx: vec![(LAN, Datagram { src: addr("10.3.0.1"), ..Datagram::to("8.8.8.8") }.on(LAN))],
            verdict: Reply,
            tx: vec![],
            moved: &[("drop no-route", 1), ("icmp 3/0", 1), ("own-lost", 1)],
        },
        Case {
            name: "the interface back is down",
            rx: vec![(LAN, Datagram { src: addr("10.40.0.9"), ..Datagram::to("8.8.8.8") }.on(LAN))],
            verdict: Drop,
            tx: vec![],
            moved: &[("drop no-route", 1), ("icmp-unroutable", 1)],
        },
        Case {
            name: "the neighbour back is not known",
            rx: vec![(LAN, Datagram { src: addr("192.0.2.99"), ..Datagram::to("8.8.8.8") }.on(LAN))],
            verdict: Reply,
            tx: vec![],
            moved: &[("drop no-route", 1), ("icmp 3/0", 1), ("resolve", 1), ("held", 1)],
        },
    ]);
}

/// An error waits for its neighbour like any packet, and leaves as it was made.
#[test]
fn an_error_waits_for_its_neighbour() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let datagram = Datagram { src: addr("192.0.2.99"), ..Datagram::to("8.8.8.8") };
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    assert_eq!(router.bench.asked, [(LAN, addr("192.0.2.99"))]);
    router.resolve(LAN, "192.0.2.99", Resolution::Complete(mac_of("192.0.2.99")));
    let (port, bytes) = &router.bench.tx[0];
    decode(bytes);
    assert_eq!((*port, &bytes[..6], bytes[22]), (LAN, &mac_of("192.0.2.99").0[..], 64), "TTL as originated");

    // And is lost, without an error about it, where the neighbour never answers.
    let datagram = Datagram { src: addr("192.0.2.98"), ..datagram };
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    router.timeout(router.now + Duration::from_secs(4));
    assert_eq!(router.counts().get("own-lost"), Some(&1));
    assert_eq!((router.bench.tx.len(), router.engine.held()), (1, 0));
}

/// §4.3.2.8.
#[test]
fn errors_are_limited_by_kind_and_by_destination() {
    let limited = |per_message, per_destination| {
        let mut config: EngineConfig = config();
        config.icmp_per_message = per_message;
        config.icmp_per_destination = per_destination;
        config
    };
    let slow = Rate { per_second: 10, burst: 5 };
    let fast = Rate { per_second: 1000, burst: 1000 };
    for (config, expected) in
        [(limited(slow, fast), (5, 5)), (limited(fast, slow), (5, 10)), (limited(fast, fast), (8, 16))]
    {
        let memory = memory();
        let mut router = Router::with_config(&memory, config);
        let flood = |router: &mut Router<'_>, src: &str| {
            let frame = Datagram { src: addr(src), ..Datagram::to("8.8.8.8") }.on(LAN);
            router.receive([&frame; 8].map(|frame| (LAN, &frame[..])));
        };
        flood(&mut router, CLIENT);
        assert_eq!(router.bench.tx.len(), expected.0);
        flood(&mut router, "172.16.0.9");
        assert_eq!(router.bench.tx.len(), expected.1);
        // Another kind has its own bucket; tokens come back with time.
        let limited = router.counts().get("icmp-rate-limited").copied().unwrap_or(0);
        assert_eq!(limited, 16 - expected.1 as u64);
        router.now = router.now + Duration::from_secs(1);
        flood(&mut router, CLIENT);
        assert_eq!(router.bench.tx.len(), expected.1 + expected.0);
    }
}

/// A frame with neither headroom nor tailroom for an error: dropped, counted, not leaked.
#[test]
fn a_frame_without_room_for_the_error() {
    let bytes = Datagram::to("8.8.8.8").on(LAN);
    for (headroom, tailroom, fits) in
        [(0, 0, false), (0, 13, false), (0, 28, true), (28, 0, true), (14, 28, true)]
    {
        let memory = memory();
        let mut router = Router::new(&memory);
        let frame = Buffer::with_headroom(&bytes, headroom, headroom + bytes.len() + tailroom);
        router.frames += 1;
        router.receive_frames([(LAN, frame)].into_iter().collect());
        assert_eq!(router.bench.tx.len(), usize::from(fits), "{headroom} before, {tailroom} behind");
        if fits {
            decode(&router.bench.tx[0].1);
        } else {
            assert_eq!(router.counts().get("own-lost"), Some(&1));
        }
    }
}
