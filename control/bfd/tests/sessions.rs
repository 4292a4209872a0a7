//! Two machines on a wire: coming up, intervals, Poll Sequences, detection, jitter, shutdown, refusals. RFC 5880 §6.8, RFC 5881.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU8;
use std::time::Duration;

use millrace_bfd::wire::{Micros, Packet};
use millrace_bfd::{
    BadPacket, Bfd, Change, Client, Config, Diagnostic, Input, Output, Params, SessionKey, State,
};
use millrace_proto::{
    Datagram, IfIndex, Instant, Interface, InterfaceEvent, LinkKind, Machine, Step, Transmit, record,
};
use proptest::prelude::*;

const ETH0: IfIndex = IfIndex(1);
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
const DELAY: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn params(tx: u32, rx: u32, mult: u8) -> Params {
    let mult = NonZeroU8::new(mult).expect("not zero");
    Params::new(Micros::from_millis(tx), Micros::from_millis(rx), mult).expect("valid parameters")
}

fn session(side: usize) -> SessionKey {
    SessionKey { interface: ETH0, neighbor: ADDRESSES[1 - side] }
}

fn config(params: Params) -> Config {
    Config { default: params, ..Config::default() }
}

/// Two systems, the frames between them, and everything that was sent and told.
struct Pair {
    sides: [Bfd; 2],
    now: Instant,
    in_flight: Vec<(Instant, usize, Transmit)>,
    /// Side that sent, time, packet.
    sent: Vec<(usize, Instant, Packet)>,
    changes: Vec<(usize, Instant, Change)>,
    /// Frames from this side are lost.
    cut: [bool; 2],
}

impl Pair {
    fn new(params: [Params; 2]) -> Self {
        let mut pair = Self {
            sides: [Bfd::new(1), Bfd::new(5)],
            now: Instant::ZERO,
            in_flight: Vec::new(),
            sent: Vec::new(),
            changes: Vec::new(),
            cut: [false; 2],
        };
        for (side, params) in params.into_iter().enumerate() {
            pair.tell(side, Input::Configure(config(params)));
            pair.tell(
                side,
                Input::Watch { client: Client::Static, session: session(side), local: ADDRESSES[side] },
            );
        }
        pair
    }

    fn up(params: [Params; 2]) -> Self {
        let mut pair = Self::new(params);
        pair.pass(5 * SECOND);
        assert_eq!(pair.states(), [State::Up, State::Up]);
        pair.sent.clear();
        pair.changes.clear();
        pair
    }

    fn tell(&mut self, side: usize, input: Input) {
        self.sides[side].handle_input(self.now, input);
        self.drain(side);
    }

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.sides[side].poll_output() {
            match output {
                Output::Send(transmit) => {
                    assert_eq!((transmit.ttl, transmit.destination.port()), (255, 3784));
                    assert!(transmit.source.port() >= 49152);
                    let packet = Packet::decode(&transmit.payload).expect("what we send decodes");
                    self.sent.push((side, self.now, packet));
                    if !self.cut[side] {
                        self.in_flight.push((self.now + DELAY, 1 - side, transmit));
                    }
                }
                Output::Changed(change) => self.changes.push((side, self.now, change)),
                Output::Open { .. } | Output::Close { .. } => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timeout =
                self.sides.iter().enumerate().filter_map(|(side, b)| Some((b.poll_timeout()?.0, side))).min();
            let arrival = self.in_flight.iter().map(|(at, ..)| *at).min();
            match (timeout, arrival) {
                (_, Some(at)) if at <= end && timeout.is_none_or(|(t, _)| at <= t) => {
                    self.now = at.max(self.now);
                    let first =
                        self.in_flight.iter().position(|(arrives, ..)| *arrives == at).expect("it is there");
                    let (_, side, transmit) = self.in_flight.remove(first);
                    self.tell(side, Input::Datagram(datagram(&transmit)));
                }
                (Some((at, side)), _) if at <= end => {
                    self.now = at.max(self.now);
                    self.sides[side].handle_timeout(self.now);
                    self.drain(side);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|side| self.sides[side].state(session(side)).unwrap_or(State::AdminDown))
    }

    fn intervals(&self, side: usize) -> Vec<Duration> {
        let times: Vec<Instant> = self
            .sent
            .iter()
            .filter(|(s, _, packet)| *s == side && !packet.finale)
            .map(|(_, at, _)| *at)
            .collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn detection_time(&self, side: usize) -> Duration {
        self.sides[side].sessions(self.now).next().expect("a session").detection_time
    }
}

fn datagram(transmit: &Transmit) -> Datagram {
    Datagram {
        interface: transmit.interface,
        source: transmit.source,
        destination: transmit.destination,
        ttl: Some(transmit.ttl),
        payload: transmit.payload.clone(),
    }
}

/// RFC 5880 §6.2: three packets bring a session up; before that no more than one a second (§6.8.3).
#[test]
fn a_session_comes_up() {
    let mut pair = Pair::new([params(50, 50, 3), params(100, 60, 4)]);
    pair.pass(2 * SECOND);
    assert_eq!(pair.states(), [State::Up, State::Up]);
    for (side, _, packet) in &pair.sent {
        let slow = packet.desired_min_tx == Micros::SECOND;
        assert_eq!(slow, packet.state != State::Up, "side {side}: {packet:?}");
        assert_eq!(packet.required_min_echo_rx, Micros::ZERO);
        assert!(!packet.demand);
    }
    let path: Vec<(usize, State, State)> =
        pair.changes.iter().map(|(side, _, c)| (*side, c.from, c.to)).collect();
    let first = path[0].0;
    assert_eq!(
        path,
        [
            (first, State::Down, State::Init),
            (1 - first, State::Down, State::Up),
            (first, State::Init, State::Up)
        ]
    );
    assert!(pair.changes.iter().all(|(_, _, change)| change.clients == BTreeSet::from([Client::Static])));
}

/// RFC 5880 §6.8.2, §6.8.4, §6.8.7: the slower of both counts, jitter takes off up to a quarter.
#[test]
fn intervals_are_negotiated() {
    for (a, b, sends, detects) in [
        (params(50, 50, 3), params(50, 50, 3), [50, 50], [150, 150]),
        (params(50, 200, 3), params(100, 80, 5), [80, 200], [1000, 240]),
        (params(300, 10, 1), params(10, 10, 10), [300, 10], [100, 300]),
    ] {
        let mut pair = Pair::up([a, b]);
        pair.pass(60 * SECOND);
        assert_eq!(pair.states(), [State::Up, State::Up]);
        for side in [0, 1] {
            let (low, high) = (ms(sends[side]) * 3 / 4, ms(sends[side]));
            let high = if [a, b][side].detect_mult().get() == 1 { high * 9 / 10 } else { high };
            let intervals = pair.intervals(side);
            assert!(
                intervals.iter().all(|i| (low..=high).contains(i)),
                "{low:?} to {high:?}: {:?}",
                intervals.iter().minmax()
            );
            assert!(intervals.iter().collect::<BTreeSet<_>>().len() > intervals.len() / 2, "jitter repeats");
            assert_eq!(pair.detection_time(side), ms(detects[side]), "side {side}");
        }
        assert!(pair.changes.is_empty(), "a good path stays up: {:?}", pair.changes);
    }
}

/// Shortest and longest, for messages.
trait MinMax<'a> {
    fn minmax(self) -> (Option<&'a Duration>, Option<&'a Duration>);
}

impl<'a, I: Iterator<Item = &'a Duration> + Clone> MinMax<'a> for I {
    fn minmax(self) -> (Option<&'a Duration>, Option<&'a Duration>) {
        (self.clone().min(), self.max())
    }
}

/// RFC 5880 §6.8.4: silence in one direction takes both sides down, within the detection time, and says why.
#[test]
fn silence_is_detected() {
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    pair.pass(ms(333));
    pair.cut[0] = true;
    let cut_at = pair.now;
    pair.pass(SECOND);
    let (side, at, first) = pair.changes[0].clone();
    assert_eq!((side, first.from, first.to), (1, State::Up, State::Down));
    assert_eq!(first.diagnostic, Diagnostic::DetectionTimeExpired);
    assert!(first.is_failure());
    let took = at - cut_at;
    assert!((ms(100)..=ms(151)).contains(&took), "{took:?}");
    // The other side is told in the next packet, at once.
    let (side, at, second) = pair.changes[1].clone();
    assert_eq!((side, second.diagnostic), (0, Diagnostic::NeighborSignaledDown));
    assert!(at - cut_at <= took + ms(2));
    assert!(second.is_failure());
    pair.cut[0] = false;
    pair.pass(3 * SECOND);
    assert_eq!(pair.states(), [State::Up, State::Up]);
}

/// RFC 5880 §6.8.1: who was silent for the detection time is forgotten.
#[test]
fn the_discriminator_of_a_silent_neighbour_is_forgotten() {
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    pair.cut = [true, true];
    pair.pass(5 * SECOND);
    let (_, _, last) = pair.sent.last().unwrap();
    assert_eq!((last.state, last.your_discriminator), (State::Down, 0));
    assert!(pair.intervals(0).iter().rev().take(3).all(|interval| ms(750) <= *interval));
}

/// RFC 5880 §6.8.3: slower sending and faster receiving wait for the Final; every Poll is answered at once.
#[test]
fn poll_sequences() {
    let mut pair = Pair::up([params(50, 50, 5), params(50, 50, 5)]);
    pair.pass(SECOND);
    // Slower sending: the other side must know before its detection time would pass.
    pair.cut[1] = true;
    pair.sent.clear();
    let changed = pair.now;
    pair.tell(0, Input::Configure(config(params(400, 50, 5))));
    pair.pass(ms(120));
    let polls: Vec<_> = pair.sent.iter().filter(|(side, _, p)| *side == 0 && p.poll).collect();
    assert!(3 <= polls.len() && polls.iter().all(|(_, _, p)| p.desired_min_tx == Micros::from_millis(400)));
    assert!(pair.intervals(0).iter().all(|interval| *interval <= ms(50)), "no slower before the answer");
    pair.cut[1] = false;
    pair.pass(ms(60));
    let finals = pair.sent.iter().filter(|(side, _, p)| *side == 1 && p.finale).count();
    assert!(3 <= finals, "each poll is answered");
    pair.pass(SECOND);
    pair.sent.clear();
    pair.pass(5 * SECOND);
    assert!(pair.sent.iter().all(|(_, _, p)| !p.poll && !p.finale), "the sequence is over");
    assert!(pair.intervals(0).iter().all(|interval| (ms(300)..=ms(400)).contains(interval)));
    assert!(pair.changes.is_empty(), "{changed:?}: {:?}", pair.changes);
    assert_eq!(pair.detection_time(1), ms(2000));
    // And back: faster at once, without a packet being missed.
    pair.tell(0, Input::Configure(config(params(50, 50, 5))));
    pair.pass(5 * SECOND);
    assert_eq!(pair.detection_time(1), ms(250));
    assert!(pair.changes.is_empty());
}

/// RFC 5880 §6.8.3: a shorter receive interval counts for detection only when the other side has confirmed it.
#[test]
fn faster_receiving_waits_for_the_final() {
    let mut pair = Pair::up([params(50, 400, 3), params(50, 50, 3)]);
    assert_eq!(pair.detection_time(0), ms(1200));
    pair.cut[1] = true;
    pair.tell(0, Input::Configure(config(params(50, 50, 3))));
    pair.pass(ms(300));
    assert_eq!(pair.detection_time(0), ms(1200));
    pair.cut[1] = false;
    pair.pass(ms(500));
    assert_eq!(pair.detection_time(0), ms(150));
    // Parameters that change again while a sequence runs are confirmed too.
    pair.tell(0, Input::Configure(config(params(50, 200, 3))));
    pair.tell(0, Input::Configure(config(params(50, 100, 3))));
    pair.pass(2 * SECOND);
    assert_eq!(pair.detection_time(0), ms(300));
    assert!(pair.changes.is_empty());
}

/// RFC 5880 §6.8.3, §6.8.7: who asks for fewer packets gets fewer from the next one on.
#[test]
fn a_neighbour_that_asks_for_fewer_packets() {
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    pair.pass(SECOND);
    for step in 0..12 {
        pair.tell(1, Input::Configure(config(params(50, 500, 3))));
        let heard = pair.now + DELAY;
        pair.pass(2 * SECOND + ms(7 * step));
        let periodic = pair.sent.iter().filter(|(side, _, p)| *side == 0 && !p.finale).map(|(_, at, _)| *at);
        let (before, after): (Vec<Instant>, Vec<Instant>) = periodic.partition(|at| *at <= heard);
        let last = *before.last().unwrap();
        assert!(last + ms(375) <= after[0], "step {step}: {:?} after the last one", after[0] - last);
        assert!(pair.intervals(0).iter().rev().take(2).all(|interval| ms(375) <= *interval));
        pair.tell(1, Input::Configure(config(params(50, 50, 3))));
        pair.pass(2 * SECOND);
    }
    assert!(pair.changes.is_empty());
}

/// RFC 5880 §6.8.16, RFC 5882 §3.2: a session that is shut down is no failure to the other side.
#[test]
fn administrative_shutdown() {
    let up = params(50, 50, 3);
    let mut pair = Pair::up([up, up]);
    pair.tell(0, Input::Configure(config(up.with_shutdown(true))));
    pair.pass(SECOND);
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    let (_, _, seen) = pair.changes.iter().find(|(side, ..)| *side == 1).unwrap();
    assert_eq!((seen.remote, seen.diagnostic), (State::AdminDown, Diagnostic::NeighborSignaledDown));
    assert!(!seen.is_failure());
    let (_, _, own) = pair.changes.iter().find(|(side, ..)| *side == 0).unwrap();
    assert_eq!(own.diagnostic, Diagnostic::AdministrativelyDown);
    pair.pass(10 * SECOND);
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    pair.tell(0, Input::Configure(config(up)));
    pair.pass(3 * SECOND);
    assert_eq!(pair.states(), [State::Up, State::Up]);
}

/// A session ends with its last client, and the other side is told for long enough.
#[test]
fn sessions_live_while_someone_watches() {
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    let watch = |client| Input::Watch { client, session: session(0), local: ADDRESSES[0] };
    let unwatch = |client| Input::Unwatch { client, session: session(0) };
    pair.tell(0, watch(Client::Bgp));
    pair.tell(0, watch(Client::Bgp));
    pair.tell(0, unwatch(Client::Static));
    pair.tell(0, unwatch(Client::Ospf));
    pair.pass(SECOND);
    assert!(pair.changes.is_empty());
    pair.tell(0, unwatch(Client::Bgp));
    pair.pass(ms(10));
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    assert!(!pair.changes.iter().any(|(side, _, change)| *side == 1 && change.is_failure()));
    // Someone who comes back in time finds the session alive.
    pair.tell(0, watch(Client::Rip));
    pair.pass(3 * SECOND);
    assert_eq!(pair.states(), [State::Up, State::Up]);
    pair.tell(0, unwatch(Client::Rip));
    let told = pair.sent.len();
    pair.pass(4 * SECOND);
    let packets =
        pair.sent[told - 1..].iter().filter(|(side, _, p)| *side == 0 && p.state == State::AdminDown).count();
    assert!((3..=5).contains(&packets), "{packets}");
    assert_eq!(pair.sides[0].sessions(pair.now).count(), 0);
    assert!(pair.sides[0].poll_timeout().is_none());
}

/// RFC 5880 §6.1: two passive sides stay silent; one active side is enough.
#[test]
fn roles() {
    let passive = params(50, 50, 3).with_passive(true);
    let mut pair = Pair::new([passive, passive]);
    pair.pass(10 * SECOND);
    assert!(pair.sent.is_empty());
    let mut pair = Pair::new([passive, params(50, 50, 3)]);
    pair.pass(3 * SECOND);
    assert_eq!(pair.states(), [State::Up, State::Up]);
    assert_eq!(pair.sent[0].0, 1, "the active side speaks first");
}

/// An interface that goes down is faster than any detection time.
#[test]
fn interface_down() {
    let interface = |up| {
        let (name, kind) = ("eth0".into(), LinkKind::Broadcast);
        InterfaceEvent::Upsert(Interface { index: ETH0, name, kind, up, mtu: 1500, addresses: vec![] })
    };
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    pair.tell(0, Input::Interface(interface(true)));
    assert!(pair.changes.is_empty());
    pair.tell(0, Input::Interface(interface(false)));
    assert_eq!(pair.changes[0].2.diagnostic, Diagnostic::PathDown);
    assert!(pair.changes[0].2.is_failure());
    pair.sent.clear();
    pair.pass(3 * SECOND);
    assert!(pair.sent.iter().all(|(side, ..)| *side == 1), "nothing is sent into a dead interface");
    pair.tell(0, Input::Interface(interface(true)));
    pair.pass(3 * SECOND);
    assert_eq!(pair.states(), [State::Up, State::Up]);
}

/// The most specific parameters count, also when the interface's name is learned later.
#[test]
fn parameters_by_interface_and_neighbour() {
    let mut config = config(params(300, 300, 3));
    config.interfaces = BTreeMap::from([("eth0".into(), params(200, 200, 3))]);
    let mut bfd = Bfd::new(1);
    let mut tell = |input| {
        bfd.handle_input(Instant::ZERO, input);
        bfd.sessions(Instant::ZERO).map(|view| view.min_rx.0 / 1000).collect::<Vec<_>>()
    };
    tell(Input::Configure(config.clone()));
    let watch = Input::Watch { client: Client::Ospf, session: session(0), local: ADDRESSES[0] };
    assert_eq!(tell(watch), [300]);
    let (name, kind) = ("eth0".into(), LinkKind::Broadcast);
    let eth0 = Interface { index: ETH0, name, kind, up: true, mtu: 1500, addresses: vec![] };
    assert_eq!(tell(Input::Interface(InterfaceEvent::Upsert(eth0))), [200]);
    config.neighbors = BTreeMap::from([(ADDRESSES[1], params(100, 100, 3))]);
    assert_eq!(tell(Input::Configure(config)), [100]);
}

/// RFC 5880 §6.8.6, RFC 5881 §5: every reason to refuse a packet, one counter each, and the session unmoved.
#[test]
fn packets_that_are_refused() {
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    let (_, _, good) = {
        pair.pass(ms(200));
        *pair.sent.iter().rev().find(|(side, _, p)| *side == 1 && !p.poll && !p.finale).unwrap()
    };
    let down = Packet { state: State::Down, ..good };
    let base = |packet: &Packet| Datagram {
        interface: ETH0,
        source: SocketAddrV4::new(ADDRESSES[1], 49152),
        destination: SocketAddrV4::new(ADDRESSES[0], 3784),
        ttl: Some(255),
        payload: packet.encode(),
    };
    let with = |at: usize, to: u8| {
        let mut datagram = base(&down);
        datagram.payload[at] = to;
        datagram
    };
    for (reason, datagram) in [
        (BadPacket::Ttl, Datagram { ttl: Some(254), ..base(&down) }),
        (BadPacket::Ttl, Datagram { ttl: None, ..base(&down) }),
        (BadPacket::Version, with(0, 0x40)),
        (BadPacket::Length, with(3, 10)),
        (BadPacket::DetectMult, with(2, 0)),
        (BadPacket::Multipoint, with(1, 0x41)),
        (BadPacket::MyDiscriminator, base(&Packet { my_discriminator: 0, ..down })),
        (BadPacket::PollAndFinal, with(1, 0x70)),
        (
            BadPacket::YourDiscriminator,
            base(&Packet { your_discriminator: good.your_discriminator ^ 1, ..down }),
        ),
        (BadPacket::State, base(&Packet { your_discriminator: 0, state: State::Up, ..good })),
        (BadPacket::State, base(&Packet { your_discriminator: 0, state: State::Init, ..good })),
        (BadPacket::WrongNeighbor, Datagram { interface: IfIndex(9), ..base(&down) }),
        (
            BadPacket::WrongNeighbor,
            Datagram { source: SocketAddrV4::new([10, 0, 0, 9].into(), 49152), ..base(&down) },
        ),
        (
            BadPacket::NoSession,
            Datagram {
                source: SocketAddrV4::new([10, 0, 0, 9].into(), 49152),
                ..base(&Packet { your_discriminator: 0, ..down })
            },
        ),
    ] {
        let before = pair.sides[0].bad_packets().get(reason);
        pair.tell(0, Input::Datagram(datagram));
        assert_eq!(pair.sides[0].bad_packets().get(reason), before + 1, "{reason:?}");
        assert!(pair.changes.is_empty(), "{reason:?}");
    }
    pair.tell(0, Input::Datagram(base(&down)));
    assert_eq!(pair.changes.len(), 1);
}

/// RFC 5880 §6.6: a neighbour that asks for Demand mode is sent packets all the same, and it is counted.
#[test]
fn demand_mode_is_refused() {
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    pair.pass(ms(200));
    let (_, _, good) = *pair.sent.iter().rev().find(|(side, _, p)| *side == 1 && !p.finale).unwrap();
    pair.cut[1] = true;
    pair.sent.clear();
    for _ in 0..20 {
        let transmit = Transmit {
            interface: ETH0,
            source: SocketAddrV4::new(ADDRESSES[1], 49152),
            destination: SocketAddrV4::new(ADDRESSES[0], 3784),
            ttl: 255,
            payload: Packet { demand: true, poll: false, ..good }.encode(),
        };
        pair.tell(0, Input::Datagram(datagram(&transmit)));
        pair.pass(ms(50));
    }
    assert!(19 <= pair.intervals(0).len());
    let view = pair.sides[0].sessions(pair.now).next().unwrap();
    assert_eq!((view.state, view.counters.demand_refused), (State::Up, 1));
}

/// RFC 5880 §6.8.7: a neighbour that can receive nothing is sent nothing but answers.
#[test]
fn a_neighbour_that_receives_nothing() {
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    pair.pass(ms(200));
    let (_, _, good) = *pair.sent.iter().rev().find(|(side, _, p)| *side == 1 && !p.finale).unwrap();
    pair.cut = [false, true];
    let say = |pair: &mut Pair, poll| {
        let payload = Packet { required_min_rx: Micros::ZERO, poll, ..good }.encode();
        let source = SocketAddrV4::new(ADDRESSES[1], 49152);
        let destination = SocketAddrV4::new(ADDRESSES[0], 3784);
        pair.tell(
            0,
            Input::Datagram(Datagram { interface: ETH0, source, destination, ttl: Some(255), payload }),
        );
    };
    say(&mut pair, false);
    pair.sent.clear();
    for _ in 0..10 {
        pair.pass(ms(40));
        say(&mut pair, false);
    }
    assert!(pair.sent.iter().all(|(side, ..)| *side == 1));
    say(&mut pair, true);
    assert!(pair.sent.iter().any(|(side, _, p)| *side == 0 && p.finale));
}

/// RFC 5881 §4: every session has a port and a discriminator of its own.
#[test]
fn ports_and_discriminators_are_unique() {
    let mut bfd = Bfd::new(7);
    for host in 0..200 {
        let session = SessionKey { interface: ETH0, neighbor: Ipv4Addr::new(10, 0, 1, host) };
        bfd.handle_input(Instant::ZERO, Input::Watch { client: Client::Bgp, session, local: ADDRESSES[0] });
    }
    let ports: BTreeSet<u16> = std::iter::from_fn(|| bfd.poll_output())
        .filter_map(
            |output| if let Output::Open { source, .. } = output { Some(source.port()) } else { None },
        )
        .collect();
    let discriminators: BTreeSet<u32> = bfd.sessions(Instant::ZERO).map(|view| view.discriminator).collect();
    assert_eq!((ports.len(), discriminators.len()), (200, 200));
    assert!(*ports.first().unwrap() >= 49152 && !discriminators.contains(&0));
}

/// An equal configuration, and a second request to watch, cause nothing.
#[test]
fn telling_the_same_again_changes_nothing() {
    let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
    let deadline = pair.sides[0].poll_timeout();
    pair.tell(0, Input::Configure(config(params(50, 50, 3))));
    pair.tell(0, Input::Watch { client: Client::Static, session: session(0), local: ADDRESSES[0] });
    assert!(pair.sent.is_empty() && pair.changes.is_empty());
    assert_eq!(pair.sides[0].poll_timeout(), deadline);
}

#[test]
fn replay() {
    let mut steps = vec![
        Step::input(Instant::ZERO, Input::Configure(config(params(50, 50, 3)))),
        Step::input(
            Instant::ZERO,
            Input::Watch { client: Client::Rip, session: session(0), local: ADDRESSES[0] },
        ),
    ];
    steps.extend((1..60).map(|secs| Step::timeout(Instant::from_secs(secs))));
    let file = serde_json::to_string(&steps).unwrap();
    let read: Vec<Step<Input>> = serde_json::from_str(&file).unwrap();
    let first = record::replay(&mut Bfd::new(3), steps);
    assert!(50 < first.len());
    assert_eq!(first, record::replay(&mut Bfd::new(3), read));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever both sides want, a good path comes up and stays up, nobody sends faster than the other can take, and
    /// silence is noticed within what was negotiated.
    #[test]
    fn any_parameters_work(
        tx in [10u32..2000, 10u32..2000], rx in [10u32..2000, 10u32..2000], mult in [1u8..10, 1u8..10],
    ) {
        let p = [0, 1].map(|side| params(tx[side], rx[side], mult[side]));
        let mut pair = Pair::new(p);
        pair.pass(20 * SECOND);
        prop_assert_eq!(pair.states(), [State::Up, State::Up]);
        pair.sent.clear();
        pair.changes.clear();
        pair.pass(20 * SECOND);
        prop_assert!(pair.changes.is_empty());
        for side in [0, 1] {
            let interval = ms(tx[side].max(rx[1 - side]).into());
            let fastest = pair.intervals(side).into_iter().min().unwrap_or(interval);
            prop_assert!(interval * 3 / 4 <= fastest, "{:?} of {:?}", fastest, interval);
            prop_assert_eq!(pair.detection_time(1 - side), interval * u32::from(mult[side]));
        }
        pair.cut[0] = true;
        let detection = pair.detection_time(1);
        let cut_at = pair.now;
        pair.pass(detection + DELAY);
        let noticed = pair.changes.iter().find(|(side, ..)| *side == 1).map(|(_, at, _)| *at - cut_at);
        prop_assert!(noticed.is_some_and(|took| took <= detection + DELAY), "{:?}", noticed);
    }

    /// Datagrams of any content never hang or break a machine that is up.
    #[test]
    fn any_datagrams_are_survived(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40)) {
        let mut pair = Pair::up([params(50, 50, 3), params(50, 50, 3)]);
        let (_, _, good) = { pair.pass(ms(100)); *pair.sent.last().unwrap() };
        for noise in payloads {
            let mut payload = Packet { poll: false, finale: false, ..good }.encode();
            for (to, from) in payload.iter_mut().skip(1).zip(&noise) {
                *to = *from;
            }
            let source = SocketAddrV4::new(ADDRESSES[1], 49152);
            let destination = SocketAddrV4::new(ADDRESSES[0], 3784);
            pair.tell(0, Input::Datagram(Datagram { interface: ETH0, source, destination, ttl: Some(255), payload }));
            pair.pass(ms(5));
        }
        pair.pass(10 * SECOND);
        prop_assert_eq!(pair.states(), [State::Up, State::Up]);
    }
}
