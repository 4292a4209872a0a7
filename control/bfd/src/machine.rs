//! All sessions as one [`Machine`]: who watches whom, which packet belongs to which session, what to tell the watchers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_proto::{Datagram, IfIndex, Instant, Interface, InterfaceEvent, Machine, Rng, Timers, Transmit};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::session::Session;
use crate::state::{Diagnostic, Event, State};
use crate::stats::{BadPacket, BadPackets};
use crate::wire::{self, Packet};

/// A neighbour on an interface: RFC 5881 §3 has one session for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SessionKey {
    pub interface: IfIndex,
    pub neighbor: Ipv4Addr,
}

/// Who wants to know. A session lives while anyone does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// A neighbour named in the configuration, watched for its own sake.
    Configured,
    Static,
    Rip,
    Ospf,
    Bgp,
}

impl Client {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Static => "static",
            Self::Rip => "rip",
            Self::Ospf => "ospf",
            Self::Bgp => "bgp",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The whole configuration; an equal one changes nothing.
    Configure(Config),
    Interface(InterfaceEvent),
    /// A datagram to port 3784.
    Datagram(Datagram),
    /// A client wants to know whether a neighbour can be reached. Twice is fine.
    Watch {
        client: Client,
        session: SessionKey,
        local: Ipv4Addr,
    },
    /// It has stopped wanting to; absent is fine.
    Unwatch {
        client: Client,
        session: SessionKey,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// From the session's own port: a socket bound to `source`, opened by [`Output::Open`].
    Send(Transmit),
    /// A session sends from this address and port (RFC 5881 §4: one port for each session) on this interface.
    Open {
        session: SessionKey,
        source: SocketAddrV4,
    },
    Close {
        session: SessionKey,
    },
    Changed(Change),
}

/// A session changed its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub session: SessionKey,
    pub from: State,
    pub to: State,
    pub diagnostic: Diagnostic,
    /// What the other side said of its own state.
    pub remote: State,
    pub clients: BTreeSet<Client>,
}

#[derive(Clone, Debug)]
pub struct Bfd {
    config: Config,
    interfaces: BTreeMap<IfIndex, Interface>,
    pub(crate) sessions: BTreeMap<SessionKey, Watched>,
    /// By our discriminator.
    discriminators: BTreeMap<u32, SessionKey>,
    timers: Timers<Timer>,
    rng: Rng,
    next_port: u16,
    pub(crate) bad_packets: BadPackets,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) session: Session,
    pub(crate) clients: BTreeSet<Client>,
    pub(crate) source: SocketAddrV4,
    /// When the session came into its state.
    pub(crate) since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Session(SessionKey),
    /// A session whose last client has left has said so for long enough.
    Close(SessionKey),
}

impl Change {
    /// The path is broken: up before, and not because the other side shut the session down (RFC 5882 §3.2).
    pub fn is_failure(&self) -> bool {
        self.from == State::Up && self.to == State::Down && self.remote != State::AdminDown
    }
}

impl Bfd {
    pub fn new(seed: u64) -> Self {
        Self {
            config: Config::default(),
            interfaces: BTreeMap::new(),
            sessions: BTreeMap::new(),
            discriminators: BTreeMap::new(),
            timers: Timers::new(),
            rng: Rng::new(seed),
            next_port: *wire::SOURCE_PORTS.start(),
            bad_packets: BadPackets::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The state of a session, if there is one.
    pub fn state(&self, session: SessionKey) -> Option<State> {
        self.sessions.get(&session).map(|watched| watched.session.state)
    }

    fn configure(&mut self, now: Instant, config: Config) {
        if config == self.config {
            return;
        }
        self.config = config;
        self.apply_params(now);
    }

    fn apply_params(&mut self, now: Instant) {
        let keys: Vec<SessionKey> = self.sessions.keys().copied().collect();
        for key in keys {
            let name = self.interfaces.get(&key.interface).map(|interface| interface.name.as_str());
            let params = self.config.params(name, key.neighbor);
            if self.sessions.get(&key).is_some_and(|watched| !watched.clients.is_empty()) {
                self.with(now, key, |session, rng| session.configure(now, params, rng));
            }
        }
    }

    fn watch(&mut self, now: Instant, client: Client, key: SessionKey, local: Ipv4Addr) {
        let name = self.interfaces.get(&key.interface).map(|interface| interface.name.as_str());
        let params = self.config.params(name, key.neighbor);
        if let Some(watched) = self.sessions.get_mut(&key) {
            let closing = watched.clients.is_empty();
            watched.clients.insert(client);
            let moved = *watched.source.ip() != local;
            if moved {
                watched.source = SocketAddrV4::new(local, watched.source.port());
                self.outputs.push_back(Output::Open { session: key, source: watched.source });
            }
            if closing {
                self.timers.cancel(Timer::Close(key));
                let event = if params.shutdown() { Event::Disable } else { Event::Enable };
                self.with(now, key, |session, rng| session.handle(now, event, rng));
                self.apply_params(now);
            }
            return;
        }
        let discriminator = self.new_discriminator();
        let source = SocketAddrV4::new(local, self.new_port());
        let session = Session::new(now, params, discriminator, &mut self.rng);
        self.discriminators.insert(discriminator, key);
        let clients = BTreeSet::from([client]);
        self.sessions.insert(key, Watched { session, clients, source, since: now });
        self.outputs.push_back(Output::Open { session: key, source });
        self.settle(key);
    }

    fn unwatch(&mut self, now: Instant, client: Client, key: SessionKey) {
        let Some(watched) = self.sessions.get_mut(&key) else { return };
        if !watched.clients.remove(&client) || !watched.clients.is_empty() {
            return;
        }
        // The other side is told, so that it does not take the silence for a failure (RFC 5880 §6.8.16).
        self.with(now, key, |session, rng| session.handle(now, Event::Disable, rng));
        let Some(watched) = self.sessions.get(&key) else { return };
        let long_enough =
            watched.session.send_interval() * u32::from(watched.session.params().detect_mult().get());
        self.timers.set(Timer::Close(key), now + long_enough);
    }

    fn close(&mut self, key: SessionKey) {
        self.timers.cancel(Timer::Session(key));
        if let Some(watched) = self.sessions.remove(&key) {
            self.discriminators.remove(&watched.session.discriminator);
            self.outputs.push_back(Output::Close { session: key });
        }
    }

    fn interface(&mut self, now: Instant, event: InterfaceEvent) {
        let index = match event {
            InterfaceEvent::Upsert(interface) => {
                let index = interface.index;
                if self.interfaces.get(&index) == Some(&interface) {
                    return;
                }
                self.interfaces.insert(index, interface);
                self.apply_params(now);
                index
            }
            InterfaceEvent::Remove(index) => {
                self.interfaces.remove(&index);
                index
            }
        };
        if self.is_usable(index) {
            return;
        }
        let on_it: Vec<SessionKey> =
            self.sessions.keys().filter(|key| key.interface == index).copied().collect();
        for key in on_it {
            self.with(now, key, |session, rng| session.handle(now, Event::PathDown, rng));
        }
    }

    /// Whether packets can be sent there; unknown interfaces are given the benefit of the doubt.
    fn is_usable(&self, index: IfIndex) -> bool {
        self.interfaces.get(&index).is_none_or(|interface| interface.up)
    }

    fn handle_datagram(&mut self, now: Instant, datagram: &Datagram) {
        match self.accept(datagram) {
            Ok((key, packet)) => {
                self.with(now, key, |session, rng| session.receive(now, &packet, rng));
            }
            Err(reason) => self.bad_packets.count(reason),
        }
    }

    /// The session a packet belongs to. RFC 5880 §6.8.6, RFC 5881 §5.
    fn accept(&self, datagram: &Datagram) -> Result<(SessionKey, Packet), BadPacket> {
        if datagram.ttl != Some(255) {
            return Err(BadPacket::Ttl);
        }
        let packet = Packet::decode(&datagram.payload)?;
        let sender = SessionKey { interface: datagram.interface, neighbor: *datagram.source.ip() };
        if packet.your_discriminator == 0 {
            return match packet.state {
                State::Init | State::Up => Err(BadPacket::State),
                State::AdminDown | State::Down if !self.sessions.contains_key(&sender) => {
                    Err(BadPacket::NoSession)
                }
                State::AdminDown | State::Down => Ok((sender, packet)),
            };
        }
        match self.discriminators.get(&packet.your_discriminator) {
            Some(key) if *key == sender => Ok((sender, packet)),
            Some(_) => Err(BadPacket::WrongNeighbor),
            None => Err(BadPacket::YourDiscriminator),
        }
    }

    /// Does something to a session, and sees to what follows from it.
    fn with(&mut self, now: Instant, key: SessionKey, act: impl FnOnce(&mut Session, &mut Rng)) {
        let Some(watched) = self.sessions.get_mut(&key) else { return };
        let before = watched.session.state;
        act(&mut watched.session, &mut self.rng);
        let after = watched.session.state;
        if after != before {
            watched.since = now;
            self.outputs.push_back(Output::Changed(Change {
                session: key,
                from: before,
                to: after,
                diagnostic: watched.session.diagnostic,
                remote: watched.session.remote.state,
                clients: watched.clients.clone(),
            }));
        }
        self.settle(key);
    }

    /// Sends what the session has to send, and sets its timer.
    fn settle(&mut self, key: SessionKey) {
        let usable = self.is_usable(key.interface);
        let Some(watched) = self.sessions.get_mut(&key) else { return };
        for packet in watched.session.pending.drain(..).filter(|_| usable) {
            self.outputs.push_back(Output::Send(Transmit {
                interface: key.interface,
                source: watched.source,
                destination: SocketAddrV4::new(key.neighbor, wire::PORT),
                ttl: 255,
                payload: packet.encode(),
            }));
        }
        match watched.session.next_timeout() {
            Some((at, _)) => self.timers.set(Timer::Session(key), at),
            None => drop(self.timers.cancel(Timer::Session(key))),
        }
    }

    fn new_discriminator(&mut self) -> u32 {
        loop {
            let candidate = self.rng.next_u32();
            if candidate != 0 && !self.discriminators.contains_key(&candidate) {
                return candidate;
            }
        }
    }

    /// A port that no other session uses, as long as there are any.
    fn new_port(&mut self) -> u16 {
        let taken: BTreeSet<u16> = self.sessions.values().map(|watched| watched.source.port()).collect();
        let (first, last) = wire::SOURCE_PORTS.into_inner();
        let after = |port: u16| if port == last { first } else { port + 1 };
        let mut port = self.next_port;
        for _ in first..last {
            if !taken.contains(&port) {
                break;
            }
            port = after(port);
        }
        self.next_port = after(port);
        port
    }
}

impl Machine for Bfd {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Configure(config) => self.configure(now, config),
            Input::Interface(event) => self.interface(now, event),
            Input::Datagram(datagram) => self.handle_datagram(now, &datagram),
            Input::Watch { client, session, local } => self.watch(now, client, session, local),
            Input::Unwatch { client, session } => self.unwatch(now, client, session),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Session(key) => {
                    self.with(now, key, |session, rng| session.handle_timeout(now, rng));
                }
                Timer::Close(key) => self.close(key),
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (at, timer) = self.timers.next()?;
        Some(match timer {
            Timer::Session(key) => {
                let what = self.sessions.get(&key).and_then(|watched| watched.session.next_timeout());
                (at, what.map_or("bfd: session", |(_, what)| what))
            }
            Timer::Close(_) => (at, "bfd: session ends"),
        })
    }
}
