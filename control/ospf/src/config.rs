//! Checked configuration: what cannot be carried out cannot be written down here. File formats are the shell's affair.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::KeyChain;
use serde::{Deserialize, Serialize};

use crate::wire::{AreaId, RouterId};

/// One OSPF process. Comparing two says whether anything changed; an equal one changes nothing and sends nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// None: the highest address, one of a loopback interface where there is one, as it was when OSPF began to run.
    pub router_id: Option<RouterId>,
    /// By interface name. OSPF runs where a named interface is up and has an address.
    pub interfaces: BTreeMap<String, InterfaceConfig>,
    /// What is not named here is a normal area without ranges.
    pub areas: BTreeMap<AreaId, AreaConfig>,
    /// How external routes of several boundary routers are compared (RFC 2328 §16.4.1).
    pub rfc1583_compatible: bool,
    /// Next hops of one route.
    pub max_paths: NonZeroU8,
    /// Originate 0.0.0.0/0, whatever the routing table holds.
    pub default_route: Option<DefaultRoute>,
    /// Of redistributed routes that come without one.
    pub default_metric: ExternalMetric,
    pub stub_router: StubRouter,
    pub backoff: Backoff,
    pub throttle: Throttle,
    /// LSAs kept, all areas together. Others' that come beyond it are refused, counted and reported.
    pub max_lsas: usize,
    /// Leave out of LSAs the networks that only join routers (RFC 6860).
    pub prefix_suppression: bool,
    /// Help neighbours that restart (RFC 3623 §3).
    pub graceful_helper: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DefaultRoute {
    pub metric: ExternalMetric,
    pub tag: u32,
}

/// Distance of an external route.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExternalMetric {
    pub kind: ExternalKind,
    /// Below [`crate::wire::INFINITY`].
    pub cost: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum ExternalKind {
    /// Added to the cost of the way to the boundary router.
    #[serde(rename = "e1")]
    Type1,
    /// Compared first; the way to the boundary router decides among equals.
    #[default]
    #[serde(rename = "e2")]
    Type2,
}

/// Whether others are asked to route around this router (RFC 6987).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum StubRouter {
    #[default]
    Never,
    Always,
    /// For this long after the start.
    OnStart(Duration),
}

/// How long routes wait to be calculated (RFC 8405).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backoff {
    /// After the first event of a quiet time.
    pub initial: Duration,
    /// While a single failure is being learned.
    pub short: Duration,
    /// In an unstable network.
    pub long: Duration,
    /// After this without an event the network is quiet again.
    pub hold_down: Duration,
    /// For how long after the first event `short` is used.
    pub time_to_learn: Duration,
}

/// How far apart instances of one LSA are originated (MinLSInterval).
///
/// The first change is announced at once; each next one waits twice as long as the one before, from `first` to `max`.
/// `first` is above the second for which neighbours ignore further instances (MinLSArrival).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Throttle {
    pub first: Duration,
    pub max: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AreaConfig {
    pub kind: AreaKind,
    /// Networks of this area told to others as one. No two overlap.
    pub ranges: Vec<Range>,
    /// Of the default route into a stub area or NSSA.
    pub default_cost: u32,
    /// Routers to which the backbone is extended through this area.
    pub virtual_links: BTreeMap<RouterId, InterfaceConfig>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum AreaKind {
    #[default]
    Normal,
    /// No external routes. Without `summaries` no routes of other areas either, but the default.
    Stub { summaries: bool },
    /// RFC 3101
    Nssa { summaries: bool, translate: Translate },
}

/// Whether a border router turns type 7 into type 5 LSAs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Translate {
    /// If it has the highest router id of those that could.
    #[default]
    Candidate,
    Always,
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Range {
    pub prefix: Prefix,
    /// False: what it holds is not told at all.
    pub advertise: bool,
    /// None: the highest of what it holds.
    pub cost: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceConfig {
    pub area: AreaId,
    /// None: as the interface is.
    pub network: Option<NetworkType>,
    pub cost: u16,
    /// To become designated router; 0: never.
    pub priority: u8,
    pub hello_interval: NonZeroU16,
    /// Seconds; over the hello interval.
    pub dead_interval: u32,
    pub retransmit_interval: Duration,
    /// Added to the age of LSAs; seconds.
    pub transmit_delay: u16,
    /// Announce the network, speak to nobody.
    pub passive: bool,
    /// Speak to neighbours that send longer packets than fit here.
    pub mtu_ignore: bool,
    pub authentication: Authentication,
    /// NBMA and point-to-multipoint: who is there.
    pub neighbors: Vec<Ipv4Addr>,
    /// NBMA: between hellos to neighbours that are silent.
    pub poll_interval: Duration,
    /// None: as the process.
    pub prefix_suppression: Option<bool>,
    /// Ask for BFD sessions with neighbours.
    pub bfd: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkType {
    Broadcast,
    PointToPoint,
    NonBroadcast,
    PointToMultipoint,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Authentication {
    #[default]
    None,
    /// Passwords in clear; the keys' algorithms do not matter (RFC 2328 D.3).
    Simple(KeyChain),
    /// RFC 2328 D.4, RFC 5709
    Cryptographic(KeyChain),
}

impl Config {
    pub fn new() -> Self {
        Self {
            router_id: None,
            interfaces: BTreeMap::new(),
            areas: BTreeMap::new(),
            rfc1583_compatible: true,
            max_paths: NonZeroU8::new(16).unwrap_or(NonZeroU8::MIN),
            default_route: None,
            default_metric: ExternalMetric { kind: ExternalKind::Type2, cost: 20 },
            stub_router: StubRouter::Never,
            backoff: Backoff::default(),
            throttle: Throttle::default(),
            max_lsas: 500_000,
            prefix_suppression: false,
            graceful_helper: true,
        }
    }

    pub(crate) fn area(&self, area: AreaId) -> AreaConfig {
        self.areas.get(&area).cloned().unwrap_or_default()
    }

    pub(crate) fn area_kind(&self, area: AreaId) -> AreaKind {
        self.areas.get(&area).map_or(AreaKind::Normal, |config| config.kind)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Backoff {
    /// Those of FRR's and of RFC 8405's order of size; the first event is acted on almost at once.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(20),
            short: Duration::from_millis(100),
            long: Duration::from_secs(1),
            hold_down: Duration::from_secs(5),
            time_to_learn: Duration::from_millis(500),
        }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self { first: Duration::from_millis(1200), max: Duration::from_secs(5) }
    }
}

impl Default for AreaConfig {
    fn default() -> Self {
        Self { kind: AreaKind::Normal, ranges: Vec::new(), default_cost: 1, virtual_links: BTreeMap::new() }
    }
}

impl AreaKind {
    /// Takes type 5 and type 11 LSAs.
    pub const fn has_externals(self) -> bool {
        matches!(self, Self::Normal)
    }

    pub const fn is_nssa(self) -> bool {
        matches!(self, Self::Nssa { .. })
    }

    /// Whether routes of other areas are told here one by one.
    pub const fn has_summaries(self) -> bool {
        match self {
            Self::Normal => true,
            Self::Stub { summaries } | Self::Nssa { summaries, .. } => summaries,
        }
    }
}

impl InterfaceConfig {
    pub fn new(area: AreaId) -> Self {
        Self {
            area,
            network: None,
            cost: 10,
            priority: 1,
            hello_interval: NonZeroU16::new(10).unwrap_or(NonZeroU16::MIN),
            dead_interval: 40,
            retransmit_interval: Duration::from_secs(5),
            transmit_delay: 1,
            passive: false,
            mtu_ignore: false,
            authentication: Authentication::None,
            neighbors: Vec::new(),
            poll_interval: Duration::from_secs(120),
            prefix_suppression: None,
            bfd: false,
        }
    }
}
