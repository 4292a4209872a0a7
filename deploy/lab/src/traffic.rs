//! The operator's tools and what they say: ping, traceroute, iperf3.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Node, Process};

/// Time a tool gets beyond what its own settings ask for.
const GRACE: Duration = Duration::from_secs(20);

/// `ping`, by default three requests at 50 ms.
#[derive(Clone, Debug)]
pub struct Ping {
    from: Node,
    to: String,
    count: u32,
    interval: Duration,
    args: Vec<String>,
}

impl Ping {
    pub fn new(from: &Node, to: &str) -> Self {
        Self {
            from: from.clone(),
            to: to.to_owned(),
            count: 3,
            interval: Duration::from_millis(50),
            args: vec![],
        }
    }

    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// ICMP payload bytes; the packet is 28 longer.
    pub fn size(self, payload: u16) -> Self {
        self.arg(format!("-s{payload}"))
    }

    /// DF set, or clear. With DF set, ping keeps to a path MTU it has been told.
    pub fn dont_fragment(self, set: bool) -> Self {
        self.arg(if set { "-Mdo" } else { "-Mdont" })
    }

    pub fn ttl(self, ttl: u8) -> Self {
        self.arg(format!("-t{ttl}"))
    }

    /// Any other argument of ping.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// In the background; [`PingResult::parse`] reads its output.
    pub fn spawn(&self) -> Result<Process> {
        let fixed =
            ["-n", "-W1", "-c", &self.count.to_string(), "-i", &self.interval.as_secs_f64().to_string()]
                .map(str::to_owned);
        let args = fixed.iter().chain(&self.args).chain([&self.to]);
        self.from.spawn("ping", args)
    }

    /// To its end, whatever comes back.
    pub fn run(&self) -> Result<PingResult> {
        let mut ping = self.spawn()?;
        self.finish(&mut ping)
    }

    /// Waits for a spawned ping.
    pub fn finish(&self, ping: &mut Process) -> Result<PingResult> {
        ping.wait(self.interval * self.count + GRACE)?;
        PingResult::parse(&ping.out()).with_context(|| ping.err())
    }
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct PingResult {
    pub sent: u32,
    pub received: u32,
    /// Round trip, mean, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// What came back in place of a reply: from whom, and ping's words for it.
    pub errors: Vec<(Ipv4Addr, String)>,
}

impl PingResult {
    pub fn parse(text: &str) -> Result<Self> {
        let mut result = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("From ")
                && let Some((from, rest)) = rest.split_once(" icmp_seq=")
                && let Some((_, words)) = rest.split_once(' ')
            {
                result.errors.push((from.parse()?, words.to_owned()));
            } else if let Some((sent, rest)) = line.split_once(" packets transmitted, ") {
                result.sent = sent.parse()?;
                result.received = rest.split(' ').next().unwrap_or_default().parse()?;
            } else if let Some(rest) = line.strip_prefix("rtt min/avg/max/mdev = ") {
                result.rtt_ms = rest.split('/').nth(1).and_then(|mean| mean.parse().ok());
            }
        }
        if result.sent == 0 {
            bail!("no summary in what ping said: {text}");
        }
        Ok(result)
    }

    pub fn lost(&self) -> u32 {
        self.sent.saturating_sub(self.received)
    }
}

/// `traceroute -n`, one probe a hop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traceroute {
    /// In order of distance; none where nobody answered.
    pub hops: Vec<Option<Ipv4Addr>>,
    /// As the tool printed it.
    pub text: String,
}

impl Traceroute {
    /// UDP probes, or with `["-I"]` or `["-T"]` ICMP or TCP ones.
    pub fn run(from: &Node, to: &str, args: &[&str]) -> Result<Self> {
        let fixed = ["-n", "-q1", "-w2", "-m8"];
        Self::parse(from.run("traceroute", fixed.iter().chain(args).chain([&to]))?)
    }

    pub fn parse(text: String) -> Result<Self> {
        let mut hops = Vec::new();
        for line in text.lines().skip(1) {
            let mut words = line.split_whitespace();
            let (Some(_), Some(who)) = (words.next(), words.next()) else { continue };
            hops.push(match who {
                "*" => None,
                address => Some(address.parse().with_context(|| format!("in the traceroute line {line:?}"))?),
            });
        }
        Ok(Self { hops, text })
    }
}

/// `iperf3`, one TCP stream from client to server for two seconds unless told otherwise.
#[derive(Clone, Debug)]
pub struct Iperf {
    client: Node,
    server: Node,
    address: String,
    seconds: u32,
    args: Vec<String>,
}

/// So that several can run between the same nodes.
static PORT: AtomicU16 = AtomicU16::new(5201);

impl Iperf {
    /// `address` is the server's.
    pub fn new(client: &Node, server: &Node, address: &str) -> Self {
        Self {
            client: client.clone(),
            server: server.clone(),
            address: address.to_owned(),
            seconds: 2,
            args: vec![],
        }
    }

    pub fn seconds(mut self, seconds: u32) -> Self {
        self.seconds = seconds;
        self
    }

    /// From server to client.
    pub fn reverse(self) -> Self {
        self.arg("-R")
    }

    /// Datagrams with this many bytes of payload at this rate (`20M` bits a second).
    pub fn udp(self, rate: &str, payload: u16) -> Self {
        self.arg("-u").arg(format!("-b{rate}")).arg(format!("-l{payload}"))
    }

    /// Several streams at once, each its own flow.
    pub fn streams(self, count: u32) -> Self {
        self.arg(format!("-P{count}"))
    }

    /// Any other argument of the iperf3 client.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn start(&self) -> Result<IperfRun> {
        let port = PORT.fetch_add(1, Ordering::Relaxed).to_string();
        let mut server = self.server.spawn("iperf3", ["-s", "-1", "--forceflush", "-p", &port])?;
        server.wait_for_output("Server listening", GRACE)?;
        let seconds = self.seconds.to_string();
        let fixed = ["-J", "-c", &self.address, "-p", &port, "-t", &seconds].map(str::to_owned);
        let client = self.client.spawn("iperf3", fixed.iter().chain(&self.args))?;
        Ok(IperfRun { client, _server: server, deadline: Duration::from_secs(self.seconds.into()) + GRACE })
    }

    pub fn run(&self) -> Result<IperfResult> {
        self.start()?.finish()
    }
}

/// An iperf3 client and its server at work.
#[derive(Debug)]
pub struct IperfRun {
    client: Process,
    _server: Process,
    deadline: Duration,
}

impl IperfRun {
    pub fn is_running(&mut self) -> Result<bool> {
        self.client.is_running()
    }

    pub fn finish(mut self) -> Result<IperfResult> {
        self.client.wait(self.deadline)?;
        IperfResult::parse(&self.client.out())
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct IperfResult {
    /// What arrived, in bits a second.
    pub bits_per_second: f64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// TCP segments sent again; 0 for UDP.
    pub retransmits: u64,
    /// UDP datagrams; 0 for TCP.
    pub datagrams: u64,
    /// UDP datagrams that did not arrive.
    pub lost: u64,
    /// Bits a second in each second of the run.
    pub seconds: Vec<f64>,
}

impl IperfResult {
    /// Reads `iperf3 -J`.
    pub fn parse(text: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(text).with_context(|| format!("not iperf3 -J: {text}"))?;
        if let Some(error) = report["error"].as_str() {
            bail!("iperf3: {error}");
        }
        let end = &report["end"];
        let (sent, received) = (&end["sum_sent"], &end["sum_received"]);
        Ok(Self {
            bits_per_second: received["bits_per_second"].as_f64().context("no rate in iperf3's report")?,
            sent_bytes: sent["bytes"].as_u64().context("no count in iperf3's report")?,
            received_bytes: received["bytes"].as_u64().context("no count in iperf3's report")?,
            retransmits: sent["retransmits"].as_u64().unwrap_or(0),
            datagrams: end["sum"]["packets"].as_u64().unwrap_or(0),
            lost: end["sum"]["lost_packets"].as_u64().unwrap_or(0),
            seconds: report["intervals"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|second| second["sum"]["bits_per_second"].as_f64())
                .collect(),
        })
    }

    pub fn mbits(&self) -> f64 {
        self.bits_per_second / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_says_what_came_back() {
        let answered = "PING 10.0.2.2 (10.0.2.2) 56(84) bytes of data.\n\
            64 bytes from 10.0.2.2: icmp_seq=1 ttl=63 time=0.493 ms\n\n\
            --- 10.0.2.2 ping statistics ---\n\
            3 packets transmitted, 2 received, 33.3333% packet loss, time 408ms\n\
            rtt min/avg/max/mdev = 0.067/0.210/0.493/0.200 ms\n";
        let result = PingResult::parse(answered).unwrap();
        assert_eq!((result.sent, result.received, result.lost(), result.rtt_ms), (3, 2, 1, Some(0.210)));
        let refused = "PING 10.9.0.1 (10.9.0.1) 1472(1500) bytes of data.\n\
            From 10.0.1.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)\n\n\
            --- 10.9.0.1 ping statistics ---\n\
            1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms\n";
        let result = PingResult::parse(refused).unwrap();
        let from: Ipv4Addr = "10.0.1.1".parse().unwrap();
        assert_eq!(result.errors, [(from, "Frag needed and DF set (mtu = 1400)".to_owned())]);
        assert!(PingResult::parse("ping: connect: Network is unreachable\n").is_err());
    }

    #[test]
    fn traceroute_gives_one_hop_a_line() {
        let text = "traceroute to 10.0.3.2 (10.0.3.2), 8 hops max, 60 byte packets\n 1  10.0.1.1  0.094 ms\n 2  *\n 3  10.0.3.2  0.2 ms !H\n";
        let trace = Traceroute::parse(text.to_owned()).unwrap();
        assert_eq!(trace.hops, [Some([10, 0, 1, 1].into()), None, Some([10, 0, 3, 2].into())]);
    }

    #[test]
    fn iperf3_reports_an_error_or_what_arrived() {
        let error = IperfResult::parse(r#"{"end":{},"error":"unable to connect to server"}"#).unwrap_err();
        assert_eq!(error.to_string(), "iperf3: unable to connect to server");
        let udp = r#"{"intervals":[{"sum":{"bits_per_second":15520.5}}],"end":{"sum":{"packets":100,"lost_packets":3},"sum_sent":{"bytes":2000},
            "sum_received":{"bytes":1940,"bits_per_second":15520.0}}}"#;
        let result = IperfResult::parse(udp).unwrap();
        assert_eq!((result.datagrams, result.lost, result.received_bytes), (100, 3, 1940));
        assert_eq!(result.seconds, [15520.5]);
    }
}
