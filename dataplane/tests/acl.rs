//! Packet filters and policers: what they let through, what senders are told, what is counted, and that a new list is
//! in force at once.

use std::time::Duration;

use anyhow::{Context, Result};
use millrace_lab::topology::Line;
use millrace_lab::{Node, Ping, Router, config, test};
use serde_json::Value;

const LISTS: &str = r#"
[[acl]]
name = "inward"
[[acl.rule]]
name = "web"
action = "accept"
protocol = "tcp"
destination-port = [80, 443]
[[acl.rule]]
action = "reject"
protocol = "tcp"
destination-port = "8000-8099"
[[acl.rule]]
action = "accept"
source = "10.0.1.0/24"
protocol = "icmp"
[[acl]]
name = "outward"
default = "accept"
[[acl.rule]]
action = "drop"
protocol = "tcp"
destination-port = 443
"#;

/// The client's side filtered as it comes in, the server's as it goes out.
fn filtered(lists: &str) -> String {
    let ports = "acl-in = \"inward\"\n[[interface]]\nname = \"wan\"\nacl-out = \"outward\"\n";
    config(&["lan"], &format!("{ports}{lists}"))
}

/// What a TCP connection to this port of the server, where nobody listens, comes to: its own refusal, the router's,
/// or nothing.
fn connect(client: &Node, port: u16) -> Result<&'static str> {
    let script = format!("timeout 1 bash -c 'exec 3>/dev/tcp/{}/{port}' 2>&1; true", Line::SERVER);
    let said = client.run("bash", ["-c", &script])?;
    Ok(match said {
        said if said.contains("Connection refused") => "refused",
        said if said.contains("No route to host") => "prohibited",
        said if said.trim().is_empty() => "silence",
        said => anyhow::bail!("{port}: {said}"),
    })
}

/// Packets that a rule of a list has met; rule 0 is the default.
fn hits(router: &Router, list: &str, rule: usize) -> Result<u64> {
    let shown = router.show(&format!("acl {list}"))?;
    let at = match rule {
        0 => &shown[0]["default_hits"],
        rule => &shown[0]["rules"][rule - 1],
    };
    at["packets"].as_u64().with_context(|| format!("no packets of {list} {rule} in {shown}"))
}

fn apply(router: &Router, text: &str) -> Result<Value> {
    let file = router.node().dir().join("next.toml");
    std::fs::write(&file, text)?;
    let output = router.millrace(["apply", &file.display().to_string(), "--json"])?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn rules_decide_tell_and_count() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &filtered(LISTS))?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).count(3).run()?.received, 3);
        for (port, expected) in
            [(80, "refused"), (8080, "prohibited"), (8100, "silence"), (443, "silence"), (22, "silence")]
        {
            assert_eq!(connect(&line.client, port)?, expected, "port {port}");
        }
        let met = |list, rule| hits(&router, list, rule);
        assert_eq!((met("inward", 1)? >= 2, met("inward", 2)?, met("inward", 3)?), (true, 1, 3));
        assert!(2 <= met("inward", 0)? && 1 <= met("outward", 1)?);
        assert!(4 <= met("outward", 0)?, "ping and port 80");
        assert_eq!(router.count("icmp_sent", "3/13")?, 1);
        assert_eq!(router.count("drops", "acl-reject")?, 1);
        assert!(3 <= router.count("drops", "acl-drop")?);
        assert_eq!(router.metric("millrace_acl_packets_total{acl=\"inward\",rule=\"2\"}")?, 1.0);
        let shown = router.show_text("acl")?;
        assert!(shown.contains("inward on lan in") && shown.contains("outward on wan out"), "{shown}");
        // The host's own traffic is not the list's: it answers, and its answers leave.
        assert_eq!(connect_to_router(&line.client)?, "refused");
        Ok(())
    });
}

fn connect_to_router(client: &Node) -> Result<&'static str> {
    let said = client.run("bash", ["-c", "timeout 5 bash -c 'exec 3>/dev/tcp/10.0.1.1/22' 2>&1; true"])?;
    Ok(if said.contains("Connection refused") { "refused" } else { "silence" })
}

#[test]
fn a_new_list_is_in_force_at_once_and_an_unchanged_one_counts_on() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &filtered(LISTS))?;
        let stream =
            Ping::new(&line.client, Line::SERVER).count(1000).interval(Duration::from_millis(2)).arg("-q");
        let mut traffic = stream.spawn()?;
        assert_eq!(connect(&line.client, 8080)?, "prohibited");
        let before = hits(&router, "outward", 0)?;
        let opened = LISTS.replace("action = \"reject\"", "action = \"accept\"");
        let applied = apply(&router, &filtered(&opened))?;
        let changes = applied["changes"].as_array().context("changes")?;
        assert!(changes.iter().any(|change| change["setting"] == "acl \"inward\""), "{applied}");
        assert_eq!(connect(&line.client, 8080)?, "refused");
        assert_eq!(hits(&router, "inward", 2)?, 1, "counted anew");
        assert!(before < hits(&router, "outward", 0)?, "counted on");
        assert_eq!(stream.finish(&mut traffic)?.lost(), 0);
        // And away with it.
        apply(&router, &config(&["lan", "wan"], ""))?;
        assert_eq!(connect(&line.client, 22)?, "refused");
        assert_eq!(router.show("acl")?, serde_json::json!([]));
        Ok(())
    });
}

#[test]
fn what_is_over_the_rate_is_dropped() {
    test(|lab| {
        let line = Line::new(lab)?;
        let rate = "police-in = { packets = 1, burst = 5 }\n[[interface]]\nname = \"wan\"\n";
        let router = Router::start(&line.router, &config(&["lan"], rate))?;
        let ping =
            Ping::new(&line.client, Line::SERVER).count(20).interval(Duration::from_millis(2)).run()?;
        assert!((5..8).contains(&ping.received), "{ping:?}");
        assert_eq!(router.count("drops", "policed")?, u64::from(20 - ping.received));
        Ok(())
    });
}
