//! How a gateway is resolved: the search that [`crate::tracker`] remembers the outcome of.

use core::net::Ipv4Addr;

use millrace_net::Prefix;

use crate::entry;
use crate::nexthop::{self, Found, IfIndex, Kind, Nexthop, Path, Special, Target, Unresolved, Via};
use crate::protocol::Protocol;
use crate::rib::Rib;
use crate::tracker::{Look, Search};

impl Rib {
    /// What a target comes to with what is known of its gateways.
    pub(crate) fn resolved(&self, target: &Target) -> Option<Kind> {
        let is_usable = |via| self.is_usable(via);
        nexthop::combine(target, self.settings.max_paths, is_usable, |gateway| self.tracker.found(gateway))
    }

    /// Whether packets get to the far side of a link.
    fn is_usable(&self, via: Via) -> bool {
        match via {
            Via::OnLink { interface, .. } | Via::Interface(interface) => self.up.contains(&interface),
            Via::Watched { interface, gateway } => {
                self.up.contains(&interface) && !self.silent.contains(&(interface, gateway))
            }
            Via::Gateway(_) => false,
        }
    }

    /// Searches for a gateway anew. True if the outcome differs from the last one.
    pub(crate) fn search(&mut self, gateway: Ipv4Addr) -> bool {
        let mut search = Search::default();
        let found = match self.resolve(gateway, &mut search) {
            Found::Nothing(_) if search.exhausted() => Found::Nothing(Unresolved::TooDeep),
            Found::Nothing(Unresolved::NoRoute) if search.looped => Found::Nothing(Unresolved::Loop),
            found @ (Found::Paths(_) | Found::Special(_) | Found::Nothing(_)) => found,
        };
        self.tracker.settle(gateway, found, search)
    }

    /// One step of a search.
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
                Via::OnLink { interface, .. }
                | Via::Watched { interface, .. }
                | Via::Interface(interface) => {
                    search.interfaces.insert(interface);
                }
                Via::Gateway(_) => {}
            }
        }
        let is_usable = |via| self.is_usable(via);
        nexthop::combine(target, self.settings.max_paths, is_usable, |gateway| self.resolve(gateway, search))
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

fn on_link(interface: IfIndex, gateway: Ipv4Addr) -> Found {
    Found::Paths(vec![Path { interface, gateway, weight: 1 }])
}
