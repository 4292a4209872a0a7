//! Next-hop tracking: what every gateway in use comes to, and which gateways a change of the table may touch.
//!
//! A gateway on the subnet of an interface that is up is directly connected, whatever more specific routes say.
//! Any other is looked up like a destination: the longest prefix with a usable candidate decides, and its own
//! next hops are resolved in turn. A next hop met again on the way is left out, so a route never carries itself;
//! shorter prefixes are tried when nothing else remains.
//!
//! The search reads candidates, not what was chosen before, so its outcome depends on the table alone and not on
//! the order of changes. It leaves behind what it has looked at: (gateway, shortest prefix examined). A change of a
//! prefix touches those who looked at a gateway inside it down to its length or below, and nobody else.

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet};

use millrace_net::Prefix;

use crate::nexthop::{Found, IfIndex, Unresolved};
use crate::sets::GroupId;

/// Gateways one search may look at.
const MAX_LOOKS: usize = 256;

#[derive(Default, Debug)]
pub(crate) struct Tracker {
    gateways: BTreeMap<Ipv4Addr, Gateway>,
    /// Who looked at an address in his search, and how short a prefix he examined there.
    watched: BTreeMap<Ipv4Addr, Vec<Watch>>,
    /// Gateways to be searched for again.
    stale: BTreeSet<Ipv4Addr>,
    /// How many gateways lead somewhere.
    pub(crate) resolved: usize,
}

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) found: Found,
    /// The sets that have it among their next hops.
    sets: BTreeSet<GroupId>,
    looks: Vec<Look>,
    interfaces: BTreeSet<IfIndex>,
}

#[derive(Clone, Copy, Debug)]
struct Watch {
    gateway: Ipv4Addr,
    shortest: u8,
}

/// An address a search has looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) at: Ipv4Addr,
    /// Length of the shortest prefix that was examined; 0 where the search ran to the end.
    pub(crate) shortest: u8,
}

/// One search: where it has been and what it has looked at.
#[derive(Default, Debug)]
pub(crate) struct Search {
    /// The next hops between the first and the present one.
    pub(crate) path: Vec<Ipv4Addr>,
    pub(crate) looks: Vec<Look>,
    /// Interfaces whose state mattered.
    pub(crate) interfaces: BTreeSet<IfIndex>,
    pub(crate) looped: bool,
}

impl Search {
    pub(crate) fn exhausted(&self) -> bool {
        MAX_LOOKS <= self.looks.len() + self.path.len()
    }
}

impl Tracker {
    pub(crate) fn len(&self) -> usize {
        self.gateways.len()
    }

    pub(crate) fn found(&self, gateway: Ipv4Addr) -> Found {
        self.gateways
            .get(&gateway)
            .map_or(Found::Nothing(Unresolved::NoRoute), |gateway| gateway.found.clone())
    }

    pub(crate) fn sets(&self, gateway: Ipv4Addr) -> impl Iterator<Item = GroupId> {
        self.gateways.get(&gateway).into_iter().flat_map(|gateway| gateway.sets.iter().copied())
    }

    /// Whether the gateway is known: if not, [`Tracker::settle`] is to be called with what a search finds.
    pub(crate) fn knows(&self, gateway: Ipv4Addr) -> bool {
        self.gateways.contains_key(&gateway)
    }

    pub(crate) fn join(&mut self, gateway: Ipv4Addr, set: GroupId) {
        if let Some(gateway) = self.gateways.get_mut(&gateway) {
            gateway.sets.insert(set);
        }
    }

    /// The set is gone, and so are gateways that only it had.
    pub(crate) fn leave(&mut self, gateway: Ipv4Addr, set: GroupId) {
        let Some(entry) = self.gateways.get_mut(&gateway) else { return };
        entry.sets.remove(&set);
        if !entry.sets.is_empty() {
            return;
        }
        if let Some(entry) = self.gateways.remove(&gateway) {
            self.resolved -= usize::from(is_resolved(&entry.found));
            self.unwatch(gateway, &entry.looks);
        }
        self.stale.remove(&gateway);
    }

    /// Takes in the outcome of a search. True if it differs from the last one.
    pub(crate) fn settle(&mut self, gateway: Ipv4Addr, found: Found, search: Search) -> bool {
        for look in &search.looks {
            let watch = Watch { gateway, shortest: look.shortest };
            self.watched.entry(look.at).or_default().push(watch);
        }
        self.resolved += usize::from(is_resolved(&found));
        let Search { looks, interfaces, .. } = search;
        match self.gateways.get_mut(&gateway) {
            Some(entry) => {
                let old = core::mem::replace(&mut entry.looks, looks);
                entry.interfaces = interfaces;
                self.resolved -= usize::from(is_resolved(&entry.found));
                let changed = entry.found != found;
                entry.found = found;
                // The new looks were added at the end, so the first of each are the old ones.
                self.unwatch(gateway, &old);
                changed
            }
            None => {
                self.gateways.insert(gateway, Gateway { found, sets: BTreeSet::new(), looks, interfaces });
                true
            }
        }
    }

    /// A candidate of `prefix` has come, gone or changed. Connected subnets go before longer prefixes, so their
    /// changes touch everybody inside.
    pub(crate) fn prefix_changed(&mut self, prefix: Prefix, connected: bool) {
        for watches in self.watched.range(prefix.addr()..=prefix.last()).map(|(_, watches)| watches) {
            let touched = watches.iter().filter(|watch| connected || watch.shortest <= prefix.len());
            self.stale.extend(touched.map(|watch| watch.gateway));
        }
    }

    pub(crate) fn interface_changed(&mut self, interface: IfIndex) {
        let touched = self.gateways.iter().filter(|(_, gateway)| gateway.interfaces.contains(&interface));
        self.stale.extend(touched.map(|(addr, _)| *addr));
    }

    pub(crate) fn all_changed(&mut self) {
        self.stale.extend(self.gateways.keys());
    }

    pub(crate) fn take_stale(&mut self) -> BTreeSet<Ipv4Addr> {
        core::mem::take(&mut self.stale)
    }

    pub(crate) fn has_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    fn unwatch(&mut self, gateway: Ipv4Addr, looks: &[Look]) {
        for look in looks {
            let Some(watches) = self.watched.get_mut(&look.at) else { continue };
            if let Some(at) = watches.iter().position(|watch| watch.gateway == gateway) {
                watches.remove(at);
            }
            if watches.is_empty() {
                self.watched.remove(&look.at);
            }
        }
    }
}

pub(crate) const fn is_resolved(found: &Found) -> bool {
    match found {
        Found::Paths(_) | Found::Special(_) => true,
        Found::Nothing(_) => false,
    }
}
