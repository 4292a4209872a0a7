//! The state as operators see it: `show bgp`, the API and the metrics read these.

use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_policy::Community;
use millrace_proto::Instant;
use serde::Serialize;

use crate::attrs::Attrs;
use crate::machine::Bgp;
use crate::peer::{PeerKind, State};
use crate::stats::PeerStats;
use crate::table::{Path, PeerIx};
use crate::wire::Code;

/// The process as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    pub asn: u32,
    pub router_id: Ipv4Addr,
    /// False while a restarted router waits for its peers.
    pub converged: bool,
    /// Prefixes with a path, used or not.
    pub prefixes: usize,
    pub attribute_sets: usize,
    /// Octets that prefixes and attribute sets take, about.
    pub memory_bytes: usize,
    /// Changes that peers have not been told yet.
    pub backlog: usize,
    pub peers: Vec<PeerView>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PeerView {
    pub address: Ipv4Addr,
    pub asn: u32,
    pub kind: PeerKind,
    pub description: Option<String>,
    pub state: State,
    /// Taken because of a range.
    pub dynamic: bool,
    /// How long it is what it is; None: it has not been up, or down, yet.
    pub since: Option<Duration>,
    /// Why the last session ended.
    pub last_down: Option<String>,
    /// Why the last attempt came to nothing, while there is no session.
    pub last_attempt: Option<String>,
    pub router_id: Option<Ipv4Addr>,
    pub local: Option<Ipv4Addr>,
    pub hold_seconds: Option<u64>,
    pub keepalive_seconds: Option<u64>,
    /// What was agreed beyond RFC 4271.
    pub capabilities: Vec<&'static str>,
    pub prefixes_received: u32,
    pub prefixes_accepted: u32,
    pub prefixes_advertised: usize,
    pub stale: bool,
    /// Peers with equal numbers are told the same.
    pub update_group: Option<u8>,
    pub stats: PeerStats,
}

/// One prefix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteView {
    pub prefix: Prefix,
    /// The best first, where one is.
    pub paths: Vec<PathView>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PathView {
    /// None: this router originates it.
    pub peer: Option<Ipv4Addr>,
    pub path_id: u32,
    pub best: bool,
    /// Packets follow it, alone or with others.
    pub selected: bool,
    /// The import policy takes it.
    pub accepted: bool,
    /// The next hop can be reached.
    pub reachable: bool,
    pub stale: bool,
    pub age: Duration,
    pub attributes: AttributesView,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AttributesView {
    pub origin: &'static str,
    pub as_path: String,
    /// None: the address of whoever announces it.
    pub next_hop: Option<Ipv4Addr>,
    pub med: Option<u32>,
    pub local_pref: Option<u32>,
    pub communities: Vec<Community>,
    pub originator: Option<Ipv4Addr>,
    pub cluster_list: Vec<Ipv4Addr>,
    pub atomic_aggregate: bool,
    pub only_to_customer: Option<u32>,
}

impl AttributesView {
    pub fn new(attrs: &Attrs) -> Self {
        Self {
            origin: attrs.origin.name(),
            as_path: attrs.as_path().to_string(),
            next_hop: (!attrs.next_hop.is_unspecified()).then_some(attrs.next_hop),
            med: attrs.med,
            local_pref: attrs.local_pref,
            communities: attrs.communities().collect(),
            originator: attrs.originator(),
            cluster_list: attrs.cluster_list().collect(),
            atomic_aggregate: attrs.get(Code::AtomicAggregate).is_some(),
            only_to_customer: attrs.only_to_customer(),
        }
    }
}

impl Bgp {
    /// `advertised` counts what each peer is told, which takes a walk through the table.
    pub fn summary(&self, now: Instant, advertised: bool) -> Summary {
        let mut told = [0usize; 32];
        if advertised {
            for (prefix, _) in self.table.after(None) {
                let mut bits = self.table.told(prefix);
                while bits != 0 {
                    if let Some(count) = told.get_mut(bits.trailing_zeros() as usize) {
                        *count += 1;
                    }
                    bits &= bits - 1;
                }
            }
        }
        let peers = self.by_address.values().filter_map(|ix| self.peer_view(now, *ix, &told)).collect();
        Summary {
            asn: self.config.asn,
            router_id: self.router_id,
            converged: self.converged,
            prefixes: self.table.len(),
            attribute_sets: self.attrs.len(),
            memory_bytes: self.attrs.memory() + self.table.memory(),
            backlog: self.groups.backlog(),
            peers,
        }
    }

    fn peer_view(&self, now: Instant, ix: PeerIx, told: &[usize; 32]) -> Option<PeerView> {
        let peer = self.peer(ix)?;
        let agreed = peer.agreed.as_ref();
        let since = peer.up_since.or(peer.last_down.as_ref().map(|(at, _)| *at));
        let mut capabilities = Vec::new();
        if let Some(agreed) = agreed {
            let remote = &agreed.capabilities;
            for (has, name) in [
                (agreed.as4, "four-octet-as"),
                (remote.route_refresh, "route-refresh"),
                (remote.enhanced_refresh, "enhanced-route-refresh"),
                (agreed.extended, "extended-message"),
                (agreed.add_path_receive, "add-path-receive"),
                (remote.graceful_restart.is_some(), "graceful-restart"),
                (!remote.long_lived.is_empty(), "long-lived-graceful-restart"),
                (!remote.roles.is_empty(), "role"),
            ] {
                if has {
                    capabilities.push(name);
                }
            }
        }
        Some(PeerView {
            address: peer.address,
            asn: peer.config.asn,
            kind: peer.kind,
            description: peer.config.description.clone(),
            state: peer.state(),
            dynamic: peer.dynamic,
            since: since.map(|at| now.since(at)),
            last_down: peer.last_down.as_ref().map(|(_, reason)| reason.clone()),
            last_attempt: peer.attempt.clone(),
            router_id: agreed.map(|agreed| agreed.router_id),
            local: agreed.map(|agreed| agreed.local),
            hold_seconds: agreed.map(|agreed| agreed.hold.as_secs()),
            keepalive_seconds: agreed.map(|agreed| agreed.keepalive.as_secs()),
            capabilities,
            prefixes_received: peer.received,
            prefixes_accepted: peer.accepted,
            prefixes_advertised: peer
                .group
                .and_then(|group| told.get(usize::from(group)))
                .copied()
                .unwrap_or(0),
            stale: peer.stale,
            update_group: peer.group,
            stats: peer.stats,
        })
    }

    /// Of all neighbours.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.by_address.keys().copied()
    }

    pub fn route_count(&self) -> usize {
        self.table.len()
    }

    /// Prefixes in address order, from the first behind `after`; those without a path are left out.
    pub fn routes_after(&self, now: Instant, after: Option<Prefix>) -> impl Iterator<Item = RouteView> {
        self.table
            .after(after)
            .filter(|(_, paths)| !paths.is_empty())
            .map(move |(prefix, paths)| RouteView { prefix, paths: self.path_views(now, paths) })
    }

    pub fn route(&self, now: Instant, prefix: Prefix) -> Option<RouteView> {
        let paths = self.table.paths(prefix);
        (!paths.is_empty()).then(|| RouteView { prefix, paths: self.path_views(now, paths) })
    }

    /// What a peer has told, as it told it.
    pub fn received(
        &self,
        now: Instant,
        peer: Ipv4Addr,
        after: Option<Prefix>,
    ) -> impl Iterator<Item = RouteView> {
        let ix = self.by_address.get(&peer).copied();
        self.table.after(after).filter_map(move |(prefix, paths)| {
            let of = paths.iter().filter(|path| Some(path.peer) == ix);
            let paths: Vec<PathView> = of.map(|path| self.path_view(now, path, true)).collect();
            (!paths.is_empty()).then_some(RouteView { prefix, paths })
        })
    }

    /// What a peer is told, as it is told: at most `limit` prefixes behind `after`.
    pub fn advertised(
        &self,
        peer: Ipv4Addr,
        after: Option<Prefix>,
        limit: usize,
    ) -> Vec<(Prefix, AttributesView)> {
        let Some(ix) = self.by_address.get(&peer).copied() else { return Vec::new() };
        let Some((number, group)) = self.group_of(ix) else { return Vec::new() };
        let (key, bit) = (group.key.clone(), 1u32 << number);
        let told = self.table.after(after).map(|(prefix, _)| prefix);
        let told: Vec<Prefix> =
            told.filter(|prefix| self.table.told(*prefix) & bit != 0).take(limit).collect();
        let mut views = Vec::new();
        for prefix in told {
            let Some((draft, source)) = self.export(&key, prefix, &mut None) else { continue };
            if source != ix {
                views.push((prefix, AttributesView::new(&draft.finish())));
            }
        }
        views
    }

    /// Next hops, how many paths use each, and how far it is.
    pub fn next_hops(&self) -> impl Iterator<Item = (Ipv4Addr, u32, Option<u32>)> {
        self.next_hops.iter()
    }

    fn path_views(&self, now: Instant, paths: &[Path]) -> Vec<PathView> {
        let view = |(at, path): (usize, &Path)| {
            let view = self.path_view(now, path, path.used.some().is_none());
            PathView { best: at == 0 && path.selected, ..view }
        };
        paths.iter().enumerate().map(view).collect()
    }

    /// Of one path by itself, which says nothing of which is the best.
    fn path_view(&self, now: Instant, path: &Path, received: bool) -> PathView {
        let id = if received { path.received } else { path.used };
        let attrs = self.attrs.get(id).or_else(|| self.attrs.get(path.used));
        let peer = self.peer(path.peer);
        let local = path.peer == PeerIx::LOCAL;
        PathView {
            peer: peer.map(|peer| peer.address),
            path_id: if local { 0 } else { path.id },
            best: false,
            selected: path.selected,
            accepted: path.used.some().is_some(),
            reachable: local || attrs.is_some_and(|attrs| self.next_hops.metric(attrs.next_hop).is_some()),
            stale: peer.is_some_and(|peer| peer.epoch != path.epoch),
            age: now.since(Instant::from_secs(path.since.into())),
            attributes: attrs.map_or_else(
                || AttributesView::new(&crate::attrs::Draft::default().finish()),
                AttributesView::new,
            ),
        }
    }
}
