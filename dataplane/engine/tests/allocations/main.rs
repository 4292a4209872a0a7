//! The packet path allocates nothing: a counting allocator over mixed traffic expects zero.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../path/rig.rs"]
#[expect(dead_code, reason = "shared with the tables of tests/path")]
mod rig;

use std::net::Ipv4Addr;
use std::time::Duration;

use arrayvec::ArrayVec;
use millrace_engine::{BURST, Event, IcmpMessage, NatSide, Pool, Shell, Urpf, VerdictKind};
use millrace_fib::Resolution;
use millrace_net::PortId;

use rig::{Buffer, DF, Datagram, LAN, MF, Router, WAN, addr, config, mac_of, memory, udp};

/// A shell that recycles and keeps no record.
struct Recycler {
    free: Vec<Buffer>,
    transmitted: u64,
}

impl Pool for Recycler {
    type Frame = Buffer;

    fn take(&mut self) -> Option<Buffer> {
        let mut frame = self.free.pop()?;
        frame.refill(&[]);
        Some(frame)
    }

    fn put(&mut self, frame: Buffer) {
        assert!(self.free.len() < self.free.capacity());
        self.free.push(frame);
    }
}

impl Shell for Recycler {
    fn transmit(&mut self, _: PortId, frame: Buffer) -> Result<(), Buffer> {
        self.transmitted += 1;
        self.put(frame);
        Ok(())
    }

    fn resolve(&mut self, _: PortId, _: Ipv4Addr) {}
}

/// One of each: forwarded, in fragments, refused with every kind of ICMP error, held, malformed.
fn traffic() -> Vec<(PortId, Vec<u8>)> {
    let big = |fragment| Datagram { fragment, payload: udp(1, 2, 1400), ..Datagram::to("10.9.0.1") };
    let mut partial = Datagram { protocol: 6, payload: vec![0; 40], ..Datagram::default() };
    let pseudo = [&partial.src.octets()[..], &partial.dst.octets(), &[0, 6, 0, 40]].concat();
    partial.payload[16..18].copy_from_slice(&(!rig::checksum(&pseudo)).to_be_bytes());
    let mut broken = Datagram::default().on(LAN);
    broken[24] ^= 1;
    let mut datagrams = vec![
        Datagram::default(),
        Datagram::to("198.51.100.2"),
        Datagram::to("10.5.0.1"),
        Datagram::to("10.5.0.2"),
        Datagram { fragment: MF, ..Datagram::to("10.5.0.3") },
        Datagram { options: vec![148, 4, 0, 0], ..Datagram::default() },
        Datagram { options: vec![7, 200, 0, 0], ..Datagram::default() },
        partial,
        big(0),
        big(MF),
        big(DF),
        Datagram { ttl: 1, ..Datagram::default() },
        Datagram { src: addr("192.0.2.99"), ..Datagram::to("8.8.8.8") },
        Datagram::to("10.2.0.1"),
        Datagram { options: vec![137, 3, 4, 0], ..Datagram::default() },
        Datagram { options: vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], ..Datagram::default() },
        Datagram { src: addr("192.0.2.20"), ..Datagram::to("10.11.0.1") },
        Datagram { src: addr("127.0.0.1"), ..Datagram::default() },
    ];
    datagrams.extend(
        ["8.8.8.8", "10.3.0.1", "10.4.0.1", "10.6.0.1", "10.7.0.1", "10.8.0.1", "198.51.100.1"]
            .map(Datagram::to),
    );
    datagrams.extend((60..90).map(|host| Datagram::to(&format!("198.51.100.{host}"))));
    let frames = datagrams.iter().map(|datagram| (LAN, datagram.on(LAN)));
    frames.chain([(LAN, broken), (WAN, vec![0; 13])]).collect()
}

#[test]
fn ten_thousand_mixed_packets_allocate_nothing() {
    let memory = memory();
    let mut config = config();
    config.settings.source_routes = true;
    let mut router = Router::with_config(&memory, config);
    let mut lan = router.ports.get(LAN).unwrap().clone();
    (lan.redirects, lan.urpf) = (true, Urpf::Strict);
    assert!(router.ports.insert(LAN, lan));
    router.add_frames(1000);
    let mut shell = Recycler { free: std::mem::take(&mut router.bench.free), transmitted: 0 };
    let traffic = traffic();
    let mut next = traffic.iter().cycle();
    let mut allocations = 0;
    let mut packets = 0;
    for round in 0..200u32 {
        router.now = router.now + Duration::from_millis(171);
        let resolution = if round % 3 == 0 {
            Resolution::Complete(mac_of("198.51.100.60"))
        } else {
            Resolution::Incomplete
        };
        let resolved = router.writer.neighbor_insert(WAN, addr("198.51.100.60")).unwrap();
        router.writer.neighbor_set(resolved, resolution).unwrap();
        let counted = allocation_counter::measure(|| {
            let mut rx = ArrayVec::<_, BURST>::new();
            for (port, bytes) in next.by_ref().take(BURST) {
                let mut frame = shell.take().unwrap();
                frame.refill(bytes);
                rx.push((*port, frame));
            }
            packets += rx.len();
            router.engine.process(router.now, &router.ports, &mut rx, &mut shell);
            router.engine.neighbors_changed(router.now, &router.ports, &mut shell);
            router.engine.handle_timeout(router.now, &router.ports, &mut shell);
        });
        allocations += counted.count_total;
    }
    assert_eq!(allocations, 0);

    // It was mixed indeed.
    assert!(packets >= 10_000);
    assert_eq!(shell.free.len() + router.engine.held(), router.frames);
    for kind in [VerdictKind::Tx, VerdictKind::Reply, VerdictKind::Hold, VerdictKind::Drop] {
        assert!(router.page.verdicts(kind) >= 200, "{kind:?}: {}", router.page.verdicts(kind));
    }
    // That one is NAT's.
    let unasked = IcmpMessage::PortUnreachable;
    for &message in IcmpMessage::ALL.iter().filter(|&&message| message != unasked) {
        assert!(router.page.icmp_sent(message) >= 100, "{message:?}: {}", router.page.icmp_sent(message));
    }
    for event in [Event::Fragmented, Event::ChecksumCompleted, Event::Resolve, Event::HeldReleased] {
        assert!(router.page.events(event) >= 60, "{event:?}: {}", router.page.events(event));
    }
}

/// Packets of known NAT sessions, both ways, and fragments of them.
#[test]
fn translation_allocates_nothing() {
    let memory = memory();
    let mut router = Router::with_config(&memory, config());
    router.set_port(LAN, |port| port.nat = NatSide::Inside);
    router.set_port(WAN, |port| port.nat = NatSide::Outside);
    let pool = addr("198.51.100.8");
    let nat_config = millrace_nat::Config {
        statics: (0..8)
            .map(|i| millrace_nat::Static {
                outside: Ipv4Addr::from_bits(pool.to_bits() + i),
                inside: Ipv4Addr::from_bits(addr("192.0.2.10").to_bits() + i),
            })
            .collect(),
        ..millrace_nat::Config::default()
    };
    let nat = millrace_nat::Nat::new(nat_config, millrace_nat::Slices::new(1, 64), 0, 7, router.now);
    router.engine.set_nat(Some(nat));
    router.add_frames(1000);
    let mut shell = Recycler { free: std::mem::take(&mut router.bench.free), transmitted: 0 };
    let out = |i: u16| Datagram { payload: udp(4000 + i % 32, 53, 20), ..Datagram::default() };
    let home = |i: u16| Datagram {
        src: addr("10.1.2.3"),
        dst: pool,
        payload: udp(53, 4000 + i % 32, 20),
        ..Datagram::default()
    };
    let frames: Vec<(PortId, Vec<u8>)> = (0..64)
        .flat_map(|i| {
            let first = Datagram { fragment: MF, ident: i, ..out(i) };
            let later = Datagram { fragment: 3, ident: i, ..out(i) };
            [(LAN, out(i).on(LAN)), (WAN, home(i).on(WAN)), (LAN, first.on(LAN)), (LAN, later.on(LAN))]
        })
        .collect();
    let mut allocations = 0;
    for round in 0..200 {
        router.now = router.now + Duration::from_millis(171);
        let mut next = frames.iter().cycle().skip(round * BURST);
        let counted = allocation_counter::measure(|| {
            let mut rx = ArrayVec::<_, BURST>::new();
            for (port, bytes) in next.by_ref().take(BURST) {
                let mut frame = shell.take().unwrap();
                frame.refill(bytes);
                rx.push((*port, frame));
            }
            router.engine.process(router.now, &router.ports, &mut rx, &mut shell);
            router.engine.handle_timeout(router.now, &router.ports, &mut shell);
        });
        // The first rounds make the sessions.
        allocations += if round < 8 { 0 } else { counted.count_total };
    }
    assert_eq!(allocations, 0);
    assert_eq!(shell.transmitted, 200 * 64, "all of them left");
}
