//! `millrace capture` and `millrace trace`: packets as the workers see them.
//!
//! tcpdump on a router's interface sees only what the XDP program leaves to the kernel; these see the rest.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use millrace_api::report::CapturedPacket;
use millrace_filter::Filter;

use super::client::Client;
use super::exit::{Error, Exit};
use super::out::Out;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Point {
    Rx,
    Tx,
    Drop,
}

impl Point {
    const fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
            Self::Drop => "drop",
        }
    }
}

/// Packets as they pass the workers. A filter is a subset of pcap-filter(7): host, net, port, portrange, proto, ip, icmp,
/// tcp, udp, arp, vlan, ether host, less, greater, and, or, not, ( ).
#[derive(Debug, Args)]
pub(super) struct Capture {
    /// Only of this interface
    #[arg(short, long, value_name = "IF")]
    interface: Option<String>,
    /// Received, sent or dropped packets; all three unless said otherwise
    #[arg(long, value_enum)]
    point: Vec<Point>,
    /// Write a pcapng file; `-` for standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
    /// End after so many packets
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Bytes of each packet, at most
    #[arg(short, long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=4096))]
    snap: Option<u32>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// As in `'udp and host 192.0.2.1'`
    filter: Vec<String>,
}

/// What becomes of packets that match the filter on arrival: received, decided, sent or dropped. Slows the workers
/// down: they take one packet at a time meanwhile.
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// Only what arrives on this interface
    #[arg(short, long, value_name = "IF")]
    interface: Option<String>,
    /// End after so many packets were seen, as they came and as they left
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// As in `'udp and host 192.0.2.1'`
    filter: Vec<String>,
}

impl Capture {
    pub(super) fn run(self, client: &Client, out: &mut Out) -> Result<Exit, Error> {
        let mut path = path(&self.filter, self.interface.as_deref(), self.count)?;
        if !self.point.is_empty() {
            let points: Vec<_> = self.point.iter().map(|point| point.name()).collect();
            path += &format!("&points={}", points.join(","));
        }
        if let Some(snap) = self.snap {
            path += &format!("&snap={snap}");
        }
        let Some(file) = self.write else { return lines(client, &path, self.json, out) };
        path += "&format=pcapng";
        if file.as_os_str() == "-" {
            client.each(&path, |bytes| {
                out.bytes(bytes)?;
                out.flush()
            })?;
            return Ok(Exit::Done);
        }
        let failed =
            |error: std::io::Error| Error::Failed(format!("{} cannot be written: {error}", file.display()));
        // Only when the router has said that it captures: a refusal leaves what is there.
        let mut opened = None;
        client.each(&path, |bytes| {
            let opened = match &mut opened {
                Some(opened) => opened,
                None => opened.insert(std::fs::File::create(&file).map_err(failed)?),
            };
            opened.write_all(bytes).map_err(failed)
        })?;
        Ok(Exit::Done)
    }
}

impl Trace {
    pub(super) fn run(self, client: &Client, out: &mut Out) -> Result<Exit, Error> {
        let path = path(&self.filter, self.interface.as_deref(), self.count)? + "&trace=true";
        lines(client, &path, self.json, out)
    }
}

/// A filter that is wrong is wrong usage, and needs no router to say so.
fn path(filter: &[String], interface: Option<&str>, count: Option<u64>) -> Result<String, Error> {
    let filter = filter.join(" ");
    filter.parse::<Filter>().map_err(|error| Error::Usage(error.to_string()))?;
    let mut path = format!("/api/v1/capture?filter={}", escaped(&filter));
    if let Some(interface) = interface {
        path += &format!("&interface={}", escaped(interface));
    }
    if let Some(count) = count {
        path += &format!("&count={count}");
    }
    Ok(path)
}

/// Percent-encoded (RFC 3986 §2.1): all but unreserved characters.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn lines(client: &Client, path: &str, json: bool, out: &mut Out) -> Result<Exit, Error> {
    let mut waiting = Vec::new();
    client.each(&format!("{path}&format=json"), |bytes| {
        if json {
            out.bytes(bytes)?;
            return out.flush();
        }
        waiting.extend_from_slice(bytes);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            let packet: CapturedPacket = super::client::parse(&line)?;
            out.line(line_of(&packet))?;
        }
        out.flush()
    })?;
    Ok(Exit::Done)
}

/// As `15:04:05.123456 rx lan: 10.0.1.2.5000 > 10.0.2.2.53 udp, ttl 64, 60 bytes`.
fn line_of(packet: &CapturedPacket) -> String {
    let micros = packet.time / 1000;
    let seconds = micros / 1_000_000 % 86_400;
    let mut line = format!(
        "{:02}:{:02}:{:02}.{:06}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000
    );
    if packet.trace != 0 {
        line += &format!(" #{}", packet.trace);
    }
    if let Some(verdict) = &packet.verdict {
        return format!("{line} verdict {verdict}");
    }
    line += &format!(" {} {}: ", packet.point, packet.interface.as_deref().unwrap_or("-"));
    line += &described(&packet.bytes);
    line += &format!(", {} bytes", packet.len);
    if let Some(reason) = &packet.reason {
        line += &format!(" [{reason}]");
    }
    line
}

/// The IPv4 packet in a frame, in a few words.
fn described(frame: &[u8]) -> String {
    let word = |at: usize| frame.get(at..at + 2).map(|two| u16::from(two[0]) << 8 | u16::from(two[1]));
    let (mut at, mut tags) = (12, String::new());
    while let Some(0x8100 | 0x88a8) = word(at) {
        tags += &format!("vlan {} ", word(at + 2).unwrap_or(0) & 0x0fff);
        at += 4;
    }
    let Some(header) = frame.get(at + 2..at + 22).filter(|_| word(at) == Some(0x0800)) else {
        return format!("{tags}type {:#06x}", word(at).unwrap_or(0));
    };
    let address =
        |from: usize| Ipv4Addr::new(header[from], header[from + 1], header[from + 2], header[from + 3]);
    let payload = at + 2 + usize::from(header[0] & 0x0f) * 4;
    let first = u16::from(header[6]) << 8 | u16::from(header[7]);
    let ports = if first & 0x1fff == 0 { word(payload).zip(word(payload + 2)) } else { None };
    let name = match header[9] {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => format!("proto {other}"),
    };
    let (source, destination) = (address(12), address(16));
    let ends = match ports.filter(|_| matches!(header[9], 6 | 17)) {
        Some((from, to)) => format!("{source}.{from} > {destination}.{to}"),
        None => format!("{source} > {destination}"),
    };
    let kind = if header[9] == 1 && first & 0x1fff == 0 {
        frame.get(payload..payload + 2).map_or(String::new(), |kind| format!(" {}/{}", kind[0], kind[1]))
    } else {
        String::new()
    };
    format!("{tags}{ends} {name}{kind}, ttl {}", header[8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_in_one_line() {
        let bytes = [
            &[0; 12][..],
            &[8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 63, 17, 0, 0, 10, 0, 1, 2, 10, 0, 2, 2],
            &[0x13, 0x88, 0, 53, 0, 8, 0, 0],
        ]
        .concat();
        let packet = CapturedPacket {
            time: (15 * 3600 + 4 * 60 + 5) * 1_000_000_000 + 123_456_789,
            interface: Some("lan".to_owned()),
            point: "drop".to_owned(),
            reason: Some("no-route".to_owned()),
            verdict: None,
            trace: 0,
            len: 60,
            bytes,
        };
        assert_eq!(
            line_of(&packet),
            "15:04:05.123456 drop lan: 10.0.1.2.5000 > 10.0.2.2.53 udp, ttl 63, 60 bytes [no-route]"
        );
        let verdict = CapturedPacket { verdict: Some("tx".to_owned()), trace: 9, ..packet.clone() };
        assert_eq!(line_of(&verdict), "15:04:05.123456 #9 verdict tx");
        for cut in 0..packet.bytes.len() {
            assert!(!described(&packet.bytes[..cut]).is_empty());
        }
        assert_eq!(escaped("udp and (host 10.0.0.1)"), "udp%20and%20%28host%2010.0.0.1%29");
    }
}
