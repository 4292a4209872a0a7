//! Checked configuration: what cannot be carried out cannot be written down here. File formats are the shell's affair.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_policy::RuleList;
use millrace_proto::KeyChain;
use serde::{Deserialize, Serialize};

use crate::{Cost, Metric};

/// One RIP process. Comparing two says whether anything changed; an equal one changes nothing and sends nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// By interface name. RIP runs where a named interface is up and has an address.
    pub interfaces: BTreeMap<String, InterfaceConfig>,
    /// Of redistributed routes that come without one.
    pub default_metric: Metric,
    /// Originate 0.0.0.0/0, whatever the routing table holds.
    pub default_route: Option<DefaultRoute>,
    /// How long routes of this router's own are announced as gone: `timers.garbage`. Interfaces have timers of their own.
    pub timers: Timers,
    /// Next hops of one route.
    pub max_paths: NonZeroU8,
    /// Destinations kept. New ones beyond it are refused and counted.
    pub max_routes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DefaultRoute {
    pub metric: Metric,
    pub tag: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceConfig {
    pub cost: Cost,
    pub split_horizon: SplitHorizon,
    /// Listen only. Unicast neighbours are still sent to.
    pub passive: bool,
    pub mode: Mode,
    /// Sent to one by one, besides what `mode` and `passive` say.
    pub neighbors: Vec<Ipv4Addr>,
    pub authentication: Authentication,
    /// Take version 1 messages too (RFC 2453 §5.1); never where messages are authenticated.
    pub receive_version_1: bool,
    pub ttl_security: TtlSecurity,
    pub timers: Timers,
    /// Added to what is received, besides the cost. The first match counts.
    pub offset_in: Vec<Offset>,
    /// Added to what is sent. The first match counts.
    pub offset_out: Vec<Offset>,
    /// Judges what is received here, before it enters the table. Of its changes metric (as it would stand in the table),
    /// tag and distance count.
    pub import: Option<Arc<RuleList>>,
    /// Judges what is sent here. Of its changes metric and tag count.
    pub export: Option<Arc<RuleList>>,
    /// Ask for BFD sessions with neighbours.
    pub bfd: bool,
}

/// RFC 2453 §3.4.3
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitHorizon {
    /// Routes are sent back where they came from; loops may form.
    Off,
    /// Not sent back in regular updates. A triggered update still poisons, so that a neighbour that has just become
    /// the next hop loses the route it may have had through this router.
    Simple,
    /// Sent back as unreachable.
    #[default]
    PoisonedReverse,
}

/// Where regular and triggered updates go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Multicast,
    /// The subnet's broadcast address: for links that lose multicast (RFC 2453 §4.5).
    Broadcast,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Authentication {
    #[default]
    None,
    /// Passwords in clear; the keys' algorithms do not matter (RFC 2453 §4.1).
    Plain(KeyChain),
    /// RFC 4822
    Cryptographic(KeyChain),
}

/// GTSM (RFC 5082) for a protocol that stays on its link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TtlSecurity {
    /// Sent with TTL 1, received with any.
    #[default]
    Off,
    /// Sent with TTL 255, received with any: for the time when not all neighbours do.
    SendOnly,
    /// Sent and received with TTL 255.
    On,
}

/// RFC 2453 §3.8
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timers {
    /// Between regular updates; each interval differs by up to a sixth either way, so that routers do not fall into step.
    pub update: Duration,
    /// A route that is not heard of for this long is gone.
    pub timeout: Duration,
    /// A route that is gone is announced as such for this long.
    pub garbage: Duration,
}

/// A list entry of `offset_in` and `offset_out`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offset {
    /// Matches what is in any of these; empty matches everything.
    pub within: Vec<Prefix>,
    /// Added to the metric.
    pub add: u8,
}

/// Why timers cannot work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimersError {
    #[error("an update interval is 1 s to 1 h")]
    Update,
    /// One lost update would lose every route.
    #[error("a time-out is more than the update interval and its jitter (7/6 of it), and at most 1 day")]
    Timeout,
    #[error("garbage collection takes 1 s to 1 day")]
    Garbage,
}

impl Config {
    /// RIP on no interface, with the RFC's defaults.
    pub fn new() -> Self {
        Self {
            interfaces: BTreeMap::new(),
            default_metric: Metric::MIN,
            default_route: None,
            timers: Timers::default(),
            max_paths: NonZeroU8::MIN,
            max_routes: 100_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl InterfaceConfig {
    /// Whether the same message may teach different routes under `other`.
    pub(crate) fn hears_differently(&self, other: &Self) -> bool {
        (self.cost, &self.offset_in, &self.import) != (other.cost, &other.offset_in, &other.import)
    }

    /// Whether the same table is announced differently under `other`.
    pub(crate) fn sends_differently(&self, other: &Self) -> bool {
        (self.split_horizon, &self.offset_out, &self.export)
            != (other.split_horizon, &other.offset_out, &other.export)
    }
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            cost: Cost::ONE,
            split_horizon: SplitHorizon::default(),
            passive: false,
            mode: Mode::default(),
            neighbors: Vec::new(),
            authentication: Authentication::default(),
            receive_version_1: false,
            ttl_security: TtlSecurity::default(),
            timers: Timers::default(),
            offset_in: Vec::new(),
            offset_out: Vec::new(),
            import: None,
            export: None,
            bfd: false,
        }
    }
}

impl Timers {
    pub fn new(update: Duration, timeout: Duration, garbage: Duration) -> Result<Self, TimersError> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        let timers = Self { update, timeout, garbage };
        if update < second || Duration::from_secs(3600) < update {
            return Err(TimersError::Update);
        }
        if timeout <= update + timers.spread() || day < timeout {
            return Err(TimersError::Timeout);
        }
        if garbage < second || day < garbage {
            return Err(TimersError::Garbage);
        }
        Ok(timers)
    }

    /// RFC 2453 §3.8: 5 s of 30 either way.
    pub fn spread(&self) -> Duration {
        self.update / 6
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            update: Duration::from_secs(30),
            timeout: Duration::from_secs(180),
            garbage: Duration::from_secs(120),
        }
    }
}

impl Offset {
    /// What `list` adds for `prefix`.
    pub(crate) fn of(list: &[Self], prefix: Prefix) -> u8 {
        let matches = |offset: &&Self| {
            offset.within.is_empty() || offset.within.iter().any(|within| within.covers(prefix))
        };
        list.iter().find(matches).map_or(0, |offset| offset.add)
    }
}

impl TtlSecurity {
    pub(crate) const fn ttl(self) -> u8 {
        match self {
            Self::Off => 1,
            Self::SendOnly | Self::On => 255,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_that_cannot_work() {
        let secs = Duration::from_secs;
        for (update, timeout, garbage, expected) in [
            (30, 180, 120, Ok(Timers::default())),
            (30, 36, 1, Ok(Timers { update: secs(30), timeout: secs(36), garbage: secs(1) })),
            (30, 35, 120, Err(TimersError::Timeout)),
            (0, 180, 120, Err(TimersError::Update)),
            (3601, 9000, 120, Err(TimersError::Update)),
            (30, 90_000, 120, Err(TimersError::Timeout)),
            (30, 180, 0, Err(TimersError::Garbage)),
        ] {
            assert_eq!(
                Timers::new(secs(update), secs(timeout), secs(garbage)),
                expected,
                "{update} {timeout} {garbage}"
            );
        }
    }

    #[test]
    fn the_first_matching_offset_counts() {
        let prefix = |text: &str| text.parse::<Prefix>().unwrap();
        let list = [
            Offset { within: vec![prefix("10.1.0.0/16"), prefix("10.2.0.0/16")], add: 3 },
            Offset { within: vec![prefix("10.0.0.0/8")], add: 1 },
        ];
        for (text, add) in [("10.2.9.0/24", 3), ("10.1.0.0/16", 3), ("10.0.0.0/9", 1), ("192.0.2.0/24", 0)] {
            assert_eq!(Offset::of(&list, prefix(text)), add, "{text}");
        }
        assert_eq!(Offset::of(&[Offset { within: vec![], add: 2 }], prefix("0.0.0.0/0")), 2);
    }
}
