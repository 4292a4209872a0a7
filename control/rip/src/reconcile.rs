//! Interfaces and configuration become links: RIP starts, changes and stops where they say so.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_policy::Protocol;
use millrace_proto::{IfIndex, Instant, Interface, Transmit};

use crate::Metric;
use crate::auth;
use crate::config::InterfaceConfig;
use crate::link::Link;
use crate::machine::{Output, Rip, Timer};
use crate::send::{Job, Purpose, Routes};
use crate::table::{NeighborKey, Origin, OriginKind};
use crate::wire::{self, Command, Entry, Version};

impl Rip {
    /// Brings the links in line with interfaces and configuration. Where nothing differs, nothing happens.
    pub(crate) fn reconcile(&mut self, now: Instant) {
        let indexes: BTreeSet<IfIndex> = self.interfaces.keys().chain(self.links.keys()).copied().collect();
        for index in indexes {
            let wanted = self.interfaces.get(&index).and_then(|interface| {
                let config = self.config.interfaces.get(&interface.name)?;
                let runs = interface.up && !interface.addresses.is_empty();
                runs.then(|| (interface.clone(), config.clone()))
            });
            match (self.links.contains_key(&index), wanted) {
                (false, Some((interface, config))) => self.start(now, interface, config),
                (true, Some((interface, config))) => self.update(now, interface, config),
                (true, None) => self.stop(now, index),
                (false, None) => {}
            }
        }
    }

    fn start(&mut self, now: Instant, interface: Interface, config: InterfaceConfig) {
        let index = interface.index;
        let link = Link::new(interface, config);
        if link.talks() {
            self.outputs.push_back(Output::Listen(index));
        }
        self.links.insert(index, link);
        self.announce_networks(now, index, BTreeSet::new());
        self.begin_sending(now, index);
    }

    fn update(&mut self, now: Instant, interface: Interface, config: InterfaceConfig) {
        let index = interface.index;
        let Some(link) = self.links.get_mut(&index) else { return };
        if link.interface == interface && link.config == config {
            return;
        }
        let networks = link.networks();
        let (sent, talked, bfd) = (link.sends(), link.talks(), link.config.bfd);
        let hears_differently = link.config.hears_differently(&config);
        let cost_changed = link.config.cost != config.cost;
        if link.config.sends_differently(&config) {
            self.table.flag_everything();
        }
        let moved = link.interface.addresses != interface.addresses;
        link.interface = interface;
        link.config = config;
        let gone: Vec<_> = link
            .neighbors
            .keys()
            .filter(|address| link.interface.address_towards(**address).is_none())
            .copied()
            .collect();
        let (sends, talks, wants_bfd) = (link.sends(), link.talks(), link.config.bfd);
        let neighbors: Vec<_> = link.neighbors.keys().copied().collect();
        for address in gone {
            self.forget(now, NeighborKey { interface: index, address });
        }
        if bfd != wants_bfd {
            for address in neighbors {
                self.watch(NeighborKey { interface: index, address }, wants_bfd);
            }
        }
        if talked != talks {
            self.outputs.push_back(if talks { Output::Listen(index) } else { Output::Unlisten(index) });
        }
        self.announce_networks(now, index, if cost_changed { BTreeSet::new() } else { networks.clone() });
        let left: Vec<_> = match self.links.get(&index) {
            Some(link) => networks.difference(&link.networks()).copied().collect(),
            None => Vec::new(),
        };
        for network in left {
            self.table.withdraw(now, network, OriginKind::Connected(index));
        }
        match (sent, sends) {
            (false, true) => self.begin_sending(now, index),
            // Updates under way come from an address that may be gone, and the new network's routers know nothing of us.
            (true, true) if moved => {
                self.end_sending(index);
                self.begin_sending(now, index);
            }
            // What was refused so far may be wanted.
            (true, true) if hears_differently => self.ask(now, index),
            (true, false) => self.end_sending(index),
            (true, true) | (false, false) => {}
        }
        self.revise(now);
    }

    fn stop(&mut self, now: Instant, index: IfIndex) {
        self.end_sending(index);
        let Some(link) = self.links.get(&index) else { return };
        let (networks, talked) = (link.networks(), link.talks());
        let neighbors: Vec<_> = link.neighbors.keys().copied().collect();
        for address in neighbors {
            self.forget(now, NeighborKey { interface: index, address });
        }
        self.links.remove(&index);
        for network in networks {
            self.table.withdraw(now, network, OriginKind::Connected(index));
        }
        if talked {
            self.outputs.push_back(Output::Unlisten(index));
        }
    }

    /// Originates the link's networks, other than those `known` already.
    fn announce_networks(&mut self, now: Instant, index: IfIndex, known: BTreeSet<Prefix>) {
        let Some(link) = self.links.get(&index) else { return };
        for network in link.networks().difference(&known) {
            let metric = Metric::from(link.config.cost);
            let kind = OriginKind::Connected(index);
            let origin = Origin { kind, protocol: Protocol::Connected, metric, tag: 0, next_hop: None };
            self.table.originate(now, *network, origin, link.config.timers.garbage);
        }
    }

    /// The first regular update comes soon: a link that is new does not know what has not changed.
    fn begin_sending(&mut self, now: Instant, index: IfIndex) {
        if self.links.get(&index).is_some_and(Link::sends) {
            let soon = self.rng.between(Duration::ZERO, Duration::from_secs(1));
            self.timers.set(Timer::Regular(index), now + soon);
            self.ask(now, index);
        }
    }

    /// RFC 2453 §3.9.1: asks for the neighbours' tables.
    fn ask(&mut self, now: Instant, index: IfIndex) {
        let sequence = self.next_sequence(now);
        let unix = self.clock.unix(now);
        let Some(link) = self.links.get_mut(&index) else { return };
        for (source, destination) in link.destinations() {
            let Some(protection) = auth::protection(&link.config.authentication, unix, sequence) else {
                link.stats.unsendable += 1;
                continue;
            };
            link.stats.requests_sent += 1;
            self.outputs.push_back(Output::Send(Transmit {
                interface: index,
                source: SocketAddrV4::new(source.address, wire::PORT),
                destination,
                ttl: link.config.ttl_security.ttl(),
                payload: wire::encode(Command::Request, Version::V2, &[Entry::WHOLE_TABLE], protection),
            }));
        }
    }

    fn end_sending(&mut self, index: IfIndex) {
        self.timers.cancel(Timer::Regular(index));
        let ended: Vec<u64> =
            self.jobs.iter().filter(|(_, job)| job.link == index).map(|(id, _)| *id).collect();
        for id in ended {
            self.jobs.remove(&id);
            self.timers.cancel(Timer::Job(id));
        }
    }

    /// Forgets a neighbour and everything it said; unknown ones are fine.
    pub(crate) fn forget(&mut self, now: Instant, neighbor: NeighborKey) {
        self.watch(neighbor, false);
        self.timers.cancel(Timer::Neighbor(neighbor));
        let Some(link) = self.links.get_mut(&neighbor.interface) else { return };
        if link.neighbors.remove(&neighbor.address).is_some() {
            self.table.revise(now, |_, path| path.neighbor != neighbor);
        }
    }

    /// Asks for a BFD session with a neighbour, or ends it.
    pub(crate) fn watch(&mut self, neighbor: NeighborKey, wanted: bool) {
        let Some(link) = self.links.get_mut(&neighbor.interface) else { return };
        let local = link.interface.address_towards(neighbor.address).map(|own| own.address);
        let Some(known) = link.neighbors.get_mut(&neighbor.address) else { return };
        if known.bfd != wanted {
            known.bfd = wanted;
            let local = local.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED);
            self.outputs.push_back(Output::Bfd { neighbor, local, wanted });
        }
    }

    /// Says to every neighbour that nothing can be reached here, and stops.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        let sequence = self.next_sequence(now);
        let links: Vec<IfIndex> = self.links.keys().copied().collect();
        for index in links {
            let destinations = self.links.get(&index).map(Link::destinations).unwrap_or_default();
            for (source, destination) in destinations {
                let job = Job {
                    link: index,
                    source,
                    destination,
                    version: Version::V2,
                    purpose: Purpose::Farewell,
                    routes: Routes::Whole { after: None },
                    sequence,
                };
                self.send_all(now, job);
            }
            self.config.interfaces.clear();
            self.stop(now, index);
        }
        let _ = self.table.take_changed();
    }
}
