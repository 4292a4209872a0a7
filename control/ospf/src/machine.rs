//! The OSPF process as a [`Machine`]. What goes in and out, and what happens when; how is in the other rooms.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::{
    Datagram, IfIndex, Instant, Interface, InterfaceEvent, KeyId, Machine, Rng, RouteChange, Timers,
    Transmit, WallClock,
};
use serde::{Deserialize, Serialize};

use crate::area::Area;
use crate::config::{Config, ExternalKind, StubRouter};
use crate::link::{self, Link, LinkId};
use crate::lsdb::{Lsdb, Scope};
use crate::neighbor::{NeighborEvent, NeighborId, NeighborState};
use crate::originate::{Stale, Throttled};
use crate::routes::{Level, RouteTable};
use crate::stats::{BadLsa, BadPacket, ProcessStats};
use crate::wire::{AreaId, LsaKey, RouterId};

/// What the shell tells OSPF.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The whole configuration; an equal one changes nothing.
    Configure(Config),
    Interface(InterfaceEvent),
    /// The payload of an IP packet of protocol 89. The shell does not loop back what it sends.
    Datagram(Datagram),
    /// A route of another protocol that is to be announced. Whole states: the same twice changes nothing.
    Redistribute(Redistributed),
    /// It is not to be announced; absent is fine.
    Withdraw(Prefix),
    /// What the calendar says: at the start, and after the clock was set.
    Clock(WallClock),
    /// BFD says that a neighbour cannot be reached.
    NeighborDown {
        interface: IfIndex,
        address: Ipv4Addr,
    },
    /// Until told otherwise, others are asked to route around this router (RFC 6987).
    StubRouter(bool),
    /// The process ends: neighbours are told that nothing can be reached through it.
    Shutdown,
}

/// A route of another protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Redistributed {
    pub prefix: Prefix,
    /// None: the configured default.
    pub cost: Option<u32>,
    pub kind: Option<ExternalKind>,
    pub tag: u32,
    /// Where this router sends packets for it, if that is one router; announced to those who can reach it directly.
    pub next_hop: Option<Ipv4Addr>,
}

/// What OSPF asks of the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Ports are 0; packets to 224.0.0.5 and 224.0.0.6 leave as multicast.
    Send(Transmit),
    Route(RouteChange),
    /// Take packets of protocol 89 of this interface, those to 224.0.0.5 and 224.0.0.6 among them.
    Listen(IfIndex),
    Unlisten(IfIndex),
    /// Watch a neighbour, or stop watching it.
    Bfd {
        interface: IfIndex,
        neighbor: Ipv4Addr,
        local: Ipv4Addr,
        wanted: bool,
    },
    Notice(Notice),
}

/// What an operator may want to know. The shell logs it, at its own rate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Notice {
    #[error("packet from {from} on interface {interface} ignored: {}", .reason.name())]
    BadPacket { from: Ipv4Addr, interface: IfIndex, reason: BadPacket },
    #[error("LSA from {from} on {interface} ignored: {}", .reason.name())]
    BadLsa { from: Ipv4Addr, interface: String, reason: BadLsa },
    #[error("neighbor {router} on {interface}: {} -> {}", .from.name(), .to.name())]
    Neighbor { router: RouterId, interface: String, from: NeighborState, to: NeighborState },
    #[error("key chain {chain}: key {} has expired and is used on for {interface}, for want of another", .key.0)]
    KeyExpired { interface: String, chain: String, key: KeyId },
    #[error(
        "the link-state database is full ({0} LSAs): LSAs of others are refused; raise max-lsas or find who floods them"
    )]
    DatabaseFull(usize),
    #[error("router {0} helped through its restart: it keeps its routes")]
    HelperEntered(RouterId),
    #[error("router {0} is not helped any more: {1}")]
    HelperLeft(RouterId, &'static str),
}

/// The process. It starts with OSPF on no interface.
#[derive(Clone, Debug)]
pub struct Ospf {
    pub(crate) config: Config,
    /// In force: as configured, or chosen.
    pub(crate) router_id: Option<RouterId>,
    pub(crate) interfaces: BTreeMap<IfIndex, Interface>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) areas: BTreeMap<AreaId, Area>,
    /// Type 5 and type 11 LSAs.
    pub(crate) external: Lsdb,
    pub(crate) redistributed: BTreeMap<Prefix, Redistributed>,
    pub(crate) routes: RouteTable,
    pub(crate) stale: Stale,
    pub(crate) throttled: BTreeMap<(Scope, LsaKey), Throttled>,
    /// LSAs of age MaxAge that neighbours have not acknowledged.
    pub(crate) dying: BTreeSet<(Scope, LsaKey)>,
    /// Ask others to route around this router: by command, and while it starts.
    pub(crate) stub_by_command: bool,
    pub(crate) stub_until: Option<Instant>,
    pub(crate) backoff: crate::backoff::State,
    pub(crate) pending: Option<Level>,
    pub(crate) timers: Timers<Timer>,
    pub(crate) rng: Rng,
    pub(crate) clock: WallClock,
    /// The last one that was used (RFC 2328 D.3).
    pub(crate) sequence: u32,
    pub(crate) stats: ProcessStats,
    pub(crate) full_since: Option<Instant>,
    pub(crate) last_spf: Option<Instant>,
    pub(crate) outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    Hello(LinkId),
    Wait(LinkId),
    Ack(LinkId),
    /// The next packets of a long queue.
    Flood(LinkId),
    Inactivity(NeighborId),
    /// A silent neighbour of an NBMA network.
    Poll(NeighborId),
    Description(NeighborId),
    Request(NeighborId),
    Retransmit(NeighborId),
    /// Its grace period is over.
    Helper(NeighborId),
    /// An LSA is to be refreshed, or has reached its end.
    Lsa(Scope, LsaKey),
    /// An instance that came too early after the one before it.
    Originate,
    Spf,
    StubRouter,
}

impl Timer {
    const fn name(self) -> &'static str {
        match self {
            Self::Hello(_) => "ospf: hello",
            Self::Wait(_) => "ospf: waited for the designated router",
            Self::Ack(_) => "ospf: acknowledgements",
            Self::Flood(_) => "ospf: next packets of a flood",
            Self::Inactivity(_) => "ospf: neighbour silent",
            Self::Poll(_) => "ospf: poll a silent neighbour",
            Self::Description(_) => "ospf: description again",
            Self::Request(_) => "ospf: request again",
            Self::Retransmit(_) => "ospf: LSAs again",
            Self::Helper(_) => "ospf: grace period over",
            Self::Lsa(..) => "ospf: age of an LSA",
            Self::Originate => "ospf: own LSAs held back",
            Self::Spf => "ospf: calculate routes",
            Self::StubRouter => "ospf: stub router no more",
        }
    }
}

impl Ospf {
    pub fn new(seed: u64) -> Self {
        Self {
            config: Config::new(),
            router_id: None,
            interfaces: BTreeMap::new(),
            links: BTreeMap::new(),
            areas: BTreeMap::new(),
            external: Lsdb::default(),
            redistributed: BTreeMap::new(),
            routes: RouteTable::default(),
            stale: Stale::default(),
            throttled: BTreeMap::new(),
            dying: BTreeSet::new(),
            stub_by_command: false,
            stub_until: None,
            backoff: crate::backoff::State::default(),
            pending: None,
            timers: Timers::new(),
            rng: Rng::new(seed),
            clock: WallClock::default(),
            sequence: 0,
            stats: ProcessStats::default(),
            full_since: None,
            last_spf: None,
            outputs: VecDeque::new(),
        }
    }

    /// Zero where OSPF does not run; then there are no links either.
    pub(crate) fn router_id(&self) -> RouterId {
        self.router_id.unwrap_or(RouterId::NONE)
    }

    fn configure(&mut self, now: Instant, config: Config) {
        if config == self.config {
            return;
        }
        let before = std::mem::replace(&mut self.config, config);
        let renamed = before.router_id != self.config.router_id;
        if renamed
            || self.links.values().any(|link| before.area_kind(link.area) != self.config.area_kind(link.area))
        {
            self.stop(now);
        }
        if renamed {
            self.router_id = None;
        }
        if let (StubRouter::OnStart(time), true) =
            (self.config.stub_router, before.stub_router != self.config.stub_router)
        {
            self.stub_until = Some(now + time);
            self.timers.set(Timer::StubRouter, now + time);
        }
        self.reconcile(now);
        self.stale.all();
        self.schedule(now, Level::Full);
    }

    pub(crate) fn is_stub_router(&self) -> bool {
        self.stub_by_command || self.stub_until.is_some() || self.config.stub_router == StubRouter::Always
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    /// What follows from any call: LSAs of this router's own, and what is queued for links and neighbours.
    fn settle(&mut self, now: Instant) {
        self.originate(now);
        self.bury(now);
        self.send_requests(now);
        self.send_queues(now);
    }

    fn bfd_down(&mut self, now: Instant, interface: IfIndex, address: Ipv4Addr) {
        let link = LinkId::Interface(interface);
        let Some(found) = self.links.get(&link) else { return };
        let keys: Vec<Ipv4Addr> =
            found.neighbors.iter().filter(|(_, n)| n.address == address).map(|(key, _)| *key).collect();
        for key in keys {
            self.neighbor_event(now, NeighborId { link, key }, NeighborEvent::Kill);
        }
    }
}

impl Machine for Ospf {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Configure(config) => self.configure(now, config),
            Input::Interface(InterfaceEvent::Upsert(interface)) => {
                if self.interfaces.get(&interface.index) != Some(&interface) {
                    self.interfaces.insert(interface.index, interface);
                    self.reconcile(now);
                }
            }
            Input::Interface(InterfaceEvent::Remove(index)) => {
                if self.interfaces.remove(&index).is_some() {
                    self.reconcile(now);
                }
            }
            Input::Datagram(datagram) => self.handle_datagram(now, &datagram),
            Input::Redistribute(route) => {
                if self.redistributed.insert(route.prefix, route) != Some(route) {
                    self.stale.externals = true;
                    self.stale.routers_all = true;
                }
            }
            Input::Withdraw(prefix) => {
                if self.redistributed.remove(&prefix).is_some() {
                    self.stale.externals = true;
                    self.stale.routers_all = true;
                }
            }
            Input::Clock(clock) => self.clock = clock,
            Input::NeighborDown { interface, address } => self.bfd_down(now, interface, address),
            Input::StubRouter(wanted) => {
                self.stub_by_command = wanted;
                self.stale.routers_all = true;
            }
            Input::Shutdown => self.shut_down(now),
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Hello(link) => self.hello_timer(now, link),
                Timer::Wait(link) => self.link_event(now, link, link::InterfaceEvent::WaitTimer),
                Timer::Ack(link) => self.send_delayed_acks(now, link),
                Timer::Poll(neighbor) => self.poll(now, neighbor),
                Timer::Inactivity(neighbor) => self.silent(now, neighbor),
                Timer::Description(neighbor) => self.resend_description(now, neighbor),
                Timer::Request(neighbor) => self.resend_request(now, neighbor),
                Timer::Retransmit(neighbor) => self.retransmit(now, neighbor),
                Timer::Helper(neighbor) => self.leave_helper(now, neighbor, "its grace period is over"),
                Timer::Lsa(scope, key) => self.lsa_aged(now, scope, key),
                // What is queued and what is stale is seen when everything else is done.
                Timer::Flood(_) => {}
                Timer::Originate => self.stale.all(),
                Timer::Spf => self.calculate(now),
                Timer::StubRouter => {
                    self.stub_until = None;
                    self.stale.routers_all = true;
                }
            }
        }
        self.settle(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.timers.next().map(|(at, timer)| (at, timer.name()))
    }
}

/// Acknowledgements wait this long for others, well below every retransmit interval.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(400);
