//! Helping a neighbour through its restart: it says so by a Grace-LSA, and keeps its place in LSAs and routes while it is
//! silent. RFC 3623 §3.

use std::time::Duration;

use millrace_proto::{Cursor, Instant};

use crate::lsdb::Scope;
use crate::machine::{Notice, Ospf, Timer};
use crate::neighbor::{NeighborEvent, NeighborId, NeighborState};
use crate::wire::{Lsa, LsaBody, LsaKey, LsaType, MAX_AGE};

/// Opaque type of Grace-LSAs.
const GRACE: u8 = 3;
/// Longest help, whatever is asked for (RFC 3623 recommends 1800 s at most).
const LONGEST: Duration = Duration::from_secs(1800);

impl Ospf {
    /// Enters or leaves helper mode as an LSA from `id` says.
    pub(crate) fn grace_received(&mut self, now: Instant, id: NeighborId, lsa: &Lsa) {
        let key = lsa.key();
        if key.kind != LsaType::OpaqueLink || key.id.octets().first() != Some(&GRACE) {
            return;
        }
        let Some(neighbor) = self.neighbor_mut(id) else { return };
        // On a broadcast network the designated router may have passed on another's.
        if neighbor.router != key.router {
            return;
        }
        if lsa.header.age == MAX_AGE {
            self.leave_helper(now, id, "its restart is complete");
            return;
        }
        let state = neighbor.state;
        let LsaBody::Opaque(data) = &*lsa.body else { return };
        let Some(period) = grace_period(data) else { return };
        let left = period.min(LONGEST).saturating_sub(Duration::from_secs(lsa.header.age.into()));
        if !self.config.graceful_helper || state != NeighborState::Full || left.is_zero() {
            return;
        }
        let until = now + left;
        if let Some(neighbor) = self.neighbor_mut(id) {
            neighbor.helped_until = Some(until);
        }
        self.timers.set(Timer::Helper(id), until);
        self.notice(Notice::HelperEntered(key.router));
    }

    /// Ends the help: the neighbour is judged by its hellos again.
    pub(crate) fn leave_helper(&mut self, now: Instant, id: NeighborId, why: &'static str) {
        let Some(link) = self.links.get_mut(&id.link) else { return };
        let area = link.area;
        let Some(neighbor) = link.neighbors.get_mut(&id.key) else { return };
        if neighbor.helped_until.take().is_none() {
            return;
        }
        let router = neighbor.router;
        self.timers.cancel(Timer::Helper(id));
        self.notice(Notice::HelperLeft(router, why));
        self.stale.router(area);
        self.schedule(now, crate::routes::Level::Full);
        self.link_event(now, id.link, crate::link::InterfaceEvent::NeighborChange);
        if self.timers.get(Timer::Inactivity(id)).is_none() {
            self.neighbor_event(now, id, NeighborEvent::Inactivity);
        }
    }

    /// The restarting neighbour is Full again; its Grace-LSA is withdrawn by itself.
    pub(crate) fn end_help(&mut self, now: Instant, id: NeighborId) {
        self.leave_helper(now, id, "it is fully adjacent again");
    }

    /// A changed topology would be routed around wrongly by a router that does not hear of it (RFC 3623 §3.2).
    pub(crate) fn helped_topology_changed(&mut self, now: Instant, scope: Scope, key: LsaKey) {
        let Scope::Area(area) = scope else { return };
        let helped: Vec<NeighborId> = self
            .links
            .values()
            .filter(|link| link.area == area)
            .flat_map(|link| link.neighbors.iter().map(move |(key, n)| (link.id, *key, n)))
            .filter(|(_, _, n)| n.helped_until.is_some() && n.router != key.router)
            .map(|(link, key, _)| NeighborId { link, key })
            .collect();
        if key.router == self.router_id() {
            return;
        }
        for id in helped {
            self.leave_helper(now, id, "the topology has changed");
        }
    }
}

/// The grace period among the TLVs. RFC 3623 appendix B.
fn grace_period(data: &[u8]) -> Option<Duration> {
    let mut cursor = Cursor::new(data);
    loop {
        let (kind, len) = (cursor.u16().ok()?, usize::from(cursor.u16().ok()?));
        let value = cursor.take(len.next_multiple_of(4)).ok()?;
        if let (1, Some(seconds)) = (kind, value.first_chunk()) {
            return Some(Duration::from_secs(u32::from_be_bytes(*seconds).into()));
        }
    }
}
