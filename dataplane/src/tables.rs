//! The tables that workers read, as their only writer sees them: routes, next-hop groups, adjacencies.
//!
//! Groups are known here by control's numbers. What a group's members are is kept in terms of ports, so that they mean
//! the same interface after its device has been made anew. During a resynchronisation what has not been mentioned is
//! remembered, and swept at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use millrace_fib::{GroupId, GroupSpec, Link, Reader, Refusal, Resolution, Stats, Writer};
use millrace_net::{Instant, PortId, Prefix};

use crate::neighbors::{self, Effect, Event, Key, Neighbors, Nud};

/// Control's number for a next-hop group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct GroupKey(pub(crate) u32);

/// What a group is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Gateways and their weights.
    Forward(Vec<(Key, u16)>),
    Glean(PortId),
    Local,
    Blackhole,
    Unreachable,
    Prohibit,
}

impl Kind {
    fn members(&self) -> &[(Key, u16)] {
        match self {
            Self::Forward(members) => members,
            Self::Glean(_) | Self::Local | Self::Blackhole | Self::Unreachable | Self::Prohibit => &[],
        }
    }

    /// What is left of it without a port.
    fn without(&self, port: PortId) -> Self {
        match self {
            Self::Forward(members) => {
                let left: Vec<_> = members.iter().filter(|((on, _), _)| *on != port).copied().collect();
                if left.is_empty() { Self::Unreachable } else { Self::Forward(left) }
            }
            Self::Glean(on) if *on == port => Self::Unreachable,
            Self::Glean(_) | Self::Local | Self::Blackhole | Self::Unreachable | Self::Prohibit => {
                self.clone()
            }
        }
    }
}

/// A group in the table.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) kind: Kind,
}

/// What was there when the resynchronisation began and has not been mentioned since.
#[derive(Debug)]
struct Resync {
    generation: u64,
    /// In order; a route is mentioned when its bit is set.
    routes: Vec<Prefix>,
    mentioned: Vec<bool>,
    groups: BTreeSet<GroupKey>,
}

#[derive(Debug)]
pub(crate) struct Tables {
    fib: Writer<'static>,
    neighbors: Neighbors,
    groups: BTreeMap<GroupKey, Group>,
    /// The number of each group, by its place in the table.
    keys: Vec<Option<GroupKey>>,
    resync: Option<Resync>,
    /// Of the last batch applied.
    generation: u64,
    /// Neighbours the kernel is to be asked about.
    asks: Vec<Key>,
    /// An adjacency became complete or failed: held packets are to be tried again.
    settled: bool,
}

impl Tables {
    pub(crate) fn new(fib: Writer<'static>) -> Self {
        Self {
            fib,
            neighbors: Neighbors::default(),
            groups: BTreeMap::new(),
            keys: Vec::new(),
            resync: None,
            generation: 0,
            asks: Vec::new(),
            settled: false,
        }
    }

    /// What workers read.
    pub(crate) fn reader(&self) -> Reader<'static> {
        self.fib.reader()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.fib.stats()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (GroupKey, &Group)> {
        self.groups.iter().map(|(key, group)| (*key, group))
    }

    pub(crate) fn neighbors(&self) -> &Neighbors {
        &self.neighbors
    }

    /// Routes that use a group.
    pub(crate) fn routes_of(&self, group: &Group) -> u32 {
        self.fib.group_routes(group.id)
    }

    /// How many of a group's buckets lead to this neighbour.
    pub(crate) fn buckets_of(&self, group: &Group, neighbor: Key) -> u32 {
        let adjacency = self.fib.reader().neighbor(neighbor.0, neighbor.1);
        let shares = self.fib.group_shares(group.id);
        shares.into_iter().find(|(id, _)| Some(*id) == adjacency).map_or(0, |(_, buckets)| buckets)
    }

    /// The route that decides about an address.
    pub(crate) fn longest_match(&self, address: Ipv4Addr) -> Option<(Prefix, GroupKey)> {
        let (prefix, id) = self.fib.longest_match(address)?;
        Some((prefix, self.key(id)?))
    }

    pub(crate) fn group(&self, key: GroupKey) -> Option<&Group> {
        self.groups.get(&key)
    }

    pub(crate) fn routes_after(&self, after: Option<Prefix>, limit: usize) -> Vec<(Prefix, GroupKey)> {
        let routes = self.fib.routes_after(after, limit);
        routes.into_iter().filter_map(|(prefix, id)| Some((prefix, self.key(id)?))).collect()
    }

    fn key(&self, id: GroupId) -> Option<GroupKey> {
        self.keys.get(id.index()).copied().flatten()
    }

    /// Seconds of the workers' clock when one last sent to a neighbour.
    pub(crate) fn last_used(&self, key: Key) -> Option<u32> {
        let reader = self.fib.reader();
        reader.last_used(reader.neighbor(key.0, key.1)?)
    }

    /// Makes a group, or changes it in place. A group of the same kind is left as it is.
    pub(crate) fn group_upsert(&mut self, now: Instant, key: GroupKey, kind: Kind) -> Result<(), Refusal> {
        if let Some(resync) = &mut self.resync {
            resync.groups.remove(&key);
        }
        self.group_set(now, key, kind)
    }

    fn group_set(&mut self, now: Instant, key: GroupKey, kind: Kind) -> Result<(), Refusal> {
        let before = self.groups.get(&key);
        if before.is_some_and(|group| group.kind == kind) {
            return Ok(());
        }
        let before = before.map(|group| group.id);
        let mut effects = Vec::new();
        for (neighbor, _) in kind.members() {
            self.neighbors.want(now, *neighbor, &mut effects);
        }
        self.carry_out(effects);
        let id = self.spec(&kind).and_then(|spec| match before {
            Some(id) => self.fib.group_replace(id, &spec).map(|()| id),
            None => self.fib.group_insert(&spec),
        });
        let id = match id {
            Ok(id) => id,
            Err(refusal) => {
                self.unwant(&kind);
                return Err(refusal);
            }
        };
        if self.keys.len() <= id.index() {
            self.keys.resize(id.index() + 1, None);
        }
        self.keys[id.index()] = Some(key);
        if let Some(old) = self.groups.insert(key, Group { id, kind }) {
            self.unwant(&old.kind);
        }
        Ok(())
    }

    fn spec(&mut self, kind: &Kind) -> Result<GroupSpec, Refusal> {
        Ok(match kind {
            Kind::Forward(members) => {
                let member = |((port, address), weight): &(Key, u16)| {
                    self.fib.neighbor_insert(*port, *address).map(|adjacency| (adjacency, *weight))
                };
                GroupSpec::Forward(members.iter().map(member).collect::<Result<_, _>>()?)
            }
            Kind::Glean(port) => GroupSpec::Glean(*port),
            Kind::Local => GroupSpec::Local,
            Kind::Blackhole => GroupSpec::Blackhole,
            Kind::Unreachable => GroupSpec::Unreachable,
            Kind::Prohibit => GroupSpec::Prohibit,
        })
    }

    fn unwant(&mut self, kind: &Kind) {
        for (neighbor, _) in kind.members() {
            self.neighbors.unwant(*neighbor);
        }
    }

    pub(crate) fn group_remove(&mut self, key: GroupKey) -> Result<(), Refusal> {
        let Some(group) = self.groups.get(&key) else { return Ok(()) };
        self.fib.group_remove(group.id)?;
        if let Some(group) = self.groups.remove(&key) {
            self.unwant(&group.kind);
            self.keys[group.id.index()] = None;
        }
        Ok(())
    }

    pub(crate) fn route_upsert(&mut self, prefix: Prefix, key: GroupKey) -> Result<(), Refusal> {
        self.mention(prefix);
        let group = self.groups.get(&key).ok_or(Refusal::UnknownGroup)?;
        self.fib.route_insert(prefix, group.id).map(|_| ())
    }

    pub(crate) fn route_remove(&mut self, prefix: Prefix) {
        self.fib.route_remove(prefix);
    }

    /// A route that is refused is mentioned all the same: what it was stays until control says otherwise.
    fn mention(&mut self, prefix: Prefix) {
        if let Some(resync) = &mut self.resync
            && let Ok(index) = resync.routes.binary_search(&prefix)
        {
            resync.mentioned[index] = true;
        }
    }

    /// Begins to remember what is not mentioned. One that was under way is forgotten.
    pub(crate) fn resync_begin(&mut self, generation: u64) {
        let routes: Vec<_> =
            self.fib.routes_after(None, usize::MAX).into_iter().map(|(prefix, _)| prefix).collect();
        let mentioned = vec![false; routes.len()];
        self.resync =
            Some(Resync { generation, routes, mentioned, groups: self.groups.keys().copied().collect() });
    }

    /// Removes what was not mentioned, and says how much; `None` if no resynchronisation of this generation is under way.
    pub(crate) fn resync_end(&mut self, generation: u64) -> Option<usize> {
        let resync = self.resync.take_if(|resync| resync.generation == generation)?;
        let mut swept = 0;
        for (prefix, mentioned) in resync.routes.into_iter().zip(resync.mentioned) {
            if !mentioned && self.fib.route_remove(prefix).is_some() {
                swept += 1;
            }
        }
        for key in resync.groups {
            match self.group_remove(key) {
                Ok(()) => swept += 1,
                Err(refusal) => {
                    tracing::warn!(group = key.0, %refusal, "a group that was not mentioned stays")
                }
            }
        }
        Some(swept)
    }

    /// Control is gone: nothing is swept on its account.
    pub(crate) fn resync_abandon(&mut self) {
        self.resync = None;
    }

    /// The port has a device of this hardware address and MTU; its adjacencies follow.
    pub(crate) fn port_is(&mut self, port: PortId, link: Link) {
        self.fib.port_set(port, link);
    }

    /// The port's device is gone; the port may get another.
    pub(crate) fn port_device_gone(&mut self, now: Instant, port: PortId) {
        let mut effects = Vec::new();
        self.neighbors.port_gone(now, port, &mut effects);
        self.carry_out(effects);
    }

    /// The port is no longer configured: groups go on without it.
    pub(crate) fn port_removed(&mut self, now: Instant, port: PortId) {
        let changed: Vec<_> = self
            .groups
            .iter()
            .map(|(key, group)| (*key, &group.kind, group.kind.without(port)))
            .filter(|(_, before, after)| *before != after)
            .map(|(key, _, after)| (key, after))
            .collect();
        for (key, kind) in changed {
            if let Err(refusal) = self.group_set(now, key, kind) {
                tracing::error!(group = key.0, %refusal, "a group keeps a port that is no longer configured");
            }
        }
        self.port_device_gone(now, port);
    }

    /// The kernel tells of a neighbour.
    pub(crate) fn neighbor_is(&mut self, now: Instant, key: Key, nud: Nud) {
        self.neighbor_event(now, key, Event::Kernel(nud));
    }

    /// A worker has a packet for a neighbour that is not known.
    pub(crate) fn neighbor_demand(&mut self, now: Instant, key: Key) {
        self.neighbor_event(now, key, Event::Demand);
    }

    fn neighbor_event(&mut self, now: Instant, key: Key, event: Event) {
        let mut effects = Vec::new();
        self.neighbors.handle(now, key, event, &mut effects);
        self.carry_out(effects);
    }

    /// A dump of the kernel's table is whole: what it did not mention is gone.
    pub(crate) fn neighbors_dumped(&mut self, now: Instant, mentioned: &BTreeSet<Key>) {
        let mut effects = Vec::new();
        self.neighbors.sweep(now, |key| mentioned.contains(&key), &mut effects);
        self.carry_out(effects);
    }

    /// Once a second: neighbours time out, those in use are confirmed, and table places become free again.
    pub(crate) fn tick(&mut self, now: Instant) {
        let mut effects = Vec::new();
        let reader = self.fib.reader();
        let in_use = |(port, address)| {
            let used = reader.neighbor(port, address).and_then(|id| reader.last_used(id));
            used.is_some_and(|used| now.as_secs().saturating_sub(used.into()) < neighbors::IN_USE.as_secs())
        };
        self.neighbors.tick(now, in_use, &mut effects);
        self.carry_out(effects);
        self.fib.reclaim();
    }

    /// Neighbours the kernel is to be asked about since the last call.
    pub(crate) fn take_asks(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.asks)
    }

    /// Whether held packets are to be tried again since the last call.
    pub(crate) fn take_settled(&mut self) -> bool {
        std::mem::take(&mut self.settled)
    }

    fn carry_out(&mut self, effects: Vec<(Key, Effect)>) {
        for (key, effect) in effects {
            let resolution = match effect {
                Effect::Ask => {
                    self.asks.push(key);
                    continue;
                }
                Effect::Remove => {
                    self.fib.neighbor_remove(key.0, key.1);
                    continue;
                }
                Effect::Incomplete => Resolution::Incomplete,
                Effect::Complete(mac) => Resolution::Complete(mac),
                Effect::Failed => Resolution::Failed,
            };
            self.settled |= resolution != Resolution::Incomplete;
            let id = self.fib.neighbor_insert(key.0, key.1);
            if let Err(refusal) = id.and_then(|id| self.fib.neighbor_set(id, resolution)) {
                tracing::warn!(port = key.0.0, address = %key.1, %refusal, "a neighbour has no adjacency");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::Validity;
    use millrace_fib::{AdjacencyState, Geometry, Owned, Quiescence, Vlan};
    use millrace_net::Mac;

    const NOW: Instant = Instant::from_secs(100);
    const P0: PortId = PortId(0);
    const P1: PortId = PortId(1);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn tables() -> Tables {
        let geometry = Geometry { tbl8_groups: 4, groups: 8, buckets: 256, adjacencies: 16, neighbors: 32 };
        let memory = Box::leak(Box::new(Owned::new(geometry).unwrap())).memory();
        let mut tables = Tables::new(Writer::new(memory, Quiescence::new(0)));
        for port in [P0, P1] {
            tables.port_is(port, Link { mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, vlan: Vlan::Untagged });
        }
        tables
    }

    fn gateway(port: PortId, host: u8) -> Key {
        (port, Ipv4Addr::new(192, 0, 2, host))
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn routes(tables: &Tables) -> Vec<(String, u32)> {
        tables.routes_after(None, 100).iter().map(|(prefix, key)| (prefix.to_string(), key.0)).collect()
    }

    #[test]
    fn a_group_changes_in_place_and_its_routes_follow() {
        let mut tables = tables();
        let key = GroupKey(7000);
        tables.group_upsert(NOW, key, Kind::Forward(vec![(gateway(P0, 1), 1)])).unwrap();
        tables.route_upsert(prefix("10.0.0.0/8"), key).unwrap();
        assert_eq!(tables.take_asks(), [gateway(P0, 1)], "the gateway is resolved before anyone needs it");
        let id = tables.group(key).unwrap().id;

        let both = Kind::Forward(vec![(gateway(P0, 1), 1), (gateway(P1, 2), 3)]);
        tables.group_upsert(NOW, key, both.clone()).unwrap();
        tables.group_upsert(NOW, key, both).unwrap();
        assert_eq!(tables.take_asks(), [gateway(P1, 2)]);
        let group = tables.group(key).unwrap();
        assert_eq!((group.id, tables.routes_of(group)), (id, 1));
        assert_eq!(
            (tables.buckets_of(group, gateway(P0, 1)), tables.buckets_of(group, gateway(P1, 2))),
            (16, 48)
        );
        assert_eq!(tables.longest_match(Ipv4Addr::new(10, 1, 1, 1)), Some((prefix("10.0.0.0/8"), key)));

        tables.group_upsert(NOW, key, Kind::Blackhole).unwrap();
        assert_eq!(tables.group_remove(key), Err(Refusal::GroupInUse));
        tables.route_remove(prefix("10.0.0.0/8"));
        tables.group_remove(key).unwrap();
        tables.group_remove(key).unwrap();
        assert_eq!(tables.stats().groups.used, 0);
    }

    #[test]
    fn a_refused_group_changes_nothing() {
        let mut tables = tables();
        let key = GroupKey(1);
        let unknown = Kind::Forward(vec![(gateway(P0, 1), 1), (gateway(PortId(9), 1), 1)]);
        assert_eq!(tables.group_upsert(NOW, key, unknown), Err(Refusal::UnknownPort));
        assert!(tables.group(key).is_none());
        assert_eq!(tables.group_upsert(NOW, key, Kind::Forward(vec![])), Err(Refusal::BadMembers));
        assert_eq!(tables.route_upsert(prefix("10.0.0.0/8"), key), Err(Refusal::UnknownGroup));
        // Nobody wants the gateway of the refused group: once it has failed it is forgotten.
        tables.tick(NOW + std::time::Duration::from_secs(4));
        tables.tick(NOW + std::time::Duration::from_secs(8));
        assert_eq!(tables.neighbors().iter().count(), 0);
    }

    #[test]
    fn resync_sweeps_what_was_not_mentioned() {
        let mut tables = tables();
        let (kept, gone, new) = (GroupKey(1), GroupKey(2), GroupKey(3));
        tables.group_upsert(NOW, kept, Kind::Glean(P0)).unwrap();
        tables.group_upsert(NOW, gone, Kind::Prohibit).unwrap();
        tables.route_upsert(prefix("10.0.0.0/8"), kept).unwrap();
        tables.route_upsert(prefix("10.1.0.0/16"), gone).unwrap();
        tables.route_upsert(prefix("10.2.0.0/25"), gone).unwrap();

        tables.resync_begin(5);
        tables.group_upsert(NOW, kept, Kind::Glean(P0)).unwrap();
        tables.group_upsert(NOW, new, Kind::Local).unwrap();
        tables.route_upsert(prefix("10.0.0.0/8"), kept).unwrap();
        tables.route_upsert(prefix("10.2.0.0/25"), new).unwrap();
        assert_eq!(tables.resync_end(4), None, "another generation");
        assert_eq!(tables.resync_end(5), Some(2), "a route and a group");
        assert_eq!(routes(&tables), [("10.0.0.0/8".into(), 1), ("10.2.0.0/25".into(), 3)]);
        assert!(tables.group(gone).is_none());
        assert_eq!(tables.resync_end(5), None, "ended");

        tables.resync_begin(6);
        tables.resync_abandon();
        assert_eq!(tables.resync_end(6), None);
        assert_eq!(routes(&tables).len(), 2, "control that goes away sweeps nothing");
    }

    #[test]
    fn groups_go_on_without_a_port_that_is_removed() {
        let mut tables = tables();
        let kinds = [
            (GroupKey(1), Kind::Forward(vec![(gateway(P0, 1), 1), (gateway(P1, 2), 1)])),
            (GroupKey(2), Kind::Forward(vec![(gateway(P1, 2), 1)])),
            (GroupKey(3), Kind::Glean(P1)),
            (GroupKey(4), Kind::Glean(P0)),
        ];
        for (key, kind) in kinds {
            tables.group_upsert(NOW, key, kind).unwrap();
        }
        tables.port_removed(NOW, P1);
        let after: Vec<_> = tables.groups().map(|(_, group)| group.kind.clone()).collect();
        let expected =
            [Kind::Forward(vec![(gateway(P0, 1), 1)]), Kind::Unreachable, Kind::Unreachable, Kind::Glean(P0)];
        assert_eq!(after, expected);
        assert!(tables.neighbors().get(gateway(P1, 2)).is_none());
    }

    #[test]
    fn adjacencies_mirror_the_kernel() {
        let mut tables = tables();
        let key = gateway(P0, 1);
        let state = |tables: &Tables| {
            let reader = tables.fib.reader();
            reader.neighbor(key.0, key.1).map(|id| (reader.adjacency(id).state, reader.adjacency(id).dst))
        };
        tables.neighbor_demand(NOW, key);
        assert_eq!(state(&tables).map(|(state, _)| state), Some(AdjacencyState::Incomplete));
        assert_eq!((tables.take_asks().len(), tables.take_settled()), (1, false));

        tables.neighbor_is(NOW, key, Nud::Valid(MAC, Validity::Reachable));
        assert_eq!(state(&tables), Some((AdjacencyState::Complete, MAC)));
        assert!(tables.take_settled() && !tables.take_settled());

        tables.neighbor_is(NOW, key, Nud::Valid(MAC, Validity::Stale));
        let reader = tables.fib.reader();
        let id = reader.neighbor(key.0, key.1).unwrap();
        reader.touch(id, 99);
        tables.tick(NOW + std::time::Duration::from_secs(1));
        assert_eq!(tables.take_asks(), [key], "stale and in use");

        tables.neighbor_is(NOW, key, Nud::Failed);
        assert_eq!(state(&tables).map(|(state, _)| state), Some(AdjacencyState::Failed));
        tables.neighbors_dumped(NOW, &BTreeSet::new());
        assert!(state(&tables).is_some(), "what has failed is not in question");
        tables.tick(NOW + neighbors::FAILED_HOLD);
        assert_eq!(state(&tables), None);
    }
}
