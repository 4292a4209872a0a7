//! Datagrams captured from FRR ripd 8.4.4 and BIRD 2.0.12 (`golden/capture.sh`): what they say, and that ours are the same octets.

use millrace_proto::{Algorithm, Key, KeyId, Lifetime, Secret};
use millrace_rip::wire::{Authentication, Command, Entry, Packet, Protection, Version, encode};

struct Captured {
    scenario: &'static str,
    source: &'static str,
    destination: &'static str,
    payload: Vec<u8>,
}

fn captures() -> Vec<Captured> {
    let text = include_str!("golden/frr-bird.txt");
    let parse = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a capture line has seven words");
        let (scenario, source) = (word(), word());
        assert_eq!(word(), "520");
        let destination = word();
        assert_eq!((word(), word()), ("520", "1"), "{line}");
        let hex = word();
        let payload = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
            .collect();
        Captured { scenario, source, destination, payload }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(parse).collect()
}

fn key(scenario: &str) -> Option<Key> {
    let (id, algorithm) = match scenario {
        "md5-rfc" | "md5-old-ripd" => (7, Algorithm::KeyedMd5),
        "hmac-sha1" | "hmac-sha1-long" => (9, Algorithm::HmacSha1),
        "hmac-sha256" => (9, Algorithm::HmacSha256),
        "hmac-sha384" => (9, Algorithm::HmacSha384),
        "hmac-sha512" => (9, Algorithm::HmacSha512),
        _ => return None,
    };
    let secret = match scenario {
        "hmac-sha1-long" => Secret::new(*b"a key of more than twenty octets, but fewer than 64"),
        _ => Secret::new(*b"ripkey"),
    };
    Some(Key { id: KeyId(id), algorithm, secret, send: Lifetime::ALWAYS, accept: Lifetime::ALWAYS })
}

/// Every captured message decodes, carries the authentication of its scenario, and comes out of our encoder as it was.
#[test]
fn captured_messages_decode_verify_and_encode_to_the_same_octets() {
    let captures = captures();
    assert!(30 <= captures.len());
    for captured in captures {
        let Captured { scenario, source, payload, .. } = &captured;
        let packet = Packet::decode(payload).unwrap_or_else(|error| panic!("{scenario} {source}: {error}"));
        assert_eq!(packet.version, Version::V2);
        let secret = Secret::new(*b"ripkey");
        let signing_key = key(scenario);
        let protection = match packet.authentication {
            // FRR asks for tables without authentication whatever is configured.
            Authentication::None => {
                assert!(*scenario == "none" || packet.command == Command::Request, "{scenario} {source}");
                Protection::None
            }
            Authentication::Plain(password) => {
                assert_eq!((*scenario, &password), ("plain", b"ripkey\0\0\0\0\0\0\0\0\0\0"));
                Protection::Plain(&secret)
            }
            Authentication::Cryptographic { key: id, sequence, signed, code } => {
                let key = signing_key.as_ref().unwrap();
                assert_eq!(id, key.id);
                assert!(key.algorithm.verify(&key.secret, signed, code), "{scenario} {source}");
                Protection::Cryptographic { key, sequence }
            }
        };
        let entries: Vec<Entry> = packet.entries().collect();
        let ours = encode(packet.command, packet.version, &entries, protection);
        if counts_the_trailer_header(scenario, source)
            && signing_key.is_some()
            && packet.authentication != Authentication::None
        {
            // The length octet differs, and with it the code; everything else is the same.
            assert_eq!(payload[11], ours[11] + 4, "{scenario} {source}");
            let end = ours.len() - 16;
            assert_eq!(
                (&payload[..11], &payload[12..end]),
                (&ours[..11], &ours[12..end]),
                "{scenario} {source}"
            );
        } else {
            assert_eq!(*payload, ours, "{scenario} {source}");
        }
    }
}

/// BIRD always, and FRR with `auth-length old-ripd`, count the trailer's header in the length of an MD5 code.
fn counts_the_trailer_header(scenario: &str, source: &str) -> bool {
    matches!((scenario, source), ("md5-rfc" | "md5-old-ripd", "10.77.0.1") | ("md5-old-ripd", "10.77.0.2"))
}

/// Tags, next hops, masks and metrics as the daemons were configured to send them.
#[test]
fn captured_entries_mean_what_was_configured() {
    let find = |source: &str, destination: &str, command: Command| {
        let all = captures();
        let is = |c: &&Captured| {
            let command_matches = Packet::decode(&c.payload).unwrap().command == command;
            c.scenario == "none" && c.source == source && c.destination == destination && command_matches
        };
        let found = all.iter().find(is).unwrap();
        Packet::decode(&found.payload).unwrap().entries().map(|e| show(&e)).collect::<Vec<_>>()
    };
    let request: Vec<Entry> = Packet::decode(&captures()[0].payload).unwrap().entries().collect();
    assert_eq!(request, [Entry::WHOLE_TABLE]);
    assert!(request[0].asks_for_everything());
    assert_eq!(
        find("10.77.0.2", "224.0.0.9", Command::Response),
        [
            "family 2 tag 0 10.2.2.0/255.255.255.0 via 0.0.0.0 metric 1",
            "family 2 tag 4660 198.51.100.0/255.255.255.128 via 10.77.0.9 metric 3",
        ]
    );
    assert_eq!(
        find("10.77.0.1", "10.77.0.2", Command::Response),
        [
            "family 2 tag 65535 0.0.0.0/0.0.0.0 via 0.0.0.0 metric 5",
            "family 2 tag 65535 192.0.2.0/255.255.255.224 via 0.0.0.0 metric 5",
            "family 2 tag 65535 203.0.113.64/255.255.255.192 via 10.77.0.8 metric 5",
        ]
    );
}

fn show(entry: &Entry) -> String {
    let Entry { family, tag, address, mask, next_hop, metric } = entry;
    format!("family {family} tag {tag} {address}/{mask} via {next_hop} metric {metric}")
}
