//! Import and export policies of an interface, and their change while routes are there.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{A, ETH0, ETH1, Router, config, prefix, route, routes, said, tagged};
use millrace_policy::{Policies, Protocol, RuleList, raw};
use millrace_rip::{Config, Input, InterfaceConfig, Redistributed};

const NET: &str = "192.0.2.0/24";
const OTHER: &str = "198.51.100.0/24";

fn list(rules: &str) -> Option<Arc<RuleList>> {
    #[derive(serde::Deserialize)]
    struct File {
        policy: raw::Policy,
    }
    let text = format!(
        "[[policy.prefix-list]]\nname = \"net\"\nentries = [\"{NET}\"]\n[[policy.rule-list]]\nname = \"l\"\n{rules}"
    );
    let file: File = toml::from_str(&text).expect("TOML");
    let policies = Policies::check(&file.policy).expect("a policy");
    policies.rule_lists.get("l").cloned()
}

fn with(eth0: InterfaceConfig, eth1: InterfaceConfig) -> Config {
    config(eth0, eth1)
}

const ONLY_NET: &str = "[[policy.rule-list.rule]]\nprefix-list = \"net\"\naction = \"accept\"\n";

#[test]
fn import() {
    for (rules, told) in [
        (ONLY_NET, vec![(NET, 4, 9, None)]),
        ("default = \"accept\"", vec![(NET, 4, 9, None), (OTHER, 4, 9, None)]),
        (
            "[[policy.rule-list.rule]]\nneighbor = \"10.0.0.2\"\naction = \"accept\"\nset = { metric = \"+5\", tag = 7, distance = 99 }",
            vec![(NET, 9, 7, Some(99)), (OTHER, 9, 7, Some(99))],
        ),
        ("[[policy.rule-list.rule]]\nmetric = 4\naction = \"accept\"\nset = { metric = 16 }", vec![]),
        (
            "[[policy.rule-list.rule]]\nprefix-list = \"net\"\naction = \"accept\"\nset = { metric = 0, tag = 70000 }",
            vec![(NET, 1, 9, None)],
        ),
        ("[[policy.rule-list.rule]]\nprotocol = \"static\"\naction = \"accept\"", vec![]),
        ("[[policy.rule-list.rule]]\ntag = 9\naction = \"reject\"", vec![]),
    ] {
        let eth0 = InterfaceConfig { import: list(rules), ..InterfaceConfig::default() };
        let mut router = Router::new(with(eth0, InterfaceConfig::default()));
        let outputs = router.hear(A, &[tagged(NET, 3, 9, [0; 4].into()), tagged(OTHER, 3, 9, [0; 4].into())]);
        let seen: Vec<_> = routes(&outputs).iter().map(|r| (r.prefix, r.metric, r.tag, r.distance)).collect();
        let expected: Vec<_> =
            told.into_iter().map(|(net, metric, tag, d)| (prefix(net), metric, tag, d)).collect();
        assert_eq!(seen, expected, "{rules}");
    }
}

#[test]
fn export() {
    for (rules, heard) in [
        (ONLY_NET, vec!["192.0.2.0/24 metric 2"]),
        (
            "[[policy.rule-list.rule]]\nprotocol = \"rip\"\naction = \"accept\"\nset = { metric = \"+3\", tag = 5 }",
            vec!["192.0.2.0/24 metric 5 tag 5"],
        ),
        (
            "[[policy.rule-list.rule]]\nprotocol = [\"static\", \"connected\"]\naction = \"accept\"",
            vec!["10.0.0.0/24 metric 1", "198.51.100.0/24 metric 1"],
        ),
    ] {
        let eth1 = InterfaceConfig { export: list(rules), ..InterfaceConfig::default() };
        let mut router = Router::new(with(InterfaceConfig::default(), eth1));
        router.hear(A, &[route(NET, 1)]);
        let (metric, tag, next_hop) = (None, 0, None);
        let protocol = Protocol::Static;
        router.tell(Input::Redistribute(Redistributed {
            prefix: prefix(OTHER),
            protocol,
            metric,
            tag,
            next_hop,
        }));
        router.pass(Duration::from_secs(12));
        // Regular updates hold what is let through and nothing else.
        let mut said = said(&router.pass(Duration::from_secs(60)), ETH1);
        said.dedup();
        assert_eq!(said[..heard.len()], heard, "{rules}");
        assert!(said.iter().all(|text| heard.contains(&text.as_str())), "{rules}: {said:?}");
    }
}

/// A policy that is changed asks again for what it refused, and takes back what it let through.
#[test]
fn reconfiguration() {
    let plain = InterfaceConfig::default();
    let mut router =
        Router::new(with(InterfaceConfig { import: list(ONLY_NET), ..plain.clone() }, plain.clone()));
    router.hear(A, &[route(NET, 3), route(OTHER, 3)]);
    router.pass(Duration::from_secs(9));
    let outputs = router.tell(Input::Configure(with(plain.clone(), plain.clone())));
    assert_eq!(said(&outputs, ETH0), ["everything?"]);
    router.hear(A, &[route(NET, 3), route(OTHER, 3)]);
    router.pass(Duration::from_secs(9));
    let eth1 = InterfaceConfig { export: list(ONLY_NET), ..plain.clone() };
    let outputs = router.tell(Input::Configure(with(plain, eth1)));
    assert_eq!(
        said(&outputs, ETH1),
        ["10.0.0.0/24 metric 16", "192.0.2.0/24 metric 4", "198.51.100.0/24 metric 16"]
    );
}
