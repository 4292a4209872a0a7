//! The compiled list and a plain walk down the rules always agree.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use millrace_acl::{Acl, Action, Dscps, Fragment, Fragments, Key, Rule, RuleIndex, TcpFlags};
use millrace_net::Prefix;
use proptest::prelude::*;

/// What the documentation of [`Rule`] says, in the simplest words.
fn met(rule: &Rule, key: &Key) -> bool {
    let within = |prefixes: &[Prefix], address| {
        prefixes.is_empty() || prefixes.iter().any(|p| p.contains(Ipv4Addr::from_bits(address)))
    };
    let port = |ranges: &[RangeInclusive<u16>], port: Option<u16>| {
        ranges.is_empty() || port.is_some_and(|port| ranges.iter().any(|r| r.contains(&port)))
    };
    within(&rule.src, key.src)
        && within(&rule.dst, key.dst)
        && rule.protocol.is_none_or(|p| p == key.protocol)
        && port(&rule.src_ports, key.ports.map(|p| p.0))
        && port(&rule.dst_ports, key.ports.map(|p| p.1))
        && rule.tcp_flags.is_none_or(|f| key.tcp_flags.is_some_and(|flags| flags & f.mask == f.value))
        && match rule.fragments {
            Fragments::Any => true,
            Fragments::Only => key.fragment != Fragment::Whole,
            Fragments::Later => key.fragment == Fragment::Later,
            Fragments::No => key.fragment == Fragment::Whole,
        }
        && rule.dscp.0 >> key.dscp & 1 == 1
}

fn naive(rules: &[Rule], key: &Key) -> Option<RuleIndex> {
    (0u32..).zip(rules).find(|(_, r)| met(r, key)).map(|(i, _)| RuleIndex(i))
}

/// Values from a small world, so that rules and packets meet often.
fn address() -> impl Strategy<Value = u32> {
    prop_oneof![
        (0u32..4, 0u32..4).prop_map(|(a, b)| (10 << 24) | (a << 16) | b),
        Just(0),
        Just(u32::MAX),
        any::<u32>(),
    ]
}

fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
    let prefix = (address(), 0u8..=32).prop_map(|(a, len)| Prefix::truncated(Ipv4Addr::from_bits(a), len));
    prop::collection::vec(prefix, 0..3)
}

fn ports() -> impl Strategy<Value = Vec<RangeInclusive<u16>>> {
    let end = || prop_oneof![0u16..8, Just(u16::MAX), any::<u16>()];
    prop::collection::vec((end(), end()).prop_map(|(a, b)| a.min(b)..=a.max(b)), 0..3)
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        (prefixes(), prefixes(), prop::option::weighted(0.3, 0u8..4), ports(), ports()),
        prop::option::weighted(0.2, (any::<u8>(), any::<u8>())),
        prop_oneof![
            6 => Just(Fragments::Any), 1 => Just(Fragments::Only), 1 => Just(Fragments::Later), 1 => Just(Fragments::No)
        ],
        prop_oneof![4 => Just(Dscps::ANY), 1 => any::<u64>().prop_map(Dscps)],
    )
        .prop_map(|((src, dst, protocol, src_ports, dst_ports), flags, fragments, dscp)| Rule {
            src,
            dst,
            protocol,
            src_ports,
            dst_ports,
            tcp_flags: flags.map(|(mask, value)| TcpFlags { mask, value: value & mask }),
            fragments,
            dscp,
            action: Action::Accept,
        })
}

fn key() -> impl Strategy<Value = Key> {
    let port = || prop_oneof![0u16..8, Just(u16::MAX), any::<u16>()];
    let fragment = prop_oneof![Just(Fragment::Whole), Just(Fragment::First), Just(Fragment::Later)];
    let head = (address(), address(), 0u8..4, prop::option::of((port(), port())));
    (head, prop::option::of(any::<u8>()), fragment, 0u8..64).prop_map(
        |((src, dst, protocol, ports), tcp_flags, fragment, dscp)| Key {
            src,
            dst,
            protocol,
            ports,
            tcp_flags,
            fragment,
            dscp,
        },
    )
}

proptest! {
    #[test]
    fn short_lists(rules in prop::collection::vec(rule(), 0..20), keys in prop::collection::vec(key(), 50)) {
        let acl = Acl::compile(&rules).unwrap();
        for key in keys {
            prop_assert_eq!(acl.classify(&key), naive(&rules, &key), "{:?}", key);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow there")]
    fn lists_of_several_words(rules in prop::collection::vec(rule(), 60..200), keys in prop::collection::vec(key(), 50)) {
        let acl = Acl::compile(&rules).unwrap();
        for key in keys {
            prop_assert_eq!(acl.classify(&key), naive(&rules, &key), "{:?}", key);
        }
    }
}

/// More than 4,096 rules take a second summary word; the only match is the last rule.
#[test]
fn a_match_behind_thousands_of_near_misses() {
    let mut rules: Vec<Rule> = (0..10_000u32)
        .map(|i| Rule {
            src: vec![Prefix::host(Ipv4Addr::from_bits(i))],
            dst: vec![Prefix::host(Ipv4Addr::from_bits(i + 1))],
            ..Rule::any(Action::Drop)
        })
        .collect();
    rules.push(Rule { src: vec![Prefix::host(Ipv4Addr::from_bits(7))], ..Rule::any(Action::Reject) });
    let acl = Acl::compile(&rules).unwrap();
    let key = |src, dst| Key {
        src,
        dst,
        protocol: 17,
        ports: None,
        tcp_flags: None,
        fragment: Fragment::Whole,
        dscp: 0,
    };
    for (src, dst, expected) in [
        (7, 8, Some(7)),
        (7, 9, Some(10_000)),
        (9_999, 10_000, Some(9_999)),
        (9_999, 7, None),
        (20_000, 8, None),
    ] {
        assert_eq!(acl.classify(&key(src, dst)), expected.map(RuleIndex), "{src} -> {dst}");
    }
    assert_eq!(acl.action(RuleIndex(10_000)), Action::Reject);
    assert!(acl.bytes() < 4 << 20, "{} bytes", acl.bytes());
}

#[test]
fn an_empty_list_matches_nothing_and_a_bare_rule_everything() {
    let key = Key {
        src: 1,
        dst: 2,
        protocol: 6,
        ports: None,
        tcp_flags: None,
        fragment: Fragment::Later,
        dscp: 63,
    };
    assert_eq!(Acl::compile(&[]).unwrap().classify(&key), None);
    assert_eq!(Acl::compile(&[Rule::any(Action::Drop)]).unwrap().classify(&key), Some(RuleIndex(0)));
}
