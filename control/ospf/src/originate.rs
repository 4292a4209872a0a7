//! LSAs of this router's own: what they should say is worked out anew whenever something they depend on may have changed,
//! and compared with what the database holds. RFC 2328 §12.4.
//!
//! ```text
//!   stale ─▶ router, network, summary, external LSAs wanted ─▶ same as held: nothing
//!                                                             differs: next sequence number, throttled, flooded
//!                                                             held but not wanted: MaxAge
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_proto::Instant;

use crate::link::{InterfaceState, Link, LinkId, Medium};
use crate::lsdb::Scope;
use crate::machine::{Ospf, Timer};
use crate::neighbor::Neighbor;
use crate::wire::{
    AreaId, INITIAL_SEQUENCE, LinkKind, Lsa, LsaBody, LsaKey, LsaType, MAX_LINK_METRIC, MAX_SEQUENCE,
    Network, Options, RouterFlags, RouterId, RouterLink, RouterLsa,
};

/// What may have changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stale {
    /// Router and network LSAs.
    routers: BTreeSet<AreaId>,
    pub(crate) routers_all: bool,
    pub(crate) summaries: bool,
    /// Types 5 and 7.
    pub(crate) externals: bool,
    /// To be originated again whatever they say: they grow old, or others have instances of before a restart.
    pub(crate) refresh: BTreeSet<(Scope, LsaKey)>,
    /// LSAs of age MaxAge may have been acknowledged by the last one.
    pub(crate) graves: bool,
}

/// When an LSA was originated last, and how long the next instance waits from then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throttled {
    last: Instant,
    wait: Duration,
}

/// What this router has to say.
pub(crate) type Wanted = BTreeMap<(Scope, LsaKey), (Options, LsaBody)>;

impl Stale {
    pub(crate) fn all(&mut self) {
        (self.routers_all, self.summaries, self.externals) = (true, true, true);
    }

    pub(crate) fn router(&mut self, area: AreaId) {
        self.routers.insert(area);
    }
}

impl Ospf {
    pub(crate) fn originate(&mut self, now: Instant) {
        if self.router_id.is_none() {
            return;
        }
        let mut areas = std::mem::take(&mut self.stale.routers);
        if std::mem::take(&mut self.stale.routers_all) {
            areas.extend(self.areas.keys());
        }
        for area in areas {
            if self.areas.contains_key(&area) {
                let wanted = self.router_and_network_lsas(area);
                self.bring_in_line(now, wanted, |scope, key| {
                    scope == Scope::Area(area) && matches!(key.kind, LsaType::Router | LsaType::Network)
                });
            }
        }
        if std::mem::take(&mut self.stale.summaries) {
            let wanted = self.summary_lsas();
            self.bring_in_line(now, wanted, |_, key| {
                matches!(key.kind, LsaType::Summary | LsaType::AsbrSummary)
            });
        }
        if std::mem::take(&mut self.stale.externals) {
            let wanted = self.external_lsas(now);
            self.bring_in_line(now, wanted, |_, key| matches!(key.kind, LsaType::External | LsaType::Nssa));
        }
        // Own opaque LSAs of an earlier life are wanted by nobody.
        for (scope, key) in std::mem::take(&mut self.stale.refresh) {
            if crate::adjacency::is_opaque(key) {
                self.flush(now, scope, key);
            }
        }
    }

    /// Originates what is wanted and not held, and withdraws what is held, `concerned` and not wanted.
    fn bring_in_line(&mut self, now: Instant, wanted: Wanted, concerned: impl Fn(Scope, LsaKey) -> bool) {
        let own = self.router_id();
        let unwanted = self.own_keys(own).into_iter();
        let unwanted: Vec<_> = unwanted
            .filter(|(scope, key)| concerned(*scope, *key) && !wanted.contains_key(&(*scope, *key)))
            .collect();
        for (scope, key) in unwanted {
            self.stale.refresh.remove(&(scope, key));
            self.flush(now, scope, key);
        }
        for ((scope, key), (options, body)) in wanted {
            self.announce(now, scope, key, options, body);
        }
    }

    fn announce(&mut self, now: Instant, scope: Scope, key: LsaKey, options: Options, body: LsaBody) {
        let place = (scope, key);
        let forced = self.stale.refresh.contains(&place);
        let Some(db) = self.database(scope) else { return };
        let mut sequence = INITIAL_SEQUENCE;
        if let Some(held) = db.get(key) {
            let lsa = held.lsa();
            let dying = self.dying.contains(&place);
            if !forced && !dying && lsa.header.options == options && *lsa.body == body {
                return;
            }
            if lsa.header.sequence == MAX_SEQUENCE {
                // It is withdrawn first, and begins again when everybody has forgotten it (RFC 2328 §12.1.6).
                self.stale.refresh.remove(&place);
                self.flush(now, scope, key);
                return;
            }
            sequence = lsa.header.sequence + 1;
        }
        let throttle = self.config.throttle;
        let before = self.throttled.get(&place).copied();
        if let Some(before) = before.filter(|before| !forced && now < before.last + before.wait) {
            let at = before.last + before.wait;
            if self.timers.get(Timer::Originate).is_none_or(|earlier| at < earlier) {
                self.timers.set(Timer::Originate, at);
            }
            return;
        }
        let wait = match before {
            Some(before) if now.since(before.last) < throttle.max * 2 => (before.wait * 2).min(throttle.max),
            Some(_) | None => throttle.first,
        };
        self.throttled.insert(place, Throttled { last: now, wait });
        self.stale.refresh.remove(&place);
        let lsa = Lsa::new(key, options, sequence, body);
        self.install(now, scope, lsa.clone());
        self.flood(now, scope, &lsa, None);
    }

    /// In several areas, the backbone among them (RFC 3509).
    pub(crate) fn is_border(&self) -> bool {
        1 < self.areas.len() && self.areas.contains_key(&AreaId::BACKBONE)
    }

    /// Has routes of other protocols to tell of in `area`.
    pub(crate) fn is_boundary(&self, area: AreaId) -> bool {
        let kind = self.config.area_kind(area);
        let has = !self.redistributed.is_empty() || self.config.default_route.is_some();
        // A border router of an NSSA may translate into the others (RFC 3101 §3.1).
        let translates =
            self.is_border() && self.areas.keys().any(|area| self.config.area_kind(*area).is_nssa());
        (has && (kind.has_externals() || kind.is_nssa()))
            || (translates && kind.has_externals())
            || (self.is_border() && kind.is_nssa())
    }

    pub(crate) fn lsa_options(&self, area: AreaId) -> Options {
        let kind = self.config.area_kind(area);
        Options::default().with(Options::E, kind.has_externals())
    }

    fn router_and_network_lsas(&self, area: AreaId) -> Wanted {
        let own = self.router_id();
        let options = self.lsa_options(area);
        let mut wanted = Wanted::new();
        let mut links = Vec::new();
        for link in self.links.values().filter(|link| link.area == area) {
            self.describe_link(link, &mut links);
            if let Some((key, network)) = self.network_lsa(link, own) {
                wanted.insert((Scope::Area(area), key), (options, LsaBody::Network(network)));
            }
        }
        let through = |link: &&Link| matches!(link.id, LinkId::Virtual { transit, .. } if transit == area);
        let translator = matches!(
            self.config.area_kind(area),
            crate::config::AreaKind::Nssa { translate: crate::config::Translate::Always, .. }
        );
        let flags = RouterFlags {
            border: self.is_border(),
            boundary: self.is_boundary(area),
            virtual_end: self
                .links
                .values()
                .filter(through)
                .any(|l| l.neighbors.values().any(Neighbor::is_adjacent)),
            translator: translator && self.is_border(),
        };
        let key = LsaKey { kind: LsaType::Router, id: own.0, router: own };
        wanted.insert((Scope::Area(area), key), (options, LsaBody::Router(RouterLsa { flags, links })));
        wanted
    }

    /// RFC 2328 §12.4.1
    fn describe_link(&self, link: &Link, links: &mut Vec<RouterLink>) {
        if link.state == InterfaceState::Down {
            return;
        }
        let cost = if self.is_stub_router() { MAX_LINK_METRIC } else { link.cost };
        let suppressed = link.config.prefix_suppression.unwrap_or(self.config.prefix_suppression);
        let stub = |id: Ipv4Addr, len: u8, metric| {
            let data = Ipv4Addr::from_bits(millrace_net::Prefix::truncated(id, len).mask());
            RouterLink {
                kind: LinkKind::Stub,
                id: millrace_net::Prefix::truncated(id, len).addr(),
                data,
                metric,
            }
        };
        let own_stub = link.network.map(|network| stub(network.addr(), network.len(), link.cost));
        let adjacent = || link.neighbors.values().filter(|neighbor| neighbor.is_adjacent());
        // An unnumbered interface is told apart by its number (§12.4.1.1).
        let data = match link.network {
            Some(_) => link.address,
            None if link.is_virtual() => link.address,
            None => Ipv4Addr::from_bits(link.interface.index.0),
        };
        let joined =
            |kind, neighbor: &Neighbor| RouterLink { kind, id: neighbor.router.0, data, metric: cost };
        match link.medium {
            Medium::Loopback => {}
            Medium::PointToPoint => {
                links.extend(adjacent().map(|neighbor| joined(LinkKind::PointToPoint, neighbor)));
                links.extend(own_stub.filter(|_| !suppressed || link.config.passive));
            }
            Medium::PointToMultipoint => {
                links.push(stub(link.address, 32, 0));
                links.extend(adjacent().map(|neighbor| joined(LinkKind::PointToPoint, neighbor)));
            }
            Medium::Virtual => {
                links.extend(adjacent().map(|neighbor| joined(LinkKind::Virtual, neighbor)));
            }
            Medium::Broadcast | Medium::NonBroadcast if link.is_transit() => {
                let (id, data) = (link.designated, link.address);
                links.push(RouterLink { kind: LinkKind::Transit, id, data, metric: cost });
            }
            Medium::Broadcast | Medium::NonBroadcast => links.extend(own_stub),
        }
        // Further networks of the interface, and all of a loopback.
        let first = link.network.filter(|_| link.medium != Medium::Loopback);
        let mut told: BTreeSet<millrace_net::Prefix> = first.into_iter().collect();
        for own in &link.interface.addresses {
            let network = own.network();
            if own.peer.is_none() && !own.address.is_loopback() && told.insert(network) {
                links.push(stub(network.addr(), network.len(), link.cost));
            }
        }
    }

    /// RFC 2328 §12.4.2
    fn network_lsa(&self, link: &Link, own: RouterId) -> Option<(LsaKey, Network)> {
        let designated = link.state == InterfaceState::Dr && link.is_transit();
        let network = link.network.filter(|_| designated)?;
        let suppressed = link.config.prefix_suppression.unwrap_or(self.config.prefix_suppression);
        let mask = if suppressed { Ipv4Addr::BROADCAST } else { Ipv4Addr::from_bits(network.mask()) };
        let adjacent = link.neighbors.values().filter(|n| n.is_adjacent()).map(|n| n.router);
        let routers = std::iter::once(own).chain(adjacent).collect();
        Some((LsaKey { kind: LsaType::Network, id: link.address, router: own }, Network { mask, routers }))
    }
}
