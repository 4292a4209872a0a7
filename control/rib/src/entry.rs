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

/// The candidates of all prefixes that have several.
#[derive(Debug, Default)]
pub(crate) struct AllSeveral {
    list: Vec<Several>,
    free: Vec<u32>,
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

    pub(crate) fn candidates<'s>(&'s self, several: &'s AllSeveral) -> &'s [Candidate] {
        match &self.body {
            Body::Empty => &[],
            Body::One(candidate) => core::slice::from_ref(candidate),
            Body::Several(index) => &several.get(*index).candidates,
        }
    }
}

impl AllSeveral {
    pub(crate) fn get(&self, index: u32) -> &Several {
        &self.list[index as usize]
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Several {
        &mut self.list[index as usize]
    }

    /// Adds a candidate to a slot; returns the one of the same source that it replaces. Equal ones stay as old.
    pub(crate) fn put(&mut self, slot: &mut Slot, candidate: Candidate) -> Option<Candidate> {
        match slot.body {
            Body::Empty => {
                slot.body = Body::One(candidate);
                None
            }
            Body::One(old) if old.is_of(candidate.protocol, candidate.instance) => {
                slot.body = Body::One(candidate.or_old(old));
                Some(old)
            }
            Body::One(old) => {
                slot.body = Body::Several(self.add(old, candidate));
                None
            }
            Body::Several(index) => {
                let candidates = &mut self.get_mut(index).candidates;
                let place =
                    candidates.iter_mut().find(|old| old.is_of(candidate.protocol, candidate.instance));
                let replaced = match place {
                    Some(place) => Some(core::mem::replace(place, candidate.or_old(*place))),
                    None => {
                        candidates.push(candidate);
                        None
                    }
                };
                candidates.sort_by_key(Candidate::rank);
                replaced
            }
        }
    }

    /// Takes a candidate out of a slot. A single one left is packed later, see [`AllSeveral::pack`].
    pub(crate) fn take(&mut self, slot: &mut Slot, protocol: Protocol, instance: u16) -> Option<Candidate> {
        match slot.body {
            Body::Empty => None,
            Body::One(candidate) => {
                let meant = candidate.is_of(protocol, instance);
                if meant {
                    slot.body = Body::Empty;
                }
                meant.then_some(candidate)
            }
            Body::Several(index) => {
                let candidates = &mut self.get_mut(index).candidates;
                let at = candidates.iter().position(|candidate| candidate.is_of(protocol, instance))?;
                Some(candidates.remove(at))
            }
        }
    }

    /// What a slot holds from here on: with one candidate left, or none, it needs no [`Several`].
    pub(crate) fn pack(&mut self, index: u32) -> Body {
        let several = self.get_mut(index);
        let body = match several.candidates[..] {
            [] => Body::Empty,
            [one] => Body::One(one),
            [..] => return Body::Several(index),
        };
        *several = Several::default();
        self.free.push(index);
        body
    }

    fn add(&mut self, a: Candidate, b: Candidate) -> u32 {
        let mut candidates = vec![a, b];
        candidates.sort_by_key(Candidate::rank);
        let several = Several { candidates, merged: None };
        match self.free.pop() {
            Some(index) => {
                self.list[index as usize] = several;
                index
            }
            None => {
                self.list.push(several);
                u32::try_from(self.list.len() - 1).expect("there are fewer than 2^32 prefixes in memory")
            }
        }
    }
}

impl Candidate {
    fn is_of(&self, protocol: Protocol, instance: u16) -> bool {
        (self.protocol, self.instance) == (protocol, instance)
    }

    /// Whether nothing but the age differs.
    pub(crate) fn is_same_route(&self, other: &Self) -> bool {
        Self { since: 0, ..*self } == Self { since: 0, ..*other }
    }

    /// Itself, as old as `old` where that is the same route.
    fn or_old(self, old: Self) -> Self {
        if self.is_same_route(&old) { old } else { self }
    }

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
