//! RFC 7606, attribute by attribute: what each mistake costs.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use millrace_bgp::wire::attribute::Treatment::{self, Discard, Withdraw};
use millrace_bgp::wire::{Notification, Update, UpdateContext};
use proptest::prelude::*;

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
const NLRI: &[u8] = &[24, 198, 51, 100];

fn message(attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let len = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    [&[0, 0], &len[..], &attributes, nlri].concat()
}

const EXTERNAL: UpdateContext =
    UpdateContext { as4: true, external: true, confederation: false, add_path: false, add_path_v6: false };
const INTERNAL: UpdateContext = UpdateContext { external: false, ..EXTERNAL };

#[test]
fn every_attribute_in_every_wrong_way() {
    let cases: Vec<(&str, UpdateContext, &[u8], Option<Treatment>)> = vec![
        ("ORIGIN of two octets", EXTERNAL, &[0x40, 1, 2, 0, 0], Some(Withdraw)),
        ("ORIGIN that is none", EXTERNAL, &[0x40, 1, 1, 3], Some(Withdraw)),
        ("ORIGIN as optional", EXTERNAL, &[0xc0, 1, 1, 0], Some(Withdraw)),
        ("AS_PATH with an unknown segment", EXTERNAL, &[0x40, 2, 6, 9, 1, 0, 0, 0, 1], Some(Withdraw)),
        ("AS_PATH with an empty segment", EXTERNAL, &[0x40, 2, 2, 2, 0], Some(Withdraw)),
        ("AS_PATH cut short", EXTERNAL, &[0x40, 2, 5, 2, 1, 0, 0, 0], Some(Withdraw)),
        ("AS_PATH with a confederation", EXTERNAL, &[0x40, 2, 6, 3, 1, 0, 0, 0, 1], Some(Withdraw)),
        ("NEXT_HOP of three octets", EXTERNAL, &[0x40, 3, 3, 1, 2, 3], Some(Withdraw)),
        ("MED of two octets", EXTERNAL, &[0x80, 4, 2, 0, 0], Some(Withdraw)),
        ("MED as well-known", EXTERNAL, &[0x40, 4, 4, 0, 0, 0, 0], Some(Withdraw)),
        ("LOCAL_PREF from outside", EXTERNAL, &[0x40, 5, 4, 0, 0, 0, 1], Some(Discard)),
        ("LOCAL_PREF of one octet", INTERNAL, &[0x40, 5, 1, 0], Some(Withdraw)),
        ("ATOMIC_AGGREGATE with a value", EXTERNAL, &[0x40, 6, 1, 0], Some(Discard)),
        ("AGGREGATOR of six octets", EXTERNAL, &[0xc0, 7, 6, 0, 0, 0, 0, 0, 0], Some(Discard)),
        ("COMMUNITIES of three octets", EXTERNAL, &[0xc0, 8, 3, 0, 0, 0], Some(Withdraw)),
        ("COMMUNITIES without any", EXTERNAL, &[0xc0, 8, 0], Some(Withdraw)),
        ("ORIGINATOR_ID from outside", EXTERNAL, &[0x80, 9, 4, 1, 2, 3, 4], Some(Discard)),
        ("ORIGINATOR_ID of five octets", INTERNAL, &[0x80, 9, 5, 1, 2, 3, 4, 5], Some(Withdraw)),
        ("CLUSTER_LIST from outside", EXTERNAL, &[0x80, 10, 4, 1, 2, 3, 4], Some(Discard)),
        ("CLUSTER_LIST of two octets", INTERNAL, &[0x80, 10, 2, 1, 2], Some(Withdraw)),
        ("EXTENDED COMMUNITIES of four octets", EXTERNAL, &[0xc0, 16, 4, 0, 0, 0, 0], Some(Withdraw)),
        ("AS4_PATH from a speaker of four octets", EXTERNAL, &[0xc0, 17, 6, 2, 1, 0, 0, 0, 1], Some(Discard)),
        ("AS4_AGGREGATOR of four octets", EXTERNAL, &[0xc0, 18, 4, 0, 0, 0, 0], Some(Discard)),
        ("AIGP of another kind", EXTERNAL, &[0x80, 26, 3, 2, 0, 3], Some(Discard)),
        ("LARGE_COMMUNITY of eight octets", EXTERNAL, &[0xc0, 32, 8, 0, 0, 0, 0, 0, 0, 0, 0], Some(Withdraw)),
        ("OTC of two octets", EXTERNAL, &[0xc0, 35, 2, 0, 1], Some(Withdraw)),
        ("an attribute cut short", EXTERNAL, &[0x80, 4, 9, 0], Some(Withdraw)),
        ("an unknown optional one", EXTERNAL, &[0xc0, 99, 2, 0, 1], None),
        ("a right MED", EXTERNAL, &[0x80, 4, 4, 0, 0, 0, 1], None),
    ];
    for (name, context, attribute, expected) in cases {
        // In place of the right one where it is one of those that must be there.
        let mut attributes: Vec<&[u8]> =
            [ORIGIN, PATH, NEXT_HOP].into_iter().filter(|right| right[1] != attribute[1]).collect();
        attributes.push(attribute);
        let bytes = message(&attributes, NLRI);
        let update = Update::decode(&bytes, context).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(update.problems.iter().map(|(_, treatment)| *treatment).max(), expected, "{name}");
        assert_eq!(update.treat_as_withdraw, expected == Some(Withdraw), "{name}");
        assert_eq!(update.draft.is_some(), expected != Some(Withdraw), "{name}");
        assert_eq!(update.announced.iter().count(), 1, "{name}: the prefixes are known all the same");
    }
}

#[test]
fn what_is_missing_or_there_twice() {
    let decode = |attributes: &[&[u8]]| {
        Update::decode(&message(attributes, NLRI), EXTERNAL)
            .map(|update| (update.treat_as_withdraw, update.problems.clone()))
    };
    assert_eq!(decode(&[PATH, NEXT_HOP]).unwrap(), (true, vec![(1, Withdraw)]));
    assert_eq!(decode(&[ORIGIN, NEXT_HOP]).unwrap(), (true, vec![(2, Withdraw)]));
    assert_eq!(decode(&[ORIGIN, PATH]).unwrap(), (true, vec![(3, Withdraw)]));
    assert_eq!(decode(&[ORIGIN, PATH, NEXT_HOP, ORIGIN]).unwrap(), (false, vec![(1, Discard)]));
    let unreach: &[u8] = &[0x80, 15, 3, 0, 1, 1];
    assert_eq!(decode(&[ORIGIN, PATH, NEXT_HOP, unreach, unreach]), Err(Notification::MALFORMED_ATTRIBUTES));
}

#[test]
fn what_ends_the_session() {
    for (name, body, expected) in [
        ("withdrawn routes overrun", vec![0, 9, 0, 0], (3, 1)),
        ("attributes overrun", vec![0, 0, 0, 9], (3, 1)),
        ("a prefix of 33 bits", message(&[ORIGIN, PATH, NEXT_HOP], &[33, 1, 2, 3, 4, 5]), (3, 10)),
        ("a prefix cut short", message(&[ORIGIN, PATH, NEXT_HOP], &[24, 1, 2]), (3, 10)),
        ("an unknown well-known attribute", message(&[&[0x40, 99, 0]], NLRI), (3, 2)),
        ("MP_REACH_NLRI cut short", message(&[&[0x80, 14, 2, 0, 1]], &[]), (3, 9)),
    ] {
        let error = Update::decode(&body, EXTERNAL).expect_err(name);
        assert_eq!((error.code, error.subcode), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn no_octets_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), as4: bool, external: bool, add_path: bool) {
        let context = UpdateContext { as4, external, add_path, ..EXTERNAL };
        if let Ok(update) = Update::decode(&bytes, context) {
            let _ = (update.announced.iter().count(), update.withdrawn.iter().count());
            if let Some(draft) = update.draft {
                let attrs = draft.finish();
                let mut out = Vec::new();
                millrace_bgp::wire::attribute::encode(&mut out, &attrs, as4);
                let _ = (attrs.as_path().to_string(), attrs.communities().count());
            }
        }
        let _ = (millrace_bgp::wire::Open::decode(&bytes), Notification::decode(&bytes), millrace_bgp::wire::Refresh::decode(&bytes));
        let _ = millrace_bgp::wire::frame(&bytes, external);
    }

    /// What is encoded decodes to the same.
    #[test]
    fn decode_inverts_encode(origin in 0u8..3, path in proptest::collection::vec(1u32.., 0..6), med: Option<u32>, communities in proptest::collection::vec(any::<u32>(), 0..4), as4: bool) {
        use millrace_bgp::as_path::{SegmentKind, push};
        let mut draft = millrace_bgp::attrs::Draft { med, next_hop: [192, 0, 2, 1].into(), ..Default::default() };
        draft.origin = millrace_policy::Origin::ALL[usize::from(origin)];
        push(&mut draft.as_path, SegmentKind::Sequence, &path);
        draft.set(millrace_bgp::wire::Code::Communities, communities.iter().flat_map(|c| c.to_be_bytes()).collect());
        let attrs = draft.finish();
        let mut block = Vec::new();
        millrace_bgp::wire::attribute::encode(&mut block, &attrs, as4);
        let bytes = message(&[&block], NLRI);
        let update = Update::decode(&bytes, UpdateContext { as4, ..EXTERNAL }).unwrap();
        prop_assert_eq!(update.draft.map(|draft| draft.finish()), Some(attrs));
    }
}
