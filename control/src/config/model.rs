//! The checked configuration. Defaults are filled in; what is `Option` here is optional in the running router too.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use millrace_api as api;
use millrace_net::Prefix;
use millrace_policy::{Policies, raw};
use millrace_rib::Protocol;

use super::key_chain::KeyChains;
use crate::protocols::redistribute::Redistribute;

/// One whole configuration. Comparing two says whether anything changed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Config {
    pub router: Router,
    pub dataplane: Dataplane,
    /// In the order of the file; names are unique.
    pub interfaces: Vec<Interface>,
    pub forwarding: Forwarding,
    /// In the order of the file; names are unique.
    pub acls: Vec<api::Acl>,
    /// In the order of the file. No prefix stands twice with the same distance.
    pub statics: Vec<StaticRoute>,
    /// None: nothing is translated.
    pub nat: Option<api::nat::NatConfig>,
    /// Sessions there are where something asks for them, and with the neighbours named here.
    pub bfd: millrace_bfd::Config,
    /// None: no TCP listener.
    pub http: Option<Http>,
    pub kernel: Kernel,
    pub key_chains: KeyChains,
    pub policy: Policy,
    /// None: RIP does not run.
    pub rip: Option<Rip>,
    /// None: BGP does not run.
    pub bgp: Option<Bgp>,
    /// None: OSPF does not run.
    pub ospf: Option<Ospf>,
}

/// `[policy]`: as it is carried out, and as it was written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Policy {
    pub policies: Policies,
    pub(super) raw: raw::Policy,
}

impl Policy {
    /// As it was written.
    pub fn raw(&self) -> &raw::Policy {
        &self.raw
    }
}

/// `[bgp]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bgp {
    pub machine: millrace_bgp::Config,
    pub redistribute: Vec<Redistribute>,
    /// Where neighbours are listened for.
    pub port: u16,
    /// Of routes of external and of internal neighbours: 1 to 255.
    pub distance: u8,
    pub distance_internal: u8,
}

/// `[rip]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rip {
    pub machine: millrace_rip::Config,
    pub redistribute: Vec<Redistribute>,
    /// 1 to 255.
    pub distance: u8,
}

/// `[ospf]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ospf {
    pub machine: millrace_ospf::Config,
    pub redistribute: Vec<Redistribute>,
    /// 1 to 255.
    pub distance: u8,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Router {
    pub name: Option<String>,
    /// None: the highest address of the router's interfaces.
    pub router_id: Option<Ipv4Addr>,
    pub asn: Option<u32>,
}

/// `[dataplane]`; see [`api::DataplaneConfig`] for what the fields do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dataplane {
    /// CPU ids without duplicates. Empty: one worker on the last CPU.
    pub workers: Vec<u16>,
    pub mode: api::Mode,
    /// Never `On`: this version refuses it.
    pub express: api::Express,
    pub busy_poll: bool,
    pub scheduling: api::Scheduling,
    pub stage_times: bool,
    /// UMEM frames: a power of two.
    pub frames: u32,
}

/// Frames where the file names none: 64 MiB of 4 KiB frames.
pub(super) const DEFAULT_FRAMES: u32 = 16384;

impl Default for Dataplane {
    fn default() -> Self {
        Self {
            workers: Vec::new(),
            mode: api::Mode::Auto,
            express: api::Express::Auto,
            busy_poll: false,
            scheduling: api::Scheduling::Realtime,
            stage_times: false,
            frames: DEFAULT_FRAMES,
        }
    }
}

/// `[forwarding]`; see [`api::Forwarding`] for what the fields do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forwarding {
    pub ecmp_hash: api::FlowHash,
    pub icmp_source: api::IcmpSource,
    pub source_routes: bool,
}

impl Default for Forwarding {
    fn default() -> Self {
        let default = api::Forwarding::default();
        Self {
            ecmp_hash: default.flow_hash,
            icmp_source: default.icmp_source,
            source_routes: default.source_routes,
        }
    }
}

/// `[[interface]]`: a port of the router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    pub name: String,
    /// To be added to the kernel where missing. Empty: the kernel's own are used.
    pub addresses: Vec<InterfaceAddress>,
    /// Only with [`Config::nat`].
    pub nat: Option<api::NatRole>,
    pub urpf: api::Urpf,
    pub on_failure: api::OnFailure,
    pub queues: api::Queues,
    pub mss_clamp: Option<api::MssClamp>,
    pub guard: api::Guard,
    pub switches: api::Switches,
}

/// An address with the length of its subnet. Unlike a [`Prefix`] it keeps its host bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceAddress {
    pub addr: Ipv4Addr,
    /// 1 to 32.
    pub len: u8,
}

impl InterfaceAddress {
    /// The subnet the address is in.
    pub fn subnet(self) -> Prefix {
        Prefix::truncated(self.addr, self.len)
    }
}

impl std::fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// `[[static]]`: one target for one prefix or for all prefixes of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticRoute {
    /// Sorted, without duplicates.
    pub prefixes: Arc<[Prefix]>,
    /// The file the prefixes were read from; none where the entry itself names its one prefix.
    pub file: Option<PathBuf>,
    pub target: StaticTarget,
    /// 1 to 255.
    pub distance: u8,
    /// Next hops on a connected subnet are watched. Only with [`StaticTarget::Via`].
    pub bfd: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StaticTarget {
    /// 1 to 64 different addresses; resolved through the other routes.
    Via(Vec<StaticVia>),
    /// Destinations are neighbours on this interface, which is one of [`Config::interfaces`].
    Interface(String),
    Blackhole,
    Unreachable,
    Prohibit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaticVia {
    pub addr: Ipv4Addr,
    /// 1 to 256.
    pub weight: u16,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http {
    pub listen: SocketAddr,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kernel {
    pub mirror: Mirror,
}

/// Which routes the kernel's main table gets as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mirror {
    #[default]
    All,
    /// Everything but BGP.
    Igp,
    None,
}

impl Config {
    /// The administrative distance of a protocol's routes, where they do not say otherwise.
    pub fn distance(&self, protocol: Protocol) -> u8 {
        let configured = match protocol {
            Protocol::Rip => self.rip.as_ref().map(|rip| rip.distance),
            Protocol::Ospf => self.ospf.as_ref().map(|ospf| ospf.distance),
            Protocol::Ebgp => self.bgp.as_ref().map(|bgp| bgp.distance),
            Protocol::Ibgp => self.bgp.as_ref().map(|bgp| bgp.distance_internal),
            Protocol::Local | Protocol::Connected | Protocol::Static => None,
        };
        configured.unwrap_or_else(|| protocol.distance())
    }

    /// The part the dataplane is told.
    pub fn dataplane_config(&self) -> api::DataplaneConfig {
        let interfaces = self.interfaces.iter().map(|interface| api::InterfaceConfig {
            name: interface.name.clone(),
            nat: interface.nat,
            urpf: interface.urpf,
            on_failure: interface.on_failure,
            queues: interface.queues.clone(),
            mss_clamp: interface.mss_clamp,
            vlan: None,
            guard: interface.guard.clone(),
            switches: interface.switches,
        });
        api::DataplaneConfig {
            workers: self.dataplane.workers.clone(),
            mode: self.dataplane.mode,
            express: self.dataplane.express,
            busy_poll: self.dataplane.busy_poll,
            scheduling: self.dataplane.scheduling,
            stage_times: self.dataplane.stage_times,
            frames: self.dataplane.frames,
            interfaces: interfaces.collect(),
            nat: self.nat.clone(),
            forwarding: api::Forwarding {
                flow_hash: self.forwarding.ecmp_hash,
                icmp_source: self.forwarding.icmp_source,
                router_id: self.router.router_id,
                source_routes: self.forwarding.source_routes,
            },
            acls: self.acls.clone(),
        }
    }
}
