//! What NAT cannot decide yet: fragments that came before their first one, and connections from outside that nobody has
//! asked for, but may within six seconds. RFC 4787 REQ-14, RFC 5382 REQ-4.
//! Reads: what first fragments were decided. Sets: frames that wait. Next: the packet path again, or nat-fragment,
//! nat-filtered, nat-no-mapping.
//!
//! Both have hard limits, so that a flood of fragments or SYNs costs others nothing but their patience: decisions push
//! out older ones of the same row, frames that find the room full are dropped.

use core::time::Duration;

use millrace_nat::packet::Datagram;
use millrace_nat::{Flow, Side};
use millrace_net::Instant;

use crate::frame::Handoff;
use crate::packet::{Packet, Plan};
use crate::stage::fib_lookup::mix;

/// Frames that wait, in all.
pub(crate) const CAPACITY: usize = 256;
/// Of these, unsolicited SYNs.
const SYNS: usize = 64;
/// Fragments of one datagram: 64 KiB in frames of 1,500 bytes.
const PER_DATAGRAM: usize = 45;
/// How long a fragment waits for its first one. Longer than reordering lasts, shorter than the frames are needed for.
const FRAGMENT_PATIENCE: Duration = Duration::from_secs(2);
/// RFC 5382 REQ-4.
const SYN_PATIENCE: Duration = Duration::from_secs(6);
/// How long later fragments follow their first one: RFC 791 §3.2 suggests 15 s for reassembly, hosts take up to 60.
const WAY_LIFETIME: Duration = Duration::from_secs(60);
/// Decisions remembered: rows of [`WAYS`].
const ROWS: usize = 1024;
const WAYS: usize = 4;

/// A datagram as it comes from one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Whose {
    pub(crate) side: Side,
    pub(crate) datagram: Datagram,
}

/// What was decided of a first fragment, and is done with those that follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// These addresses.
    Rewrite { src: u32, dst: u32 },
    /// As it is: exempt, or the host's own.
    Untouched,
    /// Another worker decides; with a source where the packet goes on from outside there.
    Elsewhere(Handoff, Option<u32>),
    /// Dropped, as the first one was.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    whose: Whose,
    way: Way,
    until: Instant,
}

/// Why a frame waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    Fragment(Whose),
    /// A SYN from outside, of this flow.
    Syn(Flow, crate::outcome::DropReason),
}

#[derive(Debug)]
pub(crate) struct Waiting<F> {
    pub(crate) packet: Packet,
    pub(crate) frame: F,
    pub(crate) cause: Cause,
    deadline: Instant,
}

/// The decisions and the frames of one worker.
#[derive(Debug)]
pub(crate) struct NatWait<F> {
    /// Made with the first shard: a router without NAT does not pay for it.
    rows: Vec<[Option<Entry>; WAYS]>,
    waiting: Vec<Waiting<F>>,
    syns: usize,
    /// Something was decided since waiting fragments were last looked through.
    news: bool,
    seed: u64,
}

impl<F> NatWait<F> {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { rows: Vec::new(), waiting: Vec::new(), syns: 0, news: false, seed }
    }

    /// Takes the memory it needs; without it nothing is remembered and nobody waits.
    pub(crate) fn provide(&mut self) {
        if self.rows.is_empty() {
            self.rows = vec![[None; WAYS]; ROWS];
            self.waiting = Vec::with_capacity(CAPACITY);
        }
    }

    pub(crate) const fn frames(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|w| w.deadline).min()
    }

    /// What was decided of the datagram's first fragment.
    pub(crate) fn way(&self, now: Instant, whose: &Whose) -> Option<Way> {
        let row = self.rows.get(self.row(whose))?;
        let entry = row.iter().flatten().find(|e| e.whose == *whose && now < e.until)?;
        Some(entry.way)
    }

    /// Remembers what was decided of a first fragment.
    pub(crate) fn decide(&mut self, now: Instant, whose: Whose, way: Way) {
        let at = self.row(&whose);
        self.news = true;
        let Some(row) = self.rows.get_mut(at) else { return };
        // The place of the same datagram, a free one, or the oldest.
        let rank = |entry: &Option<Entry>| match entry {
            Some(e) if e.whose == whose => Instant::ZERO,
            Some(e) => e.until,
            None => Instant::from_nanos(1),
        };
        if let Some(place) = row.iter_mut().min_by_key(|entry| rank(entry)) {
            *place = Some(Entry { whose, way, until: now + WAY_LIFETIME });
        }
    }

    /// Lets a frame wait; gives it back where there is no room.
    pub(crate) fn admit(&mut self, now: Instant, packet: Packet, frame: F, cause: Cause) -> Result<(), F> {
        let (full, patience) = match cause {
            Cause::Fragment(_) => {
                let same = self.waiting.iter().filter(|w| w.cause == cause).count();
                (PER_DATAGRAM <= same, FRAGMENT_PATIENCE)
            }
            Cause::Syn(..) => (SYNS <= self.syns, SYN_PATIENCE),
        };
        if full || self.waiting.len() == self.waiting.capacity() {
            return Err(frame);
        }
        self.syns += usize::from(matches!(cause, Cause::Syn(..)));
        self.waiting.push(Waiting { packet, frame, cause, deadline: now + patience });
        Ok(())
    }

    /// Takes out a fragment whose first one has been decided, the longest-waiting first.
    pub(crate) fn released(&mut self, now: Instant) -> Option<(Waiting<F>, Way)> {
        if !self.news {
            return None;
        }
        let found = self.waiting.iter().enumerate().find_map(|(at, w)| match &w.cause {
            Cause::Fragment(whose) => Some((at, self.way(now, whose)?)),
            Cause::Syn(..) => None,
        });
        self.news = found.is_some();
        found.map(|(at, way)| (self.remove(at), way))
    }

    /// Takes out a frame whose time is up.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Waiting<F>> {
        let at = self.waiting.iter().position(|w| w.deadline <= now)?;
        Some(self.remove(at))
    }

    fn remove(&mut self, at: usize) -> Waiting<F> {
        let waiting = self.waiting.remove(at);
        self.syns -= usize::from(matches!(waiting.cause, Cause::Syn(..)));
        waiting
    }

    fn row(&self, whose: &Whose) -> usize {
        let d = &whose.datagram;
        let addresses = u64::from(d.src) << 32 | u64::from(d.dst);
        let rest = u64::from(d.protocol) << 16 | u64::from(d.ident);
        let slot = mix(mix(self.seed, addresses), rest) >> (u64::BITS - ROWS.trailing_zeros());
        usize::try_from(slot).unwrap_or(0)
    }
}

impl Packet {
    /// A later fragment takes the way of its first one.
    pub(crate) const fn follow(&mut self, src: u32, dst: u32) {
        self.dst = dst;
        self.nat = Plan::Rewrite { src, src_port: 0, dst_port: 0, gateway: None };
    }
}
