//! Making databases equal: descriptions, requests, and the answers to them. RFC 2328 §10.6 to §10.10.

use millrace_proto::Instant;

use crate::link::Medium;
use crate::lsdb::Scope;
use crate::machine::{Ospf, Timer};
use crate::neighbor::{DescriptionMark, NeighborEvent, NeighborId, NeighborState};
use crate::stats::BadPacket;
use crate::wire::{
    Body, Description, IP_HEADER_LEN, LSA_HEADER_LEN, Lsa, LsaKey, LsaType, Newer, Options, Update,
};

/// Keys of one request: as many LSAs as a few packets answer.
const REQUEST_KEYS: usize = 100;

impl Ospf {
    /// Proposes to lead, with an empty description.
    pub(crate) fn start_exchange(&mut self, now: Instant, id: NeighborId) {
        let fresh = self.rng.next_u32() >> 1;
        let Some(link) = self.links.get(&id.link) else { return };
        let (mtu, options) = (description_mtu(link), self.options(link).with(Options::O, true));
        let Some(neighbor) = self.neighbor_mut(id) else { return };
        neighbor.dd_sequence =
            if neighbor.dd_sequence == 0 { fresh } else { neighbor.dd_sequence.wrapping_add(1) };
        neighbor.master = true;
        let sequence = neighbor.dd_sequence;
        let description =
            Description { mtu, options, init: true, more: true, master: true, sequence, headers: Vec::new() };
        self.send_description(now, id, description);
    }

    fn send_description(&mut self, now: Instant, id: NeighborId, description: Description) {
        let Some(link) = self.links.get(&id.link) else { return };
        let interval = link.config.retransmit_interval;
        let Some(neighbor) = self.neighbor_mut(id) else { return };
        let address = neighbor.address;
        // The one who leads repeats what is not answered; the other repeats when asked again.
        let leads = neighbor.master;
        neighbor.last_sent = Some(description.clone());
        if leads {
            self.timers.set(Timer::Description(id), now + interval);
        } else {
            self.timers.cancel(Timer::Description(id));
        }
        self.send(now, id.link, address, &Body::Description(description));
    }

    pub(crate) fn resend_description(&mut self, now: Instant, id: NeighborId) {
        let Some(link) = self.links.get_mut(&id.link) else { return };
        let interval = link.config.retransmit_interval;
        let Some(neighbor) = link.neighbors.get_mut(&id.key) else { return };
        let Some(last) = neighbor.last_sent.clone() else { return };
        if !matches!(neighbor.state, NeighborState::ExStart | NeighborState::Exchange) && neighbor.master {
            return;
        }
        neighbor.retransmissions += 1;
        let (address, leads) = (neighbor.address, neighbor.master);
        link.stats.retransmissions += 1;
        if leads {
            self.timers.set(Timer::Description(id), now + interval);
        }
        self.send(now, id.link, address, &Body::Description(last));
    }

    pub(crate) fn receive_description(
        &mut self,
        now: Instant,
        id: NeighborId,
        description: &Description,
    ) -> Result<(), BadPacket> {
        let own = self.router_id();
        let link = self.links.get(&id.link).ok_or(BadPacket::Passive)?;
        let fits = link.config.mtu_ignore
            || link.medium == Medium::Virtual
            || u32::from(description.mtu) <= link.interface.mtu;
        if !fits {
            return Err(BadPacket::Mtu);
        }
        let neighbor = link.neighbors.get(&id.key).ok_or(BadPacket::UnknownNeighbor)?;
        if neighbor.state == NeighborState::Init {
            self.neighbor_event(now, id, NeighborEvent::TwoWayReceived);
        }
        let neighbor = self.neighbor_mut(id).ok_or(BadPacket::UnknownNeighbor)?;
        let mark = DescriptionMark::of(description);
        match neighbor.state {
            NeighborState::TwoWay => neighbor.early = Some((description.clone(), now)),
            NeighborState::Down | NeighborState::Attempt | NeighborState::Init => {
                return Err(BadPacket::State);
            }
            NeighborState::ExStart => {
                let follows = mark.init && mark.more && mark.master && description.headers.is_empty();
                if follows && own < neighbor.router {
                    neighbor.master = false;
                    neighbor.dd_sequence = mark.sequence;
                } else if !mark.init
                    && !mark.master
                    && mark.sequence == neighbor.dd_sequence
                    && neighbor.router < own
                {
                    neighbor.master = true;
                } else {
                    return Ok(());
                }
                neighbor.options = mark.options;
                self.neighbor_event(now, id, NeighborEvent::NegotiationDone);
                self.take_description(now, id, description);
            }
            NeighborState::Exchange | NeighborState::Loading | NeighborState::Full => {
                let leads = neighbor.master;
                if neighbor.last_received == Some(mark) {
                    if !leads {
                        self.resend_description(now, id);
                    }
                    return Ok(());
                }
                let expected =
                    if leads { neighbor.dd_sequence } else { neighbor.dd_sequence.wrapping_add(1) };
                let in_order = neighbor.state == NeighborState::Exchange
                    && mark.master != leads
                    && !mark.init
                    && mark.options == neighbor.options
                    && mark.sequence == expected;
                if in_order {
                    self.take_description(now, id, description);
                } else {
                    self.neighbor_event(now, id, NeighborEvent::SequenceMismatch);
                }
            }
        }
        Ok(())
    }

    /// The neighbour knew of its role before this router knew of its own, and has begun the exchange: answered now, it
    /// need not begin again after its retransmit interval. RFC 2328 §10.6 would ignore it.
    pub(crate) fn take_early_description(&mut self, now: Instant, id: NeighborId) {
        let Some(link) = self.links.get_mut(&id.link) else { return };
        let interval = link.config.retransmit_interval;
        let early = link.neighbors.get_mut(&id.key).and_then(|neighbor| neighbor.early.take());
        if let Some((description, at)) = early
            && now.since(at) < interval
        {
            // It was in order when it came.
            let _ = self.receive_description(now, id, &description);
        }
    }

    /// The next description in order: what is in it, and the answer. RFC 2328 §10.6.
    fn take_description(&mut self, now: Instant, id: NeighborId, description: &Description) {
        let Some(link) = self.links.get(&id.link) else { return };
        let area = link.area;
        let kind = self.config.area_kind(area);
        let mut wanted = Vec::new();
        for header in &description.headers {
            let key = header.key;
            if !kind.has_externals() && key.kind.is_as_wide() {
                self.neighbor_event(now, id, NeighborEvent::SequenceMismatch);
                return;
            }
            let held = self.database(Scope::of(key.kind, id.link, area)).and_then(|db| db.get(key));
            if held.is_none_or(|held| header.compare(&held.header(now)) == Newer::This) {
                wanted.push(*header);
            }
        }
        let Some(neighbor) = self.neighbor_mut(id) else { return };
        neighbor.last_received = Some(DescriptionMark::of(description));
        neighbor.requests.extend(wanted.into_iter().map(|header| (header.key, header)));
        if neighbor.master {
            neighbor.dd_sequence = neighbor.dd_sequence.wrapping_add(1);
            let all_told = neighbor.last_sent.as_ref().is_some_and(|last| !last.more);
            if all_told && !description.more {
                self.timers.cancel(Timer::Description(id));
                self.neighbor_event(now, id, NeighborEvent::ExchangeDone);
            } else {
                self.describe(now, id);
            }
        } else {
            neighbor.dd_sequence = description.sequence;
            self.describe(now, id);
            let all_told =
                self.neighbor_mut(id).and_then(|n| n.last_sent.as_ref()).is_some_and(|last| !last.more);
            if all_told && !description.more {
                self.neighbor_event(now, id, NeighborEvent::ExchangeDone);
            }
        }
    }

    /// Sends the next headers. RFC 2328 §10.8.
    fn describe(&mut self, now: Instant, id: NeighborId) {
        let room = self.room(now, id.link).saturating_sub(8) / LSA_HEADER_LEN;
        let Some(link) = self.links.get(&id.link) else { return };
        let (mtu, options) = (description_mtu(link), self.options(link).with(Options::O, true));
        let area = link.area;
        let Some(neighbor) = self.neighbor_mut(id) else { return };
        let count = neighbor.summary.len().min(room.max(1));
        let keys: Vec<LsaKey> = neighbor.summary.drain(..count).collect();
        let (more, master) = (!neighbor.summary.is_empty(), neighbor.master);
        let sequence = neighbor.dd_sequence;
        // What has been flushed since it was listed is flooded to the neighbour anyway.
        let headers = keys.into_iter().filter_map(|key| {
            let entry = self.database(Scope::of(key.kind, id.link, area))?.get(key)?;
            Some(entry.header(now))
        });
        let headers = headers.collect();
        let description = Description { mtu, options, init: false, more, master, sequence, headers };
        self.send_description(now, id, description);
    }

    /// Asks every neighbour for what it has told of and this router lacks, unless an answer is awaited.
    pub(crate) fn send_requests(&mut self, now: Instant) {
        let waiting: Vec<NeighborId> = self
            .links
            .values()
            .flat_map(|link| link.neighbors.iter().map(move |(key, neighbor)| (link.id, *key, neighbor)))
            .filter(|(_, _, n)| n.asked.is_empty() && !n.requests.is_empty())
            .map(|(link, key, _)| NeighborId { link, key })
            .collect();
        for id in waiting {
            self.request(now, id);
        }
    }

    fn request(&mut self, now: Instant, id: NeighborId) {
        let room = (self.room(now, id.link) / 12).clamp(1, REQUEST_KEYS);
        let Some(link) = self.links.get(&id.link) else { return };
        let interval = link.config.retransmit_interval;
        let Some(neighbor) = self.neighbor_mut(id) else { return };
        let keys: Vec<LsaKey> = neighbor.requests.keys().take(room).copied().collect();
        neighbor.asked = keys.iter().copied().collect();
        let address = neighbor.address;
        self.timers.set(Timer::Request(id), now + interval);
        self.send(now, id.link, address, &Body::Request(keys));
    }

    pub(crate) fn resend_request(&mut self, now: Instant, id: NeighborId) {
        let Some(link) = self.links.get_mut(&id.link) else { return };
        let Some(neighbor) = link.neighbors.get_mut(&id.key) else { return };
        if neighbor.requests.is_empty() || !neighbor.floods() {
            return;
        }
        neighbor.retransmissions += 1;
        link.stats.retransmissions += 1;
        self.request(now, id);
    }

    /// `key` need not be asked for any more. Says whether it was asked for.
    pub(crate) fn requested_arrived(&mut self, now: Instant, id: NeighborId, key: LsaKey) -> bool {
        let Some(neighbor) = self.neighbor_mut(id) else { return false };
        let was = neighbor.requests.remove(&key).is_some();
        neighbor.asked.remove(&key);
        if was && neighbor.requests.is_empty() {
            self.timers.cancel(Timer::Request(id));
            self.neighbor_event(now, id, NeighborEvent::LoadingDone);
        }
        was
    }

    /// Answers with the LSAs, sent once: who asks repeats the question. RFC 2328 §10.7.
    pub(crate) fn receive_request(
        &mut self,
        now: Instant,
        id: NeighborId,
        keys: &[LsaKey],
    ) -> Result<(), BadPacket> {
        let link = self.links.get(&id.link).ok_or(BadPacket::Passive)?;
        let area = link.area;
        let neighbor = link.neighbors.get(&id.key).ok_or(BadPacket::UnknownNeighbor)?;
        if !neighbor.floods() {
            return Err(BadPacket::State);
        }
        let address = neighbor.address;
        let find = |key: &LsaKey| {
            let entry = self.database(Scope::of(key.kind, id.link, area))?.get(*key)?;
            Some(entry.aged(now))
        };
        let Some(lsas) = keys.iter().map(find).collect::<Option<Vec<Lsa>>>() else {
            self.neighbor_event(now, id, NeighborEvent::BadRequest);
            return Ok(());
        };
        self.send_lsas(now, id.link, address, lsas);
        Ok(())
    }

    /// As many updates as `lsas` need, with the time on the link added to their age.
    pub(crate) fn send_lsas(
        &mut self,
        now: Instant,
        link: crate::link::LinkId,
        to: std::net::Ipv4Addr,
        lsas: Vec<Lsa>,
    ) {
        let room = self.room(now, link).saturating_sub(4);
        let Some(found) = self.links.get(&link) else { return };
        let delay = found.config.transmit_delay;
        let mut update = Update::default();
        let mut len = 0;
        for lsa in lsas {
            if room < len + lsa.len() && !update.lsas.is_empty() {
                self.send(now, link, to, &Body::Update(std::mem::take(&mut update)));
                len = 0;
            }
            len += lsa.len();
            let age = lsa.header.age.saturating_add(delay).min(crate::wire::MAX_AGE);
            update.lsas.push(lsa.with_age(age));
        }
        if !update.lsas.is_empty() {
            self.send(now, link, to, &Body::Update(update));
        }
    }

    /// Octets of a body that fit one packet of this link.
    pub(crate) fn room(&self, now: Instant, link: crate::link::LinkId) -> usize {
        let Some(link) = self.links.get(&link) else { return 0 };
        let mtu = usize::try_from(link.interface.mtu).unwrap_or(usize::MAX).clamp(576, 65_535);
        let protection = crate::auth::protection(&link.config.authentication, self.clock.unix(now), 0);
        let overhead = protection.map_or(0, |(protection, _)| crate::wire::overhead(protection));
        mtu.saturating_sub(IP_HEADER_LEN + overhead)
    }
}

/// How long the slave keeps its last description (RFC 2328 §10.8) is not limited: it is kept with the neighbour.
fn description_mtu(link: &crate::link::Link) -> u16 {
    match link.medium {
        Medium::Virtual => 0,
        Medium::Broadcast
        | Medium::NonBroadcast
        | Medium::PointToPoint
        | Medium::PointToMultipoint
        | Medium::Loopback => u16::try_from(link.interface.mtu).unwrap_or(u16::MAX),
    }
}

/// Whether `kind` can travel in an area that takes externals or not, and is an NSSA or not. RFC 2328 §13 (3), RFC 3101 §2.3.
pub(crate) const fn fits_area(kind: LsaType, externals: bool, nssa: bool) -> bool {
    match kind {
        LsaType::External | LsaType::OpaqueAs => externals,
        LsaType::Nssa => nssa,
        LsaType::Router
        | LsaType::Network
        | LsaType::Summary
        | LsaType::AsbrSummary
        | LsaType::OpaqueLink
        | LsaType::OpaqueArea => true,
    }
}
