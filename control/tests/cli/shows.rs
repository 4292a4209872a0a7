//! `millrace show …`: each table, and that `--json` is the API's own.

use serde_json::{Value, json};

use crate::fake::{Answers, Control, text};

fn answers() -> Answers {
    let xdp = json!({
        "rx_dropped": 0, "rx_invalid_descs": 0, "tx_invalid_descs": 0, "rx_ring_full": 0,
        "rx_fill_ring_empty_descs": 0, "tx_ring_empty_descs": 0
    });
    let socket = json!({
        "tx_in_flight": 0, "tx_stuck": false, "tx_stalls": 0, "tx_wakes": 0, "rx_wakes": 0, "wakes_failed": 0,
        "rx_fragments": 0, "rx_invalid": 0
    });
    let stuck = json!({
        "tx_in_flight": 2048, "tx_stuck": true, "tx_stalls": 1, "tx_wakes": 0, "rx_wakes": 0, "wakes_failed": 0,
        "rx_fragments": 0, "rx_invalid": 0
    });
    let queue = |queue: u32| {
        json!({ "queue": queue, "worker": 0, "mode": "zero-copy", "xdp": xdp,
        "socket": if queue == 1 { &stuck } else { &socket } })
    };
    let eth0 = json!({
        "name": "eth0", "ifindex": 4, "up": true, "problem": null, "mac": "02:00:00:00:00:01", "mtu": 1500,
        "addresses": ["192.0.2.2/30", "10.0.0.1/24"], "xdp": "native", "on_failure": "kernel",
        "queues": [queue(0), queue(1)], "rx_packets": 1_234_567_u64, "rx_bytes": 987_654_321_u64,
        "tx_packets": 42, "tx_bytes": 4096, "xdp_outcomes": { "redirected": 5 },
        "device_drops": { "rx_dropped": 7, "rx_missed": 0, "rx_errors": 0, "tx_dropped": 1200, "tx_errors": 0 }
    });
    let eth1 = json!({
        "name": "eth1", "ifindex": null, "up": false, "problem": "there is no such device; it is taken into service when it appears",
        "mac": null, "mtu": null, "addresses": [], "xdp": "absent", "on_failure": "drop", "queues": [], "device_drops": null,
        "rx_packets": 0, "rx_bytes": 0, "tx_packets": 0, "tx_bytes": 0, "xdp_outcomes": {}
    });
    let direct = |gateway: &str, weight: u16| json!({ "gateway": gateway, "interface": "eth0", "weight": weight, "active": true, "resolved": [] });
    let path = json!({ "interface": "eth0", "gateway": "192.0.2.1", "weight": 1 });
    let recursive =
        json!({ "gateway": "10.9.9.9", "interface": null, "weight": 1, "active": true, "resolved": [path] });
    let unresolved =
        json!({ "gateway": "10.8.8.8", "interface": null, "weight": 1, "active": false, "resolved": [] });
    let glean = json!({ "gateway": null, "interface": "eth0", "weight": 1, "active": true, "resolved": [] });
    let route = |prefix: &str, code: &str, kind: &str, nexthops: Value, selected: bool, problem: Value| {
        let protocol = match code {
            "C" => "connected",
            "L" => "local",
            _ => "static",
        };
        json!({
            "prefix": prefix, "protocol": protocol, "code": code, "distance": if code == "S" { 1 } else { 0 },
            "metric": 0, "selected": selected, "installed": selected && problem.is_null(), "problem": problem,
            "kind": kind, "nexthops": nexthops, "group": 3, "age_seconds": 93_784
        })
    };
    let routes = json!([
        route(
            "0.0.0.0/0",
            "S",
            "forward",
            json!([direct("192.0.2.1", 2), direct("192.0.2.5", 1)]),
            true,
            json!(null)
        ),
        route("10.0.0.0/24", "C", "glean", json!([glean]), true, json!(null)),
        route("10.0.0.1/32", "L", "local", json!([]), true, json!(null)),
        route(
            "10.1.0.0/16",
            "S",
            "forward",
            json!([recursive]),
            true,
            json!("all 32,767 next-hop groups are in use")
        ),
        route("10.2.0.0/16", "S", "forward", json!([unresolved]), false, json!("no next hop resolves")),
        route("10.3.0.0/16", "S", "blackhole", json!([]), true, json!(null)),
    ]);
    let member = json!({
        "interface": "eth0", "gateway": "192.0.2.1", "weight": 1, "buckets": 1, "mac": "02:00:00:00:00:99",
        "state": "reachable"
    });
    let dataplane_group = json!({ "id": 3, "kind": "forward", "members": [member], "routes": 1_050_000 });
    let group = json!({
        "id": 3, "kind": "forward", "active": true, "installed": true, "problem": null, "nexthops": [recursive],
        "paths": [path], "candidates": 1_050_000, "routes": 1_050_000, "dataplane": dataplane_group
    });
    let waiting = json!({
        "id": 4, "kind": "forward", "active": false, "installed": false, "problem": "10.8.8.8 does not resolve",
        "nexthops": [unresolved], "paths": [], "candidates": 1, "routes": 0, "dataplane": null
    });
    let control = json!({
        "state": "synced", "generation_sent": 9, "generation_acked": 9, "routes": 6, "groups": 2, "refused": 1,
        "refused_total": 1, "refusals": [{ "subject": "10.1.0.0/16", "reason": "all 32,767 next-hop groups are in use" }],
        "resyncs_total": 1, "swept_total": 0
    });
    let fib = |answer: Value| {
        json!({
            "routes": 1_050_000, "generation": 9, "tbl8_used": 1234, "tbl8_total": 4096, "groups_used": 2,
            "groups_total": 32767, "adjacencies_used": 0, "adjacencies_total": 65536, "refused": 0,
            "answer": answer, "control": control
        })
    };
    let neighbors = json!([
        { "interface": "eth0", "address": "192.0.2.1", "mac": "02:00:00:00:00:99", "state": "reachable", "used_seconds_ago": 2 },
        { "interface": "eth0", "address": "192.0.2.7", "mac": null, "state": "failed", "used_seconds_ago": null },
    ]);
    let counters = json!({
        "drops": { "no-route": 12, "too-big": 0 }, "verdicts": { "tx": 1_000_000, "reply": 12, "drop": 0 },
        "icmp_sent": { "3/0": 12 }, "xdp": { "redirected": 1_000_012, "local": 0 },
        "frames": { "total": 16384, "free": 12288, "fill": 4096, "tx": 0, "held": 0, "lost": 0 }
    });
    let drops = json!([
        { "reason": "ttl-exceeded", "packets": 3, "help": "the time to live ran out", "advice": "look for a routing loop" },
        { "reason": "too-big", "packets": 0, "help": "larger than the MTU", "advice": "nothing" },
        { "reason": "no-route", "packets": 12_345, "help": "no route to the destination", "advice": "add a route" },
    ]);
    let worker = json!({
        "worker": 0, "cpu": 1, "busy_seconds": 1.0, "idle_seconds": 3.0, "bursts": 1000, "packets": 32_000,
        "wakeups": 2000, "burst_histogram": [0, 0, 0, 0, 0, 1000, 0], "frames_free": 64, "frames_held": 0,
        "scheduling": "realtime", "stages": [
            { "stage": "receive", "seconds": 0.0001, "packets": 1000 }, { "stage": "parse", "seconds": 0.000_05, "packets": 1000 }
        ]
    });
    let version = json!({
        "version": "0.1.0", "name": "edge1", "api": 1, "control_pid": 4242, "uptime_seconds": 93_784,
        "dataplane": { "connected": true, "build": "0.1.0", "pid": 4241, "problem": null }, "kernel": "6.12.0"
    });
    let status = json!({
        "uptime_seconds": 93_784, "config_file": "/etc/millrace/millrace.toml",
        "http": { "address": "127.0.0.1:9179", "problem": null }, "confirm": { "seconds_left": 42 },
        "dataplane": {
            "connected": true, "instance": 1, "pid": 4241, "build": "0.1.0", "problem": null, "restart": ["mode"], "connects": 1
        },
        "rib": { "prefixes": 6, "protocols": [], "nexthops": 3, "nexthops_resolved": 2, "loading": false },
        "fib": control,
        "audit": { "rounds_total": 7, "mismatches_total": 0, "last_round_seconds_ago": 3 },
        "mirror": { "mode": "all", "routes": 4, "pending": 0, "foreign": 1, "errors_total": 0, "last_error": null },
        "interfaces": []
    });
    let config = json!({ "file": "/etc/millrace/millrace.toml", "toml": "[router]\nname = \"edge1\"\n", "confirm": null });
    let answer = json!({ "address": "8.8.8.8", "prefix": "0.0.0.0/0", "nexthop": dataplane_group });
    let nothing = json!({ "address": "9.9.9.9", "prefix": null, "nexthop": null });
    let bfd = json!({
        "sessions": [
            {
                "neighbor": "10.0.11.2", "interface": "upper", "local": "10.0.11.1", "state": "up", "state_seconds": 75,
                "diagnostic": "none", "clients": ["rip", "static"], "discriminator": 7, "remote_discriminator": 9,
                "remote_state": "up", "remote_diagnostic": "none", "send_interval_ms": 50.0, "detection_time_ms": 150.0,
                "multiplier": 3, "remote_multiplier": 3, "sent": 1200, "received": 1100, "ups": 2, "downs": 1
            },
            {
                "neighbor": "10.0.12.2", "interface": "lower", "local": "10.0.12.1", "state": "down", "state_seconds": 3700,
                "diagnostic": "control detection time expired", "clients": ["static"], "discriminator": 8,
                "remote_discriminator": 0, "remote_state": "down", "remote_diagnostic": "none", "send_interval_ms": 1000.0,
                "detection_time_ms": 0.0, "multiplier": 3, "remote_multiplier": 0, "sent": 3, "received": 0, "ups": 0,
                "downs": 0
            }
        ],
        "bad_packets": { "version": 0, "ttl": 2 },
        "problem": null
    });
    let rule = |rule: u32, name: &str, action: &str, conditions: &str, packets: u64| {
        json!({
            "rule": rule, "name": name, "action": action, "conditions": conditions, "packets": packets,
            "bytes": packets * 100, "policed": 0
        })
    };
    let acls = json!([{
        "name": "wan", "default": "drop", "interfaces": ["eth0 in"], "compiled_bytes": 1_048_576,
        "rules": [
            rule(1, "web", "accept", "protocol = \"tcp\", destination-port = [80, 443]", 12_345),
            rule(2, "", "reject", "", 0),
        ],
        "default_hits": { "packets": 7, "bytes": 700, "policed": 0 }
    }]);
    Answers::from([
        ("GET /api/v1/acls", (200, acls)),
        ("GET /api/v1/acls?name=none", (200, json!([]))),
        ("GET /api/v1/interfaces", (200, json!([eth1, eth0]))),
        ("GET /api/v1/routes", (200, routes)),
        ("GET /api/v1/routes?limit=2000&prefix=10.99.0.0/16", (200, json!([]))),
        ("GET /api/v1/nexthops", (200, json!([group, waiting]))),
        ("GET /api/v1/fib", (200, fib(json!(null)))),
        ("GET /api/v1/fib?address=8.8.8.8", (200, fib(answer))),
        ("GET /api/v1/fib?address=9.9.9.9", (200, fib(nothing))),
        ("GET /api/v1/fib/routes?limit=2000", (200, json!([{ "prefix": "0.0.0.0/0", "nexthop": 3 }]))),
        ("GET /api/v1/fib/routes?limit=2000&after=0.0.0.0/0", (200, json!([]))),
        ("GET /api/v1/neighbors", (200, neighbors)),
        ("GET /api/v1/bfd", (200, bfd)),
        ("GET /api/v1/counters", (200, counters)),
        ("GET /api/v1/drops", (200, drops)),
        ("GET /api/v1/workers", (200, json!([worker]))),
        ("GET /api/v1/version", (200, version)),
        (
            "GET /api/v1/rip",
            (
                200,
                json!({
                    "interfaces": 2, "neighbors": 1, "routes": 1203, "learned": 1200, "own": 3, "unsent": 4,
                    "problems": { "eth1": "Operation not permitted (os error 1)" }
                }),
            ),
        ),
        (
            "GET /api/v1/rip/neighbors",
            (
                200,
                json!([{
                    "address": "192.0.2.1", "interface": "eth0", "version": 2, "heard_seconds_ago": 12, "routes": 1200,
                    "bad_packets": 0, "bad_routes": 1, "bfd": false
                }]),
            ),
        ),
        (
            "GET /api/v1/rip/routes",
            (
                200,
                json!([
                    { "prefix": "10.1.0.0/16", "metric": 3, "tag": 7, "origin": null, "paths": [
                        { "neighbor": "192.0.2.1", "interface": "eth0", "gateway": "192.0.2.1", "metric": 3, "tag": 7,
                          "in_use": true, "heard_seconds_ago": 12, "expires_in_seconds": 168 },
                        { "neighbor": "192.0.2.5", "interface": "eth0", "gateway": "192.0.2.5", "metric": 4, "tag": 0,
                          "in_use": false, "heard_seconds_ago": 2, "expires_in_seconds": 178 }
                    ] },
                    { "prefix": "10.2.0.0/16", "metric": 16, "tag": 0, "origin": null, "paths": [] },
                    { "prefix": "192.0.2.0/30", "metric": 1, "tag": 0, "origin": "connected", "paths": [] }
                ]),
            ),
        ),
        (
            "GET /api/v1/rip/interfaces",
            (
                200,
                json!([{
                    "name": "eth0", "passive": false, "cost": 1, "neighbors": 1, "next_update_in_seconds": 17,
                    "requests_received": 1, "responses_received": 1234, "requests_sent": 1, "updates_sent": 500,
                    "triggered_sent": 3, "replies_sent": 1, "unsendable": 0, "bad_packets": { "auth-failed": 2 },
                    "bad_routes": { "metric": 1 }, "problem": "Operation not permitted (os error 1)"
                }]),
            ),
        ),
        (
            "GET /api/v1/policy",
            (
                200,
                json!({
                    "prefix_lists": { "customers": ["permit 192.0.2.0/24", "deny 10.0.0.0/8 ge 16 le 24"] },
                    "as_path_sets": { "through": ["* 65005 *"] }, "community_sets": { "internal": ["65001:*"] },
                    "rule_lists": [{ "name": "import", "default": "reject", "rules": [
                        { "name": "customers", "conditions": ["prefix-list customers", "tag 5"], "changes": ["metric +2"],
                          "action": "accept" },
                        { "name": null, "conditions": [], "changes": ["tag 7"], "action": null }
                    ] }]
                }),
            ),
        ),
        ("GET /api/v1/status", (200, status)),
        ("GET /api/v1/config", (200, config)),
    ])
}

#[test]
fn tables_for_people() {
    let control = Control::new(answers());
    let mut shown = String::new();
    for words in [
        "interfaces",
        "routes",
        "routes 10.99.0.0/16",
        "fib",
        "fib 8.8.8.8",
        "fib 9.9.9.9",
        "fib --routes",
        "nexthops",
        "neighbors",
        "bfd",
        "acl",
        "acl none",
        "counters",
        "counters --all",
        "drops",
        "drops --all",
        "workers",
        "status",
        "config",
        "version",
        "rip",
        "rip neighbors",
        "rip routes",
        "rip interfaces",
        "policy",
    ] {
        let args: Vec<_> = ["show"].into_iter().chain(words.split(' ')).collect();
        let output = control.run(&args);
        assert!(output.status.success(), "{words}: {}", text(&output.stderr));
        let table = text(&output.stdout);
        for line in table.lines() {
            assert_eq!(line.trim_end(), line, "{words}: blanks at the end");
        }
        shown.push_str(&format!("$ millrace show {words}\n{table}\n"));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn json_is_the_answer_itself() {
    let answers = answers();
    let control = Control::new(answers.clone());
    for (words, path) in [
        ("interfaces", "interfaces"),
        ("routes", "routes"),
        ("fib", "fib"),
        ("fib 8.8.8.8", "fib?address=8.8.8.8"),
        ("nexthops", "nexthops"),
        ("neighbors", "neighbors"),
        ("bfd", "bfd"),
        ("acl", "acls"),
        ("counters", "counters"),
        ("drops", "drops"),
        ("workers", "workers"),
        ("status", "status"),
        ("config", "config"),
        ("version", "version"),
        ("rip", "rip"),
        ("rip routes", "rip/routes"),
        ("policy", "policy"),
    ] {
        let args: Vec<_> = ["show"].into_iter().chain(words.split(' ')).chain(["--json"]).collect();
        let output = control.run(&args);
        let (_, expected) = &answers[format!("GET /api/v1/{path}").as_str()];
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), *expected, "{words}");
    }
}

#[test]
fn what_is_asked_for() {
    let control = Control::new(answers());
    for words in
        ["routes 10.0.0.1", "routes 10.0.0.0/8 --longer --json", "routes 10.0.0.0/8 --protocol static"]
    {
        let args: Vec<_> = ["show"].into_iter().chain(words.split(' ')).collect();
        assert!(control.run(&args).status.success(), "{words}");
    }
    assert_eq!(
        control.requests(),
        [
            "GET /api/v1/routes?limit=2000&address=10.0.0.1 ",
            "GET /api/v1/routes?within=10.0.0.0/8 ",
            "GET /api/v1/routes?limit=2000&prefix=10.0.0.0/8&protocol=static ",
        ]
    );
}

#[test]
fn a_change_is_told_setting_by_setting() {
    let change = |setting: &str, old: Value, new: Value, effect: &str| json!({ "setting": setting, "old": old, "new": new, "effect": effect });
    let applied = json!({
        "changes": [
            change("dataplane.mode", json!("\"copy\""), json!("\"auto\""), "restart-dataplane"),
            change("interface \"eth1\"", json!(null), json!("present"), "live"),
            change("static \"10.0.0.0/8\" distance 1", json!("kind = \"blackhole\""), json!(null), "live"),
        ],
        "warnings": [],
        "result": { "changed": true, "restart": ["mode"], "dataplane": true, "routes_added": 1200, "routes_removed": 1 },
        "confirm": null,
        "config_file": "/etc/millrace/millrace.toml"
    });
    let mut on_probation = applied.clone();
    on_probation["confirm"] = json!({ "seconds_left": 60 });
    let nothing =
        json!({ "changes": [], "warnings": [], "result": null, "confirm": null, "config_file": "/x" });
    let control = Control::new(Answers::from([
        ("POST /api/v1/apply", (200, applied.clone())),
        ("POST /api/v1/apply?confirm=60", (200, on_probation)),
        ("POST /api/v1/diff", (200, nothing)),
        ("POST /api/v1/rollback", (200, applied)),
        ("POST /api/v1/confirm", (200, json!({}))),
    ]));
    let mut said = String::new();
    for words in ["apply /other.toml", "apply /other.toml --confirm 60", "diff /x", "rollback", "confirm"] {
        let output = control.run(&words.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{words}: {}", text(&output.stderr));
        said.push_str(&format!("$ millrace {words}\n{}\n", text(&output.stdout)));
    }
    insta::assert_snapshot!(said);
}
