//! What holds for all octets: decoding never panics, and what is encoded decodes to what it was. And for all inputs: the
//! machine answers with packets that are in order, and keeps its own LSAs whatever others say of them.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{A, A_ID, ETH0, OWN_ID, Router, datagram};
use millrace_ospf::wire::{
    AreaId, Body, Description, External, Hello, LinkKind, Lsa, LsaBody, LsaHeader, LsaKey, LsaType, Network,
    Options, Packet, Protection, RouterFlags, RouterId, RouterLink, RouterLsa, Summary, Update, encode,
};
use millrace_ospf::{Input, Output};
use millrace_proto::{Algorithm, Key, KeyId, Lifetime, Secret};
use proptest::prelude::*;

fn addr() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

fn mask() -> impl Strategy<Value = Ipv4Addr> {
    (0u32..=32).prop_map(|len| Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - len).unwrap_or(0)))
}

/// Few values, so that LSAs meet each other; the router's own id and address among them.
fn name() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        Just(OWN_ID.0),
        Just(A_ID.0),
        Just(A),
        Just(Ipv4Addr::new(10, 0, 0, 1)),
        (0u8..4).prop_map(|n| Ipv4Addr::new(10, 9, n, 0))
    ]
}

fn body(kind: LsaType) -> BoxedStrategy<LsaBody> {
    let link = (0u8..4, name(), name(), any::<u16>()).prop_map(|(kind, id, data, metric)| {
        let kind =
            [LinkKind::PointToPoint, LinkKind::Transit, LinkKind::Stub, LinkKind::Virtual][usize::from(kind)];
        RouterLink { kind, id, data, metric }
    });
    match kind {
        LsaType::Router => (any::<[bool; 4]>(), proptest::collection::vec(link, 0..5))
            .prop_map(|([border, boundary, virtual_end, translator], links)| {
                LsaBody::Router(RouterLsa {
                    flags: RouterFlags { border, boundary, virtual_end, translator },
                    links,
                })
            })
            .boxed(),
        LsaType::Network => (mask(), proptest::collection::vec(name().prop_map(RouterId), 0..4))
            .prop_map(|(mask, routers)| LsaBody::Network(Network { mask, routers }))
            .boxed(),
        LsaType::Summary | LsaType::AsbrSummary => (mask(), 0u32..0x100_0000)
            .prop_map(|(mask, metric)| LsaBody::Summary(Summary { mask, metric }))
            .boxed(),
        LsaType::External | LsaType::Nssa => (mask(), any::<bool>(), 0u32..0x100_0000, name(), any::<u32>())
            .prop_map(|(mask, type_2, metric, forwarding, tag)| {
                LsaBody::External(External { mask, type_2, metric, forwarding, tag })
            })
            .boxed(),
        LsaType::OpaqueLink | LsaType::OpaqueArea | LsaType::OpaqueAs => {
            proptest::collection::vec(any::<u8>(), 0..24).prop_map(LsaBody::Opaque).boxed()
        }
    }
}

fn lsa() -> impl Strategy<Value = Lsa> {
    (0..LsaType::ALL.len(), name(), name(), any::<u8>(), any::<i32>(), 0u16..=3600).prop_flat_map(
        |(kind, id, router, options, sequence, age)| {
            let key = LsaKey { kind: LsaType::ALL[kind], id, router: RouterId(router) };
            let age = if age % 4 == 0 { 3600 } else { age };
            body(key.kind).prop_map(move |body| Lsa::new(key, Options(options), sequence, body).with_age(age))
        },
    )
}

fn header() -> impl Strategy<Value = LsaHeader> {
    lsa().prop_map(|lsa| lsa.header)
}

fn hello() -> impl Strategy<Value = Hello> {
    (
        addr(),
        any::<u16>(),
        any::<u8>(),
        any::<u8>(),
        any::<u32>(),
        addr(),
        addr(),
        proptest::collection::vec(name(), 0..5),
    )
        .prop_map(
            |(mask, hello_interval, options, priority, dead_interval, designated, backup, neighbors)| Hello {
                mask,
                hello_interval,
                options: Options(options),
                priority,
                dead_interval,
                designated,
                backup,
                neighbors: neighbors.into_iter().map(RouterId).collect(),
            },
        )
}

fn packet_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        hello().prop_map(Body::Hello),
        (
            any::<u16>(),
            any::<u8>(),
            any::<[bool; 3]>(),
            any::<u32>(),
            proptest::collection::vec(header(), 0..5)
        )
            .prop_map(|(mtu, options, [init, more, master], sequence, headers)| {
                Body::Description(Description {
                    mtu,
                    options: Options(options),
                    init,
                    more,
                    master,
                    sequence,
                    headers,
                })
            }),
        proptest::collection::vec(lsa().prop_map(|lsa| lsa.key()), 0..5).prop_map(Body::Request),
        proptest::collection::vec(lsa(), 0..5)
            .prop_map(|lsas| Body::Update(Update { lsas, bad: Vec::new() })),
        proptest::collection::vec(header(), 0..5).prop_map(Body::Ack),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    (any::<u8>(), 0..Algorithm::ALL.len(), proptest::collection::vec(any::<u8>(), 1..=16)).prop_map(
        |(id, algorithm, secret)| Key {
            id: KeyId(id),
            algorithm: Algorithm::ALL[algorithm],
            secret: Secret::new(secret),
            send: Lifetime::ALWAYS,
            accept: Lifetime::ALWAYS,
        },
    )
}

proptest! {
    #[test]
    fn any_octets_are_answered(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Packet::decode(&octets).and_then(|packet| packet.body());
        let _ = Lsa::from_octets(&octets);
    }

    /// The same, past the first checks: a header without authentication and with a right checksum, then anything.
    #[test]
    fn any_body_is_answered(kind in 0u8..7, rest in proptest::collection::vec(any::<u8>(), 0..160)) {
        let len = u8::try_from(24 + rest.len()).unwrap();
        let mut octets = vec![2, kind, 0, len, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        octets.extend(rest);
        let sum = millrace_net::checksum::checksum(&octets);
        octets[12..14].copy_from_slice(&sum.to_be_bytes());
        if let Ok(packet) = Packet::decode(&octets) {
            let _ = packet.body();
        } else {
            prop_assert!(kind == 0 || 5 < kind);
        }
    }

    #[test]
    fn decode_inverts_encode(body in packet_body(), key in key(), sequence: u32, kind in 0u8..3, router in addr(), area in addr()) {
        let secret = key.secret.clone();
        let protection = match kind {
            0 => Protection::None,
            1 => Protection::Simple(&secret),
            _ => Protection::Cryptographic { key: &key, sequence },
        };
        let octets = encode(RouterId(router), AreaId(area), &body, protection);
        let packet = Packet::decode(&octets).unwrap();
        prop_assert_eq!((packet.router, packet.area), (RouterId(router), AreaId(area)));
        prop_assert_eq!(packet.body().unwrap(), body);
        for cut in 0..octets.len() {
            prop_assert!(Packet::decode(&octets[..cut]).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// A Full neighbour sends LSAs that look right, in any order, of any router, this one's own among them. Nothing
    /// panics, whatever is sent is in order, and the router's own LSA says at last what it said before.
    #[test]
    fn plausible_packets_do_no_harm(steps in proptest::collection::vec((packet_body(), 0u64..4000), 1..40)) {
        let mut router = Router::full();
        let own = |router: &Router| {
            let lsas = router.ospf.lsas(router.now, Some(LsaType::Router));
            let own: Vec<_> = lsas.into_iter().filter(|lsa| lsa.advertising_router == OWN_ID && lsa.id == OWN_ID.0).collect();
            own.first().map(|lsa| lsa.body.clone())
        };
        for (body, millis) in steps {
            let octets = encode(A_ID, AreaId::BACKBONE, &body, Protection::None);
            check(&router.input(Input::Datagram(datagram(ETH0, A, octets))))?;
            check(&router.advance(Duration::from_millis(millis)))?;
        }
        // All is said, and what was flooded has been repeated and given up: the neighbour is silent.
        check(&router.advance(Duration::from_secs(300)))?;
        let expected = Router::lonely();
        prop_assert_eq!(own(&router), own(&expected));
        prop_assert!(router.ospf.neighbors(router.now).is_empty());
    }
}

fn check(outputs: &[Output]) -> Result<(), TestCaseError> {
    for output in outputs {
        if let Output::Send(transmit) = output {
            let packet = Packet::decode(&transmit.payload);
            prop_assert!(packet.is_ok_and(|packet| packet.body().is_ok()));
            prop_assert!(transmit.payload.len() <= 1480);
        }
    }
    Ok(())
}
