//! Rules in order, and what they do to a route.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::as_path::{AsPath, AsPathSet};
use crate::community::{Community, CommunitySet};
use crate::prefix_list::PrefixList;
use crate::route::{NextHop, Origin, Protocol, Route};

/// Looked at from the top; the first rule that fires and decides, decides. Cheap to clone through its `Arc`s.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuleList {
    pub name: String,
    pub rules: Vec<Rule>,
    /// What happens to routes no rule decides about.
    pub default: Decision,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// For logs and `policy test`; by number where it has none.
    pub name: Option<String>,
    /// All must hold; none at all hold always.
    pub conditions: Vec<Condition>,
    pub changes: Vec<Change>,
    /// None: the next rule looks at the changed route.
    pub decision: Option<Decision>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    Accept,
    Reject,
}

/// Sets are shared between the rules that name them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Condition {
    Prefix(Named<PrefixList>),
    /// Routes without an AS path have the empty one.
    AsPath(Named<AsPathSet>),
    Community(Named<CommunitySet>),
    /// The next hop's address, as a host.
    NextHop(Named<PrefixList>),
    Protocol(Vec<Protocol>),
    Neighbor(Vec<Ipv4Addr>),
    Tag(RangeInclusive<u32>),
    /// Routes without a metric do not match; the same holds below.
    Metric(RangeInclusive<u32>),
    Preference(RangeInclusive<u32>),
    AsPathLength(RangeInclusive<u32>),
    Origin(Origin),
}

/// A set with the name it was configured under.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Named<T> {
    pub name: String,
    pub set: Arc<T>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    Metric(Arithmetic),
    Preference(Arithmetic),
    Tag(u32),
    Distance(u8),
    NextHop(Option<Ipv4Addr>),
    Origin(Origin),
    /// This AS in front of the path, this often.
    Prepend {
        asn: PrependAs,
        times: u8,
    },
    AddCommunities(Vec<Community>),
    /// Those the set's patterns cover.
    RemoveCommunities(Named<CommunitySet>),
    /// These, and no others.
    SetCommunities(Vec<Community>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PrependAs {
    Own,
    /// The AS that is in front already.
    First,
    As(u32),
}

/// `100`, `"+5"` or `"-5"`; sums stop at the ends of the range. A missing value counts as 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Arithmetic {
    To(u32),
    Plus(u32),
    Minus(u32),
}

/// What rules need to know beside the route.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Context {
    /// For [`PrependAs::Own`]; without one nothing is prepended.
    pub own_as: Option<u32>,
}

/// What became of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub decision: Decision,
    pub fired: Fired,
}

/// Which rule decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fired {
    /// By position, from 0.
    Rule(usize),
    Default,
}

impl RuleList {
    /// Changes `route` as the rules say, and answers whether it passes. A rejected route may have been changed too.
    pub fn apply(&self, route: &mut Route, context: Context) -> Verdict {
        for (at, rule) in self.rules.iter().enumerate() {
            if !rule.fires(route) {
                continue;
            }
            rule.change(route, context);
            if let Some(decision) = rule.decision {
                return Verdict { decision, fired: Fired::Rule(at) };
            }
        }
        Verdict { decision: self.default, fired: Fired::Default }
    }

    /// How a rule is called: by its name, or as the third.
    pub fn label(&self, fired: Fired) -> String {
        match fired {
            Fired::Default => "the default".into(),
            Fired::Rule(at) => match self.rules.get(at).and_then(|rule| rule.name.as_deref()) {
                Some(name) => format!("rule {} \"{name}\"", at + 1),
                None => format!("rule {}", at + 1),
            },
        }
    }
}

impl Rule {
    pub fn fires(&self, route: &Route) -> bool {
        self.conditions.iter().all(|condition| condition.holds(route))
    }

    pub(crate) fn change(&self, route: &mut Route, context: Context) {
        for change in &self.changes {
            change.make(route, context);
        }
    }
}

impl Condition {
    pub fn holds(&self, route: &Route) -> bool {
        let bgp = route.bgp.as_ref();
        match self {
            Self::Prefix(list) => list.set.contains(route.prefix),
            Self::AsPath(set) => match bgp {
                Some(bgp) => set.set.matches(&bgp.as_path),
                None => set.set.matches(&AsPath::default()),
            },
            Self::Community(set) => set.set.matches(bgp.map_or(&[], |bgp| &bgp.communities)),
            Self::NextHop(list) => match route.next_hop {
                NextHop::Address(address) => list.set.contains(millrace_net::Prefix::host(address)),
                NextHop::None | NextHop::Own => false,
            },
            Self::Protocol(protocols) => protocols.contains(&route.protocol),
            Self::Neighbor(neighbors) => route.neighbor.is_some_and(|neighbor| neighbors.contains(&neighbor)),
            Self::Tag(range) => range.contains(&route.tag),
            Self::Metric(range) => route.metric.is_some_and(|metric| range.contains(&metric)),
            Self::Preference(range) => route.preference.is_some_and(|preference| range.contains(&preference)),
            Self::AsPathLength(range) => {
                let len = bgp.map_or(0, |bgp| bgp.as_path.len());
                u32::try_from(len).is_ok_and(|len| range.contains(&len))
            }
            Self::Origin(origin) => bgp.is_some_and(|bgp| bgp.origin == *origin),
        }
    }
}

/// As in a configuration file: `prefix-list customers`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |f: &mut fmt::Formatter<'_>, what: &str, range: &RangeInclusive<u32>| {
            if range.start() == range.end() {
                write!(f, "{what} {}", range.start())
            } else {
                write!(f, "{what} {}-{}", range.start(), range.end())
            }
        };
        match self {
            Self::Prefix(list) => write!(f, "prefix-list {}", list.name),
            Self::AsPath(set) => write!(f, "as-path-set {}", set.name),
            Self::Community(set) => write!(f, "community-set {}", set.name),
            Self::NextHop(list) => write!(f, "next-hop {}", list.name),
            Self::Protocol(protocols) => {
                write!(
                    f,
                    "protocol {}",
                    protocols.iter().map(|protocol| protocol.name()).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Neighbor(neighbors) => {
                write!(
                    f,
                    "neighbor {}",
                    neighbors.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Tag(tags) => range(f, "tag", tags),
            Self::Metric(metrics) => range(f, "metric", metrics),
            Self::Preference(preferences) => range(f, "preference", preferences),
            Self::AsPathLength(lengths) => range(f, "as-path-length", lengths),
            Self::Origin(origin) => write!(f, "origin {}", origin.name()),
        }
    }
}

impl Change {
    fn make(&self, route: &mut Route, context: Context) {
        match self {
            Self::Metric(arithmetic) => route.metric = Some(arithmetic.apply(route.metric)),
            Self::Preference(arithmetic) => route.preference = Some(arithmetic.apply(route.preference)),
            Self::Tag(tag) => route.tag = *tag,
            Self::Distance(distance) => route.distance = Some(*distance),
            Self::NextHop(address) => route.next_hop = address.map_or(NextHop::Own, NextHop::Address),
            Self::Origin(origin) => route.bgp_mut().origin = *origin,
            Self::Prepend { asn, times } => {
                let path = &mut route.bgp_mut().as_path;
                let asn = match asn {
                    PrependAs::Own => context.own_as,
                    PrependAs::First => path.first(),
                    PrependAs::As(asn) => Some(*asn),
                };
                if let Some(asn) = asn {
                    *path = path.prepended(asn, *times);
                }
            }
            Self::AddCommunities(more) => {
                set_communities(route, |known| known.into_iter().chain(more.iter().copied()).collect());
            }
            Self::RemoveCommunities(set) => {
                set_communities(route, |known| {
                    known.into_iter().filter(|community| !set.set.covers(*community)).collect()
                });
            }
            Self::SetCommunities(exactly) => set_communities(route, |_| exactly.clone()),
        }
    }
}

fn set_communities(route: &mut Route, change: impl FnOnce(Vec<Community>) -> Vec<Community>) {
    let communities = &mut route.bgp_mut().communities;
    let mut changed = change(communities.to_vec());
    changed.sort_unstable();
    changed.dedup();
    *communities = changed.into();
}

impl Arithmetic {
    fn apply(self, value: Option<u32>) -> u32 {
        let value = value.unwrap_or(0);
        match self {
            Self::To(to) => to,
            Self::Plus(more) => value.saturating_add(more),
            Self::Minus(less) => value.saturating_sub(less),
        }
    }
}
