//! `[bgp]`: what is read, written out again, and said about wrong ones.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use millrace_bgp::config::{MaxPrefixes, OverLimit};
use millrace_bgp::wire::Role;

use super::*;

/// Everything the section has, none of it at its default.
const FULL: &str = r#"
[router]
asn = 65001
router-id = "10.255.0.1"

[[policy.rule-list]]
name = "in"
default = "accept"
[[policy.rule-list]]
name = "out"
default = "reject"

[bgp]
networks = ["192.0.2.0/24", "198.51.100.0/24"]
distance = 30
distance-internal = 210
port = 1179
cluster-id = "10.255.0.9"
multipath = 4
multipath-internal = 8
multipath-relax = true
always-compare-med = true
missing-med-worst = true
ignore-as-path-length = true
suppress-fib-pending = false
graceful-restart = false
restart-time = 240
stale-time = 600
graceful-shutdown = true
reject-as-sets = true
confederation = 64999
confederation-members = [65002, 65003]

[[bgp.group]]
name = "transit"
asn = 65010
description = "from the group"
import = "in"
export = "out"
hold-time = 30
max-prefixes = 1000
max-prefixes-action = "warn"

[[bgp.neighbor]]
address = "192.0.2.1"
group = "transit"
[[bgp.neighbor]]
address = "192.0.2.2"
group = "transit"
asn = 65011
description = "the \"other\" one"
local-as = 65099
passive = true
local-address = "192.0.2.9"
port = 2179
multihop = 3
hold-time = 60
keepalive = 7
connect-retry = 3
delay-open = 4
advertisement-interval = 5
import = "all"
export = "all"
require-policy = false
shutdown = "back at \"eight\""
next-hop-self = true
route-reflector-client = true
route-server-client = true
remove-private-as = true
as-override = true
allow-as-in = 2
enforce-first-as = false
role = "route-server-client"
strict-role = true
max-prefixes = 500
max-prefixes-warn = 90
max-prefixes-action = "restart"
weight = 12
add-path-receive = true
default-originate = true
extended-messages = false
bfd = true
four-octet-as = false
[[bgp.neighbor]]
address = "192.0.2.3"
asn = "internal"
shutdown = true

[[bgp.range]]
prefix = "203.0.113.0/24"
limit = 7
group = "transit"
passive = true

[[bgp.aggregate]]
prefix = "10.8.0.0/16"
summary-only = true
[[bgp.aggregate]]
prefix = "10.9.0.0/16"

[[bgp.redistribute]]
protocol = "static"
policy = "in"
metric = 40
tag = 9
[[bgp.redistribute]]
protocol = "connected"
"#;

fn read(text: &str) -> Result<Loaded, ConfigError> {
    parse(text, Path::new("m.toml"))
}

#[test]
fn everything_is_read() {
    let config = read(FULL).unwrap().config;
    let bgp = config.bgp.as_ref().unwrap();
    assert_eq!((bgp.port, bgp.distance, bgp.distance_internal), (1179, 30, 210));
    let peer = |last: u8| &bgp.machine.peers[&Ipv4Addr::new(192, 0, 2, last)];
    let max = |limit, warn_percent, action| Some(MaxPrefixes { limit, warn_percent, action });
    // Of the group, in place of the group's, and without a group.
    let (grouped, own, internal) = (peer(1), peer(2), peer(3));
    assert_eq!((grouped.asn, own.asn, internal.asn), (65010, 65011, 65001));
    assert_eq!((grouped.timers.hold, own.timers.hold, internal.timers.hold), (30, 60, 90));
    assert_eq!(grouped.max_prefixes, max(1000, 75, OverLimit::Warn));
    assert_eq!(own.max_prefixes, max(500, 90, OverLimit::Restart(Duration::from_secs(300))));
    assert_eq!(internal.max_prefixes, None);
    let import = [grouped, own, internal].map(|peer| peer.import.as_ref().map(|list| list.name.as_str()));
    assert_eq!(import, [Some("in"), Some("all"), None]);
    let shutdown = [grouped, own, internal].map(|peer| peer.shutdown.as_deref());
    assert_eq!(shutdown, [None, Some("back at \"eight\""), Some("")]);
    assert_eq!((grouped.transport.port, own.transport.port), (179, 2179));
    assert_eq!(own.role, Some(Role::RouteServerClient));
    let range = &bgp.machine.ranges[0];
    assert_eq!((range.limit, range.peer.asn, range.peer.transport.passive), (7, 65010, true));
    assert_eq!(bgp.redistribute.len(), 2);
}

/// Written out with every default, it is the same configuration, and has every key there is.
#[test]
fn what_is_written_out_is_read_the_same() {
    let small = "[router]\nasn = 65001\n[bgp]\n[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65002\n";
    for text in [FULL, small] {
        let config = read(text).unwrap().config;
        let written = config.to_string();
        let again = read(&written).unwrap_or_else(|error| panic!("{error}\n{written}")).config;
        assert_eq!(again, config, "{written}");
        assert_eq!(diff(&config, &again), []);
    }
    let (written, keyed) = (read(FULL).unwrap().config.to_string(), |line: &str, key: &str| {
        line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "))
    });
    let sections = [reference::BGP, reference::BGP_NEIGHBOR, reference::BGP_RANGE, reference::BGP_AGGREGATE];
    for section in sections {
        for key in section.keys {
            let table = key.expected.starts_with("[[") || key.name == "group";
            let there = written.lines().any(|line| keyed(line, key.name));
            assert!(table || there, "{}.{} is not written out:\n{written}", section.name, key.name);
        }
    }
}

/// What a change is called, so that it can be said before it is made.
#[test]
fn changes_are_named() {
    let before = read(FULL).unwrap().config;
    let after = read(&FULL.replace("hold-time = 60", "hold-time = 61").replace("weight = 12", "weight = 13"));
    let changes = diff(&before, &after.unwrap().config);
    let settings: Vec<_> = changes.iter().map(|change| change.setting.as_str()).collect();
    let neighbor = "bgp.neighbor \"192.0.2.2\"";
    assert_eq!(settings, [format!("{neighbor}.hold-time"), format!("{neighbor}.weight")]);
}

/// Each file, and what must be said about it: line, key, and what was expected.
#[test]
fn wrong_files_are_answered_exactly() {
    let top = |lines: &str| format!("[router]\nasn = 65001\n[bgp]\n{lines}");
    let peer = |lines: &str| top(&format!("[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65002\n{lines}"));
    for (text, line, key, expected) in [
        ("[bgp]\n".to_owned(), 1, "router.asn", "1 to 4294967294"),
        (top("distance = 0\n"), 4, "bgp.distance", "1 to 255"),
        (top("networks = [\"192.0.2.1/24\"]\n"), 4, "bgp.networks", "192.0.2.0/24"),
        (top("colour = 1\n"), 4, "bgp.colour", "`networks`"),
        (top("[[bgp.neighbor]]\naddress = \"192.0.2.1\"\n"), 4, "bgp.neighbor.asn", "an AS number"),
        (peer("hold-time = 2\n"), 7, "bgp.neighbor.hold-time", "3 to 65535"),
        (peer("import = \"none\"\n"), 7, "bgp.neighbor.import", "[[policy.rule-list]]"),
        (peer("group = \"none\"\n"), 7, "bgp.neighbor.group", "[[bgp.group]]"),
        (peer("role = \"sibling\"\n"), 7, "bgp.neighbor.role", "\"provider\""),
        (peer("multihop = 0\n"), 7, "bgp.neighbor.multihop", "1 to 255"),
        (
            peer("[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 65002\n"),
            8,
            "bgp.neighbor.address",
            "an IPv4 address",
        ),
        (top("[[bgp.redistribute]]\nprotocol = \"bgp\"\n"), 5, "bgp.redistribute.protocol", "\"static\""),
    ] {
        let error = read(&text).expect_err(&text);
        let found = error
            .problems
            .iter()
            .any(|problem| problem.line == line && problem.key == key && problem.expected.contains(expected));
        assert!(found, "line {line}, {key}, {expected} in:\n{text}\n{:#?}", error.problems);
    }
}
