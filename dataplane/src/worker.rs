//! One worker: a pinned thread that owns some queues and runs the engine over what arrives on them.
//!
//! ```text
//!   news from the clerk ─▶ receive ─▶ engine ─▶ transmit, complete, refill ─▶ quiescent ─▶ (nothing to do?) block
//! ```
//! While there is work it never blocks; without any it looks a few microseconds longer, and then sleeps in `epoll` over
//! its sockets and its bell, so that an idle router costs nothing and others on its CPU run at once. With busy polling
//! it never sleeps: it drives the devices itself.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use crossbeam::channel::{Receiver, Sender};
use millrace_engine::{BURST, CounterPage, Engine, Leg, Ports, Settings, Shell, Stage};
use millrace_fib::Quiescent;
use millrace_net::{Instant, PortId};
use millrace_xsk::{Frame, Socket};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::clock;
use crate::counters::WorkerPage;
use crate::handoff::{Inbox, Purpose};

pub(crate) mod nat;
pub(crate) mod outlet;
pub(crate) mod tap;
mod watch;

use nat::{Desk, Errand, Setup};
use outlet::{Flushed, Outlet, Served};
pub(crate) use outlet::{Packet, Requests};
use tap::Tapped;
use watch::{Turn, TxWatch};

/// How long a worker without work looks for more before it blocks. Waking it costs a few microseconds and an interrupt.
const LOOK: Duration = Duration::from_micros(20);
/// How long it sleeps at most while frames wait for a transmit ring.
const RETRY: Duration = Duration::from_millis(1);
/// How often the engine is told the time of day: it counts on by itself, and follows a clock that was set.
const TIME_OF_DAY: Duration = Duration::from_secs(60);
/// How often transmission is looked at: a queue that stands still for two looks is stuck.
const WATCH: Duration = Duration::from_secs(1);
/// Frames taken from the inbox in one round.
const INBOX_BURST: usize = 4 * BURST;

/// What all workers read and the clerk replaces whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    /// By port: a worker that has a socket on it.
    pub(crate) senders: Vec<Option<usize>>,
    /// Whether workers measure how long each stage takes.
    pub(crate) stage_times: bool,
    /// Who captures.
    pub(crate) tap: Tapped,
    /// What NAT is to do; none where nothing is translated.
    pub(crate) nat: Option<Arc<Setup>>,
}

/// The snapshot in force, and the numbers that tell workers of news.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Grows with each snapshot. The mutex is locked only by who sees it changed.
    generation: AtomicU64,
    snapshot: Mutex<Arc<Snapshot>>,
    /// Grows when adjacencies become complete or fail: held packets are tried again.
    neighbors: AtomicU64,
}

impl Published {
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        *self.lock() = Arc::new(snapshot);
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn neighbors_changed(&self) {
        self.neighbors.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Snapshot>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the clerk tells one worker. Followed by a ring of its bell.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve this socket.
    Serve {
        port: PortId,
        socket: Box<Socket>,
    },
    /// Give the sockets of this port back.
    Release {
        port: PortId,
        to: Sender<Vec<Socket>>,
    },
    /// Look into the NAT shard, or change its sessions.
    Nat(Errand),
    Stop,
}

pub(crate) struct Worker {
    number: usize,
    engine: Engine<'static, Packet>,
    quiescent: Quiescent,
    commands: Receiver<Command>,
    published: Arc<Published>,
    inboxes: Arc<[Inbox]>,
    page: Arc<WorkerPage>,
    counters: Arc<CounterPage>,
    outlet: Outlet,
    desk: Desk,
    served: Vec<Served>,
    epoll: rustix::fd::OwnedFd,
    busy_poll: bool,
    next_watch: Instant,
    snapshot: Arc<Snapshot>,
    seen_generation: u64,
    seen_neighbors: u64,
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) number: usize,
    pub(crate) engine: Engine<'static, Packet>,
    pub(crate) quiescent: Quiescent,
    pub(crate) commands: Receiver<Command>,
    pub(crate) published: Arc<Published>,
    pub(crate) inboxes: Arc<[Inbox]>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) page: Arc<WorkerPage>,
    pub(crate) counters: Arc<CounterPage>,
    pub(crate) cache: millrace_xsk::Cache,
    pub(crate) busy_poll: bool,
    pub(crate) nat_ports: &'static [AtomicU64],
}

/// What one round of the loop found to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Worked,
    /// Nothing but frames that wait for the kernel.
    Waiting,
    Idle,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = &parts.inboxes[parts.number].bell;
        epoll::add(&epoll, bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        let snapshot = parts.published.current();
        let desk = Desk::new(parts.nat_ports, Arc::clone(&parts.requests));
        let outlet =
            Outlet::new(parts.cache, Arc::clone(&parts.inboxes), parts.requests, Arc::clone(&parts.page));
        Ok(Self {
            number: parts.number,
            engine: parts.engine,
            quiescent: parts.quiescent,
            commands: parts.commands,
            published: parts.published,
            inboxes: parts.inboxes,
            page: parts.page,
            counters: parts.counters,
            outlet,
            desk,
            served: Vec::new(),
            epoll,
            busy_poll: parts.busy_poll,
            next_watch: clock::now() + WATCH,
            snapshot,
            seen_generation: 0,
            seen_neighbors: 0,
        })
    }

    /// Works until it is told to stop. Every frame it has goes back to the pool then.
    pub(crate) fn run(mut self) {
        self.quiescent.online();
        let mut before = clock::now();
        let mut round = Round::Idle;
        let mut idle_since = None;
        let mut told = None;
        loop {
            let now = clock::now();
            if told.is_none_or(|told| TIME_OF_DAY <= now - told) {
                self.engine.set_time_of_day(now, clock::since_midnight());
                told = Some(now);
            }
            // What has passed since belongs to the round before, its sleep included.
            self.page.add_time(round == Round::Worked, now - before);
            before = now;
            round = Round::Idle;
            if self.has_news() {
                round = Round::Worked;
                if self.take_news(now) == Next::Stop {
                    return;
                }
            }
            if self.receive(now) {
                round = Round::Worked;
            }
            if self.engine.poll_timeout().is_some_and(|deadline| deadline <= now) {
                self.engine.handle_timeout(now, &self.snapshot.ports, &mut self.outlet);
                round = Round::Worked;
            }
            if round == Round::Worked {
                self.desk.tell(&mut self.engine);
            }
            self.outlet.measure(self.snapshot.stage_times && round == Round::Worked);
            if self.outlet.flush(&mut self.served) == Flushed::Partly && round == Round::Idle {
                round = Round::Waiting;
            }
            self.outlet.lap(Stage::Transmit);
            if self.next_watch <= now {
                self.watch(now);
            }
            self.quiescent.quiescent();
            if round == Round::Worked {
                idle_since = None;
            } else if now - *idle_since.get_or_insert(now) < LOOK {
                // Not sched_yield: since Linux 6.18 it costs a whole time slice, which on a busy CPU is tens of
                // milliseconds before the next packet is seen.
                std::hint::spin_loop();
            } else if self.busy_poll {
                for queue in &self.served {
                    queue.socket.poll_driver();
                }
            } else {
                self.sleep(now, round);
                idle_since = None;
            }
        }
    }

    /// One burst from each queue, and what other workers left. True if there was anything.
    fn receive(&mut self, now: Instant) -> bool {
        let mut worked = false;
        for queue in &mut self.served {
            let mut frames = ArrayVec::<Frame, BURST>::new();
            self.outlet.measure(self.snapshot.stage_times);
            let received = queue.socket.rx(&mut frames);
            if received == 0 {
                continue;
            }
            worked = true;
            self.page.add_burst(received);
            let mut burst: ArrayVec<(PortId, Packet), BURST> =
                frames.into_iter().map(|frame| (queue.port, Packet(frame))).collect();
            self.outlet.lap(Stage::Receive);
            if self.snapshot.stage_times {
                self.page.add_measured(received);
            }
            let ports = &self.snapshot.ports;
            match &self.snapshot.tap.0 {
                None => self.engine.process(now, ports, &mut burst, &mut self.outlet),
                Some(tap) => {
                    let (engine, counters) = (&mut self.engine, &self.counters);
                    tap::process(tap, engine, counters, now, ports, queue.port, &mut burst, &mut self.outlet);
                }
            }
        }
        let inbox = &self.inboxes[self.number];
        let mut handed = ArrayVec::<(PortId, Packet), BURST>::new();
        let mut legs = ArrayVec::<Leg, BURST>::new();
        for _ in 0..INBOX_BURST {
            let Some((port, frame, purpose)) = inbox.take() else { break };
            worked = true;
            match purpose {
                Purpose::Send => self.outlet.accept(port, frame),
                Purpose::Decide(leg) => {
                    handed.push((port, Packet(frame)));
                    legs.push(leg);
                }
            }
            if handed.is_full() {
                let ports = &self.snapshot.ports;
                self.engine.process_handed(now, ports, &mut handed, &legs, &mut self.outlet);
                legs.clear();
            }
        }
        if !handed.is_empty() {
            self.engine.process_handed(now, &self.snapshot.ports, &mut handed, &legs, &mut self.outlet);
        }
        worked
    }

    fn has_news(&self) -> bool {
        self.published.generation.load(Ordering::Acquire) != self.seen_generation
            || self.published.neighbors.load(Ordering::Acquire) != self.seen_neighbors
            || !self.commands.is_empty()
    }

    fn take_news(&mut self, now: Instant) -> Next {
        let mut ways_changed = false;
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Serve { port, socket } => {
                    self.serve(port, *socket);
                    ways_changed = true;
                }
                Command::Release { port, to } => {
                    let released = self.release(port);
                    ways_changed = true;
                    // The clerk gave up waiting: then the sockets close here.
                    let _ = to.send(released);
                }
                Command::Nat(Errand(errand)) => errand(now, self.engine.nat_mut()),
                Command::Stop => return Next::Stop,
            }
        }
        let generation = self.published.generation.load(Ordering::Acquire);
        if generation != self.seen_generation {
            self.seen_generation = generation;
            self.snapshot = self.published.current();
            self.engine.set(self.snapshot.settings);
            self.outlet.tap(self.snapshot.tap.0.clone());
            self.desk.follow(now, self.number, &mut self.engine, self.snapshot.nat.as_ref());
            ways_changed = true;
        }
        if ways_changed {
            let Snapshot { ports, senders, .. } = &*self.snapshot;
            self.outlet
                .set_ways(self.number, &self.served, |port| senders.get(port.index()).copied().flatten());
            let served = &self.served;
            self.outlet.abandon(|port| {
                ports.get(port).is_some_and(|state| state.up) && served.iter().any(|queue| queue.port == port)
            });
        }
        let neighbors = self.published.neighbors.load(Ordering::Acquire);
        if neighbors != self.seen_neighbors {
            self.seen_neighbors = neighbors;
            self.engine.neighbors_changed(now, &self.snapshot.ports, &mut self.outlet);
        }
        Next::Work
    }

    fn serve(&mut self, port: PortId, socket: Socket) {
        if let Err(errno) =
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(1), epoll::EventFlags::IN)
        {
            // Frames are then received when something else wakes the worker.
            tracing::error!(worker = self.number, %errno, "a socket cannot be waited for");
        }
        self.served.push(Served { port, socket, watch: TxWatch::default() });
    }

    fn release(&mut self, port: PortId) -> Vec<Socket> {
        let mut released = Vec::new();
        for queue in std::mem::take(&mut self.served) {
            if queue.port == port {
                let _ = epoll::delete(&self.epoll, &queue.socket);
                released.push(queue.socket);
            } else {
                self.served.push(queue);
            }
        }
        released
    }

    /// Looks whether what was given to the kernel to send is being sent.
    fn watch(&mut self, now: Instant) {
        self.next_watch = now + WATCH;
        for Served { port, socket, watch } in &mut self.served {
            let gauges = socket.gauges();
            match watch.look(gauges.tx(), gauges.completed()) {
                Turn::Same => {}
                Turn::Stuck => {
                    gauges.tx_stalled();
                    tracing::error!(
                        worker = self.number,
                        port = port.0,
                        queue = socket.config().queue,
                        frames = gauges.tx(),
                        "nothing has been sent for two seconds: the device or its driver is stuck; `ip link set DEV down` and \
                         `up` resets it"
                    );
                }
                Turn::Moving => {
                    gauges.tx_moves();
                    tracing::info!(worker = self.number, port = port.0, "frames are being sent again");
                }
            }
        }
    }

    /// Blocks until a frame arrives, the bell rings, or a deadline comes.
    fn sleep(&mut self, now: Instant, round: Round) {
        let bell = &self.inboxes[self.number].bell;
        self.quiescent.offline();
        bell.lie_down();
        if !self.has_news() && self.inboxes[self.number].is_empty() {
            let deadline = self.engine.poll_timeout().map(|deadline| deadline - now);
            let retry = (round == Round::Waiting).then_some(RETRY);
            // What is with the kernel to be sent is looked after; it wakes nobody when it is done.
            let in_flight = self.served.iter().any(|queue| 0 < queue.socket.tx_in_flight());
            let watch = in_flight.then(|| self.next_watch - now);
            let timeout = deadline.into_iter().chain(retry).chain(watch).min();
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 1];
            match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => panic!("epoll of worker {}: {errno}", self.number),
            }
            self.page.add_wakeup();
        }
        bell.get_up();
        self.quiescent.online();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Work,
    Stop,
}
