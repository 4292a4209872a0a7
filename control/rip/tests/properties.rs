//! What holds for all octets: decoding never panics, and what is encoded decodes to what it was. And for all inputs: the
//! machine answers with messages that are in order, and comes to rest.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{ETH0, ETH1, Router, config, datagram, interface, prefix, sent};
use millrace_proto::{Algorithm, InterfaceEvent, Key, KeyId, Lifetime, Secret};
use millrace_rip::config::SplitHorizon;
use millrace_rip::wire::{Authentication, Command, Entry, Packet, Protection, Version, capacity, encode};
use millrace_rip::{Cost, Input, InterfaceConfig, Metric, NeighborKey, Output, Redistributed};
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

    /// A flipped bit anywhere in a signed message is seen, or the message names another key than the one it was signed with.
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

/// Something that may happen to a router.
fn input() -> impl Strategy<Value = Input> {
    let net = || (0u8..6).prop_map(|net| prefix(&format!("192.0.{net}.0/24")));
    let link = || prop_oneof![Just(ETH0), Just(ETH1)];
    let sender = || (0u8..2, 1u8..5).prop_map(|(third, host)| Ipv4Addr::new(10, 0, third, host));
    let plausible = (0u8..6, 0u32..18, any::<u16>(), 0u8..8).prop_map(|(net, metric, tag, hop)| Entry {
        family: 2,
        tag,
        address: Ipv4Addr::new(192, 0, net, 0),
        mask: Ipv4Addr::new(255, 255, 255, 0),
        next_hop: if hop < 4 { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::new(10, 0, hop % 2, hop - 3) },
        metric,
    });
    let message = (command(), proptest::collection::vec(prop_oneof![8 => plausible, 1 => entry()], 0..8))
        .prop_map(|(command, entries)| encode(command, Version::V2, &entries, Protection::None));
    let request = Just(encode(Command::Request, Version::V2, &[Entry::WHOLE_TABLE], Protection::None));
    let payload = prop_oneof![8 => message, 1 => request, 1 => proptest::collection::vec(any::<u8>(), 0..60)];
    let eth =
        (1u8..16, 0u8..3, any::<bool>(), any::<bool>()).prop_map(|(cost, split_horizon, passive, bfd)| {
            let split_horizon = [SplitHorizon::Off, SplitHorizon::Simple, SplitHorizon::PoisonedReverse]
                [usize::from(split_horizon)];
            InterfaceConfig {
                cost: Cost::new(cost).expect("1 to 15"),
                split_horizon,
                passive,
                bfd,
                ..InterfaceConfig::default()
            }
        });
    let metric = (1u8..=16).prop_map(Metric::new);
    prop_oneof![
        12 => (link(), sender(), payload).prop_map(|(link, sender, payload)| Input::Datagram(datagram(link, sender, payload))),
        2 => (net(), metric, any::<u16>()).prop_map(|(prefix, metric, tag)| {
            let protocol = millrace_policy::Protocol::Static;
            Input::Redistribute(Redistributed { prefix, protocol, metric, tag, next_hop: None })
        }),
        1 => net().prop_map(Input::Withdraw),
        1 => (link(), any::<bool>()).prop_map(|(index, up)| {
            Input::Interface(InterfaceEvent::Upsert(millrace_proto::Interface { up, ..interface(index) }))
        }),
        1 => (eth.clone(), eth).prop_map(|(eth0, eth1)| Input::Configure(config(eth0, eth1))),
        1 => (link(), sender()).prop_map(|(interface, address)| Input::NeighborDown(NeighborKey { interface, address })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, what is sent is in order; and when nothing more comes, only what is originated is left.
    #[test]
    fn any_inputs_are_survived(inputs in proptest::collection::vec((input(), 0u64..40), 0..60)) {
        let mut router = Router::new(config(InterfaceConfig::default(), InterfaceConfig::default()));
        for (input, seconds) in inputs {
            let mut outputs = router.tell(input);
            outputs.extend(router.pass(Duration::from_secs(seconds)));
            for transmit in sent(&outputs) {
                let packet = Packet::decode(&transmit.payload).unwrap();
                for entry in packet.entries().filter(|entry| packet.command == Command::Response && entry.family == 2) {
                    prop_assert!((1..=16).contains(&entry.metric), "{:?}", entry);
                }
                prop_assert!(router.rip.interfaces(router.now).any(|view| view.index == transmit.interface));
            }
        }
        // Every time-out and garbage collection is over by then.
        let outputs = router.pass(Duration::from_secs(400));
        for view in router.rip.routes(router.now) {
            prop_assert!(view.paths.is_empty() && view.origin.is_some(), "{:?}", view);
        }
        prop_assert!(router.rip.neighbors(router.now).is_empty());
        let quiet = router.pass(Duration::from_secs(100));
        prop_assert!(quiet.iter().all(|output| matches!(output, Output::Send(_))), "{:?} {:?}", outputs.len(), quiet);
    }
}
