//! Fragments through NAT, in whatever order they come, and SYNs nobody has asked for. RFC 4787 REQ-14, RFC 5382 REQ-4.

use std::time::Duration;

use millrace_engine::{Event, VerdictKind};
use millrace_nat::{Filtering, PerProtocol};
use millrace_net::PortId;
use proptest::prelude::*;

use crate::nat::{ICMP, OWN, POOL, REMOTE, TCP, UDP, config, datagram, dropped, install, pass, seen};
use crate::rig::{CLIENT, Datagram, LAN, MF, Router, WAN, addr, checksum, decode, memory};

/// A datagram of `len` bytes of data cut into pieces of 200, its checksum right when put together.
fn cut(protocol: u8, src: (&str, u16), dst: (&str, u16), len: u8, ident: u16) -> Vec<Datagram> {
    let mut whole = datagram(protocol, src, dst);
    let data: Vec<u8> = (0..u16::from(len) * 8).map(|i| u8::try_from(i % 253).unwrap()).collect();
    whole.payload.extend(&data);
    if protocol == UDP {
        let total = u16::try_from(whole.payload.len()).unwrap();
        whole.payload[4..6].copy_from_slice(&total.to_be_bytes());
    }
    let at = match protocol {
        UDP => 6,
        TCP => 16,
        _ => 2,
    };
    whole.payload[at..at + 2].fill(0);
    let sum = transport_checksum(&whole);
    whole.payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    let pieces: Vec<&[u8]> = whole.payload.chunks(200).collect();
    let last = pieces.len() - 1;
    let of = |(i, piece): (usize, &&[u8])| Datagram {
        ident,
        fragment: u16::try_from(i * 25).unwrap() | if i == last { 0 } else { MF },
        payload: piece.to_vec(),
        ..whole.clone()
    };
    pieces.iter().enumerate().map(of).collect()
}

fn transport_checksum(datagram: &Datagram) -> u16 {
    let mut covered = Vec::new();
    if datagram.protocol != ICMP {
        covered.extend(datagram.src.octets());
        covered.extend(datagram.dst.octets());
        covered.extend([0, datagram.protocol]);
        covered.extend(u16::try_from(datagram.payload.len()).unwrap().to_be_bytes());
    }
    covered.extend(&datagram.payload);
    checksum(&covered)
}

/// Puts together what has left; its transport checksum must be right.
fn reassembled(router: &Router<'_>) -> Option<Datagram> {
    let mut whole = Vec::new();
    let mut end = None;
    let mut addresses = None;
    for (_, frame) in &router.bench.tx {
        decode(frame);
        let ip = &frame[14..];
        let word = u16::from_be_bytes([ip[6], ip[7]]);
        let at = usize::from(word & 0x1fff) * 8;
        let payload = &ip[20..];
        if whole.len() < at + payload.len() {
            whole.resize(at + payload.len(), None);
        }
        payload.iter().zip(&mut whole[at..]).for_each(|(&byte, place)| *place = Some(byte));
        if word & MF == 0 {
            end = Some(at + payload.len());
        }
        let of = |at: usize| <[u8; 4]>::try_from(&ip[at..at + 4]).unwrap();
        let these = (of(12), of(16), ip[9]);
        assert_eq!(*addresses.get_or_insert(these), these, "all go one way");
    }
    let payload: Vec<u8> = whole.into_iter().collect::<Option<_>>()?;
    let (src, dst, protocol) = addresses?;
    if end != Some(payload.len()) {
        return None;
    }
    let datagram = Datagram { src: src.into(), dst: dst.into(), protocol, payload, ..Datagram::default() };
    assert_eq!(transport_checksum(&datagram), 0, "checksum of what is put together");
    Some(datagram)
}

fn send(router: &mut Router<'_>, port: PortId, fragments: &[Datagram]) {
    router.add_frames(fragments.len());
    for fragment in fragments {
        router.receive([(port, &fragment.on(port)[..])]);
    }
}

#[test]
fn fragments_in_every_order_go_where_the_first_one_goes() {
    let orders: [&[usize]; 4] = [&[0, 1, 2, 3], &[3, 2, 1, 0], &[1, 0, 3, 2], &[2, 3, 1, 0]];
    for protocol in [UDP, TCP, ICMP] {
        for (i, order) in orders.into_iter().enumerate() {
            let memory = memory();
            let mut router = Router::new(&memory);
            install(&mut router, config(POOL));
            let ident = u16::try_from(i).unwrap();
            let out = cut(protocol, (CLIENT, 4001), (REMOTE, 53), 90, ident);
            let shuffled: Vec<Datagram> = order.iter().map(|&at| out[at].clone()).collect();
            send(&mut router, LAN, &shuffled);
            let sent = reassembled(&router).expect("all fragments left");
            assert_eq!((sent.src, sent.dst), (addr(POOL), addr(REMOTE)));
            let id_at = if protocol == ICMP { 4 } else { 0 };
            let port = u16::from_be_bytes([sent.payload[id_at], sent.payload[id_at + 1]]);

            // TCP answers within the session; its state does not matter here.
            let src = (REMOTE, if protocol == ICMP { 0 } else { 53 });
            let back = cut(protocol, src, (POOL, port), 90, ident);
            let shuffled: Vec<Datagram> = order.iter().map(|&at| back[at].clone()).collect();
            router.bench.tx.clear();
            send(&mut router, WAN, &shuffled);
            let home = reassembled(&router).expect("all fragments came home");
            assert_eq!((home.src, home.dst), (addr(REMOTE), addr(CLIENT)));
            assert_eq!(router.engine.held(), 0);
            assert_eq!(dropped(&router), []);
        }
    }
}

#[test]
fn fragments_of_one_burst_in_every_order() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    let out = cut(UDP, (CLIENT, 4001), (REMOTE, 53), 90, 7);
    let frames: Vec<Vec<u8>> = [3, 0, 2, 1].iter().map(|&at: &usize| out[at].on(LAN)).collect();
    router.receive(frames.iter().map(|bytes| (LAN, &bytes[..])));
    assert!(reassembled(&router).is_some());
}

#[test]
fn later_fragments_without_a_first_one_are_given_up() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    let out = cut(UDP, (CLIENT, 4001), (REMOTE, 53), 90, 7);
    send(&mut router, LAN, &out[1..]);
    assert_eq!((router.engine.held(), router.bench.tx.len()), (3, 0));
    assert_eq!(router.page.events(Event::NatWaiting), 3);
    let deadline = router.engine.poll_timeout().expect("they are given up");
    assert_eq!(deadline, router.now + Duration::from_secs(2));
    router.timeout(deadline);
    assert_eq!(router.engine.held(), 0);
    assert_eq!(dropped(&router), [("drop nat-fragment".to_owned(), 3)]);
}

#[test]
fn fragments_of_what_is_refused_or_the_hosts_follow_it() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.bench.kernel_takes = true;
    install(&mut router, config(OWN));
    let own = cut(UDP, (REMOTE, 53), (OWN, 5000), 60, 1);
    send(&mut router, WAN, &[own[1].clone(), own[0].clone(), own[2].clone()]);
    assert_eq!(router.bench.kernel.len(), 3);
    assert_eq!(router.bench.tx.len(), 0);
    let memory = crate::rig::memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    send(&mut router, WAN, &cut(UDP, (REMOTE, 53), (POOL, 5000), 60, 1));
    assert_eq!(router.page.verdicts(VerdictKind::Drop), 3, "at once");
}

/// RFC 4787 REQ-14 a: what attackers send in pieces costs a bounded number of frames, for a bounded time, and others'
/// fragments still pass.
#[test]
fn a_flood_of_fragments_is_bounded_and_leaves_nothing() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    for ident in 0..5000u16 {
        let piece = Datagram { fragment: 25, ident, ..datagram(UDP, (REMOTE, 9), (POOL, 9)) };
        router.receive([(WAN, &piece.on(WAN)[..])]);
        assert!(router.engine.held() <= 256);
    }
    let out = cut(UDP, (CLIENT, 4001), (REMOTE, 53), 90, 7);
    router.bench.tx.clear();
    send(&mut router, LAN, &out);
    assert!(reassembled(&router).is_some(), "in order, they pass");
    router.timeout(router.now + Duration::from_secs(3));
    assert_eq!(router.engine.held(), 0);
    let sent = pass(&mut router, LAN, &datagram(UDP, (CLIENT, 4000), (REMOTE, 53))).expect("leaves");
    assert_eq!(sent.src.0, addr(POOL));
}

fn filtered(router: &mut Router<'_>) {
    let mut config = config(POOL);
    config.pools[0].filtering = PerProtocol::same(Filtering::AddressAndPortDependent);
    install(router, config);
}

/// RFC 5382 REQ-4: silent for six seconds, and for ever if the host inside opens the same connection meanwhile.
#[test]
fn an_unsolicited_syn_is_not_answered_for_six_seconds() {
    for opened in [false, true] {
        let memory = memory();
        let mut router = Router::new(&memory);
        filtered(&mut router);
        // Another connection of the host gives it a mapping.
        let sent = pass(&mut router, LAN, &datagram(TCP, (CLIENT, 4000), ("10.1.9.9", 80))).expect("leaves");
        let syn = datagram(TCP, (REMOTE, 80), (POOL, sent.src.1));
        assert_eq!(pass(&mut router, WAN, &syn), None);
        assert_eq!(router.engine.held(), 1);
        if opened {
            let out = datagram(TCP, (CLIENT, 4000), (REMOTE, 80));
            assert_eq!(pass(&mut router, LAN, &out).expect("leaves").src.1, sent.src.1);
        }
        let due = router.now + Duration::from_secs(6);
        router.bench.tx.clear();
        router.timeout(router.now + Duration::from_millis(5999));
        assert_eq!((router.engine.held(), router.bench.tx.len()), (1, 0));
        router.timeout(due);
        assert_eq!(router.engine.held(), 0);
        if opened {
            assert_eq!(router.bench.tx.len(), 0);
            assert_eq!(dropped(&router), [("drop nat-filtered".to_owned(), 1)]);
        } else {
            let (port, bytes) = &router.bench.tx[0];
            let told = seen(*port, bytes);
            assert_eq!((told.port, told.dst.0, &told.data[..2]), (WAN, addr(REMOTE), &[3, 3][..]));
            assert_eq!(told.data[8..], syn.bytes(), "as it came");
            assert_eq!(dropped(&router), [("drop nat-syn-unanswered".to_owned(), 1)]);
        }
    }
}

#[test]
fn a_flood_of_syns_is_bounded_and_leaves_nothing() {
    let memory = memory();
    let mut router = Router::new(&memory);
    install(&mut router, config(POOL));
    for port in 1..3000 {
        router.receive([(WAN, &datagram(TCP, (REMOTE, port), (POOL, 40_000 + port)).on(WAN)[..])]);
        assert!(router.engine.held() <= 64);
    }
    router.timeout(router.now + Duration::from_secs(7));
    assert_eq!(router.engine.held(), 0);
    assert_eq!(router.engine.nat().unwrap().totals().sessions_created, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever arrives on either side: every frame is accounted for, what leaves is well formed, no inside address leaves
    /// by the outside, and after the timers nothing is left.
    #[test]
    fn random_traffic_leaves_nothing_behind(
        packets in prop::collection::vec(
            (any::<bool>(), prop::sample::select(vec![1u8, 6, 17, 47]), 0u16..6, any::<u16>(),
                prop::sample::select(vec![0u16, 0, 0, MF, 25, 25 | MF]), prop::collection::vec(any::<u8>(), 0..80)),
            1..120,
        ),
    ) {
        let memory = memory();
        let mut router = Router::new(&memory);
        install(&mut router, config(POOL));
        router.add_frames(200);
        for (inside, protocol, port, ident, fragment, payload) in packets {
            let mut built = if inside {
                datagram(protocol, (CLIENT, 4000 + port), (REMOTE, 21 + port))
            } else {
                datagram(protocol, (REMOTE, 21 + port), (POOL, 1024u16.saturating_add(ident)))
            };
            (built.ident, built.fragment) = (ident % 4, fragment);
            if payload.len() % 3 == 0 {
                built.payload = payload;
            }
            let in_port = if inside { LAN } else { WAN };
            router.receive([(in_port, &built.on(in_port)[..])]);
            router.timeout(router.now + Duration::from_millis(200));
        }
        for (port, frame) in &router.bench.tx {
            decode(frame);
            prop_assert!(*port != WAN || frame[26..30] != addr(CLIENT).octets(), "leaked: {:02x?}", frame);
        }
        for _ in 0..20_000 {
            let Some(deadline) = router.engine.poll_timeout() else { break };
            router.timeout(deadline.max(router.now));
        }
        let totals = router.engine.nat().unwrap().totals();
        prop_assert_eq!((totals.sessions, totals.mappings, totals.subscribers), (0, 0, 0));
        prop_assert_eq!(router.engine.held(), 0);
        let pool = router.engine.nat().unwrap().pools().next().unwrap();
        prop_assert_eq!((pool.free.tcp, pool.free.udp, pool.free.icmp), (pool.size, pool.size, pool.size));
    }
}
