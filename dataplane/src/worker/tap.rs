//! Capture and trace: copies of frames as workers receive, send or drop them, on their way to whoever asked.
//!
//! ```text
//!   worker: frame passes the filter ─copy into a free frame─▶ bounded queue ─▶ clerk ─▶ control ─▶ pcapng
//! ```
//! What there is no room or no free frame for is counted as missed, never waited for. Without a tap a burst costs one
//! branch for each of its points.
//!
//! A tap that traces has its packets processed one at a time, so that whatever is sent or dropped meanwhile is known
//! to come of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use millrace_engine::{BURST, CounterPage, DropReason, Engine, Frame as _, Ports, VerdictKind};
use millrace_filter::Filter;
use millrace_net::{Instant, PortId};
use millrace_xsk::{Cache, Frame};

use super::outlet::{Outlet, Packet};

/// Copies that wait to be fetched.
const CAPACITY: usize = 512;

/// Where a frame was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Point {
    Rx,
    Tx,
    Drop,
    /// Not a frame: what was decided about a packet that is traced.
    Verdict,
}

/// Which points are watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Points {
    pub(crate) rx: bool,
    pub(crate) tx: bool,
    pub(crate) drop: bool,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) filter: Filter,
    /// Of this interface only.
    pub(crate) port: Option<PortId>,
    pub(crate) points: Points,
    /// Bytes of each frame, at most.
    pub(crate) snap: usize,
    pub(crate) trace: bool,
}

/// A copy of a frame, or a verdict.
#[derive(Debug)]
pub(crate) struct Taken {
    /// None of a verdict.
    pub(crate) frame: Option<Frame>,
    /// Where it came in (rx, drop) or goes out (tx); none where that is forgotten.
    pub(crate) port: Option<PortId>,
    pub(crate) point: Point,
    pub(crate) reason: Option<DropReason>,
    pub(crate) verdict: Option<VerdictKind>,
    pub(crate) at: Instant,
    /// Bytes of the original.
    pub(crate) len: usize,
    /// Number of the packet that is traced; 0 without tracing.
    pub(crate) trace: u64,
}

/// Shared by the workers that fill it and the clerk that empties it.
#[derive(Debug)]
pub(crate) struct Tap {
    order: Order,
    taken: ArrayQueue<Taken>,
    missed: AtomicU64,
    traced: AtomicU64,
}

/// The tap in force, if any, as part of a snapshot: the same if it is the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tapped(pub(crate) Option<Arc<Tap>>);

impl PartialEq for Tapped {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().map(Arc::as_ptr) == other.0.as_ref().map(Arc::as_ptr)
    }
}

impl Eq for Tapped {}

/// What is the same for a burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// Where the burst came in.
    pub(super) port: Option<PortId>,
    /// Number of the packet under trace.
    pub(super) trace: u64,
}

impl Tap {
    /// `frames` are there in all: an eighth of them may wait here.
    pub(crate) fn new(order: Order, frames: u32) -> Self {
        let capacity = CAPACITY.min(frames as usize / 8).max(1);
        Self { order, taken: ArrayQueue::new(capacity), missed: AtomicU64::new(0), traced: AtomicU64::new(0) }
    }

    /// The oldest that waits.
    pub(crate) fn next(&self) -> Option<Taken> {
        self.taken.pop()
    }

    /// Copies that wait, each in a frame but for verdicts.
    pub(crate) fn waiting(&self) -> usize {
        self.taken.len()
    }

    /// Frames that were wanted and could not be copied, since this was asked last.
    pub(crate) fn take_missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }

    fn wants(&self, point: Point, port: Option<PortId>, trace: u64, bytes: &[u8]) -> bool {
        if self.order.trace {
            return 0 < trace;
        }
        let at_point = match point {
            Point::Rx => self.order.points.rx,
            Point::Tx => self.order.points.tx,
            Point::Drop => self.order.points.drop,
            Point::Verdict => false,
        };
        at_point && self.passes(port, bytes)
    }

    fn passes(&self, port: Option<PortId>, bytes: &[u8]) -> bool {
        self.order.port.is_none_or(|of| port == Some(of)) && self.order.filter.matches(bytes)
    }

    /// Takes a copy of a frame that is wanted.
    pub(super) fn see(
        &self,
        cache: &mut Cache,
        moment: Moment,
        (point, port): (Point, Option<PortId>),
        bytes: &[u8],
        reason: Option<DropReason>,
    ) {
        let Moment { now, trace, .. } = moment;
        if !self.wants(point, port, trace, bytes) {
            return;
        }
        if self.taken.is_full() {
            self.miss();
            return;
        }
        let snapped = &bytes[..bytes.len().min(self.order.snap)];
        let Some(mut frame) = cache.take() else { return self.miss() };
        if !frame.resize(snapped.len()) {
            cache.put(frame);
            return self.miss();
        }
        frame.data_mut().copy_from_slice(snapped);
        let taken = Taken {
            frame: Some(frame),
            port,
            point,
            reason,
            verdict: None,
            at: now,
            len: bytes.len(),
            trace,
        };
        if let Err(Taken { frame: Some(frame), .. }) = self.taken.push(taken) {
            cache.put(frame);
            self.miss();
        }
    }

    fn decide(&self, moment: Moment, verdict: VerdictKind) {
        let Moment { now, port, trace } = moment;
        let point = Point::Verdict;
        let taken =
            Taken { frame: None, port, point, reason: None, verdict: Some(verdict), at: now, len: 0, trace };
        if self.taken.push(taken).is_err() {
            self.miss();
        }
    }

    fn miss(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A burst under observation, through the engine.
#[expect(clippy::too_many_arguments, reason = "what a worker has in hand, once")]
pub(super) fn process(
    tap: &Tap,
    engine: &mut Engine<'static, Packet>,
    counters: &CounterPage,
    now: Instant,
    ports: &Ports,
    port: PortId,
    burst: &mut ArrayVec<(PortId, Packet), BURST>,
    outlet: &mut Outlet,
) {
    let moment = Moment { now, port: Some(port), trace: 0 };
    outlet.observe(moment);
    if !tap.order.trace {
        for (_, packet) in burst.iter() {
            tap.see(&mut outlet.cache, moment, (Point::Rx, Some(port)), packet.data(), None);
        }
        return engine.process(now, ports, burst, outlet);
    }
    let mut one = ArrayVec::<(PortId, Packet), BURST>::new();
    for (_, packet) in burst.drain(..) {
        let trace = if tap.passes(Some(port), packet.data()) {
            tap.traced.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            0
        };
        let moment = Moment { trace, ..moment };
        outlet.observe(moment);
        tap.see(&mut outlet.cache, moment, (Point::Rx, Some(port)), packet.data(), None);
        let before = VerdictKind::ALL.iter().map(|kind| counters.verdicts(*kind));
        let before: ArrayVec<u64, { VerdictKind::COUNT }> = before.collect();
        one.push((port, packet));
        engine.process(now, ports, &mut one, outlet);
        if trace == 0 {
            outlet.overlook_sent();
            continue;
        }
        outlet.see_sent();
        let decided =
            VerdictKind::ALL.iter().zip(before).find(|(kind, before)| counters.verdicts(**kind) != *before);
        if let Some((kind, _)) = decided {
            tap.decide(moment, *kind);
        }
    }
    outlet.observe(Moment { port: None, trace: 0, ..moment });
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_xsk::{Umem, UmemConfig};

    fn tap(filter: &str, port: Option<u16>, points: Points, frames: u32) -> Tap {
        let filter = filter.parse().unwrap();
        Tap::new(Order { filter, port: port.map(PortId), points, snap: 20, trace: false }, frames)
    }

    const ALL: Points = Points { rx: true, tx: true, drop: true };

    #[test]
    fn what_is_not_asked_for_is_not_copied() {
        let umem = Umem::new(UmemConfig { frames: 64 }).unwrap();
        let mut cache = Cache::new(&umem);
        let moment = Moment { now: Instant::from_nanos(5), port: Some(PortId(1)), trace: 0 };
        let ip = [&[0; 12][..], &[8, 0, 0x45], &[0; 30]].concat();
        for (filter, port, points, point, at, expected) in [
            ("", None, ALL, Point::Rx, 1, true),
            ("ip", None, ALL, Point::Rx, 1, true),
            ("arp", None, ALL, Point::Rx, 1, false),
            ("", Some(1), ALL, Point::Tx, 1, true),
            ("", Some(1), ALL, Point::Tx, 2, false),
            ("", None, Points { rx: false, ..ALL }, Point::Rx, 1, false),
            ("", None, Points { tx: false, ..ALL }, Point::Tx, 1, false),
            ("", None, Points { drop: false, ..ALL }, Point::Drop, 1, false),
        ] {
            let tap = tap(filter, port, points, 64);
            tap.see(&mut cache, moment, (point, Some(PortId(at))), &ip, None);
            let taken = tap.next();
            assert_eq!(taken.is_some(), expected, "{filter:?} {point:?} of {at}");
            if let Some(Taken { frame: Some(frame), len, .. }) = taken {
                assert_eq!((frame.data(), len), (&ip[..20], ip.len()));
            }
        }
        drop(cache);
        assert_eq!(umem.census().pool, 64, "copies go back to the pool");
    }

    #[test]
    fn what_has_no_room_is_missed_and_no_frame_is_lost() {
        let umem = Umem::new(UmemConfig { frames: 64 }).unwrap();
        let mut cache = Cache::new(&umem);
        let tap = tap("", None, ALL, 64);
        let moment = Moment { now: Instant::from_nanos(5), port: None, trace: 0 };
        for _ in 0..20 {
            tap.see(&mut cache, moment, (Point::Drop, None), &[0; 60], Some(DropReason::NoRoute));
        }
        assert_eq!((tap.waiting(), tap.take_missed(), tap.take_missed()), (8, 12, 0));
        drop(tap);
        drop(cache);
        assert_eq!(umem.census().pool, 64);
    }
}
