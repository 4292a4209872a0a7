//! The state of the process: the host as it is, and the router that control has configured. No thread but the clerk's
//! has it, so nothing in it is locked.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_net::Instant;

use crate::clock;
use crate::control_link::{CaptureOrder, DataplaneConfig};
use crate::host::Host;
use crate::netlink::{Event, Neighbor, Netlink, NetlinkError, Poll};
use crate::router::{Given, Neighborhood, Router, SpareUmem, StartError};
use crate::worker::Requests;

/// How often neighbours are looked after.
const TICK: Duration = Duration::from_secs(1);

pub(crate) struct Dataplane {
    netlink: Netlink,
    host: Host,
    /// What is in force; none before the first `Configure`.
    pub(crate) router: Option<Router>,
    requests: Arc<Requests>,
    umem: SpareUmem,
    seed: u64,
    run_dir: PathBuf,
    next_tick: Instant,
    /// The host is not known as it is: the kernel dropped messages, and a dump failed.
    outdated: bool,
}

/// What a configuration led to.
pub(crate) struct Configured {
    /// Settings that differ and take a restart.
    pub(crate) restart: Vec<String>,
}

impl Dataplane {
    /// Subscribes to the host's changes and reads it as it is. `seed` is for hashes that outsiders must not foresee.
    pub(crate) fn new(requests: Arc<Requests>, run_dir: &Path, seed: u64) -> Result<Self, NetlinkError> {
        let mut dataplane = Self {
            netlink: Netlink::open()?,
            host: Host::default(),
            router: None,
            requests,
            umem: None,
            seed,
            run_dir: run_dir.to_owned(),
            next_tick: clock::now(),
            outdated: false,
        };
        dataplane.read_host_anew()?;
        Ok(dataplane)
    }

    /// Readable when the kernel has news for [`Dataplane::hear_kernel`].
    pub(crate) fn kernel_fd(&self) -> BorrowedFd<'_> {
        self.netlink.event_fd()
    }

    pub(crate) fn configure(&mut self, config: DataplaneConfig) -> Result<Configured, StartError> {
        let now = clock::now();
        let (restart, neighborhood) = match &mut self.router {
            Some(router) => router.configure(now, config, &self.host)?,
            None => {
                let requests = Arc::clone(&self.requests);
                let given = Given { requests, seed: self.seed, run_dir: &self.run_dir };
                let router = Router::start(now, config, &self.host, &mut self.umem, given)?;
                self.router = Some(router);
                (Vec::new(), Neighborhood::New)
            }
        };
        self.meet(neighborhood);
        Ok(Configured { restart })
    }

    /// Begins a capture. An error is a sentence for who asked.
    pub(crate) fn capture_start(&mut self, order: &CaptureOrder) -> Result<u64, String> {
        let Some(router) = &mut self.router else { return Err("nothing is configured yet".into()) };
        router.capture_start(clock::now(), order, &self.host)
    }

    pub(crate) fn capture_stop(&mut self, id: u64) {
        if let Some(router) = &mut self.router {
            router.capture_stop(id, &self.host);
        }
    }

    /// Takes in what the kernel has said since the last time.
    pub(crate) fn hear_kernel(&mut self) -> Result<(), NetlinkError> {
        let mut events = Vec::new();
        let poll = self.netlink.read_events(&mut events)?;
        if poll == Poll::Lost {
            tracing::warn!("the kernel dropped rtnetlink messages; reading everything anew");
            self.catch_up();
            return Ok(());
        }
        let mut host_changed = false;
        for event in events {
            match event {
                Event::Link(link) => host_changed |= self.host.link_is(link),
                Event::LinkGone { ifindex } => {
                    // Told at once: a device of the same name may be among the next events.
                    if self.host.link_gone(ifindex) {
                        self.follow_host();
                    }
                }
                Event::Address(address) => host_changed |= self.host.address_is(address),
                Event::AddressGone(address) => host_changed |= self.host.address_gone(&address),
                Event::Neighbor(neighbor) => {
                    // Its port may be that of a link told just before.
                    if std::mem::take(&mut host_changed) {
                        self.follow_host();
                    }
                    self.neighbor_is(neighbor);
                }
            }
        }
        if host_changed {
            self.follow_host();
        }
        self.follow_up();
        Ok(())
    }

    /// Reads everything anew, or lets the next tick try again.
    fn catch_up(&mut self) {
        self.outdated = false;
        if let Err(error) = self.read_host_anew() {
            tracing::error!(%error, "the host is not known as it is; trying again");
            self.outdated = true;
        }
    }

    fn read_host_anew(&mut self) -> Result<(), NetlinkError> {
        let dump = self.netlink.dump()?;
        self.host.replace(dump.links, dump.addresses);
        self.follow_host();
        self.know_neighbors(&dump.neighbors);
        self.follow_up();
        Ok(())
    }

    fn follow_host(&mut self) {
        if let Some(router) = &mut self.router {
            let neighborhood = router.follow_host(clock::now(), &self.host);
            self.meet(neighborhood);
        }
    }

    /// Reads the neighbours of ports that have a device they had not before.
    fn meet(&mut self, neighborhood: Neighborhood) {
        if neighborhood == Neighborhood::New {
            match self.netlink.dump() {
                Ok(dump) => self.know_neighbors(&dump.neighbors),
                Err(error) => tracing::error!(%error, "the kernel's neighbours are not known"),
            }
        }
        self.follow_up();
    }

    fn know_neighbors(&mut self, neighbors: &[Neighbor]) {
        for neighbor in neighbors {
            self.neighbor_is(*neighbor);
        }
        if let Some(router) = &mut self.router {
            let key =
                |neighbor: &Neighbor| Some((router.ports.by_ifindex(neighbor.ifindex)?, neighbor.address));
            let mentioned: BTreeSet<_> = neighbors.iter().filter_map(key).collect();
            router.tables.neighbors_dumped(clock::now(), &mentioned);
        }
    }

    fn neighbor_is(&mut self, neighbor: Neighbor) {
        if let Some(router) = &mut self.router
            && let Some(port) = router.ports.by_ifindex(neighbor.ifindex)
        {
            router.tables.neighbor_is(clock::now(), (port, neighbor.address), neighbor.nud);
        }
    }

    /// Takes what workers ask for.
    pub(crate) fn hear_workers(&mut self) {
        while let Some(event) = self.requests.next_event() {
            if let Some(router) = &mut self.router {
                router.nat.log.note(clock::now(), event);
            }
        }
        let lost = self.requests.take_lost_events();
        if let Some(router) = &mut self.router {
            router.nat.log.lost(clock::now(), lost);
        }
        while let Some(key) = self.requests.next() {
            if let Some(router) = &mut self.router {
                router.tables.neighbor_demand(clock::now(), key);
            }
        }
        self.follow_up();
    }

    /// Questions about addresses that are NAT's alone.
    pub(crate) fn arp_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.router.iter().flat_map(|router| router.nat.arp.fds())
    }

    pub(crate) fn hear_arp(&mut self) {
        if let Some(router) = &mut self.router {
            router.nat.arp.hear();
        }
    }

    /// Leaves the sessions of NAT for the next process. Nothing is forwarded from here on.
    pub(crate) fn save_sessions(&mut self) {
        if let Some(router) = &mut self.router {
            router.save_sessions();
        }
    }

    /// Once a second, and when a port is to be tried again.
    pub(crate) fn tick(&mut self) {
        let now = clock::now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        if self.outdated {
            self.catch_up();
        }
        let Some(router) = &mut self.router else { return };
        router.tables.tick(now);
        router.capture_expire(now, &self.host);
        router.nat.log.turn(now);
        router.nat.arp.tick(now);
        // Frames of sockets that were closed, as the kernel finishes with them.
        if router.umem.census().quarantined != 0 {
            router.umem.reclaim();
        }
        if router.retry_at().is_some_and(|at| at <= now) {
            self.follow_host();
        }
        self.follow_up();
    }

    /// How long nothing has to be done unless something happens; for ever before the first configuration.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (self.router.is_some() || self.outdated).then(|| self.next_tick - clock::now())
    }

    /// Passes on what changes of the tables ask for: probes to the kernel, a second try of held packets to workers.
    pub(crate) fn follow_up(&mut self) {
        let Some(router) = &mut self.router else { return };
        for (port, address) in router.tables.take_asks() {
            if let Some(ifindex) = router.ports.ifindex(port) {
                self.netlink.probe(ifindex, address);
            }
        }
        if router.tables.take_settled() {
            router.crew.neighbors_changed();
        }
    }
}
