//! Hellos: who is there, who hears whom, and who is designated. RFC 2328 §9.4, §9.5, §10.5.

use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_proto::Instant;

use crate::config::AreaKind;
use crate::election::{Candidate, elect};
use crate::link::{InterfaceEvent, InterfaceState, Link, LinkId, MAX_NEIGHBORS, Medium};
use crate::machine::{Ospf, Timer};
use crate::neighbor::{Neighbor, NeighborEvent, NeighborId, NeighborState};
use crate::stats::BadPacket;
use crate::wire::{ALL_ROUTERS, Body, Hello, Options, RouterId};

impl Ospf {
    pub(crate) fn hello_timer(&mut self, now: Instant, link: LinkId) {
        let Some(found) = self.links.get(&link).filter(|found| found.talks()) else { return };
        let interval = Duration::from_secs(found.config.hello_interval.get().into());
        self.timers.set(Timer::Hello(link), now + interval);
        self.send_hello(now, link, None);
    }

    /// To one neighbour, or to all of the link.
    pub(crate) fn send_hello(&mut self, now: Instant, id: LinkId, to: Option<Ipv4Addr>) {
        let Some(link) = self.links.get(&id).filter(|link| link.talks()) else { return };
        let heard = link.neighbors.values().filter(|n| NeighborState::Init <= n.state);
        let hello = Hello {
            mask: mask(link),
            hello_interval: link.config.hello_interval.get(),
            options: self.options(link),
            priority: link.config.priority,
            dead_interval: link.config.dead_interval,
            designated: link.designated,
            backup: link.backup,
            neighbors: heard.map(|neighbor| neighbor.router).collect(),
        };
        let destinations = match to {
            Some(address) => vec![address],
            None => hello_destinations(link),
        };
        let body = Body::Hello(hello);
        for destination in destinations {
            self.send(now, id, destination, &body);
        }
    }

    /// Of hellos on this link; the others add what goes with their packet.
    pub(crate) fn options(&self, link: &Link) -> Options {
        let kind = self.config.area_kind(link.area);
        Options::default().with(Options::E, kind.has_externals()).with(Options::NP, kind.is_nssa())
    }

    pub(crate) fn receive_hello(
        &mut self,
        now: Instant,
        id: NeighborId,
        router: RouterId,
        source: Ipv4Addr,
        hello: &Hello,
    ) -> Result<(), BadPacket> {
        let own = self.router_id();
        let link = self.links.get(&id.link).ok_or(BadPacket::Passive)?;
        check(link, hello, self.config.area_kind(link.area))?;
        if router == RouterId::NONE {
            return Err(BadPacket::RouterId);
        }
        let dead = Duration::from_secs(link.config.dead_interval.into());
        match link.neighbors.get(&id.key) {
            Some(known) if known.router != router && known.router != RouterId::NONE => {
                // The address has passed to another router, or the router to another id.
                self.neighbor_event(now, id, NeighborEvent::Kill);
            }
            Some(_) => {}
            None if MAX_NEIGHBORS <= link.neighbors.len() => return Err(BadPacket::NeighborLimit),
            None => {}
        }
        let link = self.links.get_mut(&id.link).ok_or(BadPacket::Passive)?;
        let (medium, waiting) = (link.medium, link.state == InterfaceState::Waiting);
        let is_new = !link.neighbors.contains_key(&id.key);
        let neighbor = link.neighbors.entry(id.key).or_insert_with(|| Neighbor::new(now, router, source));
        let before = (neighbor.priority, neighbor.designated, neighbor.backup);
        neighbor.router = router;
        neighbor.address = source;
        neighbor.priority = hello.priority;
        neighbor.designated = hello.designated;
        neighbor.backup = hello.backup;
        self.timers.set(Timer::Inactivity(id), now + dead);
        self.neighbor_event(now, id, NeighborEvent::HelloReceived);
        if !hello.neighbors.contains(&own) {
            self.neighbor_event(now, id, NeighborEvent::OneWay);
            if is_new {
                // It learns of this router at once, not only after up to a hello interval.
                self.greet(now, id, medium, source);
            }
            return Ok(());
        }
        if is_new {
            self.greet(now, id, medium, source);
        }
        self.neighbor_event(now, id, NeighborEvent::TwoWayReceived);
        if medium.elects() {
            let claims = |designated: Ipv4Addr| designated == source;
            let changed = before.0 != hello.priority
                || claims(before.1) != claims(hello.designated)
                || claims(before.2) != claims(hello.backup);
            let seen = claims(hello.backup) || (claims(hello.designated) && hello.backup.is_unspecified());
            if waiting && seen {
                self.link_event(now, id.link, InterfaceEvent::BackupSeen);
            } else if changed {
                self.link_event(now, id.link, InterfaceEvent::NeighborChange);
            }
        }
        Ok(())
    }

    fn greet(&mut self, now: Instant, id: NeighborId, medium: Medium, source: Ipv4Addr) {
        match medium {
            Medium::NonBroadcast | Medium::PointToMultipoint => self.send_hello(now, id.link, Some(source)),
            Medium::Broadcast | Medium::PointToPoint | Medium::Virtual => {
                self.send_hello(now, id.link, None);
            }
            Medium::Loopback => {}
        }
    }

    /// Calculates who is designated, and what follows. RFC 2328 §9.4.
    pub(crate) fn elect(&mut self, now: Instant, id: LinkId) {
        let own = self.router_id();
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.neighbors.values().any(|neighbor| neighbor.helped_until.is_some()) {
            // Who restarts keeps its role, whatever it says (RFC 3623 §3).
            return;
        }
        let me = Candidate {
            router: own,
            address: link.address,
            priority: link.config.priority,
            designated: link.designated,
            backup: link.backup,
        };
        let heard = link.neighbors.values().filter(|n| NeighborState::TwoWay <= n.state);
        let others = heard.map(|neighbor| Candidate {
            router: neighbor.router,
            address: neighbor.address,
            priority: neighbor.priority,
            designated: neighbor.designated,
            backup: neighbor.backup,
        });
        let candidates: Vec<Candidate> = std::iter::once(me).chain(others).collect();
        let elected = elect(&candidates, link.address);
        let before = (link.designated, link.backup);
        link.designated = elected.designated.unwrap_or(Ipv4Addr::UNSPECIFIED);
        link.backup = elected.backup.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let after = (link.designated, link.backup);
        let state = if elected.designated == Some(link.address) {
            InterfaceState::Dr
        } else if elected.backup == Some(link.address) {
            InterfaceState::Backup
        } else {
            InterfaceState::DrOther
        };
        let became = (link.state != state).then_some(state);
        let area = link.area;
        self.set_link_state(now, id, state);
        if before == after && became.is_none() {
            return;
        }
        self.stale.router(area);
        let Some(link) = self.links.get(&id) else { return };
        let keys: Vec<Ipv4Addr> = link.neighbors.keys().copied().collect();
        let starts = link.medium == Medium::NonBroadcast && link.is_designated_or_backup();
        for key in keys {
            let neighbor = NeighborId { link: id, key };
            if starts && self.neighbor_mut(neighbor).is_some_and(|n| n.state == NeighborState::Down) {
                self.neighbor_event(now, neighbor, NeighborEvent::Start);
            }
            self.neighbor_event(now, neighbor, NeighborEvent::AdjacencyQuestion);
        }
        // Others learn of the change by the next hello; sent at once it saves them a hello interval.
        self.send_hello(now, id, None);
    }

    /// A configured neighbour of an NBMA network.
    pub(crate) fn start_neighbor(&mut self, now: Instant, link: LinkId, address: Ipv4Addr, eligible: bool) {
        let Some(found) = self.links.get_mut(&link) else { return };
        found.neighbors.entry(address).or_insert_with(|| Neighbor::new(now, RouterId::NONE, address));
        if eligible {
            self.neighbor_event(now, NeighborId { link, key: address }, NeighborEvent::Start);
        }
    }

    pub(crate) fn poll(&mut self, now: Instant, id: NeighborId) {
        let Some(link) = self.links.get(&id.link) else { return };
        let interval = link.config.poll_interval;
        let down = link.neighbors.get(&id.key).is_some_and(|n| n.state <= NeighborState::Attempt);
        if down {
            self.timers.set(Timer::Poll(id), now + interval);
            self.send_hello(now, id.link, Some(id.key));
        }
    }

    /// Nothing was heard for the dead interval.
    pub(crate) fn silent(&mut self, now: Instant, id: NeighborId) {
        if self.neighbor_mut(id).is_some_and(|neighbor| neighbor.helped_until.is_some()) {
            return;
        }
        self.neighbor_event(now, id, NeighborEvent::Inactivity);
    }
}

fn mask(link: &Link) -> Ipv4Addr {
    match (link.medium, link.network) {
        (Medium::Virtual, _) | (_, None) => Ipv4Addr::UNSPECIFIED,
        (_, Some(network)) => Ipv4Addr::from_bits(network.mask()),
    }
}

fn hello_destinations(link: &Link) -> Vec<Ipv4Addr> {
    match link.medium {
        Medium::Broadcast | Medium::PointToPoint => vec![ALL_ROUTERS],
        Medium::PointToMultipoint if link.config.neighbors.is_empty() => vec![ALL_ROUTERS],
        Medium::PointToMultipoint => link.config.neighbors.clone(),
        Medium::NonBroadcast => {
            // Routers that can not be designated speak only to those who are, or may be (§9.5.1).
            let eligible = 0 < link.config.priority;
            let dedicated = link.is_designated_or_backup();
            let wanted = |neighbor: &&Neighbor| {
                NeighborState::Attempt <= neighbor.state
                    && (dedicated
                        || eligible
                        || 0 < neighbor.priority
                        || neighbor.address == link.designated
                        || neighbor.address == link.backup)
            };
            link.neighbors.values().filter(wanted).map(|neighbor| neighbor.address).collect()
        }
        Medium::Virtual => link.neighbors.values().map(|neighbor| neighbor.address).collect(),
        Medium::Loopback => Vec::new(),
    }
}

fn check(link: &Link, hello: &Hello, kind: AreaKind) -> Result<(), BadPacket> {
    if link.medium != Medium::PointToPoint && link.medium != Medium::Virtual && hello.mask != mask(link) {
        return Err(BadPacket::Mask);
    }
    if hello.hello_interval != link.config.hello_interval.get() {
        return Err(BadPacket::HelloInterval);
    }
    if hello.dead_interval != link.config.dead_interval {
        return Err(BadPacket::DeadInterval);
    }
    if hello.options.has(Options::E) != kind.has_externals()
        || hello.options.has(Options::NP) != kind.is_nssa()
    {
        return Err(BadPacket::AreaKind);
    }
    Ok(())
}
