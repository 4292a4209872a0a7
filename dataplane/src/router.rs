//! What is in force after the first `Configure`: tables, ports in service, workers. The clerk is its only user.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_engine::{self as engine, Ports, Settings};
use millrace_fib::{self as fib, Geometry, Memory, Quiescence, Vlan, Writer};
use millrace_net::{Instant, Mac, PortId};
use millrace_xsk::{
    Bind, BoundMode, BusyPoll, Cache, Observer, OpenFailure, RingSizes, Socket, SocketConfig, Umem,
    UmemConfig,
};

use crate::captures::Captures;
use crate::control_link::{
    CaptureOrder, DataplaneConfig, FlowHash, Forwarding, IcmpSource, InterfaceConfig, Mode, MssClamp,
    NatRole, OnFailure, Queues, Urpf,
};
use crate::crew::{self, Crew, CrewError, Style};
use crate::explain::{self, Answer, Question};
use crate::filters::{FilterError, Filters};
use crate::host::Host;
use crate::nat;
use crate::netlink::Link;
use crate::ports::{self, PortTable, TooManyPorts};
use crate::sysfs::{self, Switch};
use crate::tables::Tables;
use crate::worker::{Requests, Snapshot};
use crate::xdp::{self, Attachment, Xdp};

/// A port that could not be taken into service is tried again after this time, and whenever its device changes.
const RETRY: Duration = Duration::from_secs(5);

/// Entries of a socket's rings.
const MIN_RING: u32 = 64;
const MAX_RING: u32 = 2048;

/// Why a configuration is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Ports(#[from] TooManyPorts),
    #[error(transparent)]
    Crew(#[from] CrewError),
    #[error(transparent)]
    Umem(#[from] millrace_xsk::UmemError),
    #[error(transparent)]
    Xdp(#[from] xdp::XdpError),
    #[error("the forwarding table has no memory: {0}")]
    Table(#[from] fib::LayoutError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("interface {name}: {problem}")]
    Interface { name: String, problem: String },
}

/// A port in service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) queues: Vec<Queue>,
    pub(crate) attachment: Attachment,
    /// The device's switches as they were found.
    found: Vec<(Switch, bool)>,
}

/// One of its sockets, which a worker has.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) queue: u32,
    pub(crate) worker: usize,
    pub(crate) mode: BoundMode,
    pub(crate) observer: Observer,
}

impl Queue {
    /// Frames that were to be received through this socket and were not.
    pub(crate) fn lost(&self) -> LostFrames {
        let Some(kernel) = self.observer.statistics() else { return LostFrames::default() };
        // In copy mode the kernel counts a frame without a buffer twice.
        let counted_above = if self.mode == BoundMode::Copy { kernel.rx_fill_ring_empty } else { 0 };
        LostFrames {
            ring_full: kernel.rx_ring_full,
            no_buffer: kernel.rx_fill_ring_empty,
            refused: kernel.rx_dropped.saturating_sub(counted_above),
            too_large: self.observer.gauges().rx_fragments(),
        }
    }
}

/// Frames that were to be received through sockets and were not, by why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LostFrames {
    pub(crate) ring_full: u64,
    pub(crate) no_buffer: u64,
    pub(crate) refused: u64,
    pub(crate) too_large: u64,
}

impl std::ops::Add for LostFrames {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            ring_full: self.ring_full + other.ring_full,
            no_buffer: self.no_buffer + other.no_buffer,
            refused: self.refused + other.refused,
            too_large: self.too_large + other.too_large,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) config: DataplaneConfig,
    pub(crate) tables: Tables,
    pub(crate) ports: PortTable<Service>,
    pub(crate) crew: Crew,
    pub(crate) umem: Umem,
    pub(crate) xdp: Xdp,
    /// What the kernel counted on sockets that are closed.
    pub(crate) closed: LostFrames,
    pub(crate) filters: Filters,
    pub(crate) captures: Captures,
    pub(crate) nat: nat::Service,
    /// Local addresses, with their slot where NAT shares them.
    locals: BTreeMap<Ipv4Addr, Option<u8>>,
    /// What workers hash flows with.
    seed: u64,
    published: Snapshot,
    retry_at: Instant,
}

/// What a router is given by the process.
pub(crate) struct Given<'a> {
    pub(crate) requests: Arc<Requests>,
    /// Of hashes that outsiders must not foresee.
    pub(crate) seed: u64,
    pub(crate) run_dir: &'a Path,
}

/// The host's addresses as NAT asks for them.
struct Outside<'a> {
    ports: &'a PortTable<Service>,
    host: &'a Host,
}

impl nat::Addresses for Outside<'_> {
    fn of_interface(&self, name: &str) -> Option<Ipv4Addr> {
        let (_, port) = self.ports.iter().find(|(_, port)| port.config.name == name)?;
        let first = self.host.addresses(port.device.as_ref()?.ifindex).into_iter().next();
        first.map(|(address, _)| address)
    }

    fn is_local(&self, address: Ipv4Addr) -> bool {
        self.host.locals().contains(&address)
    }
}

/// Whether the kernel's neighbours have to be read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Neighborhood {
    Known,
    /// A port has another device: what the kernel said of it before was not listened to.
    New,
}

/// The UMEM is for the life of the process: an attempt that failed leaves it to the next.
pub(crate) type SpareUmem = Option<Umem>;

impl Router {
    /// Starts workers and takes into service every configured interface that is there.
    pub(crate) fn start(
        now: Instant,
        config: DataplaneConfig,
        host: &Host,
        spare: &mut SpareUmem,
        given: Given<'_>,
    ) -> Result<Self, StartError> {
        let Given { requests, seed, run_dir } = given;
        let cpus = crew::cpus(&config.workers, &crew::available_cpus())?;
        let mut ports = PortTable::default();
        ports.configure(&config.interfaces)?;
        let filters = Filters::default().next(&config, cpus.len())?;
        let geometry = Geometry::DEFAULT;
        let xdp = Xdp::load(geometry)?;
        let memory = Memory::new(geometry, xdp.fib_slices())?;
        let umem = match spare.take_if(|umem| umem.frames() == config.frames) {
            Some(umem) => umem,
            None => Umem::new(UmemConfig { frames: config.frames })?,
        };
        *spare = Some(umem);

        let quiescence = Quiescence::new(cpus.len());
        let writer = Writer::new(memory, quiescence.clone());
        let crew = {
            let style = Style { scheduling: config.scheduling, busy_poll: config.busy_poll };
            let nat_ports = xdp.nat_ports();
            let shared =
                crew::Shared { umem: &umem, fib: writer.reader(), quiescence: &quiescence, nat_ports };
            Crew::start(&cpus, shared, requests, seed, style)?
        };
        let mut nat = nat::Service::new(crew.len(), seed, xdp.nat_ports(), nat::state_file(run_dir));
        nat.configure(config.nat.clone());
        let mut router = Self {
            config,
            nat,
            tables: Tables::new(writer),
            ports,
            crew,
            umem,
            xdp,
            closed: LostFrames::default(),
            filters,
            captures: Captures::default(),
            locals: BTreeMap::new(),
            seed,
            published: Snapshot::default(),
            retry_at: now,
        };
        let _ = router.follow_host(now, host);
        if router.config.mode == Mode::ZeroCopy
            && let Some((_, port)) =
                router.ports.iter().find(|(_, port)| port.device.is_some() && port.service.is_none())
        {
            let problem = port.problem.clone().unwrap_or_default();
            return Err(StartError::Interface { name: port.config.name.clone(), problem });
        }
        tracing::info!(
            workers = router.crew.len(),
            cpus = ?cpus,
            frames = router.umem.frames(),
            interfaces = router.config.interfaces.len(),
            "forwarding is set up"
        );
        Ok(router)
    }

    /// Takes over what differs, and says which settings that differ take a restart.
    pub(crate) fn configure(
        &mut self,
        now: Instant,
        config: DataplaneConfig,
        host: &Host,
    ) -> Result<(Vec<String>, Neighborhood), StartError> {
        ports::check_number(&config.interfaces)?;
        self.filters = self.filters.next(&config, self.crew.len())?;
        let restart = fixed_differences(&self.config, &config);
        let removed = self.ports.not_in(&config.interfaces);
        for id in removed {
            self.withdraw(id, host);
            self.tables.port_removed(now, id);
            tracing::info!(interface = self.ports.name(id), "interface is no longer configured");
            self.ports.remove(id);
        }
        let before: Vec<_> = self.config.interfaces.clone();
        let diff = self.ports.configure(&config.interfaces)?;
        for id in diff.changed {
            let name = self.ports.name(id);
            let queues_before =
                before.iter().find(|interface| interface.name == name).map(|interface| &interface.queues);
            let Some(port) = self.ports.get(id) else { continue };
            if queues_before != Some(&port.config.queues) {
                self.withdraw(id, host);
            }
            self.apply_on_failure(id);
        }
        self.config = DataplaneConfig {
            interfaces: config.interfaces,
            forwarding: config.forwarding,
            acls: config.acls,
            workers: self.config.workers.clone(),
            mode: self.config.mode,
            frames: self.config.frames,
            express: self.config.express,
            busy_poll: self.config.busy_poll,
            scheduling: self.config.scheduling,
            stage_times: config.stage_times,
            nat: config.nat,
        };
        self.nat.configure(self.config.nat.clone());
        Ok((restart, self.follow_host(now, host)))
    }

    /// Brings ports in line with the devices and addresses of the host, and tells the workers and the XDP program.
    pub(crate) fn follow_host(&mut self, now: Instant, host: &Host) -> Neighborhood {
        let mut neighborhood = Neighborhood::Known;
        for id in self.ports.ids() {
            let Some(port) = self.ports.get(id) else { continue };
            let device = host.link(&port.config.name).cloned();
            let before = port.device.clone();
            let changed = device != before;
            let other = self.ports.set_device(id, device.clone());
            if other {
                neighborhood = Neighborhood::New;
                self.withdraw(id, host);
                if let Some(before) = &before {
                    tracing::info!(interface = before.name, ifindex = before.ifindex, "device is gone");
                    self.tables.port_device_gone(now, id);
                }
            }
            let Some(device) = device else { continue };
            if other && let Some(port) = self.ports.get_mut(id) {
                let driver = sysfs::driver(&device);
                port.partial_checksums =
                    ports::has_partial_checksums(device.kind.as_deref(), driver.as_deref());
            }
            if changed && let Some(mac) = device.mac {
                self.tables.port_is(id, fib::Link { mac, mtu: mtu(&device), vlan: Vlan::Untagged });
            }
            if (changed || self.retry_at <= now)
                && self.ports.get(id).is_some_and(|port| port.service.is_none())
            {
                self.take(id, &device);
            }
        }
        if self.retry_at <= now {
            self.retry_at = now + RETRY;
        }
        self.nat.follow(&Outside { ports: &self.ports, host });
        self.follow_locals(host);
        self.publish(host);
        self.nat.follow_links(now, &self.outside_links());
        neighborhood
    }

    /// When a port is to be tried again, if one waits.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        let waits = self.ports.iter().any(|(_, port)| port.device.is_some() && port.service.is_none());
        waits.then_some(self.retry_at)
    }

    /// Addresses of a port's device, primary ones first.
    pub(crate) fn addresses(&self, id: PortId) -> Vec<(Ipv4Addr, u8)> {
        self.published.ports.get(id).map_or_else(Vec::new, |port| port.addresses.clone())
    }

    /// Begins a capture. An error is a sentence for who asked.
    pub(crate) fn capture_start(
        &mut self,
        now: Instant,
        order: &CaptureOrder,
        host: &Host,
    ) -> Result<u64, String> {
        let frames = self.config.frames;
        let port = match &order.interface {
            None => None,
            Some(name) => Some(
                self.ports.iter().find(|(_, port)| port.config.name == *name).map(|(id, _)| id).ok_or_else(
                    || {
                        format!(
                            "{name} is not one of the router's interfaces; see `millrace show interfaces`"
                        )
                    },
                )?,
            ),
        };
        let id = self.captures.start(now, order, port, frames)?;
        self.publish(host);
        Ok(id)
    }

    pub(crate) fn capture_stop(&mut self, id: u64, host: &Host) {
        if self.captures.stop(id) {
            self.publish(host);
        }
    }

    /// Ends a capture that nobody asks about.
    pub(crate) fn capture_expire(&mut self, now: Instant, host: &Host) {
        if self.captures.expire(now) {
            self.publish(host);
        }
    }

    /// What never reached a worker, since the start.
    pub(crate) fn lost(&self) -> LostFrames {
        let services = self.ports.iter().filter_map(|(_, port)| port.service.as_ref());
        services.flat_map(|service| &service.queues).fold(self.closed, |sum, queue| sum + queue.lost())
    }

    /// Whether packets to an address are the kernel's.
    pub(crate) fn is_local(&self, address: Ipv4Addr) -> bool {
        self.locals.contains_key(&address)
    }

    /// What would become of a packet, by the tables in force.
    pub(crate) fn explain(&self, now: Instant, question: &Question) -> Answer {
        let Snapshot { ports, settings, .. } = &self.published;
        explain::explain(self.tables.reader(), now, ports, *settings, self.seed, question)
    }

    fn follow_locals(&mut self, host: &Host) {
        let locals: BTreeMap<_, _> =
            host.locals().into_iter().map(|address| (address, self.nat.slot(address))).collect();
        for (address, slot) in locals.iter().filter(|(address, slot)| self.locals.get(address) != Some(slot))
        {
            if let Err(error) = self.xdp.local_insert(*address, *slot) {
                tracing::error!(%address, %error, "packets for a local address do not reach the kernel");
            }
        }
        for address in self.locals.keys().filter(|address| !locals.contains_key(address)) {
            if let Err(error) = self.xdp.local_remove(*address) {
                tracing::error!(%address, %error, "packets for an address that is no longer ours reach the kernel");
            }
        }
        self.locals = locals;
    }

    /// Gives workers the ports as they are, if they differ from what workers have.
    fn publish(&mut self, host: &Host) {
        let mut ports = Ports::new();
        let mut senders = vec![None; PortId::MAX];
        for (id, port) in self.ports.iter() {
            let Some((device, mac)) = port.device.as_ref().and_then(|device| Some((device, device.mac?)))
            else {
                continue;
            };
            let mut state = engine::Port::new(mac, mtu(device));
            state.up = device.admin_up && device.carrier && port.service.is_some();
            state.addresses = host.addresses(device.ifindex);
            state.partial_checksums = port.partial_checksums;
            state.urpf = match port.config.urpf {
                Urpf::Off => engine::Urpf::Off,
                Urpf::Loose => engine::Urpf::Loose,
                Urpf::Strict => engine::Urpf::Strict,
            };
            state.directed_broadcast = port.config.switches.directed_broadcast;
            state.redirects = port.config.switches.redirects;
            [state.guard_in, state.guard_out] = self.filters.guards(&port.config);
            state.nat = match port.config.nat {
                Some(NatRole::Inside) => engine::NatSide::Inside,
                Some(NatRole::Outside) => engine::NatSide::Outside,
                None => engine::NatSide::Neither,
            };
            state.mss_clamp = match port.config.mss_clamp {
                Some(MssClamp::Mtu) => engine::MssClamp::Mtu,
                Some(MssClamp::Bytes(bytes)) => engine::MssClamp::To(bytes),
                None => engine::MssClamp::Off,
            };
            // A port's number is below the limit, by the table's making.
            let _ = ports.insert(id, state);
            senders[id.index()] =
                port.service.as_ref().and_then(|service| service.queues.first()).map(|queue| queue.worker);
        }
        let settings = settings(&self.config.forwarding);
        let snapshot = Snapshot {
            ports,
            settings,
            senders,
            stage_times: self.config.stage_times,
            tap: self.captures.tapped(),
            nat: self.nat.setup(),
        };
        if snapshot != self.published {
            self.published = snapshot.clone();
            self.crew.publish(snapshot);
        }
    }

    /// Takes a port into service: the program, then a socket on each queue.
    fn take(&mut self, id: PortId, device: &Link) {
        let Some(port) = self.ports.get(id) else { return };
        let config = port.config.clone();
        match self.open(id, &config, device) {
            Ok(service) => {
                let modes: Vec<&str> = service.queues.iter().map(|queue| queue.mode.name()).collect();
                tracing::info!(
                    interface = config.name,
                    ifindex = device.ifindex,
                    port = id.0,
                    xdp = service.attachment.mode_name(),
                    ?modes,
                    "interface is in service"
                );
                if let Some(port) = self.ports.get_mut(id) {
                    port.service = Some(service);
                    port.problem = None;
                }
                self.apply_on_failure(id);
            }
            Err(problem) => {
                for socket in self.crew.release(id) {
                    drop(socket);
                }
                let Some(port) = self.ports.get_mut(id) else { return };
                if port.problem.as_ref() != Some(&problem) {
                    tracing::error!(interface = config.name, problem, "interface is not in service");
                    port.problem = Some(problem);
                }
            }
        }
    }

    fn open(&mut self, id: PortId, config: &InterfaceConfig, device: &Link) -> Result<Service, String> {
        if !device.ethernet || device.mac.is_none_or(|mac| mac == Mac::ZERO) {
            return Err("it is not an Ethernet device; only Ethernet can be routed here".into());
        }
        // The program first: whether another process has the interface shows at once here, and late with sockets.
        let generic = self.config.mode == Mode::Generic;
        let fail_open = config.on_failure == OnFailure::Kernel;
        let mut attachment =
            self.xdp.attach(id, device.ifindex, generic, fail_open).map_err(|error| error.to_string())?;
        let mut cache = Cache::new(&self.umem);
        let mut queues = Vec::new();
        for queue in queue_numbers(&config.queues, device) {
            let mut socket = match Socket::open(&self.umem, self.socket_config(device.ifindex, queue)) {
                Ok(socket) => socket,
                // rtnetlink tells how many queues a device could have, not how many it uses.
                Err(error)
                    if error.failure == OpenFailure::NoQueue && 0 < queue && config.queues == Queues::All =>
                {
                    break;
                }
                Err(error) => return Err(error.to_string()),
            };
            socket.refill(&mut cache);
            attachment.set_socket(queue, socket.as_fd()).map_err(|error| error.to_string())?;
            let worker = self.crew.worker_of(queue);
            queues.push(Queue { queue, worker, mode: socket.mode(), observer: socket.observer() });
            self.crew.serve(worker, id, socket);
        }
        let found = [Switch::Forwarding, Switch::ProxyArp].into_iter();
        let found = found.filter_map(|switch| Some((switch, switch.get(&config.name).ok()?))).collect();
        Ok(Service { queues, attachment, found })
    }

    fn socket_config(&self, ifindex: u32, queue: u32) -> SocketConfig {
        SocketConfig {
            bind: match self.config.mode {
                Mode::Auto => Bind::Auto,
                Mode::ZeroCopy => Bind::ZeroCopy,
                Mode::Copy | Mode::Generic => Bind::Copy,
            },
            rings: ring_sizes(self.config.frames, self.expected_sockets()),
            busy_poll: self.config.busy_poll.then(BusyPoll::default),
            ..SocketConfig::new(ifindex, queue)
        }
    }

    /// Sockets when every configured interface is in service; a device that is not there counts as one queue.
    fn expected_sockets(&self) -> usize {
        let of_port = |config: &InterfaceConfig, device: Option<&Link>| match device {
            Some(device) => queue_numbers(&config.queues, device).len(),
            None => 1,
        };
        self.ports.iter().map(|(_, port)| of_port(&port.config, port.device.as_ref())).sum()
    }

    /// Takes a port out of service: the program first, so that nothing more comes in; then workers send nothing more
    /// there; then the sockets, whose frames come back as they close.
    fn withdraw(&mut self, id: PortId, host: &Host) {
        let Some(port) = self.ports.get_mut(id) else { return };
        let Some(service) = port.service.take() else { return };
        let name = port.config.name.clone();
        self.closed = service.queues.iter().fold(self.closed, |sum, queue| sum + queue.lost());
        drop(service.attachment);
        self.publish(host);
        drop(self.crew.release(id));
        tracing::info!(interface = name, "interface is out of service");
        for (switch, found) in service.found {
            // Fails when the device is gone, and its switch with it.
            let _ = switch.set(&name, found);
        }
    }

    /// Has the kernel's own forwarding agree with what is to happen when this process is not there.
    fn apply_on_failure(&mut self, id: PortId) {
        let Some(port) = self.ports.get(id) else { return };
        let Some(service) = &port.service else { return };
        let open = port.config.on_failure == OnFailure::Kernel;
        if let Err(error) = service.attachment.set_fail_open(open) {
            tracing::error!(interface = port.config.name, %error, "on-failure is not in force in the XDP program");
        }
        if let Err(error) = Switch::Forwarding.set(&port.config.name, open) {
            tracing::error!(interface = port.config.name, %error, "on-failure is not in force in the kernel");
        }
        let proxy_arp = port.config.switches.proxy_arp;
        let found = service.found.contains(&(Switch::ProxyArp, true));
        if let Err(error) = Switch::ProxyArp.set(&port.config.name, proxy_arp || found) {
            tracing::error!(interface = port.config.name, %error, "proxy-arp is not in force in the kernel");
        }
    }

    /// Outside ports with a device, by its number.
    fn outside_links(&self) -> BTreeMap<u32, Mac> {
        let outside = self.ports.iter().filter(|(_, port)| port.config.nat == Some(NatRole::Outside));
        outside.filter_map(|(_, port)| port.device.as_ref().and_then(|d| Some((d.ifindex, d.mac?)))).collect()
    }

    /// Takes the programs off, so that nothing more comes in, and leaves NAT's sessions to the next process.
    pub(crate) fn save_sessions(&mut self) {
        if self.config.nat.is_none() {
            return;
        }
        self.detach();
        let dumps = (0..self.crew.len())
            .map(|worker| self.crew.visit_nat(worker, |now, nat| nat.map(|nat| nat.dump(now))).flatten());
        if let Some(dumps) = dumps.collect::<Option<Vec<_>>>() {
            self.nat.save(&dumps.concat());
        }
    }

    /// Detaches the programs, ends the workers and closes the sockets. The forwarding switches stay as on-failure has
    /// them: this process is not there from here on.
    pub(crate) fn shut_down(&mut self) {
        self.detach();
        self.crew.stop();
    }

    fn detach(&mut self) {
        for id in self.ports.ids() {
            if let Some(port) = self.ports.get_mut(id)
                && let Some(service) = port.service.take()
            {
                drop(service.attachment);
            }
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn settings(forwarding: &Forwarding) -> Settings {
    Settings {
        router_id: forwarding.router_id,
        icmp_source: match forwarding.icmp_source {
            IcmpSource::Outgoing => engine::IcmpSource::Outgoing,
            IcmpSource::Incoming => engine::IcmpSource::Incoming,
        },
        flow_hash: match forwarding.flow_hash {
            FlowHash::L3 => engine::FlowHash::Addresses,
            FlowHash::L3L4 => engine::FlowHash::Ports,
        },
        source_routes: forwarding.source_routes,
    }
}

fn mtu(device: &Link) -> u16 {
    u16::try_from(device.mtu).unwrap_or(u16::MAX)
}

fn queue_numbers(queues: &Queues, device: &Link) -> Vec<u32> {
    match queues {
        Queues::All => (0..sysfs::rx_queues(device).unwrap_or(device.rx_queues).max(1)).collect(),
        Queues::Only(list) => list.clone(),
    }
}

/// Rings such that the fill rings of all sockets take half of the frames at most: the rest is for what is being sent,
/// held, or made here.
fn ring_sizes(frames: u32, sockets: usize) -> RingSizes {
    let share = frames / 2 / u32::try_from(sockets.max(1)).unwrap_or(u32::MAX);
    let fill = share.clamp(MIN_RING, MAX_RING);
    // The largest power of two that is no larger.
    let fill = 1 << fill.ilog2();
    RingSizes { rx: fill, fill, tx: MAX_RING, completion: MAX_RING }
}

/// Settings that are fixed when forwarding is set up, and differ.
fn fixed_differences(in_force: &DataplaneConfig, wanted: &DataplaneConfig) -> Vec<String> {
    [
        ("workers", in_force.workers != wanted.workers),
        ("mode", in_force.mode != wanted.mode),
        ("express", in_force.express != wanted.express),
        ("busy-poll", in_force.busy_poll != wanted.busy_poll),
        ("scheduling", in_force.scheduling != wanted.scheduling),
        ("frames", in_force.frames != wanted.frames),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(name, _)| name.to_owned())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_link::{Express, Scheduling};

    #[test]
    fn fill_rings_leave_half_of_the_frames() {
        for (frames, sockets, fill) in
            [(16384, 2, 2048), (4096, 2, 1024), (4096, 3, 512), (4096, 0, 2048), (128, 2, 64), (1, 500, 64)]
        {
            let rings = ring_sizes(frames, sockets);
            assert_eq!((rings.fill, rings.rx), (fill, fill), "{frames} frames, {sockets} sockets");
        }
    }

    #[test]
    fn settings_that_take_a_restart_are_named() {
        let config = DataplaneConfig {
            workers: vec![],
            mode: Mode::Auto,
            express: Express::Auto,
            busy_poll: false,
            scheduling: Scheduling::Realtime,
            stage_times: false,
            frames: 4096,
            interfaces: vec![],
            nat: None,
            forwarding: Forwarding::default(),
            acls: vec![],
        };
        assert!(fixed_differences(&config, &config).is_empty());
        let other = DataplaneConfig { workers: vec![1], frames: 8192, ..config.clone() };
        assert_eq!(fixed_differences(&config, &other), ["workers", "frames"]);
        let other =
            DataplaneConfig { mode: Mode::Copy, express: Express::Off, busy_poll: true, ..config.clone() };
        assert_eq!(fixed_differences(&config, &other), ["mode", "express", "busy-poll"]);
    }
}
