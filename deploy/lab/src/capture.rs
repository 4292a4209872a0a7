//! What passes an interface: dumpcap writes it down, tshark says what it is, checksums verified.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::process::run;
use crate::{Node, Process, wait_until};

const DEADLINE: Duration = Duration::from_secs(10);

/// A capture under way.
#[derive(Debug)]
pub struct Capture {
    dumpcap: Process,
    file: PathBuf,
}

impl Capture {
    /// Captures what `filter` (pcap-filter(7)) lets through; returns when packets are really being taken.
    pub fn start(node: &Node, interface: &str, filter: &str) -> Result<Self> {
        let n = fs::read_dir(node.dir())?.count();
        let file = node.dir().join(format!("{n:02}-{interface}.pcap"));
        let args = ["-q", "-P", "-i", interface, "-f", filter, "-w"].map(PathBuf::from);
        let mut dumpcap = node.spawn("dumpcap", args.iter().chain([&file]))?;
        // dumpcap names its file once the socket is open and filtered.
        dumpcap.wait_for_output("File: ", DEADLINE)?;
        Ok(Self { dumpcap, file })
    }

    /// How many packets have been written down so far.
    pub fn count(&self) -> usize {
        count(&fs::read(&self.file).unwrap_or_default())
    }

    /// Ends the capture as soon as `at_least` packets are in it.
    pub fn stop(mut self, at_least: usize) -> Result<Packets> {
        let what = format!("{at_least} packets in {}", self.file.display());
        wait_until(&what, DEADLINE, || Ok(at_least <= self.count()))
            .with_context(|| format!("{} packets were seen", self.count()))?;
        self.dumpcap.signal(Signal::INT)?;
        self.dumpcap.wait(DEADLINE)?;
        Ok(Packets { file: self.file })
    }
}

/// A finished capture.
#[derive(Debug)]
pub struct Packets {
    file: PathBuf,
}

/// Field values of one packet, by tshark's field names. A field that occurs twice (as in the packet quoted by an
/// ICMP error) has its values in order, separated by commas.
pub type Fields = BTreeMap<String, String>;

impl Packets {
    /// These fields of every packet that `filter` (a display filter; empty for all) selects.
    pub fn fields(&self, filter: &str, names: &[&str]) -> Result<Vec<Fields>> {
        let mut command = tshark(&self.file);
        command.args(["-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]);
        command.args(names.iter().flat_map(|name| ["-e", name]));
        if !filter.is_empty() {
            command.args(["-Y", filter]);
        }
        let table = run(&mut command)?;
        Ok(table
            .lines()
            .map(|line| {
                names.iter().map(|n| (*n).to_owned()).zip(line.split('\t').map(str::to_owned)).collect()
            })
            .collect())
    }

    /// How many packets `filter` selects.
    pub fn matching(&self, filter: &str) -> Result<usize> {
        Ok(self.fields(filter, &["frame.number"])?.len())
    }

    /// Fails on the first packet of `filter` with a bad checksum, a length that is not the packet's, or anything
    /// else tshark calls malformed. Gives how many packets were looked at.
    pub fn assert_sound(&self, filter: &str) -> Result<usize> {
        // "Bad" is status 0. Fragments have checksums nobody can check before they are put together: tshark does.
        let bad = "ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0 \
            or icmp.checksum.status == 0 or _ws.malformed or ip.bogus_ip_length or ip.bogus_header_length \
            or udp.length.bad or tcp.bogus_header_length or ip.fragment.error or ip.fragment.overlap";
        let all = if filter.is_empty() { "frame".to_owned() } else { format!("({filter})") };
        let names = [
            "frame.number",
            "_ws.col.Info",
            "ip.checksum.status",
            "tcp.checksum.status",
            "udp.checksum.status",
            "icmp.checksum.status",
        ];
        let found = self.fields(&format!("{all} and ({bad})"), &names)?;
        ensure!(found.is_empty(), "{} packets are not sound, the first: {:?}", found.len(), found[0]);
        let packets = self.fields(&format!("{all} and ip"), &["frame.number", "frame.len", "ip.len"])?;
        for packet in &packets {
            let number = |name: &str| packet[name].split(',').next().and_then(|v| v.parse::<usize>().ok());
            let (frame, ip) = (number("frame.len"), number("ip.len"));
            let (Some(frame), Some(ip)) = (frame, ip) else { continue };
            ensure!(frame == (14 + ip).max(frame.min(60)), "packet {packet:?} has bytes beyond its length");
        }
        Ok(packets.len())
    }
}

fn tshark(file: &Path) -> Command {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).arg("-n");
    for setting in ["ip.check_checksum", "tcp.check_checksum", "udp.check_checksum", "ip.defragment"] {
        command.args(["-o", &format!("{setting}:TRUE")]);
    }
    command
}

/// Whole packets in a pcap file that may be still growing (pcap-savefile(5)).
fn count(file: &[u8]) -> usize {
    let mut rest = file.get(24..).unwrap_or_default();
    let mut packets = 0;
    while let Some(header) = rest.first_chunk::<16>() {
        let Some(length) = header[8..12].try_into().ok().map(u32::from_ne_bytes) else { break };
        let Some(after) = rest.get(16 + length as usize..) else { break };
        rest = after;
        packets += 1;
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_packets_count() {
        let mut file = vec![0; 24];
        for length in [60_u32, 1514] {
            file.extend([0; 8]);
            file.extend(length.to_ne_bytes());
            file.extend(length.to_ne_bytes());
            file.resize(file.len() + length as usize, 0);
        }
        let cases =
            [(0, 0), (23, 0), (24, 0), (99, 0), (100, 1), (116, 1), (file.len() - 1, 1), (file.len(), 2)];
        for (length, packets) in cases {
            assert_eq!(count(&file[..length]), packets, "{length} bytes");
        }
    }
}
