//! Which routes of other protocols a protocol announces: `[[rip.redistribute]]` and its kin.

use std::sync::Arc;

use millrace_net::Prefix;
use millrace_policy as policy;

use super::feed::BestRoute;
use super::host::Announcement;
use crate::config::Config;

/// One source of routes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redistribute {
    pub from: policy::Protocol,
    /// What passes, and how it is changed; None: everything, as it is.
    pub policy: Option<Arc<policy::RuleList>>,
    /// Before the policy looks.
    pub metric: Option<u32>,
    /// Before the policy looks.
    pub tag: Option<u32>,
    /// Of OSPF's external routes; None: as configured for all.
    pub external: Option<millrace_ospf::config::ExternalKind>,
}

/// What becomes of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    Announce(Announcement),
    Withdraw,
}

/// What the rules make of the best route to a prefix. The first of its protocol counts.
pub(super) fn decide(
    rules: &[Redistribute],
    config: &Config,
    prefix: Prefix,
    best: Option<BestRoute>,
) -> Decision {
    let Some(best) = best else { return Decision::Withdraw };
    let Some(rule) = rules.iter().find(|rule| rule.from == best.protocol) else { return Decision::Withdraw };
    let next_hop = best.gateway.map_or(policy::NextHop::None, policy::NextHop::Address);
    let mut route = policy::Route {
        metric: Some(rule.metric.unwrap_or(best.metric)),
        tag: rule.tag.unwrap_or(best.tag),
        next_hop,
        ..policy::Route::new(prefix, best.protocol)
    };
    let before = route.metric;
    let mut sets_metric = rule.metric.is_some();
    if let Some(list) = &rule.policy {
        let verdict = list.apply(&mut route, policy::Context { own_as: config.router.asn });
        if verdict.decision != policy::Decision::Accept {
            return Decision::Withdraw;
        }
        // To set the metric to what it is by chance is to set it.
        sets_metric |= route.metric != before || sets_metric_in(list, verdict.fired);
    }
    Decision::Announce(Announcement { route, metric_set: sets_metric, external: rule.external })
}

fn sets_metric_in(list: &policy::RuleList, fired: policy::Fired) -> bool {
    match fired {
        policy::Fired::Rule(at) => list.rules.get(at).is_some_and(|rule| {
            rule.changes.iter().any(|change| matches!(change, policy::rule::Change::Metric(_)))
        }),
        policy::Fired::Default => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What becomes of a route: its metric, whether that was set, and its tag; or nothing.
    #[test]
    fn the_first_rule_of_the_protocol_counts() {
        let text = r#"
[[policy.prefix-list]]
name = "inner"
entries = [{ prefix = "10.0.0.0/8", le = 32 }]
[[policy.rule-list]]
name = "inner"
[[policy.rule-list.rule]]
prefix-list = "inner"
tag = 0
action = "accept"
set = { metric = 0, tag = 8 }
[[policy.rule-list.rule]]
tag = 5
action = "accept"
[[rip.redistribute]]
protocol = "static"
policy = "inner"
[[rip.redistribute]]
protocol = "connected"
metric = 3
tag = 9
"#;
        let config = crate::config::parse(text, Path::new("m.toml")).unwrap().config;
        let rules = &config.rip.as_ref().unwrap().redistribute;
        let best = |protocol, tag| {
            let gateway = Some(std::net::Ipv4Addr::new(192, 0, 2, 1));
            Some(BestRoute { protocol, metric: 0, tag, gateway })
        };
        use policy::Protocol::{Connected, Ospf, Static};
        for (prefix, best, expected) in [
            // A metric that is set to what it is by chance is set.
            ("10.1.0.0/16", best(Static, 0), Some((Some(0), true, 8))),
            ("10.1.0.0/16", best(Static, 5), Some((Some(0), false, 5))),
            ("10.1.0.0/16", best(Static, 6), None),
            ("192.0.2.0/24", best(Static, 0), None),
            ("192.0.2.0/24", best(Connected, 0), Some((Some(3), true, 9))),
            ("10.1.0.0/16", best(Ospf, 0), None),
            ("10.1.0.0/16", None, None),
        ] {
            let decision = match decide(rules, &config, prefix.parse().unwrap(), best) {
                Decision::Announce(Announcement { route, metric_set, .. }) => {
                    Some((route.metric, metric_set, route.tag))
                }
                Decision::Withdraw => None,
            };
            assert_eq!(decision, expected, "{prefix} {best:?}");
        }
    }
}
