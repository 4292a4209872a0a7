//! A router under test: an address plan, the clock, and short ways to say things to it and to read what it says.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::{
    Algorithm, Datagram, IfIndex, Instant, Interface, InterfaceAddress, InterfaceEvent, Key, KeyChain, KeyId,
    Lifetime, LinkKind, Machine, Route, RouteChange, Secret, Transmit, UnixTime, WallClock,
};
use millrace_rip::config::Timers;
use millrace_rip::wire::{Command, Entry, Packet, Protection, Version, encode};
use millrace_rip::{Config, Input, InterfaceConfig, Output, Rip};

/// Neighbours on eth0 (10.0.0.0/24) and eth1 (10.0.1.0/24); the router has .1 on both.
pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
pub(crate) const C: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
pub(crate) const ETH0: IfIndex = IfIndex(1);
pub(crate) const ETH1: IfIndex = IfIndex(2);
/// The calendar at `Instant::ZERO`.
pub(crate) const EPOCH: UnixTime = UnixTime(1_750_000_000);

pub(crate) struct Router {
    pub(crate) rip: Rip,
    pub(crate) now: Instant,
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

pub(crate) fn interface(index: IfIndex) -> Interface {
    let third = u8::try_from(index.0 - 1).expect("a small index");
    let address = InterfaceAddress { address: Ipv4Addr::new(10, 0, third, 1), prefix_len: 24, peer: None };
    Interface {
        index,
        name: format!("eth{third}"),
        kind: LinkKind::Broadcast,
        up: true,
        mtu: 1500,
        addresses: vec![address],
    }
}

pub(crate) fn config(eth0: InterfaceConfig, eth1: InterfaceConfig) -> Config {
    Config { interfaces: BTreeMap::from([("eth0".into(), eth0), ("eth1".into(), eth1)]), ..Config::new() }
}

pub(crate) fn key(id: u8, algorithm: Algorithm, secret: &str) -> Key {
    let always = Lifetime::ALWAYS;
    Key { id: KeyId(id), algorithm, secret: Secret::new(secret.as_bytes()), send: always, accept: always }
}

pub(crate) fn chain(keys: &[Key]) -> KeyChain {
    KeyChain::new("k", keys.to_vec(), false).expect("a key chain")
}

pub(crate) fn route(text: &str, metric: u32) -> Entry {
    tagged(text, metric, 0, Ipv4Addr::UNSPECIFIED)
}

pub(crate) fn tagged(text: &str, metric: u32, tag: u16, next_hop: Ipv4Addr) -> Entry {
    let prefix = prefix(text);
    Entry { family: 2, tag, address: prefix.addr(), mask: prefix.mask().into(), next_hop, metric }
}

pub(crate) fn response(entries: &[Entry]) -> Vec<u8> {
    encode(Command::Response, Version::V2, entries, Protection::None)
}

pub(crate) fn datagram(interface: IfIndex, source: Ipv4Addr, payload: Vec<u8>) -> Datagram {
    let destination = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 9), 520);
    Datagram { interface, source: SocketAddrV4::new(source, 520), destination, ttl: Some(1), payload }
}

impl Router {
    /// With both interfaces up and the first updates behind it.
    pub(crate) fn new(config: Config) -> Self {
        let mut router = Self { rip: Rip::new(1), now: Instant::ZERO };
        router.tell(Input::Clock(WallClock { at: Instant::ZERO, unix: EPOCH }));
        router.tell(Input::Configure(config));
        for index in [ETH0, ETH1] {
            router.tell(Input::Interface(InterfaceEvent::Upsert(interface(index))));
        }
        router.pass(Duration::from_secs(12));
        router
    }

    /// A router whose regular updates do not come in between.
    pub(crate) fn quiet() -> Self {
        let timers = Timers { update: Duration::from_secs(7200), ..Timers::default() };
        let eth = InterfaceConfig { timers, ..InterfaceConfig::default() };
        Self::new(config(eth.clone(), eth))
    }

    pub(crate) fn tell(&mut self, input: Input) -> Vec<Output> {
        self.rip.handle_input(self.now, input);
        self.drain()
    }

    pub(crate) fn hear(&mut self, source: Ipv4Addr, entries: &[Entry]) -> Vec<Output> {
        let interface = if source == C { ETH1 } else { ETH0 };
        self.tell(Input::Datagram(datagram(interface, source, response(entries))))
    }

    /// Lets time go by, stopping at every deadline.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.pass_timed(time).into_iter().map(|(_, output)| output).collect()
    }

    pub(crate) fn pass_timed(&mut self, time: Duration) -> Vec<(Instant, Output)> {
        let end = self.now + time;
        let mut outputs = Vec::new();
        while let Some((at, _)) = self.rip.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at.max(self.now);
            self.rip.handle_timeout(self.now);
            outputs.extend(self.drain().into_iter().map(|output| (self.now, output)));
        }
        self.now = end;
        outputs
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.rip.poll_output()).collect()
    }
}

/// The messages among `outputs`.
pub(crate) fn sent(outputs: &[Output]) -> Vec<&Transmit> {
    outputs
        .iter()
        .filter_map(|output| if let Output::Send(transmit) = output { Some(transmit) } else { None })
        .collect()
}

/// The routes that the routing table is told of.
pub(crate) fn routes(outputs: &[Output]) -> Vec<&Route> {
    let mut routes = Vec::new();
    for output in outputs {
        if let Output::Route(RouteChange::Upsert(route)) = output {
            routes.push(route);
        }
    }
    routes
}

/// What messages on `interface` say, in order: `10.9.0.0/24 metric 2`.
pub(crate) fn said(outputs: &[Output], interface: IfIndex) -> Vec<String> {
    let here = sent(outputs).into_iter().filter(|transmit| transmit.interface == interface);
    here.flat_map(|transmit| entries(&transmit.payload)).map(|entry| show(&entry)).collect()
}

pub(crate) fn entries(payload: &[u8]) -> Vec<Entry> {
    Packet::decode(payload).expect("what we send decodes").entries().collect()
}

pub(crate) fn show(entry: &Entry) -> String {
    if *entry == Entry::WHOLE_TABLE {
        return "everything?".into();
    }
    let len = entry.mask.to_bits().leading_ones();
    let mut text = format!("{}/{len} metric {}", entry.address, entry.metric);
    if entry.tag != 0 {
        text += &format!(" tag {}", entry.tag);
    }
    if !entry.next_hop.is_unspecified() {
        text += &format!(" via {}", entry.next_hop);
    }
    text
}
