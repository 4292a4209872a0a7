//! The table: candidates in, deltas for the dataplane out.

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millrace_net::{Instant, Prefix};

use crate::entry::{self, AllSeveral, Body, Candidate, Choice, Slot};
use crate::nexthop::{IfIndex, Kind, Target, Via};
use crate::prefix_map::{Hint, PrefixMap};
use crate::protocol::Protocol;
use crate::sets::{CROWD, GroupId, Sets, Users};
use crate::tracker::Tracker;

/// A protocol's candidate for a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub protocol: Protocol,
    /// Tells several candidates of one protocol for one prefix apart.
    pub instance: u16,
    /// The lowest wins.
    pub distance: u8,
    /// Among candidates of one protocol and distance the lowest wins; equal ones share the load.
    pub metric: u32,
    /// Carried for policy; 0 is none.
    pub tag: u32,
    pub target: Target,
}

/// What the dataplane is to be told. In order: a group stands before the routes that use it and goes after them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delta {
    /// A new group, or another content for a group; all its routes follow.
    GroupUpsert {
        group: GroupId,
        kind: Kind,
    },
    GroupRemove {
        group: GroupId,
    },
    RouteUpsert {
        prefix: Prefix,
        group: GroupId,
    },
    RouteRemove {
        prefix: Prefix,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Paths of a group at most, ECMP of equal candidates included.
    pub max_paths: usize,
    /// Whether the default route may lead to a next hop.
    pub resolve_via_default: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_paths: 64, resolve_via_default: false }
    }
}

#[derive(Debug)]
pub struct Rib {
    pub(crate) settings: Settings,
    pub(crate) table: PrefixMap<Slot>,
    pub(crate) several: AllSeveral,
    pub(crate) sets: Sets,
    pub(crate) tracker: Tracker,
    pub(crate) up: BTreeSet<IfIndex>,
    /// Neighbours that are known not to answer.
    pub(crate) silent: BTreeSet<(IfIndex, Ipv4Addr)>,
    pub(crate) candidates: [usize; Protocol::ALL.len()],
    /// Routes the dataplane has.
    pub(crate) routes: usize,
    /// Of candidates that have one, by prefix, protocol and instance: few do, and a million slots have to fit.
    pub(crate) tags: BTreeMap<(Prefix, Protocol, u16), u32>,
    /// Prefixes to be looked at by the next drain.
    queue: VecDeque<(Prefix, Hint)>,
    stale_sets: BTreeSet<GroupId>,
    /// Groups whose content may differ from what the dataplane was told.
    changed_groups: BTreeSet<GroupId>,
    walk: Walk,
    /// The set of the last insertion: neighbours in a table mostly share it.
    last: Option<GroupId>,
}

/// A walk through the whole table, for sets with so many users that they are not remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Walk {
    running: bool,
    after: Option<Prefix>,
    /// Something changed meanwhile: once more from the start.
    again: bool,
}

/// Entries a drain looks at in a walk, for each prefix it may settle. Looking costs far less.
const STRIDE: usize = 16;

impl Rib {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            table: PrefixMap::default(),
            several: AllSeveral::default(),
            sets: Sets::default(),
            tracker: Tracker::default(),
            up: BTreeSet::new(),
            silent: BTreeSet::new(),
            candidates: [0; Protocol::ALL.len()],
            routes: 0,
            tags: BTreeMap::new(),
            queue: VecDeque::new(),
            stale_sets: BTreeSet::new(),
            changed_groups: BTreeSet::new(),
            walk: Walk::default(),
            last: None,
        }
    }

    /// Adds a candidate, or replaces the one of the same protocol and instance. An equal one keeps its age.
    pub fn insert(&mut self, prefix: Prefix, route: &Route, now: Instant) {
        let set = self.hold(&route.target);
        let since = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let Route { protocol, instance, distance, metric, tag, target: _ } = *route;
        let retagged = self.set_tag((prefix, protocol, instance), tag);
        let candidate = Candidate { protocol, distance, instance, metric, set, since };
        let (slot, hint) = self.table.locate_or_insert_with(prefix, Slot::new);
        let replaced = self.several.put(slot, candidate);
        if replaced.is_some_and(|old| old.is_same_route(&candidate)) {
            // Never the last holder: the old candidate has it too.
            let _ = self.sets.release(set);
            if retagged && slot.queue() {
                self.queue.push_back((prefix, hint));
            }
            return;
        }
        if slot.queue() {
            self.queue.push_back((prefix, hint));
        }
        match replaced {
            Some(old) => self.drop_set(old.set, prefix),
            None => self.candidates[protocol.index()] += 1,
        }
        self.sets.add_user(set, prefix);
        self.tracker.prefix_changed(prefix, protocol == Protocol::Connected);
    }

    /// Gives the candidates of a protocol that stand at one distance another one.
    pub fn change_distance(&mut self, protocol: Protocol, from: u8, to: u8, now: Instant) {
        if from == to || self.candidates[protocol.index()] == 0 {
            return;
        }
        let meant = |entry: crate::Entry<'_>| {
            let prefix = entry.prefix();
            let all = entry.candidates().filter(|c| c.protocol == protocol && c.distance == from);
            all.map(|c| (prefix, c.route(to))).collect::<Vec<_>>()
        };
        let all: Vec<(Prefix, Route)> = self.entries_after(None).flat_map(meant).collect();
        for (prefix, route) in all {
            self.insert(prefix, &route, now);
        }
    }

    /// Removes a candidate. Absent is fine.
    pub fn remove(&mut self, prefix: Prefix, protocol: Protocol, instance: u16) {
        let Some((slot, hint)) = self.table.locate(prefix) else { return };
        let Some(removed) = self.several.take(slot, protocol, instance) else { return };
        if slot.queue() {
            self.queue.push_back((prefix, hint));
        }
        self.set_tag((prefix, protocol, instance), 0);
        self.candidates[protocol.index()] -= 1;
        self.drop_set(removed.set, prefix);
        self.tracker.prefix_changed(prefix, protocol == Protocol::Connected);
    }

    /// Says whether it differs from before.
    fn set_tag(&mut self, key: (Prefix, Protocol, u16), tag: u32) -> bool {
        if tag != 0 {
            return self.tags.insert(key, tag) != Some(tag);
        }
        !self.tags.is_empty() && self.tags.remove(&key).is_some()
    }

    /// Whether frames can leave through an interface. Unknown ones are down.
    pub fn set_interface(&mut self, interface: IfIndex, up: bool) {
        let changed = if up { self.up.insert(interface) } else { self.up.remove(&interface) };
        if !changed {
            return;
        }
        self.tracker.interface_changed(interface);
        self.stale(|via| match via {
            Via::OnLink { interface: on, .. } | Via::Watched { interface: on, .. } | Via::Interface(on) => {
                on == interface
            }
            Via::Gateway(_) => false,
        });
    }

    /// Whether a neighbour is known not to answer: [`Via::Watched`] then cannot be used. Unknown ones are thought to
    /// answer.
    pub fn set_silent(&mut self, interface: IfIndex, neighbor: Ipv4Addr, silent: bool) {
        let key = (interface, neighbor);
        let changed = if silent { self.silent.insert(key) } else { self.silent.remove(&key) };
        if !changed {
            return;
        }
        self.tracker.interface_changed(interface);
        self.stale(|via| via == Via::Watched { interface, gateway: neighbor });
    }

    /// Whether [`Rib::set_silent`] has said so.
    pub fn is_silent(&self, interface: IfIndex, neighbor: Ipv4Addr) -> bool {
        self.silent.contains(&(interface, neighbor))
    }

    /// Sets with such a next hop are computed again.
    fn stale(&mut self, concerned: impl Fn(Via) -> bool) {
        let sets = self.sets.held();
        let stale =
            sets.filter(|(_, set)| set.target.nexthops().iter().any(|nexthop| concerned(nexthop.via)));
        self.stale_sets.extend(stale.map(|(id, _)| id));
    }

    pub fn set_settings(&mut self, settings: Settings) {
        if self.settings == settings {
            return;
        }
        self.tracker.all_changed();
        self.settings = settings;
        self.stale_sets.extend(self.sets.held().map(|(id, _)| id));
    }

    /// Whether a drain may have something to say.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && !self.walk.running
            && !self.tracker.has_stale()
            && self.stale_sets.is_empty()
            && self.changed_groups.is_empty()
            && !self.sets.has_idle()
    }

    /// Appends what the dataplane is to be told: the routes of `limit` changed prefixes at most, and their groups.
    ///
    /// Changes that cancel out before a drain are never told. It may say nothing and still not be idle afterwards.
    pub fn drain(&mut self, limit: usize, deltas: &mut Vec<Delta>) {
        self.drain_noting(limit, deltas, |_| {});
    }

    /// The same; `settled` hears of every prefix whose candidates were looked at. Its best route may have another source,
    /// metric or tag although the dataplane has nothing to be told.
    pub fn drain_noting(&mut self, limit: usize, deltas: &mut Vec<Delta>, mut settled: impl FnMut(Prefix)) {
        self.resolve_stale();
        self.tell_groups(deltas);
        // Steady churn must not keep the walk waiting.
        if self.walk.running && self.queue.len() < limit {
            self.walk_on(limit * STRIDE);
        }
        for _ in 0..limit {
            let Some((prefix, hint)) = self.queue.pop_front() else { break };
            self.settle(prefix, hint, deltas);
            settled(prefix);
        }
        if self.queue.is_empty() && !self.walk.running {
            self.sets.forget_idle(|group| deltas.push(Delta::GroupRemove { group }));
            self.queue.shrink_to(1024);
        }
    }

    /// The set of a target with one holder more; interned and resolved first if it is new.
    fn hold(&mut self, target: &Target) -> GroupId {
        if let Some(last) = self.last
            && *self.sets.get(last).target == *target
        {
            self.sets.hold(last);
            return last;
        }
        let id = match self.sets.find(target) {
            Some(id) if self.sets.get(id).holders != 0 => id,
            Some(id) => {
                let kind = self.track(id, target);
                let set = self.sets.get_mut(id);
                set.kind = kind;
                self.changed_groups.insert(id);
                id
            }
            None => {
                let id = self.sets.add(target.clone());
                self.sets.get_mut(id).kind = self.track(id, target);
                id
            }
        };
        self.sets.hold(id);
        self.last = Some(id);
        id
    }

    /// Follows the gateways of a set from here on. Returns what it comes to.
    fn track(&mut self, id: GroupId, target: &Target) -> Option<Kind> {
        for gateway in gateways(target) {
            if !self.tracker.knows(gateway) {
                self.search(gateway);
            }
            self.tracker.join(gateway, id);
        }
        self.resolved(target)
    }

    /// A candidate of `prefix` lets go of its set.
    fn drop_set(&mut self, id: GroupId, prefix: Prefix) {
        self.sets.remove_user(id, prefix);
        self.release(id);
    }

    fn release(&mut self, id: GroupId) {
        if !self.sets.release(id) {
            return;
        }
        for gateway in gateways(&self.sets.get(id).target) {
            self.tracker.leave(gateway, id);
        }
        self.stale_sets.remove(&id);
        self.changed_groups.remove(&id);
        if self.last == Some(id) {
            self.last = None;
        }
        self.sets.bury(id);
    }

    fn enqueue(&mut self, prefix: Prefix) {
        let Some((slot, hint)) = self.table.locate(prefix) else { return };
        if slot.queue() {
            self.queue.push_back((prefix, hint));
        }
    }

    /// Searches stale gateways and re-computes their sets; queues the prefixes whose choice may change by it.
    fn resolve_stale(&mut self) {
        for gateway in self.tracker.take_stale() {
            if self.search(gateway) {
                self.stale_sets.extend(self.tracker.sets(gateway));
            }
        }
        for id in core::mem::take(&mut self.stale_sets) {
            let kind = self.resolved(&self.sets.get(id).target);
            let set = self.sets.get_mut(id);
            if set.kind == kind {
                continue;
            }
            let turned = set.kind.is_some() != kind.is_some();
            set.kind = kind;
            if set.told.is_some() {
                self.changed_groups.insert(id);
            }
            if !turned {
                continue;
            }
            let users = match set.users() {
                Users::Few(users) => users.clone(),
                Users::Many => {
                    self.walk.again = true;
                    self.walk.running = true;
                    continue;
                }
            };
            for prefix in users {
                self.enqueue(prefix);
            }
        }
    }

    /// Tells what has become of groups the dataplane has.
    fn tell_groups(&mut self, deltas: &mut Vec<Delta>) {
        for group in core::mem::take(&mut self.changed_groups) {
            let set = self.sets.get_mut(group);
            let kind = match &set.kind {
                Some(kind) => kind.clone(),
                // The routes will leave it one by one; until then nothing is sent where nobody listens.
                None if CROWD < set.routes => Kind::Unreachable,
                None => continue,
            };
            if set.told.as_ref() != Some(&kind) {
                set.told = Some(kind.clone());
                deltas.push(Delta::GroupUpsert { group, kind });
            }
        }
    }

    /// Queues prefixes whose choice differs from what was told, among the next `count` of the table.
    fn walk_on(&mut self, count: usize) {
        if self.walk.again && self.walk.after.is_none() {
            self.walk.again = false;
        }
        let mut found = Vec::new();
        let mut last = None;
        for (prefix, slot) in self.table.after(self.walk.after).take(count) {
            let candidates = slot.candidates(&self.several);
            let differs = match entry::choose(candidates, &self.sets) {
                Choice::Nothing => slot.told().is_some(),
                Choice::One(at) => slot.told() != Some(candidates[at].set),
                Choice::Merge(..) => true,
            };
            if differs {
                found.push(prefix);
            }
            last = Some(prefix);
        }
        self.walk.after = last;
        if last.is_none() {
            self.walk.running = self.walk.again;
        }
        for prefix in found {
            self.enqueue(prefix);
        }
    }

    /// Chooses among the candidates of a prefix and tells the difference.
    fn settle(&mut self, prefix: Prefix, hint: Hint, deltas: &mut Vec<Delta>) {
        let Some(slot) = self.table.get_mut_near(prefix, hint) else { return };
        slot.unqueue();
        let told = slot.told();
        let chosen = match slot.body {
            Body::Empty => None,
            Body::One(candidate) => self.sets.get(candidate.set).kind.is_some().then_some(candidate.set),
            Body::Several(index) => {
                let chosen = self.choose_of_several(index);
                let body = self.several.pack(index);
                if matches!(body, Body::Empty) {
                    self.table.remove(prefix);
                } else if let Some(slot) = self.table.get_mut_near(prefix, hint) {
                    slot.body = body;
                    slot.set_told(chosen);
                }
                return self.tell(prefix, told, chosen, deltas);
            }
        };
        slot.set_told(chosen);
        if matches!(slot.body, Body::Empty) {
            self.table.remove(prefix);
        }
        self.tell(prefix, told, chosen, deltas);
    }

    /// Tells that the route of a prefix uses another group than before.
    fn tell(
        &mut self,
        prefix: Prefix,
        told: Option<GroupId>,
        chosen: Option<GroupId>,
        deltas: &mut Vec<Delta>,
    ) {
        if told == chosen {
            return;
        }
        match chosen {
            Some(group) => {
                self.tell_group(group, deltas);
                self.sets.use_group(group);
                deltas.push(Delta::RouteUpsert { prefix, group });
            }
            None => deltas.push(Delta::RouteRemove { prefix }),
        }
        self.routes += usize::from(chosen.is_some());
        if let Some(group) = told {
            self.routes -= 1;
            self.sets.leave_group(group);
        }
    }

    /// The group of the best of several candidates. Keeps the set they were merged into, and lets go of the last one.
    fn choose_of_several(&mut self, index: u32) -> Option<GroupId> {
        let several = self.several.get(index);
        let old = several.merged;
        let (chosen, merged) = match entry::choose(&several.candidates, &self.sets) {
            Choice::Nothing => (None, None),
            Choice::One(at) => (Some(several.candidates[at].set), None),
            Choice::Merge(start, end) => {
                let target = entry::merge(&several.candidates[start..end], &self.sets);
                let merged = self.hold(&target);
                (Some(merged), Some(merged))
            }
        };
        self.several.get_mut(index).merged = merged;
        if let Some(old) = old {
            self.release(old);
        }
        chosen
    }

    /// Makes sure that the dataplane has the group.
    fn tell_group(&mut self, group: GroupId, deltas: &mut Vec<Delta>) {
        let set = self.sets.get_mut(group);
        if set.told.is_some() && !self.changed_groups.remove(&group) {
            return;
        }
        let Some(kind) = &set.kind else { return };
        if set.told.as_ref() != Some(kind) {
            deltas.push(Delta::GroupUpsert { group, kind: kind.clone() });
            if set.told.replace(kind.clone()).is_none() {
                self.sets.groups += 1;
            }
        }
    }
}

fn gateways(target: &Target) -> Vec<Ipv4Addr> {
    let gateways = target.nexthops().iter().filter_map(|nexthop| match nexthop.via {
        Via::Gateway(gateway) => Some(gateway),
        Via::OnLink { .. } | Via::Watched { .. } | Via::Interface(_) => None,
    });
    gateways.collect()
}
