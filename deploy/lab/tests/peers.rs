//! The peer harness, proven with FRR and BIRD as each other's peer.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use millrace_lab::Node;
use millrace_lab::peers::{Bird, Frr, test, wait_gateways};

#[test]
fn two_strangers_speak_rip() {
    test(|lab| {
        let (frr_node, bird_node) = (lab.node("frr")?, lab.node("bird")?);
        lab.link(frr_node.end("eth0", "10.77.0.2/24"), bird_node.end("eth0", "10.77.0.1/24"))?;
        let frr = "ip route 192.0.2.0/24 blackhole\nrouter rip\n version 2\n timers basic 5 15 10\n network eth0\n redistribute static\n";
        let bird = "router id 10.77.0.1;\nprotocol static { ipv4; route 198.51.100.0/24 blackhole; }\n\
            protocol rip { ipv4 { import all; export all; }; interface \"eth0\" { update time 2; }; }\n";
        let frr = Frr::start(&frr_node, &["ripd"], frr)?;
        let bird = Bird::start(&bird_node, bird)?;
        let soon = Duration::from_secs(20);
        wait_gateways(&frr_node, "198.51.100.0/24", &["10.77.0.1"], soon)?;
        wait_gateways(&bird_node, "192.0.2.0/24", &["10.77.0.2"], soon)?;
        frr.wait("show ip route rip", soon, |routes| routes["198.51.100.0/24"][0]["installed"] == true)?;
        bird.wait("show route protocol rip1", "192.0.2.0/24", soon)?;
        let error = frr.configure("router rap\n").unwrap_err().to_string();
        assert!(error.contains("Unknown command"), "{error}");
        frr.kill();
        bird.kill();
        let left = processes(&frr_node)? + &processes(&bird_node)?;
        assert_eq!(left, "");
        Ok(())
    });
}

fn processes(node: &Node) -> Result<String> {
    let output = Command::new("ip").args(["netns", "pids", node.namespace()]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
