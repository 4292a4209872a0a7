//! What a border router tells each area of the others: ranges, summaries, boundary routers, defaults. RFC 2328 §12.4.3,
//! RFC 3101 §2.7.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use millrace_net::Prefix;

use crate::config::{AreaKind, Range};
use crate::link::Medium;
use crate::lsdb::Scope;
use crate::machine::Ospf;
use crate::originate::Wanted;
use crate::routes::{NetworkRoute, PathKind};
use crate::spf::Hop;
use crate::wire::{AreaId, INFINITY, LsaBody, LsaKey, LsaType, RouterId, Summary};

impl Ospf {
    pub(crate) fn summary_lsas(&self) -> Wanted {
        let mut wanted = Wanted::new();
        if !self.is_border() {
            return wanted;
        }
        for (area, state) in &self.areas {
            let kind = self.config.area_kind(*area);
            let mut networks: BTreeMap<Prefix, u32> = BTreeMap::new();
            if kind.has_summaries() {
                self.networks_for(*area, state.transit, &mut networks);
            }
            if is_told_a_default(kind) {
                networks.insert(Prefix::DEFAULT, self.config.area(*area).default_cost);
            }
            let options = self.lsa_options(*area);
            for (prefix, id) in link_state_ids(networks.keys().copied()) {
                let metric = networks.get(&prefix).copied().unwrap_or(INFINITY);
                let key = LsaKey { kind: LsaType::Summary, id, router: self.router_id() };
                let mask = Ipv4Addr::from_bits(prefix.mask());
                wanted
                    .insert((Scope::Area(*area), key), (options, LsaBody::Summary(Summary { mask, metric })));
            }
            if kind.has_externals() {
                self.boundary_routers_for(*area, &mut wanted);
            }
        }
        wanted
    }

    fn networks_for(&self, area: AreaId, transit: bool, networks: &mut BTreeMap<Prefix, u32>) {
        for (prefix, route) in &self.routes.networks {
            let told = match route.kind {
                PathKind::IntraArea => route.area != area,
                // Only what came through the backbone, and only to the others.
                PathKind::InterArea => route.area.is_backbone() && !area.is_backbone(),
                PathKind::External1 | PathKind::External2 => false,
            };
            if !told || INFINITY <= route.cost || self.leaves_through(area, &route.hops) {
                continue;
            }
            let range = self.range_of(route, *prefix).filter(|_| !(route.area.is_backbone() && transit));
            match range {
                None => {
                    networks.insert(*prefix, route.cost);
                }
                Some(range) if !range.advertise => {}
                Some(range) => {
                    let cost = networks.entry(range.prefix).or_insert(0);
                    *cost = range.cost.unwrap_or_else(|| (*cost).max(route.cost));
                }
            }
        }
    }

    /// RFC 2328 §12.4.3 (4)
    fn boundary_routers_for(&self, area: AreaId, wanted: &mut Wanted) {
        for (router, routes) in &self.routes.routers {
            let candidates = routes.iter().filter(|route| route.flags.boundary);
            let Some(best) = candidates.min_by_key(|route| (route.kind, route.cost)) else { continue };
            let told = match best.kind {
                PathKind::IntraArea => best.area != area && self.config.area_kind(best.area).has_externals(),
                PathKind::InterArea => best.area.is_backbone() && !area.is_backbone(),
                PathKind::External1 | PathKind::External2 => false,
            };
            if told && best.cost < INFINITY && !self.leaves_through(area, &best.hops) {
                let key = LsaKey { kind: LsaType::AsbrSummary, id: router.0, router: self.router_id() };
                let summary = Summary { mask: Ipv4Addr::UNSPECIFIED, metric: best.cost };
                wanted.insert((Scope::Area(area), key), (self.lsa_options(area), LsaBody::Summary(summary)));
            }
        }
    }

    /// Whether packets go out into `area`: it is not told of what it is asked for itself.
    fn leaves_through(&self, area: AreaId, hops: &[Hop]) -> bool {
        let of_area = |hop: &Hop| {
            self.links.values().any(|link| {
                link.interface.index == hop.interface && link.area == area && link.medium != Medium::Virtual
            })
        };
        hops.iter().any(of_area)
    }

    /// The range of the route's own area that holds it.
    fn range_of(&self, route: &NetworkRoute, prefix: Prefix) -> Option<Range> {
        if route.kind != PathKind::IntraArea {
            return None;
        }
        let ranges = &self.config.areas.get(&route.area)?.ranges;
        ranges.iter().find(|range| range.prefix.covers(prefix)).copied()
    }

    /// A range that stands for something: others' summaries of the same network would lead in a circle (§16.2 (3)).
    pub(crate) fn is_own_active_range(&self, prefix: Prefix) -> bool {
        if !self.is_border() {
            return false;
        }
        self.areas.iter().any(|(id, area)| {
            let config = self.config.areas.get(id);
            let mut ranges = config.into_iter().flat_map(|config| &config.ranges);
            let named = ranges.any(|range| range.prefix == prefix);
            named && area.networks.keys().any(|network| prefix.covers(*network))
        })
    }

    /// Of the routers of `area` that could translate type 7 LSAs this one does. RFC 3101 §3.1.
    pub(crate) fn is_translator(&self, area: AreaId) -> bool {
        use crate::config::Translate;
        let AreaKind::Nssa { translate, .. } = self.config.area_kind(area) else { return false };
        let own: RouterId = self.router_id();
        let others = self.areas.get(&area).map(|area| &area.routers);
        let mut rivals = others.into_iter().flatten().filter(|(_, r)| r.flags.border && r.flags.boundary);
        self.is_border()
            && match translate {
                Translate::Always => true,
                Translate::Never => false,
                Translate::Candidate => !rivals.any(|(id, r)| r.flags.translator || own < *id),
            }
    }
}

/// Stub areas are, and NSSAs that get no summaries; other NSSAs get theirs as a type 7 LSA.
const fn is_told_a_default(kind: AreaKind) -> bool {
    match kind {
        AreaKind::Normal => false,
        AreaKind::Stub { .. } => true,
        AreaKind::Nssa { summaries, .. } => !summaries,
    }
}

/// A different id for each network, the address itself wherever it is free. RFC 2328 appendix E.
pub(crate) fn link_state_ids(prefixes: impl Iterator<Item = Prefix>) -> BTreeMap<Prefix, Ipv4Addr> {
    let mut by_address: BTreeMap<Ipv4Addr, Vec<Prefix>> = BTreeMap::new();
    for prefix in prefixes {
        by_address.entry(prefix.addr()).or_default().push(prefix);
    }
    let mut taken: BTreeMap<Ipv4Addr, Prefix> = BTreeMap::new();
    let mut crowded = Vec::new();
    for (address, mut same) in by_address {
        same.sort_by_key(|prefix| (prefix.len() != 32, prefix.len()));
        for (at, prefix) in same.into_iter().enumerate() {
            if at == 0 {
                taken.insert(address, prefix);
            } else {
                crowded.push(prefix);
            }
        }
    }
    for prefix in crowded {
        let host_bits = 0..(1u64 << (32 - u32::from(prefix.len()))).min(256);
        let candidates = host_bits.filter_map(|offset| {
            Some(Ipv4Addr::from_bits(prefix.last().to_bits().checked_sub(u32::try_from(offset).ok()?)?))
        });
        if let Some(free) = candidates.into_iter().find(|id| !taken.contains_key(id)) {
            taken.insert(free, prefix);
        }
    }
    taken.into_iter().map(|(id, prefix)| (prefix, id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_has_an_id_of_its_own() {
        let prefixes =
            ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.0/32", "10.0.0.255/32", "0.0.0.0/0"];
        let prefixes = prefixes.map(|text| text.parse::<Prefix>().unwrap());
        let ids: Vec<String> = link_state_ids(prefixes.into_iter())
            .iter()
            .map(|(prefix, id)| format!("{prefix} {id}"))
            .collect();
        assert_eq!(
            ids,
            [
                "0.0.0.0/0 0.0.0.0",
                "10.0.0.0/8 10.255.255.255",
                "10.0.0.0/16 10.0.255.255",
                "10.0.0.0/24 10.0.0.254",
                "10.0.0.0/32 10.0.0.0",
                "10.0.0.255/32 10.0.0.255",
            ]
        );
    }
}
