//! Every lost frame has a reason one can see: in the router's own counters, the kernel's of its devices, or the receiver's.

use std::time::Duration;

use anyhow::{Context, Result};
use millrace_lab::topology::Line;
use millrace_lab::{Iperf, Node, Router, config, test, wait_until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(10);

/// A counter of `Udp:` in /proc/net/snmp.
fn udp(node: &Node, name: &str) -> Result<u64> {
    let text = node.run("cat", ["/proc/net/snmp"])?;
    let mut lines = text.lines().filter(|line| line.starts_with("Udp: "));
    let (names, values) = (lines.next().context("no Udp:")?, lines.next().context("no values")?);
    let at = names.split(' ').position(|word| word == name).context("no such counter")?;
    Ok(values.split(' ').nth(at).context("no value")?.parse()?)
}

/// Frames an interface gave its peer.
fn sent(node: &Node, interface: &str) -> Result<u64> {
    Ok(node.packets(interface)?.1)
}

/// Redirected to the workers from `lan`; received by them; sent by them to `wan`; dropped before and after them.
fn router(router: &Router) -> Result<[u64; 5]> {
    let interfaces = router.show("interfaces")?;
    let of = |name: &str| {
        let found = interfaces.as_array().into_iter().flatten().find(|i| i["name"] == name).cloned();
        found.context("no such interface")
    };
    let (lan, wan) = (of("lan")?, of("wan")?);
    let number = |value: &Value| value.as_u64().context("no number");
    let (mut before, mut after) = (0, 0);
    for row in router.show("drops")?.as_array().into_iter().flatten() {
        let reason = row["reason"].as_str().unwrap_or_default();
        let never_received = ["rx-ring-full", "no-buffer", "rx-refused"].contains(&reason);
        *(if never_received { &mut before } else { &mut after }) += number(&row["packets"])?;
    }
    let redirected = number(&lan["xdp_outcomes"]["redirected"])?;
    Ok([redirected, number(&lan["rx_packets"])?, number(&wan["tx_packets"])?, before, after])
}

/// More than two processors can carry, into a receive buffer that is too small, with as few packet buffers as can be:
/// what is lost, is lost in several places.
#[test]
fn a_flood_loses_nothing_without_a_reason() {
    test(|lab| {
        let line = Line::new(lab)?;
        let config = config(&["lan", "wan"], "").replace("frames = 4096", "frames = 1024");
        let millrace = Router::start(&line.router, &config)?;
        let flood = Iperf::new(&line.client, &line.server, Line::SERVER).udp("0", 18).arg("-w16K");
        let result = flood.seconds(2).run()?;
        assert!(1000 < result.datagrams, "{result:?}");

        // Each hop has what the one before sent, less what is counted as lost between them.
        let mut seen = String::new();
        wait_until("the books to agree", SOON, || {
            let into = sent(&line.client, "eth0")?;
            let lan = line.router.packets("lan")?.0;
            let [redirected, received, forwarded, before, after] = router(&millrace)?;
            let wan = sent(&line.router, "wan")?;
            let arrived = line.server.packets("eth0")?.0;
            let datagrams = udp(&line.server, "InDatagrams")?;
            let overflowed = udp(&line.server, "RcvbufErrors")?;
            // What is still on its way when iperf3 closes its socket.
            let late = udp(&line.server, "NoPorts")?;
            seen = format!(
                "client sent {into}, lan {lan}, redirected {redirected}, received {received}, forwarded {forwarded}, lost \
                 before {before} and after {after}, wan sent {wan}, server {arrived}, datagrams {datagrams} and {overflowed} \
                 beyond its buffer and {late} too late; {result:?}"
            );
            // A few frames are the kernels' own: ARP.
            let few = |more: u64, less: u64| more.checked_sub(less).is_some_and(|own| own < 20);
            Ok(into == lan
                && few(lan, redirected)
                && redirected == received + before
                && received == forwarded + after
                && few(wan, forwarded)
                && wan == arrived
                && few(datagrams + overflowed + late + after + before, result.datagrams))
        })
        .context(seen)
    });
}
