//! What address translation costs: the engine with a NAT shard, frames in memory, random flows.
//!
//! `cargo bench -p millrace-bench --bench nat [-- FLOWS…]` prints nanoseconds a packet for flows drawn at random among
//! so many sessions (1k, 100k and 1M unless numbers are given), outward and homeward, the same packets only routed, the rate
//! at which sessions are set up, and bytes a session. What is timed is `Engine::process` alone, burst by burst; the frames
//! are made before. Every figure is that of the quietest of several rounds: other work on the machine only adds to it.
//!
//! With `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` the tables lie in huge pages, where the kernel has some.

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant as Clock;

use arrayvec::ArrayVec;
use millrace_bench::trace::Rng;
use millrace_engine::{BURST, CounterPage, Engine, EngineConfig, Frame, NatSide, Pool, Port, Ports, Shell};
use millrace_fib::{Geometry, GroupSpec, Link, Owned, Quiescence, Resolution, Vlan, Writer};
use millrace_nat::{
    Allocation, Config, Filtering, Limits, Nat, PerProtocol, Pool as NatPool, Slices, Source, SourceAction,
};
use millrace_net::{Instant, Mac, PortId, Prefix, checksum};

const LAN: PortId = PortId(0);
const WAN: PortId = PortId(1);
const HEADROOM: usize = 256;
const FRAME_LEN: usize = 14 + 20 + 8 + 18;
/// Packets of one round, and rounds.
const PACKETS: usize = 1 << 20;
const ROUNDS: usize = 7;
/// Sessions an outside address has: enough free ports are left for them to be found at once.
const PER_ADDRESS: usize = 40_000;

/// A frame that is refilled again and again.
struct Buffer {
    bytes: Box<[u8; 2048]>,
    start: usize,
    len: usize,
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

/// Takes what is sent, in order.
#[derive(Default)]
struct Sink {
    sent: Vec<Buffer>,
    put: Vec<Buffer>,
}

impl Pool for Sink {
    type Frame = Buffer;

    fn take(&mut self) -> Option<Buffer> {
        None
    }

    fn put(&mut self, frame: Buffer) {
        self.put.push(frame);
    }
}

impl Shell for Sink {
    fn transmit(&mut self, _: PortId, frame: Buffer) -> Result<(), Buffer> {
        self.sent.push(frame);
        Ok(())
    }

    fn resolve(&mut self, _: PortId, _: Ipv4Addr) {}
}

/// One conversation: endpoints inside, outside once it is translated, and remote.
#[derive(Clone, Copy)]
struct Talk {
    inside: (u32, u16),
    outside: (u32, u16),
    remote: (u32, u16),
}

impl Talk {
    fn number(n: u32) -> Self {
        // 32 ports a host, remote addresses all over.
        let inside = (0x0a00_0000 + n / 32, 5000 + u16::try_from(n % 32).unwrap_or(0));
        let remote = (0xc612_0000 + (n.wrapping_mul(0x9e37_79b1) & 0x1_ffff), 443);
        Self { inside, outside: (0, 0), remote }
    }
}

struct Bed<'m> {
    engine: Engine<'m, Buffer>,
    ports: Ports,
    sink: Sink,
    free: Vec<Buffer>,
    now: Instant,
    page: Arc<CounterPage>,
}

impl<'m> Bed<'m> {
    fn new(memory: &'m Owned, flows: usize, translated: bool) -> Result<Self, Box<dyn Error>> {
        let mut writer = Writer::new(memory.memory(), Quiescence::new(0));
        let page = Arc::new(CounterPage::new());
        let mut ports = Ports::new();
        for (id, side) in [(LAN, NatSide::Inside), (WAN, NatSide::Outside)] {
            let mac = mac(id);
            let mut port = Port::new(mac, 1500);
            if translated {
                port.nat = side;
            }
            assert!(ports.insert(id, port));
            writer.port_set(id, Link { mac, mtu: 1500, vlan: Vlan::Untagged });
        }
        for (port, hop, prefix) in [(LAN, "10.255.0.1", "10.0.0.0/8"), (WAN, "192.0.2.1", "0.0.0.0/0")] {
            let neighbor = writer.neighbor_insert(port, hop.parse()?)?;
            writer.neighbor_set(neighbor, Resolution::Complete(Mac([2, 9, 9, 9, 9, 9])))?;
            let group = writer.group_insert(&GroupSpec::Forward(vec![(neighbor, 1)]))?;
            let prefix: Prefix = prefix.parse().map_err(|e| format!("{e:?}"))?;
            writer.route_insert(prefix, group)?;
        }
        let mut engine = Engine::new(writer.reader(), Arc::clone(&page), EngineConfig::new(7));
        let now = Instant::from_secs(1000);
        if translated {
            let addresses = u32::try_from(flows.div_ceil(PER_ADDRESS))?;
            let cap = u32::try_from(flows)?.max(1024);
            let config = Config {
                pools: vec![NatPool {
                    name: "wan".into(),
                    addresses: (0..addresses).map(|i| Ipv4Addr::from_bits(0xcb00_0000 + i)).collect(),
                    ports: 1024..=65535,
                    filtering: PerProtocol::same(Filtering::EndpointIndependent),
                    allocation: Allocation::Random,
                }],
                sources: vec![Source {
                    from: "10.0.0.0/8".parse().map_err(|e| format!("{e:?}"))?,
                    action: SourceAction::Pool(0),
                }],
                limits: Limits { sessions: cap, mappings: cap, ..Limits::default() },
                ..Config::default()
            };
            engine.set_nat(Some(Nat::new(config, Slices::new(1, 64), 0, 42, now)));
        }
        let free = (0..BURST)
            .map(|_| Buffer { bytes: Box::new([0; 2048]), start: HEADROOM, len: FRAME_LEN })
            .collect();
        Ok(Self { engine, ports, sink: Sink::default(), free, now, page })
    }

    /// Sends a burst, and gives the nanoseconds it took. The frames come back, rewritten.
    fn burst(&mut self, port: PortId, packets: impl Iterator<Item = ((u32, u16), (u32, u16))>) -> u128 {
        let mut rx = ArrayVec::<(PortId, Buffer), BURST>::new();
        for (src, dst) in packets {
            let Some(mut frame) = self.free.pop() else { break };
            frame.start = HEADROOM;
            frame.len = FRAME_LEN;
            fill(frame.data_mut(), port, src, dst);
            rx.push((port, frame));
        }
        let began = now();
        self.engine.process(self.now, &self.ports, &mut rx, &mut self.sink);
        began.elapsed().as_nanos()
    }

    fn recycle(&mut self) {
        self.free.append(&mut self.sink.sent);
        self.free.append(&mut self.sink.put);
    }

    /// One packet of every talk; gives the sessions a second, and notes the outside endpoints.
    fn set_up(&mut self, talks: &mut [Talk]) -> f64 {
        let mut nanos = 0;
        for chunk in talks.chunks_mut(BURST) {
            nanos += self.burst(LAN, chunk.iter().map(|t| (t.inside, t.remote)));
            assert_eq!(self.sink.sent.len(), chunk.len(), "every flow gets a session");
            for (talk, frame) in chunk.iter_mut().zip(&self.sink.sent) {
                let ip = &frame.data()[14..];
                talk.outside = (
                    u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]]),
                    u16::from_be_bytes([ip[20], ip[21]]),
                );
            }
            self.recycle();
        }
        talks.len() as f64 / (nanos as f64 / 1e9)
    }

    /// Nanoseconds a packet of random talks.
    fn forward(&mut self, talks: &[Talk], home: bool) -> f64 {
        let mut rng = Rng(7);
        (0..ROUNDS)
            .map(|_| {
                let mut nanos = 0;
                for _ in 0..PACKETS / BURST {
                    let drawn: [usize; BURST] = std::array::from_fn(|_| draw(&mut rng, talks.len()));
                    let packets = drawn.iter().map(|&at| {
                        let t = &talks[at];
                        if home { (t.remote, t.outside) } else { (t.inside, t.remote) }
                    });
                    nanos += self.burst(if home { WAN } else { LAN }, packets);
                    assert_eq!(self.sink.sent.len(), BURST, "{:?}", self.page);
                    self.recycle();
                }
                nanos as f64 / PACKETS as f64
            })
            .fold(f64::INFINITY, f64::min)
    }
}

fn draw(rng: &mut Rng, below: usize) -> usize {
    usize::try_from(rng.next() % below as u64).unwrap_or(0)
}

fn mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 0, if port == LAN { 1 } else { 2 }])
}

/// A UDP packet of 46 bytes in a frame to the router.
fn fill(frame: &mut [u8], port: PortId, src: (u32, u16), dst: (u32, u16)) {
    frame[..6].copy_from_slice(&mac(port).0);
    frame[6..12].copy_from_slice(&[2, 8, 8, 8, 8, 8]);
    frame[12..14].copy_from_slice(&[8, 0]);
    let ip = &mut frame[14..];
    ip[..12].copy_from_slice(&[0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0]);
    ip[12..16].copy_from_slice(&src.0.to_be_bytes());
    ip[16..20].copy_from_slice(&dst.0.to_be_bytes());
    let sum = checksum::checksum(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip[20..22].copy_from_slice(&src.1.to_be_bytes());
    ip[22..24].copy_from_slice(&dst.1.to_be_bytes());
    ip[24..28].copy_from_slice(&[0, 26, 0x12, 0x34]);
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Clock {
    Clock::now()
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn say(line: &str) {
    println!("{line}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![1_000, 100_000, 1_000_000] } else { asked };
    let geometry =
        Geometry { tbl8_groups: 64, groups: 256, buckets: 4096, adjacencies: 1024, neighbors: 2048 };
    say("    sessions    out ns  home ns  routed ns  set-up M/s  bytes/session");
    for flows in sizes {
        let mut talks: Vec<Talk> = (0..u32::try_from(flows)?).map(Talk::number).collect();
        let memory = Owned::new(geometry)?;
        let mut bed = Bed::new(&memory, flows, true)?;
        let rate = bed.set_up(&mut talks);
        let (out, home) = (bed.forward(&talks, false), bed.forward(&talks, true));
        let nat = bed.engine.nat().ok_or("a shard")?;
        let sessions = nat.totals().sessions;
        assert_eq!(sessions, flows as u64);
        let bytes = nat.bytes() as f64 / sessions as f64;
        drop(bed);
        let other = Owned::new(geometry)?;
        let routed = Bed::new(&other, flows, false)?.forward(&talks, false);
        say(&format!("{flows:>12} {out:>9.1} {home:>8.1} {routed:>10.1} {:>11.2} {bytes:>14.1}", rate / 1e6));
    }
    Ok(())
}
