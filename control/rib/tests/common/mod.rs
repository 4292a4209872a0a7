//! A forwarding table as the dataplane keeps it. It checks every delta on the way in.

use std::collections::BTreeMap;

use millrace_net::Prefix;
use millrace_rib::{Delta, GroupId, Kind, Rib};

#[derive(Default, Debug)]
pub(crate) struct Fib {
    pub(crate) groups: BTreeMap<GroupId, Kind>,
    pub(crate) routes: BTreeMap<Prefix, GroupId>,
}

impl Fib {
    /// Every delta has to change something, and order has to be kept.
    pub(crate) fn apply(&mut self, delta: Delta) {
        match delta {
            Delta::GroupUpsert { group, kind } => {
                if let Kind::Forward(paths) = &kind {
                    assert!(!paths.is_empty());
                    assert!(
                        paths.windows(2).all(
                            |two| (two[0].interface, two[0].gateway) < (two[1].interface, two[1].gateway)
                        )
                    );
                    assert!(paths.iter().all(|path| 1 <= path.weight && path.weight <= 256));
                }
                let old = self.groups.insert(group, kind.clone());
                assert_ne!(old, Some(kind), "{group:?} is told twice");
            }
            Delta::GroupRemove { group } => {
                assert!(self.groups.remove(&group).is_some(), "{group:?} is not there");
                assert!(self.routes.values().all(|used| *used != group), "{group:?} is in use");
            }
            Delta::RouteUpsert { prefix, group } => {
                assert!(self.groups.contains_key(&group), "{prefix} stands before its group {group:?}");
                assert_ne!(self.routes.insert(prefix, group), Some(group), "{prefix} is told twice");
            }
            Delta::RouteRemove { prefix } => {
                assert!(self.routes.remove(&prefix).is_some(), "{prefix} is not there");
            }
        }
    }

    /// Takes one portion; returns the deltas for a closer look.
    pub(crate) fn drain(&mut self, rib: &mut Rib, limit: usize) -> Vec<Delta> {
        let mut deltas = Vec::new();
        rib.drain(limit, &mut deltas);
        for delta in deltas.clone() {
            self.apply(delta);
        }
        assert!(rib.told_routes_after(None).eq(self.routes.iter().map(|(prefix, group)| (*prefix, *group))));
        assert!(rib.told_groups().eq(self.groups.iter().map(|(group, kind)| (*group, kind))));
        assert_eq!((rib.routes(), rib.groups()), (self.routes.len(), self.groups.len()));
        deltas
    }

    pub(crate) fn drain_all(&mut self, rib: &mut Rib) -> Vec<Delta> {
        let mut all = Vec::new();
        while !rib.is_idle() {
            all.extend(self.drain(rib, 64));
        }
        all
    }
}
