//! A RIP process as a simulated router, alone or with BFD beside it.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU8;

use millrace_bfd::{Bfd, Client, SessionKey};
use millrace_proto::{Datagram, Instant, InterfaceEvent, Machine};
use millrace_rip::config::SplitHorizon;
use millrace_rip::{Config, Cost, Input, InterfaceConfig, NeighborKey, Output, Rip};

use crate::oracle::Measure;
use crate::router::{Effect, Router};
use crate::topology::Topology;

/// RIP's metric.
pub const MEASURE: Measure = Measure { infinity: 16 };

#[derive(Debug)]
pub struct RipRouter {
    pub rip: Rip,
    /// Runs where the RIP configuration asks for sessions.
    pub bfd: Bfd,
    effects: VecDeque<Effect>,
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
        Self { rip, bfd: Bfd::new(seed), effects: VecDeque::new() }
    }

    /// What every test but those of split horizon itself uses.
    pub fn base(split_horizon: SplitHorizon) -> InterfaceConfig {
        InterfaceConfig { split_horizon, ..InterfaceConfig::default() }
    }
}

impl Router for RipRouter {
    fn interface(&mut self, now: Instant, event: InterfaceEvent) {
        self.rip.handle_input(now, Input::Interface(event.clone()));
        self.bfd.handle_input(now, millrace_bfd::Input::Interface(event));
        self.join(now);
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        if datagram.destination.port() == millrace_bfd::wire::PORT {
            self.bfd.handle_input(now, millrace_bfd::Input::Datagram(datagram));
        } else {
            self.rip.handle_input(now, Input::Datagram(datagram));
        }
        self.join(now);
    }

    fn timeout(&mut self, now: Instant) {
        self.rip.handle_timeout(now);
        self.bfd.handle_timeout(now);
        self.join(now);
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.rip.poll_timeout().into_iter().chain(self.bfd.poll_timeout()).min_by_key(|(at, _)| *at)
    }

    fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }
}

impl RipRouter {
    /// Passes between the machines what they have for each other, as the shell does.
    fn join(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.rip.poll_output() {
                match output {
                    Output::Send(transmit) => self.effects.push_back(Effect::Transmit(transmit)),
                    Output::Route(change) => self.effects.push_back(Effect::Route(change)),
                    Output::Bfd { neighbor, local, wanted } => {
                        let session =
                            SessionKey { interface: neighbor.interface, neighbor: neighbor.address };
                        let client = Client::Rip;
                        self.bfd.handle_input(
                            now,
                            if wanted {
                                millrace_bfd::Input::Watch { client, session, local }
                            } else {
                                millrace_bfd::Input::Unwatch { client, session }
                            },
                        );
                    }
                    Output::Listen(_) | Output::Unlisten(_) | Output::Notice(_) => {}
                }
            } else if let Some(output) = self.bfd.poll_output() {
                match output {
                    millrace_bfd::Output::Send(transmit) => {
                        self.effects.push_back(Effect::Transmit(transmit))
                    }
                    millrace_bfd::Output::Changed(change) if change.is_failure() => {
                        let SessionKey { interface, neighbor } = change.session;
                        let neighbor = NeighborKey { interface, address: neighbor };
                        self.rip.handle_input(now, Input::NeighborDown(neighbor));
                    }
                    millrace_bfd::Output::Changed(_)
                    | millrace_bfd::Output::Open { .. }
                    | millrace_bfd::Output::Close { .. } => {}
                }
            } else {
                return;
            }
        }
    }
}
