//! `explain`: what would become of a packet, as the engine itself decides. A dry run of the same stages over the tables
//! in force, with counters, buckets and hold queue of its own.

use std::net::Ipv4Addr;
use std::sync::Arc;

use millrace_engine::{
    CounterPage, Engine, EngineConfig, Explanation, Frame, Judgement, NatSide, Pool, Ports, Shell,
};
use millrace_net::wire::ethernet::{EtherType, Ethernet};
use millrace_net::wire::ipv4::{Fragment, Ipv4, Protocol};
use millrace_net::{Instant, Mac, PortId};

/// The number of no worker.
const NO_WORKER: usize = usize::MAX;
/// Room before and behind the packet, as a frame of a socket has.
const ROOM: usize = 512;
/// Headers and eight bytes: enough for ports, or an ICMP echo.
const PAYLOAD: usize = 20;
const IPV4: usize = 20;
const ETHERNET: usize = 14;

/// The packet asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) port: PortId,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    /// Source and destination port; of ICMP, type and code.
    pub(crate) ports: (u16, u16),
    /// Of the packet, in bytes; at least [`MIN_LEN`].
    pub(crate) len: u16,
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
}

/// The smallest packet that is asked about.
pub(crate) const MIN_LEN: u16 = 40;

/// What the stages said, and what they would have done.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) explanation: Explanation,
    /// Frames by the port they would have left by.
    pub(crate) sent: Vec<(PortId, usize)>,
    /// A neighbour that would have been asked for.
    pub(crate) resolve: Option<(PortId, Ipv4Addr)>,
    /// ICMP errors that would have been sent, by type/code.
    pub(crate) icmp: Option<&'static str>,
    /// It goes from a port inside NAT to one outside, or comes from outside: the answer is that of the packet untranslated.
    pub(crate) nat: bool,
}

/// Runs the stages over one packet.
pub(crate) fn explain(
    fib: millrace_fib::Reader<'_>,
    now: Instant,
    ports: &Ports,
    settings: millrace_engine::Settings,
    seed: u64,
    question: &Question,
) -> Answer {
    let mut config = EngineConfig::new(seed);
    config.settings = settings;
    config.worker = NO_WORKER;
    let counters = Arc::new(CounterPage::new());
    let mut engine = Engine::new(fib, Arc::clone(&counters), config);
    let sides = |port| ports.get(port).map_or(NatSide::Neither, |port| port.nat);
    let plain = ports.without_nat();
    let mut shell = Scribe::default();
    let mac = ports.get(question.port).map_or(Mac::ZERO, |port| port.mac);
    let frame = Buffer::new(&frame(question, mac));
    let explanation = engine.explain(now, &plain, (question.port, frame), &mut shell);
    let out = shell.sent.first().map_or(NatSide::Neither, |(port, _)| sides(*port));
    let icmp = millrace_engine::IcmpMessage::ALL.iter().find(|message| counters.icmp_sent(**message) != 0);
    Answer {
        explanation,
        sent: shell.sent,
        resolve: shell.resolve,
        icmp: icmp.map(|message| message.name()),
        nat: sides(question.port) == NatSide::Inside && out == NatSide::Outside
            || sides(question.port) == NatSide::Outside,
    }
}

/// The number of the rule that decided, from 1; 0 for the default.
pub(crate) fn rule(judgement: Judgement) -> u32 {
    judgement.rule.map_or(0, |rule| rule.0 + 1)
}

fn frame(question: &Question, mac: Mac) -> Vec<u8> {
    let len = question.len.max(MIN_LEN);
    let mut bytes = vec![0; ETHERNET + usize::from(len)];
    if let Ok((mut header, rest)) = Ethernet::split_mut(&mut bytes) {
        header.set_dst(mac);
        header.set_src(Mac([2, 0, 0, 0, 0, 1]));
        header.set_ethertype(EtherType::IPV4);
        if let Ok((mut ip, _)) = Ipv4::split_mut(rest) {
            ip.set_header_len(20);
            ip.set_total_len(len);
            ip.set_fragment(if question.dont_fragment { Fragment(0x4000) } else { Fragment::NONE });
            ip.set_ttl(question.ttl);
            ip.set_protocol(Protocol(question.protocol));
            ip.set_src(question.source);
            ip.set_dst(question.destination);
            ip.fill_checksum(&[]);
        }
    }
    let segment = &mut bytes[ETHERNET + IPV4..];
    let (one, two) = question.ports;
    if question.protocol == Protocol::ICMP.0 {
        segment[..2].copy_from_slice(&[one.to_be_bytes()[1], two.to_be_bytes()[1]]);
    } else {
        segment[..2].copy_from_slice(&one.to_be_bytes());
        segment[2..4].copy_from_slice(&two.to_be_bytes());
    }
    if question.protocol == Protocol::TCP.0 {
        // A SYN.
        segment[12..14].copy_from_slice(&[5 << 4, 2]);
    }
    debug_assert!(PAYLOAD <= segment.len());
    bytes
}

/// A frame in memory of its own.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    fn new(content: &[u8]) -> Self {
        let mut bytes = vec![0; ROOM + content.len() + ROOM];
        bytes[ROOM..ROOM + content.len()].copy_from_slice(content);
        Self { bytes, start: ROOM, len: content.len() }
    }
}

impl Frame for Buffer {
    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }

    fn pull_front(&mut self, n: usize) -> bool {
        let fits = n <= self.len;
        if fits {
            self.start += n;
            self.len -= n;
        }
        fits
    }

    fn push_front(&mut self, n: usize) -> bool {
        let fits = n <= self.start;
        if fits {
            self.start -= n;
            self.len += n;
        }
        fits
    }

    fn resize(&mut self, len: usize) -> bool {
        let fits = self.start + len <= self.bytes.len();
        if fits {
            self.len = len;
        }
        fits
    }
}

/// Notes what it is told to do, and does none of it.
#[derive(Debug, Default)]
struct Scribe {
    sent: Vec<(PortId, usize)>,
    resolve: Option<(PortId, Ipv4Addr)>,
}

impl Pool for Scribe {
    type Frame = Buffer;

    fn take(&mut self) -> Option<Buffer> {
        let mut frame = Buffer::new(&[0; 2048]);
        frame.len = 0;
        Some(frame)
    }

    fn put(&mut self, frame: Buffer) {
        drop(frame);
    }
}

impl Shell for Scribe {
    fn transmit(&mut self, port: PortId, frame: Buffer) -> Result<(), Buffer> {
        self.sent.push((port, frame.data().len()));
        Ok(())
    }

    fn resolve(&mut self, port: PortId, next_hop: Ipv4Addr) {
        self.resolve = Some((port, next_hop));
    }

    fn to_kernel(&mut self, _: PortId, _: Buffer) -> Result<(), Buffer> {
        Ok(())
    }
}
