//! A router with a few interfaces and routes, frames in memory, and the checks every case gets: frames conserved,
//! counters that are not listed at rest, everything emitted decoded by etherparse.
//!
//! ```text
//!   lan  192.0.2.1/24    .10 client, .20 router to 172.16.0.0/12          (port 0, partial checksums)
//!   wan  198.51.100.1/24 .2 complete, .3 incomplete, .4 failed            (port 1)
//!   thin 203.0.113.1/24  .2 complete, MTU 576                             (port 2)
//!   bare no address      10.30.0.2 complete                               (port 3)
//!   dead 10.40.0.1/24    .2 complete, the interface is down               (port 4)
//!   wan2 198.18.0.1/24   .2 complete                                      (port 5)
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use etherparse as oracle;
use millrace_engine::{
    BURST, CounterPage, DropReason, Engine, EngineConfig, Event, Frame, Handoff, IcmpMessage, Leg, Pool,
    Port, PortCounters, Ports, Shell, VerdictKind,
};
use millrace_fib::{AdjacencyId, Geometry, GroupSpec, Link, Owned, Quiescence, Resolution, Vlan, Writer};
use millrace_net::{Instant, Mac, PortId, Prefix};

pub(crate) const LAN: PortId = PortId(0);
pub(crate) const WAN: PortId = PortId(1);
pub(crate) const THIN: PortId = PortId(2);
pub(crate) const BARE: PortId = PortId(3);
pub(crate) const DEAD: PortId = PortId(4);
pub(crate) const WAN2: PortId = PortId(5);

pub(crate) const CLIENT: &str = "192.0.2.10";
pub(crate) const THIN_MTU: u16 = 576;

/// The router's own hardware address on a port.
pub(crate) fn router_mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 1, u8::try_from(port.0).unwrap()])
}

/// A neighbour's, made from its address.
pub(crate) fn mac_of(neighbor: &str) -> Mac {
    let [a, b, c, d] = addr(neighbor).octets();
    Mac([2, 1, a, b, c, d])
}

pub(crate) fn addr(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// A frame in its own buffer, with headroom before and tailroom behind as an AF_XDP frame has.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

pub(crate) const HEADROOM: usize = 256;
pub(crate) const BUFFER: usize = 4096;

impl Buffer {
    pub(crate) fn with_headroom(content: &[u8], headroom: usize, size: usize) -> Self {
        let mut bytes = vec![0xa5; size].into_boxed_slice();
        bytes[headroom..headroom + content.len()].copy_from_slice(content);
        Self { bytes, start: headroom, len: content.len() }
    }

    /// As if `content` had been received into it.
    pub(crate) fn refill(&mut self, content: &[u8]) {
        self.start = HEADROOM;
        self.len = content.len();
        self.data_mut().copy_from_slice(content);
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

/// The worker's side: remembers what it was asked to do.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    pub(crate) free: Vec<Buffer>,
    pub(crate) tx: Vec<(PortId, Vec<u8>)>,
    pub(crate) asked: Vec<(PortId, Ipv4Addr)>,
    pub(crate) kernel: Vec<(PortId, Vec<u8>)>,
    pub(crate) handed: Vec<(Handoff, PortId, Vec<u8>)>,
    /// Whether the kernel takes what is the host's.
    pub(crate) kernel_takes: bool,
    /// Frames the transmit queues still take.
    pub(crate) tx_room: usize,
}

impl Pool for Bench {
    type Frame = Buffer;

    fn take(&mut self) -> Option<Buffer> {
        let mut frame = self.free.pop()?;
        frame.bytes.fill(0xa5);
        frame.refill(&[]);
        Some(frame)
    }

    fn put(&mut self, frame: Buffer) {
        self.free.push(frame);
    }
}

impl Shell for Bench {
    fn transmit(&mut self, port: PortId, frame: Buffer) -> Result<(), Buffer> {
        let Some(room) = self.tx_room.checked_sub(1) else { return Err(frame) };
        self.tx_room = room;
        self.tx.push((port, frame.data().to_vec()));
        self.put(frame);
        Ok(())
    }

    fn resolve(&mut self, port: PortId, next_hop: Ipv4Addr) {
        self.asked.push((port, next_hop));
    }

    fn hand_off(&mut self, to: Handoff, port: PortId, frame: Buffer) -> Result<(), Buffer> {
        self.handed.push((to, port, frame.data().to_vec()));
        self.put(frame);
        Ok(())
    }

    fn to_kernel(&mut self, port: PortId, frame: Buffer) -> Result<(), Buffer> {
        if !self.kernel_takes {
            return Err(frame);
        }
        self.kernel.push((port, frame.data().to_vec()));
        self.put(frame);
        Ok(())
    }
}

/// Counters by name; those at zero are left out.
pub(crate) type Counts = BTreeMap<String, u64>;

pub(crate) struct Router<'m> {
    pub(crate) writer: Writer<'m>,
    pub(crate) engine: Engine<'m, Buffer>,
    pub(crate) page: Arc<CounterPage>,
    pub(crate) ports: Ports,
    pub(crate) bench: Bench,
    pub(crate) now: Instant,
    /// Frames that exist.
    pub(crate) frames: usize,
    /// Frames that came from another worker.
    pub(crate) taken_over: u64,
}

pub(crate) fn memory() -> Owned {
    Owned::new(Geometry { tbl8_groups: 64, groups: 256, buckets: 4096, adjacencies: 1024, neighbors: 2048 })
        .unwrap()
}

pub(crate) fn config() -> EngineConfig {
    EngineConfig::new(7)
}

impl<'m> Router<'m> {
    pub(crate) fn new(memory: &'m Owned) -> Self {
        Self::with_config(memory, config())
    }

    pub(crate) fn with_config(memory: &'m Owned, config: EngineConfig) -> Self {
        let writer = Writer::new(memory.memory(), Quiescence::new(0));
        let page = Arc::new(CounterPage::new());
        let engine = Engine::new(writer.reader(), Arc::clone(&page), config);
        let bench = Bench { tx_room: usize::MAX, ..Bench::default() };
        let now = Instant::from_secs(1000);
        let mut router =
            Self { writer, engine, page, ports: Ports::new(), bench, now, frames: 0, taken_over: 0 };
        for (port, mtu, up, address) in [
            (LAN, 1500, true, Some("192.0.2.1")),
            (WAN, 1500, true, Some("198.51.100.1")),
            (THIN, THIN_MTU, true, Some("203.0.113.1")),
            (BARE, 1500, true, None),
            (DEAD, 1500, false, Some("10.40.0.1")),
            (WAN2, 1500, true, Some("198.18.0.1")),
        ] {
            let mut config = Port::new(router_mac(port), mtu);
            config.up = up;
            config.partial_checksums = port == LAN;
            router.writer.port_set(port, Link { mac: config.mac, mtu, vlan: Vlan::Untagged });
            if let Some(address) = address.map(addr) {
                config.addresses.push((address, 24));
                router.route_to(Prefix::truncated(address, 24), &GroupSpec::Glean(port));
                router.route_to(Prefix::host(address), &GroupSpec::Local);
            }
            assert!(router.ports.insert(port, config));
        }
        let client = router.neighbor(LAN, CLIENT);
        let lan_router = router.neighbor(LAN, "192.0.2.20");
        let gateway = router.neighbor(WAN, "198.51.100.2");
        let incomplete = router.writer.neighbor_insert(WAN, addr("198.51.100.3")).unwrap();
        let failed = router.writer.neighbor_insert(WAN, addr("198.51.100.4")).unwrap();
        router.writer.neighbor_set(failed, Resolution::Failed).unwrap();
        let thin = router.neighbor(THIN, "203.0.113.2");
        let bare = router.neighbor(BARE, "10.30.0.2");
        let dead = router.neighbor(DEAD, "10.40.0.2");
        let gateway2 = router.neighbor(WAN2, "198.18.0.2");
        let one = |id| GroupSpec::Forward(vec![(id, 1)]);
        for (prefix, group) in [
            ("172.16.0.0/12", one(lan_router)),
            ("10.1.0.0/16", one(gateway)),
            ("10.2.0.0/16", one(incomplete)),
            ("10.3.0.0/16", one(failed)),
            ("10.4.0.0/16", one(dead)),
            ("10.5.0.0/16", GroupSpec::Forward(vec![(gateway, 1), (gateway2, 1)])),
            ("10.6.0.0/16", GroupSpec::Blackhole),
            ("10.7.0.0/16", GroupSpec::Unreachable),
            ("10.8.0.0/16", GroupSpec::Prohibit),
            ("10.9.0.0/16", one(thin)),
            ("10.10.0.0/16", one(bare)),
            ("10.11.0.0/16", one(client)),
        ] {
            router.route_to(prefix.parse().unwrap(), &group);
        }
        router.add_frames(64);
        router
    }

    pub(crate) fn route_to(&mut self, prefix: Prefix, group: &GroupSpec) {
        let id = self.writer.group_insert(group).unwrap();
        self.writer.route_insert(prefix, id).unwrap();
    }

    /// A neighbour that has answered.
    pub(crate) fn neighbor(&mut self, port: PortId, address: &str) -> AdjacencyId {
        let id = self.writer.neighbor_insert(port, addr(address)).unwrap();
        self.writer.neighbor_set(id, Resolution::Complete(mac_of(address))).unwrap();
        id
    }

    pub(crate) fn resolve(&mut self, port: PortId, address: &str, resolution: Resolution) {
        let id = self.writer.neighbor_insert(port, addr(address)).unwrap();
        self.writer.neighbor_set(id, resolution).unwrap();
        self.engine.neighbors_changed(self.now, &self.ports, &mut self.bench);
        self.check_conservation();
    }

    /// Changes what the engine knows of a port.
    pub(crate) fn set_port(&mut self, id: PortId, change: impl FnOnce(&mut Port)) {
        let mut port = self.ports.get(id).unwrap().clone();
        change(&mut port);
        assert!(self.ports.insert(id, port));
    }

    pub(crate) fn add_frames(&mut self, count: usize) {
        for _ in 0..count {
            self.bench.free.push(Buffer::with_headroom(&[], HEADROOM, BUFFER));
        }
        self.frames += count;
    }

    /// One burst.
    pub(crate) fn receive<'f>(&mut self, frames: impl IntoIterator<Item = (PortId, &'f [u8])>) {
        let mut rx = ArrayVec::<_, BURST>::new();
        for (port, bytes) in frames {
            rx.push((port, Buffer::with_headroom(bytes, HEADROOM, BUFFER)));
            self.frames += 1;
        }
        self.receive_frames(rx);
    }

    pub(crate) fn receive_frames(&mut self, mut rx: ArrayVec<(PortId, Buffer), BURST>) {
        self.engine.process(self.now, &self.ports, &mut rx, &mut self.bench);
        assert!(rx.is_empty(), "process takes every frame");
        self.check_conservation();
    }

    /// One frame that another worker has handed off.
    pub(crate) fn take_over(&mut self, port: PortId, leg: Leg, bytes: &[u8]) {
        let mut rx = ArrayVec::<_, BURST>::new();
        rx.push((port, Buffer::with_headroom(bytes, HEADROOM, BUFFER)));
        self.frames += 1;
        self.taken_over += 1;
        self.engine.process_handed(self.now, &self.ports, &mut rx, &[leg], &mut self.bench);
        assert!(rx.is_empty(), "process_handed takes every frame");
        self.check_conservation();
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        self.now = now;
        self.engine.handle_timeout(now, &self.ports, &mut self.bench);
        self.check_conservation();
    }

    /// Every frame is in the pool or held.
    pub(crate) fn check_frames(&self) {
        assert_eq!(self.bench.free.len() + self.engine.held(), self.frames, "frames in = frames out");
    }

    /// Every frame is in the pool or held; every packet that came has its verdict or is held.
    pub(crate) fn check_conservation(&self) {
        assert_eq!(self.bench.free.len() + self.engine.held(), self.frames, "frames in = frames out");
        assert_eq!(self.page.held(), self.engine.held() as u64);
        let final_verdicts: u64 = VerdictKind::ALL
            .iter()
            .filter(|&&kind| kind != VerdictKind::Hold)
            .map(|&kind| self.page.verdicts(kind))
            .sum();
        let received: u64 = self.port_counters().map(|(_, counters)| counters.rx_packets).sum();
        let waiting = (received + self.taken_over)
            .checked_sub(final_verdicts)
            .expect("no packet has two last verdicts");
        assert!(waiting <= self.page.held(), "{waiting} packets have no verdict");
        let dropped: u64 = DropReason::ALL.iter().map(|&reason| self.page.dropped(reason)).sum();
        assert_eq!(dropped, self.page.verdicts(VerdictKind::Drop) + self.page.verdicts(VerdictKind::Reply));
    }

    fn port_counters(&self) -> impl Iterator<Item = (PortId, PortCounters)> {
        (0..256).map(|id| (PortId(id), self.page.port(PortId(id))))
    }

    /// All counters but those of the ports.
    pub(crate) fn counts(&self) -> Counts {
        let verdicts =
            VerdictKind::ALL.iter().map(|&k| (format!("verdict {}", k.name()), self.page.verdicts(k)));
        let drops = DropReason::ALL.iter().map(|&r| (format!("drop {}", r.name()), self.page.dropped(r)));
        let icmp = IcmpMessage::ALL.iter().map(|&m| (format!("icmp {}", m.name()), self.page.icmp_sent(m)));
        let events = Event::ALL.iter().map(|&e| (e.name().to_owned(), self.page.events(e)));
        let held = [("held".to_owned(), self.page.held())];
        verdicts.chain(drops).chain(icmp).chain(events).chain(held).filter(|&(_, n)| n != 0).collect()
    }
}

/// What is expected to leave.
#[derive(Clone, Debug)]
pub(crate) enum Out {
    /// The first frame received, changed as forwarding changes it, to this neighbour.
    Forwarded(PortId, &'static str),
    /// An ICMP error about the first frame received: to this neighbour, type, code, second word, source.
    Icmp(PortId, &'static str, u8, u8, u32, &'static str),
}

/// One row of a table: what is received on a fresh router in one burst, and everything that must follow.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rx: Vec<(PortId, Vec<u8>)>,
    pub(crate) verdict: VerdictKind,
    pub(crate) tx: Vec<Out>,
    /// Other counters that move, and by how much; all that are not listed must be at rest.
    pub(crate) moved: &'static [(&'static str, u64)],
}

/// Runs each case on a router of its own.
pub(crate) fn run(cases: Vec<Case>) {
    run_on(cases, |_| ());
}

/// The same, after `prepare` has changed the router.
pub(crate) fn run_on(cases: Vec<Case>, prepare: impl Fn(&mut Router<'_>)) {
    for case in cases {
        let memory = memory();
        let mut router = Router::new(&memory);
        prepare(&mut router);
        router.receive(case.rx.iter().map(|(port, bytes)| (*port, &bytes[..])));
        check(&case, &router);
    }
}

pub(crate) fn check(case: &Case, router: &Router<'_>) {
    let name = case.name;
    let mut expected: Counts = case.moved.iter().map(|&(name, n)| (name.to_owned(), n)).collect();
    expected.insert(format!("verdict {}", case.verdict.name()), case.rx.len() as u64);
    assert_eq!(router.counts(), expected, "{name}");

    assert_eq!(router.bench.tx.len(), case.tx.len(), "{name}: {:?}", router.bench.tx);
    for (out, (port, bytes)) in case.tx.iter().zip(&router.bench.tx) {
        decode(bytes);
        match *out {
            Out::Forwarded(expected_port, neighbor) => {
                assert_eq!(*port, expected_port, "{name}");
                assert_eq!(*bytes, forwarded(&case.rx[0].1, *port, mac_of(neighbor)), "{name}");
            }
            Out::Icmp(expected_port, neighbor, kind, code, rest, source) => {
                assert_eq!(*port, expected_port, "{name}");
                let expected =
                    icmp_error(&case.rx[0].1, *port, mac_of(neighbor), kind, code, rest, addr(source));
                let mut actual = bytes.clone();
                // The identification is the engine's choice; the header checksum has been verified by `decode`.
                actual[18..20].fill(0);
                actual[24..26].copy_from_slice(&expected[24..26]);
                assert_eq!(actual, expected, "{name}");
            }
        }
    }

    let mut rx = BTreeMap::new();
    let mut tx = BTreeMap::new();
    for (port, bytes) in &case.rx {
        add(rx.entry(*port).or_insert((0, 0)), bytes);
    }
    for (port, bytes) in &router.bench.tx {
        add(tx.entry(*port).or_insert((0, 0)), bytes);
    }
    for (port, counters) in router.port_counters() {
        let (rx, tx) = (rx.remove(&port).unwrap_or((0, 0)), tx.remove(&port).unwrap_or((0, 0)));
        let actual = (counters.rx_packets, counters.rx_bytes, counters.tx_packets, counters.tx_bytes);
        assert_eq!(actual, (rx.0, rx.1, tx.0, tx.1), "{name}: port {port:?}");
    }
}

fn add(sum: &mut (u64, u64), bytes: &[u8]) {
    *sum = (sum.0 + 1, sum.1 + bytes.len() as u64);
}

/// A frame as a router must pass it on, its header checksum computed anew.
pub(crate) fn forwarded(received: &[u8], port: PortId, dst: Mac) -> Vec<u8> {
    let total_len = usize::from(u16::from_be_bytes([received[16], received[17]]));
    let mut ip = received[14..14 + total_len].to_vec();
    let header_len = usize::from(ip[0] & 15) * 4;
    ip[8] -= 1;
    ip[10..12].fill(0);
    let sum = checksum(&ip[..header_len]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(dst, router_mac(port), &ip)
}

/// The ICMP error about a frame, composed by etherparse. Identification 0.
fn icmp_error(
    received: &[u8],
    port: PortId,
    dst: Mac,
    kind: u8,
    code: u8,
    rest: u32,
    source: Ipv4Addr,
) -> Vec<u8> {
    let (ip, _) = oracle::Ipv4Header::from_slice(&received[14..]).unwrap();
    let quote = &received[14..received.len().min(14 + usize::from(ip.total_len).min(548))];
    let mut icmp = vec![kind, code, 0, 0];
    icmp.extend(rest.to_be_bytes());
    icmp.extend(quote);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let datagram = Datagram {
        src: source,
        dst: ip.source.into(),
        ttl: 64,
        tos: received[15] & 0x1c | 0xc0,
        ident: 0,
        protocol: 1,
        payload: icmp,
        ..Datagram::default()
    };
    ethernet(dst, router_mac(port), &datagram.bytes())
}

/// RFC 1071 §4.1, the slow way.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c.get(1).copied().unwrap_or(0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// What etherparse makes of a frame we emit: its headers and lengths must be right, and the header's checksum. What is
/// behind the IPv4 header is the sender's, and may be anything.
pub(crate) fn decode(frame: &[u8]) -> oracle::LaxSlicedPacket<'_> {
    let packet = oracle::LaxSlicedPacket::from_ethernet(frame).expect("etherparse decodes what we emit");
    let Some(oracle::LaxNetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4: {frame:02x?}") };
    let header = ip.header();
    // Not `calc_header_checksum`: etherparse leaves the reserved flag out.
    assert_eq!(checksum(header.slice()), 0, "IPv4 header checksum");
    let link_header = 14 + 4 * packet.link_exts.len();
    assert_eq!(usize::from(header.total_len()) + link_header, frame.len(), "no padding, nothing missing");
    packet
}

pub(crate) fn ethernet(dst: Mac, src: Mac, payload: &[u8]) -> Vec<u8> {
    [&dst.0[..], &src.0, &[8, 0], payload].concat()
}

/// An IPv4 packet to be received.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) ident: u16,
    /// Flags and offset as on the wire.
    pub(crate) fragment: u16,
    pub(crate) protocol: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DF: u16 = 0x4000;
pub(crate) const MF: u16 = 0x2000;

impl Default for Datagram {
    /// UDP from the client to 10.1.2.3, without a checksum.
    fn default() -> Self {
        Self {
            src: addr(CLIENT),
            dst: addr("10.1.2.3"),
            ttl: 64,
            tos: 0,
            ident: 0x1234,
            fragment: 0,
            protocol: 17,
            options: Vec::new(),
            payload: udp(4000, 53, 18),
        }
    }
}

/// A UDP segment without a checksum.
pub(crate) fn udp(src_port: u16, dst_port: u16, data_len: u16) -> Vec<u8> {
    let data = (0..data_len).map(|i| u8::try_from(i % 251).unwrap());
    let fields = [src_port, dst_port, 8 + data_len, 0];
    fields.iter().flat_map(|f| f.to_be_bytes()).chain(data).collect()
}

impl Datagram {
    pub(crate) fn to(dst: &str) -> Self {
        Self { dst: addr(dst), ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        assert!(self.options.len().is_multiple_of(4));
        let header_len = 20 + self.options.len();
        let total_len = u16::try_from(header_len + self.payload.len()).unwrap();
        let mut bytes = vec![0x40 | u8::try_from(header_len / 4).unwrap(), self.tos];
        bytes.extend(total_len.to_be_bytes());
        bytes.extend(self.ident.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        bytes.extend(&self.options);
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// In a frame to the router on this port.
    pub(crate) fn on(&self, port: PortId) -> Vec<u8> {
        ethernet(router_mac(port), mac_of(CLIENT), &self.bytes())
    }
}
