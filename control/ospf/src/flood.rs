//! Flooding: which LSAs are taken, whom they are passed to, and who has acknowledged them. RFC 2328 §13.

use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_proto::Instant;

use crate::adjacency::is_opaque;
use crate::exchange::fits_area;
use crate::link::{InterfaceState, Link, LinkId, Medium};
use crate::lsdb::Scope;
use crate::machine::{ACK_DELAY, Notice, Ospf, Timer};
use crate::neighbor::{NeighborEvent, NeighborId, NeighborState};
use crate::stats::{BadLsa, BadPacket};
use crate::wire::{
    ALL_DESIGNATED, ALL_ROUTERS, Body, LSA_HEADER_LEN, Lsa, LsaHeader, LsaKey, MAX_AGE, MAX_SEQUENCE, Newer,
    Options, Update,
};

/// Instances of one LSA are taken no more often than this.
pub(crate) const MIN_ARRIVAL: Duration = Duration::from_secs(1);
/// Packets of a flood that leave one link at once, and how long the next ones wait: neighbours' receive buffers, and
/// hellos behind them, are not drowned by thousands of LSAs.
const BURST_PACKETS: usize = 12;
const PACE: Duration = Duration::from_millis(10);
/// LSAs sent again to one neighbour at a time.
const RETRANSMIT_LSAS: usize = 200;

impl Ospf {
    pub(crate) fn receive_update(
        &mut self,
        now: Instant,
        id: NeighborId,
        update: Update,
    ) -> Result<(), BadPacket> {
        let neighbor = self.neighbor_mut(id).ok_or(BadPacket::UnknownNeighbor)?;
        if !neighbor.floods() {
            return Err(BadPacket::State);
        }
        for error in update.bad {
            self.bad_lsa(id, error.into());
        }
        let mut direct = Vec::new();
        for lsa in update.lsas {
            // BadLSReq ends the conversation about this packet.
            if !self.receive_lsa(now, id, lsa, &mut direct) {
                break;
            }
        }
        if let (false, Some(neighbor)) = (direct.is_empty(), self.neighbor_mut(id)) {
            let address = neighbor.address;
            self.send_acks(now, id.link, address, direct);
        }
        Ok(())
    }

    /// One LSA of an update; false: the rest of the packet is not to be looked at. RFC 2328 §13.
    fn receive_lsa(&mut self, now: Instant, id: NeighborId, lsa: Lsa, direct: &mut Vec<LsaHeader>) -> bool {
        let Some(link) = self.links.get(&id.link) else { return false };
        let (area, link_state) = (link.area, link.state);
        let from_designated = link.neighbors.get(&id.key).is_some_and(|n| n.address == link.designated);
        let kind = self.config.area_kind(area);
        let key = lsa.key();
        let virtual_external = link.is_virtual() && key.kind.is_as_wide();
        if !fits_area(key.kind, kind.has_externals(), kind.is_nssa()) || virtual_external {
            self.bad_lsa(id, BadLsa::Area);
            return true;
        }
        let scope = Scope::of(key.kind, id.link, area);
        let held = self.database(scope).and_then(|db| db.get(key));
        let held = held.map(|held| (held.aged(now), held.installed()));
        let compared = held.as_ref().map(|(held, _)| lsa.header.compare(&held.header));
        match (compared, held) {
            (None, _) if lsa.header.age == MAX_AGE && !self.someone_is_exchanging() => {
                // (4): nothing to withdraw.
                direct.push(lsa.header);
            }
            (None | Some(Newer::This), held) => {
                let too_soon =
                    held.as_ref().is_some_and(|(_, installed)| now.since(*installed) < MIN_ARRIVAL)
                        && key.router != self.router_id();
                if too_soon {
                    self.bad_lsa(id, BadLsa::TooSoon);
                    return true;
                }
                if held.is_none() && key.router != self.router_id() && self.is_full() {
                    self.bad_lsa(id, BadLsa::DatabaseFull);
                    self.notice(Notice::DatabaseFull(self.config.max_lsas));
                    return true;
                }
                let header = lsa.header;
                self.install(now, scope, lsa.clone());
                let flooded_back = self.flood(now, scope, &lsa, Some(id));
                // Table 19 of the RFC.
                let delayed = match link_state {
                    _ if flooded_back => false,
                    InterfaceState::Backup => from_designated,
                    InterfaceState::Down
                    | InterfaceState::Loopback
                    | InterfaceState::Waiting
                    | InterfaceState::PointToPoint
                    | InterfaceState::DrOther
                    | InterfaceState::Dr => true,
                };
                if delayed {
                    self.delay_ack(now, id.link, header);
                }
                self.received_own(now, scope, key);
                self.grace_received(now, id, &lsa);
            }
            (Some(Newer::Same), _) => {
                if self.neighbor_mut(id).is_some_and(|n| n.requests.contains_key(&key)) {
                    self.neighbor_event(now, id, NeighborEvent::BadRequest);
                    return false;
                }
                let implied = self.acknowledged(now, id, &lsa.header);
                if !implied {
                    direct.push(lsa.header);
                } else if link_state == InterfaceState::Backup && from_designated {
                    self.delay_ack(now, id.link, lsa.header);
                }
            }
            (Some(Newer::Other), held) => {
                let Some((newer, installed)) = held else { return true };
                let dead = newer.header.age == MAX_AGE;
                let wraps = dead && newer.header.sequence == MAX_SEQUENCE;
                let recent = now.since(installed) < MIN_ARRIVAL && !dead;
                if self.neighbor_mut(id).is_some_and(|n| n.requests.contains_key(&key)) {
                    self.neighbor_event(now, id, NeighborEvent::BadRequest);
                    return false;
                }
                // (8): it learns of the newer one, unless the sequence is wrapping or it has just been told.
                if let (false, false, Some(neighbor)) = (wraps, recent, self.neighbor_mut(id)) {
                    let address = neighbor.address;
                    self.send_lsas(now, id.link, address, vec![newer]);
                }
            }
        }
        true
    }

    fn is_full(&self) -> bool {
        let areas: usize = self.areas.values().map(|area| area.db.len()).sum();
        self.config.max_lsas <= areas + self.external.len()
    }

    fn someone_is_exchanging(&self) -> bool {
        self.links.values().any(Link::is_exchanging)
    }

    /// Passes an LSA on to everyone who lacks it; true: it goes out where it came in too. RFC 2328 §13.3.
    pub(crate) fn flood(&mut self, now: Instant, scope: Scope, lsa: &Lsa, from: Option<NeighborId>) -> bool {
        let ids: Vec<LinkId> =
            self.links.values().filter(|l| self.is_eligible(l, scope)).map(|l| l.id).collect();
        let mut back = false;
        for id in ids {
            let out = self.flood_link(now, id, scope, lsa, from);
            back |= out && from.is_some_and(|from| from.link == id);
        }
        back
    }

    fn is_eligible(&self, link: &Link, scope: Scope) -> bool {
        match scope {
            Scope::Link(id) => link.id == id,
            Scope::Area(area) => link.area == area,
            Scope::As => !link.is_virtual() && self.config.area_kind(link.area).has_externals(),
        }
    }

    fn flood_link(
        &mut self,
        now: Instant,
        id: LinkId,
        scope: Scope,
        lsa: &Lsa,
        from: Option<NeighborId>,
    ) -> bool {
        let key = lsa.key();
        let Some(link) = self.links.get(&id) else { return false };
        let interval = link.config.retransmit_interval;
        let floods: Vec<Ipv4Addr> =
            link.neighbors.iter().filter(|(_, n)| n.floods()).map(|(key, _)| *key).collect();
        let mut added = false;
        for neighbor_key in floods {
            let neighbor_id = NeighborId { link: id, key: neighbor_key };
            let Some(neighbor) = self.neighbor_mut(neighbor_id) else { continue };
            if neighbor.state < NeighborState::Full
                && let Some(asked) = neighbor.requests.get(&key)
            {
                match lsa.header.compare(asked) {
                    Newer::Other => continue,
                    Newer::Same => {
                        self.requested_arrived(now, neighbor_id, key);
                        continue;
                    }
                    Newer::This => drop(self.requested_arrived(now, neighbor_id, key)),
                }
            }
            if from == Some(neighbor_id) {
                // It has this one; what it was to acknowledge before does not matter any more.
                if let Some(neighbor) = self.neighbor_mut(neighbor_id) {
                    neighbor.unacknowledged.remove(&key);
                }
                continue;
            }
            let Some(neighbor) = self.neighbor_mut(neighbor_id) else { continue };
            if is_opaque(key) && !neighbor.options.has(Options::O) {
                continue;
            }
            neighbor.unacknowledged.insert(key, (lsa.clone(), now));
            added = true;
            if self.timers.get(Timer::Retransmit(neighbor_id)).is_none() {
                self.timers.set(Timer::Retransmit(neighbor_id), now + interval);
            }
        }
        let Some(link) = self.links.get_mut(&id) else { return false };
        if !added {
            return false;
        }
        if let Some(from) = from.filter(|from| from.link == id) {
            let sender = link.neighbors.get(&from.key).map(|n| n.address);
            let by_designated = sender.is_some_and(|s| s == link.designated || s == link.backup);
            // The others have heard it, or will hear it from the designated router.
            if (link.medium.elects() && by_designated) || link.state == InterfaceState::Backup {
                return false;
            }
        }
        if link.queued.insert(key) {
            link.queue.push((scope, key));
        }
        true
    }

    /// Sends what was queued for links: LSAs of one call share packets.
    pub(crate) fn send_queues(&mut self, now: Instant) {
        let waiting: Vec<LinkId> =
            self.links.values().filter(|link| !link.queue.is_empty()).map(|link| link.id).collect();
        for id in waiting {
            if self.timers.get(Timer::Flood(id)).is_none() {
                self.send_queue(now, id);
            }
        }
    }

    fn send_queue(&mut self, now: Instant, id: LinkId) {
        let room = self.room(now, id).saturating_mul(BURST_PACKETS);
        let Some(link) = self.links.get_mut(&id) else { return };
        let queue = std::mem::take(&mut link.queue);
        let (mut len, mut taken) = (0, 0);
        let mut lsas = Vec::new();
        for (scope, key) in &queue {
            let found = self.database(*scope).and_then(|db| db.get(*key)).map(|entry| entry.aged(now));
            if let Some(lsa) = found {
                if room < len + lsa.len() && !lsas.is_empty() {
                    break;
                }
                len += lsa.len();
                lsas.push(lsa);
            }
            taken += 1;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        for (_, key) in queue.iter().take(taken) {
            link.queued.remove(key);
        }
        link.queue = queue.get(taken..).unwrap_or_default().to_vec();
        if !link.queue.is_empty() {
            self.timers.set(Timer::Flood(id), now + PACE);
        }
        for to in self.flood_destinations(id) {
            self.send_lsas(now, id, to, lsas.clone());
        }
    }

    /// RFC 2328 §13.3, last step.
    fn flood_destinations(&self, id: LinkId) -> Vec<Ipv4Addr> {
        let Some(link) = self.links.get(&id) else { return Vec::new() };
        match link.medium {
            Medium::PointToPoint => vec![ALL_ROUTERS],
            Medium::Broadcast if link.is_designated_or_backup() => vec![ALL_ROUTERS],
            Medium::Broadcast => vec![ALL_DESIGNATED],
            Medium::NonBroadcast | Medium::PointToMultipoint | Medium::Virtual => {
                link.neighbors.values().filter(|n| n.floods()).map(|n| n.address).collect()
            }
            Medium::Loopback => Vec::new(),
        }
    }

    /// Sends one neighbour what it has not acknowledged for the retransmit interval.
    pub(crate) fn retransmit(&mut self, now: Instant, id: NeighborId) {
        let Some(link) = self.links.get_mut(&id.link) else { return };
        let (interval, area) = (link.config.retransmit_interval, link.area);
        let Some(neighbor) = link.neighbors.get_mut(&id.key) else { return };
        if neighbor.unacknowledged.is_empty() || !neighbor.floods() {
            return;
        }
        let mut due = Vec::new();
        for (key, (_, sent)) in &mut neighbor.unacknowledged {
            if interval <= now.since(*sent) && due.len() < RETRANSMIT_LSAS {
                *sent = now;
                due.push(*key);
            }
        }
        let address = neighbor.address;
        neighbor.retransmissions += due.len() as u64;
        link.stats.retransmissions += due.len() as u64;
        let earliest = neighbor.unacknowledged.values().map(|(_, sent)| *sent).min().unwrap_or(now);
        self.timers.set(Timer::Retransmit(id), (earliest + interval).max(now + PACE));
        let held = |key: &LsaKey| {
            let entry = self.database(Scope::of(key.kind, id.link, area))?.get(*key)?;
            Some(entry.aged(now))
        };
        let lsas: Vec<Lsa> = due.iter().filter_map(held).collect();
        self.send_lsas(now, id.link, address, lsas);
    }

    pub(crate) fn receive_ack(
        &mut self,
        now: Instant,
        id: NeighborId,
        headers: &[LsaHeader],
    ) -> Result<(), BadPacket> {
        let neighbor = self.neighbor_mut(id).ok_or(BadPacket::UnknownNeighbor)?;
        if !neighbor.floods() {
            return Err(BadPacket::State);
        }
        for header in headers {
            self.acknowledged(now, id, header);
        }
        Ok(())
    }

    /// Whether `header` is what the neighbour had to acknowledge. RFC 2328 §13.7.
    fn acknowledged(&mut self, _now: Instant, id: NeighborId, header: &LsaHeader) -> bool {
        let Some(neighbor) = self.neighbor_mut(id) else { return false };
        let same = |(lsa, _): &(Lsa, Instant)| lsa.header.compare(header) == Newer::Same;
        if !neighbor.unacknowledged.get(&header.key).is_some_and(same) {
            return false;
        }
        neighbor.unacknowledged.remove(&header.key);
        if neighbor.unacknowledged.is_empty() {
            self.timers.cancel(Timer::Retransmit(id));
        }
        if header.age == MAX_AGE {
            self.stale.graves = true;
        }
        true
    }

    fn delay_ack(&mut self, now: Instant, id: LinkId, header: LsaHeader) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.acks.push(header);
        let wait = ACK_DELAY.min(link.config.retransmit_interval / 3);
        if self.timers.get(Timer::Ack(id)).is_none() {
            self.timers.set(Timer::Ack(id), now + wait);
        }
    }

    pub(crate) fn send_delayed_acks(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let acks = std::mem::take(&mut link.acks);
        for to in self.flood_destinations(id) {
            self.send_acks(now, id, to, acks.clone());
        }
    }

    fn send_acks(&mut self, now: Instant, link: LinkId, to: Ipv4Addr, headers: Vec<LsaHeader>) {
        let room = (self.room(now, link) / LSA_HEADER_LEN).max(1);
        for chunk in headers.chunks(room) {
            self.send(now, link, to, &Body::Ack(chunk.to_vec()));
        }
    }

    /// Forgets LSAs of age MaxAge that everybody knows to be gone. RFC 2328 §14.
    pub(crate) fn bury(&mut self, now: Instant) {
        if !std::mem::take(&mut self.stale.graves) || self.dying.is_empty() || self.someone_is_exchanging() {
            return;
        }
        let waits = |scope: Scope, key: LsaKey| {
            let on_list = |link: &Link| link.neighbors.values().any(|n| n.unacknowledged.contains_key(&key));
            self.links.values().any(|link| self.is_eligible(link, scope) && on_list(link))
        };
        let done: Vec<(Scope, LsaKey)> =
            self.dying.iter().copied().filter(|(scope, key)| !waits(*scope, *key)).collect();
        for (scope, key) in done {
            self.dying.remove(&(scope, key));
            self.timers.cancel(Timer::Lsa(scope, key));
            let Some(db) = self.database_mut(scope) else { continue };
            let wrapped = db.remove(key).is_some_and(|entry| entry.lsa().header.sequence == MAX_SEQUENCE);
            if wrapped && key.router == self.router_id() {
                // It begins again with the lowest number (RFC 2328 §12.1.6).
                self.stale.all();
                self.originate(now);
            }
        }
    }
}
