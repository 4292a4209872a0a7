//! `[nat]` from the outside: a full one, its effective form, and what is said about wrong ones.

use std::path::Path;

use crate::config::{Effect, diff, parse};

const ROLES: &str = "[[interface]]\nname = \"wan0\"\naddresses = [\"192.0.2.2/30\"]\nnat = \"outside\"\n\
                     [[interface]]\nname = \"lan0\"\nnat = \"inside\"\n";

/// Everything there is, nothing at its default.
const FULL: &str = r#"
[nat]
tcp-established = 8000
tcp-transitory = 300
udp = 120
icmp = 90
other = 600
inbound-refresh = true
port-quarantine = 0
max-sessions = 2048
max-mappings = 4096
sessions-per-subscriber = 100
ports-per-subscriber = 50
refuse-with = "unreachable"
alg = ["tftp"]

[[nat.pool]]
name = "wan"
addresses = ["203.0.113.8/29", "203.0.113.32-203.0.113.40", "203.0.113.64"]
ports = "2000-60000"
filtering = { tcp = "address-and-port-dependent", udp = "address-dependent" }
block-size = 512
max-blocks = 4
block-idle = 30

[[nat.pool]]
name = "shared"
interface = "wan0"
host-ports = ["8080", "9000-9010"]

[[nat.pool]]
name = "cgn"
addresses = ["198.51.100.0/28"]
filtering = "address-dependent"
deterministic = "100.64.0.0/22"

[[nat.source]]
from = "192.168.99.0/24"
exempt = true

[[nat.source]]
from = "0.0.0.0/0"
to = "172.16.0.0/12"
exempt = true

[[nat.source]]
from = "192.168.0.0/16"
pool = "wan"

[[nat.source]]
from = "10.0.0.0/8"
pool = "shared"

[[nat.forward]]
protocol = "tcp"
outside = "203.0.113.8:8080"
inside = "192.168.50.6:80"

[[nat.forward]]
protocol = "udp"
outside = "wan0:5000-5009"
inside = "192.168.50.6:6000-6009"

[[nat.static]]
outside = "203.0.113.9"
inside = "192.168.50.50"

[nat.log]
file = "/var/log/nat.jsonl"
syslog = "192.0.2.10:514"
rate = 100
"#;

#[test]
fn a_full_one_and_its_effective_form() {
    let loaded =
        parse(&format!("{ROLES}{FULL}"), Path::new("m.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    let printed = loaded.config.to_string();
    let nat = printed.split_once("\n[nat]").map(|(_, nat)| nat.split_once("\n# [http]").unwrap().0).unwrap();
    insta::assert_snapshot!(nat);
    let again = parse(&printed, Path::new("m.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.config, loaded.config);
    // A port with a role fails closed.
    assert!(loaded.config.interfaces.iter().all(|i| i.on_failure == millrace_api::OnFailure::Drop));
}

#[test]
fn the_least_one() {
    let text = format!(
        "{ROLES}[nat]\n[[nat.pool]]\nname = \"wan\"\ninterface = \"wan0\"\n[[nat.source]]\nfrom = \"0.0.0.0/0\"\npool = \"wan\"\n"
    );
    let loaded = parse(&text, Path::new("m.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    let nat = loaded.config.nat.unwrap();
    assert_eq!(nat.pools[0].ports, (1024, 65535));
    assert_eq!(nat.timers, millrace_api::nat::NatTimers::default());
    assert!(nat.algs.ftp && nat.algs.tftp);
}

/// What is said about each file is in `snapshots/`.
#[test]
fn what_is_said_about_wrong_files() {
    let pool = "[[nat.pool]]\nname = \"wan\"\naddresses = [\"203.0.113.8/29\"]\n";
    let cases = [
        ("roles without a section", ROLES.to_owned()),
        ("unknown keys", format!("{ROLES}[nat]\nudp-timeout = 300\n[nat.pools]\n{pool}prots = \"1-2\"\n")),
        ("single brackets", format!("{ROLES}[nat]\n[nat.pool]\nname = \"wan\"\n")),
        (
            "timers under the minimum",
            format!(
                "{ROLES}[nat]\ntcp-established = 300\ntcp-transitory = 60\nudp = 30\nicmp = 10\nport-quarantine = -1\n"
            ),
        ),
        (
            "limits",
            format!(
                "{ROLES}[nat]\nmax-sessions = 1\nsessions-per-subscriber = 0\nports-per-subscriber = 200000\n"
            ),
        ),
        ("choices", format!("{ROLES}[nat]\nrefuse-with = \"reject\"\nalg = [\"ftp\", \"sip\"]\n")),
        (
            "pool without name or addresses",
            format!("{ROLES}[nat]\n[[nat.pool]]\n[[nat.pool]]\nname = \"x\"\n[[nat.pool]]\nname = \"a b\"\n"),
        ),
        ("pool with both", format!("{ROLES}[nat]\n{pool}interface = \"wan0\"\n")),
        ("pool twice, addresses twice", format!("{ROLES}[nat]\n{pool}{pool}")),
        (
            "addresses",
            format!(
                "{ROLES}[nat]\n[[nat.pool]]\nname = \"x\"\naddresses = [\"203.0.113.9/29\", \"10.0.0.9-10.0.0.1\", \"eth0\", \"10.0.0.0/8\", \"224.0.0.1\", 7]\n"
            ),
        ),
        (
            "addresses that overlap",
            format!(
                "{ROLES}[nat]\n[[nat.pool]]\nname = \"x\"\naddresses = [\"203.0.113.8/29\", \"203.0.113.9\"]\n"
            ),
        ),
        (
            "the router's own address",
            format!("{ROLES}[nat]\n[[nat.pool]]\nname = \"x\"\naddresses = [\"192.0.2.0/30\"]\n"),
        ),
        (
            "an interface that is not outside",
            format!(
                "{ROLES}[nat]\n[[nat.pool]]\nname = \"x\"\ninterface = \"lan0\"\n[[nat.pool]]\nname = \"y\"\ninterface = \"wan1\"\n"
            ),
        ),
        (
            "an interface in two pools",
            format!(
                "{ROLES}[nat]\n[[nat.pool]]\nname = \"x\"\ninterface = \"wan0\"\n[[nat.pool]]\nname = \"y\"\ninterface = \"wan0\"\n"
            ),
        ),
        (
            "ports",
            format!(
                "{ROLES}[nat]\n{pool}ports = \"0-100\"\nhost-ports = [\"8080\"]\n[[nat.pool]]\nname = \"y\"\naddresses = [\"203.0.113.1\"]\nports = \"9-8\"\n"
            ),
        ),
        (
            "filtering",
            format!(
                "{ROLES}[nat]\n{pool}filtering = \"full-cone\"\n[[nat.pool]]\nname = \"y\"\naddresses = [\"203.0.113.1\"]\nfiltering = {{ sctp = \"x\", tcp = \"symmetric\" }}\n"
            ),
        ),
        (
            "blocks",
            format!(
                "{ROLES}[nat]\n{pool}block-size = 100\n[[nat.pool]]\nname = \"y\"\naddresses = [\"203.0.113.1\"]\nmax-blocks = 3\n"
            ),
        ),
        ("deterministic", format!("{ROLES}[nat]\n{pool}deterministic = \"10.0.0.0/8\"\nblock-size = 64\n")),
        (
            "deterministic on a shared address",
            format!(
                "{ROLES}[nat]\n[[nat.pool]]\nname = \"x\"\ninterface = \"wan0\"\ndeterministic = \"10.0.0.0/24\"\n"
            ),
        ),
        (
            "sources",
            format!(
                "{ROLES}[nat]\n{pool}[[nat.source]]\n[[nat.source]]\nfrom = \"10.1.2.3/8\"\npool = \"wan\"\n[[nat.source]]\nfrom = \"10.0.0.0/8\"\n[[nat.source]]\nfrom = \"10.0.0.0/8\"\npool = \"wna\"\n[[nat.source]]\nfrom = \"10.0.0.0/8\"\npool = \"wan\"\nexempt = true\n"
            ),
        ),
        (
            "a source never reached",
            format!(
                "{ROLES}[nat]\nudp = 1\n{pool}[[nat.source]]\nfrom = \"10.0.0.0/8\"\npool = \"wan\"\n[[nat.source]]\nfrom = \"10.1.0.0/16\"\nexempt = true\n"
            ),
        ),
        (
            "destinations of sources",
            format!(
                "{ROLES}[nat]\nudp = 1\n{pool}[[nat.source]]\nfrom = \"10.0.0.0/8\"\nto = \"172.16.0.0/12\"\npool = \"wan\"\n[[nat.source]]\nfrom = \"10.0.0.0/8\"\nto = \"172.16.0.1/12\"\nexempt = true\n[[nat.source]]\nfrom = \"10.0.0.0/8\"\nto = \"172.16.0.0/12\"\nexempt = true\n[[nat.source]]\nfrom = \"10.1.0.0/16\"\nto = \"172.16.0.0/16\"\nexempt = true\n[[nat.source]]\nfrom = \"10.1.0.0/16\"\npool = \"wan\"\n"
            ),
        ),
        (
            "forwards",
            format!(
                "{ROLES}[nat]\n{pool}[[nat.forward]]\n[[nat.forward]]\noutside = \"203.0.113.8\"\n[[nat.forward]]\noutside = \"203.0.113.8:80-90\"\nprotocol = \"icmp\"\n[[nat.forward]]\noutside = \"203.0.113.8:80-90\"\nprotocol = \"tcp\"\ninside = \"10.0.0.1:80-89\"\n[[nat.forward]]\noutside = \"203.0.113.8:90\"\nprotocol = \"tcp\"\ninside = \"10.0.0.1\"\n"
            ),
        ),
        (
            "forwards that clash",
            format!(
                "{ROLES}[nat]\n{pool}[[nat.forward]]\noutside = \"203.0.113.8:80-90\"\nprotocol = \"tcp\"\ninside = \"10.0.0.1:80\"\n[[nat.forward]]\noutside = \"203.0.113.8:85\"\nprotocol = \"tcp\"\ninside = \"10.0.0.2:85\"\n[[nat.forward]]\noutside = \"192.0.2.2:85\"\nprotocol = \"tcp\"\ninside = \"10.0.0.2:85\"\n[[nat.forward]]\noutside = \"lan0:85\"\nprotocol = \"tcp\"\ninside = \"10.0.0.2:65000-65600\"\n[[nat.forward]]\noutside = \"203.0.113.8:100-200\"\nprotocol = \"tcp\"\ninside = \"10.0.0.2:65500\"\n"
            ),
        ),
        (
            "statics",
            format!(
                "{ROLES}[nat]\n{pool}[[nat.static]]\noutside = \"192.0.2.2\"\ninside = \"10.0.0.1\"\n[[nat.static]]\noutside = \"203.0.113.70\"\ninside = \"10.0.0.1\"\n[[nat.static]]\noutside = \"203.0.113.70\"\ninside = \"10.0.0.2\"\n[[nat.forward]]\noutside = \"203.0.113.70:5\"\nprotocol = \"udp\"\ninside = \"10.0.0.9:5\"\n"
            ),
        ),
        ("log", format!("{ROLES}[nat]\n[nat.log]\nfile = \"nat.log\"\nsyslog = \"loghost\"\nrate = 0\n")),
        ("segment size", format!("{ROLES}mss-clamp = 40\n")),
    ];
    let mut out = String::new();
    for (name, text) in cases {
        let error =
            parse(&text, Path::new("m.toml")).map(|loaded| loaded.config.to_string()).expect_err(name);
        assert!(error.problems.iter().all(|problem| problem.line != 0), "{name}");
        out.push_str(&format!("──── {name}\n{error}\n\n"));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn what_is_said_besides() {
    let text = "[nat]\n";
    let loaded = parse(text, Path::new("m.toml")).unwrap();
    let said: Vec<_> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "[nat]: no interface has nat = \"outside\": nothing is translated",
            "[nat]: no interface has nat = \"inside\": nothing is translated",
            "[nat]: there is no [[nat.source]], [[nat.forward]] or [[nat.static]]: every flow to outside is refused",
        ]
    );
}

#[test]
fn differences_are_named() {
    let config = |text: &str| {
        parse(&format!("{ROLES}{text}"), Path::new("m.toml")).unwrap_or_else(|error| panic!("{error}")).config
    };
    let new = FULL
        .replace("udp = 120", "udp = 300")
        .replace("2000-60000", "2000-50000")
        .replace("192.168.99.0/24", "192.168.98.0/24")
        .replace("192.168.50.6:80\"", "192.168.50.7:80\"")
        .replace("203.0.113.9\"", "203.0.113.10\"")
        .replace("rate = 100", "rate = 200");
    let changes = diff(&config(FULL), &config(&new));
    assert!(changes.iter().all(|change| change.effect == Effect::Live));
    let lines: Vec<_> = changes
        .into_iter()
        .map(|change| {
            let value = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            format!("{}: {} → {}", change.setting, value(change.old), value(change.new))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
