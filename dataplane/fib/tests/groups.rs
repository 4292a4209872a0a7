//! Next-hop groups through the table: weights, resilience, replacement in place, refusals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod oracle;

use core::net::Ipv4Addr;

use millrace_fib::{
    AdjacencyId, Geometry, Group, GroupId, GroupSpec, MAX_MEMBERS, Owned, Quiescence, Reader, Refusal, Writer,
};
use millrace_net::{PortId, Prefix};
use oracle::{LINK, SMALL};
use proptest::prelude::*;

const PORT: PortId = PortId(3);
const FLOWS: u32 = 1 << 10;

fn neighbours(writer: &mut Writer<'_>, count: u8) -> Vec<AdjacencyId> {
    writer.port_set(PORT, LINK);
    (0..count).map(|i| writer.neighbor_insert(PORT, Ipv4Addr::new(10, 0, 0, i)).unwrap()).collect()
}

/// Where each flow goes.
fn ways(reader: &Reader<'_>, id: GroupId) -> Vec<AdjacencyId> {
    let Group::Forward(buckets) = reader.group(id) else { return Vec::new() };
    // Flows' hashes have all their bits set anyhow; the low ones decide.
    (0..FLOWS).map(|hash| reader.bucket(buckets, hash.wrapping_mul(0x0100_0001))).collect()
}

fn share(ways: &[AdjacencyId], id: AdjacencyId) -> f64 {
    ways.iter().filter(|&&way| way == id).count() as f64 / f64::from(FLOWS)
}

#[test]
fn a_member_that_leaves_and_returns_moves_only_its_own_flows() {
    let owned = Owned::new(SMALL).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    let ids = neighbours(&mut writer, 8);
    for count in 2..=8 {
        let all: Vec<_> = ids.iter().take(count).map(|&id| (id, 1)).collect();
        let group = writer.group_insert(&GroupSpec::Forward(all.clone())).unwrap();
        for &(leaver, _) in &all {
            let before = ways(&reader, group);
            let rest: Vec<_> = all.iter().copied().filter(|&(id, _)| id != leaver).collect();
            writer.group_replace(group, &GroupSpec::Forward(rest)).unwrap();
            let during = ways(&reader, group);
            let moved = before.iter().zip(&during).filter(|(b, d)| b != d).count();
            assert!(before.iter().zip(&during).all(|(b, d)| *b == leaver || b == d), "{count} members");
            assert_eq!(share(&during, leaver), 0.0);
            assert!(moved as f64 / f64::from(FLOWS) <= 1.0 / count as f64 + 1.0 / 64.0);

            writer.group_replace(group, &GroupSpec::Forward(all.clone())).unwrap();
            let after = ways(&reader, group);
            assert!(during.iter().zip(&after).all(|(d, a)| *a == leaver || d == a), "{count} members");
            assert!((share(&after, leaver) - 1.0 / count as f64).abs() <= 1.0 / 64.0);
        }
        writer.group_remove(group).unwrap();
    }
    assert_eq!(writer.stats().buckets.used, 0);
}

#[test]
fn weights_are_shares_of_flows() {
    let owned = Owned::new(Geometry { buckets: 4096, ..SMALL }).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    let ids = neighbours(&mut writer, 3);
    let group = writer.group_insert(&GroupSpec::Forward(vec![(ids[0], 1)])).unwrap();
    for weights in [[1, 1, 1], [1, 2, 3], [1, 1, 0], [20, 1, 1], [1, 1, 1], [65535, 65535, 1]] {
        let members: Vec<_> = ids.iter().copied().zip(weights).filter(|&(_, weight)| weight != 0).collect();
        let before = ways(&reader, group);
        writer.group_replace(group, &GroupSpec::Forward(members.clone())).unwrap();
        let after = ways(&reader, group);
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let mut moved = 0.0;
        for (&id, weight) in ids.iter().zip(weights) {
            let quota = f64::from(weight) / total;
            assert!(
                (share(&after, id) - quota).abs() <= 1.0 / 64.0,
                "{weights:?}: {} of {quota}",
                share(&after, id)
            );
            moved += (share(&after, id) - share(&before, id)).abs() / 2.0;
        }
        // No flow moves but those that make up the difference of shares.
        let changed = before.iter().zip(&after).filter(|(b, a)| b != a).count() as f64 / f64::from(FLOWS);
        assert!((changed - moved).abs() < 1e-9, "{weights:?}: {changed} moved where {moved} would do");
        let shares = writer.group_shares(group);
        assert_eq!(
            shares.iter().map(|s| s.0).collect::<Vec<_>>(),
            members.iter().map(|m| m.0).collect::<Vec<_>>()
        );
    }
}

#[test]
fn one_store_turns_every_route_of_a_group() {
    let owned = Owned::new(SMALL).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    let ids = neighbours(&mut writer, 1);
    let group = writer.group_insert(&GroupSpec::Unreachable).unwrap();
    writer.route_insert(Prefix::DEFAULT, group).unwrap();
    for (spec, expected) in [
        (GroupSpec::Glean(PORT), Group::Glean(PORT)),
        (GroupSpec::Local, Group::Local),
        (GroupSpec::Blackhole, Group::Blackhole),
        (GroupSpec::Prohibit, Group::Prohibit),
        (GroupSpec::Unreachable, Group::Unreachable),
    ] {
        writer.group_replace(group, &spec).unwrap();
        assert_eq!(reader.group(reader.lookup(77)), expected);
        assert_eq!(writer.group_spec(group), Some(&spec));
    }
    writer.group_replace(group, &GroupSpec::Forward(vec![(ids[0], 9)])).unwrap();
    let Group::Forward(buckets) = reader.group(reader.lookup(77)) else { panic!("not forwarded") };
    assert_eq!((buckets.len(), reader.bucket(buckets, 12345)), (1, ids[0]));
}

#[test]
fn a_refused_group_changes_nothing() {
    let owned = Owned::new(Geometry { groups: 3, buckets: 64, ..SMALL }).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    let ids = neighbours(&mut writer, 3);
    let other = Owned::new(SMALL).unwrap();
    let stranger = neighbours(&mut Writer::new(other.memory(), Quiescence::new(0)), 9)[8];
    let pair = GroupSpec::Forward(vec![(ids[0], 1), (ids[1], 1)]);
    let group = writer.group_insert(&pair).unwrap();
    let before = (writer.stats(), ways(&reader, group));
    for (members, refusal) in [
        (vec![], Refusal::BadMembers),
        (vec![(ids[0], 1), (ids[1], 0)], Refusal::BadMembers),
        (vec![(ids[0], 1); MAX_MEMBERS + 1], Refusal::BadMembers),
        (vec![(ids[0], 1), (stranger, 1)], Refusal::UnknownAdjacency),
        (vec![(AdjacencyId::NONE, 1)], Refusal::UnknownAdjacency),
        (vec![(ids[0], 200), (ids[1], 1)], Refusal::BucketsExhausted),
    ] {
        let spec = GroupSpec::Forward(members);
        assert_eq!(writer.group_insert(&spec), Err(refusal));
        assert_eq!(writer.group_replace(group, &spec), Err(refusal));
        assert_eq!(writer.group_spec(group), Some(&pair));
    }
    let stats = writer.stats();
    assert_eq!(
        (stats.groups, stats.buckets, stats.adjacencies),
        (before.0.groups, before.0.buckets, before.0.adjacencies)
    );
    assert_eq!(
        (ways(&reader, group), stats.refused),
        (before.1, 2),
        "exhaustion is counted, mistakes are not"
    );
    writer.group_insert(&GroupSpec::Local).unwrap();
    assert_eq!(writer.group_insert(&GroupSpec::Local), Err(Refusal::GroupsExhausted));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    /// Groups come, change and go at random: shares are right, survivors keep their flows, nothing leaks.
    #[test]
    fn groups_at_random(steps in prop::collection::vec((0usize..6, prop::collection::vec((0usize..12, 1u16..=9), 0..8)), 1..60)) {
        let owned = Owned::new(Geometry { buckets: 64 * 40, ..SMALL }).unwrap();
        let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
        let reader = writer.reader();
        let ids = neighbours(&mut writer, 12);
        let mut groups: [Option<GroupId>; 6] = [None; 6];
        for (which, members) in steps {
            let members: Vec<_> = members.into_iter().map(|(i, weight)| (ids[i], weight)).collect();
            if members.is_empty() {
                if let Some(group) = groups[which].take() {
                    writer.group_remove(group).unwrap();
                }
                continue;
            }
            let before = groups[which].map(|group| ways(&reader, group)).unwrap_or_default();
            let spec = GroupSpec::Forward(members.clone());
            let group = match groups[which] {
                Some(group) => writer.group_replace(group, &spec).map(|()| group),
                None => writer.group_insert(&spec),
            };
            match group {
                Ok(group) => groups[which] = Some(group),
                Err(refusal) => {
                    prop_assert_eq!(refusal, Refusal::BucketsExhausted);
                    continue;
                }
            }
            let after = ways(&reader, groups[which].unwrap());
            prop_assert!(after.iter().all(|way| members.iter().any(|(id, _)| id == way)));
            // A survivor has lost flows only if its share shrank.
            for &(id, _) in &members {
                let lost = before.iter().zip(&after).any(|(b, a)| *b == id && a != b);
                prop_assert!(!lost || share(&after, id) < share(&before, id));
            }
            let told: u32 = writer.group_shares(groups[which].unwrap()).iter().map(|(_, share)| share).sum();
            prop_assert!(told == 1 || told.is_power_of_two() && 64 <= told);
        }
        for group in groups.into_iter().flatten() {
            writer.group_remove(group).unwrap();
        }
        for neighbor in writer.neighbors().collect::<Vec<_>>() {
            prop_assert_eq!(neighbor.groups, 0);
            writer.neighbor_remove(neighbor.port, neighbor.address);
        }
        writer.reclaim();
        let stats = writer.stats();
        prop_assert_eq!((stats.groups.used, stats.buckets.used, stats.adjacencies.used, stats.awaiting_quiescence), (0, 0, 0, 0));
    }
}
