//! Routes, one thread: the table and the shadow against a list of routes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod oracle;

use core::net::Ipv4Addr;

use millrace_fib::{Geometry, GroupId, GroupSpec, Owned, Quiescence, Refusal, Writer};
use millrace_net::Prefix;
use oracle::{Naive, Rng, SMALL, corners, glean_groups};
use proptest::prelude::*;

const GROUPS: u16 = 7;

/// One random run; the table and the oracle are compared after every change.
fn run(seed: u64, steps: usize) -> Result<(), TestCaseError> {
    let owned = Owned::new(SMALL).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    let groups = glean_groups(&mut writer, GROUPS);
    let mut naive: Naive<GroupId> = Naive::default();
    let mut rng = Rng(seed);
    let mut seen = vec![Prefix::DEFAULT];
    for step in 0..steps {
        // Removals come near to insertions now and then, so that tables fill and empty.
        let prefix = if rng.below(3) == 0 { seen[rng.index(seen.len())] } else { rng.prefix() };
        seen.push(prefix);
        if rng.below(10) < if step / 64 % 2 == 0 { 7 } else { 3 } {
            let group = groups[rng.index(groups.len())];
            let before = naive.clone();
            let old = naive.0.insert(prefix, group);
            if usize::try_from(SMALL.tbl8_groups).unwrap() < naive.extended_blocks() {
                let refused = writer.stats().refused;
                prop_assert_eq!(writer.route_insert(prefix, group), Err(Refusal::Tbl8Exhausted));
                prop_assert_eq!(writer.stats().refused, refused + 1);
                naive = before;
            } else {
                prop_assert_eq!(writer.route_insert(prefix, group), Ok(old));
            }
        } else {
            prop_assert_eq!(writer.route_remove(prefix), naive.0.remove(&prefix));
        }
        let near = [prefix, seen[rng.index(seen.len())], seen[rng.index(seen.len())]];
        for address in near.into_iter().flat_map(corners) {
            let expected = naive.longest(address);
            prop_assert_eq!(writer.longest_match(Ipv4Addr::from_bits(address)), expected);
            let group = expected.map_or(GroupId::NONE, |(_, group)| group);
            prop_assert_eq!(
                reader.lookup(address),
                group,
                "{} after {}",
                Ipv4Addr::from_bits(address),
                prefix
            );
        }
        for prefix in near {
            prop_assert_eq!(writer.route_get(prefix), naive.0.get(&prefix).copied());
        }
    }
    // Everything there is, at all corners.
    for address in naive.0.keys().copied().flat_map(corners) {
        prop_assert_eq!(reader.lookup(address), naive.longest(address).map_or(GroupId::NONE, |(_, g)| g));
    }
    let all: Vec<_> = naive.0.iter().map(|(p, g)| (*p, *g)).collect();
    prop_assert_eq!(&writer.routes_after(None, usize::MAX), &all);
    for page in [1, 2, 7] {
        let mut paged = Vec::new();
        while let next = writer.routes_after(paged.last().map(|&(p, _)| p), page)
            && !next.is_empty()
        {
            prop_assert!(next.len() <= page);
            paged.extend(next);
        }
        prop_assert_eq!(&paged, &all);
    }
    let stats = writer.stats();
    prop_assert_eq!(stats.routes as usize, all.len());
    prop_assert_eq!(stats.tbl8.used as usize, naive.extended_blocks());
    for (group, _) in groups.iter().zip(0..) {
        let users = all.iter().filter(|(_, g)| g == group).count();
        prop_assert_eq!(writer.group_routes(*group) as usize, users);
    }
    // Nothing of it stays behind.
    while let Some(&(prefix, _)) = writer.routes_after(None, 1).first() {
        prop_assert!(writer.route_remove(prefix).is_some());
    }
    let stats = writer.stats();
    prop_assert_eq!((stats.routes, stats.tbl8.used), (0, 0));
    prop_assert!(
        owned.slices().tbl24.iter().all(|word| word.load(std::sync::atomic::Ordering::Relaxed) == 0)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_table_agrees_with_a_list_of_routes(seed: u64) {
        run(seed, 400)?;
    }

    #[test]
    fn a_page_can_begin_anywhere(seed: u64, bits: u32, len in 0u8..=32) {
        let owned = Owned::new(SMALL).unwrap();
        let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
        let group = glean_groups(&mut writer, 1)[0];
        let mut rng = Rng(seed);
        let mut naive = Naive::default();
        for _ in 0..30 {
            let prefix = rng.prefix();
            if writer.route_insert(prefix, group).is_ok() {
                naive.0.insert(prefix, group);
            }
        }
        for after in [Prefix::truncated(Ipv4Addr::from_bits(bits), len), rng.prefix()] {
            let expected: Vec<_> = naive.0.iter().filter(|(p, _)| after < **p).map(|(p, g)| (*p, *g)).take(5).collect();
            prop_assert_eq!(writer.routes_after(Some(after), 5), expected);
        }
    }
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn a_refused_route_changes_nothing() {
    let owned = Owned::new(Geometry { tbl8_groups: 1, ..SMALL }).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    let [a, b] = glean_groups(&mut writer, 2)[..] else { unreachable!() };
    writer.route_insert(prefix("10.0.0.0/8"), a).unwrap();
    writer.route_insert(prefix("10.0.0.1/32"), b).unwrap();
    let before = (writer.routes_after(None, 9), writer.stats());
    for refused in ["10.0.1.0/25", "11.0.0.1/32", "255.255.255.255/32"] {
        assert_eq!(writer.route_insert(prefix(refused), b), Err(Refusal::Tbl8Exhausted), "{refused}");
        assert_eq!(
            reader.lookup(prefix(refused).bits()),
            writer.longest_match(prefix(refused).addr()).map_or(GroupId::NONE, |(_, g)| g)
        );
    }
    let after = writer.stats();
    assert_eq!(
        (writer.routes_after(None, 9), after.routes, after.tbl8),
        (before.0, before.1.routes, before.1.tbl8)
    );
    assert_eq!((after.refused, writer.group_routes(b)), (3, 1));
    // What has its block already is not refused.
    assert_eq!(writer.route_insert(prefix("10.0.0.128/25"), b), Ok(None));
    // And the block is free for another as soon as nothing longer than /24 is in it.
    writer.route_remove(prefix("10.0.0.1/32"));
    writer.route_remove(prefix("10.0.0.128/25"));
    assert_eq!(writer.route_insert(prefix("11.0.0.1/32"), b), Ok(None));
    assert_eq!((reader.lookup(0x0a00_0001), reader.lookup(0x0b00_0001)), (a, b));
}

#[test]
fn groups_that_are_not_there_are_refused() {
    let owned = Owned::new(SMALL).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    assert_eq!(writer.route_insert(Prefix::DEFAULT, GroupId::NONE), Err(Refusal::UnknownGroup));
    let group = writer.group_insert(&GroupSpec::Blackhole).unwrap();
    writer.route_insert(Prefix::DEFAULT, group).unwrap();
    assert_eq!(writer.group_remove(group), Err(Refusal::GroupInUse));
    writer.route_remove(Prefix::DEFAULT);
    assert_eq!(writer.group_remove(group), Ok(()));
    assert_eq!(writer.group_remove(group), Ok(()), "removing what is not there is fine");
    assert_eq!(writer.route_insert(Prefix::DEFAULT, group), Err(Refusal::UnknownGroup));
    assert_eq!(writer.group_replace(group, &GroupSpec::Local), Err(Refusal::UnknownGroup));
}
