//! RIP between two of our routers: real traffic over what they taught each other.

#![expect(clippy::disallowed_methods, reason = "how long living routers take is measured on the real clock")]

use std::time::Duration;

use anyhow::Result;
use millrace_lab::{Capture, Child, Lab, Node, Ping, Router, config, test, wait_until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// ```text
/// client .2 ──10.0.1.0/24── .1 lan [r1] core .1 ──10.0.12.0/24── .2 core [r2] lan .1 ──10.0.2.0/24── .2 server, 10.9.9.1
/// ```
struct Pair {
    client: Node,
    r1: Node,
    r2: Node,
    server: Node,
}

const BEHIND: &str = "10.9.9.1";

impl Pair {
    fn new(lab: &Lab) -> Result<Self> {
        let pair = Self {
            client: lab.node("client")?,
            r1: lab.node("r1")?,
            r2: lab.node("r2")?,
            server: lab.node("server")?,
        };
        lab.link(pair.client.end("eth0", "10.0.1.2/24"), pair.r1.end("lan", "10.0.1.1/24"))?;
        lab.link(pair.r1.end("core", "10.0.12.1/24"), pair.r2.end("core", "10.0.12.2/24"))?;
        lab.link(pair.r2.end("lan", "10.0.2.1/24"), pair.server.end("eth0", "10.0.2.2/24"))?;
        pair.client.ip("route add default via 10.0.1.1")?;
        pair.server.ip("route add default via 10.0.2.1")?;
        pair.server.ip("address add 10.9.9.1/32 dev lo")?;
        Ok(pair)
    }
}

/// RIP on `core` with these keys of its table, and on `lan` to announce it.
fn rip(core: &str, rest: &str) -> String {
    let rip = format!(
        "[rip]\n{rest}\n[[rip.interface]]\nname = \"core\"\n{core}\n[[rip.interface]]\nname = \"lan\"\npassive = true\n"
    );
    config(&["lan", "core"], &rip)
}

const STATIC: &str = "[[static]]\nprefix = \"10.9.9.0/24\"\nvia = [\"10.0.2.2\"]\n[[rip.redistribute]]\nprotocol = \"static\"\n";

fn route(router: &Router, prefix: &str) -> Result<Value> {
    Ok(router.show(&format!("routes {prefix}"))?[0].clone())
}

#[test]
fn rip_routers_teach_each_other_and_traffic_flows() {
    test(|lab| {
        let pair = Pair::new(lab)?;
        let keys = "[[key-chain]]\nname = \"core\"\n[[key-chain.key]]\nid = 7\nalgorithm = \"hmac-sha256\"\nsecret = \"between the two\"\n";
        let core = "key-chain = \"core\"\nttl-security = \"on\"";
        let policy = "[[policy.rule-list]]\nname = \"out\"\n[[policy.rule-list.rule]]\nprotocol = \"static\"\naction = \"accept\"\nset = { tag = 77, metric = 4 }\n";
        let r1 = Router::start(&pair.r1, &format!("{}{keys}", rip(core, "")))?;
        let text = format!("{}{keys}{policy}{STATIC}policy = \"out\"\n", rip(core, ""));
        let mut r2 = Router::start(&pair.r2, &text)?;
        wait_until("the static route of r2 in r1's FIB", SOON, || {
            Ok(route(&r1, "10.9.9.0/24")?["installed"] == true)
        })?;
        let learned = route(&r1, "10.9.9.0/24")?;
        let seen: Vec<_> = ["code", "distance", "metric", "tag"].iter().map(|key| &learned[key]).collect();
        assert_eq!(seen, [&Value::from("R"), &120.into(), &5.into(), &77.into()], "{learned}");
        assert_eq!(learned["nexthops"][0]["gateway"], "10.0.12.2");
        // The way back: r2 knows the client's network.
        wait_until("the client's network in r2", SOON, || {
            Ok(route(&r2, "10.0.1.0/24")?["installed"] == true)
        })?;
        for to in ["10.0.2.2", BEHIND] {
            assert_eq!(Ping::new(&pair.client, to).count(5).run()?.lost(), 0, "{to}");
        }
        let neighbors = r1.show("rip neighbors")?;
        assert_eq!(neighbors[0]["address"], "10.0.12.2");
        assert_eq!(neighbors[0]["bad_packets"], 0);
        assert_eq!(
            r1.metric("millrace_rip_neighbor_routes{interface=\"core\",neighbor=\"10.0.12.2\"}")?,
            2.0
        );
        // Mirrored into the kernel like every other route.
        wait_until("the kernel of r1 to have it", SOON, || {
            Ok(pair.r1.ip("route show")?.contains("10.9.9.0/24 via 10.0.12.2"))
        })?;
        // Another secret: nothing is believed, and the reason is counted.
        r2.write_config(&text.replace("between the two", "somebody else's"))?;
        assert!(r2.millrace(["apply", &r2.config_file().display().to_string()])?.status.success());
        wait_until("refused messages in r1", SOON, || {
            Ok(r1.show("rip interfaces")?.as_array().is_some_and(|all| {
                all.iter()
                    .any(|interface| interface["bad_packets"]["auth-failed"].as_u64().is_some_and(|n| 0 < n))
            }))
        })?;
        // A router that ends says so: its routes go at once, not after a time-out. With the right secret again.
        r2.write_config(&text)?;
        assert!(r2.millrace(["apply", &r2.config_file().display().to_string()])?.status.success());
        r2.wait_ready()?;
        r2.stop()?;
        wait_until("the route to be gone", SOON, || Ok(route(&r1, "10.9.9.0/24")?.is_null()))
    });
}

/// Equal: no packet, no change of the FIB. Changed: what the change asks for, and not one message more.
#[test]
fn an_equal_rip_configuration_sends_no_packet_and_changes_no_route() {
    test(|lab| {
        let pair = Pair::new(lab)?;
        let slow = "update = 600\ntimeout = 3000";
        let r1 = Router::start(&pair.r1, &rip("", slow))?;
        let mut r2 = Router::start(&pair.r2, &format!("{}{STATIC}", rip("", slow)))?;
        for (router, prefix) in [(&r1, "10.9.9.0/24"), (&r2, "10.0.1.0/24")] {
            wait_until("the routes", SOON, || Ok(route(router, prefix)?["installed"] == true))?;
        }
        // Triggered updates of the beginning have passed when neither counts any more for their longest delay (5 s).
        let sent = |router: &Router| -> Result<u64> {
            let interfaces = router.show("rip interfaces")?;
            let core =
                interfaces.as_array().and_then(|all| all.iter().find(|i| i["name"] == "core").cloned());
            let core = core.unwrap_or_default();
            Ok(["requests_sent", "updates_sent", "triggered_sent", "replies_sent"]
                .iter()
                .filter_map(|key| core[key].as_u64())
                .sum())
        };
        let generation = |router: &Router| router.metric("millrace_fib_generation{side=\"control\"}");
        let (mut before, mut since) = ((0, 0), std::time::Instant::now());
        wait_until("both to be quiet", Duration::from_secs(40), || {
            let now = (sent(&r1)?, sent(&r2)?);
            if now != before {
                (before, since) = (now, std::time::Instant::now());
            }
            Ok(Duration::from_secs(6) < since.elapsed())
        })?;
        let capture = Capture::start(&pair.r1, "core", "udp port 520")?;
        let generations = (generation(&r1)?, generation(&r2)?);
        let file = r2.config_file().display().to_string();
        for _ in 0..3 {
            assert!(r2.millrace(["apply", &file])?.status.success());
        }
        // A change that RIP has no part in.
        let text = format!("{}{STATIC}\n[router]\nname = \"other\"\n", rip("", slow));
        r2.write_config(&text)?;
        assert!(r2.millrace(["apply", &file])?.status.success());
        assert_eq!(Ping::new(&pair.client, BEHIND).count(20).run()?.lost(), 0);
        assert_eq!((sent(&r1)?, sent(&r2)?), before, "messages sent");
        assert_eq!((generation(&r1)?, generation(&r2)?), generations, "changes of the FIB");
        assert_eq!(capture.count(), 0, "packets on the wire");
        // A changed metric is announced, and nothing but that.
        r2.write_config(&text.replace("protocol = \"static\"\n", "protocol = \"static\"\nmetric = 6\n"))?;
        assert!(r2.millrace(["apply", &file])?.status.success());
        wait_until("the metric at r1", SOON, || Ok(route(&r1, "10.9.9.0/24")?["metric"] == 7))?;
        assert_eq!(sent(&r2)?, before.1 + 1, "one triggered update");
        r2.wait_ready()?;
        // Without its section RIP ends: the neighbour is told, the routes of others leave.
        r2.write_config(&config(&["lan", "core"], ""))?;
        assert!(r2.millrace(["apply", &file])?.status.success());
        wait_until("both without RIP routes", SOON, || {
            Ok(route(&r1, "10.9.9.0/24")?.is_null() && route(&r2, "10.0.1.0/24")?.is_null())
        })?;
        assert!(!r2.millrace(["show", "rip"])?.status.success());
        Ok(())
    });
}

/// What a killed routing process had learned is forwarded on until its successor has learned it again.
#[test]
fn killing_control_with_rip_loses_nothing() {
    test(|lab| {
        let pair = Pair::new(lab)?;
        let mut r1 = Router::start(&pair.r1, &rip("", ""))?;
        let r2 = Router::start(&pair.r2, &format!("{}{STATIC}", rip("", "")))?;
        for (router, prefix) in [(&r1, "10.9.9.0/24"), (&r2, "10.0.1.0/24")] {
            wait_until("the routes", SOON, || Ok(route(router, prefix)?["installed"] == true))?;
        }
        let stream = Ping::new(&pair.client, BEHIND).count(2500).interval(Duration::from_millis(4)).arg("-q");
        let mut traffic = stream.spawn()?;
        let control = r1.pid(Child::Control)?;
        r1.kill(Child::Control)?;
        r1.wait_successor(Child::Control, control)?;
        r1.wait_ready()?;
        assert_eq!(route(&r1, "10.9.9.0/24")?["installed"], true);
        let result = stream.finish(&mut traffic)?;
        assert_eq!(result.lost(), 0, "{result:?}");
        Ok(())
    });
}

/// Ten thousand routes of a neighbour, on a router that starts beside it.
#[test]
fn ten_thousand_rip_routes_converge_within_one_update_round() {
    const ROUTES: u32 = 10_000;
    test(|lab| {
        let pair = Pair::new(lab)?;
        let prefixes: String = (0..ROUTES)
            .map(|n| format!("{}/24\n", std::net::Ipv4Addr::from((20 << 24) + (n << 8))))
            .collect();
        let file = lab.dir().join("prefixes");
        std::fs::write(&file, prefixes)?;
        let statics = format!(
            "[[static]]\nprefixes-from = \"{}\"\nvia = [\"10.0.2.2\"]\n[[rip.redistribute]]\nprotocol = \"static\"\n",
            file.display()
        );
        let r2 = Router::start(&pair.r2, &format!("{}{statics}", rip("", "")))?;
        let started = std::time::Instant::now();
        let r1 = Router::start(&pair.r1, &rip("", ""))?;
        wait_until("every route in the FIB of r1", Duration::from_secs(30), || {
            // And the network behind the neighbour.
            let learned = r1.metric("millrace_rib_routes{protocol=\"rip\"}")?;
            Ok(f64::from(ROUTES + 1) <= learned && r1.is_synced()?)
        })?;
        let took = started.elapsed();
        assert_eq!(route(&r1, "20.39.15.0/24")?["installed"], true);
        for (name, router) in [("r1, which learns,", &r1), ("r2, which tells,", &r2)] {
            let cpu = router.metric("millrace_process_cpu_seconds_total{process=\"control\"}")?;
            let memory = router.metric("millrace_process_resident_memory_bytes{process=\"control\"}")?;
            println!("{name} after {took:?}: {cpu:.2} s CPU, {:.1} MiB", memory / 1048576.0);
        }
        assert!(took < Duration::from_secs(30), "{took:?}");
        Ok(())
    });
}
