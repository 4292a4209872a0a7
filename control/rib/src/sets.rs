//! Interned targets. All routes with the same next hops share one, and it is their next-hop group in the dataplane.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use millrace_net::Prefix;

use crate::nexthop::{Kind, Target};

/// Number of a next-hop group. Not given again before the dataplane has been told to forget its last use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(pub u32);

/// Users of a set that are remembered one by one. Beyond that, finding them takes a walk through the table.
const FEW: usize = 32;

#[derive(Default, Debug)]
pub(crate) struct Sets {
    sets: Vec<Option<Set>>,
    free: Vec<u32>,
    index: HashMap<Arc<Target>, GroupId>,
    /// Sets whose group may have become superfluous.
    idle: BTreeSet<GroupId>,
    /// Groups the dataplane has.
    pub(crate) groups: usize,
}

#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) target: Arc<Target>,
    /// Candidates with this target, and prefixes for which candidates were merged into it.
    pub(crate) holders: u32,
    users: Users,
    /// What it comes to at present; none: it cannot be used.
    pub(crate) kind: Option<Kind>,
    /// What the dataplane was told; none: it has no such group.
    pub(crate) told: Option<Kind>,
    /// Routes of the dataplane that use the group.
    pub(crate) routes: u32,
}

/// The prefixes that have a candidate with a target.
#[derive(Debug)]
pub(crate) enum Users {
    /// One entry for each candidate.
    Few(Vec<Prefix>),
    Many,
}

impl Sets {
    /// The set of `target` if there is one.
    pub(crate) fn find(&self, target: &Target) -> Option<GroupId> {
        self.index.get(target).copied()
    }

    /// A new set, without holders and not resolved.
    pub(crate) fn add(&mut self, target: Target) -> GroupId {
        let target = Arc::new(target);
        let set = Set {
            target: Arc::clone(&target),
            holders: 0,
            users: Users::Few(Vec::new()),
            kind: None,
            told: None,
            routes: 0,
        };
        let id = match self.free.pop() {
            Some(free) => {
                self.sets[free as usize] = Some(set);
                GroupId(free)
            }
            None => {
                self.sets.push(Some(set));
                GroupId(u32::try_from(self.sets.len() - 1).expect("fewer sets than memory has bytes"))
            }
        };
        self.index.insert(target, id);
        id
    }

    pub(crate) fn get(&self, id: GroupId) -> &Set {
        self.sets[id.0 as usize].as_ref().expect("a set lives while it has holders or a group")
    }

    pub(crate) fn try_get(&self, id: GroupId) -> Option<&Set> {
        self.sets.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: GroupId) -> &mut Set {
        self.sets[id.0 as usize].as_mut().expect("a set lives while it has holders or a group")
    }

    /// Sets with holders.
    pub(crate) fn held(&self) -> impl Iterator<Item = (GroupId, &Set)> {
        self.iter().filter(|(_, set)| set.holders != 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (GroupId, &Set)> {
        (0..).zip(&self.sets).filter_map(|(id, set)| Some((GroupId(id), set.as_ref()?)))
    }

    pub(crate) fn hold(&mut self, id: GroupId) {
        self.get_mut(id).holders += 1;
    }

    /// True when nobody holds it any more: the caller then forgets its gateways and calls [`Sets::bury`].
    #[must_use]
    pub(crate) fn release(&mut self, id: GroupId) -> bool {
        let set = self.get_mut(id);
        set.holders -= 1;
        set.holders == 0
    }

    pub(crate) fn add_user(&mut self, id: GroupId, prefix: Prefix) {
        let set = self.get_mut(id);
        if let Users::Few(users) = &mut set.users {
            if users.len() < FEW { users.push(prefix) } else { set.users = Users::Many }
        }
    }

    pub(crate) fn remove_user(&mut self, id: GroupId, prefix: Prefix) {
        if let Users::Few(users) = &mut self.get_mut(id).users
            && let Some(at) = users.iter().position(|user| *user == prefix)
        {
            users.swap_remove(at);
        }
    }

    /// A set without holders goes when the dataplane has forgotten its group. Until then it may be held again.
    pub(crate) fn bury(&mut self, id: GroupId) {
        let set = self.get_mut(id);
        set.users = Users::Few(Vec::new());
        if set.told.is_some() {
            self.idle.insert(id);
        } else {
            self.free(id);
        }
    }

    fn free(&mut self, id: GroupId) {
        if let Some(set) = self.sets[id.0 as usize].take() {
            self.index.remove(&set.target);
            self.free.push(id.0);
        }
    }

    pub(crate) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// A route of the dataplane uses the group from here on.
    pub(crate) fn use_group(&mut self, id: GroupId) {
        self.get_mut(id).routes += 1;
    }

    /// A route of the dataplane uses the group no longer.
    pub(crate) fn leave_group(&mut self, id: GroupId) {
        let set = self.get_mut(id);
        set.routes -= 1;
        if set.routes == 0 {
            self.idle.insert(id);
        }
    }

    /// Groups the dataplane is to forget.
    pub(crate) fn forget_idle(&mut self, mut forgotten: impl FnMut(GroupId)) {
        while let Some(id) = self.idle.pop_first() {
            let set = self.get_mut(id);
            if set.routes == 0 && set.told.take().is_some() {
                self.groups -= 1;
                forgotten(id);
                if self.get(id).holders == 0 {
                    self.free(id);
                }
            }
        }
    }
}

impl Set {
    pub(crate) fn users(&self) -> &Users {
        &self.users
    }
}

/// Routes in use beyond which a group that leads nowhere is turned into an unreachable one before they leave it.
pub(crate) const CROWD: u32 = 32;
