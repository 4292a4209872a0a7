//! Next-hop groups: made, changed in place, and taken out when no route uses them.

use std::sync::atomic::Ordering;

use super::{Refusal, Retired, Writer};
use crate::group::{Buckets, Group, GroupSpec, MAX_MEMBERS};
use crate::id::{AdjacencyId, GroupId};
use crate::share::{Member, assign, bucket_count};
use crate::word::{blend, lanes};

#[derive(Debug, Default)]
pub(super) struct Entry {
    /// None: not in use.
    spec: Option<GroupSpec>,
    /// Routes that use it.
    pub(super) routes: u32,
}

impl Writer<'_> {
    pub fn group_insert(&mut self, spec: &GroupSpec) -> Result<GroupId, Refusal> {
        let slot = self.allocate(|w| w.group_slots.take(), Refusal::GroupsExhausted)?;
        let id = GroupId(slot);
        if self.groups.len() <= id.index() {
            self.groups.resize_with(id.index() + 1, Entry::default);
        }
        match self.build(Group::None, spec) {
            Ok(group) => {
                self.hold_members(spec);
                self.store_group(id, group);
                self.groups[id.index()] = Entry { spec: Some(spec.clone()), routes: 0 };
                Ok(id)
            }
            Err(refusal) => {
                self.group_slots.retire();
                self.group_slots.give_back(slot);
                Err(refusal)
            }
        }
    }

    /// Changes what a group is; every route that uses it follows at once. Flows of members that stay keep their way,
    /// but for what the weights say that others must get.
    pub fn group_replace(&mut self, id: GroupId, spec: &GroupSpec) -> Result<(), Refusal> {
        if !self.group_exists(id) {
            return Err(Refusal::UnknownGroup);
        }
        let old = self.reader().group(id);
        let new = self.build(old, spec)?;
        self.hold_members(spec);
        self.store_group(id, new);
        if let Some(old_spec) = self.groups[id.index()].spec.replace(spec.clone()) {
            self.release_members(&old_spec);
        }
        self.retire_block(old, new);
        Ok(())
    }

    /// Removes a group that no route uses. Removing what is not there is fine.
    pub fn group_remove(&mut self, id: GroupId) -> Result<(), Refusal> {
        let Some(entry) = self.groups.get_mut(id.index()) else { return Ok(()) };
        if 0 < entry.routes {
            return Err(Refusal::GroupInUse);
        }
        let Some(spec) = entry.spec.take() else { return Ok(()) };
        // The word stays as it is for readers that hold the id; it is cleared when the id is reclaimed.
        self.retire_block(self.reader().group(id), Group::None);
        self.retire(Retired::Group(id.0));
        self.release_members(&spec);
        Ok(())
    }

    pub fn group_spec(&self, id: GroupId) -> Option<&GroupSpec> {
        self.groups.get(id.index())?.spec.as_ref()
    }

    /// How many routes use a group.
    pub fn group_routes(&self, id: GroupId) -> u32 {
        self.groups.get(id.index()).map_or(0, |entry| entry.routes)
    }

    /// How many buckets each member of a forwarding group has, by the members' order in its spec; nothing for others.
    pub fn group_shares(&self, id: GroupId) -> Vec<(AdjacencyId, u32)> {
        let Some(GroupSpec::Forward(members)) = self.group_spec(id) else { return Vec::new() };
        let owners = self.owners(self.reader().group(id));
        merged(members)
            .into_iter()
            .map(|(id, _)| (id, owners.iter().map(|&owner| u32::from(owner == id)).sum()))
            .collect()
    }

    pub(super) fn group_exists(&self, id: GroupId) -> bool {
        self.group_spec(id).is_some()
    }

    pub(super) fn store_group(&self, id: GroupId, group: Group) {
        if let Some(word) = self.memory.groups.get(id.index()) {
            word.store(group.encode(), Ordering::Release);
        }
    }

    /// The group for `spec`, its buckets filled so that flows of `old` move as little as can be.
    fn build(&mut self, old: Group, spec: &GroupSpec) -> Result<Group, Refusal> {
        let members = match spec {
            GroupSpec::Forward(members) => members,
            GroupSpec::Glean(port) => return Ok(Group::Glean(*port)),
            GroupSpec::Local => return Ok(Group::Local),
            GroupSpec::Blackhole => return Ok(Group::Blackhole),
            GroupSpec::Unreachable => return Ok(Group::Unreachable),
            GroupSpec::Prohibit => return Ok(Group::Prohibit),
        };
        if !(1..=MAX_MEMBERS).contains(&members.len()) || members.iter().any(|&(_, weight)| weight == 0) {
            return Err(Refusal::BadMembers);
        }
        if !members.iter().all(|&(id, _)| self.adjacency_exists(id)) {
            return Err(Refusal::UnknownAdjacency);
        }
        let members = merged(members);
        if let &[(only, _)] = members.as_slice() {
            return Ok(Group::Forward(Buckets::single(only)));
        }
        let mut owners = self.owners(old);
        let wanted = bucket_count(&members);
        let reusable = match old {
            Group::Forward(buckets) => Some(buckets).filter(|buckets| wanted <= buckets.len()),
            Group::None
            | Group::Glean(_)
            | Group::Local
            | Group::Blackhole
            | Group::Unreachable
            | Group::Prohibit => None,
        };
        let buckets = match reusable {
            Some(buckets) => buckets,
            None => {
                Buckets::block(self.allocate(|w| w.blocks.take(wanted), Refusal::BucketsExhausted)?, wanted)
            }
        };
        // The hash is cut to its low bits: in a longer block, bucket b has the flows of bucket b modulo the old length.
        let before = owners.len();
        owners = (0..buckets.len() as usize)
            .map(|b| owners.get(b % before.max(1)).copied().unwrap_or_default())
            .collect();
        assign(&mut owners, &members);
        for (slot, owner) in (buckets.base()..).zip(&owners) {
            if let Some(word) = self.memory.buckets.get(slot as usize / 4) {
                blend(word, lanes(1 << (slot & 3)), owner.0);
            }
        }
        Ok(Group::Forward(buckets))
    }

    /// The adjacency of each bucket; nothing for a group that does not forward.
    fn owners(&self, group: Group) -> Vec<AdjacencyId> {
        let Group::Forward(buckets) = group else { return Vec::new() };
        let reader = self.reader();
        (0..buckets.len()).map(|hash| reader.bucket(buckets, hash)).collect()
    }

    fn retire_block(&mut self, old: Group, new: Group) {
        if let Group::Forward(buckets) = old
            && buckets.only().is_none()
            && new != old
        {
            self.retire(Retired::Block { base: buckets.base(), len: buckets.len() });
        }
    }

    fn hold_members(&mut self, spec: &GroupSpec) {
        if let GroupSpec::Forward(members) = spec {
            for &(id, _) in members {
                self.hold_adjacency(id);
            }
        }
    }

    fn release_members(&mut self, spec: &GroupSpec) {
        if let GroupSpec::Forward(members) = spec {
            for &(id, _) in members {
                self.release_adjacency(id);
            }
        }
    }
}

/// One entry for each adjacency, in order of first mention.
fn merged(members: &[(AdjacencyId, u16)]) -> Vec<Member> {
    let mut merged: Vec<Member> = Vec::with_capacity(members.len());
    for &(id, weight) in members {
        match merged.iter_mut().find(|(other, _)| *other == id) {
            Some((_, sum)) => *sum += u32::from(weight),
            None => merged.push((id, u32::from(weight))),
        }
    }
    merged
}
