//! `millrace explain` and the packets themselves: each is asked about first and sent then.

use std::time::Duration;

use anyhow::{Context, Result};
use millrace_lab::topology::Line;
use millrace_lab::{Node, Ping, Router, config, test, wait_until};
use serde_json::Value;

const REST: &str = r#"acl-in = "inward"
[[interface]]
name = "wan"
[[acl]]
name = "inward"
default = "accept"
[[acl.rule]]
action = "drop"
destination = "10.9.1.0/24"
[[acl.rule]]
action = "reject"
destination = "10.9.2.0/24"
[[static]]
prefix = "10.9.0.0/16"
via = ["10.0.2.2"]
[[static]]
prefix = "10.8.0.0/16"
kind = "blackhole"
[[static]]
prefix = "10.7.0.0/16"
kind = "unreachable"
"#;

fn explain(router: &Router, destination: &str, more: &str) -> Result<Value> {
    let args = ["explain", Line::CLIENT, destination, "--proto", "icmp", "--json"].into_iter();
    let output = router.millrace(args.chain(more.split_whitespace()))?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The reason of the drop counter that one echo request moves, if it moves one.
fn dropped(router: &Router, client: &Node, destination: &str, ttl: u8) -> Result<Option<String>> {
    let before = router.show("counters")?["drops"].clone();
    Ping::new(client, destination).count(1).ttl(ttl).arg("-W1").run()?;
    let after = router.show("counters")?["drops"].clone();
    let moved = |(name, count): (&String, &Value)| (before[name] != *count).then(|| name.clone());
    Ok(after.as_object().context("drops")?.iter().find_map(moved))
}

#[test]
fn what_is_said_is_what_happens() {
    test(|lab| {
        let line = Line::new(lab)?;
        line.server.ip("address add 10.9.0.1/32 dev lo")?;
        let router = Router::start(&line.router, &config(&["lan"], REST))?;
        // Nobody has spoken to the server yet.
        let said = explain(&router, "10.9.0.1", "")?;
        assert!(said["verdict"] == "hold" || said["neighbor"] == "resolved", "{said}");
        wait_until("the next hop to be known", Duration::from_secs(10), || {
            Ok(Ping::new(&line.client, "10.9.0.1").count(1).run()?.received == 1)
        })?;
        for (destination, ttl, verdict, reason, icmp) in [
            ("10.9.0.1", 64, "tx", None, None),
            (Line::SERVER, 64, "tx", None, None),
            ("10.9.0.1", 1, "reply", Some("ttl-exceeded"), Some("11/0")),
            ("10.9.1.1", 64, "drop", Some("acl-drop"), None),
            ("10.9.2.1", 64, "reply", Some("acl-reject"), Some("3/13")),
            ("10.8.0.1", 64, "drop", Some("blackhole"), None),
            ("10.7.0.1", 64, "reply", Some("unreachable"), Some("3/1")),
            ("10.6.0.1", 64, "reply", Some("no-route"), Some("3/0")),
            (Line::LAN, 64, "kernel", None, None),
            (Line::WAN, 64, "kernel", None, None),
        ] {
            let said = explain(&router, destination, &format!("--ttl {ttl}"))?;
            let what = (said["verdict"].as_str(), said["reason"].as_str(), said["icmp"].as_str());
            assert_eq!(what, (Some(verdict), reason, icmp), "{said}");
            let happened = dropped(&router, &line.client, destination, ttl)?;
            assert_eq!(happened.as_deref(), reason, "{destination} TTL {ttl}");
        }
        let said = explain(&router, "10.9.0.1", "")?;
        let way = [&said["interface"], &said["prefix"], &said["out_interface"], &said["next_hop"]];
        assert_eq!(way, ["lan", "10.9.0.0/16", "wan", "10.0.2.2"]);
        assert_eq!(said["acl_in"], serde_json::json!({ "acl": "inward", "rule": null }));
        assert_eq!(explain(&router, "10.9.2.9", "")?["acl_in"]["rule"], 2);
        let mac = line.server.ip_json("link show dev eth0")?[0]["address"].clone();
        assert_eq!(said["destination_mac"], mac);
        Ok(())
    });
}

#[test]
fn it_reads_well_and_refuses_in_a_sentence() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan"], REST))?;
        Ping::new(&line.client, Line::SERVER).count(1).run()?;
        let text = |args: &str| -> Result<(bool, String)> {
            let output = router.millrace(args.split_whitespace())?;
            let all = [output.stdout, output.stderr].concat();
            Ok((output.status.success(), String::from_utf8_lossy(&all).into_owned()))
        };
        let (good, said) = text("explain 10.0.1.2 10.0.2.2 --proto tcp --sport 1234 --dport 80 --in lan")?;
        assert!(good && said.contains("verdict    forwarded") && said.contains("on wan, resolved"), "{said}");
        let (good, said) = text("explain 10.0.1.2 10.9.2.2 -i lan")?;
        assert!(
            good && said.contains("acl in     inward, rule 2") && said.contains("gets ICMP 3/13"),
            "{said}"
        );
        for (args, why) in [
            ("explain 8.8.8.8 10.0.2.2", "name the interface it comes by with --in"),
            ("explain 10.0.1.2 10.0.2.2 --in eth9", "eth9 is not one of the router's interfaces"),
            ("explain 10.0.1.2 10.0.2.2 --proto quic", "neither a name of one nor a number"),
        ] {
            let (good, said) = text(args)?;
            assert!(!good && said.contains(why), "{args}: {said}");
        }
        Ok(())
    });
}
