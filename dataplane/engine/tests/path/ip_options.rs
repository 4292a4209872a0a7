//! IPv4 options in transit. RFC 791 §3.1, RFC 1812 §4.2.2.1-2, §4.2.2.6, §4.3.3.5, §5.2.4.1, §5.3.13, RFC 7126.

use std::time::Duration;

use millrace_engine::VerdictKind::{Drop, Reply, Tx};

use crate::rig::{
    CLIENT, Case, Datagram, LAN, Out, Router, THIN, WAN, addr, checksum, config, decode, memory, run, udp,
};

const WAN_ADDRESS: [u8; 4] = [198, 51, 100, 1];
const LAN_ADDRESS: [u8; 4] = [192, 0, 2, 1];
const OTHER: [u8; 4] = [9, 9, 9, 9];
/// 1:02:03.004 after midnight.
const TIME: u32 = 3_723_004;

/// The options as they leave; everything else of the packet must be as forwarding has it.
fn options_sent(options: &[u8], dst: &str) -> Vec<u8> {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.engine.set_time_of_day(router.now, Duration::from_millis(u64::from(TIME)));
    sent_by(&mut router, options, dst)
}

fn sent_by(router: &mut Router<'_>, options: &[u8], dst: &str) -> Vec<u8> {
    let datagram = Datagram { options: options.to_vec(), ..Datagram::to(dst) };
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    assert_eq!(router.page.verdicts(Tx), 1, "{options:?}: {:?}", router.counts());
    let (_, bytes) = router.bench.tx.remove(0);
    decode(&bytes);
    let end = 34 + options.len();
    let mut expected = Datagram { ttl: 63, options: bytes[34..end].to_vec(), ..datagram }.bytes();
    expected[10..12].copy_from_slice(&bytes[24..26]); // verified by `decode`
    assert_eq!(bytes[14..], expected);
    bytes[34..end].to_vec()
}

fn list(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// RFC 1812 §5.3.13.5, §4.2.2.2: the address of the interface the packet leaves by.
#[test]
fn record_route() {
    let route = |pointer, slots: &[[u8; 4]]| {
        let len = u8::try_from(3 + 4 * slots.len()).unwrap();
        list(&[&[7, len, pointer], &slots.concat()])
    };
    let none = [0; 4];
    for (name, before, after) in [
        ("the first", route(4, &[none, none]), route(8, &[WAN_ADDRESS, none])),
        ("the last", route(8, &[OTHER, none]), route(12, &[OTHER, WAN_ADDRESS])),
        ("full", route(12, &[OTHER, OTHER]), route(12, &[OTHER, OTHER])),
        ("far beyond full", route(255, &[OTHER]), route(255, &[OTHER])),
        ("no slots at all", route(4, &[]), route(4, &[])),
        ("behind no operation", list(&[&[1], &route(4, &[none])]), list(&[&[1], &route(8, &[WAN_ADDRESS])])),
    ] {
        assert_eq!(options_sent(&before, "10.1.2.3"), after, "{name}");
    }
    let by_thin = route(8, &[[203, 0, 113, 1]]);
    assert_eq!(options_sent(&route(4, &[none]), "10.9.0.1"), by_thin, "each interface its own");
}

/// RFC 1812 §4.2.2.2: the router-id where the interface has no address, or else the highest address there is.
#[test]
fn record_route_over_an_unnumbered_link() {
    let route = [7, 7, 4, 0, 0, 0, 0, 0];
    assert_eq!(options_sent(&route, "10.10.0.1"), [7, 7, 8, 203, 0, 113, 1, 0]);
    let memory = memory();
    let mut config = config();
    config.settings.router_id = Some(addr("10.255.0.1"));
    let mut router = Router::with_config(&memory, config);
    assert_eq!(sent_by(&mut router, &route, "10.10.0.1"), [7, 7, 8, 10, 255, 0, 1, 0]);
}

/// RFC 1812 §5.3.13.6.
#[test]
fn timestamps() {
    let stamp = |pointer, overflow_flags, body: &[&[u8]]| {
        let body = body.concat();
        list(&[&[68, u8::try_from(4 + body.len()).unwrap(), pointer, overflow_flags], &body])
    };
    let time = &TIME.to_be_bytes()[..];
    let none = &[0; 4][..];
    let (wan, lan, other) = (&WAN_ADDRESS[..], &LAN_ADDRESS[..], &OTHER[..]);
    for (name, before, after) in [
        ("time only", stamp(5, 0, &[none, none]), stamp(9, 0, &[time, none])),
        ("time only, the last", stamp(9, 0, &[other, none]), stamp(13, 0, &[other, time])),
        ("full: the overflow counts", stamp(9, 0x20, &[other]), stamp(9, 0x30, &[other])),
        ("with address", stamp(5, 1, &[none, none]), stamp(13, 1, &[wan, time])),
        ("with address, full", stamp(13, 0xe1, &[other, other]), stamp(13, 0xf1, &[other, other])),
        ("prespecified, the outgoing address", stamp(5, 3, &[wan, none]), stamp(13, 3, &[wan, time])),
        ("prespecified, any of ours", stamp(5, 3, &[lan, none]), stamp(13, 3, &[lan, time])),
        (
            "prespecified, another's turn",
            stamp(5, 3, &[other, none, wan, none]),
            stamp(5, 3, &[other, none, wan, none]),
        ),
        ("prespecified, all done", stamp(13, 0xf3, &[other, none]), stamp(13, 0xf3, &[other, none])),
        ("a flag nobody defined", stamp(5, 2, &[none]), stamp(5, 2, &[none])),
    ] {
        assert_eq!(options_sent(&before, "10.1.2.3"), after, "{name}");
    }
}

/// RFC 791 §3.1: a time that is not since midnight UT has its high bit set.
#[test]
fn timestamps_without_the_time_of_day_say_so() {
    let stamp = |router: &mut Router<'_>| {
        let options = sent_by(router, &[68, 8, 5, 0, 0, 0, 0, 0], "10.1.2.3");
        u32::from_be_bytes(*options.last_chunk().unwrap())
    };
    // (told at 1000 s: milliseconds since midnight, seconds later, expected)
    for (told, later, expected) in [
        (None, 0, 1 << 31 | 1000),
        (Some(0), 0, 0),
        (Some(86_399_999), 0, 86_399_999),
        (Some(86_399_000), 2, 1000), // midnight has passed since
        (Some(3000), 86_399, 2000),  // nearly a day later
        (Some(3000), 86_400, 1 << 31 | (1000 + 86_400)), // nobody has told for a day
    ] {
        let memory = memory();
        let mut router = Router::new(&memory);
        if let Some(ms) = told {
            router.engine.set_time_of_day(router.now, Duration::from_millis(ms));
        }
        router.now = router.now + Duration::from_secs(later);
        assert_eq!(stamp(&mut router), expected, "{told:?} ms and {later} s");
    }
}

/// §4.3.3.5: 12/0 with a pointer to the octet at fault, the header as it came.
#[test]
fn malformed_options_are_answered_with_a_pointer() {
    let fault = |name, options: &[u8], pointer: u32| Case {
        name,
        rx: vec![(LAN, Datagram { options: list(&[options]), ..Datagram::default() }.on(LAN))],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, CLIENT, 12, 0, pointer << 24, "192.0.2.1")],
        moved: &[("drop ip-bad-option", 1), ("icmp 12/0", 1)],
    };
    run(vec![
        fault("length 0", &[7, 0, 0, 0], 21),
        fault("length 1", &[1, 0x5e, 1, 0], 22),
        fault("beyond the header", &[1, 1, 7, 7, 4, 0, 0, 0], 23),
        fault("no length at all", &[1, 1, 1, 7], 24),
        fault("record route of 2 bytes", &[7, 2, 0, 0], 21),
        fault("record route, pointer 0", &[7, 7, 0, 0, 0, 0, 0], 22),
        fault("record route, pointer 3", &[7, 7, 3, 0, 0, 0, 0], 22),
        fault("record route, half a slot", &[7, 9, 8, 0, 0, 0, 0, 0, 0], 22),
        fault("record route, pointer between slots", &[7, 7, 5, 0, 0, 0, 0], 22),
        fault("record route twice", &[7, 7, 4, 0, 0, 0, 0, 7, 7, 4, 0, 0, 0, 0], 27),
        fault("timestamp of 3 bytes", &[68, 3, 5, 0], 21),
        fault("timestamp, pointer 4", &[68, 8, 4, 0, 0, 0, 0, 0], 22),
        fault("timestamp, half a slot", &[68, 8, 5, 1, 0, 0, 0, 0], 22),
        fault("timestamp, the overflow overflows", &[68, 8, 9, 0xf0, 0, 0, 0, 0], 23),
        fault("timestamp twice", &[68, 4, 5, 0, 68, 4, 5, 0], 24),
        fault("router alert of 3 bytes", &[148, 3, 0, 0], 21),
        fault("two source routes", &[131, 3, 4, 137, 3, 4, 0, 0], 23),
    ]);
}

/// Bad options do not change that the packet's other faults are found, nor that later fragments are not answered.
#[test]
fn a_later_fragment_with_a_malformed_option_is_dropped_silently() {
    run(vec![Case {
        name: "fragment",
        rx: vec![(LAN, Datagram { fragment: 9, options: vec![7, 0, 0, 0], ..Datagram::default() }.on(LAN))],
        verdict: Drop,
        tx: vec![],
        moved: &[("drop ip-bad-option", 1), ("icmp-forbidden", 1)],
    }]);
}

/// RFC 7126 §4.3-4.4: refused by default, silently.
#[test]
fn source_routes_are_refused_by_default() {
    let dropped = |name, options| Case {
        name,
        rx: vec![(LAN, Datagram { options, ..Datagram::default() }.on(LAN))],
        verdict: Drop,
        tx: vec![],
        moved: &[("drop source-routed", 1)],
    };
    run(vec![
        dropped("loose", vec![131, 7, 4, 9, 9, 9, 9, 0]),
        dropped("strict", vec![137, 7, 4, 9, 9, 9, 9, 0]),
        dropped("at its end", vec![131, 7, 8, 9, 9, 9, 9, 0]),
        dropped("behind others", vec![1, 7, 3, 4, 131, 3, 4, 0]),
    ]);
}

/// RFC 1812 §5.3.13.4, §5.2.4.1: where permitted, a loose route goes on, a strict one only to a neighbour; else 3/5.
#[test]
fn source_routes_where_permitted() {
    let (loose, strict) = (vec![131, 7, 4, 9, 9, 9, 9, 0], vec![137, 7, 4, 9, 9, 9, 9, 0]);
    let passed = |name, options: &Vec<u8>, dst, port, neighbor| Case {
        name,
        rx: vec![(LAN, Datagram { options: options.clone(), ..Datagram::to(dst) }.on(LAN))],
        verdict: Tx,
        tx: vec![Out::Forwarded(port, neighbor)],
        moved: &[],
    };
    let cases = [
        passed("loose, far", &loose, "10.1.2.3", WAN, "198.51.100.2"),
        passed("loose, near", &loose, "198.51.100.2", WAN, "198.51.100.2"),
        passed("strict, near", &strict, "198.51.100.2", WAN, "198.51.100.2"),
        Case {
            name: "strict, far",
            rx: vec![(LAN, Datagram { options: strict, ..Datagram::to("10.1.2.3") }.on(LAN))],
            verdict: Reply,
            tx: vec![Out::Icmp(LAN, CLIENT, 3, 5, 0, "192.0.2.1")],
            moved: &[("drop source-route-failed", 1), ("icmp 3/5", 1)],
        },
    ];
    for case in cases {
        let memory = memory();
        let mut config = config();
        config.settings.source_routes = true;
        let mut router = Router::with_config(&memory, config);
        router.receive([(LAN, &case.rx[0].1[..])]);
        crate::rig::check(&case, &router);
    }
}

/// What is refused is quoted as it came: no address recorded, no TTL taken (§4.3.2.3).
#[test]
fn options_are_not_touched_before_the_packet_is_forwarded() {
    let route = vec![7, 7, 4, 0, 0, 0, 0, 0];
    let refused = |name, datagram: Datagram, kind, code, rest, moved| Case {
        name,
        rx: vec![(LAN, Datagram { options: route.clone(), ..datagram }.on(LAN))],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, CLIENT, kind, code, rest, "192.0.2.1")],
        moved,
    };
    let big = Datagram { fragment: crate::rig::DF, payload: udp(1, 2, 1000), ..Datagram::to("10.9.0.1") };
    run(vec![
        refused(
            "TTL",
            Datagram { ttl: 1, ..Datagram::default() },
            11,
            0,
            0,
            &[("drop ttl-exceeded", 1), ("icmp 11/0", 1)],
        ),
        refused("too big", big, 3, 4, 576, &[("drop too-big", 1), ("icmp 3/4", 1)]),
        refused("no route", Datagram::to("8.8.8.8"), 3, 0, 0, &[("drop no-route", 1), ("icmp 3/0", 1)]),
    ]);
}

/// The route is recorded before the packet is cut, so the first fragment carries it (record route is not copied).
#[test]
fn the_first_fragment_carries_the_recorded_route() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let datagram = Datagram {
        options: vec![7, 7, 4, 0, 0, 0, 0, 0],
        payload: udp(1, 2, 1000),
        ..Datagram::to("10.9.0.1")
    };
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    let frames: Vec<_> = router.bench.tx.iter().map(|(port, bytes)| (*port, bytes)).collect();
    assert_eq!(frames.len(), 2);
    assert_eq!((frames[0].0, &frames[0].1[34..42]), (THIN, &[7, 7, 8, 203, 0, 113, 1, 0][..]));
    assert_eq!(frames[1].1[14], 0x45);
    for (_, bytes) in frames {
        assert_eq!(checksum(&bytes[14..14 + usize::from(bytes[14] & 15) * 4]), 0);
    }
}
