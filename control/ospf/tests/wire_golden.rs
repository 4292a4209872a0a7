//! Packets captured from FRR ospfd 8.4.4 and BIRD 2.0.12 (`golden/capture.sh`): what they say, and that ours are the same octets.

use std::collections::BTreeMap;

use millrace_ospf::wire::{
    Authentication, Body, Lsa, LsaBody, LsaType, Packet, PacketType, Protection, encode, fletcher,
};
use millrace_proto::{Algorithm, Key, KeyId, Lifetime, Secret};

struct Captured {
    scenario: &'static str,
    source: &'static str,
    payload: Vec<u8>,
}

fn captures() -> Vec<Captured> {
    let text = include_str!("golden/frr-bird.txt");
    let parse = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a capture line has five words");
        let (scenario, source, _destination) = (word(), word(), word());
        assert_eq!(word(), "1", "the TTL of {line}");
        let hex = word();
        let payload = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
            .collect();
        Captured { scenario, source, payload }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(parse).collect()
}

fn key(scenario: &str) -> Option<Key> {
    let (id, algorithm) = match scenario {
        "md5" => (7, Algorithm::KeyedMd5),
        "hmac-sha1" => (9, Algorithm::HmacSha1),
        "hmac-sha256" => (9, Algorithm::HmacSha256),
        "hmac-sha384" => (9, Algorithm::HmacSha384),
        "hmac-sha512" => (9, Algorithm::HmacSha512),
        _ => return None,
    };
    let secret = Secret::new(*b"ospfkey");
    Some(Key { id: KeyId(id), algorithm, secret, send: Lifetime::ALWAYS, accept: Lifetime::ALWAYS })
}

/// Every captured packet decodes, carries the authentication of its scenario, and comes out of our encoder as it was.
#[test]
fn captured_packets_decode_verify_and_encode_to_the_same_octets() {
    let captures = captures();
    let mut kinds: BTreeMap<PacketType, usize> = BTreeMap::new();
    for captured in &captures {
        let Captured { scenario, source, payload } = captured;
        let packet = Packet::decode(payload).unwrap_or_else(|error| panic!("{scenario} {source}: {error}"));
        *kinds.entry(packet.kind).or_default() += 1;
        let secret = Secret::new(*b"ospfkey");
        let signing_key = key(scenario);
        let protection = match packet.authentication {
            Authentication::None => {
                assert!(matches!(*scenario, "none" | "p2p" | "nssa"), "{scenario} {source}");
                Protection::None
            }
            Authentication::Simple(password) => {
                assert_eq!((*scenario, &password), ("simple", b"ospfkey\0"));
                Protection::Simple(&secret)
            }
            Authentication::Cryptographic { key: id, sequence, signed, code } => {
                let key = signing_key.as_ref().expect("a scenario with a key");
                assert_eq!(id, key.id);
                assert!(key.algorithm.verify(&key.secret, signed, code), "{scenario} {source}");
                Protection::Cryptographic { key, sequence }
            }
        };
        let body = packet.body().unwrap_or_else(|error| panic!("{scenario} {source}: {error}"));
        let ours = encode(packet.router, packet.area, &body, protection);
        assert_eq!(*payload, ours, "{scenario} {source} {:?}", packet.kind);
    }
    assert!(60 <= captures.len());
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

fn lsas(scenario: &str) -> Vec<Lsa> {
    let mut all = Vec::new();
    for captured in captures().iter().filter(|captured| captured.scenario == scenario) {
        let packet = Packet::decode(&captured.payload).and_then(|packet| packet.body());
        if let Ok(Body::Update(update)) = packet {
            assert_eq!(update.bad, []);
            all.extend(update.lsas);
        }
    }
    all
}

/// LSAs of each type as the daemons were configured to originate them, and built anew from what they say.
#[test]
fn captured_lsas_mean_what_was_configured() {
    let all = lsas("none");
    for lsa in &all {
        let rebuilt = Lsa::new(lsa.key(), lsa.header.options, lsa.header.sequence, (*lsa.body).clone());
        assert_eq!(rebuilt.with_age(lsa.header.age), *lsa, "{}", lsa.key());
    }
    let say = |kind: LsaType, router: &str| {
        let of = |lsa: &&Lsa| lsa.key().kind == kind && lsa.key().router.to_string() == router;
        let mut texts: Vec<String> =
            all.iter().filter(of).map(|lsa| format!("{} {:?}", lsa.key().id, lsa.body)).collect();
        texts.sort();
        texts.dedup();
        texts
    };
    assert_eq!(
        say(LsaType::External, "2.2.2.2"),
        [
            "198.51.100.0 External(External { mask: 255.255.255.128, type_2: false, metric: 77, forwarding: 10.77.0.9, tag: 4660 })"
        ]
    );
    let of_bird = say(LsaType::External, "1.1.1.1").join("\n");
    // BIRD names every network by its last address.
    let expected = "192.0.2.31 External(External { mask: 255.255.255.224, type_2: true, metric: 5000, forwarding: 0.0.0.0, tag: 305419896 })";
    assert!(of_bird.contains(expected), "{of_bird}");
    let stub = say(LsaType::Router, "1.1.1.1").join("\n");
    assert!(stub.contains("kind: Stub, id: 10.1.1.0, data: 255.255.255.0, metric: 33"), "{stub}");
    let summary = say(LsaType::Summary, "2.2.2.2");
    assert!(summary.iter().any(|text| text.starts_with("10.2.2.")), "{summary:?}");
    assert!(lsas("nssa").iter().any(|lsa| {
        lsa.key().kind == LsaType::Nssa
            && matches!(&*lsa.body, LsaBody::External(external) if external.mask.to_bits() != 0)
    }));
}

#[test]
fn every_flipped_bit_of_an_lsa_is_seen() {
    let lsa = lsas("none").into_iter().find(|lsa| lsa.key().kind == LsaType::Router).unwrap();
    let mut octets = Vec::new();
    lsa.encode(&mut octets);
    assert_eq!(fletcher(&octets[2..], 14), lsa.header.checksum);
    for bit in 16..octets.len() * 8 {
        let mut bad = octets.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Lsa::from_octets(&bad).is_err(), "bit {bit}");
    }
}
