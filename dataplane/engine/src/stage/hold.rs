//! Packets that wait for a neighbour's hardware address. RFC 1812 §3.3.2, RFC 1122 §2.3.2.2.
//! Reads: next hop. Next: fib_lookup once the neighbour has answered, or icmp_error via neighbor-failed.
//! Drops: hold-full (the oldest of a full next hop, the newest of a full queue).
//!
//! Packets are held as they came, their TTL untouched, and are routed anew when released. All memory is taken at
//! the start.

use core::net::Ipv4Addr;
use core::time::Duration;

use arrayvec::ArrayVec;
use millrace_net::{Instant, Meter, PortId, Rate};

use crate::limiter::Bucket;
use crate::packet::Packet;

/// Packets a next hop can have waiting.
pub(crate) const PER_NEXT_HOP: usize = 8;
/// Packets, and so next hops, in all.
pub(crate) const CAPACITY: usize = 256;
/// How long a packet waits at most.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a next hop is not asked for again.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Next hops asked for while the queue is full of others, so that a scan of a subnet does not starve everybody else.
const ASK_WHEN_FULL: Meter = Meter::new(Rate { per_second: 100, burst: 20 });

/// A packet that waits.
#[derive(Debug)]
pub(crate) struct Held<F> {
    pub(crate) packet: Packet,
    pub(crate) frame: F,
    /// Made by the router itself: it is not aged, and nobody is told when it fails.
    pub(crate) own: bool,
}

#[derive(Debug)]
pub(crate) struct Hold<F> {
    /// Port and next hop of `waits`, index by index: what a packet's next hop is looked for in.
    keys: Vec<Key>,
    waits: Vec<Wait<F>>,
    frames: usize,
    /// The earliest deadline of `waits`, or earlier.
    deadline: Instant,
    ask_when_full: Bucket,
}

#[derive(Debug)]
struct Wait<F> {
    deadline: Instant,
    asked: Instant,
    queue: ArrayVec<Held<F>, PER_NEXT_HOP>,
}

type Key = (PortId, Ipv4Addr);

/// All that waited for one next hop.
pub(crate) type Released<F> = ArrayVec<Held<F>, PER_NEXT_HOP>;

/// What became of a packet that was to be held.
#[derive(Debug)]
pub(crate) struct Admission<F> {
    /// The neighbour is to be asked for.
    pub(crate) ask: bool,
    /// Who had to give way.
    pub(crate) refused: Option<Refused<F>>,
}

#[derive(Debug)]
pub(crate) enum Refused<F> {
    /// The longest-waiting packet of the same next hop.
    Older(Held<F>),
    /// The packet itself.
    New(Held<F>),
}

impl<F> Hold<F> {
    pub(crate) fn new() -> Self {
        Self {
            keys: Vec::with_capacity(CAPACITY),
            waits: Vec::with_capacity(CAPACITY),
            frames: 0,
            deadline: Instant::NEVER,
            ask_when_full: Bucket::FULL,
        }
    }

    pub(crate) const fn frames(&self) -> usize {
        self.frames
    }

    /// When [`Hold::expired`] has something to give, at the earliest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.frames != 0).then_some(self.deadline)
    }

    pub(crate) fn admit(&mut self, now: Instant, key: Key, held: Held<F>) -> Admission<F> {
        let Some(at) = self.keys.iter().position(|&k| k == key) else {
            return self.admit_first(now, key, held);
        };
        let Some(wait) = self.waits.get_mut(at) else {
            return Admission { ask: false, refused: Some(Refused::New(held)) };
        };
        let ask = wait.asked + ASK_INTERVAL <= now;
        if ask {
            wait.asked = now;
        }
        // RFC 1122 §2.3.2.2: at least the latest packet of each destination is kept.
        let oldest =
            if wait.queue.is_full() || self.frames == CAPACITY { wait.queue.pop_at(0) } else { None };
        wait.queue.push(held);
        self.frames += usize::from(oldest.is_none());
        Admission { ask, refused: oldest.map(Refused::Older) }
    }

    fn admit_first(&mut self, now: Instant, key: Key, held: Held<F>) -> Admission<F> {
        if self.frames == CAPACITY {
            return Admission {
                ask: self.ask_when_full.take(now, ASK_WHEN_FULL),
                refused: Some(Refused::New(held)),
            };
        }
        let mut queue = ArrayVec::new();
        queue.push(held);
        let deadline = now + PATIENCE;
        self.keys.push(key);
        self.waits.push(Wait { deadline, asked: now, queue });
        self.frames += 1;
        self.deadline = self.deadline.min(deadline);
        Admission { ask: true, refused: None }
    }

    /// Takes out a next hop for which `ready` holds, searching from `cursor` downwards; start with [`Hold::end`].
    /// Packets admitted meanwhile are not visited.
    pub(crate) fn take_if(&mut self, cursor: &mut usize, ready: impl Fn(Key) -> bool) -> Option<Released<F>> {
        while let Some(at) = cursor.checked_sub(1) {
            *cursor = at;
            if self.keys.get(at).is_some_and(|&key| ready(key)) {
                return Some(self.remove(at));
            }
        }
        None
    }

    pub(crate) const fn end(&self) -> usize {
        self.keys.len()
    }

    /// Takes out a next hop whose time is up.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Released<F>> {
        if now < self.deadline {
            return None;
        }
        let at = self.waits.iter().position(|wait| wait.deadline <= now);
        if at.is_none() {
            self.deadline = self.waits.iter().map(|wait| wait.deadline).min().unwrap_or(Instant::NEVER);
        }
        at.map(|at| self.remove(at))
    }

    fn remove(&mut self, at: usize) -> Released<F> {
        self.keys.swap_remove(at);
        let wait = self.waits.swap_remove(at);
        self.frames -= wait.queue.len();
        wait.queue
    }
}
