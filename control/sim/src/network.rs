//! Routers, segments and the clock: one step is one event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::{
    Datagram, IfIndex, Instant, Interface, InterfaceEvent, Rng, Route, RouteChange, Transmit,
};

use crate::loops::LoopWatch;
use crate::router::{Effect, Router};
use crate::segment::{Quality, SegmentState};
use crate::topology::{self, Topology};

/// A running network.
pub struct Network<R> {
    topology: Topology,
    make: Box<dyn Fn(usize, u64) -> R>,
    nodes: Vec<Node<R>>,
    segments: Vec<(SegmentState, Quality)>,
    in_flight: BinaryHeap<Reverse<Frame>>,
    sent: u64,
    now: Instant,
    rng: Rng,
    last_change: Instant,
    loops: LoopWatch,
    watches_loops: bool,
}

struct Node<R> {
    /// None: crashed.
    router: Option<R>,
    interfaces: Vec<Interface>,
    /// What the router said, without its own networks.
    routes: BTreeMap<Prefix, Route>,
}

/// Ordered by arrival, then by the order of sending.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Frame {
    arrival: Instant,
    number: u64,
    segment: usize,
    receiver: usize,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    ttl: u8,
    payload: Vec<u8>,
}

impl<R: Router> Network<R> {
    /// All routers start at time zero, on segments of `quality`. `make` builds router `r` from a seed, at the start and
    /// after a crash.
    pub fn new(
        topology: Topology,
        quality: Quality,
        seed: u64,
        make: impl Fn(usize, u64) -> R + 'static,
    ) -> Self {
        let nodes = (0..topology.routers).map(|r| Node {
            router: None,
            interfaces: topology.interfaces(r).into_iter().map(|(interface, _)| interface).collect(),
            routes: BTreeMap::new(),
        });
        let mut network = Self {
            nodes: nodes.collect(),
            segments: vec![(SegmentState::Up, quality); topology.segments.len()],
            topology,
            make: Box::new(make),
            in_flight: BinaryHeap::new(),
            sent: 0,
            now: Instant::ZERO,
            rng: Rng::new(seed),
            last_change: Instant::ZERO,
            loops: LoopWatch::default(),
            watches_loops: true,
        };
        for r in 0..network.nodes.len() {
            network.start(r);
        }
        network
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Router `r`, unless it has crashed.
    pub fn router(&self, r: usize) -> Option<&R> {
        self.nodes[r].router.as_ref()
    }

    /// Does something to router `r` and carries out what it answers.
    pub fn with_router<T>(&mut self, r: usize, act: impl FnOnce(&mut R, Instant) -> T) -> Option<T> {
        let now = self.now;
        let result = self.nodes[r].router.as_mut().map(|router| act(router, now));
        self.carry_out(r);
        result
    }

    /// What router `r` learned, without its own networks.
    pub fn routes(&self, r: usize) -> &BTreeMap<Prefix, Route> {
        &self.nodes[r].routes
    }

    pub fn segment_state(&self, s: usize) -> SegmentState {
        self.segments[s].0
    }

    pub fn is_running(&self, r: usize) -> bool {
        self.nodes[r].router.is_some()
    }

    pub fn loops(&self) -> &LoopWatch {
        &self.loops
    }

    /// In large networks following packets after every change costs more than everything else.
    pub fn stop_watching_loops(&mut self) {
        self.watches_loops = false;
    }

    /// Frames that were put on a segment so far.
    pub fn frames_sent(&self) -> u64 {
        self.sent
    }

    /// Handles one event: what arrives or falls due first.
    pub fn step(&mut self) -> bool {
        let deadline = |r: usize, node: &Node<R>| {
            let at = node.router.as_ref()?.next_timeout()?.0;
            Some((at, r))
        };
        let timeout = self.nodes.iter().enumerate().filter_map(|(r, node)| deadline(r, node)).min();
        let arrival = self.in_flight.peek().map(|Reverse(frame)| frame.arrival);
        match (timeout, arrival) {
            (Some((at, r)), None) => self.time_out(at, r),
            (Some((at, r)), Some(arrival)) if at < arrival => self.time_out(at, r),
            (_, Some(arrival)) => {
                self.now = arrival.max(self.now);
                if let Some(Reverse(frame)) = self.in_flight.pop() {
                    self.deliver(frame);
                }
            }
            (None, None) => return false,
        }
        true
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next_event().is_some_and(|at| at <= end) && self.step() {}
        self.now = end;
    }

    /// Runs until no forwarding table has changed for `quiet`; None if that takes longer than `limit`. Answers with the
    /// time of the last change.
    pub fn run_until_quiet(&mut self, quiet: Duration, limit: Duration) -> Option<Instant> {
        let end = self.now + limit;
        self.last_change = self.now;
        while self.now <= end {
            if self.next_event().is_none_or(|at| self.last_change + quiet < at) {
                self.now = self.last_change + quiet;
                return Some(self.last_change);
            }
            self.step();
        }
        None
    }

    pub fn set_quality(&mut self, s: usize, quality: Quality) {
        self.segments[s].1 = quality;
    }

    /// Changes the state of a segment; members see their interfaces go up and down with it.
    pub fn set_segment(&mut self, s: usize, state: SegmentState) {
        let before = std::mem::replace(&mut self.segments[s].0, state);
        let carrier = |state| state != SegmentState::Down;
        if carrier(before) == carrier(state) {
            return;
        }
        for r in self.topology.segments[s].0.clone() {
            let interfaces = &mut self.nodes[r].interfaces;
            let Some(interface) = interfaces.iter_mut().find(|i| i.index == topology::index(s)) else {
                continue;
            };
            interface.up = carrier(state);
            let event = InterfaceEvent::Upsert(interface.clone());
            self.with_router(r, |router, now| router.interface(now, event));
            // Its own network comes and goes with the interface.
            self.note_change(self.topology.network(s));
        }
    }

    /// Router `r` stops in the middle of everything, and its interfaces go down with it.
    pub fn crash(&mut self, r: usize) {
        self.nodes[r].router = None;
        let gone = std::mem::take(&mut self.nodes[r].routes);
        for prefix in gone.into_keys() {
            self.note_change(prefix);
        }
    }

    pub fn start(&mut self, r: usize) {
        let seed = self.rng.next_u64();
        self.nodes[r].router = Some((self.make)(r, seed));
        for interface in self.nodes[r].interfaces.clone() {
            self.with_router(r, |router, now| router.interface(now, InterfaceEvent::Upsert(interface)));
        }
    }

    /// The networks router `r` is on at this moment.
    pub fn connected(&self, r: usize) -> BTreeSet<Prefix> {
        let node = &self.nodes[r];
        let up = node.interfaces.iter().filter(|interface| interface.up && node.router.is_some());
        up.flat_map(|interface| interface.addresses.iter().map(|own| own.network())).collect()
    }

    /// Who owns `address`.
    pub fn owner(&self, address: Ipv4Addr) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.interfaces.iter().any(|interface| interface.has_address(address)))
    }

    fn next_event(&self) -> Option<Instant> {
        let timeouts = self.nodes.iter().filter_map(|node| node.router.as_ref()?.next_timeout());
        let arrival = self.in_flight.peek().map(|Reverse(frame)| frame.arrival);
        timeouts.map(|(at, _)| at).chain(arrival).min()
    }

    fn time_out(&mut self, at: Instant, r: usize) {
        self.now = at.max(self.now);
        self.with_router(r, |router, now| router.timeout(now));
    }

    fn deliver(&mut self, frame: Frame) {
        if self.segments[frame.segment].0 != SegmentState::Up {
            return;
        }
        let datagram = Datagram {
            interface: topology::index(frame.segment),
            source: frame.source,
            destination: frame.destination,
            ttl: Some(frame.ttl),
            payload: frame.payload,
        };
        self.with_router(frame.receiver, |router, now| router.receive(now, datagram));
    }

    fn carry_out(&mut self, r: usize) {
        let mut changed = BTreeSet::new();
        while let Some(effect) = self.nodes[r].router.as_mut().and_then(Router::poll) {
            match effect {
                Effect::Transmit(transmit) => self.send(r, transmit),
                Effect::Route(change) => {
                    changed.insert(change.prefix());
                    match change {
                        RouteChange::Upsert(route) => self.nodes[r].routes.insert(route.prefix, route),
                        RouteChange::Remove(prefix) => self.nodes[r].routes.remove(&prefix),
                    };
                }
            }
        }
        for prefix in changed {
            self.note_change(prefix);
        }
    }

    fn note_change(&mut self, prefix: Prefix) {
        self.last_change = self.now;
        if !self.watches_loops {
            return;
        }
        let mut loops = std::mem::take(&mut self.loops);
        loops.check(self, prefix);
        self.loops = loops;
    }

    fn send(&mut self, r: usize, transmit: Transmit) {
        let Some(segment) = segment_of(transmit.interface) else { return };
        let Some((SegmentState::Up, quality)) = self.segments.get(segment).copied() else { return };
        let to = *transmit.destination.ip();
        let everyone = to.is_multicast() || to == self.topology.network(segment).last();
        for (at, receiver) in self.topology.segments[segment].0.clone().into_iter().enumerate() {
            if receiver == r || !(everyone || to == topology::member_address(segment, at)) {
                continue;
            }
            for arrival in quality.arrivals(self.now, &mut self.rng) {
                self.sent += 1;
                self.in_flight.push(Reverse(Frame {
                    arrival,
                    number: self.sent,
                    segment,
                    receiver,
                    source: transmit.source,
                    destination: transmit.destination,
                    ttl: transmit.ttl,
                    payload: transmit.payload.clone(),
                }));
            }
        }
    }
}

impl<R> std::fmt::Debug for Network<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("now", &self.now)
            .field("topology", &self.topology)
            .finish_non_exhaustive()
    }
}

fn segment_of(interface: IfIndex) -> Option<usize> {
    usize::try_from(interface.0.checked_sub(2)?).ok()
}
