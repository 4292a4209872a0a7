//! What the API answers: the JSON that `millrace show … --json` prints and other programs read.
//!
//! Made from the dataplane's reports and the runtime's status; names and units are part of the outside interface.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use millrace_api::report;
use millrace_bfd::show::SessionView;
use millrace_net::Mac;
use millrace_policy::{Decision, raw, show as policy_show};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bfd;
use crate::config::{self, Change, Problem};
use crate::runtime::handle;

/// `GET /api/v1/policy`: everything by name, members as text.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Policy {
    pub prefix_lists: BTreeMap<String, Vec<String>>,
    pub as_path_sets: BTreeMap<String, Vec<String>>,
    pub community_sets: BTreeMap<String, Vec<String>>,
    pub rule_lists: Vec<RuleList>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuleList {
    pub name: String,
    pub rules: Vec<Rule>,
    pub default: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    pub name: Option<String>,
    pub conditions: Vec<String>,
    pub changes: Vec<String>,
    /// None: the next rule looks too.
    pub action: Option<String>,
}

impl Policy {
    pub fn new(policy: &config::Policy) -> Self {
        let word = |decision| match decision {
            Decision::Accept => "accept".to_owned(),
            Decision::Reject => "reject".to_owned(),
        };
        let rule = |rule: policy_show::RuleView| Rule {
            name: rule.name,
            conditions: rule.conditions,
            changes: rule.changes,
            action: rule.action.map(word),
        };
        let list = |list: policy_show::RuleListView| RuleList {
            name: list.name,
            rules: list.rules.into_iter().map(rule).collect(),
            default: word(list.default),
        };
        let raw = policy.raw();
        let named = |(name, members): (&String, Vec<String>)| (name.clone(), members);
        let prefixes = raw.prefix_list.iter().map(|l| (&l.name, l.entries.iter().map(entry).collect()));
        let paths = raw.as_path_set.iter().map(|set| (&set.name, set.patterns.clone()));
        let communities = raw.community_set.iter().map(|set| (&set.name, set.communities.clone()));
        Self {
            prefix_lists: prefixes.map(named).collect(),
            as_path_sets: paths.map(named).collect(),
            community_sets: communities.map(named).collect(),
            rule_lists: policy.policies.rule_list_views().map(list).collect(),
        }
    }
}

/// `permit 10.0.0.0/8 ge 16 le 24`
fn entry(entry: &raw::PrefixEntry) -> String {
    match entry {
        raw::PrefixEntry::Exactly(prefix) => format!("permit {prefix}"),
        raw::PrefixEntry::Lengths(raw::PrefixLengths { prefix, ge, le, action }) => {
            let bound =
                |name, bound: &Option<i64>| bound.map_or_else(String::new, |b| format!(" {name} {b}"));
            let action = action.as_deref().unwrap_or("permit");
            format!("{action} {prefix}{}{}", bound("ge", ge), bound("le", le))
        }
    }
}

/// `GET /api/v1/version`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Version {
    pub version: String,
    /// `router.name` of the configuration.
    pub name: Option<String>,
    /// Version of the protocol between control and dataplane.
    pub api: u32,
    pub control_pid: u32,
    pub uptime_seconds: u64,
    pub dataplane: Dataplane,
    pub kernel: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Dataplane {
    pub connected: bool,
    pub build: Option<String>,
    pub pid: Option<u32>,
    pub problem: Option<String>,
}

/// `GET /api/v1/status`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub uptime_seconds: u64,
    /// The file that is read at start and on SIGHUP.
    pub config_file: String,
    pub http: Listener,
    pub confirm: Option<Confirm>,
    #[serde(flatten)]
    pub runtime: handle::Status,
}

/// The TCP listener.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens; none where no listener is configured or it could not be opened.
    pub address: Option<String>,
    /// Why the configured listener could not be opened.
    pub problem: Option<String>,
}

/// A configuration that is taken back unless it is confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Confirm {
    pub seconds_left: u64,
}

/// One element of `GET /api/v1/interfaces`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    /// None: there is no such device at present.
    pub ifindex: Option<u32>,
    /// Administratively up and with carrier.
    pub up: bool,
    /// Why it is not in service or lacks an address, with what to do; none when all is well.
    pub problem: Option<String>,
    pub mac: Option<Mac>,
    pub mtu: Option<u32>,
    /// As `192.0.2.2/30`.
    pub addresses: Vec<String>,
    /// `native`, `generic`, or `absent` while no program is attached.
    pub xdp: String,
    pub on_failure: String,
    pub queues: Vec<report::QueueReport>,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub xdp_outcomes: Counts,
    /// What the kernel lost on the device itself; none where it does not say.
    pub device_drops: Option<report::DeviceDrops>,
}

/// `GET /api/v1/counters`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Counters {
    pub drops: Counts,
    pub verdicts: Counts,
    pub icmp_sent: Counts,
    pub xdp: Counts,
    pub frames: report::FrameCensus,
}

/// One element of `GET /api/v1/drops`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drop {
    pub reason: String,
    pub packets: u64,
    /// What it means.
    pub help: String,
    /// What to do about it.
    pub advice: String,
}

/// `GET /api/v1/fib`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fib {
    #[serde(flatten)]
    pub dataplane: report::Fib,
    pub control: handle::FibStatus,
}

/// One element of `GET /api/v1/nexthops`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Nexthop {
    #[serde(flatten)]
    pub group: handle::GroupView,
    /// The same group as the dataplane has it; none if it has not, or is away.
    pub dataplane: Option<report::Nexthop>,
}

/// One element of `GET /api/v1/acls`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acl {
    pub name: String,
    /// What happens to packets that no rule matches.
    pub default: String,
    /// As `eth0 in`.
    pub interfaces: Vec<String>,
    pub rules: Vec<AclRule>,
    /// What no rule matched.
    pub default_hits: report::RuleHits,
    /// Memory of the compiled list.
    pub compiled_bytes: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AclRule {
    /// From 1.
    pub rule: usize,
    /// Empty where the configuration gives none.
    pub name: String,
    pub action: String,
    /// Its conditions as in the configuration file, with commas between them; empty: every packet.
    pub conditions: String,
    #[serde(flatten)]
    pub hits: report::RuleHits,
}

impl Acl {
    /// A list of the configuration with what it has met; with zeros where the dataplane does not have it.
    pub(super) fn new(
        config: &crate::config::Config,
        acl: &millrace_api::Acl,
        hits: Option<&report::AclHits>,
    ) -> Self {
        let named = |name: &Option<String>| name.as_ref() == Some(&acl.name);
        let uses = |interface: &crate::config::Interface| {
            [("in", named(&interface.guard.acl_in)), ("out", named(&interface.guard.acl_out))]
                .into_iter()
                .filter(|(_, used)| *used)
                .map(|(direction, _)| format!("{} {direction}", interface.name))
                .collect::<Vec<_>>()
        };
        let rule = |(at, rule): (usize, &millrace_api::AclRule)| AclRule {
            rule: at + 1,
            name: rule.name.clone(),
            action: rule.action.name().to_owned(),
            conditions: crate::config::rule_conditions(rule),
            hits: hits.and_then(|hits| hits.rules.get(at)).copied().unwrap_or_default(),
        };
        Self {
            name: acl.name.clone(),
            default: acl.default.name().to_owned(),
            interfaces: config.interfaces.iter().flat_map(uses).collect(),
            rules: acl.rules.iter().enumerate().map(rule).collect(),
            default_hits: hits.map_or_else(report::RuleHits::default, |hits| hits.default),
            compiled_bytes: hits.map_or(0, |hits| hits.compiled_bytes),
        }
    }
}

/// `GET /api/v1/config`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The file that is read at start and on SIGHUP.
    pub file: String,
    /// The configuration in force, defaults written out.
    pub toml: String,
    pub confirm: Option<Confirm>,
}

/// The answer to `POST /api/v1/apply`, `rollback` and `diff`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Applied {
    pub changes: Vec<Change>,
    pub warnings: Vec<Problem>,
    /// What the runtime made of it; none where nothing was to be applied.
    pub result: Option<handle::ApplyReport>,
    pub confirm: Option<Confirm>,
    /// The file that is read at start and on SIGHUP.
    pub config_file: String,
}

/// `GET /api/v1/bfd`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Bfd {
    pub sessions: Vec<BfdSession>,
    /// Packets that were ignored, by reason.
    pub bad_packets: Counts,
    /// Why nothing is received.
    pub problem: Option<String>,
}

/// One neighbour that is watched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BfdSession {
    pub neighbor: Ipv4Addr,
    pub interface: String,
    pub local: Ipv4Addr,
    /// `up`, `init`, `down` or `admin-down`.
    pub state: String,
    pub state_seconds: u64,
    /// Why it is in this state.
    pub diagnostic: String,
    /// Who watches: `static`, `rip`, `ospf`, `bgp`, `configured`.
    pub clients: Vec<String>,
    pub discriminator: u32,
    pub remote_discriminator: u32,
    pub remote_state: String,
    pub remote_diagnostic: String,
    /// Between the packets we send, before jitter.
    pub send_interval_ms: f64,
    /// Silence after which the session is down; 0 until the neighbour was heard.
    pub detection_time_ms: f64,
    pub multiplier: u8,
    pub remote_multiplier: u8,
    pub sent: u64,
    pub received: u64,
    /// Times it came up.
    pub ups: u64,
    /// Times it went down from up.
    pub downs: u64,
}

impl From<bfd::View> for Bfd {
    fn from(view: bfd::View) -> Self {
        let bad_packets = view.bad_packets.iter().map(|(reason, count)| (reason.name().to_owned(), count));
        Self {
            sessions: view.sessions.into_iter().map(BfdSession::from).collect(),
            bad_packets: Counts(bad_packets.collect()),
            problem: view.problem,
        }
    }
}

impl From<(String, SessionView)> for BfdSession {
    fn from((interface, view): (String, SessionView)) -> Self {
        let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        Self {
            neighbor: view.neighbor,
            interface,
            local: view.local,
            state: view.state.name().to_owned(),
            state_seconds: view.since.as_secs(),
            diagnostic: view.diagnostic.name().to_owned(),
            clients: view.clients.iter().map(|client| client.name().to_owned()).collect(),
            discriminator: view.discriminator,
            remote_discriminator: view.remote_discriminator,
            remote_state: view.remote_state.name().to_owned(),
            remote_diagnostic: view.remote_diagnostic.name().to_owned(),
            send_interval_ms: milliseconds(view.send_interval),
            detection_time_ms: milliseconds(view.detection_time),
            multiplier: view.detect_mult,
            remote_multiplier: view.remote_detect_mult,
            sent: view.counters.sent,
            received: view.counters.received,
            ups: view.counters.up,
            downs: view.counters.down,
        }
    }
}

/// Any answer that is not a success.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub error: String,
    /// What is wrong with a configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// Named numbers, in their own order; a JSON object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts(pub Vec<(String, u64)>);

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, count)| (name, count)))
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Counts;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Counts, A::Error> {
                let mut counts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    counts.push(entry);
                }
                Ok(Counts(counts))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Interface {
    /// What is known of a configured interface: by the kernel to this process, and by the dataplane.
    pub(super) fn new(
        configured: &crate::config::Interface,
        status: Option<&handle::InterfaceStatus>,
        report: Result<&report::Interface, &str>,
    ) -> Self {
        let own_problem = status.and_then(|status| status.problem.clone());
        let addresses =
            report.map_or_else(|_| status.map(|s| s.addresses.as_slice()), |r| Some(&r.addresses));
        let seen = report.ok();
        Self {
            name: configured.name.clone(),
            ifindex: seen.map(|r| r.ifindex).filter(|&index| index != 0).or(status.and_then(|s| s.ifindex)),
            up: seen.map_or(status.is_some_and(|s| s.up), |r| r.up),
            problem: match report {
                Ok(report) => report.problem.clone().or(own_problem),
                Err(reason) => own_problem.or(Some(reason.to_owned())),
            },
            mac: seen.map(|r| r.mac).filter(|mac| *mac != Mac::ZERO),
            mtu: seen.map(|r| r.mtu).filter(|&mtu| mtu != 0),
            addresses: addresses.unwrap_or_default().iter().map(text).collect(),
            xdp: seen.map_or("absent", |r| &r.xdp).to_owned(),
            on_failure: crate::config::on_failure_name(configured.on_failure).to_owned(),
            queues: seen.map_or_else(Vec::new, |r| r.queues.clone()),
            rx_packets: seen.map_or(0, |r| r.rx_packets),
            rx_bytes: seen.map_or(0, |r| r.rx_bytes),
            tx_packets: seen.map_or(0, |r| r.tx_packets),
            tx_bytes: seen.map_or(0, |r| r.tx_bytes),
            device_drops: seen.and_then(|r| r.device_drops),
            xdp_outcomes: Counts(seen.map_or_else(Vec::new, |r| r.xdp_outcomes.clone())),
        }
    }
}

fn text(address: &(Ipv4Addr, u8)) -> String {
    format!("{}/{}", address.0, address.1)
}

/// Address translation in sums; names are those of the metrics.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NatStats {
    pub configured: bool,
    pub sessions: u64,
    pub sessions_limit: u64,
    pub mappings: u64,
    pub mappings_limit: u64,
    pub subscribers: u64,
    pub sessions_created: u64,
    pub sessions_expired: u64,
    pub mappings_created: u64,
    pub refused: Counts,
    pub denied: Counts,
    pub log_written: u64,
    pub log_dropped: u64,
    pub log_failed: u64,
    pub restored: Option<String>,
    pub memory_bytes: u64,
}

impl From<millrace_api::nat::NatStats> for NatStats {
    fn from(stats: millrace_api::nat::NatStats) -> Self {
        Self {
            configured: stats.configured,
            sessions: stats.sessions,
            sessions_limit: stats.sessions_limit,
            mappings: stats.mappings,
            mappings_limit: stats.mappings_limit,
            subscribers: stats.subscribers,
            sessions_created: stats.sessions_created,
            sessions_expired: stats.sessions_expired,
            mappings_created: stats.mappings_created,
            refused: Counts(stats.refused),
            denied: Counts(stats.denied),
            log_written: stats.log_written,
            log_dropped: stats.log_dropped,
            log_failed: stats.log_failed,
            restored: stats.restored,
            memory_bytes: stats.memory_bytes,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatCleared {
    /// Sessions that were ended.
    pub sessions: u64,
}

impl From<report::Counters> for Counters {
    fn from(counters: report::Counters) -> Self {
        Self {
            drops: Counts(counters.drops),
            verdicts: Counts(counters.verdicts),
            icmp_sent: Counts(counters.icmp_sent),
            xdp: Counts(counters.xdp),
            frames: counters.frames,
        }
    }
}
