//! What is sent in answer to what, packet by packet: the exchange with a neighbour, flooding, own LSAs, and everything that
//! is refused, which changes nothing but a counter.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{
    A, A_ID, ETH0, OWN_ID, Router, config, datagram, description, hello, point_to_point, sent, update,
};
use millrace_ospf::config::Authentication;
use millrace_ospf::wire::{
    ALL_ROUTERS, AreaId, Body, External, Hello, INITIAL_SEQUENCE, Lsa, LsaBody, LsaKey, LsaType, MAX_AGE,
    MAX_SEQUENCE, Options, Protection, RouterFlags, RouterId, RouterLsa, encode,
};
use millrace_ospf::{BadLsa, BadPacket, Config, Input, InterfaceConfig, Notice, Output};
use millrace_proto::{Algorithm, Key, KeyChain, KeyId, Lifetime, Secret};

const SECOND: Duration = Duration::from_secs(1);
/// A router beyond A.
const FAR: RouterId = RouterId(Ipv4Addr::new(9, 9, 9, 9));

/// `seconds` after the adjacency: past MinLSArrival and the throttle.
fn full_for(seconds: u64) -> Router {
    let mut router = Router::full();
    for _ in 0..seconds {
        router.advance(SECOND);
        router.hear(&hello(&[OWN_ID]));
    }
    router
}

fn router_lsa(router: RouterId, sequence: i32, age: u16) -> Lsa {
    let key = LsaKey { kind: LsaType::Router, id: router.0, router };
    let body = RouterLsa { flags: RouterFlags::default(), links: Vec::new() };
    Lsa::new(key, Options::E, sequence, LsaBody::Router(body)).with_age(age)
}

fn external(sequence: i32, age: u16) -> Lsa {
    let key = LsaKey { kind: LsaType::External, id: Ipv4Addr::new(198, 51, 100, 0), router: FAR };
    let (mask, forwarding) = (Ipv4Addr::new(255, 255, 255, 0), Ipv4Addr::UNSPECIFIED);
    let body = External { mask, type_2: true, metric: 20, forwarding, tag: 0 };
    Lsa::new(key, Options::E, sequence, LsaBody::External(body)).with_age(age)
}

/// Packets in words: `hello`, `update router 1.1.1.1 #2`, `ack router 9.9.9.9`.
fn words(outputs: &[Output]) -> Vec<String> {
    let number = |sequence: i32| sequence.wrapping_sub(INITIAL_SEQUENCE).wrapping_add(1);
    let packet = |(to, body): (Ipv4Addr, Body)| {
        let to = if to == ALL_ROUTERS { "all" } else { "one" };
        let what = match body {
            Body::Hello(hello) => format!("hello {:?}", hello.neighbors),
            Body::Description(d) => {
                let flags: String = [(d.init, 'I'), (d.more, 'M'), (d.master, 'S')]
                    .iter()
                    .filter(|(set, _)| *set)
                    .map(|(_, flag)| *flag)
                    .collect();
                format!("description {flags} {}", d.headers.len())
            }
            Body::Request(keys) => format!("request {keys:?}"),
            Body::Update(update) => {
                let lsa = |lsa: &Lsa| {
                    let dying = if lsa.header.age == MAX_AGE { " dying" } else { "" };
                    format!(
                        "{} {} #{}{dying}",
                        lsa.key().kind.name(),
                        lsa.key().router,
                        number(lsa.header.sequence)
                    )
                };
                format!("update {}", update.lsas.iter().map(lsa).collect::<Vec<_>>().join(", "))
            }
            Body::Ack(headers) => {
                let header = |h: &millrace_ospf::wire::LsaHeader| {
                    format!("{} {} #{}", h.key.kind.name(), h.key.router, number(h.sequence))
                };
                format!("ack {}", headers.iter().map(header).collect::<Vec<_>>().join(", "))
            }
        };
        format!("{to}: {what}")
    };
    sent(outputs).into_iter().map(packet).collect()
}

/// From the first hello to Full, with A leading and one LSA to be fetched from it.
#[test]
fn an_adjacency_forms() {
    let mut router = Router::lonely();
    router.advance(SECOND);
    assert_eq!(words(&router.hear(&hello(&[]))), ["all: hello [2.2.2.2]"]);
    assert_eq!(words(&router.hear(&hello(&[OWN_ID]))), ["one: description IMS 0"]);
    let theirs = router_lsa(A_ID, 1, 5);
    assert_eq!(words(&router.hear(&description(77, "IMS", &[]))), ["one: description  1"]);
    let answers = words(&router.hear(&description(78, "S", &[theirs.header])));
    assert_eq!(answers, ["one: description  0", "one: request [router 2.2.2.2 of 2.2.2.2]"]);
    // The last description again, as if our answer was lost: it is repeated, and nothing else changes.
    assert_eq!(words(&router.hear(&description(78, "S", &[theirs.header]))), ["one: description  0"]);
    assert_eq!(router.ospf.neighbors(router.now)[0].state.name(), "loading");
    let outputs = router.hear(&update(std::slice::from_ref(&theirs)));
    assert_eq!(router.ospf.neighbors(router.now)[0].state.name(), "full");
    // The own LSA follows, held back since the last one is young.
    assert_eq!(words(&outputs), Vec::<String>::new());
    let outputs = router.advance(2 * SECOND);
    // The number of A's LSA counts from the lowest there is.
    let number = 1i32.wrapping_sub(INITIAL_SEQUENCE).wrapping_add(1);
    assert_eq!(
        words(&outputs),
        ["all: update router 1.1.1.1 #2".to_owned(), format!("all: ack router 2.2.2.2 #{number}")]
    );
}

/// What is asked for is sent; what there is not is a reason to begin again.
#[test]
fn requests() {
    let mut router = full_for(3);
    let own = LsaKey { kind: LsaType::Router, id: OWN_ID.0, router: OWN_ID };
    assert_eq!(words(&router.hear(&Body::Request(vec![own]))), ["one: update router 1.1.1.1 #2"]);
    let other = LsaKey { router: FAR, ..own };
    assert_eq!(words(&router.hear(&Body::Request(vec![other]))), ["one: description IMS 0"]);
    assert_eq!(router.ospf.neighbors(router.now)[0].state.name(), "exstart");
}

/// Every reason for which an LSA is flooded on, acknowledged, answered or left alone. RFC 2328 §13.
#[test]
fn flooding() {
    let mut router = full_for(3);
    // An LSA that nobody has is taken in, and acknowledged with others a moment later.
    assert_eq!(words(&router.hear(&update(&[router_lsa(FAR, 5, 1)]))), Vec::<String>::new());
    let acks = words(&router.advance(SECOND / 2));
    assert_eq!(acks.len(), 1, "{acks:?}");
    assert!(acks[0].starts_with("all: ack router 9.9.9.9"), "{acks:?}");
    // The same again is acknowledged at once.
    assert!(words(&router.hear(&update(&[router_lsa(FAR, 5, 1)])))[0].starts_with("one: ack"));
    // Within a second of the last a newer one is not looked at.
    assert_eq!(words(&router.hear(&update(&[router_lsa(FAR, 6, 1)]))), Vec::<String>::new());
    let bad = |router: &Router, reason| router.ospf.interfaces(router.now)[0].stats.bad_lsas.get(reason);
    assert_eq!(bad(&router, BadLsa::TooSoon), 1);
    router.advance(SECOND);
    router.hear(&update(&[router_lsa(FAR, 6, 1)]));
    router.advance(2 * SECOND);
    // An older one is answered with the newer.
    let answer = words(&router.hear(&update(&[router_lsa(FAR, 5, 1)])));
    assert!(answer[0].starts_with("one: update router 9.9.9.9"), "{answer:?}");
    // What is withdrawn and was never known is acknowledged and forgotten.
    let before = router.ospf.lsas(router.now, None).len();
    assert!(words(&router.hear(&update(&[external(3, MAX_AGE)])))[0].starts_with("one: ack external"));
    assert_eq!(router.ospf.lsas(router.now, None).len(), before);
    // What is withdrawn and known goes, since nobody else has to acknowledge it.
    router.hear(&update(&[external(3, 1)]));
    router.advance(2 * SECOND);
    assert_eq!(router.ospf.lsas(router.now, Some(LsaType::External)).len(), 1);
    router.hear(&update(&[external(3, MAX_AGE)]));
    assert_eq!(router.ospf.lsas(router.now, Some(LsaType::External)).len(), 0);
}

/// What is not acknowledged is sent again every five seconds, to the neighbour alone; an acknowledgement ends it.
#[test]
fn retransmission() {
    let mut router = full_for(1);
    let outputs = router.advance(SECOND);
    assert_eq!(words(&outputs), ["all: update router 1.1.1.1 #2"]);
    let again: Vec<String> =
        words(&router.advance(12 * SECOND)).into_iter().filter(|w| w.contains("update")).collect();
    assert_eq!(again, ["one: update router 1.1.1.1 #2", "one: update router 1.1.1.1 #2"]);
    let Some((_, Body::Update(last))) = sent(&outputs).into_iter().next() else { panic!("an update") };
    router.hear(&Body::Ack(vec![last.lsas[0].header]));
    router.hear(&hello(&[OWN_ID]));
    let after = words(&router.advance(12 * SECOND));
    assert!(after.iter().all(|w| w.contains("hello")), "{after:?}");
    assert_eq!(router.ospf.neighbors(router.now)[0].retransmissions, 2);
}

/// Others carry an instance of this router's LSA that is newer than its own: it is outbid at once (§13.4); the highest
/// sequence number is withdrawn first (§12.1.6).
#[test]
fn own_lsas_of_an_earlier_life() {
    let mut router = full_for(3);
    let outputs = router.hear(&update(&[router_lsa(OWN_ID, 500, 1)]));
    let number = 501i32.wrapping_sub(INITIAL_SEQUENCE).wrapping_add(1);
    let all = words(&outputs);
    assert!(all.contains(&format!("all: update router 1.1.1.1 #{number}")), "{all:?}");
    router.advance(2 * SECOND);
    let outputs = router.hear(&update(&[router_lsa(OWN_ID, MAX_SEQUENCE, 1)]));
    let all = words(&outputs);
    assert!(all.iter().any(|w| w.ends_with("dying")), "{all:?}");
    // Everybody has acknowledged it: it begins anew.
    let dying = router_lsa(OWN_ID, MAX_SEQUENCE, MAX_AGE);
    let outputs = router.hear(&Body::Ack(vec![dying.header]));
    let all = words(&outputs);
    let more = words(&router.advance(10 * SECOND));
    assert!(
        all.iter().chain(&more).any(|w| w.contains("update router 1.1.1.1 #1") && !w.contains("dying")),
        "{all:?} {more:?}"
    );
    // An external route it does not have any more is withdrawn.
    let key = LsaKey { router: OWN_ID, ..external(1, 1).key() };
    let old = Lsa::new(key, Options::E, 7, (*external(1, 1).body).clone());
    router.hear(&hello(&[OWN_ID]));
    let all = words(&router.hear(&update(&[old])));
    assert!(all.iter().any(|w| w.contains("external 1.1.1.1") && w.ends_with("dying")), "{all:?}");
}

/// A neighbour that announces its restart keeps its adjacency in the LSA while it is silent; a changed topology ends that.
#[test]
fn a_restarting_neighbour_is_helped() {
    let grace = |sequence, age| {
        let key = LsaKey { kind: LsaType::OpaqueLink, id: Ipv4Addr::new(3, 0, 0, 0), router: A_ID };
        let tlvs = [0, 1, 0, 4, 0, 0, 0, 120, 0, 2, 0, 1, 1, 0, 0, 0];
        Lsa::new(key, Options::E, sequence, LsaBody::Opaque(tlvs.to_vec())).with_age(age)
    };
    let adjacent = |router: &Router| {
        let own = router.ospf.lsas(router.now, Some(LsaType::Router)).into_iter();
        let own =
            own.filter(|lsa| lsa.advertising_router == OWN_ID).map(|lsa| format!("{:?}", lsa.body)).next();
        own.is_some_and(|body| body.contains("PointToPoint"))
    };
    let mut router = full_for(3);
    let outputs = router.hear(&update(&[grace(1, 1)]));
    assert!(outputs.contains(&Output::Notice(Notice::HelperEntered(A_ID))), "{outputs:?}");
    router.advance(60 * SECOND);
    assert!(adjacent(&router));
    // It is back: a hello without us, and the exchange from the start.
    router.hear(&hello(&[]));
    assert!(adjacent(&router));
    router.hear(&hello(&[OWN_ID]));
    router.hear(&description(9000, "IMS", &[]));
    router.hear(&description(9001, "S", &[]));
    let outputs = router.hear(&update(&[grace(1, MAX_AGE)]));
    assert_eq!(router.ospf.neighbors(router.now)[0].state.name(), "full");
    assert!(!outputs.contains(&Output::Notice(Notice::HelperEntered(A_ID))));
    assert!(adjacent(&router) && router.ospf.neighbors(router.now)[0].helped_for.is_none());

    // The grace period ends without it.
    let mut router = full_for(3);
    router.hear(&update(&[grace(1, 1)]));
    router.advance(125 * SECOND);
    assert!(!adjacent(&router) && router.ospf.neighbors(router.now).is_empty());
}

/// One packet for each reason: it is counted under it, and the neighbour and the database stay as they were.
#[test]
fn packets_that_are_refused() {
    let plain = |body: &Body| encode(A_ID, AreaId::BACKBONE, body, Protection::None);
    let good = plain(&hello(&[OWN_ID]));
    let with = |change: fn(&mut Hello)| {
        let Body::Hello(mut body) = hello(&[OWN_ID]) else { unreachable!() };
        change(&mut body);
        encode(A_ID, AreaId::BACKBONE, &Body::Hello(body), Protection::None)
    };
    let secret = Secret::new(*b"password");
    let key = key(1);
    let mut bad_checksum = good.clone();
    bad_checksum[30] ^= 1;
    let mut bad_version = good.clone();
    bad_version[0] = 3;
    let mut bad_type = good.clone();
    bad_type[1] = 6;
    let elsewhere = Ipv4Addr::new(10, 0, 0, 66);
    let cases: Vec<(BadPacket, Vec<u8>, Ipv4Addr)> = vec![
        (BadPacket::Truncated, good[..20].to_vec(), A),
        (BadPacket::Truncated, good[..good.len() - 1].to_vec(), A),
        (BadPacket::Version, bad_version, A),
        (BadPacket::Type, bad_type, A),
        (BadPacket::Checksum, bad_checksum, A),
        (BadPacket::Own, encode(OWN_ID, AreaId::BACKBONE, &hello(&[]), Protection::None), A),
        (BadPacket::Own, good.clone(), Ipv4Addr::new(10, 0, 0, 1)),
        (BadPacket::Area, encode(A_ID, AreaId(Ipv4Addr::new(0, 0, 0, 7)), &hello(&[]), Protection::None), A),
        (BadPacket::AuthType, encode(A_ID, AreaId::BACKBONE, &hello(&[]), Protection::Simple(&secret)), A),
        (
            BadPacket::AuthType,
            encode(A_ID, AreaId::BACKBONE, &hello(&[]), Protection::Cryptographic { key: &key, sequence: 1 }),
            A,
        ),
        (BadPacket::HelloInterval, with(|hello| hello.hello_interval = 9), A),
        (BadPacket::DeadInterval, with(|hello| hello.dead_interval = 41), A),
        (BadPacket::AreaKind, with(|hello| hello.options = Options::default()), A),
        (BadPacket::AreaKind, with(|hello| hello.options = Options(0x0a)), A),
        (
            BadPacket::UnknownNeighbor,
            encode(FAR, AreaId::BACKBONE, &update(&[router_lsa(FAR, 1, 1)]), Protection::None),
            elsewhere,
        ),
        (
            BadPacket::RouterId,
            encode(RouterId::NONE, AreaId::BACKBONE, &hello(&[]), Protection::None),
            elsewhere,
        ),
    ];
    for (reason, octets, source) in cases {
        let mut router = full_for(3);
        let before = (router.ospf.database_digest(router.now), router.ospf.neighbors(router.now));
        let outputs = router.input(Input::Datagram(datagram(ETH0, source, octets)));
        let after = (router.ospf.database_digest(router.now), router.ospf.neighbors(router.now));
        assert_eq!(before, after, "{reason:?}");
        assert_eq!(
            outputs,
            [Output::Notice(Notice::BadPacket { from: source, interface: ETH0, reason })],
            "{reason:?}"
        );
        let counted = router.ospf.interfaces(router.now)[0].stats.bad_packets;
        assert_eq!((counted.get(reason), counted.total()), (1, 1), "{reason:?}");
    }
}

/// A neighbour with longer packets is not spoken to, unless it is said that this does not matter.
#[test]
fn mtu() {
    for (ignore, expected) in [(false, "exstart"), (true, "exchange")] {
        let mut router = Router::new(config(InterfaceConfig { mtu_ignore: ignore, ..point_to_point() }));
        router.hear(&hello(&[OWN_ID]));
        let Body::Description(mut body) = description(5, "IMS", &[]) else { unreachable!() };
        body.mtu = 9000;
        router.hear(&Body::Description(body));
        assert_eq!(router.ospf.neighbors(router.now)[0].state.name(), expected);
    }
}

fn key(id: u8) -> Key {
    let always = Lifetime::ALWAYS;
    Key {
        id: KeyId(id),
        algorithm: Algorithm::HmacSha256,
        secret: Secret::new(*b"s3cret"),
        send: always,
        accept: always,
    }
}

/// Wrong keys, codes and replays are refused, and what is sent can be verified.
#[test]
fn cryptographic_authentication() {
    let chain = KeyChain::new("k", vec![key(1)], false).expect("a chain");
    let authentication = Authentication::Cryptographic(chain);
    let mut router = Router::new(config(InterfaceConfig { authentication, ..point_to_point() }));
    let protected = |key: &Key, sequence| {
        encode(A_ID, AreaId::BACKBONE, &hello(&[]), Protection::Cryptographic { key, sequence })
    };
    let wrong_secret = Key { secret: Secret::new(*b"other"), ..key(1) };
    let md5 = Key { algorithm: Algorithm::KeyedMd5, ..key(1) };
    for (octets, expected) in [
        (protected(&key(1), 100), None),
        (protected(&key(1), 100), None),
        (protected(&key(1), 99), Some(BadPacket::AuthReplay)),
        (protected(&key(2), 101), Some(BadPacket::AuthKey)),
        (protected(&wrong_secret, 101), Some(BadPacket::AuthFailed)),
        (protected(&md5, 101), Some(BadPacket::AuthLength)),
        (encode(A_ID, AreaId::BACKBONE, &hello(&[]), Protection::None), Some(BadPacket::AuthType)),
        (protected(&key(1), 101), None),
    ] {
        let before = router.ospf.interfaces(router.now)[0].stats.bad_packets;
        router.input(Input::Datagram(datagram(ETH0, A, octets)));
        let after = router.ospf.interfaces(router.now)[0].stats.bad_packets;
        let counted = BadPacket::ALL.iter().find(|reason| before.get(**reason) != after.get(**reason));
        assert_eq!(counted.copied(), expected);
    }
    let outputs = router.advance(11 * SECOND);
    let Some(Output::Send(transmit)) = outputs.iter().find(|output| matches!(output, Output::Send(_))) else {
        panic!("a hello")
    };
    let packet = millrace_ospf::wire::Packet::decode(&transmit.payload).expect("in order");
    let millrace_ospf::wire::Authentication::Cryptographic { signed, code, .. } = packet.authentication
    else {
        panic!("{packet:?}")
    };
    assert!(key(1).algorithm.verify(&key(1).secret, signed, code));
}

/// More LSAs than are kept: others' are refused, this router's own are not, and the operator is told.
#[test]
fn a_full_database_refuses_others() {
    let mut router = Router::new(Config { max_lsas: 3, ..config(point_to_point()) });
    router.hear(&hello(&[OWN_ID]));
    router.hear(&description(5000, "IMS", &[]));
    router.hear(&description(5001, "S", &[]));
    let far = |n: u8| router_lsa(RouterId(Ipv4Addr::new(9, 9, 9, n)), 1, 1);
    let outputs = router.hear(&update(&(1..=9).map(far).collect::<Vec<_>>()));
    assert_eq!(router.ospf.lsas(router.now, None).len(), 3);
    assert!(outputs.contains(&Output::Notice(Notice::DatabaseFull(3))));
    assert_eq!(router.ospf.interfaces(router.now)[0].stats.bad_lsas.get(BadLsa::DatabaseFull), 7);
}

/// Told again what it knows, the process does nothing.
#[test]
fn equal_inputs_change_nothing() {
    let mut router = full_for(3);
    for input in [
        Input::Configure(config(point_to_point())),
        Input::Interface(millrace_proto::InterfaceEvent::Upsert(common::interface())),
        Input::StubRouter(false),
        Input::Withdraw("192.0.2.0/24".parse().expect("a prefix")),
    ] {
        assert_eq!(router.input(input.clone()), [], "{input:?}");
    }
}

/// A description that came before this router knew its role is answered as soon as it does, not after a repetition.
#[test]
fn a_neighbour_that_begins_early_is_answered() {
    let mut router = Router::new(config(InterfaceConfig::new(AreaId::BACKBONE)));
    router.hear(&hello(&[OWN_ID]));
    assert_eq!(words(&router.hear(&description(5, "IMS", &[]))), Vec::<String>::new());
    assert_eq!(router.ospf.neighbors(router.now)[0].state.name(), "2-way");
    let Body::Hello(mut body) = hello(&[OWN_ID]) else { unreachable!() };
    body.designated = A;
    let all = words(&router.hear(&Body::Hello(body)));
    assert_eq!(router.ospf.neighbors(router.now)[0].state.name(), "exchange");
    assert!(all.contains(&"one: description  1".to_owned()), "{all:?}");
    assert_eq!(router.ospf.interfaces(router.now)[0].stats.bad_packets.total(), 0);
}
