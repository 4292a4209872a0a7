//! `millrace policy test NAME ROUTE…`: what a list would do to a route, and why, without a router.
//!
//! A route is a prefix and what is to be said of it: `192.0.2.0/24 protocol=bgp as-path="65001 65002" community=65001:100`.

use std::fmt;

use serde::Serialize;

use crate::check::Policies;
use crate::route::{NextHop, Origin, Protocol, Route};
use crate::rule::{Context, Decision, Fired, RuleList};

/// What a list did to a route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    pub list: String,
    pub accepted: bool,
    /// `rule 2 "customers"`, or `the default`.
    pub decided_by: String,
    /// Every rule that was looked at, in order.
    pub rules: Vec<RuleReport>,
    /// Attributes that differ: name, before, after.
    pub changes: Vec<(&'static str, String, String)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RuleReport {
    pub rule: String,
    /// None: it fired. Otherwise the first condition that did not hold.
    pub failed: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OfflineError {
    #[error("no rule-list is called {name:?}; there are: {known}")]
    UnknownList { name: String, known: String },
    #[error("{text:?}: expected {expected}")]
    Route { text: String, expected: String },
}

/// Runs a route through the list of this name.
pub fn test(policies: &Policies, name: &str, route: &str, context: Context) -> Result<Report, OfflineError> {
    let Some(list) = policies.rule_lists.get(name) else {
        let known = policies.rule_lists.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(OfflineError::UnknownList { name: name.to_owned(), known });
    };
    Ok(explain(list, &parse_route(route)?, context))
}

/// What `list` does to `route`, rule by rule.
pub fn explain(list: &RuleList, route: &Route, context: Context) -> Report {
    let mut changed = route.clone();
    let mut rules = Vec::new();
    let mut decided = (list.default, Fired::Default);
    for (at, rule) in list.rules.iter().enumerate() {
        let failed =
            rule.conditions.iter().find(|condition| !condition.holds(&changed)).map(ToString::to_string);
        let fired = failed.is_none();
        rules.push(RuleReport { rule: list.label(Fired::Rule(at)), failed });
        if fired {
            rule.change(&mut changed, context);
            if let Some(decision) = rule.decision {
                decided = (decision, Fired::Rule(at));
                break;
            }
        }
    }
    let (decision, fired) = decided;
    let pairs = attributes(route).into_iter().zip(attributes(&changed));
    let changes = pairs.filter(|(before, after)| before != after);
    Report {
        list: list.name.clone(),
        accepted: decision == Decision::Accept,
        decided_by: list.label(fired),
        rules,
        changes: changes.map(|((name, before), (_, after))| (name, before, after)).collect(),
    }
}

/// Reads `192.0.2.0/24 key=value…`; values with blanks stand in double quotes.
pub fn parse_route(text: &str) -> Result<Route, OfflineError> {
    let mut words = split(text).into_iter();
    let bad = |text: &str, expected: &str| OfflineError::Route {
        text: text.to_owned(),
        expected: expected.to_owned(),
    };
    let prefix = words.next().unwrap_or_default();
    let prefix = prefix.parse().map_err(|_| bad(&prefix, "a prefix such as 192.0.2.0/24 first"))?;
    let mut route = Route::new(prefix, Protocol::Static);
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| bad(&word, KEYS))?;
        let number = || value.parse::<u32>().map_err(|_| bad(&word, "a number of 0 to 4294967295"));
        match key {
            "protocol" => {
                route.protocol =
                    Protocol::from_name(value).ok_or_else(|| bad(&word, "a protocol such as bgp"))?;
            }
            "neighbor" => route.neighbor = Some(value.parse().map_err(|_| bad(&word, "an IPv4 address"))?),
            "next-hop" => {
                route.next_hop = NextHop::Address(value.parse().map_err(|_| bad(&word, "an IPv4 address"))?);
            }
            "metric" => route.metric = Some(number()?),
            "preference" => route.preference = Some(number()?),
            "tag" => route.tag = number()?,
            "origin" => {
                let origin = Origin::from_name(value).ok_or_else(|| bad(&word, "igp, egp or incomplete"))?;
                route.bgp_mut().origin = origin;
            }
            "as-path" => {
                route.bgp_mut().as_path =
                    value.parse().map_err(|_| bad(&word, "AS numbers such as \"65001 65002\""))?;
            }
            "community" => {
                let communities: Result<Vec<_>, _> = value.split(',').map(str::parse).collect();
                let mut communities =
                    communities.map_err(|_| bad(&word, "communities such as 65001:100,no-export"))?;
                communities.sort_unstable();
                communities.dedup();
                route.bgp_mut().communities = communities.into();
            }
            _ => return Err(bad(&word, KEYS)),
        }
    }
    Ok(route)
}

const KEYS: &str =
    "protocol=, neighbor=, next-hop=, metric=, preference=, tag=, origin=, as-path=\"…\" or community=…,…";

/// Splits at blanks outside double quotes, and drops the quotes.
fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.trim().chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if words.last().is_some_and(|word| !word.is_empty()) {
                    words.push(String::new());
                }
            }
            c => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words
}

/// Everything that rules can change, as text.
fn attributes(route: &Route) -> Vec<(&'static str, String)> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".into());
    let bgp = route.bgp.as_ref();
    vec![
        ("metric", or_none(route.metric.map(|metric| metric.to_string()))),
        ("preference", or_none(route.preference.map(|preference| preference.to_string()))),
        ("tag", route.tag.to_string()),
        ("distance", or_none(route.distance.map(|distance| distance.to_string()))),
        (
            "next-hop",
            match route.next_hop {
                NextHop::None => "none".into(),
                NextHop::Own => "self".into(),
                NextHop::Address(address) => address.to_string(),
            },
        ),
        ("origin", or_none(bgp.map(|bgp| bgp.origin.name().to_owned()))),
        ("as-path", or_none(bgp.map(|bgp| bgp.as_path.to_string()))),
        (
            "communities",
            or_none(
                bgp.map(|bgp| bgp.communities.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
            ),
        ),
    ]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.accepted { "accepted" } else { "rejected" };
        writeln!(f, "{outcome} by {} of {}", self.decided_by, self.list)?;
        for rule in &self.rules {
            match &rule.failed {
                Some(condition) => writeln!(f, "  {}: no match ({condition})", rule.rule)?,
                None => writeln!(f, "  {}: fired", rule.rule)?,
            }
        }
        for (name, before, after) in &self.changes {
            writeln!(f, "  {name}: {before} -> {after}")?;
        }
        Ok(())
    }
}
