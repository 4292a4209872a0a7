//! Rule lists from their file form to what they do to routes.

use millrace_policy::offline::{self, OfflineError};
use millrace_policy::rule::{Context, Decision, Fired, RuleList};
use millrace_policy::{Policies, Problem, Protocol, Route, raw};
use proptest::prelude::*;

fn check(text: &str) -> Result<Policies, Vec<Problem>> {
    #[derive(serde::Deserialize)]
    struct File {
        policy: raw::Policy,
    }
    let file: File = toml::from_str(text).expect("the shape is right");
    Policies::check(&file.policy)
}

const SETS: &str = r#"
    [[policy.prefix-list]]
    name = "ours"
    entries = ["192.0.2.0/24", { prefix = "10.0.0.0/8", ge = 16, le = 24 }, { prefix = "10.9.0.0/16", le = 32, action = "deny" }]
    [[policy.prefix-list]]
    name = "near"
    entries = [{ prefix = "10.0.0.0/24", le = 32 }]
    [[policy.as-path-set]]
    name = "through-65005"
    patterns = ["* 65005 *", ""]
    [[policy.community-set]]
    name = "internal"
    communities = ["65001:*", "no-export"]
    [[policy.community-set]]
    name = "both"
    communities = ["65001:1", "no-export"]
    match = "all"
"#;

fn policies(rules: &str) -> Policies {
    check(&format!("{SETS}\n{rules}")).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn run(rule: &str, route: &str) -> offline::Report {
    let policies =
        policies(&format!("[[policy.rule-list]]\nname = \"l\"\n[[policy.rule-list.rule]]\n{rule}"));
    offline::test(&policies, "l", route, Context { own_as: Some(65001) })
        .expect("the list and the route are right")
}

/// Every condition: a rule with it, routes it fires on, routes it does not.
#[test]
fn conditions() {
    for (condition, fires, fires_not) in [
        ("prefix-list = \"ours\"", vec!["192.0.2.0/24", "10.1.0.0/16"], vec!["192.0.2.0/25", "10.0.0.0/8"]),
        (
            "as-path-set = \"through-65005\"",
            vec!["1.0.0.0/8 as-path=\"1 65005 2\"", "1.0.0.0/8"],
            vec!["1.0.0.0/8 as-path=1"],
        ),
        (
            "community-set = \"internal\"",
            vec!["1.0.0.0/8 community=65001:7", "1.0.0.0/8 community=9:9,no-export"],
            vec!["1.0.0.0/8", "1.0.0.0/8 community=65002:1"],
        ),
        (
            "community-set = \"both\"",
            vec!["1.0.0.0/8 community=65001:1,no-export"],
            vec!["1.0.0.0/8 community=65001:1"],
        ),
        (
            "next-hop = \"near\"",
            vec!["1.0.0.0/8 next-hop=10.0.0.7"],
            vec!["1.0.0.0/8 next-hop=10.0.1.7", "1.0.0.0/8"],
        ),
        ("protocol = \"bgp\"", vec!["1.0.0.0/8 protocol=bgp"], vec!["1.0.0.0/8 protocol=static"]),
        ("protocol = [\"rip\", \"ospf\"]", vec!["1.0.0.0/8 protocol=rip"], vec!["1.0.0.0/8 protocol=bgp"]),
        (
            "neighbor = \"10.0.0.1\"",
            vec!["1.0.0.0/8 neighbor=10.0.0.1"],
            vec!["1.0.0.0/8 neighbor=10.0.0.2", "1.0.0.0/8"],
        ),
        ("tag = 7", vec!["1.0.0.0/8 tag=7"], vec!["1.0.0.0/8", "1.0.0.0/8 tag=8"]),
        ("tag = \"7-9\"", vec!["1.0.0.0/8 tag=9"], vec!["1.0.0.0/8 tag=10"]),
        ("metric = \"0-5\"", vec!["1.0.0.0/8 metric=0"], vec!["1.0.0.0/8", "1.0.0.0/8 metric=6"]),
        ("preference = 100", vec!["1.0.0.0/8 preference=100"], vec!["1.0.0.0/8"]),
        (
            "as-path-length = \"0-2\"",
            vec!["1.0.0.0/8 as-path=\"1 {2,3}\"", "1.0.0.0/8"],
            vec!["1.0.0.0/8 as-path=\"1 2 3\""],
        ),
        ("origin = \"igp\"", vec!["1.0.0.0/8 origin=igp"], vec!["1.0.0.0/8 origin=egp", "1.0.0.0/8"]),
        (
            "tag = 7\nmetric = 1",
            vec!["1.0.0.0/8 tag=7 metric=1"],
            vec!["1.0.0.0/8 tag=7", "1.0.0.0/8 metric=1"],
        ),
        ("", vec!["1.0.0.0/8", "0.0.0.0/0"], vec![]),
    ] {
        for (routes, expected) in [(fires, true), (fires_not, false)] {
            for route in routes {
                let report = run(&format!("{condition}\naction = \"accept\""), route);
                assert_eq!(report.accepted, expected, "{condition} on {route}: {report}");
            }
        }
    }
}

/// Every change, and nothing beside it.
#[test]
fn changes() {
    let route =
        "1.0.0.0/8 protocol=bgp metric=10 tag=3 next-hop=10.0.0.9 as-path=\"65002 7\" community=65001:5,9:9";
    for (set, expected) in [
        ("metric = 5", vec![("metric", "10", "5")]),
        ("metric = \"+5\"", vec![("metric", "10", "15")]),
        ("metric = \"-50\"", vec![("metric", "10", "0")]),
        ("preference = \"+4294967295\"", vec![("preference", "none", "4294967295")]),
        ("tag = 9", vec![("tag", "3", "9")]),
        ("distance = 50", vec![("distance", "none", "50")]),
        ("next-hop = \"10.0.0.1\"", vec![("next-hop", "10.0.0.9", "10.0.0.1")]),
        ("next-hop = \"self\"", vec![("next-hop", "10.0.0.9", "self")]),
        ("origin = \"igp\"", vec![("origin", "incomplete", "igp")]),
        ("prepend = { as = \"own\", times = 2 }", vec![("as-path", "65002 7", "65001 65001 65002 7")]),
        ("prepend = { as = \"first\" }", vec![("as-path", "65002 7", "65002 65002 7")]),
        ("prepend = { as = 4200000000 }", vec![("as-path", "65002 7", "4200000000 65002 7")]),
        (
            "communities-add = [\"no-export\", \"9:9\"]",
            vec![("communities", "9:9,65001:5", "9:9,65001:5,no-export")],
        ),
        ("communities-remove = \"internal\"", vec![("communities", "9:9,65001:5", "9:9")]),
        ("communities = [\"1:2:3\", \"1:1\"]", vec![("communities", "9:9,65001:5", "1:1,1:2:3")]),
        (
            "communities-remove = \"internal\", communities-add = [\"65001:1\"]",
            vec![("communities", "9:9,65001:5", "9:9,65001:1")],
        ),
    ] {
        let report = run(&format!("action = \"accept\"\nset = {{ {set} }}"), route);
        let seen: Vec<_> =
            report.changes.iter().map(|(name, a, b)| (*name, a.as_str(), b.as_str())).collect();
        assert_eq!(seen, expected, "{set}");
    }
}

/// The first rule that fires and decides, decides; `next` changes and goes on; what is left is the default's.
#[test]
fn order() {
    let policies = policies(
        r#"
        [[policy.rule-list]]
        name = "import"
        [[policy.rule-list.rule]]
        name = "mark"
        prefix-list = "ours"
        action = "next"
        set = { tag = 5 }
        [[policy.rule-list.rule]]
        tag = 5
        metric = "10-20"
        action = "reject"
        [[policy.rule-list.rule]]
        name = "take"
        tag = 5
        action = "accept"
        [[policy.rule-list]]
        name = "open"
        default = "accept"
        "#,
    );
    let test = |list: &str, route: &str| offline::test(&policies, list, route, Context::default()).unwrap();
    let report = test("import", "192.0.2.0/24 metric=5");
    assert_eq!(
        report.to_string(),
        "accepted by rule 3 \"take\" of import\n  \
           rule 1 \"mark\": fired\n  \
           rule 2: no match (metric 10-20)\n  \
           rule 3 \"take\": fired\n  \
           tag: 0 -> 5\n"
    );
    let report = test("import", "192.0.2.0/24 metric=15");
    assert_eq!((report.accepted, report.decided_by.as_str(), report.rules.len()), (false, "rule 2", 2));
    let report = test("import", "10.9.1.0/24");
    assert_eq!(
        (report.accepted, report.decided_by.as_str(), report.rules.len()),
        (true, "rule 3 \"take\"", 3)
    );
    let report = test("import", "172.16.0.0/12");
    assert_eq!((report.accepted, report.decided_by.as_str()), (false, "the default"));
    assert!(test("open", "172.16.0.0/12").accepted);
    // What is explained is what happens.
    let list = &policies.rule_lists["import"];
    let mut route = offline::parse_route("192.0.2.0/24 metric=15").unwrap();
    let verdict = list.apply(&mut route, Context::default());
    assert_eq!((verdict.decision, verdict.fired, route.tag), (Decision::Reject, Fired::Rule(1), 5));
}

/// Everything wrong in a file is named, by key, value and what was expected there.
#[test]
fn problems() {
    let rule =
        |text: &str| format!("{SETS}\n[[policy.rule-list]]\nname = \"l\"\n[[policy.rule-list.rule]]\n{text}");
    for (text, expected) in [
        (
            "[[policy.prefix-list]]\nname = \"p\"\nentries = [\"10.0.0.1/8\"]".into(),
            "policy.prefix-list \"p\" entry 1: prefix: expected a prefix (bits beyond the prefix length are set; did you mean 10.0.0.0/8?), not \"10.0.0.1/8\"",
        ),
        (
            "[[policy.prefix-list]]\nname = \"p\"\nentries = [\"10.0.0.0/8\", { prefix = \"10.0.0.0/8\", ge = 4 }]".into(),
            "policy.prefix-list \"p\" entry 2: expected lengths from 8 (of the prefix itself) up to 32, `ge` not over `le`, not 10.0.0.0/8 ge 4",
        ),
        (
            "[[policy.prefix-list]]\nname = \"p\"\nentries = [{ prefix = \"10.0.0.0/8\", action = \"accept\" }]".into(),
            "policy.prefix-list \"p\" entry 1: action: expected \"permit\" or \"deny\", not \"accept\"",
        ),
        (
            format!("{SETS}\n[[policy.prefix-list]]\nname = \"ours\"\nentries = []"),
            "policy.prefix-list \"ours\": expected a name no other prefix-list has, not \"ours\" once more",
        ),
        (
            "[[policy.as-path-set]]\nname = \"a b\"\npatterns = []".into(),
            "policy.as-path-set: name: expected a name of 1 to 63 letters, digits, `-`, `_` and `.`, not \"a b\"",
        ),
        (
            "[[policy.as-path-set]]\nname = \"a\"\npatterns = [\"65001 x\"]".into(),
            "policy.as-path-set \"a\": patterns: expected elements of AS paths (\"x\" is no AS, range (64512-65534), choice (65001|65002), `?`, `*` or one of these with `+`), not \"65001 x\"",
        ),
        (
            "[[policy.community-set]]\nname = \"c\"\ncommunities = [\"1:70000\"]".into(),
            "policy.community-set \"c\": communities: expected a community or a pattern such as 65001:* (\"1:70000\" is no community such as 65001:100, 65001:1:2, rt:65001:100 or no-export), not \"1:70000\"",
        ),
        (
            "[[policy.community-set]]\nname = \"c\"\ncommunities = []\nmatch = \"some\"".into(),
            "policy.community-set \"c\": match: expected \"any\" or \"all\", not \"some\"",
        ),
        (
            "[[policy.rule-list]]\nname = \"l\"\ndefault = \"drop\"".into(),
            "policy.rule-list \"l\": default: expected \"accept\" or \"reject\", not \"drop\"",
        ),
        (rule(""), "policy.rule-list \"l\" rule 1: action: expected \"accept\", \"reject\" or \"next\", not nothing"),
        (
            rule("action = \"accept\"\nprefix-list = \"theirs\""),
            "policy.rule-list \"l\" rule 1: prefix-list: expected the name of a prefix-list: near, ours, not \"theirs\"",
        ),
        (
            "[[policy.rule-list]]\nname = \"l\"\n[[policy.rule-list.rule]]\naction = \"accept\"\nas-path-set = \"x\"".into(),
            "policy.rule-list \"l\" rule 1: as-path-set: expected the name of an as-path-set, of which there is none, not \"x\"",
        ),
        (
            rule("action = \"accept\"\nprotocol = [\"rip\", \"isis\"]"),
            "policy.rule-list \"l\" rule 1: protocol: expected \"connected\", \"static\", \"kernel\", \"rip\", \"ospf\" or \"bgp\", not \"isis\"",
        ),
        (
            rule("action = \"accept\"\ntag = \"9-7\""),
            "policy.rule-list \"l\" rule 1: tag: expected a number of 0 to 4294967295 or a range such as \"5-10\", not \"9-7\"",
        ),
        (
            rule("action = \"accept\"\nmetric = -1"),
            "policy.rule-list \"l\" rule 1: metric: expected a number of 0 to 4294967295 or a range such as \"5-10\", not -1",
        ),
        (
            rule("action = \"accept\"\nset = { metric = \"*2\" }"),
            "policy.rule-list \"l\" rule 1: set.metric: expected a number of 0 to 4294967295, or a change such as \"+5\" or \"-5\", not \"*2\"",
        ),
        (
            rule("action = \"accept\"\nset = { distance = 256 }"),
            "policy.rule-list \"l\" rule 1: set.distance: expected a number of 1 to 255, not 256",
        ),
        (
            rule("action = \"accept\"\nset = { next-hop = \"me\" }"),
            "policy.rule-list \"l\" rule 1: set.next-hop: expected \"self\" or an IPv4 address, not \"me\"",
        ),
        (
            rule("action = \"accept\"\nset = { prepend = { as = 0 } }"),
            "policy.rule-list \"l\" rule 1: set.prepend.as: expected \"own\", \"first\" or an AS number of 1 to 4294967294, not 0",
        ),
        (
            rule("action = \"accept\"\nset = { prepend = { as = \"own\", times = 33 } }"),
            "policy.rule-list \"l\" rule 1: set.prepend.times: expected a number of 1 to 32, not 33",
        ),
        (
            rule("action = \"accept\"\nset = { communities-add = [\"*:*\"] }"),
            "policy.rule-list \"l\" rule 1: set.communities-add: expected a community (\"*:*\" is no community such as 65001:100, 65001:1:2, rt:65001:100 or no-export), not \"*:*\"",
        ),
    ] {
        let problems = check(&text).expect_err(expected);
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }
    // All of them, not the first.
    let many = rule("action = \"maybe\"\ntag = \"x\"\nset = { tag = -1 }");
    assert_eq!(check(&many).expect_err("three problems").len(), 3);
}

/// The example in the documentation of the raw form is one.
#[test]
fn the_documented_example_is_right() {
    let source = include_str!("../src/raw.rs");
    let block = source
        .split("//! ```")
        .nth(1)
        .and_then(|block| block.strip_prefix("toml\n"))
        .expect("a block of TOML");
    let text: String = block.lines().map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect();
    let policies = check(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let route = "10.1.0.0/16 protocol=bgp as-path=65002";
    let report = offline::test(&policies, "import", route, Context { own_as: Some(65001) }).unwrap();
    assert!(report.accepted);
    assert_eq!(report.changes.len(), 4);
}

#[test]
fn unknown_keys_are_refused() {
    for text in [
        "[policy]\nfoo = 1",
        "[[policy.rule-list]]\nname = \"l\"\n[[policy.rule-list.rule]]\nactoin = \"accept\"",
    ] {
        let parsed: Result<toml::Table, _> = toml::from_str(text);
        let policy = parsed.unwrap()["policy"].clone();
        let error = policy.try_into::<raw::Policy>().expect_err("unknown key").to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
}

#[test]
fn routes_that_cannot_be_read() {
    let policies = policies("[[policy.rule-list]]\nname = \"l\"");
    let test = |route: &str| offline::test(&policies, "l", route, Context::default());
    for route in [
        "",
        "10.0.0.1/8",
        "10.0.0.0/8 metric",
        "10.0.0.0/8 metric=x",
        "10.0.0.0/8 foo=1",
        "10.0.0.0/8 protocol=isis",
        "10.0.0.0/8 community=1",
        "10.0.0.0/8 as-path=x",
        "10.0.0.0/8 neighbor=1",
    ] {
        assert!(matches!(test(route), Err(OfflineError::Route { .. })), "{route}");
    }
    let unknown = offline::test(&policies, "m", "10.0.0.0/8", Context::default());
    assert_eq!(unknown.unwrap_err().to_string(), "no rule-list is called \"m\"; there are: l");
}

/// A checked list is data: a recorded configuration has its policies in it. It is shown in the file's own words.
#[test]
fn rule_lists_serialise() {
    let policies = policies(
        r#"
        [[policy.rule-list]]
        name = "l"
        [[policy.rule-list.rule]]
        prefix-list = "ours"
        as-path-set = "through-65005"
        community-set = "internal"
        protocol = "bgp"
        tag = "1-5"
        action = "accept"
        set = { metric = "+1", next-hop = "self", prepend = { as = "own" }, communities-add = ["rt:65001:1"], communities-remove = "both" }
        "#,
    );
    let list = &*policies.rule_lists["l"];
    let json = serde_json::to_string(list).unwrap();
    assert_eq!(serde_json::from_str::<RuleList>(&json).unwrap(), *list);
    let view = list.view();
    assert_eq!(
        view.rules[0].conditions,
        [
            "prefix-list ours",
            "as-path-set through-65005",
            "community-set internal",
            "protocol bgp",
            "tag 1-5"
        ]
    );
    assert_eq!(
        view.rules[0].changes,
        [
            "metric +1",
            "next-hop self",
            "prepend own x1",
            "communities-remove both",
            "communities-add rt:65001:1"
        ]
    );
}

proptest! {
    #[test]
    fn any_route_text_is_answered(text in "[0-9a-z./=\", :-]{0,60}") {
        let _ = offline::parse_route(&text);
    }

    #[test]
    fn rejected_by_an_empty_list(bits: u32, len in 0u8..=32) {
        let list = RuleList { name: "l".into(), rules: vec![], default: Decision::Reject };
        let route = Route::new(millrace_net::Prefix::truncated(bits.into(), len), Protocol::Rip);
        let mut same = route.clone();
        prop_assert_eq!(list.apply(&mut same, Context::default()).decision, Decision::Reject);
        prop_assert_eq!(same, route);
    }
}
