//! Election of designated router and backup. RFC 2328 §9.4.

use std::cmp::Reverse;
use std::net::Ipv4Addr;

use crate::wire::RouterId;

/// A router of the link, this one among them, as its hellos say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub router: RouterId,
    /// Of its interface.
    pub address: Ipv4Addr,
    /// Over 0: the others are not asked.
    pub priority: u8,
    /// Whom it takes for designated router and backup; 0.0.0.0 is nobody.
    pub designated: Ipv4Addr,
    pub backup: Ipv4Addr,
}

/// Interface addresses; 0.0.0.0 is nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Elected {
    pub designated: Option<Ipv4Addr>,
    pub backup: Option<Ipv4Addr>,
}

/// The whole procedure for the router at `own`, with its second pass where its own role changes by the first.
pub fn elect(candidates: &[Candidate], own: Ipv4Addr) -> Elected {
    let first = pass(candidates);
    let role = |elected: Elected| (elected.designated == Some(own), elected.backup == Some(own));
    let before = candidates
        .iter()
        .find(|candidate| candidate.address == own)
        .map_or((false, false), |me| (me.designated == own, me.backup == own));
    if role(first) == before {
        return first;
    }
    // (4): this router counts as what it has just become.
    let with_role = |candidate: &Candidate| {
        if candidate.address != own {
            return *candidate;
        }
        Candidate {
            designated: first.designated.unwrap_or(Ipv4Addr::UNSPECIFIED),
            backup: first.backup.unwrap_or(Ipv4Addr::UNSPECIFIED),
            ..*candidate
        }
    };
    pass(&candidates.iter().map(with_role).collect::<Vec<_>>())
}

/// Steps (2) and (3).
fn pass(candidates: &[Candidate]) -> Elected {
    let eligible = || candidates.iter().filter(|candidate| candidate.priority != 0);
    let rank = |candidate: &&Candidate| (candidate.priority, candidate.router);
    let says_designated = |candidate: &&Candidate| candidate.designated == candidate.address;
    let says_backup = |candidate: &&Candidate| candidate.backup == candidate.address;
    let backup = eligible()
        .filter(|candidate| !says_designated(candidate))
        .min_by_key(|candidate| Reverse((says_backup(candidate), rank(candidate))));
    let designated = eligible().filter(says_designated).max_by_key(rank).or(backup);
    Elected {
        designated: designated.map(|candidate| candidate.address),
        backup: backup.map(|candidate| candidate.address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Router `n` is at 10.0.0.n; `designated` and `backup` are numbers too, 0 nobody.
    fn candidate(n: u8, priority: u8, designated: u8, backup: u8) -> Candidate {
        let address = |n: u8| if n == 0 { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::new(10, 0, 0, n) };
        Candidate {
            router: RouterId(Ipv4Addr::new(n, n, n, n)),
            address: address(n),
            priority,
            designated: address(designated),
            backup: address(backup),
        }
    }

    #[test]
    fn every_kind_of_link() {
        // (what it is, the routers, of whom the first decides, designated, backup)
        let cases: [(&str, &[Candidate], u8, u8); 9] = [
            ("alone", &[candidate(1, 1, 0, 0)], 1, 0),
            ("alone, and never", &[candidate(1, 0, 0, 0)], 0, 0),
            (
                "all start at once: the highest is both, until it says otherwise",
                &[candidate(1, 1, 0, 0), candidate(2, 1, 0, 0), candidate(3, 1, 0, 0)],
                3,
                3,
            ),
            (
                "the same, seen by the highest",
                &[candidate(3, 1, 0, 0), candidate(1, 1, 0, 0), candidate(2, 1, 0, 0)],
                3,
                2,
            ),
            ("priority goes before router id", &[candidate(1, 5, 0, 0), candidate(2, 1, 0, 0)], 1, 2),
            (
                "who comes later does not take over",
                &[candidate(9, 9, 0, 0), candidate(1, 1, 1, 2), candidate(2, 1, 1, 2)],
                1,
                2,
            ),
            (
                "the backup steps up",
                &[candidate(2, 1, 1, 2), candidate(3, 1, 1, 2), candidate(4, 1, 1, 2)],
                2,
                4,
            ),
            ("two designated: the higher stays", &[candidate(1, 1, 1, 0), candidate(2, 1, 2, 0)], 2, 1),
            ("nobody may", &[candidate(1, 0, 0, 0), candidate(2, 0, 0, 0)], 0, 0),
        ];
        for (name, routers, designated, backup) in cases {
            let number = |address: Option<Ipv4Addr>| address.map_or(0, |address| address.octets()[3]);
            let elected = elect(routers, routers[0].address);
            assert_eq!((number(elected.designated), number(elected.backup)), (designated, backup), "{name}");
        }
    }
}
