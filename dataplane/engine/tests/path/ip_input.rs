//! Validation of the IPv4 header. RFC 1812 §5.2.2, §5.3.7.

use millrace_engine::VerdictKind::{Drop, Reply, Tx};

use crate::rig::{Case, Datagram, LAN, Out, WAN, addr, checksum, run};

/// A good frame, damaged, with the header checksum made right again.
fn damaged(damage: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Datagram::default().on(LAN);
    damage(&mut frame);
    if 34 <= frame.len() {
        frame[24..26].fill(0);
        let header_len = (usize::from(frame[14] & 15) * 4).clamp(20, frame.len() - 14);
        let sum = checksum(&frame[14..14 + header_len]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

fn dropped(name: &'static str, frame: Vec<u8>, moved: &'static [(&'static str, u64)]) -> Case {
    Case { name, rx: vec![(LAN, frame)], verdict: Drop, tx: vec![], moved }
}

fn passed(name: &'static str, frame: Vec<u8>) -> Case {
    Case {
        name,
        rx: vec![(LAN, frame)],
        verdict: Tx,
        tx: vec![Out::Forwarded(WAN, "198.51.100.2")],
        moved: &[],
    }
}

/// §5.2.2 (1)-(5), and total length against the frame.
#[test]
fn headers_are_validated() {
    let shorten = |len: usize| damaged(|frame| frame.truncate(14 + len));
    let total_len = |len: u16| damaged(|frame| frame[16..18].copy_from_slice(&len.to_be_bytes()));
    let version_ihl = |byte: u8| damaged(|frame| frame[14] = byte);
    run(vec![
        passed("untouched", damaged(|_| ())),
        dropped("(1) no header at all", shorten(0), &[("drop ip-truncated", 1)]),
        dropped("(1) 19 bytes of header", shorten(19), &[("drop ip-truncated", 1)]),
        dropped("(3) version 6", version_ihl(0x65), &[("drop ip-bad-version", 1)]),
        dropped("(3) version 0", version_ihl(0x05), &[("drop ip-bad-version", 1)]),
        dropped("(4) header length 16", version_ihl(0x44), &[("drop ip-bad-header-length", 1)]),
        dropped("(4) header length 0", version_ihl(0x40), &[("drop ip-bad-header-length", 1)]),
        dropped("(4) header longer than the frame", version_ihl(0x4f), &[("drop ip-bad-header-length", 1)]),
        dropped("(5) total length below the header's", total_len(19), &[("drop ip-bad-total-length", 1)]),
        dropped("(5) total length 0", total_len(0), &[("drop ip-bad-total-length", 1)]),
        passed("header only", Datagram { payload: vec![], ..Datagram::default() }.on(LAN)),
        passed("less than the frame", {
            let mut frame = Datagram::default().on(LAN);
            frame.extend([0xee; 100]);
            frame
        }),
    ]);
}

/// §5.2.2: a truncated packet is discarded, and its sender told where: 12/0 pointing at the total length. The checks of
/// the header come first.
#[test]
fn truncated_packets_are_answered() {
    let cut = |name, frame: Vec<u8>| Case {
        name,
        rx: vec![(LAN, frame)],
        verdict: Reply,
        tx: vec![Out::Icmp(LAN, "192.0.2.10", 12, 0, 2 << 24, "192.0.2.1")],
        moved: &[("drop ip-cut-short", 1), ("icmp 12/0", 1)],
    };
    let good = Datagram::default().on(LAN);
    let mut other = good[..40].to_vec();
    other[24] ^= 1;
    let martian = Datagram { src: addr("127.0.0.1"), ..Datagram::default() }.on(LAN);
    let fragment = Datagram { fragment: 1, ..Datagram::default() }.on(LAN);
    run(vec![
        cut("a byte less than the total length", good[..good.len() - 1].to_vec()),
        cut("nothing but the header", good[..34].to_vec()),
        cut("total length beyond the frame", damaged(|frame| frame[16..18].copy_from_slice(&[0xff, 0xff]))),
        dropped("truncated and damaged", other, &[("drop ip-bad-checksum", 1)]),
        dropped("truncated, from a martian", martian[..40].to_vec(), &[("drop martian-source", 1)]),
        dropped(
            "a truncated later fragment",
            fragment[..40].to_vec(),
            &[("drop ip-cut-short", 1), ("icmp-forbidden", 1)],
        ),
    ]);
}

/// §5.2.2 (2): each single flipped bit of the header is found, by the checksum or by an earlier test.
#[test]
fn every_flipped_header_bit_is_found() {
    let good = Datagram { options: vec![148, 4, 0, 0], ..Datagram::default() }.on(LAN);
    for bit in 0..24 * 8 {
        let mut frame = good.clone();
        frame[14 + bit / 8] ^= 1 << (bit % 8);
        let memory = crate::rig::memory();
        let mut router = crate::rig::Router::new(&memory);
        router.receive([(LAN, &frame[..])]);
        let dropped = router.counts().into_iter().find(|(name, _)| name.starts_with("drop "));
        let (reason, _) = dropped.unwrap_or_else(|| panic!("bit {bit} passed"));
        match bit {
            0..=3 => assert!(
                reason == "drop ip-bad-header-length" || reason == "drop ip-bad-checksum",
                "bit {bit}"
            ),
            4..=7 => assert_eq!(reason, "drop ip-bad-version", "bit {bit}"),
            16..=31 => {
                assert!(reason == "drop ip-bad-total-length" || reason == "drop ip-bad-checksum", "bit {bit}")
            }
            _ => assert_eq!(reason, "drop ip-bad-checksum", "bit {bit}"),
        }
        assert!(router.bench.tx.is_empty());
    }
}

/// A checksum received as minus zero is right, and the forwarded one is canonical (RFC 1624 §3).
#[test]
fn minus_zero_checksum_is_valid() {
    // The identification that makes the checksum zero.
    let mut datagram = Datagram { ident: 0, ..Datagram::default() };
    let bytes = datagram.bytes();
    datagram.ident = u16::from_be_bytes([bytes[10], bytes[11]]);
    let zero = datagram.on(LAN);
    assert_eq!(zero[24..26], [0, 0]);
    let mut minus_zero = zero.clone();
    minus_zero[24..26].fill(0xff);
    run(vec![passed("zero", zero), passed("minus zero", minus_zero)]);
}

/// §5.3.7, §4.2.2.11.
#[test]
fn martian_sources_are_dropped() {
    let from = |name, src| {
        let frame = Datagram { src: addr(src), ..Datagram::default() }.on(LAN);
        dropped(name, frame, &[("drop martian-source", 1)])
    };
    run(vec![
        from("this host", "0.0.0.0"),
        from("network 0", "0.1.2.3"),
        from("loopback", "127.0.0.1"),
        from("loopback's end", "127.255.255.255"),
        from("multicast", "224.0.0.1"),
        from("multicast's end", "239.255.255.255"),
        from("class E", "240.0.0.1"),
        from("limited broadcast", "255.255.255.255"),
        passed("1.0.0.0", Datagram { src: addr("1.0.0.0"), ..Datagram::default() }.on(LAN)),
        passed("126.255.255.255", Datagram { src: addr("126.255.255.255"), ..Datagram::default() }.on(LAN)),
        passed("128.0.0.1", Datagram { src: addr("128.0.0.1"), ..Datagram::default() }.on(LAN)),
        passed("223.255.255.255", Datagram { src: addr("223.255.255.255"), ..Datagram::default() }.on(LAN)),
    ]);
}

/// §5.3.7, §5.3.5.1.
#[test]
fn destinations_nobody_can_be_forwarded_to_are_dropped() {
    let to = |name, dst, moved| dropped(name, Datagram::to(dst).on(LAN), moved);
    run(vec![
        to("network 0", "0.0.0.0", &[("drop martian-destination", 1)]),
        to("network 0's end", "0.255.255.255", &[("drop martian-destination", 1)]),
        to("loopback", "127.0.0.1", &[("drop martian-destination", 1)]),
        to("class E", "240.0.0.1", &[("drop martian-destination", 1)]),
        to("255.0.0.1", "255.0.0.1", &[("drop martian-destination", 1)]),
        to("limited broadcast", "255.255.255.255", &[("drop broadcast", 1)]),
        to("multicast", "224.0.0.1", &[("drop multicast", 1)]),
        to("multicast's end", "239.255.255.255", &[("drop multicast", 1)]),
    ]);
}
