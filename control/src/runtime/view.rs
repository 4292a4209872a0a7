//! The table as `show` sees it: the RIB's views with interface names, and what the dataplane makes of them.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use millrace_net::{Instant, Prefix};
use millrace_rib::{CandidateView, Entry, IfIndex, Kind, Nexthop, Rib, Target, Via};

use super::handle::{
    GroupView, NexthopView, PathView, RouteFilter, RouteKind, RoutePage, RouteSelect, RouteView,
};
use super::session::{Session, Subject};
use crate::links::LinkTable;

/// What views are made of.
pub(super) struct Views<'a> {
    pub(super) rib: &'a Rib,
    pub(super) session: &'a Session,
    pub(super) links: &'a LinkTable,
    pub(super) now: Instant,
    pub(super) under_way: HashSet<Subject>,
}

impl Views<'_> {
    pub(super) fn routes(&self, filter: RouteFilter, after: Option<Prefix>, limit: usize) -> RoutePage {
        match filter.select {
            RouteSelect::All => self.page(filter, limit, self.rib.entries_after(after)),
            RouteSelect::Within(block) => {
                let entries =
                    self.rib.entries_within(block).filter(|e| after.is_none_or(|after| after < e.prefix()));
                self.page(filter, limit, entries)
            }
            RouteSelect::Exact(prefix) => self.page(filter, usize::MAX, self.rib.entry(prefix).into_iter()),
            RouteSelect::Match(addr) => {
                self.page(filter, usize::MAX, self.rib.longest_match(addr).into_iter())
            }
        }
    }

    fn page<'r>(
        &self,
        filter: RouteFilter,
        limit: usize,
        entries: impl Iterator<Item = Entry<'r>>,
    ) -> RoutePage {
        let mut page = RoutePage::default();
        for entry in entries {
            let wanted =
                |c: &CandidateView<'_>| filter.protocol.is_none_or(|protocol| protocol == c.protocol);
            page.routes
                .extend(entry.candidates().filter(wanted).map(|candidate| self.route(&entry, &candidate)));
            if limit <= page.routes.len() {
                page.next = Some(entry.prefix());
                break;
            }
        }
        page
    }

    fn route(&self, entry: &Entry<'_>, candidate: &CandidateView<'_>) -> RouteView {
        let prefix = entry.prefix();
        let group = entry.group().filter(|_| candidate.selected);
        let problem = if candidate.selected {
            let of_group =
                group.and_then(|group| self.session.missing(Subject::Group(group), &self.under_way));
            of_group.or_else(|| self.session.missing(Subject::Route(prefix), &self.under_way))
        } else if candidate.kind.is_none() {
            Some(self.why_unusable(candidate.target))
        } else {
            None
        };
        RouteView {
            prefix,
            protocol: candidate.protocol,
            code: candidate.protocol.code(),
            distance: candidate.distance,
            metric: candidate.metric,
            tag: candidate.tag,
            selected: candidate.selected,
            installed: candidate.selected && group.is_some() && problem.is_none(),
            problem,
            kind: target_kind(candidate.target),
            nexthops: self.nexthops(candidate.target),
            group: group.map(|group| self.session.number(group)),
            age_seconds: self.now.as_secs().saturating_sub(u64::from(candidate.since_secs)),
        }
    }

    pub(super) fn groups(&self) -> Vec<GroupView> {
        let groups = self.rib.group_views().map(|view| {
            let problem = match view.told {
                Some(_) => self.session.missing(Subject::Group(view.group), &self.under_way),
                None => Some("no route uses it".to_owned()),
            };
            GroupView {
                id: self.session.number(view.group),
                kind: view.kind.map_or_else(|| target_kind(view.target), kind_of),
                active: view.kind.is_some(),
                installed: view.told.is_some() && problem.is_none(),
                problem,
                nexthops: self.nexthops(view.target),
                paths: view.told.or(view.kind).map(|kind| self.paths(kind)).unwrap_or_default(),
                candidates: view.candidates.into(),
                routes: view.routes.into(),
            }
        });
        groups.collect()
    }

    fn nexthops(&self, target: &Target) -> Vec<NexthopView> {
        let of = |nexthop: &Nexthop| {
            let (gateway, interface) = match nexthop.via {
                Via::Gateway(gateway) => (Some(gateway), None),
                Via::OnLink { interface, gateway } | Via::Watched { interface, gateway } => {
                    (Some(gateway), Some(interface))
                }
                Via::Interface(interface) => (None, Some(interface)),
            };
            let resolved = gateway.filter(|_| interface.is_none()).map(|gateway| self.resolved(gateway));
            // One path to the gateway itself: it is directly connected.
            let direct = match resolved.as_deref() {
                Some([path]) if path.gateway == gateway => Some(path.interface.clone()),
                Some(_) | None => interface.map(|interface| self.name(interface)),
            };
            NexthopView {
                gateway,
                active: match &resolved {
                    Some(paths) => !paths.is_empty(),
                    None => self.rib.nexthop_kind(*nexthop).is_some(),
                },
                resolved: if direct.is_some() { Vec::new() } else { resolved.unwrap_or_default() },
                interface: direct,
                weight: nexthop.weight,
            }
        };
        target.nexthops().iter().map(of).collect()
    }

    /// The paths a gateway comes to; none where it leads nowhere, or into a blackhole.
    fn resolved(&self, gateway: Ipv4Addr) -> Vec<PathView> {
        match self.rib.nexthop_kind(Nexthop { via: Via::Gateway(gateway), weight: 1 }) {
            Some(kind) => self.paths(&kind),
            None => Vec::new(),
        }
    }

    fn why_unusable(&self, target: &Target) -> String {
        let reasons = target.nexthops().iter().filter_map(|nexthop| match nexthop.via {
            Via::Gateway(gateway) => {
                self.rib.unresolved(gateway).map(|reason| format!("{gateway}: {reason}"))
            }
            Via::Watched { interface, gateway } if self.rib.is_silent(interface, gateway) => {
                Some(format!("{gateway}: BFD says that it cannot be reached"))
            }
            Via::OnLink { interface, .. } | Via::Watched { interface, .. } | Via::Interface(interface) => {
                let down = !self.links.get(interface.0).is_some_and(|link| link.up);
                down.then(|| format!("{} is down", self.name(interface)))
            }
        });
        reasons.collect::<Vec<_>>().join("; ")
    }

    fn paths(&self, kind: &Kind) -> Vec<PathView> {
        match kind {
            Kind::Forward(paths) => self.path_views(paths),
            Kind::Glean(interface) => {
                vec![PathView { interface: self.name(*interface), gateway: None, weight: 1 }]
            }
            Kind::Local | Kind::Blackhole | Kind::Unreachable | Kind::Prohibit => Vec::new(),
        }
    }

    fn path_views(&self, paths: &[millrace_rib::Path]) -> Vec<PathView> {
        let view = |path: &millrace_rib::Path| PathView {
            interface: self.name(path.interface),
            gateway: Some(path.gateway),
            weight: path.weight,
        };
        paths.iter().map(view).collect()
    }

    fn name(&self, interface: IfIndex) -> String {
        self.links.get(interface.0).map_or_else(|| format!("if{}", interface.0), |link| link.name.clone())
    }
}

fn target_kind(target: &Target) -> RouteKind {
    match target {
        Target::Nexthops(nexthops) => match nexthops.as_slice() {
            [only] if matches!(only.via, Via::Interface(_)) => RouteKind::Glean,
            _ => RouteKind::Forward,
        },
        Target::Local => RouteKind::Local,
        Target::Blackhole => RouteKind::Blackhole,
        Target::Unreachable => RouteKind::Unreachable,
        Target::Prohibit => RouteKind::Prohibit,
    }
}

fn kind_of(kind: &Kind) -> RouteKind {
    match kind {
        Kind::Forward(_) => RouteKind::Forward,
        Kind::Glean(_) => RouteKind::Glean,
        Kind::Local => RouteKind::Local,
        Kind::Blackhole => RouteKind::Blackhole,
        Kind::Unreachable => RouteKind::Unreachable,
        Kind::Prohibit => RouteKind::Prohibit,
    }
}
