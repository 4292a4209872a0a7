//! An interface on which RIP runs, and the neighbours heard there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_net::Prefix;
use millrace_proto::{Instant, Interface, InterfaceAddress, KeyId, LinkKind};

use crate::auth::Sequences;
use crate::config::{InterfaceConfig, Mode, Offset};
use crate::stats::LinkStats;
use crate::table::Received;
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

    /// The metric of what was received here. RFC 2453 §3.9.2.
    pub(crate) fn metric(&self, prefix: Prefix, received: &Received) -> Metric {
        let offset = Offset::of(&self.config.offset_in, prefix);
        received.metric.plus(self.config.cost.get()).plus(offset)
    }
}
