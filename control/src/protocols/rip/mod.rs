//! RIP in the living process: UDP port 520 on every interface it runs on.

pub mod view;

mod metrics;

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_bfd::{self as bfd, SessionKey};
use millrace_net::{Instant, Prefix};
use millrace_proto::{IfIndex, InterfaceEvent, WallClock};
use millrace_rib::Protocol;
use millrace_rip::config::Config as RipConfig;
use millrace_rip::{Input, Metric, NeighborKey, Output, Redistributed, Rip, wire};

use super::Row;
use super::driver::{self, Start};
use super::host::{Announcement, Cx, Hosted, Query, Refusal, Sample, Seen, json};
use super::socket::{LinkSocket, Transport};
use crate::config::Config;

/// In the list of protocols.
pub const ROW: Row = Row {
    name: "rip",
    routes: &[Protocol::Rip],
    views: &["neighbors", "routes", "interfaces"],
    // Neighbours answer the first request at once.
    grace: Duration::from_secs(8),
    wanted: |config| config.rip.is_some(),
    redistributes: |config| config.rip.as_ref().map_or(&[], |rip| &rip.redistribute),
    start: |start: Start| driver::start(RipHost::default(), &ROW, start),
};

/// Between two complaints about bad packets in the log.
const QUIET: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct RipHost {
    sockets: BTreeMap<IfIndex, LinkSocket>,
    /// Where RIP runs but no socket could be had, and why.
    missing: BTreeMap<IfIndex, String>,
    /// Datagrams the kernel would not send.
    unsent: u64,
    complained: Option<Instant>,
}

impl Hosted for RipHost {
    type Machine = Rip;

    const NAME: &'static str = "rip";

    const BFD: Option<bfd::Client> = Some(bfd::Client::Rip);

    /// A neighbour that cannot be reached loses its routes at once; one that shuts its session down is none.
    fn session(change: &bfd::Change) -> Option<Input> {
        let SessionKey { interface, neighbor } = change.session;
        change.is_failure().then_some(Input::NeighborDown(NeighborKey { interface, address: neighbor }))
    }

    fn machine(seed: u64) -> Rip {
        Rip::new(seed)
    }

    fn clock(clock: WallClock) -> Input {
        Input::Clock(clock)
    }

    fn interface(event: InterfaceEvent) -> Input {
        Input::Interface(event)
    }

    fn configure(&mut self, config: &Config) -> Vec<Input> {
        let machine = config.rip.as_ref().map_or_else(RipConfig::new, |rip| rip.machine.clone());
        vec![Input::Configure(machine)]
    }

    fn announce(&mut self, announcement: Announcement) -> Option<Input> {
        let Announcement { route, metric_set, external: _ } = announcement;
        let metric = route
            .metric
            .filter(|_| metric_set)
            .map(|metric| u8::try_from(metric.max(1)).ok().and_then(Metric::new).unwrap_or(Metric::INFINITY));
        let next_hop = match route.next_hop {
            millrace_policy::NextHop::Address(address) => Some(address),
            millrace_policy::NextHop::None | millrace_policy::NextHop::Own => None,
        };
        Some(Input::Redistribute(Redistributed {
            prefix: route.prefix,
            protocol: route.protocol,
            metric,
            // Tags of RIP have 16 bits (RFC 2453 §4): what does not fit is no tag.
            tag: u16::try_from(route.tag).unwrap_or(0),
            next_hop,
        }))
    }

    fn withdraw(&mut self, prefix: Prefix) -> Option<Input> {
        Some(Input::Withdraw(prefix))
    }

    fn carry_out(&mut self, output: Output, cx: &mut Cx<'_, Input>) {
        match output {
            Output::Send(transmit) => {
                let sent = self.sockets.get(&transmit.interface).map(|socket| socket.send(&transmit));
                if !matches!(sent, Some(Ok(()))) {
                    self.unsent += 1;
                }
            }
            Output::Route(change) => cx.route(Protocol::Rip, change),
            Output::Listen(index) => self.listen(index, cx),
            Output::Unlisten(index) => {
                self.sockets.remove(&index);
                self.missing.remove(&index);
            }
            Output::Bfd { neighbor, local, wanted } => {
                let Some(watcher) = cx.watcher else { return };
                let session = SessionKey { interface: neighbor.interface, neighbor: neighbor.address };
                if wanted { watcher.watch(session, local) } else { watcher.unwatch(session) }
            }
            Output::Notice(notice) => {
                // Whoever floods the router with rubbish does not fill its log.
                if self.complained.is_none_or(|at| QUIET <= cx.now.since(at)) {
                    self.complained = Some(cx.now);
                    tracing::warn!(%notice, "rip");
                } else {
                    tracing::debug!(%notice, "rip");
                }
            }
        }
    }

    fn look_after(&mut self, cx: &mut Cx<'_, Input>) {
        for (index, _) in std::mem::take(&mut self.missing) {
            self.listen(index, cx);
        }
    }

    fn show(&self, machine: &Rip, query: &Query, seen: &Seen<'_>) -> Result<serde_json::Value, Refusal> {
        match query.what.as_str() {
            "" => json(view::summary(self, machine, seen)),
            "neighbors" => json(view::neighbors(machine, seen)),
            "routes" => json(view::routes(machine, seen)),
            "interfaces" => json(view::interfaces(self, machine, seen)),
            other => Err(Refusal::NotFound(other.to_owned())),
        }
    }

    fn metrics(&self, machine: &Rip, seen: &Seen<'_>) -> Vec<Sample> {
        metrics::samples(self, machine, seen)
    }

    fn farewell() -> Option<Input> {
        Some(Input::Shutdown)
    }
}

impl RipHost {
    fn listen(&mut self, index: IfIndex, cx: &mut Cx<'_, Input>) {
        let Some(interface) = cx.interfaces.get(&index) else { return };
        let transport = Transport::Udp(wire::PORT);
        let opened = LinkSocket::open(transport, index, &interface.name, cx.inbox.clone(), Input::Datagram)
            .and_then(|socket| socket.join(wire::GROUP).map(|()| socket));
        match opened {
            Ok(socket) => {
                self.sockets.insert(index, socket);
            }
            Err(error) => {
                tracing::error!(interface = interface.name, %error, "rip cannot listen; it is tried again");
                self.missing.insert(index, error.to_string());
            }
        }
    }
}
