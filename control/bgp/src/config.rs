//! Checked configuration: what cannot be carried out cannot be written down here. File formats are the shell's affair.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_policy::RuleList;
use serde::{Deserialize, Serialize};

use crate::wire::Role;

/// One BGP process. Comparing two says whether anything changed; an equal one changes nothing and sends nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// 0: BGP does not run.
    pub asn: u32,
    pub router_id: Option<Ipv4Addr>,
    /// By address.
    pub peers: BTreeMap<Ipv4Addr, PeerConfig>,
    /// Neighbours that need not be named one by one: who calls from one of these is taken.
    pub ranges: Vec<Range>,
    /// Announced whether or not the routing table has them.
    pub networks: BTreeMap<Prefix, Option<Arc<RuleList>>>,
    pub aggregates: BTreeMap<Prefix, Aggregate>,
    pub decision: Decision,
    /// RFC 4456 §7; None: the router id.
    pub cluster_id: Option<Ipv4Addr>,
    pub confederation: Option<Confederation>,
    pub graceful_restart: GracefulRestart,
    /// Announce a route only after the forwarding table has it.
    pub wait_for_fib: bool,
    /// RFC 8326: everything is announced as about to go.
    pub graceful_shutdown: bool,
    /// RFC 9774: routes with AS_SET are not used.
    pub reject_as_sets: bool,
}

/// Neighbours by prefix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Range {
    pub prefix: Prefix,
    /// At most this many at a time.
    pub limit: usize,
    pub peer: PeerConfig,
}

/// RFC 4271 §9.2.2.2
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Aggregate {
    /// Only the aggregate is announced, not what is in it.
    pub summary_only: bool,
}

/// RFC 5065
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Confederation {
    /// What the outside sees.
    pub asn: u32,
    /// The other ASes of it.
    pub members: BTreeSet<u32>,
}

/// How paths are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// MEDs of different neighbour ASes, too.
    pub always_compare_med: bool,
    /// A missing MED is the worst, where it is otherwise 0.
    pub missing_med_worst: bool,
    pub ignore_as_path_length: bool,
    /// Paths of one prefix that share the load.
    pub max_paths_ebgp: u8,
    pub max_paths_ibgp: u8,
    /// Paths of equal length share the load, whatever ASes they pass.
    pub multipath_relax: bool,
}

impl Default for Decision {
    fn default() -> Self {
        Self {
            always_compare_med: false,
            missing_med_worst: false,
            ignore_as_path_length: false,
            max_paths_ebgp: 1,
            max_paths_ibgp: 1,
            multipath_relax: false,
        }
    }
}

/// RFC 4724
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GracefulRestart {
    pub enabled: bool,
    /// How long a peer may be away, as it is told. Seconds, below 4096.
    pub restart_secs: u16,
    /// How long what it had said is kept at most.
    pub stale: Duration,
    /// How long a restarted router waits for its peers before it decides.
    pub defer: Duration,
}

impl Default for GracefulRestart {
    fn default() -> Self {
        Self {
            enabled: true,
            restart_secs: 120,
            stale: Duration::from_secs(360),
            defer: Duration::from_secs(120),
        }
    }
}

/// One neighbour.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerConfig {
    pub asn: u32,
    /// What the peer takes us for, where that is not our AS (RFC 7705).
    pub local_as: Option<u32>,
    pub description: Option<String>,
    pub transport: Transport,
    pub timers: Timers,
    /// Judges what is received. None: everything from internal peers, nothing from external ones (RFC 8212).
    pub import: Option<Arc<RuleList>>,
    /// Judges what is sent. None: as above.
    pub export: Option<Arc<RuleList>>,
    /// RFC 8212: external peers without a policy get and give nothing.
    pub needs_policy: bool,
    /// Administratively down, with the words for the peer (RFC 9003).
    pub shutdown: Option<String>,
    pub next_hop_self: bool,
    /// RFC 4456
    pub reflector_client: bool,
    /// RFC 7947
    pub route_server_client: bool,
    pub remove_private: bool,
    pub as_override: bool,
    /// How often our own AS may stand in a path.
    pub allow_as_in: u8,
    /// The path of an external peer begins with its AS (RFC 4271 §6.3).
    pub enforce_first_as: bool,
    /// RFC 9234: what we are on this session.
    pub role: Option<Role>,
    pub strict_role: bool,
    pub max_prefixes: Option<MaxPrefixes>,
    /// Before all other preferences; higher is better.
    pub weight: u32,
    /// Take several paths of a prefix (RFC 7911).
    pub add_path_receive: bool,
    pub default_originate: bool,
    /// RFC 8654
    pub extended_messages: bool,
    /// False: speak to it as RFC 4271 does, with ASes of two octets.
    pub four_octet_as: bool,
    pub bfd: bool,
}

/// Where speakers listen (RFC 4271 §8.2.1).
pub const PORT: u16 = 179;

/// Of the TCP connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transport {
    /// Wait for the peer to call.
    pub passive: bool,
    pub local_address: Option<Ipv4Addr>,
    /// Where the peer listens.
    pub port: u16,
    /// Hops an external peer may be away; None: it is a neighbour.
    pub multihop: Option<u8>,
}

impl Default for Transport {
    fn default() -> Self {
        Self { passive: false, local_address: None, port: PORT, multihop: None }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timers {
    /// Seconds: 0, or at least 3.
    pub hold: u16,
    /// Between two KEEPALIVEs; None: a third of what was agreed to hold.
    pub keepalive: Option<u16>,
    pub connect_retry: Duration,
    /// RFC 4271 §8.1.1: wait this long for the peer's OPEN before sending ours.
    pub delay_open: Option<Duration>,
    /// Between two runs of UPDATEs (RFC 4271 §9.2.1.1).
    pub advertisement: Duration,
    /// RFC 9687; None: 8 minutes, or twice what is held, whichever is longer.
    pub send_hold: Option<Duration>,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            hold: 90,
            keepalive: None,
            connect_retry: Duration::from_secs(15),
            delay_open: None,
            advertisement: Duration::ZERO,
            send_hold: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MaxPrefixes {
    pub limit: u32,
    /// Where a warning is due, in percent.
    pub warn_percent: u8,
    pub action: OverLimit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverLimit {
    Warn,
    /// Down until an operator clears it.
    Shutdown,
    /// Down, and up again after this long.
    Restart(Duration),
}

impl PeerConfig {
    pub fn new(asn: u32) -> Self {
        Self {
            asn,
            local_as: None,
            description: None,
            transport: Transport::default(),
            timers: Timers::default(),
            import: None,
            export: None,
            needs_policy: true,
            shutdown: None,
            next_hop_self: false,
            reflector_client: false,
            route_server_client: false,
            remove_private: false,
            as_override: false,
            allow_as_in: 0,
            enforce_first_as: true,
            role: None,
            strict_role: false,
            max_prefixes: None,
            weight: 0,
            add_path_receive: false,
            default_originate: false,
            extended_messages: true,
            four_octet_as: true,
            bfd: false,
        }
    }

    /// Whether a session has to begin anew for what differs in `other`.
    pub fn resets(&self, other: &Self) -> bool {
        let session = |config: &Self| {
            (
                (config.asn, config.local_as, config.transport.clone(), config.shutdown.is_some()),
                (config.timers.hold, config.timers.keepalive, config.role, config.strict_role),
                (config.add_path_receive, config.extended_messages, config.four_octet_as),
                (config.route_server_client, config.reflector_client),
            )
        };
        session(self) != session(other)
    }
}
