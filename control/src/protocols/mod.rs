//! Routing protocols in the living process: sans-IO machines, each in a task of its own.
//!
//! ```text
//!                  ┌─ Order: Configure, Links, Show, … ─────────────────────────────┐
//!   runtime task ──┤                                                                ▼
//!                  └─ Feed: best routes of others, coalesced by prefix ─▶ redistribute ─▶ driver ─▶ Machine
//!        ▲                                                                          ▲ │        (control/rip, …)
//!        │  Command::Announce: route changes, a batch at a time                     │ │
//!        └──────────────────────────────────────────────────────────────────────────┼─┤
//!                                         inbox: Input ── socket tasks ── kernel ◀──┘ └─ outputs to the host
//! ```
//!
//! - [`host::Hosted`] is what a protocol brings: how configuration, interfaces, routes and datagrams become inputs of its
//!   machine, what its outputs do to the world, and its views and metrics.
//! - [`driver`] is the same for all: the clock goes in first, then configuration and interfaces; outputs are drained after
//!   every call; timers, orders, feed and inbox are served in that order.
//! - [`feed`] carries the routing table's best routes to protocols that redistribute them.
//! - [`ROWS`] is the list. A protocol more is a module and a row.
//!
//! A protocol runs while the configuration has its section. Everything live goes through whole states (the configuration,
//! the link table), and machines compare: what is equal sends no packet and changes no route.

pub mod bgp;
pub mod feed;
pub mod host;
pub mod ospf;
pub mod redistribute;
pub mod rip;
pub mod socket;
pub mod tcp;

pub(crate) mod driver;
mod nexthops;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use millrace_rib::{Protocol, Rib};
use tokio::sync::{mpsc, oneshot};

use crate::bfd::Bfd;
use crate::clock::Clock;
use crate::config::Config;
use crate::links::LinkTable;
use crate::runtime::handle::Command;
use feed::Subscription;
use host::{Query, Refusal, Sample};
use redistribute::Redistribute;

/// One protocol this process can run.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Of its section in the file, and of its path in the API.
    pub name: &'static str,
    /// Where its routes stand in the routing table.
    pub routes: &'static [Protocol],
    /// What [`host::Hosted::show`] answers, besides the summary under the bare name.
    pub views: &'static [&'static str],
    /// How long after the start of the process its neighbours may take to tell everything again. Until then the dataplane
    /// keeps routes of an earlier process.
    pub(crate) grace: Duration,
    /// Whether the configuration has its section.
    pub(crate) wanted: fn(&Config) -> bool,
    pub(crate) redistributes: fn(&Config) -> &[Redistribute],
    /// Starts its task.
    pub(crate) start: fn(driver::Start),
}

/// Every protocol, in the order of `show`.
pub const ROWS: &[Row] = &[rip::ROW, ospf::ROW, bgp::ROW];

/// What the runtime asks of a protocol's task.
#[derive(Debug)]
pub(crate) enum Order {
    Configure(Arc<Config>),
    Links(Arc<LinkTable>),
    Show {
        query: Query,
        reply: oneshot::Sender<Result<serde_json::Value, Refusal>>,
    },
    Act {
        query: Query,
        reply: oneshot::Sender<Result<serde_json::Value, Refusal>>,
    },
    Metrics {
        reply: oneshot::Sender<Vec<Sample>>,
    },
    /// How far next hops are that it asked for, where that has changed.
    NextHops(Vec<(Ipv4Addr, Option<u32>)>),
    /// The dataplane has all routes up to this mark.
    Installed(u64),
    /// Say goodbye to the neighbours, and end.
    Stop {
        done: oneshot::Sender<()>,
    },
}

/// Tells one run of a protocol's task from the next: what an ended one still said does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RunId(u64);

/// The way to one running protocol, for HTTP and metrics.
#[derive(Clone, Debug)]
pub struct Reach {
    pub row: &'static Row,
    orders: mpsc::UnboundedSender<Order>,
}

impl Reach {
    /// One whose views a test plays.
    #[cfg(test)]
    pub(crate) fn scripted(row: &'static Row, view: fn(&str) -> serde_json::Value) -> Self {
        let (orders, mut received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(order) = received.recv().await {
                if let Order::Show { query, reply } = order {
                    _ = reply.send(Ok(view(&query.what)));
                }
            }
        });
        Self { row, orders }
    }

    pub async fn show(&self, query: Query) -> Result<serde_json::Value, Refusal> {
        self.ask(|reply| Order::Show { query, reply }).await?
    }

    /// Something that changes the protocol's state, such as `clear`.
    pub async fn act(&self, query: Query) -> Result<serde_json::Value, Refusal> {
        self.ask(|reply| Order::Act { query, reply }).await?
    }

    /// None of a protocol that is just ending.
    pub async fn metrics(&self) -> Vec<Sample> {
        self.ask(|reply| Order::Metrics { reply }).await.unwrap_or_default()
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).map_err(|_| Refusal::Ending)?;
        answer.await.map_err(|_| Refusal::Ending)
    }
}

/// The running protocols, as the runtime task keeps them.
#[derive(Debug)]
pub(crate) struct Protocols {
    clock: Clock,
    commands: mpsc::WeakSender<Command>,
    bfd: Bfd,
    running: BTreeMap<&'static str, Running>,
    next_run: u64,
}

#[derive(Debug)]
struct Running {
    run: RunId,
    reach: Reach,
    subscription: Subscription,
    tracked: nexthops::Tracked,
    marks: nexthops::Marks,
}

impl Protocols {
    pub(crate) fn new(clock: Clock, commands: mpsc::WeakSender<Command>, bfd: Bfd) -> Self {
        Self { clock, commands, bfd, running: BTreeMap::new(), next_run: 0 }
    }

    /// Starts, changes and stops what the configuration says. Routes of what is stopped leave the table.
    pub(crate) fn configure(&mut self, config: &Arc<Config>, links: &Arc<LinkTable>, rib: &mut Rib) {
        for row in ROWS {
            let wanted = (row.wanted)(config);
            match self.running.get_mut(row.name) {
                None if wanted => {
                    let running = self.start(row, config, links);
                    self.running.insert(row.name, running);
                }
                Some(running) if wanted => {
                    // A task that has ended is found out by the runtime.
                    let _ = running.reach.orders.send(Order::Configure(Arc::clone(config)));
                }
                Some(running) => {
                    let (done, _) = oneshot::channel();
                    let _ = running.reach.orders.send(Order::Stop { done });
                    self.running.remove(row.name);
                    withdraw(rib, row.routes);
                }
                None => {}
            }
            if let Some(running) = self.running.get_mut(row.name) {
                running.subscription.subscribe((row.redistributes)(config), rib);
            }
        }
    }

    fn start(&mut self, row: &'static Row, config: &Arc<Config>, links: &Arc<LinkTable>) -> Running {
        let run = RunId(self.next_run);
        self.next_run += 1;
        let (orders, received) = mpsc::unbounded_channel();
        let subscription = Subscription::new(row.routes);
        tracing::info!(protocol = row.name, "starts");
        (row.start)(driver::Start {
            run,
            clock: self.clock,
            seed: seed(),
            commands: self.commands.clone(),
            bfd: self.bfd.clone(),
            orders: received,
            feed: subscription.feed(),
            config: Arc::clone(config),
            links: Arc::clone(links),
        });
        Running {
            run,
            reach: Reach { row, orders },
            subscription,
            tracked: nexthops::Tracked::default(),
            marks: nexthops::Marks::default(),
        }
    }

    /// The interfaces have changed.
    pub(crate) fn follow_links(&self, links: &Arc<LinkTable>) {
        for running in self.running.values() {
            let _ = running.reach.orders.send(Order::Links(Arc::clone(links)));
        }
    }

    /// The best routes to these prefixes may have changed.
    pub(crate) fn follow_routes(&mut self, rib: &Rib, changed: &[millrace_net::Prefix]) {
        for running in self.running.values_mut() {
            running.subscription.follow(rib, changed);
            let moved = running.tracked.look(rib);
            if !moved.is_empty() {
                let _ = running.reach.orders.send(Order::NextHops(moved));
            }
        }
    }

    fn running(&mut self, run: RunId) -> Option<&mut Running> {
        self.running.values_mut().find(|running| running.run == run)
    }

    /// A protocol follows next hops, or does not any longer; it is told at once how far they are.
    pub(crate) fn track(&mut self, run: RunId, gateways: &[(Ipv4Addr, bool)], rib: &Rib) {
        let Some(running) = self.running(run) else { return };
        let known = running.tracked.change(gateways, rib);
        let _ = running.reach.orders.send(Order::NextHops(known));
    }

    /// What a protocol has announced so far has this mark.
    pub(crate) fn mark(&mut self, run: RunId, mark: u64) {
        if let Some(running) = self.running(run) {
            running.marks.put(mark);
        }
    }

    /// Tells protocols which of their routes the dataplane has. `drained`: the table has been told up to this generation.
    pub(crate) fn acknowledge(&mut self, drained: Option<u64>, has: impl Fn(u64) -> bool) {
        for running in self.running.values_mut() {
            if let Some(mark) = running.marks.take(drained, &has) {
                let _ = running.reach.orders.send(Order::Installed(mark));
            }
        }
    }

    /// How long after the start of the process the table may lack routes that neighbours still have to tell.
    pub(crate) fn grace(&self) -> Duration {
        self.running.values().map(|running| running.reach.row.grace).max().unwrap_or_default()
    }

    pub(crate) fn is_running(&self, run: RunId) -> bool {
        self.running.values().any(|running| running.run == run)
    }

    pub(crate) fn reach(&self) -> Vec<Reach> {
        self.running.values().map(|running| running.reach.clone()).collect()
    }

    /// A task has ended without being told to: its routes lead into the blue, and it is started again.
    pub(crate) fn died(&mut self, run: RunId, config: &Arc<Config>, links: &Arc<LinkTable>, rib: &mut Rib) {
        let Some(name) = self.running.iter().find(|(_, r)| r.run == run).map(|(name, _)| *name) else {
            return;
        };
        if let Some(running) = self.running.remove(name) {
            withdraw(rib, running.reach.row.routes);
        }
        self.configure(config, links, rib);
    }

    /// Ends everything; neighbours are told. Takes a second at most.
    pub(crate) async fn stop(self) {
        let mut ended = Vec::new();
        for running in self.running.into_values() {
            let (done, answer) = oneshot::channel();
            let _ = running.reach.orders.send(Order::Stop { done });
            ended.push(answer);
        }
        let all = futures_util::future::join_all(ended);
        // Who is stuck has had its time.
        let _ = tokio::time::timeout(Duration::from_secs(1), all).await;
    }
}

/// Takes every candidate of these protocols out of the table.
fn withdraw(rib: &mut Rib, protocols: &[Protocol]) {
    let of_protocols = |entry: millrace_rib::Entry<'_>| {
        let prefix = entry.prefix();
        let ours = entry.candidates().filter(|candidate| protocols.contains(&candidate.protocol));
        ours.map(|candidate| (prefix, candidate.protocol, candidate.instance)).collect::<Vec<_>>()
    };
    let all: Vec<_> = rib.entries_after(None).flat_map(of_protocols).collect();
    for (prefix, protocol, instance) in all {
        rib.remove(prefix, protocol, instance);
    }
}

/// For jitter and sequence numbers; not for secrets.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
