//! Rewriting real packets: lengths stay, checksums are right, and back is where it came from. etherparse builds and judges.

use etherparse::{IcmpEchoHeader, Icmpv4Type, PacketBuilder, SlicedPacket, TransportSlice, icmpv4};
use millrace_nat::packet::{self, Parsed};
use millrace_nat::{Endpoint, ErrorRewrite, Flow, Side, protocol};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp,
    Udp,
    UdpWithoutChecksum,
    Echo,
}

fn build(kind: Kind, src: Endpoint, dst: Endpoint, payload: &[u8]) -> Vec<u8> {
    let ip = PacketBuilder::ipv4(src.addr().octets(), dst.addr().octets(), 64);
    let mut bytes = Vec::new();
    match kind {
        Kind::Tcp => ip.tcp(src.port, dst.port, 1, 1000).write(&mut bytes, payload),
        Kind::Udp | Kind::UdpWithoutChecksum => ip.udp(src.port, dst.port).write(&mut bytes, payload),
        Kind::Echo => ip
            .icmpv4(Icmpv4Type::EchoRequest(IcmpEchoHeader { id: src.port, seq: 7 }))
            .write(&mut bytes, payload),
    }
    .expect("a Vec takes everything");
    if let Kind::UdpWithoutChecksum = kind {
        bytes[26..28].fill(0);
    }
    bytes
}

fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Tcp => protocol::TCP,
        Kind::Udp | Kind::UdpWithoutChecksum => protocol::UDP,
        Kind::Echo => protocol::ICMP,
    }
}

/// Header and transport checksums as a full computation has them.
fn assert_checksums(ip: &[u8], kind: Kind) {
    let sliced = SlicedPacket::from_ip(ip).expect("decodes");
    let Some(etherparse::NetSlice::Ipv4(net)) = &sliced.net else { panic!("not IPv4") };
    let header = net.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    match &sliced.transport {
        Some(TransportSlice::Tcp(t)) => {
            let wanted = t.to_header().calc_checksum_ipv4(&header, t.payload()).expect("short enough");
            assert_eq!(t.checksum(), wanted);
        }
        Some(TransportSlice::Udp(u)) => {
            let wanted = match kind {
                Kind::UdpWithoutChecksum => 0,
                Kind::Tcp | Kind::Udp | Kind::Echo => {
                    u.to_header().calc_checksum_ipv4(&header, u.payload()).expect("short enough")
                }
            };
            assert_eq!(u.checksum(), wanted);
        }
        Some(TransportSlice::Icmpv4(i)) => {
            assert_eq!(i.checksum(), i.icmp_type().calc_checksum(i.payload()));
        }
        other => panic!("{other:?}"),
    }
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (any::<u32>(), any::<u16>()).prop_map(|(addr, port)| Endpoint { addr, port })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Tcp, Kind::Udp, Kind::UdpWithoutChecksum, Kind::Echo])
}

proptest! {
    #[test]
    fn translating_there_and_back_is_the_identity(
        kind in kind(), src in endpoint(), dst in endpoint(), new_src in endpoint(), new_dst in endpoint(),
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        // An ICMP query has one identifier, and it is the inside host's.
        let without_id = |mut e: Endpoint| { if let Kind::Echo = kind { e.port = 0; } e };
        let (dst, new_dst) = (without_id(dst), without_id(new_dst));
        let original = build(kind, src, dst, &payload);
        let flow = Flow { protocol: number(kind), src, dst };
        let parsed = packet::parse(Side::Inside, &original);
        prop_assert!(matches!(parsed, Parsed::Flow { flow: f, fragment: None, .. } if f == flow), "{:?}", parsed);
        let mut ip = original.clone();
        packet::rewrite(&mut ip, new_src, new_dst);
        assert_checksums(&ip, kind);
        let flow = Flow { protocol: number(kind), src: new_src, dst: new_dst };
        let flow_is = matches!(packet::parse(Side::Inside, &ip), Parsed::Flow { flow: f, .. } if f == flow);
        prop_assert!(flow_is);
        packet::rewrite(&mut ip, src, dst);
        assert_checksums(&ip, kind);
        prop_assert_eq!(ip, original);
    }

    #[test]
    fn errors_carry_the_right_quotation(
        kind in kind(), src in endpoint(), dst in endpoint(), inside in endpoint(), router: u32, halves in 14usize..40,
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let dst = if let Kind::Echo = kind { Endpoint { port: 0, ..dst } } else { dst };
        // Half a checksum field, as an odd cut may leave, is not updated.
        let cut = 2 * halves;
        let went_out = build(kind, src, dst, &payload);
        let quoted = &went_out[..cut.min(went_out.len())];
        let mut ip = Vec::new();
        PacketBuilder::ipv4(router.to_be_bytes(), src.addr().octets(), 60)
            .icmpv4(Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit))
            .write(&mut ip, quoted)
            .expect("a Vec takes everything");
        let flow = Flow { protocol: number(kind), src, dst };
        prop_assert_eq!(packet::parse(Side::Outside, &ip), Parsed::IcmpError { quoted: flow });
        let new = ErrorRewrite {
            outer_src: None,
            outer_dst: Some(inside.addr),
            inner_src: inside,
            inner_dst: dst,
        };
        packet::rewrite_error(&mut ip, &new);
        assert_checksums(&ip, kind);
        let as_sent = build(kind, inside, dst, &payload);
        prop_assert_eq!(&ip[28..], &as_sent[..quoted.len()], "the sender reads what it sent");
    }

    #[test]
    fn any_bytes_are_answered(mut bytes in prop::collection::vec(any::<u8>(), 0..120), e in endpoint()) {
        packet::parse(Side::Outside, &bytes);
        packet::rewrite(&mut bytes, e, e);
        packet::rewrite_later_fragment(&mut bytes, 1, 2);
        let new = ErrorRewrite { outer_src: Some(1), outer_dst: Some(2), inner_src: e, inner_dst: e };
        packet::rewrite_error(&mut bytes, &new);
    }
}

#[test]
fn fragments_are_told_apart() {
    let (src, dst) = (Endpoint { addr: 0x0a00_0001, port: 9 }, Endpoint { addr: 0xc633_6401, port: 53 });
    let mut ip = build(Kind::Udp, src, dst, &[0; 40]);
    ip[4..6].copy_from_slice(&[0x12, 0x34]);
    let datagram = packet::Datagram { src: src.addr, dst: dst.addr, protocol: protocol::UDP, ident: 0x1234 };
    for (word, expected_first) in [([0x20, 0x00], true), ([0x20, 0x05], false), ([0x00, 0x05], false)] {
        ip[6..8].copy_from_slice(&word);
        let parsed = packet::parse(Side::Outside, &ip);
        if expected_first {
            assert!(matches!(parsed, Parsed::Flow { fragment: Some(d), .. } if d == datagram), "{parsed:?}");
        } else {
            assert_eq!(parsed, Parsed::LaterFragment(datagram));
        }
    }
}

#[test]
fn broken_errors_are_malformed() {
    let (src, dst) = (Endpoint { addr: 0x0a00_0001, port: 9 }, Endpoint { addr: 0xc633_6401, port: 53 });
    let quoted = build(Kind::Udp, src, dst, &[0; 8]);
    let mut ip = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [10, 0, 0, 1], 60)
        .icmpv4(Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit))
        .write(&mut ip, &quoted)
        .expect("a Vec takes everything");
    assert!(matches!(packet::parse(Side::Outside, &ip), Parsed::IcmpError { .. }));
    for at in [20 + 2, 20 + 8 + 12, ip.len() - 1] {
        let mut broken = ip.clone();
        broken[at] ^= 0x40;
        assert_eq!(packet::parse(Side::Outside, &broken), Parsed::Malformed, "byte {at}");
    }
    assert_eq!(packet::parse(Side::Outside, &ip[..20 + 8 + 24]), Parsed::Malformed, "cut short");
}

#[test]
fn rfc5508_req3_options_of_the_quoted_packet_are_traversed() {
    let (src, dst) = (Endpoint { addr: 0x0a00_0001, port: 9 }, Endpoint { addr: 0xc633_6401, port: 53 });
    let mut quoted = Vec::new();
    let mut header = etherparse::Ipv4Header::new(
        8,
        64,
        etherparse::IpNumber::UDP,
        src.addr().octets(),
        dst.addr().octets(),
    )
    .expect("short");
    header.options = [148, 4, 0, 0].into();
    header.header_checksum = header.calc_header_checksum();
    header.write(&mut quoted).expect("a Vec takes everything");
    quoted.extend([0, 9, 0, 53, 0, 8, 0, 0]);
    let mut ip = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [10, 0, 0, 1], 60)
        .icmpv4(Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit))
        .write(&mut ip, &quoted)
        .expect("a Vec takes everything");
    let flow = Flow { protocol: protocol::UDP, src, dst };
    assert_eq!(packet::parse(Side::Outside, &ip), Parsed::IcmpError { quoted: flow });
}
