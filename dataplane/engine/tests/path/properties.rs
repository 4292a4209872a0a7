//! What holds for any bytes: no panic, no frame lost, and a forwarded packet is the one that came.

use std::time::Duration;

use millrace_engine::BURST;
use millrace_fib::{Link, Resolution, Vlan};
use millrace_net::PortId;
use proptest::prelude::*;

use crate::rig::{
    DF, Datagram, LAN, Router, THIN, WAN, addr, checksum, decode, forwarded, mac_of, memory, router_mac,
};

/// A frame that gets further than noise would: a good Ethernet header, and often a good IPv4 header.
fn frame() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let plausible = (
        0u16..7,
        proptest::collection::vec(any::<u8>(), 0..1600),
        any::<[u8; 20]>(),
        prop_oneof![Just(0x45u8), 0x45..=0x4fu8, any::<u8>()],
        prop_oneof![
            Just("10.1.2.3"),
            Just("10.9.0.1"),
            Just("8.8.8.8"),
            Just("198.51.100.77"),
            Just("10.5.0.1"),
            Just("192.0.2.1")
        ],
        prop_oneof![4 => Just(true), 1 => Just(false)],
        prop_oneof![Just("192.0.2.10"), Just("172.16.0.1"), Just("192.0.2.99"), Just("9.9.9.9")],
    );
    plausible.prop_map(|(port, payload, mut header, version_ihl, dst, sound, src)| {
        header[0] = version_ihl;
        if sound {
            let len = u16::try_from(20 + payload.len()).unwrap();
            header[2..4].copy_from_slice(&len.to_be_bytes());
            header[8] |= 2;
            header[12..16].copy_from_slice(&addr(src).octets());
            header[16..20].copy_from_slice(&addr(dst).octets());
        }
        let mut bytes = [&router_mac(PortId(port)).0[..], &[2; 6], &[8, 0], &header, &payload].concat();
        let header_len = (usize::from(version_ihl & 15) * 4).clamp(20, bytes.len() - 14);
        if sound {
            bytes[24..26].fill(0);
            let sum = checksum(&bytes[14..14 + header_len]);
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        (port, bytes)
    })
}

fn noise() -> impl Strategy<Value = (u16, Vec<u8>)> {
    (0u16..9, proptest::collection::vec(any::<u8>(), 0..200))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// The rig checks conservation after every call; etherparse decodes all that leaves.
    #[test]
    fn any_bytes_are_survived_and_every_frame_is_accounted_for(
        bursts in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![3 => frame(), 1 => noise()], 0..BURST),
            1..6,
        ),
        rooms in proptest::collection::vec(prop_oneof![Just(usize::MAX), 0usize..40], 6),
    ) {
        let memory = memory();
        let mut router = Router::new(&memory);
        router.writer.port_set(THIN, Link { mac: router_mac(THIN), mtu: 300, vlan: Vlan::Untagged });
        for (burst, room) in bursts.iter().zip(rooms) {
            router.bench.tx_room = room;
            router.receive(burst.iter().map(|(port, bytes)| (PortId(*port), &bytes[..])));
            router.now = router.now + Duration::from_millis(700);
            router.timeout(router.now);
            router.resolve(WAN, "198.51.100.77", Resolution::Complete(mac_of("198.51.100.77")));
            router.resolve(WAN, "198.51.100.77", Resolution::Incomplete);
        }
        for (_, bytes) in &router.bench.tx {
            decode(bytes);
        }
        router.timeout(router.now + Duration::from_secs(9));
        prop_assert_eq!(router.engine.held(), 0);
    }

    #[test]
    fn a_forwarded_packet_is_the_one_received(
        tos: u8, ident: u16, df: bool, ttl in 2u8..=255, protocol: u8,
        options in 0usize..=10, payload in proptest::collection::vec(any::<u8>(), 0..1400), padding in 0usize..60,
    ) {
        let memory = memory();
        let mut router = Router::new(&memory);
        let fragment = if df { DF } else { 0 };
        let options = vec![1; options * 4];
        let datagram = Datagram { tos, ident, fragment, ttl, protocol, options, payload, ..Datagram::default() };
        let mut frame = datagram.on(WAN); // not the port that completes checksums
        let expected = forwarded(&frame, WAN, mac_of("198.51.100.2"));
        frame.extend(vec![0x55; padding]);
        router.receive([(WAN, &frame[..])]);
        prop_assert_eq!(&router.bench.tx, &[(WAN, expected)]);
    }

    /// Fragmentation∘reassembly = identity, twice over: fragments go through a second, narrower router.
    #[test]
    fn what_is_fragmented_can_be_put_together(
        data in proptest::collection::vec(any::<u8>(), 0..1480), mtus in proptest::array::uniform2(68u16..1500),
    ) {
        let datagram = Datagram { protocol: 253, payload: data.clone(), ..Datagram::to("10.9.0.1") };
        let mut packets = vec![datagram.on(LAN)];
        for mtu in mtus {
            let memory = memory();
            let mut router = Router::new(&memory);
            router.writer.port_set(THIN, Link { mac: router_mac(THIN), mtu, vlan: Vlan::Untagged });
            for mut packet in packets {
                packet[..6].copy_from_slice(&router_mac(LAN).0);
                router.receive([(LAN, &packet[..])]);
            }
            packets = router.bench.tx.iter().map(|(_, bytes)| bytes.clone()).collect();
            for packet in &packets {
                prop_assert!(packet.len() <= 14 + usize::from(mtu));
                decode(packet);
            }
        }
        let mut whole = vec![None; data.len()];
        let mut end = None;
        for packet in &packets {
            let (header, payload) = (&packet[14..34], &packet[34..]);
            let word = u16::from_be_bytes([header[6], header[7]]);
            let at = usize::from(word & 0x1fff) * 8;
            for (i, &byte) in payload.iter().enumerate() {
                prop_assert_eq!(whole[at + i].replace(byte), None, "no overlap");
            }
            if word & 0x2000 == 0 {
                prop_assert_eq!(end.replace(at + payload.len()), None, "one last fragment");
            }
        }
        prop_assert_eq!(end, Some(data.len()));
        prop_assert_eq!(whole.into_iter().collect::<Option<Vec<_>>>(), Some(data));
    }
}
