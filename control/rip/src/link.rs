//! An interface on which RIP runs, and the neighbours heard there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_net::Prefix;
use millrace_policy as policy;
use millrace_proto::{Instant, Interface, InterfaceAddress, KeyId, LinkKind};

use crate::auth::Sequences;
use crate::config::{InterfaceConfig, Mode, Offset};
use crate::stats::LinkStats;
use crate::table::{Received, State, Worth};
use crate::{Metric, wire};

/// Neighbours kept of one link; a /16 full of forged sources must not fill the memory.
pub(crate) const MAX_NEIGHBORS: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) interface: Interface,
    pub(crate) config: InterfaceConfig,
    pub(crate) neighbors: BTreeMap<Ipv4Addr, Neighbor>,
    pub(crate) stats: LinkStats,
    /// A regular update began in the call that is being handled.
    pub(crate) regular_begun: bool,
    /// The expired key that its operator was told about.
    pub(crate) expired_key: Option<KeyId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Neighbor {
    pub(crate) heard: Instant,
    pub(crate) version: wire::Version,
    pub(crate) sequences: Sequences,
    pub(crate) bad_packets: u64,
    pub(crate) bad_routes: u64,
    /// A BFD session was asked for.
    pub(crate) bfd: bool,
}

impl Neighbor {
    pub(crate) fn new(now: Instant, version: wire::Version) -> Self {
        Self {
            heard: now,
            version,
            sequences: Sequences::default(),
            bad_packets: 0,
            bad_routes: 0,
            bfd: false,
        }
    }
}

impl Link {
    pub(crate) fn new(interface: Interface, config: InterfaceConfig) -> Self {
        Self {
            interface,
            config,
            neighbors: BTreeMap::new(),
            stats: LinkStats::default(),
            regular_begun: false,
            expired_key: None,
        }
    }

    /// Networks to announce: those of every address, without net 127.
    pub(crate) fn networks(&self) -> BTreeSet<Prefix> {
        let all = self.interface.addresses.iter().map(InterfaceAddress::network);
        all.filter(|network| !network.addr().is_loopback()).collect()
    }

    /// One address for each network, the first: messages come from these.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &InterfaceAddress> {
        let addresses = &self.interface.addresses;
        let first = |at: usize, own: &InterfaceAddress| {
            !addresses.iter().take(at).any(|earlier| earlier.network() == own.network())
        };
        addresses.iter().enumerate().filter(move |(at, own)| first(*at, own)).map(|(_, own)| own)
    }

    /// Whether messages are exchanged here at all.
    pub(crate) fn talks(&self) -> bool {
        self.interface.kind != LinkKind::Loopback
    }

    /// Whether regular updates are sent here.
    pub(crate) fn sends(&self) -> bool {
        self.talks() && (!self.config.passive || !self.config.neighbors.is_empty())
    }

    /// From where and to whom updates go. RFC 2453 §3.10.
    pub(crate) fn destinations(&self) -> Vec<(InterfaceAddress, SocketAddrV4)> {
        let mut all = Vec::new();
        if !self.talks() {
            return all;
        }
        for source in self.sources() {
            let everyone = match self.config.mode {
                Mode::Multicast => wire::GROUP,
                Mode::Broadcast => source.broadcast().or(source.peer).unwrap_or(wire::GROUP),
            };
            let listed = self.config.neighbors.iter().copied().filter(|neighbor| source.reaches(*neighbor));
            let everyone = (!self.config.passive).then_some(everyone);
            let to = |address| (*source, SocketAddrV4::new(address, wire::PORT));
            all.extend(everyone.into_iter().chain(listed).map(to));
        }
        all
    }

    /// What a route received here is worth; None: it leads nowhere, or is not wanted. RFC 2453 §3.9.2.
    pub(crate) fn worth(&self, prefix: Prefix, neighbor: Ipv4Addr, received: &Received) -> Option<Worth> {
        let offset = Offset::of(&self.config.offset_in, prefix);
        let metric = received.metric.plus(self.config.cost.get()).plus(offset);
        let reachable = |worth: &Worth| !worth.metric.is_infinite();
        let worth = Some(Worth { metric, tag: received.tag, distance: None }).filter(reachable);
        let (Some(list), Some(_)) = (&self.config.import, worth) else { return worth };
        let mut route = policy::Route {
            neighbor: Some(neighbor),
            next_hop: policy::NextHop::Address(received.next_hop.unwrap_or(neighbor)),
            ..seen(prefix, policy::Protocol::Rip, metric, received.tag)
        };
        let verdict = list.apply(&mut route, policy::Context::default());
        let (metric, tag) = judged(&route, metric, received.tag);
        let accepted = verdict.decision == policy::Decision::Accept;
        Some(Worth { metric, tag, distance: route.distance }).filter(|worth| accepted && reachable(worth))
    }

    /// What an announced route becomes here; None: it is not to be announced.
    pub(crate) fn exported(&self, prefix: Prefix, state: &State) -> Option<(Metric, u16)> {
        let metric = state.metric().plus(Offset::of(&self.config.offset_out, prefix));
        let tag = state.tag();
        let Some(list) = &self.config.export else { return Some((metric, tag)) };
        let mut route = seen(prefix, state.protocol(), metric, tag);
        let verdict = list.apply(&mut route, policy::Context::default());
        (verdict.decision == policy::Decision::Accept).then(|| judged(&route, metric, tag))
    }
}

fn seen(prefix: Prefix, protocol: policy::Protocol, metric: Metric, tag: u16) -> policy::Route {
    policy::Route {
        metric: Some(metric.get().into()),
        tag: tag.into(),
        ..policy::Route::new(prefix, protocol)
    }
}

/// Metric and tag as rules left them: what is over 15 is out of reach, 0 is 1, and a tag that does not fit 16 bits is
/// left as it was.
fn judged(route: &policy::Route, metric: Metric, tag: u16) -> (Metric, u16) {
    let metric = match route.metric {
        Some(changed) => u8::try_from(changed.max(1)).ok().and_then(Metric::new).unwrap_or(Metric::INFINITY),
        None => metric,
    };
    (metric, u16::try_from(route.tag).unwrap_or(tag))
}
