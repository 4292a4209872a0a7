//! Policies as operators see them: `show policy` and the API read these.

use std::fmt;

use serde::Serialize;

use crate::check::Policies;
use crate::rule::{Arithmetic, Change, Decision, PrependAs, RuleList};

/// One list of rules, in the words of the configuration file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RuleListView {
    pub name: String,
    pub rules: Vec<RuleView>,
    pub default: Decision,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RuleView {
    pub name: Option<String>,
    /// `prefix-list customers`
    pub conditions: Vec<String>,
    /// `metric +5`
    pub changes: Vec<String>,
    /// None: the next rule looks too.
    pub action: Option<Decision>,
}

impl Policies {
    pub fn rule_list_views(&self) -> impl Iterator<Item = RuleListView> {
        self.rule_lists.values().map(|list| list.view())
    }
}

impl RuleList {
    pub fn view(&self) -> RuleListView {
        let rules = self.rules.iter().map(|rule| RuleView {
            name: rule.name.clone(),
            conditions: rule.conditions.iter().map(ToString::to_string).collect(),
            changes: rule.changes.iter().map(ToString::to_string).collect(),
            action: rule.decision,
        });
        RuleListView { name: self.name.clone(), rules: rules.collect(), default: self.default }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |communities: &[crate::Community]| {
            communities.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        match self {
            Self::Metric(arithmetic) => write!(f, "metric {arithmetic}"),
            Self::Preference(arithmetic) => write!(f, "preference {arithmetic}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Distance(distance) => write!(f, "distance {distance}"),
            Self::NextHop(Some(address)) => write!(f, "next-hop {address}"),
            Self::NextHop(None) => f.write_str("next-hop self"),
            Self::Origin(origin) => write!(f, "origin {}", origin.name()),
            Self::Prepend { asn: PrependAs::Own, times } => write!(f, "prepend own x{times}"),
            Self::Prepend { asn: PrependAs::First, times } => write!(f, "prepend first x{times}"),
            Self::Prepend { asn: PrependAs::As(asn), times } => write!(f, "prepend {asn} x{times}"),
            Self::AddCommunities(more) => write!(f, "communities-add {}", list(more)),
            Self::RemoveCommunities(set) => write!(f, "communities-remove {}", set.name),
            Self::SetCommunities(exactly) => write!(f, "communities {}", list(exactly)),
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(to) => to.fmt(f),
            Self::Plus(more) => write!(f, "+{more}"),
            Self::Minus(less) => write!(f, "-{less}"),
        }
    }
}
