//! Packets larger than the next link's MTU. RFC 791 §2.3, §3.2; RFC 1812 §4.2.2.7; RFC 1191 §4.

use millrace_engine::VerdictKind::{Drop, Reply, Tx};
use millrace_fib::{Link, Vlan};

use crate::rig::{
    CLIENT, Case, DF, Datagram, LAN, MF, Out, Router, THIN, THIN_MTU, decode, memory, router_mac, run,
    run_on, udp,
};

/// What goes out of the thin link for one packet received, as (offset, more, header length, payload).
fn fragments(datagram: &Datagram, mtu: u16) -> Vec<(u16, bool, usize, Vec<u8>)> {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.writer.port_set(THIN, Link { mac: router_mac(THIN), mtu, vlan: Vlan::Untagged });
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    assert_eq!(router.page.verdicts(Tx), 1);
    let sent = &router.bench.tx;
    let describe = |(port, bytes): &(_, Vec<u8>)| {
        assert_eq!(*port, THIN);
        assert!(bytes.len() <= 14 + usize::from(mtu), "{} bytes for MTU {mtu}", bytes.len() - 14);
        let packet = decode(bytes);
        let Some(etherparse::LaxNetSlice::Ipv4(ip)) = packet.net else { panic!() };
        let header = ip.header();
        assert_eq!((header.ttl(), header.identification()), (datagram.ttl - 1, datagram.ident));
        assert_eq!((header.source_addr(), header.destination_addr()), (datagram.src, datagram.dst));
        assert_eq!(header.dcp().value() << 2 | header.ecn().value(), datagram.tos);
        assert!(!header.dont_fragment());
        let header_len = header.slice().len();
        let offset = header.fragments_offset().value() * 8;
        (offset, header.more_fragments(), header_len, bytes[14 + header_len..].to_vec())
    };
    sent.iter().map(describe).collect()
}

/// RFC 791 §3.2: the receiver's side.
fn reassemble(fragments: &[(u16, bool, usize, Vec<u8>)]) -> Vec<u8> {
    let mut whole = Vec::new();
    for (i, (offset, more, _, data)) in fragments.iter().enumerate() {
        assert_eq!(usize::from(*offset), whole.len(), "in order, without gap or overlap");
        assert_eq!(*more, i + 1 < fragments.len());
        assert!(!*more || data.len().is_multiple_of(8));
        whole.extend(data);
    }
    whole
}

#[test]
fn fragmentation_at_many_sizes() {
    for (mtu, data_len) in
        [(576, 577), (576, 1472), (68, 1472), (1499, 1472), (100, 93), (576, 549), (576, 556), (1280, 1464)]
    {
        let datagram = Datagram { payload: udp(1, 2, data_len), tos: 0x2e, ..Datagram::to("10.9.0.1") };
        let pieces = fragments(&datagram, mtu);
        assert_eq!(reassemble(&pieces), datagram.payload, "MTU {mtu}, {data_len} bytes");
        let room = usize::from((mtu - 20) & !7);
        assert_eq!(pieces[0].3.len(), room, "as much as fits in each");
        assert!(pieces.iter().all(|piece| piece.2 == 20));
    }
}

/// The counters, and that fragments of a checksum left to hardware carry the completed one.
#[test]
fn fragmented_packets_are_counted() {
    let mut datagram = Datagram { payload: udp(1, 2, 1000), ..Datagram::to("10.9.0.1") };
    datagram.payload[6..8].fill(0);
    let memory = memory();
    let mut router = Router::new(&memory);
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    let expected = [("fragmented", 1), ("fragments-sent", 2), ("verdict tx", 1)];
    assert_eq!(router.counts(), expected.map(|(name, n)| (name.to_owned(), n)).into());
    assert_eq!(router.page.port(THIN).tx_packets, 2);
}

#[test]
fn a_fragment_fragmented_again_keeps_its_place() {
    for (word, last) in [(MF | 100, true), (100, false)] {
        let datagram = Datagram { fragment: word, payload: udp(1, 2, 1000), ..Datagram::to("10.9.0.1") };
        let pieces = fragments(&datagram, THIN_MTU);
        assert_eq!(pieces.iter().map(|p| p.0).collect::<Vec<_>>(), [800, 800 + 552]);
        assert_eq!(pieces.iter().map(|p| p.1).collect::<Vec<_>>(), [true, last], "MF as in the original");
    }
}

/// RFC 791 §3.1: the copied flag. The first fragment has all options, the others those to be copied.
#[test]
fn options_are_copied_where_they_ask_for_it() {
    let copied = [0x88, 4, 1, 2]; // stream id
    let not_copied = [0x5e, 3, 9]; // experimental
    let options = [&not_copied[..], &[1], &copied, &[0x5e, 4, 5, 6]].concat();
    let datagram =
        Datagram { options: options.clone(), payload: udp(1, 2, 1200), ..Datagram::to("10.9.0.1") };
    let memory = memory();
    let mut router = Router::new(&memory);
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    let headers: Vec<_> =
        router.bench.tx.iter().map(|(_, f)| f[34..14 + usize::from(f[14] & 15) * 4].to_vec()).collect();
    assert_eq!(headers, [options, copied.to_vec(), copied.to_vec()]);
    assert_eq!(reassemble(&fragments(&datagram, THIN_MTU)), datagram.payload);

    let odd = Datagram { options: vec![0x88, 3, 1, 0x5e, 5, 1, 1, 1], payload: udp(1, 2, 1200), ..datagram };
    let pieces = fragments(&odd, THIN_MTU);
    assert_eq!(pieces.iter().map(|p| p.2).collect::<Vec<_>>(), [28, 24, 24], "padded to whole words");
    assert_eq!(reassemble(&pieces), odd.payload);
}

#[test]
fn too_big_with_df_says_how_big() {
    run(vec![
        Case {
            name: "3/4 with the next-hop MTU",
            rx: vec![(
                LAN,
                Datagram { fragment: DF, payload: udp(1, 2, 549), ..Datagram::to("10.9.0.1") }.on(LAN),
            )],
            verdict: Reply,
            tx: vec![Out::Icmp(LAN, CLIENT, 3, 4, 576, "192.0.2.1")],
            moved: &[("drop too-big", 1), ("icmp 3/4", 1)],
        },
        Case {
            name: "a fragment with DF as well",
            rx: vec![(
                LAN,
                Datagram { fragment: DF | MF, payload: udp(1, 2, 800), ..Datagram::to("10.9.0.1") }.on(LAN),
            )],
            verdict: Reply,
            tx: vec![Out::Icmp(LAN, CLIENT, 3, 4, 576, "192.0.2.1")],
            moved: &[("drop too-big", 1), ("icmp 3/4", 1)],
        },
        Case {
            name: "just fits",
            rx: vec![(
                LAN,
                Datagram { fragment: DF, payload: udp(1, 2, 548), ..Datagram::to("10.9.0.1") }.on(LAN),
            )],
            verdict: Tx,
            tx: vec![Out::Forwarded(THIN, "203.0.113.2")],
            moved: &[],
        },
    ]);
}

#[test]
fn fragmentation_that_cannot_be_done_drops_and_leaks_nothing() {
    let big = |name, word| Case {
        name,
        rx: vec![(
            LAN,
            Datagram { fragment: word, payload: udp(1, 2, 1400), ..Datagram::to("10.9.0.1") }.on(LAN),
        )],
        verdict: Drop,
        tx: vec![],
        moved: &[("drop fragment-failed", 1)],
    };
    run_on(vec![big("no free frames", 0)], |router| {
        router.frames -= router.bench.free.len() - 1;
        router.bench.free.truncate(1);
    });
    run_on(vec![big("an MTU without room for data", 0)], |router| {
        router.writer.port_set(THIN, Link { mac: router_mac(THIN), mtu: 27, vlan: Vlan::Untagged });
    });
    run(vec![big("a fragment that ends beyond 65535", 0x1fff)]);
}

/// The queue takes two of three: the third is of no use alone, but two are gone.
#[test]
fn a_queue_that_fills_between_fragments() {
    let memory = memory();
    let mut router = Router::new(&memory);
    router.bench.tx_room = 2;
    let datagram = Datagram { payload: udp(1, 2, 1400), ..Datagram::to("10.9.0.1") };
    router.receive([(LAN, &datagram.on(LAN)[..])]);
    let expected = [("drop tx-full", 1), ("verdict drop", 1)];
    assert_eq!(router.counts(), expected.map(|(name, n)| (name.to_owned(), n)).into());
    assert_eq!(router.page.port(THIN).tx_packets, 2);
}
