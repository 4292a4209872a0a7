//! Taking LSAs into the databases, their age, and LSAs of this router's own that others still carry.
//! RFC 2328 §13.2, §13.4, §14.

use millrace_proto::Instant;

use crate::link::LinkId;
use crate::lsdb::{Lsdb, Scope};
use crate::machine::{Ospf, Timer};
use crate::routes::Level;
use crate::wire::{Lsa, LsaKey, LsaType, MAX_AGE, RouterId};

/// LSRefreshTime
const REFRESH: std::time::Duration = std::time::Duration::from_secs(1800);

impl Ospf {
    pub(crate) fn database(&self, scope: Scope) -> Option<&Lsdb> {
        match scope {
            Scope::Link(link) => self.links.get(&link).map(|link| &link.db),
            Scope::Area(area) => self.areas.get(&area).map(|area| &area.db),
            Scope::As => Some(&self.external),
        }
    }

    pub(crate) fn database_mut(&mut self, scope: Scope) -> Option<&mut Lsdb> {
        match scope {
            Scope::Link(link) => self.links.get_mut(&link).map(|link| &mut link.db),
            Scope::Area(area) => self.areas.get_mut(&area).map(|area| &mut area.db),
            Scope::As => Some(&mut self.external),
        }
    }

    /// Puts an instance in the place of what was there, and has routes calculated if it says something else.
    pub(crate) fn install(&mut self, now: Instant, scope: Scope, lsa: Lsa) {
        let own = lsa.key().router == self.router_id();
        let Some(db) = self.database_mut(scope) else { return };
        let key = lsa.key();
        let same = db.get(key).is_some_and(|held| held.aged(now).says_the_same(&lsa));
        let dead = lsa.header.age == MAX_AGE;
        db.insert(now, lsa);
        let expires = db.get(key).map_or(now, crate::lsdb::Entry::expires);
        if dead {
            self.dying.insert((scope, key));
            self.stale.graves = true;
            self.timers.cancel(Timer::Lsa(scope, key));
        } else {
            self.dying.remove(&(scope, key));
            let at = if own { now + REFRESH } else { expires };
            self.timers.set(Timer::Lsa(scope, key), at);
        }
        self.forget_older(scope, key);
        if own {
            self.stats.originated += 1;
        } else {
            self.stats.installed += 1;
        }
        if !same {
            self.changed(now, scope, key);
        }
    }

    /// §13 (5c): the older instance need not be acknowledged any more.
    fn forget_older(&mut self, scope: Scope, key: LsaKey) {
        let concerned = |link: &LinkId, area| match scope {
            Scope::Link(only) => *link == only,
            Scope::Area(only) => area == only,
            Scope::As => true,
        };
        for link in self.links.values_mut().filter(|link| concerned(&link.id, link.area)) {
            for neighbor in link.neighbors.values_mut() {
                neighbor.unacknowledged.remove(&key);
            }
        }
    }

    /// What of the routes depends on this LSA. RFC 2328 §13.2.
    fn changed(&mut self, now: Instant, scope: Scope, key: LsaKey) {
        match key.kind {
            LsaType::Router | LsaType::Network => {
                self.schedule(now, Level::Full);
                self.helped_topology_changed(now, scope, key);
            }
            LsaType::Summary | LsaType::AsbrSummary => self.schedule(now, Level::Inter),
            LsaType::External | LsaType::Nssa => self.schedule(now, Level::External),
            LsaType::OpaqueLink | LsaType::OpaqueArea | LsaType::OpaqueAs => {}
        }
    }

    /// An own LSA is to be refreshed; another's has reached its end.
    pub(crate) fn lsa_aged(&mut self, now: Instant, scope: Scope, key: LsaKey) {
        let own = key.router == self.router_id();
        let Some(entry) = self.database(scope).and_then(|db| db.get(key)) else { return };
        if own {
            self.stale.refresh.insert((scope, key));
            self.stale.all();
            return;
        }
        let lsa = entry.lsa().with_age(MAX_AGE);
        self.install(now, scope, lsa.clone());
        self.flood(now, scope, &lsa, None);
    }

    /// An instance of this router's own LSA came from elsewhere, newer than the one it knows: from before a restart, or
    /// forged. A newer one still is originated, or it is withdrawn. RFC 2328 §13.4.
    pub(crate) fn received_own(&mut self, now: Instant, scope: Scope, key: LsaKey) {
        if key.router == self.router_id() {
            self.stale.refresh.insert((scope, key));
            self.stale.all();
            return;
        }
        // A network LSA of a router id this router had before.
        let ours = key.kind == LsaType::Network && self.links.values().any(|link| link.address == key.id);
        if ours && self.database(scope).and_then(|db| db.get(key)).is_some_and(|e| !e.is_max_age(now)) {
            self.flush(now, scope, key);
        }
    }

    /// Premature ageing. RFC 2328 §14.1.
    pub(crate) fn flush(&mut self, now: Instant, scope: Scope, key: LsaKey) {
        let Some(entry) = self.database(scope).and_then(|db| db.get(key)) else { return };
        if self.dying.contains(&(scope, key)) {
            return;
        }
        let lsa = entry.lsa().with_age(MAX_AGE);
        self.install(now, scope, lsa.clone());
        self.flood(now, scope, &lsa, None);
    }

    /// Every LSA of router `own`, wherever it is.
    pub(crate) fn own_keys(&self, own: RouterId) -> Vec<(Scope, LsaKey)> {
        let mut all = Vec::new();
        for (area, state) in &self.areas {
            let keys = state.db.iter().map(|(key, _)| (Scope::Area(*area), key));
            all.extend(keys.filter(|(_, key)| key.router == own));
        }
        for link in self.links.values() {
            let keys = link.db.iter().map(|(key, _)| (Scope::Link(link.id), key));
            all.extend(keys.filter(|(_, key)| key.router == own));
        }
        all.extend(
            self.external.iter().map(|(key, _)| (Scope::As, key)).filter(|(_, key)| key.router == own),
        );
        all
    }
}
