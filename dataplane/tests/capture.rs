//! `millrace capture` and `millrace trace`: what they write is what passed, and tshark reads it.

use std::time::Duration;

use anyhow::{Context, Result};
use millrace_lab::topology::Line;
use millrace_lab::{Node, Ping, Process, Router, config, millrace, test, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// `millrace …` of this router, in the background.
fn start(node: &Node, router: &Router, words: &[&str]) -> Result<Process> {
    let dir = router.run_dir().display().to_string();
    let program = millrace()?.display().to_string();
    node.spawn(&program, ["--run-dir", &dir].iter().chain(words))
}

/// Until the router says that it captures.
fn wait_begun(router: &Router, number: usize) -> Result<()> {
    wait_until(
        "the capture to begin",
        SOON,
        || Ok(number <= router.log().matches("a capture begins").count()),
    )
}

/// Point and interface of every packet of a file, and its comment, as tshark has them.
fn decoded(node: &Node, file: &str, fields: &[&str]) -> Result<Vec<String>> {
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let text = node.run("tshark", ["-n", "-r", file, "-T", "fields"].into_iter().chain(fields))?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[test]
fn a_capture_is_read_by_tshark_with_interfaces_directions_and_reasons() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        let file = line.router.dir().join("all.pcapng").display().to_string();
        let mut capture = start(
            &line.router,
            &router,
            &["capture", "-w", &file, "--count", "5", "icmp", "and", "greater", "242"],
        )?;
        wait_begun(&router, 1)?;
        // Request in and out, reply in and out; and one whose time is up. Others are too short.
        assert_eq!(Ping::new(&line.client, Line::SERVER).count(2).run()?.received, 2);
        assert_eq!(Ping::new(&line.client, Line::SERVER).count(1).size(200).run()?.received, 1);
        Ping::new(&line.client, Line::SERVER).count(1).size(200).ttl(1).run()?;
        capture.wait(SOON)?;
        let fields =
            ["frame.interface_name", "frame.packet_flags_direction", "frame.comment", "icmp.type", "ip.ttl"];
        let seen = decoded(&line.router, &file, &fields)?;
        let expected = [
            "lan\t0x00000001\trx\t8\t64",
            "wan\t0x00000002\ttx\t8\t63",
            "wan\t0x00000001\trx\t0\t64",
            "lan\t0x00000002\ttx\t0\t63",
            "lan\t0x00000001\trx\t8\t1",
        ];
        assert_eq!(seen, expected, "{}", capture.err());

        // Copies go back to where frames come from.
        wait_until("every frame to be accounted for", SOON, || {
            Ok(router.show("counters")?["frames"]["lost"] == 0)
        })?;

        let file = line.router.dir().join("drops.pcapng").display().to_string();
        let mut capture = start(
            &line.router,
            &router,
            &[
                "capture",
                "-i",
                "lan",
                "--point",
                "drop",
                "-w",
                &file,
                "-c",
                "2",
                "host",
                "198.51.100.9 or icmp",
            ],
        )?;
        wait_begun(&router, 2)?;
        Ping::new(&line.client, Line::SERVER).count(1).ttl(1).run()?;
        Ping::new(&line.client, "198.51.100.9").count(1).run()?;
        capture.wait(SOON)?;
        let seen = decoded(&line.router, &file, &["frame.comment", "ip.dst"])?;
        assert_eq!(seen, ["drop: ttl-exceeded\t10.0.2.2", "drop: no-route\t198.51.100.9"]);
        Ok(())
    });
}

#[test]
fn a_trace_follows_a_packet() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        let mut trace =
            start(&line.router, &router, &["trace", "--count", "4", "--json", "src host 10.0.1.2 and icmp"])?;
        wait_begun(&router, 1)?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).count(1).run()?.received, 1);
        Ping::new(&line.client, "198.51.100.9").count(1).run()?;
        trace.wait(SOON)?;
        let seen =
            trace.out().lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
        let told: Vec<_> = seen
            .iter()
            .map(|packet| {
                let text = |key: &str| packet[key].as_str().unwrap_or("-").to_owned();
                format!("{} {} {} {}", packet["trace"], text("point"), text("interface"), text("reason"))
            })
            .collect();
        let verdicts: Vec<_> = seen.iter().filter_map(|packet| packet["verdict"].as_str()).collect();
        // The echo request and what became of it; then one that has no route, and the answer to it.
        assert_eq!(
            told,
            ["1 rx lan -", "1 tx wan -", "1 verdict lan -", "2 rx lan -", "2 drop lan no-route",],
            "{}",
            trace.err()
        );
        assert_eq!(verdicts, ["tx"]);
        Ok(())
    });
}

#[test]
fn wrong_captures_are_refused_in_a_sentence() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        for (words, code, expected) in [
            (&["capture", "hots", "10.0.0.1"][..], 2, "\"hots\" in the filter"),
            (&["capture", "-i", "nope"], 1, "nope is not one of the router's interfaces"),
            (&["trace", "("], 2, "the filter ends where"),
        ] {
            let mut process = start(&line.router, &router, words)?;
            let status = process.wait(SOON)?;
            assert_eq!(status.code(), Some(code), "{words:?}: {}", process.err());
            assert!(process.err().contains(expected), "{words:?}: {}", process.err());
        }
        let _first = start(&line.router, &router, &["capture", "udp"])?;
        wait_begun(&router, 1)?;
        let mut second = start(&line.router, &router, &["capture", "udp"])?;
        assert_eq!(second.wait(SOON)?.code(), Some(1));
        assert!(second.err().contains("another capture is running"), "{}", second.err());
        drop(_first);
        // Nobody reads it any more: the next may begin.
        wait_until("the capture to end", SOON, || {
            let mut third = start(&line.router, &router, &["capture", "-c", "0", "udp"])?;
            Ok(third.wait(SOON)?.success())
        })
        .context("a capture without a reader goes on")
    });
}
