//! One session: its variables (RFC 5880 §6.8.1), timers and Poll Sequences. It knows nothing of addresses.

use std::time::Duration;

use millrace_proto::{Instant, Rng};

use crate::config::Params;
use crate::state::{Diagnostic, Event, State};
use crate::wire::{Micros, Packet};

#[derive(Clone, Debug)]
pub(crate) struct Session {
    params: Params,
    pub(crate) state: State,
    pub(crate) diagnostic: Diagnostic,
    pub(crate) discriminator: u32,
    pub(crate) remote: Remote,
    /// What our packets say (bfd.DesiredMinTxInterval, bfd.RequiredMinRxInterval).
    desired_min_tx: Micros,
    required_min_rx: Micros,
    /// What we go by until the other side has heard of slower sending or faster receiving (RFC 5880 §6.8.3).
    tx_in_force: Micros,
    rx_in_force: Micros,
    poll: Poll,
    last_sent: Option<Instant>,
    next_send: Option<Instant>,
    detect_at: Option<Instant>,
    /// The session's own share of packets to send at once.
    pub(crate) pending: Vec<Packet>,
    pub(crate) counters: Counters,
}

/// What the other side last said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Remote {
    pub(crate) state: State,
    pub(crate) diagnostic: Diagnostic,
    /// 0: not known, or silent for the detection time.
    pub(crate) discriminator: u32,
    pub(crate) min_tx: Micros,
    pub(crate) min_rx: Micros,
    pub(crate) detect_mult: u8,
    pub(crate) demand: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Poll {
    Idle,
    /// Packets carry the Poll bit until a Final comes. `again`: something changed since it began.
    Active {
        again: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Counters {
    pub sent: u64,
    pub received: u64,
    /// Times the session came up.
    pub up: u64,
    /// Times it went down from up.
    pub down: u64,
    /// Packets by which the other side asked for Demand mode.
    pub demand_refused: u64,
}

impl Session {
    pub(crate) fn new(now: Instant, params: Params, discriminator: u32, rng: &mut Rng) -> Self {
        let state = if params.shutdown() { State::AdminDown } else { State::Down };
        let mut session = Self {
            params,
            state,
            diagnostic: if params.shutdown() { Diagnostic::AdministrativelyDown } else { Diagnostic::None },
            discriminator,
            remote: Remote {
                state: State::Down,
                diagnostic: Diagnostic::None,
                discriminator: 0,
                min_tx: Micros::ZERO,
                // RFC 5880 §6.8.1
                min_rx: Micros(1),
                detect_mult: 0,
                demand: false,
            },
            desired_min_tx: params.min_tx().max(Micros::SECOND),
            required_min_rx: params.min_rx(),
            tx_in_force: params.min_tx().max(Micros::SECOND),
            rx_in_force: params.min_rx(),
            poll: Poll::Idle,
            last_sent: None,
            next_send: None,
            detect_at: None,
            pending: Vec::new(),
            counters: Counters::default(),
        };
        if session.may_send() {
            // Not all sessions of a router at once.
            let soon = rng.between(Duration::ZERO, session.send_interval() / 4);
            session.next_send = Some(now + soon);
        }
        session
    }

    /// The earliest deadline.
    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let send = self.next_send.map(|at| (at, "bfd: next control packet"));
        let detect = self.detect_at.map(|at| (at, "bfd: detection time"));
        send.into_iter().chain(detect).min_by_key(|(at, _)| *at)
    }

    /// Detection time of RFC 5880 §6.8.4, once it is known.
    pub(crate) fn detection_time(&self) -> Duration {
        self.rx_in_force.max(self.remote.min_tx).duration() * u32::from(self.remote.detect_mult)
    }

    /// The interval of RFC 5880 §6.8.2, without jitter.
    pub(crate) fn send_interval(&self) -> Duration {
        self.tx_in_force.max(self.remote.min_rx).duration()
    }

    pub(crate) const fn params(&self) -> &Params {
        &self.params
    }

    /// Handles a packet that passed the checks of its octets and belongs to this session. RFC 5880 §6.8.6.
    pub(crate) fn receive(&mut self, now: Instant, packet: &Packet, rng: &mut Rng) {
        self.counters.received += 1;
        self.counters.demand_refused += u64::from(packet.demand && !self.remote.demand);
        self.remote = Remote {
            state: packet.state,
            diagnostic: packet.diagnostic,
            discriminator: packet.my_discriminator,
            min_tx: packet.desired_min_tx,
            min_rx: packet.required_min_rx,
            detect_mult: packet.detect_mult,
            demand: packet.demand,
        };
        if packet.finale {
            self.poll_answered();
        }
        let before = self.state;
        self.apply(Event::Heard(packet.state));
        self.detect_at = Some(now + self.detection_time());
        if packet.poll && self.state != State::AdminDown {
            self.counters.sent += 1;
            let finale = Packet { poll: false, finale: true, ..self.packet() };
            self.pending.push(finale);
        }
        self.reschedule(now, self.state != before, rng);
    }

    /// Something that no packet says.
    pub(crate) fn handle(&mut self, now: Instant, event: Event, rng: &mut Rng) {
        let before = self.state;
        self.apply(event);
        if event == Event::PathDown {
            self.lose_remote();
        }
        self.reschedule(now, self.state != before, rng);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, rng: &mut Rng) {
        if self.detect_at.is_some_and(|at| at <= now) {
            let before = self.state;
            self.apply(Event::DetectionExpired);
            self.lose_remote();
            self.reschedule(now, self.state != before, rng);
        }
        if self.next_send.is_some_and(|at| at <= now) {
            self.send(now, rng);
        }
    }

    /// New parameters. RFC 5880 §6.8.3, §6.8.12.
    pub(crate) fn configure(&mut self, now: Instant, params: Params, rng: &mut Rng) {
        let before = std::mem::replace(&mut self.params, params);
        if before == params {
            return;
        }
        let said = self.packet();
        if before.shutdown() != params.shutdown() {
            self.apply(if params.shutdown() { Event::Disable } else { Event::Enable });
        }
        self.set_intervals();
        let news = Packet { poll: said.poll, ..self.packet() } != said;
        self.reschedule(now, news, rng);
    }

    fn apply(&mut self, event: Event) {
        let Some((next, diagnostic)) = self.state.after(event) else { return };
        let was_up = self.state == State::Up;
        self.state = next;
        // The reason of the last failure is worth saying until the session is up again.
        if next == State::Up || diagnostic != Diagnostic::None {
            self.diagnostic = diagnostic;
        }
        self.counters.up += u64::from(next == State::Up);
        self.counters.down += u64::from(was_up);
        if next != State::Up {
            self.poll = Poll::Idle;
        }
        self.set_intervals();
    }

    /// Brings what we say and what we go by in line with parameters and state.
    fn set_intervals(&mut self) {
        let up = self.state == State::Up;
        // RFC 5880 §6.8.3: no faster than once a second while the session is not up.
        let tx = if up { self.params.min_tx() } else { self.params.min_tx().max(Micros::SECOND) };
        let rx = self.params.min_rx();
        let changed = (self.desired_min_tx, self.required_min_rx) != (tx, rx);
        (self.desired_min_tx, self.required_min_rx) = (tx, rx);
        if !up {
            (self.tx_in_force, self.rx_in_force) = (tx, rx);
            return;
        }
        // Slower sending and faster receiving wait for the other side to know; the contrary does no harm at once.
        self.tx_in_force = self.tx_in_force.min(tx);
        self.rx_in_force = self.rx_in_force.max(rx);
        if changed {
            self.poll = match self.poll {
                Poll::Idle => Poll::Active { again: false },
                Poll::Active { .. } => Poll::Active { again: true },
            };
        }
    }

    /// RFC 5880 §6.5: the Poll Sequence ends, and what it announced is in force.
    fn poll_answered(&mut self) {
        match self.poll {
            Poll::Idle => {}
            // The answer may be to the values before the last change: ask once more.
            Poll::Active { again: true } => self.poll = Poll::Active { again: false },
            Poll::Active { again: false } => {
                self.poll = Poll::Idle;
                (self.tx_in_force, self.rx_in_force) = (self.desired_min_tx, self.required_min_rx);
            }
        }
    }

    /// RFC 5880 §6.8.1: forgets who was silent for the detection time.
    fn lose_remote(&mut self) {
        self.detect_at = None;
        self.remote.discriminator = 0;
        self.remote.state = State::Down;
        // What it can receive is unknown; at one packet a second that does not matter.
        self.remote.min_rx = Micros(1);
    }

    /// RFC 5880 §6.8.7: who may not send at all.
    fn may_send(&self) -> bool {
        let waits = self.params.passive() && self.remote.discriminator == 0;
        !waits && self.remote.min_rx != Micros::ZERO
    }

    /// Sets the time of the next packet: at once where there is news, otherwise by the interval in force.
    fn reschedule(&mut self, now: Instant, news: bool, rng: &mut Rng) {
        if !self.may_send() {
            self.next_send = None;
        } else if news {
            self.send(now, rng);
        } else {
            // A deadline that stands is kept unless the interval has changed so much that it is too late or too early.
            let last = self.last_sent.unwrap_or(now);
            let (earliest, latest) = (last + self.send_interval() * 3 / 4, last + self.send_interval());
            if self.next_send.is_none_or(|at| at < earliest || latest < at) {
                self.next_send = Some((last + self.jittered(rng)).max(now));
            }
        }
    }

    fn send(&mut self, now: Instant, rng: &mut Rng) {
        self.counters.sent += 1;
        let packet = self.packet();
        self.pending.push(packet);
        self.last_sent = Some(now);
        self.next_send = Some(now + self.jittered(rng));
    }

    /// RFC 5880 §6.8.7: 75 to 100 % of the interval, to 90 % where one lost packet is already too many.
    fn jittered(&self, rng: &mut Rng) -> Duration {
        let interval = self.send_interval();
        let longest = if self.params.detect_mult().get() == 1 { interval * 9 / 10 } else { interval };
        rng.between(interval * 3 / 4, longest)
    }

    fn packet(&self) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.poll != Poll::Idle,
            finale: false,
            control_plane_independent: false,
            demand: false,
            detect_mult: self.params.detect_mult().get(),
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.desired_min_tx,
            required_min_rx: self.required_min_rx,
            // RFC 5880 §6.8.9: zero, we do not echo.
            required_min_echo_rx: Micros::ZERO,
        }
    }

    /// For `show bfd`.
    pub(crate) const fn announced(&self) -> (Micros, Micros) {
        (self.desired_min_tx, self.required_min_rx)
    }
}
