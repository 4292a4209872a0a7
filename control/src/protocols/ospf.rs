//! OSPF in the living process: IP protocol 89 on every interface it runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_bfd::{self as bfd, SessionKey};
use millrace_net::{Instant, Prefix};
use millrace_ospf::wire::{ALL_DESIGNATED, ALL_ROUTERS, LsaType, PROTOCOL};
use millrace_ospf::{Config as OspfConfig, Input, Notice, Ospf, Output, Redistributed};
use millrace_proto::{IfIndex, InterfaceEvent, WallClock};
use millrace_rib::Protocol;

use super::driver;
use super::host::{Announcement, Cx, Hosted, Query, Refusal, Sample, Seen, json};
use super::socket::{LinkSocket, Transport};
use super::{Row, driver::Start};
use crate::config::Config;

/// In the list of protocols.
pub const ROW: Row = Row {
    name: "ospf",
    routes: &[Protocol::Ospf],
    views: &["neighbors", "interfaces", "database", "routes", "spf"],
    // Who is alone on a network waits for the dead interval, 40 s as a rule, before it elects itself.
    grace: Duration::from_secs(45),
    wanted: |config| config.ospf.is_some(),
    redistributes: |config| config.ospf.as_ref().map_or(&[], |ospf| &ospf.redistribute),
    start: |start: Start| driver::start(OspfHost::default(), &ROW, start),
};

/// Between two complaints about bad packets in the log.
const QUIET: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct OspfHost {
    sockets: BTreeMap<IfIndex, LinkSocket>,
    /// Where OSPF runs but no socket could be had.
    missing: BTreeSet<IfIndex>,
    /// Packets the kernel would not send.
    unsent: u64,
    complained: Option<Instant>,
}

impl Hosted for OspfHost {
    type Machine = Ospf;

    const NAME: &'static str = "ospf";

    const BFD: Option<bfd::Client> = Some(bfd::Client::Ospf);

    /// A neighbour that cannot be reached is gone at once; one that shuts its session down is not.
    fn session(change: &bfd::Change) -> Option<Input> {
        let SessionKey { interface, neighbor } = change.session;
        change.is_failure().then_some(Input::NeighborDown { interface, address: neighbor })
    }

    fn machine(seed: u64) -> Ospf {
        Ospf::new(seed)
    }

    fn clock(clock: WallClock) -> Input {
        Input::Clock(clock)
    }

    fn interface(event: InterfaceEvent) -> Input {
        Input::Interface(event)
    }

    fn configure(&mut self, config: &Config) -> Vec<Input> {
        let machine = config.ospf.as_ref().map_or_else(OspfConfig::new, |ospf| ospf.machine.clone());
        vec![Input::Configure(machine)]
    }

    fn announce(&mut self, announcement: Announcement) -> Option<Input> {
        let Announcement { route, metric_set, external } = announcement;
        let next_hop = match route.next_hop {
            millrace_policy::NextHop::Address(address) => Some(address),
            millrace_policy::NextHop::None | millrace_policy::NextHop::Own => None,
        };
        Some(Input::Redistribute(Redistributed {
            prefix: route.prefix,
            cost: route.metric.filter(|_| metric_set),
            kind: external,
            tag: route.tag,
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
            Output::Route(change) => cx.route(Protocol::Ospf, change),
            Output::Listen(index) => self.listen(index, cx),
            Output::Unlisten(index) => {
                self.sockets.remove(&index);
                self.missing.remove(&index);
            }
            Output::Bfd { interface, neighbor, local, wanted } => {
                let Some(watcher) = cx.watcher else { return };
                let session = SessionKey { interface, neighbor };
                if wanted { watcher.watch(session, local) } else { watcher.unwatch(session) }
            }
            Output::Notice(notice) => self.say(&notice, cx.now),
        }
    }

    fn look_after(&mut self, cx: &mut Cx<'_, Input>) {
        for index in std::mem::take(&mut self.missing) {
            self.listen(index, cx);
        }
    }

    fn show(&self, machine: &Ospf, query: &Query, seen: &Seen<'_>) -> Result<serde_json::Value, Refusal> {
        match query.what.as_str() {
            "" => json(machine.summary(seen.now)),
            "neighbors" => json(machine.neighbors(seen.now)),
            "interfaces" => json(machine.interfaces(seen.now)),
            "database" => json(machine.lsas(seen.now, lsa_type(query)?)),
            "routes" => {
                let routes = machine.routes().map(|route| {
                    let mut value = serde_json::to_value(&route).unwrap_or_default();
                    let hops = route.next_hops.iter().map(|hop| {
                        serde_json::json!({ "gateway": hop.gateway, "interface": seen.name(hop.interface) })
                    });
                    value["next_hops"] = hops.collect();
                    value
                });
                json(routes.collect::<Vec<_>>())
            }
            "spf" => json(machine.spf(seen.now)),
            other => Err(Refusal::NotFound(other.to_owned())),
        }
    }

    fn metrics(&self, machine: &Ospf, seen: &Seen<'_>) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut states: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
        for neighbor in machine.neighbors(seen.now) {
            *states.entry((neighbor.interface.clone(), neighbor.state.name())).or_default() += 1;
        }
        for ((interface, state), count) in states {
            samples.push(Sample::count("millrace_ospf_neighbors", &[&interface, state], count));
        }
        for interface in machine.interfaces(seen.now) {
            let name = interface.name.as_str();
            for (direction, counts) in
                [("received", interface.stats.received), ("sent", interface.stats.sent)]
            {
                for (kind, count) in counts.by_type() {
                    let labels = [name, direction, kind];
                    samples.push(Sample::count("millrace_ospf_packets_total", &labels, count));
                }
            }
            for (reason, count) in interface.stats.bad_packets.iter() {
                let labels = [name, reason.name()];
                samples.push(Sample::count("millrace_ospf_bad_packets_total", &labels, count));
            }
            for (reason, count) in interface.stats.bad_lsas.iter() {
                let labels = [name, reason.name()];
                samples.push(Sample::count("millrace_ospf_bad_lsas_total", &labels, count));
            }
            let again = interface.stats.retransmissions;
            samples.push(Sample::count("millrace_ospf_retransmissions_total", &[name], again));
        }
        let summary = machine.summary(seen.now);
        for area in &summary.areas {
            let id = area.id.to_string();
            for (kind, count) in &area.lsas {
                samples.push(Sample::count(
                    "millrace_ospf_lsas",
                    &[&id, kind],
                    u64::try_from(*count).unwrap_or(0),
                ));
            }
            let age = u64::from(area.oldest_lsa);
            samples.push(Sample::count("millrace_ospf_oldest_lsa_age_seconds", &[&id], age));
        }
        let external = u64::try_from(summary.external_lsas).unwrap_or(0);
        samples.push(Sample::count("millrace_ospf_lsas", &["as", "external"], external));
        let stats = summary.spf.stats;
        for (kind, count) in [("full", stats.spf_runs), ("partial", stats.partial_runs)] {
            samples.push(Sample::count("millrace_ospf_spf_runs_total", &[kind], count));
        }
        samples.push(Sample::count("millrace_ospf_unsent_total", &[], self.unsent));
        samples
    }

    fn farewell() -> Option<Input> {
        Some(Input::Shutdown)
    }
}

/// The type that `show ospf database TYPE` names.
fn lsa_type(query: &Query) -> Result<Option<LsaType>, Refusal> {
    let Some(text) = query.parameters.get("type") else { return Ok(None) };
    let found = LsaType::ALL.into_iter().find(|kind| kind.name() == text);
    let names = || LsaType::ALL.map(LsaType::name).join(", ");
    let bad = || Refusal::BadRequest(format!("type cannot be {text:?}: expected one of {}", names()));
    found.map(Some).ok_or_else(bad)
}

impl OspfHost {
    fn listen(&mut self, index: IfIndex, cx: &mut Cx<'_, Input>) {
        let Some(interface) = cx.interfaces.get(&index) else { return };
        let transport = Transport::Ip(PROTOCOL);
        let opened = LinkSocket::open(transport, index, &interface.name, cx.inbox.clone(), Input::Datagram)
            .and_then(|socket| {
                socket.join(ALL_ROUTERS).and_then(|()| socket.join(ALL_DESIGNATED)).map(|()| socket)
            });
        match opened {
            Ok(socket) => {
                self.sockets.insert(index, socket);
            }
            Err(error) => {
                tracing::error!(interface = interface.name, %error, "ospf cannot listen; it is tried again");
                self.missing.insert(index);
            }
        }
    }

    /// Changes of neighbours are always logged; whoever floods the router with rubbish does not fill its log.
    fn say(&mut self, notice: &Notice, now: Instant) {
        match notice {
            Notice::Neighbor { .. } | Notice::HelperEntered(_) | Notice::HelperLeft(..) => {
                tracing::info!(%notice, "ospf");
            }
            Notice::BadPacket { .. }
            | Notice::BadLsa { .. }
            | Notice::KeyExpired { .. }
            | Notice::DatabaseFull(_) => {
                if self.complained.is_none_or(|at| QUIET <= now.since(at)) {
                    self.complained = Some(now);
                    tracing::warn!(%notice, "ospf");
                } else {
                    tracing::debug!(%notice, "ospf");
                }
            }
        }
    }
}
