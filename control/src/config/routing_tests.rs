//! `[rip]`, `[[key-chain]]` and `[policy]`: what is read, written out again, and said about wrong ones.

use std::path::Path;

use millrace_rip::config::Authentication;

use super::*;

const ETH0: &str = "[[interface]]\nname = \"eth0\"\n[[interface]]\nname = \"eth1\"\n";

/// Everything these sections have, none of it at its default.
pub(super) const FULL: &str = r#"
[[interface]]
name = "eth0"

[[key-chain]]
name = "backbone"
fail-secure = true
[[key-chain.key]]
id = 1
secret = "old \"one\""
send-until = 2026-12-01T01:00:00+01:00
accept-until = 2026-12-02T00:00:00Z
[[key-chain.key]]
id = 2
algorithm = "hmac-sha256"
secret = "the next one"
send-from = 2026-12-01T00:00:00Z
accept-from = 2026-11-30T00:00:00Z

[[key-chain.key]]
id = 3
secret-hex = "00ff7F80"

[policy]
[[policy.prefix-list]]
name = "customers"
entries = ["192.0.2.0/24", { prefix = "10.0.0.0/8", ge = 16, le = 24 }, { prefix = "10.9.0.0/16", le = 32, action = "deny" }]
[[policy.as-path-set]]
name = "through"
patterns = ["* 65005 *"]
[[policy.community-set]]
name = "internal"
communities = ["65001:*", "no-export"]
match = "all"
[[policy.rule-list]]
name = "import"
default = "accept"
[[policy.rule-list.rule]]
name = "customers"
prefix-list = "customers"
protocol = ["static", "connected"]
metric = "0-5"
action = "accept"
set = { metric = "+2", tag = 7, communities-add = ["65001:100"], prepend = { as = "own", times = 2 } }
[[policy.rule-list.rule]]
tag = 9
action = "reject"

[rip]
distance = 90
default-metric = 3
default-route = { metric = 2, tag = 5 }
max-paths = 4
max-routes = 500
update = 10
timeout = 60
garbage = 40

[[rip.interface]]
name = "eth0"
cost = 2
split-horizon = "simple"
passive = true
mode = "broadcast"
neighbors = ["192.0.2.2"]
key-chain = "backbone"
receive-version-1 = true
ttl-security = "on"
update = 5
timeout = 30
garbage = 20
offset-in = [{ within = ["10.0.0.0/8"], add = 2 }, { add = 1 }]
offset-out = [{ add = 3 }]
import = "import"
export = "import"

[[rip.redistribute]]
protocol = "static"
policy = "import"
metric = 4
tag = 17
[[rip.redistribute]]
protocol = "connected"
"#;

fn read(text: &str) -> Result<Loaded, ConfigError> {
    parse(text, Path::new("m.toml"))
}

#[test]
fn the_effective_form_is_the_same_configuration() {
    let config = read(FULL).unwrap().config;
    let text = config.to_string();
    let again = read(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).config;
    assert_eq!(again, config);
    let rip = config.rip.as_ref().unwrap();
    let eth0 = &rip.machine.interfaces["eth0"];
    assert!(matches!(&eth0.authentication, Authentication::Cryptographic(chain) if chain.keys().len() == 3));
    assert_eq!(eth0.timers.update.as_secs(), 5);
    assert_eq!(rip.redistribute.len(), 2);
    assert_eq!(config.distance(millrace_rib::Protocol::Rip), 90);
    // What everybody may read holds no secret.
    let shown = config.without_secrets();
    assert!(
        text.contains("the next one") && !shown.contains("the next one") && !shown.contains("old"),
        "{shown}"
    );
    assert!(shown.contains("algorithm = \"hmac-sha256\""));
}

#[test]
fn a_changed_secret_shows_as_a_change_and_not_as_itself() {
    let config = read(FULL).unwrap().config;
    assert_eq!(diff(&config, &config), []);
    let other = read(&FULL.replace("the next one", "quite another")).unwrap().config;
    let changes = diff(&config, &other);
    assert_eq!(changes.iter().map(|c| c.setting.as_str()).collect::<Vec<_>>(), ["key-chain.key 2.secret"]);
    assert!(!format!("{changes:?}").contains("another"), "{changes:?}");
    let other = read(&FULL.replace("tag = 9", "tag = 10").replace("cost = 2", "cost = 3")).unwrap().config;
    let settings: Vec<_> = diff(&config, &other).into_iter().map(|c| (c.setting, c.old, c.new)).collect();
    let of = |setting: &str, old: &str, new: &str| {
        (setting.to_owned(), Some(old.to_owned()), Some(new.to_owned()))
    };
    assert_eq!(
        settings,
        [
            of("policy.rule-list \"import\" rule 2.tag", "9", "10"),
            of("rip.interface \"eth0\".cost", "2", "3"),
        ]
    );
}

/// Each file, and what must be said about it: line, key, and what was expected.
#[test]
fn wrong_files_are_answered_exactly() {
    let chain = "[[key-chain]]\nname = \"c\"\n";
    let rip = |lines: &str| format!("{ETH0}[rip]\n[[rip.interface]]\nname = \"eth0\"\n{lines}");
    let top = |lines: &str| format!("{ETH0}[rip]\n{lines}");
    for (text, line, key, expected) in [
        (chain.to_owned(), 1, "key-chain.key", "[[key-chain.key]]"),
        (format!("{chain}key = []\n"), 3, "key-chain.key", "[[key-chain.key]]"),
        (format!("{chain}[[key-chain.key]]\nid = 256\nsecret = \"x\"\n"), 4, "key-chain.key.id", "0 to 255"),
        (format!("{chain}[[key-chain.key]]\nid = 1\n"), 3, "key-chain.key.secret", "at least 1 octet"),
        (
            format!("{chain}[[key-chain.key]]\nid = 1\nsecret = \"01234567890123456\"\n"),
            3,
            "key-chain.key",
            "[[key-chain.key]]",
        ),
        (
            format!("{chain}[[key-chain.key]]\nid = 1\nsecret = \"x\"\nsend-from = 2026-01-01\n"),
            6,
            "key-chain.key.send-from",
            "2026-11-22T17:45:00Z",
        ),
        (
            format!("{chain}[[key-chain.key]]\nid = 1\nsecret = \"x\"\nalgorithm = \"md5\"\n"),
            6,
            "key-chain.key.algorithm",
            "keyed-md5",
        ),
        (
            format!("{chain}[[key-chain.key]]\nid = 1\nsecret-hex = \"abc\"\n"),
            5,
            "key-chain.key.secret-hex",
            "hexadecimal",
        ),
        (
            format!("{chain}[[key-chain.key]]\nid = 1\nsecret = \"x\"\nsecret-hex = \"ab\"\n"),
            6,
            "key-chain.key.secret-hex",
            "hexadecimal",
        ),
        (top("distance = 0\n"), 6, "rip.distance", "1 to 255"),
        (top("default-metric = 16\n"), 6, "rip.default-metric", "1 to 15"),
        (top("timeout = 35\n"), 6, "rip.timeout", "7/6"),
        (top("update = 200\n"), 6, "rip.update", "1 to 3600"),
        (top("default-route = 3\n"), 6, "rip.default-route", "true, false or a table"),
        (rip("cost = 0\n"), 8, "rip.interface.cost", "1 to 15"),
        (rip("split-horizon = \"poison\"\n"), 8, "rip.interface.split-horizon", "\"poisoned-reverse\""),
        (rip("neighbors = [\"224.0.0.9\"]\n"), 8, "rip.interface.neighbors", "192.0.2.2"),
        (rip("key-chain = \"none\"\n"), 8, "rip.interface.key-chain", "[[key-chain]]"),
        (rip("authentication = \"plain\"\n"), 8, "rip.interface.authentication", "key-chain = "),
        (rip("import = \"none\"\n"), 8, "rip.interface.import", "[[policy.rule-list]]"),
        (
            rip("offset-in = [{ within = [\"10.0.0.1/8\"], add = 1 }]\n"),
            8,
            "rip.interface.offset.within",
            "10.0.0.0/8",
        ),
        (rip("offset-in = [{}]\n"), 8, "rip.interface.offset.add", "0 to 16"),
        (rip("colour = 1\n"), 8, "rip.interface.colour", "`cost`"),
        (rip("[[rip.interface]]\nname = \"eth0\"\n"), 9, "rip.interface.name", "[[interface]]"),
        (top("[[rip.interface]]\nname = \"eth7\"\n"), 7, "rip.interface.name", "[[interface]]"),
        (top("[[rip.redistribute]]\nprotocol = \"rip\"\n"), 7, "rip.redistribute.protocol", "static"),
        (
            top("[[rip.redistribute]]\nprotocol = \"static\"\nmetric = 20\n"),
            8,
            "rip.redistribute.metric",
            "1 to 15",
        ),
        (
            "[policy]\n[[policy.prefix-list]]\nname = \"a\"\nentries = [\"10.0.0.0/8\",\n \"10.1.1.1/8\"]\n"
                .to_owned(),
            5,
            "policy.prefix-list \"a\" entry 2: prefix",
            "a prefix",
        ),
        (
            "[[policy.rule-list]]\nname = \"a\"\n[[policy.rule-list.rule]]\nset = { metric = \"x\" }\n"
                .to_owned(),
            4,
            "policy.rule-list \"a\" rule 1: set.metric",
            "a number",
        ),
        (
            "[[policy.rule-list]]\nname = \"a\"\n[[policy.rule-list.rule]]\nprefix-list = \"b\"\n".to_owned(),
            4,
            "policy.rule-list \"a\" rule 1: prefix-list",
            "",
        ),
        ("[policy]\n[[policy.rule-list]]\nname = \"a\"\nrules = []\n".to_owned(), 4, "policy", "name"),
        ("[policy]\ncolour = 3\n".to_owned(), 2, "policy.colour", "`prefix-list`"),
    ] {
        let error = read(&text).expect_err(&text);
        let found = error
            .problems
            .iter()
            .any(|problem| problem.line == line && problem.key == key && problem.expected.contains(expected));
        assert!(found, "line {line}, {key}, {expected} in:\n{text}\n{:#?}", error.problems);
    }
}
