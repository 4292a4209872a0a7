//! The routing database: what neighbours say, what this router originates, and which of it counts. RFC 2453 §3.5, §3.8.
//!
//! ```text
//!                    a usable path or origin                       time-out, metric 16, origin gone:
//!        ┌────────┐ ─────────────────────────▶ ┌───────┐ ───────── no usable path is left ────────▶ ┌─────────┐
//!        │ absent │                            │ valid │                                            │ garbage │
//!        └────────┘                            └───────┘ ◀──────── a usable path or origin ──────── └─────────┘
//!            ▲                                                                                           │
//!            └──────────────────────────── garbage timer: announced as 16 until then ────────────────────┘
//! ```
//!
//! Of each neighbour the last word on a prefix is kept, so that the next best path takes over at once when the best one
//! goes, where the RFC would announce the prefix as gone and wait for the next update. A path that has not been heard of
//! for half its time-out is not promoted like that: its neighbour has probably stopped meaning it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_policy::Protocol;
use millrace_proto::{IfIndex, Instant, NextHop, Route, RouteChange, Timers};
use serde::{Deserialize, Serialize};

use crate::Metric;

/// A neighbour: an address on an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NeighborKey {
    pub interface: IfIndex,
    pub address: Ipv4Addr,
}

/// What a message said of a prefix. Kept, so that changed costs and policies apply without asking again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    pub(crate) metric: Metric,
    pub(crate) tag: u16,
    /// Directly reachable, and not the sender.
    pub(crate) next_hop: Option<Ipv4Addr>,
}

/// One neighbour's way to a prefix; its metric is below infinity.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) neighbor: NeighborKey,
    pub(crate) received: Received,
    /// With cost and offsets.
    pub(crate) metric: Metric,
    pub(crate) tag: u16,
    /// By policy.
    pub(crate) distance: Option<u8>,
    pub(crate) heard: Instant,
    pub(crate) expires: Instant,
    in_use: bool,
}

/// What a path is worth once cost, offsets and policy have been applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Worth {
    /// Below infinity.
    pub(crate) metric: Metric,
    pub(crate) tag: u16,
    pub(crate) distance: Option<u8>,
}

/// Why this router announces a prefix of its own. The first kind wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum OriginKind {
    Connected(IfIndex),
    Redistributed,
    Default,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    pub(crate) kind: OriginKind,
    /// As export policies see it.
    pub(crate) protocol: Protocol,
    pub(crate) metric: Metric,
    pub(crate) tag: u16,
    /// Where packets go from here, if that is a router on some link.
    pub(crate) next_hop: Option<Ipv4Addr>,
}

/// What is announced for a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Own(Origin),
    Learned {
        metric: Metric,
        tag: u16,
        distance: Option<u8>,
        next_hops: Vec<(NeighborKey, Ipv4Addr)>,
    },
    /// Announced as unreachable. The tag is the last one it had.
    Garbage {
        tag: u16,
    },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// In order of kind.
    origins: Vec<Origin>,
    /// One a neighbour.
    paths: Vec<Path>,
    /// None only while the entry is being made.
    state: Option<State>,
    /// What the routing table was told: the best learned paths, whatever this router originates itself.
    installed: Option<Route>,
    /// How long it is announced as gone, by the timers of who spoke of it last.
    garbage: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    entries: BTreeMap<Prefix, Entry>,
    /// The route change flags (RFC 2453 §3.5).
    changed: BTreeSet<Prefix>,
    changes: VecDeque<RouteChange>,
    timers: Timers<Timer>,
    max_paths: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Path(Prefix, NeighborKey),
    Garbage(Prefix),
}

impl Path {
    pub(crate) const fn new(
        neighbor: NeighborKey,
        received: Received,
        worth: Worth,
        heard: Instant,
        expires: Instant,
    ) -> Self {
        let Worth { metric, tag, distance } = worth;
        Self { neighbor, received, metric, tag, distance, heard, expires, in_use: false }
    }

    pub(crate) const fn worth(&self) -> Worth {
        Worth { metric: self.metric, tag: self.tag, distance: self.distance }
    }

    pub(crate) const fn set_worth(&mut self, worth: Worth) {
        (self.metric, self.tag, self.distance) = (worth.metric, worth.tag, worth.distance);
    }

    /// Not heard of for half its time-out (RFC 2453 §3.9.2).
    fn stale(&self, now: Instant) -> bool {
        self.expires.since(self.heard) / 2 <= now.since(self.heard)
    }

    pub(crate) const fn in_use(&self) -> bool {
        self.in_use
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.received.next_hop.unwrap_or(self.neighbor.address)
    }
}

impl Entry {
    pub(crate) const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    pub(crate) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Marks the paths that count: the lowest metric, fresh ones before stale ones, those in use before others.
    fn choose(&mut self, now: Instant, max_paths: usize) -> Option<State> {
        let eligible = |path: &Path| path.in_use || !path.stale(now);
        let best = self.paths.iter().filter(|path| eligible(path)).map(|path| path.metric).min();
        let fresh = self.paths.iter().any(|path| Some(path.metric) == best && !path.stale(now));
        let mut ranked: Vec<&mut Path> = Vec::new();
        for path in &mut self.paths {
            if Some(path.metric) == best && (if fresh { !path.stale(now) } else { path.in_use }) {
                ranked.push(path);
            } else {
                path.in_use = false;
            }
        }
        ranked.sort_by_key(|path| (!path.in_use, path.neighbor));
        for (rank, path) in ranked.into_iter().enumerate() {
            path.in_use = rank < max_paths;
        }
        let used: Vec<&Path> = self.paths.iter().filter(|path| path.in_use).collect();
        let Worth { metric, tag, distance } = used.first()?.worth();
        let next_hops = used.iter().map(|path| (path.neighbor, path.gateway())).collect();
        Some(State::Learned { metric, tag, distance, next_hops })
    }
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            changed: BTreeSet::new(),
            changes: VecDeque::new(),
            timers: Timers::new(),
            max_paths: 1,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, prefix: Prefix) -> Option<&Entry> {
        self.entries.get(&prefix)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Prefix, &Entry)> {
        self.entries.iter().map(|(prefix, entry)| (*prefix, entry))
    }

    /// The entries behind `after`, or all.
    pub(crate) fn iter_after(&self, after: Option<Prefix>) -> impl Iterator<Item = (Prefix, &Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.entries.range((from, Unbounded)).map(|(prefix, entry)| (*prefix, entry))
    }

    /// Whether some route change flag is set.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes and clears the route change flags.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Prefix> {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn poll_change(&mut self) -> Option<RouteChange> {
        self.changes.pop_front()
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.timers.next().map(|(at, timer)| match timer {
            Timer::Path(..) => (at, "rip: route time-out"),
            Timer::Garbage(_) => (at, "rip: garbage collection"),
        })
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Path(prefix, neighbor) => self.remove_path(now, prefix, neighbor),
                Timer::Garbage(prefix) => self.collect(prefix),
            }
        }
    }

    /// A neighbour can reach `prefix`. The path's metric is finite.
    pub(crate) fn hear(&mut self, now: Instant, prefix: Prefix, path: Path, garbage: Duration) {
        self.timers.set(Timer::Path(prefix, path.neighbor), path.expires);
        let entry = self.entries.entry(prefix).or_default();
        entry.garbage = garbage;
        match entry.paths.iter_mut().find(|known| known.neighbor == path.neighbor) {
            Some(known) => {
                let same = (known.received, known.worth()) == (path.received, path.worth());
                *known = Path { in_use: known.in_use, ..path };
                if same && known.in_use {
                    return;
                }
            }
            None => entry.paths.push(path),
        }
        self.decide(now, prefix);
    }

    /// A neighbour cannot reach `prefix`, or has not repeated that it can. Unknown ones are fine.
    pub(crate) fn remove_path(&mut self, now: Instant, prefix: Prefix, neighbor: NeighborKey) {
        self.timers.cancel(Timer::Path(prefix, neighbor));
        let Some(entry) = self.entries.get_mut(&prefix) else { return };
        let before = entry.paths.len();
        entry.paths.retain(|path| path.neighbor != neighbor);
        if entry.paths.len() != before {
            self.decide(now, prefix);
        }
    }

    /// Judges every path again: `judge` may change metric and tag, and says whether the path stays.
    pub(crate) fn revise(&mut self, now: Instant, mut judge: impl FnMut(Prefix, &mut Path) -> bool) {
        let prefixes: Vec<Prefix> = self.entries.keys().copied().collect();
        for prefix in prefixes {
            let Some(entry) = self.entries.get_mut(&prefix) else { continue };
            let timers = &mut self.timers;
            entry.paths.retain_mut(|path| {
                let stays = judge(prefix, path);
                if !stays {
                    timers.cancel(Timer::Path(prefix, path.neighbor));
                }
                stays
            });
            self.decide(now, prefix);
        }
    }

    pub(crate) fn originate(&mut self, now: Instant, prefix: Prefix, origin: Origin, garbage: Duration) {
        let entry = self.entries.entry(prefix).or_default();
        entry.garbage = garbage;
        entry.origins.retain(|known| known.kind != origin.kind);
        entry.origins.push(origin);
        entry.origins.sort_by_key(|origin| origin.kind);
        self.decide(now, prefix);
    }

    /// Absent is fine.
    pub(crate) fn withdraw(&mut self, now: Instant, prefix: Prefix, kind: OriginKind) {
        let Some(entry) = self.entries.get_mut(&prefix) else { return };
        entry.origins.retain(|known| known.kind != kind);
        self.decide(now, prefix);
    }

    /// Sets every route change flag.
    pub(crate) fn flag_everything(&mut self) {
        self.changed.extend(self.entries.keys());
    }

    pub(crate) fn set_max_paths(&mut self, max_paths: usize) {
        self.max_paths = max_paths;
    }

    /// Brings state, flags, timers and the routing table in line with what is known of `prefix`.
    fn decide(&mut self, now: Instant, prefix: Prefix) {
        let Some(entry) = self.entries.get_mut(&prefix) else { return };
        let learned = entry.choose(now, self.max_paths);
        let installed = learned.as_ref().and_then(|state| state.route(prefix));
        if entry.installed != installed {
            self.changes
                .push_back(installed.clone().map_or(RouteChange::Remove(prefix), RouteChange::Upsert));
            entry.installed = installed;
        }
        let state = entry.origins.first().copied().map(State::Own).or(learned);
        match (&entry.state, state) {
            (Some(before), Some(after)) if *before == after => {}
            (before, Some(after)) => {
                if matches!(before, Some(State::Garbage { .. })) {
                    self.timers.cancel(Timer::Garbage(prefix));
                }
                entry.state = Some(after);
                self.changed.insert(prefix);
            }
            (Some(State::Own(_) | State::Learned { .. }), None) => {
                let tag = entry.state.as_ref().map_or(0, State::tag);
                entry.state = Some(State::Garbage { tag });
                self.changed.insert(prefix);
                self.timers.set(Timer::Garbage(prefix), now + entry.garbage);
            }
            // The deletion that has begun goes on (RFC 2453 §3.9.2).
            (Some(State::Garbage { .. }), None) => {}
            (None, None) => self.collect(prefix),
        }
    }

    fn collect(&mut self, prefix: Prefix) {
        let Some(entry) = self.entries.remove(&prefix) else { return };
        self.changed.remove(&prefix);
        // Stale paths that were never promoted go with it; a neighbour that means them will say so again.
        for path in entry.paths {
            self.timers.cancel(Timer::Path(prefix, path.neighbor));
        }
    }
}

impl State {
    pub(crate) const fn metric(&self) -> Metric {
        match self {
            Self::Own(origin) => origin.metric,
            Self::Learned { metric, .. } => *metric,
            Self::Garbage { .. } => Metric::INFINITY,
        }
    }

    pub(crate) const fn tag(&self) -> u16 {
        match self {
            Self::Own(origin) => origin.tag,
            Self::Learned { tag, .. } | Self::Garbage { tag } => *tag,
        }
    }

    /// Whose route it is, as export policies see it.
    pub(crate) const fn protocol(&self) -> Protocol {
        match self {
            Self::Own(origin) => origin.protocol,
            Self::Learned { .. } | Self::Garbage { .. } => Protocol::Rip,
        }
    }

    fn route(&self, prefix: Prefix) -> Option<Route> {
        match self {
            Self::Learned { metric, tag, distance, next_hops } => {
                let via = |(neighbor, gateway): &(NeighborKey, Ipv4Addr)| {
                    NextHop::via(*gateway, neighbor.interface)
                };
                let next_hops: BTreeSet<NextHop> = next_hops.iter().map(via).collect();
                Some(Route {
                    prefix,
                    next_hops: next_hops.into_iter().collect(),
                    metric: metric.get().into(),
                    tag: (*tag).into(),
                    distance: *distance,
                })
            }
            Self::Own(_) | Self::Garbage { .. } => None,
        }
    }
}
