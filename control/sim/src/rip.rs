//! A RIP process as a simulated router.

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use millrace_proto::{Datagram, Instant, InterfaceEvent, Machine};
use millrace_rip::config::SplitHorizon;
use millrace_rip::{Config, Cost, Input, InterfaceConfig, Output, Rip};

use crate::oracle::Measure;
use crate::router::{Effect, Router};
use crate::topology::Topology;

/// RIP's metric.
pub const MEASURE: Measure = Measure { infinity: 16 };

#[derive(Debug)]
pub struct RipRouter {
    pub rip: Rip,
}

impl RipRouter {
    /// Router `r` of `topology`, with RIP on all interfaces and the segments' costs.
    pub fn new(
        topology: &Topology,
        r: usize,
        seed: u64,
        base: &InterfaceConfig,
        max_paths: NonZeroU8,
    ) -> Self {
        let mut rip = Rip::new(seed);
        let interfaces: BTreeMap<String, InterfaceConfig> = topology
            .interfaces(r)
            .into_iter()
            .map(|(interface, cost)| {
                let cost = Cost::new(cost).unwrap_or(Cost::ONE);
                (interface.name, InterfaceConfig { cost, ..base.clone() })
            })
            .collect();
        rip.handle_input(Instant::ZERO, Input::Configure(Config { interfaces, max_paths, ..Config::new() }));
        Self { rip }
    }

    /// What every test but those of split horizon itself uses.
    pub fn base(split_horizon: SplitHorizon) -> InterfaceConfig {
        InterfaceConfig { split_horizon, ..InterfaceConfig::default() }
    }
}

impl Router for RipRouter {
    fn interface(&mut self, now: Instant, event: InterfaceEvent) {
        self.rip.handle_input(now, Input::Interface(event));
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        self.rip.handle_input(now, Input::Datagram(datagram));
    }

    fn timeout(&mut self, now: Instant) {
        self.rip.handle_timeout(now);
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.rip.poll_timeout()
    }

    fn poll(&mut self) -> Option<Effect> {
        loop {
            match self.rip.poll_output()? {
                Output::Send(transmit) => return Some(Effect::Transmit(transmit)),
                Output::Route(change) => return Some(Effect::Route(change)),
                Output::Listen(_) | Output::Unlisten(_) | Output::Bfd { .. } | Output::Notice(_) => {}
            }
        }
    }
}
