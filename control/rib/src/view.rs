//! The table as it is read: for `show`, for a dataplane that has to be told everything, for the kernel mirror.

use core::net::Ipv4Addr;

use millrace_net::Prefix;

use crate::entry::{self, Choice, Slot};
use crate::nexthop::{Kind, Target};
use crate::protocol::Protocol;
use crate::rib::{Rib, Route};
use crate::sets::GroupId;

/// A prefix with its candidates.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'r> {
    rib: &'r Rib,
    prefix: Prefix,
    slot: &'r Slot,
}

/// A candidate of a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CandidateView<'r> {
    pub protocol: Protocol,
    pub instance: u16,
    pub distance: u8,
    pub metric: u32,
    pub tag: u32,
    /// Seconds on the clock of [`Rib::insert`] when it became what it is.
    pub since_secs: u32,
    pub target: &'r Target,
    /// What the target comes to; none: it cannot be used.
    pub kind: Option<&'r Kind>,
    /// Whether packets follow it.
    pub selected: bool,
}

/// A next-hop group, whether or not the dataplane has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupView<'r> {
    pub group: GroupId,
    pub target: &'r Target,
    pub kind: Option<&'r Kind>,
    /// What the dataplane was told.
    pub told: Option<&'r Kind>,
    pub candidates: u32,
    pub routes: u32,
}

impl CandidateView<'_> {
    /// The same candidate at another distance.
    pub(crate) fn route(&self, distance: u8) -> Route {
        let Self { protocol, instance, metric, tag, .. } = *self;
        Route { protocol, instance, distance, metric, tag, target: self.target.clone() }
    }
}

impl Rib {
    /// Prefixes with candidates, and those whose removal has not been drained yet.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// By [`Protocol::index`].
    pub fn candidates(&self) -> [usize; Protocol::ALL.len()] {
        self.candidates
    }

    /// Routes the dataplane was told.
    pub fn routes(&self) -> usize {
        self.routes
    }

    /// Groups the dataplane was told.
    pub fn groups(&self) -> usize {
        self.sets.groups
    }

    /// Tracked gateways, and how many of them lead somewhere.
    pub fn gateways(&self) -> (usize, usize) {
        (self.tracker.len(), self.tracker.resolved)
    }

    pub fn entry(&self, prefix: Prefix) -> Option<Entry<'_>> {
        self.table.get(prefix).map(|slot| Entry { rib: self, prefix, slot })
    }

    /// In address order, from the first prefix behind `after`.
    pub fn entries_after(&self, after: Option<Prefix>) -> impl Iterator<Item = Entry<'_>> {
        self.table.after(after).map(|(prefix, slot)| Entry { rib: self, prefix, slot })
    }

    /// `block` and what is inside it, in address order.
    pub fn entries_within(&self, block: Prefix) -> impl Iterator<Item = Entry<'_>> {
        self.table.within(block).map(|(prefix, slot)| Entry { rib: self, prefix, slot })
    }

    /// What a packet to `addr` follows.
    pub fn longest_match(&self, addr: Ipv4Addr) -> Option<Entry<'_>> {
        let mut covering = self.table.covering(addr).map(|(prefix, slot)| Entry { rib: self, prefix, slot });
        covering.find(|entry| entry.group().is_some())
    }

    /// What the dataplane was told, in address order from the first prefix behind `after`.
    pub fn told_routes_after(&self, after: Option<Prefix>) -> impl Iterator<Item = (Prefix, GroupId)> {
        self.table.after(after).filter_map(|(prefix, slot)| Some((prefix, slot.told()?)))
    }

    /// What the dataplane was told, by number.
    pub fn told_groups(&self) -> impl Iterator<Item = (GroupId, &Kind)> {
        self.sets.iter().filter_map(|(id, set)| Some((id, set.told.as_ref()?)))
    }

    /// What the dataplane was told about a group.
    pub fn told_group(&self, group: GroupId) -> Option<&Kind> {
        self.sets.try_get(group)?.told.as_ref()
    }

    /// All groups by number.
    pub fn group_views(&self) -> impl Iterator<Item = GroupView<'_>> {
        self.sets.iter().map(|(group, set)| GroupView {
            group,
            target: &set.target,
            kind: set.kind.as_ref(),
            told: set.told.as_ref(),
            candidates: set.holders,
            routes: set.routes,
        })
    }
}

impl<'r> Entry<'r> {
    pub fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// The group the dataplane was told.
    pub fn group(&self) -> Option<GroupId> {
        self.slot.told()
    }

    /// What the dataplane does with packets to the prefix.
    pub fn kind(&self) -> Option<&'r Kind> {
        self.rib.told_group(self.group()?)
    }

    /// Best first.
    pub fn candidates(&self) -> impl Iterator<Item = CandidateView<'r>> + use<'r> {
        let candidates = self.slot.candidates(&self.rib.several);
        let sets = &self.rib.sets;
        let selected = match entry::choose(candidates, sets) {
            Choice::Nothing => 0..0,
            Choice::One(at) => at..at + 1,
            Choice::Merge(start, end) => start..end,
        };
        let (prefix, tags) = (self.prefix, &self.rib.tags);
        candidates.iter().enumerate().map(move |(i, candidate)| {
            let key = (prefix, candidate.protocol, candidate.instance);
            let set = sets.get(candidate.set);
            CandidateView {
                protocol: candidate.protocol,
                instance: candidate.instance,
                distance: candidate.distance,
                metric: candidate.metric,
                tag: if tags.is_empty() { 0 } else { tags.get(&key).copied().unwrap_or(0) },
                since_secs: candidate.since,
                target: &set.target,
                kind: set.kind.as_ref(),
                selected: selected.contains(&i) && set.kind.is_some(),
            }
        })
    }
}
