//! The routing table's best routes on their way to a protocol that redistributes them.
//!
//! The runtime task writes, the protocol's task reads; changes of one prefix are coalesced, so a slow reader costs no more
//! memory than the routes it wants.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_net::Prefix;
use millrace_policy as policy;
use millrace_rib::{Entry, PrefixMap, Protocol, Rib, Via};
use tokio::sync::Notify;

use super::redistribute::Redistribute;

/// A best route, as other protocols see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BestRoute {
    pub protocol: policy::Protocol,
    /// In the unit of `protocol`.
    pub metric: u32,
    /// 0 is none.
    pub tag: u32,
    /// Where packets go, if that is one router.
    pub gateway: Option<Ipv4Addr>,
}

/// What changed since the reader looked.
#[derive(Debug, Default)]
pub struct Feed {
    pending: Mutex<BTreeMap<Prefix, Option<BestRoute>>>,
    news: Notify,
}

impl Feed {
    /// Until there is something to take.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Some of the changes, each prefix once; None: no wanted route is the best one.
    pub(super) fn take(&self, limit: usize) -> Vec<(Prefix, Option<BestRoute>)> {
        let mut pending = self.pending();
        let taken = std::iter::from_fn(|| pending.pop_first()).take(limit).collect();
        if !pending.is_empty() {
            self.news.notify_one();
        }
        taken
    }

    fn put(&self, changes: impl Iterator<Item = (Prefix, Option<BestRoute>)>) {
        let mut pending = self.pending();
        pending.extend(changes);
        if !pending.is_empty() {
            self.news.notify_one();
        }
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<Prefix, Option<BestRoute>>> {
        // Whoever held it has put whole entries in.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's side: what a protocol wants, and which prefixes it has been told a route for.
#[derive(Debug)]
pub(super) struct Subscription {
    feed: Arc<Feed>,
    /// Its own routes are never told.
    own: &'static [Protocol],
    wanted: Vec<Redistribute>,
    told: PrefixMap<()>,
}

impl Subscription {
    pub(super) fn new(own: &'static [Protocol]) -> Self {
        Self { feed: Arc::default(), own, wanted: Vec::new(), told: PrefixMap::default() }
    }

    pub(super) fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// What is wanted from here on. Where that or a policy in it has changed, every route is told again.
    pub(super) fn subscribe(&mut self, wanted: &[Redistribute], rib: &Rib) {
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted.to_vec();
        let told: Vec<Prefix> = self.told.after(None).map(|(prefix, ())| prefix).collect();
        self.follow(rib, &told);
        if !self.wanted.is_empty() {
            let all: Vec<Prefix> = rib.entries_after(None).map(|entry| entry.prefix()).collect();
            self.follow(rib, &all);
        }
    }

    /// The best routes to these prefixes may have changed.
    pub(super) fn follow(&mut self, rib: &Rib, changed: &[Prefix]) {
        if self.wanted.is_empty() && self.told.is_empty() {
            return;
        }
        let (own, wanted, told) = (self.own, &self.wanted, &mut self.told);
        let changes = changed.iter().filter_map(|&prefix| {
            let best = rib.entry(prefix).and_then(|entry| best(&entry, own));
            match best.filter(|best| wanted.iter().any(|rule| rule.from == best.protocol)) {
                Some(best) => {
                    told.insert(prefix, ());
                    Some((prefix, Some(best)))
                }
                None => told.remove(prefix).map(|()| (prefix, None)),
            }
        });
        self.feed.put(changes);
    }
}

/// The route packets follow, unless it is one of `own`.
fn best(entry: &Entry<'_>, own: &[Protocol]) -> Option<BestRoute> {
    // What is not in the dataplane's table is not reachable through this router.
    entry.group()?;
    let selected = entry.candidates().find(|candidate| candidate.selected)?;
    if own.contains(&selected.protocol) {
        return None;
    }
    let gateway = match selected.target.nexthops() {
        [one] => match one.via {
            Via::Gateway(gateway) | Via::OnLink { gateway, .. } | Via::Watched { gateway, .. } => {
                Some(gateway)
            }
            Via::Interface(_) => None,
        },
        [] | [..] => None,
    };
    Some(BestRoute {
        protocol: policy_protocol(selected.protocol)?,
        metric: selected.metric,
        tag: selected.tag,
        gateway,
    })
}

/// The protocol as policies name it; the router's own addresses are nobody's to announce.
pub const fn policy_protocol(protocol: Protocol) -> Option<policy::Protocol> {
    Some(match protocol {
        Protocol::Local => return None,
        Protocol::Connected => policy::Protocol::Connected,
        Protocol::Static => policy::Protocol::Static,
        Protocol::Ebgp | Protocol::Ibgp => policy::Protocol::Bgp,
        Protocol::Ospf => policy::Protocol::Ospf,
        Protocol::Rip => policy::Protocol::Rip,
    })
}

#[cfg(test)]
mod tests {
    use millrace_net::Instant;
    use millrace_rib::{IfIndex, Nexthop, Route, Settings, Target};

    use super::*;

    fn route(protocol: Protocol, metric: u32, tag: u32) -> Route {
        let via = Via::OnLink { interface: IfIndex(1), gateway: Ipv4Addr::new(192, 0, 2, 1) };
        let target = Target::via(vec![Nexthop { via, weight: 1 }]);
        Route { protocol, instance: 0, distance: protocol.distance(), metric, tag, target }
    }

    fn rule(from: policy::Protocol) -> Redistribute {
        Redistribute { from, policy: None, metric: None, tag: None, external: None }
    }

    /// Each step, and what the reader is told of it: source, metric and tag of what is best, or that it is gone.
    #[test]
    fn the_reader_hears_of_wanted_best_routes_and_of_their_end() {
        let mut rib = Rib::new(Settings::default());
        rib.set_interface(IfIndex(1), true);
        let mut subscription = Subscription::new(&[Protocol::Rip]);
        let feed = subscription.feed();
        let prefix: Prefix = "10.1.0.0/16".parse().unwrap();
        let (fixed, connected) = (policy::Protocol::Static, policy::Protocol::Connected);
        subscription.subscribe(&[rule(fixed)], &rib);
        type Step = fn(&mut Rib, &mut Subscription, Prefix);
        type Told = Option<(u32, u32)>;
        let steps: [(&str, Step, Option<Told>); 9] = [
            ("its own", |rib, _, p| rib.insert(p, &route(Protocol::Rip, 3, 0), Instant::ZERO), None),
            (
                "wanted",
                |rib, _, p| rib.insert(p, &route(Protocol::Static, 0, 7), Instant::ZERO),
                Some(Some((0, 7))),
            ),
            (
                "retagged",
                |rib, _, p| rib.insert(p, &route(Protocol::Static, 0, 8), Instant::ZERO),
                Some(Some((0, 8))),
            ),
            ("the same", |rib, _, p| rib.insert(p, &route(Protocol::Static, 0, 8), Instant::ZERO), None),
            (
                "better, not wanted",
                |rib, _, p| rib.insert(p, &route(Protocol::Connected, 0, 0), Instant::ZERO),
                Some(None),
            ),
            (
                "wanted by a change of rules",
                |rib, s, _| s.subscribe(&[rule(policy::Protocol::Connected)], rib),
                Some(Some((0, 0))),
            ),
            ("equal rules", |rib, s, _| s.subscribe(&[rule(policy::Protocol::Connected)], rib), None),
            ("gone", |rib, _, p| rib.remove(p, Protocol::Connected, 0), Some(None)),
            ("no rules", |rib, s, _| s.subscribe(&[], rib), None),
        ];
        for (name, step, expected) in steps {
            step(&mut rib, &mut subscription, prefix);
            let mut settled = Vec::new();
            rib.drain_noting(10, &mut Vec::new(), |prefix| settled.push(prefix));
            subscription.follow(&rib, &settled);
            let told: Vec<_> =
                feed.take(10).into_iter().map(|(_, best)| best.map(|b| (b.metric, b.tag))).collect();
            assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{name}");
        }
        // Changes of one prefix are one; the last counts.
        subscription.subscribe(&[rule(fixed), rule(connected)], &rib);
        for tag in 1..4 {
            rib.insert(prefix, &route(Protocol::Static, 0, tag), Instant::ZERO);
            rib.drain(10, &mut Vec::new());
            subscription.follow(&rib, &[prefix]);
        }
        let told = feed.take(10);
        assert_eq!(told.iter().map(|(_, best)| best.unwrap().tag).collect::<Vec<_>>(), [3]);
    }
}
