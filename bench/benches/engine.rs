//! The packet path alone, over frames in memory: nanoseconds a packet by destinations, burst, and what is checked.
//!
//! `cargo bench -p millrace-bench --bench engine [-- --quick]` writes `results/engine.md` and `results/engine.json`.
//! Needs the full table of MILLRACE_DATA. Each figure is the median of rounds; all variants take turns within a round, so
//! that what else the machine does is shared by all.
//!
//! A round refills a ring of [`RING`] frames with 60-byte UDP packets, untimed, and has the engine take them in bursts,
//! timed: parsing, route, adjacency, time to live, checksum, hardware addresses, counters. Not in it: rings, system
//! calls, reading the clock.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use millrace_acl::{Acl, Action, Rule};
use millrace_bench::table;
use millrace_bench::trace::Trace;
use millrace_engine::{
    BURST, CounterPage, Engine, EngineConfig, Filter, Frame, Guard, Pool, Port, Ports, Shell, Urpf,
    VerdictKind,
};
use millrace_fib::{Geometry, GroupSpec, Link, Owned, Quiescence, Resolution, Vlan, Writer};
use millrace_net::{Mac, PortId, Prefix};

/// Frames of a round: as many as a receive ring holds.
const RING: usize = 2048;
/// Destinations of a trace.
const TRACE: usize = 1 << 20;
const HEADROOM: usize = 256;
const FRAME: usize = 2048;
/// Next hops of the table.
const HOPS: u8 = 64;
const IN: PortId = PortId(0);
const OUT: PortId = PortId(1);

#[derive(Debug)]
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

impl Frame for Buffer {
    #[inline]
    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }

    #[inline]
    fn pull_front(&mut self, n: usize) -> bool {
        let fits = n <= self.len;
        if fits {
            self.start += n;
            self.len -= n;
        }
        fits
    }

    #[inline]
    fn push_front(&mut self, n: usize) -> bool {
        let fits = n <= self.start;
        if fits {
            self.start -= n;
            self.len += n;
        }
        fits
    }

    #[inline]
    fn resize(&mut self, len: usize) -> bool {
        let fits = self.start + len <= FRAME;
        if fits {
            self.len = len;
        }
        fits
    }
}

/// Takes everything back.
#[derive(Debug, Default)]
struct Sink {
    frames: Vec<Buffer>,
}

impl Pool for Sink {
    type Frame = Buffer;

    fn take(&mut self) -> Option<Buffer> {
        self.frames.pop()
    }

    #[inline]
    fn put(&mut self, frame: Buffer) {
        self.frames.push(frame);
    }
}

impl Shell for Sink {
    #[inline]
    fn transmit(&mut self, _: PortId, frame: Buffer) -> Result<(), Buffer> {
        self.frames.push(frame);
        Ok(())
    }

    fn resolve(&mut self, _: PortId, _: Ipv4Addr) {}
}

/// One line of the result.
struct Variant {
    destinations: &'static str,
    checks: &'static str,
    burst: usize,
    urpf: bool,
    acl: bool,
    nanos: Vec<f64>,
    forwarded: f64,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, batches) = if quick { (5, 40) } else { (15, 200) };
    let origins = match table::full(&table::directory()) {
        Ok(origins) => origins,
        Err(error) => return say(&format!("SKIPPED: the engine benchmark needs the full table. {error}")),
    };
    let prefixes: Vec<Prefix> = origins.iter().map(|origin| origin.prefix).collect();
    let owned = Owned::new(Geometry::DEFAULT).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let mut plain = Ports::new();
    for id in [IN, OUT] {
        let mut port = Port::new(mac(id), 1500);
        port.up = true;
        port.addresses.push((Ipv4Addr::new(10, 0, if id == IN { 1 } else { 2 }, 1), 24));
        writer.port_set(id, Link { mac: port.mac, mtu: 1500, vlan: Vlan::Untagged });
        assert!(plain.insert(id, port));
    }
    let groups: Vec<_> = (0..HOPS)
        .map(|hop| {
            let id = writer.neighbor_insert(OUT, Ipv4Addr::new(10, 0, 2, 10 + hop)).unwrap();
            writer.neighbor_set(id, Resolution::Complete(Mac([2, 0, 0, 0, 1, hop]))).unwrap();
            writer.group_insert(&GroupSpec::Forward(vec![(id, 1)])).unwrap()
        })
        .collect();
    for origin in &origins {
        writer.route_insert(origin.prefix, groups[origin.asn as usize % groups.len()]).unwrap();
    }
    // The sources of all packets are routed, and back to where they come from.
    let back = writer.neighbor_insert(IN, Ipv4Addr::new(10, 0, 1, 2)).unwrap();
    writer.neighbor_set(back, Resolution::Complete(Mac([2, 0, 0, 0, 2, 1]))).unwrap();
    let back = writer.group_insert(&GroupSpec::Forward(vec![(back, 1)])).unwrap();
    writer.route_insert("10.9.0.0/16".parse().unwrap(), back).unwrap();
    let reader = writer.reader();

    let announced = Trace::Announced.draw(&prefixes, TRACE, 42);
    let traces: [(&'static str, Vec<u32>); 5] = [
        ("1 destination", vec![announced[0]; TRACE]),
        ("1000 flows", announced.iter().copied().take(1000).cycle().take(TRACE).collect()),
        ("announced", announced),
        ("zipf", Trace::Zipf.draw(&prefixes, TRACE, 42)),
        ("uniform", Trace::Uniform.draw(&prefixes, TRACE, 42)),
    ];

    let mut variants = Vec::new();
    for (destinations, _) in &traces {
        for (checks, urpf, acl) in [("-", false, false), ("uRPF", true, false), ("ACL", false, true)] {
            let variant =
                |burst| Variant { destinations, checks, burst, urpf, acl, nanos: vec![], forwarded: 0.0 };
            variants.push(variant(BURST));
            if checks == "-" && matches!(*destinations, "1 destination" | "announced") {
                variants.extend([16, 32].map(variant));
            }
        }
    }

    let mut sink = Sink { frames: Vec::with_capacity(RING) };
    let make = |_| Buffer { bytes: vec![0; FRAME].into_boxed_slice(), start: HEADROOM, len: 0 };
    let mut ring: Vec<Buffer> = (0..RING).map(make).collect();
    for round in 0..=rounds {
        for variant in &mut variants {
            let (_, trace) = traces.iter().find(|(name, _)| *name == variant.destinations).unwrap();
            let ports = checked(&plain, variant);
            let counters = Arc::new(CounterPage::new());
            let mut engine = Engine::new(reader, Arc::clone(&counters), EngineConfig::new(7));
            let now = millrace_net::Instant::from_secs(1000);
            let (mut took, mut at) = (0.0, round * 7919 % TRACE);
            for _ in 0..batches {
                for frame in &mut ring {
                    refill(frame, trace[at]);
                    at = (at + 1) % TRACE;
                }
                let mut burst = ArrayVec::<(PortId, Buffer), BURST>::new();
                let start = Instant::now();
                while let Some(first) = ring.len().checked_sub(1) {
                    let from = (first + 1).saturating_sub(variant.burst);
                    burst.extend(ring.drain(from..).map(|frame| (IN, frame)));
                    engine.process(now, &ports, &mut burst, &mut sink);
                }
                took += start.elapsed().as_secs_f64();
                std::mem::swap(&mut ring, &mut sink.frames);
            }
            let packets = (RING * batches) as f64;
            variant.forwarded = counters.verdicts(VerdictKind::Tx) as f64 / packets;
            // The first round warms up.
            if round != 0 {
                variant.nanos.push(took / packets * 1e9);
            }
        }
    }
    write(&variants, origins.len(), quick);
}

fn mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(port.0).unwrap_or(0)])
}

/// The ports with what the variant has checked on arrival.
fn checked(plain: &Ports, variant: &Variant) -> Ports {
    let mut ports = plain.clone();
    let mut port = plain.get(IN).unwrap().clone();
    if variant.urpf {
        port.urpf = Urpf::Strict;
    }
    if variant.acl {
        port.guard_in = Guard { filter: Some(Arc::new(filter())), policer: None };
    }
    assert!(ports.insert(IN, port));
    ports
}

/// A hundred rules that match nothing here, and one that lets everything in.
fn filter() -> Filter {
    let mut rules: Vec<Rule> = (0..100)
        .map(|n| Rule {
            src: vec![Prefix::truncated(Ipv4Addr::new(172, 16, n, 0), 24)],
            protocol: Some(6),
            dst_ports: vec![u16::from(n)..=u16::from(n) + 10],
            ..Rule::any(Action::Drop)
        })
        .collect();
    rules.push(Rule::any(Action::Accept));
    Filter::new(Acl::compile(&rules).unwrap(), Action::Accept, Vec::new(), 1)
}

/// As if a packet to `destination` had been received into the frame.
fn refill(frame: &mut Buffer, destination: u32) {
    frame.start = HEADROOM;
    frame.len = 60;
    let data = frame.data_mut();
    data[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 1, 8, 0]);
    data[14..26].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]);
    data[26..30].copy_from_slice(&[10, 9, 0, 1]);
    data[30..34].copy_from_slice(&destination.to_be_bytes());
    data[34..42].copy_from_slice(&[0x10, 0, 0x20, 0, 0, 26, 0, 0]);
    let words = data[14..34].chunks_exact(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    data[24..26].copy_from_slice(&(!folded).to_be_bytes());
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn write(variants: &[Variant], routes: usize, quick: bool) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu =
        cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown").to_owned();
    let mut text = format!(
        "# The packet path in memory\n\n\
         Nanoseconds a packet, median of the rounds (lowest and highest in brackets); 60-byte UDP packets over {routes} routes \
         and {HOPS} next hops. Made by `cargo bench -p millrace-bench --bench engine{}` on {cpu}.\n\
         Targets: at most 18 for one destination, 30 for announced ones.\n\n\
         | destinations | checked on arrival | burst | ns a packet | forwarded |\n|---|---|---:|---:|---:|\n",
        if quick { " -- --quick" } else { "" },
    );
    let mut rows = Vec::new();
    for variant in variants {
        let (low, high) =
            variant.nanos.iter().fold((f64::MAX, 0.0_f64), |(low, high), n| (low.min(*n), high.max(*n)));
        let middle = median(&variant.nanos);
        text += &format!(
            "| {} | {} | {} | {middle:.1} ({low:.1} to {high:.1}) | {:.1} % |\n",
            variant.destinations,
            variant.checks,
            variant.burst,
            variant.forwarded * 100.0
        );
        rows.push(serde_json::json!({
            "destinations": variant.destinations, "checks": variant.checks, "burst": variant.burst,
            "nanoseconds": middle, "rounds": variant.nanos, "forwarded": variant.forwarded,
        }));
    }
    text += "\nUniform addresses that nobody announces get an ICMP error, or the silence of its limiter.\n";
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    std::fs::write(results.join("engine.md"), &text).unwrap();
    let json = serde_json::json!({ "cpu": cpu, "routes": routes, "rows": rows });
    std::fs::write(results.join("engine.json"), format!("{json:#}\n")).unwrap();
    say(&text);
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
fn say(text: &str) {
    println!("{text}");
}
