//! What the transitions of the neighbour state machine do. RFC 2328 §10.3.

use std::time::Duration;

use millrace_proto::Instant;

use crate::link::{InterfaceEvent, LinkId, Medium};
use crate::lsdb::Scope;
use crate::machine::{Notice, Ospf, Output, Timer};
use crate::neighbor::{Facts, Neighbor, NeighborEvent, NeighborId, NeighborState, transition};
use crate::routes::Level;
use crate::wire::LsaKey;

impl Ospf {
    pub(crate) fn neighbor_mut(&mut self, id: NeighborId) -> Option<&mut Neighbor> {
        self.links.get_mut(&id.link)?.neighbors.get_mut(&id.key)
    }

    pub(crate) fn neighbor_event(&mut self, now: Instant, id: NeighborId, event: NeighborEvent) {
        let Some(link) = self.links.get(&id.link) else { return };
        let Some(neighbor) = link.neighbors.get(&id.key) else { return };
        let before = neighbor.state;
        let facts = Facts {
            adjacency_wanted: link.wants_adjacency(neighbor),
            requests_left: !neighbor.requests.is_empty(),
        };
        let Some(after) = transition(before, event, facts) else { return };
        let restarts = matches!(event, NeighborEvent::SequenceMismatch | NeighborEvent::BadRequest);
        if before == after && !restarts {
            return;
        }
        self.enter(now, id, before, after);
    }

    fn enter(&mut self, now: Instant, id: NeighborId, before: NeighborState, after: NeighborState) {
        let Some(link) = self.links.get_mut(&id.link) else { return };
        let (area, medium) = (link.area, link.medium);
        let interface = link.interface.name.clone();
        let dead = Duration::from_secs(link.config.dead_interval.into());
        let poll = link.config.poll_interval;
        // Hellos go to some neighbours whether they are heard or not.
        let configured = medium == Medium::Virtual
            || (medium == Medium::NonBroadcast && link.config.neighbors.contains(&id.key));
        let Some(neighbor) = link.neighbors.get_mut(&id.key) else { return };
        neighbor.state = after;
        neighbor.since = now;
        let router = neighbor.router;
        let was_adjacent = before == NeighborState::Full;
        if was_adjacent {
            neighbor.losses += 1;
        }
        if after < NeighborState::Exchange {
            neighbor.clear_lists();
            for timer in [Timer::Description(id), Timer::Request(id), Timer::Retransmit(id)] {
                self.timers.cancel(timer);
            }
        }
        self.notice(Notice::Neighbor { router, interface, from: before, to: after });
        match after {
            NeighborState::Down => self.lose(now, id, configured, poll),
            NeighborState::Attempt => {
                self.timers.set(Timer::Inactivity(id), now + dead);
                self.timers.set(Timer::Poll(id), now + poll);
                self.send_hello(now, id.link, Some(id.key));
            }
            NeighborState::Init => {
                self.timers.cancel(Timer::Poll(id));
            }
            NeighborState::TwoWay | NeighborState::Loading => {}
            NeighborState::ExStart => self.start_exchange(now, id),
            NeighborState::Exchange => self.fill_summary(now, id),
            NeighborState::Full => {
                self.full_since.get_or_insert(now);
                self.end_help(now, id);
            }
        }
        self.watch(id, NeighborState::TwoWay <= after);
        if (after == NeighborState::Full) != was_adjacent {
            self.stale.router(area);
            self.schedule(now, Level::Full);
        }
        if (NeighborState::TwoWay <= before) != (NeighborState::TwoWay <= after) {
            self.link_event(now, id.link, InterfaceEvent::NeighborChange);
        }
        if after < before && NeighborState::Exchange <= before {
            // Fewer wait for acknowledgements: what is MaxAge may be forgotten.
            self.stale.graves = true;
        }
        if after == NeighborState::ExStart {
            self.take_early_description(now, id);
        }
    }

    /// It is gone: nothing of it is kept, unless hellos are to be sent to it all the same.
    fn lose(&mut self, now: Instant, id: NeighborId, configured: bool, poll: Duration) {
        for timer in [Timer::Inactivity(id), Timer::Poll(id), Timer::Helper(id)] {
            self.timers.cancel(timer);
        }
        self.watch(id, false);
        let Some(link) = self.links.get_mut(&id.link) else { return };
        if configured {
            if let Some(neighbor) = link.neighbors.get_mut(&id.key) {
                let (router, address) = (neighbor.router, neighbor.address);
                *neighbor = Neighbor { router, ..Neighbor::new(now, router, address) };
            }
            self.timers.set(Timer::Poll(id), now + poll);
        } else {
            link.neighbors.remove(&id.key);
        }
    }

    /// Asks for a BFD session with a neighbour that hears us, and for its end.
    fn watch(&mut self, id: NeighborId, wanted: bool) {
        let Some(link) = self.links.get_mut(&id.link) else { return };
        let (local, asked) = (link.address, link.config.bfd);
        let Some(neighbor) = link.neighbors.get_mut(&id.key) else { return };
        let wanted = wanted && asked;
        let LinkId::Interface(interface) = id.link else { return };
        if neighbor.bfd != wanted {
            neighbor.bfd = wanted;
            let neighbor = neighbor.address;
            self.outputs.push_back(Output::Bfd { interface, neighbor, local, wanted });
        }
    }

    /// The area's whole database is to be told; what is MaxAge is flooded to it. RFC 2328 §10.3, NegotiationDone.
    fn fill_summary(&mut self, now: Instant, id: NeighborId) {
        let Some(link) = self.links.get(&id.link) else { return };
        let opaque = link.neighbors.get(&id.key).is_some_and(|n| n.options.has(crate::wire::Options::O));
        let externals = self.config.area_kind(link.area).has_externals() && !link.is_virtual();
        let mut told: Vec<(LsaKey, Scope)> = Vec::new();
        let mut dying = Vec::new();
        let mut consider = |scope: Scope, db: &crate::lsdb::Lsdb| {
            for (key, entry) in db.iter() {
                if is_opaque(key) && !opaque {
                    continue;
                }
                if entry.is_max_age(now) {
                    dying.push(entry.aged(now));
                } else {
                    told.push((key, scope));
                }
            }
        };
        if let Some(area) = self.areas.get(&link.area) {
            consider(Scope::Area(link.area), &area.db);
        }
        consider(Scope::Link(id.link), &link.db);
        if externals {
            consider(Scope::As, &self.external);
        }
        let interval = link.config.retransmit_interval;
        let Some(neighbor) = self.neighbor_mut(id) else { return };
        neighbor.summary = told.into_iter().map(|(key, _)| key).collect();
        for lsa in dying {
            neighbor.unacknowledged.insert(lsa.key(), (lsa, now));
        }
        if !neighbor.unacknowledged.is_empty() {
            self.timers.set(Timer::Retransmit(id), now + interval);
        }
    }
}

pub(crate) const fn is_opaque(key: LsaKey) -> bool {
    matches!(
        key.kind,
        crate::wire::LsaType::OpaqueLink | crate::wire::LsaType::OpaqueArea | crate::wire::LsaType::OpaqueAs
    )
}
