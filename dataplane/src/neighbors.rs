//! Neighbours: what the kernel knows of the stations on our links, and what is asked of it. Pure: events in, effects out.
//!
//! ```text
//!                Demand / wanted            Valid
//!      (absent) ───────────────▶ Incomplete ──────▶ Complete ──┐ Valid: follow the address
//!         ▲                       │   ▲  ▲             │  │    │ Tick: stale and in use → Ask
//!         │ Gone, not wanted      │   │  └─Gone, in use─┘  ◀───┘
//!         │                Failed │   │ hold over, wanted  │ Failed
//!         │                       ▼   │                    │
//!         └─ hold over ────────── Failed ◀─────────────────┘
//! ```
//!
//! The kernel speaks ARP. An entry exists for every station that the kernel has an address for, for every gateway of a
//! next-hop group (*wanted*), and for what workers asked for (*demand*). The kernel does not see our packets, so it
//! lets an entry go stale and forgets it; a stale one that workers use is therefore *asked* for again (NTF_USE), which
//! makes the kernel confirm it before anyone notices.
//!
//! A failed neighbour stays failed for [`FAILED_HOLD`], so that its packets are answered with ICMP 3/1 at once; after
//! that the next packet (or, for a gateway, the next tick) asks again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_net::{Instant, Mac, PortId};

/// How long packets to a failed neighbour are answered at once instead of being held for another try.
pub(crate) const FAILED_HOLD: Duration = Duration::from_secs(3);
/// The kernel gives up after mcast_solicit × retrans_time (3 × 1 s); one that says nothing for longer has no entry.
const ANSWER_PATIENCE: Duration = Duration::from_secs(4);
/// The least time between two questions about the same neighbour.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// A neighbour that a worker sent to within this time is in use.
pub(crate) const IN_USE: Duration = Duration::from_secs(5);
/// Neighbours that are being resolved on demand at the same time. A sweep of a /16 stops here, and recovers as they fail.
const MAX_UNRESOLVED: usize = 2048;

/// The kernel's word on a neighbour (NUD: neighbour unreachability detection, RFC 4861 §7.3 in the kernel's terms).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nud {
    /// The entry was removed.
    Gone,
    Incomplete,
    Failed,
    Valid(Mac, Validity),
}

/// How sure the kernel is of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Validity {
    Reachable,
    Stale,
    /// Being confirmed (NUD_DELAY, NUD_PROBE).
    Probing,
    /// Set by the administrator, or on a link without ARP. Never asked for.
    Permanent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Incomplete {
        since: Instant,
    },
    Complete {
        mac: Mac,
        validity: Validity,
    },
    Failed {
        /// When it may be tried again.
        until: Instant,
    },
}

impl State {
    /// The name users see.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Incomplete { .. } => "incomplete",
            Self::Failed { .. } => "failed",
            Self::Complete { validity, .. } => match validity {
                Validity::Reachable | Validity::Probing => "reachable",
                Validity::Stale => "stale",
                Validity::Permanent => "permanent",
            },
        }
    }

    pub(crate) fn mac(self) -> Option<Mac> {
        match self {
            Self::Complete { mac, .. } => Some(mac),
            Self::Incomplete { .. } | Self::Failed { .. } => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Kernel(Nud),
    /// A worker has a packet for it.
    Demand,
    /// A group began to use it as a gateway.
    Wanted,
    /// Time passes. `in_use`: a worker sent to it within [`IN_USE`].
    Tick {
        in_use: bool,
    },
}

/// What is to be done to the adjacency, or asked of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// The adjacency exists, without an address.
    Incomplete,
    Complete(Mac),
    Failed,
    /// No adjacency is needed.
    Remove,
    /// Have the kernel find or confirm it.
    Ask,
}

/// The station's place: the port it is on and its address there.
pub(crate) type Key = (PortId, Ipv4Addr);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) state: State,
    /// Next-hop groups that have it as a member.
    wanted: u32,
    /// When the kernel was last asked.
    asked: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct Neighbors {
    entries: BTreeMap<Key, Entry>,
    unresolved: usize,
}

impl Neighbors {
    pub(crate) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// Counts a group that has the station as a gateway. Effects as of [`Neighbors::handle`].
    pub(crate) fn want(&mut self, now: Instant, key: Key, effects: &mut Vec<(Key, Effect)>) {
        self.handle(now, key, Event::Wanted, effects);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.wanted += 1;
        }
    }

    /// The opposite of [`Neighbors::want`]; the entry itself stays until the kernel or its failure removes it.
    pub(crate) fn unwant(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.wanted = entry.wanted.saturating_sub(1);
        }
    }

    /// Carries out one event, and appends what it asks for.
    pub(crate) fn handle(&mut self, now: Instant, key: Key, event: Event, effects: &mut Vec<(Key, Effect)>) {
        let before = self.entries.get(&key).copied();
        if before.is_none() && event == Event::Demand && MAX_UNRESOLVED <= self.unresolved {
            return;
        }
        let wanted = before.map_or(0, |entry| entry.wanted);
        let mut asked = before.and_then(|entry| entry.asked);
        let step = step(now, before.map(|entry| entry.state), event, 0 < wanted || event == Event::Wanted);
        effects.extend(step.effect.map(|effect| (key, effect)));
        if step.ask && asked.is_none_or(|asked| ASK_INTERVAL <= now - asked) {
            effects.push((key, Effect::Ask));
            asked = Some(now);
        }
        self.unresolved -= usize::from(before.is_some_and(|entry| is_unresolved(entry.state)));
        match step.state {
            Some(state) => {
                self.unresolved += usize::from(is_unresolved(state));
                self.entries.insert(key, Entry { state, wanted, asked });
            }
            None => {
                self.entries.remove(&key);
            }
        }
    }

    /// Every entry in turn gets a [`Event::Tick`].
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        mut in_use: impl FnMut(Key) -> bool,
        effects: &mut Vec<(Key, Effect)>,
    ) {
        let keys: Vec<Key> = self.entries.keys().copied().collect();
        for key in keys {
            self.handle(now, key, Event::Tick { in_use: in_use(key) }, effects);
        }
    }

    /// After a dump, stations of `ports` that it did not mention are gone.
    pub(crate) fn sweep(
        &mut self,
        now: Instant,
        mentioned: impl Fn(Key) -> bool,
        effects: &mut Vec<(Key, Effect)>,
    ) {
        let keys: Vec<Key> = self
            .entries
            .iter()
            .filter(|(key, entry)| matches!(entry.state, State::Complete { .. }) && !mentioned(**key))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.handle(now, key, Event::Kernel(Nud::Gone), effects);
        }
    }

    /// The port's device is gone: every station on it is unknown. Gateways of groups stay, unresolved.
    pub(crate) fn port_gone(&mut self, now: Instant, port: PortId, effects: &mut Vec<(Key, Effect)>) {
        let keys: Vec<Key> = self.entries.keys().filter(|(on, _)| *on == port).copied().collect();
        for key in keys {
            self.handle(now, key, Event::Kernel(Nud::Gone), effects);
        }
    }
}

fn is_unresolved(state: State) -> bool {
    matches!(state, State::Incomplete { .. })
}

/// What one event does to one neighbour.
struct Step {
    state: Option<State>,
    effect: Option<Effect>,
    ask: bool,
}

fn step(now: Instant, state: Option<State>, event: Event, wanted: bool) -> Step {
    let stay = |state| Step { state, effect: None, ask: false };
    let fail = || Step {
        state: Some(State::Failed { until: now + FAILED_HOLD }),
        effect: Some(Effect::Failed),
        ask: false,
    };
    let search = || Step {
        state: Some(State::Incomplete { since: now }),
        effect: Some(Effect::Incomplete),
        ask: true,
    };
    let forget = || Step { state: None, effect: Some(Effect::Remove), ask: false };

    match (state, event) {
        (None, Event::Kernel(Nud::Valid(mac, validity))) => Step {
            state: Some(State::Complete { mac, validity }),
            effect: Some(Effect::Complete(mac)),
            ask: false,
        },
        (None, Event::Demand | Event::Wanted) => search(),
        (None, Event::Kernel(Nud::Gone | Nud::Incomplete | Nud::Failed) | Event::Tick { .. }) => stay(None),

        (Some(State::Incomplete { .. } | State::Failed { .. }), Event::Kernel(Nud::Valid(mac, validity))) => {
            Step {
                state: Some(State::Complete { mac, validity }),
                effect: Some(Effect::Complete(mac)),
                ask: false,
            }
        }
        (Some(State::Incomplete { .. }), Event::Kernel(Nud::Failed)) => fail(),
        (Some(State::Incomplete { .. }), Event::Kernel(Nud::Gone)) if !wanted => forget(),
        (Some(State::Incomplete { since }), Event::Tick { .. }) if ANSWER_PATIENCE <= now - since => fail(),
        (Some(State::Incomplete { .. }), Event::Demand | Event::Wanted | Event::Kernel(Nud::Gone)) => {
            Step { ask: true, ..stay(state) }
        }
        (Some(State::Incomplete { .. }), Event::Kernel(Nud::Incomplete) | Event::Tick { .. }) => stay(state),

        (Some(State::Complete { mac, .. }), Event::Kernel(Nud::Valid(new, validity))) => Step {
            state: Some(State::Complete { mac: new, validity }),
            effect: (mac != new).then_some(Effect::Complete(new)),
            ask: false,
        },
        (Some(State::Complete { .. }), Event::Kernel(Nud::Failed)) => fail(),
        // The kernel is at it by itself.
        (Some(State::Complete { .. }), Event::Kernel(Nud::Incomplete)) => Step { ask: false, ..search() },
        (Some(State::Complete { .. }), Event::Kernel(Nud::Gone)) if wanted => search(),
        (Some(State::Complete { .. }), Event::Kernel(Nud::Gone)) => forget(),
        (Some(State::Complete { validity, .. }), Event::Tick { in_use }) => {
            Step { ask: in_use && validity == Validity::Stale, ..stay(state) }
        }
        (Some(State::Complete { .. }), Event::Demand | Event::Wanted) => stay(state),

        (Some(State::Failed { until }), Event::Tick { .. }) if until <= now => {
            if wanted {
                search()
            } else {
                forget()
            }
        }
        (Some(State::Failed { .. }), Event::Kernel(Nud::Gone)) => {
            if wanted {
                search()
            } else {
                forget()
            }
        }
        (Some(State::Failed { .. }), Event::Wanted) => search(),
        (
            Some(State::Failed { .. }),
            Event::Kernel(Nud::Failed | Nud::Incomplete) | Event::Demand | Event::Tick { .. },
        ) => stay(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event::{Demand, Kernel, Tick, Wanted};
    use Validity::{Permanent, Probing, Reachable, Stale};

    const KEY: Key = (PortId(1), Ipv4Addr::new(192, 0, 2, 7));
    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
    const NOW: Instant = Instant::from_secs(100);

    fn incomplete(since: u64) -> Option<State> {
        Some(State::Incomplete { since: Instant::from_secs(since) })
    }

    fn failed(until: u64) -> Option<State> {
        Some(State::Failed { until: Instant::from_secs(until) })
    }

    fn complete(mac: Mac, validity: Validity) -> Option<State> {
        Some(State::Complete { mac, validity })
    }

    /// Every (state, event), for a neighbour that no group uses and for one that a group does.
    #[test]
    fn table() {
        use Effect::{Ask, Complete, Failed, Incomplete, Remove};
        let valid = |mac, validity| Kernel(Nud::Valid(mac, validity));
        let unused = Tick { in_use: false };
        let used = Tick { in_use: true };
        let (all, unwanted, wanted): (&[bool], &[bool], &[bool]) = (&[false, true], &[false], &[true]);
        /// State, event, for a wanted neighbour or not, state after it, effects.
        type Case = (Option<State>, Event, &'static [bool], Option<State>, &'static [Effect]);
        #[rustfmt::skip]
        let cases: &[Case] = &[
            (None, Kernel(Nud::Gone), unwanted, None, &[]),
            (None, Kernel(Nud::Incomplete), unwanted, None, &[]),
            (None, Kernel(Nud::Failed), unwanted, None, &[]),
            (None, valid(A, Stale), unwanted, complete(A, Stale), &[Complete(A)]),
            (None, Demand, unwanted, incomplete(100), &[Incomplete, Ask]),
            (None, Wanted, unwanted, incomplete(100), &[Incomplete, Ask]),
            (None, used, unwanted, None, &[]),

            (incomplete(99), Kernel(Nud::Gone), unwanted, None, &[Remove]),
            (incomplete(99), Kernel(Nud::Gone), wanted, incomplete(99), &[Ask]),
            (incomplete(99), Kernel(Nud::Incomplete), all, incomplete(99), &[]),
            (incomplete(99), Kernel(Nud::Failed), all, failed(103), &[Failed]),
            (incomplete(99), valid(A, Reachable), all, complete(A, Reachable), &[Complete(A)]),
            (incomplete(99), Demand, all, incomplete(99), &[Ask]),
            (incomplete(99), Wanted, all, incomplete(99), &[Ask]),
            (incomplete(97), used, all, incomplete(97), &[]),
            (incomplete(96), unused, all, failed(103), &[Failed]),

            (complete(A, Reachable), Kernel(Nud::Gone), unwanted, None, &[Remove]),
            (complete(A, Reachable), Kernel(Nud::Gone), wanted, incomplete(100), &[Incomplete, Ask]),
            (complete(A, Reachable), Kernel(Nud::Incomplete), all, incomplete(100), &[Incomplete]),
            (complete(A, Probing), Kernel(Nud::Failed), all, failed(103), &[Failed]),
            (complete(A, Reachable), valid(A, Stale), all, complete(A, Stale), &[]),
            (complete(A, Stale), valid(B, Reachable), all, complete(B, Reachable), &[Complete(B)]),
            (complete(A, Stale), Demand, all, complete(A, Stale), &[]),
            (complete(A, Stale), Wanted, all, complete(A, Stale), &[]),
            (complete(A, Stale), used, all, complete(A, Stale), &[Ask]),
            (complete(A, Stale), unused, all, complete(A, Stale), &[]),
            (complete(A, Reachable), used, all, complete(A, Reachable), &[]),
            (complete(A, Probing), used, all, complete(A, Probing), &[]),
            (complete(A, Permanent), used, all, complete(A, Permanent), &[]),

            (failed(103), Kernel(Nud::Gone), unwanted, None, &[Remove]),
            (failed(103), Kernel(Nud::Gone), wanted, incomplete(100), &[Incomplete, Ask]),
            (failed(103), Kernel(Nud::Incomplete), all, failed(103), &[]),
            (failed(103), Kernel(Nud::Failed), all, failed(103), &[]),
            (failed(103), valid(A, Reachable), all, complete(A, Reachable), &[Complete(A)]),
            (failed(103), Demand, all, failed(103), &[]),
            (failed(103), Wanted, all, incomplete(100), &[Incomplete, Ask]),
            (failed(101), used, all, failed(101), &[]),
            (failed(100), used, unwanted, None, &[Remove]),
            (failed(100), unused, wanted, incomplete(100), &[Incomplete, Ask]),
        ];
        for &(state, event, wants, expected, effects) in cases {
            for &wanted in wants {
                let mut neighbors = Neighbors::default();
                if let Some(state) = state {
                    neighbors.unresolved = usize::from(is_unresolved(state));
                    neighbors.entries.insert(KEY, Entry { state, wanted: u32::from(wanted), asked: None });
                }
                let mut done = Vec::new();
                neighbors.handle(NOW, KEY, event, &mut done);
                let case = format!("{state:?}, {event:?}, wanted {wanted}");
                assert_eq!(neighbors.get(KEY).map(|entry| entry.state), expected, "{case}");
                assert_eq!(done, effects.iter().map(|effect| (KEY, *effect)).collect::<Vec<_>>(), "{case}");
                let unresolved =
                    neighbors.entries.values().filter(|entry| is_unresolved(entry.state)).count();
                assert_eq!(neighbors.unresolved, unresolved, "{case}");
            }
        }
    }

    #[test]
    fn the_kernel_is_asked_once_a_second() {
        let mut neighbors = Neighbors::default();
        let mut asks = 0;
        for tenth in 0..20 {
            let mut effects = Vec::new();
            neighbors.handle(NOW + Duration::from_millis(100 * tenth), KEY, Demand, &mut effects);
            asks += effects.iter().filter(|(_, effect)| *effect == Effect::Ask).count();
        }
        assert_eq!(asks, 2);
    }

    #[test]
    fn a_sweep_of_addresses_is_bounded_and_recovers() {
        let mut neighbors = Neighbors::default();
        let mut effects = Vec::new();
        for host in 0..5000 {
            neighbors.handle(NOW, (PortId(0), Ipv4Addr::from_bits(host)), Demand, &mut effects);
        }
        assert_eq!(neighbors.iter().count(), MAX_UNRESOLVED);
        neighbors.tick(NOW + ANSWER_PATIENCE, |_| false, &mut effects);
        neighbors.tick(NOW + ANSWER_PATIENCE + FAILED_HOLD, |_| false, &mut effects);
        assert_eq!((neighbors.iter().count(), neighbors.unresolved), (0, 0));
    }

    #[test]
    fn gateways_outlive_their_port_and_other_stations_do_not() {
        let mut neighbors = Neighbors::default();
        let mut effects = Vec::new();
        let station = (PortId(1), Ipv4Addr::new(192, 0, 2, 8));
        let elsewhere = (PortId(2), Ipv4Addr::new(198, 51, 100, 8));
        neighbors.want(NOW, KEY, &mut effects);
        for key in [KEY, station, elsewhere] {
            neighbors.handle(NOW, key, Kernel(Nud::Valid(A, Reachable)), &mut effects);
        }
        neighbors.port_gone(NOW, PortId(1), &mut effects);
        let left: Vec<_> = neighbors.iter().map(|(key, entry)| (*key, entry.state.name())).collect();
        assert_eq!(left, [(KEY, "incomplete"), (elsewhere, "reachable")]);
    }
}
