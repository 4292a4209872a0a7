//! What the table keeps for a prefix: its candidates, packed, and what the dataplane was told.

use crate::nexthop::Target;
use crate::protocol::Protocol;
use crate::sets::{GroupId, Sets};

/// One candidate in 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub(crate) protocol: Protocol,
    pub(crate) distance: u8,
    pub(crate) instance: u16,
    pub(crate) metric: u32,
    pub(crate) set: GroupId,
    /// Seconds on the shell's clock when it became what it is.
    pub(crate) since: u32,
}

/// The value of the prefix map. Nearly all prefixes of a full table have one candidate, which is stored here.
#[derive(Debug)]
pub(crate) struct Slot {
    /// 0: the dataplane has no route; else 1 + its group. The highest bit: queued for a look.
    told: u32,
    pub(crate) body: Body,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// The last candidate is gone, the dataplane has not been told yet.
    Empty,
    One(Candidate),
    /// Index of a [`Several`].
    Several(u32),
}

const _: () = assert!(size_of::<Slot>() == 20, "a million slots have to fit");

/// Two or more candidates.
#[derive(Debug, Default)]
pub(crate) struct Several {
    /// Best first.
    pub(crate) candidates: Vec<Candidate>,
    /// The set that equal best candidates were merged into; held by this prefix.
    pub(crate) merged: Option<GroupId>,
}

/// Which of the candidates packets follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// None can be used.
    Nothing,
    One(usize),
    /// Those from the first to before the second index, as one group.
    Merge(usize, usize),
}

const QUEUED: u32 = 1 << 31;

impl Slot {
    pub(crate) const fn new() -> Self {
        Self { told: 0, body: Body::Empty }
    }

    /// The group of the route the dataplane has.
    pub(crate) fn told(&self) -> Option<GroupId> {
        (self.told & !QUEUED).checked_sub(1).map(GroupId)
    }

    pub(crate) fn set_told(&mut self, group: Option<GroupId>) {
        self.told = self.told & QUEUED | group.map_or(0, |group| group.0 + 1);
    }

    /// True the first time only.
    pub(crate) fn queue(&mut self) -> bool {
        let first = self.told & QUEUED == 0;
        self.told |= QUEUED;
        first
    }

    pub(crate) fn unqueue(&mut self) {
        self.told &= !QUEUED;
    }

    pub(crate) fn candidates<'s>(&'s self, several: &'s [Several]) -> &'s [Candidate] {
        match &self.body {
            Body::Empty => &[],
            Body::One(candidate) => core::slice::from_ref(candidate),
            Body::Several(index) => &several[*index as usize].candidates,
        }
    }
}

impl Candidate {
    /// Best first. Metrics compare within a protocol only.
    pub(crate) fn rank(&self) -> (u8, Protocol, u32, u16) {
        (self.distance, self.protocol, self.metric, self.instance)
    }

    fn equals(&self, other: &Self) -> bool {
        (self.distance, self.protocol, self.metric) == (other.distance, other.protocol, other.metric)
    }
}

/// The candidates in runs of equal ones, best first: the index of the first and of the one behind the last.
pub(crate) fn classes(candidates: &[Candidate]) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    core::iter::from_fn(move || {
        let first = candidates.get(start)?;
        let len = candidates[start..].iter().take_while(|other| other.equals(first)).count();
        let class = (start, start + len);
        start += len;
        Some(class)
    })
}

/// Whether a class of equal candidates makes one group.
pub(crate) fn is_merged(class: &[Candidate], sets: &Sets) -> bool {
    1 < class.len() && class.iter().all(|candidate| sets.get(candidate.set).target.merges())
}

/// The next hops of a merged class.
pub(crate) fn merge(class: &[Candidate], sets: &Sets) -> Target {
    let targets = class.iter().map(|candidate| &sets.get(candidate.set).target);
    Target::via(targets.flat_map(|target| target.nexthops().iter().copied()).collect())
}

/// The best class with a usable candidate: all of it where it merges, else the first one of it.
pub(crate) fn choose(candidates: &[Candidate], sets: &Sets) -> Choice {
    for (start, end) in classes(candidates) {
        let class = &candidates[start..end];
        let Some(first) = class.iter().position(|candidate| sets.get(candidate.set).kind.is_some()) else {
            continue;
        };
        return if is_merged(class, sets) { Choice::Merge(start, end) } else { Choice::One(start + first) };
    }
    Choice::Nothing
}
