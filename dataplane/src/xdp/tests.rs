//! The program itself, run by BPF_PROG_TEST_RUN on frames, and what loading and attaching say when they cannot.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use aya::programs::{Program as AnyProgram, TestRun, TestRunOptions};
use millrace_ebpf_abi::{UNKNOWN_PORT, XdpOutcome as O};
use millrace_lab::{Lab, Node};
use millrace_xsk::{Bind, Socket as XskSocket, SocketConfig, Umem, UmemConfig};

use super::*;

/// `bpf(2)` runs a program as if the frame came in by the first device of the namespace.
const LOOPBACK: u32 = 1;
const PORT: PortId = PortId(7);
const SMALL: Geometry = Geometry { tbl8_groups: 16, groups: 64, buckets: 64, adjacencies: 64, neighbors: 64 };

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FOREIGN: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const BROADCAST: [u8; 6] = [0xff; 6];
/// RFC 1112 section 6.4: 224.0.0.5, OSPF.
const GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0, 0, 5];
const LOCAL: [u8; 4] = [192, 0, 2, 1];
const SUBNET_BROADCAST: [u8; 4] = [192, 0, 2, 255];
const TRANSIT: [u8; 4] = [198, 51, 100, 7];

fn ethernet(destination: [u8; 6], words: &[u16], payload: &[u8]) -> Vec<u8> {
    let mut frame = destination.to_vec();
    frame.extend([2, 0, 0, 0, 0, 2]);
    frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    frame.extend(payload);
    frame
}

fn ipv4(destination: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 203, 0, 113, 5];
    packet.extend(destination);
    packet.extend([0, 9, 0, 9, 0, 8, 0, 0]);
    packet
}

fn packet(destination: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    ethernet(destination, &[0x0800], &ipv4(address))
}

fn cut(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(len);
    frame
}

struct Case {
    name: &'static str,
    frame: Vec<u8>,
    outcome: O,
    action: u32,
}

fn case(name: &'static str, frame: Vec<u8>, outcome: O, action: u32) -> Case {
    Case { name, frame, outcome, action }
}

/// Whatever the worker and the interface's setting are, these are decided the same.
fn settled() -> Vec<Case> {
    let other_version = {
        let mut frame = packet(OURS, LOCAL);
        frame[14] = 0x65;
        frame
    };
    vec![
        case("arp", ethernet(BROADCAST, &[0x0806], &[0; 28]), O::NotIpv4, XDP_PASS),
        case("arp to us", ethernet(OURS, &[0x0806], &[0; 28]), O::NotIpv4, XDP_PASS),
        case("ipv6", ethernet(OURS, &[0x86dd], &[0x60; 40]), O::NotIpv4, XDP_PASS),
        case("lldp", ethernet([1, 0x80, 0xc2, 0, 0, 0xe], &[0x88cc], &[0; 46]), O::NotIpv4, XDP_PASS),
        case("802.3 length", ethernet(OURS, &[38], &[0; 46]), O::NotIpv4, XDP_PASS),
        case("pppoe", ethernet(OURS, &[0x8864], &[0; 46]), O::NotIpv4, XDP_PASS),
        case("local", packet(OURS, LOCAL), O::Local, XDP_PASS),
        case("local to a foreign mac", packet(FOREIGN, LOCAL), O::Local, XDP_PASS),
        case("local with version 6", other_version, O::Local, XDP_PASS),
        case("subnet broadcast", packet(OURS, SUBNET_BROADCAST), O::Local, XDP_PASS),
        case("subnet broadcast to all", packet(BROADCAST, SUBNET_BROADCAST), O::Multicast, XDP_PASS),
        case("limited broadcast", packet(BROADCAST, [255; 4]), O::Multicast, XDP_PASS),
        case("limited broadcast to us", packet(OURS, [255; 4]), O::Multicast, XDP_PASS),
        case("ospf", packet(GROUP, [224, 0, 0, 5]), O::Multicast, XDP_PASS),
        case("rip to our mac", packet(OURS, [224, 0, 0, 9]), O::Multicast, XDP_PASS),
        case("lowest group", packet(OURS, [224, 0, 0, 0]), O::Multicast, XDP_PASS),
        case("highest group", packet(OURS, [239, 255, 255, 255]), O::Multicast, XDP_PASS),
        case("transit to a group mac", packet(GROUP, TRANSIT), O::Multicast, XDP_PASS),
        case("transit to all", packet(BROADCAST, TRANSIT), O::Multicast, XDP_PASS),
        case("tagged transit", ethernet(OURS, &[0x8100, 10, 0x0800], &ipv4(TRANSIT)), O::Tagged, XDP_PASS),
        case("tagged local", ethernet(OURS, &[0x8100, 10, 0x0800], &ipv4(LOCAL)), O::Tagged, XDP_PASS),
        case("service tag", ethernet(OURS, &[0x88a8, 10, 0x0800], &ipv4(TRANSIT)), O::Tagged, XDP_PASS),
        case(
            "two tags",
            ethernet(OURS, &[0x88a8, 10, 0x8100, 20, 0x0800], &ipv4(TRANSIT)),
            O::Tagged,
            XDP_PASS,
        ),
        case(
            "three tags",
            ethernet(OURS, &[0x8100, 1, 0x8100, 2, 0x8100, 3, 0x0800], &[0; 20]),
            O::Tagged,
            XDP_PASS,
        ),
        case("priority tag", ethernet(OURS, &[0x8100, 0xe000, 0x0800], &ipv4(TRANSIT)), O::Tagged, XDP_PASS),
        case("ends after the type", ethernet(OURS, &[0x0800], &[]), O::Truncated, XDP_DROP),
        case("ends in the ip header", cut(packet(OURS, TRANSIT), 33), O::Truncated, XDP_DROP),
        case("local, cut", cut(packet(OURS, LOCAL), 33), O::Truncated, XDP_DROP),
        case("group, cut", cut(packet(GROUP, [224, 0, 0, 5]), 33), O::Truncated, XDP_DROP),
        case("arp, only a header", ethernet(BROADCAST, &[0x0806], &[]), O::NotIpv4, XDP_PASS),
        case("ends in the tag", ethernet(OURS, &[0x8100, 10], &[0]), O::Truncated, XDP_DROP),
        case(
            "ends in the second tag",
            ethernet(OURS, &[0x88a8, 10, 0x8100, 20], &[]),
            O::Truncated,
            XDP_DROP,
        ),
    ]
}

/// What is the worker's, if there is one.
fn transit(outcome: O, action: u32) -> Vec<Case> {
    let broken = {
        let mut frame = packet(OURS, TRANSIT);
        frame[14] = 0x4f;
        frame
    };
    vec![
        case("transit", packet(OURS, TRANSIT), outcome, action),
        case("transit, only a header", cut(packet(OURS, TRANSIT), 34), outcome, action),
        case("transit to a foreign mac", packet(FOREIGN, TRANSIT), outcome, action),
        case("transit with a bad header length", broken, outcome, action),
        case("next to a local address", packet(OURS, [192, 0, 2, 2]), outcome, action),
        case("below the groups", packet(OURS, [223, 255, 255, 255]), outcome, action),
        case("above the groups", packet(OURS, [240, 0, 0, 1]), outcome, action),
        case("loopback address", packet(OURS, [127, 0, 0, 1]), outcome, action),
        case("to 0.0.0.0", packet(OURS, [0, 0, 0, 0]), outcome, action),
    ]
}

impl Xdp {
    /// The action for a frame.
    fn run(&self, frame: &[u8]) -> Result<u32> {
        let Some(AnyProgram::Xdp(program)) = self.program.program(name::PROGRAM) else {
            anyhow::bail!("no program");
        };
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        Ok(program.test_run(options)?.return_value)
    }

    /// Runs the cases; each must move its own counter of `row`, and no other.
    fn check(&self, row: u16, cases: &[Case]) -> Result<()> {
        let counts = |row| O::ALL.iter().map(|outcome| self.count(row, *outcome)).collect::<Vec<_>>();
        for Case { name, frame, outcome, action } in cases {
            let mut expected = [counts(PORT.0), counts(UNKNOWN_PORT)];
            expected[usize::from(row == UNKNOWN_PORT)][*outcome as usize] += 1;
            assert_eq!(self.run(frame).with_context(|| *name)?, *action, "action of: {name}");
            assert_eq!([counts(PORT.0), counts(UNKNOWN_PORT)], expected, "counters after: {name}");
        }
        Ok(())
    }
}

/// What closing a descriptor brings about happens at once, unless a child that another test is just starting holds a copy.
fn soon(what: &str, look: impl FnMut() -> Result<bool>) -> Result<()> {
    millrace_lab::wait_until(what, std::time::Duration::from_secs(5), look)
}

/// Attaches where something was attached before.
fn attach_soon(xdp: &mut Xdp, ifindex: u32, generic: bool, fail_open: bool) -> Result<Attachment> {
    let mut attached = None;
    soon("the interface is free", || {
        attached = xdp.attach(PORT, ifindex, generic, fail_open).ok();
        Ok(attached.is_some())
    })?;
    attached.context("it is attached")
}

/// Runs `body` in a namespace of its own, on a thread that ends there.
fn inside(node: &Node, body: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    let namespace = std::fs::File::open(format!("/run/netns/{}", node.namespace()))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)?;
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn in_a_namespace(body: impl FnOnce(&Lab, &Node) -> Result<()>) {
    if OBJECT.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI has to have the BPF toolchain");
    }
    millrace_lab::test(|lab| body(lab, &lab.node("r")?));
}

#[test]
fn each_frame_has_its_verdict() {
    in_a_namespace(|_, node| {
        inside(node, || {
            let mut xdp = Xdp::load(SMALL)?;
            for address in [LOCAL, SUBNET_BROADCAST] {
                xdp.local_insert(address.into(), None)?;
            }
            let unknown = |cases: Vec<Case>| {
                let all = |case| Case { outcome: O::UnknownInterface, action: XDP_PASS, ..case };
                cases.into_iter().map(all).collect::<Vec<_>>()
            };
            xdp.check(UNKNOWN_PORT, &unknown(settled()))?;
            xdp.check(UNKNOWN_PORT, &unknown(transit(O::Redirected, XDP_REDIRECT)))?;

            let umem = Umem::new(UmemConfig { frames: 64 })?;
            let rings = millrace_xsk::RingSizes { rx: 16, tx: 16, fill: 16, completion: 16 };
            let config = SocketConfig { bind: Bind::Copy, rings, ..SocketConfig::new(LOOPBACK, 0) };
            for fail_open in [false, true] {
                let (outcome, action) =
                    if fail_open { (O::NoWorkerPassed, XDP_PASS) } else { (O::NoWorkerDropped, XDP_DROP) };
                let mut attachment = attach_soon(&mut xdp, LOOPBACK, true, !fail_open)?;
                attachment.set_fail_open(fail_open)?;
                xdp.check(PORT.0, &settled())?;
                xdp.check(PORT.0, &transit(outcome, action))?;

                let socket = XskSocket::open(&umem, config)?;
                attachment.set_socket(0, socket.as_fd())?;
                xdp.check(PORT.0, &settled())?;
                xdp.check(PORT.0, &transit(O::Redirected, XDP_REDIRECT))?;

                drop(socket);
                let transit_frame = packet(OURS, TRANSIT);
                soon("the socket leaves the map", || Ok(xdp.run(&transit_frame)? != XDP_REDIRECT))?;
                xdp.check(PORT.0, &transit(outcome, action))?;
                drop(attachment);
                xdp.check(UNKNOWN_PORT, &unknown(transit(outcome, action)))?;
            }

            xdp.local_remove(LOCAL.into())?;
            xdp.local_remove(LOCAL.into()).context("removing what is not there")?;
            let _attachment = attach_soon(&mut xdp, LOOPBACK, true, false)?;
            let case = case("no longer local", packet(OURS, LOCAL), O::NoWorkerDropped, XDP_DROP);
            xdp.check(PORT.0, &[case])
        })
    });
}

/// A packet for the shared address: `offset` in units of eight bytes.
fn shared_packet(protocol: u8, (ident, more, offset): (u8, bool, u8), options: usize, l4: &[u8]) -> Vec<u8> {
    let words = u8::try_from(5 + options).unwrap_or(15);
    let flags = if more { 0x20 } else { 0 };
    let mut ip = vec![0x40 | words, 0, 0, 60, 0, ident, flags, offset, 64, protocol, 0, 0, 203, 0, 113, 5];
    ip.extend(LOCAL);
    ip.extend(vec![1; 4 * options]);
    ip.extend(l4);
    ethernet(OURS, &[0x0800], &ip)
}

fn ports(src: u16, dst: u16) -> Vec<u8> {
    [src.to_be_bytes(), dst.to_be_bytes(), [0; 2], [0; 2]].concat()
}

/// An ICMP message with this identifier.
fn icmp(kind: u8, ident: u16) -> Vec<u8> {
    let [high, low] = ident.to_be_bytes();
    vec![kind, 0, 0, 0, high, low, 0, 1]
}

/// An ICMP error about a packet that left by `source`.
fn icmp_error(kind: u8, source: [u8; 4], protocol: u8, l4: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 1, 0, 0, 0, 0, 0, 0];
    message.extend([0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol, 0, 0]);
    message.extend(source);
    message.extend([198, 51, 100, 7]);
    message.extend(l4);
    message
}

/// NAT holds TCP 5000, UDP 5001, identifier 5002 and protocol 47 of the shared address.
const HELD: [(u8, u16); 4] = [(6, 5000), (17, 5001), (1, 5002), (47, 0)];

fn shared() -> Vec<Case> {
    const WHOLE: (u8, bool, u8) = (1, false, 0);
    let nats = |name, frame| case(name, frame, O::Shared, XDP_REDIRECT);
    let hosts = |name, frame| case(name, frame, O::Local, XDP_PASS);
    let mut cases = vec![
        nats("tcp", shared_packet(6, WHOLE, 0, &ports(443, 5000))),
        nats("tcp behind options", shared_packet(6, WHOLE, 10, &ports(443, 5000))),
        hosts("another port", shared_packet(6, WHOLE, 0, &ports(443, 5001))),
        hosts("ssh", shared_packet(6, WHOLE, 0, &ports(5000, 22))),
        nats("udp", shared_packet(17, WHOLE, 0, &ports(53, 5001))),
        hosts("udp, a port that is tcp's", shared_packet(17, WHOLE, 0, &ports(53, 5000))),
        hosts("udp, cut", shared_packet(17, WHOLE, 0, &[0, 53])),
        nats("gre", shared_packet(47, WHOLE, 0, &[0; 8])),
        hosts("esp", shared_packet(50, WHOLE, 0, &[0; 8])),
        hosts("echo request", shared_packet(1, WHOLE, 0, &icmp(8, 5002))),
        hosts("redirect", shared_packet(1, WHOLE, 0, &icmp_error(5, LOCAL, 6, &ports(5000, 443)))),
        hosts("echo reply of the host's", shared_packet(1, WHOLE, 0, &icmp(0, 5003))),
        hosts(
            "an error about another's packet",
            shared_packet(1, WHOLE, 0, &icmp_error(3, TRANSIT, 6, &ports(5000, 443))),
        ),
        hosts(
            "an error about the host's",
            shared_packet(1, WHOLE, 0, &icmp_error(3, LOCAL, 6, &ports(4999, 443))),
        ),
        hosts("an error that ends early", shared_packet(1, WHOLE, 0, &icmp_error(3, LOCAL, 6, &[]))),
        hosts("a later fragment without a first", shared_packet(17, (2, false, 100), 0, &[0; 16])),
        nats("a first fragment", shared_packet(17, (3, true, 0), 0, &ports(53, 5001))),
        nats("its later fragment", shared_packet(17, (3, false, 100), 0, &[0; 16])),
        hosts("the same number again, the host's", shared_packet(17, (3, true, 0), 0, &ports(53, 68))),
        hosts("its later fragment", shared_packet(17, (3, false, 100), 0, &[0; 16])),
    ];
    for kind in [0, 14, 16, 18] {
        cases.push(nats("an answer", shared_packet(1, WHOLE, 0, &icmp(kind, 5002))));
    }
    for kind in [3, 11, 12] {
        for (protocol, l4) in
            [(6, ports(5000, 443)), (17, ports(5001, 53)), (1, icmp(8, 5002)), (47, vec![0; 8])]
        {
            let error = icmp_error(kind, LOCAL, protocol, &l4);
            cases.push(nats("an error", shared_packet(1, WHOLE, 0, &error)));
        }
    }
    cases
}

#[test]
fn of_a_shared_address_nat_gets_the_ports_it_holds_and_the_host_all_others() {
    in_a_namespace(|_, node| {
        inside(node, || {
            let mut xdp = Xdp::load(SMALL)?;
            let slot = millrace_ebpf_abi::MAX_SHARED - 1;
            xdp.local_insert(LOCAL.into(), Some(slot))?;
            let relaxed = std::sync::atomic::Ordering::Relaxed;
            for (protocol, port) in HELD {
                let (word, bit) = millrace_ebpf_abi::port_word(slot, protocol, port);
                xdp.nat_ports()[word as usize].fetch_or(bit, relaxed);
            }
            let umem = Umem::new(UmemConfig { frames: 64 })?;
            let rings = millrace_xsk::RingSizes { rx: 16, tx: 16, fill: 16, completion: 16 };
            let config = SocketConfig { bind: Bind::Copy, rings, ..SocketConfig::new(LOOPBACK, 0) };
            let mut attachment = attach_soon(&mut xdp, LOOPBACK, true, false)?;
            let socket = XskSocket::open(&umem, config)?;
            attachment.set_socket(0, socket.as_fd())?;
            xdp.check(PORT.0, &shared())?;
            drop(socket);
            let frame = shared_packet(6, (1, false, 0), 0, &ports(443, 5000));
            soon("the socket leaves the map", || Ok(xdp.run(&frame)? != XDP_REDIRECT))?;
            xdp.check(PORT.0, &[case("without a worker", frame.clone(), O::NoWorkerDropped, XDP_DROP)])?;

            xdp.local_insert(LOCAL.into(), None)?;
            xdp.check(PORT.0, &[case("not shared any more", frame, O::Local, XDP_PASS)])
        })
    });
}

#[test]
fn the_program_goes_with_its_attachment_and_is_alone_on_an_interface() {
    in_a_namespace(|lab, node| {
        let other = lab.node("o")?;
        lab.link(node.bare("v0"), other.bare("v1"))?;
        let links = || node.ip_json("link show v0");
        let ifindex = u32::try_from(links()?[0]["ifindex"].as_u64().context("ifindex")?)?;
        let mode = || -> Result<Option<u64>> { Ok(links()?[0]["xdp"]["mode"].as_u64()) };
        inside(node, || {
            let mut first = Xdp::load(SMALL)?;
            let mut second = Xdp::load(SMALL)?;
            let attachment = first.attach(PORT, ifindex, false, true)?;
            assert_eq!((mode()?, attachment.mode_name()), (Some(1), "native"));
            for generic in [false, true] {
                let error =
                    second.attach(PORT, ifindex, generic, true).err().context("two on one interface")?;
                assert_eq!(
                    error.to_string(),
                    "XDP on v0: another millrace serves this interface; only one can, stop it first"
                );
            }
            drop(attachment);
            soon("the program is off", || Ok(mode()?.is_none()))?;
            let attachment = second.attach(PORT, ifindex, true, true)?;
            assert_eq!((mode()?, attachment.mode_name()), (Some(2), "generic"));
            let error = attachment_error(&mut second, 4_000_000);
            assert_eq!(error, "XDP on interface 4000000: there is no such interface");
            drop(second);
            assert_eq!(mode()?, Some(2), "an attachment does not need its loader");
            drop(attachment);
            soon("the program is off", || Ok(mode()?.is_none()))?;

            node.ip("link set v0 mtu 9000")?;
            other.ip("link set v1 mtu 9000")?;
            let error = attachment_error(&mut first, ifindex);
            assert!(error.contains("MTU") && error.contains("generic"), "{error}");
            assert!(first.attach(PORT, ifindex, true, true).is_ok(), "generic mode has no such limit");
            Ok(())
        })
    });
}

fn attachment_error(xdp: &mut Xdp, ifindex: u32) -> String {
    xdp.attach(PORT, ifindex, false, true).map_or_else(|error| error.to_string(), |_| "attached".to_owned())
}

#[test]
fn the_memory_of_the_fib_is_zero_and_as_long_as_the_geometry_says() {
    in_a_namespace(|_, node| {
        inside(node, || {
            let xdp = Xdp::load(SMALL)?;
            let slices = xdp.fib_slices();
            let Slices { tbl24, tbl8, groups, buckets, adjacencies, neighbors } = slices;
            let words = SMALL.words();
            let lengths = [tbl24, tbl8, groups, buckets, adjacencies, neighbors].map(<[_]>::len);
            assert_eq!(lengths, fib_lengths(&words));
            let ends = [tbl24, tbl8, groups, buckets, adjacencies, neighbors]
                .map(|slice| (slice.first(), slice.last()));
            let relaxed = std::sync::atomic::Ordering::Relaxed;
            for (first, last) in ends {
                for word in [first, last].into_iter().flatten() {
                    assert_eq!(word.swap(u64::MAX, relaxed), 0);
                }
            }
            drop(xdp);
            assert_eq!(
                tbl24.first().map(|word| word.load(relaxed)),
                Some(u64::MAX),
                "the memory outlives the program"
            );
            millrace_fib::Memory::new(SMALL, slices)?;
            Ok(())
        })
    });
}
