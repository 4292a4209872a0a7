//! Which path of a prefix is the best, and which others share the load with it. RFC 4271 §9.1.2, RFC 4456 §9, RFC 5065 §5.3.
//!
//! Paths are eliminated step by step, so the outcome does not depend on the order in which they came:
//!
//! | step | wins |
//! |---|---|
//! | 1 | the highest weight |
//! | 2 | the highest local preference |
//! | 3 | what this router originates itself |
//! | 4 | the shortest AS path |
//! | 5 | the lowest origin |
//! | 6 | the lowest MED among paths of one neighbour AS |
//! | 7 | external over internal |
//! | 8 | the nearest next hop |
//! | 9 | the lowest router id, or originator; the shortest cluster list; the lowest peer address; the lowest identifier |
//!
//! What is left before step 9 can share the load.

use std::cmp::Reverse;
use std::net::Ipv4Addr;

use crate::attrs::Attrs;
use crate::config::Decision;

/// A path with everything that is compared. Only usable ones stand for choice.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Position in the list it came from.
    pub at: usize,
    pub attrs: &'a Attrs,
    pub weight: u32,
    pub source: Source,
    /// Distance of the next hop.
    pub igp_metric: u32,
    /// Of the peer.
    pub router_id: Ipv4Addr,
    pub address: Ipv4Addr,
    pub path_id: u32,
}

/// Where a path comes from, as far as the decision cares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    Local,
    External,
    /// Confederation peers count as internal (RFC 5065 §5.3).
    Internal,
}

/// Positions of the best path and of those that share its load, the best first. Empty without candidates.
pub fn select(mut candidates: Vec<Candidate<'_>>, options: Decision) -> Vec<usize> {
    if candidates.len() < 2 {
        return candidates.iter().map(|candidate| candidate.at).collect();
    }
    keep_least(&mut candidates, |c| {
        let hops = if options.ignore_as_path_length { 0 } else { c.attrs.as_path().hops() };
        (Reverse(c.weight), Reverse(c.attrs.preference()), c.source != Source::Local, hops, c.attrs.origin)
    });
    let med = |c: &Candidate<'_>| c.attrs.med.unwrap_or(if options.missing_med_worst { u32::MAX } else { 0 });
    let neighbor = |c: &Candidate<'_>| c.attrs.as_path().neighbor();
    let beaten = |c: &Candidate<'_>, all: &[Candidate<'_>]| {
        all.iter().any(|other| {
            (options.always_compare_med || neighbor(other) == neighbor(c)) && med(other) < med(c)
        })
    };
    let before = candidates.clone();
    candidates.retain(|c| !beaten(c, &before));
    keep_least(&mut candidates, |c| (c.source == Source::Internal, c.igp_metric));
    let Some(best) = candidates.iter().min_by_key(|c| tie(c)).copied() else { return Vec::new() };
    let limit = match best.source {
        Source::Local => 1,
        Source::External => options.max_paths_ebgp,
        Source::Internal => options.max_paths_ibgp,
    };
    let shares = |c: &Candidate<'_>| {
        c.source == best.source
            && (options.multipath_relax || c.attrs.as_path() == best.attrs.as_path())
            && c.attrs.next_hop != best.attrs.next_hop
    };
    let mut sharing: Vec<Candidate<'_>> = candidates.into_iter().filter(shares).collect();
    sharing.sort_by_key(tie);
    let others = sharing.into_iter().map(|c| c.at);
    std::iter::once(best.at).chain(others).take(limit.max(1).into()).collect()
}

/// The last step: never equal for two paths of one prefix.
fn tie(c: &Candidate<'_>) -> (Ipv4Addr, usize, Ipv4Addr, u32) {
    let id = c.attrs.originator().unwrap_or(c.router_id);
    (id, c.attrs.cluster_list().count(), c.address, c.path_id)
}

fn keep_least<'a, K: Ord>(candidates: &mut Vec<Candidate<'a>>, key: impl Fn(&Candidate<'a>) -> K) {
    if let Some(least) = candidates.iter().map(&key).min() {
        candidates.retain(|candidate| key(candidate) == least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::as_path::{SegmentKind, push};
    use crate::attrs::Draft;
    use millrace_policy::Origin;
    use proptest::prelude::*;

    fn attrs(local_pref: Option<u32>, path: &[u32], origin: Origin, med: Option<u32>) -> Attrs {
        let mut draft = Draft { local_pref, origin, med, ..Draft::default() };
        push(&mut draft.as_path, SegmentKind::Sequence, path);
        draft.finish()
    }

    fn candidate(at: usize, attrs: &Attrs) -> Candidate<'_> {
        let last = u8::try_from(at).unwrap();
        Candidate {
            at,
            attrs,
            weight: 0,
            source: Source::External,
            igp_metric: 0,
            router_id: Ipv4Addr::new(10, 0, 0, last),
            address: Ipv4Addr::new(192, 0, 2, last),
            path_id: 0,
        }
    }

    /// What wins over what, step by step: the second of each pair is the better one.
    #[test]
    fn steps() {
        let plain = attrs(None, &[1, 2], Origin::Igp, None);
        let longer = attrs(None, &[1, 2, 3], Origin::Igp, None);
        let preferred = attrs(Some(101), &[1, 2, 3], Origin::Incomplete, Some(9));
        let incomplete = attrs(None, &[1, 2], Origin::Incomplete, None);
        let med = attrs(None, &[1, 2], Origin::Igp, Some(5));
        let elsewhere = attrs(None, &[7, 2], Origin::Igp, Some(5));
        type Change = fn(Candidate<'_>) -> Candidate<'_>;
        let same: Change = |c| c;
        let cases: Vec<(&str, &Attrs, Change, &Attrs, Change)> = vec![
            ("weight", &preferred, same, &longer, |c| Candidate { weight: 1, ..c }),
            ("local preference", &plain, same, &preferred, same),
            ("local", &plain, same, &longer, |c| Candidate { source: Source::Local, ..c }),
            ("path length", &longer, same, &incomplete, same),
            ("origin", &incomplete, same, &med, same),
            ("MED", &med, same, &plain, |c| Candidate { igp_metric: 9, ..c }),
            ("MED of another AS", &plain, |c| Candidate { igp_metric: 9, ..c }, &elsewhere, same),
            (
                "external",
                &plain,
                |c| Candidate { source: Source::Internal, ..c },
                &plain,
                |c| Candidate { igp_metric: 9, ..c },
            ),
            ("IGP metric", &plain, |c| Candidate { igp_metric: 9, ..c }, &plain, same),
            ("router id", &plain, same, &plain, |c| Candidate { router_id: Ipv4Addr::UNSPECIFIED, ..c }),
        ];
        for (name, worse, worsen, better, make_better) in cases {
            let list = vec![worsen(candidate(0, worse)), make_better(candidate(1, better))];
            assert_eq!(select(list.clone(), Decision::default()), [1], "{name}");
            assert_eq!(select(list.into_iter().rev().collect(), Decision::default()), [1], "{name}, turned");
        }
    }

    #[test]
    fn sharing_the_load() {
        let via = |last, path: &[u32]| {
            let mut draft = attrs(None, path, Origin::Igp, None).draft();
            draft.next_hop = Ipv4Addr::new(192, 0, 2, last);
            draft.finish()
        };
        let all = [via(1, &[1, 9]), via(2, &[2, 9]), via(3, &[1, 9]), via(4, &[1, 8, 9])];
        let list = || all.iter().enumerate().map(|(at, attrs)| candidate(at, attrs)).collect();
        let two = Decision { max_paths_ebgp: 2, ..Decision::default() };
        assert_eq!(select(list(), two), [0, 2]);
        assert_eq!(select(list(), Decision { multipath_relax: true, ..two }), [0, 1]);
        assert_eq!(select(list(), Decision { multipath_relax: true, max_paths_ebgp: 8, ..two }), [0, 1, 2]);
        assert_eq!(select(list(), Decision::default()), [0]);
        assert!(select(Vec::new(), two).is_empty());
    }

    proptest! {
        /// The outcome does not depend on the order, and taking away what lost changes nothing.
        #[test]
        fn order_does_not_matter(
            paths in proptest::collection::vec((0u32..3, 1u32..4, 0u32..3, 0u32..2, any::<bool>()), 1..8),
            turn in 0usize..8, always in any::<bool>(), gone in 0usize..8,
        ) {
            let sets: Vec<Attrs> = paths
                .iter()
                .map(|(pref, neighbor, med, ..)| attrs(Some(100 + pref / 2), &[*neighbor, 9], Origin::Igp, Some(*med)))
                .collect();
            let list: Vec<_> = sets.iter().zip(&paths).enumerate().map(|(at, (attrs, path))| Candidate {
                igp_metric: path.3,
                source: if path.4 { Source::External } else { Source::Internal },
                ..candidate(at, attrs)
            }).collect();
            let options = Decision { always_compare_med: always, ..Decision::default() };
            let best = select(list.clone(), options);
            let mut turned = list.clone();
            turned.rotate_left(turn % list.len());
            prop_assert_eq!(&select(turned, options), &best);
            // With MEDs compared everywhere the order is total: a loser's absence is not noticed.
            if always {
                let rest: Vec<_> = list.into_iter().filter(|c| c.at != gone || c.at == best[0]).collect();
                prop_assert_eq!(select(rest, options), best);
            }
        }
    }
}
