//! Opening: register or share, size and map the rings, bind; which mode, which errors, when to try again.
//!
//! The first socket of each mode registers the UMEM with the kernel and binds with mode flags. Later ones share that
//! registration: their flags must be 0 (EINVAL otherwise) and the kernel gives them the mode of the one they share
//! with. So zero-copy and copy interfaces use two registrations of the same memory.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::{Bind, BoundMode, Membership, Socket, SocketConfig};
use crate::FRAME_SIZE;
use crate::error::{OpenError, OpenFailure, OpenStep};
use crate::options;
use crate::ring::{Consumer, Producer};
use crate::stats::SocketGauges;
use crate::umem::{Area, Member, Place, Registry};

/// [`FRAME_SIZE`], in the type the kernel wants.
const CHUNK_SIZE: u32 = 4096;
const _: () = assert!(CHUNK_SIZE as usize == FRAME_SIZE);

/// Milliseconds between attempts on a busy queue: two seconds in all.
const BACKOFF_MILLIS: [i64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000];

pub(super) fn open(area: &'static Area, config: SocketConfig) -> Result<Socket, OpenError> {
    let SocketConfig { ifindex, queue, .. } = config;
    let mut pauses = BACKOFF_MILLIS.iter();
    loop {
        match (in_best_mode(area, config), pauses.next()) {
            (Ok(socket), _) => return Ok(socket),
            (Err(OpenFailure::Busy), Some(millis)) => pause(*millis),
            (Err(failure), _) => return Err(OpenError { ifindex, queue, failure }),
        }
    }
}

/// Lets time pass before a queue is tried again; there is nothing to poll for.
fn pause(millis: i64) {
    let timeout = Timespec { tv_sec: millis / 1000, tv_nsec: (millis % 1000) * 1_000_000 };
    // An interrupted pause is a short one.
    let _ = rustix::event::poll(&mut [], Some(&timeout));
}

fn in_best_mode(area: &'static Area, config: SocketConfig) -> Result<Socket, OpenFailure> {
    match config.bind {
        Bind::Copy => in_mode(area, config, BoundMode::Copy),
        Bind::ZeroCopy => in_mode(area, config, BoundMode::ZeroCopy),
        Bind::Auto => match in_mode(area, config, BoundMode::ZeroCopy) {
            Err(refusal) if refusal.is_about_mode() => {
                let mut socket = in_mode(area, config, BoundMode::Copy)?;
                socket.zero_copy_refusal = Some(refusal);
                Ok(socket)
            }
            decided => decided,
        },
    }
}

fn in_mode(area: &'static Area, config: SocketConfig, mode: BoundMode) -> Result<Socket, OpenFailure> {
    let SocketConfig { ifindex, queue, rings, busy_poll, .. } = config;
    let failed = |step| move |errno| OpenFailure::from_errno(step, errno);
    let fd = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(failed(OpenStep::Socket))?;
    let place = Place { namespace: options::namespace(fd.as_fd()), ifindex, queue };
    // Held until the socket is a member: a lender cannot close, nor another thread take the queue, in the middle.
    let mut registry = area.registry();
    if registry.members.iter().any(|member| member.place == place) {
        return Err(OpenFailure::AlreadyOpen);
    }
    let slot = registry.free_slot().ok_or(OpenFailure::TooManySockets)?;

    sockopt::set_xdp_umem_fill_ring_size(&fd, rings.fill).map_err(failed(OpenStep::RingSize))?;
    sockopt::set_xdp_umem_completion_ring_size(&fd, rings.completion).map_err(failed(OpenStep::RingSize))?;
    sockopt::set_xdp_rx_ring_size(&fd, rings.rx).map_err(failed(OpenStep::RingSize))?;
    sockopt::set_xdp_tx_ring_size(&fd, rings.tx).map_err(failed(OpenStep::RingSize))?;
    // Kernels before 6.18 do not know it; `wake` then needs a call for each 32 frames.
    let _ = options::raise_tx_budget(fd.as_fd(), rings.tx);
    if let Some(busy_poll) = busy_poll {
        busy_poll.apply(fd.as_fd()).map_err(failed(OpenStep::BusyPoll))?;
    }

    let layout = sockopt::xdp_mmap_offsets(&fd).map_err(failed(OpenStep::RingMap))?;
    let ring = failed(OpenStep::RingMap);
    let rx = Consumer::map(fd.as_fd(), XDP_PGOFF_RX_RING, &layout.rx, rings.rx).map_err(ring)?;
    let tx = Producer::map(fd.as_fd(), XDP_PGOFF_TX_RING, &layout.tx, rings.tx).map_err(ring)?;
    let fill = Producer::map(fd.as_fd(), XDP_UMEM_PGOFF_FILL_RING, &layout.fr, rings.fill).map_err(ring)?;
    let completion = Consumer::map(fd.as_fd(), XDP_UMEM_PGOFF_COMPLETION_RING, &layout.cr, rings.completion);
    let completion = completion.map_err(ring)?;

    bind(area, &registry, &fd, config, mode)?;
    let options = sockopt::xdp_options(&fd).map_err(failed(OpenStep::Options))?;
    if options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY) != (mode == BoundMode::ZeroCopy) {
        return Err(OpenFailure::OtherMode);
    }

    // The bind proves that sockets closed on this queue are torn down.
    registry.torn_down(area, place);
    let fd = Arc::new(fd);
    let gauges = Arc::new(SocketGauges::default());
    registry.members.push(Member { slot, place, mode, fd: Arc::downgrade(&fd), gauges: Arc::clone(&gauges) });
    drop(registry);
    let membership = Membership { area, slot, interface_gone: false };
    let zero_copy_refusal = None;
    let in_fragments = false;
    Ok(Socket {
        area,
        rx,
        tx,
        fill,
        completion,
        in_fragments,
        mode,
        zero_copy_refusal,
        config,
        gauges,
        fd,
        membership,
    })
}

/// Binds `fd` in `mode`, through the registration of a live socket of that mode, or with a new one.
fn bind(
    area: &'static Area,
    registry: &Registry,
    fd: &OwnedFd,
    config: SocketConfig,
    mode: BoundMode,
) -> Result<(), OpenFailure> {
    let SocketConfig { ifindex, queue, .. } = config;
    for lender in registry.lenders(mode) {
        let addr = SocketAddrXdp::new(SocketAddrXdpFlags::XDP_SHARED_UMEM, ifindex, queue);
        match rustix::net::bind(fd, &SocketAddrXdpWithSharedUmem { addr, shared_umem_fd: lender.as_fd() }) {
            // The lender's interface was removed, which unbinds it.
            Err(Errno::BADF) => {}
            decided => return decided.map_err(|errno| refusal(mode, errno)),
        }
    }
    sockopt::set_xdp_umem_reg(fd, registration(area, area.frames()))
        .map_err(|errno| OpenFailure::from_errno(OpenStep::Register, errno))?;
    let asked = match mode {
        BoundMode::ZeroCopy => SocketAddrXdpFlags::XDP_ZEROCOPY,
        BoundMode::Copy => SocketAddrXdpFlags::XDP_COPY,
    };
    let addr = SocketAddrXdp::new(asked | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP, ifindex, queue);
    rustix::net::bind(fd, &addr).map_err(|errno| refusal(mode, errno))
}

/// The first `frames` frames of the UMEM, as the kernel wants to hear of them.
pub(super) fn registration(area: &Area, frames: u32) -> XdpUmemReg {
    XdpUmemReg {
        addr: area.base_address(),
        len: u64::from(frames) * u64::from(CHUNK_SIZE),
        chunk_size: CHUNK_SIZE,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    }
}

/// What an errno of bind means.
fn refusal(mode: BoundMode, errno: Errno) -> OpenFailure {
    match (mode, OpenFailure::from_errno(OpenStep::Bind, errno)) {
        // Drivers refuse for reasons of their own; which errno they choose tells little.
        (BoundMode::ZeroCopy, OpenFailure::NoQueue | OpenFailure::NoMemory | OpenFailure::Other { .. }) => {
            OpenFailure::NoZeroCopy(errno)
        }
        (_, failure) => failure,
    }
}
