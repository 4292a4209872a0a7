//! The RIP process as a [`Machine`]. What goes in and out, and what happens when; how is in the other rooms.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_policy::Protocol;
use millrace_proto::{
    Datagram, IfIndex, Instant, Interface, InterfaceEvent, KeyId, Machine, Rng, RouteChange, Timers,
    Transmit, WallClock,
};
use serde::{Deserialize, Serialize};

use crate::Metric;
use crate::config::Config;
use crate::link::Link;
use crate::send::Job;
use crate::stats::{BadPacket, BadRoute};
use crate::table::{NeighborKey, Origin, OriginKind, Path, Table};

/// What the shell tells RIP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The whole configuration; an equal one changes nothing.
    Configure(Config),
    Interface(InterfaceEvent),
    /// A datagram to port 520. The shell does not loop back what it sends.
    Datagram(Datagram),
    /// A route of another protocol that is to be announced. Whole states: the same twice changes nothing.
    Redistribute(Redistributed),
    /// It is not to be announced; absent is fine.
    Withdraw(Prefix),
    /// What the calendar says: at the start, and after the clock was set.
    Clock(WallClock),
    /// BFD says that a neighbour cannot be reached. What it said is forgotten until it speaks again.
    NeighborDown(NeighborKey),
    /// The process ends: neighbours are told that nothing can be reached through it.
    Shutdown,
}

/// A route of another protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Redistributed {
    pub prefix: Prefix,
    /// Whose it is, for export policies.
    pub protocol: Protocol,
    /// None: the configured default.
    pub metric: Option<Metric>,
    pub tag: u16,
    /// Where this router sends packets for it, if that is one router; announced to those who can reach it directly.
    pub next_hop: Option<Ipv4Addr>,
}

/// What RIP asks of the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    Send(Transmit),
    Route(RouteChange),
    /// Take datagrams of this interface, those to 224.0.0.9 among them. A neighbour's whole table may arrive at once:
    /// 10,000 routes are 400 datagrams, for which the kernel's usual receive buffer is too small.
    Listen(IfIndex),
    Unlisten(IfIndex),
    /// Watch a neighbour, or stop watching it.
    Bfd {
        neighbor: NeighborKey,
        local: Ipv4Addr,
        wanted: bool,
    },
    Notice(Notice),
}

/// What an operator may want to know. The shell logs it, at its own rate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Notice {
    #[error("message from {} on interface {} ignored: {}", .from.address, .from.interface, .reason.name())]
    BadPacket { from: NeighborKey, reason: BadPacket },
    #[error("entry {address} from {} on interface {} ignored: {}", .from.address, .from.interface, .reason.name())]
    BadRoute { from: NeighborKey, address: Ipv4Addr, reason: BadRoute },
    /// RFC 4822 §5.1
    #[error("key chain {chain}: key {} has expired and is used on for interface {interface}, for want of another", .key.0)]
    KeyExpired { interface: IfIndex, chain: String, key: KeyId },
}

/// The process. It starts with RIP on no interface.
#[derive(Clone, Debug)]
pub struct Rip {
    pub(crate) config: Config,
    pub(crate) interfaces: BTreeMap<IfIndex, Interface>,
    /// Where RIP runs.
    pub(crate) links: BTreeMap<IfIndex, Link>,
    pub(crate) table: Table,
    pub(crate) redistributed: BTreeMap<Prefix, Redistributed>,
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) next_job: u64,
    pub(crate) timers: Timers<Timer>,
    pub(crate) rng: Rng,
    pub(crate) clock: WallClock,
    /// The last one that was used (RFC 4822 §2.2).
    pub(crate) sequence: u32,
    pub(crate) outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// The next regular update of a link.
    Regular(IfIndex),
    /// No triggered update before this (RFC 2453 §3.10.1).
    Triggered,
    /// A job goes on.
    Job(u64),
    /// A neighbour that has been silent for its time-out is forgotten.
    Neighbor(NeighborKey),
}

impl Timer {
    const fn name(self) -> &'static str {
        match self {
            Self::Regular(_) => "rip: regular update",
            Self::Triggered => "rip: triggered updates allowed again",
            Self::Job(_) => "rip: next messages of an update",
            Self::Neighbor(_) => "rip: neighbour silent",
        }
    }
}

impl Rip {
    pub fn new(seed: u64) -> Self {
        Self {
            config: Config::new(),
            interfaces: BTreeMap::new(),
            links: BTreeMap::new(),
            table: Table::new(),
            redistributed: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            timers: Timers::new(),
            rng: Rng::new(seed),
            clock: WallClock::default(),
            sequence: 0,
            outputs: VecDeque::new(),
        }
    }

    fn configure(&mut self, now: Instant, config: Config) {
        if config == self.config {
            return;
        }
        let before = std::mem::replace(&mut self.config, config);
        self.table.set_max_paths(self.config.max_paths.get().into());
        if before.default_route != self.config.default_route {
            self.originate_default(now);
        }
        if before.default_metric != self.config.default_metric {
            for route in self.redistributed.clone().into_values() {
                self.originate_redistributed(now, route);
            }
        }
        self.reconcile(now);
        self.revise(now);
    }

    fn originate_default(&mut self, now: Instant) {
        match self.config.default_route {
            Some(route) => {
                let kind = OriginKind::Default;
                let (metric, tag, protocol) = (route.metric, route.tag, Protocol::Rip);
                let origin = Origin { kind, protocol, metric, tag, next_hop: None };
                self.table.originate(now, Prefix::DEFAULT, origin, self.config.timers.garbage);
            }
            None => self.table.withdraw(now, Prefix::DEFAULT, OriginKind::Default),
        }
    }

    fn originate_redistributed(&mut self, now: Instant, route: Redistributed) {
        let metric = route.metric.unwrap_or(self.config.default_metric);
        if metric.is_infinite() {
            self.table.withdraw(now, route.prefix, OriginKind::Redistributed);
            return;
        }
        let origin = Origin {
            kind: OriginKind::Redistributed,
            protocol: route.protocol,
            metric,
            tag: route.tag,
            next_hop: route.next_hop,
        };
        self.table.originate(now, route.prefix, origin, self.config.timers.garbage);
    }

    /// Applies costs, offsets and reachability of neighbours, as configured, to everything that was heard.
    pub(crate) fn revise(&mut self, now: Instant) {
        let links = &self.links;
        self.table.revise(now, |prefix, path: &mut Path| {
            let link = links.get(&path.neighbor.interface);
            let known = link.filter(|link| link.neighbors.contains_key(&path.neighbor.address));
            let worth = known.and_then(|link| link.worth(prefix, path.neighbor.address, &path.received));
            if let Some(worth) = worth {
                path.set_worth(worth);
            }
            worth.is_some()
        });
    }

    /// What follows from any call: triggered updates, and what the table has to tell.
    fn settle(&mut self, now: Instant) {
        if self.table.has_changed() && self.timers.get(Timer::Triggered).is_none() {
            self.trigger(now);
        }
        for link in self.links.values_mut() {
            link.regular_begun = false;
        }
        self.outputs.extend(std::iter::from_fn(|| self.table.poll_change()).map(Output::Route));
    }
}

impl Machine for Rip {
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
                    self.originate_redistributed(now, route);
                }
            }
            Input::Withdraw(prefix) => {
                if self.redistributed.remove(&prefix).is_some() {
                    self.table.withdraw(now, prefix, OriginKind::Redistributed);
                }
            }
            Input::Clock(clock) => self.clock = clock,
            Input::NeighborDown(neighbor) => self.forget(now, neighbor),
            Input::Shutdown => self.shut_down(now),
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.table.handle_timeout(now);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Regular(link) => self.start_regular(now, link),
                // Whether there is something to send is seen when everything else is done.
                Timer::Triggered => {}
                Timer::Job(job) => self.resume(now, job),
                Timer::Neighbor(neighbor) => self.forget(now, neighbor),
            }
        }
        self.settle(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let own = self.timers.next().map(|(at, timer)| (at, timer.name()));
        own.into_iter().chain(self.table.next_timeout()).min_by_key(|(at, _)| *at)
    }
}
