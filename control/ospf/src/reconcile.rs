//! Bringing links in line with configuration and interfaces, and the end of the process.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use millrace_proto::{IfIndex, Instant, Interface};

use crate::config::InterfaceConfig;
use crate::link::{InterfaceEvent, InterfaceState, Link, LinkId, Medium, medium};
use crate::machine::{Ospf, Output, Timer};
use crate::neighbor::{NeighborEvent, NeighborId};
use crate::routes::Level;
use crate::wire::{AreaId, MAX_AGE, RouterId};

impl Ospf {
    /// Starts and stops OSPF on interfaces, and carries changes of their settings over.
    pub(crate) fn reconcile(&mut self, now: Instant) {
        self.choose_router_id();
        let wanted = self.wanted_interfaces();
        let gone: Vec<LinkId> = self
            .links
            .values()
            .filter(|link| match link.id {
                LinkId::Interface(index) => {
                    wanted.get(&index).is_none_or(|(interface, config)| must_restart(link, interface, config))
                }
                LinkId::Virtual { transit, peer } => self.virtual_config(transit, peer) != Some(&link.config),
            })
            .map(|link| link.id)
            .collect();
        for id in gone {
            self.remove_link(now, id);
        }
        for (index, (interface, config)) in wanted {
            let id = LinkId::Interface(index);
            if let Some(link) = self.links.get_mut(&id) {
                let changed = link.interface != interface || link.config != config;
                let priority = link.config.priority != config.priority;
                link.cost = config.cost;
                (link.interface, link.config) = (interface, config);
                if changed {
                    self.stale.router(link.area);
                    self.schedule(now, Level::Full);
                }
                if priority {
                    self.link_event(now, id, InterfaceEvent::NeighborChange);
                }
            } else {
                self.add_link(now, Link::new(interface, config));
            }
        }
        self.add_virtual_links(now);
        self.drop_empty_areas(now);
    }

    fn choose_router_id(&mut self) {
        let usable = |interface: &&Interface| interface.up;
        let candidates = self.interfaces.values().filter(usable).flat_map(|interface| {
            let loopback = interface.kind == millrace_proto::LinkKind::Loopback;
            let outside = interface.addresses.iter().map(|own| own.address).filter(|own| !own.is_loopback());
            outside.map(move |address| (loopback, address))
        });
        let highest = candidates.max().map(|(_, address)| RouterId(address));
        self.router_id = self.config.router_id.or(self.router_id).or(highest);
    }

    fn wanted_interfaces(&self) -> BTreeMap<IfIndex, (Interface, InterfaceConfig)> {
        let running = self.router_id.is_some();
        let up = self.interfaces.values().filter(|i| running && i.up && !i.addresses.is_empty());
        up.filter_map(|interface| {
            let config = self.config.interfaces.get(&interface.name)?;
            Some((interface.index, (interface.clone(), config.clone())))
        })
        .collect()
    }

    fn virtual_config(&self, transit: AreaId, peer: RouterId) -> Option<&InterfaceConfig> {
        self.config.areas.get(&transit)?.virtual_links.get(&peer)
    }

    fn add_virtual_links(&mut self, now: Instant) {
        let configured: Vec<(AreaId, RouterId, InterfaceConfig)> = self
            .config
            .areas
            .iter()
            .filter(|(area, _)| !area.is_backbone() && self.areas.contains_key(area))
            .flat_map(|(area, config)| {
                config.virtual_links.iter().map(|(peer, config)| (*area, *peer, config.clone()))
            })
            .collect();
        for (transit, peer, config) in configured {
            if !self.links.contains_key(&LinkId::Virtual { transit, peer }) {
                self.add_link(now, Link::new_virtual(transit, peer, config));
            }
        }
    }

    fn add_link(&mut self, now: Instant, link: Link) {
        let (id, area, is_virtual) = (link.id, link.area, link.is_virtual());
        let listens = !link.config.passive && link.medium != Medium::Loopback;
        self.areas.entry(area).or_default();
        self.links.insert(id, link);
        if let (LinkId::Interface(index), true) = (id, listens) {
            self.outputs.push_back(Output::Listen(index));
        }
        // How many areas there are decides what this router is.
        self.stale.all();
        if !is_virtual {
            self.link_event(now, id, InterfaceEvent::Up);
        }
        self.schedule(now, Level::Full);
    }

    fn remove_link(&mut self, now: Instant, id: LinkId) {
        self.link_event(now, id, InterfaceEvent::Down);
        let Some(link) = self.links.remove(&id) else { return };
        let listens = !link.config.passive && link.medium != Medium::Loopback;
        if let (LinkId::Interface(index), true) = (id, listens) {
            self.outputs.push_back(Output::Unlisten(index));
        }
        for (key, _) in link.db.iter() {
            self.timers.cancel(Timer::Lsa(crate::lsdb::Scope::Link(id), key));
        }
        self.stale.all();
        self.schedule(now, Level::Full);
    }

    /// An area lives while a link is in it.
    fn drop_empty_areas(&mut self, now: Instant) {
        let empty: Vec<AreaId> = self
            .areas
            .keys()
            .copied()
            .filter(|area| !self.links.values().any(|link| link.area == *area))
            .collect();
        for area in empty {
            if let Some(gone) = self.areas.remove(&area) {
                let scope = crate::lsdb::Scope::Area(area);
                for (key, _) in gone.db.iter() {
                    self.timers.cancel(Timer::Lsa(scope, key));
                    self.throttled.remove(&(scope, key));
                    self.dying.remove(&(scope, key));
                }
            }
            self.stale.all();
            self.schedule(now, Level::Full);
        }
    }

    /// The interface state machine, with what its transitions do. RFC 2328 §9.3.
    pub(crate) fn link_event(&mut self, now: Instant, id: LinkId, event: InterfaceEvent) {
        let Some(link) = self.links.get(&id) else { return };
        let eligible = 0 < link.config.priority;
        let before = link.state;
        match crate::link::transition(before, event, link.medium, eligible) {
            None => {}
            Some(crate::link::Next::Elect) => self.elect(now, id),
            Some(crate::link::Next::State(state)) => {
                self.set_link_state(now, id, state);
                match event {
                    InterfaceEvent::Up => self.start_link(now, id),
                    InterfaceEvent::Down | InterfaceEvent::Loop => self.stop_link(now, id),
                    InterfaceEvent::WaitTimer
                    | InterfaceEvent::BackupSeen
                    | InterfaceEvent::NeighborChange
                    | InterfaceEvent::Unloop => {}
                }
            }
        }
    }

    pub(crate) fn set_link_state(&mut self, now: Instant, id: LinkId, state: InterfaceState) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.state == state {
            return;
        }
        link.state = state;
        self.stale.router(link.area);
        self.schedule(now, Level::Full);
        if state != InterfaceState::Waiting {
            self.timers.cancel(Timer::Wait(id));
        }
    }

    fn start_link(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        if !link.talks() {
            return;
        }
        if link.state == InterfaceState::Waiting {
            let wait = std::time::Duration::from_secs(link.config.dead_interval.into());
            self.timers.set(Timer::Wait(id), now + wait);
        }
        if link.medium == Medium::NonBroadcast {
            let eligible = 0 < link.config.priority;
            for address in link.config.neighbors.clone() {
                self.start_neighbor(now, id, address, eligible);
            }
        }
        self.timers.set(Timer::Hello(id), now);
    }

    fn stop_link(&mut self, now: Instant, id: LinkId) {
        for timer in [Timer::Hello(id), Timer::Wait(id), Timer::Ack(id), Timer::Flood(id)] {
            self.timers.cancel(timer);
        }
        let Some(link) = self.links.get(&id) else { return };
        let neighbors: Vec<Ipv4Addr> = link.neighbors.keys().copied().collect();
        for key in neighbors {
            self.neighbor_event(now, NeighborId { link: id, key }, NeighborEvent::LinkDown);
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.neighbors.clear();
            link.designated = Ipv4Addr::UNSPECIFIED;
            link.backup = Ipv4Addr::UNSPECIFIED;
            link.acks.clear();
            link.queue.clear();
            link.queued.clear();
        }
    }

    /// Everything is taken down, as for another router id; [`Ospf::reconcile`] builds it again.
    pub(crate) fn stop(&mut self, now: Instant) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            self.remove_link(now, id);
        }
        self.drop_empty_areas(now);
        let externals: Vec<_> = self.external.iter().map(|(key, _)| key).collect();
        for key in externals {
            self.external.remove(key);
            self.timers.cancel(Timer::Lsa(crate::lsdb::Scope::As, key));
        }
        self.throttled.clear();
        self.dying.clear();
        self.withdraw_routes();
    }

    /// Own LSAs are withdrawn, and neighbours told that nobody is heard here any more.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        let own = self.router_id();
        for (scope, key) in self.own_keys(own) {
            if let Some(lsa) =
                self.database(scope).and_then(|db| db.get(key)).map(|e| e.lsa().with_age(MAX_AGE))
            {
                self.install(now, scope, lsa.clone());
                self.flood(now, scope, &lsa, None);
            }
        }
        self.send_queues(now);
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            if let Some(link) = self.links.get_mut(&id) {
                link.neighbors.clear();
            }
            self.send_hello(now, id, None);
        }
        self.config = crate::config::Config::new();
        self.stop(now);
        self.redistributed.clear();
        self.stale = crate::originate::Stale::default();
    }
}

/// What cannot change while neighbours stay.
fn must_restart(link: &Link, interface: &Interface, config: &InterfaceConfig) -> bool {
    let old = &link.config;
    link.interface.addresses.first() != interface.addresses.first()
        || old.area != config.area
        || link.medium != medium(interface, config)
        || old.passive != config.passive
        || old.hello_interval != config.hello_interval
        || old.dead_interval != config.dead_interval
        || old.neighbors != config.neighbors
}
