//! The XDP program: what happens to a received frame, decided once.
//!
//! | frame | outcome | action |
//! |---|---|---|
//! | on an interface without a row | unknown-interface | kernel |
//! | ends before its Ethernet, VLAN or IPv4 header does | truncated | drop |
//! | has a VLAN tag | tagged | kernel |
//! | is not IPv4: ARP, IPv6, LLDP, … | not-ipv4 | kernel |
//! | to a group hardware address, 224.0.0.0/4 or 255.255.255.255 | multicast | kernel |
//! | to an address that NAT shares with the host, and NAT holds the port ([`shared`]) | shared | worker |
//! | to an address of this host, or the broadcast address of a subnet of it, otherwise | local | kernel |
//! | any other IPv4 | redirected | worker |
//! | … without a live socket on its queue, interface fails open | no-worker-passed | kernel |
//! | … without a live socket on its queue, interface fails closed | no-worker-dropped | drop |
//!
//! What else may be wrong with an IPv4 packet (version, header length, checksum, a foreign unicast hardware address)
//! is the engine's to judge: it has the counters and the ICMP errors for it.
//!
//! Not of the `xdp.frags` kind: a multi-buffer frame could not be given to a socket without `XDP_USE_SG` and would be
//! dropped. Drivers then keep such frames away (veth: no GSO from its peer, MTU up to one page).
#![no_std]
#![no_main]

use aya_ebpf::bindings::{BPF_F_MMAPABLE, xdp_action};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, XskMap};
use aya_ebpf::programs::XdpContext;
use millrace_ebpf_abi::{
    Interface, LOCAL, LocalKey, MAX_INTERFACES, MAX_LOCALS, MAX_QUEUES, MAX_SHARED, OUTCOME_SLOTS,
    UNKNOWN_PORT, XdpOutcome, outcome_slot,
};

mod frame;
mod shared;

#[map]
static INTERFACES: HashMap<u32, u64> = HashMap::with_max_entries(MAX_INTERFACES, 0);
#[map]
static LOCALS: HashMap<LocalKey, u8> = HashMap::with_max_entries(MAX_LOCALS, 0);
#[map]
static XSKS: XskMap = XskMap::with_max_entries(MAX_INTERFACES * MAX_QUEUES, 0);
#[map]
static OUTCOMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(OUTCOME_SLOTS, 0);

// The FIB's memory, which the workers map. The loader sets the sizes.
#[map]
static FIB_TBL24: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static FIB_TBL8: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static FIB_GROUPS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static FIB_BUCKETS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static FIB_ADJACENCIES: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static FIB_NEIGHBORS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[xdp]
pub fn millrace(ctx: XdpContext) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    let (port, outcome) = match interface(ifindex) {
        None => (UNKNOWN_PORT, XdpOutcome::UnknownInterface),
        Some(interface) => (interface.port, decide(&ctx, interface)),
    };
    count(port, outcome);
    match outcome {
        XdpOutcome::Redirected | XdpOutcome::Shared => xdp_action::XDP_REDIRECT,
        XdpOutcome::NotIpv4
        | XdpOutcome::Multicast
        | XdpOutcome::Tagged
        | XdpOutcome::Local
        | XdpOutcome::NoWorkerPassed
        | XdpOutcome::UnknownInterface => xdp_action::XDP_PASS,
        XdpOutcome::Truncated | XdpOutcome::NoWorkerDropped => xdp_action::XDP_DROP,
    }
}

/// Whose a frame of a known interface is.
#[inline(always)]
fn decide(ctx: &XdpContext, interface: Interface) -> XdpOutcome {
    let destination = match frame::destination(ctx) {
        Ok(destination) => destination,
        Err(outcome) => return outcome,
    };
    let Some(whose) = LOCALS.get_ptr(destination) else { return to_worker(ctx, interface) };
    // JUSTIFICATION: a map value is memory that others may write; aya offers no atomic read of it.
    // SAFETY: the pointer was just returned by the map and stays readable until the program ends; one byte is whole.
    let whose = unsafe { whose.read_volatile() };
    if whose == LOCAL || MAX_SHARED < whose || !shared::is_nats(ctx, whose - 1, destination) {
        return XdpOutcome::Local;
    }
    match to_worker(ctx, interface) {
        XdpOutcome::Redirected => XdpOutcome::Shared,
        other => other,
    }
}

/// Gives the frame to the socket of its queue, if there is one.
#[inline(always)]
fn to_worker(ctx: &XdpContext, interface: Interface) -> XdpOutcome {
    let queue = ctx.rx_queue_index();
    let redirected = queue < MAX_QUEUES && XSKS.redirect(interface.xsk_base + queue, 0).is_ok();
    match (redirected, interface.fail_open) {
        (true, _) => XdpOutcome::Redirected,
        (false, true) => XdpOutcome::NoWorkerPassed,
        (false, false) => XdpOutcome::NoWorkerDropped,
    }
}

#[inline(always)]
fn interface(ifindex: u32) -> Option<Interface> {
    let bits = INTERFACES.get_ptr(ifindex)?;
    // JUSTIFICATION: a map value is memory that others may write; aya offers no atomic read of it.
    // SAFETY: the pointer was just returned by the map and stays readable until the program ends; a value that is being
    // replaced is another element, so a read gives the old or the new bits.
    let bits = unsafe { bits.read_volatile() };
    Some(Interface::from_bits(bits))
}

#[inline(always)]
fn count(port: u16, outcome: XdpOutcome) {
    if let Some(counter) = OUTCOMES.get_ptr_mut(outcome_slot(port, outcome)) {
        // JUSTIFICATION: per-CPU counters are written through pointers.
        // SAFETY: the pointer is to this CPU's own copy, and no other program runs on this CPU meanwhile.
        let counter = unsafe { &mut *counter };
        *counter += 1;
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// JUSTIFICATION: the kernel reads the licence of the object from this section.
// SAFETY: the section holds nothing else, and the value is the NUL-terminated string the kernel expects.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
