//! Every view against etherparse: what we emit it decodes, what it emits we decode. Emission starts from 0xa5 bytes,
//! so a field that is not written shows.

extern crate std;

use core::net::Ipv4Addr;
use std::vec::Vec;

use etherparse as oracle;
use proptest::prelude::*;

use super::arp::{Arp, Operation};
use super::ethernet::{EtherType, Ethernet};
use super::icmp::{Icmp, Kind};
use super::ipv4::{Fragment, Ipv4, Protocol};
use super::tcp::{Flags, Tcp};
use super::udp::{self, Udp};
use super::vlan::Vlan;
use super::{Truncated, arp, ethernet, icmp, ipv4, tcp, vlan};
use crate::Mac;

const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

#[test]
fn a_byte_less_than_the_header_is_truncated() {
    let bytes = [0xa5u8; 64];
    assert_eq!(Ethernet::new_checked(&bytes[..ethernet::LEN - 1]), Err(Truncated));
    assert_eq!(Vlan::new_checked(&bytes[..vlan::LEN - 1]), Err(Truncated));
    assert_eq!(Arp::new_checked(&bytes[..arp::LEN - 1]), Err(Truncated));
    assert_eq!(Ipv4::new_checked(&bytes[..ipv4::LEN - 1]), Err(Truncated));
    assert_eq!(Icmp::new_checked(&bytes[..icmp::LEN - 1]), Err(Truncated));
    assert_eq!(Udp::new_checked(&bytes[..udp::LEN - 1]), Err(Truncated));
    assert_eq!(Tcp::new_checked(&bytes[..tcp::LEN - 1]), Err(Truncated));
    assert!(Ethernet::new_checked(&bytes[..ethernet::LEN]).is_ok());
    assert!(Tcp::split(&bytes[..tcp::LEN]).is_ok_and(|(_, rest)| rest.is_empty()));
}

#[test]
fn ethernet_emits_what_etherparse_reads() {
    let mut bytes = [0xa5; ethernet::LEN];
    let mut header = Ethernet::new(&mut bytes);
    header.set_dst(A);
    header.set_src(B);
    header.set_ethertype(EtherType::IPV4);
    let (read, _) = oracle::Ethernet2Header::from_slice(&bytes).unwrap();
    assert_eq!((read.destination, read.source), (A.0, B.0));
    assert_eq!(read.ether_type, oracle::EtherType::IPV4);
}

#[test]
fn vlan_emits_what_etherparse_reads() {
    let mut bytes = [0xa5; vlan::LEN];
    let mut tag = Vlan::new(&mut bytes);
    tag.set_tci(5 << 13 | 100);
    tag.set_ethertype(EtherType::IPV4);
    let (read, _) = oracle::SingleVlanHeader::from_slice(&bytes).unwrap();
    assert_eq!((read.vlan_id.value(), read.pcp.value(), read.drop_eligible_indicator), (100, 5, false));
    assert_eq!(read.ether_type, oracle::EtherType::IPV4);
    let tag = Vlan::new(&bytes);
    assert_eq!((tag.id(), tag.priority(), tag.ethertype()), (100, 5, EtherType::IPV4));
}

#[test]
fn arp_emits_what_etherparse_reads() {
    let mut bytes = [0xa5; arp::LEN];
    let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    Arp::new(&mut bytes).emit(Operation::REPLY, (A, from), (B, to));
    let read = oracle::ArpPacketSlice::from_slice(&bytes).unwrap();
    assert_eq!(read.operation(), oracle::ArpOperation::REPLY);
    assert_eq!((read.sender_hw_addr(), read.sender_protocol_addr()), (&A.0[..], &from.octets()[..]));
    assert_eq!((read.target_hw_addr(), read.target_protocol_addr()), (&B.0[..], &to.octets()[..]));
    let view = Arp::new(&bytes);
    assert!(view.is_ethernet_ipv4());
    assert_eq!((view.sender_mac(), view.sender_ip()), (A, from));
    assert_eq!((view.target_mac(), view.target_ip()), (B, to));
    assert_eq!(view.operation(), Operation::REPLY);
    for at in 0..6 {
        let mut other = bytes;
        other[at] ^= 1;
        assert!(!Arp::new(&other).is_ethernet_ipv4(), "octet {at}");
    }
}

#[test]
fn udp_zero_is_sent_as_ones() {
    assert_eq!((udp::transmitted(0), udp::transmitted(1), udp::transmitted(0xffff)), (0xffff, 1, 0xffff));
}

#[test]
fn icmp_emits_what_etherparse_reads() {
    let mut bytes = [0xa5; 36];
    let (mut header, _) = Icmp::split_mut(&mut bytes).unwrap();
    header.set_kind(Kind::UNREACHABLE);
    header.set_code(4);
    header.set_checksum(0);
    header.set_rest(1400);
    let check = crate::checksum::checksum(&bytes);
    Icmp::new_checked_mut(&mut bytes).unwrap().set_checksum(check);
    let read = oracle::Icmpv4Slice::from_slice(&bytes).unwrap();
    let expected = oracle::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
    assert_eq!(read.icmp_type(), oracle::Icmpv4Type::DestinationUnreachable(expected));
    assert_eq!(read.icmp_type().calc_checksum(read.payload()), check);
    let view = Icmp::new_checked(&bytes).unwrap();
    assert_eq!((view.kind(), view.code(), view.rest(), view.checksum()), (Kind::UNREACHABLE, 4, 1400, check));
}

#[test]
fn queries_and_errors_are_told_apart() {
    for kind in 0..=255u8 {
        let query = matches!(kind, 0 | 8 | 9 | 10 | 13..=18 | 42 | 43);
        assert_eq!(Kind(kind).is_query(), query, "type {kind}");
    }
}

#[test]
fn ttl_zero_stays_zero() {
    let mut bytes = [0u8; ipv4::LEN];
    Ipv4::new(&mut bytes).decrement_ttl();
    assert_eq!(bytes, [0; ipv4::LEN]);
}

proptest! {
    #[test]
    fn ipv4_emits_what_etherparse_reads(
        tos: u8, ident: u16, df: bool, more: bool, offset in 0u16..0x2000, ttl: u8, protocol: u8, src: u32, dst: u32,
        words in 0usize..=10, payload in 0u16..1400,
    ) {
        let mut bytes = std::vec![0xa5u8; ipv4::LEN + words * 4];
        let header_len = u8::try_from(bytes.len()).unwrap();
        let (mut header, options) = Ipv4::split_mut(&mut bytes).unwrap();
        header.set_header_len(header_len);
        header.set_tos(tos);
        header.set_total_len(u16::from(header_len) + payload);
        header.set_ident(ident);
        let fragment = Fragment(Fragment::at(offset << 3, more).0 | u16::from(df) << 14);
        header.set_fragment(fragment);
        header.set_ttl(ttl);
        header.set_protocol(Protocol(protocol));
        header.set_src(Ipv4Addr::from_bits(src));
        header.set_dst(Ipv4Addr::from_bits(dst));
        header.fill_checksum(options);

        let read = oracle::Ipv4HeaderSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!((read.ihl() << 2, read.total_len()), (header_len, u16::from(header_len) + payload));
        prop_assert_eq!(read.dcp().value() << 2 | read.ecn().value(), tos);
        prop_assert_eq!((read.identification(), read.ttl(), read.protocol().0), (ident, ttl, protocol));
        prop_assert_eq!((read.dont_fragment(), read.more_fragments(), read.fragments_offset().value()), (df, more, offset));
        prop_assert_eq!((read.source(), read.destination()), (src.to_be_bytes(), dst.to_be_bytes()));
        prop_assert_eq!(read.to_header().calc_header_checksum(), read.header_checksum());

        let view = Ipv4::new_checked(&bytes).unwrap();
        prop_assert_eq!((view.version(), view.header_len(), view.version_ihl()), (4, header_len, 0x40 | header_len >> 2));
        prop_assert_eq!((view.tos(), view.ident(), view.ttl(), view.protocol()), (tos, ident, ttl, Protocol(protocol)));
        prop_assert_eq!((view.fragment().dont_fragment(), view.fragment().more()), (df, more));
        prop_assert_eq!((view.fragment().offset_bytes(), view.fragment().is_fragment()), (offset << 3, more || offset != 0));
        prop_assert_eq!((view.src_bits(), view.dst_bits()), (src, dst));
        prop_assert!(view.sum().bytes(&bytes[ipv4::LEN..]).is_valid());

        Ipv4::new_checked_mut(&mut bytes).unwrap().decrement_ttl();
        let read = oracle::Ipv4HeaderSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!(read.ttl(), ttl.saturating_sub(1));
        prop_assert_eq!(read.to_header().calc_header_checksum(), read.header_checksum());
    }

    #[test]
    fn udp_emits_what_etherparse_reads(src_port: u16, dst_port: u16, data: Vec<u8>) {
        let mut bytes = std::vec![0xa5u8; udp::LEN];
        let length = u16::try_from(udp::LEN + data.len()).unwrap();
        bytes.extend(&data);
        let (mut header, _) = Udp::split_mut(&mut bytes).unwrap();
        header.set_src_port(src_port);
        header.set_dst_port(dst_port);
        header.set_length(length);
        header.set_checksum(0);
        let pseudo = crate::checksum::pseudo_header(0x0a00_0001, 0xc0a8_0001, 17, length);
        let check = udp::transmitted(pseudo.bytes(&bytes).checksum());
        Udp::new_checked_mut(&mut bytes).unwrap().set_checksum(check);
        let read = oracle::UdpSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!((read.source_port(), read.destination_port(), read.length()), (src_port, dst_port, length));
        let full = read.to_header().calc_checksum_ipv4_raw([10, 0, 0, 1], [192, 168, 0, 1], &data).unwrap();
        prop_assert_eq!(read.checksum(), full);
        let view = Udp::new_checked(&bytes).unwrap();
        prop_assert_eq!((view.src_port(), view.dst_port(), view.length(), view.checksum()), (src_port, dst_port, length, check));
    }

    #[test]
    fn tcp_emits_what_etherparse_reads(
        src_port: u16, dst_port: u16, sequence: u32, acknowledgment: u32, window: u16, urgent: u16, flags: u8, data: Vec<u8>,
    ) {
        let mut bytes = std::vec![0xa5u8; tcp::LEN];
        bytes.extend(&data);
        let (mut header, _) = Tcp::split_mut(&mut bytes).unwrap();
        header.set_src_port(src_port);
        header.set_dst_port(dst_port);
        header.set_sequence(sequence);
        header.set_acknowledgment(acknowledgment);
        header.set_header_len(20);
        header.set_flags(Flags(flags));
        header.set_window(window);
        header.set_checksum(0);
        header.set_urgent(urgent);
        let length = u16::try_from(bytes.len()).unwrap();
        let check = crate::checksum::pseudo_header(0x0a00_0001, 0xc0a8_0001, 6, length).bytes(&bytes).checksum();
        Tcp::new_checked_mut(&mut bytes).unwrap().set_checksum(check);
        let read = oracle::TcpSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!(read.calc_checksum_ipv4([10, 0, 0, 1], [192, 168, 0, 1]).unwrap(), check);
        prop_assert_eq!((read.source_port(), read.destination_port(), read.window_size()), (src_port, dst_port, window));
        prop_assert_eq!((read.sequence_number(), read.acknowledgment_number()), (sequence, acknowledgment));
        prop_assert_eq!((read.syn(), read.ack(), read.fin(), read.rst()), (flags & 2 != 0, flags & 16 != 0, flags & 1 != 0, flags & 4 != 0));
        prop_assert_eq!((read.checksum(), read.urgent_pointer(), read.data_offset()), (check, urgent, 5));
        let view = Tcp::new_checked(&bytes).unwrap();
        prop_assert_eq!((view.src_port(), view.dst_port(), view.sequence(), view.acknowledgment()), (src_port, dst_port, sequence, acknowledgment));
        prop_assert_eq!((view.header_len(), view.flags(), view.window(), view.checksum(), view.urgent()), (20, Flags(flags), window, check, urgent));
        prop_assert_eq!(view.flags().contains(Flags::SYN), flags & 2 != 0);
    }
}
