//! Where the engine's frames go: the worker's own sockets, another worker's inbox, or back to the pool.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use millrace_engine::{self as engine, DropReason, Stage};
use millrace_nat::Event;
use millrace_net::{Instant, PortId};
use millrace_xsk::{Cache, Frame, Socket, Wake};

use crate::bell::Bell;
use crate::clock;
use crate::counters::WorkerPage;
use crate::handoff::{Inbox, Purpose};

use super::tap::{Moment, Point, Tap};
use super::watch::TxWatch;

/// Frames that wait for a place in the transmit ring of one port. Beyond it the engine drops, with a reason.
const LANE_LIMIT: usize = 1024;
/// Neighbours asked for that the clerk has not read yet. Workers ask again a second later.
const REQUESTS: usize = 1024;
/// Events of NAT that the clerk has not read yet; what is beyond is counted.
const EVENTS: usize = 16384;

/// A frame of the UMEM as the engine wants it.
#[derive(Debug)]
pub(crate) struct Packet(pub(super) Frame);

impl engine::Frame for Packet {
    #[inline]
    fn data(&self) -> &[u8] {
        self.0.data()
    }

    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        self.0.data_mut()
    }

    #[inline]
    fn pull_front(&mut self, n: usize) -> bool {
        self.0.pull_front(n)
    }

    #[inline]
    fn push_front(&mut self, n: usize) -> bool {
        self.0.push_front(n)
    }

    #[inline]
    fn resize(&mut self, len: usize) -> bool {
        self.0.resize(len)
    }
}

/// What workers ask of the clerk.
#[derive(Debug)]
pub(crate) struct Requests {
    resolve: ArrayQueue<(PortId, Ipv4Addr)>,
    /// What the log of NAT wants to know.
    events: ArrayQueue<Event>,
    events_lost: AtomicU64,
    pub(crate) bell: Bell,
}

impl Requests {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            resolve: ArrayQueue::new(REQUESTS),
            events: ArrayQueue::new(EVENTS),
            events_lost: AtomicU64::new(0),
            bell: Bell::new()?,
        })
    }

    pub(crate) fn next(&self) -> Option<(PortId, Ipv4Addr)> {
        self.resolve.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.resolve.is_empty() && self.events.is_empty()
    }

    /// Without the bell: it is rung once for all that a burst has led to.
    pub(crate) fn tell(&self, event: Event) {
        if self.events.push(event).is_err() {
            self.events_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn next_event(&self) -> Option<Event> {
        self.events.pop()
    }

    /// Events since the last time for which there was no room.
    pub(crate) fn take_lost_events(&self) -> u64 {
        self.events_lost.swap(0, Ordering::Relaxed)
    }
}

/// One queue of an interface, served by this worker.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) port: PortId,
    pub(super) socket: Socket,
    pub(super) watch: TxWatch,
}

/// The way out of one port.
#[derive(Debug, Default)]
struct Lane {
    way: Way,
    /// Frames for our own socket, in order.
    queue: VecDeque<Frame>,
    /// Of these, so many at the front have been seen by the tap.
    seen: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Way {
    #[default]
    Nowhere,
    /// Our socket of this index.
    Own(usize),
    /// The worker of this number has a socket.
    Peer(usize),
}

/// The engine's [`engine::Shell`].
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) cache: Cache,
    lanes: Vec<Lane>,
    /// Lanes with frames in their queue.
    loaded: ArrayVec<PortId, { PortId::MAX }>,
    inboxes: Arc<[Inbox]>,
    /// Inboxes that got something since the last flush.
    to_ring: Vec<bool>,
    requests: Arc<Requests>,
    page: Arc<WorkerPage>,
    /// Who captures, and what of the burst in hand it wants to know.
    tap: Option<Arc<Tap>>,
    moment: Moment,
    /// When the stage under way began, while stages are measured.
    lap: Option<Instant>,
}

impl Outlet {
    pub(super) fn new(
        cache: Cache,
        inboxes: Arc<[Inbox]>,
        requests: Arc<Requests>,
        page: Arc<WorkerPage>,
    ) -> Self {
        let mut lanes = Vec::new();
        lanes.resize_with(PortId::MAX, Lane::default);
        let to_ring = vec![false; inboxes.len()];
        let moment = Moment { now: clock::now(), port: None, trace: 0 };
        Self {
            cache,
            lanes,
            loaded: ArrayVec::new(),
            inboxes,
            to_ring,
            requests,
            page,
            tap: None,
            moment,
            lap: None,
        }
    }

    /// Finds the ways anew. `peer` names a worker with a socket on the port, which may be `me`.
    pub(super) fn set_ways(&mut self, me: usize, served: &[Served], peer: impl Fn(PortId) -> Option<usize>) {
        for (lane, id) in self.lanes.iter_mut().zip(0..) {
            let port = PortId(id);
            lane.way = match served.iter().position(|queue| queue.port == port) {
                Some(own) => Way::Own(own),
                None => match peer(port) {
                    Some(peer) if peer != me && peer < self.inboxes.len() => Way::Peer(peer),
                    Some(_) | None => Way::Nowhere,
                },
            };
            if lane.queue.capacity() == 0 && matches!(lane.way, Way::Own(_)) {
                lane.queue.reserve_exact(LANE_LIMIT);
            }
        }
    }

    /// Has what is sent and dropped from here on captured, or not any more.
    pub(super) fn tap(&mut self, tap: Option<Arc<Tap>>) {
        self.tap = tap;
        for lane in &mut self.lanes {
            lane.seen = 0;
        }
    }

    /// What comes is of this burst.
    pub(super) fn observe(&mut self, moment: Moment) {
        self.moment = moment;
    }

    /// Captures what waits to be sent and has not been captured.
    pub(super) fn see_sent(&mut self) {
        let Self { tap: Some(tap), cache, lanes, loaded, moment, .. } = self else { return };
        for port in loaded.iter() {
            let lane = &mut lanes[port.index()];
            for frame in lane.queue.iter().skip(lane.seen) {
                tap.see(cache, *moment, (Point::Tx, Some(*port)), frame.data(), None);
            }
            lane.seen = lane.queue.len();
        }
    }

    /// What waits to be sent is not to be captured.
    pub(super) fn overlook_sent(&mut self) {
        for port in &self.loaded {
            let lane = &mut self.lanes[port.index()];
            lane.seen = lane.queue.len();
        }
    }

    /// Starts the clock of the first stage, where stages are measured.
    #[inline]
    pub(super) fn measure(&mut self, on: bool) {
        self.lap = on.then(clock::now);
    }

    /// Drops what waits for ports that cannot send.
    pub(super) fn abandon(&mut self, can_send: impl Fn(PortId) -> bool) {
        let Self { lanes, loaded, cache, page, .. } = self;
        loaded.retain(|port| {
            if can_send(*port) {
                return true;
            }
            let queue = &mut lanes[port.index()].queue;
            page.add_abandoned(queue.len());
            for frame in queue.drain(..) {
                cache.put(frame);
            }
            lanes[port.index()].seen = 0;
            false
        });
    }

    /// Takes in what another worker wants sent.
    pub(super) fn accept(&mut self, port: PortId, frame: Frame) {
        match self.lanes.get(port.index()).map(|lane| lane.way) {
            Some(Way::Own(_)) => {
                if let Err(frame) = self.load(port, frame) {
                    self.page.add_overflowed();
                    self.cache.put(frame);
                }
            }
            // Not passed on once more: its port went out of service while it was under way.
            Some(Way::Peer(_) | Way::Nowhere) | None => {
                self.page.add_abandoned(1);
                self.cache.put(frame);
            }
        }
    }

    fn load(&mut self, port: PortId, frame: Frame) -> Result<(), Frame> {
        let lane = &mut self.lanes[port.index()];
        if LANE_LIMIT <= lane.queue.len() {
            return Err(frame);
        }
        if lane.queue.is_empty() {
            self.loaded.push(port);
        }
        lane.queue.push_back(frame);
        Ok(())
    }

    /// Fills the transmit rings, has the kernel send, takes back what was sent, and gives frames to receive into.
    /// Rings the workers that were left something. What has no room in its ring keeps its place for the next time.
    pub(super) fn flush(&mut self, served: &mut [Served]) -> Flushed {
        self.see_sent();
        let Self { cache, lanes, loaded, inboxes, to_ring, page, .. } = self;
        let mut waiting = 0;
        loaded.retain(|port| {
            let lane = &mut lanes[port.index()];
            if let Way::Own(own) = lane.way
                && let Some(queue) = served.get_mut(own)
            {
                queue.socket.complete(cache);
                let sent = queue.socket.tx_queue(&mut lane.queue);
                lane.seen = lane.seen.saturating_sub(sent);
            }
            waiting += lane.queue.len();
            !lane.queue.is_empty()
        });
        page.set_waiting(waiting);

        let mut flushed = if waiting == 0 { Flushed::All } else { Flushed::Partly };
        for Served { socket, .. } in served {
            socket.complete(cache);
            socket.refill(cache);
            match socket.wake() {
                Wake::Done | Wake::Down => {}
                Wake::Again => flushed = Flushed::Partly,
            }
        }
        for (inbox, ring) in inboxes.iter().zip(to_ring) {
            if std::mem::take(ring) {
                inbox.bell.ring();
            }
        }
        flushed
    }
}

/// Whether the kernel has everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flushed {
    All,
    /// Frames wait for the kernel to make progress: flush again soon.
    Partly,
}

impl engine::Pool for Outlet {
    type Frame = Packet;

    #[inline]
    fn take(&mut self) -> Option<Packet> {
        self.cache.take().map(Packet)
    }

    #[inline]
    fn put(&mut self, frame: Packet) {
        self.cache.put(frame.0);
    }
}

impl engine::Shell for Outlet {
    #[inline]
    fn transmit(&mut self, port: PortId, frame: Packet) -> Result<(), Packet> {
        match self.lanes.get(port.index()).map(|lane| lane.way) {
            Some(Way::Own(_)) => self.load(port, frame.0).map_err(Packet),
            Some(Way::Peer(peer)) => {
                self.inboxes[peer].leave(port, frame.0, Purpose::Send).map_err(Packet)?;
                self.to_ring[peer] = true;
                Ok(())
            }
            Some(Way::Nowhere) | None => Err(frame),
        }
    }

    #[inline]
    fn dropped(&mut self, frame: &Packet, reason: DropReason) {
        let Self { tap: Some(tap), cache, moment, .. } = self else { return };
        tap.see(cache, *moment, (Point::Drop, moment.port), frame.0.data(), Some(reason));
    }

    #[inline]
    fn lap(&mut self, stage: Stage) {
        if let Some(began) = &mut self.lap {
            let now = clock::now();
            self.page.add_stage(stage, now - *began);
            *began = now;
        }
    }

    fn hand_off(&mut self, to: engine::Handoff, port: PortId, frame: Packet) -> Result<(), Packet> {
        let worker = usize::from(to.worker);
        let Some(inbox) = self.inboxes.get(worker) else { return Err(frame) };
        inbox.leave(port, frame.0, Purpose::Decide(to.leg)).map_err(Packet)?;
        self.to_ring[worker] = true;
        Ok(())
    }

    fn resolve(&mut self, port: PortId, next_hop: Ipv4Addr) {
        // When the clerk is behind by this many, the engine's next request a second later does.
        if self.requests.resolve.push((port, next_hop)).is_ok() {
            self.requests.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{Pool, Shell};
    use millrace_xsk::{Umem, UmemConfig};

    /// An outlet of worker 0 of two, whose ports are all the other worker's.
    fn outlet(umem: &Umem) -> (Outlet, Arc<[Inbox]>, Arc<WorkerPage>) {
        let inboxes: Arc<[Inbox]> = [Inbox::new().unwrap(), Inbox::new().unwrap()].into();
        let page = Arc::new(WorkerPage::default());
        let requests = Arc::new(Requests::new().unwrap());
        let mut outlet = Outlet::new(Cache::new(umem), Arc::clone(&inboxes), requests, Arc::clone(&page));
        outlet.set_ways(0, &[], |port| (port == PortId(1)).then_some(1));
        (outlet, inboxes, page)
    }

    #[test]
    fn frames_for_a_port_of_another_worker_are_handed_over() {
        let umem = Umem::new(UmemConfig { frames: 64 }).unwrap();
        let (mut outlet, inboxes, _) = outlet(&umem);
        let frame = outlet.take().unwrap();
        outlet.transmit(PortId(1), frame).unwrap();
        assert_eq!((inboxes[0].len(), inboxes[1].len()), (0, 1));

        let frame = outlet.take().unwrap();
        let frame = outlet.transmit(PortId(2), frame).unwrap_err();
        outlet.put(frame);
        assert_eq!(outlet.flush(&mut []), Flushed::All);
        assert_eq!(umem.census().held, 1, "the frame in the inbox");
    }

    #[test]
    fn what_arrives_for_a_port_that_left_is_counted_and_freed() {
        let umem = Umem::new(UmemConfig { frames: 64 }).unwrap();
        let (mut outlet, _, page) = outlet(&umem);
        for port in [PortId(1), PortId(2), PortId(u16::MAX)] {
            let frame = outlet.take().unwrap();
            outlet.accept(port, frame.0);
        }
        assert_eq!((page.read().abandoned, umem.census().held), (3, 0));
    }

    #[test]
    fn a_lane_keeps_order_and_is_bounded() {
        let umem = Umem::new(UmemConfig { frames: 2048 }).unwrap();
        let (mut outlet, ..) = outlet(&umem);
        // A socket that is not there: everything stays in the lane.
        outlet.lanes[3].way = Way::Own(0);
        for n in 0..LANE_LIMIT {
            let mut frame = outlet.take().unwrap();
            assert!(frame.0.resize(60));
            frame.0.data_mut()[..2].copy_from_slice(&u16::try_from(n).unwrap().to_ne_bytes());
            outlet.transmit(PortId(3), frame).unwrap();
        }
        let frame = outlet.take().unwrap();
        let frame = outlet.transmit(PortId(3), frame).unwrap_err();
        outlet.put(frame);
        assert_eq!(outlet.flush(&mut []), Flushed::Partly);
        let order = outlet.lanes[3].queue.iter().map(|frame| frame.data()[..2].to_vec());
        assert!(order.zip(0u16..).all(|(bytes, n)| bytes == n.to_ne_bytes()));
        assert_eq!(outlet.page.read().waiting, LANE_LIMIT as u64);

        outlet.abandon(|port| port != PortId(3));
        assert_eq!(outlet.flush(&mut []), Flushed::All);
        assert_eq!((outlet.page.read().abandoned, umem.census().held), (LANE_LIMIT as u64, 0));
    }

    #[test]
    fn frames_of_another_shard_are_handed_over_with_their_leg() {
        let umem = Umem::new(UmemConfig { frames: 64 }).unwrap();
        let (mut outlet, inboxes, _) = outlet(&umem);
        let to = |worker| engine::Handoff { worker, leg: engine::Leg::Hairpinned };
        let frame = outlet.take().unwrap();
        outlet.hand_off(to(1), PortId(3), frame).unwrap();
        let (port, frame, purpose) = inboxes[1].take().unwrap();
        assert_eq!((port, purpose), (PortId(3), Purpose::Decide(engine::Leg::Hairpinned)));
        let frame = outlet.hand_off(to(2), PortId(3), Packet(frame)).unwrap_err();
        outlet.put(frame);
        assert_eq!(umem.census().held, 0);
    }

    #[test]
    fn a_request_rings_the_clerk() {
        let umem = Umem::new(UmemConfig { frames: 64 }).unwrap();
        let (mut outlet, ..) = outlet(&umem);
        outlet.resolve(PortId(1), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(outlet.requests.next(), Some((PortId(1), Ipv4Addr::new(192, 0, 2, 1))));
        assert!(outlet.requests.is_empty());
    }
}
