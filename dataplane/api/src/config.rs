//! What the dataplane needs to know of the configuration file, already checked by control.

use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::filter::{Acl, Police};
use crate::nat::NatConfig;

/// The whole of it; sent complete every time, and compared by the dataplane with what is in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DataplaneConfig {
    /// CPU ids, one pinned worker each. Empty: one worker on the last CPU. Fixed at start.
    pub workers: Vec<u16>,
    /// Fixed at start.
    pub mode: Mode,
    pub express: Express,
    pub busy_poll: bool,
    /// How workers compete for their CPU. Fixed at start.
    pub scheduling: Scheduling,
    /// Workers measure how long each stage takes.
    pub stage_times: bool,
    /// UMEM frames in all, shared by every socket. Fixed at start.
    pub frames: u32,
    pub interfaces: Vec<InterfaceConfig>,
    /// None: nothing is translated.
    pub nat: Option<NatConfig>,
    pub forwarding: Forwarding,
    /// What interfaces name in `acl_in` and `acl_out`.
    pub acls: Vec<Acl>,
}

/// How packets are forwarded, whatever the interface. In force at once.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Forwarding {
    pub flow_hash: FlowHash,
    pub icmp_source: IcmpSource,
    /// The address of what the router says on an interface without one. None: the highest.
    pub router_id: Option<Ipv4Addr>,
    /// Whether source-routed packets are forwarded.
    pub source_routes: bool,
}

/// What chooses among paths of equal cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum FlowHash {
    /// Addresses only.
    L3,
    /// Addresses, protocol and ports; of fragments addresses and protocol only.
    #[default]
    L3L4,
}

/// Which interface's address an ICMP error has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum IcmpSource {
    /// The one it leaves by (RFC 1812 §4.3.2.4).
    #[default]
    Outgoing,
    /// The one the packet it is about came by.
    Incoming,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceConfig {
    pub name: String,
    pub nat: Option<NatRole>,
    pub urpf: Urpf,
    pub on_failure: OnFailure,
    pub queues: Queues,
    pub mss_clamp: Option<MssClamp>,
    /// A VLAN on another interface: frames come and go by that one's queues.
    pub vlan: Option<Vlan>,
    pub guard: Guard,
    pub switches: Switches,
}

/// Where the frames of a VLAN are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vlan {
    /// The interface whose frames have the tag; one of the configuration's.
    pub parent: String,
    /// The 802.1ad tag before the other (QinQ), 1 to 4094.
    pub outer: Option<u16>,
    /// The 802.1Q tag, 1 to 4094.
    pub vid: u16,
}

/// What packets must pass, by direction. Packets to the router's own addresses go to the kernel unseen.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Guard {
    /// The name of one of the lists.
    pub acl_in: Option<String>,
    pub acl_out: Option<String>,
    pub police_in: Option<Police>,
    pub police_out: Option<Police>,
}

/// What an interface does only where it is told to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Switches {
    /// Broadcasts to its subnets are forwarded onto its link (RFC 2644).
    pub directed_broadcast: bool,
    /// Hosts on its link are told of better routers there (RFC 1812 §5.2.7.2).
    pub redirects: bool,
    /// The kernel answers ARP requests for what is behind the router (RFC 1027).
    pub proxy_arp: bool,
}

/// How sockets are bound and the program attached. Never lowered silently.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Native XDP; zero-copy where the driver can, else copy.
    #[default]
    Auto,
    /// Native XDP and zero-copy, or a refusal to start.
    ZeroCopy,
    /// Native XDP and copy.
    Copy,
    /// Generic (skb) XDP and copy: works on every driver, slowly.
    Generic,
}

/// How workers compete with other processes for their CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduling {
    /// SCHED_FIFO: a worker runs as soon as it has something to do. Where the kernel refuses that, a higher priority
    /// (nice), and where it refuses that too, its turn; what it got is logged, shown and exported.
    #[default]
    Realtime,
    /// An ordinary process of higher priority (nice).
    Nice,
    /// As any process.
    Normal,
}

/// Forwarding in the XDP program itself (DESIGN 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Express {
    #[default]
    Auto,
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatRole {
    Inside,
    Outside,
}

/// Unicast reverse path forwarding (RFC 3704).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urpf {
    #[default]
    Off,
    Loose,
    Strict,
}

/// What becomes of transit packets while no worker is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The kernel forwards with the mirrored routes.
    Kernel,
    /// Nothing is forwarded; kept in force by the interface's `forwarding` sysctl, so that it outlives the process.
    Drop,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Queues {
    #[default]
    All,
    Only(Vec<u32>),
}

/// The largest TCP segment a SYN through the interface may announce.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MssClamp {
    /// What fits the interface's MTU.
    Mtu,
    /// This many bytes.
    Bytes(u16),
}
