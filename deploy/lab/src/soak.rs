//! TCP one way and UDP the other through one router for a while: no frame may be lost, and the rate must hold.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::topology::Line;
use crate::{Iperf, IperfResult, Lab, Router, config, wait_until};

/// What a soak of a router that does its work has shown.
#[derive(Clone, Debug)]
pub struct Soak {
    /// Client to server.
    pub tcp: IperfResult,
    /// Server to client.
    pub udp: IperfResult,
    /// Frames the workers have received.
    pub packets: u64,
}

/// Runs for `seconds`. A frame that is nowhere, a lost datagram or a rate that decays is an error.
pub fn run(lab: &Lab, seconds: u32) -> Result<Soak> {
    let line = Line::new(lab)?;
    let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
    let there = Iperf::new(&line.client, &line.server, Line::SERVER).seconds(seconds);
    // The datagrams find a receive buffer that outlasts a busy processor.
    let back = there.clone().udp("10M", 500).reverse().arg("-w2M");
    let (tcp, udp) = (there.start()?, back.start()?);
    let (tcp, udp) = (tcp.finish().context("TCP")?, udp.finish().context("UDP")?);

    let mut census = String::new();
    wait_until("every frame to be accounted for", Duration::from_secs(5), || {
        let counters = router.show("counters")?;
        census = counters["frames"].to_string();
        Ok(counters["frames"]["lost"] == 0 && counters["frames"]["tx"] == 0)
    })
    .with_context(|| census.clone())?;
    ensure!(udp.lost == 0, "{} of {} datagrams are lost", udp.lost, udp.datagrams);
    let third = tcp.seconds.len() / 3;
    let mean =
        |part: &[f64]| part.iter().sum::<f64>() / f64::from(u32::try_from(part.len().max(1)).unwrap_or(1));
    let (first, last) = (mean(&tcp.seconds[..third]), mean(&tcp.seconds[tcp.seconds.len() - third..]));
    ensure!(first / 3.0 < last, "the rate decayed from {:.0} to {:.0} Mbit/s", first / 1e6, last / 1e6);
    let interfaces = router.show("interfaces")?;
    let packets = interfaces.as_array().into_iter().flatten().filter_map(|i| i["rx_packets"].as_u64()).sum();
    Ok(Soak { tcp, udp, packets })
}
