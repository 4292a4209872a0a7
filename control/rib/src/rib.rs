//! The table: candidates in, deltas for the dataplane out.

use core::net::Ipv4Addr;
use std::collections::{BTreeSet, VecDeque};

use millrace_net::{Instant, Prefix};

use crate::entry::{self, Body, Candidate, Choice, Several, Slot};
use crate::nexthop::{self, Found, IfIndex, Kind, Nexthop, Special, Target, Unresolved, Via};
use crate::prefix_map::PrefixMap;
use crate::protocol::Protocol;
use crate::sets::{CROWD, GroupId, Sets, Users};
use crate::tracker::{Look, Search, Tracker};

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
    pub(crate) several: Vec<Several>,
    several_free: Vec<u32>,
    pub(crate) sets: Sets,
    pub(crate) tracker: Tracker,
    up: BTreeSet<IfIndex>,
    pub(crate) candidates: [usize; Protocol::ALL.len()],
    /// Routes the dataplane has.
    pub(crate) routes: usize,
    /// Prefixes to be looked at by the next drain.
    queue: VecDeque<Prefix>,
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
            several: Vec::new(),
            several_free: Vec::new(),
            sets: Sets::default(),
            tracker: Tracker::default(),
            up: BTreeSet::new(),
            candidates: [0; Protocol::ALL.len()],
            routes: 0,
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
        let Route { protocol, instance, distance, metric, target: _ } = *route;
        let candidate = Candidate { protocol, distance, instance, metric, set, since };
        let slot = self.table.get_or_insert_with(prefix, Slot::new);
        let replaced = match slot.body {
            Body::Empty => {
                slot.body = Body::One(candidate);
                None
            }
            Body::One(old) if same_source(&old, &candidate) => {
                slot.body = Body::One(kept_age(old, candidate));
                Some(old)
            }
            Body::One(old) => {
                let mut candidates = vec![old, candidate];
                candidates.sort_by_key(Candidate::rank);
                let several = Several { candidates, merged: None };
                let index = match self.several_free.pop() {
                    Some(index) => {
                        self.several[index as usize] = several;
                        index
                    }
                    None => {
                        self.several.push(several);
                        u32::try_from(self.several.len() - 1)
                            .expect("fewer than 2^32 prefixes with several routes")
                    }
                };
                slot.body = Body::Several(index);
                None
            }
            Body::Several(index) => {
                let candidates = &mut self.several[index as usize].candidates;
                let replaced = match candidates.iter_mut().find(|old| same_source(old, &candidate)) {
                    Some(place) => Some(core::mem::replace(place, kept_age(*place, candidate))),
                    None => {
                        candidates.push(candidate);
                        None
                    }
                };
                candidates.sort_by_key(Candidate::rank);
                replaced
            }
        };
        match replaced {
            Some(old) if old.rank() == candidate.rank() && old.set == set => {
                // The set has one holder more than before.
                let _ = self.sets.release(set);
                return;
            }
            Some(old) => self.drop_set(old.set, prefix),
            None => self.candidates[protocol.index()] += 1,
        }
        self.sets.add_user(set, prefix);
        self.touch(prefix, protocol);
    }

    /// Removes a candidate. Absent is fine.
    pub fn remove(&mut self, prefix: Prefix, protocol: Protocol, instance: u16) {
        let Some(slot) = self.table.get_mut(prefix) else { return };
        let is_meant =
            |candidate: &Candidate| (candidate.protocol, candidate.instance) == (protocol, instance);
        let removed = match slot.body {
            Body::Empty => return,
            Body::One(candidate) if is_meant(&candidate) => {
                slot.body = Body::Empty;
                candidate
            }
            Body::One(_) => return,
            Body::Several(index) => {
                let candidates = &mut self.several[index as usize].candidates;
                let Some(at) = candidates.iter().position(is_meant) else { return };
                candidates.remove(at)
                // A single one left is packed by the drain, which also lets go of the merged set.
            }
        };
        self.candidates[protocol.index()] -= 1;
        self.drop_set(removed.set, prefix);
        self.touch(prefix, protocol);
    }

    /// Whether frames can leave through an interface. Unknown ones are down.
    pub fn set_interface(&mut self, interface: IfIndex, up: bool) {
        let changed = if up { self.up.insert(interface) } else { self.up.remove(&interface) };
        if !changed {
            return;
        }
        self.tracker.interface_changed(interface);
        let direct = self.sets.held().filter(|(_, set)| {
            set.target.nexthops().iter().any(|nexthop| match nexthop.via {
                Via::OnLink { interface: on, .. } | Via::Interface(on) => on == interface,
                Via::Gateway(_) => false,
            })
        });
        self.stale_sets.extend(direct.map(|(id, _)| id));
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
        self.resolve_stale();
        self.tell_groups(deltas);
        if self.queue.is_empty() && self.walk.running {
            self.walk_on(limit * STRIDE);
        }
        for _ in 0..limit {
            let Some(prefix) = self.queue.pop_front() else { break };
            self.settle(prefix, deltas);
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

    /// The candidates of a prefix have changed: it is looked at, and so are gateways that may depend on it.
    fn touch(&mut self, prefix: Prefix, protocol: Protocol) {
        self.tracker.prefix_changed(prefix, protocol == Protocol::Connected);
        self.enqueue(prefix);
    }

    fn enqueue(&mut self, prefix: Prefix) {
        if self.table.get_mut(prefix).is_some_and(Slot::queue) {
            self.queue.push_back(prefix);
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
    fn settle(&mut self, prefix: Prefix, deltas: &mut Vec<Delta>) {
        let Some(slot) = self.table.get_mut(prefix) else { return };
        slot.unqueue();
        let (told, body) = (slot.told(), slot.body);
        let chosen = match body {
            Body::Empty => None,
            Body::One(candidate) => self.sets.get(candidate.set).kind.is_some().then_some(candidate.set),
            Body::Several(index) => self.choose_of_several(index),
        };
        if let Some(group) = chosen {
            self.tell_group(group, deltas);
        }
        let slot = self.table.get_mut(prefix).expect("nothing was removed since it was found");
        if let Body::Several(index) = slot.body {
            let several = &mut self.several[index as usize];
            if let [] | [_] = several.candidates[..] {
                slot.body = several.candidates.first().map_or(Body::Empty, |one| Body::One(*one));
                *several = Several::default();
                self.several_free.push(index);
            }
        }
        slot.set_told(chosen);
        if chosen.is_none() && matches!(slot.body, Body::Empty) {
            self.table.remove(prefix);
        }
        if told == chosen {
            return;
        }
        match chosen {
            Some(group) => {
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
        let several = &self.several[index as usize];
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
        self.several[index as usize].merged = merged;
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

    /// What a target comes to with what is known of its gateways.
    fn resolved(&self, target: &Target) -> Option<Kind> {
        let is_up = |interface| self.up.contains(&interface);
        nexthop::combine(target, self.settings.max_paths, is_up, |gateway| self.tracker.found(gateway))
    }

    /// Searches for a gateway anew. True if the outcome differs from the last one.
    fn search(&mut self, gateway: Ipv4Addr) -> bool {
        let mut search = Search::default();
        let found = match self.resolve(gateway, &mut search) {
            Found::Nothing(_) if search.exhausted() => Found::Nothing(Unresolved::TooDeep),
            Found::Nothing(Unresolved::NoRoute) if search.looped => Found::Nothing(Unresolved::Loop),
            found @ (Found::Paths(_) | Found::Special(_) | Found::Nothing(_)) => found,
        };
        self.tracker.settle(gateway, found, search)
    }

    /// One step of a search: see [`crate::tracker`].
    fn resolve(&self, gateway: Ipv4Addr, search: &mut Search) -> Found {
        if search.path.contains(&gateway) {
            search.looped = true;
            return Found::Nothing(Unresolved::Loop);
        }
        if search.exhausted() {
            return Found::Nothing(Unresolved::TooDeep);
        }
        let (found, shortest) = match self.directly(gateway, search) {
            Some(direct) => direct,
            None => {
                search.path.push(gateway);
                let found = self.recursively(gateway, search);
                search.path.pop();
                found
            }
        };
        search.looks.push(Look { at: gateway, shortest });
        found
    }

    /// What is found on the subnets of interfaces, and the length of the prefix that decided.
    fn directly(&self, gateway: Ipv4Addr, search: &mut Search) -> Option<(Found, u8)> {
        for (prefix, slot) in self.table.covering(gateway) {
            for candidate in slot.candidates(&self.several) {
                let target = &self.sets.get(candidate.set).target;
                if **target == Target::Local && prefix.len() == 32 {
                    return Some((Found::Nothing(Unresolved::OwnAddress), 32));
                }
                if candidate.protocol != Protocol::Connected {
                    continue;
                }
                for nexthop in target.nexthops() {
                    if let Via::Interface(interface) = nexthop.via {
                        search.interfaces.insert(interface);
                        if self.up.contains(&interface) {
                            return Some((on_link(interface, gateway), prefix.len()));
                        }
                    }
                }
            }
        }
        None
    }

    /// What is found through other routes, and the length of the prefix that decided.
    fn recursively(&self, gateway: Ipv4Addr, search: &mut Search) -> (Found, u8) {
        for (prefix, slot) in self.table.covering(gateway) {
            let candidates = slot.candidates(&self.several);
            if prefix == Prefix::DEFAULT && !self.settings.resolve_via_default {
                let reason =
                    if candidates.is_empty() { Unresolved::NoRoute } else { Unresolved::OnlyDefault };
                return (Found::Nothing(reason), 0);
            }
            for (start, end) in entry::classes(candidates) {
                let class = &candidates[start..end];
                let kind = if entry::is_merged(class, &self.sets) {
                    self.resolved_in(&entry::merge(class, &self.sets), search)
                } else {
                    class.iter().find_map(|one| self.resolved_in(&self.sets.get(one.set).target, search))
                };
                let Some(kind) = kind else { continue };
                let found = match kind {
                    Kind::Forward(paths) => Found::Paths(paths),
                    Kind::Glean(interface) => on_link(interface, gateway),
                    Kind::Local => Found::Nothing(Unresolved::OwnAddress),
                    Kind::Blackhole => Found::Special(Special::Blackhole),
                    Kind::Unreachable => Found::Special(Special::Unreachable),
                    Kind::Prohibit => Found::Special(Special::Prohibit),
                };
                return (found, prefix.len());
            }
        }
        (Found::Nothing(Unresolved::NoRoute), 0)
    }

    /// What a target comes to in the middle of a search.
    fn resolved_in(&self, target: &Target, search: &mut Search) -> Option<Kind> {
        for nexthop in target.nexthops() {
            match nexthop.via {
                Via::OnLink { interface, .. } | Via::Interface(interface) => {
                    search.interfaces.insert(interface);
                }
                Via::Gateway(_) => {}
            }
        }
        let is_up = |interface| self.up.contains(&interface);
        nexthop::combine(target, self.settings.max_paths, is_up, |gateway| self.resolve(gateway, search))
    }

    /// Why a gateway is not usable; none if it is.
    pub fn unresolved(&self, gateway: Ipv4Addr) -> Option<Unresolved> {
        match self.tracker.found(gateway) {
            Found::Paths(_) | Found::Special(_) => None,
            Found::Nothing(reason) => Some(reason),
        }
    }

    /// What a next hop of a candidate comes to.
    pub fn nexthop_kind(&self, nexthop: Nexthop) -> Option<Kind> {
        self.resolved(&Target::Nexthops(vec![nexthop]))
    }
}

fn same_source(a: &Candidate, b: &Candidate) -> bool {
    (a.protocol, a.instance) == (b.protocol, b.instance)
}

/// `new`, as old as `old` where they are equal.
fn kept_age(old: Candidate, new: Candidate) -> Candidate {
    let equal = old.rank() == new.rank() && old.set == new.set;
    Candidate { since: if equal { old.since } else { new.since }, ..new }
}

fn on_link(interface: IfIndex, gateway: Ipv4Addr) -> Found {
    Found::Paths(vec![nexthop::Path { interface, gateway, weight: 1 }])
}

fn gateways(target: &Target) -> Vec<Ipv4Addr> {
    let gateways = target.nexthops().iter().filter_map(|nexthop| match nexthop.via {
        Via::Gateway(gateway) => Some(gateway),
        Via::OnLink { .. } | Via::Interface(_) => None,
    });
    gateways.collect()
}
