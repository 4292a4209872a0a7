//! The task: what wakes it, and what it does then.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_net::{Instant, Prefix};
use millrace_proto::RouteChange;
use millrace_rib::{Protocol, Rib, Settings};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::candidates::{Attached, Changed, Statics, candidate};
use super::handle::{
    ApplyError, ApplyReport, Command, Handle, InterfaceStatus, ProtocolStatus, RibStatus, Status,
};
use super::mirror::Mirror;
use super::session::{BATCH, Session};
use super::view::Views;
use super::watched::Watched;
use crate::clock::Clock;
use crate::config::{Config, Interface, InterfaceAddress};
use crate::fib_client::{self, Event};
use crate::kernel_mirror::KernelMirror;
use crate::links::{self, LinkTable};
use crate::protocols::host::Change;
use crate::protocols::{Protocols, ROWS, RunId};

/// How often refused operations and audits are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two tries of what stays refused, at most.
const LONGEST_PAUSE: u32 = 50;

/// The task before it runs.
#[derive(Debug)]
pub struct Runtime {
    run_dir: PathBuf,
    config: Arc<Config>,
    publish: watch::Sender<Arc<Config>>,
    commands: mpsc::Receiver<Command>,
    links: watch::Receiver<Arc<LinkTable>>,
    links_alive: bool,
    table: Arc<LinkTable>,
    rib: Rib,
    attached: Attached,
    statics: Statics,
    protocols: Protocols,
    watched: Watched,
    session: Session,
    mirror: Mirror,
    events: mpsc::UnboundedReceiver<Event>,
    events_sender: mpsc::UnboundedSender<Event>,
    /// A configuration the dataplane is being asked about.
    applying: Option<Applying>,
    /// Why a configured address is not on its interface.
    address_problems: BTreeMap<(String, InterfaceAddress), String>,
    address_results: mpsc::UnboundedReceiver<AddressResult>,
    address_sender: mpsc::UnboundedSender<AddressResult>,
    clock: Clock,
    retry: Retry,
    /// Whether what an earlier process left in dataplane and kernel may go: protocols have had their time.
    sweeps: bool,
}

#[derive(Debug)]
struct Applying {
    config: Arc<Config>,
    reply: oneshot::Sender<Result<ApplyReport, ApplyError>>,
    verdict: oneshot::Receiver<Result<Vec<String>, String>>,
}

#[derive(Debug)]
struct AddressResult {
    interface: String,
    address: InterfaceAddress,
    problem: Option<String>,
}

/// When what was refused is tried again: soon at first, less often while nothing comes of it.
#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    pause: u32,
    left: u32,
    refusals: usize,
}

impl Retry {
    fn is_due(&mut self, refusals: usize) -> bool {
        if refusals != self.refusals {
            *self = Self { refusals, ..Self::default() };
        }
        if self.left != 0 {
            self.left -= 1;
            return false;
        }
        self.pause = (2 * self.pause).clamp(1, LONGEST_PAUSE);
        self.left = self.pause;
        true
    }
}

/// Starts following the kernel and the dataplane of `run_dir`. The task begins with [`Runtime::run`].
pub async fn start(run_dir: &Path, config: Config) -> std::io::Result<(Handle, Runtime)> {
    let links = links::follow().await?;
    let kernel = match KernelMirror::start().await {
        Ok(kernel) => Some(kernel),
        Err(error) => {
            tracing::error!(%error, "routes are not mirrored into the kernel");
            None
        }
    };
    Ok(Runtime::new(run_dir, config, links, kernel))
}

impl Runtime {
    /// With interfaces from `links`, and a kernel to mirror to or none: what [`start`] finds, or a test plays.
    pub fn new(
        run_dir: &Path,
        config: Config,
        links: watch::Receiver<Arc<LinkTable>>,
        kernel: Option<KernelMirror>,
    ) -> (Handle, Self) {
        let config = Arc::new(config);
        let (handle, commands, publish) = Handle::new(Arc::clone(&config));
        let (events_sender, events) = mpsc::unbounded_channel();
        let (address_sender, address_results) = mpsc::unbounded_channel();
        let mirror = Mirror::new(kernel, config.kernel.mirror);
        let table = Arc::clone(&links.borrow());
        let clock = Clock::start();
        let watched = Watched::start();
        let runtime = Self {
            run_dir: run_dir.to_owned(),
            session: Session::new(config.dataplane_config()),
            config,
            publish,
            commands,
            table,
            links,
            links_alive: true,
            rib: Rib::new(Settings::default()),
            attached: Attached::default(),
            statics: Statics::default(),
            protocols: Protocols::new(clock, handle.commands(), watched.bfd().clone()),
            watched,
            mirror,
            events,
            events_sender,
            applying: None,
            address_problems: BTreeMap::new(),
            address_results,
            address_sender,
            clock,
            retry: Retry::default(),
            sweeps: false,
        };
        (handle, runtime)
    }

    /// Runs until it is told to stop, or every handle is gone.
    pub async fn run(mut self) {
        self.follow_links();
        self.protocols.configure(&self.config, &self.table, &mut self.rib);
        fib_client::connect(&self.run_dir, Duration::ZERO, self.events_sender.clone());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let busy = self.has_work();
            tokio::select! {
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => {
                        self.protocols.stop().await;
                        return self.watched.bfd().stop().await;
                    }
                    Some(command) => self.serve(command),
                },
                change = self.watched.changed() => self.watched.follow(&mut self.rib, &change),
                Some(event) = self.events.recv() => self.take(event),
                changed = self.links.changed(), if self.links_alive => match changed {
                    Ok(()) => self.follow_links(),
                    Err(_) => {
                        self.links_alive = false;
                        tracing::error!("interfaces are not followed any more");
                    }
                },
                Some(result) = self.address_results.recv() => self.note_address(result),
                verdict = verdict(&mut self.applying) => self.finish_apply(verdict),
                _ = tick.tick() => self.look_after(),
                () = tokio::task::yield_now(), if busy => {}
            }
            self.work();
        }
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn has_work(&self) -> bool {
        self.session.wants_resync() || !self.rib.is_idle() && self.session.takes_deltas()
    }

    /// One batch of whatever there is to tell.
    fn work(&mut self) {
        if self.session.wants_resync() {
            self.session.resync(&self.rib);
        } else if !self.rib.is_idle() && self.session.takes_deltas() {
            let (mut deltas, mut settled) = (Vec::new(), Vec::<Prefix>::new());
            self.rib.drain_noting(BATCH, &mut deltas, |prefix| settled.push(prefix));
            self.session.tell(&deltas);
            self.mirror.follow(&self.rib, &deltas);
            self.protocols.follow_routes(&self.rib, &settled);
        }
        self.protocols.acknowledge(self.rib.is_idle().then(|| self.session.generation()), |generation| {
            self.session.has(generation)
        });
        if self.rib.is_idle() && (self.sweeps || self.protocols.grace() <= self.now().since(Instant::ZERO)) {
            self.sweeps = true;
            self.session.sweep();
            self.mirror.settled();
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected(connection) => self.session.connected(connection),
            Event::Unreachable(reason) => self.session.unreachable(reason),
            // One that hangs up on the greeting, such as another build of the dataplane, will do so again.
            Event::Lost(reason) if self.session.is_greeting() => self.lose(reason, fib_client::LONGEST_WAIT),
            Event::Lost(reason) => self.lose(reason, Duration::ZERO),
            Event::Reply(reply) => {
                let now = self.now();
                if let Err(problem) = self.session.reply(&self.rib, now, reply) {
                    // What it says makes no sense, and will not at once.
                    self.lose(problem, fib_client::LONGEST_WAIT);
                }
            }
        }
    }

    fn lose(&mut self, problem: String, pause: Duration) {
        tracing::warn!(%problem, "the dataplane is away; it forwards with what it has");
        self.session.lost(problem);
        // What is still under way on the old connection is nobody's.
        (self.events_sender, self.events) = mpsc::unbounded_channel();
        fib_client::connect(&self.run_dir, pause, self.events_sender.clone());
    }

    fn look_after(&mut self) {
        let refusals = self.session.refusals();
        if refusals != 0 && self.retry.is_due(refusals) {
            self.session.retry(&self.rib);
        }
        if self.rib.is_idle() {
            let now = self.now();
            self.session.audit(now);
        }
    }

    fn follow_links(&mut self) {
        self.table = Arc::clone(&self.links.borrow_and_update());
        let now = self.now();
        self.attached.update(&mut self.rib, &self.config, &self.table, now);
        self.update_statics();
        self.add_addresses();
        self.protocols.follow_links(&self.table);
        self.retry = Retry::default();
    }

    fn update_statics(&mut self) -> Changed {
        let now = self.now();
        self.watched.update(&mut self.rib, &self.config, &self.table);
        self.statics.update(&mut self.rib, &self.config, &self.table, self.watched.next_hops(), now)
    }

    /// Adds the configured addresses that interfaces do not have.
    fn add_addresses(&mut self) {
        for interface in &self.config.interfaces {
            let Some(link) = self.table.by_name(&interface.name) else { continue };
            for &address in &interface.addresses {
                let is =
                    |own: &links::LinkAddress| own.address == address.addr && own.prefix_len == address.len;
                if link.addresses.iter().any(is) {
                    self.address_problems.remove(&(interface.name.clone(), address));
                    continue;
                }
                let (index, name, results) =
                    (link.index, interface.name.clone(), self.address_sender.clone());
                tokio::spawn(async move {
                    let result = links::add_address(index, address.addr, address.len).await;
                    let problem = result.err().map(|error| format!("{address} cannot be added: {error}"));
                    // The runtime may have ended meanwhile.
                    let _ = results.send(AddressResult { interface: name, address, problem });
                });
            }
        }
    }

    fn note_address(&mut self, result: AddressResult) {
        let key = (result.interface, result.address);
        match result.problem {
            Some(problem) => {
                tracing::error!(interface = key.0, %problem, "configured address");
                self.address_problems.insert(key, problem);
            }
            None => {
                self.address_problems.remove(&key);
            }
        }
    }

    fn serve(&mut self, command: Command) {
        // Whoever asked may have stopped waiting: answers then go nowhere.
        match command {
            Command::Routes { filter, after, limit, reply } => {
                let _ = reply.send(self.views().routes(filter, after, limit));
            }
            Command::Nexthops { reply } => {
                let _ = reply.send(self.views().groups());
            }
            Command::Query { query, reply } => self.session.query(query, reply),
            Command::Bfd { reply } => self.watched.show(reply),
            Command::Apply { config, reply } => self.begin_apply(*config, reply),
            Command::Status { reply } => {
                let _ = reply.send(self.status());
            }
            Command::Protocols { reply } => {
                let _ = reply.send(self.protocols.reach());
            }
            Command::Announce { run, changes, mark } => {
                self.take_routes(run, changes);
                if let Some(mark) = mark {
                    self.protocols.mark(run, mark);
                }
            }
            Command::Track { run, gateways } => self.protocols.track(run, &gateways, &self.rib),
            Command::ProtocolDied { run } => {
                self.protocols.died(run, &self.config, &self.table, &mut self.rib);
            }
            Command::Stop => {}
        }
    }

    /// Routes of a protocol. What an ended one still said is nobody's.
    fn take_routes(&mut self, run: RunId, changes: Vec<Change>) {
        if !self.protocols.is_running(run) {
            return;
        }
        let now = self.now();
        for Change { protocol, change } in changes {
            let prefix = change.prefix();
            // A prefix has one route of a protocol's, whichever kind it is (BGP has two).
            let row = ROWS.iter().find(|row| row.routes.contains(&protocol));
            for &other in row.map_or(&[][..], |row| row.routes).iter().filter(|&&other| other != protocol) {
                self.rib.remove(prefix, other, 0);
            }
            match change {
                RouteChange::Upsert(route) => {
                    let distance = route.distance.unwrap_or_else(|| self.config.distance(protocol));
                    self.rib.insert(prefix, &candidate(protocol, distance, &route), now);
                }
                RouteChange::Remove(prefix) => self.rib.remove(prefix, protocol, 0),
            }
        }
    }

    fn begin_apply(&mut self, config: Config, reply: oneshot::Sender<Result<ApplyReport, ApplyError>>) {
        if self.applying.is_some() {
            let _ = reply.send(Err(ApplyError::Busy));
            return;
        }
        if config == *self.config {
            let report = ApplyReport { dataplane: self.session.is_live(), ..ApplyReport::default() };
            let _ = reply.send(Ok(report));
            return;
        }
        let (answer, verdict) = oneshot::channel();
        self.session.configure(config.dataplane_config(), answer);
        self.applying = Some(Applying { config: Arc::new(config), reply, verdict });
    }

    /// The dataplane has taken or refused the configuration, or went away: then it gets it when it is back.
    fn finish_apply(&mut self, verdict: Option<Result<Vec<String>, String>>) {
        let Some(Applying { config, reply, .. }) = self.applying.take() else { return };
        let restart = match verdict {
            Some(Err(reason)) => {
                self.session.restore(self.config.dataplane_config());
                let _ = reply.send(Err(ApplyError::Dataplane(reason)));
                return;
            }
            Some(Ok(restart)) => restart,
            None => Vec::new(),
        };
        let before = std::mem::replace(&mut self.config, config);
        let now = self.now();
        self.attached.update(&mut self.rib, &self.config, &self.table, now);
        let changed = self.update_statics();
        let is_configured = |interface: &str| self.config.interfaces.iter().any(|i| i.name == interface);
        self.address_problems.retain(|(interface, _), _| is_configured(interface));
        self.add_addresses();
        self.mirror.set_mode(&self.rib, self.config.kernel.mirror);
        for protocol in Protocol::ALL {
            let (old, new) = (before.distance(protocol), self.config.distance(protocol));
            self.rib.change_distance(protocol, old, new, now);
        }
        self.protocols.configure(&self.config, &self.table, &mut self.rib);
        self.publish.send_replace(Arc::clone(&self.config));
        let _ = reply.send(Ok(ApplyReport {
            changed: true,
            restart,
            dataplane: self.session.is_up(),
            routes_added: changed.added,
            routes_removed: changed.removed,
        }));
    }

    fn views(&self) -> Views<'_> {
        Views {
            rib: &self.rib,
            session: &self.session,
            links: &self.table,
            now: self.now(),
            under_way: self.session.under_way(),
        }
    }

    fn status(&self) -> Status {
        let candidates = self.rib.candidates();
        let protocols = Protocol::ALL
            .into_iter()
            .map(|protocol| ProtocolStatus { protocol, candidates: candidates[protocol.index()] as u64 });
        let (nexthops, nexthops_resolved) = self.rib.gateways();
        Status {
            dataplane: self.session.dataplane_status(),
            rib: RibStatus {
                prefixes: self.rib.len() as u64,
                protocols: protocols.collect(),
                nexthops: nexthops as u64,
                nexthops_resolved: nexthops_resolved as u64,
                loading: !self.rib.is_idle(),
            },
            fib: self.session.fib_status(&self.rib),
            audit: self.session.audit.status(self.now()),
            mirror: self.mirror.status(),
            interfaces: self
                .config
                .interfaces
                .iter()
                .map(|interface| self.interface_status(interface))
                .collect(),
        }
    }

    fn interface_status(&self, interface: &Interface) -> InterfaceStatus {
        let link = self.table.by_name(&interface.name);
        let addresses: Vec<(Ipv4Addr, u8)> =
            link.iter().flat_map(|link| &link.addresses).map(|own| (own.address, own.prefix_len)).collect();
        let problems = self.address_problems.iter().filter(|((name, _), _)| *name == interface.name);
        let problems: Vec<&str> = problems.map(|(_, problem)| problem.as_str()).collect();
        InterfaceStatus {
            name: interface.name.clone(),
            ifindex: link.map(|link| link.index),
            up: link.is_some_and(|link| link.up),
            addresses,
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        }
    }
}

/// What the dataplane makes of the configuration being applied; never, while none is.
async fn verdict(applying: &mut Option<Applying>) -> Option<Result<Vec<String>, String>> {
    match applying {
        Some(applying) => (&mut applying.verdict).await.ok(),
        None => std::future::pending().await,
    }
}
