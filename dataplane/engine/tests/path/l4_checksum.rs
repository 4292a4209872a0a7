//! Checksums that a local sender left to hardware are completed; all others are left alone. DESIGN 3.4.

use etherparse::TransportSlice;
use millrace_engine::VerdictKind::Tx;

use crate::rig::{
    CLIENT, Case, Datagram, LAN, MF, Out, Router, THIN, WAN, addr, checksum, decode, memory, run, udp,
};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The folded sum of the pseudo header, as Linux leaves it in the field.
fn pseudo(datagram: &Datagram) -> [u8; 2] {
    let mut bytes = [datagram.src.octets(), datagram.dst.octets()].concat();
    bytes.extend([0, datagram.protocol]);
    bytes.extend(u16::try_from(datagram.payload.len()).unwrap().to_be_bytes());
    (!checksum(&bytes)).to_be_bytes()
}

fn segment(protocol: u8, data: &[u8]) -> Datagram {
    let mut payload = vec![0x9c, 0x40, 0, 80];
    match protocol {
        TCP => payload.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0]),
        _ => payload.extend([0, u8::try_from(8 + data.len()).unwrap(), 0, 0]),
    }
    payload.extend(data);
    Datagram { protocol, payload, ..Datagram::default() }
}

fn set(datagram: &mut Datagram, field: [u8; 2]) {
    let at = if datagram.protocol == TCP { 16 } else { 6 };
    datagram.payload[at..at + 2].copy_from_slice(&field);
}

/// As a local sender leaves it.
fn partial(mut datagram: Datagram) -> Datagram {
    let field = pseudo(&datagram);
    set(&mut datagram, field);
    datagram
}

/// The checksum that leaves, and the one etherparse computes.
fn sent(datagram: &Datagram) -> (u16, u16) {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    assert_eq!(router.page.events(millrace_engine::Event::ChecksumCompleted), 1);
    let (src, dst) = (datagram.src.octets(), datagram.dst.octets());
    match decode(&router.bench.tx[0].1).transport.unwrap() {
        TransportSlice::Tcp(tcp) => (tcp.checksum(), tcp.calc_checksum_ipv4(src, dst).unwrap()),
        TransportSlice::Udp(udp) => {
            (udp.checksum(), udp.to_header().calc_checksum_ipv4_raw(src, dst, udp.payload()).unwrap())
        }
        other @ (TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn partial_checksums_are_completed() {
    for protocol in [TCP, UDP] {
        for len in [0, 1, 2, 7, 8, 63, 200] {
            let data: Vec<u8> = (0..len).map(|i: u8| i.wrapping_mul(37)).collect();
            let mut datagram = partial(segment(protocol, &data));
            let (actual, expected) = sent(&datagram);
            assert_eq!(actual, expected, "protocol {protocol}, {len} bytes");

            datagram.options = vec![148, 4, 0, 0];
            let (actual, expected) = sent(&datagram);
            assert_eq!(actual, expected, "with options: protocol {protocol}, {len} bytes");
        }
    }
}

/// RFC 768: a computed zero is transmitted as all ones.
#[test]
fn a_udp_checksum_of_zero_becomes_ones() {
    let mut datagram = partial(segment(UDP, &[0, 0]));
    // Data that brings the sum to 0xffff.
    let rest = checksum(&datagram.payload);
    datagram.payload[8..10].copy_from_slice(&rest.to_be_bytes());
    assert_eq!(checksum(&datagram.payload), 0);
    assert_eq!(sent(&datagram), (0xffff, 0xffff));
}

#[test]
fn other_checksums_are_left_alone() {
    let with = |protocol, field| {
        let mut datagram = segment(protocol, b"data");
        set(&mut datagram, field);
        datagram
    };
    let fragment = |word| Datagram { fragment: word, ..partial(segment(UDP, &[5; 16])) };
    let case = |name, port, datagram: Datagram| Case {
        name,
        rx: vec![(port, datagram.on(port))],
        verdict: Tx,
        tx: vec![Out::Forwarded(WAN, "198.51.100.2")],
        moved: &[],
    };
    run(vec![
        case("wrong TCP", LAN, with(TCP, [0x12, 0x34])),
        case("wrong UDP", LAN, with(UDP, [0x12, 0x34])),
        case("no UDP checksum", LAN, with(UDP, [0, 0])),
        case("the complement of the pseudo header's sum", LAN, {
            let datagram = segment(TCP, b"data");
            let [a, b] = pseudo(&datagram);
            with(TCP, [!a, !b])
        }),
        case("a port whose hardware completes them", THIN, partial(segment(TCP, b"data"))),
        case("a first fragment", LAN, fragment(MF)),
        case("a last fragment", LAN, fragment(2)),
        case(
            "a truncated TCP header",
            LAN,
            Datagram { protocol: TCP, payload: vec![0; 18], ..Datagram::default() },
        ),
        case("a truncated UDP header", LAN, Datagram { payload: vec![0; 7], ..Datagram::default() }),
        case("another protocol", LAN, Datagram { protocol: 132, ..partial(segment(UDP, b"data")) }),
    ]);
}

/// Completion comes before fragmentation, so that what is reassembled has a good checksum.
#[test]
fn a_partial_checksum_is_completed_before_fragmentation() {
    let datagram = partial(Datagram { payload: udp(1, 2, 1000), ..Datagram::to("10.9.0.1") });
    let memory = memory();
    let mut router = Router::new(&memory);
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    let whole: Vec<u8> = router.bench.tx.iter().flat_map(|(_, frame)| frame[34..].to_vec()).collect();
    let (header, data) = etherparse::UdpHeader::from_slice(&whole).unwrap();
    let expected = header.calc_checksum_ipv4_raw(addr(CLIENT).octets(), datagram.dst.octets(), data).unwrap();
    assert_eq!(header.checksum, expected);
}
