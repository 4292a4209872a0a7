//! What holds for all octets: decoding never panics, and what is encoded decodes to what it was.

use millrace_proto::{Algorithm, Key, KeyId, Lifetime, Secret};
use millrace_rip::wire::{Authentication, Command, Entry, Packet, Protection, Version, capacity, encode};
use proptest::prelude::*;

fn entry() -> impl Strategy<Value = Entry> {
    // A family of 0xffff in front would be authentication.
    (0u16..0xffff, any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(family, tag, address, mask, next_hop, metric)| Entry {
            family,
            tag,
            address: address.into(),
            mask: mask.into(),
            next_hop: next_hop.into(),
            metric,
        },
    )
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

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![Just(Command::Request), Just(Command::Response)]
}

proptest! {
    #[test]
    fn any_octets_are_answered(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(packet) = Packet::decode(&octets) {
            prop_assert!(packet.entries().len() * 20 <= octets.len());
        }
    }

    /// The same, past the first checks: a plausible header and authentication entry, then anything.
    #[test]
    fn any_authentication_is_answered(
        command in 0u8..4, version in 0u8..4, kind in 0u8..5, rest in proptest::collection::vec(any::<u8>(), 0..120),
        len in 0u8..140,
    ) {
        let mut octets = vec![command, version, 0, 0, 0xff, 0xff, 0, kind, 0, len];
        octets.extend(rest);
        let _ = Packet::decode(&octets);
    }

    #[test]
    fn decode_inverts_encode(
        command in command(), entries in proptest::collection::vec(entry(), 0..=25), key in key(), sequence: u32, kind in 0u8..3,
    ) {
        let secret = key.secret.clone();
        let protection = match kind {
            0 => Protection::None,
            1 => Protection::Plain(&secret),
            _ => Protection::Cryptographic { key: &key, sequence },
        };
        let entries = &entries[..entries.len().min(capacity(protection))];
        let octets = encode(command, Version::V2, entries, protection);
        prop_assert!(octets.len() <= 512, "{} octets", octets.len());
        let packet = Packet::decode(&octets).unwrap();
        prop_assert_eq!((packet.command, packet.version), (command, Version::V2));
        prop_assert_eq!(packet.entries().collect::<Vec<_>>(), entries);
        match (protection, packet.authentication) {
            (Protection::None, Authentication::None) => {}
            (Protection::Plain(secret), Authentication::Plain(seen)) => prop_assert_eq!(secret.padded::<16>(), seen),
            (Protection::Cryptographic { key, sequence }, Authentication::Cryptographic { key: id, sequence: seen, signed, code }) => {
                prop_assert_eq!((key.id, sequence), (id, seen));
                prop_assert!(key.algorithm.verify(&key.secret, signed, code));
            }
            (sent, seen) => prop_assert!(false, "{sent:?} came out as {seen:?}"),
        }
    }

    #[test]
    fn version_1_keeps_family_address_and_metric(command in command(), entries in proptest::collection::vec(entry(), 0..=25)) {
        let octets = encode(command, Version::V1, &entries, Protection::None);
        let packet = Packet::decode(&octets).unwrap();
        prop_assert_eq!((packet.command, packet.version), (command, Version::V1));
        for (sent, seen) in entries.iter().zip(packet.entries()) {
            let bare = Entry { tag: 0, mask: 0.into(), next_hop: 0.into(), ..*sent };
            prop_assert_eq!(bare, seen);
        }
        prop_assert_eq!(packet.entries().len(), entries.len());
    }

    /// A flipped bit anywhere in a signed message is seen, or the message no longer names the key it was signed with.
    #[test]
    fn a_flipped_bit_is_never_believed(entries in proptest::collection::vec(entry(), 1..4), key in key(), at: prop::sample::Index) {
        let mut octets = encode(Command::Response, Version::V2, &entries, Protection::Cryptographic { key: &key, sequence: 5 });
        let bit = at.index(octets.len() * 8);
        octets[bit / 8] ^= 1 << (bit % 8);
        if let Ok(Packet { authentication: Authentication::Cryptographic { key: id, signed, code, .. }, .. }) = Packet::decode(&octets) {
            prop_assert!(id != key.id || !key.algorithm.verify(&key.secret, signed, code), "bit {bit}");
        }
    }
}
