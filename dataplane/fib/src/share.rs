//! Who gets which bucket: weighted shares that disturb as few flows as possible.
//!
//! Shares are a divisor method (Webster's, with one bucket for every member first). Such methods are coherent: when a
//! member leaves, no other's share shrinks; when one joins, no other's grows. With the rule that a member keeps its
//! buckets up to its share, a leaving member moves its own flows and a joining one moves only flows to itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::group::{BLOCK_MAX, BLOCK_MIN};
use crate::id::AdjacencyId;

/// A member's weight is at most 64 × 65,535.
pub(crate) type Member = (AdjacencyId, u32);

/// Buckets that render these weights well: eight for each unit of weight, within bounds.
pub(crate) fn bucket_count(members: &[Member]) -> u32 {
    let divisor = members.iter().fold(0, |d, &(_, weight)| gcd(d, weight)).max(1);
    let units = members.iter().fold(0u32, |sum, &(_, weight)| sum.saturating_add(weight / divisor));
    units.saturating_mul(8).clamp(BLOCK_MIN, BLOCK_MAX).next_power_of_two()
}

/// How many of `buckets` each member gets; at least one each where there are as many.
pub(crate) fn apportion(members: &[Member], buckets: usize) -> Vec<usize> {
    let mut shares = vec![0; members.len()];
    let mut next: BinaryHeap<_> = members
        .iter()
        .enumerate()
        .map(|(i, &(id, weight))| (Claim { weight, held: 0 }, Reverse(id), i))
        .collect();
    for _ in 0..buckets {
        let Some((claim, id, i)) = next.pop() else { break };
        shares[i] += 1;
        next.push((Claim { held: claim.held + 1, ..claim }, id, i));
    }
    shares
}

/// Gives every bucket an owner among `members`, changing as few as the shares allow.
pub(crate) fn assign(owners: &mut [AdjacencyId], members: &[Member]) {
    let mut due = apportion(members, owners.len());
    let mut vacant = Vec::new();
    for (bucket, owner) in owners.iter().enumerate() {
        match members.iter().position(|(id, _)| id == owner) {
            Some(member) if 0 < due[member] => due[member] -= 1,
            _ => vacant.push(bucket),
        }
    }
    let mut takers: VecDeque<_> = (0..members.len()).filter(|&m| 0 < due[m]).collect();
    for bucket in vacant {
        let Some(member) = takers.pop_front() else { break };
        owners[bucket] = members[member].0;
        due[member] -= 1;
        if 0 < due[member] {
            takers.push_back(member);
        }
    }
}

/// A member's claim to the next bucket: weight / (held + ½), and above all others while it holds none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Claim {
    weight: u32,
    held: u32,
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let product = |a: &Self, b: &Self| u64::from(a.weight) * (2 * u64::from(b.held) + 1);
        (self.held == 0).cmp(&(other.held == 0)).then_with(|| product(self, other).cmp(&product(other, self)))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members() -> impl Strategy<Value = Vec<Member>> {
        prop::collection::btree_map(1u16..200, 1u32..=256, 1..=64)
            .prop_map(|m| m.into_iter().map(|(id, weight)| (AdjacencyId(id), weight)).collect())
    }

    fn owned(owners: &[AdjacencyId], id: AdjacencyId) -> usize {
        owners.iter().filter(|&&owner| owner == id).count()
    }

    #[test]
    fn shares_follow_weights() {
        let shares = |weights: &[u32], buckets| {
            let members: Vec<_> = weights.iter().zip(1..).map(|(&w, id)| (AdjacencyId(id), w)).collect();
            (bucket_count(&members), apportion(&members, buckets))
        };
        assert_eq!(shares(&[1, 1], 64), (64, vec![32, 32]));
        assert_eq!(shares(&[3, 1], 64), (64, vec![48, 16]));
        assert_eq!(shares(&[256, 256, 256], 64), (64, vec![22, 21, 21]));
        assert_eq!(shares(&[256, 1], 1024), (1024, vec![1020, 4]));
        assert_eq!(shares(&[65535, 65535, 1], 64).1, [32, 31, 1]);
    }

    proptest! {
        #[test]
        fn a_leaving_member_moves_only_its_own_flows(members in members(), leaver: prop::sample::Index) {
            let mut before = vec![AdjacencyId::NONE; bucket_count(&members) as usize];
            assign(&mut before, &members);
            let leaver = leaver.index(members.len());
            let mut rest = members.clone();
            let (gone, _) = rest.remove(leaver);
            prop_assume!(!rest.is_empty());
            let mut after = before.clone();
            assign(&mut after, &rest);
            for (b, a) in before.iter().zip(&after) {
                prop_assert_ne!(*a, gone);
                prop_assert!(*b == gone || b == a);
            }
            // And when it comes back, only flows to it move.
            let mut again = after.clone();
            assign(&mut again, &members);
            for (a, g) in after.iter().zip(&again) {
                prop_assert!(*g == gone || g == a);
            }
            prop_assert_eq!(owned(&again, gone), owned(&before, gone));
        }

        #[test]
        fn shares_are_within_one_of_the_quota_and_never_none(members in members(), more in 0u32..2) {
            let buckets = bucket_count(&members) << more;
            let shares = apportion(&members, buckets as usize);
            let total: u32 = members.iter().map(|(_, w)| w).sum();
            prop_assert_eq!(shares.iter().sum::<usize>(), buckets as usize);
            for (share, (_, weight)) in shares.iter().zip(&members) {
                let quota = f64::from(buckets) * f64::from(*weight) / f64::from(total);
                prop_assert!(1 <= *share);
                // Members that are lifted to their one bucket take from the others, at most one each.
                prop_assert!((*share as f64 - quota).abs() < 2.0 + members.len() as f64 * quota / f64::from(buckets));
            }
        }
    }
}
