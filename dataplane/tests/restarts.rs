//! kill -9 of either process under traffic.

use std::time::Duration;

use anyhow::Result;
use millrace_lab::topology::Line;
use millrace_lab::{Capture, Child, Node, Ping, Router, config, test, wait_until};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(20);
/// Behind the server, so that the way there is a static route.
const BEHIND: &str = "10.9.9.1";
const STATIC: &str = "[[static]]\nprefix = \"10.9.9.0/24\"\nvia = [\"10.0.2.2\"]\n";

fn line(lab: &millrace_lab::Lab) -> Result<Line> {
    let line = Line::new(lab)?;
    line.server.ip("address add 10.9.9.1/32 dev lo")?;
    Ok(line)
}

/// 500 requests a second for this many seconds.
fn stream(from: &Node, seconds: u32) -> Ping {
    Ping::new(from, BEHIND).count(500 * seconds).interval(Duration::from_millis(2)).arg("-q")
}

fn xdp_is_attached(node: &Node, interface: &str) -> Result<bool> {
    Ok(node.ip(&format!("link show dev {interface}"))?.contains("xdp"))
}

#[test]
fn killing_control_loses_nothing_and_neither_does_its_return() {
    test(|lab| {
        let line = line(lab)?;
        let mut router = Router::start(&line.router, &config(&["lan", "wan"], STATIC))?;
        let stream = stream(&line.client, 5);
        let mut traffic = stream.spawn()?;
        let (control, dataplane) = (router.pid(Child::Control)?, router.pid(Child::Dataplane)?);
        router.kill(Child::Control)?;
        router.wait_successor(Child::Control, control)?;
        router.wait_ready()?;
        wait_until("the static route to be shown again", SOON, || {
            Ok(router.show(&format!("fib {BEHIND}"))?["answer"]["prefix"] == "10.9.9.0/24")
        })?;
        assert!(traffic.is_running()?, "the traffic went on through the return");
        let result = stream.finish(&mut traffic)?;
        assert_eq!(result.lost(), 0, "{result:?}");
        assert_eq!(router.pid(Child::Dataplane)?, dataplane, "the dataplane was not touched");
        Ok(())
    });
}

#[test]
fn without_control_neighbours_are_still_resolved() {
    test(|lab| {
        let line = line(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], STATIC))?;
        // The supervisor is asleep: control stays away.
        router.signal(Signal::STOP)?;
        router.kill(Child::Control)?;
        line.server.ip("address add 10.0.2.60/24 dev eth0")?;
        assert_eq!(Ping::new(&line.client, "10.0.2.60").run()?.received, 3);
        router.signal(Signal::CONT)
    });
}

#[test]
fn killing_the_dataplane_leaves_forwarding_to_the_kernel_until_it_is_back() {
    test(|lab| {
        let line = line(lab)?;
        let mut router = Router::start(&line.router, &config(&["lan", "wan"], STATIC))?;
        wait_until("the kernel to have the static route", SOON, || {
            Ok(line.router.ip("route show")?.contains("10.9.9.0/24 via 10.0.2.2"))
        })?;
        router.signal(Signal::STOP)?;
        let dead = router.kill(Child::Dataplane)?;
        wait_until("XDP to be gone", SOON, || Ok(!xdp_is_attached(&line.router, "lan")?))?;
        assert_eq!(Ping::new(&line.client, BEHIND).count(20).run()?.lost(), 0, "the kernel forwards");
        router.signal(Signal::CONT)?;
        router.wait_successor(Child::Dataplane, dead)?;
        wait_until("XDP to be back", SOON, || xdp_is_attached(&line.router, "lan"))?;
        router.wait_ready()?;
        assert_eq!(Ping::new(&line.client, BEHIND).count(20).run()?.lost(), 0, "the workers forward");
        assert!(40 <= router.count("xdp", "redirected")?, "{}", router.show("counters")?);
        Ok(())
    });
}

#[test]
fn on_failure_drop_does_not_leak() {
    test(|lab| {
        let line = line(lab)?;
        let closed = config(
            &["lan"],
            &format!("on-failure = \"drop\"\n[[interface]]\nname = \"wan\"\non-failure = \"drop\"\n{STATIC}"),
        );
        let mut router = Router::start(&line.router, &closed)?;
        assert_eq!(Ping::new(&line.client, BEHIND).run()?.received, 3);
        router.signal(Signal::STOP)?;
        let dead = router.kill(Child::Dataplane)?;
        wait_until("XDP to be gone", SOON, || Ok(!xdp_is_attached(&line.router, "lan")?))?;
        let leaked = Capture::start(&line.server, "eth0", "icmp and src host 10.0.1.2")?;
        assert_eq!(Ping::new(&line.client, BEHIND).count(10).run()?.received, 0);
        assert_eq!(leaked.count(), 0, "packets leaked through the kernel");
        assert_eq!(Ping::new(&line.client, Line::LAN).run()?.received, 3, "the router itself can be reached");
        router.signal(Signal::CONT)?;
        router.wait_successor(Child::Dataplane, dead)?;
        router.wait_ready()?;
        wait_until("forwarding again", SOON, || {
            Ok(Ping::new(&line.client, BEHIND).count(1).run()?.received == 1)
        })
    });
}

#[test]
fn a_stop_takes_the_program_and_the_sockets_and_leaves_forwarding_to_the_kernel() {
    test(|lab| {
        let line = line(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], STATIC))?;
        wait_until("the kernel to have the static route", SOON, || {
            Ok(line.router.ip("route show")?.contains("10.9.9.0/24"))
        })?;
        let run_dir = router.run_dir().to_owned();
        router.stop()?;
        assert!(!xdp_is_attached(&line.router, "lan")?, "the program went with the process");
        let left = std::fs::read_dir(&run_dir)?.flatten().map(|entry| entry.file_name());
        let sockets: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".sock")).collect();
        assert!(sockets.is_empty(), "{sockets:?} in {}", run_dir.display());
        // The mirrored routes stay, so that a stop is no more than a failure: the kernel forwards.
        assert_eq!(Ping::new(&line.client, BEHIND).run()?.received, 3);
        Ok(())
    });
}
