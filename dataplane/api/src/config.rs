//! What the dataplane needs to know of the configuration file, already checked by control.

use serde::{Deserialize, Serialize};

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
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceConfig {
    pub name: String,
    pub nat: Option<NatRole>,
    pub urpf: Urpf,
    pub on_failure: OnFailure,
    pub queues: Queues,
    pub mss_clamp: Option<MssClamp>,
}

/// The largest TCP segment a SYN through the interface may announce.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MssClamp {
    /// What fits the interface's MTU.
    Mtu,
    /// This many bytes.
    Bytes(u16),
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
