//! A router under test: an address plan, the clock, and short ways to say things to it and to read what it says.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_ospf::config::NetworkType;
use millrace_ospf::wire::{
    ALL_ROUTERS, AreaId, Body, Description, Hello, Lsa, LsaHeader, Options, Packet, Protection, RouterId,
    Update, encode,
};
use millrace_ospf::{Config, Input, InterfaceConfig, Ospf, Output};
use millrace_proto::{
    Datagram, IfIndex, Instant, Interface, InterfaceAddress, InterfaceEvent, LinkKind, Machine, Transmit,
    UnixTime, WallClock,
};

/// A neighbour on eth0 (10.0.0.0/24); the router has .1 on it.
pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const ETH0: IfIndex = IfIndex(1);
pub(crate) const OWN_ID: RouterId = RouterId(Ipv4Addr::new(1, 1, 1, 1));
pub(crate) const A_ID: RouterId = RouterId(Ipv4Addr::new(2, 2, 2, 2));
/// The calendar at `Instant::ZERO`.
pub(crate) const EPOCH: UnixTime = UnixTime(1_750_000_000);

pub(crate) struct Router {
    pub(crate) ospf: Ospf,
    pub(crate) now: Instant,
}

pub(crate) fn interface() -> Interface {
    let address = InterfaceAddress { address: Ipv4Addr::new(10, 0, 0, 1), prefix_len: 24, peer: None };
    Interface {
        index: ETH0,
        name: "eth0".into(),
        kind: LinkKind::Broadcast,
        up: true,
        mtu: 1500,
        addresses: vec![address],
    }
}

pub(crate) fn config(eth0: InterfaceConfig) -> Config {
    Config { router_id: Some(OWN_ID), interfaces: BTreeMap::from([("eth0".into(), eth0)]), ..Config::new() }
}

pub(crate) fn point_to_point() -> InterfaceConfig {
    InterfaceConfig { network: Some(NetworkType::PointToPoint), ..InterfaceConfig::new(AreaId::BACKBONE) }
}

pub(crate) fn datagram(interface: IfIndex, source: Ipv4Addr, payload: Vec<u8>) -> Datagram {
    let to = |address| SocketAddrV4::new(address, 0);
    Datagram { interface, source: to(source), destination: to(ALL_ROUTERS), ttl: Some(1), payload }
}

/// What neighbour A sends.
pub(crate) fn hello(neighbors: &[RouterId]) -> Body {
    Body::Hello(Hello {
        mask: Ipv4Addr::new(255, 255, 255, 0),
        hello_interval: 10,
        options: Options::E,
        priority: 1,
        dead_interval: 40,
        designated: Ipv4Addr::UNSPECIFIED,
        backup: Ipv4Addr::UNSPECIFIED,
        neighbors: neighbors.to_vec(),
    })
}

pub(crate) fn description(sequence: u32, flags: &str, headers: &[LsaHeader]) -> Body {
    Body::Description(Description {
        mtu: 1500,
        options: Options(0x42),
        init: flags.contains('I'),
        more: flags.contains('M'),
        master: flags.contains('S'),
        sequence,
        headers: headers.to_vec(),
    })
}

pub(crate) fn update(lsas: &[Lsa]) -> Body {
    Body::Update(Update { lsas: lsas.to_vec(), bad: Vec::new() })
}

impl Router {
    pub(crate) fn new(config: Config) -> Self {
        let mut router = Self { ospf: Ospf::new(1), now: Instant::from_secs(100) };
        router.input(Input::Clock(WallClock { at: Instant::ZERO, unix: EPOCH }));
        router.input(Input::Interface(InterfaceEvent::Upsert(interface())));
        router.input(Input::Configure(config));
        router
    }

    /// On a point-to-point link, and alone.
    pub(crate) fn lonely() -> Self {
        Self::new(config(point_to_point()))
    }

    /// The same with A in state Full, and with an empty database.
    pub(crate) fn full() -> Self {
        let mut router = Self::lonely();
        router.hear(&hello(&[OWN_ID]));
        // A has the higher id and leads.
        router.hear(&description(5000, "IMS", &[]));
        router.hear(&description(5001, "S", &[]));
        let states: Vec<_> = router.ospf.neighbors(router.now).iter().map(|n| n.state.name()).collect();
        assert_eq!(states, ["full"]);
        router
    }

    pub(crate) fn input(&mut self, input: Input) -> Vec<Output> {
        self.ospf.handle_input(self.now, input);
        std::iter::from_fn(|| self.ospf.poll_output()).collect()
    }

    /// A packet of A.
    pub(crate) fn hear(&mut self, body: &Body) -> Vec<Output> {
        let octets = encode(A_ID, AreaId::BACKBONE, body, Protection::None);
        self.input(Input::Datagram(datagram(ETH0, A, octets)))
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn advance(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut outputs = Vec::new();
        while let Some((at, _)) = self.ospf.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at.max(self.now);
            self.ospf.handle_timeout(self.now);
            outputs.extend(std::iter::from_fn(|| self.ospf.poll_output()));
        }
        self.now = end;
        outputs
    }
}

/// What was sent, in order.
pub(crate) fn sent(outputs: &[Output]) -> Vec<(Ipv4Addr, Body)> {
    let packet = |transmit: &Transmit| {
        let packet = Packet::decode(&transmit.payload).expect("a packet in order");
        (*transmit.destination.ip(), packet.body().expect("a body in order"))
    };
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send(transmit) => Some(packet(transmit)),
            Output::Route(_)
            | Output::Listen(_)
            | Output::Unlisten(_)
            | Output::Bfd { .. }
            | Output::Notice(_) => None,
        })
        .collect()
}
