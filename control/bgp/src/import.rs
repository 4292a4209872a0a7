//! From UPDATEs to best routes: checks, the import policy, the table, and the decision for each prefix.
//!
//! ```text
//!   UPDATE ─▶ judge (loops, next hop, roles) ─▶ policy ─▶ table.put ─▶ select ─▶ BestRoute for the routing table
//!                                                                         └────▶ log of prefixes to be told
//! ```

use std::net::Ipv4Addr;
use std::sync::Arc;

use millrace_net::Prefix;
use millrace_policy::{self as policy, BgpAttributes, Context, RuleList};
use millrace_proto::{Instant, NextHop};

use crate::as_path::{AsPath, SegmentKind, prepend};
use crate::attrs::{AttrId, Attrs, Draft, Interner};
use crate::config::OverLimit;
use crate::decision::{self, Candidate, Source};
use crate::machine::{BestRoute, Bgp, Forwarding, Notice, Output, Timer};
use crate::nexthops::recursive;
use crate::peer::{Agreed, PeerKind};
use crate::session::Then;
use crate::stats::BadRoute;
use crate::table::{Path, PeerIx};
use crate::walk::Job;
use crate::wire::attribute::Treatment;
use crate::wire::refresh::What;
use crate::wire::{Code, Kind, Notification, Refresh, Role, Update};

/// RFC 8326 §4.2
pub(crate) const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
/// What this router originates beats what it hears.
const LOCAL_WEIGHT: u32 = 32768;

/// What policies see of the set looked at last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memo(Option<(AttrId, BgpAttributes)>);

/// The selected paths of a prefix, so far as changes of them matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Selected {
    best: Option<(PeerIx, u32, AttrId)>,
    others: Vec<(PeerIx, u32, AttrId)>,
}

impl Bgp {
    /// An UPDATE of an established session.
    pub(crate) fn update(&mut self, now: Instant, ix: PeerIx, body: &[u8]) -> Result<(), Notification> {
        let Some(peer) = self.peer(ix) else { return Ok(()) };
        let update = Update::decode(body, peer.update_context())?;
        self.note_problems(ix, &update);
        for (id, prefix) in update.withdrawn.iter().chain(update.mp_withdrawn.iter()) {
            self.take_path(prefix, ix, id);
        }
        let next_hop = update.mp_next_hop;
        match update.draft {
            Some(draft) => {
                let mut multiprotocol = None;
                if let Some(next_hop) = next_hop
                    && !update.mp_announced.is_empty()
                {
                    multiprotocol = Some(Draft { next_hop, ..draft.clone() });
                }
                if !update.announced.is_empty() {
                    self.announced(now, ix, draft, update.announced.iter());
                }
                if let Some(draft) = multiprotocol {
                    self.announced(now, ix, draft, update.mp_announced.iter());
                }
            }
            None => {
                for (id, prefix) in update.announced.iter().chain(update.mp_announced.iter()) {
                    self.take_path(prefix, ix, id);
                }
            }
        }
        if update.end_of_rib == Some(crate::wire::Family::IPV4) {
            self.told_everything(ix);
        }
        self.check_limit(now, ix);
        Ok(())
    }

    fn note_problems(&mut self, ix: PeerIx, update: &Update<'_>) {
        let mut worst = None;
        let Some(peer) = self.peer_mut(ix) else { return };
        for (code, treatment) in &update.problems {
            match treatment {
                Treatment::Withdraw => worst = worst.or(Some(*code)),
                Treatment::Discard => peer.stats.attributes_discarded += 1,
            }
        }
        if let Some(code) = worst {
            peer.stats.treated_as_withdraw += 1;
            let peer = peer.address;
            self.notice(Notice::TreatedAsWithdraw { peer, code });
        }
    }

    fn announced(
        &mut self,
        now: Instant,
        ix: PeerIx,
        mut draft: Draft,
        prefixes: impl Iterator<Item = (u32, Prefix)>,
    ) {
        if let Err(reason) = self.judge(ix, &mut draft) {
            for (id, prefix) in prefixes {
                self.refuse_route(ix, reason);
                self.take_path(prefix, ix, id);
            }
            return;
        }
        let received = self.attrs.hold_value(draft.finish());
        for (id, prefix) in prefixes {
            // Class D and E, and this host.
            if prefix.addr().octets()[0] == 127 || 224 <= prefix.addr().octets()[0] {
                self.refuse_route(ix, BadRoute::Prefix);
                continue;
            }
            self.put_path(now, prefix, ix, id, received);
        }
        self.attrs.release(received);
    }

    fn refuse_route(&mut self, ix: PeerIx, reason: BadRoute) {
        if let Some(peer) = self.peer_mut(ix) {
            peer.stats.bad_routes.count(reason);
        }
    }

    /// What can be said of a set of attributes without its prefixes.
    fn judge(&self, ix: PeerIx, draft: &mut Draft) -> Result<(), BadRoute> {
        let Some(peer) = self.peer(ix) else { return Err(BadRoute::NextHop) };
        let config = &peer.config;
        let path = AsPath::new(&draft.as_path);
        if peer.kind == PeerKind::External
            && config.enforce_first_as
            && !config.route_server_client
            && config.role != Some(Role::RouteServerClient)
            && path.first() != Some(config.asn)
        {
            return Err(BadRoute::FirstAs);
        }
        let mut own = path.count(self.config.asn);
        if let Some(confederation) = &self.config.confederation {
            own += path.count(confederation.asn);
        } else if let Some(local) = config.local_as.filter(|local| *local != self.config.asn) {
            own += path.count(local);
        }
        if usize::from(config.allow_as_in) < own {
            return Err(BadRoute::AsLoop);
        }
        if self.config.reject_as_sets && path.has_sets() {
            return Err(BadRoute::AsSet);
        }
        let next_hop = draft.next_hop;
        let own = peer.agreed.as_ref().is_some_and(|agreed| agreed.local == next_hop);
        if own || next_hop.is_unspecified() || next_hop.is_loopback() || 224 <= next_hop.octets()[0] {
            return Err(BadRoute::NextHop);
        }
        if peer.kind == PeerKind::Internal {
            let originator = draft.get(Code::OriginatorId) == Some(&self.router_id.octets());
            let cluster = self.cluster_id().octets();
            let list = draft.get(Code::ClusterList).unwrap_or_default();
            if originator || list.as_chunks().0.contains(&cluster) {
                return Err(BadRoute::ReflectionLoop);
            }
        }
        self.only_to_customer(config.role.filter(|_| peer.kind == PeerKind::External), config.asn, draft)
    }

    /// RFC 9234 §5, ingress
    fn only_to_customer(&self, role: Option<Role>, remote: u32, draft: &mut Draft) -> Result<(), BadRoute> {
        let otc = draft.get(Code::OnlyToCustomer).and_then(|value| value.first_chunk().copied());
        match (role, otc) {
            (Some(Role::Provider | Role::RouteServer), Some(_)) => Err(BadRoute::RouteLeak),
            (Some(Role::Peer), Some(otc)) if u32::from_be_bytes(otc) != remote => Err(BadRoute::RouteLeak),
            (Some(Role::Customer | Role::Peer | Role::RouteServerClient), None) => {
                draft.set(Code::OnlyToCustomer, remote.to_be_bytes().to_vec());
                Ok(())
            }
            (Some(Role::Provider | Role::RouteServer) | None, None)
            | (Some(Role::Customer | Role::Peer | Role::RouteServerClient) | None, Some(_)) => Ok(()),
        }
    }

    pub(crate) fn cluster_id(&self) -> Ipv4Addr {
        self.config.cluster_id.unwrap_or(self.router_id)
    }

    /// Takes in what a peer says of a prefix.
    fn put_path(&mut self, now: Instant, prefix: Prefix, ix: PeerIx, id: u32, received: AttrId) {
        let used = self.import(ix, prefix, received);
        let epoch = self.peer(ix).map_or(0, |peer| peer.epoch);
        let since = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        self.attrs.hold(received);
        let old = self.table.paths(prefix).iter().find(|old| old.is(ix, id)).copied();
        if let Some(old) = old
            && (old.received, old.used) == (received, used)
        {
            // Heard once more: it is as old as it was, and of this session.
            if let Some(path) = self.table.paths_mut(prefix).iter_mut().find(|path| path.is(ix, id)) {
                path.epoch = epoch;
            }
            self.attrs.release(received);
            self.attrs.release(used);
            return;
        }
        self.put(prefix, Path { received, used, id, since, peer: ix, epoch, selected: false });
    }

    /// Puts a path into the table. Its sets are held for it already.
    pub(crate) fn put(&mut self, prefix: Prefix, path: Path) {
        self.follow(path.used);
        let before = self.selected(prefix);
        let replaced = self.table.put(prefix, path);
        self.count(path.peer, replaced.as_ref(), Some(&path));
        self.select(prefix, &before);
        if let Some(old) = replaced {
            self.drop_sets(&old);
        }
    }

    /// Takes a path away. Absent is fine.
    pub(crate) fn take_path(&mut self, prefix: Prefix, ix: PeerIx, id: u32) {
        let before = self.selected(prefix);
        let Some(old) = self.table.take(prefix, ix, id) else { return };
        self.count(ix, Some(&old), None);
        self.select(prefix, &before);
        self.drop_sets(&old);
        let keep = self.groups.in_use();
        self.table.forget(prefix, keep);
    }

    fn drop_sets(&mut self, old: &Path) {
        if let Some(address) = self.attrs.get(old.used).map(|attrs| attrs.next_hop)
            && !address.is_unspecified()
            && self.next_hops.release(address)
        {
            self.outputs.push_back(Output::Track { address, wanted: false });
        }
        self.attrs.release(old.used);
        self.attrs.release(old.received);
    }

    fn follow(&mut self, used: AttrId) {
        if let Some(address) = self.attrs.get(used).map(|attrs| attrs.next_hop)
            && !address.is_unspecified()
            && self.next_hops.hold(address)
        {
            self.outputs.push_back(Output::Track { address, wanted: true });
        }
    }

    fn count(&mut self, ix: PeerIx, old: Option<&Path>, path: Option<&Path>) {
        let Some(peer) = self.peer_mut(ix) else { return };
        let accepted = |path: Option<&Path>| u32::from(path.is_some_and(|path| path.used.some().is_some()));
        peer.received = peer.received + u32::from(path.is_some()) - u32::from(old.is_some());
        peer.accepted = peer.accepted + accepted(path) - accepted(old);
    }

    /// The set a route is used with, held; NONE where the policy does not take it.
    fn import(&mut self, ix: PeerIx, prefix: Prefix, received: AttrId) -> AttrId {
        let Some(peer) = self.peers.get(usize::from(ix.0)).and_then(Option::as_ref) else {
            return AttrId::NONE;
        };
        let external = peer.kind == PeerKind::External;
        let Some(attrs) = self.attrs.get(received) else { return AttrId::NONE };
        let shutdown = external && attrs.has_community(GRACEFUL_SHUTDOWN);
        let reject = |bgp: &mut Self, reason| {
            bgp.refuse_route(ix, reason);
            AttrId::NONE
        };
        let Some(list) = &peer.config.import else {
            if external && peer.config.needs_policy {
                return reject(self, BadRoute::NoPolicy);
            }
            if shutdown {
                let draft = Draft { local_pref: Some(0), ..attrs.draft() };
                return self.attrs.hold_value(draft.finish());
            }
            self.attrs.hold(received);
            return received;
        };
        let list = Arc::clone(list);
        let (neighbor, own_as) = (peer.address, self.config.asn);
        let bgp = self.memo.get(&mut self.attrs, received);
        let Some(attrs) = self.attrs.get(received) else { return AttrId::NONE };
        let mut route = policy_route(prefix, attrs, Some(neighbor), bgp.clone());
        if !accepts(&list, &mut route, own_as) {
            return reject(self, BadRoute::Policy);
        }
        let changed = changed(attrs, &bgp, &route);
        let draft = match (changed, shutdown) {
            (Some(draft), false) => draft,
            (Some(draft), true) => Draft { local_pref: Some(0), ..draft },
            (None, true) => Draft { local_pref: Some(0), ..attrs.draft() },
            (None, false) => {
                self.attrs.hold(received);
                return received;
            }
        };
        // Where packets go is not for a policy to hide.
        let next_hop = if draft.next_hop.is_unspecified() { attrs.next_hop } else { draft.next_hop };
        self.attrs.hold_value(Draft { next_hop, ..draft }.finish())
    }

    /// Applies the import policy to what a peer has said of a prefix.
    pub(crate) fn reimport(&mut self, prefix: Prefix, ix: PeerIx) {
        let paths: Vec<Path> =
            self.table.paths(prefix).iter().filter(|path| path.peer == ix).copied().collect();
        for path in paths {
            let used = self.import(ix, prefix, path.received);
            if used == path.used {
                self.attrs.release(used);
                continue;
            }
            self.attrs.hold(path.received);
            self.put(prefix, Path { used, ..path });
        }
    }

    fn selected(&self, prefix: Prefix) -> Selected {
        let mut paths = self.table.paths(prefix).iter().filter(|path| path.selected);
        let name = |path: &Path| (path.peer, path.id, path.used);
        Selected { best: paths.next().map(name), others: paths.map(name).collect() }
    }

    /// Looks at a prefix again, for a next hop has moved.
    pub(crate) fn reselect(&mut self, prefix: Prefix) {
        let before = self.selected(prefix);
        self.select(prefix, &before);
    }

    /// Decides which paths are selected, and tells of it if that is not what it was.
    fn select(&mut self, prefix: Prefix, before: &Selected) {
        let paths = self.table.paths(prefix);
        let candidates: Vec<Candidate<'_>> =
            paths.iter().enumerate().filter_map(|(at, path)| self.candidate(at, path)).collect();
        let chosen = decision::select(candidates, self.config.decision);
        let paths = self.table.paths_mut(prefix);
        for path in paths.iter_mut() {
            path.selected = false;
        }
        for at in &chosen {
            if let Some(path) = paths.get_mut(*at) {
                path.selected = true;
            }
        }
        // The best in front, then those that share its load.
        if let Some(best) = chosen.first()
            && *best < paths.len()
        {
            paths.swap(0, *best);
            if let Some(rest) = paths.get_mut(1..) {
                rest.sort_by_key(|path| !path.selected);
            }
        }
        if self.selected(prefix) != *before {
            self.publish(prefix);
        }
    }

    fn candidate<'a>(&'a self, at: usize, path: &Path) -> Option<Candidate<'a>> {
        let attrs = self.attrs.get(path.used)?;
        if path.peer == PeerIx::LOCAL {
            return Some(Candidate {
                at,
                attrs,
                weight: LOCAL_WEIGHT,
                source: Source::Local,
                igp_metric: 0,
                router_id: self.router_id,
                address: Ipv4Addr::UNSPECIFIED,
                path_id: path.id,
            });
        }
        let igp_metric = self.next_hops.metric(attrs.next_hop)?;
        let peer = self.peer(path.peer)?;
        Some(Candidate {
            at,
            attrs,
            weight: peer.config.weight,
            source: match peer.kind {
                PeerKind::External => Source::External,
                PeerKind::Internal | PeerKind::Confederation => Source::Internal,
            },
            igp_metric,
            router_id: peer.agreed.as_ref().map_or(peer.address, |agreed| agreed.router_id),
            address: peer.address,
            path_id: path.id,
        })
    }

    fn publish(&mut self, prefix: Prefix) {
        let route = self.forwarding(prefix);
        self.push_route(BestRoute { prefix, route });
        self.note_aggregates(prefix);
        self.groups.log(prefix, self.batch);
    }

    /// Where packets for a prefix go; None where that is not for BGP to say.
    fn forwarding(&mut self, prefix: Prefix) -> Option<Forwarding> {
        let selected: Vec<Path> =
            self.table.paths(prefix).iter().filter(|path| path.selected).copied().collect();
        let best = selected.first()?;
        let attrs = self.attrs.get(best.used)?;
        let metric = attrs.med.unwrap_or(0);
        if best.peer == PeerIx::LOCAL {
            // An aggregate swallows what none of its parts takes.
            let next_hops: Arc<[NextHop]> = Arc::new([]);
            return (best.id == crate::local::AGGREGATE).then_some(Forwarding {
                next_hops,
                external: true,
                metric,
            });
        }
        let external = self.peer(best.peer).is_some_and(|peer| peer.kind != PeerKind::Internal);
        let gateway = attrs.next_hop;
        let next_hops = match selected.len() {
            1 => self.next_hops.single(gateway),
            _ => {
                let gateways = selected.iter().filter_map(|path| self.attrs.get(path.used));
                let mut set: Vec<NextHop> = gateways.map(|attrs| recursive(attrs.next_hop)).collect();
                set.sort_unstable();
                set.dedup();
                set.into()
            }
        };
        Some(Forwarding { next_hops, external, metric })
    }

    /// RFC 4724 §4.2, RFC 7313 §4.2: what the peer did not repeat is gone.
    fn told_everything(&mut self, ix: PeerIx) {
        let Some(peer) = self.peer_mut(ix) else { return };
        peer.end_of_rib = true;
        if std::mem::take(&mut peer.stale) {
            self.timers.cancel(Timer::Stale(ix));
            self.queue(Job::purge(ix));
        }
        self.check_converged();
    }

    pub(crate) fn refresh(&mut self, ix: PeerIx, body: &[u8]) -> Result<(), Notification> {
        let Some(refresh) = Refresh::decode(body)? else { return Ok(()) };
        if refresh.family != crate::wire::Family::IPV4 {
            return Ok(());
        }
        match refresh.what {
            What::Request => self.send_everything(ix),
            What::Begin => {
                if let Some(peer) = self.peer_mut(ix) {
                    peer.epoch = peer.epoch.wrapping_add(1);
                }
            }
            What::End => self.queue(Job::purge(ix)),
        }
        Ok(())
    }

    /// RFC 2918
    pub(crate) fn ask_for_refresh(&mut self, now: Instant, ix: PeerIx) {
        let Some(agreed) = self.peer(ix).and_then(|peer| peer.agreed.as_ref()) else { return };
        if agreed.capabilities.route_refresh {
            let conn = agreed.conn;
            let request = Refresh { family: crate::wire::Family::IPV4, what: What::Request };
            self.send(now, ix, conn, Kind::RouteRefresh, request.encode());
        }
    }

    fn check_limit(&mut self, now: Instant, ix: PeerIx) {
        let Some(peer) = self.peer_mut(ix) else { return };
        let Some(max) = peer.config.max_prefixes else { return };
        let (received, limit, address) = (peer.received, max.limit, peer.address);
        let warn = u64::from(limit) * u64::from(max.warn_percent) / 100;
        if warn <= u64::from(received) && !std::mem::replace(&mut peer.warned, true) {
            self.notice(Notice::ManyPrefixes { peer: address, received, limit });
        }
        if received <= limit {
            return;
        }
        let then = match max.action {
            OverLimit::Warn => return,
            OverLimit::Shutdown => Then::Stay,
            OverLimit::Restart(pause) => Then::Wait(pause),
        };
        let reason = format!("{received} prefixes, more than the {limit} that are allowed");
        self.stop(now, ix, &Notification::MAX_PREFIXES, then, &reason);
    }

    pub(crate) fn session_up(&mut self, now: Instant, ix: PeerIx) {
        let stale_time = self.config.graceful_restart.stale;
        let Some(peer) = self.peer_mut(ix) else { return };
        peer.epoch = peer.epoch.wrapping_add(1);
        peer.end_of_rib = false;
        peer.warned = false;
        let kept = peer.agreed.as_ref().and_then(|agreed| agreed.capabilities.graceful_restart.as_ref());
        let kept = kept.is_some_and(|restart| {
            restart.families.iter().any(|(family, kept)| *family == crate::wire::Family::IPV4 && *kept)
        });
        if peer.stale {
            if kept {
                self.timers.set(Timer::Stale(ix), now + stale_time);
            } else {
                peer.stale = false;
                self.timers.cancel(Timer::Stale(ix));
                self.queue(Job::purge(ix));
            }
        }
        self.watch(ix, true);
        self.join_group(ix);
    }

    pub(crate) fn session_down(&mut self, now: Instant, ix: PeerIx, graceful: Option<Agreed>) {
        self.leave_group(ix);
        let away = graceful.and_then(|agreed| agreed.restart_secs());
        let Some(peer) = self.peer_mut(ix) else { return };
        match away {
            Some(secs) if peer.received != 0 => {
                peer.stale = true;
                let until = now + std::time::Duration::from_secs(secs.into());
                self.timers.set(Timer::Stale(ix), until);
            }
            Some(_) | None => self.forget_paths(ix),
        }
        self.check_converged();
    }

    pub(crate) fn forget_paths(&mut self, ix: PeerIx) {
        if let Some(peer) = self.peer_mut(ix) {
            peer.epoch = peer.epoch.wrapping_add(1);
            peer.stale = false;
        }
        self.timers.cancel(Timer::Stale(ix));
        self.queue(Job::purge(ix));
    }

    pub(crate) fn forget_stale(&mut self, ix: PeerIx) {
        match self.peer_mut(ix) {
            Some(peer) if peer.agreed.is_some() => {
                peer.stale = false;
                self.queue(Job::purge(ix));
            }
            Some(_) | None => self.forget_paths(ix),
        }
    }

    pub(crate) fn watch(&mut self, ix: PeerIx, up: bool) {
        let Some(peer) = self.peer_mut(ix) else { return };
        let wanted = up && peer.config.bfd;
        if std::mem::replace(&mut peer.watched, wanted) == wanted {
            return;
        }
        let local = peer.agreed.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |agreed| agreed.local);
        let peer = peer.address;
        self.outputs.push_back(Output::Bfd { peer, local, wanted });
    }

    /// RFC 4724 §4.1: a restarted router decides when all its peers have told everything.
    pub(crate) fn check_converged(&mut self) {
        if self.converged {
            return;
        }
        let told = |ix: &PeerIx| {
            self.peer(*ix).is_none_or(|peer| {
                let restarts = peer.agreed.as_ref().map(|agreed| agreed.restart_secs().is_some());
                match restarts {
                    Some(true) => peer.end_of_rib,
                    Some(false) => true,
                    None => peer.is_shut_down(),
                }
            })
        };
        if self.by_address.values().all(told) {
            self.stop_deferring();
        }
    }

    pub(crate) fn stop_deferring(&mut self) {
        self.timers.cancel(Timer::Defer);
        if !std::mem::replace(&mut self.converged, true) {
            self.flush_routes();
            self.outputs.push_back(Output::Converged);
        }
    }
}

impl Memo {
    /// The set is held, so that its number means the same when it is asked for again.
    pub(crate) fn get(&mut self, interner: &mut Interner, id: AttrId) -> BgpAttributes {
        if let Some((known, bgp)) = &self.0
            && *known == id
        {
            return bgp.clone();
        }
        let bgp = interner.get(id).map(Attrs::to_policy).unwrap_or_default();
        interner.hold(id);
        if let Some((before, _)) = self.0.replace((id, bgp.clone())) {
            interner.release(before);
        }
        bgp
    }
}

pub(crate) fn policy_route(
    prefix: Prefix,
    attrs: &Attrs,
    neighbor: Option<Ipv4Addr>,
    bgp: BgpAttributes,
) -> policy::Route {
    let next_hop = if attrs.next_hop.is_unspecified() {
        policy::NextHop::Own
    } else {
        policy::NextHop::Address(attrs.next_hop)
    };
    policy::Route {
        neighbor,
        next_hop,
        metric: attrs.med,
        preference: Some(attrs.preference()),
        bgp: Some(bgp),
        ..policy::Route::new(prefix, policy::Protocol::Bgp)
    }
}

pub(crate) fn accepts(list: &RuleList, route: &mut policy::Route, own_as: u32) -> bool {
    let context = Context { own_as: Some(own_as) };
    list.apply(route, context).decision == policy::Decision::Accept
}

/// The set a policy has made of another; None where it is the same.
pub(crate) fn changed(attrs: &Attrs, before: &BgpAttributes, route: &policy::Route) -> Option<Draft> {
    let after = route.bgp.as_ref()?;
    let next_hop = match route.next_hop {
        policy::NextHop::None => attrs.next_hop,
        policy::NextHop::Own => Ipv4Addr::UNSPECIFIED,
        policy::NextHop::Address(address) => address,
    };
    let preference = route.preference.filter(|preference| *preference != attrs.preference());
    if after == before && route.metric == attrs.med && preference.is_none() && next_hop == attrs.next_hop {
        return None;
    }
    let mut draft = attrs.draft();
    draft.med = route.metric;
    draft.local_pref = preference.or(attrs.local_pref);
    draft.next_hop = next_hop;
    draft.origin = after.origin;
    // Policies only ever put ASes in front.
    let added = after.as_path.len().saturating_sub(before.as_path.len());
    for segment in after.as_path.segments().iter().take(added).rev() {
        if let policy::Segment::As(asn) = segment {
            prepend(&mut draft.as_path, SegmentKind::Sequence, *asn, 1);
        }
    }
    if after.communities != before.communities {
        set_communities(&mut draft, &after.communities);
    }
    Some(draft)
}

pub(crate) fn set_communities(draft: &mut Draft, communities: &[policy::Community]) {
    let (mut standard, mut extended, mut large) = (Vec::new(), Vec::new(), Vec::new());
    for community in communities {
        match community {
            policy::Community::Standard(value) => standard.extend(value.to_be_bytes()),
            policy::Community::Extended(value) => extended.extend(value.to_be_bytes()),
            policy::Community::Large(a, b, c) => {
                large.extend([a, b, c].into_iter().flat_map(|part| part.to_be_bytes()));
            }
        }
    }
    draft.set(Code::Communities, standard);
    draft.set(Code::ExtendedCommunities, extended);
    draft.set(Code::LargeCommunities, large);
}
