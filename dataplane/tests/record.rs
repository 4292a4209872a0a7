//! A recording of a live router, played again, comes to the same table.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_lab::peers::{Bird, test};
use millrace_lab::{Router, config, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// The one recording of this protocol.
fn recording(directory: &Path, protocol: &str) -> Result<std::path::PathBuf> {
    let files = std::fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = files.filter(|path| name(path).starts_with(protocol));
    let first = found.next().with_context(|| format!("no recording of {protocol}"))?;
    ensure!(found.next().is_none(), "several recordings of {protocol}");
    Ok(first)
}

#[test]
fn a_recorded_run_replays_to_the_same_table() {
    test(|lab| {
        let (node, peer) = (lab.node("router")?, lab.node("peer")?);
        lab.link(node.end("l0", "10.0.0.1/24"), peer.end("l0", "10.0.0.2/24"))?;
        let routes: String = (0..50).map(|n| format!("route 198.51.{n}.0/24 blackhole;\n")).collect();
        let bird = |routes: &str| {
            format!(
                "router id 10.0.0.2;\nprotocol static {{ ipv4;\n{routes}}}\nprotocol rip {{ ipv4 {{ import all; export all; }}; \
                 interface \"l0\" {{ update time 1; timeout time 5; }}; }}\n"
            )
        };
        let peer = Bird::start(&peer, &bird(&routes))?;
        let directory = node.dir().join("recordings");
        let text = config(
            &["l0"],
            "[rip]\nupdate = 1\ntimeout = 5\ngarbage = 2\n[[rip.interface]]\nname = \"l0\"\n",
        );
        let router = Router::launch_with(&node, "millrace", &text, &[("MILLRACE_RECORD", &directory)])?;
        let learned = || -> Result<Vec<String>> {
            let routes = router.show("routes --protocol rip")?;
            let routes = routes.as_array().context("no list of routes")?;
            Ok(routes.iter().filter_map(|route| Some(route["prefix"].as_str()?.to_owned())).collect())
        };
        let has = |count: usize| {
            move || -> Result<bool> { Ok(learned().is_ok_and(|routes| routes.len() == count)) }
        };
        wait_until("fifty routes", SOON, has(50))?;
        // Some go, so that the end is not all there ever was.
        peer.reconfigure(&bird(
            &routes.lines().take(30).map(|line| format!("{line}\n")).collect::<String>(),
        ))?;
        wait_until("thirty routes", SOON, has(30))?;
        let mut expected = learned()?;
        expected.sort();
        drop(router);

        let play = || -> Result<String> {
            let file = recording(&directory, "rip")?.display().to_string();
            let output =
                std::process::Command::new(millrace_lab::millrace()?).args(["replay", &file]).output()?;
            ensure!(output.status.success(), "replay: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?)
        };
        let played = play()?;
        let mut table: Vec<_> =
            played.lines().filter_map(|line| line.strip_prefix("route ")?.split(' ').next()).collect();
        table.sort();
        assert_eq!(table, expected);
        assert!(played.lines().any(|line| line.contains("Send(")), "what was sent is printed");
        assert_eq!(play()?, played, "the same every time");
        Ok(())
    });
}
