//! `[ospf]`: what is read, written out again, and said about wrong ones.

use std::path::Path;

use millrace_ospf::config::{AreaKind, Authentication, ExternalKind, NetworkType, StubRouter, Translate};
use millrace_ospf::wire::{AreaId, RouterId};

use super::*;

const ETH0: &str = "[[interface]]\nname = \"eth0\"\n[[interface]]\nname = \"eth1\"\n";

/// Everything the section has, none of it at its default.
const FULL: &str = r#"
[[interface]]
name = "eth0"

[[key-chain]]
name = "backbone"
[[key-chain.key]]
id = 1
algorithm = "hmac-sha512"
secret = "s3cret"

[ospf]
router-id = "10.255.0.1"
distance = 109
max-paths = 4
max-lsas = 5000
default-metric = 30
default-metric-type = "e1"
default-route = { metric = 5, metric-type = "e2", tag = 9 }
stub-router = 60
rfc1583-compatible = false
prefix-suppression = true
graceful-restart-helper = false
spf-initial-delay = 1
spf-short-delay = 2
spf-long-delay = 3
spf-hold-down = 4
spf-time-to-learn = 5

[[ospf.area]]
id = 1
type = "nssa"
summaries = false
translate = "always"
default-cost = 7
ranges = [{ prefix = "10.1.0.0/16", cost = 3 }, { prefix = "10.2.0.0/16", advertise = false }]
[[ospf.area]]
id = "0.0.0.2"
virtual-links = ["10.255.0.7"]

[[ospf.interface]]
name = "eth0"
area = 1
network = "non-broadcast"
cost = 100
priority = 0
hello-interval = 3
dead-interval = 13
retransmit-interval = 2
transmit-delay = 2
mtu-ignore = true
key-chain = "backbone"
neighbors = ["192.0.2.2"]
poll-interval = 30
prefix-suppression = false
bfd = true
[[ospf.interface]]
name = "lo"
area = "0.0.0.2"
passive = true

[[ospf.redistribute]]
protocol = "static"
metric = 44
metric-type = "e2"
tag = 4294967295
"#;

fn read(text: &str) -> Result<Loaded, ConfigError> {
    parse(text, Path::new("m.toml"))
}

#[test]
fn everything_is_read() {
    let config = read(FULL).unwrap().config;
    let ospf = config.ospf.as_ref().unwrap();
    let machine = &ospf.machine;
    assert_eq!((ospf.distance, machine.max_paths.get(), machine.max_lsas), (109, 4, 5000));
    assert_eq!(machine.router_id, Some(RouterId([10, 255, 0, 1].into())));
    assert_eq!(machine.stub_router, StubRouter::OnStart(std::time::Duration::from_secs(60)));
    assert_eq!(config.distance(millrace_rib::Protocol::Ospf), 109);
    let area = |n: u8| AreaId([0, 0, 0, n].into());
    let nssa = &machine.areas[&area(1)];
    assert_eq!(nssa.kind, AreaKind::Nssa { summaries: false, translate: Translate::Always });
    assert_eq!((nssa.ranges.len(), nssa.default_cost), (2, 7));
    assert_eq!(machine.areas[&area(2)].virtual_links.len(), 1);
    let eth0 = &machine.interfaces["eth0"];
    assert_eq!((eth0.area, eth0.network), (area(1), Some(NetworkType::NonBroadcast)));
    assert_eq!((eth0.cost, eth0.priority, eth0.dead_interval, eth0.bfd), (100, 0, 13, true));
    assert!(matches!(eth0.authentication, Authentication::Cryptographic(_)));
    let lo = &machine.interfaces["lo"];
    assert_eq!((lo.cost, lo.dead_interval, lo.passive), (0, 40, true));
    assert_eq!(ospf.redistribute[0].external, Some(ExternalKind::Type2));
    assert_eq!(ospf.redistribute[0].tag, Some(u32::MAX));
}

/// Written out with every default, it is the same configuration; without secrets for whoever may look.
#[test]
fn what_is_written_out_is_read_the_same() {
    for text in [FULL.to_owned(), format!("{ETH0}[ospf]\n[[ospf.interface]]\nname = \"eth1\"\narea = 0\n")] {
        let config = read(&text).unwrap().config;
        let written = config.to_string();
        assert_eq!(read(&written).unwrap_or_else(|e| panic!("{e:#?}\n{written}")).config, config);
        assert_eq!(diff(&config, &config), []);
        assert!(!config.without_secrets().contains("s3cret"));
    }
}

/// The router id of `[router]` is taken where `[ospf]` has none.
#[test]
fn the_router_id_is_the_routers() {
    let config = read(&format!("[router]\nrouter-id = \"10.9.9.9\"\n{ETH0}[ospf]\n")).unwrap().config;
    assert_eq!(config.ospf.unwrap().machine.router_id, Some(RouterId([10, 9, 9, 9].into())));
}

/// Each file, and what must be said about it: line, key, and what was expected.
#[test]
fn wrong_files_are_answered_exactly() {
    let top = |lines: &str| format!("{ETH0}[ospf]\n{lines}");
    let interface =
        |lines: &str| format!("{ETH0}[ospf]\n[[ospf.interface]]\nname = \"eth0\"\narea = 0\n{lines}");
    let area = |lines: &str| format!("{ETH0}[ospf]\n[[ospf.area]]\nid = 1\n{lines}");
    for (text, line, key, expected) in [
        (top("distance = 0\n"), 6, "ospf.distance", "1 to 255"),
        (top("router-id = \"ten\"\n"), 6, "ospf.router-id", "10.0.0.1"),
        (top("default-metric = 16777215\n"), 6, "ospf.default-metric", "16777214"),
        (top("default-metric-type = \"e3\"\n"), 6, "ospf.default-metric-type", "\"e1\" or \"e2\""),
        (top("default-route = 3\n"), 6, "ospf.default-route", "true, false or a table"),
        (top("stub-router = \"yes\"\n"), 6, "ospf.stub-router", "true, false or a number"),
        (top("max-lsas = 5\n"), 6, "ospf.max-lsas", "100"),
        (top("colour = 1\n"), 6, "ospf.colour", "`router-id`"),
        (top("[[ospf.interface]]\nname = \"eth0\"\n"), 6, "ospf.interface.area", "0.0.0.1"),
        (top("[[ospf.interface]]\nname = \"eth7\"\narea = 0\n"), 7, "ospf.interface.name", "[[interface]]"),
        (interface("network = \"lan\"\n"), 9, "ospf.interface.network", "point-to-point"),
        (interface("cost = 65536\n"), 9, "ospf.interface.cost", "65535"),
        (interface("dead-interval = 10\n"), 9, "ospf.interface.dead-interval", "more than `hello-interval`"),
        (interface("authentication = \"simple\"\n"), 9, "ospf.interface.authentication", "key-chain = "),
        (interface("key-chain = \"none\"\n"), 9, "ospf.interface.key-chain", "[[key-chain]]"),
        (
            interface("neighbors = [\"192.0.2.2\"]\n"),
            9,
            "ospf.interface.neighbors",
            "network = \"non-broadcast\"",
        ),
        (
            interface("[[ospf.interface]]\nname = \"eth0\"\narea = 0\n"),
            10,
            "ospf.interface.name",
            "[[interface]]",
        ),
        (area("type = \"tiny\"\n"), 8, "ospf.area.type", "\"nssa\""),
        (
            area("type = \"stub\"\nvirtual-links = [\"10.0.0.1\"]\n"),
            9,
            "ospf.area.virtual-links",
            "router id",
        ),
        (area("ranges = [{ prefix = \"10.0.0.1/8\" }]\n"), 8, "ospf.area.ranges.prefix", "10.1.0.0/16"),
        (top("[[ospf.area]]\nid = 0\ntype = \"stub\"\n"), 8, "ospf.area.type", "\"normal\""),
        (top("[[ospf.area]]\nid = \"one\"\n"), 7, "ospf.area.id", "0.0.0.1"),
        (top("[[ospf.redistribute]]\nprotocol = \"ospf\"\n"), 7, "ospf.redistribute.protocol", "static"),
        (
            top("[[ospf.redistribute]]\nprotocol = \"static\"\nmetric-type = \"1\"\n"),
            8,
            "ospf.redistribute.metric-type",
            "\"e1\" or \"e2\"",
        ),
    ] {
        let error = read(&text).expect_err(&text);
        let found = error
            .problems
            .iter()
            .any(|problem| problem.line == line && problem.key == key && problem.expected.contains(expected));
        assert!(found, "line {line}, {key}, {expected} in:\n{text}\n{:#?}", error.problems);
    }
}
