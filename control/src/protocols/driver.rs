//! The task around a machine. The same for every protocol.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use millrace_bfd as bfd;
use millrace_proto::{IfIndex, Interface, InterfaceAddress, InterfaceEvent, Machine, WallClock};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::feed::Feed;
use super::host::{Change, Cx, Hosted, Input, Seen};
use super::redistribute::{Decision, Redistribute, decide};
use super::{Order, Row, RunId};
use crate::bfd::{Bfd, Watcher};
use crate::clock::Clock;
use crate::config::Config;
use crate::links::{Link, LinkTable};
use crate::record::Recorder;
use crate::runtime::handle::Command;

/// Inputs that wait for the machine; more wait in the kernel.
const INBOX: usize = 256;
/// Inputs, and fed routes, that are handled before anything else is looked at.
const BURST: usize = 256;
/// Route changes in one message to the routing table.
const BATCH: usize = 4096;
/// How often the calendar is compared, and hosts look after what failed.
const CARE: Duration = Duration::from_secs(5);

/// What a task begins with.
pub(crate) struct Start {
    pub(super) run: RunId,
    pub(super) clock: Clock,
    pub(super) seed: u64,
    pub(super) commands: mpsc::WeakSender<Command>,
    pub(super) bfd: Bfd,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) feed: Arc<Feed>,
    pub(super) config: Arc<Config>,
    pub(super) links: Arc<LinkTable>,
}

struct Driver<H: Hosted> {
    host: H,
    machine: H::Machine,
    run: RunId,
    clock: Clock,
    /// What the machine was told.
    calendar: WallClock,
    commands: mpsc::WeakSender<Command>,
    feed: Arc<Feed>,
    redistribute: fn(&Config) -> &[Redistribute],
    config: Arc<Config>,
    interfaces: BTreeMap<IfIndex, Interface>,
    inbox: mpsc::Sender<Input<H>>,
    changes: Vec<Change>,
    watcher: Option<Watcher>,
    recorder: Recorder,
    /// What the routes in `changes` and before have as mark.
    mark: Option<u64>,
    tracks: Vec<(Ipv4Addr, bool)>,
}

/// Starts the task of a protocol.
pub(super) fn start<H: Hosted>(host: H, row: &Row, start: Start) {
    let (inbox, received) = mpsc::channel(INBOX);
    let Start { run, clock, seed, commands, bfd, orders, feed, config, links } = start;
    let (watcher, sessions) = H::BFD.map(|client| bfd.subscribe(client)).unzip();
    let driver = Driver {
        host,
        machine: H::machine(seed),
        run,
        clock,
        calendar: clock.wall(),
        commands: commands.clone(),
        feed,
        redistribute: row.redistributes,
        config,
        interfaces: BTreeMap::new(),
        inbox,
        changes: Vec::new(),
        watcher,
        recorder: Recorder::open(H::NAME, seed),
        mark: None,
        tracks: Vec::new(),
    };
    let task = tokio::spawn(driver.run(links, orders, received, sessions));
    tokio::spawn(async move {
        if let Err(error) = task.await {
            tracing::error!(protocol = H::NAME, %error, "ended; it is started again");
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::ProtocolDied { run }).await;
            }
        }
    });
}

impl<H: Hosted> Driver<H> {
    async fn run(
        mut self,
        links: Arc<LinkTable>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut inbox: mpsc::Receiver<Input<H>>,
        mut sessions: Option<mpsc::UnboundedReceiver<bfd::Change>>,
    ) {
        self.handle(H::clock(self.calendar));
        self.configure(Arc::clone(&self.config));
        self.follow(&links);
        self.publish().await;
        let mut care = tokio::time::interval(CARE);
        care.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.machine.poll_timeout().map(|(at, _)| self.clock.moment(at));
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Stop { done }) => {
                        self.end();
                        // The runtime may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                    Some(order) => self.obey(order),
                    None => return self.end(),
                },
                () = until(deadline) => {
                    let now = self.clock.now();
                    self.recorder.step::<Input<H>>(now, None);
                    self.machine.handle_timeout(now);
                    self.drain();
                }
                change = session(&mut sessions) => {
                    if let Some(input) = H::session(&change) {
                        self.handle(input);
                    }
                }
                () = self.feed.news() => self.take_feed(),
                Some(input) = inbox.recv() => {
                    self.handle(input);
                    for _ in 1..BURST {
                        match inbox.try_recv() {
                            Ok(input) => self.handle(input),
                            Err(_) => break,
                        }
                    }
                }
                _ = care.tick() => self.look_after(),
            }
            self.publish().await;
        }
    }

    fn obey(&mut self, order: Order) {
        // Whoever asked may have stopped waiting: answers then go nowhere.
        match order {
            Order::Configure(config) => self.configure(config),
            Order::Links(links) => self.follow(&links),
            Order::Show { query, reply } => {
                let _ = reply.send(self.host.show(&self.machine, &query, &self.seen()));
            }
            Order::Act { query, reply } => {
                let answer = self.host.act(&self.machine, &query).map(|(inputs, answer)| {
                    inputs.into_iter().for_each(|input| self.handle(input));
                    answer
                });
                let _ = reply.send(answer);
            }
            Order::Metrics { reply } => {
                let _ = reply.send(self.host.metrics(&self.machine, &self.seen()));
            }
            Order::NextHops(moved) => {
                for (address, metric) in moved {
                    if let Some(input) = H::next_hop(address, metric) {
                        self.handle(input);
                    }
                }
            }
            Order::Installed(mark) => {
                if let Some(input) = H::installed(mark) {
                    self.handle(input);
                }
            }
            Order::Stop { .. } => {}
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen { now: self.clock.now(), interfaces: &self.interfaces }
    }

    /// The one way into the machine for inputs.
    fn handle(&mut self, input: Input<H>) {
        let now = self.clock.now();
        self.recorder.step(now, Some(&input));
        self.machine.handle_input(now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let mut cx = Cx {
                inbox: &self.inbox,
                interfaces: &self.interfaces,
                now: self.clock.now(),
                watcher: self.watcher.as_ref(),
                changes: &mut self.changes,
                mark: &mut self.mark,
                tracks: &mut self.tracks,
            };
            self.host.carry_out(output, &mut cx);
        }
    }

    fn configure(&mut self, config: Arc<Config>) {
        self.config = config;
        for input in self.host.configure(&self.config) {
            self.handle(input);
        }
    }

    /// Tells the machine of the interfaces that differ from what it was told.
    fn follow(&mut self, links: &LinkTable) {
        let gone: Vec<IfIndex> =
            self.interfaces.keys().filter(|index| links.get(index.0).is_none()).copied().collect();
        for index in gone {
            self.handle(H::interface(InterfaceEvent::Remove(index)));
            self.interfaces.remove(&index);
        }
        for link in links.iter() {
            let interface = interface(link);
            if self.interfaces.get(&interface.index) != Some(&interface) {
                self.interfaces.insert(interface.index, interface.clone());
                self.handle(H::interface(InterfaceEvent::Upsert(interface)));
            }
        }
    }

    fn take_feed(&mut self) {
        let config = Arc::clone(&self.config);
        for (prefix, best) in self.feed.take(BURST) {
            let input = match decide((self.redistribute)(&config), &config, prefix, best) {
                Decision::Announce(announcement) => self.host.announce(announcement),
                Decision::Withdraw => self.host.withdraw(prefix),
            };
            if let Some(input) = input {
                self.handle(input);
            }
        }
    }

    fn look_after(&mut self) {
        let calendar = self.clock.wall();
        // Readings of whole seconds differ by one without anybody having set the clock.
        if 1 < self.calendar.unix(calendar.at).0.abs_diff(calendar.unix.0) {
            self.calendar = calendar;
            self.handle(H::clock(calendar));
        }
        let mut cx = Cx {
            inbox: &self.inbox,
            interfaces: &self.interfaces,
            now: self.clock.now(),
            watcher: self.watcher.as_ref(),
            changes: &mut self.changes,
            mark: &mut self.mark,
            tracks: &mut self.tracks,
        };
        self.host.look_after(&mut cx);
    }

    fn end(&mut self) {
        if let Some(input) = H::farewell() {
            self.handle(input);
        }
        tracing::info!(protocol = H::NAME, "ends");
    }

    /// Tells the routing table what has changed; waits while it has more to do than it can.
    async fn publish(&mut self) {
        if self.changes.is_empty() && self.mark.is_none() && self.tracks.is_empty() {
            return;
        }
        let Some(commands) = self.commands.upgrade() else { return };
        // A runtime that is gone needs no routes.
        if !self.tracks.is_empty() {
            let gateways = std::mem::take(&mut self.tracks);
            let _ = commands.send(Command::Track { run: self.run, gateways }).await;
        }
        let mut changes = std::mem::take(&mut self.changes);
        let mut mark = self.mark.take();
        while !changes.is_empty() || mark.is_some() {
            let rest = changes.split_off(changes.len().min(BATCH));
            let mark = if rest.is_empty() { mark.take() } else { None };
            let _ = commands.send(Command::Announce { run: self.run, changes, mark }).await;
            changes = rest;
        }
    }
}

/// The next change of a BFD session; never, where none is watched.
async fn session(sessions: &mut Option<mpsc::UnboundedReceiver<bfd::Change>>) -> bfd::Change {
    if let Some(sessions) = sessions
        && let Some(change) = sessions.recv().await
    {
        return change;
    }
    std::future::pending().await
}

/// Never, where there is no deadline.
async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// An interface as machines see it.
pub(crate) fn interface(link: &Link) -> Interface {
    let address = |own: &crate::links::LinkAddress| InterfaceAddress {
        address: own.address,
        prefix_len: own.prefix_len,
        peer: own.peer,
    };
    Interface {
        index: IfIndex(link.index),
        name: link.name.clone(),
        kind: link.kind,
        up: link.up,
        mtu: link.mtu,
        addresses: link.addresses.iter().map(address).collect(),
    }
}
