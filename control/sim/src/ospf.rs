//! An OSPF process as a simulated router.

use std::collections::{BTreeMap, VecDeque};

use millrace_ospf::wire::{AreaId, RouterId};
use millrace_ospf::{Config, Input, InterfaceConfig, Ospf, Output};
use millrace_proto::{Datagram, Instant, InterfaceEvent, Machine};

use crate::oracle::Measure;
use crate::router::{Effect, Router};
use crate::topology::{self, Topology};

/// OSPF's metric: nothing is too far.
pub const MEASURE: Measure = Measure { infinity: u32::MAX };

#[derive(Debug)]
pub struct OspfRouter {
    pub ospf: Ospf,
    effects: VecDeque<Effect>,
}

impl OspfRouter {
    pub fn new(seed: u64, config: Config) -> Self {
        let mut ospf = Ospf::new(seed);
        ospf.handle_input(Instant::ZERO, Input::Configure(config));
        let mut router = Self { ospf, effects: VecDeque::new() };
        router.collect();
        router
    }

    /// The backbone on every interface of router `r`, with the segments' costs. The router id is the host address.
    pub fn config(topology: &Topology, r: usize) -> Config {
        Self::config_of_areas(topology, r, |_| AreaId::BACKBONE)
    }

    /// The same with the area of each segment; the loopback is in the area of the first.
    pub fn config_of_areas(topology: &Topology, r: usize, area: impl Fn(usize) -> AreaId) -> Config {
        let on = |index: u32| usize::try_from(index).ok()?.checked_sub(2);
        let own = topology.interfaces(r);
        let first = own.iter().find_map(|(interface, _)| on(interface.index.0)).map(&area);
        let interfaces: BTreeMap<String, InterfaceConfig> = own
            .into_iter()
            .map(|(interface, cost)| {
                let area = on(interface.index.0).map(&area).or(first).unwrap_or(AreaId::BACKBONE);
                (interface.name, InterfaceConfig { cost: cost.into(), ..InterfaceConfig::new(area) })
            })
            .collect();
        Config { router_id: Some(RouterId(topology::loopback(r))), interfaces, ..Config::new() }
    }

    /// Tells the process something, as the shell does.
    pub fn input(&mut self, now: Instant, input: Input) {
        self.ospf.handle_input(now, input);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.ospf.poll_output() {
            match output {
                Output::Send(transmit) => self.effects.push_back(Effect::Transmit(transmit)),
                Output::Route(change) => self.effects.push_back(Effect::Route(change)),
                Output::Listen(_) | Output::Unlisten(_) | Output::Bfd { .. } | Output::Notice(_) => {}
            }
        }
    }
}

impl Router for OspfRouter {
    fn interface(&mut self, now: Instant, event: InterfaceEvent) {
        self.input(now, Input::Interface(event));
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        self.input(now, Input::Datagram(datagram));
    }

    fn timeout(&mut self, now: Instant) {
        self.ospf.handle_timeout(now);
        self.collect();
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.ospf.poll_timeout()
    }

    fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }
}
