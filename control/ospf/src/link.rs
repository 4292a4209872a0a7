//! An interface on which OSPF runs, or a virtual link; and the interface state machine. RFC 2328 §9.1 to §9.3.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_proto::{IfIndex, Interface, KeyId};
use serde::{Deserialize, Serialize};

use crate::config::{InterfaceConfig, NetworkType};
use crate::lsdb::{Lsdb, Scope};
use crate::neighbor::{Neighbor, NeighborState};
use crate::stats::LinkStats;
use crate::wire::{AreaId, LsaHeader, LsaKey, RouterId};

/// Neighbours kept of one link; a /16 full of forged sources must not fill the memory.
pub(crate) const MAX_NEIGHBORS: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum LinkId {
    Interface(IfIndex),
    /// RFC 2328 §15
    Virtual {
        transit: AreaId,
        peer: RouterId,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceState {
    Down,
    Loopback,
    /// Listening for who is designated.
    Waiting,
    PointToPoint,
    /// Neither designated nor backup.
    DrOther,
    Backup,
    Dr,
}

/// RFC 2328 §9.2
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterfaceEvent {
    Up,
    WaitTimer,
    /// A designated or backup router was heard of.
    BackupSeen,
    NeighborChange,
    Loop,
    Unloop,
    Down,
}

/// What an interface is, as far as its states depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    Broadcast,
    NonBroadcast,
    PointToPoint,
    PointToMultipoint,
    Virtual,
    Loopback,
}

/// Where a transition leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    State(InterfaceState),
    /// As the election says.
    Elect,
}

impl InterfaceState {
    pub const ALL: [Self; 7] = [
        Self::Down,
        Self::Loopback,
        Self::Waiting,
        Self::PointToPoint,
        Self::DrOther,
        Self::Backup,
        Self::Dr,
    ];

    /// As operators know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Loopback => "loopback",
            Self::Waiting => "waiting",
            Self::PointToPoint => "point-to-point",
            Self::DrOther => "dr-other",
            Self::Backup => "backup",
            Self::Dr => "dr",
        }
    }
}

impl Medium {
    /// Has a designated router.
    pub const fn elects(self) -> bool {
        matches!(self, Self::Broadcast | Self::NonBroadcast)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::NonBroadcast => "non-broadcast",
            Self::PointToPoint => "point-to-point",
            Self::PointToMultipoint => "point-to-multipoint",
            Self::Virtual => "virtual",
            Self::Loopback => "loopback",
        }
    }
}

/// What follows from `event`; None where it means nothing in `state`. `eligible` is a priority over 0. RFC 2328 §9.3.
pub fn transition(
    state: InterfaceState,
    event: InterfaceEvent,
    medium: Medium,
    eligible: bool,
) -> Option<Next> {
    use InterfaceEvent as E;
    use InterfaceState as S;
    match (event, state) {
        (E::Up, S::Down) => Some(Next::State(match medium {
            Medium::PointToPoint | Medium::PointToMultipoint | Medium::Virtual => S::PointToPoint,
            Medium::Loopback => S::Loopback,
            Medium::Broadcast | Medium::NonBroadcast => {
                if eligible {
                    S::Waiting
                } else {
                    S::DrOther
                }
            }
        })),
        (E::WaitTimer | E::BackupSeen, S::Waiting) => Some(Next::Elect),
        (E::NeighborChange, S::DrOther | S::Backup | S::Dr) => Some(Next::Elect),
        (E::Loop, _) => Some(Next::State(S::Loopback)),
        (E::Unloop, S::Loopback) => Some(Next::State(S::Down)),
        (E::Down, _) => Some(Next::State(S::Down)),
        (E::Up | E::WaitTimer | E::BackupSeen | E::NeighborChange | E::Unloop, _) => None,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// The interface packets pass; of a virtual link the one towards its peer.
    pub(crate) interface: Interface,
    pub(crate) config: InterfaceConfig,
    /// The backbone for a virtual link, whose configuration names the transit area.
    pub(crate) area: AreaId,
    pub(crate) medium: Medium,
    pub(crate) state: InterfaceState,
    /// Where packets come from: 0.0.0.0 never.
    pub(crate) address: Ipv4Addr,
    /// None: unnumbered, or virtual.
    pub(crate) network: Option<Prefix>,
    pub(crate) cost: u16,
    /// Interface addresses; 0.0.0.0 is nobody.
    pub(crate) designated: Ipv4Addr,
    pub(crate) backup: Ipv4Addr,
    pub(crate) neighbors: BTreeMap<Ipv4Addr, Neighbor>,
    /// To be acknowledged soon.
    pub(crate) acks: Vec<LsaHeader>,
    /// To be flooded here, in the order of arrival.
    pub(crate) queue: Vec<(Scope, LsaKey)>,
    pub(crate) queued: BTreeSet<LsaKey>,
    /// Type 9 LSAs.
    pub(crate) db: Lsdb,
    pub(crate) stats: LinkStats,
    /// The expired key that its operator was told about.
    pub(crate) expired_key: Option<KeyId>,
}

impl Link {
    pub(crate) fn new(interface: Interface, config: InterfaceConfig) -> Self {
        let medium = medium(&interface, &config);
        let address = interface.addresses.first();
        // Point-to-point to a peer outside any subnet of ours counts as unnumbered (RFC 2328 §9: no mask to announce).
        let network = address.filter(|own| own.peer.is_none()).map(|own| own.network());
        Self {
            id: LinkId::Interface(interface.index),
            area: config.area,
            medium,
            state: InterfaceState::Down,
            address: address.map_or(Ipv4Addr::UNSPECIFIED, |own| own.address),
            network,
            cost: config.cost,
            designated: Ipv4Addr::UNSPECIFIED,
            backup: Ipv4Addr::UNSPECIFIED,
            neighbors: BTreeMap::new(),
            acks: Vec::new(),
            queue: Vec::new(),
            queued: BTreeSet::new(),
            db: Lsdb::default(),
            stats: LinkStats::default(),
            expired_key: None,
            interface,
            config,
        }
    }

    /// A link through `transit`; where its packets go is known when a route to the peer is.
    pub(crate) fn new_virtual(transit: AreaId, peer: RouterId, config: InterfaceConfig) -> Self {
        let interface = Interface {
            index: IfIndex(0),
            name: format!("virtual:{peer}"),
            kind: millrace_proto::LinkKind::PointToPoint,
            up: true,
            mtu: 1500,
            addresses: Vec::new(),
        };
        let mut link = Self::new(interface, config);
        link.id = LinkId::Virtual { transit, peer };
        link.area = AreaId::BACKBONE;
        link.medium = Medium::Virtual;
        link
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.medium == Medium::Virtual
    }

    /// Whether packets are exchanged here.
    pub(crate) fn talks(&self) -> bool {
        !self.config.passive
            && match self.state {
                InterfaceState::Down | InterfaceState::Loopback => false,
                InterfaceState::Waiting
                | InterfaceState::PointToPoint
                | InterfaceState::DrOther
                | InterfaceState::Backup
                | InterfaceState::Dr => true,
            }
    }

    pub(crate) fn is_designated_or_backup(&self) -> bool {
        matches!(self.state, InterfaceState::Dr | InterfaceState::Backup)
    }

    /// RFC 2328 §10.4
    pub(crate) fn wants_adjacency(&self, neighbor: &Neighbor) -> bool {
        !self.medium.elects()
            || self.is_designated_or_backup()
            || neighbor.address == self.designated
            || neighbor.address == self.backup
    }

    /// How a neighbour is told apart on this kind of link.
    pub(crate) fn neighbor_key(&self, router: RouterId, source: Ipv4Addr) -> Ipv4Addr {
        match self.medium {
            Medium::Broadcast | Medium::NonBroadcast | Medium::PointToMultipoint => source,
            Medium::PointToPoint | Medium::Virtual | Medium::Loopback => router.0,
        }
    }

    /// Fully adjacent to the designated router, or it is this router and has someone adjacent. RFC 2328 §12.4.1.2.
    pub(crate) fn is_transit(&self) -> bool {
        match self.state {
            InterfaceState::Dr => self.neighbors.values().any(Neighbor::is_adjacent),
            InterfaceState::DrOther | InterfaceState::Backup => {
                self.neighbors.values().any(|n| n.address == self.designated && n.is_adjacent())
            }
            InterfaceState::Down
            | InterfaceState::Loopback
            | InterfaceState::Waiting
            | InterfaceState::PointToPoint => false,
        }
    }

    /// Someone here is in the middle of an exchange (RFC 2328 §13 (4), §14).
    pub(crate) fn is_exchanging(&self) -> bool {
        let busy = |state| matches!(state, NeighborState::Exchange | NeighborState::Loading);
        self.neighbors.values().any(|neighbor| busy(neighbor.state))
    }
}

pub(crate) fn medium(interface: &Interface, config: &InterfaceConfig) -> Medium {
    match (interface.kind, config.network) {
        (millrace_proto::LinkKind::Loopback, _) => Medium::Loopback,
        (_, Some(NetworkType::Broadcast)) | (millrace_proto::LinkKind::Broadcast, None) => Medium::Broadcast,
        (_, Some(NetworkType::PointToPoint)) | (millrace_proto::LinkKind::PointToPoint, None) => {
            Medium::PointToPoint
        }
        (_, Some(NetworkType::NonBroadcast)) => Medium::NonBroadcast,
        (_, Some(NetworkType::PointToMultipoint)) => Medium::PointToMultipoint,
    }
}
