//! A configuration becomes peers, routes of our own, and as little change as it takes.

use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_proto::{Instant, InterfaceEvent};

use crate::config::{Config, PeerConfig};
use crate::local::NETWORK;
use crate::machine::{Bgp, Timer};
use crate::peer::{Peer, PeerKind};
use crate::session::{End, Then};
use crate::table::PeerIx;
use crate::walk::Job;
use crate::wire::Notification;

impl Bgp {
    pub(crate) fn configure(&mut self, now: Instant, config: Config) {
        if config == self.config {
            return;
        }
        let before = std::mem::replace(&mut self.config, config);
        let router_id = self.choose_router_id();
        let renumbered = before.asn != self.config.asn
            || router_id != self.router_id
            || before.confederation != self.config.confederation
            || before.graceful_restart.enabled != self.config.graceful_restart.enabled;
        self.router_id = router_id;
        if before.asn == 0 && !self.converged {
            self.timers.set(Timer::Defer, now + self.config.graceful_restart.defer);
        }
        self.reconcile_peers(now, renumbered);
        self.reconcile_routes(now, &before);
        if before.decision != self.config.decision {
            self.queue(Job::reselect());
        }
        if before.graceful_shutdown != self.config.graceful_shutdown
            || before.cluster_id != self.config.cluster_id
        {
            for ix in self.indexes() {
                self.send_everything(ix);
            }
        }
        self.check_converged();
    }

    /// The configured one, or the highest address; one that is in use stays while it is an address.
    fn choose_router_id(&self) -> Ipv4Addr {
        let addresses = || self.interfaces.values().flat_map(|interface| &interface.addresses);
        let own = addresses().map(|own| own.address).filter(|address| !address.is_loopback());
        let kept = own.clone().find(|address| *address == self.router_id);
        self.config.router_id.or(kept).or_else(|| own.max()).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Interfaces have changed. An external neighbour on a link that is down is down: nobody waits for its hold timer.
    pub(crate) fn interface(&mut self, now: Instant, event: InterfaceEvent) {
        match event {
            InterfaceEvent::Upsert(interface) => {
                self.interfaces.insert(interface.index, interface);
            }
            InterfaceEvent::Remove(index) => {
                self.interfaces.remove(&index);
            }
        }
        let router_id = self.choose_router_id();
        if router_id != self.router_id {
            self.router_id = router_id;
            for ix in self.indexes() {
                if self.peer(ix).is_some_and(|peer| !peer.conns.is_empty()) {
                    let then = Then::Wait(Duration::from_millis(100));
                    self.stop(
                        now,
                        ix,
                        &Notification::CONFIGURATION_CHANGE,
                        then,
                        "the router id has changed",
                    );
                }
            }
        }
        for ix in self.indexes() {
            let Some(peer) = self.peer(ix) else { continue };
            let Some(agreed) = &peer.agreed else { continue };
            let next_to_us = peer.kind == PeerKind::External && peer.config.transport.multihop.is_none();
            let mut on = self.interfaces.values().filter(|interface| interface.has_address(agreed.local));
            if next_to_us && on.next().is_none_or(|interface| !interface.up) {
                let conn = agreed.conn;
                let reason = "its interface is down".to_owned();
                let end = End { notification: None, reason, then: Then::IdleHold, graceful: false };
                self.end(now, ix, conn, end);
            }
        }
    }

    fn reconcile_peers(&mut self, now: Instant, renumbered: bool) {
        for ix in self.indexes() {
            let Some(peer) = self.peer(ix) else { continue };
            let address = peer.address;
            let wanted = match self.config.peers.get(&address) {
                Some(config) => Some(config.clone()),
                None if peer.dynamic => {
                    let range = self.config.ranges.iter().find(|range| range.prefix.contains(address));
                    range.map(|range| range.peer.clone())
                }
                None => None,
            };
            match wanted {
                None => {
                    let reason = "no neighbour any more";
                    self.stop(now, ix, &Notification::DECONFIGURED, Then::Stay, reason);
                    self.remove_peer(ix);
                }
                Some(config) => self.update_peer(now, ix, config, renumbered),
            }
        }
        let new: Vec<(Ipv4Addr, PeerConfig)> = self
            .config
            .peers
            .iter()
            .filter(|(address, _)| !self.by_address.contains_key(address))
            .map(|(address, config)| (*address, config.clone()))
            .collect();
        for (address, config) in new {
            if let Some(ix) = self.add_peer(address, config, false) {
                // Not all at once.
                let soon = self.rng.between(Duration::ZERO, Duration::from_millis(100));
                self.timers.set(Timer::IdleHold(ix), now + soon);
            }
        }
    }

    fn update_peer(&mut self, now: Instant, ix: PeerIx, config: PeerConfig, renumbered: bool) {
        let kind = PeerKind::of(&self.config, &config);
        let Some(peer) = self.peer_mut(ix) else { return };
        let before = std::mem::replace(&mut peer.config, config);
        let resets = renumbered || before.resets(&peer.config) || peer.kind != kind;
        let imports = |config: &PeerConfig| {
            (
                config.import.clone(),
                config.needs_policy,
                config.weight,
                config.allow_as_in,
                config.enforce_first_as,
            )
        };
        let reimport = imports(&before) != imports(&peer.config);
        // What was not kept has to be asked for.
        let refused = (before.allow_as_in, before.enforce_first_as)
            != (peer.config.allow_as_in, peer.config.enforce_first_as);
        peer.kind = kind;
        if resets {
            let shutdown = peer.config.shutdown.clone();
            let (notification, reason) = match &shutdown {
                Some(message) => (Notification::shutdown(message), "shut down by the configuration"),
                None => (Notification::CONFIGURATION_CHANGE, "its configuration has changed"),
            };
            peer.idle_hold = Duration::ZERO;
            let then = if shutdown.is_some() { Then::Stay } else { Then::Wait(Duration::from_millis(100)) };
            self.stop(now, ix, &notification, then, reason);
            return;
        }
        if reimport {
            self.queue(Job::reimport(ix));
            if refused {
                self.ask_for_refresh(now, ix);
            }
        }
        let up = self.peer(ix).is_some_and(|peer| peer.agreed.is_some());
        self.watch(ix, up);
        if self.has_moved(ix) {
            self.change_group(now, ix);
        }
    }

    fn reconcile_routes(&mut self, now: Instant, before: &Config) {
        for prefix in before
            .networks
            .keys()
            .filter(|prefix| !self.config.networks.contains_key(prefix))
            .copied()
            .collect::<Vec<_>>()
        {
            self.take_path(prefix, PeerIx::LOCAL, NETWORK);
        }
        if before.networks != self.config.networks {
            self.originate_networks(now);
        }
        if before.aggregates != self.config.aggregates {
            let all = before.aggregates.keys().chain(self.config.aggregates.keys()).copied();
            self.stale_aggregates.extend(all);
            for ix in self.indexes() {
                self.send_everything(ix);
            }
        }
    }

    pub(crate) fn add_peer(
        &mut self,
        address: Ipv4Addr,
        config: PeerConfig,
        dynamic: bool,
    ) -> Option<PeerIx> {
        let kind = PeerKind::of(&self.config, &config);
        let peer = Peer::new(address, config, kind, dynamic);
        // A number is free when nothing is left that was said under it.
        let free = self.peers.iter().enumerate().position(|(at, slot)| {
            let ix = u16::try_from(at).map(PeerIx);
            slot.is_none() && ix.is_ok_and(|ix| !self.jobs.iter().any(|job| job.concerns(ix)))
        });
        let at = free.unwrap_or(self.peers.len());
        let ix = u16::try_from(at).ok().map(PeerIx).filter(|ix| *ix != PeerIx::LOCAL)?;
        match self.peers.get_mut(at) {
            Some(slot) => *slot = Some(peer),
            None => self.peers.push(Some(peer)),
        }
        self.by_address.insert(address, ix);
        Some(ix)
    }

    pub(crate) fn remove_peer(&mut self, ix: PeerIx) {
        self.watch(ix, false);
        self.leave_group(ix);
        for timer in [Timer::ConnectRetry(ix), Timer::IdleHold(ix), Timer::Stale(ix)] {
            self.timers.cancel(timer);
        }
        let Some(peer) = self.peers.get_mut(usize::from(ix.0)).and_then(Option::take) else { return };
        self.by_address.remove(&peer.address);
        self.queue(Job::purge(ix));
    }
}
